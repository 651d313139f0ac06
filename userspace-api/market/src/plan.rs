//! What a market file means, every rule checked: names resolved to indices, amounts in engine units.
//!
//! Invariants of a [`Plan`]: each index names something listed; the engine accepts every control
//! command made from it, in an empty shard of its capacity. A [`Market`] is a plan with the key of
//! every session.

use crate::amount::Amount;
use crate::file::{
    AccountFile, AcksFile, AssetFile, InstrumentFile, MarketFile, Place, RateFile, SelfTradeFile,
    SessionFile, ShardFile, StateFile,
};
use crate::rate::{Rate, RateError};
use crate::venue::{self, Peer, Rail, Venue};
use ring0_abi::Acks;
use ring0_engine::Capacity;
use ring0_engine::limits::{
    AMOUNT_MAX, ANSWERS_LOG2, FEE_PPM_MAX, PACKET_SLOTS_MAX, PEG_QUEUES_MAX, PPM, REFERENCES_LOG2,
};
use ring0_engine::record::State;
use ring0_trader::SelfTrade;
use ring0_trader::{Session, SessionError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The market in a venue's file.
const TABLE: &str = "market";

/// Fewest places of a ladder and of a reference window: those of a word of their bitmaps.
const PLACES_MIN: u32 = 64;

/// Longest that a session may be silent before it counts as disconnected, seconds.
const SILENCE_MAX_S: u32 = 86_400;

/// Why a market file is not a market.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// The file cannot be read.
    #[error("{path}: cannot be read; give the path of a market's TOML file: {source}", path = .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not TOML, or a key that is unknown, missing or of the wrong type.
    #[error("{path}: {source}docs/market.md lists every key", path = .path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value that breaks a rule.
    #[error("{path}: {key}: {problem}; {fix}", path = .path.display())]
    Rule {
        /// Which file.
        path: PathBuf,
        /// Which key, for instance `instrument[2].tick_size`, counted from 0.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// A session's key file.
    #[error("{path}: session[{index}].key_file: {source}", path = .path.display())]
    Key {
        /// The market's file.
        path: PathBuf,
        /// Which session, from 0.
        index: usize,
        /// What is wrong with the key file.
        source: SessionError,
    },
}

/// The shard that runs the market.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shard {
    /// Its name, for people.
    pub name: String,
    /// The UDP port that is the shard.
    pub port: u16,
    /// Slots of the record ring, 64 bytes each, a power of two.
    pub ring_slots: u64,
    /// Whether packets carry a tag. Off only on a wire that nobody else can reach.
    pub tag: bool,
    /// When a packet that was taken is answered.
    pub acks: Acks,
    /// How much the shard can hold: as given, and where not given as the market needs with room.
    pub capacity: Capacity,
}

/// Something that is owned and traded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asset {
    /// Its name in the file.
    pub name: String,
    /// A whole unit is 10^decimals base units.
    pub decimals: u32,
    /// An engine unit is 10^unit_exponent base units.
    pub unit_exponent: u32,
}

impl Asset {
    /// A whole unit is 10^places engine units.
    #[must_use]
    pub fn places(&self) -> u32 {
        self.decimals - self.unit_exponent
    }
}

/// An instrument as it is listed; its locate is one more than its place in the list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instrument {
    /// The symbol without padding.
    pub symbol: String,
    /// Number of the shard that trades it.
    pub shard: u32,
    /// Index of the asset that is bought and sold.
    pub base_asset: u32,
    /// Index of the asset it is paid in.
    pub quote_asset: u32,
    /// Wire price of one tick.
    pub tick_size: u32,
    /// Shares in one lot.
    pub lot_size: u32,
    /// Quote engine units of one lot at a price of one tick.
    pub tick_value: u32,
    /// Base engine units of one lot.
    pub lot_value: u64,
    /// Lowest price in ticks.
    pub ladder_base: u32,
    /// Number of prices.
    pub ladder_len: u32,
    /// Most lots in one order.
    pub lots_max: u32,
    /// Lowest and highest price in ticks that an order may ask; both 0: the whole ladder.
    pub band: (u32, u32),
    /// Largest notional of an order in quote engine units; 0: no limit.
    pub notional_max: u64,
    /// Maker fee in millionths; negative: a rebate.
    pub maker_ppm: i32,
    /// Taker fee in millionths.
    pub taker_ppm: u32,
    /// Limits of prices around what was traded.
    pub bands: Bands,
    /// The state it begins in.
    pub state: State,
}

/// Price limits beside the fixed band, in ticks, each 0 for none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bands {
    /// Farthest from the last trade, or before one from the reference price, that a limit order may ask.
    pub dynamic_ticks: u32,
    /// Farthest beyond the best displayed price of the other side that a limit order may ask.
    pub fat_ticks: u32,
    /// A trade farther than this from the last auction's price, or before one from the reference price, pauses trading.
    pub pause_ticks: u32,
    /// Reference price.
    pub reference: u32,
}

