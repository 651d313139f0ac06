//! What a userspace ring does with a packet: the kernel program's checks, in its order and under its counters (`ebpf/src/main.rs`), and then the
//! same engine.

use crate::ring::RingError;
use ring0_abi::{Acks, COUNTERS, Counter, cursor, malformed};
use ring0_engine::control::Control;
use ring0_engine::limits::STEP_SLOTS_MAX;
use ring0_engine::native::{Dropped, Native, TagRule};
use ring0_engine::record::{Outcome, ReplyTo};
use ring0_engine::snapshot::{Snapshot, SnapshotError};
use ring0_engine::{Reason, Recorder, Shard, Taken};
use ring0_record_ring::{Memory, Producer, SharedMemory, Word};
use ring0_wire::Buffer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// The ring's counters, by the numbers of `ring0_abi`. Writer: the ring's thread.
#[derive(Debug)]
pub(crate) struct Counts([AtomicU64; COUNTERS as usize]);

impl Default for Counts {
    fn default() -> Counts {
        Counts([const { AtomicU64::new(0) }; COUNTERS as usize])
    }
}

impl Counts {
    #[inline]
    fn add(&self, counter: u32) {
        if let Some(count) = self.0.get(counter as usize) {
            // One writer: no need for an atomic addition.
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn all(&self) -> Vec<u64> {
        let counts = self.0.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// An engine with what surrounds it: keys by session, the ack policy, the record ring, counters.
pub(crate) struct Desk {
    native: Native<Producer<SharedMemory>>,
    tags: Vec<TagRule>,
    acks: Acks,
    counts: Arc<Counts>,
}

impl Desk {
    pub(crate) fn new(
        native: Native<Producer<SharedMemory>>,
        acks: Acks,
        counts: Arc<Counts>,
    ) -> Desk {
        let sessions = native.layout().capacity.sessions as usize;
        let desk = Desk {
            native,
            tags: vec![TagRule::NoKey; sessions],
            acks,
            counts,
        };
        let word = desk.durable_word(cursor::ACKS);
        Word::store(word, acks as u64, Ordering::Release);
        desk
    }

    fn durable_word(&self, offset: usize) -> &AtomicU64 {
        let memory = self.native.recorder().memory();
        memory.cursor(cursor::DURABLE, offset / 8)
    }

    pub(crate) fn shard(&self) -> Shard<'_> {
        self.native.shard()
    }

    /// The state.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        Snapshot::take(self.native.shard(), self.native.layout())
    }

    /// Sets what a session's tags must be.
    pub(crate) fn set_tag(&mut self, session: u32, tag: TagRule) {
        if let Some(place) = self.tags.get_mut(session as usize) {
            *place = tag;
        }
    }

    /// Says to those who look on whether a run is going on (the word that the kernel program locks a shard with). x86 keeps stores in order, so
    /// what a run wrote is seen before its end.
    pub(crate) fn set_running(&self, running: bool) {
        fence(Ordering::Release);
        self.shard().header().lock.set(running.into());
        fence(Ordering::SeqCst);
    }

    /// One packet: the bytes of its answer, which lies in [`Desk::answer`]; `None` where there is none.
    #[inline]
    pub(crate) fn packet(&mut self, payload: &[u8], boot_ns: u64, from: &ReplyTo) -> Option<usize> {
        let holds = self.acks == Acks::Durable;
        if holds {
            self.native.hold_answers(*from);
        }
        let tag_of = |session: u32| self.tags.get(session as usize).copied().unwrap_or_default();
        let (taken, len) = match self.native.packet_in_place(payload, boot_ns, tag_of) {
            Ok(ran) => ran,
            Err(cause) => {
                self.counts.add(match cause {
                    Dropped::Malformed(cause) => malformed(cause),
                    Dropped::UnknownSession => Counter::DropUnknownSession as u32,
                    Dropped::NoKey => Counter::DropNoKey as u32,
                    Dropped::BadTag => Counter::DropBadTag as u32,
                });
                return None;
            }
        };
        let counter = match taken {
            Taken::Taken if holds => Counter::Held,
            Taken::Taken => Counter::Taken,
            Taken::Duplicate if holds && self.is_held() => Counter::HeldDuplicate,
            Taken::Duplicate => Counter::Duplicate,
            Taken::Hole => Counter::Hole,
            Taken::Straddle => Counter::Straddle,
            Taken::RingFull => Counter::RingFull,
            Taken::RateLimited => Counter::RateLimited,
            Taken::Halted => Counter::Halted,
        };
        self.counts.add(counter as u32);
        let silent = matches!(counter, Counter::Held | Counter::HeldDuplicate);
        if len == 0 && !silent {
            self.counts.add(Counter::DropAnswer as u32);
        }
        (len != 0 && !silent).then_some(len)
    }

    /// How many packets were taken, or known, whose answer waited for the journal.
    pub(crate) fn held(&self) -> u64 {
        let count = |of: Counter| self.counts.0[of as usize].load(Ordering::Relaxed);
        count(Counter::Held) + count(Counter::HeldDuplicate)
    }

    /// Whether the duplicate just looked at is of a packet whose answer is still held.
    fn is_held(&self) -> bool {
        let shard = self.shard();
        let durable = Word::load(self.durable_word(0), Ordering::Acquire);
        shard.newest_told(&shard.shape()) > durable
    }

    /// Where [`Desk::packet`] left the answer.
    #[inline]
    pub(crate) fn answer(&self) -> &Buffer {
        &self.native.shard().scratch().answer
    }

    /// A run with nothing but continuation steps.
    pub(crate) fn steps(&mut self) {
        self.native.steps();
    }

    /// A run by doorbell: continuation steps, then these commands in order, as far as the record ring has room.
    pub(crate) fn control(
        &mut self,
        commands: &[Control],
        boot_ns: u64,
    ) -> Result<Vec<(Outcome, Reason)>, RingError> {
        self.native.steps();
        let mut results = Vec::with_capacity(commands.len());
        for command in commands {
            let is_broken = self.shard().header().broken.get() != 0;
            if is_broken || Recorder::free(self.native.recorder()) < STEP_SLOTS_MAX {
                return Err(RingError::ControlNotTaken {
                    taken: results.len() as u64,
                    written: commands.len() as u64,
                });
            }
            results.push(self.native.replay_control(command, boot_ns));
            let taken = &self.shard().header().controls_taken;
            taken.set(taken.get() + 1);
        }
        Ok(results)
    }
}
