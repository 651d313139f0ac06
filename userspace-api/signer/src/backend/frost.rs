//! A key in shares: t of n holders, each a process of its own, sign together (FROST, BIP-340). This is the coordinator; it has no share and learns nothing secret.
//!
//! Holders are given the whole message, not its hash: each asks its own policy. Nonces live in a holder's memory for one signature.

use super::{Backend, BackendError};
use crate::client::Client;
use crate::config::Holder;
use crate::keyring::output_key;
use crate::message::{Kind, Message};
use crate::protocol::{Outcome, Request};
use alloy_primitives::{B256, hex};
use frost_secp256k1_tr::keys::PublicKeyPackage;
use frost_secp256k1_tr::round1::SigningCommitments;
use frost_secp256k1_tr::round2::SignatureShare;
use frost_secp256k1_tr::{Identifier, SigningPackage, aggregate_with_tweak};
use secp256k1::{XOnlyPublicKey, schnorr};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// See the module.
pub(crate) struct FrostKey {
    name: String,
    threshold: usize,
    holders: Vec<Peer>,
    package: PublicKeyPackage,
    generation: B256,
    output: XOnlyPublicKey,
}

/// A holder and the connection to it.
pub(crate) struct Peer {
    name: String,
    pub(crate) number: u16,
    identifier: Identifier,
    socket: PathBuf,
    client: Mutex<Option<Client>>,
}

/// What a holder commits to.
#[derive(Deserialize)]
pub(crate) struct Commitment {
    pub(crate) nonces: B256,
    pub(crate) commitments: String,
}

/// A holder's part of a signature.
#[derive(Deserialize)]
pub(crate) struct Part {
    pub(crate) share: String,
}

/// Names a set of shares that fit each other.
pub(crate) fn generation(package: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(package))
}

pub(crate) fn wrong(error: impl std::fmt::Display) -> BackendError {
    BackendError::Wrong(error.to_string())
}

/// Holders by their numbers, with their sockets.
pub(crate) fn peers(
    holders: &BTreeMap<u16, String>,
    known: &[Holder],
) -> Result<Vec<Peer>, BackendError> {
    let peer = |(number, holder): (&u16, &String)| {
        let place = known.iter().find(|it| it.name == *holder);
        let socket = place.and_then(|it| it.socket.clone());
        let none = || {
            wrong(format!(
                "signer.toml has no [[holder]] {holder:?} with a socket"
            ))
        };
        Ok(Peer {
            name: holder.clone(),
            number: *number,
            identifier: Identifier::try_from(*number).map_err(wrong)?,
            socket: socket.ok_or_else(none)?,
            client: Mutex::new(None),
        })
    };
    holders.iter().map(peer).collect()
}

impl FrostKey {
    pub(crate) fn open(
        name: &str,
        threshold: u16,
        holders: &BTreeMap<u16, String>,
        package: &str,
        known: &[Holder],
    ) -> Result<FrostKey, BackendError> {
        let bytes = hex::decode(package).map_err(wrong)?;
        let package = PublicKeyPackage::deserialize(&bytes).map_err(wrong)?;
        let key = package.verifying_key().serialize().map_err(wrong)?;
        let internal = XOnlyPublicKey::from_byte_array(
            key[1..]
                .try_into()
                .map_err(|_| wrong("the group's key has another length"))?,
        );
        Ok(FrostKey {
            name: name.to_owned(),
            threshold: threshold.into(),
            holders: peers(holders, known)?,
            generation: generation(&bytes),
            package,
            output: output_key(&internal.map_err(wrong)?).map_err(wrong)?,
        })
    }

