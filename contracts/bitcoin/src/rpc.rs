//! A client of a Bitcoin Core-like node's JSON-RPC interface, over loopback HTTP.
//!
//! About a dozen methods are called, and typed clients are typed for one node version each; Litecoin Core 0.21 is none
//! of theirs (`docs/decisions/0068-bitcoin-crates.md`). One connection a call, a deadline on each, answers as JSON.

use std::{
    fs, io,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use bitcoin::base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// The longest answer that is read: a block of 4 MB with all its parts spelled out, about ten times its size, and room.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A call without a result.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The node cannot be reached.
    #[error(
        "no answer from the node at {address} to `{method}`: {source}; is it running with `-server`?"
    )]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Which call.
        method: String,
        /// Why.
        source: io::Error,
    },
    /// The cookie file cannot be read.
    #[error("cannot read the node's cookie {path}: {source}; is the data directory right?")]
    Cookie {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer is no JSON-RPC.
    #[error("the answer to `{method}` is no JSON-RPC: {reason}")]
    Answer {
        /// Which call.
        method: String,
        /// What came.
        reason: String,
    },
    /// The node says no.
    #[error("the node refuses `{method}`: {message} ({code})")]
    Refused {
        /// Which call.
        method: String,
        /// The node's number, see its `rpc/protocol.h`.
        code: i64,
        /// The node's words. For a refused transaction its reject reason.
        message: String,
    },
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    address: SocketAddr,
    authorization: String,
    timeout: Duration,
}

impl Node {
    /// A node on this machine, by the cookie it writes into its data directory (for regtest, the folder `regtest` in it).
    ///
    /// # Errors
    /// [`RpcError::Cookie`].
    pub fn on_loopback(port: u16, cookie: &Path) -> Result<Self, RpcError> {
        let cookie_text = fs::read_to_string(cookie).map_err(|source| RpcError::Cookie {
            path: cookie.to_owned(),
            source,
        })?;
        Ok(Self {
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into(),
            authorization: BASE64_STANDARD.encode(cookie_text.trim()),
            timeout: Duration::from_secs(60),
        })
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls a method.
    ///
    /// # Errors
    /// [`RpcError`].
    pub fn call(&self, method: &str, params: &[Value]) -> Result<Value, RpcError> {
        let body =
            json!({"jsonrpc": "1.0", "id": 0, "method": method, "params": params}).to_string();
        let answer = self
            .exchange(&body)
            .map_err(|source| RpcError::Unreachable {
                address: self.address,
                method: method.to_owned(),
                source,
            })?;
        let bad = |reason: &str| RpcError::Answer {
            method: method.to_owned(),
            reason: reason.to_owned(),
        };
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| bad("no end of the HTTP head"))?;
        // 401 comes without JSON, a refusal with status 500 and JSON.
        let mut answer: Value =
            serde_json::from_str(body).map_err(|_| bad(head.lines().next().unwrap_or_default()))?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].take()),
            error => Err(RpcError::Refused {
                method: method.to_owned(),
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    /// One request in HTTP/1.0, so that the answer ends with the connection.
    fn exchange(&self, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let head = format!(
            "POST / HTTP/1.0\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.authorization,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }
}
