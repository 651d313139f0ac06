//! What the steering program lets through, in which order, under which counters.

mod stand;

use rand::{Rng, SeedableRng, rngs::StdRng};
use ring0_abi::steer::{self, STAMP_BYTES};
use ring0_abi::{Counter, malformed};
use ring0_rings::{FrameKind, HEADERS, Port, classify};
use ring0_wire::{Buffer, Check, Domain, Key, Native, mac, mold, shape};
use rustix::time::{ClockId, clock_gettime};
use stand::{KEY, PORT, id, packet, packet_of, stand};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;
const RUNS: u64 = 60_000;

/// Which counter a frame must end under, as host code says.
fn foretell(frame: &[u8], address: Ipv4Addr) -> u32 {
    let payload = match classify(frame, PORT, Some(address)) {
        FrameKind::NotOurs(counter) => return counter as u32,
        FrameKind::BadLength => return Counter::DropLength as u32,
        FrameKind::Order(payload) => &frame[HEADERS..HEADERS + payload],
    };
    let buffer = Buffer::new();
    buffer.copy_in(payload);
    let shape = match shape::<Native>(&buffer, payload.len()) {
        Ok(shape) => shape,
        Err(cause) => return malformed(cause),
    };
    let granted = [0, 1, 3]
        .into_iter()
        .find(|it| mold::session_words(&buffer) == id(*it).words());
    let signed = shape.signed.into();
    let good = match granted {
        Some(0) => {
            let key = Key::from_bytes(&KEY);
            mac::verify::<Native>(&buffer, signed, &key, Domain::Request) == Check::Genuine
        }
        Some(1) => return Counter::DropNoKey as u32,
        Some(_) => mac::is_blank(&buffer, signed),
        None => return Counter::DropUnknownSession as u32,
    };
    if good {
        steer::REDIRECTED
    } else {
        Counter::DropBadTag as u32
    }
}

fn name(counter: u32) -> String {
    let (prefix, name) = steer::counter_name(counter).expect("a counter in use");
    format!("{prefix}{name}")
}

/// A frame around a payload, good or damaged in one way or several.
fn frame(random: &mut StdRng, to: [u8; 4]) -> Vec<u8> {
    let session = random.random_range(0..4);
    let orders = *[0, 1, 1, 1, 2, 5, 37]
        .get(random.random_range(0..7))
        .unwrap();
    let key = match session {
        3 => None,
        _ if random.random_range(0..8) == 0 => Some(b"some other key.."),
        _ => Some(&KEY),
    };
    let mut payload = packet_of(session, random.random_range(1..1 << 40), orders, key);
    match random.random_range(0..10) {
        0 => {
            let at = random.random_range(0..payload.len());
            payload[at] ^= 1 << random.random_range(0..8);
        }
        1 => payload.truncate(random.random_range(0..payload.len())),
        2 => payload.extend(vec![random.random::<u8>(); random.random_range(1..1700)]),
        3 => {
            payload[18..20]
                .copy_from_slice(&[0, 70, 0xFF, 69][random.random_range(0..4)..][..1].repeat(2));
        }
        _ => {}
    }
    let reply = ring0_engine::record::ReplyTo {
        address: to,
        port: PORT,
        local: [10, 77, 0, 2],
        ..Default::default()
    };
    let mut frame = ring0_rings::headers(([2; 6], [3; 6]), &reply, 4444, payload.len()).to_vec();
    frame.extend(payload);
    match random.random_range(0..12) {
        0 => {
            let at = random.random_range(12..HEADERS);
            frame[at] ^= 1 << random.random_range(0..8);
        }
        1 => frame.truncate(random.random_range(14..frame.len())),
        2 => frame.extend(vec![0; random.random_range(1..60)]), // padded
        _ => {}
    }
    frame
}

/// Every frame by test-run ends under the counter that host code foretells, and only what is redirected has a number.
#[test]
fn each_frame_ends_where_the_host_says() {
    let Some(stand) = stand(1, |_| {}) else {
        return;
    };
    let seed = rand::random();
    println!("seed {seed}, {:?}", stand.port.report());
    let mut random = StdRng::seed_from_u64(seed);
    let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
    let before: BTreeMap<String, u64> = stand.control.counters().unwrap().into_iter().collect();
    let mut out = vec![0; 4096];
    let mut number = 0;
    for _ in 0..RUNS {
        let frame = frame(&mut random, stand.veth.exchange_address.octets());
        let run = stand
            .control
            .program()
            .test_run(&frame, &mut out, 1)
            .unwrap();
        let counter = foretell(&frame, stand.veth.exchange_address);
        *expected.entry(counter).or_default() += 1;
        let action = match name(counter) {
            name if name.starts_with("pass_") => XDP_PASS,
            name if name.starts_with("drop_") => XDP_DROP,
            _ => XDP_REDIRECT,
        };
        assert_eq!(run.retval, action, "{}: {frame:02x?}", name(counter));
        if action == XDP_REDIRECT {
            number += 1;
            // The kernel gives the frame with what stands before it.
            let (stamp, rest) = out[..run.data_len as usize].split_at(STAMP_BYTES);
            assert_eq!(
                stamp[..8],
                u64::to_ne_bytes(number),
                "numbers without a gap"
            );
            assert_eq!(rest, frame);
        } else {
            assert_eq!(out[..run.data_len as usize], frame, "left as it was");
        }
    }
    assert_eq!(stand.control.arrivals().unwrap(), number);
    for (name, count) in stand.control.counters().unwrap() {
        let wanted = (0..steer::COUNTERS_USED)
            .find(|it| self::name(*it) == name)
            .and_then(|it| expected.get(&it).copied())
            .unwrap_or_default();
        assert_eq!(count - before[&name], wanted, "{name}");
    }
    let reached: Vec<String> = expected.keys().map(|it| name(*it)).collect();
    println!(
        "{RUNS} frames under {} counters: {reached:?}",
        reached.len()
    );
    // All that a frame of at least 14 bytes can reach.
    assert!(expected.len() >= 20, "{reached:?}");
}

