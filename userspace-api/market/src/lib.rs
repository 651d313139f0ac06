//! A market in one TOML file: shard or shards, assets, instruments, accounts, sessions and their keys.
//!
//! Knows what the file may say (`docs/market.md`) and which control commands make an empty shard
//! that market; knows no engine state and no socket. What it loads, the engine accepts: every rule of
//! `docs/matching.md#control-commands` is checked here first, where the error can name file and key.
#![deny(unsafe_code)]

mod amount;
mod controls;
mod file;
mod keys;
mod plan;
mod rate;
mod venue;

pub use controls::Listing;
pub use keys::{KeyMade, keygen};
pub use plan::{
    Account, Asset, Bands, Instrument, Market, MarketError, Plan, Risk, SessionPlan, Shard,
    time_of_day,
};
pub use rate::{Rate, RateError};
pub use ring0_trader::Existing;
pub use venue::{Peer, Rail};
