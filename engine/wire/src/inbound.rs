//! The seven inbound messages: their bytes, and the one place that judges their fields.
//!
//! A struct here is a view over received bytes, without judgement, for hosts; the constants of the
//! same names in [`at`] are what the kernel reads by, and a test holds the two together. [`parse`]
//! makes every check that needs no state; what it passes is good by construction. It does not judge
//! a price, an instrument or a stock name: those need the instrument. Layout: `docs/wire.md#enter`.

use crate::message::{
    BOTH, BUY, EXPIRY_END_S, Flags, MessageCells, PEG_MIDPOINT, PEG_PRIMARY, SCOPE_ACCOUNT,
    SCOPE_SESSION, SELL,
};
use crate::{Buffer, Window};
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of `A`.
pub const ENTER: usize = 36;
/// Bytes of `F`.
pub const ENTER_SUB: usize = 40;
/// Bytes of `O`.
pub const ENTER_EXTENDED: usize = 56;
/// Bytes of `U`.
pub const REPLACE: usize = 35;
/// Bytes of `X`.
pub const REDUCE: usize = 23;
/// Bytes of `D`.
pub const CANCEL: usize = 19;
/// Bytes of `M`.
pub const MASS_CANCEL: usize = 23;

/// Offsets within a message, its letter at 0.
pub mod at {
    /// Every message: the instrument's number, 2 bytes.
    pub const LOCATE: usize = 1;
    /// Every message: tracking, 2 bytes: flags of an order, else zero.
    pub const TRACKING: usize = 3;
    /// Every message: 6 bytes, zero.
    pub const TIMESTAMP: usize = 5;
    /// Every message: client reference, 8 bytes, the high half zero.
    pub const REFERENCE: usize = 11;
    /// `A` `F` `O`: 1 byte.
    pub const SIDE: usize = 19;
    /// `A` `F` `O`: 4 bytes.
    pub const SHARES: usize = 20;
    /// `A` `F` `O`: 8 letters.
    pub const STOCK: usize = 24;
    /// `A` `F` `O`: 4 bytes.
    pub const PRICE: usize = 32;
    /// `F`: 4 letters.
    pub const SUB_ACCOUNT: usize = 36;
    /// `O`: 4 bytes.
    pub const MINIMUM: usize = 36;
    /// `O`: 4 bytes.
    pub const DISPLAY: usize = 40;
    /// `O`: 4 bytes.
    pub const TRIGGER: usize = 44;
    /// `O`: 4 bytes.
    pub const EXPIRY: usize = 48;
    /// `O`: 1 byte.
    pub const PEG: usize = 52;
    /// `O`: 1 byte, signed.
    pub const PEG_OFFSET: usize = 53;
    /// `O`: 2 bytes.
    pub const TRADE_GROUP: usize = 54;
    /// `U`: new client reference, 8 bytes, the high half zero.
    pub const NEW_REFERENCE: usize = 19;
    /// `U`: 4 bytes.
    pub const REPLACE_SHARES: usize = 27;
    /// `U`: 4 bytes.
    pub const REPLACE_PRICE: usize = 31;
    /// `X`: 4 bytes.
    pub const REDUCE_SHARES: usize = 19;
    /// `M`: 1 byte.
    pub const SCOPE: usize = 19;
    /// `M`: 1 byte.
    pub const MASS_SIDE: usize = 20;
    /// `M`: 1 byte.
    pub const KILL: usize = 21;
    /// `M`: 1 byte, zero.
    pub const MASS_RESERVED: usize = 22;
}

/// Makes the views: every one begins with the letter, locate, tracking, timestamp and reference.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident, $bytes:ident, $letter:literal {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $offset:ident,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq,
            Unaligned,
        )]
        #[repr(C)]
        pub struct $name {
            /// Which message.
            pub letter: u8,
            /// The instrument's number.
            pub locate: U16,
            /// Flags of an order, else zero.
            pub tracking: U16,
            /// Zero.
            pub timestamp: [u8; 6],
            /// Client reference, the high half zero.
            pub reference: U64,
            $($(#[$field_doc])* pub $field: $type,)*
        }
        const _: () = {
            assert!(size_of::<$name>() == $bytes);
            assert!(core::mem::offset_of!($name, locate) == at::LOCATE);
            assert!(core::mem::offset_of!($name, tracking) == at::TRACKING);
            assert!(core::mem::offset_of!($name, timestamp) == at::TIMESTAMP);
            assert!(core::mem::offset_of!($name, reference) == at::REFERENCE);
            $(assert!(core::mem::offset_of!($name, $field) == at::$offset);)*
        };
        impl $name {
            /// The letter of this message.
            pub const LETTER: u8 = $letter;
        }
    )*};
}

