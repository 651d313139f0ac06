//! The daemon's one TOML file (`docs/settled.md#configuration`): what it says, and what is wrong with it.
//!
//! What [`Config::load`] gives is good: every name was found, every amount fits, every number is in its range.

use crate::controls::{Controls, Limits};
use ring0_channels::life::Rules;
use ring0_channels::message::Hub;
use ring0_channels::{Address, B256, U256};
use ring0_market::{MarketError, Plan};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Blocks whose hashes a hub can reach without EIP-2935: what pins and confirmations may come to.
const REACH: u64 = 256;

/// What an EVM chain's own coin has.
const COIN_DECIMALS: u32 = 18;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error("{path} cannot be read: {source}; name the daemon's TOML file", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Not TOML, or a key that there is not.
    #[error("{path}: {why}; docs/settled.md has every key", path = .path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The market file.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// A value.
    #[error("{path}: {key}: {problem}; {fix}", path = .path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        fix: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    venue: B256,
    market: PathBuf,
    store: PathBuf,
    sockets: PathBuf,
    #[serde(default = "hub_rail")]
    rail: String,
    signer: SignerFile,
    metrics: Option<SocketAddr>,
    #[serde(default)]
    clients: Vec<u32>,
    deposits_to: Option<String>,
    #[serde(default)]
    batch: BatchFile,
    #[serde(rename = "shard")]
    shards: Vec<ShardFile>,
    #[serde(rename = "hub")]
    hubs: Vec<HubFile>,
    #[serde(default)]
    controls: ControlsFile,
}

