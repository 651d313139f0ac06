//! The kernel's record ring for its consumers: the one ring algorithm over the program's maps.
//!
//! Writer of slots and tail: the program. Every command, it stores the slots before the tail, and the next command's slots after it (on
//! x86 both orders are the machine's; the map lookups between them are calls, which the compiler moves no store across). A run begins with
//! the shard's lock, a full fence, and looks at the cursors behind it. Rule: RULES 11, 17, 23; `docs/mq.md`.

use crate::ring::RingError;
use ring0_abi::{Acks, cursor};
use ring0_engine::limits::COMMAND_SLOTS_MAX;
use ring0_record_ring::{self as record_ring, Kind, Memory, Name, Slot};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};
use xdp_loader::{Cursors, LoaderError, Pinned, RecordRing};

/// Bytes of a cursor, and of a slot.
const LINE: usize = ring0_engine::limits::SLOT_LEN;

/// How long to wait for another process that takes a place: it needs microseconds.
const MEMBERS_WAIT: Duration = Duration::from_secs(1);

/// The maps.
#[derive(Debug)]
struct Maps {
    records: RecordRing,
    cursors: Cursors,
    mask: u64,
}

impl Maps {
    fn open(pinned: &Pinned) -> Result<Maps, LoaderError> {
        Ok(Maps {
            records: pinned.map_records()?,
            cursors: pinned.map_cursors()?,
            mask: u64::from(pinned.record_slots()) - 1,
        })
    }
}

impl Memory for Maps {
    type Word = AtomicU64;

    #[inline]
    fn slots(&self) -> u64 {
        self.mask + 1
    }

    #[inline]
    fn unpublished_max(&self) -> u64 {
        COMMAND_SLOTS_MAX.into()
    }

    #[inline]
    fn cursor(&self, entry: u32, word: usize) -> &AtomicU64 {
        self.cursors.word(entry as usize * LINE + word * 8)
    }

    #[inline]
    fn load_slot(&self, position: u64) -> Slot {
        self.records.words((position & self.mask) as u32)
    }

    #[inline]
    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

/// A place where the kernel's record ring is read.
#[derive(Debug)]
pub struct Consumer(record_ring::Consumer<Maps>);

impl Consumer {
    /// One that nobody waits for, from the present tail on; it finds out when it was overrun.
    ///
    /// # Errors
    /// The loader's.
    pub fn observer(pinned: &Pinned) -> Result<Consumer, RingError> {
        Ok(Consumer(record_ring::Consumer::observer(Maps::open(
            pinned,
        )?)))
    }

    /// A required one under a name of 1 to 16 bytes: the program refuses packets before it overruns it. One with this name goes on where it
    /// was, even after its process died; a new one begins at slot 0 where the ring surely still has that, else at the present tail.
    ///
    /// The caller sees to it that a name has one process ([`Pinned::arena_id`] names the shard).
    ///
    /// # Errors
    /// The loader's, or all places are taken.
    pub fn required(pinned: &Pinned, name: &str) -> Result<Consumer, RingError> {
        Consumer::attach(pinned, name, Kind::Required)
    }

    /// As [`Consumer::required`], but nobody waits for it: it may be overrun, and is told how far.
    ///
    /// # Errors
    /// The loader's, or all places are taken.
    pub fn optional(pinned: &Pinned, name: &str) -> Result<Consumer, RingError> {
        Consumer::attach(pinned, name, Kind::Optional)
    }

    fn attach(pinned: &Pinned, name: &str, kind: Kind) -> Result<Consumer, RingError> {
        let refused = |error: &dyn ToString| RingError::Consumer(error.to_string());
        let name = Name::new(name).map_err(|error| refused(&error))?;
        let maps = Maps::open(pinned)?;
        let _alone = members(pinned.arena_id())?;
        record_ring::Consumer::attach(maps, name, kind)
            .map(Consumer)
            .map_err(|error| refused(&error))
    }

