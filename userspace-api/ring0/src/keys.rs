//! `ring0 keygen`: a key for every session of a market that has none.

use crate::fail::Fail;
use ring0_market::{Existing, keygen};
use serde_json::json;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The market's TOML file.
    #[arg(long, value_name = "FILE")]
    market: PathBuf,
    /// Make all keys anew. Traders with the old ones, and a shard that was started with them, no longer agree.
    #[arg(long)]
    replace: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let existing = if args.replace {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let keys = keygen(&args.market, existing)?;
    if args.json {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| json!({ "session": key.session, "path": key.path, "made": key.made }))
            .collect();
        println!("{}", json!({ "keys": keys }));
        return Ok(());
    }
    for key in &keys {
        let did = if key.made { "made" } else { "kept" };
        println!("{did}  {}  {}", key.session, key.path.display());
    }
    Ok(())
}
