//! The ring's port over DPDK: packets polled from a device that no kernel stack has.
//!
//! Knows devices, frames and hardware addresses; nothing of sessions, tags or orders. One [`Eal`] a process, one [`DpdkPort`] a device. How to run it: `docs/rings-dpdk.md`.
//!
//! The crate is always there; DPDK is in it only with the feature `dpdk`, on a machine where `libdpdk` was found ([`AVAILABLE`]). Without,
//! [`Eal::start`] says what to install.
//!
//! ```no_run
//! use ring0_dpdk::{DpdkPort, Eal, EalOptions, PortOptions};
//! use ring0_rings::Port;
//!
//! let device = "net_af_packet0,iface=eth1";
//! let eal = Eal::start(&EalOptions::new([device]))?;
//! let mut port = DpdkPort::open(&eal, &PortOptions::new(device, 9000))?;
//! let count = port.receive(std::time::Duration::from_millis(1))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

mod arp;
#[cfg(dpdk)]
mod device;
#[cfg(not(dpdk))]
#[path = "absent.rs"]
mod device;
mod eal;
mod error;
mod port;

pub use dpdk_sys::AVAILABLE;
pub use eal::{Eal, EalOptions};
pub use error::DpdkError;
pub use port::{DpdkPort, PortOptions};
