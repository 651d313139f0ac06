//! What concerns a hub as a whole: its settings, which nothing changes, and whether it is frozen.

use crate::account::Name;
use crate::hash::{Address, Host, Word};
use crate::message::{Domains, batch, digest};
use crate::refusal::Refusal;
use crate::signature::Signature;
use crate::tree::{Path, Sums, root};
use crate::vault::Vault;

/// A transaction can refer to this many blocks back, and no further.
const REFERENCE_REACH: u64 = 65_535;

/// Values given once, at deployment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// Fixed name of the chain's history: the id of the chain on which the hub was deployed.
    pub lineage: Word,
    /// Id of the venue.
    pub venue: Word,
    /// Address of the key that signs for the exchange.
    pub operator_key: Address,
    /// The exchange's account: may start disputes.
    pub operator: Name,
    /// Account that receives what the vault has unlocked, and alone may ask for it.
    pub treasury: Name,
    /// A root is posted at least this often. Seconds.
    pub anchor: u32,
    /// Time to refute a dispute; at least four anchors. Seconds.
    pub window: u32,
    /// Without a new root for longer than this, anybody may freeze the hub. Seconds.
    pub grace: u32,
    /// From request to withdrawal of vault funds, and how long a posted root keeps its lock; longer than the window. Seconds.
    pub vault_delay: u32,
    /// Blocks between two pins.
    pub pin_every: u32,
    /// Blocks that must lie on a block before it is pinned.
    pub confirmations: u32,
    /// Epoch at deployment: a lower bound for revocations before the first root.
    pub first_epoch: u64,
}

impl Settings {
    /// Whether the hub would be safe with them.
    ///
    /// # Errors
    /// [`Refusal::ConfigInvalid`] says which is not.
    pub fn require_sound(&self) -> Result<(), Refusal> {
        let rules = [
            (self.operator_key != [0; 20], "operator_key is zero"),
            (self.operator != Name(0), "operator is nobody"),
            (self.treasury != Name(0), "treasury is nobody"),
            (self.anchor != 0, "anchor is zero"),
            (
                u64::from(self.window) >= 4 * u64::from(self.anchor),
                "window is under four anchors",
            ),
            (
                self.vault_delay > self.window,
                "vault_delay is not longer than window",
            ),
            (self.grace >= self.anchor, "grace is under one anchor"),
            (self.pin_every != 0, "pin_every is zero"),
            (
                u64::from(self.pin_every) + u64::from(self.confirmations) <= REFERENCE_REACH,
                "pin_every + confirmations is beyond the blocks a transaction can refer to",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(Refusal::ConfigInvalid(what)),
            None => Ok(()),
        }
    }
}

/// What changes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// When the hub was frozen; zero: it is not.
    pub frozen_at: u64,
    /// Highest epoch posted for any token.
    pub epoch: u64,
    /// When it was.
    pub epoch_at: u64,
}

impl Status {
    /// Whether money may come in or move.
    ///
    /// # Errors
    /// [`Refusal::HubFrozen`].
    pub fn require_not_frozen(&self) -> Result<(), Refusal> {
        match self.frozen_at {
            0 => Ok(()),
            _ => Err(Refusal::HubFrozen),
        }
    }

    /// Freezes for good, by a proof that the caller has checked.
    ///
    /// # Errors
    /// It is frozen.
    pub fn freeze(&mut self, now: u64) -> Result<(), Refusal> {
        self.require_not_frozen()?;
        self.frozen_at = now;
        Ok(())
    }

    /// First epoch that a session key can be revoked from: one that cannot have been signed by now, or with the operator's consent any after the newest posted
    /// one. A revocation of the past would unmake states that the session key signed and the trader lost by. Batches come at most every 100 ms.
    #[must_use]
    pub fn earliest_revocation(&self, consent: bool, settings: &Settings, now: u64) -> u64 {
        let passed = match consent {
            true => 0,
            false => (now - self.epoch_at + u64::from(settings.anchor)) * 10,
        };
        self.epoch + 1 + passed
    }
}

