//! `ring0 bench`: what a ring does in a second, and what it costs.

mod journal;
mod lane;
pub(crate) mod processors;
mod program;
pub(crate) mod pump;
mod rest;
pub(crate) mod rings;
mod settle;
mod wire;

use crate::fail::Fail;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The whole kernel path over a veth pair, everything answered, beside a plain UDP-socket server with the same engine.
    Wire(wire::Args),
    /// Every ring beside the bare echo of its transport: messages a second, latency in an open loop, processor time.
    Rings(rings::Args),
    /// The journal: append with group sync, read and check, recovery of ten million messages.
    Journal(journal::Args),
    /// Settlement: fills in the ledger, traders who sign every batch, signatures of each kind of key.
    Settle(settle::Args),
    /// The gateway over HTTP: orders, a book, balances, beside a server of the same framework that says hello.
    Rest(rest::Args),
    /// The matching core alone, beside other engines on the same streams.
    #[command(disable_help_flag = true)]
    Engine(program::Args),
    /// Decoding ITCH and building books from it, beside other readers of the same feed.
    #[command(disable_help_flag = true)]
    Itch(program::Args),
    /// The record ring from process to process, beside other queues, and with the record file on.
    #[command(disable_help_flag = true)]
    Mq(program::Args),
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    match &args.what {
        What::Wire(args) => wire::run(args),
        What::Rings(args) => rings::run(args),
        What::Journal(args) => journal::run(args),
        What::Settle(args) => settle::run(args),
        What::Rest(args) => rest::run(args),
        What::Engine(args) => program::run("engine", args),
        What::Itch(args) => program::run("itch", args),
        What::Mq(args) => program::run("mq", args),
    }
}
