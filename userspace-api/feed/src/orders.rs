//! The orders that are displayed now, by the engine's id.
//!
//! Invariant: references rise, and an order gets a new one whenever it goes to the end of a level (it rests, is refilled, is
//! replaced and loses its place). So in a level the order of references is the order of priority.

use std::collections::HashMap;

/// A displayed order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Displayed {
    /// Its number in the feed.
    pub(crate) reference: u64,
    pub(crate) locate: u16,
    /// `B` or `S`.
    pub(crate) side: u8,
    /// Ticks.
    pub(crate) price: u32,
    /// Lots displayed, never 0.
    pub(crate) shown: u32,
}

/// All of them. Only ever looked up, or listed in the order of their references: the map's own order is nowhere seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Orders {
    by_id: HashMap<u64, Displayed>,
}

impl Orders {
    pub(crate) fn insert(&mut self, id: u64, order: Displayed) {
        self.by_id.insert(id, order);
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Displayed> {
        self.by_id.remove(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Displayed> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// With their ids, by reference.
    pub(crate) fn sorted(&self) -> Vec<(u64, Displayed)> {
        let mut orders: Vec<_> = self.by_id.iter().map(|(id, order)| (*id, *order)).collect();
        orders.sort_unstable_by_key(|(_, order)| order.reference);
        orders
    }
}
