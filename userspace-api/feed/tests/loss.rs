//! Lines that lose, repeat and reorder: a book that is rebuilt behind them is the engine's, order by order, by re-requests
//! from the first message on, and by a snapshot in the middle.

mod market;

use market::{Market, Naive, Random, Tape, assert_same_books, seed};
use ring0_engine::flow::Profile;
use ring0_feed::{
    Arbiter, ArbiterOptions, Feed, FeedOptions, Line, Listener, Sink, SubscribeOptions, Subscriber,
    Translator, Via,
};
use ring0_itch::mold::{HEADER, PacketBuilder, Request, Session, end_of_session, heartbeat};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Packets in a hundred that a line loses, brings twice, and brings late.
const LOST: u64 = 15;
const TWICE: u64 = 5;
const LATE: u64 = 10;

/// Keeps what an arbiter delivers, and the book of it.
#[derive(Default)]
struct Ear {
    tape: Tape,
    naive: Naive,
    next: u64,
    snapshots: usize,
}

impl Listener for Ear {
    fn begin(&mut self, session: Session) {
        if self.tape.ended < self.tape.sessions.len() {
            self.tape.end(); // a snapshot voids what was before
        }
        self.tape.begin(session);
        self.naive = Naive::default();
        self.next = 1;
    }

    fn message(&mut self, sequence: u64, message: &[u8]) {
        if sequence == 0 {
            self.snapshots += 1;
        } else {
            if self.snapshots == 0 {
                assert_eq!(sequence, self.next, "one after the other");
            }
            self.next = sequence + 1;
        }
        self.tape.message(message);
        self.naive.apply(message);
    }

    fn end(&mut self, session: Session) {
        assert_eq!(self.tape.sessions.last().unwrap().0, session);
        self.tape.end();
    }
}

/// A wire in virtual time: packets with the time at which they come.
struct Wire {
    random: Random,
    flying: Vec<(Duration, Via, Vec<u8>)>,
}

impl Wire {
    fn send(&mut self, via: Via, packet: &[u8], now: Duration) {
        if self.random.percent(LOST) {
            return;
        }
        let copies = 1 + u32::from(self.random.percent(TWICE));
        for _ in 0..copies {
            let late = if self.random.percent(LATE) { 5_000 } else { 50 };
            let at = now + Duration::from_micros(20 + self.random.below(late));
            self.flying.push((at, via, packet.to_vec()));
        }
    }

    fn arrived(&mut self, now: Duration) -> Vec<(Via, Vec<u8>)> {
        let (mut here, flying): (Vec<_>, _) =
            self.flying.drain(..).partition(|(at, ..)| *at <= now);
        self.flying = flying;
        here.sort_by_key(|(at, ..)| *at);
        here.into_iter()
            .map(|(_, via, packet)| (via, packet))
            .collect()
    }
}

/// Packets of up to 1,400 bytes of a session.
fn packets(session: Session, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut builder = PacketBuilder::new(session, 1, 1400);
    for message in messages {
        if builder.push(message).is_err() {
            packets.push(builder.packet().to_vec());
            builder.begin_next();
            builder.push(message).unwrap();
        }
    }
    packets.push(builder.packet().to_vec());
    packets
}

fn is_end(packet: &[u8]) -> bool {
    packet.len() == HEADER && packet.ends_with(&[0xFF, 0xFF])
}

