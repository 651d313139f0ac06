//! The one thread that decides: it takes in what others bring, writes it down, and only then answers and acts.
//!
//! Everything that is decided in one turn is journaled with one wait for the disk; answers, questions to shards, the signer and the chain come after it.
//! Nothing of what was not journaled has been told to anybody, and what was asked of others is asked again after a death: a shard takes a number once, the
//! signer signs a message once, a hub takes a withdrawal once.

mod asked;
mod audit;
mod batches;
mod located;
mod money;
mod signing;

use crate::audited::{Audited, OWN_LOG};
use crate::batch::{Next, Step};
use crate::book::{Book, Contradiction, signed};
use crate::chain::{Looked, Order};
use crate::config::Config;
use crate::credits::Source;
use crate::entry::{Entry, Move, State};
use crate::events::{ChannelWords, Holds, RebalancingWords, SignatureWords};
use crate::follower::{Cut, Found, Job};
use crate::lives::Look;
use crate::metrics::Numbers;
use crate::protocol::{CoSignature, Request};
use crate::published::{self, Part, Published};
use crate::search::Elsewhere;
use crate::withdrawal::{Debit, Progress};
use crate::workers::{Given, JobError, ShardJob, SignerJob, Wanted};
use crate::{messages, withdrawal};
use alloy_primitives::aliases::U40;
use alloy_sol_types::SolStruct;
use ring0_channels::batch::{Built, Leaf};
use ring0_channels::evidence::{Holding, OperatorHalf};
use ring0_channels::heads::{Heads, LogHead};
use ring0_channels::key::Signature;
use ring0_channels::message::{ChannelState, KIND_TRADING, Rebalancing, Withdrawal, venue_domain};
use ring0_channels::{Address, B256};
use ring0_hashlog::{HashLog, LogError};
use ring0_settlement::reconcile::{EngineFigure, HubFigures, TreeFigure};
use ring0_settlement::{AccountId, AssetId, Figures, Mark, PeerId, account_number, exposure};
use ring0_signer::message as to_sign;
use ring0_socket::{Peer, refusal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Messages that are decided in one turn.
const AT_ONCE: usize = 4_096;
/// How long the desk sleeps where nothing comes.
const TICK: Duration = Duration::from_millis(5);
/// How long after it did not work something is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a transfer whose number is used may take to arrive: then the number was somebody else's.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How often limits of un-co-signed exposure are shared out.
const LIMITS: Duration = Duration::from_secs(1);
/// Most marks in one request to a shard.
const MARKS_AT_ONCE: usize = 1_000;

/// Why the daemon ends.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The journal or the audit log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An entry that does not follow.
    #[error(
        "the journal does not follow from its beginning: {0}; restore it, or give the configuration that it was written under"
    )]
    Contradiction(#[from] Contradiction),
    /// The ledger.
    #[error("the ledger ended: {0}")]
    Ledger(String),
}

/// What comes to the desk.
pub(crate) enum Message {
    /// A request of a client's or operator's.
    Ask {
        peer: Peer,
        request: Request,
        reply: SyncSender<Value>,
    },
    /// Signatures that hold.
    CoSigned {
        epoch: u64,
        parts: Vec<CoSignature>,
        reply: SyncSender<Vec<Result<(), String>>>,
    },
    /// A shard has debited an amount for the rail.
    Arrived {
        account: String,
        asset: String,
        units: u64,
        number: u64,
        from: String,
        reply: SyncSender<Value>,
    },
    /// What a chain's thread saw; answered when it is durable.
    Looked(Box<Looked>, SyncSender<()>),
    /// What a hub has at the height that counts, after a start.
    Holds {
        hub: u32,
        holds: Vec<(Address, Holds)>,
    },
    /// How a chain's thread is.
    Chain { hub: u32, error: Option<String> },
    /// What a shard's daemon said.
    Shard {
        shard: u32,
        job: ShardJob,
        result: Result<Value, JobError>,
    },
    /// What the signer said.
    Signer {
        wanted: Wanted,
        result: Result<Given, JobError>,
    },
    /// The ledger has taken records up to these.
    Recorded(Vec<u64>),
    /// The ledger has facts up to this.
    Facts(u64),
    /// The ledger does not take a fact.
    FactRefused {
        number: u64,
        fact: String,
        why: String,
    },
    /// The ledger has cut.
    Cut(Box<Cut>),
    /// The figures of the last cut were compared.
    Reconciled(Vec<Found>),
    /// Where the figures of an asset that stands still part.
    Located { asset: AssetId, first: String },
    /// Marks that are due.
    Marks(Vec<(u64, Mark)>),
    /// Limits that are due.
    Limits {
        asset: u32,
        limits: Vec<exposure::Limit>,
    },
    /// The ledger's thread ended.
    LedgerEnded(String),
}

