//! Organisations: members and their roles, invitations, accounts, API keys.

use crate::caller::{Caller, Credential};
use crate::event::Event;
use crate::identity::{BEARER_KEY, Done, Identity, place};
use crate::ids::{ApiKeyId, Digest, InvitationId, OrganisationId, PersonId};
use crate::passkey::name;
use crate::permission::{Permission, Role, Scope};
use crate::records::{Account, ApiKey, ApiKeyProof, Invitation, Organisation, SignedInBy, Through};
use crate::refused::Refused;
use crate::secret::Secret;
use crate::state::{State, kind};
use crate::trading::ending;
use alloy_primitives::Address;
use ipnet::IpNet;
use std::net::IpAddr;

/// Organisations that one person is the owner of.
const OWNED_MAX: usize = 16;

/// Members, invitations, accounts of an organisation, API keys of a person in it.
const EACH_MAX: usize = 1_024;

/// What an invitation's code begins with.
pub const INVITATION_CODE: &str = "r0i_";

/// What a signing API key's secret begins with.
pub const SIGNING_KEY: &str = "r0h_";

/// An API key as it is asked for.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What the person calls it.
    pub name: String,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// From where it may be used; none: from everywhere.
    pub networks: Vec<IpNet>,
    /// Its end, in milliseconds of Unix time.
    pub until_ms: u64,
    /// Whether it signs its requests; a key that does not only reads.
    pub signs: bool,
}

/// An invitation that still holds.
pub(crate) fn invitation<'a>(
    state: &'a State,
    code: &Digest,
    now_ms: u64,
) -> Result<&'a Invitation, Refused> {
    let found = state.invitation_of_code(code);
    let found = found.filter(|it| it.until_ms > now_ms);
    // The one who invited is still an owner, or its invitations have gone with its role.
    let found = found.filter(|it| state.role(it.organisation, it.by) == Some(Role::Owner));
    found.ok_or(Refused::NotFound("invitation"))
}

fn mine<'a>(
    state: &'a State,
    caller: &Caller,
    permission: Permission,
) -> Result<&'a Organisation, Refused> {
    let id = caller.organisation();
    let id = id.ok_or(Refused::NoOrganisation { permission })?;
    let found = state.organisations.get(&id);
    found.ok_or(Refused::NotFound("organisation"))
}

/// An organisation without an owner could not be helped by anybody in it.
fn other_owner(organisation: &Organisation, person: PersonId) -> Result<(), Refused> {
    let mut members = organisation.members.iter();
    if members.any(|(id, role)| *id != person && *role == Role::Owner) {
        return Ok(());
    }
    let only = "it is the only owner; make another member an owner first".to_owned();
    Err(Refused::Conflict(only))
}

fn full(what: &str) -> Refused {
    Refused::Conflict(format!(
        "there are {EACH_MAX} {what}, as many as there may be"
    ))
}

impl Identity {
    /// Makes an organisation; the caller is its owner.
    ///
    /// # Errors
    /// Why not.
    pub fn create_organisation(
        &self,
        caller: &Caller,
        called: &str,
    ) -> Result<Organisation, Refused> {
        let called = name(called)?;
        self.act(
            caller,
            Permission::CreateOrganisation,
            |state, now_ms, caller| {
                let own = state.organisations_of(caller.person);
                let own = own.filter(|it| it.members.get(&caller.person) == Some(&Role::Owner));
                if own.count() >= OWNED_MAX {
                    return Err(Refused::Conflict(format!(
                        "a person owns at most {OWNED_MAX} organisations"
                    )));
                }
                let organisation = Organisation {
                    id: OrganisationId(state.next(kind::ORGANISATION)),
                    name: called,
                    members: [(caller.person, Role::Owner)].into(),
                    accounts: Vec::new(),
                    since_ms: now_ms,
                };
                let event = Event::OrganisationAdded {
                    organisation: organisation.clone(),
                };
                Ok((organisation, vec![event]))
            },
        )
    }

