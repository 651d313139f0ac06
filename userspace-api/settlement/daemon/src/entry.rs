//! The journal's entries: everything that comes from outside and everything that is decided, each durable before it is acted upon (CUSTODY 14).
//!
//! [`Book::apply`](crate::book::Book::apply) computes the daemon's state from them, and nothing else does.

use crate::controls::Controls;
use crate::credits::Credit;
use crate::decimal;
use crate::events::Told;
use crate::protocol::Granted;
use crate::withdrawal::{Progress, Request};
use ring0_channels::chain::{Block, Seen};
use ring0_channels::heads::Heads;
use ring0_channels::key::Signature;
use ring0_channels::{Address, B256};
use ring0_settlement::Cover;
use ring0_signer::protocol::Seen as Known;
use serde::{Deserialize, Serialize};

/// A channel's state in a batch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct State {
    /// The channel.
    pub channel: B256,
    /// Place of its hub in the configuration.
    pub hub: u32,
    /// Its trader's account.
    pub account: u32,
    /// Above every earlier one.
    pub version: u64,
    /// What the trader owns once all that is seen counts.
    #[serde(with = "decimal")]
    pub balance: u128,
    /// Cumulative deposits in it.
    #[serde(with = "decimal")]
    pub deposited_seen: u128,
    /// Cumulative withdrawals no longer in it.
    #[serde(with = "decimal")]
    pub withdrawn_seen: u128,
    /// What of the balance is above the channel's own escrow.
    #[serde(with = "decimal")]
    pub excess: u128,
    /// The batch that made the state: below the batch's own where nothing has changed since.
    pub epoch: u64,
    /// The pinned block that it is signed under.
    pub pin: Block,
}

/// A move of escrow to the vault that both signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Move {
    /// The digest that both sign: names it.
    pub id: B256,
    /// Place of the hub in the configuration.
    pub hub: u32,
    /// The channel.
    pub channel: B256,
    /// One above its last move.
    pub number: u64,
    /// Negative: from the escrow to the vault.
    #[serde(with = "decimal")]
    pub moved: i128,
    /// Pinned block.
    pub branch: B256,
    /// Until when the hub takes it.
    pub deadline: u64,
    /// The co-signer's.
    pub cosigner: Signature,
}

