//! What the ring's algorithm needs of memory: words with an order, slots, and fences.

use ring0_engine::limits::SLOT_LEN;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a slot.
pub const SLOT_WORDS: usize = SLOT_LEN / 8;

/// A slot as words; a record's bytes are theirs, little-endian.
pub type Slot = [u64; SLOT_WORDS];

/// A word that processes share. It has one writer.
pub trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;
    /// Writes it.
    fn store(&self, value: u64, order: Ordering);
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }
}

/// A ring's memory, as a consumer reaches it.
pub trait Memory {
    /// Its shared words.
    type Word: Word;
    /// Slots of the ring, a power of two.
    fn slots(&self) -> u64;
    /// Most slots that the producer has written or is writing behind the tail.
    fn unpublished_max(&self) -> u64;
    /// Word `word` (0 to 7) of cursor `entry`, laid out as `ring0_abi::cursor` says.
    fn cursor(&self, entry: u32, word: usize) -> &Self::Word;
    /// A copy of the slot at a position, word by word, each with relaxed order. Whether it was overwritten meanwhile is the
    /// caller's to find out.
    fn load_slot(&self, position: u64) -> Slot;
    /// A fence between threads and processes.
    fn fence(&self, order: Ordering);

    /// Slots published so far. Pairs with the producer's release.
    #[inline(always)]
    fn tail(&self) -> u64 {
        self.cursor(ring0_abi::cursor::TAIL, 0)
            .load(Ordering::Acquire)
    }

    /// Copies the slots from a position on into bytes, as many as fit.
    #[inline]
    fn load_slots(&self, position: u64, into: &mut [u8]) {
        for (position, bytes) in (position..).zip(into.chunks_exact_mut(SLOT_LEN)) {
            for (word, bytes) in self
                .load_slot(position)
                .iter()
                .zip(bytes.chunks_exact_mut(8))
            {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}

/// A ring's memory, as its one producer reaches it.
pub trait WritableMemory: Memory {
    /// Writes the slot at a position, each word with relaxed order.
    fn store_slot(&self, position: u64, slot: &Slot);
    /// How often a consumer's place was taken: the producer looks at the cursors again when it has changed. Writer: whoever takes a
    /// place, one at a time.
    fn joined(&self) -> &Self::Word;
}
