//! The UDP port: one socket, `recvmmsg` and `sendmmsg`. No privilege, any kernel.
//!
//! System calls of its thread: one `recvmmsg` and one `sendmmsg` a batch with answers; a `ppoll`, and one `recvmmsg` more, where nothing has come; the
//! boot-time clock (vDSO) a packet.

use crate::bell::Bell;
use crate::mmsg::{self, Receiver, Sender};
use crate::port::{Arrival, Port, PortError};
use crate::thread::boot_ns;
use ring0_engine::record::ReplyTo;
use ring0_wire::Buffer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Room in the kernel for datagrams that wait: some 5,000 of the largest.
const BUFFER_BYTES: i32 = 8 << 20;

/// A socket as a [`Port`].
pub struct UdpPort {
    socket: UdpSocket,
    local: Ipv4Addr,
    receiver: Receiver,
    sender: Sender,
    /// Answers that the stack did not take.
    lost: u64,
    bell: Option<Arc<Bell>>,
}

impl UdpPort {
    /// Listens at an address. It is one of this machine's, not "any": answers come from where the packets went to.
    ///
    /// # Errors
    /// The address is taken, not this machine's, or any.
    pub fn bind(address: SocketAddrV4) -> Result<UdpPort, PortError> {
        if address.ip().is_unspecified() {
            return Err(failed(
                "listen at every address at once: name the one that traders send to",
                io::ErrorKind::InvalidInput.into(),
            ));
        }
        let socket = UdpSocket::bind(address).map_err(|error| {
            failed("listen; check its address and that the port is free", error)
        })?;
        UdpPort::new(socket)
    }

    /// A socket that is bound already.
    ///
    /// # Errors
    /// The socket's.
    pub fn new(socket: UdpSocket) -> Result<UdpPort, PortError> {
        let set = |error| failed("set up its socket", error);
        mmsg::buffers(&socket, BUFFER_BYTES).map_err(set)?;
        let local = match socket.local_addr().map_err(set)? {
            SocketAddr::V4(address) => *address.ip(),
            SocketAddr::V6(_) => {
                return Err(failed(
                    "use IPv6: packets are IPv4",
                    io::ErrorKind::Unsupported.into(),
                ));
            }
        };
        Ok(UdpPort {
            socket,
            local,
            receiver: Receiver::default(),
            sender: Sender::default(),
            lost: 0,
            bell: None,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

fn failed(act: &'static str, source: io::Error) -> PortError {
    PortError {
        port: "udp",
        act,
        source,
    }
}

impl Port for UdpPort {
    fn name(&self) -> &'static str {
        "udp"
    }

    fn heed(&mut self, bell: &Arc<Bell>) {
        self.bell = Some(Arc::clone(bell));
    }

    fn receive(&mut self, wait: Duration) -> Result<usize, PortError> {
        let mut receive = || {
            let received = self.receiver.receive(&self.socket, false);
            received.map_err(|error| failed("receive packets", error))
        };
        let received = receive()?;
        if received != 0 || wait.is_zero() {
            return Ok(received);
        }
        // Not the receiving call's own timeout: that is one of the scheduler's ticks, some milliseconds.
        let own = || PollFd::new(&self.socket, PollFlags::IN);
        // Without a bell the socket stands twice, which asks the same.
        let bell = self.bell.as_deref().map_or_else(own, Bell::poll_fd);
        let mut waits = [own(), bell];
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(&mut waits, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(0),
            Ok(_) => receive(),
            Err(error) => Err(failed("wait for packets", error.into())),
        }
    }

    #[inline]
    fn packet(&self, index: usize) -> Arrival<'_> {
        let from = self.receiver.from(index);
        Arrival {
            payload: self.receiver.get(index),
            boot_ns: boot_ns(),
            number: None,
            from: ReplyTo {
                address: from.ip().octets(),
                port: from.port(),
                local: self.local.octets(),
                ..ReplyTo::default()
            },
        }
    }

    #[inline]
    fn answer(&mut self, index: usize, answer: &Buffer, len: usize) {
        let to = self.receiver.from(index);
        answer.copy_out(&mut self.sender.room()[..len]);
        self.sender.pushed(len, Some(to));
    }

    fn flush(&mut self) -> Result<(), PortError> {
        if !self.sender.is_empty() {
            let sent = self.sender.send(&self.socket);
            self.lost += sent.map_err(|error| failed("send answers", error))?;
            self.sender.clear();
        }
        Ok(())
    }

    fn send(&mut self, to: &ReplyTo, payload: &[u8]) -> bool {
        let to = SocketAddrV4::new(to.address.into(), to.port);
        let sent = self.socket.send_to(payload, to).is_ok();
        self.lost += u64::from(!sent);
        sent
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![
            // A kernel that does not say counts nothing here; `/proc/net/udp` does.
            (
                "udp_receive_full",
                mmsg::dropped(&self.socket).unwrap_or_default(),
            ),
            ("udp_answers_lost", self.lost),
        ]
    }
}
