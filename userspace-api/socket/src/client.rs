//! The end that asks.

use serde::Serialize;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer is waited for when nothing else is said: the longest of the exchange's takes far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody there.
    #[error("no daemon answers on {path}; start it (for a shard: `ring0d`), or name its socket with --socket: {source}", path = .path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It said something that is no answer.
    #[error("the daemon's answer cannot be read; are daemon and client of one version?: {0}")]
    Answer(String),
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`].
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        Client::patient(path, PATIENCE)
    }

    /// As [`connect`](Client::connect), with another patience for each answer.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`].
    pub fn patient(path: &Path, patience: Duration) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(patience))?;
            Ok(stream)
        });
        let no_daemon = |source| ClientError::NoDaemon {
            path: path.to_owned(),
            source,
        };
        Ok(Client {
            path: path.to_owned(),
            stream: BufReader::new(stream.map_err(no_daemon)?),
        })
    }

    /// Asks and waits for the answer, which has `ok` true.
    ///
    /// # Errors
    /// It refused, or is gone. After any but a refusal the connection is of no use: what was asked may or may not have been done.
    pub fn call<R: Serialize>(&mut self, request: &R) -> Result<Value, ClientError> {
        let gone = |source| ClientError::NoDaemon {
            path: self.path.clone(),
            source,
        };
        let mut line = serde_json::to_string(request)
            .map_err(|error| ClientError::Answer(error.to_string()))?;
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
        let answer: Value =
            serde_json::from_str(&line).map_err(|error| ClientError::Answer(error.to_string()))?;
        match (answer["ok"].as_bool(), answer["error"].as_str()) {
            (Some(true), _) => Ok(answer),
            (_, Some(error)) => Err(ClientError::Refused(error.to_owned())),
            _ => Err(ClientError::Answer(line)),
        }
    }
}
