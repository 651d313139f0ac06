//! What the journal asks of a file system, so that tests can put one in its place that fails.

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Names of files. Reading is not its matter: what is read was checked, whoever wrote it.
pub trait Storage: Send + 'static {
    /// A file open for writing.
    type File: StorageFile + Send + 'static;

    /// Makes a file, empty, for its owner alone; one that is there is emptied.
    ///
    /// # Errors
    /// The file system's.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file to write over; makes it where there is none.
    ///
    /// # Errors
    /// The file system's.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Waits until the names of a folder are on the disk.
    ///
    /// # Errors
    /// The file system's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file open for writing.
pub trait StorageFile {
    /// Writes some of the bytes, from the first on; gives how many.
    ///
    /// # Errors
    /// The file system's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// From now on writes whole pages, from memory that begins on a page, past the kernel's memory where the file system can.
    /// Through that memory each page costs twice: measured, a third to a half of the disk's speed.
    ///
    /// # Errors
    /// The file system's, other than that it cannot.
    fn write_directly(&self) -> io::Result<()>;

    /// Makes room up to `len` bytes, zeros where there was none.
    ///
    /// # Errors
    /// The file system's: most of all, the disk is full.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file off at `len` bytes.
    ///
    /// # Errors
    /// The file system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Waits until the bytes are on the disk.
    ///
    /// # Errors
    /// The file system's; after one nobody knows what is there, and asking again does not tell.
    fn sync_data(&self) -> io::Result<()>;

    /// The same with length and room.
    ///
    /// # Errors
    /// As [`StorageFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Storage for Disk {
    type File = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

impl StorageFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn write_directly(&self) -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(self)?;
        match rustix::fs::fcntl_setfl(self, flags | OFlags::DIRECT) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // A file system without it: a full disk is then found by a write.
            Err(Errno::OPNOTSUPP) => File::set_len(self, len.max(self.metadata()?.len())),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }
}

/// Writes all of the bytes.
pub(crate) fn write_all(file: &impl StorageFile, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            // Nothing was written and nothing went wrong.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
