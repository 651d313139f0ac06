//! A ring in the memory of one process: for threads, and for tests where memory is watched.

use crate::consumer::Consumer;
use crate::memory::{Memory, SLOT_WORDS, Slot, WritableMemory};
use crate::place::{Kind, Name, PlacesTaken};
use crate::producer::Producer;
use ring0_abi::cursor;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex};

type Line = [AtomicU64; SLOT_WORDS];

/// Words on cache lines of their own; in twos, because the adjacent-line prefetcher pairs them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cursor(Line);

#[derive(Debug)]
struct Shared {
    slots: Box<[Line]>,
    unpublished_max: u64,
    cursors: [Cursor; cursor::DURABLE as usize + 1],
    joined: Cursor,
    /// Held while a place is taken.
    members: Mutex<()>,
}

/// A ring of one process. Clones are the same ring.
#[derive(Clone, Debug)]
pub struct LocalRing(Arc<Shared>);

impl LocalRing {
    /// So many slots, rounded up to a power of two, of which at most `unpublished_max` are written before they are published.
    #[must_use]
    pub fn new(slots: usize, unpublished_max: u64) -> LocalRing {
        let line = || [const { AtomicU64::new(0) }; SLOT_WORDS];
        LocalRing(Arc::new(Shared {
            slots: std::iter::repeat_with(line)
                .take(slots.next_power_of_two())
                .collect(),
            unpublished_max,
            cursors: Default::default(),
            joined: Cursor::default(),
            members: Mutex::new(()),
        }))
    }

    /// Its producer: call it once.
    #[must_use]
    pub fn producer(&self) -> Producer<LocalRing> {
        Producer::new(self.clone())
    }

    /// A reader that nobody waits for.
    #[must_use]
    pub fn observer(&self) -> Consumer<LocalRing> {
        Consumer::observer(self.clone())
    }

    /// A consumer under a name, one at a time.
    ///
    /// # Errors
    /// All places are taken.
    pub fn consumer(&self, name: Name, kind: Kind) -> Result<Consumer<LocalRing>, PlacesTaken> {
        let alone = self.0.members.lock();
        let consumer = Consumer::attach(self.clone(), name, kind);
        let joined = self.joined().load(Ordering::Relaxed);
        self.joined().store(joined + 1, Ordering::Release);
        drop(alone);
        consumer
    }

    #[inline(always)]
    fn line(&self, position: u64) -> &Line {
        &self.0.slots[position as usize & (self.0.slots.len() - 1)]
    }
}

impl Memory for LocalRing {
    type Word = AtomicU64;

    #[inline]
    fn slots(&self) -> u64 {
        self.0.slots.len() as u64
    }

    #[inline]
    fn unpublished_max(&self) -> u64 {
        self.0.unpublished_max
    }

    #[inline]
    fn cursor(&self, entry: u32, word: usize) -> &AtomicU64 {
        &self.0.cursors[entry as usize].0[word]
    }

    #[inline]
    fn load_slot(&self, position: u64) -> Slot {
        self.line(position)
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed))
    }

    #[inline]
    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

impl WritableMemory for LocalRing {
    #[inline]
    fn store_slot(&self, position: u64, slot: &Slot) {
        for (word, value) in self.line(position).iter().zip(slot) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    #[inline]
    fn joined(&self) -> &AtomicU64 {
        &self.0.joined.0[0]
    }
}
