//! What is said over `settled.sock`: one JSON object a line with a `verb`, answered by one with `ok`; where it is false, `error` says what and what to do.
//!
//! Amounts are text in base units, hashes and addresses hexadecimal, times seconds of Unix time.

use crate::decimal;
use ring0_channels::evidence::GrantProof;
use ring0_channels::key::Signature;
use ring0_channels::{Address, B256};
use serde::{Deserialize, Serialize};

/// Longest request or answer in bytes: some thousand co-signatures.
pub const LINE_BYTES_MAX: u64 = 4 << 20;

/// Most co-signatures in one request.
pub const PARTS_MAX: usize = 4_096;

/// An account's signature of a batch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CoSignature {
    /// Whose.
    pub account: u32,
    /// Of which batch.
    pub epoch: u64,
    /// Of the account's state, by the co-signer or by the session key of a grant that was registered.
    #[serde(with = "crate::signature")]
    pub signature: Signature,
}

/// A session key's permission at one channel.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    /// The channel.
    pub channel: B256,
    /// The grant with the way to this channel's limits.
    pub grant: GrantProof,
}

/// One line to the daemon.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Whose the channels of an owner are. Again it changes co-signer and grants; the owner stays.
    Register {
        /// The engine's account.
        account: u32,
        /// Who owns the channels.
        owner: Address,
        /// Who signs states.
        cosigner: Address,
        /// Session keys that may sign states in its place.
        #[serde(default)]
        grants: Vec<Granted>,
    },
    /// Names an address for withdrawals; money may go there after the venue's delay.
    Address {
        /// Whose.
        account: u32,
        /// The address.
        address: Address,
        /// The owner's, of [`address_digest`](crate::messages::address_digest).
        #[serde(with = "crate::signature")]
        signature: Signature,
    },
    /// An account's channels, with what a withdrawal has to name.
    Channels {
        /// Whose.
        account: u32,
    },
    /// An account's part of a batch that the operator has signed, as the trader checks it.
    Batch {
        /// Which; 0: the newest.
        epoch: u64,
        /// Whose part.
        account: u32,
    },
    /// Signatures of accounts' states. Each is answered for itself.
    Cosign {
        /// At most [`PARTS_MAX`].
        parts: Vec<CoSignature>,
    },
    /// The owner withdraws. The same again tells how far it is.
    Withdraw {
        /// From which channel.
        channel: B256,
        /// All its withdrawals with this one, base units.
        #[serde(with = "decimal")]
        withdrawn: u128,
        /// Who gets it.
        recipient: Address,
        /// The pinned block, as `channels` tells it.
        branch: B256,
        /// Until when the hub takes it.
        deadline: u64,
        /// The owner's, of the hub's `Withdrawal`.
        #[serde(with = "crate::signature")]
        signature: Signature,
    },
    /// Lets a large withdrawal through, or refuses one that waits.
    Approve {
        /// Which.
        withdrawal: B256,
        /// Whether it may go.
        yes: bool,
        /// An approver's, of [`approval_digest`](crate::messages::approval_digest).
        #[serde(with = "crate::signature")]
        signature: Signature,
    },
    /// Withdrawals, newest last.
    Withdrawals {
        /// Only this account's.
        #[serde(default)]
        account: Option<u32>,
    },
    /// What an account has, by asset.
    Balances {
        /// Whose.
        account: u32,
    },
    /// What changed an account's balances in a range of batches.
    Statement {
        /// Whose.
        account: u32,
        /// First batch.
        from: u64,
        /// Last one; beyond the newest: that.
        to: u64,
        /// Signed by the operator beside the root of the newest signed batch, with which it ends. One is signed of an account and a batch: the same
        /// again gives the same signature, another first batch is refused until the next batch is signed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sign: bool,
    },
    /// How far batches are, who lags, and who has not signed the newest.
    Batches,
    /// How far another process's audit log is: the next batch that is recorded has it under its root.
    AuditHead {
        /// The log's name in the venue.
        name: String,
        /// Its entries.
        entries: u64,
        /// What names all of them.
        head: B256,
    },
    /// The heads of audit logs in the newest batch that the operator has signed, as `ring0 audit verify` reads them.
    Audit,
    /// What a channel's escrow holds above its balance: moves to the vault that an account may sign.
    Moves {
        /// Whose.
        account: u32,
    },
    /// A co-signed move of escrow to the vault.
    Rebalance {
        /// Which channel.
        channel: B256,
        /// One above its last move.
        number: u64,
        /// Negative: from the escrow to the vault.
        #[serde(with = "decimal")]
        moved: i128,
        /// The pinned block.
        branch: B256,
        /// Until when the hub takes it.
        deadline: u64,
        /// The co-signer's, of the hub's `Rebalancing`.
        #[serde(with = "crate::signature")]
        signature: Signature,
    },
    /// Cuts a batch now. Operators only, as all that follow.
    Cut,
    /// The switch for all withdrawals.
    StopWithdrawals {
        /// Why.
        reason: String,
    },
    /// Lets withdrawals go on.
    StartWithdrawals {
        /// Why.
        reason: String,
    },
    /// Halts an asset: no deposits, no withdrawals, no orders in it; cancels work.
    HaltAsset {
        /// Its name.
        asset: String,
        /// Why.
        reason: String,
    },
    /// Clears a halt. Deposits and withdrawals go on; trading goes on when the shards' operator resumes it.
    ClearHalt {
        /// Its name.
        asset: String,
        /// Why it may go on.
        reason: String,
    },
    /// The signer lost its store and goes on from a copy (`ring0 signer restore`): batches go on above its floor.
    SignerRestored {
        /// As `restore` says it.
        floor: u64,
        /// Why.
        reason: String,
    },
    /// How the daemon is.
    Status,
    /// Numbers for Prometheus, under `text`.
    Metrics,
    /// Whether it does its work; `error` says what does not.
    Health,
}

impl Request {
    /// Whether root and the daemon's own user alone may ask it.
    #[must_use]
    pub fn is_operators(&self) -> bool {
        matches!(
            self,
            Request::Cut
                | Request::StopWithdrawals { .. }
                | Request::StartWithdrawals { .. }
                | Request::HaltAsset { .. }
                | Request::ClearHalt { .. }
                | Request::SignerRestored { .. }
        )
    }

    /// Whether it changes something: then it stands in the audit log, whatever becomes of it.
    #[must_use]
    pub fn is_audited(&self) -> bool {
        self.is_operators()
            || matches!(
                self,
                Request::Register { .. }
                    | Request::Address { .. }
                    | Request::Withdraw { .. }
                    | Request::Approve { .. }
                    | Request::Rebalance { .. }
            )
    }
}
