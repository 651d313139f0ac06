//! Price and time, replace, reduce and cancel, sweeps over several steps, money.

use super::desk::*;
use crate::canon::Text;
use crate::control::{Control, ControlKind, SetLimit, SettlementMark};
use crate::limits::FILLS_MAX;
use crate::record::{Outcome, State};
use crate::{Capacity, Reason};
use ring0_wire::message::{BUY, SELL};
use ring0_wire::{Flags, Message};

#[test]
fn price_goes_before_time() {
    let mut desk = Desk::listing(WITH_FEES);
    let asks = [
        enter(1, SELL, 2, 101, DAY),
        enter(2, SELL, 2, 100, DAY),
        enter(3, SELL, 2, 100, DAY),
    ];
    assert_eq!(desk.send(0, &asks), [accepted(0); 3]);
    assert_eq!(desk.queue(SELL), [2, 3, 1]);
    assert_eq!(desk.book.depth(0, SELL, 9), [(100, 4, 2), (101, 2, 1)]);
    desk.events();
    desk.takes(1, enter(1, BUY, 6, 101, DAY), 60);
    let want = [
        "filled B 2@100 (0, 1)",
        "filled B 2@100 (0, 1)",
        "filled B 2@101 (0, 1)",
    ];
    assert_eq!(desk.events(), want);
    assert!(desk.book.orders.is_empty());
}

#[test]
fn a_replace_keeps_its_place_or_comes_in_anew() {
    let mut desk = Desk::listing(WITH_FEES);
    desk.one(0, enter(1, BUY, 5, 100, DAY));
    desk.one(0, enter(2, BUY, 5, 100, DAY));
    let (_, held, _) = desk.money(0, 1);
    assert_eq!(held, 10 * 101, "100 and a fee of 1 for each lot");
    desk.events();
    desk.takes(0, replace(1, 3, 4, 100), 0);
    assert_eq!(desk.queue(BUY), [3, 2]);
    assert_eq!(desk.money(0, 1).1, 9 * 101);
    desk.rejects(0, replace(1, 4, 4, 100), Reason::UnknownOrder);
    desk.takes(0, replace(3, 5, 6, 100), 0);
    assert_eq!(desk.queue(BUY), [2, 5]);
    desk.one(1, enter(1, SELL, 1, 103, DAY));
    desk.takes(0, replace(2, 6, 2, 103), 10);
    let want = [
        "replaced 3: 5 to 4 kept 1",
        "replaced 5: 4 to 6 kept 0",
        "rested 5: B 6@100",
        "rested 1: S 1@103",
        "replaced 6: 5 to 2 kept 0",
        "filled B 1@103 (0, 1)",
        "rested 6: B 1@103",
    ];
    assert_eq!(desk.events(), want);
}

#[test]
fn reduce_and_cancel() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, BUY, 5, 100, DAY));
    desk.events();
    let odd = Message {
        shares: 15,
        ..reduce(1, 0)
    };
    desk.rejects(0, odd, Reason::NotALot);
    desk.takes(0, reduce(1, 2), 20);
    desk.takes(0, reduce(1, 7), 30);
    desk.rejects(0, cancel(1), Reason::UnknownOrder);
    assert_eq!(
        desk.events(),
        ["reduced 1: 2 to 3 shown 3", "removed 1: 3 U1"]
    );
    assert_eq!(desk.money(0, 1), (1_000_000, 0, 0));
}

