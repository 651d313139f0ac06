//! Numbers from a seed: Sebastiano Vigna's splitmix64, and what is drawn of a quiet market.

use ring0_stream::Side;

/// A source of numbers.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Even over `0..bound`, as even as 32 bits allow.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    pub(super) fn percent(&mut self, of_100: u32) -> bool {
        self.below(100) < of_100
    }

    pub(super) fn side(&mut self) -> Side {
        Side::BOTH[self.below(2) as usize]
    }

    /// Lots of an order, as in LOBSTRM1: a fifth are odd.
    pub(super) fn lots(&mut self) -> u32 {
        if self.percent(20) {
            1 + self.below(99)
        } else {
            100 * (1 + self.below(5))
        }
    }

    /// The smaller of two numbers below `bound`.
    pub(super) fn near(&mut self, bound: u32) -> u32 {
        self.below(bound).min(self.below(bound))
    }
}
