//! MQ1 in shared memory: slots, cursors, consumers, and the producer of a ring that is not the kernel's.
//!
//! One algorithm over a small abstraction of memory ([`Memory`]): the kernel program's maps, a file that processes share
//! ([`SharedRing`]), memory of one process ([`LocalRing`]), and the memory that the model checker watches. Knows slots, heads and
//! positions; nothing of what a record means.
//!
//! What is always true, for a ring of N slots whose producer writes at most U slots that it has not published:
//! - Positions count slots from 0 and never wrap; position *p* stands in slot `p mod N`. Whatever the tail says is a border between
//!   commands.
//! - The producer writes slots only at positions from the tail to the tail plus U, so what lies at `tail + U - N` and behind is never
//!   being written: a reader that nobody waits for takes no other slot, and looks at the tail again after it has copied.
//! - While a required consumer's cursor is *c*, nothing at position `c + N` or beyond is written.
//!
//! Layout, to the byte: `docs/mq.md`. Rule: RULES 11, 17, 23; DESIGN 5.
#![deny(unsafe_code)]

mod consumer;
mod local;
mod mapping;
mod memory;
mod place;
mod producer;
mod shared;

pub use consumer::{Consumer, Overrun};
pub use local::LocalRing;
pub use memory::{Memory, SLOT_WORDS, Slot, Word, WritableMemory};
pub use place::{Kind, Name, NameError, PlacesTaken};
pub use producer::{Batch, Producer, PushError};
pub use shared::{Options, SharedError, SharedMemory, SharedRing, named};

use ring0_engine::limits::{COMMAND_SLOTS_MAX, PACKET_SLOTS_MAX};

/// Most slots that a run of an engine writes after it looked for room: a packet's, and a command's beside it.
pub const RUN_SLOTS_MAX: u64 = PACKET_SLOTS_MAX + COMMAND_SLOTS_MAX as u64;
