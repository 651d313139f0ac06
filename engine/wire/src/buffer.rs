//! One packet's bytes in a fixed place, read and written at masked offsets.
//!
//! Invariants: every access lies inside the buffer, whatever the offset: offsets are taken modulo
//! [`BUFFER`] and the slack behind it takes the end of the widest access, and of a [`Window`]. The bytes may be
//! written through a shared reference (a kernel arena is only ever borrowed shared), so the storage
//! is cells, and the type is not `Sync`: one writer per shard is the caller's rule.
//! Cost: an access is one mask and one possibly unaligned load or store; no branch.
#![allow(unsafe_code, reason = "the one place that turns an offset into memory")]

use crate::MessageCells;
use core::cell::Cell;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// Addressable bytes: the power of two above [`crate::PAYLOAD_MAX`], so that a mask bounds an
/// offset. Half of it would not hold a packet; more would only cost memory.
pub const BUFFER: usize = 2048;

/// Addressable words of eight bytes.
pub const WORDS: usize = BUFFER / 8;

const MASK: usize = BUFFER - 1;
const WORD_MASK: usize = WORDS - 1;
const _: () = assert!(BUFFER.is_power_of_two() && WORDS.is_power_of_two());

/// Bytes that a [`Window`] reaches behind its beginning: the power of two above every message.
const WINDOW: usize = 64;

/// Words behind the addressable ones: those of a window at the last byte, and one for its widest access.
const SLACK: usize = WINDOW / 8 + 1;

/// A packet's bytes. 2,120 bytes: [`BUFFER`] and the slack.
#[derive(FromZeros)]
#[repr(C, align(8))]
pub struct Buffer([Cell<u64>; WORDS + SLACK]);
const _: () = assert!(size_of::<Buffer>() == BUFFER + WINDOW + 8);

/// The bytes from one place of a [`Buffer`] on: one mask for a whole message, where the buffer itself takes one for each access.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    base: *mut u8,
    buffer: core::marker::PhantomData<&'a Buffer>,
}

impl Window<'_> {
    #[inline(always)]
    fn byte(self, at: usize) -> *mut u8 {
        self.base.wrapping_add(at & (WINDOW - 1))
    }

    #[inline(always)]
    fn load<T: FromBytes>(self, at: usize) -> T {
        const {
            assert!(
                size_of::<T>() <= 8,
                "the widest access that the slack takes"
            )
        };
        // SAFETY: the base is below `BUFFER`, the offset below `WINDOW`, and the slack behind both takes eight bytes; every pattern is
        // valid for `T`, and the cells are not written meanwhile, because the buffer is not `Sync`.
        unsafe { self.byte(at).cast::<T>().read_unaligned() }
    }

    #[inline(always)]
    fn store<T: IntoBytes + Immutable>(self, at: usize, value: T) {
        const {
            assert!(
                size_of::<T>() <= 8,
                "the widest access that the slack takes"
            )
        };
        // SAFETY: in bounds as in `load`; the bytes lie in cells, so they may be written through a shared reference.
        unsafe { self.byte(at).cast::<T>().write_unaligned(value) };
    }

    /// The byte at `at`, which is taken modulo 64 here and below.
    #[inline(always)]
    #[must_use]
    pub fn u8(self, at: usize) -> u8 {
        self.load(at)
    }

    /// Two bytes at `at`, big-endian.
    #[inline(always)]
    #[must_use]
    pub fn u16_be(self, at: usize) -> u16 {
        u16::from_be(self.load(at))
    }

    /// Four bytes at `at`, big-endian.
    #[inline(always)]
    #[must_use]
    pub fn u32_be(self, at: usize) -> u32 {
        u32::from_be(self.load(at))
    }

    /// Eight bytes at `at`, big-endian.
    #[inline(always)]
    #[must_use]
    pub fn u64_be(self, at: usize) -> u64 {
        u64::from_be(self.load(at))
    }

    /// Eight bytes at `at` as they lie in memory, little-endian.
    #[inline(always)]
    #[must_use]
    pub fn u64_le(self, at: usize) -> u64 {
        u64::from_le(self.load(at))
    }

    /// Writes the byte at `at`.
    #[inline(always)]
    pub fn put_u8(self, at: usize, value: u8) {
        self.store(at, value);
    }

    /// Writes two bytes at `at`, big-endian.
    #[inline(always)]
    pub fn put_u16_be(self, at: usize, value: u16) {
        self.store(at, value.to_be());
    }

    /// Writes four bytes at `at`, big-endian.
    #[inline(always)]
    pub fn put_u32_be(self, at: usize, value: u32) {
        self.store(at, value.to_be());
    }

    /// Writes eight bytes at `at`, big-endian.
    #[inline(always)]
    pub fn put_u64_be(self, at: usize, value: u64) {
        self.store(at, value.to_be());
    }

    /// Writes eight bytes at `at` as they lie in memory, little-endian.
    #[inline(always)]
    pub fn put_u64_le(self, at: usize, value: u64) {
        self.store(at, value.to_le());
    }
}

