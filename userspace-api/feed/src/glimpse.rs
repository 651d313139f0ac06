//! The GLIMPSE server: the picture of the market over SoupBinTCP, for whoever joins late.
//!
//! A thread a client, so many at most. A client that does not take its snapshot in time is cut off: its memory is one shared
//! copy, and the feed never waits for it.

use crate::counters::{Counters, add};
use crate::follow::{Note, Snapshot};
use ring0_itch::soup::{
    Decoder, FromClient, HEARTBEAT_AFTER, LoginAccepted, encode, kind, rejected,
};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Bytes of a client's packet at most; a login has 46.
const CLIENT_PAYLOAD_MAX: usize = 256;

/// How clients are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GlimpseOptions {
    /// Clients at a time; more are turned away.
    pub clients_max: usize,
    /// How long a client may take to log in, and to go when its snapshot has ended.
    pub patience: Duration,
    /// A snapshot is to be taken at this rate at least, in bytes a second, after the patience.
    pub bytes_per_second_min: u64,
}

impl Default for GlimpseOptions {
    /// 64 clients; 5 seconds; 1 MB a second.
    fn default() -> Self {
        GlimpseOptions {
            clients_max: 64,
            patience: Duration::from_secs(5),
            bytes_per_second_min: 1 << 20,
        }
    }
}

/// What the server's threads work with.
#[derive(Clone)]
pub(crate) struct Glimpse {
    pub(crate) options: GlimpseOptions,
    pub(crate) follower: Arc<Mutex<Sender<Note>>>,
    pub(crate) counters: Arc<Counters>,
}

/// Why a client was cut off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutOff {
    #[error(transparent)]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Soup(#[from] ring0_itch::soup::SoupError),
    #[error("the client said something else than a login")]
    NoLogin,
    #[error("the client has gone, or was too slow")]
    TooSlow,
    #[error("the feed ends")]
    Ended,
}

impl Glimpse {
    /// Accepts clients until told to stop. The listener does not block.
    pub(crate) fn serve(&self, listener: &TcpListener, stop: &Arc<AtomicBool>) {
        let clients = Arc::new(AtomicUsize::new(0));
        while !stop.load(Ordering::Acquire) {
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            if clients.fetch_add(1, Ordering::AcqRel) >= self.options.clients_max {
                clients.fetch_sub(1, Ordering::AcqRel);
                add(&self.counters.snapshots_refused, 1);
                let mut answer = Vec::new();
                let refused = [rejected::SESSION_NOT_AVAILABLE];
                let _ = encode(kind::LOGIN_REJECTED, &refused, &mut answer);
                let _ = stream.set_nonblocking(true);
                let _ = (&stream).write_all(&answer);
                continue;
            }
            let (server, clients) = (self.clone(), Arc::clone(&clients));
            let stop = Arc::clone(stop);
            std::thread::spawn(move || {
                match server.client(&stream, &stop) {
                    Ok(true) => add(&server.counters.snapshots, 1),
                    Ok(false) => {}
                    Err(_) => add(&server.counters.snapshots_cut_off, 1),
                }
                clients.fetch_sub(1, Ordering::AcqRel);
            });
        }
    }

    /// Serves one client; whether it got a snapshot.
    fn client(&self, stream: &TcpStream, stop: &AtomicBool) -> Result<bool, CutOff> {
        stream.set_nonblocking(false)?; // inherited from the listener on some systems
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.set_write_timeout(Some(Duration::from_millis(100)))?;
        let mut decoder = Decoder::new(CLIENT_PAYLOAD_MAX);
        let until = Instant::now() + self.options.patience;
        let wanted = loop {
            if let Some(packet) = decoder.next_packet()? {
                match packet.from_client()? {
                    FromClient::Login(login) => break login.session,
                    FromClient::Heartbeat | FromClient::Debug(_) => continue,
                    FromClient::Logout => return Ok(false),
                    FromClient::Unsequenced(_) => return Err(CutOff::NoLogin),
                }
            }
            if !receive(stream, &mut decoder, until, stop)? {
                return Err(CutOff::NoLogin);
            }
        };
        let snapshot = self.ask().ok_or(CutOff::Ended)?;
        let mut head = Vec::new();
        let session = snapshot.session.as_str();
        let is_ours = wanted.is_blank() || wanted.as_str() == session;
        if !is_ours {
            encode(
                kind::LOGIN_REJECTED,
                &[rejected::SESSION_NOT_AVAILABLE],
                &mut head,
            )?;
            send(stream, &head, until, stop)?;
            return Ok(false);
        }
        match LoginAccepted::new(session, 1) {
            Ok(accepted) => encode(kind::LOGIN_ACCEPTED, accepted.as_bytes(), &mut head)?,
            Err(_) => return Err(CutOff::Ended), // a session has ten letters
        }
        let rate = self.options.bytes_per_second_min.max(1);
        let allowance = Duration::from_secs(snapshot.bytes.len() as u64 / rate);
        let until = Instant::now() + self.options.patience + allowance;
        send(stream, &head, until, stop)?;
        send(stream, &snapshot.bytes, until, stop)?;
        // The client logs out or closes; one that does neither is closed.
        let until = Instant::now() + self.options.patience;
        let mut beat = Instant::now();
        loop {
            while let Some(packet) = decoder.next_packet()? {
                if packet.from_client()? == FromClient::Logout {
                    return Ok(true);
                }
            }
            if beat.elapsed() >= HEARTBEAT_AFTER {
                beat = Instant::now();
                let mut bytes = Vec::new();
                encode(kind::SERVER_HEARTBEAT, &[], &mut bytes)?;
                if send(stream, &bytes, until, stop).is_err() {
                    return Ok(true);
                }
            }
            let soon = until.min(Instant::now() + HEARTBEAT_AFTER);
            match receive(stream, &mut decoder, soon, stop) {
                Ok(true) => {}
                Ok(false) if Instant::now() < until && !stop.load(Ordering::Acquire) => {}
                // It has everything, however it goes.
                _ => return Ok(true),
            }
        }
    }

    fn ask(&self) -> Option<Snapshot> {
        let (answer, given) = channel();
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        follower.send(Note::Ask(answer)).ok()?;
        drop(follower);
        given.recv_timeout(Duration::from_secs(30)).ok()
    }
}

/// Receives some bytes; false when the time is over.
///
/// # Errors
/// The stream's; a closed one is `TooSlow`.
pub(crate) fn receive(
    mut stream: &TcpStream,
    decoder: &mut Decoder,
    until: Instant,
    stop: &AtomicBool,
) -> Result<bool, CutOff> {
    loop {
        match stream.read(decoder.room()) {
            Ok(0) => return Err(CutOff::TooSlow),
            Ok(bytes) => {
                decoder.received(bytes);
                return Ok(true);
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= until || stop.load(Ordering::Acquire) {
            return Ok(false);
        }
    }
}

/// Sends all of it, in time.
pub(crate) fn send(
    mut stream: &TcpStream,
    mut bytes: &[u8],
    until: Instant,
    stop: &AtomicBool,
) -> Result<(), CutOff> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(CutOff::TooSlow),
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if !bytes.is_empty() && (Instant::now() >= until || stop.load(Ordering::Acquire)) {
            return Err(CutOff::TooSlow);
        }
    }
    Ok(())
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
