//! Whole packets on the host: build and sign a request, read an answer, take a request apart.
//!
//! Everything here goes through the same functions as the kernel; it only adds owned values and
//! errors with text. Feature `std`.

use crate::inbound::{
    CANCEL, ENTER, ENTER_EXTENDED, ENTER_SUB, Enter, EnterExtended, EnterSub, MASS_CANCEL,
    MassCancel, REDUCE, REPLACE, Reduce, Replace,
};
use crate::inbound::{Cancel, FieldError};
use crate::loops::Native;
use crate::mac::{self, Check, Domain};
use crate::outbound::{ACK_LETTER, AckWire};
use crate::{
    ACK, Ack, BLOCK_LENGTH, Buffer, HEADER, Key, MESSAGES_MAX, Malformed, Message, MessageCells,
    PAYLOAD_MAX, SessionId, TAG_BLOCK, answer_bytes, block, mold, parse, shape,
};
use zerocopy::{FromBytes, IntoBytes};

/// One inbound message in the bytes it has on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inbound {
    /// `A`.
    Enter(Enter),
    /// `F`.
    EnterSub(EnterSub),
    /// `O`.
    EnterExtended(EnterExtended),
    /// `U`.
    Replace(Replace),
    /// `X`.
    Reduce(Reduce),
    /// `D`.
    Cancel(Cancel),
    /// `M`.
    MassCancel(MassCancel),
}

impl Inbound {
    /// The view of a block's content; `None` when letter and length are not those of a message.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&letter, _) = bytes.split_first()?;
        Some(match (letter, bytes.len()) {
            (b'A', ENTER) => Self::Enter(Enter::read_from_bytes(bytes).ok()?),
            (b'F', ENTER_SUB) => Self::EnterSub(EnterSub::read_from_bytes(bytes).ok()?),
            (b'O', ENTER_EXTENDED) => {
                Self::EnterExtended(EnterExtended::read_from_bytes(bytes).ok()?)
            }
            (b'U', REPLACE) => Self::Replace(Replace::read_from_bytes(bytes).ok()?),
            (b'X', REDUCE) => Self::Reduce(Reduce::read_from_bytes(bytes).ok()?),
            (b'D', CANCEL) => Self::Cancel(Cancel::read_from_bytes(bytes).ok()?),
            (b'M', MASS_CANCEL) => Self::MassCancel(MassCancel::read_from_bytes(bytes).ok()?),
            _ => return None,
        })
    }

    /// The bytes of a message given as numbers: the inverse of [`Inbound::check`]. Fields that the
    /// letter does not have are not looked at; `None` for a letter that is no message's.
    #[must_use]
    pub fn from_message(m: &Message) -> Option<Self> {
        let (locate, timestamp) = (m.locate.into(), [0; 6]);
        let (reference, shares) = (u64::from(m.reference).into(), m.shares.into());
        let (tracking, none) = (m.flags.0.into(), 0.into());
        let (stock, price) = (m.stock.to_be_bytes(), m.price.into());
        let (letter, side) = (m.letter, m.side);
        Some(match letter {
            b'A' => Self::Enter(Enter {
                letter,
                locate,
                tracking,
                timestamp,
                reference,
                side,
                shares,
                stock,
                price,
            }),
            b'F' => Self::EnterSub(EnterSub {
                letter,
                locate,
                tracking,
                timestamp,
                reference,
                side,
                shares,
                stock,
                price,
                sub_account: m.sub_account.to_be_bytes(),
            }),
            b'O' => Self::EnterExtended(EnterExtended {
                letter,
                locate,
                tracking,
                timestamp,
                reference,
                side,
                shares,
                stock,
                price,
                minimum: m.minimum.into(),
                display: m.display.into(),
                trigger: m.trigger.into(),
                expiry_s: m.expiry_s.into(),
                peg: m.peg,
                peg_offset_ticks: m.peg_offset_ticks,
                trade_group: m.trade_group.into(),
            }),
            b'U' => Self::Replace(Replace {
                letter,
                locate,
                tracking: none,
                timestamp,
                reference,
                new_reference: u64::from(m.new_reference).into(),
                shares,
                price,
            }),
            b'X' => Self::Reduce(Reduce {
                letter,
                locate,
                tracking: none,
                timestamp,
                reference,
                shares,
            }),
            b'D' => Self::Cancel(Cancel {
                letter,
                locate,
                tracking: none,
                timestamp,
                reference,
            }),
            b'M' => Self::MassCancel(MassCancel {
                letter,
                locate,
                tracking: none,
                timestamp,
                reference,
                scope: m.scope,
                side,
                kill: m.kill,
                reserved: 0,
            }),
            _ => return None,
        })
    }

    /// The bytes, without the block's length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Enter(view) => view.as_bytes(),
            Self::EnterSub(view) => view.as_bytes(),
            Self::EnterExtended(view) => view.as_bytes(),
            Self::Replace(view) => view.as_bytes(),
            Self::Reduce(view) => view.as_bytes(),
            Self::Cancel(view) => view.as_bytes(),
            Self::MassCancel(view) => view.as_bytes(),
        }
    }

    /// The message as numbers, judged by the same [`parse`] as in the kernel.
    ///
    /// # Errors
    /// The first wrong field.
    pub fn check(&self) -> Result<Message, FieldError> {
        let bytes = self.as_bytes();
        let (buf, cells) = (Buffer::new(), MessageCells::default());
        buf.copy_in(bytes);
        parse(&buf, 0, buf.u8(0), &cells)?;
        Ok(cells.get())
    }
}

