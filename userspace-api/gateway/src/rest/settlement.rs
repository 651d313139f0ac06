//! What the settlement daemon knows: balances, statements, deposits, withdrawals, batches to co-sign. Its answers are passed on as they are.

use super::{Caller, JsonBody};
use crate::app::App;
use crate::authority::Right;
use crate::problem::Problem;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Asks settlement about an account of the caller. What a client says is put below what the gateway says: nobody names another account.
async fn ask(
    app: &App,
    caller: &Caller,
    named: &str,
    right: Right,
    verb: &str,
    mut fields: Map<String, Value>,
) -> Result<Json<Value>, Problem> {
    let account = caller.account(app, named, right)?;
    let settled = app.settled.as_ref().ok_or_else(|| {
        Problem::unavailable(
            "this gateway has no settlement daemon; its operator names its socket (`settled`)",
        )
    })?;
    for reserved in ["verb", "ok"] {
        if fields.contains_key(reserved) {
            return Err(Problem::field(reserved, "it is not a client's to say"));
        }
    }
    fields.insert("account".into(), account.into());
    settled.call(verb, fields).await.map(Json)
}

/// What stands behind `?`, as text.
fn text_fields(query: BTreeMap<String, String>) -> Map<String, Value> {
    let fields = query.into_iter();
    fields.map(|(name, value)| (name, value.into())).collect()
}

/// Balances: available, held, on their way, by asset.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/balances", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn balances(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Read, "balances", Map::new()).await
}

/// A statement, which sums to the balances.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/statement", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn statement(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let fields = text_fields(query);
    ask(&app, &caller, &account, Right::Read, "statement", fields).await
}

/// Deposits, those that are not confirmed yet too.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/deposits", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn deposits(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Read, "deposits", Map::new()).await
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
    let verb = "withdrawals";
    ask(&app, &caller, &account, Right::Read, verb, Map::new()).await
}

/// Ask for a withdrawal, with the owner's signature over it.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/withdrawals", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    request_body = Object,
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn withdraw(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Withdraw, "withdraw", fields).await
}

/// The batch to co-sign, with the account's states and paths.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/batch", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn batch(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let fields = text_fields(query);
    ask(&app, &caller, &account, Right::Read, "batch", fields).await
}

/// Hand in a co-signature of a batch.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/cosign", tag = "settlement", security(("bearer" = [])),
    params(("account" = String, Path, description = "Name or number of the account")),
    request_body = Object,
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"), (status = "5XX", body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn cosign(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    ask(&app, &caller, &account, Right::Cosign, "cosign", fields).await
}
