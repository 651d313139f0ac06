//! What the flow's operator, daemon and settlement tell the shard: the setup, an instrument's way back to continuous
//! trading, and control commands of every kind with every mistake.

use super::market::{
    ACCOUNT_OF, ACCOUNTS, ASSETS, BANDS, CLOSED_ACCOUNT, FRAGILE, INSTRUMENTS, LATE, LATE_MARKET,
    MARKETS, PLENTY, RATED, RISKY, SESSIONS, SHORT, STRANGER, VAST, middle_of, references_log2,
};
use super::{Flow, Plan, Profile, SECOND_NS};
use crate::control::{
    Bust, Clear, Clock, Control, ControlKind, Deposit, Disconnect, Empty, Expire, Grant, Indicate,
    MoveLadder, OpenAccount, OpenDay, Route, SetBands, SetLimit, SetRisk, SetSelfTrade, SetState,
    SettlementMark, Target, TransferDone, TransferIn, TransferOut, Uncross,
};
use crate::record::State;
use ring0_wire::SessionId;
use ring0_wire::message::{BOTH, BUY, SCOPE_SESSION, SELL};

/// No limit of a balance's outflow.
const UNLIMITED: u64 = (1 << 63) - 1;

impl Flow {
    /// The control commands with which the shard begins, in runs by themselves.
    #[must_use]
    pub fn setup(&mut self) -> Vec<Control> {
        let mut controls = vec![self.clock()];
        for account in 0..ACCOUNTS {
            let reserved = 0;
            let body = OpenAccount { account, reserved };
            controls.push(Control::new(ControlKind::OpenAccount, &body));
        }
        for asset in 0..ASSETS {
            for account in [0, 1, 5] {
                controls.push(deposit(account, asset, PLENTY));
            }
            controls.push(deposit(2, asset, 2_000_000));
            controls.push(deposit(3, asset, 5_000));
            controls.push(deposit(4, asset, 10_000_000));
        }
        for (asset, limit) in [(0, 20_000), (1, 700)] {
            controls.push(limit_of(4, asset, limit));
        }
        controls.push(self.self_trade(5, 4, 7));
        controls.push(self.self_trade(1, 2, 7));
        for market in MARKETS {
            controls.push(Control::new(ControlKind::List, &market));
            self.view.assume(&market);
        }
        for bands in BANDS {
            if bands.instrument != 5 {
                controls.push(Control::new(ControlKind::SetBands, &bands));
                controls.push(state_of(bands.instrument, State::Continuous));
            }
        }
        for session in 0..SESSIONS {
            if session != STRANGER && session != LATE {
                controls.push(self.granting(session));
            }
        }
        controls
    }

    pub(super) fn fresh_id(&mut self, session: u32) -> SessionId {
        self.nonce = (self.nonce + 7919) & ((1 << 30) - 1);
        SessionId::new(session, self.nonce).expect("an index and a nonce in range")
    }

    /// A grant of the session as the flow knows it.
    fn grant(&mut self, session: u32) -> Grant {
        let now = self.day_base_ns.wrapping_add(self.boot_ns);
        let (rated, risky) = (session == RATED, session == RISKY);
        Grant {
            session,
            account: ACCOUNT_OF[session as usize],
            id: self.clients[session as usize].id().0,
            answers_log2: 7,
            references_log2: references_log2(session),
            burst: if rated { 12 } else { 0 },
            interval_ns: if rated { 100_000 } else { 0 },
            expires_ns: if session == SHORT {
                now.saturating_add(200_000_000)
            } else {
                u64::MAX
            },
            orders_max: if risky { 9 } else { 0 },
            shares_max: if risky { 40 } else { 0 },
            notional_max: if risky { 20_000 } else { 0 },
            cancel_on_disconnect: u32::from(session == FRAGILE || session == RISKY),
            reserved: 0,
        }
    }

    pub(super) fn granting(&mut self, session: u32) -> Control {
        Control::new(ControlKind::GrantSession, &self.grant(session))
    }

    pub(super) fn clock(&self) -> Control {
        let day_base_ns = self.day_base_ns;
        Control::new(ControlKind::Clock, &Clock { day_base_ns })
    }

