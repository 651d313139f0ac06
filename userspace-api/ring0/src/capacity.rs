//! `ring0 capacity`.

use crate::fail::Fail;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn run(_: &Args) -> Result<(), Fail> {
    Err(Fail::new("this verb is being written"))
}
