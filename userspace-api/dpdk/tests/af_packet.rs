//! net_af_packet over a veth pair: traders are ordinary UDP sockets, the shard is a thread of this process, and nothing but the port answers.
//!
//! Needs root, for namespaces and raw sockets.

use ring0_abi::Counter;
use ring0_dpdk::{AVAILABLE, DpdkPort, Eal, EalOptions, PortOptions};
use ring0_drive::{ANSWERS_LOG2, Market, clock, session_id};
use ring0_engine::Reason;
use ring0_engine::record::{Outcome, ReplyTo};
use ring0_lab::{Options, Veth, missing_privilege};
use ring0_rings::{Acks, Live, UserOptions, UserShard};
use ring0_trader::{
    Locate, Order, Outcome as Ack, Price, Session, Shares, Trader, TraderError, UdpTransport,
};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

const PORT: u16 = 9000;
const KEY: [u8; 16] = *b"sixteen bytes ok";

/// A shard of one symbol and one session in a thread of this process, behind the exchange's end of the pair.
fn begin(veth: &Veth) -> UserShard {
    let device = format!("net_af_packet0,iface={}", veth.exchange_if);
    // Packet sockets belong to the namespace of the thread that opens them; the ring's thread is in another.
    let port = veth.in_exchange(|| {
        let eal = Eal::start(&EalOptions::new([&device])).unwrap();
        let mut options = PortOptions::new(&device, PORT);
        options.address = Some(veth.exchange_address);
        DpdkPort::open(&eal, &options).unwrap()
    });
    let market = Market {
        symbols: 1,
        tick_base: 1,
        ladder_len: 4096,
        peak_live: 4_000,
        references: 10_000,
    };
    let options = UserOptions {
        capacity: market.capacity(1).unwrap(),
        record_slots: 1 << 16,
        record_ring: None,
        acks: Acks::Matched,
        processor: None,
        spin: false,
    };
    let mut shard = UserShard::start(&options, Box::new(port.unwrap()), None).unwrap();
    let commands: Vec<_> = [clock()].into_iter().chain(market.controls(0)).collect();
    for result in shard.command(&commands).unwrap() {
        assert_eq!(result, (Outcome::Accepted, Reason::None));
    }
    shard.set_key(0, Some(&KEY)).unwrap();
    shard
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn socket_traders_are_answered_by_the_port_alone() {
    if !AVAILABLE {
        eprintln!("skipped: {}", dpdk_sys::MISSING);
        return;
    }
    if let Some(why) = missing_privilege() {
        eprintln!("skipped: {why}");
        return;
    }
    let veth = Veth::up(Options::default()).unwrap();
    // The exchange's kernel has no address, so it neither answers ARP nor refuses our packets by ICMP; the trader must ask the port.
    let (ours, theirs) = (&veth.exchange_ns, &veth.trader_ns);
    ip(&format!("-n {ours} address flush dev {}", veth.exchange_if));
    ip(&format!(
        "-n {theirs} neighbour delete {} dev {}",
        veth.exchange_address, veth.trader_if
    ));

    let mut shard = begin(&veth);
    let connect = || {
        veth.in_trader(|| {
            let socket = UdpSocket::bind((veth.trader_address, 0)).unwrap();
            socket.connect((veth.exchange_address, PORT)).unwrap();
            socket
        })
        .unwrap()
    };
    let session = |key| Session::new(session_id(0), key).with_answers(1 << ANSWERS_LOG2);
    let mut trader = Trader::new(session(&KEY), UdpTransport::new(connect()));
    let (buy, sell) = (
        Order::buy(Locate(1), Shares(10), Price(100_000)),
        Order::sell(Locate(1), Shares(10), Price(100_000)),
    );
    // Alone, so that the round trip is one of single orders.
    for _ in 0..200 {
        let acks = trader.submit(&[buy]).unwrap();
        assert_eq!((acks[0].outcome, acks[0].quantity), (Ack::Accepted, 0));
    }
    println!(
        "round trip, polled in one machine: {:?}",
        trader.round_trip()
    );
    // And full packets, as many as the window holds.
    let acks = trader.submit(&[sell; 3_000]).unwrap();
    let filled: u64 = acks.iter().map(|ack| u64::from(ack.quantity)).sum();
    assert!(acks.iter().all(|ack| ack.outcome == Ack::Accepted));
    assert_eq!(filled, 2_000, "what rested is what was filled");
    let stats = trader.stats();
    println!("{stats:?}");
    assert_eq!((stats.strange, stats.forged), (0, 0));

    // A wrong key gets no answer.
    let mut stranger = Trader::new(session(b"another 16 bytes"), UdpTransport::new(connect()));
    let mut options = ring0_trader::Options::of(stranger.session());
    options.patience = Duration::from_millis(100);
    stranger = stranger.with_options(options);
    let error = stranger.submit(&[buy]).unwrap_err();
    assert!(matches!(error, TraderError::NoAnswer { .. }), "{error}");

    // An answer that comes later, by the hardware address that was learnt. No ICMP refusal came before it: it would be an error of this socket.
    let socket = connect();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket.send(b"no packet of a session").unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else {
        panic!("the lab is IPv4");
    };
    let to = ReplyTo {
        address: address.ip().octets(),
        port: address.port(),
        local: veth.exchange_address.octets(),
        ..ReplyTo::default()
    };
    let stranger = ReplyTo {
        address: [10, 77, 0, 99],
        ..to
    };
    let held = vec![
        (stranger, b"to nobody".to_vec()),
        (to, b"held until now".to_vec()),
    ];
    assert!(shard.outlet().send(held));
    let mut bytes = [0; 64];
    let len = socket.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"held until now");

    let counters = shard.port_counters();
    println!("{counters:?}");
    let value = |name| counters.iter().find(|it| it.0 == name).unwrap().1;
    assert!(value("dpdk_arp_answered") >= 1, "nobody else can");
    assert_eq!(value("dpdk_send_no_neighbour"), 1);
    let ring = shard.counters().unwrap();
    let ring = |counter: Counter| ring[counter as usize];
    assert_eq!(ring(Counter::Taken), stats.packets);
    assert!(ring(Counter::DropBadTag) >= 1);
    let answered = ring(Counter::Taken) + ring(Counter::Duplicate);
    assert_eq!(
        value("dpdk_sent"),
        answered + 1 + value("dpdk_arp_answered")
    );
    for name in [
        "drop_length",
        "dpdk_drop_segmented",
        "dpdk_drop_shared",
        "dpdk_receive_no_buffer",
        "dpdk_transmit_full",
    ] {
        assert_eq!(value(name), 0, "{name}");
    }
    assert_eq!(shard.failure(), None);
    shard.shard().check();
}
