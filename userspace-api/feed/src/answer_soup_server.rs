//! Answers over SoupBinTCP: a login names a stream and the number to begin with.
//!
//! Each client's thread reads its stream at its own pace; one that takes nothing for a while is cut off.

use crate::answer_server::Shared;
use crate::answer_streams::Streams;
use crate::counters::add;
use crate::glimpse::{CutOff, receive, send};
use ring0_itch::mold::Session;
use ring0_itch::soup::{
    Decoder, FromClient, GONE_AFTER, HEARTBEAT_AFTER, LoginAccepted, LoginRequest, encode, kind,
    rejected,
};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Bytes sent to a client between two looks at its stream.
const PIECE: usize = 64 << 10;

/// Accepts clients until the server is to stop. The listener does not block.
pub(crate) fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let clients = Arc::new(AtomicUsize::new(0));
    while !shared.stopping() {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        if clients.fetch_add(1, Ordering::AcqRel) >= shared.options.clients_max {
            clients.fetch_sub(1, Ordering::AcqRel);
            add(&shared.counters.logins_rejected, 1);
            continue; // closed
        }
        let (shared, clients) = (Arc::clone(shared), Arc::clone(&clients));
        std::thread::spawn(move || {
            if serve(&shared, &stream).is_err() && !shared.stopping() {
                add(&shared.counters.clients_cut_off, 1);
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
            add(&shared.counters.logins_rejected, 1);
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
            if gone.load(Ordering::Acquire) || shared.stopping() {
                break Ok(());
            }
            let ended = match gather(shared, name, &mut next, &mut out) {
                Ok(ended) => ended,
                Err(error) => break Err(error),
            };
            if ended && let Err(error) = encode(kind::END_OF_SESSION, &[], &mut out) {
                break Err(error.into());
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
            if ended {
                // Closed before the client has read it, the connection could take the end with it.
                while !gone.load(Ordering::Acquire) && !shared.stopping() && Instant::now() < until
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                break Ok(());
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
    let access = (shared.options.access)(name).ok_or(rejected::NOT_AUTHORISED)?;
    let (first, end) = shared.streams().range(name);
    let next = login.admit(&access.password, first, end)?;
    Ok((name, next))
}

/// The next messages of a stream as packets, waiting a little where there are none. Whether the stream has ended behind them.
fn gather(
    shared: &Shared,
    name: Session,
    next: &mut u64,
    out: &mut Vec<u8>,
) -> Result<bool, CutOff> {
    let mut streams = shared.streams();
    let has_news = |streams: &Streams| {
        let stream = streams.get(name);
        stream.is_some_and(|it| it.next() > *next || it.ended())
    };
    if !has_news(&streams) && out.is_empty() {
        streams = shared.wait(streams, Duration::from_millis(100));
    }
    let Some(stream) = streams.get(name) else {
        return Ok(false);
    };
    // A client may be slower than what is kept: it would miss messages, and must begin anew.
    if *next < stream.first() {
        return Err(CutOff::TooSlow);
    }
    for message in stream.from(*next) {
        if out.len() >= PIECE {
            break;
        }
        encode(kind::SEQUENCED, message, out)?;
        *next += 1;
    }
    Ok(stream.ended() && *next == stream.next())
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
