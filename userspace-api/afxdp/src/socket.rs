//! Options of sockets that no library has.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `SO_PREFER_BUSY_POLL` and `SO_BUSY_POLL_BUDGET` of `include/uapi/asm-generic/socket.h`, Linux 5.11.
const PREFER_BUSY_POLL: i32 = 69;
const BUSY_POLL_BUDGET: i32 = 70;

fn set(socket: impl AsFd, option: i32, value: u32) -> io::Result<()> {
    // SAFETY: a descriptor, numbers, and a live word with its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Switches busy polling on: preferred to interrupts, so long a call, so many packets a call.
pub(crate) fn set_busy_poll(socket: impl AsFd, micros: u32, budget: u32) -> io::Result<()> {
    set(&socket, PREFER_BUSY_POLL, 1)?;
    set(&socket, libc::SO_BUSY_POLL, micros)?;
    set(&socket, BUSY_POLL_BUDGET, budget)
}

/// Whether busy polling is preferred, as the kernel has it.
pub(crate) fn prefers_busy_poll(socket: impl AsFd) -> io::Result<bool> {
    let mut value = 0_u32;
    let mut bytes = size_of::<u32>() as libc::socklen_t;
    // SAFETY: a descriptor, numbers, and a live word with its size.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            PREFER_BUSY_POLL,
            (&raw mut value).cast(),
            &raw mut bytes,
        )
    };
    if result == 0 {
        Ok(value != 0)
    } else {
        Err(io::Error::last_os_error())
    }
}
