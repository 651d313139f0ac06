//! Engine against reference: the same random flow through both, equal in every byte of answers and records and in state.
//!
//! A failure prints seed and number of the input: `RING0_SEED=… cargo test --release -p ring0-engine --features std --test differential`
//! has it again, and the inputs up to that number are all that is needed. `RING0_COMMANDS` sets the length of the run.
#![cfg(feature = "std")]

mod tape;

use ring0_engine::Reason;
use ring0_engine::canon::Text;
use ring0_engine::control::{Clock, Control, ControlKind};
use ring0_engine::flow::{Flow, Input, Options, Profile};
use ring0_engine::native::{Dropped, Native};
use ring0_engine::record::Outcome;
use ring0_engine::reference::Reference;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use tape::{Record, records};

/// Inputs between two comparisons of the whole state.
const CHECK_EVERY: u64 = 500;

/// Reasons that no packet or control command of a native run can meet, and why.
const UNREACHABLE: [(Reason, &str); 4] = [
    (Reason::None, "it is no reason"),
    (
        Reason::Busy,
        "the kernel program's answer when another processor holds the shard",
    ),
    (Reason::RingFull, "the tape has no end"),
    (
        Reason::FieldLetter,
        "a packet with such a letter is malformed",
    ),
];

struct Pair {
    seed: u64,
    input: u64,
    commands: u64,
    native: Native,
    reference: Reference,
    reasons: BTreeMap<u8, u64>,
    events: BTreeMap<String, u64>,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let capacity = Flow::capacity();
        Pair {
            seed,
            input: 0,
            commands: 0,
            native: Native::new(&capacity).expect("memory for a small shard"),
            reference: Reference::new(capacity),
            reasons: BTreeMap::new(),
            events: BTreeMap::new(),
        }
    }

    fn setup(&mut self, flow: &mut Flow) {
        let controls = flow.setup();
        let boot_ns = flow.boot_ns();
        self.feed(&Input::Control(controls), boot_ns);
    }

    /// One input through both; the answer, if it was a packet that is answered.
    fn feed(&mut self, input: &Input, boot_ns: u64) -> Option<Vec<u8>> {
        self.input += 1;
        let answer = match input {
            Input::Packet(payload) => match self.native.packet(payload, boot_ns, None) {
                Ok((_, answer)) => {
                    let expected = self.reference.packet(payload, boot_ns);
                    self.same_answers(&answer, &expected);
                    Some(answer)
                }
                Err(Dropped::UnknownSession) => None,
                Err(cause) => panic!("the flow's packets are well-formed: {cause:?}"),
            },
            Input::Control(controls) => {
                let native = self.native.control(controls, boot_ns);
                let reference = self.reference.control(controls, boot_ns);
                self.expect(native == reference, || {
                    format!("control results\nnative    {native:?}\nreference {reference:?}")
                });
                None
            }
            Input::Steps => {
                self.native.steps();
                self.reference.steps();
                None
            }
        };
        self.same_records();
        if self.input.is_multiple_of(CHECK_EVERY) {
            self.same_states();
        }
        answer
    }

    fn expect(&self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            let (mut native, mut reference) = (Text::default(), Text::default());
            self.native.shard().list(&mut native);
            self.reference.list(&mut reference);
            panic!(
                "RING0_SEED={} input {}: {}\nstates\n{}",
                self.seed,
                self.input,
                text(),
                differing_lines(&native.0, &reference.0)
            );
        }
    }

    fn same_answers(&mut self, native: &[u8], reference: &[u8]) {
        for ack in native[20..native.len() - 19].chunks_exact(21) {
            *self.reasons.entry(ack[4]).or_default() += 1;
        }
        let read = |bytes: &[u8]| format!("{:#?}", ring0_wire::host::Answer::read(bytes, None));
        self.expect(native == reference, || {
            format!(
                "answers\n{}",
                differing_lines(&read(native), &read(reference))
            )
        });
    }

    fn same_records(&mut self) {
        let (native, reference) = (self.native.take_records(), self.reference.take_records());
        self.expect(native == reference, || {
            let text = |bytes: &[u8]| {
                records(bytes).fold(String::new(), |mut text, record| {
                    let _ = writeln!(text, "{record:?}");
                    text
                })
            };
            format!(
                "records\n{}",
                differing_lines(&text(&native), &text(&reference))
            )
        });
        let mut in_step = "";
        for record in records(&native) {
            match record {
                Record::Step(_) => in_step = " in step",
                Record::Message(_) | Record::Control(_) => in_step = "",
                _ => {}
            }
            let name = match record {
                Record::Message(message) => {
                    self.commands += 1;
                    let letter = message.message[0] as char;
                    format!("message {letter} {}", message.outcome as char)
                }
                Record::Step(step) => {
                    self.commands += 1;
                    let what = if step.order == 0 { "mass" } else { "sweep" };
                    format!("step {what} {}", step.outcome as char)
                }
                Record::Control(control) => {
                    self.commands += 1;
                    *self.reasons.entry(control.reason).or_default() += 1;
                    if control.outcome == Outcome::Continues as u8 {
                        "control C".into()
                    } else {
                        format!("control {}", control.kind)
                    }
                }
                Record::Rested(_) => "rested".into(),
                Record::Filled(filled) => {
                    format!("filled {}", filled.maker_fee.signum())
                }
                Record::Removed(removed) => {
                    format!(
                        "removed {} {}{in_step}",
                        removed.removal as char, removed.rested
                    )
                }
                Record::Reduced(_) => "reduced".into(),
                Record::Replaced(replaced) => format!("replaced {}", replaced.kept),
            };
            *self.events.entry(name).or_default() += 1;
        }
    }

    fn same_states(&self) {
        let (native, reference) = (
            self.native.shard().state_hash(),
            self.reference.state_hash(),
        );
        self.expect(native == reference, || "state hashes".into());
        self.native.shard().check();
        self.reference.check();
    }
}