    /// Gives a place back: nobody waits for it any more.
    pub fn release(self) {
        self.0.release();
    }

    /// Slots published so far.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.0.tail()
    }

    /// When packets are answered, as the shard was loaded.
    #[must_use]
    pub fn acks(&self) -> Acks {
        if self.durable_word(cursor::ACKS).load(Ordering::Relaxed) == Acks::Durable as u64 {
            Acks::Durable
        } else {
            Acks::Matched
        }
    }

    /// Sequence number of the last record that is durable, as whoever journals says it.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable_word(0).load(Ordering::Acquire)
    }

    /// The slot behind it.
    #[must_use]
    pub fn durable_slot(&self) -> u64 {
        self.durable_word(cursor::DURABLE_SLOT)
            .load(Ordering::Acquire)
    }

    /// Says that records up to this sequence number, which end before `slot`, are durable: held answers up to it may be given. Never goes back.
    pub fn set_durable(&self, sequence: u64, slot: u64) {
        self.durable_word(0).fetch_max(sequence, Ordering::AcqRel);
        self.durable_word(cursor::DURABLE_SLOT)
            .fetch_max(slot, Ordering::AcqRel);
    }

    /// Says that the journal cannot be written any more, so that the program takes nothing more, or that one has begun anew.
    pub fn set_journal_failed(&self, failed: bool) {
        self.durable_word(cursor::FAILED)
            .store(failed.into(), Ordering::Release);
    }

    /// Whether the program takes nothing because a journal failed.
    #[must_use]
    pub fn journal_failed(&self) -> bool {
        self.durable_word(cursor::FAILED).load(Ordering::Acquire) != 0
    }

    fn durable_word(&self, offset: usize) -> &AtomicU64 {
        self.0.memory().cursor(cursor::DURABLE, offset / 8)
    }

    /// Slots read so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.0.position()
    }

    /// Goes to another position between two records, for one that knows how far its own file got.
    pub fn seek(&mut self, position: u64) {
        self.0.seek(position);
    }

    /// Appends the whole records that were published since the last read, at most `slots_max` slots, to `into`; gives how many slots.
    ///
    /// # Errors
    /// It was overrun: records are lost, and how many slots is said. The next read goes on behind them.
    pub fn read(&mut self, into: &mut Vec<u8>, slots_max: u64) -> Result<u64, RingError> {
        self.0
            .read(into, slots_max)
            .map_err(|overrun| RingError::Consumer(overrun.to_string()))
    }

    /// Tells the program that everything read so far is kept; only then may its slots be written over.
    pub fn commit(&mut self) {
        self.0.commit();
    }

    /// The record of a sequence number, if the ring still has it.
    pub(crate) fn find(&self, sequence: u64) -> Option<Vec<u8>> {
        self.0.find(sequence)
    }

    /// The slots between two positions.
    pub(crate) fn slots(&self, from: u64, to: u64) -> Result<Vec<u8>, RingError> {
        let mut bytes = Vec::new();
        if self.0.copy(from, to, &mut bytes) {
            return Ok(bytes);
        }
        Err(RingError::Consumer(format!(
            "slots {from} to {to} of the record ring were written over while they were read; make the ring larger"
        )))
    }
}

/// Waits until no other process takes a place in this shard's ring. A name that the kernel takes back however its process ends.
fn members(arena_id: u32) -> Result<UnixListener, RingError> {
    let begin = Instant::now();
    loop {
        let alone = SocketAddr::from_abstract_name(format!("ring0/consumers/{arena_id}"))
            .and_then(|name| UnixListener::bind_addr(&name));
        match alone {
            Ok(alone) => return Ok(alone),
            Err(_) if begin.elapsed() < MEMBERS_WAIT => {
                std::thread::sleep(Duration::from_micros(100));
            }
            Err(error) => {
                return Err(RingError::Consumer(format!(
                    "another process is taking a consumer's place for too long ({error}); look at who uses this shard and try again"
                )));
            }
        }
    }
}
