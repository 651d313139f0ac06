//! What the routes answer with. Secrets are in three of them, once: a login's token, an invitation's code, an API key's secret.

use ring0_identity::records::{self, ApiKeyProof, Authority, Seat, Stage};
use serde::Serialize;
use utoipa::ToSchema;

/// A nonce and what a sign-in message has to say.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Nonce {
    /// For the message; good once.
    pub(super) nonce: String,
    /// Its end, in milliseconds of Unix time.
    pub(super) expires_ms: u64,
    /// The message's domain.
    pub(super) domain: String,
    /// The message's URI.
    pub(super) uri: String,
    /// Chain ids that are accepted.
    pub(super) chain_ids: Vec<u64>,
}

/// A login.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Login {
    /// Who has signed in.
    pub(super) person: u64,
    /// For `Authorization: Bearer`; not there where the cookie was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    /// Its end whatever happens, in milliseconds of Unix time. It ends earlier when it is not used.
    pub(super) expires_ms: u64,
}

/// A ceremony that has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ceremony {
    /// To be said again with the answer.
    pub(super) ceremony: String,
    /// For `navigator.credentials.create` or `get`.
    #[schema(value_type = Object)]
    pub(super) challenge: serde_json::Value,
}

/// A passkey was registered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Registered {
    /// Its number.
    pub(super) passkey: u64,
    /// The login, where somebody invited has become a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) login: Option<Login>,
}

/// A passkey.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Passkey {
    /// Its number.
    pub(super) id: u64,
    /// What its person calls it.
    pub(super) name: String,
    /// Since when, in milliseconds of Unix time.
    pub(super) since_ms: u64,
}

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// Number of the person.
    pub(super) person: u64,
    /// Its name.
    pub(super) name: String,
    /// Its wallets.
    pub(super) wallets: Vec<String>,
    /// How it is known: `wallet`, `passkey` or `api-key`.
    pub(super) by: &'static str,
    /// The organisation that it acts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) organisation: Option<u64>,
    /// Its role there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    /// An API key's scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scopes: Option<Vec<&'static str>>,
    /// Accounts that it may speak of.
    pub(super) accounts: Vec<u32>,
    /// What it may do here, by the table of `docs/authorisation.md`; acts with an owner-key signature too.
    pub(super) permissions: Vec<&'static str>,
}

/// An organisation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Organisation {
    /// Its number.
    pub(super) id: u64,
    /// Its name.
    pub(super) name: String,
    /// The caller's role.
    pub(super) role: &'static str,
    /// Its accounts.
    pub(super) accounts: Vec<u32>,
    /// Since when, in milliseconds of Unix time.
    pub(super) since_ms: u64,
}

/// A member.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Member {
    /// Number of the person.
    pub(super) person: u64,
    /// Its name, which it chose itself.
    pub(super) name: String,
    /// Its role.
    pub(super) role: &'static str,
}

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Invitation {
    /// Its number.
    pub(super) id: u64,
    /// As what.
    pub(super) role: &'static str,
    /// Who invites.
    pub(super) by: u64,
    /// Its end, in milliseconds of Unix time.
    pub(super) expires_ms: u64,
    /// For whom it is meant; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
}

