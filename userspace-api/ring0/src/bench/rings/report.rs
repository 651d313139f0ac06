//! What the bench says: one JSON object, or the same as a table.

use super::stand::RingName;
use super::switch::Way;
use crate::bench::lane::Prepared;
use crate::bench::processors::Busy;
use crate::bench::pump::{Counted, latencies};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Kernel over UDP, messages for each second of processor time: what is promised.
const PER_CPU_WANTED: f64 = 3.0;
/// Kernel over an XDP echo, median round trip: what is promised.
const ECHO_WANTED: f64 = 1.3;

/// Seconds of a tick of `/proc/stat`: a phase in which none was counted took one at most.
const TICK: f64 = 0.01;

/// A fast phase of a round.
pub(super) struct Round {
    pub(super) messages: u64,
    pub(super) packets: u64,
    pub(super) seconds: f64,
    pub(super) busy: Busy,
}

/// A row's rounds in one lane.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) rounds: Vec<Round>,
    /// Nanoseconds, by round.
    pub(super) latencies: Vec<Histogram<u64>>,
}

impl Figures {
    fn each(&self, of: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(of).collect()
    }

    fn per_second(&self) -> Vec<f64> {
        self.each(|it| it.messages as f64 / it.seconds)
    }

    fn per_cpu_second(&self) -> Vec<f64> {
        self.each(|it| it.messages as f64 / it.busy.seconds().max(TICK))
    }

    fn latency_ns(&self, quantile: f64) -> Vec<f64> {
        let rounds = self.latencies.iter();
        rounds
            .map(|it| it.value_at_quantile(quantile) as f64)
            .collect()
    }

    fn cpu_us_per_packet(&self) -> f64 {
        let busy: f64 = self.each(|it| it.busy.seconds()).iter().sum();
        let packets: f64 = self.each(|it| it.packets as f64).iter().sum();
        busy / packets * 1e6
    }

    fn report(&self) -> Value {
        let (mut messages, mut packets, mut busy) = (0, 0, Busy::default());
        for round in &self.rounds {
            messages += round.messages;
            packets += round.packets;
            busy.add(&round.busy);
        }
        let per_second = self.per_second();
        let rate = median(&per_second);
        let mut all = latencies();
        for took in &self.latencies {
            all.add(took).expect("the same bounds");
        }
        json!({
            "messages_per_second": rate.round(),
            "packets_per_second": (rate * packets as f64 / messages as f64).round(),
            "rounds_messages_per_second": rounded(&per_second),
            "messages": messages,
            "packets": packets,
            "cpu_us_per_message": self.cpu_us_per_packet() * packets as f64 / messages as f64,
            "cpu_us_per_packet": self.cpu_us_per_packet(),
            "messages_per_cpu_second": median(&self.per_cpu_second()).round(),
            "busy_seconds_by_processor": busy.report(),
            "latency_ns_p50": median(&self.latency_ns(0.5)),
            "latency_ns_p99": median(&self.latency_ns(0.99)),
            "latency_ns_p999": median(&self.latency_ns(0.999)),
            "latency_ns_max": all.max(),
            "latency_samples": all.len(),
            "rounds_latency_ns_p50": self.latency_ns(0.5),
        })
    }
}

/// A row that was measured.
pub(super) struct Measured {
    pub(super) ring: RingName,
    pub(super) way: Way,
    /// What its stand says of itself.
    pub(super) stand: Value,
    /// By lane.
    pub(super) figures: Vec<Figures>,
    pub(super) counted: Vec<Counted>,
}

/// The middle one.
pub(crate) fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn rounded(of: &[f64]) -> Vec<f64> {
    of.iter().map(|it| it.round()).collect()
}

/// What is measured, as far as it is.
pub(super) struct Report<'a> {
    pub(super) lanes: &'a [Prepared],
    pub(super) rows: &'a [Measured],
    /// Rings without a row, and why.
    pub(super) left_out: &'a [(RingName, String)],
    /// Packets a second, by lane.
    pub(super) offered: &'a [f64],
}

