//! Lines for people: a dropped frame, a fault, a doorbell. Cargo feature `log`, off by default; without it every function
//! here is empty and the object has the instructions of a program without this file.
//!
//! A line holds a counter's name, a length, a count. Never a key, a tag or a byte of a packet. When the ring buffer is full
//! the line is lost; the counters are exact, the log is not. `docs/decisions/0022-kernel-log.md`.

use ring0_engine::Shard;

/// A frame was dropped under counter `counter`.
#[inline(always)]
pub fn dropped(counter: u32, frame_bytes: u64) {
    #[cfg(feature = "log")]
    lines::dropped(counter, frame_bytes as u32).seen();
    #[cfg(not(feature = "log"))]
    let _ = (counter, frame_bytes);
}

/// Under the lock, at the end of a run: whether the shard is broken, by this run or one before. Every run says it, so that who
/// looks late sees it too.
#[inline(always)]
pub fn fault(shard: Shard<'_>) {
    #[cfg(feature = "log")]
    {
        let header = shard.header();
        let number = header.broken.get();
        if number != 0 {
            lines::fault(number, header.broken_sequence.get()).seen();
        }
    }
    #[cfg(not(feature = "log"))]
    let _ = shard;
}

/// Under the lock, at the end of a doorbell.
#[inline(always)]
pub fn doorbell(shard: Shard<'_>) {
    #[cfg(feature = "log")]
    lines::doorbell(shard.header().controls_taken.get()).seen();
    #[cfg(not(feature = "log"))]
    let _ = shard;
}

/// Functions of their own, of numbers (`docs/decisions/0021-verified-once.md`): their stack is gone when the engine runs.
#[cfg(feature = "log")]
mod lines {
    use aya_log_ebpf::{error, info, warn};
    use ring0_abi::{COUNTERS, Counter};
    use ring0_engine::region::Finished;
    use ring0_wire::Malformed;

    /// Bytes of a name in [`NAMES`], padded with spaces: with one length the verifier knows where in the record everything lies.
    /// The longest name has 25.
    const NAME: usize = 28;

    /// Names by number, as `ring0_abi::counter_name` has them. One table: a table of `&str` would need addresses in
    /// constants, which no loader fills in.
    static NAMES: [[u8; NAME]; COUNTERS as usize] = names();

    const fn names() -> [[u8; NAME]; COUNTERS as usize] {
        let mut names = [[b' '; NAME]; COUNTERS as usize];
        let mut number = 0;
        while number < Counter::ALL.len() {
            names[number] = write(names[number], 0, Counter::ALL[number].name());
            number += 1;
        }
        while number < names.len() {
            let cause = Malformed::ALL[number - Counter::ALL.len()];
            names[number] = write(write(names[number], 0, "drop_"), 5, cause.name());
            number += 1;
        }
        names
    }

    /// In a constant, where a name that is too long does not compile.
    const fn write(mut to: [u8; NAME], at: usize, name: &str) -> [u8; NAME] {
        let mut place = 0;
        while place < name.len() {
            to[at + place] = name.as_bytes()[place];
            place += 1;
        }
        to
    }

    #[inline(never)]
    pub fn dropped(counter: u32, frame_bytes: u32) -> Finished {
        if let Some(name) = NAMES.get(counter as usize) {
            // SAFETY: names are ASCII.
            let name: &str = unsafe { core::str::from_utf8_unchecked(name) };
            warn!((), "{} frame of {} bytes dropped", name, frame_bytes);
        }
        Finished::here()
    }

    #[inline(never)]
    pub fn fault(number: u32, sequence: u64) -> Finished {
        error!(
            (),
            "fault {} at command {}: the shard is broken", number, sequence
        );
        Finished::here()
    }

    #[inline(never)]
    pub fn doorbell(commands: u64) -> Finished {
        info!((), "doorbell, {} commands taken so far", commands);
        Finished::here()
    }
}
