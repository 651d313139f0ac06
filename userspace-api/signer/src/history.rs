//! The history: everything that was signed or refused, hash-chained (`ring0-hashlog`), in files that follow each other, with the head also in witness files elsewhere.
//!
//! Always true: an entry is on the disk, and its head in every witness, before a signature leaves. A later file begins with the memory that the earlier ones add up to
//! ([`Event::Carried`]), so a start reads one file; [`verify`] reads all and compares.

use crate::approval::Approval;
use crate::memory::{Amount, Memory};
use crate::message::{Kind, Message};
use crate::protocol::{Name, Seen};
use ring0_channels::{Address, B256};
use ring0_hashlog::{HashLog, Head, LogError};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Heads of so many of the newest writes are remembered, to compare with what askers have seen.
const HEADS: usize = 1 << 16;

/// One thing that happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, milliseconds of Unix time.
    pub at_ms: u64,
    /// User id of whoever asked.
    pub user: u32,
    /// What.
    pub event: Event,
}

/// See [`Entry`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "entry", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// The signer was made.
    Born {
        /// Highest number that there was.
        first_number: u64,
        /// How fast numbers may rise.
        per_second: u64,
    },
    /// Another file begins.
    Carried {
        /// The history before.
        before: Seen,
        /// What it adds up to.
        memory: Box<Memory>,
    },
    /// A process began to serve.
    Started {
        /// SHA-256 of its `signer.toml`.
        policy: B256,
    },
    /// A signature was made after this.
    Signed {
        /// The key's name.
        key: String,
        /// The key's address.
        address: Address,
        /// What was signed.
        digest: B256,
        /// Of this.
        message: Message,
        /// It had been signed before.
        again: bool,
        /// What counts against limits.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        counts: Vec<Count>,
    },
    /// Nothing was signed.
    Refused {
        /// The key's name.
        key: String,
        /// What was asked; `None`: the message has none.
        digest: Option<B256>,
        /// Of this.
        message: Message,
        /// Why.
        name: Name,
        /// In words.
        text: String,
    },
    /// The key's backend failed after the entry of the signature.
    Failed {
        /// The key's name.
        key: String,
        /// What was to be signed.
        digest: B256,
        /// Why.
        text: String,
    },
    /// Stopped.
    Stopped,
    /// Going on.
    Resumed,
    /// Somebody approved a request.
    Approved {
        /// The approval.
        approval: Approval,
        /// Who signed it.
        approver: Address,
    },
    /// The store was restored.
    Restored {
        /// Numbers up to here are not signed.
        floor: u64,
        /// What the restored history was.
        before: Seen,
    },
    /// A key was made, rotated, refreshed or retired.
    Key {
        /// Its name.
        key: String,
        /// Its public key.
        public_key: String,
        /// What was done.
        act: String,
    },
}

/// What a message moves out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// The policy's name of it.
    pub asset: String,
    /// Smallest unit.
    pub amount: Amount,
}

/// A history that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// One of its files.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The folder or a witness.
    #[error("{path}: {source}; the history and its witnesses must be writable", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is none.
    #[error("{} has no history; `ring0 signer init` makes a signer", .0.display())]
    None(PathBuf),
    /// Two files do not fit each other.
    #[error("{path} does not continue the file before it: {what}; compare the files with a backup", path = .path.display())]
    Broken {
        /// The later one.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> HistoryError + '_ {
    move |source| HistoryError::File {
        path: path.to_owned(),
        source,
    }
}

/// The history of a running signer.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    log: HashLog<Entry>,
    number: u64,
    /// Entries in the files before.
    before: u64,
    staged: Vec<Entry>,
    segment_bytes: u64,
    heads: VecDeque<Seen>,
    witnesses: Vec<Witness>,
    memory: Memory,
}