impl Report<'_> {
    /// The JSON object.
    pub(super) fn object(&self, machine: Value, conditions: Value) -> Value {
        let rings = self.rings();
        let hashes = rings.iter().map(|it| &it["state_hash_without_time"]);
        let mut hashes: Vec<&Value> = hashes.filter(|it| !it.is_null()).collect();
        hashes.dedup();
        let states_agree = hashes.len() <= 1;
        json!({
            "machine": machine,
            "conditions": conditions,
            "notes": [
                "rates: packets in a window, all answered; latencies: open loop, each from the time at which its packet was to leave, at the offered rate; medians of the rounds",
                "processor time is the whole machine's, the client's among it, from the fast phases; beyond: what a packet takes more than with the XDP echo, whose time is nearly all the client's",
                "echo: the same packet turned round over the same transport, without an engine; AF_XDP's has the steering program's checks, tag among them, as its ring has",
                "kernel-shared: the kernel ring behind the dispatcher that several shards of an interface share",
                "kernel: on veth the program runs on the sender's processor; kernel-napi: in a kernel thread on the other one",
                "afxdp-busy and dpdk poll without end: their processor is busy whole, whatever the load",
            ],
            "lanes": self.by_lane(|at, lane| {
                let messages: u64 = (1..lane.ends.len()).map(|piece| lane.messages(piece)).sum();
                let packets = lane.packets.len() - lane.ends[0];
                json!({
                    "messages_per_packet": messages as f64 / packets as f64,
                    "packets": lane.packets.len(),
                    "packets_before_warm_up": lane.ends[0],
                    "offered_packets_per_second": self.offered[at].round() as u64,
                })
            }),
            "rings": rings,
            "ratios": self.ratios(),
            "states_agree": states_agree,
        })
    }

    fn row(&self, ring: RingName, way: Way) -> Option<&Measured> {
        let mut rows = self.rows.iter();
        rows.find(|it| it.ring == ring && it.way == way)
    }

    fn by_lane(&self, of: impl Fn(usize, &Prepared) -> Value) -> Value {
        let lanes = self.lanes.iter().enumerate();
        Value::Object(
            lanes
                .map(|(at, lane)| (lane.lane.name.to_owned(), of(at, lane)))
                .collect(),
        )
    }

    fn rings(&self) -> Vec<Value> {
        let mut rings = Vec::new();
        for ring in RingName::ALL {
            if let Some((_, why)) = self.left_out.iter().find(|it| it.0 == ring) {
                rings.push(json!({"ring": ring.name(), "not_measured": why}));
            }
            let Some(row) = self.row(ring, Way::Ring) else {
                continue;
            };
            let mut one = json!({"ring": ring.name()});
            self.enter(&mut one, row);
            if let Some(echo) = self.row(ring, Way::Echo) {
                one["echo"] = json!({});
                self.enter(&mut one["echo"], echo);
            }
            rings.push(one);
        }
        rings
    }

    /// Writes a row's figures by lane, what was counted, and what its stand says.
    fn enter(&self, into: &mut Value, row: &Measured) {
        let floor = self.row(RingName::Kernel, Way::Echo);
        for (at, lane) in self.lanes.iter().enumerate() {
            let (figures, counted) = (&row.figures[at], &row.counted[at]);
            let mut one = figures.report();
            if let Some(floor) = floor {
                one["cpu_us_per_packet_beyond_xdp_echo"] =
                    json!(figures.cpu_us_per_packet() - floor.figures[at].cpu_us_per_packet());
            }
            one["counted"] = json!(counted);
            one["packets_without_answer"] = json!(counted.unanswered());
            into[lane.lane.name] = one;
        }
        for (name, value) in row.stand.as_object().into_iter().flatten() {
            into[name] = value.clone();
        }
    }

    fn ratios(&self) -> Map<String, Value> {
        let mut ratios = Map::new();
        let (udp, kernel) = (
            self.row(RingName::Udp, Way::Ring),
            self.row(RingName::Kernel, Way::Ring),
        );
        let echo = self.row(RingName::Kernel, Way::Echo);
        if let (Some(udp), Some(kernel)) = (udp, kernel) {
            let mut one = self.ratio(kernel, udp, Figures::per_cpu_second);
            judge(&mut one, ">=", PER_CPU_WANTED, |ratio| {
                ratio >= PER_CPU_WANTED
            });
            ratios.insert("kernel_over_udp_messages_per_cpu_second".into(), one);
        }
        if let (Some(udp), Some(kernel), Some(echo)) = (udp, kernel, echo) {
            // Of all rounds together: differences of single rounds are a few ticks.
            let one = self.by_lane(|at, _| {
                let [udp, kernel, echo] =
                    [udp, kernel, echo].map(|it| it.figures[at].cpu_us_per_packet());
                json!({"of_all_rounds": (udp - echo) / (kernel - echo)})
            });
            ratios.insert("udp_over_kernel_cpu_beyond_xdp_echo".into(), one);
        }
        if let (Some(kernel), Some(echo)) = (kernel, echo) {
            let mut one = self.ratio(kernel, echo, |it| it.latency_ns(0.5));
            judge(&mut one, "<=", ECHO_WANTED, |ratio| ratio <= ECHO_WANTED);
            ratios.insert("kernel_over_xdp_echo_p50".into(), one);
        }
        if let (Some(shared), Some(kernel)) = (self.row(RingName::KernelShared, Way::Ring), kernel)
        {
            let one = self.ratio(shared, kernel, |it| it.latency_ns(0.5));
            ratios.insert("kernel-shared_over_kernel_p50".into(), one);
            let one = self.ratio(shared, kernel, Figures::per_cpu_second);
            ratios.insert(
                "kernel-shared_over_kernel_messages_per_cpu_second".into(),
                one,
            );
        }
        for row in self.rows.iter().filter(|it| it.way == Way::Ring) {
            let name = row.ring.name();
            if let (Some(udp), true) = (udp, row.ring != RingName::Udp) {
                let one = self.ratio(row, udp, Figures::per_second);
                ratios.insert(format!("{name}_over_udp_messages_per_second"), one);
            }
            if let Some(echo) = self.row(row.ring, Way::Echo) {
                let one = self.ratio(row, echo, |it| {
                    it.each(|round| round.busy.seconds().max(TICK) / round.packets as f64)
                });
                ratios.insert(format!("{name}_over_its_echo_cpu"), one);
            }
        }
        ratios
    }

    /// Round by round, one row's value over another's.
    fn ratio(
        &self,
        above: &Measured,
        below: &Measured,
        values: impl Fn(&Figures) -> Vec<f64>,
    ) -> Value {
        self.by_lane(|at, _| {
            let pairs = values(&above.figures[at]).into_iter();
            let pairs = pairs.zip(values(&below.figures[at]));
            let rounds: Vec<f64> = pairs.map(|(above, below)| above / below).collect();
            json!({"median": median(&rounds), "rounds": rounds})
        })
    }
}

