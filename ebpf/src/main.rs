//! The XDP program: a trader's packet is authenticated, sequenced, matched and answered before it becomes a socket buffer.
//!
//! It knows packets, the arena and verdicts; what an order means is the engine's business (`../engine`, compiled in).
//! Always true: what is not ours passes untouched; every frame ends under exactly one counter; the shard's memory is
//! touched only under its lock, which is given back on every way out.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arena;
mod definition;
mod frame;
mod log;
mod map;
mod ring;

use aya_ebpf::{bindings::xdp_action, helpers, macros::xdp, programs::XdpContext};
use frame::{Frame, Kind, Place};
use ring::KernelRing;
use ring0_abi::{Acks, Counter, command, device, key, malformed};
use ring0_engine::region::{Bounded, Finished, Memory, SHARD_BASE, can_loop, zero};
use ring0_engine::{Shard, Taken};
use ring0_wire::{Check, Domain, Key};

/// Looks at the lock that another processor may have, at the most. A full packet takes some 10 µs, this is some 50.
const SPINS_MAX: u32 = 16_384;

/// What to do with the frame, and under which number it counts.
struct Verdict {
    action: u32,
    counter: u32,
}

const fn pass(counter: Counter) -> Verdict {
    Verdict {
        action: xdp_action::XDP_PASS,
        counter: counter as u32,
    }
}

const fn dropped(counter: u32) -> Verdict {
    Verdict {
        action: xdp_action::XDP_DROP,
        counter,
    }
}

/// One frame.
#[xdp]
pub fn ring0(ctx: XdpContext) -> u32 {
    arena::mention();
    let verdict = match frame::classify(&ctx, &Device) {
        Kind::NotOurs(counter) => pass(counter),
        Kind::BadLength => dropped(Counter::DropLength as u32),
        Kind::Doorbell => doorbell(),
        Kind::Order(frame) => order(&ctx, frame),
    };
    map::count(verdict.counter);
    if verdict.action == xdp_action::XDP_DROP && !is_drop_meant(verdict.counter) {
        log::dropped(verdict.counter, frame::frame_len(&ctx));
    }
    verdict.action
}

/// The device page, and the arming word in the command ring.
struct Device;

impl Place for Device {
    #[inline(always)]
    fn port(&self) -> u32 {
        arena::device_word(device::PORT)
    }

    #[inline(always)]
    fn address(&self) -> u32 {
        arena::device_word(device::ADDRESS)
    }

    #[inline(always)]
    fn is_ready(&self) -> bool {
        arena::device_word(device::READY) == 1
    }

    #[inline(always)]
    fn is_armed(&self, nonce: u64) -> bool {
        let Some(entry) = map::COMMANDS.get::<[u64; 2]>(0) else {
            return false;
        };
        // SAFETY: the second word of entry 0. Volatile: the daemon writes it.
        let armed = unsafe {
            entry
                .as_ptr()
                .cast::<u64>()
                .wrapping_add(command::ARMED / 8)
                .read_volatile()
        };
        armed != 0 && armed == nonce
    }
}

/// Whether a dropped frame did what it came for.
#[inline(always)]
fn is_drop_meant(counter: u32) -> bool {
    counter == Counter::Doorbell as u32
        || counter == Counter::Held as u32
        || counter == Counter::HeldDuplicate as u32
}

/// The shard's lock, held until [`release`]. False: another processor did not give it back in time.
#[inline(always)]
fn acquire(shard: Shard<'_>) -> bool {
    let lock = &shard.header().lock;
    let mut spins = zero();
    while spins < SPINS_MAX {
        if !can_loop() {
            return false;
        }
        // SAFETY: arena memory. Volatile: another processor writes it.
        let seen = unsafe { lock.as_ptr().read_volatile() };
        // SAFETY: a word of the arena, at an offset divisible by four.
        if seen == 0 && unsafe { arena::exchange_u32(lock.as_ptr(), 1) } == 0 {
            return true;
        }
        spins = spins.wrapping_add(1);
    }
    false
}

