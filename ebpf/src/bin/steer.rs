//! Steers a shard's packets to the sockets of the AF_XDP ring: checks shape, session and tag, gives each its number in the order of arrival, and
//! redirects it. Who matches, and in what state, is the ring's business in its own process.
//!
//! For kernels without arena or `may_goto`: plain maps, loops with constant bounds, functions of numbers (`docs/decisions/0048-steering-program.md`).
//! Always true: what is not ours passes untouched; every frame ends under exactly one counter; a number is used only for a frame that has a socket
//! and a stamp, so a number that is missing in the ring is a packet that was lost behind this program.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "../definition.rs"]
mod definition;
#[path = "../frame.rs"]
mod frame;

use aya_ebpf::{
    bindings::{
        bpf_map_type::{BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_XSKMAP},
        xdp_action, xdp_md,
    },
    helpers,
    macros::xdp,
    programs::XdpContext,
};
use core::{arch::asm, ffi::c_void, ptr::NonNull};
use definition::MapDefinition;
use frame::{HEADERS, Kind, Place};
use ring0_abi::{Counter, key, malformed, steer};
use ring0_wire::{
    BUFFER, Buffer, Check, Domain, Key, Loops, PAYLOAD_MAX, PAYLOAD_MIN, TAG_BLOCK, mac, mold,
};

/// Which frames are the shard's (`ring0_abi::steer`). Writer: the loader, before the link is made.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "CONFIG")]
pub static CONFIG: MapDefinition = MapDefinition::array(steer::CONFIG_BYTES as u32, 1, 0);

/// Sessions by index: key, id, mode. Writer: the ring's process. Not mappable.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "SESSIONS")]
pub static SESSIONS: MapDefinition = MapDefinition::array(steer::SESSION_BYTES as u32, 64, 0);

/// Sockets by receive queue. Writer: the ring's process; the kernel takes a socket out when it is closed.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "SOCKETS")]
pub static SOCKETS: MapDefinition = MapDefinition::new(BPF_MAP_TYPE_XSKMAP, 4, 4, 1, 0);

/// Numbers given so far. Writer: the program, on whichever processors the queues are.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "ARRIVALS")]
pub static ARRIVALS: MapDefinition = MapDefinition::array(8, 1, 0);

/// The packet that this processor looks at. Written and read within one run, which nothing else on its processor interrupts.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "SCRATCH")]
pub static SCRATCH: MapDefinition = MapDefinition::new(
    BPF_MAP_TYPE_PERCPU_ARRAY,
    4,
    size_of::<Buffer>() as u32,
    1,
    0,
);

/// Counters, a word per CPU and reason (`ring0_abi::steer::counter_name`). Writer: the program.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "COUNTERS")]
pub static COUNTERS: MapDefinition = MapDefinition::new(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 128, 0);

/// [`Loops`] where loops are walked round by round: they have constant bounds, and forget what they need not know of a round before.
struct Rounds;

impl Loops for Rounds {
    #[inline(always)]
    fn zero() -> u32 {
        0
    }

    #[inline(always)]
    fn go() -> bool {
        true
    }

    #[inline(always)]
    fn forget(number: usize) -> usize {
        forget(number)
    }
}

/// What a function that is verified on its own returns is any number to its callers.
#[inline(never)]
fn forget(number: usize) -> usize {
    frame::opaque(number)
}

/// Whole words of the longest payload.
const WORDS_MAX: usize = PAYLOAD_MAX / 8;

/// One frame.
#[xdp]
pub fn steer(ctx: XdpContext) -> u32 {
    let (action, counter) = verdict(&ctx);
    if let Some(word) = COUNTERS.get::<u64>(counter) {
        // SAFETY: the value is eight bytes, aligned, and this CPU's own; XDP does not preempt itself on one CPU.
        unsafe { *word.as_ptr() += 1 };
    }
    action
}

