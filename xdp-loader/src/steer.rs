//! The steering program of a ring in a process: loaded and attached for as long as the process lives.
//!
//! Unlike a shard in the kernel nothing here is pinned. The ring's books are in its process, so a program that outlived it would only throw packets
//! away: link, program and maps are descriptors, and the kernel takes all of them down with the process, however it ends.
//! Knows maps by name and sizes; what stands in config and sessions is the caller's business.

use crate::{
    error::LoaderError,
    load::{Mode, new_link},
    netns,
    object::{Object, Parsed},
    pinned::{Counters, Keys, Program, duplicate, program_name},
    probe::Capabilities,
    subprograms::Subprograms,
    sys::{self, MAP_TYPE_XSKMAP, MapFacts, MapShape},
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Most receive queues with a socket: more than any NIC gives to one port of the venue.
pub const QUEUES_MAX: u32 = 256;

/// What to steer, and where.
#[derive(Clone, Debug)]
pub struct SteerOptions {
    /// The program.
    pub object: Object,
    /// Interface to attach to.
    pub interface: String,
    /// Network namespace of the interface, by its `ip netns` name; `None` is the caller's.
    pub netns: Option<String>,
    /// How to attach. Never changed silently.
    pub mode: Mode,
    /// The entry of the program's config map, of its value's size.
    pub config: Vec<u8>,
    /// Entries of the session map.
    pub sessions_max: u32,
}

/// A loaded steering program. Dropped, it is detached.
#[derive(Debug)]
pub struct Steer {
    options: SteerOptions,
    ifindex: u32,
    fd: OwnedFd,
    program: Program,
    maps: Vec<(&'static str, OwnedFd, MapFacts)>,
    link: Option<OwnedFd>,
}

const CONFIG: &str = "CONFIG";
const SESSIONS: &str = "SESSIONS";
const SOCKETS: &str = "SOCKETS";
const ARRIVALS: &str = "ARRIVALS";
const SCRATCH: &str = "SCRATCH";
const COUNTERS: &str = "COUNTERS";
const MAPS: [&str; 6] = [CONFIG, SESSIONS, SOCKETS, ARRIVALS, SCRATCH, COUNTERS];

impl Steer {
    /// Makes the maps and has the program verified. Nothing is attached yet: sockets come first ([`Steer::set_socket`]), then [`Steer::attach`].
    ///
    /// # Errors
    /// See [`LoaderError`]; an interface that has any XDP program is refused, the program named.
    pub fn load(options: &SteerOptions) -> Result<Steer, LoaderError> {
        if !(1..=1 << 20).contains(&options.sessions_max) {
            return Err(LoaderError::Option {
                option: "sessions max",
                value: options.sessions_max.to_string(),
                rule: "give 1 to 1048576",
            });
        }
        let missing = Capabilities::current().missing();
        if !missing.is_empty() {
            return Err(LoaderError::Privilege {
                missing: missing.join(", "),
                doing: "load the steering program",
            });
        }
        let netns = options.netns.as_deref();
        let (ifindex, attached) = netns::within(netns, || {
            let ifindex = netns::interface_number(&options.interface, netns)?;
            Ok((ifindex, netns::attached_xdp(ifindex)?))
        })?;
        if let Some(attached) = attached {
            return Err(LoaderError::Foreign {
                interface: options.interface.clone(),
                id: attached.program_id,
                name: program_name(attached.program_id),
            });
        }
        let mut object = Parsed::read(&options.object)?;
        let mut maps = Vec::new();
        for name in MAPS {
            let mut shape = object.map(name)?;
            match name {
                SESSIONS => shape.entries_max = options.sessions_max,
                SOCKETS => shape.entries_max = QUEUES_MAX,
                _ => {}
            }
            maps.push(make(name, &shape)?);
        }
        let named: Vec<(&str, &OwnedFd)> = maps.iter().map(|(name, fd, _)| (*name, fd)).collect();
        let fd = object.load(&named, Subprograms::Global)?;
        let program = Program::new(duplicate(&fd)?)?;
        let steer = Steer {
            options: options.clone(),
            ifindex,
            fd,
            program,
            maps,
            link: None,
        };
        steer.write(CONFIG, 0, &options.config)?;
        Ok(steer)
    }

    fn map(&self, name: &str) -> (&OwnedFd, &MapFacts) {
        let (_, fd, facts) = self
            .maps
            .iter()
            .find(|(known, ..)| *known == name)
            .expect("one of the maps that `load` made");
        (fd, facts)
    }

    fn write(&self, name: &str, key: u32, value: &[u8]) -> Result<(), LoaderError> {
        let (fd, facts) = self.map(name);
        sys::map_update(fd.as_fd(), key, value, &facts.shape).map_err(LoaderError::call(
            format!("writing entry {key} of {name}"),
            "give an entry of the map's value size, and a key below its number of entries",
        ))
    }

    /// Gives the frames of a receive queue to a socket that is bound to it. The kernel takes it out again when the socket is closed.
    ///
    /// # Errors
    /// The queue is past [`QUEUES_MAX`], or the socket is not an AF_XDP socket with a receive ring.
    pub fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), LoaderError> {
        self.write(SOCKETS, queue, &socket.as_raw_fd().to_ne_bytes())
    }

    /// Attaches the program: from now on packets of the shard go to the sockets, or are dropped under a name.
    ///
    /// # Errors
    /// Another program came first, or the driver refuses: see [`LoaderError`].
    pub fn attach(&mut self) -> Result<(), LoaderError> {
        let netns = self.options.netns.as_deref();
        self.link = Some(new_link(
            &self.options.interface,
            netns,
            self.options.mode,
            &self.fd,
        )?);
        Ok(())
    }

    /// Sessions by index. One process writes them, the ring's.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn sessions(&self) -> Result<Keys, LoaderError> {
        let (map, facts) = self.map(SESSIONS);
        Ok(Keys::new(duplicate(map)?, facts.clone()))
    }

    /// The program's counters.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn counters(&self) -> Result<Counters, LoaderError> {
        let (map, facts) = self.map(COUNTERS);
        Counters::new(duplicate(map)?, facts.clone())
    }

    /// Numbers that the program has given so far.
    ///
    /// # Errors
    /// The kernel's.
    pub fn arrivals(&self) -> Result<u64, LoaderError> {
        let (map, facts) = self.map(ARRIVALS);
        let mut value = [0; 8];
        sys::map_lookup(map.as_fd(), 0, &mut value, &facts.shape, 1)
            .map_err(LoaderError::call("reading the arrivals", "try again"))?;
        Ok(u64::from_ne_bytes(value))
    }

    /// The program, to look at it or to run it on bytes of one's own.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Number of the interface, in its namespace.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Largest packet of the interface, bytes, without the Ethernet header.
    ///
    /// # Errors
    /// The interface has gone.
    pub fn mtu(&self) -> Result<u32, LoaderError> {
        self.within(|| netns::interface_mtu(self.ifindex))?
    }

    /// Runs `work` in the network namespace of the interface, for sockets that are to be bound there; they stay there whoever uses them.
    ///
    /// # Errors
    /// The namespace is gone, or may not be entered; the work does not run then.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LoaderError> {
        netns::within(self.options.netns.as_deref(), || Ok(work()))
    }
}

fn make(
    name: &'static str,
    shape: &MapShape,
) -> Result<(&'static str, OwnedFd, MapFacts), LoaderError> {
    let cure = match shape.kind {
        MAP_TYPE_XSKMAP => "the kernel needs CONFIG_XDP_SOCKETS; the `udp` ring works without",
        _ => "free some memory, or ask for fewer sessions",
    };
    let map = sys::map_create(name, shape).map_err(LoaderError::call(
        format!("making map {name} ({} entries)", shape.entries_max),
        cure,
    ))?;
    let facts = sys::map_facts(map.as_fd()).map_err(LoaderError::call(
        format!("looking at map {name}"),
        "run as root",
    ))?;
    Ok((name, map, facts))
}
