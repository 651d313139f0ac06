//! The durable form of MQ1: the record ring's slots in segments of checked blocks, with snapshots, recovery and retention.
//!
//! Always true of a journal that [`Journal::open`] gave: every byte that it keeps was checked; its records follow each other without
//! a gap; what [`Journal::durable`] says is on the disk. What a dying machine left unfinished is cut off, anything else that is
//! wrong refuses to start. After the first error of a write or sync nothing is written any more.
//!
//! Knows slots, heads, positions, files; what a record means only where [`recover`] gives it to the engine. One writer a folder; any number
//! of readers, also while it writes. Rule: RULES 11, 17, 25; bytes and promises: `docs/journal.md`.
#![deny(unsafe_code)]

mod block;
mod error;
mod journal;
mod reader;
mod recovery;
mod segment;
mod snapshots;
mod storage;
mod verify;
mod watermark;
mod writer;

pub use block::{BLOCK_HEADER, BLOCK_SLOTS_MAX, Block, BlockHeader, Chain};
pub use error::{Failure, JournalError};
pub use journal::{Durable, Journal, Options, Removed};
pub use reader::Reader;
pub use recovery::{Comparison, Recovered, Start, recover};
pub use snapshots::{Snapshotter, VerifiedSnapshot, snapshot_path, snapshots};
pub use storage::{Disk, Storage, StorageFile};
pub use verify::{Verified, verify};
pub use watermark::Watermark;

/// Blocks begin on multiples of this many bytes: the largest sector that a disk writes at once, and the kernel's page.
pub const PAGE: usize = 4096;
