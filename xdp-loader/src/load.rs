//! Loading: maps made or adopted, memory initialised, program verified, attached and pinned.
//!
//! Every step leaves something that the next load adopts or repairs, whoever dies in between
//! ([`Step`], and `tests/crash.rs` which dies at each of them):
//! - until `META` says finished nothing is attached: the next load removes all and starts afresh;
//! - from then on the maps are kept, only program and link are made anew where they are missing;
//! - a live link is never taken down: the new program replaces the old one behind it.

use crate::{
    dispatch::{self, Dispatch},
    error::LoaderError,
    memory::{Arena, Fresh, FreshMappings, PAGE_BYTES},
    migrate, netns,
    object::{Object, Parsed},
    pinned::{Pinned, open_pinned, program_name},
    pins::{
        self, Folder, LINK, Lock, MAP_PREFIX, MAPS, META, Meta, NAME_BYTES_MAX, PROGRAM,
        PROGRAM_NEXT,
    },
    probe, refusal,
    subprograms::Subprograms,
    sys::{self, MapShape},
    unload,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Instant,
};

/// Where arenas are mapped unless the options say otherwise. The program sees the low 32 bits of
/// the address, so it is a multiple of 4 GiB; this one is free in every ordinary process.
pub const ARENA_ADDRESS: u64 = 0x1000_0000_0000;

/// Largest arena: 4 GiB less a page.
pub const ARENA_BYTES_MAX: u64 = (1 << 32) - PAGE_BYTES;

/// How the program hangs on the interface.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver, before a socket buffer exists.
    #[default]
    Native,
    /// In the network stack, on a socket buffer; works on any interface, slower.
    Skb,
}

impl Mode {
    /// XDP_FLAGS_DRV_MODE or XDP_FLAGS_SKB_MODE (`include/uapi/linux/if_link.h`).
    pub(crate) fn flags(self) -> u32 {
        match self {
            Self::Native => 1 << 2,
            Self::Skb => 1 << 1,
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Native => "native",
            Self::Skb => "skb",
        })
    }
}

/// What to load, where, and how large.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The program.
    pub object: Object,
    /// Interface to attach to.
    pub interface: String,
    /// Network namespace of the interface, by its `ip netns` name; `None` is the caller's.
    pub netns: Option<String>,
    /// How to attach. Never changed silently.
    pub mode: Mode,
    /// Folder of the pins.
    pub pin_root: PathBuf,
    /// Size of the arena: a multiple of [`PAGE_BYTES`] up to [`ARENA_BYTES_MAX`].
    pub arena_bytes: u64,
    /// Address of a fresh arena in every process: a multiple of 4 GiB. A process that maps several
    /// needs them 8 GiB apart. One that is pinned is adopted where it lies.
    pub arena_address: u64,
    /// Slots of the record ring, a power of two.
    pub record_slots: u32,
    /// Slots of the command ring, a power of two.
    pub command_slots: u32,
    /// Entries of the key map.
    pub sessions_max: u32,
    /// Identity of the memory layout: an arena with another one is not adopted.
    pub layout_hash: u64,
    /// How the kernel verifies the program's subprograms. Never changed silently.
    pub subprograms: Subprograms,
    /// Gets the verifier's log: whole for a refused program, its statistics for one that was taken.
    pub verifier_log: Option<PathBuf>,
    /// For a shard that shares its interface with others; `None`: it has the interface alone.
    pub dispatch: Option<Dispatch>,
}

impl LoadOptions {
    /// Options for a small shard in native mode, pinned at the default place.
    pub fn new(object: Object, interface: &str, netns: Option<&str>) -> Self {
        Self {
            object,
            interface: interface.to_owned(),
            netns: netns.map(str::to_owned),
            mode: Mode::Native,
            pin_root: pins::default_pin_root(interface, netns),
            arena_bytes: 16 << 20,
            arena_address: ARENA_ADDRESS,
            record_slots: 1 << 16,
            command_slots: 1 << 10,
            sessions_max: 1 << 10,
            layout_hash: 0,
            subprograms: Subprograms::Global,
            verifier_log: None,
            dispatch: None,
        }
    }

