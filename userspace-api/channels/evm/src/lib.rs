//! Channels on account-based chains with an EVM: a hub's calls and events by a node's JSON-RPC ([`Evm`]), its ABI ([`abi`]), and its deployment.

#![deny(unsafe_code)]

pub mod abi;
mod evm;

pub use evm::{Disclosed, Evm};
