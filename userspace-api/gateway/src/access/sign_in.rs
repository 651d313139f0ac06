//! Sign-in, passkeys, sign-out, and who one is.

use super::Access;
use super::answers::{Ceremony, Login, Me, Nonce, Passkey, Registered};
use super::ask::{By, From, Nothing, number};
use crate::problem::Problem;
use crate::rest::Problems;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring0_identity::records::SignedInBy;
use ring0_identity::{
    COOKIE, Credential, PasskeyId, Permission, PublicKeyCredential, Refused,
    RegisterPublicKeyCredential, SignedIn,
};
use serde::Deserialize;
use utoipa::ToSchema;

/// A signed message of EIP-4361.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WalletSignIn {
    /// As it was signed.
    message: String,
    /// EIP-191, 65 or 64 bytes in hexadecimal digits.
    signature: String,
    /// Set the cookie instead of giving the token: for pages of a browser, whose scripts then never have it.
    #[serde(default)]
    cookie: bool,
}

/// An authenticator's answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasskeySignIn {
    /// From the start.
    ceremony: String,
    /// What `navigator.credentials.get` gave.
    #[schema(value_type = Object)]
    credential: PublicKeyCredential,
    /// Set the cookie instead of giving the token.
    #[serde(default)]
    cookie: bool,
}

/// For whom a passkey is registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterStart {
    /// An invitation's code, for somebody new; without it the caller is signed in by wallet.
    invitation: Option<String>,
    /// The name of somebody new.
    name: Option<String>,
}

/// An authenticator's answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterFinish {
    /// From the start.
    ceremony: String,
    /// What the passkey is called.
    name: String,
    /// What `navigator.credentials.create` gave.
    #[schema(value_type = Object)]
    credential: RegisterPublicKeyCredential,
    /// Set the cookie instead of giving the token, where there is a login.
    #[serde(default)]
    cookie: bool,
}

/// How much is signed out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignOut {
    /// All logins of the person, on all its devices.
    #[serde(default)]
    everywhere: bool,
}

/// Another site must not sign a browser in as somebody else.
fn own_page(access: &Access, cookie: bool, origin: Option<&str>) -> Result<(), Problem> {
    let expected = &access.identity.config().origin;
    if cookie && origin.is_some_and(|it| it != expected) {
        let expected = expected.clone();
        return Err(Refused::ForeignOrigin { expected }.into());
    }
    Ok(())
}

/// A login's answer, with its cookie where that was asked for.
fn login(access: &Access, signed_in: &SignedIn, cookie: bool) -> (Login, Option<HeaderValue>) {
    let seconds = access.identity.config().login_ms / 1_000;
    let token = signed_in.token.expose();
    let header = cookie.then(|| set_cookie(token, seconds)).flatten();
    let login = Login {
        person: signed_in.person.0,
        token: (!cookie).then(|| token.to_owned()),
        expires_ms: signed_in.until_ms,
    };
    (login, header)
}

/// The cookie: never to scripts, never without TLS, never with another site's requests.
fn set_cookie(token: &str, seconds: u64) -> Option<HeaderValue> {
    let text =
        format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn with_cookie(answer: impl IntoResponse, cookie: Option<HeaderValue>) -> Response {
    let mut response = answer.into_response();
    let headers = response.headers_mut();
    // An answer with a secret is for its receiver alone.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

fn json<T: serde::Serialize>(value: &T) -> Result<serde_json::Value, Problem> {
    let failed = |_| Problem::unavailable("the challenge cannot be written; try again");
    serde_json::to_value(value).map_err(failed)
}

/// A nonce for a message of EIP-4361.
#[utoipa::path(post, path = "/v1/sign-in/nonce", tag = "sign-in",
    responses((status = 200, body = Nonce), Problems))]
