//! A shard's record ring for its consumers: the one ring algorithm over the program's maps, or over a userspace ring's file.
//!
//! In the kernel the writer of slots and tail: the program. Every command, it stores the slots before the tail, and the next command's slots after it (on
//! x86 both orders are the machine's; the map lookups between them are calls, which the compiler moves no store across). A run begins with
//! the shard's lock, a full fence, and looks at the cursors behind it. Rule: RULES 11, 17, 23; `docs/mq.md`.

use crate::place::Place;
use crate::ring::RingError;
use ring0_abi::{Acks, cursor};
use ring0_engine::limits::COMMAND_SLOTS_MAX;
use ring0_record_ring::{self as record_ring, Kind, Memory, Name, SharedMemory, Slot};
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

/// A place where a shard's record ring is read.
#[derive(Debug)]
pub struct Consumer(Of);

#[derive(Debug)]
enum Of {
    Kernel(record_ring::Consumer<Maps>),
    Shared(record_ring::Consumer<SharedMemory>),
}

/// The same for a consumer of either memory.
macro_rules! either {
    ($of:expr, $consumer:ident => $do:expr) => {
        match $of {
            Of::Kernel($consumer) => $do,
            Of::Shared($consumer) => $do,
        }
    };
}

/// A required consumer and how far it is behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Behind {
    /// Its name.
    pub name: String,
    /// Slots that it has not committed yet.
    pub slots: u64,
}

