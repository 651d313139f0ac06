//! The ledger's store: a cache of what follows from the journals, so that a start need not read them whole, and the lines of statements.
//!
//! Always true: what is in it is the ledger as it stood behind some record of each shard and some fact, with all lines until then; a commit is whole
//! or not there. Deleted or old it costs time and nothing else. Commits are made by a thread of its own; the ledger goes on meanwhile.

use crate::id::{AccountId, Epoch};
use crate::ledger::Ledger;
use crate::line::AccountLines;
use crate::rows::{Image, NoLedger, Row};
use crate::venue::Venue;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LEDGER: TableDefinition<&[u8], &[u8]> = TableDefinition::new("ledger");
/// (epoch, number of a block of accounts) → for each account that the batch touched: index, length, lines. In this order a batch's lines are written side by side.
const LINES: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("lines");

/// Accounts of a block. A row an account made the commit of a cut with 10,000 accounts take 120 ms, most of it in the tree; larger blocks make
/// reading one account's lines longer.
const BLOCK_ACCOUNTS: u32 = 64;

/// Memory for pages of the file.
const CACHE_BYTES: usize = 64 << 20;

/// How far apart commits begin, at least. With 50 ms they ended up to 136 ms apart where a cut of 10,000 accounts came between, and 100 ms are asked for; shorter
/// costs the disk more and gains nothing, since the records are durable before.
pub const COMMIT_EVERY: Duration = Duration::from_millis(30);

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or another process that has it open.
    #[error("the ledger's store {path}: {source}; check the disk and that no other process has it open. It may be deleted: it is made again from the journals", path = .path.display())]
    Database {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// Not this venue's, or another build's.
    #[error("the ledger's store {path}: {why}; move it away, and it is made again from the journals", path = .path.display())]
    Foreign {
        /// Its file.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A row that cannot be read.
    #[error("the ledger's store {path} is damaged in row {row}; delete it, and it is made again from the journals", path = .path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// The row's key.
        row: String,
    },
    /// The thread that commits has ended.
    #[error("the ledger's store {path} takes nothing more after an earlier error; start again", path = .path.display())]
    Ended {
        /// Its file.
        path: PathBuf,
    },
}

/// A commit that is on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Commit {
    /// Its number in this process, from 1.
    pub number: u64,
    /// When what it has was taken from the ledger.
    pub began: Instant,
    /// When it was on the disk.
    pub ended: Instant,
}

/// What is committed together.
struct Changes {
    rows: Vec<Row>,
    lines: Vec<AccountLines>,
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Arc<Database>,
    to: Option<SyncSender<Changes>>,
    done: Receiver<Result<Instant, redb::Error>>,
    thread: Option<JoinHandle<()>>,
    /// A commit is under way.
    busy: bool,
    began: Instant,
    last: Option<Commit>,
}

impl Store {
    /// Opens a file, or makes it, and reads the ledger that is in it: an empty one in a new file.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path, venue: Venue) -> Result<(Store, Ledger), StoreError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|source| wrong(path, source.into()))?;
        let rows = rows_of(&database).map_err(|source| wrong(path, source))?;
        let ledger = Ledger::from_rows(venue, rows.into_iter()).map_err(|error| match error {
            NoLedger::Foreign(why) => StoreError::Foreign {
                path: path.to_owned(),
                why,
            },
            NoLedger::Row(key) => damaged(path, &key),
        })?;
        let database = Arc::new(database);
        let (to, changes) = sync_channel::<Changes>(1);
        let (say, done) = sync_channel(1);
        let own = Arc::clone(&database);
        let work = move || {
            while let Ok(changes) = changes.recv() {
                let done = commit(&own, &changes).map(|()| Instant::now());
                if say.send(done).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("ledger-store".to_owned())
            .spawn(work)
            .map_err(|error| wrong(path, redb::Error::Io(error)))?;
        let store = Store {
            path: path.to_owned(),
            database,
            to: Some(to),
            done,
            thread: Some(thread),
            busy: false,
            began: Instant::now(),
            last: None,
        };
        Ok((store, ledger))
    }

    /// Begins a commit where [`COMMIT_EVERY`] has passed since the last one began and that one has ended; never waits. Call it between pieces of records.
    ///
    /// # Errors
    /// An earlier commit failed.
    pub fn tick(&mut self, ledger: &mut Ledger) -> Result<bool, StoreError> {
        if self.busy {
            match self.done.try_recv() {
                Ok(done) => self.ended(done)?,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Err(self.gone()),
            }
        }
        if self.began.elapsed() < COMMIT_EVERY {
            return Ok(false);
        }
        self.begin(ledger)?;
        Ok(true)
    }

    /// Commits all that there is; it is on the disk when this returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn flush(&mut self, ledger: &mut Ledger) -> Result<(), StoreError> {
        self.wait()?;
        self.begin(ledger)?;
        self.wait()
    }

    fn wait(&mut self) -> Result<(), StoreError> {
        if self.busy {
            let done = self.done.recv().map_err(|_| self.gone())?;
            self.ended(done)?;
        }
        Ok(())
    }

    fn begin(&mut self, ledger: &mut Ledger) -> Result<(), StoreError> {
        let changes = Changes {
            rows: ledger.take_rows(),
            lines: std::mem::take(&mut ledger.fresh),
        };
        self.began = Instant::now();
        let sent = self.to.as_ref().map(|to| to.send(changes));
        match sent {
            Some(Ok(())) => {
                self.busy = true;
                Ok(())
            }
            _ => Err(self.gone()),
        }
    }

