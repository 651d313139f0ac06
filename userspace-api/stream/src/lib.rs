//! Order flow from files: LOBSTRM1 streams (read, generated) and LOBSTER samples.
//!
//! Knows the two file formats, what a stream's trades must come to, the ITCH that a venue would publish of it, and which orders replay a
//! sample of a real day. Knows no ring, session, balance or packet: a driver carries the orders to
//! the ring that it tests, and brings back what was traded.
//!
//! Formats and use: `docs/streams.md`.
#![deny(unsafe_code)]

use std::fmt;

use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes, Unaligned};

pub mod lobster;
pub mod lobstrm;

/// Side of an order, as a LOBSTRM1 record has it.
#[derive(
    Clone,
    Copy,
    Debug,
    Eq,
    Hash,
    Immutable,
    IntoBytes,
    KnownLayout,
    Ord,
    PartialEq,
    PartialOrd,
    TryFromBytes,
    Unaligned,
)]
#[repr(u8)]
pub enum Side {
    /// Bids.
    Buy = 0,
    /// Asks.
    Sell = 1,
}

impl Side {
    /// Both sides, in the order of their numbers.
    pub const BOTH: [Self; 2] = [Self::Buy, Self::Sell];

    /// The side that trades with this one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// 0 for a buy, 1 for a sell.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        })
    }
}
