//! `ring0-signer`: see the library.

use clap::Parser;
use std::process::ExitCode;

/// Holds keys and signs what its policy allows; `ring0 signer` is the same.
///
/// Exit status: 0 done, 1 failed, 2 wrong usage, 3 something does not agree (a history, a store that is old).
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: ring0_signer::command::Args,
}

fn main() -> ExitCode {
    match ring0_signer::command::run(&Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0-signer: {error}");
            ExitCode::from(error.exit())
        }
    }
}