impl Buffer {
    /// A buffer of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { Cell::new(0) }; WORDS + SLACK])
    }

    /// Word `i` of the bytes as they lie in memory (little-endian), aligned.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, i: usize) -> u64 {
        self.0[i & WORD_MASK].get() // the mask is below the length: no check is left in the code
    }

    /// Sets word `i` of the bytes as they lie in memory (little-endian), aligned.
    #[inline(always)]
    pub fn set_word(&self, i: usize, value: u64) {
        self.0[i & WORD_MASK].set(value);
    }

    /// The bytes from `at` on, `at` taken modulo [`BUFFER`].
    #[inline(always)]
    #[must_use]
    pub fn window(&self, at: usize) -> Window<'_> {
        Window {
            base: self.byte(at),
            buffer: core::marker::PhantomData,
        }
    }

    /// The byte at `at`.
    #[inline(always)]
    #[must_use]
    pub fn u8(&self, at: usize) -> u8 {
        self.load(at)
    }

    /// Two bytes at `at`, big-endian.
    #[inline(always)]
    #[must_use]
    pub fn u16_be(&self, at: usize) -> u16 {
        u16::from_be(self.load(at))
    }

    /// Four bytes at `at`, big-endian.
    #[inline(always)]
    #[must_use]
    pub fn u32_be(&self, at: usize) -> u32 {
        u32::from_be(self.load(at))
    }

    /// Eight bytes at `at`, big-endian.
    #[inline(always)]
    #[must_use]
    pub fn u64_be(&self, at: usize) -> u64 {
        u64::from_be(self.load(at))
    }

    /// Eight bytes at `at`, little-endian: half a tag.
    #[inline(always)]
    #[must_use]
    pub fn u64_le(&self, at: usize) -> u64 {
        u64::from_le(self.load(at))
    }

    /// Writes the byte at `at`.
    #[inline(always)]
    pub fn put_u8(&self, at: usize, value: u8) {
        self.store(at, value);
    }

    /// Writes two bytes at `at`, big-endian.
    #[inline(always)]
    pub fn put_u16_be(&self, at: usize, value: u16) {
        self.store(at, value.to_be());
    }

    /// Writes four bytes at `at`, big-endian.
    #[inline(always)]
    pub fn put_u32_be(&self, at: usize, value: u32) {
        self.store(at, value.to_be());
    }

    /// Writes eight bytes at `at`, big-endian.
    #[inline(always)]
    pub fn put_u64_be(&self, at: usize, value: u64) {
        self.store(at, value.to_be());
    }

    /// Writes eight bytes at `at`, little-endian: half a tag.
    #[inline(always)]
    pub fn put_u64_le(&self, at: usize, value: u64) {
        self.store(at, value.to_le());
    }

    /// Copies `bytes` to the front, at most [`BUFFER`] of them; returns how many. What lies behind
    /// them stays as it was. For rings whose packet is a slice; the kernel copies words.
    #[inline]
    pub fn copy_in(&self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(BUFFER);
        // SAFETY: `len` is at most the bytes of either side; `bytes` holds no cells and is
        // borrowed, so it cannot overlap a buffer that another reference may write.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.byte(0), len) };
        len
    }

    /// Copies the front into `bytes`, at most [`BUFFER`] bytes; returns how many.
    #[inline]
    pub fn copy_out(&self, bytes: &mut [u8]) -> usize {
        let len = bytes.len().min(BUFFER);
        // SAFETY: as in `copy_in`; `bytes` is borrowed exclusively, so it cannot overlap `self`.
        unsafe { core::ptr::copy_nonoverlapping(self.byte(0), bytes.as_mut_ptr(), len) };
        len
    }

    /// Where the byte at `at` lies, `at` taken modulo [`BUFFER`].
    #[inline(always)]
    fn byte(&self, at: usize) -> *mut u8 {
        self.0
            .as_ptr()
            .cast::<u8>()
            .cast_mut()
            .wrapping_add(at & MASK)
    }

    #[inline(always)]
    fn load<T: FromBytes>(&self, at: usize) -> T {
        const { assert!(size_of::<T>() <= 8, "the slack behind the buffer is wider") };
        // SAFETY: `byte` lies at most `BUFFER - 1` into `BUFFER + 8` initialised bytes and `T` is
        // at most 8 bytes of which every pattern is valid; the cells are not written meanwhile,
        // because the type is not `Sync`.
        unsafe { self.byte(at).cast::<T>().read_unaligned() }
    }

    #[inline(always)]
    fn store<T: IntoBytes + Immutable>(&self, at: usize, value: T) {
        const { assert!(size_of::<T>() <= 8, "the slack behind the buffer is wider") };
        // SAFETY: in bounds as in `load`; the bytes lie in cells, so they may be written through
        // `&self`, and `T` has no padding that could leave a byte uninitialised.
        unsafe { self.byte(at).cast::<T>().write_unaligned(value) };
    }
}

