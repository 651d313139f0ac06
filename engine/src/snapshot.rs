//! A shard's state as bytes that outlive its memory, and back (RULES 25).
//!
//! A snapshot is taken of a [`Replica`] fed by the record, or of a region that nothing drives (its shard halted). It holds the
//! region's pages as they are, those of nothing but zeros left out, so it says nothing of what a field means: only
//! [`Layout`]'s parts and hash decide what it fits. What belongs to a run and not to the state (the scratch area, the lock,
//! the packet being carried out) is zero in it. Byte layout: `docs/snapshots.md`.
//!
//! Always true of a [`Snapshot`]: its length is the one that its head says, its checksum is right, its page map agrees with its
//! pages. So nothing of a damaged one is ever used. Files are not this module's: `ring0-mq` keeps snapshots on disk.

use crate::Capacity;
use crate::canon::StateHash;
use crate::control::Control;
use crate::layout::{Layout, PARTS, REGION_BYTES_MAX};
use crate::limits::SLOT_LEN;
use crate::native::{Discard, Native, NativeError, Region, Tape};
use crate::outbox::Recorder;
use crate::record::{Head as RecordHead, ReplyTo};
use crate::replay::{ReplayError, Replayer, Tail, Target};
use crate::shard::{Header, MAGIC as SHARD_MAGIC, Shard};
use core::cell::Cell;
use core::mem::offset_of;
use ring0_wire::SessionId;
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of a snapshot.
pub const MAGIC: [u8; 8] = *b"RING0SN1";

/// Changes with the meaning of a byte of the format. What the region's bytes mean is the layout hash's matter.
pub const VERSION: u32 = 1;

/// Bytes of a page of the region.
pub const PAGE: usize = 4096;

/// Bytes of the BLAKE3 at the end, of everything before it.
const CHECKSUM: usize = 32;

/// The first bytes. Little-endian, as the region is: it is read on the machine, or on one like it.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct SnapshotHead {
    magic: [u8; 8],
    version: u32,
    parts: u32,
    layout_hash: u64,
    region_bytes: u64,
    next_sequence: u64,
    time_ns: u64,
    state_hash: [u8; 32],
    pages: u64,
    reserved: [u8; 40],
}
const _: () = assert!(size_of::<SnapshotHead>() == 128);

/// One part of the layout.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub struct SnapshotPart {
    name: [u8; 24],
    /// Offset in the region.
    pub at: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of an entry.
    pub entry_len: u64,
}
const _: () = assert!(size_of::<SnapshotPart>() == 48);

impl SnapshotPart {
    fn named(name: &str) -> [u8; 24] {
        let mut bytes = [0; 24];
        let len = name.len().min(bytes.len());
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        bytes
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let len = self.name.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&self.name[..len.unwrap_or(self.name.len())]).into_owned()
    }
}

/// Words of the header that belong to a run, with their bytes: zero in a snapshot. A region's lock is free when nothing runs, and
/// the others are written before they are read.
const RUN_WORDS: [(usize, usize); 8] = [
    (offset_of!(Header, lock), 4),
    (offset_of!(Header, packet_work), 4),
    (offset_of!(Header, outbox_len), 4),
    (offset_of!(Header, session), 4),
    (offset_of!(Header, command), 8),
    (offset_of!(Header, answer_len), 4),
    (offset_of!(Header, packet_sequence), 8),
    (offset_of!(Header, packet_messages), 4),
];

