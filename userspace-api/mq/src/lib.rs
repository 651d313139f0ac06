//! MQ1 as a file: the record ring's required consumer, which resumes without a gap, and the file's reader; snapshots on disk; MQ1 over UDP.
//!
//! Knows slots, heads and positions; nothing of what a record means. The ring itself is [`ring`]; its consumers in the kernel's maps are
//! `ring0-rings`' ([`ring0_rings::Consumer`]): this crate stands on both, so that whoever only drives a ring needs no file.
//! Rule: RULES 11, 17; DESIGN 5.
#![deny(unsafe_code)]

mod file;
mod recorder;
mod snapshot;
mod sole;
pub mod udp;

pub use file::{Identity, RecordFile, Records};
pub use recorder::{CONSUMER, Recorder, Sink};
pub use ring0_record_ring as ring;
pub use snapshot::{SnapshotWriter, read_snapshot, write_snapshot};
pub use sole::Sole;

use ring0_engine::snapshot::SnapshotError;
use std::io;
use std::path::PathBuf;

/// Why recording or reading a recording failed.
#[derive(Debug, thiserror::Error)]
pub enum MqError {
    /// The file could not be opened, read or written.
    #[error("cannot {act} {path}; check the path, its folder's permissions and the space left: {source}", path = .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Not a recording, or of another version.
    #[error("{path}: {problem}; name a file that `ring0 record` wrote, or one that does not exist yet", path = .path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The recording is of another shard, or of this one before it was unloaded.
    #[error("{path} is the recording of another shard or of an earlier load; move it away, or give another file", path = .path.display())]
    OtherShard {
        /// Which file.
        path: PathBuf,
    },
    /// A record in the middle cannot be read.
    #[error("{path}: the record at slot {slot} cannot be read ({problem}); the file was damaged: move it away and keep it, what is before that slot is good", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Slot of the ring at which the record begins.
        slot: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The ring no longer has what follows the file's end.
    #[error("{path} ends before slot {position}, and the ring begins at slot {start}: {missing} slots are missing; move the file away and begin a new one, which will have that gap", path = .path.display())]
    Gap {
        /// Which file.
        path: PathBuf,
        /// The first slot that the file does not have.
        position: u64,
        /// The first slot that the ring still has.
        start: u64,
        /// Slots between the two.
        missing: u64,
    },
    /// Another process does the same for this shard.
    #[error("another {role} of this shard is running; end it first, a shard has one")]
    NotAlone {
        /// What it does.
        role: &'static str,
    },
    /// A snapshot that cannot be used.
    #[error("{path}: {source}", path = .path.display())]
    Snapshot {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// Another place that a recorder writes to.
    #[error(transparent)]
    Sink(Box<dyn std::error::Error + Send + Sync>),
    /// Two would write one snapshot.
    #[error("another process is writing {path}; wait until it is done, or give another file", path = .path.display())]
    SnapshotBusy {
        /// The file that it writes.
        path: PathBuf,
    },
    /// The record ring.
    #[error(transparent)]
    Ring(#[from] ring0_rings::RingError),
    /// The pins.
    #[error(transparent)]
    Loader(#[from] xdp_loader::LoaderError),
}
