//! The process: journal and ledger opened, threads started, sockets served until SIGTERM.

use crate::audited::Audited;
use crate::book::Book;
use crate::chain::{HubThread, KeyError, Order};
use crate::config::{Config, ConfigError};
use crate::desk::{Desk, DeskError, Message, Start, Ways};
use crate::entry::Entry;
use crate::follower::{FollowError, Follower, Job};
use crate::metrics::Numbers;
use crate::protocol::{LINE_BYTES_MAX, PARTS_MAX, Request};
use crate::published::Published;
use crate::statement::{Statements, refused as statements_refused};
use crate::workers::{self, ShardJob};
use ring0_channels::heads::AuditFile;
use ring0_hashlog::{HashLog, LogError};
use ring0_socket::{Admission, Peer, Server, SocketError, refusal};
use ring0d::Verb;
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a connection waits for the desk: it answers in milliseconds, or has ended.
const PATIENCE: Duration = Duration::from_secs(25);
/// Longest line on the rail's socket in bytes.
const RAIL_LINE: u64 = 4_096;

/// Why the process does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The journal or the audit log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ledger.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The store's folder.
    #[error("{what}: {source}; {cure}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
        /// What to do.
        cure: &'static str,
    },
    /// The numbers.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Who serves them.
    #[error("`metrics`: {0}")]
    Scrape(#[from] ring0_scrape::ScrapeError),
}

/// Runs until `stop` is set.
///
/// # Errors
/// See [`ProcessError`]. What is durable stays; the next start goes on from it.
pub fn run(path: &Path, stop: &'static AtomicBool) -> Result<(), ProcessError> {
    let config = Arc::new(Config::load(path)?);
    let process = Process::open(&config, |book, desk| {
        let mut hubs = Vec::new();
        for place in 0..config.hubs.len() as u32 {
            let lives = &book.hubs[place as usize].lives;
            let pinned = lives.pin().map_or(0, |pin| pin.height);
            let blocks = lives.blocks().clone();
            let hub = HubThread::new(place, &config, blocks, pinned, desk.clone())?;
            let (orders, receiver) = channel();
            thread::spawn(move || hub.run(&receiver));
            hubs.push(orders);
        }
        let shards = (0..config.shards.len() as u32)
            .map(|place| workers::shard(&config, place, desk.clone()))
            .collect();
        Ok((shards, hubs))
    })?;
    let numbers = &process.numbers;
    let _scrape = config.metrics.map(|at| numbers.serve(at)).transpose()?;
    tracing::info!(
        store = %config.store.display(),
        sockets = %config.sockets.display(),
        shards = config.shards.len(),
        hubs = config.hubs.len(),
        "settlement runs"
    );
    process.run(stop)
}

/// Ways to the shards' daemons and to the chains, in the order of the configuration.
pub(crate) type Outside = (Vec<Sender<ShardJob>>, Vec<Sender<Order>>);

/// Everything that is open, before the desk works.
pub(crate) struct Process {
    desk: Desk,
    messages: Receiver<Message>,
    ledger: Sender<Job>,
    ledger_thread: JoinHandle<()>,
    sockets: [Server; 2],
    pub(crate) published: Published,
    pub(crate) numbers: Arc<Numbers>,
}

impl Process {
    /// Journal, ledger and sockets of a configuration. `outside` starts what talks to shards and chains in the desk's place.
    pub(crate) fn open(
        config: &Arc<Config>,
        outside: impl FnOnce(&Book, &Sender<Message>) -> Result<Outside, ProcessError>,
    ) -> Result<Process, ProcessError> {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.store);
        made.map_err(|source| ProcessError::Io {
            what: format!("the folder {}", config.store.display()),
            source,
            cure: "give `store` a folder that may be written",
        })?;
        let numbers = Arc::new(Numbers::new()?);
        let mut book = Book::new(config);
        let mut wrong = None;
        let log = HashLog::<Entry>::open_with(&config.store.join("settled.log"), |entry| {
            if wrong.is_none() {
                wrong = book.apply(&entry).err();
            }
        })?;
        if let Some(wrong) = wrong {
            return Err(DeskError::Contradiction(wrong).into());
        }
        let audit = HashLog::<Audited>::open_with(&config.store.join("audit.log"), drop)?;

