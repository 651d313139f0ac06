//! Deposits and withdrawals of exchange accounts over Lightning: each step decided against the book, then durable, then done (CUSTODY 10).
//!
//! ```text
//! deposit     invoice, durable -> leaves | payment arrives -> ours? claim | claimed -> credit, durable -> acknowledged
//! withdrawal  debit and hold, durable -> sent | paid -> settled, durable | failed for good -> hold released, durable
//! ```
//!
//! The node repeats what it says until it is told that it was taken, also after a crash: everything here may come twice, and counts
//! once. A payment hash is used once, for one deposit or one withdrawal: a payee whose invoice failed gives a new one.

use std::{collections::BTreeSet, io, ops::RangeInclusive};

use bitcoin::hashes::sha256;

use crate::{
    amount::{Msat, Scale, TooMuch},
    book::{Book, Change, Contradiction, Progress},
    journal::{Account, Direction, Entry, Journal, Record, empty},
};

/// What the operator allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Amounts of a deposit's invoice.
    pub deposit: RangeInclusive<Msat>,
    /// Amounts of a withdrawal, without fee.
    pub withdrawal: RangeInclusive<Msat>,
    /// The longest that an invoice of ours is valid, seconds.
    pub expiry_max_s: u32,
    /// An invoice that is to be paid is valid at least so much longer, seconds: the way there takes time.
    pub expiry_margin_s: u64,
}

/// Why something is not done. Nothing has changed then, but where the text says that the rail has stopped.
#[derive(Debug, thiserror::Error)]
pub enum RailError {
    /// Outside what the operator allows.
    #[error("{amount} are not between {least} and {most}, which this exchange takes for a {what}")]
    Amount {
        /// `deposit` or `withdrawal`.
        what: &'static str,
        /// What was asked.
        amount: Msat,
        /// The least.
        least: Msat,
        /// The most.
        most: Msat,
    },
    /// No such amount.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// An invoice that is valid too long or not at all.
    #[error("an invoice of {asked_s} s is asked for; between 1 and {max_s} s are offered")]
    Expiry {
        /// What was asked.
        asked_s: u32,
        /// The most.
        max_s: u32,
    },
    /// Too late.
    #[error(
        "the invoice is valid for {left_s} s more, and {needed_s} are needed; ask the payee for a new one"
    )]
    Expired {
        /// Seconds.
        left_s: u64,
        /// Seconds.
        needed_s: u64,
    },
    /// Not enough there.
    #[error(
        "account {account} has {available} available, and the withdrawal holds {amount} and a fee of at most {fee_limit}"
    )]
    Insufficient {
        /// Whose.
        account: u32,
        /// What it has.
        available: Msat,
        /// What the payee would get.
        amount: Msat,
        /// The fee's limit.
        fee_limit: Msat,
    },
    /// Not enough there to move.
    #[error("account {account} has {available} available, and {amount} are to be moved")]
    Unmovable {
        /// Whose.
        account: u32,
        /// What it has.
        available: Msat,
        /// What was asked.
        amount: Msat,
    },
    /// The hash was used.
    #[error(
        "payment hash {0} was used for another deposit or withdrawal; ask the payee for a new invoice"
    )]
    Used(sha256::Hash),
    /// A movement's number.
    #[error(
        "movement {given} of account {account} does not follow: the next is {next} or, from the engine, above, and the last can be repeated only as it was"
    )]
    Number {
        /// Whose.
        account: u32,
        /// What was given.
        given: u64,
        /// What would follow.
        next: u64,
    },
    /// What the node says does not fit the journal.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// The disk.
    #[error(
        "the rail's journal cannot be written, and the rail has stopped: {0}; look after the disk and start again"
    )]
    Journal(#[source] io::Error),
    /// After any of the last two.
    #[error("the rail has stopped, see the first error; start again when its reason is gone")]
    Stopped,
}

/// Why a payment that arrived is sent back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// No invoice of this rail.
    Unknown,
    /// It was credited before: somebody pays twice.
    Again,
    /// The invoice's time is over.
    Late,
    /// Less than the invoice asks for.
    Short,
    /// The rail has stopped.
    Stopped,
}

