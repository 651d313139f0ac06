//! The keys of a signer: what each is and where (`keys.json`), and their backends opened.

use crate::backend::dkls::DklsKey;
use crate::backend::frost::FrostKey;
use crate::backend::local::{LocalKey, tap_tweak};
use crate::backend::pkcs11::{Token, TokenKey};
use crate::backend::{Backend, BackendError};
use crate::config::Config;
use crate::ecdsa_share::EcdsaShare;
use crate::keystore::{Keystore, KeystoreError, replace};
use crate::policy::KeyFacts;
use crate::protocol::KeyInfo;
use crate::share::ShareKey;
use alloy_primitives::{hex, keccak256};
use ring0_channels::Address;
use secp256k1::{PublicKey, Scalar, XOnlyPublicKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// One key in `keys.json`; nothing in it is secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyFile {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// 33 bytes, hexadecimal.
    pub(crate) public_key: String,
    pub(crate) made_ms: u64,
    #[serde(default)]
    pub(crate) retired: bool,
}

/// Where a key is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "backend", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Place {
    /// In the keystore, under this name.
    Local { secret: String },
    /// In the token, under this label.
    Pkcs11 { label: String },
    /// In shares.
    Frost {
        threshold: u16,
        /// Holders' names by their numbers.
        #[serde(with = "crate::pairs")]
        holders: BTreeMap<u16, String>,
        /// FROST's public package, hexadecimal.
        package: String,
    },
    /// In shares, for ECDSA.
    Dkls {
        threshold: u16,
        /// Holders' names by their numbers.
        #[serde(with = "crate::pairs")]
        holders: BTreeMap<u16, String>,
    },
    /// One share of a key for ECDSA, in the keystore.
    EcdsaShare {
        number: u16,
        /// Holders' names by their numbers.
        #[serde(with = "crate::pairs")]
        holders: BTreeMap<u16, String>,
    },
    /// One share of a key, in the keystore by generation.
    Share { number: u16, package: String },
}

impl Place {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Place::Local { .. } => "local",
            Place::Pkcs11 { .. } => "pkcs11",
            Place::Frost { .. } => "frost",
            Place::Dkls { .. } => "dkls",
            Place::Share { .. } | Place::EcdsaShare { .. } => "share",
        }
    }
}

/// Keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The list of keys.
    #[error("{path}: {what}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A backend.
    #[error("the key {name:?}: {source}")]
    Backend {
        /// The key.
        name: String,
        /// Why not.
        source: BackendError,
    },
    /// Something is missing.
    #[error("{0}")]
    Missing(String),
}

/// A key and its backend.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) info: KeyInfo,
    pub(crate) facts: KeyFacts,
    pub(crate) backend: Arc<dyn Backend>,
}

/// Reads `keys.json`; a folder without one has no keys.
pub(crate) fn read(path: &Path) -> Result<Vec<KeyFile>, KeyringError> {
    let wrong = |what: String| KeyringError::File {
        path: path.to_owned(),
        what,
    };
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Writes `keys.json`.
pub(crate) fn write(path: &Path, keys: &[KeyFile]) -> Result<(), KeyringError> {
    let text = serde_json::to_string_pretty(keys).expect("a list of keys is JSON");
    replace(path, text.as_bytes()).map_err(|error| KeyringError::File {
        path: path.to_owned(),
        what: error.to_string(),
    })
}

/// Whether a name may be a key's: it is part of names in the keystore and in the token.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    (1..=32).contains(&name.len()) && name.bytes().all(fits)
}

/// What follows from a public key alone.
pub(crate) fn info(file: &KeyFile) -> Result<KeyInfo, String> {
    let wrong =
        |error: &dyn std::fmt::Display| format!("the public key of {:?}: {error}", file.name);
    let bytes = hex::decode(&file.public_key).map_err(|error| wrong(&error))?;
    let key = PublicKey::from_slice(&bytes).map_err(|error| wrong(&error))?;
    let script = script(&key).map_err(|error| wrong(&error))?;
    Ok(KeyInfo {
        name: file.name.clone(),
        backend: file.place.name().to_owned(),
        public_key: file.public_key.clone(),
        address: address(&key),
        script: hex::encode(script),
        retired: file.retired,
    })
}

pub(crate) fn address(key: &PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

/// Script of the key's taproot output without scripts (BIP-341, BIP-86).
fn script(key: &PublicKey) -> Result<Vec<u8>, secp256k1::Error> {
    let (internal, _) = key.x_only_public_key();
    let output = output_key(&internal)?;
    Ok([&[0x51, 0x20], output.to_byte_array().as_slice()].concat())
}

/// The key that an output names.
pub(crate) fn output_key(internal: &XOnlyPublicKey) -> Result<XOnlyPublicKey, secp256k1::Error> {
    let tweak = Scalar::from_be_bytes(tap_tweak(&internal.to_byte_array()))
        .map_err(|_| secp256k1::Error::InvalidTweak)?;
    Ok(internal.add_tweak(&tweak)?.0)
}

/// Opens the keys.
pub(crate) fn open(
    files: &[KeyFile],
    config: &Config,
    store: &Keystore,
) -> Result<BTreeMap<String, Key>, KeyringError> {
    let mut token = None;
    let mut keys = BTreeMap::new();
    for file in files {
        let name = &file.name;
        let failed = |source| KeyringError::Backend {
            name: name.clone(),
            source,
        };
        let missing = |what: &str| KeyringError::Missing(format!("the key {name:?}: {what}"));
        let info = info(file).map_err(KeyringError::Missing)?;
        let backend: Arc<dyn Backend> = match &file.place {
            Place::Local { secret } => {
                let secret = store.secret(secret).ok_or_else(|| {
                    missing("its secret is not in the keystore; restore both from one backup")
                })?;
                let secret: [u8; 32] = secret
                    .as_slice()
                    .try_into()
                    .map_err(|_| missing("its secret is not of 32 bytes"))?;
                let key = LocalKey::new(Zeroizing::new(secret));
                Arc::new(key.map_err(|error| missing(&error.to_string()))?)
            }
            Place::Pkcs11 { label } => {
                if token.is_none() {
                    let of = config.pkcs11.as_ref();
                    let of = of.ok_or_else(|| missing("signer.toml has no [pkcs11]"))?;
                    token = Some(Arc::new(Token::open(of).map_err(failed)?));
                }
                let token = Arc::clone(token.as_ref().expect("it was just opened"));
                Arc::new(TokenKey::open(token, label, &info.public_key).map_err(failed)?)
            }
            Place::Frost {
                threshold,
                holders,
                package,
            } => Arc::new(
                FrostKey::open(name, *threshold, holders, package, &config.holders)
                    .map_err(failed)?,
            ),
            Place::Dkls { threshold, holders } => Arc::new(
                DklsKey::open(name, *threshold, holders, &info.public_key, &config.holders)
                    .map_err(failed)?,
            ),
            Place::EcdsaShare { number, holders } => {
                Arc::new(EcdsaShare::open(name, *number, holders, store, config).map_err(failed)?)
            }
            Place::Share { number, .. } => {
                Arc::new(ShareKey::open(name, *number, store).map_err(failed)?)
            }
        };
        let key = Key {
            facts: KeyFacts {
                address: info.address,
                script: hex::decode(&info.script).expect("it was just encoded"),
                retired: info.retired,
                ecdsa: backend.ecdsa(),
                taproot: backend.taproot(),
            },
            info,
            backend,
        };
        keys.insert(name.clone(), key);
    }
    Ok(keys)
}
