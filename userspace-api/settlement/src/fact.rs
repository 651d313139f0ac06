//! Facts: what comes to the ledger from outside the engine. Each is durable before it counts (CUSTODY 14); [`FactJournal`] keeps them.
//!
//! [`FactJournal`]: crate::journal::FactJournal

use crate::book::Own;
use crate::id::{AccountId, AssetId, Epoch, PeerId};
use crate::venue::PlaceIndex;
use ring0_channels::B256;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a withdrawal: what `TransferOut` of a shard took out for a rail, by the number it has there; or, where only dust is taken, a number of
/// the rail's own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct WithdrawalId {
    /// The shard, or the rail.
    pub from: PeerId,
    /// Whose.
    pub account: AccountId,
    /// The transfer's number.
    pub number: u64,
}

impl fmt::Display for WithdrawalId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WithdrawalId {
            from,
            account,
            number,
        } = self;
        write!(to, "withdrawal {number} of {account} from {from}")
    }
}

/// Where the operator's own money is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purse {
    /// A vault.
    Vault(PlaceIndex),
    /// A rail without channels.
    Rail(PeerId),
}

/// The pin of a hub, under which its channels' states are signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pin {
    /// Any place at the hub; all places of the hub have it.
    pub place: PlaceIndex,
    /// Hash of the pinned block.
    pub branch: B256,
}

/// Something that happened outside the engine. Amounts in base units; those of channels are cumulative, as chains say them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// A deposit is on its way and not confirmed. It stands apart.
    Seen {
        /// Names it: a transaction's output, a payment's hash.
        id: B256,
        /// The rail.
        rail: PeerId,
        /// Whose it will be.
        account: AccountId,
        /// Of which asset.
        asset: AssetId,
        /// How much.
        #[serde(with = "crate::decimal")]
        amount: u128,
    },
    /// One that was seen is no longer on its way: it was confirmed, which another fact says, or it is gone.
    Unseen {
        /// Its name.
        id: B256,
    },
    /// A channel is open, with nothing in it until [`Fact::Deposited`] says so.
    Opened {
        /// Its id.
        channel: B256,
        /// Its trader.
        account: AccountId,
        /// Where it is.
        place: PlaceIndex,
    },
    /// Paid into a channel so far, confirmed.
    Deposited {
        /// The channel.
        channel: B256,
        /// Cumulative.
        #[serde(with = "crate::decimal")]
        deposited: u128,
    },
    /// Paid out of a channel so far, confirmed; and which withdrawals are paid by that.
    Withdrawn {
        /// The channel.
        channel: B256,
        /// Cumulative.
        #[serde(with = "crate::decimal")]
        withdrawn: u128,
        /// Open withdrawals of the account that together are what is paid.
        withdrawals: Vec<WithdrawalId>,
    },
    /// Moved from the vault to a channel so far (negative: from it to the vault), confirmed.
    Rebalanced {
        /// The channel.
        channel: B256,
        /// Cumulative.
        #[serde(with = "crate::decimal")]
        moved: i128,
    },
    /// A dispute about a channel is on the chain: no state of it is made any more.
    Disputed {
        /// The channel.
        channel: B256,
    },
    /// A channel is closed or settled: so much was paid, so much stays as a claim.
    Closed {
        /// The channel.
        channel: B256,
        /// Paid at the end, from the channel's own and then from the vault.
        #[serde(with = "crate::decimal")]
        paid: u128,
        /// What the hub still owes.
        #[serde(with = "crate::decimal")]
        claim: u128,
        /// Open withdrawals of the account that debited in the engine what it took by this.
        withdrawals: Vec<WithdrawalId>,
    },
    /// A withdrawal debited in the engine what the end of a channel had paid before.
    Absorbed {
        /// The withdrawal.
        withdrawal: WithdrawalId,
    },
    /// Inflow of a hub was set aside for claims, out of the vault.
    Reserved {
        /// The token at the hub.
        place: PlaceIndex,
        /// How much.
        #[serde(with = "crate::decimal")]
        amount: u128,
    },
    /// A claim was paid.
    Claimed {
        /// The token at the hub.
        place: PlaceIndex,
        /// How much.
        #[serde(with = "crate::decimal")]
        amount: u128,
    },
    /// A rail without channels received an amount, finally.
    Received {
        /// The rail.
        rail: PeerId,
        /// The rail's number of it: one more than the last one, the first is 1.
        number: u64,
        /// Whose it is.
        account: AccountId,
        /// Of which asset.
        asset: AssetId,
        /// How much.
        #[serde(with = "crate::decimal")]
        amount: u128,
    },
    /// A rail will bring so much into a shard, by `TransferIn` with this number. Written before the shard is told; told again with the same number
    /// it counts once.
    Credited {
        /// The rail.
        rail: PeerId,
        /// The shard.
        shard: PeerId,
        /// Whose.
        account: AccountId,
        /// Of which asset.
        asset: AssetId,
        /// The transfer's number: above the last one of the rail, the account and the shard.
        number: u64,
        /// Engine units, at most [`Ledger::creditable`](crate::Ledger::creditable).
        units: u64,
    },
    /// Dust is withdrawn too: it joins an open withdrawal, or is one of its own with a number of the rail's.
    DustTaken {
        /// The withdrawal.
        withdrawal: WithdrawalId,
        /// The rail that pays it.
        rail: PeerId,
        /// Of which asset.
        asset: AssetId,
        /// How much.
        #[serde(with = "crate::decimal")]
        amount: u128,
    },
    /// A withdrawal lapsed unused: its amount is the account's again, to be credited as what came in is.
    Lapsed {
        /// The withdrawal.
        withdrawal: WithdrawalId,
    },
    /// A rail without channels paid a withdrawal, finally.
    Paid {
        /// The withdrawal.
        withdrawal: WithdrawalId,
        /// What it cost the rail, fees with it; what is above or below the withdrawal's amount is the operator's.
        #[serde(with = "crate::decimal")]
        cost: u128,
    },
    /// The operator put money in, or took it out (negative).
    Funded {
        /// Where.
        purse: Purse,
        /// As what.
        own: Own,
        /// Of which asset; at a vault the place's.
        asset: AssetId,
        /// How much.
        #[serde(with = "crate::decimal")]
        amount: i128,
    },
    /// A batch is cut: it covers all records and facts before this entry.
    Cut {
        /// One more than the last one.
        epoch: Epoch,
        /// Nanoseconds of Unix time.
        time_ns: u64,
        /// Pins of hubs, one of each hub whose channels get states; a hub keeps its last one.
        pins: Vec<Pin>,
        /// Every channel gets a new state, touched or not: after a pinned block left its chain.
        renew: bool,
    },
}