wire! {
    /// `A`: enter an order. Layout: `docs/wire.md#enter`.
    Enter, ENTER, b'A' {
        /// `B` or `S`.
        side: u8 = SIDE,
        /// Quantity in shares, not zero.
        shares: U32 = SHARES,
        /// Symbol as the locate's, or spaces.
        stock: [u8; 8] = STOCK,
        /// Limit price, 1/10,000 of the price unit.
        price: U32 = PRICE,
    }

    /// `F`: enter an order for a sub-account. Layout: `docs/wire.md#enter`.
    EnterSub, ENTER_SUB, b'F' {
        /// `B` or `S`.
        side: u8 = SIDE,
        /// Quantity in shares, not zero.
        shares: U32 = SHARES,
        /// Symbol as the locate's, or spaces.
        stock: [u8; 8] = STOCK,
        /// Limit price, 1/10,000 of the price unit.
        price: U32 = PRICE,
        /// Four letters.
        sub_account: [u8; 4] = SUB_ACCOUNT,
    }

    /// `O`: enter an order with everything. Layout: `docs/wire.md#enter-extended`.
    EnterExtended, ENTER_EXTENDED, b'O' {
        /// `B` or `S`.
        side: u8 = SIDE,
        /// Quantity in shares, not zero.
        shares: U32 = SHARES,
        /// Symbol as the locate's, or spaces.
        stock: [u8; 8] = STOCK,
        /// Limit price, 1/10,000 of the price unit.
        price: U32 = PRICE,
        /// Least quantity of a fill, in shares; 0 for none.
        minimum: U32 = MINIMUM,
        /// Displayed quantity, in shares; 0 for all of it.
        display: U32 = DISPLAY,
        /// Trigger price; 0 for none.
        trigger: U32 = TRIGGER,
        /// Expiry in seconds of the day; 0 for none.
        expiry_s: U32 = EXPIRY,
        /// 0 none, `P` primary, `M` midpoint.
        peg: u8 = PEG,
        /// Offset of the peg in ticks.
        peg_offset_ticks: i8 = PEG_OFFSET,
        /// Trade group; 0 for none.
        trade_group: U16 = TRADE_GROUP,
    }

    /// `U`: replace an order by a new one. Layout: `docs/wire.md#replace`.
    Replace, REPLACE, b'U' {
        /// The new order's client reference, the high half zero.
        new_reference: U64 = NEW_REFERENCE,
        /// The new order's quantity in shares, not zero.
        shares: U32 = REPLACE_SHARES,
        /// The new order's limit price.
        price: U32 = REPLACE_PRICE,
    }

    /// `X`: take a quantity off an order. Layout: `docs/wire.md#reduce`.
    Reduce, REDUCE, b'X' {
        /// How many shares to take off, not zero.
        shares: U32 = REDUCE_SHARES,
    }

    /// `D`: cancel an order. Layout: `docs/wire.md#cancel`.
    Cancel, CANCEL, b'D' {}

    /// `M`: cancel many orders, or stop trading. Layout: `docs/wire.md#mass-cancel`.
    MassCancel, MASS_CANCEL, b'M' {
        /// `S` session, `A` account.
        scope: u8 = SCOPE,
        /// `B`, `S`, or a space for both.
        side: u8 = MASS_SIDE,
        /// 0 or 1.
        kill: u8 = KILL,
        /// Zero.
        reserved: u8 = MASS_RESERVED,
    }
}

/// Which field is wrong. The engine gives each a reject reason; the message is taken and rejected.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum FieldError {
    /// No message of ours; cannot happen past [`crate::shape()`].
    LetterUnknown = 1,
    /// `U` `X` `D` `M`: tracking is not zero.
    TrackingNotZero,
    /// The timestamp is not zero.
    TimestampNotZero,
    /// The high half of a client reference is not zero.
    ReferenceTooLarge,
    /// A client reference is zero.
    ReferenceZero,
    /// The side is not one of the message's letters.
    SideUnknown,
    /// The quantity is zero.
    SharesZero,
    /// A flag that is not defined.
    FlagUnknown,
    /// Time in force 5 to 7.
    TimeInForceUnknown,
    /// Self-trade rule 5 to 7.
    SelfTradeUnknown,
    /// Post-only both as reject and as slide.
    PostOnlyTwice,
    /// Post-only with immediate-or-cancel or fill-or-kill.
    PostOnlyImmediate,
    /// Post-only with market.
    PostOnlyMarket,
    /// Good till time without an expiry; `A` and `F` have none.
    ExpiryMissing,
    /// An expiry without good till time.
    ExpiryUnasked,
    /// An expiry that is not a second of the day.
    ExpiryTooLate,
    /// A minimum quantity above the quantity.
    MinimumAboveShares,
    /// A displayed quantity above the quantity.
    DisplayAboveShares,
    /// A displayed quantity on a hidden order.
    DisplayOfHidden,
    /// The peg's kind is none of ours.
    PegUnknown,
    /// An offset without a peg.
    PegOffsetUnasked,
    /// `M`: the scope is not `S` or `A`.
    ScopeUnknown,
    /// `M`: kill is not 0 or 1.
    KillUnknown,
    /// A reserved byte is not zero.
    ReservedNotZero,
}