    fn ended(&mut self, done: Result<Instant, redb::Error>) -> Result<(), StoreError> {
        self.busy = false;
        match done {
            Ok(at) => {
                self.last = Some(Commit {
                    number: self.last.map_or(0, |it| it.number) + 1,
                    began: self.began,
                    ended: at,
                });
                Ok(())
            }
            Err(source) => {
                self.to = None; // what was in it is lost to this store: it must be opened again
                Err(wrong(&self.path, source))
            }
        }
    }

    fn gone(&self) -> StoreError {
        StoreError::Ended {
            path: self.path.clone(),
        }
    }

    /// The last commit that is known to have ended.
    #[must_use]
    pub fn last_commit(&self) -> Option<Commit> {
        self.last
    }

    /// Whether a commit is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// The lines of an account in a batch that touched it, if that is committed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn lines(
        &self,
        account: AccountId,
        epoch: Epoch,
    ) -> Result<Option<AccountLines>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(LINES)?;
            let value = table.get((epoch.0, account.0 / BLOCK_ACCOUNTS))?;
            Ok(value.map(|it| it.value().to_vec()))
        };
        let Some(bytes) = read().map_err(|source| wrong(&self.path, source))? else {
            return Ok(None);
        };
        let all = self.block(epoch, account.0 / BLOCK_ACCOUNTS, &bytes)?;
        Ok(all.into_iter().find(|it| it.account == account))
    }

    fn block(
        &self,
        epoch: Epoch,
        number: u32,
        bytes: &[u8],
    ) -> Result<Vec<AccountLines>, StoreError> {
        let name = || [&epoch.0.to_be_bytes()[..], &number.to_be_bytes()].concat();
        parse_block(epoch, bytes).ok_or_else(|| damaged(&self.path, &name()))
    }

    /// All lines of some batches, in the order of their keys.
    ///
    /// # Errors
    /// See [`StoreError`], and what `take` gives.
    pub fn all_lines<E: From<StoreError>>(
        &self,
        epochs: std::ops::RangeInclusive<u64>,
        mut take: impl FnMut(AccountLines) -> Result<(), E>,
    ) -> Result<(), E> {
        let wrong = |source| wrong(&self.path, source);
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(LINES)?;
            Ok(table.range((*epochs.start(), 0)..=(*epochs.end(), u32::MAX))?)
        };
        for row in read().map_err(wrong)? {
            let (key, value) = row.map_err(|source| wrong(source.into()))?;
            let (epoch, number) = key.value();
            for lines in self.block(Epoch(epoch), number, value.value())? {
                take(lines)?;
            }
        }
        Ok(())
    }

    /// Every row of both tables, for comparisons.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn contents(&self) -> Result<Image, StoreError> {
        let mut rows = rows_of(&self.database).map_err(|source| wrong(&self.path, source))?;
        self.all_lines(0..=u64::MAX, |lines| {
            let key = [
                &b"lines"[..],
                &lines.epoch.0.to_be_bytes(),
                &lines.account.0.to_be_bytes(),
            ];
            rows.push((key.concat(), lines.to_bytes()));
            Ok::<(), StoreError>(())
        })?;
        Ok(rows)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.to = None;
        // The thread may wait to say what became of its last commit.
        if self.busy {
            let _ = self.done.recv();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn rows_of(database: &Database) -> Result<Image, redb::Error> {
    let write = database.begin_write()?;
    write.open_table(LEDGER)?;
    write.open_table(LINES)?;
    write.commit()?;
    let table = database.begin_read()?.open_table(LEDGER)?;
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        rows.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(rows)
}

fn commit(database: &Database, changes: &Changes) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut table = write.open_table(LEDGER)?;
        for (key, value) in &changes.rows {
            match value {
                Some(value) => drop(table.insert(key.as_slice(), value.as_slice())?),
                None => drop(table.remove(key.as_slice())?),
            }
        }
        let mut table = write.open_table(LINES)?;
        let same = |one: &AccountLines, other: &AccountLines| block_of(one) == block_of(other);
        for block in changes.lines.chunk_by(same) {
            let mut bytes = Vec::new();
            for lines in block {
                let own = lines.to_bytes();
                bytes.extend(lines.account.0.to_le_bytes());
                bytes.extend((own.len() as u32).to_le_bytes());
                bytes.extend(own);
            }
            table.insert(block_of(&block[0]), bytes.as_slice())?;
        }
    }
    write.commit()?; // on the disk when it returns
    Ok(())
}

/// A cut gives lines by account: those of a block follow each other.
fn block_of(lines: &AccountLines) -> (u64, u32) {
    (lines.epoch.0, lines.account.0 / BLOCK_ACCOUNTS)
}

fn parse_block(epoch: Epoch, mut bytes: &[u8]) -> Option<Vec<AccountLines>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (account, rest) = bytes.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (own, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let account = AccountId(u32::from_le_bytes(*account));
        all.push(AccountLines::from_bytes(account, epoch, own)?);
        bytes = rest;
    }
    Some(all)
}

fn wrong(path: &Path, source: redb::Error) -> StoreError {
    StoreError::Database {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn damaged(path: &Path, key: &[u8]) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        row: key.iter().map(|it| format!("{it:02x}")).collect(),
    }
}
