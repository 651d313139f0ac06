//! A shard in the kernel moves to more capacity while its clients go on (RULES 27).
//!
//! Always true: the old shard stands still from before its memory is copied until the new one is behind the link, so the two are equal when the link
//! is updated; whatever fails before that, the old one goes on. Rings, counters and keys stay; a recording of the old layout ends at the slot
//! that [`Consumer::moved`](crate::Consumer::moved) says, and what follows it is another's.

use crate::kernel::KernelShard;
use crate::live::Live;
use crate::ring::RingError;
use ring0_engine::control::{Control, ControlKind, Empty};
use ring0_engine::layout::Layout;
use ring0_engine::record::Outcome;
use ring0_engine::region::{Memory, SHARD_BASE};
use ring0_engine::shard::Shard;
use ring0_engine::snapshot::Snapshot;
use std::path::Path;
use std::time::{Duration, Instant};
use xdp_loader::{
    InitError, MigrateOptions, MigrateReport, Migration, Object, Pinned, Subprograms,
};

/// How long required consumers may take to read what the ring has.
const CATCH_UP: Duration = Duration::from_secs(5);

/// How a shard moved.
#[derive(Debug)]
pub struct Moved {
    /// Its pins now.
    pub pinned: Pinned,
    /// The loader's part.
    pub report: MigrateReport,
    /// Its state where it moved, in the new layout.
    pub snapshot: Snapshot,
    /// The record ring's slot where it moved.
    pub slot: u64,
    /// How long it took no orders; `None`: it was halted before, and still is.
    pub pause: Option<Duration>,
}

/// Moves a shard from one layout into another with room for as much in every dimension. `keep` gets the state before the shard goes on with it, to write
/// it down.
///
/// # Errors
/// The loader's; a consumer that is required and does not read; a smaller dimension; `keep`'s. The shard goes on as it was. Only where the new arena
/// cannot be opened after the link was updated, the shard stays halted in it: the next daemon adopts it.
pub fn enlarge_shard(
    shard: &mut KernelShard,
    pin_root: &Path,
    object: Object,
    from: &Layout,
    to: &Layout,
    keep: &mut dyn FnMut(&Snapshot) -> Result<(), InitError>,
) -> Result<Moved, RingError> {
    let migration = Migration::prepare(&MigrateOptions {
        object,
        pin_root: pin_root.to_owned(),
        arena_bytes: u64::from(SHARD_BASE) + to.bytes,
        sessions_max: to.capacity.sessions,
        layout_hash: to.hash(),
        subprograms: Subprograms::Global,
    })?;
    let stood = shard.shard().header().halted.get() != 0;
    let begun = Instant::now();
    if !stood {
        say(shard, ControlKind::HaltShard)?;
    }
    let moved = stand_still_and_move(shard, migration, from, to, keep);
    if !stood {
        // The old one where nothing was moved, the new one where it was.
        let resumed = say(shard, ControlKind::ResumeShard);
        if moved.is_ok() {
            resumed?;
        }
    }
    let (pinned, report, snapshot, slot) = moved?;
    Ok(Moved {
        pinned,
        report,
        snapshot,
        slot,
        pause: (!stood).then(|| begun.elapsed()),
    })
}

fn stand_still_and_move(
    shard: &mut KernelShard,
    migration: Migration,
    from: &Layout,
    to: &Layout,
    keep: &mut dyn FnMut(&Snapshot) -> Result<(), InitError>,
) -> Result<(Pinned, MigrateReport, Snapshot, u64), RingError> {
    all_have_read(shard)?;
    let snapshot = shard.snapshot_halted(from)?.enlarged(to)?;
    keep(&snapshot).map_err(|source| xdp_loader::LoaderError::Init { source })?;
    let slot = shard.records().tail();
    // Before the step that decides: who ends its recording for a move that did not come begins again where it ended.
    let last = shard.records().moved();
    shard.records().set_moved(slot);
    // What the program reads of its shard's place: port, masks, acks.
    let mut page = vec![0; SHARD_BASE as usize];
    shard.copy_page(&mut page);
    let committed = migration.commit(&mut |arena| {
        arena[..page.len()].copy_from_slice(&page);
        let region = arena.as_mut_ptr().wrapping_add(SHARD_BASE as usize);
        // SAFETY: the arena reserves what a `u32` offset can reach, and nothing is attached to it yet.
        let memory = unsafe { Memory::new(region) };
        snapshot.restore(Shard::new(memory), to)?;
        Ok(())
    });
    let migrated = match committed {
        Ok(migrated) => migrated,
        Err(error) => {
            shard.records().set_moved(last);
            return Err(error.into());
        }
    };
    shard.moved_to(&migrated.pinned, migrated.arena)?;
    Ok((migrated.pinned, migrated.report, snapshot, slot))
}

/// Waits until everybody for whom the ring waits has read it: what they write down ends with the old layout.
fn all_have_read(shard: &KernelShard) -> Result<(), RingError> {
    let end = Instant::now() + CATCH_UP;
    loop {
        let behind = shard.records().all_required();
        let Some(one) = behind.into_iter().find(|one| one.slots != 0) else {
            return Ok(());
        };
        if Instant::now() >= end {
            return Err(RingError::Behind {
                name: one.name,
                slots: one.slots,
            });
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn say(shard: &mut KernelShard, kind: ControlKind) -> Result<(), RingError> {
    let results = shard.command(&[Control::new(kind, &Empty {})])?;
    match results.first() {
        Some((Outcome::Accepted, _)) => Ok(()),
        other => Err(RingError::Consumer(format!(
            "the shard answered {kind:?} with {other:?}; look at `ring0 ctl status`"
        ))),
    }
}
