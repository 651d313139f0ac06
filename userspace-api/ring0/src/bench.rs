//! `ring0 bench`: what a ring does in a second, and what it costs.

mod mmsg;
pub(crate) mod pump;

use crate::fail::Fail;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_: &Args) -> Result<(), Fail> {
    Err(Fail::new("this verb is being written"))
}
