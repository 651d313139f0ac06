//! The audit log, for whoever checks it: the chain of hashes, and that the records follow from the entries.

use crate::caller::Caller;
use crate::event::{Actor, Entry};
use crate::identity::{Fold, Identity, OpenError};
use crate::permission::Permission;
use crate::refused::Refused;
use ring0_hashlog::{Head, position, verify as verify_log};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::PoisonError;

/// What a check of an audit log found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The name of the whole log, 64 hexadecimal digits: compare it with the one in a batch root.
    pub head: String,
    /// Entries.
    pub entries: u64,
    /// Entries by the kind of their event.
    pub kinds: BTreeMap<String, u64>,
    /// Time of the first and of the last entry, in milliseconds of Unix time.
    pub times_ms: Option<(u64, u64)>,
    /// At which entry the head was the one that was asked about, if it was: the log continues what that one names.
    pub continues: Option<u64>,
}

/// Checks an audit log, which may be in use: every line's hash, every entry after those before it. With `known` (the head of an old batch root, or of a
/// copy) it also says where that one stands in it; where it does not, history was rewritten.
///
/// # Errors
/// The first line that does not hold.
pub fn verify(path: &Path, known: Option<Head>) -> Result<Report, OpenError> {
    let (mut fold, mut kinds, mut times) = (Fold::default(), BTreeMap::new(), None);
    let checked = verify_log::<Entry>(path, |entry| {
        *kinds.entry(entry.event.kind()).or_insert(0) += 1;
        let (first, _) = *times.get_or_insert((entry.at_ms, entry.at_ms));
        times = Some((first, entry.at_ms));
        fold.take(entry);
    })?;
    fold.done()?;
    Ok(Report {
        head: checked.head.to_string(),
        entries: checked.entries,
        kinds,
        times_ms: times,
        continues: known
            .map(|head| position(path, head))
            .transpose()?
            .flatten(),
    })
}

impl Identity {
    /// The caller's organisation's entries of the log, newest first, at most `most` of them, before entry number `before`.
    ///
    /// # Errors
    /// Why not.
    pub fn audit(
        &self,
        caller: &Caller,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<(u64, Entry)>, Refused> {
        caller.may(Permission::ReadAudit)?;
        // The whole log is read and checked for it: one at a time, and nobody asks without end.
        self.attempts.take(caller.from, self.now_ms())?;
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let of = caller.organisation();
        let (mut found, mut number) = (std::collections::VecDeque::new(), 0);
        verify_log::<Entry>(&self.log_path(), |entry| {
            number += 1;
            let theirs = match &entry.actor {
                Actor::Person { organisation, .. } => *organisation == of,
                Actor::Operator(_) | Actor::Venue => false,
            };
            if theirs && before.is_none_or(|before| number < before) {
                found.push_back((number, entry));
                if found.len() > most {
                    found.pop_front();
                }
            }
        })?;
        Ok(found.into_iter().rev().collect())
    }
}
