//! The pin folder: names, its lock, and the page that says what was loaded.
//!
//! One folder a shard device, 0700, pins 0600:
//!
//! | pin | what |
//! |---|---|
//! | `ARENA` `RECORDS` `CURSORS` `COMMANDS` `KEYS` `COUNTERS` | the maps |
//! | `MAP_…` | maps that this program declares besides; nothing that a book needs |
//! | `META` | [`Meta`]; its state word is the commit mark of a load |
//! | `PROG` | the attached program |
//! | `PROG_NEXT` | a program on its way to `PROG`; what a dead load leaves is removed |
//! | `ARENA_NEXT` `KEYS_NEXT` `META_NEXT` | of a migration, for the moment of its commit (`migrate.rs`) |
//! | `LINK` | keeps the program attached while every process is dead; not there for a shard behind a dispatcher (`dispatch.rs`) |
//! | `PEER_…` | links of the pass program on veth peers |
//!
//! Invariants: without a finished `META` nothing is attached, so everything there may be removed;
//! with it, all six maps are there. The lock is the bpf file system's root folder (`flock`): it
//! cannot be removed, and it dies with the process.

use crate::{
    error::LoaderError,
    load::Mode,
    sys::{self, MapShape},
};
use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// Folder that all default pin folders are in.
pub const PIN_PARENT: &str = "/sys/fs/bpf/ring0/v1";

const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The maps, in the order in which they are made.
pub(crate) const MAPS: [&str; 6] = [
    "ARENA", "RECORDS", "CURSORS", "COMMANDS", "KEYS", "COUNTERS",
];
/// Before the names of the maps that only some programs have.
pub(crate) const MAP_PREFIX: &str = "MAP_";
pub(crate) const META: &str = "META";
pub(crate) const PROGRAM: &str = "PROG";
pub(crate) const PROGRAM_NEXT: &str = "PROG_NEXT";
pub(crate) const ARENA_NEXT: &str = "ARENA_NEXT";
pub(crate) const KEYS_NEXT: &str = "KEYS_NEXT";
pub(crate) const META_NEXT: &str = "META_NEXT";
pub(crate) const LINK: &str = "LINK";
pub(crate) const PEER_PREFIX: &str = "PEER_";

/// Where the pins of an interface go when nobody says otherwise: a folder named for the interface,
/// with `%` and the network namespace when it is in one. The bpf file system reserves dots in
/// names; interface names cannot hold a colon, so `eth0.5` becomes `eth0:5`.
pub fn default_pin_root(interface: &str, netns: Option<&str>) -> PathBuf {
    Path::new(PIN_PARENT).join(place_name(interface, netns))
}

/// Where the pins of a shard go that shares its interface: a folder named for its UDP port, in the interface's.
pub fn default_shard_root(interface: &str, netns: Option<&str>, port: u16) -> PathBuf {
    default_pin_root(interface, netns).join(port.to_string())
}

/// A pin's or folder's name for an interface in a namespace.
pub(crate) fn place_name(interface: &str, netns: Option<&str>) -> String {
    let name = match netns {
        Some(netns) => format!("{interface}%{netns}"),
        None => interface.to_owned(),
    };
    name.replace('.', ":")
}

/// Whether `path`, or the nearest folder above it that exists, is on a bpf file system.
pub fn on_bpffs(path: &Path) -> bool {
    path.ancestors()
        .find(|folder| folder.exists())
        .is_some_and(|folder| sys::file_system(folder).is_ok_and(|kind| kind == BPF_FS_MAGIC))
}

/// Mounts a bpf file system at `/sys/fs/bpf` if there is none; says whether it did.
pub fn ensure_bpffs() -> Result<bool, LoaderError> {
    let path = Path::new("/sys/fs/bpf");
    if on_bpffs(path) {
        return Ok(false);
    }
    sys::mount_bpffs(path).map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM) => LoaderError::Privilege {
            missing: "CAP_SYS_ADMIN".to_owned(),
            doing: "mount the bpf file system",
        },
        _ => LoaderError::Call {
            doing: "mounting a bpf file system at /sys/fs/bpf".to_owned(),
            source,
            cure: "mount sysfs first, or run where it is mounted",
        },
    })?;
    Ok(true)
}

/// Holds off every other loader until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _root: File,
}

