//! From a folder back to a shard: with snapshots, damaged ones among them, and after segments were removed.

mod stand;

use ring0_engine::flow::{Flow, Input, Options as FlowOptions};
use ring0_engine::layout::Layout;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::native::Native;
use ring0_engine::record::{Head, Kind};
use ring0_engine::replay::Tail;
use ring0_journal::{
    Journal, JournalError, Options, Reader, Snapshotter, Start, VerifiedSnapshot, recover,
    snapshots, verify,
};
use ring0_mq::Identity;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use zerocopy::FromBytes;

fn identity() -> Identity {
    Identity {
        layout_hash: Layout::new(&Flow::capacity()).unwrap().hash(),
        ..stand::IDENTITY
    }
}

fn open(folder: &Path) -> Journal {
    let options = Options {
        segment_bytes: 256 << 10,
        ..stand::options(2)
    };
    Journal::open(folder, &identity(), 0, options).unwrap()
}

/// A shard that is driven by a seeded flow and journaled.
struct Venue {
    native: Native,
    flow: Flow,
}

impl Venue {
    fn new(seed: u64) -> Venue {
        let mut flow = Flow::new(seed, FlowOptions::default());
        let mut native = Native::new(&Flow::capacity()).unwrap();
        native.control(&flow.setup(), flow.boot_ns());
        Venue { native, flow }
    }

    /// Some inputs, and their records since the last call.
    fn run(&mut self, inputs: usize) -> Vec<u8> {
        for _ in 0..inputs {
            let input = self.flow.next_input();
            let boot_ns = self.flow.boot_ns();
            match input {
                Input::Packet(payload) => {
                    let answer = self.native.packet(&payload, boot_ns, None).ok();
                    let answer = answer.as_ref().map(|(_, answer)| answer.as_slice());
                    self.flow.observe(answer);
                }
                Input::Control(commands) => {
                    self.native.control(&commands, boot_ns);
                }
                Input::Steps => self.native.steps(),
            }
        }
        self.native.take_records()
    }
}

/// Records into the journal in blocks of some inputs each.
fn journal(folder: &Path, venue: &mut Venue, blocks: usize) {
    let mut journal = open(folder);
    for _ in 0..blocks {
        journal.append(&venue.run(20)).unwrap();
        journal.sync().unwrap();
    }
    journal.close().unwrap();
}

fn is_the_venue(folder: &Path, venue: &Venue) -> ring0_journal::Recovered {
    let recovered = recover(folder, &Flow::capacity(), Start::NewestSnapshot, None).unwrap();
    assert_eq!(recovered.state_hash, venue.native.shard().state_hash());
    assert_eq!(recovered.native.shard().state_hash(), recovered.state_hash);
    assert_eq!((recovered.tail, recovered.left_over), (Tail::Clean, 0));
    recovered
}

#[test]
fn from_the_first_record_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut venue = Venue::new(0xA11);
    journal(folder.path(), &mut venue, 60);
    let recovered = is_the_venue(folder.path(), &venue);
    let verified = verify(folder.path()).unwrap();
    assert_eq!(recovered.records, verified.records);
    assert_eq!(recovered.bytes, verified.slots * SLOT_LEN as u64);
    assert_eq!((recovered.snapshot, recovered.warnings.len()), (None, 0));
    assert!(recovered.messages > 1_000);
}

