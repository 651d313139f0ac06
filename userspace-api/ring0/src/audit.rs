//! `ring0 audit`: the hash-chained logs of what operators and API callers did, and that their heads are what the operator signed.

use crate::fail::Fail;
use ring0_channels::batch_file::BatchFile;
use ring0_channels::heads::{AuditFile, HeadsProof, LogHead};
use ring0_channels::{Address, B256};
use ring0_identity::{Head, LogError, OpenError, audit};
use ring0_settled::audited::{self, OWN_LOG};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

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
    /// The log: `audit.log` in the identity's folder or in settlement's store, or a copy.
    #[arg(value_name = "FILE")]
    log: PathBuf,
    /// A head that the log had once, as an earlier check has it, 64 hexadecimal digits: it must stand in the log.
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// A batch with the head of the log: an account's part as the trader keeps it, or what settlement answers to the verb `audit`. The head must be under the
    /// operator's signature, and stand in the log where it stood then.
    #[arg(
        long,
        value_name = "FILE",
        requires = "operator",
        conflicts_with = "head"
    )]
    batch: Option<PathBuf>,
    /// The operator's address, as you know it: the file's own word for it is not enough.
    #[arg(long, value_name = "ADDRESS", requires = "batch")]
    operator: Option<Address>,
    /// What the log is called in batches, where a batch has several gateways' logs.
    #[arg(long, value_name = "NAME", requires = "batch")]
    name: Option<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let AuditVerb::Verify(args) = &args.verb;
    let signed = match (&args.batch, args.operator) {
        (Some(file), Some(operator)) => Some(signed(file, operator)?),
        _ => None,
    };
    let of = Log::of(&args.log)?;
    let head = match &signed {
        Some(signed) => Some(of.in_batch(signed, args.name.as_deref())?.clone()),
        None => None,
    };
    let known = match (&head, &args.head) {
        (Some(head), _) => Some(Head(head.head.0)),
        (None, Some(text)) => {
            let known = text.parse();
            Some(known.map_err(|error| Fail::new(format!("--head: {error}")))?)
        }
        (None, None) => None,
    };
    let mut report = of.verify(&args.log, known)?;
    let continues = report["continues"].as_u64();
    if let (Some(head), Some(signed)) = (&head, &signed) {
        if continues != Some(head.entries) {
            return Err(Fail::disagreed(format!(
                "batch {} has the log {:?} with {} entries and the head {}, and this log does not have it there: it is another log, was cut off before it, or was written anew",
                signed.epoch, head.name, head.entries, head.head
            )));
        }
        report["batch"] =
            json!({ "epoch": signed.epoch, "log": head.name, "entries": head.entries });
    }
    if let (Some(head), None) = (&args.head, continues) {
        return Err(Fail::disagreed(format!(
            "the head {head} does not stand in this log: it is another log, was cut off before it, or was written anew"
        )));
    }
    match args.json {
        true => println!("{report}"),
        false => print(&report),
    }
    Ok(())
}

fn print(report: &Value) {
    println!("{} entries, every hash holds", report["entries"]);
    for (kind, count) in report["kinds"].as_object().into_iter().flatten() {
        let count = count.as_u64().unwrap_or(0);
        println!("{count:>9}  {kind}");
    }
    println!("head {}", report["head"].as_str().unwrap_or_default());
    match (&report["batch"], report["continues"].as_u64()) {
        (Value::Null, Some(entry)) => {
            println!("the head that was given is that of entry {entry}");
        }
        (Value::Null, None) => {}
        (batch, _) => println!(
            "up to entry {} it is the log {} that the operator signed in batch {}",
            batch["entries"],
            batch["log"].as_str().unwrap_or_default(),
            batch["epoch"]
        ),
    }
}

/// Whose log it is, by its first entry.
enum Log {
    /// People and organisations: the identity's.
    People,
    /// Settlement's.
    Settlement,
}

