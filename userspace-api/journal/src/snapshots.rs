//! Snapshots in a journal's folder: which there are, which one was verified, and a follower that makes one every so many records.

use crate::JournalError;
use crate::reader::Reader;
use crate::recovery::{Start, begin};
use ring0_engine::Capacity;
use ring0_engine::snapshot::{Replica, Snapshot};
use ring0_mq::{MqError, read_snapshot, write_snapshot};
use std::fs;
use std::path::{Path, PathBuf};

/// What a snapshot's name ends with.
const SUFFIX: &str = ".snapshot";

/// Name of the snapshot that has seen all records below `next_sequence`: names sort as they do.
#[must_use]
pub fn snapshot_path(folder: &Path, next_sequence: u64) -> PathBuf {
    folder.join(format!("{next_sequence:020}{SUFFIX}"))
}

/// The snapshots of a folder, the oldest first, each with the sequence that its name says.
///
/// # Errors
/// The file system's.
pub fn snapshots(folder: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let failed = |error| JournalError::file(folder, "list", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let digits = name.and_then(|name| name.strip_suffix(SUFFIX));
        let digits = digits.filter(|it| it.len() == 20 && it.bytes().all(|it| it.is_ascii_digit()));
        if let Some(sequence) = digits.and_then(|it| it.parse().ok()) {
            found.push((sequence, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The word that a snapshot on the disk was read, restored into memory, hashed and checked: what a removal of records asks for.
#[derive(Debug)]
pub struct VerifiedSnapshot {
    path: PathBuf,
    snapshot: Snapshot,
}

impl VerifiedSnapshot {
    /// Verifies the snapshot at `path`.
    ///
    /// # Errors
    /// The file system's, or what is wrong with it.
    ///
    /// # Panics
    /// As [`Snapshot::verify`].
    pub fn verify(path: &Path) -> Result<VerifiedSnapshot, JournalError> {
        let snapshot = read_snapshot(path)?;
        snapshot.verify().map_err(|source| MqError::Snapshot {
            path: path.to_owned(),
            source,
        })?;
        Ok(VerifiedSnapshot {
            path: path.to_owned(),
            snapshot,
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sequence number of the first record that it has not seen.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.snapshot.next_sequence()
    }

    /// Hash of its shard's layout.
    #[must_use]
    pub fn layout_hash(&self) -> u64 {
        self.snapshot.layout_hash()
    }
}

/// Follows a journal with a replica and writes a snapshot into its folder every so many records.
///
/// It takes only what is known to be on the disk, so that no snapshot is ever ahead of the journal that a dead machine leaves.
pub struct Snapshotter {
    folder: PathBuf,
    every: u64,
    replica: Replica,
    reader: Reader,
    /// Sequence at which the last snapshot was made or begun with.
    made_at: u64,
    /// Position up to which the journal is known to be on the disk.
    durable: u64,
    warnings: Vec<String>,
}

impl Snapshotter {
    /// Begins at the newest snapshot that is good, or at the first record. `every`: records between snapshots, at least. `broken`: the
    /// command in which a fault stopped the shard, before which it ends.
    ///
    /// # Errors
    /// The file system's, a damaged journal, another capacity, or the records before the first one kept are in no good snapshot.
    ///
    /// # Panics
    /// As [`Snapshot::restore`].
    pub fn open(
        folder: &Path,
        capacity: &Capacity,
        every: u64,
        broken: Option<u64>,
    ) -> Result<Snapshotter, JournalError> {
        let begun = begin(
            folder,
            capacity,
            Start::NewestSnapshot,
            |snapshot| match snapshot {
                Some(snapshot) => Replica::from_snapshot(snapshot, capacity, broken),
                None => Replica::new(capacity, broken)
                    .map_err(ring0_engine::snapshot::ReplicaError::Native),
            },
        )?;
        Ok(Snapshotter {
            folder: folder.to_owned(),
            every: every.max(1),
            made_at: begun.replica.shard().header().next_sequence.get(),
            replica: begun.replica,
            reader: begun.reader,
            durable: 0,
            warnings: begun.warnings,
        })
    }

    /// Snapshots that could not be used, and why.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Follows until a snapshot was made, whose path it gives, or there is nothing more on the disk: `None`.
    ///
    /// # Errors
    /// The file system's, a damaged journal, or records that this engine would not write.
    pub fn follow(&mut self) -> Result<Option<PathBuf>, JournalError> {
        loop {
            if self.reader.position() >= self.durable {
                let watermark = self.reader.watermark()?;
                self.durable = watermark.map_or(u64::MAX, |watermark| watermark.position);
                if self.reader.position() >= self.durable {
                    return Ok(None);
                }
            }
            let Some(block) = self.reader.next_block()? else {
                return Ok(None);
            };
            let fed = self.replica.feed(block.slots());
            fed.map_err(|error| JournalError::Disagrees {
                problem: error.to_string(),
            })?;
            if self.next_sequence() >= self.made_at.saturating_add(self.every) {
                return self.make().map(Some);
            }
        }
    }

    /// Writes a snapshot of what was followed so far; gives its path.
    ///
    /// # Errors
    /// The file system's, or the shard is one that a fault stopped.
    ///
    /// # Panics
    /// As [`Snapshot::take`].
    pub fn make(&mut self) -> Result<PathBuf, JournalError> {
        let snapshot = self.replica.snapshot().map_err(JournalError::Take)?;
        let path = snapshot_path(&self.folder, snapshot.next_sequence());
        write_snapshot(&path, &snapshot)?;
        self.made_at = snapshot.next_sequence();
        Ok(path)
    }

    /// Sequence number of the first record that the replica has not carried out.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.replica.shard().header().next_sequence.get()
    }

    /// Sequence number at which the last snapshot was made or begun with.
    #[must_use]
    pub fn made_at(&self) -> u64 {
        self.made_at
    }
}
