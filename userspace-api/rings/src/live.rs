//! A shard that trades, as the daemon sees it, wherever its engine runs.

use crate::kernel::KernelShard;
use crate::records::Consumer;
use crate::ring::RingError;
use crate::times::Times;
use ring0_abi::Acks;
use ring0_engine::control::Control;
use ring0_engine::record::Outcome;
use ring0_engine::region::{Cells, Memory};
use ring0_engine::shard::{Account, Instrument, Session, Transfers};
use ring0_engine::{Reason, Shard};
use ring0_wire::Key;
use std::cell::Cell;
use std::sync::Arc;

/// What became of a packet that was given to a shard by its own process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// Its answer's payload.
    Answer(Vec<u8>),
    /// Taken; the answer waits for the journal. The same packet again is answered when its records are durable.
    Held {
        /// They are once the record of this sequence number is.
        until: u64,
    },
    /// Dropped, and counted by the reason's name, or the shard was busy: no answer.
    Dropped,
}

/// A living shard: its memory to be read, control commands to be given. What is read is of one moment only while nothing drives the shard.
pub trait Live {
    /// The region.
    fn memory(&self) -> Memory<'_>;

    /// A reader of its record ring.
    fn records(&self) -> &Consumer;

    /// Carries control commands out, behind pending continuation steps. Gives what became of each.
    ///
    /// # Errors
    /// The shard did not take all: it is busy, broken, or its record ring is full. Or its ring has ended.
    fn command(&mut self, commands: &[Control]) -> Result<Vec<(Outcome, Reason)>, RingError>;

    /// Carries out pending continuation steps.
    ///
    /// # Errors
    /// The ring has ended, or the loader's.
    fn ring_doorbell(&mut self) -> Result<(), RingError>;

    /// Sets a session's key, or, with `None`, switches its tag off.
    ///
    /// # Errors
    /// As [`Live::ring_doorbell`].
    fn set_key(&mut self, session: u32, bytes: Option<&[u8; 16]>) -> Result<(), RingError>;

    /// Takes a session's key away: its packets are dropped by name until it has one again.
    ///
    /// # Errors
    /// As [`Live::ring_doorbell`].
    fn clear_key(&mut self, session: u32) -> Result<(), RingError>;

    /// Has the engine take packets, in order, as if they had come in by the shard's port, by the same checks, under the same counters; for orders
    /// that come by an API. They are tagged as on the wire. Gives what became of each.
    ///
    /// # Errors
    /// As [`Live::ring_doorbell`].
    fn deliver(&mut self, payloads: &[Arc<[u8]>]) -> Result<Vec<Delivered>, RingError>;

    /// Keys by session index, as this process has set them.
    fn tags(&self) -> &[Option<Key>];

    /// Counters by their number (`ring0_abi::counter_name`).
    ///
    /// # Errors
    /// The loader's.
    fn counters(&self) -> Result<Vec<u64>, RingError>;

    /// What the way in and out counts itself, by name.
    fn port_counters(&mut self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// How long answers took, where a thread of this process gives them: from the packet's stamp of arrival until the network had its answer.
    fn answer_times(&self) -> Option<&Times> {
        None
    }

    /// The shard in the kernel, where it is one.
    fn in_kernel(&mut self) -> Option<&mut KernelShard> {
        None
    }

    /// Why it does not trade any more, if so.
    fn failure(&self) -> Option<String> {
        None
    }

    /// The live shard.
    fn shard(&self) -> Shard<'_> {
        Shard::new(self.memory())
    }

    /// The numbers of an instrument that is listed.
    fn instrument(&self, index: u32) -> Option<&Instrument> {
        let header = self.shard().header();
        let one: &Instrument = entry(
            self.memory(),
            &header.instruments_at,
            index,
            &header.instruments_max,
        )?;
        (one.listed.get() != 0).then_some(one)
    }

