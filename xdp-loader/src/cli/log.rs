//! `log`.

use super::{Done, output::Output, place::Place};
use clap::Args;
use std::time::{Duration, Instant};
use xdp_loader::{Exit, drop_privileges, open_pinned};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// End after this time.
    #[arg(long)]
    seconds: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments, out: Output) -> Done {
    const TURN: Duration = Duration::from_secs(1);
    /// Lines that may still be read when the time is over: more than the buffer holds is new.
    const LAST_LINES: u32 = 4096;
    let mut log = open_pinned(&arguments.place.pin_root())?.log()?;
    drop_privileges()?;
    let end = arguments
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut last_lines = 0;
    loop {
        let left = end.map_or(TURN, |end| end.saturating_duration_since(Instant::now()));
        let line = log.next(left.min(TURN))?;
        last_lines += u32::from(left.is_zero());
        let Some(line) = line else {
            if left.is_zero() {
                return Ok(Exit::Ok);
            }
            continue;
        };
        // Whoever read our output may have gone: then there is nothing left to do.
        if !out.say(&line, &line) || last_lines >= LAST_LINES {
            return Ok(Exit::Ok);
        }
    }
}
