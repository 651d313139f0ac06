//! Every order type, with the numbers of the page's examples.

use super::desk::*;
use crate::Reason;
use crate::canon::Text;
use crate::control::{ControlKind, Expire};
use crate::limits::{FILLS_MAX, PEG_QUEUES_MAX};
use crate::record::Outcome;
use ring0_wire::message::{BUY, PEG_MIDPOINT, PEG_PRIMARY, SELL};
use ring0_wire::{Flags, Message};

#[test]
fn market_with_protection() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, SELL, 10, 100, DAY));
    desk.one(0, enter(2, SELL, 10, 105, DAY));
    desk.events();
    desk.takes(1, enter(1, BUY, 30, 104, DAY.with(Flags::MARKET)), 100);
    assert_eq!(desk.events(), ["filled B 10@100", "removed 1: 20 I0"]);
}

#[test]
fn sliding_post_only() {
    let mut desk = Desk::new();
    let slide = DAY.with(Flags::POST_SLIDE);
    desk.one(0, enter(1, SELL, 1, 100, DAY));
    desk.events();
    desk.takes(1, enter(1, BUY, 2, 103, slide), 0);
    assert_eq!(desk.events(), ["rested 1: B 2@99"]);
    // A replace slides again, here to where it stands.
    desk.takes(1, replace(1, 2, 1, 150), 0);
    assert_eq!(desk.events(), ["replaced 2: 2 to 1 kept 1"]);
    // Off the ladder below it, there is nowhere to slide to.
    desk.one(0, enter(2, SELL, 1, 50, DAY));
    desk.one(1, cancel(2));
    desk.one(0, enter(3, SELL, 1, 1, DAY));
    desk.rejects(1, enter(3, BUY, 1, 2, slide), Reason::OffLadder);
    // Without an opposite price nothing slides: 0 is not a price.
    let mut desk = Desk::new();
    desk.rejects(0, enter(1, SELL, 1, 0, slide), Reason::OffLadder);
}

#[test]
fn icebergs_show_a_slice() {
    let mut desk = Desk::new();
    desk.takes(0, iceberg(enter(1, SELL, 10, 50, DAY), 3), 0);
    desk.takes(0, enter(2, SELL, 4, 50, DAY), 0);
    assert_eq!(
        desk.events(),
        ["rested 1: S 10@50 shown 3", "rested 2: S 4@50"]
    );
    assert_eq!(desk.book.depth(0, SELL, 1), [(50, 7, 2)]);
    desk.takes(1, enter(1, BUY, 9, 50, DAY), 90);
    let want = [
        "filled B 3@50",
        "refilled 1: 3 of 7",
        "filled B 4@50",
        "filled B 2@50",
    ];
    assert_eq!(desk.events(), want);
    assert_eq!(desk.book.depth(0, SELL, 1), [(50, 1, 1)]);
    // What is held back goes first; a replace of no more lots keeps the slice.
    desk.takes(0, reduce(1, 2), 20);
    desk.takes(0, replace(1, 3, 2, 50), 0);
    assert_eq!(
        desk.events(),
        ["reduced 1: 2 to 3 shown 1", "replaced 3: 3 to 2 kept 1"]
    );
    desk.takes(0, replace(3, 4, 8, 50), 0);
    assert_eq!(desk.events()[1], "rested 4: S 8@50 shown 3");
    // An order that shows all it has is none.
    desk.takes(0, iceberg(enter(5, SELL, 4, 60, DAY), 4), 0);
    assert_eq!(desk.events(), ["rested 5: S 4@60"]);
}

#[test]
fn displayed_goes_before_hidden() {
    let mut desk = Desk::new();
    let hidden = DAY.with(Flags::HIDDEN);
    desk.takes(0, enter(1, SELL, 5, 100, hidden), 0);
    desk.takes(0, enter(2, SELL, 5, 100, DAY), 0);
    desk.takes(0, enter(3, SELL, 5, 99, hidden), 0);
    assert_eq!(desk.book.depth(0, SELL, 9), [(100, 5, 1)]);
    desk.events();
    desk.takes(1, enter(1, BUY, 14, 100, DAY), 140);
    assert_eq!(
        desk.events(),
        ["filled B 5@99", "filled B 5@100", "filled B 4@100"]
    );
    assert_eq!(desk.queue(SELL), [1]);
    // An order that must not take looks at hidden ones too.
    let post = enter(2, BUY, 1, 100, DAY.with(Flags::POST_REJECT));
    desk.rejects(1, post, Reason::WouldCross);
}

