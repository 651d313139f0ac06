//! Gives each frame to the program of the shard whose UDP port it is for, where several shards share an interface.
//!
//! It knows ports and nothing else: the shard's program looks at the whole frame itself, with its own memory, as if it were attached alone
//! (`docs/decisions/0056-dispatcher.md`). Always true: a frame for no shard's port passes untouched, under exactly one counter of this
//! program; any other ends under exactly one counter of its shard.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "../definition.rs"]
mod definition;
#[path = "../frame.rs"]
mod frame;

use aya_ebpf::{
    bindings::{
        bpf_map_type::{BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PROG_ARRAY},
        xdp_action,
    },
    helpers,
    macros::xdp,
    programs::XdpContext,
};
use definition::MapDefinition;
use frame::{HEADERS, IPV4, Kind, Place};

/// Programs by UDP destination port. Writer: the loader.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "PORTS")]
pub static PORTS: MapDefinition = MapDefinition::new(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 65_536, 0);

/// Counters of the frames that are no shard's, a word per CPU and reason. Writer: the program.
#[unsafe(link_section = "maps")]
#[unsafe(export_name = "COUNTERS")]
pub static COUNTERS: MapDefinition = MapDefinition::new(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 128, 0);

/// One frame.
#[xdp]
pub fn dispatch(ctx: XdpContext) -> u32 {
    let headers = frame::bytes(&ctx, 0, HEADERS);
    if !headers.is_null() && u16::from_be(frame::load(headers, 12)) == IPV4 {
        // Where the port is if this is UDP without IPv4 options; if it is not, the program found by chance says so.
        let port = u16::from_be(frame::load(headers, 36));
        // SAFETY: a helper on this context and a map of programs. It comes back only when the port has none.
        unsafe { helpers::bpf_tail_call(ctx.ctx.cast(), PORTS.as_ptr(), port.into()) };
    }
    if let Kind::NotOurs(counter) = frame::classify(&ctx, &NoShard)
        && let Some(word) = COUNTERS.get::<u64>(counter as u32)
    {
        // SAFETY: the value is eight bytes, aligned, and this CPU's own; XDP does not preempt itself on one CPU.
        unsafe { *word.as_ptr() += 1 };
    }
    xdp_action::XDP_PASS
}

/// Nobody's port: only why a frame passes is asked of it.
struct NoShard;

impl Place for NoShard {
    #[inline(always)]
    fn port(&self) -> u32 {
        u32::MAX
    }

    #[inline(always)]
    fn address(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn is_ready(&self) -> bool {
        false
    }

    #[inline(always)]
    fn is_armed(&self, _nonce: u64) -> bool {
        false
    }
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
