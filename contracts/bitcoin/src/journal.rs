//! Where a channel's facts are made durable before they are acted upon, and a file that does it.
//!
//! The file has one JSON line a record, a hash of the line before it; a line counts once its newline is on the disk. A
//! torn last line is what a crash leaves: it was never acted upon, and is cut off.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use bitcoin::hashes::{Hash, HashEngine, sha256};

use crate::channel::Record;

/// Makes records durable.
pub trait Journal {
    /// Appends a record. When this returns `Ok` the record survives the death of process and machine.
    ///
    /// # Errors
    /// When that cannot be promised; whether the record is there is then unknown, and the channel stops until it is loaded again.
    fn append(&mut self, record: &Record) -> io::Result<()>;
}

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be used.
    #[error("cannot use the channel's journal {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that a crash does not explain.
    #[error(
        "line {line} of the channel's journal {path} is damaged ({reason}): restore the second copy, and do not publish anything from this one"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Another process has it.
    #[error("the channel's journal {0} is in use by another process: a channel has one signer")]
    InUse(PathBuf),
}

/// A journal in a file, synchronised to the disk once a record, locked against a second signer.
#[derive(Debug)]
pub struct FileJournal {
    file: File,
    previous: sha256::Hash,
}

fn link(previous: &sha256::Hash, json: &str) -> sha256::Hash {
    let mut engine = sha256::Hash::engine();
    engine.input(previous.as_byte_array());
    engine.input(json.as_bytes());
    sha256::Hash::from_engine(engine)
}

impl FileJournal {
    /// Opens or creates a journal and reads what is in it.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>), JournalError> {
        let at = |source| JournalError::File {
            path: path.to_owned(),
            source,
        };
        let fresh = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(at)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::InUse(path.to_owned()))?;
        if fresh {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(at)?; // the file's name is durable too
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(at)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let (mut records, mut previous) = (Vec::new(), sha256::Hash::all_zeros());
        for (line, entry) in text[..whole].lines().enumerate() {
            let damaged = |reason: String| JournalError::Damaged {
                path: path.to_owned(),
                line: line + 1,
                reason,
            };
            let (hash, json) = entry
                .split_once(' ')
                .ok_or_else(|| damaged("no hash".to_owned()))?;
            previous = link(&previous, json);
            if hash != previous.to_string() {
                return Err(damaged("the hash is another".to_owned()));
            }
            records.push(serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?);
        }
        file.set_len(whole as u64).map_err(at)?;
        file.seek(SeekFrom::End(0)).map_err(at)?;
        Ok((Self { file, previous }, records))
    }
}

impl Journal for FileJournal {
    fn append(&mut self, record: &Record) -> io::Result<()> {
        let json = serde_json::to_string(record)?;
        let hash = link(&self.previous, &json);
        self.file.write_all(format!("{hash} {json}\n").as_bytes())?;
        self.file.sync_data()?;
        self.previous = hash;
        Ok(())
    }
}
