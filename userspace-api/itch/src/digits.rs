//! Numbers written in ASCII digits, as SoupBinTCP and GLIMPSE do.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A number in 20 ASCII digits, right-justified, padded with spaces on the left.
///
/// Sources differ about the padding, so reading takes spaces or zeros on the left and spaces on the right.
#[derive(
    Clone, Copy, Eq, FromBytes, Hash, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(transparent)]
pub struct Digits(pub [u8; 20]);

/// The field is no number of 64 bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{}\" is not a number of 64 bits in digits; the peer speaks another protocol",
    .0.escape_ascii()
)]
pub struct DigitsError(pub [u8; 20]);

impl Digits {
    /// The number, padded with spaces on the left.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let mut field = [b' '; 20];
        let mut rest = number;
        for place in field.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        Self(field)
    }

    /// The number.
    ///
    /// # Errors
    /// When the field is blank, has something else than digits between its padding, or is above 64 bits.
    pub fn get(&self) -> Result<u64, DigitsError> {
        let digits = self.0.trim_ascii();
        if digits.is_empty() {
            return Err(DigitsError(self.0));
        }
        digits
            .iter()
            .try_fold(0_u64, |number, &byte| {
                let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
                number.checked_mul(10)?.checked_add(digit)
            })
            .ok_or(DigitsError(self.0))
    }
}

impl std::fmt::Debug for Digits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(field: &[u8; 20], expected: Option<u64>) {
        assert_eq!(Digits(*field).get().ok(), expected, "{:?}", Digits(*field));
    }

    #[test]
    fn both_paddings() {
        check(b"                   0", Some(0));
        check(b"00000000000000000042", Some(42));
        check(b"                  42", Some(42));
        check(b"42                  ", Some(42));
        check(b"18446744073709551615", Some(u64::MAX));
        check(b"18446744073709551616", None);
        check(b"                    ", None);
        check(b"                4 2 ", None);
        check(b"                 -42", None);
        assert_eq!(Digits::new(u64::MAX).0, *b"18446744073709551615");
        assert_eq!(Digits::new(0).0, *b"                   0");
    }

    proptest! {
        #[test]
        fn reads_back(number: u64) {
            prop_assert_eq!(Digits::new(number).get(), Ok(number));
        }

        #[test]
        fn anything_is_read_or_refused(field: [u8; 20]) {
            let _ = Digits(field).get();
        }
    }
}
