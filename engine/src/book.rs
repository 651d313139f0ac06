//! The order book: where orders stand, and how they come and go.
//!
//! Invariants, checked by [`Shard::check`](crate::Shard::check): a level exists exactly while it has orders; its lots are the sum of what theirs count
//! for; every live order stands in one book or peg queue or is the sweep of its instrument, and is found under its reference.
//! Cost: every operation here is O(1) but for peg queues, which are found among at most `PEG_QUEUES_MAX`.

use crate::ladder::{price_of, rank};
use crate::region::{Finished, clear32};
use crate::shard::{
    BUY, FLAG_GTT, FLAG_HIDDEN, FLAG_ICEBERG, FLAG_PEG, FLAG_STOP, Fault, HIDDEN, Instrument,
    NO_RANK, NOWHERE, PEGS, SELL, STOPS, Shard,
};

/// The side that an order of `side` trades with.
#[inline(always)]
pub(crate) const fn opposite(side: u32) -> u32 {
    if side == BUY { SELL } else { BUY }
}

/// The book that an order with these flags joins; [`PEGS`] + side for a peg.
#[inline(always)]
pub(crate) const fn book_of(flags: u32, side: u32) -> u32 {
    if flags & FLAG_STOP != 0 {
        STOPS + side
    } else if flags & FLAG_PEG != 0 {
        PEGS + side
    } else if flags & FLAG_HIDDEN != 0 {
        HIDDEN + side
    } else {
        side
    }
}

impl Instrument {
    /// Best rank of a side, displayed or hidden, pegs left out. Ranks of a side's displayed and hidden books are the same.
    #[inline(always)]
    pub(crate) fn best_resting(&self, side: u32) -> u32 {
        let displayed = self.best(side).get();
        let hidden = self.best(HIDDEN.wrapping_add(side)).get();
        if displayed <= hidden {
            displayed
        } else {
            hidden
        }
    }
}

