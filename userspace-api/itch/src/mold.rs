//! MoldUDP64 1.00: numbered messages in UDP packets, and the request for those that were lost.
//!
//! Message *k* of a packet has the header's sequence plus *k*; numbers are implied, never stored. A heartbeat and the end of
//! session carry the number that comes next, so that a quiet listener still sees a gap. The first number of a session is 1.

use crate::{Text, U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Ten letters that name one sequence of messages.
pub type Session = Text<10>;

/// Bytes of a header, and of a whole heartbeat, end of session or request.
pub const HEADER: usize = 20;
/// Bytes of the length before each message.
pub const BLOCK_LENGTH: usize = 2;
/// Count of a heartbeat.
pub const HEARTBEAT: u16 = 0;
/// Count that ends the session.
pub const END_OF_SESSION: u16 = 0xFFFF;
/// Most messages in a packet.
pub const COUNT_MAX: u16 = 0xFFFE;
/// Largest payload on Ethernet, in bytes: 1,500 less 20 of IPv4 and 8 of UDP.
pub const PAYLOAD_MAX: usize = 1472;

/// The header of a downstream packet, and the whole of a request.
#[derive(
    Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Which sequence of messages.
    pub session: Session,
    /// Number of the first message, or of the next one where there is none.
    pub sequence: U64,
    /// Messages that follow, or [`HEARTBEAT`] or [`END_OF_SESSION`].
    pub count: U16,
}
const _: () = assert!(size_of::<Header>() == HEADER);

/// Why a payload is no packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MoldError {
    /// Shorter than a header.
    #[error("{found} bytes are no MoldUDP64 packet, its header has {HEADER}; check the port")]
    TooShort {
        /// Bytes of the payload.
        found: usize,
    },
    /// The payload ends within a block, or before as many as the header says.
    #[error(
        "the packet ends within block {block} of {count}; drop it and ask for its messages again"
    )]
    Truncated {
        /// From 0.
        block: u16,
        /// The header's count.
        count: u16,
    },
    /// More bytes than the blocks have.
    #[error("{bytes} bytes follow the last block; drop the packet and ask for its messages again")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The numbers of the messages would pass 64 bits.
    #[error("sequence {sequence} and {count} messages pass 64 bits; the packet is not MoldUDP64")]
    SequenceTooLarge {
        /// The header's sequence.
        sequence: u64,
        /// The header's count.
        count: u16,
    },
    /// A request that asks for nothing, or is not 20 bytes long.
    #[error(
        "{found} bytes with count {count} are no request; one has {HEADER} bytes and a count of 1 to {COUNT_MAX}"
    )]
    NoRequest {
        /// Bytes of the payload.
        found: usize,
        /// The header's count, 0 where there is no header.
        count: u16,
    },
}

/// A message does not go into the packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PacketError {
    /// There is no more room; the packet is as it was.
    #[error("the packet has no room for the message; send it and begin the next")]
    Full,
    /// Not even an empty packet has the room.
    #[error(
        "a message of {found} bytes fits no packet, the longest has {max}; raise the payload limit"
    )]
    TooLong {
        /// Bytes of the message.
        found: usize,
        /// Bytes of the longest that fits.
        max: usize,
    },
}

/// Builds downstream packets in one buffer: push messages, send [`PacketBuilder::packet`], begin the next.
#[derive(Clone, Debug)]
pub struct PacketBuilder {
    bytes: Vec<u8>,
    session: Session,
    sequence: u64,
    count: u16,
    payload_max: usize,
}

impl PacketBuilder {
    /// An empty packet whose first message has number `sequence`, of at most `payload_max` bytes.
    ///
    /// A limit below a header and an empty block is raised to that.
    #[must_use]
    pub fn new(session: Session, sequence: u64, payload_max: usize) -> Self {
        let payload_max = payload_max.max(HEADER + BLOCK_LENGTH);
        let mut bytes = Vec::with_capacity(payload_max);
        bytes.resize(HEADER, 0);
        Self {
            bytes,
            session,
            sequence,
            count: 0,
            payload_max,
        }
    }

