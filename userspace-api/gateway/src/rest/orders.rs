//! Own orders: entering, replacing, cancelling, looking.

use super::described::{AccountPath, ClientOrderPath, OrderPath, Problems};
use super::enter::{client_order_id, digest, enter, tell};
use super::{Caller, JsonBody, Params, page_size, page_start};
use crate::app::App;
use crate::authority::Right;
use crate::messages::{OrderInfo, Side, TimeInForce};
use crate::orders::Order as OwnOrder;
use crate::problem::Problem;
use crate::shard::Shard;
use crate::venue::Instrument;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use ring0_trader::{Locate, Order, Price, Reference, SelfTrade, Shares};
use ring0_wire::SessionId;
use ring0_wire::message::EXPIRY_END_S;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// What a post-only order does where it would trade at entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PostOnly {
    /// It is rejected.
    Reject,
    /// Its price is moved behind the other side's best.
    Slide,
}

/// What happens where an order would trade with one of its own account.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SelfTradeRule {
    /// The incoming order is cancelled.
    CancelNewest,
    /// The resting order is cancelled.
    CancelOldest,
    /// Both are cancelled.
    CancelBoth,
    /// Both lose the smaller of the two quantities.
    Decrement,
}

/// What a pegged order follows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PegKind {
    /// The best displayed price of its own side.
    Primary,
    /// The middle between the best displayed prices.
    Midpoint,
}

/// A peg.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Peg {
    /// What it follows.
    pub kind: PegKind,
    /// Ticks towards the other side; negative: behind.
    #[serde(default)]
    pub offset_ticks: i8,
}

/// A new order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// The client's own name for it, 1 to 36 letters, digits, `-`, `_`, `.`; the same again never enters a second order.
    #[schema(min_length = 1, max_length = 36, pattern = "^[A-Za-z0-9._-]+$")]
    pub client_order_id: String,
    /// Symbol.
    #[schema(example = "BTC-USD")]
    pub symbol: String,
    /// Side.
    pub side: Side,
    /// Quantity in the base asset, a multiple of the instrument's `quantity_step`.
    #[schema(example = "0.5")]
    pub quantity: String,
    /// Price in the quote asset for one of the base asset, a multiple of `price_step`. Of a market order the worst that it may trade at.
    #[schema(example = "50000")]
    pub price: String,
    /// It takes any price up to its own; what does not trade at once is cancelled.
    #[serde(default)]
    pub market: bool,
    /// How long it lives.
    #[serde(default)]
    pub time_in_force: TimeInForce,
    /// Of `good-till-time`: second of the venue's day, 1 to 86,399.
    #[serde(default)]
    pub expires_second: Option<u32>,
    /// It does not trade at entry.
    #[serde(default)]
    pub post_only: Option<PostOnly>,
    /// It is not displayed.
    #[serde(default)]
    pub hidden: bool,
    /// An iceberg: displays so much at a time.
    #[serde(default)]
    pub display_quantity: Option<String>,
    /// Rejected where it would not trade at least so much at entry.
    #[serde(default)]
    pub minimum_quantity: Option<String>,
    /// A stop: enters when a trade reaches this price.
    #[serde(default)]
    pub trigger_price: Option<String>,
    /// It follows the market, up to its own price.
    #[serde(default)]
    pub peg: Option<Peg>,
    /// What happens where it meets its own account's; not given: as the account is set up.
    #[serde(default)]
    pub self_trade: Option<SelfTradeRule>,
}

