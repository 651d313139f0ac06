//! The command line: verbs, what they share, how an error ends.

mod clean;
mod daemon;
mod generate;
mod load;
mod log;
mod migrate;
mod object;
mod output;
mod place;
mod probe;
mod replace;
mod stats;
mod status;
mod subprograms;
mod tune;
mod unload;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xdp_loader::{Exit, LoaderError};

const EXIT_CODES: &str = "Exit codes:
  0  done; for status: attached
  1  error
  2  usage
  3  not attached
  4  another program is on the interface
  5  a privilege is missing
  6  the kernel lacks a feature
  7  the new program was refused or taken back; the old one goes on";

#[derive(Parser)]
#[command(
    name = "xdp-loader",
    version,
    about = "Loads, pins, adopts, replaces, watches and removes Ring0's XDP program.",
    after_help = EXIT_CODES
)]
pub(crate) struct Arguments {
    /// Print one JSON object instead of text, errors included (`schema/xdp-loader-1.json`).
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attach the program, or replace the running one; memory that is pinned is adopted.
    #[command(after_help = EXIT_CODES)]
    Load(load::Arguments),
    /// Put another program in the running one's place, watch it, go back by itself if it is not well.
    #[command(after_help = EXIT_CODES)]
    Replace(replace::Arguments),
    /// Detach and remove every pin. The book in memory is lost.
    #[command(after_help = EXIT_CODES)]
    Unload(unload::Arguments),
    /// Say what is loaded and attached.
    #[command(after_help = EXIT_CODES)]
    Status(place::Place),
    /// Every counter by name, per second and total; the record ring, its consumers and their lag.
    #[command(after_help = EXIT_CODES)]
    Stats(stats::Arguments),
    /// Print what a program built with `cargo xtask ebpf --log` logs, until Ctrl-C. A line is printed once, by one reader.
    #[command(after_help = EXIT_CODES)]
    Log(log::Arguments),
    /// Say whether this kernel and this user can run the kernel ring; with an interface, what each ring could do on it and why not.
    #[command(after_help = EXIT_CODES)]
    Probe(probe::Arguments),
    /// Show what dead loads, gone interfaces and gone namespaces left; with --yes remove it.
    #[command(after_help = EXIT_CODES)]
    Clean(clean::Arguments),
    /// Show an interface's channels, GRO, LRO, interrupts and their delay; set them, or take that back.
    #[command(after_help = EXIT_CODES)]
    Tune(tune::Arguments),
    /// Print the manual page, or write all of them into a folder.
    Man(generate::ManArguments),
    /// Print completions for a shell.
    Completions(generate::CompletionsArguments),
    /// List the subprograms of an object: instructions, arguments, stack, name.
    Subprograms(subprograms::Arguments),
}

impl Command {
    fn verb(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::Replace(_) => "replace",
            Self::Unload(_) => "unload",
            Self::Status(_) => "status",
            Self::Stats(_) => "stats",
            Self::Log(_) => "log",
            Self::Probe(_) => "probe",
            Self::Clean(_) => "clean",
            Self::Tune(_) => "tune",
            Self::Man(_) => "man",
            Self::Completions(_) => "completions",
            Self::Subprograms(_) => "subprograms",
        }
    }
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let out = output::Output {
        json: arguments.json,
        verb: arguments.command.verb(),
    };
    let result = match &arguments.command {
        Command::Load(arguments) => load::run(arguments, out),
        Command::Replace(arguments) => replace::run(arguments, out),
        Command::Unload(arguments) => unload::run(arguments, out),
        Command::Status(place) => status::run(place, out),
        Command::Stats(arguments) => stats::run(arguments, out),
        Command::Log(arguments) => log::run(arguments, out),
        Command::Probe(arguments) => probe::run(arguments, out),
        Command::Clean(arguments) => clean::run(arguments, out),
        Command::Tune(arguments) => tune::run(arguments, out),
        Command::Man(arguments) => generate::man(arguments),
        Command::Completions(arguments) => generate::completions(arguments),
        Command::Subprograms(arguments) => subprograms::run(arguments, out),
    };
    let exit = result.unwrap_or_else(|error: LoaderError| out.error(&error));
    ExitCode::from(exit as u8)
}

type Done = Result<Exit, LoaderError>;
