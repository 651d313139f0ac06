//! A market as the control commands that make it out of an empty shard.

use crate::plan::{Instrument, Market};
use ring0_engine::control::{Control, ControlKind, Deposit, Grant, List, OpenAccount, SetLimit};
use ring0_trader::SessionId;

impl Market {
    /// The commands in their order: accounts, limits, deposits, instruments, sessions. The clock
    /// (`Clock`) is the daemon's and comes before them; so are the commands' numbers.
    #[must_use]
    pub fn controls(&self) -> Vec<Control> {
        let plan = &self.plan;
        let accounts = || (0_u32..).zip(&plan.accounts);
        let mut controls = Vec::new();
        for (account, _) in accounts() {
            let open = OpenAccount {
                account,
                reserved: 0,
            };
            controls.push(Control::new(ControlKind::OpenAccount, &open));
        }
        for (account, given) in accounts() {
            for &(asset, limit) in &given.limits {
                let limit = SetLimit {
                    account,
                    asset,
                    limit,
                };
                controls.push(Control::new(ControlKind::SetLimit, &limit));
            }
        }
        for (account, given) in accounts() {
            for &(asset, amount) in &given.balances {
                let deposit = Deposit {
                    account,
                    asset,
                    amount,
                };
                controls.push(Control::new(ControlKind::Deposit, &deposit));
            }
        }
        for (index, instrument) in (0_u32..).zip(&plan.instruments) {
            let list = list(index, instrument);
            controls.push(Control::new(ControlKind::List, &list));
        }
        for ((index, session), opened) in (0_u32..).zip(&plan.sessions).zip(&self.sessions) {
            let grant = Grant {
                session: index,
                account: session.account,
                id: opened.id().0,
                answers_log2: session.answers.ilog2() as u8, // powers of two, by the plan
                references_log2: session.references.ilog2() as u8,
                burst: session.burst,
                interval_ns: session.interval_ns,
                expires_ns: session.expires_ns,
            };
            controls.push(Control::new(ControlKind::GrantSession, &grant));
        }
        controls
    }

    /// The MoldUDP64 session of each session, by index.
    #[must_use]
    pub fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.iter().map(|session| session.id()).collect()
    }
}

fn list(index: u32, instrument: &Instrument) -> List {
    let mut symbol = [b' '; 8];
    symbol[..instrument.symbol.len()].copy_from_slice(instrument.symbol.as_bytes());
    let (band_low, band_high) = instrument.band;
    List {
        instrument: index,
        halted: instrument.halted.into(),
        symbol,
        base_asset: instrument.base_asset,
        quote_asset: instrument.quote_asset,
        tick_size: instrument.tick_size,
        lot_size: instrument.lot_size,
        tick_value: instrument.tick_value,
        ladder_base: instrument.ladder_base,
        lot_value: instrument.lot_value,
        ladder_len: instrument.ladder_len,
        lots_max: instrument.lots_max,
        band_low,
        band_high,
        notional_max: instrument.notional_max,
        maker_ppm: instrument.maker_ppm,
        taker_ppm: instrument.taker_ppm,
    }
}
