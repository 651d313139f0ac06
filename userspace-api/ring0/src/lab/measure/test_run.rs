//! Tier (a): what the program takes in the kernel, by test-run, one run a packet, its own clock.
//!
//! Stages lie in each other: each run goes up to its stage and ends there, because what comes next refuses the packet; the differences are the costs.

use super::figure;
use crate::bench::rings::{CLIENT, RECORD_SLOTS, SetUp, go_on, median};
use crate::fail::Fail;
use crate::lab::progress::Progress;
use crate::lab::venue::Signed;
use hdrhistogram::Histogram;
use ring0_drive::{Packets, WireLab, XDP_TX, set_up};
use ring0_laboratory::scenario::TestRun;
use ring0_rings::{KernelShard, Live, pin_to};
use ring0_wire::host::{Inbound, Request};
use ring0_wire::{Flags, HEADER};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// XDP's verdicts on a packet that gets no answer, and on one that is not ours.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
/// Packets that go through each stage before the next: their answers are still stored when they come again.
const CHUNK: usize = 32;
/// Place of the UDP destination port in a frame.
const PORT: usize = 36;

/// A stage: its name, what is done to a frame to end there, and the verdict that says it did.
struct Stage {
    name: &'static str,
    what: &'static str,
    change: fn(&mut Vec<u8>),
    verdict: u32,
}

/// In the order of the program. `whole` comes before `stored_answer`, which is its duplicate.
const STAGES: [Stage; 5] = [
    Stage {
        name: "frame",
        what: "headers: not this shard's port",
        change: |frame| frame[PORT + 1] ^= 1,
        verdict: XDP_PASS,
    },
    Stage {
        name: "parse",
        what: "copied and parsed, session looked up: not granted",
        change: |frame| frame[ring0_rings::HEADERS + 9] ^= 1,
        verdict: XDP_DROP,
    },
    Stage {
        name: "tag",
        what: "tag computed: wrong",
        change: |frame| *frame.last_mut().expect("a tag") ^= 1,
        verdict: XDP_DROP,
    },
    Stage {
        name: "whole",
        what: "matched, recorded, answered",
        change: |_| {},
        verdict: XDP_TX,
    },
    Stage {
        name: "stored_answer",
        what: "a duplicate: the stored answer with its tag",
        change: |_| {},
        verdict: XDP_TX,
    },
];

/// Measures; `packets` are those of the flow, the prefill first.
pub(in crate::lab) fn run(
    plan: &TestRun,
    rounds: u32,
    signed: &Signed,
    with: &SetUp<'_>,
    stop: &AtomicBool,
) -> Result<Value, Fail> {
    let mut lab = WireLab::up_with(&with.capacity, RECORD_SLOTS, with.wire)?;
    set_up(lab.shard.command(with.controls)?)?;
    for (session, key) in (0..).zip(with.keys) {
        lab.shard.set_key(session, key.as_ref())?;
    }
    pin_to(CLIENT)?;
    let packets = &signed.packets;
    let each = plan.packets as usize;
    let last = signed.prefill + each * rounds as usize;
    if packets.len() < last {
        return Err(Fail::new(format!(
            "[test_run] needs {last} packets and the flow has {}: let the file repeat, or ask for fewer",
            packets.len()
        )));
    }
    let progress = Progress::new(last as u64);
    progress.say("test-run");
    for at in 0..signed.prefill {
        run_one(&mut lab.shard, packets, at, &STAGES[3])?;
        if at.is_multiple_of(1_024) {
            go_on(stop)?;
            progress.at(at as u64);
        }
    }
    let mut stages = vec![Vec::new(); STAGES.len()];
    let mut operations = BTreeMap::<String, Operation>::new();
    let mut messages = 0;
    for round in 0..rounds as usize {
        let mut times = vec![Vec::with_capacity(each); STAGES.len()];
        let mut by_operation = BTreeMap::<String, Vec<f64>>::new();
        let begin = signed.prefill + round * each;
        for chunk in (begin..begin + each).step_by(CHUNK) {
            go_on(stop)?;
            progress.at(chunk as u64);
            let end = (chunk + CHUNK).min(begin + each);
            for (stage, times) in STAGES.iter().zip(&mut times) {
                for at in chunk..end {
                    let (took, answer) = run_one(&mut lab.shard, packets, at, stage)?;
                    times.push(took);
                    if stage.name == "whole" && packets.messages(at) == 1 {
                        let name = operation(packets.get(at), &answer);
                        by_operation.entry(name).or_default().push(took);
                    }
                }
            }
            messages += (chunk..end).map(|at| packets.messages(at)).sum::<u64>();
        }
        for (rounds, times) in stages.iter_mut().zip(&times) {
            rounds.push(median(times));
        }
        for (name, times) in by_operation {
            let all = operations.entry(name).or_default();
            all.rounds.push(median(&times));
            for took in times {
                all.took.saturating_record(took as u64);
            }
        }
    }
    lab.shard.shard().check();
    let per_packet = messages as f64 / (each * rounds as usize) as f64;
    Ok(report(&stages, operations, per_packet))
}

