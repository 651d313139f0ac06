//! A generator: packets that stand ready in a socket's frames, sent as fast as one processor gives them to the interface.
//!
//! Always true: a frame is written before the first packet leaves and never again, so it may be under way more than once; no more packets are under way
//! than the completion ring has slots, so none is missed: what was given to the kernel and came back is what was sent.

use crate::options::AfxdpError;
use crate::queue::SENDS_A_CALL;
use crate::ring::{Consumer, Place, Producer};
use crate::umem::{FRAME_BYTES, Umem};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::{
    set_socket_send_buffer_size_force, set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size,
    set_xdp_umem_fill_ring_size, set_xdp_umem_reg, xdp_mmap_offsets,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XdpDesc,
    XdpDescOptions, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, send, socket_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Slots of the rings: some milliseconds of full packets.
const SLOTS: u32 = 2_048;
/// What the kernel may hold of the socket's packets at once, bytes.
const SEND_BUFFER: usize = 8 << 20;

/// The generator. It needs no program on its interface.
pub struct Generator {
    // The rings first: they are taken down before the socket and the memory that they speak of.
    transmit: Producer<XdpDesc>,
    completion: Consumer<u64>,
    socket: OwnedFd,
    _umem: Umem,
    frames: Vec<XdpDesc>,
    /// The next frame.
    at: usize,
    under_way: u32,
    sent: u64,
    refused: u64,
}

impl Generator {
    /// Puts frames, each from its Ethernet header on, behind queue 0 of an interface in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no AF_XDP, the interface is not there, its queue is taken, or a frame is longer than 2,048 bytes or there is none.
    pub fn open<'a>(
        interface: &str,
        frames: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Generator, AfxdpError> {
        let failed = |act, cure| {
            move |source: io::Error| AfxdpError::Socket {
                act,
                queue: 0,
                source,
                cure,
            }
        };
        let frames: Vec<&[u8]> = frames.into_iter().collect();
        let count = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        if !(1..=1 << 20).contains(&count) {
            return Err(AfxdpError::Option {
                option: "frames of the generator",
                value: count,
                rule: "there must be 1 to 1,048,576",
            });
        }
        let open = failed(
            "opening an AF_XDP socket for sending",
            "the kernel needs CONFIG_XDP_SOCKETS and the process CAP_NET_RAW",
        );
        let socket = socket_with(
            AddressFamily::XDP,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| open(error.into()))?;
        let memory = failed(
            "mapping the frames",
            "free some memory, or ask for fewer frames",
        );
        let (mut umem, places) = Umem::map(count, false).map_err(&memory)?;
        let mut ready = Vec::with_capacity(frames.len());
        for (mut place, bytes) in places.into_iter().zip(frames) {
            let len = bytes.len() as u32;
            let Some(room) = umem.bytes_mut(&mut place, 0, len) else {
                return Err(AfxdpError::Option {
                    option: "bytes of a frame",
                    value: len,
                    rule: "it must fit a frame of 2,048",
                });
            };
            room.copy_from_slice(bytes);
            ready.push(XdpDesc {
                addr: Umem::give(place),
                len,
                options: XdpDescOptions::empty(),
            });
        }
        let (addr, len) = umem.area();
        let rings = || {
            let registered = XdpUmemReg {
                addr,
                len,
                chunk_size: FRAME_BYTES,
                headroom: 0,
                flags: XdpUmemRegFlags::empty(),
                tx_metadata_len: 0,
            };
            set_xdp_umem_reg(&socket, registered)?;
            // The kernel wants one, though nothing is received.
            set_xdp_umem_fill_ring_size(&socket, 64)?;
            set_xdp_umem_completion_ring_size(&socket, SLOTS)?;
            set_xdp_tx_ring_size(&socket, SLOTS)?;
            let offsets = xdp_mmap_offsets(&socket)?;
            let place = |at, offsets| Place {
                socket: socket.as_fd(),
                at,
                offsets,
                slots: SLOTS,
            };
            Ok::<_, io::Error>((
                Producer::map(&place(XDP_PGOFF_TX_RING, offsets.tx))?,
                Consumer::map(&place(XDP_UMEM_PGOFF_COMPLETION_RING, offsets.cr))?,
            ))
        };
        let (transmit, completion) = rings().map_err(failed(
            "making frames and rings for sending",
            "raise the limit of locked memory (`ulimit -l`), or ask for fewer frames",
        ))?;
        // A wish: with less, fewer packets are on their way at once.
        let _ = set_socket_send_buffer_size_force(&socket, SEND_BUFFER);
        let binding = failed(
            "binding the socket for sending",
            "the interface must be there, up, and without another AF_XDP socket on queue 0",
        );
        // Sockets of AF_XDP cannot be asked for names.
        let names = socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        );
        let index = names.and_then(|names| name_to_index(names, interface));
        let bound = index.and_then(|index| {
            let flags = SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
            bind(&socket, &SocketAddrXdp::new(flags, index, 0))
        });
        bound.map_err(|error| binding(error.into()))?;
        Ok(Generator {
            transmit,
            completion,
            socket,
            _umem: umem,
            frames: ready,
            at: 0,
            under_way: 0,
            sent: 0,
            refused: 0,
        })
    }

    /// Sends so many packets more, the frames in turn, and waits until the kernel has let go of all of them.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn send(&mut self, packets: u64) -> Result<(), AfxdpError> {
        let mut left = packets;
        while left > 0 || self.under_way > 0 {
            while left > 0 && self.under_way < SLOTS && self.transmit.push(self.frames[self.at]) {
                self.at = (self.at + 1) % self.frames.len();
                self.under_way += 1;
                left -= 1;
            }
            self.transmit.publish();
            self.wake()?;
            let before = self.under_way;
            while self.completion.pop().is_some() {
                self.under_way -= 1;
                self.sent += 1;
            }
            if before != self.under_way {
                self.completion.release();
            }
        }
        Ok(())
    }

    /// Tells the kernel to send what stands in the ring.
    fn wake(&mut self) -> Result<(), AfxdpError> {
        for _ in 0..=self.transmit.pending() / SENDS_A_CALL {
            match send(&self.socket, &[], SendFlags::DONTWAIT) {
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => self.refused += 1,
                Err(error) => {
                    return Err(AfxdpError::Socket {
                        act: "sending",
                        queue: 0,
                        source: error.into(),
                        cure: "look whether the interface is still there and up",
                    });
                }
            }
        }
        Ok(())
    }

    /// Packets that the kernel has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Times that the kernel could not send just then; the packets left when it could.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}
