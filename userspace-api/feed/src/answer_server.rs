//! The full answers, served: each session's OUCH stream and each account's drop copy, over SoupBinTCP and over MoldUDP64.
//!
//! A thread takes records and appends to the streams; whoever serves reads them at its own pace, so a slow client costs nobody
//! anything. Streams are read-only: orders come by packets.

use crate::answer_access::Access;
use crate::answer_mold_server::MoldServer;
use crate::answer_soup_server;
use crate::answer_streams::Streams;
use crate::answer_subscribers::SubscriptionOptions;
use crate::answers::Answers;
use crate::counters::AnswerCounters;
use ring0_itch::mold::Session;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What opens a stream, by its name: a session's id, or [`drop_copy`](crate::drop_copy) of an account. `None`: nobody may read it.
pub type Keys = Box<dyn Fn(Session) -> Option<Access> + Send + Sync>;

/// What a server is made of.
pub struct AnswerOptions {
    /// Where it serves SoupBinTCP; `None`: not.
    pub soup: Option<SocketAddr>,
    /// Where it serves MoldUDP64; `None`: not. Answers come from here, so it must be an address of this machine where clients know it by one.
    pub mold: Option<SocketAddr>,
    /// Who may read what.
    pub access: Keys,
    /// SoupBinTCP clients at a time.
    pub clients_max: usize,
    /// Bytes of each stream that are kept; a client that wants older ones begins with the oldest kept.
    pub stream_bytes: usize,
    /// A SoupBinTCP client that takes nothing for so long is cut off.
    pub patience: Duration,
    /// How MoldUDP64 is served.
    pub subscriptions: SubscriptionOptions,
}

impl AnswerOptions {
    /// Nothing served yet; 256 clients, 64 MiB of each stream, 5 seconds.
    #[must_use]
    pub fn new(access: Keys) -> AnswerOptions {
        AnswerOptions {
            soup: None,
            mold: None,
            access,
            clients_max: 256,
            stream_bytes: 64 << 20,
            patience: Duration::from_secs(5),
            subscriptions: SubscriptionOptions::default(),
        }
    }
}

const PAYLOAD: std::ops::RangeInclusive<usize> = SubscriptionOptions::PAYLOAD;

/// Why a server could not begin.
#[derive(Debug, thiserror::Error)]
pub enum AnswerServerError {
    /// A socket.
    #[error(
        "cannot serve answers over {protocol} at {address}; check the address and whether the port is free: {source}"
    )]
    Socket {
        /// TCP or UDP.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Datagrams too small for a message, or larger than what is tagged.
    #[error("answers cannot go in datagrams of {found} bytes; give {} to {}", PAYLOAD.start(), PAYLOAD.end())]
    PayloadMax {
        /// What was given.
        found: usize,
    },
    /// The system has no random bytes for cookies.
    #[error("no random bytes: {source}; try again when the system has started")]
    Random {
        /// Why.
        source: io::Error,
    },
}

/// What the server's threads share.
pub(crate) struct Shared {
    streams: Mutex<Streams>,
    /// Said when the streams have grown.
    pub(crate) grown: Condvar,
    pub(crate) options: AnswerOptions,
    pub(crate) stop: AtomicBool,
    pub(crate) counters: Arc<AnswerCounters>,
}

impl Shared {
    pub(crate) fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody says that the streams have grown, at most so long.
    pub(crate) fn wait<'a>(
        &self,
        streams: MutexGuard<'a, Streams>,
        at_most: Duration,
    ) -> MutexGuard<'a, Streams> {
        let waited = self.grown.wait_timeout(streams, at_most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// A server at work.
pub struct AnswerServer {
    shared: Arc<Shared>,
    records: Sender<Vec<u8>>,
    threads: Vec<JoinHandle<()>>,
    soup: Option<SocketAddr>,
    mold: Option<SocketAddr>,
}

impl AnswerServer {
    /// Opens the sockets, and takes records from [`AnswerServer::tap`].
    ///
    /// # Errors
    /// An address cannot be served at, or datagrams would be too small or too large.
    pub fn start(
        answers: Answers,
        options: AnswerOptions,
    ) -> Result<AnswerServer, AnswerServerError> {
        let found = options.subscriptions.payload_max;
        if !PAYLOAD.contains(&found) {
            return Err(AnswerServerError::PayloadMax { found });
        }
        let failed = |protocol, address| {
            move |source| AnswerServerError::Socket {
                protocol,
                address,
                source,
            }
        };
        let listener = match options.soup {
            None => None,
            Some(address) => Some(listen(address).map_err(failed("TCP", address))?),
        };
        let soup = listener.as_ref().map(|(_, address)| *address);
        let mut secret = [0; 32];
        let mold_address = options.mold;
        let shared = Arc::new(Shared {
            streams: Mutex::new(Streams::new(options.stream_bytes)),
            grown: Condvar::new(),
            options,
            stop: AtomicBool::new(false),
            counters: Arc::new(AnswerCounters::default()),
        });
        let server = match mold_address {
            None => None,
            Some(address) => {
                rustix::rand::getrandom(&mut secret[..], rustix::rand::GetRandomFlags::empty())
                    .map_err(|error| AnswerServerError::Random {
                        source: error.into(),
                    })?;
                let server = MoldServer::bind(Arc::clone(&shared), address, secret);
                Some(server.map_err(failed("UDP", address))?)
            }
        };
        let (records, taken) = channel();
        let mut threads = Vec::new();
        let taker = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || take(&taker, answers, &taken)));
        if let Some((listener, _)) = listener {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || {
                answer_soup_server::accept(&shared, &listener);
            }));
        }
        let mold = server.as_ref().map(MoldServer::address);
        threads.extend(server.into_iter().flat_map(MoldServer::start));
        Ok(AnswerServer {
            shared,
            records,
            threads,
            soup,
            mold,
        })
    }

    /// Where records go: the same bytes, in the same order, as the feed gets.
    #[must_use]
    pub fn tap(&self) -> Sender<Vec<u8>> {
        self.records.clone()
    }

    /// Where it serves SoupBinTCP.
    #[must_use]
    pub fn soup(&self) -> Option<SocketAddr> {
        self.soup
    }

    /// Where it serves MoldUDP64.
    #[must_use]
    pub fn mold(&self) -> Option<SocketAddr> {
        self.mold
    }

    /// Number of a stream's next message; 1 where there is none yet.
    #[must_use]
    pub fn next(&self, stream: Session) -> u64 {
        self.shared.streams().range(stream).1
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<AnswerCounters> {
        &self.shared.counters
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

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Takes records until the server ends, or they are wrong.
fn take(shared: &Shared, mut answers: Answers, records: &Receiver<Vec<u8>>) {
    while let Ok(bytes) = records.recv() {
        if shared.stopping() {
            return;
        }
        let mut streams = shared.streams();
        let fed = answers.feed(&bytes, &mut *streams);
        streams.version += 1;
        drop(streams);
        shared.grown.notify_all();
        if let Err(error) = fed {
            eprintln!("ring0 feed: no more answers: {error}");
            return;
        }
    }
}
