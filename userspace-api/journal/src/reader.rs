//! Reads a journal block by block or record by record, from any sequence on, also while it is being written.
//!
//! Always true of what it gives: it was checked to the byte, chained to what came before it. It ends cleanly where nothing more is
//! written yet. A place where no good block stands is the end only if nothing shows that there was one: no later block, no later
//! segment, no watermark beyond it. A writer writes a block only when the one before is on the disk, so each of these proves damage.

use crate::block::{BLOCK_BYTES_MAX, BLOCK_HEADER, Bad, Block, BlockHeader, Chain, Place};
use crate::segment::{SegmentHeader, segment_path, segments};
use crate::watermark::{Watermark, watermark_path};
use crate::{JournalError, PAGE};
use ring0_engine::limits::SLOT_LEN;
use ring0_mq::Identity;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Pages looked at together in the search for a later block.
const SEARCH_PAGES: usize = 64;

/// What stands where a block may begin.
enum Found {
    Block(BlockHeader),
    /// The file ends here.
    End,
    /// Zeros.
    Nothing,
    Bad(Bad),
}

/// What shows that there was a block.
enum Proof {
    /// A later segment, which begins at this position.
    Segment(u64),
    /// A later block at this offset of the segment.
    Block(u64),
    /// The watermark, which says this position.
    Watermark(u64),
}

/// A place in a journal.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    segment: SegmentHeader,
    /// Where the next block begins in the segment.
    offset: u64,
    /// What it must follow.
    place: Place,
    /// The block read last and room for the next.
    bytes: Vec<u8>,
    /// Bytes of its slots, and of these given out as records.
    slots_len: usize,
    slots_read: usize,
    /// Sequence below which records are passed over.
    from: u64,
    /// Offset in this segment behind which no later block was found.
    searched: Option<u64>,
    searches: u64,
    /// What stood at the end, if not nothing.
    torn: Option<Bad>,
}

impl Reader {
    /// At the oldest record that a folder keeps.
    ///
    /// # Errors
    /// There is no journal, or its first segment is missing or damaged.
    pub fn open(folder: &Path) -> Result<Reader, JournalError> {
        let kept = Kept::of(folder)?;
        let reader = Reader::at_segment(folder, kept.segments[0])?;
        reader.read_ahead()?;
        Ok(reader)
    }

    /// At the record of this sequence; one that is not written yet will be the first to be given.
    ///
    /// # Errors
    /// As [`Reader::open`]; or the record was removed.
    pub fn open_at(folder: &Path, sequence: u64) -> Result<Reader, JournalError> {
        let kept = Kept::of(folder)?;
        let mut reader = None;
        for first in kept.segments.iter().rev() {
            let at = Reader::at_segment(folder, *first)?;
            let is_it = at.segment.first_sequence <= sequence;
            reader = Some(at);
            if is_it {
                break;
            }
        }
        let mut reader = reader.expect("a journal has a segment");
        let oldest = match reader.segment.first_sequence {
            0 => reader.peek()?.map_or(0, |header| header.first_sequence),
            known => known,
        };
        if oldest > sequence {
            return Err(JournalError::Removed {
                path: folder.to_owned(),
                sequence,
                oldest,
            });
        }
        while let Some(header) = reader.peek()? {
            if header.next_sequence() > sequence {
                break;
            }
            reader.pass(&header);
        }
        reader.from = sequence;
        reader.read_ahead()?;
        Ok(reader)
    }

    fn at_segment(folder: &Path, first: u64) -> Result<Reader, JournalError> {
        let (path, file, segment) = open_segment(folder, first)?;
        Ok(Reader {
            folder: folder.to_owned(),
            path,
            file,
            segment,
            offset: PAGE as u64,
            place: Place {
                position: segment.first,
                next_sequence: segment.first_sequence,
                chain: segment.chain,
            },
            bytes: Vec::new(),
            slots_len: 0,
            slots_read: 0,
            from: 0,
            searched: None,
            searches: 0,
            torn: None,
        })
    }

    /// Sequence of the first record of the segment that begins at a position.
    pub(crate) fn first_sequence_of(folder: &Path, first: u64) -> Result<u64, JournalError> {
        open_segment(folder, first).map(|(_, _, header)| header.first_sequence)
    }

    /// Sequence behind the last record of a folder's journal, by its last segment's headers alone; 0: there is no record.
    pub(crate) fn end_of(folder: &Path) -> Result<u64, JournalError> {
        let kept = Kept::of(folder)?;
        let last = kept.segments[kept.segments.len() - 1];
        let mut reader = Reader::at_segment(folder, last)?;
        while let Some(header) = reader.peek()? {
            reader.pass(&header);
        }
        Ok(reader.next_sequence())
    }

