//! Turns every IPv4 UDP packet round and sends it back from where it came in: what the way to the kernel ring and back costs without a ring.
//!
//! The same bytes go back: addresses and ports change places, so both checksums stay right. Whatever is not such a packet passes.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "../frame.rs"]
mod frame;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use frame::{HEADERS, load, store};

const IPV4: u16 = 0x0800;
const UDP: u8 = 17;

/// One frame.
#[xdp]
pub fn echo(ctx: XdpContext) -> u32 {
    let headers = frame::bytes(&ctx, 0, HEADERS);
    if headers.is_null()
        || u16::from_be(load(headers, 12)) != IPV4
        || load::<u8>(headers, 14) != 0x45
        || load::<u8>(headers, 23) != UDP
    {
        return xdp_action::XDP_PASS;
    }
    let (to_a, to_b): (u32, u16) = (load(headers, 0), load(headers, 4));
    let (from_a, from_b): (u32, u16) = (load(headers, 6), load(headers, 10));
    store(headers, 0, from_a);
    store(headers, 4, from_b);
    store(headers, 6, to_a);
    store(headers, 10, to_b);
    let (source, destination): (u32, u32) = (load(headers, 26), load(headers, 30));
    store(headers, 26, destination);
    store(headers, 30, source);
    let (from_port, to_port): (u16, u16) = (load(headers, 34), load(headers, 36));
    store(headers, 34, to_port);
    store(headers, 36, from_port);
    xdp_action::XDP_TX
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
