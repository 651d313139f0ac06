//! When packets are to leave: an open loop, made before the clock starts and kept whatever becomes of the packets.

use crate::random::Random;
use serde::{Deserialize, Serialize};

/// How packets are spread over time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Equal gaps.
    Even,
    /// Gaps of a Poisson process: what many independent traders make together.
    #[default]
    Poisson,
}

/// Nanoseconds after the begin at which each of `packets` is to leave, at so many a second in the mean. The first leaves after a gap of its own.
#[must_use]
pub fn schedule(arrivals: Arrivals, per_second: f64, packets: usize, seed: u64) -> Vec<u64> {
    let gap_ns = 1e9 / per_second;
    let mut random = Random::of(seed, 0x5C4E_D01E);
    let mut at = 0.0_f64;
    (1..=packets)
        .map(|number| {
            match arrivals {
                // Not by adding: the sum's error would grow.
                Arrivals::Even => at = gap_ns * number as f64,
                Arrivals::Poisson => at -= gap_ns * random.fraction().ln(),
            }
            at as u64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_time_does_not_go_back() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let leaves = schedule(arrivals, 50_000.0, 200_000, 7);
            assert!(leaves.is_sorted());
            let seconds = *leaves.last().unwrap() as f64 / 1e9;
            // A Poisson process of 200,000 is within 1% in all but one of 100,000 seeds.
            assert!((seconds - 4.0).abs() < 0.04, "{arrivals:?}: {seconds}");
            assert_eq!(leaves, schedule(arrivals, 50_000.0, 200_000, 7));
        }
    }

    /// The gaps of a Poisson process are exponential: e^-1 of them are above the mean.
    #[test]
    fn poisson_gaps_are_exponential() {
        let leaves = schedule(Arrivals::Poisson, 1e6, 100_000, 3);
        let above = leaves.windows(2).filter(|it| it[1] - it[0] > 1_000).count();
        let share = above as f64 / 1e5;
        assert!((share - (-1.0_f64).exp()).abs() < 0.01, "{share}");
    }
}
