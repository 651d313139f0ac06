//! What clients read: one form for REST, WebSocket and the OpenAPI document. Numbers that count money or goods are decimal text; sequences and
//! times are whole numbers.

use crate::market::{Candle, Diff, Interval, Level, Market, Trade};
use crate::orders::{Fill, Order};
use crate::shard::Shard;
use crate::venue::{Instrument, Venue};
use ring0_engine::Reason;
use ring0_engine::record::Removal;
use ring0_itch::mold::Session;
use ring0_wire::message::{Flags, TimeInForce as WireTime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Buy or sell.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Pays the quote asset.
    Buy,
    /// Gives the base asset.
    Sell,
}

impl Side {
    fn of(letter: u8) -> Option<Side> {
        match letter {
            b'B' => Some(Side::Buy),
            b'S' => Some(Side::Sell),
            _ => None,
        }
    }
}

/// How long an order lives.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeInForce {
    /// Until the venue closes the day.
    Day,
    /// Until it is cancelled, over days.
    #[default]
    GoodTillCancel,
    /// What does not trade at once is cancelled.
    ImmediateOrCancel,
    /// All of it at once or nothing.
    FillOrKill,
    /// Until a time.
    GoodTillTime,
}

impl TimeInForce {
    fn of(flags: Flags) -> TimeInForce {
        match flags.time() {
            it if it == WireTime::GoodTillCancel as u8 => TimeInForce::GoodTillCancel,
            it if it == WireTime::ImmediateOrCancel as u8 => TimeInForce::ImmediateOrCancel,
            it if it == WireTime::FillOrKill as u8 => TimeInForce::FillOrKill,
            it if it == WireTime::GoodTillTime as u8 => TimeInForce::GoodTillTime,
            _ => TimeInForce::Day,
        }
    }
}

/// An instrument.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct InstrumentInfo {
    /// Symbol.
    #[schema(example = "BTC-USD")]
    pub symbol: String,
    /// What is traded.
    pub base: String,
    /// What it is paid in.
    pub quote: String,
    /// Number on the wire and in the public feed.
    pub locate: u16,
    /// Prices are multiples of it, in the quote asset for one of the base asset.
    #[schema(example = "0.1")]
    pub price_step: String,
    /// Quantities are multiples of it, in the base asset.
    #[schema(example = "0.001")]
    pub quantity_step: String,
    /// Lowest price that can be asked.
    pub price_min: String,
    /// Highest price that can be asked.
    pub price_max: String,
    /// Largest quantity of one order.
    pub quantity_max: String,
    /// Part of the value that a resting order pays; negative: it is paid.
    #[schema(example = "-0.00005")]
    pub maker_fee: String,
    /// Part of the value that an incoming order pays.
    #[schema(example = "0.0003")]
    pub taker_fee: String,
    /// `continuous`, `closed`, `pre-open`, `opening-auction`, `pause`, `closing-auction`, `halted`, `uncrossing`, `delisted` or `unlisted`.
    pub state: String,
    /// Name of the shard that trades it.
    pub shard: String,
}

impl InstrumentInfo {
    /// Of an instrument.
    #[must_use]
    pub fn of(it: &Instrument, shard: &Shard) -> InstrumentInfo {
        let (base, len) = it.ladder;
        let ppm = |ppm: i64| crate::decimal::format_signed(ppm.into(), 6);
        InstrumentInfo {
            symbol: it.symbol.clone(),
            base: it.base.name.clone(),
            quote: it.quote.name.clone(),
            locate: it.locate(),
            price_step: it.price(1),
            quantity_step: it.quantity(1),
            price_min: it.price(base),
            price_max: it.price(base.saturating_add(len.saturating_sub(1))),
            quantity_max: it.quantity(it.lots_max.into()),
            maker_fee: ppm(it.maker_ppm.into()),
            taker_fee: ppm(it.taker_ppm.into()),
            state: shard
                .state()
                .market
                .state(it.index)
                .unwrap_or("unlisted")
                .to_owned(),
            shard: shard.name.clone(),
        }
    }
}

/// An asset.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct AssetInfo {
    /// Its name.
    pub name: String,
    /// Decimal places of its amounts.
    pub places: u32,
}

/// A book, or the best of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct BookInfo {
    /// Symbol.
    pub symbol: String,
    /// Books of one epoch follow from each other by diffs; another epoch begins with a snapshot.
    pub epoch: String,
    /// Sequence of the last record that changed the book.
    pub seq: u64,
    /// Price and quantity, the highest price first.
    #[schema(value_type = Vec<Vec<String>>)]
    pub bids: Vec<Level>,
    /// Price and quantity, the lowest price first.
    #[schema(value_type = Vec<Vec<String>>)]
    pub asks: Vec<Level>,
    /// CRC-32 of the best ten levels of each side.
    pub checksum: u32,
}

