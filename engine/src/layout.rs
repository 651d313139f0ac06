//! Where the tables of a region lie, how many bytes it needs, and how a new one is written (RULES 20, 24).
//!
//! Tables follow the header and the scratch area in a fixed order, each aligned to 64 bytes. A region must begin as zeros; the
//! header's magic is written last, so a region whose making was cut short is seen as none.

use crate::Capacity;
use crate::ladder::LOWEST_BIT;
use crate::limits::SLOT_LEN;
use crate::shard::{
    Account, Asset, BOOKS, Balance, Bucket, Header, Instrument, Level, MAGIC, Order, Pending,
    SCRATCH_AT, Scratch, Session, Shard, StoredAnswer, Terms, Transfers,
};

/// Changes whenever the meaning of a byte in the region changes.
pub const LAYOUT_VERSION: u64 = 4;

/// Largest region: the arena's 4 GiB less page 0, less a page behind (RULES 20).
pub const REGION_BYTES_MAX: u64 = (1 << 32) - 2 * 4096;

/// Most instruments of a shard: a locate is 16 bits and not 0.
pub(crate) const INSTRUMENTS_MAX: u32 = 65_535;

/// Most sessions of a shard.
pub(crate) const SESSIONS_MAX: u32 = 1 << 20;

/// Places of the expiry list's heads, one a second: the power of two above a day's seconds.
pub(crate) const EXPIRY_PLACES: u32 = 1 << 17;

/// An index of instruments takes new places in the ladder pool as often as it is listed with more than it has, each time at least
/// twice as many: from 2^6 to 2^24.
const TAKINGS_MAX: u64 = 24 - 6 + 1;

/// Words of the bitmaps of one ladder of 2^n places, 64 at least: one bit a place, then one bit a word of the height below.
const fn bitmap_words(places: u64) -> u64 {
    let first = places.div_ceil(64);
    let second = first.div_ceil(64);
    let third = second.div_ceil(64);
    first + second + third + third.div_ceil(64)
}

/// Why a capacity is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CapacityError {
    /// A dimension is zero or above its bound.
    OutOfRange {
        /// Which one.
        dimension: &'static str,
        /// What was asked.
        asked: u32,
        /// The largest allowed.
        max: u32,
    },
    /// Buckets are not a power of two.
    BucketsNotPowerOfTwo(u32),
    /// The whole does not fit into one arena.
    TooLarge {
        /// Bytes that it would need.
        bytes: u64,
    },
}

impl core::fmt::Display for CapacityError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            CapacityError::OutOfRange {
                dimension,
                asked,
                max,
            } => {
                write!(
                    f,
                    "capacity: {dimension} = {asked} is not between 1 and {max}"
                )
            }
            CapacityError::BucketsNotPowerOfTwo(asked) => {
                write!(
                    f,
                    "capacity: buckets = {asked} is not a power of two; take {}",
                    asked.next_power_of_two()
                )
            }
            CapacityError::TooLarge { bytes } => write!(
                f,
                "capacity: {bytes} bytes do not fit one arena ({REGION_BYTES_MAX}); lower orders, ladder, answers or references"
            ),
        }
    }
}

impl core::error::Error for CapacityError {}

/// One table of a region.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Offset in the region.
    pub at: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of an entry.
    pub entry_len: u64,
}

impl Part {
    /// Bytes of the table.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.entries * self.entry_len
    }
}

/// Number of parts of a region.
pub const PARTS: usize = 20;

/// Where everything lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    /// The capacity it was made for.
    pub capacity: Capacity,
    /// Header, scratch, then the tables.
    pub parts: [Part; PARTS],
    /// Bytes of the whole, a multiple of the page size.
    pub bytes: u64,
}

