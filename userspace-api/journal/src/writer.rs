//! The writer's other side: the thread that has the disk, and the way to it.
//!
//! Always true: no page that was synced is written again; a block is written only when the one before it is on the disk, so that at
//! most one block can be torn and everything behind a bad one proves damage. After the first failure nothing is written any more.
//!
//! Room that was made and never written costs the file system a change of its own tables in every sync, some milliseconds; where zeros
//! were written it has none. So small blocks, for whose sync somebody waits, go where zeros have been written after an earlier one.

use crate::block::{Builder, Page, Place};
use crate::journal::Durable;
use crate::segment::{PART, SegmentHeader, segment_path};
use crate::storage::{Storage, StorageFile, write_all};
use crate::watermark::{Watermark, watermark_path};
use crate::{Failure, PAGE};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder as ThreadBuilder, JoinHandle};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// How long the watermark may wait for its own sync: one more sync in so much time, and what may be taken for a tear though it was
/// whole is what was written in so much time before the machine died.
const WATERMARK_EVERY: Duration = Duration::from_secs(1);

/// Bytes of a block that is small: its own writing takes less than the file system's tables would.
const SMALL_BYTES: u64 = 128 << 10;

/// Bytes of zeros written at once, some 0.5 ms, before 256 of the smallest blocks or eight of the largest small ones.
const AHEAD_BYTES: u64 = 1 << 20;

/// What has the disk.
pub(crate) struct Writer<S: Storage> {
    pub(crate) storage: S,
    pub(crate) folder: PathBuf,
    pub(crate) segment_bytes: u64,
    /// Of the segment being written.
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) segment: S::File,
    /// Where the next block begins, and what it follows: all before it is on the disk.
    pub(crate) offset: u64,
    pub(crate) place: Place,
    /// Bytes of the segment that there is room for.
    pub(crate) limit: u64,
    /// Up to where zeros were written, if that is beyond `offset`.
    pub(crate) zeroed: u64,
    pub(crate) zeros: Vec<Page>,
    pub(crate) watermark: Watermark,
    pub(crate) watermark_file: S::File,
    pub(crate) watermark_synced: Instant,
}

impl<S: Storage> Writer<S> {
    /// Writes a block and waits until it is on the disk; `behind` is what the next one follows.
    fn commit(&mut self, block: &[u8], behind: Place) -> Result<(), Failure> {
        if self.offset + block.len() as u64 > self.limit {
            self.roll()?;
        }
        write_all(&self.segment, block, self.offset).map_err(Failure::of(&self.path, "write"))?;
        let synced = self.segment.sync_data();
        synced.map_err(Failure::of(&self.path, "sync"))?;
        self.offset += block.len() as u64;
        self.place = behind;
        self.mark()
    }

    /// What has time until the block is reported.
    fn prepare(&mut self, block_bytes: u64) -> Result<(), Failure> {
        if self.watermark_synced.elapsed() >= WATERMARK_EVERY {
            self.sync_watermark()?;
        }
        let from = self.zeroed.max(self.offset);
        let end = (self.offset + AHEAD_BYTES).min(self.limit);
        if block_bytes > SMALL_BYTES || from >= end || from - self.offset >= SMALL_BYTES {
            return Ok(());
        }
        let pages = (end - from) as usize / PAGE;
        if self.zeros.len() < pages {
            self.zeros.resize(pages, Page([0; PAGE]));
        }
        let zeros = self.zeros[..pages].as_bytes();
        write_all(&self.segment, zeros, from).map_err(Failure::of(&self.path, "write"))?;
        let synced = self.segment.sync_data();
        synced.map_err(Failure::of(&self.path, "sync"))?;
        self.zeroed = end;
        Ok(())
    }

