//! The XDP program: so far it counts packets in its arena and passes them.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arena;
mod map;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

/// Offset of the packet count, in the arena's first page, which belongs to no shard.
const PACKETS: u32 = 128;

/// Counts and passes.
#[xdp]
pub fn ring0(_ctx: XdpContext) -> u32 {
    arena::mention();
    map::count(0);
    let packets = arena::at::<u64>(PACKETS);
    // SAFETY: arena memory; the loader has touched every page.
    unsafe { *packets += 1 };
    xdp_action::XDP_PASS
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
