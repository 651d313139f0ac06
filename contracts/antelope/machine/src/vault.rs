//! A token's vault: the operator's money, what of it is locked for posted roots, and the claims it could not meet.
//!
//! Always: `locked <= balance`, and while a claim is open nothing is free. Escrow is not in here; it becomes part of the vault by close, settle and rebalance alone.

use crate::AMOUNT_MAX;
use crate::channel::Channel;
use crate::hash::Word;
use crate::hub::{Settings, Status};
use crate::refusal::Refusal;

/// A token's vault. Amounts in the token's smallest unit, times in seconds of Unix time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Vault {
    /// The operator's money.
    pub balance: u64,
    /// What of it posted roots need.
    pub locked: u64,
    /// Posted roots; zero: none.
    pub number: u32,
    /// Highest excess posted in the period before the one of `posted_at`.
    pub former_peak: u64,
    /// Highest excess posted in the period of `posted_at`.
    pub current_peak: u64,
    /// When the newest root was posted.
    pub posted_at: u64,
    /// What of the newest root's excess is not yet paid.
    pub outstanding: u64,
    /// Epoch of the newest root.
    pub epoch: u64,
    /// End of the line of claims: all that was ever owed.
    pub owed: u128,
    /// How far inflow has come on that line.
    pub funded: u128,
    /// What the treasury asked for; zero: nothing.
    pub requested: u64,
    /// From when it may have it.
    pub request_from: u64,
}

/// A posted root that a leaf can lie under.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Posted {
    /// The entry's hash: lineage, hub, token, root and sums.
    pub entry: Word,
    /// When it was posted.
    pub time: u64,
    /// Its number.
    pub number: u32,
}

impl Posted {
    /// Whether the root still holds money for its leaves.
    #[must_use]
    pub fn is_in_force(&self, vault: &Vault, settings: &Settings, now: u64) -> bool {
        now <= self.time + u64::from(settings.vault_delay) || self.number == vault.number
    }
}

impl Vault {
    /// Some claim is not yet funded.
    #[must_use]
    pub fn is_owing(&self) -> bool {
        self.funded < self.owed
    }

    /// What a cooperative payout or move may take: nothing that is locked, nothing while claims wait.
    #[must_use]
    pub fn free(&self) -> u64 {
        if self.is_owing() {
            0
        } else {
            self.balance - self.locked
        }
    }

    /// New money: claims first, in order, then the vault. A token has at most `AMOUNT_MAX` units, so the sum fits.
    pub(crate) fn inflow(&mut self, amount: u64) {
        self.balance += self.fund_claims(amount);
    }

    /// Moves the line on; gives what the claims did not need.
    fn fund_claims(&mut self, amount: u64) -> u64 {
        let open = self.owed - self.funded;
        let paid = open.min(amount.into()) as u64;
        self.funded += u128::from(paid);
        amount - paid
    }

    /// Takes from the free part; `more` is what the caller covers without it, for the error.
    pub(crate) fn take_free(
        &mut self,
        amount: u128,
        more: u128,
        status: &Status,
    ) -> Result<(), Refusal> {
        status.require_not_frozen()?;
        let free = u128::from(self.free());
        if amount > free {
            return Err(Refusal::NotCovered {
                amount: amount + more,
                available: free + more,
            });
        }
        self.balance -= amount as u64;
        Ok(())
    }

    /// Takes as much of `excess` as there is for it, by how the state was secured.
    pub(crate) fn cover(&mut self, excess: u64, security: u32, status: &Status) -> u64 {
        let current = security != 0 && security == self.number;
        let paid;
        if status.frozen_at != 0 {
            paid = self.cover_frozen(excess, current);
            self.balance -= paid;
        } else {
            let available = match security {
                0 => self.balance - self.locked,
                _ => self.balance,
            };
            paid = excess.min(available);
            self.balance -= paid;
            if current {
                // Its own part of the lock is used up.
                self.locked = self.locked.saturating_sub(excess);
                self.outstanding = self.outstanding.saturating_sub(excess);
            }
        }
        // A root that was replaced: free money first, then what is locked.
        self.locked = self.locked.min(self.balance);
        paid
    }

    /// Frozen: leaves of the newest root share the vault in proportion (a share leaves the proportion as it was, so the order of exits does not matter); all
    /// others have what is above the root's sum.
    fn cover_frozen(&mut self, excess: u64, current: bool) -> u64 {
        if !current {
            return excess.min(self.balance.saturating_sub(self.outstanding));
        }
        let paid = if self.balance < self.outstanding {
            let share =
                u128::from(excess) * u128::from(self.balance) / u128::from(self.outstanding);
            share.min(self.balance.into()) as u64
        } else {
            excess.min(self.balance)
        };
        self.outstanding = self.outstanding.saturating_sub(excess);
        paid
    }

