//! Sends records as they come from a consumer of the ring, and again when they are asked for.

use super::{RECORD_BYTES_MAX, UdpError, socket};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::Head;
use ring0_itch::mold::{
    PAYLOAD_MAX, PacketBuilder, PacketError, Request, Session, end_of_session, heartbeat,
};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

/// How long the line may be silent: MoldUDP64 suggests a second.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Requests answered in one call at the most, so that they cannot hold up the stream.
const REQUESTS_MAX: usize = 64;

/// A record as it is kept for re-requests.
#[derive(Clone, Copy, Debug)]
struct Kept {
    len: u8,
    bytes: [u8; RECORD_BYTES_MAX],
}

/// The sender of one session, and its re-request server.
#[derive(Debug)]
pub struct Publisher {
    stream: UdpSocket,
    to: SocketAddr,
    requests: UdpSocket,
    builder: PacketBuilder,
    /// The newest records, one after the other.
    kept: VecDeque<Kept>,
    kept_max: usize,
    /// Number of the first kept.
    first: u64,
    spoke: Instant,
}

impl Publisher {
    /// Sends from `stream` to an address, multicast or not, and answers requests on another socket from the last `kept_max` records.
    /// `next` is the sequence of the next record.
    ///
    /// # Errors
    /// The socket's.
    pub fn new(
        stream: UdpSocket,
        to: SocketAddr,
        requests: UdpSocket,
        session: Session,
        next: u64,
        kept_max: usize,
    ) -> Result<Publisher, UdpError> {
        requests
            .set_nonblocking(true)
            .map_err(socket("set up the re-request socket"))?;
        Ok(Publisher {
            stream,
            to,
            requests,
            builder: PacketBuilder::new(session, next, PAYLOAD_MAX),
            kept: VecDeque::new(),
            kept_max,
            first: next,
            spoke: Instant::now(),
        })
    }

    /// Sequence of the next record.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.builder.next_sequence()
    }

    /// Sends whole records in as few packets as they need; gives how many packets. Where the sequence jumps, because the ring's reader
    /// was overrun, the stream jumps too, and subscribers say that records are gone.
    ///
    /// # Errors
    /// The socket's, or these are no records; what was before them is sent.
    pub fn send(&mut self, records: &[u8]) -> Result<u64, UdpError> {
        let (mut at, mut packets) = (0, 0);
        while at < records.len() {
            let record = Head::read_from_prefix(&records[at..])
                .ok()
                .and_then(|(head, _)| {
                    let len = usize::from(head.slots) * SLOT_LEN;
                    let record = records.get(at..at + len)?;
                    (1..=RECORD_BYTES_MAX)
                        .contains(&len)
                        .then_some((head.sequence, record))
                });
            let Some((sequence, record)) = record else {
                self.flush(&mut packets)?;
                return Err(UdpError::NoRecord { at });
            };
            if sequence != self.builder.next_sequence() {
                self.flush(&mut packets)?;
                self.builder = PacketBuilder::new(self.builder.session(), sequence, PAYLOAD_MAX);
                self.kept.clear();
                self.first = sequence;
            }
            if self.builder.push(record) == Err(PacketError::Full) {
                self.flush(&mut packets)?;
                self.builder
                    .push(record)
                    .expect("an empty packet takes a record");
            }
            self.keep(record);
            at += record.len();
        }
        self.flush(&mut packets)?;
        Ok(packets)
    }

    fn keep(&mut self, record: &[u8]) {
        if self.kept.len() == self.kept_max && self.kept.pop_front().is_some() {
            self.first += 1;
        }
        let mut bytes = [0; RECORD_BYTES_MAX];
        bytes[..record.len()].copy_from_slice(record);
        self.kept.push_back(Kept {
            len: record.len() as u8,
            bytes,
        });
    }

    fn flush(&mut self, packets: &mut u64) -> Result<(), UdpError> {
        if self.builder.count() == 0 {
            return Ok(());
        }
        let sent = self.stream.send_to(self.builder.packet(), self.to);
        // What was not sent can be asked for: the stream goes on behind it.
        self.builder.begin_next();
        sent.map_err(socket("send records"))?;
        self.spoke = Instant::now();
        *packets += 1;
        Ok(())
    }

    /// Says which record is next if the line was silent for a second: so a listener finds out that the last ones were lost.
    ///
    /// # Errors
    /// The socket's.
    pub fn beat(&mut self) -> Result<(), UdpError> {
        if self.spoke.elapsed() >= HEARTBEAT {
            self.say(heartbeat(self.builder.session(), self.next_sequence()))?;
        }
        Ok(())
    }

    /// Ends the session; requests are still answered.
    ///
    /// # Errors
    /// The socket's.
    pub fn end(&mut self) -> Result<(), UdpError> {
        self.say(end_of_session(self.builder.session(), self.next_sequence()))
    }

    fn say(&mut self, packet: [u8; 20]) -> Result<(), UdpError> {
        self.stream
            .send_to(&packet, self.to)
            .map_err(socket("send"))?;
        self.spoke = Instant::now();
        Ok(())
    }

    /// Answers the requests that wait, with one packet each; gives how many were answered. What is no request, or asks for what is not kept,
    /// gets none.
    ///
    /// # Errors
    /// The socket's.
    pub fn answer(&mut self) -> Result<u64, UdpError> {
        let mut answered = 0;
        for _ in 0..REQUESTS_MAX {
            let mut bytes = [0; 64];
            let (len, from) = match self.requests.recv_from(&mut bytes) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An earlier answer found nobody: no reason to stop.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(socket("receive requests")(error)),
            };
            let Ok(request) = Request::read(&bytes[..len]) else {
                continue;
            };
            if let Some(mut packet) = self.kept_packet(&request) {
                // A listener that is gone is its own affair.
                let _ = self.requests.send_to(packet.packet(), from);
                answered += 1;
            }
        }
        Ok(answered)
    }

    fn kept_packet(&self, request: &Request) -> Option<PacketBuilder> {
        let skip = request.sequence.checked_sub(self.first)?;
        if request.session != self.builder.session() || skip >= self.kept.len() as u64 {
            return None;
        }
        let mut packet = PacketBuilder::new(request.session, request.sequence, PAYLOAD_MAX);
        let wanted = self.kept.iter().skip(skip as usize);
        for kept in wanted.take(request.count.into()) {
            if packet.push(&kept.bytes[..kept.len.into()]).is_err() {
                break; // full: the listener asks again
            }
        }
        Some(packet)
    }
}
