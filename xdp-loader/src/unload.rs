//! Unloading: links first, maps last, so that a death in between leaves something loadable.

use crate::{
    dispatch::{self, Dispatcher},
    error::LoaderError,
    load::Step,
    migrate,
    pins::{
        Folder, LINK, Lock, MAP_PREFIX, MAPS, META, Meta, PEER_PREFIX, PROGRAM, PROGRAM_NEXT,
        on_bpffs,
    },
    sys,
};
use std::{os::fd::AsFd, path::Path};

/// What an unload removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Unloaded {
    /// Links detached, the program's and those of its peers.
    pub links: u32,
    /// Ports taken out of the dispatcher.
    pub ports: u32,
    /// Other pins removed.
    pub pins: u32,
}

/// Detaches, removes every pin that a load made at `pin_root`, and the folder. The memory goes
/// with the last process that has it mapped. Nothing there is fine: `links` and `pins` are zero.
///
/// # Errors
/// A missing privilege, or pins in the folder that are not ours; the folder of an interface that several shards share.
pub fn unload(pin_root: &Path) -> Result<Unloaded, LoaderError> {
    if !on_bpffs(pin_root) {
        return Ok(Unloaded::default());
    }
    let _lock = Lock::take(pin_root)?;
    migrate::settle(&Folder::new(pin_root))?;
    if let Some(dispatcher) = Dispatcher::at(Folder::new(pin_root))? {
        dispatcher.must_have_no_shard()?;
    }
    remove_all(&Folder::new(pin_root))
}

/// As [`unload`], for who holds the lock.
pub(crate) fn remove_all(folder: &Folder) -> Result<Unloaded, LoaderError> {
    let unloaded = remove_pins(folder)?;
    folder.remove_folder()?;
    Ok(unloaded)
}

/// Removes the pins, in the order that keeps the promise of `pins.rs`: no finished `META` without
/// all maps, no link without a finished `META`.
pub(crate) fn remove_pins(folder: &Folder) -> Result<Unloaded, LoaderError> {
    let mut unloaded = Unloaded {
        links: remove_links(folder)?,
        ..Unloaded::default()
    };
    let names = folder.names()?;
    if let Some(map) = folder.open(META)?
        && let Some(meta) = Meta::read(&map)?
    {
        let left = dispatch::leave(&meta)?;
        unloaded.links += left.links;
        unloaded.ports += left.ports;
        unloaded.pins += left.pins;
    }
    Step::UnloadLinks.reached();
    for name in [PROGRAM_NEXT, PROGRAM] {
        unloaded.pins += u32::from(folder.remove(name)?);
    }
    Step::UnloadProgram.reached();
    unloaded.pins += u32::from(folder.remove(META)?);
    Step::UnloadMeta.reached();
    let further = names.iter().filter(|name| name.starts_with(MAP_PREFIX));
    for name in MAPS.into_iter().chain(further.map(String::as_str)) {
        unloaded.pins += u32::from(folder.remove(name)?);
    }
    Step::UnloadMaps.reached();
    Ok(unloaded)
}

/// Detaches, and removes the links' pins; says how many.
pub(crate) fn remove_links(folder: &Folder) -> Result<u32, LoaderError> {
    let mut links = 0;
    for name in folder
        .names()?
        .iter()
        .filter(|name| *name == LINK || name.starts_with(PEER_PREFIX))
    {
        if let Some(link) = folder.open(name)? {
            // Fails when the interface has gone, and then there is nothing to detach.
            let _ = sys::link_detach(link.as_fd());
        }
        links += u32::from(folder.remove(name)?);
    }
    Ok(links)
}
