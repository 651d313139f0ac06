//! A scene in the native engine and in the kernel, in turn: what is timed, and that all states are one.

use super::in_kernel::InKernel;
use super::in_process::InProcess;
use super::script::{Part, Script, Stage, cut};
use super::tally::Tally;
use super::{Play, Prepared, Unit};
use crate::clock::{Clock, Times, percentiles};
use crate::fail::BenchError;
use crate::native::RECORD_SLOTS;
use crate::peers::{Lobster, Obcore, Peer};
use crate::rounds::{Measured, median};
use ring0_drive::{DriveError, MemoryRing, Packets, rand_key};
use ring0_engine::control::Control;
use ring0_engine::native::{Native, Tape};
use ring0_engine::record::Outcome;
use ring0_engine::reference::Reference;
use ring0_engine::replay::{Replayer, Tail, Target};
use ring0_engine::{Reason, Shard};
use ring0_wire::{Key, MESSAGES_MAX};
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::time::Instant;

/// Messages up to which the naive reference book goes along: it is some ten times as slow, more in an auction.
const REFERENCE_MAX: u64 = 20_000;
/// Packets between two reads of a run whose records are all looked at: a run takes some 3,000 slots at the most, so none is written over.
const PACKETS_PER_READ: usize = 128;

/// What is timed.
const NATIVE: &str =
    "full packets without a tag, as the other flows; continuation steps by heartbeats";
const KERNEL: &str = "the same packets and heartbeats, one a test-run, the program's own time; commands by doorbell, not timed";

/// A shard that a script is carried to.
pub(super) trait Carrier {
    /// Its name in errors.
    const NAME: &'static str;

    /// Carries packets out; nanoseconds.
    fn packets(&mut self, packets: &Packets, range: Range<usize>) -> Result<f64, BenchError>;
    /// Carries one out; in the unit of its clock.
    fn one(&mut self, packets: &Packets, index: usize) -> Result<u64, BenchError>;
    /// Commands behind `index` packets.
    fn control(&mut self, controls: &[Control], index: usize) -> Result<(), BenchError>;
    /// The shard.
    fn shard(&self) -> Shard<'_>;
}

/// Whether every command was accepted, or begun.
pub(super) fn accepted(results: Vec<(Outcome, Reason)>) -> Result<(), BenchError> {
    let refused = |(outcome, _): &(Outcome, Reason)| *outcome == Outcome::Rejected;
    match results.iter().position(refused) {
        Some(at) => Err(BenchError::Drive(DriveError::SetUp {
            at,
            reason: results[at].1.name(),
        })),
        None => Ok(()),
    }
}

/// Time of a round by part, in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Spent {
    messages: f64,
    steps: f64,
    prices: f64,
    prices_count: u32,
}

/// Goes through a script; `run` carries packets out and gives nanoseconds.
fn play_through<C: Carrier>(
    carrier: &mut C,
    script: &Script,
    mut run: impl FnMut(&mut C, Part, Range<usize>) -> Result<f64, BenchError>,
) -> Result<Spent, BenchError> {
    let (mut spent, mut index) = (Spent::default(), 0);
    for stage in &script.stages {
        match stage {
            Stage::Packets(part, range) => {
                let took = run(carrier, *part, range.clone())?;
                index = range.end;
                match part {
                    Part::Untimed => (),
                    Part::Messages => spent.messages += took,
                    Part::Steps => spent.steps += took,
                }
            }
            Stage::Controls(controls) => carrier.control(controls, index)?,
            Stage::Price(expected) => {
                let begin = Instant::now();
                let found = carrier.shard().equilibrium(0);
                spent.prices += begin.elapsed().as_nanos() as f64;
                spent.prices_count += 1;
                let found = found.map_or(0, |found| found.price);
                if found != *expected {
                    return Err(BenchError::Disagreed {
                        engine: C::NAME,
                        flow: "auction", // no other flow has prices
                        what: format!("price {found}, not {expected}"),
                    });
                }
            }
        }
    }
    Ok(spent)
}

