//! The subprograms of a linked program, told to the verifier as functions of their own.
//!
//! Without type information (BTF) the verifier walks a subprogram anew at every call, with what it
//! knows about the caller's registers. A subprogram that the type information calls *global* it
//! walks once, with unknown numbers as arguments, and a call of it gives an unknown number. Rust
//! objects for the kernel carry no type information, so it is made here: where each subprogram
//! starts and its name come from the linker, the number of its arguments from its instructions.
//!
//! A global subprogram therefore takes and returns plain numbers (`u64`), and returns one on every
//! way out. Nothing here is trusted: with a wrong count the kernel refuses the program.

use std::{collections::BTreeSet, ops::Range};

/// How the kernel verifies subprograms.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subprograms {
    /// Each once, for all arguments there are. They take and return numbers.
    #[default]
    Global,
    /// Each again at every call, with the arguments of that call. They may take pointers.
    Static,
}

/// A subprogram of an object.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Subprogram {
    /// The name the kernel knows it by: its number and its last name in the source.
    pub name: String,
    /// Its first instruction in the linked program.
    pub start: u32,
    /// How many instructions it has.
    pub instructions: u32,
    /// How many arguments it takes, as its instructions say.
    pub arguments: u8,
    /// How much stack it uses.
    pub stack_bytes: u32,
    /// How much stack it uses with the calls it makes, as the kernel counts; it allows 512.
    pub stack_deepest_bytes: u32,
    /// Of the subprograms it calls the one with the most stack, by number.
    pub deepest_callee: Option<u32>,
    /// Whether the kernel would verify it on its own under [`Subprograms::Global`].
    pub global: bool,
}

/// These take pointers, whoever calls them.
const ALWAYS_STATIC: [&str; 5] = ["memcpy", "memmove", "memset", "memcmp", "bcmp"];

/// Registers as a set: bit `n` is register `n`.
type Registers = u16;

const R0: Registers = 1;
const ARGUMENT_REGISTERS: Registers = 0b11_1110;

/// Registers `r1` to `r<count>`.
fn first(count: u8) -> Registers {
    ((1 << (u16::from(count) + 1)) - 1) & ARGUMENT_REGISTERS
}

/// Arguments of a kernel helper; one that is not known here is taken to read all five.
fn helper_arguments(number: i32) -> u8 {
    match number {
        1 => 2,                 // map_lookup_elem
        2 => 4,                 // map_update_elem
        3 => 2,                 // map_delete_elem
        5 | 125 | 160 => 0,     // ktime_get_ns, ktime_get_boot_ns, ktime_get_coarse_ns
        7 | 8 => 0,             // get_prandom_u32, get_smp_processor_id
        23 | 44 | 54 | 65 => 2, // redirect, xdp_adjust_head, xdp_adjust_meta, xdp_adjust_tail
        51 => 3,                // redirect_map
        130 => 4,               // ringbuf_output
        131 => 3,               // ringbuf_reserve
        132 | 133 => 2,         // ringbuf_submit, ringbuf_discard
        _ => 5,
    }
}

/// What one instruction does with registers, and where it goes.
struct Effect {
    reads: Registers,
    writes: Registers,
    falls_through: bool,
    jump: Option<usize>,
}

/// An instruction in the kernel's encoding (`include/uapi/linux/bpf.h`).
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
}

mod class {
    pub(super) const LD: u8 = 0;
    pub(super) const LDX: u8 = 1;
    pub(super) const ST: u8 = 2;
    pub(super) const STX: u8 = 3;
    pub(super) const JMP: u8 = 5;
    pub(super) const JMP32: u8 = 6;
}

const LOAD_IMMEDIATE: u8 = 0x18;
const PSEUDO_CALL: u8 = 1;
const PSEUDO_FUNC: u8 = 4;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;
const MAY_GOTO: u8 = 0xe0;

impl Instruction {
    fn new(bytes: [u8; 8]) -> Self {
        let [code, registers, off_low, off_high, a, b, c, d] = bytes;
        Self {
            code,
            destination: registers & 15,
            source: registers >> 4,
            offset: i16::from_le_bytes([off_low, off_high]),
            immediate: i32::from_le_bytes([a, b, c, d]),
        }
    }

