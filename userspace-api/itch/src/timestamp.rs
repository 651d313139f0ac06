//! The six-byte time of an ITCH message.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Nanoseconds since midnight of the venue's day, 48 bits, big-endian.
#[derive(
    Clone,
    Copy,
    Default,
    Eq,
    FromBytes,
    Hash,
    Immutable,
    IntoBytes,
    KnownLayout,
    Ord,
    PartialEq,
    PartialOrd,
    Unaligned,
)]
#[repr(transparent)]
pub struct Timestamp([u8; 6]);
const _: () = assert!(size_of::<Timestamp>() == 6);

impl Timestamp {
    /// The largest: 78 hours, more than any day has.
    pub const MAX: Timestamp = Timestamp([0xFF; 6]);

    /// The time `nanos` nanoseconds after midnight; `None` above 48 bits.
    #[inline]
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Option<Self> {
        let [0, 0, a, b, c, d, e, f] = nanos.to_be_bytes() else {
            return None;
        };
        Some(Self([a, b, c, d, e, f]))
    }

    /// Nanoseconds since midnight.
    #[inline]
    #[must_use]
    pub const fn nanos(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl std::fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}ns", self.nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(nanos in 0..1_u64 << 48) {
            prop_assert_eq!(Timestamp::from_nanos(nanos).unwrap().nanos(), nanos);
        }
    }

    #[test]
    fn forty_eight_bits() {
        assert_eq!(Timestamp::from_nanos(1 << 48), None);
        assert_eq!(Timestamp::from_nanos((1 << 48) - 1), Some(Timestamp::MAX));
        let half_past_nine = Timestamp::from_nanos(34_200_000_000_000).unwrap();
        assert_eq!(
            half_past_nine.as_bytes(),
            [0x1F, 0x1A, 0xCE, 0xD9, 0xF0, 0x00]
        );
    }
}
