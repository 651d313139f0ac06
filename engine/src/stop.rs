//! Stops: they wait under their trigger until the last trade reaches it. Rule: `docs/matching.md#enter-a-f-o`, `#continuations`.

use crate::ladder::rank;
use crate::outbox::Done;
use crate::record::{State, Work};
use crate::region::Finished;
use crate::shard::{FLAG_GTT, FLAG_STOP, Fault, NO_RANK, STOPS, Shard};

impl Shard<'_> {
    /// First order of the best triggered level of an instrument, buy stops before sell stops; 0 where none is, or where
    /// trading is not continuous.
    #[inline(always)]
    fn triggered_stop(self, index: u32) -> u32 {
        let instrument = self.instrument(index);
        let last = instrument.last.get();
        if last == 0 || instrument.state.get() != State::Continuous as u32 {
            return 0;
        }
        let (buys, sells) = (
            instrument.best(STOPS).get(),
            instrument.best(STOPS + 1).get(),
        );
        let (book, best) = if buys <= rank(STOPS, last) {
            (STOPS, buys)
        } else {
            (STOPS + 1, sells)
        };
        // `NO_RANK` is above the rank of every price.
        if best == NO_RANK || best > rank(book, last) {
            return 0;
        }
        let at = self.ladder_place(instrument.side(book), best).get();
        if at == 0 {
            self.fault(Fault::BestLevel);
            return 0;
        }
        self.level(at).head.get()
    }

    /// Where no work is pending and a stop is triggered, that becomes the work: true. The caller queues it.
    #[inline(always)]
    pub(crate) fn look_at_triggers(self, index: u32) -> bool {
        let work = &self.instrument(index).work;
        if work.get() != 0 || self.triggered_stop(index) == 0 {
            return false;
        }
        work.set(Work::Triggers as u32);
        true
    }

    /// A step of triggered stops: one of them enters.
    #[inline(always)] // the kernel allows eight frames
    pub(crate) fn step_triggers(self, index: u32) -> Done {
        let instrument = self.instrument(index);
        self.record_step(Work::Triggers as u32, index.wrapping_add(1), 0, 0);
        let slot = self.triggered_stop(index);
        let mut done = Done::accepted(0);
        if slot != 0 {
            self.record_step_order(self.order(slot));
            let removal = if self.header().leaving.get() == 0 {
                0
            } else {
                self.leaving(slot)
            };
            if removal == 0 {
                self.trigger(slot).seen();
                done = self.enter_book(slot, true);
            } else {
                self.remove_order(slot, removal as u8).seen();
            }
        }
        if instrument.work.get() != Work::Sweep as u32 {
            self.after_step(index).seen();
        }
        done
    }

    /// Takes a stop out of where it waited: from now on it is an order with its limit.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn trigger(self, slot: u32) -> Finished {
        let order = self.order(slot);
        self.record_triggered(slot);
        self.leave(slot).seen();
        let flags = order.flags();
        if flags & FLAG_GTT != 0 {
            self.expiry_leave(slot).seen();
        }
        order.set_flags(flags & !FLAG_STOP);
        order.price.set(self.terms(slot).limit.get());
        self.instrument(order.instrument()).note_peg_prices();
        Finished::here()
    }
}
