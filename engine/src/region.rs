//! From an offset to memory: the one module of the engine with raw access.
//!
//! All state of a shard lives in one flat region reached by `u32` offsets. In the kernel the region is a part of a BPF
//! arena and an offset becomes a pointer by `addr_space_cast`; natively it is an ordinary mapping and an offset is added
//! to its base. Everything in the region is made of [`Cell`]s, so that any number of shared references may be alive: one
//! writer per shard (RULES 4) is what makes them sound, and no `&mut` into the region exists.
//!
//! Always true: natively 4 GiB of address space and one page behind it are reserved, so that every `u32` offset stays
//! inside the reservation whatever the region's content says; in the kernel the arena's own 4 GiB and guard pages do
//! the same.

use core::cell::Cell;
use core::marker::PhantomData;

/// Offset in the arena of the word that is always zero, which loop counters start from (see [`zero`]).
pub const ZERO_WORD: u32 = 64;

/// Offset in the arena of the first shard's region. Page 0 belongs to no shard, so that no offset is a null pointer.
pub const SHARD_BASE: u32 = 4096;

/// Memory made of nothing but cells of integers, and arrays and structs of such.
///
/// # Safety
/// Every bit pattern is valid, there is no padding that matters, and nothing in it is ever borrowed mutably.
pub unsafe trait Cells {}

// SAFETY: a cell of an integer.
unsafe impl Cells for Cell<u8> {}
// SAFETY: as above.
unsafe impl Cells for Cell<u32> {}
// SAFETY: as above.
unsafe impl Cells for Cell<u64> {}
// SAFETY: an array of such.
unsafe impl<T: Cells, const N: usize> Cells for [T; N] {}
// SAFETY: cells of integers, by its definition in the wire crate.
unsafe impl Cells for ring0_wire::Buffer {}
// SAFETY: as above.
unsafe impl Cells for ring0_wire::MessageCells {}

/// Declares structs that may lie in the region.
macro_rules! cells {
    ($($(#[$doc:meta])* pub struct $name:ident: $size:literal { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        const _: () = assert!(size_of::<$name>() == $size);
        const _: () = {
            const fn assert_cells<T: $crate::region::Cells>() {}
            $(assert_cells::<$type>();)*
        };
        // SAFETY: every field is `Cells`, asserted above, and the size leaves no padding.
        unsafe impl $crate::region::Cells for $name {}
    )+};
}
pub(crate) use cells;

/// A region of memory, by its base.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    #[cfg(not(target_arch = "bpf"))]
    base: *mut u8,
    #[cfg(target_arch = "bpf")]
    base: u32,
    region: PhantomData<&'a Cell<u8>>,
}

#[cfg(not(target_arch = "bpf"))]
impl<'a> Memory<'a> {
    /// The region that begins at `base`.
    ///
    /// # Safety
    /// For `'a`, `base + offset` lies inside one reservation for every `u32` offset, `base` is aligned to a page, and this
    /// thread is the only one that writes what is mapped there.
    #[must_use]
    pub const unsafe fn new(base: *mut u8) -> Self {
        Memory {
            base,
            region: PhantomData,
        }
    }

    /// What lies at `offset`.
    #[inline(always)]
    #[must_use]
    pub fn at<T: Cells>(self, offset: u32) -> &'a T {
        debug_assert!(
            (offset as usize).is_multiple_of(align_of::<T>()),
            "offsets are aligned"
        );
        // SAFETY: inside the reservation, as `new` demands.
        let place = unsafe { self.base.add(offset as usize) };
        // SAFETY: `Cells` admits every bit pattern and aliasing; offsets are multiples of the alignment by layout.
        unsafe { &*place.cast::<T>() }
    }
}

#[cfg(target_arch = "bpf")]
impl<'a> Memory<'a> {
    /// The region that begins at this offset of the arena.
    ///
    /// # Safety
    /// The program uses an arena, has touched all its pages, and holds the lock of the shard that lives there.
    #[inline(always)]
    pub const unsafe fn new(base: u32) -> Self {
        Memory {
            base,
            region: PhantomData,
        }
    }