    fn class(self) -> u8 {
        self.code & 7
    }

    fn operation(self) -> u8 {
        self.code & 0xf0
    }

    /// The subprogram called at `place`.
    fn callee(self, place: usize) -> Option<usize> {
        let call = self.code == class::JMP | CALL && self.source == PSEUDO_CALL;
        call.then(|| from(place, self.immediate)).flatten()
    }

    /// The subprogram whose address is taken at `place`.
    fn reference(self, place: usize) -> Option<usize> {
        let taken = self.code == LOAD_IMMEDIATE && self.source == PSEUDO_FUNC;
        taken.then(|| from(place, self.immediate)).flatten()
    }

    /// What it does at `place`; `arguments` gives the arguments of the subprogram that starts
    /// somewhere.
    fn effect(self, place: usize, arguments: impl Fn(usize) -> u8) -> Effect {
        let destination = 1 << self.destination;
        let source = 1 << self.source;
        let by_register = self.code & 8 != 0;
        let second = if by_register { source } else { 0 };
        let mut effect = Effect {
            reads: 0,
            writes: 0,
            falls_through: true,
            jump: None,
        };
        match self.class() {
            class::LD if self.code == LOAD_IMMEDIATE => effect.writes = destination,
            // The old packet loads: a call by another name.
            class::LD => {
                effect.reads = source | 1 << 6;
                effect.writes = R0 | ARGUMENT_REGISTERS;
            }
            class::LDX => (effect.reads, effect.writes) = (source, destination),
            class::ST => effect.reads = destination,
            class::STX => self.store(&mut effect),
            class::JMP | class::JMP32 => match self.operation() {
                CALL => {
                    let count = match (self.source, self.callee(place)) {
                        (_, Some(callee)) => arguments(callee),
                        (0, None) => helper_arguments(self.immediate),
                        _ => 5,
                    };
                    effect.reads = first(count);
                    effect.writes = R0 | ARGUMENT_REGISTERS;
                }
                EXIT => (effect.reads, effect.falls_through) = (R0, false),
                0 => {
                    let wide = self.class() == class::JMP32;
                    let distance = if wide {
                        self.immediate
                    } else {
                        self.offset.into()
                    };
                    (effect.falls_through, effect.jump) = (false, from(place, distance));
                }
                MAY_GOTO => effect.jump = from(place, self.offset.into()),
                _ => {
                    effect.reads = destination | second;
                    effect.jump = from(place, self.offset.into());
                }
            },
            // Both kinds of arithmetic. A move also is a sign extension or a cast between address
            // spaces: the same registers.
            _ => {
                const MOVE: u8 = 0xb0;
                const NEGATE: u8 = 0x80;
                const SWAP: u8 = 0xd0;
                effect.writes = destination;
                effect.reads = match self.operation() {
                    MOVE => second,
                    NEGATE | SWAP => destination,
                    _ => destination | second,
                };
            }
        }
        effect
    }

    /// Stores from a register, and the atomic operations.
    fn store(self, effect: &mut Effect) {
        const ATOMIC: u8 = 0xc0;
        const FETCH: i32 = 1;
        const COMPARE_EXCHANGE: i32 = 0xf1;
        const LOAD_ACQUIRE: i32 = 0x100;
        let (destination, source) = (1 << self.destination, 1 << self.source);
        effect.reads = destination | source;
        if self.code & 0xe0 != ATOMIC {
            return;
        }
        match self.immediate {
            LOAD_ACQUIRE => (effect.reads, effect.writes) = (source, destination),
            COMPARE_EXCHANGE => {
                effect.reads |= R0;
                effect.writes = R0;
            }
            operation if operation & FETCH != 0 => effect.writes = source,
            _ => {}
        }
    }
}

/// The instruction `distance` behind the one after `place`.
fn from(place: usize, distance: i32) -> Option<usize> {
    place.checked_add_signed(isize::try_from(distance).ok()? + 1)
}

fn decode(code: &[[u8; 8]]) -> Vec<Instruction> {
    code.iter().copied().map(Instruction::new).collect()
}