    /// Closes the segment and goes on in a new one.
    fn roll(&mut self) -> Result<(), Failure> {
        let failed = |act| Failure::of(&self.path, act);
        self.segment.set_len(self.offset).map_err(failed("close"))?;
        self.segment.sync_all().map_err(failed("sync"))?;
        let place = self.place;
        self.header = self
            .header
            .following(place.position, place.next_sequence, place.chain);
        let bytes = self.segment_bytes;
        (self.path, self.segment) = make_segment(&self.storage, &self.folder, &self.header, bytes)?;
        (self.offset, self.limit, self.zeroed) = (PAGE as u64, bytes, 0);
        Ok(())
    }

    /// Writes how far the journal is on the disk.
    pub(crate) fn mark(&mut self) -> Result<(), Failure> {
        self.watermark.position = self.place.position;
        self.watermark.next_sequence = self.place.next_sequence;
        let path = watermark_path(&self.folder);
        let written = self.watermark.write(&self.watermark_file);
        written.map_err(Failure::of(&path, "write"))
    }

    pub(crate) fn sync_watermark(&mut self) -> Result<(), Failure> {
        let path = watermark_path(&self.folder);
        let synced = self.watermark_file.sync_all();
        synced.map_err(Failure::of(&path, "sync"))?;
        self.watermark_synced = Instant::now();
        Ok(())
    }

    pub(crate) fn sync_folder(&mut self) -> Result<(), Failure> {
        let synced = self.storage.sync_folder(&self.folder);
        synced.map_err(Failure::of(&self.folder, "sync"))
    }

    /// Removes the segments that begin at these positions; the oldest that stays begins at `first`.
    pub(crate) fn remove(&mut self, segments: &[u64], first: u64) -> Result<(), Failure> {
        // First the word, then the deed: whoever dies between finds segments that are no longer needed.
        self.watermark.first = first;
        self.mark()?;
        self.sync_watermark()?;
        for segment in segments {
            let path = segment_path(&self.folder, *segment);
            let removed = self.storage.remove(&path);
            removed.map_err(Failure::of(&path, "remove"))?;
        }
        self.sync_folder()
    }
}

/// The writer, and the first reason why it writes nothing any more.
struct Shared<S: Storage> {
    writer: Writer<S>,
    failed: Option<Failure>,
}

impl<S: Storage> std::fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("segment", &self.writer.path)
            .field("offset", &self.writer.offset)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Shared<S> {
    fn attempt(&mut self, act: impl FnOnce(&mut Writer<S>) -> Result<(), Failure>) -> bool {
        if self.failed.is_none() {
            self.failed = act(&mut self.writer).err();
        }
        self.failed.is_none()
    }
}

/// A block that is on the disk.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) durable: Durable,
    pub(crate) builder: Builder,
}

/// The way to the disk's thread and back. Ended with the value: what was sent is written, or nothing more is after a failure.
#[derive(Debug)]
pub(crate) struct Pipe<S: Storage> {
    shared: Arc<Mutex<Shared<S>>>,
    /// `None` only while it ends.
    blocks: Option<Sender<(Builder, Place)>>,
    /// What was written; `None` says that nothing more will be.
    written: Receiver<Option<Written>>,
    arrived: VecDeque<Written>,
    is_over: bool,
    thread: Option<JoinHandle<()>>,
}

impl<S: Storage> Pipe<S> {
    pub(crate) fn start(writer: Writer<S>) -> io::Result<Pipe<S>> {
        let shared = Arc::new(Mutex::new(Shared {
            writer,
            failed: None,
        }));
        let (blocks, received) = channel();
        let (sender, written) = channel();
        let theirs = Arc::clone(&shared);
        let thread = ThreadBuilder::new()
            .name("ring0 journal".to_owned())
            .spawn(move || write(&theirs, &received, &sender))?;
        Ok(Pipe {
            shared,
            blocks: Some(blocks),
            written,
            arrived: VecDeque::new(),
            is_over: false,
            thread: Some(thread),
        })
    }

