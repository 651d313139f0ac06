//! The one writer of a native ring: slots first, then the tail, once a command or once for several.
//!
//! Always true: what lies between tail and `written` is at most [`crate::Memory::unpublished_max`] slots, and `written` never passes a required
//! consumer's cursor by more than the ring's length.

use crate::RUN_SLOTS_MAX;
use crate::memory::{SLOT_WORDS, Slot, Word, WritableMemory};
use crate::place;
use ring0_abi::cursor;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::{Recorder, Shard, copy_outbox};
use std::cell::Cell;
use std::sync::atomic::Ordering;

/// Why records were not written; nothing was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PushError {
    /// A required consumer has not given the room back.
    #[error(
        "the record ring is full: {free} slots are free and {needed} are needed; wait for its required consumers, or look at which of them is dead"
    )]
    Full {
        /// Slots free.
        free: u64,
        /// Slots of what was to be written.
        needed: u64,
    },
    /// Longer than what may be written at once.
    #[error(
        "{needed} slots are more than the {max} that a command may take in this ring; make the ring with a larger `unpublished_max`"
    )]
    TooLong {
        /// Slots of what was to be written.
        needed: u64,
        /// Slots at the most.
        max: u64,
    },
    /// Not whole slots.
    #[error("{bytes} bytes are no whole slots of {SLOT_LEN}; pad the record with zeros")]
    NotSlots {
        /// Bytes given.
        bytes: usize,
    },
}

/// Writes a ring. Not for two threads: a ring has one writer.
///
/// As a [`Recorder`] it panics when an engine publishes without room: an engine looks for room before a packet and before a step; before a control
/// command of a native shard its caller does, with [`Producer::free`].
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    /// Slots published.
    tail: Cell<u64>,
    /// Slots written, published or not.
    written: Cell<u64>,
    /// `written` may go so far without a look at the cursors.
    limit: Cell<u64>,
    /// [`WritableMemory::joined`] at the last look.
    joined: Cell<u64>,
}

impl<M: WritableMemory> Producer<M> {
    /// Goes on behind the tail that the ring has; what a dead producer had written behind it is forgotten. The caller is the only one
    /// that writes this ring.
    #[must_use]
    pub fn new(memory: M) -> Producer<M> {
        let tail = memory.tail();
        Producer {
            memory,
            tail: Cell::new(tail),
            written: Cell::new(tail),
            limit: Cell::new(tail),
            joined: Cell::new(0),
        }
    }

