//! Matching: an order meets makers one after the other. Rules: `docs/matching.md#meeting-a-maker`, `#self-trade-prevention`.

use crate::book::opposite;
use crate::ladder::rank;
use crate::limits::FILLS_MAX;
use crate::outbox::Done;
use crate::record::{Removal, State, Work};
use crate::region::{Finished, can_loop, zero};
use crate::shard::{
    FLAG_GTT, FLAG_IMMEDIATE, FLAG_PEG, FLAG_STOP, FLAG_SWEEPS, Fault, HIDDEN, Instrument, PEGS,
    STP_DECREMENT, STP_GROUP, STP_MODE, STP_NEWEST, STP_NONE, STP_OLDEST, Shard,
};

/// A sweep ended because nothing crosses or nothing is left.
const ENDED: u64 = 0;
/// Self-trade prevention ended it.
const PREVENTED: u64 = 1;
/// The market paused.
const PAUSED: u64 = 2;
/// It made [`FILLS_MAX`] meetings, and may cross on.
const CAPPED: u64 = 3;

impl Instrument {
    /// Whether trading at a price pauses the market.
    #[inline(always)]
    pub(crate) fn pauses(&self, price: u32) -> bool {
        let high = self.pause_high.get();
        high != 0 && (price > high || price < self.pause_low.get())
    }
}

