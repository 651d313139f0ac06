//! Busy time of the machine's processors: beside every figure (RULES 30).

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

    /// What another has, added to what is there.
    pub(crate) fn add(&mut self, other: &Busy) {
        self.0.resize(other.0.len().max(self.0.len()), [0; 4]);
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum += more;
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
