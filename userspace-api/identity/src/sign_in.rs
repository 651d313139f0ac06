//! Logins: how they begin by wallet, what they give, how they end.

use crate::caller::{Caller, Credential};
use crate::event::{Actor, Event};
use crate::identity::{Identity, LOGIN_TOKEN};
use crate::ids::{LoginId, PersonId};
use crate::records::{Login, Person, SignedInBy};
use crate::refused::Refused;
use crate::secret::{Secret, random};
use crate::state::{State, kind};
use crate::wallet::{Expected, signer};
use alloy_primitives::hex;
use std::net::IpAddr;

/// How far a wallet's clock may be ahead, in milliseconds.
const SKEW_MS: u64 = 60_000;

/// Logins of one person at once; above it the oldest ends.
const LOGINS_MAX: usize = 32;

/// Somebody has signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub person: PersonId,
    /// The login.
    pub login: LoginId,
    /// Its token: for the cookie, or for `Authorization: Bearer`.
    pub token: Secret,
    /// Its end whatever happens, in milliseconds of Unix time.
    pub until_ms: u64,
}

impl Identity {
    /// A nonce for a sign-in message, and its end in milliseconds of Unix time.
    #[must_use]
    pub fn nonce(&self) -> (String, u64) {
        self.nonces.give(self.now_ms())
    }

    /// Signs somebody in by a signed message of EIP-4361. A wallet that is not known becomes a person, a member of nothing.
    ///
    /// # Errors
    /// What does not hold, or too often from this address.
    pub fn sign_in_by_wallet(
        &self,
        message: &str,
        signature: &str,
        from: IpAddr,
    ) -> Result<SignedIn, Refused> {
        let now_ms = self.now_ms();
        self.attempts.take(from, now_ms)?;
        let expected = Expected {
            origin: &self.config.origin,
            chain_ids: &self.config.chain_ids,
            now_ms,
            skew_ms: SKEW_MS,
            age_ms: self.config.nonce_ms,
        };
        let (message, wallet) = signer(message, signature, &expected)?;
        self.nonces.spend(&message.nonce, now_ms)?;
        if self.read(|state| state.person_of_wallet(&wallet).is_none()) {
            self.newcomers
                .take(std::net::Ipv4Addr::UNSPECIFIED.into(), now_ms)?;
        }
        self.change(
            |signed_in: &SignedIn| Actor::Person {
                person: signed_in.person,
                organisation: None,
                through: None,
                from,
            },
            |state, now_ms| {
                let mut events = Vec::new();
                let person = match state.person_of_wallet(&wallet) {
                    Some(person) => person.id,
                    None => {
                        let id = PersonId(state.next(kind::PERSON));
                        let person = Person {
                            id,
                            name: wallet.to_string(),
                            handle: hex::encode(random::<16>()),
                            wallets: vec![wallet],
                            since_ms: now_ms,
                        };
                        events.push(Event::PersonAdded { person });
                        id
                    }
                };
                let by = SignedInBy::Wallet(wallet);
                let (signed_in, login) = self.new_login(state, person, by, now_ms);
                let mut logins = state.logins.values().filter(|it| it.person == person);
                if logins.clone().count() >= LOGINS_MAX
                    && let Some(oldest) = logins.next()
                {
                    events.push(Event::LoginEnded { login: oldest.id });
                }
                events.push(login);
                Ok((signed_in, events))
            },
        )
    }

    pub(crate) fn new_login(
        &self,
        state: &State,
        person: PersonId,
        by: SignedInBy,
        now_ms: u64,
    ) -> (SignedIn, Event) {
        let token = Secret::new(LOGIN_TOKEN);
        let login = Login {
            id: LoginId(state.next(kind::LOGIN)),
            person,
            by,
            token: token.digest(),
            since_ms: now_ms,
            until_ms: now_ms.saturating_add(self.config.login_ms),
            used_ms: now_ms,
        };
        let signed_in = SignedIn {
            person,
            login: login.id,
            token,
            until_ms: login.until_ms,
        };
        (signed_in, Event::LoginStarted { login })
    }

    /// Ends the caller's login, or all of its person's.
    ///
    /// # Errors
    /// The caller is an API key; the disk.
    pub fn sign_out(&self, caller: &Caller, everywhere: bool) -> Result<(), Refused> {
        let Credential::Login { login, .. } = caller.credential else {
            let what = "an API key does not sign out; revoke it".to_owned();
            return Err(Refused::Invalid(what));
        };
        self.change(
            |()| crate::identity::actor(caller),
            |state, now_ms| {
                self.renewed(state, caller, now_ms)?;
                let all = state.logins.values();
                let mine = all.filter(|it| it.person == caller.person);
                let ended = mine.filter(|it| everywhere || it.id == login);
                let ended = ended.map(|it| Event::LoginEnded { login: it.id });
                Ok(((), ended.collect()))
            },
        )
    }

    /// Who the caller is.
    ///
    /// # Errors
    /// It is no longer there.
    pub fn person(&self, caller: &Caller) -> Result<Person, Refused> {
        let person = self.read(|state| state.people.get(&caller.person).cloned());
        person.ok_or(Refused::BadCredential)
    }
}
