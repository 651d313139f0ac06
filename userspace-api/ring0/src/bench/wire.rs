//! `ring0 bench wire`: the whole kernel path, everything answered, beside a UDP-socket server with the same engine.
//!
//! One flow, signed before the clock starts, goes to both: to the kernel over one veth pair, to the server over another that has
//! no program. Kernel and server take turns in five rounds; a figure is the median of its rounds. On veth the kernel ring runs
//! on the sender's processor; the server has a processor of its own. Rule: RULES 30; figures: `docs/benchmarks.md`.

use super::lane::{Lane, Prepared, prepare};
use super::processors::Busy;
use super::pump::{Pump, latencies};
use super::rings::{CLIENT, OTHER, RECORD_SLOTS, RingName, SetUp, Stand, Way, median};
use crate::fail::Fail;
use crate::replay::print;
use hdrhistogram::Histogram;
use ring0_drive::{WireLab, XDP_TX, clock, rand_key, session_id, set_up};
use ring0_lab::{Options, machine};
use ring0_rings::{Consumer, Live, pin_to};
use ring0_wire::MESSAGES_MAX;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
/// Client sequences under way: sixty full packets, as one batch.
const WINDOW: u64 = 2_400;
/// Messages of a round for each second asked, at full packets: what the floor rate does in a tenth of that.
const FULL_PER_SECOND: u64 = 150_000;
/// The same with one message a packet, which takes about ten times as long.
const SINGLE_PER_SECOND: u64 = 15_000;
/// Single orders of a round trip measurement.
const ROUND_TRIPS: u64 = 20_000;
/// Packets of a stage measurement.
const STAGE_PACKETS: u64 = 2_000;
/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// About how long the kernel's rounds take together at the floor rate; more is steadier.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seed of the flow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the bench.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if args.seconds == 0 || args.seconds > 600 {
        return Err(Fail::new("--seconds is not 1 to 600"));
    }
    let lanes = lanes(args.seconds);
    let keys: Vec<_> = lanes.iter().map(|lane| lane.key).collect();
    let (prepared, market) = prepare(args.seed, lanes)?;

    let sessions = prepared.len() as u32;
    let mut controls = vec![clock()];
    controls.extend((0..sessions).flat_map(|number| market.controls(number)));
    let capacity = market.capacity(sessions)?;
    let machine = machine();

    let mut lab = WireLab::up(&capacity, RECORD_SLOTS)?;
    for (session, key) in (0..).zip(&keys) {
        lab.shard.set_key(session, key.as_ref())?;
    }
    set_up(lab.shard.command(&controls)?)?;
    let recorder = Recording::start(&lab)?;
    let ids: Vec<_> = (0..sessions).map(session_id).collect();
    let with = SetUp {
        wire: Options::default(),
        capacity,
        controls: &controls,
        keys: &keys,
        sessions: &ids,
    };
    let mut server = Stand::ring(RingName::Udp, &with)?;
    server.turn(Way::Ring)?;

    pin_to(CLIENT)?;
    let mut report = Map::new();
    report.insert("machine".into(), machine);
    let mut round_trips = json!({});
    for (number, lane) in prepared.iter().enumerate() {
        let mut kernel = Pump::new(lab.trader_socket()?, &lane.packets, WINDOW)?;
        let mut udp = Pump::new(server.client()?, &lane.packets, WINDOW)?;
        let counters = lab.shard.counters()?;
        let mut figures = rounds(lane, &mut kernel, &mut udp)?;
        figures["kernel_counters"] = counted(&counters, &lab.shard.counters()?);
        if lane.lane.messages_max == 1 {
            round_trips = json!({
                "kernel": trips(&mut kernel)?,
                "udp_server": trips(&mut udp)?,
                "bare_udp_echo": echo_trips(&server, lane)?,
                "note": "one order a packet, the next one sent when the answer was read; the client asks its socket without sleeping",
            });
        } else if number == 0 {
            report.insert("stages".into(), stages(&mut lab, lane, &mut kernel)?);
        }
        report.insert(lane.lane.name.into(), figures);
    }
    report.insert("round_trip".into(), round_trips);
    let full = report["full_packets"].clone();
    for name in ["messages_per_second", "ratio"] {
        report.insert(name.into(), full[name].clone());
    }
    report.insert("records_consumed".into(), json!(recorder.stop()?));
    report.insert("udp_server".into(), server.report(Way::Ring)?);
    lab.shard.shard().check();
    print(&Value::Object(report), args.json);
    Ok(())
}

