//! The record file: a header of one slot, then the ring's slots as they were published, from one position on.
//!
//! Always true of a file that was opened for writing: its header is whole, its records are whole, and their sequence
//! numbers follow each other. Little-endian, as the records are: it is read on the machine, or on one like it.
//! Rule: `docs/matching.md#records`.

use crate::MqError;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{Head, Kind};
use ring0_rings::Place;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of a record file.
const MAGIC: [u8; 8] = *b"RING0MQ1";

/// Changes with the meaning of the header.
const VERSION: u32 = 1;

/// The header, one slot.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u32,
    slot_len: u32,
    layout_hash: u64,
    boot_id: [u8; 16],
    first: u64,
    arena_id: u32,
    reserved: [u8; 12],
}
const _: () = assert!(size_of::<Header>() == SLOT_LEN);

/// Which shard a recording is of: the same for as long as the shard's memory lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Hash of the region's layout.
    pub layout_hash: u64,
    /// The kernel's id of this boot; of a userspace ring the number that no other ring has.
    pub boot_id: [u8; 16],
    /// The kernel's id of the arena, unique in a boot; of a userspace ring 0, which no arena has.
    pub arena_id: u32,
}

impl Identity {
    /// Of a living shard, now.
    #[must_use]
    pub fn of<'a>(place: impl Into<Place<'a>>) -> Identity {
        let pinned = match place.into() {
            Place::Pinned(pinned) => pinned,
            Place::Shared(ring) => {
                return Identity {
                    layout_hash: ring.layout_hash(),
                    boot_id: ring.id(),
                    arena_id: 0,
                };
            }
        };
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut boot_id = [0; 16];
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        for (byte, pair) in boot_id.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or("0");
            *byte = u8::from_str_radix(pair, 16).unwrap_or(0);
        }
        Identity {
            layout_hash: pinned.layout_hash(),
            boot_id,
            arena_id: pinned.arena_id(),
        }
    }
}

/// A record file that is being written.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    file: File,
    position: u64,
    /// Sequence number of the last record; 0: there is none.
    last_sequence: u64,
    cut_bytes: u64,
}

impl RecordFile {
    /// Opens a recording to go on with, or begins one at slot `first`. What a dead writer left unfinished is cut off.
    ///
    /// # Errors
    /// The file system, another shard's file, or a damaged one.
    pub fn open(path: &Path, identity: Identity, first: u64) -> Result<RecordFile, MqError> {
        let fail = |act| file_error(path, act);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(fail("open"))?;
        let len = file.metadata().map_err(fail("open"))?.len();
        if len < SLOT_LEN as u64 {
            // Empty, or its header was never finished: nothing was recorded in it.
            let mut begin = Vec::new();
            file.read_to_end(&mut begin).map_err(fail("read"))?;
            if !MAGIC.starts_with(&begin[..begin.len().min(MAGIC.len())]) {
                return Err(not_ours(path, "it is no recording"));
            }
            let header = Header {
                magic: MAGIC,
                version: VERSION,
                slot_len: SLOT_LEN as u32,
                layout_hash: identity.layout_hash,
                boot_id: identity.boot_id,
                first,
                arena_id: identity.arena_id,
                reserved: [0; 12],
            };
            file.set_len(0).map_err(fail("write"))?;
            file.seek(SeekFrom::Start(0)).map_err(fail("write"))?;
            file.write_all(header.as_bytes()).map_err(fail("write"))?;
            file.sync_all().map_err(fail("sync"))?;
            return Ok(RecordFile {
                path: path.to_owned(),
                file,
                position: first,
                last_sequence: 0,
                cut_bytes: 0,
            });
        }
        let mut records = Records::read_header(path, BufReader::with_capacity(1 << 20, file))?;
        if records.identity() != identity {
            return Err(MqError::OtherShard {
                path: path.to_owned(),
            });
        }
        let mut record = Vec::new();
        while records.next_into(&mut record)? {}
        let position = records.position();
        let last_sequence = records.next.saturating_sub(1);
        let end = SLOT_LEN as u64 * (1 + position - records.header.first);
        let mut file = records.source.into_inner();
        if end < len {
            file.set_len(end).map_err(fail("cut"))?;
        }
        // What a dead writer wrote and did not sync can be read and is not on the disk yet.
        file.sync_all().map_err(fail("sync"))?;
        file.seek(SeekFrom::Start(end)).map_err(fail("seek in"))?;
        Ok(RecordFile {
            path: path.to_owned(),
            file,
            position,
            last_sequence,
            cut_bytes: len - end,
        })
    }

