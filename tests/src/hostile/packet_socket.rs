//! An AF_PACKET socket: sends any frame from 14 bytes up to the device's largest.
#![expect(unsafe_code, reason = "makes the system calls")]

use ring0_lab::Veth;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The socket.
pub struct PacketSocket {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl PacketSocket {
    /// Opens one at the trader's end of a pair.
    ///
    /// # Panics
    /// No root, or the pair is gone.
    #[must_use]
    pub fn open(veth: &Veth) -> PacketSocket {
        veth.in_trader(|| {
            // SAFETY: a new socket; it receives nothing (protocol 0).
            let raw =
                unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
            assert!(raw >= 0, "{}", std::io::Error::last_os_error());
            // SAFETY: just opened, owned by nobody else.
            let socket = unsafe { OwnedFd::from_raw_fd(raw) };
            let name = std::ffi::CString::new(veth.trader_if.as_str()).expect("a plain name");
            // SAFETY: a C string that lives through the call.
            let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
            assert!(index > 0, "{}", std::io::Error::last_os_error());
            // SAFETY: all zeros is an address.
            let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_ifindex = index as i32;
            PacketSocket { socket, address }
        })
        .expect("the pair's namespace is there")
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// It is shorter than its Ethernet header, longer than the interface's MTU allows, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> std::io::Result<()> {
        let mut tries = 0;
        loop {
            // SAFETY: frame and address live through the call, with their lengths.
            let sent = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw const self.address).cast(),
                    size_of::<libc::sockaddr_ll>() as u32,
                )
            };
            if sent == frame.len() as isize {
                return Ok(());
            }
            let error = std::io::Error::last_os_error();
            // A full queue of the device: it is not sent, and tried again.
            tries += 1;
            let full = matches!(
                error.raw_os_error(),
                Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR)
            );
            if !full || tries > 1000 {
                return Err(error);
            }
            std::thread::yield_now();
        }
    }
}