/// What one order, and all live orders together, of an account or a session may be; each 0 for no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Risk {
    /// Live orders.
    pub orders_max: u32,
    /// Shares in one order.
    pub shares_max: u32,
    /// Notional of one order in quote engine units.
    pub notional_max: u64,
}

/// An account and what it begins with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its name in the file.
    pub name: String,
    /// First deposits in this shard: asset index and engine units, not zero.
    pub balances: Vec<(u32, u64)>,
    /// Asset index and limit of un-co-signed outflow in engine units.
    pub limits: Vec<(u32, u64)>,
    /// Limits of its orders.
    pub risk: Risk,
    /// Message rate of all its sessions together.
    pub rate: Rate,
    /// What self-trade prevention does for orders that do not say so themselves; the default: nothing.
    pub self_trade: SelfTrade,
    /// Its trade group, or 0.
    pub trade_group: u16,
}

/// A session as it is granted, without its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionPlan {
    /// Its name in the file.
    pub name: String,
    /// Index of its account.
    pub account: u32,
    /// Number of the shard that it trades in.
    pub shard: u32,
    /// Its key file, relative paths resolved from the market's file.
    pub key_file: PathBuf,
    /// Stored answers, a power of two.
    pub answers: u32,
    /// Places of the reference window, a power of two.
    pub references: u32,
    /// Its message rate.
    pub rate: Rate,
    /// Venue time at which the grant ends for new orders; `u64::MAX`: never.
    pub expires_ns: u64,
    /// Limits of its orders.
    pub risk: Risk,
    /// Seconds without a packet after which its orders are cancelled; 0: they stay.
    pub cancel_on_disconnect_s: u32,
}

/// A market as its file says it for one shard, without keys: enough to plan memory and to make the keys. Instruments, accounts and sessions are
/// those of the whole venue, so that their numbers are the same in every shard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The shard that it is of.
    pub shard: Shard,
    /// Its number: its place among the [`peers`](Plan::peers).
    pub number: u32,
    /// Every shard of the venue, this one too, by number.
    pub peers: Vec<Peer>,
    /// Where deposits come from and withdrawals go to.
    pub rails: Vec<Rail>,
    /// By asset index.
    pub assets: Vec<Asset>,
    /// By instrument index.
    pub instruments: Vec<Instrument>,
    /// By account index.
    pub accounts: Vec<Account>,
    /// By session index.
    pub sessions: Vec<SessionPlan>,
}

/// A plan and the key of each of its sessions.
#[derive(Clone, Debug)]
pub struct Market {
    /// What the file says.
    pub plan: Plan,
    /// By session index.
    pub(crate) sessions: Vec<Session>,
}

impl Plan {
    /// Reads a market file and checks every rule. Key files are not looked at. Of a file with several shards the path names one: `FILE#SHARD`.
    ///
    /// # Errors
    /// The first thing wrong: file, key, problem and what to do.
    pub fn load(path: &Path) -> Result<Plan, MarketError> {
        let (path, shard) = venue::split(path);
        Plan::parse_shard(&path, &read(&path)?, shard.as_deref())
    }

    /// The same shard's plan, from the file as it is now.
    ///
    /// # Errors
    /// As [`Plan::load`].
    pub fn again(&self) -> Result<Plan, MarketError> {
        Plan::parse_shard(&self.path, &read(&self.path)?, Some(&self.shard.name))
    }

    /// Reads the plan of every shard of a file, by number.
    ///
    /// # Errors
    /// As [`Plan::load`].
    pub fn load_all(path: &Path) -> Result<Vec<Plan>, MarketError> {
        let (path, _) = venue::split(path);
        let text = read(&path)?;
        let plan = Plan::parse_any(&path, &text)?;
        let of = |peer: &Peer| Plan::parse_shard(&path, &text, Some(&peer.name));
        plan.peers.iter().map(of).collect()
    }