impl Log {
    fn of(path: &Path) -> Result<Log, Fail> {
        let file = std::fs::File::open(path)
            .map_err(|error| Fail::new(format!("{}: {error}", path.display())))?;
        let mut first = String::new();
        // What is no text is refused with its line when all of it is checked.
        let _ = BufReader::new(file).read_line(&mut first);
        let entry = first
            .split_once(' ')
            .and_then(|(_, json)| serde_json::from_str::<Value>(json).ok());
        Ok(match entry.is_some_and(|it| it.get("outcome").is_some()) {
            true => Log::Settlement,
            false => Log::People,
        })
    }

    fn verify(&self, path: &Path, known: Option<Head>) -> Result<Value, Fail> {
        match self {
            Log::People => match audit::verify(path, known) {
                Ok(report) => Ok(json!(report)),
                Err(error) => Err(match error {
                    OpenError::Log(LogError::Damaged { .. }) | OpenError::Misfit { .. } => {
                        Fail::disagreed(error)
                    }
                    error => Fail::new(error),
                }),
            },
            Log::Settlement => match audited::verify(path, known) {
                Ok(report) => Ok(json!(report)),
                Err(error @ LogError::Damaged { .. }) => Err(Fail::disagreed(error)),
                Err(error) => Err(Fail::new(error)),
            },
        }
    }

    /// What a batch has of this log.
    fn in_batch<'a>(&self, batch: &'a HeadsProof, name: Option<&str>) -> Result<&'a LogHead, Fail> {
        let is_settlements = matches!(self, Log::Settlement);
        let mut fitting = batch.heads.iter().filter(|it| match name {
            Some(name) => it.name == name,
            None => (it.name == OWN_LOG) == is_settlements,
        });
        let names: Vec<&str> = batch.heads.iter().map(|it| it.name.as_str()).collect();
        match (fitting.next(), fitting.next()) {
            (Some(head), None) => Ok(head),
            (None, _) => Err(Fail::disagreed(format!(
                "batch {} has no head of this log; it has those of {}",
                batch.epoch,
                names.join(", ")
            ))),
            (Some(_), Some(_)) => Err(Fail::new(format!(
                "batch {} has several logs that this may be; say which by --name: {}",
                batch.epoch,
                names.join(", ")
            ))),
        }
    }
}

/// The heads in a file, whose batch the operator signed.
fn signed(path: &Path, operator: Address) -> Result<HeadsProof, Fail> {
    let wrong = |why: String| Fail::new(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    // As the daemon or the gateway answered it: the file is inside.
    if let Some(inside) = value.get_mut("file") {
        value = inside.take();
    }
    let (venue, proof) = heads(value).map_err(wrong)?;
    let verified = proof.verify(venue, operator);
    verified.map_err(|why| {
        Fail::disagreed(format!(
            "{}: the heads of batch {} of the venue {venue} are not what {operator} signed: {why}",
            path.display(),
            proof.epoch
        ))
    })?;
    Ok(proof)
}

fn heads(value: Value) -> Result<(B256, HeadsProof), String> {
    let no_file = |why: serde_json::Error| {
        format!(
            "{why}; give an account's part of a batch, or what settlement answers to {{\"verb\":\"audit\"}}"
        )
    };
    if value.get("holdings").is_none() {
        let file: AuditFile = serde_json::from_value(value).map_err(no_file)?;
        return match file.is_readable() {
            true => Ok((file.venue, file.audit)),
            false => Err("it is of a newer format; read it with a newer ring0".to_owned()),
        };
    }
    let file: BatchFile = serde_json::from_value(value).map_err(no_file)?;
    let venue = file.holdings.first().map(|it| it.venue);
    match (venue, file.audit) {
        (Some(venue), Some(audit)) => Ok((venue, audit)),
        _ => Err(format!(
            "batch {} has no heads of audit logs: it is of before batches carried them",
            file.epoch
        )),
    }
}
