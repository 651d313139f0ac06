//! What everybody may ask.

use super::described::Problems;
use super::{Params, page_size, page_start};
use crate::app::App;
use crate::clock::unix_now_ns;
use crate::market::{INTERVALS, Interval};
use crate::messages::{AssetInfo, BookInfo, CandleInfo, InstrumentInfo, TickerInfo, TradeInfo};
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Levels that can be asked for; no book has so many.
const LEVELS_MAX: usize = 1_000_000;

/// The gateway's clock.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct TimeInfo {
    /// Unix time in milliseconds.
    pub time: u64,
}

/// Rates of an instrument, from a time on until the next version.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FeeInfo {
    /// Symbol.
    pub symbol: String,
    /// Its version, from 1.
    pub version: u32,
    /// Unix time in milliseconds since which it holds.
    pub since: u64,
    /// Sequence of the record that made it hold, in its shard.
    pub seq: u64,
    /// Name of the shard.
    pub shard: String,
    /// Number in the shard, under which settlement keeps what was taken.
    pub number: u32,
    /// The asset that fees are paid in.
    pub asset: String,
    /// Part of the value that a resting order pays; negative: it is paid.
    #[schema(example = "-0.00005")]
    pub maker_fee: String,
    /// Part of the value that an incoming order pays, and both sides in auctions.
    #[schema(example = "0.0003")]
    pub taker_fee: String,
    /// Whether it holds now.
    pub current: bool,
}

/// Which fees.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FeeQuery {
    /// Only of this symbol.
    symbol: Option<String>,
}

/// How the exchange is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct StatusInfo {
    /// `open`, or `degraded` where a shard's records are followed no more.
    pub status: String,
    /// Version of the gateway.
    pub version: String,
    /// Each shard's last record.
    pub shards: Vec<ShardStatus>,
}

/// A shard.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ShardStatus {
    /// Its name.
    pub name: String,
    /// Sequence of its last record here.
    pub seq: u64,
    /// Epoch of its books.
    pub epoch: String,
    /// Whether its records are followed.
    pub followed: bool,
}

/// Trades, the newest first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct TradePage {
    /// Trades.
    pub trades: Vec<TradeInfo>,
    /// `cursor` of the next page, which has older ones; nothing where there are none.
    pub next_cursor: Option<String>,
}

/// Candles, the oldest first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct CandlePage {
    /// Symbol.
    pub symbol: String,
    /// Interval.
    pub interval: String,
    /// Candles; minutes in which nothing was traded have none.
    pub candles: Vec<CandleInfo>,
}

/// Time of the gateway.
#[utoipa::path(get, path = "/v1/time", tag = "public", responses((status = 200, body = TimeInfo)))]
pub(crate) async fn time() -> Json<TimeInfo> {
    let time = unix_now_ns() / 1_000_000;
    Json(TimeInfo { time })
}

/// Fee schedules with all their versions, the newest first.
#[utoipa::path(get, path = "/v1/fees", tag = "public", params(FeeQuery), responses((status = 200, body = Vec<FeeInfo>), Problems))]
pub(crate) async fn fees(
    State(app): State<Arc<App>>,
    Params(query): Params<FeeQuery>,
) -> Result<Json<Vec<FeeInfo>>, Problem> {
    let symbol = query.symbol.as_deref();
    let wanted = symbol.map(|it| app.venue.instrument(it)).transpose()?;
    let mut all = Vec::new();
    for shard in &app.shards {
        let state = shard.state();
        let mut newest = std::collections::HashSet::new();
        for it in state.fees.all().iter().rev() {
            let current = newest.insert(it.instrument);
            let Some(instrument) = app.venue.instruments.get(it.instrument as usize) else {
                continue;
            };
            if wanted.is_some_and(|one| one.index != it.instrument) {
                continue;
            }
            let rate = |ppm: i64| crate::decimal::format_signed(ppm.into(), 6);
            all.push(FeeInfo {
                symbol: instrument.symbol.clone(),
                version: it.version,
                since: it.since_ns / 1_000_000,
                seq: it.seq,
                shard: shard.name.clone(),
                number: it.number,
                asset: instrument.quote.name.clone(),
                maker_fee: rate(it.maker_ppm.into()),
                taker_fee: rate(it.taker_ppm.into()),
                current,
            });
        }
    }
    Ok(Json(all))
}

