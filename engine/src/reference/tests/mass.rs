//! Mass cancels, kills, disconnects: by session and by account, in steps.

use super::desk::*;
use crate::canon::Text;
use crate::control::{ControlKind, Disconnect, Grant};
use crate::limits::{CANCELS_MAX, LOOKS_MAX};
use crate::record::{Outcome, Removal};
use crate::reference::Reference;
use crate::{Capacity, Reason};
use ring0_wire::Message;
use ring0_wire::message::{BUY, SCOPE_ACCOUNT, SELL};

fn of_account(message: Message) -> Message {
    Message {
        scope: SCOPE_ACCOUNT,
        ..message
    }
}

fn line(book: &Reference, tag: char) -> Option<String> {
    let mut text = Text::default();
    book.list(&mut text);
    let line = text.0.lines().find(|line| line.starts_with(tag));
    line.map(str::to_owned)
}

#[test]
fn a_mass_cancel_goes_on_in_steps() {
    let mut desk = Desk::new();
    desk.wall(150);
    let packet = [mass(0), mass(0), cancel(150), enter(200, SELL, 1, 100, DAY)];
    let frozen = rejected(Reason::Continuing);
    let begun = continued(CANCELS_MAX);
    assert_eq!(desk.send(0, &packet), [begun, frozen, frozen, frozen]);
    assert_eq!(desk.events()[63], "removed 64: 1 M1");
    // All instruments and sides, by `M`, in session 0 before place 65.
    assert_eq!(line(&desk.book, 'm').unwrap(), "m 0 32 77 0 65 0");
    desk.steps();
    let events = desk.events();
    assert_eq!(events[0], "step 5 C 64");
    assert_eq!(events[65], "step 5 A 22");
    assert!(desk.book.orders.is_empty());
}

#[test]
fn looks_of_empty_blocks_count() {
    let wide = |session| Grant {
        references_log2: 15,
        ..grant(session)
    };
    let capacity = Capacity {
        references: 4 << 15,
        ..Capacity::SMALL
    };
    let mut desk = Desk::with(capacity, LIST, &wide);
    desk.one(0, enter(1, SELL, 1, 100, DAY));
    desk.one(0, enter(20_000, SELL, 1, 100, DAY));
    // Place 1 is one look, the rest of its block another, then a block a look.
    assert_eq!(desk.one(0, mass(0)), continued(1));
    let place = (LOOKS_MAX - 1) * 64;
    assert_eq!(
        line(&desk.book, 'm').unwrap(),
        format!("m 0 32 77 0 {place} 0")
    );
    desk.events();
    desk.step();
    assert_eq!(desk.events(), ["step 5 C 1", "removed 20000: 1 M1"]);
    desk.step();
    assert_eq!(desk.events(), ["step 5 A 0"]);
}

#[test]
fn overflowed_orders_come_behind_the_window() {
    let narrow = |session| Grant {
        references_log2: 4,
        ..grant(session)
    };
    let mut desk = Desk::with(Capacity::SMALL, LIST, &narrow);
    for reference in [1, 3, 17, 19, 33, 34] {
        desk.one(0, enter(reference, SELL, 1, 100, DAY));
    }
    desk.events();
    desk.takes(0, mass(0), 6);
    // Places 1 to 3, then 1, 3 and 17 in the order in which they were moved.
    let want = [33, 34, 19, 1, 3, 17].map(|reference| format!("removed {reference}: 1 M1"));
    assert_eq!(desk.events(), want);
}

#[test]
fn an_overflowed_order_that_is_gone_hands_its_turn_on() {
    let narrow = |session| Grant {
        references_log2: 4,
        ..grant(session)
    };
    let mut desk = Desk::with(Capacity::SMALL, LIST, &narrow);
    for reference in 1..=100 {
        desk.one(0, enter(reference, SELL, 1, 100, DAY));
    }
    assert_eq!(desk.one(0, mass(0)), continued(CANCELS_MAX));
    let next = |desk: &Desk| desk.book.session(0).mass.unwrap().overflowed.unwrap();
    // 16 of the window were visited and 48 of the others.
    let first = next(&desk);
    let order = desk.book.orders[&first];
    assert_eq!(order.reference, 49);
    desk.book.remove(&order, Removal::Kill);
    desk.book.events.clear();
    assert_eq!(desk.book.orders[&next(&desk)].reference, 50);
    desk.events();
    desk.step();
    let events = desk.events();
    assert_eq!(events[..2], ["step 5 A 35", "removed 50: 1 M1"]);
}

#[test]
fn an_accounts_sessions_are_gone_through_in_turn() {
    let mut desk = Desk::new();
    desk.another(2, 0);
    desk.another(3, 0);
    desk.one(2, enter(1, SELL, 1, 100, DAY));
    desk.one(0, enter(1, SELL, 1, 100, DAY));
    desk.one(0, enter(2, BUY, 1, 50, DAY));
    desk.one(1, enter(1, SELL, 1, 100, DAY));
    desk.one(3, stop(enter(1, SELL, 1, 50, DAY), 60));
    desk.events();
    let sells = Message {
        side: SELL,
        ..of_account(mass(0))
    };
    desk.takes(3, sells, 3);
    let want = ["removed 1: 1 M1", "removed 1: 1 M1", "removed 1: 1 M0"];
    assert_eq!(desk.events(), want);
    assert_eq!(desk.queue(SELL), [1], "another account's");
    assert_eq!(desk.queue(BUY), [2]);
    desk.takes(2, of_account(mass(1)), 1);
    for session in [0, 2, 3] {
        let order = enter(9, BUY, 1, 50, DAY);
        desk.rejects(session, order, Reason::AccountKilled);
    }
    let revive = target(ControlKind::ReviveAccount, 0);
    desk.order(revive, Ok(Outcome::Accepted));
    desk.takes(0, enter(10, BUY, 1, 50, DAY), 0);
}

