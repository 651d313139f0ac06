//! What is sent, from how many to how many.

use ring0_engine::record::{Head, Kind};
use serde::{Deserialize, Serialize};
use zerocopy::IntoBytes;

/// Bytes of the longest record.
pub const RECORD_BYTES_MAX: usize = 1024;

/// From how many to how many.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shape {
    /// Producers, all in one process and served in turn.
    pub producers: u64,
    /// Consumers, all in one process and served in turn.
    pub consumers: u64,
}

impl Shape {
    /// The three that are measured.
    pub const ALL: [Shape; 3] = [
        Shape {
            producers: 1,
            consumers: 1,
        },
        Shape {
            producers: 1,
            consumers: 3,
        },
        Shape {
            producers: 4,
            consumers: 1,
        },
    ];

    /// In words.
    #[must_use]
    pub fn name(self) -> String {
        format!("{} to {}", self.producers, self.consumers)
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Job {
    /// From how many to how many.
    pub shape: Shape,
    /// Bytes of a record: 64, 256 or 1,024.
    pub bytes: usize,
    /// Records that are published together.
    pub batch: u64,
    /// Records, over all producers; each consumer gets all.
    pub records: u64,
    /// One record every so many nanoseconds, for times of single ones; 0: as fast as it goes.
    pub every_ns: u64,
}

/// The machine's monotonic clock, which its processes share.
#[must_use]
#[inline]
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Writes a record, all of it: its head, its number from 1, its producer, when it is sent, and the number's last byte in the rest.
#[inline]
pub fn record(into: &mut [u8], producer: u64, number: u64, sent_ns: u64) {
    let head = Head {
        kind: Kind::Message as u16,
        slots: (into.len() / 64) as u8,
        side: 0,
        locate: 0,
        sequence: number,
    };
    into[..16].copy_from_slice(head.as_bytes());
    into[16..24].copy_from_slice(&producer.to_le_bytes());
    into[24..32].copy_from_slice(&sent_ns.to_le_bytes());
    into[32..].fill(number as u8);
}