    /// As [`Plan::load`] with the text of the file; `path` is for errors and relative key files.
    ///
    /// # Errors
    /// As [`Plan::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Plan, MarketError> {
        Plan::parse_shard(path, text, None)
    }

    fn parse_shard(path: &Path, text: &str, shard: Option<&str>) -> Result<Plan, MarketError> {
        parse(path, text, |venue| venue.chosen(shard))
    }

    /// Of the first shard: it says which there are.
    fn parse_any(path: &Path, text: &str) -> Result<Plan, MarketError> {
        parse(path, text, |_| Ok(0))
    }

    /// Everybody that amounts are transferred from and to, this shard too: name and number of each shard and rail.
    pub fn parties(&self) -> impl Iterator<Item = (&str, u32)> + Clone {
        let shards = (0_u32..).zip(&self.peers);
        let shards = shards.map(|(number, peer)| (peer.name.as_str(), number));
        let rails = self.rails.iter();
        shards.chain(rails.map(|rail| (rail.name.as_str(), rail.number)))
    }

    /// Whether a number in transfers is a rail's.
    #[must_use]
    pub fn is_rail(&self, number: u32) -> bool {
        self.rails.iter().any(|rail| rail.number == number)
    }

    /// Whether this shard trades the instrument of an index.
    #[must_use]
    pub fn trades(&self, instrument: usize) -> bool {
        let one = self.instruments.get(instrument);
        one.is_some_and(|one| one.shard == self.number)
    }

    /// Whether the session of an index is this shard's.
    #[must_use]
    pub fn grants(&self, session: usize) -> bool {
        let one = self.sessions.get(session);
        one.is_some_and(|one| one.shard == self.number)
    }

    /// How much the shard can hold.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.shard.capacity
    }
}

impl Market {
    /// Reads a market file and the key file of every session.
    ///
    /// # Errors
    /// As [`Plan::load`], and a key file that is missing, exposed or another session's.
    pub fn load(path: &Path) -> Result<Market, MarketError> {
        let plan = Plan::load(path)?;
        let sessions = crate::keys::open(&plan)?;
        Ok(Market { plan, sessions })
    }

    /// How much the shard can hold.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.plan.shard.capacity
    }

    /// The sessions with their keys, by index.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The session of a name, as its trader opens it.
    #[must_use]
    pub fn session(&self, name: &str) -> Option<&Session> {
        let index = self.plan.sessions.iter().position(|one| one.name == name)?;
        self.sessions.get(index)
    }
}

/// What breaks a rule, without the file's name.
pub(crate) struct Wrong {
    pub(crate) key: String,
    pub(crate) problem: String,
    pub(crate) fix: String,
}

pub(crate) fn wrong<T>(
    key: impl Display,
    problem: impl Display,
    fix: impl Display,
) -> Result<T, Wrong> {
    Err(Wrong {
        key: key.to_string(),
        problem: problem.to_string(),
        fix: fix.to_string(),
    })
}

/// Places of named things. Names are unique, so a name is as good as an index.
pub(crate) type Names = BTreeMap<String, u32>;

fn read(path: &Path) -> Result<String, MarketError> {
    fs::read_to_string(path).map_err(|source| MarketError::File {
        path: path.to_owned(),
        source,
    })
}

fn parse(
    path: &Path,
    text: &str,
    choose: impl FnOnce(&Venue) -> Result<usize, Wrong>,
) -> Result<Plan, MarketError> {
    let read = ring0_config::read(path, text, TABLE);
    let file: MarketFile = read.map_err(|error| MarketError::Syntax {
        path: path.to_owned(),
        source: Box::new(error),
    })?;
    judge(path, file, choose).map_err(|wrong| MarketError::Rule {
        path: path.to_owned(),
        key: match ring0_config::is_venue(text) {
            true => format!("{TABLE}.{}", wrong.key),
            false => wrong.key,
        },
        problem: wrong.problem,
        fix: wrong.fix,
    })
}

fn judge(
    path: &Path,
    file: MarketFile,
    choose: impl FnOnce(&Venue) -> Result<usize, Wrong>,
) -> Result<Plan, Wrong> {
    let venue = Venue::of(&file.shard, &file.rail)?;
    let own = choose(&venue)?;
    let number = own as u32; // at most `SHARDS_MAX`
    let names = names("asset", file.asset.iter().map(|asset| &asset.name))?;
    let assets = assets(file.asset)?;
    let instruments = instruments(file.instrument, &venue, &names, &assets)?;
    let account_names = self::names("account", file.account.iter().map(|account| &account.name))?;
    let accounts = accounts(file.account, &venue, number, &names, &assets)?;
    self::names("session", file.session.iter().map(|session| &session.name))?;
    let sessions = sessions(path, file.session, &venue, &account_names, &names, &assets)?;
    // Every one is judged, whichever is asked for: a file is right or wrong as a whole.
    let mut shards = Vec::with_capacity(venue.peers.len());
    for (number, one) in file.shard.all().iter().enumerate() {
        let listed = Listed::of(number as u32, &assets, &instruments, &accounts, &sessions);
        shards.push(shard(venue::key_of(&file.shard, number), one, &listed)?);
    }
    let shard = shards.swap_remove(own);
    Ok(Plan {
        path: path.to_owned(),
        shard,
        number,
        peers: venue.peers,
        rails: venue.rails,
        assets,
        instruments,
        accounts,
        sessions,
    })
}

