//! The packet's tag: SipHash-2-4 with 128 bits of output over the words of a [`Buffer`].
//!
//! The input is one domain byte, which is not sent, then the header and every block before the tag
//! block. The domain differs between request and answer, so no request can be reflected as an
//! answer. Why an own implementation: `docs/decisions/0014-wire-tag.md`.
//! Cost: one aligned load and two SipHash rounds for eight bytes; the buffer is not shifted in
//! memory for the domain byte, the words are shifted by one byte as they are read.

use crate::loops::{Interrupted, Loops};
use crate::shape::TAG_LETTER;
use crate::{BLOCK_LENGTH, BUFFER, Buffer, TAG};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First byte of what is tagged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Domain {
    /// From client to venue.
    Request = 1,
    /// From venue to client.
    Answer = 2,
}

/// A session's key. Its content never shows in a log.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Key {
    k0: u64,
    k1: u64,
}

impl Key {
    /// A key of two little-endian halves.
    #[inline(always)]
    #[must_use]
    pub const fn new(k0: u64, k1: u64) -> Self {
        Self { k0, k1 }
    }

    /// A key of 16 bytes in SipHash's order.
    #[must_use]
    pub const fn from_bytes(bytes: &[u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        Self::new(
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        )
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// What [`verify`] says of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Check {
    /// Made by somebody with the key.
    Genuine,
    /// Not made with this key, or changed since.
    Forged,
    /// No result: a fault of ours, see [`Interrupted`].
    Interrupted,
}

/// The tag over the first `signed` bytes, as the two little-endian halves that are sent.
///
/// # Errors
/// [`Interrupted`], a fault: there is no tag.
#[inline]
pub fn tag<L: Loops>(
    buf: &Buffer,
    signed: usize,
    key: &Key,
    domain: Domain,
) -> Result<(u64, u64), Interrupted> {
    hash::<L>(buf, signed, key, domain as u8)
}

/// Whether the tag block at `signed` holds the tag over the bytes before it. Takes the same time
/// wherever the first wrong bit is.
#[inline]
pub fn verify<L: Loops>(buf: &Buffer, signed: usize, key: &Key, domain: Domain) -> Check {
    match tag::<L>(buf, signed, key, domain) {
        Ok((low, high)) => {
            let (sent_low, sent_high) = sent(buf, signed);
            if (low ^ sent_low) | (high ^ sent_high) == 0 {
                Check::Genuine
            } else {
                Check::Forged
            }
        }
        Err(Interrupted) => Check::Interrupted,
    }
}

/// Whether the tag block at `signed` is all zeros: what a session sends whose tag is switched off.
#[inline(always)]
#[must_use]
pub fn is_blank(buf: &Buffer, signed: usize) -> bool {
    let (low, high) = sent(buf, signed);
    low | high == 0
}

/// The tag that the tag block at `signed` holds.
#[inline(always)]
#[must_use]
pub fn sent(buf: &Buffer, signed: usize) -> (u64, u64) {
    let at = signed.wrapping_add(BLOCK_LENGTH).wrapping_add(1);
    (buf.u64_le(at), buf.u64_le(at.wrapping_add(8)))
}

/// Writes a tag block with this tag at `signed`.
#[inline(always)]
pub fn put_tag(buf: &Buffer, signed: usize, tag: (u64, u64)) {
    buf.put_u16_be(signed, TAG as u16);
    let at = signed.wrapping_add(BLOCK_LENGTH);
    buf.put_u8(at, TAG_LETTER);
    buf.put_u64_le(at.wrapping_add(1), tag.0);
    buf.put_u64_le(at.wrapping_add(9), tag.1);
}

/// SipHash-2-4-128 of `first` and the first `len` bytes, at most all but one of the buffer.
#[inline(always)]
fn hash<L: Loops>(
    buf: &Buffer,
    len: usize,
    key: &Key,
    first: u8,
) -> Result<(u64, u64), Interrupted> {
    let total = len.min(BUFFER - 1).wrapping_add(1);
    let words = total / 8;
    let mut s = State {
        v0: key.k0 ^ 0x736f_6d65_7073_6575,
        v1: key.k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        v2: key.k0 ^ 0x6c79_6765_6e65_7261,
        v3: key.k1 ^ 0x7465_6462_7974_6573,
    };
    let mut carry = u64::from(first);
    let mut i = L::zero() as usize;
    while i < words {
        if !L::go() {
            return Err(Interrupted);
        }
        let word = buf.word(i);
        s.absorb(word << 8 | carry);
        carry = word >> 56;
        i = i.wrapping_add(1);
    }
    // The last word: the bytes that are left, zeros, and the length's low byte on top.
    let left = (total & 7) as u32;
    let rest = (buf.word(i) << 8 | carry) & !(u64::MAX << (8 * left));
    s.absorb(rest | (total as u64) << 56);
    s.v2 ^= 0xee;
    s.four_rounds();
    let low = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    s.four_rounds();
    Ok((low, s.v0 ^ s.v1 ^ s.v2 ^ s.v3))
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    #[inline(always)]
    fn four_rounds(&mut self) {
        self.round();
        self.round();
        self.round();
        self.round();
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::Native;
    use core::hash::Hasher;
    use proptest::prelude::*;
    use siphasher::sip128::{Hasher128, SipHasher24};

    /// The reference implementation's `vectors_sip128`: key 00 … 0f, message 00 01 … of the index's
    /// length, 1 to 7 and 15; the empty message cannot occur behind a domain byte.
    const PUBLISHED: [(usize, [u8; 16]); 8] = [
        (1, hex("da87c1d86b99af44347659119b22fc45")),
        (2, hex("8177228da4a45dc7fca38bdef60affe4")),
        (3, hex("9c70b60c5267a94e5f33b6b02985ed51")),
        (4, hex("f88164c12d9c8faf7d0f6e7c7bcd5579")),
        (5, hex("1368875980776f8854527a07690e9627")),
        (6, hex("14eeca338b208613485ea0308fd7a15e")),
        (7, hex("a1f1ebbed8dbc153c0b84aa61ff08239")),
        (15, hex("5493e99933b0a8117e08ec0f97cfc3d9")),
    ];

    const fn hex(text: &str) -> [u8; 16] {
        let text = text.as_bytes();
        let mut out = [0; 16];
        let mut from = 0;
        while from < text.len() {
            let digit = match text[from] {
                b'0'..=b'9' => text[from] - b'0',
                digit => digit - b'a' + 10,
            };
            out[from / 2] = out[from / 2] << 4 | digit;
            from += 1;
        }
        out
    }

    fn bytes_of((low, high): (u64, u64)) -> [u8; 16] {
        (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
    }

    fn oracle(key: &[u8; 16], first: u8, message: &[u8]) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(key);
        hasher.write(&[first]);
        hasher.write(message);
        let hash = hasher.finish128();
        bytes_of((hash.h1, hash.h2))
    }

    fn check(key: &[u8; 16], first: u8, message: &[u8]) {
        let buf = Buffer::new();
        // What lies behind the message must not matter.
        buf.copy_in(&[0xA5; BUFFER]);
        buf.copy_in(message);
        let got = hash::<Native>(&buf, message.len(), &Key::from_bytes(key), first).unwrap();
        assert_eq!(
            bytes_of(got),
            oracle(key, first, message),
            "{} bytes",
            message.len()
        );
    }

    #[test]
    fn published_vectors() {
        let key: [u8; 16] = core::array::from_fn(|i| i as u8);
        let buf = Buffer::new();
        let message: Vec<u8> = (1..64).collect();
        buf.copy_in(&message);
        for (len, want) in PUBLISHED {
            let got = hash::<Native>(&buf, len - 1, &Key::from_bytes(&key), 0).unwrap();
            assert_eq!(bytes_of(got), want, "{len} bytes");
        }
    }

    #[test]
    fn every_length_agrees_with_another_implementation() {
        let message: Vec<u8> = (0..2047_u32).map(|i| (i * 31 % 251) as u8).collect();
        for len in 0..=2047 {
            let mut key = [0; 16];
            key.iter_mut()
                .enumerate()
                .for_each(|(i, byte)| *byte = (len * 7 + i * 13) as u8);
            check(&key, (len % 3) as u8, &message[..len]);
        }
    }

    proptest! {
        #[test]
        fn random_messages_agree_with_another_implementation(
            key: [u8; 16],
            domain in 1..=2_u8,
            message in prop::collection::vec(any::<u8>(), 0..1500),
        ) {
            check(&key, domain, &message);
        }
    }

    #[test]
    fn a_changed_bit_a_wrong_key_and_the_other_domain_are_forged() {
        let key = Key::new(1, 2);
        let buf = Buffer::new();
        let signed = 41;
        (0..signed).for_each(|at| buf.put_u8(at, at as u8));
        put_tag(
            &buf,
            signed,
            tag::<Native>(&buf, signed, &key, Domain::Request).unwrap(),
        );
        let verify = |key: &Key, domain| verify::<Native>(&buf, signed, key, domain);
        assert_eq!(verify(&key, Domain::Request), Check::Genuine);
        assert_eq!(verify(&key, Domain::Answer), Check::Forged);
        assert_eq!(verify(&Key::new(1, 3), Domain::Request), Check::Forged);
        let tag_from = signed + BLOCK_LENGTH + 1;
        for at in (0..signed).chain(tag_from..tag_from + 16) {
            for bit in 0..8 {
                let byte = buf.u8(at);
                buf.put_u8(at, byte ^ 1 << bit);
                assert_eq!(
                    verify(&key, Domain::Request),
                    Check::Forged,
                    "byte {at} bit {bit}"
                );
                buf.put_u8(at, byte);
            }
        }
        assert!(!is_blank(&buf, signed));
        put_tag(&buf, signed, (0, 0));
        assert!(is_blank(&buf, signed));
        assert_eq!(verify(&key, Domain::Request), Check::Forged);
    }

    /// A guard that stops at once: never a tag, never a pass.
    #[test]
    fn an_interrupted_loop_has_no_result() {
        struct Stopped;
        impl Loops for Stopped {
            fn zero() -> u32 {
                0
            }
            fn go() -> bool {
                false
            }
        }
        let (buf, key) = (Buffer::new(), Key::new(0, 0));
        assert_eq!(
            tag::<Stopped>(&buf, 20, &key, Domain::Answer),
            Err(Interrupted)
        );
        assert_eq!(
            verify::<Stopped>(&buf, 20, &key, Domain::Request),
            Check::Interrupted
        );
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", Key::new(0xDEAD, 0xBEEF)), "Key(secret)");
    }
}
