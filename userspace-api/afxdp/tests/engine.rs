//! The engine behind the port, with traders in front of it: orders are matched and answered, and what a full ring loses is sent again.

mod stand;

use ring0_afxdp::{BusyPoll, Tag};
use ring0_engine::Capacity;
use ring0_engine::native::{Native, TagRule};
use ring0_engine::record::Outcome;
use ring0_rings::Port;
use ring0_trader::{
    Locate, Order, Outcome as Answered, Price, Session, Shares, Trader, UdpTransport,
};
use ring0_wire::Key;
use stand::market::{PLENTY, controls};
use stand::{KEY, Stand, id, stand};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TRADERS: u32 = 4;
const ORDERS: usize = 400;
const FIRST_SESSION: u32 = 4;

/// A shard with one instrument and a session for each trader.
fn shard() -> Native {
    let controls = controls(FIRST_SESSION..FIRST_SESSION + TRADERS);
    let mut native = Native::new(&Capacity::SMALL).unwrap();
    let results = native.control(&controls, 1);
    assert!(
        results.iter().all(|(it, _)| *it == Outcome::Accepted),
        "{results:?}"
    );
    native
}

/// What the ring's loop saw.
struct Seen {
    packets: u64,
    gaps: u64,
}

/// The ring: packets in order, answers in place, until told to stop; sleeps between batches if told to.
fn serve(stand: &mut Stand, native: &mut Native, stop: &AtomicBool, nap: Duration) -> Seen {
    let key = Key::from_bytes(&KEY);
    let (mut seen, mut last) = (
        Seen {
            packets: 0,
            gaps: 0,
        },
        0,
    );
    while !stop.load(Ordering::Relaxed) {
        let got = stand.port.receive(Duration::from_millis(5)).unwrap();
        for index in 0..got {
            let arrival = stand.port.packet(index);
            let number = arrival.number.expect("this port numbers");
            seen.gaps += number - last - 1;
            last = number;
            seen.packets += 1;
            let (_, len) = native
                .packet_in_place(arrival.payload, arrival.boot_ns, |_| TagRule::Checked(key))
                .expect("the steering program lets through what the engine takes");
            let answer = &native.shard().scratch().answer;
            stand.port.answer(index, answer, len);
        }
        stand.port.flush().unwrap();
        std::thread::sleep(nap);
    }
    seen
}

/// Traders that buy and sell at once, each many packets ahead of its answers; all of it is executed once, whatever is lost.
fn trade(mut stand: Stand, nap: Duration) -> (Stand, Seen) {
    let mut native = shard();
    let traders: Vec<_> = (0..TRADERS)
        .map(|trader| {
            let id = id(FIRST_SESSION + trader);
            stand.control.set_session(id, Tag::Checked(&KEY)).unwrap();
            let session = Session::new(id, &KEY);
            Trader::new(session, UdpTransport::new(stand.socket()))
        })
        .collect();
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let running: Vec<_> = (0..)
            .zip(traders)
            .map(|(number, mut trader)| {
                scope.spawn(move || {
                    let side = [Order::buy, Order::sell][number % 2];
                    let order = side(Locate(1), Shares(1), Price(110_000));
                    let mut acks = Vec::new();
                    for _ in 0..ORDERS {
                        while let Err(error) = trader.send(&mut [order]) {
                            assert!(error.to_string().contains("window"), "{error}");
                            trader.poll(Duration::from_secs(5), &mut acks).unwrap();
                        }
                    }
                    while trader.unanswered() > 0 {
                        trader.poll(Duration::from_secs(5), &mut acks).unwrap();
                    }
                    assert_eq!(acks.len(), ORDERS);
                    let accepted = acks
                        .iter()
                        .filter(|ack| matches!(ack.outcome, Answered::Accepted))
                        .count();
                    assert_eq!(accepted, ORDERS, "{:?}", acks[0]);
                    trader.stats()
                })
            })
            .collect();
        let stop = &stop;
        let waiter = scope.spawn(move || {
            let stats: Vec<_> = running.into_iter().map(|it| it.join()).collect();
            stop.store(true, Ordering::Relaxed);
            for one in stats {
                println!("{:?}", one.unwrap());
            }
        });
        let seen = serve(&mut stand, &mut native, stop, nap);
        waiter.join().unwrap();
        seen
    });
    let shard = native.shard();
    shard.check();
    for number in FIRST_SESSION..FIRST_SESSION + TRADERS {
        let taken = 2 * ORDERS as u64; // each packet is an order and its tag
        assert_eq!(shard.expected_sequence(number), Some(taken + 1));
    }
    // As much was bought as sold, each order once: a buyer has what it bought.
    let bought: u64 = (FIRST_SESSION..FIRST_SESSION + TRADERS)
        .step_by(2)
        .map(|account| shard.balances(account, 1).0 - PLENTY)
        .sum();
    assert_eq!(bought, (TRADERS as usize / 2 * ORDERS) as u64);
    println!(
        "{} packets, {} lost, {:?}",
        seen.packets,
        seen.gaps,
        stand.port.counters()
    );
    assert_eq!(stand.counted("xsk_lost"), seen.gaps);
    (stand, seen)
}

#[test]
fn orders_are_matched_and_answered() {
    for busy_poll in [None, Some(BusyPoll::default())] {
        let Some(stand) = stand(2, |it| it.busy_poll = busy_poll) else {
            return;
        };
        let (stand, seen) = trade(stand, Duration::ZERO);
        assert_eq!(seen.gaps, 0);
        assert_eq!(stand.steered("redirected"), seen.packets);
    }
}

/// A ring thread that is late, before rings that are far too small: packets are lost, seen as gaps, and sent again by their clients.
#[test]
fn what_a_full_ring_loses_is_sent_again() {
    let Some(stand) = stand(1, |options| {
        options.receive_slots = 4;
        options.fill_slots = 8;
        options.frames = 64;
    }) else {
        return;
    };
    let (stand, seen) = trade(stand, Duration::from_millis(2));
    assert!(seen.gaps > 0, "nothing was lost");
    let orders = u64::from(TRADERS) * ORDERS as u64;
    assert!(
        seen.packets >= orders,
        "each was delivered once at the least"
    );
    assert_eq!(
        stand.counted("xsk_rx_ring_full") + stand.counted("xsk_rx_dropped"),
        stand.control.arrivals().unwrap() - seen.packets
    );
}
