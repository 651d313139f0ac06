//! A market as the control commands that make it out of an empty shard.

use crate::plan::{Bands, Instrument, Market, Risk};
use crate::rate::Rate;
use ring0_engine::control::{
    Control, ControlKind, Deposit, Grant, List, OpenAccount, Route, SetBands, SetLimit, SetRisk,
    SetSelfTrade, SetState,
};
use ring0_engine::record::State;
use ring0_trader::SessionId;

impl Market {
    /// The commands in their order: accounts, their risk limits and self-trade prevention, limits, deposits, instruments, their bands
    /// and states, the ports of those that other shards trade, sessions. The clock (`Clock`) is the daemon's and comes before them; so are the commands' numbers.
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
            if (given.risk, given.rate) != (Risk::default(), Rate::default()) {
                let risk = SetRisk {
                    account,
                    orders_max: given.risk.orders_max,
                    shares_max: given.risk.shares_max,
                    burst: given.rate.burst,
                    notional_max: given.risk.notional_max,
                    interval_ns: given.rate.interval_ns,
                };
                controls.push(Control::new(ControlKind::SetRisk, &risk));
            }
        }
        for (account, given) in accounts() {
            let (mode, group) = (given.self_trade as u32, given.trade_group.into());
            if (mode, group) != (0, 0) {
                let prevention = SetSelfTrade {
                    account,
                    mode,
                    group,
                    reserved: 0,
                };
                controls.push(Control::new(ControlKind::SetSelfTrade, &prevention));
            }
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
        let instruments = || {
            (0_u32..)
                .zip(&plan.instruments)
                .filter(|(_, one)| one.shard == plan.number)
                .map(|(index, one)| one.controls(index))
        };
        controls.extend(instruments().map(|one| one.list));
        controls.extend(instruments().filter_map(|one| one.bands));
        controls.extend(instruments().filter_map(|one| one.state));
        for (instrument, one) in (0_u32..).zip(&plan.instruments) {
            if one.shard != plan.number {
                let port = plan.peers[one.shard as usize].port.into();
                let route = Route { instrument, port };
                controls.push(Control::new(ControlKind::Route, &route));
            }
        }
        for ((index, session), opened) in (0_u32..).zip(&plan.sessions).zip(&self.sessions) {
            if session.shard != plan.number {
                continue;
            }
            let grant = Grant {
                session: index,
                account: session.account,
                id: opened.id().0,
                answers_log2: session.answers.ilog2() as u8, // powers of two, by the plan
                references_log2: session.references.ilog2() as u8,
                burst: session.rate.burst,
                interval_ns: session.rate.interval_ns,
                expires_ns: session.expires_ns,
                orders_max: session.risk.orders_max,
                shares_max: session.risk.shares_max,
                notional_max: session.risk.notional_max,
                cancel_on_disconnect: (session.cancel_on_disconnect_s != 0).into(),
                reserved: 0,
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

/// What makes an instrument of an index that is not listed, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// Lists it.
    pub list: Control,
    /// Sets its bands, if it has any beside the fixed one.
    pub bands: Option<Control>,
    /// Brings it into its state, if it had to be closed for its bands.
    pub state: Option<Control>,
}

impl Instrument {
    /// The commands that list it under an index.
    #[must_use]
    pub fn controls(&self, index: u32) -> Listing {
        let mut list = list(index, self);
        if self.bands == Bands::default() {
            return Listing {
                list: Control::new(ControlKind::List, &list),
                bands: None,
                state: None,
            };
        }
        let may_have_bands = matches!(self.state, State::Closed | State::Halted);
        if !may_have_bands {
            list.state = State::Closed as u32;
        }
        let (band_low, band_high) = self.band;
        let bands = SetBands {
            instrument: index,
            band_low,
            band_high,
            dynamic_ticks: self.bands.dynamic_ticks,
            fat_ticks: self.bands.fat_ticks,
            pause_ticks: self.bands.pause_ticks,
            reference: self.bands.reference,
            reserved: 0,
        };
        let state = SetState {
            instrument: index,
            state: self.state as u32,
        };
        Listing {
            list: Control::new(ControlKind::List, &list),
            bands: Some(Control::new(ControlKind::SetBands, &bands)),
            state: (!may_have_bands).then(|| Control::new(ControlKind::SetState, &state)),
        }
    }
}

fn list(index: u32, instrument: &Instrument) -> List {
    let mut symbol = [b' '; 8];
    symbol[..instrument.symbol.len()].copy_from_slice(instrument.symbol.as_bytes());
    let (band_low, band_high) = instrument.band;
    List {
        instrument: index,
        state: instrument.state as u32,
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
