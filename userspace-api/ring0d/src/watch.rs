//! How the record ring fills, and how long it lasts (RULES 11).

use ring0_rings::Consumer;
use std::time::{Duration, Instant};

/// The rate is of this long at the least: shorter is noise, longer hides what happens now.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks at how the ring fills.
pub(crate) struct Watch {
    records: Consumer,
    last: (Instant, u64),
    slots_per_second: f64,
}

/// A consumer of the ring.
#[derive(serde::Serialize)]
pub(crate) struct ConsumerStatus {
    name: String,
    /// Slots that it has not committed yet.
    behind: u64,
}

/// The ring now.
#[derive(serde::Serialize)]
pub(crate) struct RingStatus {
    slots: u64,
    published: u64,
    slots_per_second: f64,
    /// Until new orders are refused: seven eighths of the ring are theirs. `None`: nothing fills it, or nobody is
    /// required and it is written over.
    seconds_to_full: Option<f64>,
    required: Vec<ConsumerStatus>,
}

impl Watch {
    /// With a reader of its own.
    pub(crate) fn new(records: Consumer) -> Watch {
        Watch {
            last: (Instant::now(), records.tail()),
            records,
            slots_per_second: 0.0,
        }
    }

    /// To be called now and then.
    pub(crate) fn look(&mut self) {
        let (since, before) = self.last;
        let period = since.elapsed();
        if period >= PERIOD {
            let tail = self.records.tail();
            self.slots_per_second = (tail - before) as f64 / period.as_secs_f64();
            self.last = (Instant::now(), tail);
        }
    }

    /// Slots of the ring and published, and each required consumer's lag.
    pub(crate) fn numbers(&self) -> (u64, u64, Vec<ring0_rings::Behind>) {
        let records = &self.records;
        (records.ring_slots(), records.tail(), records.all_required())
    }

    pub(crate) fn status(&self) -> RingStatus {
        let published = self.records.tail();
        let slots = self.records.ring_slots();
        let required = self.records.all_required();
        let behind_most = required.iter().map(|one| one.slots).max();
        let free = behind_most.map(|behind| (slots - slots / 8).saturating_sub(behind));
        let seconds_to_full = free
            .filter(|_| self.slots_per_second > 0.0)
            .map(|free| free as f64 / self.slots_per_second);
        RingStatus {
            slots,
            published,
            slots_per_second: self.slots_per_second,
            seconds_to_full,
            required: required
                .into_iter()
                .map(|one| ConsumerStatus {
                    name: one.name,
                    behind: one.slots,
                })
                .collect(),
        }
    }
}
