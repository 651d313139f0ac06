//! Money: what the shards' records and the settlement daemon say of balances, and statements, channels, deposits, withdrawals, batches to co-sign.
//! What moves money carries the owner's or co-signer's signature, which settlement checks (CUSTODY 16).

use super::described::{AccountPath, Problems};
use super::{Caller, JsonBody, Params, page_size};
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
    call(app, verb, fields(account)).await.map(Json)
}

async fn call(app: &App, verb: &str, fields: Value) -> Result<Value, Problem> {
    let settled = app.settled.as_ref().ok_or_else(|| {
        Problem::not_found(
            "this gateway has no settlement daemon; its operator names its socket (`settled`)",
        )
    })?;
    let fields = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    settled.call(verb, fields).await
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
    #[param(format = "uint64")]
    from: Option<u64>,
    /// Last batch's epoch; not given: the newest.
    #[param(format = "uint64")]
    to: Option<u64>,
    /// Whether the operator signs it. It ends with the newest signed batch then, and of an account and a batch one statement is signed: the same again has
    /// the same signature, another first batch is refused until the next batch is signed.
    #[serde(default)]
    signed: bool,
}

/// Which batch.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BatchQuery {
    /// Its epoch; not given: the newest.
    #[param(format = "uint64")]
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

/// What an account has of an asset, in whole units.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct BalanceInfo {
    /// The asset.
    pub asset: String,
    /// What can be traded or moved now, in all shards.
    pub free: String,
    /// What live orders hold.
    pub held: String,
    /// Of it by the orders of each instrument, by symbol.
    pub held_by: BTreeMap<String, String>,
    /// Free and held together, in each shard.
    pub in_shards: BTreeMap<String, String>,
    /// On its way from one shard to another.
    pub in_transit: String,
    /// Debited for withdrawals that are not paid yet.
    pub pending_withdrawals: String,
    /// Of deposits that are not confirmed, which do not count yet.
    pub arriving: String,
    /// Below one engine unit: not traded, and withdrawn with the rest.
    pub dust: String,
    /// All that is owed by settlement's ledger, which follows the shards' journals and may be a moment behind `free` and `held`.
    pub total: String,
}

/// What an account has.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct BalancesInfo {
    /// By asset.
    pub balances: Vec<BalanceInfo>,
    /// The last record of each shard that `free` and `held` have counted.
    pub records: BTreeMap<String, u64>,
    /// The records up to which settlement has counted, as it says it; nothing where this gateway has no settlement: then `total` is what is in shards.
    #[schema(value_type = Option<Object>)]
    pub at: Option<Value>,
}

/// What an account has in the shards, by their records: by asset.
fn in_shards(app: &App, account: u32) -> (Vec<BalanceInfo>, BTreeMap<String, u64>) {
    let mut sums = vec![(0_i128, 0_i128); app.venue.assets.len()]; // all, held
    let mut balances = vec![BalanceInfo::default(); sums.len()];
    let mut records = BTreeMap::new();
    for shard in &app.shards {
        let state = shard.state();
        records.insert(shard.name.clone(), state.sequence);
        let held = state.balances.held(state.orders.live(account));
        for (index, asset) in (0..).zip(&app.venue.assets) {
            let (of, sum) = (&mut balances[index as usize], &mut sums[index as usize]);
            let all = state.balances.all(account, index);
            of.in_shards.insert(shard.name.clone(), asset.amount(all));
            sum.0 += all;
            let Some(held) = held.get(&index) else {
                continue;
            };
            sum.1 += held.units;
            for (instrument, units) in &held.by_instrument {
                if let Some(it) = app.venue.instruments.get(*instrument as usize) {
                    of.held_by.insert(it.symbol.clone(), asset.amount(*units));
                }
            }
        }
    }
    for ((of, asset), (all, held)) in balances.iter_mut().zip(&app.venue.assets).zip(sums) {
        of.asset.clone_from(&asset.name);
        of.free = asset.amount(all - held);
        of.held = asset.amount(held);
        of.total = asset.amount(all);
        for nothing in [
            &mut of.in_transit,
            &mut of.pending_withdrawals,
            &mut of.arriving,
            &mut of.dust,
        ] {
            "0".clone_into(nothing);
        }
    }
    (balances, records)
}

