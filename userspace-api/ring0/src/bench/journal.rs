//! `ring0 bench journal`: what the journal takes and gives back in a second, with the records of a seeded flow.
//!
//! The records are made before any clock starts, by the native engine, and lie in memory as the ring would have them. Everything
//! is measured in a folder of its own, on the disk that it is told, and removed. Figures: `docs/journal.md#figures`.

use super::processors::Busy;
use crate::fail::Fail;
use crate::replay::print;
use ring0_drive::{Cut, Ends, Fold, Market, Packets, References, clock, cut, set_up};
use ring0_engine::layout::Layout;
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::native::{Native, TagRule};
use ring0_engine::record::{Head, Kind};
use ring0_journal::{
    Disk, Journal, Options, PAGE, Reader, Snapshotter, Start, Storage, StorageFile, recover, verify,
};
use ring0_lab::machine;
use ring0_mq::Identity;
use ring0_stream::lobstrm::{RECORDS_MAX, Stream, generate};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

const ROUNDS: usize = 5;
const SYMBOLS: u32 = 64;
/// Orders that rest before the flow proper.
const PREFILL: u64 = 100_000;
/// Nanoseconds of venue time from packet to packet.
const PACKET_NS: u64 = 1_000;
/// Messages whose records the rounds of append and read take.
const ROUND_MESSAGES: u64 = 2_000_000;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Messages of the recovery.
    #[arg(long, default_value_t = 10_000_000)]
    messages: u64,
    /// Seed of the flow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder on the disk to measure, in which one is made and removed [default: the one for temporary files].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Bytes that wait before they are synced.
    #[arg(long, default_value_t = 1 << 20)]
    sync_bytes: usize,
    /// Microseconds that the first record may wait for its sync.
    #[arg(long, default_value_t = 1_000)]
    sync_us: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> Result<Scratch, Fail> {
        let folder = parent.join(format!("ring0-bench-journal-{}", std::process::id()));
        fs::create_dir(&folder)
            .map_err(|error| Fail::new(format!("cannot make {}: {error}", folder.display())))?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("ring0 bench: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Records of a flow, and the shard that wrote them.
struct Recorded {
    /// All slots, one after the other.
    slots: Vec<u8>,
    native: Native,
    market: Market,
}

/// Runs the bench.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if args.messages == 0 || args.messages > RECORDS_MAX - PREFILL {
        return Err(Fail::new(format!(
            "--messages is not 1 to {}",
            RECORDS_MAX - PREFILL
        )));
    }
    let recorded = record(args)?;
    let capacity = recorded.market.capacity(1)?;
    let identity = Identity {
        layout_hash: Layout::new(&capacity)?.hash(),
        boot_id: [0; 16],
        arena_id: 0,
    };
    let options = Options {
        sync_bytes: args.sync_bytes,
        sync_after: Duration::from_micros(args.sync_us),
        ..Options::default()
    };
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = Scratch::new(&parent)?;
    let before = Busy::now();

    let disk_before = disk_speed(&scratch.0)?;
    let part = prefix(&recorded.slots, ROUND_MESSAGES);
    let part_messages = messages(part) as f64;
    let (mut appends, mut reads, mut verifies) = (Vec::new(), Vec::new(), Vec::new());
    let mut blocks = 0;
    for round in 0..ROUNDS {
        let folder = scratch.0.join(format!("round-{round}"));
        appends.push(append(&folder, &identity, options, part)?);
        let begin = Instant::now();
        let mut reader = Reader::open(&folder)?;
        let mut bytes = 0;
        blocks = 0;
        while let Some(block) = reader.next_block()? {
            bytes += block.slots().len();
            blocks += 1;
        }
        reads.push(begin.elapsed().as_secs_f64());
        if bytes != part.len() {
            return Err(Fail::disagreed(format!(
                "{bytes} bytes of records came back, not {}",
                part.len()
            )));
        }
        let begin = Instant::now();
        verify(&folder)?;
        verifies.push(begin.elapsed().as_secs_f64());
        fs::remove_dir_all(&folder)?;
    }
    let (append_seconds, read_seconds) = (median(&mut appends), median(&mut reads));
    let verify_seconds = median(&mut verifies);

    let folder = scratch.0.join("recovery");
    let whole_append = append(&folder, &identity, options, &recorded.slots)?;
    let disk_after = disk_speed(&scratch.0)?;
    let expected = recorded.native.shard().state_hash();
    let recovered = recover(&folder, &capacity, Start::NewestSnapshot, None)?;
    if recovered.state_hash != expected {
        return Err(Fail::disagreed(format!(
            "recovery comes to state {} and the shard has {expected}",
            recovered.state_hash
        )));
    }
    let recovery_seconds = (recovered.restoring + recovered.replaying).as_secs_f64();
    let (all_messages, all_records) = (recovered.messages, recovered.records);
    drop(recovered);

    // And with a snapshot of nine tenths of it.
    let mut snapshotter = Snapshotter::open(&folder, &capacity, all_records * 9 / 10, None)?;
    let begin = Instant::now();
    let made = snapshotter.follow()?;
    let snapshot_seconds = begin.elapsed().as_secs_f64();
    drop(snapshotter);
    let from_snapshot = recover(&folder, &capacity, Start::NewestSnapshot, None)?;
    if from_snapshot.state_hash != expected || made.is_none() {
        return Err(Fail::disagreed(
            "recovery from a snapshot comes to another state",
        ));
    }

    let mut busy = Busy::default();
    busy.add_since(&before);
    let rate = |messages: f64, seconds: f64| (messages / seconds).round();
    let report: Value = json!({
        "machine": machine(),
        "folder": parent,
        "seed": args.seed,
        "sync_bytes": args.sync_bytes,
        "sync_us": args.sync_us,
        "rounds": ROUNDS,
        "round_messages": part_messages,
        "round_bytes": part.len(),
        "slots_per_message": (part.len() / SLOT_LEN) as f64 / part_messages,
        "round_syncs": blocks,
        "append_messages_per_second": rate(part_messages, append_seconds),
        "append_megabytes_per_second": (part.len() as f64 / append_seconds / 1e6).round(),
        "append_seconds_all": appends,
        "read_messages_per_second": rate(part_messages, read_seconds),
        "read_megabytes_per_second": (part.len() as f64 / read_seconds / 1e6).round(),
        "verify_messages_per_second": rate(part_messages, verify_seconds),
        "recovery_messages": all_messages,
        "recovery_records": all_records,
        "recovery_append_seconds": whole_append,
        "recovery_append_messages_per_second": rate(all_messages as f64, whole_append),
        "recovery_append_megabytes_per_second": (recorded.slots.len() as f64 / whole_append / 1e6).round(),
        "disk_before": disk_before,
        "disk_after": disk_after,
        "recovery_seconds": recovery_seconds,
        "recovery_messages_per_second": rate(all_messages as f64, recovery_seconds),
        "snapshot_follow_seconds": snapshot_seconds,
        "from_snapshot_records": from_snapshot.records,
        "from_snapshot_seconds": (from_snapshot.restoring + from_snapshot.replaying).as_secs_f64(),
        "state_hash": expected.to_string(),
        "busy": busy.report(),
    });
    print(&report, args.json);
    Ok(())
}

