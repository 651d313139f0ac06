//! All of a venue on one machine, with embedded defaults: a node with the hub on it, a shard with its recorder, the signer, settlement, the gateway. For
//! developers (`ring0d --dev`), demos and whole-system tests.
//!
//! Everything lies in one folder, which `ring0d --dev` removes at its end; every process ends with the value.
#![deny(unsafe_code)]

pub mod anvil;
pub mod hub;
mod port;
mod program;
mod signer;
mod venue;

pub use program::{PATIENCE, Program, find};
pub use signer::SignerKind;
pub use venue::{MARKET, OnChain, Options, Venue};

/// What went wrong, in words.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;
