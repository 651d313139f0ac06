//! The writer's one side: records in, sealed blocks to the thread that has the disk, which `writer.rs` is.
//!
//! Always true: a block is counted as durable when that thread said so, in order. After the first failure of a write or sync the
//! journal is failed for ever: nothing is written, and every call says the first reason.
//! While a block is on its way to the disk the next is built; a block grows as long as the disk has work, up to its maximum.

use crate::block::{BLOCK_HEADER, BLOCK_SLOTS_MAX, Builder, INDEX_ENTRY, Place, split_record};
use crate::reader::Reader;
use crate::segment::{PART, SegmentHeader, segment_path, segments};
use crate::snapshots::VerifiedSnapshot;
use crate::storage::{Disk, Storage, StorageFile, write_all};
use crate::watermark::{Watermark, watermark_path};
use crate::writer::{Pipe, Writer, make_segment};
use crate::{Failure, JournalError, PAGE};
use ring0_engine::limits::SLOT_LEN;
use ring0_mq::{Identity, MqError, Sink};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Slots of the largest record.
const RECORD_SLOTS_MAX: usize = 2;

/// Blocks in memory: one is built, one is on its way to the disk, and one is ready for when that is there.
const BUILDERS: usize = 3;

/// How a journal is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a segment, whole pages, two at least: what is made at once, and removed at once. Larger ones waste more of a small
    /// disk; smaller ones stop for a new one more often, some milliseconds each time.
    pub segment_bytes: u64,
    /// Bytes of slots that wait before they are synced.
    pub sync_bytes: usize,
    /// How long the first slot that is not synced may wait.
    pub sync_after: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            sync_bytes: 1 << 20,
            sync_after: Duration::from_millis(1),
        }
    }
}

/// How far a journal is on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Durable {
    /// The ring's position behind the last slot.
    pub position: u64,
    /// Sequence number behind the last record; 0: there is none yet.
    pub next_sequence: u64,
}

/// What a removal took away.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Removed {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal<S: Storage = Disk> {
    pipe: Pipe<S>,
    folder: PathBuf,
    options: Options,
    identity: Identity,
    journal_id: [u8; 16],
    /// Slots of a block at the most, so that any fits an empty segment.
    slots_max: usize,
    /// What the next block follows: all before it was sealed.
    place: Place,
    /// All before it is on the disk.
    durable: Durable,
    builder: Builder,
    /// Builders that have nothing to do.
    free: Vec<Builder>,
    /// Sequence behind the last record taken; 0: any may come.
    taken: u64,
    /// When the first record that waits came.
    since: Option<Instant>,
    failed: Option<Failure>,
    cut_bytes: u64,
    /// Held for its lock: a journal has one writer.
    _lock: Lock,
}

impl Journal<Disk> {
    /// Opens a folder's journal to go on with, or begins one at the ring's position `first`. All of it is checked; what a dying
    /// machine left unfinished is cut off.
    ///
    /// # Errors
    /// The file system's, another writer, another shard's journal, or anything in it that is wrong: nothing is changed then.
    pub fn open(
        folder: &Path,
        identity: &Identity,
        first: u64,
        options: Options,
    ) -> Result<Journal, JournalError> {
        Journal::open_in(Disk, folder, identity, first, options)
    }
}

