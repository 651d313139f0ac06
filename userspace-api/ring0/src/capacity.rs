//! `ring0 capacity`: the bytes of every part of a shard, and whether they fit one arena (RULES 20).

use crate::fail::Fail;
use crate::replay::print;
use ring0_engine::Capacity;
use ring0_engine::layout::{Layout, Part, REGION_BYTES_MAX};
use ring0_engine::limits::SLOT_LEN;
use ring0_market::Plan;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Slots of the record ring that a message takes, about: its command's two, and half an event.
const SLOTS_PER_MESSAGE: f64 = 2.5;
/// Messages a second at which the time to a full ring is told: the slowest rate that the kernel path must reach.
const MESSAGES_PER_SECOND: f64 = 1_500_000.0;

/// Books of an instrument: displayed, hidden, stops, two sides each.
const BOOKS: u64 = 6;

/// Arguments.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("from").required(true)))]
pub(crate) struct Args {
    /// A TOML file with the ten maxima: accounts, assets, instruments, sessions, orders, levels, ladder, answers, references,
    /// buckets.
    #[arg(long, group = "from", value_name = "FILE")]
    config: Option<PathBuf>,
    /// A market file: what it gives, and what it needs where it gives nothing.
    #[arg(long, group = "from", value_name = "FILE")]
    market: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The ten maxima as a file has them.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CapacityFile {
    accounts: u32,
    assets: u32,
    instruments: u32,
    sessions: u32,
    orders: u32,
    levels: u32,
    ladder: u32,
    answers: u32,
    references: u32,
    buckets: u32,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let (capacity, ring_slots) = match (&args.config, &args.market) {
        (Some(file), _) => (read(file)?, None),
        (None, Some(file)) => {
            let plan = Plan::load(file).map_err(Fail::new)?;
            (plan.capacity(), Some(plan.shard.ring_slots))
        }
        (None, None) => return Err(Fail::new("give --config FILE or --market FILE")),
    };
    let layout = Layout::new(&capacity).map_err(Fail::new)?;
    let report = report(&layout, ring_slots);
    if args.json {
        print(&report, true);
        return Ok(());
    }
    println!(
        "{:16} {:>14} {:>12} {:>16}",
        "part", "entries", "bytes each", "bytes"
    );
    for part in &layout.parts {
        println!(
            "{:16} {:>14} {:>12} {:>16}",
            part.name,
            part.entries,
            part.entry_len,
            part.bytes()
        );
    }
    println!();
    let report = report.as_object().into_iter().flatten();
    for (name, value) in report.filter(|(_, value)| !value.is_array()) {
        println!("{name:32} {value}");
    }
    Ok(())
}

/// The capacity that a file with the ten maxima gives.
pub(crate) fn read(file: &Path) -> Result<Capacity, Fail> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Fail::new(format!(
            "{name}: cannot be read: {error}; give a file with the ten maxima"
        ))
    })?;
    let it: CapacityFile = toml::from_str(&text).map_err(|error| {
        let what = error.message().to_owned();
        Fail::new(format!(
            "{name}: {what}; `ring0 capacity --help` names the ten keys"
        ))
    })?;
    Ok(Capacity {
        accounts: it.accounts,
        assets: it.assets,
        instruments: it.instruments,
        sessions: it.sessions,
        orders: it.orders,
        levels: it.levels,
        ladder: it.ladder,
        answers: it.answers,
        references: it.references,
        buckets: it.buckets,
    })
}

fn report(layout: &Layout, ring_slots: Option<u64>) -> Value {
    let each = |name: &str| {
        let part = layout.parts.iter().find(|part| part.name == name);
        part.map_or(0, |part| part.entry_len)
    };
    let part = |part: &Part| {
        json!({
            "name": part.name,
            "entries": part.entries,
            "bytes_each": part.entry_len,
            "bytes": part.bytes(),
        })
    };
    let mut report = json!({
        "bytes": layout.bytes,
        "bytes_max": REGION_BYTES_MAX,
        "layout_hash": format!("{:#018x}", layout.hash()),
        "bytes_per_order": each("orders") + each("terms"),
        "bytes_per_level": each("levels"),
        "bytes_per_instrument": each("instruments") + each("pending"),
        // A handle in each of the six books; their bitmaps add three quarters of a byte, and a 64th of that above them.
        "bytes_per_ladder_price": BOOKS * each("ladder"),
        "bytes_per_account": each("accounts") + each("pending"),
        "bytes_per_session": each("sessions") + each("pending"),
        "bytes_per_stored_answer": each("answers"),
        // Its bit in the bitmap of live ones is an eighth of a byte more.
        "bytes_per_reference_place": each("references"),
        "bytes_per_bucket": each("buckets"),
        "bytes_per_balance": each("balances"),
        "parts": layout.parts.iter().map(part).collect::<Vec<_>>(),
    });
    if let Some(slots) = ring_slots {
        report["record_ring_bytes"] = json!(slots * SLOT_LEN as u64);
        let seconds = slots as f64 / (SLOTS_PER_MESSAGE * MESSAGES_PER_SECOND);
        report["record_ring_seconds_at_1500000_messages_per_second"] = json!(seconds);
    }
    report
}
