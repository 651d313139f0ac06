//! `ring0-tower`: a process of its own that answers old states in dispute, by evidence in folders, a node, and a key that pays gas (CUSTODY 18).
//!
//! It keeps nothing: ended at any moment and started again it does the same. What it decides is in [`ring0_channels::tower`].

#![deny(unsafe_code)]

mod folders;
mod holdings;
mod metrics;

use folders::{Folders, News};
use metrics::Metrics;
use ring0_channels::chain::{Chain, ChainError};
use ring0_channels::evidence::Holding;
use ring0_channels::key::Signer;
use ring0_channels::message::Hub;
use ring0_channels::offered::Offered;
use ring0_channels::tower::{Alert, Kind, Tower, Watch, said};
use ring0_channels::{Address, B256, U256};
use ring0_channels_evm::Evm;
use ring0_channels_evm::abi::ChannelHub::lineageCall;
use ring0_channels_evm::leave::{self, LeaveError};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a secret key.
const KEY_BYTES: usize = 32;
/// Blocks whose disclosures are read again each time.
const DISCLOSED_AGAIN: u64 = 64;

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder with evidence, a JSON file a channel, as the SDK keeps it; more than one may be named. Read again when a file changes.
    #[arg(long, value_name = "DIR", required = true)]
    pub evidence: Vec<PathBuf>,
    /// Node of the hub's chain, http or https. Best one of your own.
    #[arg(long, value_name = "URL")]
    pub rpc: String,
    /// Key that pays gas and can do nothing else: 64 hexadecimal digits, readable by its owner alone.
    #[arg(long, value_name = "FILE")]
    pub fee_key: PathBuf,
    /// Serve numbers to Prometheus at this address, as `http://ADDRESS:PORT/metrics`.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// Give a channel's newest state to whoever asks at `http://ADDRESS:PORT/holdings/<channel>`, as `ring0 channel exit --ask` does. It shows balances: name an
    /// address that only those reach who may see them.
    #[arg(long, value_name = "ADDRESS")]
    pub holdings: Option<SocketAddr>,
    /// Blocks that lie on an answer before its matter is over.
    #[arg(long, value_name = "K", default_value_t = 12)]
    pub confirmations: u64,
    /// Block of the hub's deployment: disclosed signatures are looked for from here on. Only for an operator's tower with half-signed states.
    #[arg(long, value_name = "BLOCK", default_value_t = 0)]
    pub from: u64,
    /// Milliseconds between two looks at the chain.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub poll: u64,
}

/// Why a tower does not start.
#[derive(Debug, thiserror::Error)]
pub enum TowerError {
    /// The key's file.
    #[error(
        "fee key {path}: {why}; make one with `umask 077; openssl rand -hex 32 > FILE` and pay a little of the chain's coin to its address"
    )]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The key can do more than pay.
    #[error(
        "the fee key's address {address} is the {role} of channel {channel}: a tower's key must be able to pay gas and nothing else; give it a key of its own"
    )]
    Powerful {
        /// The key's address.
        address: Address,
        /// What else it is.
        role: &'static str,
        /// Where.
        channel: B256,
    },
    /// Evidence of several hubs on one chain.
    #[error(
        "the evidence is of several hubs on this chain ({0} and {1}): start a tower for each, with evidence and fee key of its own"
    )]
    Hubs(Address, Address),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] ring0_scrape::ScrapeError),
    /// Holdings.
    #[error(
        "cannot serve holdings at {address}: {source}; give --holdings another address, of this machine and free"
    )]
    Holdings {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Nobody reads the alerts.
    #[error(
        "an alert could not be written: {0}; start the tower with its standard output connected to who reads it"
    )]
    Alert(#[source] io::Error),
}

/// Watches until the process is ended.
///
/// # Errors
/// It cannot start, or alerts cannot be written. A node that does not answer and evidence that cannot be used are alerts.
pub fn run(args: &Args) -> Result<(), TowerError> {
    let key = fee_key(&args.fee_key)?;
    let metrics = Metrics::default();
    let _scrape = args.metrics.map(|at| metrics.serve(at)).transpose()?;
    if let Some(address) = args.holdings {
        let failed = |source| TowerError::Holdings { address, source };
        holdings::serve(address, args.evidence.clone()).map_err(failed)?;
    }
    let pause = Duration::from_millis(args.poll);
    let mut watcher = Watcher::new(args, key);
    watcher.start()?;
    loop {
        for alert in watcher.round()? {
            say(&alert)?;
        }
        let numbers = watcher.tower.numbers();
        metrics.set(&numbers, watcher.bad_files, watcher.tower.at_risk());
        std::thread::sleep(pause);
    }
}

/// One JSON line.
fn say(alert: &Alert) -> Result<(), TowerError> {
    let text = serde_json::to_string(alert).expect("an alert is plain data");
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(TowerError::Alert)
}