/// One entry.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// New rules for withdrawals: the configuration was changed.
    Controls {
        /// The rules.
        controls: Controls,
    },
    /// Whose an owner's channels are.
    Registered {
        /// The account.
        account: u32,
        /// The owner.
        owner: Address,
        /// Who signs states.
        cosigner: Address,
        /// Session keys that may sign in its place.
        grants: Vec<Granted>,
    },
    /// An address was named for withdrawals.
    Named {
        /// Whose.
        account: u32,
        /// The address.
        address: Address,
        /// When, seconds of Unix time.
        at: u64,
    },
    /// A hub's chain grew.
    Advanced {
        /// Place of the hub.
        hub: u32,
        /// New blocks, the newest ones of a long way.
        blocks: Vec<Block>,
        /// What happened to channels.
        seen: Vec<Seen>,
        /// What the hub told.
        told: Vec<Told>,
    },
    /// Blocks above a height are no longer in a hub's chain.
    Reorganised {
        /// Place of the hub.
        hub: u32,
        /// The last common block's.
        height: u64,
    },
    /// An amount goes into a shard; the shard does not know yet.
    Credited {
        /// What and where to.
        credit: Credit,
    },
    /// The shard's journal has it.
    CreditDone {
        /// Place of the shard.
        shard: u32,
        /// Whose.
        account: u32,
        /// Up to this number.
        number: u64,
    },
    /// An owner wants to withdraw, and passes.
    Asked {
        /// What.
        request: Request,
    },
    /// A withdrawal's next step.
    Stepped {
        /// Which.
        id: B256,
        /// To where.
        to: Progress,
        /// What the signer's history had come to, where it was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        known: Option<Known>,
    },
    /// A shard has debited an amount for the rail. It is answered when this is durable.
    Arrived {
        /// Place of the shard.
        shard: u32,
        /// Whose.
        account: u32,
        /// Of what.
        asset: u32,
        /// Engine units.
        units: u64,
        /// The shard's number of it.
        number: u64,
        /// For this withdrawal; without: nobody asked, and it goes back.
        withdrawal: Option<B256>,
    },
    /// A batch is cut.
    Cut {
        /// Its number.
        epoch: u64,
        /// Nanoseconds of Unix time.
        time_ns: u64,
        /// By hub: the pin that states are signed under.
        pins: Vec<Option<Block>>,
    },
    /// A cut is not recorded: nothing was new, figures differ, or the vault does not cover it. Nothing was signed.
    GivenUp {
        /// Its number.
        epoch: u64,
    },
    /// A batch is built, covered and whole.
    Recorded {
        /// Its number.
        epoch: u64,
        /// The batch before it.
        previous: B256,
        /// The root over its entries: what the signer signs.
        root: B256,
        /// Heads of audit logs under the root; batches of before it carried them have none.
        #[serde(default, skip_serializing_if = "Heads::is_empty")]
        audit_heads: Heads,
        /// Every channel's state, in the order of the ledger.
        states: Vec<State>,
        /// Outflow that settlement marks will cover.
        covers: Vec<Cover>,
    },
    /// The operator's signature.
    Signed {
        /// The batch.
        epoch: u64,
        /// Of its root.
        signature: Signature,
        /// What the signer's history had come to.
        known: Known,
    },
    /// The signer's store was lost and restored: batches go on above its floor, and what was known of its history is forgotten.
    SignerRestored {
        /// It signs nothing up to here.
        floor: u64,
    },
    /// Traders' signatures.
    CoSigned {
        /// The batch.
        epoch: u64,
        /// Whose and which.
        parts: Vec<(u32, Signature)>,
    },
    /// Who has not signed lags.
    Closed {
        /// The batch.
        epoch: u64,
    },
    /// An asset stands still.
    Halted {
        /// Which.
        asset: u32,
        /// Why.
        why: String,
    },
    /// It goes on.
    Cleared {
        /// Which.
        asset: u32,
        /// Why.
        reason: String,
    },
    /// All withdrawals stand still, or go on.
    Switched {
        /// Stand still.
        stopped: bool,
        /// Why.
        reason: String,
    },
    /// A move of escrow that the co-signer has signed.
    Moved {
        /// What.
        moved: Move,
    },
    /// The operator has signed it too; it is sent to the hub.
    MoveSigned {
        /// Which.
        id: B256,
        /// The operator's.
        operator: Signature,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::Limits;
    use std::collections::BTreeMap;

    /// A batch that was recorded before batches had heads of audit logs is read as one that has none.
    #[test]
    fn a_batch_of_before_has_no_heads() {
        let zero = B256::ZERO;
        let before = format!(
            r#"{{"recorded":{{"epoch":3,"previous":"{zero}","root":"{zero}","audit":"{}","states":[],"covers":[]}}}}"#,
            "ab".repeat(32)
        );
        let recorded = Entry::Recorded {
            epoch: 3,
            previous: zero,
            root: zero,
            audit_heads: Heads::default(),
            states: vec![],
            covers: vec![],
        };
        assert_eq!(serde_json::from_str::<Entry>(&before).unwrap(), recorded);
        let now = serde_json::to_string(&recorded).unwrap();
        assert!(!now.contains("audit"), "{now}");
    }

    /// What is written is read again, amounts beyond 64 bits and keys that are numbers too.
    #[test]
    fn entries_come_back() {
        let limits = Limits {
            account_hour: Some(u128::MAX),
            ..Limits::default()
        };
        let controls = Controls {
            new_address_s: 1,
            approvers: vec![Address::repeat_byte(1)],
            assets: BTreeMap::from([(3, limits)]),
        };
        let told = Told {
            height: 7,
            event: crate::events::HubEvent::Rebalanced {
                channel: B256::repeat_byte(2),
                number: 1,
                moved: i128::MIN,
            },
        };
        let fact = ring0_channels::life::Fact::Opened {
            deposited: 1 << 100,
        };
        let seen = Seen {
            height: 7,
            channel: B256::repeat_byte(2),
            fact,
        };
        for entry in [
            Entry::Controls { controls },
            Entry::Advanced {
                hub: 0,
                blocks: vec![],
                seen: vec![seen],
                told: vec![told],
            },
        ] {
            let json = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
        }
    }
}