#[test]
fn pegs_follow_the_displayed_book() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, BUY, 1, 100, DAY));
    desk.one(0, enter(2, SELL, 1, 104, DAY));
    desk.events();
    let buy = pegged(enter(3, BUY, 2, 103, DAY), PEG_MIDPOINT, 0);
    desk.takes(0, buy, 0);
    assert_eq!(desk.events(), ["rested 3: B 2@103 shown 0"]);
    let quote = desk.book.quote(0);
    let best = |desk: &Desk, side| desk.book.instrument(0).best_price(side, quote);
    assert_eq!(best(&desk, BUY), Some(102));
    // A peg to sell comes in at 101 and meets the one to buy at its price.
    let sell = pegged(enter(1, SELL, 3, 90, DAY), PEG_MIDPOINT, 1);
    desk.takes(1, sell, 20);
    assert_eq!(desk.events()[0], "filled S 2@102");
    assert_eq!(best(&desk, SELL), Some(101));
    // Its own best displayed price does not move it, the other side's does.
    desk.takes(0, enter(4, BUY, 1, 101, DAY), 10);
    assert_eq!(desk.events(), ["filled B 1@101"]);
}

#[test]
fn an_incoming_order_meets_the_peg_first() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, BUY, 1, 100, DAY));
    desk.one(0, enter(2, SELL, 1, 104, DAY));
    desk.one(0, pegged(enter(3, BUY, 2, 103, DAY), PEG_MIDPOINT, 0));
    desk.events();
    desk.takes(1, enter(1, SELL, 3, 100, DAY), 30);
    assert_eq!(desk.events(), ["filled S 2@102", "filled S 1@100"]);
}

#[test]
fn the_lowest_id_among_hidden_and_pegs_comes_first() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, BUY, 1, 100, DAY));
    desk.one(0, pegged(enter(2, BUY, 1, 200, DAY), PEG_PRIMARY, 0));
    desk.one(0, enter(3, BUY, 2, 100, DAY.with(Flags::HIDDEN)));
    desk.one(0, pegged(enter(4, BUY, 4, 300, DAY), PEG_PRIMARY, 0));
    desk.one(0, pegged(enter(5, BUY, 8, 200, DAY), PEG_PRIMARY, 0));
    desk.events();
    desk.one(1, enter(1, SELL, 16, 100, DAY));
    let want = [1, 1, 2, 4, 8].map(|lots| format!("filled S {lots}@100"));
    assert_eq!(desk.events(), want);
}

#[test]
fn a_peg_without_a_price_waits() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, SELL, 1, 104, DAY));
    desk.takes(0, pegged(enter(2, BUY, 1, 103, DAY), PEG_MIDPOINT, 0), 0);
    desk.takes(0, pegged(enter(3, BUY, 1, 103, DAY), PEG_PRIMARY, 5), 0);
    desk.events();
    desk.takes(1, enter(1, SELL, 1, 1, IOC), 0);
    assert_eq!(desk.events(), ["removed 1: 1 I0"]);
    // With a bid at 1 the primary peg would stand at 6, the midpoint at 52.
    desk.one(0, enter(4, BUY, 1, 1, DAY));
    desk.events();
    desk.takes(1, enter(2, SELL, 2, 1, IOC), 20);
    assert_eq!(desk.events(), ["filled S 1@52", "filled S 1@6"]);
}

#[test]
fn peg_queues_end() {
    let mut desk = Desk::new();
    for queue in 0..PEG_QUEUES_MAX as i8 {
        let peg = enter(1 + queue as u32, BUY, 1, 100, DAY);
        desk.takes(0, pegged(peg, PEG_PRIMARY, queue), 0);
    }
    let other = pegged(enter(20, BUY, 1, 101, DAY), PEG_PRIMARY, 0);
    desk.rejects(0, other, Reason::PegsFull);
    desk.takes(0, pegged(enter(21, BUY, 1, 100, DAY), PEG_PRIMARY, 3), 0);
    // A queue that loses its last order is gone, in a replace too.
    desk.takes(0, replace(1, 22, 1, 101), 0);
}

