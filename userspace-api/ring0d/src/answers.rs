//! Held answers: on a shard whose acks are `durable` the program matches a packet, records it with its sender's address and drops the frame; here
//! its answer is made from the records and sent, once they are durable.
//!
//! Always true: answers go out in the order of the records, and none before the journal's watermark has passed the last record of its packet.
//! This is a required consumer of the record ring that commits whole packets: a daemon that dies and comes back goes on with the first packet that
//! was not answered. It may then answer one a second time, which a client cannot tell from a duplicate's answer.
//! Rule: RULES 12; `docs/operations.md#durable-acks`.

use crate::DaemonError;
use crate::grants::Sessions;
use crate::home::Home;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{Head, Kind, Message, ReplyTo};
use ring0_market::Market;
use ring0_rings::{Consumer, Outlet, RingError, Times, boot_ns};
use ring0_wire::host::Answer;
use ring0_wire::shape::TAG_LETTER;
use ring0_wire::{Ack, inbound};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use zerocopy::FromBytes;

/// Its name among the ring's consumers.
const CONSUMER: &str = "answers";

/// Slots kept in memory while they wait for the watermark: 4 MiB. More wait in the ring.
const WAITING_SLOTS: usize = 65_536;

/// How long the thread sleeps while records wait for the watermark, and while none do. A sync of a disk takes longer than the first.
const NAP: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// What the status says of it.
#[derive(Debug, Default)]
struct Sent {
    /// Answers sent.
    sent: AtomicU64,
    /// Answers that the network stack refused; their clients send again and are answered by the program.
    refused: AtomicU64,
    /// Packets of sessions that were closed meanwhile, or without an address to answer to.
    left_out: AtomicU64,
    /// How long answers waited, from when their records were seen here.
    waits: Times,
}

/// The thread that sends held answers, ended with this value.
pub(crate) struct Answers {
    sent: Arc<Sent>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answers {
    /// Begins to send what the records say is to be answered, from where the last daemon ended.
    ///
    /// # Errors
    /// No place among the ring's consumers, or the interface's namespace is gone.
    pub(crate) fn start(
        home: &Home,
        market: &Market,
        sessions: Sessions,
    ) -> Result<Answers, DaemonError> {
        let (consumer, way) = match home {
            Home::Kernel { pinned, .. } => (
                Consumer::required(&**pinned, CONSUMER)?,
                Way::Sockets {
                    port: market.plan.shard.port,
                    sockets: HashMap::new(),
                },
            ),
            Home::Thread { ring, outlet } => (
                Consumer::required(ring, CONSUMER)?,
                Way::Ring {
                    outlet: outlet.clone(),
                    answers: Vec::new(),
                },
            ),
        };
        let sent = Arc::new(Sent::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut sender = Sender {
            consumer,
            sessions,
            way,
            packet: None,
            seen: VecDeque::new(),
            answered: 0,
            sent: Arc::clone(&sent),
        };
        let stopping = Arc::clone(&stop);
        let run = move || {
            if let Err(error) = sender.run(&stopping) {
                eprintln!(
                    "ring0d: held answers are no longer sent: {error}; start the daemon again"
                );
            }
        };
        let thread = match home {
            Home::Kernel { pinned, .. } => pinned.spawn_in_netns(CONSUMER, run)?,
            Home::Thread { .. } => std::thread::Builder::new()
                .name(CONSUMER.to_owned())
                .spawn(run)
                .map_err(RingError::Thread)?,
        };
        Ok(Answers {
            sent,
            stop,
            thread: Some(thread),
        })
    }
}

impl Answers {
    /// For the daemon's status.
    pub(crate) fn status(&self) -> Value {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        json!({
            "sent": count(&self.sent.sent),
            "refused": count(&self.sent.refused),
            "left_out": count(&self.sent.left_out),
        })
    }

    /// How long answers were held: from when the packet's records were seen until the answer was on its way. The journal's disk, mostly.
    pub(crate) fn waits(&self) -> &Times {
        &self.sent.waits
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // what it had to say it has said
        }
    }
}

/// A packet whose messages are being read.
struct Packet {
    session: u32,
    reply_to: ReplyTo,
    first: u64,
    acks: Vec<Ack>,
}

struct Sender {
    consumer: Consumer,
    /// Id and key by session index.
    sessions: Sessions,
    way: Way,
    packet: Option<Packet>,
    /// Up to which byte of the records read so far, and when they were read; what is answered is gone from it.
    seen: VecDeque<(u64, u64)>,
    /// Bytes of records that are done with.
    answered: u64,
    sent: Arc<Sent>,
}

/// How answers get out.
enum Way {
    /// From the shard's port, which the kernel's program leaves free.
    Sockets {
        port: u16,
        /// By the address that answers come from.
        sockets: HashMap<Ipv4Addr, UdpSocket>,
    },
    /// Through the ring that has the port.
    Ring {
        outlet: Outlet,
        /// Those of one look at the records, which go together.
        answers: Vec<(ReplyTo, Vec<u8>)>,
    },
}

impl Way {
    /// Sends one, or keeps it for [`Way::flush`].
    fn send(&mut self, reply_to: ReplyTo, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Way::Sockets { port, sockets } => {
                let local = reply_to.local.into();
                let to = SocketAddrV4::new(reply_to.address.into(), reply_to.port);
                socket(sockets, local, *port)?.send_to(&bytes, to).map(drop)
            }
            Way::Ring { answers, .. } => {
                answers.push((reply_to, bytes));
                Ok(())
            }
        }
    }

