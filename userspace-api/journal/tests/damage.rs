//! A journal that lost or changed a byte refuses to start and says where; nothing of it is changed.

mod stand;

use ring0_journal::{Journal, JournalError, PAGE, Reader, verify};
use ring0_mq::Identity;
use stand::{IDENTITY, block, content, open, options, put_back, read_all, segment_files};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGES: u64 = 4;

/// A journal of four segments at least, of blocks of one to five records.
fn sample(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut journal = open(folder, PAGES).unwrap();
    let mut next = 1;
    for count in [1, 2, 5, 3, 1, 4, 2, 2, 3, 1, 1] {
        block(&mut journal, next..next + count);
        next += count;
    }
    journal.close().unwrap();
    let content = content(folder);
    assert!(content.len() >= 5, "segments and watermark");
    content
}

/// Opening, reading and verifying all refuse, with the same words, and nothing is changed.
fn refused(folder: &Path, file: &Path) -> String {
    let before = content(folder);
    let error = open(folder, PAGES).expect_err("it is damaged");
    assert!(error.is_disagreement(), "{error}");
    let text = error.to_string();
    assert!(text.contains(file.to_str().unwrap()), "{text}");
    assert_eq!(verify(folder).unwrap_err().to_string(), text);
    assert_eq!(read_all(folder).unwrap_err().to_string(), text);
    assert!(content(folder) == before, "nothing was changed");
    text
}

#[test]
fn one_changed_byte_anywhere_in_a_closed_segment() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sample(folder.path());
    let segment = segment_files(folder.path())[1].clone();
    let bytes = whole[&segment].clone();
    assert!(bytes.len() >= 3 * PAGE);
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    for at in 0..bytes.len() {
        let changed = bytes[at] ^ 1 << (at % 8);
        file.write_all_at(&[changed], at as u64).unwrap();
        let error = Reader::open(folder.path())
            .and_then(|mut reader| {
                while reader.next_block()?.is_some() {}
                Ok(())
            })
            .expect_err("a byte was changed");
        let (named, offset) = match &error {
            JournalError::Damaged { path, offset, .. } => (path, *offset),
            JournalError::OtherVersion { path, .. } | JournalError::OtherJournal { path } => {
                (path, 0)
            }
            other => panic!("byte {at}: {other}"),
        };
        assert_eq!(named, &segment, "byte {at}: {error}");
        // The place named is the page at the latest: a block's header, a record, the index.
        let near = offset / PAGE as u64 * PAGE as u64;
        assert!(
            near <= at as u64 && (at as u64) < near + 2 * PAGE as u64,
            "byte {at}: {error}"
        );
        if at % 61 == 0 {
            assert!(open(folder.path(), PAGES).is_err());
            assert_eq!(
                verify(folder.path()).unwrap_err().to_string(),
                error.to_string()
            );
        }
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    open(folder.path(), PAGES).unwrap();
}

#[test]
fn one_changed_byte_anywhere_in_the_last_segment_of_a_closed_journal() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sample(folder.path());
    let segment = segment_files(folder.path()).pop().unwrap();
    let bytes = whole[&segment].clone();
    let end = PAGE + bytes.iter().rposition(|byte| *byte != 0).unwrap() / PAGE * PAGE;
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    for at in 0..end {
        file.write_all_at(&[bytes[at] ^ 0x10], at as u64).unwrap();
        let error = open(folder.path(), PAGES).expect_err("a byte was changed");
        let text = error.to_string();
        assert!(
            text.contains(segment.to_str().unwrap()),
            "byte {at}: {text}"
        );
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
}

#[test]
fn without_a_watermark_only_the_very_last_block_can_be_taken_for_a_torn_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path(), 16).unwrap();
    for first in 1..9 {
        block(&mut journal, first..first + 1);
    }
    journal.close().unwrap();
    fs::remove_file(folder.path().join("watermark")).unwrap();
    let segment = segment_files(folder.path()).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    for block in 1..9 {
        // A changed bit, and a block that is zeros: a later one shows that it was there.
        for hole in [false, true] {
            let mut bytes = whole.clone();
            let at = block * PAGE;
            if hole {
                bytes[at..at + PAGE].fill(0);
            } else {
                bytes[at + 200] ^= 4;
            }
            fs::write(&segment, &bytes).unwrap();
            if block == 8 {
                assert_eq!(read_all(folder.path()).unwrap(), 8);
                continue;
            }
            let text = refused(folder.path(), &segment);
            let expected = format!("the block at byte {} was written after it", at + PAGE);
            assert!(text.contains(&expected), "{text}");
        }
    }
}

