//! How far the audit log of people and organisations is, told to settlement, which has it under the root of the next batch (CUSTODY 19).
//!
//! Told are the number of entries and the head that names them, never an entry; once a second at the most.

use crate::settled::Settled;
use ring0_identity::{B256, Identity};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the log is looked at: that much of it is in no batch yet.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is told where it has not grown: settlement was started again, and knows what its last batch has.
const AGAIN: Duration = Duration::from_secs(30);

/// Tells whenever the log has grown, for ever: spawn it. `name` is what the log is called in the venue.
pub async fn keep_telling(identity: Arc<Identity>, settled: Settled, name: String) {
    let (mut told, mut trouble) = (None, None);
    loop {
        let now = identity.audit_at();
        let due = |(log, at): &(_, Instant)| *log != now || at.elapsed() >= AGAIN;
        if told.as_ref().is_none_or(due) {
            let (head, entries) = now;
            match settled
                .call("audit-head", words(&name, entries, B256::new(head.0)))
                .await
            {
                Ok(_) => {
                    told = Some((now, Instant::now()));
                    trouble = None;
                }
                Err(problem) => {
                    // Said once, and tried each second.
                    if trouble.as_ref() != Some(&problem.detail) {
                        tracing::warn!(log = name, why = %problem.detail, "the audit log's head is in no batch yet");
                    }
                    trouble = Some(problem.detail);
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn words(name: &str, entries: u64, head: B256) -> Map<String, Value> {
    match json!({ "name": name, "entries": entries, "head": head }) {
        Value::Object(words) => words,
        _ => Map::new(),
    }
}
