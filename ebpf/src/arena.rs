//! From an arena offset to memory, the loop condition and the exchanges that the verifier accepts.
//!
//! The program sees the low 32 bits of the user address; the loader maps the arena at a
//! 4 GiB-aligned address, so an offset is an address. Behind the cast no bounds are checked: the
//! kernel keeps guard pages around the arena, an access to a page that is not there reads zero.

#![allow(dead_code, reason = "each program of this package uses a part")]

use crate::map::ARENA;
use core::arch::asm;

/// Tells the verifier which arena this program uses. Once a program, anywhere in it, is enough;
/// without it every cast is refused ("addr_space_cast insn can only be used in a program that has
/// an associated arena").
#[inline(always)]
pub fn mention() {
    // SAFETY: no instruction is emitted besides the load of the map reference.
    unsafe { asm!("/* {0} */", in(reg) ARENA.as_ptr(), options(nostack, preserves_flags)) };
}

/// Memory at `offset` of the arena.
#[inline(always)]
pub fn at<T>(offset: u32) -> *mut T {
    let mut address = u64::from(offset);
    // SAFETY: a register-to-register instruction.
    unsafe {
        asm!(
            "{0} = addr_space_cast({0}, 0x0, 0x1)",
            inout(reg) address,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    address as *mut T
}

/// A word of the device page (`ring0_abi::device`).
#[inline(always)]
pub fn device_word(offset: u32) -> u32 {
    // SAFETY: arena memory; the daemon wrote it before the link was made.
    unsafe { at::<u32>(offset).read_volatile() }
}

/// Condition of every loop, beside the loop's own bound: false when the kernel's patience ends,
/// which is a fault and never an end (RULES 2).
#[inline(always)]
pub fn can_loop() -> bool {
    let mut go: u64 = 0;
    // SAFETY: one conditional jump over one move, inside the block.
    unsafe { asm!("may_goto 1f", "{0} = 1", "1:", inout(reg) go, options(nostack)) };
    go != 0
}

/// Puts `new` into the word at `word` and gives what was there, in one step, fully ordered.
///
/// # Safety
/// `word` came from [`at`] with an offset divisible by eight.
#[inline(always)]
pub unsafe fn exchange_u64(word: *mut u64, new: u64) -> u64 {
    let mut value = new;
    // SAFETY: as the caller promises; the arena's guard pages make every address harmless.
    unsafe {
        asm!(
            "{value} = xchg_64({word} + 0, {value})",
            word = in(reg) word,
            value = inout(reg) value,
            options(nostack)
        );
    }
    value
}

/// As [`exchange_u64`], for a word of 32 bits.
///
/// # Safety
/// `word` came from [`at`] with an offset divisible by four.
#[inline(always)]
pub unsafe fn exchange_u32(word: *mut u32, new: u32) -> u32 {
    let mut value = new;
    // SAFETY: as the caller promises; the arena's guard pages make every address harmless.
    unsafe {
        asm!(
            "{value} = xchg32_32({word} + 0, {value})",
            word = in(reg) word,
            value = inout(wreg) value,
            options(nostack)
        );
    }
    value
}
