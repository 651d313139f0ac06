//! API keys.

use super::Access;
use super::answers::{ApiKey, Ended};
use super::ask::{By, Nothing, number};
use super::trading::ended;
use crate::problem::Problem;
use crate::rest::Problems;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ring0_identity::organisations::networks;
use ring0_identity::{ApiKeyId, Scope};
use serde::Deserialize;
use utoipa::ToSchema;

/// An API key as it is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApiKey {
    /// What it is called.
    name: String,
    /// `read`, `trade`, `withdraw-request`, `risk`.
    scopes: Vec<String>,
    /// From where it may be used: networks or addresses; none: from everywhere.
    #[serde(default)]
    networks: Vec<String>,
    /// Its end, in milliseconds of Unix time.
    expires_ms: u64,
    /// Whether it signs its requests. One that does not sends its secret with each, and only reads.
    #[serde(default = "yes")]
    signs: bool,
}

fn yes() -> bool {
    true
}

/// API keys of the organisation, without their secrets.
#[utoipa::path(get, path = "/v1/api-keys", tag = "api-keys", security(("bearer" = [])),
    responses((status = 200, body = Vec<ApiKey>), Problems))]
pub(super) async fn api_keys(
    State(access): State<Access>,
    asked: By<Nothing>,
) -> Result<Json<Vec<ApiKey>>, Problem> {
    let all = access.identity.api_keys(&asked.caller)?;
    Ok(Json(all.iter().map(ApiKey::from).collect()))
}

/// Make an API key. The secret is shown once.
#[utoipa::path(post, path = "/v1/api-keys", tag = "api-keys", security(("bearer" = [])), request_body = NewApiKey,
    responses((status = 201, body = ApiKey), Problems))]
pub(super) async fn create_api_key(
    State(access): State<Access>,
    asked: By<NewApiKey>,
) -> Result<(StatusCode, Json<ApiKey>), Problem> {
    let body = asked.body;
    let scope = |text: &String| {
        let unknown = |error: ring0_identity::permission::UnknownWord| {
            Problem::field("scopes", error.to_string())
        };
        text.parse::<Scope>().map_err(unknown)
    };
    let wanted = ring0_identity::NewApiKey {
        name: body.name,
        scopes: body.scopes.iter().map(scope).collect::<Result<_, _>>()?,
        networks: networks(&body.networks)?,
        until_ms: body.expires_ms,
        signs: body.signs,
    };
    let (key, secret) = access
        .blocking(move |it| it.create_api_key(&asked.caller, &wanted))
        .await?;
    let answer = ApiKey {
        secret: Some(secret.expose().to_owned()),
        ..ApiKey::from(&key)
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revoke an API key. Trading sessions that it opened end.
#[utoipa::path(delete, path = "/v1/api-keys/{key}", tag = "api-keys", security(("bearer" = [])), params(("key" = u64, Path)),
    responses((status = 200, body = Ended), Problems))]
pub(super) async fn revoke_api_key(
    State(access): State<Access>,
    Path(key): Path<String>,
    asked: By<Nothing>,
) -> Result<Json<Ended>, Problem> {
    let key = ApiKeyId(number(&key, "API key")?);
    let done = access
        .blocking(move |it| it.revoke_api_key(&asked.caller, key))
        .await?;
    Ok(ended(&access, done.ending).await)
}
