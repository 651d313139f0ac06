//! Receives records in order: what is missing is asked for, what came early waits.

use super::{UdpError, socket};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::Head;
use ring0_itch::mold::{COUNT_MAX, Kind, Packet, Request, Session};
use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

/// Records that wait behind a gap at the most; later ones are dropped and asked for in their turn.
const EARLY_MAX: usize = 1 << 16;

/// Time for a request's answer before it is sent again.
const ANSWER_WAIT: Duration = Duration::from_millis(10);

/// Requests without an answer after which the records are said to be gone.
const TRIES_MAX: u32 = 100;

/// Packets taken in one call at the most.
const PACKETS_MAX: usize = 256;

/// Bytes of a packet that is still read: any IPv4 datagram.
const DATAGRAM_MAX: usize = 65_536;

/// Puts packets in order; knows no socket.
#[derive(Debug)]
pub struct Assembly {
    session: Session,
    next: u64,
    /// One more than the highest number that the sender is known to have.
    known: u64,
    early: BTreeMap<u64, Box<[u8]>>,
    ended: bool,
}

impl Assembly {
    /// Of a session, from record `next` on.
    #[must_use]
    pub fn new(session: Session, next: u64) -> Assembly {
        Assembly {
            session,
            next,
            known: next,
            early: BTreeMap::new(),
            ended: false,
        }
    }

    /// Sequence of the next record.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Whether the session has ended and every record of it was given out.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended && self.next == self.known
    }

    /// Takes a packet, of the stream or an answer, and appends what is next to `into`; gives how many records. Other sessions' packets are
    /// passed over.
    ///
    /// # Errors
    /// It is no packet, or its messages are not the records of their numbers. Nothing of it was taken then but what is before.
    pub fn take(&mut self, payload: &[u8], into: &mut Vec<u8>) -> Result<u64, UdpError> {
        let packet = Packet::read(payload)?;
        if packet.session() != self.session {
            return Ok(0);
        }
        let before = self.next;
        for (sequence, record) in packet.messages() {
            let good = Head::read_from_prefix(record).is_ok_and(|(head, _)| {
                head.sequence == sequence && usize::from(head.slots) * SLOT_LEN == record.len()
            });
            if !good {
                return Err(UdpError::NotThatRecord {
                    sequence,
                    session: String::from_utf8_lossy(&self.session.0).into_owned(),
                });
            }
            self.known = self.known.max(sequence + 1);
            if sequence == self.next {
                into.extend_from_slice(record);
                self.next += 1;
            } else if sequence > self.next && self.early.len() < EARLY_MAX {
                self.early.entry(sequence).or_insert_with(|| record.into());
            }
        }
        self.known = self.known.max(packet.next_sequence());
        self.ended |= packet.kind() == Kind::EndOfSession;
        while let Some(record) = self.early.remove(&self.next) {
            into.extend_from_slice(&record);
            self.next += 1;
        }
        if self
            .early
            .first_key_value()
            .is_some_and(|(first, _)| *first < self.next)
        {
            self.early = self.early.split_off(&self.next); // came by another way meanwhile
        }
        Ok(self.next - before)
    }

    /// What is missing before the first that is there.
    #[must_use]
    pub fn missing(&self) -> Option<Request> {
        let end = self.early.keys().next().copied().unwrap_or(self.known);
        let count = end.checked_sub(self.next).filter(|count| *count != 0)?;
        Some(Request {
            session: self.session,
            sequence: self.next,
            count: count.min(COUNT_MAX.into()) as u16,
        })
    }
}

/// A listener with its sockets.
#[derive(Debug)]
pub struct Subscriber {
    stream: UdpSocket,
    requests: UdpSocket,
    assembly: Assembly,
    asked: Option<(u64, Instant)>,
    tries: u32,
    buffer: Box<[u8]>,
}

impl Subscriber {
    /// Listens on `stream`, which has joined its group if there is one; `requests` is connected to the re-request server.
    ///
    /// # Errors
    /// The sockets'.
    pub fn new(
        stream: UdpSocket,
        requests: UdpSocket,
        assembly: Assembly,
    ) -> Result<Subscriber, UdpError> {
        for socket_of in [&stream, &requests] {
            socket_of
                .set_nonblocking(true)
                .map_err(socket("set up the sockets"))?;
        }
        Ok(Subscriber {
            stream,
            requests,
            assembly,
            asked: None,
            tries: 0,
            buffer: vec![0; DATAGRAM_MAX].into(),
        })
    }

    /// How far it is.
    #[must_use]
    pub fn assembly(&self) -> &Assembly {
        &self.assembly
    }

    /// Takes what has arrived, appends the records that are next to `into` and gives how many; asks for what is missing. It does not wait.
    ///
    /// # Errors
    /// The sockets', a packet of this session that is none, or records that the server no longer has.
    pub fn poll(&mut self, into: &mut Vec<u8>) -> Result<u64, UdpError> {
        let mut records = 0;
        for of in [&self.stream, &self.requests] {
            for _ in 0..PACKETS_MAX {
                let len = match of.recv(&mut self.buffer) {
                    Ok(len) => len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Nobody heard a request: it is sent again, and after enough of them said.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => break,
                    Err(error) => return Err(socket("receive records")(error)),
                };
                records += self.assembly.take(&self.buffer[..len], into)?;
            }
        }
        if records != 0 {
            self.tries = 0;
        }
        self.ask()?;
        Ok(records)
    }

    fn ask(&mut self) -> Result<(), UdpError> {
        let Some(request) = self.assembly.missing() else {
            self.asked = None;
            return Ok(());
        };
        let waits = |(sequence, at): (u64, Instant)| {
            sequence == request.sequence && at.elapsed() < ANSWER_WAIT
        };
        if self.asked.is_some_and(waits) {
            return Ok(());
        }
        if self.tries == TRIES_MAX {
            return Err(UdpError::Gone {
                from: request.sequence,
                to: request.sequence + u64::from(request.count) - 1,
                tries: self.tries,
            });
        }
        match self.requests.send(&request.to_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                return Err(socket("ask for records")(error));
            }
            _ => {}
        }
        self.tries += 1;
        self.asked = Some((request.sequence, Instant::now()));
        Ok(())
    }
}
