//! The market that is attacked, and its sessions.

use ring0_engine::control::{Clock, Control, ControlKind, Deposit, Grant, List, OpenAccount};
use ring0_engine::record::State;
use ring0_wire::SessionId;

/// Key of session 0.
pub(super) const KEY: [u8; 16] = *b"sixteen bytes...";

/// Id of a session by its index.
pub(super) fn id(session: u32) -> SessionId {
    SessionId::new(session, 0x1234_5678 + session).expect("20 and 30 bits")
}

/// The commands that make it: one account, one instrument, sessions 0, 1 and 3.
pub(super) fn controls() -> Vec<Control> {
    let mut controls = vec![
        Control::new(ControlKind::Clock, &Clock { day_base_ns: 0 }),
        Control::new(
            ControlKind::OpenAccount,
            &OpenAccount {
                account: 0,
                reserved: 0,
            },
        ),
    ];
    for asset in 0..2 {
        let deposit = Deposit {
            account: 0,
            asset,
            amount: 1 << 50,
        };
        controls.push(Control::new(ControlKind::Deposit, &deposit));
    }
    let list = List {
        instrument: 0,
        state: State::Continuous as u32,
        symbol: *b"HOSTILE ",
        base_asset: 1,
        quote_asset: 0,
        tick_size: 100,
        lot_size: 1,
        tick_value: 1,
        ladder_base: 1,
        lot_value: 1,
        ladder_len: 64,
        lots_max: 1000,
        band_low: 0,
        band_high: 0,
        notional_max: 0,
        maker_ppm: 0,
        taker_ppm: 0,
    };
    controls.push(Control::new(ControlKind::List, &list));
    for session in [0, 1, 3] {
        let grant = Grant {
            session,
            account: 0,
            id: id(session).0,
            answers_log2: 7,
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