impl Layout {
    /// Lays a region out.
    ///
    /// # Errors
    /// A dimension out of range, or a whole that does not fit.
    pub fn new(capacity: &Capacity) -> Result<Layout, CapacityError> {
        let c = capacity;
        for (dimension, asked, max) in [
            ("accounts", c.accounts, 1 << 20),
            ("assets", c.assets, 256),
            ("instruments", c.instruments, INSTRUMENTS_MAX),
            ("sessions", c.sessions, SESSIONS_MAX),
            ("orders", c.orders, 1 << 26),
            ("levels", c.levels, 1 << 26),
            ("ladder", c.ladder, 1 << 28),
            ("answers", c.answers, 1 << 27),
            ("references", c.references, 1 << 29),
            ("buckets", c.buckets, 1 << 25),
        ] {
            if asked == 0 || asked > max {
                return Err(CapacityError::OutOfRange {
                    dimension,
                    asked,
                    max,
                });
            }
        }
        if !c.buckets.is_power_of_two() {
            return Err(CapacityError::BucketsNotPowerOfTwo(c.buckets));
        }
        let wide = u64::from;
        let ladder = wide(c.ladder).next_multiple_of(64);
        // What is given is at least 64 places, and its bitmaps round up to a whole word at each of the three upper heights.
        let takings = (ladder / 64).min(wide(c.instruments) * TAKINGS_MAX);
        let words =
            ladder / 64 + ladder / 4096 + ladder / 262_144 + ladder / (1 << 24) + 3 * takings;
        let references = wide(c.references).next_multiple_of(64);
        let expiry = wide(EXPIRY_PLACES);
        let books = BOOKS as u64;
        let table = |name, entries, entry_len: usize| Part {
            name,
            at: 0,
            entries,
            entry_len: entry_len as u64,
        };
        let mut parts = [
            table("header", 1, size_of::<Header>()),
            table("scratch", 1, size_of::<Scratch>()),
            table("accounts", wide(c.accounts), size_of::<Account>()),
            table(
                "balances",
                wide(c.accounts) * wide(c.assets),
                size_of::<Balance>(),
            ),
            table("assets", wide(c.assets), size_of::<Asset>()),
            table("instruments", wide(c.instruments), size_of::<Instrument>()),
            table("sessions", wide(c.sessions), size_of::<Session>()),
            table("orders", wide(c.orders), size_of::<Order>()),
            table("terms", wide(c.orders), size_of::<Terms>()),
            table("levels", wide(c.levels), size_of::<Level>()),
            table("ladder", books * ladder, 4),
            table("bitmap", books * words, 8),
            table("answers", wide(c.answers), size_of::<StoredAnswer>()),
            table("references", references, 4),
            table("reference bits", references / 64, 8),
            table("buckets", wide(c.buckets), size_of::<Bucket>()),
            table("expiry", expiry, 4),
            table("expiry bits", bitmap_words(expiry), 8),
            table(
                "pending",
                wide(c.instruments) + wide(c.sessions) + wide(c.accounts) + 1,
                size_of::<Pending>(),
            ),
            table("transfers", wide(c.accounts), size_of::<Transfers>()),
        ];
        let mut at = 0;
        for part in &mut parts {
            part.at = at;
            at = (at + part.bytes()).next_multiple_of(SLOT_LEN as u64);
        }
        let bytes = at.next_multiple_of(4096);
        if bytes > REGION_BYTES_MAX {
            return Err(CapacityError::TooLarge { bytes });
        }
        Ok(Layout {
            capacity: *capacity,
            parts,
            bytes,
        })
    }

