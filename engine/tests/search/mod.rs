//! Every sequence of a group's commands up to a depth, tried on engines that must agree after each command; and longer ones at random.
//!
//! The search goes by depth and shares prefixes: before each command all engines are put back to what they were.
#![allow(dead_code, reason = "each test uses its part")]

use crate::groups::Group;
use crate::pair::{Fed, Pair};
use crate::tape;
use crate::venue::{BOOT_NS, CAPACITY, Counters, Narrator, Op, op, setup};
use ring0_engine::flow::Input;
use ring0_engine::layout::{Layout, Part};
use ring0_engine::reference::Reference;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Sequences between two comparisons of the whole state, at their ends: each costs as much as a step. What lies before an end is compared
/// by its records, and by the end.
const CHECK_EVERY: u64 = 4;

/// Engines side by side over the tiny venue.
pub(crate) trait Sides {
    /// New ones, after the venue's setup.
    fn new() -> Self;
    /// One input through all; what differs.
    fn feed(&mut self, input: &Input) -> Result<Fed, String>;
    /// State and invariants of all; what differs.
    fn same_states(&self) -> Result<(), String>;
    /// What they are now, when they agree.
    fn save(&self) -> State;
    /// Puts them back.
    fn restore(&mut self, state: &State);
}

/// A state of an engine and the reference. Engines that agree have one memory.
pub(crate) struct State {
    /// The tables of [`Two::parts`], one after the other.
    pub(crate) memory: Vec<u8>,
    reference: Reference,
}

/// The native engine and the reference.
pub(crate) struct Two {
    pub(crate) pair: Pair,
    /// The parts of the region that a state is made of.
    pub(crate) parts: Vec<Part>,
}

impl Two {
    /// Bytes of a state's memory.
    pub(crate) fn memory_len(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum::<u64>() as usize
    }
}

/// The parts that a state of the tiny venue is made of, as far as it reaches in them.
fn parts(layout: &Layout) -> Vec<Part> {
    let parts = layout.parts.iter();
    let parts = parts.filter(|part| part.name != "scratch"); // of one run only
    parts
        .map(|part| match part.name {
            // Seconds of the first minutes are all that occur here.
            "expiry" => Part {
                entries: 256,
                ..*part
            },
            _ => *part,
        })
        .collect()
}

/// Gives each part its piece of the bytes.
pub(crate) fn each_part(parts: &[Part], mut bytes: &[u8], mut put: impl FnMut(u64, &[u8])) {
    for part in parts {
        let (piece, rest) = bytes.split_at(part.bytes() as usize);
        put(part.at, piece);
        bytes = rest;
    }
}

/// As [`each_part`], to be filled.
pub(crate) fn fill_parts(parts: &[Part], mut bytes: &mut [u8], get: impl Fn(u64, &mut [u8])) {
    for part in parts {
        let (piece, rest) = bytes.split_at_mut(part.bytes() as usize);
        get(part.at, piece);
        bytes = rest;
    }
}

impl Sides for Two {
    fn new() -> Two {
        let mut pair = Pair::new(CAPACITY);
        pair.feed(&setup(), BOOT_NS).expect("the setup agrees");
        let parts = parts(pair.native.layout());
        Two { pair, parts }
    }

    fn feed(&mut self, input: &Input) -> Result<Fed, String> {
        self.pair.feed(input, BOOT_NS)
    }

    fn same_states(&self) -> Result<(), String> {
        self.pair.same_states()
    }

    fn save(&self) -> State {
        let mut memory = vec![0; self.memory_len()];
        let native = &self.pair.native;
        fill_parts(&self.parts, &mut memory, |at, to| native.copy_out(at, to));
        State {
            memory,
            reference: self.pair.reference.clone(),
        }
    }

    fn restore(&mut self, state: &State) {
        let native = &mut self.pair.native;
        each_part(&self.parts, &state.memory, |at, from| {
            native.copy_in(at, from);
        });
        self.pair.reference.clone_from(&state.reference);
    }
}

/// The search of one group.
pub(crate) struct Search<S> {
    group: &'static Group,
    pub(crate) sides: S,
    commands: Vec<Op>,
    /// What each sequence begins from.
    begin: (State, Counters),
    /// Places in `commands` of the sequence that is being tried.
    path: Vec<usize>,
    sequences: u64,
    steps: u64,
}

impl<S: Sides> Search<S> {
    pub(crate) fn new(group: &'static Group) -> Search<S> {
        let mut sides = S::new();
        let mut counters = Counters::START;
        for line in group.before {
            let input = counters.input(&op(line));
            if let Err(text) = sides.feed(&input) {
                panic!("{}: {line}: {text}", group.name);
            }
        }
        Search {
            group,
            commands: group.commands.iter().map(|line| op(line)).collect(),
            begin: (sides.save(), counters),
            sides,
            path: Vec::new(),
            sequences: 0,
            steps: 0,
        }
    }

