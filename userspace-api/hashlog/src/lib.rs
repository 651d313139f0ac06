//! An append-only file of JSON entries, one a line, each line under the SHA-256 of everything before it: journals, audit logs, histories of
//! what was signed.
//!
//! Always true of a log that [`HashLog::open`] gave: every line was checked against its hash; what [`HashLog::append`] accepted is on the disk;
//! nobody else writes. A line that a crash cut off was never acknowledged and is dropped; any other damage is an error with its line. The head
//! names the whole log: whoever knows it sees a later change of any line before it.

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The name of a log up to an entry: SHA-256 of the name before it and the entry's JSON; of an empty log all zeros. Text: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Head(pub [u8; 32]);

impl Head {
    /// The head behind one more entry, by the bytes of its JSON.
    #[must_use]
    pub fn then(&self, json: &str) -> Head {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(json.as_bytes());
        Head(hash.finalize().into())
    }
}

impl fmt::Display for Head {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

/// Text that is no head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the head of a log is 64 hexadecimal digits")]
pub struct NoHead;

impl FromStr for Head {
    type Err = NoHead;

    fn from_str(text: &str) -> Result<Head, NoHead> {
        let mut head = Head::default();
        if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(NoHead);
        }
        for (byte, pair) in head.0.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NoHead)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoHead)?;
        }
        Ok(head)
    }
}

/// A log that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file's trouble.
    #[error("the log {path} cannot be {act}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Not what was written.
    #[error("line {line} of the log {path} is damaged: {reason}; compare it with a copy, and do not go on with this one", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Another process has it.
    #[error("the log {} is in use by another process: a log has one writer", .0.display())]
    InUse(PathBuf),
    /// After a failed write.
    #[error("an earlier write to the log {} failed, and what it ends with is unknown; start again, which reads what is there", .0.display())]
    Broken(PathBuf),
}

/// A log that is being written.
#[derive(Debug)]
pub struct HashLog<T> {
    file: File,
    path: PathBuf,
    head: Head,
    entries: u64,
    broken: bool,
    of: PhantomData<fn(&T)>,
}

