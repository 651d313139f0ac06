//! The channel hub's rules on Antelope chains: the same as the EVM hub's (`contracts/evm`, `docs/channels.md`), on accounts with names and tokens with symbols.
//!
//! Nothing of a chain is in here. The contract (`contracts/antelope/hub`) loads a channel and its token's vault, calls one step, and keeps what it changed. Amounts are in
//! the token's smallest unit, times in seconds of Unix time.
//!
//! Invariants: of each token, what the hub holds is the escrow of its open channels, its vault, what is due and what is funded of claims; a vault's lock is never above
//! its balance; a closed channel is never open again. Tests: `tests/`, and the contract in a virtual machine, `contracts/antelope/test`.

#![no_std]
#![forbid(unsafe_code)]

pub mod account;
pub mod branch;
pub mod channel;
pub mod evidence;
pub mod hash;
pub mod hub;
pub mod message;
pub mod refusal;
pub mod signature;
pub mod tree;
pub mod vault;

/// Largest amount: what a token's asset holds.
pub const AMOUNT_MAX: u64 = (1 << 62) - 1;
