//! Under which counter a frame must end, by a classifier of its own: from the tables of `docs/wire.md`, with the tag from a crate that no ring uses.

use super::frames::{HEADERS, OURS};
use super::venue::{KEY, id};
use crate::PORT;
use ring0_abi::{Counter, malformed};
use ring0_wire::Malformed;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher as _;

/// Client sequences expected of sessions 0 and 3.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) checked: u64,
    pub(super) blank: u64,
}

/// Which counter a frame must end under.
pub(super) fn foretell(frame: &[u8], expected: Expected) -> u32 {
    let be16 = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    if frame.len() < 14 || be16(12) != 0x0800 {
        return Counter::PassEtherType as u32;
    }
    if frame.len() < HEADERS {
        return Counter::PassTruncated as u32;
    }
    if frame[23] != 17 {
        return Counter::PassProtocol as u32;
    }
    if frame[14] != 0x45 {
        return Counter::PassOptions as u32;
    }
    if be16(20) & !0x4000 != 0 {
        return Counter::PassFragment as u32; // any bit but "don't fragment"
    }
    if be16(36) != PORT || frame[30..34] != OURS {
        return Counter::PassPort as u32;
    }
    let (total, udp) = (usize::from(be16(16)), usize::from(be16(38)));
    if udp < 8 || total != udp + 20 || total + 14 > frame.len() {
        return Counter::DropLength as u32;
    }
    foretell_payload(&frame[HEADERS..HEADERS + udp - 8], expected)
}

/// The same for the payload alone, of a packet that is the shard's.
pub(super) fn foretell_payload(payload: &[u8], expected: Expected) -> u32 {
    let count = match foretell_shape(payload) {
        Ok(count) => u64::from(count),
        Err(cause) => return malformed(cause),
    };
    let granted = [0, 1, 3].into_iter().find(|&it| payload[..10] == id(it).0);
    let Some(session) = granted else {
        return Counter::DropUnknownSession as u32;
    };
    let (signed, tag) = payload.split_at(payload.len() - 16);
    let (good, next) = match session {
        0 => {
            let mut hasher = SipHasher24::new_with_key(&KEY);
            hasher.write(&[1]);
            hasher.write(&signed[..signed.len() - 3]);
            (hasher.finish128().as_bytes() == tag, expected.checked)
        }
        3 => (tag == [0; 16], expected.blank),
        _ => return Counter::DropNoKey as u32,
    };
    if !good {
        return Counter::DropBadTag as u32;
    }
    let sequence = u64::from_be_bytes(payload[10..18].try_into().expect("eight bytes"));
    if sequence > next {
        Counter::Hole as u32
    } else if sequence.wrapping_add(count) <= next {
        Counter::Duplicate as u32
    } else if sequence < next {
        Counter::Straddle as u32
    } else {
        Counter::Taken as u32
    }
}

/// Framing alone, from the tables of `docs/wire.md`.
fn foretell_shape(payload: &[u8]) -> Result<u16, Malformed> {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if payload.len() < 20 {
        return Err(Malformed::TooShort);
    }
    if payload.len() > 1472 {
        return Err(Malformed::TooLong);
    }
    if !payload[..4].iter().all(|letter| ALPHABET.contains(letter)) {
        return Err(Malformed::BadSession);
    }
    let count = u16::from_be_bytes([payload[18], payload[19]]);
    match count {
        0 => return Err(Malformed::CountZero),
        0xFFFF => return Err(Malformed::CountEndOfSession),
        70.. => return Err(Malformed::CountTooLarge),
        _ => {}
    }
    let mut rest = &payload[20..];
    for left in (0..count).rev() {
        let [high, low, letter, ..] = *rest else {
            return Err(Malformed::Overrun);
        };
        let wanted = match letter {
            b'A' => 36,
            b'F' => 40,
            b'O' => 56,
            b'U' => 35,
            b'X' | b'M' => 23,
            b'D' => 19,
            b'z' => 17,
            _ => return Err(Malformed::UnknownLetter),
        };
        if usize::from(u16::from_be_bytes([high, low])) != wanted {
            return Err(Malformed::BadBlockLength);
        }
        rest = rest.get(2 + wanted..).ok_or(Malformed::Overrun)?;
        match (letter, left) {
            (b'z', 0) => {}
            (b'z', _) => return Err(Malformed::TagNotLast),
            (_, 0) => return Err(Malformed::NoTag),
            _ => {}
        }
    }
    if rest.is_empty() {
        Ok(count)
    } else {
        Err(Malformed::TrailingBytes)
    }
}