/// How many arguments the code of `range` takes: up to the highest of `r1` to `r5` that may be read
/// before it is written. Reads before writes on any path, backwards until nothing changes.
fn count(code: &[Instruction], range: Range<usize>, arguments: impl Fn(usize) -> u8) -> u8 {
    let mut live: Vec<Registers> = vec![0; range.len()];
    let at = |live: &[Registers], place: usize| match range.contains(&place) {
        true => live[place - range.start],
        false => 0,
    };
    loop {
        let mut changed = false;
        for place in range.clone().rev() {
            let instruction = code[place];
            let before = if is_second_half(code, range.start, place) {
                at(&live, place + 1)
            } else {
                let effect = instruction.effect(place, &arguments);
                let mut after = 0;
                if effect.falls_through {
                    after |= at(&live, place + 1);
                }
                if let Some(target) = effect.jump {
                    after |= at(&live, target);
                }
                effect.reads | (after & !effect.writes)
            };
            changed |= live[place - range.start] != before;
            live[place - range.start] = before;
        }
        if !changed {
            break;
        }
    }
    let entry = at(&live, range.start) & ARGUMENT_REGISTERS;
    (1..=5)
        .rev()
        .find(|register| entry & 1 << register != 0)
        .unwrap_or(0)
}

/// No instruction has code 0 but the second half of a 64-bit load.
fn is_second_half(code: &[Instruction], start: usize, place: usize) -> bool {
    place > start && code[place].code == 0 && code[place - 1].code == LOAD_IMMEDIATE
}

/// How much stack the code of `range` uses: the lowest address that it makes from the frame pointer.
fn stack_bytes(code: &[Instruction], range: Range<usize>) -> u32 {
    const FRAME: u8 = 10;
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut lowest = 0_i32;
    let mut copies: Registers = 0;
    for instruction in &code[range] {
        let destination = 1 << instruction.destination;
        let base = match instruction.class() {
            class::LDX => instruction.source,
            class::ST | class::STX => instruction.destination,
            _ => {
                if instruction.code == COPY && instruction.source == FRAME {
                    copies |= destination;
                } else if instruction.code == ADD && copies & destination != 0 {
                    lowest = lowest.min(instruction.immediate);
                    copies &= !destination;
                }
                continue;
            }
        };
        if base == FRAME {
            lowest = lowest.min(instruction.offset.into());
        }
    }
    lowest.unsigned_abs()
}

/// A function as the linker placed it.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// Its symbol.
    pub(crate) symbol: String,
    /// Its first instruction.
    pub(crate) start: usize,
}

/// The subprograms of `code`, the entry first; `placed` is in the order of their starts.
pub(crate) fn find(code: &[[u8; 8]], placed: &[Placed]) -> Vec<Subprogram> {
    let code = decode(code);
    let ends = placed.iter().skip(1).map(|next| next.start);
    let ranges: Vec<Range<usize>> = placed
        .iter()
        .zip(ends.chain([code.len()]))
        .map(|(one, end)| one.start..end)
        .collect();
    let referenced: BTreeSet<usize> = code
        .iter()
        .enumerate()
        .filter_map(|(place, instruction)| instruction.reference(place))
        .collect();
    let mut counts = vec![0_u8; placed.len()];
    loop {
        let before = counts.clone();
        for (number, range) in ranges.iter().enumerate() {
            let of = |start: usize| {
                let callee = placed.binary_search_by_key(&start, |one| one.start);
                callee.map_or(5, |callee| before[callee])
            };
            counts[number] = count(&code, range.clone(), of);
        }
        if counts == before {
            break;
        }
    }
    let called = |range: &Range<usize>| -> BTreeSet<usize> {
        let places = range.clone();
        let callees = places.filter_map(|place| code[place].callee(place));
        callees
            .filter_map(|start| placed.binary_search_by_key(&start, |one| one.start).ok())
            .collect()
    };
    let stacks: Vec<u32> = ranges
        .iter()
        .map(|range| stack_bytes(&code, range.clone()))
        .collect();
    let calls: Vec<BTreeSet<usize>> = ranges.iter().map(called).collect();
    let deepest = deepest(&stacks, &calls);
    let described = placed.iter().zip(ranges).zip(counts).enumerate();
    described
        .map(|(number, ((one, range), arguments))| Subprogram {
            stack_bytes: stacks[number],
            stack_deepest_bytes: deepest[number].0,
            deepest_callee: deepest[number].1,
            name: name(number, &one.symbol),
            start: range.start as u32,
            instructions: range.len() as u32,
            arguments,
            global: number == 0
                || !(ALWAYS_STATIC.contains(&one.symbol.as_str())
                    || referenced.contains(&range.start)),
        })
        .collect()
}