/// Why bytes are no snapshot, or do not fit.
#[derive(Debug)]
pub enum SnapshotError {
    /// They begin with something else.
    NotASnapshot,
    /// Of another version of the format.
    OtherVersion {
        /// Its version.
        found: u32,
    },
    /// The end is missing.
    Truncated {
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// Something follows the end.
    TooLong {
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// A byte changed since it was written.
    Checksum,
    /// Its head or page map contradicts itself.
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The shard has another capacity, or this build another layout.
    OtherLayout {
        /// Hash in the snapshot.
        found: u64,
        /// Hash of the shard or of this build.
        expected: u64,
        /// The first difference.
        what: String,
    },
    /// A table of the larger layout that was asked for has fewer entries.
    Smaller {
        /// Which one.
        part: &'static str,
        /// Entries that it has.
        has: u64,
        /// Entries that were asked for.
        asked: u64,
    },
    /// What came back hashes otherwise than what was taken.
    OtherState {
        /// Hash of what came back.
        found: StateHash,
        /// Hash in the snapshot.
        expected: StateHash,
    },
    /// A fault stopped the shard: its state is wrong and not to be kept.
    Broken {
        /// The fault's number.
        fault: u32,
        /// The command during which it was found.
        sequence: u64,
    },
    /// The shard is running, so its pages would be of different moments.
    NotHalted,
    /// There is no shard in the memory.
    NoShard,
    /// Memory to look at it in could not be had.
    Memory(io::Error),
}

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SnapshotError::NotASnapshot => f.write_str(
                "it is no snapshot; name a file that `ring0 snapshot make` wrote",
            ),
            SnapshotError::OtherVersion { found } => write!(
                f,
                "it is of format version {found} and this program reads {VERSION}; use the program that wrote it, or make a new one from the recording"
            ),
            SnapshotError::Truncated { bytes, expected } => write!(
                f,
                "it is truncated: {bytes} bytes of {expected}; use an older snapshot and the recording, or copy it again"
            ),
            SnapshotError::TooLong { bytes, expected } => write!(
                f,
                "it has {bytes} bytes where its head says {expected}; use an older snapshot and the recording, or copy it again"
            ),
            SnapshotError::Checksum => f.write_str(
                "its checksum is wrong, so it changed since it was written; use an older snapshot and the recording, or copy it again",
            ),
            SnapshotError::Damaged { what } => write!(
                f,
                "it is damaged: {what}; use an older snapshot and the recording, or copy it again"
            ),
            SnapshotError::OtherLayout {
                found,
                expected,
                what,
            } => write!(
                f,
                "it is of another layout ({found:#018x}, wanted {expected:#018x}): {what}; use the capacity and the program that it was made with"
            ),
            SnapshotError::Smaller { part, has, asked } => write!(
                f,
                "its shard has {has} {part} and {asked} were asked for; a shard can only grow: give at least as many of everything"
            ),
            SnapshotError::OtherState { found, expected } => write!(
                f,
                "its state hash is {expected} and what comes back has {found}; another version of the engine wrote it: use that one"
            ),
            SnapshotError::Broken { fault, sequence } => write!(
                f,
                "fault {fault} stopped the shard at command {sequence}; its state is wrong: take the snapshot of a replay that ends before that command"
            ),
            SnapshotError::NotHalted => f.write_str(
                "the shard is running; halt it first (`ring0 ctl halt`), or take the snapshot of its recording",
            ),
            SnapshotError::NoShard => {
                f.write_str("the memory has no shard; make or load one first")
            }
            SnapshotError::Memory(error) => {
                write!(f, "memory to look at it in: {error}; free some and try again")
            }
        }
    }
}

impl std::error::Error for SnapshotError {}

