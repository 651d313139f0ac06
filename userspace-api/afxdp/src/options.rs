//! How the port is opened, what came of it, and why it was not.

use crate::umem::{FRAME_BYTES, HEADROOM, PACKET_MAX};
use ring0_rings::RingError;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use xdp_loader::{LoaderError, Mode, Object, QUEUES_MAX};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: u32 = 14;

/// How frames come from the driver into our memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Transfer {
    /// Without a copy where the driver can, else with one; the report says which.
    #[default]
    Auto,
    /// Without a copy, or not at all.
    ZeroCopy,
    /// With a copy, whatever the driver can.
    Copy,
}

/// The ring's thread drives the receive queues itself instead of waiting for interrupts. It then never sleeps: it has a processor for itself.
///
/// Worth it together with `napi_defer_hard_irqs` and `gro_flush_timeout` of the interface, which keep the interrupts away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BusyPoll {
    /// How long one call polls an empty queue, microseconds.
    pub micros: u32,
    /// Packets that one call takes from the driver at the most, 1 to 65,535; above 64 the kernel wants CAP_NET_ADMIN.
    pub budget: u32,
}

impl Default for BusyPoll {
    /// 20 µs and 64 packets: a short call, and one batch of the port.
    fn default() -> Self {
        BusyPoll {
            micros: 20,
            budget: 64,
        }
    }
}

/// What the port needs to know.
#[derive(Clone, Debug)]
pub struct AfxdpOptions {
    /// The steering program.
    pub object: Object,
    /// Interface that the shard is on.
    pub interface: String,
    /// Network namespace of the interface, by its `ip netns` name; `None` is the caller's.
    pub netns: Option<String>,
    /// Where the steering program is attached. Never changed silently.
    pub mode: Mode,
    /// UDP port of the shard.
    pub port: u16,
    /// Address of the shard; `None`: any.
    pub address: Option<Ipv4Addr>,
    /// Sessions at the most, as in the engine's capacity.
    pub sessions_max: u32,
    /// Receive queues with a socket, from queue 0 on; `None`: all that the interface has. Packets that come in by another are dropped
    /// (`drop_no_socket`).
    pub queues: Option<u32>,
    /// Frames of each queue, 2,048 bytes each.
    pub frames: u32,
    /// Slots of the receive ring of each queue, a power of two: packets that wait when the ring's thread is late. One more is lost, and shows as a
    /// gap.
    pub receive_slots: u32,
    /// Slots of the fill ring of each queue, a power of two.
    pub fill_slots: u32,
    /// Slots of the transmit and of the completion ring of each queue, a power of two: answers on their way.
    pub transmit_slots: u32,
    /// Whether huge pages are asked for. Without free ones the frames lie in ordinary pages; the report says which.
    pub huge_pages: bool,
    /// With or without a copy.
    pub transfer: Transfer,
    /// Busy polling; `None`: the thread sleeps in `poll` when nothing comes.
    pub busy_poll: Option<BusyPoll>,
    /// How old a stamp must be until a missing number before it is given up, where a queue shows nothing and may still have it. Longer than a driver
    /// takes for one batch; shorter is faster after a loss.
    pub gap_wait: Duration,
}

impl AfxdpOptions {
    /// All queues, native mode, 4,096 frames and rings of 2,048 slots a queue, no busy polling.
    #[must_use]
    pub fn new(object: Object, interface: &str, netns: Option<&str>, port: u16) -> AfxdpOptions {
        AfxdpOptions {
            object,
            interface: interface.to_owned(),
            netns: netns.map(str::to_owned),
            mode: Mode::Native,
            port,
            address: None,
            sessions_max: 1 << 10,
            queues: None,
            frames: 4096,
            receive_slots: 2048,
            fill_slots: 2048,
            transmit_slots: 2048,
            huge_pages: true,
            transfer: Transfer::Auto,
            busy_poll: None,
            gap_wait: Duration::from_millis(1),
        }
    }

    pub(crate) fn check(&self) -> Result<(), AfxdpError> {
        let refuse = |option, value: u32, rule| {
            Err(AfxdpError::Option {
                option,
                value,
                rule,
            })
        };
        for (option, slots) in [
            ("receive slots", self.receive_slots),
            ("fill slots", self.fill_slots),
            ("transmit slots", self.transmit_slots),
        ] {
            if !slots.is_power_of_two() || !(1..=1 << 16).contains(&slots) {
                return refuse(option, slots, "give a power of two up to 65536");
            }
        }
        if !(2..=1 << 20).contains(&self.frames) {
            return refuse("frames", self.frames, "give 2 to 1048576 for each queue");
        }
        if let Some(queues) = self.queues
            && !(1..=QUEUES_MAX).contains(&queues)
        {
            return refuse("queues", queues, "give 1 to 256, or none for all");
        }
        if let Some(BusyPoll { budget, .. }) = self.busy_poll
            && !(1..=0xFFFF).contains(&budget)
        {
            return refuse("busy poll budget", budget, "give 1 to 65535");
        }
        Ok(())
    }
}

