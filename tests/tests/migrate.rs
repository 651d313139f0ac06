//! A shard in the kernel moves to more capacity while clients trade, its answers wait for the disk, and a journal is written: nothing is lost, executed twice
//! or different, no packet passes it by, and the two journals together are one history.

mod stand;

use ring0_engine::record::Message;
use ring0_trader::{Ack, Locate, Order, Price, Shares, Trader, TraderError, UdpTransport};
use ring0d::Verb;
use serde_json::Value;
use stand::{Ring, Stand};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use xdp_loader::Step;

/// How long a client waits at a halted shard before it sends again.
const PATIENCE: Duration = Duration::from_millis(2);
/// How long clients trade before, between and behind the moves.
const STAY: Duration = Duration::from_millis(300);

const CAPACITIES: [&str; 3] = [
    "orders = 65_536",
    "orders = 200_000\naccounts = 100\nassets = 20\ninstruments = 40\nsessions = 90\nbuckets = 8192",
    "orders = 300_000\naccounts = 100\nassets = 20\ninstruments = 40\nsessions = 300\nbuckets = 8192",
];

/// A market with the capacity of a number.
fn market(stand: &Stand, number: usize) -> PathBuf {
    let file = stand.market_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let now = CAPACITIES.iter().find(|it| text.contains(**it)).unwrap();
    let larger = file.with_file_name(format!("market-{number}.toml"));
    std::fs::write(&larger, text.replacen(now, CAPACITIES[number], 1)).unwrap();
    larger
}

/// Order after order; what a shard that stands still did not take is sent again.
fn trade(mut trader: Trader<UdpTransport>, stop: &AtomicBool) -> (Vec<Ack>, u32) {
    let (mut acks, mut halts) = (Vec::new(), 0);
    for round in 0_u32.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let price = |places| Price((50_000 + places) * 10_000);
        let orders = [
            Order::buy(Locate(1), Shares(2), price(round % 7)),
            Order::sell(Locate(1), Shares(1), price(4 + round % 5)),
        ];
        let halted = |error: TraderError| match error {
            TraderError::Halted { .. } => std::thread::sleep(PATIENCE),
            error => panic!("{error}"),
        };
        match trader.submit(&orders) {
            Ok(answered) => acks.extend(answered),
            Err(error) => {
                halted(error);
                halts += 1;
            }
        }
        while trader.unanswered() != 0 {
            if let Err(error) = trader.poll(PATIENCE, &mut acks) {
                halted(error);
            }
        }
    }
    (acks, halts)
}

fn hash(stand: &Stand) -> Value {
    stand.settle();
    state_hash(stand)
}

fn state_hash(stand: &Stand) -> Value {
    let status = stand.client().call(&Verb::Status { hash: true });
    status.unwrap()["state_hash"].clone()
}

/// Balances, best prices, live orders, expected sequences.
fn books(stand: &Stand) -> [Value; 4] {
    let accounts = stand.client().call(&Verb::Accounts).unwrap();
    let status = stand.status();
    let part = |name: &str| status[name].clone();
    [
        accounts,
        part("instruments"),
        part("orders_live"),
        part("sessions"),
    ]
}

fn counter(stand: &Stand, name: &str) -> u64 {
    stand.status()["counters"][name].as_u64().unwrap_or(0)
}

/// Replays a journal's folder with a market; gives the state's hash.
fn replayed(market: &Path, folder: &Path) -> Value {
    let [market, folder] = [market, folder].map(|path| path.display().to_string());
    let ran = ring0_tests::ring0(&["journal", "replay", "--json", "--market", &market, &folder]);
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.json()["state_hash"].clone()
}

