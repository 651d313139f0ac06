//! What the ring promises, over memory of one process and over a file: order, room, overrun, places, attaching.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring0_engine::record::{Head, Kind as RecordKind};
use ring0_record_ring::{
    Consumer, Kind, LocalRing, Memory, Name, Options, Overrun, PushError, SharedError, SharedRing,
};
use std::path::Path;
use zerocopy::{FromBytes, IntoBytes};

/// A record of one or two slots whose every word says its sequence.
fn record(sequence: u64, slots: u8) -> Vec<u8> {
    let kind = if slots == 2 {
        RecordKind::Control
    } else {
        RecordKind::Rested
    };
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

/// Checks records whole and gives their sequences.
fn sequences(mut bytes: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (head, _) = Head::read_from_prefix(bytes).expect("a whole record");
        let (this, rest) = bytes.split_at(usize::from(head.slots) * 64);
        assert_eq!(this, record(head.sequence, head.slots), "a torn record");
        found.push(head.sequence);
        bytes = rest;
    }
    found
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn read(consumer: &mut Consumer<impl Memory>) -> Result<Vec<u64>, Overrun> {
    let mut bytes = Vec::new();
    consumer
        .read(&mut bytes, u64::MAX)
        .map(|_| sequences(&bytes))
}

#[test]
fn what_is_not_published_is_not_seen() {
    let ring = LocalRing::new(64, 8);
    let mut reader = ring.observer();
    let producer = ring.producer();
    producer.push(&record(1, 2)).unwrap();
    producer.push(&record(2, 1)).unwrap();
    assert_eq!(read(&mut reader), Ok(vec![]));
    producer.publish();
    assert_eq!(read(&mut reader), Ok(vec![1, 2]));
    assert_eq!(reader.position(), 3);
    // More than may be unpublished at once: the earlier ones are published on the way.
    for sequence in 3..8 {
        producer.push(&record(sequence, 2)).unwrap();
    }
    assert_eq!(read(&mut reader), Ok(vec![3, 4, 5, 6]));
    // A portion ends between two records.
    producer.publish();
    let mut bytes = Vec::new();
    reader.seek(0);
    assert_eq!(reader.read(&mut bytes, 4), Ok(3));
    assert_eq!(sequences(&bytes), [1, 2]);
}

#[test]
fn a_required_consumer_stops_the_producer_and_an_optional_one_is_told() {
    let ring = LocalRing::new(16, 4);
    let mut required = ring.consumer(name("journal"), Kind::Required).unwrap();
    let mut optional = ring.consumer(name("screen"), Kind::Optional).unwrap();
    let producer = ring.producer();
    let push = |sequence| {
        producer.push(&record(sequence, 1))?;
        producer.publish();
        Ok::<_, PushError>(())
    };
    for sequence in 1..=16 {
        push(sequence).unwrap();
    }
    let full = PushError::Full { free: 0, needed: 1 };
    assert_eq!(push(17), Err(full));
    assert_eq!(read(&mut required).unwrap(), (1..=16).collect::<Vec<_>>());
    assert_eq!(push(17), Err(full), "read, but not committed");
    required.commit();
    push(17).unwrap();
    // 16 slots less 4 that may be in the writing: what is older is lost.
    let lost = Overrun {
        from: 0,
        lost: 17,
        resumes: 17,
    };
    assert_eq!(read(&mut optional), Err(lost));
    push(18).unwrap();
    assert_eq!(read(&mut optional), Ok(vec![18]));
    required.release();
    for sequence in 19..100 {
        push(sequence).unwrap();
    }
}

#[test]
fn the_margin_is_what_may_be_in_the_writing() {
    let ring = LocalRing::new(16, 4);
    let producer = ring.producer();
    let mut reader = ring.observer();
    for sequence in 1..=12 {
        producer.push(&record(sequence, 1)).unwrap();
        producer.publish();
    }
    assert_eq!(read(&mut reader).unwrap().len(), 12);
    reader.seek(0);
    producer.push(&record(13, 1)).unwrap();
    producer.publish();
    let overrun = read(&mut reader).unwrap_err();
    assert_eq!((overrun.lost, reader.position()), (13, 13));
    assert!(overrun.to_string().contains("13 slots"), "{overrun}");
}

#[test]
fn a_name_goes_on_where_it_was_and_places_are_four() {
    let ring = LocalRing::new(1 << 13, 520);
    let producer = ring.producer();
    let mut first = ring.consumer(name("a"), Kind::Required).unwrap();
    for sequence in 1..=10 {
        producer.push(&record(sequence, 1)).unwrap();
        producer.publish();
    }
    let mut bytes = Vec::new();
    first.read(&mut bytes, 4).unwrap();
    first.commit();
    first.read(&mut bytes, 4).unwrap();
    drop(first); // as a death: four were read and not committed
    let mut again = ring.consumer(name("a"), Kind::Required).unwrap();
    assert_eq!(read(&mut again).unwrap(), (5..=10).collect::<Vec<_>>());
    // A new one begins at the ring's start, which is still there.
    let mut second = ring.consumer(name("b"), Kind::Optional).unwrap();
    assert_eq!(read(&mut second).unwrap().len(), 10);
    let _third = ring.consumer(name("c"), Kind::Required).unwrap();
    let _fourth = ring
        .consumer(name("sixteen bytes..."), Kind::Required)
        .unwrap();
    let error = ring.consumer(name("e"), Kind::Required).unwrap_err();
    assert_eq!(error.names, ["a", "b", "c", "sixteen bytes..."]);
    second.release();
    ring.consumer(name("e"), Kind::Required).unwrap();
    for wrong in ["", "seventeen bytes..", "a\0b"] {
        assert!(Name::new(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "it fills the ring several times, which takes minutes")]
fn one_that_joins_late_begins_at_the_tail() {
    let ring = LocalRing::new(1 << 13, 520);
    let producer = ring.producer();
    for sequence in 1..=5000 {
        producer.push(&record(sequence, 1)).unwrap();
        producer.publish();
    }
    // 5,000 slots and the longest run are more than the ring: slot 0 may go at any moment.
    let mut late = ring.consumer(name("late"), Kind::Required).unwrap();
    assert_eq!(late.position(), 5000);
    assert_eq!(read(&mut late), Ok(vec![]));
}

#[test]
fn pushes_that_are_no_commands_are_refused() {
    let ring = LocalRing::new(16, 4);
    let producer = ring.producer();
    assert_eq!(
        producer.push(&[0; 65]),
        Err(PushError::NotSlots { bytes: 65 })
    );
    assert_eq!(
        producer.push(&[0; 320]),
        Err(PushError::TooLong { needed: 5, max: 4 })
    );
    producer.publish();
    assert_eq!(producer.tail(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "it fills the ring, which takes minutes")]
fn records_are_found_and_the_last_one_too() {
    let ring = LocalRing::new(64, 4);
    let producer = ring.producer();
    assert_eq!(ring.observer().last_sequence(), None);
    for sequence in 1..=100_u64 {
        let slots = 1 + (sequence % 3 == 0) as u8;
        producer.push(&record(sequence, slots)).unwrap();
        producer.publish();
        let reader = ring.observer();
        assert_eq!(reader.last_sequence(), Some(sequence));
        let wanted = sequence.saturating_sub(30).max(1);
        let found = reader.find(wanted).expect("still there");
        assert_eq!(sequences(&found), [wanted]);
    }
    assert_eq!(ring.observer().find(1), None);
}

/// Threads at full speed: one reader that is waited for, one that is not and is slow.
#[test]
fn readers_beside_a_writer_get_whole_records() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    // Miri takes a thousand times as long.
    const LAST: u64 = if cfg!(miri) { 400 } else { 300_000 };
    let ring = LocalRing::new(if cfg!(miri) { 128 } else { 1 << 12 }, 64);
    let mut required = ring.consumer(name("journal"), Kind::Required).unwrap();
    let mut optional = ring.consumer(name("screen"), Kind::Optional).unwrap();
    let producer = ring.producer();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut random = StdRng::seed_from_u64(seed);
            for sequence in 1..=LAST {
                let bytes = record(sequence, random.random_range(1..=2));
                while producer.push(&bytes).is_err() {
                    producer.publish();
                    std::thread::yield_now();
                }
                if random.random_range(0..8) == 0 {
                    producer.publish();
                }
            }
            producer.publish();
        });
        scope.spawn(move || {
            let mut next = 1;
            while next <= LAST {
                let got = read(&mut required).expect("it is waited for");
                required.commit();
                assert!(got.iter().copied().eq(next..next + got.len() as u64));
                next += got.len() as u64;
                if got.is_empty() {
                    std::thread::yield_now();
                }
            }
        });
        let mut random = StdRng::seed_from_u64(seed ^ 1);
        let (mut last, mut overruns) = (0, 0);
        while last < LAST {
            match read(&mut optional) {
                Ok(got) => {
                    for sequence in got {
                        assert!(sequence > last);
                        last = sequence;
                    }
                }
                Err(overrun) => {
                    assert_eq!(overrun.resumes, overrun.from + overrun.lost);
                    overruns += 1;
                    if optional.tail() == overrun.resumes && overruns > 1_000_000 {
                        break;
                    }
                }
            }
            if random.random_range(0..4) == 0 {
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            // The end may be among what was lost.
            if optional.position() == optional.tail() && optional.find(LAST).is_some() {
                break;
            }
        }
        println!("{overruns} overruns");
    });
}