/// What settlement adds; it counts base units.
fn add_settlements(app: &App, balances: &mut [BalanceInfo], answer: &Value) -> Option<()> {
    for (of, asset) in balances.iter_mut().zip(&app.venue.assets) {
        let said = answer["assets"].get(&asset.name)?;
        let base = |field: &str| {
            let units: i128 = said[field].as_str()?.parse().ok()?;
            Some(decimal::format_signed(units, asset.decimals))
        };
        of.total = base("total")?;
        of.in_transit = base("in_transit")?;
        of.pending_withdrawals = base("pending_withdrawals")?;
        of.arriving = base("arriving")?;
        of.dust = base("dust")?;
    }
    Some(())
}

/// Settlement said something that is not of this market.
fn unread() -> Problem {
    tracing::error!("settlement's answer is not of this market, or of another version");
    Problem::unavailable(
        "settlement's answer cannot be read; the operator compares versions and market files",
    )
}

/// Balances by asset, in whole units.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/balances", tag = "settlement", security(("bearer" = [])),
    params(AccountPath),
    responses((status = 200, body = BalancesInfo), Problems)
)]
pub(crate) async fn balances(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
) -> Result<Json<BalancesInfo>, Problem> {
    let account = caller.account(&app, &account, Right::Read)?;
    // Settlement first: what it has counted is in the records that are read then.
    let mut said = match &app.settled {
        Some(_) => Some(call(&app, "balances", only_account(account)).await?),
        None => None,
    };
    let (mut balances, records) = in_shards(&app, account);
    if let Some(said) = &said {
        add_settlements(&app, &mut balances, said).ok_or_else(unread)?;
    }
    Ok(Json(BalancesInfo {
        balances,
        records,
        at: said.as_mut().map(|it| it["at"].take()),
    }))
}

/// What changed an account's balances, with what it rests on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct StatementInfo {
    /// Opening, lines and closing of each asset, in base units; lines that `counts` sum from opening to closing.
    #[schema(value_type = Object)]
    pub statement: Value,
    /// SHA-256 of the statement as canonical JSON: as it stands here, without spaces.
    pub hash: String,
    /// The operator's signature of the account, the batch and `hash`, with the venue, the operator's address, and the batch's root as the operator signed it:
    /// what `ring0 statement verify` reads, with the whole of this answer. Only where it was asked for.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Value>,
    /// The account's part of the batch that the statement ends with: its states, their paths to the batch root, and the operator's signature of it
    /// (`ring0 channel verify` reads it). What the statement closes with is what these states say.
    #[schema(value_type = Option<Object>)]
    pub batch: Option<Value>,
    /// Why there is no batch.
    pub batch_missing: Option<String>,
}

/// What changed the balances, from batch to batch, with the signed batch at its end.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/statement", tag = "settlement", security(("bearer" = [])),
    params(AccountPath, StatementQuery),
    responses((status = 200, body = StatementInfo), Problems)
)]
pub(crate) async fn statement(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Params(query): Params<StatementQuery>,
) -> Result<Json<StatementInfo>, Problem> {
    let account = caller.account(&app, &account, Right::Read)?;
    // The batch first, so that the statement ends with it where no other end was asked for.
    let epoch = query.to.unwrap_or(0);
    let batch = call(&app, "batch", json!({ "account": account, "epoch": epoch })).await;
    let (batch, batch_missing) = match batch {
        Ok(mut answer) => (Some(answer["file"].take()), None),
        Err(problem) if problem.status < 500 => (None, Some(problem.detail)),
        Err(problem) => return Err(problem),
    };
    let newest = batch.as_ref().and_then(|it| it["epoch"].as_u64());
    let mut asked = json!({ "account": account, "from": query.from.unwrap_or(1) });
    asked["to"] = query.to.or(newest).unwrap_or(u64::MAX).into();
    if query.signed {
        // It ends where it can be signed: the account's own part may be of an earlier batch, and a newer one come meanwhile.
        asked["to"] = query.to.unwrap_or(u64::MAX).into();
        asked["sign"] = true.into();
    }
    let mut answer = call(&app, "statement", asked).await?;
    let hash = answer["hash"].as_str().ok_or_else(unread)?.to_owned();
    Ok(Json(StatementInfo {
        hash,
        statement: answer["statement"].take(),
        signed: answer.get_mut("signed").map(Value::take),
        batch,
        batch_missing,
    }))
}

