//! When a state counts: the trader's signature over the account root it lies under, and the operator's in one of two forms.

use crate::channel::{Channel, require_uint40};
use crate::hash::{Address, Host, Word};
use crate::hub::{EntryProof, Hub, StatedNode};
use crate::message::{self, KIND_TRADING, State, account_state};
use crate::refusal::Refusal;
use crate::signature::Signature;
use crate::tree::{Path, Sums, leaf, limits, root};
use crate::vault::Vault;

/// The trader's signature over an account root, and the way from a state to that root.
#[derive(Clone, Copy, Debug)]
pub struct CoSignature<'a> {
    /// The trader's account at the venue.
    pub account: u64,
    /// Way from the state to the root.
    pub path: Path<'a, Word>,
    /// By the co-signer, or by the session key of `grant`.
    pub signature: Signature,
    /// What lets a session key sign.
    pub grant: Option<Grant<'a>>,
}

/// A co-signer's permission for a session key.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The key's address.
    pub session: Address,
    /// Until when it opens trading sessions. Judged by the engine, never here.
    pub expiry: u64,
    /// First epoch it may sign.
    pub first_epoch: u64,
    /// Last epoch it may sign.
    pub last_epoch: u64,
    /// Lowest balance of this channel.
    pub floor: u128,
    /// balance − depositedSeen + withdrawnSeen when the grant was made.
    pub start_base: i128,
    /// Most that trading may take from `start_base`.
    pub outflow: u128,
    /// Way from this channel's limits to the root over the limits of all channels.
    pub path: Path<'a, Word>,
    /// By the co-signer.
    pub signature: Signature,
}

/// Shows that a state is a leaf of a batch.
#[derive(Clone, Copy, Debug)]
pub struct LeafProof<'a> {
    /// The leaf's part that is not covered by the channel's own escrow.
    pub excess: u128,
    /// Way to the token's root.
    pub path: Path<'a, Sums>,
    /// From there to the batch.
    pub entry: EntryProof<'a>,
}

