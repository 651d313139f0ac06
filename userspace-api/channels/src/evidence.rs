//! What a trader needs to leave alone: a state with both halves of its signature and the ways to them (CUSTODY 4, 17). The same for every account-based chain.
//!
//! As JSON: numbers of amounts are decimal strings in the token's smallest unit, hashes and addresses hexadecimal.

use crate::key::{Signature, SignatureError};
use crate::message::{
    AccountState, Batch, ChannelState, Grant, Hub, KIND_TRADING, State, Terms, venue_domain,
};
use crate::tree::{self, Sums};
use crate::{Address, B256};
use alloy_primitives::aliases::U40;
use alloy_primitives::keccak256;
use alloy_sol_types::SolValue;
use serde::{Deserialize, Serialize};

/// A channel, where it is, and the newest state of it that both signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Holding {
    /// The contract and its lineage.
    pub hub: Hub,
    /// The venue's id.
    pub venue: B256,
    /// Who signs for the exchange.
    pub operator: Address,
    /// The channel's terms.
    pub terms: Terms,
    /// `None`: nothing was ever signed, and the channel is left with what was paid in.
    pub newest: Option<Evidence>,
}

/// A state and the signatures that make it count.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Evidence {
    /// Above every earlier one.
    pub version: u64,
    /// What the trader owns once all that is seen counts.
    #[serde(with = "crate::decimal")]
    pub balance: u128,
    /// Cumulative deposits in it.
    #[serde(with = "crate::decimal")]
    pub deposited_seen: u128,
    /// Cumulative withdrawals no longer in it.
    #[serde(with = "crate::decimal")]
    pub withdrawn_seen: u128,
    /// Settlement batch.
    pub epoch: u64,
    /// Pinned block that it was signed under.
    pub branch: B256,
    /// The trader's account at the venue.
    pub account: u64,
    /// The state's place in the account's tree.
    pub position: u64,
    /// The way from there to the account's root.
    pub path: Vec<B256>,
    /// Of the account's state.
    pub cosignature: Signature,
    /// The co-signer, or whose session key signed.
    pub cosigner: Address,
    /// A session key's permission; `None`: the co-signer signed itself.
    pub grant: Option<GrantProof>,
    /// The operator's half.
    pub operator: OperatorHalf,
}

/// How the operator signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorHalf {
    /// The state itself.
    Compact(Signature),
    /// A batch that has the state as a leaf.
    Leaf(LeafProof),
}

/// The way from a state to a batch that the operator signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LeafProof {
    /// What of the balance is above the channel's own escrow.
    #[serde(with = "crate::decimal")]
    pub excess: u128,
    /// Place in the sum tree.
    pub position: u64,
    /// Way to its root.
    pub path: Vec<Sums>,
    /// Place of the (hub, token) in the batch.
    pub entry_position: u64,
    /// Way to the batch's root.
    pub entry_path: Vec<B256>,
    /// The batch's epoch.
    pub epoch: u64,
    /// The batch before.
    pub previous: B256,
    /// The operator's, of the batch.
    pub signature: Signature,
}

/// A session key's permission and the way to this channel's limits in it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GrantProof {
    /// The key.
    pub session: Address,
    /// Until when it opens trading sessions, seconds of Unix time.
    pub expiry: u64,
    /// First epoch it signs.
    pub first_epoch: u64,
    /// Last one.
    pub last_epoch: u64,
    /// Lowest balance it signs.
    #[serde(with = "crate::decimal")]
    pub floor: u128,
    /// Balance − deposits seen + withdrawals seen when it was given.
    #[serde(with = "crate::decimal")]
    pub start_base: i128,
    /// The most that its states take from that.
    #[serde(with = "crate::decimal")]
    pub outflow: u128,
    /// Place of this channel's limits.
    pub position: u64,
    /// Way to the signed root of limits.
    pub path: Vec<B256>,
    /// By the co-signer.
    pub signature: Signature,
}

/// Why a state does not count.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EvidenceError {
    /// A signature is missing or somebody else's.
    #[error("the {whose} signature does not hold: {why}")]
    Signature {
        /// Whose.
        whose: &'static str,
        /// Why.
        why: SignatureError,
    },
    /// A way has a place that is none.
    #[error(
        "the way of the {0} leads nowhere: its place is not within it, or it is longer than a hub takes, or its sums overflow"
    )]
    Path(&'static str),
    /// A number is larger than a hub takes.
    #[error("{field} {value} is more than a hub takes")]
    Large {
        /// Which.
        field: &'static str,
        /// What it is.
        value: u128,
    },
    /// A session key signed what its grant does not allow.
    #[error("the session key's grant does not cover the state: {0}")]
    Grant(&'static str),
    /// The batch is older than the state.
    #[error("the batch of epoch {batch} cannot hold a state of epoch {state}")]
    Epoch {
        /// The batch's.
        batch: u64,
        /// The state's.
        state: u64,
    },
}

pub(crate) fn u40(field: &'static str, value: u64) -> Result<U40, EvidenceError> {
    U40::try_from(value).map_err(|_| EvidenceError::Large {
        field,
        value: u128::from(value),
    })
}

pub(crate) fn place(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

impl Holding {
    /// The channel's id.
    #[must_use]
    pub fn channel(&self) -> B256 {
        self.hub.channel(&self.terms)
    }

    /// Version of the newest state; 0: nothing was signed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.version)
    }

    /// Whether the newest state counts at the hub: every signature and every way, as the hub checks them. What only the chain knows (pins, revocations,
    /// a co-signer that was changed) is not in it.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(&self) -> Result<(), EvidenceError> {
        match &self.newest {
            Some(newest) => newest.verify(self),
            None => Ok(()),
        }
    }
}

