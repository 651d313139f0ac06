//! Many datagrams in one system call: `sendmmsg` and `recvmmsg` on an IPv4 socket.
//!
//! Invariants: every buffer that a call names is on the heap, owned by the value that makes the call, and stays where it is as long as that value
//! lives; so the kernel's structures are filled in once.
#![expect(unsafe_code, reason = "makes the system calls")]

use crate::port::BATCH;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

/// Bytes kept of a datagram: more than any packet of ours has, so that one which is too long is seen to be.
const DATAGRAM: usize = 1536;

/// Buffers for datagrams, and the kernel's description of them.
struct Datagrams {
    bytes: Box<[[u8; DATAGRAM]; BATCH]>,
    #[expect(dead_code, reason = "the messages point to them")]
    vectors: Box<[libc::iovec; BATCH]>,
    addresses: Box<[libc::sockaddr_in; BATCH]>,
    messages: Box<[libc::mmsghdr; BATCH]>,
}

// SAFETY: its pointers go to its own boxes, which move with it.
unsafe impl Send for Datagrams {}

impl Datagrams {
    fn new() -> Datagrams {
        let mut bytes = Box::new([[0; DATAGRAM]; BATCH]);
        let vector = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: DATAGRAM,
        };
        let mut vectors = Box::new([vector; BATCH]);
        // SAFETY: all zeros is an address.
        let mut addresses: Box<[libc::sockaddr_in; BATCH]> = Box::new(unsafe { zeroed() });
        // SAFETY: all zeros is a message without address, buffer and control data.
        let mut messages: Box<[libc::mmsghdr; BATCH]> = Box::new(unsafe { zeroed() });
        for index in 0..BATCH {
            vectors[index].iov_base = bytes[index].as_mut_ptr().cast();
            let header = &mut messages[index].msg_hdr;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut addresses[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        Datagrams {
            bytes,
            vectors,
            addresses,
            messages,
        }
    }
}

/// Datagrams to be sent together, copied so that whoever made them may go on.
pub struct Sender {
    datagrams: Datagrams,
    lens: [usize; BATCH],
    used: usize,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender {
            datagrams: Datagrams::new(),
            lens: [0; BATCH],
            used: 0,
        }
    }
}

impl Sender {
    /// None to be sent.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used
    }

    /// None to be sent?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// One more to the connected peer; at most [`BATCH`].
    pub fn push(&mut self, payload: &[u8]) {
        self.datagrams.bytes[self.used][..payload.len()].copy_from_slice(payload);
        self.pushed(payload.len(), None);
    }

    /// Room for one more, to be written by the caller and ended by [`Sender::pushed`].
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.datagrams.bytes[self.used][..]
    }

    /// Ends what was written to [`Sender::room`]: its length, and whom it goes to (`None`: the connected peer).
    pub fn pushed(&mut self, len: usize, to: Option<SocketAddrV4>) {
        let header = &mut self.datagrams.messages[self.used].msg_hdr;
        header.msg_namelen = match to {
            Some(to) => {
                self.datagrams.addresses[self.used] = address(to);
                size_of::<libc::sockaddr_in>() as u32
            }
            None => 0,
        };
        if to.is_none() {
            header.msg_name = std::ptr::null_mut();
        } else {
            header.msg_name = (&raw mut self.datagrams.addresses[self.used]).cast();
        }
        self.lens[self.used] = len;
        self.used += 1;
    }

    /// Sends all, and gives how many were lost: what the socket has no room for, and what the network stack refuses, is dropped, as a network
    /// would.
    ///
    /// # Errors
    /// The socket's, if it can send nothing any more.
    pub fn send(&mut self, socket: &UdpSocket) -> io::Result<u64> {
        for index in 0..self.used {
            let vector = self.datagrams.messages[index].msg_hdr.msg_iov;
            // SAFETY: points into the boxed vectors, which live with `self`.
            unsafe { (*vector).iov_len = self.lens[index] };
        }
        let (mut done, mut lost) = (0, 0);
        while done < self.used {
            // SAFETY: messages from `done` on, whose vectors, buffers and addresses live with `self`.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    &raw mut self.datagrams.messages[done],
                    (self.used - done) as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if sent >= 0 {
                done += sent as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN | libc::ENOBUFS) => {
                    lost += (self.used - done) as u64;
                    break;
                }
                Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT) => return Err(error),
                // One that cannot go where it should: the others may.
                _ => {
                    lost += 1;
                    done += 1;
                }
            }
        }
        Ok(lost)
    }
}

/// Datagrams received together.
pub struct Receiver {
    datagrams: Datagrams,
}

impl Default for Receiver {
    fn default() -> Receiver {
        Receiver {
            datagrams: Datagrams::new(),
        }
    }
}

impl Receiver {
    /// Takes what is there, at most [`BATCH`]. With `wait`, waits for the first as the socket is set to; gives 0 where none came.
    ///
    /// # Errors
    /// The socket's.
    pub fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        let flags = if wait {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        };
        let messages = self.datagrams.messages.as_mut_ptr();
        // SAFETY: `BATCH` messages whose vectors, buffers and addresses live with `self`; no timeout.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages,
                BATCH as u32,
                flags,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // The last one: an answer came to a port where nobody listens any more.
                Some(libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED) => Ok(0),
                _ => Err(error),
            };
        }
        Ok(received as usize)
    }

    /// Datagram `index` of the last [`Receiver::receive`].
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        let len = self.datagrams.messages[index].msg_len as usize;
        &self.datagrams.bytes[index][..len.min(DATAGRAM)]
    }

    /// Its sender.
    #[must_use]
    pub fn from(&self, index: usize) -> SocketAddrV4 {
        let from = &self.datagrams.addresses[index];
        SocketAddrV4::new(
            u32::from_be(from.sin_addr.s_addr).into(),
            u16::from_be(from.sin_port),
        )
    }
}

fn address(of: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: of.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*of.ip()).to_be(),
        },
        sin_zero: [0; 8],
    }
}

/// Makes room for so many bytes in both directions of a socket: past the system's limit where this process may, else as far as that goes.
///
/// # Errors
/// The socket's.
pub fn buffers(socket: &UdpSocket, bytes: i32) -> io::Result<()> {
    let set = |option: i32| {
        // SAFETY: an option that is an `int`, with its size.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const bytes).cast(),
                size_of::<i32>() as u32,
            )
        }
    };
    for (forced, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if set(forced) < 0 && set(plain) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Datagrams that the kernel dropped because the socket's buffer was full (`SO_MEMINFO`, Linux 4.12).
///
/// # Errors
/// The socket's.
pub fn dropped(socket: &UdpSocket) -> io::Result<u64> {
    /// Place of the count (`SK_MEMINFO_DROPS`, `linux/sock_diag.h`).
    const DROPS: usize = 8;
    let mut words = [0_u32; DROPS + 1];
    let mut len = size_of_val(&words) as u32;
    // SAFETY: the array and its length in bytes, of which the kernel writes no more.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(words[DROPS].into())
}
