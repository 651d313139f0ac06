//! Market states, auctions, and the volatility pause.

use super::desk::*;
use crate::Reason;
use crate::control::{Control, ControlKind, Indicate, List, SetBands, Uncross};
use crate::limits::CROSSES_MAX;
use crate::record::{Outcome, State};
use ring0_wire::message::{BUY, PEG_PRIMARY, SELL};
use ring0_wire::{Flags, Message};

fn called(state: State) -> Desk {
    let mut desk = Desk::listing(List {
        state: State::PreOpen as u32,
        ..WITH_FEES
    });
    desk.state(state);
    desk.events();
    desk
}

fn uncross(price: u32) -> Uncross {
    Uncross {
        instrument: 0,
        price,
        then: State::Continuous as u32,
        reserved: 0,
    }
}

#[test]
fn an_auction_finds_one_price() {
    let mut desk = called(State::OpeningAuction);
    desk.takes(0, enter(1, BUY, 10, 102, DAY), 0);
    desk.takes(0, enter(2, BUY, 5, 101, DAY), 0);
    desk.takes(1, enter(1, SELL, 8, 100, DAY), 0);
    desk.takes(1, enter(2, SELL, 4, 101, DAY), 0);
    desk.events();
    assert_eq!(desk.book.equilibrium(0), Some((101, 12, 3)));
    desk.state(State::Uncrossing);
    desk.rejects(0, enter(3, BUY, 1, 1, DAY), Reason::Continuing);
    desk.rejects(0, cancel(1), Reason::Continuing);
    desk.refused(ControlKind::Uncross, &uncross(1001), Reason::OffLadder);
    let bad = Uncross {
        then: State::PreOpen as u32,
        ..uncross(101)
    };
    desk.refused(ControlKind::Uncross, &bad, Reason::BadSetting);
    desk.begun(ControlKind::Uncross, &uncross(101));
    desk.refused(ControlKind::Uncross, &uncross(101), Reason::BadState);
    // That came behind a run's steps, which carried out the auction. Both sides pay the taker's fee of 0.3 %.
    let want = [
        "Uncrossing after OpeningAuction",
        "step 3 A 3",
        "crossed 8@101 fees 3 3",
        "crossed 2@101 fees 1 1",
        "crossed 2@101 fees 1 1",
        "uncrossed 12@101 crossed 0",
        "Continuous after Uncrossing",
    ];
    assert_eq!(desk.events(), want);
    assert_eq!(desk.book.depth(0, BUY, 9), [(101, 3, 1)]);
    assert_eq!(desk.book.instrument(0).last, 101);
    assert_eq!(desk.book.equilibrium(0), None);
}

#[test]
fn equal_volumes_are_decided_by_imbalance_reference_and_price() {
    let mut desk = called(State::OpeningAuction);
    desk.one(0, enter(1, BUY, 5, 110, DAY));
    desk.one(1, enter(1, SELL, 5, 100, DAY));
    assert_eq!(desk.book.equilibrium(0), Some((100, 5, 0)), "the lowest");
    desk.book.instrument_mut(0).reference = 107;
    assert_eq!(desk.book.equilibrium(0), Some((107, 5, 0)));
    desk.book.instrument_mut(0).reference = 200;
    assert_eq!(desk.book.equilibrium(0), Some((110, 5, 0)));
    desk.one(0, enter(2, BUY, 1, 105, DAY.with(Flags::HIDDEN)));
    assert_eq!(desk.book.equilibrium(0), Some((110, 5, 0)));
    desk.book.instrument_mut(0).reference = 101;
    // Below 106 one lot more is bid than offered.
    assert_eq!(desk.book.equilibrium(0), Some((106, 5, 0)));
}

#[test]
fn icebergs_cross_slice_by_slice_and_steps_go_on() {
    let mut desk = called(State::ClosingAuction);
    let lots = 2 * CROSSES_MAX;
    desk.one(0, iceberg(enter(1, BUY, lots, 100, DAY), 1));
    desk.one(1, enter(1, SELL, lots, 100, DAY));
    desk.state(State::Uncrossing);
    desk.begun(ControlKind::Uncross, &uncross(100));
    desk.events();
    desk.step();
    let events = desk.events();
    assert_eq!(events[0], format!("step 3 C {CROSSES_MAX}"));
    assert_eq!(events[2], format!("refilled 1: 1 of {}", lots - 1));
    desk.step();
    let events = desk.events();
    assert_eq!(events[0], format!("step 3 A {CROSSES_MAX}"));
    let done = &events[events.len() - 2..];
    assert_eq!(
        done,
        [
            format!("uncrossed {lots}@100 crossed 0"),
            "Continuous after Uncrossing".into()
        ]
    );
}

