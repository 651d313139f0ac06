//! Frames that nobody should send (RULES 31), through any ring: nothing changes, and each is counted under its own name.
//!
//! What becomes of a frame is foretold by a classifier of its own ([`Hostile::frame`]); [`attack`] compares. A ring that does not see frames is
//! attacked with payloads.

mod foretelling;
mod frames;
mod packet_socket;
mod siege;
mod target;
mod venue;

pub use frames::{Hostile, Level, Sort};
pub use packet_socket::PacketSocket;
pub use siege::{Ledger, Share, Target, attack, counters_met, set_up};
#[cfg(feature = "dpdk")]
pub use target::OverDpdk;
pub use target::{ByRun, OverAfxdp, OverUdp, OverVeth, largest_mtu};
