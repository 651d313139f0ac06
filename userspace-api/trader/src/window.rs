//! The packets that are sent and not answered, in client sequence.
//!
//! Invariants: packets ascend by sequence and do not overlap; the first is never answered (it leaves
//! at once, with every answered one behind it). So `next − first` is what the venue must be able to
//! answer again, and stays at or below the window.

use ring0_engine::Reason;
use std::collections::VecDeque;
use std::time::Duration;

/// One packet on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Client sequence of its first message.
    pub(crate) sequence: u64,
    /// Client sequences it takes: its messages and the tag block.
    pub(crate) count: u16,
    /// The signed packet.
    pub(crate) packet: Vec<u8>,
    /// What the acknowledgements must echo, in order.
    pub(crate) references: Vec<u32>,
    /// When it was sent for the first time, since the last report that nothing came.
    pub(crate) since: Duration,
    /// When it was sent last.
    pub(crate) sent: Duration,
    /// When it is sent again.
    pub(crate) due: Duration,
    /// How often it was sent.
    pub(crate) sends: u32,
    /// Times in a row that it was sent without an answer, or refused: what the wait grows with.
    pub(crate) waits: u32,
    /// Why it was not taken, the last time that it was said.
    pub(crate) heard: Option<Reason>,
    /// Was refused and waits for `due`: nothing behind it can be taken before.
    pub(crate) backs_off: bool,
    /// Its sequence was answered for other messages: waits for the caller to adopt.
    pub(crate) foreign: bool,
    /// Answered; leaves when all before it are.
    pub(crate) done: bool,
}

impl Pending {
    /// The client sequence after the packet.
    pub(crate) fn end(&self) -> u64 {
        self.sequence + u64::from(self.count)
    }
}

/// The packets on their way.
#[derive(Debug, Default)]
pub(crate) struct Window {
    packets: VecDeque<Pending>,
}

impl Window {
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Packets that are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.packets.iter().filter(|packet| !packet.done).count()
    }

    /// Client sequence of the first packet that is not answered.
    pub(crate) fn first(&self) -> Option<u64> {
        self.packets.front().map(|packet| packet.sequence)
    }

    pub(crate) fn push(&mut self, packet: Pending) {
        if let Some(last) = self.packets.back() {
            assert!(last.end() <= packet.sequence, "a sequence is used once");
        }
        self.packets.push_back(packet);
    }

    /// Place of the packet that begins with `sequence`.
    pub(crate) fn place(&self, sequence: u64) -> Option<usize> {
        let place = self
            .packets
            .partition_point(|packet| packet.sequence < sequence);
        self.packets
            .get(place)
            .is_some_and(|packet| packet.sequence == sequence)
            .then_some(place)
    }

    pub(crate) fn at(&mut self, place: usize) -> &mut Pending {
        &mut self.packets[place]
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.packets.iter()
    }

    /// Patience begins anew for every packet.
    pub(crate) fn begin_anew(&mut self, now: Duration) {
        for packet in &mut self.packets {
            packet.since = now;
        }
    }

    /// The packet at `place` is answered.
    pub(crate) fn finish(&mut self, place: usize) {
        self.packets[place].done = true;
        while self.packets.front().is_some_and(|packet| packet.done) {
            self.packets.pop_front();
        }
    }

    /// Takes out what the venue that expects `expected` has not taken: every packet that does not lie
    /// below it, and every one whose sequence went to other messages.
    pub(crate) fn cut(&mut self, expected: u64) -> VecDeque<Pending> {
        let (cut, kept) = self
            .packets
            .drain(..)
            .partition(|packet| packet.end() > expected || packet.foreign);
        self.packets = kept;
        cut
    }
}
