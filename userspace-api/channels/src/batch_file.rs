//! What the operator gives one account of a batch: the new states of all its channels and the ways to what the operator signed. The trader checks it, and then signs (CUSTODY 4, 8, 11).

use crate::B256;
use crate::batch::Built;
use crate::evidence::{Evidence, EvidenceError, Holding, OperatorHalf};
use crate::heads::HeadsProof;
use crate::key::Signature;
use crate::message::AccountState;
use alloy_primitives::aliases::U40;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the file says it is.
const FORMAT: &str = "ring0-batch-1";

/// An account's part of a batch. The co-signatures in it are not made yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BatchFile {
    format: String,
    /// The batch.
    pub epoch: u64,
    /// Whose part it is.
    pub account: u64,
    /// Its channels with their new states.
    pub holdings: Vec<Holding>,
    /// The heads of the venue's audit logs in the same batch: kept, it shows later whether a log was written anew (`ring0 audit verify`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<HeadsProof>,
}

/// Why a trader does not sign.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BatchFileError {
    /// Another kind of file.
    #[error("it is of the format {0:?}, and {FORMAT} is read")]
    Format(String),
    /// A channel of the trader's is not in it.
    #[error(
        "channel {0} is yours and not in the batch: what it is worth would stay at its older state. Do not sign; ask the operator, and leave by that state if it is not put in"
    )]
    Missing(B256),
    /// A state or the operator's half does not hold.
    #[error("channel {channel}: {why}. Do not sign")]
    Worthless {
        /// Which.
        channel: B256,
        /// Why.
        why: EvidenceError,
    },
    /// The heads of audit logs are not those of the batch.
    #[error("the heads of audit logs: {0}. Do not sign")]
    Audit(EvidenceError),
    /// An older state than the kept one.
    #[error(
        "channel {channel}: version {given} is not above version {kept}, which you have. Do not sign"
    )]
    Older {
        /// Which.
        channel: B256,
        /// Kept.
        kept: u64,
        /// In the batch.
        given: u64,
    },
    /// The parts are not of one batch and one account.
    #[error("channel {channel} is not of the same {what} as the others. Do not sign")]
    Mixed {
        /// Which.
        channel: B256,
        /// What differs.
        what: &'static str,
    },
    /// Nothing is in it.
    #[error("it has no channel")]
    Empty,
}

impl BatchFile {
    /// An account's part of a batch that the operator signed. `channels` are its channels, by their terms; `None`: one of them is not in the batch.
    #[must_use]
    pub fn new(
        built: &Built,
        signature: Signature,
        account: u64,
        channels: &[Holding],
    ) -> Option<BatchFile> {
        let mut holdings = Vec::new();
        for channel in channels {
            let id = channel.channel();
            let (whole, place) = (built.state(id)?, built.place(id)?);
            holdings.push(Holding {
                newest: Some(Evidence {
                    version: whole.state.version.to(),
                    balance: whole.state.balance,
                    deposited_seen: whole.state.depositedSeen,
                    withdrawn_seen: whole.state.withdrawnSeen,
                    epoch: whole.state.epoch.to(),
                    branch: whole.state.branch,
                    account,
                    position: place.position,
                    path: place.path,
                    cosignature: Signature::default(),
                    cosigner: channel.terms.cosigner,
                    grant: None,
                    operator: built.proof(id, signature)?,
                }),
                ..channel.clone()
            });
        }
        Some(BatchFile {
            format: FORMAT.to_owned(),
            epoch: built.batch().epoch.to(),
            account,
            holdings,
            audit: built.audit_proof(signature),
        })
    }

    /// Whether it may be signed: all channels that are kept are in it, each with a newer state under one account root and one batch that the operator signed. Gives
    /// what is to be signed. What the balances should be the trader knows from its own fills.
    ///
    /// # Errors
    /// See [`BatchFileError`].
    pub fn check(&self, kept: &[Holding]) -> Result<AccountState, BatchFileError> {
        if self.format != FORMAT {
            return Err(BatchFileError::Format(self.format.clone()));
        }
        let given: BTreeMap<B256, &Holding> =
            self.holdings.iter().map(|it| (it.channel(), it)).collect();
        for own in kept {
            let channel = own.channel();
            let new = given
                .get(&channel)
                .ok_or(BatchFileError::Missing(channel))?;
            if new.version() <= own.version() {
                return Err(BatchFileError::Older {
                    channel,
                    kept: own.version(),
                    given: new.version(),
                });
            }
            if (new.venue, new.operator) != (own.venue, own.operator) {
                return Err(BatchFileError::Mixed {
                    channel,
                    what: "venue and operator",
                });
            }
        }
        let mut whole: Option<(AccountState, Signature)> = None;
        let mut batch = None;
        for holding in &self.holdings {
            let channel = holding.channel();
            let worthless = |why| BatchFileError::Worthless { channel, why };
            let mixed = |what| Err(BatchFileError::Mixed { channel, what });
            let newest = holding.newest.as_ref();
            let newest = newest.ok_or(BatchFileError::Missing(channel))?;
            newest.verify_operator(holding).map_err(worthless)?;
            let OperatorHalf::Leaf(leaf) = &newest.operator else {
                return mixed("batch");
            };
            if newest.account != self.account {
                return mixed("account");
            }
            if newest.epoch != self.epoch || leaf.epoch != self.epoch {
                return mixed("epoch");
            }
            let state = AccountState {
                account: self.account,
                epoch: U40::saturating_from(self.epoch),
                accountRoot: newest.account_root(channel).map_err(worthless)?,
            };
            match &whole {
                None => whole = Some((state, leaf.signature)),
                Some((first, _)) if *first != state => return mixed("account root"),
                Some((_, signature)) if *signature != leaf.signature => return mixed("batch"),
                Some(_) => {}
            }
            batch = Some((holding, leaf));
        }
        if let (Some(audit), Some((holding, leaf))) = (&self.audit, batch) {
            let same = (audit.epoch, audit.signature) == (leaf.epoch, leaf.signature);
            if !same {
                let channel = holding.channel();
                return Err(BatchFileError::Mixed {
                    channel,
                    what: "batch as the heads of audit logs",
                });
            }
            let verified = audit.verify(holding.venue, holding.operator);
            verified.map_err(BatchFileError::Audit)?;
        }
        whole.map(|(state, _)| state).ok_or(BatchFileError::Empty)
    }

    /// The holdings with the trader's signature in them: what it keeps, and gives back to the operator.
    #[must_use]
    pub fn cosigned(&self, signature: Signature) -> Vec<Holding> {
        let mut holdings = self.holdings.clone();
        for newest in holdings.iter_mut().filter_map(|it| it.newest.as_mut()) {
            newest.cosignature = signature;
        }
        holdings
    }
}
