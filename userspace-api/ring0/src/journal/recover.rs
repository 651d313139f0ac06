//! `ring0 journal recover`: a lost machine's shard, from its journal to where the next life begins.

use super::{Of, end};
use crate::fail::Fail;
use crate::replay::print;
use ring0_engine::layout::Layout;
use ring0_engine::snapshot::Snapshot;
use ring0_journal::{Start, recover, snapshot_path};
use ring0_market::Plan;
use ring0_mq::write_snapshot;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of: Of,
    /// The market's new file, with more of anything in `[shard.capacity]`: the shard that comes back has its capacity.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Before this command, in which a fault stopped the shard (`ring0 ctl status` named it).
    #[arg(long, value_name = "SEQUENCE")]
    broken: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Folder of the journal whose shard is gone.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Folder of the next life's journal; made, or empty.
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Fail> {
    let capacity = args.of.capacity()?;
    let into = args.into.as_deref().map(Plan::load).transpose()?;
    let into = into.map(|plan| Layout::new(&plan.capacity())).transpose()?;
    std::fs::create_dir_all(&args.new)
        .and_then(|()| std::fs::read_dir(&args.new))
        .map_err(|error| Fail::new(format!("{}: {error}", args.new.display())))
        .and_then(|mut entries| match entries.next() {
            None => Ok(()),
            Some(_) => Err(Fail::new(format!(
                "{} is not empty; a life of a shard has a journal of its own: name a new folder",
                args.new.display()
            ))),
        })?;
    let recovered = recover(&args.old, &capacity, Start::NewestSnapshot, args.broken)?;
    for warning in &recovered.warnings {
        eprintln!("ring0 journal: {warning}");
    }
    let snapshot = Snapshot::take(recovered.native.shard(), recovered.native.layout())
        .map_err(|error| Fail::new(error.to_string()))?;
    let snapshot = match &into {
        None => snapshot,
        Some(layout) => snapshot
            .enlarged(layout)
            .map_err(|error| Fail::new(error.to_string()))?,
    };
    let path = snapshot_path(&args.new, snapshot.next_sequence());
    write_snapshot(&path, &snapshot)?;
    print(
        &json!({
            "snapshot": path,
            "next_sequence": snapshot.next_sequence(),
            "records": recovered.records,
            "journal_end": end(&recovered.tail),
            "left_over": recovered.left_over,
            "layout_hash": format!("{:#018x}", snapshot.layout_hash()),
            "restore_seconds": recovered.restoring.as_secs_f64(),
            "replay_seconds": recovered.replaying.as_secs_f64(),
            "state_hash": recovered.state_hash.to_string(),
        }),
        args.json,
    );
    eprintln!(
        "ring0 journal: now `ring0d --restore {}` with the market's other arguments, and `ring0 record --journal {}`",
        path.display(),
        args.new.display()
    );
    Ok(())
}
