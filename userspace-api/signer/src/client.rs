//! The other end of the signer's socket.

use crate::message::Message;
use crate::protocol::{KeyInfo, Name, Outcome, Refusal, Request, Seen, Signed};
use ring0_channels::key::Signature;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer is waited for: a request's worth of signatures in hardware takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the signer did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No signer there.
    #[error("no signer answers on {path}; start `ring0-signer serve`, or name its socket: {source}", path = .path.display())]
    NoSigner {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It said something that is no answer.
    #[error("the signer's answer cannot be read; are signer and client of one version?: {0}")]
    Answer(String),
    /// It refused the request as a whole.
    #[error("{0}")]
    Refused(String),
    /// It refused the message.
    #[error("{0}")]
    NotSigned(#[from] Refusal),
}

/// A connection to a signer. After an error of the connection it is of no use: make another one and ask again, which does no harm.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    seen: Option<Seen>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::NoSigner`].
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        let no_signer = |source| ClientError::NoSigner {
            path: path.to_owned(),
            source,
        };
        Ok(Client {
            path: path.to_owned(),
            stream: BufReader::new(stream.map_err(no_signer)?),
            seen: None,
        })
    }

    /// What is known of the signer's history: keep it durable beside what was signed.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// Gives what was kept, in the first use after a start: a signer with an older store then refuses.
    pub fn expect(&mut self, seen: Seen) {
        self.seen = Some(seen);
    }

    /// Asks for signatures; one outcome for each message, in their order.
    ///
    /// # Errors
    /// The signer is gone, or refused the request as a whole.
    pub fn sign(&mut self, key: &str, messages: Vec<Message>) -> Result<Vec<Outcome>, ClientError> {
        let request = Request::Sign {
            key: key.to_owned(),
            messages,
            seen: self.seen,
        };
        let signed: Signed = self.call(&request)?;
        // An old copy's history is not what was seen: whoever took it over would believe that copy after its next start.
        let is_stale = signed
            .outcomes
            .iter()
            .any(|it| matches!(it, Outcome::Refused(refusal) if refusal.name == Name::Stale));
        if !is_stale {
            self.seen = Some(signed.seen);
        }
        Ok(signed.outcomes)
    }

    /// One ECDSA signature.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn sign_one(&mut self, key: &str, message: Message) -> Result<Signature, ClientError> {
        match self.sign(key, vec![message])?.pop() {
            Some(Outcome::Ecdsa(signature)) => Ok(signature),
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            other => Err(ClientError::Answer(format!("{other:?}"))),
        }
    }

    /// The keys.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn keys(&mut self) -> Result<Vec<KeyInfo>, ClientError> {
        let answer: Value = self.call(&Request::Keys)?;
        serde_json::from_value(answer["keys"].clone())
            .map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// Asks and waits for the answer, which has `ok` true.
    ///
    /// # Errors
    /// The signer refused, or is gone.
    pub fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let gone = |source| ClientError::NoSigner {
            path: self.path.clone(),
            source,
        };
        let unreadable = |error: serde_json::Error| ClientError::Answer(error.to_string());
        let mut line = serde_json::to_string(request).map_err(unreadable)?;
        line.push('\n');
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(gone)?;
        line.clear();
        let read = self.stream.read_line(&mut line).map_err(gone)?;
        if read == 0 {
            return Err(gone(io::ErrorKind::ConnectionReset.into()));
        }
        // The answers to `sign` are long: they are read once, into what is asked for.
        if line.starts_with(r#"{"ok":true"#) {
            return serde_json::from_str(&line).map_err(unreadable);
        }
        let answer: Value = serde_json::from_str(&line).map_err(unreadable)?;
        match answer["error"].as_str() {
            Some(error) => Err(ClientError::Refused(error.to_owned())),
            None => Err(ClientError::Answer(line)),
        }
    }
}