    /// The first slot that the file does not have.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Sequence number of the last record, which is on the disk; 0: there is none.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Bytes of an unfinished record that opening cut off.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes whole records behind the last and waits until they are on the disk.
    ///
    /// # Errors
    /// The file system's; what was written of it is cut off by the next open.
    pub fn append(&mut self, slots: &[u8]) -> Result<(), MqError> {
        self.file
            .write_all(slots)
            .map_err(file_error(&self.path, "write"))?;
        self.file
            .sync_data()
            .map_err(file_error(&self.path, "sync"))?;
        self.position += (slots.len() / SLOT_LEN) as u64;
        let mut rest = slots;
        while let Ok((head, _)) = Head::read_from_prefix(rest) {
            self.last_sequence = head.sequence;
            let len = usize::from(head.slots.max(1)) * SLOT_LEN;
            rest = rest.get(len..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Reads a recording record by record.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    source: BufReader<File>,
    header: Header,
    position: u64,
    /// Sequence that the next record must have; 0: any.
    next: u64,
    torn: bool,
}

impl Records {
    /// Opens a recording, also one that is still being written.
    ///
    /// # Errors
    /// The file system, or not a recording.
    pub fn open(path: &Path) -> Result<Records, MqError> {
        let file = File::open(path).map_err(file_error(path, "open"))?;
        Records::read_header(path, BufReader::with_capacity(1 << 20, file))
    }

    fn read_header(path: &Path, mut source: BufReader<File>) -> Result<Records, MqError> {
        let mut bytes = [0; SLOT_LEN];
        source
            .read_exact(&mut bytes)
            .map_err(file_error(path, "read the header of"))?;
        let header = Header::read_from_bytes(&bytes)
            .map_err(|_| not_ours(path, "its header cannot be read"))?;
        if header.magic != MAGIC {
            return Err(not_ours(path, "it is no recording"));
        }
        if (header.version, header.slot_len) != (VERSION, SLOT_LEN as u32) {
            return Err(not_ours(
                path,
                "it is a recording of another version of this program",
            ));
        }
        Ok(Records {
            path: path.to_owned(),
            source,
            header,
            position: header.first,
            next: 0,
            torn: false,
        })
    }

    /// Which shard it is of.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            layout_hash: self.header.layout_hash,
            boot_id: self.header.boot_id,
            arena_id: self.header.arena_id,
        }
    }

    /// The ring's slot at which the recording begins; 0: from the shard's first record on.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.header.first
    }

    /// The ring's slot behind the last record that was read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether the file ended inside a record.
    #[must_use]
    pub fn torn(&self) -> bool {
        self.torn
    }

    /// Puts the next record into `record`; false at the end of the file.
    ///
    /// # Errors
    /// The file system, or a record in the middle that is none.
    pub fn next_into(&mut self, record: &mut Vec<u8>) -> Result<bool, MqError> {
        let mut slot = [0; SLOT_LEN];
        if !self.fill(&mut slot)? {
            return Ok(false);
        }
        let (head, _) = Head::read_from_prefix(&slot).expect("a slot is longer than a head");
        let problem = if Kind::from_number(head.kind).is_none() {
            Some(format!("kind {} is none", head.kind))
        } else if head.slots == 0 || head.slots > 2 {
            Some(format!("it says {} slots", head.slots))
        } else if self.next != 0 && head.sequence != self.next {
            Some(format!(
                "it has sequence {} where {} follows",
                head.sequence, self.next
            ))
        } else {
            None
        };
        if let Some(problem) = problem {
            // Zeros are room that a dying machine had made and not filled yet.
            if slot == [0; SLOT_LEN] {
                self.torn = true;
                return Ok(false);
            }
            return Err(MqError::Damaged {
                path: self.path.clone(),
                slot: self.position,
                problem,
            });
        }
        record.clear();
        record.extend_from_slice(&slot);
        for _ in 1..head.slots {
            if !self.fill(&mut slot)? {
                self.torn = true;
                return Ok(false);
            }
            record.extend_from_slice(&slot);
        }
        self.position += u64::from(head.slots);
        self.next = head.sequence + 1;
        Ok(true)
    }

