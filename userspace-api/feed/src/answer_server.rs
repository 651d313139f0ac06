//! The full answers, served: each session's OUCH stream and each account's drop copy over SoupBinTCP, from any number on.
//!
//! A thread takes records and appends to the streams; each client's thread reads its stream at its own pace, so a slow one
//! costs nobody anything and is cut off when it takes nothing for a while. Streams are read-only: orders come by packets.
//! Invariant of a stream: its messages are numbered from 1 without a gap; the oldest may be given up, never one in between.

use crate::answers::{AnswerSink, Answers};
use crate::glimpse::{CutOff, receive, send};
use ring0_itch::Text;
use ring0_itch::mold::Session;
use ring0_itch::soup::{
    Decoder, FromClient, GONE_AFTER, HEARTBEAT_AFTER, LoginAccepted, LoginRequest, encode, kind,
    rejected,
};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Ten letters that open a stream.
pub type Password = Text<10>;

/// Bytes that a message is counted as beside its own.
const MESSAGE_OVERHEAD: usize = 48;

/// Bytes sent to a client between two looks at its stream.
const PIECE: usize = 64 << 10;

/// The password of a stream from a session's key, so that venue and trader need no other secret. `purpose` keeps those of
/// different streams apart. 50 bits of BLAKE3.
#[must_use]
pub fn password_of(key: &[u8; 16], purpose: &str) -> Password {
    let mut hasher = blake3::Hasher::new_derive_key("ring0 2026 answers password");
    hasher.update(key);
    hasher.update(purpose.as_bytes());
    let hash = hasher.finalize();
    let letters = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut number = u64::from_le_bytes(std::array::from_fn(|at| hash.as_bytes()[at]));
    Text(std::array::from_fn(|_| {
        let letter = letters[(number % 32) as usize];
        number /= 32;
        letter
    }))
}

/// The stream of an account's drop copy.
#[must_use]
pub fn drop_copy(account: u32) -> Session {
    let mut name = *b"D000000000";
    let mut rest = account;
    for place in name[1..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    Text(name)
}

/// What a server is made of.
pub struct AnswerOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// The password of a stream: a session's id, or [`drop_copy`] of an account. `None`: nobody may read it.
    pub password: Box<dyn Fn(Session) -> Option<Password> + Send + Sync>,
    /// Clients at a time.
    pub clients_max: usize,
    /// Bytes of each stream that are kept; a client that wants older ones begins with the oldest kept.
    pub stream_bytes: usize,
    /// A client that takes nothing for so long is cut off.
    pub patience: Duration,
}

/// One stream.
#[derive(Default)]
struct Stream {
    /// Number of the first message kept.
    first: u64,
    messages: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Stream {
    fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }
}

/// All streams. Writer: the thread that takes records.
#[derive(Default)]
struct Streams {
    by_name: HashMap<Session, Stream>,
    /// Id of each session index.
    ids: HashMap<u32, Session>,
}

struct Shared {
    streams: Mutex<Streams>,
    grown: Condvar,
    options: AnswerOptions,
    stop: AtomicBool,
    cut_off: AtomicU64,
    rejected: AtomicU64,
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn append(&mut self, name: Session, message: &[u8], bytes_max: usize) {
        let stream = self.by_name.entry(name).or_insert_with(|| Stream {
            first: 1,
            ..Stream::default()
        });
        stream.bytes += message.len() + MESSAGE_OVERHEAD;
        stream.messages.push_back(message.into());
        while stream.bytes > bytes_max && stream.messages.len() > 1 {
            if let Some(oldest) = stream.messages.pop_front() {
                stream.bytes -= oldest.len() + MESSAGE_OVERHEAD;
                stream.first += 1;
            }
        }
    }
}

/// Appends to the streams under their lock.
struct Append<'a> {
    streams: MutexGuard<'a, Streams>,
    bytes_max: usize,
}

impl AnswerSink for Append<'_> {
    fn granted(&mut self, session: u32, _: u32, id: Session) {
        self.streams.ids.insert(session, id);
    }

    fn answer(&mut self, session: Option<u32>, account: u32, answer: &[u8]) {
        if let Some(id) = session.and_then(|session| self.streams.ids.get(&session).copied()) {
            self.streams.append(id, answer, self.bytes_max);
        }
        self.streams
            .append(drop_copy(account), answer, self.bytes_max);
    }
}