#[test]
fn every_message_comes_once_and_in_order_over_two_bad_lines() {
    let seed = seed();
    let mut market = Market::new(seed, Profile::Day);
    for _ in 0..6_000 {
        market.step();
    }
    let sent = &market.tape;
    assert!(sent.sessions.len() > 3, "days are opened");
    let mut wire = Wire {
        random: Random(seed ^ 1),
        flying: Vec::new(),
    };
    let mut arbiter = Arbiter::new(ArbiterOptions {
        patience: Duration::from_micros(500),
        retry: Duration::from_millis(10),
        ..ArbiterOptions::default()
    });
    let mut ear = Ear::default();
    let mut plan: Vec<(Session, Vec<u8>)> = Vec::new();
    for (number, (session, messages)) in sent.sessions.iter().enumerate() {
        let next = messages.len() as u64 + 1;
        plan.extend(
            packets(*session, messages)
                .into_iter()
                .map(|it| (*session, it)),
        );
        if number < sent.ended {
            plan.push((*session, end_of_session(*session, next).to_vec()));
        }
    }
    let (last, messages) = sent.sessions.last().unwrap();
    let target = (*last, messages.len() as u64 + 1);
    let mut plan = plan.into_iter().peekable();
    let (mut now, mut ended) = (Duration::ZERO, Vec::new());
    let mut rounds = 0;
    while (arbiter.session(), arbiter.next()) != (Some(target.0), target.1) {
        rounds += 1;
        assert!(
            rounds < 5_000_000,
            "it does not come to an end: {:?}",
            arbiter.heard()
        );
        now += Duration::from_micros(30);
        // The next day begins when this one is heard to its end and nothing of it is under way: nights are long.
        let is_night =
            ear.tape.ended < ended.len() || arbiter.session().is_none() && !wire.flying.is_empty();
        if !is_night && let Some((session, packet)) = plan.next() {
            for line in [0, 1] {
                wire.send(Via::Line(line), &packet, now);
            }
            if is_end(&packet) {
                ended.push((session, packet));
            }
        }
        if rounds % 1_000 == 0 {
            // The last ends are repeated, and the last session says how far it is.
            for (_, packet) in ended.iter().rev().take(4) {
                wire.send(Via::Line(0), packet, now);
            }
            if plan.peek().is_none() {
                wire.send(Via::Line(1), &heartbeat(target.0, target.1), now);
            }
        }
        for (via, packet) in wire.arrived(now) {
            arbiter.packet(&packet, via, now, &mut ear);
        }
        for request in arbiter.wants(now).requests {
            // The request may be lost, and so may its answer.
            if wire.random.percent(LOST) {
                continue;
            }
            let request = Request::read(&request.to_bytes()).unwrap();
            let (_, messages) = sent
                .sessions
                .iter()
                .find(|(it, _)| *it == request.session)
                .unwrap();
            let mut packet = PacketBuilder::new(request.session, request.sequence, 1400);
            let from = request.sequence as usize - 1;
            for message in messages[from..].iter().take(request.count.into()) {
                if packet.push(message).is_err() {
                    break;
                }
            }
            wire.send(Via::Answer, packet.packet(), now);
        }
    }
    let heard = arbiter.heard();
    println!("{heard:?}");
    let lengths =
        |tape: &Tape| -> Vec<usize> { tape.sessions.iter().map(|(_, it)| it.len()).collect() };
    assert_eq!(lengths(&ear.tape), lengths(sent), "messages of each day");
    assert!(
        ear.tape.sessions == sent.sessions,
        "every message, once, in order"
    );
    assert_eq!(heard.messages as usize, sent.count());
    assert!(
        heard.recovered > 0 && heard.duplicates > 0 && heard.gaps > 0,
        "{heard:?}"
    );
    assert_eq!((heard.lost, heard.malformed), (0, 0));
    assert_same_books(&market.native, &ear.naive, "after loss");
}

/// A line's relay on the loopback: from the feed's socket to each listener, losing, repeating and holding back.
struct Relay {
    address: SocketAddrV4,
    lost: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
}

impl Relay {
    fn start(listeners: Vec<SocketAddrV4>, seed: u64, stop: &Arc<AtomicBool>) -> Relay {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else {
            unreachable!("bound to an IPv4 address");
        };
        let (lost, passed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let relay = Relay {
            address,
            lost: Arc::clone(&lost),
            passed: Arc::clone(&passed),
        };
        let stop = Arc::clone(stop);
        std::thread::spawn(move || {
            let mut random = Random(seed);
            let mut held: Vec<Vec<(u64, Vec<u8>)>> = vec![Vec::new(); listeners.len()];
            let mut bytes = [0; 2048];
            let mut number = 0;
            while !stop.load(Ordering::Acquire) {
                let packet = socket
                    .recv(&mut bytes)
                    .ok()
                    .map(|len| bytes[..len].to_vec());
                number += 1;
                for (listener, held) in listeners.iter().zip(&mut held) {
                    if let Some(packet) = &packet {
                        if random.percent(LOST) {
                            lost.fetch_add(1, Ordering::Relaxed);
                        } else {
                            passed.fetch_add(1, Ordering::Relaxed);
                            let copies = 1 + u32::from(random.percent(TWICE));
                            for _ in 0..copies {
                                let late = if random.percent(LATE) {
                                    1 + random.below(20)
                                } else {
                                    0
                                };
                                held.push((number + late, packet.clone()));
                            }
                        }
                    }
                    held.retain(|(at, packet)| {
                        let is_due = *at <= number;
                        if is_due {
                            socket.send_to(packet, listener).unwrap();
                        }
                        !is_due
                    });
                }
            }
        });
        relay
    }
}

fn free_port() -> SocketAddrV4 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else {
        unreachable!("bound to an IPv4 address");
    };
    address
}