    /// The numbers of an account that is open.
    fn account(&self, index: u32) -> Option<&Account> {
        let header = self.shard().header();
        let one: &Account = entry(
            self.memory(),
            &header.accounts_at,
            index,
            &header.accounts_max,
        )?;
        (one.open.get() != 0).then_some(one)
    }

    /// What an account that is open has moved to and from other shards.
    fn transfers(&self, index: u32) -> Option<&Transfers> {
        self.account(index)?;
        let header = self.shard().header();
        entry(
            self.memory(),
            &header.transfers_at,
            index,
            &header.accounts_max,
        )
    }

    /// The numbers of a session that is granted.
    fn session(&self, index: u32) -> Option<&Session> {
        let header = self.shard().header();
        let one: &Session = entry(
            self.memory(),
            &header.sessions_at,
            index,
            &header.sessions_max,
        )?;
        (one.status.get() != 0).then_some(one)
    }

    /// The first second of the day that has good-till-time orders.
    fn first_expiry(&self) -> Option<u32> {
        let seconds = &self.shard().header().expiry;
        let mut place = 0;
        // 2^17 seconds are 2^11 words of bits, 2^5 above them, and one above those.
        for height in [2, 1, 0] {
            let word: &Cell<u64> = self.memory().at(seconds.bits[height].get() + place * 8);
            let word = word.get();
            if word == 0 {
                return None;
            }
            place = place * 64 + word.trailing_zeros();
        }
        Some(place)
    }

    /// The record of a sequence number, if the record ring still has it.
    fn recorded(&self, sequence: u64) -> Option<Vec<u8>> {
        self.records().find(sequence)
    }

    /// Slots published so far.
    fn tail(&self) -> u64 {
        self.records().tail()
    }

    /// Sequence number of the last durable record ([`Consumer::durable`]).
    fn durable(&self) -> u64 {
        self.records().durable()
    }

    /// Whether nothing is taken because a journal failed ([`Consumer::journal_failed`]).
    fn journal_failed(&self) -> bool {
        self.records().journal_failed()
    }

    /// When packets are answered ([`Consumer::acks`]).
    fn acks(&self) -> Acks {
        self.records().acks()
    }
}

impl<T: Live + ?Sized> Live for Box<T> {
    fn memory(&self) -> Memory<'_> {
        (**self).memory()
    }

    fn records(&self) -> &Consumer {
        (**self).records()
    }

    fn command(&mut self, commands: &[Control]) -> Result<Vec<(Outcome, Reason)>, RingError> {
        (**self).command(commands)
    }

    fn ring_doorbell(&mut self) -> Result<(), RingError> {
        (**self).ring_doorbell()
    }

    fn set_key(&mut self, session: u32, bytes: Option<&[u8; 16]>) -> Result<(), RingError> {
        (**self).set_key(session, bytes)
    }

    fn clear_key(&mut self, session: u32) -> Result<(), RingError> {
        (**self).clear_key(session)
    }

    fn deliver(&mut self, payloads: &[Arc<[u8]>]) -> Result<Vec<Delivered>, RingError> {
        (**self).deliver(payloads)
    }

    fn in_kernel(&mut self) -> Option<&mut KernelShard> {
        (**self).in_kernel()
    }

    fn tags(&self) -> &[Option<Key>] {
        (**self).tags()
    }

    fn counters(&self) -> Result<Vec<u64>, RingError> {
        (**self).counters()
    }

    fn port_counters(&mut self) -> Vec<(&'static str, u64)> {
        (**self).port_counters()
    }

    fn answer_times(&self) -> Option<&Times> {
        (**self).answer_times()
    }

    fn failure(&self) -> Option<String> {
        (**self).failure()
    }
}

/// An entry of a table of the region; tables lie inside it, whose offsets fit 32 bits.
fn entry<'a, T: Cells>(
    memory: Memory<'a>,
    table: &Cell<u32>,
    index: u32,
    entries: &Cell<u32>,
) -> Option<&'a T> {
    (index < entries.get()).then(|| memory.at(table.get() + index * size_of::<T>() as u32))
}
