//! The generator's books: exact price-time priority, one ladder per symbol.
//!
//! What is always true: orders of a level are linked oldest first; a bit of a ladder is set exactly
//! when its level holds an order; `live` holds every resting order once. No bid of a symbol is at
//! or above an ask of it.
//! Cost: each operation is O(1) per order touched; finding the best price reads a summary word for each 4,096 prices and one more.

use std::ops::Range;

use crate::Side;

use super::Checksum;
/// An order number that no order has.
const NONE: u32 = 0;

/// An order, at the place of its number. One with `qty` 0 does not rest.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) price_ticks: u32,
    pub(super) qty: u32,
    pub(super) symbol: u16,
    pub(super) side: Side,
    /// Neighbours in the level, or [`NONE`].
    older: u32,
    newer: u32,
    /// Place in `live`.
    place: u32,
}

/// At a place whose number no order has yet.
const NO_ORDER: Order = Order {
    price_ticks: 0,
    qty: 0,
    symbol: 0,
    side: Side::Buy,
    older: NONE,
    newer: NONE,
    place: 0,
};

/// One trade of an order that enters, at the maker's price.
pub(super) struct Fill {
    /// Number of the resting order.
    pub(super) maker: u32,
    /// Quantity.
    pub(super) qty: u32,
}

#[derive(Clone, Copy)]
struct Level {
    oldest: u32,
    newest: u32,
}

/// One side of one symbol.
struct Ladder {
    /// Lowest price, in ticks.
    base: u32,
    levels: Vec<Level>,
    /// A bit for each level in use.
    words: Vec<u64>,
    /// A bit for each word in use.
    summary: Vec<u64>,
}

impl Ladder {
    fn new(prices: &Range<u32>) -> Self {
        let empty = Level {
            oldest: NONE,
            newest: NONE,
        };
        let words = prices.len().div_ceil(64);
        Self {
            base: prices.start,
            levels: vec![empty; prices.len()],
            words: vec![0; words],
            summary: vec![0; words.div_ceil(64)],
        }
    }

    fn highest(&self) -> Option<u32> {
        let top = self.summary.iter().rposition(|&summary| summary != 0)?;
        let word = top * 64 + 63 - self.summary[top].leading_zeros() as usize;
        let step = word * 64 + 63 - self.words[word].leading_zeros() as usize;
        Some(self.base + step as u32)
    }

    fn lowest(&self) -> Option<u32> {
        let top = self.summary.iter().position(|&summary| summary != 0)?;
        let word = top * 64 + self.summary[top].trailing_zeros() as usize;
        let step = word * 64 + self.words[word].trailing_zeros() as usize;
        Some(self.base + step as u32)
    }

    /// Place of a price.
    fn step(&self, price_ticks: u32) -> usize {
        (price_ticks - self.base) as usize
    }

    fn set(&mut self, step: usize) {
        self.words[step / 64] |= 1 << (step % 64);
        self.summary[step / 4_096] |= 1 << (step / 64 % 64);
    }

    fn clear(&mut self, step: usize) {
        self.words[step / 64] &= !(1 << (step % 64));
        if self.words[step / 64] == 0 {
            self.summary[step / 4_096] &= !(1 << (step / 64 % 64));
        }
    }
}

/// The books of all symbols.
pub(super) struct Books {
    /// By symbol, then by side.
    ladders: Vec<[Ladder; 2]>,
    /// By number; place 0 is no order.
    orders: Vec<Order>,
    live: Vec<u32>,
    peak_live: usize,
    checksum: Checksum,
}

impl Books {
    /// For these prices, in ticks.
    pub(super) fn new(symbols: u32, prices: Range<u32>) -> Self {
        Self {
            ladders: (0..symbols)
                .map(|_| [Ladder::new(&prices), Ladder::new(&prices)])
                .collect(),
            orders: vec![NO_ORDER],
            live: Vec::new(),
            peak_live: 0,
            checksum: Checksum::new(),
        }
    }

    /// Best price of a side.
    pub(super) fn best(&self, symbol: u16, side: Side) -> Option<u32> {
        let ladder = &self.ladders[usize::from(symbol)][side.index()];
        match side {
            Side::Buy => ladder.highest(),
            Side::Sell => ladder.lowest(),
        }
    }

    /// Number of the last order that entered.
    pub(super) fn last_id(&self) -> u32 {
        u32::try_from(self.orders.len() - 1).expect("an order per record, and RECORDS_MAX of them")
    }

    pub(super) fn order(&self, id: u32) -> &Order {
        &self.orders[id as usize]
    }

