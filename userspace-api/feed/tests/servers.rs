//! The servers of a feed with clients of every kind: many, slow, silent, wrong, asking too much and too early.

use ring0_engine::control::{Control, ControlKind, List};
use ring0_engine::record::{ControlRecord, Head, Kind, Outcome, Rested};
use ring0_feed::{
    FIRST_SESSION, Feed, FeedOptions, FileJournal, Line, SnapshotError, Translator, take_snapshot,
};
use ring0_itch::itch::Message;
use ring0_itch::mold::{HEADER, Packet, Request};
use ring0_itch::soup::{LoginRequest, encode, kind};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use zerocopy::{FromZeros as _, IntoBytes as _};

/// Orders of the book: a snapshot of some 8 MB, more than sockets hold.
const ORDERS: u32 = 200_000;

fn head(kind: Kind, slots: u8, sequence: u64) -> Head {
    Head {
        kind: kind as u16,
        slots,
        side: b'B',
        locate: 1,
        sequence,
    }
}

/// The records of an instrument and its orders.
fn records() -> Vec<u8> {
    let mut list = List::new_zeroed();
    list.symbol = *b"TEST    ";
    list.state = 3;
    (list.tick_size, list.lot_size) = (100, 10);
    (list.ladder_base, list.ladder_len, list.lots_max) = (1, 1000, 1000);
    let command = Control::new(ControlKind::List, &list);
    let mut control = ControlRecord::new_zeroed();
    control.head = head(Kind::Control, 2, 1);
    control.kind = command.kind;
    control.outcome = Outcome::Accepted as u8;
    control.body = command.body;
    let mut bytes = control.as_bytes().to_vec();
    for number in 0..ORDERS {
        let mut rested = Rested::new_zeroed();
        rested.head = head(Kind::Rested, 1, u64::from(number) + 2);
        rested.order = u64::from(number) + 2;
        rested.price = 1 + number % 1000;
        (rested.lots, rested.shown) = (7, 7);
        bytes.extend_from_slice(rested.as_bytes());
    }
    bytes
}

fn feed(change: impl FnOnce(&mut FeedOptions)) -> Feed {
    let nowhere = Line {
        group: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9),
        interface: Ipv4Addr::LOCALHOST,
    };
    let mut options = FeedOptions::new(vec![nowhere]);
    options.requests = Some((Ipv4Addr::LOCALHOST, 0).into());
    options.glimpse = Some((Ipv4Addr::LOCALHOST, 0).into());
    change(&mut options);
    let mut feed = Feed::start(Translator::new(FIRST_SESSION), options).unwrap();
    feed.catch_up(&records()).unwrap();
    feed
}

fn counter(feed: &Feed, name: &str) -> u64 {
    let counters = feed.counters().named();
    counters.iter().find(|(it, _)| *it == name).unwrap().1
}

