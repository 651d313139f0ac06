//! The frames that nobody should send.
//!
//! Sessions: 0 is granted and has traded, 1 is granted without a key, 2 is not granted, 3 has its tag switched off. No frame carries the next client
//! sequence of a session with a good tag: that alone could be taken.

use super::foretelling::{Expected, foretell, foretell_payload};
use super::venue::{KEY, id};
use crate::{PORT, Random};
use ring0_abi::Counter;
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::message::{BUY, STOCK_SPACES};
use ring0_wire::{Key, Message, SessionId};

/// Headers before a payload.
pub(super) const HEADERS: usize = 42;
/// Destination hardware address of nobody: what a ring passes on ends there, and no answer of the host's own stack comes back to be counted. No ring
/// looks at it.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
pub(super) const OURS: [u8; 4] = [10, 77, 0, 1];

/// What a ring is attacked with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Whole frames.
    Frames,
    /// Payloads of UDP: the kernel's own stack sees the frames first, and no other reaches the ring.
    Payloads,
}

impl Level {
    /// A payload as it is sent.
    pub(super) fn carry(self, payload: &[u8]) -> Vec<u8> {
        match self {
            Level::Frames => frame(payload),
            Level::Payloads => payload.to_vec(),
        }
    }
}

/// A request of `messages` orders.
pub(super) fn request(
    session: u32,
    sequence: u64,
    messages: usize,
    random: &mut Random,
) -> Vec<u8> {
    let mut builder = PacketBuilder::new(id(session), sequence);
    for index in 0..messages {
        let message = Message {
            letter: b'A',
            locate: 1,
            reference: (sequence as u32).wrapping_add(index as u32).max(1),
            side: BUY,
            shares: 1 + random.below(50) as u32,
            price: 100 * (1 + random.below(20) as u32),
            stock: STOCK_SPACES,
            ..Message::default()
        };
        let message = Inbound::from_message(&message).expect("a letter of ours");
        if builder.push(&message).is_err() {
            break;
        }
    }
    let key = Key::from_bytes(&KEY);
    builder.sign((session != 3).then_some(&key))
}

/// The frame that carries a payload to the shard.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADERS + payload.len());
    frame.extend_from_slice(&NOBODY);
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 0x66, 8, 0, 0x45, 0]);
    let total = (payload.len() + 28) as u16;
    frame.extend_from_slice(&total.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 2]);
    frame.extend_from_slice(&OURS);
    frame.extend_from_slice(&40_000_u16.to_be_bytes());
    frame.extend_from_slice(&PORT.to_be_bytes());
    frame.extend_from_slice(&(total - 20).to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(payload);
    frame
}

/// What a frame is made to be; what it is counted as, the classifier says.
#[derive(Clone, Copy, Debug)]
pub enum Sort {
    /// Random bytes.
    Random,
    /// Random bytes behind good headers, half of them with a granted session.
    RandomPayload,
    /// A frame that ends somewhere.
    Truncated,
    /// A payload that ends somewhere.
    CutPayload,
    /// A payload longer than a packet may be.
    Oversized,
    /// An IPv4 fragment.
    Fragment,
    /// A wrong tag.
    BadTag,
    /// An authentic request that is not the next one.
    Replayed,
    /// An 802.1Q tag before it.
    Vlan,
    /// Called IPv6.
    Ipv6,
    /// Another EtherType, the doorbell's among them.
    OtherEtherType,
    /// Another IPv4 protocol.
    OtherProtocol,
    /// Another UDP port.
    OtherPort,
    /// Another address.
    OtherAddress,
    /// IPv4 options.
    Options,
    /// Lengths that disagree.
    BadLengths,
    /// A session that is not granted.
    Stranger,
    /// A session without a key.
    NoKey,
    /// Another count of messages.
    OtherCount,
    /// Bits flipped anywhere.
    Flipped,
    /// Bytes behind the IP packet.
    Padded,
    /// For the session whose tag is switched off.
    BlankTag,
    /// Bytes behind the last block.
    Trailing,
}

