//! OUCH 5.0 over SoupBinTCP: order entry for programs that speak it.
//!
//! A login opens one trading session. What comes in becomes packets of that session; what goes out is the session's stream, made from the record
//! by [`ring0_feed::Answers`]: numbered, and the same after a reconnection or a restart. So a message that this interface cannot carry out is
//! sent to the exchange all the same, with a field that the engine refuses for the same reason: its rejection is a record, too.
//! Which message means what: `docs/api.md#ouch`.

use crate::desk::{Answered, Desk, DeskError};
use crate::metrics::Metrics;
use crate::orders::Status;
use crate::serve::{Places, Stream, drained, next, secure};
use crate::venue::Instrument;
use ring0_feed::{Access, Password};
use ring0_itch::Text;
use ring0_itch::ouch::{
    AccountQuery, Appendage, Cancel, Enter, Inbound, Modify, Replace, display, option,
    time_in_force,
};
use ring0_itch::soup::{
    Decoder, FromClient, GONE_AFTER, HEARTBEAT_AFTER, LoginAccepted, LoginRequest, encode, kind,
    rejected,
};
use ring0_trader::{Flags, Message, Order, Session};
use ring0_wire::SessionId;
use ring0_wire::message::{PEG_MIDPOINT, PEG_PRIMARY, STOCK_SPACES};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use zerocopy::IntoBytes;

/// Longest payload of a client in bytes: an order with every option.
const PAYLOAD_MAX: usize = 512;

/// How long a login is waited for, and a message may take to leave.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a wrong password is thought about.
const WRONG_WAIT: Duration = Duration::from_millis(300);

/// Bytes gathered before they are written.
const PIECE: usize = 32 << 10;

/// Entered orders whose answers are not there yet, at the most; then reading waits.
const UNANSWERED_MAX: usize = 512;

/// A locate that no market lists.
const NO_LOCATE: u16 = u16::MAX;

/// The bit of no flag: the engine refuses it by name.
const NO_FLAG: u16 = 1 << 15;

/// What opens a session for order entry: 50 bits that follow from its key by a one-way function.
#[must_use]
pub fn password(session: &Session) -> Option<Password> {
    let key = session.key()?.as_bytes().try_into().ok()?;
    Some(Access::of(key, "orders").password)
}

/// A session that is traded over OUCH.
pub struct OuchSession {
    /// Sends its packets.
    pub desk: Arc<Desk>,
    /// What opens it.
    pub password: Password,
    /// The login that has it: the newest wins, so that a dead connection does not keep its owner out.
    latest: watch::Sender<u64>,
    /// Highest number of an order that was posted: a lower one is a retransmission.
    posted: Mutex<u32>,
}

impl OuchSession {
    /// Nobody has it.
    #[must_use]
    pub fn new(desk: Arc<Desk>, password: Password) -> OuchSession {
        OuchSession {
            desk,
            password,
            latest: watch::Sender::new(0),
            posted: Mutex::new(0),
        }
    }

    /// Whether this number is above every one before; it is the highest then.
    fn rises(&self, number: u32) -> bool {
        let seen = self
            .desk
            .shard
            .state()
            .orders
            .last_reference(self.desk.session);
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen.max(*posted);
        let rises = number > last;
        if rises {
            *posted = number;
        }
        rises
    }
}

/// Sessions by their ids.
#[derive(Default)]
pub struct OuchSessions(RwLock<HashMap<Text<10>, Arc<OuchSession>>>);

impl OuchSessions {
    /// Takes one more.
    pub fn add(&self, session: OuchSession) {
        let id = Text(session.desk.session.0);
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(id, Arc::new(session));
    }

    /// Gives one back: nobody logs in any more, and whoever has is cut off.
    pub fn remove(&self, session: SessionId) -> Option<Arc<OuchSession>> {
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let removed = sessions.remove(&Text(session.0))?;
        removed.latest.send_modify(|login| *login += 1);
        Some(removed)
    }
}

