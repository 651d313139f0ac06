//! A file's memory, shared with whoever else maps it, and locks on its bytes: the crate's one module with unsafe.
//!
//! Invariants: a mapping covers the bytes it was made for and lives as long as its owner; other processes write to it at any time, so
//! it is reached through atomic words only.
#![expect(
    unsafe_code,
    reason = "mapped memory and locks that belong to a file's opening"
)]

use crate::memory::SLOT_WORDS;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A cache line of shared words.
pub(crate) type Line = [AtomicU64; SLOT_WORDS];

/// Bytes of a line.
pub(crate) const LINE_BYTES: usize = size_of::<Line>();

/// A file's first bytes, mapped for reading and writing.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<Line>,
    lines: usize,
}

// SAFETY: an address range of the process, not of a thread; all access goes through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` of a file that is at least as long. Pages that are there already are mapped at once.
    pub(crate) fn new(file: impl AsFd, bytes: usize) -> io::Result<Mapping> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new range that the kernel chooses.
        let base = unsafe { mmap(std::ptr::null_mut(), bytes, protection, flags, file, 0) }?;
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Mapping {
            base,
            lines: bytes / LINE_BYTES,
        })
    }

    /// The line of that number.
    #[inline(always)]
    pub(crate) fn line(&self, index: usize) -> &Line {
        assert!(index < self.lines, "a line lies inside of its mapping");
        // SAFETY: inside of the mapping, as just checked.
        let line = unsafe { self.base.as_ptr().add(index) };
        // SAFETY: page-aligned and so line-aligned, mapped while `self` lives, initialised by the file, shared through atomics only.
        unsafe { &*line }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this range was mapped by `new` and belongs to `self` alone. An error would say that it is none.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.lines * LINE_BYTES) };
    }
}

/// Takes the lock of one byte for this opening of the file (`F_OFD_SETLK`, fcntl(2)): false while another opening has it. The kernel gives it
/// back when the opening's last descriptor is closed, however its process ends.
pub(crate) fn try_lock(file: &File, byte: i64) -> io::Result<bool> {
    // SAFETY: a C struct of integers; zeros are a value of it.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock.l_start = byte;
    lock.l_len = 1;
    // SAFETY: the descriptor is open while `file` lives, and the kernel reads the struct during the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}
