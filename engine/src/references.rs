//! Client references: which live order a session means by a number (RULES 16; `docs/matching.md#places-of-references`).
//!
//! A reference stands in its session's window, at its value modulo the window's length; the window holds the newest live order of each place, a
//! bounded bucket of the overflow table the older ones, which their session lists as they moved. A bitmap of the places in use is what a mass
//! cancel walks: no order carries links for it. Invariant, checked by [`Shard::check`](crate::Shard::check): a live order is found under its
//! reference. Cost: one load, or the scan of one cache line.

use crate::limits::BUCKET_LEN;
use crate::region::{Finished, can_loop, zero};
use crate::shard::{Bucket, FLAG_OVERFLOWED, Fault, Order, Session, Shard};
use core::cell::Cell;

impl<'a> Shard<'a> {
    /// Puts an order under its reference; an older order there moves to the overflow table, which has room.
    #[inline(always)]
    pub(crate) fn add_reference(self, session: &Session, slot: u32) {
        let order = self.order(slot);
        let place = self.reference_place(session, order.reference.get());
        let older = place.get();
        if older != 0 {
            self.overflow(older).seen();
        } else {
            self.mark_reference(session, order.reference.get(), true);
        }
        order.set_flags(order.flags() & !FLAG_OVERFLOWED);
        place.set(slot);
    }

    /// Sets or takes away the bit of a reference's place.
    #[inline(always)]
    fn mark_reference(self, session: &Session, reference: u32, live: bool) {
        let mask = (1_u32 << (session.references_log2.get() & 31)).wrapping_sub(1);
        let place = reference & mask;
        let word = self.reference_word(session, place);
        let bit = 1_u64 << (place & 63);
        word.set(if live {
            word.get() | bit
        } else {
            word.get() & !bit
        });
    }

    /// Takes an order away from its reference.
    #[inline(always)]
    pub(crate) fn remove_reference(self, session: &Session, slot: u32) {
        let order = self.order(slot);
        if order.flags() & FLAG_OVERFLOWED == 0 {
            self.reference_place(session, order.reference.get()).set(0);
            self.mark_reference(session, order.reference.get(), false);
        } else {
            self.remove_overflowed(slot).seen();
        }
    }

    /// Slot of the live order of a session under a reference, or 0.
    #[inline(always)]
    pub(crate) fn find_order(self, session_index: u32, reference: u32) -> u32 {
        let slot = self
            .reference_place(self.session(session_index), reference)
            .get();
        if slot != 0 && self.order(slot).reference.get() == reference {
            return slot;
        }
        // Only an order that a newer one pushed out is in the table, and the newer one may be gone since.
        self.find_overflowed(session_index, reference)
    }

    /// Whether a new reference finds a place, `gone` being an order that leaves first (or 0).
    #[inline(always)]
    pub(crate) fn has_place(self, session: &Session, reference: u32, gone: u32) -> bool {
        let older = self.reference_place(session, reference).get();
        older == 0 || older == gone || self.has_bucket_place(older, gone)
    }

    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn overflow(self, slot: u32) -> Finished {
        let order = self.order(slot);
        match self.scan(self.bucket_of(order), |entry| entry == 0) {
            Some(entry) => {
                entry.set(slot);
                order.set_flags(order.flags() | FLAG_OVERFLOWED);
            }
            None => self.fault(Fault::Reference),
        }
        let session = self.session(order.session());
        let last = session.overflow_tail.get();
        let terms = self.terms(slot);
        terms.overflow_prev.set(last);
        terms.overflow_next.set(0);
        if last == 0 {
            session.overflow_head.set(slot);
        } else {
            self.terms(last).overflow_next.set(slot);
        }
        session.overflow_tail.set(slot);
        Finished::here()
    }

    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn remove_overflowed(self, slot: u32) -> Finished {
        match self.scan(self.bucket_of(self.order(slot)), |entry| entry == slot) {
            Some(entry) => entry.set(0),
            None => self.fault(Fault::Reference),
        }
        let order = self.order(slot);
        let session = self.session(order.session());
        let terms = self.terms(slot);
        let (prev, next) = (terms.overflow_prev.get(), terms.overflow_next.get());
        if prev == 0 {
            session.overflow_head.set(next);
        } else {
            self.terms(prev).overflow_next.set(next);
        }
        if next == 0 {
            session.overflow_tail.set(prev);
        } else {
            self.terms(next).overflow_prev.set(prev);
        }
        // A mass cancel that would visit it next goes on behind it.
        if session.mass.overflowed.get() == slot {
            session.mass.overflowed.set(next);
        }
        let account = self.account(order.account.get());
        if account.mass.overflowed.get() == slot {
            account.mass.overflowed.set(next);
        }
        Finished::here()
    }

    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn find_overflowed(self, session_index: u32, reference: u32) -> u32 {
        let found = self.scan(self.bucket(session_index, reference), |entry| {
            if entry == 0 {
                return false;
            }
            let order = self.order(entry);
            order.session() == session_index && order.reference.get() == reference
        });
        match found {
            Some(entry) => entry.get(),
            None => 0,
        }
    }

    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn has_bucket_place(self, older: u32, gone: u32) -> bool {
        let bucket = self.bucket_of(self.order(older));
        self.scan(bucket, |entry| entry == 0 || entry == gone)
            .is_some()
    }

    #[inline(always)]
    fn bucket_of(self, order: &Order) -> &'a Bucket {
        self.bucket(order.session(), order.reference.get())
    }

    /// The first entry of a bucket that is wanted.
    #[inline(always)]
    fn scan(self, bucket: &'a Bucket, wanted: impl Fn(u32) -> bool) -> Option<&'a Cell<u32>> {
        let mut index = zero();
        while index < BUCKET_LEN {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                return None;
            }
            let entry = &bucket.slots[(index & (BUCKET_LEN - 1)) as usize];
            if wanted(entry.get()) {
                return Some(entry);
            }
            index = index.wrapping_add(1);
        }
        None
    }
}