/// One round with a fresh shard.
fn round<C: Carrier>(mut carrier: C, script: &Script) -> Result<Spent, BenchError> {
    play_through(&mut carrier, script, |carrier, _, range| {
        carrier.packets(&script.packets, range)
    })
}

/// The time of each packet of one message, and of each heartbeat with its steps.
fn latencies<C: Carrier>(mut carrier: C, script: &Script) -> Result<(Times, Times), BenchError> {
    let (mut messages, mut steps) = (Times::new(), Times::new());
    play_through(&mut carrier, script, |carrier, part, range| {
        for index in range {
            let took = carrier.one(&script.packets, index)?;
            match part {
                Part::Untimed => (),
                Part::Messages => messages.add(took),
                Part::Steps => steps.add(took),
            }
        }
        Ok(0.0)
    })?;
    Ok((messages, steps))
}

/// What a run with all records read came to.
struct Checked {
    tally: Tally,
    state_hash: String,
    referenced: bool,
}

/// Goes through a script once, untimed, and reads every record. The trades are the generator's. What the records say, carried out
/// anew, ends in the same state: in the native engine, and where there are few messages in the naive reference book.
fn check<C: Carrier>(
    flow: &Prepared,
    mut carrier: C,
    script: &Script,
    engine: &'static str,
    mut records: impl FnMut(&mut C) -> Result<Vec<u8>, BenchError>,
) -> Result<Checked, BenchError> {
    let play = &flow.play;
    let wrong = |what: String| BenchError::Disagreed {
        engine,
        flow: flow.name,
        what,
    };
    let capacity = play.capacity()?;
    let mut tally = Tally::default();
    let mut native = Replay::new(Native::<Tape>::new(&capacity)?);
    let mut reference =
        (play.messages <= REFERENCE_MAX).then(|| Replay::new(Reference::new(capacity)));
    let mut look = |carrier: &mut C| {
        let records = records(carrier)?;
        tally.records(&records);
        native.feed(&records).map_err(wrong)?;
        native.target.take_records(); // they are not looked at, and there are many
        if let Some(reference) = &mut reference {
            reference.feed(&records).map_err(wrong)?;
            reference.target.take_records();
        }
        Ok::<_, BenchError>(())
    };
    look(&mut carrier)?;
    play_through(&mut carrier, script, |carrier, _, range| {
        for from in range.clone().step_by(PACKETS_PER_READ) {
            let to = range.end.min(from + PACKETS_PER_READ);
            carrier.packets(&script.packets, from..to)?;
            look(carrier)?;
        }
        Ok(0.0)
    })?;
    look(&mut carrier)?;
    if let Some((reference, reason)) = tally.refused {
        return Err(wrong(format!(
            "reference {reference} was refused: {reason}"
        )));
    }
    let expected = &play.expected;
    let found = (tally.trades, tally.quantity, tally.triggered);
    let wanted = (
        expected.trades.unwrap_or(tally.trades),
        expected.quantity,
        expected.triggered,
    );
    if found != wanted {
        return Err(wrong(format!(
            "trades, lots, triggered stops: {found:?}, not {wanted:?}"
        )));
    }
    let hash = carrier.shard().state_hash().to_string();
    let same = |name: &str, other: String| match other == hash {
        true => Ok(()),
        false => Err(wrong(format!("its state is {hash}, the {name}'s {other}"))),
    };
    let native = native.finish().map_err(wrong)?;
    same("native engine", native.shard().state_hash().to_string())?;
    let referenced = reference.is_some();
    if let Some(reference) = reference {
        let reference = reference.finish().map_err(wrong)?;
        same("reference book", reference.state_hash().to_string())?;
    }
    Ok(Checked {
        tally,
        state_hash: hash,
        referenced,
    })
}