/// The index of each name; each is plain and given once.
pub(crate) fn names<'a>(
    table: &str,
    given: impl Iterator<Item = &'a String>,
) -> Result<Names, Wrong> {
    let mut names = Names::new();
    for (index, name) in (0_u32..).zip(given) {
        let key = format!("{table}[{index}].name");
        if !is_plain(name) {
            return wrong(
                key,
                format_args!("{name:?} is not a name"),
                "use 1 to 32 of A-Z a-z 0-9 _ . -",
            );
        }
        if let Some(before) = names.insert(name.clone(), index) {
            return wrong(
                key,
                format_args!("{name:?} is {table}[{before}] already"),
                "give each its own name",
            );
        }
    }
    Ok(names)
}

fn is_plain(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

pub(crate) fn index_of(
    names: &Names,
    table: &str,
    key: impl Display,
    name: &str,
) -> Result<u32, Wrong> {
    match names.get(name) {
        Some(&index) => Ok(index),
        None => {
            let known: Vec<&str> = names.keys().map(String::as_str).collect();
            wrong(
                key,
                format_args!("there is no {table} {name:?}"),
                format_args!("name one of: {}", known.join(", ")),
            )
        }
    }
}

fn assets(given: Vec<AssetFile>) -> Result<Vec<Asset>, Wrong> {
    let mut assets = Vec::with_capacity(given.len());
    for (index, asset) in given.into_iter().enumerate() {
        if asset.decimals > 36 {
            return wrong(
                format_args!("asset[{index}].decimals"),
                format_args!("{} is above 36", asset.decimals),
                "give the decimal places of one whole unit, for instance 6 or 18",
            );
        }
        if asset.unit_exponent > asset.decimals {
            return wrong(
                format_args!("asset[{index}].unit_exponent"),
                format_args!(
                    "{} is above decimals, {}",
                    asset.unit_exponent, asset.decimals
                ),
                "an engine unit of 10^unit_exponent base units may not be more than a whole unit",
            );
        }
        assets.push(Asset {
            name: asset.name,
            decimals: asset.decimals,
            unit_exponent: asset.unit_exponent,
        });
    }
    Ok(assets)
}

fn instruments(
    given: Vec<InstrumentFile>,
    venue: &Venue,
    names: &Names,
    assets: &[Asset],
) -> Result<Vec<Instrument>, Wrong> {
    let mut instruments = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, file) in given.into_iter().enumerate() {
        let at = format!("instrument[{index}]");
        let shard = venue.shard_of(&at, file.shard.as_deref())?;
        let base_asset = index_of(names, "asset", format_args!("{at}.base"), &file.base)?;
        let quote_asset = index_of(names, "asset", format_args!("{at}.quote"), &file.quote)?;
        if base_asset == quote_asset {
            return wrong(
                format_args!("{at}.quote"),
                "base and quote are the same asset",
                "name the asset that the base is paid in",
            );
        }
        terms(&at, &file)?;
        let quote = &assets[quote_asset as usize];
        let notional_max = match &file.notional_max {
            Some(amount) => units(format_args!("{at}.notional_max"), amount, quote)?,
            None => 0,
        };
        let symbols = match expand(&file.symbol, file.count) {
            Ok(symbols) => symbols,
            Err((problem, fix)) => return wrong(format_args!("{at}.symbol"), problem, fix),
        };
        let [low, high] = file.band.unwrap_or_default();
        for symbol in symbols {
            let is_symbol =
                (1..=8).contains(&symbol.len()) && symbol.bytes().all(|b| b.is_ascii_graphic());
            if !is_symbol {
                return wrong(
                    format_args!("{at}.symbol"),
                    format_args!("{symbol:?} is not a symbol"),
                    "use 1 to 8 printable ASCII characters without spaces",
                );
            }
            if !seen.insert(symbol.clone()) {
                return wrong(
                    format_args!("{at}.symbol"),
                    format_args!("{symbol:?} is listed twice"),
                    "give each instrument its own symbol",
                );
            }
            instruments.push(Instrument {
                symbol,
                shard,
                base_asset,
                quote_asset,
                tick_size: file.tick_size,
                lot_size: file.lot_size,
                tick_value: file.tick_value,
                lot_value: file.lot_value,
                ladder_base: file.ladder_base,
                ladder_len: file.ladder_len,
                lots_max: file.lots_max,
                band: (low, high),
                notional_max,
                maker_ppm: file.maker_ppm,
                taker_ppm: file.taker_ppm,
                bands: Bands {
                    dynamic_ticks: file.dynamic_ticks,
                    fat_ticks: file.fat_ticks,
                    pause_ticks: file.pause_ticks,
                    reference: file.reference,
                },
                state: match file.state {
                    Some(StateFile::Closed) => State::Closed,
                    Some(StateFile::PreOpen) => State::PreOpen,
                    Some(StateFile::Halted) => State::Halted,
                    Some(StateFile::Continuous) | None => State::Continuous,
                },
            });
        }
    }
    Ok(instruments)
}

