//! `ring0`: the user command. One file a verb; each prints text, or one JSON object with `--json`.

mod audit;
mod bench;
mod capacity;
mod channel;
mod ctl;
mod demo;
mod fail;
mod feed;
mod flow;
mod itch;
mod journal;
mod keys;
mod lab;
mod record;
mod replay;
mod shard;
mod signer;
mod snapshot;
mod statement;
mod trade;

use clap::{Parser, Subcommand};
use fail::Fail;
use std::ffi::OsString;
use std::process::ExitCode;

/// An exchange core whose matching engine runs in the kernel.
///
/// Exit status: 0 done and everything agreed, 1 failed, 2 wrong usage, 3 something disagreed (a book, a hash, an answer),
/// 5 a privilege is missing, 6 the kernel lacks a feature.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring a market up over a veth pair, trade, kill everything, trade on, adopt, replay, compare.
    Demo(demo::Args),
    /// Make the keys that a market file names and that do not exist yet.
    Keygen(keys::Args),
    /// Be the daemon, as `ring0d` is: for a machine that has only this binary.
    #[command(hide = true)]
    Daemon(ring0d::Args),
    /// Talk to a running daemon: status, deposits, limits, market states, auctions, days, halts, kills, listings.
    Ctl(ctl::Args),
    /// Consume the record ring into a file, as its required consumer; goes on where it was. `--config FILE[#SHARD]`: with the options of the table
    /// `[recorder]` of a venue's file.
    Record(record::Args),
    /// Publish the public feed, listen to one, capture one.
    Feed(feed::Args),
    /// Send single orders by hand and print the answers.
    Trade(trade::Args),
    /// Write a LOBSTRM1 stream from a seed.
    Gen(flow::Args),
    /// Replay order flow from a file through a ring and compare.
    Replay(replay::Args),
    /// Read a file of ITCH 5.0: messages by type, time to decode and to build books, trades, best prices.
    Itch(itch::Args),
    /// Make a snapshot of a shard from its recording, look at one, verify one.
    Snapshot(snapshot::Args),
    /// Look at the journal, the durable form of the records: verify, dump, replay, stats, import, snapshot.
    Journal(journal::Args),
    /// Run an experiment from a scenario file, compare results, capture and replay traffic.
    Lab(lab::Args),
    /// Payment channels: what a trader keeps, how it leaves, a demo.
    Channel(channel::Args),
    /// Keys: the signer's process, its policy, history, ceremonies, backups.
    Signer(signer::Args),
    /// Check the logs of what operators and API callers did, and that they are those of a signed batch.
    Audit(audit::Args),
    /// Check a statement of an account that the operator signed.
    Statement(statement::Args),
    /// Measure.
    Bench(bench::Args),
    /// Print the bytes of every part of a shard.
    Capacity(capacity::Args),
}

fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    let given = match given.get(1).is_some_and(|verb| verb == "record") {
        true => match record::with_config(given) {
            Ok(given) => given,
            Err(error) => {
                eprintln!("ring0: {error}");
                return ExitCode::FAILURE;
            }
        },
        false => given,
    };
    let result = match Cli::parse_from(given).verb {
        Verb::Demo(args) => demo::run(&args),
        Verb::Keygen(args) => keys::run(&args),
        Verb::Daemon(args) => ring0d::run(&args).map_err(Fail::from),
        Verb::Ctl(args) => ctl::run(&args),
        Verb::Record(args) => record::run(&args),
        Verb::Feed(args) => feed::run(&args),
        Verb::Trade(args) => trade::run(&args),
        Verb::Gen(args) => flow::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Itch(args) => itch::run(&args),
        Verb::Snapshot(args) => snapshot::run(&args),
        Verb::Journal(args) => journal::run(&args),
        Verb::Lab(args) => lab::run(&args),
        Verb::Channel(args) => channel::run(&args),
        Verb::Signer(args) => signer::run(&args),
        Verb::Audit(args) => audit::run(&args),
        Verb::Statement(args) => statement::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Capacity(args) => capacity::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            eprintln!("ring0: {fail}");
            ExitCode::from(fail.code())
        }
    }
}
