//! The MoldUDP64 header and the session id in it.
//!
//! A session id is ten letters of Crockford's base 32 (digits and upper case without I, L, O, U):
//! the first four are the session's index, most significant first, the other six are random letters
//! of the grant, so that an id cannot be guessed from an index and a later grant of the same index
//! is another session. Rule: `docs/wire.md#session-id`.

use crate::Buffer;
use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Offset of the session id, ten letters.
pub const SESSION: usize = 0;
/// Offset of the sequence of the packet's first message, 8 bytes.
pub const SEQUENCE: usize = 10;
/// Offset of the count of blocks, 2 bytes.
pub const COUNT: usize = 18;

/// The count that MoldUDP64 uses for the end of a session; no request has it.
pub const COUNT_END_OF_SESSION: u16 = 0xFFFF;

/// Bits of a session index: four letters of five bits.
pub const INDEX_BITS: u32 = 20;
/// Bits of a session nonce: six letters of five bits.
pub const NONCE_BITS: u32 = 30;

/// The header as it lies in a packet. Layout: `docs/wire.md#packet`.
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Which session's sequence space this is.
    pub session: SessionId,
    /// Sequence of the first block.
    pub sequence: U64,
    /// Blocks, the tag block counted.
    pub count: U16,
}
const _: () = assert!(size_of::<Header>() == crate::HEADER);

/// Ten letters that name a session.
#[derive(
    Clone,
    Copy,
    Eq,
    FromBytes,
    Hash,
    Immutable,
    IntoBytes,
    KnownLayout,
    Ord,
    PartialEq,
    PartialOrd,
    Unaligned,
)]
#[repr(transparent)]
pub struct SessionId(pub [u8; 10]);

impl SessionId {
    /// The id of session `index` under the grant's own random `nonce`; `None` when either has more
    /// than its 20 or 30 bits.
    #[must_use]
    pub const fn new(index: u32, nonce: u32) -> Option<Self> {
        if index >> INDEX_BITS != 0 || nonce >> NONCE_BITS != 0 {
            return None;
        }
        Some(Self([
            letter(index >> 15),
            letter(index >> 10),
            letter(index >> 5),
            letter(index),
            letter(nonce >> 25),
            letter(nonce >> 20),
            letter(nonce >> 15),
            letter(nonce >> 10),
            letter(nonce >> 5),
            letter(nonce),
        ]))
    }

    /// The session's index; `None` when one of the first four bytes is not a letter of the alphabet.
    #[inline(always)]
    #[must_use]
    pub const fn index(&self) -> Option<u32> {
        let [a, b, c, d, ..] = self.0;
        index_of(u32::from_be_bytes([a, b, c, d]))
    }

    /// The grant's nonce; `None` when one of the last six bytes is not a letter of the alphabet.
    #[must_use]
    pub const fn nonce(&self) -> Option<u32> {
        let [_, _, _, _, a, b, c, d, e, f] = self.0;
        let mut bad = 0;
        let mut nonce = 0;
        nonce = push(nonce, a, &mut bad);
        nonce = push(nonce, b, &mut bad);
        nonce = push(nonce, c, &mut bad);
        nonce = push(nonce, d, &mut bad);
        nonce = push(nonce, e, &mut bad);
        nonce = push(nonce, f, &mut bad);
        if bad == 0 { Some(nonce) } else { None }
    }

    /// The id as the two numbers that [`session_words`] reads: what a session table keeps, so that
    /// a packet is compared with two loads.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> (u64, u16) {
        let [a, b, c, d, e, f, g, h, i, j] = self.0;
        (
            u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            u16::from_be_bytes([i, j]),
        )
    }
}

impl core::fmt::Display for SessionId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(f, "{}", byte.escape_ascii()))
    }
}

impl core::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// The packet's session id as two numbers, to compare with [`SessionId::words`].
#[inline(always)]
#[must_use]
pub fn session_words(buf: &Buffer) -> (u64, u16) {
    (buf.u64_be(SESSION), buf.u16_be(SESSION + 8))
}

/// The packet's session index; `None` when its letters are not of the alphabet.
#[inline(always)]
#[must_use]
pub fn session_index(buf: &Buffer) -> Option<u32> {
    index_of(buf.u32_be(SESSION))
}

/// The sequence of the packet's first block.
#[inline(always)]
#[must_use]
pub fn sequence(buf: &Buffer) -> u64 {
    buf.u64_be(SEQUENCE)
}

/// The packet's count of blocks, the tag block counted.
#[inline(always)]
#[must_use]
pub fn count(buf: &Buffer) -> u16 {
    buf.u16_be(COUNT)
}

/// Writes a header to the front of `buf`.
#[inline(always)]
pub fn put_header(buf: &Buffer, session: &SessionId, sequence: u64, count: u16) {
    let (head, tail) = session.words();
    buf.put_u64_be(SESSION, head);
    buf.put_u16_be(SESSION + 8, tail);
    buf.put_u64_be(SEQUENCE, sequence);
    buf.put_u16_be(COUNT, count);
}