/// Checks what the engine calls `BadListing`.
fn terms(at: &str, file: &InstrumentFile) -> Result<(), Wrong> {
    let not_zero = [
        ("tick_size", u64::from(file.tick_size)),
        ("lot_size", file.lot_size.into()),
        ("tick_value", file.tick_value.into()),
        ("lot_value", file.lot_value),
        ("ladder_base", file.ladder_base.into()),
        ("ladder_len", file.ladder_len.into()),
        ("lots_max", file.lots_max.into()),
    ];
    for (name, value) in not_zero {
        if value == 0 {
            return wrong(format_args!("{at}.{name}"), "it is 0", "give at least 1");
        }
    }
    if file.ladder_len > 1 << 24 {
        return wrong(
            format_args!("{at}.ladder_len"),
            format_args!("{} is above 2^24", file.ladder_len),
            "take a larger tick or a shorter range of prices",
        );
    }
    let u32_max = u64::from(u32::MAX);
    let end = u64::from(file.ladder_base) + u64::from(file.ladder_len);
    if end > u32_max {
        return wrong(
            format_args!("{at}.ladder_base"),
            "ladder_base + ladder_len is above 2^32 - 1",
            "take a larger tick or a lower range of prices",
        );
    }
    let top = end - 1;
    if top * u64::from(file.tick_size) > u32_max {
        return wrong(
            format_args!("{at}.tick_size"),
            format_args!("the top price, {top} ticks, is above 2^32 - 1 on the wire"),
            "take a smaller tick_size or a lower range of prices",
        );
    }
    if u64::from(file.lots_max) * u64::from(file.lot_size) > u32_max {
        return wrong(
            format_args!("{at}.lots_max"),
            "lots_max × lot_size is above 2^32 - 1 shares",
            "allow fewer lots in one order",
        );
    }
    if let Some([low, high]) = file.band
        && (low == 0 || low > high)
    {
        return wrong(
            format_args!("{at}.band"),
            format_args!("[{low}, {high}] is no range of prices"),
            "give the lowest and the highest price in ticks, or leave it out for the whole ladder",
        );
    }
    if file.reference != 0 && !(u64::from(file.ladder_base)..end).contains(&file.reference.into()) {
        return wrong(
            format_args!("{at}.reference"),
            format_args!("{} is not on the ladder", file.reference),
            format_args!("give a price in ticks from {} to {top}", file.ladder_base),
        );
    }
    if file.taker_ppm > FEE_PPM_MAX {
        return wrong(
            format_args!("{at}.taker_ppm"),
            format_args!("{} is above {FEE_PPM_MAX}", file.taker_ppm),
            "fees are in millionths of the notional",
        );
    }
    if file.maker_ppm.unsigned_abs() > file.taker_ppm {
        return wrong(
            format_args!("{at}.maker_ppm"),
            format_args!(
                "{} is more than the taker fee, {}",
                file.maker_ppm, file.taker_ppm
            ),
            "neither a maker fee nor a rebate may exceed it",
        );
    }
    let lots = u128::from(file.lots_max);
    let notional = u128::from(top) * u128::from(file.tick_value);
    let fee = (notional * u128::from(file.taker_ppm)).div_ceil(u128::from(PPM));
    let largest = [
        ("tick_value", lots * (notional + fee)),
        ("lot_value", lots * u128::from(file.lot_value)),
    ];
    for (name, amount) in largest {
        if amount > u128::from(AMOUNT_MAX) {
            return wrong(
                format_args!("{at}.{name}"),
                "the largest order at the highest price is not below 2^63 engine units",
                "take a smaller lots_max, a lower range of prices or a larger engine unit of the asset",
            );
        }
    }
    Ok(())
}

/// The symbols of one entry: itself, or with a count one for each number from 1.
fn expand(symbol: &str, count: Option<u32>) -> Result<Vec<String>, (String, String)> {
    let help = "write the number's place as %d or %05d, and count beside it";
    let Some((before, rest)) = symbol.split_once('%') else {
        return match count {
            None => Ok(vec![symbol.to_owned()]),
            Some(_) => Err((
                format!("{symbol:?} has a count and no place for the number"),
                help.to_owned(),
            )),
        };
    };
    let Some(count) = count else {
        return Err((
            format!("{symbol:?} has a place for a number and no count"),
            help.to_owned(),
        ));
    };
    let place = rest.split_once('d').filter(|(width, after)| {
        let is_width = width.is_empty()
            || width
                .strip_prefix('0')
                .is_some_and(|digit| digit.len() == 1 && ("1"..="8").contains(&digit));
        is_width && !after.contains('%')
    });
    let Some((width, after)) = place else {
        return Err((
            format!("{symbol:?} has no place for a number that can be read"),
            help.to_owned(),
        ));
    };
    if count == 0 || count > 65_535 {
        return Err((
            format!("a count of {count} is not 1 to 65535"),
            "a locate has 16 bits".to_owned(),
        ));
    }
    let width: usize = width.parse().unwrap_or(0);
    Ok((1..=count)
        .map(|number| format!("{before}{number:0width$}{after}"))
        .collect())
}