    fn self_trade(&mut self, account: u32, mode: u32, group: u32) -> Control {
        if let (Some(known), Ok(group)) =
            (self.groups.get_mut(account as usize), u16::try_from(group))
        {
            *known = group;
        }
        let body = SetSelfTrade {
            account,
            mode,
            group,
            reserved: 0,
        };
        Control::new(ControlKind::SetSelfTrade, &body)
    }

    /// A session is thought to have been silent since its last packet, or since one that never came.
    pub(super) fn disconnection(&self, session: u32, ahead: u64) -> Control {
        let known = self.clients.get(session as usize);
        let body = Disconnect {
            session,
            reserved: 0,
            expected: known.map_or(1, |client| client.expected()) + ahead,
        };
        Control::new(ControlKind::Disconnect, &body)
    }

    // An instrument's way.

    pub(super) fn is_continuous(&self, index: u32) -> bool {
        let seen = &self.view.markets[index as usize];
        seen.listed && seen.state == State::Continuous
    }

    /// The next command on an instrument's way to continuous trading, if it is not there.
    pub(super) fn towards_continuous(&mut self, index: u32) -> Option<Control> {
        let seen = self.view.markets[index as usize];
        if !seen.listed {
            return Some(Control::new(ControlKind::List, &MARKETS[index as usize]));
        }
        match seen.state {
            State::Continuous => None,
            State::Closed | State::PreOpen | State::Halted if self.random.percent(5) => {
                Some(self.detour(index))
            }
            State::Closed | State::PreOpen | State::Halted => {
                let bands = BANDS.iter().find(|bands| bands.instrument == index);
                let crossed = self.view.is_crossed(index);
                match bands {
                    Some(bands) if seen.state != State::PreOpen && self.random.percent(20) => {
                        Some(Control::new(ControlKind::SetBands, bands))
                    }
                    _ if crossed != self.random.percent(10) => {
                        let call = [State::OpeningAuction, State::ClosingAuction];
                        Some(state_of(index, self.random.pick(&call)))
                    }
                    _ => Some(state_of(index, State::Continuous)),
                }
            }
            State::OpeningAuction | State::VolatilityPause | State::ClosingAuction => {
                if self.random.percent(20) {
                    Some(self.indication(index))
                } else if self.random.percent(12) {
                    Some(self.detour(index))
                } else {
                    Some(state_of(index, State::Uncrossing))
                }
            }
            State::Uncrossing => {
                let then = match self.random.below(20) {
                    0 => State::Halted,
                    1 => State::Closed,
                    2 => State::PreOpen, // which is none to go to
                    _ => State::Continuous,
                };
                Some(self.uncross(index, then))
            }
        }
    }

    /// Any state that is not the end of the call.
    fn detour(&mut self, index: u32) -> Control {
        let states = [
            State::Closed,
            State::PreOpen,
            State::OpeningAuction,
            State::ClosingAuction,
            State::Continuous,
            State::Halted,
        ];
        state_of(index, self.random.pick(&states))
    }

    fn indication(&mut self, index: u32) -> Control {
        let price = self.view.auction_price(index);
        let body = Indicate {
            instrument: index,
            price: self.random.pick(&[price, price, 0, 1 << 30]),
            volume: self.random.next(),
            imbalance: -1,
        };
        Control::new(ControlKind::Indicate, &body)
    }

    /// An auction at the price that should be found, or at another near it.
    pub(super) fn uncross(&mut self, index: u32, then: State) -> Control {
        let price = self.view.auction_price(index);
        let price = match self.random.below(10) {
            0 | 1 => price.saturating_sub(self.random.between(1, 3)).max(1),
            2 => price + self.random.between(1, 3),
            _ => price,
        };
        let body = Uncross {
            instrument: index,
            price,
            then: then as u32,
            reserved: 0,
        };
        Control::new(ControlKind::Uncross, &body)
    }

    /// So many seconds pass, and the orders that were good until then go.
    pub(super) fn expiry(&mut self, seconds: u32) -> Vec<Control> {
        let ns = u64::from(seconds) * SECOND_NS;
        self.day_base_ns = self.day_base_ns.wrapping_add(ns);
        vec![self.clock(), expire(self.second())]
    }

    // Any control command.

