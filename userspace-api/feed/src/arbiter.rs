//! A listener's mind: packets of two lines, repeated, reordered and lost, become messages in their order.
//!
//! No socket and no clock: whoever has them hands in packets and the time, and carries out what it [wants](Arbiter::wants).
//! Always true: a message is delivered once, when all before it in its session were; what came early is kept, up to a maximum,
//! of which the farthest is given up first: it can be asked for again.

use ring0_itch::mold::{COUNT_MAX, Kind, Packet, Request, Session};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Sessions remembered as over: a week of days, and one.
const OVER_MAX: usize = 8;

/// Hears what an arbiter delivers.
pub trait Listener {
    /// A session begins, or begins anew from a snapshot: what was known before is void. A snapshot's messages follow with
    /// number 0.
    fn begin(&mut self, session: Session);
    /// The next message. `sequence` is its number in the session; 0: of a snapshot.
    fn message(&mut self, sequence: u64, message: &[u8]);
    /// The session has no more messages, and all were delivered.
    fn end(&mut self, session: Session);
}

/// How an arbiter goes about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ArbiterOptions {
    /// Whether it begins with a snapshot, and takes another where messages cannot be had any more. Otherwise it begins with
    /// the session's first message and asks for whatever it has missed.
    pub snapshots: bool,
    /// Messages kept that came too early.
    pub early_max: usize,
    /// How long a gap may be closed by the other line before anybody is asked.
    pub patience: Duration,
    /// How long an answer may take before it is asked for again.
    pub retry: Duration,
    /// How often in a row a gap is asked for in vain before it counts as lost.
    pub attempts_max: u32,
    /// Messages asked for at once.
    pub request_max: u16,
    /// A session that is silent for so long while another one speaks has ended, whether its end was heard or not.
    pub silence: Duration,
}

impl Default for ArbiterOptions {
    /// From the first message; 1 M messages; 2 ms; 50 ms; 40 attempts, two seconds; 500 messages, as many as the server
    /// answers; 5 seconds.
    fn default() -> Self {
        ArbiterOptions {
            snapshots: false,
            early_max: 1 << 20,
            patience: Duration::from_millis(2),
            retry: Duration::from_millis(50),
            attempts_max: 40,
            request_max: 500,
            silence: Duration::from_secs(5),
        }
    }
}

/// Where a packet came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    /// A line, by its place among the lines.
    Line(usize),
    /// The re-request server.
    Answer,
}

/// What an arbiter counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Heard {
    /// Packets of line A, of line B, and of lines beyond.
    pub packets: [u64; 3],
    /// Packets from the re-request server.
    pub answers: u64,
    /// Packets that are none.
    pub malformed: u64,
    /// Packets of a session that is not the present one.
    pub other_session: u64,
    /// Messages delivered, without those of snapshots.
    pub messages: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Gaps that opened: something came before what should.
    pub gaps: u64,
    /// Requests made.
    pub requests: u64,
    /// Messages that the re-request server gave first.
    pub recovered: u64,
    /// Messages that came too early and were given up, because too many were kept.
    pub given_up: u64,
    /// Gaps that could not be had again.
    pub lost: u64,
    /// Snapshots taken.
    pub snapshots: u64,
}

impl Heard {
    /// All of them with their names.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 14] {
        [
            ("packets_a", self.packets[0]),
            ("packets_b", self.packets[1]),
            ("packets_more", self.packets[2]),
            ("answers", self.answers),
            ("malformed", self.malformed),
            ("other_session", self.other_session),
            ("messages", self.messages),
            ("duplicates", self.duplicates),
            ("gaps", self.gaps),
            ("requests", self.requests),
            ("recovered", self.recovered),
            ("given_up", self.given_up),
            ("lost", self.lost),
            ("snapshots", self.snapshots),
        ]
    }
}

/// What an arbiter wants of its owner.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wants {
    /// Requests to send to the re-request server.
    pub requests: Vec<Request>,
    /// A snapshot to be taken; said once until [`Arbiter::snapshot`] or [`Arbiter::no_snapshot`].
    pub snapshot: bool,
    /// Messages from this number on cannot be had any more, and it takes no snapshots: it waits for ever.
    pub lost: Option<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Nothing was heard, or only what cannot be used yet: a snapshot is wanted.
    WantsSnapshot,
    /// It is being taken.
    TakesSnapshot,
    /// Messages are delivered as they come.
    Live,
}

