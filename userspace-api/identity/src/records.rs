//! What is known of people, organisations and what they hold: plain records, as the log's events make them.

use crate::ids::{
    ApiKeyId, Digest, InvitationId, LoginId, OrganisationId, PasskeyId, PersonId, SessionId,
};
use crate::permission::{Role, Scope};
use alloy_primitives::{Address, B256};
use ipnet::IpNet;
use ring0_channels::key::Signature;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Somebody who can sign in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Person {
    /// Its name.
    pub id: PersonId,
    /// What others see; chosen by the person, no proof of anything.
    pub name: String,
    /// 16 random bytes that authenticators know the person by, 32 hexadecimal digits.
    pub handle: String,
    /// Wallets that sign in as this person.
    pub wallets: Vec<Address>,
    /// Milliseconds of Unix time.
    pub since_ms: u64,
}

/// A passkey of a person.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PasskeyRecord {
    /// Its name.
    pub id: PasskeyId,
    /// Whose.
    pub person: PersonId,
    /// What the person calls it.
    pub name: String,
    /// The public half, the counter and what the authenticator said of itself.
    pub credential: webauthn_rs::prelude::Passkey,
    /// Milliseconds of Unix time.
    pub since_ms: u64,
}

/// How a login came about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedInBy {
    /// By this wallet.
    Wallet(Address),
    /// By this passkey.
    Passkey(PasskeyId),
}

/// One sign-in until its end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Login {
    /// Its name.
    pub id: LoginId,
    /// Whose.
    pub person: PersonId,
    /// How.
    pub by: SignedInBy,
    /// Of the token.
    pub token: Digest,
    /// When, in milliseconds of Unix time.
    pub since_ms: u64,
    /// Its end whatever happens, in milliseconds of Unix time.
    pub until_ms: u64,
    /// Its last use that was written down, in milliseconds of Unix time.
    pub used_ms: u64,
}

/// People with accounts in common.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Organisation {
    /// Its name.
    pub id: OrganisationId,
    /// What its owner calls it.
    pub name: String,
    /// Its members.
    pub members: BTreeMap<PersonId, Role>,
    /// Its accounts.
    pub accounts: Vec<u32>,
    /// Milliseconds of Unix time.
    pub since_ms: u64,
}

/// An account of the engine and the key that owns its channels.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Account {
    /// The engine's account index.
    pub index: u32,
    /// Whose.
    pub organisation: OrganisationId,
    /// The owner key.
    pub owner: Address,
    /// The co-signer key of its channels; the owner key where none is named.
    pub cosigner: Address,
}

/// An invitation that waits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Invitation {
    /// Its name.
    pub id: InvitationId,
    /// Into which organisation.
    pub organisation: OrganisationId,
    /// As what.
    pub role: Role,
    /// By whom.
    pub by: PersonId,
    /// Of its code.
    pub code: Digest,
    /// Milliseconds of Unix time.
    pub until_ms: u64,
}

/// How an API key proves itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiKeyProof {
    /// Sends its secret with each request; only the digest is kept. Reads only.
    Bearer(Digest),
    /// Signs each request by HMAC; the secret is kept sealed under the key file.
    Signed(String),
}

/// An API key: it has its scopes, within what its maker's role has at the time of each request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApiKey {
    /// Its name.
    pub id: ApiKeyId,
    /// In which organisation.
    pub organisation: OrganisationId,
    /// Whose.
    pub person: PersonId,
    /// What the person calls it.
    pub name: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// From where it may be used; none: from everywhere.
    pub networks: Vec<IpNet>,
    /// How it proves itself.
    pub proof: ApiKeyProof,
    /// Milliseconds of Unix time.
    pub since_ms: u64,
    /// Its end, in milliseconds of Unix time.
    pub until_ms: u64,
}

