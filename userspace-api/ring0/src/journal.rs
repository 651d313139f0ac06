//! `ring0 journal`: the durable form of a shard's records, looked at, verified, replayed. Rule: `docs/journal.md`.

mod dump;
mod recover;

use crate::capacity;
use crate::fail::Fail;
use crate::replay::print;
use ring0_engine::Capacity;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{ControlRecord, Head, Kind, Message, Step};
use ring0_engine::reference::Reference;
use ring0_engine::replay::{Replayer, Tail};
use ring0_journal::{
    BLOCK_SLOTS_MAX, Comparison, Journal, JournalError, Options, Reader, Snapshotter, Start,
    VerifiedSnapshot, verify,
};
use ring0_market::Plan;
use ring0_mq::Records;
use ring0d::stop_flag;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

/// How long a follower waits where nothing new is on the disk.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: JournalVerb,
}

#[derive(clap::Subcommand)]
enum JournalVerb {
    /// Check every byte: checksums of blocks and records, the chain, sequences, segments. A running recorder does not mind.
    Verify(Folder),
    /// Print records, one a line.
    Dump(dump::Args),
    /// Rebuild the shard: newest good snapshot, then the records behind it, each compared with what the engine writes.
    Replay(Replay),
    /// After the loss of the machine: rebuild the shard, and begin the journal of its next life with a snapshot of it.
    Recover(recover::Args),
    /// Count: records by kind, slots a message, bytes, messages a second, sizes of blocks.
    Stats(Folder),
    /// Write a record file's records into a journal, one that goes on or a new one.
    Import(Import),
    /// Make snapshots in the journal's folder by a replica that follows it; remove what they make needless.
    Snapshot(Snapshot),
}

#[derive(clap::Args)]
struct Folder {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The journal's folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// The shard's capacity.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// The market that the journal is of.
    #[arg(long, value_name = "FILE")]
    market: Option<PathBuf>,
    /// Its ten maxima, as `ring0 capacity --config` reads them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Of {
    fn capacity(&self) -> Result<Capacity, Fail> {
        match (&self.market, &self.config) {
            (Some(file), _) => Ok(Plan::load(file)?.capacity()),
            (None, Some(file)) => capacity::read(file),
            (None, None) => Err(Fail::new("give --market FILE or --config FILE")),
        }
    }
}

