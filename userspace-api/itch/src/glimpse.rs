//! GLIMPSE 5.0: the end of a snapshot.
//!
//! A snapshot is ITCH messages as SoupBinTCP sequenced data (events so far, the directory, states, every resting order as an
//! add), then `G`. A client buffers the live feed first, takes the snapshot, drops what is below `G`'s number and applies the rest.

use crate::digits::{Digits, DigitsError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The letter of the message.
pub const LETTER: u8 = b'G';

/// `G`, end of snapshot. It has no header of ITCH.
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct SnapshotEnd {
    letter: u8,
    sequence: Digits,
}
const _: () = assert!(size_of::<SnapshotEnd>() == 21);

/// Why bytes are no end of snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GlimpseError {
    /// Not 21 bytes, or another letter.
    #[error("{found} bytes are not the end of a snapshot: `G` and 20 digits")]
    NotEnd {
        /// How many.
        found: usize,
    },
    /// The sequence is no number.
    #[error("the end of the snapshot has no sequence: {0}")]
    Sequence(#[from] DigitsError),
}

impl SnapshotEnd {
    /// The end of a snapshot that holds every message of the feed below number `next`.
    #[must_use]
    pub fn new(next: u64) -> Self {
        Self {
            letter: LETTER,
            sequence: Digits::new(next),
        }
    }

    /// Reads the feed's number with which to go on.
    ///
    /// # Errors
    /// When the bytes are another message, or its digits are no number of 64 bits.
    pub fn read(bytes: &[u8]) -> Result<u64, GlimpseError> {
        match Self::ref_from_bytes(bytes) {
            Ok(end) if end.letter == LETTER => Ok(end.sequence.get()?),
            _ => Err(GlimpseError::NotEnd { found: bytes.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden() {
        let end = SnapshotEnd::new(1_234_567);
        assert_eq!(end.as_bytes(), b"G             1234567");
        assert_eq!(SnapshotEnd::read(b"G00000000000001234567"), Ok(1_234_567));
        assert_eq!(SnapshotEnd::read(b"G1234567             "), Ok(1_234_567));
        let other = GlimpseError::NotEnd { found: 21 };
        assert_eq!(SnapshotEnd::read(b"H00000000000001234567"), Err(other));
        assert!(matches!(
            SnapshotEnd::read(b"G0000000000000123456x"),
            Err(GlimpseError::Sequence(_))
        ));
    }

    proptest! {
        #[test]
        fn reads_back(next: u64) {
            prop_assert_eq!(SnapshotEnd::read(SnapshotEnd::new(next).as_bytes()), Ok(next));
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = SnapshotEnd::read(&bytes);
        }
    }
}