    /// One attempt with these holders; an error names the holder that failed.
    fn attempt(
        &self,
        peers: &[&Peer],
        commitments: &[Commitment],
        message: &Message,
        digest: B256,
    ) -> Result<[u8; 64], (Option<Identifier>, String)> {
        let mut all = BTreeMap::new();
        for (peer, it) in peers.iter().zip(commitments) {
            let failed = |why: String| (Some(peer.identifier), why);
            let bytes = hex::decode(&it.commitments).map_err(|error| failed(error.to_string()))?;
            let it = SigningCommitments::deserialize(&bytes)
                .map_err(|error| failed(error.to_string()))?;
            all.insert(peer.identifier, it);
        }
        let package = SigningPackage::new(all, digest.as_slice());
        let nobody = |error: frost_secp256k1_tr::Error| (None, error.to_string());
        let text = hex::encode(package.serialize().map_err(nobody)?);
        let mut shares = BTreeMap::new();
        for (peer, it) in peers.iter().zip(commitments) {
            let failed = |why: String| (Some(peer.identifier), why);
            let request = Request::SignShare {
                key: self.name.clone(),
                generation: self.generation,
                message: Box::new(message.clone()),
                nonces: it.nonces,
                package: text.clone(),
            };
            let part: Part = peer.call(&request).map_err(failed)?;
            let bytes = hex::decode(&part.share).map_err(|error| failed(error.to_string()))?;
            let share =
                SignatureShare::deserialize(&bytes).map_err(|error| failed(error.to_string()))?;
            shares.insert(peer.identifier, share);
        }
        // Each share is checked here: a wrong one names its maker.
        let signature =
            aggregate_with_tweak(&package, &shares, &self.package, None).map_err(|error| {
                let culprit = error.culprits().into_iter().next();
                (culprit, error.to_string())
            })?;
        let bytes = signature.serialize().map_err(nobody)?;
        let bytes: [u8; 64] = bytes
            .try_into()
            .map_err(|_| (None, "the signature is not of 64 bytes".to_owned()))?;
        schnorr::Signature::from_byte_array(bytes)
            .verify(digest.as_slice(), &self.output)
            .map_err(|error| (None, error.to_string()))?;
        Ok(bytes)
    }
}

impl Peer {
    pub(crate) fn call<T: serde::de::DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<T, String> {
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection of before may have ended with its process: a new one is tried once.
        let fresh = held.is_none();
        for again in [!fresh, false] {
            if held.is_none() {
                let client = Client::connect(&self.socket);
                *held = Some(client.map_err(|error| format!("{}: {error}", self.name))?);
            }
            match held.as_mut().map(|client| client.call(request)) {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(crate::client::ClientError::NoSigner { .. })) if again => *held = None,
                Some(Err(error)) => {
                    if !matches!(error, crate::client::ClientError::Refused(_)) {
                        *held = None;
                    }
                    return Err(format!("{}: {error}", self.name));
                }
                None => {}
            }
        }
        Err(format!("{}: no connection", self.name))
    }
}

impl Backend for FrostKey {
    fn taproot(&self) -> bool {
        true
    }

    fn whole(&self) -> bool {
        true
    }

    fn sign(&self, message: &Message, digest: B256) -> Result<Outcome, BackendError> {
        if message.kind() != Kind::VaultMove {
            return Err(BackendError::Scheme);
        }
        let mut out: Vec<Identifier> = Vec::new();
        let mut why = Vec::new();
        loop {
            let (mut peers, mut commitments) = (Vec::new(), Vec::new());
            for peer in self
                .holders
                .iter()
                .filter(|it| !out.contains(&it.identifier))
            {
                if peers.len() == self.threshold {
                    break;
                }
                let request = Request::Commit {
                    key: self.name.clone(),
                    generation: self.generation,
                };
                match peer.call::<Commitment>(&request) {
                    Ok(commitment) => {
                        peers.push(peer);
                        commitments.push(commitment);
                    }
                    Err(error) => why.push(error),
                }
            }
            if peers.len() < self.threshold {
                return Err(BackendError::Shares {
                    needed: self.threshold,
                    had: peers.len(),
                    why: why.join("; "),
                });
            }
            match self.attempt(&peers, &commitments, message, digest) {
                Ok(signature) => return Ok(Outcome::Taproot(hex::encode(signature))),
                Err((Some(culprit), error)) => {
                    out.push(culprit);
                    why.push(error);
                }
                Err((None, error)) => return Err(BackendError::Wrong(error)),
            }
        }
    }
}
