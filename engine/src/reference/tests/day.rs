//! The day: purges, moved ladders, days, busts.

use super::desk::*;
use crate::Reason;
use crate::canon::Text;
use crate::control::{Bust, Clear, Control, ControlKind, List, MoveLadder, OpenDay};
use crate::limits::CANCELS_MAX;
use crate::record::{Outcome, State};
use ring0_wire::Flags;
use ring0_wire::message::{BUY, PEG_PRIMARY, SELL};

fn clear(side: u8) -> Clear {
    Clear {
        instrument: 0,
        side: u32::from(side),
    }
}

/// An order in each of the books and queues.
fn one_of_each() -> Desk {
    let mut desk = Desk::new();
    let hidden = DAY.with(Flags::HIDDEN);
    desk.one(0, enter(1, SELL, 1, 110, GTC));
    desk.one(0, enter(2, SELL, 1, 111, hidden));
    desk.one(0, stop(enter(3, SELL, 1, 90, DAY), 95));
    desk.one(0, pegged(enter(4, SELL, 1, 100, DAY), PEG_PRIMARY, 0));
    desk.one(0, pegged(enter(5, BUY, 1, 105, GTC), PEG_PRIMARY, 0));
    desk.one(0, stop(enter(6, BUY, 1, 120, GTC), 115));
    desk.one(0, enter(7, BUY, 1, 99, hidden));
    desk.one(0, enter(8, BUY, 1, 100, DAY));
    desk.one(0, enter(9, BUY, 1, 101, DAY));
    desk.events();
    desk
}

#[test]
fn a_purge_goes_from_book_to_book() {
    let mut desk = one_of_each();
    desk.begun(ControlKind::Clear, &clear(b' '));
    desk.refused(ControlKind::Clear, &clear(b'X'), Reason::BadSetting);
    // The second command's run had the step, best bid first.
    let want = [
        "step 4 A 9",
        "removed 9: 1 P1",
        "removed 8: 1 P1",
        "removed 1: 1 P1",
        "removed 7: 1 P1",
        "removed 2: 1 P1",
        "removed 6: 1 P0",
        "removed 3: 1 P0",
        "removed 5: 1 P1",
        "removed 4: 1 P1",
    ];
    assert_eq!(desk.events(), want);
    assert!(desk.book.orders.is_empty());
}

#[test]
fn a_clear_of_one_side_keeps_the_other() {
    let mut desk = one_of_each();
    desk.begun(ControlKind::Clear, &clear(SELL));
    desk.steps();
    let want = [
        "step 4 A 4",
        "removed 1: 1 P1",
        "removed 2: 1 P1",
        "removed 3: 1 P0",
        "removed 4: 1 P1",
    ];
    assert_eq!(desk.events(), want);
}

#[test]
fn the_day_ends_for_orders_that_do_not_last() {
    let mut desk = one_of_each();
    let close = target(ControlKind::CloseDay, 0);
    desk.order(close, Err(Reason::BadState));
    desk.state(State::Closed);
    desk.events();
    desk.order(close, Ok(Outcome::Continues));
    desk.steps();
    let want = [
        "step 4 A 6",
        "removed 9: 1 Y1",
        "removed 8: 1 Y1",
        "removed 7: 1 Y1",
        "removed 2: 1 Y1",
        "removed 3: 1 Y0",
        "removed 4: 1 Y1",
    ];
    assert_eq!(desk.events(), want);
}

#[test]
fn a_purge_stands_before_an_order_or_a_book() {
    let mut desk = Desk::new();
    desk.wall(CANCELS_MAX + 2);
    desk.one(0, enter(1000, SELL, 1, 101, DAY));
    desk.begun(ControlKind::Clear, &clear(b' '));
    let work = |desk: &Desk| {
        let mut text = Text::default();
        desk.book.list(&mut text);
        let line = text.0.lines().find(|line| line.starts_with("p 4"));
        line.unwrap().to_owned()
    };
    assert_eq!(work(&desk), "p 4 80 32 0 0 0 0");
    desk.events();
    desk.step();
    assert_eq!(desk.events()[0], "step 4 C 64");
    // The next one is the 65th; when it goes, the one behind it.
    let ids = || desk.book.instrument(0).first_level(1).unwrap().1.to_vec();
    let ids = ids();
    assert_eq!(work(&desk), format!("p 4 80 32 1 {} 0 0", ids[0]));
    let next = desk.book.orders[&ids[0]];
    desk.book.remove(&next, crate::record::Removal::Kill);
    assert_eq!(work(&desk), format!("p 4 80 32 1 {} 0 0", ids[1]));
    desk.book.events.clear();
    desk.step();
    assert_eq!(desk.events()[0], "step 4 A 2");
    // A side that is kept is visited too; behind the last of a book stands the next book.
    let mut desk = Desk::new();
    desk.wall(CANCELS_MAX);
    desk.begun(ControlKind::Clear, &clear(BUY));
    desk.step();
    assert_eq!(desk.events()[0], "step 4 C 0");
    assert_eq!(work(&desk), "p 4 80 66 2 0 0 0");
}

