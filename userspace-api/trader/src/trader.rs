//! The client's side of a session: what is sent, sent again, and answered.
//!
//! Invariants: a client sequence is never given to other content while the packet that has it could
//! still be taken; an answer counts once, and only with the venue's tag, for a packet that waits and
//! with the references that were sent; no more sequences are unanswered than the venue stores
//! answers for. So each message is executed once at the most, and what was executed is learned.
//!
//! What is not answered: sent again by timer. `Hole`: everything from the expected number on is sent
//! again, once a round trip. `Busy`, `RingFull`, `RateLimited`: the packet waits, then all behind it
//! follow. `Halted` and a sequence that somebody else used are the caller's to decide.
//! Rule: `docs/matching.md#packet-taken-or-not`.

use crate::transport::{Transport, UdpTransport};
use crate::window::{Pending, Window};
use crate::{ANSWERS_MIN, Locate, Order, Reason, Reference, Session};
use ring0_wire::host::{Answer, Inbound, PacketBuilder, Request};
use ring0_wire::outbound::{ACCEPTED, ANSWERED, CONTINUES, NOT_TAKEN, REJECTED};
use ring0_wire::{COUNT_MAX, PAYLOAD_MAX};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Answers taken from the transport before due packets are looked at again. A few packets' worth:
/// fewer would ask the clock for each answer, more would let a timer wait behind a flood.
const BATCH: u32 = 64;

/// Sequences above this are questions for the expected one; no session gets here.
const QUESTIONS: u64 = 1 << 62;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Client sequences that may be unanswered, at most the session's stored answers.
    pub window: u32,
    /// How long the first answer is waited for before a packet is sent again; from then on it is
    /// measured. Far below a round trip everything is sent twice; far above a lost packet stalls.
    pub resend_first: Duration,
    /// Shortest and longest wait before a packet is sent again; it doubles from wait to wait.
    pub resend: (Duration, Duration),
    /// Shortest and longest wait after `Busy`, `RingFull` and `RateLimited`; it doubles too.
    pub back_off: (Duration, Duration),
    /// How long a packet is tried before [`TraderError::NoAnswer`].
    pub patience: Duration,
}

impl Options {
    /// The usual waits, and the window of this session.
    #[must_use]
    pub fn of(session: &Session) -> Options {
        Options {
            window: session.answers(),
            resend_first: Duration::from_millis(20),
            resend: (Duration::from_millis(1), Duration::from_millis(250)),
            back_off: (Duration::from_micros(50), Duration::from_millis(20)),
            patience: Duration::from_secs(5),
        }
    }
}

/// What the venue did with a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// Taken and done.
    Accepted,
    /// Taken and rejected, see the reason.
    Rejected,
    /// Taken; more follows by itself, the quantity is what was done so far.
    Continues,
    /// Taken so long ago that its answer is no longer stored.
    Forgotten,
}

/// The answer to one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ack {
    /// Client sequence of the message.
    pub sequence: u64,
    /// Venue sequence of its record; 0 when it is [`Outcome::Forgotten`].
    pub venue_sequence: u64,
    /// Reference of the order, of a replacement the new one.
    pub reference: Reference,
    /// Shares filled, cancelled or reduced; for a mass cancel orders; of a misdirected message the [port](Ack::port).
    pub quantity: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// The number of the reason, 0 for none.
    pub reason_number: u8,
}

impl Ack {
    /// The reason by name; `None` for a number that this version does not know.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_number(self.reason_number)
    }

    /// UDP port of the shard that trades the instrument, where the message was rejected because this one does not.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let is_misdirected =
            self.outcome == Outcome::Rejected && self.reason_number == Reason::WrongShard as u8;
        is_misdirected
            .then(|| u16::try_from(self.quantity).ok())
            .flatten()
    }

    /// The ack as a result: its rejection as an error that says what to do.
    ///
    /// # Errors
    /// The message was rejected.
    pub fn accepted(&self) -> Result<&Ack, Rejection> {
        match (self.outcome, self.port()) {
            (Outcome::Rejected, Some(port)) => Err(Rejection::WrongShard { port }),
            (Outcome::Rejected, None) => Err(Rejection::Refused {
                number: self.reason_number,
            }),
            _ => Ok(self),
        }
    }
}

