//! The process: a socket, a thread for each connection, and the desk. A connection's thread reads, prepares and, once the desk has it on the disk, signs.

use crate::backend::Backend;
use crate::ceremony::{self, Running};
use crate::config::Config;
use crate::desk::{Allowed, Ask, Bell, Desk, Judge, now_ms};
use crate::ecdsa_share::{Failed, Part, ban_name};
use crate::history::{self, Event, History};
use crate::home::{Home, SignerError};
use crate::keyring::{self, Key, KeyFile};
use crate::keystore::Keystore;
use crate::numbers::Numbers;
use crate::passphrase::guard_memory;
use crate::policy::{Policy, Prepared};
use crate::protocol::{LINE_BYTES_MAX, MESSAGES_MAX, Name, Outcome, Refusal, Request, Signed};
use ring0_channels::B256;
use ring0_scrape::Scrape;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Most connections at once: each has a thread.
const CONNECTIONS: usize = 64;

/// Entries of the history that one answer has at most.
const HISTORY_MAX: usize = 1000;

/// What all threads share.
struct Signer {
    home: Home,
    config: Config,
    keys: RwLock<BTreeMap<String, Key>>,
    store: Mutex<Keystore>,
    running: Mutex<Option<Running>>,
    numbers: Arc<Numbers>,
}

/// A signer that serves; it ends with the process.
pub struct Served {
    socket: PathBuf,
    /// Why its memory may reach the disk, if it may.
    pub unguarded: Option<&'static str>,
    /// Why it signs nothing, if it does not.
    pub fenced: Option<String>,
    scrape: Option<Scrape>,
}

impl Served {
    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where its numbers are served.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.scrape.as_ref().and_then(Scrape::address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket); // the next start removes it too
    }
}

/// What Prometheus and a service manager are told.
struct Asked(Arc<Numbers>);

impl ring0_scrape::Numbers for Asked {
    fn text(&self) -> Result<String, String> {
        Ok(self.0.text())
    }

    fn ready(&self) -> Result<(), String> {
        match self.0.stale.get() + self.0.stopped.get() {
            0 => Ok(()),
            _ => Err("it signs nothing: see `ring0 signer status`".to_owned()),
        }
    }
}

/// Opens a signer's folder and serves.
///
/// # Errors
/// See [`SignerError`].
pub fn serve(
    home: &Home,
    passphrase: &Zeroizing<String>,
    metrics: Option<SocketAddr>,
) -> Result<Served, SignerError> {
    let unguarded = guard_memory();
    let config = home.config()?;
    let policy_file = fs::read(home.config_file()).map_err(|source| SignerError::File {
        path: home.config_file(),
        source,
    })?;
    // The history first: it is locked, so that no second signer uses these keys.
    let (mut history, stale) =
        History::open(&home.history(), &config.witnesses, config.segment_bytes)?;
    let store = Keystore::open(&home.keystore_file(), passphrase)?;
    let files = keyring::read(&home.keys_file())?;
    let keys = keyring::open(&files, &config, &store)?;
    let numbers = Arc::new(Numbers::new());
    numbers.locked.set(unguarded.is_none().into());
    let fenced = stale.map(|why| {
        let text = format!("{why}; `ring0 signer restore` says what to do");
        Refusal::new(Name::Stale, text)
    });
    if fenced.is_none() {
        let policy = B256::from_slice(&Sha256::digest(policy_file));
        history.stage(history::Entry {
            at_ms: now_ms(),
            user: rustix::process::geteuid().as_raw(),
            event: Event::Started { policy },
        });
        history.commit()?;
    }
    let listener = listen(&config)?;
    let mut served = Served {
        socket: config.socket.clone(),
        unguarded,
        fenced: fenced.as_ref().map(|it| it.text.clone()),
        scrape: None,
    };
    let (asks, asked) = channel();
    let bell = Bell::new(asks);
    let desk = Desk {
        policy: Policy::new(config.clone()),
        history,
        fenced,
        numbers: Arc::clone(&numbers),
    };
    let spawn = |name: &str, act: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(act);
        thread.map_err(|error| SignerError::Refused(format!("no thread could be started: {error}")))
    };
    spawn("desk", Box::new(move || desk.run(&asked)))?;
    let signer = Arc::new(Signer {
        home: home.clone(),
        config,
        keys: RwLock::new(keys),
        store: Mutex::new(store),
        running: Mutex::new(None),
        numbers: Arc::clone(&numbers),
    });
    if let Some(address) = metrics {
        let scrape = Scrape::serve(address, Asked(numbers)).map_err(SignerError::Metrics)?;
        served.scrape = Some(scrape);
    }
    spawn(
        "accept",
        Box::new(move || accept(&listener, &signer, &bell)),
    )?;
    Ok(served)
}