/// State of the exchange.
#[utoipa::path(get, path = "/v1/status", tag = "public", responses((status = 200, body = StatusInfo)))]
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<StatusInfo> {
    let shards: Vec<_> = app
        .shards
        .iter()
        .map(|shard| {
            let state = shard.state();
            ShardStatus {
                name: shard.name.clone(),
                seq: state.sequence,
                epoch: state.market.epoch().to_string(),
                followed: !shard.has_failed(),
            }
        })
        .collect();
    let is_whole = shards.iter().all(|it| it.followed);
    Json(StatusInfo {
        status: if is_whole { "open" } else { "degraded" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        shards,
    })
}

/// Assets.
#[utoipa::path(get, path = "/v1/assets", tag = "public", responses((status = 200, body = Vec<AssetInfo>)))]
pub(crate) async fn assets(State(app): State<Arc<App>>) -> Json<Vec<AssetInfo>> {
    let assets = app.venue.assets.iter().map(|it| AssetInfo {
        name: it.name.clone(),
        places: it.places,
    });
    Json(assets.collect())
}

/// Instruments.
#[utoipa::path(get, path = "/v1/instruments", tag = "public", responses((status = 200, body = Vec<InstrumentInfo>)))]
pub(crate) async fn instruments(State(app): State<Arc<App>>) -> Json<Vec<InstrumentInfo>> {
    let all = app.venue.instruments.iter();
    Json(
        all.map(|it| InstrumentInfo::of(it, app.shard_of(it)))
            .collect(),
    )
}

/// One instrument.
#[utoipa::path(
    get, path = "/v1/instruments/{symbol}", tag = "public",
    params(("symbol" = String, Path, description = "Symbol")),
    responses((status = 200, body = InstrumentInfo), Problems)
)]
pub(crate) async fn instrument(
    State(app): State<Arc<App>>,
    Path(symbol): Path<String>,
) -> Result<Json<InstrumentInfo>, Problem> {
    let it = app.venue.instrument(&symbol)?;
    Ok(Json(InstrumentInfo::of(it, app.shard_of(it))))
}

/// How much of a book.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BookQuery {
    /// Best levels of each side; not given: all.
    #[param(minimum = 1, maximum = 1000000)]
    levels: Option<usize>,
}

/// The book by price.
#[utoipa::path(
    get, path = "/v1/instruments/{symbol}/book", tag = "public",
    params(("symbol" = String, Path, description = "Symbol"), BookQuery),
    responses((status = 200, body = BookInfo), Problems)
)]
pub(crate) async fn book(
    State(app): State<Arc<App>>,
    Path(symbol): Path<String>,
    Params(query): Params<BookQuery>,
) -> Result<Json<BookInfo>, Problem> {
    let it = app.venue.instrument(&symbol)?;
    if query
        .levels
        .is_some_and(|it| !(1..=LEVELS_MAX).contains(&it))
    {
        return Err(Problem::field("levels", format!("give 1 to {LEVELS_MAX}")));
    }
    let state = app.shard_of(it).state();
    let book = BookInfo::of(&state.market, it, query.levels);
    book.map(Json)
        .ok_or_else(|| Problem::not_found("the instrument has no book"))
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TradeQuery {
    /// Trades of a page; not given: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

/// Trades, the newest first; the last ten thousand are kept.
#[utoipa::path(
    get, path = "/v1/instruments/{symbol}/trades", tag = "public",
    params(("symbol" = String, Path, description = "Symbol"), TradeQuery),
    responses((status = 200, body = TradePage), Problems)
)]
pub(crate) async fn trades(
    State(app): State<Arc<App>>,
    Path(symbol): Path<String>,
    Params(query): Params<TradeQuery>,
) -> Result<Json<TradePage>, Problem> {
    let it = app.venue.instrument(&symbol)?;
    let limit = page_size(query.limit)?;
    let before = page_start(query.cursor.as_deref())?;
    let state = app.shard_of(it).state();
    let mut found = state.market.trades(it.index, before);
    let trades: Vec<_> = found
        .by_ref()
        .take(limit)
        .map(|trade| TradeInfo::of(it, trade))
        .collect();
    let last = trades.last().map(|it| it.id.to_string());
    let next_cursor = found.next().and(last);
    drop(found);
    Ok(Json(TradePage {
        trades,
        next_cursor,
    }))
}