/// A packet of every length of payload there is: what is copied is what was sent.
#[test]
fn tags_are_right_at_every_length() {
    let Some(stand) = stand(1, |_| {}) else {
        return;
    };
    let mut out = vec![0; 4096];
    let mut lengths = BTreeSet::new();
    let mut forged = 0;
    for cancels in 0..=68_usize {
        for reduces in 0..=8_usize {
            let mut builder = ring0_wire::host::PacketBuilder::new(id(0), 7);
            for (letter, count) in [(b'D', cancels), (b'X', reduces)] {
                for _ in 0..count {
                    let message = ring0_wire::Message {
                        letter,
                        reference: 5,
                        shares: 1,
                        ..Default::default()
                    };
                    let message = ring0_wire::host::Inbound::from_message(&message).unwrap();
                    if builder.push(&message).is_err() {
                        break; // full: 68 messages or 1,472 bytes
                    }
                }
            }
            let mut payload = builder.sign(Some(&Key::from_bytes(&KEY)));
            let reply = ring0_engine::record::ReplyTo {
                address: stand.veth.exchange_address.octets(),
                port: PORT,
                ..Default::default()
            };
            let headers = ring0_rings::headers(([2; 6], [3; 6]), &reply, 4444, payload.len());
            let mut run = |payload: &[u8]| {
                let frame = [&headers[..], payload].concat();
                let program = stand.control.program();
                program.test_run(&frame, &mut out, 1).unwrap().retval
            };
            assert_eq!(run(&payload), XDP_REDIRECT, "{} bytes", payload.len());
            let last = payload.len() - 1;
            payload[last] ^= 1;
            assert_eq!(run(&payload), XDP_DROP, "{} bytes", payload.len());
            forged += 1;
            lengths.insert(payload.len());
        }
    }
    println!("{} lengths up to {:?}", lengths.len(), lengths.last());
    assert!(lengths.contains(&1467), "68 messages");
    assert_eq!(stand.steered("drop_bad_tag"), forged);
}

/// Over the wire: counters, stamps without gaps and in time, strangers' packets in the stack.
#[test]
fn what_arrives_is_numbered_and_timed() {
    let Some(mut stand) = stand(1, |_| {}) else {
        return;
    };
    let socket = stand.socket();
    let boot = || {
        let now = clock_gettime(ClockId::Boottime);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    };
    let begin = boot();
    let good = 300;
    for sequence in 1..=good {
        socket.send(&packet(0, sequence, Some(&KEY))).unwrap();
        match sequence % 6 {
            0 => socket.send(&packet(0, sequence, Some(b"some other key.."))),
            1 => socket.send(&packet(1, sequence, Some(&KEY))),
            2 => socket.send(&packet(2, sequence, Some(&KEY))),
            3 => socket.send(b"not a packet of ours"),
            4 => socket.send(&packet(3, sequence, None)),
            _ => socket.send(&packet(3, sequence, Some(&KEY))),
        }
        .unwrap();
    }
    let sent = 2 * good;
    let arrived = stand.drain(350);
    let end = boot();
    assert_eq!(arrived.len(), 350, "300 of session 0, 50 of session 3");
    let mut last = begin;
    for (place, (number, boot_ns, payload)) in (1..).zip(&arrived) {
        assert_eq!(*number, place);
        assert!((last..=end).contains(boot_ns), "{last} {boot_ns} {end}");
        last = *boot_ns;
        ring0_wire::host::Request::read(payload).unwrap();
    }
    for (name, count) in [
        ("redirected", 350),
        ("drop_bad_tag", 100),
        ("drop_no_key", 50),
        ("drop_unknown_session", 50),
        ("drop_bad_session", 50),
        ("drop_no_socket", 0),
    ] {
        assert_eq!(stand.steered(name), count, "{name}");
    }
    assert_eq!(stand.frames(), sent);
    for (name, count) in stand.port.counters() {
        assert!(
            count == 0 || name == "xsk_tx_ring_empty_descs",
            "{name} {count}"
        );
    }
    // To another port: not ours, so the stack has it.
    let veth = &stand.veth;
    let other = veth
        .in_exchange(|| UdpSocket::bind((veth.exchange_address, 9001)))
        .unwrap()
        .unwrap();
    other
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let stranger = veth.in_trader(|| UdpSocket::bind((veth.trader_address, 0)));
    let stranger = stranger.unwrap().unwrap();
    stranger
        .send_to(b"to somebody else", (stand.veth.exchange_address, 9001))
        .unwrap();
    let mut bytes = [0; 64];
    let (len, _) = other.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"to somebody else");
    assert_eq!(stand.steered("pass_port"), 1);
    // A session that is closed is not let through any more.
    stand.control.clear_session(0).unwrap();
    socket.send(&packet(0, 1, Some(&KEY))).unwrap();
    assert!(stand.drain(1).is_empty());
    assert_eq!(stand.steered("drop_unknown_session"), 51);
    let error = stand.control.clear_session(64).unwrap_err().to_string();
    assert!(error.contains("below `sessions_max`"), "{error}");
}
