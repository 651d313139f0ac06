//! A feed at work: records in, packets out, requests and snapshots served.
//!
//! Threads: the caller's translates and publishes; the follower keeps picture and journal; one answers requests; one accepts
//! snapshot clients, and each of these has its own. Only the first one is in the way of a packet, and it waits for none.

use crate::counters::Counters;
use crate::follow::{Note, SharedJournal, follow};
use crate::glimpse::{Glimpse, GlimpseOptions};
use crate::history::{History, Journal};
use crate::line::Line;
use crate::picture::Picture;
use crate::publish::{PacketOptions, Publisher};
use crate::rerequest::{RequestOptions, Requests};
use crate::source::Source;
use crate::translate::{Sink, TranslateError, Translator};
use ring0_itch::itch::LONGEST;
use ring0_itch::mold::{BLOCK_LENGTH, HEADER, Session};
use ring0_rings::RingError;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Slots that are translated before a packet's age and the heartbeats are looked at: some 50 µs of work.
const BATCH_SLOTS: u64 = 512;

/// How long the publisher sleeps when the ring has nothing: a busy one, and one that was quiet for a tenth of a second.
const NAPS: [Duration; 2] = [Duration::from_micros(20), Duration::from_micros(500)];

/// What a feed is made of.
pub struct FeedOptions {
    /// Lines A and B; one is enough, more may be.
    pub lines: Vec<Line>,
    /// How packets are made.
    pub packets: PacketOptions,
    /// Address of the re-request server; `None`: none.
    pub requests: Option<SocketAddr>,
    /// How it answers.
    pub request_options: RequestOptions,
    /// Address of the GLIMPSE server; `None`: none.
    pub glimpse: Option<SocketAddr>,
    /// How it serves.
    pub glimpse_options: GlimpseOptions,
    /// Bytes of messages kept in memory for requests.
    pub history_bytes: usize,
    /// What keeps the rest.
    pub journal: Option<Box<dyn Journal>>,
    /// Never sleep while the ring is empty: for a core of its own.
    pub spin: bool,
    /// Gets all records that the feed gets, in the same order: for the full answers.
    pub tap: Option<Sender<Vec<u8>>>,
}

impl FeedOptions {
    /// These lines, no servers, 64 MiB of memory.
    #[must_use]
    pub fn new(lines: Vec<Line>) -> FeedOptions {
        FeedOptions {
            lines,
            packets: PacketOptions::default(),
            requests: None,
            request_options: RequestOptions::default(),
            glimpse: None,
            glimpse_options: GlimpseOptions::default(),
            history_bytes: 64 << 20,
            journal: None,
            spin: false,
            tap: None,
        }
    }
}

/// Why a feed could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A socket.
    #[error(
        "cannot open {what}; check the address, its interface and whether the port is free: {source}"
    )]
    Socket {
        /// Which.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Packets too small for a message.
    #[error("a payload of {found} bytes holds no message; give {} to 65,507", HEADER + BLOCK_LENGTH + LONGEST)]
    PayloadMax {
        /// What was given.
        found: usize,
    },
    /// The records are wrong.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// The records are lost.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// A feed.
pub struct Feed {
    translator: Translator,
    publisher: Publisher,
    follower: Sender<Note>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    requests: Option<SocketAddr>,
    glimpse: Option<SocketAddr>,
    spin: bool,
    tap: Option<Sender<Vec<u8>>>,
    batch: Vec<u8>,
}

/// Gathers what a translator's picture says.
struct Gather<'a>(&'a mut Picture);

impl Sink for Gather<'_> {
    fn begin(&mut self, _: Session) {}

    fn message(&mut self, message: &[u8]) {
        self.0.message(message);
    }

    fn end(&mut self) {}
}

