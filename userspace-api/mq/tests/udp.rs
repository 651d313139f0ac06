//! MQ1 over UDP on the loopback interface, through a line that loses, repeats and swaps packets by a printed seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring0_engine::record::{Head, Kind as RecordKind};
use ring0_itch::Text;
use ring0_itch::mold::Session;
use ring0_mq::ring::{Kind, LocalRing, Name};
use ring0_mq::udp::{Assembly, Publisher, Subscriber, UdpError};
use std::net::{SocketAddr, UdpSocket};
use zerocopy::IntoBytes;

const SESSION: Session = Text(*b"SHARD00001");

fn record(sequence: u64, slots: u8) -> Vec<u8> {
    let kind = [RecordKind::Rested, RecordKind::Control][usize::from(slots) - 1];
    let head = Head {
        kind: kind as u16,
        slots,
        side: 0,
        locate: 0,
        sequence,
    };
    let mut bytes = sequence.to_le_bytes().repeat(usize::from(slots) * 8);
    bytes[..16].copy_from_slice(head.as_bytes());
    bytes
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

fn connected(to: SocketAddr) -> UdpSocket {
    let (socket, _) = socket();
    socket.connect(to).expect("loopback");
    socket
}

/// A line that loses a part of what it carries.
struct Line {
    from: UdpSocket,
    to: UdpSocket,
    held: Option<Vec<u8>>,
    lost: u32,
}

impl Line {
    fn carry(&mut self, random: &mut StdRng) {
        let mut bytes = [0; 2048];
        while let Ok(len) = self.from.recv(&mut bytes) {
            let packet = &bytes[..len];
            match random.random_range(0..100) {
                0..15 => self.lost += 1,
                15..20 => self.held = Some(packet.to_vec()),
                20..25 => (0..2).for_each(|_| drop(self.to.send(packet))),
                _ => drop(self.to.send(packet)),
            }
            if let Some(held) = self.held.take_if(|_| random.random_range(0..3) == 0) {
                drop(self.to.send(&held));
            }
        }
    }
}

/// A publisher of a ring, a bad line, and a subscriber at its other end.
fn over_a_line(into: SocketAddr) -> (Publisher, Line, SocketAddr) {
    let (entry, entry_address) = socket();
    entry.set_nonblocking(true).expect("a socket");
    let (requests, server) = socket();
    let publisher =
        Publisher::new(socket().0, entry_address, requests, SESSION, 1, 1 << 14).expect("sockets");
    let line = Line {
        from: entry,
        to: connected(into),
        held: None,
        lost: 0,
    };
    (publisher, line, server)
}

#[test]
fn every_record_arrives_in_order_over_a_line_that_loses() {
    const LAST: u64 = 20_000;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let ring = LocalRing::new(1 << 13, 520);
    let mut consumer = ring
        .consumer(Name::new("udp").expect("a name"), Kind::Required)
        .expect("a place");
    let producer = ring.producer();
    let (stream, listener) = socket();
    let (mut publisher, mut line, server) = over_a_line(listener);
    let assembly = Assembly::new(SESSION, 1);
    let mut subscriber = Subscriber::new(stream, connected(server), assembly).expect("sockets");
    let (mut expected, mut received, mut sequence) = (Vec::new(), Vec::new(), 0);
    let mut records = Vec::new();
    for turn in 0.. {
        assert!(
            turn < 1_000_000,
            "{} of {LAST}",
            subscriber.assembly().next_sequence()
        );
        if sequence < LAST {
            for _ in 0..random.random_range(0..200).min(LAST - sequence) {
                sequence += 1;
                let record = record(sequence, random.random_range(1..=2));
                expected.extend_from_slice(&record);
                producer.push(&record).expect("read each turn");
            }
            producer.publish();
            records.clear();
            consumer.read(&mut records, u64::MAX).expect("required");
            publisher.send(&records).expect("loopback");
            consumer.commit();
        } else {
            publisher.end().expect("loopback");
        }
        line.carry(&mut random);
        publisher.answer().expect("loopback");
        subscriber.poll(&mut received).expect("nothing is gone");
        if subscriber.assembly().ended() {
            break;
        }
    }
    assert!(line.lost > 50, "only {} lost", line.lost);
    assert_eq!(subscriber.assembly().next_sequence(), LAST + 1);
    assert!(received == expected, "other records than were published");
    println!("{} packets lost on the way", line.lost);
}

#[test]
fn what_the_server_no_longer_has_is_said_to_be_gone() {
    let (stream, listener) = socket();
    let (requests, server) = socket();
    let mut publisher =
        Publisher::new(socket().0, listener, requests, SESSION, 1, 10).expect("sockets");
    let all: Vec<u8> = (1..=100).flat_map(|it| record(it, 1)).collect();
    publisher.send(&all[..64 * 60]).expect("loopback");
    // A listener that comes late, from record 1 on.
    let mut late = [0; 2048];
    while stream.set_nonblocking(true).is_ok() && stream.recv(&mut late).is_ok() {}
    publisher.send(&all[64 * 60..]).expect("loopback");
    let mut received = Vec::new();
    let subscribe = |next, stream: UdpSocket| {
        Subscriber::new(stream, connected(server), Assembly::new(SESSION, next)).expect("sockets")
    };
    let mut subscriber = subscribe(1, stream.try_clone().expect("a socket"));
    let begin = std::time::Instant::now();
    let error = loop {
        publisher.answer().expect("loopback");
        match subscriber.poll(&mut received) {
            Ok(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            Err(error) => break error,
        }
        assert!(begin.elapsed().as_secs() < 30);
    };
    assert!(
        matches!(
            error,
            UdpError::Gone {
                from: 1,
                to: 60,
                ..
            }
        ),
        "{error}"
    );
    assert!(received.is_empty());
    // From a record that is kept it goes on.
    let mut subscriber = subscribe(95, stream);
    publisher.end().expect("loopback");
    while !subscriber.assembly().ended() {
        publisher.answer().expect("loopback");
        subscriber.poll(&mut received).expect("kept");
        assert!(begin.elapsed().as_secs() < 30);
    }
    assert_eq!(received, all[64 * 94..]);
}

#[test]
fn messages_that_are_not_their_number_are_refused() {
    use ring0_itch::mold::PacketBuilder;
    let mut assembly = Assembly::new(SESSION, 1);
    let mut into = Vec::new();
    let mut take = |first: u64, message: &[u8], session: Session| {
        let mut builder = PacketBuilder::new(session, first, 1472);
        builder.push(message).expect("room");
        assembly.take(builder.packet(), &mut into)
    };
    for wrong in [
        &record(2, 1)[..],
        &record(1, 1)[..63],
        &record(1, 2)[..64],
        b"",
    ] {
        let error = take(1, wrong, SESSION).unwrap_err();
        assert!(
            matches!(error, UdpError::NotThatRecord { sequence: 1, .. }),
            "{error}"
        );
    }
    assert_eq!(take(1, &record(1, 1), Text(*b"ANOTHER001")).unwrap(), 0);
    assert_eq!(take(1, &record(1, 1), SESSION).unwrap(), 1);
    assert_eq!(take(1, &record(1, 1), SESSION).unwrap(), 0, "again");
    let error = assembly.take(b"short", &mut into).unwrap_err();
    assert!(matches!(error, UdpError::Packet(_)), "{error}");
    assert_eq!(into, record(1, 1));
}

#[test]
fn what_is_no_record_is_not_sent_and_a_jump_is_a_gap() {
    let (stream, listener) = socket();
    let (requests, server) = socket();
    let mut publisher =
        Publisher::new(socket().0, listener, requests, SESSION, 1, 100).expect("sockets");
    let mut bad = record(1, 1);
    bad.extend_from_slice(&[0; 64]);
    let error = publisher.send(&bad).unwrap_err();
    assert!(matches!(error, UdpError::NoRecord { at: 64 }), "{error}");
    publisher.send(&record(5, 1)).expect("loopback");
    assert_eq!(publisher.next_sequence(), 6);
    let assembly = Assembly::new(SESSION, 1);
    let mut subscriber = Subscriber::new(stream, connected(server), assembly).expect("sockets");
    let mut received = Vec::new();
    let begin = std::time::Instant::now();
    while subscriber.assembly().missing().is_none() {
        subscriber.poll(&mut received).expect("loopback");
        assert!(begin.elapsed().as_secs() < 30);
    }
    assert_eq!(received, record(1, 1));
    let missing = subscriber.assembly().missing().expect("2 to 4");
    assert_eq!((missing.sequence, missing.count), (2, 3));
}