impl<S: Storage> Journal<S> {
    /// As [`Journal::open`], written through another storage.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_in(
        storage: S,
        folder: &Path,
        identity: &Identity,
        first: u64,
        options: Options,
    ) -> Result<Journal<S>, JournalError> {
        let page = PAGE as u64;
        if options.segment_bytes < 2 * page || !options.segment_bytes.is_multiple_of(page) {
            return Err(JournalError::Option {
                option: "segment_bytes",
                value: options.segment_bytes,
                range: "a multiple of 4096, 8192 at least",
            });
        }
        let lock = lock_folder(folder)?;
        let kept = segments(folder).map_err(|e| JournalError::file(folder, "list", e))?;
        if kept.is_empty() && Watermark::read(folder)?.is_none() {
            begin(&storage, folder, identity, first, options.segment_bytes)?;
        }

        let mut reader = Reader::open(folder)?;
        if reader.identity() != *identity {
            return Err(JournalError::OtherShard {
                path: folder.to_owned(),
            });
        }
        // Offset and length of the last block, which nobody may have synced.
        let mut last = None;
        while let Some(block) = reader.next_block()? {
            let bytes = u64::from(block.header().bytes);
            last = Some(bytes);
        }
        let cut_bytes = reader.tail_bytes()?;
        let header = *reader.segment();
        let found = reader.watermark()?;

        // All is good: only now is anything changed.
        let path = reader.path().to_owned();
        let failed = |act| Failure::of(&path, act);
        let watermark = if let Some(watermark) = found {
            watermark
        } else {
            let oldest = kept.first().copied().unwrap_or(first);
            let mut new = Watermark::new(header.journal_id, oldest);
            new.make(&storage, folder)?;
            new
        };
        remove_left_over(&storage, folder, &watermark)?;
        let segment = storage.open(&path).map_err(failed("open"))?;
        if cut_bytes != 0 {
            segment
                .set_len(reader.offset())
                .map_err(failed("cut the tail of"))?;
        }
        segment
            .allocate(options.segment_bytes)
            .map_err(failed("make room in"))?;
        let is_unsure = watermark.position < reader.position() && reader.offset() > page;
        if let Some(bytes) = last.filter(|_| is_unsure) {
            // The process before may have died, or been told of an error, between its write and its sync. Then the kernel has pages
            // that look written and are not: written once more, they are the sync's matter again.
            rewrite(&segment, &path, reader.offset() - bytes, bytes)?;
        }
        segment.sync_all().map_err(failed("sync"))?;
        let direct = segment.write_directly();
        direct.map_err(failed("set the mode of"))?;
        let limit = fs::metadata(&path).map_err(failed("open"))?.len();
        let watermark_path = watermark_path(folder);
        let watermark_file = storage
            .open(&watermark_path)
            .map_err(Failure::of(&watermark_path, "open"))?;

        let place = reader.place();
        let writer = Writer {
            storage,
            folder: folder.to_owned(),
            segment_bytes: options.segment_bytes,
            header,
            path,
            segment,
            offset: reader.offset(),
            place,
            limit,
            zeroed: 0,
            zeros: Vec::new(),
            watermark,
            watermark_file,
            watermark_synced: Instant::now(),
        };
        let slots_max = slots_max(options.segment_bytes);
        let mut journal = Journal {
            pipe: Pipe::start(writer)
                .map_err(|error| JournalError::file(folder, "start the thread of", error))?,
            folder: folder.to_owned(),
            options,
            identity: *identity,
            journal_id: header.journal_id,
            slots_max,
            place,
            durable: Durable {
                position: place.position,
                next_sequence: place.next_sequence,
            },
            builder: Builder::new(slots_max),
            free: (1..BUILDERS).map(|_| Builder::new(slots_max)).collect(),
            taken: reader.next_sequence(),
            since: None,
            failed: None,
            cut_bytes,
            _lock: lock,
        };
        journal.attempt(|writer| {
            writer.mark()?;
            writer.sync_watermark()?;
            writer.sync_folder()
        })?;
        Ok(journal)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The ring's position behind the last slot that was taken, on the disk or not.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.place.position + self.builder.slots() as u64
    }

    /// How far it is on the disk.
    #[must_use]
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// Bytes behind the last whole block that opening cut off: of a block that was never completed.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// The first failure of a write or sync, after which nothing is taken.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failed.as_ref()
    }

    /// Takes whole records, the ring's next ones, and sends them to the disk when enough wait or the first has waited long enough and the
    /// disk has time for them; gives how far the journal is there. It waits for the disk only where there is no more room.
    ///
    /// # Errors
    /// They are not the next records, and none was taken; or a write or sync failed, now or before.
    pub fn append(&mut self, slots: &[u8]) -> Result<Durable, JournalError> {
        self.still_good()?;
        let (mut rest, mut next) = (slots, self.taken);
        while !rest.is_empty() {
            let (sequence, _, after) =
                split_record(rest, next).map_err(|problem| JournalError::NotNext { problem })?;
            (rest, next) = (after, sequence + 1);
        }
        rest = slots;
        while !rest.is_empty() {
            if self.builder.slots() + RECORD_SLOTS_MAX > self.slots_max {
                self.send()?;
            }
            let (sequence, record, after) =
                split_record(rest, self.taken).expect("it was looked at");
            self.builder.push(record, sequence);
            (rest, self.taken) = (after, sequence + 1);
            self.since.get_or_insert_with(Instant::now);
        }
        self.sync_if_due()
    }

    /// When the records that wait must be synced; `None` when none waits.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.options.sync_after)
    }

    /// Sends what waits to the disk if that has time, and enough waits or the first record has waited long enough; gives how far the journal
    /// is there.
    ///
    /// # Errors
    /// As [`Journal::sync`].
    pub fn sync_if_due(&mut self) -> Result<Durable, JournalError> {
        self.collect()?;
        let is_enough = self.builder.slots() * SLOT_LEN >= self.options.sync_bytes;
        let is_due = is_enough || self.due().is_some_and(|due| Instant::now() >= due);
        if is_due && self.builder.records() != 0 && !self.free.is_empty() {
            self.send()?;
        }
        Ok(self.durable)
    }

    /// Waits until the disk has done something that the next call will tell, at most so long.
    pub fn wait(&mut self, at_most: Duration) {
        self.pipe.wait(at_most);
    }

    /// Sends what waits to the disk as one block and waits until all is there; gives how far the journal is.
    ///
    /// # Errors
    /// A write or sync failed, now or before: nothing is taken any more.
    pub fn sync(&mut self) -> Result<Durable, JournalError> {
        self.collect()?;
        if self.builder.records() != 0 {
            self.send()?;
        }
        while self.free.len() + 1 < BUILDERS {
            self.pipe.wait_for_one();
            self.collect()?;
        }
        Ok(self.durable)
    }

    /// Syncs what waits and the watermark, after which every change of a byte is found.
    ///
    /// # Errors
    /// As [`Journal::sync`].
    pub fn close(mut self) -> Result<Durable, JournalError> {
        let durable = self.sync()?;
        self.attempt(Writer::sync_watermark)?;
        Ok(durable)
    }

    /// Removes segments of which every record is below `sequence`, never the last, on the word of a snapshot that was verified.
    ///
    /// # Errors
    /// The snapshot has not seen all below `sequence`, or is of another layout; or a write failed, now or before.
    pub fn remove_below(
        &mut self,
        sequence: u64,
        covered: &VerifiedSnapshot,
    ) -> Result<Removed, JournalError> {
        self.collect()?;
        let expected = self.identity.layout_hash;
        if covered.layout_hash() != expected {
            return Err(JournalError::OtherLayout {
                found: covered.layout_hash(),
                expected,
            });
        }
        if sequence > covered.next_sequence() {
            return Err(JournalError::NotCovered {
                sequence,
                seen: covered.next_sequence(),
            });
        }
        let all = segments(&self.folder)
            .map_err(|error| JournalError::file(&self.folder, "list", error))?;
        // The first segment that has a record which stays: the next one begins above `sequence`, or there is none.
        let mut kept = 0;
        while kept + 1 < all.len() {
            let next = Reader::first_sequence_of(&self.folder, all[kept + 1])?;
            if next > sequence {
                break;
            }
            kept += 1;
        }
        let mut removed = Removed::default();
        for first in &all[..kept] {
            let path = segment_path(&self.folder, *first);
            removed.segments += 1;
            removed.bytes += fs::metadata(&path).map_or(0, |it| it.len());
        }
        if kept != 0 {
            self.attempt(|writer| writer.remove(&all[..kept], all[kept]))?;
        }
        Ok(removed)
    }

    fn still_good(&self) -> Result<(), JournalError> {
        match &self.failed {
            Some(failure) => Err(JournalError::Failed(failure.clone())),
            None => Ok(()),
        }
    }

    /// Has the writer do what may fail only once, between two blocks.
    fn attempt(
        &mut self,
        act: impl FnOnce(&mut Writer<S>) -> Result<(), Failure>,
    ) -> Result<(), JournalError> {
        self.pipe.with_writer(act);
        self.collect()
    }

    /// Learns what the disk has done.
    fn collect(&mut self) -> Result<(), JournalError> {
        while let Some(written) = self.pipe.written() {
            self.durable = written.durable;
            self.free.push(written.builder);
        }
        if self.failed.is_none() {
            self.failed = self.pipe.failure();
        }
        self.still_good()
    }

    /// Seals what waits and sends it to the disk, where it must first wait for room for the next block.
    fn send(&mut self) -> Result<(), JournalError> {
        while self.free.is_empty() {
            self.pipe.wait_for_one();
            self.collect()?;
        }
        let next = self.free.pop().expect("waited for");
        let mut builder = std::mem::replace(&mut self.builder, next);
        let header = builder.finish(&self.place, &self.journal_id);
        self.place = Place {
            position: header.end(),
            next_sequence: header.next_sequence(),
            chain: header.chain,
        };
        self.since = None;
        self.pipe.send(builder, self.place);
        Ok(())
    }
}