/// A server at work.
pub struct AnswerServer {
    shared: Arc<Shared>,
    records: Sender<Vec<u8>>,
    threads: Vec<JoinHandle<()>>,
    address: SocketAddr,
}

impl AnswerServer {
    /// Listens, and takes records from [`AnswerServer::tap`].
    ///
    /// # Errors
    /// The address cannot be listened to.
    pub fn start(answers: Answers, options: AnswerOptions) -> io::Result<AnswerServer> {
        let listener = TcpListener::bind(options.address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            streams: Mutex::default(),
            grown: Condvar::new(),
            options,
            stop: AtomicBool::new(false),
            cut_off: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        });
        let (records, taken) = channel();
        let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || take(&one, answers, &taken)),
            std::thread::spawn(move || accept(&other, &listener)),
        ];
        Ok(AnswerServer {
            shared,
            records,
            threads,
            address,
        })
    }

    /// Where records go: the same bytes, in the same order, as the feed gets.
    #[must_use]
    pub fn tap(&self) -> Sender<Vec<u8>> {
        self.records.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of a stream's next message; 1 where there is none yet.
    #[must_use]
    pub fn next(&self, stream: Session) -> u64 {
        let streams = self.shared.streams();
        streams.by_name.get(&stream).map_or(1, Stream::next)
    }

    /// Clients that were cut off, and logins that were rejected.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.shared.cut_off), count(&self.shared.rejected))
    }
}

impl Drop for AnswerServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let _ = self.records.send(Vec::new()); // wakes it
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // its panic has been printed
        }
    }
}

/// Takes records until the server ends, or they are wrong.
fn take(shared: &Shared, mut answers: Answers, records: &Receiver<Vec<u8>>) {
    while let Ok(bytes) = records.recv() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let mut append = Append {
            streams: shared.streams(),
            bytes_max: shared.options.stream_bytes,
        };
        let fed = answers.feed(&bytes, &mut append);
        drop(append);
        shared.grown.notify_all();
        if let Err(error) = fed {
            eprintln!("ring0 feed: no more answers: {error}");
            return;
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let clients = Arc::new(AtomicUsize::new(0));
    while !shared.stop.load(Ordering::Acquire) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        if clients.fetch_add(1, Ordering::AcqRel) >= shared.options.clients_max {
            clients.fetch_sub(1, Ordering::AcqRel);
            shared.rejected.fetch_add(1, Ordering::Relaxed);
            continue; // closed
        }
        let (shared, clients) = (Arc::clone(shared), Arc::clone(&clients));
        std::thread::spawn(move || {
            if serve(&shared, &stream).is_err() && !shared.stop.load(Ordering::Acquire) {
                shared.cut_off.fetch_add(1, Ordering::Relaxed);
            }
            clients.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

/// Serves a client until it logs out.
fn serve(shared: &Shared, stream: &TcpStream) -> Result<(), CutOff> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    stream.set_write_timeout(Some(Duration::from_millis(100)))?;
    let mut decoder = Decoder::new(256);
    let until = Instant::now() + shared.options.patience;
    let login = loop {
        if let Some(packet) = decoder.next_packet()? {
            match packet.from_client()? {
                FromClient::Login(login) => break *login,
                FromClient::Heartbeat | FromClient::Debug(_) => continue,
                FromClient::Logout => return Ok(()),
                FromClient::Unsequenced(_) => return Err(CutOff::NoLogin),
            }
        }
        if !receive(stream, &mut decoder, until, &shared.stop)? {
            return Err(CutOff::NoLogin);
        }
    };
    let mut out = Vec::new();
    let (name, mut next) = match admit(shared, &login) {
        Ok(admitted) => admitted,
        Err(code) => {
            shared.rejected.fetch_add(1, Ordering::Relaxed);
            // Whoever guesses, guesses slowly.
            std::thread::sleep(Duration::from_millis(200));
            encode(kind::LOGIN_REJECTED, &[code], &mut out)?;
            return send(stream, &out, until, &shared.stop);
        }
    };
    match LoginAccepted::new(name.as_str(), next) {
        Ok(accepted) => encode(kind::LOGIN_ACCEPTED, accepted.as_bytes(), &mut out)?,
        Err(_) => return Err(CutOff::NoLogin), // a stream that was found has ten letters
    }
    // Hears the client on a thread of its own, so that a wait for answers does not wait for it.
    let (gone, mut beat) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = listen(stream, &mut decoder, &gone, &shared.stop);
            gone.store(true, Ordering::Release);
            shared.grown.notify_all();
        });
        let result = loop {
            if gone.load(Ordering::Acquire) || shared.stop.load(Ordering::Acquire) {
                break Ok(());
            }
            if let Err(error) = gather(shared, name, &mut next, &mut out) {
                break Err(error);
            }
            let is_quiet = out.is_empty() && beat.elapsed() >= HEARTBEAT_AFTER;
            if is_quiet && let Err(error) = encode(kind::SERVER_HEARTBEAT, &[], &mut out) {
                break Err(error.into());
            }
            if out.is_empty() {
                continue;
            }
            beat = Instant::now();
            let until = beat + shared.options.patience;
            if let Err(error) = send(stream, &out, until, &shared.stop) {
                break Err(error);
            }
            out.clear();
        };
        gone.store(true, Ordering::Release);
        result
    })
}

