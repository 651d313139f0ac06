//! What the journal's records amount to: accounts' funds on the rail, deposits, withdrawals. A pure function of the records.
//!
//! Always true ([`Book::check`]): of each account, available + held + withdrawn + fees + moved to the engine = deposited + moved from
//! the engine; the held amounts are those of the withdrawals that are under way; a payment hash is credited once and settled or
//! released once.

use std::collections::BTreeMap;

use bitcoin::hashes::sha256;

use crate::{
    amount::Msat,
    journal::{Account, Direction, Entry, Record},
};

/// An account's funds on the rail. All but the first two only grow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Funds {
    /// Can be withdrawn or moved to the engine.
    pub available: Msat,
    /// Of withdrawals that are under way: amounts and fee limits.
    pub held: Msat,
    /// Claimed deposits.
    pub deposited: Msat,
    /// What payees got.
    pub withdrawn: Msat,
    /// What the ways there cost.
    pub fees: Msat,
    /// Moved to the engine.
    pub to_engine: Msat,
    /// Moved from the engine.
    pub from_engine: Msat,
    /// The number of the last movement to the engine and its amount.
    last_out: Option<(u64, Msat)>,
    /// The number of the last movement from the engine and its amount.
    last_in: Option<(u64, Msat)>,
}

impl Funds {
    /// The number that the next movement to the engine has.
    #[must_use]
    pub fn next_out(&self) -> u64 {
        self.last_out.map_or(0, |(number, _)| number) + 1
    }

    /// The last movement this way: number and amount.
    #[must_use]
    pub fn last_move(&self, direction: Direction) -> Option<(u64, Msat)> {
        match direction {
            Direction::ToEngine => self.last_out,
            Direction::FromEngine => self.last_in,
        }
    }
}

/// An invoice for a deposit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deposit {
    /// Who is credited.
    pub account: Account,
    /// What the invoice asks for.
    pub amount: Msat,
    /// Not taken later, seconds of Unix time.
    pub expires_s: u64,
    /// What was claimed and credited.
    pub credited: Option<Msat>,
}

/// How far a withdrawal is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Its hold is durable. It may be on its way.
    Held,
    /// The payee has it.
    Settled {
        /// What the way cost.
        fee: Msat,
        /// The proof of payment, hexadecimal.
        preimage: String,
    },
    /// It failed for good, and the hold went back.
    Released {
        /// Why.
        reason: String,
    },
}

/// A withdrawal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Withdrawal {
    /// Who pays.
    pub account: Account,
    /// What the payee gets.
    pub amount: Msat,
    /// The most that the way there may cost.
    pub fee_limit: Msat,
    /// BOLT 11.
    pub invoice: String,
    /// How far it is.
    pub progress: Progress,
}

/// A record that does not follow from those before it: a damaged or mixed-up journal, or a node that contradicts itself.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{reason}: {record:?}; the rail stops. Compare journal and node before it goes on: one of them is not this exchange's or not the newest"
)]
pub struct Contradiction {
    /// What does not fit.
    pub record: Box<Record>,
    /// Why.
    pub reason: &'static str,
}

/// What a record changes: entries as they are afterwards.
#[derive(Clone, Debug, Default)]
pub struct Change {
    funds: Option<(Account, Funds)>,
    deposit: Option<(sha256::Hash, Deposit)>,
    withdrawal: Option<(sha256::Hash, Withdrawal)>,
}

/// All accounts, deposits and withdrawals.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Book {
    accounts: BTreeMap<Account, Funds>,
    deposits: BTreeMap<sha256::Hash, Deposit>,
    withdrawals: BTreeMap<sha256::Hash, Withdrawal>,
}

impl Book {
    /// The book of a journal.
    ///
    /// # Errors
    /// The first record that does not follow.
    pub fn of(entries: &[Entry]) -> Result<Self, Contradiction> {
        let mut book = Self::default();
        for entry in entries {
            book.make(book.decide(&entry.fact)?);
        }
        Ok(book)
    }

