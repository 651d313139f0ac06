//! Random secrets that are given out once, and the sealing of those that must be known again.

use crate::ids::Digest;
use alloy_primitives::hex;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Random bytes of the operating system.
///
/// # Panics
/// The operating system has none: nothing here is safe then.
#[must_use]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}

/// A secret of 256 random bits behind a word that says what it is. Shown once, to whom it was made for; never in a log.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A new one.
    #[must_use]
    pub fn new(prefix: &str) -> Secret {
        let bytes = Zeroizing::new(random::<32>());
        Secret(Zeroizing::new(format!("{prefix}{}", hex::encode(*bytes))))
    }

    /// Its text, to hand it over.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Secret")
    }
}

/// Why the key file does not serve.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file.
    #[error("the key file {path} cannot be read or made: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the key file {} may be read by others than its owner; chmod 600 it, and make the API keys anew if somebody has", .0.display())]
    Open(PathBuf),
    /// It is something else.
    #[error("the key file {} does not have 32 bytes; restore it, or revoke and make anew all signing API keys", .0.display())]
    Length(PathBuf),
}

/// The key under which secrets of signing API keys are sealed. In a file of its own, so that a stolen log or a copy of it gives no key.
pub(crate) struct Sealing(XChaCha20Poly1305);

impl fmt::Debug for Sealing {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Sealing")
    }
}

impl Sealing {
    /// Reads the key file, or makes it (mode 0600).
    ///
    /// # Errors
    /// See [`KeyFileError`].
    pub(crate) fn open(path: &Path) -> Result<Sealing, KeyFileError> {
        let at = |source| KeyFileError::File {
            path: path.to_owned(),
            source,
        };
        let mut new = OpenOptions::new();
        match new.write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let key = Zeroizing::new(random::<32>());
                file.write_all(&*key).map_err(at)?;
                file.sync_all().map_err(at)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(error)),
        }
        let mut file = std::fs::File::open(path).map_err(at)?;
        let metadata = file.metadata().map_err(at)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(KeyFileError::Open(path.to_owned()));
        }
        let mut key = Zeroizing::new([0; 32]);
        if metadata.len() != 32 || file.read_exact(&mut *key).is_err() {
            return Err(KeyFileError::Length(path.to_owned()));
        }
        Ok(Sealing(XChaCha20Poly1305::new((&*key).into())))
    }

    /// Seals a secret for a place that it cannot be moved from.
    pub(crate) fn seal(&self, secret: &[u8], place: &str) -> String {
        let nonce = random::<24>();
        let payload = Payload {
            msg: secret,
            aad: place.as_bytes(),
        };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("a secret is shorter than what the cipher takes");
        hex::encode([&nonce[..], &sealed].concat())
    }

    /// Opens what [`seal`](Sealing::seal) made for this place; `None`: another key file, another place, or damaged.
    pub(crate) fn unseal(&self, sealed: &str, place: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = hex::decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<24>()?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        let secret = self.0.decrypt(&XNonce::from(*nonce), payload);
        secret.ok().map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_with_its_key_at_its_place_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let sealing = Sealing::open(&path).unwrap();
        let sealed = sealing.seal(b"secret", "api key 1");
        let again = Sealing::open(&path).unwrap();
        assert_eq!(*again.unseal(&sealed, "api key 1").unwrap(), b"secret");
        assert!(again.unseal(&sealed, "api key 2").is_none());
        assert!(again.unseal(&sealed[2..], "api key 1").is_none());
        let other = Sealing::open(&folder.path().join("other")).unwrap();
        assert!(other.unseal(&sealed, "api key 1").is_none());
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(Sealing::open(&path), Err(KeyFileError::Open(_))));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, [0; 31]).unwrap();
        assert!(matches!(Sealing::open(&path), Err(KeyFileError::Length(_))));
        assert_eq!(format!("{:?}", Secret::new("r0s_")), "Secret");
    }
}
