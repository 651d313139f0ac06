//! What a dying machine leaves is cut off, and nothing else is lost.

mod stand;

use ring0_journal::{PAGE, verify};
use stand::{block, content, open, put_back, read_all, segment_files};
use std::fs;
use std::path::{Path, PathBuf};

const PAGES: u64 = 8;

/// A journal of blocks of these records, as it was before and after the last of them was written, and the last segment.
struct Torn {
    folder: tempfile::TempDir,
    before: std::collections::BTreeMap<PathBuf, Vec<u8>>,
    segment: PathBuf,
    whole: Vec<u8>,
    /// Where the last block begins.
    start: usize,
    /// First record of the last block, and the one behind it.
    first: u64,
    end: u64,
}

impl Torn {
    fn new(blocks: &[u64]) -> Torn {
        let folder = tempfile::tempdir().unwrap();
        let (last, others) = blocks.split_last().unwrap();
        let mut journal = open(folder.path(), PAGES).unwrap();
        let mut next = 1;
        for count in others {
            block(&mut journal, next..next + count);
            next += count;
        }
        let before = content(folder.path());
        block(&mut journal, next..next + last);
        drop(journal);
        let segment = segment_files(folder.path()).pop().unwrap();
        let whole = fs::read(&segment).unwrap();
        let old = &before[&segment];
        let start = old.iter().zip(&whole).position(|(a, b)| a != b).unwrap();
        Torn {
            before,
            segment,
            whole,
            start,
            first: next,
            end: next + last,
            folder,
        }
    }

    /// The last segment has this content, and the watermark is the one from before the last block or the newest.
    fn with(&self, bytes: &[u8], newest: Option<&[u8]>) -> &Path {
        let folder = self.folder.path();
        put_back(folder, &self.before);
        fs::write(&self.segment, bytes).unwrap();
        if let Some(watermark) = newest {
            fs::write(folder.join("watermark"), watermark).unwrap();
        }
        folder
    }

    /// Where the last block's last page ends.
    fn pages_end(&self) -> usize {
        let end = self.whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        self.start + (end - self.start).next_multiple_of(PAGE)
    }

    /// Opens what was left: the last block is there whole or not at all, and the journal goes on.
    fn check(&self, bytes: &[u8], is_whole: bool, case: &str) {
        let folder = self.with(bytes, None);
        let next = if is_whole { self.end } else { self.first };
        assert_eq!(read_all(folder).unwrap(), next, "{case}: a reader");
        let mut journal = open(folder, PAGES).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(journal.durable().next_sequence.max(1), next, "{case}");
        let kept = if is_whole {
            self.pages_end()
        } else {
            self.start
        };
        let behind = bytes.get(kept..).unwrap_or_default();
        let expected = behind.iter().rposition(|byte| *byte != 0);
        let expected = expected.map_or(0, |last| last as u64 + 1);
        assert_eq!(journal.cut_bytes(), expected, "{case}");
        // What was cut off is gone: what comes in its place is found, and nothing behind it.
        block(&mut journal, next..next + 1);
        drop(journal);
        assert_eq!(verify(folder).unwrap().next_sequence, next + 1, "{case}");
        assert_eq!(verify(folder).unwrap().torn_bytes, 0, "{case}");
    }
}

fn every_tear(torn: &Torn) {
    let end = torn.whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // Whole pages are what counts: zeros behind the block's content are part of it.
    let pages_end = torn.pages_end();
    for at in torn.start..=end {
        let is_whole = at >= end;
        let mut zeroed = torn.whole.clone();
        zeroed[at..].fill(0);
        torn.check(&zeroed, is_whole, &format!("zeros from byte {at} on"));
        torn.check(
            &torn.whole[..at],
            at >= pages_end,
            &format!("cut off at byte {at}"),
        );
    }
    torn.check(&torn.whole[..pages_end], true, "cut off behind the block");
}

#[test]
fn a_last_record_torn_at_every_byte() {
    every_tear(&Torn::new(&[3, 1, 1]));
}

#[test]
fn a_last_block_of_some_records_torn_at_every_byte() {
    every_tear(&Torn::new(&[2, 5]));
}

#[test]
fn the_only_record_torn_at_every_byte() {
    every_tear(&Torn::new(&[1]));
}

#[test]
fn pages_of_the_last_block_written_in_any_order() {
    let torn = Torn::new(&[2, 130]);
    let end = torn.whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let pages = (end - torn.start).div_ceil(PAGE);
    assert!(pages >= 3, "the block has {pages} pages");
    for kept in 0_u32..1 << pages {
        let mut bytes = torn.whole.clone();
        for page in (0..pages).filter(|page| kept >> page & 1 == 0) {
            bytes[torn.start + page * PAGE..][..PAGE].fill(0);
        }
        torn.check(&bytes, kept == (1 << pages) - 1, &format!("pages {kept:b}"));
    }
}

#[test]
fn garbage_behind_the_last_block_is_cut_off() {
    let torn = Torn::new(&[2, 2]);
    let mut random = stand::Random(7);
    for from in [0, 1, 63, 64, 4_095, 4_096, 5_000] {
        let mut bytes = torn.whole.clone();
        bytes[torn.start + from..]
            .iter_mut()
            .for_each(|byte| *byte = random.next() as u8 | 1);
        torn.check(&bytes, from >= PAGE, &format!("garbage from {from} on"));
    }
}

#[test]
fn a_torn_block_that_was_known_to_be_on_the_disk_is_damage() {
    let torn = Torn::new(&[3, 1]);
    let newest = {
        let folder = torn.with(&torn.whole, None);
        drop(open(folder, PAGES).unwrap());
        fs::read(folder.join("watermark")).unwrap()
    };
    for at in torn.start..torn.start + 200 {
        let mut bytes = torn.whole.clone();
        bytes[at..].fill(0);
        if bytes == torn.whole {
            continue;
        }
        let folder = torn.with(&bytes, Some(&newest));
        let error = open(folder, PAGES).unwrap_err();
        assert!(error.is_disagreement(), "{error}");
        let text = error.to_string();
        let file = torn.segment.to_str().unwrap();
        assert!(text.contains(file) && text.contains("at byte"), "{text}");
        assert!(text.contains("known to have been on the disk"), "{text}");
        assert_eq!(fs::read(&torn.segment).unwrap(), bytes, "nothing changed");
    }
}
