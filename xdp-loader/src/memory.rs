//! Memory shared with the program: one owned mapping per map, unmapped when dropped.
//!
//! Invariants: a mapping covers its whole map and lives as long as its owner; the program writes
//! to it at any time, so no reference to plain bytes is ever given out, only raw pointers and
//! atomic words. The one exception is [`crate::Fresh`], before anything is attached.

use crate::error::LoaderError;
use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// Page size of every machine this runs on; the kernel's arena counts in it.
pub const PAGE_BYTES: u64 = 4096;

/// Bytes of a record slot.
pub const RECORD_BYTES: usize = 64;

/// Bytes of a cursor: one cache line a word, so that two writers never share one.
pub const CURSOR_BYTES: usize = 64;

/// Bytes of a command slot.
pub const COMMAND_BYTES: usize = 128;

#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: an address range of the process, not of a thread; all access goes through raw pointers
// or atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(map: impl AsFd, bytes: usize, writable: bool, address: Option<u64>) -> io::Result<Self> {
        Self::part(map, 0, bytes, writable, address)
    }

    /// `bytes` of the map from `offset` on, whole pages.
    fn part(
        map: impl AsFd,
        offset: u64,
        bytes: usize,
        writable: bool,
        address: Option<u64>,
    ) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let (hint, flags) = match address {
            Some(address) => (
                std::ptr::with_exposed_provenance_mut(address as usize),
                libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE,
            ),
            None => (std::ptr::null_mut(), libc::MAP_SHARED),
        };
        let fd = map.as_fd().as_raw_fd();
        let offset = i64::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a new range chosen by the kernel, or one where it has found nothing (NOREPLACE).
        let base = unsafe { libc::mmap(hint, bytes, protection, flags, fd, offset) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base =
            NonNull::new(base.cast::<u8>()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { base, bytes })
    }

    /// Address space that nothing else can take and nobody can use.
    fn reserve(address: u64, bytes: usize) -> io::Result<Self> {
        let hint = std::ptr::with_exposed_provenance_mut(address as usize);
        let flags = libc::MAP_PRIVATE
            | libc::MAP_ANONYMOUS
            | libc::MAP_NORESERVE
            | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a range where the kernel has found nothing (NOREPLACE), without access.
        let base = unsafe { libc::mmap(hint, bytes, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base =
            NonNull::new(base.cast::<u8>()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { base, bytes })
    }

    /// The word at `offset_bytes`.
    fn word(&self, offset_bytes: usize) -> &AtomicU64 {
        &self.words::<1>(offset_bytes)[0]
    }

    /// `N` words from `offset_bytes` on.
    #[inline]
    fn words<const N: usize>(&self, offset_bytes: usize) -> &[AtomicU64; N] {
        assert!(
            offset_bytes.is_multiple_of(8),
            "words lie at multiples of eight"
        );
        assert!(
            offset_bytes
                .checked_add(8 * N)
                .is_some_and(|end| end <= self.bytes),
            "words lie inside of their mapping"
        );
        // SAFETY: inside of the mapping, as just checked.
        let address = unsafe { self.base.as_ptr().add(offset_bytes) };
        // SAFETY: aligned, mapped for as long as `self` lives, and shared through atomics only.
        unsafe { &*address.cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this range was mapped by `new` and belongs to `self` alone.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// The arena: all state of the matching core, at the one address that every process uses.
///
/// The rest of the program's 4 GiB and one page behind them are reserved without access: base plus
/// any 32-bit offset is memory or a fault, never somebody else's.
///
/// Writer: the attached program, at any time. A process may write only while the shard is
/// `Halted`, or inside of the load's `init`.
#[derive(Debug)]
pub struct Arena {
    memory: Mapping,
    _reserved: Mapping,
}

/// What a program can reach, and a page for the word that begins at its last byte.
const REACH_BYTES: u64 = (1 << 32) + PAGE_BYTES;

impl Arena {
    pub(crate) fn map(map: impl AsFd, bytes: u64, address: u64) -> Result<Self, LoaderError> {
        Self::map_for(map, bytes, address, true)
    }

    /// The same without the right to write.
    pub(crate) fn look(map: impl AsFd, bytes: u64, address: u64) -> Result<Self, LoaderError> {
        Self::map_for(map, bytes, address, false)
    }

    fn map_for(
        map: impl AsFd,
        bytes: u64,
        address: u64,
        writable: bool,
    ) -> Result<Self, LoaderError> {
        let error = |source: io::Error| {
            if source.raw_os_error() == Some(libc::EEXIST) {
                LoaderError::ArenaTaken { address }
            } else {
                LoaderError::Call {
                    doing: format!("mapping {bytes} bytes of arena at {address:#x}"),
                    source,
                    cure: "free some memory, or load with a smaller arena",
                }
            }
        };
        let memory = Mapping::new(map, bytes as usize, writable, Some(address)).map_err(error)?;
        let rest = (REACH_BYTES - bytes) as usize;
        let reserved = Mapping::reserve(address + bytes, rest).map_err(error)?;
        Ok(Self {
            memory,
            _reserved: reserved,
        })
    }

    /// First byte; the arena's offset 0.
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory.base.as_ptr()
    }

    /// Length in bytes, a multiple of [`PAGE_BYTES`].
    pub fn len_bytes(&self) -> usize {
        self.memory.bytes
    }

    /// The word at `offset_bytes`, a multiple of eight inside of the arena.
    ///
    /// # Panics
    /// If it is not.
    pub fn word(&self, offset_bytes: usize) -> &AtomicU64 {
        self.memory.word(offset_bytes)
    }

    /// The memory as bytes.
    ///
    /// # Safety
    /// No program and no other process has this arena while the result lives.
    pub(crate) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped, initialised (the kernel gives zeros), and nobody else's, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.memory.base.as_ptr(), self.memory.bytes) }
    }

    /// Gives every page of a fresh arena memory. A page that is not there reads zero in the
    /// program and drops what it writes, silently.
    pub(crate) fn touch(&mut self) {
        for offset in (0..self.memory.bytes).step_by(PAGE_BYTES as usize) {
            // SAFETY: inside of the mapping.
            let page = unsafe { self.memory.base.as_ptr().add(offset) };
            // Volatile: the compiler removes an idempotent atomic write, and then nothing happens.
            // SAFETY: mapped for writing, and zero already.
            unsafe { page.write_volatile(0) };
        }
    }
}

/// The record ring, read-only. Writer: the program; it publishes through a cursor.
#[derive(Debug)]
pub struct RecordRing(Mapping);

impl RecordRing {
    pub(crate) fn map(map: impl AsFd, slots: u32) -> io::Result<Self> {
        Mapping::new(map, whole_pages(slots, RECORD_BYTES), false, None).map(Self)
    }

    /// First byte of slot 0.
    pub fn as_ptr(&self) -> *const u8 {
        self.0.base.as_ptr()
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.0.bytes
    }

    /// The word at `offset_bytes`, loaded with acquire order.
    ///
    /// # Panics
    /// If the offset is not a multiple of eight inside of the ring.
    pub fn load(&self, offset_bytes: usize) -> u64 {
        self.0.word(offset_bytes).load(Ordering::Acquire)
    }

    /// A copy of slot `index`, word by word, each with relaxed order. Whether the program overwrote it meanwhile, only the
    /// cursors can tell.
    ///
    /// # Panics
    /// If the ring is shorter.
    #[inline]
    pub fn words(&self, index: u32) -> [u64; RECORD_BYTES / 8] {
        let words = self
            .0
            .words::<{ RECORD_BYTES / 8 }>(index as usize * RECORD_BYTES);
        words.each_ref().map(|word| word.load(Ordering::Relaxed))
    }
}

/// The rings' cursors. Each word has one writer, the program or one consumer.
#[derive(Debug)]
pub struct Cursors(Mapping);

impl Cursors {
    pub(crate) fn map(map: impl AsFd, entries: u32) -> io::Result<Self> {
        Mapping::new(map, whole_pages(entries, CURSOR_BYTES), true, None).map(Self)
    }

    /// First word of cursor `index`. The program's volatile store is a release on x86-64; pair it
    /// with an acquire load.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn cursor(&self, index: usize) -> &AtomicU64 {
        self.0.word(index * CURSOR_BYTES)
    }

    /// The word at `offset_bytes`, a multiple of eight.
    ///
    /// # Panics
    /// If it lies outside of the map.
    pub fn word(&self, offset_bytes: usize) -> &AtomicU64 {
        self.0.word(offset_bytes)
    }

    /// First byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.base.as_ptr()
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.0.bytes
    }
}