fn units(key: impl Display, amount: &Amount, asset: &Asset) -> Result<u64, Wrong> {
    match amount.units(asset.places()) {
        Ok(units) => Ok(units),
        Err(problem) => wrong(
            key,
            problem,
            format_args!("give whole units of {}, as 12 or \"12.5\"", asset.name),
        ),
    }
}

/// A table of amounts by asset: indices and engine units.
fn amounts(
    at: &str,
    given: &BTreeMap<String, Amount>,
    names: &Names,
    assets: &[Asset],
) -> Result<Vec<(u32, u64)>, Wrong> {
    given
        .iter()
        .map(|(name, amount)| {
            let key = format!("{at}.{name}");
            let asset = index_of(names, "asset", &key, name)?;
            Ok((asset, units(&key, amount, &assets[asset as usize])?))
        })
        .collect()
}

/// The limit of one order's notional. The engine compares engine units, whatever asset they are of: so there is one number.
fn one_notional(at: impl Display, given: &[(u32, u64)]) -> Result<u64, Wrong> {
    match given {
        [] => Ok(0),
        &[(_, units)] if units != 0 => Ok(units),
        _ => wrong(
            format_args!("{at}.notional_max"),
            "it is not one amount of one asset above 0",
            "write it as { USD = 1_000_000 }; other quote assets are counted by as many of their engine units",
        ),
    }
}

fn accounts(
    given: Vec<AccountFile>,
    venue: &Venue,
    number: u32,
    names: &Names,
    assets: &[Asset],
) -> Result<Vec<Account>, Wrong> {
    let mut totals = vec![0_u64; assets.len()];
    let mut accounts = Vec::with_capacity(given.len());
    for (index, file) in given.into_iter().enumerate() {
        let at = format!("account[{index}]");
        let given_to = venue.allotments(&at, &file.balances, &file.allotments)?;
        let mut balances = Vec::new();
        for (shard, key, given) in given_to {
            let mut given = amounts(&key, given, names, assets)?;
            given.retain(|&(_, amount)| amount != 0);
            // Of all shards together: what is moved later fits wherever it goes.
            for &(asset, amount) in &given {
                let total = &mut totals[asset as usize];
                match total.checked_add(amount).filter(|&sum| sum <= AMOUNT_MAX) {
                    Some(sum) => *total = sum,
                    None => {
                        let asset = &assets[asset as usize].name;
                        return wrong(
                            format_args!("{key}.{asset}"),
                            format_args!(
                                "all balances of {asset} together are not below 2^63 engine units"
                            ),
                            "give less, or raise the asset's unit_exponent",
                        );
                    }
                }
            }
            if shard == number {
                balances = given;
            }
        }
        let amounts = |table: &str, given: &BTreeMap<String, Amount>| {
            amounts(&format!("{at}.{table}"), given, names, assets)
        };
        let limits = amounts("limits", &file.limits)?;
        let notional = amounts("notional_max", &file.notional_max)?;
        accounts.push(Account {
            limits,
            risk: Risk {
                orders_max: file.orders_max,
                shares_max: file.shares_max,
                notional_max: one_notional(format_args!("account[{index}]"), &notional)?,
            },
            rate: rate(format_args!("account[{index}]"), file.rate.as_ref())?,
            self_trade: match file.self_trade {
                Some(SelfTradeFile::CancelNewest) => SelfTrade::CancelNewest,
                Some(SelfTradeFile::CancelOldest) => SelfTrade::CancelOldest,
                Some(SelfTradeFile::CancelBoth) => SelfTrade::CancelBoth,
                Some(SelfTradeFile::Decrement) => SelfTrade::DecrementAndCancel,
                Some(SelfTradeFile::None) | None => SelfTrade::AccountDefault,
            },
            trade_group: file.trade_group,
            name: file.name,
            balances,
        });
    }
    Ok(accounts)
}

