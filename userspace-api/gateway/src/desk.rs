//! The order path: a trading session in use, on a thread of its own.
//!
//! The gateway trades as anybody does: signed L2E/1 packets under a session of the account, through the shard's door or over UDP, sent again
//! without harm until they are answered ([`ring0_trader`]). What waits at the same time goes together: one sync for the client order ids, then
//! as few packets as have room for it. Why so: `docs/decisions/0084-gateway-orders.md`.

use crate::clock::unix_now_ns;
use crate::intents::{Intent, Intents};
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::shard::Shard;
use ring0_trader::{
    Ack, DoorTransport, Options, Order, Reason, Reference, Session, Trader, TraderError, Transport,
    UdpTransport,
};
use ring0_wire::host::Inbound;
use ring0_wire::{BLOCK_LENGTH, HEADER, PAYLOAD_MAX, SessionId, TAG_BLOCK};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Requests of one session that may wait. More are refused at once: whoever waits longer than these take is not helped by waiting.
const WAITING_MAX: usize = 1_024;

/// Messages of one request at the most: a packet's.
pub const MESSAGES_MAX: usize = 68;

/// How long an answer of the exchange is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long answers are waited for between two looks at what else is asked.
const POLL: Duration = Duration::from_millis(1);

/// How often a session without orders says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Where a shard takes packets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Way {
    /// Its door on this machine.
    Door(PathBuf),
    /// Its UDP port.
    Udp(SocketAddr),
}

enum AnyTransport {
    Door(DoorTransport),
    Udp(UdpTransport),
}

impl AnyTransport {
    fn open(way: &Way) -> io::Result<AnyTransport> {
        Ok(match way {
            Way::Door(path) => AnyTransport::Door(DoorTransport::connect(path)?),
            Way::Udp(address) => AnyTransport::Udp(UdpTransport::connect(*address)?),
        })
    }
}

impl Transport for AnyTransport {
    fn now(&mut self) -> Duration {
        match self {
            AnyTransport::Door(it) => it.now(),
            AnyTransport::Udp(it) => it.now(),
        }
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        match self {
            AnyTransport::Door(it) => it.send(packet),
            AnyTransport::Udp(it) => it.send(packet),
        }
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        match self {
            AnyTransport::Door(it) => it.receive(into, wait),
            AnyTransport::Udp(it) => it.receive(into, wait),
        }
    }
}

/// Why a request has no answers of the exchange.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeskError {
    /// Too many wait.
    #[error("{WAITING_MAX} requests of this account wait already; send fewer at a time")]
    Crowded,
    /// Surely not taken.
    #[error("the exchange did not take it, so nothing happened; send it again")]
    NotTaken,
    /// The shard is halted: surely not taken.
    #[error("the shard is halted and did not take it; try again when it is resumed")]
    Halted,
    /// It may have been taken.
    #[error(
        "the exchange does not answer; whether it took the order is not known yet: send it again under the same client order id, which never enters it twice"
    )]
    Unknown,
    /// Client order ids cannot be kept.
    #[error("{0}")]
    Intents(Arc<crate::intents::IntentError>),
    /// The gateway ends.
    #[error("the gateway is ending; connect again in a moment")]
    Ending,
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Problem {
        let mut problem = Problem::unavailable(error.to_string());
        match error {
            DeskError::Halted => return Problem::reason(Reason::Halted),
            DeskError::Crowded => problem.status = 429,
            DeskError::Unknown => {
                problem.status = 504;
                "unknown-outcome".clone_into(&mut problem.code);
                "urn:ring0:problem:unknown-outcome".clone_into(&mut problem.kind);
            }
            DeskError::NotTaken | DeskError::Ending | DeskError::Intents(_) => {}
        }
        problem
    }
}

/// What a client calls an order, and what it asked.
#[derive(Clone, Debug)]
pub struct Named {
    /// Client order id.
    pub client: Arc<str>,
    /// Digest of what was asked.
    pub digest: [u8; 16],
}

