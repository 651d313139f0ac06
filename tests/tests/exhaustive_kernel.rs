//! Every short sequence of the engine's own exhaustive test (`engine/tests/exhaustive.rs`) through the kernel program too: the real
//! program over its arena, by test-run; kernel, native engine and reference equal after each command in every byte of answers,
//! results and records, kernel and native engine in every byte of the shard's memory. Then longer sequences at random, their seed printed.
//!
//! Equal memories make it fast: one saved copy puts both back, so a sequence costs copies of 34 KB instead of a shard of its own. A step
//! with all comparisons takes 14 µs: 1.86 million sequences, 2.3 million steps with the random ones, 33 s of processor time (62 s on two
//! processors that had as much else to do three times over). So the depths are the native ones; `RING0_DEPTH` adds to them.

#[path = "../../engine/tests/groups/mod.rs"]
mod groups;
#[path = "../../engine/tests/pair/mod.rs"]
mod pair;
#[macro_use]
#[path = "../../engine/tests/search/mod.rs"]
mod search;
#[path = "../../engine/tests/tape/mod.rs"]
mod tape;
#[path = "../../engine/tests/venue/mod.rs"]
mod venue;

use groups::Group;
use pair::{Fed, differing_answers, differing_lines, first_difference};
use ring0_engine::canon::Text;
use ring0_engine::flow::Input;
use ring0_engine::layout::Part;
use ring0_rings::{Live, Ring, RingError};
use ring0_tests::{Kernel, Random, seed};
use search::{Search, Sides, State, Two, each_part, fill_parts};
use std::fmt::Write as _;
use venue::CAPACITY;

/// XDP's verdict on a packet that gets no answer.
const XDP_DROP: u32 = 1;
const RECORD_SLOTS: u32 = 1 << 12;
/// Longer sequences of a group, half a second of processor time.
const WALKS: u32 = 2_000;
/// Native engine and reference are compared with each other first.
const NAMES: [&str; 2] = ["kernel", "native"];

/// The kernel program beside the two.
struct Three {
    two: Two,
    kernel: Kernel,
    /// Room for the memories of both, to compare them.
    memories: [Vec<u8>; 2],
}

impl Three {
    /// Answer and results of the program on an input.
    fn run(&mut self, input: &Input) -> Result<Fed, RingError> {
        let shard = &mut self.kernel.shard;
        let (mut answer, mut results) = (None, Vec::new());
        match input {
            Input::Packet(payload) => match shard.packet(payload, 0) {
                Ok(bytes) => answer = Some(bytes),
                Err(RingError::NoAnswer { verdict: XDP_DROP }) => {}
                Err(error) => return Err(error),
            },
            Input::Control(controls) => results = shard.command(controls)?,
            Input::Steps => shard.steps()?,
        }
        Ok(Fed {
            answer,
            results,
            records: shard.take_records()?,
            limited: None, // asked of the pair alone
        })
    }

    /// The same source made both: not a byte of the region differs.
    fn same_memories(&mut self) -> Result<(), String> {
        let shard = &self.kernel.shard;
        let native = &self.two.pair.native;
        // But for the number that only the kernel has: how far it is in its command ring.
        let taken = shard.shard().header().controls_taken.get();
        native.shard().header().controls_taken.set(taken);
        let parts = &self.two.parts;
        let [kernels, natives] = &mut self.memories;
        fill_parts(parts, kernels, |at, to| shard.copy_out(at, to));
        fill_parts(parts, natives, |at, to| native.copy_out(at, to));
        if kernels == natives {
            return Ok(());
        }
        Err(self.differing_memories())
    }

    fn differing_memories(&self) -> String {
        let shard = self.kernel.shard.shard();
        if shard.header().broken.get() != 0 {
            return format!(
                "fault {} stopped the kernel's shard",
                shard.header().broken.get()
            );
        }
        let [kernels, natives] = &self.memories;
        let places = self.two.parts.iter().flat_map(bytes_of);
        let pairs = kernels.iter().zip(natives).zip(places);
        let differing = pairs.filter(|((kernel, native), _)| kernel != native);
        let mut text = String::from("memory\n");
        for ((kernel, native), (part, at)) in differing.take(16) {
            let _ = writeln!(
                text,
                "{} {}, byte {}: kernel {kernel:02x}, native {native:02x}",
                part.name,
                at / part.entry_len,
                at % part.entry_len
            );
        }
        text + &self.differing_listings()
    }

    fn differing_listings(&self) -> String {
        let [mut kernel, mut native] = [(); 2].map(|()| Text::default());
        self.kernel.shard.shard().list(&mut kernel);
        self.two.pair.native.shard().list(&mut native);
        differing_lines(NAMES, [&kernel.0, &native.0])
    }

    /// The whole region, also where a search never restores it.
    fn same_whole_memories(&mut self) {
        let parts = self.two.pair.native.layout().parts;
        self.two.parts = parts
            .into_iter()
            .filter(|part| part.name != "scratch")
            .collect();
        self.memories = [(); 2].map(|()| vec![0; self.two.memory_len()]);
        if let Err(text) = self.same_memories() {
            panic!("after the last sequence: {text}");
        }
    }
}

/// The bytes of a part, by their place in it.
fn bytes_of(part: &Part) -> impl Iterator<Item = (&Part, u64)> {
    (0..part.bytes()).map(move |at| (part, at))
}

impl Sides for Three {
    /// The setup is carried out by the two and copied into the arena: venue time is then the same to the nanosecond, and stands still there too.
    fn new() -> Three {
        let two = Two::new();
        let mut kernel = Kernel::up(&CAPACITY, RECORD_SLOTS, ring0_lab::Options::default());
        for session in 0..CAPACITY.sessions {
            // Without tags: this is about matching.
            kernel
                .shard
                .set_key(session, None)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let memory = vec![0; two.memory_len()];
        let mut three = Three {
            memories: [memory.clone(), memory],
            two,
            kernel,
        };
        let state = three.save();
        three.restore(&state);
        three
    }

    fn feed(&mut self, input: &Input) -> Result<Fed, String> {
        let fed = self.two.feed(input)?;
        let run = self.run(input).map_err(|error| error.to_string())?;
        if run.records != fed.records {
            return Err(first_difference(NAMES, [&run.records, &fed.records]));
        }
        if run.answer != fed.answer {
            let answers = [&run.answer, &fed.answer].map(|it| it.as_deref().unwrap_or(&[]));
            return Err(differing_answers(NAMES, answers));
        }
        if run.results != fed.results {
            return Err(format!(
                "results of control commands\nkernel {:?}\nnative {:?}",
                run.results, fed.results
            ));
        }
        self.same_memories()?;
        Ok(fed)
    }

    fn same_states(&self) -> Result<(), String> {
        // The invariants need no second look: the memories are equal.
        self.two.same_states()?;
        if self.kernel.shard.shard().state_hash() == self.two.pair.native.shard().state_hash() {
            return Ok(());
        }
        Err(format!("state hashes\n{}", self.differing_listings()))
    }

    fn save(&self) -> State {
        self.two.save()
    }

    fn restore(&mut self, state: &State) {
        self.two.restore(state);
        each_part(&self.two.parts, &state.memory, |at, from| {
            self.kernel.shard.copy_in(at, from);
        });
    }
}

fn tried(group: &'static Group) {
    let mut search = Search::<Three>::new(group);
    search.all();
    let mut random = Random(seed());
    search.walks(WALKS, |end| random.below(end));
    search.sides.same_whole_memories();
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
