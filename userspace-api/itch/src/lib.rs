//! The formats around the core that other people's programs read: ITCH 5.0 messages, the MoldUDP64 packets and BinaryFILE
//! files that carry them, SoupBinTCP with GLIMPSE snapshots, and OUCH 5.0 answers.
//!
//! Knows offsets, lengths and value codes; knows no socket, no clock and no engine. A message struct is a view over received
//! bytes, without copy and without judgement: a field holds what was sent, also when that is none of the codes of its table.
//! Reading checks lengths and nothing else, never panics, and costs no allocation.
//!
//! Integers are unsigned, big-endian and packed. Prices of ITCH have four implied decimals unless a field says otherwise.
#![deny(unsafe_code)]

pub mod binary_file;
pub mod book;
mod digits;
pub mod glimpse;
pub mod itch;
pub mod mold;
pub mod ouch;
pub mod soup;
mod text;
mod timestamp;

pub use digits::{Digits, DigitsError};
pub use text::{Mpid, Stock, Text, TextError};
pub use timestamp::Timestamp;
pub use zerocopy;
pub use zerocopy::byteorder::big_endian::{I32, U16, U32, U64};

/// Side of a buy order, in every format here.
pub const BUY: u8 = b'B';
/// Side of a sell order, in every format here.
pub const SELL: u8 = b'S';
