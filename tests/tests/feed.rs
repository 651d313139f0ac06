//! The public feed of a market in the kernel: orders over a veth pair, `ring0 feed serve` as a process that dies and comes back,
//! subscribers at the other end of the wire. What they have is what the record says, and their books are the engine's.

#[path = "../../userspace-api/feed/tests/market/mod.rs"]
mod market;
mod stand;

use market::{Naive, Tape, assert_same_books};
use ring0_engine::canon::{Listing, Tag};
use ring0_engine::native::Native;
use ring0_engine::replay::Replayer;
use ring0_feed::{
    AnswerSink, Answers, FIRST_SESSION, Heard, Line, Listener, RingSource, Sink, Source,
    SubscribeOptions, Subscriber, Translator,
};
use ring0_itch::mold::Session;
use ring0_tests::{Random, seed};
use ring0_trader::{
    Ack, Locate, Order, Outcome, Peg, Price, Reference, Shares, Side, Trader, UdpTransport,
};
use serde_json::Value;
use stand::Stand;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn group(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(239, 77, 0, last), port)
}

/// Both lines as seen from an address.
fn lines(interface: Ipv4Addr) -> [Line; 2] {
    [group(1, 30_001), group(2, 30_002)].map(|group| Line { group, interface })
}

fn servers(stand: &Stand) -> [SocketAddr; 2] {
    let address = stand.veth.exchange_address;
    [(address, 4501).into(), (address, 4502).into()]
}

