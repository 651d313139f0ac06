//! Listings: an instrument gets its terms and its six ladders, and its ladders may move. Rule: `docs/matching.md#control-commands`.
//!
//! Always true: what is listed cannot make an order whose amounts reach 2^63 (RULES 18); the memory of a ladder without orders is all zero, so an
//! index that was delisted is listed again in the same places.

use crate::Reason;
use crate::control::{List, MoveLadder};
use crate::limits::{AMOUNT_MAX, FEE_PPM_MAX};
use crate::money::{amount_product, buy_hold_per_lot};
use crate::operate::{DONE, half, rejected, word};
use crate::outbox::Done;
use crate::record::{Removal, State};
use crate::region::{Finished, clear, clear32, zero};
use crate::shard::{BOOKS, Instrument, NO_RANK, Shard, reciprocal};
use core::cell::Cell;

/// Longest ladder.
const LADDER_LEN_MAX: u32 = 1 << 24;

const _: () = assert!(BOOKS == 6, "each is named below");

impl Shard<'_> {
    #[inline(never)]
    pub(crate) fn list_instrument(self) -> Done {
        let header = self.header();
        let index = half!(self, List, instrument);
        let assets = header.assets_max.get();
        if index >= header.instruments_max.get()
            || half!(self, List, base_asset) >= assets
            || half!(self, List, quote_asset) >= assets
        {
            return rejected(Reason::IndexOutOfRange);
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() != 0 {
            return rejected(Reason::AlreadyListed);
        }
        if !self.listing_is_good() {
            return rejected(Reason::BadListing);
        }
        if !self.takes_places(index, half!(self, List, ladder_len)) {
            return rejected(Reason::LadderFull);
        }

        // Decided.
        self.set_terms(instrument);
        let none = NO_RANK.wrapping_add(zero()); // the compiler would make one call of a run of equal bytes
        instrument.best[0].set(none);
        instrument.best[1].set(none);
        instrument.best[2].set(none);
        instrument.best[3].set(none);
        instrument.best[4].set(none);
        instrument.best[5].set(none);
        clear32(&instrument.pegs[0]);
        clear32(&instrument.pegs[1]);
        clear32(&instrument.route);
        clear32(&instrument.work);
        clear32(&instrument.sweep);
        clear32(&instrument.purge_next);
        clear32(&instrument.peg_bid);
        clear32(&instrument.peg_ask);
        clear32(&instrument.last);
        clear32(&instrument.auction);
        clear32(&instrument.reference);
        clear32(&instrument.dynamic_ticks);
        clear32(&instrument.fat_ticks);
        clear32(&instrument.pause_ticks);
        clear32(&instrument.pause_low);
        clear32(&instrument.pause_high);
        clear(&instrument.cross_volume);
        let state = half!(self, List, state);
        if state != State::Closed as u32 {
            let open = &header.instruments_open;
            open.set(open.get().wrapping_add(1));
        }
        instrument.state.set(state);
        instrument.note_limits();
        instrument.listed.set(1);
        DONE
    }

    /// The terms as the body gives them.
    #[inline(always)]
    fn set_terms(self, instrument: &Instrument) {
        instrument
            .symbol
            .set(u64::from_be(word!(self, List, symbol)));
        instrument.base_asset.set(half!(self, List, base_asset));
        instrument.quote_asset.set(half!(self, List, quote_asset));
        let (tick_size, lot_size) = (half!(self, List, tick_size), half!(self, List, lot_size));
        instrument.tick_size.set(tick_size);
        instrument.lot_size.set(lot_size);
        instrument.tick_reciprocal.set(reciprocal(tick_size));
        instrument.lot_reciprocal.set(reciprocal(lot_size));
        instrument.tick_value.set(half!(self, List, tick_value));
        instrument.ladder_base.set(half!(self, List, ladder_base));
        instrument.ladder_len.set(half!(self, List, ladder_len));
        instrument.lot_value.set(word!(self, List, lot_value));
        instrument.lots_max.set(half!(self, List, lots_max));
        instrument.band_low.set(half!(self, List, band_low));
        instrument.band_high.set(half!(self, List, band_high));
        instrument.notional_max.set(word!(self, List, notional_max));
        instrument.maker_ppm.set(half!(self, List, maker_ppm));
        instrument.taker_ppm.set(half!(self, List, taker_ppm));
    }

    /// The checks of `BadListing`.
    #[inline(always)]
    fn listing_is_good(self) -> bool {
        let (tick_size, lot_size) = (half!(self, List, tick_size), half!(self, List, lot_size));
        let (tick_value, lot_value) = (half!(self, List, tick_value), word!(self, List, lot_value));
        let lots_max = half!(self, List, lots_max);
        if half!(self, List, base_asset) == half!(self, List, quote_asset)
            || tick_size == 0
            || lot_size == 0
            || tick_value == 0
            || lot_value == 0
            || lots_max == 0
            || !is_printable(word!(self, List, symbol))
            || u64::from(lots_max).wrapping_mul(u64::from(lot_size)) > u64::from(u32::MAX)
            || !may_begin_in(half!(self, List, state))
        {
            return false;
        }
        let (band_low, band_high) = (half!(self, List, band_low), half!(self, List, band_high));
        if !is_band(band_low, band_high) {
            return false;
        }
        let (maker_ppm, taker_ppm) = (half!(self, List, maker_ppm), half!(self, List, taker_ppm));
        let maker = if maker_ppm >> 31 == 0 {
            maker_ppm
        } else {
            maker_ppm.wrapping_neg()
        };
        if taker_ppm > FEE_PPM_MAX || maker > taker_ppm {
            return false;
        }
        let top = ladder_top(
            half!(self, List, ladder_base),
            half!(self, List, ladder_len),
        );
        top_is_good(top, tick_size, tick_value, lots_max, taker_ppm)
            && amount_product(lot_value, u64::from(lots_max)).is_some()
    }

    /// Moves the ladder of an instrument: a purge of what is off the new one.
    #[inline(never)]
    pub(crate) fn move_ladder(self) -> Done {
        let index = half!(self, MoveLadder, instrument);
        let (base, len) = (
            half!(self, MoveLadder, ladder_base),
            half!(self, MoveLadder, ladder_len),
        );
        if index >= self.header().instruments_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() == 0 {
            return rejected(Reason::UnknownInstrument);
        }
        if instrument.work.get() != 0 {
            return rejected(Reason::Continuing);
        }
        let state = instrument.state.get();
        if state != State::Closed as u32 && state != State::Halted as u32 {
            return rejected(Reason::BadState);
        }
        let good = top_is_good(
            ladder_top(base, len),
            instrument.tick_size.get(),
            instrument.tick_value.get(),
            instrument.lots_max.get(),
            instrument.taker_ppm.get(),
        );
        if !good {
            return rejected(Reason::BadListing);
        }
        if len > instrument.places.get() {
            return rejected(Reason::LadderFull);
        }
        instrument.move_base.set(base);
        instrument.move_len.set(len);
        self.begin_purge(index, Removal::OffLadder, crate::purge::BOTH)
    }

    /// Gives an index the places of a ladder of this length in each of its six books, unless it has them. False where the pool has no room.
    #[inline(always)]
    fn takes_places(self, index: u32, ladder_len: u32) -> bool {
        let header = self.header();
        let instrument = self.instrument(index);
        let places = places_of(ladder_len);
        if places <= instrument.places.get() {
            return true;
        }
        let (used, max) = (header.ladder_used.get(), header.ladder_max.get());
        if places > max.wrapping_sub(used) {
            return false;
        }
        instrument.places.set(places);
        header.ladder_used.set(used.wrapping_add(places));
        self.place_book(index, 0, used).seen();
        self.place_book(index, 1, used).seen();
        self.place_book(index, 2, used).seen();
        self.place_book(index, 3, used).seen();
        self.place_book(index, 4, used).seen();
        self.place_book(index, 5, used).seen();
        true
    }

    /// Gives a book its ladder, behind all those of the book before it, and bitmaps. All of them are zero: the region was, and nothing is given twice.
    #[inline(never)]
    fn place_book(self, index: u32, book: u32, used: u32) -> Finished {
        let header = self.header();
        let instrument = self.instrument(index);
        let side = instrument.side(book);
        let places = instrument.places.get();
        let first = book
            .wrapping_mul(header.ladder_max.get())
            .wrapping_add(used);
        side.ladder
            .set(header.ladder_at.get().wrapping_add(first.wrapping_mul(4)));
        side.mask.set(places.wrapping_sub(1));
        let words = self.place_bitmap(&side.bits[0], places);
        let words = self.place_bitmap(&side.bits[1], words);
        let words = self.place_bitmap(&side.bits[2], words);
        let _ = self.place_bitmap(&side.bits[3], words);
        Finished::here()
    }

    /// Gives a bitmap of this many bits its words and gives their number.
    #[inline(always)]
    fn place_bitmap(self, at: &Cell<u32>, bits: u32) -> u32 {
        let header = self.header();
        let used = header.bitmap_used.get();
        let words = bits.wrapping_add(63) >> 6;
        at.set(header.bitmap_at.get().wrapping_add(used.wrapping_mul(8)));
        header.bitmap_used.set(used.wrapping_add(words));
        words
    }
}