fn shared(folder: &Path) -> SharedRing {
    SharedRing::create(&folder.join("shard.ring"), &Options::new(1 << 13)).unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "miri maps no files")]
fn a_file_is_made_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let made = shared(folder.path());
    let path = made.path().to_owned();
    let error = SharedRing::create(&path, &Options::new(1 << 13)).unwrap_err();
    assert!(matches!(error, SharedError::Exists { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let opened = SharedRing::open(&path).unwrap();
    assert_eq!((opened.id(), opened.slots()), (made.id(), 1 << 13));
    let mut consumer = opened.consumer("journal", Kind::Required).unwrap();
    let producer = made.producer().unwrap();
    producer.push(&record(1, 2)).unwrap();
    producer.publish();
    assert_eq!(read(&mut consumer), Ok(vec![1]));
    // The layout, to the byte: docs/mq.md.
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 8192 + (64 << 13));
    assert_eq!(&bytes[..8], b"RING0RNG");
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((word(8), word(16), word(24)), (1 | 64 << 32, 1 << 13, 520));
    assert_eq!(word(64), 1, "places taken");
    assert_eq!(word(4096), 2, "the tail");
    assert_eq!((word(4096 + 64), word(4096 + 64 + 8)), (0, 1));
    assert_eq!(&bytes[4096 + 64 + 16..][..16], b"journal\0\0\0\0\0\0\0\0\0");
    assert_eq!(bytes[8192..8192 + 128], record(1, 2));
}

#[test]
#[cfg_attr(miri, ignore = "miri maps no files")]
fn a_role_has_one_holder() {
    let folder = tempfile::tempdir().unwrap();
    let ring = shared(folder.path());
    let other = SharedRing::open(ring.path()).unwrap();
    let producer = ring.producer().unwrap();
    let error = other.producer().unwrap_err();
    assert!(error.to_string().contains("the producer"), "{error}");
    drop(producer);
    other.producer().unwrap();
    let consumer = ring.consumer("journal", Kind::Required).unwrap();
    let error = other.consumer("journal", Kind::Required).unwrap_err();
    assert!(error.to_string().contains("journal"), "{error}");
    other.consumer("screen", Kind::Optional).unwrap();
    drop(consumer);
    let consumer = other.consumer("journal", Kind::Required).unwrap();
    consumer.release();
}

#[test]
#[cfg_attr(miri, ignore = "miri maps no files")]
fn memory_without_a_name_is_attached_by_its_path() {
    let ring = SharedRing::anonymous(&Options::new(1 << 12)).unwrap();
    let other = SharedRing::open(ring.path()).unwrap();
    let mut reader = other.observer();
    let producer = ring.producer().unwrap();
    assert!(other.producer().is_err());
    producer.push(&record(1, 1)).unwrap();
    producer.publish();
    assert_eq!(read(&mut reader), Ok(vec![1]));
}

#[test]
#[cfg_attr(miri, ignore = "miri maps no files")]
fn what_is_no_ring_is_refused_and_left_alone() {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read(shared(folder.path()).path()).unwrap();
    let path = folder.path().join("other");
    let check = |content: &[u8], expected: &str| {
        let _ = std::fs::remove_file(&path);
        let mut file = std::fs::OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(&path);
        std::io::Write::write_all(&mut file.unwrap(), content).unwrap();
        let error = SharedRing::open(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    };
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    check(b"", "shorter than a header");
    check(&good[..8191], "shorter than a header");
    check(&with(0, b'X'), "first bytes");
    check(&with(8, 9), "version 9");
    check(&with(12, 32), "slots of 32 bytes");
    check(&with(16, 3), "a power of two");
    check(&with(17, 0x10), "its length is");
    check(&with(25, 0xFF), "at least twice");
    check(&good[..good.len() - 4096], "its length is");
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, &good).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = SharedRing::open(&path).unwrap_err().to_string();
    assert!(error.contains("chmod"), "{error}");
    for (slots, unpublished_max) in [(1000, 10), (16, 9), (16, 0), (0, 0), (1 << 40, 520)] {
        let options = Options {
            slots,
            unpublished_max,
            layout_hash: 0,
        };
        assert!(SharedRing::anonymous(&options).is_err(), "{options:?}");
    }
}
