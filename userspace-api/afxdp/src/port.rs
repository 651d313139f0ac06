//! The port: packets of all queues in order of arrival, answers in the frames that they came in.

use crate::control::AfxdpControl;
use crate::options::{AfxdpError, AfxdpOptions, ETHERNET, Report};
use crate::order::{Choice, Order};
use crate::queue::{Queue, Taken};
use crate::umem::PACKET_MAX;
use ring0_abi::steer;
use ring0_engine::record::ReplyTo;
use ring0_rings::{
    Arrival, BATCH, Bell, FrameKind, HEADERS, Neighbours, Port, PortError, classify, headers,
    sender, turn_round,
};
use ring0_wire::Buffer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xdp_loader::{Mode, QUEUES_MAX, Steer, SteerOptions};

/// Name of the port.
const NAME: &str = "afxdp";

/// A packet of the batch.
struct Packet {
    taken: Taken,
    queue: usize,
    /// Bytes of its payload.
    payload: usize,
    from: ReplyTo,
    /// Bytes of the frame as an answer; 0: none.
    answer: u32,
}

/// What the port counts itself.
#[derive(Default)]
struct Counts {
    /// Numbers that were skipped.
    lost: u64,
    /// Packets thrown away because a later one was out already.
    late: u64,
    /// Packets that are none of the shard's.
    foreign: u64,
    /// Answers for which the transmit ring had no room.
    transmit_full: u64,
    /// Held answers to somebody who is not known.
    unknown_receiver: u64,
    /// Held answers for which no frame was free.
    no_frame: u64,
}

/// How frames to one sender begin, and which queue it was last seen on.
#[derive(Clone, Copy)]
struct Way {
    /// Its hardware address, or its router's.
    theirs: [u8; 6],
    /// The hardware address that it sent to.
    ours: [u8; 6],
    /// Queue that it came in by.
    queue: usize,
}

/// The port.
pub struct AfxdpPort {
    queues: Vec<Queue>,
    order: Order,
    packets: Vec<Packet>,
    neighbours: Neighbours<Way>,
    counts: Counts,
    port: u16,
    address: Option<Ipv4Addr>,
    busy_poll: bool,
    report: Report,
    bell: Option<Arc<Bell>>,
    /// Keeps the program attached as long as there is somebody to steer to.
    _steer: Arc<Steer>,
}

/// Loads the steering program, opens a socket for each queue, and attaches: from then on packets of the sessions that the control lets through come
/// out of the port.
///
/// # Errors
/// See [`AfxdpError`]; nothing is attached then.
pub fn open(options: &AfxdpOptions) -> Result<(AfxdpPort, AfxdpControl), AfxdpError> {
    options.check()?;
    let mut config = vec![0; steer::CONFIG_BYTES];
    let address = options.address.map_or([0; 4], |address| address.octets());
    config[steer::PORT..][..4].copy_from_slice(&u32::from(options.port).to_le_bytes());
    config[steer::ADDRESS..][..4].copy_from_slice(&address);
    config[steer::READY..][..4].copy_from_slice(&1_u32.to_le_bytes());
    let mut steer = Steer::load(&SteerOptions {
        object: options.object.clone(),
        interface: options.interface.clone(),
        netns: options.netns.clone(),
        mode: options.mode,
        config,
        sessions_max: options.sessions_max,
    })?;
    let mtu = steer.mtu()?;
    if mtu + ETHERNET > PACKET_MAX {
        return Err(AfxdpError::Mtu {
            interface: options.interface.clone(),
            mtu,
        });
    }
    let ifindex = steer.ifindex();
    let queues = steer.within(|| open_queues(options, ifindex))??;
    for (number, queue) in (0..).zip(&queues) {
        steer.set_socket(number, queue.fd())?;
    }
    steer.attach()?;
    let report = Report {
        queues: queues.iter().map(Queue::report).collect(),
        mode: options.mode,
        verified_instructions: steer.program().verified_instructions(),
        program_id: steer.program().id(),
    };
    let (sessions, counters) = (steer.sessions()?, steer.counters()?);
    let steer = Arc::new(steer);
    let port = AfxdpPort {
        queues,
        order: Order::new(options.gap_wait, options.mode == Mode::Native),
        packets: Vec::with_capacity(BATCH),
        neighbours: Neighbours::default(),
        counts: Counts::default(),
        port: options.port,
        address: options.address,
        busy_poll: options.busy_poll.is_some(),
        report,
        bell: None,
        _steer: Arc::clone(&steer),
    };
    let control = AfxdpControl {
        steer,
        sessions,
        counters,
    };
    Ok((port, control))
}