    /// Which shard the journal is of.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.segment.identity()
    }

    pub(crate) fn segment(&self) -> &SegmentHeader {
        &self.segment
    }

    /// The segment that is being read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Offset in the segment behind the last block that was read, bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The ring's position behind the last block that was read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.place.position
    }

    /// Sequence number behind the last block that was read; 0: none is known.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.place.next_sequence
    }

    /// Chain value behind the last block that was read.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.place.chain
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// How far the journal is known to be on the disk.
    ///
    /// # Errors
    /// The file system's, or its file is damaged.
    pub fn watermark(&self) -> Result<Option<Watermark>, JournalError> {
        Watermark::read(&self.folder)
    }

    /// What is wrong with what stands behind the last block, where the reader came to the end: a block that was never completed.
    #[must_use]
    pub fn torn(&self) -> Option<&str> {
        self.torn.as_ref().map(|bad| bad.problem.as_str())
    }

    /// The next block; `None` where nothing more is written. Asked again later, it goes on.
    ///
    /// # Errors
    /// The file system's, or the journal is damaged; the reader stands before the place.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, JournalError> {
        (self.slots_len, self.slots_read) = (0, 0);
        let header = loop {
            let proof = match self.load()? {
                Found::Block(header) => break header,
                _ => self.proof()?,
            };
            // A writer may be at work: what was no block then is one now, if there is proof of it.
            let found = self.load()?;
            match (found, proof) {
                (Found::Block(header), _) => break header,
                (found, None) => {
                    self.torn = match found {
                        Found::Bad(bad) => Some(bad),
                        _ => None,
                    };
                    return Ok(None);
                }
                (Found::End, Some(Proof::Segment(first))) => self.enter(first)?,
                (found, Some(proof @ Proof::Segment(_))) => {
                    return Err(self.damage(found, &proof));
                }
                (found, Some(proof)) => {
                    // Or it closed this segment and went on in the next.
                    if self.next_segment()?.is_none() {
                        return Err(self.damage(found, &proof));
                    }
                }
            }
        };
        self.pass(&header);
        (self.slots_len, self.torn) = (header.slots as usize * SLOT_LEN, None);
        Ok(Some(Block::checked(
            header,
            &self.bytes[..header.bytes as usize],
        )))
    }

    /// How often the room behind the last block was searched for a later one.
    #[must_use]
    pub fn searches(&self) -> u64 {
        self.searches
    }

    /// The next record; `None` where nothing more is written. Asked again later, it goes on.
    ///
    /// # Errors
    /// As [`Reader::next_block`].
    pub fn next_record(&mut self) -> Result<Option<&[u8]>, JournalError> {
        loop {
            while self.slots_read < self.slots_len {
                let record = &self.bytes[BLOCK_HEADER + self.slots_read..];
                // Whole and of one slot or two: the block was checked.
                let len = usize::from(record[2]) * SLOT_LEN;
                let sequence = u64::from_le_bytes(record[8..16].try_into().expect("eight bytes"));
                self.slots_read += len;
                if sequence >= self.from {
                    let start = BLOCK_HEADER + self.slots_read - len;
                    return Ok(Some(&self.bytes[start..start + len]));
                }
            }
            if self.next_block()?.is_none() {
                return Ok(None);
            }
        }
    }

    /// Steps over a block.
    fn pass(&mut self, header: &BlockHeader) {
        self.offset += u64::from(header.bytes);
        self.place = Place {
            position: header.end(),
            next_sequence: header.next_sequence(),
            chain: header.chain,
        };
    }

    /// The next block's header in this segment, where a right one stands that may follow; its body is not looked at.
    fn peek(&mut self) -> Result<Option<BlockHeader>, JournalError> {
        let mut page = [0; BLOCK_HEADER];
        let len = read_at(&self.file, &self.path, &mut page, self.offset)?;
        let header = BlockHeader::read(&page[..len], &self.segment.journal_id).ok();
        let expected = self.place.next_sequence;
        Ok(header.filter(|header| {
            header.position == self.place.position
                && (expected == 0 || header.first_sequence == expected)
        }))
    }

    /// Reads what stands where the next block may begin.
    fn load(&mut self) -> Result<Found, JournalError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let found = self.load_into(&mut bytes);
        self.bytes = bytes;
        found
    }

    fn load_into(&self, bytes: &mut Vec<u8>) -> Result<Found, JournalError> {
        if bytes.len() < PAGE {
            bytes.resize(PAGE, 0);
        }
        let len = read_at(&self.file, &self.path, &mut bytes[..PAGE], self.offset)?;
        if len == 0 {
            return Ok(Found::End);
        }
        let header = match BlockHeader::read(&bytes[..len], &self.segment.journal_id) {
            Ok(header) => header,
            Err(_) if bytes[..len].iter().all(|byte| *byte == 0) => return Ok(Found::Nothing),
            Err(problem) => {
                return Ok(Found::Bad(Bad {
                    at: 0,
                    problem: problem.to_owned(),
                }));
            }
        };
        let wanted = header.bytes as usize;
        debug_assert!(wanted <= BLOCK_BYTES_MAX);
        if bytes.len() < wanted {
            bytes.resize(wanted, 0);
        }
        let len = match len {
            PAGE => {
                PAGE + read_at(
                    &self.file,
                    &self.path,
                    &mut bytes[PAGE..wanted],
                    self.offset + PAGE as u64,
                )?
            }
            short => short,
        };
        if len < wanted {
            return Ok(Found::Bad(Bad {
                at: len,
                problem: "the file ends inside the block".to_owned(),
            }));
        }
        Ok(match Block::read(header, &bytes[..wanted], &self.place) {
            Ok(_) => Found::Block(header),
            Err(bad) => Found::Bad(bad),
        })
    }

    /// Asks the kernel for what will be read: a closed segment whole, and the closed one behind it. Not for the last one: its room that was
    /// never written would become pages in memory, which the file system then takes for data.
    fn read_ahead(&self) -> Result<(), JournalError> {
        let all = segments(&self.folder);
        let all = all.map_err(|error| JournalError::file(&self.folder, "list", error))?;
        let behind = all.iter().skip_while(|first| **first <= self.segment.first);
        if behind.clone().next().is_none() {
            return Ok(());
        }
        ask_for(&self.file);
        if let (Some(next), Some(_)) = (behind.clone().next(), behind.clone().nth(1))
            && let Ok(file) = File::open(segment_path(&self.folder, *next))
        {
            ask_for(&file);
        }
        Ok(())
    }

    /// Whether something shows that a block must stand here.
    fn proof(&mut self) -> Result<Option<Proof>, JournalError> {
        if let Some(next) = self.next_segment()? {
            return Ok(Some(Proof::Segment(next)));
        }
        let watermark = self.watermark()?;
        if let Some(watermark) = &watermark {
            if watermark.journal_id != self.segment.journal_id {
                return Err(JournalError::OtherJournal {
                    path: watermark_path(&self.folder),
                });
            }
            if watermark.position > self.place.position {
                return Ok(Some(Proof::Watermark(watermark.position)));
            }
        }
        // One search of a segment is enough while a watermark is kept: what is written after it the watermark tells of as soon as it is on the
        // disk, and a machine that lost that has ended this reader too. Who follows a busy writer would else search its room at every block.
        let is_known = match watermark {
            Some(_) => self.searched.is_some(),
            None => self.searched == Some(self.offset),
        };
        if is_known {
            return Ok(None);
        }
        let later = self.later_block()?;
        self.searched = later.is_none().then_some(self.offset);
        Ok(later.map(Proof::Block))
    }

    /// Where the next segment begins, if there is one.
    fn next_segment(&self) -> Result<Option<u64>, JournalError> {
        let all = segments(&self.folder);
        let all = all.map_err(|error| JournalError::file(&self.folder, "list", error))?;
        Ok(all.into_iter().find(|first| *first > self.segment.first))
    }

    /// The first good header of a later block behind the place where the next block may begin.
    fn later_block(&mut self) -> Result<Option<u64>, JournalError> {
        self.searches += 1;
        let file = self.for_search()?;
        let mut pages = vec![0; SEARCH_PAGES * PAGE];
        let mut at = self.offset + PAGE as u64;
        while let Some(from) = self.data_from(&file, at)? {
            at = from;
            let len = read_at(&file, &self.path, &mut pages, at)?;
            if len == 0 {
                break;
            }
            for (index, page) in pages[..len].chunks(PAGE).enumerate() {
                let header = BlockHeader::read(page, &self.segment.journal_id);
                if header.is_ok_and(|header| header.position > self.place.position) {
                    return Ok(Some(at + (index * PAGE) as u64));
                }
            }
            at += len.next_multiple_of(PAGE) as u64;
        }
        Ok(None)
    }

    /// The segment, open for a search: without reading ahead, which would turn room that was never written into pages in memory that
    /// the file system then takes for data.
    fn for_search(&self) -> Result<File, JournalError> {
        let failed = |error| JournalError::file(&self.path, "search", error);
        let file = File::open(&self.path).map_err(failed)?;
        let advised = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
        advised.map_err(|error| failed(error.into()))?;
        Ok(file)
    }

    /// The first page from `at` on, a multiple of the page, that the file system does not know to be zeros.
    fn data_from(&self, file: &File, at: u64) -> Result<Option<u64>, JournalError> {
        match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(found) => Ok(Some(at.max(found / PAGE as u64 * PAGE as u64))),
            Err(Errno::NXIO) => Ok(None),
            // Not every file system can tell; then all is looked at.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(at)),
            Err(error) => Err(JournalError::file(&self.path, "search", error.into())),
        }
    }

    /// Bytes behind the last block up to the last one that is not zero.
    pub(crate) fn tail_bytes(&self) -> Result<u64, JournalError> {
        let file = self.for_search()?;
        let mut pages = vec![0; SEARCH_PAGES * PAGE];
        let (mut at, mut end) = (self.offset, self.offset);
        while let Some(from) = self.data_from(&file, at)? {
            at = from;
            let len = read_at(&file, &self.path, &mut pages, at)?;
            if len == 0 {
                break;
            }
            if let Some(last) = pages[..len].iter().rposition(|byte| *byte != 0) {
                end = at + last as u64 + 1;
            }
            at += len.next_multiple_of(PAGE) as u64;
        }
        Ok(end - self.offset)
    }

    /// Goes on in the segment that begins at `first`, which must be the one that follows.
    fn enter(&mut self, first: u64) -> Result<(), JournalError> {
        let place = self.place;
        if first > place.position {
            if let Some(watermark) = self.watermark()?
                && watermark.first > place.position
            {
                return Err(JournalError::Removed {
                    path: self.folder.clone(),
                    sequence: place.next_sequence,
                    oldest: Reader::first_sequence_of(&self.folder, watermark.first)?,
                });
            }
            return Err(JournalError::Missing {
                path: segment_path(&self.folder, place.position),
                position: place.position,
            });
        }
        let (path, file, segment) = open_segment(&self.folder, first)?;
        if segment.journal_id != self.segment.journal_id
            || segment.identity() != self.segment.identity()
        {
            return Err(JournalError::OtherJournal { path });
        }
        let follows = Place {
            position: segment.first,
            next_sequence: segment.first_sequence,
            chain: segment.chain,
        };
        if follows != place {
            let problem = format!(
                "the segment does not follow {}, which ends with slot {}",
                self.path.display(),
                place.position
            );
            return Err(JournalError::damaged(&path, 0, problem));
        }
        (self.path, self.file, self.segment) = (path, file, segment);
        (self.offset, self.searched) = (PAGE as u64, None);
        self.read_ahead()
    }

    fn damage(&self, found: Found, proof: &Proof) -> JournalError {
        let (at, problem) = match found {
            Found::Bad(bad) => (bad.at, bad.problem),
            Found::Nothing => (0, "zeros where a block stood".to_owned()),
            Found::End | Found::Block(_) => (0, "the file ends where a block stood".to_owned()),
        };
        let why = match proof {
            Proof::Segment(first) => format!("the segment of slot {first} follows"),
            Proof::Block(offset) => format!("the block at byte {offset} was written after it"),
            Proof::Watermark(position) => {
                format!("all up to slot {position} is known to have been on the disk")
            }
        };
        JournalError::damaged(
            &self.path,
            self.offset + at as u64,
            format!("{problem}, and {why}"),
        )
    }
}

