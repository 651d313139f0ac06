//! The living rings that the suites run through, each gone with its value.

use crate::kernel::Kernel;
use ring0_engine::Capacity;
use ring0_lab::Options;
use ring0_rings::{Acks, Consumer, Live, Ring, UdpPort, UserOptions, UserShard, Wire};
use std::net::{Ipv4Addr, UdpSocket};

/// A living ring: what a suite sends through, and what it looks at.
pub trait Stand {
    /// Packets, commands and records.
    fn ring(&mut self) -> &mut dyn Ring;
    /// The shard itself.
    fn live(&mut self) -> &mut dyn Live;
}

impl Stand for Kernel {
    fn ring(&mut self) -> &mut dyn Ring {
        &mut self.shard
    }

    fn live(&mut self) -> &mut dyn Live {
        &mut self.shard
    }
}

impl Stand for Wire<UserShard> {
    fn ring(&mut self) -> &mut dyn Ring {
        self
    }

    fn live(&mut self) -> &mut dyn Live {
        &mut self.shard
    }
}

/// The kernel ring, its packets by test-run.
#[must_use]
pub fn kernel(capacity: &Capacity, record_slots: u32) -> Box<dyn Stand> {
    Box::new(Kernel::up(capacity, record_slots, Options::default()))
}

/// The UDP ring on loopback, with a client's socket.
///
/// # Panics
/// Whatever is missing for it.
#[must_use]
pub fn udp(capacity: &Capacity, record_slots: u32) -> Box<dyn Stand> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    let address = socket.local_addr().expect("a bound socket has an address");
    let port = UdpPort::new(socket).unwrap_or_else(|error| panic!("{error}"));
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    client.connect(address).expect("loopback is there");
    Box::new(wired(capacity, record_slots, Box::new(port), client))
}

/// A userspace ring behind a port, and the client that is connected to it.
fn wired(
    capacity: &Capacity,
    record_slots: u32,
    port: Box<dyn ring0_rings::Port>,
    client: UdpSocket,
) -> Wire<UserShard> {
    let options = UserOptions {
        capacity: *capacity,
        record_slots: record_slots.into(),
        record_ring: None,
        acks: Acks::Matched,
        processor: None,
        spin: false,
    };
    let name = port.name();
    let shard = UserShard::start(&options, port, None).unwrap_or_else(|error| panic!("{error}"));
    let records = Consumer::observer(shard.record_ring()).unwrap_or_else(|error| panic!("{error}"));
    Wire::new(shard, name, client, records).expect("a socket takes a timeout")
}
