//! Looks at every byte of a journal.

use crate::block::Chain;
use crate::reader::Reader;
use crate::segment::segments;
use crate::watermark::Watermark;
use crate::{JournalError, PAGE};
use ring0_mq::Identity;
use std::path::Path;

/// What a journal that is right comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Which shard it is of.
    pub identity: Identity,
    /// Segments.
    pub segments: u64,
    /// Blocks.
    pub blocks: u64,
    /// Records.
    pub records: u64,
    /// Slots.
    pub slots: u64,
    /// Bytes of segments up to the last block's end.
    pub bytes: u64,
    /// The ring's position of the first slot.
    pub first: u64,
    /// The ring's position behind the last slot.
    pub position: u64,
    /// Sequence of the first record; 0: there is none.
    pub first_sequence: u64,
    /// Sequence behind the last record; 0: there is none.
    pub next_sequence: u64,
    /// Chain value behind the last block.
    pub chain: Chain,
    /// Bytes behind the last block that opening would cut off.
    pub torn_bytes: u64,
    /// How far it is known to be on the disk; `None` where that file is gone.
    pub watermark: Option<Watermark>,
}

/// Checks everything in a folder: headers, checksums of blocks and of each record, chain, sequences, segments. A journal that is being
/// written may be verified too.
///
/// # Errors
/// The file system's, or the first thing that is wrong.
pub fn verify(folder: &Path) -> Result<Verified, JournalError> {
    let mut reader = Reader::open(folder)?;
    let mut verified = Verified {
        identity: reader.identity(),
        segments: 0,
        blocks: 0,
        records: 0,
        slots: 0,
        bytes: 0,
        first: reader.position(),
        position: 0,
        first_sequence: 0,
        next_sequence: 0,
        chain: [0; 32],
        torn_bytes: 0,
        watermark: None,
    };
    while let Some(block) = reader.next_block()? {
        let header = *block.header();
        if let Err(bad) = block.check_index() {
            let offset = reader.offset() - u64::from(header.bytes) + bad.at as u64;
            return Err(JournalError::damaged(reader.path(), offset, bad.problem));
        }
        if verified.blocks == 0 {
            verified.first_sequence = header.first_sequence;
        }
        verified.blocks += 1;
        verified.records += u64::from(header.records);
        verified.slots += u64::from(header.slots);
        verified.bytes += u64::from(header.bytes);
    }
    let all = segments(folder).map_err(|error| JournalError::file(folder, "list", error))?;
    let kept = verified.first..=reader.position();
    verified.segments = all.iter().filter(|first| kept.contains(first)).count() as u64;
    verified.bytes += verified.segments * PAGE as u64;
    verified.position = reader.position();
    verified.next_sequence = reader.next_sequence();
    verified.chain = reader.chain();
    verified.torn_bytes = reader.tail_bytes()?;
    verified.watermark = reader.watermark()?;
    Ok(verified)
}