    /// Puts at the end of the line what a settled channel was not paid.
    pub(crate) fn claim(&mut self, channel: &mut Channel, amount: u64) {
        channel.claim_start = self.owed;
        channel.claim = amount;
        self.owed += u128::from(amount);
    }

    /// What of a channel's claim is funded.
    #[must_use]
    pub fn funded_of(&self, channel: &Channel) -> u64 {
        let reached = self.funded.saturating_sub(channel.claim_start);
        reached.min(channel.claim.into()) as u64
    }

    /// Adds to the vault, in a frozen hub too. Open claims are funded first.
    ///
    /// # Errors
    /// Nothing given, or more than a token has.
    pub fn fund(&mut self, amount: u64) -> Result<(), Refusal> {
        if amount == 0 {
            return Err(Refusal::AmountIsZero);
        }
        let sum = u128::from(self.balance) + u128::from(amount);
        if sum > AMOUNT_MAX.into() {
            return Err(Refusal::AmountTooLarge { amount: sum });
        }
        self.inflow(amount);
        Ok(())
    }

    /// The treasury announces a withdrawal: it may be made after the delay, for one window.
    ///
    /// # Errors
    /// The hub is frozen.
    pub fn request(
        &mut self,
        amount: u64,
        settings: &Settings,
        status: &Status,
        now: u64,
    ) -> Result<(), Refusal> {
        status.require_not_frozen()?;
        self.requested = amount;
        self.request_from = now + u64::from(settings.vault_delay);
        Ok(())
    }

    /// The treasury takes what it announced; gives the amount.
    ///
    /// # Errors
    /// Nothing announced, too early, too late, locked, owed to claims, frozen.
    pub fn withdraw(
        &mut self,
        settings: &Settings,
        status: &Status,
        now: u64,
    ) -> Result<u64, Refusal> {
        let amount = self.requested;
        if amount == 0 {
            return Err(Refusal::AmountIsZero);
        }
        if now < self.request_from {
            return Err(Refusal::TooEarly {
                from: self.request_from,
            });
        }
        let until = self.request_from + u64::from(settings.window);
        if now > until {
            return Err(Refusal::TooLate { until });
        }
        self.take_free(amount.into(), 0, status)?;
        self.requested = 0;
        self.request_from = 0;
        Ok(amount)
    }

    /// Takes a signed root and locks its excess.
    ///
    /// # Errors
    /// Frozen, an older epoch, or the vault does not cover it.
    pub fn post(
        &mut self,
        excess: u128,
        epoch: u64,
        settings: &Settings,
        status: &mut Status,
        now: u64,
    ) -> Result<(), Refusal> {
        status.require_not_frozen()?;
        if epoch <= self.epoch {
            return Err(Refusal::EpochNotNewer {
                posted: self.epoch,
                given: epoch,
            });
        }
        if excess > self.balance.into() {
            return Err(Refusal::ExcessAboveVault {
                excess,
                vault: self.balance,
            });
        }
        let excess = excess as u64;
        self.locked = self.peak(excess, settings, now).min(self.balance);
        self.number += 1;
        self.outstanding = excess;
        self.epoch = epoch;
        self.posted_at = now;
        if self.is_owing() {
            // What the former root locked may be free now.
            let free = self.balance - self.locked;
            let left = self.fund_claims(free);
            self.balance -= free - left;
        }
        if epoch > status.epoch {
            status.epoch = epoch;
            status.epoch_at = now;
        }
        Ok(())
    }

    /// The lock a root leaves: the highest excess posted in this period and the one before, a period being one vault delay. So the lock of a root that was
    /// replaced by a smaller one stays for at least one delay, which is longer than the window, and never for more than two.
    fn peak(&mut self, excess: u64, settings: &Settings, now: u64) -> u64 {
        let delay = u64::from(settings.vault_delay);
        let (period, before) = (now / delay, self.posted_at / delay);
        let mut current = excess.max(self.outstanding);
        let mut former = 0;
        if before == period {
            current = current.max(self.current_peak);
            former = self.former_peak;
        } else if before + 1 == period {
            former = self.current_peak;
        }
        self.former_peak = former;
        self.current_peak = current;
        former.max(current)
    }
}