impl BookInfo {
    /// The book of an instrument, or its best levels.
    #[must_use]
    pub fn of(market: &Market, it: &Instrument, levels: Option<usize>) -> Option<BookInfo> {
        let picture = market.picture(it.index, levels)?;
        Some(BookInfo {
            symbol: it.symbol.clone(),
            epoch: market.epoch().to_string(),
            seq: picture.seq,
            bids: picture.bids,
            asks: picture.asks,
            checksum: picture.checksum,
        })
    }
}

/// What changed in a book: each level as it is now, a quantity of `0` where it is gone.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DiffInfo {
    /// Symbol.
    pub symbol: String,
    /// As of the book.
    pub epoch: String,
    /// The book's sequence with it.
    pub seq: u64,
    /// The book's sequence before it: another one means that something is missing.
    pub prev_seq: u64,
    /// Price and quantity.
    #[schema(value_type = Vec<Vec<String>>)]
    pub bids: Vec<Level>,
    /// Price and quantity.
    #[schema(value_type = Vec<Vec<String>>)]
    pub asks: Vec<Level>,
    /// Of the book with it.
    pub checksum: u32,
}

/// A public trade.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct TradeInfo {
    /// Symbol.
    pub symbol: String,
    /// Match number: the sequence of its record.
    pub id: u64,
    /// Unix time in milliseconds.
    pub time: u64,
    /// Price.
    pub price: String,
    /// Quantity.
    pub quantity: String,
    /// Who took; nothing where the resting order was hidden, and of an auction.
    pub taker_side: Option<Side>,
    /// It was an auction's.
    pub auction: bool,
    /// It was taken back.
    pub broken: bool,
}

impl TradeInfo {
    /// Of a trade.
    #[must_use]
    pub fn of(it: &Instrument, trade: &Trade) -> TradeInfo {
        TradeInfo {
            symbol: it.symbol.clone(),
            id: trade.number,
            time: trade.time_ns / 1_000_000,
            price: it.price(trade.price),
            quantity: it.quantity(trade.lots),
            taker_side: trade.taker.and_then(Side::of),
            auction: trade.auction,
            broken: trade.broken,
        }
    }
}

/// A candle.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct CandleInfo {
    /// Unix time of its beginning in milliseconds.
    pub time: u64,
    /// First price.
    pub open: String,
    /// Highest price.
    pub high: String,
    /// Lowest price.
    pub low: String,
    /// Last price.
    pub close: String,
    /// Quantity traded, in the base asset.
    pub volume: String,
    /// Value traded, in the quote asset.
    pub quote_volume: String,
    /// Trades.
    pub trades: u64,
}

impl CandleInfo {
    /// Of a candle.
    #[must_use]
    pub fn of(it: &Instrument, candle: &Candle) -> CandleInfo {
        CandleInfo {
            time: candle.start_s * 1_000,
            open: it.price(candle.open),
            high: it.price(candle.high),
            low: it.price(candle.low),
            close: it.price(candle.close),
            volume: it.quantity(candle.lots),
            quote_volume: it.notional(candle.notional),
            trades: candle.trades,
        }
    }
}

/// Numbers of the last 24 hours.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct TickerInfo {
    /// Symbol.
    pub symbol: String,
    /// Unix time in milliseconds.
    pub time: u64,
    /// State of its market.
    pub state: String,
    /// Price of the last trade.
    pub last: Option<String>,
    /// Best bid.
    pub bid: Option<String>,
    /// Quantity bid there.
    pub bid_quantity: Option<String>,
    /// Best ask.
    pub ask: Option<String>,
    /// Quantity asked there.
    pub ask_quantity: Option<String>,
    /// First price of the 24 hours.
    pub open: Option<String>,
    /// Highest price.
    pub high: Option<String>,
    /// Lowest price.
    pub low: Option<String>,
    /// Quantity traded, in the base asset.
    pub volume: String,
    /// Value traded, in the quote asset.
    pub quote_volume: String,
    /// Trades.
    pub trades: u64,
}

impl TickerInfo {
    /// Of an instrument at a Unix time in seconds.
    #[must_use]
    pub fn of(market: &Market, it: &Instrument, now_s: u64) -> Option<TickerInfo> {
        let ticker = market.ticker(it.index, now_s)?;
        let price = |ticks: Option<u32>| ticks.map(|ticks| it.price(ticks));
        let best = |level: Option<(u32, u64)>| {
            level.map_or((None, None), |(ticks, lots)| {
                (Some(it.price(ticks)), Some(it.quantity(lots)))
            })
        };
        let ((bid, bid_quantity), (ask, ask_quantity)) = (best(ticker.bid), best(ticker.ask));
        Some(TickerInfo {
            symbol: it.symbol.clone(),
            time: now_s * 1_000,
            state: market.state(it.index).unwrap_or("unlisted").to_owned(),
            last: price(ticker.last),
            bid,
            bid_quantity,
            ask,
            ask_quantity,
            open: price(ticker.open),
            high: price(ticker.high),
            low: price(ticker.low),
            volume: it.quantity(ticker.lots),
            quote_volume: it.notional(ticker.notional),
            trades: ticker.trades,
        })
    }
}

