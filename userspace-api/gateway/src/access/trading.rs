//! Grants, and trading sessions under them.

use super::Access;
use super::answers::{Ended, Grant, TradingSession};
use super::ask::{By, Nothing, number};
use crate::problem::Problem;
use crate::rest::Problems;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ring0_identity::records::{Authority, ChannelLimits, GrantTerms, Stage};
use ring0_identity::wallet::parse_signature;
use ring0_identity::{Address, B256, NewSession, SessionId, Signature, records};
use serde::Deserialize;
use utoipa::ToSchema;

/// Channels of a grant at the most: a hub's paths have at most 16 steps, a person's channels are few.
const CHANNELS_MAX: usize = 256;

/// What a session key may take from a channel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// The channel's id, 64 hexadecimal digits with `0x`.
    channel: String,
    /// Lowest balance it signs, in the token's smallest unit, as text.
    floor: String,
    /// Balance − deposits seen + withdrawals seen now, as text.
    start_base: String,
    /// The most that its states take from that, as text.
    outflow: String,
}

/// A grant, signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGrant {
    /// The account.
    account: u32,
    /// The session key's address.
    session: String,
    /// Its end, in seconds of Unix time.
    expires_s: u64,
    /// First epoch whose states it signs.
    first_epoch: u64,
    /// Last one.
    last_epoch: u64,
    /// Per channel; none: it opens trading sessions and signs no states.
    #[serde(default)]
    limits: Vec<Limits>,
    /// Of the EIP-712 `Grant` in the venue's domain (`docs/channels.md`), by the account's owner key.
    owner_signature: String,
    /// The same by the account's co-signer, if the session key is to sign states that count on chain.
    cosigner_signature: Option<String>,
}

/// A trading session, signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenSession {
    /// The account.
    account: u32,
    /// The shard.
    shard: String,
    /// The grant, 64 hexadecimal digits with `0x`; without it the owner key signs.
    grant: Option<String>,
    /// The session key, a compressed secp256k1 point, 66 hexadecimal digits.
    public_key: String,
    /// The trader's nonce, 32 hexadecimal digits, random.
    nonce: String,
    /// Its end for new orders, in seconds of Unix time.
    expires_s: u64,
    /// Until when this request is good, in seconds of Unix time; at most five minutes ahead.
    deadline_s: u64,
    /// Of the EIP-712 `SessionOpening` in the venue's domain (`docs/authorisation.md`), by the session key or the owner key.
    signature: String,
}

fn digits<const N: usize>(field: &str, text: &str) -> Result<[u8; N], Problem> {
    let wrong = |_| Problem::field(field, format!("give {} hexadecimal digits", 2 * N));
    ring0_identity::hex::decode_to_array(text).map_err(wrong)
}

/// An address; in mixed case its checksum holds.
pub(super) fn address(field: &str, text: &str) -> Result<Address, Problem> {
    let plain = digits::<20>(field, text).map(Address::from)?;
    let letters = text.trim_start_matches("0x");
    let mixed = letters.bytes().any(|it| it.is_ascii_uppercase())
        && letters.bytes().any(|it| it.is_ascii_lowercase());
    if mixed && Address::parse_checksummed(text, None).is_err() {
        return Err(Problem::field(
            field,
            "its checksum (EIP-55) does not hold; copy it again",
        ));
    }
    Ok(plain)
}

fn signature(field: &str, text: &str) -> Result<Signature, Problem> {
    parse_signature(text).map_err(|error| Problem::field(field, error.to_string()))
}

fn amount<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, Problem> {
    let wrong = |_| {
        Problem::field(
            field,
            "give a whole number of the token's smallest unit as text",
        )
    };
    text.parse().map_err(wrong)
}

impl Limits {
    fn parse(&self) -> Result<ChannelLimits, Problem> {
        Ok(ChannelLimits {
            channel: B256::from(digits("limits.channel", &self.channel)?),
            floor: amount("limits.floor", &self.floor)?,
            start_base: amount("limits.start_base", &self.start_base)?,
            outflow: amount("limits.outflow", &self.outflow)?,
        })
    }
}

/// Ends sessions at the venue and says which have ended.
pub(super) async fn ended(access: &Access, ending: Vec<records::TradingSession>) -> Json<Ended> {
    let all: Vec<_> = ending.iter().map(|it| it.id).collect();
    let ended = access.end(ending).await;
    let pending = all.iter().filter(|it| !ended.contains(it));
    Json(Ended {
        pending: pending.map(|it| it.0).collect(),
        ended: ended.iter().map(|it| it.0).collect(),
    })
}

/// Grants of the organisation.
#[utoipa::path(get, path = "/v1/grants", tag = "trading", security(("bearer" = [])),
    responses((status = 200, body = Vec<Grant>), Problems))]
pub(super) async fn grants(
    State(access): State<Access>,
    asked: By<Nothing>,
) -> Result<Json<Vec<Grant>>, Problem> {
    let all = access.identity.grants(&asked.caller)?;
    Ok(Json(all.iter().map(Grant::from).collect()))
}

