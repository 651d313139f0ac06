//! `ring0 feed`: the public feed, published, listened to, captured.

mod answers;
mod capture;
mod listen;
mod serve;

use crate::fail::Fail;
use ring0_feed::Line;
use ring0d::{end_with_parent, stop_flag};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: FeedVerb,
}

#[derive(clap::Subcommand)]
enum FeedVerb {
    /// Publish a shard's records as ITCH 5.0 over MoldUDP64, with re-request and GLIMPSE servers.
    Serve(Box<serve::Args>),
    /// Listen to a feed and print its books.
    Listen(listen::Args),
    /// Print a session's full answers (OUCH 5.0), or an account's drop copy.
    Answers(answers::Args),
    /// Write the packets of a feed into a capture, as they come.
    Capture(capture::Args),
}

/// Where a feed is: lines, and where this process must be to reach them.
#[derive(clap::Args)]
pub(crate) struct Lines {
    /// Line A: multicast group, port, and address of the interface.
    #[arg(long = "line-a", value_name = "GROUP:PORT@ADDRESS")]
    a: Line,
    /// Line B, with the same packets.
    #[arg(long = "line-b", value_name = "GROUP:PORT@ADDRESS")]
    b: Option<Line>,
    /// Network namespace of the lines and servers [default: this process's].
    #[arg(long, value_name = "NS")]
    in_netns: Option<String>,
}

impl Lines {
    fn all(&self) -> Vec<Line> {
        std::iter::once(self.a).chain(self.b).collect()
    }

    /// Opens sockets where the lines are; what they are opened by stays there.
    fn inside<R: Send>(&self, open: impl FnOnce() -> R + Send) -> Result<R, Fail> {
        Ok(match &self.in_netns {
            Some(name) => ring0_lab::in_netns(name, open)?,
            None => open(),
        })
    }
}

/// When to end.
#[derive(clap::Args)]
pub(crate) struct Until {
    /// End after this many seconds [default: at SIGTERM or SIGINT].
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// End when the process that started this one does: for demos and tests.
    #[arg(long, hide = true)]
    with_parent: bool,
}

impl Until {
    /// Begins to count; what is given says whether it is time.
    fn begin(&self) -> impl FnMut() -> bool + use<> {
        if self.with_parent {
            end_with_parent();
        }
        let stop = stop_flag();
        let seconds = self.seconds;
        let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        move || stop.load(Ordering::Acquire) || end.is_some_and(|end| Instant::now() >= end)
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    match &args.verb {
        FeedVerb::Serve(args) => serve::run(args),
        FeedVerb::Listen(args) => listen::run(args),
        FeedVerb::Answers(args) => answers::run(args),
        FeedVerb::Capture(args) => capture::run(args),
    }
}
