//! Hardware addresses of those who sent, by IPv4 address: where a held answer goes.
//!
//! Learnt only from packets that the steering program passed, so from holders of a session. Bounded, and full means that the one which stands in the
//! way is forgotten: its held answers are not sent, it asks again and gets them as a duplicate.

/// Places: a power of two. Some hundred senders behind one router are one hardware address, but many IPv4 addresses.
const PLACES: usize = 4096;

/// Places looked at for an address.
const PROBES: usize = 8;

/// How frames to one sender begin, and which queue it was last seen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Neighbour {
    /// The sender's IPv4 address.
    pub(crate) address: [u8; 4],
    /// Its hardware address, or its router's.
    pub(crate) theirs: [u8; 6],
    /// The hardware address that it sent to.
    pub(crate) ours: [u8; 6],
    /// Queue that it came in by.
    pub(crate) queue: usize,
}

/// The table.
pub(crate) struct Neighbours {
    places: Box<[Option<Neighbour>]>,
    forgotten: u64,
}

impl Neighbours {
    pub(crate) fn new() -> Neighbours {
        Neighbours {
            places: vec![None; PLACES].into(),
            forgotten: 0,
        }
    }

    /// Places of an address, best first.
    fn probes(address: [u8; 4]) -> impl Iterator<Item = usize> {
        // Fibonacci hashing: neighbours in a subnet go far apart.
        let hash = u32::from_be_bytes(address).wrapping_mul(0x9E37_79B1) >> 16;
        (0..PROBES).map(move |probe| (hash as usize + probe) % PLACES)
    }

    /// Notes how a sender is reached.
    pub(crate) fn learn(&mut self, neighbour: Neighbour) {
        let mut free = None;
        for place in Self::probes(neighbour.address) {
            match &mut self.places[place] {
                Some(known) if known.address == neighbour.address => {
                    *known = neighbour;
                    return;
                }
                Some(_) => {}
                None => {
                    free = free.or(Some(place));
                }
            }
        }
        let place = free.unwrap_or_else(|| {
            self.forgotten += 1;
            Self::probes(neighbour.address)
                .next()
                .expect("there is a first of eight")
        });
        self.places[place] = Some(neighbour);
    }

    /// How a sender is reached, if it is known.
    pub(crate) fn find(&self, address: [u8; 4]) -> Option<&Neighbour> {
        Self::probes(address)
            .filter_map(|place| self.places[place].as_ref())
            .find(|known| known.address == address)
    }

    /// Neighbours that had to make room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(number: u32) -> Neighbour {
        let [a, b, c, d] = number.to_be_bytes();
        Neighbour {
            address: [a, b, c, d],
            theirs: [2, 0, a, b, c, d],
            ours: [1; 6],
            queue: number as usize % 3,
        }
    }

    #[test]
    fn what_is_found_is_what_was_learnt_last() {
        let mut table = Neighbours::new();
        // More than fit: some are forgotten, none is mistaken for another.
        let all: Vec<Neighbour> = (0..6000).map(|it| neighbour(0x0A00_0000 + it)).collect();
        all.iter().for_each(|one| table.learn(*one));
        let found = all
            .iter()
            .filter(|one| match table.find(one.address) {
                Some(known) => {
                    assert_eq!(known, *one);
                    true
                }
                None => false,
            })
            .count();
        assert_eq!(found as u64 + table.forgotten(), 6000);
        assert!(found > 3500, "{found} of {PLACES} places are used");
        let mut moved = neighbour(0x0A00_0000 + 5999);
        moved.theirs = [7; 6];
        let forgotten = table.forgotten();
        table.learn(moved);
        assert_eq!(table.find(moved.address), Some(&moved));
        assert_eq!(table.forgotten(), forgotten);
        assert_eq!(table.find([9, 9, 9, 9]), None);
    }
}
