//! What was published, for those who missed it: the latest messages in memory, all of a session in a journal.
//!
//! Invariants of [`History`]: its batches follow each other without a gap within a session; their bytes are at most what it was given.

use crate::batch::Batch;
use ring0_itch::mold::{PacketBuilder, Request, Session};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that a batch is counted as beside its messages: allocation, counts and its place in the queue.
const BATCH_OVERHEAD: usize = 128;

/// The latest messages, in memory.
#[derive(Debug)]
pub struct History {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    bytes_max: usize,
}

impl History {
    /// An empty one that keeps at most about so many bytes, and always the last batch.
    #[must_use]
    pub fn new(bytes_max: usize) -> History {
        History {
            batches: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Takes the next batch.
    pub fn push(&mut self, batch: Arc<Batch>) {
        self.bytes += batch.blocks.len() + BATCH_OVERHEAD;
        self.batches.push_back(batch);
        while self.bytes > self.bytes_max && self.batches.len() > 1 {
            if let Some(oldest) = self.batches.pop_front() {
                self.bytes -= oldest.blocks.len() + BATCH_OVERHEAD;
            }
        }
    }

    /// Puts messages from a number on into an empty packet, as many as fit and `count` at most; how many.
    pub fn answer(&self, request: &Request, packet: &mut PacketBuilder) -> u16 {
        let (session, wanted) = (request.session, request.sequence);
        // Sessions stand one behind the other; within one the numbers rise.
        let Some(start) = self
            .batches
            .iter()
            .position(|batch| batch.session == session)
        else {
            return 0;
        };
        let behind = |batch: &Arc<Batch>| batch.session == session && batch.next() <= wanted;
        let mut at = start + partition(&self.batches, start, behind);
        let mut taken = 0;
        while let Some(batch) = self.batches.get(at) {
            if batch.session != session || batch.first > wanted + u64::from(taken) {
                break;
            }
            let skipped = (wanted + u64::from(taken) - batch.first) as usize;
            for message in batch.messages().skip(skipped) {
                if taken == request.count || packet.push(message).is_err() {
                    return taken;
                }
                taken += 1;
            }
            at += 1;
        }
        taken
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How many batches from `start` on hold the condition, which holds for the first ones only.
fn partition(
    batches: &VecDeque<Arc<Batch>>,
    start: usize,
    holds: impl Fn(&Arc<Batch>) -> bool,
) -> usize {
    let (mut low, mut high) = (start, batches.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(&batches[middle]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low - start
}

/// Keeps all messages of the feed's sessions, for what [`History`] no longer has.
pub trait Journal: Send {
    /// Takes the next batch. One that it has already is passed over: a feed that began again sends the same.
    ///
    /// # Errors
    /// The batch is not kept; the next one may be tried.
    fn append(&mut self, batch: &Batch) -> io::Result<()>;

    /// The session has no more messages.
    ///
    /// # Errors
    /// The end is not kept.
    fn end(&mut self, session: Session) -> io::Result<()>;

    /// As [`History::answer`].
    ///
    /// # Errors
    /// The messages cannot be read.
    fn answer(&self, request: &Request, packet: &mut PacketBuilder) -> io::Result<u16>;
}

/// Every 64th message's place is kept in memory: 16 bytes for some 2 KiB of file.
const INDEX_EVERY: u64 = 64;

/// One file a session in a folder, named `SESSION.itch`: BinaryFILE, which ITCH readers read.
#[derive(Debug)]
pub struct FileJournal {
    folder: PathBuf,
    sessions: Vec<SessionFile>,
}

#[derive(Debug)]
struct SessionFile {
    session: Session,
    file: File,
    /// Number of the next message.
    next: u64,
    /// Bytes of whole messages.
    len: u64,
    /// Where message 1 + 64·n begins.
    index: Vec<u64>,
}

impl FileJournal {
    /// A journal in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(folder: &Path) -> io::Result<FileJournal> {
        std::fs::create_dir_all(folder)?;
        Ok(FileJournal {
            folder: folder.to_owned(),
            sessions: Vec::new(),
        })
    }

    fn session(&mut self, session: Session) -> io::Result<&mut SessionFile> {
        if let Some(at) = self.sessions.iter().position(|one| one.session == session) {
            return Ok(&mut self.sessions[at]);
        }
        let name: String = session
            .to_string()
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '_'
                }
            })
            .collect();
        let opened = SessionFile::open(&self.folder.join(format!("{name}.itch")), session)?;
        self.sessions.push(opened);
        let last = self.sessions.len() - 1;
        Ok(&mut self.sessions[last])
    }
}

impl SessionFile {
    /// Opens a session's file to go on with; what a dead writer left unfinished is cut off.
    fn open(path: &Path, session: Session) -> io::Result<SessionFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut opened = SessionFile {
            session,
            file,
            next: 1,
            len: 0,
            index: Vec::new(),
        };
        let mut source = BufReader::with_capacity(1 << 20, opened.file.try_clone()?);
        let mut length = [0; 2];
        let mut message = Vec::new();
        while source.read_exact(&mut length).is_ok() {
            let length = usize::from(u16::from_be_bytes(length));
            message.resize(length, 0);
            if length == 0 || source.read_exact(&mut message).is_err() {
                break;
            }
            opened.count(length as u64 + 2);
        }
        opened.file.set_len(opened.len)?;
        opened.file.seek(SeekFrom::Start(opened.len))?;
        Ok(opened)
    }

    /// Counts a message of so many framed bytes.
    fn count(&mut self, bytes: u64) {
        if (self.next - 1).is_multiple_of(INDEX_EVERY) {
            self.index.push(self.len);
        }
        self.next += 1;
        self.len += bytes;
    }
}

impl Journal for FileJournal {
    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        let session = self.session(batch.session)?;
        if batch.first > session.next {
            return Err(io::Error::other(format!(
                "the journal of session {} ends before message {} and {} follows; move its file away",
                batch.session, session.next, batch.first
            )));
        }
        let known = (session.next - batch.first) as usize;
        let skipped: usize = batch.messages().take(known).map(|it| it.len() + 2).sum();
        let (begin, mut lengths) = (session.len, Vec::new());
        lengths.extend(batch.messages().skip(known).map(|it| it.len() as u64 + 2));
        if lengths.is_empty() {
            return Ok(());
        }
        if let Err(error) = session.file.write_all(&batch.blocks[skipped..]) {
            // Half a message would make all behind it unreadable.
            session.file.set_len(begin)?;
            session.file.seek(SeekFrom::Start(begin))?;
            return Err(error);
        }
        for length in lengths {
            session.count(length);
        }
        Ok(())
    }