/// The state machine.
#[derive(Debug)]
pub struct Arbiter {
    options: ArbiterOptions,
    phase: Phase,
    session: Option<Session>,
    /// Sessions that were delivered to their end or left, the latest last: what a slow line still brings of them begins nothing.
    over: VecDeque<Session>,
    /// Number of the message that is delivered next.
    next: u64,
    /// Messages that came before their turn.
    early: BTreeMap<u64, Vec<u8>>,
    /// Number behind the last message that is known to exist.
    known: u64,
    /// The session ends before this number.
    end: Option<u64>,
    /// When the present gap was seen, when it was last asked for, and how often in vain.
    gap: Option<(Duration, Option<Duration>, u32)>,
    /// Number behind the last message that was asked for.
    asked_to: u64,
    /// When the session was last heard.
    heard_at: Duration,
    heard: Heard,
}

impl Arbiter {
    /// One that has heard nothing.
    #[must_use]
    pub fn new(options: ArbiterOptions) -> Arbiter {
        Arbiter {
            options,
            phase: if options.snapshots {
                Phase::WantsSnapshot
            } else {
                Phase::Live
            },
            session: None,
            over: VecDeque::new(),
            next: 1,
            early: BTreeMap::new(),
            known: 1,
            end: None,
            gap: None,
            asked_to: 0,
            heard_at: Duration::ZERO,
            heard: Heard::default(),
        }
    }