#[test]
fn nothing_trades_beyond_a_limit_and_a_halt_ends_the_work() {
    let mut desk = called(State::OpeningAuction);
    desk.one(0, enter(1, BUY, 1, 101, DAY));
    desk.one(1, enter(1, SELL, 1, 100, DAY));
    desk.no_state(State::Continuous, Reason::BookCrossed);
    desk.state(State::Uncrossing);
    desk.events();
    desk.begun(ControlKind::Uncross, &uncross(500));
    desk.steps();
    assert_eq!(
        desk.events(),
        ["step 3 A 0", "uncrossed 0@500 crossed 1"],
        "another price must be found"
    );
    assert_eq!(desk.book.instrument(0).last, 0);
    let commands = [
        Control::new(ControlKind::Uncross, &uncross(100)),
        Control::new(ControlKind::SetState, &set_state(State::Closed)),
        Control::new(ControlKind::SetState, &set_state(State::Halted)),
    ];
    let want = [
        (Outcome::Continues, Reason::None),
        (Outcome::Rejected, Reason::Continuing),
        (Outcome::Accepted, Reason::None),
    ];
    assert_eq!(desk.book.control(&commands, START), want);
    desk.steps();
    assert_eq!(desk.events(), ["Halted after Uncrossing", "step 3 A 0"]);
    desk.takes(0, cancel(1), 10);
}

#[test]
fn an_auction_triggers_stops() {
    let mut desk = called(State::OpeningAuction);
    desk.takes(0, stop(enter(1, BUY, 1, 200, DAY), 100), 0);
    desk.one(0, enter(2, BUY, 1, 100, DAY));
    desk.one(1, enter(1, SELL, 1, 100, DAY));
    desk.state(State::Uncrossing);
    desk.begun(ControlKind::Uncross, &uncross(100));
    desk.events();
    desk.steps();
    let want = [
        "step 3 C 1",
        "crossed 1@100 fees 1 1",
        "uncrossed 1@100 crossed 0",
        "Continuous after Uncrossing",
        "step 2 A 0",
        "triggered 1: B 1@200",
        "rested 1: B 1@200",
    ];
    assert_eq!(desk.events(), want);
}

#[test]
fn what_an_auction_takes() {
    let mut desk = called(State::OpeningAuction);
    let minimum = |message| Message {
        minimum: 10,
        ..extended(message)
    };
    for (reference, message) in [
        (1, enter(1, BUY, 1, 100, IOC)),
        (2, enter(2, BUY, 1, 100, FOK)),
        (3, enter(3, BUY, 1, 100, DAY.with(Flags::MARKET))),
        (4, enter(4, BUY, 1, 100, DAY.with(Flags::POST_REJECT))),
        (5, enter(5, BUY, 1, 100, DAY.with(Flags::POST_SLIDE))),
        (6, pegged(enter(6, BUY, 1, 100, DAY), PEG_PRIMARY, 0)),
        (7, minimum(enter(7, BUY, 1, 100, DAY))),
    ] {
        assert_eq!(message.reference, reference);
        desk.rejects(0, message, Reason::NotInAuction);
    }
    desk.takes(0, enter(8, BUY, 2, 100, GTC), 0);
    desk.takes(0, until(enter(9, BUY, 2, 100, GTT), 9), 0);
    desk.takes(0, iceberg(enter(10, BUY, 2, 100, DAY), 1), 0);
    desk.takes(0, enter(11, BUY, 2, 100, DAY.with(Flags::HIDDEN)), 0);
    desk.takes(0, stop(enter(12, BUY, 2, 100, IOC), 105), 0);
    desk.takes(0, replace(8, 13, 3, 110), 0);
    desk.takes(0, reduce(13, 1), 10);
    desk.takes(0, cancel(13), 20);
    // What rested before and may not be collected may not be replaced either.
    desk.state(State::Continuous);
    desk.takes(0, pegged(enter(20, BUY, 1, 100, DAY), PEG_PRIMARY, 0), 0);
    desk.takes(0, enter(21, BUY, 1, 99, DAY.with(Flags::POST_SLIDE)), 0);
    desk.state(State::ClosingAuction);
    desk.rejects(0, replace(20, 22, 1, 99), Reason::NotInAuction);
    desk.rejects(0, replace(21, 23, 1, 99), Reason::NotInAuction);
    desk.takes(0, cancel(20), 10);
}

