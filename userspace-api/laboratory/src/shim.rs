//! Loss, duplication and reordering at the client, before its socket and behind it, where this kernel has no netem.
//!
//! The shim decides from its seed, packet by packet in the order in which they are given to it. What is sent again passes it again, and how much that is
//! depends on time: so the decisions are the seed's, and which packet meets which is not.

use crate::random::Random;
use serde::{Deserialize, Serialize};

/// How often what happens, as fractions of the packets.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Packets lost on the way, of requests and of answers alike.
    pub loss: f64,
    /// Requests that arrive twice.
    pub duplication: f64,
    /// Requests that the next one overtakes.
    pub reordering: f64,
}

impl Faults {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Faults::default()
    }

    /// The name and value of the first that is no fraction a run can end with.
    pub(crate) fn wrong(&self) -> Option<(&'static str, f64)> {
        [
            ("loss", self.loss),
            ("duplication", self.duplication),
            ("reordering", self.reordering),
        ]
        .into_iter()
        .find(|(_, value)| !(0.0..=0.5).contains(value))
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is sent.
    Once,
    /// It is sent two times.
    Twice,
    /// It is not sent.
    Lost,
    /// It is sent behind the next one.
    Behind,
}

/// What the shim did, in packets.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Injected {
    /// Requests that were not sent.
    pub requests_lost: u64,
    /// Requests that were sent once more.
    pub requests_duplicated: u64,
    /// Requests that were sent behind the next one.
    pub requests_reordered: u64,
    /// Answers that were thrown away unread.
    pub answers_lost: u64,
}

/// The shim.
#[derive(Clone, Debug)]
pub struct Shim {
    random: Random,
    loss: u64,
    duplication: u64,
    reordering: u64,
    /// What it did so far.
    pub injected: Injected,
}

impl Shim {
    /// From the faults and the seed.
    #[must_use]
    pub fn new(faults: &Faults, seed: u64) -> Shim {
        let chance = |fraction: f64| (fraction * (1_u64 << 32) as f64) as u64;
        Shim {
            random: Random::of(seed, 0x000F_A017),
            loss: chance(faults.loss),
            duplication: chance(faults.duplication),
            reordering: chance(faults.reordering),
            injected: Injected::default(),
        }
    }

    /// What becomes of the next request.
    pub fn request(&mut self) -> Fate {
        if self.random.happens(self.loss) {
            self.injected.requests_lost += 1;
            Fate::Lost
        } else if self.random.happens(self.duplication) {
            self.injected.requests_duplicated += 1;
            Fate::Twice
        } else if self.random.happens(self.reordering) {
            self.injected.requests_reordered += 1;
            Fate::Behind
        } else {
            Fate::Once
        }
    }

    /// Whether the next answer is lost.
    pub fn loses_answer(&mut self) -> bool {
        let lost = self.random.happens(self.loss);
        self.injected.answers_lost += u64::from(lost);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_happen_as_often_as_asked() {
        let faults = Faults {
            loss: 0.01,
            duplication: 0.02,
            reordering: 0.03,
        };
        let mut shim = Shim::new(&faults, 5);
        for _ in 0..100_000 {
            shim.request();
            shim.loses_answer();
        }
        let near = |count: u64, wanted: f64| (count as f64 / 1e5 - wanted).abs() < 0.003;
        let Injected {
            requests_lost,
            requests_duplicated,
            requests_reordered,
            answers_lost,
        } = shim.injected;
        assert!(near(requests_lost, 0.01) && near(answers_lost, 0.01));
        assert!(near(requests_duplicated, 0.02) && near(requests_reordered, 0.03));
    }

    #[test]
    fn without_faults_everything_passes_and_all_faults_lose_half() {
        let mut shim = Shim::new(&Faults::default(), 5);
        assert!((0..1000).all(|_| shim.request() == Fate::Once && !shim.loses_answer()));
        let most = Faults {
            loss: 0.5,
            ..Faults::default()
        };
        let mut shim = Shim::new(&most, 5);
        let lost = (0..10_000).filter(|_| shim.request() == Fate::Lost).count();
        assert!((4_700..5_300).contains(&lost), "{lost}");
    }
}
