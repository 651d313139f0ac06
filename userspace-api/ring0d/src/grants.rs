//! Sessions that are granted while the shard trades: each is agreed with a trader's session key (CUSTODY, words), and its MAC key is in this process's
//! memory and in the ring's key map alone.
//!
//! Always true: what was granted is in the log before the shard is told, and the answer leaves after both; so a daemon that comes back gives every
//! session its key again, and ends what the shard never heard of. A session's number is used again when the shard has closed it.
//!
//! The folder has `agreement`, the venue's numbered agreement keys (mode 0600; the newest is used, older ones serve what they were used for), and
//! `granted`, the log, without secrets.

use crate::daemon::Daemon;
use crate::{amount, protocol};
use ring0_engine::control::{Control, ControlKind, Grant, Target};
use ring0_engine::record::Outcome;
use ring0_engine::{Reason, Shard};
use ring0_hashlog::{HashLog, LogError};
use ring0_market::Rate;
use ring0_trader::{Nonce, Salt, Session, mac_key};
use ring0_wire::{Key, SessionId};
use secp256k1::{PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use zeroize::{Zeroize, Zeroizing};

/// Id and key of each session that the shard has, by its number: who sends held answers signs them.
pub(crate) type Sessions = Arc<RwLock<HashMap<u32, (SessionId, Option<Key>)>>>;

/// What is said where sessions are not granted at run time.
const NOT_GRANTING: &str = "sessions are not granted at run time here; start ring0d with --grants FOLDER, where it keeps its agreement keys and what was granted";

/// Why sessions cannot be granted at run time.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// The log of what was granted.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The keys, or the folder.
    #[error("the agreement keys {path} cannot be {act}: {source}; give --grants a folder that only this user may read and write", path = .path.display())]
    Keys {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// A line of the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "fact", rename_all = "kebab-case", deny_unknown_fields)]
enum Fact {
    Granted(Box<Granted>),
    /// Its key is gone; the shard cancels its orders.
    Revoked {
        session: u32,
        id: String,
    },
    /// The shard has it no more.
    Closed {
        session: u32,
        id: String,
    },
}

/// A session that was granted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Granted {
    session: u32,
    id: String,
    account: u32,
    /// The trader's session key, hexadecimal.
    public_key: String,
    trader_nonce: String,
    venue_nonce: String,
    /// Number of the venue's agreement key.
    agreement: u32,
    expires_ns: u64,
    cancel_on_disconnect_s: u32,
    #[serde(default)]
    revoked: bool,
}

/// The sessions that were granted at run time.
pub(crate) struct Grants {
    folder: PathBuf,
    log: HashLog<Fact>,
    /// By session's number.
    live: BTreeMap<u32, Granted>,
    /// By number from 1.
    agreements: Vec<SecretKey>,
}

impl Drop for Grants {
    fn drop(&mut self) {
        for key in &mut self.agreements {
            key.non_secure_erase();
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// So many bytes of hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn random<const N: usize>() -> io::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if filled == N {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::WouldBlock.into()) // below 256 bytes the kernel gives all or fails
    }
}

impl Grants {
    /// Reads the folder, or makes it with its first agreement key.
    pub(crate) fn open(folder: &Path) -> Result<Grants, GrantsError> {
        let path = folder.join("agreement");
        let at = |act| {
            let path = path.clone();
            move |source| GrantsError::Keys { path, act, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(at("made"))?;
        let mut live: BTreeMap<u32, Granted> = BTreeMap::new();
        let log = HashLog::open_with(&folder.join("granted"), |fact| match fact {
            Fact::Granted(granted) => {
                live.insert(granted.session, *granted);
            }
            Fact::Revoked { session, id } => {
                if let Some(granted) = live.get_mut(&session).filter(|it| it.id == id) {
                    granted.revoked = true;
                }
            }
            Fact::Closed { session, id } => {
                if live.get(&session).is_some_and(|it| it.id == id) {
                    live.remove(&session);
                }
            }
        })?;
        let mut grants = Grants {
            folder: folder.to_owned(),
            log,
            live,
            agreements: Vec::new(),
        };
        match File::open(&path) {
            Ok(file) => grants.agreements = read_keys(file).map_err(at("read"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                grants.renew().map_err(at("written"))?;
            }
            Err(error) => return Err(at("read")(error)),
        }
        Ok(grants)
    }

    /// Adds an agreement key: whole or not at all.
    fn renew(&mut self) -> io::Result<u32> {
        let key = loop {
            let bytes = random::<32>()?;
            // One number in 2^128 is no key.
            if let Ok(key) = SecretKey::from_secret_bytes(*bytes) {
                break key;
            }
        };
        let mut text = Zeroizing::new(String::new());
        for (number, key) in (1..).zip(self.agreements.iter().chain([&key])) {
            let digits = Zeroizing::new(hex(&*Zeroizing::new(key.to_secret_bytes())));
            text.push_str(&format!("agreement {number} {}\n", *digits));
        }
        let (path, new) = (
            self.folder.join("agreement"),
            self.folder.join("agreement.new"),
        );
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.folder)?.sync_all()?;
        self.agreements.push(key);
        Ok(self.agreements.len() as u32)
    }

    /// The MAC key of a session.
    fn key(&self, granted: &Granted) -> Option<Zeroizing<[u8; 16]>> {
        let salt = Salt {
            id: SessionId(granted.id.as_bytes().try_into().ok()?),
            trader: bytes(&granted.trader_nonce)?,
            venue: bytes(&granted.venue_nonce)?,
        };
        let theirs = PublicKey::from_slice(&bytes::<33>(&granted.public_key)?).ok()?;
        let ours = self
            .agreements
            .get(granted.agreement.checked_sub(1)? as usize)?;
        Some(mac_key(ours, &theirs, &salt))
    }

    /// What the trader has to know.
    fn answer(&self, granted: &Granted, outcome: &str) -> Value {
        let key = &self.agreements[granted.agreement as usize - 1];
        json!({
            "ok": true,
            "outcome": outcome,
            "session": format!("#{}", granted.session),
            "id": granted.id,
            "nonce": granted.venue_nonce,
            "agreement": granted.agreement,
            "agreement_key": hex(&PublicKey::from_secret_key(key).serialize()),
        })
    }

    fn write(&mut self, fact: Fact) -> Result<(), String> {
        let written = self.log.append(&fact).map_err(|error| error.to_string());
        written.map(drop)
    }

    /// The sessions that lose their orders when they are silent: number, name and seconds.
    pub(crate) fn watched(&self) -> Vec<(u32, u32)> {
        let live = self.live.values().filter(|it| !it.revoked);
        live.filter(|it| it.cancel_on_disconnect_s != 0)
            .map(|it| (it.session, it.cancel_on_disconnect_s))
            .collect()
    }

    /// Numbers and ids of all of them, and whether each was revoked.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &str, u32, bool)> {
        let live = self.live.values();
        live.map(|it| (it.session, it.id.as_str(), it.account, it.revoked))
    }
}

/// Keys of a file that only its owner may read.
fn read_keys(mut file: File) -> io::Result<Vec<SecretKey>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(wrong(
            "others may read it: run chmod 600 on it, and make a new key if anybody could have read it",
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)?;
    let mut keys = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let digits = line.strip_prefix(&format!("agreement {number} "));
        let key = digits.and_then(bytes::<32>).and_then(|mut bytes| {
            let key = SecretKey::from_secret_bytes(bytes).ok();
            bytes.zeroize();
            key
        });
        // What stands there is not repeated: it may be a key.
        keys.push(key.ok_or_else(|| {
            wrong("a line is not `agreement`, its number and 64 hexadecimal digits")
        })?);
    }
    if keys.is_empty() {
        return Err(wrong(
            "it has no key; restore it from a copy, or remove it with `granted` beside it and grant anew",
        ));
    }
    Ok(keys)
}

/// The id of a session that the shard has.
fn id_of(shard: Shard<'_>, session: u32) -> Option<String> {
    let id = shard.session_id(session)?;
    Some(String::from_utf8_lossy(&id.0).into_owned())
}

/// Tells those who sign answers of a session.
fn tell(sessions: &Sessions, granted: &Granted, key: &[u8; 16]) {
    let Ok(id) = granted.id.as_bytes().try_into().map(SessionId) else {
        return; // every id has ten letters
    };
    let mut sessions = sessions.write().expect("nobody panics with it");
    sessions.insert(granted.session, (id, Some(Key::from_bytes(key))));
}

impl Daemon {
    /// Gives every session its key again, and ends what the shard never heard of. At the start.
    pub(crate) fn restore_grants(&mut self) -> Result<(), String> {
        let Some(grants) = &mut self.grants else {
            return Ok(());
        };
        let all: Vec<Granted> = grants.live.values().cloned().collect();
        for granted in all {
            let (session, id) = (granted.session, granted.id.clone());
            if id_of(self.shard.shard(), session).as_ref() != Some(&id) {
                grants.write(Fact::Closed { session, id })?;
                grants.live.remove(&session);
                continue;
            }
            if granted.revoked {
                self.shard
                    .clear_key(session)
                    .map_err(|error| error.to_string())?;
                continue;
            }
            let Some(key) = grants.key(&granted) else {
                return Err(format!(
                    "session #{session} was agreed with key {}, which is not in the file of agreement keys; restore that file",
                    granted.agreement
                ));
            };
            self.shard
                .set_key(session, Some(&key))
                .map_err(|error| error.to_string())?;
            tell(&self.sessions, &granted, &key);
        }
        Ok(())
    }

    fn granting(&mut self) -> Result<&mut Grants, String> {
        self.grants.as_mut().ok_or_else(|| NOT_GRANTING.to_owned())
    }

    /// Grants a session.
    pub(crate) fn grant(&mut self, asked: &protocol::Grant) -> Result<Value, String> {
        let begun = Instant::now();
        let account = self.account(&asked.account)?;
        let wrong = |what: &str| format!("{what}; see `docs/operations.md`, sessions at run time");
        let public_key =
            bytes::<33>(&asked.public_key).filter(|it| PublicKey::from_slice(it).is_ok());
        let public_key = hex(&public_key.ok_or_else(|| {
            wrong("public_key is no compressed point of secp256k1 in 66 hexadecimal digits")
        })?);
        let nonce: Nonce =
            bytes(&asked.nonce).ok_or_else(|| wrong("nonce is not 32 hexadecimal digits"))?;
        let log2 = |what: &str, given: Option<u32>, usual: u32| {
            let given = given.unwrap_or(usual);
            match given.is_power_of_two() {
                true => Ok(given.ilog2() as u8),
                false => Err(format!("{what} is {given}; give a power of two")),
            }
        };
        let (answers_log2, references_log2) = (
            log2("answers", asked.answers, 256)?,
            log2("references", asked.references, 1024)?,
        );
        let rate = match asked.rate {
            Some((per_second, burst)) => Rate::new(per_second, burst)
                .map_err(|error| format!("rate: {error}; {}", error.fix()))?,
            None => Rate::default(),
        };
        let notional_max = match &asked.notional {
            Some((asset, text)) => amount::units(text, self.asset(asset)?.1)?,
            None => 0,
        };
        let expires_ns = match asked.expires_s {
            None => u64::MAX,
            Some(second) => self.venue_time_of(second)?,
        };
        let plan = &self.market.plan;
        let (first, end) = (plan.sessions.len() as u32, self.market.capacity().sessions);
        let shard = &self.shard;
        let grants = self.grants.as_mut().ok_or(NOT_GRANTING)?;
        let same = grants.live.values().find(|it| {
            it.public_key == public_key
                && it.trader_nonce == hex(&nonce)
                && it.account == account
                && !it.revoked
        });
        if let Some(granted) = same {
            return Ok(grants.answer(granted, "known"));
        }
        let free =
            |session: &u32| shard.session(*session).is_none() && !grants.live.contains_key(session);
        // From the end: the market file may grow.
        let session = (first..end).rev().find(free).ok_or_else(|| {
            format!("all {end} sessions of the shard are granted; revoke some, or give the shard more (`sessions` in [shard.capacity], `ring0 ctl migrate`)")
        })?;
        let made = Session::generate(session).map_err(|error| error.to_string())?;
        let made = made.ok_or("a shard has at most 2^20 sessions")?;
        let venue_nonce =
            random::<16>().map_err(|error| format!("the system gave no random bytes: {error}"))?;
        let granted = Granted {
            session,
            id: String::from_utf8_lossy(&made.id().0).into_owned(),
            account,
            public_key,
            trader_nonce: hex(&nonce),
            venue_nonce: hex(&*venue_nonce),
            agreement: grants.agreements.len() as u32,
            expires_ns,
            cancel_on_disconnect_s: asked.cancel_on_disconnect_s,
            revoked: false,
        };
        let key = grants
            .key(&granted)
            .ok_or_else(|| wrong("public_key cannot be agreed with"))?;
        grants.write(Fact::Granted(Box::new(granted.clone())))?;
        let body = Grant {
            session,
            account,
            id: made.id().0,
            answers_log2,
            references_log2,
            burst: rate.burst,
            interval_ns: rate.interval_ns,
            expires_ns,
            orders_max: asked.orders.unwrap_or(0),
            shares_max: asked.shares.unwrap_or(0),
            notional_max,
            cancel_on_disconnect: (asked.cancel_on_disconnect_s != 0).into(),
            reserved: 0,
        };
        if let Err(refused) = self.control(ControlKind::GrantSession, &body) {
            let id = granted.id;
            self.granting()?.write(Fact::Closed { session, id })?;
            return Err(refused);
        }
        tell(&self.sessions, &granted, &key);
        let keyed = self.shard.set_key(session, Some(&key));
        let grants = self.granting()?;
        let mut answer = grants.answer(&granted, "granted");
        grants.live.insert(session, granted);
        keyed.map_err(|error| format!("the session is granted and has no key: {error}; ask for it again with the same nonce"))?;
        answer["took_ns"] = (begun.elapsed().as_nanos() as u64).into();
        Ok(answer)
    }

    /// Ends a session that was granted at run time.
    pub(crate) fn revoke(&mut self, session: &str, id: &str) -> Result<Value, String> {
        let begun = Instant::now();
        let number = session
            .strip_prefix('#')
            .and_then(|digits| digits.parse().ok());
        let session: u32 = number.ok_or("name the session by its number, for instance #17")?;
        let grants = self.granting()?;
        let Some(granted) = grants.live.get_mut(&session).filter(|it| it.id == id) else {
            // Closed already, or never there: either way nobody trades by it.
            return Ok(json!({ "ok": true, "outcome": "unknown" }));
        };
        let was = std::mem::replace(&mut granted.revoked, true);
        // First the kernel: nothing of it is taken any more, whatever the disk does.
        let cleared = self.shard.clear_key(session);
        let target = Target {
            index: session,
            reserved: 0,
        };
        let killed = self.control(ControlKind::KillSession, &target);
        let took_ns = begun.elapsed().as_nanos() as u64;
        if !was {
            let id = id.to_owned();
            self.granting()?.write(Fact::Revoked { session, id })?;
        }
        cleared.map_err(|error| format!("its key is still there: {error}; revoke it again"))?;
        if let Err(refused) = killed
            && !was
        {
            return Err(format!(
                "its key is gone and its orders stay: {refused}; revoke it again"
            ));
        }
        Ok(json!({ "ok": true, "outcome": "revoked", "took_ns": took_ns }))
    }

    /// Closes sessions that were revoked when the last of their orders is gone, so that their numbers can be granted again. Once a second.
    pub(crate) fn close_revoked(&mut self) {
        let Some(grants) = &mut self.grants else {
            return;
        };
        let revoked: Vec<(u32, String)> = grants
            .live
            .values()
            .filter(|it| it.revoked)
            .map(|it| (it.session, it.id.clone()))
            .collect();
        for (session, id) in revoked {
            let body = Target {
                index: session,
                reserved: 0,
            };
            let close = Control::new(ControlKind::CloseSession, &body);
            match self.shard.command(&[close]).as_deref() {
                Ok([(Outcome::Accepted, _)] | [(_, Reason::UnknownSession)]) => {}
                Ok(_) => continue, // orders are still being cancelled
                Err(error) => {
                    eprintln!("ring0d: session #{session} could not be closed: {error}");
                    continue;
                }
            }
            let grants = self.grants.as_mut().expect("looked at above");
            if let Err(error) = grants.write(Fact::Closed { session, id }) {
                eprintln!("ring0d: {error}");
                return;
            }
            grants.live.remove(&session);
            let mut sessions = self.sessions.write().expect("nobody panics with it");
            sessions.remove(&session);
        }
    }

    /// Makes a new agreement key.
    pub(crate) fn renew_agreement(&mut self) -> Result<Value, String> {
        let grants = self.granting()?;
        let number = grants.renew().map_err(|error| {
            format!("the file of agreement keys cannot be written: {error}; the old key goes on")
        })?;
        let key = PublicKey::from_secret_key(&grants.agreements[number as usize - 1]);
        Ok(json!({ "ok": true, "agreement": number, "agreement_key": hex(&key.serialize()) }))
    }

    /// The venue time at a second of Unix time.
    fn venue_time_of(&self, second: u64) -> Result<u64, String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let left = std::time::Duration::from_secs(second).checked_sub(now);
        let left = left.ok_or("expires_s has passed; give a later second")?;
        let left_ns = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        Ok(self.venue_now().saturating_add(left_ns))
    }
}
