//! Every short sequence: all commands of a small alphabet up to a depth, over two accounts, a few prices and quantities; engine and
//! reference equal after each. What random flows hit once in a million, these hit always.
//!
//! The search goes by depth and shares prefixes: before each command the state of both is put back to what it was. Depths are chosen so
//! that all groups together stay within 90 seconds on one core; `RING0_DEPTH` adds to all of them.
#![cfg(feature = "std")]

mod groups;
mod pair;
mod tape;
mod venue;

use groups::{GROUPS, Group};
use pair::Pair;
use ring0_engine::layout::Part;
use ring0_engine::reference::Reference;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use venue::{BOOT_NS, CAPACITY, Counters, Narrator, Op, op, setup};

/// A state of both sides.
struct State {
    native: Vec<u8>,
    reference: Reference,
    counters: Counters,
}

/// The search of one group.
struct Search {
    pair: Pair,
    /// The parts of the region that a state is made of.
    parts: Vec<Part>,
    commands: Vec<(&'static str, Op)>,
    /// Places in `commands` of the sequence that is being tried.
    path: Vec<usize>,
    sequences: u64,
    steps: u64,
}

impl Search {
    fn new(group: &Group) -> Search {
        let pair = Pair::new(CAPACITY);
        let parts = pair
            .native
            .layout()
            .parts
            .iter()
            .filter(|part| part.name != "scratch") // of one run only
            .map(|part| match part.name {
                // Seconds of the first minutes are all that occur here.
                "expiry" => Part {
                    entries: 256,
                    ..*part
                },
                _ => *part,
            })
            .collect();
        Search {
            pair,
            parts,
            commands: group
                .commands
                .iter()
                .map(|line| (*line, op(line)))
                .collect(),
            path: Vec::new(),
            sequences: 0,
            steps: 0,
        }
    }

    fn save(&self, counters: Counters) -> State {
        let len = self.parts.iter().map(Part::bytes).sum::<u64>();
        let mut native = vec![0; len as usize];
        let mut rest = native.as_mut_slice();
        for part in &self.parts {
            let (to, later) = rest.split_at_mut(part.bytes() as usize);
            self.pair.native.copy_out(part.at, to);
            rest = later;
        }
        State {
            native,
            reference: self.pair.reference.clone(),
            counters,
        }
    }

    fn restore(&mut self, state: &State) {
        let mut rest = state.native.as_slice();
        for part in &self.parts {
            let (from, later) = rest.split_at(part.bytes() as usize);
            self.pair.native.copy_in(part.at, from);
            rest = later;
        }
        self.pair.reference.clone_from(&state.reference);
    }

    fn go(&mut self, counters: Counters, depth: u32) -> Result<(), String> {
        let state = self.save(counters);
        for command in 0..self.commands.len() {
            if !self.path.is_empty() || command > 0 {
                self.restore(&state);
            }
            self.path.push(command);
            let mut counters = state.counters;
            let input = counters.input(&self.commands[command].1);
            self.pair.feed(&input, BOOT_NS)?;
            self.steps += 1;
            if depth > 1 {
                self.go(counters, depth - 1)?;
            } else {
                // The ends are compared whole; what lies before an end is compared by its records, and by the end.
                self.sequences += 1;
                if self.sequences.is_multiple_of(16) {
                    self.pair.same_states()?;
                }
            }
            self.path.pop();
        }
        Ok(())
    }
}

/// The commands of a failing sequence and what the engine makes of them.
fn told(group: &Group, path: &[usize]) -> String {
    let mut pair = Pair::new(CAPACITY);
    let mut counters = Counters::START;
    let mut narrator = Narrator::default();
    let mut text = String::new();
    let _ = pair.feed(&setup(), BOOT_NS);
    let lines = path.iter().map(|&at| group.commands[at]);
    for line in group.before.iter().copied().chain(lines) {
        text += &format!("{line}\n");
        let input = counters.input(&op(line));
        let fed = catch_unwind(AssertUnwindSafe(|| {
            let fed = pair.feed(&input, BOOT_NS)?;
            pair.same_states()?;
            Ok::<_, String>(fed)
        }));
        match fed {
            Ok(Ok(fed)) => {
                for event in narrator.lines(&fed.records) {
                    text += &format!("    {event}\n");
                }
            }
            Ok(Err(difference)) => return text + &difference,
            Err(_) => return text + "panic, see above",
        }
    }
    text
}

fn search(group: &Group) {
    let more = tape::number_of("RING0_DEPTH").unwrap_or(0) as u32;
    let depth = group.depth + more;
    let begun = Instant::now();
    let mut search = Search::new(group);
    search
        .pair
        .feed(&setup(), BOOT_NS)
        .expect("the setup agrees");
    let mut counters = Counters::START;
    for line in group.before {
        let input = counters.input(&op(line));
        if let Err(text) = search.pair.feed(&input, BOOT_NS) {
            panic!("{}: {line}: {text}", group.name);
        }
    }
    let done = catch_unwind(AssertUnwindSafe(|| search.go(counters, depth)));
    if let Ok(Ok(())) = done {
        println!(
            "{}: depth {depth}, {} commands, {} sequences, {} steps, {:.1} s",
            group.name,
            group.commands.len(),
            search.sequences,
            search.steps,
            begun.elapsed().as_secs_f64()
        );
        return;
    }
    let text = match done {
        Ok(Err(text)) => text,
        _ => "panic, see above".into(),
    };
    panic!("{}: {text}\n{}", group.name, told(group, &search.path));
}

macro_rules! groups {
    ($($test:ident = $at:literal,)+) => {
        $(#[test]
        fn $test() {
            search(&GROUPS[$at]);
        })+

        const _: () = assert!([$($at),+].len() == GROUPS.len());
    };
}

groups! {
    plain = 0,
    self_trade = 1,
    icebergs = 2,
    stops = 3,
    pegs = 4,
    fill_or_kill = 5,
    auctions = 6,
    pauses = 7,
    mass_cancels = 8,
    days = 9,
}