#[test]
fn a_stop_limit_waits_for_its_trigger() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, SELL, 1, 100, DAY));
    desk.one(1, enter(1, BUY, 1, 100, DAY));
    desk.events();
    desk.rejects(
        1,
        stop(enter(2, BUY, 5, 106, DAY), 100),
        Reason::WouldTrigger,
    );
    desk.takes(1, stop(enter(3, BUY, 5, 106, DAY), 105), 0);
    assert_eq!(desk.events(), ["armed 3: B 5@106 at 105"]);
    desk.one(0, enter(2, SELL, 2, 105, DAY));
    desk.one(0, enter(3, SELL, 2, 106, DAY));
    desk.events();
    // What triggers it freezes the instrument until it has entered.
    let packet = [enter(4, BUY, 1, 105, DAY), enter(5, BUY, 1, 1, DAY)];
    let frozen = rejected(Reason::Continuing);
    assert_eq!(desk.send(1, &packet), [accepted(10), frozen]);
    desk.steps();
    let want = [
        "filled B 1@105",
        "step 2 A 30",
        "triggered 3: B 5@106",
        "filled B 1@105",
        "filled B 2@106",
        "rested 3: B 2@106",
    ];
    assert_eq!(desk.events(), want);
}

#[test]
fn one_stop_a_step_buys_first() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, BUY, 1, 100, DAY));
    desk.one(0, stop(enter(2, SELL, 1, 1, IOC), 99));
    desk.one(0, stop(enter(3, SELL, 1, 1, IOC), 100));
    desk.one(0, stop(enter(4, BUY, 1, 200, IOC), 100));
    desk.one(0, stop(enter(5, BUY, 1, 200, IOC), 98));
    desk.one(0, enter(6, BUY, 1, 98, DAY));
    desk.events();
    desk.takes(1, enter(1, SELL, 1, 100, DAY), 10);
    desk.steps();
    let want = [
        "filled S 1@100",
        "step 2 C 0",
        "triggered 5: B 1@200",
        "removed 5: 1 I0",
        "step 2 C 0",
        "triggered 4: B 1@200",
        "removed 4: 1 I0",
        "step 2 C 10",
        "triggered 3: S 1@1",
        "filled S 1@98",
        "step 2 A 0",
        "triggered 2: S 1@1",
        "removed 2: 1 I0",
    ];
    assert_eq!(desk.events(), want);
}

#[test]
fn a_stop_is_replaced_and_cancelled_where_it_waits() {
    let mut desk = Desk::new();
    desk.takes(0, stop(enter(1, BUY, 5, 106, DAY), 105), 0);
    desk.takes(0, replace(1, 2, 4, 106), 0);
    desk.takes(0, replace(2, 3, 4, 107), 0);
    desk.takes(0, reduce(3, 1), 10);
    desk.takes(0, cancel(3), 30);
    let want = [
        "armed 1: B 5@106 at 105",
        "replaced 2: 5 to 4 kept 1",
        "replaced 3: 4 to 4 kept 0",
        "armed 3: B 4@107 at 105",
        "reduced 3: 1 to 3 shown 0",
        "removed 3: 3 U0",
    ];
    assert_eq!(desk.events(), want);
    desk.rejects(
        0,
        stop(enter(4, BUY, 1, 106, DAY), 1001),
        Reason::BadTrigger,
    );
    let mut odd = stop(enter(5, BUY, 1, 106, DAY), 100);
    odd.trigger += 1;
    desk.rejects(0, odd, Reason::BadTrigger);
}

#[test]
fn good_till_time_goes_when_its_second_comes() {
    let mut desk = Desk::new();
    let expire = |second| Expire {
        second,
        reserved: 0,
    };
    desk.takes(0, until(enter(1, BUY, 1, 100, GTT), 36_000), 0);
    desk.takes(0, stop(until(enter(2, BUY, 1, 100, GTT), 35_000), 900), 0);
    desk.takes(0, enter(3, BUY, 1, 100, GTC), 0);
    desk.events();
    desk.refused(ControlKind::Expire, &expire(36_000), Reason::TooEarly);
    desk.refused(ControlKind::Expire, &expire(0), Reason::BadSetting);
    desk.refused(ControlKind::Expire, &expire(86_401), Reason::BadSetting);
    desk.now = 36_000 * 1_000_000_000;
    desk.done(ControlKind::Expire, &expire(36_000));
    assert_eq!(desk.events(), ["removed 2: 1 E0", "removed 1: 1 E1"]);
    let late = until(enter(4, BUY, 1, 100, GTT), 36_000);
    desk.rejects(0, late, Reason::AlreadyExpired);
    desk.takes(0, until(enter(5, BUY, 1, 100, GTT), 36_001), 0);
    // A market order is gone at once, whatever its expiry.
    let market = GTT.with(Flags::MARKET);
    desk.takes(0, until(enter(6, BUY, 1, 100, market), 36_000), 0);
}

