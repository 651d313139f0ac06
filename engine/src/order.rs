//! An order's packed words, and what it counts for and shows.
//!
//! An order is 48 bytes of what matching touches, because a book's speed is how much of it the processor's caches hold: session and
//! self-trade prevention share a word, and so do flags, side, book and instrument. Everything rarer is in its [`Terms`](crate::shard::Terms).

use crate::shard::{FLAG_HIDDEN, FLAG_ICEBERG, FLAG_PEG, FLAG_STOP, FLAGS, HIDDEN, Order, Shard};

/// Bits of the session index in `owner`; self-trade prevention is above them.
const SESSION_BITS: u32 = 24;
/// Bit of the side in `kind`, above the flags.
const SIDE_AT: u32 = 11;
/// First of the four bits of the book in `kind`.
const BOOK_AT: u32 = 12;
/// First of the 16 bits of the instrument index in `kind`.
const INSTRUMENT_AT: u32 = 16;

const _: () =
    assert!(FLAGS < 1 << SIDE_AT && crate::shard::NOWHERE < 1 << (INSTRUMENT_AT - BOOK_AT));
const _: () = assert!(crate::layout::SESSIONS_MAX <= 1 << SESSION_BITS);
const _: () = assert!(crate::layout::INSTRUMENTS_MAX <= 1 << (32 - INSTRUMENT_AT));

impl Order {
    /// Session index.
    #[inline(always)]
    pub(crate) fn session(&self) -> u32 {
        self.owner.get() & ((1 << SESSION_BITS) - 1)
    }

    /// Self-trade prevention: `STP_…`.
    #[inline(always)]
    pub(crate) fn stp(&self) -> u32 {
        self.owner.get() >> SESSION_BITS
    }

    /// Whose it is, and what is prevented.
    #[inline(always)]
    pub(crate) fn set_owner(&self, session: u32, stp: u32) {
        self.owner.set(session | stp << SESSION_BITS);
    }

    /// Instrument index.
    #[inline(always)]
    pub(crate) fn instrument(&self) -> u32 {
        self.kind.get() >> INSTRUMENT_AT
    }

    /// `FLAG_…`.
    #[inline(always)]
    pub(crate) fn flags(&self) -> u32 {
        self.kind.get() & FLAGS
    }

    /// 0 buy, 1 sell.
    #[inline(always)]
    pub(crate) fn side(&self) -> u32 {
        self.kind.get() >> SIDE_AT & 1
    }

    /// The book it stands in, `PEGS` + side in a peg queue, `NOWHERE` while it sweeps.
    #[inline(always)]
    pub(crate) fn book(&self) -> u32 {
        self.kind.get() >> BOOK_AT & 15
    }

    /// What it is.
    #[inline(always)]
    pub(crate) fn set_kind(&self, instrument: u32, side: u32, book: u32, flags: u32) {
        self.kind
            .set(instrument << INSTRUMENT_AT | side << SIDE_AT | book << BOOK_AT | flags);
    }

    /// Sets the flags, all of them.
    #[inline(always)]
    pub(crate) fn set_flags(&self, flags: u32) {
        self.kind.set(self.kind.get() & !FLAGS | flags);
    }

    /// Sets the book.
    #[inline(always)]
    pub(crate) fn set_book(&self, book: u32) {
        self.kind
            .set(self.kind.get() & !(15 << BOOK_AT) | book << BOOK_AT);
    }
}

impl Shard<'_> {
    /// Lots that an order counts for in the sum of its level: what it displays, or all where nothing is displayed.
    #[inline(always)]
    pub(crate) fn counted(self, slot: u32) -> u32 {
        let order = self.order(slot);
        if order.flags() & FLAG_ICEBERG != 0 && order.book() < HIDDEN {
            self.terms(slot).shown.get()
        } else {
            order.open.get()
        }
    }

    /// Lots that an order displays to the public.
    #[inline(always)]
    pub(crate) fn displayed(self, slot: u32) -> u32 {
        let order = self.order(slot);
        let flags = order.flags();
        if flags & (FLAG_HIDDEN | FLAG_PEG | FLAG_STOP) != 0 {
            0
        } else if flags & FLAG_ICEBERG != 0 {
            self.terms(slot).shown.get()
        } else {
            order.open.get()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{BUY, FLAG_OVERFLOWED, NOWHERE, STP_DECREMENT, STP_GROUP};
    use core::cell::Cell;

    #[test]
    fn packed_fields_do_not_touch_each_other() {
        let zero = || Cell::new(0_u32);
        let order = Order {
            id: Cell::new(0),
            hold_per_lot: Cell::new(0),
            open: zero(),
            price: zero(),
            next: zero(),
            prev: zero(),
            owner: zero(),
            account: zero(),
            reference: zero(),
            kind: zero(),
        };
        let fields = || {
            (
                order.instrument(),
                order.side(),
                order.book(),
                order.flags(),
            )
        };
        order.set_kind(65_534, 1, NOWHERE, FLAG_PEG);
        assert_eq!(fields(), (65_534, 1, NOWHERE, FLAG_PEG));
        order.set_book(crate::shard::PEGS + 1);
        order.set_flags(FLAG_PEG | FLAG_OVERFLOWED);
        assert_eq!(fields(), (65_534, 1, 7, FLAG_PEG | FLAG_OVERFLOWED));
        order.set_kind(0, BUY, 0, FLAGS);
        assert_eq!(fields(), (0, BUY, 0, FLAGS));
        let stp = STP_DECREMENT | STP_GROUP;
        order.set_owner((1 << 20) - 1, stp);
        assert_eq!((order.session(), order.stp()), ((1 << 20) - 1, stp));
    }
}