    pub(super) fn controls(&mut self) -> Vec<Control> {
        let count = self.random.between(1, 3);
        let mut controls = Vec::new();
        for _ in 0..count {
            match self.phase {
                Profile::Auction if self.random.percent(70) => self.push_state(&mut controls),
                Profile::Day if self.random.percent(60) => self.push_day(&mut controls),
                Profile::SelfTrade if self.random.percent(60) => {
                    let control = self.any_self_trade();
                    controls.push(control);
                }
                _ => self.push_control(&mut controls),
            }
        }
        controls
    }

    fn push_control(&mut self, controls: &mut Vec<Control>) {
        match self.random.below(46) {
            0..8 => self.push_money(controls),
            8..11 => self.push_state(controls),
            11 => {
                controls.push(Control::new(ControlKind::HaltShard, &Empty {}));
                self.later(vec![Control::new(ControlKind::ResumeShard, &Empty {})]);
            }
            12 => controls.push(Control::new(ControlKind::ResumeShard, &Empty {})),
            13..20 => self.push_session(controls),
            20..23 => self.push_account(controls),
            23 | 24 => self.push_listing(controls),
            25..31 => self.push_day(controls),
            31 | 32 => {
                let control = self.any_self_trade();
                controls.push(control);
            }
            33 | 34 => self.push_bands(controls),
            35 | 36 => self.push_bust(controls),
            37 => {
                let shift = u64::from(self.random.below(2_000_000));
                self.day_base_ns = self.day_base_ns.wrapping_add(shift) - 1_000_000;
                controls.push(self.clock());
            }
            38 | 39 => self.push_route(controls),
            40..44 => self.push_transfer(controls),
            _ => {
                let mut control = Control::new(ControlKind::Clock, &Empty {});
                control.kind = self
                    .random
                    .pick(&[0, 9, ControlKind::Gap as u32, 77, u32::MAX]);
                control.body[11] = self.random.next();
                controls.push(control);
            }
        }
    }

    fn push_money(&mut self, controls: &mut Vec<Control>) {
        let account = self
            .random
            .pick(&[0, 1, 2, 2, 3, 3, 4, 4, 5, CLOSED_ACCOUNT, 7]);
        let asset = self.random.pick(&[0, 0, 1, 1, 2, 3, 4]);
        match self.random.below(9) {
            0..3 => {
                let amount = u64::from(self.random.below(60_000));
                controls.push(deposit(account, asset, amount));
            }
            3 => {
                let amount = self.random.pick(&[0, 1 << 63, UNLIMITED, u64::MAX]);
                controls.push(deposit(account, asset, amount));
            }
            4 | 5 => {
                let amount = match self.random.below(10) {
                    0 => 0,
                    _ => u64::from(self.random.below(30_000)),
                };
                let body = Deposit {
                    account,
                    asset,
                    amount,
                };
                controls.push(Control::new(ControlKind::Withdraw, &body));
            }
            6 => {
                let limit = match self.random.below(4) {
                    0 => UNLIMITED,
                    1 => 1 << 63,
                    _ => u64::from(self.random.below(50_000)),
                };
                controls.push(limit_of(account, asset, limit));
            }
            _ => self.push_mark(controls, account, asset),
        }
    }

    /// Another shard trades an instrument, or none does any more.
    fn push_route(&mut self, controls: &mut Vec<Control>) {
        let body = Route {
            instrument: self.random.pick(&[7, 7, 7, 7, LATE_MARKET, 0, INSTRUMENTS]),
            port: self.random.pick(&[0, 1, 40_002, 40_002, 65_535, 65_536]),
        };
        controls.push(Control::new(ControlKind::Route, &body));
    }