impl FieldError {
    /// Every error, in order of its number, which begins at 1.
    pub const ALL: [Self; 24] = [
        Self::LetterUnknown,
        Self::TrackingNotZero,
        Self::TimestampNotZero,
        Self::ReferenceTooLarge,
        Self::ReferenceZero,
        Self::SideUnknown,
        Self::SharesZero,
        Self::FlagUnknown,
        Self::TimeInForceUnknown,
        Self::SelfTradeUnknown,
        Self::PostOnlyTwice,
        Self::PostOnlyImmediate,
        Self::PostOnlyMarket,
        Self::ExpiryMissing,
        Self::ExpiryUnasked,
        Self::ExpiryTooLate,
        Self::MinimumAboveShares,
        Self::DisplayAboveShares,
        Self::DisplayOfHidden,
        Self::PegUnknown,
        Self::PegOffsetUnasked,
        Self::ScopeUnknown,
        Self::KillUnknown,
        Self::ReservedNotZero,
    ];
}

/// Reads the message whose letter is at `start` into `into` and judges every field.
///
/// `letter` is that of the block. Whatever the result, `into` holds the letter, the locate and the
/// low half of the reference that the acknowledgement echoes (of `U` the new one in
/// `new_reference`); all else is good only after `Ok`.
///
/// # Errors
/// The first wrong field, in the order of the bytes as far as fields stand alone.
#[inline]
pub fn parse(
    buf: &Buffer,
    start: usize,
    letter: u8,
    into: &MessageCells,
) -> Result<(), FieldError> {
    let m = buf.window(start);
    into.clear();
    into.letter.set(letter);
    into.locate.set(m.u16_be(at::LOCATE));
    into.reference.set(low_half(m, at::REFERENCE));
    match letter {
        b'A' | b'F' | b'O' => parse_enter(m, letter, into),
        b'U' => {
            // Read before anything can fail: it is what the acknowledgement echoes.
            into.new_reference.set(low_half(m, at::NEW_REFERENCE));
            parse_common(m)?;
            check_reference(m, at::REFERENCE)?;
            check_reference(m, at::NEW_REFERENCE)?;
            into.price.set(m.u32_be(at::REPLACE_PRICE));
            read_shares(m, at::REPLACE_SHARES, into)
        }
        b'X' => {
            parse_common(m)?;
            check_reference(m, at::REFERENCE)?;
            read_shares(m, at::REDUCE_SHARES, into)
        }
        b'D' => {
            parse_common(m)?;
            check_reference(m, at::REFERENCE)
        }
        b'M' => parse_mass_cancel(m, into),
        _ => Err(FieldError::LetterUnknown),
    }
}

/// The reference that the acknowledgement of a message echoes, without parsing it: for a packet
/// that is not taken.
#[inline(always)]
#[must_use]
pub fn echo(buf: &Buffer, start: usize, letter: u8) -> u32 {
    let at = if letter == Replace::LETTER {
        at::NEW_REFERENCE
    } else {
        at::REFERENCE
    };
    low_half(buf.window(start), at)
}

#[inline(always)]
fn parse_enter(m: Window<'_>, letter: u8, into: &MessageCells) -> Result<(), FieldError> {
    let flags = Flags(m.u16_be(at::TRACKING));
    into.flags.set(flags);
    flags.check()?;
    check_timestamp(m)?;
    check_reference(m, at::REFERENCE)?;
    let side = m.u8(at::SIDE);
    into.side.set(side);
    if side != BUY && side != SELL {
        return Err(FieldError::SideUnknown);
    }
    read_shares(m, at::SHARES, into)?;
    into.stock.set(m.u64_be(at::STOCK));
    into.price.set(m.u32_be(at::PRICE));
    if letter == EnterExtended::LETTER {
        return parse_extension(m, into);
    }
    if letter == EnterSub::LETTER {
        into.sub_account.set(m.u32_be(at::SUB_ACCOUNT));
    }
    if flags.is_good_till_time() {
        return Err(FieldError::ExpiryMissing);
    }
    Ok(())
}