impl TryFrom<&Inbound> for Message {
    type Error = FieldError;

    fn try_from(inbound: &Inbound) -> Result<Self, FieldError> {
        inbound.check()
    }
}

/// The packet has no room for the message: send it and begin the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PacketFull;

impl core::fmt::Display for PacketFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the packet has no room for the message; send it and begin the next")
    }
}

impl core::error::Error for PacketFull {}

/// A request being built: messages until it is full, then the tag.
#[derive(Debug)]
pub struct PacketBuilder {
    bytes: Vec<u8>,
    session: SessionId,
    sequence: u64,
    messages: u16,
}

impl PacketBuilder {
    /// An empty packet whose first message has client sequence `sequence`.
    #[must_use]
    pub fn new(session: SessionId, sequence: u64) -> Self {
        let mut bytes = Vec::with_capacity(PAYLOAD_MAX);
        bytes.resize(HEADER, 0);
        Self {
            bytes,
            session,
            sequence,
            messages: 0,
        }
    }

    /// Appends a message. It is not judged here: [`Inbound::check`] does.
    ///
    /// # Errors
    /// [`PacketFull`]; the packet is as it was.
    pub fn push(&mut self, message: &Inbound) -> Result<(), PacketFull> {
        let content = message.as_bytes();
        let end = self.bytes.len() + BLOCK_LENGTH + content.len();
        if self.messages == MESSAGES_MAX || end + TAG_BLOCK > PAYLOAD_MAX {
            return Err(PacketFull);
        }
        self.bytes
            .extend_from_slice(&(content.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(content);
        self.messages += 1;
        Ok(())
    }

    /// Messages so far.
    #[must_use]
    pub fn messages(&self) -> u16 {
        self.messages
    }

    /// Client sequence with which the next packet begins: the tag block takes one too.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence
            .wrapping_add(u64::from(self.messages))
            .wrapping_add(1)
    }

    /// Ends the packet with its tag, blank without a key. Without messages it is a heartbeat.
    #[must_use]
    pub fn sign(self, key: Option<&Key>) -> Vec<u8> {
        seal(
            self.bytes,
            &self.session,
            self.sequence,
            key,
            Domain::Request,
        )
    }
}

/// Appends the tag block to header room and blocks.
fn seal(
    mut bytes: Vec<u8>,
    session: &SessionId,
    sequence: u64,
    key: Option<&Key>,
    domain: Domain,
) -> Vec<u8> {
    let mut count = 1;
    let mut at = HEADER;
    while at < bytes.len() {
        at += BLOCK_LENGTH + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        count += 1;
    }
    assert_eq!(at, bytes.len(), "blocks end where the tag begins");
    let buf = Buffer::new();
    buf.copy_in(&bytes);
    mold::put_header(&buf, session, sequence, count);
    let tag = match key {
        Some(key) => mac::tag::<Native>(&buf, at, key, domain).expect("nothing interrupts here"),
        None => (0, 0),
    };
    mac::put_tag(&buf, at, tag);
    bytes.resize(at + TAG_BLOCK, 0);
    buf.copy_out(&mut bytes);
    bytes
}

/// A request taken apart, for tools and tests. The tag is not verified: [`Request::is_genuine`].
#[derive(Debug)]
pub struct Request {
    /// Whose.
    pub session: SessionId,
    /// Client sequence of the first message.
    pub sequence: u64,
    /// The messages in order; none is a heartbeat.
    pub messages: Vec<Inbound>,
    buf: Buffer,
    signed: usize,
}

impl Request {
    /// Takes a payload apart.
    ///
    /// # Errors
    /// Why it is no packet of ours.
    pub fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let buf = Buffer::new();
        buf.copy_in(payload);
        let found = shape::<Native>(&buf, payload.len())?;
        let mut messages = Vec::with_capacity(usize::from(found.messages));
        let mut at = HEADER;
        for _ in 0..found.messages {
            let here = block(&buf, at);
            let message = Inbound::read(&payload[here.start..here.next]);
            messages.push(message.expect("`shape` passes only letters with their length"));
            at = here.next;
        }
        let (header, _) = mold::Header::read_from_prefix(payload).expect("`shape` saw a header");
        Ok(Self {
            session: header.session,
            sequence: found.sequence,
            messages,
            buf,
            signed: usize::from(found.signed),
        })
    }