impl Evidence {
    /// The state of a channel as it is signed.
    ///
    /// # Errors
    /// A version or an epoch of more than 40 bits.
    pub fn state(&self, channel: B256) -> Result<ChannelState, EvidenceError> {
        Ok(ChannelState {
            channel,
            version: u40("version", self.version)?,
            balance: self.balance,
            depositedSeen: self.deposited_seen,
            withdrawnSeen: self.withdrawn_seen,
            epoch: u40("epoch", self.epoch)?,
            kind: KIND_TRADING,
            branch: self.branch,
        })
    }

    /// The account's root that the state lies under.
    ///
    /// # Errors
    /// The way leads nowhere.
    pub fn account_root(&self, channel: B256) -> Result<B256, EvidenceError> {
        let leaf = tree::leaf(self.state(channel)?.hash());
        tree::root(leaf, place(self.position), &self.path).ok_or(EvidenceError::Path("account"))
    }

    /// The operator's half alone: what a trader checks before it signs its own.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify_operator(&self, of: &Holding) -> Result<(), EvidenceError> {
        let whole = self.whole(of)?;
        let wrong = |why| EvidenceError::Signature {
            whose: "operator's",
            why,
        };
        match &self.operator {
            OperatorHalf::Compact(signature) => signature
                .require(&whole, &of.hub.domain(), of.operator)
                .map_err(wrong),
            OperatorHalf::Leaf(leaf) => {
                if leaf.epoch < self.epoch {
                    return Err(EvidenceError::Epoch {
                        batch: leaf.epoch,
                        state: self.epoch,
                    });
                }
                let batch = leaf.batch(&whole, &of.hub, of.terms.token)?;
                leaf.signature
                    .require(&batch, &venue_domain(of.venue), of.operator)
                    .map_err(wrong)
            }
        }
    }

    fn verify(&self, of: &Holding) -> Result<(), EvidenceError> {
        let whole = self.whole(of)?;
        let account = AccountState {
            account: self.account,
            epoch: whole.state.epoch,
            accountRoot: whole.accountRoot,
        };
        let signs = match &self.grant {
            Some(grant) => {
                // `whole` has bounded the amounts.
                let base = whole.state.base().unwrap_or_default();
                grant.verify(self, of, base)?;
                grant.session
            }
            None => self.cosigner,
        };
        let wrong = |why| EvidenceError::Signature {
            whose: "trader's",
            why,
        };
        self.cosignature
            .require(&account, &venue_domain(of.venue), signs)
            .map_err(wrong)?;
        self.verify_operator(of)
    }

    /// The whole state, its amounts within what a hub takes.
    fn whole(&self, of: &Holding) -> Result<State, EvidenceError> {
        let state = self.state(of.channel())?;
        state.base().map_err(|insane| EvidenceError::Large {
            field: "amount",
            value: insane.amount,
        })?;
        Ok(State {
            accountRoot: self.account_root(state.channel)?,
            state,
        })
    }
}

impl LeafProof {
    /// The batch that a state leads to.
    fn batch(&self, state: &State, hub: &Hub, token: Address) -> Result<Batch, EvidenceError> {
        let hash = state.hash();
        let leaf = Sums::leaf(hash, state.state.balance, self.excess);
        let root = tree::sum_root(leaf, place(self.position), &self.path)
            .ok_or(EvidenceError::Path("sum tree"))?;
        let entry = root.entry(hub, token);
        let entries = tree::root(entry, place(self.entry_position), &self.entry_path);
        Ok(Batch {
            epoch: u40("epoch", self.epoch)?,
            previous: self.previous,
            entries: entries.ok_or(EvidenceError::Path("batch"))?,
        })
    }
}

impl GrantProof {
    fn verify(&self, state: &Evidence, of: &Holding, base: i128) -> Result<(), EvidenceError> {
        if !(self.first_epoch..=self.last_epoch).contains(&state.epoch) {
            return Err(EvidenceError::Grant("the epoch is not in it"));
        }
        if state.balance < self.floor {
            return Err(EvidenceError::Grant("the balance is below its floor"));
        }
        // Amounts and bases are of 105 bits at most, a stated one may be anything.
        let taken = self.start_base.saturating_sub(base);
        if taken > 0 && taken.unsigned_abs() > self.outflow {
            return Err(EvidenceError::Grant(
                "it takes more than the outflow allowed",
            ));
        }
        let words = (of.channel(), self.floor, self.start_base, self.outflow).abi_encode();
        let limits = keccak256([&[0], words.as_slice()].concat());
        let limits = tree::root(limits, place(self.position), &self.path);
        let grant = Grant {
            account: state.account,
            session: self.session,
            expiry: u40("expiry", self.expiry)?,
            firstEpoch: u40("first epoch", self.first_epoch)?,
            lastEpoch: u40("last epoch", self.last_epoch)?,
            limits: limits.ok_or(EvidenceError::Path("grant's limits"))?,
        };
        let signed = self
            .signature
            .require(&grant, &venue_domain(of.venue), state.cosigner);
        signed.map_err(|why| EvidenceError::Signature {
            whose: "co-signer's (of the grant)",
            why,
        })
    }
}
