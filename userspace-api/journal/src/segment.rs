//! A segment: a file with a page of header, then blocks, each at the beginning of a page.
//!
//! Always true of a segment with its final name: its header is whole and on the disk. A closed one, which another follows, ends
//! with its last block. The last one is made full size at its creation and is zeros behind its last block.
//! Bytes: `docs/journal.md#segment`.

use crate::block::Chain;
use crate::{JournalError, PAGE};
use ring0_engine::limits::SLOT_LEN;
use ring0_mq::Identity;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of a segment.
const MAGIC: [u8; 8] = *b"RING0JS1";

/// Changes with the meaning of a byte of a segment's header.
const VERSION: u32 = 1;

/// What a segment's name ends with.
pub(crate) const SUFFIX: &str = ".segment";

/// What the name of one that is being made ends with.
pub(crate) const PART: &str = ".part";

/// The fields of the header; zeros follow, and in the page's last four bytes the CRC32C of the page before them.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    magic: [u8; 8],
    version: u32,
    slot_len: u32,
    layout_hash: u64,
    boot_id: [u8; 16],
    arena_id: u32,
    reserved: u32,
    pub(crate) journal_id: [u8; 16],
    /// The ring's position of the first slot.
    pub(crate) first: u64,
    /// Sequence of the first record; 0 where the journal began before it was known.
    pub(crate) first_sequence: u64,
    /// Chain value before the first block.
    pub(crate) chain: Chain,
}
const _: () = assert!(size_of::<SegmentHeader>() == 112);

const CRC_AT: usize = PAGE - 4;

impl SegmentHeader {
    pub(crate) fn new(identity: &Identity, journal_id: [u8; 16], first: u64) -> SegmentHeader {
        let mut header = SegmentHeader {
            magic: MAGIC,
            version: VERSION,
            slot_len: SLOT_LEN as u32,
            layout_hash: identity.layout_hash,
            boot_id: identity.boot_id,
            arena_id: identity.arena_id,
            reserved: 0,
            journal_id,
            first,
            first_sequence: 0,
            chain: [0; 32],
        };
        header.chain = *blake3::hash(header.as_bytes()).as_bytes();
        header
    }

    /// The header of the segment that follows in the same journal.
    pub(crate) fn following(mut self, first: u64, first_sequence: u64, chain: Chain) -> Self {
        (self.first, self.first_sequence, self.chain) = (first, first_sequence, chain);
        self
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            layout_hash: self.layout_hash,
            boot_id: self.boot_id,
            arena_id: self.arena_id,
        }
    }

    /// The page that a segment begins with.
    pub(crate) fn page(&self) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[..size_of::<SegmentHeader>()].copy_from_slice(self.as_bytes());
        let crc = crc32c::crc32c(&page[..CRC_AT]);
        page[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Checks the first page of the segment at `path`, whose name says where it begins.
    pub(crate) fn read(page: &[u8], path: &Path) -> Result<SegmentHeader, JournalError> {
        let damaged = |problem: &str| JournalError::damaged(path, 0, problem);
        if page.len() < PAGE {
            return Err(damaged("the segment ends inside its header"));
        }
        let (header, _) = SegmentHeader::read_from_prefix(page).expect("a page is longer");
        if header.magic != MAGIC {
            return Err(damaged("it does not begin as a segment does"));
        }
        if header.version != VERSION || header.slot_len != SLOT_LEN as u32 {
            return Err(JournalError::OtherVersion {
                path: path.to_owned(),
                found: header.version,
            });
        }
        if crc32c::crc32c(&page[..CRC_AT]).to_le_bytes() != page[CRC_AT..PAGE] {
            return Err(damaged("the segment's header does not match its checksum"));
        }
        if name_position(path) != Some(header.first) {
            return Err(damaged(&format!(
                "the segment begins with slot {} and its name says otherwise",
                header.first
            )));
        }
        Ok(header)
    }
}

/// Name of the segment that begins at a position: names sort as positions do.
pub(crate) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

/// The position that a segment's name says.
fn name_position(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let is_name = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_name.then(|| digits.parse().ok()).flatten()
}

/// Positions at which the segments of a folder begin, ascending.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.extend(name_position(&entry?.path()));
    }
    found.sort_unstable();
    Ok(found)
}
