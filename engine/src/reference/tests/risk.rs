//! Limits of sessions and accounts, price limits of instruments.

use super::desk::*;
use crate::control::{Control, ControlKind, Grant, SetBands, SetRisk};
use crate::record::State;
use crate::{Capacity, Reason};
use ring0_wire::message::{BUY, PEG_PRIMARY, SELL};
use ring0_wire::{Flags, Message};

const BANDS: SetBands = SetBands {
    instrument: 0,
    band_low: 0,
    band_high: 0,
    dynamic_ticks: 0,
    fat_ticks: 0,
    pause_ticks: 0,
    reference: 0,
    reserved: 0,
};

fn banded(bands: SetBands) -> Desk {
    let mut desk = Desk::new();
    desk.refused(ControlKind::SetBands, &bands, Reason::BadState);
    desk.state(State::Halted);
    desk.done(ControlKind::SetBands, &bands);
    desk.state(State::Continuous);
    desk
}

#[test]
fn an_account_has_limits() {
    let mut desk = Desk::new();
    desk.another(2, 0);
    let risk = SetRisk {
        account: 0,
        orders_max: 2,
        shares_max: 50,
        burst: 0,
        notional_max: 1000,
        interval_ns: 0,
    };
    desk.done(ControlKind::SetRisk, &risk);
    desk.rejects(0, enter(1, BUY, 6, 100, DAY), Reason::RiskShares);
    desk.rejects(0, enter(2, BUY, 5, 201, DAY), Reason::RiskNotional);
    desk.takes(0, enter(3, BUY, 5, 200, DAY), 0);
    desk.takes(2, stop(enter(1, BUY, 1, 300, IOC), 300), 0);
    desk.rejects(2, enter(2, BUY, 1, 1, DAY), Reason::RiskOrders);
    desk.rejects(2, stop(enter(3, BUY, 1, 1, IOC), 300), Reason::RiskOrders);
    // What never rests is not counted.
    desk.takes(2, enter(4, BUY, 1, 1, IOC), 0);
    desk.rejects(0, replace(3, 5, 6, 100), Reason::RiskShares);
    desk.rejects(0, replace(3, 6, 5, 201), Reason::RiskNotional);
    desk.takes(0, replace(3, 7, 4, 250), 0);
}

#[test]
fn a_session_has_limits() {
    let limited = |session| Grant {
        orders_max: 1,
        shares_max: 20,
        notional_max: 300,
        ..grant(session)
    };
    let mut desk = Desk::with(Capacity::SMALL, LIST, &limited);
    desk.rejects(0, enter(1, BUY, 3, 100, DAY), Reason::RiskShares);
    desk.rejects(0, enter(2, BUY, 2, 151, DAY), Reason::RiskNotional);
    desk.takes(0, enter(3, BUY, 2, 150, DAY), 0);
    desk.rejects(0, enter(4, BUY, 1, 1, DAY), Reason::RiskOrders);
}

#[test]
fn a_band_is_for_all_but_market_orders() {
    let mut desk = banded(SetBands {
        band_low: 90,
        band_high: 110,
        ..BANDS
    });
    desk.rejects(0, enter(1, BUY, 1, 89, DAY), Reason::PriceBand);
    desk.rejects(0, enter(2, SELL, 1, 111, DAY), Reason::PriceBand);
    desk.rejects(0, stop(enter(3, BUY, 1, 111, DAY), 100), Reason::PriceBand);
    let peg = pegged(enter(4, BUY, 1, 111, DAY), PEG_PRIMARY, 0);
    desk.rejects(0, peg, Reason::PriceBand);
    let market = DAY.with(Flags::MARKET);
    desk.takes(0, enter(5, BUY, 1, 200, market), 0);
    // A market stop is not told from an IOC one when it is replaced.
    desk.takes(0, stop(enter(6, BUY, 1, 200, market), 100), 0);
    desk.takes(0, replace(6, 7, 1, 201), 0);
    desk.takes(0, enter(8, BUY, 1, 90, DAY), 0);
    desk.rejects(0, replace(8, 9, 1, 89), Reason::PriceBand);
}