/// Which candles.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandleQuery {
    /// `1m`, `5m`, `15m`, `1h`, `4h` or `1d`; not given: `1m`.
    #[param(pattern = "^(1m|5m|15m|1h|4h|1d)$")]
    interval: Option<String>,
    /// Unix time in milliseconds from which on they begin.
    #[param(format = "uint64")]
    from: Option<u64>,
    /// Unix time in milliseconds before which they begin.
    #[param(format = "uint64")]
    to: Option<u64>,
    /// How many at the most, the newest; not given: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Candles, the oldest first.
#[utoipa::path(
    get, path = "/v1/instruments/{symbol}/candles", tag = "public",
    params(("symbol" = String, Path, description = "Symbol"), CandleQuery),
    responses((status = 200, body = CandlePage), Problems)
)]
pub(crate) async fn candles(
    State(app): State<Arc<App>>,
    Path(symbol): Path<String>,
    Params(query): Params<CandleQuery>,
) -> Result<Json<CandlePage>, Problem> {
    let it = app.venue.instrument(&symbol)?;
    let name = query.interval.as_deref().unwrap_or("1m");
    let interval = Interval::named(name).ok_or_else(|| {
        let names = INTERVALS.map(Interval::name).join(", ");
        Problem::field("interval", format!("give one of {names}"))
    })?;
    let limit = page_size(query.limit)?;
    // Whole seconds: the first candle is the first that begins at or behind `from`.
    let from = query.from.unwrap_or(0).div_ceil(1_000);
    let to = query.to.map_or(u64::MAX, |it| it.div_ceil(1_000));
    let shard = app.shard_of(it);
    let found = shard.candles(it.index, interval, (from, to.max(from)), limit);
    let found = found.map_err(|error| {
        tracing::error!(%error, "candles");
        Problem::unavailable("the candle store cannot be read; try again")
    })?;
    Ok(Json(CandlePage {
        symbol,
        interval: interval.name().to_owned(),
        candles: found.iter().map(|one| CandleInfo::of(it, one)).collect(),
    }))
}

/// Numbers of the last 24 hours.
#[utoipa::path(
    get, path = "/v1/instruments/{symbol}/ticker", tag = "public",
    params(("symbol" = String, Path, description = "Symbol")),
    responses((status = 200, body = TickerInfo), Problems)
)]
pub(crate) async fn ticker(
    State(app): State<Arc<App>>,
    Path(symbol): Path<String>,
) -> Result<Json<TickerInfo>, Problem> {
    let it = app.venue.instrument(&symbol)?;
    let now_s = unix_now_ns() / 1_000_000_000;
    let ticker = TickerInfo::of(&app.shard_of(it).state().market, it, now_s);
    ticker
        .map(Json)
        .ok_or_else(|| Problem::not_found("the instrument has no ticker"))
}

/// Tickers of all instruments.
#[utoipa::path(get, path = "/v1/tickers", tag = "public", responses((status = 200, body = Vec<TickerInfo>)))]
pub(crate) async fn tickers(State(app): State<Arc<App>>) -> Json<Vec<TickerInfo>> {
    let now_s = unix_now_ns() / 1_000_000_000;
    let all = app.venue.instruments.iter();
    let found = all.filter_map(|it| TickerInfo::of(&app.shard_of(it).state().market, it, now_s));
    Json(found.collect())
}