/// Which of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Entries of a page; not given: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

impl PageQuery {
    /// A page of a list that only grows at its end, the newest first; and where the next one goes on: behind so many of the oldest.
    fn page<T>(&self, mut all: Vec<T>) -> Result<(Vec<T>, Option<String>), Problem> {
        let limit = page_size(self.limit)?;
        let end = match self.cursor.as_deref().map(str::parse::<usize>) {
            None => all.len(),
            Some(Ok(cursor)) => cursor.min(all.len()),
            Some(Err(_)) => {
                return Err(Problem::field(
                    "cursor",
                    "give `next_cursor` of an earlier answer, as it is",
                ));
            }
        };
        let begin = end.saturating_sub(limit);
        all.truncate(end);
        let page = all.drain(begin..).rev().collect();
        Ok((page, (begin > 0).then(|| begin.to_string())))
    }
}

/// A deposit that counts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DepositInfo {
    /// The batch in which it was counted.
    pub epoch: u64,
    /// The asset.
    pub asset: String,
    /// How much, in whole units.
    pub amount: String,
    /// `deposit`: by a rail; `granted`: by the market file or the operator.
    pub kind: String,
    /// The record or the fact of settlement that it comes from.
    #[schema(value_type = Object)]
    pub source: Value,
}

/// Deposits, the newest first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DepositPage {
    /// Deposits.
    pub deposits: Vec<DepositInfo>,
    /// `cursor` of the next page, which has older ones; nothing where there are none.
    pub next_cursor: Option<String>,
}

/// The deposits of a statement from the first batch on, the oldest first.
fn deposits_of(statement: &Value) -> Option<Vec<DepositInfo>> {
    let mut all = Vec::new();
    for of in statement["assets"].as_array()? {
        let decimals = u32::try_from(of["decimals"].as_u64()?).ok()?;
        for line in of["lines"].as_array()? {
            let kind = line["kind"].as_str()?;
            if !["deposit", "granted"].contains(&kind) {
                continue;
            }
            let amount: i128 = line["amount"].as_str()?.parse().ok()?;
            all.push(DepositInfo {
                epoch: line["epoch"].as_u64()?,
                asset: of["asset"].as_str()?.to_owned(),
                amount: decimal::format_signed(amount, decimals),
                kind: kind.to_owned(),
                source: line["source"].clone(),
            });
        }
    }
    // Of one batch they stand by asset; a batch that is cut does not change.
    all.sort_by_key(|it| it.epoch);
    Some(all)
}

/// Deposits that count. What is not confirmed yet is `arriving` in the balances.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/deposits", tag = "settlement", security(("bearer" = [])),
    params(AccountPath, PageQuery),
    responses((status = 200, body = DepositPage), Problems)
)]
pub(crate) async fn deposits(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Params(query): Params<PageQuery>,
) -> Result<Json<DepositPage>, Problem> {
    let Json(answer) = ask(
        &app,
        &caller,
        &account,
        Right::Read,
        "statement",
        |account| json!({ "account": account, "from": 1, "to": u64::MAX }),
    )
    .await?;
    let all = deposits_of(&answer["statement"]).ok_or_else(unread)?;
    let (deposits, next_cursor) = query.page(all)?;
    Ok(Json(DepositPage {
        deposits,
        next_cursor,
    }))
}

