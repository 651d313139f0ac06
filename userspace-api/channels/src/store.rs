//! What happened to a chain's channels, in order, on disk before anything is done about it (CUSTODY 14).
//!
//! The events are the truth; everything else is computed from them again. A commit is on disk when the call returns (redb, an fsync each).

use crate::B256;
use crate::chain::{Block, Seen};
use crate::life::Signed;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};
use std::path::Path;

const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");

/// One step of a chain's channels.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Event {
    /// The chain grew: its new blocks (the newest ones of a long way), what happened to channels in all of them, and the venue's clock in seconds.
    Advanced {
        /// Oldest first.
        blocks: Vec<Block>,
        /// In the chain's order.
        seen: Vec<Seen>,
        /// Seconds of Unix time.
        now: u64,
    },
    /// The blocks above a height are no longer in the chain.
    Reorganised {
        /// The last common block's.
        height: u64,
    },
    /// The exchange signs a state.
    Offered {
        /// Of which channel.
        channel: B256,
        /// The state.
        state: Signed,
    },
    /// The trader's signature of an offered state is here.
    Completed {
        /// Of which channel.
        channel: B256,
        /// The state's.
        version: u64,
        /// What shows the state to the chain, in the chain's own form.
        exit: Vec<u8>,
    },
    /// Both sign a withdrawal.
    Withdrawing {
        /// Of which channel.
        channel: B256,
        /// Cumulative.
        withdrawn: u128,
        /// Seconds of Unix time.
        deadline: u64,
    },
    /// Both sign the end.
    Closing {
        /// Of which channel.
        channel: B256,
    },
}

/// Why the store does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or another process that has it open.
    #[error("the store of channels: {0}; check the disk and that no other process has it open")]
    Database(#[from] redb::Error),
    /// An event that this build does not read.
    #[error(
        "event {number} of the store cannot be read ({why}); it was written by another version or damaged: restore it from the journal, do not delete it"
    )]
    Event {
        /// Its number.
        number: u64,
        /// Why.
        why: String,
    },
}

/// The events of a chain's channels.
#[derive(Debug)]
pub struct Store {
    database: Database,
    next: u64,
}

impl Store {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let database = Database::create(path).map_err(redb::Error::from)?;
        let write = database.begin_write().map_err(redb::Error::from)?;
        let next = {
            let table = write.open_table(EVENTS).map_err(redb::Error::from)?;
            table.len().map_err(redb::Error::from)?
        };
        write.commit().map_err(redb::Error::from)?;
        Ok(Store { database, next })
    }

    /// Adds an event. It is on disk when this returns.
    ///
    /// # Errors
    /// The disk; nothing was added then.
    pub fn append(&mut self, event: &Event) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(event).expect("an event has no map and no float");
        let write = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut table = write.open_table(EVENTS).map_err(redb::Error::from)?;
            table
                .insert(self.next, bytes.as_slice())
                .map_err(redb::Error::from)?;
        }
        write.commit().map_err(redb::Error::from)?;
        self.next += 1;
        Ok(())
    }

    /// All events, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn events(&self) -> Result<Vec<Event>, StoreError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let table = read.open_table(EVENTS).map_err(redb::Error::from)?;
        let mut events = Vec::new();
        for entry in table.iter().map_err(redb::Error::from)? {
            let (number, bytes) = entry.map_err(redb::Error::from)?;
            let number = number.value();
            let event = serde_json::from_slice(bytes.value());
            let unread = |why: serde_json::Error| StoreError::Event {
                number,
                why: why.to_string(),
            };
            events.push(event.map_err(unread)?);
        }
        Ok(events)
    }
}
