//! From a folder back to a shard: the newest good snapshot, then the records behind it, each compared with what the engine writes.

use crate::JournalError;
use crate::reader::Reader;
use crate::snapshots::snapshots;
use ring0_engine::Capacity;
use ring0_engine::canon::StateHash;
use ring0_engine::layout::Layout;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::native::{Native, NativeError, Tape};
use ring0_engine::record::{Head, Kind};
use ring0_engine::replay::Tail;
use ring0_engine::snapshot::{Replica, ReplicaError, Snapshot};
use ring0_mq::read_snapshot;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

/// Checked blocks that wait for the engine: enough that neither side waits for the other's longest one.
const BLOCKS_AHEAD: usize = 8;

/// Where a recovery begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// With the newest snapshot that is good, or the first record where there is none.
    NewestSnapshot,
    /// With the first record, whatever snapshots there are.
    FirstRecord,
}

/// A shard that came back.
pub struct Recovered {
    /// The shard, with no records kept.
    pub native: Native,
    /// Hash of its state.
    pub state_hash: StateHash,
    /// The snapshot that it began with; `None`: it began empty.
    pub snapshot: Option<PathBuf>,
    /// Snapshots that could not be used, and why.
    pub warnings: Vec<String>,
    /// Records that were replayed, each equal to the engine's byte for byte.
    pub records: u64,
    /// Messages and tag blocks among them.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How the journal ended.
    pub tail: Tail,
    /// Records at the end that were not carried out: of a packet whose last message is missing, or behind a fault.
    pub left_over: u64,
    /// Time to find, read, verify and restore the snapshot.
    pub restoring: Duration,
    /// Time to read, check, replay and compare the records.
    pub replaying: Duration,
}

/// Brings a shard back from its journal's folder. `broken`: the command in which a fault stopped it, before which it ends.
///
/// # Errors
/// The file system's, a damaged journal, another capacity, records that this engine does not write, or the records before the first
/// one kept are in no good snapshot.
///
/// # Panics
/// As [`Snapshot::restore`].
pub fn recover(
    folder: &Path,
    capacity: &Capacity,
    start: Start,
    broken: Option<u64>,
) -> Result<Recovered, JournalError> {
    let started = Instant::now();
    let begun = begin(folder, capacity, start, |snapshot| match snapshot {
        Some(snapshot) => Replica::from_snapshot_with(snapshot, capacity, broken, Tape::default()),
        None => {
            Replica::with_recorder(capacity, broken, Tape::default()).map_err(ReplicaError::Native)
        }
    })?;
    let (mut replica, reader) = (begun.replica, begun.reader);
    let restoring = started.elapsed();
    let started = Instant::now();
    let first = replica.shard().header().next_sequence.get();
    let mut comparison = Comparison::default();
    read_beside(reader, |slots| {
        let slots = from_sequence(slots, first);
        comparison.recorded(slots);
        let fed = replica.feed(slots);
        comparison.replayed(&replica.take_records())?;
        fed.map_err(|error| JournalError::Disagrees {
            problem: error.to_string(),
        })
    })?;
    let (native, tail) = replica.into_native();
    Ok(Recovered {
        state_hash: native.shard().state_hash(),
        native,
        snapshot: begun.snapshot,
        warnings: begun.warnings,
        records: comparison.records(),
        messages: comparison.messages,
        bytes: comparison.equal_bytes,
        tail,
        left_over: comparison.left_over(),
        restoring,
        replaying: started.elapsed(),
    })
}