    /// A transfer's way out, its end, or one's way in.
    fn push_transfer(&mut self, controls: &mut Vec<Control>) {
        let account = (self.random).pick(&[0, 0, 1, 2, 3, 3, 5, CLOSED_ACCOUNT, ACCOUNTS + 1]);
        let asset = self.random.pick(&[0, 0, 1, 1, 2, 3, ASSETS]);
        let shard = self.random.pick(&[0, 1, 1, 2, 7, 8, u32::MAX]);
        let amount = match self.random.below(10) {
            0 => self.random.pick(&[0, 1 << 63, UNLIMITED, u64::MAX]),
            _ => u64::from(self.random.below(9_000)),
        };
        let (last, in_flight) = (self.view.transfers)
            .get(account as usize)
            .copied()
            .unwrap_or_default();
        let wrong = self.random.percent(10);
        let reserved = 0;
        if self.random.percent(35) {
            let number = u64::from(self.random.below(200));
            let body = TransferIn {
                account,
                asset,
                amount,
                number,
                from: shard,
                reserved,
            };
            controls.push(Control::new(ControlKind::TransferIn, &body));
        } else if in_flight != wrong {
            let number = last + u64::from(self.random.percent(10));
            let body = TransferDone {
                account,
                reserved,
                number,
            };
            controls.push(Control::new(ControlKind::TransferDone, &body));
        } else {
            let number = match self.random.below(12) {
                0 => self.random.pick(&[0, last, last + 2, u64::MAX]),
                _ => last + 1,
            };
            let body = TransferOut {
                account,
                asset,
                amount,
                number,
                to: shard,
                reserved,
            };
            controls.push(Control::new(ControlKind::TransferOut, &body));
        }
    }

    fn push_mark(&mut self, controls: &mut Vec<Control>, account: u32, asset: u32) {
        let some = i64::from(self.random.below(40_000)) - 20_000;
        // Only of one account: where it stands at an end, it hardly trades.
        let (account, covered) = match self.random.below(12) {
            0 => (4, self.random.pick(&[i64::MAX, i64::MIN, -i64::MAX])),
            _ => (account, some),
        };
        let mark = |covered| {
            let body = SettlementMark {
                epoch: 0,
                account,
                asset,
                covered,
            };
            Control::new(ControlKind::SettlementMark, &body)
        };
        controls.push(mark(covered));
        if covered.unsigned_abs() > 1 << 40 {
            self.later(vec![mark(covered.saturating_neg())]);
        }
    }

    /// An instrument leaves the state in which it is, or takes a step on its way back.
    fn push_state(&mut self, controls: &mut Vec<Control>) {
        let index = self.any_instrument();
        if (index as usize) < MARKETS.len() && self.random.percent(40) {
            match self.towards_continuous(index) {
                Some(control) => controls.push(control),
                None => {
                    let call = [
                        State::PreOpen,
                        State::OpeningAuction,
                        State::ClosingAuction,
                        State::VolatilityPause,
                    ];
                    controls.push(state_of(index, self.random.pick(&call)));
                }
            }
            return;
        }
        match self.random.below(10) {
            0 => controls.push(self.indication(index.min(INSTRUMENTS - 1))),
            1 => {
                let (low, then) = (self.random.below(8), self.random.below(9));
                let body = Uncross {
                    instrument: index,
                    price: middle_of(index as u16 + 1) + low,
                    then,
                    reserved: 0,
                };
                controls.push(Control::new(ControlKind::Uncross, &body));
            }
            2 | 3 => controls.push(state_of(index, State::Halted)),
            _ => {
                let body = SetState {
                    instrument: index,
                    state: self.random.pick(&[0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 255]),
                };
                controls.push(Control::new(ControlKind::SetState, &body));
            }
        }
    }

    /// An index: mostly of an instrument that is there.
    fn any_instrument(&mut self) -> u32 {
        let weights: [u32; 9] = match self.phase {
            Profile::Auction => [4, 3, 2, 2, 8, 4, 1, 1, 1],
            Profile::Day => [2, 2, 1, 2, 3, 9, 1, 1, 1],
            _ => [6, 5, 4, 4, 6, 6, 2, 2, 2],
        };
        self.random.weighted(&weights) as u32
    }

    fn push_session(&mut self, controls: &mut Vec<Control>) {
        let session = self.random.below(SESSIONS + 1);
        match self.random.below(10) {
            0 | 1 => {
                controls.push(target(ControlKind::KillSession, session));
                if session < SESSIONS {
                    self.revive_later(session, SCOPE_SESSION);
                }
            }
            2 => controls.push(target(ControlKind::ReviveSession, session)),
            3 => {
                controls.push(target(ControlKind::CloseSession, session));
                if session < STRANGER && session != LATE {
                    // Sequence 1 is learnt from the first hole; references may go on from where they are.
                    let grant = self.granting(session);
                    self.later(vec![grant]);
                }
            }
            4 | 5 => self.push_regrant(controls),
            6 => self.push_grant(controls),
            _ => {
                let session = self
                    .random
                    .pick(&[FRAGILE, FRAGILE, RISKY, session, session]);
                let ahead = u64::from(self.random.percent(10));
                controls.push(self.disconnection(session, ahead));
            }
        }
    }

