//! Who is asking, by which credential, as what: the answer to a request's credential, and what follows from it.

use crate::ids::{ApiKeyId, LoginId, OrganisationId, PersonId};
use crate::permission::{Permission, Role, Scope, SignIn};
use crate::records::{SignedInBy, Through};
use crate::refused::Refused;
use std::net::IpAddr;

/// What a caller proved itself by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Credential {
    /// A login.
    Login {
        /// Which.
        login: LoginId,
        /// How it came about.
        by: SignedInBy,
    },
    /// An API key.
    ApiKey {
        /// Which.
        key: ApiKeyId,
        /// What it is for.
        scopes: Vec<Scope>,
    },
}

/// As what a caller acts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Membership {
    /// In which organisation.
    pub organisation: OrganisationId,
    /// As what.
    pub role: Role,
    /// The organisation's accounts: the engine's indexes.
    pub accounts: Vec<u32>,
}

/// Who is asking. True at the moment of its request; whoever keeps it longer (a WebSocket) asks [`Identity::renew`](crate::Identity::renew) again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// Who.
    pub person: PersonId,
    /// By what.
    pub credential: Credential,
    /// As what; nothing for somebody who is a member of no organisation, or of several and named none.
    pub membership: Option<Membership>,
    /// From where.
    pub from: IpAddr,
}

impl Caller {
    /// In which organisation.
    #[must_use]
    pub fn organisation(&self) -> Option<OrganisationId> {
        self.membership.as_ref().map(|it| it.organisation)
    }

    /// As what.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.membership.as_ref().map(|it| it.role)
    }

    /// What an API key is for; a login has no scopes, its role decides alone.
    #[must_use]
    pub fn scopes(&self) -> Option<&[Scope]> {
        match &self.credential {
            Credential::ApiKey { scopes, .. } => Some(scopes),
            Credential::Login { .. } => None,
        }
    }

    /// The accounts it may speak of.
    #[must_use]
    pub fn accounts(&self) -> &[u32] {
        self.membership.as_ref().map_or(&[], |it| &it.accounts)
    }

    /// Its credential's name.
    #[must_use]
    pub fn through(&self) -> Through {
        match self.credential {
            Credential::Login { login, .. } => Through::Login(login),
            Credential::ApiKey { key, .. } => Through::ApiKey(key),
        }
    }

    /// Whether it may do this without an owner-key signature.
    ///
    /// # Errors
    /// Why not; always for what carries an owner-key signature, where [`Identity::owner_signed`](crate::Identity::owner_signed) is the only way.
    pub fn may(&self, permission: Permission) -> Result<(), Refused> {
        self.has(permission)?;
        if permission.rule().owner_key {
            return Err(Refused::OwnerKey { permission });
        }
        Ok(())
    }

    /// Whether it may do this to one of its accounts.
    ///
    /// # Errors
    /// Why not: another organisation's account is as one that is not there.
    pub fn may_for(&self, permission: Permission, account: u32) -> Result<(), Refused> {
        self.may(permission)?;
        self.owns(account)
    }

    /// Whether it may bring a request for one of its accounts that carries an owner-key signature, where the table asks for one. It is not done by
    /// this alone: what is done with the signature goes through [`Identity::owner_signed`](crate::Identity::owner_signed).
    ///
    /// # Errors
    /// As [`may_for`](Caller::may_for), the owner key aside.
    pub fn may_bring(&self, permission: Permission, account: u32) -> Result<(), Refused> {
        self.has(permission)?;
        self.owns(account)
    }

    pub(crate) fn owns(&self, account: u32) -> Result<(), Refused> {
        if self.accounts().contains(&account) {
            Ok(())
        } else {
            Err(Refused::NotFound("account"))
        }
    }

    /// Whether the table gives it a permission, the owner key aside: what it may ask for. To let something be done, ask [`may`](Caller::may).
    ///
    /// # Errors
    /// Why not.
    pub fn has(&self, permission: Permission) -> Result<(), Refused> {
        let rule = permission.rule();
        match &self.credential {
            Credential::ApiKey { .. } if rule.scopes.is_empty() => {
                return Err(Refused::PeopleOnly { permission });
            }
            Credential::ApiKey { scopes, .. } => {
                if !rule.scopes.iter().any(|scope| scopes.contains(scope)) {
                    let scopes = rule.scopes;
                    return Err(Refused::Scope { permission, scopes });
                }
            }
            Credential::Login { by, .. } => {
                if rule.sign_in == SignIn::Wallet && matches!(by, SignedInBy::Passkey(_)) {
                    return Err(Refused::WalletOnly { permission });
                }
            }
        }
        if rule.roles.is_empty() {
            return Ok(());
        }
        let role = self.role().ok_or(Refused::NoOrganisation { permission })?;
        if !role.has(permission) {
            return Err(Refused::Role { permission, role });
        }
        Ok(())
    }
}
