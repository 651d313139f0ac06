//! A key for ECDSA in shares: t of n holders sign together (DKLs23). The coordinator relays what holders seal for each other, has no share and learns nothing secret.

use super::frost::{Peer, peers, wrong};
use super::pkcs11::normal;
use super::{Backend, BackendError};
use crate::config::Holder;
use crate::message::{Kind, Message};
use crate::protocol::{Outcome, Request};
use crate::random;
use crate::sealed::Packages;
use alloy_primitives::{B256, hex};
use secp256k1::PublicKey;
use serde::Deserialize;
use std::collections::BTreeMap;

/// See the module.
pub(crate) struct DklsKey {
    name: String,
    threshold: usize,
    holders: Vec<Peer>,
    public: PublicKey,
}

/// A holder's answer to a round: one of these.
#[derive(Deserialize)]
struct Said {
    out: Option<Vec<(u16, String)>>,
    part: Option<String>,
    signature: Option<String>,
}

impl DklsKey {
    pub(crate) fn open(
        name: &str,
        threshold: u16,
        holders: &BTreeMap<u16, String>,
        public_key: &str,
        known: &[Holder],
    ) -> Result<DklsKey, BackendError> {
        let public = hex::decode(public_key).map_err(wrong)?;
        Ok(DklsKey {
            name: name.to_owned(),
            threshold: threshold.into(),
            holders: peers(holders, known)?,
            public: PublicKey::from_slice(&public).map_err(wrong)?,
        })
    }

    /// One attempt with these signers; an error has the number of the one that failed.
    fn attempt(
        &self,
        signers: &[&Peer],
        message: &Message,
        digest: B256,
    ) -> Result<Outcome, (u16, String)> {
        let session = B256::from(random::bytes());
        let numbers: Vec<u16> = signers.iter().map(|it| it.number).collect();
        let mut inboxes: BTreeMap<u16, Packages> = BTreeMap::new();
        for signer in signers {
            let request = Request::EcdsaBegin {
                key: self.name.clone(),
                message: Box::new(message.clone()),
                session,
                signers: numbers.clone(),
            };
            let said: Said = signer.call(&request).map_err(|why| (signer.number, why))?;
            post(&mut inboxes, signer.number, said);
        }
        for _ in 0..2 {
            let mut next = BTreeMap::new();
            for signer in signers {
                let said = self.round(signer, session, inboxes.remove(&signer.number))?;
                match said.part.clone() {
                    // Everybody's part is for everybody.
                    Some(part) => numbers.iter().for_each(|to| {
                        next.entry(*to)
                            .or_insert_with(Packages::new)
                            .insert(signer.number, part.clone());
                    }),
                    None => post(&mut next, signer.number, said),
                }
            }
            inboxes = next;
        }
        let first = signers[0];
        let said = self.round(first, session, inboxes.remove(&first.number))?;
        let failed = |why: String| (first.number, why);
        let text = said
            .signature
            .ok_or_else(|| failed("it gave no signature".to_owned()))?;
        let bytes = hex::decode(text).map_err(|error| failed(error.to_string()))?;
        let signature =
            normal(&bytes, digest, &self.public).map_err(|error| failed(error.to_string()))?;
        Ok(Outcome::Ecdsa(signature))
    }

    fn round(
        &self,
        signer: &Peer,
        session: B256,
        inbox: Option<Packages>,
    ) -> Result<Said, (u16, String)> {
        let request = Request::EcdsaRound {
            key: self.name.clone(),
            session,
            inbox: inbox.unwrap_or_default(),
        };
        signer.call(&request).map_err(|why| (signer.number, why))
    }
}

/// Puts what a holder gave into the others' inboxes.
fn post(inboxes: &mut BTreeMap<u16, Packages>, from: u16, said: Said) {
    for (to, package) in said.out.into_iter().flatten() {
        inboxes.entry(to).or_default().insert(from, package);
    }
}

impl Backend for DklsKey {
    fn ecdsa(&self) -> bool {
        true
    }

    fn whole(&self) -> bool {
        true
    }

    fn sign(&self, message: &Message, digest: B256) -> Result<Outcome, BackendError> {
        if message.kind() == Kind::VaultMove {
            return Err(BackendError::Scheme);
        }
        let (mut out, mut why) = (Vec::new(), Vec::new());
        loop {
            let in_turn = self.holders.iter().filter(|it| !out.contains(&it.number));
            let signers: Vec<&Peer> = in_turn.take(self.threshold).collect();
            if signers.len() < self.threshold {
                return Err(BackendError::Shares {
                    needed: self.threshold,
                    had: signers.len(),
                    why: why.join("; "),
                });
            }
            match self.attempt(&signers, message, digest) {
                Ok(outcome) => return Ok(outcome),
                Err((number, error)) => {
                    out.push(number);
                    why.push(error);
                }
            }
        }
    }
}
