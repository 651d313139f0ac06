//! Why the ledger does not go on.

use crate::id::PeerId;

/// A record that cannot be taken. After any but [`UnknownShard`](LedgerError::UnknownShard) and [`Gap`](LedgerError::Gap) the ledger takes nothing more:
/// a wrong book is worse than a stopped one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LedgerError {
    /// The venue has no such shard.
    #[error("{0} is no shard of the venue; check the market file")]
    UnknownShard(PeerId),
    /// Records are missing.
    #[error(
        "record {expected} of {shard} is missing: {found} comes in its place; give the journal from record {expected} on, or an older store"
    )]
    Gap {
        /// The shard.
        shard: PeerId,
        /// The next one.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Bytes that are no record.
    #[error(
        "record {sequence} of {shard} cannot be read; check the journal with `ring0 journal verify`"
    )]
    Unreadable {
        /// The shard.
        shard: PeerId,
        /// The sequence that it should have.
        sequence: u64,
    },
    /// A record that says what cannot be.
    #[error(
        "record {sequence} of {shard}: {what}; the record or the ledger is damaged: rebuild the ledger, and compare the shard with its replay"
    )]
    Impossible {
        /// The shard.
        shard: PeerId,
        /// The record.
        sequence: u64,
        /// What is wrong.
        what: String,
    },
    /// After an earlier error.
    #[error(
        "an earlier error left the ledger in the middle of a record; open it again from its store"
    )]
    Broken,
}
