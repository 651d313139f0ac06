//! The order book: price levels, matching, and the orders of each session.
//!
//! Invariants, checked by [`Shard::check`](crate::Shard::check): a level exists exactly while it has orders; its lots are the sum of theirs; its
//! orders ascend by id except that a kept replace keeps its place; every resting or sweeping order stands once in its
//! session's list and once among the references. Cost: every operation here is O(1) but a sweep, which is O(fills).

use crate::limits::FILLS_MAX;
use crate::region::{Finished, can_loop, zero};
use crate::shard::{BUY, FLAG_IMMEDIATE, FLAG_SWEEPS, Fault, Instrument, NO_RANK, SELL, Shard};

/// The side that an order of `side` trades with.
#[inline(always)]
pub(crate) const fn opposite(side: u32) -> u32 {
    if side == BUY { SELL } else { BUY }
}

impl Shard<'_> {
    /// Puts an order at the end of its price level, making the level if it is the first there.
    #[inline(never)]
    pub(crate) fn add_to_level(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let instrument = self.instrument(order.instrument.get());
        let side = u32::from(order.side.get());
        let book = instrument.side(side);
        let rank = instrument.rank(side, order.price.get());
        let place = self.ladder(book, rank);
        let mut at = place.get();
        if at == 0 {
            at = self.take_level();
            let level = self.level(at);
            level.lots.set(0);
            level.head.set(slot);
            level.orders.set(0);
            level.price.set(order.price.get());
            order.prev.set(0);
            place.set(at);
            self.mark(book, rank);
            if rank < book.best.get() {
                book.best.set(rank);
            }
        } else {
            let tail = self.level(at).tail.get();
            self.order(tail).next.set(slot);
            order.prev.set(tail);
        }
        let level = self.level(at);
        order.next.set(0);
        level.tail.set(slot);
        level.orders.set(level.orders.get().wrapping_add(1));
        level
            .lots
            .set(level.lots.get().wrapping_add(u64::from(order.open.get())));
        Finished::here()
    }

    /// Takes an order with all its open lots out of its price level, and the level away if it was the last.
    #[inline(never)]
    pub(crate) fn take_from_level(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let instrument = self.instrument(order.instrument.get());
        let side = u32::from(order.side.get());
        let book = instrument.side(side);
        let rank = instrument.rank(side, order.price.get());
        let place = self.ladder(book, rank);
        let level = self.level(place.get());
        let open = u64::from(order.open.get());
        self.ensure(
            place.get() != 0 && level.lots.get() >= open,
            Fault::LevelLots,
        );
        level.lots.set(level.lots.get().wrapping_sub(open));
        let orders = level.orders.get().wrapping_sub(1);
        level.orders.set(orders);
        if orders == 0 {
            self.give_level(place.get());
            place.set(0);
            self.unmark(book, rank);
            if book.best.get() == rank {
                book.best
                    .set(self.next_marked(order.instrument.get(), side, rank.wrapping_add(1)));
            }
            return Finished::here();
        }
        let (prev, next) = (order.prev.get(), order.next.get());
        if prev == 0 {
            level.head.set(next);
        } else {
            self.order(prev).next.set(next);
        }
        if next == 0 {
            level.tail.set(prev);
        } else {
            self.order(next).prev.set(prev);
        }
        Finished::here()
    }

    /// Makes an order known to its session: at the end of its list, and under its reference.
    #[inline(never)]
    pub(crate) fn enlist(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let session = self.session(order.session.get());
        let tail = session.orders_tail.get();
        order.session_prev.set(tail);
        order.session_next.set(0);
        if tail == 0 {
            session.orders_head.set(slot);
        } else {
            self.order(tail).session_next.set(slot);
        }
        session.orders_tail.set(slot);
        session
            .orders_live
            .set(session.orders_live.get().wrapping_add(1));
        self.add_reference(session, slot);
        Finished::here()
    }

    /// Takes an order out of its session's list and references. A mass cancel that would visit it next goes on behind it.
    #[inline(never)]
    pub(crate) fn delist(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let session = self.session(order.session.get());
        let (prev, next) = (order.session_prev.get(), order.session_next.get());
        if prev == 0 {
            session.orders_head.set(next);
        } else {
            self.order(prev).session_next.set(next);
        }
        if next == 0 {
            session.orders_tail.set(prev);
        } else {
            self.order(next).session_prev.set(prev);
        }
        if session.cancel_next.get() == slot {
            session.cancel_next.set(next);
        }
        session
            .orders_live
            .set(session.orders_live.get().wrapping_sub(1));
        self.remove_reference(session, slot);
        Finished::here()
    }

    /// Fills an order against the other side until it is filled, crosses no more, or has made [`FILLS_MAX`] fills. Gives the lots
    /// filled. The order is in no level.
    #[inline(never)]
    pub(crate) fn sweep(self, slot: u32) -> u32 {
        let taker = self.order(slot);
        let instrument = self.instrument(taker.instrument.get());
        let other = opposite(u32::from(taker.side.get()));
        let book = instrument.side(other);
        let limit = instrument.rank(other, taker.price.get());
        let before = taker.open.get();
        let mut fills = zero();
        while fills < FILLS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let best = book.best.get();
            // `NO_RANK` is above every limit.
            if taker.open.get() == 0 || best > limit {
                break;
            }
            self.fill_oldest(slot, best).seen();
            fills = fills.wrapping_add(1);
        }
        let work = &self.header().packet_work;
        work.set(work.get().wrapping_add(fills));
        before.wrapping_sub(taker.open.get())
    }

    /// One fill of `slot` against the oldest order at a rank of the other side.
    #[inline(never)]
    fn fill_oldest(self, slot: u32, rank: u32) -> Finished {
        let taker = self.order(slot);
        let instrument = self.instrument(taker.instrument.get());
        let book = instrument.side(opposite(u32::from(taker.side.get())));
        let level_slot = self.ladder(book, rank).get();
        let level = self.level(level_slot);
        let maker_slot = level.head.get();
        if level_slot == 0 || maker_slot == 0 {
            self.fault(Fault::BestLevel);
            return Finished::here();
        }
        let maker = self.order(maker_slot);
        let (taker_open, maker_open) = (taker.open.get(), maker.open.get());
        let lots = if taker_open < maker_open {
            taker_open
        } else {
            maker_open
        };
        self.ensure(level.lots.get() >= u64::from(lots), Fault::LevelLots);

        self.settle_fill(maker_slot, slot, lots).seen();
        taker.open.set(taker_open.wrapping_sub(lots));
        maker.open.set(maker_open.wrapping_sub(lots));
        level
            .lots
            .set(level.lots.get().wrapping_sub(u64::from(lots)));
        if maker_open != lots {
            return Finished::here();
        }
        self.take_from_level(maker_slot).seen();
        self.delist(maker_slot).seen();
        self.give_order(maker_slot);
        Finished::here()
    }

    /// Whether an order at this price would trade at once.
    #[inline(always)]
    pub(crate) fn crosses(self, instrument: &Instrument, side: u32, price: u32) -> bool {
        let other = opposite(side);
        instrument.side(other).best.get() <= instrument.rank(other, price)
    }

    /// Whether nothing can rest at this price for want of a level. `gone` is an order that leaves first, or 0.
    #[inline(always)]
    pub(crate) fn lacks_level(
        self,
        instrument: &Instrument,
        side: u32,
        price: u32,
        gone: u32,
    ) -> bool {
        let header = self.header();
        if header.levels_live.get() < header.levels_max.get() {
            return false;
        }
        let book = instrument.side(side);
        if gone != 0 {
            let rank = instrument.rank(side, self.order(gone).price.get());
            if self.level(self.ladder(book, rank).get()).orders.get() == 1 {
                return false; // its level becomes free
            }
        }
        self.ladder(book, instrument.rank(side, price)).get() == 0
    }

    /// Ends what [`Shard::sweep`] left of an order: gone, resting, cancelled, or to be continued. `listed` says whether it stands in its
    /// session's list already (a continuation). True when it is to be continued.
    #[inline(never)]
    pub(crate) fn settle_remainder(self, slot: u32, listed: bool) -> bool {
        let order = self.order(slot);
        let instrument_index = order.instrument.get();
        let instrument = self.instrument(instrument_index);
        let side = u32::from(order.side.get());
        if order.open.get() == 0 {
            if listed {
                self.delist(slot).seen();
            }
            self.give_order(slot);
            return false;
        }
        if self.crosses(instrument, side, order.price.get()) {
            if !listed {
                order.flags.set(order.flags.get() | FLAG_SWEEPS);
                self.enlist(slot).seen();
            }
            return true;
        }
        if order.flags.get() & FLAG_IMMEDIATE != 0 {
            self.drop_order(slot, crate::record::Removal::Ioc as u8, listed);
            return false;
        }
        if listed && self.lacks_level(instrument, side, order.price.get(), 0) {
            // Its level was free when it entered; other instruments have taken the last ones while it swept.
            self.drop_order(slot, crate::record::Removal::Ioc as u8, true);
            return false;
        }
        order.flags.set(order.flags.get() & !FLAG_SWEEPS);
        self.add_to_level(slot).seen();
        if !listed {
            self.enlist(slot).seen();
        }
        self.record_rested(order);
        false
    }

    /// Cancels what is left of an order that is in no level.
    #[inline(always)]
    pub(crate) fn drop_order(self, slot: u32, removal: u8, listed: bool) {
        let order = self.order(slot);
        self.release_order(self.instrument(order.instrument.get()), order);
        self.record_removed(order, removal, false);
        if listed {
            self.delist(slot).seen();
        }
        self.give_order(slot);
    }

    /// Cancels a resting order.
    #[inline(never)]
    pub(crate) fn remove_order(self, slot: u32, removal: u8) -> Finished {
        let order = self.order(slot);
        self.take_from_level(slot).seen();
        self.release_order(self.instrument(order.instrument.get()), order);
        self.record_removed(order, removal, true);
        self.delist(slot).seen();
        self.give_order(slot);
        Finished::here()
    }
}

const _: () = assert!(NO_RANK == u32::MAX);
