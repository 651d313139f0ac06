//! A record ring in memory that nobody waits for.

use ring0_engine::limits::SLOT_LEN;
use ring0_engine::{Recorder, Shard};
use std::cell::{Cell, RefCell};

/// Records in a ring of memory, the oldest written over.
pub struct MemoryRing {
    slots: RefCell<Box<[[u64; SLOT_LEN / 8]]>>,
    len: usize,
    tail: Cell<u64>,
}

impl MemoryRing {
    /// So many slots, a power of two.
    #[must_use]
    pub fn new(slots: usize) -> MemoryRing {
        let len = slots.next_power_of_two();
        MemoryRing {
            // Ones, so that every page is there before the clock starts.
            slots: RefCell::new(vec![[1; SLOT_LEN / 8]; len].into()),
            len,
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
        let slots = self.slots.borrow();
        let slots = slots.get(..self.tail.get() as usize)?;
        Some(
            slots
                .as_flattened()
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect(),
        )
    }
}

impl Recorder for MemoryRing {
    fn free(&self) -> u64 {
        self.len as u64
    }

    fn reserve(&self) -> u64 {
        self.len as u64 / 8
    }

    fn publish(&self, shard: Shard<'_>, slots: u32) {
        let (tail, slots_len) = (self.tail.get(), slots as usize);
        let mut ring = self.slots.borrow_mut();
        let at = tail as usize & (self.len - 1);
        let first = slots_len.min(self.len - at); // the rest, if any, goes to the front
        shard.outbox_into(0, &mut ring[at..at + first]);
        if first < slots_len {
            shard.outbox_into(first, &mut ring[..slots_len - first]);
        }
        self.tail.set(tail + u64::from(slots));
    }
}