/// Ways to the other threads.
pub(crate) struct Ways {
    pub(crate) shards: Vec<Sender<ShardJob>>,
    pub(crate) signer: Sender<SignerJob>,
    pub(crate) ledger: Sender<Job>,
    pub(crate) hubs: Vec<Sender<Order>>,
}

/// What is done once the turn is durable.
enum After {
    Reply(SyncSender<Value>, Value),
    Parts(SyncSender<Vec<Result<(), String>>>, Vec<Result<(), String>>),
    Seen(SyncSender<()>),
}

/// See the module.
pub(crate) struct Desk {
    config: Arc<Config>,
    book: Book,
    log: HashLog<Entry>,
    audit: HashLog<Audited>,
    ways: Ways,
    published: Published,
    pub(crate) numbers: Arc<Numbers>,
    fresh: Vec<Entry>,
    audits: Vec<Audited>,
    /// How far other processes' audit logs are: as they told, or as the last recorded batch has it.
    told_heads: Heads,
    after: Vec<After>,
    /// Facts given to the ledger, and taken by it.
    given: u64,
    taken: u64,
    records: u64,
    records_at_cut: u64,
    /// What shards and the signer are being asked, or when they may be asked again.
    credits: BTreeMap<(u32, u32), Instant>,
    /// When shards may be told of credits again.
    credits_at: Instant,
    transfers: BTreeMap<B256, Asked>,
    signing: HashMap<Wanted, Instant>,
    refused: BTreeMap<B256, String>,
    /// By hub and token: what the hub has at the height that counts.
    holds: BTreeMap<(u32, Address), Holds>,
    /// Those of the last cut, and what of them is nobody's.
    cut_holds: BTreeMap<(u32, Address), (Holds, u128)>,
    last_cut: Instant,
    /// When a cut was compared with the shards themselves.
    compared: Option<Instant>,
    cut_now: bool,
    /// The cut that waits for its reconciliation, with what will be recorded.
    pending: Option<Pending>,
    /// The newest recorded batch's trees.
    built: Option<Arc<Built>>,
    published_at: Option<Instant>,
    /// Everybody's part of the batch that was recorded last, for when it is signed.
    prepared: Option<(u64, HashMap<u32, Part>)>,
    /// By shard: the sequence up to which records have to be in the ledger before marks are asked for; none: it is not known.
    marked: Vec<Option<u64>>,
    marks: MarkWork,
    unmarked: BTreeSet<u32>,
    posts: BTreeMap<(u32, Address), Instant>,
    limits_at: Instant,
    limits: BTreeMap<(u32, u32, u32), u64>,
    errors: BTreeMap<String, String>,
    /// Halts, by shard and asset, that a shard has not taken yet: `None` while it is asked, and otherwise when it is asked again.
    halts: BTreeMap<(u32, u32), Option<Instant>>,
    /// Accounts whose orders the shards were told to cancel, because they leave by the chain.
    left: BTreeSet<u32>,
}

/// A transfer that a shard is asked for.
struct Asked {
    at: Instant,
    /// The shard has used the number.
    known: bool,
    waits: bool,
}

/// A mark as a shard's verb takes it: account, asset, engine units.
type MarkWords = (u32, u32, i64);

/// A limit as a shard's verb takes it: account, asset, engine units.
type LimitWords = (u32, u32, Option<u64>);

/// How far marks are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum MarkWork {
    Idle,
    /// Shards are asked how far their records are.
    Sequences,
    /// The ledger computes them.
    Computing,
    /// Requests to shards that are not answered.
    Sent(usize),
}