    /// The organisations that the caller is a member of.
    #[must_use]
    pub fn organisations(&self, caller: &Caller) -> Vec<Organisation> {
        let only = match caller.credential {
            Credential::ApiKey { .. } => caller.organisation(),
            Credential::Login { .. } => None,
        };
        self.read(|state| {
            let all = state.organisations_of(caller.person);
            let all = all.filter(|it| only.is_none_or(|only| only == it.id));
            all.cloned().collect()
        })
    }

    /// The caller's organisation.
    ///
    /// # Errors
    /// Why not.
    pub fn organisation(&self, caller: &Caller) -> Result<Organisation, Refused> {
        caller.may(Permission::ReadOrganisation)?;
        self.read(|state| mine(state, caller, Permission::ReadOrganisation).cloned())
    }

    /// Names of people in the caller's organisation.
    ///
    /// # Errors
    /// Why not.
    pub fn members(&self, caller: &Caller) -> Result<Vec<(PersonId, String, Role)>, Refused> {
        caller.may(Permission::ReadOrganisation)?;
        self.read(|state| {
            let of = mine(state, caller, Permission::ReadOrganisation)?;
            let name = |id| {
                state
                    .people
                    .get(id)
                    .map_or(String::new(), |it| it.name.clone())
            };
            let members = of.members.iter();
            Ok(members.map(|(id, role)| (*id, name(id), *role)).collect())
        })
    }

    /// Invites somebody: the code is for whoever is given it, once.
    ///
    /// # Errors
    /// Why not.
    pub fn invite(&self, caller: &Caller, role: Role) -> Result<(Invitation, Secret), Refused> {
        let code = Secret::new(INVITATION_CODE);
        let digest = code.digest();
        let invitation = self.act(
            caller,
            Permission::ManageMembers,
            |state, now_ms, caller| {
                let of = mine(state, caller, Permission::ManageMembers)?;
                let waiting = state
                    .invitations
                    .values()
                    .filter(|it| it.organisation == of.id);
                if waiting.count() + of.members.len() >= EACH_MAX {
                    return Err(full("members and invitations"));
                }
                let invitation = Invitation {
                    id: InvitationId(state.next(kind::INVITATION)),
                    organisation: of.id,
                    role,
                    by: caller.person,
                    code: digest,
                    until_ms: now_ms.saturating_add(self.config.invitation_ms),
                };
                let event = Event::InvitationMade {
                    invitation: invitation.clone(),
                };
                Ok((invitation, vec![event]))
            },
        )?;
        Ok((invitation, code))
    }

