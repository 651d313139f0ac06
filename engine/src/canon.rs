//! The canonical listing of a shard's state and its hash (RULES 26).
//!
//! Engine and reference each walk their own state in the order that `docs/matching.md#state-hash` gives and hand every
//! item to a [`Listing`] as a tag and numbers. Slots, free lists and offsets never appear, so two engines with the same
//! history hash alike wherever their memory is.

/// What an item of the listing is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Tag {
    /// `time_ns, day_base_ns, next_sequence, halted, day, midnight_ns, second that expiry has come to, 1 while expiry is pending`.
    Shard = b'H',
    /// `asset, total deposited − withdrawn, fees`; only where one is not zero.
    Asset = b'$',
    /// `instrument`, then the fields of its listing in their order (symbol as a little-endian number; reserved ones and
    /// `state` left out, signed ones sign-extended), then `state, dynamic_ticks, fat_ticks, pause_ticks, reference, last trade, auction price,
    /// pause_low, pause_high`.
    Instrument = b'I',
    /// `instrument, port`: an instrument that another shard trades.
    Route = b'R',
    /// `book (0 to 5), price, orders, lots`.
    Level = b'L',
    /// `side (0 buy, 1 sell), kind letter, offset (as a byte), limit, orders, lots`: a peg queue.
    Queue = b'Q',
    /// `order, session, account, reference, price it stands under, open lots, flags, self-trade mode (8 added when by group), shown`, and where they apply, else
    /// 0, `peak, expiry, limit of a waiting stop`; `shown` is 0 where nothing is displayed.
    Order = b'o',
    /// `work` of the instrument before it; then of a sweep: `side, executed lots, peg bid, peg ask` and its `Order` behind it (shown 0); of an auction: `price, then, volume`;
    /// of a purge: `removal, side byte (space but in a Clear), book, id of the order visited next or 0, new base, new length` (the last two 0 but in a MoveLadder).
    Work = b'p',
    /// `account, killed, self-trade mode, trade group, orders_max, shares_max, notional_max, rate state, interval, burst (messages)`; before its
    /// balances.
    Account = b'a',
    /// `account, asset, available, held, outflow, limit`; for an open account every asset where one of the first three
    /// is not zero or the limit is not the default.
    Balance = b'A',
    /// `account, number, amount, asset, shard`: its last transfer out; the last three 0 unless it is in flight. Only where there was one.
    Transfer = b't',
    /// `account, shard, number`: its last transfer in from a shard; only where there was one.
    Credited = b'c',
    /// `session, id (first 8 bytes little-endian), id (last 2), account, status, expected, last reference, rate state,
    /// interval, burst (messages), expiry, answers_log2, references_log2, orders_max, shares_max, notional_max, cancel_on_disconnect`.
    Session = b'S',
    /// `client sequence, outcome, reason, reference, quantity, venue sequence`, oldest first.
    Answer = b'w',
    /// `order`: id of an overflowed order of the session before it.
    Overflowed = b'v',
    /// `locate, side byte (as in M), removal, session, place, id of the overflowed order visited next or 0`: a pending mass cancel of the account or session before it.
    Mass = b'm',
    /// `second, order`: a good-till-time order.
    Expiring = b'e',
    /// `1 instrument, 2 session, 3 account or 4 expiry, index (of expiry 0)`: pending continuations, the next one first.
    Pending = b'F',
}

/// Takes the items of the canonical listing.
pub trait Listing {
    /// One item.
    fn item(&mut self, tag: Tag, numbers: &[u64]);
}

/// BLAKE3 of a canonical listing.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct StateHash(pub [u8; 32]);

#[cfg(feature = "std")]
mod hash {
    use super::{Listing, StateHash, Tag};

    /// Hashes the items: tag, count, then each number as 8 little-endian bytes.
    #[derive(Default)]
    pub struct Hasher(blake3::Hasher);

    impl Hasher {
        /// The hash of what was listed.
        #[must_use]
        pub fn finish(&self) -> StateHash {
            StateHash(*self.0.finalize().as_bytes())
        }
    }

    impl Listing for Hasher {
        fn item(&mut self, tag: Tag, numbers: &[u64]) {
            let mut bytes = [0; 2 + 8 * 32];
            bytes[0] = tag as u8;
            bytes[1] = u8::try_from(numbers.len()).expect("an item has few numbers");
            for (to, number) in bytes[2..].chunks_exact_mut(8).zip(numbers) {
                to.copy_from_slice(&number.to_le_bytes());
            }
            self.0.update(&bytes[..2 + 8 * numbers.len()]);
        }
    }

    /// The listing as text, a line an item: for looking at where two states differ.
    #[derive(Default)]
    pub struct Text(pub String);

    impl Listing for Text {
        fn item(&mut self, tag: Tag, numbers: &[u64]) {
            use core::fmt::Write as _;
            let _ = write!(self.0, "{}", tag as u8 as char);
            for number in numbers {
                let _ = write!(self.0, " {number}");
            }
            self.0.push('\n');
        }
    }

    impl core::fmt::Display for StateHash {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }

    impl core::fmt::Debug for StateHash {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            write!(f, "{self}")
        }
    }
}
#[cfg(feature = "std")]
pub use hash::{Hasher, Text};
