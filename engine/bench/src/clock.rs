//! Time of a single message: the processor's time stamp counter, its rate and its own cost measured.
//!
//! A load fence before each reading keeps the message's instructions between its two readings; that is most of the cost, which
//! is reported and not taken off any figure.

use crate::fail::BenchError;
use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long the counter runs beside the system's clock: a microsecond of error in it is 0.002%.
const CALIBRATION: Duration = Duration::from_millis(50);
/// Readings of the counter's own cost.
const READINGS: u32 = 200_000;
/// Longest time told apart, in ticks: hours.
const TICKS_MAX: u64 = 1 << 44;

/// Reads the counter.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(unsafe_code, reason = "the only way to read the counter")]
pub(crate) fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every processor of this architecture has the instruction.
    unsafe { _mm_lfence() };
    // SAFETY: as above; Linux leaves it to user programs.
    unsafe { _rdtsc() }
}

/// Reads the system's clock, where there is no counter that this crate knows.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The counter's rate and cost.
pub(crate) struct Clock {
    ns_per_tick: f64,
    own: Times,
}

impl Clock {
    /// Compares the counter with the system's clock, then with itself.
    pub(crate) fn calibrated() -> Clock {
        let (begin, first) = (Instant::now(), ticks());
        while begin.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (took, last) = (begin.elapsed(), ticks());
        let ns_per_tick = took.as_nanos() as f64 / (last - first) as f64;
        let mut own = Times::new();
        for _ in 0..READINGS {
            let begin = ticks();
            own.add(black_box(ticks()) - begin);
        }
        Clock { ns_per_tick, own }
    }

    /// The counter in words, and what it costs itself.
    pub(crate) fn report(&self) -> Value {
        json!({
            "counter": if cfg!(target_arch = "x86_64") { "time stamp counter, fenced" } else { "monotonic clock" },
            "ticks_per_ns": 1.0 / self.ns_per_tick,
            "own_cost": self.percentiles(&self.own),
            "note": "its own cost is in every native and peer percentile; kernel percentiles have the kernel's clock, read twice",
        })
    }

    /// Percentiles of times, in nanoseconds.
    pub(crate) fn percentiles(&self, times: &Times) -> Value {
        percentiles(&times.0, self.ns_per_tick)
    }
}

/// Percentiles of times whose unit has so many nanoseconds.
pub(crate) fn percentiles(histogram: &Histogram<u64>, ns: f64) -> Value {
    let at =
        |quantile: f64| (histogram.value_at_quantile(quantile) as f64 * ns * 10.0).round() / 10.0;
    json!({
        "count": histogram.len(),
        "ns_p50": at(0.5),
        "ns_p99": at(0.99),
        "ns_p999": at(0.999),
    })
}

/// Times of single messages.
pub(crate) struct Times(pub(crate) Histogram<u64>);

impl Times {
    /// None yet.
    pub(crate) fn new() -> Times {
        Times(Histogram::new_with_bounds(1, TICKS_MAX, 3).expect("bounds in order"))
    }

    /// One more, in ticks.
    #[inline]
    pub(crate) fn add(&mut self, ticks: u64) {
        self.0.saturating_record(ticks);
    }
}

/// Binds this thread to a processor, the last one if none is named; gives its number.
pub(crate) fn pin_to(processor: Option<usize>) -> Result<usize, BenchError> {
    let last = std::thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let processor = processor.unwrap_or(last);
    let mut set = CpuSet::new();
    if processor >= CpuSet::MAX_CPU {
        let text = format!("--processor {processor}: there is none of this number");
        return Err(std::io::Error::other(text).into());
    }
    set.set(processor);
    sched_setaffinity(None, &set).map_err(std::io::Error::from)?;
    Ok(processor)
}