/// Why the venue rejected a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// Another shard trades the instrument.
    #[error(
        "another shard trades this instrument: send to UDP port {port} of the venue, with a session of that shard"
    )]
    WrongShard {
        /// The other shard's port.
        port: u16,
    },
    /// See the reason.
    #[error("{}", Reason::from_number(*number).map_or_else(
        || format!("the reason has number {number}, which this version does not know; take the venue's"),
        |reason| format!("{}: {}", reason.name(), reason.help().trim())
    ))]
    Refused {
        /// The reason's number.
        number: u8,
    },
}

/// Where a packet stands in the client sequence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Client sequence of its first message.
    pub sequence: u64,
    /// Client sequence after it: its messages and the tag block.
    pub next: u64,
}

/// What [`Trader::adopt`] found.
#[derive(Debug)]
pub struct Adopted {
    /// The client sequence that the venue expects, from which this trader goes on.
    pub expected: u64,
    /// Messages of this trader that were not taken and are no longer sent, in order.
    pub dropped: Vec<Order>,
}

/// Counters of a trader, from its beginning.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Packets, each once.
    pub packets: u64,
    /// Packets sent once more.
    pub resends: u64,
    /// Packets that got their answer.
    pub answered: u64,
    /// Answers to packets that had theirs already.
    pub duplicates: u64,
    /// Packets received that are no answer, or not to this session.
    pub strange: u64,
    /// Answers whose tag is wrong.
    pub forged: u64,
    /// Answers `Hole`.
    pub holes: u64,
    /// Answers `Busy`, `RingFull` and `RateLimited`.
    pub refusals: u64,
}

/// Why a trader stops and asks.
#[derive(Debug, thiserror::Error)]
pub enum TraderError {
    /// The transport is closed for good.
    #[error("the way to the venue is closed; check address and network, then connect again: {0}")]
    Closed(#[from] io::Error),
    /// No room for the packet now; nothing was sent.
    #[error(
        "{unanswered} client sequences are unanswered and the window is {window}; poll until some are, then send again"
    )]
    WindowFull {
        /// Client sequences from the first unanswered one.
        unanswered: u64,
        /// How many there may be.
        window: u32,
    },
    /// More messages than fit one packet; nothing was sent.
    #[error("{messages} messages do not fit one packet; send fewer, or submit, which cuts them")]
    PacketFull {
        /// How many were given.
        messages: usize,
    },
    /// A message with a letter that is none; nothing was sent.
    #[error("message {index} has a letter that is no message's; make it by the functions of Order")]
    NotAMessage {
        /// Which of those given, from 0.
        index: usize,
    },
    /// References ran out; nothing was sent.
    #[error("the session has used its 2^32 references; ask the operator for a new grant")]
    ReferencesUsed,
    /// Nothing came in all the time given. The packets stay; the next poll sends them again.
    #[error(
        "no answer to client sequence {sequence} in {tries} tries{}; {}; poll to go on trying, or adopt to see where the session stands",
        .heard.map(|reason| format!(", the last was {}", reason.name())).unwrap_or_default(),
        .heard.map_or(
            "check that the shard runs, that address and port are its own and that the key is the session's (a packet with a wrong key gets no answer)",
            |reason| reason.help().trim()
        )
    )]
    NoAnswer {
        /// First client sequence of the packet.
        sequence: u64,
        /// How often it was sent.
        tries: u32,
        /// What the venue said last, if anything.
        heard: Option<Reason>,
    },
    /// The shard is halted. The packets stay; a poll sends them again, adopt drops them.
    #[error(
        "the shard is halted: client sequence {sequence} was not taken; poll to go on trying until it is resumed, or adopt to drop what was not taken"
    )]
    Halted {
        /// First client sequence of the packet.
        sequence: u64,
    },
    /// The venue's client sequence is not where this trader's packets are.
    #[error(
        "the venue expects client sequence {expected} within or behind packets of this trader: the session was used by somebody else or before; adopt, and use a session in one place only"
    )]
    Moved {
        /// The venue's number.
        expected: u64,
    },
    /// The answer is to other messages than those sent.
    #[error(
        "client sequence {sequence} was answered for other references than those sent: the session was used by somebody else or before; adopt, and use a session in one place only"
    )]
    Foreign {
        /// First client sequence of the packet.
        sequence: u64,
    },
}