#[test]
fn states_follow_rules() {
    use State::{
        Closed, ClosingAuction, Continuous, Halted, OpeningAuction, PreOpen, Uncrossing,
        VolatilityPause,
    };
    // From each state, those that may not follow.
    let rules = [
        (Closed, vec![VolatilityPause, Uncrossing]),
        (PreOpen, vec![VolatilityPause, Uncrossing]),
        (OpeningAuction, vec![VolatilityPause]),
        (Continuous, vec![Uncrossing]),
        (VolatilityPause, vec![]),
        (ClosingAuction, vec![VolatilityPause]),
        (Halted, vec![VolatilityPause, Uncrossing]),
        (
            Uncrossing,
            vec![VolatilityPause, PreOpen, OpeningAuction, ClosingAuction],
        ),
    ];
    for (from, forbidden) in rules {
        for to in State::ALL {
            let mut desk = Desk::new();
            desk.book.instrument_mut(0).state = from;
            if to == from || forbidden.contains(&to) {
                desk.no_state(to, Reason::BadState);
            } else {
                desk.state(to);
                assert_eq!(desk.events(), [format!("{to:?} after {from:?}")]);
            }
        }
    }
    let mut desk = Desk::new();
    let none = crate::control::SetState {
        instrument: 0,
        state: 8,
    };
    desk.refused(ControlKind::SetState, &none, Reason::BadSetting);
    desk.state(Closed);
    desk.rejects(0, enter(1, BUY, 1, 1, DAY), Reason::MarketClosed);
}

#[test]
fn a_far_trade_pauses() {
    let mut desk = Desk::new();
    desk.state(State::Halted);
    let bands = SetBands {
        instrument: 0,
        band_low: 0,
        band_high: 0,
        dynamic_ticks: 0,
        fat_ticks: 0,
        pause_ticks: 5,
        reference: 100,
        reserved: 0,
    };
    desk.done(ControlKind::SetBands, &bands);
    desk.state(State::Continuous);
    desk.one(0, enter(1, SELL, 1, 105, DAY));
    desk.one(0, enter(2, SELL, 1, 106, DAY));
    desk.one(1, stop(enter(1, BUY, 1, 110, DAY), 105));
    desk.events();
    desk.rejects(1, enter(2, BUY, 2, 106, FOK), Reason::NotFillable);
    desk.takes(1, enter(3, BUY, 2, 106, DAY), 10);
    let want = [
        "filled B 1@105",
        "VolatilityPause after Continuous",
        "rested 3: B 1@106",
    ];
    assert_eq!(desk.events(), want);
    // The book is crossed now and is uncrossed by an auction, whose price is the new middle of the bounds.
    desk.state(State::Uncrossing);
    assert_eq!(desk.book.equilibrium(0), Some((106, 1, 0)));
    desk.begun(ControlKind::Uncross, &uncross(106));
    desk.steps();
    let instrument = desk.book.instrument(0);
    assert_eq!((instrument.pause_low, instrument.pause_high), (101, 111));
    let events = desk.events();
    assert_eq!(events.last().unwrap(), "rested 1: B 1@110");
    // An immediate order does not wait for it.
    desk.one(0, enter(3, SELL, 1, 112, DAY));
    desk.one(1, cancel(1));
    desk.events();
    desk.takes(1, enter(4, BUY, 1, 112, IOC), 0);
    assert_eq!(
        desk.events(),
        ["VolatilityPause after Continuous", "removed 4: 1 V0"]
    );
}

#[test]
fn an_indication_changes_nothing() {
    let mut desk = called(State::OpeningAuction);
    let indicate = |price| Indicate {
        instrument: 0,
        price,
        volume: 12,
        imbalance: 3,
    };
    desk.done(ControlKind::Indicate, &indicate(101));
    desk.done(ControlKind::Indicate, &indicate(0));
    desk.refused(ControlKind::Indicate, &indicate(1001), Reason::OffLadder);
    desk.state(State::Uncrossing);
    desk.refused(ControlKind::Indicate, &indicate(101), Reason::BadState);
}
