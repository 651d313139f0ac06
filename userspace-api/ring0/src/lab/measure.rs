//! What is measured, in three tiers that are never mixed: the program by test-run, throughput over the wire, latency of an open loop. Beside them the
//! generator, and benches that a scenario names.

pub(super) mod bench;
pub(super) mod generator;
pub(super) mod test_run;
pub(super) mod wire;

use crate::bench::rings::median;
use serde_json::{Value, json};

/// A figure of several rounds: what `ring0 lab compare` finds and judges.
pub(super) fn figure(rounds: &[f64], unit: &str, better: &str) -> Value {
    json!({
        "median": median(rounds),
        "rounds": rounds,
        "unit": unit,
        "better": better,
    })
}
