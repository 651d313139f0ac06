//! The thread that owns the ledger: it follows the shards' journals, puts facts, cuts and reconciles, and answers what is read.
//!
//! Always true: a record counts once it is on its journal's disk, a fact once it is in the journal of facts; facts come in the order in which the book
//! derives them, so the journal of facts is always a beginning of that order. From a cut to its reconciliation no record is taken.

use crate::config::Config;
use crate::desk::Message;
use crate::search::{Elsewhere, Search};
use crate::tail::Tail;
use ring0_channels::batch::Leaf;
use ring0_settlement::{
    AccountId, AssetId, Batch, Cover, Difference, Equation, Fact, Ledger, Mark, PeerId, Place,
    PlaceIndex, Records, Refused, Settlement, SettlementError, Venue, VenueError, exposure,
    reconcile,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

/// Records of a shard that are taken before the thread looks at its requests again.
const RECORDS_AT_ONCE: usize = 50_000;
/// Facts that are put with one wait for the disk.
const FACTS_AT_ONCE: usize = 1_000;
/// How long an idle thread waits before it looks at the journals again.
const LOOK: Duration = Duration::from_millis(2);
/// How long a fact may wait for the records that it follows from: the journal's disk has them before anybody hears of them.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the ledger does not go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Ledger, journals, store.
    #[error(transparent)]
    Settlement(#[from] SettlementError),
    /// The venue.
    #[error("the configuration makes no venue: {0}")]
    Venue(#[from] VenueError),
}

/// What is asked of the thread.
pub(crate) enum Job {
    /// Facts, the first with this number.
    Facts { first: u64, facts: Vec<Fact> },
    /// Nothing comes of the last cut: records are taken again.
    Resume,
    /// Figures of the last cut from elsewhere; then records are taken again.
    Reconcile(Box<Elsewhere>),
    /// An asset goes on: if it differs again, it is searched again.
    Cleared(AssetId),
    /// What marks these covers still need, by epoch, once the records up to these sequences are in.
    Marks {
        covers: Vec<(u64, Vec<Cover>)>,
        after: Vec<u64>,
    },
    /// Shares out an asset's unlocked vault, base units, among accounts.
    Limits {
        asset: u32,
        unlocked: u128,
        accounts: Vec<u32>,
    },
    /// What an account has.
    Balances {
        account: u32,
        reply: SyncSender<Value>,
    },
    /// What changed it.
    Statement {
        account: u32,
        from: u64,
        to: u64,
        reply: SyncSender<Value>,
    },
    /// How it is.
    Status { reply: SyncSender<Value> },
    /// End, with everything durable.
    End,
}

/// A cut, as the desk gets it.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) batch: Batch,
    pub(crate) leaves: Vec<Leaf>,
    /// By asset, engine units: what shards have by the ledger.
    pub(crate) shards: Vec<u128>,
}

/// See the module.
pub(crate) struct Follower {
    config: Config,
    settlement: Settlement,
    tails: Vec<(PeerId, Tail)>,
    waiting: VecDeque<(u64, Fact)>,
    since: Instant,
    /// A cut waits for its figures.
    cut: bool,
    /// By asset: the last cut whose figures agreed.
    agreed: BTreeMap<AssetId, Agreed>,
    /// Assets that differ and whose first difference was searched for.
    searched: BTreeSet<AssetId>,
    /// A search is under way.
    searching: Arc<AtomicBool>,
    /// Those at the last cut before this process.
    began: Vec<u64>,
    marks: Vec<MarkJob>,
    desk: Sender<Message>,
}

/// A cut whose figures agreed.
#[derive(Debug)]
struct Agreed {
    /// The records of each shard.
    at: Vec<u64>,
    /// The heights of hubs.
    heights: BTreeMap<PlaceIndex, u64>,
}

/// A difference, and between which records it came about.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) difference: Difference,
    pub(crate) between: String,
}

/// Covers by epoch, and the records of each shard that have to be in before what marks they need is computed.
type MarkJob = (Vec<(u64, Vec<Cover>)>, Vec<u64>);

/// The venue of a configuration.
pub(crate) fn venue(config: &Config) -> Result<Venue, VenueError> {
    let mut places = Vec::new();
    for hub in &config.hubs {
        places.extend(hub.tokens.iter().map(|token| Place {
            rail: PeerId(config.rail_number),
            hub: hub.hub,
            token: token.token,
            asset: AssetId(token.asset),
        }));
    }
    Venue::of(&config.plans, places)
}