#[test]
fn a_changed_record_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sample(folder.path());
    let segment = segment_files(folder.path())[0].clone();
    let mut bytes = whole[&segment].clone();
    // The second block has records 2 and 3; the third is in its third slot.
    let at = 2 * PAGE + 128 + 64 + 20;
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let text = refused(folder.path(), &segment);
    let expected = format!("damaged at byte {}: record 3 does not match", at - 20);
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn blocks_and_segments_that_are_not_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sample(folder.path());
    let files = segment_files(folder.path());
    let path = folder.path();

    // A hole.
    let mut bytes = whole[&files[1]].clone();
    bytes[PAGE..2 * PAGE].fill(0);
    fs::write(&files[1], &bytes).unwrap();
    assert!(refused(path, &files[1]).contains("damaged at byte 4096: zeros where a block stood"));
    put_back(path, &whole);

    // Two blocks in the other order.
    let mut bytes = whole[&files[1]].clone();
    let (a, b) = (
        bytes[PAGE..2 * PAGE].to_vec(),
        bytes[2 * PAGE..3 * PAGE].to_vec(),
    );
    bytes[PAGE..2 * PAGE].copy_from_slice(&b);
    bytes[2 * PAGE..3 * PAGE].copy_from_slice(&a);
    fs::write(&files[1], &bytes).unwrap();
    assert!(refused(path, &files[1]).contains("where slot"));
    put_back(path, &whole);

    // A closed segment that ends early, by a block and within one.
    for len in [2 * PAGE, 2 * PAGE + 100] {
        fs::write(&files[1], &whole[&files[1]][..len]).unwrap();
        assert!(!refused(path, if len == 2 * PAGE { path } else { &files[1] }).is_empty());
        put_back(path, &whole);
    }

    // One that has something behind its last block.
    let mut bytes = whole[&files[1]].clone();
    bytes.extend([0; PAGE]);
    fs::write(&files[1], &bytes).unwrap();
    assert!(refused(path, &files[1]).contains("zeros where a block stood"));
    put_back(path, &whole);

    // Segments missing: in the middle, the first, the last.
    for missing in [1, 0, files.len() - 1] {
        fs::remove_file(&files[missing]).unwrap();
        let named = if missing == files.len() - 1 {
            &files[missing - 1]
        } else {
            &files[missing]
        };
        let text = refused(path, named);
        let is_named = text.contains("is missing") || text.contains("known to have been");
        assert!(is_named, "{text}");
        put_back(path, &whole);
    }

    // All segments missing.
    for file in &files {
        fs::remove_file(file).unwrap();
    }
    assert!(refused(path, &files[0]).contains("is missing"));
    put_back(path, &whole);

    // Two segments with each other's names.
    fs::write(&files[1], &whole[&files[2]]).unwrap();
    fs::write(&files[2], &whole[&files[1]]).unwrap();
    assert!(refused(path, &files[1]).contains("its name says otherwise"));
    put_back(path, &whole);

    // The second segment of a journal of the same shard with the same records.
    let other = tempfile::tempdir().unwrap();
    let others = sample(other.path());
    let theirs = other.path().join(files[1].file_name().unwrap());
    fs::write(&files[1], &others[&theirs]).unwrap();
    assert!(refused(path, &files[1]).contains("of another journal"));
    put_back(path, &whole);

    // The other's watermark.
    fs::write(
        path.join("watermark"),
        &others[&other.path().join("watermark")],
    )
    .unwrap();
    assert!(refused(path, &path.join("watermark")).contains("of another journal"));
    put_back(path, &whole);

    // A watermark of which both entries changed.
    let mut bytes = whole[&path.join("watermark")].clone();
    (bytes[30], bytes[PAGE + 30]) = (bytes[30] ^ 1, bytes[PAGE + 30] ^ 1);
    fs::write(path.join("watermark"), &bytes).unwrap();
    assert!(refused(path, &path.join("watermark")).contains("matches its checksum"));
    put_back(path, &whole);
    open(path, PAGES).unwrap();
}

#[test]
fn a_block_of_another_journal_within_a_segment_is_none() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (whole, theirs) = (sample(a.path()), sample(b.path()));
    let file = segment_files(a.path())[1].clone();
    let their_bytes = &theirs[&b.path().join(file.file_name().unwrap())];
    let mut bytes = whole[&file].clone();
    bytes[PAGE..2 * PAGE].copy_from_slice(&their_bytes[PAGE..2 * PAGE]);
    fs::write(&file, &bytes).unwrap();
    assert!(refused(a.path(), &file).contains("of another journal"));
}

#[test]
fn another_shard_or_a_second_writer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let other = Identity {
        arena_id: 4,
        ..IDENTITY
    };
    let error = Journal::open(folder.path(), &other, 0, options(PAGES)).unwrap_err();
    assert!(matches!(error, JournalError::OtherShard { .. }), "{error}");
    let first = open(folder.path(), PAGES).unwrap();
    let error = open(folder.path(), PAGES).unwrap_err();
    assert!(matches!(error, JournalError::Busy { .. }), "{error}");
    drop(first);
    open(folder.path(), PAGES).unwrap();
}

#[test]
fn what_does_not_follow_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path(), PAGES).unwrap();
    block(&mut journal, 1..4);
    let check = |journal: &mut Journal, slots: &[u8], expected: &str| {
        let error = journal.append(slots).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        &mut journal,
        &stand::records(5..6),
        "sequence 5 where 4 follows",
    );
    check(
        &mut journal,
        &[stand::record(4), stand::record(6)].concat(),
        "sequence 6 where 5",
    );
    check(&mut journal, &stand::record(4)[..40], "not whole");
    check(&mut journal, &[0; 64], "kind 0, which is none");
    let mut long = stand::record(4);
    long[2] = 2;
    check(&mut journal, &long, "says 2 slots");
    block(&mut journal, 4..9);
    assert_eq!(journal.durable().next_sequence, 9);
    assert_eq!(read_all(folder.path()).unwrap(), 9);
}
