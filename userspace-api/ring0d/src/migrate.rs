//! The shard in the kernel moves to more capacity (RULES 27): checks, the state written down, the swap, and the daemon goes on with the new one.

use crate::daemon::Daemon;
use crate::home::Home;
use ring0_engine::layout::Layout;
use ring0_journal::snapshot_path;
use ring0_market::Market;
use ring0_mq::write_snapshot;
use ring0_rings::{Live, enlarge_shard, kept_object};
use serde_json::{Value, json};
use std::path::Path;
use xdp_loader::Object;

impl Daemon {
    pub(crate) fn migrate(
        &mut self,
        file: &Path,
        journal: Option<&Path>,
        object: Option<&Path>,
    ) -> Result<Value, String> {
        let market = Market::load(file).map_err(|error| error.to_string())?;
        self.differs_in_capacity_alone(&market)?;
        let layout = |market: &Market| {
            Layout::new(&market.capacity()).map_err(|error| format!("{}: {error}", file.display()))
        };
        let (from, to) = (layout(&self.market)?, layout(&market)?);
        let Home::Kernel { pinned, report } = &mut self.home else {
            return Err("only a shard in the kernel ring moves while it trades; for another: halt, `ring0 snapshot enlarge`, and a new daemon with --restore (docs/snapshots.md)".to_owned());
        };
        if let Some(folder) = journal {
            empty(folder)?;
        }
        let object = object.map_or_else(kept_object, |path| Object::Path(path.to_owned()));
        let mut written = None;
        let shard = self.shard.in_kernel();
        let shard = shard.ok_or("the kernel ring has a shard in the kernel")?;
        let moved = enlarge_shard(
            shard,
            pinned.pin_root(),
            object,
            &from,
            &to,
            &mut |snapshot| {
                if let Some(folder) = journal {
                    let path = snapshot_path(folder, snapshot.next_sequence());
                    write_snapshot(&path, snapshot)?;
                    written = Some(path);
                }
                Ok(())
            },
        )
        .map_err(|error| {
            if let Some(path) = &written {
                // Of a life that did not begin.
                let _ = std::fs::remove_file(path);
            }
            error.to_string()
        })?;
        report.program_id = moved.report.program_id;
        report.arena_id = moved.report.arena_id;
        report.verified_instructions = moved.report.verified_instructions;
        **pinned = moved.pinned;
        self.market = market;
        let pause_ms = moved.pause.map(|pause| pause.as_secs_f64() * 1e3);
        eprintln!(
            "ring0d: moved from {} to {} bytes at slot {}{}",
            from.bytes,
            to.bytes,
            moved.slot,
            pause_ms.map_or(String::new(), |ms| format!(", {ms:.1} ms without orders"))
        );
        Ok(json!({
            "ok": true,
            "bytes": to.bytes,
            "bytes_before": from.bytes,
            "slot": moved.slot,
            "next_sequence": moved.snapshot.next_sequence(),
            "state_hash": moved.snapshot.state_hash().to_string(),
            "snapshot": written,
            "pause_ms": pause_ms,
            "still_halted": moved.pause.is_none(),
            "loader": moved.report,
        }))
    }

    /// The new file may ask for more room; who trades what under which terms is changed before or after, not in the same step.
    fn differs_in_capacity_alone(&self, new: &Market) -> Result<(), String> {
        let (old, plan) = (&self.market.plan, &new.plan);
        let shard = |plan: &ring0_market::Plan| {
            let it = &plan.shard;
            (it.name.clone(), it.port, it.tag, it.acks, it.ring_slots)
        };
        let what = if shard(old) != shard(plan) {
            "its [shard] differs in more than capacity"
        } else if new.session_ids() != self.market.session_ids() {
            "its sessions are others"
        } else if new.controls() != self.market.controls() {
            "its accounts, assets, instruments or limits are others"
        } else {
            return Ok(());
        };
        Err(format!(
            "{}: {what}; copy the running market's file, change [shard.capacity], and ask again",
            plan.path.display()
        ))
    }
}

/// A folder that is empty, made where there is none.
fn empty(folder: &Path) -> Result<(), String> {
    let first = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::read_dir(folder))
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .next();
    match first {
        None => Ok(()),
        Some(_) => Err(format!(
            "{} is not empty; the moved shard has a journal of its own: name a new folder",
            folder.display()
        )),
    }
}
