//! A record ring in memory that nobody waits for.

use ring0_engine::limits::SLOT_LEN;
use ring0_engine::{Recorder, Shard};
use std::cell::Cell;

/// Records in a ring of memory, the oldest written over.
pub struct MemoryRing {
    slots: Box<[Cell<[u64; SLOT_LEN / 8]>]>,
    tail: Cell<u64>,
}

impl MemoryRing {
    /// So many slots, a power of two.
    #[must_use]
    pub fn new(slots: usize) -> MemoryRing {
        MemoryRing {
            // Ones, so that every page is there before the clock starts.
            slots: vec![Cell::new([1; SLOT_LEN / 8]); slots.next_power_of_two()].into(),
            tail: Cell::new(0),
        }
    }

    /// Slots written so far.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail.get()
    }

    /// All records from the first on; `None` when some were written over.
    #[must_use]
    pub fn records(&self) -> Option<Vec<u8>> {
        let slots = self.slots.get(..self.tail.get() as usize)?;
        let words = slots.iter().flat_map(|slot| slot.get());
        Some(words.flat_map(u64::to_le_bytes).collect())
    }
}

impl Recorder for MemoryRing {
    fn free(&self) -> u64 {
        self.slots.len() as u64
    }

    fn reserve(&self) -> u64 {
        self.slots.len() as u64 / 8
    }

    fn publish(&self, shard: Shard<'_>, slots: u32) {
        let (tail, mask) = (self.tail.get(), self.slots.len() - 1);
        for (index, words) in shard.outbox_slots(slots).iter().enumerate() {
            let slot = words.word.each_ref().map(core::cell::Cell::get);
            self.slots[(tail as usize + index) & mask].set(slot);
        }
        self.tail.set(tail + u64::from(slots));
    }
}