/// Serves until the process is to end.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    connections_max: usize,
    sessions: Arc<OuchSessions>,
    metrics: Arc<Metrics>,
    mut draining: watch::Receiver<bool>,
) {
    let places = Places::new(connections_max, connections_max, &metrics, "ouch");
    let (alive, mut ended) = mpsc::channel::<()>(1);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = next(&listener) => accepted,
            () = drained(&mut draining) => break,
        };
        let Some(seat) = places.take(peer.ip()) else {
            continue; // closed
        };
        let (tls, sessions, metrics) = (tls.clone(), Arc::clone(&sessions), Arc::clone(&metrics));
        let (places, draining, alive) = (Arc::clone(&places), draining.clone(), alive.clone());
        tokio::spawn(async move {
            let (_seat, _alive) = (seat, alive);
            let Ok(stream) = secure(stream, tls.as_ref(), PATIENCE).await else {
                places.refused("handshake");
                return;
            };
            let ended = connection(stream, &sessions, &metrics, draining).await;
            if let Err(end) = ended {
                tracing::info!(%peer, %end, "an OUCH connection ended");
                places.refused(end.word());
            }
        });
    }
    drop((listener, alive));
    let _ = tokio::time::timeout(crate::serve::DRAIN, ended.recv()).await;
}

/// Why a connection was cut off.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum CutOff {
    #[error("it is gone")]
    Gone,
    #[error("it does not speak SoupBinTCP")]
    Framing,
    #[error("no login came")]
    NoLogin,
    #[error("the login was wrong")]
    WrongLogin,
    #[error("it was silent for too long")]
    Silent,
    #[error("it took nothing for too long, or wants what is no longer kept")]
    Slow,
    #[error("the same session logged in again, or was revoked")]
    Replaced,
}

impl CutOff {
    fn word(self) -> &'static str {
        match self {
            CutOff::Gone => "gone",
            CutOff::Framing => "framing",
            CutOff::NoLogin => "no-login",
            CutOff::WrongLogin => "wrong-login",
            CutOff::Silent => "silent",
            CutOff::Slow => "slow",
            CutOff::Replaced => "replaced",
        }
    }
}

/// What a client has sent, one packet's content.
enum Heard {
    Login(Box<LoginRequest>),
    Message(Vec<u8>),
    Nothing,
    Logout,
}

/// The next packet; `None` where more bytes are needed.
fn packet(decoder: &mut Decoder) -> Result<Option<Heard>, CutOff> {
    let Some(packet) = decoder.next_packet().map_err(|_| CutOff::Framing)? else {
        return Ok(None);
    };
    Ok(Some(
        match packet.from_client().map_err(|_| CutOff::Framing)? {
            FromClient::Login(login) => Heard::Login(Box::new(*login)),
            FromClient::Unsequenced(message) => Heard::Message(message.to_vec()),
            FromClient::Heartbeat | FromClient::Debug(_) => Heard::Nothing,
            FromClient::Logout => Heard::Logout,
        },
    ))
}

async fn hear(stream: &mut ReadHalf<Stream>, decoder: &mut Decoder) -> Result<Heard, CutOff> {
    loop {
        if let Some(heard) = packet(decoder)? {
            return Ok(heard);
        }
        let room = decoder.room();
        match stream.read(room).await {
            Ok(0) | Err(_) => return Err(CutOff::Gone),
            Ok(bytes) => decoder.received(bytes),
        }
    }
}

async fn write(stream: &mut WriteHalf<Stream>, bytes: &[u8]) -> Result<(), CutOff> {
    match tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(CutOff::Gone),
        Err(_) => return Err(CutOff::Slow),
    }
    stream.flush().await.map_err(|_| CutOff::Gone)
}

fn frame(of: u8, payload: &[u8], into: &mut Vec<u8>) {
    // Every payload here is far below the longest.
    let _ = encode(of, payload, into);
}

