//! Stops: which one a trade has triggered, and how it enters.
//! Rule: `docs/matching.md#continuations`, `Triggers`.

use super::order::stop_book;
use super::step::{Pending, Task};
use super::{Done, Reference, locate_of};
use crate::record::{Outcome, State, Work};
use ring0_wire::message::{BUY, SELL};

impl Reference {
    /// The first stop that the last trade has triggered, of buys before sells; none unless trading is continuous.
    pub(super) fn next_triggered(&self, at: u32) -> Option<u64> {
        let instrument = self.instrument(at);
        let last = instrument.last;
        if instrument.state != State::Continuous || last == 0 {
            return None;
        }
        let buys = instrument.first_level(stop_book(BUY));
        let buy = buys.filter(|&(trigger, _)| trigger <= last);
        let sells = instrument.first_level(stop_book(SELL));
        let sell = sells.filter(|&(trigger, _)| trigger >= last);
        buy.or(sell).map(|(_, ids)| ids[0])
    }

    /// Behind a command: an idle instrument whose last trade has reached a trigger gets the work.
    pub(super) fn look_at_triggers(&mut self, at: u32) {
        if self.instrument(at).work.is_none() && self.next_triggered(at).is_some() {
            self.instrument_mut(at).work = Some(Task::Triggers);
            self.queue(Pending::Instrument(at));
        }
    }

    /// One stop enters, or is removed where it is leaving.
    pub(super) fn triggers_step(&mut self, at: u32) {
        let sequence = self.next();
        let Some(id) = self.next_triggered(at) else {
            let outcome = self.work_ends(at);
            let quantity = 0;
            let done = Done { outcome, quantity };
            self.publish_step(sequence, locate_of(at), (0, 0), Work::Triggers, done);
            return;
        };
        let mut order = self.orders[&id];
        let mut filled = 0;
        let mut outcome = Outcome::Accepted;
        if let Some(removal) = self.leaving(&order) {
            self.remove(&order, removal);
        } else {
            self.leave_book(&order);
            self.leave_expiry(&order);
            self.triggered(&order);
            order.trigger = 0;
            self.remember(order);
            let quote = self.quote(at);
            let swept = self.sweep(&mut order, quote);
            filled = swept.filled;
            outcome = self.settle(order, swept.end, quote);
        }
        if outcome != Outcome::Continues {
            outcome = self.work_ends(at);
        }
        let quantity = filled * self.instrument(at).list.lot_size;
        let done = Done { outcome, quantity };
        let about = (id, order.session);
        self.publish_step(sequence, locate_of(at), about, Work::Triggers, done);
    }
}
