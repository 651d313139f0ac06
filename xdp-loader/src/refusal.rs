//! Why the kernel would not attach a program, in its own words.
//!
//! A driver says it in a netlink "extended ack". `BPF_LINK_CREATE` has no place for one: the kernel gives the text to the tracepoint
//! `bpf_xdp_link_attach_failed` instead (Linux 6.6, `net/core/dev.c`), and `errno` to the caller. So the refused attachment is tried once more while
//! a small program of ours copies that text out. Where the kernel has no such tracepoint, or nothing to say, what is known of the interface is said.

use crate::{
    error::LoaderError,
    netdev::Netdev,
    probe::{EXIT, instruction},
    sys::{self, MapShape},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

const TRACEPOINT: &str = "bpf_xdp_link_attach_failed";

/// Longer than any text of a driver in Linux 6.18.
const TEXT_BYTES: i32 = 128;

/// The error again with its reason; `attach` is the call that gave it.
///
/// # Errors
/// None at present: an attachment that works at the second try is taken down, the first answer counts.
pub(crate) fn explain(
    source: io::Error,
    ifindex: u32,
    attach: impl Fn() -> io::Result<OwnedFd>,
) -> Result<io::Error, LoaderError> {
    let why = match kernel_text(&attach) {
        Some(text) => format!("{source}; the kernel says: {text}"),
        None => match Netdev::of(ifindex) {
            Ok(device) => format!("{source}; the kernel says no more, the interface is {device}"),
            Err(_) => return Ok(source),
        },
    };
    Ok(io::Error::new(source.kind(), why))
}

/// What the kernel writes to its tracepoint when `attach` fails.
fn kernel_text(attach: &impl Fn() -> io::Result<OwnedFd>) -> Option<String> {
    let shape = MapShape {
        kind: sys::MAP_TYPE_ARRAY,
        key_bytes: 4,
        value_bytes: TEXT_BYTES as u32,
        entries_max: 1,
        flags: 0,
        extra: 0,
    };
    let map = sys::map_create("ring0_refusal", &shape).ok()?;
    let trace = sys::trace(TRACEPOINT, &copy_text(map.as_fd())).ok()?;
    let again = attach();
    drop(trace);
    again.is_err().then_some(())?;
    let mut text = [0; TEXT_BYTES as usize];
    sys::map_lookup(map.as_fd(), 0, &mut text, &shape, 1).ok()?;
    let end = text.iter().position(|byte| *byte == 0)?;
    let text = String::from_utf8_lossy(&text[..end]).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Copies the string that the tracepoint's first argument points to into the map.
fn copy_text(map: BorrowedFd<'_>) -> Vec<[u8; 8]> {
    const UPDATE: i32 = 2; // bpf_map_update_elem
    const READ_TEXT: i32 = 115; // bpf_probe_read_kernel_str
    const TEXT_AT: i32 = -8 - TEXT_BYTES;
    vec![
        instruction(0x79, 6, 1, 0, 0),       // r6 = the text
        instruction(0x62, 10, 0, -4, 0),     // key 0 at fp - 4
        instruction(0xbf, 1, 10, 0, 0),      // r1 = fp
        instruction(0x07, 1, 0, 0, TEXT_AT), // r1 += place
        instruction(0xb7, 2, 0, 0, TEXT_BYTES),
        instruction(0xbf, 3, 6, 0, 0),
        instruction(0x85, 0, 0, 0, READ_TEXT),
        instruction(0x18, 1, 1, 0, map.as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, -4),
        instruction(0xbf, 3, 10, 0, 0),
        instruction(0x07, 3, 0, 0, TEXT_AT),
        instruction(0xb7, 4, 0, 0, 0),
        instruction(0x85, 0, 0, 0, UPDATE),
        instruction(0xb7, 0, 0, 0, 0),
        EXIT,
    ]
}