fn listen(config: &Config) -> Result<UnixListener, SignerError> {
    let path = &config.socket;
    let failed = |what: String| SignerError::Listen {
        place: path.display().to_string(),
        what,
    };
    if UnixStream::connect(path).is_ok() {
        return Err(failed("another process listens there".to_owned()));
    }
    if fs::symlink_metadata(path).is_ok_and(|about| about.file_type().is_socket()) {
        fs::remove_file(path).map_err(|error| failed(error.to_string()))?;
    }
    let listener = UnixListener::bind(path).map_err(|error| failed(error.to_string()))?;
    // Between these calls others could connect; who they are is asked of each connection.
    let mode = if config.group.is_some() { 0o660 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| failed(error.to_string()))?;
    if let Some(group) = config.group {
        std::os::unix::fs::chown(path, None, Some(group))
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(listener)
}

fn accept(listener: &UnixListener, signer: &Arc<Signer>, bell: &Bell) {
    let open = Arc::new(());
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else {
            // Out of descriptors, most likely: they come back when a connection ends.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if Arc::strong_count(&open) > CONNECTIONS {
            let text = format!("the signer has {CONNECTIONS} connections; close one");
            let _ = say(&mut stream, &no(&text)); // it may have gone
            continue;
        }
        let (signer, bell, held) = (Arc::clone(signer), bell.clone(), Arc::clone(&open));
        thread::spawn(move || {
            let _ = converse(stream, &signer, &bell); // the client has gone; nobody to tell
            drop(held);
        });
    }
}

fn no(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

fn say(stream: &mut UnixStream, answer: &Value) -> io::Result<()> {
    let mut line = answer.to_string();
    line.push('\n');
    stream.write_all(line.as_bytes())
}

/// Answers a connection's requests, one line each, until it is closed.
fn converse(mut stream: UnixStream, signer: &Signer, bell: &Bell) -> io::Result<()> {
    let user = rustix::net::sockopt::socket_peercred(&stream)?.uid.as_raw();
    if !signer.config.users.contains(&user) && !signer.config.admins.contains(&user) {
        let text = format!("user {user} is not among the users of signer.toml");
        return say(&mut stream, &no(&text));
    }
    let mut lines = BufReader::with_capacity(1 << 16, stream.try_clone()?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let text =
                format!("a request is one JSON object on a line of at most {LINE_BYTES_MAX} bytes");
            return say(&mut stream, &no(&text));
        }
        let started = Instant::now();
        let request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                say(
                    &mut stream,
                    &no(&format!("the request cannot be read: {error}")),
                )?;
                continue;
            }
        };
        match request {
            Request::Sign {
                key,
                messages,
                seen,
            } => {
                let signed = sign(signer, bell, user, key, messages, seen);
                signer
                    .numbers
                    .latency
                    .observe(started.elapsed().as_secs_f64());
                match signed {
                    Ok(signed) => {
                        // The longest answers are written without a tree in between.
                        let mut line = br#"{"ok":true,"#.to_vec();
                        let json = serde_json::to_vec(&signed)?;
                        line.extend_from_slice(&json[1..]);
                        line.push(b'\n');
                        stream.write_all(&line)?;
                    }
                    Err(text) => say(&mut stream, &no(&text))?,
                }
            }
            other => {
                let answer = answer(signer, bell, user, other);
                say(&mut stream, &answer.unwrap_or_else(|text| no(&text)))?;
            }
        }
    }
}

const ENDING: &str = "the signer is ending; start it again";