#[test]
fn a_shard_grows_twice_while_clients_trade() {
    let text = include_str!("../../markets/example.toml");
    let mut stand = Stand::of(&text.replacen("[shard]", "[shard]\nacks = \"durable\"", 1));
    stand.start_daemon();
    stand.start_journal();
    let traders = ["alice-1", "bob-1"].map(|name| stand.trader(name));
    let files = [0, 1, 2].map(|number| market(&stand, number));
    let folder = |number: usize| stand.journal().with_extension(format!("life-{number}"));
    let folders = [stand.journal(), folder(1), folder(2)];
    let passed = "pass_not_ready";
    assert_eq!(counter(&stand, passed), 0);
    let stop = AtomicBool::new(false);
    let mut lives: Vec<Value> = Vec::new();
    let (mut answered, mut pauses) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let ends = Ends(&stop);
        let trading = traders.map(|trader| scope.spawn(|| trade(trader, &stop)));
        for number in 1..files.len() {
            std::thread::sleep(STAY);
            let before = stand.status();
            let [to, next] = [&files[number], &folders[number]].map(|it| it.display().to_string());
            // The first by the loader's verb, the second by the operator's.
            let moved = if number == 1 {
                let socket = stand.socket().display().to_string();
                let pin_root = stand.pin_root.display().to_string();
                let words = [
                    "--json",
                    "replace",
                    "--pin-root",
                    &pin_root,
                    "--socket",
                    &socket,
                ];
                let ran = ring0_tests::xdp_loader(
                    &[&words[..], &["--migrate", &to, "--journal", &next]].concat(),
                );
                assert_eq!(ran.status, 0, "{ran:?}");
                ran.json()
            } else {
                let ran = stand.ctl(&["migrate", &to, "--journal", &next]);
                assert_eq!(ran.status, 0, "{ran:?}");
                ran.json()
            };
            println!("{moved}");
            pauses.push(moved["pause_ms"].as_f64().unwrap());
            assert!(moved["bytes"].as_u64() > moved["bytes_before"].as_u64());
            lives.push(moved["state_hash"].clone());
            let after = stand.status();
            assert_ne!(after["arena_id"], before["arena_id"]);
            assert_ne!(after["program_id"], before["program_id"]);
            assert_eq!(
                (&after["halted"], &after["attached"]),
                (&false.into(), &true.into())
            );
            // The recorder has ended by itself, with everything on the disk; the next one goes on where it ended.
            stand.await_recorder();
            let log = stand.recorder_log();
            let said = log.matches("moved to another capacity at slot").count();
            assert_eq!(said, number, "{log}");
            stand.set_journal(&folders[number]);
            stand.start_journal();
        }
        std::thread::sleep(STAY);
        drop(ends);
        for (session, trader) in (0_u32..).zip(trading) {
            let (acks, halts) = trader.join().unwrap();
            println!("{} answers, {halts} met the shard halted", acks.len());
            answered.extend(acks.into_iter().map(|ack| (session, ack)));
        }
    });
    println!("orders waited {pauses:.1?} ms");
    assert_eq!(counter(&stand, passed), 0, "no packet passed by the shard");
    lives.push(hash(&stand));
    stand.kill_recorder();

    // Each journal is one life of the shard, with its capacity, up to the state with which the next one begins.
    let mut recorded: HashMap<(u32, u64), Message> = HashMap::new();
    for ((market, folder), state) in files.iter().zip(&folders).zip(&lives) {
        assert_eq!(replayed(market, folder), *state, "{}", folder.display());
        stand.set_journal(folder);
        for (key, message) in stand.journaled() {
            let twice = recorded.insert(key, message);
            assert!(twice.is_none(), "executed twice: {key:?}");
        }
    }
    assert!(answered.len() > 200, "{}", answered.len());
    for (session, ack) in &answered {
        let found = &recorded[&(*session, ack.sequence)];
        assert_eq!(
            (found.head.sequence, found.quantity),
            (ack.venue_sequence, ack.quantity),
            "{ack:?}"
        );
    }
    // A daemon with the last file adopts what it finds; one with the first is told that it is another's.
    stand.kill_daemon();
    std::fs::copy(&files[2], stand.market_file()).unwrap();
    let status = stand.start_daemon();
    assert_eq!(status["adopted"], true);
    assert_eq!(state_hash(&stand), lives[2]);
    stand.unload();
}

