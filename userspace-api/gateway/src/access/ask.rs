//! A request's credential and body, read together: a signature covers the body.

use super::Access;
use crate::problem::Problem;
use crate::rest::{Peer, is_object};
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use ring0_identity::{Caller, Refused, Request as Shown};
use serde::de::DeserializeOwned;
use std::net::IpAddr;

/// Longest body, in bytes: a passkey's answer is a few thousand.
const BODY_MAX: usize = 65_536;

/// Somebody who is known, and what it sent.
pub(super) struct By<T> {
    pub(super) caller: Caller,
    pub(super) body: T,
}

/// Somebody who need not be known, and what it sent.
pub(super) struct From<T> {
    pub(super) caller: Result<Caller, Refused>,
    pub(super) from: IpAddr,
    pub(super) origin: Option<String>,
    pub(super) body: T,
}

/// What an empty body is.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The request's text of a header; twice is none.
fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    let malformed = |what: &str| {
        Problem::malformed(StatusCode::BAD_REQUEST, format!("the header {name} {what}"))
    };
    if second.is_some() {
        return Err(malformed("is there twice"));
    }
    let text = first.map(|it| it.to_str().map_err(|_| malformed("is no text")));
    text.transpose()
}

fn peer(parts: &Parts) -> Result<IpAddr, Problem> {
    let peer = parts.extensions.get::<Peer>();
    let peer = peer.map(|it| it.0.ip().to_canonical());
    peer.ok_or_else(|| Problem::unavailable("the server does not know who is connected"))
}

async fn read(request: Request) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await.map_err(|_| {
        Problem::malformed(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {BODY_MAX} bytes, or was cut off"),
        )
    })?;
    Ok((parts, body))
}

fn parse<T: DeserializeOwned>(parts: &Parts, body: &[u8]) -> Result<T, Problem> {
    // An empty body is an empty object; what has one says that it is JSON, which a form of another site cannot.
    if body.is_empty() {
        return serde_json::from_str("{}").map_err(|error| unread(&error));
    }
    let kind = header_text(&parts.headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::malformed(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the body as `Content-Type: application/json`",
        ));
    }
    if !is_object(body) {
        let detail = "the body is no JSON object; send the fields by their names";
        return Err(Problem::malformed(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    serde_json::from_slice(body).map_err(|error| unread(&error))
}

fn unread(error: &serde_json::Error) -> Problem {
    let detail = format!("the body does not fit: {error}");
    Problem::malformed(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

async fn recognise(
    access: &Access,
    parts: &Parts,
    body: &Bytes,
) -> Result<Result<Caller, Refused>, Problem> {
    let headers = &parts.headers;
    let own = |name: &str| Ok::<_, Problem>(header_text(headers, name)?.map(str::to_owned));
    let authorization = own("authorization")?;
    // Cookies may come in several headers.
    let cookies = headers.get_all(header::COOKIE).iter();
    let cookies: Vec<_> = cookies.filter_map(|it| it.to_str().ok()).collect();
    let cookie = (!cookies.is_empty()).then(|| cookies.join("; "));
    let (origin, organisation) = (own("origin")?, own("ring0-organisation")?);
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let (from, body) = (peer(parts)?, body.clone());
    let identity = std::sync::Arc::clone(&access.identity);
    let found = tokio::task::spawn_blocking(move || {
        identity.authenticate(&Shown {
            method: method.as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            body: &body,
            authorization: authorization.as_deref(),
            cookie: cookie.as_deref(),
            origin: origin.as_deref(),
            organisation: organisation.as_deref(),
            from,
        })
    });
    found.await.map_err(|error| {
        tracing::error!(%error, "a credential was not looked at");
        Problem::unavailable("the request was not carried out; try again")
    })
}

impl<T: DeserializeOwned> FromRequest<Access> for By<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, access: &Access) -> Result<Self, Problem> {
        let (parts, body) = read(request).await?;
        // Who it is comes first: a stranger does not learn what a body has to be.
        let caller = recognise(access, &parts, &body)
            .await?
            .map_err(Problem::from)?;
        let body = parse(&parts, &body)?;
        Ok(By { caller, body })
    }
}

impl<T: DeserializeOwned> FromRequest<Access> for From<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, access: &Access) -> Result<Self, Problem> {
        let (parts, body) = read(request).await?;
        let has = |name| parts.headers.contains_key(name);
        let caller = if has(header::AUTHORIZATION) || has(header::COOKIE) {
            recognise(access, &parts, &body).await?
        } else {
            Err(Refused::NoCredential)
        };
        let origin = header_text(&parts.headers, "origin")?.map(str::to_owned);
        Ok(From {
            caller,
            from: peer(&parts)?,
            origin,
            body: parse(&parts, &body)?,
        })
    }
}

impl std::convert::From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let status = StatusCode::from_u16(refused.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let title = match status {
            StatusCode::UNAUTHORIZED => "Sign in first",
            StatusCode::FORBIDDEN => "This credential may not do that",
            StatusCode::NOT_FOUND => "There is no such thing",
            StatusCode::CONFLICT => "The request contradicts what is",
            StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
            StatusCode::UNPROCESSABLE_ENTITY => "The request does not fit the rules",
            _ => "The exchange could not do it",
        };
        if status.is_server_error() {
            tracing::error!(error = %refused, "a request was not carried out");
        }
        let mut problem = Problem::new(status, refused.code(), title, refused.to_string());
        if let Refused::TooMany { retry_after_s } = refused {
            problem.retry_after = Some(retry_after_s);
        }
        problem
    }
}

/// A number in a path.
pub(super) fn number(text: &str, what: &str) -> Result<u64, Problem> {
    let none = || Problem::not_found(format!("{text:?} is no {what}'s number"));
    text.parse().map_err(|_| none())
}
