//! One shard as the gateway sees it: market data, orders and streams, all from its records, and the thread that follows them.
//!
//! Writer of the state: that thread alone. It applies a batch and tells the listeners under one lock, so whoever begins to listen under the same
//! lock has a picture and everything behind it, and nothing twice.

use crate::balances::Balances;
use crate::clock::VenueClock;
use crate::fees::Fees;
use crate::hub::{Channel, Hub};
use crate::intents::Intents;
use crate::market::{Candle, CandleStore, Interval, Market, StoreError};
use crate::messages;
use crate::metrics::Metrics;
use crate::orders::{Kept, Orders, body};
use crate::rates::Rates;
use crate::source::{self, Records, SourceError};
use crate::streams::Streams;
use crate::venue::Venue;
use ring0_engine::control::{Clock, ControlKind};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{ControlRecord, Head, Kind, Message, Step};
use ring0_feed::{Answers, FIRST_SESSION, TranslateError, Translator};
use ring0_wire::SessionId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zerocopy::FromBytes;

/// How long the follower sleeps when there is nothing: shorter costs a core, longer shows in every order's way to the clients.
const NAP: Duration = Duration::from_micros(250);

/// How often candles are written and tickers said.
const TICK: Duration = Duration::from_secs(1);

/// Why a shard cannot be followed any more.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Its records.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What they say.
    #[error(transparent)]
    Records(#[from] TranslateError),
    /// The candle store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is followed and how much of it is kept.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// Pins or file of its record ring.
    pub ring: Option<PathBuf>,
    /// Folders of its journals, one for each of its lives, the oldest first.
    pub journals: Vec<PathBuf>,
    /// Sessions whose OUCH streams are kept.
    pub streams: Vec<SessionId>,
    /// Bytes of each.
    pub stream_bytes: usize,
    /// Orders and fills of an account that are kept.
    pub kept: Kept,
}

/// Everything that follows from the records.
pub struct State {
    /// Books, trades, candles.
    pub market: Market,
    /// Everybody's own orders.
    pub orders: Orders,
    /// What everybody has here.
    pub balances: Balances,
    /// Fee schedules.
    pub fees: Fees,
    /// Message rates.
    pub rates: Rates,
    /// OUCH.
    pub streams: Streams,
    /// The last record.
    pub sequence: u64,
    /// Venue time of the last command.
    pub venue_ns: u64,
}

/// See the module.
pub struct Shard {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// What is traded.
    pub venue: Arc<Venue>,
    /// Who listens.
    pub hub: Hub,
    /// The store of candles.
    pub candles: Arc<CandleStore>,
    /// What clients call their orders.
    pub intents: Arc<Intents>,
    state: RwLock<State>,
    seen: watch::Sender<u64>,
    failed: AtomicBool,
}

/// Takes records apart, and hands each to all who want it.
struct Reader {
    translator: Translator,
    answers: Answers,
    partial: Vec<u8>,
    /// Records are new: a clock that is set is this machine's.
    live: bool,
}

impl Reader {
    fn new() -> Reader {
        Reader {
            translator: Translator::new(FIRST_SESSION),
            answers: Answers::new(FIRST_SESSION),
            partial: Vec::new(),
            live: false,
        }
    }