/// Stack of each function with its calls, and the callee that decides it.
fn deepest(stacks: &[u32], calls: &[BTreeSet<usize>]) -> Vec<(u32, Option<u32>)> {
    /// The kernel rounds every frame up to this.
    const FRAME_BYTES: u32 = 16;
    let mut deepest: Vec<(u32, Option<u32>)> = vec![(0, None); stacks.len()];
    // As many turns as a chain of calls may be long: the kernel takes eight frames, no recursion.
    for _ in 0..8 {
        let below = deepest.clone();
        for (number, stack) in stacks.iter().enumerate() {
            let most = calls[number].iter().max_by_key(|callee| below[**callee].0);
            let own = stack.next_multiple_of(FRAME_BYTES);
            deepest[number] = match most {
                Some(callee) => (own + below[*callee].0, Some(*callee as u32)),
                None => (own, None),
            };
        }
    }
    deepest
}

/// The name for the kernel: `f12_sweep` for the twelfth, whose path ends in `sweep`. The entry keeps
/// its name.
fn name(number: usize, symbol: &str) -> String {
    const LENGTH_MAX: usize = 127;
    let readable = format!("{:#}", rustc_demangle::demangle(symbol));
    let last = if number == 0 || readable == symbol {
        symbol
    } else {
        last_segment(&readable)
    };
    let mut name = if number == 0 {
        String::new()
    } else {
        format!("f{number}_")
    };
    name.extend(last.chars().map(|letter| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => letter,
        _ => '_',
    }));
    name.truncate(LENGTH_MAX);
    name
}

/// The last segment of a path that is not a list of types: `sweep` of `<a::Shard>::sweep::<B>`.
fn last_segment(path: &str) -> &str {
    let mut depth = 0_u32;
    let mut starts = vec![0];
    let bytes = path.as_bytes();
    for (place, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' | b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && bytes[..place].ends_with(b":") => starts.push(place + 1),
            _ => {}
        }
    }
    let segments = starts.iter().rev().map(|start| {
        let segment = &path[*start..];
        segment.split("::").next().unwrap_or(segment)
    });
    let mut named = segments.filter(|segment| !segment.starts_with(['<', '{']));
    named.next().unwrap_or(path)
}

/// Type information for the kernel, and which of its types each subprogram has.
pub(crate) struct TypeInformation {
    /// What `BPF_BTF_LOAD` takes.
    pub(crate) blob: Vec<u8>,
    /// First instruction and type of each subprogram, in their order.
    pub(crate) functions: Vec<[u32; 2]>,
}

/// Number types and functions of one program (`include/uapi/linux/btf.h`).
struct Types {
    types: Vec<u8>,
    strings: Vec<u8>,
    last: u32,
}

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const POINTER: u32 = 2;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const FUNCTION: u32 = 12;
    pub(super) const FUNCTION_TYPE: u32 = 13;
}

impl Types {
    fn string(&mut self, text: &str) -> u32 {
        let place = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        place
    }

