//! The places where the one engine runs: native memory, the kernel, the reference.
//!
//! A [`Ring`] takes control commands and packets and gives answers and records. Equal inputs give equal bytes in every
//! ring; that is the project's main test. Knows how to reach an engine; nothing of orders.

mod bell;
mod desk;
#[expect(unsafe_code, reason = "a region in memory that the loader gives")]
mod enlarge;
mod frame;
mod kernel;
mod live;
pub mod mmsg;
mod neighbours;
mod object;
mod place;
mod port;
mod records;
mod ring;
mod sign;
mod thread;
mod times;
mod udp;
mod wire;

pub use bell::Bell;
pub use enlarge::{Moved, enlarge_shard};
pub use frame::{HEADERS, Kind as FrameKind, classify, headers, sender, turn_round};
pub use kernel::{
    Doorbell, KernelOptions, KernelShard, PacketRun, key_entry, load_shard, restore_shard,
};
pub use live::{Delivered, Live};
pub use neighbours::Neighbours;
pub use object::{OBJECT_VARIABLE, kept_dispatch, kept_object};
pub use place::{Place, RecordRing};
pub use port::{Arrival, BATCH, Port, PortError};
pub use records::{Behind, Consumer};
pub use ring::{NativeRing, ReferenceRing, Ring, RingError};
pub use ring0_abi::Acks;
pub use ring0_record_ring::named as record_ring_named;
pub use thread::{Outlet, THREAD, UserOptions, UserShard, boot_ns, pin_to};
pub use times::{Buckets, Times};
pub use udp::UdpPort;
pub use wire::Wire;