/// Length of a ladder rounded up to a power of two, at least 64.
#[inline(always)]
const fn places_of(ladder_len: u32) -> u32 {
    let mut below = ladder_len.wrapping_sub(1) | 63;
    below |= below >> 1;
    below |= below >> 2;
    below |= below >> 4;
    below |= below >> 8;
    below |= below >> 16;
    below.wrapping_add(1)
}

/// Highest price of a ladder, or 0 where it is none.
#[inline(always)]
const fn ladder_top(base: u32, len: u32) -> u32 {
    if base == 0 || len == 0 || len > LADDER_LEN_MAX || base > u32::MAX.wrapping_sub(len) {
        0
    } else {
        base.wrapping_add(len).wrapping_sub(1)
    }
}

/// Whether a ladder may end at `top`, which is not 0: its price fits the wire, and the largest order there the amounts.
#[inline(always)]
fn top_is_good(top: u32, tick_size: u32, tick_value: u32, lots_max: u32, taker_ppm: u32) -> bool {
    if top == 0 || u64::from(top).wrapping_mul(u64::from(tick_size)) > u64::from(u32::MAX) {
        return false;
    }
    let price_value = u64::from(top).wrapping_mul(u64::from(tick_value));
    // A hold is at most 1.1 times the price.
    price_value <= AMOUNT_MAX / 2
        && amount_product(
            buy_hold_per_lot(price_value, taker_ppm),
            u64::from(lots_max),
        )
        .is_some()
}

