//! What a key has signed, on disk before a signature leaves (CUSTODY 11, 14): never two states of one version, never two batches or account states of one epoch.
//!
//! The record is the signer's own, apart from the channels' store: a store that was restored from an old backup asks again for what was signed, and is refused.

use crate::B256;
use crate::key::{Signature, Signer};
use crate::message::{AccountState, Batch, Hub, State, venue_domain};
use crate::store::StoreError;
use alloy_sol_types::SolStruct;
use redb::{Database, ReadableTable, TableDefinition};
use std::path::Path;

/// By what is signed: the number last signed, and the digest.
const SIGNED: TableDefinition<&[u8], (u64, [u8; 32])> = TableDefinition::new("signed");

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It was signed differently, or a later one was.
    #[error(
        "{what}: number {last} was signed, and number {given} is not the same and not above; whoever asks has lost what it knew: restore it, and go on above {last}"
    )]
    Signed {
        /// Of what.
        what: String,
        /// Last one.
        last: u64,
        /// Asked for.
        given: u64,
    },
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key and the record of what it signed.
#[derive(Debug)]
pub struct Guard {
    signer: Signer,
    record: Database,
}

impl Guard {
    /// A key with its record, a file that is made if it is not there.
    ///
    /// # Errors
    /// The disk, or another process has it open.
    pub fn open(signer: Signer, record: &Path) -> Result<Guard, StoreError> {
        let record = Database::create(record).map_err(redb::Error::from)?;
        let write = record.begin_write().map_err(redb::Error::from)?;
        write.open_table(SIGNED).map_err(redb::Error::from)?;
        write.commit().map_err(redb::Error::from)?;
        Ok(Guard { signer, record })
    }

    /// The key.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Signs a channel's state (the operator's compact form). The same one again gives the same signature.
    ///
    /// # Errors
    /// See [`GuardError`].
    pub fn state(&self, hub: &Hub, state: &State) -> Result<Signature, GuardError> {
        let digest = state.eip712_signing_hash(&hub.domain());
        let number = state.state.version.to();
        self.sign(
            b's',
            state.state.channel.as_slice(),
            number,
            digest,
            "states of a channel",
        )
    }

    /// Signs a batch.
    ///
    /// # Errors
    /// See [`GuardError`].
    pub fn batch(&self, venue: B256, batch: &Batch) -> Result<Signature, GuardError> {
        let digest = batch.eip712_signing_hash(&venue_domain(venue));
        self.sign(
            b'b',
            venue.as_slice(),
            batch.epoch.to(),
            digest,
            "batches of a venue",
        )
    }

    /// Signs an account's state (the trader's half).
    ///
    /// # Errors
    /// See [`GuardError`].
    pub fn account(&self, venue: B256, state: &AccountState) -> Result<Signature, GuardError> {
        let digest = state.eip712_signing_hash(&venue_domain(venue));
        let of = [venue.as_slice(), &state.account.to_be_bytes()].concat();
        self.sign(b'a', &of, state.epoch.to(), digest, "states of an account")
    }

    fn sign(
        &self,
        kind: u8,
        of: &[u8],
        number: u64,
        digest: B256,
        what: &str,
    ) -> Result<Signature, GuardError> {
        let key = [&[kind], of].concat();
        let write = self.record.begin_write().map_err(failed)?;
        {
            let mut table = write.open_table(SIGNED).map_err(failed)?;
            let last = table
                .get(key.as_slice())
                .map_err(failed)?
                .map(|it| it.value());
            match last {
                Some(last) if last == (number, digest.0) => {
                    return Ok(self.signer.sign_digest(digest));
                }
                Some((last, _)) if last >= number => {
                    return Err(GuardError::Signed {
                        what: format!("{what} ({})", alloy_primitives::hex::encode(of)),
                        last,
                        given: number,
                    });
                }
                _ => {}
            }
            table
                .insert(key.as_slice(), (number, digest.0))
                .map_err(failed)?;
        }
        write.commit().map_err(failed)?;
        Ok(self.signer.sign_digest(digest))
    }
}

fn failed(error: impl Into<redb::Error>) -> GuardError {
    GuardError::Store(StoreError::Database(error.into()))
}
