//! Control commands: what an operator, the daemon or settlement says. Each is first decided, then done.
//! Rule: `docs/matching.md#control-commands`.

use super::listing::is_rate;
use super::mass::{Owner, Scope};
use super::money::{Account, amount, is_on_ladder, notional};
use super::{Done, Reference};
use crate::Reason;
use crate::control::{
    Bust, Clock, Control, ControlKind, Deposit, Disconnect, OpenAccount, OpenDay, SetLimit,
    SetRisk, SetSelfTrade, SettlementMark, Target,
};
use crate::limits::AMOUNT_MAX;
use crate::record::{ControlRecord, Head, Kind, Outcome, Removal, State};

/// Highest trade group.
const GROUP_MAX: u32 = 65_535;

pub(super) fn in_range(index: u32, len: u32) -> Result<(), Reason> {
    if index < len {
        Ok(())
    } else {
        Err(Reason::IndexOutOfRange)
    }
}

impl Reference {
    /// Only one control command, without continuation steps.
    pub fn replay_control(&mut self, command: &Control, boot_ns: u64) -> (Outcome, Reason) {
        let sequence = self.next();
        let kind = ControlKind::ALL
            .into_iter()
            .find(|&kind| kind as u32 == command.kind);
        if kind == Some(ControlKind::Clock) {
            self.day_base_ns = command.body::<Clock>().day_base_ns;
        }
        self.time_ns = self.now(boot_ns);
        let done = match kind {
            None => Err(Reason::UnknownControl),
            Some(kind) => self.carry_out(kind, command),
        };
        let (outcome, reason) = match done {
            Ok(outcome) => (outcome, Reason::None),
            Err(reason) => (Outcome::Rejected, reason),
        };
        self.publish(&ControlRecord {
            head: Head {
                kind: Kind::Control as u16,
                slots: 2,
                side: 0,
                locate: 0,
                sequence,
            },
            time_ns: self.time_ns,
            kind: command.kind,
            outcome: outcome as u8,
            reason: reason as u8,
            reserved: [0; 2],
            body: command.body,
        });
        (outcome, reason)
    }

    fn carry_out(&mut self, kind: ControlKind, command: &Control) -> Result<Outcome, Reason> {
        let index = command.body::<Target>().index; // of those whose body is a target
        match kind {
            ControlKind::Clock => {} // done before: it decides the command's time
            ControlKind::Gap => {}   // its record is all
            ControlKind::OpenAccount => self.open_account(command.body())?,
            ControlKind::Deposit => self.deposit(command.body())?,
            ControlKind::Withdraw => self.withdraw(command.body())?,
            ControlKind::SetLimit => self.set_limit(command.body())?,
            ControlKind::SettlementMark => self.settlement_mark(command.body())?,
            ControlKind::SetRisk => self.set_risk(command.body())?,
            ControlKind::SetSelfTrade => self.set_self_trade(command.body())?,
            ControlKind::KillAccount => {
                let index = self.target_account(index)?;
                return Ok(self.kill_all(Owner::Account(index)));
            }
            ControlKind::ReviveAccount => {
                let index = self.target_account(index)?;
                let account = self.account_mut(index);
                if account.mass.is_some() {
                    return Err(Reason::Continuing);
                }
                account.killed = false;
            }
            ControlKind::List => self.list_instrument(command.body())?,
            ControlKind::SetBands => self.set_bands(command.body())?,
            ControlKind::SetState => self.set_state(command.body())?,
            ControlKind::Indicate => self.indicate(command.body())?,
            ControlKind::Uncross => return self.uncross(command.body()),
            ControlKind::Clear => return self.clear(command.body()),
            ControlKind::CloseDay => return self.close_day(index),
            ControlKind::Delist => return self.delist(index),
            ControlKind::MoveLadder => return self.move_ladder(command.body()),
            ControlKind::GrantSession => self.grant(command.body())?,
            ControlKind::CloseSession => self.close_session(index)?,
            ControlKind::KillSession => {
                let index = self.target_session(index)?;
                return Ok(self.kill_all(Owner::Session(index)));
            }
            ControlKind::ReviveSession => {
                let index = self.target_session(index)?;
                let session = self.session_mut(index);
                if session.mass.is_some() {
                    return Err(Reason::Continuing);
                }
                session.killed = false;
            }
            ControlKind::Disconnect => return self.disconnect(command.body()),
            ControlKind::Expire => return self.expire(command.body()),
            ControlKind::OpenDay => self.open_day(command.body())?,
            ControlKind::Bust => self.bust(command.body())?,
            ControlKind::Route => self.route(command.body())?,
            ControlKind::TransferOut => self.transfer_out(command.body())?,
            ControlKind::TransferIn => self.transfer_in(command.body())?,
            ControlKind::TransferDone => self.transfer_done(command.body())?,
            ControlKind::HaltShard => self.halted = true,
            ControlKind::ResumeShard => self.halted = false,
        }
        Ok(Outcome::Accepted)
    }

