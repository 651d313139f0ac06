//! Packets that are made already, through one UDP socket in batches, until every one is answered.
//!
//! Invariants: packets leave in their order and no more client sequences are under way than the window has; a packet counts as
//! answered once, by an answer that says it was taken. What is lost or not taken is sent again from there on, and counted.
//! So when a run ends, sent = answered + lost or refused, each by its number.
//!
//! A paced run is an open loop: each packet has a time at which it is to leave, whatever became of those before it, and its answer's latency counts
//! from then. What makes the sender late (a call that takes long, a full window, something sent again) is latency.

use crate::fail::Fail;
use hdrhistogram::Histogram;
use ring0_drive::{Packets, header};
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
    /// The packet that is to leave at `begin`.
    first: usize,
    packets_per_second: f64,
    took: Histogram<u64>,
}

impl Pace {
    /// When a packet is to leave, nanoseconds behind `begin`.
    fn leaves_ns(&self, at: usize) -> u64 {
        ((at - self.first) as f64 * 1e9 / self.packets_per_second) as u64
    }

    fn is_due(&self, at: usize) -> bool {
        self.begin.elapsed().as_nanos() as u64 >= self.leaves_ns(at)
    }

    /// A packet's answer was read at `now`.
    fn answered(&mut self, at: usize, now: Instant) {
        let now = (now - self.begin).as_nanos() as u64;
        self.took
            .saturating_record(now.saturating_sub(self.leaves_ns(at)));
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
        Ok(Pump {
            socket,
            packets,
            sender: Sender::default(),
            receiver: Receiver::default(),
            window,
            next: 0,
            first: 0,
            answered: vec![false; packets.len()],
            pace: None,
            received_at: Instant::now(),
            counted: Counted::default(),
        })
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
        self.pace = Some(Pace {
            begin: Instant::now(),
            first: self.next,
            packets_per_second,
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

    /// Goes on behind packets that were carried out by other means.
    pub(crate) fn skip_to(&mut self, next: usize) {
        self.answered[self.first..next].fill(true);
        (self.first, self.next) = (next, next);
    }

    fn may_send(&self, end: usize) -> bool {
        if self.next >= end || self.pace.as_ref().is_some_and(|it| !it.is_due(self.next)) {
            return false;
        }
        let (sequence, count) = self.packets.header(self.next);
        let (first, _) = self.packets.header(self.first);
        sequence + count - first <= self.window
    }

    fn send(&mut self, end: usize) -> Result<(), Fail> {
        self.sender.clear();
        while self.sender.len() < BATCH && self.may_send(end) {
            // An answered one between lost ones is not sent again.
            if !self.answered[self.next] {
                self.sender.push(self.packets.get(self.next));
            }
            self.next += 1;
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
                let (sequence, count) = header(self.receiver.get(index));
                let (result, reason) = match self.receiver.get(index).get(23..25) {
                    Some(ack) if count > 1 => (ack[0], ack[1]),
                    _ => (b'A', 0),
                };
                if count == 1 {
                    self.heartbeat(sequence);
                } else {
                    self.answer(sequence, result, reason);
                }
            }
            all += received;
            if received < BATCH {
                return Ok(all);
            }
        }
    }

    /// The answer to a heartbeat names the sequence that is expected next, not its own.
    fn heartbeat(&mut self, expected: u64) {
        let taken = |at: &usize| {
            let (sequence, count) = self.packets.header(*at);
            count == 1 && sequence < expected && !self.answered[*at]
        };
        match (self.first..self.next).find(taken) {
            Some(at) => self.answer(self.packets.header(at).0, b'A', 0),
            None => self.counted.answered_again += 1,
        }
    }

    fn answer(&mut self, sequence: u64, result: u8, reason: u8) {
        if result == b'N' {
            *self.counted.not_taken.entry(reason).or_default() += 1;
            self.next = self.first;
            return;
        }
        // Answers come in order but for what was lost: the first unanswered one is nearly always it.
        let mut at = self.first;
        while at < self.next && self.packets.header(at).0 != sequence {
            at += 1;
        }
        if at >= self.next || self.answered[at] {
            self.counted.answered_again += 1;
            return;
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
