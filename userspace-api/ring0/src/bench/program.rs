//! `ring0 bench engine`, `itch`, `mq`: becomes the program of that bench, which lies beside this one.
//!
//! What they measure against are dependencies of those programs alone (`docs/decisions/0030-bench-peers.md`, `0044-own-record-ring.md`).

use crate::fail::Fail;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

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

/// Runs the bench of that name; comes back only with a failure.
pub(crate) fn run(bench: &str, args: &Args) -> Result<(), Fail> {
    let name = format!("ring0-bench-{bench}");
    let program = std::env::current_exe()?.with_file_name(&name);
    // Reports have the command line: the one that was typed.
    let error = Command::new(&program)
        .arg0(format!("ring0 bench {bench}"))
        .args(&args.options)
        .exec();
    Err(match error.kind() {
        ErrorKind::NotFound => Fail::new(format!(
            "{} is not there; `cargo build --release -p {name}` makes it, with what it measures against",
            program.display()
        )),
        _ => error.into(),
    })
}
