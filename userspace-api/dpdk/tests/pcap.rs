//! net_pcap: frames from a file, answers into another, compared byte for byte.

mod frames;

use frames::{PORT, SHARD, answer, counter, order};
use ring0_dpdk::{AVAILABLE, DpdkPort, Eal, EalOptions, PortOptions};
use ring0_rings::{HEADERS, Port};
use ring0_wire::Buffer;
use std::fs;
use std::time::Duration;

const ALICE: ([u8; 4], u16, [u8; 6]) = ([10, 0, 0, 2], 4000, [2, 0, 0, 0, 0, 2]);
const BOB: ([u8; 4], u16, [u8; 6]) = ([10, 9, 9, 9], 4001, [2, 0, 0, 0, 0, 3]);
const VENUE: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A capture file: magic, version 2.4, frames of up to 64 KiB, Ethernet.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let words = [0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_536, 1_u32];
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for frame in frames {
        let len = frame.len() as u32;
        file.extend([0, 0, len, len].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(frame);
    }
    file
}

/// The frames of a capture file.
fn frames_of(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    file = &file[24..];
    while let Some((head, rest)) = file.split_first_chunk::<16>() {
        let len = u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize;
        frames.push(rest[..len].to_vec());
        file = &rest[len..];
    }
    frames
}

fn changed(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at] = value;
    frame
}

/// Who has this address? Alice asks.
fn question(address: [u8; 4]) -> Vec<u8> {
    let parts = [
        &[0xFF; 6][..],
        &ALICE.2,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &ALICE.2,
        &ALICE.0,
        &[0; 6],
        &address,
        &[0; 18],
    ];
    parts.concat()
}

#[test]
fn a_capture_is_answered_into_a_capture() {
    if !AVAILABLE {
        eprintln!("skipped: {}", dpdk_sys::MISSING);
        return;
    }
    let good = order(ALICE, VENUE, &[1; 64]);
    let mut padded = order(BOB, VENUE, &[2; 3]);
    padded.resize(60, 0);
    let mut ipv6 = good.clone();
    ipv6[12..14].copy_from_slice(&[0x86, 0xDD]);
    let input = [
        good.clone(),
        question([10, 0, 0, 3]),
        question(SHARD),
        ipv6,
        changed(&good, 23, 6),    // TCP
        changed(&good, 14, 0x46), // options
        changed(&good, 21, 1),    // a fragment
        changed(&good, 37, 1),    // another port
        changed(&good, 33, 77),   // another address
        good[..HEADERS - 1].to_vec(),
        good[..HEADERS + 63].to_vec(),
        padded,
        order(ALICE, VENUE, &[3; 3000]), // longer than a buffer
        order(BOB, VENUE, &[4; 1472]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (
        folder.path().join("in.pcap"),
        folder.path().join("out.pcap"),
    );
    fs::write(&from, capture(&input)).unwrap();

    let device = format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        from.display(),
        to.display()
    );
    let eal = Eal::start(&EalOptions::new([&device])).unwrap();
    let mut options = PortOptions::new(&device, PORT);
    options.address = Some(SHARD.into());
    let mut port = DpdkPort::open(&eal, &options).unwrap();
    let hardware = port.hardware();

    let mut packets = Vec::new();
    loop {
        let count = port.receive(Duration::ZERO).unwrap();
        if count == 0 {
            break;
        }
        for index in 0..count {
            let arrival = port.packet(index);
            packets.push((arrival.from.address, arrival.payload.to_vec()));
            // Half of what was sent, as many bytes as the packet's own mark.
            let len = arrival.payload.len() / 2;
            let reply = Buffer::new();
            reply.copy_in(&vec![arrival.payload[0] + 100; len]);
            port.answer(index, &reply, len);
        }
        port.flush().unwrap();
    }
    assert_eq!(
        packets,
        [
            (ALICE.0, vec![1; 64]),
            (BOB.0, vec![2; 3]),
            (BOB.0, vec![4; 1472]),
        ]
    );
    for (name, expected) in [
        ("pass_ethertype", 2),
        ("pass_protocol", 1),
        ("pass_ip_options", 1),
        ("pass_fragment", 1),
        ("pass_port", 2),
        ("pass_truncated", 1),
        ("drop_length", 1),
        ("dpdk_drop_segmented", 1),
        ("dpdk_drop_shared", 0),
        ("dpdk_arp_answered", 1),
        ("dpdk_received", input.len() as u64),
        ("dpdk_sent", 4),
        ("dpdk_transmit_full", 0),
    ] {
        assert_eq!(counter(&port, name), expected, "{name}");
    }
    drop(port); // closes the file

    let mut reply = question(SHARD);
    reply[..6].copy_from_slice(&ALICE.2);
    reply[6..12].copy_from_slice(&hardware);
    reply[21] = 2;
    reply[22..28].copy_from_slice(&hardware);
    reply[28..32].copy_from_slice(&SHARD);
    reply[32..38].copy_from_slice(&ALICE.2);
    reply[38..42].copy_from_slice(&ALICE.0);
    let expected = [
        reply,
        answer(ALICE, hardware, &[101; 32]),
        answer(BOB, hardware, &[102; 1]),
        answer(BOB, hardware, &[104; 736]),
    ];
    assert_eq!(frames_of(&fs::read(&to).unwrap()), expected);
}
