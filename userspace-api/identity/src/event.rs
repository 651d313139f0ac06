//! What happened, as the audit log has it: who, when, what. The records are what these events make, in order.

use crate::ids::{ApiKeyId, InvitationId, LoginId, OrganisationId, PasskeyId, PersonId, SessionId};
use crate::permission::Role;
use crate::records::{
    Account, ApiKey, Grant, Invitation, Login, Opened, Organisation, PasskeyRecord, Person,
    Through, TradingSession,
};
use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One line of the audit log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// Milliseconds of Unix time.
    pub at_ms: u64,
    /// Who.
    pub actor: Actor,
    /// What.
    pub event: Event,
}

/// Who did something.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// Somebody over the API.
    Person {
        /// Who.
        person: PersonId,
        /// In which organisation, if in one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        organisation: Option<OrganisationId>,
        /// Through what; nothing where the act is the sign-in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<Through>,
        /// From where.
        from: IpAddr,
    },
    /// Somebody at the machine, by the name that the process has for it.
    Operator(String),
    /// A process on its own account: an expiry, an answer of the venue.
    Venue,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Somebody new.
    PersonAdded {
        /// Who.
        person: Person,
    },
    /// A passkey.
    PasskeyAdded {
        /// It.
        passkey: Box<PasskeyRecord>,
    },
    /// A passkey signed; its counter and its backup state are as it says.
    PasskeyUsed {
        /// It, after the use.
        passkey: Box<PasskeyRecord>,
    },
    /// A passkey is no longer accepted.
    PasskeyRemoved {
        /// Which.
        passkey: PasskeyId,
    },
    /// Somebody signed in.
    LoginStarted {
        /// The login.
        login: Login,
    },
    /// A login is still used; written down now and then.
    LoginUsed {
        /// Which.
        login: LoginId,
    },
    /// Somebody signed out, or was.
    LoginEnded {
        /// Which.
        login: LoginId,
    },
    /// An organisation, with its first owner.
    OrganisationAdded {
        /// It.
        organisation: Organisation,
    },
    /// An invitation.
    InvitationMade {
        /// It.
        invitation: Invitation,
    },
    /// An invitation is taken back.
    InvitationWithdrawn {
        /// Which.
        invitation: InvitationId,
    },
    /// A member by an invitation, which is used up.
    MemberAdded {
        /// In which organisation.
        organisation: OrganisationId,
        /// Who.
        person: PersonId,
        /// As what.
        role: Role,
        /// By which invitation.
        invitation: InvitationId,
    },
    /// Another role.
    RoleChanged {
        /// In which organisation.
        organisation: OrganisationId,
        /// Who.
        person: PersonId,
        /// Now.
        role: Role,
    },
    /// No longer a member; its API keys end with it.
    MemberRemoved {
        /// Of which organisation.
        organisation: OrganisationId,
        /// Who.
        person: PersonId,
    },
    /// An account of an organisation.
    AccountAdded {
        /// It.
        account: Account,
    },
    /// An API key.
    ApiKeyMade {
        /// It.
        key: ApiKey,
    },
    /// An API key is no longer accepted.
    ApiKeyRevoked {
        /// Which.
        key: ApiKeyId,
    },
    /// A grant.
    GrantMade {
        /// It.
        grant: Grant,
    },
    /// A grant opens nothing any more.
    GrantRevoked {
        /// Which.
        grant: B256,
    },
    /// The venue is to be asked for a trading session.
    SessionOpening {
        /// It.
        session: TradingSession,
    },
    /// The venue has it.
    SessionOpened {
        /// Which.
        session: SessionId,
        /// Its answer.
        opened: Opened,
    },
    /// The venue is to be asked to end it.
    SessionEnding {
        /// Which.
        session: SessionId,
        /// Why.
        reason: String,
    },
    /// The venue does not have it.
    SessionEnded {
        /// Which.
        session: SessionId,
    },
    /// Something that another part of the exchange did for somebody: a withdrawal, a limit, a configuration.
    Action {
        /// What was asked, by its permission's name or the operator's verb.
        what: String,
        /// The particulars; no secrets.
        detail: serde_json::Value,
        /// Whether it was done, and if not, why.
        outcome: String,
    },
}

impl Event {
    /// What kind it is, as the log names it.
    #[must_use]
    pub fn kind(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let kind = value.as_object().and_then(|it| it.keys().next());
        kind.cloned().unwrap_or_default()
    }

    /// The event as others may see it: its `kind` and fields, without digests of secrets, and without sealed secrets.
    #[must_use]
    pub fn public(&self) -> serde_json::Value {
        let value = serde_json::to_value(self).unwrap_or_default();
        let serde_json::Value::Object(whole) = value else {
            return value;
        };
        let mut public = serde_json::Map::new();
        for (kind, fields) in whole {
            public.insert("kind".to_owned(), kind.into());
            if let serde_json::Value::Object(fields) = fields {
                public.extend(fields);
            }
        }
        for (record, field) in [
            ("login", "token"),
            ("invitation", "code"),
            ("key", "proof"),
            ("passkey", "credential"),
        ] {
            if let Some(record) = public.get_mut(record).and_then(|it| it.as_object_mut()) {
                record.remove(field);
            }
        }
        public.into()
    }
}