const SORTS: [Sort; 23] = [
    Sort::Random,
    Sort::RandomPayload,
    Sort::Truncated,
    Sort::CutPayload,
    Sort::Oversized,
    Sort::Fragment,
    Sort::BadTag,
    Sort::Replayed,
    Sort::Vlan,
    Sort::Ipv6,
    Sort::OtherEtherType,
    Sort::OtherProtocol,
    Sort::OtherPort,
    Sort::OtherAddress,
    Sort::Options,
    Sort::BadLengths,
    Sort::Stranger,
    Sort::NoKey,
    Sort::OtherCount,
    Sort::Flipped,
    Sort::Padded,
    Sort::BlankTag,
    Sort::Trailing,
];

/// Those that make hostile payloads.
const PAYLOAD_SORTS: [Sort; 11] = [
    Sort::RandomPayload,
    Sort::CutPayload,
    Sort::Oversized,
    Sort::BadTag,
    Sort::Replayed,
    Sort::Stranger,
    Sort::NoKey,
    Sort::OtherCount,
    Sort::Flipped,
    Sort::BlankTag,
    Sort::Trailing,
];

/// Makes hostile frames or payloads, and foretells what becomes of each.
pub struct Hostile {
    random: Random,
    expected: Expected,
    level: Level,
    /// Requests that were taken.
    sent: Vec<Vec<u8>>,
    /// Longest frame.
    frame_max: usize,
}

impl Hostile {
    /// For a shard that has taken these requests of session 0 and expects that sequence next.
    pub(super) fn new(random: Random, level: Level, sent: Vec<Vec<u8>>, next: u64) -> Hostile {
        Hostile {
            random,
            expected: Expected {
                checked: next,
                blank: 1,
            },
            level,
            sent,
            frame_max: 1514,
        }
    }

    /// The longest frame from now on, its Ethernet header included; 1,514 bytes at first.
    pub fn set_frame_max(&mut self, bytes: usize) {
        self.frame_max = bytes;
    }

    /// One that is not to be taken, what it was made to be, and the number of the counter that it must end under.
    pub fn frame(&mut self) -> (Sort, Vec<u8>, u32) {
        loop {
            let (sort, bytes, counter) = match self.level {
                Level::Frames => {
                    let sort = SORTS[self.random.below(SORTS.len())];
                    let mut frame = self.make(sort);
                    frame.truncate(self.frame_max);
                    let counter = foretell(&frame, self.expected);
                    (sort, frame, counter)
                }
                Level::Payloads => {
                    let sort = PAYLOAD_SORTS[self.random.below(PAYLOAD_SORTS.len())];
                    let payload = self.make(sort).split_off(HEADERS);
                    let counter = foretell_payload(&payload, self.expected);
                    (sort, payload, counter)
                }
            };
            if counter != Counter::Taken as u32 {
                return (sort, bytes, counter);
            }
        }
    }

    /// An authentic request that is not the next one: taken before, ahead, or across.
    fn authentic(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        match random.below(4) {
            0 | 1 => self.sent[random.below(self.sent.len())].clone(),
            2 => {
                let bits = random.below(40);
                let ahead = 1 + random.below(1 << bits) as u64;
                let messages = random.below(39);
                request(0, self.expected.checked + ahead, messages, random)
            }
            _ => {
                let back = 1 + random.below(30) as u64;
                let sequence = self.expected.checked.saturating_sub(back).max(1);
                let messages = random.below(39);
                request(0, sequence, messages, random)
            }
        }
    }