pub(super) async fn nonce(State(access): State<Access>, _: From<Nothing>) -> Json<Nonce> {
    let (nonce, expires_ms) = access.identity.nonce();
    let config = access.identity.config();
    let domain = config.origin.split_once("://").map_or("", |it| it.1);
    Json(Nonce {
        nonce,
        expires_ms,
        domain: domain.to_owned(),
        uri: config.origin.clone(),
        chain_ids: config.chain_ids.clone(),
    })
}

/// Sign in by wallet.
#[utoipa::path(post, path = "/v1/sign-in/wallet", tag = "sign-in", request_body = WalletSignIn,
    responses((status = 200, body = Login), Problems))]
pub(super) async fn wallet(
    State(access): State<Access>,
    asked: From<WalletSignIn>,
) -> Result<Response, Problem> {
    let (body, from) = (asked.body, asked.from);
    own_page(&access, body.cookie, asked.origin.as_deref())?;
    let (message, signature) = (body.message, body.signature);
    let signed_in = access
        .blocking(move |it| it.sign_in_by_wallet(&message, &signature, from))
        .await?;
    let (login, cookie) = login(&access, &signed_in, body.cookie);
    Ok(with_cookie(Json(login), cookie))
}

/// Begin a sign-in by passkey.
#[utoipa::path(post, path = "/v1/sign-in/passkey/start", tag = "sign-in",
    responses((status = 200, body = Ceremony), Problems))]
pub(super) async fn passkey_start(
    State(access): State<Access>,
    asked: From<Nothing>,
) -> Result<Json<Ceremony>, Problem> {
    let begun = access.identity.start_passkey_sign_in(asked.from)?;
    Ok(Json(Ceremony {
        ceremony: begun.ceremony,
        challenge: json(&begun.challenge)?,
    }))
}

/// End a sign-in by passkey.
#[utoipa::path(post, path = "/v1/sign-in/passkey/finish", tag = "sign-in", request_body = PasskeySignIn,
    responses((status = 200, body = Login), Problems))]
pub(super) async fn passkey_finish(
    State(access): State<Access>,
    asked: From<PasskeySignIn>,
) -> Result<Response, Problem> {
    let (body, from) = (asked.body, asked.from);
    own_page(&access, body.cookie, asked.origin.as_deref())?;
    let (ceremony, credential) = (body.ceremony, body.credential);
    let signed_in = access
        .blocking(move |it| it.finish_passkey_sign_in(&ceremony, &credential, from))
        .await?;
    let (login, cookie) = login(&access, &signed_in, body.cookie);
    Ok(with_cookie(Json(login), cookie))
}

/// One's own passkeys.
#[utoipa::path(get, path = "/v1/passkeys", tag = "sign-in", security(("bearer" = [])),
    responses((status = 200, body = Vec<Passkey>), Problems))]
pub(super) async fn passkeys(
    State(access): State<Access>,
    asked: By<Nothing>,
) -> Result<Json<Vec<Passkey>>, Problem> {
    if asked.caller.scopes().is_some() {
        let permission = Permission::RegisterPasskey;
        return Err(Refused::PeopleOnly { permission }.into());
    }
    let all = access.identity.passkeys(&asked.caller);
    let all = all.into_iter().map(|it| Passkey {
        id: it.id.0,
        name: it.name,
        since_ms: it.since_ms,
    });
    Ok(Json(all.collect()))
}

/// Begin the registration of a passkey: signed in by wallet, or with an invitation's code.
#[utoipa::path(post, path = "/v1/passkeys/start", tag = "sign-in", request_body = Option<RegisterStart>,
    responses((status = 200, body = Ceremony), Problems))]
pub(super) async fn register_start(
    State(access): State<Access>,
    asked: From<RegisterStart>,
) -> Result<Json<Ceremony>, Problem> {
    let begun = match (asked.body.invitation, asked.body.name) {
        (Some(code), Some(name)) => {
            let from = asked.from;
            access
                .blocking(move |it| it.start_invited_registration(&code, &name, from))
                .await?
        }
        (None, None) => {
            let caller = asked.caller?;
            access
                .blocking(move |it| it.start_passkey_registration(&caller))
                .await?
        }
        _ => {
            return Err(Refused::Invalid(
                "somebody new gives `invitation` and `name`; who is signed in gives neither"
                    .to_owned(),
            )
            .into());
        }
    };
    Ok(Json(Ceremony {
        ceremony: begun.ceremony,
        challenge: json(&begun.challenge)?,
    }))
}

