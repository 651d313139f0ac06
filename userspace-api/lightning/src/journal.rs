//! What happened to accounts over Lightning, made durable before anything is told or sent, and a file that does it.
//!
//! The journal is the truth; everything else about accounts is computed from it ([`crate::book`]).

use std::{io, path::Path};

use bitcoin::hashes::{Hash, sha256};
use ring0_hashlog::{HashLog, Head, LogError};
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
        sha256::Hash::from_byte_array(Head(before.to_byte_array()).then(&self.json()).0)
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

/// A journal in a file: the log of all hash-chained files here, under the names of [`Entry::name`].
#[derive(Debug)]
pub struct FileJournal(HashLog<Entry>);

impl FileJournal {
    /// Opens or creates a journal and reads what is in it.
    ///
    /// # Errors
    /// Damage, another process, the file system's. Without what was written a payment could be made twice: restore it from a copy.
    pub fn open(path: &Path) -> Result<(Self, Vec<Entry>), LogError> {
        let (log, entries) = HashLog::open(path)?;
        Ok((Self(log), entries))
    }
}

impl Journal for FileJournal {
    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        self.0.append(entry).map_err(io::Error::other)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_names_are_the_entries() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rail");
        let (mut journal, none) = FileJournal::open(&path).unwrap();
        assert_eq!(none, []);
        let mut name = empty();
        for number in 0..3 {
            let hash = sha256::Hash::hash(&[number]);
            let reason = "no way there\nin two lines".to_owned();
            let fact = Record::Released { hash, reason };
            let entry = Entry { at_s: 5, fact };
            journal.append(&entry).unwrap();
            name = entry.name(&name);
            assert_eq!(journal.0.head().0, name.to_byte_array());
        }
    }
}