impl<S: Storage> Sink for Journal<S> {
    fn location(&self) -> &Path {
        &self.folder
    }

    fn position(&self) -> u64 {
        Journal::position(self)
    }

    fn durable(&self) -> u64 {
        self.durable.position
    }

    fn durable_sequence(&self) -> u64 {
        self.durable.next_sequence.saturating_sub(1)
    }

    fn wait(&mut self, at_most: Duration) {
        // What is not yet due is the next thing to do.
        let due = self
            .due()
            .map(|due| due.saturating_duration_since(Instant::now()));
        let at_most = due
            .filter(|_| !self.free.is_empty())
            .map_or(at_most, |due| due.min(at_most));
        if self.free.len() + 1 < BUILDERS {
            Journal::wait(self, at_most);
        } else {
            std::thread::sleep(at_most);
        }
    }

    fn append(&mut self, slots: &[u8]) -> Result<(), MqError> {
        let appended = Journal::append(self, slots);
        appended.map(drop).map_err(sink_error)
    }

    fn sync(&mut self, all: bool) -> Result<(), MqError> {
        let synced = match all {
            true => Journal::sync(self),
            false => self.sync_if_due(),
        };
        synced.map(drop).map_err(sink_error)
    }
}

/// A journal's error as a recorder passes it on.
fn sink_error(error: JournalError) -> MqError {
    MqError::Sink(Box::new(error))
}