    /// Every sequence of the group's depth, and so every shorter one; `RING0_DEPTH` is added to it.
    pub(crate) fn all(&mut self) {
        let depth = self.group.depth + tape::number_of("RING0_DEPTH").unwrap_or(0) as u32;
        self.agree(&format!("depth {depth}"), |search| {
            search.sides.restore(&search.begin.0);
            search.go(search.begin.1, depth)
        });
    }

    /// Sequences four times as long, at random: `below` gives a number below another.
    pub(crate) fn walks(&mut self, count: u32, mut below: impl FnMut(usize) -> usize) {
        let len = self.group.depth * 4;
        self.agree(&format!("at random, length {len}"), |search| {
            for _ in 0..count {
                search.path.clear();
                search.sides.restore(&search.begin.0);
                let mut counters = search.begin.1;
                for _ in 0..len {
                    search.step(below(search.commands.len()), &mut counters)?;
                }
                search.sides.same_states()?;
                search.sequences += 1;
            }
            Ok(())
        });
    }

    fn go(&mut self, before: Counters, depth: u32) -> Result<(), String> {
        let state = self.sides.save();
        for command in 0..self.commands.len() {
            if command > 0 {
                self.sides.restore(&state);
            }
            let mut counters = before;
            self.step(command, &mut counters)?;
            if depth > 1 {
                self.go(counters, depth - 1)?;
            } else {
                self.sequences += 1;
                if self.sequences.is_multiple_of(CHECK_EVERY) {
                    self.sides.same_states()?;
                }
            }
            self.path.pop();
        }
        Ok(())
    }

    fn step(&mut self, command: usize, counters: &mut Counters) -> Result<(), String> {
        self.path.push(command);
        let input = counters.input(&self.commands[command]);
        self.sides.feed(&input)?;
        self.steps += 1;
        Ok(())
    }

    /// Says what was tried, or fails with the sequence on which the sides do not agree.
    fn agree(&mut self, what: &str, tried: impl FnOnce(&mut Self) -> Result<(), String>) {
        let begun = Instant::now();
        (self.sequences, self.steps) = (0, 0);
        self.path.clear();
        let done = catch_unwind(AssertUnwindSafe(|| tried(self)));
        let name = self.group.name;
        let text = match done {
            Ok(Ok(())) => {
                println!(
                    "{name}: {what}, {} commands, {} sequences, {} steps, {:.1} s",
                    self.commands.len(),
                    self.sequences,
                    self.steps,
                    begun.elapsed().as_secs_f64()
                );
                return;
            }
            Ok(Err(text)) => text,
            Err(_) => "panic, see above".into(),
        };
        panic!(
            "{name}:\n{}",
            shrunk::<S>(self.group, self.path.clone(), &text)
        );
    }
}

/// A failing sequence told, without the commands that it fails without too.
fn shrunk<S: Sides>(group: &Group, mut path: Vec<usize>, difference: &str) -> String {
    let mut text = match told::<S>(group, &path) {
        Err(text) => text,
        Ok(text) => {
            return format!(
                "{text}From the start they agree. Behind other sequences:\n{difference}"
            );
        }
    };
    let mut at = 0;
    while at < path.len() {
        let mut less = path.clone();
        less.remove(at);
        match told::<S>(group, &less) {
            Err(shorter) => (path, text) = (less, shorter),
            Ok(_) => at += 1,
        }
    }
    text
}

/// The commands of a sequence and what the engines make of them from the start; an error tells where they differ, too.
fn told<S: Sides>(group: &Group, path: &[usize]) -> Result<String, String> {
    let mut sides = S::new();
    let mut counters = Counters::START;
    let mut narrator = Narrator::default();
    let mut text = String::new();
    let lines = path.iter().map(|&at| group.commands[at]);
    for line in group.before.iter().copied().chain(lines) {
        text += &format!("{line}\n");
        let input = counters.input(&op(line));
        let fed = catch_unwind(AssertUnwindSafe(|| {
            let fed = sides.feed(&input)?;
            sides.same_states()?;
            Ok::<_, String>(fed)
        }));
        match fed {
            Ok(Ok(fed)) => {
                for event in narrator.lines(&fed.records) {
                    text += &format!("    {event}\n");
                }
            }
            Ok(Err(difference)) => return Err(text + &difference),
            Err(_) => return Err(text + "panic, see above"),
        }
    }
    Ok(text)
}

/// A test for each group.
macro_rules! groups {
    ($($test:ident = $at:literal,)+) => {
        $(#[test]
        fn $test() {
            tried(&$crate::groups::GROUPS[$at]);
        })+

        const _: () = assert!([$($at),+].len() == $crate::groups::GROUPS.len());
    };
}