async fn connection(
    stream: Stream,
    sessions: &OuchSessions,
    metrics: &Arc<Metrics>,
    mut draining: watch::Receiver<bool>,
) -> Result<(), CutOff> {
    let (mut from, mut to) = split(stream);
    let mut decoder = Decoder::new(PAYLOAD_MAX);
    let login = tokio::time::timeout(PATIENCE, async {
        loop {
            match hear(&mut from, &mut decoder).await? {
                Heard::Login(login) => return Ok(login),
                Heard::Nothing => {}
                Heard::Message(_) => return Err(CutOff::NoLogin),
                Heard::Logout => return Err(CutOff::Gone),
            }
        }
    });
    let login = login.await.map_err(|_| CutOff::NoLogin)??;
    let mut out = Vec::new();
    let (session, mut number) = match admit(sessions, &login) {
        Ok(admitted) => admitted,
        Err(code) => {
            tokio::time::sleep(WRONG_WAIT).await; // whoever guesses, guesses slowly
            frame(kind::LOGIN_REJECTED, &[code], &mut out);
            write(&mut to, &out).await?;
            return Err(CutOff::WrongLogin);
        }
    };
    let shard = Arc::clone(&session.desk.shard);
    let id = session.desk.session;
    let accepted = LoginAccepted::new(&id.to_string(), number).map_err(|_| CutOff::NoLogin)?;
    frame(kind::LOGIN_ACCEPTED, accepted.as_bytes(), &mut out);
    write(&mut to, &out).await?;

    let mut latest = session.latest.subscribe();
    let mut own = 0;
    session.latest.send_modify(|login| {
        *login += 1;
        own = *login;
    });
    let (notes, mut noted) = mpsc::channel::<Note>(64);
    let mut entry = Entry {
        session: Arc::clone(&session),
        metrics: Arc::clone(metrics),
        notes,
        answers: VecDeque::new(),
        seen: 0,
    };
    // Heard on a task of its own, so that what goes out does not wait for what comes in.
    let (gone, mut went) = mpsc::channel::<CutOff>(1);
    let hearing = tokio::spawn(async move {
        let end = entry.run(&mut from, &mut decoder).await;
        let _ = gone.send(end).await;
    });
    let mut seen = shard.seen();
    let mut beat = Instant::now();
    let end = loop {
        out.clear();
        {
            let state = shard.state();
            seen.borrow_and_update();
            if number < state.streams.first(id) {
                break Err(CutOff::Slow);
            }
            for message in state.streams.from(id, number) {
                frame(kind::SEQUENCED, message, &mut out);
                number += 1;
                if out.len() >= PIECE {
                    break;
                }
            }
        }
        if out.is_empty() {
            let wait = HEARTBEAT_AFTER.saturating_sub(beat.elapsed());
            tokio::select! {
                _ = seen.changed() => continue,
                () = tokio::time::sleep(wait) => frame(kind::SERVER_HEARTBEAT, &[], &mut out),
                Some(note) = noted.recv() => note.write(&mut out),
                end = went.recv() => break end.map_or(Ok(()), Err),
                () = taken_over(&mut latest, own) => break Err(CutOff::Replaced),
                () = drained(&mut draining) => {
                    frame(kind::DEBUG, b"the gateway is ending; connect again", &mut out);
                    frame(kind::END_OF_SESSION, &[], &mut out);
                    let _ = write(&mut to, &out).await;
                    break Ok(());
                }
            }
        }
        beat = Instant::now();
        if let Err(end) = write(&mut to, &out).await {
            break Err(end);
        }
    };
    hearing.abort();
    let _ = to.shutdown().await;
    match end {
        Err(CutOff::Gone) => Ok(()), // it logged out, or closed
        end => end,
    }
}

/// Comes back when another login has the session.
async fn taken_over(latest: &mut watch::Receiver<u64>, own: u64) {
    let _ = latest.wait_for(|login| *login != own).await;
}

/// The session of a login, and the number that comes next.
fn admit(sessions: &OuchSessions, login: &LoginRequest) -> Result<(Arc<OuchSession>, u64), u8> {
    // The six letters of a user are the beginning of the session's id, where the session is not named whole.
    let named = login.session.as_str().trim();
    let user = login.username.as_str().trim();
    let sessions = sessions.0.read().unwrap_or_else(PoisonError::into_inner);
    let mut found = sessions.iter().filter(|(id, _)| {
        if named.is_empty() {
            user.len() == 6 && id.as_str().ends_with(user)
        } else {
            id.as_str() == named
        }
    });
    let (first, second) = (found.next(), found.next());
    let (Some((_, session)), None) = (first, second) else {
        return Err(rejected::NOT_AUTHORISED);
    };
    let id = session.desk.session;
    let state = session.desk.shard.state();
    let (first, next) = (state.streams.first(id), state.streams.next(id));
    drop(state);
    let number = login.admit(&session.password, first, next)?;
    Ok((Arc::clone(session), number))
}

