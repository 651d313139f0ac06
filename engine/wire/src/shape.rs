//! Whether a payload is a packet of ours: framing only, no field of a message.
//!
//! Past [`shape()`] the header's count is right, every block has the exact length of its letter and
//! lies inside the payload, and the tag block is the last: [`block`] walks again without checks.
//! Nothing is written. Rule: `docs/wire.md#packet`.

use crate::inbound::{CANCEL, ENTER, ENTER_EXTENDED, ENTER_SUB, MASS_CANCEL, REDUCE, REPLACE};
use crate::loops::Loops;
use crate::{BLOCK_LENGTH, Buffer, COUNT_MAX, HEADER, PAYLOAD_MAX, TAG, TAG_BLOCK, mold};

/// The letter of the tag block.
pub const TAG_LETTER: u8 = b'z';

/// What a well-formed packet says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Client sequence of the first message.
    pub sequence: u64,
    /// Session index; the whole id is still to be compared ([`mold::session_words`]).
    pub session: u32,
    /// Messages, the tag block not counted: 0 is a heartbeat, at most 68.
    pub messages: u16,
    /// Bytes before the tag block: what the tag is computed over.
    pub signed: u16,
}

impl Shape {
    /// The header's count: sequences the packet takes.
    #[inline(always)]
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.messages.wrapping_add(1)
    }

    /// The client sequence after the packet.
    #[inline(always)]
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.sequence
            .wrapping_add(self.messages as u64)
            .wrapping_add(1)
    }
}

/// Why a payload is no packet of ours. Each is a counter; the frame is dropped without an answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Malformed {
    /// Shorter than a header.
    TooShort,
    /// Longer than [`PAYLOAD_MAX`].
    TooLong,
    /// The session's first four bytes are not of the id alphabet.
    BadSession,
    /// Count 0, MoldUDP64's own heartbeat: ours is a packet with only the tag block.
    CountZero,
    /// Count 0xFFFF, MoldUDP64's end of session.
    CountEndOfSession,
    /// Count above [`COUNT_MAX`].
    CountTooLarge,
    /// A block ends behind the payload.
    Overrun,
    /// A block's letter is none of ours.
    UnknownLetter,
    /// A block's length is not that of its letter.
    BadBlockLength,
    /// A tag block before the last block.
    TagNotLast,
    /// The last block is not a tag block.
    NoTag,
    /// Bytes behind the last block.
    TrailingBytes,
    /// The verifier's guard ended the loop: a fault of ours, not of the packet.
    Interrupted,
}

impl Malformed {
    /// Every cause, in order of its number.
    pub const ALL: [Self; 13] = [
        Self::TooShort,
        Self::TooLong,
        Self::BadSession,
        Self::CountZero,
        Self::CountEndOfSession,
        Self::CountTooLarge,
        Self::Overrun,
        Self::UnknownLetter,
        Self::BadBlockLength,
        Self::TagNotLast,
        Self::NoTag,
        Self::TrailingBytes,
        Self::Interrupted,
    ];

    /// The counter's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::BadSession => "bad_session",
            Self::CountZero => "count_zero",
            Self::CountEndOfSession => "count_end_of_session",
            Self::CountTooLarge => "count_too_large",
            Self::Overrun => "overrun",
            Self::UnknownLetter => "unknown_letter",
            Self::BadBlockLength => "bad_block_length",
            Self::TagNotLast => "tag_not_last",
            Self::NoTag => "no_tag",
            Self::TrailingBytes => "trailing_bytes",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Length of a block's content by its letter, in bytes; 0 for a letter that is none of ours.
#[inline(always)]
#[must_use]
pub const fn length_of(letter: u8) -> usize {
    match letter {
        b'A' => ENTER,
        b'D' => CANCEL,
        b'U' => REPLACE,
        b'X' => REDUCE,
        b'F' => ENTER_SUB,
        b'O' => ENTER_EXTENDED,
        b'M' => MASS_CANCEL,
        TAG_LETTER => TAG,
        _ => 0,
    }
}

/// Walks the `len` bytes of payload in `buf` once.
///
/// # Errors
/// The first cause found, in the order of the bytes; [`Malformed::Interrupted`] is a fault.
#[inline]
pub fn shape<L: Loops>(buf: &Buffer, len: usize) -> Result<Shape, Malformed> {
    if len < HEADER {
        return Err(Malformed::TooShort);
    }
    if len > PAYLOAD_MAX {
        return Err(Malformed::TooLong);
    }
    let Some(session) = mold::session_index(buf) else {
        return Err(Malformed::BadSession);
    };
    let count = mold::count(buf);
    if count == 0 {
        return Err(Malformed::CountZero);
    }
    if count == mold::COUNT_END_OF_SESSION {
        return Err(Malformed::CountEndOfSession);
    }
    if count > COUNT_MAX {
        return Err(Malformed::CountTooLarge);
    }

    let zero = L::zero();
    let mut at = HEADER.wrapping_add(zero as usize);
    let mut left = u32::from(count).wrapping_add(zero);
    while left != 0 {
        if !L::go() {
            return Err(Malformed::Interrupted);
        }
        at = L::forget(at);
        // `at` is at most `len` here; a block needs its length and at least a letter.
        if at.wrapping_add(BLOCK_LENGTH) >= len {
            return Err(Malformed::Overrun);
        }
        let letter = buf.u8(at.wrapping_add(BLOCK_LENGTH));
        let want = length_of(letter);
        if want == 0 {
            return Err(Malformed::UnknownLetter);
        }
        if usize::from(buf.u16_be(at)) != want {
            return Err(Malformed::BadBlockLength);
        }
        at = at.wrapping_add(BLOCK_LENGTH).wrapping_add(want);
        if at > len {
            return Err(Malformed::Overrun);
        }
        left = left.wrapping_sub(1);
        if letter == TAG_LETTER {
            if left != 0 {
                return Err(Malformed::TagNotLast);
            }
        } else if left == 0 {
            return Err(Malformed::NoTag);
        }
    }
    if at != len {
        return Err(Malformed::TrailingBytes);
    }
    Ok(Shape {
        sequence: mold::sequence(buf),
        session,
        messages: count.wrapping_sub(1),
        signed: len.wrapping_sub(TAG_BLOCK) as u16,
    })
}

/// A block of a packet that [`shape()`] has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Block {
    /// Offset of the content, which begins with the letter.
    pub start: usize,
    /// Offset of the block after this one.
    pub next: usize,
    /// Which message.
    pub letter: u8,
}

/// The block whose length field is at `at`; the first is at [`HEADER`].
#[inline(always)]
#[must_use]
pub fn block(buf: &Buffer, at: usize) -> Block {
    let start = at.wrapping_add(BLOCK_LENGTH);
    let block = buf.window(at);
    Block {
        start,
        next: start.wrapping_add(usize::from(block.u16_be(0))),
        letter: block.u8(BLOCK_LENGTH),
    }
}
