//! Messages of the feed on their way: as many as a packet holds, with the number of the first.

use ring0_itch::mold::{BLOCK_LENGTH, Session};

/// Consecutive messages of one session, each behind its two bytes of length, as MoldUDP64 and BinaryFILE both frame them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Which session.
    pub session: Session,
    /// Number of the first message.
    pub first: u64,
    /// Messages.
    pub count: u16,
    /// The framed messages.
    pub blocks: Vec<u8>,
}

impl Batch {
    /// Number of the message behind these.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// The messages.
    pub fn messages(&self) -> Blocks<'_> {
        Blocks(&self.blocks)
    }
}

/// Framed messages, one after the other.
#[derive(Clone, Debug)]
pub struct Blocks<'a>(pub &'a [u8]);

impl<'a> Iterator for Blocks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<BLOCK_LENGTH>()?;
        let (message, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        self.0 = rest;
        Some(message)
    }
}
