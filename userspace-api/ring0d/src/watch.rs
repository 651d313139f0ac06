//! How the record ring fills, and how long it lasts (RULES 11).

use ring0_abi::cursor;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use xdp_loader::Cursors;

/// The rate is of this long at the least: shorter is noise, longer hides what happens now.
const PERIOD: Duration = Duration::from_secs(1);

/// Bytes of a cursor entry.
const ENTRY: usize = 64;

/// Looks at the ring's cursors.
pub(crate) struct Watch {
    cursors: Cursors,
    slots: u64,
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
    pub(crate) fn new(cursors: Cursors, slots: u64) -> Watch {
        let tail = tail(&cursors);
        Watch {
            cursors,
            slots,
            last: (Instant::now(), tail),
            slots_per_second: 0.0,
        }
    }

    /// To be called now and then.
    pub(crate) fn look(&mut self) {
        let (since, before) = self.last;
        let period = since.elapsed();
        if period >= PERIOD {
            let tail = tail(&self.cursors);
            self.slots_per_second = (tail - before) as f64 / period.as_secs_f64();
            self.last = (Instant::now(), tail);
        }
    }

    pub(crate) fn status(&self) -> RingStatus {
        let published = tail(&self.cursors);
        let mut required = Vec::new();
        let mut behind_most = None;
        for number in 0..cursor::CONSUMERS {
            let entry = (cursor::FIRST_CONSUMER + number) as usize;
            let word = |at: usize| {
                self.cursors
                    .word(entry * ENTRY + at)
                    .load(Ordering::Acquire)
            };
            if word(cursor::REQUIRED) != 1 {
                continue;
            }
            let name = [word(cursor::NAME), word(cursor::NAME + 8)].map(u64::to_le_bytes);
            let name = String::from_utf8_lossy(name.as_flattened()).into_owned();
            let behind = published.saturating_sub(word(0));
            behind_most = behind_most.max(Some(behind));
            required.push(ConsumerStatus {
                name: name.trim_end_matches('\0').to_owned(),
                behind,
            });
        }
        let free = behind_most.map(|behind| (self.slots - self.slots / 8).saturating_sub(behind));
        let seconds_to_full = free
            .filter(|_| self.slots_per_second > 0.0)
            .map(|free| free as f64 / self.slots_per_second);
        RingStatus {
            slots: self.slots,
            published,
            slots_per_second: self.slots_per_second,
            seconds_to_full,
            required,
        }
    }
}

fn tail(cursors: &Cursors) -> u64 {
    cursors
        .cursor(cursor::TAIL as usize)
        .load(Ordering::Acquire)
}
