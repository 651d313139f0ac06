//! `ring0 statement`: whether a statement of an account is what the operator signed.

use crate::fail::Fail;
use ring0_channels::Address;
use ring0_settled::statement::{SignedStatement, StatementError};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: StatementVerb,
}

#[derive(clap::Subcommand)]
enum StatementVerb {
    /// Check that a statement's lines sum to its closing balances, and that the operator signed it beside the root of the batch that it ends with. Needs
    /// nothing but the file.
    Verify(Verify),
}

#[derive(clap::Args)]
struct Verify {
    /// The whole answer to a statement that was asked for with its signature.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The operator's address, as you know it: the file's own word for it is not enough.
    #[arg(long, value_name = "ADDRESS")]
    operator: Address,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let StatementVerb::Verify(args) = &args.verb;
    let named = |why: &dyn std::fmt::Display| format!("{}: {why}", args.file.display());
    let text = std::fs::read(&args.file).map_err(|why| Fail::new(named(&why)))?;
    let answer: Value = serde_json::from_slice(&text).map_err(|why| Fail::new(named(&why)))?;
    let read = SignedStatement::read(&answer).map_err(|why| match why {
        StatementError::Format(_) => Fail::new(named(&why)),
        why => Fail::disagreed(named(&why)),
    })?;
    let verified = read.verify(args.operator);
    verified.map_err(|why| Fail::disagreed(named(&why)))?;
    let batch = &read.signed.batch;
    if args.json {
        let told = json!({
            "account": read.statement.account,
            "from": read.statement.from,
            "to": read.statement.to,
            "hash": read.statement.hash(),
            "venue": read.signed.venue,
            "operator": args.operator,
            "root": batch.root,
        });
        println!("{told}");
    } else {
        print!("{}", read.statement.text());
        println!(
            "signed by {} of the venue {}, beside batch {} with the root {}",
            args.operator, read.signed.venue, batch.epoch, batch.root
        );
    }
    Ok(())
}
