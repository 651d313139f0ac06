//! Amounts on their way from the rail into shards: what the chain has confirmed and what came back from a withdrawal, each brought in once.
//!
//! A credit is journaled with its number before the shard hears of it, and said again until the shard has it. The shard takes each number of an account
//! once and refuses any below its last one, so of one account in one shard only the oldest credit is said at a time. What is less than an engine unit
//! stays as dust (CUSTODY 15).

use crate::decimal;
use ring0_channels::B256;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where a credit comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A deposit: the channel's confirmed deposits, cumulative.
    Deposit {
        /// Which channel.
        channel: B256,
        /// Cumulative, base units.
        #[serde(with = "decimal")]
        deposited: u128,
    },
    /// A withdrawal that lapsed unused.
    Lapsed {
        /// Which.
        withdrawal: B256,
    },
    /// A transfer to the rail that no withdrawal had asked for.
    Unasked {
        /// The shard that it came from.
        shard: u32,
        /// Its number there.
        number: u64,
    },
}

/// An amount for an account in a shard.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credit {
    /// Where from.
    pub source: Source,
    /// Place of the shard in the configuration.
    pub shard: u32,
    /// Whose.
    pub account: u32,
    /// Of what.
    pub asset: u32,
    /// Base units in all, without the dust that lay there before.
    #[serde(with = "decimal")]
    pub amount: u128,
    /// Engine units that the shard gets; 0: it gets nothing, all is dust.
    pub units: u64,
    /// The account's dust afterwards, base units.
    #[serde(with = "decimal")]
    pub dust: u128,
    /// The rail's number of it for this account in this shard; 0 where the shard gets nothing.
    pub number: u64,
}

/// All credits so far.
#[derive(Clone, Debug, Default)]
pub struct Credits {
    /// Last number used, by shard and account.
    numbers: BTreeMap<(u32, u32), u64>,
    /// Not yet in their shard, oldest first.
    open: BTreeMap<(u32, u32), VecDeque<Credit>>,
    /// Deposits that were credited, cumulative, by channel.
    deposited: BTreeMap<B256, u128>,
    dust: BTreeMap<(u32, u32), u128>,
    /// Lapsed withdrawals that were credited back.
    lapsed: BTreeSet<B256>,
}

impl Credits {
    /// The next credit of an amount: how much of it, with the dust that is there, makes whole engine units, and its number.
    /// `None`: more than an engine counts.
    #[must_use]
    pub fn next(
        &self,
        source: Source,
        (shard, account, asset): (u32, u32, u32),
        amount: u128,
        unit: u128,
    ) -> Option<Credit> {
        let all = self.dust(account, asset).checked_add(amount)?;
        let units = u64::try_from(all / unit).ok()?;
        let number = match units {
            0 => 0,
            _ => self.numbers.get(&(shard, account)).copied().unwrap_or(0) + 1,
        };
        Some(Credit {
            source,
            shard,
            account,
            asset,
            amount,
            units,
            dust: all % unit,
            number,
        })
    }

    /// Takes in a journaled credit.
    pub fn apply(&mut self, credit: &Credit) {
        let of = (credit.shard, credit.account);
        self.dust
            .insert((credit.account, credit.asset), credit.dust);
        match credit.source {
            Source::Deposit { channel, deposited } => {
                self.deposited.insert(channel, deposited);
            }
            Source::Lapsed { withdrawal } => {
                self.lapsed.insert(withdrawal);
            }
            Source::Unasked { .. } => {}
        }
        if credit.units > 0 {
            self.numbers.insert(of, credit.number);
            self.open.entry(of).or_default().push_back(*credit);
        }
    }

    /// A shard has taken in an account's credits up to a number.
    pub fn done(&mut self, shard: u32, account: u32, number: u64) {
        let of = (shard, account);
        let Some(open) = self.open.get_mut(&of) else {
            return;
        };
        while open.front().is_some_and(|credit| credit.number <= number) {
            open.pop_front();
        }
        if open.is_empty() {
            self.open.remove(&of);
        }
    }

    /// The credits that may be said now: the oldest one of each account in each shard.
    pub fn due(&self) -> impl Iterator<Item = &Credit> {
        self.open.values().filter_map(VecDeque::front)
    }

    /// Credits that wait, in all.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.open.values().map(VecDeque::len).sum()
    }

    /// What of a channel's deposits was credited, cumulative.
    #[must_use]
    pub fn deposited(&self, channel: B256) -> u128 {
        self.deposited.get(&channel).copied().unwrap_or(0)
    }

    /// Whether a lapsed withdrawal was credited back.
    #[must_use]
    pub fn has_lapsed(&self, withdrawal: B256) -> bool {
        self.lapsed.contains(&withdrawal)
    }

    /// What an account has that is less than an engine unit, base units.
    #[must_use]
    pub fn dust(&self, account: u32, asset: u32) -> u128 {
        self.dust.get(&(account, asset)).copied().unwrap_or(0)
    }

    /// A debit's dust: what is left of it afterwards.
    pub fn set_dust(&mut self, account: u32, asset: u32, dust: u128) {
        self.dust.insert((account, asset), dust);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes in, in whatever order shards answer: nothing is lost and numbers rise.
        #[test]
        fn units_and_dust_are_what_came_in(amounts in prop::collection::vec((0..2_u32, 0..5_000_u128, any::<bool>()), 1..40)) {
            let (mut credits, unit) = (Credits::default(), 1_000);
            let (mut sum, mut units, mut last) = (0, 0, [0; 2]);
            for (count, (shard, amount, answers)) in amounts.into_iter().enumerate() {
                let source = Source::Deposit { channel: B256::ZERO, deposited: count as u128 };
                let credit = credits.next(source, (shard, 7, 1), amount, unit).unwrap();
                credits.apply(&credit);
                sum += amount;
                units += u128::from(credit.units);
                if credit.units > 0 {
                    prop_assert_eq!(credit.number, last[shard as usize] + 1);
                    last[shard as usize] = credit.number;
                }
                prop_assert_eq!(units * unit + credits.dust(7, 1), sum);
                prop_assert!(credits.dust(7, 1) < unit);
                let due: Vec<Credit> = credits.due().copied().collect();
                prop_assert!(due.len() <= 2);
                for one in due.iter().filter(|_| answers) {
                    credits.done(one.shard, one.account, one.number);
                }
            }
            loop {
                let next = credits.due().next().copied();
                let Some(one) = next else { break };
                credits.done(one.shard, one.account, one.number);
            }
            prop_assert_eq!(credits.waiting(), 0);
        }
    }
}