impl PlaceOrder {
    /// As a message to the exchange.
    fn order(&self, it: &Instrument) -> Result<Order, Problem> {
        let shares =
            |text: &str, field: &str| it.lots(text, field).map(|lots| Shares(lots * it.lot_size));
        let price = |text: &str, field: &str| {
            it.ticks(text, field)
                .map(|ticks| Price(ticks * it.tick_size))
        };
        let (quantity, limit) = (
            shares(&self.quantity, "quantity")?,
            price(&self.price, "price")?,
        );
        let side = match self.side {
            Side::Buy => ring0_trader::Side::Buy,
            Side::Sell => ring0_trader::Side::Sell,
        };
        let mut order = Order::limit(side, Locate(it.locate()), quantity, limit);
        order = match self.time_in_force {
            TimeInForce::Day => order,
            TimeInForce::GoodTillCancel if self.market => order,
            TimeInForce::GoodTillCancel => order.good_till_cancel(),
            TimeInForce::ImmediateOrCancel => order.immediate(),
            TimeInForce::FillOrKill => order.fill_or_kill(),
            TimeInForce::GoodTillTime => {
                let second = self.expires_second.unwrap_or(0);
                if !(1..EXPIRY_END_S).contains(&second) {
                    return Err(Problem::field(
                        "expires_second",
                        "good-till-time needs a second of the venue's day, 1 to 86,399",
                    ));
                }
                order.good_till(second)
            }
        };
        if self.expires_second.is_some() && self.time_in_force != TimeInForce::GoodTillTime {
            return Err(Problem::field(
                "expires_second",
                "only an order with `time_in_force` `good-till-time` expires",
            ));
        }
        if self.market {
            order = order.market();
        }
        order = match self.post_only {
            None => order,
            Some(PostOnly::Reject) => order.post_only(),
            Some(PostOnly::Slide) => order.slide(),
        };
        if self.hidden {
            order = order.hidden();
        }
        if let Some(text) = &self.display_quantity {
            order = order.iceberg(shares(text, "display_quantity")?);
        }
        if let Some(text) = &self.minimum_quantity {
            order = order.at_least(shares(text, "minimum_quantity")?);
        }
        if let Some(text) = &self.trigger_price {
            order = order.stop(price(text, "trigger_price")?);
        }
        if let Some(peg) = self.peg {
            let kind = match peg.kind {
                PegKind::Primary => ring0_trader::Peg::Primary,
                PegKind::Midpoint => ring0_trader::Peg::Midpoint,
            };
            order = order.peg(kind, peg.offset_ticks);
        }
        Ok(match self.self_trade {
            None => order,
            Some(SelfTradeRule::CancelNewest) => order.self_trade(SelfTrade::CancelNewest),
            Some(SelfTradeRule::CancelOldest) => order.self_trade(SelfTrade::CancelOldest),
            Some(SelfTradeRule::CancelBoth) => order.self_trade(SelfTrade::CancelBoth),
            Some(SelfTradeRule::Decrement) => order.self_trade(SelfTrade::DecrementAndCancel),
        })
    }
}

/// New terms for a live order.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceOrder {
    /// The client's own name for the order with its new terms.
    #[schema(min_length = 1, max_length = 36, pattern = "^[A-Za-z0-9._-]+$")]
    pub client_order_id: String,
    /// Quantity that may still trade. Not more than is open now, at the same price: the order keeps its place.
    pub quantity: String,
    /// Price.
    pub price: String,
}

/// Own orders, the newest first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct OrderPage {
    /// Orders.
    pub orders: Vec<OrderInfo>,
    /// `cursor` of the next page, which has older ones; nothing where there are none.
    pub next_cursor: Option<String>,
}

/// What a mass cancel did.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct CanceledInfo {
    /// Orders cancelled at once.
    pub canceled: u64,
    /// More follow: the exchange goes on by itself.
    pub continues: bool,
}

/// Which orders.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrderQuery {
    /// `live` orders, or `all` that are kept; not given: `live`.
    #[param(pattern = "^(live|all)$")]
    status: Option<String>,
    /// Only of this symbol.
    symbol: Option<String>,
    /// Orders of a page; not given: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

/// Which orders to cancel.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CancelQuery {
    /// Only of this symbol.
    symbol: Option<String>,
    /// Only of this side.
    side: Option<Side>,
}

/// Own orders.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/orders", tag = "orders", security(("bearer" = [])),
    params(AccountPath, OrderQuery),
    responses((status = 200, body = OrderPage), Problems)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Params(query): Params<OrderQuery>,
) -> Result<Json<OrderPage>, Problem> {
    let account = caller.account(&app, &account, Right::Read)?;
    let limit = page_size(query.limit)?;
    let before = page_start(query.cursor.as_deref())?;
    let only_live = match query.status.as_deref() {
        None | Some("live") => true,
        Some("all") => false,
        Some(_) => return Err(Problem::field("status", "give `live` or `all`")),
    };
    let symbol = query.symbol.as_deref();
    let instrument = symbol.map(|it| app.venue.instrument(it)).transpose()?;
    let mut orders = Vec::new();
    for shard in &app.shards {
        let state = shard.state();
        let is_asked = |order: &&OwnOrder| {
            order.id < before
                && (!only_live || order.status.is_live())
                && instrument.is_none_or(|it| it.index == order.instrument)
        };
        let info = |order: &OwnOrder| (order.id, OrderInfo::of(shard, order));
        // One more than a page, to know whether there is another.
        if only_live {
            let live = state.orders.live(account).filter(is_asked);
            orders.extend(live.take(limit + 1).map(info));
        } else {
            let all = state.orders.all(account, before);
            let all = all.into_iter().filter(is_asked);
            orders.extend(all.take(limit + 1).map(info));
        }
    }
    // Shards number by themselves; within one the newest comes first.
    orders.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    let has_more = orders.len() > limit;
    orders.truncate(limit);
    let next_cursor = orders
        .last()
        .filter(|_| has_more)
        .map(|(id, _)| id.to_string());
    Ok(Json(OrderPage {
        orders: orders.into_iter().map(|(_, order)| order).collect(),
        next_cursor,
    }))
}

