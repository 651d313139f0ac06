//! A client of the answers over SoupBinTCP: logs in to a stream and takes its messages in their order.

use crate::answer_access::Password;
use crate::glimpse::is_timeout;
use crate::snapshot::SnapshotError;
use ring0_itch::mold::Session;
use ring0_itch::soup::{
    Decoder, FromServer, GONE_AFTER, HEARTBEAT_AFTER, LoginRequest, encode, kind,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
pub enum SoupAnswerError {
    /// The connection.
    #[error(
        "the answers at {address} cannot be reached or went away; check the address, and log in again with --from: {source}"
    )]
    Stream {
        /// Which server.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It said no, with one of the codes of SoupBinTCP.
    #[error("the server refused the login with {:?}; check that the key file is the one that the venue has", char::from(*.code))]
    Rejected {
        /// The code.
        code: u8,
    },
    /// It does not speak SoupBinTCP, or a text is too long.
    #[error("the server of answers: {0}")]
    Speech(SnapshotError),
    /// The stream has no more answers.
    #[error(
        "the stream ended behind answer {last}: the venue has granted the session anew; use the key file of the new one"
    )]
    Ended {
        /// The last answer of all.
        last: u64,
    },
    /// It has said nothing for too long, or has closed.
    #[error("the server went away behind answer {last}; log in again with --from {}", last + 1)]
    Gone {
        /// The last answer that came.
        last: u64,
    },
}

/// A client, logged in.
#[derive(Debug)]
pub struct SoupAnswerClient {
    address: SocketAddr,
    stream: TcpStream,
    decoder: Decoder,
    /// Number of the next message.
    next: u64,
    heard: Instant,
    said: Instant,
}

impl SoupAnswerClient {
    /// Logs in to a stream; `from` is the number of the first message wanted, 0 for only new ones.
    ///
    /// # Errors
    /// Nobody is there, or the login is refused.
    pub fn login(
        address: SocketAddr,
        name: Session,
        password: Password,
        from: u64,
    ) -> Result<SoupAnswerClient, SoupAnswerError> {
        let failed = |source| SoupAnswerError::Stream { address, source };
        let mut stream =
            TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(failed)?;
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .map_err(failed)?;
        let login = LoginRequest::new("", password.as_str(), name.as_str(), from)
            .map_err(|error| SoupAnswerError::Speech(error.into()))?;
        let mut bytes = Vec::new();
        encode(kind::LOGIN, login.as_bytes(), &mut bytes)
            .map_err(|error| SoupAnswerError::Speech(error.into()))?;
        stream.write_all(&bytes).map_err(failed)?;
        let mut client = SoupAnswerClient {
            address,
            stream,
            decoder: Decoder::new(4096),
            next: 0,
            heard: Instant::now(),
            said: Instant::now(),
        };
        while client.next == 0 {
            client.poll(&mut |_, _| {})?;
        }
        Ok(client)
    }

    /// Number of the next message.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Waits a little and gives what has come, each with its number.
    ///
    /// # Errors
    /// The server went away.
    pub fn poll(&mut self, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), SoupAnswerError> {
        if self.drain(take)? {
            return Ok(());
        }
        match self.stream.read(self.decoder.room()) {
            Ok(0) => return Err(self.gone()),
            Ok(bytes) => {
                self.heard = Instant::now();
                self.decoder.received(bytes);
            }
            Err(error) if is_timeout(&error) => {}
            Err(source) => {
                let address = self.address;
                return Err(SoupAnswerError::Stream { address, source });
            }
        }
        self.drain(take)?;
        if self.heard.elapsed() >= GONE_AFTER {
            return Err(self.gone());
        }
        if self.said.elapsed() >= HEARTBEAT_AFTER {
            self.said = Instant::now();
            let mut bytes = Vec::new();
            encode(kind::CLIENT_HEARTBEAT, &[], &mut bytes).map_err(speech)?;
            let _ = self.stream.write_all(&bytes); // a closed stream is told by the next read
        }
        Ok(())
    }

    /// Gives the packets that are whole, as far as an accepted login: what follows that is for the next call. Whether there were any.
    fn drain(&mut self, take: &mut dyn FnMut(u64, &[u8])) -> Result<bool, SoupAnswerError> {
        let mut any = false;
        while let Some(packet) = self.decoder.next_packet().map_err(speech)? {
            any = true;
            match packet.from_server().map_err(speech)? {
                FromServer::LoginAccepted(accepted) => {
                    let first = accepted.sequence.get();
                    self.next = first.map_err(|error| speech(error.into()))?;
                    return Ok(true);
                }
                FromServer::LoginRejected(code) => return Err(SoupAnswerError::Rejected { code }),
                FromServer::Sequenced(message) => {
                    take(self.next, message);
                    self.next += 1;
                }
                FromServer::EndOfSession => {
                    let last = self.next.saturating_sub(1);
                    return Err(SoupAnswerError::Ended { last });
                }
                FromServer::Debug(_) | FromServer::Unsequenced(_) | FromServer::Heartbeat => {}
            }
        }
        Ok(any)
    }

    fn gone(&self) -> SoupAnswerError {
        SoupAnswerError::Gone {
            last: self.next.saturating_sub(1),
        }
    }
}

fn speech(error: ring0_itch::soup::SoupError) -> SoupAnswerError {
    SoupAnswerError::Speech(error.into())
}