    /// The counters.
    #[must_use]
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Number of the message that is delivered next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether everything that is known to exist was delivered.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.phase == Phase::Live && self.next == self.known && self.session.is_some()
    }

    /// The present session.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.session
    }

    /// Takes a packet.
    pub fn packet(
        &mut self,
        payload: &[u8],
        from: Via,
        now: Duration,
        listener: &mut dyn Listener,
    ) {
        match from {
            Via::Line(line) => self.heard.packets[line.min(2)] += 1,
            Via::Answer => self.heard.answers += 1,
        }
        let Ok(packet) = Packet::read(payload) else {
            self.heard.malformed += 1;
            return;
        };
        if !self.is_present(&packet, from, now, listener) {
            self.heard.other_session += 1;
            return;
        }
        self.heard_at = now;
        self.known = self.known.max(packet.next_sequence());
        if packet.kind() == Kind::EndOfSession {
            self.end = Some(packet.next_sequence());
        }
        for (sequence, message) in packet.messages() {
            let is_new = self.take(sequence, message, listener);
            self.heard.recovered += u64::from(is_new && from == Via::Answer);
        }
        self.settle(now, listener);
    }

    /// Whether a packet is of the present session, or begins the first or next one.
    fn is_present(
        &mut self,
        packet: &Packet<'_>,
        from: Via,
        now: Duration,
        listener: &mut dyn Listener,
    ) -> bool {
        if self.session == Some(packet.session()) {
            return true;
        }
        // An end is all that is left to hear of a session whose few packets were lost: its messages can be asked for, but
        // there will be no snapshot of it.
        let is_late = packet.kind() == Kind::EndOfSession
            && (self.options.snapshots || packet.next_sequence() == 1);
        if is_late || from == Via::Answer || self.over.contains(&packet.session()) {
            return false;
        }
        if self.session.is_some() {
            if now.saturating_sub(self.heard_at) < self.options.silence {
                return false;
            }
            self.heard.lost += u64::from(self.next < self.known);
        }
        self.enter(packet.session(), now, listener);
        true
    }

    /// The present session is over.
    fn leave(&mut self) {
        self.over.extend(self.session.take());
        if self.over.len() > OVER_MAX {
            self.over.pop_front();
        }
    }

    /// Goes over to a session.
    fn enter(&mut self, session: Session, now: Duration, listener: &mut dyn Listener) {
        self.leave();
        self.session = Some(session);
        self.early.clear();
        (self.next, self.known, self.end, self.gap) = (1, 1, None, None);
        self.heard_at = now;
        if self.phase == Phase::Live {
            listener.begin(session);
        }
    }

    /// Takes a message; whether it is new.
    fn take(&mut self, sequence: u64, message: &[u8], listener: &mut dyn Listener) -> bool {
        if self.phase == Phase::Live && sequence == self.next {
            self.next += 1;
            self.heard.messages += 1;
            listener.message(sequence, message);
            return true;
        }
        if sequence < self.next || self.early.contains_key(&sequence) {
            self.heard.duplicates += 1;
            return false;
        }
        self.early.insert(sequence, message.to_vec());
        if self.early.len() > self.options.early_max {
            self.heard.given_up += 1;
            // A snapshot will be newer than the oldest; live, the newest can be asked for when its turn comes.
            let given_up = if self.phase == Phase::Live {
                self.early.pop_last()
            } else {
                self.early.pop_first()
            };
            return given_up.is_none_or(|(at, _)| at != sequence);
        }
        true
    }

    /// Delivers what has come to its turn; sees gaps and ends.
    fn settle(&mut self, now: Duration, listener: &mut dyn Listener) {
        if self.phase != Phase::Live {
            return;
        }
        let before = self.next;
        while let Some(entry) = self.early.first_entry() {
            match entry.key().cmp(&self.next) {
                std::cmp::Ordering::Less => {
                    entry.remove();
                }
                std::cmp::Ordering::Equal => {
                    let message = entry.remove();
                    listener.message(self.next, &message);
                    self.next += 1;
                    self.heard.messages += 1;
                }
                std::cmp::Ordering::Greater => break,
            }
        }
        if self.next >= self.known {
            self.gap = None;
            if let (Some(end), Some(session)) = (self.end, self.session)
                && self.next >= end
            {
                listener.end(session);
                self.leave();
                self.end = None;
            }
        } else if self.gap.is_none() {
            self.gap = Some((now, None, 0));
            self.heard.gaps += 1;
        } else if self.next > before
            && let Some((_, _, attempts)) = &mut self.gap
        {
            *attempts = 0; // what is asked for comes
        }
    }

    /// What it wants now. Ask often: this is also how time passes for it.
    pub fn wants(&mut self, now: Duration) -> Wants {
        let mut wants = Wants::default();
        match self.phase {
            Phase::WantsSnapshot => {
                // The stream is heard first, so that nothing is missing between snapshot and stream.
                if self.session.is_some() {
                    self.phase = Phase::TakesSnapshot;
                    wants.snapshot = true;
                }
            }
            Phase::TakesSnapshot => {}
            Phase::Live => self.close_gap(now, &mut wants),
        }
        wants
    }

    fn close_gap(&mut self, now: Duration, wants: &mut Wants) {
        let (Some((since, asked, attempts)), Some(session)) = (self.gap, self.session) else {
            return;
        };
        let is_due = match asked {
            None => now.saturating_sub(since) >= self.options.patience,
            // The next part of a gap at once when all of the one before has come.
            Some(asked) => {
                self.next >= self.asked_to || now.saturating_sub(asked) >= self.options.retry
            }
        };
        if !is_due {
            return;
        }
        if attempts >= self.options.attempts_max {
            self.heard.lost += u64::from(attempts == self.options.attempts_max);
            if self.options.snapshots {
                self.phase = Phase::TakesSnapshot;
                self.gap = None;
                wants.snapshot = true;
                return;
            }
            wants.lost = Some(self.next);
        }
        self.gap = Some((since, Some(now), attempts.saturating_add(1)));
        // All gaps that are known, nearest first, some at a time.
        let mut from = self.next;
        for at in self.early.keys().copied().chain([self.known]) {
            while from < at && wants.requests.len() < 8 {
                let count = (at - from).min(self.options.request_max.min(COUNT_MAX).into());
                wants.requests.push(Request {
                    session,
                    sequence: from,
                    count: count as u16,
                });
                from += count;
            }
            if wants.requests.len() >= 8 {
                break;
            }
            from = at + 1;
        }
        if let Some(last) = wants.requests.last() {
            self.asked_to = last.sequence + u64::from(last.count);
        }
        self.heard.requests += wants.requests.len() as u64;
    }

    /// Takes the snapshot that it wanted: its messages, and the stream's number to go on with.
    pub fn snapshot<'a>(
        &mut self,
        session: Session,
        messages: impl Iterator<Item = &'a [u8]>,
        next: u64,
        now: Duration,
        listener: &mut dyn Listener,
    ) {
        if self.session != Some(session) {
            self.leave();
            self.early.clear();
            self.known = next;
            self.end = None;
        }
        self.session = Some(session);
        self.heard_at = now;
        self.phase = Phase::Live;
        self.next = next;
        self.known = self.known.max(next);
        self.gap = None;
        self.heard.snapshots += 1;
        listener.begin(session);
        for message in messages {
            listener.message(0, message);
        }
        self.settle(now, listener);
    }

    /// The snapshot could not be had; it will want another.
    pub fn no_snapshot(&mut self) {
        self.phase = Phase::WantsSnapshot;
    }
}
