//! Control commands about accounts and their balances. Rule: `docs/matching.md#control-commands`.

use crate::Reason;
use crate::control::{
    ControlKind, Deposit, OpenAccount, SetLimit, SetRisk, SetSelfTrade, SettlementMark, Target,
};
use crate::limits::AMOUNT_MAX;
use crate::operate::{DONE, half, rejected, word};
use crate::outbox::Done;
use crate::rate;
use crate::region::{can_loop, clear32, zero};
use crate::shard::{Fault, STP_DECREMENT, Shard};
use core::mem::offset_of;

/// Most assets of a shard, by its layout.
const ASSETS_MAX: u32 = 256;

impl Shard<'_> {
    /// A command about an account as a whole; its index begins the body.
    #[inline(never)]
    pub(crate) fn control_account(self, kind: u32) -> Done {
        const _: () = {
            assert!(offset_of!(OpenAccount, account) == 0 && offset_of!(SetRisk, account) == 0);
            assert!(offset_of!(SetSelfTrade, account) == 0 && offset_of!(Target, index) == 0);
        };
        let index = half!(self, Target, index);
        if index >= self.header().accounts_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let account = self.account(index);
        if kind == ControlKind::OpenAccount as u32 {
            return self.open_account(index);
        }
        if account.open.get() == 0 {
            return rejected(Reason::UnknownAccount);
        }
        if kind == ControlKind::ReviveAccount as u32 {
            if account.mass.removal.get() != 0 {
                return rejected(Reason::Continuing);
            }
            clear32(&account.killed);
            return DONE;
        }
        if kind == ControlKind::SetRisk as u32 {
            return self.set_risk(index);
        }
        let (mode, group) = (
            half!(self, SetSelfTrade, mode),
            half!(self, SetSelfTrade, group),
        );
        if mode > STP_DECREMENT || group > u32::from(u16::MAX) {
            return rejected(Reason::BadSetting);
        }
        account.stp.set(mode);
        account.group.set(group);
        DONE
    }

    #[inline(always)]
    fn set_risk(self, index: u32) -> Done {
        let account = self.account(index);
        let (burst, interval_ns) = (
            half!(self, SetRisk, burst),
            word!(self, SetRisk, interval_ns),
        );
        if !rate::is_good(burst, interval_ns) {
            return rejected(Reason::BadSetting);
        }

        // Decided.
        account.orders_max.set(half!(self, SetRisk, orders_max));
        account.shares_max.set(half!(self, SetRisk, shares_max));
        account.notional_max.set(word!(self, SetRisk, notional_max));
        let any = account.notional_max.get()
            | u64::from(account.orders_max.get() | account.shares_max.get());
        account.limited.set(u32::from(any != 0));
        let (state, now) = (account.rate_state.get(), self.header().time_ns.get());
        account
            .rate_state
            .set(rate::kept(state, now, burst, interval_ns));
        account.interval_ns.set(interval_ns);
        account.burst.set(burst);
        DONE
    }

    #[inline(always)]
    fn open_account(self, index: u32) -> Done {
        let account = self.account(index);
        if account.open.get() != 0 {
            return rejected(Reason::AccountOpen);
        }
        let assets = self.header().assets_max.get();
        let mut asset = zero();
        while asset < assets && asset < ASSETS_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                return DONE;
            }
            self.balance(index, asset).limit.set(AMOUNT_MAX);
            asset = asset.wrapping_add(1);
        }
        account.open.set(1);
        DONE
    }

    /// A command about an account's balance in an asset, whose indexes begin the body.
    #[inline(never)]
    pub(crate) fn control_balance(self, kind: u32) -> Done {
        const _: () = {
            assert!(offset_of!(Deposit, account) == 0 && offset_of!(Deposit, asset) == 4);
            assert!(offset_of!(SetLimit, account) == 0 && offset_of!(SetLimit, asset) == 4);
            assert!(
                offset_of!(SettlementMark, account) == 0 && offset_of!(SettlementMark, asset) == 4
            );
            assert!(offset_of!(Deposit, amount) == offset_of!(SetLimit, limit));
            assert!(offset_of!(Deposit, amount) == offset_of!(SettlementMark, covered));
        };
        let header = self.header();
        let (account, asset) = (half!(self, Deposit, account), half!(self, Deposit, asset));
        if account >= header.accounts_max.get() || asset >= header.assets_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        if self.account(account).open.get() == 0 {
            return rejected(Reason::UnknownAccount);
        }
        let amount = word!(self, Deposit, amount);
        let balance = self.balance(account, asset);
        if kind == ControlKind::SetLimit as u32 {
            if amount > AMOUNT_MAX {
                return rejected(Reason::BadAmount);
            }
            balance.limit.set(amount);
            return DONE;
        }
        if kind == ControlKind::SettlementMark as u32 {
            let outflow = balance.outflow.get();
            let after = outflow.wrapping_sub(amount);
            // Signed overflow: the operands differ in sign and the result has not the sign of the first.
            let overflowed = ((outflow ^ amount) & (outflow ^ after)) >> 63 != 0;
            if overflowed || after == 1 << 63 {
                return rejected(Reason::BadAmount);
            }
            balance.outflow.set(after);
            return DONE;
        }
        let total = &self.asset(asset).total;
        let available = &balance.available;
        if kind == ControlKind::Deposit as u32 {
            if amount == 0 || amount > AMOUNT_MAX.wrapping_sub(total.get()) {
                return rejected(Reason::BadAmount);
            }
            available.set(available.get().wrapping_add(amount));
            total.set(total.get().wrapping_add(amount));
            return DONE;
        }
        if amount == 0 {
            return rejected(Reason::BadAmount);
        }
        if amount > available.get() {
            return rejected(Reason::Funds);
        }
        available.set(available.get().wrapping_sub(amount));
        total.set(total.get().wrapping_sub(amount));
        DONE
    }
}
