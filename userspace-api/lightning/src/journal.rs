//! What happened to accounts over Lightning, made durable before anything is told or sent, and a file that does it.
//!
//! The journal is the truth; everything else about accounts is computed from it ([`crate::book`]).

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use bitcoin::hashes::{Hash, HashEngine, sha256};
use serde::{Deserialize, Serialize};

use crate::amount::Msat;

/// An account of the exchange, by the engine's number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Account(pub u32);

/// Which way an amount goes between the rail and the engine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Off the rail: it can be traded from now on.
    ToEngine,
    /// Debited in the engine by a sequenced command: it can be withdrawn from now on.
    FromEngine,
}

/// One fact. A payment is named by its payment hash.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// An invoice was made for a deposit. It has not left the process before this is durable.
    Invoiced {
        /// Of the invoice.
        hash: sha256::Hash,
        /// Who is credited.
        account: Account,
        /// The least that has to come.
        amount: Msat,
        /// Not taken later, seconds of Unix time.
        expires_s: u64,
    },
    /// The payment was claimed: it is ours, and the account's.
    Credited {
        /// Of the invoice.
        hash: sha256::Hash,
        /// What came: at least what the invoice asks for.
        amount: Msat,
    },
    /// A payment may leave: amount and fee limit are debited and held. Nothing was sent before this is durable.
    Held {
        /// Of the invoice that is paid.
        hash: sha256::Hash,
        /// Who pays.
        account: Account,
        /// What the payee gets.
        amount: Msat,
        /// The most that the way there may cost.
        fee_limit: Msat,
        /// What is paid, BOLT 11.
        invoice: String,
    },
    /// The payee has it. What the way cost less than the limit went back to the account.
    Settled {
        /// Of the invoice that was paid.
        hash: sha256::Hash,
        /// What the way cost.
        fee: Msat,
        /// The proof of payment, hexadecimal.
        preimage: String,
    },
    /// It failed for good; the hold went back to the account.
    Released {
        /// Of the invoice that was not paid.
        hash: sha256::Hash,
        /// Why.
        reason: String,
    },
    /// Between the rail and the engine.
    Moved {
        /// Whose.
        account: Account,
        /// To the engine: the account's movements that way are numbered from 1 without holes. From the engine: the number of its debit there, which
        /// rises.
        number: u64,
        /// Which way.
        direction: Direction,
        /// Whole units of the engine, in millisatoshi.
        amount: Msat,
    },
}

/// A record and when it was written.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Seconds of Unix time, for people and statements: nothing is decided by it.
    pub at_s: u64,
    /// What happened.
    pub fact: Record,
}

impl Entry {
    /// The name of a journal that ends with this entry: a hash over the name of the journal before it and the entry.
    ///
    /// # Panics
    /// Never: an entry can be written.
    #[must_use]
    pub fn name(&self, before: &sha256::Hash) -> sha256::Hash {
        link(before, &self.json())
    }

    fn json(&self) -> String {
        serde_json::to_string(self).expect("an entry can be written")
    }
}

/// The name of an empty journal.
#[must_use]
pub fn empty() -> sha256::Hash {
    sha256::Hash::all_zeros()
}

/// Somewhere durable.
pub trait Journal {
    /// Writes an entry; it is on the disk when this returns.
    ///
    /// # Errors
    /// The entry may or may not be there: nothing may be appended any more, and nothing decided, before it was read again.
    fn append(&mut self, entry: &Entry) -> io::Result<()>;
}

/// A journal that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file's trouble.
    #[error("the journal {path} cannot be opened: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not what was written.
    #[error(
        "line {line} of the journal {path} is damaged: {reason}; restore it from a copy: without it a payment could be made twice"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Another process has it.
    #[error("the journal {0} is in use by another process: an exchange has one rail")]
    InUse(PathBuf),
}