/// Four letters, as a big-endian number, to the index they spell.
#[inline(always)]
const fn index_of(letters: u32) -> Option<u32> {
    let mut bad = 0;
    let mut index = 0;
    index = push(index, (letters >> 24) as u8, &mut bad);
    index = push(index, (letters >> 16) as u8, &mut bad);
    index = push(index, (letters >> 8) as u8, &mut bad);
    index = push(index, letters as u8, &mut bad);
    if bad == 0 { Some(index) } else { None }
}

/// Letters of the alphabet, bit `n` for the byte `b'0' + n`: digits, then A to Z without I L O U.
const ALPHABET: u64 = {
    let mut mask = 0;
    let mut n = 0;
    while n <= b'Z' - b'0' {
        let byte = b'0' + n;
        let skipped = matches!(byte, b'I' | b'L' | b'O' | b'U');
        if byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !skipped) {
            mask |= 1 << n;
        }
        n += 1;
    }
    mask
};
const _: () = assert!(ALPHABET.count_ones() == 32);

/// Appends the five bits of `byte` to `so_far`; `bad` is not zero once a byte was no letter.
/// Straight-line: one test at the end of the word instead of one a letter.
#[inline(always)]
const fn push(so_far: u32, byte: u8, bad: &mut u32) -> u32 {
    let byte = byte as u32;
    let n = byte.wrapping_sub(b'0' as u32);
    let known = (ALPHABET >> (n & 63)) as u32 & 1;
    *bad |= (n >> 6) | (known ^ 1);
    let skipped = above(n, 9)
        .wrapping_mul(7)
        .wrapping_add(above(byte, b'I' as u32))
        .wrapping_add(above(byte, b'L' as u32))
        .wrapping_add(above(byte, b'O' as u32))
        .wrapping_add(above(byte, b'U' as u32));
    (so_far << 5) | (n.wrapping_sub(skipped) & 31)
}

/// 1 when `a` is above `b`, else 0, both below 2³¹ or the result not used.
#[inline(always)]
const fn above(a: u32, b: u32) -> u32 {
    b.wrapping_sub(a) >> 31
}

/// The letter of the low five bits.
const fn letter(bits: u32) -> u8 {
    let bits = (bits & 31) as u8;
    if bits < 10 {
        return b'0' + bits;
    }
    let byte = b'A' + (bits - 10);
    let byte = byte + (byte >= b'I') as u8;
    let byte = byte + (byte >= b'L') as u8;
    let byte = byte + (byte >= b'O') as u8;
    byte + (byte >= b'U') as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    #[test]
    fn letters_are_crockfords() {
        for (bits, &byte) in LETTERS.iter().enumerate() {
            assert_eq!(letter(bits as u32), byte);
        }
    }

    #[test]
    fn ids_read_back() {
        for index in (0..1_u32 << INDEX_BITS)
            .step_by(97)
            .chain([(1 << INDEX_BITS) - 1])
        {
            let nonce = index.wrapping_mul(0x9E37_79B1) & ((1 << NONCE_BITS) - 1);
            let id = SessionId::new(index, nonce).unwrap();
            assert_eq!(id.index(), Some(index));
            assert_eq!(id.nonce(), Some(nonce));
        }
        assert_eq!(SessionId::new(1 << INDEX_BITS, 0), None);
        assert_eq!(SessionId::new(0, 1 << NONCE_BITS), None);
        assert_eq!(SessionId::new(1, 2).unwrap().to_string(), "0001000002");
    }

    #[test]
    fn only_the_alphabet_is_taken() {
        for place in 0..10 {
            for byte in 0..=255 {
                let mut id = SessionId::new(0, 0).unwrap();
                id.0[place] = byte;
                let value = LETTERS.iter().position(|&letter| letter == byte);
                if place < 4 {
                    assert_eq!(id.index(), value.map(|v| (v as u32) << (15 - 5 * place)));
                } else {
                    assert_eq!(id.nonce(), value.map(|v| (v as u32) << (45 - 5 * place)));
                }
            }
        }
    }

    #[test]
    fn header_and_offsets_agree() {
        let header = Header {
            session: SessionId::new(0xABCDE, 0x1234_5678).unwrap(),
            sequence: U64::new(0x0102_0304_0506_0708),
            count: U16::new(0x1112),
        };
        let buf = Buffer::new();
        put_header(
            &buf,
            &header.session,
            header.sequence.get(),
            header.count.get(),
        );
        let mut bytes = [0; crate::HEADER];
        buf.copy_out(&mut bytes);
        assert_eq!(bytes, header.as_bytes());
        assert_eq!(session_words(&buf), header.session.words());
        assert_eq!(session_index(&buf), Some(0xABCDE));
        assert_eq!(sequence(&buf), header.sequence.get());
        assert_eq!(count(&buf), header.count.get());
    }
}
