//! Any bytes as the choices of a flow: packets, control commands, times. Engine and reference must agree.
#![no_main]

#[path = "../../tests/fuzzed/mod.rs"]
mod fuzzed;
#[path = "../../tests/pair/mod.rs"]
mod pair;
#[path = "../../tests/tape/mod.rs"]
mod tape;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzed::run(bytes);
});
