//! Pegs: their queues, and the price that a moving book gives them.
//! Rule: `docs/matching.md#books-and-who-comes-first`.

use super::Reference;
use super::money::top_of;
use crate::control::List;
use ring0_wire::message::{BUY, PEG_PRIMARY};

/// Kind and offset of a peg.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Peg {
    /// `P` or `M`.
    pub(super) kind: u8,
    /// In ticks.
    pub(super) offset: i8,
}

/// Pegs of one kind, offset and limit on one side, in the order in which they joined it.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) peg: Peg,
    /// In ticks.
    pub(super) limit: u32,
    pub(super) ids: Vec<u64>,
}

/// The best displayed prices from which pegs are priced; they stay for the whole of a sweep.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Quote {
    pub(super) bid: Option<u32>,
    pub(super) ask: Option<u32>,
}

/// The price of a peg with this limit, if it has one.
pub(super) fn peg_price(list: &List, side: u8, peg: Peg, limit: u32, quote: Quote) -> Option<u32> {
    let bid = quote.bid.map(i64::from);
    let ask = quote.ask.map(i64::from);
    let (limit, offset) = (i64::from(limit), i64::from(peg.offset));
    let price = if side == BUY {
        let pegged = match peg.kind {
            PEG_PRIMARY => bid?,
            _ => (ask? + bid?).div_euclid(2),
        };
        let not_crossing = ask.map_or(i64::MAX, |ask| ask - 1);
        limit.min(not_crossing).min(pegged + offset)
    } else {
        let pegged = match peg.kind {
            PEG_PRIMARY => ask?,
            _ => (ask? + bid? + 1).div_euclid(2),
        };
        let not_crossing = bid.map_or(i64::MIN, |bid| bid + 1);
        limit.max(not_crossing).max(pegged - offset)
    };
    let on_ladder = price >= i64::from(list.ladder_base) && price <= i64::from(top_of(list));
    on_ladder.then(|| u32::try_from(price).expect("a ladder's price"))
}

impl Reference {
    /// The best displayed prices as they are now.
    pub(super) fn quote(&self, at: u32) -> Quote {
        let instrument = self.instrument(at);
        Quote {
            bid: instrument.books[0].keys().next_back().copied(),
            ask: instrument.books[1].keys().next().copied(),
        }
    }
}