fn hub_rail() -> String {
    "hub".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignerFile {
    socket: PathBuf,
    key: String,
    operator: Address,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BatchFile {
    period_ms: u64,
    records: u64,
    cosign_ms: u64,
    compare_ms: u64,
}

impl Default for BatchFile {
    fn default() -> BatchFile {
        BatchFile {
            period_ms: 1_000,
            records: 1_000_000,
            cosign_ms: 1_000,
            compare_ms: 1_000,
        }
    }
}

/// A shard's journal, or those of its lives.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "the folder of a journal, or a list of those of a shard's lives, the oldest first"
)]
enum Journals {
    One(PathBuf),
    Lives(Vec<PathBuf>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardFile {
    name: String,
    journal: Journals,
    socket: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HubFile {
    name: String,
    rpc: String,
    address: Address,
    lineage: U256,
    #[serde(default)]
    start: u64,
    confirmations: u64,
    pin_every: u64,
    anchor_s: u64,
    #[serde(default = "second")]
    poll_ms: u64,
    fee_key: Option<PathBuf>,
    #[serde(rename = "token")]
    tokens: Vec<TokenFile>,
}

fn second() -> u64 {
    1_000
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    asset: String,
    token: Address,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ControlsFile {
    new_address_h: u64,
    approvers: Vec<Address>,
    #[serde(rename = "asset")]
    assets: BTreeMap<String, LimitsFile>,
    deadline_s: (u64, u64),
}

impl Default for ControlsFile {
    fn default() -> ControlsFile {
        ControlsFile {
            new_address_h: 24,
            approvers: Vec::new(),
            assets: BTreeMap::new(),
            deadline_s: (60, 86_400),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsFile {
    account_hour: Option<String>,
    account_day: Option<String>,
    venue_hour: Option<String>,
    venue_day: Option<String>,
    approve_above: Option<String>,
}

/// When batches are made.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    /// From one cut to the next.
    pub period: Duration,
    /// A cut comes earlier when so many records have come.
    pub records: u64,
    /// How long traders have to sign.
    pub cosign: Duration,
    /// How often, at the most, a cut is compared with what the shards themselves have.
    pub compare: Duration,
}

/// A shard.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its name in the market file.
    pub name: String,
    /// Its number there.
    pub number: u32,
    /// Folders of its journals: one for each of its lives, the oldest first.
    pub journals: Vec<PathBuf>,
    /// The operator's socket of its daemon.
    pub socket: PathBuf,
}

/// A token of a hub.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Zero: the chain's own coin.
    pub token: Address,
    /// Index of its asset in the market file.
    pub asset: u32,
}

/// A hub.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Its name.
    pub name: String,
    /// The node.
    pub rpc: String,
    /// Contract and lineage.
    pub hub: Hub,
    /// First block that can have a channel.
    pub start: u64,
    /// Confirmations and blocks between pins.
    pub rules: Rules,
    /// A root is posted at least this often.
    pub anchor: Duration,
    /// How often the node is asked.
    pub poll: Duration,
    /// Key that pays for posts and pins; without it others have to post and pin.
    pub fee_key: Option<PathBuf>,
    /// Its tokens.
    pub tokens: Vec<Token>,
}

/// The daemon's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// Id of the venue.
    pub venue: B256,
    /// The market file's shards, all of them.
    pub plans: Vec<Plan>,
    /// Folder of the journal, the ledger and the audit log.
    pub store: PathBuf,
    /// Folder of this daemon's sockets: `RAIL.sock` and `settled.sock`.
    pub sockets: PathBuf,
    /// The rail's name.
    pub rail: String,
    /// The rail's number.
    pub rail_number: u32,
    /// The signer's socket.
    pub signer: PathBuf,
    /// Name of the operator's key there.
    pub signer_key: String,
    /// Its address.
    pub operator: Address,
    /// Where Prometheus asks.
    pub metrics: Option<SocketAddr>,
    /// Users beside root and our own that may use the clients' verbs.
    pub clients: Vec<u32>,
    /// Place in `shards` of the one that deposits go to.
    pub deposits_to: u32,
    /// When batches are made.
    pub batches: Batches,
    /// Shards, in the order of the file.
    pub shards: Vec<Shard>,
    /// Hubs, in the order of the file.
    pub hubs: Vec<HubConfig>,
    /// Withdrawals.
    pub controls: Controls,
    /// Shortest and longest time from a request to its deadline, seconds.
    pub deadline_s: (u64, u64),
}

impl Config {
    /// Reads a file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// The first thing that is wrong, with what to do.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        let file: File =
            ring0_config::read(path, &text, "settled").map_err(|error| ConfigError::Format {
                path: path.to_owned(),
                why: error.to_string().trim().to_owned(),
            })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let plans = Plan::load_all(&folder.join(&file.market))?;
        Reading {
            path,
            folder,
            plans,
        }
        .config(file)
    }

    /// An asset's engine unit in base units.
    #[must_use]
    pub fn unit(&self, asset: u32) -> u128 {
        let asset = &self.plans[0].assets[asset as usize];
        10_u128.pow(asset.unit_exponent)
    }

    /// An asset's name.
    #[must_use]
    pub fn asset_name(&self, asset: u32) -> &str {
        let asset = self.plans[0].assets.get(asset as usize);
        asset.map_or("an asset of another market", |asset| asset.name.as_str())
    }

    /// What shards call an account.
    #[must_use]
    pub fn account_name(&self, account: u32) -> String {
        let account_plan = self.plans[0].accounts.get(account as usize);
        account_plan.map_or_else(|| format!("#{account}"), |it| it.name.clone())
    }

    /// The account that shards call so.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<u32> {
        let accounts = &self.plans[0].accounts;
        let place = accounts.iter().position(|it| it.name == name);
        let numbered = || name.strip_prefix('#')?.parse().ok();
        place.map(|it| it as u32).or_else(numbered)
    }

    /// The asset of this name.
    #[must_use]
    pub fn asset(&self, name: &str) -> Option<u32> {
        let place = self.plans[0].assets.iter().position(|it| it.name == name);
        place.map(|it| it as u32)
    }