    /// An account's funds; nothing if it was never named.
    #[must_use]
    pub fn funds(&self, account: Account) -> Funds {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    /// Every account that was named, in order.
    pub fn accounts(&self) -> impl Iterator<Item = (Account, &Funds)> {
        self.accounts
            .iter()
            .map(|(account, funds)| (*account, funds))
    }

    /// A deposit by its payment hash.
    #[must_use]
    pub fn deposit(&self, hash: &sha256::Hash) -> Option<&Deposit> {
        self.deposits.get(hash)
    }

    /// A withdrawal by its payment hash.
    #[must_use]
    pub fn withdrawal(&self, hash: &sha256::Hash) -> Option<&Withdrawal> {
        self.withdrawals.get(hash)
    }

    /// The withdrawals that are neither settled nor released.
    pub fn under_way(&self) -> impl Iterator<Item = (&sha256::Hash, &Withdrawal)> {
        self.withdrawals
            .iter()
            .filter(|(_, withdrawal)| withdrawal.progress == Progress::Held)
    }

    /// What customers own on the rail, available and held.
    #[must_use]
    pub fn owed(&self) -> u128 {
        self.accounts
            .values()
            .map(|funds| u128::from(funds.available.get()) + u128::from(funds.held.get()))
            .sum()
    }

    /// What one more record changes.
    ///
    /// # Errors
    /// The record does not follow.
    pub fn decide(&self, record: &Record) -> Result<Change, Contradiction> {
        let bad = |reason| Contradiction {
            record: Box::new(record.clone()),
            reason,
        };
        let add = |to: Msat, amount: Msat| {
            to.checked_add(amount)
                .ok_or_else(|| bad("an amount above all coins there will be"))
        };
        let unused = |hash: &sha256::Hash| {
            if self.deposits.contains_key(hash) || self.withdrawals.contains_key(hash) {
                Err(bad("the payment hash was used before"))
            } else {
                Ok(())
            }
        };
        let mut change = Change::default();
        match record {
            Record::Invoiced {
                hash,
                account,
                amount,
                expires_s,
            } => {
                unused(hash)?;
                let deposit = Deposit {
                    account: *account,
                    amount: *amount,
                    expires_s: *expires_s,
                    credited: None,
                };
                change.deposit = Some((*hash, deposit));
            }
            Record::Credited { hash, amount } => {
                let mut deposit = *self
                    .deposit(hash)
                    .ok_or_else(|| bad("there is no such invoice"))?;
                if deposit.credited.is_some() {
                    return Err(bad("it was credited before"));
                }
                if *amount < deposit.amount {
                    return Err(bad("less came than the invoice asks for"));
                }
                let mut funds = self.funds(deposit.account);
                funds.deposited = add(funds.deposited, *amount)?;
                funds.available = add(funds.available, *amount)?;
                deposit.credited = Some(*amount);
                change.funds = Some((deposit.account, funds));
                change.deposit = Some((*hash, deposit));
            }
            Record::Held {
                hash,
                account,
                amount,
                fee_limit,
                invoice,
            } => {
                unused(hash)?;
                let mut funds = self.funds(*account);
                let hold = add(*amount, *fee_limit)?;
                funds.available = funds
                    .available
                    .checked_sub(hold)
                    .ok_or_else(|| bad("more is held than the account has"))?;
                funds.held = add(funds.held, hold)?;
                let withdrawal = Withdrawal {
                    account: *account,
                    amount: *amount,
                    fee_limit: *fee_limit,
                    invoice: invoice.clone(),
                    progress: Progress::Held,
                };
                change.funds = Some((*account, funds));
                change.withdrawal = Some((*hash, withdrawal));
            }
            Record::Settled {
                hash,
                fee,
                preimage,
            } => {
                let (mut funds, mut withdrawal) = self.release(hash).map_err(bad)?;
                let back = withdrawal
                    .fee_limit
                    .checked_sub(*fee)
                    .ok_or_else(|| bad("the way cost more than its limit"))?;
                funds.withdrawn = add(funds.withdrawn, withdrawal.amount)?;
                funds.fees = add(funds.fees, *fee)?;
                funds.available = add(funds.available, back)?;
                withdrawal.progress = Progress::Settled {
                    fee: *fee,
                    preimage: preimage.clone(),
                };
                change.funds = Some((withdrawal.account, funds));
                change.withdrawal = Some((*hash, withdrawal));
            }
            Record::Released { hash, reason } => {
                let (mut funds, mut withdrawal) = self.release(hash).map_err(bad)?;
                let hold = add(withdrawal.amount, withdrawal.fee_limit)?;
                funds.available = add(funds.available, hold)?;
                withdrawal.progress = Progress::Released {
                    reason: reason.clone(),
                };
                change.funds = Some((withdrawal.account, funds));
                change.withdrawal = Some((*hash, withdrawal));
            }
            Record::Moved {
                account,
                number,
                direction,
                amount,
            } => {
                let mut funds = self.funds(*account);
                match direction {
                    Direction::ToEngine => {
                        if *number != funds.next_out() {
                            return Err(bad("movements to the engine are numbered without holes"));
                        }
                        funds.last_out = Some((*number, *amount));
                        funds.available = funds
                            .available
                            .checked_sub(*amount)
                            .ok_or_else(|| bad("more is moved than the account has"))?;
                        funds.to_engine = add(funds.to_engine, *amount)?;
                    }
                    Direction::FromEngine => {
                        if funds.last_in.is_some_and(|(last, _)| *number <= last) {
                            return Err(bad("the numbers of movements from the engine rise"));
                        }
                        funds.last_in = Some((*number, *amount));
                        funds.available = add(funds.available, *amount)?;
                        funds.from_engine = add(funds.from_engine, *amount)?;
                    }
                }
                change.funds = Some((*account, funds));
            }
        }
        Ok(change)
    }

    /// A withdrawal under way and its account's funds without its hold, which is in neither part yet.
    fn release(&self, hash: &sha256::Hash) -> Result<(Funds, Withdrawal), &'static str> {
        let withdrawal = self.withdrawal(hash).ok_or("there is no such withdrawal")?;
        if withdrawal.progress != Progress::Held {
            return Err("it was settled or released before");
        }
        let mut funds = self.funds(withdrawal.account);
        funds.held = withdrawal
            .amount
            .checked_add(withdrawal.fee_limit)
            .and_then(|hold| funds.held.checked_sub(hold))
            .ok_or("its hold is not there")?;
        Ok((funds, withdrawal.clone()))
    }

