//! Numbers of the header that anyone may read by name, without knowing a layout: for operators' tools.

use crate::shard::Header;
use core::mem::offset_of;

/// A number of a shard's header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Total {
    /// Its name.
    pub name: &'static str,
    /// Its offset in the region.
    pub at: usize,
    /// Its length, bytes.
    pub bytes: usize,
}

macro_rules! totals {
    ($($field:ident: $bytes:literal,)+) => {
        /// All of them, in the header's order.
        pub const TOTALS: &[Total] = &[$(Total {
            name: stringify!($field),
            at: offset_of!(Header, $field),
            bytes: $bytes,
        },)+];
    };
}

totals! {
    broken: 4,
    broken_sequence: 8,
    time_ns: 8,
    next_sequence: 8,
    controls_taken: 8,
    halted: 4,
    pending_count: 4,
    orders_live: 4,
    levels_live: 4,
    ladder_used: 4,
    answers_used: 4,
    references_used: 4,
    accounts_max: 4,
    assets_max: 4,
    instruments_max: 4,
    sessions_max: 4,
    orders_max: 4,
    levels_max: 4,
    ladder_max: 4,
    answers_max: 4,
    references_max: 4,
    midnight_ns: 8,
    day: 4,
    instruments_open: 4,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_lie_in_the_header() {
        for total in TOTALS {
            assert!(total.at + total.bytes <= size_of::<Header>());
            assert!([4, 8].contains(&total.bytes) && total.at.is_multiple_of(total.bytes));
        }
    }
}
