//! Instructions a message of the native engine, counted by callgrind: a figure that no other load on the machine moves.
//!
//! This program runs itself under `valgrind --tool=callgrind`, which counts from the entry of the timed part to its end.

use crate::fail::BenchError;
use crate::flows::{FLOWS, Flow, prefill};
use crate::native;
use serde_json::{Map, Value, json};
use std::process::Command;

/// Seed and timed messages of the stream, fixed so that counts of two builds can be compared.
const SEED: u64 = 1;
const MESSAGES: u64 = 20_000;
/// Name of the timed part, with whatever stands round it in the symbol table.
const TIMED_PART: &str = "*timed_packets*";

/// Counts every flow.
pub(crate) fn count() -> Result<Value, BenchError> {
    let mut flows = Map::new();
    for flow in &FLOWS {
        let counted = count_one(flow)?;
        flows.insert(flow.name.into(), json!(counted as f64 / MESSAGES as f64));
    }
    Ok(json!({
        "per_message": flows,
        "seed": SEED,
        "messages": MESSAGES,
        "prefill": prefill(MESSAGES),
        "engine": "native",
        "timed": native::TIMED,
    }))
}

fn count_one(flow: &Flow) -> Result<u64, BenchError> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("callgrind.out");
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--quiet"])
        .arg(format!("--toggle-collect={TIMED_PART}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["--counted", flow.name])
        .output()
        .map_err(|error| {
            BenchError::Callgrind(format!(
                "valgrind cannot be run: {error}; `scripts/setup` installs it"
            ))
        })?;
    let counted = std::fs::read_to_string(&out)
        .ok()
        .and_then(|text| total(&text));
    match counted {
        Some(counted) if ran.status.success() && counted > 0 => Ok(counted),
        _ => Err(BenchError::Callgrind(format!(
            "callgrind counted nothing for {}: {}\n{}",
            flow.name,
            ran.status,
            String::from_utf8_lossy(&ran.stderr)
        ))),
    }
}

/// The sum of the first event, instructions, in callgrind's file.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| {
        line.strip_prefix("totals:")
            .or(line.strip_prefix("summary:"))
    })?;
    line.split_whitespace().next()?.parse().ok()
}

/// What runs under callgrind: one round of the flow of that name.
pub(crate) fn counted(name: &str) -> Result<(), BenchError> {
    let flow = FLOWS.iter().find(|flow| flow.name == name);
    let flow = flow.ok_or_else(|| BenchError::Callgrind(format!("there is no flow {name}")))?;
    native::count(&flow.prepare(SEED, MESSAGES)?)
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("events: Ir\nfn=x\n1 2\ntotals: 4711\n"), Some(4711));
        assert_eq!(total("summary: 12 5\n"), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }
}