    /// What lies at `offset`.
    #[inline(always)]
    pub fn at<T: Cells>(self, offset: u32) -> &'a T {
        let mut place = u64::from(self.base.wrapping_add(offset));
        // SAFETY: a register-to-register instruction that tells the verifier "arena".
        unsafe {
            core::arch::asm!(
                "{0} = addr_space_cast({0}, 0x0, 0x1)",
                inout(reg) place,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        // SAFETY: the kernel guards every arena access; `Cells` admits every bit pattern and aliasing.
        unsafe { &*(place as *const T) }
    }
}

/// Zero, in a way that the verifier does not know: a loop that counts from a literal is followed value by value, one that
/// counts from here converges (measured: 139,000 verified instructions became 2,500).
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn zero() -> u32 {
    let mut place = u64::from(ZERO_WORD);
    // SAFETY: as in `Memory::at`.
    unsafe {
        core::arch::asm!(
            "{0} = addr_space_cast({0}, 0x0, 0x1)",
            inout(reg) place,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    // SAFETY: a word of the arena's first page.
    unsafe { core::ptr::read_volatile(place as *const u32) }
}

/// Zero.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
#[must_use]
pub fn zero() -> u32 {
    0
}

/// What a function returns that has nothing to say but is called, not inlined, in the kernel.
///
/// The kernel verifies such a function once, on its own, for any arguments; that needs one that takes numbers and gives a
/// number back, and a compiler that cannot see that the number is always the same and leave it out.
#[must_use = "a number that nobody looks at is left out by the compiler: call `seen`"]
#[derive(Clone, Copy)]
pub struct Finished(#[cfg(target_arch = "bpf")] u64);

impl Finished {
    /// At the end of the function.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub fn here() -> Self {
        let mut number: u64 = 0;
        // SAFETY: no instruction.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) number, options(nomem, nostack, preserves_flags))
        };
        Finished(number)
    }

    /// Where it was called.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub fn seen(self) {
        // SAFETY: no instruction.
        unsafe {
            core::arch::asm!("/* {0} */", in(reg) self.0, options(nomem, nostack, preserves_flags))
        };
    }

    /// At the end of the function.
    #[cfg(not(target_arch = "bpf"))]
    #[inline(always)]
    pub fn here() -> Self {
        Finished()
    }

    /// Where it was called.
    #[cfg(not(target_arch = "bpf"))]
    #[inline(always)]
    pub fn seen(self) {}
}

/// Asks for a cache line that is needed soon, without waiting for it. In the kernel, which has no such instruction, a load that nothing
/// waits for does the same.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn touch<T: Cells>(what: &T) {
    // SAFETY: memory of the region, of which every bit pattern is valid.
    unsafe { core::ptr::from_ref(what).cast::<u32>().read_volatile() };
}

/// As in the kernel, by the processor's own instruction.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn touch<T: Cells>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; no memory is accessed as far as the program can see.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
            core::ptr::from_ref(what).cast::<i8>(),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}

/// Copies slots out in one go, as many as `to` takes: cell by cell the compiler does not see that they lie side by side.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn copy_slots(slots: &[crate::shard::SlotWords], to: &mut [[u64; 8]]) {
    let count = slots.len().min(to.len());
    // SAFETY: a slot is eight words of cells, `count` of them are on either side, `to` is borrowed exclusively, and nothing writes the
    // cells meanwhile: they are not `Sync`.
    unsafe {
        core::ptr::copy_nonoverlapping(slots.as_ptr().cast::<[u64; 8]>(), to.as_mut_ptr(), count);
    }
}

/// Sets words to zero one by one. A run of plain zero stores becomes a call of `memset`, which works byte by byte in the kernel.
#[inline(always)]
pub(crate) fn clear(word: &Cell<u64>) {
    // SAFETY: a cell's own memory.
    unsafe { word.as_ptr().write_volatile(0) };
}

/// Sets a word that may be zero, beside others that are.
#[inline(always)]
pub(crate) fn put(word: &Cell<u64>, value: u64) {
    // SAFETY: a cell's own memory.
    unsafe { word.as_ptr().write_volatile(value) };
}

/// As [`clear`], for half a word.
#[inline(always)]
pub(crate) fn clear32(half: &Cell<u32>) {
    // SAFETY: a cell's own memory.
    unsafe { half.as_ptr().write_volatile(0) };
}

/// The number, in a way that the verifier does not know it any more: it goes through a cell. Where many ways with a constant each come together,
/// what follows is then verified once and not for each of them.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn forget(cell: &Cell<u32>, number: u32) -> u32 {
    // SAFETY: a cell's own memory.
    unsafe { cell.as_ptr().write_volatile(number) };
    // SAFETY: as above.
    unsafe { cell.as_ptr().read_volatile() }
}

/// The number.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn forget(_: &Cell<u32>, number: u32) -> u32 {
    number
}

/// Whether a loop may go round once more: the verifier's condition, beside each loop's own bound. False is a fault.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn can_loop() -> bool {
    let mut go: u64 = 0;
    // SAFETY: one conditional jump over one move, inside the block.
    unsafe { core::arch::asm!("may_goto 1f", "{0} = 1", "1:", inout(reg) go, options(nostack)) };
    go != 0
}

/// Natively always true.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
#[must_use]
pub fn can_loop() -> bool {
    true
}

/// The wire crate's loops under the same two conditions.
#[derive(Clone, Copy, Debug)]
pub struct Bounded;

impl ring0_wire::Loops for Bounded {
    #[inline(always)]
    fn zero() -> u32 {
        zero()
    }

    #[inline(always)]
    fn go() -> bool {
        can_loop()
    }
}