    fn take(&mut self, bytes: &[u8], state: &mut State) -> Result<(), TranslateError> {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let mut rest = &whole[..];
        while let Some((head, record, after)) = first_record(rest) {
            rest = after;
            self.record(&head, record, state)?;
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn record(
        &mut self,
        head: &Head,
        record: &[u8],
        state: &mut State,
    ) -> Result<(), TranslateError> {
        if let Some(time_ns) = command_time(head, record) {
            state.venue_ns = time_ns;
        }
        if self.live
            && let Some(clock) = clock_of(head, record)
        {
            state.market.clock_mut().learn(&clock);
        }
        state.market.at(head.sequence, state.venue_ns);
        self.translator.feed(record, &mut state.market)?;
        let clock = *state.market.clock();
        state.orders.record(head, record, &clock);
        state.balances.record(head, record);
        state.fees.record(head, record, &clock);
        state.rates.record(head, record);
        self.answers.feed(record, &mut state.streams)?;
        state.sequence = head.sequence;
        Ok(())
    }
}

fn first_record(bytes: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let (head, _) = Head::read_from_prefix(bytes).ok()?;
    let len = usize::from(head.slots.max(1)) * SLOT_LEN;
    let (record, rest) = bytes.split_at_checked(len)?;
    Some((head, record, rest))
}

fn command_time(head: &Head, record: &[u8]) -> Option<u64> {
    Some(match Kind::from_number(head.kind)? {
        Kind::Message => Message::read_from_bytes(record).ok()?.time_ns,
        Kind::Step => Step::read_from_bytes(record).ok()?.time_ns,
        Kind::Control => ControlRecord::read_from_bytes(record).ok()?.time_ns,
        _ => return None,
    })
}

/// The clock that a record sets.
fn clock_of(head: &Head, record: &[u8]) -> Option<Clock> {
    if head.kind != Kind::Control as u16 {
        return None;
    }
    let record = ControlRecord::read_from_bytes(record).ok()?;
    (record.kind == ControlKind::Clock as u32).then(|| body(&record))
}

impl Shard {
    /// Reads all there is and gives the shard as it is now, with what follows it from there on.
    ///
    /// # Errors
    /// Records cannot be read, or the first ones are gone.
    pub fn open(
        options: &ShardOptions,
        venue: &Arc<Venue>,
        candles: &Arc<CandleStore>,
        intents: &Arc<Intents>,
    ) -> Result<(Arc<Shard>, Follower), ShardError> {
        let mut reader = Reader::new();
        let stored = candles.through(options.number)?;
        let mut state = State {
            market: Market::new(Arc::clone(venue), last_clock(options)?, stored),
            orders: Orders::new(Arc::clone(venue), options.kept),
            balances: Balances::default(),
            fees: Fees::default(),
            rates: Rates::default(),
            streams: Streams::new(options.streams.iter().copied(), options.stream_bytes),
            sequence: 0,
            venue_ns: 0,
        };
        let mut wrong = None;
        let mut dirty = BTreeMap::new();
        let mut visit = |bytes: &[u8]| {
            if wrong.is_none() {
                wrong = reader.take(bytes, &mut state).err();
            }
            collect(&mut dirty, state.market.take_news().candles);
            state.orders.take_news();
            state.streams.take_grown();
        };
        let records = source::open(
            &options.name,
            options.ring.as_deref(),
            &options.journals,
            &mut visit,
        )?;
        if let Some(error) = wrong {
            return Err(error.into());
        }
        reader.live = true;
        let sequence = state.sequence;
        let shard = Arc::new(Shard {
            name: options.name.clone(),
            number: options.number,
            venue: Arc::clone(venue),
            hub: Hub::default(),
            candles: Arc::clone(candles),
            intents: Arc::clone(intents),
            state: RwLock::new(state),
            seen: watch::Sender::new(sequence),
            failed: AtomicBool::new(false),
        });
        let follower = Follower {
            shard: Arc::clone(&shard),
            reader,
            records,
            dirty,
            fresh: BTreeSet::new(),
        };
        Ok((shard, follower))
    }

    /// What is known now.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the OUCH stream of a session too, which has had no answers yet.
    pub fn add_stream(&self, session: SessionId) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.streams.add(session);
    }

    /// Whether its records are followed no more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The last record seen, and whoever waits for a later one.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<u64> {
        self.seen.subscribe()
    }

    /// Waits until a record was seen, at most so long; whether it was.
    pub async fn wait_for(&self, sequence: u64, at_most: Duration) -> bool {
        let mut seen = self.seen();
        let there = seen.wait_for(|seen| *seen >= sequence);
        matches!(tokio::time::timeout(at_most, there).await, Ok(Ok(_)))
    }

    /// Candles of an interval in a range of time, the newest `limit`, the oldest first: those of the store, and the present one.
    ///
    /// # Errors
    /// The store's.
    pub fn candles(
        &self,
        instrument: u32,
        interval: Interval,
        range: (u64, u64),
        limit: usize,
    ) -> Result<Vec<Candle>, StoreError> {
        let stored = self
            .candles
            .range(self.number, instrument, interval, range, limit)?;
        let mut all: BTreeMap<u64, Candle> =
            stored.into_iter().map(|it| (it.start_s, it)).collect();
        let now = self.state().market.candle(instrument, interval);
        if let Some(now) = now.filter(|it| (range.0..range.1).contains(&it.start_s)) {
            all.insert(now.start_s, now);
        }
        let skipped = all.len().saturating_sub(limit);
        Ok(all.into_values().skip(skipped).collect())
    }
}

/// The clock as the last command that set it left it: times of all records follow from it.
fn last_clock(options: &ShardOptions) -> Result<VenueClock, SourceError> {
    let mut clock = VenueClock::default();
    let mut partial = Vec::new();
    let mut visit = |bytes: &[u8]| {
        let mut whole = std::mem::take(&mut partial);
        whole.extend_from_slice(bytes);
        let mut rest = &whole[..];
        while let Some((head, record, after)) = first_record(rest) {
            rest = after;
            if let Some(set) = clock_of(&head, record) {
                clock.learn(&set);
            }
        }
        partial = rest.to_vec();
    };
    source::open(
        &options.name,
        options.ring.as_deref(),
        &options.journals,
        &mut visit,
    )?;
    Ok(clock)
}