    fn words(&mut self, words: &[u32]) {
        self.types
            .extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// A type with `count` things in it and `size`, which for some kinds is another type.
    fn add(&mut self, name: u32, kind: u32, count: u32, size: u32) -> u32 {
        self.words(&[name, kind << 24 | count, size]);
        self.last += 1;
        self.last
    }
}

/// Type information under which the subprograms are verified as [`Subprogram::global`] says.
pub(crate) fn type_information(subprograms: &[Subprogram]) -> TypeInformation {
    const STATIC: u32 = 0;
    const GLOBAL: u32 = 1;
    const CONTEXT_BYTES: u32 = 24;
    let mut types = Types {
        types: Vec::new(),
        strings: vec![0],
        last: 0,
    };
    let text = types.string("u64");
    let number = types.add(text, kind::INT, 0, 8);
    types.words(&[64]); // bits, unsigned
    // The kernel knows the context by this name and does not look inside.
    let text = types.string("xdp_md");
    let context = types.add(text, kind::STRUCT, 0, CONTEXT_BYTES);
    let context = types.add(0, kind::POINTER, 0, context);
    let text = types.string("ctx");
    let entry = types.add(0, kind::FUNCTION_TYPE, 1, number);
    types.words(&[text, context]);
    let names = ["a1", "a2", "a3", "a4", "a5"].map(|name| types.string(name));
    let plain: [u32; 6] = std::array::from_fn(|count| {
        let plain = types.add(0, kind::FUNCTION_TYPE, count as u32, number);
        for name in &names[..count] {
            types.words(&[*name, number]);
        }
        plain
    });
    let functions = subprograms.iter().enumerate().map(|(place, subprogram)| {
        let text = types.string(&subprogram.name);
        let linkage = if subprogram.global { GLOBAL } else { STATIC };
        let function_type = match place {
            0 => entry,
            _ => plain[usize::from(subprogram.arguments.min(5))],
        };
        let function = types.add(text, kind::FUNCTION, linkage, function_type);
        [subprogram.start, function]
    });
    let functions = functions.collect();
    const HEADER_BYTES: u32 = 24;
    let mut blob = vec![0x9f, 0xeb, 1, 0];
    let (types_bytes, strings_bytes) = (types.types.len() as u32, types.strings.len() as u32);
    let header = [HEADER_BYTES, 0, types_bytes, types_bytes, strings_bytes];
    blob.extend(header.iter().flat_map(|word| word.to_le_bytes()));
    blob.extend(types.types);
    blob.extend(types.strings);
    TypeInformation { blob, functions }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT_CODE: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    fn move_register(to: u8, from: u8) -> [u8; 8] {
        [0xbf, from << 4 | to, 0, 0, 0, 0, 0, 0]
    }

    fn move_number(to: u8, number: u8) -> [u8; 8] {
        [0xb7, to, 0, 0, number, 0, 0, 0]
    }

    fn call(distance: i8) -> [u8; 8] {
        let [a, b, c, d] = i32::from(distance).to_le_bytes();
        [0x85, PSEUDO_CALL << 4, 0, 0, a, b, c, d]
    }

    fn helper(number: u8) -> [u8; 8] {
        [0x85, 0, 0, 0, number, 0, 0, 0]
    }

    fn jump_if_zero(register: u8, distance: u8) -> [u8; 8] {
        [0x15, register, distance, 0, 0, 0, 0, 0]
    }

    fn found(code: &[[u8; 8]], starts: &[(usize, &str)]) -> Vec<Subprogram> {
        let placed: Vec<Placed> = starts
            .iter()
            .map(|(start, symbol)| Placed {
                symbol: (*symbol).to_owned(),
                start: *start,
            })
            .collect();
        find(code, &placed)
    }

    fn arguments(body: &[[u8; 8]]) -> u8 {
        let mut code = vec![move_number(0, 2), EXIT_CODE];
        code.extend(body);
        found(&code, &[(0, "entry"), (2, "body")])[1].arguments
    }

    #[test]
    fn arguments_are_registers_read_before_they_are_written() {
        assert_eq!(arguments(&[move_number(0, 1), EXIT_CODE]), 0);
        assert_eq!(arguments(&[move_register(0, 3), EXIT_CODE]), 3);
        let overwritten = [move_number(3, 1), move_register(0, 3), EXIT_CODE];
        assert_eq!(arguments(&overwritten), 0);
        let on_one_path = [
            jump_if_zero(1, 1),
            move_number(2, 1),
            move_register(0, 2),
            EXIT_CODE,
        ];
        assert_eq!(arguments(&on_one_path), 2);
        let behind_a_loop = [
            [0x17, 1, 0, 0, 1, 0, 0, 0],
            [0x55, 1, 0xfe, 0xff, 0, 0, 0, 0],
            move_register(0, 4),
            EXIT_CODE,
        ];
        assert_eq!(arguments(&behind_a_loop), 4);
    }

    #[test]
    fn calls_read_what_the_callee_takes_and_forget_the_rest() {
        assert_eq!(arguments(&[helper(1), EXIT_CODE]), 2, "map_lookup_elem");
        let forgotten = [helper(125), move_register(0, 5), EXIT_CODE];
        assert_eq!(arguments(&forgotten), 0, "ktime_get_boot_ns");
        // Two that call each other, and one that takes three arguments.
        let code = [
            EXIT_CODE,
            call(1),
            EXIT_CODE,
            jump_if_zero(1, 1),
            call(-4),
            call(1),
            EXIT_CODE,
            move_register(0, 3),
            EXIT_CODE,
        ];
        let starts = [(0, "entry"), (1, "one"), (3, "other"), (7, "three")];
        let counts = found(&code, &starts);
        assert_eq!(counts[1].arguments, 3);
        assert_eq!(counts[2].arguments, 3);
        assert_eq!(counts[3].arguments, 3);
    }

    #[test]
    fn instructions_of_the_arena_read_what_they_seem_to() {
        let cast = [[0xbf, 0x11, 1, 0, 0, 0, 1, 0], move_number(0, 1), EXIT_CODE];
        assert_eq!(arguments(&cast), 1, "addr_space_cast");
        let may_goto = [[0xe5, 0, 1, 0, 0, 0, 0, 0], move_number(0, 1), EXIT_CODE];
        assert_eq!(arguments(&may_goto), 0, "may_goto");
        let exchange = [[0xdb, 0x21, 0, 0, 0xe1, 0, 0, 0], EXIT_CODE];
        assert_eq!(arguments(&exchange), 2, "xchg_64");
        let wide = [
            [0x18, 2, 0, 0, 1, 0, 0, 0],
            [0; 8],
            move_register(0, 2),
            EXIT_CODE,
        ];
        assert_eq!(arguments(&wide), 0, "a 64-bit number");
    }

    #[test]
    fn what_takes_pointers_stays_static() {
        let code = [EXIT_CODE, EXIT_CODE, EXIT_CODE];
        let subprograms = found(&code, &[(0, "entry"), (1, "memcpy"), (2, "sweep")]);
        let global: Vec<bool> = subprograms.iter().map(|one| one.global).collect();
        assert_eq!(global, [true, false, true]);
    }

    #[test]
    fn the_deepest_chain_of_calls_is_found() {
        let store = |offset: i16| {
            let [low, high] = offset.to_le_bytes();
            [0x7b, 0x1a, low, high, 0, 0, 0, 0]
        };
        let code = [
            store(-8),
            call(2),
            call(3),
            EXIT_CODE,
            store(-24),
            EXIT_CODE,
            store(-40),
            EXIT_CODE,
        ];
        let subprograms = found(&code, &[(0, "entry"), (4, "shallow"), (6, "deep")]);
        assert_eq!(subprograms[0].stack_bytes, 8);
        assert_eq!(subprograms[0].stack_deepest_bytes, 16 + 48);
        assert_eq!(subprograms[0].deepest_callee, Some(2));
        assert_eq!(subprograms[1].stack_deepest_bytes, 32);
    }

    #[test]
    fn names_are_the_last_of_the_path() {
        let method = "_RNvMNtCslfShPVQmLXv_12ring0_engine4bookNtNtB4_5shard5Shard5sweep";
        assert_eq!(name(12, method), "f12_sweep");
        assert_eq!(name(3, "memcpy"), "f3_memcpy");
        assert_eq!(name(0, "ring0"), "ring0");
        assert_eq!(last_segment("<a::B as c::D>::free"), "free");
        assert_eq!(last_segment("<a::B>::admit::<c::D<e::F>>"), "admit");
        assert_eq!(last_segment("a::b::{closure#0}"), "b");
        assert!(name(1, &"x".repeat(300)).len() <= 127);
    }
}
