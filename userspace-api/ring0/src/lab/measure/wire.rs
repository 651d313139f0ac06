//! Tiers (b) and (c): every ring and the echo of its transport over a veth pair of its own. The same packets go to all, and in every round each takes
//! its turn in each phase, so that a busy neighbour hits all.
//!
//! Invariant of (b): what the client gave to the wire is what the ring counted and what was dropped under a name, to the packet ([`Account`]).

use super::figure;
use crate::bench::processors::Busy;
use crate::bench::pump::{Pump, latencies};
use crate::bench::rings::{CLIENT, RingName, SetUp, Stand, Way, go_on, median, stands_of};
use crate::fail::Fail;
use crate::lab::progress::Progress;
use crate::lab::venue::Signed;
use hdrhistogram::Histogram;
use ring0_engine::Reason;
use ring0_lab::{Veth, in_netns};
use ring0_laboratory::{Arrivals, Scenario, Shim, schedule};
use ring0_rings::pin_to;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Client sequences under way: what the shortest queue on the way holds, veth's 256 places before an XDP program.
const WINDOW_SINGLE: u64 = 384;
const WINDOW_FULL: u64 = 2_400;
/// Packets before the first round that nothing is measured of.
const WARM_UP: usize = 2_000;
/// How long what is still under way may take to arrive before it is accounted for.
const SETTLE: Duration = Duration::from_millis(500);

/// Packets of the phases.
pub(in crate::lab) struct Phases {
    fast: usize,
    offered: Vec<(f64, usize)>,
    latency: Option<(f64, Arrivals, usize)>,
}

impl Phases {
    pub(in crate::lab) fn of(scenario: &Scenario) -> Phases {
        let throughput = scenario.throughput.as_ref();
        let offered = throughput.map_or(&[][..], |it| &it.offered).iter();
        let seconds = throughput.map_or(0.0, |it| it.seconds);
        Phases {
            fast: throughput.map_or(0, |it| it.packets as usize),
            offered: offered
                .map(|rate| {
                    (
                        f64::from(*rate),
                        (f64::from(*rate) * seconds).ceil() as usize,
                    )
                })
                .collect(),
            latency: scenario.latency.map(|it| {
                let packets = it.samples.div_ceil(scenario.rounds.into());
                (f64::from(it.per_second), it.arrivals, packets as usize)
            }),
        }
    }

    fn round(&self) -> usize {
        let offered: usize = self.offered.iter().map(|it| it.1).sum();
        self.fast + offered + self.latency.map_or(0, |it| it.2)
    }

    /// Packets of the flow, behind the prefill.
    pub(in crate::lab) fn packets(&self, rounds: u32) -> usize {
        WARM_UP + self.round() * rounds as usize
    }
}

/// A phase as fast as it goes.
struct Fast {
    messages: u64,
    packets: u64,
    seconds: f64,
    busy: Busy,
}

/// A phase at an offered rate.
struct Offered {
    packets_per_second: f64,
    busy: Busy,
    took: Histogram<u64>,
}

/// A ring or an echo.
struct Row<'a> {
    ring: RingName,
    way: Way,
    stand: usize,
    pump: Pump<'a>,
    fast: Vec<Fast>,
    /// By rate, then round.
    offered: Vec<Vec<Offered>>,
    /// By round.
    latencies: Vec<Histogram<u64>>,
}