/// The segments that a folder keeps.
struct Kept {
    /// Positions at which they begin, ascending; at least one.
    segments: Vec<u64>,
}

impl Kept {
    fn of(folder: &Path) -> Result<Kept, JournalError> {
        // In this order: a removal first raises the watermark's first position.
        let all = match segments(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            all => all.map_err(|error| JournalError::file(folder, "list", error))?,
        };
        let watermark = Watermark::read(folder)?;
        let first = watermark.map_or(0, |watermark| watermark.first);
        let segments: Vec<u64> = all.into_iter().filter(|it| *it >= first).collect();
        match (segments.first(), watermark) {
            (None, None) => Err(JournalError::NoJournal {
                path: folder.to_owned(),
            }),
            (found, Some(_)) if found != Some(&first) => Err(JournalError::Missing {
                path: segment_path(folder, first),
                position: first,
            }),
            _ => Ok(Kept { segments }),
        }
    }
}

/// Has the kernel read a file into its memory, while the caller does something else. Where it does not, reading is slower.
fn ask_for(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed);
}

fn open_segment(folder: &Path, first: u64) -> Result<(PathBuf, File, SegmentHeader), JournalError> {
    let path = segment_path(folder, first);
    let file = File::open(&path).map_err(|error| JournalError::file(&path, "open", error))?;
    let mut page = vec![0; PAGE];
    let filled = read_at(&file, &path, &mut page, 0)?;
    let header = SegmentHeader::read(&page[..filled], &path)?;
    Ok((path, file, header))
}

/// Reads up to the end of the file; gives how many bytes.
fn read_at(file: &File, path: &Path, bytes: &mut [u8], at: u64) -> Result<usize, JournalError> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(JournalError::file(path, "read", error)),
        }
    }
    Ok(filled)
}
