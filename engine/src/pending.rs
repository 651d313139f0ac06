//! Continuations: commands that do a bounded part at a time (RULES 4, 21). Rule: `docs/matching.md#continuations`.
//!
//! Pending ones stand in a ring of instrument indices (a sweep) and of session indices marked with [`MASS`]. An instrument has at most one
//! sweep and a session at most one mass cancel, so the ring, as long as both tables, is never full.

use crate::limits::{STEP_SLOTS_MAX, STEPS_MAX};
use crate::outbox::{Done, Recorder};
use crate::record::Removal;
use crate::region::{can_loop, zero};
use crate::shard::{Fault, KILLED, Shard};

/// Marks a session index among the pending continuations.
pub(crate) const MASS: u32 = 1 << 31;

impl Shard<'_> {
    /// Queues a continuation.
    #[inline(always)]
    pub(crate) fn push_pending(self, what: u32) {
        let header = self.header();
        let count = header.pending_count.get();
        self.pending_place(header.pending_first.get().wrapping_add(count)).set(what);
        header.pending_count.set(count.wrapping_add(1));
    }

    #[inline(always)]
    fn pop_pending(self) {
        let header = self.header();
        let next = header.pending_first.get().wrapping_add(1);
        let len = header.instruments_max.get().wrapping_add(header.sessions_max.get());
        header.pending_first.set(if next >= len { 0 } else { next });
        header.pending_count.set(header.pending_count.get().wrapping_sub(1));
    }

    /// Takes the continuation steps of a run: at most [`STEPS_MAX`].
    #[inline(always)]
    pub fn steps<R: Recorder>(self, recorder: &R) {
        let header = self.header();
        if header.pending_count.get() == 0 {
            return;
        }
        let mut steps = zero();
        while steps < STEPS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                return;
            }
            if header.pending_count.get() == 0
                || header.halted.get() != 0
                || header.broken.get() != 0
                || recorder.free() < STEP_SLOTS_MAX
            {
                return;
            }
            self.step();
            self.publish(recorder);
            steps = steps.wrapping_add(1);
        }
    }

    /// One step of the first pending continuation.
    #[inline(never)]
    pub(crate) fn step(self) {
        let what = self.pending_place(self.header().pending_first.get()).get();
        let done = if what & MASS == 0 { self.step_sweep(what) } else { self.step_mass(what & !MASS) };
        self.record_step_result(done);
    }

    #[inline(always)]
    fn step_sweep(self, index: u32) -> Done {
        let header = self.header();
        let instrument = self.instrument(index);
        let slot = instrument.sweep.get();
        let order = self.order(slot);
        let lot_size = instrument.lot_size.get();
        let session = self.session(order.session.get());
        self.record_step(index.wrapping_add(1), order.id.get(), order.session.get());
        let mut filled = 0;
        let goes_on = if session.status.get() == KILLED {
            self.drop_order(slot, Removal::Kill as u8, true);
            false
        } else if instrument.halted.get() != 0 {
            self.drop_order(slot, Removal::Halted as u8, true);
            false
        } else {
            filled = self.sweep(slot);
            order.swept.set(order.swept.get().wrapping_add(filled));
            self.settle_remainder(slot, true)
        };
        let shares = filled.wrapping_mul(lot_size);
        if goes_on {
            return Done::continues(shares);
        }
        instrument.sweep.set(0);
        header.frozen.set(header.frozen.get().wrapping_sub(1));
        self.pop_pending();
        Done::accepted(shares)
    }

    #[inline(always)]
    fn step_mass(self, index: u32) -> Done {
        let session = self.session(index);
        self.record_step(0, 0, index);
        let cancelled = self.mass_cancel_step(session);
        if session.cancel_next.get() != 0 {
            return Done::continues(cancelled);
        }
        session.cancelling.set(0);
        self.pop_pending();
        Done::accepted(cancelled)
    }
}