    fn push_account(&mut self, controls: &mut Vec<Control>) {
        let account = self
            .random
            .pick(&[0, 1, 2, 3, 4, 5, CLOSED_ACCOUNT, ACCOUNTS + 1]);
        match self.random.below(8) {
            0 | 1 => {
                controls.push(target(ControlKind::KillAccount, account));
                self.later(vec![target(ControlKind::ReviveAccount, account)]);
            }
            2 => controls.push(target(ControlKind::ReviveAccount, account)),
            3 => {
                let account = if account == CLOSED_ACCOUNT {
                    0
                } else {
                    account
                };
                let body = OpenAccount {
                    account,
                    reserved: 0,
                };
                controls.push(Control::new(ControlKind::OpenAccount, &body));
            }
            _ => self.push_risk(controls, account),
        }
    }

    /// Limits of an account's orders, a message rate of its sessions, both or neither.
    fn push_risk(&mut self, controls: &mut Vec<Control>, account: u32) {
        let (limited, rated) = (self.random.percent(50), self.random.percent(50));
        let mut body = risk(account);
        if limited {
            body.orders_max = self.random.between(5, 40);
            body.shares_max = self.random.between(5, 200);
            body.notional_max = u64::from(self.random.between(2_000, 60_000));
        }
        if rated {
            body.burst = self.random.between(3, 40);
            body.interval_ns = self.random.pick(&[20_000, 100_000, 400_000, 2_000_000]);
            match self.random.below(20) {
                0 => body.burst = 0,
                1 => body.interval_ns = u64::MAX / 40,
                2 => body.interval_ns = ((1 << 62) - 1) / u64::from(body.burst),
                3 => body.interval_ns = 0,
                _ => {}
            }
            // Long enough for several of its sessions to send.
            for _ in 0..self.random.between(4, 16) {
                self.plans.push_back(Plan::Random);
            }
        }
        controls.push(Control::new(ControlKind::SetRisk, &body));
        if (limited || rated) && account < ACCOUNTS {
            self.later(vec![no_risk(account)]);
        }
    }

    fn any_self_trade(&mut self) -> Control {
        let account = self
            .random
            .pick(&[0, 0, 1, 1, 2, 4, 5, 5, CLOSED_ACCOUNT, ACCOUNTS + 1]);
        let mode = match self.random.below(20) {
            0 => self.random.pick(&[5, u32::MAX]),
            _ => self.random.below(5),
        };
        let group = self.random.pick(&[0, 7, 7, 7, 9, 65_535, 65_536]);
        self.self_trade(account, mode, group)
    }

    /// Price limits of an instrument that is closed or halted, or of one that is not.
    fn push_bands(&mut self, controls: &mut Vec<Control>) {
        let index = self.any_instrument();
        let settled = BANDS.iter().find(|bands| bands.instrument == index);
        let mut bands = settled.copied().unwrap_or(SetBands {
            instrument: index,
            band_low: 0,
            band_high: 0,
            dynamic_ticks: 0,
            fat_ticks: 0,
            pause_ticks: 0,
            reference: 0,
            reserved: 0,
        });
        match self.random.below(8) {
            0 => bands.band_low = self.random.pick(&[0, 2000]),
            1 => bands.reference = self.random.pick(&[1 << 30, u32::MAX]),
            2 => bands.pause_ticks = self.random.pick(&[0, 1, 5, u32::MAX]),
            3 => bands.dynamic_ticks = self.random.pick(&[0, 2, u32::MAX]),
            4 => bands.fat_ticks = self.random.pick(&[0, 1, u32::MAX]),
            5 => bands.reference = middle_of(index as u16 + 1),
            _ => {}
        }
        if self.random.percent(70) {
            controls.push(state_of(index, State::Halted));
        }
        controls.push(Control::new(ControlKind::SetBands, &bands));
        if let Some(settled) = settled
            && settled != &bands
        {
            let back = Control::new(ControlKind::SetBands, settled);
            self.later(vec![state_of(index, State::Halted), back]);
        }
    }

