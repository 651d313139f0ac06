//! The watermark: how far the journal is on the disk, and where it begins, in a small file beside the segments.
//!
//! Always true: it never says more than what is on the disk, because it is written after the sync that made it so. It may say less,
//! because it is itself synced only now and then. By it a reader tells a last block that was torn by a dying machine from one that
//! was whole and lost a bit later, and notices that the last segments are gone. Bytes: `docs/journal.md#watermark`.

use crate::storage::{Storage, StorageFile, write_all};
use crate::{Failure, JournalError, PAGE};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const MAGIC: [u8; 8] = *b"RING0JW1";
const CRC_AT: usize = 60;

/// One of the two entries, which lie on pages of their own, are both there from the beginning and are written in turn: while one is
/// written the other is whole.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
struct Entry {
    magic: [u8; 8],
    journal_id: [u8; 16],
    generation: u64,
    first: u64,
    position: u64,
    next_sequence: u64,
    reserved: u32,
    crc: u32,
}
const _: () = assert!(size_of::<Entry>() == 64);

/// What the file says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Watermark {
    pub(crate) journal_id: [u8; 16],
    generation: u64,
    /// The ring's position of the oldest slot that is kept.
    pub first: u64,
    /// The ring's position behind the last slot that is known to be on the disk.
    pub position: u64,
    /// Sequence number behind the last record that is known to be on the disk; 0: there is none yet.
    pub next_sequence: u64,
}

pub(crate) fn watermark_path(folder: &Path) -> PathBuf {
    folder.join("watermark")
}

impl Watermark {
    pub(crate) fn new(journal_id: [u8; 16], first: u64) -> Watermark {
        Watermark {
            journal_id,
            generation: 0,
            first,
            position: first,
            next_sequence: 0,
        }
    }

    /// Reads a folder's; `None` where there is no file, or an empty one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Watermark>, JournalError> {
        let path = watermark_path(folder);
        // A writer that is faster than this reader may write both entries while they are read.
        for _ in 0..16 {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(JournalError::file(&path, "open", error)),
            };
            let mut bytes = [[0; size_of::<Entry>()]; 2];
            for (bytes, at) in bytes.iter_mut().zip([0, PAGE as u64]) {
                match file.read_exact_at(bytes, at) {
                    Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                        return Err(JournalError::file(&path, "read", error));
                    }
                    _ => {}
                }
            }
            let found = bytes.iter().filter_map(Watermark::parse);
            if let Some(newest) = found.max_by_key(|found| found.generation) {
                return Ok(Some(newest));
            }
            if bytes == [[0; size_of::<Entry>()]; 2] {
                return Ok(None);
            }
        }
        Err(JournalError::damaged(
            &path,
            0,
            "neither of the watermark's entries matches its checksum",
        ))
    }

    fn parse(bytes: &[u8; 64]) -> Option<Watermark> {
        let entry = Entry::read_from_bytes(bytes).ok()?;
        let is_whole = entry.magic == MAGIC
            && entry.reserved == 0
            && crc32c::crc32c(&bytes[..CRC_AT]) == entry.crc;
        is_whole.then_some(Watermark {
            journal_id: entry.journal_id,
            generation: entry.generation,
            first: entry.first,
            position: entry.position,
            next_sequence: entry.next_sequence,
        })
    }

    /// Makes the file, with both entries, whole and on the disk before it has its name.
    pub(crate) fn make<S: Storage>(&mut self, storage: &S, folder: &Path) -> Result<(), Failure> {
        let path = watermark_path(folder);
        let part = path.with_extension("part");
        let failed = |act| Failure::of(&part, act);
        let file = storage.create(&part).map_err(failed("make"))?;
        for _ in 0..2 {
            self.write(&file).map_err(failed("write"))?;
        }
        file.sync_all().map_err(failed("sync"))?;
        storage
            .rename(&part, &path)
            .map_err(failed("give its name to"))?;
        let synced = storage.sync_folder(folder);
        synced.map_err(Failure::of(folder, "sync"))
    }

    /// Writes it over the older of the two entries, not yet synced.
    pub(crate) fn write(&mut self, file: &impl StorageFile) -> io::Result<()> {
        self.generation += 1;
        let mut entry = Entry {
            magic: MAGIC,
            journal_id: self.journal_id,
            generation: self.generation,
            first: self.first,
            position: self.position,
            next_sequence: self.next_sequence,
            reserved: 0,
            crc: 0,
        };
        entry.crc = crc32c::crc32c(&entry.as_bytes()[..CRC_AT]);
        let at = (self.generation & 1) * PAGE as u64;
        write_all(file, entry.as_bytes(), at)
    }
}