/// Files in their order.
fn segments(folder: &Path) -> Result<Vec<(u64, PathBuf)>, HistoryError> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).map_err(at(folder))? {
        let path = file.map_err(at(folder))?.path();
        let number = path.extension().is_some_and(|it| it == "log");
        let number = path
            .file_stem()
            .filter(|_| number)
            .and_then(|it| it.to_str());
        if let Some(number) = number.and_then(|it| it.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

impl History {
    /// Makes one, in a folder that has none.
    ///
    /// # Errors
    /// There is one, or the disk.
    pub fn create(folder: &Path, born: Entry, witnesses: &[PathBuf]) -> Result<(), HistoryError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        if !segments(folder)?.is_empty() {
            let there = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(at(folder)(there));
        }
        let (mut log, _) = HashLog::open(&segment(folder, 1))?;
        let head = log.append(&born)?;
        let seen = Seen { entries: 1, head };
        for path in witnesses {
            Witness::create(path, seen)?;
        }
        Ok(())
    }

    /// Opens the newest file and reads it. Gives with it why it is not the newest history, if its witnesses tell so.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub fn open(
        folder: &Path,
        witnesses: &[PathBuf],
        segment_bytes: u64,
    ) -> Result<(History, Option<String>), HistoryError> {
        let none = || HistoryError::None(folder.to_owned());
        if !folder.is_dir() {
            return Err(none());
        }
        let mut files = segments(folder)?;
        let (mut number, mut path) = files.pop().ok_or_else(none)?;
        let wanted: Vec<_> = witnesses.iter().map(|path| Witness::open(path)).collect();
        let mut claims = Vec::new();
        let mut stale = None;
        for (path, witness) in witnesses.iter().zip(&wanted) {
            match witness {
                Ok((_, seen)) => claims.push((path, *seen)),
                Err(why) => {
                    let text = format!("the witness {} cannot be used: {why}", path.display());
                    stale.get_or_insert(text);
                }
            }
        }
        // A file that a crash cut off before its first entry. Opened, so that no running signer's is taken away.
        if !files.is_empty() && HashLog::<Entry>::open(&path)?.0.entries() == 0 {
            fs::remove_file(&path).map_err(at(&path))?;
            (number, path) = files.pop().expect("it is not empty");
        }
        let (mut memory, mut heads, mut before) = (Memory::default(), VecDeque::new(), 0);
        let mut head = Head::default();
        let mut known = Vec::new();
        let (mut entries, mut first) = (0, true);
        let log = HashLog::open_with(&path, |entry: Entry| {
            if let (true, Event::Carried { before: seen, .. }) = (first, &entry.event) {
                before = seen.entries;
                known.push(*seen);
            }
            first = false;
            entries += 1;
            // What was written is what was read: JSON of one type, made by it.
            let json = serde_json::to_string(&entry).expect("it was read from JSON");
            head = head.then(&json);
            let seen = Seen {
                entries: before + entries,
                head,
            };
            if claims
                .iter()
                .any(|(_, claim)| claim.entries == seen.entries)
            {
                known.push(seen);
            }
            heads.push_back(seen);
            if heads.len() > HEADS {
                heads.pop_front();
            }
            memory.apply(&entry);
        })?;
        let newest = Seen {
            entries: before + log.entries(),
            head: log.head(),
        };
        for (path, claim) in claims {
            // A claim of an earlier file is older than this history, if it is of it at all: files fit each other.
            if claim.entries >= before && !known.contains(&claim) {
                let text = format!(
                    "the witness {} has seen {} entries, the history has {} and another name there: it is an old copy",
                    path.display(),
                    claim.entries,
                    newest.entries
                );
                stale.get_or_insert(text);
            }
        }
        let history = History {
            folder: folder.to_owned(),
            log,
            number,
            before,
            staged: Vec::new(),
            segment_bytes,
            heads,
            witnesses: wanted.into_iter().flatten().map(|(it, _)| it).collect(),
            memory,
        };
        Ok((history, stale))
    }

    /// Takes an entry into the memory; it counts when [`History::commit`] has written it.
    pub fn stage(&mut self, entry: Entry) {
        self.memory.apply(&entry);
        self.staged.push(entry);
    }

    /// Writes what was staged and the new head into the witnesses; all is on the disks when this returns.
    ///
    /// # Errors
    /// What is on the disk is unknown: the signer must not go on with it.
    pub fn commit(&mut self) -> Result<Seen, HistoryError> {
        if self.staged.is_empty() {
            return Ok(self.seen());
        }
        self.log.append_all(&self.staged)?;
        let at_ms = self.staged.last().map_or(0, |it| it.at_ms);
        self.staged.clear();
        let path = segment(&self.folder, self.number);
        if fs::metadata(&path).map_err(at(&path))?.len() >= self.segment_bytes {
            self.roll(at_ms)?;
        }
        self.note()
    }

    /// Goes on in another file.
    fn roll(&mut self, at_ms: u64) -> Result<(), HistoryError> {
        let carried = Entry {
            at_ms,
            user: rustix::process::getuid().as_raw(),
            event: Event::Carried {
                before: self.seen(),
                memory: Box::new(self.memory.clone()),
            },
        };
        let path = segment(&self.folder, self.number + 1);
        let before = self.seen().entries;
        let (mut log, _) = HashLog::open(&path)?;
        log.append(&carried)?;
        self.memory.apply(&carried);
        (self.log, self.number, self.before) = (log, self.number + 1, before);
        Ok(())
    }

    fn note(&mut self) -> Result<Seen, HistoryError> {
        let seen = self.seen();
        for witness in &mut self.witnesses {
            witness.write(seen)?;
        }
        self.heads.push_back(seen);
        if self.heads.len() > HEADS {
            self.heads.pop_front();
        }
        Ok(seen)
    }

    /// Makes the witnesses agree with a history that was restored.
    ///
    /// # Errors
    /// The disk.
    pub fn witness_anew(&mut self, witnesses: &[PathBuf]) -> Result<(), HistoryError> {
        self.witnesses.clear();
        for path in witnesses {
            let _ = fs::remove_file(path); // it may not be there
            self.witnesses.push(Witness::create(path, self.seen())?);
        }
        Ok(())
    }

    /// Entries so far and the head that names them.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            entries: self.before + self.log.entries(),
            head: self.log.head(),
        }
    }

    /// What all of it adds up to.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether an asker has seen a history that this one is not.
    #[must_use]
    pub fn contradicts(&self, seen: &Seen) -> bool {
        let newest = self.seen();
        if seen.entries > newest.entries {
            return true;
        }
        let place = self
            .heads
            .binary_search_by_key(&seen.entries, |it| it.entries);
        match place {
            Ok(place) => self.heads[place].head != seen.head,
            // Older than what is remembered, or between two writes: nobody was told such a head by this history.
            Err(0) => false,
            Err(_) => true,
        }
    }
}

