//! The one object: opens the log, answers who is asking, and writes every change down before it holds.

use crate::api_key::{SCHEME, Seen, Signed, Signing};
use crate::attempts::{Attempts, Pace};
use crate::caller::{Caller, Credential, Membership};
use crate::event::{Actor, Entry, Event};
use crate::ids::{Digest, OrganisationId, PersonId};
use crate::passkey::Passkeys;
use crate::permission::Permission;
use crate::records::{ApiKeyProof, Through, TradingSession};
use crate::refused::Refused;
use crate::secret::{KeyFileError, Sealing};
use crate::state::{Misfit, State};
use crate::wallet::Nonces;
use alloy_primitives::B256;
use ring0_hashlog::{HashLog, Head, LogError};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the log in the folder.
pub const LOG: &str = "audit.log";

/// Name of the key file in the folder, unless [`Config::key_file`] says another place.
pub const KEY_FILE: &str = "api-keys.key";

/// Name of the cookie that carries a login's token.
pub const COOKIE: &str = "__Host-ring0";

/// What a login's token begins with.
pub const LOGIN_TOKEN: &str = "r0s_";

/// What a bearer API key's secret begins with, before its number.
pub const BEARER_KEY: &str = "r0k_";

/// Milliseconds of Unix time.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What does not change while it runs.
#[derive(Clone)]
pub struct Config {
    /// Scheme, host and port of the venue's pages, without a path: `https://trade.example`. Passkeys are bound to its host.
    pub origin: String,
    /// EIP-155 ids of chains whose wallets sign in.
    pub chain_ids: Vec<u64>,
    /// The venue's id: the salt of what owner and session keys sign.
    pub venue: B256,
    /// Names of the shards that sessions are opened on.
    pub shards: Vec<String>,
    /// Where the key that seals API keys' secrets is; `None`: in the folder.
    pub key_file: Option<PathBuf>,
    /// A login ends after so long without use, in milliseconds.
    pub idle_ms: u64,
    /// A login ends after so long whatever happens, in milliseconds.
    pub login_ms: u64,
    /// A nonce, and a started passkey ceremony, end after so long, in milliseconds.
    pub nonce_ms: u64,
    /// An invitation ends after so long, in milliseconds.
    pub invitation_ms: u64,
    /// Longest life of an API key, in milliseconds.
    pub api_key_ms: u64,
    /// Longest life of a grant from when it is given, in seconds (CUSTODY 16).
    pub grant_s: u64,
    /// How often an address may try to sign in, use an invitation, or fail.
    pub attempts: Pace,
    /// How many strangers all together become people.
    pub newcomers: Pace,
    /// What time it is.
    pub clock: Clock,
}

impl fmt::Debug for Config {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Config")
            .field("origin", &self.origin)
            .field("chain_ids", &self.chain_ids)
            .field("venue", &self.venue)
            .finish_non_exhaustive()
    }
}

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

impl Config {
    /// With the usual times: a login half an hour idle and twelve hours in all, grants of a day, API keys of a year.
    #[must_use]
    pub fn new(origin: &str, chain_ids: &[u64], venue: B256, shards: &[&str]) -> Config {
        Config {
            origin: origin.to_owned(),
            chain_ids: chain_ids.to_vec(),
            venue,
            shards: shards.iter().map(|it| (*it).to_owned()).collect(),
            key_file: None,
            idle_ms: 30 * MINUTE_MS,
            login_ms: 12 * 60 * MINUTE_MS,
            nonce_ms: 5 * MINUTE_MS,
            invitation_ms: 7 * DAY_MS,
            api_key_ms: 366 * DAY_MS,
            grant_s: DAY_MS / 1_000,
            // A person needs a few; a list of passwords there is none, so this is about load on signatures and the log.
            attempts: Pace {
                burst: 20,
                every_ms: 3_000,
            },
            newcomers: Pace {
                burst: 1_000,
                every_ms: 1_000,
            },
            clock: Arc::new(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                now.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
            }),
        }
    }
}