/// The lines of one text that the other has not, the first thirty of each.
fn differing_lines(native: &str, reference: &str) -> String {
    let mut text = String::new();
    for (name, lines, others) in [
        ("native", native, reference),
        ("reference", reference, native),
    ] {
        let others: HashSet<_> = others.lines().collect();
        for line in lines.lines().filter(|line| !others.contains(line)).take(30) {
            let _ = writeln!(text, "only {name:9} {line}");
        }
    }
    text
}

fn commands_wanted() -> u64 {
    match std::env::var("RING0_COMMANDS") {
        Ok(text) => text.parse().expect("RING0_COMMANDS is a number"),
        Err(_) => 1_500_000,
    }
}

/// What one run must have met besides every reason: commands with their outcome and events, as `Pair` names them.
const EVENTS: [&str; 32] = [
    "message A A",
    "message A R",
    "message A C",
    "message F A",
    "message O A",
    "message U A",
    "message U C",
    "message X A",
    "message D A",
    "message M A",
    "message M C",
    "message z A",
    "step sweep A",
    "step sweep C",
    "step mass A",
    "step mass C",
    "control C",
    "rested",
    "filled -1",
    "filled 0",
    "filled 1",
    "removed U 1",
    "removed I 0",
    "removed I 0 in step",
    "removed M 1",
    "removed M 1 in step",
    "removed K 1 in step",
    "removed K 0 in step",
    "removed H 0 in step",
    "reduced",
    "replaced 0",
    "replaced 1",
];

impl Pair {
    /// So many inputs of the flow.
    fn run(&mut self, flow: &mut Flow, inputs: u64) {
        for _ in 0..inputs {
            let input = flow.next_input();
            let is_packet = matches!(input, Input::Packet(_));
            let answer = self.feed(&input, flow.boot_ns());
            if is_packet {
                flow.observe(answer.as_deref());
            }
        }
    }

    /// Reasons and events that were not met yet.
    fn unseen(&self) -> Vec<&'static str> {
        let reasons = Reason::ALL
            .iter()
            .filter(|&&reason| !self.reasons.contains_key(&(reason as u8)))
            .filter(|&reason| !UNREACHABLE.iter().any(|(known, _)| known == reason))
            .map(|reason| reason.name());
        let events = EVENTS
            .into_iter()
            .filter(|&event| !self.events.contains_key(event));
        reasons.chain(events).collect()
    }
}

#[test]
fn engine_and_reference_agree() {
    let seed = tape::seed();
    let mut flow = Flow::new(seed, Options::default());
    let mut pair = Pair::new(seed);
    pair.setup(&mut flow);
    let wanted = commands_wanted();
    // A run that happens to miss something rare goes on for a while.
    while pair.commands < wanted || (pair.commands < 10 * wanted && !pair.unseen().is_empty()) {
        pair.run(&mut flow, 1_000);
    }
    pair.same_states();
    println!(
        "{} inputs, {} commands, state {}",
        pair.input,
        pair.commands,
        pair.native.shard().state_hash()
    );
    for (event, times) in &pair.events {
        println!("{times:8} {event}");
    }
    for (&number, times) in &pair.reasons {
        let name = Reason::from_number(number).map_or("?", Reason::name);
        println!("{times:8} {name}");
    }
    assert!(
        pair.unseen().is_empty(),
        "RING0_SEED={seed}: never seen: {:?}",
        pair.unseen()
    );
}

#[test]
fn every_profile_agrees() {
    let seed = tape::seed();
    for profile in [Profile::Calm, Profile::Deep, Profile::Hostile] {
        let mut flow = Flow::new(seed, Options { profile });
        let mut pair = Pair::new(seed);
        pair.setup(&mut flow);
        pair.run(&mut flow, 3_000);
        pair.same_states();
    }
}

/// Venue time at the end of its range: nothing wraps, a grant without end does not end, rates stay where they are.
#[test]
fn the_end_of_time_agrees() {
    let seed = tape::seed();
    for before_end in [0, 1, 100_000, 30_000_000] {
        let mut flow = Flow::new(seed, Options::default());
        let mut pair = Pair::new(seed);
        pair.setup(&mut flow);
        pair.run(&mut flow, 500);
        let body = Clock {
            day_base_ns: u64::MAX - flow.boot_ns() - before_end,
        };
        let clock = Control::new(ControlKind::Clock, &body);
        pair.feed(&Input::Control(vec![clock]), flow.boot_ns());
        pair.run(&mut flow, 3_000);
        pair.same_states();
    }
}