/// The command ring. Writer: the daemon alone. Reader: the program.
#[derive(Debug)]
pub struct Commands(Mapping);

impl Commands {
    pub(crate) fn map(map: impl AsFd, slots: u32) -> io::Result<Self> {
        Mapping::new(map, whole_pages(slots, COMMAND_BYTES), true, None).map(Self)
    }

    /// Writes slot `index`, its first word last and with release order, so that whoever sees the
    /// first word sees the rest.
    ///
    /// # Panics
    /// If the ring is shorter.
    pub fn write(&mut self, index: u32, command: &[u8; COMMAND_BYTES]) {
        let at = index as usize * COMMAND_BYTES;
        for (number, chunk) in command.chunks_exact(8).enumerate().rev() {
            let word = u64::from_ne_bytes(chunk.try_into().expect("chunks of eight"));
            let order = if number == 0 {
                Ordering::Release
            } else {
                Ordering::Relaxed
            };
            self.0.word(at + number * 8).store(word, order);
        }
    }

    /// The word at `offset_bytes`, a multiple of eight.
    ///
    /// # Panics
    /// If it lies outside of the ring.
    pub fn word(&self, offset_bytes: usize) -> &AtomicU64 {
        self.0.word(offset_bytes)
    }

    /// First byte of slot 0.
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.base.as_ptr()
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.0.bytes
    }
}

