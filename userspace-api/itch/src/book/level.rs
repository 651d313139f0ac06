//! Price levels: what rests at each price of each side of each instrument.
//!
//! What is always true: a side lists its prices worst first, so that what changes most is at the end; each with the slot of its
//! level, which stays while the level lives. A level that empties leaves its side, and its slot is used again.
//! Cost: to find a price is a binary search of a side; to reduce or empty a level needs no search until it goes.

use super::orders::Entry;
use super::{Quote, Side};

/// A price as a side sorts it: better is higher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    rank: u32,
    side: Side,
}

impl Key {
    #[inline]
    pub(super) fn new(side: Side, price: u32) -> Self {
        Self {
            rank: rank(side, price),
            side,
        }
    }
}

/// A bid's price, or that of an ask turned around; its own inverse.
#[inline]
fn rank(side: Side, price: u32) -> u32 {
    match side {
        Side::Bid => price,
        Side::Ask => !price,
    }
}

/// One price of one side. An unused slot has no orders.
#[derive(Clone, Copy, Debug)]
struct Level {
    shares: u64,
    orders: u32,
    rank: u32,
    locate: u16,
    side: Side,
}
const _: () = assert!(size_of::<Level>() == 24);

/// A price in the list of a side.
#[derive(Clone, Copy, Debug)]
struct Place {
    rank: u32,
    level: u32,
}

/// Levels of all instruments.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    slots: Vec<Level>,
    /// Slots that are not used.
    free: Vec<u32>,
    /// By locate, then by side: prices, worst first.
    sides: Vec<[Vec<Place>; 2]>,
}

impl Levels {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            sides: Vec::new(),
        }
    }

    /// Adds an order of so many shares; gives its level.
    #[inline]
    pub(super) fn push(&mut self, locate: u16, key: Key, shares: u32) -> u32 {
        if usize::from(locate) >= self.sides.len() {
            self.grow(locate);
        }
        let places = &mut self.sides[usize::from(locate)][key.side as usize];
        let at = places.partition_point(|place| place.rank < key.rank);
        if let Some(place) = places.get(at)
            && place.rank == key.rank
        {
            let level = &mut self.slots[place.level as usize];
            level.shares += u64::from(shares);
            level.orders += 1;
            return place.level;
        }
        let new = Level {
            shares: shares.into(),
            orders: 1,
            rank: key.rank,
            locate,
            side: key.side,
        };
        let level = match self.free.pop() {
            Some(level) => {
                self.slots[level as usize] = new;
                level
            }
            None => {
                self.slots.push(new);
                // Every level has an order of 16 bytes: memory ends before 32 bits do.
                (self.slots.len() - 1) as u32
            }
        };
        places.insert(
            at,
            Place {
                rank: key.rank,
                level,
            },
        );
        level
    }

    /// Takes shares off a level whose order stays; gives its instrument.
    #[inline]
    pub(super) fn reduce(&mut self, level: u32, shares: u32) -> u16 {
        let level = &mut self.slots[level as usize];
        level.shares -= u64::from(shares);
        level.locate
    }

    /// Takes an order and its last shares off a level; gives its instrument.
    #[inline]
    pub(super) fn remove(&mut self, slot: u32, shares: u32) -> u16 {
        let level = &mut self.slots[slot as usize];
        level.shares -= u64::from(shares);
        level.orders -= 1;
        let Level {
            orders,
            rank,
            locate,
            side,
            ..
        } = *level;
        if orders == 0 {
            let places = &mut self.sides[usize::from(locate)][side as usize];
            let at = places.partition_point(|place| place.rank < rank);
            places.remove(at);
            self.free.push(slot);
        }
        locate
    }

    #[cold]
    fn grow(&mut self, locate: u16) {
        self.sides
            .resize_with(usize::from(locate) + 1, Default::default);
    }

    /// Instrument and side of a level.
    #[inline]
    pub(super) fn owner(&self, level: u32) -> (u16, Side) {
        let level = &self.slots[level as usize];
        (level.locate, level.side)
    }

    pub(super) fn price(&self, level: u32) -> u32 {
        let level = &self.slots[level as usize];
        rank(level.side, level.rank)
    }

    /// Levels of one side, best first.
    pub(super) fn of(&self, locate: u16, side: Side) -> impl Iterator<Item = Quote> + '_ {
        let places = self.sides.get(usize::from(locate));
        let places = places.map_or(&[][..], |sides| &sides[side as usize]);
        places.iter().rev().map(move |place| {
            let level = &self.slots[place.level as usize];
            Quote {
                price: rank(side, place.rank),
                shares: level.shares,
                orders: level.orders,
            }
        })
    }

    /// Checks what the modules say, against all orders.
    pub(super) fn check<'a>(&self, orders: impl Iterator<Item = &'a Entry>) {
        let mut sums = vec![(0, 0); self.slots.len()];
        for order in orders {
            let (shares, count) = &mut sums[order.level as usize];
            *shares += u64::from(order.shares);
            *count += 1;
        }
        let mut listed = 0;
        for (locate, sides) in self.sides.iter().enumerate() {
            for (side, places) in [Side::Bid, Side::Ask].into_iter().zip(sides) {
                assert!(
                    places.is_sorted_by(|a, b| a.rank < b.rank),
                    "each price once, in order"
                );
                for place in places {
                    let level = &self.slots[place.level as usize];
                    assert_eq!(
                        (usize::from(level.locate), level.side, level.rank),
                        (locate, side, place.rank)
                    );
                    assert!(level.orders > 0, "an empty level leaves its side");
                    assert_eq!(
                        (level.shares, level.orders),
                        sums[place.level as usize],
                        "sums of its orders"
                    );
                    listed += 1;
                }
            }
        }
        assert_eq!(
            listed + self.free.len(),
            self.slots.len(),
            "a slot is listed or free"
        );
    }
}
