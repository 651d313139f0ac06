//! What the settlement daemon knows: balances, statements, channels, withdrawals, batches to co-sign. Its answers are passed on as they are; what
//! moves money carries the owner's or co-signer's signature, which settlement checks (CUSTODY 16).

use super::{Caller, JsonBody, Params};
use crate::app::App;
use crate::authority::Right;
use crate::decimal;
use crate::problem::Problem;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Asks settlement about an account of the caller.
async fn ask(
    app: &App,
    caller: &Caller,
    named: &str,
    right: Right,
    verb: &str,
    fields: impl FnOnce(u32) -> Value,
) -> Result<Json<Value>, Problem> {
    let account = caller.account(app, named, right)?;
    let settled = app.settled.as_ref().ok_or_else(|| {
        Problem::unavailable(
            "this gateway has no settlement daemon; its operator names its socket (`settled`)",
        )
    })?;
    let fields = match fields(account) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    settled.call(verb, fields).await.map(Json)
}

fn only_account(account: u32) -> Value {
    json!({ "account": account })
}

/// Which batches.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatementQuery {
    /// First batch's epoch; not given: 1.
    from: Option<u64>,
    /// Last batch's epoch; not given: the newest.
    to: Option<u64>,
}

/// Which batch.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BatchQuery {
    /// Its epoch; not given: the newest.
    epoch: Option<u64>,
}

/// A withdrawal, as the owner has signed it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Withdrawal {
    /// From which channel, hexadecimal.
    channel: String,
    /// All its withdrawals with this one, base units as text.
    withdrawn: String,
    /// Who gets it, an address.
    recipient: String,
    /// The pinned block, as `channels` tells it, hexadecimal.
    branch: String,
    /// Until when the hub takes it, Unix time in seconds.
    deadline: u64,
    /// The owner key's signature of the hub's `Withdrawal`, hexadecimal.
    signature: String,
}

/// An address that money may be withdrawn to.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithdrawalAddress {
    /// The address.
    address: String,
    /// The owner key's signature of it, hexadecimal.
    signature: String,
}

/// A co-signature of a batch.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cosignature {
    /// The batch's epoch.
    epoch: u64,
    /// The signature of the account's state, hexadecimal.
    signature: String,
}

/// A co-signed move of a channel's escrow to the vault.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Move {
    /// Which channel, hexadecimal.
    channel: String,
    /// One above its last move.
    number: u64,
    /// Base units as text; negative: from the escrow to the vault.
    moved: String,
    /// The pinned block, hexadecimal.
    branch: String,
    /// Until when the hub takes it, Unix time in seconds.
    deadline: u64,
    /// The co-signer's signature of the hub's `Rebalancing`, hexadecimal.
    signature: String,
}

/// What an account has of an asset.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct BalanceInfo {
    /// The asset.
    pub asset: String,
    /// All of it.
    pub total: String,
    /// Of it in each shard, available or held for orders.
    pub in_shards: BTreeMap<String, String>,
    /// On its way from one shard to another.
    pub in_transit: String,
    /// Debited for withdrawals that are not paid yet.
    pub pending_withdrawals: String,
    /// Of deposits that are not confirmed, which do not count yet.
    pub arriving: String,
    /// Below one engine unit: not traded, and withdrawn with the rest.
    pub dust: String,
}

/// What an account has.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct BalancesInfo {
    /// By asset, in whole units.
    pub balances: Vec<BalanceInfo>,
    /// The records up to which that is so, as settlement says it.
    #[schema(value_type = Object)]
    pub at: Value,
}

