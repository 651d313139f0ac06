//! Answers over MoldUDP64, by unicast: the sockets' end of [`Subscribers`].
//!
//! One thread hears requests and answers them, one pushes what is new. Locks are taken in the order subscribers, streams; nothing is
//! sent under either.

use crate::answer_datagram::CONTROL;
use crate::answer_server::Shared;
use crate::answer_subscribers::{Outbox, Subscribers};
use crate::counters::add;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread waits before it looks whether it is to stop, or a heartbeat is due.
const LOOK: Duration = Duration::from_millis(50);

/// Between two rounds of pushing while there is more than a round takes.
const PAUSE: Duration = Duration::from_micros(500);

/// The server, bound.
pub(crate) struct MoldServer {
    shared: Arc<Shared>,
    socket: UdpSocket,
    address: SocketAddr,
    subscribers: Mutex<Subscribers>,
    begun: Instant,
}

impl MoldServer {
    pub(crate) fn bind(
        shared: Arc<Shared>,
        address: SocketAddr,
        secret: [u8; 32],
    ) -> io::Result<MoldServer> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(LOOK))?;
        // A network that takes nothing holds nobody up: what is lost is asked for again.
        socket.set_write_timeout(Some(Duration::from_millis(1)))?;
        Ok(MoldServer {
            address: socket.local_addr()?,
            socket,
            subscribers: Mutex::new(Subscribers::new(shared.options.subscriptions, secret)),
            shared,
            begun: Instant::now(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its threads; they end when the server is to stop.
    pub(crate) fn start(self) -> [JoinHandle<()>; 2] {
        let hearing = Arc::new(self);
        let pushing = Arc::clone(&hearing);
        [
            std::thread::spawn(move || hearing.hear()),
            std::thread::spawn(move || pushing.push()),
        ]
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        let locked = self.subscribers.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self) {
        // One byte more than a request has: longer ones are refused, not cut.
        let mut bytes = [0; CONTROL + 1];
        let mut out = Outbox::new();
        while !self.shared.stopping() {
            // Other errors than the timeout are of datagrams sent before, to who has gone.
            let Ok((length, from)) = self.socket.recv_from(&mut bytes) else {
                continue;
            };
            let mut subscribers = self.subscribers();
            let streams = self.shared.streams();
            subscribers.datagram(
                &bytes[..length],
                (from, self.begun.elapsed()),
                &*self.shared.options.access,
                &streams,
                &self.shared.counters,
                &mut out,
            );
            drop((streams, subscribers));
            self.send(&mut out);
        }
    }

    fn push(&self) {
        let mut out = Outbox::new();
        let mut pushed = 0;
        while !self.shared.stopping() {
            let streams = self.shared.streams();
            if streams.version == pushed {
                drop(self.shared.wait(streams, LOOK));
            } else {
                drop(streams);
            }
            let mut subscribers = self.subscribers();
            let streams = self.shared.streams();
            let now = self.begun.elapsed();
            let more = subscribers.push(now, &streams, &self.shared.counters, &mut out);
            if !more {
                pushed = streams.version;
            }
            drop((streams, subscribers));
            self.send(&mut out);
            if more {
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn send(&self, out: &mut Outbox) {
        for (to, bytes) in out.drain(..) {
            if self.socket.send_to(&bytes, to).is_err() {
                add(&self.shared.counters.send_errors, 1);
            }
        }
    }
}
