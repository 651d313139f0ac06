//! The rail's configuration: one TOML file. `docs/lightning.md#the-daemon` has each key.

use bitcoin::Network;
use ring0_lightning::amount::{Msat, Scale};
use ring0_lightning::rail::Limits;
use ring0_market::{Asset, Plan};
use serde::Deserialize;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no TOML, a key is unknown or missing.
    #[error("{path}: {source}", path = .path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value.
    #[error("{path}: {key}: {problem}", path = .path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The market file.
    #[error(transparent)]
    Market(#[from] ring0_market::MarketError),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rail: String,
    market: PathBuf,
    asset: String,
    sockets: PathBuf,
    folder: PathBuf,
    #[serde(default)]
    clients: Vec<u32>,
    metrics: Option<SocketAddr>,
    bitcoin: Bitcoin,
    node: Node,
    limits: Bounds,
}

/// The chain's node, on this machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bitcoin {
    /// Which of Bitcoin's networks.
    pub network: Network,
    /// Its RPC port on the loopback address.
    pub rpc_port: u16,
    /// Its cookie file.
    pub cookie: PathBuf,
}

/// The Lightning node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Where peers connect to.
    pub listen: Option<SocketAddr>,
    /// Whether peers may open channels to this node.
    #[serde(default)]
    pub accept_channels: bool,
    /// Blocks that a peer's balance waits when the peer leaves alone.
    #[serde(default = "day")]
    pub delay_blocks: u16,
    /// Blocks, with the first, before a channel is used.
    #[serde(default = "six")]
    pub confirmations: u32,
    /// The rate at which the wallet must be able to get every channel off the chain.
    #[serde(default = "reserve")]
    pub reserve_sat_per_kw: u32,
    /// How often the chain's node is asked for blocks, milliseconds.
    #[serde(default = "second")]
    pub poll_ms: u64,
}

fn day() -> u16 {
    144
}

fn six() -> u32 {
    6
}

fn second() -> u64 {
    1_000
}

/// 50 sat/vB, LDK's advice.
fn reserve() -> u32 {
    12_500
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    deposit: (String, String),
    withdrawal: (String, String),
    invoice_expiry_s: u32,
    expiry_margin_s: u64,
}

/// A configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The rail's name in the market file.
    pub rail: String,
    /// The market, for its accounts and shard.
    pub plan: Plan,
    /// The asset that it carries.
    pub asset: Asset,
    /// Folder of the sockets of shards and rails.
    pub sockets: PathBuf,
    /// Folder of journal, seed and node.
    pub folder: PathBuf,
    /// Users that may ask beside root and the process's own.
    pub clients: Vec<u32>,
    /// Where Prometheus asks.
    pub metrics: Option<SocketAddr>,
    /// The chain's node.
    pub bitcoin: Bitcoin,
    /// The Lightning node.
    pub node: Node,
    /// What is taken.
    pub limits: Limits,
    /// Millisatoshi in an engine unit.
    pub scale: Scale,
}

impl Config {
    /// Reads and checks a configuration. Relative paths in it are of the file's folder.
    ///
    /// # Errors
    /// The first thing wrong, and what to do.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        let read = ring0_config::read(path, &text, "lightning");
        let file: File = read.map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(error),
        })?;
        let wrong = |key, problem: String| ConfigError::Value {
            path: path.to_owned(),
            key,
            problem,
        };
        let base = path.parent().unwrap_or(Path::new("."));
        let plan = Plan::load(&base.join(&file.market))?;
        if !plan.rails.iter().any(|rail| rail.name == file.rail) {
            let problem = format!(
                "{:?} is no rail of {}; add [[rail]] name = {:?} there",
                file.rail,
                plan.path.display(),
                file.rail
            );
            return Err(wrong("rail", problem));
        }
        let asset = plan.assets.iter().find(|asset| asset.name == file.asset);
        let asset = asset.cloned().ok_or_else(|| {
            wrong(
                "asset",
                format!("{:?} is no asset of the market", file.asset),
            )
        })?;
        if asset.decimals != 8 {
            let problem = format!(
                "{} has {} decimals; Lightning carries bitcoins, whose smallest unit is the satoshi: 8",
                asset.name, asset.decimals
            );
            return Err(wrong("asset", problem));
        }
        let unit = 10_u64
            .checked_pow(asset.unit_exponent)
            .and_then(|satoshi| satoshi.checked_mul(1_000))
            .and_then(NonZeroU64::new);
        let msat_per_unit =
            unit.ok_or_else(|| wrong("asset", "its engine unit is above all coins".to_owned()))?;
        let range = |key, (low, high): &(String, String)| {
            let read = |text: &str| msat(text).map_err(|problem| wrong(key, problem));
            let (low, high) = (read(low)?, read(high)?);
            match low <= high && low > Msat::ZERO {
                true => Ok(low..=high),
                false => Err(wrong(
                    key,
                    "give the least and the most, the least above zero".to_owned(),
                )),
            }
        };
        Ok(Config {
            rail: file.rail,
            asset,
            sockets: base.join(file.sockets),
            folder: base.join(file.folder),
            clients: file.clients,
            metrics: file.metrics,
            bitcoin: Bitcoin {
                cookie: base.join(&file.bitcoin.cookie),
                ..file.bitcoin
            },
            node: file.node,
            limits: Limits {
                deposit: range("limits.deposit", &file.limits.deposit)?,
                withdrawal: range("limits.withdrawal", &file.limits.withdrawal)?,
                expiry_max_s: file.limits.invoice_expiry_s,
                expiry_margin_s: file.limits.expiry_margin_s,
            },
            scale: Scale { msat_per_unit },
            plan,
        })
    }

    /// The rail's own socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.sockets.join(format!("{}.sock", self.rail))
    }

    /// The socket of the shard's daemon.
    #[must_use]
    pub fn shard_socket(&self) -> PathBuf {
        self.sockets.join(format!("{}.sock", self.plan.shard.name))
    }
}

/// Decimal places of an amount: a bitcoin is 10^8 satoshi of 10^3.
const PLACES: usize = 11;

/// Millisatoshi of a text in whole units.
///
/// # Errors
/// What is wrong with it.
pub fn msat(text: &str) -> Result<Msat, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || text.ends_with('.') {
        return Err(format!("{text:?} is no amount; write it as 0.00015"));
    }
    if part.len() > PLACES {
        return Err(format!("{text:?} has more than {PLACES} decimal places"));
    }
    let all = format!("{whole}{part}{}", "0".repeat(PLACES - part.len()));
    let number = all.parse().map_err(|_| format!("{text:?} is too much"))?;
    Msat::new(number).map_err(|error| error.to_string())
}

/// An amount as text in whole units.
#[must_use]
pub fn text(msat: u128) -> String {
    let one = 10_u128.pow(PLACES as u32);
    let part = format!("{:0PLACES$}", msat % one);
    match part.trim_end_matches('0') {
        "" => (msat / one).to_string(),
        part => format!("{}.{part}", msat / one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (given, number) in [
            ("0.00015", 15_000_000),
            ("1", 100_000_000_000),
            ("0.00000000001", 1),
            ("0", 0),
            ("20999999.99999999999", 2_099_999_999_999_999_999),
        ] {
            assert_eq!(msat(given).unwrap().get(), number);
            assert_eq!(text(number.into()), given);
        }
        for bad in [
            "",
            ".5",
            "1.",
            "-1",
            "1e3",
            "0.000000000001",
            "21000001",
            "1,5",
        ] {
            assert!(msat(bad).is_err(), "{bad}");
        }
    }
}
