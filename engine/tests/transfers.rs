//! Amounts between three shards, carried by somebody who forgets, repeats and comes late: whatever he does, what the shards have and what
//! is on its way add up to what was deposited, and each amount comes in once.
#![cfg(feature = "std")]

use proptest::prelude::*;
use ring0_engine::control::{
    Body, Control, ControlKind, Deposit, OpenAccount, TransferDone, TransferIn, TransferOut,
};
use ring0_engine::native::{Native, Tape};
use ring0_engine::record::Outcome;
use ring0_engine::{Capacity, Reason};
use std::collections::BTreeMap;

const SHARDS: usize = 3;
const ACCOUNTS: u32 = 2;
const CAPACITY: Capacity = Capacity {
    accounts: ACCOUNTS,
    assets: 1,
    instruments: 1,
    sessions: 1,
    orders: 1,
    levels: 1,
    ladder: 64,
    answers: 128,
    references: 64,
    buckets: 1,
};
const DEPOSIT: u64 = 1000;

#[derive(Clone, Debug)]
enum Step {
    /// An amount leaves a shard for another one.
    Out {
        from: usize,
        to: usize,
        account: u32,
        amount: u64,
    },
    /// Some debit, the newest being 0, is said to the shard it goes to: for the first time, or again.
    In { newest: usize },
    /// A shard is told that the account's newest transfer has come in, if that is so.
    Done { from: usize, account: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let out = (0..SHARDS, 1..SHARDS, 0..ACCOUNTS, 0..600_u64);
    let out = out.prop_map(|(from, farther, account, amount)| Step::Out {
        from,
        to: (from + farther) % SHARDS,
        account,
        amount,
    });
    let done = (0..SHARDS, 0..ACCOUNTS).prop_map(|(from, account)| Step::Done { from, account });
    prop_oneof![
        out,
        (0..6_usize).prop_map(|newest| Step::In { newest }),
        done
    ]
}

fn tell<B: Body>(shard: &mut Native<Tape>, kind: ControlKind, body: &B) -> (Outcome, Reason) {
    shard.control(&[Control::new(kind, body)], 1)[0]
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(steps in prop::collection::vec(step(), 1..200)) {
        let reserved = 0;
        let mut shards: Vec<_> = (0..SHARDS).map(|_| Native::new(&CAPACITY).unwrap()).collect();
        for shard in &mut shards {
            for account in 0..ACCOUNTS {
                tell(shard, ControlKind::OpenAccount, &OpenAccount { account, reserved });
                let deposit = Deposit { account, asset: 0, amount: DEPOSIT };
                tell(shard, ControlKind::Deposit, &deposit);
            }
        }
        // Every debit in its order: where it went, the credit, whether it came in.
        let mut debits: Vec<(usize, TransferIn, bool)> = Vec::new();
        // By shard and account, the debit that is not ended yet.
        let mut open: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Out { from, to, account, amount } => {
                    let of_both = |debit: &&(usize, TransferIn, bool)| {
                        (debit.1.from, debit.1.account) == (from as u32, account)
                    };
                    let number = debits.iter().filter(of_both).count() as u64 + 1;
                    let (available, ..) = shards[from].shard().balances(account, 0);
                    let to_number = to as u32;
                    let body = TransferOut { account, asset: 0, amount, number, to: to_number, reserved };
                    let (outcome, reason) = tell(&mut shards[from], ControlKind::TransferOut, &body);
                    let expected = if open.contains_key(&(from, account)) {
                        Reason::TransferPending
                    } else if amount == 0 {
                        Reason::BadAmount
                    } else if amount > available {
                        Reason::Funds
                    } else {
                        Reason::None
                    };
                    prop_assert_eq!(reason, expected);
                    if outcome == Outcome::Accepted {
                        let from_number = from as u32;
                        let credit = TransferIn { account, asset: 0, amount, number, from: from_number, reserved };
                        open.insert((from, account), debits.len());
                        debits.push((to, credit, false));
                    }
                }
                Step::In { newest } => {
                    let Some(at) = debits.len().checked_sub(newest + 1) else { continue };
                    let (to, credit, came_in) = debits[at];
                    let (_, reason) = tell(&mut shards[to], ControlKind::TransferIn, &credit);
                    prop_assert_eq!(reason, if came_in { Reason::TransferKnown } else { Reason::None });
                    debits[at].2 = true;
                }
                Step::Done { from, account } => {
                    let known = open.get(&(from, account)).copied();
                    if known.is_some_and(|at| !debits[at].2) {
                        continue; // nobody has told it that it came in
                    }
                    let number = known.map_or(1, |at| debits[at].1.number);
                    let body = TransferDone { account, reserved, number };
                    let (_, reason) = tell(&mut shards[from], ControlKind::TransferDone, &body);
                    let expected = if known.is_some() { Reason::None } else { Reason::TransferNumber };
                    prop_assert_eq!(reason, expected);
                    open.remove(&(from, account));
                }
            }
            let have: u64 = shards
                .iter()
                .flat_map(|shard| (0..ACCOUNTS).map(|account| shard.shard().balances(account, 0).0))
                .sum();
            let on_the_way: u64 = debits.iter().filter(|debit| !debit.2).map(|debit| debit.1.amount).sum();
            prop_assert_eq!(have + on_the_way, DEPOSIT * SHARDS as u64 * u64::from(ACCOUNTS));
        }
        for shard in &shards {
            shard.shard().check();
        }
    }
}
