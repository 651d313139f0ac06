//! The trader's own copies: each co-signed state on disk in at least two places before anybody is told that it is there (CUSTODY 17).
//!
//! A place is a folder with a file a channel, `<channel id>.json`. A newer state takes the older one's place, never the other way round.

use crate::B256;
use crate::evidence::{EvidenceError, Holding};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Fewest places.
pub const PLACES_MIN: usize = 2;

/// Why a state is not kept. It must not be acknowledged then.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// One copy is none.
    #[error(
        "{0} places are named, and {PLACES_MIN} different ones are the least: name folders on two disks"
    )]
    Places(usize),
    /// The disk.
    #[error(
        "{path}: {why}; the state is not kept in every place: do not acknowledge it, see to the disk and keep it again"
    )]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It would not help.
    #[error("the state of version {version} does not count: {why}; do not acknowledge it")]
    Worthless {
        /// Its version.
        version: u64,
        /// Why.
        why: EvidenceError,
    },
    /// An older one, or another one of the same version.
    #[error(
        "version {kept} of channel {channel} is kept; version {given} is another state and does not take its place"
    )]
    Older {
        /// Which channel.
        channel: B256,
        /// The kept one.
        kept: u64,
        /// The other.
        given: u64,
    },
}

/// A file that is there and says nothing.
#[derive(Debug)]
pub struct Damaged {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// Where a trader keeps its states.
#[derive(Clone, Debug)]
pub struct Keep {
    places: Vec<PathBuf>,
}

impl Keep {
    /// In these folders, which are made if they are not there.
    ///
    /// # Errors
    /// Fewer than two different ones; a disk.
    pub fn open(places: &[PathBuf]) -> Result<Keep, KeepError> {
        let mut own = Vec::new();
        for place in places {
            let failed = |why| disk(place, why);
            fs::create_dir_all(place).map_err(failed)?;
            own.push(place.canonicalize().map_err(failed)?);
        }
        own.sort();
        own.dedup();
        if own.len() < PLACES_MIN {
            return Err(KeepError::Places(own.len()));
        }
        Ok(Keep { places: own })
    }

    /// Keeps a holding. It is on disk in every place when this returns, and may be acknowledged.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub fn keep(&self, holding: &Holding) -> Result<(), KeepError> {
        let worthless = |why| KeepError::Worthless {
            version: holding.version(),
            why,
        };
        holding.verify().map_err(worthless)?;
        let name = format!("{}.json", holding.channel());
        for place in &self.places {
            let path = place.join(&name);
            if let Ok(kept) = read(&path)
                && kept != *holding
                && kept.version() >= holding.version()
            {
                return Err(KeepError::Older {
                    channel: holding.channel(),
                    kept: kept.version(),
                    given: holding.version(),
                });
            }
        }
        let text = serde_json::to_vec_pretty(holding).expect("a holding is plain data");
        for place in &self.places {
            let path = place.join(&name);
            replace(place, &path, &text).map_err(|why| disk(&path, why))?;
        }
        Ok(())
    }

    /// The newest holding of each channel in any place, and what could not be read.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn newest(&self) -> Result<(Vec<Holding>, Vec<Damaged>), KeepError> {
        newest(&self.places)
    }
}

/// The newest holding of each channel in some folders, and what could not be read or does not count.
///
/// # Errors
/// A folder that cannot be listed.
pub fn newest(places: &[PathBuf]) -> Result<(Vec<Holding>, Vec<Damaged>), KeepError> {
    let (mut all, mut damaged) = (BTreeMap::<B256, Holding>::new(), Vec::new());
    for place in places {
        for entry in fs::read_dir(place).map_err(|why| disk(place, why))? {
            let path = entry.map_err(|why| disk(place, why))?.path();
            if path.extension().is_none_or(|it| it != "json") {
                continue;
            }
            match read(&path) {
                Ok(holding) => {
                    let best = all.get(&holding.channel());
                    if best.is_none_or(|best| best.version() < holding.version()) {
                        all.insert(holding.channel(), holding);
                    }
                }
                Err(why) => damaged.push(Damaged { path, why }),
            }
        }
    }
    Ok((all.into_values().collect(), damaged))
}

/// A holding that counts.
fn read(path: &Path) -> Result<Holding, String> {
    let text = fs::read(path).map_err(|why| why.to_string())?;
    let holding: Holding = serde_json::from_slice(&text).map_err(|why| why.to_string())?;
    holding.verify().map_err(|why| why.to_string())?;
    Ok(holding)
}

/// Writes beside, then renames: there is the old file or the new one, whenever the machine stops.
fn replace(place: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = rustix::fs::open(place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    Ok(rustix::fs::fsync(folder)?)
}

fn disk(path: &Path, why: io::Error) -> KeepError {
    KeepError::Disk {
        path: path.to_owned(),
        why,
    }
}
