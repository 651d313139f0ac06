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
pub mod bench;
pub mod book;
mod cell;
mod compare;
mod custody;
mod decimal;
mod error;
pub mod export;
pub mod exposure;
pub mod fact;
mod id;
pub mod journal;
mod ledger;
pub mod line;
mod previous;
mod rebuild;
pub mod reconcile;
mod rows;
mod schedule;
mod settlement;
pub mod statement;
pub mod store;
mod stream;
pub mod venue;

pub use batch::{Batch, Cover, Insolvent, Mark, account_number};
pub use book::{Book, FeePart, Own};
pub use compare::{RowDifference, first_differing_row};
pub use custody::{
    Aside, Awaited, Channel, ChannelLeaf, Credit, CreditLine, Credits, Unbacked, Withdrawal,
};
pub use error::LedgerError;
pub use fact::{Entry, Fact, Pin, Purse, Refused, WithdrawalId};
pub use id::{AccountId, AssetId, Epoch, PeerId};
pub use journal::{FactJournal, FactReader};
pub use ledger::{Counts, Ledger, Taken};
pub use rebuild::{Step, Wrong, imbalance, rebuild, step_behind};
pub use reconcile::{Difference, Equation, Figures, ShardDifference, first_difference, reconcile};
pub use rows::Image;
pub use schedule::Schedule;
pub use settlement::{Records, Settlement, SettlementError};
pub use statement::{Statement, StatementError};
pub use store::{Store, StoreError};
pub use venue::{Asset, Peer, Place, PlaceIndex, Venue, VenueError};
