//! What ends a ring's wait for packets besides a packet: its process asks its thread something.
//!
//! Always true: who has put a call into the thread's queue and then rung is heard without a wait. The thread hushes the bell before it looks at the
//! queue, so a call that the look missed has rung since.

use crate::port::PortError;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
#[derive(Debug)]
pub struct Bell {
    /// Readable from a ring until it is hushed: for ports that sleep in the kernel.
    counter: OwnedFd,
    /// The same for ports that ask their device again and again. Writers: those who ring; the thread, which takes it back.
    rung: AtomicBool,
}

impl Bell {
    /// A bell that has not been rung.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn new() -> Result<Bell, PortError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let counter = eventfd(0, flags).map_err(|error| PortError {
            port: "ring's",
            act: "make what wakes it; look at the limit of open files",
            source: error.into(),
        })?;
        Ok(Bell {
            counter,
            rung: AtomicBool::new(false),
        })
    }

    /// Ends the wait that goes on, or the next one.
    pub fn ring(&self) {
        // A full counter is readable, which is all that is wanted.
        let _ = rustix::io::write(&self.counter, &1_u64.to_ne_bytes());
        // Behind the write: whoever takes this back may read the counter.
        self.rung.store(true, Ordering::Release);
    }

    /// Whether a wait is to end.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// For a port's own poll.
    #[must_use]
    pub fn poll_fd(&self) -> PollFd<'_> {
        let fd: BorrowedFd<'_> = self.counter.as_fd();
        PollFd::from_borrowed_fd(fd, PollFlags::IN)
    }

    /// Takes the ring back: what was asked before is looked at now.
    pub(crate) fn hush(&self) {
        if self.rung.swap(false, Ordering::Acquire) {
            // Nothing to read where another ring's write has been taken already.
            let _ = rustix::io::read(&self.counter, &mut [0_u8; 8][..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Port;
    use crate::udp::UdpPort;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// Longer than anything that is done here; a wait that nothing ends takes all of it.
    const WAIT: Duration = Duration::from_secs(600);

    #[test]
    fn a_ring_ends_a_wait_once() {
        let mut port = UdpPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let bell = Arc::new(Bell::new().unwrap());
        port.heed(&bell);
        let begin = Instant::now();
        // Before the wait, and twice.
        bell.ring();
        bell.ring();
        assert_eq!(port.receive(WAIT).unwrap(), 0);
        bell.hush();
        assert!(!bell.is_rung());
        // During it.
        let theirs = Arc::clone(&bell);
        let ringing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            theirs.ring();
        });
        while !bell.is_rung() {
            assert_eq!(port.receive(WAIT).unwrap(), 0);
        }
        ringing.join().unwrap();
        bell.hush();
        // Taken back, it ends no further one.
        assert_eq!(port.receive(Duration::from_millis(1)).unwrap(), 0);
        assert!(begin.elapsed() < WAIT, "the bell was not heard");
        let polled = rustix::event::poll(
            &mut [bell.poll_fd()],
            Some(&rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        );
        assert_eq!(polled.unwrap(), 0, "nothing is left to read");
    }
}