/// Starts `ring0 feed serve` at the exchange's end.
fn serve(stand: &Stand, more: &[&str]) -> Child {
    let [a, b] = lines(stand.veth.exchange_address).map(|line| line.to_string());
    let [requests, glimpse] = servers(stand).map(|it| it.to_string());
    let [answers, answers_udp] =
        [4503, 4504].map(|port| format!("{}:{port}", stand.veth.exchange_address));
    let keys = stand.market_file().display().to_string();
    let pin_root = stand.pin_root.display().to_string();
    let mut arguments = vec![
        "feed",
        "serve",
        "--pin-root",
        &pin_root,
        "--line-a",
        &a,
        "--line-b",
        &b,
        "--in-netns",
        &stand.veth.exchange_ns,
        "--requests",
        &requests,
        "--glimpse",
        &glimpse,
        "--required",
        "--json",
        "--answers",
        &answers,
        "--answers-udp",
        &answers_udp,
        "--keys",
        &keys,
    ];
    arguments.extend(more);
    let mut command = stand.command("feed.log", &arguments);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What a subscriber has heard so far, shared with the test.
#[derive(Default)]
struct Ear {
    tape: Tape,
    naive: Naive,
    next: u64,
    session: Option<Session>,
    from_snapshot: bool,
    heard: Heard,
    whole: bool,
}

impl Listener for Ear {
    fn begin(&mut self, session: Session) {
        if self.tape.ended < self.tape.sessions.len() {
            self.tape.end();
        }
        self.tape.begin(session);
        self.naive = Naive::default();
        self.session = Some(session);
    }

    fn message(&mut self, sequence: u64, message: &[u8]) {
        self.from_snapshot |= sequence == 0;
        self.tape.message(message);
        self.naive.apply(message);
    }

    fn end(&mut self, _: Session) {
        self.tape.end();
    }
}

/// A subscriber at the trader's end, on a thread of its own until the stop is dropped.
struct Listening {
    ear: Arc<Mutex<Ear>>,
    stop: Arc<Mutex<bool>>,
}

impl Listening {
    fn start(stand: &Stand, glimpse: bool) -> Listening {
        let [requests, snapshots] = servers(stand);
        let mut options = SubscribeOptions::new(lines(stand.veth.trader_address).to_vec());
        options.requests = Some(requests);
        options.glimpse = glimpse.then_some(snapshots);
        let (ear, stop) = (Arc::<Mutex<Ear>>::default(), Arc::<Mutex<bool>>::default());
        let (to, stopped) = (Arc::clone(&ear), Arc::clone(&stop));
        let (ready, is_ready) = std::sync::mpsc::channel();
        ring0_lab::spawn_in_netns(&stand.veth.trader_ns, move || {
            let mut subscriber = Subscriber::open(options).unwrap();
            ready.send(()).unwrap();
            while !*stopped.lock().unwrap() {
                let mut ear = to.lock().unwrap();
                subscriber
                    .poll(Duration::from_millis(1), &mut *ear)
                    .unwrap_or_else(|error| panic!("{error}: {:?}", subscriber.heard()));
                ear.heard = *subscriber.heard();
                ear.next = subscriber.arbiter().next();
                ear.whole = subscriber.arbiter().is_whole();
                drop(ear);
                std::thread::yield_now();
            }
        });
        is_ready
            .recv_timeout(PATIENCE)
            .expect("the subscriber's sockets");
        Listening { ear, stop }
    }

    /// Waits until it has all of a tape's last session.
    fn until(&self, what: &str, tape: &Tape) {
        let (session, messages) = tape.sessions.last().unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let ear = self.ear.lock().unwrap();
            if ear.session == Some(*session) && ear.next == messages.len() as u64 + 1 {
                return;
            }
            assert!(
                Instant::now() < end,
                "{what}: at {:?} {} of {session} {}: {:?}",
                ear.session,
                ear.next,
                messages.len() + 1,
                ear.heard
            );
            drop(ear);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Ok(mut stop) = self.stop.lock() {
            *stop = true;
        }
    }
}

/// A trader's live references, so that it can change what it has.
struct Hand {
    trader: Trader<UdpTransport>,
    live: Vec<Reference>,
}

impl Hand {
    /// A packet of a few orders, replaces, reduces and cancels around a price.
    fn act(&mut self, random: &mut Random) -> usize {
        let locate = Locate(1);
        let mut orders = Vec::new();
        for _ in 0..=random.below(6) {
            let side = if random.below(2) == 0 {
                Side::Buy
            } else {
                Side::Sell
            };
            let dollars = match side {
                Side::Buy => 59_990 + random.below(12) as u32,
                Side::Sell => 60_010 - random.below(12) as u32,
            };
            let (shares, price) = (Shares(1 + random.below(9) as u32), Price(dollars * 10_000));
            let order = Order::limit(side, locate, shares, price);
            orders.push(match (random.below(20), self.live.last().copied()) {
                (0 | 1, Some(_)) => {
                    let at = random.below(self.live.len());
                    Order::cancel(locate, self.live.swap_remove(at))
                }
                (2, Some(one)) => Order::reduce(locate, one, Shares(1)),
                (3 | 4, Some(_)) => {
                    let at = random.below(self.live.len());
                    Order::replace(locate, self.live.swap_remove(at), shares, price)
                }
                (5, _) => Order::limit(side, locate, Shares(10), price).iceberg(Shares(2)),
                (6, _) => order.hidden(),
                (7, _) => order.peg(Peg::Primary, 0),
                (8, _) => order.immediate(),
                (9, _) => order.good_till_cancel(),
                _ => order,
            });
        }
        let acks = self.trader.submit(&orders).unwrap();
        let placed = acks
            .iter()
            .filter(|ack: &&Ack| ack.outcome == Outcome::Accepted);
        self.live.extend(placed.map(|ack| ack.reference));
        acks.len()
    }
}

/// What the recording says: the feed that follows from it, and the engine's state.
fn truth(stand: &Stand) -> (Tape, Native) {
    stand.settle();
    let (bytes, _) = stand.recorded();
    let (mut tape, mut translator) = (Tape::default(), Translator::new(FIRST_SESSION));
    translator.feed(&bytes, &mut tape).unwrap();
    let mut native = Native::new(&stand.market.capacity()).unwrap();
    Replayer::new(&native, None)
        .feed(&bytes, &mut native)
        .unwrap();
    (tape, native)
}

fn wait_for_log(stand: &Stand, child: &mut Child, times: usize) {
    let log = stand.market_file().with_file_name("feed.log");
    let end = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.matches("ring0 feed: session").count() == times {
            return;
        }
        assert!(
            child.try_wait().unwrap().is_none() && Instant::now() < end,
            "{text}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn json_of(child: Child) -> Value {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Starts a listening verb at the trader's end.
fn listening_verb(stand: &Stand, verb: &str, more: &[&str]) -> Child {
    let [a, b] = lines(stand.veth.trader_address).map(|line| line.to_string());
    let mut arguments = vec![
        "feed",
        verb,
        "--line-a",
        &a,
        "--line-b",
        &b,
        "--in-netns",
        &stand.veth.trader_ns,
        "--json",
    ];
    arguments.extend(more);
    let mut command = stand.command("listen.log", &arguments);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Packets in a classic capture.
fn captured(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    let (mut at, mut packets) = (24, 0);
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        at += 16 + length as usize;
        packets += 1;
    }
    assert_eq!(at, bytes.len(), "whole packets");
    packets
}

/// A `ring0 feed answers` of alice's session, or of her account's drop copy, with what it has printed.
struct Reading {
    child: Child,
    lines: std::sync::mpsc::Receiver<Value>,
    reader: std::thread::JoinHandle<()>,
}

impl Reading {
    /// Starts it at the trader's end; `server` is `--server` or `--udp`.
    fn start(stand: &Stand, server: &str, drop_copy: bool) -> Reading {
        let port = if server == "--udp" { 4504 } else { 4503 };
        let address = format!("{}:{port}", stand.veth.exchange_address);
        let key = stand.market_file().with_file_name("keys/alice-1.key");
        let key = key.display().to_string();
        let mut arguments = vec![
            "feed",
            "answers",
            "--json",
            server,
            &address,
            "--key-file",
            &key,
            "--in-netns",
            &stand.veth.trader_ns,
        ];
        if drop_copy {
            arguments.extend(["--drop-copy", "0"]);
        }
        let mut child = stand
            .command("answers.log", &arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (give, lines) = std::sync::mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in out.lines() {
                let _ = give.send(serde_json::from_str::<Value>(&line.unwrap()).unwrap());
            }
        });
        Reading {
            child,
            lines,
            reader,
        }
    }

    /// Reads so many answers, all there are; gives them.
    fn whole(mut self, answers: u64) -> Vec<Value> {
        let mut taken = Vec::new();
        for expected in 1..=answers {
            let answer = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{error}: {expected} of {answers}"));
            assert_eq!(answer["sequence"], expected);
            taken.push(answer);
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.join().unwrap();
        assert_eq!(self.lines.try_iter().count(), 0, "no more than there are");
        taken
    }
}

/// Alice's open shares by client reference, from her answers alone.
fn open_orders(answers: &[Value]) -> BTreeMap<u64, u64> {
    let mut open: BTreeMap<u64, u64> = BTreeMap::new();
    for answer in answers {
        let number = |name: &str| answer[name].as_u64().unwrap();
        match answer["kind"].as_str().unwrap() {
            "accepted" => {
                open.insert(number("user_ref"), number("quantity"));
            }
            "replaced" => {
                open.remove(&number("original_user_ref")).unwrap();
                open.insert(number("user_ref"), number("quantity"));
            }
            "executed" | "canceled" => {
                let gone = answer["quantity"].as_u64().or(answer["decrement"].as_u64());
                let left = open.get_mut(&number("user_ref")).unwrap();
                *left -= gone.unwrap();
                open.retain(|_, left| *left != 0);
            }
            "rejected" | "cancel_rejected" | "system_event" | "priority_update" => {}
            other => panic!("{other}"),
        }
    }
    open
}

/// Answers to session 0, which is its account's only one.
#[derive(Default)]
struct Count(u64);

impl AnswerSink for Count {
    fn granted(&mut self, _: u32, _: u32, _: Session) {}

    fn answer(&mut self, session: Option<u32>, _: u32, _: &[u8]) {
        self.0 += u64::from(session == Some(0));
    }
}

/// Open shares of session 0 by client reference; its lots are of one share.
#[derive(Default)]
struct Live(BTreeMap<u64, u64>);

impl Listing for Live {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        if tag == Tag::Order && numbers[1] == 0 {
            self.0.insert(numbers[3], numbers[5]);
        }
    }
}

#[test]
fn subscribers_have_the_engines_book_over_death_and_days() {
    let mut random = Random(seed());
    let mut stand = Stand::up();
    let mut feed = serve(&stand, &[]);
    wait_for_log(&stand, &mut feed, 1);
    let first = Listening::start(&stand, false);
    let answers_from_the_start = Reading::start(&stand, "--udp", false);
    let folder = stand.market_file();
    let capture_file = folder.with_file_name("feed.pcap").display().to_string();
    let capture = listening_verb(&stand, "capture", &[&capture_file]);
    let mut hands = ["alice-1", "bob-1", "carol-1"].map(|name| Hand {
        trader: stand.trader(name),
        live: Vec::new(),
    });
    let mut messages = 0;
    let mut trade = |hands: &mut [Hand; 3], packets| {
        for _ in 0..packets {
            messages += hands[random.below(3)].act(&mut random);
        }
    };

    // From the first message on, and by a snapshot in the middle.
    trade(&mut hands, 400);
    let late = Listening::start(&stand, true);
    trade(&mut hands, 400);
    let (tape, native) = truth(&stand);
    first.until("the first", &tape);
    late.until("the late one", &tape);
    let check = |what: &str, tape: &Tape, native: &Native| {
        let ear = first.ear.lock().unwrap();
        assert!(
            ear.tape.sessions == tape.sessions,
            "{what}: every message, once, in order"
        );
        assert_same_books(native, &ear.naive, what);
        assert_eq!((ear.heard.lost, ear.heard.malformed), (0, 0));
        let ear = late.ear.lock().unwrap();
        assert!(ear.from_snapshot);
        assert_same_books(native, &ear.naive, what);
    };
    check("two subscribers", &tape, &native);

    // The publisher dies while orders go on; the next one makes the same feed from the recording and the ring.
    feed.kill().unwrap();
    feed.wait().unwrap();
    trade(&mut hands, 200);
    let recording = stand.recording().display().to_string();
    stand.settle();
    let mut feed = serve(&stand, &["--records", &recording]);
    wait_for_log(&stand, &mut feed, 2);
    trade(&mut hands, 200);
    let (tape, native) = truth(&stand);
    first.until("the first, after a death", &tape);
    late.until("the late one, after a death", &tape);
    check("after the publisher's death", &tape, &native);
    let recovered = first.ear.lock().unwrap().heard.recovered;
    assert!(recovered > 0, "what was traded meanwhile was asked for");

    // The day ends and another begins: a session of its own, with what lasts.
    let done = |words: &[&str]| {
        let ran = stand.ctl(words);
        assert_eq!(ran.status, 0, "{words:?}: {ran:?}");
    };
    done(&["close-day"]);
    done(&["open-day", "--feed-session", "DAY0000002"]);
    done(&["state", "BTC-USD", "pre-open"]);
    done(&["resume", "BTC-USD"]);
    for hand in &mut hands {
        hand.live.clear();
    }
    trade(&mut hands, 200);
    let listen = {
        let [requests, glimpse] = servers(&stand).map(|it| it.to_string());
        listening_verb(
            &stand,
            "listen",
            &[
                "--requests",
                &requests,
                "--glimpse",
                &glimpse,
                "--every",
                "100",
                "--symbol",
                "BTC-USD",
            ],
        )
    };
    trade(&mut hands, 100);
    let (tape, native) = truth(&stand);
    assert_eq!(tape.sessions.len(), 2);
    assert_eq!(tape.sessions[1].0.0, *b"DAY0000002");
    first.until("the first, in a new day", &tape);
    late.until("the late one, in a new day", &tape);
    check("in a new day", &tape, &native);

    // A client's answers come to what it has in the engine: by either protocol, as its drop copy, and to one that was there over UDP
    // from the first order on, through the publisher's death.
    let mut engine = Live::default();
    native.shard().list(&mut engine);
    let mut count = Count::default();
    let (bytes, _) = stand.recorded();
    Answers::new(FIRST_SESSION)
        .feed(&bytes, &mut count)
        .unwrap();
    let answers = answers_from_the_start.whole(count.0);
    assert_eq!(
        open_orders(&answers),
        engine.0,
        "behind {} answers",
        count.0
    );
    for (server, drop_copy) in [
        ("--server", false),
        ("--server", true),
        ("--udp", false),
        ("--udp", true),
    ] {
        let same = Reading::start(&stand, server, drop_copy).whole(count.0);
        assert!(same == answers, "{server}, drop copy: {drop_copy}");
    }
    println!(
        "alice has {} orders open behind {} answers",
        engine.0.len(),
        count.0
    );

    // The commands agree with it.
    std::thread::sleep(Duration::from_millis(1500)); // a heartbeat, for who heard nothing since it joined
    let listened = json_of(listen);
    let next = tape.sessions[1].1.len() as u64 + 1;
    assert_eq!(
        (&listened["session"], &listened["next_message"]),
        (&"DAY0000002".into(), &next.into())
    );
    assert_eq!(
        (&listened["whole"], &listened["contradictions"]),
        (&true.into(), &0.into())
    );
    let expected = market::displayed(&native);
    let best = |side: &str, letter: u8| {
        let shown = listened["instruments"][0][side][0].clone();
        let (price, orders) = &expected[&(1, letter)][0];
        assert_eq!(
            shown["price"],
            format!("{}.{:04}", price / 10_000, price % 10_000)
        );
        assert_eq!(shown["shares"], orders.iter().sum::<u64>());
        assert_eq!(shown["orders"], orders.len());
    };
    best("bids", b'B');
    best("asks", b'S');
    let capture = json_of(capture);
    let packets: u64 = capture["packets"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .sum();
    assert!(packets > 0);
    assert_eq!(captured(Path::new(&capture_file)) as u64, packets);
    let published = json_of(feed);
    println!("{messages} messages of traders: {published}");
    assert_eq!(published["next_message"], next);
    assert_eq!(published["counters"]["line_errors"], 0);
    let answers = &published["answers"];
    assert!(answers["subscriptions"].as_u64() >= Some(3), "{answers}");
    for refused in ["malformed", "unknown", "forged", "refused", "limited"] {
        assert_eq!(answers[format!("requests_{refused}")], 0, "{answers}");
    }
    drop((first, late));
    stand.unload();
}

#[test]
fn nothing_is_published_above_the_watermark() {
    let mut stand = Stand::up();
    let pinned = xdp_loader::open_pinned(&stand.pin_root).unwrap();
    let mut consumer = ring0_rings::Consumer::observer(&pinned).unwrap();
    consumer.seek(0);
    let mark = Arc::new(AtomicU64::new(0));
    let durable = Arc::clone(&mark);
    let watermark = Box::new(move |_| durable.load(Ordering::Acquire));
    let mut source = RingSource::new(consumer, watermark);
    let mut trader = stand.trader("alice-1");
    for dollars in 50_000..50_040 {
        let order = Order::buy(Locate(1), Shares(1), Price(dollars * 10_000));
        trader.submit(&[order]).unwrap();
    }
    stand.settle();
    let (whole, _) = stand.recorded();
    let tail = (whole.len() / 64) as u64;
    let (mut read, mut random) = (Vec::new(), Random(seed()));
    for at in 0..=tail {
        mark.store(at, Ordering::Release);
        let slots_max = random.below(4) as u64;
        source.read(&mut read, slots_max).unwrap();
        source.published();
        assert!(read.len() as u64 / 64 <= at, "a slot above the watermark");
    }
    // One beyond the ring's end brings nothing that is not there.
    mark.store(u64::MAX, Ordering::Release);
    while source.read(&mut read, 100).unwrap() != 0 {}
    assert!(read == whole, "all records, each once");
    stand.unload();
}

/// On a shard with durable acks the public learns of an order when its owner does: when it is on the journal's disk.
#[test]
fn a_durable_shards_feed_waits_for_the_journal() {
    let market = include_str!("../../markets/example.toml");
    let mut stand = Stand::of(&market.replacen("[shard]", "[shard]\nacks = \"durable\"", 1));
    stand.start_daemon();
    let mut feed = serve(&stand, &[]);
    wait_for_log(&stand, &mut feed, 1);
    let listening = Listening::start(&stand, false);
    let answers = Reading::start(&stand, "--udp", false);
    let adds = |listening: &Listening| {
        let ear = listening.ear.lock().unwrap();
        let sessions = ear.tape.sessions.iter();
        let messages = sessions.flat_map(|(_, messages)| messages);
        messages.filter(|message| message[0] == b'A').count()
    };
    let heard = |wanted: usize| {
        let end = Instant::now() + PATIENCE;
        while adds(&listening) < wanted {
            assert!(Instant::now() < end, "{} of {wanted}", adds(&listening));
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(adds(&listening), wanted);
    };
    let mut trader = stand.trader("alice-1");
    let order = Order::buy(Locate(1), Shares(1), Price(50_000 * 10_000));
    trader.send(&mut [order]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        (stand.status()["orders_live"].clone(), adds(&listening)),
        (1.into(), 0)
    );
    assert!(answers.lines.try_recv().is_err(), "its owner neither");

    stand.start_journal();
    heard(1);
    // A publisher that comes back has its past from the journal.
    feed.kill().unwrap();
    feed.wait().unwrap();
    let journal = stand.journal().display().to_string();
    let mut feed = serve(&stand, &["--records", &journal]);
    wait_for_log(&stand, &mut feed, 2);
    trader.submit(&[order]).unwrap();
    heard(2);
    // Granted, accepted and displayed, accepted and displayed: the feed's death is nothing to who reads answers.
    let kinds: Vec<_> = answers
        .whole(5)
        .into_iter()
        .map(|it| it["kind"].clone())
        .collect();
    let order = ["accepted", "priority_update"];
    assert_eq!(kinds, [&["system_event"][..], &order, &order].concat());
    let report = json_of(feed);
    assert_eq!(report["displayed_orders"], 2);
    drop(listening);
    stand.unload();
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let mut stand = Stand::up();
    let [a, _] = lines(stand.veth.exchange_address).map(|line| line.to_string());
    let pin_root = stand.pin_root.display().to_string();
    let refused = |more: &[&str], status: i32, expected: &str| {
        let mut arguments = vec![
            "feed",
            "serve",
            "--pin-root",
            &pin_root,
            "--in-netns",
            &stand.veth.exchange_ns,
        ];
        arguments.extend(more);
        let ran = ring0_tests::ring0(&arguments);
        assert_eq!(ran.status, status, "{ran:?}");
        assert!(ran.err.contains(expected), "{ran:?}");
    };
    refused(&["--line-a", "nonsense"], 2, "GROUP:PORT@INTERFACE");
    refused(&["--line-a", &a, "--session", "short"], 2, "ten letters");
    refused(
        &["--line-a", "239.77.0.1:30001@10.99.99.99"],
        1,
        "check the address",
    );
    refused(&["--line-a", &a, "--records", "not-there"], 1, "not-there");
    // One feed a shard.
    let mut feed = serve(&stand, &["--release"]);
    wait_for_log(&stand, &mut feed, 1);
    refused(
        &["--line-a", &a],
        1,
        "another feed of this shard is running",
    );
    let required = |stand: &Stand| {
        let status = stand.status();
        let required = status["ring"]["required"].as_array().unwrap().clone();
        required.iter().any(|one| one["name"] == "feed")
    };
    assert!(required(&stand));
    json_of(feed);
    assert!(!required(&stand), "released");
    stand.unload();
}
