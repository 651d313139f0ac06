//! What goes wrong, as RFC 9457 problem details: `application/problem+json` with a stable `code` and, where the engine refused, its reason.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring0_engine::Reason;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `type` of a problem begins with; its code follows.
const TYPE: &str = "urn:ring0:problem:";

/// A problem (RFC 9457).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// Which kind of problem: `urn:ring0:problem:` and the code. Stable.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind for people.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong this time, and what to do.
    pub detail: String,
    /// The kind as one word: the engine's name of its reason, or one of the gateway's own. Stable.
    pub code: String,
    /// The engine's number of its reason (`docs/wire.md`), where the engine refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<u8>,
    /// The field of the request that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Seconds after which to try again; also in the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of the gateway's own.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("{TYPE}{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            reason: None,
            field: None,
            retry_after: None,
        }
    }

    /// The engine refused, or would.
    #[must_use]
    pub fn reason(reason: Reason) -> Problem {
        let status = match reason {
            Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Reason::Halted | Reason::Busy | Reason::RingFull => StatusCode::SERVICE_UNAVAILABLE,
            Reason::UnknownOrder | Reason::UnknownInstrument => StatusCode::NOT_FOUND,
            Reason::SessionKilled | Reason::AccountKilled | Reason::SessionExpired => {
                StatusCode::FORBIDDEN
            }
            Reason::Continuing | Reason::InstrumentHalted | Reason::MarketClosed => {
                StatusCode::CONFLICT
            }
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let mut problem = Problem::new(
            status,
            reason.name(),
            "The exchange refused",
            reason.help().trim(),
        );
        problem.reason = Some(reason as u8);
        problem
    }

    /// The engine refused, by the number of its reason.
    #[must_use]
    pub fn reason_number(number: u8) -> Problem {
        match Reason::from_number(number) {
            Some(reason) => Problem::reason(reason),
            None => {
                let detail = format!(
                    "the reason has number {number}, which this gateway does not know; it is of an older version than the exchange"
                );
                let mut problem = Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "unknown-reason",
                    "The exchange refused",
                    detail,
                );
                problem.reason = Some(number);
                problem
            }
        }
    }

    /// A field of a request is wrong.
    #[must_use]
    pub fn field(field: &str, detail: impl Into<String>) -> Problem {
        let detail = format!("{field}: {}", detail.into());
        let mut problem = Problem::new(
            StatusCode::BAD_REQUEST,
            "field",
            "A field of the request is wrong",
            detail,
        );
        problem.field = Some(field.to_owned());
        problem
    }

    /// The same, said of a field.
    #[must_use]
    pub fn about(mut self, field: &str) -> Problem {
        self.detail = format!("{field}: {}", self.detail);
        self.field = Some(field.to_owned());
        self
    }

    /// The body or the query cannot be read.
    #[must_use]
    pub fn malformed(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem::new(
            status,
            "malformed",
            "The request cannot be read",
            detail.into(),
        )
    }

    /// There is none.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such thing",
            detail,
        )
    }

    /// Nobody is signed in.
    #[must_use]
    pub fn unauthenticated(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Sign in first",
            detail,
        )
    }

    /// Somebody is, who may not.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "This credential may not do that",
            detail,
        )
    }

    /// It contradicts what is.
    #[must_use]
    pub fn conflict(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::CONFLICT,
            code,
            "The request contradicts an earlier one, or what is",
            detail,
        )
    }

    /// A part of the exchange does not answer.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        let mut problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "A part of the exchange does not answer",
            detail,
        );
        problem.retry_after = Some(1);
        problem
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let is_unauthenticated = status == StatusCode::UNAUTHORIZED;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if is_unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
