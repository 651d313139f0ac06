//! Times in buckets, for threads that have none to spare: an addition to a bucket and one to the sum.
//!
//! Always true: one thread writes, any number read; a bucket is at most a quarter wider than where it begins (four to each power of two), so that
//! a quantile read from them is off by that at the most.

use std::sync::atomic::{AtomicU64, Ordering};

/// Powers of two, nanoseconds, that the buckets lie between: below the first there is one, 256 ns; above the last, 8.6 s, another.
const POWERS: [u32; 2] = [8, 33];
/// Two bits behind the first one: four buckets.
const STEP_BITS: u32 = 2;
const BUCKETS: usize = ((POWERS[1] - POWERS[0]) << STEP_BITS) as usize + 2;

/// See the module.
#[derive(Debug)]
pub struct Times {
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            sum_ns: AtomicU64::new(0),
        }
    }
}

/// What [`Times`] have come to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Buckets {
    /// Longest time of each bucket in nanoseconds, and how many were that long or shorter. What was longer is in `count` alone.
    pub up_to: Vec<(u64, u64)>,
    /// All of them.
    pub count: u64,
    /// Their sum, nanoseconds.
    pub sum_ns: u64,
}

/// Where a time belongs: a bucket ends with its bound.
fn place(ns: u64) -> usize {
    let ns = ns.saturating_sub(1);
    let power = ns.checked_ilog2().unwrap_or(0);
    if power < POWERS[0] {
        return 0;
    }
    let step = (ns >> (power - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    let place = (u64::from(power - POWERS[0]) << STEP_BITS) + step + 1;
    (place as usize).min(BUCKETS - 1)
}

/// The longest time of a bucket but the last.
fn bound(place: usize) -> u64 {
    let steps = place as u64;
    let (power, step) = (steps >> STEP_BITS, steps & ((1 << STEP_BITS) - 1));
    ((1 << STEP_BITS) + step) << (power + u64::from(POWERS[0] - STEP_BITS))
}

impl Times {
    /// Counts one. By one thread alone.
    #[inline]
    pub fn add(&self, ns: u64) {
        for (word, more) in [(&self.counts[place(ns)], 1), (&self.sum_ns, ns)] {
            // One writer: no need for an atomic addition.
            let now = word.load(Ordering::Relaxed).wrapping_add(more);
            word.store(now, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Buckets {
        let sum_ns = self.sum_ns.load(Ordering::Relaxed);
        let mut count = 0;
        let mut up_to = Vec::with_capacity(BUCKETS - 1);
        for (place, own) in self.counts.iter().enumerate() {
            count += own.load(Ordering::Relaxed);
            if place < BUCKETS - 1 {
                up_to.push((bound(place), count));
            }
        }
        Buckets {
            up_to,
            count,
            sum_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every time is in the one bucket whose bound it is not above, and that bound is at most a quarter above where the bucket begins.
    #[test]
    fn a_time_is_in_its_bucket() {
        assert_eq!([bound(0), bound(1), bound(4)], [256, 320, 512]);
        let mut all: Vec<u64> = vec![0, 1, 1_000, 1_000_000, 20_000_000_000, u64::MAX];
        all.extend((0..BUCKETS - 1).flat_map(|it| [bound(it), bound(it) + 1]));
        for ns in all {
            let times = Times::default();
            times.add(ns);
            let read = times.read();
            assert_eq!((read.count, read.sum_ns), (1, ns));
            let first = read.up_to.iter().position(|(_, count)| *count == 1);
            match first {
                Some(at) => {
                    let (bound, _) = read.up_to[at];
                    assert!(ns <= bound, "{ns} above {bound}");
                    if at > 0 {
                        let begins = read.up_to[at - 1].0;
                        assert!(ns > begins && (bound - begins) * 4 <= begins, "{ns}");
                    }
                }
                None => assert!(ns > bound(BUCKETS - 2), "{ns}"),
            }
        }
    }
}