/// An own order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct OrderInfo {
    /// Its name at the venue.
    pub id: String,
    /// Its name at the client; nothing where it did not come through this interface.
    pub client_order_id: Option<String>,
    /// Account.
    pub account: String,
    /// Trading session that sent it.
    pub session: String,
    /// Symbol; nothing of an order that named no instrument.
    pub symbol: Option<String>,
    /// Side; nothing of a rejected replacement.
    pub side: Option<Side>,
    /// `open`, `armed` (a stop that waits), `filled`, `canceled`, `expired`, `replaced` or `rejected`.
    pub status: String,
    /// Price, of a market order the price that protects it.
    pub price: String,
    /// Trigger price of a stop.
    pub trigger: Option<String>,
    /// Quantity in all.
    pub quantity: String,
    /// Quantity traded.
    pub filled: String,
    /// Quantity that may still trade.
    pub open: String,
    /// Value traded divided by quantity traded, rounded towards zero; nothing before the first trade.
    pub average_price: Option<String>,
    /// Fees in the quote asset; negative: received.
    pub fees: String,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// Rejected rather than trade at entry.
    pub post_only: bool,
    /// It is not displayed.
    pub hidden: bool,
    /// It took any price up to its own.
    pub market: bool,
    /// The engine's reason for which it was rejected.
    pub reason: Option<String>,
    /// What that reason means, and what to do.
    pub reason_detail: Option<String>,
    /// Why it left without being filled whole.
    pub removal: Option<String>,
    /// Unix time of its entry in milliseconds.
    pub entered: u64,
    /// Unix time of its last change in milliseconds.
    pub changed: u64,
    /// Sequence of the record that changed it last.
    pub seq: u64,
}

impl OrderInfo {
    /// Of an order.
    #[must_use]
    pub fn of(shard: &Shard, order: &Order) -> OrderInfo {
        let it = shard.venue.instruments.get(order.instrument as usize);
        let price = |ticks: u32| it.map_or_else(|| ticks.to_string(), |it| it.price(ticks));
        let quantity =
            |lots: u32| it.map_or_else(|| lots.to_string(), |it| it.quantity(lots.into()));
        let reason = Reason::from_number(order.reason).filter(|_| order.reason != 0);
        let average = (order.filled != 0).then(|| {
            let step = it.map_or(1, |it| it.price_step);
            // Four more places than a price has.
            let scaled = order.notional * step * 10_000 / u128::from(order.filled);
            crate::decimal::format(scaled, it.map_or(0, |it| it.price_places) + 4)
        });
        OrderInfo {
            id: order.id.to_string(),
            client_order_id: shard
                .intents
                .client(order.session, order.reference)
                .map(|it| it.to_string()),
            account: shard.venue.account_name(order.account),
            session: order.session.to_string(),
            symbol: it.map(|it| it.symbol.clone()),
            side: Side::of(order.side),
            status: order.status.name().to_owned(),
            price: price(order.price),
            trigger: (order.trigger != 0).then(|| price(order.trigger)),
            quantity: quantity(order.lots),
            filled: quantity(order.filled),
            open: quantity(order.open()),
            average_price: average,
            fees: it.map_or_else(String::new, |it| it.quote.amount(order.fees)),
            time_in_force: TimeInForce::of(order.flags),
            post_only: order.flags.has(Flags::POST_REJECT) || order.flags.has(Flags::POST_SLIDE),
            hidden: order.flags.has(Flags::HIDDEN),
            market: order.flags.has(Flags::MARKET),
            reason: reason.map(|it| it.name().to_owned()),
            reason_detail: reason.map(|it| it.help().trim().to_owned()),
            removal: removal_name(order.removal).map(str::to_owned),
            entered: order.entered_ns / 1_000_000,
            changed: order.changed_ns / 1_000_000,
            seq: order.changed,
        }
    }
}