    /// Makes a change that was decided on this book as it is.
    pub fn make(&mut self, change: Change) {
        if let Some((account, funds)) = change.funds {
            self.accounts.insert(account, funds);
        }
        if let Some((hash, deposit)) = change.deposit {
            self.deposits.insert(hash, deposit);
        }
        if let Some((hash, withdrawal)) = change.withdrawal {
            self.withdrawals.insert(hash, withdrawal);
        }
    }

    /// Walks the whole book.
    ///
    /// # Panics
    /// When what is always true is not.
    pub fn check(&self) {
        let mut held: BTreeMap<Account, u64> = BTreeMap::new();
        for (_, withdrawal) in self.under_way() {
            *held.entry(withdrawal.account).or_default() +=
                withdrawal.amount.get() + withdrawal.fee_limit.get();
        }
        for (account, funds) in &self.accounts {
            let sum = |parts: &[Msat]| parts.iter().map(|part| part.get()).sum::<u64>();
            assert_eq!(
                sum(&[
                    funds.available,
                    funds.held,
                    funds.withdrawn,
                    funds.fees,
                    funds.to_engine
                ]),
                sum(&[funds.deposited, funds.from_engine]),
                "account {account:?} does not add up: {funds:?}"
            );
            assert_eq!(
                funds.held.get(),
                held.get(account).copied().unwrap_or_default(),
                "account {account:?} holds other than its withdrawals under way"
            );
        }
    }
}