/// Sockets for the queues asked for, or for all there are: until the kernel says that there is no such queue.
fn open_queues(options: &AfxdpOptions, ifindex: u32) -> Result<Vec<Queue>, AfxdpError> {
    let mut queues = Vec::new();
    for number in 0..options.queues.unwrap_or(QUEUES_MAX) {
        match Queue::open(options, ifindex, number) {
            Err(AfxdpError::NoQueue { .. }) if number > 0 && options.queues.is_none() => break,
            queue => queues.push(queue?),
        }
    }
    Ok(queues)
}

/// The boot-time clock, which the steering program stamps with.
fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn error(act: &'static str) -> impl FnOnce(io::Error) -> PortError {
    move |source| PortError {
        port: NAME,
        act,
        source,
    }
}

impl AfxdpPort {
    /// What came of the options: how each queue's frames come, and in which pages.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Takes what has arrived, at most [`BATCH`] packets. True: a number is missing that may still come.
    fn take_batch(&mut self) -> bool {
        while self.packets.len() < BATCH {
            let heads = self.queues.iter_mut().map(Queue::head);
            match self.order.choose(heads, boot_ns) {
                Choice::Nothing => return false,
                Choice::Wait => return true,
                Choice::Late { queue } => {
                    self.counts.late += 1;
                    let queue = &mut self.queues[queue];
                    if let Some(taken) = queue.take() {
                        queue.let_go(taken);
                    }
                }
                Choice::Take { queue, lost } => {
                    self.counts.lost += lost;
                    let number = queue;
                    let queue = &mut self.queues[number];
                    let Some(taken) = queue.take() else {
                        return false; // never: it was just shown
                    };
                    self.order.taken(taken.head.number);
                    self.note(number, taken);
                }
            }
        }
        false
    }

    /// Puts a packet into the batch, if it is one of the shard's.
    fn note(&mut self, queue: usize, taken: Taken) {
        let frame = self.queues[queue].packet(&taken);
        let (FrameKind::Order(payload), Some(head)) = (
            classify(frame, self.port, self.address),
            frame.first_chunk::<HEADERS>(),
        ) else {
            self.counts.foreign += 1;
            self.queues[queue].let_go(taken);
            return;
        };
        let from = sender(head);
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *head;
        let way = Way {
            theirs: [g, h, i, j, k, l],
            ours: [a, b, c, d, e, f],
            queue,
        };
        self.neighbours.learn(from.address, way);
        self.packets.push(Packet {
            taken,
            queue,
            payload,
            from,
            answer: 0,
        });
    }

    /// Rings that are to be turned, all of them.
    fn turn(&mut self) -> Result<(), PortError> {
        for queue in &mut self.queues {
            queue.turn().map_err(error(
                "tell the kernel of its rings; look whether the interface is up",
            ))?;
        }
        Ok(())
    }

    /// Sleeps until a queue has something, at most so long.
    fn sleep(&self, wait: Duration) -> Result<(), PortError> {
        /// Queues whose sockets are polled without a list of them on the heap; further ones are looked at when the time is over.
        const POLLED: usize = 64;
        let act = "wait for packets; look whether the interface is still there";
        let mut wanted = std::array::from_fn::<_, POLLED, _>(|number| {
            let queue = self.queues.get(number).unwrap_or(&self.queues[0]);
            PollFd::from_borrowed_fd(queue.fd(), PollFlags::IN)
        });
        let mut queues = self.queues.len().min(POLLED);
        if let Some(bell) = &self.bell {
            // The last place is the bell's where there are as many queues.
            queues = queues.min(POLLED - 1);
            wanted[queues] = bell.poll_fd();
            queues += 1;
        }
        let wanted = &mut wanted[..queues];
        let timeout = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(wanted, Some(&timeout)) {
            Ok(0) => self
                .queues
                .iter()
                .try_for_each(Queue::failure)
                .map_err(error(act)),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(error(act)(errno.into())),
        }
    }
}