/// What to do with the frame, and the number that it counts under.
#[inline(always)]
fn verdict(ctx: &XdpContext) -> (u32, u32) {
    const DROP: u32 = xdp_action::XDP_DROP;
    let Some(config) = CONFIG.get::<[u32; 4]>(0) else {
        return (xdp_action::XDP_PASS, Counter::PassNotReady as u32); // never: the map has one entry
    };
    let payload = match frame::classify(ctx, &Config(config)) {
        Kind::NotOurs(counter) => return (xdp_action::XDP_PASS, counter as u32),
        Kind::BadLength => return (DROP, Counter::DropLength as u32),
        Kind::Doorbell => return (xdp_action::XDP_PASS, Counter::PassEtherType as u32), // never: none is armed
        Kind::Order(frame) => frame.payload,
    };
    let Some(request) = request() else {
        return (DROP, Counter::DropBusy as u32); // never, as above
    };
    if !copy_payload(ctx, payload as usize, request) {
        return (DROP, Counter::DropLength as u32);
    }
    let mut refused = check_session(payload);
    if refused == 0 {
        refused = check_tag(payload);
    }
    if refused != 0 {
        return (DROP, refused.wrapping_sub(1));
    }
    redirect(ctx)
}

/// The config's words.
struct Config(NonNull<[u32; 4]>);

impl Config {
    #[inline(always)]
    fn word(&self, offset: usize) -> u32 {
        let words = self.0.as_ptr().cast::<u32>();
        // SAFETY: a word of the entry, at one of the constants below its size.
        unsafe { words.wrapping_add(offset / 4).read_volatile() }
    }
}

impl Place for Config {
    #[inline(always)]
    fn port(&self) -> u32 {
        self.word(steer::PORT)
    }

    #[inline(always)]
    fn address(&self) -> u32 {
        self.word(steer::ADDRESS)
    }

    #[inline(always)]
    fn is_ready(&self) -> bool {
        self.word(steer::READY) == 1
    }

    #[inline(always)]
    fn is_armed(&self, _nonce: u64) -> bool {
        false
    }
}

/// This processor's copy of the packet.
#[inline(always)]
fn request() -> Option<&'static Buffer> {
    let buffer = SCRATCH.get::<Buffer>(0)?;
    // SAFETY: a value of a buffer's size, made of cells, this processor's own, as long as the map lives.
    Some(unsafe { &*buffer.as_ptr() })
}

/// Copies the payload, zeros after its last byte. One that is longer than a packet may be is not copied: its length gives it away.
#[inline(always)]
fn copy_payload(ctx: &XdpContext, payload: usize, request: &Buffer) -> bool {
    if payload > PAYLOAD_MAX {
        return true;
    }
    let words = payload >> 3;
    let mut index = 0;
    while index < WORDS_MAX && index < words {
        let word = frame::bytes(ctx, index.wrapping_mul(8).wrapping_add(HEADERS), 8);
        if word.is_null() {
            return false;
        }
        request.set_word(index, frame::load(word, 0));
        index = index.wrapping_add(1);
    }
    let left = payload & 7;
    if left == 0 {
        request.set_word(index, 0);
        return true;
    }
    // The last word is read so that it ends with the payload; the headers before it make room.
    let at = (frame::opaque(payload) & (BUFFER - 1)).wrapping_add(HEADERS - 8);
    let word = frame::bytes(ctx, at, 8);
    if word.is_null() {
        return false;
    }
    let last: u64 = frame::load(word, 0);
    request.set_word(index, last >> (64 - 8 * left));
    true
}

/// A session's key, its id as [`mold::session_words`] reads it, and its mode; an index without an entry has mode 0.
#[inline(always)]
fn session(index: u32) -> (Key, (u64, u16), u32) {
    match SESSIONS.get::<[u64; 4]>(index) {
        Some(entry) => {
            // SAFETY: an entry of 32 bytes; one that is changed meanwhile makes an unknown session or a bad tag at worst.
            let [k0, k1, head, rest] = unsafe { entry.as_ptr().read_volatile() };
            (Key::new(k0, k1), (head, rest as u16), (rest >> 32) as u32)
        }
        None => (Key::new(0, 0), (0, 0), 0),
    }
}