/// What a call has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Done {
    /// What it says, now.
    Now,
    /// It was done before: nothing.
    Before,
}

/// The rail of an exchange.
#[derive(Debug)]
pub struct Rail<J> {
    journal: J,
    book: Book,
    limits: Limits,
    scale: Scale,
    clock: fn() -> u64,
    trail: Vec<Mark>,
    /// Accounts of which something has passed.
    passed: BTreeSet<Account>,
    stopped: bool,
}

/// What stays in memory of an entry: the rail as others follow it, by cumulative amounts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The journal's name up to it.
    pub name: sha256::Hash,
    /// Seconds of Unix time.
    pub at_s: u64,
    /// Whose funds it changed by a deposit or a withdrawal, and what both come to since ever.
    pub passed: Option<Passed>,
}

/// What has passed the rail for an account, since ever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passed {
    /// Whose.
    pub account: Account,
    /// Claimed deposits.
    pub deposited: Msat,
    /// What payees got and the ways cost.
    pub withdrawn: Msat,
    /// Which of both grew.
    pub inward: bool,
    /// Nothing of this account has passed before.
    pub first: bool,
}

impl<J: Journal> Rail<J> {
    /// The rail of a journal that has these entries. `clock` gives seconds of Unix time.
    ///
    /// # Errors
    /// [`RailError::Contradiction`] when they do not follow from each other.
    pub fn open(
        journal: J,
        entries: &[Entry],
        limits: Limits,
        scale: Scale,
        clock: fn() -> u64,
    ) -> Result<Self, RailError> {
        let mut rail = Self {
            journal,
            book: Book::default(),
            limits,
            scale,
            clock,
            trail: Vec::new(),
            passed: BTreeSet::new(),
            stopped: false,
        };
        for entry in entries {
            let change = rail.book.decide(&entry.fact)?;
            rail.make(entry, change);
        }
        Ok(rail)
    }

    /// A mark for each entry of the journal, in order.
    pub fn trail(&self) -> &[Mark] {
        &self.trail
    }

    /// Takes in an entry that is durable.
    fn make(&mut self, entry: &Entry, change: Change) {
        self.book.make(change);
        let (hash, inward) = match &entry.fact {
            Record::Credited { hash, .. } => (Some(hash), true),
            Record::Settled { hash, .. } => (Some(hash), false),
            _ => (None, false),
        };
        let passed = hash.map(|hash| {
            let account = if inward {
                self.book.deposit(hash).map(|deposit| deposit.account)
            } else {
                self.book
                    .withdrawal(hash)
                    .map(|withdrawal| withdrawal.account)
            }
            .expect("the entry is of this book");
            let funds = self.book.funds(account);
            Passed {
                account,
                deposited: funds.deposited,
                // Both came out of what was deposited or moved here: the sum of amounts is an amount.
                withdrawn: funds
                    .withdrawn
                    .checked_add(funds.fees)
                    .expect("below what came"),
                inward,
                first: self.passed.insert(account),
            }
        });
        let before = self.trail.last().map_or(empty(), |mark| mark.name);
        self.trail.push(Mark {
            name: entry.name(&before),
            at_s: entry.at_s,
            passed,
        });
    }

    /// Accounts, deposits, withdrawals.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Whether nothing is done any more, because the journal failed or contradicts the node.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Durable first, then the book. What cannot be decided stops the rail.
    fn record(&mut self, record: &Record) -> Result<(), RailError> {
        let change = self
            .book
            .decide(record)
            .inspect_err(|_| self.stopped = true)?;
        let entry = Entry {
            at_s: (self.clock)(),
            fact: record.clone(),
        };
        if let Err(error) = self.journal.append(&entry) {
            self.stopped = true;
            return Err(RailError::Journal(error));
        }
        self.make(&entry, change);
        Ok(())
    }

    fn running(&self) -> Result<(), RailError> {
        if self.stopped {
            Err(RailError::Stopped)
        } else {
            Ok(())
        }
    }