/// A whole and verified snapshot.
#[derive(Clone)]
pub struct Snapshot {
    bytes: Vec<u8>,
    head: SnapshotHead,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("next_sequence", &self.next_sequence())
            .field("state_hash", &self.state_hash())
            .field("pages", &self.pages())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Of a shard that nothing drives: a replica, or one that its operator halted.
    ///
    /// # Errors
    /// No shard, one of another layout, or one that a fault stopped.
    ///
    /// # Panics
    /// An invariant does not hold ([`Shard::check`]): a wrong book is not kept.
    pub fn take(shard: Shard<'_>, layout: &Layout) -> Result<Snapshot, SnapshotError> {
        let header = shard.header();
        if header.magic.get() != SHARD_MAGIC {
            return Err(SnapshotError::NoShard);
        }
        if (header.layout.get(), header.bytes.get()) != (layout.hash(), layout.bytes) {
            return Err(SnapshotError::OtherLayout {
                found: header.layout.get(),
                expected: layout.hash(),
                what: "the layout given is not the shard's".to_owned(),
            });
        }
        if header.broken.get() != 0 {
            return Err(SnapshotError::Broken {
                fault: header.broken.get(),
                sequence: header.broken_sequence.get(),
            });
        }
        shard.check();
        let mut head = SnapshotHead {
            magic: MAGIC,
            version: VERSION,
            parts: layout.parts.len() as u32,
            layout_hash: layout.hash(),
            region_bytes: layout.bytes,
            next_sequence: header.next_sequence.get(),
            time_ns: header.time_ns.get(),
            state_hash: shard.state_hash().0,
            pages: 0,
            reserved: [0; 40],
        };
        let parts = layout.parts.iter().map(|part| SnapshotPart {
            name: SnapshotPart::named(part.name),
            at: part.at,
            entries: part.entries,
            entry_len: part.entry_len,
        });
        let parts: Vec<SnapshotPart> = parts.collect();
        let pages = pages_of(layout.bytes);
        let mut map = vec![0_u64; pages.div_ceil(64)];
        let mut content = Vec::new();
        let mut page = [0_u8; PAGE];
        for index in 0..pages {
            let Some(words) = used_words(shard, index) else {
                continue;
            };
            for (to, word) in page.chunks_exact_mut(8).zip(words) {
                to.copy_from_slice(&word.get().to_le_bytes());
            }
            blank(&mut page, index, layout);
            if page.iter().any(|byte| *byte != 0) {
                map[index / 64] |= 1 << (index % 64);
                content.extend_from_slice(&page);
                head.pages += 1;
            }
        }
        let mut bytes = Vec::with_capacity(expected_len(&head).unwrap_or(0) as usize);
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(parts.as_bytes());
        bytes.extend_from_slice(map.as_bytes());
        bytes.append(&mut content);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        Ok(Snapshot { bytes, head })
    }

    /// Of a live shard, which must be halted: nothing but control commands change it then.
    ///
    /// # Errors
    /// As [`Snapshot::take`]; the shard is running, or a control command came in between.
    ///
    /// # Panics
    /// As [`Snapshot::take`].
    pub fn take_halted(shard: Shard<'_>, layout: &Layout) -> Result<Snapshot, SnapshotError> {
        let header = shard.header();
        if header.magic.get() == SHARD_MAGIC && header.halted.get() == 0 {
            return Err(SnapshotError::NotHalted);
        }
        let snapshot = Snapshot::take(shard, layout)?;
        let is_same =
            (header.halted.get(), header.next_sequence.get()) == (1, snapshot.next_sequence());
        if is_same {
            Ok(snapshot)
        } else {
            Err(SnapshotError::NotHalted)
        }
    }

