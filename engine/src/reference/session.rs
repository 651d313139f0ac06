//! Sessions: what they were granted, what they last said, and the places of their references.
//! Rule: `docs/matching.md#places-of-references`.

use super::Reference;
use super::mass::Mass;
use super::order::Order;
use super::packet::Ack;
use crate::control::Grant;
use crate::limits::BUCKET_LEN;
use std::collections::{BTreeMap, HashMap};

#[derive(Clone)]
pub(super) struct Session {
    pub(super) grant: Grant,
    pub(super) killed: bool,
    pub(super) expected: u64,
    pub(super) last_reference: u32,
    pub(super) rate_state: u64,
    /// Answers of all client sequences that a duplicate could still get.
    pub(super) answers: BTreeMap<u64, Ack>,
    /// Live orders by client reference.
    pub(super) references: HashMap<u32, u64>,
    /// References that stand in the window, by place.
    pub(super) window: BTreeMap<u32, u32>,
    /// Live orders that were moved out of the window, in the order in which they moved.
    pub(super) overflowed: Vec<u64>,
    /// Pending mass cancel.
    pub(super) mass: Option<Mass>,
}

impl Session {
    pub(super) fn new(grant: Grant) -> Session {
        Session {
            grant,
            killed: false,
            expected: 1,
            last_reference: 0,
            rate_state: 0,
            answers: BTreeMap::new(),
            references: HashMap::new(),
            window: BTreeMap::new(),
            overflowed: Vec::new(),
            mass: None,
        }
    }

    /// Places of the window.
    pub(super) fn places(&self) -> u32 {
        1 << self.grant.references_log2
    }

    /// Place of a reference in the window.
    pub(super) fn place_of(&self, reference: u32) -> u32 {
        reference % self.places()
    }

    /// The lowest client sequence that a duplicate could still get.
    pub(super) fn oldest_answer(&self) -> u64 {
        self.expected
            .saturating_sub(1 << self.grant.answers_log2)
            .max(1)
    }

    /// The overflowed order behind this one.
    pub(super) fn overflowed_after(&self, id: u64) -> Option<u64> {
        let place = self.overflowed.iter().position(|&there| there == id)?;
        self.overflowed.get(place + 1).copied()
    }
}

impl Reference {
    /// The order is live, with its place, if it was not before; in any case it is as given.
    pub(super) fn remember(&mut self, order: Order) {
        if self.orders.insert(order.id, order).is_some() {
            return;
        }
        let session = self.session_mut(order.session);
        session.references.insert(order.reference, order.id);
        self.take_place(order.session, order.reference);
    }

    /// The order is no longer live.
    pub(super) fn forget(&mut self, order: &Order) {
        self.leave_place(order.session, order.reference);
        self.session_mut(order.session)
            .references
            .remove(&order.reference);
        self.leave_expiry(order);
        self.orders.remove(&order.id);
    }

    /// Enter 33, with the place of the live order `without` counted as free.
    pub(super) fn place_to_be_had(&self, index: u32, reference: u32, without: Option<u32>) -> bool {
        let session = self.session(index);
        let older = session.window.get(&session.place_of(reference)).copied();
        let Some(older) = older.filter(|_| older != without) else {
            return true;
        };
        let bucket = self.overflow.get(&self.bucket_of(index, older));
        let others = bucket.into_iter().flatten();
        let others = others.filter(|&&(s, r)| s != index || Some(r) != without);
        (others.count() as u32) < BUCKET_LEN
    }

    /// A live order's reference takes its place; an older one that stands there moves.
    pub(super) fn take_place(&mut self, index: u32, reference: u32) {
        let session = self.session_mut(index);
        let place = session.place_of(reference);
        let Some(older) = session.window.insert(place, reference) else {
            return;
        };
        let moved = session.references[&older];
        session.overflowed.push(moved);
        let bucket = self.bucket_of(index, older);
        let bucket = self.overflow.entry(bucket).or_default();
        bucket.push((index, older));
    }

    pub(super) fn leave_place(&mut self, index: u32, reference: u32) {
        let session = self.session_mut(index);
        let place = session.place_of(reference);
        if session.window.get(&place) == Some(&reference) {
            session.window.remove(&place);
            return;
        }
        let id = session.references[&reference];
        self.mass_goes_past(index, id);
        self.session_mut(index).overflowed.retain(|&o| o != id);
        let bucket = self.bucket_of(index, reference);
        let orders = self.overflow.entry(bucket).or_default();
        orders.retain(|&there| there != (index, reference));
    }

    pub(super) fn bucket_of(&self, index: u32, reference: u32) -> u32 {
        let mixed = u64::from(index) * 0x9E37_79B1 + u64::from(reference) * 0x85EB_CA77;
        ((mixed % (1 << 32)) as u32 >> 7) & (self.capacity.buckets - 1)
    }
}