impl Lock {
    pub(crate) fn take(pin_root: &Path) -> Result<Self, LoaderError> {
        if !on_bpffs(pin_root) {
            return Err(LoaderError::NoBpffs {
                path: pin_root.to_owned(),
            });
        }
        let root = pin_root
            .ancestors()
            .filter(|folder| folder.exists())
            .take_while(|folder| on_bpffs(folder))
            .last()
            .unwrap_or(pin_root);
        let call = |source| LoaderError::Call {
            doing: format!("locking {}", root.display()),
            source,
            cure: "run as root",
        };
        let file = File::open(root).map_err(call)?;
        sys::lock_exclusive(&file).map_err(call)?;
        Ok(Self { _root: file })
    }
}

/// The pin folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes the folder and those above it, for its owner alone.
    pub(crate) fn make(&self) -> Result<(), LoaderError> {
        let call = |source| LoaderError::Call {
            doing: format!("making {}", self.0.display()),
            source,
            cure: "run as root, and give a --pin-root without dots in its names",
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(call)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).map_err(call)
    }

    /// Opens a pin, `None` when there is none of this name.
    pub(crate) fn open(&self, name: &str) -> Result<Option<OwnedFd>, LoaderError> {
        match sys::open_pin(&self.at(name)) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(source) => Err(self.call("opening", name, source)),
        }
    }

    pub(crate) fn pin(&self, name: &str, fd: impl AsFd) -> Result<(), LoaderError> {
        sys::pin(fd.as_fd(), &self.at(name)).map_err(|source| self.call("pinning", name, source))
    }

    /// Removes a pin; none of this name is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, LoaderError> {
        match fs::remove_file(self.at(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(self.call("removing", name, source)),
        }
    }

    /// Gives a pin another name, in place of what had it.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), LoaderError> {
        fs::rename(self.at(from), self.at(to)).map_err(|source| self.call("renaming", from, source))
    }

    /// Names of the pins there, sorted; none when there is no folder.
    pub(crate) fn names(&self) -> Result<Vec<String>, LoaderError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.call("listing", ".", source)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| self.call("listing", ".", source))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Removes the folder, and those of ours above it that are empty now.
    pub(crate) fn remove_folder(&self) -> Result<(), LoaderError> {
        match fs::remove_dir(&self.0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(LoaderError::Call {
                    doing: format!("removing {}", self.0.display()),
                    source,
                    cure: "it holds pins that are not ours; remove them by hand",
                });
            }
        }
        for parent in
            self.0.ancestors().skip(1).filter(|path| {
                path.starts_with(PIN_PARENT) || Path::new(PIN_PARENT).starts_with(path)
            })
        {
            // Another shard's folder or the mount itself stops this, as it should.
            if parent.ends_with("bpf") || fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn call(&self, doing: &str, name: &str, source: io::Error) -> LoaderError {
        if matches!(source.raw_os_error(), Some(libc::EPERM | libc::EACCES)) {
            return LoaderError::Privilege {
                missing: "CAP_BPF (or the folder's ownership)".to_owned(),
                doing: "use the pins",
            };
        }
        LoaderError::Call {
            doing: format!("{doing} {}", self.at(name).display()),
            source,
            cure: "check the folder; `xdp-loader unload` clears it",
        }
    }
}

/// What was loaded, kept in the `META` map beside the maps it describes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Meta {
    /// Whether fresh memory has been initialised; before that nothing is ever attached.
    pub(crate) finished: bool,
    pub(crate) layout_hash: u64,
    pub(crate) arena_address: u64,
    pub(crate) mode: Mode,
    /// How long the kernel took to verify and compile the program, nanoseconds.
    pub(crate) load_ns: u64,
    /// Kernel ids of the maps, in the order of [`MAPS`].
    pub(crate) map_ids: [u32; MAPS.len()],
    pub(crate) interface: String,
    pub(crate) netns: Option<String>,
    /// Version of the memory layout that the program's object named; 0: it named none.
    pub(crate) layout_version: u64,
    /// Its port, for a shard behind a dispatcher.
    pub(crate) port: Option<u16>,
}

