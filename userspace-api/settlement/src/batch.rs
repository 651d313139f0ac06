//! A cut: what a batch has of each account, what settlement marks will cover, and the channels' new states as leaves (CUSTODY 4, 8, 11; RULES 19).

use crate::custody::{Channel, ChannelLeaf, Custody, Part};
use crate::id::{AccountId, AssetId, Epoch, PeerId};
use crate::venue::{PlaceIndex, Venue};
use ring0_channels::B256;
use ring0_channels::batch::Leaf;
use ring0_channels::message::{AMOUNT_MAX, ChannelState, KIND_TRADING};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far the net outflow of an account's asset in a shard had come at a cut. What of it a mark has to cover then is
/// [`Ledger::uncovered`](crate::Ledger::uncovered): what was traded after the cut stays counted, what a mark covered is not covered twice.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cover {
    /// The batch. What an older one than the last that was marked covers is covered: it asks for nothing.
    pub epoch: Epoch,
    /// The shard.
    pub shard: PeerId,
    /// Whose.
    pub account: AccountId,
    /// Of which asset.
    pub asset: AssetId,
    /// A counter of engine units that wraps.
    pub through: u64,
}

/// A settlement mark as ring0d's verb `marks` takes it, for one shard.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Mark {
    /// The shard it is for.
    pub shard: PeerId,
    /// Whose.
    pub account: AccountId,
    /// Of which asset.
    pub asset: AssetId,
    /// Engine units that the batch covers, not zero; negative: net inflow.
    pub units: i64,
}

/// A batch as it was cut.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Batch {
    /// Its number.
    pub epoch: Epoch,
    /// Nanoseconds of Unix time.
    pub time_ns: u64,
    /// Sequence of the last record of each shard that is in it, in the order of the venue's shards.
    pub at: Vec<u64>,
    /// Accounts whose balance anything was written about since the last cut, ascending.
    pub accounts: Vec<AccountId>,
    /// Every outflow that no mark had covered at the cut, by account.
    pub covers: Vec<Cover>,
    /// By asset: what is owed to all customers, by the ledger's control totals.
    #[serde(with = "amounts")]
    pub customers: Vec<i128>,
    /// By asset: what of that is in no leaf, account by account: no channel, a dispute, a claim.
    #[serde(with = "amounts")]
    pub outside: Vec<i128>,
    /// By place: what its leaves sum to.
    pub places: Vec<PlaceSums>,
}

/// What a batch has of a token of a hub.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlaceSums {
    /// Channels in its tree.
    pub channels: u64,
    /// What all its traders own.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
    /// What of it is above the channels' own escrow.
    #[serde(with = "crate::decimal")]
    pub excess: u128,
}