/// A journal in a file: a line a record, each under the hash of all before it, synchronised once a record, locked against a
/// second writer. A line that was cut off by a crash was never acknowledged and is dropped when the file is opened.
#[derive(Debug)]
pub struct FileJournal {
    file: File,
    previous: sha256::Hash,
    /// A write failed: what the file ends with is unknown.
    broken: bool,
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
    pub fn open(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        let at = |source| JournalError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(at)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::InUse(path.to_owned()))?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(at)?; // the file's name is durable too
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at)?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let (mut records, mut previous) = (Vec::new(), empty());
        for (line, entry) in bytes[..whole]
            .split_inclusive(|byte| *byte == b'\n')
            .enumerate()
        {
            let damaged = |reason: String| JournalError::Damaged {
                path: path.to_owned(),
                line: line + 1,
                reason,
            };
            let entry = std::str::from_utf8(entry).map_err(|error| damaged(error.to_string()))?;
            let (hash, json) = entry
                .trim_end_matches('\n')
                .split_once(' ')
                .ok_or_else(|| damaged("no hash".to_owned()))?;
            previous = link(&previous, json);
            if hash != previous.to_string() {
                return Err(damaged("the hash is another".to_owned()));
            }
            records.push(serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?);
        }
        file.set_len(whole as u64).map_err(at)?;
        file.sync_data().map_err(at)?; // what was read counts from now on, also if its writer died before it was on the disk
        file.seek(SeekFrom::End(0)).map_err(at)?;
        let journal = Self {
            file,
            previous,
            broken: false,
        };
        Ok((journal, records))
    }
}

impl Journal for FileJournal {
    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "an earlier write failed; start again, which reads what is there",
            ));
        }
        let json = entry.json();
        let hash = link(&self.previous, &json);
        self.broken = true;
        self.file.write_all(format!("{hash} {json}\n").as_bytes())?;
        self.file.sync_data()?;
        self.broken = false;
        self.previous = hash;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Entry> {
        let hash = |byte| sha256::Hash::hash(&[byte]);
        let msat = |msat| Msat::new(msat).unwrap();
        let facts = vec![
            Record::Invoiced {
                hash: hash(1),
                account: Account(7),
                amount: msat(5_000),
                expires_s: 99,
            },
            Record::Credited {
                hash: hash(1),
                amount: msat(5_001),
            },
            Record::Released {
                hash: hash(2),
                reason: "no way there\nin two lines".to_owned(),
            },
        ];
        (5..)
            .zip(facts)
            .map(|(at_s, fact)| Entry { at_s, fact })
            .collect()
    }

    /// Whatever a crash cuts off, what is left is a beginning of what was written, and writing goes on.
    #[test]
    fn a_torn_end_is_dropped_and_writing_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rail");
        let (mut journal, _) = FileJournal::open(&path).unwrap();
        for record in records() {
            journal.append(&record).unwrap();
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let mut seen = [0; 4];
        // Around each line's end, and now and then within.
        let near =
            |end: usize| whole[end.saturating_sub(2)..(end + 1).min(whole.len())].contains(&b'\n');
        for end in (0..=whole.len()).filter(|end| end % 7 == 0 || near(*end)) {
            std::fs::write(&path, &whole[..end]).unwrap();
            let (mut journal, read) = FileJournal::open(&path).unwrap();
            assert_eq!(read, records()[..read.len()]);
            seen[read.len()] += 1;
            journal.append(&records()[0]).unwrap();
            drop(journal);
            let (_, again) = FileJournal::open(&path).unwrap();
            assert_eq!(again, [&read[..], &records()[..1]].concat());
        }
        assert!(
            seen.iter().all(|times| *times > 0) && seen[3] == 1,
            "{seen:?}"
        );
    }

    #[test]
    fn one_flipped_bit_is_found_and_a_second_writer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rail");
        let (mut journal, _) = FileJournal::open(&path).unwrap();
        for record in records() {
            journal.append(&record).unwrap();
        }
        assert!(matches!(
            FileJournal::open(&path),
            Err(JournalError::InUse(_))
        ));
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for place in (0..whole.len() - 1).step_by(3) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            match FileJournal::open(&path) {
                Err(JournalError::Damaged { .. }) => {}
                other => panic!("byte {place} flipped: {other:?}"),
            }
        }
    }
}