/// A file with the history's newest head.
#[derive(Debug)]
struct Witness {
    path: PathBuf,
    file: File,
    writes: u64,
}

/// Bytes of one of its two lines: a torn write leaves the other.
const LINE: usize = 128;

fn line(seen: Seen) -> [u8; LINE] {
    let text = format!("{} {}", seen.entries, seen.head);
    // The check tells a line that was written half.
    let check = Head::default().then(&text).to_string();
    let mut line = [b' '; LINE];
    line[LINE - 1] = b'\n';
    let text = format!("{text} {}", &check[..32]);
    line[..text.len()].copy_from_slice(text.as_bytes());
    line
}

fn parse(line: &[u8]) -> Option<Seen> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let (entries, head) = text.rsplit_once(' ')?.0.split_once(' ')?;
    let seen = Seen {
        entries: entries.parse().ok()?,
        head: head.parse().ok()?,
    };
    (crate::history::line(seen).as_slice() == line).then_some(seen)
}

impl Witness {
    fn create(path: &Path, seen: Seen) -> Result<Witness, HistoryError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(at(path))?;
        let mut witness = Witness {
            path: path.to_owned(),
            file,
            writes: 0,
        };
        witness.write(seen)?;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(at(path))?;
        Ok(witness)
    }

    fn open(path: &Path) -> Result<(Witness, Seen), String> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut &file, &mut bytes).map_err(|error| error.to_string())?;
        let lines: Vec<_> = bytes.chunks(LINE).map(parse).collect();
        let newest = (0..lines.len()).max_by_key(|place| lines[*place].map(|it| it.entries));
        let seen = newest.and_then(|place| lines[place]);
        let seen = seen.ok_or("no line of it is whole")?;
        let witness = Witness {
            path: path.to_owned(),
            file,
            writes: newest.map_or(0, |place| place as u64 + 1),
        };
        Ok((witness, seen))
    }

    fn write(&mut self, seen: Seen) -> Result<(), HistoryError> {
        let place = (self.writes % 2) * LINE as u64;
        self.file
            .write_all_at(&line(seen), place)
            .and_then(|()| self.file.sync_data())
            .map_err(at(&self.path))?;
        self.writes += 1;
        Ok(())
    }
}

