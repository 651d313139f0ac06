//! Busy time of the machine's processors, and what the machine is: beside every figure (RULES 30).

use serde_json::{Value, json};
use std::fs::read_to_string;

/// Seconds of one tick of `/proc/stat`: 100 a second on every Linux, whatever its own timer does.
const TICK_SECONDS: f64 = 0.01;

/// Ticks by processor: user (nice among it), system, softirq (irq among it), steal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy(Vec<[u64; 4]>);

impl Busy {
    /// Since the machine started.
    pub(crate) fn now() -> Busy {
        let text = read_to_string("/proc/stat").unwrap_or_default();
        let processors = text.lines().filter(|line| {
            line.starts_with("cpu") && line.as_bytes().get(3).is_some_and(u8::is_ascii_digit)
        });
        let read = |line: &str| {
            let ticks: Vec<u64> = line
                .split_whitespace()
                .skip(1)
                .filter_map(|it| it.parse().ok())
                .collect();
            let at = |index: usize| ticks.get(index).copied().unwrap_or(0);
            [at(0) + at(1), at(2), at(5) + at(6), at(7)]
        };
        Busy(processors.map(read).collect())
    }

    /// From `before` to here, added to what is there.
    pub(crate) fn add_since(&mut self, before: &Busy) {
        let now = Busy::now();
        self.0.resize(now.0.len(), [0; 4]);
        for (sum, (now, before)) in self.0.iter_mut().zip(now.0.iter().zip(&before.0)) {
            for (sum, (now, before)) in sum.iter_mut().zip(now.iter().zip(before)) {
                *sum += now.saturating_sub(*before);
            }
        }
    }

    /// Seconds of all processors, without steal.
    pub(crate) fn seconds(&self) -> f64 {
        let ticks: u64 = self.0.iter().flat_map(|it| &it[..3]).sum();
        ticks as f64 * TICK_SECONDS
    }

    /// Seconds by processor.
    pub(crate) fn report(&self) -> Value {
        let seconds = |ticks: u64| (ticks as f64 * TICK_SECONDS * 100.0).round() / 100.0;
        let one = |it: &[u64; 4]| {
            json!({
                "user": seconds(it[0]),
                "system": seconds(it[1]),
                "softirq": seconds(it[2]),
                "steal": seconds(it[3]),
            })
        };
        Value::Array(self.0.iter().map(one).collect())
    }
}

/// Machine, kernel, load and command line.
pub(crate) fn machine() -> Value {
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
