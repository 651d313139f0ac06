//! Ledger, facts' journal and store together, as a process keeps them: a fact is durable before it counts, and a start goes on where the journals end.

use crate::batch::Batch;
use crate::error::LedgerError;
use crate::fact::{Fact, Pin, Refused};
use crate::id::{AccountId, Epoch, PeerId};
use crate::journal::{FactJournal, JournalError};
use crate::ledger::{Ledger, Taken};
use crate::rebuild::follow;
use crate::statement::{Statement, StatementError};
use crate::store::{Store, StoreError};
use crate::venue::Venue;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;

/// The records of one shard, in order.
pub trait Records {
    /// The next record, whole; `None` where no more is durable. Asked again later, it goes on.
    ///
    /// # Errors
    /// What the journal says.
    fn next(&mut self) -> Result<Option<&[u8]>, ring0_journal::JournalError>;
}

impl Records for ring0_journal::Reader {
    fn next(&mut self) -> Result<Option<&[u8]>, ring0_journal::JournalError> {
        self.next_record()
    }
}

/// Why settlement does not go on.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// A record.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A fact.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The facts' journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A shard's journal.
    #[error(transparent)]
    Records(#[from] ring0_journal::JournalError),
    /// A fact counts after a record that a shard's journal does not have.
    #[error(
        "fact {fact} counts after record {wanted} of {shard}, and its journal ends at {taken}; the journal lost what was durable: restore it"
    )]
    RecordsMissing {
        /// The fact.
        fact: u64,
        /// The shard.
        shard: PeerId,
        /// The record.
        wanted: u64,
        /// The last one there is.
        taken: u64,
    },
    /// The store is ahead of the journals.
    #[error(
        "the store has {store} facts and the journal {journal}; the journal was replaced by an older one: restore it, or delete the store if facts were lost for good"
    )]
    FactsMissing {
        /// In the store.
        store: u64,
        /// In the journal.
        journal: u64,
    },
    /// As many readers as shards are needed.
    #[error(
        "{given} record journals are given and the venue has {shards} shards; give one of each, in the order of the market file"
    )]
    Readers {
        /// How many there are.
        given: usize,
        /// How many there should be.
        shards: usize,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Settlement {
    ledger: Ledger,
    facts: FactJournal,
    store: Store,
}

impl Settlement {
    /// Opens journal and store of a folder (`facts.redb`, `ledger.redb`), or makes them. Call [`catch_up`](Settlement::catch_up) before anything else.
    ///
    /// # Errors
    /// See [`SettlementError`].
    pub fn open(folder: &Path, venue: Venue) -> Result<Settlement, SettlementError> {
        let facts = FactJournal::open(&folder.join("facts.redb"))?;
        let (store, ledger) = Store::open(&folder.join("ledger.redb"), venue)?;
        if ledger.facts() > facts.last() {
            return Err(SettlementError::FactsMissing {
                store: ledger.facts(),
                journal: facts.last(),
            });
        }
        Ok(Settlement {
            ledger,
            facts,
            store,
        })
    }

    /// Takes what the journals have beyond the store: each fact behind the records that it stood behind. The readers stand at or before the record
    /// behind [`Ledger::at`], one a shard in the order of the venue's; what they have beyond the last fact is taken too.
    ///
    /// # Errors
    /// See [`SettlementError`].
    pub fn catch_up(&mut self, readers: &mut [&mut dyn Records]) -> Result<(), SettlementError> {
        let (ledger, store) = (&mut self.ledger, &mut self.store);
        let _ = follow(
            ledger,
            &self.facts.reader(),
            u64::MAX,
            readers,
            |ledger, _| {
                store.tick(ledger)?;
                Ok(ControlFlow::Continue(()))
            },
        )?; // nothing ends it
        let shards = self.ledger.venue().shards().to_vec();
        for (shard, reader) in shards.iter().zip(readers) {
            while let Some(record) = reader.next()? {
                self.ledger.take(shard.number, record)?;
                self.store.tick(&mut self.ledger)?;
            }
        }
        Ok(())
    }

    /// Takes a shard's next durable records.
    ///
    /// # Errors
    /// See [`LedgerError`], [`StoreError`].
    pub fn take(&mut self, shard: PeerId, bytes: &[u8]) -> Result<Taken, SettlementError> {
        let taken = self.ledger.take(shard, bytes)?;
        self.store.tick(&mut self.ledger)?;
        Ok(taken)
    }

    /// Makes a fact durable and lets it count. Gives its number.
    ///
    /// # Errors
    /// A fact that is refused is not written; [`Refused::Known`] says that it counted before.
    pub fn put(&mut self, fact: Fact) -> Result<u64, SettlementError> {
        self.ledger.judge(&fact)?;
        let entry = self.facts.entry(self.ledger.at(), fact);
        self.facts.append(std::slice::from_ref(&entry))?;
        self.ledger.apply(&entry)?;
        self.store.tick(&mut self.ledger)?;
        Ok(entry.number)
    }

    /// As [`put`](Settlement::put) for several with one wait for the disk. Facts that are known already are passed over; the first other one that is refused
    /// ends it, and those before it count.
    ///
    /// # Errors
    /// See [`SettlementError`].
    pub fn put_all(&mut self, facts: Vec<Fact>) -> Result<(), SettlementError> {
        let (entries, end) = self.ledger.judge_all(facts);
        self.facts.append(&entries)?;
        for entry in &entries {
            self.ledger.apply(entry)?;
        }
        self.store.tick(&mut self.ledger)?;
        end.map_err(SettlementError::from)
    }

    /// Cuts the next batch at what was taken so far: durable, then counted.
    ///
    /// # Errors
    /// See [`SettlementError`].
    pub fn cut(
        &mut self,
        time_ns: u64,
        pins: Vec<Pin>,
        renew: bool,
    ) -> Result<&Batch, SettlementError> {
        self.put(Fact::Cut {
            epoch: self.ledger.epoch().next(),
            time_ns,
            pins,
            renew,
        })?;
        Ok(self.ledger.batch())
    }

    /// The statement of an account over some batches.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn statement(
        &mut self,
        account: AccountId,
        epochs: RangeInclusive<u64>,
    ) -> Result<Statement, StatementError> {
        self.store.flush(&mut self.ledger)?;
        let store = &self.store;
        let range = Epoch(*epochs.start())..=Epoch(*epochs.end());
        Statement::new(&self.ledger, account, range, |epoch| {
            store.lines(account, epoch)
        })
    }

    /// Commits everything to the store now.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.store.flush(&mut self.ledger)
    }

    /// Begins a commit if one is due: call it also when nothing comes.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn tick(&mut self) -> Result<(), StoreError> {
        self.store.tick(&mut self.ledger).map(|_| ())
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The facts' journal.
    #[must_use]
    pub fn facts(&self) -> &FactJournal {
        &self.facts
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}
