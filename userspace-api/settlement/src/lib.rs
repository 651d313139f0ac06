//! Double-entry ledger fed by the record, netting into batches, reconciliation, statements.
//!
//! ```text
//! shards' record journals --take--> Ledger <--apply-- FactJournal (durable before it counts)
//!                                     |  cut: Batch, leaves, covers, lines
//!                                     +--> Store (a cache: balances, lines; rebuilt from both journals, equal to the byte)
//! ```
//!
//! A pure library: no socket, no chain's node, no clock. Rule: CUSTODY 11 to 15, 19; `docs/settlement.md`.
#![deny(unsafe_code)]

pub mod batch;
pub mod book;
mod cell;
mod custody;
mod decimal;
mod error;
pub mod fact;
mod id;
mod ledger;
pub mod line;
mod previous;
mod schedule;
mod stream;
pub mod venue;

pub use batch::{Batch, Cover, Insolvent, Mark, account_number};
pub use custody::{
    Aside, Awaited, Channel, ChannelLeaf, Credit, CreditLine, Credits, Unbacked, Withdrawal,
};
pub use error::LedgerError;
pub use fact::{Entry, Fact, Pin, Purse, Refused, WithdrawalId};
pub use id::{AccountId, AssetId, Epoch, PeerId};
pub use ledger::{Counts, Ledger, Taken};
pub use schedule::Schedule;
pub use venue::{Asset, Peer, Place, PlaceIndex, Venue, VenueError};