fn sessions(
    path: &Path,
    given: Vec<SessionFile>,
    venue: &Venue,
    accounts: &Names,
    names: &Names,
    assets: &[Asset],
) -> Result<Vec<SessionPlan>, Wrong> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = BTreeMap::new();
    let mut sessions = Vec::with_capacity(given.len());
    for (index, file) in given.into_iter().enumerate() {
        let at = format!("session[{index}]");
        let account = index_of(
            accounts,
            "account",
            format_args!("{at}.account"),
            &file.account,
        )?;
        let shard = venue.shard_of(&at, file.shard.as_deref())?;
        let key_file = folder.join(&file.key_file);
        if let Some(before) = files.insert(key_file.clone(), index) {
            return wrong(
                format_args!("{at}.key_file"),
                format_args!("it is the key file of session[{before}]"),
                "give each session its own",
            );
        }
        power_of_two(format_args!("{at}.answers"), file.answers, &ANSWERS_LOG2)?;
        power_of_two(
            format_args!("{at}.references"),
            file.references,
            &REFERENCES_LOG2,
        )?;
        let rate = rate(&at, file.rate.as_ref())?;
        let expires_ns = match file.expires.as_deref() {
            None | Some("never") => u64::MAX,
            Some(text) => match time_of_day(text) {
                Some(time) => time,
                None => {
                    return wrong(
                        format_args!("{at}.expires"),
                        format_args!("{text:?} is no venue time"),
                        "write \"never\" or hours:minutes:seconds since the venue's midnight, as \"17:30:00\"; hours may pass 24",
                    );
                }
            },
        };
        if file.cancel_on_disconnect > SILENCE_MAX_S {
            return wrong(
                format_args!("{at}.cancel_on_disconnect"),
                format_args!("{} is above a day", file.cancel_on_disconnect),
                "give the seconds without a packet after which the session's orders are cancelled",
            );
        }
        let notional = amounts(
            &format!("{at}.notional_max"),
            &file.notional_max,
            names,
            assets,
        )?;
        sessions.push(SessionPlan {
            risk: Risk {
                orders_max: file.orders_max,
                shares_max: file.shares_max,
                notional_max: one_notional(&at, &notional)?,
            },
            cancel_on_disconnect_s: file.cancel_on_disconnect,
            name: file.name,
            account,
            shard,
            key_file,
            answers: file.answers,
            references: file.references,
            rate,
            expires_ns,
        });
    }
    Ok(sessions)
}

fn power_of_two(
    key: impl Display,
    value: u32,
    log2: &std::ops::RangeInclusive<u8>,
) -> Result<(), Wrong> {
    let (low, high) = (1_u32 << log2.start(), 1_u32 << log2.end());
    if value.is_power_of_two() && (low..=high).contains(&value) {
        return Ok(());
    }
    wrong(
        key,
        format_args!("{value} is not a power of two from {low} to {high}"),
        format_args!("give {}", value.clamp(low, high).next_power_of_two()),
    )
}

fn rate(at: impl Display, given: Option<&RateFile>) -> Result<Rate, Wrong> {
    let Some(given) = given else {
        return Ok(Rate::default());
    };
    Rate::new(given.per_second, given.burst).or_else(|error| {
        let key = match error {
            RateError::PerSecond(_) => "per_second",
            RateError::Burst(_) => "burst",
        };
        wrong(format_args!("{at}.rate.{key}"), error, error.fix())
    })
}

/// Nanoseconds of `hours:minutes:seconds`.
#[must_use]
pub fn time_of_day(text: &str) -> Option<u64> {
    let numbers: Vec<u64> = text
        .split(':')
        .map(|part| {
            let is_number =
                (2..=5).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| part.parse().ok()).flatten()
        })
        .collect::<Option<_>>()?;
    match numbers[..] {
        [hours, minutes @ 0..60, seconds @ 0..60] => {
            Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000)
        }
        _ => None,
    }
}

fn shard(at: Place, file: &ShardFile, listed: &Listed) -> Result<Shard, Wrong> {
    if !is_plain(&file.name) {
        return wrong(
            format_args!("{at}.name"),
            format_args!("{:?} is not a name", file.name),
            "use 1 to 32 of A-Z a-z 0-9 _ . -",
        );
    }
    if file.port == 0 {
        return wrong(
            format_args!("{at}.port"),
            "it is 0",
            "give the UDP port that traders send to",
        );
    }
    // The last eighth is kept for what reduces risk; beside it a worst packet must fit with ease.
    let slots_min = (PACKET_SLOTS_MAX * 8).next_power_of_two();
    let slots_max = 1 << 25; // 2 GiB: the ring is one map
    if !file.ring_slots.is_power_of_two() || !(slots_min..=slots_max).contains(&file.ring_slots) {
        return wrong(
            format_args!("{at}.ring_slots"),
            format_args!(
                "{} is not a power of two from {slots_min} to {slots_max}",
                file.ring_slots
            ),
            "1048576 (64 MiB) holds some 400,000 messages",
        );
    }
    let capacity = capacity(at, file, listed)?;
    Ok(Shard {
        name: file.name.clone(),
        port: file.port,
        ring_slots: file.ring_slots,
        tag: file.tag,
        acks: match file.acks {
            AcksFile::Matched => Acks::Matched,
            AcksFile::Durable => Acks::Durable,
        },
        capacity,
    })
}