fn sign(
    signer: &Signer,
    bell: &Bell,
    user: u32,
    name: String,
    messages: Vec<crate::message::Message>,
    seen: Option<crate::protocol::Seen>,
) -> Result<Signed, String> {
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        return Err(format!(
            "a request has 1 to {MESSAGES_MAX} messages, not {}",
            messages.len()
        ));
    }
    let key = signer
        .keys
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&name)
        .cloned();
    if key
        .as_ref()
        .is_some_and(|key| key.backend.share().is_some() || key.backend.ecdsa_share().is_some())
    {
        return Err(format!(
            "{name:?} is one share of a key, which signs nothing alone; ask the coordinator"
        ));
    }
    let asked = messages.into_iter().map(Prepared::new).collect();
    signer.numbers.waiting.inc();
    let judged = bell.ask(|answer| {
        Ask::Judge(Judge {
            user,
            key: name.clone(),
            facts: key.as_ref().map(|key| key.facts.clone()),
            asked,
            seen,
            whole: key.as_ref().is_some_and(|key| key.backend.whole()),
            answer,
        })
    });
    let judged = judged.ok_or(ENDING)?;
    let mut counted: BTreeMap<_, u64> = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(judged.verdicts.len());
    for verdict in judged.verdicts {
        let outcome = match (verdict, &key) {
            (Ok(allowed), Some(key)) => match with_backend(&*key.backend, &allowed) {
                Ok(outcome) => {
                    *counted.entry(allowed.kind).or_default() += 1;
                    outcome
                }
                Err(error) => {
                    let text = error.to_string();
                    signer.numbers.refused(Name::Backend);
                    let event = Event::Failed {
                        key: name.clone(),
                        digest: allowed.digest,
                        text: text.clone(),
                    };
                    note(bell, user, event)?;
                    Outcome::Refused(Refusal::new(Name::Backend, text))
                }
            },
            (Ok(_), None) => return Err(ENDING.to_owned()),
            (Err(refusal), _) => Outcome::Refused(refusal),
        };
        outcomes.push(outcome);
    }
    for (kind, times) in counted {
        signer.numbers.signed(&name, kind, times);
    }
    Ok(Signed {
        outcomes,
        seen: judged.seen,
    })
}

fn with_backend(
    backend: &dyn Backend,
    allowed: &Allowed,
) -> Result<Outcome, crate::backend::BackendError> {
    match &allowed.message {
        Some(message) => backend.sign(message, allowed.digest),
        None => backend.sign_digest(allowed.digest),
    }
}

fn note(bell: &Bell, user: u32, event: Event) -> Result<crate::protocol::Seen, String> {
    let noted = bell.ask(|answer| Ask::Note(Box::new(event), user, answer));
    noted.ok_or(ENDING)?.map_err(|refusal| refusal.text)
}

/// Answers what is no request to sign.
fn answer(signer: &Signer, bell: &Bell, user: u32, request: Request) -> Result<Value, String> {
    let admin = || match signer.config.admins.contains(&user) {
        true => Ok(()),
        false => Err(format!(
            "user {user} is not among the admins of signer.toml"
        )),
    };
    let seen = |seen: crate::protocol::Seen| json!({"ok": true, "seen": seen});
    match request {
        Request::Sign { .. } => Err("a request to sign is answered elsewhere".to_owned()),
        Request::Keys => {
            let keys = signer.keys.read().unwrap_or_else(PoisonError::into_inner);
            let keys: Vec<_> = keys.values().map(|key| &key.info).collect();
            Ok(json!({"ok": true, "keys": keys}))
        }
        Request::Status => {
            let mut status = bell.ask(Ask::Status).ok_or(ENDING)?;
            status["keys"] = signer
                .keys
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .len()
                .into();
            status["memory_locked"] = (signer.numbers.locked.get() == 1).into();
            status["waiting"] = signer.numbers.waiting.get().into();
            Ok(status)
        }
        Request::Metrics => Ok(json!({"ok": true, "text": signer.numbers.text()})),
        Request::Stop => note(bell, user, Event::Stopped).map(seen),
        Request::Resume => {
            admin()?;
            note(bell, user, Event::Resumed).map(seen)
        }
        Request::Approve { approval } => {
            let approver = approval.approver().map_err(|error| error.to_string())?;
            if !signer.config.approvers.contains(&approver) {
                return Err(format!(
                    "{approver} is not among the approvers of signer.toml"
                ));
            }
            if approval.until < now_ms() / 1000 {
                return Err("the approval's time is over".to_owned());
            }
            note(bell, user, Event::Approved { approval, approver }).map(seen)
        }
        Request::History { filter, limit } => {
            let mut found = std::collections::VecDeque::new();
            let limit = limit.min(HISTORY_MAX);
            let searched = history::search(&signer.home.history(), &filter, |entry| {
                found.push_back(entry);
                if found.len() > limit {
                    found.pop_front();
                }
            });
            searched.map_err(|error| error.to_string())?;
            Ok(json!({"ok": true, "entries": found}))
        }
        Request::Commit { key, generation } => {
            let key = share_of(signer, &key)?;
            let share = key.backend.share().ok_or("it is no share")?;
            let (nonces, commitments) = share
                .commit(generation)
                .map_err(|error| error.to_string())?;
            Ok(json!({"ok": true, "nonces": nonces, "commitments": commitments}))
        }
        Request::SignShare {
            key,
            generation,
            message,
            nonces,
            package,
        } => {
            let key = share_of(signer, &key)?;
            let share = key.backend.share().ok_or("it is no share")?;
            let kind = message.kind();
            let allowed = judge_share(signer, bell, user, &key, *message)?;
            let part = share.part(generation, nonces, &package, allowed.digest);
            let part = part.map_err(|error| error.to_string())?;
            signer.numbers.signed(&key.info.name, kind, 1);
            Ok(json!({"ok": true, "share": part}))
        }
        Request::EcdsaBegin {
            key,
            message,
            session,
            signers,
        } => {
            let key = share_of(signer, &key)?;
            let share = key
                .backend
                .ecdsa_share()
                .ok_or("it is no share for ECDSA")?;
            let allowed = judge_share(signer, bell, user, &key, *message)?;
            ecdsa_part(signer, &key, share.begin(session, &signers, allowed.digest))
        }
        Request::EcdsaRound {
            key,
            session,
            inbox,
        } => {
            let key = share_of(signer, &key)?;
            let share = key
                .backend
                .ecdsa_share()
                .ok_or("it is no share for ECDSA")?;
            ecdsa_part(signer, &key, share.round(session, &inbox))
        }
        Request::Ceremony { step } => {
            admin()?;
            ceremony_step(signer, bell, user, step)
        }
    }
}