    /// From its bytes, all of which are verified.
    ///
    /// # Errors
    /// They are not a whole, unchanged snapshot of this format version.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Snapshot, SnapshotError> {
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(SnapshotError::NotASnapshot);
        }
        let len = bytes.len() as u64;
        let Ok((head, _)) = SnapshotHead::read_from_prefix(&bytes) else {
            return Err(SnapshotError::Truncated {
                bytes: len,
                expected: (size_of::<SnapshotHead>() + CHECKSUM) as u64,
            });
        };
        if head.version != VERSION {
            return Err(SnapshotError::OtherVersion {
                found: head.version,
            });
        }
        let damaged = |what| SnapshotError::Damaged { what };
        let expected = expected_len(&head).ok_or(damaged("its head has impossible sizes"))?;
        if len < expected {
            return Err(SnapshotError::Truncated {
                bytes: len,
                expected,
            });
        }
        if len > expected {
            return Err(SnapshotError::TooLong {
                bytes: len,
                expected,
            });
        }
        let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
        if blake3::hash(content).as_bytes() != checksum {
            return Err(SnapshotError::Checksum);
        }
        if head.reserved != [0; 40] {
            return Err(damaged("reserved bytes are not zero"));
        }
        let snapshot = Snapshot { bytes, head };
        let pages = pages_of(head.region_bytes);
        let mapped: u64 = snapshot
            .map()
            .map(|word| u64::from(word.count_ones()))
            .sum();
        let beyond = snapshot.map().last().map_or(0, |word| match pages % 64 {
            0 => 0,
            used => word >> used,
        });
        if mapped != head.pages || beyond != 0 {
            return Err(damaged("its page map does not agree with its pages"));
        }
        let inside = |part: &SnapshotPart| {
            let bytes = part.entries.checked_mul(part.entry_len);
            let end = bytes.and_then(|bytes| bytes.checked_add(part.at));
            end.is_some_and(|end| end <= head.region_bytes)
        };
        if !snapshot.parts().iter().all(inside) {
            return Err(damaged("a part reaches beyond the region"));
        }
        Ok(snapshot)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Hash of the layout that it fits.
    #[must_use]
    pub fn layout_hash(&self) -> u64 {
        self.head.layout_hash
    }

    /// Bytes of the region.
    #[must_use]
    pub fn region_bytes(&self) -> u64 {
        self.head.region_bytes
    }

    /// Sequence number of the first record that it has not seen.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.head.next_sequence
    }

    /// Venue time, nanoseconds.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.head.time_ns
    }

    /// Hash of the state.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        StateHash(self.head.state_hash)
    }

    /// Pages that are stored: those that are not all zeros.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.head.pages
    }

    /// The layout's parts; their entries are the capacity.
    #[must_use]
    pub fn parts(&self) -> Vec<SnapshotPart> {
        let start = size_of::<SnapshotHead>();
        let bytes =
            &self.bytes[start..start + self.head.parts as usize * size_of::<SnapshotPart>()];
        bytes
            .chunks_exact(size_of::<SnapshotPart>())
            .map(|bytes| SnapshotPart::read_from_bytes(bytes).expect("a chunk is a part long"))
            .collect()
    }

    /// Writes the state over a shard that nothing drives, whose memory begins at `shard` and is made for `layout`: zeros, a fresh
    /// shard or any other. The shard's magic comes last, after the state was verified, so that one cut short is seen as none.
    ///
    /// # Errors
    /// It is of another layout, and nothing is written; or the state that came back is another one, and there is no shard then.
    ///
    /// # Panics
    /// An invariant does not hold ([`Shard::check`]): a wrong book is worse than none.
    pub fn restore(&self, shard: Shard<'_>, layout: &Layout) -> Result<(), SnapshotError> {
        self.fits(layout)?;
        let header = shard.header();
        header.magic.set(0);
        let mut content = self.content();
        let mut map = self.map();
        let mut bits = 0;
        for index in 0..pages_of(layout.bytes) {
            if index % 64 == 0 {
                bits = map.next().unwrap_or(0);
            }
            if bits >> (index % 64) & 1 == 0 {
                // Asked first, so that memory that was never touched stays so.
                if let Some(words) = used_words(shard, index) {
                    words.iter().for_each(|word| word.set(0));
                }
                continue;
            }
            let page = content.next().expect("a page for every mark in the map");
            for (word, bytes) in page_words(shard, index).iter().zip(page.chunks_exact(8)) {
                word.set(u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
            }
            if index == 0 {
                header.magic.set(0);
            }
        }
        let found = shard.state_hash();
        let is_whole = header.layout.get() == self.head.layout_hash
            && header.bytes.get() == self.head.region_bytes
            && header.next_sequence.get() == self.head.next_sequence;
        if !is_whole || found != self.state_hash() {
            return Err(SnapshotError::OtherState {
                found,
                expected: self.state_hash(),
            });
        }
        shard.check();
        core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
        header.magic.set(SHARD_MAGIC);
        Ok(())
    }

    /// Restores it into memory of its own, which is given back: the proof that it can be.
    ///
    /// # Errors
    /// As [`Snapshot::restore`]; this build has another layout; memory is short.
    ///
    /// # Panics
    /// As [`Snapshot::restore`].
    pub fn verify(&self) -> Result<(), SnapshotError> {
        let layout = self.layout()?;
        let region = Region::new(layout.bytes).map_err(SnapshotError::Memory)?;
        self.restore(Shard::new(region.memory()), &layout)
    }

    /// The layout that it was made with, if this build has the same parts. Its capacity is not known and not meant.
    pub(crate) fn layout(&self) -> Result<Layout, SnapshotError> {
        let mut layout = Layout::new(&Capacity::SMALL).expect("a small shard fits");
        layout.bytes = self.head.region_bytes;
        let parts = self.parts();
        if parts.len() == PARTS {
            for (part, found) in layout.parts.iter_mut().zip(&parts) {
                (part.at, part.entries) = (found.at, found.entries);
            }
        }
        self.fits(&layout)?;
        Ok(layout)
    }

    /// Whether it may come back into a region of this layout.
    fn fits(&self, layout: &Layout) -> Result<(), SnapshotError> {
        let parts = self.parts();
        let differing = layout.parts.iter().zip(&parts).find(|(part, found)| {
            SnapshotPart::named(part.name) != found.name
                || (part.at, part.entries, part.entry_len)
                    != (found.at, found.entries, found.entry_len)
        });
        let what = if let Some((part, found)) = differing {
            format!(
                "part {} has {} entries of {} bytes in it, and here {} has {} of {}",
                found.name(),
                found.entries,
                found.entry_len,
                part.name,
                part.entries,
                part.entry_len
            )
        } else if parts.len() != layout.parts.len() {
            format!(
                "it has {} parts, and here are {}",
                parts.len(),
                layout.parts.len()
            )
        } else if layout.hash() != self.head.layout_hash || layout.bytes != self.head.region_bytes {
            "its parts are the same, and another version of the engine gave them their meaning"
                .to_owned()
        } else {
            return Ok(());
        };
        Err(SnapshotError::OtherLayout {
            found: self.head.layout_hash,
            expected: layout.hash(),
            what,
        })
    }

    /// The page map: a bit a page of the region, the lowest first, set where the page is stored.
    fn map(&self) -> impl Iterator<Item = u64> {
        let start = self.map_at();
        let bytes = &self.bytes[start..start + map_len(self.head.region_bytes)];
        bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
    }

    /// The stored pages in their order.
    fn content(&self) -> std::slice::ChunksExact<'_, u8> {
        let start = self.map_at() + map_len(self.head.region_bytes);
        self.bytes[start..self.bytes.len() - CHECKSUM].chunks_exact(PAGE)
    }

    fn map_at(&self) -> usize {
        size_of::<SnapshotHead>() + self.head.parts as usize * size_of::<SnapshotPart>()
    }
}

