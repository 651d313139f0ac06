//! A block: the records of one group commit, with what is needed to check them together and each alone.
//!
//! Always true of a block that [`Block::read`] gave: every byte of it is covered by a checksum that is right, its records are whole,
//! their kinds are known and their sequences follow each other. It begins on a page of its file, so that what is on the disk is
//! never written again. Bytes: `docs/journal.md#block`.

use crate::PAGE;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{Head, Kind};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of a block.
pub(crate) const MAGIC: [u8; 8] = *b"RING0JB1";

/// Changes with the meaning of a byte of a block.
pub(crate) const VERSION: u32 = 1;

/// Bytes of a block's header; its slots follow.
pub const BLOCK_HEADER: usize = 128;

/// Most slots of a block, 4 MiB: what one write may lose, and what a reader keeps in memory.
pub const BLOCK_SLOTS_MAX: usize = 65_536;

/// Most bytes of a block: header, slots, an index entry for each, up to the end of the page.
pub(crate) const BLOCK_BYTES_MAX: usize =
    (BLOCK_HEADER + BLOCK_SLOTS_MAX * (SLOT_LEN + INDEX_ENTRY)).next_multiple_of(PAGE);

/// Bytes of an index entry: the CRC32C of a record.
pub(crate) const INDEX_ENTRY: usize = 4;

/// The chain value behind a block: BLAKE3 of the value before it and of the block.
pub type Chain = [u8; 32];

/// The header. Little-endian, as the records are.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
pub struct BlockHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    /// Slots.
    pub slots: u32,
    /// The ring's position of the first slot.
    pub position: u64,
    /// Sequence number of the first record.
    pub first_sequence: u64,
    /// Records.
    pub records: u32,
    /// Bytes of the block with header, index and the zeros up to the end of its last page.
    pub bytes: u32,
    /// Of the journal: a block of another one is none here.
    pub(crate) journal_id: [u8; 16],
    /// CRC32C of everything behind the header.
    pub(crate) body_crc: u32,
    pub(crate) reserved: u32,
    /// BLAKE3 of the chain value before, the 64 bytes of this header before this field, and the slots.
    pub chain: Chain,
    pub(crate) reserved_2: [u8; 28],
    /// CRC32C of the header before this field.
    pub(crate) header_crc: u32,
}
const _: () = assert!(size_of::<BlockHeader>() == BLOCK_HEADER);

/// Bytes of the header that the chain covers: those before it.
const CHAINED: usize = std::mem::offset_of!(BlockHeader, chain);
const _: () = assert!(CHAINED == 64);
const HEADER_CRC_AT: usize = std::mem::offset_of!(BlockHeader, header_crc);

impl BlockHeader {
    /// The header that a page begins with, if it is a whole one of this journal.
    pub(crate) fn read(page: &[u8], journal_id: &[u8; 16]) -> Result<BlockHeader, &'static str> {
        let (header, _) = BlockHeader::read_from_prefix(page)
            .map_err(|_| "the file ends inside a block's header")?;
        if header.magic != MAGIC {
            return Err("no block begins here");
        }
        if crc32c::crc32c(&page[..HEADER_CRC_AT]) != header.header_crc {
            return Err("the block's header does not match its checksum");
        }
        if header.version != VERSION {
            return Err("the block is of another version of this program");
        }
        if header.journal_id != *journal_id {
            return Err("the block is of another journal");
        }
        let (slots, records) = (header.slots as usize, header.records as usize);
        let is_possible = (1..=BLOCK_SLOTS_MAX).contains(&slots)
            && (1..=slots).contains(&records)
            && header.bytes as usize == block_bytes(slots, records)
            && (header.reserved, header.reserved_2) == (0, [0; 28]);
        if !is_possible {
            return Err("the block's header contradicts itself");
        }
        Ok(header)
    }

    /// Sequence number behind the block's last record.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.records)
    }

    /// The ring's position behind the block's last slot.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position + u64::from(self.slots)
    }
}

/// Bytes of a block with so many slots and records.
pub(crate) const fn block_bytes(slots: usize, records: usize) -> usize {
    (BLOCK_HEADER + slots * SLOT_LEN + records * INDEX_ENTRY).next_multiple_of(PAGE)
}

/// What a block must follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) position: u64,
    /// Sequence of the next record; 0: any, in a journal that has none yet.
    pub(crate) next_sequence: u64,
    pub(crate) chain: Chain,
}

/// What is wrong with a block, and where in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bad {
    /// Bytes from the block's beginning.
    pub(crate) at: usize,
    pub(crate) problem: String,
}