/// What the gateway itself has to say; not of the stream, so not numbered.
enum Note {
    /// Text for people.
    Debug(String),
    /// The answer to an account query: the next number.
    Account(u32),
}

impl Note {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Note::Debug(text) => frame(kind::DEBUG, text.as_bytes(), out),
            Note::Account(next) => {
                let answer = ring0_itch::ouch::AccountAnswer {
                    header: ring0_itch::ouch::OutboundHeader {
                        letter: ring0_itch::ouch::AccountAnswer::LETTER,
                        timestamp: 0.into(),
                    },
                    next_user_ref: (*next).into(),
                };
                frame(kind::UNSEQUENCED, answer.as_bytes(), out);
            }
        }
    }
}

/// The side that hears.
struct Entry {
    session: Arc<OuchSession>,
    metrics: Arc<Metrics>,
    notes: mpsc::Sender<Note>,
    /// Of what was posted, the oldest first.
    answers: VecDeque<Answered>,
    /// Venue sequence of the last answer.
    seen: u64,
}

impl Entry {
    async fn run(&mut self, from: &mut ReadHalf<Stream>, decoder: &mut Decoder) -> CutOff {
        loop {
            let heard = match tokio::time::timeout(GONE_AFTER, hear(from, decoder)).await {
                Ok(Ok(heard)) => heard,
                Ok(Err(end)) => return end,
                Err(_) => return CutOff::Silent,
            };
            match heard {
                Heard::Message(message) => {
                    if let Err(error) = self.message(&message).await {
                        self.note(error.to_string()).await;
                    }
                }
                Heard::Logout => return CutOff::Gone,
                Heard::Login(_) => return CutOff::Framing,
                Heard::Nothing => {}
            }
        }
    }

    async fn note(&self, text: String) {
        let _ = self.notes.send(Note::Debug(text)).await; // the connection ends
    }

    async fn message(&mut self, bytes: &[u8]) -> Result<(), DeskError> {
        let inbound = match Inbound::read(bytes) {
            Ok(inbound) => inbound,
            Err(error) => {
                self.note(format!("not taken: {error}")).await;
                return Ok(());
            }
        };
        let letter = char::from(bytes[0]).to_string();
        self.metrics.ouch.with_label_values(&[&letter]).inc();
        match inbound {
            Inbound::Enter(it, options) => {
                if self.session.rises(it.user_ref.get()) {
                    let message = self.enter(it, options);
                    self.post(message).await?;
                }
            }
            Inbound::Replace(it, options) => {
                self.settle().await;
                if self.session.rises(it.user_ref.get()) {
                    let message = self.replace(it, options);
                    self.post(message).await?;
                }
            }
            Inbound::Cancel(it, _) => {
                self.settle().await;
                if let Some(message) = self.cancel(it) {
                    self.post(message).await?;
                }
            }
            Inbound::Modify(it, _) => {
                self.settle().await;
                if let Some(message) = self.modify(it) {
                    self.post(message).await?;
                }
            }
            Inbound::AccountQuery(AccountQuery { .. }, _) => {
                self.settle().await;
                let session = self.session.desk.session;
                let last = self
                    .session
                    .desk
                    .shard
                    .state()
                    .orders
                    .last_reference(session);
                let _ = self.notes.send(Note::Account(last.saturating_add(1))).await;
            }
        }
        Ok(())
    }

    async fn post(&mut self, message: Message) -> Result<(), DeskError> {
        if self.answers.len() >= UNANSWERED_MAX {
            self.settle_one().await;
        }
        let order = Order::from_message(message);
        self.answers
            .push_back(self.session.desk.post(vec![(order, None)])?);
        Ok(())
    }