impl Follower {
    /// The ledger of what is on the disk.
    pub(crate) fn open(config: &Config, desk: Sender<Message>) -> Result<Follower, FollowError> {
        let mut settlement = Settlement::open(&config.store, venue(config)?)?;
        let at = settlement.ledger().at();
        let shards = config.shards.iter().zip(at);
        let mut tails: Vec<(PeerId, Tail)> = shards
            .map(|(shard, at)| {
                (
                    PeerId(shard.number),
                    Tail::new(shard.journals.clone(), at + 1),
                )
            })
            .collect();
        let mut readers: Vec<&mut dyn Records> = tails
            .iter_mut()
            .map(|(_, tail)| tail as &mut dyn Records)
            .collect();
        settlement.catch_up(&mut readers)?;
        let began = settlement.ledger().batch().at.clone();
        Ok(Follower {
            config: config.clone(),
            settlement,
            tails,
            waiting: VecDeque::new(),
            since: Instant::now(),
            cut: false,
            agreed: BTreeMap::new(),
            searched: BTreeSet::new(),
            searching: Arc::new(AtomicBool::new(false)),
            began,
            marks: Vec::new(),
            desk,
        })
    }

    fn ledger(&self) -> &Ledger {
        self.settlement.ledger()
    }

    /// Facts in the journal: those that the book need not give again.
    pub(crate) fn facts(&self) -> u64 {
        self.settlement.facts().last()
    }