/// Which entries are looked for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Of this kind of message.
    pub kind: Option<Kind>,
    /// Of this key.
    pub key: Option<String>,
    /// From this time on, milliseconds of Unix time.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
    /// Of this digest.
    pub digest: Option<B256>,
    /// Only what was refused.
    pub refused: bool,
}

impl Filter {
    /// Whether an entry is one of them.
    #[must_use]
    pub fn fits(&self, entry: &Entry) -> bool {
        let (key, digest, kind) = entry.event.about();
        self.since_ms.is_none_or(|since| entry.at_ms >= since)
            && self.until_ms.is_none_or(|until| entry.at_ms < until)
            && self.kind.is_none_or(|it| kind == Some(it))
            && self.key.as_ref().is_none_or(|it| key == Some(it))
            && self.digest.is_none_or(|it| digest == Some(it))
            && (!self.refused || matches!(entry.event, Event::Refused { .. }))
    }
}

impl Event {
    /// Key, digest and kind, where it has them.
    #[must_use]
    pub fn about(&self) -> (Option<&String>, Option<B256>, Option<Kind>) {
        match self {
            Event::Signed {
                key,
                digest,
                message,
                ..
            } => (Some(key), Some(*digest), Some(message.kind())),
            Event::Refused {
                key,
                digest,
                message,
                ..
            } => (Some(key), *digest, Some(message.kind())),
            Event::Failed { key, digest, .. } => (Some(key), Some(*digest), None),
            Event::Approved { approval, .. } => (None, Some(approval.request), None),
            Event::Key { key, .. } => (Some(key), None, None),
            _ => (None, None, None),
        }
    }
}

/// Hands all entries that fit to `take`, oldest first. The signer may be running.
///
/// # Errors
/// See [`HistoryError`].
pub fn search(
    folder: &Path,
    filter: &Filter,
    mut take: impl FnMut(Entry),
) -> Result<(), HistoryError> {
    for (_, path) in segments(folder)? {
        ring0_hashlog::verify(&path, |entry: Entry| {
            if filter.fits(&entry) {
                take(entry);
            }
        })?;
    }
    Ok(())
}

