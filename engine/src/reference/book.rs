//! The six books and the peg queues of an instrument: who joins, who leaves, who comes first.
//! Rule: `docs/matching.md#books-and-who-comes-first`.

use super::Reference;
use super::order::{
    BOOKS, Order, Stand, displayed_book, hidden_book, highest_first, opposite, prices_cross,
    side_number,
};
use super::peg::{Queue, Quote, peg_price};
use super::step::Task;
use crate::Reason;
use crate::control::List;
use crate::limits::PEG_QUEUES_MAX;
use crate::record::{Removal, State};
use ring0_wire::message::{BUY, SELL};
use std::collections::BTreeMap;

/// Order ids by price in ticks, in the order in which they joined; no list is empty.
pub(super) type Levels = BTreeMap<u32, Vec<u64>>;

/// A listed instrument.
#[derive(Clone)]
pub(super) struct Instrument {
    /// As listed, but for the band and the ladder, which later commands change; its `state` is where it began.
    pub(super) list: List,
    pub(super) state: State,
    pub(super) dynamic_ticks: u32,
    pub(super) fat_ticks: u32,
    pub(super) pause_ticks: u32,
    /// Reference price as set, 0: none.
    pub(super) reference: u32,
    /// Last trade, 0: none.
    pub(super) last: u32,
    /// Price of the last auction that traded, 0: none.
    pub(super) auction: u32,
    /// Prices within which a trade does not pause; both 0: all.
    pub(super) pause_low: u32,
    pub(super) pause_high: u32,
    /// By number of the book.
    pub(super) books: [Levels; BOOKS],
    /// Peg queues of buys and of sells, as made.
    pub(super) pegs: [Vec<Queue>; 2],
    /// Pending work, which freezes the instrument.
    pub(super) work: Option<Task>,
}

impl Instrument {
    /// The levels of a book, the first to trade or to be triggered first.
    pub(super) fn best_first(&self, book: usize) -> Box<dyn Iterator<Item = (u32, &[u64])> + '_> {
        let levels = self.books[book].iter();
        let levels = levels.map(|(&price, ids)| (price, ids.as_slice()));
        if highest_first(book) {
            Box::new(levels.rev())
        } else {
            Box::new(levels)
        }
    }

    /// Price and ids of the first level of a book.
    pub(super) fn first_level(&self, book: usize) -> Option<(u32, &[u64])> {
        self.best_first(book).next()
    }

    /// The queue of a stand that is one.
    pub(super) fn queue_place(&self, stand: Stand) -> Option<usize> {
        let Stand::Queue(side, peg, limit) = stand else {
            return None;
        };
        let queues = &self.pegs[side_number(side)];
        queues.iter().position(|q| q.peg == peg && q.limit == limit)
    }

    /// The orders of a level or queue, if it exists.
    pub(super) fn ids_at(&self, stand: Stand) -> Option<&Vec<u64>> {
        match stand {
            Stand::Level(book, price) => self.books[book].get(&price),
            Stand::Queue(side, ..) => {
                let place = self.queue_place(stand)?;
                Some(&self.pegs[side_number(side)][place].ids)
            }
        }
    }

    /// Last trade, without one the reference price as set, without either 0.
    pub(super) fn reference_price(&self) -> u32 {
        if self.last != 0 {
            self.last
        } else {
            self.reference
        }
    }

    /// Whether orders are collected for an auction.
    pub(super) fn collects(&self) -> bool {
        use State::{ClosingAuction, OpeningAuction, PreOpen, VolatilityPause};
        matches!(
            self.state,
            PreOpen | OpeningAuction | VolatilityPause | ClosingAuction
        )
    }

    /// Best price and first order of a side without its pegs, a displayed order before a hidden one.
    pub(super) fn first_but_pegs(&self, side: u8) -> Option<(u32, u64)> {
        let displayed = self.first_level(displayed_book(side));
        let hidden = self.first_level(hidden_book(side));
        let (price, ids) = match (displayed, hidden) {
            (Some(displayed), Some(hidden)) => {
                let hidden_is_better =
                    displayed.0 != hidden.0 && prices_cross(opposite(side), displayed.0, hidden.0);
                if hidden_is_better { hidden } else { displayed }
            }
            (displayed, hidden) => displayed.or(hidden)?,
        };
        Some((price, ids[0]))
    }

    /// Whether the best bid meets the best ask, displayed or hidden.
    pub(super) fn is_crossed(&self) -> bool {
        let bid = self.first_but_pegs(BUY);
        let ask = self.first_but_pegs(SELL);
        bid.zip(ask).is_some_and(|(bid, ask)| bid.0 >= ask.0)
    }

    /// Price and orders of every peg queue of a side that has a price.
    pub(super) fn priced_queues(&self, side: u8, quote: Quote) -> Vec<(u32, &[u64])> {
        let queues = self.pegs[side_number(side)].iter();
        let priced = queues.filter_map(|q| {
            let price = peg_price(&self.list, side, q.peg, q.limit, quote)?;
            Some((price, q.ids.as_slice()))
        });
        priced.collect()
    }

    /// Best price of a side: of its displayed and hidden levels and its priced pegs.
    pub(super) fn best_price(&self, side: u8, quote: Quote) -> Option<u32> {
        let pegs = self.priced_queues(side, quote);
        let prices = pegs.iter().map(|(price, _)| *price);
        let prices = prices.chain(self.first_but_pegs(side).map(|(price, _)| price));
        if side == BUY {
            prices.max()
        } else {
            prices.min()
        }
    }

    /// Price and id of the next maker of a side.
    pub(super) fn next_maker(&self, side: u8, quote: Quote) -> Option<(u32, u64)> {
        let best = self.best_price(side, quote)?;
        if let Some(ids) = self.books[displayed_book(side)].get(&best) {
            return Some((best, ids[0]));
        }
        let hidden = self.books[hidden_book(side)].get(&best);
        let hidden = hidden.into_iter().map(Vec::as_slice);
        let pegs = self.priced_queues(side, quote).into_iter();
        let pegs = pegs.filter(|(price, _)| *price == best).map(|(_, ids)| ids);
        let lowest = hidden.chain(pegs).map(|ids| ids[0]).min();
        Some((best, lowest.expect("the best price is somebody's")))
    }
}

