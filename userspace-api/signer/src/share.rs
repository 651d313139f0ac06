//! A holder's side of a key in shares: nonces in memory, once each, and its part of a signature.

use crate::backend::frost::wrong;
use crate::backend::{Backend, BackendError};
use crate::keystore::Keystore;
use crate::random::{self, Kernel};
use alloy_primitives::{B256, hex};
use frost_secp256k1_tr::keys::KeyPackage;
use frost_secp256k1_tr::round1::{self, SigningNonces};
use frost_secp256k1_tr::{SigningPackage, round2};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Nonces that wait for their signature; beyond that the oldest are forgotten.
const WAITING: usize = 256;

/// What a holder does.
pub(crate) trait Share {
    /// Makes nonces; gives their name and what commits to them, hexadecimal.
    fn commit(&self, generation: B256) -> Result<(B256, String), BackendError>;

    /// Its part of the signature of `digest`, hexadecimal. The nonces are gone afterwards, whatever comes out.
    fn part(
        &self,
        generation: B256,
        nonces: B256,
        package: &str,
        digest: B256,
    ) -> Result<String, BackendError>;
}

/// See the module.
pub(crate) struct ShareKey {
    number: u16,
    shares: BTreeMap<B256, KeyPackage>,
    nonces: Mutex<VecDeque<(B256, B256, SigningNonces)>>,
}

/// Name of a share in the keystore.
pub(crate) fn secret_name(key: &str, generation: B256) -> String {
    format!("share/{key}/{}", hex::encode(generation))
}

impl ShareKey {
    /// With the shares of all generations that are kept.
    pub(crate) fn open(
        name: &str,
        number: u16,
        store: &Keystore,
    ) -> Result<ShareKey, BackendError> {
        let beginning = format!("share/{name}/");
        let mut shares = BTreeMap::new();
        for secret in store.names(&beginning) {
            let generation: B256 = format!("0x{}", &secret[beginning.len()..])
                .parse()
                .map_err(wrong)?;
            let bytes = store.secret(&secret).expect("the store named it");
            shares.insert(generation, KeyPackage::deserialize(bytes).map_err(wrong)?);
        }
        Ok(ShareKey {
            number,
            shares,
            nonces: Mutex::new(VecDeque::new()),
        })
    }

    fn of(&self, generation: B256) -> Result<&KeyPackage, BackendError> {
        let none = || {
            wrong(format!(
                "holder {} has no share of generation {generation}; it missed a refresh, or the asker did",
                self.number
            ))
        };
        self.shares.get(&generation).ok_or_else(none)
    }
}

impl Share for ShareKey {
    fn commit(&self, generation: B256) -> Result<(B256, String), BackendError> {
        let share = self.of(generation)?;
        let (nonces, commitments) = round1::commit(share.signing_share(), &mut Kernel);
        let text = hex::encode(commitments.serialize().map_err(wrong)?);
        let name = B256::from(random::bytes());
        let mut waiting = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back((name, generation, nonces));
        if waiting.len() > WAITING {
            waiting.pop_front();
        }
        Ok((name, text))
    }

    fn part(
        &self,
        generation: B256,
        nonces: B256,
        package: &str,
        digest: B256,
    ) -> Result<String, BackendError> {
        let mut waiting = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let place = waiting
            .iter()
            .position(|it| it.0 == nonces && it.1 == generation);
        // Taken out before anything can fail: a second part under the same nonces would give the share away.
        let taken = place.and_then(|place| waiting.remove(place));
        drop(waiting);
        let (_, _, nonces) =
            taken.ok_or_else(|| wrong("these nonces were used or forgotten; commit anew"))?;
        let bytes = hex::decode(package).map_err(wrong)?;
        let package = SigningPackage::deserialize(&bytes).map_err(wrong)?;
        if package.message().as_slice() != digest.as_slice() {
            return Err(wrong("the package is of another message"));
        }
        let part = round2::sign_with_tweak(&package, &nonces, self.of(generation)?, None);
        Ok(hex::encode(part.map_err(wrong)?.serialize()))
    }
}

impl Backend for ShareKey {
    fn taproot(&self) -> bool {
        true
    }

    fn share(&self) -> Option<&dyn Share> {
        Some(self)
    }
}