    /// Waits for the oldest answer that is still to come.
    async fn settle_one(&mut self) {
        let Some(answer) = self.answers.pop_front() else {
            return;
        };
        match answer.await.unwrap_or(Err(DeskError::Ending)) {
            Ok(acks) => {
                let last = acks.iter().map(|it| it.venue_sequence).max();
                self.seen = self.seen.max(last.unwrap_or(0));
            }
            Err(error) => self.note(format!("not taken: {error}")).await,
        }
    }

    /// Waits until what was posted is answered and in the records: what follows is about it.
    async fn settle(&mut self) {
        while !self.answers.is_empty() {
            self.settle_one().await;
        }
        let shard = &self.session.desk.shard;
        let _ = shard.wait_for(self.seen, Duration::from_secs(2)).await;
    }

    fn instrument(&self, symbol: &str) -> Option<&Instrument> {
        self.session.desk.shard.venue.instrument(symbol).ok()
    }

    /// A new order. What it asks that there is not is a field that the engine refuses.
    fn enter(&self, it: &Enter, options: Appendage<'_>) -> Message {
        let instrument = self.instrument(it.symbol.as_str());
        let mut flags = match it.time_in_force {
            time_in_force::DAY | time_in_force::EXTENDED => Flags(0),
            time_in_force::IOC => Flags(ring0_trader::TimeInForce::ImmediateOrCancel as u16),
            time_in_force::GOOD_TILL_TIME => Flags(ring0_trader::TimeInForce::GoodTillTime as u16),
            _ => Flags(0b111), // no time in force of ours
        };
        match it.display {
            display::VISIBLE => {}
            display::HIDDEN => flags = flags.with(Flags::HIDDEN),
            _ => flags = flags.with(NO_FLAG),
        }
        if it.intermarket_sweep == b'Y' || it.cross_type != b'N' {
            flags = flags.with(NO_FLAG);
        }
        let mut message = Message {
            letter: b'A',
            locate: instrument.map_or(NO_LOCATE, Instrument::locate),
            reference: it.user_ref.get(),
            side: it.side,
            shares: it.quantity.get(),
            stock: STOCK_SPACES,
            price: u32::try_from(it.price.get()).unwrap_or(u32::MAX),
            flags,
            ..Message::default()
        };
        for option in options.options() {
            let number = option.number().and_then(|it| u32::try_from(it).ok());
            let number = number.unwrap_or(u32::MAX); // above whatever it is compared with
            match (option.tag, option.value) {
                // Said about the client, and without a meaning to matching.
                (option::FIRM | option::CUSTOMER_TYPE | option::GROUP_ID, _)
                | (option::SHARES_LOCATED, _)
                | (option::POST_ONLY, [b'N'])
                | (option::PRICE_TYPE, [b'L']) => {}
                (option::MINIMUM_QUANTITY, _) => message.minimum = number,
                (option::MAX_FLOOR | option::DISPLAY_QUANTITY, _) => message.display = number,
                (option::POST_ONLY, [b'P']) => {
                    message.flags = message.flags.with(Flags::POST_REJECT);
                }
                (option::PRICE_TYPE, [b'M']) => message.peg = PEG_MIDPOINT,
                (option::PRICE_TYPE, [b'R']) => message.peg = PEG_PRIMARY,
                (option::PEG_OFFSET, _) => {
                    let tick = instrument.map_or(1, |it| it.tick_size.cast_signed());
                    let offset = option.signed().filter(|offset| offset % tick == 0);
                    match offset.and_then(|it| i8::try_from(it / tick).ok()) {
                        Some(ticks) => message.peg_offset_ticks = ticks,
                        None => message.flags = message.flags.with(NO_FLAG),
                    }
                }
                (option::EXPIRE_TIME, _) => {
                    // Seconds from now; what passes midnight is refused.
                    let day = crate::clock::unix_now_ns() / 1_000_000_000 % 86_400;
                    message.expiry_s = number.saturating_add(day as u32);
                }
                _ => message.flags = message.flags.with(NO_FLAG),
            }
        }
        let is_extended = message.minimum != 0
            || message.display != 0
            || message.peg != 0
            || message.expiry_s != 0
            || message.peg_offset_ticks != 0;
        if is_extended {
            message.letter = b'O';
        }
        message
    }