/// What kind of pages the frames lie in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pages {
    /// 2 MiB.
    Huge,
    /// 4 KiB, or what the kernel makes of them by itself.
    Ordinary,
}

/// What one queue's socket is like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueReport {
    /// Whether frames come without a copy.
    pub zero_copy: bool,
    /// Pages of its frames.
    pub pages: Pages,
    /// Whether the kernel took the busy-poll options.
    pub busy_poll: bool,
}

/// What came of the options.
#[derive(Clone, Debug)]
pub struct Report {
    /// The queues, from 0 on.
    pub queues: Vec<QueueReport>,
    /// Where the steering program is attached.
    pub mode: Mode,
    /// Instructions that the verifier walked through.
    pub verified_instructions: u32,
    /// Kernel id of the steering program.
    pub program_id: u32,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "steering program {} attached in {} mode",
            self.program_id, self.mode
        )?;
        for (number, queue) in self.queues.iter().enumerate() {
            write!(
                f,
                "; queue {number}: {}, {} pages{}",
                if queue.zero_copy { "zero-copy" } else { "copy" },
                match queue.pages {
                    Pages::Huge => "huge",
                    Pages::Ordinary => "ordinary",
                },
                if queue.busy_poll { ", busy poll" } else { "" }
            )?;
        }
        Ok(())
    }
}

/// Why the port is not open.
#[derive(Debug, thiserror::Error)]
pub enum AfxdpError {
    /// The steering program.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The ring behind the port.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// An option has an impossible value.
    #[error("{option} is {value}; {rule}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: u32,
        /// What it must be.
        rule: &'static str,
    },
    /// A packet of the interface may be longer than a frame, and a packet over several frames is not taken.
    #[error(
        "MTU {mtu} of {interface}: a frame takes packets up to MTU {max} ({FRAME_BYTES} bytes less {HEADROOM} of headroom and {ETHERNET} of Ethernet), and packets over several frames (multi-buffer) are not taken; `ip link set dev {interface} mtu 1500`",
        max = PACKET_MAX - ETHERNET
    )]
    Mtu {
        /// Interface asked for.
        interface: String,
        /// Its largest packet.
        mtu: u32,
    },
    /// The driver cannot do without a copy, and nothing else was wanted.
    #[error(
        "the driver of {interface} cannot give queue {queue} without a copy ({source}); choose transfer `auto` or `copy`"
    )]
    NoZeroCopy {
        /// Interface asked for.
        interface: String,
        /// The queue.
        queue: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The queue already has a socket.
    #[error(
        "queue {queue} of {interface} has an AF_XDP socket of somebody else; stop that process (`ss --xdp -p` lists them) or choose another interface"
    )]
    QueueTaken {
        /// Interface asked for.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// The interface has no such queue.
    #[error(
        "{interface} has no queue {queue}; `ethtool -l {interface}` shows how many there are, ask for fewer"
    )]
    NoQueue {
        /// Interface asked for.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// A call failed.
    #[error("{act} for queue {queue} failed: {source}; {cure}")]
    Socket {
        /// What was tried.
        act: &'static str,
        /// For which queue.
        queue: u32,
        /// The system's answer.
        source: io::Error,
        /// What to do.
        cure: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_options_are_refused_with_the_rule() {
        let options = AfxdpOptions::new(Object::Bytes((&[]).into()), "eth0", None, 9000);
        options.check().unwrap();
        let check = |change: &dyn Fn(&mut AfxdpOptions), expected: &str| {
            let mut options = options.clone();
            change(&mut options);
            let error = options.check().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&|it| it.receive_slots = 100, "power of two");
        check(&|it| it.fill_slots = 0, "power of two");
        check(&|it| it.transmit_slots = 1 << 17, "65536");
        check(&|it| it.frames = 1, "2 to 1048576");
        check(&|it| it.queues = Some(0), "1 to 256");
        check(
            &|it| {
                it.busy_poll = Some(BusyPoll {
                    micros: 1,
                    budget: 0,
                });
            },
            "65535",
        );
    }
}
