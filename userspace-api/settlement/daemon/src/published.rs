//! What the connections' threads read without asking the desk: the newest batch that the operator has signed, and who signs which part of it.
//!
//! Writer: the desk. A signature is checked here, in as many threads as ask; what passes goes to the desk, which makes it durable.

use crate::protocol::{CoSignature, Granted};
use ring0_channels::batch::Built;
use ring0_channels::batch_file::BatchFile;
use ring0_channels::evidence::Holding;
use ring0_channels::heads::HeadsProof;
use ring0_channels::key::Signature;
use ring0_channels::{Address, B256};
use ring0_settlement::{AccountId, account_number};
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

/// Signatures that one thread checks before another is worth its start.
const CHUNK: usize = 64;

/// An account's part.
#[derive(Debug)]
pub(crate) struct Part {
    /// What its trader signs.
    pub(crate) digest: B256,
    /// Who signs.
    pub(crate) cosigner: Address,
    /// Session keys that may sign in its place.
    pub(crate) grants: Vec<Granted>,
    /// Its channels.
    pub(crate) channels: Vec<Holding>,
}

/// A batch that is published.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) epoch: u64,
    pub(crate) built: Arc<Built>,
    pub(crate) signature: Signature,
    pub(crate) parts: HashMap<u32, Part>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published(Arc<RwLock<Option<Arc<Batch>>>>);

impl Published {
    /// A new one takes the last one's place.
    pub(crate) fn set(&self, batch: Arc<Batch>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(batch);
    }

    pub(crate) fn get(&self) -> Option<Arc<Batch>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// An account's part of a batch; epoch 0: the newest.
    pub(crate) fn file(&self, epoch: u64, account: u32) -> Result<BatchFile, String> {
        let batch = self.get().ok_or("no batch is signed yet; ask `batches`")?;
        if epoch != 0 && epoch != batch.epoch {
            return Err(format!(
                "batch {} is the newest and the one that is given out; what is signed of an earlier one its trader has",
                batch.epoch
            ));
        }
        let none = || {
            format!(
                "account {account} has no new state in batch {}",
                batch.epoch
            )
        };
        let part = batch.parts.get(&account).ok_or_else(none)?;
        let number = account_number(AccountId(account));
        BatchFile::new(&batch.built, batch.signature, number, &part.channels).ok_or_else(none)
    }

    /// The heads of audit logs in the newest batch.
    pub(crate) fn audit(&self) -> Result<HeadsProof, String> {
        let batch = self.get().ok_or("no batch is signed yet; ask `batches`")?;
        let proof = batch.built.audit_proof(batch.signature);
        proof.ok_or_else(|| {
            format!(
                "batch {} was recorded before batches had heads of audit logs; ask when the next one is signed",
                batch.epoch
            )
        })
    }

    /// Checks signatures, in several threads where they are many. Gives for each whether it holds.
    pub(crate) fn check(&self, parts: &[CoSignature]) -> Vec<Result<(), String>> {
        let Some(batch) = self.get() else {
            let none = || Err("no batch is signed yet; ask `batches`".to_owned());
            return parts.iter().map(|_| none()).collect();
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        if parts.len() <= CHUNK || threads == 1 {
            return parts.iter().map(|part| batch.holds(part)).collect();
        }
        let chunk = parts.len().div_ceil(threads).max(CHUNK);
        thread::scope(|scope| {
            let workers: Vec<_> = parts
                .chunks(chunk)
                .map(|chunk| {
                    let batch = &batch;
                    scope.spawn(move || chunk.iter().map(|it| batch.holds(it)).collect::<Vec<_>>())
                })
                .collect();
            let mut all = Vec::with_capacity(parts.len());
            for worker in workers {
                match worker.join() {
                    Ok(results) => all.extend(results),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        })
    }
}

impl Batch {
    fn holds(&self, it: &CoSignature) -> Result<(), String> {
        if it.epoch != self.epoch {
            return Err(format!(
                "epoch {} is not {}, which is the newest; ask for your part of that one and sign it",
                it.epoch, self.epoch
            ));
        }
        let part = self.parts.get(&it.account);
        let part = part.ok_or_else(|| {
            format!(
                "account {} has no new state in epoch {}: there is nothing to sign",
                it.account, self.epoch
            )
        })?;
        let signer = it
            .signature
            .recover(part.digest)
            .map_err(|error| error.to_string())?;
        if signer == part.cosigner {
            return Ok(());
        }
        let is_session = part.grants.iter().any(|it| it.grant.session == signer);
        if !is_session {
            return Err(format!(
                "signed by {signer}, and account {}'s states are signed by {} or a session key that it has granted",
                it.account, part.cosigner
            ));
        }
        self.by_session(it, part, signer)
    }

    /// A session key signs in the co-signer's place: every channel's limits are checked as the hub checks them.
    fn by_session(&self, it: &CoSignature, part: &Part, signer: Address) -> Result<(), String> {
        let number = account_number(AccountId(it.account));
        let file = BatchFile::new(&self.built, self.signature, number, &part.channels);
        let file = file.ok_or("a channel is not in its own batch")?;
        for mut holding in file.cosigned(it.signature) {
            let channel = holding.channel();
            let grant = part
                .grants
                .iter()
                .find(|it| it.channel == channel && it.grant.session == signer);
            let grant = grant.ok_or_else(|| {
                format!(
                    "session key {signer} has no grant for channel {channel}; the co-signer signs"
                )
            })?;
            if let Some(newest) = holding.newest.as_mut() {
                newest.grant = Some(grant.grant.clone());
            }
            holding
                .verify()
                .map_err(|why| format!("channel {channel}: {why}; the co-signer signs"))?;
        }
        Ok(())
    }
}
