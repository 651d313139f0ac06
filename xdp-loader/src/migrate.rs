//! Moving a running shard into another arena: more capacity, another table of keys; the same rings, the same counters (RULES 27).
//!
//! The loader swaps; what the new arena holds is its owner's business, who has stopped the shard by then and fills the memory
//! ([`Migration::commit`]). Verifying the program, which takes longest, is done before ([`Migration::prepare`]).
//!
//! Always true: each packet sees the old program over the old arena or the new one over the new; the update of the link is the one step that
//! decides. Before it the new maps are pinned under names of their own, `META_NEXT` last; after it they take the names of the old ones, `META`
//! behind all that it describes. [`settle`] finds out on which side of the step a loader died, and goes on or back from there: the memories
//! are equal until the owner starts the shard again, which it does when all is named.

use crate::{
    error::LoaderError,
    load::{
        InitError, Step, check_arena_bytes, further_maps, map_facts, nanoseconds,
        remove_further_maps,
    },
    memory::{Arena, PAGE_BYTES},
    object::{Object, Parsed},
    pinned::{Keys, Pinned, Program, attached_program_id},
    pins::{
        ARENA_NEXT, Folder, KEYS_NEXT, Lock, MAPS, META, META_NEXT, Meta, PROGRAM, PROGRAM_NEXT,
    },
    replace::{Seat, check_maps, try_harmless, verify},
    subprograms::Subprograms,
    sys,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Instant,
};

/// Where a shard moves to.
#[derive(Clone, Debug)]
pub struct MigrateOptions {
    /// The program for the new memory.
    pub object: Object,
    /// Folder of the shard's pins.
    pub pin_root: PathBuf,
    /// Size of the new arena: a multiple of [`PAGE_BYTES`].
    pub arena_bytes: u64,
    /// Entries of the new key map: no fewer than before.
    pub sessions_max: u32,
    /// Identity of the new memory layout.
    pub layout_hash: u64,
    /// How the kernel verifies the program's subprograms.
    pub subprograms: Subprograms,
}

/// What a migration did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MigrateReport {
    /// Kernel id of the program over the new arena.
    pub program_id: u32,
    /// Kernel id of the one before.
    pub replaced_program_id: u32,
    /// Kernel id of the new arena.
    pub arena_id: u32,
    /// Kernel id of the one before; it goes with the last process that has it mapped.
    pub replaced_arena_id: u32,
    /// Instructions that the verifier walked through.
    pub verified_instructions: u32,
    /// Time to make the maps, verify and compile, nanoseconds: the shard works meanwhile.
    pub prepare_ns: u64,
    /// Time to fill the new arena, nanoseconds.
    pub fill_ns: u64,
    /// Time of the link's update, nanoseconds.
    pub update_ns: u64,
}

/// A shard in its new arena.
#[derive(Debug)]
pub struct Migrated {
    /// Its pins.
    pub pinned: Pinned,
    /// The new arena.
    pub arena: Arena,
    /// What was done.
    pub report: MigrateReport,
}

/// All that a migration needs before the shard has to stand still. Holds off every other loader; dropped, it leaves everything as it was.
pub struct Migration {
    pinned: Pinned,
    seat: Seat,
    old: Program,
    new: Program,
    arena: Arena,
    /// `ARENA` and `KEYS`.
    maps: (OwnedFd, OwnedFd),
    further: Vec<(String, OwnedFd)>,
    meta: Meta,
    prepare_ns: u64,
    _lock: Lock,
}

/// Arenas lie in one of two places, so that a process can have both of a migration: their reach is 4 GiB and a page (`memory.rs`).
const OTHER_PLACE: u64 = 8 << 30;