/// Measures; gives tier (b) and tier (c).
pub(in crate::lab) fn run(
    scenario: &Scenario,
    signed: &Signed,
    with: &SetUp<'_>,
    stop: &'static AtomicBool,
) -> Result<(Value, Value), Fail> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err(Fail::new(
            "the client has one processor and the rings the other; this process has only one",
        ));
    }
    let phases = Phases::of(scenario);
    let needed = signed.prefill + phases.packets(scenario.rounds);
    if signed.packets.len() < needed {
        return Err(Fail::new(format!(
            "the scenario needs {needed} packets and its flow ends after {}: let files repeat (`repeat = true`), or measure less",
            signed.packets.len()
        )));
    }
    let mut stands = Vec::new();
    let mut places = Vec::new();
    let mut left_out = Vec::new();
    for ring in rings(scenario)? {
        match stands_of(ring, with)? {
            Ok((stand, echo)) => {
                let at = stands.len();
                places.push((ring, Way::Ring, at));
                places.push((ring, Way::Echo, at + usize::from(echo.is_some())));
                stands.push(stand);
                stands.extend(echo);
            }
            Err(why) => left_out.push((ring, why)),
        }
    }
    if stands.is_empty() {
        let why: Vec<&str> = left_out.iter().map(|(_, why)| why.as_str()).collect();
        return Err(Fail::new(why.join("; ")));
    }
    let steps = needed * places.len();
    let progress = Progress::new(steps as u64);
    pin_to(CLIENT)?;
    let window = match scenario.flow.messages_per_packet {
        1 => WINDOW_SINGLE,
        _ => WINDOW_FULL,
    };
    let mut rows = Vec::new();
    for (ring, way, stand) in places {
        let mut pump = Pump::new(stands[stand].client()?, &signed.packets, window)?;
        if way == Way::Ring {
            pump.count_results();
            if !scenario.faults.is_none() {
                pump.through(Shim::new(&scenario.faults, scenario.seed));
            }
        }
        rows.push(Row {
            ring,
            way,
            stand,
            pump,
            fast: Vec::new(),
            offered: phases.offered.iter().map(|_| Vec::new()).collect(),
            latencies: Vec::new(),
        });
    }
    let before: Vec<_> = stands.iter().map(|it| wire_drops(it.veth())).collect();
    let mut bench = Bench {
        scenario,
        signed,
        stands: &stands,
        rows,
        progress,
        done: 0,
        stop,
    };
    bench.run(&phases)?;
    let rows = bench.rows;
    report(scenario, signed, &phases, stands, rows, &before, &left_out)
}

/// The rings that a scenario names.
fn rings(scenario: &Scenario) -> Result<Vec<RingName>, Fail> {
    let one = |name: &String| {
        RingName::ALL
            .into_iter()
            .find(|ring| ring.name() == name)
            .ok_or_else(|| {
                let known = RingName::ALL.map(RingName::name).join(", ");
                Fail::new(format!(
                    "{}: rings has \"{name}\"; there are {known}",
                    scenario.path.display()
                ))
            })
    };
    let mut rings: Vec<RingName> = scenario.rings.iter().map(one).collect::<Result<_, _>>()?;
    rings.dedup();
    Ok(rings)
}

/// The rows while they are measured.
struct Bench<'s, 'p> {
    scenario: &'s Scenario,
    signed: &'p Signed,
    stands: &'s [Stand],
    rows: Vec<Row<'p>>,
    progress: Progress,
    /// Steps of the phases that are done.
    done: usize,
    stop: &'static AtomicBool,
}

