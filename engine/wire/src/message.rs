//! One inbound message as plain numbers, the same for every letter.
//!
//! A field that a letter does not have is zero, so that equal messages are equal bytes. Prices and
//! quantities are the wire's own (1/10,000 of the price unit, shares): ticks and lots are the
//! engine's business. `docs/wire.md#fields`.

use crate::FieldError;
use core::cell::Cell;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The `side` byte of a buy.
pub const BUY: u8 = b'B';
/// The `side` byte of a sell.
pub const SELL: u8 = b'S';
/// The `side` byte of a mass cancel of both sides.
pub const BOTH: u8 = b' ';
/// The `scope` byte of a mass cancel of the sending session's orders.
pub const SCOPE_SESSION: u8 = b'S';
/// The `scope` byte of a mass cancel of the whole account's orders.
pub const SCOPE_ACCOUNT: u8 = b'A';
/// The `peg` byte of a peg to the own side's best price.
pub const PEG_PRIMARY: u8 = b'P';
/// The `peg` byte of a peg to the middle of the market.
pub const PEG_MIDPOINT: u8 = b'M';
/// The stock field of an order that names its instrument by locate alone.
pub const STOCK_SPACES: u64 = u64::from_be_bytes(*b"        ");
/// First second that is not of the day: an expiry is below it.
pub const EXPIRY_END_S: u32 = 86_400;

/// How long an order lives: bits 0 to 2 of [`Flags`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum TimeInForce {
    /// Until the day is closed.
    Day = 0,
    /// Until cancelled, over days.
    GoodTillCancel = 1,
    /// What does not trade at once is cancelled.
    ImmediateOrCancel = 2,
    /// All of it at once or nothing.
    FillOrKill = 3,
    /// Until the expiry that only `O` can carry.
    GoodTillTime = 4,
}

/// What happens when an order meets its own account's: bits 5 to 7 of [`Flags`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum SelfTrade {
    /// As the account is set up.
    AccountDefault = 0,
    /// The incoming order is cancelled.
    CancelNewest = 1,
    /// The resting order is cancelled.
    CancelOldest = 2,
    /// Both are cancelled.
    CancelBoth = 3,
    /// Both lose the smaller of the two quantities.
    DecrementAndCancel = 4,
}

/// The 16 bits in an order's tracking field. `docs/wire.md#flags`.
#[derive(
    Clone, Copy, Debug, Default, Eq, FromBytes, Hash, Immutable, IntoBytes, KnownLayout, PartialEq,
)]
#[repr(transparent)]
pub struct Flags(pub u16);

impl Flags {
    /// Rejected when it would take liquidity.
    pub const POST_REJECT: u16 = 1 << 3;
    /// Moved away to rest when it would take liquidity.
    pub const POST_SLIDE: u16 = 1 << 4;
    /// Rests without being shown.
    pub const HIDDEN: u16 = 1 << 8;
    /// Takes any price.
    pub const MARKET: u16 = 1 << 9;

    const TIME: u16 = 0b111;
    const SELF_TRADE: u16 = 0b111 << 5;
    const SELF_TRADE_SHIFT: u16 = 5;
    const POST: u16 = Self::POST_REJECT | Self::POST_SLIDE;
    const UNKNOWN: u16 = !((1 << 10) - 1);

    /// Flags with this life and self-trade rule; the single bits are or-ed on with [`Flags::with`].
    #[must_use]
    pub const fn new(time: TimeInForce, self_trade: SelfTrade) -> Self {
        Self(time as u16 | (self_trade as u16) << Self::SELF_TRADE_SHIFT)
    }

    /// These flags and the single `bits` as well.
    #[must_use]
    pub const fn with(self, bits: u16) -> Self {
        Self(self.0 | bits)
    }

    /// Whether one of the single `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// Life of the order as its number in [`TimeInForce`].
    #[inline(always)]
    #[must_use]
    pub const fn time(self) -> u8 {
        (self.0 & Self::TIME) as u8
    }

    /// Self-trade rule as its number in [`SelfTrade`].
    #[inline(always)]
    #[must_use]
    pub const fn self_trade(self) -> u8 {
        ((self.0 & Self::SELF_TRADE) >> Self::SELF_TRADE_SHIFT) as u8
    }

    /// Whether the order lives only for its own command.
    #[inline(always)]
    #[must_use]
    pub const fn is_immediate(self) -> bool {
        let time = self.time();
        time == TimeInForce::ImmediateOrCancel as u8 || time == TimeInForce::FillOrKill as u8
    }

    /// Whether the order lives until its expiry.
    #[inline(always)]
    #[must_use]
    pub const fn is_good_till_time(self) -> bool {
        self.time() == TimeInForce::GoodTillTime as u8
    }

    /// Whether every bit and every combination is one of ours.
    ///
    /// # Errors
    /// The first rule broken, in the order of the bits.
    #[inline(always)]
    pub const fn check(self) -> Result<(), FieldError> {
        if self.0 & Self::UNKNOWN != 0 {
            return Err(FieldError::FlagUnknown);
        }
        if self.time() > TimeInForce::GoodTillTime as u8 {
            return Err(FieldError::TimeInForceUnknown);
        }
        if self.self_trade() > SelfTrade::DecrementAndCancel as u8 {
            return Err(FieldError::SelfTradeUnknown);
        }
        if self.has(Self::POST) {
            if self.0 & Self::POST == Self::POST {
                return Err(FieldError::PostOnlyTwice);
            }
            if self.is_immediate() {
                return Err(FieldError::PostOnlyImmediate);
            }
            if self.has(Self::MARKET) {
                return Err(FieldError::PostOnlyMarket);
            }
        }
        Ok(())
    }
}

