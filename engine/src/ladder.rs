//! Price levels of one book of one instrument: a circular array by rank, and bitmaps that find the best.
//!
//! The rank of a price grows from better to worse: in asks, hidden asks and buy stops it is the price itself, in the other books its
//! complement. So every book looks for its lowest rank, and an order crosses while the other side's best rank is at most the rank of its limit
//! there. A rank's place is the rank modulo the ladder's length, a power of two: a moved ladder leaves every level where it is.
//!
//! Invariants, checked by [`Shard::check`](crate::Shard::check): a place's bit is set exactly where its level exists; a bit of a higher bitmap is set
//! exactly where its word below is not zero; `best` is the lowest rank set, or [`NO_RANK`].
//! Cost: add, remove and best touch at most four words, nearly always one.

use crate::shard::{BOOKS, Fault, Instrument, NO_RANK, SELL, Shard, Side};
use core::cell::Cell;

/// Books whose best price is the lowest: asks, hidden asks, buy stops; one bit each.
const ASCENDING: u32 = 1 << SELL | 1 << 3 | 1 << 4;

/// Rank of a price in a book.
#[inline(always)]
pub(crate) const fn rank(book: u32, price: u32) -> u32 {
    if ASCENDING >> (book & 7) & 1 != 0 {
        price
    } else {
        !price
    }
}

/// Price of a rank in a book.
#[inline(always)]
pub(crate) const fn price_of(book: u32, rank_in_book: u32) -> u32 {
    rank(book, rank_in_book) // its own inverse
}

impl Instrument {
    /// Where the levels of a book are.
    #[inline(always)]
    pub(crate) fn side(&self, book: u32) -> &Side {
        let index = if (book as usize) < BOOKS { book } else { 0 };
        &self.sides[index as usize]
    }

    /// Rank of the best price of a book.
    #[inline(always)]
    pub(crate) fn best(&self, book: u32) -> &Cell<u32> {
        let index = if (book as usize) < BOOKS { book } else { 0 };
        &self.best[index as usize]
    }

    /// Whether a price is on the ladder.
    #[inline(always)]
    pub(crate) fn has_price(&self, price: u32) -> bool {
        price.wrapping_sub(self.ladder_base.get()) < self.ladder_len.get()
    }

    /// Highest price of the ladder.
    #[inline(always)]
    pub(crate) fn top(&self) -> u32 {
        self.ladder_base
            .get()
            .wrapping_add(self.ladder_len.get())
            .wrapping_sub(1)
    }

    /// The rank `distance` behind `from`, if the ladder goes as far.
    #[inline(always)]
    fn rank_within(&self, book: u32, from: u32, distance: u32) -> u32 {
        let worst = self.worst(book);
        if from > worst || distance > worst.wrapping_sub(from) {
            NO_RANK
        } else {
            from.wrapping_add(distance)
        }
    }

    /// Worst rank of a book.
    #[inline(always)]
    fn worst(&self, book: u32) -> u32 {
        if ASCENDING >> (book & 7) & 1 != 0 {
            self.top()
        } else {
            !self.ladder_base.get()
        }
    }
}

/// 64-bit de Bruijn number: the product with a single bit has that bit's own number in its top six bits.
const DE_BRUIJN: u64 = 0x03F7_9D71_B4CB_0A89;

/// The table that goes with it, which a region's header carries for the kernel.
pub(crate) const LOWEST_BIT: [u8; 64] = {
    let mut table = [0; 64];
    let mut bit = 0;
    while bit < 64 {
        table[((1_u64 << bit).wrapping_mul(DE_BRUIJN) >> 58) as usize] = bit as u8;
        bit += 1;
    }
    table
};

