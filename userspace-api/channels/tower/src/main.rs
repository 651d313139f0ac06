//! `ring0-tower`: see the library.

use clap::Parser;
use std::process::ExitCode;

/// Watches channels and answers old states in dispute by the newest ones it has evidence of.
///
/// Alerts are JSON lines on standard output. Runs until it is ended, at any moment and by any signal; keeps nothing.
/// Exit status: 1 cannot start, 2 wrong usage.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: ring0_tower::Args,
}

fn main() -> ExitCode {
    match ring0_tower::run(&Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0-tower: {error}");
            ExitCode::FAILURE
        }
    }
}
