#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![doc = include_str!("../README.md")]

mod account;
mod auction;
mod book;
mod bust;
mod cancel;
pub mod canon;
mod capacity;
pub mod control;
#[cfg(feature = "std")]
mod enlarge;
mod enter;
mod expiry;
mod feasible;
#[cfg(feature = "std")]
pub mod flow;
mod ingress;
#[cfg(feature = "std")]
mod inspect;
mod ladder;
pub mod layout;
pub mod limits;
mod listing;
mod market;
mod meet;
mod money;
#[cfg(feature = "std")]
pub mod native;
mod operate;
mod order;
mod outbox;
mod peg;
mod pending;
mod pool;
mod purge;
mod rate;
mod reason;
pub mod record;
#[cfg(feature = "std")]
pub mod reference;
mod references;
pub mod region;
#[cfg(feature = "std")]
pub mod replay;
mod session;
pub mod shard;
#[cfg(feature = "std")]
pub mod snapshot;
mod stop;
pub mod totals;
mod transfer;

#[cfg(feature = "std")]
pub use auction::Equilibrium;
pub use capacity::Capacity;
pub use ingress::Taken;
#[cfg(feature = "std")]
pub use inspect::Depth;
pub use outbox::{Recorder, copy_outbox};
pub use reason::Reason;
pub use shard::{Fault, Shard};
