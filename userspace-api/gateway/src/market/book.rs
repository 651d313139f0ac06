//! The book of one instrument by price level: a snapshot, then diffs, each with what proves that none is missing.
//!
//! Invariants: `seq` is the sequence of the last record that changed the book; a diff's `prev_seq` is the `seq` of the diff or snapshot before
//! it; no level has zero lots.
//!
//! **Checksum**: CRC-32 (IEEE, as in zlib) of the best [`CHECKSUM_LEVELS`] bids, best first, then as many asks, best first, as text:
//! `price:quantity` of each level, joined by `|`, exactly as they stand in the snapshot. An empty book has the checksum of no bytes, 0.

use crate::venue::Instrument;
use std::collections::{BTreeMap, BTreeSet};

/// Levels of each side that the checksum covers.
pub const CHECKSUM_LEVELS: usize = 10;

/// One side.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum BookSide {
    /// Buyers.
    Bid,
    /// Sellers.
    Ask,
}

impl BookSide {
    pub(super) fn of(letter: u8) -> BookSide {
        if letter == b'B' {
            BookSide::Bid
        } else {
            BookSide::Ask
        }
    }

    pub(super) fn letter(self) -> u8 {
        match self {
            BookSide::Bid => b'B',
            BookSide::Ask => b'S',
        }
    }

    pub(super) fn other_letter(self) -> u8 {
        match self {
            BookSide::Bid => b'S',
            BookSide::Ask => b'B',
        }
    }
}

/// Price and quantity as text; a quantity of `0`: the level is gone.
pub type Level = (String, String);

/// A whole book, or the best of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Picture {
    /// Sequence of the last record that changed it; 0: none did.
    pub seq: u64,
    /// Best first.
    pub bids: Vec<Level>,
    /// Best first.
    pub asks: Vec<Level>,
    /// See the module.
    pub checksum: u32,
}

/// What changed, with the levels as they are now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diff {
    /// Sequence of the last record in it.
    pub seq: u64,
    /// `seq` of what it follows.
    pub prev_seq: u64,
    /// Levels of buyers, the highest price first.
    pub bids: Vec<Level>,
    /// Levels of sellers, the lowest price first.
    pub asks: Vec<Level>,
    /// Of the book with it.
    pub checksum: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Lots by price in ticks.
    bids: BTreeMap<u32, u64>,
    asks: BTreeMap<u32, u64>,
    seq: u64,
    /// `seq` of the last diff or snapshot.
    said: u64,
    changed: BTreeSet<(BookSide, u32)>,
}

impl Book {
    fn side(&self, side: BookSide) -> &BTreeMap<u32, u64> {
        match side {
            BookSide::Bid => &self.bids,
            BookSide::Ask => &self.asks,
        }
    }

    /// Adds lots to a price, or takes them off.
    pub(super) fn change(&mut self, side: BookSide, price: u32, lots: i64, sequence: u64) {
        let levels = match side {
            BookSide::Bid => &mut self.bids,
            BookSide::Ask => &mut self.asks,
        };
        let level = levels.entry(price).or_insert(0);
        *level = level.saturating_add_signed(lots);
        if *level == 0 {
            levels.remove(&price);
        }
        self.seq = sequence;
        self.changed.insert((side, price));
    }

    /// Empties it: the day is new.
    pub(super) fn clear(&mut self, sequence: u64) {
        *self = Book {
            seq: sequence,
            said: sequence,
            ..Book::default()
        };
    }

    pub(super) fn forget_changes(&mut self) {
        self.changed.clear();
        self.said = self.seq;
    }

    /// Sequence of the last record that changed it.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The best level: ticks and lots.
    #[must_use]
    pub fn best(&self, side: BookSide) -> Option<(u32, u64)> {
        let levels = self.side(side);
        let best = match side {
            BookSide::Bid => levels.last_key_value(),
            BookSide::Ask => levels.first_key_value(),
        };
        best.map(|(price, lots)| (*price, *lots))
    }

    fn levels(&self, side: BookSide, instrument: &Instrument, most: usize) -> Vec<Level> {
        let text =
            |(price, lots): (&u32, &u64)| (instrument.price(*price), instrument.quantity(*lots));
        match side {
            BookSide::Bid => self.bids.iter().rev().take(most).map(text).collect(),
            BookSide::Ask => self.asks.iter().take(most).map(text).collect(),
        }
    }

    fn checksum(&self, instrument: &Instrument) -> u32 {
        let [bids, asks] = [BookSide::Bid, BookSide::Ask]
            .map(|side| self.levels(side, instrument, CHECKSUM_LEVELS));
        checksum(&bids, &asks)
    }

    /// The book, or its best `levels`.
    #[must_use]
    pub fn picture(&self, instrument: &Instrument, levels: Option<usize>) -> Picture {
        let most = levels.unwrap_or(usize::MAX);
        Picture {
            seq: self.seq,
            bids: self.levels(BookSide::Bid, instrument, most),
            asks: self.levels(BookSide::Ask, instrument, most),
            checksum: self.checksum(instrument),
        }
    }

    /// What changed since the last time; `None`: nothing.
    pub(super) fn take_diff(&mut self, instrument: &Instrument) -> Option<Diff> {
        if self.changed.is_empty() {
            return None;
        }
        let changed = std::mem::take(&mut self.changed);
        let text = |(side, price): &(BookSide, u32)| {
            let lots = self.side(*side).get(price).copied().unwrap_or(0);
            (instrument.price(*price), instrument.quantity(lots))
        };
        let of = |wanted: BookSide| changed.iter().filter(move |(side, _)| *side == wanted);
        let diff = Diff {
            seq: self.seq,
            prev_seq: self.said,
            bids: of(BookSide::Bid).rev().map(text).collect(),
            asks: of(BookSide::Ask).map(text).collect(),
            checksum: self.checksum(instrument),
        };
        self.said = self.seq;
        Some(diff)
    }
}

/// The checksum of a book's levels, best first; only the first [`CHECKSUM_LEVELS`] of each side count.
#[must_use]
pub fn checksum(bids: &[Level], asks: &[Level]) -> u32 {
    let best = |levels: &[Level]| -> Vec<String> {
        let levels = levels.iter().take(CHECKSUM_LEVELS);
        levels
            .map(|(price, lots)| format!("{price}:{lots}"))
            .collect()
    };
    let text = [best(bids), best(asks)].concat().join("|");
    crc32fast::hash(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_page() {
        let level = |price: &str, lots: &str| (price.to_owned(), lots.to_owned());
        let bids = [level("50000", "0.5"), level("49999", "1")];
        let asks = [level("50001", "0.25")];
        // zlib.crc32(b"50000:0.5|49999:1|50001:0.25")
        assert_eq!(checksum(&bids, &asks), PAGE);
        assert_eq!(checksum(&[], &[]), 0);
    }

    const PAGE: u32 = 3815301184;
}
