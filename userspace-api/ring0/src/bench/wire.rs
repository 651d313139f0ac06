//! `ring0 bench wire`: the whole kernel path, everything answered, beside a UDP-socket server with the same engine.
//!
//! One flow, signed before the clock starts, goes to both: to the kernel over one veth pair, to the server over another that has
//! no program. Kernel and server take turns in five rounds; a figure is the median of its rounds. On veth the kernel ring runs
//! on the sender's processor; the server has a processor of its own. Rule: RULES 30; figures: `docs/benchmarks.md`.

use super::processors::Busy;
use super::pump::Pump;
use crate::fail::Fail;
use crate::replay::print;
use hdrhistogram::Histogram;
use ring0_drive::{
    Cut, Ends, Market, PORT, Packets, References, WireLab, XDP_TX, clock, cut, rand_key, set_up,
    trader_socket, veth_up,
};
use ring0_engine::control::Control;
use ring0_lab::machine;
use ring0_rings::{Acks, Consumer, Live, UdpPort, UserOptions, UserShard, pin_to};
use ring0_stream::lobstrm::{Stream, generate};
use ring0_wire::{Key, MESSAGES_MAX};
use serde_json::{Map, Value, json};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
/// Symbols of each lane's flow.
const SYMBOLS: u32 = 64;
/// Orders that rest before the clock starts; the mix keeps the books at about this size.
const PREFILL: u64 = 20_000;
/// Slots of the record ring: 64 MiB, a tenth of a second at the rate that is aimed at.
const RECORD_SLOTS: u32 = 1 << 20;
/// Client sequences under way: sixty full packets, as one batch.
const WINDOW: u64 = 2_400;
/// Messages of a round for each second asked, at full packets: what the floor rate does in a tenth of that.
const FULL_PER_SECOND: u64 = 150_000;
/// The same with one message a packet, which takes about ten times as long.
const SINGLE_PER_SECOND: u64 = 15_000;
/// Single orders of a round trip measurement.
const ROUND_TRIPS: u64 = 20_000;
/// Longest round trip told apart, ten seconds; a longer one fails.
const LATENCY_MAX_NS: u64 = 10_000_000_000;
/// Packets of a stage measurement.
const STAGE_PACKETS: u64 = 2_000;
/// Processor of the client, and on veth of the kernel ring; the other one has the server or the record's consumer.
const CLIENT: usize = 0;
const OTHER: usize = 1;

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

/// What the lanes differ in.
struct Lane {
    name: &'static str,
    messages_max: u16,
    mac: bool,
    round_messages: u64,
    /// Messages behind the rounds, for round trips and stages.
    more: u64,
}

/// A lane's packets.
struct Prepared {
    lane: Lane,
    packets: Packets,
    /// Packets and messages before the end of the prefill, of each round, and of what follows.
    ends: Vec<usize>,
    messages: Vec<u64>,
}