    /// What a ring does not send it counts itself; one that has ended sends nothing.
    fn flush(&mut self) {
        if let Way::Ring { outlet, answers } = self
            && !answers.is_empty()
        {
            let _ = outlet.send(std::mem::take(answers));
        }
    }
}

/// The socket whose datagrams come from the shard's port at this address.
fn socket(
    sockets: &mut HashMap<Ipv4Addr, UdpSocket>,
    local: Ipv4Addr,
    port: u16,
) -> io::Result<&mut UdpSocket> {
    use std::collections::hash_map::Entry;
    Ok(match sockets.entry(local) {
        Entry::Occupied(socket) => socket.into_mut(),
        Entry::Vacant(place) => place.insert(UdpSocket::bind((local, port))?),
    })
}

impl Sender {
    fn run(&mut self, stop: &AtomicBool) -> Result<(), RingError> {
        let mut waiting = Vec::new();
        while !stop.load(Ordering::Acquire) {
            if waiting.len() < WAITING_SLOTS * SLOT_LEN {
                let before = waiting.len();
                self.consumer.read(&mut waiting, WAITING_SLOTS as u64)?;
                if waiting.len() != before {
                    let end = self.answered + waiting.len() as u64;
                    self.seen.push_back((end, boot_ns()));
                }
            }
            let done = self.answer(&waiting, self.consumer.durable());
            self.way.flush();
            waiting.drain(..done);
            self.answered += done as u64;
            while self
                .seen
                .front()
                .is_some_and(|(end, _)| *end <= self.answered)
            {
                self.seen.pop_front();
            }
            // What is in memory still has its room in the ring: a daemon that comes back reads it again.
            let read = self.consumer.position();
            self.consumer.seek(read - (waiting.len() / SLOT_LEN) as u64);
            self.consumer.commit();
            self.consumer.seek(read);
            if done == 0 {
                std::thread::sleep(if waiting.is_empty() { NAP.1 } else { NAP.0 });
            }
        }
        Ok(())
    }

    /// Sends the answers of the packets in these records that are durable to their end. Gives the bytes that are done with.
    fn answer(&mut self, records: &[u8], durable: u64) -> usize {
        let (mut at, mut done) = (0, 0);
        self.packet = None; // one that was not whole is read again
        while let Ok((head, _)) = Head::read_from_prefix(&records[at..]) {
            let end = at + usize::from(head.slots.max(1)) * SLOT_LEN;
            if end > records.len() || head.sequence > durable {
                break;
            }
            if head.kind == Kind::Message as u16
                && let Ok(message) = Message::read_from_bytes(&records[at..end])
            {
                self.message(&message, self.answered + end as u64);
            }
            at = end;
            if self.packet.is_none() {
                done = at;
            }
        }
        done
    }

    /// A message whose record ends at this byte of all that were read.
    fn message(&mut self, message: &Message, end: u64) {
        let packet = self.packet.get_or_insert_with(|| Packet {
            session: message.session,
            reply_to: message.reply_to,
            first: message.client_sequence,
            acks: Vec::new(),
        });
        if message.message[0] != TAG_LETTER {
            packet.acks.push(ack(message));
            return;
        }
        let Some(packet) = self.packet.take() else {
            return;
        };
        let counted = match self.send(&packet, message.client_sequence) {
            None => &self.sent.left_out,
            Some(Ok(())) => {
                self.waited(end);
                &self.sent.sent
            }
            Some(Err(_)) => &self.sent.refused,
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer to what ends at this byte is on its way.
    fn waited(&mut self, end: u64) {
        while self.seen.front().is_some_and(|(up_to, _)| *up_to < end) {
            self.seen.pop_front();
        }
        if let Some((_, at)) = self.seen.front() {
            self.sent.waits.add(boot_ns().saturating_sub(*at));
        }
    }

    /// Sends a packet's answer, `last` being the client sequence of its tag block; `None` where there is nobody to send it to.
    fn send(&mut self, packet: &Packet, last: u64) -> Option<io::Result<()>> {
        let sessions = self.sessions.read().expect("nobody panics with it");
        let (id, key) = sessions.get(&packet.session)?;
        if packet.reply_to.port == 0 {
            return None; // it was answered at once, before the shard's acks were durable
        }
        let answer = Answer {
            session: *id,
            // The answer to a heartbeat says which client sequence is expected next.
            sequence: if packet.acks.is_empty() {
                last + 1
            } else {
                packet.first
            },
            acks: packet.acks.clone(),
        };
        let bytes = answer.sign(key.as_ref());
        drop(sessions);
        Some(self.way.send(packet.reply_to, bytes))
    }
}

/// What the program would have answered to a message.
fn ack(message: &Message) -> Ack {
    let at = match message.message[0] {
        b'U' => inbound::at::NEW_REFERENCE,
        _ => inbound::at::REFERENCE,
    };
    let low = &message.message[at + 4..at + 8];
    Ack {
        sequence: message.head.sequence,
        reference: u32::from_be_bytes(low.try_into().expect("four bytes")),
        quantity: message.quantity,
        result: message.outcome,
        reason: message.reason,
    }
}
