//! Payment channels between a trader and the operator on Bitcoin and Litecoin.
//!
//! A funding output that both must spend, one pair of commitment transactions a version, and a secret that each party
//! reveals to give up the version before: whoever publishes a version it has given up loses its balance to the other.
//! Which construction and why: `docs/decisions/0067-bitcoin-channel.md`; what a trader needs to know: `docs/channels-bitcoin.md`.
//!
//! Always true:
//! - No signature for a version leaves before the revocation of the one before the last is durable ([`channel::Channel`]).
//! - A commitment's txid is fixed when it is signed: every input that counts is a witness program, fees are added by children.
//! - A trader's balance is at most funding − reserve; the operator's output pays every fee of a commitment.
//! - No file but `musig.rs` sees the secp256k1 version that has musig; no secret nonce outlives one signature.
#![deny(unsafe_code)]

pub mod chain;
pub mod channel;
pub mod commitment;
pub mod cooperative;
pub mod fees;
pub mod journal;
pub mod keys;
pub mod musig;
pub mod omni;
pub mod psbt;
pub mod revocation;
pub mod rpc;
pub mod terms;
pub mod tower;
pub mod watched;
