//! The candle store: a file of candles by instrument, interval and time, and the record up to which they count.
//!
//! Always true: candles and the number of the last record in them are written in one transaction, so after a crash the same records are taken
//! again and nothing counts twice. The file is a cache: deleted, it is made anew from the records as far back as those reach.

use super::{Candle, Interval};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use std::path::{Path, PathBuf};

/// Shard, instrument, interval in seconds, start in seconds.
const CANDLES: TableDefinition<(u32, u32, u64, u64), &[u8]> = TableDefinition::new("candles");
/// Shard: the last record in its candles.
const THROUGH: TableDefinition<u32, u64> = TableDefinition::new("through");

/// Why the store does not work.
#[derive(Debug, thiserror::Error)]
#[error("the candle store {path} cannot be {act}: {source}; it is a cache, so it may be deleted and is made anew", path = .path.display())]
pub struct StoreError {
    path: PathBuf,
    act: &'static str,
    source: redb::Error,
}

/// See the module.
#[derive(Debug)]
pub struct CandleStore {
    path: PathBuf,
    database: Database,
}

impl CandleStore {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// The file system's, or the file is none of ours.
    pub fn open(path: &Path) -> Result<CandleStore, StoreError> {
        let failed = |source: redb::Error| StoreError {
            path: path.to_owned(),
            act: "opened",
            source,
        };
        let database = Database::create(path).map_err(|it| failed(it.into()))?;
        let store = CandleStore {
            path: path.to_owned(),
            database,
        };
        store.make_tables().map_err(failed)?;
        Ok(store)
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        write.open_table(CANDLES)?;
        write.open_table(THROUGH)?;
        write.commit()?;
        Ok(())
    }

    fn failed(&self, act: &'static str) -> impl FnOnce(redb::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError { path, act, source }
    }

    /// The last record of a shard whose trades are in it; 0: none.
    ///
    /// # Errors
    /// The file system's.
    pub fn through(&self, shard: u32) -> Result<u64, StoreError> {
        let read = || -> Result<u64, redb::Error> {
            let table = self.database.begin_read()?.open_table(THROUGH)?;
            Ok(table.get(shard)?.map_or(0, |it| it.value()))
        };
        read().map_err(self.failed("read"))
    }

    /// Writes candles, and that everything of the shard up to this record is in them. Not synced: what a crash takes is made again.
    ///
    /// # Errors
    /// The file system's.
    pub fn put(
        &self,
        shard: u32,
        candles: &[(u32, Interval, Candle)],
        through: u64,
    ) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let mut write = self.database.begin_write()?;
            write
                .set_durability(Durability::None)
                .map_err(redb::Error::from)?;
            {
                let mut table = write.open_table(CANDLES)?;
                for (instrument, interval, candle) in candles {
                    let key = (shard, *instrument, interval.seconds(), candle.start_s);
                    table.insert(key, &candle.bytes()[..])?;
                }
                write.open_table(THROUGH)?.insert(shard, through)?;
            }
            write.commit()?;
            Ok(())
        };
        write().map_err(self.failed("written"))
    }

    /// Candles of an interval that begin at or after `from_s` and before `to_s`, the newest `limit` of them, the oldest first.
    ///
    /// # Errors
    /// The file system's.
    pub fn range(
        &self,
        shard: u32,
        instrument: u32,
        interval: Interval,
        (from_s, to_s): (u64, u64),
        limit: usize,
    ) -> Result<Vec<Candle>, StoreError> {
        let read = || -> Result<Vec<Candle>, redb::Error> {
            let table = self.database.begin_read()?.open_table(CANDLES)?;
            let key = |start| (shard, instrument, interval.seconds(), start);
            let mut candles = Vec::new();
            for entry in table.range(key(from_s)..key(to_s))?.rev().take(limit) {
                let (key, value) = entry?;
                candles.extend(Candle::read(key.value().3, value.value()));
            }
            candles.reverse();
            Ok(candles)
        };
        read().map_err(self.failed("read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found_by_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("candles.redb");
        let candle = |start_s| Candle {
            start_s,
            open: 1,
            high: u32::MAX,
            low: 1,
            close: 2,
            lots: 3,
            notional: u128::MAX - 1,
            trades: 5,
        };
        let minutes: Vec<_> = (0..10)
            .map(|it| (7, Interval::Minute, candle(it * 60)))
            .collect();
        let store = CandleStore::open(&path).unwrap();
        store.put(1, &minutes, 99).unwrap();
        drop(store);
        let store = CandleStore::open(&path).unwrap();
        assert_eq!([0, 1].map(|shard| store.through(shard).unwrap()), [0, 99]);
        let range = |shard, interval, from, to, limit| {
            let found = store.range(shard, 7, interval, (from, to), limit).unwrap();
            found.iter().map(|it| it.start_s).collect::<Vec<_>>()
        };
        assert_eq!(range(1, Interval::Minute, 60, 240, 100), [60, 120, 180]);
        assert_eq!(range(1, Interval::Minute, 0, u64::MAX, 2), [480, 540]);
        assert!(range(0, Interval::Minute, 0, u64::MAX, 9).is_empty());
        assert!(range(1, Interval::Hour, 0, u64::MAX, 9).is_empty());
        let all = store.range(1, 7, Interval::Minute, (0, 60), 9).unwrap();
        assert_eq!(all, [candle(0)]);
        std::fs::write(folder.path().join("other"), b"not a store").unwrap();
        let error = CandleStore::open(&folder.path().join("other")).unwrap_err();
        assert!(error.to_string().contains("may be deleted"), "{error}");
    }
}
