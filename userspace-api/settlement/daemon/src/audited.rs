//! The daemon's own audit log: who asked for what that changes something, and what became of it.

use ring0_hashlog::{Head, LogError, position, verify as verify_log};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What the log is called in batches.
pub const OWN_LOG: &str = "settled";

/// An entry.
#[derive(Debug, Deserialize, Serialize)]
pub struct Audited {
    /// Seconds of Unix time.
    pub at: u64,
    /// The user of the process that asked; none: the daemon itself.
    pub user: Option<u32>,
    /// What was asked.
    pub request: Value,
    /// What became of it: `ok`, or the refusal.
    pub outcome: String,
}

/// What a check of a log found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The name of the whole log, 64 hexadecimal digits.
    pub head: String,
    /// Entries.
    pub entries: u64,
    /// Entries by the verb that was asked.
    pub kinds: BTreeMap<String, u64>,
    /// Time of the first and of the last entry, in milliseconds of Unix time.
    pub times_ms: Option<(u64, u64)>,
    /// At which entry the head was the one that was asked about, if it was.
    pub continues: Option<u64>,
}

/// Checks a log, which may be in use: every line's hash. With `known` it also says where that head stands in it.
///
/// # Errors
/// The first line that does not hold.
pub fn verify(path: &Path, known: Option<Head>) -> Result<Report, LogError> {
    let (mut kinds, mut times) = (BTreeMap::new(), None);
    let checked = verify_log::<Audited>(path, |entry| {
        let verb = entry.request["verb"].as_str().unwrap_or("another");
        *kinds.entry(verb.to_owned()).or_insert(0) += 1;
        let at_ms = entry.at * 1_000;
        let (first, _) = *times.get_or_insert((at_ms, at_ms));
        times = Some((first, at_ms));
    })?;
    let known = known.map(|head| position(path, head)).transpose()?;
    Ok(Report {
        head: checked.head.to_string(),
        entries: checked.entries,
        kinds,
        times_ms: times,
        continues: known.flatten(),
    })
}
