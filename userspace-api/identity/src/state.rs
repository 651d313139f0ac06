//! All records, as the log's events make them. Who reads them sees one moment.

use crate::event::{Entry, Event};
use crate::ids::{
    ApiKeyId, Digest, InvitationId, LoginId, OrganisationId, PasskeyId, PersonId, SessionId,
};
use crate::permission::Role;
use crate::records::{
    Account, ApiKey, Grant, Invitation, Login, Organisation, PasskeyRecord, Person, Stage,
    TradingSession,
};
use alloy_primitives::{Address, B256};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How long a session that has ended is still known, in milliseconds: longer than an opening that was signed for it is good.
const SESSION_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// The records.
///
/// Always true: an index names what is there and nothing else; an organisation has an owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct State {
    pub(crate) people: BTreeMap<PersonId, Person>,
    pub(crate) passkeys: BTreeMap<PasskeyId, PasskeyRecord>,
    pub(crate) logins: BTreeMap<LoginId, Login>,
    pub(crate) organisations: BTreeMap<OrganisationId, Organisation>,
    pub(crate) accounts: BTreeMap<u32, Account>,
    pub(crate) invitations: BTreeMap<InvitationId, Invitation>,
    pub(crate) api_keys: BTreeMap<ApiKeyId, ApiKey>,
    pub(crate) grants: BTreeMap<B256, Grant>,
    pub(crate) sessions: BTreeMap<SessionId, TradingSession>,
    /// The next of every kind of number; none is used twice.
    next: BTreeMap<&'static str, u64>,
    now_ms: u64,
    #[serde(skip)]
    memberships: HashMap<PersonId, BTreeSet<OrganisationId>>,
    #[serde(skip)]
    wallets: HashMap<Address, PersonId>,
    #[serde(skip)]
    handles: HashMap<String, PersonId>,
    #[serde(skip)]
    tokens: HashMap<Digest, LoginId>,
    #[serde(skip)]
    codes: HashMap<Digest, InvitationId>,
    #[serde(skip)]
    openings: HashMap<B256, SessionId>,
}

/// Kinds of numbers.
pub(crate) mod kind {
    pub(crate) const PERSON: &str = "person";
    pub(crate) const PASSKEY: &str = "passkey";
    pub(crate) const LOGIN: &str = "login";
    pub(crate) const ORGANISATION: &str = "organisation";
    pub(crate) const INVITATION: &str = "invitation";
    pub(crate) const API_KEY: &str = "api-key";
    pub(crate) const SESSION: &str = "session";
}

/// An event that does not fit what was before it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}; the log was written by another version or put together from parts")]
pub struct Misfit(String);

fn known<'a, K: Ord + std::fmt::Debug, V>(
    records: &'a mut BTreeMap<K, V>,
    id: &K,
) -> Result<&'a mut V, Misfit> {
    match records.get_mut(id) {
        Some(record) => Ok(record),
        None => Err(Misfit(format!("it speaks of {id:?}, which is not there"))),
    }
}

impl State {
    /// The next number of a kind.
    pub(crate) fn next(&self, kind: &str) -> u64 {
        self.next.get(kind).copied().unwrap_or(1)
    }

    fn used(&mut self, kind: &'static str, id: u64) {
        let next = self.next.entry(kind).or_insert(1);
        *next = (*next).max(id.saturating_add(1));
    }

    pub(crate) fn person_of_wallet(&self, wallet: &Address) -> Option<&Person> {
        self.people.get(self.wallets.get(wallet)?)
    }

    pub(crate) fn person_of_handle(&self, handle: &str) -> Option<&Person> {
        self.people.get(self.handles.get(handle)?)
    }

    pub(crate) fn login_of_token(&self, token: &Digest) -> Option<&Login> {
        self.logins.get(self.tokens.get(token)?)
    }

    pub(crate) fn invitation_of_code(&self, code: &Digest) -> Option<&Invitation> {
        self.invitations.get(self.codes.get(code)?)
    }

    pub(crate) fn session_of_opening(&self, opening: &B256) -> Option<&TradingSession> {
        self.sessions.get(self.openings.get(opening)?)
    }

    pub(crate) fn role(&self, organisation: OrganisationId, person: PersonId) -> Option<Role> {
        let organisation = self.organisations.get(&organisation)?;
        organisation.members.get(&person).copied()
    }

    fn join(&mut self, person: PersonId, organisation: OrganisationId) {
        let all = self.memberships.entry(person).or_default();
        all.insert(organisation);
    }

    fn end_login(&mut self, id: LoginId) {
        if let Some(login) = self.logins.remove(&id) {
            self.tokens.remove(&login.token);
        }
    }

    fn end_invitation(&mut self, id: InvitationId) {
        if let Some(invitation) = self.invitations.remove(&id) {
            self.codes.remove(&invitation.code);
        }
    }

    /// Time of the last entry, milliseconds of Unix time.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Those that a person is a member of.
    pub(crate) fn organisations_of(&self, person: PersonId) -> impl Iterator<Item = &Organisation> {
        let ids = self.memberships.get(&person).into_iter().flatten();
        ids.filter_map(|id| self.organisations.get(id))
    }