fn lanes(seconds: u64) -> Vec<Lane> {
    let lane = |name, messages_max, key, per_second: u64, more| {
        let mut pieces = vec![per_second * seconds; ROUNDS];
        // Behind the rounds, for round trips and stages.
        pieces.push(more);
        Lane {
            name,
            messages_max,
            key,
            pieces,
        }
    };
    let staged = 2 * STAGE_PACKETS * u64::from(MESSAGES_MAX);
    let (key, other) = (Some(rand_key()), Some(rand_key()));
    vec![
        lane("full_packets", MESSAGES_MAX, key, FULL_PER_SECOND, staged),
        lane(
            "one_message_packets",
            1,
            other,
            SINGLE_PER_SECOND,
            2 * ROUND_TRIPS,
        ),
        lane(
            "full_packets_without_mac",
            MESSAGES_MAX,
            None,
            FULL_PER_SECOND,
            0,
        ),
    ]
}

/// Prefill, then the rounds, kernel and server in turn.
fn rounds<'a>(lane: &Prepared, kernel: &mut Pump<'a>, udp: &mut Pump<'a>) -> Result<Value, Fail> {
    for pump in [&mut *kernel, &mut *udp] {
        pump.run(lane.ends[0], |_| Ok(()))?;
    }
    let mut rates = [const { Vec::new() }; 2];
    let mut busy = [Busy::default(), Busy::default()];
    let mut messages = 0;
    for round in 1..=ROUNDS {
        let of_round = lane.messages(round);
        messages += of_round;
        for (which, pump) in [&mut *kernel, &mut *udp].into_iter().enumerate() {
            let (before, begin) = (Busy::now(), Instant::now());
            pump.run(lane.ends[round], |_| Ok(()))?;
            let seconds = begin.elapsed().as_secs_f64();
            busy[which].add_since(&before);
            rates[which].push(of_round as f64 / seconds);
        }
    }
    let per_packet = messages as f64 / (lane.ends[ROUNDS] - lane.ends[0]) as f64;
    let [kernel_rate, udp_rate] = rates.each_ref().map(|rates| median(rates));
    let side = |rates: &[f64], rate: f64, busy: &Busy, pump: &Pump<'_>| {
        json!({
            "messages_per_second": rate.round(),
            "packets_per_second": (rate / per_packet).round(),
            "rounds": rates.iter().map(|rate| rate.round()).collect::<Vec<_>>(),
            "cpu_seconds_per_million_messages": busy.seconds() / messages as f64 * 1e6,
            "busy_seconds_by_processor": busy.report(),
            "packets": pump.counted,
            "packets_without_answer": pump.counted.unanswered(),
        })
    };
    let [kernel_busy, udp_busy] = &busy;
    Ok(json!({
        "messages_per_packet": per_packet,
        "messages": messages,
        "messages_per_second": kernel_rate.round(),
        "ratio": kernel_rate / udp_rate,
        "ratio_per_cpu_second": udp_busy.seconds() / kernel_busy.seconds(),
        "kernel": side(&rates[0], kernel_rate, kernel_busy, kernel),
        "udp_server": side(&rates[1], udp_rate, udp_busy, udp),
    }))
}

/// Counters by name that moved.
fn counted(before: &[u64], after: &[u64]) -> Value {
    let mut counters = Map::new();
    for (number, (before, after)) in (0..).zip(before.iter().zip(after)) {
        if let (Some((prefix, name)), true) = (ring0_abi::counter_name(number), after > before) {
            counters.insert(format!("{prefix}{name}"), json!(after - before));
        }
    }
    Value::Object(counters)
}

