//! Good till time: the lists of the seconds, and the orders whose second has come.
//! Rule: `docs/matching.md#continuations`, `Expiry`; `#control-commands`, `Expire`.

use super::order::Order;
use super::step::Pending;
use super::{Done, Reference};
use crate::Reason;
use crate::control::Expire;
use crate::limits::{CANCELS_MAX, DAY_SECONDS};
use crate::record::{Outcome, Removal, Work};

impl Reference {
    /// An order that joins its book goes to the end of the list of its second, unless it is on it.
    pub(super) fn await_expiry(&mut self, order: &Order) {
        if order.expiry == 0 {
            return;
        }
        let ids = self.expiring.entry(order.expiry).or_default();
        if !ids.contains(&order.id) {
            ids.push(order.id);
        }
    }

    pub(super) fn leave_expiry(&mut self, order: &Order) {
        if let Some(ids) = self.expiring.get_mut(&order.expiry) {
            ids.retain(|&id| id != order.id);
            if ids.is_empty() {
                self.expiring.remove(&order.expiry);
            }
        }
    }

    pub(super) fn expiry_pends(&self) -> bool {
        self.pending.contains(&Pending::Expiry)
    }

    pub(super) fn expire(&mut self, body: Expire) -> Result<Outcome, Reason> {
        if body.second == 0 || body.second > DAY_SECONDS {
            return Err(Reason::BadSetting);
        }
        let comes_ns = u128::from(self.midnight_ns) + u128::from(body.second) * 1_000_000_000;
        if comes_ns > u128::from(self.time_ns) {
            return Err(Reason::TooEarly);
        }

        // Done:
        self.second = self.second.max(body.second);
        if self.expiry_pends() {
            return Ok(Outcome::Accepted);
        }
        Ok(self.expire_some().outcome)
    }

    pub(super) fn expiry_step(&mut self) {
        let sequence = self.next();
        let done = self.expire_some();
        self.publish_step(sequence, 0, (0, 0), Work::Expiry, done);
    }

    /// One step; it is queued while an order is left whose second has come.
    fn expire_some(&mut self) -> Done {
        let mut removed = 0;
        for _ in 0..CANCELS_MAX {
            let Some(id) = self.next_expired() else { break };
            let order = self.orders[&id];
            self.remove(&order, Removal::Expired);
            removed += 1;
        }
        if self.next_expired().is_some() {
            self.queue(Pending::Expiry);
            Done::continues(removed)
        } else {
            self.unqueue(Pending::Expiry);
            Done::accepted(removed)
        }
    }

    fn next_expired(&self) -> Option<u64> {
        let (second, ids) = self.expiring.first_key_value()?;
        (*second <= self.second).then(|| ids[0])
    }
}
