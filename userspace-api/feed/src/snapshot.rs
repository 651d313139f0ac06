//! A GLIMPSE client: takes one snapshot.

use crate::glimpse::is_timeout;
use ring0_itch::glimpse::{GlimpseError, SnapshotEnd};
use ring0_itch::mold::Session;
use ring0_itch::soup::{Decoder, FromServer, LoginRequest, SoupError, encode, kind};
use ring0_itch::{Text, TextError};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Longest payload taken from a server: far above any ITCH message.
const PAYLOAD_MAX: usize = 4096;

/// A snapshot as it was taken.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TakenSnapshot {
    /// Of which session.
    pub session: Session,
    /// The stream's number to go on with.
    pub next: u64,
    /// Its messages, without the end.
    pub messages: Vec<Vec<u8>>,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The connection.
    #[error(
        "the GLIMPSE server at {address} cannot be reached or went away; check address and network: {source}"
    )]
    Stream {
        /// Which server.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It said no, with one of the codes of SoupBinTCP.
    #[error("the GLIMPSE server refused the login with {:?}; it may have too many clients, try again later", char::from(*.code))]
    Rejected {
        /// The code.
        code: u8,
    },
    /// It does not speak SoupBinTCP.
    #[error("the GLIMPSE server: {0}")]
    Soup(#[from] SoupError),
    /// Its end cannot be read.
    #[error("the GLIMPSE server: {0}")]
    End(#[from] GlimpseError),
    /// It stopped before the end, or took too long.
    #[error("the snapshot did not come whole in time; try again, or give it more time")]
    Unfinished,
    /// User or password are too long.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Takes a snapshot from the GLIMPSE server at `address`, within `patience`.
///
/// # Errors
/// Why there is none.
pub fn take_snapshot(
    address: SocketAddr,
    user: &str,
    password: &str,
    patience: Duration,
) -> Result<TakenSnapshot, SnapshotError> {
    let failed = |source| SnapshotError::Stream { address, source };
    let until = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(failed)?;
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .map_err(failed)?;
    let mut login = Vec::new();
    let request = LoginRequest::new(user, password, "", 1)?;
    encode(kind::LOGIN, request.as_bytes(), &mut login)?;
    stream.write_all(&login).map_err(failed)?;
    let mut decoder = Decoder::new(PAYLOAD_MAX);
    let mut snapshot = TakenSnapshot::default();
    loop {
        while let Some(packet) = decoder.next_packet()? {
            match packet.from_server()? {
                FromServer::LoginAccepted(accepted) => {
                    snapshot.session = Text(accepted.session.0);
                }
                FromServer::LoginRejected(code) => return Err(SnapshotError::Rejected { code }),
                FromServer::Sequenced(message) if message.first() == Some(&b'G') => {
                    snapshot.next = SnapshotEnd::read(message)?;
                    let mut logout = Vec::new();
                    encode(kind::LOGOUT, &[], &mut logout)?;
                    let _ = stream.write_all(&logout); // it has said everything
                    return Ok(snapshot);
                }
                FromServer::Sequenced(message) => snapshot.messages.push(message.to_vec()),
                FromServer::EndOfSession => return Err(SnapshotError::Unfinished),
                FromServer::Debug(_) | FromServer::Unsequenced(_) | FromServer::Heartbeat => {}
            }
        }
        match stream.read(decoder.room()) {
            Ok(0) => return Err(SnapshotError::Unfinished),
            Ok(bytes) => decoder.received(bytes),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        if Instant::now() >= until {
            return Err(SnapshotError::Unfinished);
        }
    }
}