    /// Whether an invoice may be made; it is written down by [`Rail::invoiced`].
    ///
    /// # Errors
    /// [`RailError::Amount`], [`RailError::Expiry`].
    pub fn may_invoice(&self, amount: Msat, expiry_s: u32) -> Result<(), RailError> {
        self.running()?;
        within("deposit", amount, &self.limits.deposit)?;
        let max_s = self.limits.expiry_max_s;
        if (1..=max_s).contains(&expiry_s) {
            Ok(())
        } else {
            Err(RailError::Expiry {
                asked_s: expiry_s,
                max_s,
            })
        }
    }

    /// An invoice was made. It may leave when this returns.
    ///
    /// # Errors
    /// As [`Rail::may_invoice`]; the hash was used; the journal.
    pub fn invoiced(
        &mut self,
        hash: sha256::Hash,
        account: Account,
        amount: Msat,
        now_s: u64,
        expiry_s: u32,
    ) -> Result<(), RailError> {
        self.may_invoice(amount, expiry_s)?;
        if self.book.deposit(&hash).is_some() || self.book.withdrawal(&hash).is_some() {
            return Err(RailError::Used(hash));
        }
        self.record(&Record::Invoiced {
            hash,
            account,
            amount,
            expires_s: now_s + u64::from(expiry_s),
        })
    }

    /// Whether a payment that has arrived may be claimed.
    ///
    /// # Errors
    /// Why it goes back to its sender.
    pub fn claimable(&self, hash: &sha256::Hash, amount: Msat, now_s: u64) -> Result<(), Refusal> {
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        let deposit = self.book.deposit(hash).ok_or(Refusal::Unknown)?;
        if deposit.credited.is_some() {
            Err(Refusal::Again)
        } else if now_s > deposit.expires_s {
            Err(Refusal::Late)
        } else if amount < deposit.amount {
            Err(Refusal::Short)
        } else {
            Ok(())
        }
    }

    /// A payment was claimed: its account is credited, once. The node may be told when this returns.
    ///
    /// # Errors
    /// A hash that no invoice has, less than the invoice, another amount than before; the journal.
    pub fn claimed(&mut self, hash: sha256::Hash, amount: Msat) -> Result<Done, RailError> {
        self.running()?;
        let record = Record::Credited { hash, amount };
        match self
            .book
            .deposit(&hash)
            .and_then(|deposit| deposit.credited)
        {
            Some(credited) if credited == amount => return Ok(Done::Before),
            Some(_) => return Err(self.contradiction(record, "another amount was credited")),
            None => {}
        }
        self.record(&record)?;
        Ok(Done::Now)
    }

    /// Debits and holds a withdrawal. The payment may be sent when this returns [`Done::Now`]; the same withdrawal again is
    /// [`Done::Before`], however it went: look at its [`Progress`].
    ///
    /// # Errors
    /// See [`RailError`].
    pub fn hold(
        &mut self,
        hash: sha256::Hash,
        account: Account,
        amount: Msat,
        fee_limit: Msat,
        invoice: &str,
        left_s: u64,
    ) -> Result<Done, RailError> {
        self.running()?;
        if let Some(known) = self.book.withdrawal(&hash) {
            let same = known.account == account
                && known.amount == amount
                && known.fee_limit == fee_limit
                && known.invoice == invoice;
            return if same {
                Ok(Done::Before)
            } else {
                Err(RailError::Used(hash))
            };
        }
        let hold = self.may_hold(&hash, amount, fee_limit, left_s)?;
        let available = self.book.funds(account).available;
        if hold > available {
            return Err(RailError::Insufficient {
                account: account.0,
                available,
                amount,
                fee_limit,
            });
        }
        self.record(&Record::Held {
            hash,
            account,
            amount,
            fee_limit,
            invoice: invoice.to_owned(),
        })?;
        Ok(Done::Now)
    }

    /// Whether a withdrawal that the book does not know could be held if the account had enough; gives what it would hold. `left_s` is how long its
    /// invoice is valid, seconds.
    ///
    /// # Errors
    /// A hash that was used; an amount outside the limits; too late.
    pub fn may_hold(
        &self,
        hash: &sha256::Hash,
        amount: Msat,
        fee_limit: Msat,
        left_s: u64,
    ) -> Result<Msat, RailError> {
        self.running()?;
        if self.book.deposit(hash).is_some() || self.book.withdrawal(hash).is_some() {
            return Err(RailError::Used(*hash));
        }
        within("withdrawal", amount, &self.limits.withdrawal)?;
        let needed_s = self.limits.expiry_margin_s;
        if left_s < needed_s {
            return Err(RailError::Expired { left_s, needed_s });
        }
        let hold = amount.checked_add(fee_limit);
        Ok(hold.ok_or(TooMuch(amount.get() + fee_limit.get()))?)
    }