impl Consumer {
    /// One that nobody waits for, from the present tail on; it finds out when it was overrun.
    ///
    /// # Errors
    /// The loader's.
    pub fn observer<'a>(place: impl Into<Place<'a>>) -> Result<Consumer, RingError> {
        Ok(Consumer(match place.into() {
            Place::Pinned(pinned) => {
                Of::Kernel(record_ring::Consumer::observer(Maps::open(pinned)?))
            }
            Place::Shared(ring) => Of::Shared(ring.observer()),
        }))
    }

    /// A required one under a name of 1 to 16 bytes: the program refuses packets before it overruns it. One with this name goes on where it
    /// was, even after its process died; a new one begins at slot 0 where the ring surely still has that, else at the present tail.
    ///
    /// The caller sees to it that a name has one process ([`Place`]'s text names the shard).
    ///
    /// # Errors
    /// The loader's, or all places are taken.
    pub fn required<'a>(place: impl Into<Place<'a>>, name: &str) -> Result<Consumer, RingError> {
        Consumer::attach(place.into(), name, Kind::Required)
    }

    /// As [`Consumer::required`], but nobody waits for it: it may be overrun, and is told how far.
    ///
    /// # Errors
    /// The loader's, or all places are taken.
    pub fn optional<'a>(place: impl Into<Place<'a>>, name: &str) -> Result<Consumer, RingError> {
        Consumer::attach(place.into(), name, Kind::Optional)
    }

    fn attach(place: Place<'_>, name: &str, kind: Kind) -> Result<Consumer, RingError> {
        let refused = |error: &dyn ToString| RingError::Consumer(error.to_string());
        let pinned = match place {
            Place::Pinned(pinned) => pinned,
            Place::Shared(ring) => return Ok(Consumer(Of::Shared(ring.consumer(name, kind)?))),
        };
        let name = Name::new(name).map_err(|error| refused(&error))?;
        let maps = Maps::open(pinned)?;
        let _alone = members(pinned.records_id())?;
        record_ring::Consumer::attach(maps, name, kind)
            .map(|consumer| Consumer(Of::Kernel(consumer)))
            .map_err(|error| refused(&error))
    }

    /// Gives a place back: nobody waits for it any more.
    pub fn release(self) {
        either!(self.0, it => it.release());
    }

    /// Slots published so far.
    #[must_use]
    pub fn tail(&self) -> u64 {
        either!(&self.0, it => it.tail())
    }

    /// Slots of the ring.
    #[must_use]
    pub fn ring_slots(&self) -> u64 {
        either!(&self.0, it => it.memory().slots())
    }

    /// The ring's required consumers.
    #[must_use]
    pub fn all_required(&self) -> Vec<Behind> {
        let tail = self.tail();
        let entries = cursor::FIRST_CONSUMER..cursor::FIRST_CONSUMER + cursor::CONSUMERS;
        let word = |entry: u32, offset: usize| self.word(entry, offset).load(Ordering::Acquire);
        entries
            .filter(|&entry| word(entry, cursor::REQUIRED) == 1)
            .map(|entry| {
                let name = [cursor::NAME, cursor::NAME + 8].map(|at| word(entry, at).to_le_bytes());
                let name = String::from_utf8_lossy(name.as_flattened());
                Behind {
                    name: name.trim_end_matches('\0').to_owned(),
                    slots: tail.saturating_sub(word(entry, 0)),
                }
            })
            .collect()
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

    /// Says that the journal cannot be written any more, so that nothing more is taken, or that one has begun anew.
    pub fn set_journal_failed(&self, failed: bool) {
        self.durable_word(cursor::FAILED)
            .store(failed.into(), Ordering::Release);
    }

    /// Whether nothing is taken because a journal failed.
    #[must_use]
    pub fn journal_failed(&self) -> bool {
        self.durable_word(cursor::FAILED).load(Ordering::Acquire) != 0
    }

    /// Says that the shard goes on in another layout from this slot on.
    pub(crate) fn set_moved(&self, slot: u64) {
        self.durable_word(cursor::MOVED)
            .store(slot, Ordering::Release);
    }

    /// The slot at which the shard last moved to another layout; 0: it never did.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.durable_word(cursor::MOVED).load(Ordering::Acquire)
    }

    fn durable_word(&self, offset: usize) -> &AtomicU64 {
        self.word(cursor::DURABLE, offset)
    }

    fn word(&self, entry: u32, offset: usize) -> &AtomicU64 {
        either!(&self.0, it => it.memory().cursor(entry, offset / 8))
    }

    /// Slots read so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        either!(&self.0, it => it.position())
    }

    /// Goes to another position between two records, for one that knows how far its own file got.
    pub fn seek(&mut self, position: u64) {
        either!(&mut self.0, it => it.seek(position));
    }

    /// Appends the whole records that were published since the last read, at most `slots_max` slots, to `into`; gives how many slots.
    ///
    /// # Errors
    /// It was overrun: records are lost, and how many slots is said. The next read goes on behind them.
    pub fn read(&mut self, into: &mut Vec<u8>, slots_max: u64) -> Result<u64, RingError> {
        either!(&mut self.0, it => it.read(into, slots_max))
            .map_err(|overrun| RingError::Consumer(overrun.to_string()))
    }

    /// Says that everything read so far is kept; only then may its slots be written over.
    pub fn commit(&mut self) {
        either!(&mut self.0, it => it.commit());
    }

    /// The record of a sequence number, if the ring still has it.
    pub(crate) fn find(&self, sequence: u64) -> Option<Vec<u8>> {
        either!(&self.0, it => it.find(sequence))
    }

    /// The slots between two positions.
    pub(crate) fn slots(&self, from: u64, to: u64) -> Result<Vec<u8>, RingError> {
        let mut bytes = Vec::new();
        if either!(&self.0, it => it.copy(from, to, &mut bytes)) {
            return Ok(bytes);
        }
        Err(RingError::Consumer(format!(
            "slots {from} to {to} of the record ring were written over while they were read; make the ring larger"
        )))
    }
}

/// Waits until no other process takes a place in this shard's ring. A name that the kernel takes back however its process ends.
fn members(records_id: u32) -> Result<UnixListener, RingError> {
    let begin = Instant::now();
    loop {
        let alone = SocketAddr::from_abstract_name(format!("ring0/consumers/{records_id}"))
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
