//! How packets leave and answers come: a UDP socket, a shard's door, or in tests a net that loses them.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A way to one venue and back. Packets may be lost, repeated and reordered.
pub trait Transport {
    /// Time that only goes forward, from an origin of the transport's own. A simulated net has its
    /// own time, so that a test waits for nothing.
    fn now(&mut self) -> Duration;

    /// Sends one packet. What cannot be sent now may be dropped: the trader sends it again.
    ///
    /// # Errors
    /// The way is closed for good.
    fn send(&mut self, packet: &[u8]) -> io::Result<()>;

    /// Takes one packet, waiting `wait` at the most; its length, or `None` when none came.
    ///
    /// # Errors
    /// The way is closed for good.
    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>>;
}

/// A connected UDP socket.
#[derive(Debug)]
pub struct UdpTransport {
    socket: UdpSocket,
    origin: Instant,
    spin: Duration,
}

impl UdpTransport {
    /// A socket on any free port, connected to the shard.
    ///
    /// # Errors
    /// No socket, or no route to the address.
    pub fn connect(venue: SocketAddr) -> io::Result<UdpTransport> {
        let socket = match venue {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            SocketAddr::V6(_) => UdpSocket::bind("[::]:0")?,
        };
        socket.connect(venue)?;
        Ok(UdpTransport::new(socket))
    }

    /// A socket that is connected already, for instance in another network namespace.
    #[must_use]
    pub fn new(socket: UdpSocket) -> UdpTransport {
        UdpTransport {
            socket,
            origin: Instant::now(),
            spin: Duration::ZERO,
        }
    }

    /// Asks the socket again and again for this long before it sleeps: saves a wake-up (5 to 50 µs)
    /// and costs a core. Zero by default.
    #[must_use]
    pub fn spinning(mut self, spin: Duration) -> UdpTransport {
        self.spin = spin;
        self
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    fn take(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&self.socket, into, RecvFlags::DONTWAIT) {
            Ok((len, _)) => Ok(Some(len)),
            // Refused: nobody listened when an earlier packet arrived; it counts as lost.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNREFUSED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Transport for UdpTransport {
    fn now(&mut self) -> Duration {
        self.origin.elapsed()
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        match send(&self.socket, packet, SendFlags::DONTWAIT) {
            Ok(_) => Ok(()),
            // Full queues and a venue that is not up yet are losses like any other.
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::CONNREFUSED | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        if let Some(len) = self.take(into)? {
            return Ok(Some(len));
        }
        if wait.is_zero() {
            return Ok(None);
        }
        let begin = Instant::now();
        while begin.elapsed() < self.spin.min(wait) {
            if let Some(len) = self.take(into)? {
                return Ok(Some(len));
            }
            std::hint::spin_loop();
        }
        let left = wait.saturating_sub(begin.elapsed());
        if readable(&self.socket, left)? {
            return self.take(into);
        }
        Ok(None)
    }
}

/// A shard's door: a Unix socket of whole packets (`SOCK_SEQPACKET`), for processes of the exchange's own machine. One message is one packet, as
/// over UDP; what is answered is the answering packet.
///
/// A daemon that ends takes its door with it and the next one makes it anew. So a closed door is a loss like any other: what is sent meanwhile is
/// dropped, and the way is tried again with each packet.
#[derive(Debug)]
pub struct DoorTransport {
    path: PathBuf,
    socket: Option<OwnedFd>,
    origin: Instant,
}

impl DoorTransport {
    /// A connection to the door at this path.
    ///
    /// # Errors
    /// Nobody listens there, or the door is not for this user.
    pub fn connect(path: &Path) -> io::Result<DoorTransport> {
        Ok(DoorTransport {
            path: path.to_owned(),
            socket: Some(knock(path)?),
            origin: Instant::now(),
        })
    }

    fn take(&mut self, into: &mut [u8]) -> Option<usize> {
        let socket = self.socket.as_ref()?;
        match recv(socket, into, RecvFlags::DONTWAIT) {
            Ok((len, _)) if len > 0 => Some(len),
            Err(Errno::AGAIN | Errno::INTR) => None,
            // The end of the connection, or a broken one.
            _ => {
                self.socket = None;
                None
            }
        }
    }
}

/// Connects to a door.
fn knock(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

impl Transport for DoorTransport {
    fn now(&mut self) -> Duration {
        self.origin.elapsed()
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            self.socket = knock(&self.path).ok();
        }
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        match send(socket, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => {}
            Err(_) => self.socket = None,
        }
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        if let Some(len) = self.take(into) {
            return Ok(Some(len));
        }
        if wait.is_zero() {
            return Ok(None);
        }
        let Some(socket) = &self.socket else {
            // Nothing comes through a closed door; a moment, so that a caller that asks again does not spin.
            std::thread::sleep(wait.min(CLOSED_WAIT));
            return Ok(None);
        };
        if readable(socket, wait)? {
            return Ok(self.take(into));
        }
        Ok(None)
    }
}

/// How long a look at a closed door takes at the most.
const CLOSED_WAIT: Duration = Duration::from_millis(5);

/// Whether something can be read within this time.
fn readable(socket: impl AsFd, wait: Duration) -> io::Result<bool> {
    let timeout = Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: wait.subsec_nanos().into(),
    };
    let mut ready = [PollFd::new(&socket, PollFlags::IN)];
    match poll(&mut ready, Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