#[test]
fn an_instrument_goes_and_comes_back() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, SELL, 1, 100, GTC));
    desk.one(1, enter(1, BUY, 1, 99, DAY));
    desk.state(State::Closed);
    desk.events();
    let delist = target(ControlKind::Delist, 0);
    desk.order(delist, Ok(Outcome::Continues));
    desk.order(delist, Err(Reason::UnknownInstrument));
    let want = ["step 4 A 2", "removed 1: 1 L1", "removed 1: 1 L1"];
    assert_eq!(desk.events(), want);
    desk.rejects(0, enter(2, SELL, 1, 100, GTC), Reason::UnknownInstrument);
    // It keeps its 1,024 places; more are taken anew, of the pool's 4,096.
    let list = |ladder_len| List { ladder_len, ..LIST };
    desk.done(ControlKind::List, &list(1024));
    desk.state(State::Closed);
    desk.order(delist, Ok(Outcome::Continues));
    desk.steps();
    desk.done(ControlKind::List, &list(1025));
    assert_eq!(desk.book.ladder_used, 1024 + 2048);
    desk.state(State::Closed);
    desk.order(delist, Ok(Outcome::Continues));
    desk.steps();
    desk.refused(ControlKind::List, &list(2049), Reason::LadderFull);
}

#[test]
fn a_ladder_moves_away_from_orders() {
    let mut desk = one_of_each();
    desk.one(1, enter(1, SELL, 1, 101, DAY));
    let to = |ladder_base, ladder_len| MoveLadder {
        instrument: 0,
        ladder_base,
        ladder_len,
        reserved: 0,
    };
    desk.refused(ControlKind::MoveLadder, &to(99, 21), Reason::BadState);
    desk.state(State::Halted);
    desk.refused(ControlKind::MoveLadder, &to(0, 21), Reason::BadListing);
    desk.refused(ControlKind::MoveLadder, &to(99, 1025), Reason::LadderFull);
    desk.events();
    // 99 to 119: the sell stop's trigger 95 and the buy stop's limit 120 are off it.
    desk.begun(ControlKind::MoveLadder, &to(99, 21));
    desk.steps();
    let want = ["step 4 A 2", "removed 6: 1 O0", "removed 3: 1 O0"];
    assert_eq!(desk.events(), want);
    let instrument = desk.book.instrument(0);
    assert_eq!(instrument.list.ladder_base, 99);
    assert_eq!(instrument.last, 101);
    desk.begun(ControlKind::MoveLadder, &to(110, 5));
    desk.steps();
    assert_eq!(desk.book.instrument(0).last, 0);
}

#[test]
fn days_follow_each_other() {
    let mut desk = Desk::new();
    let day = |day, midnight_ns| OpenDay {
        day,
        reserved: 0,
        midnight_ns,
        feed_session: *b"ABCDEFGHIJ",
        reserved2: [0; 6],
    };
    desk.refused(ControlKind::OpenDay, &day(1, 0), Reason::NotClosed);
    desk.state(State::Closed);
    desk.refused(ControlKind::OpenDay, &day(0, 0), Reason::BadSetting);
    desk.done(ControlKind::OpenDay, &day(3, 500));
    desk.refused(ControlKind::OpenDay, &day(3, 500), Reason::BadSetting);
    desk.refused(ControlKind::OpenDay, &day(4, 499), Reason::BadSetting);
    desk.book.second = 77;
    desk.done(ControlKind::OpenDay, &day(4, 500));
    assert_eq!((desk.book.day, desk.book.second), (4, 0));
}

#[test]
fn a_bust_takes_a_trade_back() {
    let mut desk = Desk::listing(WITH_FEES);
    desk.one(1, enter(1, SELL, 3, 400, DAY));
    desk.one(0, enter(1, BUY, 3, 400, DAY));
    let bust = Bust {
        trade: 99,
        instrument: 0,
        buyer: 0,
        seller: 1,
        price: 400,
        lots: 3,
        reserved: 0,
        buyer_fee: 4,
        seller_fee: -1,
    };
    let bad = [
        Bust { seller: 0, ..bust },
        Bust { price: 0, ..bust },
        Bust { lots: 0, ..bust },
        Bust { lots: 2001, ..bust },
        Bust {
            buyer_fee: 1201,
            ..bust
        },
        Bust {
            seller_fee: i64::MIN,
            ..bust
        },
    ];
    for bad in bad {
        desk.refused(ControlKind::Bust, &bad, Reason::BadSetting);
    }
    let unknown = Bust { buyer: 9, ..bust };
    desk.refused(ControlKind::Bust, &unknown, Reason::UnknownAccount);
    desk.done(ControlKind::Bust, &bust);
    for account in [0, 1] {
        for asset in [0, 1] {
            assert_eq!(desk.money(account, asset), (1_000_000, 0, 0));
        }
    }
    assert_eq!(desk.book.assets[1].fees, 0);
    // Once more there are no fees to give back.
    desk.refused(ControlKind::Bust, &bust, Reason::Funds);
}

#[test]
fn work_of_an_instrument_is_the_operators_too() {
    let mut desk = Desk::new();
    desk.wall(600);
    desk.one(1, enter(1, BUY, 600, 100, IOC));
    let commands = [
        Control::new(ControlKind::Clear, &clear(b' ')),
        Control::new(ControlKind::SetState, &set_state(State::Closed)),
        Control::new(ControlKind::SetState, &set_state(State::Halted)),
    ];
    desk.events();
    desk.book.halted = true; // no steps before the commands
    let continuing = (Outcome::Rejected, Reason::Continuing);
    let want = [continuing, continuing, (Outcome::Accepted, Reason::None)];
    assert_eq!(desk.book.control(&commands, START), want);
    desk.steps();
    assert_eq!(
        desk.events(),
        ["Halted after Continuous", "step 1 A 0", "removed 1: 344 H0"]
    );
}