#[track_caller]
fn until(feed: &Feed, name: &str, count: u64) {
    let end = Instant::now() + Duration::from_secs(20);
    while counter(feed, name) != count {
        assert!(
            Instant::now() < end,
            "{name}: {:?}",
            feed.counters().named()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn login(feed: &Feed, session: &str) -> TcpStream {
    let mut stream = TcpStream::connect(feed.glimpse().unwrap()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let request = LoginRequest::new("user", "secret", session, 1).unwrap();
    let mut bytes = Vec::new();
    encode(kind::LOGIN, request.as_bytes(), &mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
    stream
}

#[test]
fn snapshots_for_the_quick_and_none_for_the_slow() {
    let mut feed = feed(|options| {
        options.glimpse_options.clients_max = 8;
        options.glimpse_options.patience = Duration::from_secs(2);
        options.glimpse_options.bytes_per_second_min = 1 << 30;
    });
    let address = feed.glimpse().unwrap();
    // Clients that read nothing, one that says nothing, one that says something else: none holds up those who do it right.
    let slow: Vec<_> = (0..3).map(|_| login(&feed, "")).collect();
    let silent = TcpStream::connect(address).unwrap();
    let mut wrong = TcpStream::connect(address).unwrap();
    wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let quick: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(move || {
                take_snapshot(address, "user", "secret", Duration::from_secs(20))
            })
        })
        .collect();
    for thread in quick {
        let snapshot = thread.join().unwrap().unwrap();
        assert_eq!(snapshot.session, FIRST_SESSION);
        assert_eq!(snapshot.next, feed.translator().next_message());
        let adds = snapshot.messages.iter().filter(|it| it[0] == b'A');
        assert_eq!(adds.count(), ORDERS as usize);
        let last = Message::read(snapshot.messages.last().unwrap()).unwrap();
        let Message::AddOrder(last) = last else {
            panic!("{last:?}");
        };
        assert_eq!(
            (last.order_reference.get(), last.shares.get()),
            (ORDERS.into(), 70)
        );
    }
    until(&feed, "snapshots", 3);
    until(&feed, "snapshots_cut_off", 5);
    drop((slow, silent, wrong));

    // Another session is not served; too many clients are told to come again.
    let mut other = login(&feed, "NOSESSION");
    let mut answer = Vec::new();
    other.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"\0\x02JS");
    let waiting: Vec<_> = (0..8)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let refused = take_snapshot(address, "", "", Duration::from_secs(5)).unwrap_err();
    assert!(
        matches!(refused, SnapshotError::Rejected { code: b'S' }),
        "{refused}"
    );
    drop(waiting);
    until(&feed, "snapshots_refused", 1);
    until(&feed, "snapshots_cut_off", 13);
    feed.tick();
}

/// Messages that a request gets, by the packets that come within a while.
fn answers(client: &UdpSocket, request: &[u8]) -> Vec<(u64, Vec<u8>)> {
    client.send(request).unwrap();
    let mut messages = Vec::new();
    let mut bytes = [0; 2048];
    while let Ok(len) = client.recv(&mut bytes) {
        assert!(len <= 1400, "a packet of {len} bytes");
        let packet = Packet::read(&bytes[..len]).unwrap();
        assert_eq!(packet.session(), FIRST_SESSION);
        messages.extend(packet.messages().map(|(number, it)| (number, it.to_vec())));
    }
    messages
}

#[test]
fn requests_are_answered_from_memory_and_journal_and_not_too_often() {
    let folder = tempfile::tempdir().unwrap();
    let journal = FileJournal::new(folder.path()).unwrap();
    let feed = feed(|options| {
        options.history_bytes = 1 << 20;
        options.journal = Some(Box::new(journal));
        options.request_options.packets_max = 4;
        options.request_options.burst = 40;
        options.request_options.per_second = 20;
    });
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.connect(feed.requests().unwrap()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let last = feed.translator().next_message() - 1;
    let ask = |sequence, count| Request {
        session: FIRST_SESSION,
        sequence,
        count,
    };
    // The journal is written behind the packets' back.
    let path = folder.path().join("0000000000.itch");
    let end = Instant::now() + Duration::from_secs(20);
    while std::fs::metadata(&path).map_or(0, |it| it.len()) < u64::from(ORDERS) * 38 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(10));
    }
    for (first, count, expected) in [(1, 5, 5), (777, 30, 30), (last - 9, 50, 10), (last, 1, 1)] {
        let given = answers(&client, &ask(first, count).to_bytes());
        let numbers: Vec<_> = given.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (first..first + expected).collect::<Vec<_>>());
        for (number, message) in given {
            if let Message::AddOrder(add) = Message::read(&message).unwrap() {
                // O, R, S, Q, H and J come before the first order.
                assert_eq!(add.order_reference.get(), number - 6);
            }
        }
    }
    // Four packets a request at most, from either place.
    assert_eq!(
        answers(&client, &ask(1, 60_000).to_bytes()).len(),
        4 * 36 + 2
    );
    let recent = answers(&client, &ask(last - 5000, 60_000).to_bytes());
    assert_eq!(recent.len(), 4 * 36);
    // What is not there, or no request, is not answered.
    for asked in [ask(last + 1, 1), ask(0, 1), ask(u64::MAX, 1)] {
        assert!(answers(&client, &asked.to_bytes()).is_empty());
    }
    assert_eq!(counter(&feed, "requests_unavailable"), 3);
    for wrong in [&b"hello"[..], &[0; HEADER], &[0; 100]] {
        assert!(answers(&client, wrong).is_empty());
    }
    assert_eq!(counter(&feed, "requests_malformed"), 3);
    // An address has so many packets, and no more.
    let before = counter(&feed, "answers");
    for _ in 0..200 {
        client.send(&ask(1, 1).to_bytes()).unwrap();
    }
    until(&feed, "requests", 212);
    let given = counter(&feed, "answers") - before;
    assert!((20..80).contains(&given), "{given} of 200");
    assert_eq!(counter(&feed, "requests_limited"), 200 - given);
    assert_eq!(counter(&feed, "journal_errors"), 0);
}
