//! The whole ring: a shard in its thread, the steering program told of its sessions, gaps in its records.

mod stand;

use ring0_abi::{Acks, Counter};
use ring0_afxdp::{AfxdpOptions, AfxdpShard};
use ring0_engine::Capacity;
use ring0_engine::control::{Control, ControlKind, Gap, Target};
use ring0_engine::record::{ControlRecord, Head, Kind, Outcome};
use ring0_lab::Veth;
use ring0_rings::{Consumer, Live, UserOptions};
use ring0_trader::{Locate, Order, Price, Session, Shares, Trader, UdpTransport};
use stand::market::{PLENTY, controls};
use stand::{KEY, id, options, packet, trader_socket, veth};
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

const SESSIONS: u32 = 2;

fn start(veth: &Veth, change: impl FnOnce(&mut AfxdpOptions)) -> AfxdpShard {
    let user = UserOptions {
        capacity: Capacity::SMALL,
        record_slots: 1 << 18,
        record_ring: None,
        acks: Acks::Matched,
        processor: None,
        spin: false,
    };
    let mut port = options(veth);
    change(&mut port);
    let started = AfxdpShard::start(&user, &port, None);
    let (mut shard, report) = started.unwrap_or_else(|error| panic!("{error}"));
    println!("{report}");
    let results = shard.command(&controls(0..SESSIONS)).unwrap();
    assert!(results.iter().all(|(it, _)| *it == Outcome::Accepted));
    shard
}

fn count(shard: &AfxdpShard, counter: Counter) -> u64 {
    shard.counters().unwrap()[counter as usize]
}

fn port_count(shard: &mut AfxdpShard, name: &str) -> u64 {
    let counters = shard.port_counters();
    let found = counters.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no counter {name}")).1
}

/// Waits until two numbers are equal: what is on its way arrives.
fn settle(mut numbers: impl FnMut() -> (u64, u64), what: &str) {
    let begin = Instant::now();
    loop {
        let (is, expected) = numbers();
        if is == expected {
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{what}: {is} instead of {expected}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a counter is what it should become.
fn becomes(shard: &AfxdpShard, counter: Counter, expected: u64) {
    settle(|| (count(shard, counter), expected), counter.name());
}

/// Packets that the engine has looked at.
fn answered(shard: &AfxdpShard) -> u64 {
    [Counter::Taken, Counter::Duplicate, Counter::Hole]
        .map(|counter| count(shard, counter))
        .iter()
        .sum()
}

#[test]
fn sessions_are_let_through_as_the_shard_grants_them() {
    let Some(veth) = veth(2, 1500) else { return };
    let mut shard = start(&veth, |_| {});
    let socket = trader_socket(&veth);
    // Granted, and no key yet; not granted.
    socket.send(&packet(0, 1, Some(&KEY))).unwrap();
    becomes(&shard, Counter::DropNoKey, 1);
    socket.send(&packet(SESSIONS, 1, Some(&KEY))).unwrap();
    becomes(&shard, Counter::DropUnknownSession, 1);
    shard.set_key(0, Some(&KEY)).unwrap();
    shard.set_key(1, None).unwrap();
    socket.send(&packet(1, 1, Some(&KEY))).unwrap();
    socket.send(&packet(0, 1, None)).unwrap();
    becomes(&shard, Counter::DropBadTag, 2);
    assert_eq!(port_count(&mut shard, "redirected"), 0, "all in the kernel");

    let trader = |session| Trader::new(session, UdpTransport::new(trader_socket(&veth)));
    let mut seller = trader(Session::new(id(0), &KEY));
    let mut buyer = trader(Session::without_tag(id(1)));
    let sell = Order::sell(Locate(1), Shares(1), Price(110_000));
    let buy = Order::buy(Locate(1), Shares(1), Price(110_000));
    assert_eq!(seller.submit(&[sell; 100]).unwrap().len(), 100);
    assert_eq!(buyer.submit(&[buy; 100]).unwrap().len(), 100);
    assert_eq!(shard.shard().balances(1, 1).0, PLENTY + 100);
    settle(
        || (port_count(&mut shard, "redirected"), answered(&shard)),
        "redirected, and nothing lost",
    );

    // Closed: its packets end in the kernel again, and those of the other do not.
    let close = Target {
        index: 1,
        reserved: 0,
    };
    let close = Control::new(ControlKind::CloseSession, &close);
    assert_eq!(shard.command(&[close]).unwrap()[0].0, Outcome::Accepted);
    socket.send(&packet(1, 500, None)).unwrap();
    becomes(&shard, Counter::DropUnknownSession, 2);
    assert_eq!(seller.submit(&[sell]).unwrap().len(), 1);
    assert_eq!(shard.failure(), None);
}

/// What the rings could not hold stands in the records, number by number, and nothing else is lost by it.
#[test]
fn gaps_are_recorded() {
    let Some(veth) = veth(1, 1500) else { return };
    let mut shard = start(&veth, |it| {
        it.receive_slots = 2;
        it.fill_slots = 4;
        it.frames = 16;
    });
    shard.set_key(0, Some(&KEY)).unwrap();
    let mut records = Consumer::observer(shard.user().record_ring()).unwrap();
    let socket = trader_socket(&veth);
    // Far above what the session has sent: answered as a hole, taken never.
    let above = packet(0, 1 << 30, Some(&KEY));
    for round in 0.. {
        assert!(round < 100, "nothing is lost: {:?}", shard.port_counters());
        for _ in 0..200 {
            socket.send(&above).unwrap();
        }
        if port_count(&mut shard, "arrivals_lost") > 0 {
            break;
        }
    }
    // What was lost at the end shows with what comes then.
    let mut trader = Trader::new(
        Session::new(id(0), &KEY),
        UdpTransport::new(trader_socket(&veth)),
    );
    let sell = Order::sell(Locate(1), Shares(1), Price(110_000));
    assert_eq!(trader.submit(&[sell; 10]).unwrap().len(), 10);

    settle(
        || {
            let seen = answered(&shard) + port_count(&mut shard, "arrivals_lost");
            (port_count(&mut shard, "redirected"), seen)
        },
        "redirected: answered and lost",
    );
    let lost = port_count(&mut shard, "arrivals_lost");
    assert_eq!(port_count(&mut shard, "xsk_lost"), lost);
    let mut bytes = Vec::new();
    while records.read(&mut bytes, 1 << 16).unwrap() != 0 {}
    let (mut rest, mut recorded, mut last) = (&bytes[..], 0, 0);
    while !rest.is_empty() {
        let (head, _) = Head::read_from_prefix(rest).unwrap();
        let (record, behind) = rest.split_at(usize::from(head.slots) * 64);
        rest = behind;
        if head.kind != Kind::Control as u16 {
            continue;
        }
        let (record, _) = ControlRecord::read_from_prefix(record).unwrap();
        if record.kind == ControlKind::Gap as u32 {
            let [first, count, ..] = record.body;
            let gap = Gap { first, count };
            assert!(gap.first > last && gap.count > 0, "{gap:?} behind {last}");
            last = gap.first + gap.count - 1;
            recorded += gap.count;
        }
    }
    println!("{lost} lost, {} answered", answered(&shard));
    assert_eq!(recorded, lost);
}