/// Ends the clients also where an assertion fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn what_may_not_move_is_refused_and_trades_on() {
    let mut stand = Stand::up();
    let mut trader = stand.trader("alice-1");
    let mut trades = || {
        let order = Order::buy(Locate(1), Shares(1), Price(50_000 * 10_000));
        let acks = trader.submit(&[order]).unwrap();
        assert_eq!(acks[0].outcome, ring0_trader::Outcome::Accepted);
    };
    trades();
    let larger = market(&stand, 1);
    let text = std::fs::read_to_string(&larger).unwrap();
    let other = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let path = larger.with_file_name("other.toml");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        path
    };
    let check = |stand: &Stand, file: &Path, words: &[&str], says: &str| {
        let before = stand.status();
        let file = file.display().to_string();
        let ran = stand.ctl(&[&["migrate", &file], words].concat());
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.err.contains(says), "{says:?} is not in {ran:?}");
        let after = stand.status();
        for part in ["arena_id", "program_id", "halted"] {
            assert_eq!(after[part], before[part], "{part}");
        }
    };
    check(&stand, Path::new("none.toml"), &[], "none.toml");
    let smaller = other("orders = 200_000", "orders = 40_000");
    check(&stand, &smaller, &[], "can only grow");
    trades();
    check(
        &stand,
        &other("port = 9000", "port = 9001"),
        &[],
        "[shard] differs",
    );
    let full = larger.parent().unwrap().display().to_string();
    check(&stand, &larger, &["--journal", &full], "is not empty");
    check(
        &stand,
        &larger,
        &["--object", "/dev/null"],
        "is not an eBPF object",
    );
    trades();
    // A recorder that stands still: what it writes would break off.
    stand.freeze_recorder(true);
    trades();
    let begun = Instant::now();
    check(&stand, &larger, &[], "recorder is");
    assert!(begun.elapsed() < Duration::from_secs(10));
    trades();
    stand.freeze_recorder(false);
    // The loader's verb names who else's daemon it was given.
    let socket = stand.socket().display().to_string();
    let file = larger.display().to_string();
    let words = [
        "replace",
        "no-such",
        "--socket",
        &socket,
        "--migrate",
        &file,
    ];
    let ran = ring0_tests::xdp_loader(&words);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.err.contains("its pin_root"), "{ran:?}");
    let halt = Verb::Halt { instrument: None };
    stand.client().call(&halt).unwrap();
    let before = hash(&stand);
    let ran = stand.ctl(&["migrate", &file]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let moved = ran.json();
    assert_eq!(
        (&moved["still_halted"], &moved["pause_ms"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(stand.status()["halted"], true);
    assert_eq!(
        (&moved["state_hash"], &state_hash(&stand)),
        (&before, &before)
    );
    stand
        .client()
        .call(&Verb::Resume { instrument: None })
        .unwrap();
    trades();
    stand.unload();
}

/// A daemon that is killed in the middle of a move leaves the shard halted, in one arena or the other, with the same state; the next daemon goes on with it.
#[test]
fn a_daemon_is_killed_while_the_shard_moves() {
    let mut stand = Stand::new();
    let mut daemon = stand.daemon_command();
    let mut traders = None;
    let files = [0, 1].map(|number| market(&stand, number));
    for step in [
        Step::Filled,
        Step::NextPinned,
        Step::ArenaNamed,
        Step::KeysNamed,
        Step::MetaNamed,
    ] {
        std::fs::copy(&files[0], stand.market_file()).unwrap();
        stand.adopt_daemon(
            daemon
                .env("XDP_LOADER_DIE_AT", step.name())
                .spawn()
                .unwrap(),
        );
        stand.start_recorder();
        let traders =
            traders.get_or_insert_with(|| ["alice-1", "bob-1"].map(|name| stand.trader(name)));
        let mut trades = || {
            for (trader, places) in traders.iter_mut().zip([0, 1]) {
                let order = Order::buy(Locate(1), Shares(1), Price((50_000 + places) * 10_000));
                let acks = trader.submit(&[order]).unwrap();
                assert_eq!(acks[0].outcome, ring0_trader::Outcome::Accepted);
            }
        };
        trades();
        let before = books(&stand);
        let ran = stand.ctl(&["migrate", &files[1].display().to_string()]);
        assert_eq!(ran.status, 1, "{ran:?}");
        stand.await_death();
        // The recording ends with the move, also one that did not come; then it goes on where it ended.
        stand.await_recorder();
        let pinned = xdp_loader::open_pinned(&stand.pin_root).unwrap();
        let moved = pinned.sessions_max() == 90;
        assert_eq!(
            moved,
            step != Step::Filled && step != Step::NextPinned,
            "{step:?}"
        );
        println!(
            "{}: {}",
            step.name(),
            if moved { "moved" } else { "not moved" }
        );
        std::fs::copy(&files[usize::from(moved)], stand.market_file()).unwrap();
        let status = stand.start_daemon();
        let found = (&status["adopted"], &status["halted"]);
        assert_eq!(found, (&true.into(), &true.into()));
        if moved {
            std::fs::remove_file(stand.recording()).unwrap();
        }
        stand.start_recorder();
        let resume = Verb::Resume { instrument: None };
        stand.client().call(&resume).unwrap();
        assert_eq!(books(&stand), before, "{step:?}");
        trades();
        assert_ne!(books(&stand), before);
        stand.unload();
        *traders = ["alice-1", "bob-1"].map(|name| stand.trader(name));
        // The last recorder may have been killed before it began its file.
        let _ = std::fs::remove_file(stand.recording());
    }
}

#[test]
fn a_shard_in_a_process_says_how_it_grows() {
    let mut stand = Stand::in_ring(Ring::Udp, include_str!("../../markets/example.toml"));
    stand.start_daemon();
    let larger = market(&stand, 1).display().to_string();
    let ran = stand.ctl(&["migrate", &larger]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.err.contains("snapshot enlarge"), "{ran:?}");
    stand.unload();
}
