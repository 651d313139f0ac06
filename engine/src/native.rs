//! The engine in ordinary memory: for replay, for the userspace rings, for tests.

use crate::control::Control;
use crate::layout::{CapacityError, Layout};
use crate::limits::SLOT_LEN;
use crate::outbox::{Recorder, copy_outbox};
use crate::record::{ControlRecord, Outcome, ReplyTo};
use crate::region::{Bounded, Memory};
use crate::shard::Shard;
use crate::{Capacity, Reason, Taken};
use ring0_wire::{Key, Malformed, Shape};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Address space behind every `u32` offset, and the widest entry behind it.
const RESERVED: usize = (1 << 32) + 65_536;

/// A region of ordinary memory: 4 GiB of address space reserved, the region's bytes of it mapped.
pub struct Region {
    base: *mut u8,
    /// The memory of one that is shown elsewhere too.
    shared: Option<OwnedFd>,
}

// SAFETY: the mapping belongs to this value alone; it may be used from whichever thread owns the value.
unsafe impl Send for Region {}

impl Region {
    /// Maps a region of `bytes` zeros.
    ///
    /// # Errors
    /// The kernel's, when address space or memory is short.
    pub fn new(bytes: u64) -> io::Result<Region> {
        // SAFETY: a new private mapping at no particular address.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                RESERVED,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let region = Region {
            base: base.cast(),
            shared: None,
        };
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: inside the reservation just made: a layout's bytes are below 4 GiB.
        if unsafe { libc::mprotect(base, bytes, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // Tables are reached at random: with huge pages a place is found with fewer steps. Only a wish, so a refusal is no error.
        // SAFETY: the mapping just made; nothing in it changes.
        unsafe { libc::madvise(base, bytes, libc::MADV_HUGEPAGE) };
        Ok(region)
    }

    /// A region of `bytes` zeros that [`Region::again`] shows at other addresses too. All its memory is there from now on.
    ///
    /// # Errors
    /// The kernel's, when address space or memory is short.
    pub fn shared(bytes: u64) -> io::Result<Region> {
        // SAFETY: a name that ends with a zero, and a flag of the call.
        let fd = unsafe { libc::memfd_create(c"ring0-region".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let len = i64::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: an open file and a length.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), len) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut region = Region::of(&fd, bytes)?;
        let len = usize::try_from(bytes).map_err(io::Error::other)?;
        // Huge pages where the kernel has them to give (Linux 6.1); else small ones, now and not when a packet needs them.
        // SAFETY: the mapping just made; its content does not change.
        unsafe { libc::madvise(region.base.cast(), len, libc::MADV_COLLAPSE) };
        // SAFETY: as above.
        if unsafe { libc::madvise(region.base.cast(), len, libc::MADV_POPULATE_WRITE) } < 0 {
            let error = io::Error::last_os_error();
            // A kernel before 5.14 does not know the wish; pages then come when they are touched.
            if error.raw_os_error() != Some(libc::EINVAL) {
                return Err(error);
            }
        }
        region.shared = Some(fd);
        Ok(region)
    }

    /// The memory of a shared region at another address, for one who looks on. `bytes` as it was made with.
    ///
    /// # Errors
    /// The kernel's; a region that is not shared.
    pub fn again(&self, bytes: u64) -> io::Result<Region> {
        match &self.shared {
            Some(fd) => Region::of(fd, bytes),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Maps a file's bytes into a reservation.
    fn of(fd: &OwnedFd, bytes: u64) -> io::Result<Region> {
        let region = Region::new(0)?;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: over the front of the reservation just made, which nothing else uses: a layout's bytes are below 4 GiB.
        let mapped = unsafe {
            libc::mmap(
                region.base.cast(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                fd.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(region)
    }

    /// The memory.
    #[must_use]
    pub fn memory(&self) -> Memory<'_> {
        // SAFETY: `RESERVED` covers every `u32` offset; the mapping lives as long as `self`, which is not `Sync`.
        unsafe { Memory::new(self.base) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; every borrow of it ended with `self`'s.
        unsafe { libc::munmap(self.base.cast(), RESERVED) };
    }
}

/// Keeps records in a vector, without end.
#[derive(Default)]
pub struct Tape {
    bytes: RefCell<Vec<u8>>,
}

impl Recorder for Tape {
    fn free(&self) -> u64 {
        u64::MAX
    }

    fn reserve(&self) -> u64 {
        0
    }

    fn publish(&self, shard: Shard<'_>, slots: u32) {
        let mut bytes = self.bytes.borrow_mut();
        bytes.reserve(slots as usize * SLOT_LEN);
        copy_outbox(shard, slots, |_, words| {
            for word in &words.word {
                bytes.extend_from_slice(&word.get().to_le_bytes());
            }
        });
    }
}

/// Drops records, for benchmarks of the core alone.
pub struct Discard;

impl Recorder for Discard {
    fn free(&self) -> u64 {
        u64::MAX
    }

    fn reserve(&self) -> u64 {
        0
    }

    fn publish(&self, _: Shard<'_>, _: u32) {}
}

/// Why a packet got no answer at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dropped {
    /// It is no packet of ours.
    Malformed(Malformed),
    /// The session is not granted.
    UnknownSession,
    /// The tag is not the session's, or not zeros where tags are switched off.
    BadTag,
    /// The session has no key.
    NoKey,
}

/// What a packet's tag must be, by its session.
#[derive(Clone, Copy, Debug, Default)]
pub enum TagRule {
    /// Whatever it is; the answer's is zeros, as in a replay.
    Unchecked,
    /// The key's; the answer gets one too.
    Checked(Key),
    /// Zeros: tags are switched off.
    Blank,
    /// Nobody may send.
    #[default]
    NoKey,
}

/// A shard over memory of its own, with its records.
pub struct Native<R = Tape> {
    region: Region,
    layout: Layout,
    recorder: R,
}

/// Why a native shard could not be made.
#[derive(Debug)]
pub enum NativeError {
    /// The capacity is refused.
    Capacity(CapacityError),
    /// Memory could not be mapped.
    Memory(io::Error),
}

impl std::fmt::Display for NativeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NativeError::Capacity(error) => error.fmt(f),
            NativeError::Memory(error) => {
                write!(f, "memory of the shard: {error}; lower the capacity")
            }
        }
    }
}

impl std::error::Error for NativeError {}

impl Native<Tape> {
    /// An empty shard that keeps its records.
    ///
    /// # Errors
    /// The capacity is refused, or memory is short.
    pub fn new(capacity: &Capacity) -> Result<Native<Tape>, NativeError> {
        Native::with_recorder(capacity, Tape::default())
    }

    /// Records since the last call, 64-byte slots one after the other.
    pub fn take_records(&mut self) -> Vec<u8> {
        std::mem::take(self.recorder.bytes.get_mut())
    }
}

impl<R: Recorder> Native<R> {
    /// An empty shard whose records go to `recorder`.
    ///
    /// # Errors
    /// The capacity is refused, or memory is short.
    pub fn with_recorder(capacity: &Capacity, recorder: R) -> Result<Native<R>, NativeError> {
        let layout = Layout::new(capacity).map_err(NativeError::Capacity)?;
        let region = Region::new(layout.bytes).map_err(NativeError::Memory)?;
        Ok(Native::in_region(region, layout, recorder))
    }

    /// An empty shard in a region of zeros of this layout's bytes.
    #[must_use]
    pub fn in_region(region: Region, layout: Layout, recorder: R) -> Native<R> {
        layout.initialise(Shard::new(region.memory()));
        Native {
            region,
            layout,
            recorder,
        }
    }

    /// The shard itself.
    #[must_use]
    pub fn shard(&self) -> Shard<'_> {
        Shard::new(self.region.memory())
    }

    /// The recorder.
    #[must_use]
    pub fn recorder(&self) -> &R {
        &self.recorder
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Copies bytes of the region out, for those who will go back to them.
    ///
    /// # Panics
    /// They are not all in the region.
    pub fn copy_out(&self, at: u64, to: &mut [u8]) {
        let from = self.inside(at, to.len());
        // SAFETY: both are of this length, `from` lies in the mapping by `inside`; a caller's slice is not in it.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
    }

    /// Copies bytes back that [`Native::copy_out`] gave. A part of the region alone is no state: it is for the caller to have
    /// copied all that changed.
    ///
    /// # Panics
    /// They are not all in the region.
    pub fn copy_in(&mut self, at: u64, from: &[u8]) {
        let to = self.inside(at, from.len());
        // SAFETY: as in `copy_out`; `&mut self` means that nobody borrows the region.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    }

    /// The place at this offset, from which so many bytes lie in the region.
    fn inside(&self, at: u64, len: usize) -> *mut u8 {
        let end = at.checked_add(len as u64);
        assert!(
            end.is_some_and(|end| end <= self.layout.bytes),
            "only bytes of the region are copied"
        );
        // SAFETY: inside the mapping, as just asserted.
        unsafe { self.region.base.add(at as usize) }
    }

    /// One run with a packet: continuation steps, then the packet; gives what became of it and the answer.
    ///
    /// With a key the packet's tag is checked and the answer's made; without one neither is, as in a replay.
    ///
    /// # Errors
    /// The packet is not ours: nothing changed but that steps were taken.
    pub fn packet(
        &mut self,
        payload: &[u8],
        boot_ns: u64,
        key: Option<&Key>,
    ) -> Result<(Taken, Vec<u8>), Dropped> {
        let tag = key.map_or(TagRule::Unchecked, |key| TagRule::Checked(*key));
        let (taken, len) = self.packet_in_place(payload, boot_ns, |_| tag)?;
        let mut answer = vec![0; len];
        self.shard().scratch().answer.copy_out(&mut answer);
        Ok((taken, answer))
    }

    /// As [`Native::packet`], what the tag must be asked for by session index and the answer left in the scratch area; gives its length.
    ///
    /// # Errors
    /// As [`Native::packet`].
    #[inline]
    pub fn packet_in_place(
        &mut self,
        payload: &[u8],
        boot_ns: u64,
        tag_of: impl FnOnce(u32) -> TagRule,
    ) -> Result<(Taken, usize), Dropped> {
        let shard = self.shard();
        let request = &shard.scratch().request;
        request.copy_in(payload);
        let shape =
            ring0_wire::shape::<Bounded>(request, payload.len()).map_err(Dropped::Malformed)?;
        if !shard.is_granted(&shape) {
            return Err(Dropped::UnknownSession);
        }
        let signed = usize::from(shape.signed);
        let key = match tag_of(shape.session) {
            TagRule::Unchecked => None,
            TagRule::Checked(key) => {
                let domain = ring0_wire::Domain::Request;
                let check = ring0_wire::mac::verify::<Bounded>(request, signed, &key, domain);
                if check != ring0_wire::Check::Genuine {
                    return Err(Dropped::BadTag);
                }
                Some(key)
            }
            TagRule::Blank if ring0_wire::mac::is_blank(request, signed) => None,
            TagRule::Blank => return Err(Dropped::BadTag),
            TagRule::NoKey => return Err(Dropped::NoKey),
        };
        shard.steps(&self.recorder);
        let taken = self.take(&shape, boot_ns);
        let len = shard.finish_answer(&shape, key.as_ref()) as usize;
        Ok((taken, len))
    }

    fn take(&self, shape: &Shape, boot_ns: u64) -> Taken {
        self.shard().packet(shape, boot_ns, &self.recorder)
    }

    /// Only the packet, without this run's continuation steps: a replay takes the steps where the record has them.
    ///
    /// # Errors
    /// As [`Native::packet`].
    pub fn replay_packet(&mut self, payload: &[u8], boot_ns: u64) -> Result<Taken, Dropped> {
        let shard = self.shard();
        let request = &shard.scratch().request;
        request.copy_in(payload);
        let shape =
            ring0_wire::shape::<Bounded>(request, payload.len()).map_err(Dropped::Malformed)?;
        if !shard.is_granted(&shape) {
            return Err(Dropped::UnknownSession);
        }
        Ok(self.take(&shape, boot_ns))
    }

    /// From the next packet on answers count as held, to be sent to `reply_to` (all zero: not held), which is what their records say.
    pub fn hold_answers(&mut self, reply_to: ReplyTo) {
        let words = &self.shard().header().reply_to;
        for (cell, word) in words.iter().zip(reply_to.words()) {
            cell.set(word);
        }
    }

    /// Only one continuation step, as [`Native::replay_packet`]; false where none is pending.
    pub fn replay_step(&mut self) -> bool {
        let shard = self.shard();
        if shard.header().pending_count.get() == 0 {
            return false;
        }
        shard.step().seen();
        shard.publish(&self.recorder);
        true
    }

    /// A run by doorbell: continuation steps, then the commands. Gives what became of each.
    pub fn control(&mut self, commands: &[Control], boot_ns: u64) -> Vec<(Outcome, Reason)> {
        let shard = self.shard();
        shard.steps(&self.recorder);
        commands
            .iter()
            .map(|command| self.replay_control(command, boot_ns))
            .collect()
    }

    /// Only one control command.
    pub fn replay_control(&mut self, command: &Control, boot_ns: u64) -> (Outcome, Reason) {
        let shard = self.shard();
        shard.control(command.kind, boot_ns, &self.recorder, |index| {
            command.body[index as usize]
        });
        control_result(shard.outbox_word(0, 3))
    }

    /// A run with nothing but continuation steps.
    pub fn steps(&mut self) {
        self.shard().steps(&self.recorder);
    }
}

/// Outcome and reason of a recorded control command, from the word at offset 24 of its record.
#[must_use]
pub fn control_result(word: u64) -> (Outcome, Reason) {
    const _: () = assert!(std::mem::offset_of!(ControlRecord, outcome) == 28);
    let outcome = match (word >> 32) as u8 {
        b'A' => Outcome::Accepted,
        b'C' => Outcome::Continues,
        _ => Outcome::Rejected,
    };
    (
        outcome,
        Reason::from_number((word >> 40) as u8).unwrap_or(Reason::None),
    )
}
