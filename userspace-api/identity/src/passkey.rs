//! Sign-in by passkey: ceremonies of WebAuthn, which begin with a challenge and end with an answer, once and in time.
//!
//! A ceremony is kept here and nowhere else: after a restart it begins again. Passkeys are discoverable, so that a sign-in names nobody before the
//! authenticator does, and who asks cannot learn who is known here. User verification is required. A counter that does not rise is refused: the
//! passkey has a copy.

use crate::caller::Caller;
use crate::event::{Actor, Event};
use crate::identity::Identity;
use crate::ids::{Digest, PasskeyId, PersonId};
use crate::permission::Permission;
use crate::records::{PasskeyRecord, Person, SignedInBy};
use crate::refused::Refused;
use crate::secret::random;
use crate::sign_in::SignedIn;
use crate::state::{State, kind};
use alloy_primitives::hex;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use webauthn_rs::prelude::{
    CreationChallengeResponse, DiscoverableAuthentication, DiscoverableKey, Passkey,
    PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential,
    RequestChallengeResponse, Url, Uuid, Webauthn, WebauthnBuilder, WebauthnError,
};
use webauthn_rs_proto::{AuthenticatorSelectionCriteria, ResidentKeyRequirement};

/// Ceremonies at once; above it the oldest is forgotten.
const CEREMONIES_MAX: usize = 16_384;

/// Passkeys of one person.
const PASSKEYS_MAX: usize = 16;

/// Longest name of a person or a thing, in characters.
pub(crate) const NAME_MAX: usize = 64;

pub(crate) struct Passkeys {
    webauthn: Webauthn,
    life_ms: u64,
    begun: Mutex<HashMap<String, Ceremony>>,
}

impl fmt::Debug for Passkeys {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Passkeys")
    }
}

struct Ceremony {
    until_ms: u64,
    what: What,
}

enum What {
    SignIn(Box<DiscoverableAuthentication>),
    Register {
        whose: Whose,
        handle: Uuid,
        state: Box<PasskeyRegistration>,
    },
}

/// For whom a passkey is registered.
enum Whose {
    /// Somebody who is signed in.
    Caller(Box<Caller>),
    /// Somebody new, by an invitation.
    Invited { code: Digest, name: String },
}

/// A ceremony that has begun.
#[derive(Clone, Debug)]
pub struct Begun<T> {
    /// Its name, which the answer says again.
    pub ceremony: String,
    /// For `navigator.credentials`.
    pub challenge: T,
}

impl Passkeys {
    /// `None`: the origin is none.
    pub(crate) fn new(origin: &str, life_ms: u64) -> Option<Passkeys> {
        let url = Url::parse(origin).ok()?;
        if url.origin().ascii_serialization() != origin {
            return None;
        }
        let builder = WebauthnBuilder::new(url.host_str()?, &url).ok()?;
        Some(Passkeys {
            webauthn: builder.rp_name("Ring0").build().ok()?,
            life_ms,
            begun: Mutex::default(),
        })
    }

    fn begin(&self, what: What, now_ms: u64) -> String {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.len() >= CEREMONIES_MAX {
            begun.retain(|_, it| it.until_ms > now_ms);
            let oldest = begun.iter().min_by_key(|(_, it)| it.until_ms);
            if begun.len() >= CEREMONIES_MAX
                && let Some(name) = oldest.map(|(name, _)| name.clone())
            {
                begun.remove(&name);
            }
        }
        let name = hex::encode(random::<16>());
        let until_ms = now_ms.saturating_add(self.life_ms);
        begun.insert(name.clone(), Ceremony { until_ms, what });
        name
    }

    /// Takes a ceremony: it ends with its first answer, good or bad.
    fn take(&self, name: &str, now_ms: u64) -> Result<What, Refused> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let ceremony = begun.remove(name).filter(|it| it.until_ms > now_ms);
        ceremony.map(|it| it.what).ok_or_else(|| {
            Refused::SignIn("the ceremony has ended or was answered; start another".to_owned())
        })
    }
}

fn wrong(error: &WebauthnError) -> Refused {
    Refused::SignIn(match error {
        WebauthnError::CredentialPossibleCompromise => {
            "the passkey's counter did not rise: there is a copy of it; sign in otherwise, and remove it".to_owned()
        }
        error => format!("the passkey's answer is not accepted: {error}"),
    })
}