/// Settlement counts base and engine units; clients are told whole ones.
fn in_whole_units(app: &App, answer: &Value) -> Option<BalancesInfo> {
    let mut balances = Vec::new();
    for (name, of) in answer["assets"].as_object()? {
        let asset = app.venue.assets.iter().find(|it| it.name == *name)?;
        let base = |field: &str| {
            let units: i128 = of[field].as_str()?.parse().ok()?;
            Some(decimal::format_signed(units, asset.decimals))
        };
        let shards = of["units_in_shards"].as_object()?.iter();
        let in_shards = shards.map(|(shard, units)| {
            let units: i128 = units.as_str()?.parse().ok()?;
            Some((shard.clone(), asset.amount(units)))
        });
        balances.push(BalanceInfo {
            asset: name.clone(),
            total: base("total")?,
            in_shards: in_shards.collect::<Option<_>>()?,
            in_transit: base("in_transit")?,
            pending_withdrawals: base("pending_withdrawals")?,
            arriving: base("arriving")?,
            dust: base("dust")?,
        });
    }
    Some(BalancesInfo {
        balances,
        at: answer["at"].clone(),
    })
}

/// Balances by asset, in whole units.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/balances", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    responses((status = 200, body = BalancesInfo), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn balances(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
) -> Result<Json<BalancesInfo>, Problem> {
    let Json(answer) = ask(
        &app,
        &caller,
        &account,
        Right::Read,
        "balances",
        only_account,
    )
    .await?;
    in_whole_units(&app, &answer).map(Json).ok_or_else(|| {
        tracing::error!("settlement's balances are not of this market, or of another version");
        Problem::unavailable(
            "settlement's answer cannot be read; the operator compares versions and market files",
        )
    })
}

/// What changed the balances, from batch to batch.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/statement", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account"), StatementQuery),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn statement(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Params(query): Params<StatementQuery>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Read, "statement", |account| {
        json!({ "account": account, "from": query.from.unwrap_or(1), "to": query.to.unwrap_or(u64::MAX) })
    }).await
}

/// Channels with their deposits, and what a withdrawal has to name.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/channels", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn channels(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
) -> Result<Json<Value>, Problem> {
    ask(
        &app,
        &caller,
        &account,
        Right::Read,
        "channels",
        only_account,
    )
    .await
}

/// Withdrawals and where they are.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/withdrawals", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn withdrawals(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
) -> Result<Json<Value>, Problem> {
    ask(
        &app,
        &caller,
        &account,
        Right::Read,
        "withdrawals",
        only_account,
    )
    .await
}

/// Ask for a withdrawal, with the owner's signature over it. The same again tells how far it is.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/withdrawals", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    request_body = Withdrawal,
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn withdraw(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    JsonBody(body): JsonBody<Withdrawal>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Withdraw, "withdraw", |_| {
        json!(body)
    })
    .await
}

/// Name an address for withdrawals, with the owner's signature; money may go there after the venue's delay.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/withdrawal-addresses", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    request_body = WithdrawalAddress,
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn add_address(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    JsonBody(body): JsonBody<WithdrawalAddress>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Withdraw, "address", |account| {
        json!({ "account": account, "address": body.address, "signature": body.signature })
    }).await
}

/// The account's part of a batch, to be checked and co-signed.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/batch", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account"), BatchQuery),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn batch(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Params(query): Params<BatchQuery>,
) -> Result<Json<Value>, Problem> {
    ask(
        &app,
        &caller,
        &account,
        Right::Read,
        "batch",
        |account| json!({ "account": account, "epoch": query.epoch.unwrap_or(0) }),
    )
    .await
}

/// Hand in a co-signature of a batch.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/cosign", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    request_body = Cosignature,
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn cosign(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    JsonBody(body): JsonBody<Cosignature>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Cosign, "cosign", |account| {
        json!({ "parts": [{ "account": account, "epoch": body.epoch, "signature": body.signature }] })
    }).await
}

/// Moves of escrow to the vault that the account may sign.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/moves", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn moves(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Read, "moves", only_account).await
}

/// Hand in a co-signed move of escrow to the vault.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/moves", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    request_body = Move,
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn sign_move(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    JsonBody(body): JsonBody<Move>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Cosign, "rebalance", |_| {
        json!(body)
    })
    .await
}