#[test]
fn a_sweep_goes_on_in_steps() {
    let mut desk = Desk::new();
    desk.wall(1400);
    let order = enter(1, BUY, 1401, 100, DAY);
    assert_eq!(desk.one(1, order), continued(FILLS_MAX * 10));
    assert_eq!(desk.events().len(), FILLS_MAX as usize);
    let mut text = Text::default();
    desk.book.list(&mut text);
    // A buy that has filled 256 lots; no bid and the ask 100 price the pegs.
    assert!(text.0.contains("\np 1 0 256 0 100\no "), "{}", text.0);
    assert!(text.0.contains(" 1 1 1 100 1145 0 0 0 0 0 0\n"));
    assert!(text.0.ends_with("F 1 0\n"), "{}", text.0);
    // Four steps come before the command, none while the shard is halted.
    desk.order(target(ControlKind::HaltShard, 0), Ok(Outcome::Accepted));
    let events = desk.events();
    assert_eq!(events.len(), 4 * (1 + FILLS_MAX as usize));
    assert_eq!(events[0], "step 1 C 2560");
    desk.order(target(ControlKind::ResumeShard, 0), Ok(Outcome::Accepted));
    assert_eq!(desk.events().len(), 0);
    // The last step runs before the message, so the instrument is free for it.
    desk.takes(1, cancel(1), 10);
    let events = desk.events();
    assert_eq!(events[0], "step 1 A 1200");
    assert_eq!(events[121..], ["rested 1: B 1@100", "removed 1: 1 U1"]);
}

#[test]
fn what_a_sweep_freezes_is_rejected_and_a_halt_ends_it() {
    let mut desk = Desk::new();
    desk.wall(600);
    let packet = [
        enter(1, BUY, 600, 100, IOC),
        enter(2, BUY, 1, 1, DAY),
        cancel(1),
        mass(0),
    ];
    let frozen = rejected(Reason::Continuing);
    let taken = continued(FILLS_MAX * 10);
    assert_eq!(desk.send(1, &packet), [taken, frozen, frozen, frozen]);
    desk.events();
    // Halted between two steps, which no run is: the remainder goes.
    desk.book.instrument_mut(0).state = State::Halted;
    desk.steps();
    assert_eq!(desk.events(), ["step 1 A 0", "removed 1: 344 H0"]);
    desk.rejects(1, enter(3, BUY, 1, 1, DAY), Reason::InstrumentHalted);
}

#[test]
fn a_kill_ends_a_sweep() {
    let mut desk = Desk::new();
    desk.wall(600);
    desk.one(1, enter(1, BUY, 600, 100, IOC));
    let kill = crate::reference::mass::Owner::Account(1);
    let all = crate::reference::mass::Scope::all(crate::record::Removal::Kill);
    desk.book.kill(kill, all);
    desk.events();
    desk.step();
    assert_eq!(desk.events(), ["step 1 A 0", "removed 1: 344 K0"]);
    desk.rejects(1, enter(3, BUY, 1, 1, DAY), Reason::AccountKilled);
}

#[test]
fn a_sweep_that_finds_no_level_goes() {
    let small = Capacity {
        levels: 2,
        ..Capacity::SMALL
    };
    let mut desk = Desk::with(small, LIST, &grant);
    desk.wall(257);
    desk.one(1, enter(1, BUY, 258, 100, DAY));
    // Another instrument's order takes the level that was free at its entry.
    desk.book.levels_count += 2;
    desk.book.replay_step();
    desk.book.levels_count -= 2;
    desk.book.check();
    let events = desk.events();
    assert_eq!(
        events[256..],
        ["step 1 A 10", "filled B 1@100", "removed 1: 1 I0"]
    );
}

#[test]
fn a_packet_does_so_much_work() {
    let mut desk = Desk::new();
    desk.wall(800);
    let takes: Vec<_> = (1..=4).map(|r| enter(r, BUY, 256, 100, IOC)).collect();
    let full = accepted(2560);
    assert_eq!(desk.send(1, &takes), [full, full, full, accepted(320)]);
    let mut desk = Desk::new();
    desk.wall(800);
    let mut takes = takes[..3].to_vec();
    takes.push(enter(4, BUY, 1, 100, IOC));
    takes.push(enter(5, BUY, 1, 100, IOC));
    takes.push(mass(0));
    let acks = desk.send(1, &takes);
    let full = rejected(Reason::PacketFills);
    assert_eq!(acks[3..], [accepted(10), full, full]);
}