mod amounts {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(all: &[i128], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(i128::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<i128>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let amount = |text: &String| text.parse().map_err(D::Error::custom);
        texts.iter().map(amount).collect()
    }
}

/// Winnings above what a vault has (CUSTODY 3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("place {place}: the channels' excess is {excess} and the vault has {vault}; rebalance {short} into it before this batch is signed", short = .excess - .vault)]
pub struct Insolvent {
    /// The token at the hub.
    pub place: PlaceIndex,
    /// Sum of all winnings above escrow, base units.
    pub excess: u128,
    /// What covers them, base units.
    pub vault: u128,
}

impl Batch {
    /// Whether every vault covers the winnings. `vaults`: what each place's vault has at the confirmed height, base units, by place.
    ///
    /// # Errors
    /// The first place that is short.
    pub fn solvency(&self, vaults: &[u128]) -> Result<(), Insolvent> {
        for (index, sums) in self.places.iter().enumerate() {
            let vault = vaults.get(index).copied().unwrap_or(0);
            if sums.excess > vault {
                return Err(Insolvent {
                    place: index as u32,
                    excess: sums.excess,
                    vault,
                });
            }
        }
        Ok(())
    }
}

/// Lays customers' balances on their channels: makes the states that have to be new. Gives the places' sums and, by asset, what is in leaves.
pub(crate) fn lay_out(
    venue: &Venue,
    custody: &mut Custody,
    renew: bool,
    balance: impl Fn(AccountId, AssetId) -> i128,
) -> (Vec<PlaceSums>, Vec<i128>) {
    let mut sums = vec![PlaceSums::default(); venue.places().len()];
    let mut in_leaves = vec![0; venue.assets().len()];
    // Where several channels could hold winnings, those whose vault still covers them come first.
    let mut cover: Vec<u128> = (0..)
        .zip(venue.places())
        .map(|(place, it)| custody.vault(place, it.asset))
        .collect();
    let of_account = std::mem::take(&mut custody.of_account);
    for ((account, asset), own) in &of_account {
        let total = balance(*account, *asset).max(0).cast_unsigned();
        let shares = shares(&custody.channels, own, total, &mut cover);
        for (id, share) in own.iter().zip(shares) {
            let (epoch, pin) = (custody.epoch, custody.channels[id].place);
            let branch = custody.pin(venue, pin).unwrap_or_default();
            let Some(channel) = custody.channels.get_mut(id) else {
                continue; // cannot be: it is listed
            };
            if let Some(share) = share
                && make_leaf(channel, share, epoch, branch, renew)
            {
                custody.dirty.insert(Part::Channel(*id));
            }
            if let Some(leaf) = channel.leaf {
                in_leaves[asset.0 as usize] += leaf.balance.cast_signed();
                let sums = &mut sums[channel.place as usize];
                sums.channels += 1;
                sums.balance += leaf.balance;
                sums.excess += leaf.excess;
            }
        }
    }
    custody.of_account = of_account;
    (sums, in_leaves)
}

/// What of an account's balance lies on each of its channels: first on each what is its own, then winnings where a vault still covers them, and what no
/// vault covers on the first (solvency refuses the batch). `None`: a dispute is about the last state, and no other one is made.
fn shares(
    channels: &BTreeMap<B256, Channel>,
    own: &[B256],
    total: u128,
    cover: &mut [u128],
) -> Vec<Option<u128>> {
    let mut rest = total;
    for channel in own.iter().map(|id| &channels[id]) {
        if channel.disputed {
            let (balance, excess) = channel.leaf.map_or((0, 0), |it| (it.balance, it.excess));
            rest = rest.saturating_sub(balance);
            let cover = &mut cover[channel.place as usize];
            *cover = cover.saturating_sub(excess);
        }
    }
    let mut shares: Vec<Option<u128>> = Vec::with_capacity(own.len());
    for channel in own.iter().map(|id| &channels[id]) {
        let share = (!channel.disputed).then(|| channel.escrow().min(rest).min(AMOUNT_MAX));
        rest -= share.unwrap_or(0);
        shares.push(share);
    }
    for (channel, share) in own.iter().map(|id| &channels[id]).zip(&mut shares) {
        let Some(share) = share else { continue };
        let cover = &mut cover[channel.place as usize];
        let more = rest.min(*cover).min(AMOUNT_MAX - *share);
        *share += more;
        *cover -= more;
        rest -= more;
    }
    if let Some(share) = shares.iter_mut().flatten().next() {
        *share += rest.min(AMOUNT_MAX - *share);
    }
    shares
}

/// A new state where something in it changed. Whether the leaf changed at all.
fn make_leaf(
    channel: &mut Channel,
    balance: u128,
    epoch: Epoch,
    branch: B256,
    renew: bool,
) -> bool {
    let excess = balance.saturating_sub(channel.escrow());
    let (deposited_seen, withdrawn_seen) = (channel.deposited, channel.withdrawn);
    match &mut channel.leaf {
        Some(leaf)
            if !renew
                && (leaf.balance, leaf.deposited_seen, leaf.withdrawn_seen)
                    == (balance, deposited_seen, withdrawn_seen) =>
        {
            // The state says nothing of the excess: its signatures stay good.
            let changed = leaf.excess != excess;
            leaf.excess = excess;
            changed
        }
        leaf => {
            *leaf = Some(ChannelLeaf {
                version: leaf.map_or(0, |it| it.version) + 1,
                epoch,
                balance,
                deposited_seen,
                withdrawn_seen,
                excess,
                branch,
            });
            true
        }
    }
}

/// A channel's last state as `ring0_channels` has it.
pub(crate) fn leaf(venue: &Venue, id: B256, channel: &Channel) -> Option<Leaf> {
    let leaf = channel.leaf?;
    let place = &venue.places()[channel.place as usize];
    Some(Leaf {
        hub: place.hub,
        token: place.token,
        account: account_number(channel.account),
        state: ChannelState {
            channel: id,
            version: leaf.version.try_into().unwrap_or_default(),
            balance: leaf.balance,
            depositedSeen: leaf.deposited_seen,
            withdrawnSeen: leaf.withdrawn_seen,
            epoch: leaf.epoch.0.try_into().unwrap_or_default(),
            kind: KIND_TRADING,
            branch: leaf.branch,
        },
        excess: leaf.excess,
    })
}

/// The number that an account has in signed messages: one more than its index, so that zero is nobody.
#[must_use]
pub fn account_number(account: AccountId) -> u64 {
    u64::from(account.0) + 1
}
