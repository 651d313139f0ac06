//! Secrets on the disk: one file, sealed by XChaCha20-Poly1305 under a key that Argon2id makes of a passphrase.
//!
//! Always true: the file on the disk is whole, the former one or the next; in memory secrets are in buffers that are wiped.

use crate::random;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// Argon2id's cost: 64 MiB and three passes are a tenth of a second here, once a start, and for whoever guesses once a guess.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const FORMAT: &str = "ring0-keystore-1";

/// A keystore that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file.
    #[error("the keystore {path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no keystore.
    #[error("{path} is no keystore: {what}; restore it from a backup", path = .path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It does not open.
    #[error("the keystore {} does not open: the passphrase is another, or the file was changed", .0.display())]
    Passphrase(PathBuf),
}

/// The file's text.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    format: String,
    memory_kib: u32,
    passes: u32,
    salt: String,
    nonce: String,
    sealed: String,
}

/// An open keystore: secrets by name.
pub(crate) struct Keystore {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
    salt: [u8; 16],
    secrets: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

fn derive(
    passphrase: &str,
    salt: &[u8],
    memory_kib: u32,
    passes: u32,
) -> Result<Zeroizing<[u8; 32]>, String> {
    let params = Params::new(memory_kib, passes, 1, Some(32)).map_err(|error| error.to_string())?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|error| error.to_string())?;
    Ok(key)
}

impl Keystore {
    /// Makes an empty one; the file must not be there.
    pub(crate) fn create(path: &Path, passphrase: &str) -> Result<Keystore, KeystoreError> {
        let file = |source| KeystoreError::File {
            path: path.to_owned(),
            source,
        };
        if path.exists() {
            return Err(file(io::ErrorKind::AlreadyExists.into()));
        }
        let salt = random::bytes();
        let key = derive(passphrase, &salt, MEMORY_KIB, PASSES);
        let store = Keystore {
            path: path.to_owned(),
            key: key.map_err(|what| file(io::Error::other(what)))?,
            salt,
            secrets: BTreeMap::new(),
        };
        store.save()?;
        Ok(store)
    }

    /// Opens one.
    pub(crate) fn open(path: &Path, passphrase: &str) -> Result<Keystore, KeystoreError> {
        let format = |what: String| KeystoreError::Format {
            path: path.to_owned(),
            what,
        };
        let text = fs::read_to_string(path).map_err(|source| KeystoreError::File {
            path: path.to_owned(),
            source,
        })?;
        let sealed: Sealed =
            serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
        if sealed.format != FORMAT {
            return Err(format(format!("its format is {:?}", sealed.format)));
        }
        // A file that asks for more was not made here, and would take the machine's memory.
        if sealed.memory_kib > 16 * MEMORY_KIB || sealed.passes > 16 * PASSES {
            return Err(format("its cost is beyond what is made here".to_owned()));
        }
        let bytes = |text: &str| {
            alloy_primitives::hex::decode(text).map_err(|error| format(error.to_string()))
        };
        let salt: [u8; 16] = bytes(&sealed.salt)?
            .try_into()
            .map_err(|_| format("its salt is not of 16 bytes".to_owned()))?;
        let nonce: [u8; 24] = bytes(&sealed.nonce)?
            .try_into()
            .map_err(|_| format("its nonce is not of 24 bytes".to_owned()))?;
        let key = derive(passphrase, &salt, sealed.memory_kib, sealed.passes).map_err(format)?;
        let cipher = XChaCha20Poly1305::new(key.as_slice().into());
        let (sealed, aad) = (bytes(&sealed.sealed)?, FORMAT.as_bytes());
        let payload = Payload { msg: &sealed, aad };
        let opened = cipher
            .decrypt((&nonce).into(), payload)
            .map_err(|_| KeystoreError::Passphrase(path.to_owned()))?;
        let opened = Zeroizing::new(opened);
        let mut texts: BTreeMap<String, String> =
            serde_json::from_slice(&opened).map_err(|error| format(error.to_string()))?;
        let mut secrets = BTreeMap::new();
        for (name, text) in &mut texts {
            let secret = Zeroizing::new(bytes(text)?);
            text.zeroize();
            secrets.insert(name.clone(), secret);
        }
        Ok(Keystore {
            path: path.to_owned(),
            key,
            salt,
            secrets,
        })
    }