/// Why it does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder.
    #[error("the folder {path} cannot be made: {source}", path = .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What the log says.
    #[error("entry {entry} of the log does not follow from those before it: {misfit}")]
    Misfit {
        /// Its number, from 1.
        entry: u64,
        /// Why.
        misfit: Misfit,
    },
    /// The key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The origin.
    #[error(
        "origin {0:?} is none: write scheme, host and port, without a path, for instance https://trade.example"
    )]
    Origin(String),
}

/// What a request shows.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// As it was sent, before `?`.
    pub path: &'a str,
    /// As it was sent, behind `?`; empty without one.
    pub query: &'a str,
    /// Empty without one.
    pub body: &'a [u8],
    /// Header `Authorization`.
    pub authorization: Option<&'a str>,
    /// Header `Cookie`.
    pub cookie: Option<&'a str>,
    /// Header `Origin`.
    pub origin: Option<&'a str>,
    /// Header `Ring0-Organisation`.
    pub organisation: Option<&'a str>,
    /// Where it comes from: the peer's address, or what a trusted proxy says.
    pub from: IpAddr,
}

/// People, organisations and what they may do.
pub struct Identity {
    pub(crate) config: Config,
    pub(crate) state: RwLock<State>,
    log: Mutex<HashLog<Entry>>,
    pub(crate) sealing: Sealing,
    pub(crate) nonces: Nonces,
    pub(crate) passkeys: Passkeys,
    pub(crate) attempts: Attempts,
    pub(crate) newcomers: Attempts,
    seen: Seen,
    pub(crate) reading: Mutex<()>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Identity")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Something that was done, and the trading sessions that must end with it: revoke them at the venue now, then say
/// [`session_ended`](Identity::session_ended).
#[derive(Debug)]
#[must_use = "the trading sessions in it are still in the kernel"]
pub struct Done<T> {
    /// What came of it.
    pub value: T,
    /// To be revoked at the venue.
    pub ending: Vec<TradingSession>,
}

impl Identity {
    /// Opens a folder, or makes it: the log in it is checked and read whole, and the records are what it says.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path, config: Config) -> Result<Identity, OpenError> {
        std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        let passkeys = Passkeys::new(&config.origin, config.nonce_ms)
            .ok_or_else(|| OpenError::Origin(config.origin.clone()))?;
        let key_file = config.key_file.clone();
        let sealing = Sealing::open(&key_file.unwrap_or_else(|| folder.join(KEY_FILE)))?;
        let mut fold = Fold::default();
        let log = HashLog::open_with(&folder.join(LOG), |entry| fold.take(entry))?;
        let state = fold.done()?;
        let now_ms = (config.clock)();
        Ok(Identity {
            nonces: Nonces::new(config.nonce_ms),
            passkeys,
            attempts: Attempts::new(config.attempts),
            newcomers: Attempts::new(config.newcomers),
            seen: Seen::new(now_ms),
            reading: Mutex::default(),
            state: RwLock::new(state),
            log: Mutex::new(log),
            sealing,
            config,
        })
    }

    /// What it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The name of the audit log up to now: each batch root carries it (CUSTODY 19).
    #[must_use]
    pub fn audit_head(&self) -> Head {
        self.audit_at().0
    }

    /// The same with the number of entries that it names.
    #[must_use]
    pub fn audit_at(&self) -> (Head, u64) {
        let log = self.log();
        (log.head(), log.entries())
    }