/// An empty shard that carries out records anew.
struct Replay<T> {
    replayer: Replayer,
    target: T,
}

impl<T: Target> Replay<T> {
    fn new(target: T) -> Replay<T> {
        Replay {
            replayer: Replayer::new(&target, None),
            target,
        }
    }

    fn feed(&mut self, records: &[u8]) -> Result<(), String> {
        let fed = self.replayer.feed(records, &mut self.target);
        fed.map_err(|error| format!("its records cannot be carried out anew: {error}"))
    }

    fn finish(self) -> Result<T, String> {
        match self.replayer.finish(&self.target) {
            Tail::Clean => Ok(self.target),
            tail => Err(format!("its records end early: {tail:?}")),
        }
    }
}

/// An engine on one scene.
struct Engine<'a> {
    name: &'static str,
    timed: &'static str,
    script: &'a Script,
    checked: Checked,
    verifier: Option<Value>,
    round: Box<dyn Fn() -> Result<Spent, BenchError> + 'a>,
    /// Percentiles of packets of one message, and of heartbeats.
    latencies: Box<dyn Fn() -> Result<(Value, Value), BenchError> + 'a>,
    rounds: Vec<Spent>,
}

/// Measures the native engine and the kernel if its name begins with `wanted`.
pub(crate) fn measure(
    flow: &Prepared,
    rounds: u32,
    clock: &Clock,
    wanted: &str,
) -> Result<Measured, BenchError> {
    let bytes = rand_key();
    let key = Key::from_bytes(&bytes);
    let play = &flow.play;
    let plain = cut(play, MESSAGES_MAX, None)?;
    let signed = cut(play, MESSAGES_MAX, Some(&key))?;
    let mut rows_without = Vec::new();
    let mut engines = vec![native(flow, &plain, clock)?];
    for (name, script, key) in [
        ("kernel, tag off", &plain, None),
        ("kernel, tag on", &signed, Some(&bytes)),
    ] {
        if !name.starts_with(wanted) {
            continue;
        }
        match kernel(flow, name, script, key) {
            Ok(engine) => engines.push(engine),
            Err(error) => match error.no_kernel() {
                Some(why) => rows_without.push(json!({
                    "flow": flow.name, "engine": name, "skipped": why,
                })),
                None => return Err(error),
            },
        }
    }
    for peer in [Lobster::NAME, Obcore::NAME] {
        if peer.starts_with(wanted) {
            let why = "it has neither auctions nor self-trade prevention nor stops";
            rows_without.push(json!({ "flow": flow.name, "engine": peer, "skipped": why }));
        }
    }
    for _ in 0..rounds {
        for engine in &mut engines {
            let spent = (engine.round)()?;
            engine.rounds.push(spent);
        }
    }
    let mut rows = Vec::new();
    let mut ratios = Map::new();
    let ours = figures(play, &engines[0]);
    for engine in &engines {
        rows.push(row(flow, engine)?);
        if engine.name != "native" {
            for (name, each) in figures(play, engine) {
                let title = match name {
                    "ns_per_message" => engine.name.into(),
                    _ => format!("{}, {name}", engine.name),
                };
                if let Some((_, native)) = ours.iter().find(|(of, _)| *of == name) {
                    ratios.insert(title, json!(median(&each) / median(native)));
                }
            }
        }
    }
    rows.extend(rows_without);
    Ok(Measured {
        rows,
        ratios: Value::Object(ratios),
        memory: Value::Null,
    })
}

fn native<'a>(
    flow: &'a Prepared,
    script: &'a Script,
    clock: &'a Clock,
) -> Result<Engine<'a>, BenchError> {
    let play = &flow.play;
    let carrier = InProcess::up(play, Tape::default())?;
    let checked = check(flow, carrier, script, "native", |carrier| {
        Ok(carrier.records())
    })?;
    let fresh = || InProcess::up(play, MemoryRing::new(RECORD_SLOTS));
    Ok(Engine {
        name: "native",
        timed: NATIVE,
        script,
        checked,
        verifier: None,
        round: Box::new(move || round(fresh()?, script)),
        latencies: Box::new(move || {
            let (messages, steps) = latencies(fresh()?, &cut(play, 1, None)?)?;
            Ok((clock.percentiles(&messages), clock.percentiles(&steps)))
        }),
        rounds: Vec::new(),
    })
}