#[derive(clap::Args)]
struct Replay {
    #[command(flatten)]
    of: Of,
    /// From the first record on, whatever snapshots there are.
    #[arg(long)]
    from_first: bool,
    /// Through the naive reference book, from the first record on, beside the native engine; both must come to one state.
    #[arg(long)]
    reference: bool,
    /// End before this command, in which a fault stopped the shard (`ring0 ctl status` names it).
    #[arg(long, value_name = "SEQUENCE")]
    broken: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The journal's folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(clap::Args)]
struct Import {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The recording, as `ring0 record --out` writes it.
    #[arg(value_name = "RECORDFILE")]
    records: PathBuf,
    /// The journal's folder; made if there is none.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(clap::Args)]
struct Snapshot {
    #[command(flatten)]
    of: Of,
    /// One every so many records, besides the one at the end.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    every: Option<u64>,
    /// Go on as the journal does, until a signal.
    #[arg(long, requires = "every", conflicts_with = "remove")]
    follow: bool,
    /// Then remove the segments that the last one makes needless, once it was verified. The recorder must have ended.
    #[arg(long)]
    remove: bool,
    /// End before this command, in which a fault stopped the shard (`ring0 ctl status` names it).
    #[arg(long, value_name = "SEQUENCE")]
    broken: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The journal's folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    match &args.verb {
        JournalVerb::Verify(args) => verified(args),
        JournalVerb::Dump(args) => dump::run(args),
        JournalVerb::Replay(args) => replay(args),
        JournalVerb::Recover(args) => recover::run(args),
        JournalVerb::Stats(args) => stats(args),
        JournalVerb::Import(args) => import(args),
        JournalVerb::Snapshot(args) => snapshot(args),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verified(args: &Folder) -> Result<(), Fail> {
    let begin = Instant::now();
    let found = verify(&args.folder)?;
    let seconds = begin.elapsed().as_secs_f64();
    let durable = found.watermark.map(|it| it.next_sequence);
    print(
        &json!({
            "folder": args.folder,
            "segments": found.segments,
            "blocks": found.blocks,
            "records": found.records,
            "slots": found.slots,
            "bytes": found.bytes,
            "first_position": found.first,
            "next_position": found.position,
            "first_sequence": found.first_sequence,
            "last_sequence": found.next_sequence.saturating_sub(1),
            "chain": hex(&found.chain),
            "torn_bytes": found.torn_bytes,
            "durable_sequence": durable.map(|next| next.saturating_sub(1)),
            "layout_hash": format!("{:#018x}", found.identity.layout_hash),
            "seconds": seconds,
        }),
        args.json,
    );
    if found.watermark.is_none() {
        eprintln!(
            "ring0 journal: the watermark is gone: a last block that lost a bit would be taken for a torn one"
        );
    }
    Ok(())
}

/// The state hash that the reference book comes to by every record from the first on; its own are compared, too.
fn reference(folder: &Path, capacity: &Capacity, broken: Option<u64>) -> Result<String, Fail> {
    let mut reader = Reader::open_at(folder, 1)?;
    let mut reference = Reference::new(*capacity);
    let mut replayer = Replayer::new(&reference, broken);
    let mut comparison = Comparison::default();
    while let Some(block) = reader.next_block()? {
        comparison.recorded(block.slots());
        let fed = replayer.feed(block.slots(), &mut reference);
        comparison.replayed(&reference.take_records())?;
        fed.map_err(|error| Fail::disagreed(format!("{}: {error}", folder.display())))?;
    }
    Ok(reference.state_hash().to_string())
}

fn replay(args: &Replay) -> Result<(), Fail> {
    let capacity = args.of.capacity()?;
    let start = if args.from_first {
        Start::FirstRecord
    } else {
        Start::NewestSnapshot
    };
    let recovered = ring0_journal::recover(&args.folder, &capacity, start, args.broken)?;
    for warning in &recovered.warnings {
        eprintln!("ring0 journal: {warning}");
    }
    let seconds = recovered.replaying.as_secs_f64();
    let state_hash = recovered.state_hash.to_string();
    let mut report = json!({
        "folder": args.folder,
        "snapshot": recovered.snapshot,
        "warnings": recovered.warnings,
        "records": recovered.records,
        "messages": recovered.messages,
        "bytes": recovered.bytes,
        "next_sequence": recovered.native.shard().header().next_sequence.get(),
        "journal_end": end(&recovered.tail),
        "left_over": recovered.left_over,
        "restore_seconds": recovered.restoring.as_secs_f64(),
        "replay_seconds": seconds,
        "messages_per_second": (recovered.messages as f64 / seconds.max(1e-9)).round(),
        "state_hash": state_hash,
    });
    let mut disagreed = None;
    if args.reference {
        let hash = reference(&args.folder, &capacity, args.broken)?;
        if hash != state_hash {
            disagreed = Some(format!(
                "the native engine comes to state {state_hash} and the reference to {hash}: keep the folder and report it"
            ));
        }
        report["reference_state_hash"] = json!(hash);
    }
    print(&report, args.json);
    disagreed.map_or(Ok(()), |text| Err(Fail::disagreed(text)))
}

/// How a journal ends, in words.
fn end(tail: &Tail) -> String {
    match tail {
        Tail::Clean => "whole".to_owned(),
        Tail::TornRecord { .. } => "inside a record".to_owned(),
        Tail::TornPacket {
            messages, count, ..
        } => format!("{messages} messages into a packet of {count}, which is left out"),
        Tail::TornEvents { missing } => format!("{missing} events of the last command missing"),
        Tail::Faulted { sequence, .. } => format!("before command {sequence}, which met a fault"),
    }
}

fn stats(args: &Folder) -> Result<(), Fail> {
    let mut reader = Reader::open(&args.folder)?;
    let mut kinds = [(0_u64, 0_u64); 256];
    let mut blocks: Vec<u32> = Vec::new();
    let (mut disk_bytes, mut slots) = (0_u64, 0_u64);
    let (mut first_ns, mut last_ns) = (u64::MAX, 0);
    while let Some(block) = reader.next_block()? {
        blocks.push(block.header().slots);
        disk_bytes += u64::from(block.header().bytes);
        for (_, _, record) in block.records() {
            let Ok((head, _)) = Head::read_from_prefix(record) else {
                continue;
            };
            let kind = &mut kinds[usize::from(head.kind & 0xFF)];
            *kind = (kind.0 + 1, kind.1 + u64::from(head.slots));
            slots += u64::from(head.slots);
            let time_ns = match Kind::from_number(head.kind) {
                Some(Kind::Message) => Message::read_from_bytes(record).ok().map(|it| it.time_ns),
                Some(Kind::Control) => ControlRecord::read_from_bytes(record)
                    .ok()
                    .map(|it| it.time_ns),
                Some(Kind::Step) => Step::read_from_bytes(record).ok().map(|it| it.time_ns),
                _ => None,
            };
            if let Some(time_ns) = time_ns.filter(|it| *it != 0) {
                (first_ns, last_ns) = (first_ns.min(time_ns), last_ns.max(time_ns));
            }
        }
    }
    blocks.sort_unstable();
    let at = |part: usize| {
        blocks
            .get((blocks.len().saturating_sub(1)) * part / 100)
            .copied()
    };
    let named: Map<String, Value> = (0_u16..)
        .zip(&kinds)
        .filter_map(|(number, (records, _))| {
            let kind = Kind::from_number(number).filter(|_| *records != 0)?;
            Some((format!("{kind:?}"), json!(records)))
        })
        .collect();
    let messages = kinds[Kind::Message as usize].0;
    let per_message = |what: u64| what as f64 / messages.max(1) as f64;
    let seconds = last_ns.saturating_sub(first_ns) as f64 / 1e9;
    print(
        &json!({
            "folder": args.folder,
            "records": kinds.iter().map(|it| it.0).sum::<u64>(),
            "records_by_kind": named,
            "messages": messages,
            "slots": slots,
            "slots_per_message": per_message(slots),
            "bytes_of_records": slots * SLOT_LEN as u64,
            "bytes_of_blocks": disk_bytes,
            "bytes_per_message": per_message(disk_bytes),
            "venue_seconds": seconds,
            "messages_per_second": (messages as f64 / seconds.max(1e-9)).round(),
            "blocks": blocks.len(),
            "block_slots_min": at(0),
            "block_slots_median": at(50),
            "block_slots_p99": at(99),
            "block_slots_max": at(100),
            "bytes_per_block": disk_bytes / (blocks.len() as u64).max(1),
        }),
        args.json,
    );
    Ok(())
}

fn import(args: &Import) -> Result<(), Fail> {
    let begin = Instant::now();
    let mut records = Records::open(&args.records)?;
    let identity = records.identity();
    let mut journal = Journal::open(&args.folder, &identity, records.first(), Options::default())?;
    let from = journal.position();
    let (mut record, mut batch) = (Vec::new(), Vec::new());
    let (mut at, mut count) = (records.first(), 0_u64);
    if at > from {
        return Err(Fail::new(format!(
            "{} ends before slot {from} and {} begins with slot {at}; import the file that has what is between first",
            args.folder.display(),
            args.records.display()
        )));
    }
    loop {
        let more = records.next_into(&mut record)?;
        if batch.len() >= BLOCK_SLOTS_MAX * SLOT_LEN / 2 || !more {
            journal.append(&batch)?;
            batch.clear();
        }
        if !more {
            break;
        }
        // What an earlier import took is passed over.
        if at >= from {
            batch.extend_from_slice(&record);
            count += 1;
        }
        at = records.position();
    }
    let durable = journal.close()?;
    print(
        &json!({
            "records": count,
            "from_position": from,
            "next_position": durable.position,
            "next_sequence": durable.next_sequence,
            "torn": records.torn(),
            "seconds": begin.elapsed().as_secs_f64(),
        }),
        args.json,
    );
    Ok(())
}

fn snapshot(args: &Snapshot) -> Result<(), Fail> {
    let capacity = args.of.capacity()?;
    let every = args.every.unwrap_or(u64::MAX);
    let mut snapshotter = Snapshotter::open(&args.folder, &capacity, every, args.broken)?;
    for warning in snapshotter.warnings() {
        eprintln!("ring0 journal: {warning}");
    }
    let mut made = Vec::new();
    let stop = args.follow.then(stop_flag);
    loop {
        while let Some(path) = snapshotter.follow()? {
            if args.follow {
                eprintln!("ring0 journal: made {}", path.display());
            }
            made.push(path);
        }
        match &stop {
            Some(stop) if !stop.load(Ordering::Acquire) => std::thread::sleep(FOLLOW_EVERY),
            _ => break,
        }
    }
    if snapshotter.next_sequence() != snapshotter.made_at() {
        made.push(snapshotter.make()?);
    }
    let mut report = json!({
        "made": made,
        "next_sequence": snapshotter.next_sequence(),
    });
    if args.remove {
        let path = ring0_journal::snapshot_path(&args.folder, snapshotter.next_sequence());
        let covered = VerifiedSnapshot::verify(&path)?;
        let identity = Reader::open(&args.folder)?.identity();
        let mut journal = Journal::open(&args.folder, &identity, 0, Options::default())?;
        let removed = journal.remove_below(covered.next_sequence(), &covered)?;
        journal.close()?;
        report["removed_segments"] = json!(removed.segments);
        report["removed_bytes"] = json!(removed.bytes);
    }
    print(&report, args.json);
    Ok(())
}

impl From<JournalError> for Fail {
    fn from(error: JournalError) -> Fail {
        if error.is_disagreement() {
            Fail::disagreed(error)
        } else {
            Fail::new(error)
        }
    }
}
