//! Carries a LOBSTRM1 stream to a ring: the market that it needs, its packets, and its trades read back from the records.
//!
//! Shared by what replays streams and what measures them, so that both send the same bytes. Knows sessions, packets and how a shard
//! is brought up for one run; knows neither how orders match nor what a figure is for.
//!
//! Rule: `docs/streams.md#driving-a-ring`.
#![deny(unsafe_code)]

mod cut;
mod fold;
mod lab;
mod market;
mod memory_ring;
mod packets;
mod ring_lab;

pub use cut::{Cut, Ends, References, cut};
pub use fold::{Fold, Stop};
pub use lab::{PORT, WireLab, XDP_TX, rand_key, trader_socket, veth_up, veth_up_with};
pub use market::{ANSWERS_LOG2, Market, clock, session_id, set_up};
pub use memory_ring::MemoryRing;
pub use packets::{Packets, header};
pub use ring_lab::{RingLab, ThreadRing};

/// Why a stream could not be carried to a ring.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The stream needs more of something than a shard can have.
    #[error("the stream needs {count} {what}, too many")]
    TooMany {
        /// How many.
        count: u64,
        /// Of what.
        what: String,
    },
    /// The stream has more orders than a session has references.
    #[error("the stream has more orders than a session has references")]
    References,
    /// The ring refused a command that sets the market up.
    #[error("the ring refused command {at} of the market: {reason}")]
    SetUp {
        /// Which, from 0.
        at: usize,
        /// Why.
        reason: &'static str,
    },
    /// The ring refused an order that a right book takes.
    #[error(
        "refused reference {reference}: {reason}; the stream is not one that a right book can follow"
    )]
    Refused {
        /// The order's client reference.
        reference: u32,
        /// Why.
        reason: &'static str,
    },
    /// An order reaches the fill cap even where nothing follows it in its packet.
    #[error("order {0} refuses what follows it even alone in its packet")]
    Alone(u64),
    /// Not root.
    #[error("network namespaces and the kernel ring need root; run it again with sudo")]
    Privilege,
    /// The capacity is refused.
    #[error(transparent)]
    Capacity(#[from] ring0_engine::layout::CapacityError),
    /// The veth pair could not be made.
    #[error(transparent)]
    Lab(#[from] ring0_lab::LabError),
    /// The kernel refused.
    #[error(transparent)]
    Loader(#[from] xdp_loader::LoaderError),
    /// The ring failed.
    #[error(transparent)]
    Ring(#[from] ring0_rings::RingError),
    /// The AF_XDP ring.
    #[error(transparent)]
    Afxdp(#[from] ring0_afxdp::AfxdpError),
    /// The DPDK ring.
    #[error(transparent)]
    Dpdk(#[from] ring0_dpdk::DpdkError),
    /// A socket could not be made.
    #[error(transparent)]
    Socket(#[from] std::io::Error),
}