impl<H: Host> Hub<'_, H> {
    pub(crate) fn require_pinned(&self, branch: &Word) -> Result<(), Refusal> {
        match self.host.is_pinned(branch) {
            true => Ok(()),
            false => Err(Refusal::BranchUnknown),
        }
    }

    /// Checks the trader's half; gives the whole state's hash.
    pub(crate) fn require_trader(
        &self,
        channel: &Channel,
        state: &State,
        base: i64,
        trader: &CoSignature,
    ) -> Result<Word, Refusal> {
        let host = self.host;
        if state.kind != KIND_TRADING {
            return Err(Refusal::KindUnknown { kind: state.kind });
        }
        require_uint40(&[state.version, state.epoch])?;
        self.require_pinned(&state.branch)?;
        let channel_state = state.channel_state(host, &channel.id);
        if root(host, leaf(host, &channel_state), &trader.path)? != state.account_root {
            return Err(Refusal::AccountRootMismatch);
        }
        let message = account_state(host, trader.account, state.epoch, &state.account_root);
        let digest = message::digest(host, &self.domains.venue, &message);
        let cosigner = channel.cosigner(self.now);
        match &trader.grant {
            None => trader.signature.require(host, &digest, &cosigner)?,
            Some(grant) => {
                trader.signature.require(host, &digest, &grant.session)?;
                self.require_grant(&channel.id, &cosigner, state, base, trader.account, grant)?;
            }
        }
        Ok(message::state(host, &channel_state, &state.account_root))
    }

    fn require_grant(
        &self,
        channel: &Word,
        cosigner: &Address,
        state: &State,
        base: i64,
        account: u64,
        grant: &Grant,
    ) -> Result<(), Refusal> {
        let host = self.host;
        let times = [grant.expiry, grant.first_epoch, grant.last_epoch];
        require_uint40(&times)?;
        let limits = limits(host, channel, grant.floor, grant.start_base, grant.outflow);
        let limits = root(host, limits, &grant.path)?;
        let message = message::grant(host, account, &grant.session, times, &limits);
        let digest = message::digest(host, &self.domains.venue, &message);
        grant.signature.require(host, &digest, cosigner)?;

        if state.epoch < grant.first_epoch || state.epoch > grant.last_epoch {
            return Err(Refusal::EpochOutsideGrant {
                epoch: state.epoch,
                first: grant.first_epoch,
                last: grant.last_epoch,
            });
        }
        if state.balance < grant.floor {
            return Err(Refusal::BelowFloor {
                balance: state.balance,
                floor: grant.floor,
            });
        }
        let outflow = grant.start_base.saturating_sub(base.into());
        if outflow > 0 && outflow.unsigned_abs() > grant.outflow {
            return Err(Refusal::OutflowExceeded {
                outflow: grant.outflow,
            });
        }
        let from_epoch = host.revoked_from(cosigner, &grant.session);
        if from_epoch != 0 && state.epoch >= from_epoch {
            return Err(Refusal::SessionRevoked {
                from_epoch,
                epoch: state.epoch,
            });
        }
        Ok(())
    }

    /// Checks the operator's half in leaf form. Gives the number of the posted root it lies under; zero if that root is not posted, was replaced longer than one
    /// vault delay ago, or holds less for the leaf than `excess`, what the state needs above the channel's escrow.
    pub(crate) fn require_leaf(
        &self,
        vault: &Vault,
        token: &Address,
        hash: &Word,
        state: &State,
        excess: u128,
        proof: &LeafProof,
    ) -> Result<u32, Refusal> {
        require_uint40(&[proof.entry.epoch])?;
        let leaf = Sums::leaf(self.host, hash, state.balance, proof.excess);
        let sums = leaf.root(self.host, &proof.path)?;
        let entry = self.entry(token, &sums, &proof.entry)?;
        if proof.entry.epoch < state.epoch {
            return Err(Refusal::BatchOlderThanState {
                batch: proof.entry.epoch,
                state: state.epoch,
            });
        }
        if excess > proof.excess {
            return Ok(0);
        }
        Ok(match self.host.posted(&entry) {
            Some(root) if root.is_in_force(vault, self.settings, self.now) => root.number,
            _ => 0,
        })
    }

    /// Whether a leaf under a signed batch states sums that are not its own, or has a balance that is not its state's.
    ///
    /// # Errors
    /// It does not.
    pub fn require_false_leaf(
        &self,
        token: &Address,
        stated: &StatedNode,
        channel: &Word,
        state: &State,
        balance: u128,
        excess: u128,
    ) -> Result<(), Refusal> {
        let host = self.host;
        let sums = stated.node.root(host, &stated.path)?;
        self.entry(token, &sums, &stated.entry)?;
        let channel_state = state.channel_state(host, channel);
        let hash = message::state(host, &channel_state, &state.account_root);
        let leaf = Sums::leaf(host, &hash, balance, excess);
        let adds = leaf == stated.node && balance == state.balance;
        if leaf.hash != stated.node.hash || adds {
            return Err(Refusal::ProofRefused);
        }
        Ok(())
    }

    /// Ends a session key from an epoch on, by the co-signer's signature, and with the operator's, which may be none, from an earlier one. Gives the epoch to keep:
    /// a revocation is never taken back nor put off.
    ///
    /// # Errors
    /// Not signed, or that epoch may have been signed by the session key already.
    pub fn revoke(
        &self,
        cosigner: &Address,
        session: &Address,
        from_epoch: u64,
        by: &Signature,
        consent: Option<&Signature>,
    ) -> Result<u64, Refusal> {
        let host = self.host;
        require_uint40(&[from_epoch])?;
        let message = message::revocation(host, cosigner, session, from_epoch);
        let digest = message::digest(host, &self.domains.venue, &message);
        by.require(host, &digest, cosigner)?;
        if let Some(consent) = consent {
            consent.require(host, &digest, &self.settings.operator_key)?;
        }
        let earliest = self
            .status
            .earliest_revocation(consent.is_some(), self.settings, self.now);
        if from_epoch < earliest {
            return Err(Refusal::RevocationTooEarly {
                earliest,
                given: from_epoch,
            });
        }
        Ok(match host.revoked_from(cosigner, session) {
            0 => from_epoch,
            before => before.min(from_epoch),
        })
    }
}