/// Whether these are the bounds of a price band, or none.
#[inline(always)]
pub(crate) const fn is_band(low: u32, high: u32) -> bool {
    (low == 0) == (high == 0) && low <= high
}

/// Whether a listing may begin in a state.
#[inline(always)]
const fn may_begin_in(state: u32) -> bool {
    const STATES: u32 = 1 << State::Closed as u32
        | 1 << State::PreOpen as u32
        | 1 << State::Continuous as u32
        | 1 << State::Halted as u32;
    state < 32 && STATES >> state & 1 != 0
}

/// Whether all eight bytes are printable ASCII.
#[inline(always)]
const fn is_printable(symbol: u64) -> bool {
    let mut rest = symbol;
    let mut good = true;
    let mut index = 0;
    while index < 8 {
        let byte = rest & 0xFF;
        good = good && byte >= 0x20 && byte <= 0x7E;
        rest >>= 8;
        index += 1;
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ladders_take_powers_of_two() {
        for (len, places) in [
            (1, 64),
            (64, 64),
            (65, 128),
            (1000, 1024),
            (1024, 1024),
            (LADDER_LEN_MAX, LADDER_LEN_MAX),
        ] {
            assert_eq!(places_of(len), places);
        }
    }

    #[test]
    fn ladders_end_below_two_to_the_32() {
        assert_eq!(ladder_top(1, 10), 10);
        assert_eq!(ladder_top(u32::MAX - 10, 10), u32::MAX - 1);
        for (base, len) in [
            (0, 10),
            (10, 0),
            (1, LADDER_LEN_MAX + 1),
            (u32::MAX - 9, 10),
        ] {
            assert_eq!(ladder_top(base, len), 0);
        }
    }
}
