//! Numbers in Prometheus' text format (version 0.0.4): a few lines of text, for which no library is needed.

use std::fmt::Write;
use xdp_loader::{CounterStat, Stats};

/// All numbers; rates are Prometheus' own business.
pub(crate) fn text(stats: &Stats) -> String {
    let mut place = label("interface", &stats.interface);
    if let Some(netns) = &stats.netns {
        let _ = write!(place, ",{}", label("netns", netns));
    }
    if let Some(port) = stats.port {
        let _ = write!(place, ",port=\"{port}\"");
    }
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let comma = if labels.is_empty() { "" } else { "," };
            let _ = writeln!(out, "{name}{{{place}{comma}{labels}}} {value}");
        }
    };
    let by_name = |counters: &[CounterStat]| -> Vec<(String, u64)> {
        let sample = |one: &CounterStat| (label("result", &one.name), one.total);
        counters.iter().map(sample).collect()
    };
    family(
        "ring0_frames_total",
        "counter",
        "Frames by what became of them.",
        &by_name(&stats.counters),
    );
    if let Some(counters) = &stats.dispatcher_counters {
        family(
            "ring0_dispatcher_frames_total",
            "counter",
            "Frames of no shard's port, by what became of them.",
            &by_name(counters),
        );
    }
    let totals = stats.totals.iter();
    let totals: Vec<(String, u64)> = totals
        .map(|one| (label("total", &one.name), one.value))
        .collect();
    family(
        "ring0_shard",
        "gauge",
        "Numbers of the shard by the names that it has for them.",
        &totals,
    );
    let ring = &stats.ring;
    let one = |value: u64| vec![(String::new(), value)];
    for (name, kind, help, samples) in [
        (
            "ring0_ring_published_slots_total",
            "counter",
            "Slots of the record ring published.",
            one(ring.published),
        ),
        (
            "ring0_ring_slots",
            "gauge",
            "Slots of the record ring.",
            one(ring.slots.into()),
        ),
        (
            "ring0_ring_free_slots",
            "gauge",
            "Slots free before the slowest required consumer.",
            one(ring.free),
        ),
        (
            "ring0_ring_durable_slots_total",
            "counter",
            "Slots on a journal's disk.",
            one(ring.durable_slots),
        ),
        (
            "ring0_ring_journal_failed",
            "gauge",
            "1 after a journal failed: nothing is taken.",
            one(ring.journal_failed.into()),
        ),
        (
            "ring0_commands_total",
            "counter",
            "Control commands written.",
            one(stats.commands_written),
        ),
        (
            "ring0_attached",
            "gauge",
            "1 while packets reach the program.",
            one(stats.program_id.is_some().into()),
        ),
    ] {
        family(name, kind, help, &samples);
    }
    let of_consumer = |value: fn(&xdp_loader::ConsumerStat) -> u64| -> Vec<(String, u64)> {
        let consumers = ring.consumers.iter();
        consumers
            .map(|one| (label("consumer", &one.name), value(one)))
            .collect()
    };
    family(
        "ring0_consumer_consumed_slots_total",
        "counter",
        "Slots that a consumer has read.",
        &of_consumer(|one| one.consumed),
    );
    family(
        "ring0_consumer_lag_slots",
        "gauge",
        "Slots that a consumer has not read yet.",
        &of_consumer(|one| one.lag),
    );
    out.truncate(out.trim_end().len());
    out
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
    fn labels_are_escaped() {
        assert_eq!(label("a", "x\"y\\z\n"), r#"a="x\"y\\z\n""#);
    }
}
