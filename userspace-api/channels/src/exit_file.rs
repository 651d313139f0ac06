//! One file with which a trader leaves: its channels, and where newer states may be asked for (CUSTODY 17).

use crate::B256;
use crate::evidence::{EvidenceError, Holding};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the file says it is.
const FORMAT: &str = "ring0-exit-1";

/// A trader's channels.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExitFile {
    format: String,
    /// When it was made, seconds of Unix time.
    pub made: u64,
    /// Base URLs that may know newer states: the operator's and towers'. `<URL>/holdings/<channel>` answers a holding.
    pub ask: Vec<String>,
    /// The channels, each with its newest state.
    pub holdings: Vec<Holding>,
}

/// Why a file is none.
#[derive(Debug, thiserror::Error)]
pub enum ExitFileError {
    /// It cannot be read or written.
    #[error("{path}: {why}; name a file that ring0 channel export made")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// One of its states does not count.
    #[error(
        "{path}: the state of channel {channel} does not count: {why}; take an older export, or the other copy"
    )]
    Worthless {
        /// Which file.
        path: PathBuf,
        /// Which channel.
        channel: B256,
        /// Why.
        why: EvidenceError,
    },
}

impl ExitFile {
    /// Of these channels.
    #[must_use]
    pub fn new(made: u64, ask: Vec<String>, holdings: Vec<Holding>) -> ExitFile {
        ExitFile {
            format: FORMAT.to_owned(),
            made,
            ask,
            holdings,
        }
    }

    /// Reads a file and verifies all that is in it.
    ///
    /// # Errors
    /// See [`ExitFileError`].
    pub fn read(path: &Path) -> Result<ExitFile, ExitFileError> {
        let unreadable = |why: String| ExitFileError::Unreadable {
            path: path.to_owned(),
            why,
        };
        let text = std::fs::read(path).map_err(|why| unreadable(why.to_string()))?;
        let file: ExitFile =
            serde_json::from_slice(&text).map_err(|why| unreadable(why.to_string()))?;
        if file.format != FORMAT {
            return Err(unreadable(format!(
                "it is of the format {:?}, and {FORMAT} is read",
                file.format
            )));
        }
        for holding in &file.holdings {
            holding.verify().map_err(|why| ExitFileError::Worthless {
                path: path.to_owned(),
                channel: holding.channel(),
                why,
            })?;
        }
        Ok(file)
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("it is plain data");
        text.push('\n');
        text
    }
}