    // Accounts.

    fn open_account(&mut self, body: OpenAccount) -> Result<(), Reason> {
        in_range(body.account, self.capacity.accounts)?;
        let account = &mut self.accounts[body.account as usize];
        if account.is_some() {
            return Err(Reason::AccountOpen);
        }
        *account = Some(Account::new(self.capacity.assets));
        Ok(())
    }

    fn deposit(&mut self, body: Deposit) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        let total = self.assets[body.asset as usize].total;
        let new_total = u128::from(total) + u128::from(body.amount);
        if body.amount == 0 || new_total > u128::from(AMOUNT_MAX) {
            return Err(Reason::BadAmount);
        }
        self.assets[body.asset as usize].total += body.amount;
        self.balance_mut(body.account, body.asset).available += body.amount;
        Ok(())
    }

    fn withdraw(&mut self, body: Deposit) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        if body.amount == 0 {
            return Err(Reason::BadAmount);
        }
        if body.amount > self.balance(body.account, body.asset).available {
            return Err(Reason::Funds);
        }
        self.assets[body.asset as usize].total -= body.amount;
        self.balance_mut(body.account, body.asset).available -= body.amount;
        Ok(())
    }

    fn set_limit(&mut self, body: SetLimit) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        if body.limit > AMOUNT_MAX {
            return Err(Reason::BadAmount);
        }
        self.balance_mut(body.account, body.asset).limit = body.limit;
        Ok(())
    }

    fn settlement_mark(&mut self, body: SettlementMark) -> Result<(), Reason> {
        self.account_and_asset(body.account, body.asset)?;
        let balance = self.balance_mut(body.account, body.asset);
        let outflow = i128::from(balance.outflow) - i128::from(body.covered);
        if outflow.abs() > i128::from(AMOUNT_MAX) {
            return Err(Reason::BadAmount);
        }
        balance.outflow = outflow as i64;
        Ok(())
    }

    fn set_risk(&mut self, body: SetRisk) -> Result<(), Reason> {
        let index = self.target_account(body.account)?;
        if !is_rate(body.burst, body.interval_ns) {
            return Err(Reason::BadSetting);
        }
        let now = u128::from(self.time_ns);
        let account = self.account_mut(index);
        account.orders_max = body.orders_max;
        account.shares_max = body.shares_max;
        account.notional_max = body.notional_max;
        account.burst = body.burst;
        account.interval_ns = body.interval_ns;
        let highest = now + u128::from(body.burst) * u128::from(body.interval_ns);
        if u128::from(account.rate_state) > highest {
            account.rate_state = highest as u64; // below what it was
        }
        Ok(())
    }

    fn set_self_trade(&mut self, body: SetSelfTrade) -> Result<(), Reason> {
        let index = self.target_account(body.account)?;
        if body.mode > 4 || body.group > GROUP_MAX {
            return Err(Reason::BadSetting);
        }
        let account = self.account_mut(index);
        account.self_trade = body.mode;
        account.group = body.group;
        Ok(())
    }

    // Sessions.

    fn close_session(&mut self, index: u32) -> Result<(), Reason> {
        let index = self.target_session(index)?;
        if !self.session(index).references.is_empty() {
            return Err(Reason::OrdersLive);
        }
        self.no_mass_cancel(index)?;
        let account = self.session(index).grant.account;
        self.account_mut(account).sessions.retain(|&s| s != index);
        self.sessions[index as usize] = None;
        Ok(())
    }

    fn kill_all(&mut self, owner: Owner) -> Outcome {
        self.kill(owner, Scope::all(Removal::Kill)).outcome
    }

    fn disconnect(&mut self, body: Disconnect) -> Result<Outcome, Reason> {
        let index = self.target_session(body.session)?;
        if self.session(index).expected != body.expected {
            return Err(Reason::SessionAlive);
        }
        self.no_mass_cancel(index)?;
        if self.session(index).grant.cancel_on_disconnect == 0 {
            return Ok(Outcome::Accepted);
        }
        let scope = Scope::all(Removal::Disconnected);
        let Done { outcome, .. } = self.begin_mass(Owner::Session(index), scope);
        Ok(outcome)
    }

    // The day.

    fn open_day(&mut self, body: OpenDay) -> Result<(), Reason> {
        let mut listed = self.instruments.iter().flatten();
        if listed.any(|instrument| instrument.state != State::Closed) {
            return Err(Reason::NotClosed);
        }
        if self.expiry_pends() {
            return Err(Reason::Continuing);
        }
        if body.day <= self.day || body.midnight_ns < self.midnight_ns {
            return Err(Reason::BadSetting);
        }
        self.day = body.day;
        self.midnight_ns = body.midnight_ns;
        self.second = 0;
        Ok(())
    }

    fn bust(&mut self, body: Bust) -> Result<(), Reason> {
        in_range(body.instrument, self.capacity.instruments)?;
        let (buyer, seller) = (body.buyer, body.seller);
        in_range(buyer, self.capacity.accounts)?;
        in_range(seller, self.capacity.accounts)?;
        self.target_account(buyer)?;
        self.target_account(seller)?;
        let at = self.target_instrument(body.instrument)?;
        let list = self.instrument(at).list;
        let paid = notional(&list, body.price, body.lots) as i128;
        let buyer_fee = i128::from(body.buyer_fee);
        let seller_fee = i128::from(body.seller_fee);
        if buyer == seller
            || !is_on_ladder(&list, body.price)
            || body.lots == 0
            || body.lots > list.lots_max
            || buyer_fee.abs() > paid
            || seller_fee.abs() > paid
        {
            return Err(Reason::BadSetting);
        }
        let (quote, base) = (list.quote_asset, list.base_asset);
        let bought = i128::from(body.lots) * i128::from(list.lot_value);
        let cost = paid + buyer_fee;
        let proceeds = paid - seller_fee;
        let fees = i128::from(self.assets[quote as usize].fees);
        if i128::from(self.balance(seller, quote).available) < proceeds
            || i128::from(self.balance(buyer, base).available) < bought
            || fees < buyer_fee + seller_fee
        {
            return Err(Reason::Funds);
        }

        // Done:
        self.balance_mut(buyer, quote).change(cost, 0, -cost);
        self.balance_mut(buyer, base).change(-bought, 0, bought);
        self.balance_mut(seller, base).change(bought, 0, -bought);
        self.balance_mut(seller, quote)
            .change(-proceeds, 0, proceeds);
        self.assets[quote as usize].fees = amount(fees - buyer_fee - seller_fee);
        Ok(())
    }

    // What a command names.

    pub(super) fn account_and_asset(&self, account: u32, asset: u32) -> Result<(), Reason> {
        in_range(account, self.capacity.accounts)?;
        in_range(asset, self.capacity.assets)?;
        self.target_account(account).map(|_| ())
    }

    pub(super) fn target_account(&self, index: u32) -> Result<u32, Reason> {
        in_range(index, self.capacity.accounts)?;
        match self.accounts[index as usize] {
            Some(_) => Ok(index),
            None => Err(Reason::UnknownAccount),
        }
    }

    fn target_session(&self, index: u32) -> Result<u32, Reason> {
        in_range(index, self.capacity.sessions)?;
        match self.sessions[index as usize] {
            Some(_) => Ok(index),
            None => Err(Reason::UnknownSession),
        }
    }

    pub(super) fn target_instrument(&self, index: u32) -> Result<u32, Reason> {
        in_range(index, self.capacity.instruments)?;
        match self.instruments[index as usize] {
            Some(_) => Ok(index),
            None => Err(Reason::UnknownInstrument),
        }
    }

    /// No work of the instrument is pending.
    pub(super) fn is_idle(&self, at: u32) -> Result<(), Reason> {
        match self.instrument(at).work {
            Some(_) => Err(Reason::Continuing),
            None => Ok(()),
        }
    }
}