/// Whether a login may read a stream, and from which number on.
fn admit(shared: &Shared, login: &LoginRequest) -> Result<(Session, u64), u8> {
    let name = Session::new(login.session.as_str()).map_err(|_| rejected::SESSION_NOT_AVAILABLE)?;
    let password = (shared.options.password)(name).ok_or(rejected::NOT_AUTHORISED)?;
    let differs = password
        .0
        .iter()
        .zip(login.password.0)
        .fold(0, |all, (a, b)| all | (a ^ b));
    if differs != 0 {
        return Err(rejected::NOT_AUTHORISED);
    }
    let wanted = login
        .sequence
        .get()
        .map_err(|_| rejected::SESSION_NOT_AVAILABLE)?;
    let streams = shared.streams();
    let (first, end) = streams
        .by_name
        .get(&name)
        .map_or((1, 1), |stream| (stream.first, stream.next()));
    let next = if wanted == 0 {
        end
    } else {
        wanted.clamp(first, end)
    };
    Ok((name, next))
}

/// The next messages of a stream as packets, waiting a little where there are none.
fn gather(shared: &Shared, name: Session, next: &mut u64, out: &mut Vec<u8>) -> Result<(), CutOff> {
    let mut streams = shared.streams();
    let is_new = |streams: &Streams| {
        streams
            .by_name
            .get(&name)
            .is_some_and(|it| it.next() > *next)
    };
    if !is_new(&streams) && out.is_empty() {
        let wait = Duration::from_millis(100);
        let waited = shared.grown.wait_timeout(streams, wait);
        streams = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    let Some(stream) = streams.by_name.get(&name) else {
        return Ok(());
    };
    // A client may be slower than what is kept: it would miss messages, and must begin anew.
    let at = next.checked_sub(stream.first).ok_or(CutOff::TooSlow)?;
    for message in stream.messages.iter().skip(at as usize) {
        if out.len() >= PIECE {
            break;
        }
        encode(kind::SEQUENCED, message, out)?;
        *next += 1;
    }
    Ok(())
}

/// Hears a client until it goes: it says so, closes, or is silent for too long.
fn listen(
    stream: &TcpStream,
    decoder: &mut Decoder,
    gone: &AtomicBool,
    stop: &AtomicBool,
) -> Result<(), CutOff> {
    let mut heard = Instant::now();
    while !gone.load(Ordering::Acquire) && !stop.load(Ordering::Acquire) {
        while let Some(packet) = decoder.next_packet()? {
            heard = Instant::now();
            if packet.from_client()? == FromClient::Logout {
                return Ok(());
            }
        }
        let soon = Instant::now() + Duration::from_millis(50);
        receive(stream, decoder, soon, stop)?;
        if heard.elapsed() >= GONE_AFTER {
            return Err(CutOff::TooSlow);
        }
    }
    Ok(())
}
