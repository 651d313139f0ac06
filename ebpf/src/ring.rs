//! The record ring as the program writes it: an array map of 64-byte slots, and the map of cursors.

use crate::{arena, map};
use ring0_abi::{cursor, device};
use ring0_engine::region::Finished;
use ring0_engine::{Recorder, Shard, copy_outbox};

/// [`Recorder`] over the maps.
pub struct KernelRing;

#[inline(always)]
fn mask() -> u32 {
    arena::device_word(device::RECORD_MASK)
}

#[inline(always)]
fn tail() -> u64 {
    match map::CURSORS.get::<u64>(cursor::TAIL) {
        // SAFETY: the entry's first word; this program, under the shard's lock, is its only writer.
        Some(word) => unsafe { word.as_ptr().read_volatile() },
        None => 0,
    }
}

/// Sequence number of the last durable record.
#[inline(always)]
pub fn durable() -> u64 {
    match map::CURSORS.get::<u64>(cursor::DURABLE) {
        // SAFETY: the entry's first word. Volatile: whoever journals writes it.
        Some(word) => unsafe { word.as_ptr().read_volatile() },
        None => 0,
    }
}

/// Slots that a required consumer has not consumed; 0 for one that is not required.
#[inline(always)]
fn behind(consumer: u32, tail: u64) -> u64 {
    let Some(entry) = map::CURSORS.get::<[u64; 2]>(cursor::FIRST_CONSUMER + consumer) else {
        return 0;
    };
    let words = entry.as_ptr().cast::<u64>();
    // SAFETY: entries are 64 bytes. Volatile: the consumer writes them.
    let required = unsafe { words.wrapping_add(1).read_volatile() };
    if required != 1 {
        return 0;
    }
    // SAFETY: as above.
    tail.wrapping_sub(unsafe { words.read_volatile() })
}

/// Whether the journal has failed: what is recorded now would be on no disk (RULES 11).
#[inline(always)]
fn journal_failed() -> bool {
    match map::CURSORS.get::<[u64; 4]>(cursor::DURABLE) {
        // SAFETY: entries are 64 bytes. Volatile: whoever journals writes it.
        Some(entry) => unsafe {
            entry
                .as_ptr()
                .cast::<u64>()
                .wrapping_add(cursor::FAILED / 8)
                .read_volatile()
                != 0
        },
        None => false,
    }
}

/// [`Recorder::free`]: a function of its own, which the kernel verifies once.
#[inline(never)]
fn free_slots(slots: u64) -> u64 {
    if journal_failed() {
        return 0;
    }
    let tail = tail();
    let mut most = behind(0, tail);
    let next = behind(1, tail);
    if next > most {
        most = next;
    }
    let next = behind(2, tail);
    if next > most {
        most = next;
    }
    let next = behind(3, tail);
    if next > most {
        most = next;
    }
    if most >= slots {
        0
    } else {
        slots.wrapping_sub(most)
    }
}

/// [`Recorder::publish`].
#[inline(always)]
fn publish_slots(shard: Shard<'_>, slots: u32) -> Finished {
    let mask = mask();
    let tail = tail();
    copy_outbox(shard, slots, |index, words| {
        let place = (tail as u32).wrapping_add(index) & mask;
        if let Some(slot) = map::RECORDS.get::<[u64; 8]>(place) {
            let slot = slot.as_ptr().cast::<u64>();
            write(slot, 0, words.word[0].get());
            write(slot, 1, words.word[1].get());
            write(slot, 2, words.word[2].get());
            write(slot, 3, words.word[3].get());
            write(slot, 4, words.word[4].get());
            write(slot, 5, words.word[5].get());
            write(slot, 6, words.word[6].get());
            write(slot, 7, words.word[7].get());
        }
    });
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
    if let Some(word) = map::CURSORS.get::<u64>(cursor::TAIL) {
        // SAFETY: as in `tail`. x86 keeps stores in order, so a consumer that sees the tail sees the slots.
        unsafe {
            word.as_ptr()
                .write_volatile(tail.wrapping_add(u64::from(slots)))
        };
    }
    Finished::here()
}

impl Recorder for KernelRing {
    #[inline(always)]
    fn free(&self) -> u64 {
        free_slots(u64::from(mask()).wrapping_add(1))
    }

    #[inline(always)]
    fn reserve(&self) -> u64 {
        u64::from(mask()).wrapping_add(1) >> 3
    }

    #[inline(always)]
    fn publish(&self, shard: Shard<'_>, slots: u32) {
        publish_slots(shard, slots).seen();
    }
}

#[inline(always)]
fn write(slot: *mut u64, word: usize, value: u64) {
    // SAFETY: slots are 64 bytes and `word` is below 8.
    unsafe { *slot.wrapping_add(word) = value };
}