impl Bench<'_, '_> {
    fn run(&mut self, phases: &Phases) -> Result<(), Fail> {
        let mut end = self.signed.prefill;
        self.progress.say("books and warm-up");
        for row in 0..self.rows.len() {
            // Books and stored answers are of the ring; an echo has neither.
            if self.rows[row].way == Way::Echo {
                self.rows[row].pump.skip_to(self.signed.prefill);
            }
        }
        end += WARM_UP;
        self.phase(end, |pump, end, go_on| pump.run(end, go_on), |_, (), _| ())?;
        for round in 0..self.scenario.rounds {
            let of = self.scenario.rounds;
            if phases.fast > 0 {
                self.progress
                    .say(&format!("round {} of {of}: throughput", round + 1));
                let start = end;
                end += phases.fast;
                let messages = (start..end)
                    .map(|at| self.signed.packets.messages(at))
                    .sum();
                self.phase(
                    end,
                    |pump, end, go_on| pump.run(end, go_on),
                    |row, (), (seconds, busy)| {
                        row.fast.push(Fast {
                            messages,
                            packets: (end - start) as u64,
                            seconds,
                            busy,
                        });
                    },
                )?;
            }
            for (at, (rate, packets)) in phases.offered.iter().enumerate() {
                self.progress.say(&format!(
                    "round {} of {of}: {rate} offered a second",
                    round + 1
                ));
                end += packets;
                let seed = self.scenario.seed ^ (u64::from(round) << 32 | at as u64);
                let leaves = schedule(Arrivals::Poisson, *rate, *packets, seed);
                self.phase(
                    end,
                    |pump, end, go_on| pump.run_scheduled(end, leaves.clone(), go_on),
                    |row, took, (seconds, busy)| {
                        row.offered[at].push(Offered {
                            packets_per_second: *packets as f64 / seconds,
                            busy,
                            took,
                        });
                    },
                )?;
            }
            if let Some((rate, arrivals, packets)) = phases.latency {
                self.progress
                    .say(&format!("round {} of {of}: latency", round + 1));
                end += packets;
                let seed = self.scenario.seed ^ (u64::from(round) << 32 | 0xFFFF);
                let leaves = schedule(arrivals, rate, packets, seed);
                self.phase(
                    end,
                    |pump, end, go_on| pump.run_scheduled(end, leaves.clone(), go_on),
                    |row, took, _| row.latencies.push(took),
                )?;
            }
        }
        Ok(())
    }