/// Slots of a block at the most, so that it fits an empty segment however many records they are.
fn slots_max(segment_bytes: u64) -> usize {
    // A block ends on a page and so does the segment: what fits before is rounded, fits after.
    let room = segment_bytes as usize - PAGE - BLOCK_HEADER;
    (room / (SLOT_LEN + INDEX_ENTRY)).min(BLOCK_SLOTS_MAX)
}

/// A folder's lock. Given back by its own word: closing the file would leave it with a process that was just forked and has not begun
/// its program yet.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Where this fails, closing the file does it, later.
        let _ = self.0.unlock();
    }
}

/// Makes the folder if there is none, and takes it for this writer.
fn lock_folder(folder: &Path) -> Result<Lock, JournalError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| JournalError::file(folder, "make", error))?;
    let lock = File::open(folder).map_err(|error| JournalError::file(folder, "open", error))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(JournalError::Busy {
            path: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(JournalError::file(folder, "lock", error)),
    }
}

/// Makes a journal's first segment.
fn begin<S: Storage>(
    storage: &S,
    folder: &Path,
    identity: &Identity,
    first: u64,
    bytes: u64,
) -> Result<(), Failure> {
    let header = SegmentHeader::new(identity, rand::random(), first);
    make_segment(storage, folder, &header, bytes)?;
    // The folder itself is new, perhaps.
    let parent = folder.parent().filter(|it| !it.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let synced = storage.sync_folder(parent);
    synced.map_err(Failure::of(parent, "sync"))
}

/// Removes segments that a removal had begun to, and one that was never completed.
fn remove_left_over<S: Storage>(
    storage: &S,
    folder: &Path,
    watermark: &Watermark,
) -> Result<(), JournalError> {
    let all = segments(folder).map_err(|error| JournalError::file(folder, "list", error))?;
    let removed = all.into_iter().filter(|first| *first < watermark.first);
    let mut paths: Vec<PathBuf> = removed.map(|first| segment_path(folder, first)).collect();
    for entry in fs::read_dir(folder).map_err(|e| JournalError::file(folder, "list", e))? {
        let path = entry
            .map_err(|error| JournalError::file(folder, "list", error))?
            .path();
        // Of a snapshot it is `.snapshot.part`, and another process may be at it.
        let stem = path.file_stem().and_then(|it| it.to_str()).unwrap_or("");
        let is_part = path.extension().is_some_and(|it| it == &PART[1..]);
        let is_segment = stem.len() == 20 && stem.bytes().all(|it| it.is_ascii_digit());
        if is_part && (is_segment || stem == "watermark") {
            paths.push(path);
        }
    }
    for path in paths {
        let done = storage.remove(&path);
        done.map_err(Failure::of(&path, "remove"))?;
    }
    Ok(())
}

/// Writes the same bytes once more.
fn rewrite(
    segment: &impl StorageFile,
    path: &Path,
    offset: u64,
    bytes: u64,
) -> Result<(), JournalError> {
    let mut block = vec![0; bytes as usize];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut block, offset));
    read.map_err(|error| JournalError::file(path, "read", error))?;
    write_all(segment, &block, offset).map_err(Failure::of(path, "write"))?;
    Ok(())
}
