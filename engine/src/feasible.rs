//! Whether an order gets its least quantity at once: fill-or-kill, minimum quantity. Rule:
//! `docs/matching.md#feasibility-of-fill-or-kill-and-minimum`.
//!
//! The walk looks at orders in the order in which a sweep would meet them and changes nothing but its own notes in the
//! scratch area, so that what it finds feasible the sweep that follows does.

use crate::Reason;
use crate::book::opposite;
use crate::enter::whole_up;
use crate::ladder::{price_of, rank};
use crate::limits::{FILLS_MAX, PEG_QUEUES_MAX};
use crate::region::{Finished, can_loop, clear, clear32, zero};
use crate::shard::{FLAG_ICEBERG, Fault, HIDDEN, NO_RANK, STP_MODE, STP_NONE, STP_OLDEST, Shard};

/// Nothing decided yet.
const GO_ON: u32 = 0;
/// The least quantity is there.
const FEASIBLE: u32 = 255;

impl Shard<'_> {
    /// Whether the order decided on finds the least lots that it must get: 0, or the reason. The looks count as work of the packet.
    #[inline(always)]
    pub(crate) fn feasible(self, index: u32, side: u32) -> u8 {
        let scratch = self.scratch();
        clear(&scratch.walk_found);
        clear32(&scratch.walk_looks);
        let code = self.walk(index, side);
        let looks = scratch.walk_looks.get();
        let work = &self.header().packet_work;
        work.set(work.get().wrapping_add(looks));
        if code == FEASIBLE { 0 } else { code as u8 }
    }

    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn walk(self, index: u32, side: u32) -> u32 {
        let other = opposite(side);
        let instrument = self.instrument(index);
        let [displayed, hidden, peg, limit] = &self.scratch().walk_ranks;
        limit.set(rank(other, self.scratch().price.get()));
        displayed.set(instrument.best(other).get());
        hidden.set(instrument.best(HIDDEN.wrapping_add(other)).get());
        peg.set(if instrument.queues(other).get() == 0 {
            NO_RANK
        } else {
            self.next_peg_rank(index, other, 0)
        });
        let mut prices = zero();
        // Every price has at least one look.
        while prices <= FILLS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let code = self.walk_price(index, other);
            if code != GO_ON {
                return code;
            }
            prices = prices.wrapping_add(1);
        }
        Reason::FokTooDeep as u32
    }

    /// Looks at the best price not looked at yet. What the walk knows lies in the scratch area: the verifier would follow it from price to price.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn walk_price(self, index: u32, other: u32) -> u32 {
        let instrument = self.instrument(index);
        let [displayed, hidden, peg, limit] = &self.scratch().walk_ranks;
        let mut at = displayed.get();
        if hidden.get() < at {
            at = hidden.get();
        }
        if peg.get() < at {
            at = peg.get();
        }
        if at > limit.get() || instrument.pauses(price_of(other, at)) {
            return Reason::NotFillable as u32;
        }
        let next = at.wrapping_add(1);
        if displayed.get() == at {
            let code = self.walk_displayed(index, other, at);
            if code != GO_ON {
                return code;
            }
            displayed.set(self.next_marked(index, other, next));
        }
        if hidden.get() != at && peg.get() != at {
            return GO_ON;
        }
        let code = self.walk_hidden(index, other, at);
        if code != GO_ON {
            return code;
        }
        if hidden.get() == at {
            hidden.set(self.next_marked(index, HIDDEN.wrapping_add(other), next));
        }
        if peg.get() == at {
            peg.set(self.next_peg_rank(index, other, next));
        }
        GO_ON
    }

    /// Looks at one order: decided, or not yet.
    #[inline(always)]
    fn look(self, slot: u32) -> u32 {
        let scratch = self.scratch();
        let looks = scratch.walk_looks.get();
        if looks >= FILLS_MAX {
            return Reason::FokTooDeep as u32;
        }
        scratch.walk_looks.set(looks.wrapping_add(1));
        let order = self.order(slot);
        let header = self.header();
        if header.leaving.get() != 0 && self.leaving(slot) != 0 {
            return GO_ON;
        }
        let stp = scratch.stp.get();
        let account = self.session(header.session.get()).account.get();
        if stp & STP_MODE != STP_NONE && self.of_one_hand(account, stp, order.account.get()) {
            return if stp & STP_MODE == STP_OLDEST {
                GO_ON
            } else {
                Reason::NotFillable as u32
            };
        }
        let counted = self.counted(slot);
        scratch
            .walk_pending
            .set(order.open.get().wrapping_sub(counted));
        self.found(counted)
    }

    /// Counts lots.
    #[inline(always)]
    fn found(self, lots: u32) -> u32 {
        let scratch = self.scratch();
        let found = scratch.walk_found.get().wrapping_add(u64::from(lots));
        scratch.walk_found.set(found);
        if found >= u64::from(scratch.least.get()) {
            FEASIBLE
        } else {
            GO_ON
        }
    }

    /// The displayed level at a rank, then what its icebergs hold back.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn walk_displayed(self, index: u32, book: u32, at: u32) -> u32 {
        let scratch = self.scratch();
        let level = self
            .ladder_place(self.instrument(index).side(book), at)
            .get();
        if level == 0 {
            self.fault(Fault::BestLevel);
            return Reason::NotFillable as u32;
        }
        let mut slot = self.level(level).head.get();
        clear(&scratch.walk_held);
        clear(&scratch.walk_held_looks);
        let mut orders = zero();
        while orders <= FILLS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if slot == 0 {
                break;
            }
            clear32(&scratch.walk_pending);
            let code = self.look(slot);
            if code != GO_ON {
                return code;
            }
            let order = self.order(slot);
            let back = scratch.walk_pending.get();
            if back != 0 && order.flags() & FLAG_ICEBERG != 0 {
                let peak = self.terms(slot).peak.get();
                let held = &scratch.walk_held;
                held.set(held.get().wrapping_add(u64::from(back)));
                let looks = &scratch.walk_held_looks;
                looks.set(looks.get().wrapping_add(u64::from(whole_up(back, peak))));
            }
            slot = order.next.get();
            orders = orders.wrapping_add(1);
        }
        let held = scratch.walk_held.get();
        if held == 0 {
            return GO_ON;
        }
        let looks = scratch
            .walk_held_looks
            .get()
            .wrapping_add(u64::from(scratch.walk_looks.get()));
        if looks > u64::from(FILLS_MAX) {
            return Reason::FokTooDeep as u32;
        }
        scratch.walk_looks.set(looks as u32);
        let found = scratch.walk_found.get().wrapping_add(held);
        scratch.walk_found.set(found);
        if found >= u64::from(scratch.least.get()) {
            FEASIBLE
        } else {
            GO_ON
        }
    }

    /// The hidden level and the peg queues at a rank: each time the lowest id of what stands first in them.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn walk_hidden(self, index: u32, side: u32, at: u32) -> u32 {
        let instrument = self.instrument(index);
        let book = HIDDEN.wrapping_add(side);
        let mut hidden = 0;
        if instrument.best(book).get() != NO_RANK {
            let level = self.ladder_place(instrument.side(book), at).get();
            // Places are a circle: only the level of this very price counts.
            if level != 0 && self.level(level).price.get() == price_of(book, at) {
                hidden = self.level(level).head.get();
            }
        }
        self.note_pegs(index, side, at).seen();
        let mut orders = zero();
        while orders <= FILLS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let slot = self.first_noted(hidden);
            if slot == 0 {
                break;
            }
            let code = self.look(slot);
            if code != GO_ON {
                return code;
            }
            if slot == hidden {
                hidden = self.order(hidden).next.get();
            }
            orders = orders.wrapping_add(1);
        }
        GO_ON
    }

    /// Notes the first order of each peg queue whose price has this rank.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn note_pegs(self, index: u32, side: u32, at: u32) -> Finished {
        let instrument = self.instrument(index);
        let notes = &self.scratch().walk_pegs;
        let mut queue = instrument.queues(side).get();
        let mut count = zero();
        while count < PEG_QUEUES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let note = &notes[(count & (PEG_QUEUES_MAX - 1)) as usize];
            clear32(note);
            if queue != 0 {
                let level = self.level(queue);
                let price = instrument.peg_price(side, level.price.get(), level.peg.get());
                if price != 0 && rank(side, price) == at {
                    note.set(level.head.get());
                }
                queue = level.next_queue.get();
            }
            count = count.wrapping_add(1);
        }
        Finished::here()
    }

    /// Of the noted pegs and a hidden order the one with the lowest id, or 0; a peg's queue moves on.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn first_noted(self, hidden: u32) -> u32 {
        let notes = &self.scratch().walk_pegs;
        let mut first = hidden;
        let mut place = PEG_QUEUES_MAX;
        let mut count = zero();
        while count < PEG_QUEUES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let slot = notes[(count & (PEG_QUEUES_MAX - 1)) as usize].get();
            if slot != 0 && (first == 0 || self.order(slot).id.get() < self.order(first).id.get()) {
                first = slot;
                place = count;
            }
            count = count.wrapping_add(1);
        }
        if place < PEG_QUEUES_MAX {
            let note = &notes[(place & (PEG_QUEUES_MAX - 1)) as usize];
            note.set(self.order(first).next.get());
        }
        first
    }
}
