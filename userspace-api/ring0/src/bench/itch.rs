//! `ring0 bench itch`: becomes the program of that bench, which lies beside this one.
//!
//! The readers that it measures against are dependencies of that program alone (`docs/decisions/0041-decoder-gate.md`).

use crate::bench::beside;
use crate::fail::Fail;

/// Arguments: all are the program's; `--help` lists them.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    options: Vec<String>,
}

/// Runs the bench; comes back only with a failure.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    beside::run("ring0-bench-itch", "ring0 bench itch", &args.options)
}