fn pages_of(region_bytes: u64) -> usize {
    (region_bytes / PAGE as u64) as usize
}

fn map_len(region_bytes: u64) -> usize {
    pages_of(region_bytes).div_ceil(64) * 8
}

/// Bytes of a snapshot with this head, unless no region has such sizes.
fn expected_len(head: &SnapshotHead) -> Option<u64> {
    let region = head.region_bytes;
    let is_region = (PAGE as u64..=REGION_BYTES_MAX).contains(&region)
        && region.is_multiple_of(PAGE as u64)
        && head.pages <= pages_of(region) as u64
        && head.parts <= 1024;
    is_region.then(|| {
        (size_of::<SnapshotHead>() + CHECKSUM + map_len(region)) as u64
            + u64::from(head.parts) * size_of::<SnapshotPart>() as u64
            + head.pages * PAGE as u64
    })
}

/// A page of a region as words.
fn page_words(shard: Shard<'_>, index: usize) -> &[Cell<u64>; PAGE / 8] {
    shard.memory.at((index * PAGE) as u32)
}

/// The same, or `None` where all are zero.
fn used_words(shard: Shard<'_>, index: usize) -> Option<&[Cell<u64>; PAGE / 8]> {
    let words = page_words(shard, index);
    words.iter().any(|word| word.get() != 0).then_some(words)
}