/// Checks all files: each line, that the files continue each other, and that each begins with what those before it add up to.
///
/// # Errors
/// See [`HistoryError`].
pub fn verify(folder: &Path) -> Result<Seen, HistoryError> {
    let mut memory = Memory::default();
    let mut seen: Option<Seen> = None;
    for (_, path) in segments(folder)? {
        let mut wrong = None;
        let mut first = true;
        let checked = ring0_hashlog::verify(&path, |entry: Entry| {
            if std::mem::take(&mut first) {
                match (&entry.event, seen) {
                    (Event::Carried { before, .. }, Some(seen)) if *before != seen => {
                        wrong = Some("it names another history");
                    }
                    (
                        Event::Carried {
                            memory: carried, ..
                        },
                        Some(_),
                    ) if **carried != memory => {
                        wrong = Some("it carries over what the files before do not add up to");
                    }
                    (Event::Carried { .. }, Some(_)) | (Event::Born { .. }, None) => {}
                    _ => wrong = Some("it begins in the middle"),
                }
            }
            memory.apply(&entry);
        })?;
        if let Some(what) = wrong {
            return Err(HistoryError::Broken { path, what });
        }
        if checked.entries == 0 {
            // A crash cut it off before its first entry; the next start removes it.
            continue;
        }
        seen = Some(Seen {
            entries: seen.map_or(0, |it| it.entries) + checked.entries,
            head: checked.head,
        });
    }
    seen.ok_or_else(|| HistoryError::None(folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn signed(number: u64) -> Entry {
        let message = Message::Transaction(crate::transaction::Transaction {
            chain_id: 1,
            nonce: number,
            max_priority_fee_per_gas: 1,
            max_fee_per_gas: 1,
            gas_limit: 1,
            to: Address::repeat_byte(1),
            value: 5,
            data: Default::default(),
        });
        Entry {
            at_ms: 1_000_000 + number,
            user: 3,
            event: Event::Signed {
                key: "key".to_owned(),
                address: Address::repeat_byte(2),
                digest: message.digest().expect("a transaction has one"),
                message,
                again: false,
                counts: vec![Count {
                    asset: "ETH".to_owned(),
                    amount: Amount(5),
                }],
            },
        }
    }

    fn made(folder: &Path, witnesses: &[PathBuf]) {
        let born = Entry {
            at_ms: 1_000_000,
            user: 0,
            event: Event::Born {
                first_number: 0,
                per_second: 10,
            },
        };
        History::create(folder, born, witnesses).unwrap();
    }

    /// Small files: the memory of the last one is that of all, a changed early file is found, and the search sees all.
    #[test]
    fn files_follow_each_other_and_add_up() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("history");
        made(&folder, &[]);
        let mut memory = Memory::default();
        for number in 0..20 {
            // Opened anew each time, as after a crash.
            let (mut history, stale) = History::open(&folder, &[], 2000).unwrap();
            assert_eq!(stale, None);
            assert!(number == 0 || *history.memory() == memory);
            history.stage(signed(number));
            let seen = history.commit().unwrap();
            assert_eq!(seen, history.seen());
            memory = history.memory().clone();
        }
        let files = segments(&folder).unwrap();
        assert!(files.len() > 3, "{files:?}");
        let (history, _) = History::open(&folder, &[], 2000).unwrap();
        assert_eq!(verify(&folder).unwrap(), history.seen());
        assert_eq!(memory.spent("ETH", 1440, 1_000_100), 100);
        drop(history);
        let filter = Filter {
            kind: Some(Kind::Transaction),
            since_ms: Some(1_000_005),
            until_ms: Some(1_000_010),
            ..Filter::default()
        };
        let mut found = Vec::new();
        search(&folder, &filter, |entry| found.push(entry.at_ms)).unwrap();
        assert_eq!(
            found,
            [1_000_005, 1_000_006, 1_000_007, 1_000_008, 1_000_009]
        );
        // A crash after a file was made and before its first entry.
        let (last, _) = files.last().unwrap();
        fs::write(segment(&folder, last + 1), "").unwrap();
        let whole = verify(&folder).unwrap();
        let (history, _) = History::open(&folder, &[], 2000).unwrap();
        assert_eq!(history.seen(), whole);
        assert_eq!(*history.memory(), memory);
        drop(history);
        // Another history in the place of an early file: whole in itself.
        let other = place.path().join("other");
        made(&other, &[]);
        fs::copy(segment(&other, 1), segment(&folder, 1)).unwrap();
        assert!(matches!(verify(&folder), Err(HistoryError::Broken { .. })));
    }

    #[test]
    fn an_old_copy_is_told_by_its_witness_and_by_who_has_seen_more() {
        let place = tempfile::tempdir().unwrap();
        let (folder, witness) = (place.path().join("history"), place.path().join("witness"));
        let witnesses = [witness.clone()];
        made(&folder, &witnesses);
        let open = || History::open(&folder, &witnesses, 1 << 20).unwrap();
        let (mut history, stale) = open();
        assert_eq!(stale, None);
        history.stage(signed(1));
        let early = history.commit().unwrap();
        let old = fs::read(segment(&folder, 1)).unwrap();
        history.stage(signed(2));
        let late = history.commit().unwrap();
        assert!(!history.contradicts(&early) && !history.contradicts(&late));
        drop(history);
        // A crash between the entry and the witness leaves the witness behind: no reason to stop.
        let whole = fs::read(segment(&folder, 1)).unwrap();
        assert_eq!(open().1, None);
        fs::write(segment(&folder, 1), &old).unwrap();
        let (history, stale) = open();
        assert!(stale.unwrap().contains("old copy"));
        assert!(history.contradicts(&late) && !history.contradicts(&early));
        drop(history);
        // An old copy that went its own way is as long as the lost one, and another.
        let (mut history, _) = History::open(&folder, &[], 1 << 20).unwrap();
        history.stage(signed(3));
        history.commit().unwrap();
        assert!(history.contradicts(&late));
        drop(history);
        assert!(open().1.is_some());
        fs::write(segment(&folder, 1), &whole).unwrap();
        assert_eq!(open().1, None);
        // One line of the witness torn: the other one, which is older, still counts.
        let bytes = fs::read(&witness).unwrap();
        for at in [0, LINE] {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            fs::write(&witness, torn).unwrap();
            assert_eq!(open().1, None);
        }
        fs::write(&witness, "nothing").unwrap();
        assert!(open().1.unwrap().contains("cannot be used"));
        fs::remove_file(&witness).unwrap();
        assert!(open().1.unwrap().contains("cannot be used"));
    }
}
