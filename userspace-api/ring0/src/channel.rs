//! `ring0 channel`: what a trader keeps and how it leaves, and a demo of both on a real node.

mod demo;
mod exit;
mod export;
mod show;
mod verify;

use crate::fail::Fail;
use ring0_channels::key::Signer;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Write one file with all that leaving needs: the newest state of every channel, from the places where they are kept.
    Export(export::Args),
    /// Leave alone: dispute by the newest state, wait for the window's end, settle. May be begun again at any point.
    Exit(exit::Args),
    /// Check that all channels that are kept are in a batch, under one signature of the operator, before signing it.
    Verify(verify::Args),
    /// Deposit on a real node, trade, settle a batch, withdraw; then the operator vanishes and the trader leaves.
    Demo(demo::Args),
    /// Verify an exit file and print what is in it.
    Show(show::Args),
    /// Be a tower: watch channels and answer old states in dispute, as `ring0-tower` does.
    Tower(ring0_tower::Args),
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    match &args.verb {
        Verb::Export(args) => export::run(args),
        Verb::Exit(args) => exit::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Demo(args) => demo::run(args),
        Verb::Show(args) => show::run(args),
        Verb::Tower(args) => ring0_tower::run(args).map_err(Fail::new),
    }
}

/// A key from a file of 64 hexadecimal digits that nobody else may read.
fn key(path: &Path) -> Result<Signer, Fail> {
    let failed = |why: String| {
        Fail::new(format!(
            "{}: {why}; a key's file has 64 hexadecimal digits and mode 0600",
            path.display()
        ))
    };
    let metadata = std::fs::metadata(path).map_err(|why| failed(why.to_string()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(failed(format!("others may read it (mode {mode:03o})")));
    }
    let text = std::fs::read_to_string(path).map_err(|why| failed(why.to_string()))?;
    let digits = text.trim();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let bytes: [u8; 32] = alloy_primitives::hex::decode_to_array(digits)
        .map_err(|_| failed("it holds no 64 hexadecimal digits".to_owned()))?;
    Signer::new(bytes).map_err(|why| failed(why.to_string()))
}

/// Seconds of Unix time.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