#[test]
fn holds_cover_fees_rounded_up() {
    let mut desk = Desk::listing(WITH_FEES);
    desk.one(1, enter(1, SELL, 3, 400, DAY));
    assert_eq!(desk.money(1, 0), (999_985, 15, 0));
    // 500 a lot and a fee of 1.5, rounded up: 502.
    desk.one(0, enter(1, BUY, 4, 500, DAY));
    // 1,200 paid and a fee of 3.6, rounded up; one lot stays held.
    assert_eq!(desk.events()[1], "filled B 3@400 (-1, 4)");
    assert_eq!(desk.money(0, 1), (1_000_000 - 1204 - 502, 502, 1204));
    assert_eq!(desk.money(0, 0), (1_000_015, 0, -15));
    assert_eq!(desk.money(1, 1), (1_001_201, 0, -1201));
    assert_eq!(desk.money(1, 0), (999_985, 0, 15));
    assert_eq!(desk.book.assets[1].fees, 3);
    desk.rejects(0, enter(2, BUY, 1000, 1000, DAY), Reason::Funds);
}

#[test]
fn outflow_that_nobody_signed_has_a_limit() {
    let mut desk = Desk::listing(WITH_FEES);
    let limit = SetLimit {
        account: 0,
        asset: 1,
        limit: 1515,
    };
    desk.done(ControlKind::SetLimit, &limit);
    desk.one(1, enter(1, SELL, 10, 100, DAY));
    desk.takes(0, enter(1, BUY, 10, 100, DAY), 100);
    assert_eq!(desk.money(0, 1).2, 1003);
    desk.rejects(0, enter(2, BUY, 6, 100, DAY), Reason::UnsettledLimit);
    desk.takes(0, enter(3, BUY, 5, 100, DAY), 0);
    let covered = SettlementMark {
        epoch: 0,
        account: 0,
        asset: 1,
        covered: 1003,
    };
    let covered = Control::new(ControlKind::SettlementMark, &covered);
    desk.order(covered, Ok(Outcome::Accepted));
    desk.takes(0, enter(4, BUY, 10, 100, DAY), 0);
    desk.rejects(0, enter(5, BUY, 1, 1, DAY), Reason::UnsettledLimit);
    desk.takes(0, enter(6, SELL, 1, 999, DAY), 0);
}

#[test]
fn ioc_gives_its_rest_back_and_fok_takes_all_or_nothing() {
    let mut desk = Desk::new();
    desk.one(0, enter(1, SELL, 2, 100, DAY));
    desk.one(0, enter(2, SELL, 2, 101, DAY));
    desk.events();
    desk.rejects(1, enter(1, BUY, 5, 101, FOK), Reason::NotFillable);
    desk.takes(1, enter(2, BUY, 3, 101, FOK), 30);
    assert_eq!(desk.events(), ["filled B 2@100", "filled B 1@101"]);
    // A market order above the ladder is brought to its top; its rest goes.
    let mut market = enter(3, BUY, 3, 5000, DAY.with(Flags::MARKET));
    desk.takes(1, market, 10);
    assert_eq!(desk.events(), ["filled B 1@101", "removed 3: 2 I0"]);
    assert_eq!(desk.money(1, 1).1, 0);
    market.side = SELL;
    market.reference = 4;
    desk.rejects(1, market, Reason::OffLadder);
}

#[test]
fn post_only_does_not_take() {
    let mut desk = Desk::new();
    let post = DAY.with(Flags::POST_REJECT);
    desk.one(0, enter(1, SELL, 2, 100, DAY));
    desk.rejects(1, enter(1, BUY, 2, 100, post), Reason::WouldCross);
    desk.takes(1, enter(2, BUY, 2, 99, post), 0);
    // The mark goes over to the replacement.
    desk.rejects(1, replace(2, 3, 2, 100), Reason::WouldCross);
    assert_eq!(desk.queue(BUY), [2]);
}