    /// Invitations of the caller's organisation that wait.
    ///
    /// # Errors
    /// Why not.
    pub fn invitations(&self, caller: &Caller) -> Result<Vec<Invitation>, Refused> {
        caller.may(Permission::ReadOrganisation)?;
        let (of, now_ms) = (caller.organisation(), self.now_ms());
        self.read(|state| {
            let all = state.invitations.values();
            let mine = all.filter(|it| Some(it.organisation) == of && it.until_ms > now_ms);
            Ok(mine.cloned().collect())
        })
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// Why not.
    pub fn withdraw_invitation(
        &self,
        caller: &Caller,
        invitation: InvitationId,
    ) -> Result<(), Refused> {
        self.act(caller, Permission::ManageMembers, |state, _, caller| {
            let found = state.invitations.get(&invitation);
            let found = found.filter(|it| Some(it.organisation) == caller.organisation());
            found.ok_or(Refused::NotFound("invitation"))?;
            Ok(((), vec![Event::InvitationWithdrawn { invitation }]))
        })
    }

    /// Becomes a member by an invitation's code; for somebody who has signed in.
    ///
    /// # Errors
    /// Why not.
    pub fn accept_invitation(
        &self,
        caller: &Caller,
        code: &str,
    ) -> Result<(OrganisationId, Role), Refused> {
        let now_ms = self.now_ms();
        self.attempts.take(caller.from, now_ms)?;
        if let Credential::ApiKey { .. } = caller.credential {
            let what = "an API key accepts no invitation; sign in".to_owned();
            return Err(Refused::Invalid(what));
        }
        let code = Digest::of(code.as_bytes());
        self.change(
            |_| crate::identity::actor(caller),
            |state, now_ms| {
                let caller = self.renewed(state, caller, now_ms)?;
                let invitation = invitation(state, &code, now_ms)?;
                let (organisation, role) = (invitation.organisation, invitation.role);
                // A member's role is changed by an owner, not by a second invitation.
                if state.role(organisation, caller.person).is_some() {
                    let already = "you are a member of this organisation".to_owned();
                    return Err(Refused::Conflict(already));
                }
                let event = Event::MemberAdded {
                    organisation,
                    person: caller.person,
                    role,
                    invitation: invitation.id,
                };
                Ok(((organisation, role), vec![event]))
            },
        )
    }

    /// Gives a member another role. What it opened and may no longer have ends with it.
    ///
    /// # Errors
    /// Why not.
    pub fn change_role(
        &self,
        caller: &Caller,
        person: PersonId,
        role: Role,
    ) -> Result<Done<()>, Refused> {
        self.act(caller, Permission::ManageMembers, |state, _, caller| {
            let of = mine(state, caller, Permission::ManageMembers)?;
            if !of.members.contains_key(&person) {
                return Err(Refused::NotFound("member"));
            }
            if role != Role::Owner {
                other_owner(of, person)?;
            }
            let mut events = vec![Event::RoleChanged {
                organisation: of.id,
                person,
                role,
            }];
            let loses = !role.has(Permission::OpenTradingSession);
            let ending = ending(
                state,
                &mut events,
                "its opener's role no longer trades",
                |it| loses && it.organisation == of.id && it.is_of(person),
            );
            Ok((Done { value: (), ending }, events))
        })
    }

    /// Removes a member. Its API keys here and the trading sessions that it opened end with it; an account's seat at REST stays, as its grant does. Anybody may leave.
    ///
    /// # Errors
    /// Why not.
    pub fn remove_member(&self, caller: &Caller, person: PersonId) -> Result<Done<()>, Refused> {
        let leaves = caller.person == person && caller.scopes().is_none();
        let permission = if leaves {
            Permission::ReadOrganisation
        } else {
            Permission::ManageMembers
        };
        self.act(caller, permission, |state, _, caller| {
            let of = mine(state, caller, permission)?;
            if !of.members.contains_key(&person) {
                return Err(Refused::NotFound("member"));
            }
            other_owner(of, person)?;
            let mut events = vec![Event::MemberRemoved {
                organisation: of.id,
                person,
            }];
            let ending = ending(
                state,
                &mut events,
                "its opener is no longer a member",
                |it| it.organisation == of.id && it.is_of(person),
            );
            Ok((Done { value: (), ending }, events))
        })
    }

    /// Brings an account into the caller's organisation; its owner key is the wallet that the caller has signed in by, which proves it.
    /// `taken` says whether an index is used otherwise, for instance by the market file. The engine opens it afterwards, which does no harm twice.
    ///
    /// # Errors
    /// Why not.
    pub fn add_account(
        &self,
        caller: &Caller,
        cosigner: Option<Address>,
        accounts_max: u32,
        taken: impl Fn(u32) -> bool,
    ) -> Result<Account, Refused> {
        self.act(caller, Permission::ManageAccounts, |state, _, caller| {
            let of = mine(state, caller, Permission::ManageAccounts)?;
            let Credential::Login {
                by: SignedInBy::Wallet(owner),
                ..
            } = caller.credential
            else {
                let permission = Permission::ManageAccounts;
                return Err(Refused::WalletOnly { permission });
            };
            if of.accounts.len() >= EACH_MAX {
                return Err(full("accounts"));
            }
            let used = |index: u32| state.accounts.contains_key(&index) || taken(index);
            let free = (0..accounts_max).find(|it| !used(*it));
            let index = free.ok_or_else(|| {
                Refused::Conflict("the venue has no account left; ask its operator".to_owned())
            })?;
            let account = Account {
                index,
                organisation: of.id,
                owner,
                cosigner: cosigner.unwrap_or(owner),
            };
            Ok((account, vec![Event::AccountAdded { account }]))
        })
    }

    /// Brings an account that the market file has into an organisation, at the operator's word.
    ///
    /// # Errors
    /// The organisation is not there, or the account is somebody's.
    pub fn assign_account(&self, operator: &str, account: Account) -> Result<(), Refused> {
        self.change(
            |()| crate::event::Actor::Operator(operator.to_owned()),
            |state, _| {
                if !state.organisations.contains_key(&account.organisation) {
                    return Err(Refused::NotFound("organisation"));
                }
                if state.accounts.contains_key(&account.index) {
                    let taken = format!("account {} is somebody's already", account.index);
                    return Err(Refused::Conflict(taken));
                }
                Ok(((), vec![Event::AccountAdded { account }]))
            },
        )
    }

    /// An account of the caller's.
    ///
    /// # Errors
    /// Why not.
    pub fn account(&self, caller: &Caller, index: u32) -> Result<Account, Refused> {
        caller.may_for(Permission::ReadAccounts, index)?;
        let account = self.read(|state| state.accounts.get(&index).copied());
        account.ok_or(Refused::NotFound("account"))
    }

    /// All accounts, by index; for other parts of the exchange.
    #[must_use]
    pub fn account_records(&self) -> Vec<Account> {
        self.read(|state| state.accounts.values().copied().collect())
    }

    /// Whose an account is; for other parts of the exchange.
    #[must_use]
    pub fn account_record(&self, index: u32) -> Option<Account> {
        self.read(|state| state.accounts.get(&index).copied())
    }

    /// Makes an API key of the caller's own. The secret is shown once.
    ///
    /// # Errors
    /// Why not: a scope of which the caller's role has nothing, a bearer key that would do more than read, a life that is too long.
    pub fn create_api_key(
        &self,
        caller: &Caller,
        wanted: &NewApiKey,
    ) -> Result<(ApiKey, Secret), Refused> {
        let called = name(&wanted.name)?;
        let mut scopes = wanted.scopes.clone();
        scopes.sort();
        scopes.dedup();
        let invalid = |text: String| Err(Refused::Invalid(text));
        if scopes.is_empty() {
            return invalid("an API key has at least one scope".to_owned());
        }
        if !wanted.signs && scopes != [Scope::Read] {
            return invalid(
                "a key that sends its secret only reads; make one that signs".to_owned(),
            );
        }
        if wanted.networks.len() > 64 {
            return invalid("an API key names at most 64 networks".to_owned());
        }
        self.act(
            caller,
            Permission::ManageOwnApiKeys,
            |state, now_ms, caller| {
                let of = mine(state, caller, Permission::ManageOwnApiKeys)?;
                let role = caller.role().ok_or(Refused::NotFound("organisation"))?;
                for scope in &scopes {
                    let rules = crate::permission::TABLE.iter();
                    let mut of_scope = rules.filter(|it| it.scopes.contains(scope));
                    if !of_scope.any(|it| role.has(it.permission)) {
                        return Err(Refused::Invalid(format!(
                            "the role {role} has nothing of the scope {scope}"
                        )));
                    }
                }
                if wanted.until_ms <= now_ms || wanted.until_ms > now_ms + self.config.api_key_ms {
                    return Err(Refused::Invalid(format!(
                        "an API key ends after now and within {} days",
                        self.config.api_key_ms / (24 * 60 * 60 * 1_000)
                    )));
                }
                let keys = state.api_keys.values();
                let own = keys.filter(|it| it.person == caller.person && it.organisation == of.id);
                if own.count() >= EACH_MAX {
                    return Err(full("API keys"));
                }
                let id = ApiKeyId(state.next(kind::API_KEY));
                let (secret, proof) = if wanted.signs {
                    let secret = Secret::new(SIGNING_KEY);
                    let sealed = self.sealing.seal(secret.expose().as_bytes(), &place(id));
                    (secret, ApiKeyProof::Signed(sealed))
                } else {
                    let secret = Secret::new(&format!("{BEARER_KEY}{id}_"));
                    let proof = ApiKeyProof::Bearer(secret.digest());
                    (secret, proof)
                };
                let key = ApiKey {
                    id,
                    organisation: of.id,
                    person: caller.person,
                    name: called,
                    scopes,
                    networks: wanted.networks.clone(),
                    proof,
                    since_ms: now_ms,
                    until_ms: wanted.until_ms,
                };
                let event = Event::ApiKeyMade { key: key.clone() };
                Ok(((key, secret), vec![event]))
            },
        )
    }

    /// API keys of the caller's organisation.
    ///
    /// # Errors
    /// Why not.
    pub fn api_keys(&self, caller: &Caller) -> Result<Vec<ApiKey>, Refused> {
        caller.may(Permission::ReadOrganisation)?;
        self.read(|state| {
            let all = state.api_keys.values();
            let mine = all.filter(|it| Some(it.organisation) == caller.organisation());
            Ok(mine.cloned().collect())
        })
    }

    /// Revokes an API key, one's own or, as owner or risk, another member's. Trading sessions that it opened end.
    ///
    /// # Errors
    /// Why not.
    pub fn revoke_api_key(&self, caller: &Caller, key: ApiKeyId) -> Result<Done<()>, Refused> {
        let own = self.read(|state| {
            let key = state.api_keys.get(&key);
            key.is_some_and(|it| it.person == caller.person)
        });
        let permission = if own {
            Permission::ManageOwnApiKeys
        } else {
            Permission::RevokeApiKeys
        };
        let done = self.act(caller, permission, |state, _, caller| {
            let found = state.api_keys.get(&key);
            let found = found.filter(|it| Some(it.organisation) == caller.organisation());
            found.ok_or(Refused::NotFound("API key"))?;
            let mut events = vec![Event::ApiKeyRevoked { key }];
            let ending = ending(
                state,
                &mut events,
                "its opener's API key is revoked",
                |it| it.through == Through::ApiKey(key),
            );
            Ok((Done { value: (), ending }, events))
        })?;
        self.forget_key(key);
        Ok(done)
    }

    /// Who may approve beside somebody: a caller that is another person than the one who asked (CUSTODY 19).
    ///
    /// # Errors
    /// The same person, or no right to.
    pub fn second_approver(&self, caller: &Caller, asked: PersonId) -> Result<(), Refused> {
        caller.may(Permission::ApproveWithdrawal)?;
        if caller.person == asked {
            let same = "the second approver is another person than the first".to_owned();
            return Err(Refused::Conflict(same));
        }
        Ok(())
    }
}

/// Reads networks: `192.0.2.0/24`, `2001:db8::/32`, or one address.
///
/// # Errors
/// What is none.
pub fn networks(texts: &[String]) -> Result<Vec<IpNet>, Refused> {
    let network = |text: &String| {
        let one = || text.parse::<IpAddr>().map(IpNet::from);
        let parsed = text.parse::<IpNet>().or_else(|_| one());
        parsed.map(|it| it.trunc()).map_err(|_| {
            Refused::Invalid(format!(
                "{text:?} is no network: write 192.0.2.0/24, 2001:db8::/32 or one address"
            ))
        })
    };
    texts.iter().map(network).collect()
}
