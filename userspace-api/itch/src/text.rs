//! Letters of a fixed width.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `N` letters of ASCII, left-justified and padded with spaces on the right.
///
/// Received bytes are kept as they are, also when they are no ASCII.
#[derive(
    Clone,
    Copy,
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
pub struct Text<const N: usize>(pub [u8; N]);

/// An instrument's symbol.
pub type Stock = Text<8>;
/// A market participant.
pub type Mpid = Text<4>;

/// A text does not fit its field.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextError {
    /// More letters than the field has.
    #[error("{text:?} has {found} letters, the field has {max}; shorten it")]
    TooLong {
        /// What was given.
        text: String,
        /// Its length in bytes.
        found: usize,
        /// The field's.
        max: usize,
    },
    /// Something else than printable ASCII.
    #[error("{text:?} is not printable ASCII; use letters, digits and punctuation")]
    NotAscii {
        /// What was given.
        text: String,
    },
}

impl<const N: usize> Text<N> {
    /// Only spaces: none, or any.
    pub const BLANK: Self = Self([b' '; N]);

    /// The text padded with spaces on the right.
    ///
    /// # Errors
    /// When it is longer than the field, or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let mut field = [b' '; N];
        field[..checked::<N>(text)?].copy_from_slice(text.as_bytes());
        Ok(Self(field))
    }

    /// The text padded with spaces on the left, as SoupBinTCP writes a session.
    ///
    /// # Errors
    /// When it is longer than the field, or not printable ASCII.
    pub fn right(text: &str) -> Result<Self, TextError> {
        let mut field = [b' '; N];
        field[N - checked::<N>(text)?..].copy_from_slice(text.as_bytes());
        Ok(Self(field))
    }

    /// The letters without the padding, on whichever side it is; empty where the bytes are no ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if !self.0.is_ascii() {
            return "";
        }
        std::str::from_utf8(&self.0).map_or("", |text| text.trim_matches(' '))
    }

    /// Whether the field is only spaces.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0 == [b' '; N]
    }
}

/// The length of a text that fits.
fn checked<const N: usize>(text: &str) -> Result<usize, TextError> {
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(TextError::NotAscii { text: text.into() });
    }
    if text.len() > N {
        return Err(TextError::TooLong {
            text: text.into(),
            found: text.len(),
            max: N,
        });
    }
    Ok(text.len())
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::BLANK
    }
}

impl<const N: usize> std::fmt::Display for Text<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.trim_ascii().escape_ascii())
    }
}

impl<const N: usize> std::fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_on_either_side() {
        assert_eq!(Stock::new("AAPL").unwrap().0, *b"AAPL    ");
        assert_eq!(Text::<10>::right("S1").unwrap().0, *b"        S1");
        assert_eq!(Text::<10>::right("S1").unwrap().as_str(), "S1");
        assert_eq!(Stock::new("SYM00001").unwrap().as_str(), "SYM00001");
        assert!(Stock::new("").unwrap().is_blank());
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let long = Stock::new("SYM000001").unwrap_err();
        assert!(matches!(
            long,
            TextError::TooLong {
                found: 9,
                max: 8,
                ..
            }
        ));
        assert!(matches!(Stock::new("Ä"), Err(TextError::NotAscii { .. })));
        assert!(matches!(Stock::new("A\n"), Err(TextError::NotAscii { .. })));
    }

    #[test]
    fn foreign_bytes_are_shown_escaped() {
        let field = Stock::read_from_bytes(b"A\xFF\0     ").unwrap();
        assert_eq!(field.as_str(), "");
        assert_eq!(field.to_string(), r"A\xff\x00");
    }
}