    /// Whether the tag was made with `key`, or is blank without one.
    #[must_use]
    pub fn is_genuine(&self, key: Option<&Key>) -> bool {
        is_genuine(&self.buf, self.signed, key, Domain::Request)
    }
}

fn is_genuine(buf: &Buffer, signed: usize, key: Option<&Key>, domain: Domain) -> bool {
    match key {
        Some(key) => mac::verify::<Native>(buf, signed, key, domain) == Check::Genuine,
        None => mac::is_blank(buf, signed),
    }
}

/// Why a payload is no answer of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerError {
    /// The length is not that of an answer with the header's count.
    Length {
        /// Bytes received.
        bytes: usize,
        /// The header's count, 0 when there is no header.
        count: u16,
    },
    /// Block `index` is not what an answer has there.
    Block {
        /// From 0, the tag block last.
        index: u16,
    },
    /// The tag is wrong: not the venue's, or of another session.
    Forged,
}

impl core::fmt::Display for AnswerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Length { bytes, count } => {
                write!(
                    f,
                    "{bytes} bytes are no answer with count {count}; drop it and wait"
                )
            }
            Self::Block { index } => {
                write!(f, "block {index} is none of an answer; drop it and wait")
            }
            Self::Forged => f.write_str(
                "the answer's tag is wrong; check that the key is the session's, else drop it",
            ),
        }
    }
}

impl core::error::Error for AnswerError {}

/// An answer whose tag was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Whose.
    pub session: SessionId,
    /// That of the request; in the answer to a heartbeat the client sequence expected next.
    pub sequence: u64,
    /// One for each message of the request, in its order.
    pub acks: Vec<Ack>,
}

impl Answer {
    /// Reads a payload and verifies its tag with `key`, or that it is blank without one.
    ///
    /// # Errors
    /// Why it is no answer of ours.
    pub fn read(payload: &[u8], key: Option<&Key>) -> Result<Self, AnswerError> {
        let bytes = payload.len();
        let Ok((header, blocks)) = mold::Header::read_from_prefix(payload) else {
            return Err(AnswerError::Length { bytes, count: 0 });
        };
        let count = header.count.get();
        if count == 0 || count > MESSAGES_MAX + 1 || bytes != answer_bytes(count - 1) {
            return Err(AnswerError::Length { bytes, count });
        }
        let buf = Buffer::new();
        buf.copy_in(payload);
        let signed = bytes - TAG_BLOCK;
        if !is_genuine(&buf, signed, key, Domain::Answer) {
            return Err(AnswerError::Forged);
        }
        if !is_block(&buf, signed, crate::TAG, crate::shape::TAG_LETTER) {
            return Err(AnswerError::Block { index: count - 1 });
        }
        let acks = &blocks[..signed - HEADER];
        let mut read = Vec::with_capacity(usize::from(count - 1));
        for (index, ack) in (0_u16..).zip(acks.chunks_exact(BLOCK_LENGTH + ACK)) {
            if !is_block(&buf, crate::outbound::tag_at(index), ACK, ACK_LETTER) {
                return Err(AnswerError::Block { index });
            }
            let wire = AckWire::ref_from_bytes(&ack[BLOCK_LENGTH..]).expect("19 bytes");
            read.push(Ack::from(wire));
        }
        Ok(Self {
            session: header.session,
            sequence: header.sequence.get(),
            acks: read,
        })
    }

    /// The answer's bytes with its tag: what [`crate::put_ack`] and [`crate::finish`] make.
    ///
    /// # Panics
    /// With more acknowledgements than a packet has messages.
    #[must_use]
    pub fn sign(&self, key: Option<&Key>) -> Vec<u8> {
        assert!(
            self.acks.len() <= usize::from(MESSAGES_MAX),
            "a packet has at most 68 messages"
        );
        let mut bytes = vec![0; HEADER];
        for ack in &self.acks {
            bytes.extend_from_slice(&(ACK as u16).to_be_bytes());
            bytes.extend_from_slice(AckWire::from(ack).as_bytes());
        }
        seal(bytes, &self.session, self.sequence, key, Domain::Answer)
    }
}

fn is_block(buf: &Buffer, at: usize, bytes: usize, letter: u8) -> bool {
    usize::from(buf.u16_be(at)) == bytes && buf.u8(at + BLOCK_LENGTH) == letter
}

impl From<&AckWire> for Ack {
    fn from(wire: &AckWire) -> Self {
        Self {
            sequence: wire.sequence.get(),
            reference: wire.reference.get(),
            quantity: wire.quantity.get(),
            result: wire.result,
            reason: wire.reason,
        }
    }
}

impl From<&Ack> for AckWire {
    fn from(ack: &Ack) -> Self {
        Self {
            letter: ACK_LETTER,
            result: ack.result,
            reason: ack.reason,
            reference: ack.reference.into(),
            quantity: ack.quantity.into(),
            sequence: ack.sequence.into(),
        }
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Malformed {}
