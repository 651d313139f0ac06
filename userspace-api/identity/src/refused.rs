//! Why something is not done: the sentences that a client reads, and the HTTP status that fits each.

use crate::permission::{Permission, Role, Scope};
use ring0_channels::key::SignatureError;
use ring0_hashlog::LogError;
use std::io;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody said who it is.
    #[error("sign in first, or send an API key")]
    NoCredential,
    /// Who it is cannot be told. Does not say whether a credential exists, has ended or was revoked.
    #[error(
        "the credential is not accepted: it is unknown, has ended or was revoked; sign in again or use another key"
    )]
    BadCredential,
    /// What was sent as a credential has another form.
    #[error("the credential cannot be read: {0}")]
    Malformed(&'static str),
    /// A signed request is old, from the future, or was here before.
    #[error("the request's signature is not fresh: {0}")]
    NotFresh(&'static str),
    /// A request with a cookie from another site.
    #[error("a request with the cookie comes from {expected} and says so in `Origin`")]
    ForeignOrigin {
        /// Where the pages of this venue are.
        expected: String,
    },
    /// An API key used from a place that it is not for.
    #[error("the API key may not be used from this address; add the address to the key's networks")]
    Network,
    /// A sign-in that does not hold.
    #[error("the sign-in does not hold: {0}")]
    SignIn(String),
    /// A signature that does not hold.
    #[error("the {whose} signature does not hold: {why}")]
    Signature {
        /// Whose.
        whose: &'static str,
        /// Why.
        why: SignatureError,
    },
    /// No member of the organisation that the request is about.
    #[error("{permission} needs an organisation; name one of yours in `Ring0-Organisation`")]
    NoOrganisation {
        /// What was asked.
        permission: Permission,
    },
    /// The role does not have it.
    #[error("the role {role} does not have {permission}; ask an owner of the organisation")]
    Role {
        /// What was asked.
        permission: Permission,
        /// As what.
        role: Role,
    },
    /// The API key is not for it.
    #[error("{permission} needs an API key with the scope {}", .scopes.iter().map(|it| it.name()).collect::<Vec<_>>().join(" or "))]
    Scope {
        /// What was asked.
        permission: Permission,
        /// What would do.
        scopes: &'static [Scope],
    },
    /// No API key is for it.
    #[error("no API key has {permission}; sign in")]
    PeopleOnly {
        /// What was asked.
        permission: Permission,
    },
    /// A passkey is not enough.
    #[error("{permission} needs a sign-in by wallet; a passkey uses what is there")]
    WalletOnly {
        /// What was asked.
        permission: Permission,
    },
    /// The act carries no signature by the owner key.
    #[error("{permission} carries a signature by the account's owner key; no sign-in replaces it")]
    OwnerKey {
        /// What was asked.
        permission: Permission,
    },
    /// It is not there, or not the caller's.
    #[error("there is no such {0} in this organisation")]
    NotFound(&'static str),
    /// It does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// It does not fit the rules.
    #[error("{0}")]
    Invalid(String),
    /// Too often.
    #[error("too many attempts; try again in {retry_after_s} seconds")]
    TooMany {
        /// Seconds.
        retry_after_s: u64,
    },
    /// The disk.
    #[error("what was asked cannot be written down, so it is not done: {0}")]
    Log(#[from] LogError),
    /// An entry of the log.
    #[error("what was asked cannot be written down as it would be read, so it is not done: {0}")]
    Entry(#[from] io::Error),
}

impl Refused {
    /// The HTTP status that fits.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refused::NoCredential
            | Refused::BadCredential
            | Refused::Malformed(_)
            | Refused::NotFresh(_)
            | Refused::SignIn(_) => 401,
            Refused::ForeignOrigin { .. }
            | Refused::Network
            | Refused::Signature { .. }
            | Refused::NoOrganisation { .. }
            | Refused::Role { .. }
            | Refused::Scope { .. }
            | Refused::PeopleOnly { .. }
            | Refused::WalletOnly { .. }
            | Refused::OwnerKey { .. } => 403,
            Refused::NotFound(_) => 404,
            Refused::Conflict(_) => 409,
            Refused::Invalid(_) => 422,
            Refused::TooMany { .. } => 429,
            Refused::Log(_) | Refused::Entry(_) => 500,
        }
    }

    /// A word for programs: the last part of the problem's type.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refused::NoCredential => "no-credential",
            Refused::BadCredential => "bad-credential",
            Refused::Malformed(_) => "malformed-credential",
            Refused::NotFresh(_) => "not-fresh",
            Refused::ForeignOrigin { .. } => "foreign-origin",
            Refused::Network => "network",
            Refused::SignIn(_) => "sign-in",
            Refused::Signature { .. } => "signature",
            Refused::NoOrganisation { .. } => "no-organisation",
            Refused::Role { .. } => "role",
            Refused::Scope { .. } => "scope",
            Refused::PeopleOnly { .. } => "people-only",
            Refused::WalletOnly { .. } => "wallet-only",
            Refused::OwnerKey { .. } => "owner-key",
            Refused::NotFound(_) => "not-found",
            Refused::Conflict(_) => "conflict",
            Refused::Invalid(_) => "invalid",
            Refused::TooMany { .. } => "too-many-attempts",
            Refused::Log(_) | Refused::Entry(_) => "not-written",
        }
    }
}
