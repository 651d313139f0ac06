//! Packets that are made already, through one UDP socket in batches, until every one is answered.
//!
//! Invariants: packets leave in their order and no more client sequences are under way than the window has; a packet counts as
//! answered once, by an answer that says it was taken. What is lost or not taken is sent again from there on, and counted.
//! So when a run ends, sent = answered + lost or refused, each by its number.
//!
//! Packets may be of several sessions: what is under way counts for all together, so no session's window is passed.
//!
//! A paced run is an open loop: each packet has a time at which it is to leave, whatever became of those before it, and its answer's latency counts
//! from then. What makes the sender late (a call that takes long, a full window, something sent again) is latency.

use crate::fail::Fail;
use hdrhistogram::Histogram;
use ring0_drive::{Packets, header};
use ring0_laboratory::{Fate, Injected, Shim};
use ring0_rings::BATCH;
use ring0_rings::mmsg::{self, Receiver, Sender};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// How long no answer may come before the oldest packet is sent again: far above a round trip, so that load is not doubled.
const RESEND_AFTER: Duration = Duration::from_millis(20);
/// How long no answer may come before the run fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest latency told apart, ten seconds: no answer may take so long.
const LATENCY_MAX_NS: u64 = 10_000_000_000;

/// Latencies in nanoseconds, to three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("bounds in order")
}

/// When packets are to leave, and how long answers took from then on.
struct Pace {
    begin: Instant,
    /// The packet that the schedule begins with.
    first: usize,
    /// Nanoseconds behind `begin`, packet by packet.
    leaves_ns: Vec<u64>,
    took: Histogram<u64>,
}

impl Pace {
    fn is_due(&self, at: usize) -> bool {
        self.begin.elapsed().as_nanos() as u64 >= self.leaves_ns[at - self.first]
    }

    /// A packet's answer was read at `now`.
    fn answered(&mut self, at: usize, now: Instant) {
        let now = (now - self.begin).as_nanos() as u64;
        self.took
            .saturating_record(now.saturating_sub(self.leaves_ns[at - self.first]));
    }
}

/// Counters of a pump.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Counted {
    /// Packets given to the socket, each time.
    pub(crate) sent: u64,
    /// Packets answered as taken, each once.
    pub(crate) answered: u64,
    /// Answers to what was answered already: the stored answer to a packet sent again.
    pub(crate) answered_again: u64,
    /// Answers that a packet was not taken, by the number of the reason.
    pub(crate) not_taken: BTreeMap<u8, u64>,
    /// Packets sent again because nothing came back.
    pub(crate) resent: u64,
    /// Messages by their first answer's result and reason, where a run asked for them.
    #[serde(skip)]
    pub(crate) results: BTreeMap<(u8, u8), u64>,
}

impl Counted {
    /// Packets sent that nothing came back for: dropped by the shard under a name of its own, or lost on the way.
    pub(crate) fn unanswered(&self) -> u64 {
        let refused: u64 = self.not_taken.values().sum();
        self.sent
            .saturating_sub(self.answered + self.answered_again + refused)
    }
}

/// A window of packets under way.
pub(crate) struct Pump<'a> {
    socket: UdpSocket,
    packets: &'a Packets,
    sender: Sender,
    receiver: Receiver,
    window: u64,
    /// Next packet to send.
    next: usize,
    /// First packet without an answer.
    first: usize,
    /// Whether packets from `first` on are answered, as far as known.
    answered: Vec<bool>,
    /// Client sequences before each packet, of all sessions together.
    before: Vec<u64>,
    shim: Option<Shim>,
    counts_results: bool,
    pace: Option<Pace>,
    /// When the last datagrams were received.
    received_at: Instant,
    /// The counters.
    pub(crate) counted: Counted,
}