#[test]
fn from_the_newest_good_snapshot_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut venue = Venue::new(0xA12);
    let mut made: Vec<PathBuf> = Vec::new();
    let mut follower = None;
    for _ in 0..6 {
        journal(folder.path(), &mut venue, 20);
        let follower = follower.get_or_insert_with(|| {
            Snapshotter::open(folder.path(), &Flow::capacity(), 1_500, None).unwrap()
        });
        while let Some(path) = follower.follow().unwrap() {
            made.push(path);
        }
    }
    let all = snapshots(folder.path()).unwrap();
    assert!(made.len() >= 3, "{made:?}");
    assert_eq!(
        all.iter().map(|(_, path)| path).collect::<Vec<_>>(),
        made.iter().collect::<Vec<_>>()
    );
    for pair in all.windows(2) {
        assert!(pair[1].0 >= pair[0].0 + 1_500);
    }
    let verified = verify(folder.path()).unwrap();
    let whole = recover(folder.path(), &Flow::capacity(), Start::FirstRecord, None).unwrap();
    assert_eq!(whole.state_hash, venue.native.shard().state_hash());
    assert_eq!((whole.snapshot, whole.records), (None, verified.records));

    // Each snapshot that goes bad: the one before it is used, and it is said.
    for damaged in 0..=made.len() {
        let recovered = is_the_venue(folder.path(), &venue);
        let used = made.iter().rev().nth(damaged);
        assert_eq!(recovered.snapshot.as_ref(), used);
        assert_eq!(recovered.warnings.len(), damaged);
        for (warning, path) in recovered.warnings.iter().zip(made.iter().rev()) {
            assert!(warning.contains(path.to_str().unwrap()), "{warning}");
            assert!(warning.contains("checksum"), "{warning}");
        }
        let from = used.map_or(1, |path| {
            ring0_mq::read_snapshot(path).unwrap().next_sequence()
        });
        assert_eq!(recovered.records, verified.next_sequence - from);
        if let Some(path) = used {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(b"\xA5\x5A\xA5", 6_000).unwrap();
        }
    }
}

#[test]
fn segments_go_only_on_the_word_of_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let mut venue = Venue::new(0xA13);
    journal(folder.path(), &mut venue, 80);
    let mut follower = Snapshotter::open(folder.path(), &Flow::capacity(), u64::MAX, None).unwrap();
    assert_eq!(follower.follow().unwrap(), None);
    let path = follower.make().unwrap();
    journal(folder.path(), &mut venue, 40);
    let all = verify(folder.path()).unwrap();
    assert!(all.segments > 4, "{} segments", all.segments);

    let mut writer = open(folder.path());
    let covered = VerifiedSnapshot::verify(&path).unwrap();
    let beyond = covered.next_sequence() + 1;
    let error = writer.remove_below(beyond, &covered).unwrap_err();
    assert!(matches!(error, JournalError::NotCovered { .. }), "{error}");
    assert_eq!(writer.remove_below(1, &covered).unwrap().segments, 0);
    let mut reader = Reader::open(folder.path()).unwrap();
    let removed = writer
        .remove_below(covered.next_sequence(), &covered)
        .unwrap();
    assert!(removed.segments > 1 && removed.segments < all.segments);
    let kept = verify(folder.path()).unwrap();
    assert_eq!(kept.segments, all.segments - removed.segments);
    assert!(kept.first_sequence <= covered.next_sequence());
    assert_eq!(kept.chain, all.chain);
    // The next segment begins above what the snapshot has seen, or all of it could go.
    drop(writer);
    is_the_venue(folder.path(), &venue);

    // A reader that is behind what was removed says so; one that asks for it as well.
    let error = loop {
        match reader.next_block() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends where the journal goes on"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, JournalError::Removed { .. }), "{error}");
    let error = Reader::open_at(folder.path(), 1).unwrap_err();
    assert!(matches!(error, JournalError::Removed { .. }), "{error}");

    // Without the snapshot nothing comes back, and it is said.
    fs::remove_file(&path).unwrap();
    let error = recover(
        folder.path(),
        &Flow::capacity(),
        Start::NewestSnapshot,
        None,
    )
    .err()
    .unwrap();
    assert!(
        matches!(error, JournalError::Removed { sequence: 1, .. }),
        "{error}"
    );

    // What a removal that was cut short left is removed by the next writer, never a file that is needed.
    let stale = folder.path().join(format!("{:020}.segment", 0));
    fs::write(&stale, b"left over").unwrap();
    assert_eq!(verify(folder.path()).unwrap().chain, all.chain);
    drop(open(folder.path()));
    assert!(!stale.exists());

    // The snapshot of another shard is no word.
    let other = Identity {
        layout_hash: 1,
        ..identity()
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let mut stranger = Journal::open(elsewhere.path(), &other, 0, stand::options(4)).unwrap();
    let error = stranger.remove_below(1, &covered).unwrap_err();
    assert!(matches!(error, JournalError::OtherLayout { .. }), "{error}");
}

#[test]
fn a_removal_may_end_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut venue = Venue::new(0xA16);
    journal(folder.path(), &mut venue, 60);
    let capacity = Flow::capacity();
    let mut follower = Snapshotter::open(folder.path(), &capacity, u64::MAX, None).unwrap();
    follower.follow().unwrap();
    let covered = VerifiedSnapshot::verify(&follower.make().unwrap()).unwrap();
    journal(folder.path(), &mut venue, 10);
    let whole = stand::content(folder.path());
    let mut random = stand::Random(0xA16);
    let options = Options {
        segment_bytes: 256 << 10,
        ..stand::options(2)
    };
    for operations in 0.. {
        stand::put_back(folder.path(), &whole);
        let storage = stand::Faulty::new(stand::Fault::Io, operations);
        let done = Journal::open_in(storage.clone(), folder.path(), &identity(), 0, options)
            .and_then(|mut journal| journal.remove_below(covered.next_sequence(), &covered));
        assert_eq!(done.is_err(), storage.has_failed());
        assert_eq!(storage.tried_after(), 0);
        storage.crash(&mut random);
        verify(folder.path()).unwrap_or_else(|error| panic!("operation {operations}: {error}"));
        drop(open(folder.path()));
        is_the_venue(folder.path(), &venue);
        if let Ok(removed) = done {
            assert!(removed.segments > 1 && operations > removed.segments);
            break;
        }
    }
}

