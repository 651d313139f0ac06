//! The frame around the payload: Ethernet, IPv4 without options, UDP.

#![allow(dead_code, reason = "each program of this package uses a part")]

use aya_ebpf::{bindings::xdp_md, helpers, programs::XdpContext};
use core::arch::asm;
use core::cell::Cell;
use ring0_abi::{Counter, doorbell};
use ring0_engine::region::{can_loop, zero};
use ring0_wire::{Buffer, WORDS};

/// Bytes before the payload: Ethernet 14, IPv4 20, UDP 8.
pub const HEADERS: usize = 42;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
const UDP: u8 = 17;
/// Every bit of the fragment word but "don't fragment".
const FRAGMENT: u16 = 0xBFFF;

/// Where the program keeps which frames are its shard's.
pub trait Place {
    /// UDP port of the shard.
    fn port(&self) -> u32;
    /// IPv4 address of the shard as its four bytes lie in the packet; 0: any.
    fn address(&self) -> u32;
    /// Whether the shard takes frames yet.
    fn is_ready(&self) -> bool;
    /// Whether a doorbell frame with this word is the daemon's.
    fn is_armed(&self, nonce: u64) -> bool;
}

/// A frame to the shard.
#[derive(Clone, Copy)]
pub struct Frame {
    /// Bytes of the UDP payload, which lie inside the frame; at most 2,047.
    pub payload: u32,
}

/// What a frame is.
pub enum Kind {
    /// It passes, untouched.
    NotOurs(Counter),
    /// Ours, and its lengths disagree.
    BadLength,
    /// The daemon's, armed.
    Doorbell,
    /// A packet for the shard.
    Order(Frame),
}

