//! The signer's one file, `signer.toml`, or its table in a venue's: where it listens and for whom, where its keys are, and the policy.

use crate::message::Kind;
use ring0_channels::{Address, U256};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// `signer.toml` as it is written; `docs/signer.md` has one with all of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The signer's folder, from the file's: of a venue's file alone, a file of the signer's own lies in it.
    #[serde(default)]
    pub home: Option<PathBuf>,
    /// Where Prometheus asks, if the command line does not say.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
    /// The socket [default: `signer.sock` in the signer's folder].
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// Group that may connect; without it only the signer's own user and root reach the socket.
    #[serde(default)]
    pub group: Option<u32>,
    /// Users (by number) whose requests are looked at.
    pub users: Vec<u32>,
    /// Users who may also resume a stopped signer; everybody in `users` may stop it.
    #[serde(default)]
    pub admins: Vec<u32>,
    /// Addresses of the keys that approve what is above a limit.
    #[serde(default)]
    pub approvers: Vec<Address>,
    /// Files on other disks that hold the history's newest head: what tells an old store from the newest one.
    #[serde(default)]
    pub witnesses: Vec<PathBuf>,
    /// Bytes after which the history goes on in another file.
    #[serde(default = "default_segment")]
    pub segment_bytes: u64,
    /// The hardware's or SoftHSM's library.
    #[serde(default)]
    pub pkcs11: Option<Pkcs11>,
    /// Processes that hold shares, by the name that key files know them by.
    #[serde(default, rename = "holder")]
    pub holders: Vec<Holder>,
    /// Hubs that messages may be of.
    #[serde(default, rename = "hub")]
    pub hubs: Vec<HubRule>,
    /// What is counted, and its limits.
    #[serde(default, rename = "asset")]
    pub assets: Vec<AssetRule>,
    /// What each key signs. A key without a rule signs nothing.
    #[serde(default, rename = "key")]
    pub keys: Vec<KeyRule>,
}

fn default_socket() -> PathBuf {
    PathBuf::from("signer.sock")
}

fn default_segment() -> u64 {
    256 << 20
}

/// A token with keys that never leave it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11 {
    /// The library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// File with the user's PIN, mode 0600.
    pub pin_file: PathBuf,
    /// Sessions at once [default: 4].
    #[serde(default = "default_sessions")]
    pub sessions: usize,
}

fn default_sessions() -> usize {
    4
}

/// A process that holds a share of keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// Its socket: what a coordinator needs.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Its identity, 33 bytes, hexadecimal: what the other holders need.
    #[serde(default)]
    pub identity: Option<String>,
}

/// A hub.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubRule {
    /// Name in this file.
    pub name: String,
    /// Fixed name of the chain's history.
    pub lineage: U256,
    /// The contract.
    pub address: Address,
}

/// What is counted: a token of a hub, a chain's coin that transactions send, or a UTXO chain's coin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetRule {
    /// Name in this file and in the history.
    pub name: String,
    /// Name of a hub: with `token`.
    #[serde(default)]
    pub hub: Option<String>,
    /// The token; zero: the chain's coin.
    #[serde(default)]
    pub token: Option<Address>,
    /// Chain id of a coin that transactions send.
    #[serde(default)]
    pub chain: Option<u64>,
    /// Name of a UTXO chain.
    #[serde(default)]
    pub network: Option<String>,
    /// The most in one message, smallest unit. What is left out of the limits has none.
    #[serde(default, deserialize_with = "some_amount")]
    pub each: Option<u128>,
    /// The most in 60 minutes.
    #[serde(default, deserialize_with = "some_amount")]
    pub hour: Option<u128>,
    /// The most in 24 hours.
    #[serde(default, deserialize_with = "some_amount")]
    pub day: Option<u128>,
    /// What is above it in one message needs an approver's signature.
    #[serde(default, deserialize_with = "some_amount")]
    pub approve_above: Option<u128>,
    /// The most excess that a batch may have.
    #[serde(default, deserialize_with = "some_amount")]
    pub excess_max: Option<u128>,
}

fn some_amount<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u128>, D::Error> {
    crate::decimal::deserialize(from).map(Some)
}

/// What a key signs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRule {
    /// The key's name.
    pub name: String,
    /// Kinds of messages.
    pub kinds: Vec<Kind>,
    /// Names of hubs.
    #[serde(default)]
    pub hubs: Vec<String>,
    /// Venues' ids.
    #[serde(default)]
    pub venues: Vec<ring0_channels::B256>,
    /// Messages a second, and as many at once.
    pub per_second: u32,
    /// Withdrawals and closes of owners that are contracts, whose signature only the chain can check.
    #[serde(default)]
    pub contract_owners: bool,
    /// Longest time until a deadline, in seconds.
    #[serde(default = "default_deadline")]
    pub deadline_seconds_max: u64,
    /// Transactions that it signs.
    #[serde(default, rename = "call")]
    pub calls: Vec<CallRule>,
    /// The most that a transaction's gas may cost, smallest unit.
    #[serde(default, deserialize_with = "some_amount")]
    pub gas_cost_max: Option<u128>,
    /// Scripts, hexadecimal, that a vault's money may go to; the vault's own always.
    #[serde(default)]
    pub scripts: Vec<String>,
    /// The most that a move's miners get, smallest unit.
    #[serde(default, deserialize_with = "some_amount")]
    pub fee_max: Option<u128>,
}