    /// Commands that change an instrument, one of each kind; none for an instrument that is not of the setup.
    pub(super) fn every_change(&mut self, index: u32) -> Option<Vec<Control>> {
        let list = MARKETS.get(index as usize)?;
        let bands = SetBands {
            instrument: index,
            band_low: 0,
            band_high: 0,
            dynamic_ticks: 0,
            fat_ticks: 0,
            pause_ticks: 0,
            reference: 0,
            reserved: 0,
        };
        let moved = MoveLadder {
            instrument: index,
            ladder_base: list.ladder_base,
            ladder_len: list.ladder_len,
            reserved: 0,
        };
        Some(vec![
            Control::new(ControlKind::SetBands, &bands),
            Control::new(ControlKind::MoveLadder, &moved),
            clear(index, BOTH),
            target(ControlKind::CloseDay, index),
            target(ControlKind::Delist, index),
            self.uncross(index, State::Continuous),
        ])
    }

    /// A trade that was seen is taken back, or one that never was.
    fn push_bust(&mut self, controls: &mut Vec<Control>) {
        let count = self.view.trades.len() as u32;
        if count == 0 {
            return;
        }
        let trade = self.view.trades[self.random.below(count) as usize];
        let mut body = Bust {
            trade: trade.sequence,
            instrument: trade.index,
            buyer: trade.buyer,
            seller: trade.seller,
            price: trade.price,
            lots: trade.lots,
            reserved: 0,
            buyer_fee: trade.buyer_fee,
            seller_fee: trade.seller_fee,
        };
        match self.random.below(24) {
            0 => body.instrument = self.random.pick(&[7, 8]),
            1 => body.buyer = self.random.pick(&[CLOSED_ACCOUNT, ACCOUNTS + 1]),
            2 => body.seller = self.random.pick(&[CLOSED_ACCOUNT, ACCOUNTS + 1]),
            3 => body.seller = body.buyer,
            4 => body.price = self.random.pick(&[0, 1, u32::MAX]),
            5 => body.lots = self.random.pick(&[0, u32::MAX]),
            6 => body.buyer_fee = self.random.pick(&[i64::MAX, i64::MIN, 1 << 40]),
            7 => body.seller_fee = self.random.pick(&[i64::MAX, i64::MIN, -(1 << 40)]),
            8 => {
                // More than a poor account has.
                (body.buyer, body.seller) = self.random.pick(&[(3, 0), (0, 3), (2, 3)]);
                body.lots = 500;
            }
            _ => {}
        }
        controls.push(Control::new(ControlKind::Bust, &body));
    }

    /// What a day brings beside orders.
    fn push_day(&mut self, controls: &mut Vec<Control>) {
        let index = self.any_instrument();
        match self.random.below(16) {
            0..4 => controls.extend(self.expiry(0)),
            4 => {
                let second = self.random.pick(&[0, 86_400, 86_401, u32::MAX]);
                controls.push(expire(second));
            }
            5 => controls.push(expire(self.second() + 2)),
            6 => {
                let side = self.random.pick(&[BUY, SELL, BOTH, BOTH, b'x']);
                controls.push(clear(index, side));
            }
            7 | 8 => {
                if self.random.percent(80) {
                    controls.push(state_of(index, State::Closed));
                }
                controls.push(target(ControlKind::CloseDay, index));
            }
            9 => {
                if self.random.percent(80) {
                    controls.push(state_of(index, State::Closed));
                }
                controls.push(target(ControlKind::Delist, index));
            }
            10..13 => self.push_move(controls, index),
            13 => {
                for index in 0..=LATE_MARKET {
                    controls.push(state_of(index, State::Closed));
                }
                controls.push(self.open_day());
            }
            14 => controls.push(self.open_day()),
            _ => self.push_listing(controls),
        }
    }

    /// A day that can begin.
    pub(super) fn next_day(&mut self) -> Control {
        let body = OpenDay {
            day: self.view.day + 1,
            reserved: 0,
            midnight_ns: self.view.midnight_ns,
            feed_session: *b"FEED000002",
            reserved2: [0; 6],
        };
        Control::new(ControlKind::OpenDay, &body)
    }