    fn end(&mut self, session: Session) -> io::Result<()> {
        self.session(session)?.file.write_all(&[0, 0])
    }

    fn answer(&self, request: &Request, packet: &mut PacketBuilder) -> io::Result<u16> {
        let found = self
            .sessions
            .iter()
            .find(|one| one.session == request.session);
        let Some(session) = found.filter(|one| (1..one.next).contains(&request.sequence)) else {
            return Ok(0);
        };
        let place = ((request.sequence - 1) / INDEX_EVERY) as usize;
        let mut at = session.index[place];
        let mut skipped = (request.sequence - 1) % INDEX_EVERY;
        // The messages between, and a packet's worth behind them.
        let mut bytes = vec![0; 8192];
        let (mut from, mut len, mut taken) = (0, 0, 0);
        loop {
            let mut blocks = crate::batch::Blocks(&bytes[from..len]);
            let Some(message) = blocks.next() else {
                at += from as u64;
                let room = bytes.len().min((session.len - at) as usize);
                if room == 0 || room == len - from {
                    return Ok(taken);
                }
                session.file.read_exact_at(&mut bytes[..room], at)?;
                (from, len) = (0, room);
                continue;
            };
            from += message.len() + 2;
            if skipped != 0 {
                skipped -= 1;
            } else if taken == request.count || packet.push(message).is_err() {
                return Ok(taken);
            } else {
                taken += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_itch::Text;
    use ring0_itch::binary_file::Reader;
    use ring0_itch::mold::Packet;

    const SESSION: Session = Text(*b"SESSION001");
    const OTHER: Session = Text(*b"SESSION002");

    /// Message number `n` of a session: its number in decimals, so that lengths differ.
    fn batch(session: Session, first: u64, count: u16) -> Batch {
        let mut blocks = Vec::new();
        for number in first..first + u64::from(count) {
            let message = format!("{session}-{number}");
            blocks.extend_from_slice(&(message.len() as u16).to_be_bytes());
            blocks.extend_from_slice(message.as_bytes());
        }
        Batch {
            session,
            first,
            count,
            blocks,
        }
    }

    fn request(session: Session, sequence: u64, count: u16) -> Request {
        Request {
            session,
            sequence,
            count,
        }
    }

    /// The numbers that an answer holds, each checked to be what it says.
    fn check(
        answer: impl Fn(&Request, &mut PacketBuilder) -> u16,
        asked: Request,
        expected: std::ops::Range<u64>,
    ) {
        let mut packet = PacketBuilder::new(asked.session, asked.sequence, 1400);
        let count = answer(&asked, &mut packet);
        assert_eq!(u64::from(count), expected.end - expected.start, "{asked:?}");
        let bytes = packet.packet().to_vec();
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!(packet.count(), count);
        for ((sequence, message), number) in packet.messages().zip(expected) {
            assert_eq!(sequence, number);
            assert_eq!(message, format!("{}-{number}", asked.session).as_bytes());
        }
    }

    #[test]
    fn memory_gives_what_it_has() {
        let mut history = History::new(40_000);
        for (session, at) in [
            (SESSION, 1),
            (SESSION, 11),
            (OTHER, 1),
            (OTHER, 11),
            (OTHER, 21),
        ] {
            history.push(Arc::new(batch(session, at, 10)));
        }
        let answer = |asked: &Request, packet: &mut PacketBuilder| history.answer(asked, packet);
        check(answer, request(SESSION, 1, 5), 1..6);
        check(answer, request(SESSION, 8, 20), 8..21);
        check(answer, request(OTHER, 30, 20), 30..31);
        check(answer, request(OTHER, 31, 1), 31..31);
        check(answer, request(SESSION, u64::MAX, 1), u64::MAX..u64::MAX);
        check(answer, request(Text(*b"NOSESSION0"), 1, 1), 1..1);
        check(answer, request(SESSION, 0, 1), 0..0);
        // What is pushed out is gone, from the front.
        let mut history = History::new(1_000);
        for at in 0..20 {
            history.push(Arc::new(batch(SESSION, 1 + at * 10, 10)));
        }
        assert!(history.bytes() <= 1_000);
        let answer = |asked: &Request, packet: &mut PacketBuilder| history.answer(asked, packet);
        check(answer, request(SESSION, 1, 5), 1..1);
        check(answer, request(SESSION, 195, 9), 195..201);
    }

    #[test]
    fn a_journal_gives_everything_and_goes_on_after_death() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("SESSION001.itch");
        let mut journal = FileJournal::new(folder.path()).unwrap();
        for at in 0..100 {
            journal.append(&batch(SESSION, 1 + at * 10, 10)).unwrap();
        }
        let check_all = |journal: &FileJournal| {
            for first in [1, 2, 64, 65, 66, 128, 500, 999, 1000] {
                let answer = |asked: &Request, packet: &mut PacketBuilder| {
                    journal.answer(asked, packet).unwrap()
                };
                check(
                    answer,
                    request(SESSION, first, 30),
                    first..(first + 30).min(1001),
                );
                check(answer, request(SESSION, 1001, 30), 1001..1001);
                check(answer, request(SESSION, 0, 30), 0..0);
            }
        };
        check_all(&journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..14 {
            drop(journal);
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            journal = FileJournal::new(folder.path()).unwrap();
            // It gets the same again, from the beginning, in other batches.
            for at in 0..50 {
                journal.append(&batch(SESSION, 1 + at * 20, 20)).unwrap();
            }
            check_all(&journal);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        assert!(journal.append(&batch(SESSION, 1002, 1)).is_err(), "a gap");
        journal.append(&batch(OTHER, 1, 3)).unwrap();
        let answer =
            |asked: &Request, packet: &mut PacketBuilder| journal.answer(asked, packet).unwrap();
        check(answer, request(OTHER, 2, 30), 2..4);
        journal.end(SESSION).unwrap();
        let mut reader = Reader::new(File::open(&path).unwrap());
        let mut count = 0;
        while reader.next_message().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 1000);
    }
}
