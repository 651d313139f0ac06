//! From records back to a shard: packets, steps and control commands are made anew and carried out in their order.
//!
//! The records are a shard's own, from the first one that the target has not seen. Only commands are carried out; the target
//! writes the events itself, and the sequence number of each command says whether it still agrees. A packet is carried out
//! when its last message has been read, so that a record which ends within one leaves the target as it was before.
//! What cannot be carried out is reported: as a [`ReplayError`] where the record is wrong, as a [`Tail`] where it ends early.
//! Rule: `docs/matching.md#records`.

use crate::Taken;
use crate::control::{Clock, Control, ControlKind};
use crate::limits::SLOT_LEN;
use crate::native::Native;
use crate::outbox::Recorder;
use crate::record::{ControlRecord, Head, Kind, Message, ReplyTo, Step};
use crate::reference::Reference;
use ring0_wire::host::{Inbound, PacketBuilder};
use ring0_wire::shape::TAG_LETTER;
use ring0_wire::{MESSAGES_MAX, SessionId};
use zerocopy::FromBytes;

/// What records are replayed into.
pub trait Target {
    /// The id of a granted session.
    fn session_id(&self, session: u32) -> Option<SessionId>;
    /// Sequence number of its next record.
    fn next_sequence(&self) -> u64;
    /// Carries out a packet alone at this venue time, its answer held for `reply_to` (all zero: not held); false when it was not taken.
    fn packet(&mut self, payload: &[u8], time_ns: u64, reply_to: ReplyTo) -> bool;
    /// Carries out one continuation step; false when none is pending.
    fn step(&mut self) -> bool;
    /// Carries out one control command alone at this venue time.
    fn control(&mut self, command: &Control, time_ns: u64);
}

/// The boot-time clock at which day base and clock together are a venue time.
fn boot_ns(command: Option<&Control>, day_base_ns: u64, time_ns: u64) -> u64 {
    let day_base_ns = match command {
        // A clock command's time is by the base that it sets.
        Some(command) if command.kind == ControlKind::Clock as u32 => {
            command.body::<Clock>().day_base_ns
        }
        _ => day_base_ns,
    };
    time_ns.wrapping_sub(day_base_ns)
}

impl<R: Recorder> Target for Native<R> {
    fn session_id(&self, session: u32) -> Option<SessionId> {
        self.shard().session_id(session)
    }

    fn next_sequence(&self) -> u64 {
        self.shard().header().next_sequence.get()
    }

    fn packet(&mut self, payload: &[u8], time_ns: u64, reply_to: ReplyTo) -> bool {
        self.hold_answers(reply_to);
        let day_base_ns = self.shard().header().day_base_ns.get();
        self.replay_packet(payload, boot_ns(None, day_base_ns, time_ns)) == Ok(Taken::Taken)
    }

    fn step(&mut self) -> bool {
        self.replay_step()
    }

    fn control(&mut self, command: &Control, time_ns: u64) {
        let day_base_ns = self.shard().header().day_base_ns.get();
        self.replay_control(command, boot_ns(Some(command), day_base_ns, time_ns));
    }
}

impl Target for Reference {
    fn session_id(&self, session: u32) -> Option<SessionId> {
        Reference::session_id(self, session)
    }

    fn next_sequence(&self) -> u64 {
        Reference::next_sequence(self)
    }

    fn packet(&mut self, payload: &[u8], time_ns: u64, reply_to: ReplyTo) -> bool {
        self.hold_answers(reply_to);
        let before = Reference::next_sequence(self);
        self.replay_packet(payload, boot_ns(None, self.day_base_ns(), time_ns));
        Reference::next_sequence(self) != before
    }

    fn step(&mut self) -> bool {
        self.replay_step()
    }

    fn control(&mut self, command: &Control, time_ns: u64) {
        self.replay_control(command, boot_ns(Some(command), self.day_base_ns(), time_ns));
    }
}

