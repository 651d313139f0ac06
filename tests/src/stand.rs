//! The living rings that the suites run through, each gone with its value.

use crate::kernel::Kernel;
use ring0_drive::{RingLab, ThreadRing};
use ring0_engine::Capacity;
use ring0_lab::Options;
use ring0_rings::{Live, Ring};

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

impl Stand for RingLab {
    fn ring(&mut self) -> &mut dyn Ring {
        &mut self.wire
    }

    fn live(&mut self) -> &mut dyn Live {
        &mut *self.wire.shard
    }
}

/// The kernel ring, its packets by test-run.
#[must_use]
pub fn kernel(capacity: &Capacity, record_slots: u32) -> Box<dyn Stand> {
    Box::new(Kernel::up(capacity, record_slots, Options::default()))
}

/// The UDP ring on loopback.
#[must_use]
pub fn udp(capacity: &Capacity, record_slots: u32) -> Box<dyn Stand> {
    thread(ThreadRing::Udp, capacity, record_slots)
}

/// The AF_XDP ring over a veth pair.
#[must_use]
pub fn afxdp(capacity: &Capacity, record_slots: u32) -> Box<dyn Stand> {
    thread(ThreadRing::Afxdp, capacity, record_slots)
}

/// The DPDK ring over a veth pair. One in a process: DPDK begins once.
#[cfg(feature = "dpdk")]
#[must_use]
pub fn dpdk(capacity: &Capacity, record_slots: u32) -> Box<dyn Stand> {
    thread(ThreadRing::Dpdk, capacity, record_slots)
}

fn thread(ring: ThreadRing, capacity: &Capacity, record_slots: u32) -> Box<dyn Stand> {
    Box::new(RingLab::up(ring, capacity, record_slots).unwrap_or_else(|error| panic!("{error}")))
}