#[test]
fn expiry_goes_on_in_steps() {
    let mut desk = Desk::new();
    for reference in 1..=130 {
        desk.one(0, until(enter(reference, BUY, 1, 100, GTT), 10));
    }
    desk.now = 10_000_000_000;
    let expire = Expire {
        second: 10,
        reserved: 0,
    };
    desk.events();
    desk.order(
        crate::control::Control::new(ControlKind::Expire, &expire),
        Ok(Outcome::Continues),
    );
    assert_eq!(desk.events().len(), 64);
    // Those that are left are leaving: they are neither changed nor traded with.
    let book = &mut desk.book;
    let order = *book.orders.values().min_by_key(|o| o.id).unwrap();
    assert!(book.leaving(&order).is_some());
    desk.step();
    assert_eq!(desk.events()[0], "step 7 C 64");
    desk.step();
    assert_eq!(desk.events()[..2], ["step 7 A 2", "removed 129: 1 E1"]);
    assert!(desk.book.orders.is_empty());
}

#[test]
fn a_maker_that_is_leaving_is_met_and_removed() {
    let mut desk = Desk::new();
    let orders: Vec<_> = (1..=400)
        .map(|reference| until(enter(reference, BUY, 1, 100, GTT), 10))
        .collect();
    for packet in orders.chunks(20) {
        desk.send(0, packet);
    }
    desk.one(0, enter(401, BUY, 1, 99, DAY));
    desk.now = 10_000_000_000;
    let expire = Expire {
        second: 10,
        reserved: 0,
    };
    desk.begun(ControlKind::Expire, &expire);
    desk.events();
    // 64 went with the command and four times 64 in the steps of this run; the others are met one by one.
    desk.takes(1, enter(1, SELL, 1, 99, DAY), 10);
    let events = desk.events();
    assert_eq!(events.len(), 4 * 65 + 80 + 1);
    assert_eq!(events[4 * 65], "removed 321: 1 E1");
    assert_eq!(events[4 * 65 + 80], "filled S 1@99");
    // The list is empty when its next step comes.
    desk.steps();
    assert_eq!(desk.events(), ["step 7 A 0"]);
}

#[test]
fn what_is_leaving_is_neither_cancelled_nor_replaced() {
    let mut desk = Desk::new();
    let orders: Vec<_> = (1..=400)
        .map(|reference| until(enter(reference, BUY, 1, 100, GTT), 10))
        .collect();
    for packet in orders.chunks(20) {
        desk.send(0, packet);
    }
    desk.now = 10_000_000_000;
    let expire = Expire {
        second: 10,
        reserved: 0,
    };
    desk.begun(ControlKind::Expire, &expire);
    let packet = [cancel(400), replace(400, 500, 1, 50)];
    let leaving = rejected(Reason::Continuing);
    assert_eq!(desk.send(0, &packet), [leaving, leaving]);
}

