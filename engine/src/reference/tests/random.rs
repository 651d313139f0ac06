//! Random trading with every order type and control command: what is always true stays true.

use super::desk::*;
use crate::Capacity;
use crate::control::{
    Clear, Control, ControlKind, Expire, Grant, List, MoveLadder, SetBands, SetSelfTrade, SetState,
    Uncross,
};
use crate::record::State;
use ring0_wire::message::{BOTH, BUY, PEG_MIDPOINT, PEG_PRIMARY, SCOPE_ACCOUNT, SELL};
use ring0_wire::{Flags, Message, SelfTrade, TimeInForce};

struct Random(u64);

impl Random {
    fn below(&mut self, below: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) as u32) % below
    }

    fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u32) as usize]
    }
}

/// Few references, prices and instruments, so that ties, crosses and unknown orders are common.
fn order(random: &mut Random, reference: u32, second: u32) -> Message {
    let time = random.one_of(&[
        TimeInForce::Day,
        TimeInForce::Day,
        TimeInForce::GoodTillCancel,
        TimeInForce::ImmediateOrCancel,
        TimeInForce::FillOrKill,
        TimeInForce::GoodTillTime,
    ]);
    let mode = random.one_of(&[
        SelfTrade::AccountDefault,
        SelfTrade::AccountDefault,
        SelfTrade::CancelNewest,
        SelfTrade::CancelOldest,
        SelfTrade::CancelBoth,
        SelfTrade::DecrementAndCancel,
    ]);
    let mut flags = Flags::new(time, mode);
    for bit in [
        Flags::POST_REJECT,
        Flags::POST_SLIDE,
        Flags::HIDDEN,
        Flags::MARKET,
    ] {
        if random.once_in(9) {
            flags = flags.with(bit);
        }
    }
    let side = random.one_of(&[BUY, SELL]);
    let lots = 1 + random.below(9);
    let mut message = extended(enter(reference, side, lots, 98 + random.below(6), flags));
    if time == TimeInForce::GoodTillTime {
        message.expiry_s = second + random.below(4);
    }
    match random.below(8) {
        0 => message.trigger = (97 + random.below(8)) * 100,
        1 => {
            message.peg = random.one_of(&[PEG_MIDPOINT, PEG_PRIMARY]);
            message.peg_offset_ticks = random.below(5) as i8 - 2;
        }
        2 => message.minimum = (1 + random.below(lots)) * 10,
        3 | 4 if !flags.has(Flags::HIDDEN) => message.display = (1 + random.below(lots)) * 10,
        _ => {}
    }
    if random.once_in(10) {
        message.trade_group = 7;
    }
    message
}

fn messages(random: &mut Random, last: &mut u32, second: u32) -> Vec<Message> {
    let mut messages = Vec::new();
    for _ in 0..random.below(12) {
        *last += random.below(3);
        let new = (*last).max(1);
        let recent = last.saturating_sub(random.below(9)).max(1);
        let any = 1 + random.below(*last + 2);
        let known = random.one_of(&[recent, any]);
        let mut message = match random.below(20) {
            0..11 => order(random, new, second),
            11..14 => replace(known, new, 1 + random.below(9), 98 + random.below(6)),
            14 | 15 => reduce(known, 1 + random.below(4)),
            16..19 => cancel(known),
            _ => Message {
                scope: random.one_of(&[b'S', SCOPE_ACCOUNT]),
                side: random.one_of(&[BUY, SELL, BOTH]),
                kill: u8::from(random.once_in(4)),
                ..mass(0)
            },
        };
        let of_all = message.letter == b'M' && random.once_in(2);
        message.locate = if of_all {
            0
        } else {
            1 + random.below(2) as u16
        };
        messages.push(message);
    }
    messages
}