/// Makes [`Message`] and its twin of cells, so that the two cannot differ in a field.
macro_rules! message {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// A message that has passed [`crate::parse`], by value: for hosts. 56 bytes, no padding.
        #[derive(
            Clone, Copy, Debug, Default, Eq, FromBytes, Hash, Immutable, IntoBytes, KnownLayout,
            PartialEq,
        )]
        #[repr(C)]
        pub struct Message {
            $($(#[$doc])* pub $field: $type,)*
        }

        /// A [`Message`] that is filled in place: it is too large for the kernel's stack.
        #[derive(Debug, Default, FromBytes, IntoBytes, KnownLayout)]
        #[repr(C)]
        pub struct MessageCells {
            $($(#[$doc])* pub $field: Cell<$type>,)*
        }

        impl MessageCells {
            /// Sets every field.
            #[inline]
            pub fn set(&self, message: &Message) {
                $(self.$field.set(message.$field);)*
            }

            /// Sets every field to zero: old memory never shows in a shorter message.
            #[inline(always)]
            pub fn clear(&self) {
                crate::buffer::clear(self);
            }

            /// Every field.
            #[inline]
            #[must_use]
            pub fn get(&self) -> Message {
                Message { $($field: self.$field.get(),)* }
            }
        }

        #[cfg(test)]
        mod twins {
            use super::{Message, MessageCells};
            use core::mem::offset_of;

            #[test]
            fn lie_alike() {
                $(assert_eq!(offset_of!(Message, $field), offset_of!(MessageCells, $field));)*
            }
        }
    };
}

message! {
    /// `A` `F` `O`: eight letters as a big-endian number, [`STOCK_SPACES`] when unnamed.
    stock: u64,
    /// The order's client reference; the replaced one in `U`; an echo only in `M`, where 0 is allowed.
    reference: u32,
    /// `U`: the new client reference.
    new_reference: u32,
    /// `A` `F` `O` `U`: quantity in shares; `X`: how many to take off.
    shares: u32,
    /// `A` `F` `O` `U`: limit price in 1/10,000 of the price unit; not judged here, zero included.
    price: u32,
    /// `F`: four letters of the sub-account as a big-endian number.
    sub_account: u32,
    /// `O`: least quantity of a fill, in shares; 0 for none.
    minimum: u32,
    /// `O`: displayed quantity, in shares; 0 for all of it.
    display: u32,
    /// `O`: trigger price in 1/10,000 of the price unit; 0 for none.
    trigger: u32,
    /// `O`: expiry in seconds of the day; 0 for none.
    expiry_s: u32,
    /// Every letter: the instrument's number; 0 in `M` means all.
    locate: u16,
    /// `A` `F` `O`: the tracking bits.
    flags: Flags,
    /// `O`: trade group; 0 for none.
    trade_group: u16,
    /// Which message: `A` `F` `O` `U` `X` `D` `M`.
    letter: u8,
    /// `A` `F` `O`: [`BUY`] or [`SELL`]; `M`: also [`BOTH`].
    side: u8,
    /// `O`: 0, [`PEG_PRIMARY`] or [`PEG_MIDPOINT`].
    peg: u8,
    /// `O`: the peg's offset in ticks.
    peg_offset_ticks: i8,
    /// `M`: [`SCOPE_SESSION`] or [`SCOPE_ACCOUNT`].
    scope: u8,
    /// `M`: 1 stops the scope's trading as well, 0 only cancels.
    kill: u8,
}
const _: () = assert!(size_of::<Message>() == 56 && size_of::<MessageCells>() == 56);

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules once more, as a list, over all 65,536 values.
    #[test]
    fn flags_are_judged_by_the_list() {
        for bits in 0..=u16::MAX {
            let (time, self_trade) = (bits & 7, bits >> 5 & 7);
            let (reject, slide) = (bits >> 3 & 1 == 1, bits >> 4 & 1 == 1);
            let market = bits >> 9 & 1 == 1;
            let want = if bits >= 1 << 10 {
                Err(FieldError::FlagUnknown)
            } else if time > 4 {
                Err(FieldError::TimeInForceUnknown)
            } else if self_trade > 4 {
                Err(FieldError::SelfTradeUnknown)
            } else if reject && slide {
                Err(FieldError::PostOnlyTwice)
            } else if (reject || slide) && (time == 2 || time == 3) {
                Err(FieldError::PostOnlyImmediate)
            } else if (reject || slide) && market {
                Err(FieldError::PostOnlyMarket)
            } else {
                Ok(())
            };
            assert_eq!(Flags(bits).check(), want, "{bits:#018b}");
            assert_eq!(u16::from(Flags(bits).time()), time);
            assert_eq!(u16::from(Flags(bits).self_trade()), self_trade);
        }
    }

    #[test]
    fn flags_are_built_as_documented() {
        let flags = Flags::new(TimeInForce::GoodTillTime, SelfTrade::DecrementAndCancel)
            .with(Flags::HIDDEN | Flags::POST_SLIDE);
        assert_eq!(flags.0, 0b01_1001_0100);
        assert_eq!(flags.check(), Ok(()));
    }

    #[test]
    fn cells_hold_a_message() {
        let cells = MessageCells::default();
        let message = Message {
            stock: 1,
            kill: 1,
            locate: 9,
            ..Message::default()
        };
        cells.set(&message);
        assert_eq!(cells.get(), message);
        cells.clear();
        assert_eq!(cells.get(), Message::default());
    }
}
