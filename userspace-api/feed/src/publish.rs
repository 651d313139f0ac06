//! The feed's packets: what a translator makes, on all lines, and no packet before it can be had again.
//!
//! Always true: a batch is in the history before its packet is sent; packets of a session follow each other; a quiet session
//! sends a heartbeat as often as it was told.

use crate::batch::Batch;
use crate::counters::{Counters, add};
use crate::follow::Note;
use crate::history::History;
use crate::line::Line;
use crate::translate::Sink;
use ring0_itch::mold::{HEADER, PacketBuilder, Session, end_of_session, heartbeat};
use std::io;
use std::net::UdpSocket;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How packets are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PacketOptions {
    /// Bytes of a payload at most.
    pub payload_max: usize,
    /// Longest that a message waits for others in its packet.
    pub flush_after: Duration,
    /// A session that sent nothing for so long sends a heartbeat.
    pub heartbeat: Duration,
    /// How often the end of a session is said, once a heartbeat's time.
    pub end_repeats: u32,
    /// Routers that a packet passes, plus one.
    pub ttl: u32,
}

impl Default for PacketOptions {
    /// 1,400 bytes, which leave room for a tunnel; 100 µs; a heartbeat a second; the end said 30 times; the local net.
    fn default() -> Self {
        PacketOptions {
            payload_max: 1400,
            flush_after: Duration::from_micros(100),
            heartbeat: Duration::from_secs(1),
            end_repeats: 30,
            ttl: 1,
        }
    }
}

/// A session that has ended and says so for a while.
struct Ended {
    session: Session,
    next: u64,
    repeats: u32,
    last: Instant,
}

/// Makes packets and sends them on all lines.
pub(crate) struct Publisher {
    lines: Vec<(UdpSocket, Line)>,
    options: PacketOptions,
    packet: Option<PacketBuilder>,
    /// When the first message of the packet came.
    waiting: Option<Instant>,
    last_sent: Instant,
    ended: Vec<Ended>,
    history: Arc<Mutex<History>>,
    follower: Sender<Note>,
    counters: Arc<Counters>,
    /// Whether packets only go into the history: what was published before this process began.
    pub(crate) muted: bool,
}

impl Publisher {
    pub(crate) fn new(
        lines: &[Line],
        options: PacketOptions,
        history: Arc<Mutex<History>>,
        follower: Sender<Note>,
        counters: Arc<Counters>,
    ) -> io::Result<Publisher> {
        let sender = |line: &Line| {
            line.sender(options.ttl)
                .map(|socket| (socket, *line))
                .map_err(|error| io::Error::new(error.kind(), format!("line {line}: {error}")))
        };
        Ok(Publisher {
            lines: lines.iter().map(sender).collect::<io::Result<_>>()?,
            options,
            packet: None,
            waiting: None,
            last_sent: Instant::now(),
            ended: Vec::new(),
            history,
            follower,
            counters,
            muted: false,
        })
    }

    /// Goes on with a session whose next message has this number.
    pub(crate) fn resume(&mut self, session: Session, next: u64) {
        self.packet = Some(PacketBuilder::new(session, next, self.options.payload_max));
    }

    /// Sends what there is of a packet, if its first message has waited long enough, or at once.
    pub(crate) fn flush(&mut self, at_once: bool) {
        let is_due = self
            .waiting
            .is_some_and(|since| at_once || since.elapsed() >= self.options.flush_after);
        if is_due {
            self.send_packet();
        }
    }

    /// Heartbeats of a quiet session, and the ends of those that are over.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        let lines = &self.lines;
        let (options, counters) = (self.options, &self.counters);
        self.ended.retain_mut(|ended| {
            if now.duration_since(ended.last) >= options.heartbeat {
                send(lines, &end_of_session(ended.session, ended.next), counters);
                ended.last = now;
                ended.repeats -= 1;
            }
            ended.repeats != 0
        });
        if let Some(packet) = &self.packet
            && packet.count() == 0
            && now.duration_since(self.last_sent) >= options.heartbeat
        {
            let beat = heartbeat(packet.session(), packet.next_sequence());
            send(lines, &beat, counters);
            add(&self.counters.heartbeats, 1);
            self.last_sent = now;
        }
    }

    fn send_packet(&mut self) {
        let Some(packet) = &mut self.packet else {
            return;
        };
        let (session, first, count) = (packet.session(), packet.sequence(), packet.count());
        if count == 0 {
            return;
        }
        let payload = packet.packet();
        let batch = Arc::new(Batch {
            session,
            first,
            count,
            blocks: payload[HEADER..].to_vec(),
        });
        // A listener may ask for it as soon as the packet is out.
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push(Arc::clone(&batch));
        drop(history);
        // Without a follower there are no snapshots and no journal; the feed goes on.
        let _ = self.follower.send(Note::Batch(batch));
        if !self.muted {
            send(&self.lines, payload, &self.counters);
            add(&self.counters.packets, 1);
            add(&self.counters.messages, count.into());
            self.last_sent = Instant::now();
        }
        packet.begin_next();
        self.waiting = None;
    }
}

/// One packet on all lines. A line that does not take it has lost it, as a wire would.
fn send(lines: &[(UdpSocket, Line)], payload: &[u8], counters: &Counters) {
    for (socket, line) in lines {
        if socket.send_to(payload, line.group).is_err() {
            add(&counters.line_errors, 1);
        }
    }
}

impl Sink for Publisher {
    fn begin(&mut self, session: Session) {
        self.send_packet();
        self.resume(session, 1);
        let _ = self.follower.send(Note::Begin(session));
    }

    fn message(&mut self, message: &[u8]) {
        let Some(packet) = &mut self.packet else {
            return; // a translator begins before it speaks
        };
        if packet.push(message).is_err() {
            self.send_packet();
            if let Some(packet) = &mut self.packet {
                // An ITCH message fits an empty packet: `Feed::start` has seen to the limit.
                let _ = packet.push(message);
            }
        }
        if self.waiting.is_none() {
            self.waiting = Some(Instant::now());
        }
    }

    fn end(&mut self) {
        self.send_packet();
        if let Some(packet) = self.packet.take() {
            let (session, next) = (packet.session(), packet.next_sequence());
            let _ = self.follower.send(Note::End(session));
            if !self.muted && self.options.end_repeats != 0 {
                send(&self.lines, &end_of_session(session, next), &self.counters);
                self.ended.push(Ended {
                    session,
                    next,
                    repeats: self.options.end_repeats,
                    last: Instant::now(),
                });
            }
        }
    }
}
