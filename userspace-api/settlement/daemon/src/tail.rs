//! A shard's journal as the ledger reads it: whole records, each once it is on the disk; also while it is written, and before it is there.

use ring0_engine::limits::SLOT_LEN;
use ring0_journal::{JournalError, Reader};
use ring0_settlement::Records;
use std::path::PathBuf;

/// Records that are read ahead of the journal's disk, bytes: one block.
const AHEAD: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tail {
    folder: PathBuf,
    /// Sequence of the record that comes next.
    next: u64,
    reader: Option<Reader>,
    /// Records that were read, and how far they were given.
    read: Vec<u8>,
    given: usize,
    /// Sequence behind the last record that is known to be on the disk.
    durable: u64,
}

impl Tail {
    /// Of a journal's folder, from a sequence on.
    pub(crate) fn new(folder: PathBuf, next: u64) -> Tail {
        Tail {
            folder,
            next,
            reader: None,
            read: Vec::new(),
            given: 0,
            durable: 0,
        }
    }

    /// Reads on, where all that was read is given; looks how far the disk is.
    fn look(&mut self) -> Result<(), JournalError> {
        if self.reader.is_none() {
            // A journal that is not there yet comes with its recorder.
            if !self.folder.join("watermark").exists() {
                return Ok(());
            }
            self.reader = Some(Reader::open_at(&self.folder, self.next)?);
        }
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        if self.given == self.read.len() {
            self.read.clear();
            self.given = 0;
            while self.read.len() < AHEAD {
                match reader.next_record()? {
                    Some(record) => self.read.extend_from_slice(record),
                    None => break,
                }
            }
        }
        let watermark = reader.watermark()?;
        self.durable = watermark.map_or(0, |it| it.next_sequence);
        Ok(())
    }

    /// Length and sequence of the next record that was read.
    fn head(&self) -> Option<(usize, u64)> {
        let head = self.read.get(self.given..self.given + 16)?;
        let sequence = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
        Some((usize::from(head[2].max(1)) * SLOT_LEN, sequence))
    }
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
