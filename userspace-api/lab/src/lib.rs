//! A wire on one machine: an exchange and a trader network namespace with a veth pair between them,
//! for as long as a value lives.
//!
//! Knows namespaces and links, and what to say of the machine beside a figure; knows no packet and no program. The one implementation is the script
//! `scripts/veth`, which is part of this crate's binary, so a built program needs no checkout.
//!
//! ```no_run
//! let veth = ring0_lab::Veth::up(ring0_lab::Options::default())?;
//! let answer = veth.in_trader(|| std::net::UdpSocket::bind("10.77.0.2:0"))?;
//! # Ok::<(), ring0_lab::LabError>(())
//! ```
#![deny(unsafe_code)]

mod machine;
mod netns;
mod veth;

pub use machine::{machine, steal_seconds};
pub use netns::{in_netns, spawn_in_netns};
pub use veth::{LabError, Options, Veth, missing_privilege, remove_stale};
