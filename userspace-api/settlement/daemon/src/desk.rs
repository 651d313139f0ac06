//! The one thread that decides: it takes in what others bring, writes it down, and only then answers and acts.
//!
//! Everything that is decided in one turn is journaled with one wait for the disk; answers, questions to shards, the signer and the chain come after it.
//! Nothing of what was not journaled has been told to anybody, and what was asked of others is asked again after a death: a shard takes a number once, the
//! signer signs a message once, a hub takes a withdrawal once.

use crate::batch::{Next, Step};
use crate::book::{Book, Contradiction, signed};
use crate::chain::{Looked, Order};
use crate::config::Config;
use crate::credits::Source;
use crate::entry::{Entry, Move, State};
use crate::events::{ChannelWords, Holds, RebalancingWords, SignatureWords};
use crate::follower::{Cut, Job};
use crate::lives::Look;
use crate::metrics::Numbers;
use crate::protocol::{CoSignature, Request};
use crate::published::{self, Part, Published};
use crate::withdrawal::{Debit, Progress};
use crate::workers::{Given, JobError, ShardJob, Wanted};
use crate::{messages, withdrawal};
use alloy_primitives::aliases::U40;
use alloy_sol_types::SolStruct;
use ring0_channels::batch::{Built, Leaf};
use ring0_channels::evidence::{Holding, OperatorHalf};
use ring0_channels::key::Signature;
use ring0_channels::message::{ChannelState, KIND_TRADING, Rebalancing, Withdrawal};
use ring0_channels::{Address, B256};
use ring0_hashlog::{HashLog, LogError};
use ring0_settlement::reconcile::{EngineFigure, HubFigures, TreeFigure};
use ring0_settlement::{
    AccountId, AssetId, Difference, Figures, Mark, PeerId, account_number, exposure,
};
use ring0_signer::message as to_sign;
use ring0_socket::{Peer, refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
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
    Reconciled(Vec<Difference>),
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

/// An entry of the audit log.
#[derive(Debug, Deserialize, Serialize)]
pub struct Audited {
    /// Seconds of Unix time.
    pub at: u64,
    /// The user of the process that asked; none: the daemon itself.
    pub user: Option<u32>,
    /// What was asked.
    pub request: Value,
    /// What became of it: `ok`, or the refusal.
    pub outcome: String,
}

/// Ways to the other threads.
pub(crate) struct Ways {
    pub(crate) shards: Vec<Sender<ShardJob>>,
    pub(crate) signer: Sender<(Wanted, to_sign::Message)>,
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
    after: Vec<After>,
    /// Facts given to the ledger, and taken by it.
    given: u64,
    taken: u64,
    records: u64,
    records_at_cut: u64,
    /// What shards and the signer are being asked, or when they may be asked again.
    credits: BTreeMap<(u32, u32), Instant>,
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
    /// By shard: the sequence up to which records have to be in the ledger before marks are asked for; none: it is not known.
    marked: Vec<Option<u64>>,
    marks: MarkWork,
    unmarked: BTreeSet<u32>,
    posts: BTreeMap<(u32, Address), Instant>,
    limits_at: Instant,
    limits: BTreeMap<(u32, u32, u32), u64>,
    errors: BTreeMap<String, String>,
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
            after: Vec::new(),
            given: 0,
            taken: start.taken,
            records: 0,
            records_at_cut: 0,
            credits: BTreeMap::new(),
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
            marked: vec![None; shards],
            marks: MarkWork::Idle,
            unmarked,
            posts: BTreeMap::new(),
            limits_at: now,
            limits: BTreeMap::new(),
            errors: BTreeMap::new(),
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
        for asset in self
            .book
            .controls
            .all_halted()
            .map(|(asset, _)| asset)
            .collect::<Vec<_>>()
        {
            self.halt_shards(asset);
        }
        self.commit()
    }

    /// The newest recorded batch's trees, from the journal.
    fn rebuild(&mut self) {
        let Some(record) = &self.book.record else {
            return;
        };
        match self.build(record.epoch, record.previous, &record.states) {
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
            self.log.append_all(&self.fresh)?;
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
                    self.numbers
                        .tip(&self.config.hubs[hub as usize].name, tip.height);
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
            Message::Reconciled(differences) => self.reconciled(differences),
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

fn no<T>(why: impl ToString) -> Result<T, Failed> {
    Err(Failed::Refused(why.to_string()))
}

// What people ask.
impl Desk {
    fn ask(
        &mut self,
        peer: Peer,
        request: Request,
        reply: SyncSender<Value>,
    ) -> Result<(), DeskError> {
        let audited = request.is_audited();
        let words = audited.then(|| serde_json::to_value(&request).unwrap_or_default());
        let answer = if request.is_operators() && !peer.is_operator {
            Err(Failed::Refused(
                "this verb is for operators: root or the daemon's own user".to_owned(),
            ))
        } else {
            self.answer(request)
        };
        let (answer, outcome) = match answer {
            Ok(answer) => (answer, "ok".to_owned()),
            Err(Failed::Refused(why)) => (refusal(&why), why),
            Err(Failed::Ended(error)) => return Err(error),
        };
        if let Some(request) = words {
            self.audits.push(Audited {
                at: now_s(),
                user: Some(peer.user),
                request,
                outcome,
            });
        }
        self.after.push(After::Reply(reply, answer));
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Result<Value, Failed> {
        match request {
            Request::Register {
                account,
                owner,
                cosigner,
                grants,
            } => self.register(account, owner, cosigner, grants),
            Request::Address {
                account,
                address,
                signature,
            } => self.name_address(account, address, signature),
            Request::Channels { account } => Ok(self.channels(account)),
            Request::Withdraw {
                channel,
                withdrawn,
                recipient,
                branch,
                deadline,
                signature,
            } => self.ask_withdrawal(channel, withdrawn, recipient, branch, deadline, signature),
            Request::Approve {
                withdrawal,
                yes,
                signature,
            } => self.approve(withdrawal, yes, signature),
            Request::Withdrawals { account } => Ok(self.withdrawals(account)),
            Request::Batches => Ok(self.batches()),
            Request::Moves { account } => Ok(self.moves(account)),
            Request::Rebalance {
                channel,
                number,
                moved,
                branch,
                deadline,
                signature,
            } => self.rebalance(channel, number, moved, branch, deadline, signature),
            Request::Cut => {
                self.cut_now = true;
                Ok(json!({ "ok": true, "next": self.book.protocol.epoch() + 1 }))
            }
            Request::StopWithdrawals { reason } => {
                self.write(Entry::Switched {
                    stopped: true,
                    reason,
                })?;
                Ok(json!({ "ok": true }))
            }
            Request::StartWithdrawals { reason } => {
                self.write(Entry::Switched {
                    stopped: false,
                    reason,
                })?;
                Ok(json!({ "ok": true }))
            }
            Request::HaltAsset { asset, reason } => {
                let asset = self.asset(&asset)?;
                self.halt(asset, reason)?;
                Ok(json!({ "ok": true }))
            }
            Request::ClearHalt { asset, reason } => {
                let asset = self.asset(&asset)?;
                if reason.trim().is_empty() {
                    return no("say why it may go on; the audit log keeps it");
                }
                self.write(Entry::Cleared { asset, reason })?;
                Ok(json!({ "ok": true }))
            }
            Request::Status => Ok(self.status()),
            Request::Health => match self.errors.iter().next() {
                None => Ok(json!({ "ok": true })),
                Some((of, why)) => no(format!("{of}: {why}")),
            },
            // Answered without the desk.
            Request::Batch { .. }
            | Request::Cosign { .. }
            | Request::Balances { .. }
            | Request::Statement { .. }
            | Request::Metrics => no("this verb is not for the desk"),
        }
    }

    fn asset(&self, name: &str) -> Result<u32, Failed> {
        match self.config.asset(name) {
            Some(asset) => Ok(asset),
            None => no(format!(
                "there is no asset {name:?}; the market file names them"
            )),
        }
    }

    fn register(
        &mut self,
        account: u32,
        owner: Address,
        cosigner: Address,
        grants: Vec<crate::protocol::Granted>,
    ) -> Result<Value, Failed> {
        let most = self
            .config
            .plans
            .iter()
            .map(|it| it.capacity().accounts)
            .min();
        if most.is_none_or(|most| account >= most) {
            return no(format!(
                "account {account} is beyond what every shard can hold"
            ));
        }
        if owner == Address::ZERO || cosigner == Address::ZERO || cosigner == self.config.operator {
            return no("owner and co-signer are addresses of the trader's, and not the operator's");
        }
        if let Some(other) = self
            .book
            .account_of(owner)
            .filter(|other| *other != account)
        {
            return no(format!(
                "owner {owner} is registered for account {other}; an owner has one account"
            ));
        }
        let before = self.book.registered.get(&account);
        if let Some(before) = before.filter(|before| before.owner != owner) {
            return no(format!(
                "account {account} is owner {}'s, and its owner stays",
                before.owner
            ));
        }
        let same = before.is_some_and(|it| it.cosigner == cosigner && it.grants == grants);
        if !same {
            self.write(Entry::Registered {
                account,
                owner,
                cosigner,
                grants,
            })?;
        }
        if account as usize >= self.config.plans[0].accounts.len() {
            for shard in &self.ways.shards {
                let _ = shard.send(ShardJob::Open { account }); // it lives as long as the desk
            }
        }
        Ok(json!({ "ok": true, "account": account, "number": account_number(AccountId(account)) }))
    }

    fn name_address(
        &mut self,
        account: u32,
        address: Address,
        signature: Signature,
    ) -> Result<Value, Failed> {
        let Some(registered) = self.book.registered.get(&account) else {
            return no(format!("account {account} is not registered"));
        };
        let digest = messages::address_digest(self.config.venue, account, address);
        match signature.recover(digest) {
            Ok(signer) if signer == registered.owner => {}
            Ok(signer) => {
                return no(format!(
                    "signed by {signer}, and the owner is {}",
                    registered.owner
                ));
            }
            Err(error) => return no(error),
        }
        let at = now_s();
        self.write(Entry::Named {
            account,
            address,
            at,
        })?;
        let from = at + self.config.controls.new_address_s;
        Ok(json!({ "ok": true, "from": from }))
    }

    fn channels(&self, account: u32) -> Value {
        let all: Vec<Value> = self
            .book
            .channels_of(account)
            .map(|(hub, id, it)| {
                let lives = &self.book.hubs[hub as usize].lives;
                let life = lives.life(id);
                let last = life.and_then(|life| life.last());
                let token = self.book.token(hub, it.terms.token);
                json!({
                    "channel": id,
                    "hub": lives.hub(),
                    "terms": it.terms,
                    "asset": token.map(|(asset, _)| self.config.asset_name(asset)),
                    "phase": life.map(|life| format!("{:?}", life.phase()).to_lowercase()),
                    "deposited": it.deposited.to_string(),
                    "withdrawn": it.withdrawn.to_string(),
                    "escrow": it.escrow().to_string(),
                    "moves": it.moves,
                    "entitlement": life.map_or(0, |life| life.entitlement()).to_string(),
                    "version": last.map_or(0, |last| last.version),
                    "epoch": last.map_or(0, |last| last.epoch),
                    "balance": last.map_or(0, |last| last.balance).to_string(),
                    "branch": lives.pin().map(|pin| pin.hash),
                    "chain_time": lives.blocks().tip().map(|tip| tip.time),
                    "under_way": self.book.withdrawals.of_channel(id).map(|it| it.request.id),
                })
            })
            .collect();
        json!({ "ok": true, "account": account, "channels": all })
    }

    fn ask_withdrawal(
        &mut self,
        channel: B256,
        withdrawn: u128,
        recipient: Address,
        branch: B256,
        deadline: u64,
        signature: Signature,
    ) -> Result<Value, Failed> {
        let Some((hub, it)) = self.book.channel(channel) else {
            return no(format!(
                "channel {channel} is not open here; wait until its opening is confirmed"
            ));
        };
        let Some((account, _)) = it.account else {
            let why = self.book.why_waiting(hub, channel).unwrap_or_default();
            return no(format!("channel {channel} is nobody's here: {why}"));
        };
        let owner = it.terms.owner;
        let lives = &self.book.hubs[hub as usize].lives;
        let Some((asset, _)) = self.book.token(hub, it.terms.token) else {
            return no("its token is not admitted");
        };
        let Ok(short) = U40::try_from(deadline) else {
            return no("the deadline has more than 40 bits");
        };
        let message = Withdrawal {
            channel,
            withdrawn,
            recipient,
            branch,
            deadline: short,
        };
        let id = message.eip712_signing_hash(&lives.hub().domain());
        if let Some(known) = self.book.withdrawals.get(id) {
            return Ok(self.tell(known));
        }
        match signature.recover(id) {
            Ok(signer) if signer == owner => {}
            Ok(signer) => return no(format!("signed by {signer}, and the owner is {owner}")),
            Err(error) => return no(error),
        }
        if recipient == Address::ZERO {
            return no("the recipient is nobody; name an address");
        }
        if let Some(open) = self.book.withdrawals.of_channel(channel) {
            return no(withdrawal::Misstep::UnderWay(open.request.id));
        }
        let pin = lives.pin().map(|pin| pin.hash);
        if pin != Some(branch) {
            return no(format!(
                "the pin is {pin:?} and not {branch}; sign under the one that `channels` tells"
            ));
        }
        let chain_s = lives.blocks().tip().map_or(0, |tip| tip.time);
        let (least, most) = self.config.deadline_s;
        if deadline < chain_s + least || deadline > chain_s + most {
            return no(format!(
                "the deadline is {} s from now by the chain's clock, and {least} to {most} are taken",
                i128::from(deadline) - i128::from(chain_s)
            ));
        }
        let Some(life) = lives.life(channel) else {
            return no("the channel has no life yet; wait for its chain");
        };
        let amount = withdrawn.saturating_sub(life.withdrawn());
        let payable = withdrawal::payable(life.entitlement(), 0, u128::MAX);
        if amount == 0 || amount > payable {
            return no(format!(
                "{amount} base units are asked and {payable} are co-signed; `withdrawn` is all that the channel has withdrawn ({}) and this together",
                life.withdrawn()
            ));
        }
        let now = now_s();
        let own = recipient == owner;
        let approve = self
            .book
            .controls
            .check(account, asset, amount, recipient, own, now);
        let approve = approve.or_else(no)?;
        let unit = self.config.unit(asset);
        let dust = self.book.credits.dust(account, asset);
        if Debit::of(0, amount, dust, unit).is_none() {
            return no(format!(
                "{} base units of it are below an engine unit ({unit}) and the account has {dust}; ask for a multiple of {unit}, or for that and all of the dust",
                amount % unit
            ));
        }
        let request = withdrawal::Request {
            id,
            hub,
            channel,
            account,
            asset,
            amount,
            withdrawn,
            recipient,
            branch,
            deadline,
            owner: signature,
            at: now,
            approve,
        };
        self.write(Entry::Asked { request })?;
        self.numbers.withdrawal("asked");
        match self.book.withdrawals.get(id) {
            Some(known) => Ok(self.tell(known)),
            None => no("it was not taken"),
        }
    }

    fn tell(&self, it: &withdrawal::Withdrawal) -> Value {
        let request = &it.request;
        let operator = match &it.progress {
            Progress::Signed(_, signature) => Some(*signature),
            _ => None,
        };
        let why = match &it.progress {
            Progress::Refused(why) => Some(why.clone()),
            _ => self.refused.get(&request.id).cloned(),
        };
        json!({
            "ok": true,
            "withdrawal": request.id,
            "progress": it.progress.name(),
            "why": why,
            "account": request.account,
            "asset": self.config.asset_name(request.asset),
            "channel": request.channel,
            "amount": request.amount.to_string(),
            "withdrawn": request.withdrawn.to_string(),
            "recipient": request.recipient,
            "branch": request.branch,
            "deadline": request.deadline,
            "at": request.at,
            "owner": request.owner,
            "operator": operator,
        })
    }

    fn withdrawals(&self, account: Option<u32>) -> Value {
        let mut all: Vec<_> = self
            .book
            .withdrawals
            .iter()
            .filter(|it| account.is_none_or(|account| it.request.account == account))
            .collect();
        all.sort_by_key(|it| (it.request.at, it.request.id));
        let all: Vec<Value> = all.into_iter().map(|it| self.tell(it)).collect();
        json!({ "ok": true, "withdrawals": all })
    }

    fn approve(&mut self, id: B256, yes: bool, signature: Signature) -> Result<Value, Failed> {
        let Some(one) = self.book.withdrawals.get(id) else {
            return no(withdrawal::Misstep::Unknown(id));
        };
        if one.progress != Progress::Waiting {
            return no(format!(
                "withdrawal {id} is {} and waits for nobody",
                one.progress.name()
            ));
        }
        let digest = messages::approval_digest(self.config.venue, id, yes);
        let approver = match signature.recover(digest) {
            Ok(approver) => approver,
            Err(error) => return no(error),
        };
        if !self.config.controls.approvers.contains(&approver) {
            return no(format!(
                "{approver} is no approver; controls.approvers names them"
            ));
        }
        let to = match yes {
            true => Progress::Passed,
            false => Progress::Refused(format!("refused by approver {approver}")),
        };
        self.write(Entry::Stepped {
            id,
            to,
            known: None,
        })?;
        Ok(json!({ "ok": true, "approver": approver }))
    }

    fn batches(&self) -> Value {
        let protocol = &self.book.protocol;
        let missing: Vec<u32> = protocol
            .parts()
            .filter(|(_, signed)| !signed)
            .map(|(account, _)| account)
            .collect();
        let lagging: Vec<Value> = protocol
            .lagging()
            .map(|(account, epoch)| json!({ "account": account, "since": epoch }))
            .collect();
        let record = self.book.record.as_ref();
        json!({
            "ok": true,
            "epoch": protocol.epoch(),
            "stage": protocol.stage(),
            "recorded": record.map(|it| it.epoch),
            "root": record.map(|it| it.root),
            "previous": record.map(|it| it.previous),
            "signature": record.and_then(|it| it.signature),
            "accounts": protocol.parts().count(),
            "not_signed": missing,
            "lagging": lagging,
            "unmarked": self.unmarked.len(),
        })
    }

    fn status(&self) -> Value {
        let waiting: Vec<Value> = (0_u32..)
            .zip(&self.book.hubs)
            .flat_map(|(hub, book)| {
                book.channels.iter().filter_map(move |(id, it)| {
                    let why = self.book.why_waiting(hub, *id).filter(|_| !it.ended)?;
                    let deposited = it.deposited.to_string();
                    Some(json!({ "channel": id, "deposited": deposited, "why": why }))
                })
            })
            .collect();
        let halted: Vec<Value> = self
            .book
            .controls
            .all_halted()
            .map(|(asset, why)| json!({ "asset": self.config.asset_name(asset), "why": why }))
            .collect();
        let hubs: Vec<Value> = self
            .config
            .hubs
            .iter()
            .zip(&self.book.hubs)
            .map(|(config, book)| {
                json!({
                    "name": config.name,
                    "tip": book.lives.blocks().tip(),
                    "pin": book.lives.pin(),
                    "channels": book.channels.len(),
                    "posted": book.posted,
                })
            })
            .collect();
        json!({
            "ok": true,
            "venue": self.config.venue,
            "operator": self.config.operator,
            "epoch": self.book.protocol.epoch(),
            "stage": self.book.protocol.stage(),
            "accounts": self.book.registered.len(),
            "hubs": hubs,
            "waiting_channels": waiting,
            "credits_waiting": self.book.credits.waiting(),
            "withdrawals_open": self.book.withdrawals.open().count(),
            "withdrawals_stopped": self.book.controls.stopped(),
            "halted": halted,
            "journal": { "entries": self.log.entries(), "head": self.log.head().to_string() },
            "audit": { "entries": self.audit.entries(), "head": self.audit.head().to_string() },
            "facts": { "derived": self.book.facts, "in_ledger": self.taken },
            "records": self.records,
            "troubles": self.errors,
        })
    }

    fn moves(&self, account: u32) -> Value {
        let all: Vec<Value> = self
            .book
            .channels_of(account)
            .filter_map(|(hub, id, it)| {
                let lives = &self.book.hubs[hub as usize].lives;
                let life = lives.life(id)?;
                let last = life.last()?;
                // What is signed and on its way out is the trader's too.
                let pending = self.book.withdrawals.of_channel(id).map_or(0, |it| it.request.amount);
                let surplus = it.escrow().checked_sub(last.balance.max(pending))?;
                let is_open = matches!(life.phase(), ring0_channels::life::Phase::Open);
                (surplus > 0 && is_open && !it.ended).then(|| {
                    json!({
                        "hub": lives.hub(),
                        "channel": id,
                        "number": it.moves + 1,
                        "moved": format!("-{surplus}"),
                        "branch": lives.pin().map(|pin| pin.hash),
                        "deadline": lives.blocks().tip().map_or(0, |tip| tip.time) + self.config.deadline_s.1,
                    })
                })
            })
            .collect();
        json!({ "ok": true, "moves": all })
    }

    fn rebalance(
        &mut self,
        channel: B256,
        number: u64,
        moved: i128,
        branch: B256,
        deadline: u64,
        cosigner: Signature,
    ) -> Result<Value, Failed> {
        let Some((hub, it)) = self.book.channel(channel) else {
            return no(format!("channel {channel} is not open here"));
        };
        let lives = &self.book.hubs[hub as usize].lives;
        let last = lives.life(channel).and_then(|life| life.last());
        let surplus = it
            .escrow()
            .saturating_sub(last.map_or(u128::MAX, |last| last.balance));
        if number != it.moves + 1 {
            return no(format!(
                "move {number} is not {}, which is next",
                it.moves + 1
            ));
        }
        if moved >= 0 || moved.unsigned_abs() > surplus {
            return no(format!(
                "the channel's escrow has {surplus} above its co-signed balance; ask `moves`"
            ));
        }
        let (Ok(short), Ok(place)) = (U40::try_from(deadline), U40::try_from(number)) else {
            return no("a number has more than 40 bits");
        };
        if lives.pin().is_none_or(|pin| pin.hash != branch) {
            return no("the pin is another one; sign under the one that `moves` tells");
        }
        let message = Rebalancing {
            channel,
            number: place,
            moved,
            branch,
            deadline: short,
        };
        let id = message.eip712_signing_hash(&lives.hub().domain());
        match cosigner.recover(id) {
            Ok(signer) if signer == it.terms.cosigner => {}
            Ok(signer) => {
                return no(format!(
                    "signed by {signer}, and the co-signer is {}",
                    it.terms.cosigner
                ));
            }
            Err(error) => return no(error),
        }
        if !self.book.moves.contains_key(&id) {
            let moved = Move {
                id,
                hub,
                channel,
                number,
                moved,
                branch,
                deadline,
                cosigner,
            };
            self.write(Entry::Moved { moved })?;
        }
        Ok(json!({ "ok": true, "move": id }))
    }
}

// Into shards and out of them.
impl Desk {
    /// Decides credits for what is confirmed and for what came back.
    fn credit(&mut self) -> Result<(), DeskError> {
        let due: Vec<_> = self.book.creditable().collect();
        for (source, account, asset, amount) in due {
            self.credit_one(source, account, asset, amount)?;
        }
        Ok(())
    }

    fn credit_one(
        &mut self,
        source: Source,
        account: u32,
        asset: u32,
        amount: u128,
    ) -> Result<(), DeskError> {
        let shard = self.config.deposits_to;
        let unit = self.config.unit(asset);
        let credit = self
            .book
            .credits
            .next(source, (shard, account, asset), amount, unit);
        match credit {
            Some(credit) => {
                tracing::info!(account, asset, amount, units = credit.units, "credit");
                self.write(Entry::Credited { credit })
            }
            None => {
                let of = format!("credit of account {account}");
                self.trouble(
                    of,
                    Some(format!(
                        "{amount} base units are more than an engine counts; split the deposit"
                    )),
                );
                Ok(())
            }
        }
    }

    /// Says the credits that the ledger knows of to their shards.
    fn say_credits(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self
            .book
            .credits
            .due()
            .filter(|it| {
                let fact = self
                    .book
                    .credit_facts
                    .get(&(it.shard, it.account, it.number));
                let said = self.credits.get(&(it.shard, it.account));
                fact.is_none_or(|fact| *fact <= self.taken)
                    && said.is_none_or(|again| *again <= now)
            })
            .copied()
            .collect();
        for credit in due {
            self.credits
                .insert((credit.shard, credit.account), now + 30 * AGAIN);
            let _ = self.ways.shards[credit.shard as usize].send(ShardJob::Credit(credit)); // it lives as long as the desk
        }
    }

    fn arrived(
        &mut self,
        account: &str,
        asset: &str,
        units: u64,
        number: u64,
        from: &str,
    ) -> Result<Value, Failed> {
        let Some(account) = self.config.account(account) else {
            return no(format!("there is no account {account:?}"));
        };
        let asset = self.asset(asset)?;
        let shards = self.config.shards.iter();
        let Some((shard, _)) = (0_u32..).zip(shards).find(|(_, it)| it.name == from) else {
            return no(format!("there is no shard {from:?} in the configuration"));
        };
        if self.book.withdrawals.has_arrived(shard, account, number) {
            return Ok(json!({ "ok": true, "outcome": "known" }));
        }
        let withdrawal = self
            .book
            .withdrawals
            .claims((shard, account, asset), units, number);
        self.write(Entry::Arrived {
            shard,
            account,
            asset,
            units,
            number,
            withdrawal,
        })?;
        match withdrawal {
            Some(id) => {
                self.transfers.remove(&id);
                self.numbers.withdrawal("debited");
            }
            None => {
                tracing::warn!(
                    account,
                    asset,
                    units,
                    number,
                    "a transfer that nobody asked for goes back"
                );
                let amount = u128::from(units) * self.config.unit(asset);
                let source = Source::Unasked { shard, number };
                self.credit_one(source, account, asset, amount)?;
            }
        }
        Ok(json!({ "ok": true, "outcome": "accepted" }))
    }

    /// Decides the next steps of withdrawals.
    fn withdraw(&mut self) -> Result<(), DeskError> {
        let open: Vec<_> = self.book.withdrawals.open().cloned().collect();
        for it in open {
            let request = &it.request;
            let (id, account, asset) = (request.id, request.account, request.asset);
            let counted_s = self.book.hubs[request.hub as usize].lives.counted_s();
            let late = request.deadline < counted_s;
            let step = match &it.progress {
                Progress::Waiting | Progress::Passed if late => Some(Progress::Refused(
                    "its deadline passed before it was let through".to_owned(),
                )),
                Progress::Passed => self.debit(account, asset, request.amount),
                Progress::Debiting(debit) => match self.transfers.get(&id) {
                    Some(asked) if asked.known && asked.at.elapsed() >= ARRIVAL => {
                        self.transfers.remove(&id);
                        let number = debit.number + 1;
                        Some(Progress::Debiting(Debit { number, ..*debit }))
                    }
                    _ => None,
                },
                Progress::Debited(debit) => {
                    let lives = &self.book.hubs[request.hub as usize].lives;
                    let takes = lives.would(request.channel, |life| {
                        life.withdraw(request.withdrawn, request.deadline)
                    });
                    match takes {
                        _ if late => Some(Progress::Lapsed),
                        Ok(()) => Some(Progress::Leaving(*debit)),
                        Err(why) => {
                            self.refused.insert(id, why.to_string());
                            None
                        }
                    }
                }
                _ => None,
            };
            if let Some(to) = step {
                if to.is_over() || matches!(to, Progress::Leaving(_)) {
                    self.refused.remove(&id);
                }
                tracing::info!(%id, account, to = to.name(), "withdrawal");
                self.write(Entry::Stepped {
                    id,
                    to,
                    known: None,
                })?;
            }
        }
        Ok(())
    }

    /// How a withdrawal that passed is debited; `None`: not now.
    fn debit(&self, account: u32, asset: u32, amount: u128) -> Option<Progress> {
        let shard = self.config.deposits_to;
        let controls = &self.book.controls;
        let stands = controls.stopped().is_some() || controls.halted(asset).is_some();
        if stands || self.book.withdrawals.is_debiting(account, shard) {
            return None;
        }
        let (unit, dust) = (
            self.config.unit(asset),
            self.book.credits.dust(account, asset),
        );
        Some(match Debit::of(shard, amount, dust, unit) {
            None => Progress::Refused(
                "the account's dust is not enough for what is below an engine unit".to_owned(),
            ),
            Some(debit) if debit.units == 0 => Progress::Debited(debit),
            Some(debit) => Progress::Debiting(Debit {
                number: self.book.withdrawals.next_number(shard, account),
                ..debit
            }),
        })
    }

    /// Asks shards to debit.
    fn say_transfers(&mut self) {
        let mut due = Vec::new();
        for it in self.book.withdrawals.open() {
            let Progress::Debiting(debit) = it.progress else {
                continue;
            };
            let asked = self.transfers.get(&it.request.id);
            let is_due = match asked {
                None => true,
                Some(asked) => !asked.waits && !asked.known && asked.at.elapsed() >= AGAIN,
            };
            if is_due {
                due.push((it.request.id, it.request.account, it.request.asset, debit));
            }
        }
        for (id, account, asset, debit) in due {
            let asked = Asked {
                at: Instant::now(),
                known: false,
                waits: true,
            };
            self.transfers.insert(id, asked);
            let job = ShardJob::Transfer {
                id,
                account,
                asset,
                units: debit.units,
                number: debit.number,
            };
            let _ = self.ways.shards[debit.shard as usize].send(job); // it lives as long as the desk
        }
    }

    fn shard_said(
        &mut self,
        shard: u32,
        job: ShardJob,
        result: Result<Value, JobError>,
    ) -> Result<(), DeskError> {
        let key = format!("shard {}", self.config.shards[shard as usize].name);
        let gone = match &result {
            Err(JobError::Gone(why)) => Some(why.clone()),
            _ => None,
        };
        self.trouble(key, gone);
        match job {
            ShardJob::Credit(credit) => {
                let of = (credit.shard, credit.account);
                match &result {
                    Ok(answer) if answer["durable"] != false => {
                        self.credits.remove(&of);
                        self.write(Entry::CreditDone {
                            shard: credit.shard,
                            account: credit.account,
                            number: credit.number,
                        })?;
                    }
                    Ok(_) => drop(self.credits.insert(of, Instant::now() + AGAIN / 10)),
                    Err(why) => {
                        self.credits.insert(of, Instant::now() + AGAIN);
                        let of = format!("credit {} of account {}", credit.number, credit.account);
                        tracing::warn!(of, why = why.text(), "waits");
                    }
                }
            }
            ShardJob::Transfer { id, number, .. } => {
                let is_it = self.book.withdrawals.get(id).is_some_and(
                    |it| matches!(it.progress, Progress::Debiting(debit) if debit.number == number),
                );
                if !is_it {
                    return Ok(()); // it arrived before the answer
                }
                let known = result
                    .as_ref()
                    .is_ok_and(|answer| answer["outcome"] == "known");
                let asked = Asked {
                    at: Instant::now(),
                    // Accepted, it will arrive; should this daemon's memory of it be lost it is asked again, and known.
                    known: known || result.is_ok(),
                    waits: false,
                };
                match result {
                    Err(JobError::Refused(why)) if !why.contains("in flight") => {
                        self.transfers.remove(&id);
                        self.numbers.withdrawal("refused");
                        self.write(Entry::Stepped {
                            id,
                            to: Progress::Refused(why),
                            known: None,
                        })?;
                    }
                    _ => drop(self.transfers.insert(id, asked)),
                }
            }
            ShardJob::Marks { .. } => {
                if let MarkWork::Sent(open) = self.marks {
                    self.marks = match open {
                        0 | 1 => MarkWork::Idle,
                        _ => MarkWork::Sent(open - 1),
                    };
                }
                // What was not answered may have been done: the shard is asked how far its records are before marks are computed again.
                self.marked[shard as usize] = match &result {
                    Ok(answer) => answer["next_sequence"]
                        .as_u64()
                        .map(|next| next.saturating_sub(1)),
                    Err(_) => None,
                };
                if let Ok(answer) = &result
                    && let Some(refused) = answer["refused"].as_array().filter(|it| !it.is_empty())
                {
                    tracing::warn!(?refused, "marks were refused");
                }
            }
            ShardJob::Figures { epoch } => self.figures_came(shard, epoch, &result),
            ShardJob::Status => {
                let answer = result.unwrap_or_default();
                let next = answer["next_sequence"]
                    .as_u64()
                    .or_else(|| answer["ring"]["next_sequence"].as_u64());
                self.marked[shard as usize] = next.map(|next| next.saturating_sub(1));
            }
            ShardJob::HaltAsset { asset } => {
                if let Err(why) = result {
                    let of = format!("halt of {}", self.config.asset_name(asset));
                    self.trouble(of, Some(why.text().to_owned()));
                    let _ = self.ways.shards[shard as usize].send(ShardJob::HaltAsset { asset }); // again
                    std::thread::sleep(TICK);
                } else {
                    self.trouble(format!("halt of {}", self.config.asset_name(asset)), None);
                }
            }
            ShardJob::Open { account } => {
                if let Err(why) = result {
                    tracing::warn!(account, why = why.text(), "the account is not opened");
                }
            }
            ShardJob::Limits { .. } | ShardJob::KillAccount { .. } => {
                if let Err(why) = result {
                    tracing::warn!(why = why.text(), "not done by the shard");
                    self.limits.clear();
                }
            }
        }
        Ok(())
    }
}

// The signer.
impl Desk {
    fn ask_signer(&mut self) {
        let now = Instant::now();
        let mut wanted = Vec::new();
        if let Next::Sign { epoch, .. } = self.book.protocol.next() {
            wanted.push(Wanted::Batch(epoch));
        }
        for it in self.book.withdrawals.open() {
            if matches!(it.progress, Progress::Leaving(_)) {
                wanted.push(Wanted::Withdrawal(it.request.id));
            }
        }
        for (id, (_, operator)) in &self.book.moves {
            if operator.is_none() {
                wanted.push(Wanted::Move(*id));
            }
        }
        for wanted in wanted {
            if self.signing.get(&wanted).is_some_and(|again| *again > now) {
                continue;
            }
            if let Some(message) = self.to_sign(wanted) {
                self.signing.insert(wanted, now + 90 * AGAIN);
                let _ = self.ways.signer.send((wanted, message)); // it lives as long as the desk
            }
        }
    }

    fn to_sign(&self, wanted: Wanted) -> Option<to_sign::Message> {
        match wanted {
            Wanted::Batch(_) => {
                let built = self.built.as_ref()?;
                let mut pairs = Vec::new();
                for hub in &self.config.hubs {
                    for token in &hub.tokens {
                        if built.sums(&hub.hub, token.token).is_some() {
                            pairs.push((hub.hub, token.token));
                        }
                    }
                }
                to_sign::Message::batch(self.config.venue, built, &pairs).ok()
            }
            Wanted::Withdrawal(id) => {
                let request = &self.book.withdrawals.get(id)?.request;
                let lives = &self.book.hubs.get(request.hub as usize)?.lives;
                Some(to_sign::Message::Withdrawal(to_sign::Withdrawal {
                    hub: *lives.hub(),
                    terms: *lives.terms(request.channel)?,
                    withdrawn: request.withdrawn,
                    recipient: request.recipient,
                    branch: request.branch,
                    deadline: request.deadline,
                    owner_signature: Some(request.owner),
                }))
            }
            Wanted::Move(id) => {
                let (moved, _) = self.book.moves.get(&id)?;
                let lives = &self.book.hubs.get(moved.hub as usize)?.lives;
                Some(to_sign::Message::Rebalance(to_sign::Rebalance {
                    hub: *lives.hub(),
                    terms: *lives.terms(moved.channel)?,
                    number: moved.number,
                    moved: moved.moved,
                    branch: moved.branch,
                    deadline: moved.deadline,
                }))
            }
        }
    }

    fn signer_said(
        &mut self,
        wanted: Wanted,
        result: Result<Given, JobError>,
    ) -> Result<(), DeskError> {
        let gone = match &result {
            Err(JobError::Gone(why)) => Some(why.clone()),
            Err(JobError::Refused(why)) if matches!(wanted, Wanted::Batch(_)) => Some(why.clone()),
            _ => None,
        };
        self.trouble("signer".to_owned(), gone);
        let (signature, known) = match result {
            Ok(given) => given,
            Err(why) => {
                self.signing.insert(wanted, Instant::now() + AGAIN);
                if let Wanted::Withdrawal(id) | Wanted::Move(id) = wanted {
                    self.refused.insert(id, why.text().to_owned());
                }
                return Ok(());
            }
        };
        self.signing.remove(&wanted);
        match wanted {
            Wanted::Batch(epoch) => {
                let step = Step::Signed { epoch };
                if self.book.protocol.check(&step).is_ok() {
                    self.write(Entry::Signed {
                        epoch,
                        signature,
                        known,
                    })?;
                    // Durable first, then given out.
                    self.commit()?;
                    self.publish();
                    self.numbers.batch_signed(epoch);
                }
            }
            Wanted::Withdrawal(id) => {
                let progress = self.book.withdrawals.get(id).map(|it| it.progress.clone());
                if let Some(Progress::Leaving(debit)) = progress {
                    self.refused.remove(&id);
                    self.numbers.withdrawal("signed");
                    self.write(Entry::Stepped {
                        id,
                        to: Progress::Signed(debit, signature),
                        known: Some(known),
                    })?;
                }
            }
            Wanted::Move(id) => {
                let unsigned = self
                    .book
                    .moves
                    .get(&id)
                    .is_some_and(|(_, operator)| operator.is_none());
                if unsigned {
                    self.write(Entry::MoveSigned {
                        id,
                        operator: signature,
                    })?;
                    self.commit()?;
                    self.send_move(id);
                }
            }
        }
        Ok(())
    }

    fn send_move(&self, id: B256) {
        let Some((moved, Some(operator))) = self.book.moves.get(&id) else {
            return;
        };
        let hub = moved.hub as usize;
        let Some(terms) = self.book.hubs[hub].lives.terms(moved.channel) else {
            return;
        };
        let words = |signature: &Signature| SignatureWords {
            r: signature.r,
            vs: signature.vs,
        };
        let item = RebalancingWords {
            channel: ChannelWords {
                owner: terms.owner,
                cosigner: terms.cosigner,
                token: terms.token,
                nonce: terms.nonce,
            },
            number: U40::saturating_from(moved.number),
            moved: moved.moved,
            branch: moved.branch,
            deadline: U40::saturating_from(moved.deadline),
            cosigner: words(&moved.cosigner),
            operator: words(operator),
        };
        let _ = self.ways.hubs[hub].send(Order::Rebalance(vec![item])); // it lives as long as the desk
    }
}

// Batches.
impl Desk {
    /// Decides the next step of the batch.
    fn batch(&mut self) -> Result<(), DeskError> {
        match self.book.protocol.next() {
            Next::Cut(epoch) => self.cut(epoch),
            Next::Collect(epoch) => {
                let over = self
                    .published_at
                    .is_some_and(|at| at.elapsed() >= self.config.batches.cosign);
                if self.book.protocol.all_signed() || over {
                    self.write(Entry::Closed { epoch })?;
                    self.numbers.lagging(self.book.protocol.lagging().count());
                }
                Ok(())
            }
            // The ledger or the signer is at work.
            Next::Record(_) | Next::Sign { .. } => Ok(()),
        }
    }

    fn cut(&mut self, epoch: u64) -> Result<(), DeskError> {
        let batches = &self.config.batches;
        let due = self.cut_now
            || self.last_cut.elapsed() >= batches.period
            || self.records.saturating_sub(self.records_at_cut) >= batches.records;
        // The ledger has every fact: what the chain had confirmed is in the cut.
        if !due || self.taken < self.book.facts {
            return Ok(());
        }
        let pins: Vec<_> = self.book.hubs.iter().map(|it| it.lives.pin()).collect();
        let unpinned = self.book.hubs.iter().zip(&pins).any(|(hub, pin)| {
            pin.is_none() && hub.channels.values().any(|it| it.account.is_some())
        });
        let any = self.book.hubs.iter().any(|hub| {
            hub.channels
                .values()
                .any(|it| it.account.is_some() && !it.ended)
        });
        let mut holds = BTreeMap::new();
        for (place, hub) in (0_u32..).zip(&self.config.hubs) {
            for token in &hub.tokens {
                let of = (place, token.token);
                let Some(held) = self.holds.get(&of) else {
                    return Ok(()); // the chain's thread has not looked yet
                };
                holds.insert(of, (*held, self.book.nobodys(place, token.token)));
            }
        }
        if unpinned || !any {
            return Ok(());
        }
        self.cut_holds = holds;
        self.cut_now = false;
        self.last_cut = Instant::now();
        self.records_at_cut = self.records;
        self.numbers.cut(epoch);
        self.write(Entry::Cut {
            epoch,
            time_ns: now_ns(),
            pins,
        })
    }

    /// The ledger has cut: states are made, and the figures compared before anything is recorded.
    fn cut_came(&mut self, cut: Cut) -> Result<(), DeskError> {
        let Cut {
            batch,
            leaves,
            shards,
        } = cut;
        let epoch = batch.epoch.0;
        if self.book.protocol.next() != Next::Record(epoch) {
            // It was given up before the ledger had it.
            let _ = self.ways.ledger.send(Job::Resume); // it has ended: told by itself
            return Ok(());
        }
        let states = self.states(epoch, &leaves);
        let has_new = states.iter().any(|it| it.epoch == epoch);
        let mut shorts = Vec::new();
        let built = match states.is_empty() {
            true => None,
            false => match self.build(epoch, self.book.previous, &states) {
                Ok(built) => Some(Arc::new(built)),
                Err(why) => {
                    shorts.push(format!("the trees cannot be built: {why}"));
                    None
                }
            },
        };
        let mut figures = Figures {
            engine: (0..)
                .zip(shards)
                .map(|(asset, units)| EngineFigure {
                    asset: AssetId(asset),
                    units,
                })
                .collect(),
            ..Figures::default()
        };
        let mut place = 0;
        for (hub_place, hub) in (0_u32..).zip(&self.config.hubs) {
            for token in &hub.tokens {
                let sums = built.as_ref().and_then(|it| it.sums(&hub.hub, token.token));
                let sums = sums.unwrap_or_default();
                figures.trees.push(TreeFigure {
                    place,
                    balance: sums.balance,
                });
                let held = self.cut_holds.get(&(hub_place, token.token)).copied();
                let (holds, nobodys) = held.unwrap_or_default();
                figures.hubs.push(HubFigures {
                    place,
                    height: holds.height,
                    balance: holds.balance.saturating_sub(nobodys),
                    vault: holds.vault,
                    claims: 0,
                });
                if sums.excess > holds.vault {
                    shorts.push(format!(
                        "{} at {}: winnings of {} are above the vault's {}; rebalance {} into it",
                        self.config.asset_name(token.asset),
                        hub.name,
                        sums.excess,
                        holds.vault,
                        sums.excess - holds.vault
                    ));
                }
                place += 1;
            }
        }
        let mut asked = BTreeSet::new();
        if self
            .compared
            .is_none_or(|at| at.elapsed() >= self.config.batches.compare)
        {
            self.compared = Some(Instant::now());
            for (place, shard) in (0_u32..).zip(&self.ways.shards) {
                let _ = shard.send(ShardJob::Figures { epoch }); // it lives as long as the desk
                asked.insert(place);
            }
        }
        self.pending = Some(Pending {
            epoch,
            states,
            built: built.filter(|_| has_new),
            covers: batch.covers,
            shorts,
            figures,
            at: batch.at,
            live: BTreeMap::new(),
            moved: asked.is_empty(),
            asked,
        });
        self.reconcile();
        Ok(())
    }

    /// What a shard itself has, for the cut that waits.
    fn figures_came(&mut self, shard: u32, epoch: u64, result: &Result<Value, JobError>) {
        let Some(pending) = self.pending.as_mut().filter(|it| it.epoch == epoch) else {
            return;
        };
        if !pending.asked.remove(&shard) {
            return;
        }
        let at = pending.at.get(shard as usize).map(|at| at + 1);
        let sums = result.as_ref().ok().and_then(|answer| {
            let quiet = answer["before"].as_u64() == at && answer["after"].as_u64() == at;
            let sums = answer["sums"].as_array().filter(|_| quiet)?;
            sums.iter()
                .map(|sum| sum.as_str()?.parse().ok())
                .collect::<Option<Vec<u128>>>()
        });
        match sums {
            Some(sums) => drop(pending.live.insert(shard, sums)),
            None => pending.moved = true,
        }
        self.reconcile();
    }

    /// Gives the figures of the cut to the ledger, when they are all here.
    fn reconcile(&mut self) {
        let Some(pending) = self.pending.as_mut().filter(|it| it.asked.is_empty()) else {
            return;
        };
        if !pending.moved {
            for figure in &mut pending.figures.engine {
                let of = figure.asset.0 as usize;
                let all = pending.live.values().filter_map(|sums| sums.get(of));
                figure.units = all.sum();
            }
            self.numbers.compared();
        }
        let figures = pending.figures.clone();
        let _ = self.ways.ledger.send(Job::Reconcile(figures)); // it has ended: told by itself
    }

    /// The states of a cut, all channels': a trader who is touched, or lags, gets new ones for all of its channels.
    fn states(&self, epoch: u64, leaves: &[Leaf]) -> Vec<State> {
        let mut all = Vec::new();
        let mut renewed = BTreeSet::new();
        for leaf in leaves {
            let channel = leaf.state.channel;
            let Some((hub, it)) = self.book.channel(channel) else {
                continue;
            };
            let Some((account, _)) = it.account else {
                continue;
            };
            let lives = &self.book.hubs[hub as usize].lives;
            let offered = self.book.offered.get(&channel);
            let last = lives.life(channel).and_then(|life| life.last());
            let same = offered.is_some_and(|it| {
                (it.balance, it.deposited_seen, it.withdrawn_seen)
                    == (
                        leaf.state.balance,
                        leaf.state.depositedSeen,
                        leaf.state.withdrawnSeen,
                    )
                    && last.is_some_and(|last| last.version == it.version)
            });
            if !same {
                renewed.insert(account);
            }
            all.push((hub, account, leaf));
        }
        all.into_iter()
            .filter_map(|(hub, account, leaf)| {
                let channel = leaf.state.channel;
                let lives = &self.book.hubs[hub as usize].lives;
                let offered = self.book.offered.get(&channel).copied();
                let mut new = State {
                    channel,
                    hub,
                    account,
                    version: offered.map_or(0, |it| it.version) + 1,
                    balance: leaf.state.balance,
                    deposited_seen: leaf.state.depositedSeen,
                    withdrawn_seen: leaf.state.withdrawnSeen,
                    excess: leaf.excess,
                    epoch,
                    pin: lives.pin()?,
                };
                let (asset, _) = self.book.token(hub, lives.terms(channel)?.token)?;
                if self.book.controls.halted(asset).is_some() {
                    // Its figures are in doubt: it stays at what was signed last.
                    let life = lives.life(channel)?;
                    let last = life.last();
                    new.balance = last.map_or(life.entitlement(), |last| last.balance);
                    new.deposited_seen = last.map_or(life.deposited(), |last| last.deposited_seen);
                    new.withdrawn_seen = last.map_or(life.withdrawn(), |last| last.withdrawn_seen);
                    new.excess = offered.map_or(0, |it| it.excess);
                }
                let takes = || {
                    lives
                        .would(channel, |life| life.offer(signed(&new)))
                        .is_ok()
                };
                match offered {
                    // The state says nothing of the excess: its signatures stay good.
                    Some(old) if !renewed.contains(&account) || !takes() => Some(State {
                        excess: leaf.excess,
                        ..old
                    }),
                    None if !takes() => None,
                    _ => Some(new),
                }
            })
            .collect()
    }

    fn build(&self, epoch: u64, previous: B256, states: &[State]) -> Result<Built, String> {
        let leaf = |state: &State| {
            let hub = self.book.hubs.get(state.hub as usize)?;
            let terms = hub.lives.terms(state.channel)?;
            Some(Leaf {
                hub: *hub.lives.hub(),
                token: terms.token,
                account: account_number(AccountId(state.account)),
                state: ChannelState {
                    channel: state.channel,
                    version: U40::saturating_from(state.version),
                    balance: state.balance,
                    depositedSeen: state.deposited_seen,
                    withdrawnSeen: state.withdrawn_seen,
                    epoch: U40::saturating_from(state.epoch),
                    kind: KIND_TRADING,
                    branch: state.pin.hash,
                },
                excess: state.excess,
            })
        };
        let leaves: Option<Vec<Leaf>> = states.iter().map(leaf).collect();
        let leaves = leaves.ok_or("a state's channel has no terms")?;
        Built::new(U40::saturating_from(epoch), previous, leaves).map_err(|error| error.to_string())
    }

    /// The figures of the cut were compared: what differs is halted, and else the batch is recorded.
    fn reconciled(&mut self, differences: Vec<Difference>) -> Result<(), DeskError> {
        self.numbers.reconciled(differences.len());
        let mut fresh = false;
        for difference in &differences {
            let asset = difference.asset.0;
            if self.book.controls.halted(asset).is_none() {
                tracing::error!(%difference, "the figures of a cut differ");
                self.halt(asset, difference.to_string())?;
                fresh = true;
            }
        }
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let step = Step::Recorded {
            epoch: pending.epoch,
            root: B256::ZERO,
            accounts: &[],
        };
        let in_turn = self.book.protocol.check(&step).is_ok();
        let shorts = pending.shorts.join("; ");
        self.trouble(
            "cover".to_owned(),
            (!shorts.is_empty()).then_some(shorts.clone()),
        );
        let Some(built) = pending.built.filter(|_| in_turn) else {
            // Nothing is new: the epoch is given up for the next one.
            return self.give_up();
        };
        // Of an asset that stands still already the batch has what was signed last.
        if !shorts.is_empty() || fresh {
            return self.give_up();
        }
        tracing::debug!(trees = ?pending.figures.trees, epoch = pending.epoch, "recorded");
        let entry = Entry::Recorded {
            epoch: pending.epoch,
            previous: self.book.previous,
            root: built.batch().entries,
            audit: self.audit.head().to_string(),
            states: pending.states,
            covers: pending.covers,
        };
        self.write(entry)?;
        self.built = Some(built);
        self.numbers
            .batch_recorded(pending.epoch, self.book.protocol.parts().count());
        Ok(())
    }

    /// A cut that is not recorded: the next one is made when it is due. Nothing was signed.
    fn give_up(&mut self) -> Result<(), DeskError> {
        let epoch = self.book.protocol.epoch();
        if matches!(self.book.protocol.next(), Next::Record(_)) {
            self.write(Entry::GivenUp { epoch })?;
        }
        Ok(())
    }

    /// Gives out the newest batch that is signed.
    fn publish(&mut self) {
        let (Some(built), Some(record)) = (&self.built, &self.book.record) else {
            return;
        };
        let Some(signature) = record.signature else {
            return;
        };
        let mut parts = HashMap::new();
        for (account, _) in self.book.protocol.parts() {
            let Some(registered) = self.book.registered.get(&account) else {
                continue;
            };
            let digest = published::Batch::digest(built, self.config.venue, account);
            let Some(digest) = digest else { continue };
            let channels: Vec<Holding> = self
                .book
                .channels_of(account)
                .filter(|(_, id, _)| {
                    let state = built.state(*id);
                    state.is_some_and(|it| it.state.epoch.to::<u64>() == record.epoch)
                })
                .map(|(hub, _, it)| Holding {
                    hub: *self.book.hubs[hub as usize].lives.hub(),
                    venue: self.config.venue,
                    operator: self.config.operator,
                    terms: it.terms,
                    newest: None,
                })
                .collect();
            let part = Part {
                digest,
                cosigner: registered.cosigner,
                grants: registered.grants.clone(),
                channels,
            };
            parts.insert(account, part);
        }
        self.published.set(Arc::new(published::Batch {
            epoch: record.epoch,
            built: Arc::clone(built),
            signature,
            parts,
        }));
        self.published_at = Some(Instant::now());
        self.post(signature);
    }

    /// Posts the roots of the newest batch where it is time.
    fn post(&mut self, signature: Signature) {
        let Some(built) = self.built.clone() else {
            return;
        };
        let Some(record) = &self.book.record else {
            return;
        };
        for (place, hub) in (0_u32..).zip(&self.config.hubs) {
            for token in &hub.tokens {
                let of = (place, token.token);
                let Some(sums) = built.sums(&hub.hub, token.token) else {
                    continue;
                };
                let recent = self
                    .posts
                    .get(&of)
                    .is_some_and(|at| at.elapsed() < hub.anchor / 2);
                if recent || hub.fee_key.is_none() {
                    continue;
                }
                let any = record.states.iter().find(|state| {
                    let terms = self.book.hubs[place as usize].lives.terms(state.channel);
                    state.hub == place && terms.is_some_and(|terms| terms.token == token.token)
                });
                let proof = any.and_then(|state| built.proof(state.channel, signature));
                if let Some(OperatorHalf::Leaf(proof)) = proof {
                    self.posts.insert(of, Instant::now());
                    let order = Order::Post {
                        token: token.token,
                        sums,
                        proof: Box::new(proof),
                        epoch: record.epoch,
                    };
                    let _ = self.ways.hubs[place as usize].send(order); // it lives as long as the desk
                }
            }
        }
    }

    fn cosign(
        &mut self,
        epoch: u64,
        parts: &[CoSignature],
        reply: SyncSender<Vec<Result<(), String>>>,
    ) -> Result<(), DeskError> {
        let mut results = Vec::with_capacity(parts.len());
        let mut new: Vec<(u32, Signature)> = Vec::new();
        let mut seen = BTreeSet::new();
        for part in parts {
            let step = Step::CoSigned {
                epoch,
                account: part.account,
            };
            let result = self.book.protocol.check(&step);
            let is_new = self.book.protocol.has_signed(part.account) == Some(false);
            if result.is_ok() && is_new && seen.insert(part.account) {
                new.push((part.account, part.signature));
            }
            results.push(result.map_err(|why| why.to_string()));
        }
        if !new.is_empty() {
            self.numbers.cosigned(new.len());
            self.unmarked
                .extend(new.iter().map(|(account, _)| *account));
            self.write(Entry::CoSigned { epoch, parts: new })?;
        }
        self.after.push(After::Parts(reply, results));
        Ok(())
    }

    /// Settlement marks: first how far the shards' records are, then what is due by the ledger, then the shards.
    fn work_on_marks(&mut self) {
        match self.marks {
            MarkWork::Idle if !self.unmarked.is_empty() => {
                for (shard, marked) in self.marked.iter().enumerate() {
                    if marked.is_none() {
                        let _ = self.ways.shards[shard].send(ShardJob::Status); // it lives as long as the desk
                    }
                }
                self.marks = MarkWork::Sequences;
            }
            MarkWork::Sequences if self.marked.iter().all(Option::is_some) => {
                let after = self.marked.iter().map(|it| it.unwrap_or(0)).collect();
                let covers = self
                    .unmarked
                    .iter()
                    .filter_map(|account| self.book.marks.get(account).cloned())
                    .collect();
                self.marks = MarkWork::Computing;
                let _ = self.ways.ledger.send(Job::Marks { covers, after }); // it has ended: told by itself
                self.unmarked.clear();
            }
            _ => {}
        }
    }

    fn send_marks(&mut self, marks: Vec<(u64, Mark)>) {
        let mut by: BTreeMap<(u32, u64), Vec<MarkWords>> = BTreeMap::new();
        for (epoch, mark) in marks {
            let shard = self
                .config
                .shards
                .iter()
                .position(|it| PeerId(it.number) == mark.shard);
            if let Some(shard) = shard {
                let own = by.entry((shard as u32, epoch)).or_default();
                own.push((mark.account.0, mark.asset.0, mark.units));
                // Until the ledger says that nothing is left.
                self.unmarked.insert(mark.account.0);
            }
        }
        let mut sent = 0;
        for ((shard, epoch), marks) in by {
            for marks in marks.chunks(MARKS_AT_ONCE) {
                sent += 1;
                let job = ShardJob::Marks {
                    epoch,
                    marks: marks.to_vec(),
                };
                let _ = self.ways.shards[shard as usize].send(job); // it lives as long as the desk
            }
        }
        self.marks = match sent {
            0 => MarkWork::Idle,
            sent => MarkWork::Sent(sent),
        };
    }

    /// Asks the ledger for limits of un-co-signed exposure: together never above the unlocked vault (CUSTODY 12).
    fn share_limits(&mut self) {
        if self.limits_at.elapsed() < LIMITS {
            return;
        }
        self.limits_at = Instant::now();
        let mut unlocked: BTreeMap<u32, u128> = BTreeMap::new();
        for (place, hub) in (0_u32..).zip(&self.config.hubs) {
            for token in &hub.tokens {
                let holds = self.holds.get(&(place, token.token)).copied();
                // What is owed to former traders is not for new winnings.
                if let Some(holds) = holds {
                    let free = holds.vault.saturating_sub(holds.locked);
                    *unlocked.entry(token.asset).or_default() +=
                        if holds.owed > 0 { 0 } else { free };
                }
            }
        }
        let accounts: Vec<u32> = self.book.registered.keys().copied().collect();
        for (asset, unlocked) in unlocked {
            let job = Job::Limits {
                asset,
                unlocked,
                accounts: accounts.clone(),
            };
            let _ = self.ways.ledger.send(job); // it has ended: told by itself
        }
    }

    fn send_limits(&mut self, asset: u32, limits: &[exposure::Limit]) {
        let mut by: BTreeMap<u32, Vec<LimitWords>> = BTreeMap::new();
        for limit in limits {
            let shard = self
                .config
                .shards
                .iter()
                .position(|it| PeerId(it.number) == limit.shard);
            let Some(shard) = shard else { continue };
            let of = (shard as u32, limit.account.0, asset);
            // A lower one is said at once, a higher one when it is worth a command.
            let before = self.limits.get(&of).copied();
            let says = before
                .is_none_or(|before| limit.units < before || limit.units - before > before / 16);
            if says {
                self.limits.insert(of, limit.units);
                let own = by.entry(shard as u32).or_default();
                own.push((limit.account.0, asset, Some(limit.units)));
            }
        }
        for (shard, mut limits) in by {
            // Lower ones first: their sum is never above what is there.
            limits.sort_by_key(|(_, _, units)| *units);
            let _ = self.ways.shards[shard as usize].send(ShardJob::Limits { limits }); // it lives as long as the desk
        }
    }

    fn halt(&mut self, asset: u32, why: String) -> Result<(), DeskError> {
        self.write(Entry::Halted { asset, why })?;
        self.halt_shards(asset);
        Ok(())
    }

    fn halt_shards(&self, asset: u32) {
        for shard in &self.ways.shards {
            let _ = shard.send(ShardJob::HaltAsset { asset }); // it lives as long as the desk
        }
    }
}