    /// The same for one of several shards of the interface, pinned at its default place.
    #[must_use]
    pub fn behind(mut self, dispatch: Dispatch) -> Self {
        let netns = self.netns.as_deref();
        self.pin_root = pins::default_shard_root(&self.interface, netns, dispatch.port);
        self.dispatch = Some(dispatch);
        self
    }

    fn port(&self) -> Option<u16> {
        self.dispatch.as_ref().map(|dispatch| dispatch.port)
    }

    /// The object, read.
    pub(crate) fn parse(&self) -> Result<Parsed, LoaderError> {
        let mut object = Parsed::read(&self.object)?;
        if self.verifier_log.is_some() {
            object.verifier_log.clone_from(&self.verifier_log);
        }
        Ok(object)
    }

    pub(crate) fn check(&self) -> Result<(), LoaderError> {
        check_arena_bytes(self.arena_bytes)?;
        let option = |option, value: String, rule| {
            Err(LoaderError::Option {
                option,
                value,
                rule,
            })
        };
        if self.arena_address == 0 || self.arena_address & 0xffff_ffff != 0 {
            let value = format!("{:#x}", self.arena_address);
            return option(
                "arena address",
                value,
                "give a multiple of 4 GiB above zero",
            );
        }
        for (name, slots) in [
            ("record slots", self.record_slots),
            ("command slots", self.command_slots),
        ] {
            // Fewer than a page of slots would leave mapped memory behind the last one.
            if !slots.is_power_of_two() || !(64..=1 << 25).contains(&slots) {
                return option(
                    name,
                    slots.to_string(),
                    "give a power of two from 64 to 33554432",
                );
            }
        }
        if !(1..=65_536).contains(&self.sessions_max) {
            return option(
                "sessions max",
                self.sessions_max.to_string(),
                "give 1 to 65536",
            );
        }
        for (name, value) in [
            ("interface", Some(&self.interface)),
            ("network namespace", self.netns.as_ref()),
        ] {
            if value.is_some_and(|value| !is_plain_name(value)) {
                let value = value.cloned().unwrap_or_default();
                return option(name, value, "give a name of 1 to 63 bytes without slashes");
            }
        }
        Ok(())
    }

    /// What map `name` must be.
    pub(crate) fn shape(&self, name: &str, object: &Parsed) -> Result<MapShape, LoaderError> {
        let mut shape = object.map(name)?;
        match name {
            "ARENA" => {
                shape.entries_max = (self.arena_bytes / PAGE_BYTES) as u32;
                shape.extra = self.arena_address;
            }
            "RECORDS" => shape.entries_max = self.record_slots,
            "COMMANDS" => shape.entries_max = self.command_slots,
            "KEYS" => shape.entries_max = self.sessions_max,
            _ => {}
        }
        Ok(shape)
    }
}

fn is_plain_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains('/') && !name.contains('\0')
}

pub(crate) fn check_arena_bytes(bytes: u64) -> Result<(), LoaderError> {
    let why = if bytes == 0 {
        "it is empty"
    } else if bytes > ARENA_BYTES_MAX {
        "it is over 4 GiB less a page"
    } else if !bytes.is_multiple_of(PAGE_BYTES) {
        "it is not whole pages"
    } else {
        return Ok(());
    };
    Err(LoaderError::ArenaSize {
        bytes,
        why,
        page: PAGE_BYTES,
        max: ARENA_BYTES_MAX,
    })
}