    /// Every row in turn up to packet `end`; what it took goes to `then`.
    fn phase<T>(
        &mut self,
        end: usize,
        run: impl Fn(&mut Pump<'_>, usize, &mut dyn FnMut(usize) -> Result<(), Fail>) -> Result<T, Fail>,
        mut then: impl FnMut(&mut Row<'_>, T, (f64, Busy)),
    ) -> Result<(), Fail> {
        for row in &mut self.rows {
            let stand = &self.stands[row.stand];
            stand.turn(row.way)?;
            let start = row.pump.answered_up_to();
            let (before, begin) = (Busy::now(), Instant::now());
            let took = run(&mut row.pump, end, &mut |at| {
                self.progress
                    .at((self.done + at.saturating_sub(start)) as u64);
                go_on(self.stop)
            });
            let seconds = begin.elapsed().as_secs_f64();
            let took = took.map_err(|fail| {
                Fail::new(format!(
                    "{}, {}: {fail}",
                    row.ring.name(),
                    way_name(row.way)
                ))
            })?;
            let mut busy = Busy::default();
            busy.add_since(&before);
            stand.turn(Way::Off)?;
            self.done += end - start;
            then(row, took, (seconds, busy));
        }
        Ok(())
    }
}

fn way_name(way: Way) -> &'static str {
    match way {
        Way::Ring => "ring",
        Way::Echo => "echo",
        Way::Off => "off",
    }
}

/// Packets that the devices of a pair dropped, and UDP packets that the exchange's sockets had no room for.
fn wire_drops(veth: &Veth) -> BTreeMap<String, u64> {
    let device = |ns: &str, interface: &str, column: usize| {
        let read = in_netns(ns, || read_to_string("/proc/thread-self/net/dev"));
        let text = read.ok().and_then(Result::ok).unwrap_or_default();
        let line = text.lines().find_map(|line| {
            line.trim_start()
                .strip_prefix(&format!("{interface}:"))
                .map(str::to_owned)
        });
        let counts = line.unwrap_or_default();
        let count = counts.split_whitespace().nth(column);
        count.and_then(|it| it.parse().ok()).unwrap_or(0)
    };
    BTreeMap::from([
        (
            "veth_receive".to_owned(),
            device(&veth.exchange_ns, &veth.exchange_if, 3),
        ),
        (
            "veth_transmit".to_owned(),
            device(&veth.trader_ns, &veth.trader_if, 11),
        ),
    ])
}

/// Where a ring's packets went.
struct Account {
    /// Given to the wire.
    sent: u64,
    /// Counted by the ring, each under one name.
    received: BTreeMap<String, u64>,
    /// Dropped before it, by name.
    drops: BTreeMap<String, u64>,
}

impl Account {
    /// Looks until what is under way has arrived.
    fn of(stand: &mut Stand, sent: u64, before: &BTreeMap<String, u64>) -> Result<Account, Fail> {
        let begin = Instant::now();
        loop {
            let mut account = Account {
                sent,
                received: BTreeMap::new(),
                drops: BTreeMap::new(),
            };
            for (name, count) in stand.counters()? {
                let is_ours = ["taken", "duplicate", "held", "held_duplicate"]
                    .contains(&name.as_str())
                    || name.starts_with("not_taken_")
                    || (name.starts_with("drop_") && name != "drop_no_socket");
                if count == 0 {
                    continue;
                }
                if is_ours {
                    account.received.insert(name, count);
                } else if DROPS.contains(&name.as_str()) {
                    account.drops.insert(name, count);
                }
            }
            for (name, count) in wire_drops(stand.veth()) {
                let count = count - before.get(&name).copied().unwrap_or(0);
                if count > 0 {
                    account.drops.insert(name, count);
                }
            }
            if account.closes() || begin.elapsed() > SETTLE {
                return Ok(account);
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn closes(&self) -> bool {
        let received: u64 = self.received.values().sum();
        let dropped: u64 = self.drops.values().sum();
        self.sent == received + dropped
    }
}

/// Drops of the ports before a ring: the socket's queue is full, or its ring.
const DROPS: [&str; 4] = [
    "udp_receive_full",
    "xsk_rx_dropped",
    "xsk_rx_ring_full",
    "xsk_rx_fill_ring_empty_descs",
];

fn report(
    scenario: &Scenario,
    signed: &Signed,
    phases: &Phases,
    mut stands: Vec<Stand>,
    rows: Vec<Row<'_>>,
    before: &[BTreeMap<String, u64>],
    left_out: &[(RingName, String)],
) -> Result<(Value, Value), Fail> {
    let (mut throughput, mut latency) = (Map::new(), Map::new());
    let mut hashes = Vec::new();
    for (ring, why) in left_out {
        throughput.insert(ring.name().to_owned(), json!({"not_measured": why}));
        latency.insert(ring.name().to_owned(), json!({"not_measured": why}));
    }
    for row in &rows {
        let entry = |map: &mut Map<String, Value>, value: Value| {
            let one = map.entry(row.ring.name()).or_insert_with(|| json!({}));
            one[way_name(row.way)] = value;
        };
        if scenario.throughput.is_some() {
            let mut one = throughput_of(row, phases);
            one["packets"] = json!(row.pump.counted);
            if row.way == Way::Ring {
                let stand = &mut stands[row.stand];
                let account = Account::of(stand, row.pump.counted.sent, &before[row.stand])?;
                let about = stand.report(row.way)?;
                hashes.push(about["state_hash_without_time"].clone());
                one["account"] = json!({
                    "sent": account.sent,
                    "received": account.received,
                    "drops": account.drops,
                    "closes": account.closes(),
                });
                one["injected"] = json!(row.pump.injected());
                one["results"] = results(row);
                one["state_hash_without_time"] = about["state_hash_without_time"].clone();
                one["record_slots"] = about["record_slots"].clone();
            }
            entry(&mut throughput, one);
        }
        if scenario.latency.is_some() {
            entry(&mut latency, latency_of(row));
        }
    }
    hashes.dedup();
    let tier_b = json!({
        "note": "packets of one client's socket over veth; as fast as they go in a window that is always answered, and at offered rates as an open loop; processor time is the whole machine's, the client's among it; sent = received + drops",
        "messages_per_packet": signed.messages as f64 / signed.packets.len() as f64,
        // With faults, packets arrive in an order that depends on time where several sessions send.
        "states_agree": scenario.faults.is_none().then_some(hashes.len() <= 1),
        "rings": throughput,
    });
    let plan = scenario.latency.as_ref();
    let tier_c = json!({
        "note": "open loop: each packet's latency counts from the time at which it was to leave, whatever became of those before it",
        "packets_per_second": plan.map(|it| it.per_second),
        "arrivals": plan.map(|it| it.arrivals),
        "rings": latency,
    });
    Ok((tier_b, tier_c))
}

/// Messages by what became of them.
fn results(row: &Row<'_>) -> Value {
    let mut named = Map::new();
    for ((result, reason), count) in &row.pump.counted.results {
        let name = match (result, Reason::from_number(*reason)) {
            (b'A', _) => "accepted".to_owned(),
            (b'C', _) => "continues".to_owned(),
            (b'R', Some(reason)) => format!("rejected {}", reason.name()),
            (other, _) => format!("{} {reason}", char::from(*other)),
        };
        named.insert(name, json!(count));
    }
    Value::Object(named)
}

fn throughput_of(row: &Row<'_>, phases: &Phases) -> Value {
    /// Of `/proc/stat`: a phase in which none was counted took one at most.
    const TICK: f64 = 0.01;
    let each = |of: fn(&Fast) -> f64| -> Vec<f64> { row.fast.iter().map(of).collect() };
    let mut busy = Busy::default();
    for fast in &row.fast {
        busy.add(&fast.busy);
    }
    let mut one = json!({
        "messages_per_second": figure(&each(|it| it.messages as f64 / it.seconds), "1/s", "higher"),
        "packets_per_second": figure(&each(|it| it.packets as f64 / it.seconds), "1/s", "higher"),
        "cpu_us_per_packet": figure(
            &each(|it| it.busy.seconds().max(TICK) / it.packets as f64 * 1e6),
            "us",
            "lower",
        ),
        "busy_seconds_by_processor": busy.report(),
    });
    let offered = phases.offered.iter().zip(&row.offered);
    let offered: Map<String, Value> = offered
        .map(|((rate, _), rounds)| {
            let of = |value: &dyn Fn(&Offered) -> f64| -> Vec<f64> {
                rounds.iter().map(value).collect()
            };
            let quantile = |at: f64| of(&|it| it.took.value_at_quantile(at) as f64);
            let one = json!({
                "packets_per_second": figure(&of(&|it| it.packets_per_second), "1/s", "higher"),
                "busy_seconds": of(&|it| it.busy.seconds()),
                "latency_ns_p50": median(&quantile(0.5)),
                "latency_ns_p99": median(&quantile(0.99)),
            });
            (format!("{rate}"), one)
        })
        .collect();
    one["offered"] = Value::Object(offered);
    one
}

fn latency_of(row: &Row<'_>) -> Value {
    let mut all = latencies();
    for took in &row.latencies {
        all.add(took).expect("the same bounds");
    }
    let rounds = |at: f64| -> Vec<f64> {
        let rounds = row.latencies.iter();
        rounds.map(|it| it.value_at_quantile(at) as f64).collect()
    };
    let histogram: Vec<[u64; 2]> = all
        .iter_recorded()
        .map(|it| [it.value_iterated_to(), it.count_at_value()])
        .collect();
    json!({
        "samples": all.len(),
        "ns_p50": figure(&rounds(0.5), "ns", "lower"),
        "ns_p90": figure(&rounds(0.9), "ns", "lower"),
        "ns_p99": figure(&rounds(0.99), "ns", "lower"),
        "ns_p999": figure(&rounds(0.999), "ns", "lower"),
        "ns_p9999": figure(&rounds(0.9999), "ns", "lower"),
        "ns_max": all.max(),
        "histogram": histogram,
    })
}
