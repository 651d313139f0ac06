//! Purges: all orders of an instrument are visited, and those that a control command named are taken away.
//! Rule: `docs/matching.md#control-commands`, the paragraph on a purge.

use super::listing::is_good;
use super::money::is_on_ladder;
use super::order::{BOOKS, Order, Stand, side_number};
use super::step::{Pending, Task};
use super::{Done, Reference, locate_of};
use crate::Reason;
use crate::control::{Clear, List, MoveLadder};
use crate::limits::CANCELS_MAX;
use crate::record::{Outcome, Removal, State, Work};
use ring0_wire::message::{BOTH, BUY, SELL};

/// Which orders go, and where it has come to.
#[derive(Clone, Copy)]
pub(super) struct Purge {
    /// Says also which command began it.
    pub(super) removal: Removal,
    /// `B`, `S` or a space; a space but in a `Clear`.
    pub(super) side: u8,
    /// 0 to 5 the six books, 6 the pegs of buys, 7 those of sells, 8 behind them.
    pub(super) book: usize,
    /// The order visited next; 0: the first of that book.
    pub(super) next: u64,
    /// The new ladder of a `MoveLadder`, else 0.
    pub(super) base: u32,
    pub(super) len: u32,
}

/// Books and peg queues that a purge goes through.
const PURGED: usize = BOOKS + 2;

impl Purge {
    fn of_all(removal: Removal) -> Purge {
        Purge {
            removal,
            side: BOTH,
            book: 0,
            next: 0,
            base: 0,
            len: 0,
        }
    }

    fn takes(&self, order: &Order, list: &List) -> bool {
        match self.removal {
            Removal::DayEnd => !order.good_till_cancel,
            Removal::OffLadder => {
                let moved = List {
                    ladder_base: self.base,
                    ladder_len: self.len,
                    ..*list
                };
                let trigger_is_off = order.waits() && !is_on_ladder(&moved, order.trigger);
                !is_on_ladder(&moved, order.price) || trigger_is_off
            }
            _ => self.side == BOTH || self.side == order.side,
        }
    }
}

impl Reference {
    pub(super) fn clear(&mut self, body: Clear) -> Result<Outcome, Reason> {
        let at = self.target_instrument(body.instrument)?;
        self.is_idle(at)?;
        let sides = [BUY, SELL, BOTH];
        let side = sides.into_iter().find(|&s| u32::from(s) == body.side);
        let side = side.ok_or(Reason::BadSetting)?;
        let all = Purge::of_all(Removal::Operator);
        Ok(self.begin_purge(at, Purge { side, ..all }))
    }

    pub(super) fn close_day(&mut self, instrument: u32) -> Result<Outcome, Reason> {
        let at = self.idle_and_closed(instrument)?;
        Ok(self.begin_purge(at, Purge::of_all(Removal::DayEnd)))
    }

    pub(super) fn delist(&mut self, instrument: u32) -> Result<Outcome, Reason> {
        let at = self.idle_and_closed(instrument)?;
        Ok(self.begin_purge(at, Purge::of_all(Removal::Delisted)))
    }

    pub(super) fn move_ladder(&mut self, body: MoveLadder) -> Result<Outcome, Reason> {
        let at = self.target_instrument(body.instrument)?;
        self.is_idle(at)?;
        let instrument = self.instrument(at);
        if !matches!(instrument.state, State::Closed | State::Halted) {
            return Err(Reason::BadState);
        }
        let moved = List {
            ladder_base: body.ladder_base,
            ladder_len: body.ladder_len,
            ..instrument.list
        };
        if !is_good(&moved) {
            return Err(Reason::BadListing);
        }
        if u64::from(body.ladder_len) > self.ladders[&at] {
            return Err(Reason::LadderFull);
        }
        let purge = Purge {
            base: body.ladder_base,
            len: body.ladder_len,
            ..Purge::of_all(Removal::OffLadder)
        };
        Ok(self.begin_purge(at, purge))
    }

