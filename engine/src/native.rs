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

/// Address space behind every `u32` offset, and the widest entry behind it.
const RESERVED: usize = (1 << 32) + 65_536;

/// A region of ordinary memory: 4 GiB of address space reserved, the region's bytes of it mapped.
pub struct Region {
    base: *mut u8,
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
        let region = Region { base: base.cast() };
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
    /// The tag is not the session's.
    BadTag,
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
        layout.initialise(Shard::new(region.memory()));
        Ok(Native {
            region,
            layout,
            recorder,
        })
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
        let (taken, len) = self.packet_in_place(payload, boot_ns, |_| key.copied())?;
        let mut answer = vec![0; len];
        self.shard().scratch().answer.copy_out(&mut answer);
        Ok((taken, answer))
    }

    /// As [`Native::packet`], the key asked for by session index and the answer left in the scratch area; gives its length.
    ///
    /// # Errors
    /// As [`Native::packet`].
    #[inline]
    pub fn packet_in_place(
        &mut self,
        payload: &[u8],
        boot_ns: u64,
        key_of: impl FnOnce(u32) -> Option<Key>,
    ) -> Result<(Taken, usize), Dropped> {
        let shard = self.shard();
        let request = &shard.scratch().request;
        request.copy_in(payload);
        let shape =
            ring0_wire::shape::<Bounded>(request, payload.len()).map_err(Dropped::Malformed)?;
        if !shard.is_granted(&shape) {
            return Err(Dropped::UnknownSession);
        }
        let key = key_of(shape.session);
        if let Some(key) = &key {
            let check = ring0_wire::mac::verify::<Bounded>(
                request,
                shape.signed.into(),
                key,
                ring0_wire::Domain::Request,
            );
            if check != ring0_wire::Check::Genuine {
                return Err(Dropped::BadTag);
            }
        }
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