        let (sender, messages) = channel();
        let follower = Follower::open(config, sender.clone())?;
        let taken = follower.facts();
        let (ledger, jobs) = channel();
        let ledger_thread = thread::spawn({
            let desk = sender.clone();
            move || {
                if let Err(error) = follower.run(&jobs) {
                    let _ = desk.send(Message::LedgerEnded(error.to_string())); // the desk has ended
                }
            }
        });
        let (shards, hubs) = outside(&book, &sender)?;
        let known = Arc::new(Mutex::new(book.known));
        let statements = Statements::new(config, Arc::clone(&known));
        let ways = Ways {
            shards,
            signer: workers::signer(config, known, sender.clone()),
            ledger: ledger.clone(),
            hubs,
        };
        let published = Published::default();
        let start = Start {
            book,
            log,
            audit,
            taken,
        };
        let desk = Desk::new(
            Arc::clone(config),
            start,
            ways,
            published.clone(),
            Arc::clone(&numbers),
        );
        let answering = Answering {
            config: Arc::clone(config),
            desk: sender,
            ledger: ledger.clone(),
            published: published.clone(),
            numbers: Arc::clone(&numbers),
            statements,
        };
        let sockets = serve(answering)?;
        Ok(Process {
            desk,
            messages,
            ledger,
            ledger_thread,
            sockets,
            published,
            numbers,
        })
    }

    /// Works until `stop` is set.
    pub(crate) fn run(self, stop: &AtomicBool) -> Result<(), ProcessError> {
        let ended = self.desk.run(&self.messages, stop);
        drop(self.sockets);
        let _ = self.ledger.send(Job::End); // it has ended already
        let _ = self.ledger_thread.join();
        Ok(ended?)
    }
}

/// What the threads of connections answer with.
struct Answering {
    config: Arc<Config>,
    desk: Sender<Message>,
    ledger: Sender<Job>,
    published: Published,
    numbers: Arc<Numbers>,
    statements: Statements,
}

fn serve(answering: Answering) -> Result<[Server; 2], ProcessError> {
    let config = Arc::clone(&answering.config);
    let rail = {
        let desk = answering.desk.clone();
        let admission = Admission {
            line_bytes_max: RAIL_LINE,
            ..Admission::default()
        };
        let path = config.sockets.join(format!("{}.sock", config.rail));
        Server::start(&path, admission, move |_, verb: Verb| rail(&desk, verb))?
    };
    let own = {
        let admission = Admission {
            users: config.clients.clone(),
            line_bytes_max: LINE_BYTES_MAX,
            ..Admission::default()
        };
        let path = config.sockets.join("settled.sock");
        Server::start(&path, admission, move |peer, request: Request| {
            answering.answer(peer, request)
        })?
    };
    Ok([rail, own])
}

/// What a shard's daemon says to the rail.
fn rail(desk: &Sender<Message>, verb: Verb) -> Value {
    let Verb::Credit {
        account,
        asset,
        units,
        number,
        from,
    } = verb
    else {
        return refusal("a rail's socket takes `credit` alone, from a shard's daemon");
    };
    let (reply, answer) = sync_channel(1);
    let message = Message::Arrived {
        account,
        asset,
        units,
        number,
        from,
        reply,
    };
    wait(desk.send(message).is_ok(), &answer)
}

/// What the desk answers; a desk that has ended is told of.
fn wait(sent: bool, answer: &Receiver<Value>) -> Value {
    match sent.then(|| answer.recv_timeout(PATIENCE)) {
        Some(Ok(answer)) => answer,
        _ => {
            refusal("the settlement daemon is ending or stuck; look at its log, and start it again")
        }
    }
}