    /// Engine units as a shard reads them: whole units of the asset.
    #[must_use]
    pub fn whole(&self, asset: u32, units: u64) -> String {
        let places = self.plans[0].assets[asset as usize].places() as usize;
        let digits = format!("{units:0width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

/// A file on its way to a configuration.
struct Reading<'a> {
    path: &'a Path,
    folder: &'a Path,
    plans: Vec<Plan>,
}

impl Reading<'_> {
    fn wrong<T>(
        &self,
        key: impl Display,
        problem: impl Display,
        fix: impl Display,
    ) -> Result<T, ConfigError> {
        Err(ConfigError::Value {
            path: self.path.to_owned(),
            key: key.to_string(),
            problem: problem.to_string(),
            fix: fix.to_string(),
        })
    }

    fn asset(&self, key: &str, name: &str) -> Result<u32, ConfigError> {
        let assets = &self.plans[0].assets;
        match assets.iter().position(|it| it.name == name) {
            Some(place) => Ok(place as u32),
            None => {
                let names: Vec<_> = assets.iter().map(|it| it.name.as_str()).collect();
                let fix = format!("name one of the market's: {}", names.join(", "));
                self.wrong(key, format_args!("there is no asset {name:?}"), fix)
            }
        }
    }

    fn config(self, file: File) -> Result<Config, ConfigError> {
        let rails = &self.plans[0].rails;
        let Some(rail_number) = rails.iter().find(|it| it.name == file.rail) else {
            return self.wrong(
                "rail",
                format_args!("the market file has no rail {:?}", file.rail),
                "add [[rail]] name = \"hub\" to it, or name the one that it has",
            );
        };
        let rail_number = rail_number.number;
        if file.batch.period_ms == 0 || file.batch.records == 0 || file.batch.cosign_ms == 0 {
            return self.wrong("batch", "a time or count is 0", "give at least 1");
        }
        let shards = self.shards(&file)?;
        let hubs = self.hubs(&file.hubs)?;
        let deposits_to = match &file.deposits_to {
            None => 0,
            Some(name) => match shards.iter().position(|it| it.name == *name) {
                Some(place) => place as u32,
                None => {
                    let problem = format!("there is no [[shard]] {name:?}");
                    return self.wrong("deposits_to", problem, "name one of this file's shards");
                }
            },
        };
        let controls = self.controls(&file.controls)?;
        Ok(Config {
            path: self.path.to_owned(),
            venue: file.venue,
            store: self.folder.join(&file.store),
            sockets: self.folder.join(&file.sockets),
            rail: file.rail,
            rail_number,
            signer: self.folder.join(&file.signer.socket),
            signer_key: file.signer.key,
            operator: file.signer.operator,
            metrics: file.metrics,
            clients: file.clients,
            deposits_to,
            batches: Batches {
                period: Duration::from_millis(file.batch.period_ms),
                records: file.batch.records,
                cosign: Duration::from_millis(file.batch.cosign_ms),
                compare: Duration::from_millis(file.batch.compare_ms),
            },
            shards,
            hubs,
            controls,
            deadline_s: file.controls.deadline_s,
            plans: self.plans,
        })
    }

    fn shards(&self, file: &File) -> Result<Vec<Shard>, ConfigError> {
        let mut shards = Vec::new();
        let mut names = BTreeSet::new();
        for (index, shard) in file.shards.iter().enumerate() {
            let key = format!("shard[{index}].name");
            let plan = self.plans.iter().find(|it| it.shard.name == shard.name);
            let Some(plan) = plan else {
                let problem = format!("the market file has no shard {:?}", shard.name);
                return self.wrong(key, problem, "name one that it has");
            };
            if !names.insert(&shard.name) {
                return self.wrong(key, "it comes twice", "give each shard once");
            }
            let journals = match &shard.journal {
                Journals::One(folder) => std::slice::from_ref(folder),
                Journals::Lives(folders) => folders.as_slice(),
            };
            if journals.is_empty() {
                let key = format!("shard[{index}].journal");
                return self.wrong(key, "the list is empty", "name the journal's folder");
            }
            shards.push(Shard {
                name: shard.name.clone(),
                number: plan.number,
                journals: journals.iter().map(|it| self.folder.join(it)).collect(),
                socket: match &shard.socket {
                    Some(socket) => self.folder.join(socket),
                    None => {
                        let sockets = self.folder.join(&file.sockets);
                        sockets.join(format!("{}.sock", shard.name))
                    }
                },
            });
        }
        if shards.len() != self.plans.len() {
            return self.wrong(
                "shard",
                format_args!(
                    "{} are given, and the market file has {}",
                    shards.len(),
                    self.plans.len()
                ),
                "give a [[shard]] with its journal for each: a balance that is not seen is missing at the next cut",
            );
        }
        // The ledger counts them by the market file's numbers.
        shards.sort_by_key(|it| it.number);
        Ok(shards)
    }

    fn hubs(&self, files: &[HubFile]) -> Result<Vec<HubConfig>, ConfigError> {
        if files.is_empty() {
            return self.wrong("hub", "there is none", "give at least one [[hub]]");
        }
        let mut hubs: Vec<HubConfig> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let key = |name: &str| format!("hub[{index}].{name}");
            let hub = Hub {
                lineage: file.lineage,
                address: file.address,
            };
            if hub.address == Address::ZERO {
                return self.wrong(
                    key("address"),
                    "no hub is at the zero address",
                    "give the contract's",
                );
            }
            if hubs.iter().any(|it| it.hub == hub || it.name == file.name) {
                return self.wrong(
                    key("name"),
                    "its name or its contract comes twice",
                    "give each hub once",
                );
            }
            if file.confirmations == 0 || file.pin_every == 0 {
                return self.wrong(
                    key("confirmations"),
                    "a number is 0",
                    "give the hub's own confirmations and pin_every",
                );
            }
            if file.confirmations + file.pin_every > REACH {
                return self.wrong(
                    key("pin_every"),
                    format_args!("with confirmations it is above {REACH}"),
                    "a hub reaches no further back; give smaller ones",
                );
            }
            if file.anchor_s == 0 || file.poll_ms == 0 {
                return self.wrong(key("anchor_s"), "a time is 0", "give at least 1");
            }
            let mut tokens: Vec<Token> = Vec::new();
            for token in &file.tokens {
                let asset = self.asset(&key("token.asset"), &token.asset)?;
                let decimals = self.plans[0].assets[asset as usize].decimals;
                if token.token == Address::ZERO && decimals != COIN_DECIMALS {
                    return self.wrong(
                        key("token"),
                        format_args!(
                            "{} has {decimals} decimals in the market file, and a chain's own coin has {COIN_DECIMALS}",
                            token.asset
                        ),
                        "correct the market file, or name the token's contract",
                    );
                }
                if tokens
                    .iter()
                    .any(|it| it.token == token.token || it.asset == asset)
                {
                    return self.wrong(
                        key("token"),
                        format_args!("{} or its token comes twice", token.asset),
                        "give each asset of a hub once, with one token",
                    );
                }
                tokens.push(Token {
                    token: token.token,
                    asset,
                });
            }
            hubs.push(HubConfig {
                name: file.name.clone(),
                rpc: file.rpc.clone(),
                hub,
                start: file.start,
                rules: Rules {
                    confirmations: file.confirmations,
                    pin_every: file.pin_every,
                },
                anchor: Duration::from_secs(file.anchor_s),
                poll: Duration::from_millis(file.poll_ms),
                fee_key: file.fee_key.as_ref().map(|it| self.folder.join(it)),
                tokens,
            });
        }
        Ok(hubs)
    }

