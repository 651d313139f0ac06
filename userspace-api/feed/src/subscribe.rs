//! The subscriber: hears lines A and B, asks for what was lost, joins late by a snapshot, and gives messages in their order.

use crate::arbiter::{Arbiter, ArbiterOptions, Heard, Listener, Via};
use crate::line::Line;
use crate::snapshot::{SnapshotError, TakenSnapshot, take_snapshot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Packets taken from a socket before the others have their turn.
const PACKETS_A_TURN: usize = 64;

/// What a subscriber hears and asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubscribeOptions {
    /// Lines A and B; one is enough.
    pub lines: Vec<Line>,
    /// The re-request server; `None`: lost messages are lost, or a snapshot is taken.
    pub requests: Option<SocketAddr>,
    /// The GLIMPSE server; `None`: begin with the session's first message.
    pub glimpse: Option<SocketAddr>,
    /// User and password for the GLIMPSE server, at most 6 and 10 letters.
    pub login: (String, String),
    /// Most that a snapshot may take.
    pub snapshot_patience: Duration,
    /// How gaps are closed. Whether there are snapshots is said by `glimpse`.
    pub arbiter: ArbiterOptions,
}

impl SubscribeOptions {
    /// These lines alone.
    #[must_use]
    pub fn new(lines: Vec<Line>) -> SubscribeOptions {
        SubscribeOptions {
            lines,
            requests: None,
            glimpse: None,
            login: (String::new(), String::new()),
            snapshot_patience: Duration::from_secs(30),
            arbiter: ArbiterOptions::default(),
        }
    }
}

/// Why a subscriber cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// A line cannot be heard.
    #[error(
        "cannot hear line {line}; check that the interface's address is this machine's and the port is free: {source}"
    )]
    Line {
        /// Which.
        line: Line,
        /// Why not.
        source: io::Error,
    },
    /// Sockets cannot be waited for, or none opened.
    #[error("sockets: {0}")]
    Socket(#[from] io::Error),
    /// Messages were missed that nobody has any more.
    #[error(
        "messages of session {session} from number {from} on were lost and cannot be had again; give --glimpse to begin anew from a snapshot"
    )]
    Lost {
        /// Which session.
        session: String,
        /// The first that is missing.
        from: u64,
    },
    /// Snapshots fail again and again.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// How often a snapshot may fail in a row.
const SNAPSHOT_FAILURES_MAX: u32 = 10;

/// A subscriber with its sockets.
pub struct Subscriber {
    options: SubscribeOptions,
    lines: Vec<UdpSocket>,
    requests: Option<UdpSocket>,
    arbiter: Arbiter,
    begun: Instant,
    snapshot: Option<Receiver<Result<TakenSnapshot, SnapshotError>>>,
    failures: u32,
    /// No snapshot is asked for before this.
    patient_until: Duration,
}

impl Subscriber {
    /// Opens the sockets; from now on packets are kept by the kernel until [`Subscriber::poll`] takes them.
    ///
    /// # Errors
    /// A line cannot be heard, or no socket is left.
    pub fn open(options: SubscribeOptions) -> Result<Subscriber, SubscribeError> {
        let receiver = |line: &Line| {
            line.hear().map_err(|source| SubscribeError::Line {
                line: *line,
                source,
            })
        };
        let lines = options
            .lines
            .iter()
            .map(receiver)
            .collect::<Result<_, _>>()?;
        let requests = match options.requests {
            Some(server) => {
                let any: SocketAddr = match server {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                // Only the server's packets come in.
                socket.connect(server)?;
                socket.set_nonblocking(true)?;
                Some(socket)
            }
            None => None,
        };
        let arbiter = Arbiter::new(ArbiterOptions {
            snapshots: options.glimpse.is_some(),
            ..options.arbiter
        });
        Ok(Subscriber {
            options,
            lines,
            requests,
            arbiter,
            begun: Instant::now(),
            snapshot: None,
            failures: 0,
            patient_until: Duration::ZERO,
        })
    }

    /// The counters.
    #[must_use]
    pub fn heard(&self) -> &Heard {
        self.arbiter.heard()
    }

    /// The state machine.
    #[must_use]
    pub fn arbiter(&self) -> &Arbiter {
        &self.arbiter
    }

    /// Waits for packets, `wait` at most, and gives what comes of them to `listener`.
    ///
    /// # Errors
    /// Messages are lost for good, snapshots fail again and again, or the sockets do.
    pub fn poll(
        &mut self,
        wait: Duration,
        listener: &mut dyn Listener,
    ) -> Result<(), SubscribeError> {
        self.wait(wait)?;
        let mut buffer = [0; 65_536];
        let now = self.begun.elapsed();
        for (number, line) in self.lines.iter().enumerate() {
            for _ in 0..PACKETS_A_TURN {
                let Ok(len) = line.recv(&mut buffer) else {
                    break;
                };
                let from = Via::Line(number);
                self.arbiter.packet(&buffer[..len], from, now, listener);
            }
        }
        if let Some(socket) = &self.requests {
            for _ in 0..PACKETS_A_TURN {
                // An error is of a request before: nobody is there to answer it yet.
                let Ok(len) = socket.recv(&mut buffer) else {
                    break;
                };
                self.arbiter
                    .packet(&buffer[..len], Via::Answer, now, listener);
            }
        }
        self.take_snapshot(now, listener)?;
        if now < self.patient_until {
            return Ok(());
        }
        let wants = self.arbiter.wants(now);
        if let (Some(from), Some(session)) = (wants.lost, self.arbiter.session()) {
            return Err(SubscribeError::Lost {
                session: session.to_string(),
                from,
            });
        }
        if let Some(socket) = &self.requests {
            for request in &wants.requests {
                let _ = socket.send(&request.to_bytes()); // asked for again when nothing comes
            }
        }
        if let (true, Some(address)) = (wants.snapshot, self.options.glimpse) {
            let (give, given) = channel();
            let (user, password) = self.options.login.clone();
            let patience = self.options.snapshot_patience;
            std::thread::spawn(move || {
                let _ = give.send(take_snapshot(address, &user, &password, patience));
            });
            self.snapshot = Some(given);
        }
        Ok(())
    }

    /// Hands the arbiter a snapshot that has come.
    fn take_snapshot(
        &mut self,
        now: Duration,
        listener: &mut dyn Listener,
    ) -> Result<(), SubscribeError> {
        let Some(given) = &self.snapshot else {
            return Ok(());
        };
        let taken = match given.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err(SnapshotError::Unfinished),
            Ok(taken) => taken,
        };
        self.snapshot = None;
        match taken {
            Ok(taken) => {
                self.failures = 0;
                let messages = taken.messages.iter().map(Vec::as_slice);
                self.arbiter
                    .snapshot(taken.session, messages, taken.next, now, listener);
                Ok(())
            }
            Err(error) => {
                self.failures += 1;
                self.arbiter.no_snapshot();
                self.patient_until = now + Duration::from_millis(500);
                if self.failures >= SNAPSHOT_FAILURES_MAX {
                    return Err(error.into());
                }
                Ok(())
            }
        }
    }

    fn wait(&self, wait: Duration) -> io::Result<()> {
        // Gaps are looked at every few milliseconds, and a snapshot comes from another thread.
        let wait = wait.min(Duration::from_millis(2));
        let sockets = self.lines.iter().chain(&self.requests);
        let mut fds: Vec<_> = sockets.map(|it| PollFd::new(it, PollFlags::IN)).collect();
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
