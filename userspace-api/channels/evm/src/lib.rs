//! Channels on account-based chains with an EVM: a hub's calls and events by a node's JSON-RPC ([`Evm`]), its ABI ([`abi`]), and the way out ([`leave`]).

#![deny(unsafe_code)]

pub mod abi;
mod court;
mod evm;
pub mod leave;

pub use evm::{Disclosed, Evm};
