//! All engines on one flow, in turn.

use crate::clock::{Clock, Times, percentiles};
use crate::fail::BenchError;
use crate::flows::{Packed, Prepared};
use crate::peers::{Lobster, Obcore, Peer};
use crate::{kernel, native, peers};
use ring0_drive::rand_key;
use ring0_stream::lobstrm::Trades;
use ring0_wire::Key;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// An engine whose untimed run takes longer has one round, so that the bench ends within minutes: at a million messages this is above ten
/// microseconds a message, where a median of five says nothing new.
const SLOW: Duration = Duration::from_secs(12);

/// What came of a flow.
pub(crate) struct Measured {
    /// One object an engine.
    pub(crate) rows: Vec<Value>,
    /// By engine: its time over the native engine's.
    pub(crate) ratios: Value,
    /// What a resting order takes.
    pub(crate) memory: Value,
}

/// One engine on one flow.
struct Engine<'a> {
    name: &'static str,
    timed: &'static str,
    messages_per_packet: Option<f64>,
    trades: Trades,
    state_hash: Option<String>,
    /// One round; nanoseconds.
    round: Box<dyn Fn() -> Result<f64, BenchError> + 'a>,
    /// Times of single messages and the unit they are in.
    latencies: Box<dyn Fn() -> Result<Value, BenchError> + 'a>,
    /// What the verifier said, of the kernel program.
    verifier: Option<Value>,
    rounds: Vec<f64>,
    /// Whether one round has to do.
    slow: bool,
}

/// Packets of the flow without and with tags.
struct Sent {
    plain: Packed,
    signed: Packed,
    key: [u8; 16],
}

/// Measures the native engine and every other one whose name begins with `wanted`.
pub(crate) fn measure(
    flow: &Prepared,
    rounds: u32,
    clock: &Clock,
    wanted: &str,
) -> Result<Measured, BenchError> {
    let key = rand_key();
    let sent = Sent {
        plain: flow.full(None),
        signed: flow.full(Some(&Key::from_bytes(&key))),
        key,
    };
    let checked = native::check(flow, &sent.plain)?;
    let mut engines = vec![Engine {
        name: "native",
        timed: native::TIMED,
        messages_per_packet: Some(sent.plain.messages_per_packet(flow)),
        trades: checked.trades,
        state_hash: Some(checked.state_hash),
        round: Box::new(|| native::round(flow, &sent.plain)),
        latencies: Box::new(|| Ok(clock.percentiles(&native::latencies(flow)?))),
        verifier: None,
        rounds: Vec::new(),
        slow: false,
    }];
    let mut rows_without = Vec::new();
    for (name, packed, key) in [
        ("kernel, tag off", &sent.plain, None),
        ("kernel, tag on", &sent.signed, Some(&sent.key)),
    ] {
        if !name.starts_with(wanted) {
            continue;
        }
        match in_kernel(flow, name, packed, key) {
            Ok(engine) => engines.push(engine),
            Err(error) => match error.no_kernel() {
                Some(why) => rows_without.push(json!({
                    "flow": flow.name, "engine": name, "skipped": why,
                })),
                None => return Err(error),
            },
        }
    }
    for peer in [
        wants::<Lobster>(wanted).then(|| peer::<Lobster>(flow, clock)),
        wants::<Obcore>(wanted).then(|| peer::<Obcore>(flow, clock)),
    ]
    .into_iter()
    .flatten()
    {
        match peer {
            Ok(engine) => engines.push(engine),
            Err(row) => rows_without.push(row),
        }
    }
    for round in 0..rounds {
        for engine in &mut engines {
            if engine.slow && round > 0 {
                continue;
            }
            let took = (engine.round)()?;
            engine.rounds.push(took);
        }
    }
    let mut rows = Vec::new();
    let mut ratios = Map::new();
    let messages = flow.stream.timed().len().max(1) as f64;
    let ours = median(&engines[0].rounds);
    for engine in &engines {
        rows.push(row(flow, engine, messages)?);
        // A peer that trades other orders does other work: its time is shown, but compared with nothing.
        if engine.name != "native" && engine.trades == flow.stream.header().expected() {
            ratios.insert(engine.name.into(), json!(median(&engine.rounds) / ours));
        }
    }
    rows.extend(rows_without);
    Ok(Measured {
        rows,
        ratios: Value::Object(ratios),
        memory: checked.memory,
    })
}

fn in_kernel<'a>(
    flow: &'a Prepared,
    name: &'static str,
    packed: &'a Packed,
    key: Option<&'a [u8; 16]>,
) -> Result<Engine<'a>, BenchError> {
    let (trades, verifier) = kernel::check(flow, packed, key, name)?;
    Ok(Engine {
        name,
        timed: kernel::TIMED,
        messages_per_packet: Some(packed.messages_per_packet(flow)),
        trades,
        state_hash: None,
        round: Box::new(move || kernel::round(flow, packed, key)),
        latencies: Box::new(move || {
            let Times(nanoseconds) = kernel::latencies(flow, key)?;
            Ok(percentiles(&nanoseconds, 1.0))
        }),
        verifier: Some(verifier),
        rounds: Vec::new(),
        slow: false,
    })
}

fn wants<P: Peer>(wanted: &str) -> bool {
    P::NAME.starts_with(wanted)
}

/// A peer, or the row that says why it has none.
fn peer<'a, P: Peer + 'a>(flow: &'a Prepared, clock: &'a Clock) -> Result<Engine<'a>, Value> {
    if !P::carries_out(flow) {
        let why = "it has nothing that this flow asks for";
        return Err(json!({ "flow": flow.name, "engine": P::NAME, "skipped": why }));
    }
    let begin = Instant::now();
    let trades = peers::check::<P>(flow);
    let slow = begin.elapsed() > SLOW;
    Ok(Engine {
        name: P::NAME,
        timed: peers::TIMED,
        messages_per_packet: None,
        trades,
        state_hash: None,
        round: Box::new(|| Ok(peers::round::<P>(flow))),
        latencies: Box::new(|| Ok(clock.percentiles(&peers::latencies::<P>(flow)))),
        verifier: None,
        rounds: Vec::new(),
        slow,
    })
}

fn row(flow: &Prepared, engine: &Engine<'_>, messages: f64) -> Result<Value, BenchError> {
    let expected = flow.stream.header().expected();
    let each: Vec<f64> = engine.rounds.iter().map(|took| took / messages).collect();
    let mut row = json!({
        "flow": flow.name,
        "engine": engine.name,
        "timed": engine.timed,
        "ns_per_message": median(&each),
        "rounds_ns_per_message": each,
        "single_message": (engine.latencies)()?,
        "trades": engine.trades.count,
        "quantity": engine.trades.qty,
        "checksum": format!("{:#018x}", engine.trades.checksum),
        "expected_trades": expected.count,
        "expected_match": engine.trades == expected,
    });
    if let Some(messages) = engine.messages_per_packet {
        row["messages_per_packet"] = json!(messages);
    }
    if let Some(hash) = &engine.state_hash {
        row["state_hash"] = json!(hash);
    }
    if let Some(verifier) = &engine.verifier {
        row["verifier"] = verifier.clone();
    }
    Ok(row)
}

/// The middle one.
pub(crate) fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
