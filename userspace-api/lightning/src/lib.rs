//! Lightning as a rail: deposits to and withdrawals from accounts of the exchange, over an LDK node in this process.
//!
//! Not a trading channel (those are `ring0-channels` and `ring0-bitcoin`): what comes in is credited when it is claimed, what goes out is
//! debited and held before it is sent, a hold is released only on final failure (CUSTODY 10). What an operator has to know:
//! `docs/lightning.md`; why it is built so: `docs/decisions/0073-lightning.md`.
//!
//! ```text
//! exchange.rs  accounts' invoices and withdrawals            what an exchange calls
//!   rail.rs      decided, durable, done                      no Lightning in it
//!     book.rs      what the records amount to
//!     journal.rs   the records, on the disk
//!   journal_chain.rs  the journal as a chain of `ring0-channels` (feature `channels`)
//!   node.rs      LDK's parts, one thread                     no accounts in it
//!     monitors.rs  the node's state, on the disk in the order that survives every crash
//!     blocks.rs, core_node.rs, outbox.rs, wallet.rs          the chain
//! ```
#![deny(unsafe_code)]

pub mod amount;
pub mod blocks;
pub mod book;
pub mod core_node;
pub mod exchange;
pub mod journal;
#[cfg(feature = "channels")]
pub mod journal_chain;
mod monitors;
pub mod node;
mod outbox;
pub mod rail;
pub mod wallet;
