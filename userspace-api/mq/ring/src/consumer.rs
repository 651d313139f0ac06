//! A reader of the ring: whole records out, how much was lost when it came too late, and the room given back.

use crate::RUN_SLOTS_MAX;
use crate::memory::{Memory, Slot, Word};
use crate::place::{self, Kind, Name, Place, PlacesTaken};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{Head, Kind as RecordKind};
use std::sync::atomic::Ordering;
use zerocopy::{FromBytes, IntoBytes};

/// Slots that are copied between two looks at the tail: 32 KiB. More, and a reader that is nearly overrun loses more at once;
/// fewer, and it looks at the producer's cache line more often.
const CHUNK_SLOTS: u64 = 512;

/// Slots of a record at the most, by the width of its head's field.
const RECORD_SLOTS_MAX: usize = u8::MAX as usize;

/// A reader came too late.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the record ring went round: {lost} slots from slot {from} on are lost to this reader, which goes on at slot {resumes}; read more often or make the ring larger"
)]
pub struct Overrun {
    /// The first slot that it has not got.
    pub from: u64,
    /// How many it never gets.
    pub lost: u64,
    /// Where it stands now: between two commands.
    pub resumes: u64,
}

/// A place where the ring is read.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    /// Its cursor; none: nobody knows of it.
    place: Option<(u32, Kind)>,
    next: u64,
    committed: u64,
    /// From this tail on the producer has surely seen that this consumer is required.
    seen_from: u64,
}

impl<M: Memory> Consumer<M> {
    /// One without a place that nobody waits for, from the present tail on.
    #[must_use]
    pub fn observer(memory: M) -> Consumer<M> {
        let next = memory.tail();
        Consumer {
            memory,
            place: None,
            next,
            committed: next,
            seen_from: 0,
        }
    }

    /// Takes the place of `name`. One that had it goes on where it was, also after its process died. A new one begins at slot 0, or, when
    /// the ring has gone round or soon will, at the present tail.
    ///
    /// The caller is the only one that takes a place in this ring at this time, and nobody else reads under this name.
    ///
    /// # Errors
    /// All places are others'.
    pub fn attach(memory: M, name: Name, kind: Kind) -> Result<Consumer<M>, PlacesTaken> {
        let place = place::find(&memory, name)?;
        Ok(Consumer::at(memory, place, name, kind))
    }

    pub(crate) fn at(memory: M, place: Place, name: Name, kind: Kind) -> Consumer<M> {
        let tail = memory.tail();
        // A producer that does not know of this one yet may be in the middle of a run. Where a ring is too short for the longest run, no
        // packet is taken, and there is a look at the cursors before every command.
        let (slots, unpublished) = (memory.slots(), memory.unpublished_max());
        let run = RUN_SLOTS_MAX.min(slots.saturating_sub(unpublished));
        let start = if tail + run + unpublished <= slots {
            0
        } else {
            tail
        };
        let next = place::take(&memory, place, name, kind, start);
        memory.fence(Ordering::SeqCst);
        let seen_from = if place.was == Some(Kind::Required as u64) {
            0
        } else {
            memory.tail() + run
        };
        Consumer {
            memory,
            place: Some((place.entry, kind)),
            next,
            committed: next,
            seen_from,
        }
    }

    /// Gives the place back: nobody waits for this one any more, and its name is forgotten.
    pub fn release(self) {
        if let Some((entry, _)) = self.place {
            place::give_back(&self.memory, entry);
        }
    }

    /// Slots published so far.
    #[must_use]
    #[inline]
    pub fn tail(&self) -> u64 {
        self.memory.tail()
    }

    /// Slots read so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Goes to another position between two records, for one that knows how far its own file got.
    pub fn seek(&mut self, position: u64) {
        self.next = position;
    }

    /// The memory.
    #[must_use]
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Appends the whole records that were published since the last read, at most `slots_max` slots (a record is at most 255), to `into`; gives
    /// how many slots.
    ///
    /// # Errors
    /// It was overrun. What was read before is kept, none of `into` is lost, and the next read goes on behind the gap.
    pub fn read(&mut self, into: &mut Vec<u8>, slots_max: u64) -> Result<u64, Overrun> {
        let tail = self.tail();
        // Beyond the tail only for one that seeks there: then there is nothing yet.
        let end = tail.min(self.next.saturating_add(slots_max));
        let start = into.len();
        let mut at = self.next;
        while at < end {
            let to = end.min(at + CHUNK_SLOTS);
            if !self.copy(at, to, into) {
                break;
            }
            at = to;
        }
        if at == self.next && at < end {
            return Err(self.overrun());
        }
        let whole = whole_records(&into[start..]);
        into.truncate(start + whole);
        let slots = (whole / SLOT_LEN) as u64;
        self.next += slots;
        Ok(slots)
    }

