//! The port: frames in, answers out in the same buffers.
//!
//! Invariants: every frame that the device gave ends under one counter here, or is a packet of the ring; a packet's buffer is freed or sent by the next
//! [`Port::flush`]. No call of the thread's allocates but [`Port::counters`].

use crate::device::{Device, Frame};
use crate::{DpdkError, Eal, arp};
use ring0_abi::Counter;
use ring0_engine::record::ReplyTo;
use ring0_rings::{
    Arrival, BATCH, Bell, FrameKind, HEADERS, Neighbours, Port, PortError, boot_ns, classify,
    headers, sender, turn_round,
};
use ring0_wire::{Buffer, PAYLOAD_MAX};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a port is opened with.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// The device, as it was named to [`EalOptions`](crate::EalOptions).
    pub device: String,
    /// UDP port of the shard.
    pub port: u16,
    /// Address of the shard; `None`: any. With an address the port answers ARP requests for it: nobody else does where no kernel has the device, and
    /// where one has, with the address on the interface, both say the same.
    pub address: Option<Ipv4Addr>,
    /// Frames that each queue holds, as near as the device can. 1,024 by default: some milliseconds of small packets.
    pub descriptors: u16,
    /// How long the thread sleeps between two looks that found nothing. Zero by default: it polls, which costs one processor whole, always, and
    /// answers soonest.
    pub nap: Duration,
}

impl PortOptions {
    /// Any address, 1,024 frames, no sleep.
    #[must_use]
    pub fn new(device: impl Into<String>, port: u16) -> PortOptions {
        PortOptions {
            device: device.into(),
            port,
            address: None,
            descriptors: 1024,
            nap: Duration::ZERO,
        }
    }
}

/// What a driver counts.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stats {
    pub(crate) received: u64,
    pub(crate) missed: u64,
    pub(crate) receive_errors: u64,
    pub(crate) no_buffer: u64,
    pub(crate) sent: u64,
    pub(crate) send_errors: u64,
}

/// What the port counts. Writer: the ring's thread.
#[derive(Default)]
struct Counts {
    /// Frames that are not packets of the shard, by [`Counter`].
    frames: [u64; Counter::ALL.len()],
    arp_answered: u64,
    segmented: u64,
    shared: u64,
    answer_no_room: u64,
    transmit_full: u64,
    no_neighbour: u64,
    send_no_buffer: u64,
    send_too_long: u64,
}

/// A packet that waits for its answer.
struct Packet {
    frame: Frame,
    payload_len: usize,
    answered: bool,
}

/// A device of DPDK as the ring's port.
pub struct DpdkPort {
    // The frames first: they end before the device whose buffers they are.
    packets: Vec<Packet>,
    received: Vec<Frame>,
    device: Device,
    options: PortOptions,
    /// Hardware addresses.
    neighbours: Neighbours<[u8; 6]>,
    counts: Counts,
    /// Boot-time clock when the packets were received.
    boot_ns: u64,
    /// Whether DPDK knows the ring's thread: from the first look on.
    is_thread_known: bool,
    bell: Option<Arc<Bell>>,
}

impl DpdkPort {
    /// Configures and starts the device, one queue each way.
    ///
    /// # Errors
    /// There is no such device, it refuses, or its buffers do not fit the environment's memory.
    pub fn open(eal: &Eal, options: &PortOptions) -> Result<DpdkPort, DpdkError> {
        Ok(DpdkPort {
            packets: Vec::with_capacity(BATCH),
            received: Vec::with_capacity(BATCH),
            device: Device::open(eal, options)?,
            options: options.clone(),
            neighbours: Neighbours::default(),
            counts: Counts::default(),
            boot_ns: 0,
            is_thread_known: false,
            bell: None,
        })
    }

    /// The device's hardware address, from which answers come.
    #[must_use]
    pub fn hardware(&self) -> [u8; 6] {
        self.device.hardware()
    }

    /// Sorts what was received: packets of the shard are kept, everything else ends here.
    fn sort(&mut self) {
        let ours = self.options.address;
        for mut frame in self.received.drain(..) {
            if frame.segments() != 1 {
                self.counts.segmented += 1;
                continue;
            }
            if frame.references() != 1 {
                self.counts.shared += 1;
                continue;
            }
            let bytes = frame.bytes();
            match classify(bytes, self.options.port, ours) {
                FrameKind::Order(payload_len) => {
                    let source = bytes[6..12].first_chunk().expect("six bytes");
                    let address = bytes[26..30].first_chunk().expect("four bytes");
                    self.neighbours.learn(*address, *source);
                    self.packets.push(Packet {
                        frame,
                        payload_len,
                        answered: false,
                    });
                }
                FrameKind::BadLength => self.counts.frames[Counter::DropLength as usize] += 1,
                FrameKind::NotOurs(counter) => match ours {
                    Some(ours) if arp::asks_for(bytes, ours) => {
                        let len = bytes.len();
                        arp::answer(frame.room(), ours, self.device.hardware());
                        frame.set_len(len);
                        self.counts.arp_answered += 1;
                        self.counts.transmit_full +=
                            self.device.transmit([frame].into_iter()) as u64;
                    }
                    _ => self.counts.frames[counter as usize] += 1,
                },
            }
        }
    }
}

