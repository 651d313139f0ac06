//! Why a journal cannot be used, each with what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The first failure of a write or sync, after which the journal takes nothing more.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {act} {path}: {source}; the journal takes nothing more in this process, and what it said is durable is on the disk: make room or replace the disk, then start again", path = .path.display())]
pub struct Failure {
    /// Which file.
    pub path: PathBuf,
    /// What was tried.
    pub act: &'static str,
    /// Why not.
    pub source: Arc<io::Error>,
}

impl Failure {
    pub(crate) fn of(path: &Path, act: &'static str) -> impl FnOnce(io::Error) -> Failure {
        move |source| Failure {
            path: path.to_owned(),
            act,
            source: Arc::new(source),
        }
    }
}

/// Why a journal cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file could not be opened or read.
    #[error("cannot {act} {path}; check the path and its folder's permissions: {source}", path = .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A write or sync failed, now or before.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Bytes changed since they were written, or are missing.
    #[error("{path}: damaged at byte {offset}: {problem}; nothing was changed: keep the folder, recover from a copy or from a snapshot and what is before this place", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it, bytes.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// A segment is not there.
    #[error("{path} is missing, the segment of slot {position}; nothing was changed: bring the file back from where it was moved or from a copy", path = .path.display())]
    Missing {
        /// The segment that should be there.
        path: PathBuf,
        /// The ring's position that it begins at.
        position: u64,
    },
    /// A file of another journal among this one's.
    #[error("{path} is of another journal than the other files of its folder; move it away, and bring the right one back", path = .path.display())]
    OtherJournal {
        /// Which file.
        path: PathBuf,
    },
    /// The journal is of another shard, or of this one before it was unloaded.
    #[error("{path} is the journal of another shard or of an earlier load; give another folder", path = .path.display())]
    OtherShard {
        /// The folder.
        path: PathBuf,
    },
    /// Written by another version of the program.
    #[error("{path} is of journal version {found}, which this program does not read; use the program that wrote it", path = .path.display())]
    OtherVersion {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// There is no journal in the folder.
    #[error("{path} has no journal; name a folder that `ring0 record --journal` or `ring0 journal import` wrote", path = .path.display())]
    NoJournal {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("another process writes the journal in {path}; end it first, a journal has one writer", path = .path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// An option is out of range.
    #[error("option {option} is {value}, not {range}")]
    Option {
        /// Which.
        option: &'static str,
        /// As given.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// What was given to append is not what follows; nothing of it was taken.
    #[error(
        "these slots are not the journal's next records: {problem}; give whole records in the order of the ring"
    )]
    NotNext {
        /// What is wrong.
        problem: String,
    },
    /// Records that were removed are asked for.
    #[error("record {sequence} was removed or never recorded, {path} begins with record {oldest}; begin with a snapshot that has seen what is before", path = .path.display())]
    Removed {
        /// The folder.
        path: PathBuf,
        /// What was asked for.
        sequence: u64,
        /// The oldest record that is there.
        oldest: u64,
    },
    /// The snapshot does not cover what is to be removed.
    #[error(
        "records below {sequence} cannot be removed on the word of a snapshot that has seen those below {seen}; make a newer snapshot first"
    )]
    NotCovered {
        /// Below this was to be removed.
        sequence: u64,
        /// Below this the snapshot has seen.
        seen: u64,
    },
    /// The snapshot is of a shard of another layout.
    #[error(
        "the snapshot has layout {found:#018x} and the journal {expected:#018x}; use the market file and the program that the journal was recorded with"
    )]
    OtherLayout {
        /// Of the snapshot, or of the capacity given.
        found: u64,
        /// Of the journal.
        expected: u64,
    },
    /// A snapshot file.
    #[error(transparent)]
    Snapshot(#[from] ring0_mq::MqError),
    /// A shard could not be made, or a snapshot not restored into it.
    #[error(transparent)]
    Replica(#[from] ring0_engine::snapshot::ReplicaError),
    /// A snapshot could not be taken of a replica.
    #[error("cannot take a snapshot: {0}")]
    Take(ring0_engine::snapshot::SnapshotError),
    /// The records are not those that this engine writes.
    #[error(
        "the replay disagrees with the journal: {problem}; the program, the capacity or the start differs from those that it was recorded with, or it was changed: keep the folder and report it"
    )]
    Disagrees {
        /// How.
        problem: String,
    },
}

impl JournalError {
    pub(crate) fn file(path: &Path, act: &'static str, source: io::Error) -> JournalError {
        JournalError::File {
            path: path.to_owned(),
            act,
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, problem: impl Into<String>) -> JournalError {
        JournalError::Damaged {
            path: path.to_owned(),
            offset,
            problem: problem.into(),
        }
    }

    /// Whether something disagreed (a checksum, a chain, a state), not merely failed.
    #[must_use]
    pub fn is_disagreement(&self) -> bool {
        use ring0_mq::MqError;
        matches!(
            self,
            JournalError::Damaged { .. }
                | JournalError::Missing { .. }
                | JournalError::OtherJournal { .. }
                | JournalError::Disagrees { .. }
                | JournalError::Snapshot(MqError::Snapshot { .. })
        )
    }
}