/// Reads and checks blocks on a thread of its own while `take` has the slots of those before.
fn read_beside(
    mut reader: Reader,
    mut take: impl FnMut(&[u8]) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    thread::scope(|scope| {
        let (checked, blocks) = sync_channel::<Vec<u8>>(BLOCKS_AHEAD);
        let (used, free) = channel::<Vec<u8>>();
        let reading = scope.spawn(move || -> Result<(), JournalError> {
            while let Some(block) = reader.next_block()? {
                let mut slots = free.try_recv().unwrap_or_default();
                slots.clear();
                slots.extend_from_slice(block.slots());
                if checked.send(slots).is_err() {
                    break; // the other side failed, and says why
                }
            }
            Ok(())
        });
        for slots in blocks {
            take(&slots)?;
            // Nobody needs it where the reader has come to the end.
            let _ = used.send(slots);
        }
        let read = reading.join();
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A replica, and the records behind it.
pub(crate) struct Begun<R> {
    pub(crate) replica: R,
    pub(crate) reader: Reader,
    pub(crate) snapshot: Option<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

/// Begins where it is told; `make` makes the replica.
pub(crate) fn begin<R>(
    folder: &Path,
    capacity: &Capacity,
    start: Start,
    make: impl Fn(Option<&Snapshot>) -> Result<R, ReplicaError>,
) -> Result<Begun<R>, JournalError> {
    let found = Reader::open(folder)?.identity().layout_hash;
    let layout = Layout::new(capacity)
        .map_err(|error| ReplicaError::Native(NativeError::Capacity(error)))?;
    if layout.hash() != found {
        return Err(JournalError::OtherLayout {
            found: layout.hash(),
            expected: found,
        });
    }
    let mut warnings = Vec::new();
    let end = Reader::end_of(folder)?;
    let found = match start {
        Start::NewestSnapshot => snapshots(folder)?,
        Start::FirstRecord => Vec::new(),
    };
    for (_, path) in found.into_iter().rev() {
        let snapshot = match read_snapshot(&path) {
            Ok(snapshot) if snapshot.next_sequence() <= end => snapshot,
            Ok(snapshot) => {
                warnings.push(format!(
                    "{} has seen records below {}, and the journal ends before {end}; an older one is used",
                    path.display(),
                    snapshot.next_sequence()
                ));
                continue;
            }
            Err(error) => {
                warnings.push(error.to_string());
                continue;
            }
        };
        match make(Some(&snapshot)) {
            Ok(replica) => {
                return Ok(Begun {
                    replica,
                    reader: Reader::open_at(folder, snapshot.next_sequence())?,
                    snapshot: Some(path),
                    warnings,
                });
            }
            Err(ReplicaError::Snapshot(error)) => {
                warnings.push(format!("{}: {error}", path.display()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Begun {
        replica: make(None)?,
        reader: Reader::open_at(folder, 1)?,
        snapshot: None,
        warnings,
    })
}

/// The records of `slots` from this sequence on.
fn from_sequence(slots: &[u8], first: u64) -> &[u8] {
    let mut rest = slots;
    while let Ok((head, _)) = Head::read_from_prefix(rest) {
        if head.sequence >= first {
            break;
        }
        rest = &rest[usize::from(head.slots) * SLOT_LEN..];
    }
    rest
}

/// Compares the records of a journal with those that a replay writes, whichever comes first.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Recorded and not yet replayed.
    recorded: Vec<u8>,
    recorded_at: usize,
    /// Replayed and not yet recorded.
    replayed: Vec<u8>,
    replayed_at: usize,
    equal_records: u64,
    equal_bytes: u64,
    messages: u64,
}

impl Comparison {
    /// Takes the next records of the journal, whole ones.
    pub fn recorded(&mut self, records: &[u8]) {
        keep(&mut self.recorded, &mut self.recorded_at, records);
    }

    /// Takes the next records of the replay, whole ones, and compares.
    ///
    /// # Errors
    /// The first record that differs.
    pub fn replayed(&mut self, records: &[u8]) -> Result<(), JournalError> {
        keep(&mut self.replayed, &mut self.replayed_at, records);
        let (recorded, replayed) = (
            &self.recorded[self.recorded_at..],
            &self.replayed[self.replayed_at..],
        );
        let common = recorded.len().min(replayed.len());
        let (mut at, is_equal) = (0, recorded[..common] == replayed[..common]);
        while at < common {
            // Of equal bytes the recorded ones say enough; of others up to where they differ.
            let (head, _) = Head::read_from_prefix(&recorded[at..]).expect("whole records");
            let end = at + usize::from(head.slots) * SLOT_LEN;
            if !is_equal && recorded.get(at..end) != replayed.get(at..end) {
                return Err(JournalError::Disagrees {
                    problem: differs(&recorded[at..], &replayed[at..]),
                });
            }
            self.equal_records += 1;
            self.messages += u64::from(head.kind == Kind::Message as u16);
            at = end;
        }
        self.equal_bytes += at as u64;
        self.recorded_at += at;
        self.replayed_at += at;
        Ok(())
    }

    /// Records that were compared and are equal.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.equal_records
    }

    /// Messages and tag blocks among them.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Records of the journal that no replayed one came for.
    #[must_use]
    pub fn left_over(&self) -> u64 {
        let (mut records, mut rest) = (0, &self.recorded[self.recorded_at..]);
        while let Ok((head, _)) = Head::read_from_prefix(rest) {
            records += 1;
            rest = &rest[usize::from(head.slots) * SLOT_LEN..];
        }
        records
    }
}

/// Puts `more` behind what is kept from `at` on.
fn keep(kept: &mut Vec<u8>, at: &mut usize, more: &[u8]) {
    kept.drain(..*at);
    *at = 0;
    kept.extend_from_slice(more);
}

/// Says how the first of these records differ.
fn differs(recorded: &[u8], replayed: &[u8]) -> String {
    let head = |bytes| Head::read_from_prefix(bytes).expect("whole records").0;
    let (there, here) = (head(recorded), head(replayed));
    let kind = |head: Head| match Kind::from_number(head.kind) {
        Some(kind) => format!("{kind:?}"),
        None => format!("of kind {}", head.kind),
    };
    let byte = recorded.iter().zip(replayed).position(|(a, b)| a != b);
    format!(
        "record {} is {} there and {} here, and differs from byte {} on",
        there.sequence,
        kind(there),
        kind(here),
        byte.unwrap_or(0)
    )
}