struct Pending {
    epoch: u64,
    states: Vec<State>,
    built: Option<Arc<Built>>,
    covers: Vec<ring0_settlement::Cover>,
    shorts: Vec<String>,
    figures: Figures,
    /// Records of each shard that the cut has.
    at: Vec<u64>,
    /// What shards themselves have, where they were quiet at the cut.
    live: BTreeMap<u32, Vec<u128>>,
    /// Shards that have not answered.
    asked: BTreeSet<u32>,
    /// Some shard went on: the ledger's own figure stands for it.
    moved: bool,
}

/// Seconds of Unix time.
pub(crate) fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// What the desk starts from: the journal's book.
pub(crate) struct Start {
    pub(crate) book: Book,
    pub(crate) log: HashLog<Entry>,
    pub(crate) audit: HashLog<Audited>,
    /// Facts that the ledger has.
    pub(crate) taken: u64,
}

impl Desk {
    pub(crate) fn new(
        config: Arc<Config>,
        start: Start,
        ways: Ways,
        published: Published,
        numbers: Arc<Numbers>,
    ) -> Desk {
        let shards = config.shards.len();
        let now = Instant::now();
        let told_heads = start.book.audit_heads.clone();
        let unmarked = start.book.marks.keys().copied().collect();
        Desk {
            config,
            book: start.book,
            log: start.log,
            audit: start.audit,
            ways,
            published,
            numbers,
            fresh: Vec::new(),
            audits: Vec::new(),
            told_heads,
            after: Vec::new(),
            given: 0,
            taken: start.taken,
            records: 0,
            records_at_cut: 0,
            credits: BTreeMap::new(),
            credits_at: now,
            transfers: BTreeMap::new(),
            signing: HashMap::new(),
            refused: BTreeMap::new(),
            holds: BTreeMap::new(),
            cut_holds: BTreeMap::new(),
            last_cut: now,
            compared: None,
            cut_now: false,
            pending: None,
            built: None,
            published_at: None,
            prepared: None,
            marked: vec![None; shards],
            marks: MarkWork::Idle,
            unmarked,
            posts: BTreeMap::new(),
            limits_at: now,
            limits: BTreeMap::new(),
            errors: BTreeMap::new(),
            halts: BTreeMap::new(),
            left: BTreeSet::new(),
        }
    }

    /// Works until it is told to stop.
    pub(crate) fn run(
        mut self,
        messages: &Receiver<Message>,
        stop: &AtomicBool,
    ) -> Result<(), DeskError> {
        self.begin()?;
        while !stop.load(Ordering::Acquire) {
            self.turn(messages)?;
        }
        // What came before the signal is answered; what comes after it is not taken.
        while let Ok(message) = messages.try_recv() {
            self.message(message)?;
        }
        self.commit()?;
        let _ = self.ways.ledger.send(Job::End); // it has ended by itself
        Ok(())
    }

    /// Goes on where the last process stopped.
    fn begin(&mut self) -> Result<(), DeskError> {
        self.look_at_own_log();
        if *self.book.controls.controls() != self.config.controls {
            let controls = self.config.controls.clone();
            self.write(Entry::Controls { controls })?;
        }
        self.rebuild();
        if let Next::Record(epoch) = self.book.protocol.next() {
            // What was compared with the cut is not known any more; nothing was signed.
            self.write(Entry::GivenUp { epoch })?;
        }
        if self.book.protocol.is_published() {
            self.publish();
        }
        let halted: Vec<u32> = self.book.controls.all_halted().map(|it| it.0).collect();
        halted.into_iter().for_each(|it| self.halt_shards(it));
        self.commit()
    }

    /// The newest recorded batch's trees, from the journal.
    fn rebuild(&mut self) {
        let Some(record) = &self.book.record else {
            return;
        };
        let audit = record.audit_heads.clone();
        match self.build(record.epoch, record.previous, &record.states, audit) {
            Ok(built) if built.batch().entries == record.root => self.built = Some(Arc::new(built)),
            Ok(_) => tracing::error!(
                epoch = record.epoch,
                "the recorded batch has another root than its states"
            ),
            Err(why) => tracing::error!(
                epoch = record.epoch,
                why,
                "the recorded batch cannot be built"
            ),
        }
    }

