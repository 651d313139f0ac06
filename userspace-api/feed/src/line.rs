//! A line: one multicast group on one interface. The same packets go over line A and line B.

use rustix::net::sockopt::{
    set_ip_multicast_if, set_socket_recv_buffer_size, set_socket_reuseaddr,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::str::FromStr;

/// Bytes asked for a listener's socket: a burst of some 3,000 full packets. The kernel may give fewer (`net.core.rmem_max`).
pub(crate) const RECEIVE_BYTES: usize = 4 << 20;

/// Where a line's packets go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Line {
    /// The group and its port. An address that is no group gets its packets too: for a relay, or one listener.
    pub group: SocketAddrV4,
    /// Address of the interface that the line is on.
    pub interface: Ipv4Addr,
}

/// The text is no line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "write a line as GROUP:PORT@INTERFACE, all in numbers, for instance 239.77.0.1:30001@10.77.0.1"
)]
pub struct LineError;

impl FromStr for Line {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Line, LineError> {
        let (group, interface) = text.split_once('@').ok_or(LineError)?;
        Ok(Line {
            group: group.parse().map_err(|_| LineError)?,
            interface: interface.parse().map_err(|_| LineError)?,
        })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.group, self.interface)
    }
}

impl Line {
    /// A socket that sends to the line; packets pass so many routers less one.
    pub(crate) fn sender(&self, ttl: u32) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((self.interface, 0))?;
        if self.group.ip().is_multicast() {
            set_ip_multicast_if(&socket, &self.interface)?;
            socket.set_multicast_ttl_v4(ttl)?;
            // Listeners on the same machine hear it too.
            socket.set_multicast_loop_v4(true)?;
        }
        // A line that is full must not hold the other one up.
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// A socket that hears the line, beside others that do, and does not block.
    ///
    /// # Errors
    /// The interface is not there, or the port is taken.
    pub fn hear(&self) -> io::Result<UdpSocket> {
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        set_socket_recv_buffer_size(&socket, RECEIVE_BYTES)?;
        if self.group.ip().is_multicast() {
            // Only a group may be shared: a listener's own address is its own.
            set_socket_reuseaddr(&socket, true)?;
        }
        bind(&socket, &self.group)?;
        let socket = UdpSocket::from(socket);
        if self.group.ip().is_multicast() {
            socket.join_multicast_v4(self.group.ip(), &self.interface)?;
        }
        Ok(socket)
    }
}
