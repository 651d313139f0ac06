//! The facts' journal: an entry is on the disk before it counts (CUSTODY 14).
//!
//! Always true: what [`FactJournal::append`] accepted is on the disk; entries are numbered from 1 without a gap; each stands under the SHA-256 of everything
//! before it, so whoever knows a head sees a later change. It opens without reading what came before: years of cuts do not delay a start.
//! Why `redb`: `docs/decisions/0077-ledger.md`.

use crate::fact::{Entry, Fact};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use ring0_hashlog::Head;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Number → head behind it (32 bytes) and the entry's JSON.
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("facts");

/// Memory for pages of the file: appends and reads in order need little.
const CACHE_BYTES: usize = 8 << 20;

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk, or another process that has it open.
    #[error("the journal of facts {path}: {source}; check the disk and that no other process has it open", path = .path.display())]
    Database {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// An entry that is not what was written.
    #[error("entry {number} of the journal of facts {path}: {why}; restore the file from a copy, and do not go on with this one", path = .path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// Which entry.
        number: u64,
        /// What is wrong.
        why: String,
    },
    /// An entry that is not the next one.
    #[error("entry {given} is not the next one, {next} is; take what the journal has first")]
    Number {
        /// The next one.
        next: u64,
        /// In the entry.
        given: u64,
    },
}

/// See the module.
#[derive(Debug)]
pub struct FactJournal {
    database: Arc<Database>,
    path: PathBuf,
    last: u64,
    head: Head,
}

impl FactJournal {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(path: &Path) -> Result<FactJournal, JournalError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let database = database.map_err(|source| wrong(path, source.into()))?;
        let made = (|| {
            let write = database.begin_write()?;
            write.open_table(ENTRIES)?;
            write.commit()?;
            let table = database.begin_read()?.open_table(ENTRIES)?;
            let last = table.last()?;
            Ok(last.map(|(number, bytes)| (number.value(), bytes.value().to_vec())))
        })();
        let last = made.map_err(|source| wrong(path, source))?;
        let (last, head) = match last {
            None => (0, Head::default()),
            Some((number, bytes)) => (number, parse(path, number, &bytes)?.0),
        };
        Ok(FactJournal {
            database: Arc::new(database),
            path: path.to_owned(),
            last,
            head,
        })
    }

    /// Writes entries, the next ones, with one wait for the disk; all are on it when this returns, or none counts.
    ///
    /// # Errors
    /// See [`JournalError`]; nothing was written.
    pub fn append(&mut self, entries: &[Entry]) -> Result<Head, JournalError> {
        let (mut last, mut head) = (self.last, self.head);
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            if entry.number != last + 1 {
                return Err(JournalError::Number {
                    next: last + 1,
                    given: entry.number,
                });
            }
            let json = serde_json::to_string(entry).map_err(|error| JournalError::Damaged {
                path: self.path.clone(),
                number: entry.number,
                why: error.to_string(),
            })?;
            (last, head) = (entry.number, head.then(&json));
            rows.push((last, [&head.0[..], json.as_bytes()].concat()));
        }
        let written = (|| {
            let write = self.database.begin_write()?;
            {
                let mut table = write.open_table(ENTRIES)?;
                for (number, bytes) in &rows {
                    table.insert(number, bytes.as_slice())?;
                }
            }
            write.commit()?; // on the disk when it returns
            Ok(())
        })();
        written.map_err(|source| wrong(&self.path, source))?;
        (self.last, self.head) = (last, head);
        Ok(head)
    }

    /// The entries from a number on, in order, each checked against its head.
    ///
    /// # Errors
    /// See [`JournalError`], and what `take` gives.
    pub fn read<E: From<JournalError>>(
        &self,
        from: u64,
        take: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.reader().read(from..=u64::MAX, take)
    }

    /// Whoever reads the journal beside its writer, in another thread.
    #[must_use]
    pub fn reader(&self) -> FactReader {
        FactReader {
            database: Arc::clone(&self.database),
            path: self.path.clone(),
        }
    }

    /// The number of the last entry; 0: there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The name of the whole journal: SHA-256 over everything in it.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The entry of a fact at these positions, after the last one.
    #[must_use]
    pub fn entry(&self, at: Vec<u64>, fact: Fact) -> Entry {
        Entry {
            number: self.last + 1,
            at,
            fact,
        }
    }
}