impl Reference {
    /// Enter 32, with `without` counted as gone.
    pub(super) fn room_in_book(
        &self,
        order: &Order,
        without: Option<&Order>,
    ) -> Result<(), Reason> {
        let instrument = self.instrument(order.instrument);
        let stand = order.stand();
        // The level or queue that is gone with the last of its orders.
        let emptied = without.map(Order::stand).filter(|&stand| {
            let ids = instrument.ids_at(stand);
            ids.is_some_and(|ids| ids.len() == 1)
        });
        if instrument.ids_at(stand).is_some() && emptied != Some(stand) {
            return Ok(());
        }
        if let Stand::Queue(side, ..) = stand {
            let queues = instrument.pegs[side_number(side)].len() as u32;
            let fewer = matches!(emptied, Some(Stand::Queue(s, ..)) if s == side);
            if queues - u32::from(fewer) >= PEG_QUEUES_MAX {
                return Err(Reason::PegsFull);
            }
        }
        if self.levels_count - u32::from(emptied.is_some()) < self.capacity.levels {
            Ok(())
        } else {
            Err(Reason::LevelsFull)
        }
    }

    /// An order, live or not, joins its book: `Rested` or `Armed`.
    pub(super) fn join(&mut self, mut order: Order) {
        if !order.waits() {
            order.slice = order.peak.min(order.open);
        }
        self.remember(order);
        let stand = order.stand();
        let instrument = self.instrument_mut(order.instrument);
        if instrument.ids_at(stand).is_none() {
            match stand {
                Stand::Level(book, price) => {
                    instrument.books[book].insert(price, Vec::new());
                }
                Stand::Queue(side, peg, limit) => {
                    let ids = Vec::new();
                    instrument.pegs[side_number(side)].push(Queue { peg, limit, ids });
                }
            }
            self.levels_count += 1;
        }
        self.ids_mut(order.instrument, stand).push(order.id);
        self.await_expiry(&order);
        if order.waits() {
            self.armed(&order);
        } else {
            self.rested(&order);
        }
    }