#[test]
fn what_does_not_go_together() {
    let mut desk = Desk::new();
    let order = |reference| enter(reference, BUY, 4, 100, DAY);
    let with = |reference, flags| enter(reference, BUY, 4, 100, flags);
    let minimum = |message| Message {
        minimum: 20,
        ..extended(message)
    };
    let post = DAY.with(Flags::POST_REJECT);
    let market = DAY.with(Flags::MARKET);
    let alone = [
        stop(with(1, FOK), 105),
        stop(minimum(order(2)), 105),
        stop(with(3, post), 105),
        pegged(stop(order(4), 105), PEG_PRIMARY, 0),
        stop(with(5, GTC.with(Flags::MARKET)), 105),
        stop(until(with(6, GTT.with(Flags::MARKET)), 9), 105),
        pegged(with(7, market), PEG_PRIMARY, 0),
        pegged(with(8, FOK), PEG_PRIMARY, 0),
        pegged(minimum(order(9)), PEG_PRIMARY, 0),
        pegged(with(10, post), PEG_PRIMARY, 0),
        pegged(iceberg(order(11), 4), PEG_PRIMARY, 0),
        minimum(with(12, post)),
    ];
    for message in alone {
        desk.rejects(0, message, Reason::NotTogether);
    }
    desk.takes(0, stop(with(13, market), 105), 0);
    desk.takes(0, stop(with(14, IOC), 105), 0);
    desk.takes(0, pegged(with(15, IOC), PEG_PRIMARY, 0), 0);
    let hidden = DAY.with(Flags::HIDDEN);
    desk.takes(0, pegged(with(16, hidden), PEG_PRIMARY, 0), 0);
    let mut text = Text::default();
    desk.book.list(&mut text);
    // A peg says nothing of hidden: bit 10 alone.
    assert!(text.0.contains(" 16 100 4 1024 0 0 0 0 0\n"), "{}", text.0);
    // A market stop is immediate and waits: bits 2 and 7; its limit is the last number.
    assert!(text.0.contains(" 13 105 4 132 0 0 0 0 100\n"), "{}", text.0);
}

#[test]
fn a_minimum_is_had_at_entry_or_not_at_all() {
    let mut desk = Desk::new();
    let minimum = |message, lots: u32| Message {
        minimum: lots * 10,
        ..extended(message)
    };
    desk.one(0, enter(1, SELL, 2, 100, DAY));
    let order = enter(1, BUY, 9, 100, DAY);
    desk.rejects(1, minimum(order, 3), Reason::NotFillable);
    let order = Message {
        reference: 2,
        ..order
    };
    desk.events();
    desk.takes(1, minimum(order, 2), 20);
    assert_eq!(desk.events(), ["filled B 2@100", "rested 2: B 7@100"]);
}

#[test]
fn fok_looks_at_so_many_orders() {
    let mut desk = Desk::new();
    for level in 0..=FILLS_MAX {
        desk.one(0, enter(level + 1, SELL, 1, 100 + level, DAY));
    }
    let lots = FILLS_MAX;
    desk.rejects(1, enter(1, BUY, lots + 1, 900, FOK), Reason::FokTooDeep);
    desk.takes(1, enter(2, BUY, lots, 900, FOK), lots * 10);
}

#[test]
fn what_icebergs_hold_back_is_looked_at_as_one() {
    let mut desk = Desk::new();
    // 1 shown and 255 held back by the single lot: 256 looks; one more lot is too many.
    desk.one(0, iceberg(enter(1, SELL, 256, 100, DAY), 1));
    desk.takes(1, enter(1, BUY, 256, 100, FOK), 2560);
    desk.one(0, iceberg(enter(2, SELL, 257, 100, DAY), 1));
    desk.rejects(1, enter(2, BUY, 2, 100, FOK), Reason::FokTooDeep);
    desk.takes(1, enter(3, BUY, 1, 100, FOK), 10);
}

#[test]
fn looks_count_in_the_packets_work() {
    let mut desk = Desk::new();
    desk.wall(256);
    let looks = |reference| enter(reference, BUY, 257, 100, FOK);
    let last = enter(5, BUY, 1, 100, IOC);
    let acks = desk.send(1, &[looks(1), looks(2), looks(3), looks(4), last]);
    let none = rejected(Reason::NotFillable);
    let full = rejected(Reason::PacketFills);
    assert_eq!(acks, [none, none, none, none, full]);
}

#[test]
fn feasibility_sees_hidden_orders_and_pegs() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, SELL, 1, 104, DAY));
    desk.one(0, enter(2, BUY, 1, 100, DAY));
    desk.one(0, enter(3, SELL, 1, 102, DAY.with(Flags::HIDDEN)));
    desk.one(0, pegged(enter(4, SELL, 1, 90, DAY), PEG_MIDPOINT, 0));
    desk.rejects(1, enter(1, BUY, 3, 103, FOK), Reason::NotFillable);
    desk.takes(1, enter(2, BUY, 3, 104, FOK), 30);
}
