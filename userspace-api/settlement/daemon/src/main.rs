//! `ring0-settled`: see the library.

use clap::{Parser, Subcommand};
use ring0_settled::protocol::Request;
use ring0_settled::{Client, Config};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// The settlement daemon: follows shards and hubs, makes batches, brings deposits in and withdrawals out.
///
/// Runs until SIGTERM, and may be killed at any moment: the next start goes on. Exit status: 1 cannot start or go on, 2 wrong usage.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs.
    Run {
        /// The TOML file (docs/settled.md).
        #[arg(value_name = "FILE")]
        config: PathBuf,
        /// Log as JSON lines.
        #[arg(long)]
        log_json: bool,
        /// End when the process that started it ends.
        #[arg(long)]
        with_parent: bool,
    },
    /// Says something to a daemon that runs, as one JSON object with a `verb` (docs/settled.md), and prints what it answers.
    Say {
        /// Its socket, `settled.sock` in the folder of `sockets`.
        #[arg(value_name = "SOCKET")]
        socket: PathBuf,
        /// For instance '{"verb":"status"}'.
        #[arg(value_name = "JSON")]
        request: String,
    },
    /// Checks a file, and says what is wrong with it and what to do.
    Check {
        /// The TOML file.
        #[arg(value_name = "FILE")]
        config: PathBuf,
        /// Asks the node of each hub too: whether it is there and in sync, and the hub and its tokens are what the file says. One line for each finding.
        #[arg(long)]
        nodes: bool,
    },
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run {
            config,
            log_json,
            with_parent,
        } => {
            // RUST_LOG says what is logged; without it what people act upon.
            let filter =
                EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            let log = tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr);
            match log_json {
                true => log.json().init(),
                false => log.init(),
            }
            if with_parent {
                ring0d::end_with_parent();
            }
            told(ring0_settled::run(&config, ring0d::stop_flag()))
        }
        Verb::Say { socket, request } => say(&socket, &request),
        Verb::Check { config, nodes } => check(&config, nodes),
    }
}

/// Reads a file, and asks the nodes where that is wanted.
fn check(file: &Path, nodes: bool) -> ExitCode {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return told(Err(error)),
    };
    let findings = match nodes {
        true => ring0_settled::nodes::check(&config),
        false => Vec::new(),
    };
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        return ExitCode::FAILURE;
    }
    let asked = if nodes { ", whose nodes agree" } else { "" };
    println!(
        "{}: good: {} shards, {} hubs{asked}, deposits go to {}",
        config.path.display(),
        config.shards.len(),
        config.hubs.len(),
        config.shards[config.deposits_to as usize].name
    );
    ExitCode::SUCCESS
}

fn say(socket: &Path, request: &str) -> ExitCode {
    let request = match serde_json::from_str::<Request>(request) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("ring0-settled: that is no request: {error}; docs/settled.md has them all");
            return ExitCode::from(2);
        }
    };
    told(Client::connect(socket).and_then(|mut client| {
        println!("{}", client.call(&request)?);
        Ok(())
    }))
}

fn told<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0-settled: {error}");
            ExitCode::FAILURE
        }
    }
}