fn kernel<'a>(
    flow: &'a Prepared,
    name: &'static str,
    script: &'a Script,
    key: Option<&'a [u8; 16]>,
) -> Result<Engine<'a>, BenchError> {
    let play = &flow.play;
    let carrier = InKernel::up(play, key)?;
    let verifier = Some(carrier.verifier());
    let checked = check(flow, carrier, script, name, InKernel::records)?;
    Ok(Engine {
        name,
        timed: KERNEL,
        script,
        checked,
        verifier,
        round: Box::new(move || round(InKernel::up(play, key)?, script)),
        latencies: Box::new(move || {
            let single = cut(play, 1, key.map(Key::from_bytes).as_ref())?;
            let (messages, steps) = latencies(InKernel::up(play, key)?, &single)?;
            Ok((percentiles(&messages.0, 1.0), percentiles(&steps.0, 1.0)))
        }),
        rounds: Vec::new(),
    })
}

/// The figures of a scene, each with its value of every round.
fn figures(play: &Play, engine: &Engine<'_>) -> Vec<(&'static str, Vec<f64>)> {
    let each = |of: &dyn Fn(&Spent) -> f64| engine.rounds.iter().map(of).collect::<Vec<_>>();
    let messages = play.messages.max(1) as f64;
    let with_steps = f64::from(u8::from(play.steps_in_messages));
    let mut figures = vec![(
        "ns_per_message",
        each(&|spent| (spent.messages + spent.steps * with_steps) / messages),
    )];
    let count = play.unit.count(&engine.checked.tally);
    if count > 0 {
        let per_unit = each(&|spent| spent.steps / count as f64);
        figures.push((play.unit.figure(), per_unit));
    }
    if engine.rounds.iter().any(|spent| spent.prices_count > 0) {
        let per_price = each(&|spent| spent.prices / f64::from(spent.prices_count.max(1)));
        figures.push(("ns_per_price", per_price));
    }
    figures
}

fn row(flow: &Prepared, engine: &Engine<'_>) -> Result<Value, BenchError> {
    let play = &flow.play;
    let (tally, script) = (&engine.checked.tally, engine.script);
    let (single_message, heartbeat) = (engine.latencies)()?;
    let mut row = json!({
        "flow": flow.name,
        "engine": engine.name,
        "timed": engine.timed,
        "single_message": single_message,
        "trades": tally.trades,
        "quantity": tally.quantity,
        "expected_trades": play.expected.trades,
        "expected_quantity": play.expected.quantity,
        "expected_match": true, // else there were an error
        "same_state": match engine.checked.referenced {
            true => "native replay and reference book",
            false => "native replay",
        },
        "state_hash": engine.checked.state_hash,
        "steps": tally.steps,
        "messages_per_packet":
            play.messages as f64 / script.packets_of(Part::Messages).max(1) as f64,
    });
    for (name, each) in figures(play, engine) {
        row[name] = json!(median(&each));
        row[format!("rounds_{name}")] = json!(each);
    }
    if script.packets_of(Part::Steps) > 0 {
        row["heartbeat_with_steps"] = heartbeat;
    }
    match play.unit {
        Unit::Crossed => row["crossed"] = json!(tally.crossed),
        Unit::Triggered => {
            row["triggered"] = json!(tally.triggered);
            row["cascades"] = json!(play.settles());
        }
        Unit::None => row["prevented"] = json!(tally.prevented),
    }
    if let Some(verifier) = &engine.verifier {
        row["verifier"] = verifier.clone();
    }
    Ok(row)
}
