//! Good-till-time orders: each stands in the list of its second, and goes when the clock command has come to it.
//!
//! A list is circular: the table has its first order, whose `expiry_prev` is the last. Invariant, checked by
//! [`Shard::check`](crate::Shard::check): an order is in the list of its second exactly while it stands in a book, and then its `expiry_next` is not 0. Cost: joining and leaving touch three
//! orders, the first second with any is found through four bitmap words.
//! Rule: `docs/matching.md#continuations`, `Expiry`.

use crate::limits::CANCELS_MAX;
use crate::outbox::Done;
use crate::record::Removal;
use crate::region::{Finished, can_loop, clear32, zero};
use crate::shard::{Fault, NO_RANK, Shard};

impl Shard<'_> {
    /// Puts an order at the end of the list of its second, unless it is in it.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn expiry_join(self, slot: u32) -> Finished {
        let terms = self.terms(slot);
        if terms.expiry_next.get() != 0 {
            return Finished::here();
        }
        let seconds = &self.header().expiry;
        let second = terms.expiry_s.get();
        let place = self.ladder_place(seconds, second);
        let first = place.get();
        if first == 0 {
            place.set(slot);
            self.mark(seconds, second);
            terms.expiry_next.set(slot);
            terms.expiry_prev.set(slot);
            return Finished::here();
        }
        let last = self.terms(first).expiry_prev.get();
        terms.expiry_next.set(first);
        terms.expiry_prev.set(last);
        self.terms(last).expiry_next.set(slot);
        self.terms(first).expiry_prev.set(slot);
        Finished::here()
    }

    /// Takes an order out of the list of its second, if it is in it.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn expiry_leave(self, slot: u32) -> Finished {
        let terms = self.terms(slot);
        let next = terms.expiry_next.get();
        if next == 0 {
            return Finished::here();
        }
        clear32(&terms.expiry_next);
        let seconds = &self.header().expiry;
        let second = terms.expiry_s.get();
        let place = self.ladder_place(seconds, second);
        if next == slot {
            clear32(place);
            self.unmark(seconds, second);
            return Finished::here();
        }
        let prev = terms.expiry_prev.get();
        self.terms(prev).expiry_next.set(next);
        self.terms(next).expiry_prev.set(prev);
        if place.get() == slot {
            place.set(next);
        }
        Finished::here()
    }

    /// Takes away the first orders whose second has come. When none is left, expiry pends no more.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn expire(self) -> Done {
        let header = self.header();
        let mut removed = zero();
        while removed < CANCELS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let slot = self.first_expired();
            if slot == 0 {
                break;
            }
            self.take_away(slot, Removal::Expired as u8);
            removed = removed.wrapping_add(1);
        }
        if self.first_expired() != 0 {
            return Done::continues(removed);
        }
        if header.expiring.get() != 0 {
            header.expiring.set(0);
            self.done_leaving(self.expiry_number());
        }
        Done::accepted(removed)
    }

    /// First order of the first second that has come and has any, or 0.
    #[inline(always)]
    fn first_expired(self) -> u32 {
        let header = self.header();
        let second = self.marked_place(&header.expiry, 0);
        if second == NO_RANK || second > header.expired_s.get() {
            return 0;
        }
        self.ladder_place(&header.expiry, second).get()
    }
}
