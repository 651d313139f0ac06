//! The fuzz target of `engine/fuzz` without a fuzzer: random bytes, and bytes changed a little, for `RING0_FUZZ_SECONDS` (5).
//!
//! The bytes of a failure are written to the system's folder for temporary files; `RING0_FUZZ_INPUT=FILE` runs one file alone, this
//! one or one that cargo-fuzz found.
#![cfg(feature = "std")]

mod fuzzed;
mod pair;
mod tape;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn choices_of_a_fuzzer_agree() {
    if let Ok(file) = std::env::var("RING0_FUZZ_INPUT") {
        let bytes = std::fs::read(&file).expect("the file can be read");
        println!("{} inputs", fuzzed::run(&bytes));
        return;
    }
    let seed = tape::seed();
    let seconds = tape::number_of("RING0_FUZZ_SECONDS").unwrap_or(5);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(seed);
    let (mut runs, mut inputs) = (0_u64, 0_u64);
    let mut bytes: Vec<u8> = Vec::new();
    while Instant::now() < until {
        if runs.is_multiple_of(8) {
            let len = 1 << random.below(14);
            bytes = (0..len).map(|_| random.below(256) as u8).collect();
        }
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        let done = catch_unwind(AssertUnwindSafe(|| fuzzed::run(&bytes)));
        match done {
            Ok(count) => inputs += u64::from(count),
            Err(panic) => {
                let file = std::env::temp_dir().join(format!("ring0-fuzz-{seed}.bin"));
                let kept = std::fs::write(&file, &bytes);
                println!("RING0_SEED={seed} run {runs}: bytes in {file:?} ({kept:?})");
                resume_unwind(panic);
            }
        }
        runs += 1;
    }
    println!("{runs} runs, {inputs} inputs in {seconds} s");
}
