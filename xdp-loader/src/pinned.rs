//! A loaded shard device as any process opens it: its memory, keys, counters and program.

use crate::{
    dispatch::Dispatcher,
    error::LoaderError,
    load::{Mode, new_link},
    memory::{Arena, Commands, Cursors, PAGE_BYTES, RecordRing},
    migrate, netns,
    pins::{
        Folder, LINK, Lock, MAPS, META, META_NEXT, Meta, PEER_PREFIX, PROGRAM, default_pin_root,
        place_name,
    },
    probe::PASS,
    sys::{self, LinkFacts, MapFacts, TestRun},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// An open pin folder.
#[derive(Debug)]
pub struct Pinned {
    folder: Folder,
    meta: Meta,
    maps: Vec<OwnedFd>,
    facts: Vec<MapFacts>,
}

/// Opens what is pinned at `pin_root`, from any process.
///
/// # Errors
/// [`LoaderError::NotLoaded`] if no load has finished there.
pub fn open_pinned(pin_root: &Path) -> Result<Pinned, LoaderError> {
    let folder = Folder::new(pin_root);
    if folder.open(META_NEXT)?.is_some() {
        // A migration is in its last moment, or died there.
        let _lock = Lock::take(pin_root)?;
        migrate::settle(&folder)?;
    }
    Pinned::open(pin_root)
}

impl Pinned {
    pub(crate) fn open(pin_root: &Path) -> Result<Self, LoaderError> {
        let folder = Folder::new(pin_root);
        let not_loaded = || LoaderError::NotLoaded {
            pin_root: pin_root.to_owned(),
        };
        let Some(map) = folder.open(META)? else {
            if let Some(dispatcher) = Dispatcher::at(folder.clone())? {
                dispatcher.must_have_no_shard()?;
            }
            return Err(not_loaded());
        };
        let meta = Meta::read(&map)?
            .filter(|meta| meta.finished)
            .ok_or_else(not_loaded)?;
        let (mut maps, mut facts) = (Vec::new(), Vec::new());
        for (name, id) in MAPS.into_iter().zip(meta.map_ids) {
            let missing = || LoaderError::PinMissing {
                name: name.to_owned(),
                pin_root: pin_root.to_owned(),
            };
            let map = folder.open(name)?.ok_or_else(missing)?;
            let found = sys::map_facts(map.as_fd()).map_err(LoaderError::call(
                format!("looking at map {name}"),
                "run as root",
            ))?;
            if found.id != id {
                return Err(LoaderError::Mismatch {
                    what: format!("{name} map id"),
                    pinned: found.id.to_string(),
                    wanted: id.to_string(),
                    pin_root: pin_root.to_owned(),
                });
            }
            maps.push(map);
            facts.push(found);
        }
        Ok(Self {
            folder,
            meta,
            maps,
            facts,
        })
    }

    fn map(&self, name: &str) -> (&OwnedFd, &MapFacts) {
        let number = MAPS
            .iter()
            .position(|known| *known == name)
            .expect("one of the six maps");
        (&self.maps[number], &self.facts[number])
    }

    /// The pin folder.
    pub fn pin_root(&self) -> &Path {
        self.folder.path()
    }

    /// Identity of the memory layout that the arena was made for.
    pub fn layout_hash(&self) -> u64 {
        self.meta.layout_hash
    }

    /// Interface that the program is, or was, attached to.
    pub fn interface(&self) -> &str {
        &self.meta.interface
    }

    /// How the program is, or was, attached.
    pub fn mode(&self) -> Mode {
        self.meta.mode
    }

    /// UDP port of a shard that shares its interface; `None`: it has the interface alone.
    pub fn port(&self) -> Option<u16> {
        self.meta.port
    }

    /// The dispatcher that the shard is behind; `None` where it has the interface alone, or the dispatcher has gone.
    ///
    /// # Errors
    /// A missing privilege.
    pub fn dispatcher(&self) -> Result<Option<Dispatcher>, LoaderError> {
        match self.meta.port {
            None => Ok(None),
            Some(_) => Dispatcher::open(self.interface(), self.netns()),
        }
    }

    /// Network namespace of the interface.
    pub fn netns(&self) -> Option<&str> {
        self.meta.netns.as_deref()
    }

    /// Size of the arena.
    pub fn arena_bytes(&self) -> u64 {
        u64::from(self.map("ARENA").1.shape.entries_max) * PAGE_BYTES
    }

    /// Kernel id of the arena map.
    pub fn arena_id(&self) -> u32 {
        self.map("ARENA").1.id
    }

    /// Kernel id of the record ring's map: the same for as long as the shard lives, also where it moves to another arena.
    pub fn records_id(&self) -> u32 {
        self.map("RECORDS").1.id
    }

    /// Address of the arena in every process that maps it.
    pub fn arena_address(&self) -> u64 {
        self.meta.arena_address
    }

    /// Slots of the record ring.
    pub fn record_slots(&self) -> u32 {
        self.map("RECORDS").1.shape.entries_max
    }

    /// Slots of the command ring.
    pub fn command_slots(&self) -> u32 {
        self.map("COMMANDS").1.shape.entries_max
    }

    /// Entries of the key map.
    pub fn sessions_max(&self) -> u32 {
        self.map("KEYS").1.shape.entries_max
    }

    /// Maps the arena at its address. Only the daemon and the loader do this (RULES 23).
    ///
    /// # Errors
    /// [`LoaderError::ArenaTaken`] if this process has something there.
    pub fn map_arena(&self) -> Result<Arena, LoaderError> {
        Arena::map(
            self.map("ARENA").0,
            self.arena_bytes(),
            self.meta.arena_address,
        )
    }

    /// Maps the arena without the right to write.
    pub(crate) fn look_at_arena(&self) -> Result<Arena, LoaderError> {
        Arena::look(
            self.map("ARENA").0,
            self.arena_bytes(),
            self.meta.arena_address,
        )
    }

    /// Maps the record ring for reading; the kernel then refuses to make the mapping writable later.
    ///
    /// A read-only descriptor cannot be mapped at all: Linux takes `VM_SHARED` from a shared
    /// mapping of one (`mm/mmap.c`), and bpf maps want it (`kernel/bpf/syscall.c`, 6.18).
    pub fn map_records(&self) -> Result<RecordRing, LoaderError> {
        RecordRing::map(self.map("RECORDS").0, self.record_slots()).map_err(LoaderError::call(
            "mapping the record ring",
            "free some memory",
        ))
    }

    /// Starts a thread in the network namespace of the interface, for sockets that speak where the shard does.
    ///
    /// # Errors
    /// The namespace is gone, or may not be entered; the work does not run then.
    pub fn spawn_in_netns(
        &self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<std::thread::JoinHandle<()>, LoaderError> {
        let netns = self.netns().map(str::to_owned);
        let (entered, result) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let enter = netns.as_deref().map_or(Ok(()), netns::enter);
                let is_in = enter.is_ok();
                let _ = entered.send(enter); // the caller waits for it
                if is_in {
                    work();
                }
            })
            .map_err(LoaderError::call("starting a thread", "free some memory"))?;
        match result.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(error)) => Err(error),
            Err(_) => unreachable!("the thread says whether it is in before it does anything else"),
        }
    }

    /// Maps the cursors.
    pub fn map_cursors(&self) -> Result<Cursors, LoaderError> {
        let (map, facts) = self.map("CURSORS");
        Cursors::map(map, facts.shape.entries_max)
            .map_err(LoaderError::call("mapping the cursors", "free some memory"))
    }

    /// Maps the command ring for writing. One process does, the daemon.
    pub fn map_commands(&self) -> Result<Commands, LoaderError> {
        Commands::map(self.map("COMMANDS").0, self.command_slots()).map_err(LoaderError::call(
            "mapping the command ring",
            "free some memory",
        ))
    }

    /// The session keys.
    pub fn keys(&self) -> Result<Keys, LoaderError> {
        let (map, facts) = self.map("KEYS");
        Ok(Keys::new(duplicate(map)?, facts.clone()))
    }

    /// The counters.
    pub fn counters(&self) -> Result<Counters, LoaderError> {
        let (map, facts) = self.map("COUNTERS");
        Counters::new(duplicate(map)?, facts.clone())
    }

    /// The attached program; if nothing is attached, the last one that was.
    ///
    /// A later load puts another program behind the link: who rings the doorbell for long asks
    /// again, or compares [`Program::id`] with [`Pinned::link_program_id`].
    pub fn program(&self) -> Result<Program, LoaderError> {
        // The link knows best: a loader may have died between link and pin.
        if let Some(id) = self.program_id()?
            && let Ok(fd) = sys::program_by_id(id)
        {
            return Program::new(fd);
        }
        let fd = self
            .folder
            .open(PROGRAM)?
            .ok_or_else(|| LoaderError::PinMissing {
                name: PROGRAM.to_owned(),
                pin_root: self.pin_root().to_owned(),
            })?;
        Program::new(fd)
    }

    /// Kernel id of the shard's program that packets reach, through the link or through the dispatcher behind it; `None` when nothing is attached.
    pub fn link_program_id(&self) -> Result<Option<u32>, LoaderError> {
        Ok(match self.link()? {
            Some(link) if link.ifindex != 0 => self.program_id()?,
            _ => None,
        })
    }

    /// How often the shard's program ran and how long that took, as far as the kernel timed it (sysctl `kernel.bpf_stats_enabled`); `None` where
    /// nothing is attached.
    ///
    /// # Errors
    /// The kernel's.
    pub fn runs(&self) -> Result<Option<Runs>, LoaderError> {
        let Some(id) = self.program_id()? else {
            return Ok(None);
        };
        let facts = sys::program_by_id(id)
            .and_then(|program| sys::program_facts(program.as_fd()))
            .map_err(LoaderError::call("looking at the program", "run as root"))?;
        Ok(Some(Runs {
            count: facts.run_count,
            ns: facts.run_ns,
        }))
    }

    /// As [`Pinned::link_program_id`], whether or not the interface is still there.
    fn program_id(&self) -> Result<Option<u32>, LoaderError> {
        attached_program_id(&self.folder, &self.meta)
    }

    /// The link on the interface: the shard's own, or its dispatcher's.
    pub(crate) fn link(&self) -> Result<Option<LinkFacts>, LoaderError> {
        link_at(&self.link_folder(), LINK)
    }

    /// Where the pins are that belong to the interface.
    pub(crate) fn link_folder(&self) -> Folder {
        match self.meta.port {
            None => self.folder.clone(),
            Some(_) => Folder::new(&default_pin_root(self.interface(), self.netns())),
        }
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The maps, in the order of [`MAPS`].
    pub(crate) fn maps(&self) -> &[OwnedFd] {
        &self.maps
    }

    pub(crate) fn map_list(&self) -> impl Iterator<Item = (&'static str, &MapFacts)> {
        MAPS.into_iter().zip(&self.facts)
    }

    /// Attaches a program that passes every packet to `interface`, the veth peer of ours: without
    /// one, veth drops what our program transmits. Its link is pinned beside the interface's, survives this
    /// process and goes with `unload`. Calling it again changes nothing.
    ///
    /// # Errors
    /// As for attaching. A peer that already has any XDP program is fine as it is.
    pub fn attach_peer_pass(
        &self,
        interface: &str,
        netns: Option<&str>,
    ) -> Result<PeerPass, LoaderError> {
        let _lock = Lock::take(self.pin_root())?;
        let (ifindex, attached) = netns::within(netns, || {
            let ifindex = netns::interface_number(interface, netns)?;
            Ok((ifindex, netns::attached_xdp(ifindex)?))
        })?;
        if let Some(attached) = attached {
            return Ok(PeerPass::AlreadyThere {
                program_id: attached.program_id,
            });
        }
        let name = format!("{PEER_PREFIX}{}", place_name(interface, netns));
        let program =
            sys::program_load("ring0_pass", &PASS, None).map_err(|refused| LoaderError::Call {
                doing: "loading the pass program".to_owned(),
                source: refused.source,
                cure: "run as root",
            })?;
        let link = new_link(interface, netns, Mode::Native, &program)?;
        // A pin of this name belongs to an interface that has gone: nothing is attached here.
        let folder = self.link_folder();
        folder.remove(&name)?;
        folder.pin(&name, &link)?;
        Ok(PeerPass::Attached { ifindex })
    }
}