    /// What time it is here, in milliseconds of Unix time.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.config.clock)()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.log().path().to_owned()
    }

    fn log(&self) -> MutexGuard<'_, HashLog<Entry>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the records.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The one way that anything changes: it is decided on the records as they are, written down, and then done. Nobody changes them meanwhile;
    /// whoever reads them sees them before or after.
    pub(crate) fn change<T>(
        &self,
        actor: impl FnOnce(&T) -> Actor,
        decide: impl FnOnce(&State, u64) -> Result<(T, Vec<Event>), Refused>,
    ) -> Result<T, Refused> {
        let mut log = self.log();
        let (value, events, at_ms) = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let at_ms = self.now_ms().max(state.now_ms());
            let (value, events) = decide(&state, at_ms)?;
            (value, events, at_ms)
        };
        // Decided.
        if events.is_empty() {
            return Ok(value);
        }
        let actor = actor(&value);
        let entries: Vec<_> = events
            .into_iter()
            .map(|event| Entry {
                at_ms,
                actor: actor.clone(),
                event,
            })
            .collect();
        // What is written is what will be read: an entry that this build could not read again would lock everybody out at the next start.
        for entry in &entries {
            let text = serde_json::to_string(entry).map_err(std::io::Error::from)?;
            let again = serde_json::from_str::<Entry>(&text).map_err(std::io::Error::from)?;
            let again = serde_json::to_string(&again).map_err(std::io::Error::from)?;
            if text != again {
                let other = "an entry of the log would be read as another";
                return Err(std::io::Error::other(other).into());
            }
        }
        log.append_all(&entries)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            state.apply(entry).expect("it was decided on this state");
        }
        Ok(value)
    }

    /// Does something for a caller, who is looked at again first: its credential may have ended and its role changed since it was made.
    pub(crate) fn act<T>(
        &self,
        caller: &Caller,
        permission: Permission,
        decide: impl FnOnce(&State, u64, &Caller) -> Result<(T, Vec<Event>), Refused>,
    ) -> Result<T, Refused> {
        self.change(
            |_| actor(caller),
            |state, now_ms| {
                let caller = self.renewed(state, caller, now_ms)?;
                caller.has(permission)?;
                decide(state, now_ms, &caller)
            },
        )
    }

    /// Who is asking.
    ///
    /// # Errors
    /// Nobody, or not somebody who is known here: 401 and 403 of [`Refused::status`], 429 after too many that were not.
    pub fn authenticate(&self, request: &Request<'_>) -> Result<Caller, Refused> {
        let now_ms = self.now_ms();
        let found = self.recognise(request, now_ms);
        if let Err(Refused::BadCredential) = found {
            self.attempts.take(request.from, now_ms)?;
        }
        found
    }

    fn recognise(&self, request: &Request<'_>, now_ms: u64) -> Result<Caller, Refused> {
        let Some(header) = request.authorization else {
            let token = request.cookie.and_then(cookie);
            let token = token.ok_or(Refused::NoCredential)?;
            self.is_own_page(request)?;
            return self.by_login(request, token, now_ms);
        };
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case(SCHEME) {
            return self.by_signature(request, &Signed::parse(rest)?, now_ms);
        }
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(Refused::Malformed(
                "`Authorization` is `Bearer …` or `Ring0-HMAC-SHA256 …`",
            ));
        }
        if rest.starts_with(LOGIN_TOKEN) {
            return self.by_login(request, rest, now_ms);
        }
        self.by_bearer_key(request, rest, now_ms)
    }

    /// A browser sends the cookie for whoever asks it to: what changes something, and whatever names its origin, comes from the venue's own pages.
    fn is_own_page(&self, request: &Request<'_>) -> Result<(), Refused> {
        let reads = matches!(request.method, "GET" | "HEAD" | "OPTIONS");
        let good = match request.origin {
            Some(origin) => origin == self.config.origin,
            None => reads,
        };
        if good {
            Ok(())
        } else {
            let expected = self.config.origin.clone();
            Err(Refused::ForeignOrigin { expected })
        }
    }

    fn by_login(&self, request: &Request<'_>, token: &str, now_ms: u64) -> Result<Caller, Refused> {
        let token = Digest::of(token.as_bytes());
        let wanted = wanted(request.organisation)?;
        let (caller, used_ms) = self.read(|state| {
            let login = state.login_of_token(&token).ok_or(Refused::BadCredential)?;
            let credential = Credential::Login {
                login: login.id,
                by: login.by,
            };
            let caller = Caller {
                person: login.person,
                credential,
                membership: membership(state, login.person, wanted)?,
                from: request.from,
            };
            let used_ms = login.used_ms;
            Ok::<_, Refused>((self.renewed(state, &caller, now_ms)?, used_ms))
        })?;
        // Written down often enough that a login in use does not end, and not with every request.
        if now_ms.saturating_sub(used_ms) > self.config.idle_ms / 4
            && let Through::Login(login) = caller.through()
        {
            self.change(
                |()| actor(&caller),
                |state, _| {
                    let there = state.logins.contains_key(&login);
                    Ok((
                        (),
                        there
                            .then_some(Event::LoginUsed { login })
                            .into_iter()
                            .collect(),
                    ))
                },
            )?;
        }
        Ok(caller)
    }

    fn by_bearer_key(
        &self,
        request: &Request<'_>,
        text: &str,
        now_ms: u64,
    ) -> Result<Caller, Refused> {
        let (key, _) = text
            .strip_prefix(BEARER_KEY)
            .and_then(|it| it.split_once('_'))
            .ok_or(Refused::BadCredential)?;
        let key: u64 = key.parse().map_err(|_| Refused::BadCredential)?;
        let digest = Digest::of(text.as_bytes());
        self.by_key(request, crate::ApiKeyId(key), now_ms, |proof| {
            *proof == ApiKeyProof::Bearer(digest)
        })
    }

    fn by_signature(
        &self,
        request: &Request<'_>,
        signed: &Signed<'_>,
        now_ms: u64,
    ) -> Result<Caller, Refused> {
        self.seen.is_fresh(signed, now_ms)?;
        let signing = Signing {
            method: request.method,
            path: request.path,
            query: request.query,
            body: request.body,
            timestamp_ms: signed.timestamp_ms,
            nonce: signed.nonce,
        };
        let caller = self.by_key(request, signed.key, now_ms, |proof| match proof {
            ApiKeyProof::Signed(sealed) => {
                let secret = self.sealing.unseal(sealed, &place(signed.key));
                secret.is_some_and(|secret| signing.holds(&secret, &signed.signature))
            }
            ApiKeyProof::Bearer(_) => false,
        })?;
        self.seen.take(signed, now_ms)?;
        Ok(caller)
    }

    fn by_key(
        &self,
        request: &Request<'_>,
        key: crate::ApiKeyId,
        now_ms: u64,
        proves: impl FnOnce(&ApiKeyProof) -> bool,
    ) -> Result<Caller, Refused> {
        let wanted = wanted(request.organisation)?;
        self.read(|state| {
            let key = state.api_keys.get(&key).ok_or(Refused::BadCredential)?;
            if !proves(&key.proof) {
                return Err(Refused::BadCredential);
            }
            let caller = Caller {
                person: key.person,
                credential: Credential::ApiKey {
                    key: key.id,
                    scopes: key.scopes.clone(),
                },
                membership: membership(state, key.person, Some(key.organisation))?,
                from: request.from,
            };
            if wanted.is_some_and(|it| it != key.organisation) {
                return Err(Refused::NotFound("organisation"));
            }
            self.renewed(state, &caller, now_ms)
        })
    }

    /// A caller as it is now: for whoever has one longer than a request.
    ///
    /// # Errors
    /// Its credential has ended, or it is no longer a member.
    pub fn renew(&self, caller: &Caller) -> Result<Caller, Refused> {
        let now_ms = self.now_ms();
        self.read(|state| self.renewed(state, caller, now_ms))
    }

    pub(crate) fn renewed(
        &self,
        state: &State,
        caller: &Caller,
        now_ms: u64,
    ) -> Result<Caller, Refused> {
        let mut caller = caller.clone();
        match &mut caller.credential {
            Credential::Login { login, .. } => {
                let login = state.logins.get(login).ok_or(Refused::BadCredential)?;
                let idle_ms = now_ms.saturating_sub(login.used_ms);
                if login.until_ms <= now_ms || idle_ms >= self.config.idle_ms {
                    return Err(Refused::BadCredential);
                }
            }
            Credential::ApiKey { key, scopes } => {
                let key = state.api_keys.get(key).ok_or(Refused::BadCredential)?;
                if key.until_ms <= now_ms {
                    return Err(Refused::BadCredential);
                }
                let from = caller.from.to_canonical();
                if !key.networks.is_empty() && !key.networks.iter().any(|it| it.contains(&from)) {
                    return Err(Refused::Network);
                }
                scopes.clone_from(&key.scopes);
            }
        }
        if let Some(old) = &caller.membership {
            caller.membership = membership(state, caller.person, Some(old.organisation))?;
        }
        Ok(caller)
    }

    /// Writes down what another part of the exchange did for somebody: withdrawals, limits, kills (CUSTODY 19).
    ///
    /// # Errors
    /// The disk: then do not do it.
    pub fn note(
        &self,
        caller: &Caller,
        what: &str,
        detail: serde_json::Value,
        outcome: &str,
    ) -> Result<(), Refused> {
        self.note_of(actor(caller), what, detail, outcome)
    }

    /// As [`note`](Identity::note), of an operator at the machine.
    ///
    /// # Errors
    /// The disk: then do not do it.
    pub fn note_operator(
        &self,
        operator: &str,
        what: &str,
        detail: serde_json::Value,
        outcome: &str,
    ) -> Result<(), Refused> {
        self.note_of(Actor::Operator(operator.to_owned()), what, detail, outcome)
    }

    fn note_of(
        &self,
        actor: Actor,
        what: &str,
        detail: serde_json::Value,
        outcome: &str,
    ) -> Result<(), Refused> {
        let event = Event::Action {
            what: what.to_owned(),
            detail,
            outcome: outcome.to_owned(),
        };
        self.change(|()| actor, |_, _| Ok(((), vec![event])))
    }

    pub(crate) fn forget_key(&self, key: crate::ApiKeyId) {
        self.seen.forget(key);
    }
}