/// What the file's lists need.
struct Listed {
    accounts: u64,
    assets: u64,
    instruments: u64,
    sessions: u64,
    ladder: u64,
    answers: u64,
    references: u64,
}

impl Listed {
    /// Indices are those of the whole venue; ladders and windows only those of this shard.
    fn of(
        number: u32,
        assets: &[Asset],
        instruments: &[Instrument],
        accounts: &[Account],
        sessions: &[SessionPlan],
    ) -> Listed {
        let own = || sessions.iter().filter(|one| one.shard == number);
        Listed {
            accounts: accounts.len() as u64,
            assets: assets.len() as u64,
            instruments: instruments.len() as u64,
            sessions: sessions.len() as u64,
            ladder: instruments
                .iter()
                .filter(|one| one.shard == number)
                .map(|one| u64::from(one.ladder_len.next_power_of_two().max(PLACES_MIN)))
                .sum(),
            answers: own().map(|one| u64::from(one.answers)).sum(),
            references: own()
                .map(|one| u64::from(one.references.max(PLACES_MIN)))
                .sum(),
        }
    }
}

/// What is given, checked against what is listed; what is not given, from what is listed with room
/// for as much again, since accounts, instruments and sessions are added while a shard runs.
fn capacity(at: Place, file: &ShardFile, listed: &Listed) -> Result<Capacity, Wrong> {
    let given = &file.capacity;
    let part = |name: &str, given: Option<u32>, need: u64, usual: u64, max: u64| {
        let key = format!("{at}.capacity.{name}");
        if need > max {
            return wrong(
                key,
                format_args!("the file lists {need} and a shard holds {max}"),
                "list less, or make two shards of it",
            );
        }
        let value = given.map_or(usual.min(max), u64::from);
        if value < need.max(1) || value > max {
            return wrong(
                key,
                format_args!(
                    "{value} is not {} (what the file lists) to {max}",
                    need.max(1)
                ),
                "give what lies between, or leave it out",
            );
        }
        Ok(value as u32) // at most `max`, which is below 2^32
    };
    let any = u64::from(u32::MAX - 1);
    let accounts_usual = (listed.accounts * 2).max(16);
    let accounts = part(
        "accounts",
        given.accounts,
        listed.accounts,
        accounts_usual,
        1 << 20,
    )?;
    let assets_usual = (listed.assets * 2).max(8);
    let assets = part("assets", given.assets, listed.assets, assets_usual, 256)?;
    let instruments_usual = (listed.instruments * 2).max(4);
    let instruments = part(
        "instruments",
        given.instruments,
        listed.instruments,
        instruments_usual,
        65_535,
    )?;
    let sessions_usual = (listed.sessions * 2).max(16);
    let sessions = part(
        "sessions",
        given.sessions,
        listed.sessions,
        sessions_usual,
        1 << 20,
    )?;
    // What is still to come is taken to be like the defaults of docs/market.md.
    let sessions_free = u64::from(sessions) - listed.sessions;
    let instruments_free = u64::from(instruments) - listed.instruments;
    let orders = part("orders", given.orders, 1, u64::from(sessions) * 1024, any)?;
    let ladder_usual = listed.ladder + instruments_free.min(listed.instruments) * 1024;
    let ladder = part("ladder", given.ladder, listed.ladder, ladder_usual, any)?;
    // A level or peg queue in use holds an order; a place of the ladder has one of each of the six books.
    let queues = u64::from(instruments) * 2 * u64::from(PEG_QUEUES_MAX);
    let levels_usual = (u64::from(ladder) * 6 + queues).min(orders.into());
    let levels = part("levels", given.levels, 1, levels_usual, any)?;
    let answers_usual = listed.answers + sessions_free * 256;
    let answers = part("answers", given.answers, listed.answers, answers_usual, any)?;
    let references_usual = listed.references + sessions_free * 1024;
    let references = part(
        "references",
        given.references,
        listed.references,
        references_usual,
        any,
    )?;
    // A bucket holds 16: a quarter of all orders may be older than their session's window.
    let buckets_usual = u64::from(orders / 64).next_power_of_two().max(64);
    let buckets = part("buckets", given.buckets, 1, buckets_usual, 1 << 31)?;
    if !buckets.is_power_of_two() {
        return wrong(
            format_args!("{at}.capacity.buckets"),
            format_args!("{buckets} is not a power of two"),
            format_args!("give {}", buckets.next_power_of_two()),
        );
    }
    Ok(Capacity {
        accounts,
        assets,
        instruments,
        sessions,
        orders,
        levels,
        ladder,
        answers,
        references,
        buckets,
    })
}
