//! The AF_XDP port of a userspace ring: stamped packets from the sockets of all receive queues, in the order of arrival; answers in place.
//!
//! [`AfxdpShard`] is the whole ring; [`AfxdpPort`] alone fits any ring's thread.
//!
//! Knows sockets, rings, frames and the order of numbers; nothing of sessions' state or orders. The kernel's side is the steering program
//! (`ebpf/src/bin/steer.rs`), which has checked shape, session and tag of every packet that comes out here. `docs/rings-afxdp.md`.
//!
//! Always true: a frame is the kernel's or ours, never both (the right to it is moved, not copied); packets come out with rising numbers, each
//! once; a number that is skipped was lost, and stays lost.
#![deny(unsafe_code)]

mod control;
mod generator;
mod object;
mod options;
mod order;
mod port;
mod queue;
#[expect(unsafe_code, reason = "wraps memory that the kernel shares")]
mod ring;
mod shard;
#[expect(unsafe_code, reason = "sets options that no library has")]
mod socket;
#[expect(unsafe_code, reason = "owns the frames' memory")]
mod umem;

pub use control::AfxdpControl;
pub use generator::Generator;
pub use object::{STEER_OBJECT_VARIABLE, kept_steer_object};
pub use options::{AfxdpError, AfxdpOptions, BusyPoll, Pages, QueueReport, Report, Transfer};
pub use port::{AfxdpPort, open};
pub use ring0_abi::steer::Tag;
pub use shard::AfxdpShard;
pub use xdp_loader::Mode;