/// Where a sealed secret belongs.
pub(crate) fn place(key: crate::ApiKeyId) -> String {
    format!("api key {key}")
}

/// A caller as the log names it.
pub(crate) fn actor(caller: &Caller) -> Actor {
    Actor::Person {
        person: caller.person,
        organisation: caller.organisation(),
        through: Some(caller.through()),
        from: caller.from,
    }
}

fn cookie(header: &str) -> Option<&str> {
    let mut pairs = header.split(';').filter_map(|it| it.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|it| it.1)
}

fn wanted(header: Option<&str>) -> Result<Option<OrganisationId>, Refused> {
    let wrong = |_| Refused::Malformed("`Ring0-Organisation` is an organisation's number");
    let number = |text: &str| text.trim().parse().map_err(wrong);
    Ok(header.map(number).transpose()?.map(OrganisationId))
}

/// As what a person acts: in the organisation it names, or its only one.
fn membership(
    state: &State,
    person: PersonId,
    wanted: Option<OrganisationId>,
) -> Result<Option<Membership>, Refused> {
    let of = |organisation: &crate::records::Organisation| {
        let role = organisation.members.get(&person).copied()?;
        Some(Membership {
            organisation: organisation.id,
            role,
            accounts: organisation.accounts.clone(),
        })
    };
    if let Some(wanted) = wanted {
        let found = state.organisations.get(&wanted).and_then(of);
        return found.map(Some).ok_or(Refused::NotFound("organisation"));
    }
    let mut all = state.organisations_of(person).filter_map(of);
    Ok(all.next().filter(|_| all.next().is_none()))
}

/// Puts a log's entries together.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    state: State,
    entries: u64,
    misfit: Option<OpenError>,
}

impl Fold {
    pub(crate) fn take(&mut self, entry: Entry) {
        self.entries += 1;
        if self.misfit.is_none()
            && let Err(misfit) = self.state.apply(entry)
        {
            let entry = self.entries;
            self.misfit = Some(OpenError::Misfit { entry, misfit });
        }
    }

    pub(crate) fn done(self) -> Result<State, OpenError> {
        self.misfit.map_or(Ok(self.state), Err)
    }
}