fn control(random: &mut Random, second: &mut u32) -> Control {
    let instrument = random.below(2);
    let state = random.one_of(&State::ALL) as u32;
    let index = random.below(3);
    match random.below(16) {
        0..4 => Control::new(ControlKind::SetState, &SetState { instrument, state }),
        4 => {
            *second += random.below(2);
            let expire = Expire {
                second: *second,
                reserved: 0,
            };
            Control::new(ControlKind::Expire, &expire)
        }
        5 | 6 => {
            let uncross = Uncross {
                instrument,
                price: 98 + random.below(6),
                then: State::Continuous as u32,
                reserved: 0,
            };
            Control::new(ControlKind::Uncross, &uncross)
        }
        7 => {
            let side = u32::from(random.one_of(&[BUY, SELL, BOTH]));
            Control::new(ControlKind::Clear, &Clear { instrument, side })
        }
        8 => target(ControlKind::CloseDay, instrument),
        9 => {
            let ladder = MoveLadder {
                instrument,
                ladder_base: random.one_of(&[1, 99]),
                ladder_len: random.one_of(&[4, 1000]),
                reserved: 0,
            };
            Control::new(ControlKind::MoveLadder, &ladder)
        }
        10 => {
            let bands = SetBands {
                instrument,
                band_low: 0,
                band_high: 0,
                dynamic_ticks: 0,
                fat_ticks: 0,
                pause_ticks: random.below(3),
                reference: 100,
                reserved: 0,
            };
            Control::new(ControlKind::SetBands, &bands)
        }
        11 => {
            let self_trade = SetSelfTrade {
                account: index,
                mode: random.below(5),
                group: random.one_of(&[0, 7]),
                reserved: 0,
            };
            Control::new(ControlKind::SetSelfTrade, &self_trade)
        }
        12 => target(ControlKind::KillAccount, index),
        13 => target(ControlKind::KillSession, index),
        14 => target(ControlKind::ReviveAccount, index),
        _ => target(ControlKind::ReviveSession, index),
    }
}

#[test]
fn invariants_hold_in_random_trading() {
    for seed in 1..=8_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // Odd seeds build walls that a sweep does not finish at once, even ones fill the overflow table.
        let walls = seed % 2 == 1;
        let narrow = |session| Grant {
            references_log2: if walls { 12 } else { 4 },
            ..grant(session)
        };
        let small = Capacity {
            orders: if walls { 2000 } else { 300 },
            levels: 24,
            buckets: 4,
            ..Capacity::SMALL
        };
        let mut desk = Desk::with(small, WITH_FEES, &narrow);
        desk.another(2, 0);
        let second_list = List {
            instrument: 1,
            maker_ppm: 777,
            base_asset: 1,
            quote_asset: 0,
            ..WITH_FEES
        };
        desk.done(ControlKind::List, &second_list);
        desk.now = 100_000_000_000;
        let mut last = [0; 3];
        let mut second = 1;
        let (mut continued, mut commands) = (0, 0);
        for _ in 0..800 {
            let session = random.below(3);
            let last = &mut last[session as usize];
            if walls && random.below(3) != 0 {
                let wall = (1..=36).map(|more| enter(*last + more, SELL, 1, 101, DAY));
                desk.send(session, &wall.collect::<Vec<_>>());
                *last += 36;
            }
            let messages = messages(&mut random, last, second);
            let acks = desk.send(session, &messages);
            continued += acks.iter().filter(|ack| ack.0 == 'C').count();
            if random.once_in(8) {
                let wanted = control(&mut random, &mut second);
                // Trading goes on before long, and nobody stays killed.
                let open = SetState {
                    instrument: random.below(2),
                    state: State::Continuous as u32,
                };
                let run = [
                    wanted,
                    Control::new(ControlKind::SetState, &open),
                    target(ControlKind::ReviveAccount, session % 2),
                    target(ControlKind::ReviveSession, session),
                ];
                desk.book.control(&run, desk.now);
                desk.book.check();
                commands += 1;
            }
        }
        let records = desk.book.take_records();
        assert!(records.len() > 64 * 1000, "seed {seed} did little");
        println!(
            "seed {seed}: {} slots, {continued} continued, {commands} control commands",
            records.len() / 64
        );
    }
}
