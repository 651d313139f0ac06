//! A withdrawal's way (CUSTODY 6): asked for by the owner's signature, let through, debited by a sequenced command, signed by the operator, paid by the
//! chain or lapsed and credited back, once.
//!
//! ```text
//! Waiting -> Passed -> Debiting -> Debited -> Leaving -> Signed -> Paid
//!     |                    |                     |         |
//!     +-----> Refused <----+                     +---------+--> Lapsed
//! ```
//!
//! Always true: one a channel is under way; the operator signs only what a shard has debited; what was not debited for a withdrawal that waits for it
//! goes back to its account; a lapsed one was seen to be unused in a block that counts, behind its deadline.

use crate::decimal;
use ring0_channels::key::Signature;
use ring0_channels::{Address, B256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What may be asked for: of the co-signed part what no other withdrawal takes, and no more than there is now. Base units.
#[must_use]
pub fn payable(cosigned: u128, pending: u128, now: u128) -> u128 {
    cosigned.saturating_sub(pending).min(now)
}

/// What the owner has signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Request {
    /// The digest that owner and operator sign: names it.
    pub id: B256,
    /// Place of the hub in the configuration.
    pub hub: u32,
    /// Which channel.
    pub channel: B256,
    /// Whose.
    pub account: u32,
    /// Of what.
    pub asset: u32,
    /// Base units.
    #[serde(with = "decimal")]
    pub amount: u128,
    /// All withdrawals of the channel with this one.
    #[serde(with = "decimal")]
    pub withdrawn: u128,
    /// Who gets it.
    pub recipient: Address,
    /// Pinned block.
    pub branch: B256,
    /// Until when the hub takes it, seconds of Unix time.
    pub deadline: u64,
    /// The owner's.
    pub owner: Signature,
    /// When it was asked for, seconds of Unix time.
    pub at: u64,
    /// It waits for an approver.
    pub approve: bool,
}

/// What leaves the shard for it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Debit {
    /// Place of the shard in the configuration.
    pub shard: u32,
    /// Engine units; 0: the dust is enough.
    pub units: u64,
    /// Number of the transfer that takes them out; 0: there is none.
    pub number: u64,
    /// The account's dust afterwards, base units.
    #[serde(with = "decimal")]
    pub dust: u128,
}

impl Debit {
    /// Of an amount: whole engine units from the shard, the rest from the account's dust. `None`: the dust is not enough for the rest, or it is more
    /// than an engine counts.
    #[must_use]
    pub fn of(shard: u32, amount: u128, dust: u128, unit: u128) -> Option<Debit> {
        Some(Debit {
            shard,
            units: u64::try_from(amount / unit).ok()?,
            number: 0,
            dust: dust.checked_sub(amount % unit)?,
        })
    }
}

/// How far one is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// For an approver.
    Waiting,
    /// It may be debited.
    Passed,
    /// The shard is asked.
    Debiting(Debit),
    /// The rail has what the shard debited.
    Debited(Debit),
    /// The channel's life has it: it counts in every state until it is paid or lapses.
    Leaving(Debit),
    /// Both have signed: the owner sends it to the hub.
    Signed(Debit, Signature),
    /// In a block that counts.
    Paid,
    /// Its deadline passed unused; it was credited back.
    Lapsed,
    /// Not debited, or what was is back.
    Refused(String),
}

impl Progress {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(
            self,
            Progress::Paid | Progress::Lapsed | Progress::Refused(_)
        )
    }

    /// A word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Progress::Waiting => "waiting",
            Progress::Passed => "passed",
            Progress::Debiting(_) => "debiting",
            Progress::Debited(_) => "debited",
            Progress::Leaving(_) => "leaving",
            Progress::Signed(..) => "signed",
            Progress::Paid => "paid",
            Progress::Lapsed => "lapsed",
            Progress::Refused(_) => "refused",
        }
    }
}

/// A withdrawal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Withdrawal {
    /// What was asked.
    pub request: Request,
    /// How far it is.
    pub progress: Progress,
}