/// What [`Pinned::attach_peer_pass`] found or did.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerPass {
    /// The pass program is attached now.
    Attached {
        /// The peer's number in its namespace.
        ifindex: u32,
    },
    /// The peer had an XDP program, which serves as well.
    AlreadyThere {
        /// Its kernel id.
        program_id: u32,
    },
}

/// Kernel id of the program behind a shard's link, or at its port behind the dispatcher.
pub(crate) fn attached_program_id(
    folder: &Folder,
    meta: &Meta,
) -> Result<Option<u32>, LoaderError> {
    let Some(port) = meta.port else {
        return Ok(link_at(folder, LINK)?.map(|link| link.program_id));
    };
    match Dispatcher::open(&meta.interface, meta.netns.as_deref())? {
        Some(dispatcher) => dispatcher.program_id(port),
        None => Ok(None),
    }
}

pub(crate) fn link_at(folder: &Folder, name: &str) -> Result<Option<LinkFacts>, LoaderError> {
    let Some(link) = folder.open(name)? else {
        return Ok(None);
    };
    sys::link_facts(link.as_fd())
        .map(Some)
        .map_err(LoaderError::call(
            format!("looking at link {name}"),
            "`xdp-loader unload` clears it",
        ))
}

pub(crate) fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, LoaderError> {
    fd.try_clone().map_err(LoaderError::call(
        "opening a map again",
        "raise the limit of open files",
    ))
}