/// The headers of a frame that has them.
fn headers_of(bytes: &mut [u8]) -> &mut [u8; HEADERS] {
    bytes
        .first_chunk_mut()
        .expect("a packet has all its headers")
}

impl Port for DpdkPort {
    fn name(&self) -> &'static str {
        "dpdk"
    }

    fn heed(&mut self, bell: &Arc<Bell>) {
        self.bell = Some(Arc::clone(bell));
    }

    /// Packets of a call before that were not flushed are flushed first. Never fails: a driver that polls has no error to give, a dead link only
    /// brings nothing.
    fn receive(&mut self, wait: Duration) -> Result<usize, PortError> {
        self.flush()?;
        if !self.is_thread_known {
            self.device.know_thread();
            self.is_thread_known = true;
        }
        let begin = Instant::now();
        loop {
            self.device.receive(&mut self.received);
            if !self.received.is_empty() {
                self.boot_ns = boot_ns();
                self.sort();
                if !self.packets.is_empty() {
                    return Ok(self.packets.len());
                }
            }
            let rung = self.bell.as_ref().is_some_and(|bell| bell.is_rung());
            if rung || begin.elapsed() >= wait {
                return Ok(0);
            }
            if self.options.nap.is_zero() {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(self.options.nap);
            }
        }
    }

    fn packet(&self, index: usize) -> Arrival<'_> {
        let packet = &self.packets[index];
        let bytes = packet.frame.bytes();
        let (headers, rest) = bytes
            .split_first_chunk()
            .expect("a packet has all its headers");
        Arrival {
            payload: &rest[..packet.payload_len],
            boot_ns: self.boot_ns,
            number: None,
            from: sender(headers),
        }
    }

    fn answer(&mut self, index: usize, answer: &Buffer, len: usize) {
        let hardware = self.device.hardware();
        let packet = &mut self.packets[index];
        assert!(!packet.answered, "a packet is answered once");
        let bytes = packet.frame.room();
        let Some(payload) = bytes.get_mut(HEADERS..HEADERS + len) else {
            self.counts.answer_no_room += 1;
            return;
        };
        answer.copy_out(payload);
        let headers = headers_of(bytes);
        turn_round(headers, len);
        // Where the packet was sent to may be everybody's address, which no answer may come from.
        headers[6..12].copy_from_slice(&hardware);
        packet.frame.set_len(HEADERS + len);
        packet.answered = true;
    }

    /// Hands the answers to the device in one burst and frees what has none. Never fails.
    fn flush(&mut self) -> Result<(), PortError> {
        if self.packets.is_empty() {
            return Ok(());
        }
        let answered = self.packets.drain(..).filter(|packet| packet.answered);
        let lost = self.device.transmit(answered.map(|packet| packet.frame));
        self.counts.transmit_full += lost as u64;
        Ok(())
    }

    fn send(&mut self, to: &ReplyTo, payload: &[u8]) -> bool {
        let Some(theirs) = self.neighbours.find(to.address) else {
            self.counts.no_neighbour += 1;
            return false;
        };
        if payload.len() > PAYLOAD_MAX {
            self.counts.send_too_long += 1;
            return false;
        }
        let Some(mut frame) = self.device.frame() else {
            self.counts.send_no_buffer += 1;
            return false;
        };
        let between = (theirs, self.device.hardware());
        // A buffer has room for any frame of Ethernet.
        let (head, rest) = frame.room().split_at_mut(HEADERS);
        head.copy_from_slice(&headers(between, to, self.options.port, payload.len()));
        rest[..payload.len()].copy_from_slice(payload);
        frame.set_len(HEADERS + payload.len());
        let lost = self.device.transmit([frame].into_iter());
        self.counts.transmit_full += lost as u64;
        lost == 0
    }

    /// Frames that are not the shard's under the kernel program's names for them ("pass": here they end, there is no kernel to pass them to), the
    /// port's own and the driver's.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let kept = [
            Counter::PassEtherType,
            Counter::PassProtocol,
            Counter::PassPort,
            Counter::PassFragment,
            Counter::PassOptions,
            Counter::PassTruncated,
            Counter::DropLength,
        ];
        let frames = kept.map(|it| (it.name(), self.counts.frames[it as usize]));
        let (counts, stats) = (&self.counts, self.device.stats());
        let own = [
            ("dpdk_arp_answered", counts.arp_answered),
            ("dpdk_drop_segmented", counts.segmented),
            ("dpdk_drop_shared", counts.shared),
            ("dpdk_answer_no_room", counts.answer_no_room),
            ("dpdk_transmit_full", counts.transmit_full),
            ("dpdk_send_no_neighbour", counts.no_neighbour),
            ("dpdk_send_no_buffer", counts.send_no_buffer),
            ("dpdk_send_too_long", counts.send_too_long),
            ("dpdk_received", stats.received),
            ("dpdk_missed", stats.missed),
            ("dpdk_receive_errors", stats.receive_errors),
            ("dpdk_receive_no_buffer", stats.no_buffer),
            ("dpdk_sent", stats.sent),
            ("dpdk_send_errors", stats.send_errors),
        ];
        frames.into_iter().chain(own).collect()
    }
}
