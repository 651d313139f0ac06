//! Proof of life: every mechanism that the XDP program stands on, used once, then `XDP_PASS`. The tests
//! of `xdp-loader` run it, so that they do not depend on what the matcher does.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "../arena.rs"]
mod arena;
#[path = "../definition.rs"]
mod definition;
#[path = "../map.rs"]
mod map;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

/// Words of the arena's first page that the proof uses. Page 0 belongs to no region.
mod word {
    /// Always zero, but not known to be: where loop counters start, so that the verifier converges.
    pub(crate) const ZERO: u32 = 0;
    /// Runs so far, plus `STEPS` a run.
    pub(crate) const COUNT: u32 = 64;
    /// Steps a run takes, read by the loop (at most `STEPS_MAX`).
    pub(crate) const STEPS: u32 = 72;
    /// Holds the previous count after an exchange.
    pub(crate) const EXCHANGED_U64: u32 = 80;
    /// As above, 32 bits.
    pub(crate) const EXCHANGED_U32: u32 = 88;
    /// Eight bytes read from an odd address.
    pub(crate) const UNALIGNED: u32 = 96;
    /// First word of command 0.
    pub(crate) const COMMAND: u32 = 104;
    /// First word of key 0.
    pub(crate) const KEY: u32 = 112;
    /// What a subprogram makes of itself and the step, eight times a step.
    pub(crate) const MIXED: u32 = 120;
}

const STEPS_MAX: u64 = 1024;

/// Counts in the arena, copies a command and a key word into it, writes a record and a cursor.
#[xdp]
pub fn proof(_ctx: XdpContext) -> u32 {
    arena::mention();
    map::count(0);
    let count = arena::at::<u64>(word::COUNT);
    // SAFETY: arena memory; the loader has touched every page.
    let steps = unsafe { *arena::at::<u64>(word::STEPS) };
    // SAFETY: as above; volatile, so that the verifier sees an unknown number.
    let mut step = unsafe { arena::at::<u64>(word::ZERO).read_volatile() };
    while step < steps && step < STEPS_MAX && arena::can_loop() {
        // SAFETY: as above.
        unsafe { *count += 1 };
        let mixed = arena::at::<u64>(word::MIXED);
        // SAFETY: as above.
        let mut value = unsafe { mixed.read_volatile() };
        value = mix(mix(mix(mix(value, step), step), step), step);
        value = mix(mix(mix(mix(value, step), step), step), step);
        // SAFETY: as above.
        unsafe { mixed.write_volatile(value) };
        step += 1;
    }
    // SAFETY: as above.
    let now = unsafe { *count };
    // SAFETY: offset divisible by eight.
    let before = unsafe { arena::exchange_u64(arena::at(word::EXCHANGED_U64), now) };
    // SAFETY: offset divisible by four.
    let low = unsafe { arena::exchange_u32(arena::at(word::EXCHANGED_U32), before as u32) };
    // SAFETY: as above.
    let odd = unsafe { arena::at::<u64>(word::COUNT + 1).read_unaligned() };
    // SAFETY: as above.
    unsafe { *arena::at::<u64>(word::UNALIGNED) = odd };
    if let (Some(record), Some(cursor)) = (map::RECORDS.get::<u64>(0), map::CURSORS.get::<u64>(0)) {
        // SAFETY: values of 64 bytes, this program is their only writer.
        unsafe { record.as_ptr().write_volatile(now) };
        // SAFETY: as above.
        unsafe { cursor.as_ptr().write_volatile(u64::from(low)) };
    }
    if let Some(command) = map::COMMANDS.get::<u64>(0) {
        // SAFETY: a value of 128 bytes; arena memory.
        unsafe { *arena::at::<u64>(word::COMMAND) = command.as_ptr().read_volatile() };
    }
    if let Some(key) = map::KEYS.get::<u64>(0) {
        // SAFETY: a value of 32 bytes; arena memory.
        unsafe { *arena::at::<u64>(word::KEY) = *key.as_ptr() };
    }
    xdp_action::XDP_PASS
}

/// A subprogram that takes and returns numbers, so that the verifier walks it once or once a call.
#[inline(never)]
fn mix(value: u64, step: u64) -> u64 {
    let mut mixed = value.rotate_left(7) ^ step;
    if mixed & 1 != 0 {
        mixed = mixed.wrapping_mul(3);
    }
    if mixed & 4 != 0 {
        mixed = mixed.wrapping_add(step);
    }
    mixed.wrapping_add(1)
}

/// Never linked: the build refuses an object with a panic path (RULES 1).
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Licence under which the kernel lets the program call its helpers.
#[unsafe(link_section = "license")]
#[unsafe(export_name = "LICENSE")]
pub static LICENSE: [u8; 4] = *b"GPL\0";
