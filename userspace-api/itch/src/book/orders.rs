//! Resting orders by reference: an open-addressed table in one allocation.
//!
//! What is always true: a place is empty exactly when its shares are zero; an order lies at its home or behind it with no empty
//! place between; at most half of the places are used. An entry is 16 bytes, four of them share a cache line, and so do the
//! homes of four references that follow each other, because a venue numbers its orders upwards and the new ones change most.
//! Cost: O(1), one cache line as a rule; growing moves all of them.

/// A resting order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) reference: u64,
    /// Its price level.
    pub(super) level: u32,
    /// Its displayed shares; zero in an empty place.
    pub(super) shares: u32,
}
const _: () = assert!(size_of::<Entry>() == 16);

/// Places at the start, 64 KiB: a small feed needs no more, and doubling to a million costs as much as a few messages each.
const PLACES_MIN: usize = 1 << 12;

/// Odd, near 2^64 divided by the golden ratio: neighbours in, strangers out.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// References whose homes share a cache line.
const LINE_BITS: u32 = 2;

#[derive(Clone, Debug)]
pub(super) struct Orders {
    places: Vec<Entry>,
    /// Places less one.
    mask: usize,
    /// How far a spread reference is shifted to give a line.
    shift: u32,
    len: usize,
}

impl Orders {
    pub(super) fn new() -> Self {
        Self::with_places(PLACES_MIN)
    }

    fn with_places(places: usize) -> Self {
        assert!(places.is_power_of_two(), "a mask chooses the place");
        Self {
            places: vec![Entry::default(); places],
            mask: places - 1,
            shift: 64 - (places.trailing_zeros() - LINE_BITS),
            len: 0,
        }
    }

    /// Orders in the table.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn home(&self, reference: u64) -> usize {
        let line = (reference >> LINE_BITS).wrapping_mul(SPREAD) >> self.shift;
        ((line << LINE_BITS) | (reference & ((1 << LINE_BITS) - 1))) as usize
    }

    /// The place of an order.
    #[inline]
    pub(super) fn find(&self, reference: u64) -> Option<usize> {
        let mut at = self.home(reference);
        loop {
            // The mask keeps `at` below the length; half of the places are empty, so this ends.
            let entry = &self.places[at & self.mask];
            if entry.shares == 0 {
                return None;
            }
            if entry.reference == reference {
                return Some(at & self.mask);
            }
            at += 1;
        }
    }

    #[inline]
    pub(super) fn get(&self, reference: u64) -> Option<&Entry> {
        self.find(reference).map(|at| &self.places[at])
    }

    /// The order at a place that [`Orders::find`] gave.
    #[inline]
    pub(super) fn at(&mut self, at: usize) -> &mut Entry {
        &mut self.places[at]
    }

    /// The empty place where an order of this reference goes, to be filled at once; `None` when it rests already.
    #[inline]
    pub(super) fn insert(&mut self, reference: u64) -> Option<&mut Entry> {
        if self.len * 2 >= self.places.len() {
            self.grow();
        }
        let mut at = self.home(reference);
        loop {
            let entry = &self.places[at & self.mask];
            if entry.shares == 0 {
                self.len += 1;
                return Some(&mut self.places[at & self.mask]);
            }
            if entry.reference == reference {
                return None;
            }
            at += 1;
        }
    }

    /// Empties a place, and moves what lies behind it so that no search stops early.
    #[inline]
    pub(super) fn remove(&mut self, at: usize) {
        self.len -= 1;
        let mut hole = at;
        let mut next = at;
        loop {
            next = (next + 1) & self.mask;
            let entry = self.places[next];
            if entry.shares == 0 {
                break;
            }
            // It may fill the hole unless its home lies behind the hole, up to itself.
            let from_home = next.wrapping_sub(self.home(entry.reference)) & self.mask;
            let from_hole = next.wrapping_sub(hole) & self.mask;
            if from_home >= from_hole {
                self.places[hole] = entry;
                hole = next;
            }
        }
        self.places[hole] = Entry::default();
    }

    #[cold]
    fn grow(&mut self) {
        let mut grown = Self::with_places(self.places.len() * 2);
        for entry in self.iter() {
            *grown
                .insert(entry.reference)
                .expect("each reference is there once") = *entry;
        }
        *self = grown;
    }

    /// All orders, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().filter(|entry| entry.shares != 0)
    }

    /// Checks what the module says.
    pub(super) fn check(&self) {
        assert_eq!(self.iter().count(), self.len, "the count is right");
        assert!(self.len * 2 <= self.places.len(), "half is empty");
        for entry in self.iter() {
            let found = self.get(entry.reference).expect("every order is found");
            assert!(std::ptr::eq(found, entry), "and is there once");
        }
    }
}