/// A holder's own policy, and its own history.
fn judge_share(
    signer: &Signer,
    bell: &Bell,
    user: u32,
    key: &Key,
    message: crate::message::Message,
) -> Result<Allowed, String> {
    signer.numbers.waiting.inc();
    let judged = bell.ask(|answer| {
        Ask::Judge(Judge {
            user,
            key: key.info.name.clone(),
            facts: Some(key.facts.clone()),
            asked: vec![Prepared::new(message)],
            seen: None,
            whole: false,
            answer,
        })
    });
    let verdict = judged.ok_or(ENDING)?.verdicts.pop().ok_or(ENDING)?;
    verdict.map_err(|refusal| refusal.to_string())
}

/// What a round of ECDSA gave. A ban is on the disk before anybody hears of the failure.
fn ecdsa_part(signer: &Signer, key: &Key, part: Result<Part, Failed>) -> Result<Value, String> {
    match part {
        Ok(Part::Sealed(out)) => {
            let out: Vec<_> = out.into_iter().collect();
            Ok(json!({"ok": true, "out": out}))
        }
        Ok(Part::Open(part)) => Ok(json!({"ok": true, "part": part})),
        Ok(Part::Whole(signature)) => {
            let signature = alloy_primitives::hex::encode(signature);
            Ok(json!({"ok": true, "signature": signature}))
        }
        Err(Failed { text, ban }) => {
            if let (Some(number), Some(share)) = (ban, key.backend.ecdsa_share()) {
                share.ban(number);
                let mut store = signer.store.lock().unwrap_or_else(PoisonError::into_inner);
                let name = ban_name(&key.info.name, number);
                let kept = store.put(&name, Zeroizing::new(vec![1]));
                kept.map_err(|error| {
                    format!("{text}; and the ban of holder {number} is not on the disk: {error}")
                })?;
            }
            Err(text)
        }
    }
}

fn share_of(signer: &Signer, name: &str) -> Result<Key, String> {
    let keys = signer.keys.read().unwrap_or_else(PoisonError::into_inner);
    keys.get(name)
        .cloned()
        .ok_or_else(|| format!("there is no key {name:?}"))
}

/// Carries a ceremony's step out; a new share serves at once.
fn ceremony_step(
    signer: &Signer,
    bell: &Bell,
    user: u32,
    step: ceremony::Step,
) -> Result<Value, String> {
    let mut store = signer.store.lock().unwrap_or_else(PoisonError::into_inner);
    let mut running = signer
        .running
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let path = signer.home.keys_file();
    let mut files = keyring::read(&path).map_err(|error| error.to_string())?;
    let done = ceremony::step(
        step,
        &mut running,
        &mut store,
        &files,
        &signer.config,
        now_ms(),
    )?;
    if let Some((file, act)) = done.key {
        files.retain(|it| it.name != file.name);
        files.push(file.clone());
        keyring::write(&path, &files).map_err(|error| error.to_string())?;
        note(bell, user, key_event(&file, act))?;
        let opened = keyring::open(std::slice::from_ref(&file), &signer.config, &store);
        let mut opened = opened.map_err(|error| error.to_string())?;
        let mut keys = signer.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.append(&mut opened);
    }
    Ok(done.answer)
}

/// What the history has of a change of a key.
pub(crate) fn key_event(file: &KeyFile, act: &str) -> Event {
    Event::Key {
        key: file.name.clone(),
        public_key: file.public_key.clone(),
        act: act.to_owned(),
    }
}
