//! One order: coming in, waiting, in a book, or sweeping on.

use super::peg::Peg;
use ring0_wire::message::{BUY, SELL};

/// An order with everything that was said of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) session: u32,
    pub(super) account: u32,
    pub(super) reference: u32,
    pub(super) instrument: u32,
    /// `B` or `S`.
    pub(super) side: u8,
    /// Limit in ticks; of a market order its protection.
    pub(super) price: u32,
    /// Lots.
    pub(super) open: u32,
    /// Lots filled since it came in under this id.
    pub(super) executed: u32,
    /// Lots of an iceberg's slice that are left; else 0.
    pub(super) slice: u32,
    /// Lots of an iceberg's slice when it is new; 0: no iceberg.
    pub(super) peak: u32,
    /// Trigger in ticks of a stop that waits; else 0.
    pub(super) trigger: u32,
    /// Second of the day at which a good-till-time order goes; else 0.
    pub(super) expiry: u32,
    pub(super) peg: Option<Peg>,
    /// Self-trade mode, 0 to 4.
    pub(super) self_trade: u8,
    /// It came with a trade group.
    pub(super) by_group: bool,
    pub(super) post_only: bool,
    pub(super) slides: bool,
    /// IOC, FOK or market: never rests.
    pub(super) immediate: bool,
    pub(super) hidden: bool,
    pub(super) good_till_cancel: bool,
}

/// Where an order stands when it has joined its book.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stand {
    /// A level of one of the six books.
    Level(usize, u32),
    /// The queue of these pegs with this limit on this side.
    Queue(u8, Peg, u32),
}

/// Numbers of the books: displayed bids, displayed asks, hidden bids, hidden asks, buy stops, sell stops.
pub(super) const BOOKS: usize = 6;
const DISPLAYED: usize = 0;
const HIDDEN: usize = 2;
const STOPS: usize = 4;

/// 0 buy, 1 sell.
pub(super) fn side_number(side: u8) -> usize {
    usize::from(side != BUY)
}

pub(super) fn displayed_book(side: u8) -> usize {
    DISPLAYED + side_number(side)
}

pub(super) fn hidden_book(side: u8) -> usize {
    HIDDEN + side_number(side)
}

pub(super) fn stop_book(side: u8) -> usize {
    STOPS + side_number(side)
}

/// Whether the first level of a book is the one with the highest price: of bids, and of sell stops, which a falling
/// price triggers from the top.
pub(super) fn highest_first(book: usize) -> bool {
    matches!(book, 0 | 2 | 5)
}

pub(super) fn opposite(side: u8) -> u8 {
    if side == BUY { SELL } else { BUY }
}

/// Whether an order of this side at this price would trade with an opposite one at that.
pub(super) fn prices_cross(side: u8, price: u32, opposite: u32) -> bool {
    if side == BUY {
        opposite <= price
    } else {
        opposite >= price
    }
}

impl Order {
    /// It is a stop and waits for its trigger.
    pub(super) fn waits(&self) -> bool {
        self.trigger != 0
    }

    /// Where it stands, or will when it joins its book.
    pub(super) fn stand(&self) -> Stand {
        if self.waits() {
            Stand::Level(stop_book(self.side), self.trigger)
        } else if let Some(peg) = self.peg {
            Stand::Queue(self.side, peg, self.price)
        } else if self.hidden {
            Stand::Level(hidden_book(self.side), self.price)
        } else {
            Stand::Level(displayed_book(self.side), self.price)
        }
    }

    /// Whether it stands in a displayed book, or will.
    pub(super) fn is_displayed(&self) -> bool {
        !self.waits() && self.peg.is_none() && !self.hidden
    }

    /// Lots displayed where it stands.
    pub(super) fn shown(&self) -> u32 {
        match (self.is_displayed(), self.peak) {
            (false, _) => 0,
            (true, 0) => self.open,
            (true, _) => self.slice,
        }
    }

    /// Lots that one fill can take at the most: the slice of an iceberg, else all.
    pub(super) fn offered(&self) -> u32 {
        if self.peak == 0 {
            self.open
        } else {
            self.slice
        }
    }

    /// As records and the state hash have them.
    pub(super) fn flags(&self) -> u32 {
        let flags = [
            (self.post_only, 1),
            (self.immediate, 1 << 2),
            (self.hidden, 1 << 4),
            (self.peak != 0, 1 << 5),
            (self.slides, 1 << 6),
            (self.waits(), 1 << 7),
            (self.good_till_cancel, 1 << 8),
            (self.expiry != 0, 1 << 9),
            (self.peg.is_some(), 1 << 10),
        ];
        flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, bit)| bit)
            .sum()
    }
}