/// A message, and its name where it enters an order that has one.
pub type Asked = (Order, Option<Named>);

/// Where the answers to what was posted come; nothing comes where the gateway ends.
pub type Answered = oneshot::Receiver<Result<Vec<Ack>, DeskError>>;

struct Request {
    asked: Vec<Asked>,
    answer: oneshot::Sender<Result<Vec<Ack>, DeskError>>,
}

impl Request {
    /// Whether it may still be taken where nothing else is. It does not share a packet with what may not.
    fn only_reduces_risk(&self) -> bool {
        let letters = self.asked.iter().map(|(order, _)| order.message().letter);
        letters
            .into_iter()
            .all(|it| matches!(it, b'D' | b'X' | b'M'))
    }
}

/// What a packet still has room for.
#[derive(Clone, Copy)]
struct Room {
    messages: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            messages: MESSAGES_MAX,
            bytes: PAYLOAD_MAX - HEADER - TAG_BLOCK,
        }
    }
}

impl Room {
    /// Takes a request in, if it fits.
    fn take(&mut self, request: &Request) -> bool {
        let messages = request.asked.iter().map(|(order, _)| order.message());
        // What is no message is refused when it is sent.
        let bytes = messages.filter_map(Inbound::from_message);
        let bytes: usize = bytes.map(|it| BLOCK_LENGTH + it.as_bytes().len()).sum();
        let fits = request.asked.len() <= self.messages && bytes <= self.bytes;
        if fits {
            self.messages -= request.asked.len();
            self.bytes -= bytes;
        }
        fits
    }
}

/// Requests by packet, in their order: as many in each as there is room for.
fn packets(requests: Vec<Request>, room: Room) -> Vec<Vec<Request>> {
    let mut packets: Vec<Vec<Request>> = Vec::new();
    let (mut left, mut reduces) = (room, false);
    for request in requests {
        let reduces_too = request.only_reduces_risk();
        match packets.last_mut() {
            Some(packet) if reduces_too == reduces && left.take(&request) => packet.push(request),
            _ => {
                (left, reduces) = (room, reduces_too);
                if !left.take(&request) {
                    left.messages = 0; // larger than a packet may be: it goes alone, and is not taken
                }
                packets.push(vec![request]);
            }
        }
    }
    packets
}

/// See the module.
pub struct Desk {
    /// Its name in the configuration.
    pub name: String,
    /// Whose.
    pub account: u32,
    /// Where.
    pub shard: Arc<Shard>,
    /// The session's id.
    pub session: SessionId,
    /// Its end for new orders, in seconds of Unix time, where that is known here: the engine holds it by its own clock.
    pub expires_s: Option<u64>,
    requests: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desk({} {})", self.name, self.session)
    }
}

/// A session and where it trades.
pub struct DeskOptions {
    /// Its name in the configuration.
    pub name: String,
    /// Whose.
    pub account: u32,
    /// With its key.
    pub session: Session,
    /// Where its packets go.
    pub way: Way,
    /// Whether the exchange cancels its orders when it is silent.
    pub heartbeat: bool,
    /// Its end for new orders, in seconds of Unix time, where that is known here.
    pub expires_s: Option<u64>,
}

impl Desk {
    /// Starts the thread.
    #[must_use]
    pub fn start(
        options: DeskOptions,
        shard: &Arc<Shard>,
        intents: &Arc<Intents>,
        metrics: &Arc<Metrics>,
    ) -> Desk {
        let (requests, taken) = sync_channel(WAITING_MAX);
        let (name, account, session) =
            (options.name.clone(), options.account, options.session.id());
        let expires_s = options.expires_s;
        let seat = Seat {
            account,
            session,
            shard: Arc::clone(shard),
            intents: Arc::clone(intents),
            metrics: Arc::clone(metrics),
            options,
            trader: None,
            reference: 0,
            flying: BTreeMap::new(),
        };
        let thread = std::thread::spawn(move || seat.run(&taken));
        Desk {
            name,
            account,
            shard: Arc::clone(shard),
            session,
            expires_s,
            requests: Some(requests),
            thread: Some(thread),
        }
    }

