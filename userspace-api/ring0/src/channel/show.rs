//! `ring0 channel show`: what an exit file says, verified.

use crate::fail::Fail;
use ring0_channels::evidence::{Holding, OperatorHalf};
use ring0_channels::exit_file::ExitFile;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file.
    file: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let file = ExitFile::read(&args.file)?;
    println!(
        "made at {} (Unix time), every signature and path holds",
        file.made
    );
    file.holdings.iter().for_each(print);
    Ok(())
}

/// One channel.
pub(super) fn print(holding: &Holding) {
    println!("channel {}", holding.channel());
    println!(
        "    hub       {} of lineage {}",
        holding.hub.address, holding.hub.lineage
    );
    println!("    owner     {}", holding.terms.owner);
    println!("    token     {}", holding.terms.token);
    match &holding.newest {
        None => println!("    state     none was signed: what was paid in, less what was paid out"),
        Some(newest) => {
            let form = match newest.operator {
                OperatorHalf::Compact(_) => "compact",
                OperatorHalf::Leaf(_) => "leaf of a batch",
            };
            println!(
                "    version   {} of epoch {} ({form})",
                newest.version, newest.epoch
            );
            println!(
                "    balance   {}, with deposits of {} and withdrawals of {} in it",
                newest.balance, newest.deposited_seen, newest.withdrawn_seen
            );
        }
    }
}
