//! A hundred replaces of the program while two sessions trade, and programs that are not well taken back: no packet is lost, no record is missing,
//! and what was recorded replays to the state of the shard.

mod stand;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use ring0_engine::native::Native;
use ring0_engine::replay::Replayer;
use ring0_tests::xdp_loader;
use ring0_trader::{Ack, Locate, Options, Order, Outcome, Price, Shares, Stats};
use ring0d::Verb;
use serde_json::Value;
use stand::Stand;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const REPLACES: usize = 100;

/// Far above any round trip on one machine: who sends again has lost a packet.
const LOST: Duration = Duration::from_secs(5);

/// What the sessions sent and got.
struct Traded {
    stats: Vec<Stats>,
    logs: Vec<Vec<Ack>>,
}

impl Traded {
    fn sum(&self, field: impl Fn(&Stats) -> u64) -> u64 {
        self.stats.iter().map(field).sum()
    }
}

/// Two sessions trade while `work` runs; a packet without an answer is sent again after `resend`.
fn while_trading<R>(stand: &Stand, resend: Duration, work: impl FnOnce() -> R) -> (Traded, R) {
    /// Also when `work` panics.
    struct Finish<'a>(&'a AtomicBool);
    impl Drop for Finish<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let finish = AtomicBool::new(false);
    let traders = ["alice-1", "bob-1"].map(|name| {
        let mut options = Options::of(stand.market.session(name).unwrap());
        options.resend_first = resend;
        options.resend = (resend, resend);
        let mut trader = stand.trader(name).with_options(options);
        trader.adopt().unwrap();
        trader
    });
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(traders)
            .map(|(which, mut trader)| {
                let finish = &finish;
                let before = trader.stats();
                scope.spawn(move || {
                    let (mut log, mut round) = (Vec::new(), which);
                    while !finish.load(Ordering::Acquire) {
                        round += 1;
                        let price = Price((60_000 + round % 7) * 10_000);
                        let order = match round % 2 {
                            0 => Order::buy(Locate(1), Shares(3), price),
                            _ => Order::sell(Locate(1), Shares(3), price),
                        };
                        let orders = match round % 500 {
                            0 => [order, Order::mass_cancel(Some(Locate(1)))],
                            _ => [order, order],
                        };
                        log.extend(trader.submit(&orders).unwrap());
                        // Some ten thousand packets a second: a recording of some hundred megabytes.
                        std::thread::sleep(Duration::from_micros(50));
                    }
                    let mut stats = trader.stats();
                    stats.packets -= before.packets;
                    stats.answered -= before.answered;
                    (stats, log)
                })
            })
            .collect();
        let result = {
            let _finish = Finish(&finish);
            work()
        };
        let (stats, logs) = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .unzip();
        (Traded { stats, logs }, result)
    })
}

fn counter(stand: &Stand, counter: ring0_abi::Counter) -> u64 {
    let pinned = xdp_loader::open_pinned(&stand.pin_root).unwrap();
    pinned.counters().unwrap().sum(counter as u32).unwrap()
}

fn replace(stand: &Stand, arguments: &[&str]) -> ring0_tests::Ran {
    let pin_root = stand.pin_root.display().to_string();
    let mut all = vec!["replace", "--json", "--pin-root", &pin_root];
    all.extend(arguments);
    xdp_loader(&all)
}

/// The program that the daemon loads.
fn object() -> PathBuf {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/prebuilt/ring0.bpf.o");
    std::env::var_os("RING0_BPF_OBJECT").map_or_else(|| kept.into(), PathBuf::from)
}

/// The state hash of the shard and of what was recorded agree; each answer is of a record.
fn agrees(stand: &Stand, logs: &[Vec<Ack>]) -> String {
    stand.settle();
    let status = stand.client().call(&Verb::Status { hash: true }).unwrap();
    let (bytes, messages) = stand.recorded(); // which has no gap
    let mut native = Native::new(&stand.market.capacity()).unwrap();
    Replayer::new(&native, None)
        .feed(&bytes, &mut native)
        .unwrap();
    let hash = native.shard().state_hash().to_string();
    assert_eq!(status["state_hash"], hash.as_str());
    for (session, log) in (0..).zip(logs) {
        for ack in log {
            let found = &messages[&(session, ack.sequence)];
            assert_eq!(found.head.sequence, ack.venue_sequence);
            assert_eq!(found.outcome == b'A', ack.outcome == Outcome::Accepted);
        }
    }
    hash
}