impl<T: Serialize + DeserializeOwned> HashLog<T> {
    /// Opens or makes a log (mode 0600), checks all of it, and hands each entry to `take`, in order.
    ///
    /// # Errors
    /// See [`LogError`]; nothing has changed.
    pub fn open_with(path: &Path, mut take: impl FnMut(T)) -> Result<Self, LogError> {
        let at = |act| {
            move |source| LogError::File {
                path: path.to_owned(),
                act,
                source,
            }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(at("opened"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| LogError::InUse(path.to_owned()))?;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        // The file's name is durable too.
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(at("made durable"))?;
        let checked = check(path, &file, &mut take)?;
        file.set_len(checked.bytes)
            .map_err(at("cut to whole lines"))?;
        // What was read counts from now on, also if its writer died before it was on the disk.
        file.sync_data().map_err(at("made durable"))?;
        file.seek(SeekFrom::End(0)).map_err(at("written"))?;
        Ok(HashLog {
            file,
            path: path.to_owned(),
            head: checked.head,
            entries: checked.entries,
            broken: false,
            of: PhantomData,
        })
    }

    /// As [`open_with`](HashLog::open_with), with all entries.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open(path: &Path) -> Result<(Self, Vec<T>), LogError> {
        let mut entries = Vec::new();
        let log = HashLog::open_with(path, |entry| entries.push(entry))?;
        Ok((log, entries))
    }

    /// Writes an entry; it is on the disk when this returns. Gives the new head.
    ///
    /// # Errors
    /// The entry may or may not be there: the log takes nothing more until it is opened again.
    pub fn append(&mut self, entry: &T) -> Result<Head, LogError> {
        self.append_all(std::slice::from_ref(entry))
    }

    /// Writes entries with one wait for the disk; all are on it when this returns. After a crash a beginning of them may be there.
    ///
    /// # Errors
    /// As [`append`](HashLog::append).
    pub fn append_all(&mut self, entries: &[T]) -> Result<Head, LogError> {
        if self.broken {
            return Err(LogError::Broken(self.path.clone()));
        }
        let at = |source| LogError::File {
            path: self.path.clone(),
            act: "written",
            source,
        };
        let (mut head, mut lines) = (self.head, String::new());
        for entry in entries {
            let json = serde_json::to_string(entry).map_err(|error| at(error.into()))?;
            head = head.then(&json);
            lines.push_str(&format!("{head} {json}\n"));
        }
        self.broken = true;
        self.file.write_all(lines.as_bytes()).map_err(at)?;
        self.file.sync_data().map_err(at)?;
        self.broken = false;
        self.head = head;
        self.entries += entries.len() as u64;
        Ok(head)
    }

    /// The name of the whole log.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checked {
    /// The name of the whole log.
    pub head: Head,
    /// Entries.
    pub entries: u64,
    /// Bytes of whole lines; what stands behind was cut off by a crash.
    pub bytes: u64,
}

/// Checks a log that may be in use, and hands each entry to `take`, in order.
///
/// # Errors
/// See [`LogError`].
pub fn verify<T: DeserializeOwned>(
    path: &Path,
    mut take: impl FnMut(T),
) -> Result<Checked, LogError> {
    let file = File::open(path).map_err(|source| LogError::File {
        path: path.to_owned(),
        act: "read",
        source,
    })?;
    check(path, &file, &mut take)
}

/// The number of entries whose head is this one; `None`: no entry has it. The lines are believed: [`verify`] the log too.
///
/// # Errors
/// The file cannot be read.
pub fn position(path: &Path, head: Head) -> Result<Option<u64>, LogError> {
    if head == Head::default() {
        return Ok(Some(0));
    }
    let at = |source| LogError::File {
        path: path.to_owned(),
        act: "read",
        source,
    };
    let head = head.to_string();
    let lines = BufReader::new(File::open(path).map_err(at)?).split(b'\n');
    for (number, line) in (1..).zip(lines) {
        if line.map_err(at)?.starts_with(head.as_bytes()) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn check<T: DeserializeOwned>(
    path: &Path,
    file: &File,
    take: &mut dyn FnMut(T),
) -> Result<Checked, LogError> {
    let mut found = Checked {
        head: Head::default(),
        entries: 0,
        bytes: 0,
    };
    let (mut lines, mut line) = (BufReader::new(file), Vec::new());
    loop {
        line.clear();
        let read = lines
            .read_until(b'\n', &mut line)
            .map_err(|source| LogError::File {
                path: path.to_owned(),
                act: "read",
                source,
            })?;
        if line.pop() != Some(b'\n') {
            return Ok(found); // the end, or a line that was cut off
        }
        let damaged = |reason: String| LogError::Damaged {
            path: path.to_owned(),
            line: found.entries as usize + 1,
            reason,
        };
        let text = std::str::from_utf8(&line).map_err(|error| damaged(error.to_string()))?;
        let (name, json) = text
            .split_once(' ')
            .ok_or_else(|| damaged("it has no hash".to_owned()))?;
        let head = found.head.then(json);
        if name != head.to_string() {
            return Err(damaged("its hash is another".to_owned()));
        }
        take(serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?);
        found.head = head;
        found.entries += 1;
        found.bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<(u32, String)> {
        vec![
            (1, "one".to_owned()),
            (2, "in\ntwo lines".to_owned()),
            (3, String::new()),
        ]
    }

    fn written(path: &Path) -> Head {
        let (mut log, none) = HashLog::open(path).unwrap();
        assert_eq!(none, []);
        for entry in entries() {
            log.append(&entry).unwrap();
        }
        log.head()
    }

    /// Whatever a crash cuts off, what is left is a beginning of what was written, and writing goes on.
    #[test]
    fn a_torn_end_is_dropped_and_writing_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        written(&path);
        let whole = std::fs::read(&path).unwrap();
        let mut seen = [0; 4];
        for end in 0..=whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut log, read) = HashLog::<(u32, String)>::open(&path).unwrap();
            assert_eq!(read, entries()[..read.len()]);
            seen[read.len()] += 1;
            log.append(&entries()[0]).unwrap();
            drop(log);
            let (_, again) = HashLog::<(u32, String)>::open(&path).unwrap();
            assert_eq!(again, [&read[..], &entries()[..1]].concat());
        }
        assert!(
            seen.iter().all(|times| *times > 0) && seen[3] == 1,
            "{seen:?}"
        );
    }

    #[test]
    fn one_flipped_bit_is_found_and_a_second_writer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let head = written(&path);
        let (log, _) = HashLog::<(u32, String)>::open(&path).unwrap();
        assert_eq!(log.head(), head);
        let second = HashLog::<(u32, String)>::open(&path);
        assert!(matches!(second, Err(LogError::InUse(_))));
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() - 1 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            match HashLog::<(u32, String)>::open(&path) {
                Err(LogError::Damaged { .. }) => {}
                other => panic!("byte {place} flipped: {other:?}"),
            }
        }
    }

    /// Several at once are what the same one by one are, and a reader beside the writer sees the same head.
    #[test]
    fn many_at_once_are_as_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let one = written(&folder.path().join("one"));
        let path = folder.path().join("all");
        let (mut log, _) = HashLog::open(&path).unwrap();
        assert_eq!(log.append_all(&entries()).unwrap(), one);
        let mut read = Vec::new();
        let checked = verify::<(u32, String)>(&path, |entry| read.push(entry)).unwrap();
        assert_eq!((checked.head, checked.entries, read), (one, 3, entries()));
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(position(&path, one).unwrap(), Some(3));
        assert_eq!(position(&path, Head::default()).unwrap(), Some(0));
        assert_eq!(position(&path, Head([7; 32])).unwrap(), None);
    }
}