impl Shard<'_> {
    /// Whether an order of `taker_account` with this self-trade prevention and a maker are of one hand.
    #[inline(always)]
    pub(crate) fn of_one_hand(self, taker_account: u32, stp: u32, maker_account: u32) -> bool {
        if taker_account == maker_account {
            return true;
        }
        if stp & STP_GROUP == 0 {
            return false;
        }
        let group = self.account(taker_account).group.get();
        group != 0 && self.account(maker_account).group.get() == group
    }

    /// Lets an order in, which its hold covers: it is armed, collected, or sweeps and then rests, goes or continues. `listed`:
    /// the step of an order that is live already, its instrument's work queued.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn enter_book(self, slot: u32, listed: bool) -> Done {
        let order = self.order(slot);
        let index = order.instrument();
        let instrument = self.instrument(index);
        let lot_size = instrument.lot_size.get();
        if order.flags() & FLAG_STOP != 0 {
            self.join(slot).seen();
            self.enlist(slot).seen();
            self.record_armed(slot);
            return Done::accepted(0);
        }
        let swept = if instrument.state.get() == State::Continuous as u32 {
            self.sweep(slot)
        } else {
            PAUSED << 32
        };
        let filled = swept as u32;
        if self.settle_remainder(slot, swept >> 32, listed) {
            let before = if instrument.sweep.get() == slot {
                instrument.sweep_filled.get()
            } else {
                0
            };
            instrument.sweep_filled.set(before.wrapping_add(filled));
            instrument.sweep.set(slot);
            instrument.work.set(Work::Sweep as u32);
            if !listed {
                self.push_instrument(index);
            }
            return Done::continues(filled.wrapping_mul(lot_size));
        }
        // Nothing but a trade brings the last price to a trigger.
        if filled != 0 && instrument.work.get() == 0 && self.look_at_triggers(index) {
            self.push_instrument(index);
        }
        Done::accepted(filled.wrapping_mul(lot_size))
    }

    /// Meets makers until the order has no lots open, crosses no more, has made [`FILLS_MAX`] meetings, or is stopped. Gives the lots filled, and why
    /// it ended in the high half.
    #[inline(always)]
    fn sweep(self, slot: u32) -> u64 {
        let taker = self.order(slot);
        let index = taker.instrument();
        let other = opposite(taker.side());
        let price = if taker.flags() & FLAG_PEG == 0 {
            taker.price.get()
        } else {
            self.peg_price_of(slot)
        };
        if price == 0 {
            return 0; // a peg without a price
        }
        let limit = rank(other, price);
        let instrument = self.instrument(index);
        let before = self.scratch().swept.get();
        let mut end = CAPPED;
        let mut units = zero();
        while units < FILLS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if taker.open.get() == 0 {
                end = ENDED;
                break;
            }
            let maker = if instrument.queues(other).get() == 0 {
                self.next_resting(index, other, limit)
            } else {
                self.next_maker(index, other, limit)
            };
            if maker == 0 {
                end = ENDED;
                break;
            }
            let met = u64::from(self.meet(slot, maker));
            if met == PAUSED {
                end = PAUSED;
                break;
            }
            units = units.wrapping_add(1);
            if met != ENDED {
                end = met;
                break;
            }
        }
        let work = &self.header().packet_work;
        work.set(work.get().wrapping_add(units));
        u64::from(self.scratch().swept.get().wrapping_sub(before)) | end << 32
    }

    /// First order at the best price of a side without pegs, if that is not beyond `limit`; else 0. Displayed comes before hidden.
    #[inline(always)]
    fn next_resting(self, index: u32, side: u32, limit: u32) -> u32 {
        let instrument = self.instrument(index);
        let displayed = instrument.best(side).get();
        let hidden = instrument.best(HIDDEN.wrapping_add(side)).get();
        let (book, best) = if displayed <= hidden {
            (side, displayed)
        } else {
            (HIDDEN.wrapping_add(side), hidden)
        };
        // `NO_RANK` is above every limit.
        if best > limit {
            return 0;
        }
        let at = self.ladder_place(instrument.side(book), best).get();
        if at == 0 {
            self.fault(Fault::BestLevel);
            return 0;
        }
        self.level(at).head.get()
    }

    /// As [`Shard::next_resting`], of a side with pegs.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn next_maker(self, index: u32, side: u32, limit: u32) -> u32 {
        let instrument = self.instrument(index);
        let peg = self.best_peg(index, side);
        let (peg_rank, peg_slot) = ((peg >> 32) as u32, peg as u32);
        let resting = self.next_resting(index, side, limit);
        if peg_slot == 0 || peg_rank > limit {
            return resting;
        }
        if resting == 0 {
            return peg_slot;
        }
        let order = self.order(resting);
        let resting_rank = instrument.best_resting(side);
        if peg_rank != resting_rank {
            return if peg_rank < resting_rank {
                peg_slot
            } else {
                resting
            };
        }
        if order.book() < HIDDEN || order.id.get() < self.order(peg_slot).id.get() {
            resting
        } else {
            peg_slot
        }
    }

    /// One meeting: what the order and the maker do. Gives why the sweep ends, or [`ENDED`] when it may go on.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn meet(self, slot: u32, maker_slot: u32) -> u32 {
        let (taker, maker) = (self.order(slot), self.order(maker_slot));
        self.touch_whole(maker.next.get()); // most likely the next one met
        if self.header().leaving.get() != 0 {
            let removal = self.leaving(maker_slot);
            if removal != 0 {
                self.remove_order(maker_slot, removal as u8).seen();
                return ENDED as u32;
            }
        }
        let price = if maker.book() >= PEGS {
            self.peg_price_of(maker_slot)
        } else {
            maker.price.get()
        };
        let (taker_open, maker_open) = (taker.open.get(), self.counted(maker_slot));
        let lots = if taker_open < maker_open {
            taker_open
        } else {
            maker_open
        };
        let stp = taker.stp();
        if stp & STP_MODE != STP_NONE
            && self.of_one_hand(taker.account.get(), stp, maker.account.get())
        {
            return self.prevent(slot, maker_slot, lots, price);
        }
        let index = taker.instrument();
        let instrument = self.instrument(index);
        if instrument.pauses(price) {
            self.change_state(index, State::VolatilityPause as u32);
            return PAUSED as u32;
        }
        self.settle_fill(maker_slot, slot, lots, price).seen();
        taker.open.set(taker_open.wrapping_sub(lots));
        let swept = &self.scratch().swept;
        swept.set(swept.get().wrapping_add(lots));
        self.take_lots(maker_slot, lots).seen();
        ENDED as u32
    }

    /// Two orders of one hand meet.
    #[inline(always)] // a call would be one frame too many below it
    fn prevent(self, slot: u32, maker_slot: u32, lots: u32, price: u32) -> u32 {
        let (taker, maker) = (self.order(slot), self.order(maker_slot));
        let mode = taker.stp() & STP_MODE;
        if mode == STP_DECREMENT {
            self.record_decremented(maker, taker, price, lots);
            self.release_lots(taker, lots);
            self.release_lots(maker, lots);
            taker.open.set(taker.open.get().wrapping_sub(lots));
            self.take_lots(maker_slot, lots).seen();
            return ENDED as u32;
        }
        if mode != STP_NEWEST {
            self.remove_order(maker_slot, Removal::SelfTrade as u8)
                .seen();
        }
        if mode == STP_OLDEST {
            ENDED as u32
        } else {
            PREVENTED as u32
        }
    }

    /// Ends what [`Shard::sweep`] left of an order: gone, resting, cancelled, or to be continued. True when it is to be continued.
    #[inline(always)]
    fn settle_remainder(self, slot: u32, end: u64, listed: bool) -> bool {
        let order = self.order(slot);
        let flags = order.flags();
        if order.open.get() == 0 {
            if listed {
                self.delist(slot).seen();
            }
            self.give_order(slot);
            return false;
        }
        if end == PREVENTED {
            self.drop_order(slot, Removal::SelfTrade as u8, listed)
                .seen();
            return false;
        }
        if end == PAUSED {
            if flags & FLAG_IMMEDIATE != 0 {
                self.drop_order(slot, Removal::Paused as u8, listed).seen();
                return false;
            }
        } else {
            if end == CAPPED && self.goes_on(slot) {
                order.set_flags(flags | FLAG_SWEEPS);
                if !listed {
                    self.enlist(slot).seen();
                }
                return true;
            }
            if flags & FLAG_IMMEDIATE != 0 {
                self.drop_order(slot, Removal::Ioc as u8, listed).seen();
                return false;
            }
        }
        if listed {
            let removal = self.cannot_rest(slot);
            if removal != 0 {
                self.drop_order(slot, removal, true).seen();
                return false;
            }
        }
        order.set_flags(flags & !FLAG_SWEEPS);
        self.join(slot).seen();
        if !listed {
            self.enlist(slot).seen();
        }
        self.record_rested(slot);
        false
    }

    /// Whether an order that made all the meetings it may would have another one.
    #[inline(always)]
    fn goes_on(self, slot: u32) -> bool {
        let order = self.order(slot);
        let price = if order.flags() & FLAG_PEG == 0 {
            order.price.get()
        } else {
            self.peg_price_of(slot)
        };
        let side = order.side();
        price != 0 && self.crosses(order.instrument(), side, price)
    }

    /// Why an order that was live before cannot rest now, or 0: its second has come, or other instruments took the last levels meanwhile.
    #[inline(always)]
    fn cannot_rest(self, slot: u32) -> u8 {
        let order = self.order(slot);
        let flags = order.flags();
        if flags & FLAG_GTT != 0 && self.terms(slot).expiry_s.get() <= self.header().expired_s.get()
        {
            return Removal::Expired as u8;
        }
        let side = order.side();
        let peg = if flags & FLAG_PEG == 0 {
            0
        } else {
            self.terms(slot).peg.get()
        };
        let book = crate::book::book_of(flags, side);
        let reason = self.lacks_level(order.instrument(), book, order.price.get(), peg, 0);
        if reason == 0 { 0 } else { Removal::Ioc as u8 }
    }

    /// Changes the state of an instrument's market, keeping count of those that are not closed, and records it.
    #[inline(always)]
    pub(crate) fn change_state(self, index: u32, state: u32) {
        let instrument = self.instrument(index);
        let before = instrument.state.get();
        let open = &self.header().instruments_open;
        if before == State::Closed as u32 {
            open.set(open.get().wrapping_add(1));
        }
        if state == State::Closed as u32 {
            open.set(open.get().wrapping_sub(1));
        }
        instrument.state.set(state);
        self.record_state(index, state, before);
    }

    /// A step of an instrument's sweep.
    #[inline(always)] // the kernel allows eight frames
    pub(crate) fn step_sweep(self, index: u32) -> Done {
        let instrument = self.instrument(index);
        let slot = instrument.sweep.get();
        let order = self.order(slot);
        self.record_step(
            Work::Sweep as u32,
            index.wrapping_add(1),
            order.id.get(),
            order.session(),
        );
        instrument.work.set(Work::Triggers as u32); // what is looked at next, unless the sweep goes on
        let removal = self.ends_sweep(slot);
        let done = if removal == 0 {
            self.enter_book(slot, true)
        } else {
            self.drop_order(slot, removal, true).seen();
            Done::accepted(0)
        };
        if instrument.work.get() != Work::Sweep as u32 {
            crate::region::clear32(&instrument.sweep);
            self.after_step(index).seen();
        }
        done
    }

    /// Why a sweep does not go on, or 0.
    #[inline(always)]
    fn ends_sweep(self, slot: u32) -> u8 {
        let order = self.order(slot);
        if self.session(order.session()).status.get() == crate::shard::KILLED
            || self.account(order.account.get()).killed.get() != 0
        {
            return Removal::Kill as u8;
        }
        let instrument = self.instrument(order.instrument());
        if instrument.state.get() == State::Halted as u32 {
            return Removal::Halted as u8;
        }
        if order.flags() & FLAG_GTT != 0
            && self.terms(slot).expiry_s.get() <= self.header().expired_s.get()
        {
            return Removal::Expired as u8;
        }
        0
    }

    /// Sets what an instrument does after a step that is not to be continued: triggered stops, or nothing.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn after_step(self, index: u32) -> Finished {
        crate::region::clear32(&self.instrument(index).work);
        let _ = self.look_at_triggers(index); // which sets the work
        Finished::here()
    }
}
