//! The settlement daemon: follows the shards' records and the hubs' chains, makes batches that operator and traders sign, brings deposits into shards and
//! withdrawals out of them.
//!
//! ```text
//!  shards' journals --> follower (ledger) --+              +--> shards' daemons: credit, transfer, marks, limits
//!  hubs' chains ------> hub threads --------+--> desk -----+--> signer: batches, withdrawals, moves
//!  settled.sock ------> connections --------+   (journal)  +--> hubs: pins, roots, moves
//!  RAIL.sock ---------> connections --------+              +--> published batch
//! ```
//!
//! Always true: one thread decides; what it decides is in the journal before anybody hears of it; the journal alone brings everything back. Knows no key: the
//! signer has the operator's, and the one that pays for transactions moves nothing of anybody's. Rule: CUSTODY 6, 11 to 15, 19; `docs/settled.md`.

#![deny(unsafe_code)]

pub mod audited;
pub mod batch;
pub mod bench;
pub mod book;
mod chain;
mod client;
pub mod config;
pub mod controls;
pub mod credits;
mod decimal;
mod desk;
pub mod entry;
pub mod events;
mod follower;
pub mod lives;
pub mod messages;
mod metrics;
pub mod nodes;
mod process;
pub mod protocol;
mod published;
mod search;
mod signature;
pub mod statement;
mod tail;
pub mod withdrawal;
mod workers;

pub use chain::KeyError;
pub use client::Client;
pub use config::Config;
pub use desk::DeskError;
pub use follower::FollowError;
pub use process::{ProcessError, run};
pub use ring0_socket::ClientError;
pub use ring0_socket::SocketError;