    /// The order that a number names, as the records have it: where it is, its shares in all, those executed, those open.
    fn known(&self, number: u32) -> Option<Known> {
        let desk = &self.session.desk;
        let state = desk.shard.state();
        let order = state.orders.by_reference(desk.session, number)?;
        if order.status == Status::Rejected {
            return None;
        }
        let it = desk
            .shard
            .venue
            .instruments
            .get(order.instrument as usize)?;
        let shares = |lots: u32| lots.saturating_mul(it.lot_size);
        let executed = shares(order.filled_before.saturating_add(order.filled));
        Some(Known {
            locate: it.locate(),
            reference: order.reference,
            side: order.side,
            executed,
            open: shares(order.open()),
            time: order.flags.time(),
            is_hidden: order.flags.has(Flags::HIDDEN),
        })
    }

    /// New terms for an order. Its time in force and display stay; others are refused.
    fn replace(&self, it: &Replace, options: Appendage<'_>) -> Message {
        let known = self.known(it.original_user_ref.get());
        let is_same = known.as_ref().is_none_or(|known| {
            let time = match it.time_in_force {
                time_in_force::DAY | time_in_force::EXTENDED => 0,
                time_in_force::GOOD_TILL_TIME => ring0_trader::TimeInForce::GoodTillTime as u8,
                _ => u8::MAX,
            };
            let display = if known.is_hidden {
                display::HIDDEN
            } else {
                display::VISIBLE
            };
            time == known.time && it.display == display
        });
        let is_plain = options.options().next().is_none() && it.intermarket_sweep != b'Y';
        let executed = known.as_ref().map_or(0, |it| it.executed);
        Message {
            letter: b'U',
            locate: known.as_ref().map_or(1, |it| it.locate),
            // No order has number 0: the engine refuses it.
            reference: if is_same && is_plain {
                known.map_or(it.original_user_ref.get(), |it| it.reference)
            } else {
                0
            },
            new_reference: it.user_ref.get(),
            shares: it.quantity.get().saturating_sub(executed),
            price: u32::try_from(it.price.get()).unwrap_or(u32::MAX),
            ..Message::default()
        }
    }

    /// A cancel to so many shares in all, those executed included; `None`: it has no more than that.
    fn cancel(&self, it: &Cancel) -> Option<Message> {
        let number = it.user_ref.get();
        let Some(known) = self.known(number) else {
            return Some(cancel_of(1, number)); // the engine says that there is none
        };
        let total = it.quantity.get();
        if total <= known.executed {
            return Some(cancel_of(known.locate, known.reference));
        }
        let fewer = (known.executed + known.open).saturating_sub(total);
        (fewer != 0 || known.open == 0).then(|| reduce_of(&known, fewer))
    }

    /// Fewer shares under the same side; a change of side has no meaning here and is refused.
    fn modify(&self, it: &Modify) -> Option<Message> {
        let number = it.user_ref.get();
        let known = self.known(number);
        match known {
            Some(known) if it.side == known.side => {
                let fewer = (known.executed + known.open).saturating_sub(it.quantity.get());
                (fewer != 0).then(|| reduce_of(&known, fewer))
            }
            Some(known) => Some(reduce_of(&known, 0)), // of no shares: refused
            None => Some(cancel_of(1, number)),
        }
    }
}

struct Known {
    locate: u16,
    reference: u32,
    side: u8,
    executed: u32,
    open: u32,
    time: u8,
    is_hidden: bool,
}

fn cancel_of(locate: u16, reference: u32) -> Message {
    Message {
        letter: b'D',
        locate,
        reference,
        ..Message::default()
    }
}

fn reduce_of(known: &Known, shares: u32) -> Message {
    Message {
        letter: b'X',
        locate: known.locate,
        reference: known.reference,
        shares,
        ..Message::default()
    }
}