impl Answering {
    fn answer(&self, peer: Peer, request: Request) -> Value {
        match request {
            Request::Batch { epoch, account } => match self.published.file(epoch, account) {
                Ok(file) => json!({ "ok": true, "file": file }),
                Err(why) => refusal(&why),
            },
            Request::Audit => match self.published.audit() {
                Ok(audit) => {
                    let (venue, operator) = (self.config.venue, self.config.operator);
                    json!({ "ok": true, "file": AuditFile::new(venue, operator, audit) })
                }
                Err(why) => refusal(&why),
            },
            Request::Cosign { parts } => cosign(&parts, &self.desk, &self.published),
            Request::Balances { account } => {
                self.ask_ledger(|reply| Job::Balances { account, reply })
            }
            Request::Statement {
                account,
                from,
                to,
                sign,
            } => match sign {
                false => self.statement(account, from, to),
                true => self.signed_statement(account, from, to),
            },
            Request::Metrics => json!({ "ok": true, "text": self.numbers.text() }),
            Request::Status => {
                let mut status = self.ask_desk(peer, Request::Status);
                status["ledger"] = self.ask_ledger(|reply| Job::Status { reply });
                status
            }
            request => self.ask_desk(peer, request),
        }
    }

    fn ask_desk(&self, peer: Peer, request: Request) -> Value {
        let (reply, answer) = sync_channel(1);
        let message = Message::Ask {
            peer,
            request,
            reply,
        };
        wait(self.desk.send(message).is_ok(), &answer)
    }

    fn ask_ledger(&self, job: impl FnOnce(SyncSender<Value>) -> Job) -> Value {
        let (reply, answer) = sync_channel(1);
        wait(self.ledger.send(job(reply)).is_ok(), &answer)
    }

    fn statement(&self, account: u32, from: u64, to: u64) -> Value {
        self.ask_ledger(|reply| Job::Statement {
            account,
            from,
            to,
            reply,
        })
    }

    /// A statement that ends with the newest signed batch, with the operator's signature.
    fn signed_statement(&self, account: u32, from: u64, to: u64) -> Value {
        let Some(batch) = self.published.get() else {
            return refusal("no batch is signed yet; ask `batches`");
        };
        if to < batch.epoch {
            return refusal(&format!(
                "a signed statement ends with the newest signed batch, {}; ask for it to that one or beyond, or without its signature",
                batch.epoch
            ));
        }
        let mut answer = self.statement(account, from, batch.epoch);
        if answer["ok"] != true {
            return answer;
        }
        let statement = match serde_json::from_value(answer["statement"].clone()) {
            Ok(statement) => statement,
            Err(error) => return refusal(&format!("the ledger's statement: {error}")),
        };
        match self.statements.sign(statement, &batch) {
            Ok(signed) => {
                answer["signed"] = json!(signed.signed);
                answer
            }
            Err(error) => refusal(&statements_refused(&error, batch.epoch)),
        }
    }
}

/// Signatures are checked here, in the connection's own thread and its helpers; the desk gets those that hold.
fn cosign(
    parts: &[crate::protocol::CoSignature],
    desk: &Sender<Message>,
    published: &Published,
) -> Value {
    if parts.len() > PARTS_MAX {
        return refusal(&format!(
            "{} signatures are given and {PARTS_MAX} are the most in one request",
            parts.len()
        ));
    }
    let mut results = published.check(parts);
    let mut by_epoch: std::collections::BTreeMap<u64, Vec<usize>> =
        std::collections::BTreeMap::new();
    for (at, part) in parts
        .iter()
        .enumerate()
        .filter(|(at, _)| results[*at].is_ok())
    {
        by_epoch.entry(part.epoch).or_default().push(at);
    }
    for (epoch, places) in by_epoch {
        let (reply, answer) = sync_channel(1);
        let good = places.iter().map(|at| parts[*at]).collect();
        let message = Message::CoSigned {
            epoch,
            parts: good,
            reply,
        };
        let sent = desk.send(message).is_ok();
        let told = sent.then(|| answer.recv_timeout(PATIENCE).ok()).flatten();
        let told = told.unwrap_or_else(|| {
            vec![Err("the settlement daemon is ending: send it again".to_owned()); places.len()]
        });
        for (at, result) in places.into_iter().zip(told) {
            results[at] = result;
        }
    }
    let accepted = results.iter().filter(|it| it.is_ok()).count();
    let refused: Vec<Value> = results
        .iter()
        .zip(parts)
        .filter_map(|(result, part)| {
            let why = result.as_ref().err()?;
            Some(json!({ "account": part.account, "error": why }))
        })
        .collect();
    json!({ "ok": true, "accepted": accepted, "refused": refused })
}