/// Runs the bench.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if args.seconds == 0 || args.seconds > 600 {
        return Err(Fail::new("--seconds is not 1 to 600"));
    }
    let lanes = lanes(args.seconds);
    let keys: Vec<Option<[u8; 16]>> = lanes.iter().map(|lane| lane.mac.then(rand_key)).collect();
    let streams: Vec<Stream> = (0..)
        .zip(&lanes)
        .map(|(index, lane)| {
            let messages = lane.round_messages * ROUNDS as u64 + lane.more;
            generate(args.seed + index, messages, PREFILL, SYMBOLS)
        })
        .collect();
    let market = market(&streams);
    let mut prepared = Vec::new();
    for ((number, lane), (stream, key)) in (0..).zip(lanes).zip(streams.iter().zip(&keys)) {
        prepared.push(prepare(number, lane, stream, key.as_ref())?);
    }
    drop(streams);

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
    let server = ServerLab::up(&capacity, &controls, &keys)?;

    pin_to(CLIENT)?;
    let mut report = Map::new();
    report.insert("machine".into(), machine);
    let mut round_trips = json!({});
    for (number, lane) in prepared.iter().enumerate() {
        let mut kernel = Pump::new(lab.trader_socket()?, &lane.packets, WINDOW)?;
        let mut udp = Pump::new(server.trader_socket()?, &lane.packets, WINDOW)?;
        let counters = lab.shard.counters()?;
        let mut figures = rounds(lane, &mut kernel, &mut udp)?;
        figures["kernel_counters"] = counted(&counters, &lab.shard.counters()?);
        if lane.lane.messages_max == 1 {
            round_trips = json!({
                "kernel": trips(&mut kernel)?,
                "udp_server": trips(&mut udp)?,
                "bare_udp_echo": echo_trips(&server, &lane.packets)?,
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
    report.insert("udp_server".into(), server.stop()?);
    lab.shard.shard().check();
    print(&Value::Object(report), args.json);
    Ok(())
}

fn lanes(seconds: u64) -> Vec<Lane> {
    vec![
        Lane {
            name: "full_packets",
            messages_max: MESSAGES_MAX,
            mac: true,
            round_messages: FULL_PER_SECOND * seconds,
            more: 2 * STAGE_PACKETS * u64::from(MESSAGES_MAX),
        },
        Lane {
            name: "one_message_packets",
            messages_max: 1,
            mac: true,
            round_messages: SINGLE_PER_SECOND * seconds,
            more: 2 * ROUND_TRIPS,
        },
        Lane {
            name: "full_packets_without_mac",
            messages_max: MESSAGES_MAX,
            mac: false,
            round_messages: FULL_PER_SECOND * seconds,
            more: 0,
        },
    ]
}

/// A market that holds any of the lanes.
fn market(streams: &[Stream]) -> Market {
    let markets: Vec<_> = streams.iter().map(Market::of).collect();
    let most = |of: fn(&Market) -> u64| markets.iter().map(of).max().unwrap_or(1);
    Market {
        peak_live: most(|market| market.peak_live),
        references: most(|market| market.references),
        ..markets[0].clone()
    }
}

fn prepare(
    number: u32,
    lane: Lane,
    stream: &Stream,
    key: Option<&[u8; 16]>,
) -> Result<Prepared, Fail> {
    let references = References::of(stream)?;
    let key = key.map(Key::from_bytes);
    let ends = Ends::default();
    let plan = Cut {
        number,
        symbols: SYMBOLS,
        messages_max: lane.messages_max,
        key: key.as_ref(),
        ends: &ends,
    };
    let mut prepared = Prepared {
        packets: Packets::default(),
        ends: Vec::new(),
        messages: Vec::new(),
        lane,
    };
    let mut sequence = 1;
    let mut rest = stream.timed();
    let mut pieces = vec![stream.prefill()];
    for _ in 0..ROUNDS {
        let (round, after) = rest.split_at(prepared.lane.round_messages as usize);
        pieces.push(round);
        rest = after;
    }
    pieces.push(rest);
    for piece in pieces {
        sequence = cut(piece, &references, &plan, sequence, &mut prepared.packets);
        prepared.ends.push(prepared.packets.len());
        prepared.messages.push(piece.len() as u64);
    }
    Ok(prepared)
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
        messages += lane.messages[round];
        for (which, pump) in [&mut *kernel, &mut *udp].into_iter().enumerate() {
            let (before, begin) = (Busy::now(), Instant::now());
            pump.run(lane.ends[round], |_| Ok(()))?;
            let seconds = begin.elapsed().as_secs_f64();
            busy[which].add_since(&before);
            rates[which].push(lane.messages[round] as f64 / seconds);
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

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
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
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("bounds in order");
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

/// The same packets against a server that only sends them back.
fn echo_trips(server: &ServerLab, packets: &Packets) -> Result<Value, Fail> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let socket = exchange_socket(&server.veth, PORT + 1)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let thread = thread::spawn(move || -> Result<(), Fail> {
        pin_to(OTHER)?;
        let mut bytes = [0; 2048];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                socket.send_to(&bytes[..len], from)?;
            }
        }
        Ok(())
    });
    let venue = SocketAddrV4::new(server.veth.exchange_address, PORT + 1);
    let client = trader_socket(&server.veth, venue.into())?;
    client.set_nonblocking(true)?;
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("bounds in order");
    let mut bytes = [0; 2048];
    for index in 0..ROUND_TRIPS as usize {
        let begin = Instant::now();
        client.send(packets.get(index % packets.len()))?;
        while client.recv(&mut bytes).is_err() {
            if begin.elapsed() > Duration::from_secs(1) {
                return Err(Fail::new("the echo server did not answer for a second"));
            }
        }
        histogram.saturating_record(begin.elapsed().as_nanos() as u64);
    }
    stop.store(true, Ordering::Relaxed);
    let panicked = |_| Fail::new("the echo server's thread panicked; its text is above");
    thread.join().map_err(panicked)??;
    Ok(percentiles(&histogram))
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

/// The UDP ring behind a pair of its own, without a program on it.
struct ServerLab {
    shard: UserShard,
    veth: ring0_lab::Veth,
}

impl ServerLab {
    fn up(
        capacity: &ring0_engine::Capacity,
        controls: &[Control],
        keys: &[Option<[u8; 16]>],
    ) -> Result<ServerLab, Fail> {
        let veth = veth_up()?;
        let port =
            UdpPort::new(exchange_socket(&veth, PORT)?).map_err(ring0_rings::RingError::from)?;
        let options = UserOptions {
            capacity: *capacity,
            record_slots: RECORD_SLOTS.into(),
            record_ring: None,
            acks: Acks::Matched,
            processor: Some(OTHER),
            spin: false,
        };
        let mut shard = UserShard::start(&options, Box::new(port), None)?;
        set_up(shard.command(controls)?)?;
        for (session, key) in (0..).zip(keys) {
            shard.set_key(session, key.as_ref())?;
        }
        Ok(ServerLab { shard, veth })
    }

    fn trader_socket(&self) -> Result<UdpSocket, Fail> {
        let venue: SocketAddr = SocketAddrV4::new(self.veth.exchange_address, PORT).into();
        Ok(trader_socket(&self.veth, venue)?)
    }

    /// Ends it; what it did.
    fn stop(mut self) -> Result<Value, Fail> {
        let counters = self.shard.counters()?;
        let report = json!({
            "counters": counted(&vec![0; counters.len()], &counters),
            "port_counters": self.shard.port_counters().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "record_slots": self.shard.tail(),
            "state_hash": self.shard.state_hash()?.to_string(),
        });
        self.shard.shard().check();
        Ok(report)
    }
}

fn exchange_socket(veth: &ring0_lab::Veth, port: u16) -> Result<UdpSocket, Fail> {
    let address = veth.exchange_address;
    Ok(veth.in_exchange(|| UdpSocket::bind((address, port)))??)
}