/// A name that people see.
pub(crate) fn name(text: &str) -> Result<String, Refused> {
    let text = text.trim();
    let good =
        (1..=NAME_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if good {
        Ok(text.to_owned())
    } else {
        let rule = format!("a name has 1 to {NAME_MAX} characters, none of them for control");
        Err(Refused::Invalid(rule))
    }
}

fn of(state: &State, person: PersonId) -> impl Iterator<Item = &PasskeyRecord> {
    let all = state.passkeys.values();
    all.filter(move |it| it.person == person)
}

impl Identity {
    /// Begins a sign-in by passkey. Names nobody.
    ///
    /// # Errors
    /// Too often from this address.
    pub fn start_passkey_sign_in(
        &self,
        from: IpAddr,
    ) -> Result<Begun<RequestChallengeResponse>, Refused> {
        let now_ms = self.now_ms();
        self.attempts.take(from, now_ms)?;
        let started = self.passkeys.webauthn.start_discoverable_authentication();
        let (mut challenge, state) = started.map_err(|error| wrong(&error))?;
        // It is asked for by a button, not by a field that fills itself.
        challenge.mediation = None;
        let ceremony = self.passkeys.begin(What::SignIn(Box::new(state)), now_ms);
        Ok(Begun {
            ceremony,
            challenge,
        })
    }

    /// Ends it: a login.
    ///
    /// # Errors
    /// The answer does not hold, or the ceremony has ended.
    pub fn finish_passkey_sign_in(
        &self,
        ceremony: &str,
        answer: &PublicKeyCredential,
        from: IpAddr,
    ) -> Result<SignedIn, Refused> {
        let now_ms = self.now_ms();
        self.attempts.take(from, now_ms)?;
        let What::SignIn(started) = self.passkeys.take(ceremony, now_ms)? else {
            return Err(Refused::SignIn("the ceremony is a registration".to_owned()));
        };
        let webauthn = &self.passkeys.webauthn;
        let (handle, id) = webauthn
            .identify_discoverable_authentication(answer)
            .map_err(|error| wrong(&error))?;
        self.change(
            |signed_in: &SignedIn| actor(signed_in.person, from),
            |state, now_ms| {
                let unknown = || Refused::SignIn("the passkey is not known here".to_owned());
                let handle = hex::encode(handle.as_bytes());
                let person = state.person_of_handle(&handle).ok_or_else(unknown)?;
                let passkey = of(state, person.id)
                    .find(|it| it.credential.cred_id().as_slice() == id)
                    .ok_or_else(unknown)?;
                let key = DiscoverableKey::from(&passkey.credential);
                // On the records as they are: of two answers at once with one counter, one is refused.
                let result = webauthn
                    .finish_discoverable_authentication_v2(answer, *started, &key)
                    .map_err(|error| wrong(&error))?;
                let mut events = Vec::new();
                let mut used = passkey.clone();
                if used.credential.update_credential(&result) == Some(true) {
                    let passkey = Box::new(used);
                    events.push(Event::PasskeyUsed { passkey });
                }
                let by = SignedInBy::Passkey(passkey.id);
                let (signed_in, login) = self.new_login(state, person.id, by, now_ms);
                events.push(login);
                Ok((signed_in, events))
            },
        )
    }

    /// Begins the registration of a passkey for somebody who is signed in by wallet.
    ///
    /// # Errors
    /// Who it is may not.
    pub fn start_passkey_registration(
        &self,
        caller: &Caller,
    ) -> Result<Begun<CreationChallengeResponse>, Refused> {
        let caller = self.renew(caller)?;
        caller.may(Permission::RegisterPasskey)?;
        let (person, known) = self.read(|state| {
            let known = of(state, caller.person).map(|it| it.credential.cred_id().clone());
            (state.people.get(&caller.person).cloned(), known.collect())
        });
        let person = person.ok_or(Refused::BadCredential)?;
        let handle = hex::decode_to_array(&person.handle).map(Uuid::from_bytes);
        let handle = handle.map_err(|_| Refused::BadCredential)?;
        let whose = Whose::Caller(Box::new(caller));
        self.start_registration(whose, handle, &person.name, known)
    }

    /// Begins the registration of a passkey for somebody new who has an invitation's code.
    ///
    /// # Errors
    /// The code is not good, or too often from this address.
    pub fn start_invited_registration(
        &self,
        code: &str,
        person: &str,
        from: IpAddr,
    ) -> Result<Begun<CreationChallengeResponse>, Refused> {
        let now_ms = self.now_ms();
        self.attempts.take(from, now_ms)?;
        let (code, person) = (Digest::of(code.as_bytes()), name(person)?);
        self.read(|state| crate::organisations::invitation(state, &code, now_ms).map(|_| ()))?;
        let handle = Uuid::from_bytes(random());
        let whose = Whose::Invited {
            code,
            name: person.clone(),
        };
        self.start_registration(whose, handle, &person, Vec::new())
    }

    fn start_registration(
        &self,
        whose: Whose,
        handle: Uuid,
        person: &str,
        known: Vec<webauthn_rs::prelude::CredentialID>,
    ) -> Result<Begun<CreationChallengeResponse>, Refused> {
        let started = self.passkeys.webauthn.start_passkey_registration(
            handle,
            person,
            person,
            (!known.is_empty()).then_some(known),
        );
        let (mut challenge, state) = started.map_err(|error| wrong(&error))?;
        let selection = challenge.public_key.authenticator_selection.take();
        challenge.public_key.authenticator_selection = Some(AuthenticatorSelectionCriteria {
            resident_key: Some(ResidentKeyRequirement::Required),
            require_resident_key: true,
            ..selection.unwrap_or_default()
        });
        let what = What::Register {
            whose,
            handle,
            state: Box::new(state),
        };
        Ok(Begun {
            ceremony: self.passkeys.begin(what, self.now_ms()),
            challenge,
        })
    }

    /// Ends a registration. Somebody invited is a person, a member and signed in then.
    ///
    /// # Errors
    /// The answer does not hold, the ceremony has ended, or what it rested on (the login, the invitation) has.
    pub fn finish_passkey_registration(
        &self,
        ceremony: &str,
        answer: &RegisterPublicKeyCredential,
        passkey_name: &str,
        from: IpAddr,
    ) -> Result<(PasskeyId, Option<SignedIn>), Refused> {
        let now_ms = self.now_ms();
        self.attempts.take(from, now_ms)?;
        let passkey_name = name(passkey_name)?;
        let What::Register {
            whose,
            handle,
            state: started,
        } = self.passkeys.take(ceremony, now_ms)?
        else {
            return Err(Refused::SignIn("the ceremony is a sign-in".to_owned()));
        };
        let webauthn = &self.passkeys.webauthn;
        let credential = webauthn
            .finish_passkey_registration(answer, &started)
            .map_err(|error| wrong(&error))?;
        let record = |state: &State, person, now_ms| {
            new_passkey(state, person, &passkey_name, &credential, now_ms)
        };
        match whose {
            Whose::Caller(caller) => {
                let id = self.act(
                    &caller,
                    Permission::RegisterPasskey,
                    |state, now_ms, caller| {
                        let passkey = record(state, caller.person, now_ms)?;
                        let id = passkey.id;
                        let passkey = Box::new(passkey);
                        Ok((id, vec![Event::PasskeyAdded { passkey }]))
                    },
                )?;
                Ok((id, None))
            }
            Whose::Invited { code, name } => self
                .change(
                    |(_, signed_in): &(PasskeyId, SignedIn)| actor(signed_in.person, from),
                    |state, now_ms| {
                        let invitation = crate::organisations::invitation(state, &code, now_ms)?;
                        let person = Person {
                            id: PersonId(state.next(kind::PERSON)),
                            name,
                            handle: hex::encode(handle.as_bytes()),
                            wallets: Vec::new(),
                            since_ms: now_ms,
                        };
                        let passkey = record(state, person.id, now_ms)?;
                        let (id, by) = (passkey.id, SignedInBy::Passkey(passkey.id));
                        let (signed_in, login) = self.new_login(state, person.id, by, now_ms);
                        let member = Event::MemberAdded {
                            organisation: invitation.organisation,
                            person: person.id,
                            role: invitation.role,
                            invitation: invitation.id,
                        };
                        let passkey = Box::new(passkey);
                        let events = vec![
                            Event::PersonAdded { person },
                            Event::PasskeyAdded { passkey },
                            member,
                            login,
                        ];
                        Ok(((id, signed_in), events))
                    },
                )
                .map(|(id, signed_in)| (id, Some(signed_in))),
        }
    }

    /// Removes a passkey of one's own; logins by it end.
    ///
    /// # Errors
    /// It is not there.
    pub fn remove_passkey(&self, caller: &Caller, passkey: PasskeyId) -> Result<(), Refused> {
        self.act(caller, Permission::RegisterPasskey, |state, _, caller| {
            let found = of(state, caller.person).find(|it| it.id == passkey);
            found.ok_or(Refused::NotFound("passkey"))?;
            let by = SignedInBy::Passkey(passkey);
            let logins = state.logins.values().filter(|it| it.by == by);
            let ended = logins.map(|it| Event::LoginEnded { login: it.id });
            let mut events = vec![Event::PasskeyRemoved { passkey }];
            events.extend(ended);
            Ok(((), events))
        })
    }

    /// A person's passkeys.
    #[must_use]
    pub fn passkeys(&self, caller: &Caller) -> Vec<PasskeyRecord> {
        self.read(|state| of(state, caller.person).cloned().collect())
    }
}

fn new_passkey(
    state: &State,
    person: PersonId,
    name: &str,
    credential: &Passkey,
    now_ms: u64,
) -> Result<PasskeyRecord, Refused> {
    let mut all = state.passkeys.values();
    if all.any(|it| it.credential.cred_id() == credential.cred_id()) {
        let again = "the passkey is registered already".to_owned();
        return Err(Refused::Conflict(again));
    }
    if of(state, person).count() >= PASSKEYS_MAX {
        return Err(Refused::Conflict(format!(
            "a person has at most {PASSKEYS_MAX} passkeys; remove one"
        )));
    }
    Ok(PasskeyRecord {
        id: PasskeyId(state.next(kind::PASSKEY)),
        person,
        name: name.to_owned(),
        credential: credential.clone(),
        since_ms: now_ms,
    })
}

fn actor(person: PersonId, from: IpAddr) -> Actor {
    Actor::Person {
        person,
        organisation: None,
        through: None,
        from,
    }
}
