//! A packet socket that hears every frame of an interface, both ways, with the kernel's time of each.
//!
//! What it cannot hear: frames that an XDP program takes or sends back on the same interface, and those that AF_XDP sends, which go past the taps. So a
//! kernel ring is heard at its trader's end.
#![expect(unsafe_code, reason = "makes the system calls")]

use ring0_lab::{LabError, in_netns};
use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Bytes that the kernel may keep for the socket: half a second of full packets at 60,000 a second.
const BUFFER_BYTES: libc::c_int = 64 << 20;
/// Longest frame heard whole.
const FRAME_MAX: usize = 65_550;

/// Why an interface cannot be heard.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// There is no such interface.
    #[error(
        "no interface {0} here; `ip link` lists those that are there, and --netns says in which namespace to look"
    )]
    NoInterface(String),
    /// The kernel refused.
    #[error(
        "a packet socket cannot be opened on {interface}; it needs root (CAP_NET_RAW): {source}"
    )]
    Refused {
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// The namespace could not be entered.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// The socket.
#[derive(Debug)]
pub struct Tap {
    socket: OwnedFd,
    bytes: Vec<u8>,
}

/// A frame that was heard.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When the kernel had it, nanoseconds after the epoch.
    pub nanos: u64,
    /// From the Ethernet header on.
    pub frame: &'a [u8],
}

impl Tap {
    /// Begins to hear an interface, in the network namespace of that `ip netns` name (`None`: this thread's).
    ///
    /// # Errors
    /// See [`TapError`].
    pub fn open(interface: &str, netns: Option<&str>) -> Result<Tap, TapError> {
        let socket = match netns {
            Some(name) => in_netns(name, || open(interface))??,
            None => open(interface)?,
        };
        Ok(Tap {
            socket,
            bytes: vec![0; FRAME_MAX],
        })
    }

    /// The next frame; `None` when there was none for so long.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn next(&mut self, patience: Duration) -> io::Result<Option<Seen<'_>>> {
        let mut ready = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let wait = patience.as_millis().min(60_000) as libc::c_int;
        // SAFETY: one `pollfd`, which lives through the call.
        let polled = unsafe { libc::poll(&raw mut ready, 1, wait) };
        if polled < 0 {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(None),
                error => Err(error),
            };
        }
        if polled == 0 {
            return Ok(None);
        }
        let mut control = [0_u64; 16];
        let mut part = libc::iovec {
            iov_base: self.bytes.as_mut_ptr().cast(),
            iov_len: self.bytes.len(),
        };
        // SAFETY: all zeros is a message without anything.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the message's parts live through the call, with their lengths.
        let len = unsafe {
            libc::recvmsg(
                self.socket.as_raw_fd(),
                &raw mut message,
                libc::MSG_DONTWAIT,
            )
        };
        if len < 0 {
            return match io::Error::last_os_error() {
                error
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    Ok(None)
                }
                error => Err(error),
            };
        }
        Ok(Some(Seen {
            nanos: kernel_time(&message),
            frame: &self.bytes[..len as usize],
        }))
    }

    /// Frames that the kernel had no room for since the last call: they are not in the capture.
    ///
    /// # Errors
    /// The kernel's, which has none for a socket of this kind.
    pub fn lost(&self) -> io::Result<u64> {
        // SAFETY: all zeros is a value of it.
        let mut found: libc::tpacket_stats = unsafe { zeroed() };
        let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: value and length live through the call and belong together.
        let got = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut found).cast(),
                &raw mut len,
            )
        };
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(found.tp_drops.into())
    }
}

/// The time in a received message's control part; zero where the kernel gave none.
fn kernel_time(message: &libc::msghdr) -> u64 {
    // SAFETY: the kernel filled the control part, whose length stands in the message.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !at.is_null() {
        // SAFETY: not null, so a whole header within the control part.
        let head = unsafe { *at };
        if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: the data of a header within the control part.
            let data = unsafe { libc::CMSG_DATA(at) };
            // SAFETY: a `timespec` follows a header of this type; it may lie unaligned.
            let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
            return time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        }
        // SAFETY: `at` is a header of this message.
        at = unsafe { libc::CMSG_NXTHDR(message, at) };
    }
    0
}

/// A socket for every frame of the interface, in the calling thread's namespace.
fn open(interface: &str) -> Result<OwnedFd, TapError> {
    let none = || TapError::NoInterface(interface.to_owned());
    let name = CString::new(interface).map_err(|_| none())?;
    // SAFETY: a C string that lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(none());
    }
    let refused = || TapError::Refused {
        interface: interface.to_owned(),
        source: io::Error::last_os_error(),
    };
    // Protocol 0: it hears nothing before it is bound.
    // SAFETY: a new socket.
    let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(refused());
    }
    // SAFETY: just opened, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    for (option, value) in [
        (libc::SO_RCVBUFFORCE, BUFFER_BYTES),
        (libc::SO_TIMESTAMPNS, 1),
    ] {
        // SAFETY: an integer that lives through the call, with its length.
        let set = unsafe {
            libc::setsockopt(
                raw,
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set < 0 {
            return Err(refused());
        }
    }
    // SAFETY: all zeros is an address.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: an address that lives through the call, with its length.
    let bound = unsafe {
        libc::bind(
            raw,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if bound < 0 {
        return Err(refused());
    }
    Ok(socket)
}
