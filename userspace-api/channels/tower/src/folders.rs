//! The folders of evidence: what is in their files, read again when a file changes.

use ring0_channels::evidence::Holding;
use ring0_channels::offered::Offered;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest file that is read, bytes: a state with all its ways is a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What tells a file from what it was: whoever writes by renaming changes the first, whoever writes in place one of the others.
type Mark = (u64, i64, i64, u64);

/// Folders of evidence.
#[derive(Debug)]
pub(crate) struct Folders {
    places: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Mark>,
    unlisted: BTreeMap<PathBuf, String>,
}

/// What came with new or changed files.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// States that both signed.
    pub(crate) whole: Vec<(PathBuf, Holding)>,
    /// States that wait for the trader's signature.
    pub(crate) halves: Vec<(PathBuf, Holding)>,
    /// Files and folders that cannot be used, and why.
    pub(crate) bad: Vec<(PathBuf, String)>,
}

impl Folders {
    pub(crate) fn new(places: &[PathBuf]) -> Folders {
        Folders {
            places: places.to_vec(),
            files: BTreeMap::new(),
            unlisted: BTreeMap::new(),
        }
    }

    /// Reads what is new or has changed since the last time.
    pub(crate) fn news(&mut self) -> News {
        let mut news = News::default();
        let mut files = BTreeMap::new();
        for place in &self.places {
            match list(place) {
                Ok(found) => {
                    self.unlisted.remove(place);
                    files.extend(found);
                }
                Err(why) => {
                    let why = why.to_string();
                    if self.unlisted.get(place) != Some(&why) {
                        news.bad.push((place.clone(), why.clone()));
                        self.unlisted.insert(place.clone(), why);
                    }
                }
            }
        }
        for (path, mark) in &files {
            if self.files.get(path) == Some(mark) {
                continue;
            }
            match read(path, mark.3) {
                Ok(holding) if Offered::is_half(&holding) => {
                    news.halves.push((path.clone(), holding));
                }
                Ok(holding) => match holding.verify() {
                    Ok(()) => news.whole.push((path.clone(), holding)),
                    Err(why) => news.bad.push((path.clone(), why.to_string())),
                },
                Err(why) => news.bad.push((path.clone(), why)),
            }
        }
        self.files = files;
        news
    }
}

fn list(place: &Path) -> std::io::Result<Vec<(PathBuf, Mark)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        // One that went meanwhile is not there.
        if let Ok(meta) = fs::metadata(&path) {
            let mark = (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len());
            found.push((path, mark));
        }
    }
    Ok(found)
}

fn read(path: &Path, length: u64) -> Result<Holding, String> {
    if length > FILE_BYTES_MAX {
        return Err(format!(
            "{length} bytes are more than any evidence has ({FILE_BYTES_MAX})"
        ));
    }
    let text = fs::read(path).map_err(|why| why.to_string())?;
    serde_json::from_slice(&text).map_err(|why| format!("no evidence: {why}"))
}
