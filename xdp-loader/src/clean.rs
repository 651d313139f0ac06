//! What lies under the pin parent and serves nothing any more: dead loads, and shards whose interface or network namespace has gone.
//!
//! A shard whose interface has gone still has its book: a load on a new interface of the same name would adopt it. So nothing is removed before it was
//! shown and agreed to.

use crate::{
    dispatch::Dispatcher,
    error::LoaderError,
    migrate, netns,
    pins::{Folder, Lock, META, Meta, PIN_PARENT, on_bpffs},
    unload::{self, Unloaded},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A pin folder that serves nothing.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Leftover {
    /// The folder.
    pub pin_root: PathBuf,
    /// Why it serves nothing.
    pub why: String,
    /// Whether there is memory with a book in it, which goes with the pins.
    pub book: bool,
}

/// What of the default pin folders serves nothing. Changes nothing.
///
/// # Errors
/// A missing privilege.
pub fn leftovers() -> Result<Vec<Leftover>, LoaderError> {
    let parent = Path::new(PIN_PARENT);
    if !on_bpffs(parent) || !parent.exists() {
        return Ok(Vec::new());
    }
    // A load that is on its way looks like a dead one.
    let _lock = Lock::take(parent)?;
    find(parent)
}

/// Removes those of the leftovers that still are some.
///
/// # Errors
/// A missing privilege, or pins that are not ours.
pub fn clean(found: &[Leftover]) -> Result<Unloaded, LoaderError> {
    let parent = Path::new(PIN_PARENT);
    let mut removed = Unloaded::default();
    if found.is_empty() {
        return Ok(removed);
    }
    let _lock = Lock::take(parent)?;
    let now = find(parent)?;
    for leftover in found.iter().filter(|leftover| now.contains(leftover)) {
        let folder = Folder::new(&leftover.pin_root);
        migrate::settle(&folder)?;
        let one = unload::remove_all(&folder)?;
        removed.links += one.links;
        removed.ports += one.ports;
        removed.pins += one.pins;
    }
    Ok(removed)
}

fn find(parent: &Path) -> Result<Vec<Leftover>, LoaderError> {
    let mut found = Vec::new();
    for folder in folders(parent) {
        // Those of shards that share the interface come before the interface's own.
        let mut shards = 0;
        for shard in folders(&folder) {
            shards += 1;
            found.extend(look(&shard)?);
        }
        let dead = found.iter().filter(|one| one.pin_root.starts_with(&folder));
        if dead.count() == shards {
            found.extend(look(&folder)?);
        }
    }
    Ok(found)
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn look(path: &Path) -> Result<Option<Leftover>, LoaderError> {
    let folder = Folder::new(path);
    let leftover = |why: String, book| {
        Some(Leftover {
            pin_root: path.to_owned(),
            why,
            book,
        })
    };
    let meta = match folder.open(META)? {
        Some(map) => Meta::read(&map)?.filter(|meta| meta.finished),
        None => None,
    };
    let Some(meta) = meta else {
        return Ok(match Dispatcher::at(folder)? {
            Some(dispatcher) if !dispatcher.ports()?.is_empty() => None,
            Some(_) => leftover("a dispatcher without shards".to_owned(), false),
            None => leftover("a load that did not end".to_owned(), false),
        });
    };
    let netns = meta.netns.as_deref();
    Ok(
        match netns::within(netns, || netns::interface_number(&meta.interface, netns)) {
            Ok(_) => None,
            Err(LoaderError::UnknownInterface { name, place, .. }) => {
                leftover(format!("interface {name} has gone from {place}"), true)
            }
            Err(LoaderError::UnknownNetns { name, .. }) => {
                leftover(format!("network namespace {name} has gone"), true)
            }
            Err(error) => return Err(error),
        },
    )
}