fn default_deadline() -> u64 {
    7 * 86_400
}

/// A transaction that a key signs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRule {
    /// Chain id.
    pub chain: u64,
    /// Whom it calls or pays.
    pub to: Address,
    /// Selector, for instance `0xa9059cbb`; left out: no data, a payment.
    #[serde(default, deserialize_with = "some_selector")]
    pub selector: Option<[u8; 4]>,
    /// Place of the argument that names who gets something.
    #[serde(default)]
    pub recipient_word: Option<usize>,
    /// Who may.
    #[serde(default)]
    pub recipients: Vec<Address>,
    /// Place of the argument that is an amount.
    #[serde(default)]
    pub amount_word: Option<usize>,
    /// Of which asset.
    #[serde(default)]
    pub amount_asset: Option<String>,
}

fn some_selector<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<[u8; 4]>, D::Error> {
    let text = String::deserialize(from)?;
    alloy_primitives::hex::decode_to_array(&text)
        .map(Some)
        .map_err(|_| {
            serde::de::Error::custom(format_args!(
                "{text:?} is no selector: write 0x and eight digits"
            ))
        })
}

/// A file that is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}; `ring0 signer init` makes one", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what is described.
    #[error("{path}: {what}; docs/signer.md describes the file", path = .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Config::parse(path, &text).map_err(|what| ConfigError::Wrong {
            path: path.to_owned(),
            what,
        })
    }

    /// Of a file's text: the signer's own file, or a venue's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Config, String> {
        let read = ring0_config::read(path, text, "signer");
        let config: Config = read.map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        once("hub", self.hubs.iter().map(|it| &it.name))?;
        once("asset", self.assets.iter().map(|it| &it.name))?;
        once("key", self.keys.iter().map(|it| &it.name))?;
        once("holder", self.holders.iter().map(|it| &it.name))?;
        let hub = |name: &String| match self.hubs.iter().any(|it| it.name == *name) {
            true => Ok(()),
            false => Err(format!("there is no [[hub]] named {name:?}")),
        };
        if let Some(nowhere) = self.hubs.iter().find(|it| it.address == Address::ZERO) {
            return Err(format!(
                "hub {:?} is at the zero address; give the contract's",
                nowhere.name
            ));
        }
        for asset in &self.assets {
            match (&asset.hub, &asset.token, asset.chain, &asset.network) {
                (Some(name), Some(_), None, None) => hub(name)?,
                (None, None, Some(_), None) | (None, None, None, Some(_)) => {}
                _ => {
                    return Err(format!(
                        "asset {:?} needs hub and token, or chain, or network",
                        asset.name
                    ));
                }
            }
            if asset.approve_above.is_some() && self.approvers.is_empty() {
                return Err(format!(
                    "asset {:?} has approve_above and nobody approves: name approvers",
                    asset.name
                ));
            }
        }
        for key in &self.keys {
            key.hubs.iter().try_for_each(hub)?;
            if key.kinds.contains(&Kind::Transaction) && key.gas_cost_max.is_none() {
                return Err(format!(
                    "key {:?} signs transactions and has no gas_cost_max",
                    key.name
                ));
            }
            if key.kinds.contains(&Kind::VaultMove) && key.fee_max.is_none() {
                return Err(format!(
                    "key {:?} signs vault moves and has no fee_max",
                    key.name
                ));
            }
            for script in &key.scripts {
                bitcoin::ScriptBuf::from_hex(script)
                    .map_err(|error| format!("script {script:?} of {:?}: {error}", key.name))?;
            }
            for call in &key.calls {
                if call.recipient_word.is_some() == call.recipients.is_empty() {
                    return Err(format!(
                        "a call of {:?} needs recipient_word and recipients together",
                        key.name
                    ));
                }
                let asset = call.amount_asset.as_ref();
                if call.amount_word.is_some() != asset.is_some()
                    || asset.is_some_and(|name| !self.assets.iter().any(|it| it.name == *name))
                {
                    return Err(format!(
                        "a call of {:?} needs amount_word and the name of an asset together",
                        key.name
                    ));
                }
            }
        }
        Ok(())
    }
}

fn once<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("two [[{what}]] are named {name:?}"));
        }
    }
    Ok(())
}