/// Takes out of a page what belongs to a run.
fn blank(page: &mut [u8; PAGE], index: usize, layout: &Layout) {
    let scratch = layout.parts.iter().filter(|part| part.name == "scratch");
    let scratch = scratch.map(|part| (part.at as usize, part.bytes() as usize));
    for (at, len) in RUN_WORDS.into_iter().chain(scratch) {
        let start = at.saturating_sub(index * PAGE).min(PAGE);
        let end = (at + len).saturating_sub(index * PAGE).min(PAGE);
        page[start..end].fill(0);
    }
}

/// A native shard that follows another one by its records, from its beginning or from a snapshot of it.
///
/// What it writes itself goes to its recorder: nowhere, unless somebody compares it with what was recorded.
pub struct Replica<R = Discard> {
    counting: Counting<R>,
    replayer: Replayer,
    /// Sequence of the first record that it needs.
    first: u64,
}

impl Replica {
    /// Of a shard that is followed from its first record. `broken`: as for [`Replayer::new`].
    ///
    /// # Errors
    /// The capacity is refused, or memory is short.
    pub fn new(capacity: &Capacity, broken: Option<u64>) -> Result<Replica, NativeError> {
        Replica::with_recorder(capacity, broken, Discard)
    }

    /// Of a shard that is followed from a snapshot of it, which must be of the capacity given.
    ///
    /// # Errors
    /// As [`Replica::new`] and [`Snapshot::restore`].
    ///
    /// # Panics
    /// As [`Snapshot::restore`].
    pub fn from_snapshot(
        snapshot: &Snapshot,
        capacity: &Capacity,
        broken: Option<u64>,
    ) -> Result<Replica, ReplicaError> {
        Replica::from_snapshot_with(snapshot, capacity, broken, Discard)
    }
}

impl Replica<Tape> {
    /// Records that it has written since the last call.
    pub fn take_records(&mut self) -> Vec<u8> {
        self.counting.0.take_records()
    }
}

impl<R: Recorder> Replica<R> {
    /// As [`Replica::new`], with a recorder.
    ///
    /// # Errors
    /// As [`Replica::new`].
    pub fn with_recorder(
        capacity: &Capacity,
        broken: Option<u64>,
        recorder: R,
    ) -> Result<Replica<R>, NativeError> {
        Ok(Replica::of(
            Native::with_recorder(capacity, recorder)?,
            broken,
        ))
    }

    /// As [`Replica::from_snapshot`], with a recorder.
    ///
    /// # Errors
    /// As [`Replica::from_snapshot`].
    ///
    /// # Panics
    /// As [`Snapshot::restore`].
    pub fn from_snapshot_with(
        snapshot: &Snapshot,
        capacity: &Capacity,
        broken: Option<u64>,
        recorder: R,
    ) -> Result<Replica<R>, ReplicaError> {
        let native = Native::with_recorder(capacity, recorder).map_err(ReplicaError::Native)?;
        snapshot
            .restore(native.shard(), native.layout())
            .map_err(ReplicaError::Snapshot)?;
        Ok(Replica::of(native, broken))
    }

    fn of(native: Native<R>, broken: Option<u64>) -> Replica<R> {
        let counting = Counting(native);
        Replica {
            first: counting.next_sequence(),
            replayer: Replayer::new(&counting, broken),
            counting,
        }
    }

    /// Takes whole records, the next ones. Those that a snapshot has seen already are passed over.
    ///
    /// # Errors
    /// The record is wrong; the replica stands before it.
    pub fn feed(&mut self, mut records: &[u8]) -> Result<(), ReplayError> {
        let unreadable = ReplayError::Unreadable {
            sequence: self.counting.next_sequence(),
        };
        while !records.is_empty() {
            let (head, _) = RecordHead::read_from_prefix(records).map_err(|_| unreadable)?;
            let len = usize::from(head.slots.max(1)) * SLOT_LEN;
            let (record, rest) = records.split_at_checked(len).ok_or(unreadable)?;
            if head.sequence >= self.first {
                self.replayer.feed(record, &mut self.counting)?;
            }
            records = rest;
        }
        Ok(())
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> Shard<'_> {
        self.counting.0.shard()
    }

