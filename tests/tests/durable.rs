//! Durable acks (RULES 12): nothing is answered before it is on the journal's disk, everything that was taken is answered in the end, whoever died in
//! between. In a ring of a thread the answers leave through the ring's own port; there a daemon that dies takes its shard with it, so it is the
//! journal that dies.

mod stand;

use ring0_trader::{
    Ack, Locate, Options, Order, Outcome, Price, Reference, Shares, Trader, TraderError,
    UdpTransport,
};
use ring0_wire::host::{Answer, Inbound, PacketBuilder};
use serde_json::Value;
use stand::{Ring, Stand};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use xdp_loader::Step;

/// How long the test waits for what must come: two processes may be started anew in between, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn stand(ring: Ring) -> Stand {
    let market = include_str!("../../markets/example.toml");
    Stand::in_ring(
        ring,
        &market.replacen("[shard]", "[shard]\nacks = \"durable\"", 1),
    )
}

fn order(at: u32) -> Order {
    Order::buy(Locate(1), Shares(1), Price((40_000 + at % 100) * 10_000))
}

fn counter(status: &Value, name: &str) -> u64 {
    status["counters"][name].as_u64().unwrap_or(0)
}

/// What comes within a time.
fn polled(trader: &mut Trader<UdpTransport>, wait: Duration) -> Vec<Ack> {
    let mut acks = Vec::new();
    let end = Instant::now() + wait;
    while Instant::now() < end {
        trader.poll(Duration::from_millis(10), &mut acks).unwrap();
    }
    acks
}

/// As many answers as are wanted, which must come.
fn awaited(trader: &mut Trader<UdpTransport>, wanted: usize) -> Vec<Ack> {
    let mut acks = Vec::new();
    let end = Instant::now() + PATIENCE;
    while acks.len() < wanted {
        assert!(Instant::now() < end, "{} of {wanted} answers", acks.len());
        trader.poll(Duration::from_millis(10), &mut acks).unwrap();
    }
    acks
}

