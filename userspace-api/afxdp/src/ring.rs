//! The four rings that a socket shares with the kernel: indices that only grow and wrap, one writer each.
//!
//! Layout and protocol: `Documentation/networking/af_xdp.rst`, `net/xdp/xsk_queue.h`. A producer's index is stored with Release when its slots are
//! written and loaded with Acquire before they are read; likewise the consumer's, after which the slots are the producer's again.

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// A mapped ring of `T`, which is plain data.
struct Ring<T> {
    base: NonNull<u8>,
    bytes: usize,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    mask: u32,
    data: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value; whoever owns it is the ring's one user in this process.
unsafe impl<T: Send> Send for Ring<T> {}

/// Where in a socket a ring is mapped, and how it lies there.
pub(crate) struct Place<'a> {
    pub(crate) socket: BorrowedFd<'a>,
    /// One of the page offsets of the kernel's interface.
    pub(crate) at: u64,
    pub(crate) offsets: XdpRingOffset,
    /// A power of two.
    pub(crate) slots: u32,
}

impl<T: Copy> Ring<T> {
    fn map(place: &Place<'_>) -> io::Result<Ring<T>> {
        assert!(place.slots.is_power_of_two(), "the options were checked");
        let offsets = &place.offsets;
        let flags = offsets
            .flags
            .ok_or_else(|| io::Error::other("the kernel has no need-wakeup flag (before 5.4)"))?;
        let bytes = offsets.desc as usize + place.slots as usize * size_of::<T>();
        let inside =
            |at: u64, align: usize| at as usize + 4 <= bytes && (at as usize).is_multiple_of(align);
        if ![offsets.producer, offsets.consumer, flags]
            .into_iter()
            .all(|at| inside(at, align_of::<AtomicU32>()))
            || !(offsets.desc as usize).is_multiple_of(align_of::<T>())
        {
            return Err(io::Error::other(
                "the kernel's ring is not laid out as it should be",
            ));
        }
        // SAFETY: a new mapping at no particular address; the kernel made the ring with at least these bytes.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                place.socket,
                place.at,
            )
        }?;
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::other("a mapping at address 0"))?;
        // SAFETY: inside the mapping, as just checked, as are the three below.
        let producer = unsafe { base.add(offsets.producer as usize) }.cast();
        // SAFETY: as above.
        let consumer = unsafe { base.add(offsets.consumer as usize) }.cast();
        // SAFETY: as above.
        let flags = unsafe { base.add(flags as usize) }.cast();
        // SAFETY: as above.
        let slots = unsafe { base.add(offsets.desc as usize) }.cast();
        Ok(Ring {
            base,
            bytes,
            producer,
            consumer,
            flags,
            slots,
            mask: place.slots - 1,
            data: PhantomData,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: an aligned word of the mapping, which lives as long as `self`; the kernel uses it as an atomic too.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn flags(&self) -> u32 {
        // SAFETY: as in `producer`.
        unsafe { self.flags.as_ref() }.load(Ordering::Relaxed)
    }

    fn slot(&self, index: u32) -> NonNull<T> {
        // SAFETY: the mask keeps the index below the ring's number of slots, all of which are mapped.
        unsafe { self.slots.add((index & self.mask) as usize) }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`; no borrow of it is left. A failure would leave it mapped, which harms nobody.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// A ring that we fill and the kernel empties.
pub(crate) struct Producer<T> {
    ring: Ring<T>,
    /// Index behind the last slot written, published or not.
    written: u32,
    /// The kernel's index as it was last seen.
    emptied: u32,
}

impl<T: Copy> Producer<T> {
    pub(crate) fn map(place: &Place<'_>) -> io::Result<Producer<T>> {
        let ring: Ring<T> = Ring::map(place)?;
        Ok(Producer {
            written: ring.producer().load(Ordering::Relaxed),
            emptied: ring.consumer().load(Ordering::Acquire),
            ring,
        })
    }

    /// Slots that may be written.
    pub(crate) fn room(&mut self) -> u32 {
        let slots = self.ring.mask + 1;
        if self.written.wrapping_sub(self.emptied) == slots {
            self.emptied = self.ring.consumer().load(Ordering::Acquire);
        }
        slots - self.written.wrapping_sub(self.emptied)
    }

    /// Writes a slot, which the kernel sees after [`Producer::publish`]. False: there is no room.
    pub(crate) fn push(&mut self, value: T) -> bool {
        if self.room() == 0 {
            return false;
        }
        // SAFETY: the slot is ours: the kernel has emptied it (Acquire in `room`) and sees it only after `publish`.
        unsafe { self.ring.slot(self.written).write(value) };
        self.written = self.written.wrapping_add(1);
        true
    }

    /// Gives what was written to the kernel.
    pub(crate) fn publish(&self) {
        self.ring.producer().store(self.written, Ordering::Release);
    }

    /// Slots that the kernel has not emptied yet.
    pub(crate) fn pending(&mut self) -> u32 {
        self.emptied = self.ring.consumer().load(Ordering::Acquire);
        self.written.wrapping_sub(self.emptied)
    }

    /// Whether the kernel wants to be told that there is something.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.ring.flags() & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
    }
}

/// A ring that the kernel fills and we empty.
pub(crate) struct Consumer<T> {
    ring: Ring<T>,
    /// Index of the next slot to read.
    read: u32,
    /// The kernel's index as it was last seen.
    filled: u32,
}

impl<T: Copy> Consumer<T> {
    pub(crate) fn map(place: &Place<'_>) -> io::Result<Consumer<T>> {
        let ring: Ring<T> = Ring::map(place)?;
        Ok(Consumer {
            read: ring.consumer().load(Ordering::Relaxed),
            filled: ring.producer().load(Ordering::Acquire),
            ring,
        })
    }

    /// Takes the next slot's value. The slot is the kernel's again after [`Consumer::release`].
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.read == self.filled {
            self.filled = self.ring.producer().load(Ordering::Acquire);
            if self.read == self.filled {
                return None;
            }
        }
        // SAFETY: the kernel has filled the slot (Acquire above) and does not write it again before `release`; `T` is plain data.
        let value = unsafe { self.ring.slot(self.read).read() };
        self.read = self.read.wrapping_add(1);
        Some(value)
    }

    /// Gives the slots that were read back to the kernel.
    pub(crate) fn release(&self) {
        self.ring.consumer().store(self.read, Ordering::Release);
    }
}