/// What a session key may take from a channel, as `docs/channels.md` has it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChannelLimits {
    /// Of which channel.
    pub channel: B256,
    /// Lowest balance it signs, in the token's smallest unit.
    #[serde(with = "crate::decimal")]
    pub floor: u128,
    /// Balance − deposits seen + withdrawals seen when it was given.
    #[serde(with = "crate::decimal")]
    pub start_base: i128,
    /// The most that its states take from that.
    #[serde(with = "crate::decimal")]
    pub outflow: u128,
}

/// A session key's powers over an account.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GrantTerms {
    /// The engine's account index.
    pub account: u32,
    /// The session key's address.
    pub session: Address,
    /// Until when it opens trading sessions, in seconds of Unix time.
    pub expires_s: u64,
    /// First epoch whose states it signs.
    pub first_epoch: u64,
    /// Last one.
    pub last_epoch: u64,
    /// Per channel; in the order in which they stand in the signed tree.
    pub limits: Vec<ChannelLimits>,
}

/// A grant that was given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// Its name: the EIP-712 digest that was signed.
    pub id: B256,
    /// Of whose account.
    pub organisation: OrganisationId,
    /// What it allows.
    pub terms: GrantTerms,
    /// By the account's owner key: what makes it count here.
    pub owner_signature: Signature,
    /// By the channels' co-signer: what makes states of the session key count on chain. `None`: it opens trading sessions only.
    pub cosigner_signature: Option<Signature>,
    /// Milliseconds of Unix time.
    pub since_ms: u64,
    /// Whether somebody ended it.
    pub revoked: bool,
}

/// What lets a session key open a trading session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// A grant of the account, by its name.
    Grant(B256),
    /// The owner key itself.
    Owner,
}

/// Through which credential somebody did something.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Through {
    /// A login.
    Login(LoginId),
    /// An API key.
    ApiKey(ApiKeyId),
}

/// What a session of the venue's own gateway is for: it trades for an account under a grant to the gateway's key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seat {
    /// REST: the account's, for everybody who may enter orders of it.
    Rest,
    /// OUCH: for whoever was given its password.
    Ouch,
}

/// How far a trading session is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Decided; the venue may or may not have it.
    Opening,
    /// The venue has it.
    Open(Opened),
    /// To be ended; the venue may still have it.
    Ending(Option<Opened>),
    /// The venue no longer has it.
    Ended,
}

/// What the venue answered when it took a session.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Opened {
    /// The engine's session index.
    pub session: u32,
    /// The session id of the wire, 10 characters.
    pub id: String,
    /// The venue's nonce, 32 hexadecimal digits.
    pub venue_nonce: String,
    /// Number of the venue's agreement key.
    pub agreement: u64,
    /// The venue's agreement key: a compressed secp256k1 point, 66 hexadecimal digits.
    pub agreement_key: String,
}

/// A trading session: what a session key opened on one shard.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TradingSession {
    /// Its name here.
    pub id: SessionId,
    /// Digest of the opening that was signed: it opens once.
    pub opening: B256,
    /// Whose account.
    pub organisation: OrganisationId,
    /// The engine's account index.
    pub account: u32,
    /// Name of the shard.
    pub shard: String,
    /// Who opened it.
    pub person: PersonId,
    /// Through what.
    pub through: Through,
    /// Under what.
    pub authority: Authority,
    /// The session key: a compressed secp256k1 point, 66 hexadecimal digits.
    pub public_key: String,
    /// The trader's nonce, 32 hexadecimal digits.
    pub nonce: String,
    /// Its end for new orders, in seconds of Unix time.
    pub expires_s: u64,
    /// What it is for, if the gateway itself holds its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<Seat>,
    /// Milliseconds of Unix time.
    pub since_ms: u64,
    /// How far it is.
    pub stage: Stage,
}

impl TradingSession {
    /// Whether the venue may have it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Opening | Stage::Open(_))
    }

    /// Whether it goes with this person: whoever opened it has the key, or the password. The account's seat at REST goes with its grant alone.
    #[must_use]
    pub fn is_of(&self, person: PersonId) -> bool {
        self.person == person && self.seat != Some(Seat::Rest)
    }
}