/// Why an order left, in words.
fn removal_name(removal: u8) -> Option<&'static str> {
    [
        (Removal::User, "cancel"),
        (Removal::Ioc, "immediate"),
        (Removal::Mass, "mass-cancel"),
        (Removal::Kill, "kill"),
        (Removal::Halted, "halted"),
        (Removal::SelfTrade, "self-trade"),
        (Removal::Expired, "expired"),
        (Removal::DayEnd, "day-end"),
        (Removal::Delisted, "delisted"),
        (Removal::OffLadder, "off-ladder"),
        (Removal::Paused, "paused"),
        (Removal::Disconnected, "disconnected"),
        (Removal::Operator, "operator"),
    ]
    .into_iter()
    .find(|(one, _)| *one as u8 == removal)
    .map(|(_, name)| name)
}

/// A fill of an own order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FillInfo {
    /// Match number: the sequence of its record.
    pub id: u64,
    /// The order's name at the venue.
    pub order_id: String,
    /// Account.
    pub account: String,
    /// Symbol.
    pub symbol: Option<String>,
    /// Side.
    pub side: Option<Side>,
    /// Price.
    pub price: String,
    /// Quantity.
    pub quantity: String,
    /// Fee in the quote asset; negative: received.
    pub fee: String,
    /// The fee's asset.
    pub fee_asset: Option<String>,
    /// `maker`, `taker` or `auction`.
    pub liquidity: String,
    /// Unix time in milliseconds.
    pub time: u64,
    /// It was taken back.
    pub broken: bool,
}

impl FillInfo {
    /// Of a fill.
    #[must_use]
    pub fn of(venue: &Venue, fill: &Fill) -> FillInfo {
        let it = venue.instruments.get(fill.instrument as usize);
        FillInfo {
            id: fill.number,
            order_id: fill.order.to_string(),
            account: venue.account_name(fill.account),
            symbol: it.map(|it| it.symbol.clone()),
            side: Side::of(fill.side),
            price: it.map_or_else(String::new, |it| it.price(fill.price)),
            quantity: it.map_or_else(String::new, |it| it.quantity(fill.lots.into())),
            fee: it.map_or_else(String::new, |it| it.quote.amount(fill.fee.into())),
            fee_asset: it.map(|it| it.quote.name.clone()),
            liquidity: match fill.maker {
                Some(true) => "maker",
                Some(false) => "taker",
                None => "auction",
            }
            .to_owned(),
            time: fill.time_ns / 1_000_000,
            broken: fill.broken,
        }
    }
}

/// A message of a WebSocket channel.
#[derive(Serialize)]
struct Said<'a, T: Serialize> {
    channel: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    data: T,
}

fn text<T: Serialize>(channel: &str, kind: &str, data: T) -> String {
    let said = Said {
        channel,
        kind,
        data,
    };
    // Structs of text and numbers always are JSON.
    serde_json::to_string(&said).unwrap_or_default()
}

/// A book's snapshot as it is said.
pub(crate) fn book_text(market: &Market, venue: &Venue, index: u32) -> String {
    let it = venue.instruments.get(index as usize);
    text(
        "book",
        "snapshot",
        it.and_then(|it| BookInfo::of(market, it, None)),
    )
}

/// A diff as it is said.
pub(crate) fn diff_text(it: &Instrument, epoch: Session, diff: &Diff) -> String {
    text(
        "book",
        "diff",
        DiffInfo {
            symbol: it.symbol.clone(),
            epoch: epoch.to_string(),
            seq: diff.seq,
            prev_seq: diff.prev_seq,
            bids: diff.bids.clone(),
            asks: diff.asks.clone(),
            checksum: diff.checksum,
        },
    )
}

/// A trade as it is said.
pub(crate) fn trade_text(it: &Instrument, trade: &Trade) -> String {
    text("trades", "trade", TradeInfo::of(it, trade))
}

/// A candle as it is said.
pub(crate) fn candle_text(it: &Instrument, interval: Interval, candle: &Candle) -> String {
    #[derive(Serialize)]
    struct Of<'a> {
        symbol: &'a str,
        interval: &'a str,
        #[serde(flatten)]
        candle: CandleInfo,
    }
    let of = Of {
        symbol: &it.symbol,
        interval: interval.name(),
        candle: CandleInfo::of(it, candle),
    };
    text("candles", "candle", of)
}

/// A ticker as it is said.
pub(crate) fn ticker_text(market: &Market, venue: &Venue, index: u32, now_s: u64) -> String {
    let it = venue.instruments.get(index as usize);
    text(
        "ticker",
        "ticker",
        it.and_then(|it| TickerInfo::of(market, it, now_s)),
    )
}

/// An order as it is said.
pub(crate) fn order_text(shard: &Shard, order: &Order) -> String {
    text("orders", "order", OrderInfo::of(shard, order))
}

/// A fill as it is said.
pub(crate) fn fill_text(shard: &Shard, fill: &Fill) -> String {
    text("fills", "fill", FillInfo::of(&shard.venue, fill))
}