#[test]
fn an_account_without_sessions_is_killed_at_once() {
    let mut desk = Desk::new();
    desk.open(2);
    desk.order(target(ControlKind::KillAccount, 2), Ok(Outcome::Accepted));
    assert!(desk.book.account(2).killed);
    desk.order(
        target(ControlKind::KillAccount, 3),
        Err(Reason::UnknownAccount),
    );
}

#[test]
fn an_accounts_mass_cancel_freezes_its_sessions() {
    let mut desk = Desk::new();
    desk.another(2, 0);
    desk.wall(65);
    desk.one(2, enter(1, BUY, 1, 50, DAY));
    let packet = [of_account(mass(0)), mass(0), cancel(65)];
    let frozen = rejected(Reason::Continuing);
    assert_eq!(desk.send(0, &packet), [continued(64), frozen, frozen]);
    desk.events();
    // A stop, a maker or what is in an auction leaves meanwhile; here the last is met by an order.
    desk.book.halted = true;
    let close = target(ControlKind::CloseSession, 2);
    desk.order(close, Err(Reason::OrdersLive));
    let revive = target(ControlKind::ReviveAccount, 0);
    desk.order(revive, Err(Reason::Continuing));
    desk.steps();
    let want = ["step 6 A 2", "removed 65: 1 M1", "removed 1: 1 M1"];
    assert_eq!(desk.events(), want);
}

#[test]
fn a_kill_widens_what_is_pending() {
    let mut desk = Desk::new();
    desk.wall(150);
    desk.one(0, enter(151, BUY, 1, 99, DAY));
    let mut buys = mass(0);
    buys.side = BUY;
    // 64 sells are passed over, then the kill begins anew and takes the first 64.
    let acks = desk.send(0, &[buys, mass(1), enter(152, BUY, 1, 99, DAY)]);
    let killed = rejected(Reason::SessionKilled);
    assert_eq!(acks, [continued(0), continued(64), killed]);
    let revive = target(ControlKind::ReviveSession, 0);
    desk.order(revive, Ok(Outcome::Accepted)); // the two steps left came before it
    assert!(desk.book.orders.is_empty());
    assert!(desk.events().contains(&"removed 151: 1 K1".into()));
    desk.takes(0, enter(153, BUY, 1, 99, DAY), 0);
    let close = target(ControlKind::CloseSession, 0);
    desk.order(close, Err(Reason::OrdersLive));
    let kill = target(ControlKind::KillSession, 0);
    desk.order(kill, Ok(Outcome::Accepted));
    desk.order(close, Ok(Outcome::Accepted));
    desk.order(close, Err(Reason::UnknownSession));
}

#[test]
fn a_session_with_a_pending_cancel_is_not_closed() {
    let mut desk = Desk::new();
    desk.wall(65);
    desk.order(target(ControlKind::HaltShard, 0), Ok(Outcome::Accepted));
    let kill = target(ControlKind::KillSession, 0);
    desk.order(kill, Ok(Outcome::Continues));
    // As if it had been filled meanwhile.
    let last = *desk.book.orders.values().next().unwrap();
    desk.book.remove(&last, Removal::User);
    desk.book.events.clear();
    let close = target(ControlKind::CloseSession, 0);
    desk.order(close, Err(Reason::Continuing));
    desk.order(target(ControlKind::ResumeShard, 0), Ok(Outcome::Accepted));
    desk.order(close, Ok(Outcome::Accepted)); // the empty step comes first
}

#[test]
fn a_disconnect_cancels_where_the_grant_says_so() {
    let cancels = |session| Grant {
        cancel_on_disconnect: u32::from(session == 0),
        ..grant(session)
    };
    let mut desk = Desk::with(Capacity::SMALL, LIST, &cancels);
    desk.one(0, enter(1, SELL, 1, 100, DAY));
    desk.one(1, enter(1, SELL, 1, 100, DAY));
    let gone = |session, expected| Disconnect {
        session,
        reserved: 0,
        expected,
    };
    desk.events();
    desk.refused(ControlKind::Disconnect, &gone(0, 1), Reason::SessionAlive);
    desk.refused(ControlKind::Disconnect, &gone(2, 1), Reason::UnknownSession);
    desk.done(ControlKind::Disconnect, &gone(0, 3));
    desk.done(ControlKind::Disconnect, &gone(1, 3));
    assert_eq!(desk.events(), ["removed 1: 1 D1"]);
    desk.takes(0, enter(2, SELL, 1, 100, DAY), 0);
}

#[test]
fn a_mass_cancel_waits_for_what_is_frozen_unless_it_kills() {
    let mut desk = Desk::new();
    desk.wall(600);
    let one = Message {
        locate: 1,
        ..mass(0)
    };
    let packet = [enter(1, BUY, 600, 100, DAY), mass(0), one, mass(1)];
    let acks = desk.send(1, &packet);
    let frozen = rejected(Reason::Continuing);
    assert_eq!(acks[1..], [frozen, frozen, accepted(0)]);
    // What sweeps was passed over; its step finds the session killed.
    desk.events();
    desk.step();
    assert_eq!(desk.events(), ["step 1 A 0", "removed 1: 344 K0"]);
    let unknown = Message {
        locate: 9,
        ..mass(0)
    };
    desk.rejects(0, unknown, Reason::UnknownInstrument);
}
