//! Daemon and recorder are killed with -9 at any moment: the next start adopts or repairs, no answered order is lost,
//! and nothing stays attached after an unload.

mod stand;

use ring0_trader::{Ack, Locate, Order, Outcome, Price, Shares};
use stand::Stand;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use xdp_loader::Step;

#[test]
fn a_daemon_killed_while_trading_is_adopted_and_no_answer_is_lost() {
    let mut stand = Stand::up();
    let arena = stand.status()["arena_id"].clone();
    let finish = AtomicBool::new(false);
    let names = ["alice-1", "bob-1"];
    let traders = names.map(|name| stand.trader(name));
    let logs: Vec<Vec<Ack>> = std::thread::scope(|scope| {
        let threads: Vec<_> = traders
            .into_iter()
            .enumerate()
            .map(|(which, mut trader)| {
                let finish = &finish;
                scope.spawn(move || {
                    let mut log = Vec::new();
                    let mut round = 0;
                    while !finish.load(Ordering::Acquire) {
                        let price = Price((60_000 + round % 7) * 10_000);
                        round += 1;
                        let order = match (which as u32 + round) % 2 {
                            0 => Order::buy(Locate(1), Shares(3), price),
                            _ => Order::sell(Locate(1), Shares(2), price),
                        };
                        let acks = trader
                            .submit(&[order, Order::mass_cancel(Some(Locate(2)))])
                            .unwrap();
                        log.extend(acks);
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    log
                })
            })
            .collect();
        // Killed while running, then at each step of its load, then the recorder too.
        for step in [None].into_iter().chain(
            Step::ALL
                .into_iter()
                .filter(|step| !step.name().starts_with("unload"))
                .map(Some),
        ) {
            std::thread::sleep(Duration::from_millis(50));
            stand.kill_daemon();
            if let Some(step) = step {
                let mut command = stand.daemon_command();
                command
                    .env("XDP_LOADER_DIE_AT", step.name())
                    .arg("--seconds=0");
                let status = command.status().unwrap();
                // A step that an adopting load does not pass lets it start, and end as asked.
                assert!(
                    status.success() || status.signal() == Some(9),
                    "{step:?}: {status}"
                );
            }
            if step.is_none_or(|step| (step as u32).is_multiple_of(3)) {
                stand.kill_recorder();
            }
            let status = stand.start_daemon();
            assert_eq!(
                (&status["adopted"], &status["arena_id"]),
                (&true.into(), &arena),
                "{step:?}"
            );
            assert_eq!(status["attached"], true, "{step:?}");
            if step.is_none_or(|step| (step as u32).is_multiple_of(3)) {
                stand.start_recorder();
            }
        }
        finish.store(true, Ordering::Release);
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    stand.settle();
    let (_, messages) = stand.recorded();
    let mut answered = 0;
    for (session, log) in (0..).zip(&logs) {
        for ack in log {
            let found = messages.get(&(session, ack.sequence));
            let found = found.unwrap_or_else(|| panic!("answered and not recorded: {ack:?}"));
            assert_eq!(
                (found.head.sequence, found.quantity),
                (ack.venue_sequence, ack.quantity)
            );
            let done = found.outcome == b'A';
            assert_eq!(done, ack.outcome == Outcome::Accepted, "{ack:?}");
            answered += 1;
        }
    }
    assert!(answered > 1000, "{answered} answered");
    println!("{answered} answers, all recorded");
    stand.unload();
}

#[test]
fn a_first_start_killed_anywhere_is_finished_by_the_next() {
    let mut stand = Stand::new();
    for step in Step::ALL
        .into_iter()
        .filter(|step| !step.name().starts_with("unload"))
    {
        let mut command = stand.daemon_command();
        let status = command
            .env("XDP_LOADER_DIE_AT", step.name())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{step:?}: {status}");
        stand.start_daemon();
        assert_eq!(
            stand.balance("dave", "USD", "available"),
            "250000.5",
            "{step:?}"
        );
        assert_eq!(
            stand.balance("alice", "BTC", "available"),
            "10000",
            "{step:?}"
        );
        stand.unload();
    }
    // And between and during the market's commands: deposits are made once.
    for wait_ms in (0..300).step_by(20) {
        let mut child = stand.daemon_command().spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        stand.start_daemon();
        assert_eq!(
            stand.balance("dave", "USD", "available"),
            "250000.5",
            "after {wait_ms} ms"
        );
        assert_eq!(
            stand.balance("ops", "SOL", "available"),
            "10000000",
            "after {wait_ms} ms"
        );
        stand.unload();
    }
}

#[test]
fn another_markets_keys_are_refused_and_change_nothing() {
    let mut stand = Stand::up();
    let mut trader = stand.trader("alice-1");
    let order = Order::buy(Locate(1), Shares(1), Price(40_000 * 10_000));
    assert_eq!(
        trader.submit(&[order]).unwrap()[0].outcome,
        Outcome::Accepted
    );
    stand.kill_daemon();
    stand.replace_keys();
    assert_eq!(stand.daemon_command().status().unwrap().code(), Some(1));
    let log = stand.daemon_log();
    assert!(
        log.contains("not this market's: session alice-1 has id"),
        "{log}"
    );
    // The market goes on with its own keys.
    assert_eq!(
        trader.submit(&[order]).unwrap()[0].outcome,
        Outcome::Accepted
    );
    stand.unload();
}
