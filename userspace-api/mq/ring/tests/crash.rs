//! Producer and required consumer in processes of their own, killed at random moments and started again: no record is lost or doubled.
//!
//! The consumer is what a recorder is: it appends to a file, commits, and after a death goes on where its file ends. The producer goes
//! on behind the last record that it published.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring0_engine::record::{Head, Kind as RecordKind};
use ring0_record_ring::{Kind, Options, PushError, SharedRing};
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

const ROUNDS: u32 = 40;
const ROLE: &str = "RING0_RING_TEST_ROLE";
const FOLDER: &str = "RING0_RING_TEST_FOLDER";
const SEED: &str = "RING0_RING_TEST_SEED";

/// The record of a sequence number, one or two slots.
fn record(sequence: u64) -> Vec<u8> {
    let slots = 1 + (sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63) as u8;
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

/// Checks that `bytes` begins with whole records in order, and gives how many bytes they are and their last sequence.
fn check(bytes: &[u8]) -> (usize, u64) {
    let (mut at, mut sequence) = (0, 0);
    while let Ok((head, _)) = Head::read_from_prefix(&bytes[at..]) {
        let end = at + usize::from(head.slots) * 64;
        if end > bytes.len() {
            break;
        }
        assert_eq!(bytes[at..end], record(sequence + 1), "slot {}", at / 64);
        (at, sequence) = (end, sequence + 1);
    }
    (at, sequence)
}

struct Files {
    ring: PathBuf,
    out: PathBuf,
    /// There when the producer shall end, and when the consumer shall.
    stop: [PathBuf; 2],
}

impl Files {
    fn of(folder: &Path) -> Files {
        Files {
            ring: folder.join("ring"),
            out: folder.join("out"),
            stop: ["stop-producer", "stop-consumer"].map(|name| folder.join(name)),
        }
    }
}

/// What the two processes run; as a test of its own it does nothing.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    // Not without the parent, however that ends.
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal).expect("any process may");
    let files = Files::of(Path::new(&std::env::var(FOLDER).expect("given")));
    let seed: u64 = std::env::var(SEED).expect("given").parse().expect("a seed");
    let random = StdRng::seed_from_u64(seed);
    let ring = SharedRing::open(&files.ring).expect("the parent made it");
    match role.as_str() {
        "producer" => produce(&ring, &files, random),
        _ => consume(&ring, &files, random),
    }
}

fn produce(ring: &SharedRing, files: &Files, mut random: StdRng) {
    let producer = ring.producer().expect("the other one is dead");
    let mut sequence = ring.observer().last_sequence().unwrap_or(0);
    while !files.stop[0].exists() {
        for _ in 0..random.random_range(1..40) {
            match producer.push(&record(sequence + 1)) {
                Ok(()) => sequence += 1,
                Err(PushError::Full { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
            if random.random_range(0..4) == 0 {
                producer.publish();
            }
        }
    }
    producer.publish();
}

fn consume(ring: &SharedRing, files: &Files, mut random: StdRng) {
    let mut consumer = ring
        .consumer("journal", Kind::Required)
        .expect("the other one is dead");
    let mut out = OpenOptions::new();
    let out = out.read(true).write(true).create(true).truncate(false);
    let mut out = out.open(&files.out).expect("opens");
    let (whole, _) = check(&std::fs::read(&files.out).expect("reads"));
    out.set_len(whole as u64).expect("cuts");
    out.seek(SeekFrom::End(0)).expect("seeks");
    let position = whole as u64 / 64;
    assert!(
        (consumer.position()..=consumer.tail()).contains(&position),
        "committed {}, the file ends at {position}, the ring at {}",
        consumer.position(),
        consumer.tail()
    );
    consumer.seek(position);
    let mut bytes = Vec::new();
    loop {
        let stopping = files.stop[1].exists();
        bytes.clear();
        let slots = consumer
            .read(&mut bytes, random.random_range(2..400))
            .expect("the producer waits for it");
        // In two parts, so that a death leaves half a record too.
        let (first, second) = bytes.split_at(random.random_range(0..=bytes.len()));
        out.write_all(first).expect("writes");
        out.write_all(second).expect("writes");
        consumer.commit();
        if slots == 0 {
            if stopping {
                return;
            }
            std::thread::yield_now();
        }
    }
}

fn start(role: &str, folder: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child", "--nocapture"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .env(SEED, seed.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("starts")
}

/// Kills a process that must still be running: had it ended, it had found something wrong.
fn kill(child: &mut Child) {
    if let Some(status) = child.try_wait().expect("a child of ours") {
        panic!("it ended by itself: {status}");
    }
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
}

#[test]
fn no_record_is_lost_or_doubled_by_any_death() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::of(folder.path());
    let ring = SharedRing::create(&files.ring, &Options::new(1 << 13)).expect("made");
    // The place is there before the first record, or the consumer would begin at the tail.
    drop(
        ring.consumer("journal", Kind::Required)
            .expect("a free place"),
    );
    let mut children: [Option<Child>; 2] = [None, None];
    let mut deaths = [0; 2];
    for _ in 0..ROUNDS {
        for (child, role) in children.iter_mut().zip(["producer", "consumer"]) {
            if child.is_none() {
                *child = Some(start(role, folder.path(), random.random()));
            }
        }
        std::thread::sleep(Duration::from_micros(random.random_range(3_000..25_000)));
        let which = random.random_range(0..3);
        for (index, child) in children.iter_mut().enumerate() {
            if which == index || which == 2 {
                kill(child.as_mut().expect("started"));
                *child = None;
                deaths[index] += 1;
            }
        }
    }
    // Both to the end, the producer first.
    for (index, role) in ["producer", "consumer"].into_iter().enumerate() {
        let mut child = children[index]
            .take()
            .unwrap_or_else(|| start(role, folder.path(), random.random()));
        if index == 0 {
            let consumer = &mut children[1];
            consumer.get_or_insert_with(|| start("consumer", folder.path(), random.random()));
        }
        std::fs::write(&files.stop[index], "").expect("writes");
        let status = child.wait().expect("a child of ours");
        assert!(status.success(), "{role}: {status}");
    }
    let bytes = std::fs::read(&files.out).expect("reads");
    let (whole, last) = check(&bytes);
    assert_eq!(whole, bytes.len(), "half a record at the end");
    assert_eq!(Some(last), ring.observer().last_sequence());
    assert_eq!(whole as u64 / 64, ring.observer().tail());
    assert!(deaths.iter().all(|deaths| *deaths > 5), "{deaths:?}");
    assert!(last > 1000, "only {last} records");
    println!("{last} records, deaths of producer and consumer: {deaths:?}");
}
