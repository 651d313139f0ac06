//! Hardware addresses of those who sent before, so that an answer that was held finds its way without a question.
//!
//! A fixed number of places, a few for each hash of an address. When they are all taken, the one learnt longest ago goes: its owner's held answer is
//! not sent, and its resend learns it again. As with ARP, who can send frames on the wire can claim any address; answers are signed, not secret.

/// Places of one hash.
const WAYS: usize = 8;
/// Hashes: 8,192 places, 80 KiB, more than a colocation has traders.
const SETS_LOG2: u32 = 10;

/// One known address.
#[derive(Clone, Copy)]
struct Neighbour {
    address: [u8; 4],
    hardware: [u8; 6],
}

/// Places of one hash, the one learnt last first. An IPv4 address of zeros is nobody's.
#[derive(Clone, Copy)]
struct Set([Neighbour; WAYS]);

/// The table.
pub(crate) struct Neighbours(Box<[Set]>);

impl Neighbours {
    /// An empty table.
    pub(crate) fn new() -> Neighbours {
        let nobody = Neighbour {
            address: [0; 4],
            hardware: [0; 6],
        };
        Neighbours(vec![Set([nobody; WAYS]); 1 << SETS_LOG2].into())
    }

    fn set(address: [u8; 4]) -> usize {
        // Fibonacci hashing: neighbouring addresses fall far apart.
        (u32::from_be_bytes(address).wrapping_mul(0x9E37_79B9) >> (32 - SETS_LOG2)) as usize
    }

    /// Learns where an address is, or that it has moved.
    pub(crate) fn learn(&mut self, address: [u8; 4], hardware: [u8; 6]) {
        let Set(ways) = &mut self.0[Self::set(address)];
        let at = ways.iter().position(|it| it.address == address);
        match at {
            Some(at) => ways[at].hardware = hardware,
            None => {
                ways.copy_within(..WAYS - 1, 1);
                ways[0] = Neighbour { address, hardware };
            }
        }
    }

    /// Where an address is.
    pub(crate) fn find(&self, address: [u8; 4]) -> Option<[u8; 6]> {
        let Set(ways) = &self.0[Self::set(address)];
        let known = ways.iter().find(|it| it.address == address);
        known.filter(|_| address != [0; 4]).map(|it| it.hardware)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_and_may_move() {
        let mut table = Neighbours::new();
        assert_eq!(table.find([0; 4]), None);
        assert_eq!(table.find([10, 0, 0, 1]), None);
        for host in 1..=254 {
            table.learn([10, 0, 0, host], [host; 6]);
        }
        for host in 1..=254 {
            assert_eq!(table.find([10, 0, 0, host]), Some([host; 6]));
        }
        table.learn([10, 0, 0, 9], [77; 6]);
        assert_eq!(table.find([10, 0, 0, 9]), Some([77; 6]));
    }

    #[test]
    fn the_one_learnt_longest_ago_goes() {
        let mut table = Neighbours::new();
        let same =
            |number: u32| Neighbours::set(number.to_be_bytes()) == Neighbours::set([0, 0, 0, 1]);
        let alike: Vec<[u8; 4]> = (1..)
            .filter(|&it| same(it))
            .map(u32::to_be_bytes)
            .take(WAYS + 1)
            .collect();
        for (&address, mark) in alike.iter().zip(1..) {
            table.learn(address, [mark; 6]);
        }
        assert_eq!(table.find(alike[0]), None);
        for (&address, mark) in alike.iter().zip(1..).skip(1) {
            assert_eq!(table.find(address), Some([mark; 6]));
        }
    }
}
