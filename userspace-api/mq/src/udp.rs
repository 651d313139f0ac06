//! MQ1 over UDP: the ring's records as MoldUDP64 messages, with re-request.
//!
//! A message is one record, 64 or 128 bytes, and its number is the record's own sequence: nothing is translated, and who has the records of
//! a file up to some sequence asks for the next. Packets are built and read by `ring0_itch::mold`. Nothing here is authenticated, and
//! records hold clients' orders whole: for a network that is the venue's own.
//!
//! Always true: what a [`Subscriber`] gives out follows in sequence without a gap, and every record says the number that its message has.

mod publisher;
mod subscriber;

pub use publisher::Publisher;
pub use subscriber::{Assembly, Subscriber};

use ring0_itch::mold::MoldError;
use std::io;

/// Bytes of a record over UDP at the most: the engine's are one slot or two.
pub const RECORD_BYTES_MAX: usize = 128;

/// Why records could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// The socket.
    #[error("cannot {act}: {source}; check the address and the interface")]
    Socket {
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Not whole records of this format.
    #[error(
        "at byte {at} there is no record of one or two slots; give whole records as a consumer of the ring reads them"
    )]
    NoRecord {
        /// Where.
        at: usize,
    },
    /// A packet that is none.
    #[error(transparent)]
    Packet(#[from] MoldError),
    /// A message that is not the record of its number.
    #[error(
        "message {sequence} is not the record of that number; check that session {session} is a record ring's"
    )]
    NotThatRecord {
        /// Its number.
        sequence: u64,
        /// The session.
        session: String,
    },
    /// The server no longer has what is missing.
    #[error(
        "records {from} to {to} were asked for {tries} times and did not come; take them from the record file, or check the re-request server's address"
    )]
    Gone {
        /// The first that is missing.
        from: u64,
        /// The last.
        to: u64,
        /// How often.
        tries: u32,
    },
}

pub(crate) fn socket(act: &'static str) -> impl FnOnce(io::Error) -> UdpError {
    move |source| UdpError::Socket { act, source }
}