/// Places where a crash test ends the process (`XDP_LOADER_DIE_AT=<name>`), in the order in which
/// a load, then an unload passes them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The pin folder is there.
    Folder,
    /// The `META` pin is there, not finished.
    Meta,
    /// The first map is pinned.
    FirstMap,
    /// All maps are pinned.
    Maps,
    /// Every page of the arena has memory.
    Touched,
    /// The caller has initialised the memory.
    Initialised,
    /// `META` says finished.
    Finished,
    /// The kernel has the program.
    ProgramLoaded,
    /// The program is pinned under its temporary name.
    ProgramPinned,
    /// The link exists or has the new program, a new one is not pinned.
    Linked,
    /// The link is pinned.
    LinkPinned,
    /// The dispatcher has the program at its port; without one the same as before.
    PortGiven,
    /// The program is pinned under its name.
    ProgramNamed,
    /// Replacing: the new program has been watched and is well, its pin is still the temporary one.
    Healthy,
    /// Replacing: the old program is behind the link again, the new one still pinned.
    RolledBack,
    /// Migrating: the new arena is filled, nothing of it is pinned.
    Filled,
    /// Migrating: the new maps and the program are pinned under their temporary names.
    NextPinned,
    /// Migrating: the new arena has its name.
    ArenaNamed,
    /// Migrating: the new keys have theirs.
    KeysNamed,
    /// Migrating: `META` is the new one's.
    MetaNamed,
    /// Unloading: the links are detached and gone.
    UnloadLinks,
    /// Unloading: the program's pins are gone.
    UnloadProgram,
    /// Unloading: `META` is gone.
    UnloadMeta,
    /// Unloading: the maps are gone, the folder is not.
    UnloadMaps,
}

impl Step {
    /// All steps of a load and an unload, in order.
    pub const ALL: [Self; 17] = [
        Self::Folder,
        Self::Meta,
        Self::FirstMap,
        Self::Maps,
        Self::Touched,
        Self::Initialised,
        Self::Finished,
        Self::ProgramLoaded,
        Self::ProgramPinned,
        Self::Linked,
        Self::LinkPinned,
        Self::PortGiven,
        Self::ProgramNamed,
        Self::UnloadLinks,
        Self::UnloadProgram,
        Self::UnloadMeta,
        Self::UnloadMaps,
    ];

    /// The steps of a replace that ends well, in order.
    pub const REPLACE: [Self; 5] = [
        Self::ProgramLoaded,
        Self::ProgramPinned,
        Self::Linked,
        Self::Healthy,
        Self::ProgramNamed,
    ];

    /// The steps of a migration, in order.
    pub const MIGRATE: [Self; 8] = [
        Self::ProgramLoaded,
        Self::Filled,
        Self::NextPinned,
        Self::Linked,
        Self::ArenaNamed,
        Self::KeysNamed,
        Self::ProgramNamed,
        Self::MetaNamed,
    ];

    /// The name in `XDP_LOADER_DIE_AT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Meta => "meta",
            Self::FirstMap => "first-map",
            Self::Maps => "maps",
            Self::Touched => "touched",
            Self::Initialised => "initialised",
            Self::Finished => "finished",
            Self::ProgramLoaded => "program-loaded",
            Self::ProgramPinned => "program-pinned",
            Self::Linked => "linked",
            Self::LinkPinned => "link-pinned",
            Self::PortGiven => "port-given",
            Self::ProgramNamed => "program-named",
            Self::Healthy => "healthy",
            Self::RolledBack => "rolled-back",
            Self::Filled => "filled",
            Self::NextPinned => "next-pinned",
            Self::ArenaNamed => "arena-named",
            Self::KeysNamed => "keys-named",
            Self::MetaNamed => "meta-named",
            Self::UnloadLinks => "unload-links",
            Self::UnloadProgram => "unload-program",
            Self::UnloadMeta => "unload-meta",
            Self::UnloadMaps => "unload-maps",
        }
    }

    /// Ends the process here if the environment says so.
    pub(crate) fn reached(self) {
        if std::env::var_os("XDP_LOADER_DIE_AT").is_some_and(|name| name == self.name()) {
            sys::die();
        }
    }
}

