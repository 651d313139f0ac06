//! Numbers from a seed, the same on every machine and in every version: Sebastiano Vigna's splitmix64.

/// The generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// For one of many users of a seed, so that one who draws more does not change what the others get.
    #[must_use]
    pub fn of(seed: u64, user: u64) -> Random {
        let mut first = Random(seed ^ user.wrapping_mul(0xA24B_AED4_963E_E407));
        Random(first.next_u64())
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`; 0 where that is 0.
    pub fn below(&mut self, end: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(end)) >> 32) as u32
    }

    /// From `low` to `high`, both among it.
    pub fn between(&mut self, (low, high): (u32, u32)) -> u32 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Whether something of this probability, times 2^32, happens.
    pub fn happens(&mut self, chance: u64) -> bool {
        (self.next_u64() >> 32) < chance
    }

    /// Between 0 and 1, neither among it.
    pub fn fraction(&mut self) -> f64 {
        ((self.next_u64() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }
}
