//! Fee schedules, by version: an instrument's rates from the record that listed it on. Another listing makes the next one, and settlement keeps each
//! one's takings apart under the same number.

use crate::clock::VenueClock;
use crate::orders::body;
use ring0_engine::control::{ControlKind, List};
use ring0_engine::record::{ControlRecord, Head, Kind, Outcome};
use zerocopy::FromBytes;

/// Rates of an instrument from a record on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Schedule {
    /// Its number in the shard, from 0, in the order of the records.
    pub number: u32,
    /// Its number among those of the instrument, from 1.
    pub version: u32,
    /// Index of the instrument.
    pub instrument: u32,
    /// Sequence of the record that listed it.
    pub seq: u64,
    /// Unix time of that record in nanoseconds.
    pub since_ns: u64,
    /// Maker's rate in millionths; negative: a rebate.
    pub maker_ppm: i32,
    /// Taker's rate in millionths; both sides' in auctions.
    pub taker_ppm: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fees(Vec<Schedule>);

impl Fees {
    /// Takes a whole record.
    pub fn record(&mut self, head: &Head, bytes: &[u8], clock: &VenueClock) {
        if Kind::from_number(head.kind) != Some(Kind::Control) {
            return;
        }
        let Ok(record) = ControlRecord::read_from_bytes(bytes) else {
            return;
        };
        if record.kind != ControlKind::List as u32 || record.outcome == Outcome::Rejected as u8 {
            return;
        }
        let list: List = body(&record);
        let earlier = self.0.iter().filter(|it| it.instrument == list.instrument);
        self.0.push(Schedule {
            version: earlier.count() as u32 + 1,
            number: self.0.len() as u32,
            instrument: list.instrument,
            seq: head.sequence,
            since_ns: clock.unix_ns(record.time_ns),
            maker_ppm: list.maker_ppm,
            taker_ppm: list.taker_ppm,
        });
    }

    /// All of them, in the order of their records.
    #[must_use]
    pub fn all(&self) -> &[Schedule] {
        &self.0
    }
}
