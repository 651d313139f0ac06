//! How those who sent before are reached, by IPv4 address, so that an answer that was held finds its way without a question.
//!
//! For ports that make frames themselves. Learnt only from packets that a port passed on. A fixed number of places, a few for each hash of an address;
//! when they are all taken, the one learnt longest ago goes: its owner's held answer is not sent, and its resend learns it again. As with ARP, who can
//! send frames on the wire can claim any address; answers are signed, not secret.

/// Places of one hash.
const WAYS: usize = 8;
/// Hashes: 8,192 places, more than a colocation has traders.
const SETS_LOG2: u32 = 10;

/// Places of one hash, the one learnt last first.
type Set<W> = [Option<([u8; 4], W)>; WAYS];

/// What is known of each address: a `W`, for instance a hardware address.
pub struct Neighbours<W> {
    sets: Box<[Set<W>]>,
    forgotten: u64,
}

impl<W: Copy> Default for Neighbours<W> {
    fn default() -> Neighbours<W> {
        Neighbours {
            sets: vec![[None; WAYS]; 1 << SETS_LOG2].into(),
            forgotten: 0,
        }
    }
}

impl<W: Copy> Neighbours<W> {
    fn set(address: [u8; 4]) -> usize {
        // Fibonacci hashing: neighbouring addresses fall far apart.
        (u32::from_be_bytes(address).wrapping_mul(0x9E37_79B9) >> (32 - SETS_LOG2)) as usize
    }

    /// Learns how an address is reached, or that it has moved.
    pub fn learn(&mut self, address: [u8; 4], way: W) {
        let set = &mut self.sets[Self::set(address)];
        let known = set.iter_mut().flatten().find(|it| it.0 == address);
        match known {
            Some(known) => known.1 = way,
            None => {
                self.forgotten += u64::from(set[WAYS - 1].is_some());
                set.copy_within(..WAYS - 1, 1);
                set[0] = Some((address, way));
            }
        }
    }

    /// How an address is reached, if it is known.
    #[must_use]
    pub fn find(&self, address: [u8; 4]) -> Option<W> {
        let mut known = self.sets[Self::set(address)].iter().flatten();
        known.find(|it| it.0 == address).map(|it| it.1)
    }

    /// Addresses that had to make room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_what_was_learnt_last() {
        let mut table = Neighbours::default();
        assert_eq!(table.find([0; 4]), None);
        // More than fit: some are forgotten, none is mistaken for another.
        for number in 0..12_000_u32 {
            table.learn((0x0A00_0000 + number).to_be_bytes(), number);
        }
        let mut found = 0;
        for number in 0..12_000_u32 {
            if let Some(way) = table.find((0x0A00_0000 + number).to_be_bytes()) {
                assert_eq!(way, number);
                found += 1;
            }
        }
        assert_eq!(found + table.forgotten(), 12_000);
        assert!(found > 7_000, "{found} of {} places", WAYS << SETS_LOG2);
        let (moved, forgotten) = ((0x0A00_0000 + 11_999_u32).to_be_bytes(), table.forgotten());
        table.learn(moved, 7);
        assert_eq!((table.find(moved), table.forgotten()), (Some(7), forgotten));
        assert_eq!(table.find([9, 9, 9, 9]), None);
    }

    #[test]
    fn the_one_learnt_longest_ago_goes() {
        let mut table = Neighbours::default();
        let set = Neighbours::<u32>::set;
        let alike: Vec<[u8; 4]> = (1..)
            .map(u32::to_be_bytes)
            .filter(|&it| set(it) == set([0, 0, 0, 1]))
            .take(WAYS + 1)
            .collect();
        for (&address, mark) in alike.iter().zip(1_u32..) {
            table.learn(address, mark);
        }
        assert_eq!((table.find(alike[0]), table.forgotten()), (None, 1));
        for (&address, mark) in alike.iter().zip(1..).skip(1) {
            assert_eq!(table.find(address), Some(mark));
        }
    }
}