/// A session in use.
#[derive(Debug)]
pub struct Trader<T: Transport> {
    session: Session,
    transport: T,
    options: Options,
    /// Client sequence of the next packet.
    next: u64,
    /// Last reference brought into use.
    reference: u32,
    window: Window,
    /// No packet is due before this.
    due: Duration,
    /// Smoothed round trip of packets that were sent once.
    round_trip: Option<Duration>,
    /// Smoothed distance of a round trip from that.
    variation: Duration,
    /// Waits that ended without an answer since that was last measured: later packets wait as much longer, or each would be sent twice on a way that
    /// has become slower, which tells nothing of it and makes it slower still.
    patient: u32,
    /// The expected number that was answered with a resend, and until when it is not again.
    hole: (u64, Duration),
    /// Acks that came while something else was waited for.
    early: Vec<Ack>,
    stats: Stats,
}

impl Trader<UdpTransport> {
    /// A trader over UDP.
    ///
    /// # Errors
    /// No socket, or no route to the address.
    pub fn connect(session: Session, venue: SocketAddr) -> Result<Self, TraderError> {
        Ok(Trader::new(session, UdpTransport::connect(venue)?))
    }
}

impl<T: Transport> Trader<T> {
    /// A trader of a session that was not used yet; else [`Trader::adopt`] comes first.
    #[must_use]
    pub fn new(session: Session, transport: T) -> Trader<T> {
        let options = Options::of(&session);
        Trader {
            session,
            transport,
            options,
            next: 1,
            reference: 0,
            window: Window::default(),
            due: Duration::MAX,
            round_trip: None,
            variation: Duration::ZERO,
            patient: 0,
            hole: (0, Duration::ZERO),
            early: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// With other waits or another window.
    ///
    /// # Panics
    /// With a window in which a message and its tag block have no room.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Trader<T> {
        assert!(options.window >= 2, "a message and its tag block take two");
        self.options = options;
        self
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// The transport alone: the end of this trader. What is unanswered is not sent again.
    #[must_use]
    pub fn into_transport(self) -> T {
        self.transport
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Packets that are not answered yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.window.unanswered()
    }

    /// Client sequence of the next packet.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Smoothed time from packet to answer; `None` before the first.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// References given from now on are above this one. For a session whose earlier references were
    /// the sender's own; those that a trader gave are never above the client sequence.
    pub fn references_above(&mut self, last: Reference) {
        self.reference = self.reference.max(last.0);
    }

    /// Sends orders and waits until every one is answered; their acks in the same order. Cut into as
    /// many packets as needed, as many at a time as the window holds.
    ///
    /// # Errors
    /// As [`Trader::send`] and [`Trader::poll`]; acks that came before go to the next poll, and what
    /// is not answered stays in flight.
    pub fn submit(&mut self, orders: &[Order]) -> Result<Vec<Ack>, TraderError> {
        let begin = self.next;
        let mut acks = Vec::with_capacity(orders.len());
        let mut rest = orders.to_vec();
        let sent = self.submit_into(&mut rest, &mut acks);
        // Sequences only move up, so what is below belongs to packets sent before.
        let (own, before): (Vec<Ack>, Vec<Ack>) =
            acks.into_iter().partition(|ack| ack.sequence >= begin);
        self.early.extend(before);
        if let Err(error) = sent {
            self.early.extend(own);
            return Err(error);
        }
        let mut own = own;
        own.sort_unstable_by_key(|ack| ack.sequence);
        assert_eq!(own.len(), orders.len(), "every order has one answer");
        Ok(own)
    }

    fn submit_into(
        &mut self,
        mut orders: &mut [Order],
        acks: &mut Vec<Ack>,
    ) -> Result<(), TraderError> {
        let messages_max = usize::from(COUNT_MAX).min(self.options.window as usize) - 1;
        while !orders.is_empty() {
            let mut len = orders.len().min(messages_max);
            let sent = loop {
                match self.send(&mut orders[..len]) {
                    Err(TraderError::PacketFull { .. }) => len -= 1,
                    Err(TraderError::WindowFull { .. }) => self.wait(acks)?,
                    sent => break sent,
                }
            };
            sent?;
            orders = &mut orders[len..];
        }
        while !self.window.is_empty() {
            self.wait(acks)?;
        }
        Ok(())
    }

    /// Waits for answers, for as long as patience lasts.
    fn wait(&mut self, acks: &mut Vec<Ack>) -> Result<(), TraderError> {
        self.poll_transport(self.options.patience, acks)
    }

    /// Sends one packet without waiting for its answer. Orders without a reference get theirs in
    /// place.
    ///
    /// # Errors
    /// No room in window or packet, and then nothing was sent; or the transport is closed.
    pub fn send(&mut self, orders: &mut [Order]) -> Result<Sent, TraderError> {
        let sequence = self.next;
        let first = self.window.first().unwrap_or(sequence);
        let count = orders.len() as u64 + 1;
        if sequence - first + count > u64::from(self.options.window) {
            return Err(TraderError::WindowFull {
                unanswered: sequence - first,
                window: self.options.window,
            });
        }
        let mut last = self.reference;
        let mut references = Vec::with_capacity(orders.len());
        let mut builder = PacketBuilder::new(self.session.id(), sequence);
        for (index, order) in orders.iter().enumerate() {
            let mut order = *order;
            let takes = order.takes_reference();
            let own = order.own_reference();
            if takes {
                if *own == 0 {
                    // At or below its own sequence while references are given here: so a restarted
                    // client learns from the sequence alone where to go on.
                    let at = u32::try_from(sequence + index as u64).ok();
                    *own = at
                        .zip(last.checked_add(1))
                        .map(|(at, above)| at.max(above))
                        .ok_or(TraderError::ReferencesUsed)?;
                }
                last = last.max(*own);
            }
            references.push(*own);
            let message =
                Inbound::from_message(order.message()).ok_or(TraderError::NotAMessage { index })?;
            builder
                .push(&message)
                .map_err(|_| TraderError::PacketFull {
                    messages: orders.len(),
                })?;
        }
        // Decided; from here on the packet exists.
        for (order, &reference) in orders.iter_mut().zip(&references) {
            *order.own_reference() = reference;
        }
        self.reference = last;
        self.next = builder.next_sequence();
        let packet = builder.sign(self.session.key());
        let now = self.transport.now();
        let due = now + self.resend_after(self.patient);
        self.window.push(Pending {
            sequence,
            count: count as u16, // at most 69: the builder took the messages
            packet,
            references,
            since: now,
            sent: now,
            due,
            sends: 1,
            waits: self.patient,
            heard: None,
            backs_off: false,
            foreign: false,
            done: false,
        });
        self.due = self.due.min(due);
        self.stats.packets += 1;
        let last = self.window.len() - 1;
        self.transport.send(&self.window.at(last).packet)?;
        Ok(Sent {
            sequence,
            next: self.next,
        })
    }

    /// Sends a packet without messages: says that this client is there and takes one client
    /// sequence. Its answer has no ack, and when it is not taken no reason: in a halted shard it is
    /// tried until [`TraderError::NoAnswer`].
    ///
    /// # Errors
    /// As [`Trader::send`].
    pub fn heartbeat(&mut self) -> Result<Sent, TraderError> {
        self.send(&mut [])
    }

    /// Takes answers, waiting for the first one `wait` at the most, and sends again what is due.
    /// Appends the acks in the order in which they came; returns how many. Does not wait when
    /// nothing is unanswered.
    ///
    /// # Errors
    /// The caller has to decide something; see each error.
    pub fn poll(&mut self, wait: Duration, acks: &mut Vec<Ack>) -> Result<usize, TraderError> {
        let before = acks.len();
        acks.append(&mut self.early);
        let wait = if acks.len() > before {
            Duration::ZERO
        } else {
            wait
        };
        self.poll_transport(wait, acks)?;
        Ok(acks.len() - before)
    }

    fn poll_transport(&mut self, wait: Duration, acks: &mut Vec<Ack>) -> Result<(), TraderError> {
        let mut bytes = [0; PAYLOAD_MAX];
        let mut now = self.transport.now();
        let end = now.saturating_add(wait);
        let answered = self.stats.answered;
        while !self.window.is_empty() {
            self.resend_due(now)?;
            let until = end.min(self.due).saturating_sub(now);
            if let Some(len) = self.transport.receive(&mut bytes, until)? {
                self.take(&bytes[..len], acks)?;
                for _ in 1..BATCH {
                    match self.transport.receive(&mut bytes, Duration::ZERO)? {
                        Some(len) => self.take(&bytes[..len], acks)?,
                        None => break,
                    }
                }
            }
            now = self.transport.now();
            if self.stats.answered > answered || now >= end {
                break;
            }
        }
        Ok(())
    }

    /// Learns the client sequence that the venue expects and goes on from there: at the start of a
    /// program whose session was used before, and after [`TraderError::Moved`],
    /// [`TraderError::Foreign`] or [`TraderError::Halted`]. Own packets that were taken stay, to get
    /// their answers; those that were not are dropped and handed back.
    ///
    /// Changes nothing at the venue. References go on above the expected sequence; a session whose
    /// references were the sender's own needs [`Trader::references_above`] too.
    ///
    /// # Errors
    /// No answer in all the time given, a shard stopped by a fault ([`TraderError::Halted`]), or the
    /// transport is closed.
    pub fn adopt(&mut self) -> Result<Adopted, TraderError> {
        let mut acks = Vec::new();
        let expected = self.ask(&mut acks);
        self.early.append(&mut acks);
        let expected = expected?;

        let mut dropped = Vec::new();
        for packet in self.window.cut(expected) {
            let request = Request::read(&packet.packet).expect("this trader made it");
            let messages = request.messages.iter().filter_map(|one| one.check().ok());
            dropped.extend(messages.map(Order::from_message));
        }
        self.next = expected;
        let below = u32::try_from(expected - 1).unwrap_or(u32::MAX);
        self.reference = self.reference.max(below);
        self.hole = (0, Duration::ZERO);
        Ok(Adopted { expected, dropped })
    }

    /// Asks until the answer is there; the client sequence that the venue expects.
    ///
    /// The question is a packet far above any sequence, so it is a hole and never taken, whatever
    /// else holds at the venue. Its own sequence is random and comes back in the answer: no earlier
    /// answer can be mistaken for it, as one to a packet without messages could.
    fn ask(&mut self, acks: &mut Vec<Ack>) -> Result<u64, TraderError> {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(io::Error::from)?;
        let question = QUESTIONS | u64::from_le_bytes(random) >> 2;
        let mut builder = PacketBuilder::new(self.session.id(), question);
        let nothing = Order::cancel(Locate(0), Reference(1));
        let nothing = Inbound::from_message(nothing.message()).expect("a cancel is a message");
        builder.push(&nothing).expect("an empty packet has room");
        let packet = builder.sign(self.session.key());

        let begin = self.transport.now();
        if !self.window.is_empty() {
            // Copies on their way arrive first, or they could be taken after they were handed back.
            let (_, longest) = self.options.back_off;
            let linger = self.round_trip.unwrap_or_default() * 4;
            self.listen(begin + longest.max(linger), question, acks)?;
        }
        let mut tries = 0;
        let mut now = self.transport.now();
        let end = now + self.options.patience;
        while now < end {
            self.transport.send(&packet)?;
            let due = now + self.resend_after(tries);
            tries += 1;
            if let Some(expected) = self.listen(due, question, acks)? {
                return Ok(expected);
            }
            now = self.transport.now();
        }
        Err(TraderError::NoAnswer {
            sequence: question,
            tries,
            heard: None,
        })
    }

    /// Takes answers until `end`, or until the one to `question`.
    fn listen(
        &mut self,
        end: Duration,
        question: u64,
        acks: &mut Vec<Ack>,
    ) -> Result<Option<u64>, TraderError> {
        let mut bytes = [0; PAYLOAD_MAX];
        let mut now = self.transport.now();
        while now < end {
            if let Some(len) = self.transport.receive(&mut bytes, end - now)?
                && let Some(answer) = self.read(&bytes[..len])
            {
                match answer.acks.first() {
                    Some(ack) if answer.sequence == question => {
                        match Reason::from_number(ack.reason) {
                            Some(Reason::Hole) => return Ok(Some(ack.sequence)),
                            Some(Reason::Halted) => {
                                return Err(TraderError::Halted { sequence: question });
                            }
                            _ => {} // busy: asked again when due
                        }
                    }
                    // Nothing is sent again now: such a copy could be taken after its orders were handed back.
                    Some(ack) if ack.result == NOT_TAKEN => {}
                    // What a packet's answer asks of the caller is settled by adopting.
                    _ => drop(self.apply(&answer, acks)),
                }
            }
            now = self.transport.now();
        }
        Ok(None)
    }

    /// An answer to this session with a good tag; anything else is counted.
    fn read(&mut self, bytes: &[u8]) -> Option<Answer> {
        match Answer::read(bytes, self.session.key()) {
            Ok(answer) if answer.session == self.session.id() => Some(answer),
            Err(ring0_wire::host::AnswerError::Forged) => {
                self.stats.forged += 1;
                None
            }
            Ok(_) | Err(_) => {
                self.stats.strange += 1;
                None
            }
        }
    }

    fn take(&mut self, bytes: &[u8], acks: &mut Vec<Ack>) -> Result<(), TraderError> {
        match self.read(bytes) {
            Some(answer) => self.apply(&answer, acks),
            None => Ok(()),
        }
    }

    fn apply(&mut self, answer: &Answer, acks: &mut Vec<Ack>) -> Result<(), TraderError> {
        let Some(first) = answer.acks.first() else {
            self.apply_heartbeat(answer.sequence);
            return Ok(());
        };
        let place = self.window.place(answer.sequence).filter(|&place| {
            let packet = self.window.at(place);
            !packet.done && packet.references.len() == answer.acks.len()
        });
        let Some(place) = place else {
            self.stats.duplicates += 1;
            return Ok(());
        };
        if first.result == NOT_TAKEN {
            return self.not_taken(place, first.reason, first.sequence);
        }
        let echoed = answer.acks.iter().map(|ack| ack.reference);
        if !echoed.eq(self.window.at(place).references.iter().copied()) {
            self.window.at(place).foreign = true;
            return Err(TraderError::Foreign {
                sequence: answer.sequence,
            });
        }
        for (sequence, ack) in (answer.sequence..).zip(&answer.acks) {
            let outcome = match ack.result {
                ACCEPTED => Outcome::Accepted,
                CONTINUES => Outcome::Continues,
                ANSWERED => Outcome::Forgotten,
                _ => {
                    debug_assert_eq!(ack.result, REJECTED);
                    Outcome::Rejected
                }
            };
            acks.push(Ack {
                sequence,
                venue_sequence: ack.sequence,
                reference: Reference(ack.reference),
                quantity: ack.quantity,
                outcome,
                reason_number: ack.reason,
            });
        }
        self.finish(place);
        Ok(())
    }

    /// The answer to a packet without messages: its header says what the venue expects, which is
    /// above every heartbeat that was taken.
    fn apply_heartbeat(&mut self, expected: u64) {
        let mut found = false;
        let mut place = 0;
        while place < self.window.len() {
            let packet = self.window.at(place);
            if packet.sequence >= expected {
                break;
            }
            if packet.references.is_empty() && !packet.done {
                found = true;
                let before = self.window.len();
                self.finish(place);
                if self.window.len() < before {
                    place = 0; // those in front have left
                    continue;
                }
            }
            place += 1;
        }
        if found {
            return;
        }
        match self.window.place(expected) {
            // Not taken, and nothing says why: tried again as if the venue were busy.
            Some(place) if self.window.at(place).references.is_empty() => {
                self.stats.refusals += 1;
                let now = self.transport.now();
                self.back_off(place, Reason::None, now);
            }
            _ => self.stats.duplicates += 1,
        }
    }

    fn finish(&mut self, place: usize) {
        let now = self.transport.now();
        let packet = self.window.at(place);
        if packet.sends == 1 {
            // A packet that was sent twice does not say which copy was answered.
            let took = now.saturating_sub(packet.sent);
            self.patient = 0;
            let (smoothed, variation) = match self.round_trip {
                Some(before) => (
                    (before * 7 + took) / 8,
                    (self.variation * 3 + took.abs_diff(before)) / 4,
                ),
                None => (took, took / 2),
            };
            (self.round_trip, self.variation) = (Some(smoothed), variation);
        }
        self.window.finish(place);
        self.stats.answered += 1;
    }

    /// The packet at `place` changed nothing, and this is why.
    fn not_taken(&mut self, place: usize, reason: u8, expected: u64) -> Result<(), TraderError> {
        let now = self.transport.now();
        match Reason::from_number(reason) {
            Some(Reason::Hole) => {
                self.stats.holes += 1;
                self.window.at(place).heard = Some(Reason::Hole);
                let Some(missing) = self.window.place(expected) else {
                    // Below the first is an old answer on a slow way. Inside a packet, or behind
                    // one that it should be before, nobody but another sender can have brought it.
                    return match self.window.first() {
                        Some(first) if expected > first => Err(TraderError::Moved { expected }),
                        _ => Ok(()),
                    };
                };
                if self.window.at(missing).done {
                    return Ok(()); // an old answer too
                }
                self.fill(missing, place, now)
            }
            Some(Reason::Straddle) => {
                // Only a packet that is alone can be given other numbers: a copy of a later one may
                // be on its way and be taken under the old ones.
                let packet = self.window.at(place);
                let begins_inside = packet.sequence < expected && expected < packet.end();
                if self.window.len() == 1 && begins_inside {
                    self.renumber(expected, now)
                } else {
                    Err(TraderError::Moved { expected })
                }
            }
            Some(reason @ (Reason::Busy | Reason::RingFull | Reason::RateLimited)) => {
                self.stats.refusals += 1;
                self.back_off(place, reason, now);
                Ok(())
            }
            Some(Reason::Halted) => {
                self.back_off(place, Reason::Halted, now);
                Err(TraderError::Halted {
                    sequence: self.window.at(place).sequence,
                })
            }
            // A reason of a later version: not taken is not taken, so it is tried again.
            other => {
                self.back_off(place, other.unwrap_or(Reason::None), now);
                Ok(())
            }
        }
    }

    /// Sends everything from the missing packet on, unless it waits or was sent a moment ago.
    fn fill(&mut self, missing: usize, behind: usize, now: Duration) -> Result<(), TraderError> {
        let first = self.window.at(missing);
        let (sequence, due) = (first.sequence, first.due);
        if first.backs_off && now < due {
            let packet = self.window.at(behind);
            packet.due = packet.due.max(due);
            return Ok(());
        }
        if self.hole.0 == sequence && now < self.hole.1 {
            return Ok(());
        }
        self.resend_from(missing, now)
    }

    fn resend_from(&mut self, place: usize, now: Duration) -> Result<(), TraderError> {
        // Other packets of the same flight will report the same hole for one round trip.
        let guard = self
            .round_trip
            .unwrap_or(self.options.resend_first)
            .max(Duration::from_micros(100));
        self.hole = (self.window.at(place).sequence, now + guard);
        for place in place..self.window.len() {
            let packet = self.window.at(place);
            if !packet.done && !packet.foreign {
                self.resend(place, now)?;
            }
        }
        Ok(())
    }

    /// Sends the packet at `place` once more.
    fn resend(&mut self, place: usize, now: Duration) -> Result<(), TraderError> {
        let waits = self.window.at(place).waits;
        let due = now + self.resend_after(waits);
        let packet = self.window.at(place);
        if now >= packet.since + self.options.patience {
            let error = TraderError::NoAnswer {
                sequence: packet.sequence,
                tries: packet.sends,
                heard: packet.heard.filter(|&reason| reason != Reason::None),
            };
            self.window.begin_anew(now);
            return Err(error);
        }
        packet.sent = now;
        packet.due = due;
        packet.backs_off = false;
        packet.sends = packet.sends.saturating_add(1);
        self.due = self.due.min(due);
        self.stats.resends += 1;
        self.transport.send(&packet.packet)?;
        Ok(())
    }

    /// The packet at `place` is to be sent later, and those behind it after it.
    fn back_off(&mut self, place: usize, reason: Reason, now: Duration) {
        let (shortest, longest) = self.options.back_off;
        let packet = self.window.at(place);
        packet.heard = Some(reason);
        packet.backs_off = true;
        packet.due = now + doubled(shortest, packet.waits, longest);
        packet.waits = packet.waits.saturating_add(1);
        self.due = self.due.min(packet.due);
    }

    /// Sends what is due, and finds the next time at which something is.
    fn resend_due(&mut self, now: Duration) -> Result<(), TraderError> {
        if now < self.due {
            return Ok(());
        }
        for place in 0..self.window.len() {
            let packet = self.window.at(place);
            if packet.done || now < packet.due {
                continue;
            }
            if packet.foreign {
                return Err(TraderError::Foreign {
                    sequence: packet.sequence,
                });
            }
            if packet.backs_off {
                // Those behind it were refused as a hole meanwhile.
                self.resend_from(place, now)?;
                break;
            }
            packet.waits = packet.waits.saturating_add(1);
            self.patient = self.patient.max(packet.waits);
            self.resend(place, now)?;
        }
        self.due = self
            .window
            .iter()
            .filter(|packet| !packet.done)
            .map(|packet| packet.due)
            .min()
            .unwrap_or(Duration::MAX);
        Ok(())
    }

    /// Gives the only packet the sequence that the venue expects.
    fn renumber(&mut self, expected: u64, now: Duration) -> Result<(), TraderError> {
        let packet = self.window.at(0);
        let request = Request::read(&packet.packet).expect("this trader made it");
        let mut builder = PacketBuilder::new(self.session.id(), expected);
        for message in &request.messages {
            builder.push(message).expect("it had room before");
        }
        packet.sequence = expected;
        self.next = builder.next_sequence();
        packet.packet = builder.sign(self.session.key());
        self.resend(0, now)
    }

    /// How long an answer is waited for after this many waits in a row.
    fn resend_after(&self, waits: u32) -> Duration {
        let (shortest, longest) = self.options.resend;
        let first = match self.round_trip {
            Some(smoothed) => (smoothed * 4)
                .max(smoothed + self.variation * 4)
                .max(shortest),
            None => self.options.resend_first,
        };
        doubled(first, waits, longest)
    }
}

/// `first`, doubled `times`, at most `longest`.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(20)).min(longest)
}

const _: () = assert!(
    COUNT_MAX as u32 <= ANSWERS_MIN,
    "the smallest window holds the largest packet"
);