/// A flow through the native engine, cut so that no message is refused.
fn record(args: &Args) -> Result<Recorded, Fail> {
    let stream = generate(args.seed, args.messages, PREFILL, SYMBOLS);
    let references = References::of(&stream)?;
    let market = Market::of(&stream);
    let mut ends = Ends::default();
    loop {
        let mut fold = Fold::new(&references, stream.records().len());
        let (slots, native) = run_native(&stream, &references, &market, &ends, &mut fold)?;
        match fold.stop.take() {
            Some(stop) => ends.learn(&stream, stop)?,
            None if fold.trades() != stream.header().expected() => {
                return Err(Fail::disagreed("the trades are not those of the stream"));
            }
            None => {
                return Ok(Recorded {
                    slots,
                    native,
                    market,
                });
            }
        }
    }
}

fn run_native(
    stream: &Stream,
    references: &References,
    market: &Market,
    ends: &Ends,
    fold: &mut Fold<'_>,
) -> Result<(Vec<u8>, Native), Fail> {
    let plan = Cut {
        number: 0,
        symbols: market.symbols,
        messages_max: ring0_wire::MESSAGES_MAX,
        key: None,
        ends,
    };
    let mut packets = Packets::default();
    cut(stream.records(), references, &plan, 1, &mut packets);
    let mut native = Native::new(&market.capacity(1)?)?;
    let mut controls = vec![clock()];
    controls.extend(market.controls(0));
    set_up(native.control(&controls, 0))?;
    let mut slots = Vec::new();
    for index in 0..packets.len() {
        let answered = native.packet_in_place(packets.get(index), index as u64 * PACKET_NS, |_| {
            TagRule::Unchecked
        });
        answered.map_err(|cause| Fail::new(format!("the packet was dropped: {cause:?}")))?;
        if index % 256 == 0 || index + 1 == packets.len() {
            let records = native.take_records();
            fold.records(&records);
            slots.extend_from_slice(&records);
            if fold.stop.is_some() {
                break;
            }
        }
    }
    Ok((slots, native))
}

