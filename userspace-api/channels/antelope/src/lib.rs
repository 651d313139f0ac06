//! Channels on Antelope chains (EOS): a hub's actions and rows by a node's HTTP API ([`Antelope`]), names and tokens as what is signed has them ([`account`]), and
//! transactions ([`transaction`]). Reader's page: `docs/channels-antelope.md`.

#![deny(unsafe_code)]

pub mod account;
pub mod action;
mod antelope;
mod looks;
mod node;
mod packed;
pub mod row;
pub mod transaction;

pub use antelope::Antelope;