impl Feed {
    /// Opens the sockets and starts the servers. The translator is new, or goes on from its image.
    ///
    /// # Errors
    /// A socket cannot be opened, or packets would be too small.
    pub fn start(translator: Translator, options: FeedOptions) -> Result<Feed, FeedError> {
        let payload_max = options.packets.payload_max;
        if !(HEADER + BLOCK_LENGTH + LONGEST..=65_507).contains(&payload_max) {
            return Err(FeedError::PayloadMax { found: payload_max });
        }
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let history = Arc::new(Mutex::new(History::new(options.history_bytes)));
        let journal: Option<SharedJournal> = options.journal.map(|it| Arc::new(Mutex::new(it)));
        let (follower, notes) = channel();
        let mut publisher = Publisher::new(
            &options.lines,
            options.packets,
            Arc::clone(&history),
            follower.clone(),
            Arc::clone(&counters),
        )
        .map_err(failed("a line"))?;
        let mut picture = Picture::new(translator.session(), translator.next_message().max(1));
        if translator.next_message() != 0 {
            translator.picture(&mut Gather(&mut picture));
            publisher.resume(translator.session(), translator.next_message());
        }
        let mut feed = Feed {
            translator,
            publisher,
            follower,
            counters: Arc::clone(&counters),
            stop: Arc::clone(&stop),
            threads: Vec::new(),
            requests: None,
            glimpse: None,
            spin: options.spin,
            tap: options.tap,
            batch: Vec::new(),
        };
        {
            let (journal, counters) = (journal.clone(), Arc::clone(&counters));
            feed.threads.push(std::thread::spawn(move || {
                follow(&notes, picture, journal.as_ref(), &counters);
            }));
        }
        if let Some(address) = options.requests {
            let what = format!("the re-request server at {address}");
            let socket = UdpSocket::bind(address).map_err(failed(&what))?;
            socket
                .set_read_timeout(Some(Duration::from_millis(50)))
                .map_err(failed(&what))?;
            feed.requests = Some(socket.local_addr().map_err(failed(&what))?);
            let server = Requests {
                socket,
                options: options.request_options,
                payload_max,
                history,
                journal,
                counters: Arc::clone(&counters),
            };
            let stop = Arc::clone(&stop);
            feed.threads
                .push(std::thread::spawn(move || server.serve(&stop)));
        }
        if let Some(address) = options.glimpse {
            let what = format!("the GLIMPSE server at {address}");
            let listener = TcpListener::bind(address).map_err(failed(&what))?;
            listener.set_nonblocking(true).map_err(failed(&what))?;
            feed.glimpse = Some(listener.local_addr().map_err(failed(&what))?);
            let server = Glimpse {
                options: options.glimpse_options,
                follower: Arc::new(Mutex::new(feed.follower.clone())),
                counters,
            };
            feed.threads
                .push(std::thread::spawn(move || server.serve(&listener, &stop)));
        }
        Ok(feed)
    }

    /// Address of the re-request server, where it has one.
    #[must_use]
    pub fn requests(&self) -> Option<SocketAddr> {
        self.requests
    }

    /// Address of the GLIMPSE server, where it has one.
    #[must_use]
    pub fn glimpse(&self) -> Option<SocketAddr> {
        self.glimpse
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The translator.
    #[must_use]
    pub fn translator(&self) -> &Translator {
        &self.translator
    }

    /// Takes records that were published before this process began: they go into memory, journal and picture, and on no line.
    /// What was not published after all is asked for by whoever misses it.
    ///
    /// # Errors
    /// The records are wrong.
    pub fn catch_up(&mut self, records: &[u8]) -> Result<(), FeedError> {
        self.publisher.muted = true;
        let fed = self.take(records);
        self.publisher.flush(true);
        self.publisher.muted = false;
        Ok(fed?)
    }

    /// Publishes records; what is not a whole packet at their end goes too.
    ///
    /// # Errors
    /// The records are wrong. What came before was published.
    pub fn publish(&mut self, records: &[u8]) -> Result<(), FeedError> {
        let fed = self.take(records);
        self.publisher.flush(true);
        Ok(fed?)
    }

    fn take(&mut self, records: &[u8]) -> Result<(), TranslateError> {
        let fed = self.translator.feed(records, &mut self.publisher);
        if let Some(tap) = &self.tap
            && !records.is_empty()
        {
            // Behind the packets that are full. Nobody may be there any more: the feed goes on.
            let _ = tap.send(records.to_vec());
        }
        fed
    }

    /// Heartbeats where they are due: for one that drives the feed by [`Feed::publish`].
    pub fn tick(&mut self) {
        self.publisher.tick();
    }

    /// Publishes what the source gives until `stop` says so, and then what is left.
    ///
    /// # Errors
    /// The records are wrong or lost. What came before was published.
    pub fn run(
        &mut self,
        source: &mut dyn Source,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<(), FeedError> {
        let mut busy = Instant::now();
        let mut ticked = busy;
        loop {
            let stopping = stop();
            let mut batch = std::mem::take(&mut self.batch);
            batch.clear();
            let read = source.read(&mut batch, BATCH_SLOTS);
            let fed = self.take(&batch);
            self.batch = batch;
            let slots = match (read, fed) {
                (Ok(slots), Ok(())) => slots,
                (read, fed) => {
                    self.publisher.flush(true);
                    fed?;
                    read?
                }
            };
            // A batch that is not full emptied the ring.
            self.publisher.flush(slots < BATCH_SLOTS);
            source.published();
            let now = Instant::now();
            if slots != 0 {
                busy = now;
            } else if stopping {
                return Ok(());
            } else if !self.spin {
                let quiet = now.duration_since(busy) > Duration::from_millis(100);
                std::thread::sleep(NAPS[usize::from(quiet)]);
            }
            if now.duration_since(ticked) >= Duration::from_millis(1) {
                ticked = now;
                self.publisher.tick();
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.follower.send(Note::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // its panic has been printed
        }
    }
}

fn failed(what: &str) -> impl Fn(io::Error) -> FeedError {
    let what = what.to_owned();
    move |source| FeedError::Socket {
        what: what.clone(),
        source,
    }
}