/// Gives the lock back. x86 keeps stores in order: what was written under the lock is seen before it is free.
#[inline(always)]
fn release(shard: Shard<'_>) {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
    // SAFETY: arena memory.
    unsafe { shard.header().lock.as_ptr().write_volatile(0) };
}

#[inline(always)]
fn shard() -> Shard<'static> {
    // SAFETY: the loader has touched every page; every use is between `acquire` and `release`.
    Shard::new(unsafe { Memory::new(SHARD_BASE) })
}

#[inline(always)]
fn boot_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { helpers::bpf_ktime_get_boot_ns() }
}

/// A frame to the shard's port: matched and answered.
#[inline(always)]
fn order(ctx: &XdpContext, frame: Frame) -> Verdict {
    let shard = shard();
    if !acquire(shard) {
        return dropped(Counter::DropBusy as u32);
    }
    let verdict = order_locked(ctx, frame, shard);
    log::fault(shard);
    release(shard);
    verdict
}

#[inline(always)]
fn order_locked(ctx: &XdpContext, frame: Frame, shard: Shard<'static>) -> Verdict {
    // Without a branch: the verifier would follow both ways to the end.
    let held = u64::from(arena::device_word(device::ACKS)).wrapping_neg();
    if !frame::note_sender(ctx, &shard.header().reply_to, held)
        || !frame.copy_payload(ctx, &shard.scratch().request)
    {
        return dropped(Counter::DropLength as u32);
    }
    let refused = authenticate(shard, frame.payload);
    if refused != 0 {
        return dropped(refused.wrapping_sub(1));
    }
    let shape = shard.shape();
    let ring = KernelRing;
    shard.steps(&ring);
    let counter = match shard.packet(&shape, boot_ns(), &ring) {
        Taken::Taken if holds_answers() => return dropped(Counter::Held as u32),
        Taken::Taken => Counter::Taken,
        Taken::Duplicate if is_held(shard) != 0 => {
            return dropped(Counter::HeldDuplicate as u32);
        }
        Taken::Duplicate => Counter::Duplicate,
        Taken::Hole => Counter::Hole,
        Taken::Straddle => Counter::Straddle,
        Taken::RingFull => Counter::RingFull,
        Taken::RateLimited => Counter::RateLimited,
        Taken::Halted => Counter::Halted,
    };
    let bytes = seal(shard);
    if bytes == 0 || !frame.answer(ctx, &shard.scratch().answer, bytes) {
        return dropped(Counter::DropAnswer as u32);
    }
    Verdict {
        action: xdp_action::XDP_TX,
        counter: counter as u32,
    }
}

/// Whether answers are held until their records are durable. Read where it is asked: the stack has no room for what is asked again.
#[inline(always)]
fn holds_answers() -> bool {
    arena::device_word(device::ACKS) == Acks::Durable as u32
}

/// 1 when the duplicate just looked at is of a packet whose answer is still held, else 0.
#[inline(never)]
fn is_held(shard: Shard<'static>) -> u32 {
    u32::from(holds_answers() && shard.newest_told(&shard.shape()) > ring::durable())
}

/// A session's key and its mode (`ring0_abi::key`); a session without an entry has mode 0.
#[inline(always)]
fn key_of(session: u32) -> (Key, u32) {
    match map::KEYS.get::<[u64; 4]>(session) {
        Some(entry) => {
            // SAFETY: an entry of 32 bytes; a key that is changed meanwhile makes a bad tag at worst.
            let [k0, k1, mode, _] = unsafe { entry.as_ptr().read_volatile() };
            (Key::new(k0, k1), mode as u32)
        }
        None => (Key::new(0, 0), 0),
    }
}

/// Whether the payload in the scratch request is a packet of a granted session with a good tag: 0, or the counter of the drop plus one.
/// Functions of their own, so that what they keep leaves the stack before the engine needs it.
#[inline(never)]
fn authenticate(shard: Shard<'static>, payload: u32) -> u32 {
    let request = &shard.scratch().request;
    let shape = match ring0_wire::shape::<Bounded>(request, payload as usize) {
        Ok(shape) => shape,
        Err(cause) => return malformed(cause).wrapping_add(1),
    };
    if !shard.is_granted(&shape) {
        return Counter::DropUnknownSession as u32 + 1;
    }
    shard.set_shape(&shape);
    check_tag(shard)
}

