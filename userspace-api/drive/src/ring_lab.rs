//! A living ring for one run, behind the wire that it takes: a veth pair, or loopback for the UDP ring. Gone when dropped.

use crate::DriveError;
use crate::lab::{PORT, trader_socket, veth_up};
use ring0_afxdp::{AfxdpOptions, AfxdpShard, kept_steer_object};
use ring0_dpdk::{DpdkPort, Eal, EalOptions, PortOptions};
use ring0_engine::Capacity;
use ring0_lab::Veth;
use ring0_rings::{Acks, Consumer, Live, RingError, UdpPort, UserOptions, UserShard, Wire};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// A shard in a thread of this process and a client on its wire: a [`Ring`](ring0_rings::Ring).
pub struct RingLab {
    /// The shard, and a client's socket.
    pub wire: Wire<Box<dyn Live>>,
    // Behind the shard: its sockets are on it.
    veth: Option<Veth>,
    venue: SocketAddr,
}

/// Which ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ThreadRing {
    /// Behind a UDP socket on loopback: no privilege.
    Udp,
    /// Behind AF_XDP sockets over a veth pair.
    Afxdp,
    /// Behind DPDK's packet-socket device over a veth pair. One in a process: DPDK begins once.
    Dpdk,
}

impl RingLab {
    /// Begins an empty shard of this capacity.
    ///
    /// # Errors
    /// A privilege or feature is missing, or the capacity is refused.
    pub fn up(
        ring: ThreadRing,
        capacity: &Capacity,
        record_slots: u32,
    ) -> Result<RingLab, DriveError> {
        let options = UserOptions {
            capacity: *capacity,
            record_slots: record_slots.into(),
            record_ring: None,
            acks: Acks::Matched,
            processor: None,
            spin: false,
        };
        if ring == ThreadRing::Udp {
            let port = UdpPort::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)
                .map_err(RingError::from)?;
            let venue = port.address()?;
            let shard = UserShard::start(&options, Box::new(port), None)?;
            let records = Consumer::observer(shard.record_ring())?;
            return RingLab::new("udp", Box::new(shard), records, None, venue);
        }
        let veth = veth_up()?;
        let venue = (veth.exchange_address, PORT).into();
        let (interface, netns) = (&veth.exchange_if, &veth.exchange_ns);
        match ring {
            ThreadRing::Udp | ThreadRing::Afxdp => {
                let port = AfxdpOptions::new(kept_steer_object(), interface, Some(netns), PORT);
                let (shard, _) = AfxdpShard::start(&options, &port, None)?;
                let records = Consumer::observer(shard.user().record_ring())?;
                RingLab::new("afxdp", Box::new(shard), records, Some(veth), venue)
            }
            ThreadRing::Dpdk => {
                let device = format!("net_af_packet0,iface={interface}");
                let eal = EalOptions::new([device.as_str()]);
                let port = PortOptions {
                    address: Some(veth.exchange_address),
                    ..PortOptions::new(device.as_str(), PORT)
                };
                veth.take_exchange_address()?;
                let port = veth.in_exchange(|| {
                    Eal::start(&eal).and_then(|eal| DpdkPort::open(&eal, &port))
                })??;
                let shard = UserShard::start(&options, Box::new(port), None)?;
                let records = Consumer::observer(shard.record_ring())?;
                RingLab::new("dpdk", Box::new(shard), records, Some(veth), venue)
            }
        }
    }

    fn new(
        name: &'static str,
        shard: Box<dyn Live>,
        records: Consumer,
        veth: Option<Veth>,
        venue: SocketAddr,
    ) -> Result<RingLab, DriveError> {
        let client = socket(veth.as_ref(), venue)?;
        Ok(RingLab {
            wire: Wire::new(shard, name, client, records)?,
            veth,
            venue,
        })
    }

    /// Another client's socket, connected to the shard.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the socket not be made.
    pub fn trader_socket(&self) -> Result<UdpSocket, DriveError> {
        socket(self.veth.as_ref(), self.venue)
    }
}

fn socket(veth: Option<&Veth>, venue: SocketAddr) -> Result<UdpSocket, DriveError> {
    if let Some(veth) = veth {
        return trader_socket(veth, venue);
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(venue)?;
    Ok(socket)
}