    fn turn(&mut self, messages: &Receiver<Message>) -> Result<(), DeskError> {
        match messages.recv_timeout(TICK) {
            Ok(message) => {
                self.message(message)?;
                for _ in 0..AT_ONCE {
                    match messages.try_recv() {
                        Ok(message) => self.message(message)?,
                        Err(_) => break,
                    }
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        self.credit()?;
        self.withdraw()?;
        self.batch()?;
        self.commit()?;
        self.say_credits();
        self.say_transfers();
        self.ask_signer();
        self.work_on_marks();
        self.share_limits();
        self.stop_leaving();
        self.halt_again();
        Ok(())
    }

    /// Has shards halt an asset, where they are not asked already.
    fn halt_shards(&mut self, asset: u32) {
        for (place, shard) in (0..).zip(&self.ways.shards) {
            if self.halts.insert((place, asset), None) != Some(None) {
                let _ = shard.send(ShardJob::HaltAsset { asset }); // it lives as long as the desk
            }
        }
    }

    /// Asks shards again that have not taken a halt.
    fn halt_again(&mut self) {
        let now = Instant::now();
        for (&(shard, asset), again) in &mut self.halts {
            if again.is_some_and(|at| at <= now) {
                *again = None;
                let _ = self.ways.shards[shard as usize].send(ShardJob::HaltAsset { asset }); // it lives as long as the desk
            }
        }
    }

    /// Forgets the halts of an asset that shards have not taken.
    ///
    /// # Errors
    /// One is on its way: it would come after the asset was let go on.
    fn forget_halts(&mut self, asset: u32) -> Result<(), Failed> {
        let asked = |(of, again): (&(u32, u32), &Option<Instant>)| {
            (of.1 == asset && again.is_none()).then_some(of.0)
        };
        if let Some(shard) = self.halts.iter().find_map(asked) {
            let name = &self.config.shards[shard as usize].name;
            return no(format!(
                "the halt is on its way to shard {name}, and would come after what is cleared now; ask again"
            ));
        }
        let of_asset = |it: &&(u32, u32)| it.1 == asset;
        let refused: Vec<(u32, u32)> = self.halts.keys().filter(of_asset).copied().collect();
        for of in refused {
            self.halts.remove(&of);
            self.trouble(halt_of(&self.config, of), None);
        }
        Ok(())
    }

    /// Who leaves by the chain trades no more: what the chain pays is not won or lost again.
    fn stop_leaving(&mut self) {
        let new: Vec<u32> = self.book.left.difference(&self.left).copied().collect();
        for account in new {
            for shard in &self.ways.shards {
                let _ = shard.send(ShardJob::KillAccount { account }); // it lives as long as the desk
            }
            self.left.insert(account);
        }
    }

    /// Takes in an entry; it is durable at the end of the turn, before anything of it is told.
    fn write(&mut self, entry: Entry) -> Result<(), DeskError> {
        if matches!(entry, Entry::Registered { .. }) {
            self.prepared = None; // somebody else may sign
        }
        self.book.apply(&entry)?;
        self.fresh.push(entry);
        Ok(())
    }

    /// Makes the turn durable, then tells.
    fn commit(&mut self) -> Result<(), DeskError> {
        if !self.audits.is_empty() {
            self.audit.append_all(&self.audits)?;
            self.audits.clear();
        }
        if !self.fresh.is_empty() {
            let began = Instant::now();
            let is_recorded = |it: &Entry| matches!(it, Entry::Recorded { .. });
            if self.fresh.iter().any(is_recorded) {
                self.log_recorded()?;
            } else {
                self.log.append_all(&self.fresh)?;
            }
            self.numbers.journaled(self.fresh.len(), began.elapsed());
            self.fresh.clear();
        }
        let facts = self.book.take_facts();
        if !facts.is_empty() {
            let first = self.given + 1;
            self.given += facts.len() as u64;
            let _ = self.ways.ledger.send(Job::Facts { first, facts }); // it has ended: told by itself
        }
        for after in std::mem::take(&mut self.after) {
            match after {
                After::Reply(reply, value) => drop(reply.send(value)), // the client has gone
                After::Parts(reply, results) => drop(reply.send(results)),
                After::Seen(reply) => drop(reply.send(())),
            }
        }
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<(), DeskError> {
        match message {
            Message::Ask {
                peer,
                request,
                reply,
            } => self.ask(peer, request, reply),
            Message::CoSigned {
                epoch,
                parts,
                reply,
            } => self.cosign(epoch, &parts, reply),
            Message::Arrived {
                account,
                asset,
                units,
                number,
                from,
                reply,
            } => {
                let answer = match self.arrived(&account, &asset, units, number, &from) {
                    Ok(answer) => answer,
                    Err(Failed::Refused(why)) => refusal(&why),
                    Err(Failed::Ended(error)) => return Err(error),
                };
                self.after.push(After::Reply(reply, answer));
                Ok(())
            }
            Message::Looked(looked, reply) => {
                let Looked {
                    hub,
                    look,
                    told,
                    holds,
                    tip,
                } = *looked;
                let entry = match look {
                    Look::Advanced { blocks, seen } => Entry::Advanced {
                        hub,
                        blocks,
                        seen,
                        told,
                    },
                    Look::Reorganised { height } => Entry::Reorganised { hub, height },
                };
                self.write(entry)?;
                for (token, holds) in holds {
                    self.holds.insert((hub, token), holds);
                }
                if let Some(tip) = tip {
                    let name = &self.config.hubs[hub as usize].name;
                    self.numbers.tip(name, tip.height, tip.time);
                }
                self.after.push(After::Seen(reply));
                Ok(())
            }
            Message::Holds { hub, holds } => {
                for (token, holds) in holds {
                    self.holds.insert((hub, token), holds);
                }
                Ok(())
            }
            Message::Chain { hub, error } => {
                let key = format!("hub {}", self.config.hubs[hub as usize].name);
                self.trouble(key, error);
                Ok(())
            }
            Message::Shard { shard, job, result } => self.shard_said(shard, job, result),
            Message::Signer { wanted, result } => self.signer_said(wanted, result),
            Message::Recorded(at) => {
                self.records = at.iter().sum();
                self.numbers.records(self.records);
                Ok(())
            }
            Message::Facts(number) => {
                self.taken = self.taken.max(number);
                self.trouble("ledger".to_owned(), None);
                Ok(())
            }
            Message::FactRefused { number, fact, why } => {
                tracing::error!(number, fact, why, "the ledger does not take a fact");
                self.trouble(
                    "ledger".to_owned(),
                    Some(format!(
                        "fact {number} is not taken: {why}; no batch is made until it is"
                    )),
                );
                Ok(())
            }
            Message::Cut(cut) => self.cut_came(*cut),
            Message::Reconciled(found) => self.reconciled(found),
            Message::Located { asset, first } => self.located(asset, &first),
            Message::Marks(marks) => {
                self.send_marks(marks);
                Ok(())
            }
            Message::Limits { asset, limits } => {
                self.send_limits(asset, &limits);
                Ok(())
            }
            Message::LedgerEnded(why) => Err(DeskError::Ledger(why)),
        }
    }

    /// Notes what does not work, and tells it once.
    fn trouble(&mut self, of: String, error: Option<String>) {
        match error {
            None => {
                if self.errors.remove(&of).is_some() {
                    tracing::info!(of, "works again");
                }
            }
            Some(why) => {
                if self.errors.get(&of) != Some(&why) {
                    tracing::warn!(of, why, "does not work");
                }
                self.errors.insert(of, why);
            }
        }
        self.numbers.troubles(self.errors.len());
    }
}

/// Why something is not done: the asker is told, or the daemon ends.
enum Failed {
    Refused(String),
    Ended(DeskError),
}

impl From<DeskError> for Failed {
    fn from(error: DeskError) -> Failed {
        Failed::Ended(error)
    }
}

/// What there is a trouble with, while a shard has not taken an asset's halt.
fn halt_of(config: &Config, (shard, asset): (u32, u32)) -> String {
    let shard = &config.shards[shard as usize].name;
    format!("halt of {} in {shard}", config.asset_name(asset))
}

fn no<T>(why: impl ToString) -> Result<T, Failed> {
    Err(Failed::Refused(why.to_string()))
}