#[test]
fn records_that_the_engine_would_not_write_are_found() {
    let mut venue = Venue::new(0xA14);
    let mut records = venue.native.take_records();
    records.extend(venue.run(800));
    let whole = records.clone();
    let check = |records: &[u8], expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path());
        journal.append(records).unwrap();
        journal.close().unwrap();
        let error = recover(
            folder.path(),
            &Flow::capacity(),
            Start::NewestSnapshot,
            None,
        )
        .err()
        .unwrap();
        assert!(error.is_disagreement(), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    // The events' content is nobody's input: only the comparison can find a change.
    let mut at = 0;
    let mut changed = None;
    while at < whole.len() {
        let (head, _) = Head::read_from_prefix(&whole[at..]).unwrap();
        if head.kind == Kind::Filled as u16 {
            changed = Some((at, head.sequence));
        }
        at += usize::from(head.slots) * SLOT_LEN;
    }
    let (at, sequence) = changed.expect("a flow has fills");
    records[at + 40] ^= 1;
    check(
        &records,
        &format!("record {sequence} is Filled there and Filled here, and differs from byte 40"),
    );
}

#[test]
fn a_journal_that_ends_within_a_packet_or_its_events() {
    let mut venue = Venue::new(0xA15);
    let mut records = venue.native.take_records();
    records.extend(venue.run(400));
    let mut ends = Vec::new();
    let mut at = 0;
    while at < records.len() {
        let (head, _) = Head::read_from_prefix(&records[at..]).unwrap();
        at += usize::from(head.slots) * SLOT_LEN;
        ends.push(at);
    }
    let (mut packets, mut events) = (0, 0);
    for end in ends.iter().rev().take(60) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(folder.path());
        journal.append(&records[..*end]).unwrap();
        journal.close().unwrap();
        let recovered = recover(
            folder.path(),
            &Flow::capacity(),
            Start::NewestSnapshot,
            None,
        )
        .unwrap();
        match recovered.tail {
            Tail::Clean => assert_eq!(recovered.left_over, 0),
            Tail::TornPacket { messages, .. } => {
                assert!(recovered.left_over >= u64::from(messages));
                packets += 1;
            }
            Tail::TornEvents { .. } => {
                assert_eq!(recovered.left_over, 0);
                events += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(packets + events > 0, "no end fell within a command");
}

#[test]
fn another_capacity_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    journal(folder.path(), &mut Venue::new(1), 2);
    let capacity = ring0_engine::Capacity {
        orders: Flow::capacity().orders + 1,
        ..Flow::capacity()
    };
    let error = recover(folder.path(), &capacity, Start::NewestSnapshot, None)
        .err()
        .unwrap();
    assert!(matches!(error, JournalError::OtherLayout { .. }), "{error}");
}