/// A fact in its journal, and where the records stood: after which record of each shard it counts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// Its number; the first is 1.
    pub number: u64,
    /// Sequence of the last record taken of each shard, in the order of the venue's shards.
    pub at: Vec<u64>,
    /// The fact.
    pub fact: Fact,
}

/// Why a fact does not count. Nothing has changed then, and it must not be journaled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// It names what is not there.
    #[error(
        "there is no {0}; check the venue's configuration, or write the fact that makes it first"
    )]
    Unknown(String),
    /// It is there already.
    #[error("{0} is known already: it counts once, so this can be ignored")]
    Known(String),
    /// A cumulative amount that fell.
    #[error(
        "{what} was {before} and cannot become {given}; amounts of a chain are cumulative: was a block taken back that had counted?"
    )]
    Fell {
        /// Of what.
        what: String,
        /// Before.
        before: i128,
        /// Now.
        given: i128,
    },
    /// More than there is, or not the sum it should be.
    #[error("{what}: {given} is given and {there} is there; write the amount that is there")]
    Amount {
        /// Of what.
        what: String,
        /// In the fact.
        given: i128,
        /// In the ledger.
        there: i128,
    },
    /// A number out of order.
    #[error("{what} has number {given} and {expected} is next; ask the ledger for the last one")]
    Number {
        /// Of what.
        what: String,
        /// The next one, or the lowest.
        expected: u64,
        /// In the fact.
        given: u64,
    },
    /// The fact counts after other records than the ledger has taken.
    #[error(
        "the fact counts after record {wanted} of {shard} and the ledger has taken {taken}; take the records up to it first"
    )]
    Position {
        /// The shard.
        shard: PeerId,
        /// By the entry.
        wanted: u64,
        /// Taken.
        taken: u64,
    },
    /// The ledger takes nothing any more.
    #[error(
        "an earlier error left the ledger in the middle of a record; open it again from its store"
    )]
    Broken,
}