/// A ring buffer map as its reader sees it (`kernel/bpf/ringbuf.c`, 6.18): a page with the reader's position, a page with the
/// writer's, then the data, mapped twice in a row so that no record is cut. Positions count bytes and never wrap.
#[derive(Debug)]
pub(crate) struct LogRing {
    reader: Mapping,
    rest: Mapping,
    data_bytes: u64,
}

impl LogRing {
    pub(crate) fn map(map: impl AsFd, data_bytes: u32) -> io::Result<Self> {
        const PAGE: usize = PAGE_BYTES as usize;
        Ok(Self {
            reader: Mapping::part(&map, 0, PAGE, true, None)?,
            rest: Mapping::part(
                &map,
                PAGE_BYTES,
                PAGE + 2 * data_bytes as usize,
                false,
                None,
            )?,
            data_bytes: data_bytes.into(),
        })
    }

    /// The oldest finished record, which nobody gets again.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        const HEADER_BYTES: u64 = 8;
        const BUSY: u32 = 1 << 31;
        const DISCARDED: u32 = 1 << 30;
        let position = self.reader.word(0);
        loop {
            let at = position.load(Ordering::Relaxed);
            // Pairs with the kernel's release when it has written the record's header.
            if at >= self.rest.word(0).load(Ordering::Acquire) {
                return None;
            }
            let start = PAGE_BYTES + at % self.data_bytes;
            // The low half is length and flags. Pairs with the program's submit.
            let header = self.rest.word(start as usize).load(Ordering::Acquire) as u32;
            if header & BUSY != 0 {
                return None;
            }
            let bytes = u64::from(header & !DISCARDED);
            let next = at + (HEADER_BYTES + bytes).next_multiple_of(8);
            let record = (header & DISCARDED == 0).then(|| self.copy(start + HEADER_BYTES, bytes));
            // The kernel may write over the record from here on.
            position.store(next, Ordering::Release);
            if record.is_some() {
                return record;
            }
        }
    }

    fn copy(&self, start: u64, bytes: u64) -> Vec<u8> {
        let words = (start..start + bytes).step_by(8);
        let mut copy: Vec<u8> = words
            .flat_map(|at| {
                let word = self.rest.word(at as usize).load(Ordering::Relaxed);
                word.to_ne_bytes()
            })
            .collect();
        copy.truncate(bytes as usize);
        copy
    }
}

