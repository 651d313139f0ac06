//! A client of the answers over MoldUDP64: subscribes to a stream and takes its messages in their order.

use crate::answer_access::Access;
use crate::answer_reader::{AnswerReader, AnswersHeard};
use crate::line::RECEIVE_BYTES;
use ring0_itch::mold::Session;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A server that said nothing genuine for so long is gone: fifteen heartbeats, as with SoupBinTCP.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// How long a subscription may take to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// Datagrams taken from the socket at a time.
const DATAGRAMS_A_TURN: usize = 256;

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
pub enum MoldAnswerError {
    /// The socket.
    #[error("no UDP socket to {address}: {source}; check the address and the network namespace")]
    Socket {
        /// Which server.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Nothing genuine came.
    #[error(
        "nothing genuine came from {address} for {} seconds ({forged} datagrams with a wrong tag); check the address, that the key file is the one that the venue has, and that not too many read this stream already",
        silence.as_secs()
    )]
    Silent {
        /// Which server.
        address: SocketAddr,
        /// How long.
        silence: Duration,
        /// What was dropped.
        forged: u64,
    },
    /// Answers were missed that the server no longer has.
    #[error(
        "answers {from} to {} are no longer kept; begin anew with --from {before}, or have the venue keep more (--answers-memory)", before - 1
    )]
    Missed {
        /// The first of them.
        from: u64,
        /// The first that can be had.
        before: u64,
    },
    /// The stream has no more answers.
    #[error(
        "the stream ended behind answer {last}: the venue has granted the session anew; use the key file of the new one"
    )]
    Ended {
        /// The last answer of all.
        last: u64,
    },
}

/// A client, subscribed.
pub struct MoldAnswerClient {
    address: SocketAddr,
    socket: UdpSocket,
    reader: AnswerReader,
    begun: Instant,
}

impl MoldAnswerClient {
    /// Subscribes to a stream; `from` is the number of the first message wanted, 0 for only new ones.
    ///
    /// # Errors
    /// There is no socket, or nobody there who knows the key.
    pub fn subscribe(
        address: SocketAddr,
        name: Session,
        access: &Access,
        from: u64,
    ) -> Result<MoldAnswerClient, MoldAnswerError> {
        let failed = |source| MoldAnswerError::Socket { address, source };
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).map_err(failed)?;
        // Only the server's packets come in.
        socket.connect(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        set_socket_recv_buffer_size(&socket, RECEIVE_BYTES)
            .map_err(|error| failed(error.into()))?;
        let mut nonce = [0; 8];
        rustix::rand::getrandom(&mut nonce[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| failed(error.into()))?;
        let mut client = MoldAnswerClient {
            address,
            socket,
            reader: AnswerReader::new(name, access, u64::from_le_bytes(nonce), from),
            begun: Instant::now(),
        };
        while !client.reader.has_begun() {
            // It ends with the status that begins the stream: messages behind that are for the first `poll`.
            client.turn(PATIENCE, &mut |_, _| {})?;
        }
        Ok(client)
    }

    /// Number of the next message.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.reader.next()
    }

    /// The counters.
    #[must_use]
    pub fn heard(&self) -> AnswersHeard {
        self.reader.heard()
    }

    /// Waits a little and gives what has come, each with its number.
    ///
    /// # Errors
    /// The server went away, messages are missed for good, or the stream has ended.
    pub fn poll(&mut self, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), MoldAnswerError> {
        self.turn(GONE_AFTER, take)
    }

    fn turn(
        &mut self,
        patience: Duration,
        take: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), MoldAnswerError> {
        let address = self.address;
        let failed = |source| MoldAnswerError::Socket { address, source };
        self.wait().map_err(failed)?;
        let mut bytes = [0; ring0_wire::BUFFER];
        let now = self.begun.elapsed();
        let had_begun = self.reader.has_begun();
        for _ in 0..DATAGRAMS_A_TURN {
            // An error is of a request before: nobody is there at the moment.
            let Ok(length) = self.socket.recv(&mut bytes) else {
                break;
            };
            self.reader.datagram(&bytes[..length], now, take);
            if self.reader.has_begun() != had_begun {
                break;
            }
        }
        if self.reader.ended() {
            let last = self.reader.next().saturating_sub(1);
            return Err(MoldAnswerError::Ended { last });
        }
        if let Some((from, before)) = self.reader.missed() {
            return Err(MoldAnswerError::Missed { from, before });
        }
        let silence = now.saturating_sub(self.reader.heard_at());
        if silence >= patience {
            let forged = self.reader.heard().forged;
            return Err(MoldAnswerError::Silent {
                address,
                silence,
                forged,
            });
        }
        for request in self.reader.requests(now) {
            let _ = self.socket.send(&request); // asked for again when nothing comes
        }
        Ok(())
    }

    /// Waits for a datagram, or until requests may be due.
    fn wait(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for MoldAnswerClient {
    fn drop(&mut self) {
        let _ = self.socket.send(&self.reader.leave()); // lost, the subscription ends by itself
    }
}
