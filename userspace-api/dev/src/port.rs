//! Ports on loopback for processes that are told theirs before they listen.
//!
//! Always true: they lie below those that the kernel gives to whoever asks for any (from 32768 on, `ip_local_port_range` in `ip-sysctl.rst`). So nothing
//! that connects takes one between the choice and the listening, nor while the process that listened there is started again.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A TCP port that nobody listens on now: the usual one where there is one and it is free.
pub(crate) fn tcp(usual: Option<u16>) -> io::Result<u16> {
    free(usual, |port| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
    })
}

/// The same for UDP.
pub(crate) fn udp(usual: Option<u16>) -> io::Result<u16> {
    free(usual, |port| {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
    })
}

fn free(usual: Option<u16>, bind: impl Fn(u16) -> io::Result<()>) -> io::Result<u16> {
    /// How many were tried: none is given twice by a process until all were.
    static TRIED: AtomicU32 = AtomicU32::new(0);
    if let Some(port) = usual.filter(|port| bind(*port).is_ok()) {
        return Ok(port);
    }
    // Processes that run side by side begin far from each other.
    let begin = std::process::id().wrapping_mul(101);
    for _ in 0..COUNT {
        let number = begin.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = (FIRST + number % COUNT) as u16;
        match bind(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            other => return other.map(|()| port),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("none of the {COUNT} ports from {FIRST} on is free"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_one_where_it_is_free_and_none_twice() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, tcp(None).unwrap())).unwrap();
        let taken = taken.local_addr().unwrap().port();
        let others = [tcp(Some(taken)), tcp(None), udp(None)].map(Result::unwrap);
        for (number, port) in others.into_iter().enumerate() {
            assert!((20_000..32_000).contains(&port), "{port}");
            assert!(
                port != taken && !others[..number].contains(&port),
                "{others:?}"
            );
        }
        assert_eq!(udp(Some(others[2])).unwrap(), others[2]);
    }
}
