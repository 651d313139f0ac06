//! Reading from any sequence on, across segments, and while the journal is being written.

mod stand;

use ring0_journal::{Journal, JournalError, Options, PAGE, Reader, verify};
use stand::{IDENTITY, block, open, read_all, record, records};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn from_every_sequence_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path(), 3).unwrap();
    let mut next = 1;
    for count in [3, 1, 7, 2, 30, 1, 1, 5] {
        block(&mut journal, next..next + count);
        next += count;
    }
    for from in 0..next + 3 {
        if from == 0 {
            let error = Reader::open_at(folder.path(), 0).unwrap_err();
            assert!(matches!(error, JournalError::Removed { oldest: 1, .. }));
            continue;
        }
        let mut reader = Reader::open_at(folder.path(), from).unwrap();
        let mut expected = from;
        while let Some(found) = reader.next_record().unwrap() {
            assert!(found == record(expected));
            expected += 1;
        }
        assert_eq!(expected, next.max(from));
    }
    // One that waits for what is not written yet.
    let mut late = Reader::open_at(folder.path(), next + 2).unwrap();
    assert!(late.next_record().unwrap().is_none());
    block(&mut journal, next..next + 4);
    assert!(late.next_record().unwrap().unwrap() == record(next + 2));
}

#[test]
fn a_reader_beside_a_writer_sees_every_record_and_never_damage() {
    let folder = tempfile::tempdir().unwrap();
    const END: u64 = 60_001;
    let options = Options {
        segment_bytes: 64 << 10,
        sync_bytes: 8 << 10,
        sync_after: Duration::from_micros(50),
    };
    let mut journal = Journal::open(folder.path(), &IDENTITY, 0, options).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = stand::Random(3);
            let mut next = 1;
            while next < END {
                let end = END.min(next + 1 + random.below(200));
                journal.append(&records(next..end)).unwrap();
                next = end;
            }
            journal.sync().unwrap();
            done.store(true, Ordering::Release);
        });
        let mut reader = Reader::open(folder.path()).unwrap();
        let mut next = 1;
        loop {
            let is_last = done.load(Ordering::Acquire);
            while let Some(found) = reader.next_record().unwrap() {
                assert!(found == record(next), "record {next}");
                next += 1;
            }
            if is_last {
                break;
            }
        }
        assert_eq!(next, END);
    });
    let verified = verify(folder.path()).unwrap();
    assert_eq!((verified.records, verified.first_sequence), (END - 1, 1));
    assert!(verified.segments > 20);
    assert_eq!(read_all(folder.path()).unwrap(), END);
}

#[test]
fn syncs_by_bytes_and_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 1 << 20,
        sync_bytes: 4_000,
        sync_after: Duration::from_millis(20),
    };
    let mut journal = Journal::open(folder.path(), &IDENTITY, 0, options).unwrap();
    assert_eq!(journal.due(), None);
    assert_eq!(journal.append(&records(1..3)).unwrap().next_sequence, 0);
    let due = journal.due().unwrap();
    assert_eq!(journal.sync_if_due().unwrap().next_sequence, 0);
    std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
    // Due, they are on their way to the disk, and nothing waits for its time any more.
    let until = |journal: &mut Journal, sequence| {
        while journal.sync_if_due().unwrap().next_sequence != sequence {
            journal.wait(Duration::from_secs(10));
        }
    };
    assert!([0, 3].contains(&journal.sync_if_due().unwrap().next_sequence));
    assert_eq!(journal.due(), None);
    until(&mut journal, 3);
    let sent = journal.append(&records(3..80)).unwrap().next_sequence;
    assert!([3, 80].contains(&sent));
    assert_eq!(journal.due(), None);
    until(&mut journal, 80);
    assert_eq!(journal.position(), journal.durable().position);
    let verified = verify(folder.path()).unwrap();
    assert_eq!((verified.blocks, verified.next_sequence), (2, 80));
}

/// Searching the writer's room, a mebibyte of zeros, at every block took a quarter of two processors from a venue under load.
#[test]
fn who_follows_a_writer_searches_a_segment_once_and_still_sees_damage() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default();
    let mut journal = Journal::open(folder.path(), &IDENTITY, 0, options).unwrap();
    let mut reader = Reader::open(folder.path()).unwrap();
    for next in 1..50 {
        block(&mut journal, next..next + 1);
        assert!(reader.next_block().unwrap().is_some());
        assert!(reader.next_block().unwrap().is_none());
    }
    assert_eq!(reader.searches(), 1);
    // A block that was written and is none any more is damage, without a search.
    let segment = stand::segment_files(folder.path())[0].clone();
    let end = reader.offset();
    block(&mut journal, 50..51);
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[0; PAGE], end).unwrap();
    let error = reader.next_block().unwrap_err();
    assert!(error.is_disagreement(), "{error}");
    assert_eq!(reader.searches(), 1);
}
