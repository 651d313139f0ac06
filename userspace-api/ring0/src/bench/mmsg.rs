//! Many datagrams in one system call: `sendmmsg` and `recvmmsg` on a socket.
//!
//! Invariants: every buffer that a call names is owned by the value that makes the call and is not moved while it runs.
#![expect(unsafe_code, reason = "makes the two system calls")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Datagrams in one call. Enough that the call itself is below a twentieth of the packet; more would only delay answers.
pub(crate) const BATCH: usize = 64;
/// Bytes of a datagram received.
const DATAGRAM: usize = 1536;

/// Datagrams to be sent together, copied so that whoever made them may go on.
pub(crate) struct Sender {
    bytes: Box<[[u8; DATAGRAM]; BATCH]>,
    lens: [usize; BATCH],
    to: [Option<libc::sockaddr_in>; BATCH],
    used: usize,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender {
            bytes: Box::new([[0; DATAGRAM]; BATCH]),
            lens: [0; BATCH],
            to: [None; BATCH],
            used: 0,
        }
    }
}

impl Sender {
    /// None to be sent.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// One more to the connected peer; at most [`BATCH`].
    pub(crate) fn push(&mut self, payload: &[u8]) {
        self.bytes[self.used][..payload.len()].copy_from_slice(payload);
        self.lens[self.used] = payload.len();
        self.to[self.used] = None;
        self.used += 1;
    }

    /// Room for one more, to be written by the caller and ended by [`Sender::pushed`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used][..]
    }

    /// Ends what was written to [`Sender::room`]: its length, and whom it goes to.
    pub(crate) fn pushed(&mut self, len: usize, to: libc::sockaddr_in) {
        self.lens[self.used] = len;
        self.to[self.used] = Some(to);
        self.used += 1;
    }

    /// Sends all; what the socket has no room for is dropped, as a network would.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> io::Result<()> {
        if self.used == 0 {
            return Ok(());
        }
        let mut vectors = [const {
            libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            }
        }; BATCH];
        // SAFETY: all zeros is a message without address, buffer and control data.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for index in 0..self.used {
            vectors[index].iov_base = self.bytes[index].as_mut_ptr().cast();
            vectors[index].iov_len = self.lens[index];
            let header = &mut messages[index].msg_hdr;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            if let Some(to) = &mut self.to[index] {
                header.msg_name = std::ptr::from_mut(to).cast();
                header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            }
        }
        let mut done = 0;
        while done < self.used {
            let left = (self.used - done) as u32;
            // SAFETY: `left` messages from `done` on, whose vectors and buffers live until the call returns.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    &raw mut messages[done],
                    left,
                    libc::MSG_DONTWAIT,
                )
            };
            if sent < 0 {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::ECONNREFUSED) => return Ok(()),
                    _ => return Err(error),
                }
            }
            done += sent as usize;
        }
        Ok(())
    }
}

/// Datagrams received together.
pub(crate) struct Receiver {
    bytes: Box<[[u8; DATAGRAM]; BATCH]>,
    lens: [usize; BATCH],
    from: [libc::sockaddr_in; BATCH],
}

impl Default for Receiver {
    fn default() -> Receiver {
        Receiver {
            bytes: Box::new([[0; DATAGRAM]; BATCH]),
            lens: [0; BATCH],
            // SAFETY: all zeros is an address.
            from: unsafe { zeroed() },
        }
    }
}

impl Receiver {
    /// Takes what is there, at most [`BATCH`]. Waits for the first where the socket blocks; gives 0 where none came.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut vectors = [const {
            libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            }
        }; BATCH];
        // SAFETY: all zeros is a message without address, buffer and control data.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for index in 0..BATCH {
            vectors[index].iov_base = self.bytes[index].as_mut_ptr().cast();
            vectors[index].iov_len = DATAGRAM;
            let header = &mut messages[index].msg_hdr;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut self.from[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        // SAFETY: `BATCH` messages whose vectors, buffers and addresses live until the call returns; no timeout.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED) => Ok(0),
                _ => Err(error),
            };
        }
        let received = received as usize;
        for (len, message) in self.lens.iter_mut().zip(&messages[..received]) {
            *len = message.msg_len as usize;
        }
        Ok(received)
    }

    /// Datagram `index` of the last [`Receiver::receive`].
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.bytes[index][..self.lens[index]]
    }

    /// Its sender.
    pub(crate) fn from(&self, index: usize) -> libc::sockaddr_in {
        self.from[index]
    }
}

/// Makes room for so many bytes in both directions of a socket, past the system's limit: root may.
pub(crate) fn buffers(socket: &UdpSocket, bytes: i32) -> io::Result<()> {
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: an option that is an `int`, with its size.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const bytes).cast(),
                size_of::<i32>() as u32,
            )
        };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Binds the calling thread to a processor.
pub(crate) fn pin_to(processor: usize) -> io::Result<()> {
    // SAFETY: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: sets a bit inside the set; a number past its end is ignored.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: the set and its size; 0 is the calling thread.
    let done = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