/// Enter an order. The same request again gives the same order and enters no second one.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/orders", tag = "orders", security(("bearer" = [])),
    params(AccountPath),
    request_body = PlaceOrder,
    responses(
        (status = 201, description = "It entered", body = OrderInfo),
        (status = 200, description = "It had entered before", body = OrderInfo),
        Problems)
)]
pub(crate) async fn place(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    JsonBody(asked): JsonBody<PlaceOrder>,
) -> Result<(StatusCode, Json<OrderInfo>), Problem> {
    let account = caller.account(&app, &account, Right::Trade)?;
    let client = client_order_id(&asked.client_order_id)?;
    let it = app.venue.instrument(&asked.symbol)?;
    let order = asked.order(it)?;
    let desk = app.desk(account, it.shard)?;
    let digest = digest(&("place", &asked));
    entered(enter(Arc::clone(&app), desk, client, digest, order).await)
}

fn entered(
    entered: Result<(OrderInfo, bool), Problem>,
) -> Result<(StatusCode, Json<OrderInfo>), Problem> {
    entered.map(|(order, is_new)| {
        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        (status, Json(order))
    })
}

/// Cancel orders of the account, by whichever session they came.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/orders", tag = "orders", security(("bearer" = [])),
    params(AccountPath, CancelQuery),
    responses((status = 200, body = CanceledInfo), Problems)
)]
pub(crate) async fn cancel_all(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Params(query): Params<CancelQuery>,
) -> Result<Json<CanceledInfo>, Problem> {
    let account = caller.account(&app, &account, Right::Cancel)?;
    let symbol = query.symbol.as_deref();
    let instrument = symbol.map(|it| app.venue.instrument(it)).transpose()?;
    let mut order = Order::mass_cancel(instrument.map(|it| Locate(it.locate()))).of_account();
    order = match query.side {
        None => order,
        Some(Side::Buy) => order.only(ring0_trader::Side::Buy),
        Some(Side::Sell) => order.only(ring0_trader::Side::Sell),
    };
    let shards: Vec<u32> = match instrument {
        Some(it) => vec![it.shard],
        None => app.shards.iter().map(|it| it.number).collect(),
    };
    let mut done = CanceledInfo {
        canceled: 0,
        continues: false,
    };
    let mut tried = false;
    for shard in shards {
        // One whose end has come cancels too.
        let desk = match app.desks.longest(account, shard) {
            Some(desk) => desk,
            // An account need not trade in every shard.
            None if instrument.is_none() => continue,
            None => app.desk(account, shard)?,
        };
        tried = true;
        let ack = tell(desk, order).await?;
        done.canceled += u64::from(ack.quantity);
        done.continues |= ack.outcome == ring0_trader::Outcome::Continues;
    }
    if !tried {
        app.desk(account, 0)?;
    }
    Ok(Json(done))
}

/// The shard and the order of an id.
fn find(app: &App, account: u32, id: &str) -> Result<(Arc<Shard>, OwnOrder), Problem> {
    let missing = || Problem::not_found("no such order of this account is kept");
    let id = id.parse().map_err(|_| missing())?;
    let shard = app.find_order(account, id).ok_or_else(missing)?;
    let order = shard.state().orders.get(id).cloned();
    Ok((Arc::clone(shard), order.ok_or_else(missing)?))
}

/// The shard and the order of a client order id.
fn find_client(app: &App, account: u32, client: &str) -> Result<(Arc<Shard>, OwnOrder), Problem> {
    let missing = || Problem::not_found("no order of this client order id is kept");
    let intent = app.intents.find(account, client).ok_or_else(missing)?;
    let of = |session: SessionId, reference: u32| {
        app.shards.iter().find_map(|shard| {
            let state = shard.state();
            let order = state.orders.by_reference(session, reference).cloned()?;
            Some((Arc::clone(shard), order))
        })
    };
    of(intent.session, intent.reference).ok_or_else(missing)
}

