//! The bytes of L2E/1: MoldUDP64 framing, message layouts and the packet tag.
//!
//! Knows offsets, lengths and which byte values are allowed; knows no instrument, session, balance
//! or clock, and decides nothing about orders. Built into the eBPF program and into every host
//! program, so that the two cannot disagree about a byte.
//!
//! What is always true here: no allocation, no panic and no unchecked length is reachable (in an
//! eBPF object a panic call links to an arbitrary function), arithmetic wraps explicitly, and a
//! packet is read only through [`Buffer`], whose offsets are masked. A loop has a constant bound of
//! its own and asks [`Loops::go`] besides; leaving through `go` is reported, never taken for an end.
//!
//! Order of use for one packet: copy into a [`Buffer`]; [`shape()`]; [`mac::verify`]; walk the
//! messages with [`block`]; [`parse`] each; [`put_ack`] each; [`finish`] the answer.
//! Every offset: `docs/wire.md`.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

#[cfg(not(target_endian = "little"))]
compile_error!("the tag and the word access take memory words as little-endian");

pub mod buffer;
#[cfg(any(test, feature = "std"))]
pub mod host;
pub mod inbound;
pub mod loops;
pub mod mac;
pub mod message;
pub mod mold;
pub mod outbound;
pub mod shape;

pub use buffer::{BUFFER, Buffer, WORDS, Window};
pub use inbound::{FieldError, echo, parse};
pub use loops::{Interrupted, Loops, Native};
pub use mac::{Check, Domain, Key};
pub use message::{Flags, Message, MessageCells, SelfTrade, TimeInForce};
pub use mold::SessionId;
pub use outbound::{ACK, Ack, answer_bytes, finish, finish_heartbeat, put_ack};
pub use shape::{Block, Malformed, Shape, block, shape};

/// Largest UDP payload taken, in bytes: Ethernet's 1,500 less 20 of IPv4 and 8 of UDP.
pub const PAYLOAD_MAX: usize = 1472;

/// Most messages in one packet, the tag block not counted.
pub const MESSAGES_MAX: u16 = 68;

/// Largest count in a header: the messages and the tag block, which is counted.
pub const COUNT_MAX: u16 = MESSAGES_MAX + 1;

/// Bytes of the MoldUDP64 header.
pub const HEADER: usize = 20;

/// Bytes of the length before each block.
pub const BLOCK_LENGTH: usize = 2;

/// Bytes of the tag block's content: the letter `z` and 16 bytes of tag.
pub const TAG: usize = 17;

/// Bytes of the whole tag block, its length included.
pub const TAG_BLOCK: usize = BLOCK_LENGTH + TAG;

/// Smallest legal payload in bytes: a heartbeat, which is a header and a tag block.
pub const PAYLOAD_MIN: usize = HEADER + TAG_BLOCK;

const _: () = {
    let shortest = HEADER + MESSAGES_MAX as usize * (BLOCK_LENGTH + inbound::CANCEL) + TAG_BLOCK;
    assert!(
        shortest <= PAYLOAD_MAX,
        "a full count of the shortest message fits a packet"
    );
    assert!(
        shortest + BLOCK_LENGTH + inbound::CANCEL > PAYLOAD_MAX,
        "one more of the shortest message does not fit: the count's maximum is the packet's own"
    );
    assert!(
        PAYLOAD_MAX + 8 <= BUFFER,
        "a word may be copied past the end of the payload"
    );
    assert!(
        ACK <= inbound::CANCEL,
        "an answer is never longer than its request"
    );
};
