//! The frames' memory, which a socket and we share, and who has which frame.
//!
//! A [`Frame`] is the right to read and write one frame. The kernel has it from the fill ring to the receive ring and from the transmit ring to the
//! completion ring; in between there is exactly one [`Frame`] for it, which is moved and never copied.

use crate::options::Pages;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::io;
use std::ptr::NonNull;

/// Bytes of a frame. A packet of an Ethernet MTU and the kernel's headroom fit; the kernel takes 2,048 or 4,096, and with these twice as many
/// packets stay in the processor's cache.
pub(crate) const FRAME_BYTES: u32 = 2048;

/// Bytes at a frame's beginning that the kernel keeps for itself (`XDP_PACKET_HEADROOM`), the stamp included.
pub(crate) const HEADROOM: u32 = 256;

/// Longest packet that one frame takes, Ethernet header included.
pub(crate) const PACKET_MAX: u32 = FRAME_BYTES - HEADROOM;

const HUGE_PAGE: usize = 2 << 20;

/// The right to one frame.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Frame(u32);

/// Memory of some frames.
pub(crate) struct Umem {
    base: NonNull<u8>,
    bytes: usize,
    frames: u32,
    pages: Pages,
}

// SAFETY: the mapping belongs to this value; frames in it are reached through it and a `Frame` only.
unsafe impl Send for Umem {}

impl Umem {
    /// Maps memory for so many frames, in huge pages if `huge` and the machine has some, and gives the right to each.
    pub(crate) fn map(frames: u32, huge: bool) -> io::Result<(Umem, Vec<Frame>)> {
        let wanted = frames as usize * FRAME_BYTES as usize;
        let whole = wanted.next_multiple_of(HUGE_PAGE);
        let anonymous = |bytes, flags| {
            // SAFETY: a new private mapping at no particular address.
            unsafe {
                mmap_anonymous(
                    std::ptr::null_mut(),
                    bytes,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::POPULATE | flags,
                )
            }
        };
        let reserved = if huge {
            anonymous(whole, MapFlags::HUGETLB | MapFlags::HUGE_2MB).ok()
        } else {
            None
        };
        let (base, bytes, pages) = match reserved {
            Some(base) => (base, whole, Pages::Huge),
            None => (
                anonymous(wanted, MapFlags::empty())?,
                wanted,
                Pages::Ordinary,
            ),
        };
        if huge && pages == Pages::Ordinary {
            // Only a wish: whether it came true is not known, so ordinary pages are what is reported.
            // SAFETY: the mapping just made; nothing in it changes.
            let _ = unsafe { madvise(base, bytes, Advice::LinuxHugepage) };
        }
        let base =
            NonNull::new(base.cast()).ok_or_else(|| io::Error::other("a mapping at address 0"))?;
        let umem = Umem {
            base,
            bytes,
            frames,
            pages,
        };
        Ok((umem, (0..frames).map(Frame).collect()))
    }

    /// Which pages the memory has.
    pub(crate) fn pages(&self) -> Pages {
        self.pages
    }

    /// How many frames there are.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// Address and length of the memory, for the kernel.
    pub(crate) fn area(&self) -> (u64, u64) {
        (self.base.as_ptr() as u64, self.bytes as u64)
    }

    /// Where a frame lies, for the fill ring, which takes the right to it.
    pub(crate) fn give(frame: Frame) -> u64 {
        u64::from(frame.0) * u64::from(FRAME_BYTES)
    }

    /// The right to the frame that an address of the receive or completion ring lies in, and the address's place in it. `None`: the kernel gave
    /// an address that is in none.
    ///
    /// The caller calls it once for each address that the kernel gives back.
    pub(crate) fn take(&self, address: u64) -> Option<(Frame, u32)> {
        let number = address / u64::from(FRAME_BYTES);
        let place = (address % u64::from(FRAME_BYTES)) as u32;
        (number < u64::from(self.frames)).then_some((Frame(number as u32), place))
    }

    /// The `len` bytes at `at` of a frame, if they lie in it.
    pub(crate) fn bytes(&self, frame: &Frame, at: u32, len: u32) -> Option<&[u8]> {
        let start = self.start(frame, at, len)?;
        // SAFETY: `start` and `len` bytes behind it lie in one frame of the mapping, which is initialised; the right to the frame is borrowed, so
        // neither the kernel nor anybody here writes it meanwhile.
        Some(unsafe { std::slice::from_raw_parts(start, len as usize) })
    }

    /// As [`Umem::bytes`], to write.
    pub(crate) fn bytes_mut(&mut self, frame: &mut Frame, at: u32, len: u32) -> Option<&mut [u8]> {
        let start = self.start(frame, at, len)?;
        // SAFETY: as in `bytes`; `self` and the right to the frame are borrowed exclusively.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len as usize) })
    }

    fn start(&self, frame: &Frame, at: u32, len: u32) -> Option<*mut u8> {
        let end = at.checked_add(len)?;
        if frame.0 >= self.frames || end > FRAME_BYTES {
            return None;
        }
        let offset = frame.0 as usize * FRAME_BYTES as usize + at as usize;
        // SAFETY: inside the mapping, as just checked.
        Some(unsafe { self.base.add(offset) }.as_ptr())
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`; no borrow of it is left. The kernel holds its own references to the pages until the socket is gone.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_outside_a_frame_are_not_given() {
        let (mut umem, mut frames) = Umem::map(4, false).unwrap();
        assert_eq!((frames.len(), umem.pages()), (4, Pages::Ordinary));
        let mut last = frames.pop().unwrap();
        umem.bytes_mut(&mut last, FRAME_BYTES - 3, 3)
            .unwrap()
            .copy_from_slice(b"end");
        assert_eq!(umem.bytes(&last, FRAME_BYTES - 3, 3).unwrap(), b"end");
        assert_eq!(umem.bytes(&last, FRAME_BYTES - 3, 4), None);
        assert_eq!(umem.bytes(&last, 1, u32::MAX), None);
        assert_eq!(umem.bytes(&last, FRAME_BYTES, 0), Some(&[][..]));
        let address = Umem::give(last);
        assert_eq!(address, 3 * u64::from(FRAME_BYTES));
        let (again, place) = umem.take(address + u64::from(HEADROOM)).unwrap();
        assert_eq!((place, umem.take(4 * u64::from(FRAME_BYTES))), (256, None));
        assert_eq!(umem.bytes(&again, FRAME_BYTES - 3, 3).unwrap(), b"end");
    }

    /// Huge pages where the machine has free ones, else ordinary ones, and either is said.
    #[test]
    fn huge_pages_fall_back() {
        let (umem, frames) = Umem::map(64, true).unwrap();
        assert_eq!(frames.len(), 64);
        let (address, bytes) = umem.area();
        match umem.pages() {
            Pages::Huge => assert_eq!(bytes as usize, HUGE_PAGE),
            Pages::Ordinary => assert_eq!(bytes, 64 * u64::from(FRAME_BYTES)),
        }
        assert_eq!(address % 4096, 0);
    }
}