/// Hides a number from the compiler, so that it compares as written: LLVM turns `p + 8 > end` into `end - 8`, which the
/// verifier refuses.
#[inline(always)]
pub fn opaque(mut number: usize) -> usize {
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

/// The `len` bytes at `at` of the frame, or null when it ends before them. The one place where packets are checked.
#[inline(always)]
pub fn bytes(ctx: &XdpContext, at: usize, len: usize) -> *mut u8 {
    let start = opaque(ctx.data()).wrapping_add(at);
    if opaque(start.wrapping_add(len)) > opaque(ctx.data_end()) {
        return core::ptr::null_mut();
    }
    start as *mut u8
}

/// Reads what [`bytes`] has checked.
#[inline(always)]
pub fn load<T: Copy>(start: *const u8, at: usize) -> T {
    // SAFETY: the caller has checked the bytes with `bytes`; the target allows any alignment in packets.
    unsafe { start.wrapping_add(at).cast::<T>().read_unaligned() }
}

/// Writes where [`bytes`] has checked.
#[inline(always)]
pub fn store<T: Copy>(start: *mut u8, at: usize, value: T) {
    // SAFETY: as in `load`.
    unsafe { start.wrapping_add(at).cast::<T>().write_unaligned(value) };
}

/// Offset in the frame of a word of the payload. The mask is applied to a number that the compiler cannot connect with the loop's
/// counter; otherwise it keeps a second counter for the offset, whose range grows with every turn and never converges.
#[inline(always)]
fn word_at(index: usize) -> usize {
    (opaque(index) & (WORDS - 1))
        .wrapping_mul(8)
        .wrapping_add(HEADERS)
}

/// Whose frame this is.
#[inline(always)]
pub fn classify(ctx: &XdpContext, place: &impl Place) -> Kind {
    let headers = bytes(ctx, 0, HEADERS);
    if headers.is_null() {
        return short(ctx);
    }
    let ethertype = u16::from_be(load(headers, 12));
    if ethertype != IPV4 {
        return if ethertype == doorbell::ETHERTYPE && place.is_armed(load(headers, doorbell::NONCE))
        {
            Kind::Doorbell
        } else {
            Kind::NotOurs(Counter::PassEtherType)
        };
    }
    let version: u8 = load(headers, 14);
    if load::<u8>(headers, 23) != UDP {
        return Kind::NotOurs(Counter::PassProtocol);
    }
    if version != 0x45 {
        return Kind::NotOurs(Counter::PassOptions);
    }
    if u16::from_be(load(headers, 20)) & FRAGMENT != 0 {
        return Kind::NotOurs(Counter::PassFragment);
    }
    let port = u32::from(u16::from_be(load(headers, 36)));
    let address: u32 = load(headers, 30);
    let ours = place.address();
    if port != place.port() || (ours != 0 && address != ours) {
        return Kind::NotOurs(Counter::PassPort);
    }
    if !place.is_ready() {
        return Kind::NotOurs(Counter::PassNotReady);
    }
    let total = u32::from(u16::from_be(load(headers, 16)));
    let udp = u32::from(u16::from_be(load(headers, 38)));
    if udp < 8
        || total != udp.wrapping_add(20)
        || u64::from(total).wrapping_add(14) > frame_len(ctx)
    {
        return Kind::BadLength;
    }
    Kind::Order(Frame {
        payload: udp.wrapping_sub(8),
    })
}

/// Notes for the records of a packet who sent it and to which address, as [`ReplyTo::words`](ring0_engine::record::ReplyTo::words), as far as `mask`
/// lets it.
#[inline(always)]
pub fn note_sender(ctx: &XdpContext, note: &[Cell<u64>; 2], mask: u64) -> bool {
    let headers = bytes(ctx, 0, HEADERS);
    if headers.is_null() {
        return false; // never: the frame was classified
    }
    let (source, destination): (u32, u32) = (load(headers, 26), load(headers, 30));
    let port = u16::from_be(load(headers, 34));
    note[0].set((u64::from(source) | u64::from(port) << 32) & mask);
    note[1].set(u64::from(destination) & mask);
    true
}

/// Bytes of the frame, as it is now.
#[inline(always)]
pub fn frame_len(ctx: &XdpContext) -> u64 {
    ctx.data_end().wrapping_sub(ctx.data()) as u64
}

/// A frame shorter than our headers is never ours; which header it ends in is worth a name.
#[inline(always)]
fn short(ctx: &XdpContext) -> Kind {
    let ethernet = bytes(ctx, 0, 14);
    if ethernet.is_null() || u16::from_be(load(ethernet, 12)) != IPV4 {
        return Kind::NotOurs(Counter::PassEtherType);
    }
    Kind::NotOurs(Counter::PassTruncated)
}

impl Frame {
    /// Copies the payload's words into `request`, zeros after its last byte. A payload longer than a packet may be is copied as far
    /// as the buffer goes; its length gives it away.
    #[inline(always)]
    pub fn copy_payload(self, ctx: &XdpContext, request: &Buffer) -> bool {
        let words = (self.payload >> 3) as usize;
        let mut index = zero() as usize;
        // Eight words at a time: a loop's guard and the check of the frame's end cost as much as a word.
        while index.wrapping_add(8) <= words && index < WORDS - 8 {
            if !can_loop() {
                return false;
            }
            let from = bytes(ctx, word_at(index), 64);
            if from.is_null() {
                return false;
            }
            let to = request.window(index.wrapping_mul(8));
            to.put_u64_le(0, load(from, 0));
            to.put_u64_le(8, load(from, 8));
            to.put_u64_le(16, load(from, 16));
            to.put_u64_le(24, load(from, 24));
            to.put_u64_le(32, load(from, 32));
            to.put_u64_le(40, load(from, 40));
            to.put_u64_le(48, load(from, 48));
            to.put_u64_le(56, load(from, 56));
            index = index.wrapping_add(8);
        }
        while index < words && index < WORDS - 1 {
            if !can_loop() {
                return false;
            }
            let at = word_at(index);
            let word = bytes(ctx, at, 8);
            if word.is_null() {
                return false;
            }
            request.set_word(index, load(word, 0));
            index = index.wrapping_add(1);
        }
        let left = self.payload & 7;
        if left == 0 || index >= WORDS - 1 {
            request.set_word(index, 0);
            return true;
        }
        // The last word is read so that it ends with the payload; the headers before it make room.
        let at = (self.payload as usize & 2047).wrapping_add(HEADERS - 8);
        let word = bytes(ctx, at, 8);
        if word.is_null() {
            return false;
        }
        request.set_word(index, load::<u64>(word, 0) >> (64 - 8 * left));
        true
    }

    /// Turns the frame round and puts `bytes` bytes of `answer` into it as its payload.
    #[inline(always)]
    pub fn answer(self, ctx: &XdpContext, answer: &Buffer, len: u32) -> bool {
        let change = i64::from(len)
            .wrapping_add(HEADERS as i64)
            .wrapping_sub(frame_len(ctx) as i64);
        // SAFETY: a helper on this frame; every pointer into it is made anew below.
        if change > 0
            || unsafe { helpers::bpf_xdp_adjust_tail(ctx.ctx.cast::<xdp_md>(), change as i32) } != 0
        {
            return false;
        }
        let headers = bytes(ctx, 0, HEADERS);
        if headers.is_null() {
            return false;
        }
        turn_round(headers, len);
        let words = (len >> 3) as usize;
        let mut index = zero() as usize;
        while index.wrapping_add(8) <= words && index < WORDS - 8 {
            if !can_loop() {
                return false;
            }
            let to = bytes(ctx, word_at(index), 64);
            if to.is_null() {
                return false;
            }
            let from = answer.window(index.wrapping_mul(8));
            store(to, 0, from.u64_le(0));
            store(to, 8, from.u64_le(8));
            store(to, 16, from.u64_le(16));
            store(to, 24, from.u64_le(24));
            store(to, 32, from.u64_le(32));
            store(to, 40, from.u64_le(40));
            store(to, 48, from.u64_le(48));
            store(to, 56, from.u64_le(56));
            index = index.wrapping_add(8);
        }
        while index < words && index < WORDS - 1 {
            if !can_loop() {
                return false;
            }
            let at = word_at(index);
            let word = bytes(ctx, at, 8);
            if word.is_null() {
                return false;
            }
            store(word, 0, answer.word(index));
            index = index.wrapping_add(1);
        }
        // An answer is never shorter than a word, so its last one may overlap the one before.
        let last = (len as usize & 2047).wrapping_sub(8) & 2047;
        let word = bytes(ctx, last.wrapping_add(HEADERS), 8);
        if word.is_null() {
            return false;
        }
        store(word, 0, answer.u64_le(last));
        true
    }
}

/// Swaps the addresses and ports and writes the lengths and the IPv4 checksum; the UDP checksum is 0, "none" in IPv4.
#[inline(always)]
fn turn_round(headers: *mut u8, payload: u32) {
    let (to_a, to_b): (u32, u16) = (load(headers, 0), load(headers, 4));
    let (from_a, from_b): (u32, u16) = (load(headers, 6), load(headers, 10));
    store(headers, 0, from_a);
    store(headers, 4, from_b);
    store(headers, 6, to_a);
    store(headers, 10, to_b);
    let (source, destination): (u32, u32) = (load(headers, 26), load(headers, 30));
    let total = payload.wrapping_add(28);
    store(headers, 14, 0x0045_u16); // version 4, five words of header, no service class
    store(headers, 16, (total as u16).to_be());
    store(headers, 18, 0_u16);
    store(headers, 20, 0x0040_u16); // don't fragment
    store(headers, 22, 64_u8);
    store(headers, 23, UDP);
    store(headers, 26, destination);
    store(headers, 30, source);
    // One's complement sum over the words as they lie in memory; it comes out in the same byte order.
    let mut sum = u64::from(source)
        .wrapping_add(u64::from(destination))
        .wrapping_add(0x0045)
        .wrapping_add(u64::from((total as u16).to_be()))
        .wrapping_add(0x0040)
        .wrapping_add(u64::from(u16::from_le_bytes([64, UDP])));
    sum = (sum & 0xFFFF)
        .wrapping_add(sum >> 16 & 0xFFFF)
        .wrapping_add(sum >> 32);
    sum = (sum & 0xFFFF).wrapping_add(sum >> 16);
    sum = (sum & 0xFFFF).wrapping_add(sum >> 16);
    store(headers, 24, !(sum as u16));
    let (from_port, to_port): (u16, u16) = (load(headers, 34), load(headers, 36));
    store(headers, 34, to_port);
    store(headers, 36, from_port);
    store(headers, 38, (payload.wrapping_add(8) as u16).to_be());
    store(headers, 40, 0_u16);
}