/// Channels with their deposits, and what a withdrawal has to name.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/channels", tag = "settlement", security(("bearer" = [])),
    params(AccountPath),
    responses((status = 200, body = Object), Problems)
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

/// Withdrawals, the newest first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct WithdrawalPage {
    /// Each with how far it is, as settlement says it.
    #[schema(value_type = Vec<Object>)]
    pub withdrawals: Vec<Value>,
    /// `cursor` of the next page, which has older ones; nothing where there are none.
    pub next_cursor: Option<String>,
}

/// Withdrawals and where they are.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/withdrawals", tag = "settlement", security(("bearer" = [])),
    params(AccountPath, PageQuery),
    responses((status = 200, body = WithdrawalPage), Problems)
)]
pub(crate) async fn withdrawals(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Params(query): Params<PageQuery>,
) -> Result<Json<WithdrawalPage>, Problem> {
    let Json(mut answer) = ask(
        &app,
        &caller,
        &account,
        Right::Read,
        "withdrawals",
        only_account,
    )
    .await?;
    let Value::Array(all) = answer["withdrawals"].take() else {
        return Err(unread());
    };
    let (withdrawals, next_cursor) = query.page(all)?;
    Ok(Json(WithdrawalPage {
        withdrawals,
        next_cursor,
    }))
}

/// Ask for a withdrawal, with the owner's signature over it. The same again tells how far it is.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/withdrawals", tag = "settlement", security(("bearer" = [])),
    params(AccountPath),
    request_body = Withdrawal,
    responses((status = 200, body = Object), Problems)
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
    params(AccountPath),
    request_body = WithdrawalAddress,
    responses((status = 200, body = Object), Problems)
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
    params(AccountPath, BatchQuery),
    responses((status = 200, body = Object), Problems)
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
    params(AccountPath),
    request_body = Cosignature,
    responses((status = 200, body = Object), Problems)
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
    params(AccountPath),
    responses((status = 200, body = Object), Problems)
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
    params(AccountPath),
    request_body = Move,
    responses((status = 200, body = Object), Problems)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_paged_from_its_end_and_may_grow_meanwhile() {
        let query = |limit, cursor: Option<&str>| PageQuery {
            limit: Some(limit),
            cursor: cursor.map(str::to_owned),
        };
        let (page, next) = query(2, None).page(vec![1, 2, 3, 4, 5]).unwrap();
        assert_eq!((page, next.as_deref()), (vec![5, 4], Some("3")));
        let (page, next) = query(2, Some("3")).page(vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!((page, next.as_deref()), (vec![3, 2], Some("1")));
        let (page, next) = query(2, Some("1")).page(vec![1, 2, 3]).unwrap();
        assert_eq!((page, next), (vec![1], None));
        assert_eq!(query(2, Some("9")).page(vec![1]).unwrap(), (vec![1], None));
        assert!(query(2, Some("x")).page(vec![1]).is_err());
        assert!(query(0, None).page(vec![1]).is_err());
    }

    #[test]
    fn deposits_are_those_of_the_statement() {
        let line = |epoch: u64, kind: &str, amount: &str| json!({ "epoch": epoch, "kind": kind, "amount": amount, "counts": true, "source": { "fact": 7 } });
        let statement = json!({ "account": 3, "from": 1, "to": 9, "assets": [
            { "asset": "USD", "decimals": 6, "opening": "0", "closing": "5", "lines": [line(4, "deposit", "1500000"), line(5, "fee", "-1")] },
            { "asset": "ETH", "decimals": 18, "opening": "0", "closing": "5", "lines": [line(2, "granted", "1")] },
        ]});
        let all = deposits_of(&statement).unwrap();
        let told: Vec<_> = all
            .iter()
            .map(|it| (it.epoch, &*it.asset, &*it.amount))
            .collect();
        assert_eq!(
            told,
            [(2, "ETH", "0.000000000000000001"), (4, "USD", "1.5")]
        );
        assert!(deposits_of(&json!({})).is_none());
    }
}
