//! Pegs: undisplayed orders that are priced from the book when they are matched (RULES 22). Rule: `docs/matching.md#books-and-who-comes-first`.
//!
//! They wait in queues, one for each kind, offset and limit on a side, so that all orders of a queue have the same price. An instrument has at most
//! [`PEG_QUEUES_MAX`] on a side; they are chained as they were made. A queue is a level of the pool; one without orders is given back at once.

use crate::limits::PEG_QUEUES_MAX;
use crate::region::{Finished, can_loop, zero};
use crate::shard::{BUY, Fault, Instrument, NO_RANK, SELL, Shard};
use crate::{ladder, region};
use core::cell::Cell;

/// Rank and order slot of "no maker".
pub(crate) const NO_MAKER: u64 = (NO_RANK as u64) << 32;

/// Kind letter of a primary peg; the other one is the midpoint.
const PRIMARY: u32 = b'P' as u32;

impl Instrument {
    /// First peg queue of a side.
    #[inline(always)]
    pub(crate) fn queues(&self, side: u32) -> &Cell<u32> {
        if side == BUY {
            &self.pegs[0]
        } else {
            &self.pegs[1]
        }
    }

    /// Notes what pegs are priced from while a command matches.
    #[inline(always)]
    pub(crate) fn note_peg_prices(&self) {
        let (bid, ask) = (self.best[0].get(), self.best[1].get());
        self.peg_bid.set(if bid == NO_RANK {
            0
        } else {
            ladder::price_of(BUY, bid)
        });
        self.peg_ask.set(if ask == NO_RANK {
            0
        } else {
            ladder::price_of(SELL, ask)
        });
    }

    /// Price of a peg now, or 0.
    #[inline(always)]
    pub(crate) fn peg_price(&self, side: u32, limit: u32, peg: u32) -> u32 {
        let (bid, ask) = (u64::from(self.peg_bid.get()), u64::from(self.peg_ask.get()));
        let offset = (peg >> 8) as u8 as i8 as i64 as u64;
        let buys = side == BUY;
        let from = if peg & 0xFF == PRIMARY {
            if buys { bid } else { ask }
        } else if bid == 0 || ask == 0 {
            0
        } else {
            // A midpoint between ticks rounds to the passive side.
            bid.wrapping_add(ask).wrapping_add(u64::from(!buys)) >> 1
        };
        if from == 0 {
            return 0;
        }
        let limit = u64::from(limit);
        // Offsets are small and prices above zero and below 2^32, so bit 63 says "below zero".
        let mut price = if buys {
            from.wrapping_add(offset)
        } else {
            from.wrapping_sub(offset)
        };
        if price >> 63 != 0 {
            price = 0;
        }
        if buys {
            if ask != 0 && price >= ask {
                price = ask.wrapping_sub(1);
            }
            if price > limit {
                price = limit;
            }
        } else {
            if bid != 0 && price <= bid {
                price = bid.wrapping_add(1);
            }
            if price < limit {
                price = limit;
            }
        }
        if price >> 32 == 0 && self.has_price(price as u32) {
            price as u32
        } else {
            0
        }
    }
}

impl Shard<'_> {
    /// Price of a peg order now, or 0.
    #[inline(always)]
    pub(crate) fn peg_price_of(self, slot: u32) -> u32 {
        let order = self.order(slot);
        let instrument = self.instrument(order.instrument());
        instrument.peg_price(order.side(), order.price.get(), self.terms(slot).peg.get())
    }

    /// Rank in the high half, and slot of the first order of the peg queue of a side that comes first: the best price, then the
    /// lowest id; or [`NO_MAKER`].
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn best_peg(self, index: u32, side: u32) -> u64 {
        let instrument = self.instrument(index);
        let mut best = NO_MAKER;
        let mut best_id = 0;
        let mut queue = instrument.queues(side).get();
        let mut count = zero();
        while count < PEG_QUEUES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if queue == 0 {
                break;
            }
            let level = self.level(queue);
            let price = instrument.peg_price(side, level.price.get(), level.peg.get());
            if price != 0 {
                let head = level.head.get();
                let rank = u64::from(ladder::rank(side, price));
                let id = self.order(head).id.get();
                if rank < best >> 32 || (rank == best >> 32 && id < best_id) {
                    best = rank << 32 | u64::from(head);
                    best_id = id;
                }
            }
            queue = level.next_queue.get();
            count = count.wrapping_add(1);
        }
        best
    }

    /// Best rank of the priced pegs of a side that is not below `from`, or [`NO_RANK`].
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn next_peg_rank(self, index: u32, side: u32, from: u32) -> u32 {
        let instrument = self.instrument(index);
        let mut best = NO_RANK;
        let mut queue = instrument.queues(side).get();
        let mut count = zero();
        while count < PEG_QUEUES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if queue == 0 {
                break;
            }
            let level = self.level(queue);
            let price = instrument.peg_price(side, level.price.get(), level.peg.get());
            let rank = ladder::rank(side, price);
            if price != 0 && rank >= from && rank < best {
                best = rank;
            }
            queue = level.next_queue.get();
            count = count.wrapping_add(1);
        }
        best
    }

    /// Level slot of a side's queue with this limit and peg, or 0.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn find_queue(self, index: u32, side: u32, limit: u32, peg: u32) -> u32 {
        let mut queue = self.instrument(index).queues(side).get();
        let mut count = zero();
        while count < PEG_QUEUES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if queue == 0 {
                break;
            }
            let level = self.level(queue);
            if level.price.get() == limit && level.peg.get() == peg {
                return queue;
            }
            queue = level.next_queue.get();
            count = count.wrapping_add(1);
        }
        0
    }

    /// Number of queues of a side.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn count_queues(self, index: u32, side: u32) -> u32 {
        let mut queue = self.instrument(index).queues(side).get();
        let mut count = zero();
        while count < PEG_QUEUES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if queue == 0 {
                break;
            }
            queue = self.level(queue).next_queue.get();
            count = count.wrapping_add(1);
        }
        count
    }

    /// Puts a queue behind the others of its side.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn chain_queue(self, index: u32, side: u32, queue: u32) -> Finished {
        region::clear32(&self.level(queue).next_queue);
        let mut link = self.instrument(index).queues(side);
        let mut count = zero();
        while count < PEG_QUEUES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if link.get() == 0 {
                break;
            }
            link = &self.level(link.get()).next_queue;
            count = count.wrapping_add(1);
        }
        self.ensure(count < PEG_QUEUES_MAX, Fault::Pool);
        link.set(queue);
        Finished::here()
    }

    /// Takes a queue out of its side's chain.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn unchain_queue(self, index: u32, side: u32, queue: u32) -> Finished {
        let mut link = self.instrument(index).queues(side);
        let mut count = zero();
        while count < PEG_QUEUES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            let at = link.get();
            if at == queue || at == 0 {
                break;
            }
            link = &self.level(at).next_queue;
            count = count.wrapping_add(1);
        }
        self.ensure(link.get() == queue, Fault::Pool);
        link.set(self.level(queue).next_queue.get());
        Finished::here()
    }
}
