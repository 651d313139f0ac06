//! Books: levels and queues in the pool, places of references.

use super::desk::*;
use crate::control::{Control, ControlKind, Grant, List};
use crate::limits::BUCKET_LEN;
use crate::{Capacity, Reason};
use ring0_wire::message::{BUY, PEG_PRIMARY, SELL};
use ring0_wire::{Flags, SessionId};

#[test]
fn references_share_places() {
    let narrow = |session| Grant {
        references_log2: 4,
        ..grant(session)
    };
    let one_bucket = Capacity {
        buckets: 1,
        ..Capacity::SMALL
    };
    let mut desk = Desk::with(one_bucket, LIST, &narrow);
    for time in 0..=BUCKET_LEN {
        desk.takes(0, enter(1 + 16 * time, BUY, 1, 100, DAY), 0);
    }
    desk.rejects(0, enter(513, BUY, 1, 100, DAY), Reason::TooManyLive);
    desk.takes(0, enter(514, BUY, 1, 100, DAY), 0);
    // In a replace the original's place counts as free, in the bucket too.
    desk.rejects(0, replace(514, 529, 1, 100), Reason::TooManyLive);
    desk.takes(0, replace(1, 545, 1, 100), 0);
    desk.takes(0, cancel(17), 10);
    desk.takes(0, enter(561, BUY, 1, 100, DAY), 0);
}

#[test]
fn pools_end() {
    let small = Capacity {
        orders: 3,
        levels: 2,
        ladder: 1024,
        ..Capacity::SMALL
    };
    let mut desk = Desk::with(small, LIST, &grant);
    desk.one(0, enter(1, BUY, 1, 100, DAY));
    desk.one(0, enter(2, BUY, 1, 99, DAY));
    desk.rejects(0, enter(3, BUY, 1, 98, DAY), Reason::LevelsFull);
    desk.takes(0, replace(2, 4, 1, 98), 0); // its own level is gone
    desk.one(0, enter(5, BUY, 1, 98, DAY));
    desk.rejects(1, enter(1, SELL, 1, 1, IOC), Reason::BookFull);
    desk.rejects(0, replace(4, 6, 2, 97), Reason::LevelsFull);
    let second = |instrument| Control::new(ControlKind::List, &List { instrument, ..LIST });
    desk.order(second(1), Err(Reason::LadderFull));
    desk.order(second(0), Err(Reason::AlreadyListed));
    desk.order(second(4), Err(Reason::IndexOutOfRange));
    let odd = List {
        instrument: 1,
        ladder_base: 1 << 31,
        ladder_len: 1,
        tick_size: 1,
        tick_value: 1 << 31,
        lots_max: 1,
        ..LIST
    };
    desk.refused(ControlKind::List, &odd, Reason::BadListing);
    let endless = Grant {
        session: 2,
        id: SessionId::new(2, 0).unwrap().0,
        burst: 4,
        interval_ns: 1 << 60,
        ..grant(0)
    };
    desk.refused(ControlKind::GrantSession, &endless, Reason::BadGrant);
}

#[test]
fn every_book_takes_from_one_pool_of_levels() {
    let small = Capacity {
        levels: 4,
        ..Capacity::SMALL
    };
    let mut desk = Desk::with(small, LIST, &grant);
    let hidden = DAY.with(Flags::HIDDEN);
    desk.takes(0, enter(1, BUY, 1, 100, DAY), 0);
    desk.takes(0, enter(2, BUY, 1, 100, hidden), 0);
    desk.takes(0, stop(enter(3, BUY, 1, 100, DAY), 100), 0);
    desk.takes(0, pegged(enter(4, BUY, 1, 100, DAY), PEG_PRIMARY, 0), 0);
    for (reference, other) in [
        (5, enter(5, BUY, 1, 99, hidden)),
        (6, stop(enter(6, BUY, 1, 100, DAY), 101)),
        (7, pegged(enter(7, BUY, 1, 100, DAY), PEG_PRIMARY, 1)),
    ] {
        assert_eq!(other.reference, reference);
        desk.rejects(0, other, Reason::LevelsFull);
    }
    // Another stop under the same trigger and another peg of the queue need none.
    desk.takes(0, stop(enter(8, BUY, 1, 90, DAY), 100), 0);
    desk.takes(0, pegged(enter(9, BUY, 1, 100, DAY), PEG_PRIMARY, 0), 0);
}