/// The record is not one that this target could have written from where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplayError {
    /// The bytes at this sequence are no record: kind, length or a field is none of ours.
    Unreadable {
        /// Sequence that the record should have.
        sequence: u64,
    },
    /// A record is missing, or one of another place stands there.
    Gap {
        /// Sequence that the record should have.
        expected: u64,
        /// Sequence that it has.
        found: u64,
    },
    /// The target has written more or fewer records than there are before this command.
    Diverged {
        /// Sequence of the command in the record.
        recorded: u64,
        /// Sequence that the target would give it.
        target: u64,
    },
    /// The target refuses what was carried out when it was recorded.
    Refused {
        /// Sequence of the packet's last message, of the step or of the control command.
        sequence: u64,
    },
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::Unreadable { sequence } => {
                write!(
                    f,
                    "record {sequence} cannot be read; the file is damaged there"
                )
            }
            ReplayError::Gap { expected, found } => {
                write!(
                    f,
                    "record {expected} is missing, {found} stands in its place; replay the files in order"
                )
            }
            ReplayError::Diverged { recorded, target } => write!(
                f,
                "the replay would give command {recorded} the sequence {target}; another version or another start wrote the record"
            ),
            ReplayError::Refused { sequence } => write!(
                f,
                "the replay refuses command {sequence}; another version or another start wrote the record"
            ),
        }
    }
}

impl std::error::Error for ReplayError {}

/// How the record ends. All but the first were not carried out, or not whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tail {
    /// Behind a whole command.
    Clean,
    /// Some bytes of a record are missing, so it was not looked at.
    TornRecord {
        /// Bytes that are there.
        bytes: usize,
    },
    /// A packet's last messages are missing, so none of it was carried out.
    TornPacket {
        /// Session index.
        session: u32,
        /// Client sequence of the packet.
        client_sequence: u64,
        /// Its messages that are there.
        messages: u16,
        /// Its messages, the tag block counted.
        count: u16,
    },
    /// The last command was carried out; the last of its events are missing in the record.
    TornEvents {
        /// How many.
        missing: u64,
    },
    /// The command during which a fault stopped the shard, which was not carried out.
    Faulted {
        /// Its sequence.
        sequence: u64,
        /// Messages of the same packet before it, which were not carried out either.
        messages: u16,
    },
}

/// The messages of a packet read so far.
struct Packet {
    builder: PacketBuilder,
    session: u32,
    client_sequence: u64,
    time_ns: u64,
    reply_to: ReplyTo,
    messages: u16,
    count: u16,
}

/// Reads records in pieces of any size and carries out their commands.
pub struct Replayer {
    /// Bytes of a record whose end has not come yet.
    partial: Vec<u8>,
    /// Sequence that the next record must have.
    next: u64,
    packet: Option<Packet>,
    /// Sequence of the command in which a fault was found.
    broken: Option<u64>,
    /// Messages before that in its packet, once it was met.
    faulted: Option<u16>,
}

impl Replayer {
    /// A replay from where the target stands. `broken`: the sequence of the command during which a fault stopped the shard that
    /// wrote the record ([`Shard::broken`](crate::Shard::broken)), at which the replay stops.
    #[must_use]
    pub fn new(target: &impl Target, broken: Option<u64>) -> Replayer {
        Replayer {
            partial: Vec::new(),
            next: target.next_sequence(),
            packet: None,
            broken,
            faulted: None,
        }
    }

