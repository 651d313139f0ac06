//! Every short sequence: all commands of a small alphabet up to a depth, over two accounts, a few prices and quantities; engine and
//! reference equal after each. What random flows hit once in a million, these hit always.
//!
//! The search goes by depth and shares prefixes: before each command the state of both is put back to what it was. Depths are chosen so
//! that all groups together take about 90 seconds on one core; `RING0_DEPTH` adds to all of them.
#![cfg(feature = "std")]

mod pair;
mod tape;
mod venue;

use pair::Pair;
use ring0_engine::layout::Part;
use ring0_engine::reference::Reference;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use venue::{BOOT_NS, CAPACITY, Counters, Narrator, Op, op, setup};

/// Commands whose every sequence is tried, and how long the sequences are.
struct Group {
    name: &'static str,
    depth: u32,
    /// What comes before each sequence.
    before: &'static [&'static str],
    commands: &'static [&'static str],
}

const GROUPS: &[Group] = &[
    Group {
        name: "plain orders, replace, reduce, cancel",
        depth: 4,
        before: &[],
        commands: &[
            "a buy 1@100",
            "a buy 2@101",
            "a buy 2@102",
            "a sell 1@100",
            "a sell 2@101",
            "a sell 1@102",
            "b buy 1@100",
            "b buy 2@100",
            "b buy 1@102",
            "b sell 2@100",
            "b sell 1@101",
            "b sell 2@102",
            "b buy 2@101 ioc",
            "b sell 2@101 market",
            "a cancel first",
            "a cancel last",
            "a replace last 1@101",
            "a replace last 2@100",
            "a replace first 3@102",
            "a reduce last 1",
            "b cancel last",
            "b replace last 1@100",
            "b replace last 2@102",
        ],
    },
    Group {
        name: "self-trade prevention",
        depth: 4,
        before: &[],
        commands: &[
            "a sell 1@100",
            "a sell 2@100 hidden",
            "a sell 3@100 show=1",
            "b sell 1@100",
            "b sell 2@101",
            "c buy 2@100 stp=1",
            "c buy 3@101 stp=2",
            "c buy 3@101 stp=3",
            "c buy 3@101 stp=4",
            "c buy 2@101 ioc stp=4",
            "c buy 3@101 fok stp=2",
            "c buy 1@101 fok stp=1",
            "c buy 3@101 min=1 stp=4",
            "b buy 4@101 stp=2 group=7",
            "b buy 4@101 stp=3 group=7",
            "a buy 2@101 stop=101 stp=1",
            "a replace last 2@101",
            "c replace last 2@101",
            "operator selftrade a 1",
            "operator selftrade a 4",
        ],
    },
    Group {
        name: "iceberg and hidden orders",
        depth: 4,
        before: &[],
        commands: &[
            "a sell 3@100 show=1",
            "a sell 4@101 show=2",
            "a sell 2@100 hidden",
            "a buy 3@100 show=1",
            "b sell 1@100",
            "b sell 2@101 hidden",
            "b buy 1@100",
            "b buy 2@100",
            "b buy 4@101",
            "b buy 3@101 fok",
            "b buy 4@101 min=3",
            "b sell 3@100 ioc",
            "a reduce first 1",
            "a reduce last 2",
            "a replace last 2@100",
            "a replace first 4@101",
            "a cancel first",
            "a cancel last",
        ],
    },
    Group {
        name: "stops",
        depth: 4,
        before: &["a sell 1@100", "b buy 1@100"],
        commands: &[
            "a buy 1@101 stop=101",
            "a buy 2@102 stop=101",
            "a buy 1@102 stop=102 market",
            "a sell 1@99 stop=99",
            "a sell 2@99 stop=99 market",
            "a buy 3@102 stop=101 show=1",
            "b sell 1@101",
            "b sell 2@102",
            "b buy 1@99",
            "b sell 1@99",
            "b buy 1@101",
            "b buy 2@102",
            "b buy 1@101 & buy 1@102",
            "b buy 2@102 & cancel first",
            "a replace last 1@102",
            "a reduce last 1",
            "a cancel last",
            "a mass session",
            "steps",
        ],
    },
    Group {
        name: "pegs",
        depth: 4,
        before: &["b buy 2@98", "b sell 2@102"],
        commands: &[
            "a buy 1@101 peg=P",
            "a buy 2@100 peg=M",
            "a buy 1@101 peg=M+1",
            "a sell 2@99 peg=M",
            "a sell 1@100 peg=P+1",
            "a sell 1@100 peg=M ioc",
            "b buy 1@99",
            "b buy 2@100",
            "b sell 1@101",
            "b sell 2@100",
            "b sell 1@99 ioc",
            "b buy 2@101 fok",
            "b sell 1@100 hidden",
            "b cancel first",
            "b cancel last",
            "a replace last 2@100",
            "a reduce last 1",
            "a cancel first",
        ],
    },
    Group {
        name: "fill-or-kill, minimum, post-only, slide",
        depth: 4,
        before: &[],
        commands: &[
            "a sell 1@100",
            "a sell 2@101",
            "a sell 3@102",
            "a buy 2@100",
            "b buy 1@100 fok",
            "b buy 3@101 fok",
            "b buy 4@102 fok market",
            "b buy 3@101 min=2",
            "b buy 3@100 min=1 ioc",
            "b buy 2@101 post",
            "b buy 2@101 slide",
            "b buy 1@99 slide",
            "b sell 2@100 slide",
            "b sell 2@100 post",
            "b sell 2@100 fok",
            "b replace last 2@101",
            "b replace last 1@102",
            "a cancel first",
            "a cancel last",
        ],
    },
    Group {
        name: "auctions",
        depth: 5,
        before: &["operator state PreOpen"],
        commands: &[
            "a buy 2@101",
            "a buy 3@100 show=1",
            "b sell 1@100",
            "b sell 3@101 hidden",
            "c sell 2@100",
            "a cancel first",
            "a replace last 1@101",
            "operator state OpeningAuction",
            "operator state Uncrossing",
            "operator state Continuous",
            "operator state Halted",
            "operator uncross 100",
            "operator uncross 101 Halted",
            "steps",
        ],
    },
    Group {
        name: "volatility pauses",
        depth: 4,
        before: &[
            "operator state Halted",
            "operator bands pause=1 reference=100",
            "operator state Continuous",
        ],
        commands: &[
            "a sell 1@100",
            "a sell 1@101",
            "a sell 2@102",
            "a buy 1@98",
            "b buy 2@102",
            "b buy 3@102 ioc",
            "b buy 3@102 fok",
            "b buy 2@102 min=2",
            "b sell 2@98",
            "b buy 2@102 stop=101",
            "a cancel last",
            "a replace last 1@100",
            "operator state Uncrossing",
            "operator uncross 101",
            "operator uncross 102",
            "operator state Continuous",
            "steps",
        ],
    },
    Group {
        name: "mass cancels, kills, disconnections",
        depth: 4,
        before: &[],
        commands: &[
            "a buy 1@100",
            "a sell 2@102 show=1",
            "a buy 1@102 stop=101",
            "a buy 1@101 peg=P",
            "c buy 2@100 gtt=101",
            "b sell 1@100",
            "b sell 2@101",
            "a mass session",
            "a mass session buy",
            "a mass session kill",
            "c mass account",
            "c mass account sell kill",
            "operator kill a",
            "operator revive a",
            "operator killaccount a",
            "operator reviveaccount a",
            "operator disconnect a",
            "a cancel first",
            "steps",
        ],
    },
    Group {
        name: "expiry, days, purges, listings",
        depth: 4,
        before: &[],
        commands: &[
            "a buy 1@100 gtt=50",
            "a buy 2@101 gtt=51",
            "a sell 1@102 gtc",
            "a sell 1@101 hidden",
            "a buy 1@103 stop=102 gtt=50",
            "b sell 1@100",
            "b buy 1@100 peg=P gtt=51",
            "a replace last 1@100",
            "a cancel first",
            "operator expire 50",
            "operator expire 51",
            "operator state Closed",
            "operator state Continuous",
            "operator closeday",
            "operator openday",
            "operator clear",
            "operator clear buy",
            "operator ladder 101 64",
            "operator delist",
            "operator list",
            "steps",
        ],
    },
];

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