/// The whole records of so many messages.
fn prefix(slots: &[u8], messages_max: u64) -> &[u8] {
    let (mut at, mut messages) = (0, 0);
    while let Ok((head, _)) = Head::read_from_prefix(&slots[at..]) {
        if messages == messages_max {
            break;
        }
        messages += u64::from(head.kind == Kind::Message as u16);
        at += usize::from(head.slots) * SLOT_LEN;
    }
    &slots[..at]
}

fn messages(slots: &[u8]) -> u64 {
    let (mut rest, mut messages) = (slots, 0);
    while let Ok((head, _)) = Head::read_from_prefix(rest) {
        messages += u64::from(head.kind == Kind::Message as u16);
        rest = &rest[usize::from(head.slots) * SLOT_LEN..];
    }
    messages
}

/// Appends all of it in pieces as a recorder takes them; seconds until all is on the disk.
fn append(folder: &Path, identity: &Identity, options: Options, slots: &[u8]) -> Result<f64, Fail> {
    let mut journal = Journal::open(folder, identity, 0, options)?;
    let mut rest = slots;
    let begin = Instant::now();
    while !rest.is_empty() {
        let mut piece = 0;
        while piece < options.sync_bytes && piece < rest.len() {
            piece += usize::from(rest[piece + 2]) * SLOT_LEN;
        }
        journal.append(&rest[..piece])?;
        rest = &rest[piece..];
    }
    journal.close()?;
    Ok(begin.elapsed().as_secs_f64())
}

/// What the disk takes when nothing is built: `write` past the kernel's memory into room that was made, `fdatasync`, the next; MB/s.
fn disk_speed(folder: &Path) -> Result<Value, Fail> {
    const BYTES: u64 = 512 << 20;
    let path = folder.join("disk");
    let mut speeds = serde_json::Map::new();
    for (name, write_bytes) in [("write_1_mib", 1_u64 << 20), ("write_4_mib", 4 << 20)] {
        let file = Disk.create(&path)?;
        file.allocate(BYTES)?;
        StorageFile::sync_all(&file)?;
        file.write_directly()?;
        let memory = vec![0x5A; write_bytes as usize + PAGE];
        let first = memory.as_ptr().align_offset(PAGE);
        let bytes = &memory[first..first + write_bytes as usize];
        let begin = Instant::now();
        for at in (0..BYTES).step_by(bytes.len()) {
            if StorageFile::write_at(&file, bytes, at)? != bytes.len() {
                return Err(Fail::new(
                    "the disk took a part of a write; give another --folder",
                ));
            }
            StorageFile::sync_data(&file)?;
        }
        let speed = BYTES as f64 / begin.elapsed().as_secs_f64() / 1e6;
        speeds.insert(name.to_owned(), json!(speed.round()));
        fs::remove_file(&path)?;
    }
    Ok(Value::Object(speeds))
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
