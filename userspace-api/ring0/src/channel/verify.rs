//! `ring0 channel verify`: whether a batch has all of a trader's channels, before it is signed.

use crate::fail::Fail;
use ring0_channels::batch_file::BatchFile;
use ring0_channels::keep;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The batch's epoch.
    epoch: u64,
    /// The account's part of the batch, as the operator gave it.
    #[arg(long, value_name = "FILE")]
    batch: PathBuf,
    /// A folder where states are kept; the newest of all folders counts.
    #[arg(long, required = true, value_name = "DIR")]
    keep: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Fail::new(format!(
            "{}: {why}; name the file that the operator gave for this account and epoch",
            args.batch.display()
        ))
    };
    let text = std::fs::read(&args.batch).map_err(|why| unreadable(&why))?;
    let batch: BatchFile = serde_json::from_slice(&text).map_err(|why| unreadable(&why))?;
    if batch.epoch != args.epoch {
        return Err(Fail::disagreed(format!(
            "the file is of epoch {}, and {} was asked for",
            batch.epoch, args.epoch
        )));
    }
    let (kept, damaged) = keep::newest(&args.keep)?;
    if let Some(one) = damaged.first() {
        return Err(Fail::new(format!(
            "{}: {}; without it nobody can say that all channels are in: bring the other copy there",
            one.path.display(),
            one.why
        )));
    }
    let state = batch.check(&kept).map_err(Fail::disagreed)?;
    batch.holdings.iter().for_each(super::show::print);
    println!(
        "epoch {}: all {} kept channels of account {} are in, under one root {}",
        args.epoch,
        kept.len(),
        state.account,
        state.accountRoot
    );
    Ok(())
}
