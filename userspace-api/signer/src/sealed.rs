//! What one holder of shares sends another through a coordinator: sealed to the other's identity, which stands in the holder's own `signer.toml`.

use crate::config::Config;
use crate::keystore::Keystore;
use crate::random;
use alloy_primitives::{B256, hex};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use secp256k1::ecdh::SharedSecret;
use secp256k1::{PublicKey, SecretKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Name of the identity's secret in the keystore.
pub(crate) const IDENTITY: &str = "identity";

/// Packages by the number of whom they are for, or from.
pub(crate) type Packages = BTreeMap<u16, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A holder's own identity.
pub(crate) fn identity(store: &Keystore) -> Result<(SecretKey, PublicKey), String> {
    let secret = store
        .secret(IDENTITY)
        .ok_or("this signer has no identity; make its folder with `ring0 signer init`")?;
    let secret: [u8; 32] = secret.as_slice().try_into().map_err(text)?;
    let secret = SecretKey::from_secret_bytes(secret).map_err(text)?;
    Ok((secret, secret.public_key()))
}

/// A holder and those it talks with.
#[derive(Clone)]
pub(crate) struct Correspondence {
    secret: SecretKey,
    pub(crate) number: u16,
    peers: BTreeMap<u16, PublicKey>,
}

impl Drop for Correspondence {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl Correspondence {
    /// Of the holder with this number, among holders by their names.
    pub(crate) fn new(
        store: &Keystore,
        config: &Config,
        number: u16,
        holders: &BTreeMap<u16, String>,
    ) -> Result<Correspondence, String> {
        let mut peers = BTreeMap::new();
        for (other, name) in holders.iter().filter(|it| *it.0 != number) {
            let of = config.holders.iter().find(|it| it.name == *name);
            let identity = of.and_then(|it| it.identity.as_ref());
            let identity = identity.ok_or_else(|| {
                format!("this holder's signer.toml has no [[holder]] {name:?} with an identity; `ring0 signer share identity` shows it there")
            })?;
            let bytes = hex::decode(identity).map_err(text)?;
            let key = PublicKey::from_slice(&bytes)
                .map_err(|error| format!("the identity of {name:?}: {error}"))?;
            peers.insert(*other, key);
        }
        let (secret, _) = identity(store)?;
        Ok(Correspondence {
            secret,
            number,
            peers,
        })
    }

    fn cipher(&self, session: B256, from: u16, to: u16) -> Result<XChaCha20Poly1305, String> {
        let other = if from == self.number { to } else { from };
        let key = self
            .peers
            .get(&other)
            .ok_or_else(|| format!("there is no holder {other}"))?;
        let shared = SharedSecret::new(key, &self.secret);
        let mut hash = Sha256::new();
        hash.update(b"ring0 ceremony");
        hash.update(shared.to_secret_bytes());
        hash.update(session);
        hash.update(from.to_be_bytes());
        hash.update(to.to_be_bytes());
        Ok(XChaCha20Poly1305::new(&hash.finalize()))
    }

    /// Seals bytes for another; `seen` is what both must have seen.
    pub(crate) fn seal(
        &self,
        session: B256,
        to: u16,
        seen: &[u8],
        bytes: &[u8],
    ) -> Result<String, String> {
        let nonce: [u8; 24] = random::bytes();
        let payload = Payload {
            msg: bytes,
            aad: seen,
        };
        let sealed = self
            .cipher(session, self.number, to)?
            .encrypt((&nonce).into(), payload);
        Ok(hex::encode(
            [nonce.as_slice(), &sealed.map_err(text)?].concat(),
        ))
    }

    /// Opens what another has sealed for this one.
    pub(crate) fn open(
        &self,
        session: B256,
        from: u16,
        seen: &[u8],
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let bytes = hex::decode(sealed).map_err(text)?;
        let (nonce, msg) = bytes
            .split_first_chunk::<24>()
            .ok_or("a sealed package is too short")?;
        let opened = self
            .cipher(session, from, self.number)?
            .decrypt(nonce.into(), Payload { msg, aad: seen });
        let opened = opened.map_err(|_| format!("what holder {from} sealed does not open: the holders were shown different packages, or an identity is wrong"))?;
        Ok(Zeroizing::new(opened))
    }

    /// Seals a value of each round's own: what was sealed in another round does not open in this one.
    pub(crate) fn seal_value(
        &self,
        session: B256,
        to: u16,
        round: u8,
        value: &impl Serialize,
    ) -> Result<String, String> {
        let json = Zeroizing::new(serde_json::to_vec(value).map_err(text)?);
        self.seal(session, to, &[round], &json)
    }

    /// Opens the values of a round, one of each of `from`.
    pub(crate) fn open_values<T: DeserializeOwned>(
        &self,
        session: B256,
        from: impl Iterator<Item = u16>,
        round: u8,
        inbox: &Packages,
    ) -> Result<BTreeMap<u16, T>, String> {
        let mut values = BTreeMap::new();
        for from in from {
            let sealed = inbox
                .get(&from)
                .ok_or_else(|| format!("nothing came from holder {from}"))?;
            let json = self.open(session, from, &[round], sealed)?;
            values.insert(from, serde_json::from_slice(&json).map_err(text)?);
        }
        Ok(values)
    }

    /// Numbers of the others.
    pub(crate) fn others(&self) -> impl Iterator<Item = u16> + '_ {
        self.peers.keys().copied()
    }
}
