//! Snapshots on disk: written whole or not at all.
//!
//! Always true of a file that a [`SnapshotWriter`] put in place: it is whole and on the disk, and so is its name. Whoever
//! dies on the way leaves the older file as it was, and a `.part` beside it, which the next writer uses.

use crate::MqError;
use crate::file::file_error;
use ring0_engine::snapshot::Snapshot;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A snapshot whose bytes are on the disk under another name, not yet in its place.
#[derive(Debug)]
pub struct SnapshotWriter {
    path: PathBuf,
    part: PathBuf,
    /// Open for its lock, which keeps other writers away until the file has its name.
    _file: File,
}

impl SnapshotWriter {
    /// Writes the bytes beside `path` and waits until they are on the disk.
    ///
    /// # Errors
    /// The file system's, or another process is writing the same snapshot.
    pub fn write(path: &Path, snapshot: &Snapshot) -> Result<SnapshotWriter, MqError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let mut file = lock(&part)?;
        // Only now: until it was locked, it may have been somebody else's.
        let written = file
            .set_len(0)
            .and_then(|()| file.write_all(snapshot.bytes()))
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Most likely the disk is full, and this is what fills it.
            let _ = fs::remove_file(&part);
            return Err(file_error(&part, "write")(error));
        }
        Ok(SnapshotWriter {
            path: path.to_owned(),
            part,
            _file: file,
        })
    }

    /// Gives the file its name, in place of an older one, and waits until the name is on the disk.
    ///
    /// # Errors
    /// The file system's.
    pub fn put_in_place(self) -> Result<(), MqError> {
        fs::rename(&self.part, &self.path).map_err(file_error(&self.path, "replace"))?;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let fail = |act| file_error(folder, act);
        let folder_file = File::open(folder).map_err(fail("open"))?;
        folder_file.sync_all().map_err(fail("sync"))
    }
}

/// The file of this name, locked for this process.
fn lock(part: &Path) -> Result<File, MqError> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(part)
            .map_err(file_error(part, "open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(MqError::SnapshotBusy {
                    path: part.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(file_error(part, "lock")(error)),
        }
        // Another writer may have given it its name between the two, and then it is a snapshot in its place.
        let ours = file.metadata().map_err(file_error(part, "open"))?;
        if fs::metadata(part).is_ok_and(|now| now.ino() == ours.ino()) {
            return Ok(file);
        }
    }
}

/// Writes a snapshot to a file: whole, on the disk, in place of an older one.
///
/// # Errors
/// As [`SnapshotWriter`]; the older file is then as it was, but for a failed sync of its folder.
pub fn write_snapshot(path: &Path, snapshot: &Snapshot) -> Result<(), MqError> {
    SnapshotWriter::write(path, snapshot)?.put_in_place()
}

/// Reads a snapshot from a file and verifies all of it before any of it can be used.
///
/// # Errors
/// The file system's, or what is wrong with the file.
pub fn read_snapshot(path: &Path) -> Result<Snapshot, MqError> {
    let bytes = fs::read(path).map_err(file_error(path, "read"))?;
    Snapshot::from_bytes(bytes).map_err(|source| MqError::Snapshot {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring0_engine::Capacity;
    use ring0_engine::control::{Control, ControlKind, OpenAccount};
    use ring0_engine::native::Native;

    fn snapshot(accounts: u32) -> Snapshot {
        let mut native = Native::new(&Capacity::SMALL).unwrap();
        for account in 0..accounts {
            let body = OpenAccount {
                account,
                reserved: 0,
            };
            native.control(&[Control::new(ControlKind::OpenAccount, &body)], 0);
        }
        Snapshot::take(native.shard(), native.layout()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_newer_one_takes_the_place_of_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        for accounts in [3, 1] {
            let made = snapshot(accounts);
            write_snapshot(&path, &made).unwrap();
            assert!(read_snapshot(&path).unwrap().bytes() == made.bytes());
        }
        assert_eq!(names(folder.path()), ["shard"]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_a_dead_writer_left_is_used_and_a_living_one_is_not_disturbed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        let (old, new) = (snapshot(1), snapshot(2));
        write_snapshot(&path, &old).unwrap();
        fs::write(folder.path().join("shard.part"), vec![7; 1 << 20]).unwrap();
        let living = SnapshotWriter::write(&path, &new).unwrap();
        assert!(read_snapshot(&path).unwrap().bytes() == old.bytes());
        let error = write_snapshot(&path, &old).unwrap_err().to_string();
        assert!(error.contains("another process is writing"), "{error}");
        living.put_in_place().unwrap();
        assert!(read_snapshot(&path).unwrap().bytes() == new.bytes());
        write_snapshot(&path, &old).unwrap();
        assert_eq!(names(folder.path()), ["shard"]);
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        let check = |expected: &str| {
            let error = read_snapshot(&path).unwrap_err().to_string();
            let name = path.to_str().unwrap();
            assert!(error.contains(name) && error.contains(expected), "{error}");
        };
        check("cannot read");
        fs::write(&path, b"other").unwrap();
        check("it is no snapshot");
        fs::write(&path, &snapshot(1).bytes()[..9_000]).unwrap();
        check("it is truncated: 9000 bytes of");
    }
}