    fn idle_and_closed(&self, instrument: u32) -> Result<u32, Reason> {
        let at = self.target_instrument(instrument)?;
        self.is_idle(at)?;
        match self.instrument(at).state {
            State::Closed => Ok(at),
            _ => Err(Reason::BadState),
        }
    }

    fn begin_purge(&mut self, at: u32, purge: Purge) -> Outcome {
        self.instrument_mut(at).work = Some(Task::Purge(purge));
        self.queue(Pending::Instrument(at));
        Outcome::Continues
    }

    pub(super) fn purge_step(&mut self, at: u32, mut purge: Purge) {
        let sequence = self.next();
        let mut removed = 0;
        let mut visits = 0;
        let outcome = loop {
            if visits == CANCELS_MAX {
                break Outcome::Continues;
            }
            let Some(id) = self.next_of_purge(at, &mut purge) else {
                break self.purge_ends(at, &purge);
            };
            visits += 1;
            let order = self.orders[&id];
            (purge.book, purge.next) = self.behind(&order);
            self.instrument_mut(at).work = Some(Task::Purge(purge));
            if purge.takes(&order, &self.instrument(at).list) {
                self.remove(&order, purge.removal);
                removed += 1;
            }
        };
        let done = Done {
            outcome,
            quantity: removed,
        };
        self.publish_step(sequence, locate_of(at), (0, 0), Work::Purge, done);
    }

    /// The order visited next, going on to the next book that has any.
    fn next_of_purge(&self, at: u32, purge: &mut Purge) -> Option<u64> {
        while purge.book < PURGED {
            if purge.next != 0 {
                return Some(purge.next);
            }
            if let Some(&first) = self.purged_book(at, purge.book).first() {
                return Some(first);
            }
            purge.book += 1;
        }
        None
    }

    /// The orders of one of the books that a purge goes through, in the order in which it does.
    fn purged_book(&self, at: u32, book: usize) -> Vec<u64> {
        let instrument = self.instrument(at);
        let ids: Vec<&[u64]> = if book < BOOKS {
            instrument.best_first(book).map(|(_, ids)| ids).collect()
        } else {
            let queues = instrument.pegs[book - BOOKS].iter();
            queues.map(|queue| queue.ids.as_slice()).collect()
        };
        ids.concat()
    }

    /// Where a purge stands behind an order: the one after it in its book, else the book after that.
    fn behind(&self, order: &Order) -> (usize, u64) {
        let book = match order.stand() {
            Stand::Level(book, _) => book,
            Stand::Queue(side, ..) => BOOKS + side_number(side),
        };
        let ids = self.purged_book(order.instrument, book);
        let place = ids.iter().position(|&id| id == order.id);
        match ids.get(place.expect("it stands in its book") + 1) {
            Some(&next) => (book, next),
            None => (book + 1, 0),
        }
    }

    /// An order is about to leave its book: a purge that would visit it next goes past it.
    pub(super) fn purge_goes_past(&mut self, order: &Order) {
        let Some(Task::Purge(mut purge)) = self.instrument(order.instrument).work else {
            return;
        };
        if purge.next == order.id {
            (purge.book, purge.next) = self.behind(order);
            self.instrument_mut(order.instrument).work = Some(Task::Purge(purge));
        }
    }

    fn purge_ends(&mut self, at: u32, purge: &Purge) -> Outcome {
        let instrument = self.instrument_mut(at);
        if purge.removal == Removal::OffLadder {
            instrument.list.ladder_base = purge.base;
            instrument.list.ladder_len = purge.len;
            let list = instrument.list;
            for price in [
                &mut instrument.reference,
                &mut instrument.last,
                &mut instrument.auction,
            ] {
                if !is_on_ladder(&list, *price) {
                    *price = 0;
                }
            }
            instrument.set_pause();
        }
        let outcome = self.work_ends(at);
        if purge.removal == Removal::Delisted {
            self.instruments[at as usize] = None;
        }
        outcome
    }
}