    /// Numbers of the orders that rest, in no order that means anything.
    pub(super) fn live(&self) -> &[u32] {
        &self.live
    }

    /// Most orders that rested after a record.
    pub(super) fn peak_live(&self) -> usize {
        self.peak_live
    }

    pub(super) fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// Enters an order under the next number: it trades while it crosses, then the rest rests.
    pub(super) fn enter(&mut self, symbol: u16, side: Side, price_ticks: u32, qty: u32) -> u32 {
        self.orders.push(NO_ORDER);
        let id = self.last_id();
        self.enter_as(id, symbol, side, price_ticks, qty, |_| {});
        id
    }

    /// Makes room for orders up to this number, to be entered with [`Books::enter_as`] in any sequence.
    pub(super) fn reserve(&mut self, id: u32) {
        self.orders.resize(id as usize + 1, NO_ORDER);
    }

    /// Enters an order under a number that has room and was not used; `on_fill` sees its fills.
    pub(super) fn enter_as(
        &mut self,
        id: u32,
        symbol: u16,
        side: Side,
        price_ticks: u32,
        qty: u32,
        on_fill: impl FnMut(Fill),
    ) {
        assert!(qty > 0, "an order of nothing would print trades of nothing");
        self.orders[id as usize] = Order {
            price_ticks,
            qty,
            symbol,
            side,
            ..NO_ORDER
        };
        self.sweep(id, on_fill);
        if self.orders[id as usize].qty > 0 {
            self.rest(id);
        }
        self.peak_live = self.peak_live.max(self.live.len());
    }

    pub(super) fn cancel(&mut self, id: u32) {
        assert!(self.order(id).qty > 0, "a cancel names a live order");
        self.remove(id);
    }

    fn sweep(&mut self, taker: u32, mut on_fill: impl FnMut(Fill)) {
        let Order {
            price_ticks: limit,
            mut qty,
            symbol,
            side,
            ..
        } = self.orders[taker as usize];
        let opposite = side.opposite();
        while qty > 0 {
            let Some(price) = self.best(symbol, opposite) else {
                break;
            };
            let crosses = match side {
                Side::Buy => price <= limit,
                Side::Sell => price >= limit,
            };
            if !crosses {
                break;
            }
            let ladder = &self.ladders[usize::from(symbol)][opposite.index()];
            let maker = ladder.levels[ladder.step(price)].oldest;
            let open = self.orders[maker as usize].qty;
            let fill = qty.min(open);
            self.checksum.trade(maker.into(), taker.into(), price, fill);
            on_fill(Fill { maker, qty: fill });
            qty -= fill;
            if fill == open {
                self.remove(maker);
            } else {
                self.orders[maker as usize].qty -= fill;
            }
        }
        self.orders[taker as usize].qty = qty;
    }

    /// Puts an order at the end of its level.
    fn rest(&mut self, id: u32) {
        let Order {
            price_ticks,
            symbol,
            side,
            ..
        } = self.orders[id as usize];
        let ladder = &mut self.ladders[usize::from(symbol)][side.index()];
        let step = ladder.step(price_ticks);
        let older = ladder.levels[step].newest;
        ladder.levels[step].newest = id;
        if older == NONE {
            ladder.levels[step].oldest = id;
            ladder.set(step);
        } else {
            self.orders[older as usize].newer = id;
        }
        let order = &mut self.orders[id as usize];
        order.older = older;
        order.place = u32::try_from(self.live.len()).expect("fewer rest than entered");
        self.live.push(id);
    }

    /// Takes an order that rests out of its level and out of `live`.
    fn remove(&mut self, id: u32) {
        let Order {
            price_ticks,
            symbol,
            side,
            older,
            newer,
            place,
            ..
        } = self.orders[id as usize];
        let ladder = &mut self.ladders[usize::from(symbol)][side.index()];
        let step = ladder.step(price_ticks);
        if older == NONE {
            ladder.levels[step].oldest = newer;
        } else {
            self.orders[older as usize].newer = newer;
        }
        if newer == NONE {
            ladder.levels[step].newest = older;
        } else {
            self.orders[newer as usize].older = older;
        }
        if ladder.levels[step].oldest == NONE {
            ladder.clear(step);
        }
        self.orders[id as usize].qty = 0;
        assert_eq!(
            self.live.swap_remove(place as usize),
            id,
            "a resting order knows its place"
        );
        if let Some(&moved) = self.live.get(place as usize) {
            self.orders[moved as usize].place = place;
        }
    }
}
