//! What is loaded and attached, for people and programs.

use crate::{
    error::LoaderError,
    load::Mode,
    netns,
    pinned::{link_at, open_pinned},
    pins::PEER_PREFIX,
};
use std::path::{Path, PathBuf};

/// One pinned map.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MapStatus {
    /// Its pin.
    pub name: &'static str,
    /// Kernel id.
    pub id: u32,
    /// Bytes of a value; for the arena, of a page.
    pub value_bytes: u32,
    /// Number of values, or pages.
    pub entries_max: u32,
}

/// The program behind the link, or the last one that was.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ProgramStatus {
    /// Kernel id.
    pub id: u32,
    /// Its name in the object.
    pub name: String,
    /// The kernel's hash of its instructions.
    pub tag: String,
    /// Instructions that the verifier walked through (at most a million).
    pub verified_instructions: u32,
    /// Time that the kernel took to verify and compile it, nanoseconds.
    pub load_ns: u64,
    /// Instructions after the verifier's rewriting.
    pub instructions: u32,
    /// Bytes of machine code; zero means that the kernel interprets it.
    pub native_bytes: u32,
}

/// The dispatcher in front of a shard that shares its interface.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DispatcherStatus {
    /// Kernel id of its program, the one on the interface.
    pub program_id: u32,
    /// UDP port that this shard has.
    pub port: u16,
    /// All ports that have a shard.
    pub ports: Vec<u16>,
}

/// Result of [`status`].
#[derive(Clone, Debug, serde::Serialize)]
pub struct Status {
    /// The pin folder.
    pub pin_root: PathBuf,
    /// Interface of the last load.
    pub interface: String,
    /// Its network namespace.
    pub netns: Option<String>,
    /// Whether packets reach the program now.
    pub attached: bool,
    /// How it is, or was, attached.
    pub mode: Mode,
    /// For a shard that shares its interface.
    pub dispatcher: Option<DispatcherStatus>,
    /// Kernel id of the link, if one is pinned.
    pub link_id: Option<u32>,
    /// The program.
    pub program: Option<ProgramStatus>,
    /// The maps.
    pub maps: Vec<MapStatus>,
    /// Size of the arena.
    pub arena_bytes: u64,
    /// Address of the arena in every process.
    pub arena_address: u64,
    /// Identity of the memory layout.
    pub layout_hash: u64,
    /// Pins of pass programs on peers, with whether each is attached.
    pub peers: Vec<(String, bool)>,
}

/// What is loaded at `pin_root`.
///
/// # Errors
/// [`LoaderError::NotLoaded`] if nothing is.
pub fn status(pin_root: &Path) -> Result<Status, LoaderError> {
    let pinned = open_pinned(pin_root)?;
    let meta = pinned.meta();
    let link = pinned.link()?;
    let is_reached = pinned.link_program_id()?.is_some();
    let attached = is_reached
        && link.is_some_and(|link| {
            // The kernel's own view: a link can outlive its attachment.
            link.ifindex != 0
                && netns::within(meta.netns.as_deref(), || netns::attached_xdp(link.ifindex))
                    .is_ok_and(|xdp| {
                        xdp.is_some_and(|xdp| {
                            xdp.program_id == link.program_id
                                && xdp.native == (meta.mode == Mode::Native)
                        })
                    })
        });
    let program = pinned.program().ok().map(|program| {
        let facts = program.facts();
        ProgramStatus {
            id: facts.id,
            name: facts.name.clone(),
            tag: format!("{:016x}", facts.tag),
            verified_instructions: facts.verified_instructions,
            load_ns: meta.load_ns,
            instructions: facts.translated_bytes / 8,
            native_bytes: facts.native_bytes,
        }
    });
    let maps = pinned
        .map_list()
        .map(|(name, facts)| MapStatus {
            name,
            id: facts.id,
            value_bytes: facts.shape.value_bytes,
            entries_max: facts.shape.entries_max,
        })
        .collect();
    let mut peers = Vec::new();
    let folder = pinned.link_folder();
    for name in folder.names()? {
        if name.starts_with(PEER_PREFIX) {
            let alive = link_at(&folder, &name)?.is_some_and(|link| link.ifindex != 0);
            peers.push((name, alive));
        }
    }
    let dispatcher = match (pinned.dispatcher()?, link, pinned.port()) {
        (Some(dispatcher), Some(link), Some(port)) => Some(DispatcherStatus {
            program_id: link.program_id,
            port,
            ports: dispatcher.ports()?,
        }),
        _ => None,
    };
    Ok(Status {
        pin_root: pin_root.to_owned(),
        interface: meta.interface.clone(),
        netns: meta.netns.clone(),
        attached,
        mode: meta.mode,
        dispatcher,
        link_id: link.map(|link| link.id),
        program,
        maps,
        arena_bytes: pinned.arena_bytes(),
        arena_address: meta.arena_address,
        layout_hash: meta.layout_hash,
        peers,
    })
}