/// What a load did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LoadReport {
    /// Whether the memory was there before; otherwise it was made and initialised.
    pub adopted: bool,
    /// Whether a running program was replaced behind its link.
    pub replaced: bool,
    /// Kernel id of the program.
    pub program_id: u32,
    /// How it was attached.
    pub mode: Mode,
    /// Kernel id of the arena, the same for as long as the memory lives.
    pub arena_id: u32,
    /// Instructions that the verifier walked through.
    pub verified_instructions: u32,
    /// Time that the kernel took to verify and compile the program, nanoseconds.
    pub load_ns: u64,
    /// Time of the whole load, nanoseconds.
    pub total_ns: u64,
}

/// A loaded shard device.
#[derive(Debug)]
pub struct Loaded {
    /// Its pins, as any process opens them.
    pub pinned: Pinned,
    /// Its arena; `None` if this process has mapped it before and still does.
    pub arena: Option<Arena>,
    /// What was done.
    pub report: LoadReport,
}

/// What `init` may fail with.
pub type InitError = Box<dyn std::error::Error + Send + Sync>;

/// Loads and attaches, or adopts what is pinned and puts the program of the options behind its
/// link. `init` is called once for fresh memory, before anything is attached, never for adopted.
///
/// Safe to call again at any time and after any death: see [`Step`]. A load that fails leaves
/// adopted memory and its running program as they were, and nothing of a fresh one.
///
/// # Errors
/// See [`LoaderError`]; nothing is attached then that was not before.
pub fn load(
    options: &LoadOptions,
    init: &mut dyn FnMut(Fresh<'_>) -> Result<(), InitError>,
) -> Result<Loaded, LoaderError> {
    let start = Instant::now();
    options.check()?;
    probe::probe().require()?;
    let object = options.parse()?;
    let folder = Folder::new(&options.pin_root);
    let _lock = Lock::take(folder.path())?;
    migrate::settle(&folder)?;
    dispatch::check_place(options, &folder)?;
    let ifindex = interface_is_ours(options, &folder)?;
    folder.make()?;
    Step::Folder.reached();

    let finished = match folder.open(META)? {
        Some(map) => Meta::read(&map)?
            .filter(|meta| meta.finished)
            .map(|meta| (map, meta)),
        None => None,
    };
    let adopted = finished.is_some();
    let result = match finished {
        Some((map, meta)) => {
            let maps = adopt(options, &folder, &object, &meta)?;
            dispatch::check_port(options, Some(meta.map_ids[0]))?;
            let arena = match Arena::map(&maps[0], options.arena_bytes, meta.arena_address) {
                Ok(arena) => Some(arena),
                Err(LoaderError::ArenaTaken { .. }) => None,
                Err(error) => return Err(error),
            };
            attach(options, &folder, object, ifindex, &maps, (map, meta)).map(|done| (arena, done))
        }
        None => dispatch::check_port(options, None)
            .and_then(|()| create(options, &folder, &object, init))
            .and_then(|(arena, maps, meta)| {
                attach(options, &folder, object, ifindex, &maps, meta)
                    .map(|done| (Some(arena), done))
            }),
    };
    let (arena, attached) = match result {
        Ok(result) => result,
        Err(error) => {
            if !adopted {
                // Nothing was attached: leave no trace. The first error is the one to tell.
                let _ = unload::remove_all(&folder);
            }
            return Err(error);
        }
    };
    let pinned = Pinned::open(folder.path())?;
    let arena_id = pinned.arena_id();
    Ok(Loaded {
        pinned,
        arena,
        report: LoadReport {
            adopted,
            replaced: attached.replaced,
            program_id: attached.facts.id,
            mode: options.mode,
            arena_id,
            verified_instructions: attached.facts.verified_instructions,
            load_ns: attached.load_ns,
            total_ns: nanoseconds(start),
        },
    })
}

/// As [`load`] in the mode that the interface gives: that of the pinned shard, otherwise native, and `skb` where the driver refuses native.
/// Gives with it why not native. The report says which mode it is.
///
/// # Errors
/// As [`load`].
pub fn load_any_mode(
    options: &LoadOptions,
    init: &mut dyn FnMut(Fresh<'_>) -> Result<(), InitError>,
) -> Result<(Loaded, Option<LoaderError>), LoaderError> {
    let mut options = options.clone();
    options.mode = match open_pinned(&options.pin_root) {
        Ok(pinned) => pinned.mode(),
        Err(_) => Mode::Native,
    };
    match load(&options, init) {
        Err(refused @ LoaderError::NativeRefused { .. }) => {
            options.mode = Mode::Skb;
            load(&options, init).map(|loaded| (loaded, Some(refused)))
        }
        result => result.map(|loaded| (loaded, None)),
    }
}

/// The interface's number, if it is free or has the program of our own link.
pub(crate) fn interface_is_ours(
    options: &LoadOptions,
    folder: &Folder,
) -> Result<u32, LoaderError> {
    let netns = options.netns.as_deref();
    let (ifindex, attached) = netns::within(netns, || {
        let ifindex = netns::interface_number(&options.interface, netns)?;
        Ok((ifindex, netns::attached_xdp(ifindex)?))
    })?;
    let Some(attached) = attached else {
        return Ok(ifindex);
    };
    let shared;
    let folder = match options.dispatch {
        None => folder,
        Some(_) => {
            shared = Folder::new(&pins::default_pin_root(&options.interface, netns));
            &shared
        }
    };
    let ours = match folder.open(LINK)? {
        Some(link) => sys::link_facts(link.as_fd())
            .is_ok_and(|link| link.ifindex == ifindex && link.program_id == attached.program_id),
        None => false,
    };
    if ours {
        return Ok(ifindex);
    }
    Err(LoaderError::Foreign {
        interface: options.interface.clone(),
        id: attached.program_id,
        name: program_name(attached.program_id),
    })
}

/// The pinned maps in the order of [`MAPS`], if they are what the options want.
pub(crate) fn adopt(
    options: &LoadOptions,
    folder: &Folder,
    object: &Parsed,
    meta: &Meta,
) -> Result<Vec<OwnedFd>, LoaderError> {
    let same = |what: &str, pinned: String, wanted: String| {
        if pinned == wanted {
            return Ok(());
        }
        let pin_root = folder.path().to_owned();
        Err(LoaderError::Mismatch {
            what: what.to_owned(),
            pinned,
            wanted,
            pin_root,
        })
    };
    let hex = |number: u64| format!("{number:#x}");
    let place = |interface: &str, netns: Option<&str>| match netns {
        Some(netns) => format!("{interface} in {netns}"),
        None => interface.to_owned(),
    };
    same(
        "layout hash",
        hex(meta.layout_hash),
        hex(options.layout_hash),
    )?;
    same(
        "interface",
        place(&meta.interface, meta.netns.as_deref()),
        place(&options.interface, options.netns.as_deref()),
    )?;
    // A program that names no layout is taken at its layout hash.
    if meta.layout_version != 0 && object.layout_version() != 0 {
        same(
            "layout version",
            meta.layout_version.to_string(),
            object.layout_version().to_string(),
        )?;
    }
    same("mode", meta.mode.to_string(), options.mode.to_string())?;
    let port = |port: Option<u16>| match port {
        Some(port) => port.to_string(),
        None => "none (it has the interface alone)".to_owned(),
    };
    same("port", port(meta.port), port(options.port()))?;
    let mut maps = Vec::new();
    for (name, id) in MAPS.into_iter().zip(meta.map_ids) {
        let map = folder.open(name)?.ok_or_else(|| LoaderError::PinMissing {
            name: name.to_owned(),
            pin_root: folder.path().to_owned(),
        })?;
        let facts = map_facts(name, &map)?;
        let (found, mut wanted) = (facts.shape, options.shape(name, object)?);
        if name == "ARENA" {
            // Where it lies is its own: a migration puts each arena beside the one before.
            wanted.extra = meta.arena_address;
        }
        same(
            &format!("{name} map id"),
            facts.id.to_string(),
            id.to_string(),
        )?;
        same(
            &format!("{name} map type"),
            found.kind.to_string(),
            wanted.kind.to_string(),
        )?;
        for (property, found, wanted) in [
            ("key bytes", found.key_bytes, wanted.key_bytes),
            ("value bytes", found.value_bytes, wanted.value_bytes),
            ("entries", found.entries_max, wanted.entries_max),
            ("flags", found.flags, wanted.flags),
        ] {
            same(
                &format!("{name} {property}"),
                found.to_string(),
                wanted.to_string(),
            )?;
        }
        same(
            &format!("{name} address"),
            hex(found.extra),
            hex(wanted.extra),
        )?;
        maps.push(map);
    }
    Ok(maps)
}

pub(crate) fn map_facts(name: &str, map: &OwnedFd) -> Result<sys::MapFacts, LoaderError> {
    sys::map_facts(map.as_fd()).map_err(LoaderError::call(
        format!("looking at map {name}"),
        "`xdp-loader unload` clears the folder",
    ))
}

type Created = (Arena, Vec<OwnedFd>, (OwnedFd, Meta));

/// Makes the maps, gives them memory and lets the caller fill it.
fn create(
    options: &LoadOptions,
    folder: &Folder,
    object: &Parsed,
    init: &mut dyn FnMut(Fresh<'_>) -> Result<(), InitError>,
) -> Result<Created, LoaderError> {
    // What a dead load left was never attached.
    unload::remove_pins(folder)?;
    let cure = "free some memory, or load with smaller sizes";
    let meta_map =
        sys::map_create(META, &Meta::shape()).map_err(LoaderError::call("making META", cure))?;
    let mut meta = Meta {
        finished: false,
        layout_hash: options.layout_hash,
        arena_address: options.arena_address,
        mode: options.mode,
        load_ns: 0,
        map_ids: [0; MAPS.len()],
        interface: options.interface.clone(),
        netns: options.netns.clone(),
        layout_version: object.layout_version(),
        port: options.port(),
    };
    meta.write(&meta_map)?;
    folder.pin(META, &meta_map)?;
    Step::Meta.reached();
    let mut maps = Vec::new();
    for (number, name) in MAPS.into_iter().enumerate() {
        let shape = options.shape(name, object)?;
        let map = sys::map_create(name, &shape).map_err(LoaderError::call(
            format!("making map {name} ({} entries)", shape.entries_max),
            cure,
        ))?;
        folder.pin(name, &map)?;
        meta.map_ids[number] = map_facts(name, &map)?.id;
        maps.push(map);
        if number == 0 {
            Step::FirstMap.reached();
        }
    }
    Step::Maps.reached();
    let mut arena = Arena::map(&maps[0], options.arena_bytes, options.arena_address)?;
    arena.touch();
    Step::Touched.reached();
    let cursors = object.map("CURSORS")?.entries_max;
    let mut mappings = FreshMappings::map([
        (&maps[1], options.record_slots),
        (&maps[2], cursors),
        (&maps[3], options.command_slots),
    ])
    .map_err(LoaderError::call("mapping the rings", cure))?;
    // SAFETY: the lock is held, `META` is not finished and these maps are new: no program and no
    // other process has them.
    let fresh = unsafe { mappings.fresh(&mut arena) };
    init(fresh).map_err(|source| LoaderError::Init { source })?;
    Step::Initialised.reached();
    meta.finished = true;
    meta.write(&meta_map)?;
    Step::Finished.reached();
    Ok((arena, maps, (meta_map, meta)))
}

/// The maps that this program declares besides [`MAPS`], adopted where one of the same shape is pinned, otherwise made. They are
/// for watching a program, not for its book: `META` does not know them, and a death at any point leaves at worst a pin that the
/// next load adopts or removes.
pub(crate) fn further_maps(
    folder: &Folder,
    object: &Parsed,
) -> Result<Vec<(String, OwnedFd)>, LoaderError> {
    let mut maps = Vec::new();
    for (name, shape) in object.further_maps(&MAPS)? {
        let map = adopt_or_make(folder, &name, &shape)?;
        maps.push((name, map));
    }
    Ok(maps)
}

/// Removes the pins of what only the program before had: nobody writes there any more.
pub(crate) fn remove_further_maps(
    folder: &Folder,
    further: &[(&str, &OwnedFd)],
) -> Result<(), LoaderError> {
    for pin in folder.names()? {
        if let Some(name) = pin.strip_prefix(MAP_PREFIX)
            && !further.iter().any(|(declared, _)| *declared == name)
        {
            folder.remove(&pin)?;
        }
    }
    Ok(())
}

/// The map that is pinned as `MAP_` and its name, if it has this shape; otherwise a new one in its place.
pub(crate) fn adopt_or_make(
    folder: &Folder,
    name: &str,
    shape: &MapShape,
) -> Result<OwnedFd, LoaderError> {
    let pin = format!("{MAP_PREFIX}{name}");
    let pinned = folder
        .open(&pin)?
        .filter(|map| sys::map_facts(map.as_fd()).is_ok_and(|facts| facts.shape == *shape));
    if let Some(map) = pinned {
        return Ok(map);
    }
    folder.remove(&pin)?;
    let map = sys::map_create(name, shape).map_err(LoaderError::call(
        format!("making map {name} ({} entries)", shape.entries_max),
        "free some memory, or load an object without this map",
    ))?;
    folder.pin(&pin, &map)?;
    Ok(map)
}

struct Attached {
    facts: sys::ProgramFacts,
    load_ns: u64,
    replaced: bool,
}

/// Verifies the program with `maps`, and puts it behind the pinned link or a new one.
fn attach(
    options: &LoadOptions,
    folder: &Folder,
    mut object: Parsed,
    ifindex: u32,
    maps: &[OwnedFd],
    (meta_map, mut meta): (OwnedFd, Meta),
) -> Result<Attached, LoaderError> {
    let further = further_maps(folder, &object)?;
    let further = further.iter().map(|(name, map)| (name.as_str(), map));
    let further: Vec<(&str, &OwnedFd)> = further.collect();
    let mut named: Vec<(&str, &OwnedFd)> = MAPS.into_iter().zip(maps).collect();
    named.extend(&further);
    meta.layout_version = object.layout_version();
    let start = Instant::now();
    let program = object.load(&named, options.subprograms)?;
    let load_ns = nanoseconds(start);
    Step::ProgramLoaded.reached();
    let facts = sys::program_facts(program.as_fd()).map_err(LoaderError::call(
        "looking at the new program",
        "run as root",
    ))?;
    if !facts.map_ids.contains(&meta.map_ids[0]) {
        return Err(object.error("does not use its ARENA, so it would match in no memory"));
    }
    folder.remove(PROGRAM_NEXT)?;
    folder.pin(PROGRAM_NEXT, &program)?;
    Step::ProgramPinned.reached();
    let replaced = match &options.dispatch {
        None => link(options, folder, ifindex, &program)?,
        Some(dispatch) => dispatch::attach(options, dispatch, ifindex, &program)?,
    };
    folder.rename(PROGRAM_NEXT, PROGRAM)?;
    remove_further_maps(folder, &further)?;
    Step::ProgramNamed.reached();
    meta.load_ns = load_ns;
    meta.write(&meta_map)?;
    Ok(Attached {
        facts,
        load_ns,
        replaced,
    })
}

pub(crate) fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a living link took the program; otherwise a new one was made.
fn link(
    options: &LoadOptions,
    folder: &Folder,
    ifindex: u32,
    program: &OwnedFd,
) -> Result<bool, LoaderError> {
    if let Some(link) = folder.open(LINK)? {
        // A link whose interface has gone says 0 and never comes back.
        if sys::link_facts(link.as_fd()).is_ok_and(|facts| facts.ifindex == ifindex) {
            sys::link_update(link.as_fd(), program.as_fd()).map_err(LoaderError::call(
                "replacing the program behind the link",
                "the old one goes on; load again",
            ))?;
            Step::Linked.reached();
            Step::LinkPinned.reached();
            Step::PortGiven.reached();
            return Ok(true);
        }
        folder.remove(LINK)?;
    }
    let link = new_link(
        &options.interface,
        options.netns.as_deref(),
        options.mode,
        program,
    )?;
    Step::Linked.reached();
    folder.pin(LINK, &link)?;
    Step::LinkPinned.reached();
    Step::PortGiven.reached();
    Ok(false)
}

/// Attaches `program`, and says why the kernel would not.
pub(crate) fn new_link(
    interface: &str,
    netns: Option<&str>,
    mode: Mode,
    program: &OwnedFd,
) -> Result<OwnedFd, LoaderError> {
    netns::within(netns, || {
        let ifindex = netns::interface_number(interface, netns)?;
        let source = match sys::link_create(program.as_fd(), ifindex, mode.flags()) {
            Ok(link) => return Ok(link),
            Err(source) => source,
        };
        let attach = || sys::link_create(program.as_fd(), ifindex, mode.flags());
        match source.raw_os_error() {
            Some(libc::EBUSY | libc::EEXIST) => {
                let id = netns::attached_xdp(ifindex)?.map_or(0, |attached| attached.program_id);
                Err(LoaderError::Foreign {
                    interface: interface.to_owned(),
                    id,
                    name: program_name(id),
                })
            }
            Some(libc::EPERM) => Err(LoaderError::Privilege {
                missing: "CAP_NET_ADMIN".to_owned(),
                doing: "attach to an interface",
            }),
            _ if mode == Mode::Native => Err(LoaderError::NativeRefused {
                interface: interface.to_owned(),
                source: refusal::explain(source, ifindex, attach)?,
            }),
            _ => Err(LoaderError::Call {
                doing: format!("attaching to {interface}"),
                source: refusal::explain(source, ifindex, attach)?,
                cure: "check the interface's MTU and offloads (large receive offload off)",
            }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_options_are_refused_with_the_rule() {
        let options = LoadOptions::new(Object::Bytes((&[]).into()), "eth0", None);
        let check = |change: &dyn Fn(&mut LoadOptions), expected: &str| {
            let mut options = options.clone();
            change(&mut options);
            let error = options.check().expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.exit() as u8, 2, "usage");
        };
        assert!(options.check().is_ok());
        check(&|options| options.arena_bytes = 0, "empty");
        check(&|options| options.arena_bytes = 5000, "whole pages");
        check(
            &|options| options.arena_bytes = 1 << 32,
            "over 4 GiB less a page",
        );
        check(&|options| options.arena_address = 0x1000_0000_1000, "4 GiB");
        check(&|options| options.record_slots = 100, "power of two");
        check(&|options| options.command_slots = 32, "power of two");
        check(&|options| options.sessions_max = 0, "65536");
        check(&|options| options.interface = "a/b".to_owned(), "slashes");
        check(&|options| options.netns = Some(String::new()), "slashes");
    }

    #[test]
    fn step_names_are_distinct() {
        for (number, step) in Step::ALL.iter().enumerate() {
            assert!(
                Step::ALL[..number]
                    .iter()
                    .all(|other| other.name() != step.name())
            );
        }
    }
}
