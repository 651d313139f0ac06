//! The places where the one engine runs: native memory, the kernel, the reference.
//!
//! A [`Ring`] takes control commands and packets and gives answers and records. Equal inputs give equal bytes in every
//! ring; that is the project's main test. Knows how to reach an engine; nothing of orders.

mod frame;
mod kernel;
mod object;
mod port;
mod records;
mod ring;

pub use frame::{HEADERS, Kind as FrameKind, classify, headers, sender, turn_round};
pub use kernel::{
    Doorbell, KernelOptions, KernelShard, PacketRun, key_entry, load_shard, restore_shard,
};
pub use object::{OBJECT_VARIABLE, kept_object};
pub use port::{Arrival, BATCH, Port, PortError};
pub use records::Consumer;
pub use ring::{NativeRing, ReferenceRing, Ring, RingError};
pub use ring0_abi::Acks;