    fn make(&mut self, sort: Sort) -> Vec<u8> {
        let authentic = self.authentic();
        let mut whole = frame(&authentic);
        let random = &mut self.random;
        let put16 = |frame: &mut Vec<u8>, at: usize, value: u16| {
            frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        };
        match sort {
            Sort::Random => {
                let mut bytes = vec![0; 14 + random.below(1 + self.frame_max - 14)];
                random.fill(&mut bytes);
                bytes[..6].copy_from_slice(&NOBODY);
                bytes
            }
            Sort::RandomPayload => {
                let mut payload = vec![0; random.below(1473)];
                random.fill(&mut payload);
                if payload.len() >= 20 && random.below(2) == 0 {
                    payload[..10].copy_from_slice(&id(0).0);
                    payload[18] = 0;
                    payload[19] = random.below(80) as u8;
                }
                frame(&payload)
            }
            Sort::Truncated => {
                whole.truncate(14 + random.below(whole.len() - 14));
                whole
            }
            Sort::CutPayload => frame(&authentic[..random.below(authentic.len())]),
            Sort::Oversized => {
                let most = self.frame_max.min(65_535) - HEADERS;
                let mut payload = authentic;
                payload.resize(1473 + random.below(most - 1472), 0);
                frame(&payload)
            }
            Sort::Fragment => {
                // The first of some, the reserved bit, any.
                let bits = [0x2000, 0x8000, 1 + random.below(0x3FFF) as u16];
                put16(&mut whole, 20, bits[random.below(bits.len())]);
                whole
            }
            Sort::BadTag => {
                let at = whole.len() - 1 - random.below(16);
                whole[at] ^= 1 << random.below(8);
                whole
            }
            Sort::Replayed => whole,
            Sort::Vlan => {
                let tag = [0x81, 0x00, 0, random.below(256) as u8];
                whole.splice(12..12, tag);
                whole
            }
            Sort::Ipv6 => {
                put16(&mut whole, 12, 0x86DD);
                whole[14] = 0x60;
                whole
            }
            Sort::OtherEtherType => {
                // The doorbell's own, ARP, MPLS, PTP, and any: none is armed.
                let known = [0x88B5, 0x0806, 0x8847, 0x88F7, random.below(65_536) as u16];
                put16(&mut whole, 12, known[random.below(known.len())]);
                whole
            }
            Sort::OtherProtocol => {
                whole[23] = random.below(256) as u8;
                whole
            }
            Sort::OtherPort => {
                put16(&mut whole, 36, random.below(65_536) as u16);
                whole
            }
            Sort::OtherAddress => {
                whole[30 + random.below(4)] ^= 1 << random.below(8);
                whole
            }
            Sort::Options => {
                whole[14] = 0x46 + random.below(10) as u8;
                whole
            }
            Sort::BadLengths => {
                let at = [16, 38][random.below(2)];
                put16(&mut whole, at, random.below(65_536) as u16);
                whole
            }
            Sort::Stranger => {
                let session = if random.below(2) == 0 {
                    2
                } else {
                    random.below(1 << 20) as u32
                };
                let nonce = random.below(1 << 30) as u32;
                let id = SessionId::new(session, nonce).expect("20 and 30 bits");
                whole[HEADERS..HEADERS + 10].copy_from_slice(&id.0);
                whole
            }
            Sort::NoKey => frame(&request(1, 1, random.below(39), random)),
            Sort::OtherCount => {
                let counts = [
                    0,
                    0xFFFF,
                    70,
                    random.below(65_536) as u16,
                    random.below(70) as u16,
                ];
                put16(&mut whole, HEADERS + 18, counts[random.below(counts.len())]);
                whole
            }
            Sort::Flipped => {
                for _ in 0..1 + random.below(4) {
                    let at = 6 + random.below(whole.len() - 6);
                    whole[at] ^= 1 << random.below(8);
                }
                whole
            }
            Sort::Padded => {
                // Bytes behind the IP packet: no part of it.
                whole.resize(whole.len() + random.below(64), 0xEE);
                whole
            }
            Sort::Trailing => {
                let mut payload = authentic;
                let more = 1 + random.below(40);
                payload.resize(payload.len() + more, 0);
                frame(&payload)
            }
            Sort::BlankTag => {
                let ahead = self.expected.blank + 1 + random.below(1000) as u64;
                let mut whole = frame(&request(3, ahead, random.below(39), random));
                if random.below(2) == 0 {
                    let at = whole.len() - 1 - random.below(16);
                    whole[at] = 1;
                }
                whole
            }
        }
    }
}