/// Whether the tag is the session's, as in [`authenticate`]. Here the packet's lengths are numbers like any other to the verifier; beside the walk
/// over the blocks it would follow each length on its own (524,000 instructions instead of 22,000).
#[inline(never)]
fn check_tag(shard: Shard<'static>) -> u32 {
    let request = &shard.scratch().request;
    let shape = shard.shape();
    let (key, mode) = key_of(shape.session);
    let signed = shape.signed as usize;
    if mode == key::CHECKED {
        if ring0_wire::mac::verify::<Bounded>(request, signed, &key, Domain::Request)
            != Check::Genuine
        {
            return Counter::DropBadTag as u32 + 1;
        }
    } else if mode != key::OFF {
        return Counter::DropNoKey as u32 + 1;
    } else if !ring0_wire::mac::is_blank(request, signed) {
        return Counter::DropBadTag as u32 + 1;
    }
    0
}

/// Ends the answer with its tag and gives its length, 0 after a fault.
#[inline(never)]
fn seal(shard: Shard<'static>) -> u32 {
    let shape = shard.shape();
    let (key, mode) = key_of(shape.session);
    shard.finish_answer(
        &shape,
        if mode == key::CHECKED {
            Some(&key)
        } else {
            None
        },
    )
}

/// The daemon rang: continuation steps, then what stands in the command ring.
#[inline(always)]
fn doorbell() -> Verdict {
    let shard = shard();
    if !acquire(shard) {
        return dropped(Counter::DropBusy as u32);
    }
    let ring = KernelRing;
    shard.steps(&ring);
    drain(shard).seen();
    log::fault(shard);
    log::doorbell(shard);
    release(shard);
    dropped(Counter::Doorbell as u32)
}

#[inline(never)]
fn drain(shard: Shard<'static>) -> Finished {
    let ring = &KernelRing;
    let mask = arena::device_word(device::COMMAND_MASK);
    let header = shard.header();
    let mut drained = zero();
    while drained < command::DRAIN_MAX {
        if !can_loop() {
            return Finished::here();
        }
        let Some(head) = map::COMMANDS.get::<u64>(0) else {
            return Finished::here();
        };
        // SAFETY: the first word of entry 0. Volatile: the daemon writes it.
        let written = unsafe { head.as_ptr().read_volatile() };
        let taken = header.controls_taken.get();
        if taken >= written
            || ring0_engine::Recorder::free(ring) < ring0_engine::limits::STEP_SLOTS_MAX
        {
            return Finished::here();
        }
        let index = (taken as u32 & mask).wrapping_add(1);
        let Some(entry) = map::COMMANDS.get::<[u64; 16]>(index) else {
            return Finished::here();
        };
        let words = entry.as_ptr().cast::<u64>();
        // SAFETY: entries are 128 bytes.
        let number = unsafe { words.read_volatile() };
        if number != taken.wrapping_add(1) {
            return Finished::here(); // overwritten or not yet written: the daemon finds its count not moved
        }
        // SAFETY: as above.
        let kind = unsafe { words.wrapping_add(1).read_volatile() } as u32;
        let body = words.wrapping_add(4);
        // SAFETY: body words 0 to 11 are words 4 to 15 of the entry.
        let word = |at: u32| unsafe { body.wrapping_add(at as usize & 15).read_volatile() };
        if !shard.control(kind, boot_ns(), ring, word) {
            return Finished::here();
        }
        header.controls_taken.set(taken.wrapping_add(1));
        drained = drained.wrapping_add(1);
    }
    Finished::here()
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

/// Which layout of the region the program was built for: `xdp-loader replace` refuses another one before it changes anything.
#[unsafe(link_section = "ring0.layout")]
#[unsafe(export_name = "LAYOUT")]
pub static LAYOUT: u64 = ring0_engine::layout::LAYOUT_VERSION;
