//! Where a passphrase comes from: a file, an open descriptor or the terminal, never an argument, which every process of the machine can read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The arguments that say where from; with neither the terminal is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct From {
    /// File with the passphrase in its first line; nobody but its owner may read it.
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        conflicts_with = "passphrase_fd"
    )]
    pub passphrase_file: Option<PathBuf>,
    /// Open descriptor to read the passphrase from.
    #[arg(long, value_name = "N", global = true)]
    pub passphrase_fd: Option<RawFd>,
}

/// The first line of a file that only its owner may read.
///
/// # Errors
/// It cannot be read, or by too many.
pub(crate) fn of_file(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        let text = format!(
            "others may read it (mode {:o}): chmod 600 {}",
            mode & 0o777,
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    first_line(file)
}

fn first_line(from: impl Read) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(from.take(4096)).read_line(&mut line)?;
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    match line.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the passphrase is empty",
        )),
        false => Ok(line),
    }
}

impl From {
    /// The passphrase; `twice`: a new one, which the terminal is asked for twice.
    ///
    /// # Errors
    /// It is not there, empty, or others may read it.
    pub fn read(&self, twice: bool) -> io::Result<Zeroizing<String>> {
        if let Some(path) = &self.passphrase_file {
            return of_file(path);
        }
        if let Some(number) = self.passphrase_fd {
            // The descriptor stays open behind this path for its owner; opening it anew needs no unsafe code.
            return first_line(File::open(format!("/proc/self/fd/{number}"))?);
        }
        let passphrase = ask("Passphrase of the keystore: ")?;
        if twice && *ask("Again: ")? != *passphrase {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the two differ"));
        }
        Ok(passphrase)
    }
}

/// Asks the terminal, which shows nothing of the answer.
fn ask(what: &str) -> io::Result<Zeroizing<String>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let mut terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|error| {
            let text =
                format!("no terminal to ask ({error}); give --passphrase-file or --passphrase-fd");
            io::Error::new(error.kind(), text)
        })?;
    terminal.write_all(what.as_bytes())?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes -= LocalModes::ECHO;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let line = first_line(&terminal);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    terminal.write_all(b"\n")?;
    line
}

/// Keeps the process's memory from the disk and from debuggers, as far as the machine lets it. Says what it does not let.
pub(crate) fn guard_memory() -> Option<&'static str> {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{
        DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
    };
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let core = setrlimit(Resource::Core, none);
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if core.is_err() || dumpable.is_err() {
        return Some("a crash may write its memory to the disk");
    }
    // With a limit the lock could be taken and a later allocation fail in the middle of a signature.
    if getrlimit(Resource::Memlock).current.is_some() {
        return Some("its memory may be swapped to the disk: start it with LimitMEMLOCK=infinity");
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags)
        .err()
        .map(|_| "its memory may be swapped to the disk: the kernel refused to lock it")
}
