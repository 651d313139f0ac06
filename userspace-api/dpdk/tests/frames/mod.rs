//! Frames of traders, as a device would bring them.
#![allow(dead_code, reason = "each test takes what it needs")]

use ring0_engine::record::ReplyTo;
use ring0_rings::{Port, headers};

/// UDP port of the shard.
pub(crate) const PORT: u16 = 9000;
/// The shard's address.
pub(crate) const SHARD: [u8; 4] = [10, 0, 0, 1];

/// A packet of the shard from this address, port and hardware address, sent to `to`.
#[must_use]
pub(crate) fn order(from: ([u8; 4], u16, [u8; 6]), to: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let (address, port, hardware) = from;
    let shard = ReplyTo {
        address: SHARD,
        port: PORT,
        local: address,
        ..ReplyTo::default()
    };
    [
        &headers((to, hardware), &shard, port, payload.len())[..],
        payload,
    ]
    .concat()
}

/// The frame that answers it, from the device of this hardware address.
#[must_use]
pub(crate) fn answer(to: ([u8; 4], u16, [u8; 6]), hardware: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let (address, port, theirs) = to;
    let trader = ReplyTo {
        address,
        port,
        local: SHARD,
        ..ReplyTo::default()
    };
    [
        &headers((theirs, hardware), &trader, PORT, payload.len())[..],
        payload,
    ]
    .concat()
}

/// A counter of the port by its name.
#[must_use]
pub(crate) fn counter(port: &impl Port, name: &str) -> u64 {
    let all = port.counters();
    let found = all.iter().find(|(it, _)| *it == name);
    found.unwrap_or_else(|| panic!("no counter {name}")).1
}
