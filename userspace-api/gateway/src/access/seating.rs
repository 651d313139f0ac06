//! Sessions whose key the gateway holds: an account whose owner has granted them trades over REST, and over OUCH under a password.

use super::Access;
use super::ask::By;
use crate::problem::Problem;
use crate::rest::Problems;
use crate::trading_key::TradingKey;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring0_identity::records::{Authority, Grant, GrantTerms, Seat, Stage, TradingSession};
use ring0_identity::{Caller, Permission, hex};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the gateway does with the sessions whose key is its own.
pub trait Seating: Send + Sync {
    /// The key.
    fn key(&self) -> &TradingKey;

    /// One is open: it begins to trade.
    fn opened(&self, session: &TradingSession);

    /// One is to be ended: nothing new is sent by it from now on.
    fn ending(&self, session: &TradingSession);

    /// Whether no order of a session, the gateway's or a trader's, is live.
    fn is_idle(&self, session: &TradingSession) -> bool;

    /// User and password of one that is open for OUCH.
    fn login(&self, session: &TradingSession) -> Option<(String, String)>;

    /// Why an account has no session of the gateway's on a shard, and what to do.
    fn none(&self, account: u32, shard: &str) -> Problem;
}

/// The gateway's own trading key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TradingKeyInfo {
    /// Its address: `session` of a grant to it.
    address: String,
    /// Its public half, 66 hexadecimal digits.
    public_key: String,
    /// The venue's id, the salt of the domain in which the grant is signed.
    venue: String,
}

/// Where an OUCH login is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOuchLogin {
    /// The account.
    account: u32,
    /// The shard.
    shard: String,
}

/// What logs in over OUCH. Whoever has it trades for the account until the session ends.
#[derive(Serialize, ToSchema)]
pub(super) struct OuchLogin {
    /// Number of the trading session, which ends it: `DELETE /v1/trading-sessions/N`.
    id: u64,
    /// The session's id on the wire, for the login's session field.
    session_id: String,
    /// User.
    user: String,
    /// Password. Shown once.
    password: String,
    /// Its end for new orders, in seconds of Unix time: the grant's.
    expires_s: u64,
}

fn without_key() -> Problem {
    Problem::not_found("this gateway has no trading key; its operator gives it `[identity]`")
}

/// The gateway's trading key: who grants it sessions trades over REST and OUCH.
#[utoipa::path(get, path = "/v1/trading-key", tag = "trading",
    responses((status = 200, body = TradingKeyInfo), Problems))]
pub(super) async fn trading_key(
    State(access): State<Access>,
) -> Result<Json<TradingKeyInfo>, Problem> {
    let seating = access.seating.as_ref().ok_or_else(without_key)?;
    Ok(Json(TradingKeyInfo {
        address: seating.key().address().to_string(),
        public_key: hex::encode(seating.key().public_key()),
        venue: access.identity.config().venue.to_string(),
    }))
}

/// Open a trading session for OUCH under the account's grant to the gateway's key; each has a password of its own.
#[utoipa::path(post, path = "/v1/ouch-logins", tag = "trading", security(("bearer" = [])), request_body = NewOuchLogin,
    responses((status = 201, body = OuchLogin), Problems))]
pub(super) async fn ouch_login(
    State(access): State<Access>,
    asked: By<NewOuchLogin>,
) -> Result<Response, Problem> {
    let (caller, body) = (asked.caller, asked.body);
    caller.may_for(Permission::OpenTradingSession, body.account)?;
    let seating = access.seating.clone().ok_or_else(without_key)?;
    let grants = access
        .identity
        .grants_to(seating.key().address(), body.account);
    let now_s = access.identity.now_ms() / 1_000;
    let live = grants
        .into_iter()
        .find(|it| !it.revoked && it.terms.expires_s > now_s);
    let grant = live.ok_or_else(|| seating.none(body.account, &body.shard))?;
    let session = access
        .take_seat(&caller, &grant, &body.shard, Seat::Ouch)
        .await?;
    let ended = || {
        Problem::conflict(
            "revoked",
            "the session was revoked while it was being opened",
        )
    };
    let Stage::Open(opened) = &session.stage else {
        return Err(ended());
    };
    let (user, password) = seating.login(&session).ok_or_else(ended)?;
    let login = OuchLogin {
        id: session.id.0,
        session_id: opened.id.clone(),
        user,
        password,
        expires_s: session.expires_s,
    };
    let mut response = (StatusCode::CREATED, Json(login)).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// End sessions whose end for new orders has come, so that their places in the shards' tables are free. What came by them and is live stays, and
/// they with it: it is cancelled by them alone.
pub(super) async fn end_expired(access: &Access) {
    let Some(seating) = &access.seating else {
        return;
    };
    // Within a minute the venue's clock has come there too.
    let past_s = (access.identity.now_ms() / 1_000).saturating_sub(60);
    for session in access.identity.live_sessions() {
        let is_open = matches!(session.stage, Stage::Open(_));
        if !is_open || session.expires_s > past_s || !seating.is_idle(&session) {
            continue;
        }
        let id = session.id;
        match access.blocking(move |it| it.end_expired(id)).await {
            Ok(ending) => drop(access.end(ending.into_iter().collect()).await),
            Err(problem) => tracing::warn!(session = id.0, %problem, "a session is not ended"),
        }
    }
}

impl Access {
    /// Opens what a grant to the gateway's key is for: a seat at REST on every shard. What is open already stays.
    pub(super) async fn take_seats(&self, caller: &Caller, grant: &Grant) -> Result<(), Problem> {
        let mut missing = Vec::new();
        for shard in &self.identity.config().shards {
            if let Err(problem) = self.take_seat(caller, grant, shard, Seat::Rest).await {
                missing.push(format!("{shard}: {}", problem.detail));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Problem::unavailable(format!(
            "the grant is kept, and the account cannot trade here on every shard yet ({}); send the same grant again",
            missing.join("; ")
        )))
    }

    async fn take_seat(
        &self,
        caller: &Caller,
        grant: &Grant,
        shard: &str,
        seat: Seat,
    ) -> Result<TradingSession, Problem> {
        let seating = self.seating.as_ref().ok_or_else(without_key)?;
        let live = self.identity.live_sessions();
        let there = live.into_iter().find(|it| {
            seat == Seat::Rest
                && it.seat == Some(seat)
                && it.authority == Authority::Grant(grant.id)
                && it.shard == shard
        });
        let mut session = match there {
            Some(session) => session,
            None => {
                let config = self.identity.config();
                let wanted = seating.key().opening(
                    config.venue,
                    (grant.terms.account, shard),
                    grant.id,
                    grant.terms.expires_s,
                    self.identity.now_ms() / 1_000,
                )?;
                let caller = caller.clone();
                self.blocking(move |it| it.open_seat(&caller, &wanted, seat))
                    .await?
            }
        };
        if session.stage == Stage::Opening {
            session = self.open(session).await?;
        }
        Ok(session)
    }

    /// Whether a grant is to the gateway's key; what such a grant must not have is refused.
    pub(super) fn is_for_seats(
        &self,
        terms: &GrantTerms,
        has_cosigner: bool,
    ) -> Result<bool, Problem> {
        let seating = self.seating.as_ref();
        let is_ours = seating.is_some_and(|it| it.key().address() == terms.session);
        if is_ours && (has_cosigner || !terms.limits.is_empty()) {
            return Err(Problem::field(
                "limits",
                "a grant to the gateway's key has no limits of channels and no co-signer's signature: it trades, and signs no states",
            ));
        }
        Ok(is_ours)
    }
}
