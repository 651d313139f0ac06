//! `ring0 bench engine`: becomes the program of that bench, which lies beside this one.
//!
//! The engines that it measures against are dependencies of that program alone (`docs/decisions/0030-bench-peers.md`).

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
    beside::run("ring0-bench-engine", "ring0 bench engine", &args.options)
}