    /// Sends messages in one packet and waits for their answers, in the same order.
    ///
    /// # Errors
    /// There are none; see each error for what that means.
    ///
    /// # Panics
    /// With more than [`MESSAGES_MAX`] messages.
    pub async fn submit(&self, asked: Vec<Asked>) -> Result<Vec<Ack>, DeskError> {
        let answered = self.post(asked)?;
        answered.await.unwrap_or(Err(DeskError::Ending))
    }

    /// As [`Desk::submit`], without waiting: what is posted first is sent first.
    ///
    /// # Errors
    /// Too many wait, or the gateway ends.
    ///
    /// # Panics
    /// With more than [`MESSAGES_MAX`] messages.
    pub fn post(&self, asked: Vec<Asked>) -> Result<Answered, DeskError> {
        assert!(asked.len() <= MESSAGES_MAX, "callers cut what is longer");
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(DeskError::Ending)?;
        match requests.try_send(Request { asked, answer }) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_)) => Err(DeskError::Crowded),
            Err(TrySendError::Disconnected(_)) => Err(DeskError::Ending),
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.requests = None; // what waits is still sent
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its panic has been printed
        }
    }
}

/// A packet on its way, with the requests in it.
struct Flying {
    messages: usize,
    acks: Vec<Ack>,
    requests: Vec<Request>,
    sent: Instant,
}

impl Flying {
    /// Tells every request the same.
    fn fail(self, error: &DeskError) {
        fail(self.requests, error);
    }
}

fn fail(requests: Vec<Request>, error: &DeskError) {
    for request in requests {
        let _ = request.answer.send(Err(error.clone())); // the client has gone
    }
}

/// The thread's side.
struct Seat {
    account: u32,
    session: SessionId,
    shard: Arc<Shard>,
    intents: Arc<Intents>,
    metrics: Arc<Metrics>,
    options: DeskOptions,
    /// With the place in the client sequence known; none before the exchange has said it.
    trader: Option<Trader<AnyTransport>>,
    /// Last reference given.
    reference: u32,
    /// By first client sequence.
    flying: BTreeMap<u64, Flying>,
}