/// A hub as the machine sees it during a call.
#[derive(Clone, Copy, Debug)]
pub struct Hub<'a, H> {
    /// What the chain computes.
    pub host: &'a H,
    /// The hub's own address.
    pub address: Address,
    /// Its settings.
    pub settings: &'a Settings,
    /// Its domains.
    pub domains: Domains,
    /// Whether it is frozen, and what was posted.
    pub status: Status,
    /// The block's time, seconds of Unix time.
    pub now: u64,
}

/// The way from a (hub, token) entry to the root of a batch, and the operator's signature of the batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryProof<'a> {
    /// Way to the batch's root.
    pub path: Path<'a, Word>,
    /// The batch's.
    pub epoch: u64,
    /// Root of the batch before.
    pub previous: Word,
    /// The operator's.
    pub signature: Signature,
}

/// A batch the operator signed, by what is in its signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignedBatch {
    /// Root of the batch before.
    pub previous: Word,
    /// Root over its entries.
    pub entries: Word,
    /// The operator's.
    pub signature: Signature,
}

/// A node of the hub's sum tree under a signed batch, with the sums that the tree states for it.
#[derive(Clone, Copy, Debug)]
pub struct StatedNode<'a> {
    /// The node.
    pub node: Sums,
    /// Way to the token's root.
    pub path: Path<'a, Sums>,
    /// From there to the batch.
    pub entry: EntryProof<'a>,
}

impl<H: Host> Hub<'_, H> {
    /// Hash of what an operator-signed batch says of a token.
    ///
    /// # Errors
    /// The operator did not sign such a batch.
    pub fn entry(&self, token: &Address, sums: &Sums, proof: &EntryProof) -> Result<Word, Refusal> {
        let host = self.host;
        let entry = sums.entry(host, &self.settings.lineage, &self.address, token);
        let entries = root(host, entry, &proof.path)?;
        self.require_batch(proof.epoch, &proof.previous, &entries, &proof.signature)?;
        Ok(entry)
    }

    fn require_batch(
        &self,
        epoch: u64,
        previous: &Word,
        entries: &Word,
        signature: &Signature,
    ) -> Result<(), Refusal> {
        let message = batch(self.host, epoch, previous, entries);
        let digest = digest(self.host, &self.domains.venue, &message);
        signature.require(self.host, &digest, &self.settings.operator_key)
    }

    /// Whether the operator signed two batches of one epoch.
    ///
    /// # Errors
    /// It did not, or they are the same.
    pub fn require_two_batches(
        &self,
        epoch: u64,
        a: &SignedBatch,
        b: &SignedBatch,
    ) -> Result<(), Refusal> {
        if (a.previous, a.entries) == (b.previous, b.entries) {
            return Err(Refusal::ProofRefused);
        }
        [a, b]
            .iter()
            .try_for_each(|it| self.require_batch(epoch, &it.previous, &it.entries, &it.signature))
    }

    /// Whether a node under a signed batch states sums that are not those of its two children.
    ///
    /// # Errors
    /// It does not.
    pub fn require_false_node(
        &self,
        token: &Address,
        stated: &StatedNode,
        left: &Sums,
        right: &Sums,
    ) -> Result<(), Refusal> {
        let sums = stated.node.root(self.host, &stated.path)?;
        self.entry(token, &sums, &stated.entry)?;
        let adds = left.balance.checked_add(right.balance) == Some(stated.node.balance)
            && left.excess.checked_add(right.excess) == Some(stated.node.excess);
        if Sums::over(self.host, left, right) != stated.node.hash || adds {
            return Err(Refusal::ProofRefused);
        }
        Ok(())
    }

    /// Whether the operator has posted no root of a token for longer than the grace period.
    ///
    /// # Errors
    /// It has, or owes none.
    pub fn require_silence(&self, vault: &Vault) -> Result<(), Refusal> {
        if vault.number == 0 {
            return Err(Refusal::TokenNeverPosted);
        }
        let from = vault.posted_at + u64::from(self.settings.grace) + 1;
        if self.now < from {
            return Err(Refusal::TooEarly { from });
        }
        Ok(())
    }
}
