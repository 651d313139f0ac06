//! Engine against reference: the same random flow through both, equal in every byte of answers and records and in state.
//!
//! A failure prints seed and number of the input, and the shortest sequence of inputs found that fails too:
//! `RING0_SEED=… cargo test --release -p ring0-engine --features std --test differential` has it again. `RING0_COMMANDS` sets
//! the length of the long run.
#![cfg(feature = "std")]

mod coverage;
mod pair;
mod tape;

use coverage::Coverage;
use pair::{Pair, Sequence};
use ring0_engine::control::{Clock, Control, ControlKind};
use ring0_engine::flow::{Flow, Input, Options, Profile};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Inputs between two comparisons of the whole state.
const CHECK_EVERY: u64 = 500;
/// Inputs kept to be shrunk: those since a pair began. A longer run begins with a new pair and another seed.
const RUN_INPUTS: u64 = 20_000;

struct Run {
    seed: u64,
    flow: Flow,
    pair: Pair,
    inputs: Sequence,
    coverage: Coverage,
    commands: u64,
    /// Inputs at which each instrument traded continuously.
    continuous: [u64; 6],
}

impl Run {
    fn new(seed: u64, profile: Profile) -> Run {
        let mut run = Run {
            seed,
            flow: Flow::new(seed, Options { profile }),
            pair: Pair::new(Flow::capacity()),
            inputs: Sequence::default(),
            coverage: Coverage::default(),
            commands: 0,
            continuous: [0; 6],
        };
        let setup = Input::Control(run.flow.setup());
        run.feed(&setup);
        run
    }

    fn feed(&mut self, input: &Input) {
        let boot_ns = self.flow.boot_ns();
        self.inputs.push(input, boot_ns);
        let is_checked = (self.inputs.0.len() as u64).is_multiple_of(CHECK_EVERY);
        let pair = &mut self.pair;
        let fed = catch_unwind(AssertUnwindSafe(|| {
            let fed = pair.feed(input, boot_ns)?;
            if is_checked {
                pair.same_states()?;
            }
            Ok::<_, String>(fed)
        }));
        let fed = match fed {
            Ok(Ok(fed)) => fed,
            Ok(Err(text)) => self.fail(&text),
            Err(_) => self.fail("panic, see above"),
        };
        self.inputs.fed(&fed);
        if matches!(input, Input::Packet(_)) {
            self.flow.observe(fed.answer.as_deref());
        }
        self.flow.learn(&fed.records);
        self.commands += self.coverage.take(&fed);
        for (count, now) in self.continuous.iter_mut().zip(self.flow.continuous()) {
            *count += u64::from(now);
        }
    }

    fn fail(&mut self, text: &str) -> ! {
        let number = self.inputs.0.len();
        let head = format!("RING0_SEED={} input {number}", self.seed);
        std::mem::take(&mut self.inputs).fail(Flow::capacity(), &head, text)
    }

    /// So many inputs of the flow.
    fn inputs(&mut self, inputs: u64) {
        for _ in 0..inputs {
            let input = self.flow.next_input();
            self.feed(&input);
        }
    }

    fn end(&mut self) {
        if let Err(text) = self.pair.same_states() {
            self.fail(&text);
        }
    }
}

/// Also the test of the flow: what it must reach is in `coverage/mod.rs`.
#[test]
fn engine_and_reference_agree() {
    let seed = tape::seed();
    let wanted = tape::number_of("RING0_COMMANDS").unwrap_or(1_500_000);
    let mut coverage = Coverage::default();
    let (mut commands, mut inputs, mut continuous) = (0, 0_u64, [0; 6]);
    let mut runs = 0;
    // A run that happens to miss something rare goes on for a while.
    while commands < wanted || (commands < 10 * wanted && !coverage.missing().is_empty()) {
        // Each run can be had again alone: `RING0_SEED` of the run, and `RING0_COMMANDS=1`.
        let mut run = Run::new(seed.wrapping_add(runs), Profile::Mixed);
        run.inputs(RUN_INPUTS.min(wanted));
        run.end();
        runs += 1;
        commands += run.commands;
        inputs += run.inputs.0.len() as u64;
        coverage.add(&run.coverage);
        for (sum, count) in continuous.iter_mut().zip(run.continuous) {
            *sum += count;
        }
        if runs == 1 {
            println!("state {}", run.pair.native.shard().state_hash());
        }
    }
    println!("{runs} runs, {inputs} inputs, {commands} commands");
    println!(
        "inputs at which the instruments traded continuously: {:?} per cent",
        continuous.map(|count| count * 100 / inputs)
    );
    print!("{coverage}");
    let missing = coverage.missing();
    assert!(
        wanted < 100_000 || missing.is_empty(),
        "RING0_SEED={seed}: never seen:\n{}",
        missing.join("\n")
    );
    assert!(
        wanted < 100_000 || continuous.iter().all(|count| 2 * count > inputs),
        "instruments trade continuously most of the time"
    );
}

#[test]
fn every_profile_agrees() {
    let seed = tape::seed();
    for profile in Profile::PURE {
        let mut run = Run::new(seed, profile);
        run.inputs(3_000);
        run.end();
    }
}

/// Venue time at the end of its range: nothing wraps, a grant without end does not end, rates stay where they are.
#[test]
fn the_end_of_time_agrees() {
    let seed = tape::seed();
    for before_end in [0, 1, 100_000, 30_000_000] {
        let mut run = Run::new(seed, Profile::Mixed);
        run.inputs(500);
        let body = Clock {
            day_base_ns: u64::MAX - run.flow.boot_ns() - before_end,
        };
        let clock = Control::new(ControlKind::Clock, &body);
        run.feed(&Input::Control(vec![clock]));
        run.inputs(3_000);
        run.end();
    }
}
