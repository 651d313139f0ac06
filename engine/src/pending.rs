//! Continuations: commands that do a bounded part at a time (RULES 4, 21). Rule: `docs/matching.md#continuations`.
//!
//! Pending ones stand in a list through a table with an entry for each instrument, each session, each account, and one for expiry: each has at
//! most one, so there is always room, and a mass cancel that a kill finishes leaves from wherever it stands.
//! Invariant, checked by [`Shard::check`](crate::Shard::check): an instrument is queued while its `work` is not 0, a session or an account while its
//! mass cancel has a removal, expiry while `expiring` is 1; `frozen` counts the first, `leaving` the others.

use crate::cancel::{ACCOUNT, SESSION};
use crate::limits::{STEP_SLOTS_MAX, STEPS_MAX};
use crate::outbox::{Done, Recorder};
use crate::record::Work;
use crate::region::{Finished, can_loop, zero};
use crate::shard::{Fault, Shard};

/// Number of an instrument among the pending continuations.
#[inline(always)]
const fn instrument_number(index: u32) -> u32 {
    index.wrapping_add(1)
}

impl Shard<'_> {
    /// Number of the mass cancel of a session or an account among the pending continuations.
    #[inline(always)]
    pub(crate) fn mass_number(self, scope: u32, owner: u32) -> u32 {
        let header = self.header();
        let first = header.instruments_max.get().wrapping_add(1);
        if scope == SESSION {
            first.wrapping_add(owner)
        } else {
            first
                .wrapping_add(header.sessions_max.get())
                .wrapping_add(owner)
        }
    }

    /// Number of expiry among the pending continuations: the last.
    #[inline(always)]
    pub(crate) fn expiry_number(self) -> u32 {
        self.mass_number(ACCOUNT, self.header().accounts_max.get())
    }

    /// Queues the work of an instrument and freezes it.
    #[inline(always)]
    pub(crate) fn push_instrument(self, index: u32) {
        let frozen = &self.header().frozen;
        frozen.set(frozen.get().wrapping_add(1));
        self.push_pending(instrument_number(index));
    }

    /// Frees an instrument whose work is done.
    #[inline(always)]
    pub(crate) fn done_instrument(self, index: u32) {
        let frozen = &self.header().frozen;
        frozen.set(frozen.get().wrapping_sub(1));
        self.remove_pending(instrument_number(index));
    }

    /// Queues what takes orders away beside matching: a mass cancel, or expiry. Makers are asked whether they are leaving from now on.
    #[inline(always)]
    pub(crate) fn push_leaving(self, number: u32) {
        let leaving = &self.header().leaving;
        leaving.set(leaving.get().wrapping_add(1));
        self.push_pending(number);
    }

    /// Takes what [`Shard::push_leaving`] queued out, wherever it stands.
    #[inline(always)]
    pub(crate) fn done_leaving(self, number: u32) {
        let leaving = &self.header().leaving;
        leaving.set(leaving.get().wrapping_sub(1));
        self.remove_pending(number);
    }

    #[inline(always)]
    pub(crate) fn push_pending(self, number: u32) {
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
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn step(self) -> Finished {
        let header = self.header();
        let number = header.pending_first.get();
        let done = if number <= header.instruments_max.get() {
            self.step_instrument(number.wrapping_sub(1))
        } else if number < self.mass_number(ACCOUNT, 0) {
            let first = self.mass_number(SESSION, 0);
            self.step_mass(Work::SessionCancel as u32, number.wrapping_sub(first))
        } else if number < self.expiry_number() {
            let first = self.mass_number(ACCOUNT, 0);
            self.step_mass(Work::AccountCancel as u32, number.wrapping_sub(first))
        } else {
            self.record_step(Work::Expiry as u32, 0, 0, 0);
            self.expire()
        };
        self.record_step_result(done);
        Finished::here()
    }

    /// A step of an instrument's work, which says in `work` what is left.
    #[inline(always)]
    fn step_instrument(self, index: u32) -> Done {
        const SWEEP: u32 = Work::Sweep as u32;
        const TRIGGERS: u32 = Work::Triggers as u32;
        const UNCROSS: u32 = Work::Uncross as u32;
        let instrument = self.instrument(index);
        let work = instrument.work.get();
        let done = if work == SWEEP {
            self.step_sweep(index)
        } else if work == TRIGGERS {
            self.step_triggers(index)
        } else if work == UNCROSS {
            self.step_uncross(index)
        } else {
            self.step_purge(index)
        };
        if instrument.work.get() == 0 {
            self.done_instrument(index);
            return Done::accepted(done.quantity());
        }
        Done::continues(done.quantity())
    }

    /// A step of a mass cancel.
    #[inline(always)]
    fn step_mass(self, work: u32, owner: u32) -> Done {
        let scope = if work == Work::SessionCancel as u32 {
            SESSION
        } else {
            ACCOUNT
        };
        self.record_step(work, 0, 0, owner);
        let done = self.mass_step(scope, owner);
        if !done.is_left() {
            self.end_mass(scope, owner);
        }
        done
    }
}

impl Done {
    /// Whether continuation steps are to finish it.
    #[inline(always)]
    pub(crate) const fn is_left(self) -> bool {
        self.outcome_reason() & 0xFF == crate::record::Outcome::Continues as u32
    }
}