impl Port for AfxdpPort {
    fn name(&self) -> &'static str {
        NAME
    }

    fn heed(&mut self, bell: &Arc<Bell>) {
        self.bell = Some(Arc::clone(bell));
    }

    fn receive(&mut self, wait: Duration) -> Result<usize, PortError> {
        // Whoever did not flush has answered nothing.
        while let Some(packet) = self.packets.pop() {
            self.queues[packet.queue].let_go(packet.taken);
        }
        let begin = Instant::now();
        loop {
            self.turn()?;
            let may_come = self.take_batch();
            if !self.packets.is_empty() {
                return Ok(self.packets.len());
            }
            let rung = self.bell.as_ref().is_some_and(|bell| bell.is_rung());
            let left = match rung {
                true => Duration::ZERO,
                false => wait.saturating_sub(begin.elapsed()),
            };
            if self.busy_poll {
                for queue in &mut self.queues {
                    queue
                        .wake_receive()
                        .map_err(error("poll a queue; look whether the interface is up"))?;
                }
            }
            if may_come {
                // Bounded: the front's stamp grows old.
                std::hint::spin_loop();
            } else if left.is_zero() {
                // What the last look at the queues has brought is there now.
                self.take_batch();
                return Ok(self.packets.len());
            } else if !self.busy_poll {
                self.sleep(left)?;
            }
        }
    }

    fn packet(&self, index: usize) -> Arrival<'_> {
        let packet = &self.packets[index];
        let taken = &packet.taken;
        Arrival {
            payload: &self.queues[packet.queue].packet(taken)[HEADERS..][..packet.payload],
            boot_ns: taken.head.boot_ns,
            number: Some(taken.head.number),
            from: packet.from,
        }
    }

    fn answer(&mut self, index: usize, answer: &Buffer, len: usize) {
        let packet = &mut self.packets[index];
        let whole = (HEADERS + len) as u32;
        let frame = self.queues[packet.queue].packet_mut(&mut packet.taken, whole);
        let Some((head, payload)) = frame.and_then(|frame| frame.split_first_chunk_mut()) else {
            return; // never: an answer is not longer than its request, which lies in the frame
        };
        turn_round(head, len);
        answer.copy_out(payload);
        packet.answer = whole;
    }

    fn flush(&mut self) -> Result<(), PortError> {
        // In the order of arrival, which is the order of the answers.
        for packet in self.packets.drain(..) {
            let queue = &mut self.queues[packet.queue];
            if packet.answer == 0 {
                queue.let_go(packet.taken);
            } else if !queue.send(packet.taken, packet.answer) {
                self.counts.transmit_full += 1;
            }
        }
        self.turn()
    }

    fn send(&mut self, to: &ReplyTo, payload: &[u8]) -> bool {
        let Some(way) = self.neighbours.find(to.address) else {
            self.counts.unknown_receiver += 1;
            return false;
        };
        let queue = &mut self.queues[way.queue];
        let len = (HEADERS + payload.len()) as u32;
        let Some(mut taken) = queue.blank() else {
            self.counts.no_frame += 1;
            return false;
        };
        let Some((head, body)) = queue
            .packet_mut(&mut taken, len)
            .and_then(|frame| frame.split_first_chunk_mut())
        else {
            queue.let_go(taken);
            self.counts.no_frame += 1;
            return false;
        };
        *head = headers((way.theirs, way.ours), to, self.port, payload.len());
        body.copy_from_slice(payload);
        let sent = queue.send(taken, len);
        if !sent {
            self.counts.transmit_full += 1;
        }
        sent
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Counts {
            lost,
            late,
            foreign,
            transmit_full,
            unknown_receiver,
            no_frame,
        } = self.counts;
        let of_queues = |of: fn(&Queue) -> u64| self.queues.iter().map(of).sum();
        let mut all = vec![
            ("xsk_lost", lost),
            ("xsk_late", late),
            ("xsk_foreign", foreign),
            ("xsk_tx_full", transmit_full),
            ("xsk_unknown_receiver", unknown_receiver),
            ("xsk_no_frame", no_frame),
            ("xsk_neighbours_forgotten", self.neighbours.forgotten()),
            ("xsk_unstamped", of_queues(|it| it.unstamped)),
            ("xsk_tx_wakeups", of_queues(|it| it.transmit_wakeups)),
            ("xsk_rx_wakeups", of_queues(|it| it.receive_wakeups)),
        ];
        // A socket that cannot be asked any more fails in `receive`, where it is said.
        let statistics: Vec<_> = self
            .queues
            .iter()
            .filter_map(|queue| queue.statistics().ok())
            .collect();
        let sum = |of: fn(&rustix::net::xdp::XdpStatistics) -> u64| statistics.iter().map(of).sum();
        all.extend([
            ("xsk_rx_dropped", sum(|it| it.rx_dropped)),
            ("xsk_rx_invalid_descs", sum(|it| it.rx_invalid_descs)),
            ("xsk_tx_invalid_descs", sum(|it| it.tx_invalid_descs)),
            (
                "xsk_rx_ring_full",
                sum(|it| it.rx_ring_full.unwrap_or_default()),
            ),
            (
                "xsk_rx_fill_ring_empty_descs",
                sum(|it| it.rx_fill_ring_empty_descs.unwrap_or_default()),
            ),
            (
                "xsk_tx_ring_empty_descs",
                sum(|it| it.tx_ring_empty_descs.unwrap_or_default()),
            ),
        ]);
        all
    }
}