fn bad(at: usize, problem: impl Into<String>) -> Bad {
    Bad {
        at,
        problem: problem.into(),
    }
}

/// A checked block.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    header: BlockHeader,
    bytes: &'a [u8],
}

impl<'a> Block<'a> {
    /// Checks the bytes of a block, which are as many as its header says, and its place.
    pub(crate) fn read(
        header: BlockHeader,
        bytes: &'a [u8],
        place: &Place,
    ) -> Result<Block<'a>, Bad> {
        let block = Block { header, bytes };
        if crc32c::crc32c(&bytes[BLOCK_HEADER..]) != header.body_crc {
            return Err(block.find_bad());
        }
        if header.position != place.position {
            return Err(bad(
                0,
                format!(
                    "the block is of slot {} where slot {} follows",
                    header.position, place.position
                ),
            ));
        }
        if place.next_sequence != 0 && header.first_sequence != place.next_sequence {
            return Err(bad(
                0,
                format!(
                    "the block begins with record {} where {} follows",
                    header.first_sequence, place.next_sequence
                ),
            ));
        }
        if chain_of(&place.chain, &bytes[..CHAINED], block.slots()) != header.chain {
            return Err(bad(
                0,
                "the block's chain value is not that of what precedes it",
            ));
        }
        let (mut at, mut records) = (0, 0);
        let slots = block.slots();
        while at < slots.len() {
            at += record_len(&slots[at..], header.first_sequence + records)
                .map_err(|problem| bad(BLOCK_HEADER + at, problem))?;
            records += 1;
        }
        if records != u64::from(header.records) {
            return Err(bad(
                0,
                "the block has not as many records as its header says",
            ));
        }
        Ok(block)
    }

    /// A block that [`Block::read`] has checked.
    pub(crate) fn checked(header: BlockHeader, bytes: &'a [u8]) -> Block<'a> {
        Block { header, bytes }
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// Its slots, as they were published: whole records.
    #[must_use]
    pub fn slots(&self) -> &'a [u8] {
        &self.bytes[BLOCK_HEADER..][..self.header.slots as usize * SLOT_LEN]
    }

    /// CRC32C of each record.
    fn index(&self) -> impl Iterator<Item = u32> + use<'a> {
        let start = BLOCK_HEADER + self.header.slots as usize * SLOT_LEN;
        self.bytes[start..][..self.header.records as usize * INDEX_ENTRY]
            .chunks_exact(INDEX_ENTRY)
            .map(|entry| u32::from_le_bytes(entry.try_into().expect("four bytes")))
    }

    /// Its records, each with its sequence and the CRC32C that stands for it in the index.
    pub fn records(&self) -> impl Iterator<Item = (u64, u32, &'a [u8])> + use<'a> {
        let mut rest = self.slots();
        (self.header.first_sequence..)
            .zip(self.index())
            .map_while(move |(sequence, crc)| {
                let len = record_len(rest, sequence).ok()?;
                let (record, after) = rest.split_at(len);
                rest = after;
                Some((sequence, crc, record))
            })
    }

    /// Compares every record with its own checksum.
    pub(crate) fn check_index(&self) -> Result<(), Bad> {
        let mut at = BLOCK_HEADER;
        let mut records = 0;
        for (sequence, crc, record) in self.records() {
            if crc32c::crc32c(record) != crc {
                return Err(bad(
                    at,
                    format!("record {sequence} does not match its checksum"),
                ));
            }
            at += record.len();
            records += 1;
        }
        if records != self.header.records {
            return Err(bad(
                at,
                format!(
                    "record {} cannot be read",
                    self.header.first_sequence + u64::from(records)
                ),
            ));
        }
        Ok(())
    }

    /// Where a block is bad whose checksum is wrong.
    fn find_bad(&self) -> Bad {
        let index_at = BLOCK_HEADER + self.header.slots as usize * SLOT_LEN;
        match self.check_index() {
            Err(bad) => bad,
            Ok(()) => bad(
                index_at,
                "the index or the zeros behind it do not match the block's checksum",
            ),
        }
    }
}

fn chain_of(before: &Chain, header: &[u8], slots: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(header);
    hasher.update(slots);
    *hasher.finalize().as_bytes()
}