/// One order.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/orders/{id}", tag = "orders", security(("bearer" = [])),
    params(AccountPath, OrderPath),
    responses((status = 200, body = OrderInfo), Problems)
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((account, id)): Path<(String, String)>,
) -> Result<Json<OrderInfo>, Problem> {
    let account = caller.account(&app, &account, Right::Read)?;
    let (shard, order) = find(&app, account, &id)?;
    Ok(Json(OrderInfo::of(&shard, &order)))
}

/// The order of a client order id.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/client-orders/{client_order_id}", tag = "orders", security(("bearer" = [])),
    params(AccountPath, ClientOrderPath),
    responses((status = 200, body = OrderInfo), Problems)
)]
pub(crate) async fn by_client(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((account, client)): Path<(String, String)>,
) -> Result<Json<OrderInfo>, Problem> {
    let account = caller.account(&app, &account, Right::Read)?;
    let (shard, order) = find_client(&app, account, &client)?;
    Ok(Json(OrderInfo::of(&shard, &order)))
}

/// What can be done to an order by the gateway's own session.
fn own(app: &App, order: &OwnOrder) -> Result<(Arc<crate::desk::Desk>, Locate), Problem> {
    if !order.status.is_live() {
        return Err(Problem::conflict(
            "order-over",
            format!("the order is {}", order.status.name()),
        ));
    }
    let it = &app.venue.instruments[order.instrument as usize]; // a live order has one
    let desk = app.desks.of_session(order.account, it.shard, order.session);
    let desk = desk.ok_or_else(|| {
        Problem::conflict(
            "other-session",
            format!(
                "the order came by session {}, which this interface does not have; cancel it there, or cancel all orders",
                order.session
            ),
        )
    })?;
    Ok((desk, Locate(it.locate())))
}

/// Put new terms in the place of a live order.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/orders/{id}", tag = "orders", security(("bearer" = [])),
    params(AccountPath, OrderPath),
    request_body = ReplaceOrder,
    responses(
        (status = 201, description = "It was replaced", body = OrderInfo),
        (status = 200, description = "It had been replaced before", body = OrderInfo),
        Problems)
)]
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((account, id)): Path<(String, String)>,
    JsonBody(asked): JsonBody<ReplaceOrder>,
) -> Result<(StatusCode, Json<OrderInfo>), Problem> {
    let account = caller.account(&app, &account, Right::Trade)?;
    let client = client_order_id(&asked.client_order_id)?;
    let (shard, order) = find(&app, account, &id)?;
    let it = app.venue.instruments.get(order.instrument as usize);
    let it = it.ok_or_else(|| Problem::conflict("order-over", "the order is rejected"))?;
    let shares = Shares(it.lots(&asked.quantity, "quantity")? * it.lot_size);
    let price = Price(it.ticks(&asked.price, "price")? * it.tick_size);
    let desk = match own(&app, &order) {
        Ok((desk, _)) => desk,
        // The same request again: its order is over because it was carried out.
        Err(_) if app.intents.find(account, &client).is_some() => {
            app.desk(account, shard.number)?
        }
        Err(problem) => return Err(problem),
    };
    let message = Order::replace(
        Locate(it.locate()),
        Reference(order.reference),
        shares,
        price,
    );
    let digest = digest(&("replace", &id, &asked));
    entered(enter(Arc::clone(&app), desk, client, digest, message).await)
}

/// Cancel one order.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/orders/{id}", tag = "orders", security(("bearer" = [])),
    params(AccountPath, OrderPath),
    responses((status = 200, body = OrderInfo), Problems)
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((account, id)): Path<(String, String)>,
) -> Result<Json<OrderInfo>, Problem> {
    let account = caller.account(&app, &account, Right::Cancel)?;
    let (shard, order) = find(&app, account, &id)?;
    cancel_one(&app, &shard, &order).await
}

/// Cancel the order of a client order id.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/client-orders/{client_order_id}", tag = "orders", security(("bearer" = [])),
    params(AccountPath, ClientOrderPath),
    responses((status = 200, body = OrderInfo), Problems)
)]
pub(crate) async fn cancel_by_client(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((account, client)): Path<(String, String)>,
) -> Result<Json<OrderInfo>, Problem> {
    let account = caller.account(&app, &account, Right::Cancel)?;
    let (shard, order) = find_client(&app, account, &client)?;
    cancel_one(&app, &shard, &order).await
}

async fn cancel_one(
    app: &App,
    shard: &Shard,
    order: &OwnOrder,
) -> Result<Json<OrderInfo>, Problem> {
    let (desk, locate) = own(app, order)?;
    tell(desk, Order::cancel(locate, Reference(order.reference))).await?;
    let now = shard.state().orders.get(order.id).cloned();
    Ok(Json(OrderInfo::of(shard, now.as_ref().unwrap_or(order))))
}
