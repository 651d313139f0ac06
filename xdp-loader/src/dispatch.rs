//! The dispatcher: the one XDP program of an interface that several shards share. It gives each frame to the program of its UDP port
//! (`ebpf/src/bin/dispatch.rs`), by a tail call.
//!
//! Its pins are in the interface's default folder: `MAP_PORTS` (programs by port), `MAP_COUNTERS`, `PROG`, `LINK`, and `PEER_…`. Those of the shards
//! are in folders of their own, by default below it, and no shard has a `LINK`: what attaches one is its entry in `MAP_PORTS`.
//! Invariants: the first shard brings the dispatcher, the last one takes it away; an entry is written only for a shard whose `META` is finished;
//! who is killed in between leaves at worst a dispatcher without shards, which passes everything and goes with the next unload.

use crate::{
    error::LoaderError,
    load::{LoadOptions, Step, adopt_or_make, new_link},
    object::{Object, Parsed},
    pinned::{Counters, Program, link_at},
    pins::{self, Folder, LINK, MAP_PREFIX, META, Meta, PROGRAM},
    subprograms::Subprograms,
    sys::{self, LinkFacts, MapFacts},
    unload::{self, Unloaded},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

const PORTS: &str = "PORTS";
const COUNTERS: &str = "COUNTERS";

/// How a shard shares its interface.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The dispatcher's program. Not looked at where one is attached already.
    pub object: Object,
    /// UDP destination port of the shard's frames.
    pub port: u16,
}

/// The dispatcher of an interface, opened.
#[derive(Debug)]
pub struct Dispatcher {
    folder: Folder,
    ports: OwnedFd,
    facts: MapFacts,
}

impl Dispatcher {
    /// What an interface's shards share; `None` when it has no dispatcher.
    ///
    /// # Errors
    /// A missing privilege.
    pub fn open(interface: &str, netns: Option<&str>) -> Result<Option<Dispatcher>, LoaderError> {
        Self::at(Folder::new(&pins::default_pin_root(interface, netns)))
    }

    pub(crate) fn at(folder: Folder) -> Result<Option<Dispatcher>, LoaderError> {
        let Some(ports) = folder.open(&pin(PORTS))? else {
            return Ok(None);
        };
        let facts = facts(PORTS, &ports)?;
        Ok(Some(Dispatcher {
            folder,
            ports,
            facts,
        }))
    }

    /// The ports that have a shard, in order.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ports(&self) -> Result<Vec<u16>, LoaderError> {
        let mut ports = Vec::new();
        for port in 0..=u16::MAX {
            if self.program_id(port)?.is_some() {
                ports.push(port);
            }
        }
        Ok(ports)
    }

    /// Counters of the frames that were for no shard's port and passed, by the numbers of the program's own.
    ///
    /// # Errors
    /// Somebody removed their pin.
    pub fn counters(&self) -> Result<Counters, LoaderError> {
        let name = pin(COUNTERS);
        let map = self
            .folder
            .open(&name)?
            .ok_or_else(|| LoaderError::PinMissing {
                name,
                pin_root: self.folder.path().to_owned(),
            })?;
        let facts = facts(COUNTERS, &map)?;
        Counters::new(map, facts)
    }

    /// The dispatcher's own program, to run it on bytes of one's own.
    ///
    /// # Errors
    /// Nothing is attached.
    pub fn program(&self) -> Result<Program, LoaderError> {
        let pin_root = self.folder.path();
        let missing = || LoaderError::PinMissing {
            name: PROGRAM.to_owned(),
            pin_root: pin_root.to_owned(),
        };
        Program::new(self.folder.open(PROGRAM)?.ok_or_else(missing)?)
    }

    /// Kernel id of the program that has a port.
    pub(crate) fn program_id(&self, port: u16) -> Result<Option<u32>, LoaderError> {
        let mut id = [0; 4];
        match sys::map_lookup(
            self.ports.as_fd(),
            port.into(),
            &mut id,
            &self.facts.shape,
            1,
        ) {
            Ok(()) => Ok(Some(u32::from_ne_bytes(id))),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(source) => Err(self.call("reading", port)(source)),
        }
    }

    /// Gives a port to a program, in one step.
    pub(crate) fn put(&self, port: u16, program: &OwnedFd) -> io::Result<()> {
        sys::map_update(
            self.ports.as_fd(),
            port.into(),
            &program.as_raw_fd().to_ne_bytes(),
            &self.facts.shape,
        )
    }

    /// The dispatcher's link, which is the interface's.
    pub(crate) fn link(&self) -> Result<Option<LinkFacts>, LoaderError> {
        link_at(&self.folder, LINK)
    }

    /// Refuses where a shard has to be named.
    pub(crate) fn must_have_no_shard(&self) -> Result<(), LoaderError> {
        let ports: Vec<String> = self.ports()?.iter().map(u16::to_string).collect();
        if ports.is_empty() {
            return Ok(());
        }
        Err(LoaderError::SeveralShards {
            pin_root: self.folder.path().to_owned(),
            ports: ports.join(", "),
        })
    }

    /// Whether a port's program is one of the shard with this arena: after a death between two steps it may be another than the pinned one.
    fn is_of(&self, port: u16, arena_id: u32) -> Result<bool, LoaderError> {
        let Some(id) = self.program_id(port)? else {
            return Ok(false);
        };
        // One that has gone meanwhile was nobody's.
        Ok(sys::program_by_id(id)
            .and_then(|program| sys::program_facts(program.as_fd()))
            .is_ok_and(|facts| facts.map_ids.contains(&arena_id)))
    }

    fn call(&self, doing: &str, port: u16) -> impl FnOnce(io::Error) -> LoaderError {
        LoaderError::call(
            format!("{doing} port {port} of {}", self.folder.at(PORTS).display()),
            "load the program with the loader that loaded the dispatcher, or unload all shards of the interface",
        )
    }
}

