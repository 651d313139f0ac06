//! Options behind a message: one byte of length (of tag and value), one byte of tag, the value.

use super::OuchError;
use crate::{I32, U16, U32, U64};
use zerocopy::IntoBytes;

/// Tags of the options, with the bytes of their values.
pub mod option {
    /// Secondary order reference, 8.
    pub const SECONDARY_ORDER_REFERENCE: u8 = 1;
    /// Firm, 4 letters.
    pub const FIRM: u8 = 2;
    /// Minimum quantity, 4.
    pub const MINIMUM_QUANTITY: u8 = 3;
    /// Customer type, 1.
    pub const CUSTOMER_TYPE: u8 = 4;
    /// Most that is displayed, 4.
    pub const MAX_FLOOR: u8 = 5;
    /// Price type, 1: limit, market, pegs.
    pub const PRICE_TYPE: u8 = 6;
    /// Offset of a peg, 4, signed.
    pub const PEG_OFFSET: u8 = 7;
    /// Discretion price, 8.
    pub const DISCRETION_PRICE: u8 = 9;
    /// Discretion price type, 1.
    pub const DISCRETION_TYPE: u8 = 10;
    /// Offset of a discretion peg, 4, signed.
    pub const DISCRETION_OFFSET: u8 = 11;
    /// Post-only, 1: `P`, `N`.
    pub const POST_ONLY: u8 = 12;
    /// Random part of a reserve, 4.
    pub const RANDOM_RESERVE: u8 = 13;
    /// Route, 4 letters.
    pub const ROUTE: u8 = 14;
    /// Expiry in seconds, 4.
    pub const EXPIRE_TIME: u8 = 15;
    /// Trade now, 1.
    pub const TRADE_NOW: u8 = 16;
    /// Handling instruction, 1.
    pub const HANDLING: u8 = 17;
    /// Weight at the best price, 1.
    pub const BBO_WEIGHT: u8 = 18;
    /// Displayed quantity, 4.
    pub const DISPLAY_QUANTITY: u8 = 22;
    /// Displayed price, 8.
    pub const DISPLAY_PRICE: u8 = 23;
    /// Group, 2.
    pub const GROUP_ID: u8 = 24;
    /// Shares are located, 1.
    pub const SHARES_LOCATED: u8 = 25;

    /// Bytes of a tag's value; `None` of an unknown tag, which is to be skipped.
    #[must_use]
    pub const fn value_bytes(tag: u8) -> Option<usize> {
        Some(match tag {
            SECONDARY_ORDER_REFERENCE | DISCRETION_PRICE | DISPLAY_PRICE => 8,
            FIRM | MINIMUM_QUANTITY | MAX_FLOOR | PEG_OFFSET | DISCRETION_OFFSET
            | RANDOM_RESERVE | ROUTE | EXPIRE_TIME | DISPLAY_QUANTITY => 4,
            GROUP_ID => 2,
            CUSTOMER_TYPE | PRICE_TYPE | DISCRETION_TYPE | POST_ONLY | TRADE_NOW | HANDLING
            | BBO_WEIGHT | SHARES_LOCATED => 1,
            _ => return None,
        })
    }
}

/// The options of a message, whose framing was found good. Tags and values are not judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appendage<'a>(&'a [u8]);

/// One option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TagValue<'a> {
    /// One of [`option`], or unknown.
    pub tag: u8,
    /// Big-endian, as long as was sent.
    pub value: &'a [u8],
}

impl TagValue<'_> {
    /// The value as an unsigned number; `None` when it has not 1, 2, 4 or 8 bytes.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        Some(match *self.value {
            [a] => u64::from(a),
            [a, b] => U16::from_bytes([a, b]).into(),
            [a, b, c, d] => U32::from_bytes([a, b, c, d]).into(),
            [a, b, c, d, e, f, g, h] => U64::from_bytes([a, b, c, d, e, f, g, h]).into(),
            _ => return None,
        })
    }

    /// The value as a signed number of four bytes; `None` when it has another length.
    #[must_use]
    pub fn signed(&self) -> Option<i32> {
        let value = *<&[u8; 4]>::try_from(self.value).ok()?;
        Some(I32::from_bytes(value).get())
    }
}

impl<'a> Appendage<'a> {
    /// No options.
    pub const EMPTY: Appendage<'static> = Appendage(&[]);

    /// Reads what follows an appendage's length.
    ///
    /// # Errors
    /// When an option does not lie within it, or has no tag.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, OuchError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            (_, rest) = split(rest).ok_or(OuchError::Option { offset })?;
        }
        Ok(Self(bytes))
    }

    /// The options' bytes, without the length before them.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The options in the order sent.
    pub fn options(&self) -> impl Iterator<Item = TagValue<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (option, next) = split(rest)?;
            rest = next;
            Some(option)
        })
    }

    /// The first option of the tag.
    #[must_use]
    pub fn get(&self, tag: u8) -> Option<TagValue<'a>> {
        self.options().find(|option| option.tag == tag)
    }
}

/// The first option, and what follows; `None` when it is not all there or has no tag.
fn split(bytes: &[u8]) -> Option<(TagValue<'_>, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (option, rest) = rest.split_at_checked(usize::from(length))?;
    let (&tag, value) = option.split_first()?;
    Some((TagValue { tag, value }, rest))
}

/// Collects options.
#[derive(Clone, Debug, Default)]
pub struct AppendageBuilder(Vec<u8>);

impl AppendageBuilder {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an option whose value are these bytes, for example a [`U32`] or a [`Text`](crate::Text).
    ///
    /// # Errors
    /// When it does not fit; the options are as they were.
    pub fn push(
        &mut self,
        tag: u8,
        value: &(impl IntoBytes + zerocopy::Immutable + ?Sized),
    ) -> Result<(), OuchError> {
        let value = value.as_bytes();
        let length = u8::try_from(value.len() + 1).map_err(|_| OuchError::AppendageFull)?;
        if self.0.len() + 1 + usize::from(length) > usize::from(u16::MAX) {
            return Err(OuchError::AppendageFull);
        }
        self.0.extend_from_slice(&[length, tag]);
        self.0.extend_from_slice(value);
        Ok(())
    }

    /// The options so far.
    #[must_use]
    pub fn get(&self) -> Appendage<'_> {
        Appendage(&self.0)
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