    /// Sends a sealed block; what was sent before a failure or behind one does not come back.
    pub(crate) fn send(&self, builder: Builder, behind: Place) {
        let blocks = self.blocks.as_ref().expect("only its end takes it");
        // A thread that has ended has said so, and why.
        let _ = blocks.send((builder, behind));
    }

    /// The next block that is on the disk, if it was not told yet.
    pub(crate) fn written(&mut self) -> Option<Written> {
        while let Ok(written) = self.written.try_recv() {
            self.take(written);
        }
        self.arrived.pop_front()
    }

    /// Waits until a block is on the disk, or none will be.
    pub(crate) fn wait_for_one(&mut self) {
        if self.arrived.is_empty() && !self.is_over {
            let written = self.written.recv();
            self.take(written.expect("the thread says when it ends, or it has panicked"));
        }
    }

    /// The same, at most so long.
    pub(crate) fn wait(&mut self, at_most: Duration) {
        if self.arrived.is_empty()
            && !self.is_over
            && let Ok(written) = self.written.recv_timeout(at_most)
        {
            self.take(written);
        }
    }

    fn take(&mut self, written: Option<Written>) {
        self.is_over |= written.is_none();
        self.arrived.extend(written);
    }

    /// The first failure, if there was one. It is asked for when what was written has been taken: a failure may come after a block.
    pub(crate) fn failure(&self) -> Option<Failure> {
        // While the thread has a block it has the lock; then it will say what came of it.
        let shared = match self.shared.try_lock() {
            Ok(shared) => shared,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) if !self.is_over => return None,
            Err(std::sync::TryLockError::WouldBlock) => lock(&self.shared),
        };
        shared.failed.clone()
    }

    /// Does something between two blocks, if nothing has failed.
    pub(crate) fn with_writer(&self, act: impl FnOnce(&mut Writer<S>) -> Result<(), Failure>) {
        lock(&self.shared).attempt(act);
    }
}

impl<S: Storage> Drop for Pipe<S> {
    fn drop(&mut self) {
        self.blocks = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was printed.
            let _ = thread.join();
        }
    }
}

fn lock<S: Storage>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread: block by block, until there are no more or one failed.
fn write<S: Storage>(
    shared: &Mutex<Shared<S>>,
    blocks: &Receiver<(Builder, Place)>,
    written: &Sender<Option<Written>>,
) {
    while let Ok((mut builder, behind)) = blocks.recv() {
        let mut shared = lock(shared);
        let bytes = builder.block().len() as u64;
        let mut is_good = shared.attempt(|writer| writer.commit(builder.block(), behind));
        if is_good {
            builder.clear();
            let durable = Durable {
                position: behind.position,
                next_sequence: behind.next_sequence,
            };
            // Nobody hears it when the journal was dropped.
            let _ = written.send(Some(Written { durable, builder }));
            is_good = shared.attempt(|writer| writer.prepare(bytes));
        }
        if !is_good {
            drop(shared);
            let _ = written.send(None);
            return;
        }
    }
}

/// Makes a segment that has its header and room, whole and on the disk before it has its name.
pub(crate) fn make_segment<S: Storage>(
    storage: &S,
    folder: &Path,
    header: &SegmentHeader,
    bytes: u64,
) -> Result<(PathBuf, S::File), Failure> {
    let path = segment_path(folder, header.first);
    let part = path.with_extension(&PART[1..]);
    let failed = |act| Failure::of(&part, act);
    let file = storage.create(&part).map_err(failed("make"))?;
    file.allocate(bytes).map_err(failed("make room in"))?;
    write_all(&file, &header.page(), 0).map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    file.write_directly().map_err(failed("set the mode of"))?;
    storage
        .rename(&part, &path)
        .map_err(failed("give its name to"))?;
    let synced = storage.sync_folder(folder);
    synced.map_err(Failure::of(folder, "sync"))?;
    Ok((path, file))
}
