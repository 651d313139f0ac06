//! `ring0 snapshot`: a shard's state in a file, made from its recording.

use crate::capacity;
use crate::fail::Fail;
use crate::replay::print;
use ring0_engine::Capacity;
use ring0_engine::layout::Layout;
use ring0_engine::replay::Tail;
use ring0_engine::snapshot::{Replica, ReplicaError, Snapshot};
use ring0_market::Plan;
use ring0_mq::{MqError, Records, read_snapshot, write_snapshot};
use ring0d::{Client, Verb, default_socket};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: SnapshotVerb,
}

#[derive(clap::Subcommand)]
enum SnapshotVerb {
    /// Replay a recording natively and write the state that it comes to.
    Make(Make),
    /// Write the same state with more capacity: what a shard that has become too small is restored from.
    Enlarge(Enlarge),
    /// Print what a snapshot is of. Its checksum is verified.
    Show(One),
    /// Verify a snapshot to the last byte: restore it into memory, compare the state hash, check every invariant.
    Verify(One),
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("capacity").required(true)))]
struct Make {
    /// The market that the recording is of.
    #[arg(long, group = "capacity", value_name = "FILE")]
    market: Option<PathBuf>,
    /// Its ten maxima, as `ring0 capacity --config` reads them.
    #[arg(long, group = "capacity", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Begin at an older snapshot of the same shard; records that it has seen are passed over.
    #[arg(long, value_name = "SNAPSHOT")]
    from: Option<PathBuf>,
    /// End before this command, in which a fault stopped the shard (`ring0 ctl status` names it).
    #[arg(long, value_name = "SEQUENCE")]
    broken: Option<u64>,
    /// Write only what hashes as the live shard does, which must be quiet or halted: its daemon is asked.
    #[arg(long, requires = "market")]
    live: bool,
    /// The daemon's socket [default: the market's].
    #[arg(long, value_name = "PATH", requires = "live")]
    socket: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The recording, as `ring0 record` writes it.
    #[arg(value_name = "RECORDFILE")]
    records: PathBuf,
    /// The snapshot; one that is there is replaced, whole.
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("larger").required(true)))]
struct Enlarge {
    /// The market's new file, with more of anything in `[shard.capacity]`.
    #[arg(long, group = "larger", value_name = "FILE")]
    market: Option<PathBuf>,
    /// The ten new maxima, as `ring0 capacity --config` reads them.
    #[arg(long, group = "larger", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The snapshot.
    #[arg(value_name = "SNAPSHOT")]
    file: PathBuf,
    /// The larger one; one that is there is replaced, whole.
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

#[derive(clap::Args)]
struct One {
    /// The snapshot.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    match &args.verb {
        SnapshotVerb::Make(args) => make(args),
        SnapshotVerb::Enlarge(args) => enlarge(args),
        SnapshotVerb::Show(args) => show(args),
        SnapshotVerb::Verify(args) => verify(args),
    }
}

fn make(args: &Make) -> Result<(), Fail> {
    let plan = args.market.as_deref().map(Plan::load).transpose()?;
    let capacity = match (&plan, &args.config) {
        (Some(plan), _) => plan.capacity(),
        (None, Some(file)) => capacity::read(file)?,
        (None, None) => return Err(Fail::new("give --market FILE or --config FILE")),
    };
    let mut replica = begin(args, &capacity)?;
    let name = args.records.display();
    let mut records = Records::open(&args.records)?;
    let layout = Layout::new(&capacity)?.hash();
    let found = records.identity().layout_hash;
    if found != layout {
        return Err(Fail::new(format!(
            "{name}: its shard has layout {found:#018x} and the capacity given {layout:#018x}; give the market file, and use the program, that it was recorded with"
        )));
    }
    let mut record = Vec::new();
    let mut count = 0_u64;
    while records.next_into(&mut record)? {
        replica
            .feed(&record)
            .map_err(|error| Fail::disagreed(format!("{name}: {error}")))?;
        count += 1;
    }
    let snapshot = replica.snapshot().map_err(Fail::new)?;
    if let Some(plan) = plan.as_ref().filter(|_| args.live) {
        let socket = args.socket.clone();
        let socket = socket.unwrap_or_else(|| default_socket(&plan.shard.name));
        is_live(&socket, &snapshot)?;
    }
    write_snapshot(&args.out, &snapshot)?;
    let mut report = report(&args.out, &snapshot);
    report["records"] = json!(count);
    report["record_end"] = json!(match replica.finish() {
        Tail::Clean if records.torn() => "inside a record".to_owned(),
        Tail::Clean => "whole".to_owned(),
        Tail::TornRecord { .. } => "inside a record".to_owned(),
        Tail::TornPacket {
            messages, count, ..
        } => format!("{messages} messages into a packet of {count}, which is left out"),
        Tail::TornEvents { missing } => format!("{missing} events of the last command missing"),
        Tail::Faulted { sequence, .. } => format!("before command {sequence}, which met a fault"),
    });
    if args.live {
        report["live"] = json!(true);
    }
    print(&report, args.json);
    Ok(())
}