/// Create a grant. It carries the owner key's signature; no sign-in replaces it. One to the gateway's key (`GET /v1/trading-key`) lets the account
/// trade over REST at once, on every shard; the same grant again opens what could not be opened.
#[utoipa::path(post, path = "/v1/grants", tag = "trading", security(("bearer" = [])), request_body = NewGrant,
    responses((status = 201, body = Grant), Problems))]
pub(super) async fn create_grant(
    State(access): State<Access>,
    asked: By<NewGrant>,
) -> Result<(StatusCode, Json<Grant>), Problem> {
    let body = asked.body;
    if body.limits.len() > CHANNELS_MAX {
        return Err(Problem::field(
            "limits",
            "a grant names at most 256 channels",
        ));
    }
    let terms = GrantTerms {
        account: body.account,
        session: address("session", &body.session)?,
        expires_s: body.expires_s,
        first_epoch: body.first_epoch,
        last_epoch: body.last_epoch,
        limits: body
            .limits
            .iter()
            .map(Limits::parse)
            .collect::<Result<_, _>>()?,
    };
    let owner = signature("owner_signature", &body.owner_signature)?;
    let cosigner = body.cosigner_signature.as_deref();
    let cosigner = cosigner
        .map(|it| signature("cosigner_signature", it))
        .transpose()?;
    let takes_seats = access.is_for_seats(&terms, cosigner.is_some())?;
    let caller = asked.caller.clone();
    let grant = access
        .blocking(move |it| {
            let signed = it.signed_grant(&asked.caller, &terms, owner)?;
            it.create_grant(&asked.caller, &signed, &terms, cosigner)
        })
        .await?;
    if takes_seats {
        access.take_seats(&caller, &grant).await?;
    }
    Ok((StatusCode::CREATED, Json(Grant::from(&grant))))
}

/// Revoke a grant, and end the sessions under it.
#[utoipa::path(delete, path = "/v1/grants/{grant}", tag = "trading", security(("bearer" = [])), params(("grant" = String, Path)),
    responses((status = 200, body = Ended), Problems))]
pub(super) async fn revoke_grant(
    State(access): State<Access>,
    Path(grant): Path<String>,
    asked: By<Nothing>,
) -> Result<Json<Ended>, Problem> {
    let grant = B256::from(digits("grant", &grant)?);
    let done = access
        .blocking(move |it| it.revoke_grant(&asked.caller, grant))
        .await?;
    Ok(ended(&access, done.ending).await)
}

/// Trading sessions of the organisation; those that ended within a day too.
#[utoipa::path(get, path = "/v1/trading-sessions", tag = "trading", security(("bearer" = [])),
    responses((status = 200, body = Vec<TradingSession>), Problems))]
pub(super) async fn sessions(
    State(access): State<Access>,
    asked: By<Nothing>,
) -> Result<Json<Vec<TradingSession>>, Problem> {
    let all = access.identity.sessions(&asked.caller)?;
    Ok(Json(all.iter().map(TradingSession::from).collect()))
}

/// Open a trading session under a grant. The same request again gives the same session.
#[utoipa::path(post, path = "/v1/trading-sessions", tag = "trading", security(("bearer" = [])), request_body = OpenSession,
    responses((status = 201, body = TradingSession), Problems))]
pub(super) async fn open_session(
    State(access): State<Access>,
    asked: By<OpenSession>,
) -> Result<(StatusCode, Json<TradingSession>), Problem> {
    let body = asked.body;
    let grant = body.grant.as_deref();
    let grant = grant.map(|it| digits("grant", it)).transpose()?;
    let wanted = NewSession {
        account: body.account,
        shard: body.shard,
        authority: grant.map_or(Authority::Owner, |it| Authority::Grant(B256::from(it))),
        public_key: digits("public_key", &body.public_key)?,
        nonce: digits("nonce", &body.nonce)?,
        expires_s: body.expires_s,
        deadline_s: body.deadline_s,
        signature: signature("signature", &body.signature)?,
    };
    let mut session = access
        .blocking(move |it| it.open_session(&asked.caller, &wanted))
        .await?;
    if session.stage == Stage::Opening {
        session = access.open(session).await?;
    }
    if !session.is_live() {
        let revoked = "the session was revoked while it was being opened";
        return Err(Problem::conflict("revoked", revoked));
    }
    Ok((StatusCode::CREATED, Json(TradingSession::from(&session))))
}

/// End a trading session.
#[utoipa::path(delete, path = "/v1/trading-sessions/{session}", tag = "trading", security(("bearer" = [])), params(("session" = u64, Path)),
    responses((status = 200, body = Ended), Problems))]
pub(super) async fn revoke_session(
    State(access): State<Access>,
    Path(session): Path<String>,
    asked: By<Nothing>,
) -> Result<Json<Ended>, Problem> {
    let session = SessionId(number(&session, "trading session")?);
    let done = access
        .blocking(move |it| it.revoke_session(&asked.caller, session))
        .await?;
    Ok(ended(&access, done.ending).await)
}