/// Name of the program with this kernel id, as far as we may know.
pub(crate) fn program_name(id: u32) -> String {
    sys::program_by_id(id)
        .and_then(|program| sys::program_facts(program.as_fd()))
        .map_or_else(|_| "of unknown name".to_owned(), |facts| facts.name)
}

/// Runs of a program that the kernel timed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Runs {
    /// How many.
    pub count: u64,
    /// Their time together, nanoseconds.
    pub ns: u64,
}

/// The attached program, to run it on bytes of our own: the doorbell, and tests.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    facts: sys::ProgramFacts,
}

impl Program {
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, LoaderError> {
        let facts = sys::program_facts(fd.as_fd())
            .map_err(LoaderError::call("looking at the program", "run as root"))?;
        Ok(Self { fd, facts })
    }

    /// Kernel id.
    pub fn id(&self) -> u32 {
        self.facts.id
    }

    /// Instructions that the verifier walked through.
    pub fn verified_instructions(&self) -> u32 {
        self.facts.verified_instructions
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn facts(&self) -> &sys::ProgramFacts {
        &self.facts
    }

    /// Runs the program on the packet `data_in` (at least 14 bytes, at most about 3,500) `repeat`
    /// times, and puts the packet as it is afterwards into `data_out`; what does not fit is cut
    /// off. With `repeat` over one, each run gets the packet that the last one left.
    ///
    /// # Errors
    /// The kernel's, for instance for a packet of a length it refuses.
    pub fn test_run(
        &self,
        data_in: &[u8],
        data_out: &mut [u8],
        repeat: u32,
    ) -> Result<TestRun, LoaderError> {
        sys::test_run(self.fd.as_fd(), data_in, data_out, repeat).map_err(LoaderError::call(
            format!("running the program on {} bytes", data_in.len()),
            "give a packet of 14 to 3500 bytes",
        ))
    }
}

/// Session keys by index. Writer: one process, the daemon. Readers: the program.
#[derive(Debug)]
pub struct Keys {
    map: OwnedFd,
    facts: MapFacts,
}

impl Keys {
    pub(crate) fn new(map: OwnedFd, facts: MapFacts) -> Self {
        Self { map, facts }
    }