impl From<&records::Invitation> for Invitation {
    fn from(it: &records::Invitation) -> Invitation {
        Invitation {
            id: it.id.0,
            role: it.role.name(),
            by: it.by.0,
            expires_ms: it.until_ms,
            code: None,
        }
    }
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Account {
    /// The engine's index.
    pub(super) account: u32,
    /// Its owner key's address.
    pub(super) owner: String,
    /// Its co-signer's address.
    pub(super) cosigner: String,
}

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKey {
    /// Its number.
    pub(super) id: u64,
    /// Whose.
    pub(super) person: u64,
    /// What its person calls it.
    pub(super) name: String,
    /// What it is for.
    pub(super) scopes: Vec<&'static str>,
    /// From where it may be used; empty: from everywhere.
    pub(super) networks: Vec<String>,
    /// Whether it signs its requests.
    pub(super) signs: bool,
    /// Since when, in milliseconds of Unix time.
    pub(super) since_ms: u64,
    /// Its end, in milliseconds of Unix time.
    pub(super) expires_ms: u64,
    /// Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

impl From<&records::ApiKey> for ApiKey {
    fn from(it: &records::ApiKey) -> ApiKey {
        ApiKey {
            id: it.id.0,
            person: it.person.0,
            name: it.name.clone(),
            scopes: it.scopes.iter().map(|scope| scope.name()).collect(),
            networks: it.networks.iter().map(ToString::to_string).collect(),
            signs: matches!(it.proof, ApiKeyProof::Signed(_)),
            since_ms: it.since_ms,
            expires_ms: it.until_ms,
            secret: None,
        }
    }
}

/// A grant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Grant {
    /// The digest that was signed, with `0x`.
    pub(super) id: String,
    /// The account.
    pub(super) account: u32,
    /// The session key's address.
    pub(super) session: String,
    /// Its end, in seconds of Unix time.
    pub(super) expires_s: u64,
    /// First epoch whose states it signs.
    pub(super) first_epoch: u64,
    /// Last one.
    pub(super) last_epoch: u64,
    /// Whether its states count on chain: the co-signer has signed it too.
    pub(super) signs_states: bool,
    /// Whether it was revoked.
    pub(super) revoked: bool,
}

impl From<&records::Grant> for Grant {
    fn from(it: &records::Grant) -> Grant {
        Grant {
            id: it.id.to_string(),
            account: it.terms.account,
            session: it.terms.session.to_string(),
            expires_s: it.terms.expires_s,
            first_epoch: it.terms.first_epoch,
            last_epoch: it.terms.last_epoch,
            signs_states: it.cosigner_signature.is_some() && !it.terms.limits.is_empty(),
            revoked: it.revoked,
        }
    }
}

/// A trading session. With the session key, and what is here of the venue's, the trader makes the session's MAC key (`docs/wire.md`).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TradingSession {
    /// Its number here.
    pub(super) id: u64,
    /// The account.
    pub(super) account: u32,
    /// The shard.
    pub(super) shard: String,
    /// Who opened it.
    pub(super) person: u64,
    /// The grant that it is opened under; not there where the owner key itself opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<String>,
    /// The session key, 66 hexadecimal digits.
    pub(super) public_key: String,
    /// The trader's nonce, 32 hexadecimal digits.
    pub(super) nonce: String,
    /// Its end for new orders, in seconds of Unix time.
    pub(super) expires_s: u64,
    /// What it is for where the gateway itself has its key: `rest` or `ouch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seat: Option<&'static str>,
    /// `opening`, `open`, `ending` or `ended`.
    pub(super) stage: &'static str,
    /// What the venue answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opened: Option<Opened>,
}

/// What the venue answered when it took a session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Opened {
    /// The engine's session index.
    pub(super) session: u32,
    /// The session's id on the wire, 10 characters.
    pub(super) session_id: String,
    /// The venue's nonce, 32 hexadecimal digits.
    pub(super) venue_nonce: String,
    /// Number of the venue's agreement key.
    pub(super) agreement: u64,
    /// The venue's agreement key, 66 hexadecimal digits.
    pub(super) agreement_key: String,
}

impl From<&records::TradingSession> for TradingSession {
    fn from(it: &records::TradingSession) -> TradingSession {
        let (stage, opened) = match &it.stage {
            Stage::Opening => ("opening", None),
            Stage::Open(opened) => ("open", Some(opened)),
            Stage::Ending(opened) => ("ending", opened.as_ref()),
            Stage::Ended => ("ended", None),
        };
        TradingSession {
            id: it.id.0,
            account: it.account,
            shard: it.shard.clone(),
            person: it.person.0,
            grant: match it.authority {
                Authority::Grant(id) => Some(id.to_string()),
                Authority::Owner => None,
            },
            public_key: it.public_key.clone(),
            nonce: it.nonce.clone(),
            expires_s: it.expires_s,
            seat: it.seat.map(|seat| match seat {
                Seat::Rest => "rest",
                Seat::Ouch => "ouch",
            }),
            stage,
            opened: opened.map(|it| Opened {
                session: it.session,
                session_id: it.id.clone(),
                venue_nonce: it.venue_nonce.clone(),
                agreement: it.agreement,
                agreement_key: it.agreement_key.clone(),
            }),
        }
    }
}

/// What was done, and the trading sessions that end with it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ended {
    /// Sessions that the kernel takes nothing of any more.
    pub(super) ended: Vec<u64>,
    /// Sessions whose shard does not answer: they are asked to be ended every second, and end at the latest with their grant.
    pub(super) pending: Vec<u64>,
}

/// A line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// Its number in the log.
    pub(super) number: u64,
    /// When, in milliseconds of Unix time.
    pub(super) at_ms: u64,
    /// Who.
    #[schema(value_type = Object)]
    pub(super) actor: serde_json::Value,
    /// What, without secrets.
    #[schema(value_type = Object)]
    pub(super) event: serde_json::Value,
}