#[test]
fn a_hundred_replaces_under_load_lose_nothing() {
    let mut stand = Stand::up();
    let arena = stand.status()["arena_id"].clone();
    let taken = || counter(&stand, ring0_abi::Counter::Taken);
    // A processor of a virtual machine may stand still with the shard's lock: what arrives on the other one meanwhile is dropped under this name.
    let busy = || counter(&stand, ring0_abi::Counter::DropBusy);

    let begun = Instant::now();
    let before = taken();
    let (quiet, ()) = while_trading(&stand, LOST, || std::thread::sleep(Duration::from_secs(3)));
    let rate = quiet.sum(|stats| stats.packets) as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(taken() - before, quiet.sum(|stats| stats.packets));
    let baseline = quiet.sum(|stats| stats.resends);
    println!("baseline: {rate:.0} packets/s, {baseline} sent again");

    let object = object().display().to_string();
    let (before, busy_before) = (taken(), busy());
    let begun = Instant::now();
    let (loaded, times) = while_trading(&stand, LOST, || {
        let mut times: Vec<(f64, f64)> = Vec::new();
        let mut running = Value::Null;
        for number in 1..=REPLACES {
            let ran = replace(&stand, &["--object", &object, "--health-seconds=0.02"]);
            assert_eq!(ran.status, 0, "{ran:?}");
            let report = ran.json();
            assert_eq!(report["arena_id"], arena, "the same memory");
            assert!(running.is_null() || report["replaced_program_id"] == running);
            running = report["program_id"].clone();
            let us = |field: &str| report[field].as_u64().unwrap() as f64 / 1e3;
            println!(
                "replace {number}: put there in {:.1} µs, verified in {:.1} ms, all {:.1} ms",
                us("update_ns"),
                us("load_ns") / 1e3,
                us("total_ns") / 1e3
            );
            times.push((us("update_ns"), us("total_ns") / 1e3));
        }
        times
    });
    let seconds = begun.elapsed().as_secs_f64();
    let packets = loaded.sum(|stats| stats.packets);
    let (resends, busy) = (loaded.sum(|stats| stats.resends), busy() - busy_before);
    println!(
        "{REPLACES} replaces: {:.0} packets/s, {packets} packets, {} answered, {resends} sent again, {busy} dropped because the shard was busy",
        packets as f64 / seconds,
        loaded.sum(|stats| stats.answered),
    );
    let mut updates: Vec<f64> = times.iter().map(|(update, _)| *update).collect();
    updates.sort_by(f64::total_cmp);
    let (median, longest) = (updates[REPLACES / 2], updates[REPLACES - 1]);
    println!("put there in {median:.1} µs (median), {longest:.1} µs (longest)");
    assert!(packets > 1000, "{packets} packets under load");
    assert_eq!(
        loaded.sum(|stats| stats.answered),
        packets,
        "each packet was answered"
    );
    assert_eq!(taken() - before, packets, "and taken once");
    assert!(resends <= busy, "none was lost without a name");
    assert_eq!(loaded.sum(|stats| stats.duplicates), 0);
    let mut logs = quiet.logs;
    for (all, more) in logs.iter_mut().zip(loaded.logs) {
        all.extend(more);
    }
    println!("state hash {}, as replayed", agrees(&stand, &logs));
    stand.unload();
}

/// The object, its function `seal` giving 0 always: every answer that it ought to end counts as a fault.
fn answerless(from: &Path, to: &Path) {
    let mut bytes = std::fs::read(from).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let seal = file
        .symbols()
        .find(|symbol| symbol.name().is_ok_and(|name| name.ends_with("4seal")))
        .expect("the program has the function");
    let section = file
        .section_by_index(seal.section_index().unwrap())
        .unwrap();
    let at = (section.file_range().unwrap().0 + seal.address()) as usize;
    let exit = (0..seal.size() as usize / 8)
        .find(|number| bytes[at + number * 8..][..8] == [0x95, 0, 0, 0, 0, 0, 0, 0])
        .expect("it ends");
    // r0 = 0; if r0 == 0 goto the exit
    let [low, high] = (exit as i16 - 2).to_le_bytes();
    let code = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x15, 0, low, high, 0, 0, 0, 0];
    bytes[at..at + code.len()].copy_from_slice(&code);
    std::fs::write(to, bytes).unwrap();
}

#[test]
fn a_program_without_answers_is_taken_back_under_load() {
    let mut stand = Stand::up();
    let sick = stand.recording().with_extension("sick.o");
    answerless(&object(), &sick);
    let sick = sick.display().to_string();
    let running = || {
        let pinned = xdp_loader::open_pinned(&stand.pin_root).unwrap();
        pinned.link_program_id().unwrap()
    };
    let before = running();
    let (traded, ()) = while_trading(&stand, Duration::from_millis(50), || {
        for _ in 0..10 {
            let ran = replace(&stand, &["--object", &sick]);
            assert_eq!(ran.status, 7, "{ran:?}");
            let error = ran.json()["error"].as_str().unwrap().to_owned();
            assert!(error.contains("counter drop_answer grew by"), "{error}");
            println!("{error}");
            assert_eq!(running(), before, "the old one is back");
        }
    });
    println!(
        "{} packets, {} sent again: the answers that were not given came from the store",
        traded.sum(|stats| stats.packets),
        traded.sum(|stats| stats.resends)
    );
    assert_eq!(
        traded.sum(|stats| stats.answered),
        traded.sum(|stats| stats.packets)
    );
    println!("state hash {}, as replayed", agrees(&stand, &traded.logs));
    stand.unload();
}