/// Pin of one of the dispatcher's maps.
fn pin(map: &str) -> String {
    format!("{MAP_PREFIX}{map}")
}

fn facts(name: &str, map: &OwnedFd) -> Result<MapFacts, LoaderError> {
    sys::map_facts(map.as_fd()).map_err(LoaderError::call(
        format!("looking at map {name}"),
        "run as root",
    ))
}

/// Refuses a shard that would have to share with one that does not, or the other way round. What a dead load left of a dispatcher goes.
pub(crate) fn check_place(options: &LoadOptions, folder: &Folder) -> Result<(), LoaderError> {
    let netns = options.netns.as_deref();
    if options.dispatch.is_none() {
        let Some(dispatcher) = Dispatcher::at(folder.clone())? else {
            return Ok(());
        };
        dispatcher.must_have_no_shard()?;
        return unload::remove_pins(folder).map(drop);
    }
    let alone = Folder::new(&pins::default_pin_root(&options.interface, netns));
    let Some(map) = alone.open(META)? else {
        return Ok(());
    };
    if Meta::read(&map)?.is_some_and(|meta| meta.finished) {
        return Err(LoaderError::NotShared {
            interface: options.interface.clone(),
            pin_root: alone.path().to_owned(),
        });
    }
    unload::remove_pins(&alone).map(drop)
}

/// Whether the port is free, or has a program of the shard with this arena (`None`: a shard that is not there yet).
pub(crate) fn check_port(options: &LoadOptions, arena_id: Option<u32>) -> Result<(), LoaderError> {
    let Some(dispatch) = &options.dispatch else {
        return Ok(());
    };
    let netns = options.netns.as_deref();
    let Some(dispatcher) = Dispatcher::open(&options.interface, netns)? else {
        return Ok(());
    };
    let Some(id) = dispatcher.program_id(dispatch.port)? else {
        return Ok(());
    };
    if let Some(arena_id) = arena_id
        && dispatcher.is_of(dispatch.port, arena_id)?
    {
        return Ok(());
    }
    Err(LoaderError::PortTaken {
        interface: options.interface.clone(),
        port: dispatch.port,
        id,
    })
}

/// Puts the shard's program behind its port, after the dispatcher where there is none; says whether the port had a program before.
pub(crate) fn attach(
    options: &LoadOptions,
    dispatch: &Dispatch,
    ifindex: u32,
    program: &OwnedFd,
) -> Result<bool, LoaderError> {
    let dispatcher = ensure(options, dispatch, ifindex)?;
    let replaced = dispatcher.program_id(dispatch.port)?.is_some();
    let put = dispatcher.put(dispatch.port, program);
    put.map_err(dispatcher.call("writing", dispatch.port))?;
    Step::PortGiven.reached();
    Ok(replaced)
}

/// The interface's dispatcher, attached.
fn ensure(
    options: &LoadOptions,
    dispatch: &Dispatch,
    ifindex: u32,
) -> Result<Dispatcher, LoaderError> {
    let netns = options.netns.as_deref();
    let folder = Folder::new(&pins::default_pin_root(&options.interface, netns));
    if let Some(dispatcher) = Dispatcher::at(folder.clone())?
        && let Some(link) = dispatcher.link()?
        && link.ifindex == ifindex
    {
        Step::Linked.reached();
        Step::LinkPinned.reached();
        return Ok(dispatcher);
    }
    folder.make()?;
    let mut object = Parsed::read(&dispatch.object)?;
    let maps = [PORTS, COUNTERS].map(|name| {
        let shape = object.map(name)?;
        adopt_or_make(&folder, name, &shape).map(|map| (name, map))
    });
    let [ports, counters] = maps;
    let (ports, counters) = (ports?, counters?);
    let named = [(ports.0, &ports.1), (counters.0, &counters.1)];
    let program = object.load(&named, Subprograms::Global)?;
    folder.remove(PROGRAM)?;
    folder.pin(PROGRAM, &program)?;
    // One that is there belongs to an interface that has gone.
    folder.remove(LINK)?;
    let link = new_link(&options.interface, netns, options.mode, &program)?;
    Step::Linked.reached();
    folder.pin(LINK, &link)?;
    Step::LinkPinned.reached();
    let facts = facts(PORTS, &ports.1)?;
    Ok(Dispatcher {
        folder,
        ports: ports.1,
        facts,
    })
}

/// Takes a shard's port out, and the dispatcher with the last of them.
pub(crate) fn leave(meta: &Meta) -> Result<Unloaded, LoaderError> {
    let Some(port) = meta.port else {
        return Ok(Unloaded::default());
    };
    let Some(dispatcher) = Dispatcher::open(&meta.interface, meta.netns.as_deref())? else {
        return Ok(Unloaded::default());
    };
    let mut unloaded = Unloaded::default();
    if dispatcher.is_of(port, meta.map_ids[0])? {
        sys::map_delete(dispatcher.ports.as_fd(), port.into())
            .map_err(dispatcher.call("clearing", port))?;
        unloaded.ports += 1;
    }
    if dispatcher.ports()?.is_empty() {
        unloaded.links += unload::remove_links(&dispatcher.folder)?;
        // What says that there is a dispatcher goes last.
        for name in [PROGRAM.to_owned(), pin(COUNTERS), pin(PORTS)] {
            unloaded.pins += u32::from(dispatcher.folder.remove(&name)?);
        }
        // With a shard's folder in it, it goes after that.
        let _ = std::fs::remove_dir(dispatcher.folder.path());
    }
    Ok(unloaded)
}
