//! How a program proves itself by an API key.
//!
//! Two kinds, chosen when the key is made. A *bearer* key sends its secret with each request and only reads; a digest of it is kept. A *signing* key
//! has any scope and signs each request: HMAC-SHA256 over
//!
//! ```text
//! ring0 request 1 \n METHOD \n path \n query \n SHA-256 of the body, 64 hex digits \n timestamp, ms \n nonce
//! ```
//!
//! with path and query as they are sent. Its secret never travels, but has to be known here: it is kept sealed under the key file. A request is taken
//! once: within the window its nonce is remembered, before and after it is refused, and so is what was signed before this process began.

use crate::ids::ApiKeyId;
use crate::refused::Refused;
use alloy_primitives::hex;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

/// What begins the header of a signed request.
pub const SCHEME: &str = "Ring0-HMAC-SHA256";

/// How old a signed request may be, in milliseconds: a slow way and a clock that is behind.
pub const WINDOW_PAST_MS: u64 = 30_000;

/// How far its clock may be ahead, in milliseconds. Short, because after a restart that much has to be refused again.
pub const WINDOW_FUTURE_MS: u64 = 2_000;

/// Nonces remembered of one key: above what its rate limit lets through in a window.
const NONCES_MAX: usize = 100_000;

/// What the header of a signed request says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Signed<'a> {
    pub(crate) key: ApiKeyId,
    pub(crate) timestamp_ms: u64,
    pub(crate) nonce: &'a str,
    pub(crate) signature: [u8; 32],
}

impl<'a> Signed<'a> {
    /// Reads `key=…, timestamp=…, nonce=…, signature=…`, each once, in any order.
    pub(crate) fn parse(text: &'a str) -> Result<Signed<'a>, Refused> {
        let wrong = || {
            Refused::Malformed(
                "`Ring0-HMAC-SHA256 key=NUMBER, timestamp=MILLISECONDS, nonce=16 to 64 letters and digits, signature=64 hexadecimal digits`",
            )
        };
        let mut fields = HashMap::new();
        for field in text.split(',') {
            let (name, value) = field.trim().split_once('=').ok_or_else(wrong)?;
            if fields.insert(name, value).is_some() {
                return Err(wrong());
            }
        }
        let mut field = |name| fields.remove(name).ok_or_else(wrong);
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let signed = Signed {
            key: ApiKeyId(number(field("key")?)?),
            timestamp_ms: number(field("timestamp")?)?,
            nonce: field("nonce")?,
            signature: hex::decode_to_array(field("signature")?).map_err(|_| wrong())?,
        };
        let nonce = signed.nonce;
        let good =
            (16..=64).contains(&nonce.len()) && nonce.bytes().all(|it| it.is_ascii_alphanumeric());
        if !fields.is_empty() || !good {
            return Err(wrong());
        }
        Ok(signed)
    }
}

/// What is signed of a request.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// As it is sent, from the first `/` to before `?`.
    pub path: &'a str,
    /// As it is sent, behind `?`; empty without one.
    pub query: &'a str,
    /// Empty without one.
    pub body: &'a [u8],
    /// Milliseconds of Unix time.
    pub timestamp_ms: u64,
    /// 16 to 64 letters and digits, another for every request.
    pub nonce: &'a str,
}

impl Signing<'_> {
    fn mac(&self, secret: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
        let body = hex::encode(Sha256::digest(self.body));
        let text = format!(
            "ring0 request 1\n{}\n{}\n{}\n{body}\n{}\n{}",
            self.method, self.path, self.query, self.timestamp_ms, self.nonce
        );
        mac.update(text.as_bytes());
        mac
    }

    /// The `Authorization` header of the request.
    #[must_use]
    pub fn header(&self, key: ApiKeyId, secret: &str) -> String {
        let tag = hex::encode(self.mac(secret.as_bytes()).finalize().into_bytes());
        let (timestamp, nonce) = (self.timestamp_ms, self.nonce);
        format!("{SCHEME} key={key}, timestamp={timestamp}, nonce={nonce}, signature={tag}")
    }

    /// Whether this signature is by this secret. Takes the same time whatever differs.
    pub(crate) fn holds(&self, secret: &[u8], signature: &[u8; 32]) -> bool {
        self.mac(secret).verify_slice(signature).is_ok()
    }
}

/// Nonces of signed requests within the window.
#[derive(Debug)]
pub(crate) struct Seen {
    since_ms: u64,
    keys: Mutex<HashMap<ApiKeyId, Nonces>>,
}

#[derive(Debug, Default)]
struct Nonces {
    by_time: BTreeSet<(u64, String)>,
    all: std::collections::HashSet<String>,
}

impl Seen {
    pub(crate) fn new(now_ms: u64) -> Seen {
        Seen {
            since_ms: now_ms,
            keys: Mutex::default(),
        }
    }

    /// Whether a request is of now.
    pub(crate) fn is_fresh(&self, signed: &Signed<'_>, now_ms: u64) -> Result<(), Refused> {
        let at = signed.timestamp_ms;
        if at > now_ms.saturating_add(WINDOW_FUTURE_MS) {
            return Err(Refused::NotFresh(
                "its timestamp is more than 2 seconds ahead; set the clock",
            ));
        }
        if at < now_ms.saturating_sub(WINDOW_PAST_MS) {
            return Err(Refused::NotFresh(
                "its timestamp is more than 30 seconds ago; set the clock, or sign when you send",
            ));
        }
        if at <= self.since_ms.saturating_add(WINDOW_FUTURE_MS) {
            return Err(Refused::NotFresh(
                "the venue has just started and does not know what it has seen; sign again in a moment",
            ));
        }
        Ok(())
    }

    /// Takes a good request's nonce, once.
    pub(crate) fn take(&self, signed: &Signed<'_>, now_ms: u64) -> Result<(), Refused> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let nonces = keys.entry(signed.key).or_default();
        // What is older is refused by its timestamp.
        let kept = now_ms.saturating_sub(WINDOW_PAST_MS);
        while nonces.by_time.first().is_some_and(|it| it.0 < kept) {
            if let Some((_, old)) = nonces.by_time.pop_first() {
                nonces.all.remove(&old);
            }
        }
        if nonces.all.len() >= NONCES_MAX {
            return Err(Refused::TooMany { retry_after_s: 1 });
        }
        if !nonces.all.insert(signed.nonce.to_owned()) {
            return Err(Refused::NotFresh("its nonce was here before"));
        }
        let at = (signed.timestamp_ms, signed.nonce.to_owned());
        nonces.by_time.insert(at);
        Ok(())
    }

    /// Forgets a key.
    pub(crate) fn forget(&self, key: ApiKeyId) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&key);
    }
}