impl Shard<'_> {
    /// Puts an order at the end of where its flags say, making the level or queue if it is the first there.
    #[inline(always)]
    pub(crate) fn join(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let flags = order.flags();
        let index = order.instrument();
        let side = order.side();
        let book = book_of(flags, side);
        order.set_book(book);
        if flags & FLAG_ICEBERG != 0 {
            let (terms, open) = (self.terms(slot), order.open.get());
            let peak = terms.peak.get();
            terms.shown.set(if peak < open { peak } else { open });
        }
        let price = order.price.get();
        let mut at;
        if book >= PEGS {
            let peg = self.terms(slot).peg.get();
            at = self.find_queue(index, side, price, peg);
            if at == 0 {
                at = self.begin_level(price);
                self.level(at).peg.set(peg);
                self.chain_queue(index, side, at).seen();
            }
        } else {
            let instrument = self.instrument(index);
            let ladder = instrument.side(book);
            let rank = rank(book, price);
            let place = self.ladder_place(ladder, rank);
            at = place.get();
            if at == 0 {
                at = self.begin_level(price);
                place.set(at);
                self.mark(ladder, rank);
                if rank < instrument.best(book).get() {
                    instrument.best(book).set(rank);
                }
            }
        }
        self.append(at, slot);
        if flags & FLAG_GTT != 0 {
            self.expiry_join(slot).seen();
        }
        Finished::here()
    }

    /// A level without orders.
    #[inline(always)]
    fn begin_level(self, price: u32) -> u32 {
        let at = self.take_level();
        let level = self.level(at);
        level.price.set(price);
        crate::region::clear(&level.lots);
        clear32(&level.head);
        clear32(&level.tail);
        clear32(&level.orders);
        at
    }

    /// Puts an order at the end of a level.
    #[inline(always)]
    fn append(self, at: u32, slot: u32) {
        let order = self.order(slot);
        let level = self.level(at);
        let tail = level.tail.get();
        order.prev.set(tail);
        clear32(&order.next);
        if tail == 0 {
            level.head.set(slot);
        } else {
            self.order(tail).next.set(slot);
        }
        level.tail.set(slot);
        level.orders.set(level.orders.get().wrapping_add(1));
        level
            .lots
            .set(level.lots.get().wrapping_add(u64::from(self.counted(slot))));
    }

    /// Takes an order out of a level that keeps others.
    #[inline(always)]
    fn unlink(self, at: u32, slot: u32) {
        let order = self.order(slot);
        let level = self.level(at);
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
    }

    /// Slot of the level or peg queue that a standing order is in.
    #[inline(always)]
    pub(crate) fn level_of(self, slot: u32) -> u32 {
        let order = self.order(slot);
        let index = order.instrument();
        let book = order.book();
        let price = order.price.get();
        if book >= PEGS {
            return self.find_queue(
                index,
                book.wrapping_sub(PEGS),
                price,
                self.terms(slot).peg.get(),
            );
        }
        let ladder = self.instrument(index).side(book);
        self.ladder_place(ladder, rank(book, price)).get()
    }

    /// Takes a standing order with all it counts for out of its level or queue, and that away if it was the last.
    #[inline(always)]
    pub(crate) fn leave(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let index = order.instrument();
        let instrument = self.instrument(index);
        let at = self.level_of(slot);
        let level = self.level(at);
        let counted = u64::from(self.counted(slot));
        self.ensure(at != 0 && level.lots.get() >= counted, Fault::LevelLots);
        level.lots.set(level.lots.get().wrapping_sub(counted));
        let orders = level.orders.get().wrapping_sub(1);
        level.orders.set(orders);
        let book = order.book();
        order.set_book(NOWHERE);
        if orders != 0 {
            self.unlink(at, slot);
            return Finished::here();
        }
        if book >= PEGS {
            self.unchain_queue(index, book.wrapping_sub(PEGS), at)
                .seen();
            self.give_level(at);
            return Finished::here();
        }
        let ladder = instrument.side(book);
        let rank = rank(book, order.price.get());
        self.give_level(at);
        clear32(self.ladder_place(ladder, rank));
        self.unmark(ladder, rank);
        let best = instrument.best(book);
        if best.get() == rank {
            best.set(self.next_marked(index, book, rank.wrapping_add(1)));
        }
        Finished::here()
    }

    /// Takes lots, whose money has been settled, off a standing order: it is gone, or an iceberg is refilled, or it keeps its place.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn take_lots(self, slot: u32, lots: u32) -> Finished {
        let order = self.order(slot);
        let open = order.open.get().wrapping_sub(lots);
        let counted = self.counted(slot).wrapping_sub(lots);
        let at = self.level_of(slot);
        let level = self.level(at);
        self.ensure(
            at != 0 && level.lots.get() >= u64::from(lots),
            Fault::LevelLots,
        );
        level
            .lots
            .set(level.lots.get().wrapping_sub(u64::from(lots)));
        order.open.set(open);
        if order.flags() & FLAG_ICEBERG != 0 {
            self.terms(slot).shown.set(counted);
        }
        if counted != 0 {
            return Finished::here();
        }
        if open == 0 {
            self.leave(slot).seen();
            self.delist(slot).seen();
            self.give_order(slot);
            return Finished::here();
        }
        // The slice is used up: the next one stands at the end of the level.
        let terms = self.terms(slot);
        let peak = terms.peak.get();
        terms.shown.set(if peak < open { peak } else { open });
        level.orders.set(level.orders.get().wrapping_sub(1));
        self.unlink(at, slot);
        self.append(at, slot);
        self.record_refilled(slot);
        Finished::here()
    }

    /// Takes lots off a standing order at its owner's wish and gives their hold back. What an iceberg holds back goes first.
    #[inline(always)]
    pub(crate) fn shrink(self, slot: u32, lots: u32) {
        let order = self.order(slot);
        let before = self.counted(slot);
        let open = order.open.get().wrapping_sub(lots);
        order.open.set(open);
        if order.flags() & FLAG_ICEBERG != 0 && self.terms(slot).shown.get() > open {
            self.terms(slot).shown.set(open);
        }
        let gone = u64::from(before.wrapping_sub(self.counted(slot)));
        let level = self.level(self.level_of(slot));
        self.ensure(level.lots.get() > gone || gone == 0, Fault::LevelLots);
        level.lots.set(level.lots.get().wrapping_sub(gone));
        self.release_lots(order, lots);
    }

    /// Makes an order known to its session under its reference, and counts it.
    #[inline(always)]
    pub(crate) fn enlist(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let session = self.session(order.session());
        let live = &session.orders_live;
        live.set(live.get().wrapping_add(1));
        let live = &self.account(order.account.get()).orders_live;
        live.set(live.get().wrapping_add(1));
        self.add_reference(session, slot);
        Finished::here()
    }

    /// Forgets an order's reference and expiry.
    #[inline(always)]
    pub(crate) fn delist(self, slot: u32) -> Finished {
        let order = self.order(slot);
        let session = self.session(order.session());
        let live = &session.orders_live;
        live.set(live.get().wrapping_sub(1));
        let live = &self.account(order.account.get()).orders_live;
        live.set(live.get().wrapping_sub(1));
        self.remove_reference(session, slot);
        if order.flags() & FLAG_GTT != 0 {
            self.expiry_leave(slot).seen();
        }
        Finished::here()
    }

    /// Cancels what is left of an order that is in no book.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn drop_order(self, slot: u32, removal: u8, listed: bool) -> Finished {
        let order = self.order(slot);
        self.release_lots(order, order.open.get());
        self.record_removed(slot, removal, false);
        if listed {
            self.delist(slot).seen();
        }
        self.give_order(slot);
        Finished::here()
    }

    /// Cancels a standing order.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn remove_order(self, slot: u32, removal: u8) -> Finished {
        self.cancel_order(slot, removal);
        Finished::here()
    }

    /// As [`Shard::remove_order`], where it is worth not being a call.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(crate) fn cancel_order(self, slot: u32, removal: u8) {
        let order = self.order(slot);
        self.leave(slot).seen();
        self.release_lots(order, order.open.get());
        self.record_removed(slot, removal, order.flags() & FLAG_STOP == 0);
        self.delist(slot).seen();
        self.give_order(slot);
    }

    /// Best rank of a side with its pegs, or [`NO_RANK`].
    #[inline(always)]
    pub(crate) fn best_rank(self, index: u32, side: u32) -> u32 {
        let instrument = self.instrument(index);
        let resting = instrument.best_resting(side);
        if instrument.queues(side).get() == 0 {
            return resting;
        }
        let peg = (self.best_peg(index, side) >> 32) as u32;
        if peg < resting { peg } else { resting }
    }

    /// Whether an order at this price would trade at once.
    #[inline(always)]
    pub(crate) fn crosses(self, index: u32, side: u32, price: u32) -> bool {
        let other = opposite(side);
        self.best_rank(index, other) <= rank(other, price)
    }

    /// Whether the best bid is at or above the best ask, displayed or hidden.
    #[inline(always)]
    pub(crate) fn is_crossed(self, index: u32) -> bool {
        let instrument = self.instrument(index);
        let (bid, ask) = (instrument.best_resting(BUY), instrument.best_resting(SELL));
        bid != NO_RANK && ask != NO_RANK && price_of(BUY, bid) >= ask
    }

    /// Whether nothing can join a book at this price for want of a level: 0, or the reason. `gone` is an order that leaves
    /// first, or 0.
    #[inline(always)]
    pub(crate) fn lacks_level(self, index: u32, book: u32, price: u32, peg: u32, gone: u32) -> u8 {
        let header = self.header();
        let gone_level = if gone == 0 { 0 } else { self.level_of(gone) };
        let frees = gone_level != 0 && self.level(gone_level).orders.get() == 1;
        let mut at;
        if book >= PEGS {
            let side = book.wrapping_sub(PEGS);
            at = self.find_queue(index, side, price, peg);
            if frees && at == gone_level {
                at = 0;
            }
            let frees_queue = frees && self.order(gone).book() == book;
            if at == 0
                && self
                    .count_queues(index, side)
                    .wrapping_sub(u32::from(frees_queue))
                    >= crate::limits::PEG_QUEUES_MAX
            {
                return crate::Reason::PegsFull as u8;
            }
        } else {
            if frees || header.levels_live.get() < header.levels_max.get() {
                return 0;
            }
            let ladder = self.instrument(index).side(book);
            at = self.ladder_place(ladder, rank(book, price)).get();
        }
        if at != 0 || frees || header.levels_live.get() < header.levels_max.get() {
            0
        } else {
            crate::Reason::LevelsFull as u8
        }
    }
}
