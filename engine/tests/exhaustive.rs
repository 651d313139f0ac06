//! Every short sequence: all commands of a small alphabet up to a depth, over two accounts, a few prices and quantities; engine and
//! reference equal after each. What random flows hit once in a million, these hit always.
//!
//! Depths are chosen so that all groups together stay within 90 seconds on one core; `RING0_DEPTH` adds to all of them. The same
//! sequences go through the kernel program in `tests/tests/exhaustive_kernel.rs`.
#![cfg(feature = "std")]

mod groups;
mod pair;
#[macro_use]
mod search;
mod tape;
mod venue;

use groups::Group;
use search::{Search, Two};

fn tried(group: &'static Group) {
    Search::<Two>::new(group).all();
}

groups! {
    plain = 0,
    self_trade = 1,
    icebergs = 2,
    stops = 3,
    pegs = 4,
    fill_or_kill = 5,
    auctions = 6,
    pauses = 7,
    mass_cancels = 8,
    days = 9,
}