    /// A whole slot, or false at the end.
    fn fill(&mut self, slot: &mut [u8; SLOT_LEN]) -> Result<bool, MqError> {
        let mut filled = 0;
        while filled < SLOT_LEN {
            match self.source.read(&mut slot[filled..]) {
                Ok(0) => {
                    self.torn |= filled != 0;
                    return Ok(false);
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(file_error(&self.path, "read")(error)),
            }
        }
        Ok(true)
    }
}

pub(crate) fn file_error(path: &Path, act: &'static str) -> impl FnOnce(io::Error) -> MqError {
    let path = path.to_owned();
    move |source| MqError::File { path, act, source }
}

fn not_ours(path: &Path, problem: &str) -> MqError {
    MqError::NotOurs {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity {
        layout_hash: 7,
        boot_id: [1; 16],
        arena_id: 3,
    };

    fn record(kind: Kind, slots: u8, sequence: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::from(slots) * SLOT_LEN];
        let head = Head {
            kind: kind as u16,
            slots,
            side: 0,
            locate: 0,
            sequence,
        };
        bytes[..16].copy_from_slice(head.as_bytes());
        bytes
    }

    fn sequences(path: &Path) -> Vec<u64> {
        let mut records = Records::open(path).unwrap();
        let mut bytes = Vec::new();
        let mut found = Vec::new();
        while records.next_into(&mut bytes).unwrap() {
            found.push(Head::read_from_prefix(&bytes).unwrap().0.sequence);
        }
        found
    }

    #[test]
    fn goes_on_after_every_way_of_dying_inside_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let whole = [record(Kind::Message, 2, 1), record(Kind::Rested, 1, 2)].concat();
        let torn = record(Kind::Message, 2, 3);
        for cut in 0..torn.len() {
            let _ = std::fs::remove_file(&path);
            let mut file = RecordFile::open(&path, IDENTITY, 10).unwrap();
            file.append(&whole).unwrap();
            file.file.write_all(&torn[..cut]).unwrap();
            drop(file);
            let mut file = RecordFile::open(&path, IDENTITY, 99).unwrap();
            assert_eq!((file.position(), file.cut_bytes()), (13, cut as u64));
            file.append(&torn).unwrap();
            assert_eq!(sequences(&path), [1, 2, 3]);
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let check = |content: &[u8], expected: &str| {
            std::fs::write(&path, content).unwrap();
            let error = RecordFile::open(&path, IDENTITY, 0)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), content);
        };
        check(b"something", "no recording");
        check(&[1; 200], "no recording");
        let other = Identity {
            arena_id: 4,
            ..IDENTITY
        };
        std::fs::remove_file(&path).unwrap();
        drop(RecordFile::open(&path, other, 0).unwrap());
        let bytes = std::fs::read(&path).unwrap();
        check(&bytes, "another shard");
    }

    #[test]
    fn a_gap_inside_is_damage_and_zeros_at_the_end_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let mut file = RecordFile::open(&path, IDENTITY, 0).unwrap();
        file.append(&record(Kind::Rested, 1, 5)).unwrap();
        file.append(&[0; 3 * SLOT_LEN]).unwrap();
        drop(file);
        let mut file = RecordFile::open(&path, IDENTITY, 0).unwrap();
        assert_eq!((file.position(), file.cut_bytes()), (1, 3 * 64));
        file.append(&record(Kind::Rested, 1, 7)).unwrap();
        drop(file);
        let error = RecordFile::open(&path, IDENTITY, 0).unwrap_err();
        assert!(error.to_string().contains("sequence 7 where 6"), "{error}");
    }
}