    fn open_day(&mut self) -> Control {
        let backwards = self.random.percent(5);
        let mut body = OpenDay {
            day: self.view.day + self.random.below(3),
            reserved: 0,
            midnight_ns: self.view.midnight_ns + u64::from(self.random.below(4)) * SECOND_NS / 2,
            feed_session: *b"FEED000001",
            reserved2: [0; 6],
        };
        if backwards {
            body.midnight_ns = body.midnight_ns.saturating_sub(3 * SECOND_NS);
        } else if self.random.percent(40) && self.view.is_all_closed() {
            // A whole day passes.
            let day_ns = 86_400 * SECOND_NS;
            self.day_base_ns = self.day_base_ns.wrapping_add(day_ns);
            body.midnight_ns += day_ns;
            let clock = self.clock();
            self.plans.push_front(Plan::Control(vec![clock]));
        }
        Control::new(ControlKind::OpenDay, &body)
    }

    fn push_move(&mut self, controls: &mut Vec<Control>, index: u32) {
        let Some(list) = MARKETS.get(index as usize) else {
            let body = MoveLadder {
                instrument: index,
                ladder_base: 10,
                ladder_len: 10,
                reserved: 0,
            };
            controls.push(Control::new(ControlKind::MoveLadder, &body));
            return;
        };
        let middle = middle_of(index as u16 + 1);
        let mut body = MoveLadder {
            instrument: index,
            ladder_base: list.ladder_base,
            ladder_len: list.ladder_len,
            reserved: 0,
        };
        match self.random.below(12) {
            0 => body.ladder_len = 0,
            1 => body.ladder_len = 600,
            2 => body.ladder_base = self.random.pick(&[0, u32::MAX, 1 << 31]),
            3..7 => body.ladder_base = middle - self.random.between(2, 5).min(middle - 1),
            7 | 8 => body.ladder_len = middle + 3 - list.ladder_base,
            9 => body.ladder_base += 1,
            _ => {}
        }
        if self.random.percent(80) {
            let state = self.random.pick(&[State::Closed, State::Halted]);
            controls.push(state_of(index, state));
        }
        controls.push(Control::new(ControlKind::MoveLadder, &body));
        let back = MoveLadder {
            ladder_base: list.ladder_base,
            ladder_len: list.ladder_len,
            ..body
        };
        self.later(vec![
            state_of(index, State::Halted),
            Control::new(ControlKind::MoveLadder, &back),
        ]);
    }

    pub(super) fn later(&mut self, controls: Vec<Control>) {
        for _ in 0..self.random.between(1, 6) {
            self.plans.push_back(Plan::Random);
        }
        self.plans.push_back(Plan::Control(controls));
    }

    pub(super) fn revive_later(&mut self, session: u32, scope: u8) {
        let revive = if scope == SCOPE_SESSION {
            target(ControlKind::ReviveSession, session)
        } else {
            target(ControlKind::ReviveAccount, ACCOUNT_OF[session as usize])
        };
        self.later(vec![revive]);
    }

    /// A session is emptied, closed and granted anew.
    fn push_regrant(&mut self, controls: &mut Vec<Control>) {
        let session = self
            .random
            .pick(&[2, SHORT, SHORT, 4, LATE, LATE, FRAGILE, RISKY, VAST]);
        controls.push(target(ControlKind::KillSession, session));
        controls.push(target(ControlKind::CloseSession, session));
        // The old id stays good where the session could not be closed: then its packets are a stranger's until the
        // next grant, which is a case too.
        self.forget(session);
        controls.push(self.granting(session));
        controls.push(target(ControlKind::ReviveSession, session));
    }

    /// A grant that is mostly refused.
    fn push_grant(&mut self, controls: &mut Vec<Control>) {
        let session = self
            .random
            .pick(&[0, 2, 4, LATE, LATE, STRANGER, STRANGER, STRANGER]);
        let mut grant = self.grant(session);
        match self.random.below(11) {
            0 => grant.account = CLOSED_ACCOUNT,
            1 => grant.account = ACCOUNTS + 1,
            2 => grant.session = SESSIONS,
            3 => grant.answers_log2 = self.random.pick(&[0, 6, 17, 255]),
            4 => grant.references_log2 = self.random.pick(&[0, 3, 25, 255]),
            5 => grant.interval_ns = 1,
            6 => {
                grant.interval_ns = u64::MAX / 2;
                grant.burst = 7;
            }
            7 => grant.id[3] = b'Y',
            8 => grant.cancel_on_disconnect = 2,
            9 => {}
            _ => grant.references_log2 = 13,
        }
        if session == LATE {
            grant.answers_log2 = grant.answers_log2.max(8); // more than it may have, or than there is
        }
        controls.push(Control::new(ControlKind::GrantSession, &grant));
    }