impl Migration {
    /// Makes the new arena and keys, and has the kernel verify the program over them. Nothing that runs is touched.
    ///
    /// # Errors
    /// Nothing is attached; the object is none, or its maps are not what is pinned; fewer sessions than before; memory is short; the verifier
    /// refuses the program.
    pub fn prepare(options: &MigrateOptions) -> Result<Migration, LoaderError> {
        let start = Instant::now();
        check_arena_bytes(options.arena_bytes)?;
        let mut object = Parsed::read(&options.object)?;
        let lock = Lock::take(&options.pin_root)?;
        settle(&Folder::new(&options.pin_root))?;
        let pinned = Pinned::open(&options.pin_root)?;
        let seat = Seat::of(&pinned)?;
        check_maps(&pinned, &object)?;
        if !(pinned.sessions_max()..=65_536).contains(&options.sessions_max) {
            return Err(LoaderError::Option {
                option: "sessions max",
                value: options.sessions_max.to_string(),
                rule: "give no fewer than the shard has, and 65536 at the most",
            });
        }
        let mut meta = pinned.meta().clone();
        meta.layout_hash = options.layout_hash;
        meta.layout_version = object.layout_version();
        meta.arena_address ^= OTHER_PLACE;
        let make =
            |name: &'static str, entries_max, extra| -> Result<(OwnedFd, u32), LoaderError> {
                let mut shape = object.map(name)?;
                (shape.entries_max, shape.extra) = (entries_max, extra);
                let map = sys::map_create(name, &shape).map_err(LoaderError::call(
                    format!("making map {name} ({entries_max} entries)"),
                    "free some memory, or choose a smaller capacity",
                ))?;
                let id = map_facts(name, &map)?.id;
                Ok((map, id))
            };
        let pages = (options.arena_bytes / PAGE_BYTES) as u32;
        let (arena_map, arena_id) = make("ARENA", pages, meta.arena_address)?;
        let (keys_map, keys_id) = make("KEYS", options.sessions_max, 0)?;
        for (name, id) in [("ARENA", arena_id), ("KEYS", keys_id)] {
            meta.map_ids[place(name)] = id;
        }
        let further = further_maps(pinned.folder(), &object)?;
        let mut named: Vec<(&str, &OwnedFd)> = MAPS.into_iter().zip(pinned.maps()).collect();
        named[place("ARENA")].1 = &arena_map;
        named[place("KEYS")].1 = &keys_map;
        named.extend(further.iter().map(|(name, map)| (name.as_str(), map)));
        let begun = Instant::now();
        let new = verify(&named, arena_id, &mut object, options.subprograms)?;
        meta.load_ns = nanoseconds(begun);
        let mut arena = Arena::map(&arena_map, options.arena_bytes, meta.arena_address)?;
        arena.touch();
        Step::ProgramLoaded.reached();
        Ok(Migration {
            seat,
            old: pinned.program()?,
            new,
            arena,
            maps: (arena_map, keys_map),
            further,
            meta,
            prepare_ns: nanoseconds(start),
            _lock: lock,
            pinned,
        })
    }

    /// Has the new arena filled, which is zeros, and puts the new program over it in the old one's place. The owner has stopped the shard:
    /// nothing may change in the old arena from what `fill` copies of it to the end of this.
    ///
    /// # Errors
    /// `fill`'s, or the new program does not pass harmless frames, or the kernel's: the old program goes on over the old arena. What fails behind the update
    /// of the link leaves pins that the next load, replace or opening puts right.
    pub fn commit(
        mut self,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), InitError>,
    ) -> Result<Migrated, LoaderError> {
        let begun = Instant::now();
        // SAFETY: the lock is held and this process made the arena: nothing is attached to it, and nobody else has it.
        let memory = unsafe { self.arena.bytes_mut() };
        fill(memory).map_err(|source| LoaderError::Init { source })?;
        self.copy_keys()?;
        let fill_ns = nanoseconds(begun);
        Step::Filled.reached();
        try_harmless(&self.new, &self.old)?;
        let folder = self.pinned.folder();
        let update_ns = match self.swap(folder) {
            Ok(update_ns) => update_ns,
            Err(error) => {
                // The first error is the one to tell.
                let _ = settle(folder);
                return Err(error);
            }
        };
        settle(folder)?;
        let further: Vec<(&str, &OwnedFd)> = self
            .further
            .iter()
            .map(|(name, map)| (name.as_str(), map))
            .collect();
        remove_further_maps(folder, &further)?;
        let report = MigrateReport {
            program_id: self.new.id(),
            replaced_program_id: self.old.id(),
            arena_id: self.meta.map_ids[place("ARENA")],
            replaced_arena_id: self.pinned.arena_id(),
            verified_instructions: self.new.verified_instructions(),
            prepare_ns: self.prepare_ns,
            fill_ns,
            update_ns,
        };
        Ok(Migrated {
            pinned: Pinned::open(folder.path())?,
            arena: self.arena,
            report,
        })
    }

    /// The arena's size, bytes.
    #[must_use]
    pub fn arena_bytes(&self) -> u64 {
        self.arena.len_bytes() as u64
    }

    /// The sessions' keys, as they are now.
    fn copy_keys(&self) -> Result<(), LoaderError> {
        let old = self.pinned.keys()?;
        let map = self.maps.1.try_clone();
        let map = map.map_err(LoaderError::call("opening the keys", "raise RLIMIT_NOFILE"))?;
        let facts = map_facts("KEYS", &map)?;
        let new = Keys::new(map, facts);
        for session in 0..old.len() {
            let key = old.get(session)?;
            if key.iter().any(|byte| *byte != 0) {
                new.set(session, &key)?;
            }
        }
        Ok(())
    }

    /// Pins what is new and updates the link; gives how long the update took.
    fn swap(&self, folder: &Folder) -> Result<u64, LoaderError> {
        let meta = sys::map_create(META, &Meta::shape())
            .map_err(LoaderError::call("making META", "free some memory"))?;
        self.meta.write(&meta)?;
        folder.remove(PROGRAM_NEXT)?;
        folder.pin(ARENA_NEXT, &self.maps.0)?;
        folder.pin(KEYS_NEXT, &self.maps.1)?;
        folder.pin(PROGRAM_NEXT, self.new.fd())?;
        folder.pin(META_NEXT, &meta)?;
        Step::NextPinned.reached();
        let begun = Instant::now();
        self.seat.put(self.new.fd()).map_err(LoaderError::call(
            "putting the program over the new arena",
            "the old one goes on; try again",
        ))?;
        let update_ns = nanoseconds(begun);
        Step::Linked.reached();
        Ok(update_ns)
    }
}

