//! What the machine is: beside every figure (RULES 30).

use serde_json::{Map, Value, json};
use std::fs::{read_dir, read_to_string};

/// Machine, kernel, mitigations, clock, steal, load and command line.
#[must_use]
pub fn machine() -> Value {
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or("unknown", |(_, value)| value.trim())
    };
    let is_virtual = of("flags").split(' ').any(|flag| flag == "hypervisor");
    // Without the folder: where it was built says nothing.
    let mut command: Vec<String> = std::env::args().collect();
    if let Some(program) = command.first_mut() {
        *program = program.rsplit('/').next().unwrap_or_default().to_owned();
    }
    json!({
        "processor": of("model name"),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "virtual": is_virtual,
        "microcode": of("microcode"),
        "kernel": first("/proc/sys/kernel/osrelease"),
        "mitigations": mitigations(),
        "clock": first("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "governor": first("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "isolated": first("/sys/devices/system/cpu/isolated"),
        "load": first("/proc/loadavg"),
        "steal_seconds": steal_seconds(),
        "command": command.join(" "),
    })
}

/// Seconds that the host gave to others since the machine started, of all processors together.
#[must_use]
pub fn steal_seconds() -> f64 {
    /// Of `/proc/stat`: 100 a second on every Linux.
    const TICK_SECONDS: f64 = 0.01;
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let all = stat.lines().next().unwrap_or_default();
    // The word `cpu`, then user, nice, system, idle, iowait, irq, softirq, steal.
    let ticks = all.split_whitespace().nth(8).and_then(|it| it.parse().ok());
    ticks.map_or(0.0, |ticks: f64| ticks * TICK_SECONDS)
}

/// A file's only line; empty where there is none.
fn first(file: &str) -> String {
    read_to_string(file).unwrap_or_default().trim().to_owned()
}

/// What the kernel does about each of the processor's faults.
fn mitigations() -> Map<String, Value> {
    let folder = read_dir("/sys/devices/system/cpu/vulnerabilities");
    let mut found: Vec<_> = folder
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let text = first(entry.path().to_str()?);
            Some((name, Value::String(text)))
        })
        .filter(|(_, text)| text != "Not affected")
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().collect()
}