    /// Bytes of a key's entry.
    pub fn value_bytes(&self) -> usize {
        self.facts.shape.value_bytes as usize
    }

    /// Number of entries.
    pub fn len(&self) -> u32 {
        self.facts.shape.entries_max
    }

    /// Never: a key map has at least one entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a key at `index`; the next packet sees it.
    ///
    /// # Errors
    /// If there is no such index, or `key` is not [`Keys::value_bytes`] long.
    pub fn set(&self, index: u32, key: &[u8]) -> Result<(), LoaderError> {
        sys::map_update(self.map.as_fd(), index, key, &self.facts.shape).map_err(LoaderError::call(
            format!("writing key {index}"),
            "give an index below `sessions_max` and an entry of the map's value size",
        ))
    }

    /// Zeroes the entry at `index`: an array's entries cannot be removed, all zero means no key.
    pub fn clear(&self, index: u32) -> Result<(), LoaderError> {
        self.set(index, &vec![0; self.value_bytes()])
    }

    /// The entry at `index`.
    pub fn get(&self, index: u32) -> Result<Vec<u8>, LoaderError> {
        let mut value = vec![0; self.value_bytes()];
        sys::map_lookup(self.map.as_fd(), index, &mut value, &self.facts.shape, 1).map_err(
            LoaderError::call(
                format!("reading key {index}"),
                "give an index below `sessions_max`",
            ),
        )?;
        Ok(value)
    }
}

/// The program's counters, one word a CPU and index.
#[derive(Debug)]
pub struct Counters {
    map: OwnedFd,
    facts: MapFacts,
    cpus: usize,
}

impl Counters {
    pub(crate) fn new(map: OwnedFd, facts: MapFacts) -> Result<Self, LoaderError> {
        let cpus = possible_cpus()?;
        Ok(Self { map, facts, cpus })
    }

