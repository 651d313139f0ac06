//! Market data of one shard, made from the public feed's own messages: so nothing is shown here that the feed does not say.
//!
//! A [`Market`] takes the messages of [`ring0_feed::Translator`] and keeps books, trades and candles. Always true: equal records give equal
//! books, whatever the pieces in which they came; what a client must be told is what [`Market::take_news`] gives.

mod book;
mod candle;
mod store;

pub use book::{Book, CHECKSUM_LEVELS, Diff, Level, Picture, checksum};
pub use candle::{Candle, INTERVALS, Interval};
pub use store::{CandleStore, StoreError};

use crate::clock::VenueClock;
use crate::venue::Venue;
use book::BookSide;
use ring0_feed::Sink;
use ring0_itch::itch::{Message, state};
use ring0_itch::mold::Session;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Trades of an instrument that are kept for those who ask later.
pub const TRADES_KEPT: usize = 10_000;

/// A public trade.
#[derive(Clone, Debug, PartialEq)]
pub struct Trade {
    /// Instrument index.
    pub instrument: u32,
    /// Match number: the sequence of its record.
    pub number: u64,
    /// Unix time in nanoseconds.
    pub time_ns: u64,
    /// Ticks.
    pub price: u32,
    /// Lots.
    pub lots: u64,
    /// `B` or `S`: who took; `None` where the resting order was hidden, and of an auction.
    pub taker: Option<u8>,
    /// It was an auction's.
    pub auction: bool,
    /// It was taken back.
    pub broken: bool,
}

/// What happened since somebody looked last.
#[derive(Debug, Default)]
pub struct News {
    /// Books that begin anew: a new day.
    pub reset: Vec<u32>,
    /// One for each book that changed and is not in `reset`.
    pub diffs: Vec<(u32, Diff)>,
    /// Trades; those taken back come again, as broken.
    pub trades: Vec<Trade>,
    /// Candles that changed: instrument, interval, candle.
    pub candles: Vec<(u32, Interval, Candle)>,
    /// Instruments whose state changed.
    pub states: Vec<u32>,
}

/// A displayed order of the feed.
#[derive(Clone, Copy, Debug)]
struct Displayed {
    instrument: u32,
    side: BookSide,
    price: u32,
    lots: u64,
}

/// One instrument.
#[derive(Debug, Default)]
struct Line {
    book: Book,
    /// The feed's letter of its state, and the reason beside it.
    state: Option<(u8, [u8; 4])>,
    trades: VecDeque<Trade>,
    /// One-minute candles of the last day and a little more, for the ticker.
    minutes: BTreeMap<u64, Candle>,
    /// The present candle of each interval.
    candles: [Option<Candle>; INTERVALS.len()],
}

/// See the module.
#[derive(Debug)]
pub struct Market {
    venue: Arc<Venue>,
    clock: VenueClock,
    epoch: Session,
    lines: Vec<Line>,
    orders: HashMap<u64, Displayed>,
    /// Sequence and venue time of the command whose messages come.
    now: (u64, u64),
    /// Trades at or below it are in the candle store already.
    stored: u64,
    news: News,
}

/// Numbers of the last 24 hours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ticker {
    /// Price of the last trade in ticks.
    pub last: Option<u32>,
    /// The first price of the 24 hours.
    pub open: Option<u32>,
    /// Highest price.
    pub high: Option<u32>,
    /// Lowest price.
    pub low: Option<u32>,
    /// Lots traded.
    pub lots: u64,
    /// Ticks times lots.
    pub notional: u128,
    /// Trades.
    pub trades: u64,
    /// Best bid: ticks, lots.
    pub bid: Option<(u32, u64)>,
    /// Best ask: ticks, lots.
    pub ask: Option<(u32, u64)>,
}

impl Market {
    /// Nothing yet. Trades up to record `stored` are in the candle store.
    #[must_use]
    pub fn new(venue: Arc<Venue>, clock: VenueClock, stored: u64) -> Market {
        let lines = (0..venue.instruments.len()).map(|_| Line::default());
        Market {
            lines: lines.collect(),
            venue,
            clock,
            epoch: ring0_feed::FIRST_SESSION,
            orders: HashMap::new(),
            now: (0, 0),
            stored,
            news: News::default(),
        }
    }

    /// A record comes: its sequence, and the venue time of its command.
    pub fn at(&mut self, sequence: u64, time_ns: u64) {
        self.now = (sequence, time_ns);
    }

    /// What is traded.
    #[must_use]
    pub fn venue(&self) -> &Arc<Venue> {
        &self.venue
    }