const META_BYTES: usize = 512;
const META_MAGIC: u64 = u64::from_be_bytes(*b"RING0PIN");
const META_VERSION: u64 = 1;
/// Where the two names start; before them lie words.
const META_NAMES: usize = 128;
const META_NAME_BYTES: usize = 64;
/// The word with the layout's version: the last one before the names.
const META_LAYOUT_VERSION: usize = META_NAMES / 8 - 1;

impl Meta {
    pub(crate) fn shape() -> MapShape {
        MapShape {
            kind: sys::MAP_TYPE_ARRAY,
            key_bytes: 4,
            value_bytes: META_BYTES as u32,
            entries_max: 1,
            flags: 0,
            extra: 0,
        }
    }

    pub(crate) fn write(&self, map: impl AsFd) -> Result<(), LoaderError> {
        let mut bytes = [0; META_BYTES];
        let mode = match self.mode {
            Mode::Native => 0,
            Mode::Skb => 1,
        };
        let fixed = [
            META_MAGIC,
            META_VERSION,
            u64::from(self.finished),
            self.layout_hash,
            self.arena_address,
            mode,
            self.load_ns,
        ];
        // No port is zero, as before there were dispatchers.
        let port = self.port.map_or(0, |port| u64::from(port) + 1);
        let words = fixed.into_iter().chain(self.map_ids.map(u64::from));
        let words = words.chain([port]);
        for (to, word) in bytes[..META_NAMES].chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[META_LAYOUT_VERSION * 8..META_NAMES]
            .copy_from_slice(&self.layout_version.to_ne_bytes());
        let netns = self.netns.as_deref().unwrap_or_default();
        for (number, name) in [self.interface.as_str(), netns].into_iter().enumerate() {
            let at = META_NAMES + number * META_NAME_BYTES;
            // Longer names are refused by `LoadOptions::check`.
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
        sys::map_update(map.as_fd(), 0, &bytes, &Self::shape())
            .map_err(LoaderError::call("writing META", "run as root"))
    }

    /// The page, `None` if it is not one (a load died before it was written).
    pub(crate) fn read(map: impl AsFd) -> Result<Option<Self>, LoaderError> {
        let call = |source| LoaderError::Call {
            doing: "reading META".to_owned(),
            source,
            cure: "`xdp-loader unload` clears the folder",
        };
        let shape = sys::map_facts(map.as_fd()).map_err(call)?.shape;
        if shape != Self::shape() {
            return Ok(None);
        }
        let mut bytes = [0; META_BYTES];
        sys::map_lookup(map.as_fd(), 0, &mut bytes, &shape, 1).map_err(call)?;
        let word = |number: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[number * 8..number * 8 + 8]);
            u64::from_ne_bytes(word)
        };
        let name = |number: usize| {
            let at = META_NAMES + number * META_NAME_BYTES;
            let name: Vec<u8> = bytes[at..at + META_NAME_BYTES]
                .iter()
                .copied()
                .take_while(|byte| *byte != 0)
                .collect();
            String::from_utf8_lossy(&name).into_owned()
        };
        if word(0) != META_MAGIC || word(1) != META_VERSION {
            return Ok(None);
        }
        let netns = name(1);
        Ok(Some(Self {
            finished: word(2) == 1,
            layout_hash: word(3),
            arena_address: word(4),
            mode: if word(5) == 1 {
                Mode::Skb
            } else {
                Mode::Native
            },
            load_ns: word(6),
            map_ids: std::array::from_fn(|number| word(7 + number) as u32),
            interface: name(0),
            netns: (!netns.is_empty()).then_some(netns),
            layout_version: word(META_LAYOUT_VERSION),
            port: word(7 + MAPS.len()).checked_sub(1).map(|port| port as u16),
        }))
    }
}

/// Longest interface or namespace name that `META` keeps.
pub(crate) const NAME_BYTES_MAX: usize = META_NAME_BYTES - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_folders_are_named_for_their_place() {
        let check = |interface, netns, expected: &str| {
            assert_eq!(
                default_pin_root(interface, netns),
                Path::new(PIN_PARENT).join(expected)
            );
        };
        check("eth0", None, "eth0");
        check("eth0.5", None, "eth0:5");
        check("veth1", Some("trader"), "veth1%trader");
        assert_eq!(
            default_shard_root("eth0", None, 9001),
            Path::new(PIN_PARENT).join("eth0/9001")
        );
    }
}