impl<'a> Shard<'a> {
    /// Number of the lowest set bit of a word that is not zero. BPF has no such instruction.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub(crate) fn lowest_bit(self, word: u64) -> u32 {
        let product = (word & word.wrapping_neg()).wrapping_mul(DE_BRUIJN);
        let table = &self.header().lowest_bit;
        u32::from(table[(product >> 58) as usize & 63].get())
    }

    /// Number of the lowest set bit of a word that is not zero.
    #[cfg(not(target_arch = "bpf"))]
    #[inline(always)]
    pub(crate) fn lowest_bit(self, word: u64) -> u32 {
        word.trailing_zeros()
    }

    /// Level slot at a rank, 0 where there is none.
    #[inline(always)]
    pub(crate) fn ladder_place(self, side: &Side, rank: u32) -> &'a Cell<u32> {
        let place = rank & side.mask.get();
        self.memory
            .at(side.ladder.get().wrapping_add(place.wrapping_mul(4)))
    }

    #[inline(always)]
    fn bits(self, side: &Side, height: usize, word: u32) -> &'a Cell<u64> {
        self.memory
            .at(side.bits[height].get().wrapping_add(word.wrapping_mul(8)))
    }

    /// A word of a bitmap, for checks.
    #[cfg(feature = "std")]
    pub(crate) fn bits_word(self, side: &Side, height: usize, word: u32) -> u64 {
        self.bits(side, height, word).get()
    }

    /// Marks a rank as having a level.
    #[inline(always)]
    pub(crate) fn mark(self, side: &Side, rank: u32) {
        let mut place = rank & side.mask.get();
        let word = self.bits(side, 0, place >> 6);
        let before = word.get();
        word.set(before | 1 << (place & 63));
        if before != 0 {
            return;
        }
        place >>= 6;
        let word = self.bits(side, 1, place >> 6);
        let before = word.get();
        word.set(before | 1 << (place & 63));
        if before != 0 {
            return;
        }
        place >>= 6;
        let word = self.bits(side, 2, place >> 6);
        let before = word.get();
        word.set(before | 1 << (place & 63));
        if before != 0 {
            return;
        }
        place >>= 6;
        let word = self.bits(side, 3, place >> 6);
        word.set(word.get() | 1 << (place & 63));
    }

    /// Takes a rank's mark away.
    #[inline(always)]
    pub(crate) fn unmark(self, side: &Side, rank: u32) {
        let mut place = rank & side.mask.get();
        let word = self.bits(side, 0, place >> 6);
        let after = word.get() & !(1 << (place & 63));
        word.set(after);
        if after != 0 {
            return;
        }
        place >>= 6;
        let word = self.bits(side, 1, place >> 6);
        let after = word.get() & !(1 << (place & 63));
        word.set(after);
        if after != 0 {
            return;
        }
        place >>= 6;
        let word = self.bits(side, 2, place >> 6);
        let after = word.get() & !(1 << (place & 63));
        word.set(after);
        if after != 0 {
            return;
        }
        place >>= 6;
        let word = self.bits(side, 3, place >> 6);
        word.set(word.get() & !(1 << (place & 63)));
    }

    /// Lowest marked rank of a book that is not below `from`, or [`NO_RANK`].
    #[inline(always)]
    pub(crate) fn next_marked(self, index: u32, book: u32, from: u32) -> u32 {
        let instrument = self.instrument(index);
        let side = instrument.side(book);
        let place = from & side.mask.get();
        let word = self.bits(side, 0, place >> 6).get() & (u64::MAX << (place & 63));
        if word != 0 {
            let found = (place & !63) | self.lowest_bit(word);
            return instrument.rank_within(book, from, found.wrapping_sub(place));
        }
        self.next_marked_above(index, book, from)
    }

    /// As [`Shard::next_marked`], where the word of `from` has nothing above it: the rest of the circle.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn next_marked_above(self, index: u32, book: u32, from: u32) -> u32 {
        let instrument = self.instrument(index);
        let side = instrument.side(book);
        let mask = side.mask.get();
        let place = from & mask;
        let mut found = self.marked_place(side, (place | 63).wrapping_add(1));
        if found == NO_RANK {
            found = self.marked_place(side, 0);
        }
        if found == NO_RANK {
            return NO_RANK;
        }
        instrument.rank_within(book, from, found.wrapping_sub(place) & mask)
    }

    /// First marked place of a side from `place` on, which begins a word, to its end; or [`NO_RANK`].
    #[inline(always)]
    pub(crate) fn marked_place(self, side: &Side, place: u32) -> u32 {
        let words = side.mask.get().wrapping_add(1) >> 6;
        let place = place >> 6;
        if place >= words {
            return NO_RANK;
        }
        let word = self.bits(side, 1, place >> 6).get() & (u64::MAX << (place & 63));
        if word != 0 {
            return self.descend1(side, (place & !63) | self.lowest_bit(word));
        }
        let words = words.wrapping_add(63) >> 6;
        let place = (place >> 6).wrapping_add(1);
        if place >= words {
            return NO_RANK;
        }
        let word = self.bits(side, 2, place >> 6).get() & (u64::MAX << (place & 63));
        if word != 0 {
            return self.descend2(side, (place & !63) | self.lowest_bit(word));
        }
        let words = words.wrapping_add(63) >> 6;
        let place = (place >> 6).wrapping_add(1);
        if place >= words {
            return NO_RANK;
        }
        let word = self.bits(side, 3, place >> 6).get() & (u64::MAX << (place & 63));
        if word == 0 {
            return NO_RANK;
        }
        let place = (place & !63) | self.lowest_bit(word);
        let word = self.bits(side, 2, place).get();
        self.ensure(word != 0, Fault::EmptyLevel);
        self.descend2(side, place << 6 | self.lowest_bit(word))
    }

    #[inline(always)]
    fn descend2(self, side: &Side, place: u32) -> u32 {
        let word = self.bits(side, 1, place).get();
        self.ensure(word != 0, Fault::EmptyLevel);
        self.descend1(side, place << 6 | self.lowest_bit(word))
    }

    #[inline(always)]
    fn descend1(self, side: &Side, place: u32) -> u32 {
        let word = self.bits(side, 0, place).get();
        self.ensure(word != 0, Fault::EmptyLevel);
        place << 6 | self.lowest_bit(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_finds_the_lowest_bit() {
        for bit in 0..64 {
            for above in [0, 1, u64::MAX] {
                let word = (1_u64 << bit) | above.checked_shl(bit + 1).unwrap_or(0);
                let product = (word & word.wrapping_neg()).wrapping_mul(DE_BRUIJN);
                assert_eq!(u32::from(LOWEST_BIT[(product >> 58) as usize]), bit);
            }
        }
    }
}