    /// The clock, which learns from control commands.
    pub fn clock_mut(&mut self) -> &mut VenueClock {
        &mut self.clock
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &VenueClock {
        &self.clock
    }

    /// The feed's session: books of one epoch follow from each other by diffs.
    #[must_use]
    pub fn epoch(&self) -> Session {
        self.epoch
    }

    /// The book of an instrument.
    #[must_use]
    pub fn book(&self, instrument: u32) -> Option<&Book> {
        self.lines.get(instrument as usize).map(|line| &line.book)
    }

    /// The whole book, or its best `levels` of each side.
    #[must_use]
    pub fn picture(&self, instrument: u32, levels: Option<usize>) -> Option<Picture> {
        let venue = self.venue.instruments.get(instrument as usize)?;
        Some(self.book(instrument)?.picture(venue, levels))
    }

    /// The feed's word for an instrument's state; `None` before it is listed.
    #[must_use]
    pub fn state(&self, instrument: u32) -> Option<&'static str> {
        let (letter, reason) = self.lines.get(instrument as usize)?.state?;
        Some(match (letter, &reason) {
            (state::TRADING, _) => "continuous",
            (_, b"CLSD") => "closed",
            (_, b"PREO") => "pre-open",
            (_, b"OPEN") => "opening-auction",
            (_, b"LUDP") => "pause",
            (_, b"CLOS") => "closing-auction",
            (_, b"XING") => "uncrossing",
            (_, b"DLST") => "delisted",
            _ => "halted",
        })
    }

    /// Trades of an instrument with numbers below `before`, the newest first.
    pub fn trades(&self, instrument: u32, before: u64) -> impl Iterator<Item = &Trade> {
        let line = self.lines.get(instrument as usize);
        let trades = line.into_iter().flat_map(|line| line.trades.iter().rev());
        trades.filter(move |trade| trade.number < before)
    }

    /// The present candle of an interval.
    #[must_use]
    pub fn candle(&self, instrument: u32, interval: Interval) -> Option<Candle> {
        self.lines.get(instrument as usize)?.candles[interval.place()].clone()
    }

    /// The last 24 hours up to a Unix time in seconds.
    #[must_use]
    pub fn ticker(&self, instrument: u32, now_s: u64) -> Option<Ticker> {
        let line = self.lines.get(instrument as usize)?;
        let mut ticker = Ticker {
            last: line
                .trades
                .iter()
                .rev()
                .find(|it| !it.broken)
                .map(|it| it.price),
            bid: line.book.best(BookSide::Bid),
            ask: line.book.best(BookSide::Ask),
            ..Ticker::default()
        };
        let since = now_s.saturating_sub(86_400);
        for candle in line.minutes.range(since..).map(|(_, it)| it) {
            ticker.open = ticker.open.or(Some(candle.open));
            ticker.high = ticker.high.max(Some(candle.high));
            ticker.low = Some(ticker.low.map_or(candle.low, |low| low.min(candle.low)));
            ticker.lots += candle.lots;
            ticker.notional += candle.notional;
            ticker.trades += candle.trades;
        }
        Some(ticker)
    }

    /// What happened since the last time, once.
    pub fn take_news(&mut self) -> News {
        for (index, line) in (0_u32..).zip(&mut self.lines) {
            if self.news.reset.contains(&index) {
                line.book.forget_changes();
            } else if let Some(instrument) = self.venue.instruments.get(index as usize)
                && let Some(diff) = line.book.take_diff(instrument)
            {
                self.news.diffs.push((index, diff));
            }
        }
        self.news.states.sort_unstable();
        self.news.states.dedup();
        std::mem::take(&mut self.news)
    }

    fn line(&mut self, locate: u16) -> Option<(u32, &mut Line)> {
        let index = u32::from(locate).checked_sub(1)?;
        Some((index, self.lines.get_mut(index as usize)?))
    }

    fn change(&mut self, order: &Displayed, lots: i64) {
        let sequence = self.now.0;
        if let Some(line) = self.lines.get_mut(order.instrument as usize) {
            line.book.change(order.side, order.price, lots, sequence);
        }
    }

    fn units(&self, locate: u16) -> Option<(u32, u32, u32)> {
        let index = u32::from(locate).checked_sub(1)?;
        let it = self.venue.instruments.get(index as usize)?;
        Some((index, it.tick_size, it.lot_size))
    }

    fn add(&mut self, locate: u16, reference: u64, side: u8, price: u32, shares: u32) {
        let Some((instrument, tick, lot)) = self.units(locate) else {
            return; // listed since the gateway started; said once by the follower
        };
        let order = Displayed {
            instrument,
            side: BookSide::of(side),
            price: price / tick,
            lots: (shares / lot).into(),
        };
        self.orders.insert(reference, order);
        self.change(&order, order.lots as i64);
    }

    /// Takes shares off an order; gives it as it was and the lots.
    fn take(&mut self, reference: u64, shares: u32) -> Option<(Displayed, u64)> {
        let order = self.orders.get_mut(&reference)?;
        let lot = self.venue.instruments[order.instrument as usize].lot_size;
        let lots = u64::from(shares / lot).min(order.lots);
        let before = *order;
        order.lots -= lots;
        if order.lots == 0 {
            self.orders.remove(&reference);
        }
        self.change(&before, -(lots as i64));
        Some((before, lots))
    }

