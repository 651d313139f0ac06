//! Where the flow's choices come from: a seed, or bytes that somebody else chose.

/// A source of numbers.
#[derive(Clone, Debug)]
pub(super) enum Random {
    /// Sebastiano Vigna's splitmix64.
    Seeded(u64),
    /// Given bytes, then zeros: a fuzzer that changes one byte changes one choice.
    Given { bytes: Vec<u8>, at: usize },
}

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        match self {
            Random::Seeded(state) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                z ^ (z >> 31)
            }
            Random::Given { .. } => (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte())),
        }
    }

    /// The next given byte.
    fn byte(&mut self) -> u8 {
        match self {
            Random::Seeded(_) => self.next() as u8,
            Random::Given { bytes, at } => {
                *at += 1;
                bytes.get(*at - 1).copied().unwrap_or(0)
            }
        }
    }

    /// Whether all given bytes were used; never so with a seed.
    pub(super) fn is_spent(&self) -> bool {
        match self {
            Random::Seeded(_) => false,
            Random::Given { bytes, at } => *at >= bytes.len(),
        }
    }

    /// Below `end`, which is not zero. The bias is of no interest here.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        let wide = match self {
            Random::Seeded(_) => (self.next() >> 32) as u32,
            // As many bytes as the choice needs, so that short inputs reach far.
            Random::Given { .. } if end <= 1 << 8 => u32::from(self.byte()) << 24,
            Random::Given { .. } => {
                u32::from(self.byte()) << 24
                    | u32::from(self.byte()) << 16
                    | u32::from(self.byte()) << 8
            }
        };
        ((u64::from(wide) * u64::from(end)) >> 32) as u32
    }

    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    pub(super) fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    /// A place in a list of weights, each as likely as it is heavy.
    pub(super) fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (place, &weight) in weights.iter().enumerate() {
            if at < weight {
                return place;
            }
            at -= weight;
        }
        unreachable!("the sum of the weights is above every number below it")
    }
}