    /// Takes an entry of the log in.
    ///
    /// # Errors
    /// It does not fit; nothing has changed.
    pub(crate) fn apply(&mut self, entry: Entry) -> Result<(), Misfit> {
        let at_ms = entry.at_ms;
        match entry.event {
            Event::PersonAdded { person } => {
                self.used(kind::PERSON, person.id.0);
                for wallet in &person.wallets {
                    self.wallets.insert(*wallet, person.id);
                }
                self.handles.insert(person.handle.clone(), person.id);
                self.people.insert(person.id, person);
            }
            Event::PasskeyAdded { passkey } | Event::PasskeyUsed { passkey } => {
                self.used(kind::PASSKEY, passkey.id.0);
                self.passkeys.insert(passkey.id, *passkey);
            }
            Event::PasskeyRemoved { passkey } => {
                self.passkeys.remove(&passkey);
            }
            Event::LoginStarted { login } => {
                self.used(kind::LOGIN, login.id.0);
                self.tokens.insert(login.token, login.id);
                self.logins.insert(login.id, login);
            }
            Event::LoginUsed { login } => known(&mut self.logins, &login)?.used_ms = at_ms,
            Event::LoginEnded { login } => self.end_login(login),
            Event::OrganisationAdded { organisation } => {
                self.used(kind::ORGANISATION, organisation.id.0);
                for person in organisation.members.keys() {
                    self.join(*person, organisation.id);
                }
                self.organisations.insert(organisation.id, organisation);
            }
            Event::InvitationMade { invitation } => {
                self.used(kind::INVITATION, invitation.id.0);
                self.codes.insert(invitation.code, invitation.id);
                self.invitations.insert(invitation.id, invitation);
            }
            Event::InvitationWithdrawn { invitation } => self.end_invitation(invitation),
            Event::MemberAdded {
                organisation,
                person,
                role,
                invitation,
            } => {
                let of = known(&mut self.organisations, &organisation)?;
                of.members.insert(person, role);
                self.join(person, organisation);
                self.end_invitation(invitation);
            }
            Event::RoleChanged {
                organisation,
                person,
                role,
            } => {
                let organisation = known(&mut self.organisations, &organisation)?;
                *known(&mut organisation.members, &person)? = role;
            }
            Event::MemberRemoved {
                organisation,
                person,
            } => {
                let of = known(&mut self.organisations, &organisation)?;
                of.members.remove(&person);
                if let Some(all) = self.memberships.get_mut(&person) {
                    all.remove(&organisation);
                }
                self.api_keys
                    .retain(|_, key| key.organisation != organisation || key.person != person);
            }
            Event::AccountAdded { account } => {
                let organisation = known(&mut self.organisations, &account.organisation)?;
                organisation.accounts.push(account.index);
                self.accounts.insert(account.index, account);
            }
            Event::ApiKeyMade { key } => {
                self.used(kind::API_KEY, key.id.0);
                self.api_keys.insert(key.id, key);
            }
            Event::ApiKeyRevoked { key } => {
                self.api_keys.remove(&key);
            }
            Event::GrantMade { grant } => {
                self.grants.insert(grant.id, grant);
            }
            Event::GrantRevoked { grant } => known(&mut self.grants, &grant)?.revoked = true,
            Event::SessionOpening { session } => {
                self.used(kind::SESSION, session.id.0);
                self.openings.insert(session.opening, session.id);
                self.sessions.insert(session.id, session);
            }
            Event::SessionOpened { session, opened } => {
                let session = known(&mut self.sessions, &session)?;
                session.stage = match session.stage {
                    // It was revoked while the venue was being asked: it is still to be ended, and now it is known what.
                    Stage::Ending(_) => Stage::Ending(Some(opened)),
                    _ => Stage::Open(opened),
                };
            }
            Event::SessionEnding { session, .. } => {
                let session = known(&mut self.sessions, &session)?;
                session.stage = match std::mem::replace(&mut session.stage, Stage::Ended) {
                    Stage::Open(opened) => Stage::Ending(Some(opened)),
                    Stage::Opening => Stage::Ending(None),
                    stage => stage,
                };
            }
            Event::SessionEnded { session } => {
                known(&mut self.sessions, &session)?.stage = Stage::Ended;
            }
            Event::Action { .. } => {}
        }
        self.now_ms = self.now_ms.max(at_ms);
        self.expire();
        Ok(())
    }

    /// Ends what has ended by itself: what is past its end and stands first. Follows from the entries' times alone, so that whoever reads the log again
    /// comes to the same; ends are checked where they matter too.
    fn expire(&mut self) {
        let now_ms = self.now_ms;
        while let Some(login) = self.logins.first_entry()
            && login.get().until_ms <= now_ms
        {
            let login = login.remove();
            self.tokens.remove(&login.token);
        }
        while let Some(invitation) = self.invitations.first_entry()
            && invitation.get().until_ms <= now_ms
        {
            let invitation = invitation.remove();
            self.codes.remove(&invitation.code);
        }
        while let Some(session) = self.sessions.first_entry()
            && session.get().stage == Stage::Ended
            && session.get().since_ms + SESSION_KEPT_MS <= now_ms
        {
            let session = session.remove();
            self.openings.remove(&session.opening);
        }
    }
}
