//! `ring0 audit`: the hash-chained log of what operators and API callers did.

use crate::fail::Fail;
use ring0_identity::OpenError;
use ring0_identity::audit;
use serde_json::json;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(clap::Subcommand)]
enum AuditVerb {
    /// Check every line's hash and that every entry follows from those before it; the log may be in use.
    Verify(Verify),
}

#[derive(clap::Args)]
struct Verify {
    /// The log: `audit.log` in the identity's folder, or a copy.
    #[arg(value_name = "FILE")]
    log: PathBuf,
    /// A head that the log had once, as a batch root or an earlier check has it, 64 hexadecimal digits: it must stand in the log.
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let AuditVerb::Verify(args) = &args.verb;
    let known = args.head.as_deref().map(str::parse).transpose();
    let known = known.map_err(|error| Fail::new(format!("--head: {error}")))?;
    let report = audit::verify(&args.log, known).map_err(|error| match error {
        OpenError::Log(ring0_identity::LogError::Damaged { .. }) | OpenError::Misfit { .. } => {
            Fail::disagreed(error)
        }
        error => Fail::new(error),
    })?;
    if args.json {
        println!("{}", json!(report));
    } else {
        println!("{} entries, every hash holds", report.entries);
        for (kind, count) in &report.kinds {
            println!("{count:>9}  {kind}");
        }
        println!("head {}", report.head);
    }
    match (&args.head, report.continues) {
        (Some(head), None) => Err(Fail::disagreed(format!(
            "the head {head} does not stand in this log: it is another log, was cut off before it, or was written anew"
        ))),
        (Some(_), Some(entry)) if !args.json => {
            println!("the head that was given is that of entry {entry}");
            Ok(())
        }
        _ => Ok(()),
    }
}
