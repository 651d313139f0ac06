//! Payment channels between traders and the exchange, as every account-based chain sees them (CUSTODY 1 to 9): what is signed, the trees of a
//! settlement batch, and the life of a channel.
//!
//! The hub in `contracts/evm` computes the same bytes; `contracts/vectors/accounts.json` holds both to them. [`chain::Chain`] is what it asks of a chain; the adapters are crates of their own.

#![deny(unsafe_code)]

pub mod batch;
pub mod batch_file;
pub mod chain;
pub mod channels;
mod decimal;
pub mod evidence;
pub mod exit_file;
pub mod guard;
pub mod heads;
pub mod keep;
pub mod key;
pub mod life;
pub mod message;
pub mod offered;
mod parallel;
pub mod store;
pub mod tower;
pub mod tree;

pub use alloy_primitives::{Address, B256, U256};