    /// A listing that is mostly refused.
    fn push_listing(&mut self, controls: &mut Vec<Control>) {
        let mut list = MARKETS[1];
        list.instrument = self.random.pick(&[
            LATE_MARKET,
            LATE_MARKET,
            LATE_MARKET,
            LATE_MARKET,
            0,
            INSTRUMENTS,
        ]);
        list.symbol = *b"LATE    ";
        match self.random.below(28) {
            0 => list.base_asset = ASSETS,
            1 => list.quote_asset = list.base_asset,
            2 => list.tick_size = 0,
            3 => list.lot_size = 0,
            4 => list.tick_value = 0,
            5 => list.ladder_base = 0,
            6 => list.ladder_len = 0,
            7 => list.lot_value = 0,
            8 => list.lots_max = 0,
            9 => {
                list.symbol[self.random.below(8) as usize] =
                    self.random.pick(&[0, 0x1F, 0x7F, 0xE9])
            }
            10 => list.ladder_len = (1 << 24) + 1,
            11 => list.ladder_base = u32::MAX - 64,
            12 => list.tick_size = u32::MAX / 1064 + 1,
            13 => list.lot_size = u32::MAX / 2000 + 1,
            14 => list.band_low = 0,
            15 => list.band_high = list.band_low - 1,
            16 => list.taker_ppm = 100_001,
            17 => list.maker_ppm = 2501,
            18 => list.maker_ppm = -2501,
            19 => list.maker_ppm = i32::MIN,
            20 => list.lot_value = (1 << 63) / 2000 + 1,
            21 => list.tick_value = u32::MAX,
            22 => list.state = self.random.pick(&[2, 4, 5, 7, 8]),
            23 => {
                // One lot can be paid, but not with its fee.
                list.lots_max = 1;
                list.ladder_len = 8;
                list.ladder_base = 1 << 30;
                list.tick_size = 1;
                list.tick_value = u32::MAX;
            }
            24 => list.ladder_len = 1 << 24,
            25 | 26 => {
                // There is room for 64 places.
                list.ladder_len = self.random.between(33, 64);
                list.instrument = LATE_MARKET;
                let closed = state_of(LATE_MARKET, State::Closed);
                self.later(vec![closed, target(ControlKind::Delist, LATE_MARKET)]);
            }
            _ => {} // two blocks of 64 prices where one is left
        }
        controls.push(Control::new(ControlKind::List, &list));
    }
}

pub(super) fn deposit(account: u32, asset: u32, amount: u64) -> Control {
    let body = Deposit {
        account,
        asset,
        amount,
    };
    Control::new(ControlKind::Deposit, &body)
}

pub(super) fn limit_of(account: u32, asset: u32, limit: u64) -> Control {
    let body = SetLimit {
        account,
        asset,
        limit,
    };
    Control::new(ControlKind::SetLimit, &body)
}

/// As [`limit_of`], as it is without any.
pub(super) fn no_limit(account: u32, asset: u32) -> Control {
    limit_of(account, asset, UNLIMITED)
}

/// A body without any limit.
pub(super) fn risk(account: u32) -> SetRisk {
    SetRisk {
        account,
        orders_max: 0,
        shares_max: 0,
        burst: 0,
        notional_max: 0,
        interval_ns: 0,
    }
}

/// An account without risk limits.
pub(super) fn no_risk(account: u32) -> Control {
    Control::new(ControlKind::SetRisk, &risk(account))
}

pub(super) fn target(kind: ControlKind, index: u32) -> Control {
    Control::new(kind, &Target { index, reserved: 0 })
}

pub(super) fn state_of(instrument: u32, state: State) -> Control {
    let state = state as u32;
    Control::new(ControlKind::SetState, &SetState { instrument, state })
}

pub(super) fn clear(instrument: u32, side: u8) -> Control {
    let side = side.into();
    Control::new(ControlKind::Clear, &Clear { instrument, side })
}

pub(super) fn expire(second: u32) -> Control {
    let reserved = 0;
    Control::new(ControlKind::Expire, &Expire { second, reserved })
}