/// Says beside the ratio of each lane what was promised, and whether it holds.
fn judge(ratios: &mut Value, sign: &str, limit: f64, holds: impl Fn(f64) -> bool) {
    for ratio in ratios
        .as_object_mut()
        .into_iter()
        .flat_map(|it| it.values_mut())
    {
        let median = ratio["median"].as_f64().unwrap_or(f64::NAN);
        ratio["wanted"] = json!(format!("{sign} {limit}"));
        ratio["holds"] = json!(holds(median));
    }
}

/// The report as a table.
pub(super) fn table(report: &Value) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = writeln!(text, "{}", words.trim_end()); // into a string: does not fail
    };
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let machine = &report["machine"];
    let word = |name: &str| machine[name].as_str().unwrap_or_default().to_owned();
    line(format!(
        "{}; {}; load {}",
        word("processor"),
        word("kernel"),
        word("load")
    ));
    for (name, lane) in report["lanes"].as_object().into_iter().flatten() {
        line(String::new());
        line(format!(
            "{name} packets ({:.1} messages); latency at {} packets offered a second, open loop",
            number(&lane["messages_per_packet"]),
            lane["offered_packets_per_second"],
        ));
        line(format!(
            "{:<14}{:>12}{:>12}{:>12}{:>12}{:>9}{:>9}{:>10}",
            "",
            "messages/s",
            "packets/s",
            "CPU us/msg",
            "beyond/pkt",
            "p50 us",
            "p99 us",
            "p99.9 us"
        ));
        for ring in report["rings"].as_array().into_iter().flatten() {
            let title = ring["ring"].as_str().unwrap_or_default();
            if let Some(why) = ring["not_measured"].as_str() {
                line(format!("{title:<14}{why}"));
                continue;
            }
            for (title, row) in [(title, ring), ("  its echo", &ring["echo"])] {
                let of = |field: &str| number(&row[name][field]);
                line(format!(
                    "{title:<14}{:>12}{:>12}{:>12.3}{:>12.2}{:>9.1}{:>9.1}{:>10.1}",
                    of("messages_per_second"),
                    of("packets_per_second"),
                    of("cpu_us_per_message"),
                    of("cpu_us_per_packet_beyond_xdp_echo"),
                    of("latency_ns_p50") / 1e3,
                    of("latency_ns_p99") / 1e3,
                    of("latency_ns_p999") / 1e3,
                ));
            }
        }
    }
    line(String::new());
    for (name, lanes) in report["ratios"].as_object().into_iter().flatten() {
        for (lane, ratio) in lanes.as_object().into_iter().flatten() {
            let verdict = match (ratio["wanted"].as_str(), ratio["holds"].as_bool()) {
                (Some(wanted), Some(true)) => format!("   wanted {wanted}: holds"),
                (Some(wanted), _) => format!("   wanted {wanted}: DOES NOT HOLD"),
                _ => String::new(),
            };
            let title = format!("{name}, {lane}");
            let value = match &ratio["median"] {
                Value::Null => &ratio["of_all_rounds"],
                median => median,
            };
            line(format!("{title:<54}{:>7.2}{verdict}", number(value)));
        }
    }
    line(format!("states agree: {}", report["states_agree"]));
    text.push('\n');
    for note in report["notes"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "- {}", note.as_str().unwrap_or_default()); // as above
    }
    text
}
