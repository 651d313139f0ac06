//! A signer's folder: `signer.toml` (or a venue's file, elsewhere), `keystore`, `keys.json`, `history/`.

use crate::config::{Config, ConfigError};
use crate::desk::now_ms;
use crate::history::{Entry, Event, History, HistoryError};
use crate::keyring::KeyringError;
use crate::keystore::{Keystore, KeystoreError};
use crate::random;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a new signer's `signer.toml` says: it listens, and signs nothing.
const FIRST: &str = include_str!("first.toml");

/// Why a signer's command did not work.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// `signer.toml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The keys.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A running signer.
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
    /// A file.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The passphrase.
    #[error("the passphrase: {0}")]
    Passphrase(io::Error),
    /// The address of the numbers.
    #[error(transparent)]
    Metrics(ring0_scrape::ScrapeError),
    /// The socket.
    #[error("cannot listen at {place}: {what}")]
    Listen {
        /// Where.
        place: String,
        /// Why not.
        what: String,
    },
    /// What was asked cannot be done.
    #[error("{0}")]
    Refused(String),
    /// The store is an old one.
    #[error("{0}")]
    Stale(String),
}

impl SignerError {
    /// The exit status that says so: 3 where something does not agree, else 1.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            SignerError::Stale(_) | SignerError::History(_) => 3,
            _ => 1,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
    config: PathBuf,
}

impl Home {
    /// A folder that is or will be a signer's.
    #[must_use]
    pub fn new(folder: &Path) -> Home {
        Home {
            folder: folder.to_owned(),
            config: folder.join("signer.toml"),
        }
    }

    /// The folder that a venue's file names, which is the policy too.
    ///
    /// # Errors
    /// The file's, or it names no folder.
    pub fn of_venue(file: &Path) -> Result<Home, SignerError> {
        let Some(folder) = Config::read(file)?.home else {
            return Err(SignerError::Refused(format!(
                "{}: signer.home: it is missing; name the signer's folder",
                file.display()
            )));
        };
        Ok(Home {
            folder: file.parent().unwrap_or(Path::new("")).join(folder),
            config: file.to_owned(),
        })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.config.clone()
    }

    pub(crate) fn keystore_file(&self) -> PathBuf {
        self.folder.join("keystore")
    }

    pub(crate) fn keys_file(&self) -> PathBuf {
        self.folder.join("keys.json")
    }

    /// The history's folder.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.folder.join("history")
    }

    /// Reads `signer.toml`; paths in it that are not absolute are of the folder.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut config = Config::read(&self.config_file())?;
        let anchor = |path: &mut PathBuf| *path = self.folder.join(&*path);
        anchor(&mut config.socket);
        config.witnesses.iter_mut().for_each(anchor);
        if let Some(pkcs11) = &mut config.pkcs11 {
            anchor(&mut pkcs11.pin_file);
        }
        let sockets = config
            .holders
            .iter_mut()
            .filter_map(|it| it.socket.as_mut());
        sockets.for_each(anchor);
        Ok(config)
    }

    /// Makes a signer: folder (mode 0700), configuration if there is none, keystore with an identity, history.
    ///
    /// # Errors
    /// There is one, or the disk.
    pub fn init(
        &self,
        passphrase: &Zeroizing<String>,
        first_number: u64,
        per_second: u64,
    ) -> Result<(), SignerError> {
        let file = |path: PathBuf| move |source| SignerError::File { path, source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(file(self.folder.clone()))?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))
            .map_err(file(self.folder.clone()))?;
        if self.keystore_file().exists() {
            return Err(SignerError::Refused(format!(
                "{} is a signer already",
                self.folder.display()
            )));
        }
        if !self.config_file().exists() {
            let user = rustix::process::geteuid().as_raw().to_string();
            let text = FIRST.replace("USER", &user);
            crate::keystore::replace(&self.config_file(), text.as_bytes())
                .map_err(file(self.config_file()))?;
        }
        let config = self.config()?;
        let born = Entry {
            at_ms: now_ms(),
            user: rustix::process::geteuid().as_raw(),
            event: Event::Born {
                first_number,
                per_second,
            },
        };
        History::create(&self.history(), born, &config.witnesses)?;
        let mut store = Keystore::create(&self.keystore_file(), passphrase)?;
        store.put(
            crate::sealed::IDENTITY,
            Zeroizing::new(secret_key().to_vec()),
        )?;
        Ok(())
    }
}

/// A random secret key of secp256k1.
pub(crate) fn secret_key() -> Zeroizing<[u8; 32]> {
    loop {
        let bytes = Zeroizing::new(random::bytes());
        if secp256k1::SecretKey::from_secret_bytes(*bytes).is_ok() {
            return bytes;
        }
    }
}
