//! A plain UDP-socket server round the native engine: what a ring without a kernel program costs, with the same checks.
//!
//! One thread, one socket: `recvmmsg`, then tag, sequence, rate, match, record and answer by the same engine, then `sendmmsg`. Records
//! go to a ring in memory of its own. For `ring0 bench wire`, and for kernels without an arena (RULES 33).

use crate::bench::mmsg::{self, Receiver, Sender};
use crate::fail::Fail;
use ring0_drive::{MemoryRing, set_up};
use ring0_engine::Capacity;
use ring0_engine::control::Control;
use ring0_engine::native::Native;
use ring0_wire::Key;
use rustix::time::{ClockId, clock_gettime};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the socket waits before the server looks whether it should stop.
const LOOK_UP: Duration = Duration::from_millis(50);

/// What a server is made with.
pub(crate) struct Options {
    /// Of the shard.
    pub(crate) capacity: Capacity,
    /// What makes the market.
    pub(crate) controls: Vec<Control>,
    /// Keys by session index; without one tags are neither checked nor made.
    pub(crate) keys: Vec<Option<Key>>,
    /// Slots of the record ring.
    pub(crate) record_slots: usize,
    /// Processor to stay on.
    pub(crate) processor: Option<usize>,
}

/// What a server did.
pub(crate) struct Served {
    /// The engine as it was left.
    pub(crate) native: Native<MemoryRing>,
    /// Packets received.
    pub(crate) received: u64,
    /// Packets answered.
    pub(crate) answered: u64,
    /// Packets dropped: malformed, of no session, or with a bad tag.
    pub(crate) dropped: u64,
}

/// A server that runs.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Served, Fail>>,
}

impl Server {
    /// Serves on a bound socket until [`Server::stop`].
    pub(crate) fn start(socket: UdpSocket, options: Options) -> Result<Server, Fail> {
        let mut native =
            Native::with_recorder(&options.capacity, MemoryRing::new(options.record_slots))?;
        set_up(native.control(&options.controls, boot_ns()))?;
        socket.set_read_timeout(Some(LOOK_UP))?;
        mmsg::buffers(&socket, 8 << 20)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            if let Some(processor) = options.processor {
                mmsg::pin_to(processor)?;
            }
            serve(&socket, native, &options.keys, &stopped)
        });
        Ok(Server { stop, thread })
    }

    /// Ends the server.
    pub(crate) fn stop(self) -> Result<Served, Fail> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| Fail::new("the UDP server's thread panicked; its text is above");
        self.thread.join().map_err(panicked)?
    }
}

fn serve(
    socket: &UdpSocket,
    mut native: Native<MemoryRing>,
    keys: &[Option<Key>],
    stop: &AtomicBool,
) -> Result<Served, Fail> {
    let (mut receiver, mut sender) = (Receiver::default(), Sender::default());
    let (mut received, mut answered, mut dropped) = (0, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let packets = receiver.receive(socket)?;
        sender.clear();
        for index in 0..packets {
            let key = |session: u32| keys.get(session as usize).copied().flatten();
            match native.packet_in_place(receiver.get(index), boot_ns(), key) {
                Ok((_, len)) => {
                    native
                        .shard()
                        .scratch()
                        .answer
                        .copy_out(&mut sender.room()[..len]);
                    sender.pushed(len, receiver.from(index));
                }
                Err(_) => dropped += 1,
            }
        }
        received += packets as u64;
        answered += sender.len() as u64;
        sender.send(socket)?;
    }
    Ok(Served {
        native,
        received,
        answered,
        dropped,
    })
}

fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
