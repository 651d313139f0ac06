//! `backup` and `restore`.

use super::{Args, record};
use crate::desk::now_ms;
use crate::history::{self, Event, History};
use crate::home::{Home, SignerError};
use crate::keystore::replace;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

fn at(path: &Path) -> impl Fn(std::io::Error) -> SignerError + '_ {
    move |source| SignerError::File {
        path: path.to_owned(),
        source,
    }
}

fn make_folder(path: &Path) -> Result<(), SignerError> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(at(path))
}

fn copy(from: &Path, to: &Path) -> Result<(), SignerError> {
    match fs::read(from) {
        Ok(bytes) => replace(to, &bytes).map_err(at(to)),
        // Keys are made after the signer is.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(from)(error)),
    }
}

/// Files of a signer beside its history; the history is copied last, so that it knows every key that the copy has.
fn files(home: &Home) -> [PathBuf; 3] {
    [home.keystore_file(), home.keys_file(), home.config_file()]
}

fn copy_all(from: &Home, to: &Home) -> Result<(), SignerError> {
    make_folder(to.folder())?;
    for (from, to) in files(from).iter().zip(files(to)) {
        copy(from, &to)?;
    }
    make_folder(&to.history())?;
    let mut names = Vec::new();
    for file in fs::read_dir(from.history()).map_err(at(&from.history()))? {
        names.push(file.map_err(at(&from.history()))?.file_name());
    }
    names.sort();
    for name in names {
        copy(&from.history().join(&name), &to.history().join(&name))?;
    }
    Ok(())
}

pub(crate) fn backup(args: &Args, home: &Home, to: &Path) -> Result<(), SignerError> {
    copy_all(home, &Home::new(to))?;
    // A line that was being written is no entry; what is whole is checked to the last byte.
    let seen = history::verify(&Home::new(to).history())?;
    let text = format!(
        "{} has the store up to entry {}; its keystore opens by the same passphrase",
        to.display(),
        seen.entries
    );
    args.say(
        &json!({"ok": true, "entries": seen.entries, "head": seen.head.to_string()}),
        &text,
    )
}

pub(crate) fn restore(
    args: &Args,
    home: &Home,
    from: Option<&Path>,
    floor: u64,
) -> Result<(), SignerError> {
    if let Some(from) = from {
        if home.keystore_file().exists() {
            let text = format!(
                "{} is a signer; restore into a folder that is not there",
                home.folder().display()
            );
            return Err(SignerError::Refused(text));
        }
        let seen = history::verify(&Home::new(from).history())?;
        let _ = writeln!(std::io::stderr(), "the backup has {} entries", seen.entries);
        copy_all(&Home::new(from), home)?;
    }
    let config = home.config()?;
    let (mut history, _) = History::open(&home.history(), &[], config.segment_bytes)?;
    let before = history.seen();
    let memory = history.memory();
    let now = now_ms();
    if now < memory.last_ms {
        let text = "this machine's clock is behind the backup's last entry: set it right first, what the lost store may have signed is bounded by time";
        return Err(SignerError::Refused(text.to_owned()));
    }
    // Every number that the lost store can have signed lies below what time allowed it.
    let floor = floor.max(memory.line(now));
    record(&mut history, Event::Restored { floor, before })?;
    history.witness_anew(&config.witnesses)?;
    let text = format!(
        "restored: epochs and versions go on above {floor}; for 24 hours each message that moves money needs an approver; tell the asker to forget what it has seen of the former history"
    );
    let json = json!({"ok": true, "floor": floor, "entries": before.entries});
    args.say(&json, &text)
}
