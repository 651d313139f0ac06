//! Numbers in Prometheus' text format (version 0.0.4): a few lines of text, for which no library is needed.

use crate::stats::{ConsumerStat, CounterStat, Stats};
use std::fmt::Write;

/// Families of samples that all carry the same labels of their place.
#[derive(Debug)]
pub struct Families {
    place: String,
    out: String,
}

impl Families {
    /// With these labels, name and value, on every sample.
    #[must_use]
    pub fn new(place: &[(&str, &str)]) -> Families {
        let labels: Vec<String> = place
            .iter()
            .map(|(name, value)| label(name, value))
            .collect();
        Families {
            place: labels.join(","),
            out: String::new(),
        }
    }

    /// Adds a family with one sample a value of one label more; `kind` is `counter` or `gauge`.
    pub fn by<'a>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        key: &str,
        samples: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, kind, help);
        for (value, number) in samples {
            let comma = if self.place.is_empty() { "" } else { "," };
            let _ = writeln!(
                self.out,
                "{name}{{{}{comma}{}}} {number}",
                self.place,
                label(key, value)
            );
        }
    }

    /// Adds a family of one sample.
    pub fn one(&mut self, (name, kind, help): (&str, &str, &str), number: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.out, "{name}{{{}}} {number}", self.place);
    }

    /// Adds a histogram of times, in seconds.
    pub fn times(&mut self, name: &str, help: &str, times: &Histogram) {
        const NS: f64 = 1e9;
        self.head(name, "histogram", help);
        let comma = if self.place.is_empty() { "" } else { "," };
        let place = &self.place;
        let mut bucket = |bound: &str, count: u64| {
            let le = label("le", bound);
            let _ = writeln!(self.out, "{name}_bucket{{{place}{comma}{le}}} {count}");
        };
        for (up_to_ns, count) in &times.up_to_ns {
            bucket(&(*up_to_ns as f64 / NS).to_string(), *count);
        }
        bucket("+Inf", times.count);
        let sum = times.sum_ns as f64 / NS;
        let _ = write!(
            self.out,
            "{name}_sum{{{place}}} {sum}\n{name}_count{{{place}}} {}\n",
            times.count
        );
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// The text, without the last line's end.
    #[must_use]
    pub fn text(mut self) -> String {
        self.out.truncate(self.out.trim_end().len());
        self.out
    }
}

/// Times by buckets.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Longest time of each bucket, nanoseconds, and how many were that long or shorter.
    pub up_to_ns: Vec<(u64, u64)>,
    /// All of them.
    pub count: u64,
    /// Their sum, nanoseconds.
    pub sum_ns: u64,
}

fn named(counters: &[CounterStat]) -> impl Iterator<Item = (&str, u64)> {
    counters.iter().map(|one| (one.name.as_str(), one.total))
}

impl Stats {
    /// All numbers in Prometheus' text format; rates are Prometheus' own business.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let port = self.port.map(|port| port.to_string());
        let place = [
            ("interface", Some(self.interface.as_str())),
            ("netns", self.netns.as_deref()),
            ("port", port.as_deref()),
        ];
        let place: Vec<(&str, &str)> = place
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let mut all = Families::new(&place);
        let frames = "Frames by what became of them.";
        all.by(
            ("ring0_frames_total", "counter", frames),
            "result",
            named(&self.counters),
        );
        if let Some(counters) = &self.dispatcher_counters {
            let help = "Frames of no shard's port, by what became of them.";
            all.by(
                ("ring0_dispatcher_frames_total", "counter", help),
                "result",
                named(counters),
            );
        }
        let totals = self.totals.iter().map(|one| (one.name.as_str(), one.value));
        let help = "Numbers of the shard by the names that it has for them.";
        all.by(("ring0_shard", "gauge", help), "total", totals);
        let ring = &self.ring;
        for (name, kind, help, number) in [
            (
                "published_slots_total",
                "counter",
                "Slots of the record ring published.",
                ring.published,
            ),
            (
                "slots",
                "gauge",
                "Slots of the record ring.",
                ring.slots.into(),
            ),
            (
                "free_slots",
                "gauge",
                "Slots free before the slowest required consumer.",
                ring.free,
            ),
            (
                "durable_slots_total",
                "counter",
                "Slots on a journal's disk.",
                ring.durable_slots,
            ),
            (
                "journal_failed",
                "gauge",
                "1 after a journal failed: nothing is taken.",
                ring.journal_failed.into(),
            ),
        ] {
            all.one((&format!("ring0_ring_{name}"), kind, help), number);
        }
        let commands = "Control commands written.";
        all.one(
            ("ring0_commands_total", "counter", commands),
            self.commands_written,
        );
        let attached = "1 while packets reach the program.";
        all.one(
            ("ring0_attached", "gauge", attached),
            self.program_id.is_some().into(),
        );
        let of_consumer = |value: fn(&ConsumerStat) -> u64| {
            ring.consumers
                .iter()
                .map(move |one| (one.name.as_str(), value(one)))
        };
        let help = "Slots that a consumer has read.";
        all.by(
            ("ring0_consumer_consumed_slots_total", "counter", help),
            "consumer",
            of_consumer(|one| one.consumed),
        );
        let help = "Slots that a consumer has not read yet.";
        all.by(
            ("ring0_consumer_lag_slots", "gauge", help),
            "consumer",
            of_consumer(|one| one.lag),
        );
        all.text()
    }
}

fn label(name: &str, value: &str) -> String {
    let mut text = format!("{name}=\"");
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_histogram() {
        let mut all = Families::new(&[("shard", "a")]);
        let times = Histogram {
            up_to_ns: vec![(256, 1), (320, 3)],
            count: 4,
            sum_ns: 2_000_000_600,
        };
        all.times("t_seconds", "Times.", &times);
        let lines = [
            "# HELP t_seconds Times.",
            "# TYPE t_seconds histogram",
            "t_seconds_bucket{shard=\"a\",le=\"0.000000256\"} 1",
            "t_seconds_bucket{shard=\"a\",le=\"0.00000032\"} 3",
            "t_seconds_bucket{shard=\"a\",le=\"+Inf\"} 4",
            "t_seconds_sum{shard=\"a\"} 2.0000006",
            "t_seconds_count{shard=\"a\"} 4",
        ];
        assert_eq!(all.text(), lines.join("\n"));
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(label("a", "x\"y\\z\n"), r#"a="x\"y\\z\n""#);
    }
}