type Dirty = BTreeMap<(u32, Interval, u64), Candle>;

fn collect(dirty: &mut Dirty, candles: Vec<(u32, Interval, Candle)>) {
    for (instrument, interval, candle) in candles {
        dirty.insert((instrument, interval, candle.start_s), candle);
    }
}

/// Follows a shard's records from where [`Shard::open`] has left them.
pub struct Follower {
    shard: Arc<Shard>,
    reader: Reader,
    records: Records,
    /// Candles that are not in the store yet.
    dirty: Dirty,
    /// Instruments whose tickers changed.
    fresh: BTreeSet<u32>,
}

impl Follower {
    /// Follows until told to stop.
    ///
    /// # Errors
    /// Records are lost or wrong: what the gateway shows would be, too.
    pub fn run(mut self, stop: &AtomicBool, metrics: &Metrics) -> Result<(), ShardError> {
        let ran = self.follow(stop, metrics);
        if ran.is_err() {
            self.shard.failed.store(true, Ordering::Release);
        }
        ran
    }

    fn follow(&mut self, stop: &AtomicBool, metrics: &Metrics) -> Result<(), ShardError> {
        let mut bytes = Vec::new();
        let mut ticked = Instant::now();
        let lag = metrics.record_lag(&self.shard.name);
        let records = metrics.records(&self.shard.name);
        while !stop.load(Ordering::Acquire) {
            bytes.clear();
            let slots = self.records.read(&mut bytes)?;
            if slots == 0 {
                std::thread::sleep(NAP);
            } else {
                let before = self.shard.state().sequence;
                self.batch(&bytes)?;
                records.inc_by(self.shard.state().sequence - before);
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                lag.set(self.records.behind().map_or(0, |it| it as i64));
                self.tick()?;
            }
        }
        self.tick()
    }

    /// Applies records and tells who listens.
    fn batch(&mut self, bytes: &[u8]) -> Result<(), ShardError> {
        let shard = Arc::clone(&self.shard);
        let mut state = shard.state.write().unwrap_or_else(PoisonError::into_inner);
        let taken = self.reader.take(bytes, &mut state);
        self.tell(&mut state);
        let sequence = state.sequence;
        drop(state);
        shard.seen.send_replace(sequence);
        Ok(taken?)
    }

    fn tell(&mut self, state: &mut State) {
        let (hub, venue) = (&self.shard.hub, &self.shard.venue);
        let news = state.market.take_news();
        let epoch = state.market.epoch();
        let instrument = |index: u32| venue.instruments.get(index as usize);
        for index in news.reset {
            self.fresh.insert(index);
            hub.say(Channel::Book(index), || {
                messages::book_text(&state.market, venue, index)
            });
        }
        for (index, diff) in &news.diffs {
            self.fresh.insert(*index);
            if let Some(it) = instrument(*index) {
                hub.say(Channel::Book(*index), || {
                    messages::diff_text(it, epoch, diff)
                });
            }
        }
        for trade in &news.trades {
            self.fresh.insert(trade.instrument);
            if let Some(it) = instrument(trade.instrument) {
                hub.say(Channel::Trades(trade.instrument), || {
                    messages::trade_text(it, trade)
                });
            }
        }
        for (index, interval, candle) in &news.candles {
            if let Some(it) = instrument(*index) {
                hub.say(Channel::Candles(*index, *interval), || {
                    messages::candle_text(it, *interval, candle)
                });
            }
        }
        self.fresh.extend(news.states);
        collect(&mut self.dirty, news.candles);
        let own = state.orders.take_news();
        for order in own.orders.iter().filter_map(|id| state.orders.get(*id)) {
            hub.say(Channel::Orders(order.account), || {
                messages::order_text(&self.shard, order)
            });
        }
        for fill in &own.fills {
            hub.say(Channel::Fills(fill.account), || {
                messages::fill_text(&self.shard, fill)
            });
        }
    }

    /// Once a second: candles to the store, tickers to who listens.
    fn tick(&mut self) -> Result<(), ShardError> {
        let shard = &self.shard;
        let state = shard.state();
        let now_s = crate::clock::unix_now_ns() / 1_000_000_000;
        for index in std::mem::take(&mut self.fresh) {
            shard.hub.say(Channel::Ticker(index), || {
                messages::ticker_text(&state.market, &shard.venue, index, now_s)
            });
        }
        let through = state.sequence;
        drop(state);
        if !self.dirty.is_empty() {
            let candles: Vec<_> = std::mem::take(&mut self.dirty)
                .into_iter()
                .map(|((instrument, interval, _), candle)| (instrument, interval, candle))
                .collect();
            shard.candles.put(shard.number, &candles, through)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
