//! Accounts and their fills.

use super::described::{AccountPath, Problems};
use super::{Caller, Params, page_size, page_start};
use crate::app::App;
use crate::authority::Right;
use crate::messages::FillInfo;
use crate::problem::Problem;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// An account that the caller may speak of.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct AccountInfo {
    /// Its name.
    pub name: String,
    /// Its number at the venue.
    pub number: u32,
    /// Names of the shards in which it can trade through this interface.
    pub shards: Vec<String>,
}

/// Own fills, the newest first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FillPage {
    /// Fills.
    pub fills: Vec<FillInfo>,
    /// `cursor` of the next page, which has older ones; nothing where there are none.
    pub next_cursor: Option<String>,
}

/// Accounts of the caller.
#[utoipa::path(
    get, path = "/v1/accounts", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, body = Vec<AccountInfo>), Problems)
)]
pub(crate) async fn accounts(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Json<Vec<AccountInfo>> {
    let of = |number: u32| AccountInfo {
        name: app.venue.account_name(number),
        number,
        shards: app
            .shards
            .iter()
            .filter(|shard| app.desk(number, shard.number).is_ok())
            .map(|shard| shard.name.clone())
            .collect(),
    };
    Json(caller.0.accounts().into_iter().map(of).collect())
}

/// Which fills.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FillQuery {
    /// Only of this symbol.
    symbol: Option<String>,
    /// Only of this order.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    order_id: Option<String>,
    /// Fills of a page; not given: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^(0|[1-9][0-9]{0,18})$")]
    cursor: Option<String>,
}

/// Own fills.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/fills", tag = "orders", security(("bearer" = [])),
    params(AccountPath, FillQuery),
    responses((status = 200, body = FillPage), Problems)
)]
pub(crate) async fn fills(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Params(query): Params<FillQuery>,
) -> Result<Json<FillPage>, Problem> {
    let account = caller.account(&app, &account, Right::Read)?;
    let limit = page_size(query.limit)?;
    let before = page_start(query.cursor.as_deref())?;
    let symbol = query.symbol.as_deref();
    let instrument = symbol.map(|it| app.venue.instrument(it)).transpose()?;
    let order = query.order_id.as_deref().map(str::parse::<u64>);
    let order = order
        .transpose()
        .map_err(|_| Problem::field("order_id", "give the `id` of an order"))?;
    let mut fills = Vec::new();
    for shard in &app.shards {
        let state = shard.state();
        let found = state.orders.fills(account, before).filter(|it| {
            instrument.is_none_or(|one| one.index == it.instrument)
                && order.is_none_or(|id| id == it.order)
        });
        fills.extend(found.take(limit + 1).map(|it| FillInfo::of(&app.venue, it)));
    }
    fills.sort_by_key(|it| std::cmp::Reverse(it.id));
    let has_more = fills.len() > limit;
    fills.truncate(limit);
    let next_cursor = fills
        .last()
        .filter(|_| has_more)
        .map(|it| it.id.to_string());
    Ok(Json(FillPage { fills, next_cursor }))
}
