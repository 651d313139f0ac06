//! Continuations: commands that do a bounded part at a time (RULES 4, 21). Rule: `docs/matching.md#continuations`.
//!
//! Pending ones stand in a list through a table with an entry for each instrument (its sweep) and each session (its mass cancel): each
//! has at most one, so there is always room, and a mass cancel that a kill finishes leaves from wherever it stands.

use crate::limits::{STEP_SLOTS_MAX, STEPS_MAX};
use crate::outbox::{Done, Recorder};
use crate::record::Removal;
use crate::region::{Finished, can_loop, zero};
use crate::shard::{Fault, KILLED, Shard};

/// Number of the sweep of an instrument among the pending continuations.
#[inline(always)]
const fn sweep_number(instrument: u32) -> u32 {
    instrument.wrapping_add(1)
}

impl Shard<'_> {
    /// Number of the mass cancel of a session among the pending continuations.
    #[inline(always)]
    fn mass_number(self, session: u32) -> u32 {
        self.header()
            .instruments_max
            .get()
            .wrapping_add(session)
            .wrapping_add(1)
    }

    /// Instrument or session index of a number, and whether it is a session's.
    #[inline(always)]
    pub(crate) fn pending_what(self, number: u32) -> (u32, bool) {
        let index = number.wrapping_sub(1);
        let instruments = self.header().instruments_max.get();
        if index < instruments {
            (index, false)
        } else {
            (index.wrapping_sub(instruments), true)
        }
    }

    /// Queues the sweep of an instrument.
    #[inline(always)]
    pub(crate) fn push_sweep(self, instrument: u32) {
        self.push_pending(sweep_number(instrument));
    }

    /// Queues the mass cancel of a session.
    #[inline(always)]
    pub(crate) fn push_mass(self, session: u32) {
        self.push_pending(self.mass_number(session));
    }

    /// Takes the mass cancel of a session out, wherever it stands.
    #[inline(always)]
    pub(crate) fn remove_mass(self, session: u32) {
        self.remove_pending(self.mass_number(session));
    }

    #[inline(always)]
    fn push_pending(self, number: u32) {
        let header = self.header();
        let last = header.pending_last.get();
        let entry = self.pending(number);
        entry.prev.set(last);
        entry.next.set(0);
        if last == 0 {
            header.pending_first.set(number);
        } else {
            self.pending(last).next.set(number);
        }
        header.pending_last.set(number);
        header
            .pending_count
            .set(header.pending_count.get().wrapping_add(1));
    }

    #[inline(always)]
    fn remove_pending(self, number: u32) {
        let header = self.header();
        let entry = self.pending(number);
        let (prev, next) = (entry.prev.get(), entry.next.get());
        if prev == 0 {
            header.pending_first.set(next);
        } else {
            self.pending(prev).next.set(next);
        }
        if next == 0 {
            header.pending_last.set(prev);
        } else {
            self.pending(next).prev.set(prev);
        }
        header
            .pending_count
            .set(header.pending_count.get().wrapping_sub(1));
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
            self.step().seen();
            self.publish(recorder);
            steps = steps.wrapping_add(1);
        }
    }

    /// One step of the first pending continuation.
    #[inline(never)]
    pub(crate) fn step(self) -> Finished {
        let (index, of_session) = self.pending_what(self.header().pending_first.get());
        let done = if of_session {
            self.step_mass(index)
        } else {
            self.step_sweep(index)
        };
        self.record_step_result(done);
        Finished::here()
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
        self.remove_pending(sweep_number(index));
        Done::accepted(shares)
    }

    #[inline(always)]
    fn step_mass(self, index: u32) -> Done {
        let session = self.session(index);
        self.record_step(0, 0, index);
        let cancelled = self.mass_cancel_step(index);
        if session.cancel_next.get() != 0 {
            return Done::continues(cancelled);
        }
        session.cancelling.set(0);
        self.remove_mass(index);
        Done::accepted(cancelled)
    }
}