    /// Its state as it is now: before a packet of which only the first messages were fed.
    ///
    /// # Errors
    /// See [`Snapshot::take`].
    ///
    /// # Panics
    /// As [`Snapshot::take`].
    pub fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        Snapshot::take(self.shard(), self.counting.0.layout())
    }

    /// Ends following: how the record ended.
    #[must_use]
    pub fn finish(self) -> Tail {
        self.replayer.finish(&self.counting)
    }

    /// Ends following: the shard, to go on with, and how the record ended.
    #[must_use]
    pub fn into_native(self) -> (Native<R>, Tail) {
        let tail = self.replayer.finish(&self.counting);
        (self.counting.0, tail)
    }
}

/// Why a replica could not begin at a snapshot.
#[derive(Debug)]
pub enum ReplicaError {
    /// Its shard could not be made.
    Native(NativeError),
    /// The snapshot does not fit.
    Snapshot(SnapshotError),
}

impl std::fmt::Display for ReplicaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplicaError::Native(error) => error.fmt(f),
            ReplicaError::Snapshot(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplicaError {}

/// A native shard that counts control commands as the kernel program does, which knows by the count where the command ring goes
/// on and by which a daemon knows that the market is set up.
struct Counting<R>(Native<R>);

impl<R: Recorder> Target for Counting<R> {
    fn session_id(&self, session: u32) -> Option<SessionId> {
        Target::session_id(&self.0, session)
    }

    fn next_sequence(&self) -> u64 {
        Target::next_sequence(&self.0)
    }

    fn packet(&mut self, payload: &[u8], time_ns: u64, reply_to: ReplyTo) -> bool {
        Target::packet(&mut self.0, payload, time_ns, reply_to)
    }

    fn step(&mut self) -> bool {
        Target::step(&mut self.0)
    }

    fn control(&mut self, command: &Control, time_ns: u64) {
        Target::control(&mut self.0, command, time_ns);
        let taken = &self.0.shard().header().controls_taken;
        taken.set(taken.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Flow, Input, Options};

    /// A shard after some of a flow, and its records.
    fn driven<R: Recorder>(native: &mut Native<R>, flow: &mut Flow, inputs: usize) {
        for _ in 0..inputs {
            let input = flow.next_input();
            let boot_ns = flow.boot_ns();
            match input {
                Input::Packet(payload) => {
                    let answer = native.packet(&payload, boot_ns, None).ok();
                    flow.observe(answer.as_ref().map(|(_, answer)| answer.as_slice()));
                }
                Input::Control(commands) => {
                    native.control(&commands, boot_ns);
                }
                Input::Steps => native.steps(),
            }
        }
    }

    fn sample() -> (Native, Flow) {
        let mut flow = Flow::new(0x5A5A, Options::default());
        let mut native = Native::new(&Flow::capacity()).unwrap();
        let setup = flow.setup();
        native.control(&setup, flow.boot_ns());
        driven(&mut native, &mut flow, 3_000);
        (native, flow)
    }

    #[test]
    fn what_comes_back_is_what_was_taken() {
        let (native, _) = sample();
        let snapshot = Snapshot::take(native.shard(), native.layout()).unwrap();
        let read = Snapshot::from_bytes(snapshot.bytes().to_vec()).unwrap();
        read.verify().unwrap();
        let other = Native::new(&Flow::capacity()).unwrap();
        read.restore(other.shard(), other.layout()).unwrap();
        let again = Snapshot::take(other.shard(), other.layout()).unwrap();
        assert!(
            again.bytes() == snapshot.bytes(),
            "nothing is lost on the way"
        );
        assert_eq!(other.shard().header().lock.get(), 0);
        let scratch = snapshot.parts()[1];
        assert_eq!(scratch.name(), "scratch");
    }

    #[test]
    fn a_used_shard_is_written_over() {
        let (mut native, mut flow) = sample();
        let empty = Native::new(&Flow::capacity()).unwrap();
        let before = Snapshot::take(native.shard(), native.layout()).unwrap();
        driven(&mut native, &mut flow, 500);
        for snapshot in [
            before,
            Snapshot::take(empty.shard(), empty.layout()).unwrap(),
        ] {
            snapshot.restore(native.shard(), native.layout()).unwrap();
            let again = Snapshot::take(native.shard(), native.layout()).unwrap();
            assert!(again.bytes() == snapshot.bytes());
        }
    }

    #[test]
    fn a_replica_goes_on_from_any_snapshot_of_itself() {
        let (mut native, mut flow) = sample();
        let capacity = Flow::capacity();
        let mut records = native.take_records();
        let mut replica = Replica::new(&capacity, None).unwrap();
        replica.feed(&records).unwrap();
        let snapshot = replica.snapshot().unwrap();
        assert_eq!(snapshot.state_hash(), native.shard().state_hash());
        driven(&mut native, &mut flow, 1_000);
        records.extend(native.take_records());
        // With the records from the beginning: those that it has seen are passed over.
        let mut late = Replica::from_snapshot(&snapshot, &capacity, None).unwrap();
        late.feed(&records).unwrap();
        let late_snapshot = late.snapshot().unwrap();
        assert_eq!(late_snapshot.state_hash(), native.shard().state_hash());
        assert_eq!(late.finish(), Tail::Clean);
        let mut whole = Replica::new(&capacity, None).unwrap();
        whole.feed(&records).unwrap();
        assert!(whole.snapshot().unwrap().bytes() == late_snapshot.bytes());
    }

    fn refused(bytes: &[u8]) -> String {
        Snapshot::from_bytes(bytes.to_vec())
            .expect_err("these bytes are no snapshot")
            .to_string()
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (native, _) = sample();
        let good = Snapshot::take(native.shard(), native.layout()).unwrap();
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = good.bytes().to_vec();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            changed
        };
        for (bytes, expected) in [
            (b"something else".to_vec(), "no snapshot"),
            (with(8, &[9]), "format version 9"),
            (good.bytes()[..100].to_vec(), "truncated: 100 bytes"),
            (good.bytes()[..5000].to_vec(), "truncated: 5000 bytes"),
            ([good.bytes(), &[0]].concat(), "where its head says"),
            (with(6000, &[0xA5, 0x5A, 0xA5]), "checksum is wrong"),
            (with(24, &[1]), "impossible sizes"),
        ] {
            let text = refused(&bytes);
            assert!(text.contains(expected), "{text}");
        }
        // A right checksum over what contradicts itself.
        let mut changed = with(128 + 48 * PARTS, &[0]);
        let len = changed.len() - CHECKSUM;
        let checksum = blake3::hash(&changed[..len]);
        changed[len..].copy_from_slice(checksum.as_bytes());
        assert!(refused(&changed).contains("page map"));
    }

    #[test]
    fn another_capacity_is_refused_and_left_alone() {
        let (native, _) = sample();
        let snapshot = Snapshot::take(native.shard(), native.layout()).unwrap();
        let capacity = Capacity {
            orders: Flow::capacity().orders + 1,
            ..Flow::capacity()
        };
        let other = Native::new(&capacity).unwrap();
        let before = other.shard().state_hash();
        let error = snapshot
            .restore(other.shard(), other.layout())
            .unwrap_err()
            .to_string();
        assert!(error.contains("part orders has"), "{error}");
        assert_eq!(other.shard().header().magic.get(), SHARD_MAGIC);
        assert_eq!(other.shard().state_hash(), before);
    }

    #[test]
    fn a_running_or_broken_shard_is_not_taken() {
        let (native, _) = sample();
        let (shard, layout) = (native.shard(), native.layout());
        shard.header().halted.set(0);
        let error = Snapshot::take_halted(shard, layout).unwrap_err();
        assert!(matches!(error, SnapshotError::NotHalted), "{error}");
        shard.header().halted.set(1);
        Snapshot::take_halted(shard, layout).unwrap();
        shard.header().broken.set(2);
        let error = Snapshot::take(shard, layout).unwrap_err();
        assert!(
            matches!(error, SnapshotError::Broken { fault: 2, .. }),
            "{error}"
        );
    }
}