/// End the registration of a passkey.
#[utoipa::path(post, path = "/v1/passkeys/finish", tag = "sign-in", request_body = RegisterFinish,
    responses((status = 201, body = Registered), Problems))]
pub(super) async fn register_finish(
    State(access): State<Access>,
    asked: From<RegisterFinish>,
) -> Result<Response, Problem> {
    let (body, from) = (asked.body, asked.from);
    own_page(&access, body.cookie, asked.origin.as_deref())?;
    let (ceremony, credential, name) = (body.ceremony, body.credential, body.name);
    let (passkey, signed_in) = access
        .blocking(move |it| it.finish_passkey_registration(&ceremony, &credential, &name, from))
        .await?;
    let signed_in = signed_in.map(|it| login(&access, &it, body.cookie));
    let (login, cookie) = signed_in.map_or((None, None), |(login, cookie)| (Some(login), cookie));
    let registered = Registered {
        passkey: passkey.0,
        login,
    };
    Ok(with_cookie((StatusCode::CREATED, Json(registered)), cookie))
}

/// Remove one's own passkey; logins by it end.
#[utoipa::path(delete, path = "/v1/passkeys/{passkey}", tag = "sign-in", security(("bearer" = [])), params(("passkey" = u64, Path)),
    responses((status = 204), Problems))]
pub(super) async fn remove_passkey(
    State(access): State<Access>,
    Path(passkey): Path<String>,
    asked: By<Nothing>,
) -> Result<StatusCode, Problem> {
    let passkey = PasskeyId(number(&passkey, "passkey")?);
    access
        .blocking(move |it| it.remove_passkey(&asked.caller, passkey))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sign out.
#[utoipa::path(post, path = "/v1/sign-out", tag = "sign-in", security(("bearer" = [])), request_body = Option<SignOut>,
    responses((status = 204), Problems))]
pub(super) async fn sign_out(
    State(access): State<Access>,
    asked: By<SignOut>,
) -> Result<Response, Problem> {
    let everywhere = asked.body.everywhere;
    access
        .blocking(move |it| it.sign_out(&asked.caller, everywhere))
        .await?;
    Ok(with_cookie(StatusCode::NO_CONTENT, set_cookie("", 0)))
}

/// Who is asking, as what, and what it may do.
#[utoipa::path(get, path = "/v1/me", tag = "sign-in", security(("bearer" = [])),
    responses((status = 200, body = Me), Problems))]
pub(super) async fn me(
    State(access): State<Access>,
    asked: By<Nothing>,
) -> Result<Json<Me>, Problem> {
    let caller = &asked.caller;
    let person = access.identity.person(caller)?;
    let permissions = Permission::ALL.iter();
    let permissions = permissions.filter(|it| caller.has(**it).is_ok());
    Ok(Json(Me {
        person: person.id.0,
        name: person.name,
        wallets: person.wallets.iter().map(ToString::to_string).collect(),
        by: match &caller.credential {
            Credential::Login {
                by: SignedInBy::Wallet(_),
                ..
            } => "wallet",
            Credential::Login {
                by: SignedInBy::Passkey(_),
                ..
            } => "passkey",
            Credential::ApiKey { .. } => "api-key",
        },
        organisation: caller.organisation().map(|it| it.0),
        role: caller.role().map(|it| it.name()),
        scopes: caller
            .scopes()
            .map(|all| all.iter().map(|it| it.name()).collect()),
        accounts: caller.accounts().to_vec(),
        permissions: permissions.map(|it| it.name()).collect(),
    }))
}
