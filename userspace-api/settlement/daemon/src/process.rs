//! The process: journal and ledger opened, threads started, sockets served until SIGTERM.

use crate::book::Book;
use crate::chain::{HubThread, KeyError, Order};
use crate::config::{Config, ConfigError};
use crate::desk::{Audited, Desk, DeskError, Message, Start, Ways};
use crate::entry::Entry;
use crate::follower::{FollowError, Follower, Job};
use crate::metrics::Numbers;
use crate::protocol::{LINE_BYTES_MAX, PARTS_MAX, Request};
use crate::published::Published;
use crate::workers::{self, ShardJob};
use ring0_hashlog::{HashLog, LogError};
use ring0_socket::{Admission, Peer, Server, SocketError, refusal};
use ring0d::Verb;
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
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
        for (place, hub) in (0_u32..).zip(&config.hubs) {
            let lives = &book.hubs[place as usize].lives;
            let pinned = lives.pin().map_or(0, |pin| pin.height);
            let blocks = lives.blocks().clone();
            let hub = HubThread::new(place, hub.clone(), blocks, pinned, desk.clone())?;
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
        let ways = Ways {
            shards,
            signer: workers::signer(config, book.known, sender.clone()),
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
        let sockets = serve(config, &sender, &ledger, &published, &numbers)?;
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

fn serve(
    config: &Arc<Config>,
    desk: &Sender<Message>,
    ledger: &Sender<Job>,
    published: &Published,
    numbers: &Arc<Numbers>,
) -> Result<[Server; 2], ProcessError> {
    let rail = {
        let desk = desk.clone();
        let admission = Admission {
            line_bytes_max: RAIL_LINE,
            ..Admission::default()
        };
        let path = config.sockets.join(format!("{}.sock", config.rail));
        Server::start(&path, admission, move |_, verb: Verb| rail(&desk, verb))?
    };
    let own = {
        let (desk, ledger) = (desk.clone(), ledger.clone());
        let (published, numbers) = (published.clone(), Arc::clone(numbers));
        let admission = Admission {
            users: config.clients.clone(),
            line_bytes_max: LINE_BYTES_MAX,
            ..Admission::default()
        };
        let path = config.sockets.join("settled.sock");
        Server::start(&path, admission, move |peer, request: Request| {
            answer(peer, request, &desk, &ledger, &published, &numbers)
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

fn answer(
    peer: Peer,
    request: Request,
    desk: &Sender<Message>,
    ledger: &Sender<Job>,
    published: &Published,
    numbers: &Numbers,
) -> Value {
    let ask_ledger = |job: &dyn Fn(std::sync::mpsc::SyncSender<Value>) -> Job| {
        let (reply, answer) = sync_channel(1);
        wait(ledger.send(job(reply)).is_ok(), &answer)
    };
    match request {
        Request::Batch { epoch, account } => match published.file(epoch, account) {
            Ok(file) => json!({ "ok": true, "file": file }),
            Err(why) => refusal(&why),
        },
        Request::Cosign { parts } => cosign(&parts, desk, published),
        Request::Balances { account } => ask_ledger(&|reply| Job::Balances { account, reply }),
        Request::Statement { account, from, to } => ask_ledger(&|reply| Job::Statement {
            account,
            from,
            to,
            reply,
        }),
        Request::Metrics => json!({ "ok": true, "text": numbers.text() }),
        Request::Status => {
            let (reply, answer) = sync_channel(1);
            let request = Request::Status;
            let message = Message::Ask {
                peer,
                request,
                reply,
            };
            let mut status = wait(desk.send(message).is_ok(), &answer);
            status["ledger"] = ask_ledger(&|reply| Job::Status { reply });
            status
        }
        request => {
            let (reply, answer) = sync_channel(1);
            let message = Message::Ask {
                peer,
                request,
                reply,
            };
            wait(desk.send(message).is_ok(), &answer)
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