    /// Works until it is told to end.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) -> Result<(), FollowError> {
        loop {
            let mut busy = false;
            if !self.cut {
                busy |= self.read()?;
                busy |= self.write()?;
            }
            self.settlement.tick().map_err(SettlementError::from)?;
            self.answer_marks();
            let wait = if busy { Duration::ZERO } else { LOOK };
            match jobs.recv_timeout(wait) {
                Ok(Job::End) => {
                    self.settlement.flush().map_err(SettlementError::from)?;
                    return Ok(());
                }
                Ok(job) => self.job(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Takes what the journals have that is new. Whether there was anything.
    fn read(&mut self) -> Result<bool, FollowError> {
        let mut busy = false;
        for (peer, tail) in &mut self.tails {
            for _ in 0..RECORDS_AT_ONCE {
                let record = tail.next().map_err(SettlementError::from)?;
                let Some(record) = record else { break };
                self.settlement.take(*peer, record)?;
                busy = true;
            }
        }
        if busy {
            let _ = self.desk.send(Message::Recorded(self.ledger().at())); // the desk has ended
        }
        Ok(busy)
    }

    /// Puts the facts that may be put. Whether there was any.
    fn write(&mut self) -> Result<bool, FollowError> {
        let mut wrote = false;
        while let Some((number, fact)) = self.waiting.front() {
            let number = *number;
            if number <= self.facts() {
                self.waiting.pop_front();
                continue;
            }
            let (is_cut, fact) = (matches!(fact, Fact::Cut { .. }), fact.clone());
            if !is_cut && self.write_run()? {
                wrote = true;
                continue;
            }
            let put = self.settlement.put(fact.clone());
            match put {
                Ok(_) => {
                    self.waiting.pop_front();
                    self.since = Instant::now();
                    wrote = true;
                    let _ = self.desk.send(Message::Facts(number)); // the desk has ended
                    if is_cut {
                        self.tell_cut();
                        return Ok(true);
                    }
                }
                // It may follow from a record that is not read yet.
                Err(SettlementError::Refused(why)) if !matches!(why, Refused::Broken) => {
                    if self.since.elapsed() > PATIENCE {
                        self.since = Instant::now();
                        let told = Message::FactRefused {
                            number,
                            fact: format!("{fact:?}"),
                            why: why.to_string(),
                        };
                        let _ = self.desk.send(told); // the desk has ended
                    }
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(wrote)
    }

    /// Puts the facts that come before the next cut with one wait for the disk. Whether the first of them was put; what is refused stands alone then.
    fn write_run(&mut self) -> Result<bool, FollowError> {
        let run = self.waiting.iter().map(|(_, fact)| fact);
        let run = run.take_while(|it| !matches!(it, Fact::Cut { .. }));
        let run: Vec<Fact> = run.take(FACTS_AT_ONCE).cloned().collect();
        if run.len() < 2 {
            return Ok(false);
        }
        let before = self.facts();
        match self.settlement.put_all(run) {
            Ok(()) => {}
            Err(SettlementError::Refused(why)) if !matches!(why, Refused::Broken) => {}
            Err(error) => return Err(error.into()),
        }
        if self.facts() == before {
            return Ok(false);
        }
        self.since = Instant::now();
        let _ = self.desk.send(Message::Facts(self.facts())); // the desk has ended
        Ok(true)
    }

    fn tell_cut(&mut self) {
        self.cut = true;
        let ledger = self.ledger();
        let units = |(asset, sum): (AssetId, i128)| {
            sum.max(0).cast_unsigned() / ledger.venue().unit(asset).max(1)
        };
        let cut = Cut {
            batch: ledger.batch().clone(),
            leaves: ledger.leaves(),
            shards: ledger
                .venue()
                .asset_ids()
                .zip(ledger.trading_sums())
                .map(units)
                .collect(),
        };
        let _ = self.desk.send(Message::Cut(Box::new(cut))); // the desk has ended
    }

    fn answer_marks(&mut self) {
        let at = self.ledger().at();
        let is_ready = |after: &[u64]| after.iter().zip(&at).all(|(after, at)| at >= after);
        let (ready, waiting): (Vec<MarkJob>, Vec<MarkJob>) = std::mem::take(&mut self.marks)
            .into_iter()
            .partition(|(_, after)| is_ready(after));
        self.marks = waiting;
        for (covers, _) in ready {
            let mut marks: Vec<(u64, Mark)> = Vec::new();
            for (epoch, covers) in &covers {
                marks.extend(self.ledger().marks(covers).map(|mark| (*epoch, mark)));
            }
            let _ = self.desk.send(Message::Marks(marks)); // the desk has ended
        }
    }

    fn job(&mut self, job: Job) {
        match job {
            Job::Facts { first, facts } => {
                if self.waiting.is_empty() {
                    self.since = Instant::now();
                }
                self.waiting.extend((first..).zip(facts));
            }
            Job::Resume => self.cut = false,
            Job::Reconcile(elsewhere) => {
                let found = self.reconcile(*elsewhere);
                self.cut = false;
                let _ = self.desk.send(Message::Reconciled(found)); // the desk has ended
            }
            Job::Cleared(asset) => drop(self.searched.remove(&asset)),
            Job::Marks { covers, after } => self.marks.push((covers, after)),
            Job::Limits {
                asset,
                unlocked,
                accounts,
            } => self.limits(asset, unlocked, &accounts),
            Job::Balances { account, reply } => {
                let _ = reply.send(self.balances(account)); // the client has gone
            }
            Job::Statement {
                account,
                from,
                to,
                reply,
            } => {
                let to = to.min(self.ledger().epoch().0);
                let made = self.settlement.statement(AccountId(account), from..=to);
                let answer = match made {
                    Ok(statement) => json!({
                        "ok": true,
                        "hash": statement.hash(),
                        "statement": statement,
                    }),
                    Err(error) => json!({ "ok": false, "error": error.to_string() }),
                };
                let _ = reply.send(answer); // the client has gone
            }
            Job::Status { reply } => {
                let counts = self.ledger().counts();
                let status = json!({
                    "records": self.ledger().at(),
                    "facts": self.facts(),
                    "facts_waiting": self.waiting.len(),
                    "fills": counts.fills,
                    "postings": counts.postings,
                    "epoch": self.ledger().epoch().0,
                });
                let _ = reply.send(status); // the client has gone
            }
            Job::End => {}
        }
    }

    /// Compares the figures of the cut, and keeps where those of each asset agreed last. What differs newly is searched for.
    fn reconcile(&mut self, elsewhere: Elsewhere) -> Vec<Found> {
        let ledger = self.ledger();
        let at = ledger.batch().at.clone();
        let assets: Vec<AssetId> = ledger.venue().asset_ids().collect();
        let figures = &elsewhere.figures;
        let differences: Vec<Difference> = reconcile(ledger, ledger.batch(), figures);
        let heights = || figures.hubs.iter().map(|it| (it.place, it.height));
        for asset in assets {
            if !differences.iter().any(|it| it.asset == asset) {
                let agreed = Agreed {
                    at: at.clone(),
                    heights: heights().collect(),
                };
                self.agreed.insert(asset, agreed);
                self.searched.remove(&asset);
            }
        }
        self.search(&differences, elsewhere);
        let found = differences.into_iter().map(|difference| {
            let agreed = self.agreed.get(&difference.asset);
            let last = match agreed {
                Some(_) => "they agreed at the cut",
                None => "the last cut before this start was",
            };
            let last_at = self.records_text(agreed.map_or(&self.began, |it| &it.at));
            let between = format!(
                "{last} through {last_at}, this one is through {}",
                self.records_text(&at)
            );
            Found {
                difference,
                between,
            }
        });
        found.collect()
    }

    /// Begins to search where the figures part of assets that differ and were not searched: one search at a time, the others wait for a later cut. What
    /// an asset that stands still has in the trees is what was signed last: that alone is no difference.
    fn search(&mut self, differences: &[Difference], elsewhere: Elsewhere) {
        let new = differences.iter().filter(|it| {
            let stands = elsewhere.halted.contains(&it.asset.0);
            let counts = !stands || it.equation != Equation::Entitlements;
            counts && !self.searched.contains(&it.asset)
        });
        let new: Vec<AssetId> = new.map(|it| it.asset).collect();
        if new.is_empty() || self.searching.swap(true, Ordering::AcqRel) {
            return;
        }
        self.searched.extend(new.iter().copied());
        let agreed = self.agreed.iter();
        let search = Search {
            ledger: self.ledger().clone(),
            facts: self.settlement.facts().reader(),
            differences: differences
                .iter()
                .filter(|it| new.contains(&it.asset))
                .cloned()
                .collect(),
            elsewhere,
            agreed: agreed
                .map(|(asset, it)| (*asset, it.heights.clone()))
                .collect(),
        };
        search.begin(
            self.config.clone(),
            self.desk.clone(),
            Arc::clone(&self.searching),
        );
    }

    /// Records of each shard, for people.
    fn records_text(&self, at: &[u64]) -> String {
        let shards = (0..).zip(&self.config.shards);
        let all = shards.map(|(place, shard)| {
            let record = at.get(place).copied().unwrap_or(0);
            format!("record {record} of {}", shard.name)
        });
        all.collect::<Vec<_>>().join(" and ")
    }

    fn limits(&self, asset: u32, unlocked: u128, accounts: &[u32]) {
        let ledger = self.ledger();
        let id = AssetId(asset);
        let mut wants = Vec::new();
        for account in accounts {
            let account = AccountId(*account);
            for (shard, _) in &self.tails {
                let has = ledger.trading(*shard, account, id);
                let exposed = ledger.outflow(*shard, account, id);
                wants.push(exposure::Want {
                    shard: *shard,
                    account,
                    // It cannot lose more than it has.
                    wanted: u64::try_from(has.saturating_add(exposed.max(0))).unwrap_or(0),
                    exposed,
                });
            }
        }
        let limits = exposure::limits(unlocked, self.config.unit(asset), &wants);
        let _ = self.desk.send(Message::Limits { asset, limits }); // the desk has ended
    }

    fn balances(&self, account: u32) -> Value {
        let ledger = self.ledger();
        let of = AccountId(account);
        let balance = |asset: AssetId| {
            let aside = ledger.aside(of, asset);
            let shards: serde_json::Map<String, Value> = self
                .config
                .shards
                .iter()
                .map(|shard| {
                    let units = ledger.trading(PeerId(shard.number), of, asset);
                    (shard.name.clone(), units.to_string().into())
                })
                .collect();
            json!({
                "total": ledger.balance(of, asset).to_string(),
                "units_in_shards": shards,
                "in_transit": aside.transit.to_string(),
                "pending_withdrawals": aside.pending.to_string(),
                "arriving": aside.arriving.to_string(),
                "dust": aside.dust.to_string(),
            })
        };
        let assets: serde_json::Map<String, Value> = ledger
            .venue()
            .asset_ids()
            .map(|asset| (self.config.asset_name(asset.0).to_owned(), balance(asset)))
            .collect();
        json!({ "ok": true, "account": account, "at": ledger.at(), "assets": assets })
    }
}