    /// The payee has it. The node may be told when this returns.
    ///
    /// # Errors
    /// A payment that was never held or was released; a fee above its limit; the journal.
    pub fn sent(
        &mut self,
        hash: sha256::Hash,
        fee: Msat,
        preimage: &str,
    ) -> Result<Done, RailError> {
        self.running()?;
        if let Some(withdrawal) = self.book.withdrawal(&hash)
            && let Progress::Settled { fee: before, .. } = &withdrawal.progress
        {
            let record = || Record::Settled {
                hash,
                fee,
                preimage: preimage.to_owned(),
            };
            return if *before == fee {
                Ok(Done::Before)
            } else {
                Err(self.contradiction(record(), "another fee was settled"))
            };
        }
        self.record(&Record::Settled {
            hash,
            fee,
            preimage: preimage.to_owned(),
        })?;
        Ok(Done::Now)
    }

    /// It failed, and will not be tried again by the node: the hold goes back, once. The node may be told when this returns.
    ///
    /// # Errors
    /// A payment that was never held, or that was settled; the journal.
    pub fn failed(&mut self, hash: sha256::Hash, reason: &str) -> Result<Done, RailError> {
        self.running()?;
        if let Some(withdrawal) = self.book.withdrawal(&hash)
            && matches!(withdrawal.progress, Progress::Released { .. })
        {
            return Ok(Done::Before);
        }
        self.record(&Record::Released {
            hash,
            reason: reason.to_owned(),
        })?;
        Ok(Done::Now)
    }

    /// Moves whole units between the rail and the engine. `ToEngine` is durable before the engine credits it, `FromEngine` comes
    /// after the engine's debit; both are repeated with the same number until they are answered. One from the engine whose number is not above the
    /// last one's has come in before.
    ///
    /// # Errors
    /// A number that does not follow; too little there; the journal.
    pub fn moved(
        &mut self,
        account: Account,
        number: u64,
        direction: Direction,
        units: u64,
    ) -> Result<Done, RailError> {
        self.running()?;
        let amount = self.scale.units(units)?;
        let funds = self.book.funds(account);
        let last = funds.last_move(direction);
        if last == Some((number, amount)) {
            return Ok(Done::Before);
        }
        let follows = match direction {
            Direction::ToEngine => number == funds.next_out(),
            // A debit in the engine that was said again after a later one: it was taken in when it was the last.
            Direction::FromEngine if last.is_some_and(|(last, _)| number < last) => {
                return Ok(Done::Before);
            }
            Direction::FromEngine => number != 0 && last.is_none_or(|(last, _)| number > last),
        };
        if !follows {
            return Err(RailError::Number {
                account: account.0,
                given: number,
                next: last.map_or(0, |(number, _)| number) + 1,
            });
        }
        if direction == Direction::ToEngine && amount > funds.available {
            return Err(RailError::Unmovable {
                account: account.0,
                available: funds.available,
                amount,
            });
        }
        self.record(&Record::Moved {
            account,
            number,
            direction,
            amount,
        })?;
        Ok(Done::Now)
    }

    /// What of an account can be moved to the engine: whole units, and the dust that stays.
    #[must_use]
    pub fn movable(&self, account: Account) -> (u64, Msat) {
        self.scale.split(self.book.funds(account).available)
    }

    fn contradiction(&mut self, record: Record, reason: &'static str) -> RailError {
        self.stopped = true;
        RailError::Contradiction(Contradiction {
            record: Box::new(record),
            reason,
        })
    }
}

fn within(what: &'static str, amount: Msat, range: &RangeInclusive<Msat>) -> Result<(), RailError> {
    if range.contains(&amount) && amount > Msat::ZERO {
        return Ok(());
    }
    Err(RailError::Amount {
        what,
        amount,
        least: *range.start(),
        most: *range.end(),
    })
}
