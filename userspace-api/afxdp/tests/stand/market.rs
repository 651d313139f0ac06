//! A market of one instrument.

use super::id;
use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::record::State;
use std::ops::Range;

/// What each account has of each asset.
pub(crate) const PLENTY: u64 = 1 << 40;

/// The commands that make it, with a session and an account for each number.
pub(crate) fn controls(sessions: Range<u32>) -> Vec<Control> {
    let mut controls = vec![
        Control::new(ControlKind::Clock, &Clock { day_base_ns: 5 }),
        Control::new(
            ControlKind::List,
            &List {
                instrument: 0,
                state: State::Continuous as u32,
                symbol: *b"AFXDP   ",
                base_asset: 1,
                quote_asset: 0,
                tick_size: 100,
                lot_size: 1,
                tick_value: 1,
                ladder_base: 1000,
                lot_value: 1,
                ladder_len: 256,
                lots_max: 1000,
                band_low: 0,
                band_high: 0,
                notional_max: 0,
                maker_ppm: 0,
                taker_ppm: 0,
            },
        ),
    ];
    for number in sessions {
        let open = OpenAccount {
            account: number,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::OpenAccount, &open));
        for asset in 0..2 {
            let deposit = Deposit {
                account: number,
                asset,
                amount: PLENTY,
            };
            controls.push(Control::new(ControlKind::Deposit, &deposit));
        }
        let grant = Grant {
            session: number,
            account: number,
            id: id(number).0,
            answers_log2: 8,
            references_log2: 10,
            burst: 0,
            interval_ns: 0,
            expires_ns: u64::MAX,
            orders_max: 0,
            shares_max: 0,
            notional_max: 0,
            cancel_on_disconnect: 0,
            reserved: 0,
        };
        controls.push(Control::new(ControlKind::GrantSession, &grant));
    }
    controls
}
