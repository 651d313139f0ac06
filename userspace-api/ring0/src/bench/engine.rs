//! `ring0 bench engine`: becomes the program of that bench, which lies beside this one.
//!
//! The engines that it measures against are dependencies of that program alone (`docs/decisions/0030-bench-peers.md`).

use crate::fail::Fail;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Its file name.
const PROGRAM: &str = "ring0-bench-engine";

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
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    // Reports have the command line: the one that was typed.
    let error = Command::new(&program)
        .arg0("ring0 bench engine")
        .args(&args.options)
        .exec();
    Err(match error.kind() {
        ErrorKind::NotFound => Fail::new(format!(
            "{} is not there; `cargo build --release -p {PROGRAM}` makes it, with the engines it measures against",
            program.display()
        )),
        _ => error.into(),
    })
}