/// Where the listener stands, and the book it has: from another thread, when it has come to the target.
fn listen(
    mut subscriber: Subscriber,
    target: &AtomicU64,
    session: &dyn Fn() -> Option<Session>,
) -> (Ear, ring0_feed::Heard) {
    let mut ear = Ear::default();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        subscriber
            .poll(Duration::from_millis(2), &mut ear)
            .unwrap_or_else(|error| panic!("{error}: {:?}", subscriber.heard()));
        let arbiter = subscriber.arbiter();
        let goal = target.load(Ordering::Acquire);
        if goal != 0
            && arbiter.session() == session()
            && arbiter.next() == goal
            && arbiter.is_whole()
        {
            return (ear, *subscriber.heard());
        }
        assert!(
            Instant::now() < until,
            "not there: {:?}, goal {goal}",
            subscriber.heard()
        );
    }
}

#[test]
fn a_book_behind_lossy_lines_is_the_engines() {
    let seed = seed();
    let stop = Arc::new(AtomicBool::new(false));
    // Lines A and B of two listeners.
    let ports: Vec<[SocketAddrV4; 2]> = (0..2).map(|_| [free_port(), free_port()]).collect();
    let relays: Vec<Relay> = (0..2)
        .map(|line| {
            let listeners = ports.iter().map(|it| it[line]).collect();
            Relay::start(listeners, seed ^ (line as u64 + 10), &stop)
        })
        .collect();
    let line = |group| Line {
        group,
        interface: Ipv4Addr::LOCALHOST,
    };
    let mut options = FeedOptions::new(relays.iter().map(|relay| line(relay.address)).collect());
    options.packets.heartbeat = Duration::from_millis(30);
    options.requests = Some((Ipv4Addr::LOCALHOST, 0).into());
    options.glimpse = Some((Ipv4Addr::LOCALHOST, 0).into());
    let mut feed = Feed::start(Translator::new(ring0_feed::FIRST_SESSION), options).unwrap();

    let subscribe = |number: usize, glimpse| {
        let mut options = SubscribeOptions::new(ports[number].map(line).to_vec());
        options.requests = feed.requests();
        options.glimpse = glimpse;
        Subscriber::open(options).unwrap()
    };
    let first = subscribe(0, None);
    let late = subscribe(1, feed.glimpse());
    let (goal, late_now) = (AtomicU64::new(0), AtomicBool::new(false));
    let last: std::sync::Mutex<Option<Session>> = std::sync::Mutex::new(None);
    let session = || *last.lock().unwrap();
    let mut market = Market::new(seed, Profile::Mixed);
    let ((ear, heard), (late_ear, late_heard)) = std::thread::scope(|scope| {
        let first = scope.spawn(|| listen(first, &goal, &session));
        let late = scope.spawn(|| {
            while !late_now.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
            }
            listen(late, &goal, &session)
        });
        for input in 0..5_000 {
            if input != 0 {
                market.step();
            }
            feed.publish(&market.records).unwrap();
            feed.tick();
            if input == 2_500 {
                late_now.store(true, Ordering::Release);
            }
            if input % 40 == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        *last.lock().unwrap() = Some(feed.translator().session());
        goal.store(feed.translator().next_message(), Ordering::Release);
        while !(first.is_finished() && late.is_finished()) {
            feed.tick();
            std::thread::sleep(Duration::from_millis(2));
        }
        (first.join().unwrap(), late.join().unwrap())
    });
    stop.store(true, Ordering::Release);
    for relay in &relays {
        let (lost, passed) = (
            relay.lost.load(Ordering::Relaxed),
            relay.passed.load(Ordering::Relaxed),
        );
        println!("a line lost {lost} of {} packets", lost + passed);
        assert!(
            lost * 100 / (lost + passed) >= LOST / 2,
            "it was a bad line"
        );
    }
    println!("from the first message: {heard:?}");
    println!("from the middle:        {late_heard:?}");
    println!("{:?}", feed.counters().named());
    assert!(
        ear.tape.sessions == market.tape.sessions,
        "every message, once, in order"
    );
    assert!(heard.recovered > 0 && heard.duplicates > 0, "{heard:?}");
    assert!(late_heard.snapshots >= 1, "{late_heard:?}");
    assert!(late_ear.snapshots > 0);
    assert_same_books(&market.native, &ear.naive, "from the first message");
    assert_same_books(&market.native, &late_ear.naive, "by a snapshot");
}