/// One kind of message.
struct Operation {
    rounds: Vec<f64>,
    took: Histogram<u64>,
}

impl Default for Operation {
    fn default() -> Self {
        Operation {
            rounds: Vec::new(),
            took: crate::bench::pump::latencies(),
        }
    }
}

/// Runs a packet up to a stage: nanoseconds, and the answer's payload where there is one.
fn run_one(
    shard: &mut KernelShard,
    packets: &Packets,
    at: usize,
    stage: &Stage,
) -> Result<(f64, Vec<u8>), Fail> {
    let mut frame = shard.frame(packets.get(at));
    (stage.change)(&mut frame);
    let ran = shard.run_frame(&frame)?;
    if ran.verdict != stage.verdict {
        return Err(Fail::disagreed(format!(
            "stage {}, packet {at}: verdict {} where {} was due",
            stage.name, ran.verdict, stage.verdict
        )));
    }
    let answer = match ran.verdict {
        XDP_TX => ran.frame[ring0_rings::HEADERS..].to_vec(),
        _ => Vec::new(),
    };
    Ok((f64::from(ran.duration_ns), answer))
}

/// What a packet of one message did.
fn operation(payload: &[u8], answer: &[u8]) -> String {
    let request = Request::read(payload).expect("a packet of ours");
    let what = match request.messages.first() {
        Some(Inbound::Enter(it)) if Flags(it.tracking.get()).is_immediate() => "enter, immediate",
        Some(Inbound::Enter(_)) => "enter",
        Some(Inbound::EnterSub(_) | Inbound::EnterExtended(_)) => "enter, extended",
        Some(Inbound::Replace(_)) => "replace",
        Some(Inbound::Reduce(_)) => "reduce",
        Some(Inbound::Cancel(_)) => "cancel",
        Some(Inbound::MassCancel(_)) => "mass cancel",
        None => "heartbeat",
    };
    let result = answer.get(HEADER + 3).copied();
    let quantity = answer.get(HEADER + 9..HEADER + 13).map_or(0, |bytes| {
        u32::from_be_bytes(bytes.try_into().expect("four bytes"))
    });
    match result {
        Some(b'A') if what.starts_with("enter") && quantity > 0 => format!("{what}, filled"),
        Some(b'A') => what.to_owned(),
        Some(b'R') => format!("{what}, rejected"),
        _ => format!("{what}, other"),
    }
}

fn report(stages: &[Vec<f64>], operations: BTreeMap<String, Operation>, per_packet: f64) -> Value {
    let mut by_stage = Map::new();
    for (stage, rounds) in STAGES.iter().zip(stages) {
        let mut one = figure(rounds, "ns", "lower");
        one["what"] = json!(stage.what);
        by_stage.insert(stage.name.to_owned(), one);
    }
    // Stages as costs: what each adds to the one before it, round by round.
    let between = |above: usize, below: usize| -> Vec<f64> {
        let pairs = stages[above].iter().zip(&stages[below]);
        pairs.map(|(above, below)| above - below).collect()
    };
    let cost = |rounds: Vec<f64>| figure(&rounds, "ns", "lower");
    let costs = json!({
        "headers": cost(stages[0].clone()),
        "copy and parse": cost(between(1, 0)),
        "tag of the request": cost(between(2, 1)),
        "answer and its tag": cost(between(4, 2)),
        "match, hold, record": cost(between(3, 4)),
    });
    let mut by_operation = Map::new();
    for (name, operation) in operations {
        let Operation { rounds, took } = operation;
        let mut one = figure(&rounds, "ns", "lower");
        one["samples"] = json!(took.len());
        one["p99_ns"] = json!(took.value_at_quantile(0.99));
        by_operation.insert(name, one);
    }
    let whole: Vec<f64> = stages[3].iter().map(|it| it / per_packet).collect();
    json!({
        "note": "test-run in the kernel, one run a packet, the program's own time; medians of packets by round, packet and caches as a run finds them; each run reads its clock twice, which is in every figure",
        "messages_per_packet": per_packet,
        "ns_per_message": figure(&whole, "ns", "lower"),
        "stages": by_stage,
        "costs": costs,
        "operations": by_operation,
    })
}
