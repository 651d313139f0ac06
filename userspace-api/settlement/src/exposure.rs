//! Limits of un-co-signed exposure (CUSTODY 12, RULES 19): how much each account may lose beyond what its trader has signed.
//!
//! Always true: the limits of a token of a hub together never exceed its unlocked vault. So with every process dead the loss is bounded by money that is there.

use crate::id::{AccountId, PeerId};
use serde::{Deserialize, Serialize};

/// An account's asset in a shard that wants a limit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Want {
    /// The shard.
    pub shard: PeerId,
    /// Whose.
    pub account: AccountId,
    /// The most it should get, engine units: its balance, or what its terms say.
    pub wanted: u64,
    /// What is un-co-signed now, engine units ([`Ledger::outflow`](crate::Ledger::outflow)); below zero counts as zero.
    pub exposed: i64,
}

/// A limit as ring0d's verb takes it, engine units.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Limit {
    /// The shard.
    pub shard: PeerId,
    /// Whose.
    pub account: AccountId,
    /// Engine units.
    pub units: u64,
}

/// Shares a token's unlocked vault out: first what is exposed now, then, of what is left, to each in proportion to what it wants beyond that. `unlocked` in base units,
/// `unit` base units an engine unit.
///
/// What is exposed now and does not fit is cut too: the account takes no order that would add to it until a batch is co-signed.
#[must_use]
pub fn limits(unlocked: u128, unit: u128, wants: &[Want]) -> Vec<Limit> {
    let there = unlocked.checked_div(unit).unwrap_or(0);
    let exposed = |it: &Want| u64::try_from(it.exposed).unwrap_or(0);
    let more = |it: &Want| it.wanted.saturating_sub(exposed(it));
    let first = share(there, wants.iter().map(exposed));
    let left = there - first.iter().map(|it| u128::from(*it)).sum::<u128>();
    let second = share(left, wants.iter().map(more));
    let all = wants.iter().zip(first.iter().zip(second));
    all.map(|(want, (first, second))| Limit {
        shard: want.shard,
        account: want.account,
        units: first + second,
    })
    .collect()
}

/// To each what it wants where there is enough for all, else in proportion, rounded down.
fn share(there: u128, wants: impl Iterator<Item = u64> + Clone) -> Vec<u64> {
    let sum: u128 = wants.clone().map(u128::from).sum();
    if sum <= there {
        return wants.collect();
    }
    // `there` is below `sum`, and that is below 2^64 · count: both are brought below 2^64 by the same shift, the first rounded down and the second up,
    // so that the products fit and no share grows.
    let shift = (128 - sum.leading_zeros()).saturating_sub(63);
    let (there, sum) = (there >> shift, (sum >> shift) + 1);
    wants
        .map(|want| (u128::from(want) * there / sum) as u64) // below `want`
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wants() -> impl Strategy<Value = Vec<Want>> {
        let amount = prop_oneof![0..100_u64, any::<u64>(), Just(u64::MAX), Just(1 << 63)];
        let exposed = prop_oneof![-50..100_i64, any::<i64>()];
        let want = (0..8_u32, any::<u32>(), amount, exposed).prop_map(
            |(shard, account, wanted, exposed)| Want {
                shard: PeerId(shard),
                account: AccountId(account),
                wanted,
                exposed,
            },
        );
        prop::collection::vec(want, 0..40)
    }

    proptest! {
        #[test]
        fn limits_together_never_exceed_the_unlocked_vault(
            unlocked in prop_oneof![0..10_000_u128, any::<u64>().prop_map(u128::from), any::<u128>()],
            unit in prop_oneof![Just(1_u128), Just(10), Just(1_000_000_000)],
            wants in wants(),
        ) {
            let given = limits(unlocked, unit, &wants);
            prop_assert_eq!(given.len(), wants.len());
            let there = unlocked / unit;
            let mut sum = 0_u128;
            let mut exposed = 0_u128;
            for (limit, want) in given.iter().zip(&wants) {
                let now = u64::try_from(want.exposed).unwrap_or(0);
                prop_assert_eq!((limit.shard, limit.account), (want.shard, want.account));
                prop_assert!(limit.units <= want.wanted.max(now), "nobody gets more than it wants");
                sum += u128::from(limit.units);
                exposed += u128::from(now);
            }
            prop_assert!(sum <= there, "{sum} of {there}");
            if exposed <= there {
                for (limit, want) in given.iter().zip(&wants) {
                    prop_assert!(i128::from(limit.units) >= i128::from(want.exposed), "what is lost already is covered");
                }
            }
            let all: u128 = wants.iter().map(|it| u128::from(it.wanted.max(u64::try_from(it.exposed).unwrap_or(0)))).sum();
            if all <= there {
                prop_assert_eq!(sum, all, "enough for all: each has what it wants");
            }
        }
    }
}