    /// A secret.
    pub(crate) fn secret(&self, name: &str) -> Option<&Zeroizing<Vec<u8>>> {
        self.secrets.get(name)
    }

    /// Names that begin so.
    pub(crate) fn names(&self, beginning: &str) -> Vec<String> {
        let names = self.secrets.keys().filter(|it| it.starts_with(beginning));
        names.cloned().collect()
    }

    /// Adds a secret; it is on the disk when this returns.
    pub(crate) fn put(
        &mut self,
        name: &str,
        secret: Zeroizing<Vec<u8>>,
    ) -> Result<(), KeystoreError> {
        self.secrets.insert(name.to_owned(), secret);
        self.save()
    }

    /// Forgets a secret; it is gone from the file when this returns.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), KeystoreError> {
        self.secrets.remove(name);
        self.save()
    }

    fn save(&self) -> Result<(), KeystoreError> {
        // Large enough from the start: what a string leaves behind when it grows is not wiped.
        let size =
            |(name, secret): (&String, &Zeroizing<Vec<u8>>)| name.len() + 2 * secret.len() + 8;
        let size: usize = self.secrets.iter().map(size).sum();
        let mut plain = Zeroizing::new(String::with_capacity(size + 8));
        plain.push('{');
        for (place, (name, secret)) in self.secrets.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let hex = Zeroizing::new(alloy_primitives::hex::encode(secret.as_slice()));
            // Names are JSON strings as they are: `Keyring` takes letters, digits and a few signs alone.
            plain.push_str(comma);
            plain.push('"');
            plain.push_str(name);
            plain.push_str("\":\"");
            plain.push_str(&hex);
            plain.push('"');
        }
        plain.push('}');
        let nonce: [u8; 24] = random::bytes();
        let cipher = XChaCha20Poly1305::new(self.key.as_slice().into());
        let (msg, aad) = (plain.as_bytes(), FORMAT.as_bytes());
        let sealed = cipher
            .encrypt((&nonce).into(), Payload { msg, aad })
            .expect("the cipher takes more than memory has");
        let sealed = Sealed {
            format: FORMAT.to_owned(),
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt: alloy_primitives::hex::encode(self.salt),
            nonce: alloy_primitives::hex::encode(nonce),
            sealed: alloy_primitives::hex::encode(sealed),
        };
        let text = serde_json::to_string_pretty(&sealed).expect("text is JSON");
        replace(&self.path, text.as_bytes()).map_err(|source| KeystoreError::File {
            path: self.path.clone(),
            source,
        })
    }
}

/// Writes a file of mode 0600 in the place of another: after a crash it is whole, the former or this one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    let _ = fs::remove_file(&next); // what a crash left
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_back_by_the_passphrase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keystore");
        let mut store = Keystore::create(&path, "correct horse").unwrap();
        store.put("one", Zeroizing::new(vec![1, 2, 3])).unwrap();
        store.put("two", Zeroizing::new(vec![0xab; 32])).unwrap();
        store.remove("one").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("abababab") && !text.contains("two"));
        let opened = Keystore::open(&path, "correct horse").unwrap();
        assert_eq!(opened.secret("two").unwrap().as_slice(), [0xab; 32]);
        assert!(opened.secret("one").is_none());
        let wrong = Keystore::open(&path, "correct house");
        assert!(matches!(wrong, Err(KeystoreError::Passphrase(_))));
        // Any change of what is sealed, of the nonce or of the salt.
        let mut sealed: Sealed = serde_json::from_str(&text).unwrap();
        let flipped = if sealed.sealed.starts_with('0') {
            "1"
        } else {
            "0"
        };
        sealed.sealed.replace_range(0..1, flipped);
        fs::write(&path, serde_json::to_string(&sealed).unwrap()).unwrap();
        assert!(Keystore::open(&path, "correct horse").is_err());
        assert!(Keystore::create(&path, "again").is_err());
    }
}
