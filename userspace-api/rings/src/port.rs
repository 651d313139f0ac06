//! Where a userspace ring's packets come in and its answers go out: what a UDP socket, AF_XDP and DPDK have in common.
//!
//! A port knows datagrams and who sent them; nothing of sessions, tags or orders. One thread uses it, the ring's.

use crate::bell::Bell;
use ring0_engine::record::ReplyTo;
use ring0_wire::Buffer;
use std::sync::Arc;
use std::time::Duration;

/// Packets that a port gives at once, at the most: enough that a call into the kernel is a small part of each, few enough that the first
/// does not wait long for its answer.
pub const BATCH: usize = 64;

/// A packet that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The UDP payload.
    pub payload: &'a [u8],
    /// Boot-time clock when it came, nanoseconds: stamped by the kernel's program where the port has one, else on receipt.
    pub boot_ns: u64,
    /// Its number in the shard's order of arrival, from 1, where the kernel's program made one (RULES 34). A number that is missing is a packet that
    /// was lost behind the program.
    pub number: Option<u64>,
    /// Who sent it, and to which address: where its answer goes.
    pub from: ReplyTo,
}

/// A port that does not work any more.
#[derive(Debug, thiserror::Error)]
#[error("the {port} port cannot {act}: {source}")]
pub struct PortError {
    /// [`Port::name`].
    pub port: &'static str,
    /// What was tried, and what to look at.
    pub act: &'static str,
    /// Why not.
    pub source: std::io::Error,
}

/// A way for packets. No call but [`Port::counters`] allocates.
pub trait Port: Send {
    /// Its name in tools: `udp`, `afxdp`, `dpdk`.
    fn name(&self) -> &'static str;

    /// From now on this bell ends the waits of [`Port::receive`] too.
    fn heed(&mut self, bell: &Arc<Bell>);

    /// Takes what has arrived, at most [`BATCH`] packets; where nothing has, waits for the first, or for its bell, at most so long. The packets
    /// stay until [`Port::flush`].
    ///
    /// # Errors
    /// The port has failed for good. What passes by itself (a signal, a full queue) gives 0.
    fn receive(&mut self, wait: Duration) -> Result<usize, PortError>;

    /// Packet `index` of those just received.
    fn packet(&self, index: usize) -> Arrival<'_>;

    /// Answers packet `index` with the first `len` bytes of `answer`. Once a packet.
    fn answer(&mut self, index: usize, answer: &Buffer, len: usize);

    /// Sends the answers and lets the packets go. What the way out has no room for is lost and counted: its client sends again.
    ///
    /// # Errors
    /// As [`Port::receive`].
    fn flush(&mut self) -> Result<(), PortError>;

    /// Sends a payload to one who sent before: an answer that was held. False: it was not sent, and is counted.
    fn send(&mut self, to: &ReplyTo, payload: &[u8]) -> bool;

    /// What the port itself counts, by names that no other counter of the ring has.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}
