//! The other end of `settled.sock`.

use crate::protocol::Request;
use ring0_channels::batch_file::BatchFile;
use ring0_socket::ClientError;
use serde_json::Value;
use std::path::Path;

/// A connection to the settlement daemon.
#[derive(Debug)]
pub struct Client(ring0_socket::Client);

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`].
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        Ok(Client(ring0_socket::Client::connect(path)?))
    }

    /// Asks and waits for the answer, which has `ok` true.
    ///
    /// # Errors
    /// The daemon refused, or is gone.
    pub fn call(&mut self, request: &Request) -> Result<Value, ClientError> {
        self.0.call(request)
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