    /// Tells the producer that everything read so far is kept; only then may its slots be written over.
    #[inline]
    pub fn commit(&mut self) {
        if let Some((entry, _)) = self.place {
            self.committed = self.next;
            // Release: the slots were read before. Pairs with the producer's look at the cursors.
            self.memory
                .cursor(entry, 0)
                .store(self.next, Ordering::Release);
        }
    }

    /// Appends the slots between two positions to `into`, or nothing and false if they may have been written over meanwhile.
    #[must_use]
    pub fn copy(&self, from: u64, to: u64, into: &mut Vec<u8>) -> bool {
        let start = into.len();
        into.resize(start + (to - from) as usize * SLOT_LEN, 0);
        self.memory.load_slots(from, &mut into[start..]);
        let whole = self.untouched(from);
        if !whole {
            into.truncate(start);
        }
        whole
    }

    /// Whether what was just read at `from` and behind had not begun to be written over.
    #[inline]
    fn untouched(&self, from: u64) -> bool {
        // The loads of the slots stay before the load of the tail. Pairs with the producer's fence between a tail and the slots that it
        // writes next: whoever saw a word of those sees that tail.
        self.memory.fence(Ordering::Acquire);
        let tail = self.tail();
        let waited_for = matches!(self.place, Some((_, Kind::Required)))
            && from >= self.committed
            && tail >= self.seen_from;
        let writing = if waited_for {
            0 // the producer stops before it
        } else {
            self.memory.unpublished_max()
        };
        tail + writing <= from + self.memory.slots()
    }

    fn overrun(&mut self) -> Overrun {
        let from = self.next;
        let resumes = self.tail();
        self.next = resumes;
        Overrun {
            from,
            lost: resumes - from,
            resumes,
        }
    }

    fn slot(&self, position: u64) -> Slot {
        self.memory.load_slot(position)
    }

    /// The record of a sequence number, if the ring still has it: one of the engine's, whose kind says how long it is.
    #[must_use]
    pub fn find(&self, sequence: u64) -> Option<Vec<u8>> {
        let mut found = None;
        self.walk(|at, head| {
            if head.sequence == sequence {
                found = Some((at, u64::from(head.slots)));
            }
            found.is_none()
        });
        let (at, slots) = found?;
        let mut record = Vec::new();
        self.copy(at, at + slots, &mut record).then_some(record)
    }

    /// The sequence number of the last record, of the engine's; `None` before the first. For a producer that comes back.
    #[must_use]
    pub fn last_sequence(&self) -> Option<u64> {
        let mut last = None;
        self.walk(|_, head| {
            last = Some(head.sequence);
            true
        });
        last
    }

    /// Shows the heads of the records that the ring has, the oldest first, until `visit` says false.
    fn walk(&self, mut visit: impl FnMut(u64, &Head) -> bool) {
        let tail = self.tail();
        let reach = self
            .memory
            .slots()
            .saturating_sub(self.memory.unpublished_max());
        let mut at = tail.saturating_sub(reach);
        // In a ring that went round the first slot may be the second of its record, and whoever sent the message chose what it says:
        // the first slots are only for finding where a record begins.
        let trusted = if at == 0 { 0 } else { at + 3 };
        let head = |at: u64| {
            let slot = self.slot(at);
            let (head, _) = Head::read_from_prefix(slot.as_bytes()).ok()?;
            let slots = match RecordKind::from_number(head.kind)? {
                RecordKind::Message | RecordKind::Control => 2,
                _ => 1,
            };
            (head.slots == slots).then_some(head)
        };
        while at < tail {
            let this = head(at);
            let follows = this.is_some_and(|this| {
                let next = at + u64::from(this.slots);
                next == tail || head(next).is_some_and(|it| it.sequence == this.sequence + 1)
            });
            match this {
                Some(this) if follows => {
                    if at >= trusted && !visit(at, &this) {
                        return;
                    }
                    at += u64::from(this.slots);
                }
                _ => at += 1, // inside a record
            }
        }
    }
}

/// Bytes of the whole records that `slots` begins with.
fn whole_records(slots: &[u8]) -> usize {
    let mut at = 0;
    // What is longer than any record before the end needs no look: its records are whole.
    while let Some(head) = slots.get(at..at + SLOT_LEN) {
        let end = at + usize::from(head[2].max(1)) * SLOT_LEN;
        if end > slots.len() {
            break;
        }
        at = end;
    }
    at
}

const _: () = {
    assert!(std::mem::offset_of!(Head, slots) == 2);
    assert!(
        CHUNK_SLOTS as usize > RECORD_SLOTS_MAX,
        "a record fits a chunk"
    );
};