/// Reads a journal of facts while its writer goes on.
#[derive(Clone, Debug)]
pub struct FactReader {
    database: Arc<Database>,
    path: PathBuf,
}

impl FactReader {
    /// The entries with these numbers that are there now, in order, each checked against its head.
    ///
    /// # Errors
    /// See [`JournalError`], and what `take` gives.
    pub fn read<E: From<JournalError>>(
        &self,
        numbers: RangeInclusive<u64>,
        mut take: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = *numbers.start();
        let wrong = |source| wrong(&self.path, source);
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(ENTRIES)?;
            let before = table.get(from.saturating_sub(1))?;
            let before = before.map(|bytes| bytes.value().to_vec());
            let range = table.range(numbers.clone())?;
            Ok((before, range))
        };
        let (before, range) = read().map_err(wrong)?;
        let mut head = match before {
            Some(bytes) => parse(&self.path, from - 1, &bytes)?.0,
            None => Head::default(),
        };
        for (next, row) in (from.max(1)..).zip(range) {
            let (number, bytes) = row.map_err(|source| wrong(source.into()))?;
            let (number, bytes) = (number.value(), bytes.value());
            let (stated, json) = parse(&self.path, number, bytes)?;
            let damaged = |why: String| JournalError::Damaged {
                path: self.path.clone(),
                number,
                why,
            };
            head = head.then(json);
            if number != next || stated != head {
                return Err(damaged("it is not the one that was written".to_owned()).into());
            }
            let entry: Entry =
                serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
            take(entry)?;
        }
        Ok(())
    }
}

fn wrong(path: &Path, source: redb::Error) -> JournalError {
    JournalError::Database {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

/// Head and JSON of a row.
fn parse<'a>(path: &Path, number: u64, bytes: &'a [u8]) -> Result<(Head, &'a str), JournalError> {
    let damaged = |why: &str| JournalError::Damaged {
        path: path.to_owned(),
        number,
        why: why.to_owned(),
    };
    let (head, json) = bytes
        .split_first_chunk::<32>()
        .ok_or_else(|| damaged("it is too short"))?;
    let json = std::str::from_utf8(json).map_err(|_| damaged("it is no text"))?;
    Ok((Head(*head), json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AccountId, AssetId, PeerId};

    fn received(journal: &FactJournal, amount: u128) -> Entry {
        let fact = Fact::Received {
            rail: PeerId(7),
            number: journal.last() + 1,
            account: AccountId(3),
            asset: AssetId(1),
            amount,
        };
        journal.entry(vec![5, 6], fact)
    }

    fn read(journal: &FactJournal, from: u64) -> Result<Vec<Entry>, JournalError> {
        let mut all = Vec::new();
        journal.read(from, |entry| {
            all.push(entry);
            Ok::<(), JournalError>(())
        })?;
        Ok(all)
    }

    #[test]
    fn entries_come_back_from_any_number_and_a_changed_one_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts");
        let mut journal = FactJournal::open(&path).unwrap();
        let mut written = Vec::new();
        for amount in [1, u128::from(u64::MAX) * 5, 7] {
            let entry = received(&journal, amount);
            journal.append(std::slice::from_ref(&entry)).unwrap();
            written.push(entry);
        }
        let twice = journal.append(&written[..1]);
        assert!(matches!(
            twice,
            Err(JournalError::Number { next: 4, given: 1 })
        ));
        let head = journal.head();
        assert!(FactJournal::open(&path).is_err(), "a second writer");
        drop(journal);
        let journal = FactJournal::open(&path).unwrap();
        assert_eq!((journal.last(), journal.head()), (3, head));
        for from in 0..=4 {
            let left = written[(from.max(1) - 1) as usize..].to_vec();
            assert_eq!(read(&journal, from).unwrap(), left);
        }
        // One digit of an amount, by somebody who can write the file.
        let write = journal.database.begin_write().unwrap();
        {
            let mut table = write.open_table(ENTRIES).unwrap();
            let mut bytes = table.get(2).unwrap().unwrap().value().to_vec();
            let at = bytes.len() - 4;
            bytes[at] ^= 1;
            table.insert(2, bytes.as_slice()).unwrap();
        }
        write.commit().unwrap();
        let found = read(&journal, 1);
        assert!(
            matches!(found, Err(JournalError::Damaged { number: 2, .. })),
            "{found:?}"
        );
    }
}