    /// A number that differs when layout version, capacity or limits differ (FNV-1a): what an adopter compares.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        let mut add = |number: u64| {
            for byte in number.to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
            }
        };
        add(LAYOUT_VERSION);
        add(u64::from(crate::limits::FILLS_MAX) << 32 | u64::from(crate::limits::PACKET_WORK_MAX));
        for part in &self.parts {
            add(part.at);
            add(part.entries);
            add(part.entry_len);
        }
        hash
    }

    fn at(&self, name: &str) -> u32 {
        let part = self.parts.iter().find(|part| part.name == name);
        u32::try_from(part.map_or(0, |part| part.at)).unwrap_or(0) // every part has an offset below 2^32
    }

    /// Writes the header of a region whose bytes are all zero. The magic comes last.
    pub fn initialise(&self, shard: Shard<'_>) {
        let header = shard.header();
        let c = &self.capacity;
        header.layout.set(self.hash());
        header.bytes.set(self.bytes);
        header.next_sequence.set(1);
        header.accounts_max.set(c.accounts);
        header.assets_max.set(c.assets);
        header.instruments_max.set(c.instruments);
        header.sessions_max.set(c.sessions);
        header.orders_max.set(c.orders);
        header.levels_max.set(c.levels);
        header.ladder_max.set(c.ladder.next_multiple_of(64));
        header.answers_max.set(c.answers);
        header.references_max.set(c.references.next_multiple_of(64));
        header.buckets.set(c.buckets);
        header.accounts_at.set(self.at("accounts"));
        header.balances_at.set(self.at("balances"));
        header.assets_at.set(self.at("assets"));
        header.instruments_at.set(self.at("instruments"));
        header.sessions_at.set(self.at("sessions"));
        header.orders_at.set(self.at("orders"));
        header.terms_at.set(self.at("terms"));
        header.transfers_at.set(self.at("transfers"));
        header.levels_at.set(self.at("levels"));
        header.ladder_at.set(self.at("ladder"));
        header.bitmap_at.set(self.at("bitmap"));
        header.answers_at.set(self.at("answers"));
        header.references_at.set(self.at("references"));
        header.reference_bits_at.set(self.at("reference bits"));
        header.buckets_at.set(self.at("buckets"));
        header.pending_at.set(self.at("pending"));
        header.expiry_at.set(self.at("expiry"));
        header.expiry.ladder.set(self.at("expiry"));
        header.expiry.mask.set(EXPIRY_PLACES - 1);
        let mut bits = self.at("expiry bits");
        let mut words = EXPIRY_PLACES;
        for height in &header.expiry.bits {
            height.set(bits);
            words = words.div_ceil(64);
            bits += words * 8;
        }
        for (cell, bit) in header.lowest_bit.iter().zip(LOWEST_BIT) {
            cell.set(bit);
        }
        core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
        header.magic.set(MAGIC);
    }
}

const _: () = assert!((SCRATCH_AT as usize).is_multiple_of(SLOT_LEN));
const _: () = assert!(crate::limits::DAY_SECONDS < EXPIRY_PLACES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other() {
        let layout = Layout::new(&Capacity::SMALL).unwrap();
        assert_eq!(layout.parts[1].at, u64::from(SCRATCH_AT));
        for pair in layout.parts.windows(2) {
            assert!(pair[0].at + pair[0].bytes() <= pair[1].at, "{pair:?}");
            assert_eq!(pair[1].at % 64, 0);
        }
    }

    #[test]
    fn bitmaps_of_every_ladder_fit_their_table() {
        for c in [
            Capacity::SMALL,
            Capacity {
                instruments: 1,
                ladder: 1 << 24,
                ..Capacity::SMALL
            },
        ] {
            let layout = Layout::new(&c).unwrap();
            let table = layout
                .parts
                .iter()
                .find(|part| part.name == "bitmap")
                .unwrap();
            // All of the pool in ladders of one length, from the shortest to the longest.
            for log2 in 6..=24 {
                let ladders =
                    (u64::from(c.ladder) >> log2).min(u64::from(c.instruments) * TAKINGS_MAX);
                let words = BOOKS as u64 * ladders * bitmap_words(1 << log2);
                assert!(words <= table.entries, "2^{log2}: {words}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let large = Capacity {
            orders: 1 << 26,
            ..Capacity::SMALL
        };
        assert!(matches!(
            Layout::new(&large),
            Err(CapacityError::TooLarge { .. })
        ));
        let zero = Capacity {
            orders: 0,
            ..Capacity::SMALL
        };
        assert!(matches!(
            Layout::new(&zero),
            Err(CapacityError::OutOfRange {
                dimension: "orders",
                ..
            })
        ));
        let odd = Capacity {
            buckets: 3,
            ..Capacity::SMALL
        };
        assert_eq!(
            Layout::new(&odd),
            Err(CapacityError::BucketsNotPowerOfTwo(3))
        );
        assert!(
            CapacityError::BucketsNotPowerOfTwo(3)
                .to_string()
                .contains("take 4")
        );
    }

    #[test]
    fn capacities_differ_in_their_hash() {
        let small = Layout::new(&Capacity::SMALL).unwrap().hash();
        let other = Layout::new(&Capacity {
            orders: 4097,
            ..Capacity::SMALL
        })
        .unwrap()
        .hash();
        assert_ne!(small, other);
    }
}