    /// An order is taken out of its level or queue; it stays live.
    pub(super) fn leave_book(&mut self, order: &Order) {
        self.purge_goes_past(order);
        let stand = order.stand();
        let ids = self.ids_mut(order.instrument, stand);
        let place = ids.iter().position(|&id| id == order.id);
        ids.remove(place.expect("it stands where its terms say"));
        if !ids.is_empty() {
            return;
        }
        let instrument = self.instrument_mut(order.instrument);
        match stand {
            Stand::Level(book, price) => {
                instrument.books[book].remove(&price);
            }
            Stand::Queue(side, ..) => {
                let place = instrument.queue_place(stand).expect("an order had a queue");
                instrument.pegs[side_number(side)].remove(place);
            }
        }
        self.levels_count -= 1;
    }

    /// An iceberg's new slice goes to the end of its level: `Refilled`.
    fn refill(&mut self, id: u64) {
        let order = self.order_mut(id);
        order.slice = order.peak.min(order.open);
        let order = *order;
        let ids = self.ids_mut(order.instrument, order.stand());
        ids.retain(|&there| there != id);
        ids.push(id);
        self.refilled(&order);
    }

    /// Lots are taken off an order in a book that a fill or prevention met.
    pub(super) fn take_lots(&mut self, id: u64, lots: u32) {
        let order = self.order_mut(id);
        order.open -= lots;
        if order.peak != 0 {
            order.slice -= lots;
        }
        let order = *order;
        if order.open == 0 {
            self.leave_book(&order);
            self.forget(&order);
        } else if order.peak != 0 && order.slice == 0 {
            self.refill(id);
        }
    }

    /// An order in a book is cancelled, a stop that waits too: `Removed`.
    pub(super) fn remove(&mut self, order: &Order, removal: Removal) {
        self.leave_book(order);
        self.release(order, order.open);
        self.forget(order);
        self.removed(order, removal, !order.waits());
    }

    /// What is left of an order that is in no book ends: `Removed`, not rested.
    pub(super) fn discard(&mut self, order: &Order, removal: Removal) {
        self.release(order, order.open);
        if self.orders.contains_key(&order.id) {
            self.forget(order);
        }
        self.removed(order, removal, false);
    }

    /// Why an order is leaving, if it is.
    pub(super) fn leaving(&self, order: &Order) -> Option<Removal> {
        let session = self.session(order.session).mass.as_ref();
        let account = self.account(order.account).mass.as_ref();
        if let Some(mass) = session.filter(|mass| mass.names(order)) {
            return Some(mass.removal);
        }
        if let Some(mass) = account.filter(|mass| mass.names(order)) {
            return Some(mass.removal);
        }
        let expires = order.expiry != 0 && order.expiry <= self.second;
        (expires && self.expiry_pends()).then_some(Removal::Expired)
    }

    /// The best `levels` displayed of a side (`B` or `S`): price in ticks, lots displayed, orders.
    #[must_use]
    pub fn depth(&self, instrument: u32, side: u8, levels: usize) -> Vec<(u32, u64, u32)> {
        let book = displayed_book(side);
        let best = self.instrument(instrument).best_first(book).take(levels);
        best.map(|(price, ids)| (price, self.lots_of(book, ids), ids.len() as u32))
            .collect()
    }

    /// Lots of a level: in a displayed book the displayed ones, else the open ones.
    pub(super) fn lots_of(&self, book: usize, ids: &[u64]) -> u64 {
        let displayed = book < 2;
        let lots = ids.iter().map(|id| {
            let order = &self.orders[id];
            u64::from(if displayed { order.shown() } else { order.open })
        });
        lots.sum()
    }

    fn ids_mut(&mut self, at: u32, stand: Stand) -> &mut Vec<u64> {
        let instrument = self.instrument_mut(at);
        match stand {
            Stand::Level(book, price) => instrument.books[book].get_mut(&price),
            Stand::Queue(side, ..) => {
                let place = instrument.queue_place(stand);
                place.map(|place| &mut instrument.pegs[side_number(side)][place].ids)
            }
        }
        .expect("an order in a book has a level or queue")
    }
}
