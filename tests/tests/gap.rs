//! Packets that are lost behind AF_XDP's steering program, in the whole system: the ring's thread stands still until the receive ring is over-full.
//! What was lost is recorded and counted, number by number, and the clients that send again notice nothing but the time.

mod stand;

use ring0_trader::{Ack, Locate, Order, Outcome, Price, Reference, Shares};
use ring0_wire::host::{Inbound, PacketBuilder};
use serde_json::Value;
use stand::{Ring, Stand};
use std::time::{Duration, Instant};

/// How long the test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Packets while the ring stands still: more than its 2,048 places, a part of it as many as are lost.
const FLOOD: u64 = 3_000;
/// Times that it stands still.
const ROUNDS: u64 = 3;

fn order(at: u32) -> Order {
    Order::buy(Locate(1), Shares(1), Price((40_000 + at % 100) * 10_000))
}

fn port_counter(status: &Value, name: &str) -> u64 {
    let value = &status["port_counters"][name];
    value.as_u64().unwrap_or_else(|| panic!("{name}: {status}"))
}

#[test]
fn a_full_ring_is_a_recorded_gap_and_clients_repair_it() {
    let mut stand = Stand::in_ring(Ring::Afxdp, include_str!("../../markets/example.toml"));
    stand.start_daemon();
    stand.start_journal();
    let names = ["alice-1", "carol-1", "dave-1"];
    let mut traders = names.map(|name| stand.trader(name));
    for trader in &mut traders {
        assert_eq!(
            trader.submit(&[order(0)]).unwrap()[0].outcome,
            Outcome::Accepted
        );
    }
    assert_eq!(port_counter(&stand.status(), "arrivals_lost"), 0);

    // A packet that is genuine, so that it is let through to the ring, and far ahead, so that it is never taken.
    let session = stand.market.session("bob-1").unwrap();
    let mut builder = PacketBuilder::new(session.id(), 1 << 40);
    let ahead = order(0).reference(Reference(7));
    let ahead = Inbound::from_message(ahead.message()).unwrap();
    builder.push(&ahead).unwrap();
    let ahead = builder.sign(session.key());
    let flood = stand.trader_socket();

    let mut acks: [Vec<Ack>; 3] = Default::default();
    let mut resent = 0;
    for round in 1..=ROUNDS {
        stand.freeze_daemon(true);
        for _ in 0..FLOOD {
            flood.send(&ahead).unwrap();
        }
        // Into the full ring: these are lost.
        for (trader, at) in traders.iter_mut().zip(0..) {
            let mut orders = [order(at), order(at + 1), order(at + 2)];
            trader.send(&mut orders).unwrap();
        }
        stand.freeze_daemon(false);
        let end = Instant::now() + PATIENCE;
        for (trader, acks) in traders.iter_mut().zip(&mut acks) {
            while trader.unanswered() != 0 {
                assert!(Instant::now() < end, "round {round}: {}", stand.status());
                trader.poll(Duration::from_millis(5), acks).unwrap();
            }
        }
        let now: u64 = traders.iter().map(|it| it.stats().resends).sum();
        assert!(now > resent, "round {round}: what was lost was sent again");
        resent = now;
    }
    for acks in &acks {
        assert_eq!(acks.len() as u64, 3 * ROUNDS);
        assert!(acks.iter().all(|ack| ack.outcome == Outcome::Accepted));
    }

    // Every packet that was let through was seen by the ring, or is counted as lost.
    let end = Instant::now() + PATIENCE;
    let status = loop {
        let status = stand.status();
        let seen = ["taken", "duplicate", "not_taken_hole"]
            .map(|name| status["counters"][name].as_u64().unwrap_or(0));
        let lost = port_counter(&status, "arrivals_lost");
        if seen.iter().sum::<u64>() + lost == port_counter(&status, "redirected") {
            break status;
        }
        assert!(Instant::now() < end, "{status}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let lost = port_counter(&status, "arrivals_lost");
    assert!(lost >= ROUNDS * (FLOOD - 2048), "{lost} lost: {status}");
    // All live at once: nothing is executed twice, nothing is missing.
    let orders = names.len() as u64 * (1 + 3 * ROUNDS);
    assert_eq!(status["orders_live"], orders, "{status}");

    stand.settle();
    let status = stand
        .client()
        .call(&ring0d::Verb::Status { hash: true })
        .unwrap();
    stand.kill_recorder();
    assert_eq!(
        stand.journaled().len() as u64,
        orders + traders.len() as u64 * (1 + ROUNDS)
    );

    // The journal shows the gaps as an operator sees them.
    let journal = stand.journal().display().to_string();
    let ran = ring0_tests::ring0(&["journal", "dump", "--json", &journal]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let (mut gaps, mut recorded, mut last) = (0, 0, 0);
    for line in ran.out.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["control"] != "Gap" {
            continue;
        }
        assert_eq!(
            (&record["kind"], &record["outcome"]),
            (&"Control".into(), &"A".into())
        );
        let (first, count) = (&record["body"][0], &record["body"][1]);
        let (first, count) = (first.as_u64().unwrap(), count.as_u64().unwrap());
        assert!(first > last && count > 0, "{record} behind {last}");
        last = first + count - 1;
        recorded += count;
        gaps += 1;
    }
    println!("{lost} lost in {gaps} gaps, {resent} packets sent again, {orders} orders live");
    assert_eq!(recorded, lost, "every lost packet is in a gap");
    assert!(gaps >= ROUNDS, "{gaps} gaps");

    // And the journal, gaps and all, is the state.
    let market = stand.market_file().display().to_string();
    let replay = ["journal", "replay", "--json", "--from-first", "--reference"];
    let ran = ring0_tests::ring0(&[&replay[..], &["--market", &market, &journal]].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.json()["state_hash"], status["state_hash"]);
    stand.unload();
}
