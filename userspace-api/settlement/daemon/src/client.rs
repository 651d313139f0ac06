//! The other end of `settled.sock`.

use crate::protocol::Request;
use ring0_channels::batch_file::BatchFile;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer is waited for: the longest statement takes far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the daemon did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon there.
    #[error("no settlement daemon answers on {path}; start `ring0-settled run`, or name its socket: {source}", path = .path.display())]
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

/// A connection to the settlement daemon.
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
        let stream = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
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
    /// The daemon refused, or is gone.
    pub fn call(&mut self, request: &Request) -> Result<Value, ClientError> {
        let gone = |source| ClientError::NoDaemon {
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
        let answer: Value = serde_json::from_str(&line).map_err(unreadable)?;
        match (answer["ok"].as_bool(), answer["error"].as_str()) {
            (Some(true), _) => Ok(answer),
            (_, Some(error)) => Err(ClientError::Refused(error.to_owned())),
            _ => Err(ClientError::Answer(line)),
        }
    }

    /// An account's part of a batch; epoch 0: the newest.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn batch(&mut self, epoch: u64, account: u32) -> Result<BatchFile, ClientError> {
        let mut answer = self.call(&Request::Batch { epoch, account })?;
        serde_json::from_value(answer["file"].take())
            .map_err(|error| ClientError::Answer(error.to_string()))
    }
}
