//! A shard's journals as the ledger reads them: whole records, each once it is on the disk; also while one is written, and before it is there.
//!
//! A journal is of one life of a shard. One that was brought back after the loss of its machine, or moved to more capacity, goes on in another folder, which
//! begins with a snapshot: what the former one has from there on was never answered, and does not count.

use ring0_engine::limits::SLOT_LEN;
use ring0_journal::{JournalError, Reader, snapshots};
use ring0_settlement::Records;
use std::path::{Path, PathBuf};

/// Records that are read ahead of the journal's disk, bytes: one block.
const AHEAD: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Of the shard's lives, the oldest first.
    folders: Vec<PathBuf>,
    /// Sequence of the record that comes next.
    next: u64,
    reader: Option<Reader>,
    /// Place of the folder that is read, and the record that the next life begins with, where there is one.
    life: (usize, Option<u64>),
    /// Records that were read, and how far they were given.
    read: Vec<u8>,
    given: usize,
    /// Sequence behind the last record that is known to be on the disk.
    durable: u64,
}

/// The record that a life begins with; `None`: it has not begun, or not said where.
fn begins(folder: &Path) -> Result<Option<u64>, JournalError> {
    // A journal that is not there yet comes with its recorder.
    if !folder.join("watermark").exists() {
        return Ok(None);
    }
    let first = snapshots(folder)?.into_iter().map(|(next, _)| next).min();
    if first.is_some() {
        return Ok(first);
    }
    let first = Reader::open(folder)?.next_sequence();
    Ok((first > 0).then_some(first))
}

impl Tail {
    /// Of the folders of a shard's lives, the oldest first, from a sequence on.
    pub(crate) fn new(folders: Vec<PathBuf>, next: u64) -> Tail {
        Tail {
            folders,
            next,
            reader: None,
            life: (0, None),
            read: Vec::new(),
            given: 0,
            durable: 0,
        }
    }

    /// Opens the life that has the next record: the last one that begins at it or before.
    fn open(&mut self) -> Result<(), JournalError> {
        let mut following = None;
        for (place, folder) in self.folders.iter().enumerate().rev() {
            let first = begins(folder)?;
            if first.is_none_or(|first| first > self.next) && place > 0 {
                following = first.or(following);
                continue;
            }
            if folder.join("watermark").exists() {
                self.reader = Some(Reader::open_at(folder, self.next)?);
                self.life = (place, following);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Goes over to the next life where this one has been read.
    fn go_over(&mut self) -> Result<(), JournalError> {
        let (place, end) = self.life;
        if end.is_none()
            && let Some(folder) = self.folders.get(place + 1)
        {
            self.life.1 = begins(folder)?;
        }
        if self.life.1.is_some_and(|end| self.next >= end) {
            self.reader = None;
            self.read.clear();
            self.given = 0;
            self.open()?;
        }
        Ok(())
    }

    /// Looks how far the disk is; reads on, where all that was read is given.
    fn look(&mut self) -> Result<(), JournalError> {
        match self.reader {
            None => self.open()?,
            Some(_) => self.go_over()?,
        }
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let watermark = reader.watermark()?;
        let durable = watermark.map_or(0, |it| it.next_sequence);
        // Of a life that is over all counts that the next one was made of, also where the machine died before the watermark said so.
        self.durable = self.life.1.unwrap_or(durable);
        // Where nothing is new the journal's end is not read again: this is asked hundreds of times a second.
        if self.given == self.read.len() && self.durable > self.next {
            self.read.clear();
            self.given = 0;
            // Nor is what stands behind the watermark: where the journal's file has been made longer in advance, its end is far.
            let mut behind = self.next;
            while self.read.len() < AHEAD && behind < self.durable {
                let Some(record) = reader.next_record()? else {
                    break;
                };
                behind = head(record).map_or(behind, |(_, sequence)| sequence + 1);
                self.read.extend_from_slice(record);
            }
        }
        Ok(())
    }

    /// Length and sequence of the next record that was read.
    fn head(&self) -> Option<(usize, u64)> {
        head(&self.read[self.given..])
    }
}

/// Length and sequence of the record that begins here; `None`: there is no whole head.
pub(crate) fn head(bytes: &[u8]) -> Option<(usize, u64)> {
    let head = bytes.get(..16)?;
    let sequence = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
    Some((usize::from(head[2].max(1)) * SLOT_LEN, sequence))
}

impl Records for Tail {
    fn next(&mut self) -> Result<Option<&[u8]>, JournalError> {
        if self
            .head()
            .is_none_or(|(_, sequence)| sequence >= self.durable)
        {
            self.look()?;
        }
        match self.head() {
            Some((len, sequence)) if sequence < self.durable => {
                let start = self.given;
                self.given += len;
                self.next = sequence + 1;
                Ok(Some(&self.read[start..start + len]))
            }
            _ => Ok(None),
        }
    }
}
