//! The TOML file as it is written: names and types, no judgement. `docs/market.md` has each key.

use crate::amount::Amount;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarketFile {
    pub(crate) shard: Shards,
    pub(crate) asset: Vec<AssetFile>,
    pub(crate) instrument: Vec<InstrumentFile>,
    #[serde(default)]
    pub(crate) rail: Vec<RailFile>,
    #[serde(default)]
    pub(crate) account: Vec<AccountFile>,
    #[serde(default)]
    pub(crate) session: Vec<SessionFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RailFile {
    pub(crate) name: String,
}

/// `[shard]`, or `[[shard]]` of a venue with several.
#[derive(Debug)]
pub(crate) enum Shards {
    One(Box<ShardFile>),
    Many(Vec<ShardFile>),
}

impl Shards {
    pub(crate) fn all(&self) -> &[ShardFile] {
        match self {
            Shards::One(shard) => std::slice::from_ref(shard),
            Shards::Many(shards) => shards,
        }
    }
}

// By hand: an untagged enum would say of a misspelt key only that nothing fits.
impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Shards, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Shards;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a [shard] table, or [[shard]] tables")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shards, A::Error> {
                let one = ShardFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Shards::One(Box::new(one)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Shards, A::Error> {
                let many = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(Shards::Many(many))
            }
        }
        from.deserialize_any(Either)
    }
}

/// How errors name a shard's table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Only,
    Numbered(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Only => to.write_str("shard"),
            Place::Numbered(index) => write!(to, "shard[{index}]"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardFile {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) ring_slots: u64,
    #[serde(default = "on")]
    pub(crate) tag: bool,
    #[serde(default)]
    pub(crate) acks: AcksFile,
    #[serde(default)]
    pub(crate) capacity: CapacityFile,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AcksFile {
    #[default]
    Matched,
    Durable,
}

fn on() -> bool {
    true
}

/// What is not given follows from what is listed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CapacityFile {
    pub(crate) accounts: Option<u32>,
    pub(crate) assets: Option<u32>,
    pub(crate) instruments: Option<u32>,
    pub(crate) sessions: Option<u32>,
    pub(crate) orders: Option<u32>,
    pub(crate) levels: Option<u32>,
    pub(crate) ladder: Option<u32>,
    pub(crate) answers: Option<u32>,
    pub(crate) references: Option<u32>,
    pub(crate) buckets: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssetFile {
    pub(crate) name: String,
    pub(crate) decimals: u32,
    #[serde(default)]
    pub(crate) unit_exponent: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstrumentFile {
    pub(crate) symbol: String,
    pub(crate) count: Option<u32>,
    pub(crate) shard: Option<String>,
    pub(crate) base: String,
    pub(crate) quote: String,
    pub(crate) tick_size: u32,
    pub(crate) lot_size: u32,
    pub(crate) tick_value: u32,
    pub(crate) lot_value: u64,
    pub(crate) ladder_base: u32,
    pub(crate) ladder_len: u32,
    pub(crate) lots_max: u32,
    pub(crate) band: Option<[u32; 2]>,
    pub(crate) notional_max: Option<Amount>,
    #[serde(default)]
    pub(crate) maker_ppm: i32,
    #[serde(default)]
    pub(crate) taker_ppm: u32,
    pub(crate) state: Option<StateFile>,
    #[serde(default)]
    pub(crate) dynamic_ticks: u32,
    #[serde(default)]
    pub(crate) fat_ticks: u32,
    #[serde(default)]
    pub(crate) pause_ticks: u32,
    #[serde(default)]
    pub(crate) reference: u32,
}

/// States that an instrument can begin in.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StateFile {
    Closed,
    PreOpen,
    Continuous,
    Halted,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountFile {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) balances: BTreeMap<String, Amount>,
    #[serde(default)]
    pub(crate) allotments: BTreeMap<String, BTreeMap<String, Amount>>,
    #[serde(default)]
    pub(crate) limits: BTreeMap<String, Amount>,
    #[serde(default)]
    pub(crate) orders_max: u32,
    #[serde(default)]
    pub(crate) shares_max: u32,
    #[serde(default)]
    pub(crate) notional_max: BTreeMap<String, Amount>,
    pub(crate) rate: Option<RateFile>,
    pub(crate) self_trade: Option<SelfTradeFile>,
    #[serde(default)]
    pub(crate) trade_group: u16,
}

/// What self-trade prevention does for orders that do not say it themselves.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SelfTradeFile {
    None,
    CancelNewest,
    CancelOldest,
    CancelBoth,
    Decrement,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionFile {
    pub(crate) name: String,
    pub(crate) account: String,
    pub(crate) shard: Option<String>,
    pub(crate) key_file: PathBuf,
    #[serde(default = "answers")]
    pub(crate) answers: u32,
    #[serde(default = "references")]
    pub(crate) references: u32,
    pub(crate) rate: Option<RateFile>,
    pub(crate) expires: Option<String>,
    #[serde(default)]
    pub(crate) orders_max: u32,
    #[serde(default)]
    pub(crate) shares_max: u32,
    #[serde(default)]
    pub(crate) notional_max: BTreeMap<String, Amount>,
    #[serde(default)]
    pub(crate) cancel_on_disconnect: u32,
}

fn answers() -> u32 {
    256
}

fn references() -> u32 {
    1024
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateFile {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}