/// The replica at the beginning of the recording, or at an older snapshot.
fn begin(args: &Make, capacity: &Capacity) -> Result<Replica, Fail> {
    let Some(from) = &args.from else {
        return Ok(Replica::new(capacity, args.broken)?);
    };
    Replica::from_snapshot(&read_snapshot(from)?, capacity, args.broken).map_err(
        |error| match error {
            ReplicaError::Snapshot(error) => Fail::new(format!("{}: {error}", from.display())),
            error => error.into(),
        },
    )
}

/// Whether the live shard behind the daemon's socket has this state.
fn is_live(socket: &Path, snapshot: &Snapshot) -> Result<(), Fail> {
    let mut client = Client::connect(socket)?;
    let status = client.call(&Verb::Status { hash: true })?;
    let next = status["next_sequence"].as_u64().unwrap_or(0);
    if next != snapshot.next_sequence() {
        return Err(Fail::new(format!(
            "the recording ends before record {} and the live shard stands at {next}; let the recorder catch up, with the shard quiet or halted",
            snapshot.next_sequence()
        )));
    }
    let live = status["state_hash"].as_str().unwrap_or_default();
    let ours = snapshot.state_hash().to_string();
    if live != ours {
        return Err(Fail::disagreed(format!(
            "the recording comes to state {ours} and the live shard has {live}: keep both, halt the shard, report it; no snapshot was written"
        )));
    }
    Ok(())
}

fn enlarge(args: &Enlarge) -> Result<(), Fail> {
    let capacity = match (&args.market, &args.config) {
        (Some(file), _) => Plan::load(file)?.capacity(),
        (None, Some(file)) => capacity::read(file)?,
        (None, None) => return Err(Fail::new("give --market FILE or --config FILE")),
    };
    let snapshot = read_snapshot(&args.file)?;
    let larger = snapshot
        .enlarged(&Layout::new(&capacity)?)
        .map_err(|error| Fail::new(format!("{}: {error}", args.file.display())))?;
    write_snapshot(&args.out, &larger)?;
    print(&report(&args.out, &larger), args.json);
    Ok(())
}

fn show(args: &One) -> Result<(), Fail> {
    let snapshot = read_snapshot(&args.file)?;
    let mut shown = report(&args.file, &snapshot);
    let parts = snapshot.parts();
    if args.json {
        let part = |part: &ring0_engine::snapshot::SnapshotPart| {
            json!({
                "name": part.name(),
                "at": part.at,
                "entries": part.entries,
                "bytes_each": part.entry_len,
            })
        };
        shown["parts"] = parts.iter().map(part).collect();
        print(&shown, true);
        return Ok(());
    }
    print(&shown, false);
    println!("\n{:12} {:>14} {:>12}", "part", "entries", "bytes each");
    for part in parts {
        println!(
            "{:12} {:>14} {:>12}",
            part.name(),
            part.entries,
            part.entry_len
        );
    }
    Ok(())
}

fn verify(args: &One) -> Result<(), Fail> {
    let snapshot = read_snapshot(&args.file).map_err(|error| match error {
        MqError::Snapshot { .. } => Fail::disagreed(error),
        other => other.into(),
    })?;
    snapshot
        .verify()
        .map_err(|error| Fail::disagreed(format!("{}: {error}", args.file.display())))?;
    let mut report = report(&args.file, &snapshot);
    report["verified"] = json!(true);
    print(&report, args.json);
    Ok(())
}

fn report(file: &Path, snapshot: &Snapshot) -> Value {
    json!({
        "file": file,
        "next_sequence": snapshot.next_sequence(),
        "time_ns": snapshot.time_ns(),
        "state_hash": snapshot.state_hash().to_string(),
        "layout_hash": format!("{:#018x}", snapshot.layout_hash()),
        "region_bytes": snapshot.region_bytes(),
        "pages": snapshot.pages(),
        "bytes": snapshot.bytes().len(),
    })
}