/// Memory of a shard that is not attached to anything yet: nobody else writes.
///
/// All of it is zero when `init` gets it. What `init` leaves there is what the program finds.
#[derive(Debug)]
pub struct Fresh<'a> {
    /// The whole arena, page 0 included.
    pub arena: &'a mut [u8],
    /// The record ring.
    pub records: &'a mut [u8],
    /// The cursors, [`CURSOR_BYTES`] each.
    pub cursors: &'a mut [u8],
    /// The command ring.
    pub commands: &'a mut [u8],
}

/// The mappings behind a [`Fresh`].
pub(crate) struct FreshMappings {
    records: Mapping,
    cursors: Mapping,
    commands: Mapping,
}

impl FreshMappings {
    /// Maps records, cursors and commands for writing; `entries` in this order.
    pub(crate) fn map(maps: [(&impl AsFd, u32); 3]) -> io::Result<Self> {
        let [records, cursors, commands] = maps;
        let map = |(fd, entries): (_, u32), bytes| {
            Mapping::new(fd, whole_pages(entries, bytes), true, None)
        };
        Ok(Self {
            records: map(records, RECORD_BYTES)?,
            cursors: map(cursors, CURSOR_BYTES)?,
            commands: map(commands, COMMAND_BYTES)?,
        })
    }

    /// The memory as bytes.
    ///
    /// # Safety
    /// The load lock is held and nothing is attached: no program and no process writes to these
    /// maps while the result lives.
    pub(crate) unsafe fn fresh<'a>(&'a mut self, arena: &'a mut Arena) -> Fresh<'a> {
        fn bytes(mapping: &mut Mapping) -> &mut [u8] {
            // SAFETY: mapped, initialised (the kernel gives zeros) and, as the caller of `fresh`
            // promises, written by nobody else.
            unsafe { std::slice::from_raw_parts_mut(mapping.base.as_ptr(), mapping.bytes) }
        }
        Fresh {
            arena: bytes(&mut arena.memory),
            records: bytes(&mut self.records),
            cursors: bytes(&mut self.cursors),
            commands: bytes(&mut self.commands),
        }
    }
}

/// Mappings are whole pages; the kernel zeroes what lies behind the last value.
fn whole_pages(entries: u32, entry_bytes: usize) -> usize {
    (entries as usize * entry_bytes).next_multiple_of(PAGE_BYTES as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load::ARENA_ADDRESS, probe, sys};

    #[test]
    fn touched_pages_have_memory() {
        if let Err(error) = probe::probe().require() {
            eprintln!("skipped: {error}");
            return;
        }
        const PAGES: u32 = 512;
        let shape = sys::MapShape {
            kind: sys::MAP_TYPE_ARENA,
            key_bytes: 0,
            value_bytes: 0,
            entries_max: PAGES,
            flags: sys::MAP_MMAPABLE,
            extra: ARENA_ADDRESS,
        };
        let map = sys::map_create("touch", &shape).expect("an arena");
        let bytes = u64::from(PAGES) * PAGE_BYTES;
        let mut arena = Arena::map(&map, bytes, ARENA_ADDRESS).expect("maps");
        let resident = |arena: &Arena| {
            let mut pages = [0_u8; PAGES as usize];
            let start = arena.as_ptr().cast();
            // SAFETY: the arena's range, and one byte for each of its pages.
            let result = unsafe { libc::mincore(start, arena.len_bytes(), pages.as_mut_ptr()) };
            assert_eq!(result, 0, "{}", io::Error::last_os_error());
            pages.iter().filter(|page| **page & 1 == 1).count()
        };
        assert_eq!(resident(&arena), 0);
        arena.touch();
        assert_eq!(resident(&arena), PAGES as usize);
        assert!(matches!(
            Arena::map(&map, bytes, ARENA_ADDRESS),
            Err(LoaderError::ArenaTaken { .. })
        ));
    }
}
