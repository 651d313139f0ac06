//! `ring0d`: see the library.

use clap::Parser;
use std::process::ExitCode;

/// Brings a market up in the kernel, or adopts the one that is there, and serves its operator on a Unix socket.
///
/// Ends with SIGTERM or SIGINT and leaves everything pinned: matching goes on without it, the next start adopts. Exit
/// status: 0 ended as asked, 1 failed, 2 wrong usage, 4 another XDP program is on the interface, 5 a privilege is
/// missing, 6 the kernel lacks a feature.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: ring0d::Args,
}

fn main() -> ExitCode {
    match ring0d::run(&Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0d: {error}");
            ExitCode::from(error.exit())
        }
    }
}
