//! Continuations: what a command leaves to be done, step by step, before anything else may touch it.
//! Rule: `docs/matching.md#continuations`.

use super::mass::Owner;
use super::peg::Quote;
use super::purge::Purge;
use super::{Done, Reference, locate_of};
use crate::record::{Outcome, Removal, State, Work};

/// One entry of the queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pending {
    /// The work of an instrument index.
    Instrument(u32),
    /// The mass cancel of a session index.
    Session(u32),
    /// The mass cancel of an account index.
    Account(u32),
    /// Good-till-time orders whose second has come.
    Expiry,
}

/// Pending work of an instrument.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// An order goes on filling, pegs priced as they were when it began.
    Sweep { order: u64, quote: Quote },
    /// Stops that the last trade triggered enter.
    Triggers,
    /// An auction is carried out at a price; then the state; lots that traded so far.
    Uncross {
        price: u32,
        then: State,
        volume: u64,
    },
    /// Orders are visited and taken away.
    Purge(Purge),
}

impl Reference {
    /// Only one continuation step; false where none is pending.
    pub fn replay_step(&mut self) -> bool {
        match self.pending.front().copied() {
            Some(Pending::Instrument(at)) => self.instrument_step(at),
            Some(Pending::Session(index)) => self.mass_step(Owner::Session(index)),
            Some(Pending::Account(index)) => self.mass_step(Owner::Account(index)),
            Some(Pending::Expiry) => self.expiry_step(),
            None => return false,
        }
        true
    }

    fn instrument_step(&mut self, at: u32) {
        match self.instrument(at).work.expect("it is queued for its work") {
            Task::Sweep { order, quote } => self.sweep_step(at, order, quote),
            Task::Triggers => self.triggers_step(at),
            Task::Uncross {
                price,
                then,
                volume,
            } => self.uncross_step(at, price, then, volume),
            Task::Purge(purge) => self.purge_step(at, purge),
        }
    }

    fn sweep_step(&mut self, at: u32, id: u64, quote: Quote) {
        let sequence = self.next();
        let mut order = self.orders[&id];
        let instrument = self.instrument(at);
        let lot_size = instrument.list.lot_size;
        let killed = self.session(order.session).killed || self.account(order.account).killed;
        let stopped = if killed {
            Some(Removal::Kill)
        } else if instrument.state == State::Halted {
            Some(Removal::Halted)
        } else if order.expiry != 0 && order.expiry <= self.second {
            Some(Removal::Expired)
        } else {
            None
        };
        let (outcome, filled) = match stopped {
            Some(removal) => {
                self.discard(&order, removal);
                (Outcome::Accepted, 0)
            }
            None => {
                let swept = self.sweep(&mut order, quote);
                (self.settle(order, swept.end, quote), swept.filled)
            }
        };
        let outcome = match outcome {
            Outcome::Continues => Outcome::Continues,
            _ => self.work_ends(at),
        };
        let quantity = filled * lot_size;
        let done = Done { outcome, quantity };
        let about = (id, order.session);
        self.publish_step(sequence, locate_of(at), about, Work::Sweep, done);
    }

    /// The instrument's work is done: it goes on with triggers in the same place of the queue, or is free.
    pub(super) fn work_ends(&mut self, at: u32) -> Outcome {
        if self.next_triggered(at).is_some() {
            self.instrument_mut(at).work = Some(Task::Triggers);
            return Outcome::Continues;
        }
        self.instrument_mut(at).work = None;
        self.unqueue(Pending::Instrument(at));
        Outcome::Accepted
    }

    /// Queues a continuation, unless it is queued already.
    pub(super) fn queue(&mut self, pending: Pending) {
        if !self.pending.contains(&pending) {
            self.pending.push_back(pending);
        }
    }

    pub(super) fn unqueue(&mut self, ended: Pending) {
        self.pending.retain(|&pending| pending != ended);
    }
}