    /// Appends a message.
    ///
    /// # Errors
    /// When there is no room left, or never was; the packet is as it was.
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> Result<(), PacketError> {
        let max = (self.payload_max - HEADER - BLOCK_LENGTH).min(usize::from(u16::MAX));
        if message.len() > max {
            return Err(PacketError::TooLong {
                found: message.len(),
                max,
            });
        }
        let end = self.bytes.len() + BLOCK_LENGTH + message.len();
        if end > self.payload_max || self.count == COUNT_MAX {
            return Err(PacketError::Full);
        }
        self.bytes
            .extend_from_slice(&(message.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(message);
        self.count += 1;
        Ok(())
    }

    /// The packet so far, to be sent. Without messages it is a heartbeat.
    pub fn packet(&mut self) -> &[u8] {
        let header = header(self.session, self.sequence, self.count);
        self.bytes[..HEADER].copy_from_slice(&header);
        &self.bytes
    }

    /// Empties the packet; the next one begins behind its messages.
    pub fn begin_next(&mut self) {
        self.sequence = self.next_sequence();
        self.count = 0;
        self.bytes.truncate(HEADER);
    }

    /// Messages so far.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Number of the packet's first message.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Number of the message that is pushed next.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence.wrapping_add(u64::from(self.count))
    }

    /// Which session.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }
}

/// A heartbeat: `next` is the number of the next message.
#[must_use]
pub fn heartbeat(session: Session, next: u64) -> [u8; HEADER] {
    header(session, next, HEARTBEAT)
}

/// The end of a session: `next` is one more than the number of its last message.
#[must_use]
pub fn end_of_session(session: Session, next: u64) -> [u8; HEADER] {
    header(session, next, END_OF_SESSION)
}

fn header(session: Session, sequence: u64, count: u16) -> [u8; HEADER] {
    let header = Header {
        session,
        sequence: sequence.into(),
        count: count.into(),
    };
    zerocopy::transmute!(header)
}

/// What a downstream packet is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Messages.
    Data,
    /// None at the moment.
    Heartbeat,
    /// None any more.
    EndOfSession,
}

/// A downstream packet whose framing was found good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    session: Session,
    sequence: u64,
    count: u16,
    blocks: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a UDP payload, to the end of its last block.
    ///
    /// # Errors
    /// Why it is no packet. A request is [`MoldError::Truncated`] at block 0: only the port tells them apart.
    pub fn read(payload: &'a [u8]) -> Result<Self, MoldError> {
        let found = payload.len();
        let (header, blocks) =
            Header::ref_from_prefix(payload).map_err(|_| MoldError::TooShort { found })?;
        let (sequence, count) = (header.sequence.get(), header.count.get());
        let in_packet = if count == END_OF_SESSION { 0 } else { count };
        if sequence.checked_add(u64::from(in_packet)).is_none() {
            return Err(MoldError::SequenceTooLarge { sequence, count });
        }
        let mut rest = blocks;
        for block in 0..in_packet {
            (_, rest) = split(rest).ok_or(MoldError::Truncated { block, count })?;
        }
        if !rest.is_empty() {
            return Err(MoldError::Trailing { bytes: rest.len() });
        }
        Ok(Self {
            session: header.session,
            sequence,
            count,
            blocks,
        })
    }

    /// Which session.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// Number of the first message, or of the next one where there is none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Number of the message behind this packet.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence + u64::from(self.count())
    }

    /// Messages in the packet.
    #[must_use]
    pub fn count(&self) -> u16 {
        if self.count == END_OF_SESSION {
            0
        } else {
            self.count
        }
    }

    /// Messages, heartbeat or end.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.count {
            HEARTBEAT => Kind::Heartbeat,
            END_OF_SESSION => Kind::EndOfSession,
            _ => Kind::Data,
        }
    }

    /// The messages with their numbers.
    #[must_use]
    pub fn messages(&self) -> Messages<'a> {
        Messages {
            sequence: self.sequence,
            blocks: self.blocks,
        }
    }
}

/// The messages of a [`Packet`] with their numbers.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    sequence: u64,
    blocks: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = (u64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // `Packet::read` walked the same blocks: only their end is `None`.
        let (message, rest) = split(self.blocks)?;
        let sequence = self.sequence;
        self.sequence += 1;
        self.blocks = rest;
        Some((sequence, message))
    }
}

