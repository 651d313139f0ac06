//! `ring0 bench`: what a ring does in a second, and what it costs.

mod beside;
mod engine;
mod itch;
mod journal;
pub(crate) mod mmsg;
mod processors;
pub(crate) mod pump;
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
    /// The journal: append with group sync, read and check, recovery of ten million messages.
    Journal(journal::Args),
    /// The matching core alone, beside other engines on the same streams.
    #[command(disable_help_flag = true)]
    Engine(engine::Args),
    /// Decoding ITCH and building books from it, beside other readers of the same feed.
    #[command(disable_help_flag = true)]
    Itch(itch::Args),
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    match &args.what {
        What::Wire(args) => wire::run(args),
        What::Journal(args) => journal::run(args),
        What::Engine(args) => engine::run(args),
        What::Itch(args) => itch::run(args),
    }
}