/// Whether the copied payload is a packet of a granted session: 0, or the counter of the drop plus one.
#[inline(never)]
fn check_session(payload: u32) -> u32 {
    let Some(request) = request() else {
        return Counter::DropBusy as u32 + 1;
    };
    let shape = match ring0_wire::shape::<Rounds>(request, payload as usize) {
        Ok(shape) => shape,
        Err(cause) => return malformed(cause).wrapping_add(1),
    };
    let (_, id, mode) = session(shape.session);
    if mode == 0 || id != mold::session_words(request) {
        return Counter::DropUnknownSession as u32 + 1;
    }
    0
}

/// Whether the tag of a packet that [`check_session`] passed is its session's, as there. A function of its own: here the packet's lengths are numbers
/// like any other to the verifier.
#[inline(never)]
fn check_tag(payload: u32) -> u32 {
    let Some(request) = request() else {
        return Counter::DropBusy as u32 + 1;
    };
    let (Some(index), true) = (
        mold::session_index(request),
        payload as usize >= PAYLOAD_MIN && payload as usize <= PAYLOAD_MAX,
    ) else {
        return Counter::DropUnknownSession as u32 + 1; // never: the shape was good
    };
    let signed = (payload as usize).wrapping_sub(TAG_BLOCK);
    let (key, _, mode) = session(index);
    if mode == key::CHECKED {
        if mac::verify::<Rounds>(request, signed, &key, Domain::Request) != Check::Genuine {
            return Counter::DropBadTag as u32 + 1;
        }
    } else if mode != key::OFF {
        return Counter::DropNoKey as u32 + 1;
    } else if !mac::is_blank(request, signed) {
        return Counter::DropBadTag as u32 + 1;
    }
    0
}

/// Stamps the frame and gives it to the socket of its queue.
#[inline(always)]
fn redirect(ctx: &XdpContext) -> (u32, u32) {
    const DROP: u32 = xdp_action::XDP_DROP;
    let md = ctx.ctx.cast::<xdp_md>();
    // SAFETY: a field of the program's own context.
    let queue = unsafe { (*md).rx_queue_index };
    if SOCKETS.get::<c_void>(queue).is_none() {
        return (DROP, steer::NO_SOCKET);
    }
    // SAFETY: a helper on this frame; every pointer into it is made anew below.
    if unsafe { helpers::bpf_xdp_adjust_meta(md, -(steer::STAMP_BYTES as i32)) } != 0 {
        return (DROP, steer::NO_METADATA);
    }
    let start = frame::opaque(ctx.metadata());
    if frame::opaque(start.wrapping_add(steer::STAMP_BYTES)) > frame::opaque(ctx.data()) {
        return (DROP, steer::NO_METADATA);
    }
    let Some(arrivals) = ARRIVALS.get::<u64>(0) else {
        return (DROP, steer::NO_METADATA); // never: the map has one entry
    };
    let number = next(arrivals);
    // SAFETY: a helper without arguments.
    let boot_ns = unsafe { helpers::bpf_ktime_get_boot_ns() };
    let stamp = start as *mut u64;
    // SAFETY: sixteen bytes before the frame, as just checked.
    unsafe { stamp.write_unaligned(number) };
    // SAFETY: as above.
    unsafe { stamp.wrapping_add(1).write_unaligned(boot_ns) };
    // SAFETY: a helper on a map of sockets. Where the socket has gone meanwhile it gives the last argument.
    let action = unsafe {
        helpers::bpf_redirect_map(SOCKETS.as_ptr().cast(), u64::from(queue), u64::from(DROP))
    } as u32;
    if action == xdp_action::XDP_REDIRECT {
        (action, steer::REDIRECTED)
    } else {
        (DROP, steer::NO_SOCKET)
    }
}

/// Counts one up, whichever processors do so at once, and gives the new number.
#[inline(always)]
fn next(arrivals: NonNull<u64>) -> u64 {
    let mut value: u64 = 1;
    // SAFETY: the word is a map's value of eight bytes, aligned. (The compiler has no such exchange for this target.)
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({word} + 0), {value})",
            word = in(reg) arrivals.as_ptr(),
            value = inout(reg) value,
            options(nostack)
        );
    }
    value.wrapping_add(1)
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