    fn controls(&self, file: &ControlsFile) -> Result<Controls, ConfigError> {
        let (least, most) = file.deadline_s;
        if least == 0 || least > most {
            return self.wrong(
                "controls.deadline_s",
                "the shortest time is 0 or above the longest",
                "give [shortest, longest] in seconds",
            );
        }
        let mut controls = Controls {
            new_address_s: file.new_address_h * 3_600,
            approvers: file.approvers.clone(),
            assets: BTreeMap::new(),
        };
        for (name, limits) in &file.assets {
            let asset = self.asset("controls.asset", name)?;
            let decimals = self.plans[0].assets[asset as usize].decimals;
            let amount = |what: &str, text: &Option<String>| match text {
                None => Ok(None),
                Some(text) => match base_units(text, decimals) {
                    Some(amount) => Ok(Some(amount)),
                    None => self.wrong(
                        format_args!("controls.asset.{name}.{what}"),
                        format_args!("{text:?} is no amount of it"),
                        format_args!("write whole units with at most {decimals} decimal places"),
                    ),
                },
            };
            let limits = Limits {
                account_hour: amount("account_hour", &limits.account_hour)?,
                account_day: amount("account_day", &limits.account_day)?,
                venue_hour: amount("venue_hour", &limits.venue_hour)?,
                venue_day: amount("venue_day", &limits.venue_day)?,
                approve_above: amount("approve_above", &limits.approve_above)?,
            };
            if limits.approve_above.is_some() && controls.approvers.is_empty() {
                return self.wrong(
                    format_args!("controls.asset.{name}.approve_above"),
                    "nobody could approve",
                    "name at least one address in controls.approvers",
                );
            }
            controls.assets.insert(asset, limits);
        }
        Ok(controls)
    }
}

/// Whole units with a decimal point as base units.
fn base_units(text: &str, decimals: u32) -> Option<u128> {
    let digits = text.replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let is_number = !whole.is_empty()
        && !digits.ends_with('.')
        && whole
            .bytes()
            .chain(fraction.bytes())
            .all(|it| it.is_ascii_digit());
    let missing = (decimals as usize).checked_sub(fraction.len())?;
    let all = format!("{whole}{fraction}{}", "0".repeat(missing));
    is_number.then(|| all.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(base_units("12.5", 6), Some(12_500_000));
        assert_eq!(base_units("1_000", 0), Some(1_000));
        for bad in ["", "1.", ".5", "-1", "1e3", "0.0000001"] {
            assert_eq!(base_units(bad, 6), None, "{bad}");
        }
    }
}
