//! Pools of order and level slots: freed ones first, newest first, then those never used.
//!
//! Invariant, checked by [`Shard::check`](crate::Shard::check): the slots in use are those that books and sweeps reach. Which slot is handed out is
//! not part of the state: hash, records and answers never show one.

use crate::shard::{Fault, Shard};

impl Shard<'_> {
    /// Takes an order slot out of the pool, which has one.
    #[inline(always)]
    pub(crate) fn take_order(self) -> u32 {
        let header = self.header();
        header
            .orders_live
            .set(header.orders_live.get().wrapping_add(1));
        let free = header.orders_free.get();
        if free != 0 {
            header.orders_free.set(self.order(free).next.get());
            return free;
        }
        let fresh = header.orders_fresh.get().wrapping_add(1);
        self.ensure(fresh <= header.orders_max.get(), Fault::Pool);
        header.orders_fresh.set(fresh);
        fresh
    }

    /// Gives an order slot back.
    #[inline(always)]
    pub(crate) fn give_order(self, slot: u32) {
        let header = self.header();
        self.order(slot).next.set(header.orders_free.get());
        header.orders_free.set(slot);
        header
            .orders_live
            .set(header.orders_live.get().wrapping_sub(1));
    }

    /// Takes a level slot out of the pool, which has one.
    #[inline(always)]
    pub(crate) fn take_level(self) -> u32 {
        let header = self.header();
        header
            .levels_live
            .set(header.levels_live.get().wrapping_add(1));
        let free = header.levels_free.get();
        if free != 0 {
            header.levels_free.set(self.level(free).tail.get());
            return free;
        }
        let fresh = header.levels_fresh.get().wrapping_add(1);
        self.ensure(fresh <= header.levels_max.get(), Fault::Pool);
        header.levels_fresh.set(fresh);
        fresh
    }

    /// Gives a level slot back.
    #[inline(always)]
    pub(crate) fn give_level(self, slot: u32) {
        let header = self.header();
        self.level(slot).tail.set(header.levels_free.get());
        header.levels_free.set(slot);
        header
            .levels_live
            .set(header.levels_live.get().wrapping_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use crate::Capacity;
    use crate::native::Native;

    #[test]
    fn a_slot_that_was_given_back_is_the_next_one_taken() {
        let native = Native::<crate::native::Tape>::new(&Capacity::SMALL).unwrap();
        let shard = native.shard();
        let (first, second) = (shard.take_order(), shard.take_order());
        assert_ne!(first, second);
        shard.give_order(first);
        assert_eq!(shard.take_order(), first);
        let (first, second) = (shard.take_level(), shard.take_level());
        assert_ne!(first, second);
        shard.give_level(first);
        assert_eq!(shard.take_level(), first);
    }
}