/// The 20 bytes that `O` has behind those of `A`.
#[inline(always)]
fn parse_extension(m: Window<'_>, into: &MessageCells) -> Result<(), FieldError> {
    let minimum = m.u32_be(at::MINIMUM);
    let display = m.u32_be(at::DISPLAY);
    let expiry_s = m.u32_be(at::EXPIRY);
    let peg = m.u8(at::PEG);
    let peg_offset_ticks = m.u8(at::PEG_OFFSET) as i8;
    into.minimum.set(minimum);
    into.display.set(display);
    into.trigger.set(m.u32_be(at::TRIGGER));
    into.expiry_s.set(expiry_s);
    into.peg.set(peg);
    into.peg_offset_ticks.set(peg_offset_ticks);
    into.trade_group.set(m.u16_be(at::TRADE_GROUP));

    let shares = into.shares.get();
    let flags = into.flags.get();
    if minimum > shares {
        return Err(FieldError::MinimumAboveShares);
    }
    if display > shares {
        return Err(FieldError::DisplayAboveShares);
    }
    if display != 0 && flags.has(Flags::HIDDEN) {
        return Err(FieldError::DisplayOfHidden);
    }
    if flags.is_good_till_time() {
        if expiry_s == 0 {
            return Err(FieldError::ExpiryMissing);
        }
        if expiry_s >= EXPIRY_END_S {
            return Err(FieldError::ExpiryTooLate);
        }
    } else if expiry_s != 0 {
        return Err(FieldError::ExpiryUnasked);
    }
    match peg {
        0 if peg_offset_ticks != 0 => Err(FieldError::PegOffsetUnasked),
        0 | PEG_PRIMARY | PEG_MIDPOINT => Ok(()),
        _ => Err(FieldError::PegUnknown),
    }
}

#[inline(always)]
fn parse_mass_cancel(m: Window<'_>, into: &MessageCells) -> Result<(), FieldError> {
    parse_common(m)?;
    // Names no order, so zero is allowed; the acknowledgement has room for one half.
    if m.u32_be(at::REFERENCE) != 0 {
        return Err(FieldError::ReferenceTooLarge);
    }
    let scope = m.u8(at::SCOPE);
    let side = m.u8(at::MASS_SIDE);
    let kill = m.u8(at::KILL);
    into.scope.set(scope);
    into.side.set(side);
    into.kill.set(kill);
    if scope != SCOPE_SESSION && scope != SCOPE_ACCOUNT {
        return Err(FieldError::ScopeUnknown);
    }
    if side != BUY && side != SELL && side != BOTH {
        return Err(FieldError::SideUnknown);
    }
    if kill > 1 {
        return Err(FieldError::KillUnknown);
    }
    if m.u8(at::MASS_RESERVED) != 0 {
        return Err(FieldError::ReservedNotZero);
    }
    Ok(())
}

/// Tracking and timestamp of a message that has neither.
#[inline(always)]
fn parse_common(m: Window<'_>) -> Result<(), FieldError> {
    if m.u16_be(at::TRACKING) != 0 {
        return Err(FieldError::TrackingNotZero);
    }
    check_timestamp(m)
}

#[inline(always)]
fn check_timestamp(m: Window<'_>) -> Result<(), FieldError> {
    if m.u16_be(at::TIMESTAMP) != 0 || m.u32_be(at::TIMESTAMP + 2) != 0 {
        return Err(FieldError::TimestampNotZero);
    }
    Ok(())
}

#[inline(always)]
fn check_reference(m: Window<'_>, at: usize) -> Result<(), FieldError> {
    let reference = m.u64_be(at);
    if reference >> 32 != 0 {
        return Err(FieldError::ReferenceTooLarge);
    }
    if reference == 0 {
        return Err(FieldError::ReferenceZero);
    }
    Ok(())
}

#[inline(always)]
fn read_shares(m: Window<'_>, at: usize, into: &MessageCells) -> Result<(), FieldError> {
    let shares = m.u32_be(at);
    into.shares.set(shares);
    if shares == 0 {
        return Err(FieldError::SharesZero);
    }
    Ok(())
}

#[inline(always)]
fn low_half(m: Window<'_>, at: usize) -> u32 {
    m.u32_be(at.wrapping_add(4))
}