/// A map's place in [`MAPS`].
fn place(name: &str) -> usize {
    let at = MAPS.iter().position(|map| *map == name);
    at.expect("one of the six maps")
}

/// Goes on, or back, with what a migration left pinned under temporary names; nothing of the kind is fine. For who holds the lock.
pub(crate) fn settle(folder: &Folder) -> Result<(), LoaderError> {
    let next = match folder.open(META_NEXT)? {
        Some(map) => Meta::read(&map)?,
        None => None,
    };
    let is_decided = match &next {
        None => false,
        // Its name goes last of all that is renamed, first of all that is removed.
        Some(_) if folder.open(ARENA_NEXT)?.is_none() => true,
        Some(meta) => attached_program_id(folder, meta)?.is_some_and(|id| {
            sys::program_by_id(id)
                .and_then(|program| sys::program_facts(program.as_fd()))
                .is_ok_and(|facts| facts.map_ids.contains(&meta.map_ids[place("ARENA")]))
        }),
    };
    if is_decided {
        let steps = [
            (ARENA_NEXT, "ARENA", Step::ArenaNamed),
            (KEYS_NEXT, "KEYS", Step::KeysNamed),
            (PROGRAM_NEXT, PROGRAM, Step::ProgramNamed),
            (META_NEXT, META, Step::MetaNamed),
        ];
        for (from, to, step) in steps {
            if folder.open(from)?.is_some() {
                folder.rename(from, to)?;
            }
            step.reached();
        }
        return Ok(());
    }
    // Without an arena of its own it is a replacement's.
    let is_ours = folder.open(ARENA_NEXT)?.is_some();
    folder.remove(META_NEXT)?;
    if is_ours {
        folder.remove(PROGRAM_NEXT)?;
    }
    folder.remove(KEYS_NEXT)?;
    folder.remove(ARENA_NEXT)?;
    Ok(())
}