    fn remove(&mut self, reference: u64) -> Option<Displayed> {
        let order = self.orders.remove(&reference)?;
        self.change(&order, -(order.lots as i64));
        Some(order)
    }

    fn trade(&mut self, mut trade: Trade) {
        trade.time_ns = self.clock.unix_ns(self.now.1);
        let counts_for_store = trade.number > self.stored;
        let Some(line) = self.lines.get_mut(trade.instrument as usize) else {
            return;
        };
        let second = trade.time_ns / 1_000_000_000;
        for interval in INTERVALS {
            let start = interval.start(second);
            let place = &mut line.candles[interval.place()];
            let candle = match place.take().filter(|it| it.start_s == start) {
                Some(mut candle) => {
                    candle.take(&trade);
                    candle
                }
                None => Candle::of(start, &trade),
            };
            if interval == Interval::Minute {
                line.minutes.insert(start, candle.clone());
                while line.minutes.len() > 24 * 60 + 1 {
                    line.minutes.pop_first();
                }
            }
            if counts_for_store {
                let news = &mut self.news.candles;
                let same = news.iter_mut().find(|(instrument, of, it)| {
                    *instrument == trade.instrument && *of == interval && it.start_s == start
                });
                match same {
                    Some((_, _, it)) => *it = candle.clone(),
                    None => news.push((trade.instrument, interval, candle.clone())),
                }
            }
            *place = Some(candle);
        }
        line.trades.push_back(trade.clone());
        while line.trades.len() > TRADES_KEPT {
            line.trades.pop_front();
        }
        self.news.trades.push(trade);
    }
}

impl Sink for Market {
    fn begin(&mut self, session: Session) {
        self.epoch = session;
        self.orders.clear();
        self.news.diffs.clear();
        for (index, line) in (0..).zip(&mut self.lines) {
            line.book.clear(self.now.0);
            self.news.reset.push(index);
        }
        self.news.reset.dedup();
    }

    fn message(&mut self, message: &[u8]) {
        let Ok(message) = Message::read(message) else {
            return; // the translator is of this version: it makes what this reads
        };
        match message {
            Message::AddOrder(it) => self.add(
                it.header.locate.get(),
                it.order_reference.get(),
                it.side,
                it.price.get(),
                it.shares.get(),
            ),
            Message::OrderExecuted(it) => {
                let taken = self.take(it.order_reference.get(), it.executed_shares.get());
                if let Some((order, lots)) = taken {
                    self.trade(Trade {
                        instrument: order.instrument,
                        number: it.match_number.get(),
                        time_ns: 0,
                        price: order.price,
                        lots,
                        taker: Some(order.side.other_letter()),
                        auction: false,
                        broken: false,
                    });
                }
            }
            Message::OrderExecutedWithPrice(it) => {
                self.take(it.order_reference.get(), it.executed_shares.get());
            }
            Message::OrderCancel(it) => {
                self.take(it.order_reference.get(), it.cancelled_shares.get());
            }
            Message::OrderDelete(it) => {
                self.remove(it.order_reference.get());
            }
            Message::OrderReplace(it) => {
                if let Some(old) = self.remove(it.original_order_reference.get()) {
                    self.add(
                        it.header.locate.get(),
                        it.new_order_reference.get(),
                        old.side.letter(),
                        it.price.get(),
                        it.shares.get(),
                    );
                }
            }
            Message::Trade(it) => {
                if let Some((instrument, tick, lot)) = self.units(it.header.locate.get()) {
                    self.trade(Trade {
                        instrument,
                        number: it.match_number.get(),
                        time_ns: 0,
                        price: it.price.get() / tick,
                        lots: (it.shares.get() / lot).into(),
                        taker: None,
                        auction: false,
                        broken: false,
                    });
                }
            }
            Message::CrossTrade(it) => {
                let units = self.units(it.header.locate.get());
                if let Some((instrument, tick, lot)) = units.filter(|_| it.shares.get() != 0) {
                    self.trade(Trade {
                        instrument,
                        number: it.match_number.get(),
                        time_ns: 0,
                        price: it.cross_price.get() / tick,
                        lots: it.shares.get() / u64::from(lot),
                        taker: None,
                        auction: true,
                        broken: false,
                    });
                }
            }
            Message::BrokenTrade(it) => {
                let number = it.match_number.get();
                let broken = self.line(it.header.locate.get()).and_then(|(_, line)| {
                    let trade = line.trades.iter_mut().find(|it| it.number == number)?;
                    trade.broken = true;
                    Some(trade.clone())
                });
                self.news.trades.extend(broken);
            }
            Message::TradingAction(it) => {
                let (letter, reason) = (it.trading_state, it.reason.0);
                if let Some((index, line)) = self.line(it.header.locate.get()) {
                    line.state = Some((letter, reason));
                    self.news.states.push(index);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self) {}
}