/// Single orders, one at a time.
fn trips(pump: &mut Pump<'_>) -> Result<Value, Fail> {
    let mut histogram = latencies();
    for _ in 0..ROUND_TRIPS {
        histogram.saturating_record(pump.round_trip()?.as_nanos() as u64);
    }
    Ok(percentiles(&histogram))
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    json!({
        "orders": histogram.len(),
        "latency_ns_p50": histogram.value_at_quantile(0.5),
        "latency_ns_p99": histogram.value_at_quantile(0.99),
        "latency_ns_p999": histogram.value_at_quantile(0.999),
    })
}

/// The same packets, which the server's port gives back as they are.
fn echo_trips(server: &Stand, lane: &Prepared) -> Result<Value, Fail> {
    server.turn(Way::Echo)?;
    let took = trips(&mut Pump::new(server.client()?, &lane.packets, WINDOW)?)?;
    server.turn(Way::Ring)?;
    Ok(took)
}

/// What a packet costs up to each stage, by test-run, one run a packet; the last one is taken for good.
fn stages(lab: &mut WireLab, lane: &Prepared, pump: &mut Pump<'_>) -> Result<Value, Fail> {
    let first = lane.ends[ROUNDS];
    let shard = &mut lab.shard;
    let packets = first..first + STAGE_PACKETS as usize;
    let messages: u64 = packets.clone().map(|at| lane.packets.messages(at)).sum();
    let changed = |payload: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = payload.to_vec();
        change(&mut payload);
        payload
    };
    let other_session = |payload: &mut Vec<u8>| payload[9] ^= 1; // the grant's nonce: still an id, of nobody
    let bad_tag = |payload: &mut Vec<u8>| *payload.last_mut().expect("a tag") ^= 1;
    let none = |_: &mut Vec<u8>| {};
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let stages: [(&str, Change<'_>, usize, u32); 4] = [
        ("copy_and_parse", &other_session, first, XDP_DROP),
        ("and_tag", &bad_tag, first, XDP_DROP),
        (
            "and_stored_answer_with_tag",
            &none,
            lane.ends[ROUNDS] - STAGE_PACKETS as usize,
            XDP_TX,
        ),
        ("whole", &none, first, XDP_TX),
    ];
    let mut report = Map::new();
    for (name, change, from, verdict) in stages {
        let mut times = Vec::new();
        for at in from..from + STAGE_PACKETS as usize {
            let frame = shard.frame(&changed(lane.packets.get(at), change));
            let ran = shard.run_frame(&frame)?;
            if ran.verdict != verdict {
                let found = ran.verdict;
                return Err(Fail::disagreed(format!("stage {name}: verdict {found}")));
            }
            times.push(f64::from(ran.duration_ns));
        }
        let total: f64 = times.iter().sum();
        report.insert(
            name.into(),
            json!({
                "ns_per_packet_median": median(&times),
                "ns_per_message": total / messages as f64,
            }),
        );
    }
    pump.skip_to(first + STAGE_PACKETS as usize);
    report.insert("packets".into(), json!(STAGE_PACKETS));
    let per_packet = messages as f64 / STAGE_PACKETS as f64;
    report.insert("messages_per_packet".into(), json!(per_packet));
    let note = "each up to and with its stage; one run a packet, its own clock read twice among it";
    report.insert("note".into(), json!(note));
    Ok(Value::Object(report))
}

/// XDP's verdict on a packet that gets no answer.
const XDP_DROP: u32 = 1;

/// The record ring's required consumer, on the other processor: it reads all and keeps none.
struct Recording {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<u64, Fail>>,
}

impl Recording {
    fn start(lab: &WireLab) -> Result<Recording, Fail> {
        let mut consumer = Consumer::required(&lab.loaded.pinned, "bench")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            pin_to(OTHER)?;
            let mut bytes = Vec::with_capacity(1 << 24);
            let mut slots = 0;
            loop {
                bytes.clear();
                let read = consumer.read(&mut bytes, 1 << 17)?;
                consumer.commit();
                slots += read;
                if read == 0 {
                    if stopped.load(Ordering::Relaxed) {
                        consumer.release();
                        return Ok(slots);
                    }
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        Ok(Recording { stop, thread })
    }

    /// Ends it; slots read.
    fn stop(self) -> Result<u64, Fail> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| Fail::new("the record consumer's thread panicked; its text is above");
        self.thread.join().map_err(panicked)?
    }
}
