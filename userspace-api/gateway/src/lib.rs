//! The APIs for people and programs: REST, WebSocket, OUCH over SoupBinTCP.
//!
//! What is shown follows from the shards' records alone ([`market`], [`orders`], [`streams`]); what is asked goes to the exchange as anybody's
//! packets do ([`desk`]). The process holds trading sessions' keys, and a key to which accounts grant sessions ([`trading_key`]), and no other power:
//! it can neither sign a state for an account nor move money.
//! Knows how clients ask and what records say; knows nothing of matching, and nothing of how credentials come about ([`authority`]).
#![deny(unsafe_code)]
#![expect(
    clippy::result_large_err,
    reason = "a problem is the answer to a client: it is made where it is needed and sent, never in a hot path"
)]

pub mod access;
pub mod app;
pub mod audit_head;
pub mod authority;
pub mod balances;
pub mod clock;
pub mod config;
pub mod decimal;
pub mod desk;
pub mod desks;
pub mod fees;
mod hello;
pub mod hub;
pub mod intents;
pub mod market;
pub mod messages;
pub mod metrics;
pub mod orders;
pub mod ouch;
pub mod problem;
pub mod rate;
pub mod rates;
pub mod rest;
mod run;
pub mod seats;
pub mod serve;
pub mod settled;
pub mod shard;
mod socket;
pub mod source;
pub mod streams;
pub mod trading_key;
pub mod venue;

pub use hello::hello;
pub use ouch::password as ouch_password;
pub use rest::openapi_json;
pub use run::{Checked, GatewayError, Listening, run};