    /// Takes the next bytes of the record.
    ///
    /// # Errors
    /// The record is wrong. The target has carried out everything before; the replay cannot go on.
    pub fn feed(&mut self, mut bytes: &[u8], target: &mut impl Target) -> Result<(), ReplayError> {
        while !self.partial.is_empty() && !bytes.is_empty() {
            let wanted = record_len(&self.partial, self.next)? - self.partial.len();
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            self.partial.extend_from_slice(now);
            bytes = later;
            if self.partial.len() == record_len(&self.partial, self.next)? {
                let record = std::mem::take(&mut self.partial);
                self.record(&record, target)?;
            }
        }
        while !bytes.is_empty() {
            let len = record_len(bytes, self.next)?;
            if bytes.len() < len {
                self.partial.extend_from_slice(bytes);
                return Ok(());
            }
            let (record, rest) = bytes.split_at(len);
            self.record(record, target)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Ends the replay: how the record ended.
    #[must_use]
    pub fn finish(self, target: &impl Target) -> Tail {
        if let (Some(messages), Some(sequence)) = (self.faulted, self.broken) {
            return Tail::Faulted { sequence, messages };
        }
        if !self.partial.is_empty() {
            return Tail::TornRecord {
                bytes: self.partial.len(),
            };
        }
        if let Some(packet) = self.packet {
            return Tail::TornPacket {
                session: packet.session,
                client_sequence: packet.client_sequence,
                messages: packet.messages,
                count: packet.count,
            };
        }
        match target.next_sequence().saturating_sub(self.next) {
            0 => Tail::Clean,
            missing => Tail::TornEvents { missing },
        }
    }

    /// One whole record.
    fn record(&mut self, bytes: &[u8], target: &mut impl Target) -> Result<(), ReplayError> {
        if self.faulted.is_some() {
            return Ok(()); // what a fault left behind
        }
        let unreadable = ReplayError::Unreadable {
            sequence: self.next,
        };
        let (head, _) = Head::read_from_prefix(bytes).map_err(|_| unreadable)?;
        if head.sequence != self.next {
            return Err(ReplayError::Gap {
                expected: self.next,
                found: head.sequence,
            });
        }
        self.next += 1;
        let kind = Kind::from_number(head.kind).ok_or(unreadable)?;
        let is_command = matches!(kind, Kind::Message | Kind::Step | Kind::Control);
        if !is_command {
            return Ok(());
        }
        if self.broken == Some(head.sequence) {
            self.faulted = Some(self.packet.take().map_or(0, |packet| packet.messages));
            return Ok(());
        }
        if self.packet.is_none() && target.next_sequence() != head.sequence {
            return Err(ReplayError::Diverged {
                recorded: head.sequence,
                target: target.next_sequence(),
            });
        }
        let refused = ReplayError::Refused {
            sequence: head.sequence,
        };
        if self.packet.is_some() && kind != Kind::Message {
            return Err(unreadable); // a packet's messages follow each other
        }
        match kind {
            Kind::Message => {
                let message = Message::read_from_bytes(bytes).map_err(|_| unreadable)?;
                self.message(&message, unreadable, refused, target)
            }
            Kind::Step if target.step() => Ok(()),
            Kind::Step => Err(refused),
            _ => {
                let record = ControlRecord::read_from_bytes(bytes).map_err(|_| unreadable)?;
                let mut command = Control::new(ControlKind::Clock, &crate::control::Empty {});
                command.kind = record.kind;
                command.body = record.body;
                target.control(&command, record.time_ns);
                Ok(())
            }
        }
    }

    fn message(
        &mut self,
        message: &Message,
        unreadable: ReplayError,
        refused: ReplayError,
        target: &mut impl Target,
    ) -> Result<(), ReplayError> {
        let mut packet = match self.packet.take() {
            Some(packet) => packet,
            None => Packet {
                builder: PacketBuilder::new(
                    target.session_id(message.session).ok_or(refused)?,
                    message.client_sequence,
                ),
                session: message.session,
                client_sequence: message.client_sequence,
                time_ns: message.time_ns,
                reply_to: message.reply_to,
                messages: 0,
                count: message.count,
            },
        };
        let belongs = message.session == packet.session
            && message.index == packet.messages
            && message.count == packet.count
            && message.count <= MESSAGES_MAX + 1
            && message.time_ns == packet.time_ns
            && message.reply_to == packet.reply_to
            && message.client_sequence
                == packet
                    .client_sequence
                    .wrapping_add(u64::from(packet.messages));
        let is_tag = message.message[0] == TAG_LETTER;
        if !belongs || is_tag != (message.index + 1 == message.count) {
            return Err(unreadable);
        }
        packet.messages += 1;
        if is_tag {
            let payload = packet.builder.sign(None);
            return if target.packet(&payload, packet.time_ns, packet.reply_to) {
                Ok(())
            } else {
                Err(refused)
            };
        }
        let content = message.message.get(..usize::from(message.length));
        let content = content.and_then(Inbound::read).ok_or(unreadable)?;
        packet.builder.push(&content).map_err(|_| unreadable)?;
        self.packet = Some(packet);
        Ok(())
    }
}

/// Bytes of the record that begins here; of a head when not even that is there.
fn record_len(bytes: &[u8], sequence: u64) -> Result<usize, ReplayError> {
    let Ok((head, _)) = Head::read_from_prefix(bytes) else {
        return Ok(size_of::<Head>());
    };
    let slots = match Kind::from_number(head.kind) {
        Some(Kind::Message) => size_of::<Message>() / SLOT_LEN,
        Some(Kind::Control) => size_of::<ControlRecord>() / SLOT_LEN,
        Some(_) => size_of::<Step>() / SLOT_LEN,
        None => 0,
    };
    if slots == 0 || slots != usize::from(head.slots) {
        return Err(ReplayError::Unreadable { sequence });
    }
    Ok(slots * SLOT_LEN)
}