    /// Number of counters.
    pub fn len(&self) -> u32 {
        self.facts.shape.entries_max
    }

    /// Never: the map has at least one entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counter `index`, summed over all CPUs. The sum is not of one moment while packets flow.
    pub fn sum(&self, index: u32) -> Result<u64, LoaderError> {
        let mut values = vec![0; self.cpus * 8];
        sys::map_lookup(
            self.map.as_fd(),
            index,
            &mut values,
            &self.facts.shape,
            self.cpus,
        )
        .map_err(LoaderError::call(
            format!("reading counter {index}"),
            "give an index below their number",
        ))?;
        let words = values
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("chunks of eight")));
        Ok(words.fold(0, u64::wrapping_add))
    }

    /// All counters by index.
    pub fn sums(&self) -> Result<Vec<u64>, LoaderError> {
        (0..self.len()).map(|index| self.sum(index)).collect()
    }
}

/// Number of CPUs that the kernel keeps per-CPU values for, not only those that are there.
fn possible_cpus() -> Result<usize, LoaderError> {
    let path = "/sys/devices/system/cpu/possible";
    let list = std::fs::read_to_string(path)
        .map_err(LoaderError::call(format!("reading {path}"), "mount sysfs"))?;
    last_cpu(&list)
        .map(|last| last + 1)
        .ok_or_else(|| LoaderError::Call {
            doing: format!("understanding {path}"),
            source: std::io::Error::other(list),
            cure: "report this kernel",
        })
}

/// The highest number in a list such as `0-3,8`.
fn last_cpu(list: &str) -> Option<usize> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        for (list, expected) in [
            ("0\n", Some(0)),
            ("0-1\n", Some(1)),
            ("0-3,8-11", Some(11)),
            ("", None),
        ] {
            assert_eq!(last_cpu(list), expected, "{list}");
        }
    }
}