/// Reads the key that pays.
fn fee_key(path: &Path) -> Result<Signer, TowerError> {
    let bad = |why: String| TowerError::Key {
        path: path.to_owned(),
        why,
    };
    let mode = fs::metadata(path)
        .map_err(|why| bad(why.to_string()))?
        .mode();
    if mode & 0o077 != 0 {
        return Err(bad(format!(
            "others may read it (mode {:o}): it is not a secret then",
            mode & 0o777
        )));
    }
    let text = fs::read_to_string(path).map_err(|why| bad(why.to_string()))?;
    let digits = text.trim().trim_start_matches("0x");
    let secret: U256 = match digits.len() == 2 * KEY_BYTES {
        true => U256::from_str_radix(digits, 16).map_err(|_| bad("not hexadecimal".to_owned()))?,
        false => return Err(bad("not 64 hexadecimal digits".to_owned())),
    };
    Signer::new(secret.to_be_bytes()).map_err(|why| bad(why.to_string()))
}

/// What else than paying an address can do in a channel.
fn role(address: Address, holding: &Holding) -> Option<&'static str> {
    let newest = holding.newest.as_ref();
    let grant = newest.and_then(|newest| newest.grant.as_ref());
    if address == holding.terms.owner {
        Some("owner")
    } else if address == holding.terms.cosigner
        || newest.is_some_and(|newest| newest.cosigner == address)
    {
        Some("co-signer")
    } else if address == holding.operator {
        Some("operator")
    } else {
        grant
            .filter(|grant| grant.session == address)
            .map(|_| "session key")
    }
}

/// A tower with what it reads and asks.
struct Watcher {
    rpc: String,
    from: u64,
    key: Signer,
    folders: Folders,
    tower: Tower<Holding>,
    offered: Offered,
    /// Holdings that cannot be judged yet: the hub is not found, its node does not answer, or their branch is not pinned.
    unplaced: Vec<(PathBuf, Holding)>,
    evm: Option<Evm>,
    /// Next block whose disclosures are read.
    disclosed: u64,
    /// Why there is no hub yet, if it was said.
    waiting: Option<String>,
    bad_files: u64,
    /// Whose states count at the hub: operator and venue.
    checked: Option<(Address, B256)>,
    /// Files of another branch, if it was said.
    told: BTreeSet<PathBuf>,
    news: Option<News>,
}

impl Watcher {
    fn new(args: &Args, key: Signer) -> Watcher {
        Watcher {
            rpc: args.rpc.clone(),
            from: args.from,
            key,
            folders: Folders::new(&args.evidence),
            tower: Tower::new(args.confirmations),
            offered: Offered::default(),
            unplaced: Vec::new(),
            evm: None,
            disclosed: args.from,
            waiting: None,
            bad_files: 0,
            checked: None,
            told: BTreeSet::new(),
            news: None,
        }
    }

    /// Reads the evidence that is there, and refuses a key that can do more than pay.
    fn start(&mut self) -> Result<(), TowerError> {
        let news = self.folders.news();
        let address = self.key.address();
        for (_, holding) in news.whole.iter().chain(&news.halves) {
            if let Some(role) = role(address, holding) {
                return Err(TowerError::Powerful {
                    address,
                    role,
                    channel: holding.channel(),
                });
            }
        }
        self.news = Some(news);
        Ok(())
    }

    /// Reads what changed, finds the hub if it is not found, and looks at the chain.
    fn round(&mut self) -> Result<Vec<Alert>, TowerError> {
        let mut alerts = Vec::new();
        let news = self.news.take().unwrap_or_else(|| self.folders.news());
        for (path, why) in news.bad {
            self.bad(&path, why, &mut alerts);
        }
        self.unplaced.extend(news.whole);
        self.unplaced.extend(news.halves);
        if self.evm.is_none() && !self.unplaced.is_empty() {
            match self.find() {
                Ok(found) => self.evm = Some(found),
                Err(Missing::Fatal(error)) => return Err(error),
                Err(Missing::Yet(why)) if self.waiting.as_ref() == Some(&why) => {}
                Err(Missing::Yet(why)) => {
                    let todo = "see to --rpc and the evidence: nothing is watched until then; it is tried again all the time";
                    alerts.push(said(Kind::NodeLost, &why, todo));
                    self.waiting = Some(why);
                }
            }
        }
        let Some(mut evm) = self.evm.take() else {
            return Ok(alerts);
        };
        if self.waiting.take().is_some() {
            alerts.push(said(Kind::NodeBack, "the hub was found", "nothing"));
        }
        for (path, holding) in std::mem::take(&mut self.unplaced) {
            if let Some(later) = self.place(&evm, &path, holding, &mut alerts) {
                self.unplaced.push((path, later));
            }
        }
        if !self.offered.is_empty() {
            // A node that fails here fails in the round too, which says so.
            let _ = self.read_disclosed(&mut evm);
        }
        alerts.extend(self.tower.round(&mut evm));
        self.evm = Some(evm);
        Ok(alerts)
    }