impl<'a> Pump<'a> {
    /// Over a connected socket; `window` client sequences may be under way.
    pub(crate) fn new(
        socket: UdpSocket,
        packets: &'a Packets,
        window: u64,
    ) -> Result<Pump<'a>, Fail> {
        socket.set_nonblocking(true)?;
        mmsg::buffers(&socket, 8 << 20)?;
        let mut before = vec![0; packets.len() + 1];
        for at in 0..packets.len() {
            before[at + 1] = before[at] + packets.header(at).1;
        }
        Ok(Pump {
            socket,
            packets,
            sender: Sender::default(),
            receiver: Receiver::default(),
            window,
            next: 0,
            first: 0,
            answered: vec![false; packets.len()],
            before,
            shim: None,
            counts_results: false,
            pace: None,
            received_at: Instant::now(),
            counted: Counted::default(),
        })
    }

    /// From now on this stands between pump and socket.
    pub(crate) fn through(&mut self, shim: Shim) {
        self.shim = Some(shim);
    }

    /// What the shim did so far.
    pub(crate) fn injected(&self) -> Injected {
        self.shim.as_ref().map(|it| it.injected).unwrap_or_default()
    }

    /// From now on every message's result is counted: a walk over each answer, where otherwise its first message speaks for all.
    pub(crate) fn count_results(&mut self) {
        self.counts_results = true;
    }

    /// Sends what comes before packet `end` and waits until all of it is answered. `between` is called between batches with the
    /// number of packets answered so far.
    pub(crate) fn run(
        &mut self,
        end: usize,
        mut between: impl FnMut(usize) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        let mut progress = Instant::now();
        let mut resent_at = progress;
        let mut batches = 0_u32;
        while self.first < end {
            let before = self.first;
            self.send(end)?;
            let received = self.receive()?;
            if self.first != before {
                progress = Instant::now();
                batches = batches.wrapping_add(1);
                if batches.is_multiple_of(4) {
                    between(self.first)?;
                }
                continue;
            }
            if received > 0 {
                continue;
            }
            let now = Instant::now();
            if now - progress > PATIENCE {
                return Err(Fail::new(format!(
                    "packet {} of {end} got no answer for {PATIENCE:?}; counted so far: {:?}",
                    self.first, self.counted
                )));
            }
            if now - progress.max(resent_at) > RESEND_AFTER {
                self.counted.resent += (self.next - self.first) as u64;
                self.next = self.first;
                resent_at = now;
            } else if self.pace.is_none() && !self.may_send(end) {
                self.wait()?;
            }
        }
        between(self.first)
    }

    /// As [`Pump::run`], each packet to leave when its time comes, at so many a second; gives the latencies from then on. The socket is asked without
    /// sleeping.
    pub(crate) fn run_paced(
        &mut self,
        end: usize,
        packets_per_second: f64,
        between: impl FnMut(usize) -> Result<(), Fail>,
    ) -> Result<Histogram<u64>, Fail> {
        let packets = end.saturating_sub(self.next);
        let leaves_ns = (0..packets)
            .map(|number| (number as f64 * 1e9 / packets_per_second) as u64)
            .collect();
        self.run_scheduled(end, leaves_ns, between)
    }

    /// As [`Pump::run_paced`], with a time for each packet, in nanoseconds from the call on.
    pub(crate) fn run_scheduled(
        &mut self,
        end: usize,
        leaves_ns: Vec<u64>,
        between: impl FnMut(usize) -> Result<(), Fail>,
    ) -> Result<Histogram<u64>, Fail> {
        assert!(
            leaves_ns.len() >= end.saturating_sub(self.next),
            "a time for each packet"
        );
        self.pace = Some(Pace {
            begin: Instant::now(),
            first: self.next,
            leaves_ns,
            took: latencies(),
        });
        let ran = self.run(end, between);
        let pace = self.pace.take().expect("put there above");
        ran.map(|()| pace.took)
    }

    /// Sends the next packet and asks for its answer until it is there; gives the time between.
    pub(crate) fn round_trip(&mut self) -> Result<Duration, Fail> {
        let mut bytes = [0; 2048];
        let packet = self.packets.get(self.next);
        let begin = Instant::now();
        self.socket.send(packet)?;
        loop {
            if let Ok(len) = self.socket.recv(&mut bytes) {
                let took = begin.elapsed();
                let answer = bytes.get(..len).filter(|it| it.len() > 25);
                let result = answer.map_or(b'N', |it| it[23]);
                if result == b'N' {
                    return Err(Fail::disagreed("an order of a round trip was not taken"));
                }
                (self.counted.sent, self.counted.answered) =
                    (self.counted.sent + 1, self.counted.answered + 1);
                self.skip_to(self.next + 1);
                return Ok(took);
            }
            if begin.elapsed() > PATIENCE {
                return Err(Fail::new("an order of a round trip got no answer"));
            }
        }
    }

    /// Packets before the first without an answer.
    pub(crate) fn answered_up_to(&self) -> usize {
        self.first
    }

    /// Goes on behind packets that were carried out by other means.
    pub(crate) fn skip_to(&mut self, next: usize) {
        self.answered[self.first..next].fill(true);
        (self.first, self.next) = (next, next);
    }

    fn may_send(&self, end: usize) -> bool {
        if self.next >= end || self.pace.as_ref().is_some_and(|it| !it.is_due(self.next)) {
            return false;
        }
        self.before[self.next + 1] - self.before[self.first] <= self.window
    }

    fn send(&mut self, end: usize) -> Result<(), Fail> {
        self.sender.clear();
        let mut held = None;
        // With a shim up to three packets come of one.
        let most = BATCH - if self.shim.is_some() { 3 } else { 0 };
        while self.sender.len() < most && self.may_send(end) {
            let at = self.next;
            self.next += 1;
            // An answered one between lost ones is not sent again.
            if self.answered[at] {
                continue;
            }
            let packet = self.packets.get(at);
            match self.shim.as_mut().map_or(Fate::Once, Shim::request) {
                Fate::Once => self.sender.push(packet),
                Fate::Twice => {
                    self.sender.push(packet);
                    self.sender.push(packet);
                }
                Fate::Lost => continue,
                Fate::Behind if held.is_none() => {
                    held = Some(at);
                    continue;
                }
                Fate::Behind => self.sender.push(packet),
            }
            if let Some(behind) = held.take() {
                self.sender.push(self.packets.get(behind));
            }
        }
        // Nothing came to overtake it.
        if let Some(behind) = held {
            self.sender.push(self.packets.get(behind));
        }
        self.counted.sent += self.sender.len() as u64;
        self.sender.send(&self.socket)?; // what is lost is sent again
        Ok(())
    }

    fn receive(&mut self) -> Result<usize, Fail> {
        let mut all = 0;
        loop {
            let received = self.receiver.receive(&self.socket, true)?;
            self.received_at = Instant::now();
            for index in 0..received {
                if self.shim.as_mut().is_some_and(Shim::loses_answer) {
                    continue;
                }
                let answer = self.receiver.get(index);
                let (sequence, count) = header(answer);
                let (result, reason) = match answer.get(23..25) {
                    Some(ack) if count > 1 => (ack[0], ack[1]),
                    _ => (b'A', 0),
                };
                let session: [u8; 10] = answer[..10].try_into().expect("a header");
                if count == 1 {
                    self.heartbeat(session, sequence);
                } else if self.answer(session, sequence, result, reason) && self.counts_results {
                    self.count(index);
                }
            }
            all += received;
            if received < BATCH {
                return Ok(all);
            }
        }
    }

    /// Results of a packet that was answered for the first time.
    fn count(&mut self, index: usize) {
        const ACK_BLOCK: usize = ring0_wire::BLOCK_LENGTH + ring0_wire::ACK;
        let answer = self.receiver.get(index);
        let acks = &answer[ring0_wire::HEADER..answer.len() - ring0_wire::TAG_BLOCK];
        for ack in acks.chunks_exact(ACK_BLOCK) {
            *self.counted.results.entry((ack[3], ack[4])).or_default() += 1;
        }
    }

    fn is_of(&self, at: usize, session: [u8; 10]) -> bool {
        self.packets.get(at)[..10] == session
    }

    /// The answer to a heartbeat names the sequence that is expected next, not its own.
    fn heartbeat(&mut self, session: [u8; 10], expected: u64) {
        let taken = |at: &usize| {
            let (sequence, count) = self.packets.header(*at);
            count == 1 && sequence < expected && !self.answered[*at] && self.is_of(*at, session)
        };
        match (self.first..self.next).find(taken) {
            Some(at) => {
                let sequence = self.packets.header(at).0;
                self.answer(session, sequence, b'A', 0);
            }
            None => self.counted.answered_again += 1,
        }
    }

    /// Whether a packet is answered by this for the first time.
    fn answer(&mut self, session: [u8; 10], sequence: u64, result: u8, reason: u8) -> bool {
        if result == b'N' {
            *self.counted.not_taken.entry(reason).or_default() += 1;
            self.next = self.first;
            return false;
        }
        // Answers come in order but for what was lost: the first unanswered one is nearly always it.
        let mut at = self.first;
        while at < self.next && (self.packets.header(at).0 != sequence || !self.is_of(at, session))
        {
            at += 1;
        }
        if at >= self.next || self.answered[at] {
            self.counted.answered_again += 1;
            return false;
        }
        self.answered[at] = true;
        self.counted.answered += 1;
        if let Some(pace) = &mut self.pace {
            pace.answered(at, self.received_at);
        }
        while self.first < self.answered.len() && self.answered[self.first] {
            self.first += 1;
        }
        self.next = self.next.max(self.first);
        true
    }

    fn wait(&self) -> Result<(), Fail> {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }
}