/// The first block's content, and what follows; `None` when the block is not all there.
#[inline]
fn split(blocks: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = blocks.split_first_chunk::<BLOCK_LENGTH>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A listener's request for messages that it missed, sent to the re-request server.
///
/// The answer is a downstream packet, which may have fewer than were asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request {
    /// Which session.
    pub session: Session,
    /// Number of the first message wanted.
    pub sequence: u64,
    /// Messages wanted, 1 to [`COUNT_MAX`].
    pub count: u16,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// When the payload has not exactly 20 bytes or asks for nothing.
    pub fn read(payload: &[u8]) -> Result<Self, MoldError> {
        let found = payload.len();
        let header = Header::ref_from_bytes(payload)
            .map_err(|_| MoldError::NoRequest { found, count: 0 })?;
        let count = header.count.get();
        if count == HEARTBEAT || count == END_OF_SESSION {
            return Err(MoldError::NoRequest { found, count });
        }
        Ok(Self {
            session: header.session,
            sequence: header.sequence.get(),
            count,
        })
    }

    /// The request's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER] {
        header(self.session, self.sequence, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const SESSION: Session = Text(*b"SESSION001");

    #[test]
    fn golden_packet() {
        let mut builder = PacketBuilder::new(SESSION, 0x0102_0304_0506_0708, PAYLOAD_MAX);
        builder.push(b"abc").unwrap();
        builder.push(b"").unwrap();
        let expected = b"SESSION001\x01\x02\x03\x04\x05\x06\x07\x08\0\x02\0\x03abc\0\0";
        assert_eq!(builder.packet(), expected);
        let packet = Packet::read(expected).unwrap();
        assert_eq!(packet.kind(), Kind::Data);
        let messages: Vec<_> = packet.messages().collect();
        let first = 0x0102_0304_0506_0708;
        assert_eq!(messages, [(first, &b"abc"[..]), (first + 1, b"")]);
        assert_eq!(packet.next_sequence(), first + 2);
        builder.begin_next();
        assert_eq!(builder.sequence(), first + 2);
        assert_eq!(builder.packet(), heartbeat(SESSION, first + 2));
    }

    #[test]
    fn packets_without_messages() {
        let beat = heartbeat(SESSION, 7);
        assert_eq!(beat, *b"SESSION001\0\0\0\0\0\0\0\x07\0\0");
        let end = end_of_session(SESSION, 7);
        assert_eq!(end, *b"SESSION001\0\0\0\0\0\0\0\x07\xFF\xFF");
        for (bytes, kind) in [(beat, Kind::Heartbeat), (end, Kind::EndOfSession)] {
            let packet = Packet::read(&bytes).unwrap();
            assert_eq!((packet.kind(), packet.next_sequence()), (kind, 7));
            assert_eq!(packet.messages().count(), 0);
            assert!(Request::read(&bytes).is_err());
        }
    }

    #[test]
    fn a_full_packet_stays_whole() {
        let mut builder = PacketBuilder::new(SESSION, 1, HEADER + 2 * (BLOCK_LENGTH + 3));
        builder.push(b"abc").unwrap();
        builder.push(b"def").unwrap();
        assert_eq!(builder.push(b""), Err(PacketError::Full));
        let long = PacketError::TooLong { found: 9, max: 8 };
        assert_eq!(builder.push(b"ninebytes"), Err(long));
        assert_eq!(Packet::read(builder.packet()).unwrap().count(), 2);
    }

    #[test]
    fn the_count_never_becomes_an_end_of_session() {
        let mut builder = PacketBuilder::new(SESSION, 1, 1 << 20);
        for _ in 0..COUNT_MAX {
            builder.push(b"").unwrap();
        }
        assert_eq!(builder.push(b""), Err(PacketError::Full));
        assert_eq!(Packet::read(builder.packet()).unwrap().kind(), Kind::Data);
    }

    #[test]
    fn malformed_packets_are_named() {
        let read = |bytes: &[u8]| Packet::read(bytes).unwrap_err();
        assert_eq!(read(b"SESSION001"), MoldError::TooShort { found: 10 });
        let cut = MoldError::Truncated { block: 0, count: 1 };
        assert_eq!(read(b"SESSION001\0\0\0\0\0\0\0\x01\0\x01"), cut);
        assert_eq!(read(b"SESSION001\0\0\0\0\0\0\0\x01\0\x01\0"), cut);
        assert_eq!(read(b"SESSION001\0\0\0\0\0\0\0\x01\0\x01\0\x02a"), cut);
        let trailing = MoldError::Trailing { bytes: 1 };
        assert_eq!(read(b"SESSION001\0\0\0\0\0\0\0\x01\0\0a"), trailing);
        assert_eq!(read(b"SESSION001\0\0\0\0\0\0\0\x01\0\x01\0\0a"), trailing);
        let sequence = u64::MAX;
        let large = MoldError::SequenceTooLarge { sequence, count: 1 };
        assert_eq!(
            read(b"SESSION001\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\x01\0\0"),
            large
        );
    }

    proptest! {
        #[test]
        fn packets_read_back(
            session: [u8; 10],
            sequence in 0..u64::MAX - 100,
            messages in vec(vec(any::<u8>(), 0..60), 0..24),
        ) {
            let mut builder = PacketBuilder::new(Text(session), sequence, PAYLOAD_MAX);
            for message in &messages {
                builder.push(message).unwrap();
            }
            let packet = Packet::read(builder.packet()).unwrap();
            prop_assert_eq!(packet.session(), Text(session));
            let read: Vec<_> = packet.messages().map(|(n, m)| (n, m.to_vec())).collect();
            prop_assert_eq!(read, (sequence..).zip(messages).collect::<Vec<_>>());
        }

        #[test]
        fn requests_read_back(session: [u8; 10], sequence: u64, count in 1..=COUNT_MAX) {
            let request = Request { session: Text(session), sequence, count };
            prop_assert_eq!(Request::read(&request.to_bytes()), Ok(request));
        }

        #[test]
        fn anything_is_read_or_refused(mut bytes in vec(any::<u8>(), 0..200), small in 0..4_u8) {
            if let Some(count) = bytes.get_mut(18..20) {
                count.copy_from_slice(&[0, small]);
            }
            if let Ok(packet) = Packet::read(&bytes) {
                prop_assert_eq!(packet.messages().count(), usize::from(packet.count()));
            }
            let _ = Request::read(&bytes);
        }
    }
}
