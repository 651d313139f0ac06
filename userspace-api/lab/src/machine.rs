//! What the machine is: beside every figure (RULES 30).

use serde_json::{Value, json};
use std::fs::read_to_string;

/// Machine, kernel, load and command line.
#[must_use]
pub fn machine() -> Value {
    let first = |file: &str| read_to_string(file).unwrap_or_default().trim().to_owned();
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |it| it.trim_start_matches([' ', '\t', ':']));
    // Without the folder: where it was built says nothing.
    let mut command: Vec<String> = std::env::args().collect();
    if let Some(program) = command.first_mut() {
        *program = program.rsplit('/').next().unwrap_or_default().to_owned();
    }
    json!({
        "processor": model,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": first("/proc/sys/kernel/osrelease"),
        "load": first("/proc/loadavg"),
        "command": command.join(" "),
    })
}
