//! Who is asking, and what they may: the one place where a private request is let through or not.
//!
//! Handlers ask [`Who`] for a right over an account and know nothing of credentials. What recognises credentials is an [`Authority`]:
//! people, organisations and API keys of `ring0-identity`, or for a machine of one's own a file of tokens ([`Tokens`]).

use crate::problem::Problem;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What can be done with an account.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// See orders, fills, balances, statements.
    Read,
    /// Enter and replace orders.
    Trade,
    /// Cancel orders.
    Cancel,
    /// Ask for a withdrawal, which carries the owner's signature beside.
    Withdraw,
    /// Hand in co-signatures, which prove themselves.
    Cosign,
}

impl Right {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Trade => "trade",
            Right::Cancel => "cancel",
            Right::Withdraw => "withdraw",
            Right::Cosign => "cosign",
        }
    }
}

/// What a request shows of itself.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// As it was sent, before `?`.
    pub path: &'a str,
    /// Behind `?`; empty without one.
    pub query: &'a str,
    /// Empty without one.
    pub body: &'a [u8],
    /// Its headers.
    pub headers: &'a axum::http::HeaderMap,
    /// Where it comes from.
    pub from: IpAddr,
}

impl Asked<'_> {
    /// A header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Somebody who has shown a credential.
pub trait Who: Send + Sync {
    /// A name for logs and rate limits, which tells one credential from another and is no secret.
    fn name(&self) -> String;

    /// Whether it may.
    ///
    /// # Errors
    /// Why not. An account of others is as one that is not there.
    fn may(&self, right: Right, account: u32) -> Result<(), Problem>;

    /// The accounts that it may speak of.
    fn accounts(&self) -> Vec<u32>;

    /// Whether its credential still holds: asked now and then by what lasts, as a WebSocket does.
    ///
    /// # Errors
    /// It does not.
    fn still(&self) -> Result<(), Problem>;
}

/// Recognises credentials.
pub trait Authority: Send + Sync {
    /// Who is asking.
    ///
    /// # Errors
    /// Nobody, or nobody who is known.
    fn who(&self, asked: &Asked<'_>) -> Result<Arc<dyn Who>, Problem>;
}

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file.
    #[error("cannot read the token file {path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("the token file {path} may be read by others (mode {mode:04o}); run: chmod 600 '{path}'", path = .path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What it says. The text is not repeated: it may be a token.
    #[error(
        "the token file {path} is not `[[token]]` tables with `name`, `token` (at least 24 characters), `accounts` and `rights`: {what}", path = .path.display()
    )]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, without values.
        what: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    token: Vec<TokenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    token: String,
    accounts: Vec<u32>,
    rights: Vec<Right>,
}

/// Who showed a token.
#[derive(Clone, Debug)]
struct Bearer {
    name: String,
    accounts: Vec<u32>,
    rights: Vec<Right>,
}

impl Who for Bearer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn may(&self, right: Right, account: u32) -> Result<(), Problem> {
        if !self.accounts.contains(&account) {
            return Err(Problem::not_found("no such account of this credential"));
        }
        if !self.rights.contains(&right) {
            let detail = format!("it needs the right {}", right.name());
            return Err(Problem::forbidden(detail));
        }
        Ok(())
    }

    fn accounts(&self) -> Vec<u32> {
        self.accounts.clone()
    }

    fn still(&self) -> Result<(), Problem> {
        Ok(())
    }
}

/// Bearer tokens from a file: for a venue on a machine of one's own. Only their hashes are kept.
pub struct Tokens {
    by_hash: HashMap<[u8; 32], Arc<Bearer>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.by_hash.len())
    }
}

/// Letters of a token at the least: a shorter one could be guessed.
const TOKEN_MIN: usize = 24;

impl Tokens {
    /// Reads a file of mode 0600.
    ///
    /// # Errors
    /// It is not there, exposed, or not of the form.
    pub fn load(path: &Path) -> Result<Tokens, TokensError> {
        let failed = |source| TokensError::File {
            path: path.to_owned(),
            source,
        };
        let content = |what| TokensError::Content {
            path: path.to_owned(),
            what,
        };
        let mode = std::fs::metadata(path)
            .map_err(failed)?
            .permissions()
            .mode()
            & 0o7777;
        if mode & 0o077 != 0 {
            return Err(TokensError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        let file: TokenFile = toml::from_str(&text).map_err(|_| content("it is no such TOML"))?;
        let mut by_hash = HashMap::new();
        for entry in file.token {
            let token = zeroize::Zeroizing::new(entry.token);
            if token.len() < TOKEN_MIN {
                return Err(content("a token is shorter than 24 characters"));
            }
            let bearer = Bearer {
                name: entry.name,
                accounts: entry.accounts,
                rights: entry.rights,
            };
            let hash = Sha256::digest(token.as_bytes()).into();
            if by_hash.insert(hash, Arc::new(bearer)).is_some() {
                return Err(content("two entries have the same token"));
            }
        }
        Ok(Tokens { by_hash })
    }
}

impl Authority for Tokens {
    fn who(&self, asked: &Asked<'_>) -> Result<Arc<dyn Who>, Problem> {
        let header = asked
            .header("authorization")
            .ok_or_else(|| Problem::unauthenticated("send `Authorization: Bearer TOKEN`"))?;
        let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Problem::unauthenticated(
                "`Authorization` is `Bearer TOKEN` here",
            ));
        }
        // Looked up by its hash: the time that takes tells nothing of a token.
        let hash: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        match self.by_hash.get(&hash) {
            Some(bearer) => Ok(Arc::clone(bearer) as Arc<dyn Who>),
            None => Err(Problem::unauthenticated("the token is not known here")),
        }
    }
}

/// Nobody: a gateway without private routes.
#[derive(Debug)]
pub struct Nobody;

impl Authority for Nobody {
    fn who(&self, _: &Asked<'_>) -> Result<Arc<dyn Who>, Problem> {
        Err(Problem::unauthenticated(
            "this gateway knows no credentials; its operator gives `tokens` or `[identity]` in its configuration",
        ))
    }
}
