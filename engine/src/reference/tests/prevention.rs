//! Self-trade prevention: four modes, by account and by trade group.

use super::desk::*;
use crate::Reason;
use crate::control::{ControlKind, SetSelfTrade};
use ring0_wire::message::{BUY, SELL};
use ring0_wire::{Flags, Message, SelfTrade, TimeInForce};

fn with(mode: SelfTrade) -> Flags {
    Flags::new(TimeInForce::Day, mode)
}

/// Session 0 offers 2, session 1 offers 3 behind it, session 0 bids for 5 with this mode.
fn events(mode: SelfTrade) -> Vec<String> {
    let mut desk = Desk::new();
    desk.one(0, enter(1, SELL, 2, 100, DAY));
    desk.one(1, enter(1, SELL, 3, 100, DAY));
    desk.events();
    desk.one(0, enter(2, BUY, 5, 100, with(mode)));
    desk.events()
}

#[test]
fn the_four_modes() {
    assert_eq!(
        events(SelfTrade::AccountDefault),
        ["filled B 2@100", "filled B 3@100"]
    );
    assert_eq!(events(SelfTrade::CancelNewest), ["removed 2: 5 T0"]);
    assert_eq!(
        events(SelfTrade::CancelOldest),
        ["removed 1: 2 T1", "filled B 3@100", "rested 2: B 2@100"]
    );
    assert_eq!(
        events(SelfTrade::CancelBoth),
        ["removed 1: 2 T1", "removed 2: 5 T0"]
    );
    assert_eq!(
        events(SelfTrade::DecrementAndCancel),
        ["decremented B 2@100", "filled B 3@100"]
    );
}

#[test]
fn decrement_takes_slices_and_holds() {
    let mut desk = Desk::new();
    desk.one(0, iceberg(enter(1, SELL, 5, 100, DAY), 2));
    desk.events();
    let mode = with(SelfTrade::DecrementAndCancel);
    desk.takes(0, enter(2, BUY, 4, 110, mode), 0);
    let want = [
        "decremented B 2@100",
        "refilled 1: 2 of 3",
        "decremented B 2@100",
        "refilled 1: 1 of 1",
    ];
    assert_eq!(desk.events(), want);
    assert_eq!(desk.money(0, 1), (1_000_000, 0, 0));
    assert_eq!(desk.money(0, 0), (999_995, 5, 0));
}

#[test]
fn the_accounts_mode_is_for_orders_that_say_none() {
    let mut desk = Desk::new();
    let account = SetSelfTrade {
        account: 0,
        mode: 2,
        group: 0,
        reserved: 0,
    };
    desk.done(ControlKind::SetSelfTrade, &account);
    desk.one(0, enter(1, SELL, 2, 100, DAY));
    desk.events();
    desk.one(0, enter(2, BUY, 1, 100, DAY));
    assert_eq!(desk.events(), ["removed 1: 2 T1", "rested 2: B 1@100"]);
    let bad = SetSelfTrade { mode: 5, ..account };
    desk.refused(ControlKind::SetSelfTrade, &bad, Reason::BadSetting);
    // The mode of the order that comes in counts, not that of the one that rests.
    desk.one(1, enter(1, SELL, 1, 100, with(SelfTrade::CancelBoth)));
    assert_eq!(desk.events(), ["filled S 1@100"]);
}

#[test]
fn a_trade_group_joins_accounts() {
    let mut desk = Desk::new();
    let group = |account, group| SetSelfTrade {
        account,
        mode: 1,
        group,
        reserved: 0,
    };
    desk.done(ControlKind::SetSelfTrade, &group(0, 7));
    desk.done(ControlKind::SetSelfTrade, &group(1, 7));
    let by_group = |message, trade_group| Message {
        trade_group,
        ..extended(message)
    };
    desk.one(0, enter(1, SELL, 2, 100, DAY));
    let wrong = by_group(enter(1, BUY, 1, 100, DAY), 8);
    desk.rejects(1, wrong, Reason::WrongTradeGroup);
    desk.events();
    desk.one(1, by_group(enter(2, BUY, 1, 100, DAY), 7));
    assert_eq!(desk.events(), ["removed 2: 1 T0"]);
    // Without a group on the order only the account counts.
    desk.takes(1, enter(3, BUY, 1, 100, DAY), 10);
    // A waiting stop looks at the group that its account has when it comes in: here none, which joins nobody.
    desk.one(1, stop(by_group(enter(4, BUY, 1, 101, IOC), 7), 101));
    desk.done(ControlKind::SetSelfTrade, &group(1, 0));
    desk.done(ControlKind::SetSelfTrade, &group(0, 0));
    desk.one(0, enter(2, SELL, 1, 101, DAY));
    desk.one(0, enter(3, SELL, 1, 101, DAY));
    desk.one(1, enter(5, BUY, 2, 101, DAY));
    desk.events();
    desk.steps();
    assert_eq!(desk.events()[2], "filled B 1@101");
}

#[test]
fn feasibility_knows_prevention() {
    let mut desk = Desk::new();
    let fok = |mode| Flags::new(TimeInForce::FillOrKill, mode);
    desk.one(0, enter(1, SELL, 2, 100, DAY));
    desk.one(1, enter(1, SELL, 3, 100, DAY));
    let newest = enter(2, BUY, 1, 100, fok(SelfTrade::CancelNewest));
    desk.rejects(0, newest, Reason::NotFillable);
    let decrement = enter(3, BUY, 1, 100, fok(SelfTrade::DecrementAndCancel));
    desk.rejects(0, decrement, Reason::NotFillable);
    let oldest = |reference, lots| enter(reference, BUY, lots, 100, fok(SelfTrade::CancelOldest));
    desk.rejects(0, oldest(4, 4), Reason::NotFillable);
    desk.takes(0, oldest(5, 3), 30);
}
