//! A record is enough: replayed into an empty engine or reference it gives the same records and the same state, whether it is
//! read in one piece or in many; cut or damaged anywhere it is reported and never panicked upon.
#![cfg(feature = "std")]

mod tape;

use ring0_engine::flow::{Flow, Input, Options};
use ring0_engine::native::Native;
use ring0_engine::reference::Reference;
use ring0_engine::replay::{ReplayError, Replayer, Tail};
use tape::{Record, records};

/// A run of so many inputs: its records, and the shard that wrote them.
fn recorded(seed: u64, inputs: u32) -> (Vec<u8>, Native) {
    let mut flow = Flow::new(seed, Options::default());
    let mut native = Native::new(&Flow::capacity()).expect("memory for a small shard");
    let setup = flow.setup();
    let mut records = tape::drive(&mut flow, &mut native, &Input::Control(setup)).records;
    for _ in 0..inputs {
        let input = flow.next_input();
        records.extend(tape::drive(&mut flow, &mut native, &input).records);
    }
    (records, native)
}

fn empty() -> Native {
    Native::new(&Flow::capacity()).expect("memory for a small shard")
}

/// Numbers for cuts and damage, from the seed.
fn number(state: &mut u64, below: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

#[test]
fn a_replay_is_the_same_run() {
    let seed = tape::seed();
    let (tape, native) = recorded(seed, 12_000);
    let hash = native.shard().state_hash();

    let mut again = empty();
    let mut replayer = Replayer::new(&again, None);
    replayer.feed(&tape, &mut again).unwrap();
    assert_eq!(replayer.finish(&again), Tail::Clean);
    assert!(
        again.take_records() == tape,
        "RING0_SEED={seed}: records of the replay"
    );
    assert_eq!(again.shard().state_hash(), hash);

    let mut reference = Reference::new(Flow::capacity());
    let mut replayer = Replayer::new(&reference, None);
    let (mut state, mut rest) = (seed, tape.as_slice());
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(number(&mut state, 300).min(rest.len()));
        replayer.feed(piece, &mut reference).unwrap();
        rest = later;
    }
    assert_eq!(replayer.finish(&reference), Tail::Clean);
    assert!(
        reference.take_records() == tape,
        "RING0_SEED={seed}: records of the reference's replay"
    );
    assert_eq!(reference.state_hash(), hash);
}

#[test]
fn a_replay_goes_on_from_where_the_target_stands() {
    let seed = tape::seed();
    let (tape, native) = recorded(seed, 3_000);
    // Between two records that begin a run of commands: behind the last record of the setup.
    let mut again = empty();
    let mut first = Replayer::new(&again, None);
    let at = records(&tape)
        .take_while(|record| !matches!(record, Record::Message(_) | Record::Step(_)))
        .map(|record| usize::from(record.head().slots) * 64)
        .sum::<usize>();
    first.feed(&tape[..at], &mut again).unwrap();
    assert_eq!(first.finish(&again), Tail::Clean);
    let mut second = Replayer::new(&again, None);
    second.feed(&tape[at..], &mut again).unwrap();
    assert_eq!(second.finish(&again), Tail::Clean);
    assert_eq!(again.shard().state_hash(), native.shard().state_hash());
    // From the wrong place it does not begin.
    let mut third = Replayer::new(&again, None);
    let gap = third.feed(&tape, &mut again);
    assert!(
        matches!(gap, Err(ReplayError::Gap { found: 1, .. })),
        "{gap:?}"
    );
}

/// Cuts between a step or a control command and its events, which random ones seldom meet: at most 20.
fn before_lone_events(tape: &[u8]) -> Vec<usize> {
    let (mut at, mut lone, mut cuts) = (0, false, Vec::new());
    for record in records(tape) {
        let slots = match record {
            Record::Message(_) => {
                lone = false;
                2
            }
            Record::Control(_) => {
                lone = true;
                2
            }
            Record::Step(_) => {
                lone = true;
                1
            }
            _ => {
                if lone && cuts.len() < 20 {
                    cuts.push(at);
                }
                1
            }
        };
        at += slots * 64;
    }
    cuts
}

#[test]
fn a_torn_record_is_reported() {
    let seed = tape::seed();
    let (tape, _) = recorded(seed, 2000);
    let mut state = seed;
    let mut seen = [0; 4];
    let random: Vec<usize> = (0..400)
        .map(|turn| match turn % 3 {
            0 => number(&mut state, tape.len()),
            _ => number(&mut state, tape.len() / 64) * 64,
        })
        .collect();
    let ends = [0, tape.len()];
    for cut in random
        .into_iter()
        .chain(before_lone_events(&tape))
        .chain(ends)
    {
        let mut again = empty();
        let mut replayer = Replayer::new(&again, None);
        replayer.feed(&tape[..cut], &mut again).unwrap();
        let tail = replayer.finish(&again);
        let done = again.take_records();
        assert!(
            tape.starts_with(&done),
            "RING0_SEED={seed} cut {cut}: what was carried out is as recorded"
        );
        match tail {
            Tail::Clean => {
                seen[0] += 1;
                assert_eq!(done.len(), cut);
            }
            Tail::TornRecord { bytes } => {
                seen[1] += 1;
                assert!(bytes > 0 && bytes < 128 && bytes <= cut);
            }
            Tail::TornPacket {
                messages, count, ..
            } => {
                seen[2] += 1;
                assert!(messages < count && done.len() < cut);
            }
            Tail::TornEvents { missing } => {
                seen[3] += 1;
                assert_eq!(done.len() - cut, missing as usize * 64);
            }
            Tail::Faulted { .. } => panic!("no fault was named"),
        }
        again.shard().check();
    }
    println!("clean, torn record, torn packet, torn events: {seen:?}");
    assert!(
        seen.iter().all(|&times| times > 0),
        "RING0_SEED={seed}: every end was seen, {seen:?}"
    );
}

#[test]
fn a_fault_ends_the_replay() {
    let seed = tape::seed();
    let (tape, _) = recorded(seed, 400);
    for record in records(&tape).step_by(7) {
        let (sequence, messages) = match record {
            Record::Message(message) => (message.head.sequence, message.index),
            Record::Step(step) => (step.head.sequence, 0),
            Record::Control(control) => (control.head.sequence, 0),
            _ => continue,
        };
        let mut again = empty();
        let mut replayer = Replayer::new(&again, Some(sequence));
        replayer.feed(&tape, &mut again).unwrap();
        assert_eq!(
            replayer.finish(&again),
            Tail::Faulted { sequence, messages }
        );
        let done = again.take_records();
        assert!(tape.starts_with(&done));
        assert!(again.shard().header().next_sequence.get() <= sequence);
    }
}

#[test]
fn a_damaged_record_is_reported() {
    let seed = tape::seed();
    let (tape, _) = recorded(seed, 150);
    let mut state = seed;
    let mut errors = 0;
    for _ in 0..1_000 {
        let mut damaged = tape.clone();
        let at = number(&mut state, damaged.len());
        damaged[at] ^= 1 << number(&mut state, 8);
        let mut again = empty();
        let mut replayer = Replayer::new(&again, None);
        if let Err(error) = replayer.feed(&damaged, &mut again) {
            assert!(!error.to_string().is_empty());
            errors += 1;
        }
        let _ = replayer.finish(&again);
        again.shard().check();
    }
    println!("{errors} of 1000 damaged records were refused; the others replay to something else");
    assert!(errors > 0);
}
