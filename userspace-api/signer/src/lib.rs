//! The signer: a process that holds the keys, asks its policy before every signature and keeps a history of all it signed (CUSTODY 11, 14, 19).
//!
//! It signs messages whose meaning it sees ([`message::Message`]), never a digest that somebody gives. An entry of the history is on the disk, and its name in the witnesses,
//! before a signature exists. What it remembers is a fold over that history. Operations, policy and ceremonies: `docs/signer.md`; why so: `docs/decisions/0078-signer.md`.

#![deny(unsafe_code)]

pub mod approval;
mod backend;
pub mod bench;
pub mod ceremony;
mod client;
pub mod command;
pub mod config;
mod decimal;
mod desk;
mod ecdsa_ceremony;
mod ecdsa_share;
pub mod history;
mod home;
mod keyring;
mod keystore;
mod memory;
pub mod message;
mod numbers;
mod pairs;
pub mod passphrase;
mod policy;
pub mod protocol;
mod random;
mod sealed;
mod server;
mod share;
pub mod stand;
pub mod transaction;
pub mod vault_move;

pub use backend::BackendError;
pub use client::{Client, ClientError};
pub use home::{Home, SignerError};
pub use keyring::KeyringError;
pub use keystore::KeystoreError;
pub use memory::{Amount, Memory};
pub use server::{Served, serve};
