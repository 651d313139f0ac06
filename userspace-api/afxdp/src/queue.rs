//! One receive queue: its socket, the four rings, its frames.
//!
//! Always true: every frame is in exactly one place: fill ring, driver, receive ring, taken ([`Taken`]), transmit ring, completion ring, or free.

use crate::options::{AfxdpError, AfxdpOptions, ETHERNET, QueueReport, Transfer};
use crate::order::Head;
use crate::ring::{Consumer, Place, Producer};
use crate::socket;
use crate::umem::{FRAME_BYTES, Frame, HEADROOM, Umem};
use ring0_abi::steer::STAMP_BYTES;
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_send_buffer_size, set_socket_send_buffer_size_force, set_xdp_rx_ring_size,
    set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size,
    set_xdp_umem_reg, socket_error, xdp_mmap_offsets, xdp_options, xdp_statistics,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpDesc, XdpDescOptions,
    XdpOptionsFlags, XdpStatistics, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Frames that the fill ring leaves for answers that were held.
const FREE_MIN: u32 = 64;

/// Frames that the kernel sends in one call, at the least (`TX_BATCH_SIZE` of `net/xdp/xsk.c`).
pub(crate) const SENDS_A_CALL: u32 = 32;

/// What the kernel may hold of the socket's answers at once, bytes. Each counts as some 2,300; the default stops at 90 of them.
const SEND_BUFFER: usize = 8 << 20;

/// A received packet: its frame, and where in it the packet lies.
pub(crate) struct Taken {
    pub(crate) head: Head,
    pub(crate) frame: Frame,
    at: u32,
    len: u32,
}

/// A queue.
pub(crate) struct Queue {
    // The rings first: they are taken down before the socket and the memory that they speak of.
    receive: Consumer<XdpDesc>,
    transmit: Producer<XdpDesc>,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    socket: OwnedFd,
    umem: Umem,
    free: Vec<Frame>,
    /// The front of the receive ring, looked at and not taken.
    front: Option<Taken>,
    /// Frames without a stamp or outside the memory: none, unless the kernel breaks its word.
    pub(crate) unstamped: u64,
    /// Times that the kernel was told to send, and to receive.
    pub(crate) transmit_wakeups: u64,
    pub(crate) receive_wakeups: u64,
    /// Whether something was written into the transmit ring since the kernel was last told.
    unsent: bool,
    zero_copy: bool,
    busy_poll: bool,
}

/// Whether a failed call to the kernel passes by itself: an interface that is down may come up again, one that is gone (`ENXIO`) does not come back.
fn passes(error: Errno) -> bool {
    matches!(
        error,
        Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR | Errno::NETDOWN
    )
}