/// Zeroes a message, which is whole words of cells.
///
/// Volatile, because plain stores of zeros side by side become a call of `memset`, and the kernel
/// has none: LLVM expands no `memset` for BPF when it expands copies in order, as the linker asks.
#[inline(always)]
pub(crate) fn clear(message: &MessageCells) {
    const MESSAGE_WORDS: usize = size_of::<MessageCells>() / 8;
    const { assert!(align_of::<MessageCells>() == 8 && MESSAGE_WORDS * 8 == 56) };
    // SAFETY: the same place seen as cells of words: equal size and alignment, every byte of both
    // in a cell, every pattern valid for both.
    let words = unsafe { &*(&raw const *message).cast::<[Cell<u64>; MESSAGE_WORDS]>() };
    for word in words {
        // SAFETY: the word is borrowed here, aligned, and in a cell.
        unsafe { word.as_ptr().write_volatile(0) };
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Buffer(2048 bytes)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every access at every offset, far ones included, reads back what was written.
    #[test]
    fn accesses_agree_at_every_offset() {
        let buf = Buffer::new();
        for at in (0..BUFFER).chain([BUFFER, BUFFER + 3, usize::MAX, usize::MAX / 2]) {
            buf.put_u64_be(at, 0x0102_0304_0506_0708);
            assert_eq!(buf.u64_be(at), 0x0102_0304_0506_0708);
            assert_eq!(buf.u64_le(at), 0x0807_0605_0403_0201);
            assert_eq!(buf.u32_be(at), 0x0102_0304);
            assert_eq!(buf.u16_be(at), 0x0102);
            assert_eq!(buf.u8(at), 1);
            buf.put_u32_be(at, 0x1112_1314);
            buf.put_u16_be(at, 0x2122);
            buf.put_u8(at, 0x31);
            assert_eq!(buf.u64_be(at), 0x3122_1314_0506_0708);
            buf.put_u64_le(at, 7);
            assert_eq!(buf.u64_le(at), 7);
        }
    }

    #[test]
    fn words_are_the_bytes_as_they_lie() {
        let buf = Buffer::new();
        let bytes: Vec<u8> = (0..3000_u32).map(|i| (i * 7 % 251) as u8).collect();
        assert_eq!(buf.copy_in(&bytes), BUFFER);
        for (i, chunk) in bytes[..BUFFER].chunks_exact(8).enumerate() {
            assert_eq!(buf.word(i).to_le_bytes(), chunk);
            assert_eq!(buf.word(i + WORDS), buf.word(i));
        }
        buf.set_word(3, 0x0807_0605_0403_0201);
        let mut out = [0; 33];
        assert_eq!(buf.copy_out(&mut out), 33);
        assert_eq!(out[..24], bytes[..24]);
        assert_eq!(out[24..32], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(out[32], bytes[32]);
    }
}