/// Bytes of the record that begins here, which must have this sequence.
fn record_len(bytes: &[u8], sequence: u64) -> Result<usize, String> {
    let Ok((head, _)) = Head::read_from_prefix(bytes) else {
        return Err(format!("record {sequence} is missing"));
    };
    let slots = match Kind::from_number(head.kind) {
        None => {
            return Err(format!(
                "record {sequence} has kind {}, which is none",
                head.kind
            ));
        }
        Some(Kind::Message | Kind::Control) => 2,
        Some(_) => 1,
    };
    if usize::from(head.slots) != slots {
        return Err(format!(
            "record {sequence} says {} slots where its kind has {slots}",
            head.slots
        ));
    }
    if head.sequence != sequence {
        return Err(format!(
            "a record has sequence {} where {sequence} follows",
            head.sequence
        ));
    }
    let len = slots * SLOT_LEN;
    if bytes.len() < len {
        return Err(format!("record {sequence} is not whole"));
    }
    Ok(len)
}

/// Memory that may be written past the kernel's: it begins on a page.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(4096))]
pub(crate) struct Page(pub(crate) [u8; PAGE]);
const _: () = assert!(size_of::<Page>() == PAGE);

/// Records on their way into a block.
#[derive(Debug)]
pub(crate) struct Builder {
    /// Room for the largest block: header, slots, index.
    pages: Vec<Page>,
    /// Bytes of header and slots.
    len: usize,
    index: Vec<u32>,
    first_sequence: u64,
}

impl Builder {
    /// With room for so many slots.
    pub(crate) fn new(slots_max: usize) -> Builder {
        Builder {
            pages: vec![Page([0; PAGE]); block_bytes(slots_max, slots_max) / PAGE],
            len: BLOCK_HEADER,
            index: Vec::new(),
            first_sequence: 0,
        }
    }

    pub(crate) fn slots(&self) -> usize {
        (self.len - BLOCK_HEADER) / SLOT_LEN
    }

    pub(crate) fn records(&self) -> usize {
        self.index.len()
    }

    /// Takes one record, which `record_len` measured; there must be room for it.
    pub(crate) fn push(&mut self, record: &[u8], sequence: u64) {
        if self.index.is_empty() {
            self.first_sequence = sequence;
        }
        let end = self.len + record.len();
        self.pages.as_mut_bytes()[self.len..end].copy_from_slice(record);
        self.len = end;
        self.index.push(crc32c::crc32c(record));
    }

    /// Completes the block behind `place`; [`Builder::block`] gives it, [`Builder::clear`] makes room for the next.
    pub(crate) fn finish(&mut self, place: &Place, journal_id: &[u8; 16]) -> BlockHeader {
        let (slots, records, slots_end) = (self.slots(), self.records(), self.len);
        let bytes = &mut self.pages.as_mut_bytes()[..block_bytes(slots, records)];
        let (index, padding) = bytes[slots_end..].split_at_mut(records * INDEX_ENTRY);
        for (entry, crc) in index.chunks_exact_mut(INDEX_ENTRY).zip(&self.index) {
            entry.copy_from_slice(&crc.to_le_bytes());
        }
        padding.fill(0);
        let mut header = BlockHeader {
            magic: MAGIC,
            version: VERSION,
            slots: slots as u32,
            position: place.position,
            first_sequence: self.first_sequence,
            records: records as u32,
            bytes: bytes.len() as u32,
            journal_id: *journal_id,
            body_crc: crc32c::crc32c(&bytes[BLOCK_HEADER..]),
            reserved: 0,
            chain: [0; 32],
            reserved_2: [0; 28],
            header_crc: 0,
        };
        header.chain = chain_of(
            &place.chain,
            &header.as_bytes()[..CHAINED],
            &bytes[BLOCK_HEADER..slots_end],
        );
        header.header_crc = crc32c::crc32c(&header.as_bytes()[..HEADER_CRC_AT]);
        bytes[..BLOCK_HEADER].copy_from_slice(header.as_bytes());
        header
    }

    /// The block that was completed last: whole pages.
    pub(crate) fn block(&self) -> &[u8] {
        &self.pages.as_bytes()[..block_bytes(self.slots(), self.records())]
    }

    pub(crate) fn clear(&mut self) {
        self.len = BLOCK_HEADER;
        self.index.clear();
    }
}

/// The first record of `slots`, which must have this sequence (0: any), and what follows it.
pub(crate) fn split_record(slots: &[u8], sequence: u64) -> Result<(u64, &[u8], &[u8]), String> {
    let sequence = match (sequence, Head::read_from_prefix(slots)) {
        (0, Ok((head, _))) => head.sequence,
        _ => sequence,
    };
    let (record, rest) = slots.split_at(record_len(slots, sequence)?);
    Ok((sequence, record, rest))
}