#[test]
fn a_dynamic_band_follows_the_last_trade() {
    let mut desk = banded(SetBands {
        dynamic_ticks: 10,
        reference: 100,
        ..BANDS
    });
    desk.rejects(0, enter(1, BUY, 1, 89, DAY), Reason::DynamicBand);
    desk.rejects(0, enter(2, BUY, 1, 111, IOC), Reason::DynamicBand);
    desk.takes(0, enter(3, SELL, 1, 110, DAY), 0);
    desk.takes(1, enter(1, BUY, 1, 110, DAY), 10);
    desk.rejects(0, enter(4, BUY, 1, 99, DAY), Reason::DynamicBand);
    desk.takes(0, enter(5, BUY, 1, 120, DAY), 0);
    // Neither stops nor market orders are judged by it.
    desk.takes(1, stop(enter(2, BUY, 1, 200, DAY), 190), 0);
    desk.takes(1, enter(3, BUY, 1, 200, DAY.with(Flags::MARKET)), 0);
}

#[test]
fn a_fat_finger_is_measured_from_the_other_side() {
    let mut desk = banded(SetBands {
        fat_ticks: 5,
        ..BANDS
    });
    desk.takes(0, enter(1, BUY, 1, 500, DAY), 0);
    desk.rejects(0, enter(2, SELL, 1, 494, DAY), Reason::FatFinger);
    desk.takes(1, enter(1, SELL, 2, 495, DAY), 10);
    desk.rejects(0, enter(3, BUY, 1, 501, DAY), Reason::FatFinger);
    desk.takes(0, enter(4, BUY, 1, 490, DAY), 0);
    desk.rejects(0, replace(4, 5, 1, 501), Reason::FatFinger);
    // A hidden price is not known to him who errs, a peg has no price of its own, and a call has no other side.
    desk.takes(0, enter(6, BUY, 1, 500, IOC), 10);
    desk.takes(1, enter(2, SELL, 1, 700, DAY.with(Flags::HIDDEN)), 0);
    desk.takes(0, enter(7, BUY, 1, 900, IOC), 10);
    let peg = pegged(enter(8, SELL, 1, 100, DAY), PEG_PRIMARY, 0);
    desk.takes(0, peg, 0);
    desk.state(State::PreOpen);
    desk.takes(0, enter(9, SELL, 1, 100, DAY), 0);
}

#[test]
fn bad_bands_are_not_set() {
    let mut desk = Desk::new();
    desk.state(State::Closed);
    for bands in [
        SetBands {
            band_low: 1,
            ..BANDS
        },
        SetBands {
            band_low: 2,
            band_high: 1,
            ..BANDS
        },
        SetBands {
            reference: 1001,
            ..BANDS
        },
    ] {
        desk.refused(ControlKind::SetBands, &bands, Reason::BadSetting);
    }
    let other = SetBands {
        instrument: 1,
        ..BANDS
    };
    let other = Control::new(ControlKind::SetBands, &other);
    desk.order(other, Err(Reason::UnknownInstrument));
}

#[test]
fn lots_are_whole_and_not_too_many() {
    let mut desk = Desk::new();
    let odd = |change: fn(&mut Message)| {
        let mut message = extended(enter(1, BUY, 2, 100, DAY));
        change(&mut message);
        message
    };
    let wrong = [
        (odd(|m| m.shares = 21), Reason::NotALot),
        (odd(|m| m.minimum = 5), Reason::NotALot),
        (odd(|m| m.display = 5), Reason::NotALot),
        (odd(|m| m.price += 1), Reason::NotATick),
        (odd(|m| m.shares = 20_010), Reason::OrderTooLarge),
        (odd(|m| m.stock = 1), Reason::StockMismatch),
        (odd(|m| m.minimum = 21), Reason::MinimumAboveShares),
    ];
    for (reference, (message, reason)) in (1..).zip(wrong) {
        let message = Message {
            reference,
            ..message
        };
        desk.rejects(0, message, reason);
    }
}