impl Seat {
    fn run(mut self, requests: &Receiver<Request>) {
        let mut spoke = Instant::now();
        loop {
            let mut batch = Vec::new();
            if self.flying.is_empty() {
                match requests.recv_timeout(HEARTBEAT) {
                    Ok(request) => batch.push(request),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            // Half a window at a time: the rest waits its turn without a sync of its own each.
            while batch.len() < WAITING_MAX / 2
                && let Ok(request) = requests.try_recv()
            {
                batch.push(request);
            }
            if !batch.is_empty() {
                spoke = Instant::now();
                self.take(batch);
            } else if self.options.heartbeat && spoke.elapsed() >= HEARTBEAT {
                spoke = Instant::now();
                self.beat();
            }
            self.poll();
        }
    }

    /// A trader that knows where the session stands.
    fn ready(&mut self) -> Result<&mut Trader<AnyTransport>, DeskError> {
        if self.trader.is_none() {
            let transport = AnyTransport::open(&self.options.way).map_err(|error| {
                tracing::warn!(session = %self.options.name, %error, "the shard cannot be reached");
                DeskError::NotTaken
            })?;
            let session = self.options.session.clone();
            let options = Options {
                patience: PATIENCE,
                ..Options::of(&session)
            };
            let mut trader = Trader::new(session, transport).with_options(options);
            let adopted = trader.adopt().map_err(|error| {
                tracing::warn!(session = %self.options.name, %error, "the session cannot be taken up");
                match error {
                    TraderError::Halted { .. } => DeskError::Halted,
                    _ => DeskError::NotTaken,
                }
            })?;
            let before = u32::try_from(adopted.expected - 1).unwrap_or(u32::MAX);
            let known = self.shard.state().orders.last_reference(self.session);
            let meant = self.intents.last_reference(self.session);
            self.reference = self.reference.max(before).max(known).max(meant);
            self.trader = Some(trader);
        }
        Ok(self.trader.as_mut().expect("it was just made"))
    }

    fn take(&mut self, batch: Vec<Request>) {
        if let Err(error) = self.ready() {
            fail(batch, &error);
            return;
        }
        let mut batch = batch;
        let intents = self.name_all(&mut batch);
        if let Err(error) = self.intents.put(intents) {
            tracing::error!(%error, "client order ids cannot be kept");
            fail(batch, &DeskError::Intents(error));
            return;
        }
        let room = Room {
            messages: self
                .shard
                .state()
                .rates
                .messages_max(self.session, self.account),
            ..Room::default()
        };
        for packet in packets(batch, room) {
            self.send(packet);
        }
    }

    /// Gives every order that enters under a name its reference, and says what is to be written down.
    fn name_all(&mut self, batch: &mut [Request]) -> Vec<(u32, Arc<str>, Intent)> {
        let mut intents = Vec::new();
        for (order, named) in batch.iter_mut().flat_map(|it| &mut it.asked) {
            let Some(named) = named else {
                continue;
            };
            self.reference = self.reference.saturating_add(1);
            *order = order.reference(Reference(self.reference));
            let intent = Intent {
                session: self.session,
                reference: self.reference,
                time_ns: unix_now_ns(),
                digest: named.digest,
            };
            intents.push((self.account, Arc::clone(&named.client), intent));
        }
        intents
    }

    /// Sends requests in one packet, which is taken or not as a whole.
    fn send(&mut self, requests: Vec<Request>) {
        let asked = requests.iter().flat_map(|request| &request.asked);
        let mut orders: Vec<Order> = asked.map(|(order, _)| *order).collect();
        let Some(trader) = self.trader.as_mut() else {
            fail(requests, &DeskError::NotTaken); // lost while others were sent
            return;
        };
        let sent = loop {
            match trader.send(&mut orders) {
                Err(TraderError::WindowFull { .. }) => {
                    let mut acks = Vec::new();
                    if let Err(error) = trader.poll(PATIENCE, &mut acks) {
                        break Err(error);
                    }
                    give(&mut self.flying, &self.metrics, acks);
                }
                sent => break sent,
            }
        };
        match sent {
            Ok(sent) => {
                let flying = Flying {
                    messages: orders.len(),
                    acks: Vec::with_capacity(orders.len()),
                    requests,
                    sent: Instant::now(),
                };
                self.flying.insert(sent.sequence, flying);
            }
            Err(error) => {
                fail(requests, &DeskError::NotTaken);
                self.lost(&error);
            }
        }
    }

    fn beat(&mut self) {
        if let Ok(trader) = self.ready()
            && let Err(error) = trader.heartbeat()
        {
            self.lost(&error);
        }
    }

    fn poll(&mut self) {
        let Some(trader) = self.trader.as_mut() else {
            return;
        };
        let mut acks = Vec::new();
        let polled = trader.poll(POLL, &mut acks);
        give(&mut self.flying, &self.metrics, acks);
        if let Err(error) = polled {
            self.lost(&error);
        }
    }

    /// Something has to be decided: what was not taken is dropped, what was is answered.
    fn lost(&mut self, error: &TraderError) {
        tracing::warn!(session = %self.options.name, %error, "packets were not answered");
        let was_halted = matches!(error, TraderError::Halted { .. });
        let Some(mut trader) = self.trader.take() else {
            return;
        };
        let adopted = trader.adopt();
        let mut acks = Vec::new();
        // Own packets that were taken get their answers; a short wait, they are stored.
        if adopted.is_ok() {
            let _ = trader.poll(Duration::from_millis(200), &mut acks);
        }
        give(&mut self.flying, &self.metrics, acks);
        match adopted {
            Ok(adopted) => {
                let below = self.flying.split_off(&adopted.expected);
                for flying in below.into_values() {
                    let error = if was_halted {
                        DeskError::Halted
                    } else {
                        DeskError::NotTaken
                    };
                    flying.fail(&error);
                }
                self.trader = Some(trader);
            }
            Err(_) => {
                for flying in std::mem::take(&mut self.flying).into_values() {
                    flying.fail(&DeskError::Unknown);
                }
            }
        }
    }
}

/// Hands acks to those who wait for them.
fn give(flying: &mut BTreeMap<u64, Flying>, metrics: &Metrics, acks: Vec<Ack>) {
    for ack in acks {
        let Some((&first, of)) = flying.range_mut(..=ack.sequence).next_back() else {
            continue; // answered as unknown before
        };
        of.acks.push(ack);
        if of.acks.len() < of.messages {
            continue;
        }
        if let Some(mut done) = flying.remove(&first) {
            done.acks.sort_unstable_by_key(|ack| ack.sequence);
            metrics
                .order_path
                .observe(done.sent.elapsed().as_secs_f64());
            let mut acks = done.acks.into_iter();
            for request in done.requests {
                let own = acks.by_ref().take(request.asked.len()).collect();
                let _ = request.answer.send(Ok(own)); // the client has gone
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_trader::{Locate, Price, Shares};

    fn request(order: Order, messages: usize) -> Request {
        Request {
            asked: vec![(order, None); messages],
            answer: oneshot::channel().0,
        }
    }

    /// Messages by packet, of requests that are as many cancels (`d`) or new orders (`a`).
    fn packed(asked: &[(char, usize)], messages: usize) -> Vec<Vec<usize>> {
        let requests = asked.iter().map(|(kind, messages)| match kind {
            'd' => request(Order::cancel(Locate(1), Reference(1)), *messages),
            _ => request(Order::buy(Locate(1), Shares(1), Price(1)), *messages),
        });
        let room = Room {
            messages,
            ..Room::default()
        };
        let packets = packets(requests.collect(), room);
        let sizes = |packet: &Vec<Request>| packet.iter().map(|it| it.asked.len()).collect();
        packets.iter().map(sizes).collect()
    }

    #[test]
    fn requests_share_packets_in_their_order() {
        assert_eq!(packed(&[], 68), Vec::<Vec<usize>>::new());
        assert_eq!(packed(&[('a', 1), ('a', 2), ('a', 3)], 68), [[1, 2, 3]]);
        // What a halted shard still takes is not held up by what it does not.
        let mixed = [('a', 1), ('d', 1), ('d', 2), ('a', 1)];
        assert_eq!(packed(&mixed, 68), [vec![1], vec![1, 2], vec![1]]);
        // No more than its rate lets through at once.
        assert_eq!(
            packed(&[('d', 2), ('d', 2), ('d', 2)], 4),
            [vec![2, 2], vec![2]]
        );
        assert_eq!(packed(&[('d', 9), ('d', 1)], 4), [vec![9], vec![1]]);
        assert_eq!(packed(&[('d', 1); 69], 68), [vec![1; 68], vec![1]]);
    }

    #[test]
    fn a_packet_never_has_more_than_its_bytes() {
        let all: usize = packed(&[('a', 1); 200], 68)
            .into_iter()
            .map(|packet| {
                let session = SessionId::new(0, 1).unwrap();
                let mut builder = ring0_wire::host::PacketBuilder::new(session, 1);
                let order = Order::buy(Locate(1), Shares(1), Price(1));
                let message = Inbound::from_message(order.message()).unwrap();
                for _ in &packet {
                    builder.push(&message).unwrap();
                }
                packet.len()
            })
            .sum();
        assert_eq!(all, 200);
    }
}
