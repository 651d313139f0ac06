//! The immediate answer: the request turned round, one acknowledgement for each message.
//!
//! Invariants: an answer is never longer than its request, and the acknowledgement of message `i`
//! ends at or before the block of message `i + 1` of the request. So the answer may be written over
//! the request in the same [`Buffer`] while it is walked: parse a message, then [`put_ack`] it.
//! Layout: `docs/wire.md#answer`.

use crate::loops::{Interrupted, Loops};
use crate::mac::{self, Domain};
use crate::{BLOCK_LENGTH, Buffer, HEADER, Key, TAG_BLOCK, mold};
use core::mem::offset_of;
use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of an acknowledgement's content.
pub const ACK: usize = 19;
/// Bytes of an acknowledgement and its length.
pub const ACK_BLOCK: usize = BLOCK_LENGTH + ACK;
/// The letter of an acknowledgement.
pub const ACK_LETTER: u8 = b'K';

/// Result: taken and done.
pub const ACCEPTED: u8 = b'A';
/// Result: taken and rejected, see the reason.
pub const REJECTED: u8 = b'R';
/// Result: taken; more fills follow as continuation steps, the quantity is what was done so far.
pub const CONTINUES: u8 = b'C';
/// Result: not taken, nothing changed, the same packet may be sent again; see the reason.
pub const NOT_TAKEN: u8 = b'N';
/// Result: taken before, too long ago for its answer to be kept.
pub const ANSWERED: u8 = b'O';

/// An acknowledgement as it lies in an answer. Layout: `docs/wire.md#answer`.
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct AckWire {
    /// [`ACK_LETTER`].
    pub letter: u8,
    /// One of the result letters.
    pub result: u8,
    /// The engine's reason; 0 for none.
    pub reason: u8,
    /// Low half of the client reference; of `U` the new one.
    pub reference: U32,
    /// What the result says: filled, cancelled or reduced, in shares, or orders for `M`.
    pub quantity: U32,
    /// Sequence of the command's record; the expected client sequence for a hole and a straddle.
    pub sequence: U64,
}
const _: () = {
    assert!(size_of::<AckWire>() == ACK);
    assert!(offset_of!(AckWire, result) == 1);
    assert!(offset_of!(AckWire, reason) == 2);
    assert!(offset_of!(AckWire, reference) == 3);
    assert!(offset_of!(AckWire, quantity) == 7);
    assert!(offset_of!(AckWire, sequence) == 11);
};

/// An acknowledgement as numbers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ack {
    /// Venue sequence, or the expected client sequence.
    pub sequence: u64,
    /// Low half of the client reference.
    pub reference: u32,
    /// What the result says.
    pub quantity: u32,
    /// One of the result letters.
    pub result: u8,
    /// The engine's reason.
    pub reason: u8,
}

/// Bytes of the answer to a packet of `messages` messages.
#[inline(always)]
#[must_use]
pub const fn answer_bytes(messages: u16) -> usize {
    tag_at(messages).wrapping_add(TAG_BLOCK)
}

/// Offset of the tag block in the answer to `messages` messages: what its tag is computed over.
#[inline(always)]
#[must_use]
pub const fn tag_at(messages: u16) -> usize {
    HEADER.wrapping_add((messages as usize).wrapping_mul(ACK_BLOCK))
}

/// Writes the acknowledgement of message `i` of the packet, counted from 0.
#[inline(always)]
pub fn put_ack(answer: &Buffer, i: u16, ack: &Ack) {
    let at = tag_at(i);
    let block = answer.window(at);
    block.put_u16_be(0, ACK as u16);
    block.put_u8(BLOCK_LENGTH, ACK_LETTER);
    block.put_u8(BLOCK_LENGTH + 1, ack.result);
    block.put_u8(BLOCK_LENGTH + 2, ack.reason);
    block.put_u32_be(BLOCK_LENGTH + 3, ack.reference);
    block.put_u32_be(BLOCK_LENGTH + 7, ack.quantity);
    block.put_u64_be(BLOCK_LENGTH + 11, ack.sequence);
}

/// Copies the request's header, which is the answer's, when the answer has a buffer of its own.
#[inline(always)]
pub fn copy_header(request: &Buffer, answer: &Buffer) {
    answer.set_word(0, request.word(0));
    answer.set_word(1, request.word(1));
    answer.put_u32_be(16, request.u32_be(16));
}

/// Ends an answer whose header and `messages` acknowledgements are written with its tag block,
/// blank without a key; returns the answer's bytes.
///
/// # Errors
/// [`Interrupted`], a fault: the answer must not be sent.
#[inline]
pub fn finish<L: Loops>(
    answer: &Buffer,
    messages: u16,
    key: Option<&Key>,
) -> Result<usize, Interrupted> {
    let signed = tag_at(messages);
    let tag = match key {
        Some(key) => match mac::tag::<L>(answer, signed, key, Domain::Answer) {
            Ok(tag) => tag,
            Err(Interrupted) => return Err(Interrupted),
        },
        None => (0, 0),
    };
    mac::put_tag(answer, signed, tag);
    Ok(answer_bytes(messages))
}

/// Ends the answer to a heartbeat, which has no acknowledgement: its header's sequence is the
/// client sequence expected next.
///
/// # Errors
/// [`Interrupted`], a fault: the answer must not be sent.
#[inline]
pub fn finish_heartbeat<L: Loops>(
    answer: &Buffer,
    expected: u64,
    key: Option<&Key>,
) -> Result<usize, Interrupted> {
    answer.put_u64_be(mold::SEQUENCE, expected);
    finish::<L>(answer, 0, key)
}