    /// Slots published so far.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail.get()
    }

    /// The memory.
    #[must_use]
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Slots that may be written before a required consumer would be overrun, at least: as long as `enough` are known of, the cursors,
    /// whose cache lines are the consumers', are not looked at.
    #[inline]
    pub fn free(&self, enough: u64) -> u64 {
        let joined = self.memory.joined().load(Ordering::Acquire);
        let known = self.limit.get() - self.written.get();
        if known >= enough && joined == self.joined.get() {
            return known;
        }
        self.joined.set(joined);
        self.look()
    }

    #[cold]
    fn look(&self) -> u64 {
        let (written, slots) = (self.written.get(), self.memory.slots());
        let entries = cursor::FIRST_CONSUMER..cursor::FIRST_CONSUMER + cursor::CONSUMERS;
        let behind = entries
            .filter_map(|entry| place::required(&self.memory, entry))
            .map(|consumed| written.saturating_sub(consumed))
            .max();
        let free = slots.saturating_sub(behind.unwrap_or(0));
        self.limit.set(written + free);
        free
    }

    /// Writes one command's records, whole slots, without publishing them; what was written before and would make too much
    /// unpublished with it is published first.
    ///
    /// # Errors
    /// The ring is full, or these are no records. Nothing was written.
    #[inline]
    pub fn push(&self, records: &[u8]) -> Result<(), PushError> {
        let (slots, rest) = records.as_chunks::<SLOT_LEN>();
        if !rest.is_empty() {
            return Err(PushError::NotSlots {
                bytes: records.len(),
            });
        }
        let needed = slots.len() as u64;
        self.make_room(needed)?;
        let written = self.written.get();
        for (position, bytes) in (written..).zip(slots) {
            let (words, _) = bytes.as_chunks::<8>();
            let mut slot: Slot = [0; SLOT_WORDS];
            for (word, bytes) in slot.iter_mut().zip(words) {
                *word = u64::from_le_bytes(*bytes);
            }
            self.memory.store_slot(position, &slot);
        }
        self.written.set(written + needed);
        Ok(())
    }

    /// Makes sure that `needed` slots may be written behind `written`.
    #[inline]
    fn make_room(&self, needed: u64) -> Result<(), PushError> {
        let max = self.memory.unpublished_max();
        if needed > max {
            return Err(PushError::TooLong { needed, max });
        }
        let free = self.free(needed);
        if free < needed {
            return Err(PushError::Full { free, needed });
        }
        if self.written.get() - self.tail.get() + needed > max {
            self.publish();
        }
        // The tail stays before the slots that follow it. Pairs with the fence between a reader's slots and its look at the tail.
        self.memory.fence(Ordering::Release);
        Ok(())
    }

    /// Publishes all that was written, together.
    #[inline]
    pub fn publish(&self) {
        let written = self.written.get();
        if written != self.tail.get() {
            self.tail.set(written);
            // Release: whoever sees the tail sees the slots before it.
            self.memory
                .cursor(cursor::TAIL, 0)
                .store(written, Ordering::Release);
        }
    }

    /// Several commands of an engine with one store of the tail, which [`Batch::publish`] or its end makes. No answer may be sent before.
    #[must_use]
    pub fn batch(&self) -> Batch<'_, M> {
        Batch(self)
    }

    /// Whether a journal has failed: what is recorded now would be on no disk (RULES 11).
    #[inline]
    fn journal_failed(&self) -> bool {
        let word = self.memory.cursor(cursor::DURABLE, cursor::FAILED / 8);
        word.load(Ordering::Acquire) != 0
    }

    /// Slots kept for what only reduces risk (RULES 11).
    fn kept(&self) -> u64 {
        self.memory.slots() / 8
    }

    fn write_outbox(&self, shard: Shard<'_>, slots: u32) {
        let needed = u64::from(slots);
        if let Err(error) = self.make_room(needed) {
            panic!("the engine looks for room before it takes a packet: {error}");
        }
        let written = self.written.get();
        copy_outbox(shard, slots, |index, words| {
            let slot = words.word.each_ref().map(Cell::get);
            self.memory.store_slot(written + u64::from(index), &slot);
        });
        self.written.set(written + needed);
    }
}

impl<M: WritableMemory> Recorder for Producer<M> {
    #[inline]
    fn free(&self) -> u64 {
        if self.journal_failed() {
            return 0;
        }
        // An engine asks for no more than the room of a run above what is kept.
        Producer::free(self, self.kept() + RUN_SLOTS_MAX)
    }

    #[inline]
    fn reserve(&self) -> u64 {
        self.kept()
    }

    #[inline]
    fn publish(&self, shard: Shard<'_>, slots: u32) {
        self.write_outbox(shard, slots);
        Producer::publish(self);
    }
}

/// A [`Recorder`] whose commands are published together.
#[derive(Debug)]
pub struct Batch<'a, M: WritableMemory>(&'a Producer<M>);

impl<M: WritableMemory> Batch<'_, M> {
    /// Publishes what was recorded so far.
    pub fn publish(&self) {
        self.0.publish();
    }
}

impl<M: WritableMemory> Recorder for Batch<'_, M> {
    #[inline]
    fn free(&self) -> u64 {
        Recorder::free(self.0)
    }

    #[inline]
    fn reserve(&self) -> u64 {
        self.0.kept()
    }

    #[inline]
    fn publish(&self, shard: Shard<'_>, slots: u32) {
        self.0.write_outbox(shard, slots);
    }
}

impl<M: WritableMemory> Drop for Batch<'_, M> {
    fn drop(&mut self) {
        self.0.publish();
    }
}