impl Queue {
    /// Opens the socket of a queue, binds it and fills its fill ring. The calling thread is in the interface's network namespace.
    pub(crate) fn open(
        options: &AfxdpOptions,
        ifindex: u32,
        number: u32,
    ) -> Result<Queue, AfxdpError> {
        let failed = |act, cure| {
            move |source: io::Error| AfxdpError::Socket {
                act,
                queue: number,
                source,
                cure,
            }
        };
        let failed_call = |act, cure| {
            let failed = failed(act, cure);
            move |error: Errno| failed(error.into())
        };
        let socket = socket_with(
            AddressFamily::XDP,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(failed_call(
            "opening an AF_XDP socket",
            "the kernel needs CONFIG_XDP_SOCKETS and the process CAP_NET_RAW; the `udp` ring works without",
        ))?;
        let (umem, free) = Umem::map(options.frames, options.huge_pages).map_err(failed(
            "mapping the frames",
            "free some memory, or ask for fewer frames",
        ))?;
        let (addr, len) = umem.area();
        let registered = XdpUmemReg {
            addr,
            len,
            chunk_size: FRAME_BYTES,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        let sizes = || {
            set_xdp_umem_reg(&socket, registered)?;
            set_xdp_umem_fill_ring_size(&socket, options.fill_slots)?;
            set_xdp_umem_completion_ring_size(&socket, options.transmit_slots)?;
            set_xdp_rx_ring_size(&socket, options.receive_slots)?;
            set_xdp_tx_ring_size(&socket, options.transmit_slots)
        };
        sizes().map_err(failed_call(
            "registering frames and rings",
            "raise the limit of locked memory (`ulimit -l`), or ask for fewer frames",
        ))?;
        let offsets = xdp_mmap_offsets(&socket).map_err(failed_call(
            "asking for the rings' layout",
            "Linux 5.12 or newer is needed",
        ))?;
        let place = |at, offsets, slots| Place {
            socket: socket.as_fd(),
            at,
            offsets,
            slots,
        };
        let map = failed(
            "mapping the rings",
            "free some memory, or ask for fewer slots",
        );
        let rings = || {
            Ok((
                Consumer::map(&place(XDP_PGOFF_RX_RING, offsets.rx, options.receive_slots))?,
                Producer::map(&place(
                    XDP_PGOFF_TX_RING,
                    offsets.tx,
                    options.transmit_slots,
                ))?,
                Producer::map(&place(
                    XDP_UMEM_PGOFF_FILL_RING,
                    offsets.fr,
                    options.fill_slots,
                ))?,
                Consumer::map(&place(
                    XDP_UMEM_PGOFF_COMPLETION_RING,
                    offsets.cr,
                    options.transmit_slots,
                ))?,
            ))
        };
        let (receive, transmit, fill, completion) = rings().map_err(map)?;
        if let Some(busy) = options.busy_poll {
            socket::set_busy_poll(&socket, busy.micros, busy.budget).map_err(failed(
                "switching busy polling on",
                "Linux 5.11 is needed, and CAP_NET_ADMIN for a budget above 64; leave busy polling off",
            ))?;
        }
        // A wish: with less, fewer answers are on their way at once.
        if set_socket_send_buffer_size_force(&socket, SEND_BUFFER).is_err() {
            let _ = set_socket_send_buffer_size(&socket, SEND_BUFFER);
        }
        let mut queue = Queue {
            receive,
            transmit,
            fill,
            completion,
            socket,
            umem,
            free,
            front: None,
            unstamped: 0,
            transmit_wakeups: 0,
            receive_wakeups: 0,
            unsent: false,
            zero_copy: false,
            busy_poll: false,
        };
        queue.refill();
        queue.bind(options, ifindex, number)?;
        Ok(queue)
    }

    fn bind(
        &mut self,
        options: &AfxdpOptions,
        ifindex: u32,
        number: u32,
    ) -> Result<(), AfxdpError> {
        let interface = || options.interface.clone();
        let transfer = match options.transfer {
            Transfer::Auto => SocketAddrXdpFlags::empty(),
            Transfer::ZeroCopy => SocketAddrXdpFlags::XDP_ZEROCOPY,
            Transfer::Copy => SocketAddrXdpFlags::XDP_COPY,
        };
        let flags = transfer | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
        let address = SocketAddrXdp::new(flags, ifindex, number);
        bind(&self.socket, &address).map_err(|error| match error {
            Errno::BUSY => AfxdpError::QueueTaken {
                interface: interface(),
                queue: number,
            },
            Errno::OPNOTSUPP if options.transfer == Transfer::ZeroCopy => AfxdpError::NoZeroCopy {
                interface: interface(),
                queue: number,
                source: error.into(),
            },
            Errno::INVAL => AfxdpError::NoQueue {
                interface: interface(),
                queue: number,
            },
            error => AfxdpError::Socket {
                act: "binding the socket",
                queue: number,
                source: error.into(),
                cure: "look at the kernel's log, the driver may say more",
            },
        })?;
        let asked = |error: io::Error| AfxdpError::Socket {
            act: "asking what the socket is like",
            queue: number,
            source: error,
            cure: "Linux 5.12 or newer is needed",
        };
        self.zero_copy = xdp_options(&self.socket)
            .map_err(|error| asked(error.into()))?
            .contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        self.busy_poll = match options.busy_poll {
            Some(_) => socket::prefers_busy_poll(&self.socket).map_err(asked)?,
            None => false,
        };
        Ok(())
    }

    pub(crate) fn report(&self) -> QueueReport {
        QueueReport {
            zero_copy: self.zero_copy,
            pages: self.umem.pages(),
            busy_poll: self.busy_poll,
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What stands at the front of the receive ring.
    #[inline]
    pub(crate) fn head(&mut self) -> Option<Head> {
        if self.front.is_none() {
            self.front = self.next();
        }
        self.front.as_ref().map(|taken| taken.head)
    }

    fn next(&mut self) -> Option<Taken> {
        loop {
            let descriptor = self.receive.pop()?;
            let Some((frame, at)) = self.umem.take(descriptor.addr) else {
                self.unstamped += 1;
                continue;
            };
            if let Some(head) = self.stamp(&frame, at, descriptor) {
                return Some(Taken {
                    head,
                    frame,
                    at,
                    len: descriptor.len,
                });
            }
            self.unstamped += 1;
            self.free.push(frame);
        }
    }

    /// The stamp before a packet. `None`: there is no room for one, or the packet goes on in another frame.
    fn stamp(&self, frame: &Frame, at: u32, descriptor: XdpDesc) -> Option<Head> {
        if descriptor.options.contains(XdpDescOptions::XDP_PKT_CONTD) {
            return None;
        }
        let at = at.checked_sub(STAMP_BYTES as u32)?;
        let stamp = self.umem.bytes(frame, at, STAMP_BYTES as u32)?;
        let (number, boot_ns) = stamp.split_first_chunk::<8>()?;
        Some(Head {
            number: u64::from_ne_bytes(*number),
            boot_ns: u64::from_ne_bytes(*boot_ns.first_chunk()?),
        })
    }

    /// Takes the front of the receive ring, which [`Queue::head`] has shown.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        self.front.take()
    }

    /// A packet's bytes, the Ethernet header first.
    pub(crate) fn packet(&self, taken: &Taken) -> &[u8] {
        // Empty where the kernel's length leads out of the frame: then it is no packet of ours.
        self.umem
            .bytes(&taken.frame, taken.at, taken.len)
            .unwrap_or(&[])
    }

    /// The first `len` bytes of a packet's place, to write its answer. `None`: they do not lie in its frame.
    pub(crate) fn packet_mut(&mut self, taken: &mut Taken, len: u32) -> Option<&mut [u8]> {
        self.umem.bytes_mut(&mut taken.frame, taken.at, len)
    }

    /// A free frame, as if a packet had come in it.
    pub(crate) fn blank(&mut self) -> Option<Taken> {
        self.free.pop().map(|frame| Taken {
            head: Head {
                number: 0,
                boot_ns: 0,
            },
            frame,
            at: HEADROOM,
            len: 0,
        })
    }

    /// Lets a packet go.
    pub(crate) fn let_go(&mut self, taken: Taken) {
        self.free.push(taken.frame);
    }

    /// Sends the first `len` bytes of a packet's place. False: the transmit ring is full, the answer is lost.
    pub(crate) fn send(&mut self, taken: Taken, len: u32) -> bool {
        debug_assert!(len >= ETHERNET, "a frame has an Ethernet header");
        if self.transmit.room() == 0 {
            self.free.push(taken.frame);
            return false;
        }
        let addr = Umem::give(taken.frame) + u64::from(taken.at);
        let pushed = self.transmit.push(XdpDesc {
            addr,
            len,
            options: XdpDescOptions::empty(),
        });
        assert!(pushed, "there was room");
        self.unsent = true;
        true
    }

    /// Gives the kernel what is to be sent and the free frames, and takes back what was sent. Tells the kernel only where it wants to be told.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        self.receive.release();
        if self.unsent {
            self.transmit.publish();
            self.unsent = self.wake_transmit()?;
        }
        self.reap();
        self.refill();
        if self.fill.needs_wakeup() {
            self.wake_receive()?;
        }
        Ok(())
    }

    /// Tells the kernel to send. True: something is left that it could not send now.
    fn wake_transmit(&mut self) -> io::Result<bool> {
        if !self.transmit.needs_wakeup() {
            return Ok(false);
        }
        let mut pending = self.transmit.pending();
        for _ in 0..=pending / SENDS_A_CALL {
            if pending == 0 {
                return Ok(false);
            }
            self.transmit_wakeups += 1;
            match send(&self.socket, &[], SendFlags::DONTWAIT) {
                Ok(_) => {}
                Err(error) if passes(error) => self.reap(),
                Err(error) => return Err(error.into()),
            }
            pending = self.transmit.pending();
        }
        Ok(pending != 0)
    }

    /// Tells the kernel that there are frames to receive into; in busy polling, has it look at the queue now.
    pub(crate) fn wake_receive(&mut self) -> io::Result<()> {
        self.receive_wakeups += 1;
        match recv(&self.socket, &mut [0_u8; 0], RecvFlags::DONTWAIT) {
            Ok(_) => Ok(()),
            Err(error) if passes(error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back the frames that were sent.
    fn reap(&mut self) {
        let mut any = false;
        while let Some(address) = self.completion.pop() {
            any = true;
            match self.umem.take(address) {
                Some((frame, _)) => self.free.push(frame),
                None => self.unstamped += 1,
            }
        }
        if any {
            self.completion.release();
        }
    }

    /// Gives free frames to the fill ring, all but some.
    fn refill(&mut self) {
        let keep = FREE_MIN.min(self.umem.frames() / 2) as usize;
        let mut any = false;
        while self.free.len() > keep && self.fill.room() > 0 {
            let Some(frame) = self.free.pop() else { break };
            let pushed = self.fill.push(Umem::give(frame));
            assert!(pushed, "there was room");
            any = true;
        }
        if any {
            self.fill.publish();
        }
    }

    /// What the kernel counts for the socket.
    pub(crate) fn statistics(&self) -> io::Result<XdpStatistics> {
        Ok(xdp_statistics(&self.socket)?)
    }

    /// Why the socket works no more, if so: its interface is gone.
    pub(crate) fn failure(&self) -> io::Result<()> {
        Ok(socket_error(&self.socket)??)
    }
}
