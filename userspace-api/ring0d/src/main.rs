//! `ring0d`: see the library.

use clap::Parser;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Brings a market up in the kernel, or adopts the one that is there, and serves its operator on a Unix socket.
///
/// Ends with SIGTERM or SIGINT and leaves everything pinned: matching goes on without it, the next start adopts. Exit
/// status: 0 ended as asked, 1 failed, 2 wrong usage, 4 another XDP program is on the interface, 5 a privilege is
/// missing, 6 the kernel lacks a feature.
///
/// `ring0d --config FILE[#SHARD]` takes its options from the table `[ring0d]` of a venue's file (docs/operations.md#one-file); others may follow.
/// `ring0d check FILE [--nodes] [--json]` checks such a file, every table by the program that reads it: exit status 0 good, 1 something is wrong.
///
/// `ring0d --dev [--ring kernel]` starts all of a venue on this machine with embedded defaults instead, and prints where everything listens: a node with
/// the hub, the shard, signer, settlement and gateway (`ring0d --dev --help`).
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: ring0d::Args,
}

/// The program that has all of a venue, beside this one.
const DEV: &str = "ring0-dev";

/// Checks a venue's file and changes nothing.
///
/// Exit status: 0 it is good, 1 something is wrong, 2 wrong usage.
#[derive(Parser)]
#[command(name = "ring0d check", max_term_width = 100)]
struct Check {
    /// The venue's TOML file.
    file: PathBuf,
    /// Asks the node of each hub too: whether it is there and in sync, and the hub and its tokens are what the file says.
    #[arg(long)]
    nodes: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

fn check(given: &[OsString]) -> ExitCode {
    let args =
        Check::parse_from(std::iter::once("ring0d check".into()).chain(given.iter().cloned()));
    let report = ring0d::check(&args.file, args.nodes);
    match args.json {
        true => println!("{}", report.json()),
        false => println!("{report}"),
    }
    ExitCode::from(u8::from(!report.findings.is_empty()))
}

fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().skip(1).collect();
    if given.first().is_some_and(|first| first == "--dev") {
        let beside = std::env::current_exe().map(|own| own.with_file_name(DEV));
        let started = beside.map(|path| Command::new(path).args(&given[1..]).exec());
        let (Ok(error) | Err(error)) = started;
        eprintln!(
            "ring0d: {DEV}, which has all of a venue, cannot be started: {error}; build it (cargo build --release -p {DEV}), it lies beside ring0d"
        );
        return ExitCode::FAILURE;
    }
    if given.first().is_some_and(|first| first == "check") {
        return check(&given[1..]);
    }
    let given = match ring0d::with_config(given) {
        Ok(given) => given,
        Err(error) => {
            eprintln!("ring0d: {error}");
            return ExitCode::FAILURE;
        }
    };
    let cli = Cli::parse_from(std::iter::once("ring0d".into()).chain(given));
    match ring0d::run(&cli.args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0d: {error}");
            ExitCode::from(error.exit())
        }
    }
}