    /// The hub of the evidence that is on this chain.
    fn find(&self) -> Result<Evm, Missing> {
        let mut hubs: Vec<Hub> = self.unplaced.iter().map(|(_, it)| it.hub).collect();
        hubs.sort_by_key(|hub| (hub.address, hub.lineage));
        hubs.dedup();
        let mut found: Option<Evm> = None;
        for hub in hubs {
            let evm = Evm::connect(&self.rpc, hub, Some(self.key.clone()))?;
            // On another chain another contract may have this address.
            if !evm.is_deployed()? || evm.read(&lineageCall {}).ok() != Some(hub.lineage) {
                continue;
            }
            if let Some(other) = &found {
                let both = TowerError::Hubs(other.hub().address, hub.address);
                return Err(Missing::Fatal(both));
            }
            found = Some(evm);
        }
        found.ok_or_else(|| {
            Missing::Yet("no hub of the evidence is on the chain of this node".to_owned())
        })
    }

    /// Takes in one file. Gives it back where it may count later.
    fn place(
        &mut self,
        evm: &Evm,
        path: &Path,
        holding: Holding,
        alerts: &mut Vec<Alert>,
    ) -> Option<Holding> {
        let hub = evm.hub();
        if holding.hub != *hub {
            let why = format!(
                "it is of hub {}, and this tower watches {}: start another one for it",
                holding.hub.address, hub.address
            );
            self.bad(path, why, alerts);
            return None;
        }
        // A state of another operator's would hide the one that counts.
        if self.checked != Some((holding.operator, holding.venue)) {
            match leave::check_hub(evm, &holding) {
                Ok(()) => self.checked = Some((holding.operator, holding.venue)),
                Err(LeaveError::Chain(ChainError::Node { .. })) => return Some(holding),
                Err(why) => {
                    self.bad(path, why, alerts);
                    return None;
                }
            }
        }
        // So would one of another branch of the chain.
        if let Some(newest) = &holding.newest {
            match evm.is_pinned(newest.branch) {
                Ok(true) => {}
                Ok(false) => {
                    if self.told.insert(path.to_owned()) {
                        let why = format!(
                            "signed under block {}, which is not pinned on this chain: it is of another branch, or the node is behind; it is looked at again",
                            newest.branch
                        );
                        self.bad(path, why, alerts);
                    }
                    return Some(holding);
                }
                Err(_) => return Some(holding),
            }
        }
        self.told.remove(path);
        if let Some(role) = role(self.key.address(), &holding) {
            let why = format!(
                "the fee key is its {role}: the channel is watched, but give the tower a key that can only pay"
            );
            self.bad(path, why, alerts);
        }
        if Offered::is_half(&holding) {
            match self.offered.add(holding) {
                Ok(Some(whole)) => self.watch(whole),
                Ok(None) => {}
                Err(why) => self.bad(path, why, alerts),
            }
        } else {
            self.watch(holding);
        }
        None
    }

    fn watch(&mut self, holding: Holding) {
        self.tower.watch(Watch {
            channel: holding.channel(),
            version: holding.version(),
            exit: holding,
        });
    }

    fn bad(&mut self, path: &Path, why: impl ToString, alerts: &mut Vec<Alert>) {
        self.bad_files += 1;
        let what = format!("{}: {}", path.display(), why.to_string());
        let todo = "restore it from another place, or remove it; the other files are used";
        alerts.push(said(Kind::Evidence, what, todo));
    }

    /// Signatures that traders have shown make half-signed states whole. They stay true whatever becomes of their block.
    fn read_disclosed(&mut self, evm: &mut Evm) -> Result<(), ChainError> {
        let tip = evm.tip()?.height;
        if self.disclosed > tip + 1 {
            self.disclosed = self.from; // the chain became shorter
        }
        for shown in evm.disclosed(self.disclosed, tip)? {
            let (account, epoch) = (shown.account, shown.epoch);
            let root = shown.account_root;
            for whole in self
                .offered
                .disclosed(account, epoch, root, shown.signature)
            {
                self.watch(whole);
            }
        }
        // The newest blocks are read again: they may be replaced by others of the same height.
        self.disclosed = tip.saturating_sub(DISCLOSED_AGAIN).max(self.from);
        Ok(())
    }
}

/// Why there is no hub.
enum Missing {
    /// It may come.
    Yet(String),
    /// It will not.
    Fatal(TowerError),
}

impl From<ChainError> for Missing {
    fn from(error: ChainError) -> Missing {
        Missing::Yet(error.to_string())
    }
}