/// A daemon, and a session that has traded with and without a journal: nothing is answered before it is on the disk, then everything is.
fn held_and_answered(stand: &mut Stand) -> Trader<UdpTransport> {
    let status = stand.start_daemon();
    assert_eq!(
        (&status["acks"], &status["durable"]),
        (&"durable".into(), &0.into())
    );
    let mut trader = stand.trader("alice-1");
    trader.send(&mut [order(0), order(1)]).unwrap();
    trader.heartbeat().unwrap();
    // Nobody journals: matched, recorded in the ring, and not answered, however often it is sent.
    assert_eq!(polled(&mut trader, Duration::from_millis(300)), []);
    let status = stand.status();
    assert_eq!(counter(&status, "held"), 2, "{status}");
    assert!(
        counter(&status, "held_duplicate") >= 1,
        "sent again meanwhile: {status}"
    );
    assert_eq!(
        (counter(&status, "taken"), counter(&status, "duplicate")),
        (0, 0)
    );
    assert_eq!(status["orders_live"], 2);
    assert_eq!(status["answers"]["sent"], 0);

    stand.start_journal();
    let acks = awaited(&mut trader, 2);
    // They waited for the journal for as long as nothing was answered above.
    let said = stand.client().call(&ring0d::Verb::Metrics).unwrap();
    let of = |part: &str| {
        let name = format!("ring0_held_answer_seconds_{part}{{");
        let mut lines = said["text"].as_str().unwrap().lines();
        let line = lines.find(|it| it.starts_with(&name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(of("count") >= 1.0 && of("sum") >= 0.25, "{said}");
    assert!(
        acks.iter().all(|ack| ack.outcome == Outcome::Accepted),
        "{acks:?}"
    );
    let end = Instant::now() + PATIENCE;
    while trader.unanswered() != 0 {
        assert!(Instant::now() < end, "the heartbeat is answered too");
        polled(&mut trader, Duration::from_millis(1));
    }
    let sequence = acks[1].venue_sequence;
    assert!(stand.status()["durable"].as_u64().unwrap() >= sequence);

    let deposit = ["deposit", "alice", "USD", "1"];
    assert_eq!(stand.ctl(&deposit).json()["durable"], true);

    // The journal dies: the market matches on and nobody is told; an operator is told that.
    stand.kill_recorder();
    assert_eq!(stand.ctl(&deposit).json()["durable"], false);
    trader.send(&mut [order(2)]).unwrap();
    assert_eq!(polled(&mut trader, Duration::from_millis(200)), []);
    let durable = stand.status()["durable"].as_u64().unwrap();
    // What is not taken tells nothing of what is not durable, and is answered at once.
    assert_eq!(stand.status()["orders_live"], 3);
    stand.start_journal();
    let acks = awaited(&mut trader, 1);
    assert!(acks[0].venue_sequence > durable);
    trader
}

#[test]
fn what_is_not_on_the_disk_is_not_answered_and_then_is() {
    let mut stand = stand(Ring::Kernel);
    let mut trader = held_and_answered(&mut stand);

    // The daemon dies: the program answers duplicates that are durable, so a client that sends again has its answer.
    stand.kill_daemon();
    let acks = trader.submit(&[order(3)]).unwrap();
    assert_eq!(acks[0].outcome, Outcome::Accepted);
    let status = stand.start_daemon();
    assert_eq!(status["adopted"], true);
    assert!(counter(&status, "duplicate") >= 1, "{status}");
    let acks = trader.submit(&[order(4)]).unwrap();
    assert_eq!(acks[0].outcome, Outcome::Accepted);
    stand.settle();

    // Another policy is another market.
    stand.kill_daemon();
    let file = stand.market_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("durable", "matched")).unwrap();
    assert_eq!(stand.daemon_command().status().unwrap().code(), Some(1));
    let log = stand.daemon_log();
    assert!(
        log.contains("its acks are durable and the file's matched"),
        "{log}"
    );
    stand.unload();
}

/// In a ring of a thread: what is held, and what of it is answered when it is sent again.
fn a_thread_holds_answers(ring: Ring) {
    let mut stand = stand(ring);
    let mut trader = held_and_answered(&mut stand);

    let session = stand.market.session("bob-1").unwrap().clone();
    let socket = stand.trader_socket();
    let packet = |sequence: u64| {
        let mut builder = PacketBuilder::new(session.id(), sequence);
        let order = order(0).reference(Reference(sequence as u32));
        let message = Inbound::from_message(order.message()).unwrap();
        builder.push(&message).unwrap();
        builder.sign(session.key())
    };
    let answer = |wait: Duration| {
        socket.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = [0; 2048];
        match socket.recv(&mut bytes) {
            Ok(len) => Some(Answer::read(&bytes[..len], session.key()).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    };
    const SILENCE: Duration = Duration::from_millis(150);
    socket.send(&packet(1)).unwrap();
    let first = answer(PATIENCE).expect("a journal is there");
    assert_eq!((first.sequence, first.acks.len()), (1, 1));

    stand.kill_recorder();
    let before = stand.status();
    socket.send(&packet(3)).unwrap();
    socket.send(&packet(3)).unwrap();
    assert_eq!(answer(SILENCE), None, "held, however often it is sent");
    let after = stand.status();
    for name in ["held", "held_duplicate"] {
        assert_eq!(counter(&after, name), counter(&before, name) + 1, "{name}");
    }
    // What is on the disk is answered by the ring itself, journal or not, and from the store: the same answer.
    socket.send(&packet(1)).unwrap();
    assert_eq!(answer(PATIENCE), Some(first));
    // And what is not taken tells nothing of what is not durable.
    socket.send(&packet(50)).unwrap();
    let hole = answer(PATIENCE).expect("a hole is said at once");
    assert_eq!(hole.acks[0].sequence, 5, "the expected client sequence");
    assert_eq!(answer(SILENCE), None);

    stand.start_journal();
    let held = answer(PATIENCE).expect("durable at last");
    assert_eq!((held.sequence, held.acks.len()), (3, 1));
    socket.send(&packet(3)).unwrap();
    assert_eq!(answer(PATIENCE), Some(held), "again from the store");
    assert_eq!(answer(SILENCE), None, "once for each time it was sent");

    let acks = trader.submit(&[order(3)]).unwrap();
    assert_eq!(acks[0].outcome, Outcome::Accepted);
    let status = stand.status();
    assert_eq!(
        (&status["answers"]["left_out"], &status["journal_failed"]),
        (&0.into(), &false.into()),
        "{status}"
    );
    assert_eq!(counter(&status, "taken"), 0, "{status}");
    stand.settle();
    stand.unload();
}

#[test]
fn the_udp_ring_answers_what_is_on_the_disk() {
    a_thread_holds_answers(Ring::Udp);
}

#[test]
fn the_afxdp_ring_answers_what_is_on_the_disk() {
    a_thread_holds_answers(Ring::Afxdp);
}

#[test]
#[cfg(feature = "dpdk")]
fn the_dpdk_ring_answers_what_is_on_the_disk() {
    if ring0_dpdk::AVAILABLE {
        a_thread_holds_answers(Ring::Dpdk);
    } else {
        eprintln!("skipped: this machine has no DPDK; install libdpdk-dev");
    }
}

/// A small file system, gone with the value.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(bytes: u32) -> Small {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "ring0-test"])
            .arg(folder.path())
            .status();
        assert!(status.unwrap().success());
        Small(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status(); // its processes have ended
    }
}

/// The disk is full: the shard takes nothing more at once, though its ring has room, and says why; with another disk it goes on.
fn a_full_disk_stops_it(ring: Ring) {
    let small = Small::mount(1 << 20);
    let mut stand = stand(ring);
    stand.start_daemon();
    let file = small.0.path().join("records").display().to_string();
    stand.start_recorder_with(&["--out", &file]);
    let mut trader = stand.trader("alice-1");
    let orders: Vec<Order> = (0..30).map(order).collect();
    let end = Instant::now() + PATIENCE;
    let mut acks = Vec::new();
    while !stand.status()["journal_failed"].as_bool().unwrap() {
        assert!(Instant::now() < end, "the disk is never full");
        match trader.send(&mut orders.clone()) {
            Ok(_) => {}
            Err(TraderError::WindowFull { .. }) => {
                trader.poll(Duration::from_millis(5), &mut acks).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    let status = stand.status();
    let (room, published) = (&status["ring"]["slots"], &status["ring"]["published"]);
    assert!(
        published.as_u64() < room.as_u64(),
        "the ring has room: {status}"
    );
    // What was on the disk is answered, the rest is not; what comes now is not taken.
    let durable = status["durable"].as_u64().unwrap();
    let taken = counter(&status, "held");
    acks.extend(polled(&mut trader, Duration::from_millis(300)));
    assert!(!acks.is_empty() && acks.iter().all(|ack| ack.venue_sequence <= durable));
    assert_ne!(trader.unanswered(), 0);
    let mut other = stand.trader("bob-1");
    other.send(&mut [order(0)]).unwrap();
    assert_eq!(polled(&mut other, Duration::from_millis(100)), []);
    let status = stand.status();
    assert_eq!(counter(&status, "held"), taken, "nothing is taken");
    assert!(counter(&status, "not_taken_ring_full") > 0, "{status}");
    let log = stand.recorder_log();
    assert!(log.contains("No space left on device"), "{log}");
    stand.kill_recorder(); // it has ended by itself

    stand.start_recorder(); // in another place; what the ring still has goes on there
    awaited(&mut other, 1);
    let end = Instant::now() + PATIENCE;
    while trader.unanswered() != 0 {
        assert!(Instant::now() < end, "{} unanswered", trader.unanswered());
        polled(&mut trader, Duration::from_millis(5));
    }
    assert_eq!(stand.status()["journal_failed"], false);
    stand.unload();
}

#[test]
fn a_full_disk_stops_the_shard_at_once() {
    a_full_disk_stops_it(Ring::Kernel);
}

#[test]
fn a_full_disk_stops_a_thread_at_once() {
    a_full_disk_stops_it(Ring::Udp);
}

/// Rounds of the crash test: `RING0_CRASH_RUNS` or a few (`scripts/crash` does many).
fn runs() -> u32 {
    match std::env::var("RING0_CRASH_RUNS") {
        Ok(text) => text.parse().expect("RING0_CRASH_RUNS is a number"),
        Err(_) => 10,
    }
}

/// Answers between two deaths, at least.
const ANSWERS_MIN: u64 = 8;

/// Journal, and where the shard outlives it daemon and loader, are killed with -9 at random while four sessions trade. Every answer that a trader had is in the journal, with its numbers; every packet
/// is answered; the journal replays to the shard's state.
fn every_answer_is_in_the_journal(ring: Ring) {
    let mut stand = stand(ring);
    stand.start_daemon();
    stand.start_journal();
    let seed = ring0_tests::seed();
    let mut random = ring0_tests::Random(seed);
    // Without a daemon that is started anew a round is short.
    let runs = match ring {
        Ring::Kernel => runs(),
        _ => 4 * runs(),
    };
    let mut kills = [0_u32; 3];
    let finish = AtomicBool::new(false);
    let answers = AtomicU64::new(0);
    let names = ["alice-1", "bob-1", "carol-1", "dave-1"];
    let traders = names.map(|name| {
        let trader = stand.trader(name);
        let options = Options {
            patience: PATIENCE,
            ..Options::of(trader.session())
        };
        trader.with_options(options)
    });
    let logs: Vec<Vec<Ack>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0_u32..)
            .zip(traders)
            .map(|(which, mut trader)| {
                let (finish, answers) = (&finish, &answers);
                scope.spawn(move || {
                    let mut log = Vec::new();
                    let mut round = which;
                    while !finish.load(Ordering::Acquire) {
                        round += 1;
                        let price = Price((50_000 + round % 5) * 10_000);
                        let order = match round % 2 {
                            0 => Order::buy(Locate(1), Shares(2), price),
                            _ => Order::sell(Locate(1), Shares(2), price),
                        };
                        trader
                            .send(&mut [order, Order::mass_cancel(Some(Locate(2)))])
                            .unwrap();
                        // The answers wait for a process that may be dead: patience is the test's, not the client's.
                        let end = Instant::now() + PATIENCE;
                        let wanted = log.len() + 2;
                        while log.len() < wanted {
                            assert!(Instant::now() < end, "session {which} is not answered");
                            trader.poll(Duration::from_millis(5), &mut log).unwrap();
                        }
                        answers.fetch_add(2, Ordering::Relaxed);
                    }
                    log
                })
            })
            .collect();
        let steps: Vec<_> = Step::ALL
            .into_iter()
            .filter(|it| !it.name().starts_with("unload"))
            .collect();
        for _ in 0..runs {
            // Some trading between two deaths, however slow the machine is.
            let (before, end) = (answers.load(Ordering::Relaxed), Instant::now() + PATIENCE);
            while answers.load(Ordering::Relaxed) < before + ANSWERS_MIN {
                assert!(Instant::now() < end, "nobody is answered any more");
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(30 + random.below(120) as u64));
            let victim = match ring {
                Ring::Kernel => random.below(4),
                _ => 0, // a daemon would take its shard along
            };
            let (journal, daemon) = (victim != 1, victim != 0);
            if journal {
                stand.kill_recorder();
                kills[0] += 1;
            }
            if daemon {
                stand.kill_daemon();
                kills[1] += 1;
            }
            if victim == 3 {
                // The next start dies too, at a step of its load; one that an adopting load does not pass lets it start, and end as asked.
                let step = steps[random.below(steps.len())];
                let mut command = stand.daemon_command();
                command
                    .env("XDP_LOADER_DIE_AT", step.name())
                    .arg("--seconds=0");
                let status = command.status().unwrap();
                assert!(
                    status.success() || status.signal() == Some(9),
                    "{step:?}: {status}"
                );
                kills[2] += u32::from(!status.success());
            }
            std::thread::sleep(Duration::from_millis(random.below(40) as u64));
            if daemon {
                stand.start_daemon();
            }
            if journal {
                stand.start_journal();
            }
        }
        finish.store(true, Ordering::Release);
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    stand.settle();
    let status = stand
        .client()
        .call(&ring0d::Verb::Status { hash: true })
        .unwrap();
    let held = counter(&status, "held");
    stand.kill_recorder();

    let recorded = stand.journaled();
    let mut answered = 0;
    for (session, log) in (0..).zip(&logs) {
        for ack in log {
            let found = recorded.get(&(session, ack.sequence)).unwrap_or_else(|| {
                panic!("RING0_SEED={seed}: answered and not journaled: {ack:?}")
            });
            assert_eq!(
                (found.head.sequence, found.quantity, found.outcome == b'A'),
                (
                    ack.venue_sequence,
                    ack.quantity,
                    ack.outcome == Outcome::Accepted
                ),
                "RING0_SEED={seed}: {ack:?}"
            );
            assert_ne!(found.reply_to.port, 0, "a held answer has an address");
            answered += 1;
        }
    }
    for message in recorded.values() {
        let first = message.client_sequence - u64::from(message.index);
        for at in 0..u64::from(message.count) {
            let whole = recorded.contains_key(&(message.session, first + at));
            assert!(whole, "RING0_SEED={seed}: part of a packet: {message:?}");
        }
    }
    assert_eq!(
        counter(&status, "taken"),
        0,
        "nothing is answered as it is taken"
    );
    assert!(
        answered >= u64::from(runs) * ANSWERS_MIN,
        "{answered} answered"
    );
    let (market, journal) = (stand.market_file(), stand.journal());
    let words = [
        "journal",
        "replay",
        "--json",
        "--from-first",
        "--reference",
        "--market",
    ];
    let mut words = words.map(str::to_owned).to_vec();
    words.extend([market, journal].map(|path| path.display().to_string()));
    let ran = ring0_tests::ring0(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.status, 0, "{ran:?}");
    let replayed = ran.json();
    assert_eq!(
        replayed["state_hash"], status["state_hash"],
        "RING0_SEED={seed}"
    );
    let [journals, daemons, loaders] = kills;
    println!(
        "RING0_SEED={seed}: {runs} runs; killed: {journals} journals, {daemons} daemons, {loaders} loads; {held} packets, {answered} messages \
         answered, {} journaled, none lost, none twice; replayed to the shard's state",
        recorded.len()
    );
    stand.unload();
}

#[test]
fn every_answer_is_in_the_journal_whoever_dies() {
    every_answer_is_in_the_journal(Ring::Kernel);
}

#[test]
fn every_answer_of_a_thread_is_in_the_journal_whoever_dies() {
    every_answer_is_in_the_journal(Ring::Udp);
}