/// A step that does not follow.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misstep {
    /// There is none.
    #[error("there is no withdrawal {0}; `withdrawals` names them")]
    Unknown(B256),
    /// Not now.
    #[error("withdrawal {id} is {progress}, and is not {step} then")]
    Order {
        /// Which.
        id: B256,
        /// How far it is.
        progress: &'static str,
        /// What was asked.
        step: &'static str,
    },
    /// One at a time.
    #[error(
        "withdrawal {0} of this channel is under way; wait until it is paid or its deadline has passed"
    )]
    UnderWay(B256),
}

/// All withdrawals, and what arrived at the rail.
#[derive(Clone, Debug, Default)]
pub struct Withdrawals {
    all: BTreeMap<B256, Withdrawal>,
    /// Those that are not over, by channel.
    open: BTreeMap<B256, B256>,
    /// Last number that arrived, by shard and account.
    arrived: BTreeMap<(u32, u32), u64>,
}

impl Withdrawals {
    /// One.
    #[must_use]
    pub fn get(&self, id: B256) -> Option<&Withdrawal> {
        self.all.get(&id)
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Withdrawal> {
        self.all.values()
    }

    /// Those that are not over.
    pub fn open(&self) -> impl Iterator<Item = &Withdrawal> {
        self.open.values().filter_map(|id| self.all.get(id))
    }

    /// The one of a channel that is not over.
    #[must_use]
    pub fn of_channel(&self, channel: B256) -> Option<&Withdrawal> {
        self.all.get(self.open.get(&channel)?)
    }

    /// Whether one of an account is being debited in a shard: then no other one begins.
    #[must_use]
    pub fn is_debiting(&self, account: u32, shard: u32) -> bool {
        self.open().any(|it| {
            it.request.account == account
                && matches!(it.progress, Progress::Debiting(debit) if debit.shard == shard)
        })
    }

    /// What arrives belongs to this one; `None`: to none.
    #[must_use]
    pub fn claims(
        &self,
        (shard, account, asset): (u32, u32, u32),
        units: u64,
        number: u64,
    ) -> Option<B256> {
        let mut open = self.open();
        let one = open.find(|it| {
            let request = &it.request;
            (request.account, request.asset) == (account, asset)
                && matches!(it.progress, Progress::Debiting(debit)
                    if (debit.shard, debit.units, debit.number) == (shard, units, number))
        });
        one.map(|it| it.request.id)
    }

    /// The number that the next transfer of an account out of a shard may have, as far as the rail knows.
    #[must_use]
    pub fn next_number(&self, shard: u32, account: u32) -> u64 {
        self.arrived.get(&(shard, account)).copied().unwrap_or(0) + 1
    }

    /// Whether a transfer of this number arrived before.
    #[must_use]
    pub fn has_arrived(&self, shard: u32, account: u32, number: u64) -> bool {
        let last = self.arrived.get(&(shard, account)).copied();
        last.is_some_and(|last| number <= last)
    }

    /// A transfer has arrived, durably.
    pub fn arrive(&mut self, shard: u32, account: u32, number: u64) {
        self.arrived.insert((shard, account), number);
    }

    /// Takes in a request.
    ///
    /// # Errors
    /// One of the channel is under way.
    pub fn ask(&mut self, request: Request) -> Result<(), Misstep> {
        if let Some(id) = self.open.get(&request.channel) {
            return Err(Misstep::UnderWay(*id));
        }
        self.open.insert(request.channel, request.id);
        let progress = match request.approve {
            true => Progress::Waiting,
            false => Progress::Passed,
        };
        self.all
            .insert(request.id, Withdrawal { request, progress });
        Ok(())
    }

    /// Whether a step follows.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, id: B256, to: &Progress) -> Result<(), Misstep> {
        let one = self.all.get(&id).ok_or(Misstep::Unknown(id))?;
        let follows = matches!(
            (&one.progress, to),
            (Progress::Waiting, Progress::Passed | Progress::Refused(_))
                | (
                    Progress::Passed,
                    Progress::Debiting(_) | Progress::Debited(_) | Progress::Refused(_)
                )
                | (
                    Progress::Debiting(_),
                    // Again: the number was somebody else's.
                    Progress::Debiting(_) | Progress::Debited(_) | Progress::Refused(_)
                )
                | (
                    Progress::Debited(_),
                    Progress::Leaving(_) | Progress::Lapsed
                )
                | (
                    Progress::Leaving(_) | Progress::Signed(..),
                    Progress::Signed(..) | Progress::Paid | Progress::Lapsed
                )
        );
        match follows {
            true => Ok(()),
            false => Err(Misstep::Order {
                id,
                progress: one.progress.name(),
                step: to.name(),
            }),
        }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// It does not follow.
    pub fn step(&mut self, id: B256, to: Progress) -> Result<(), Misstep> {
        self.check(id, &to)?;
        let one = self.all.get_mut(&id).ok_or(Misstep::Unknown(id))?;
        if to.is_over() {
            self.open.remove(&one.request.channel);
        }
        one.progress = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Nothing is made or lost, and what dust has not is refused.
        #[test]
        fn a_debit_is_the_amount_to_the_base_unit(amount in 1..1_000_000_u128, dust in 0..1_000_u128, unit in 1..1_000_u128) {
            let dust = dust % unit;
            match Debit::of(0, amount, dust, unit) {
                Some(debit) => {
                    prop_assert_eq!(u128::from(debit.units) * unit + dust, amount + debit.dust);
                    prop_assert!(debit.dust <= dust);
                }
                None => prop_assert!(amount % unit > dust),
            }
        }
    }

    fn request(channel: u8) -> Request {
        Request {
            id: B256::repeat_byte(channel + 100),
            hub: 0,
            channel: B256::repeat_byte(channel),
            account: 7,
            asset: 1,
            amount: 50,
            withdrawn: 50,
            recipient: Address::ZERO,
            branch: B256::ZERO,
            deadline: 10,
            owner: Signature::default(),
            at: 0,
            approve: false,
        }
    }

    #[test]
    fn one_a_channel_and_no_step_twice() {
        let mut all = Withdrawals::default();
        let id = request(1).id;
        all.ask(request(1)).unwrap();
        assert_eq!(all.ask(request(1)), Err(Misstep::UnderWay(id)));
        let debit = Debit {
            number: all.next_number(0, 7) + 2,
            ..Debit::of(0, 50, 0, 10).unwrap()
        };
        all.step(id, Progress::Debiting(debit)).unwrap();
        assert!(all.is_debiting(7, 0) && !all.is_debiting(7, 1));
        assert_eq!(all.claims((0, 7, 1), 5, 3), Some(id));
        assert_eq!(all.claims((0, 7, 1), 4, 3), None, "another amount");
        assert_eq!(all.claims((0, 7, 1), 5, 2), None, "another transfer");
        all.arrive(0, 7, 3);
        all.step(id, Progress::Debited(debit)).unwrap();
        assert_eq!(all.claims((0, 7, 1), 5, 3), None, "it has what it needs");
        assert_eq!(all.next_number(0, 7), 4);
        assert!(all.has_arrived(0, 7, 3) && !all.has_arrived(0, 7, 4));
        assert!(all.step(id, Progress::Refused(String::new())).is_err());
        all.step(id, Progress::Leaving(debit)).unwrap();
        all.step(id, Progress::Signed(debit, Signature::default()))
            .unwrap();
        all.step(id, Progress::Paid).unwrap();
        assert!(
            all.step(id, Progress::Lapsed).is_err(),
            "paid is not credited back"
        );
        all.ask(Request {
            id: B256::ZERO,
            ..request(1)
        })
        .unwrap();
    }

    #[test]
    fn only_the_cosigned_part_is_payable() {
        assert_eq!(payable(100, 30, 500), 70);
        assert_eq!(payable(100, 30, 20), 20);
        assert_eq!(payable(10, 30, 500), 0);
    }
}
