//! A holder's side of a threshold ECDSA signature (DKLs23): three rounds with the other signers, sealed through the coordinator, and the sum of all parts.
//!
//! Always true: what a round has kept is used once and lives in memory alone; whoever cheated in a way that could give this share away is never signed with again, over restarts too.

use crate::backend::{Backend, BackendError};
use crate::config::Config;
use crate::ecdsa_ceremony::{aborted, party};
use crate::keystore::Keystore;
use crate::sealed::{Correspondence, Packages};
use crate::share::secret_name;
use alloy_primitives::{B256, hex};
use dkls23::protocols::signing::{
    Broadcast3to4, KeepPhase1to2, KeepPhase2to3, SignData, TransmitPhase1to2, TransmitPhase2to3,
    UniqueKeep1to2, UniqueKeep2to3,
};
use dkls23::protocols::{Abort, AbortKind, PartyIndex};
use dkls23::secp256k1::Party;
use k256::Secp256k1;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Signatures that are under way at one time; beyond that the oldest is forgotten.
const WAITING: usize = 64;

/// See the module.
pub(crate) struct EcdsaShare {
    party: Party,
    with: Correspondence,
    waiting: Mutex<VecDeque<Signing>>,
    banned: Mutex<BTreeSet<u16>>,
}

/// A signature under way.
struct Signing {
    session: B256,
    data: SignData,
    stage: Stage,
}

enum Stage {
    First(
        UniqueKeep1to2<Secp256k1>,
        BTreeMap<PartyIndex, KeepPhase1to2<Secp256k1>>,
    ),
    Second(
        UniqueKeep2to3<Secp256k1>,
        BTreeMap<PartyIndex, KeepPhase2to3<Secp256k1>>,
    ),
    Last(String),
}

/// What a round gives.
pub(crate) enum Part {
    /// For the other signers, sealed.
    Sealed(Packages),
    /// For everybody, hexadecimal.
    Open(String),
    /// r and s, 32 bytes each, s in the lower half.
    Whole([u8; 64]),
}

/// Why a round failed.
pub(crate) struct Failed {
    pub(crate) text: String,
    /// A holder that must never be signed with again.
    pub(crate) ban: Option<u16>,
}

impl From<String> for Failed {
    fn from(text: String) -> Failed {
        Failed { text, ban: None }
    }
}

impl From<Abort> for Failed {
    fn from(abort: Abort) -> Failed {
        let ban = match abort.kind {
            AbortKind::BanCounterparty(who) => Some(who.as_u8().into()),
            AbortKind::Recoverable => None,
        };
        Failed {
            ban,
            text: aborted(abort),
        }
    }
}

/// Name of a ban in the keystore.
pub(crate) fn ban_name(key: &str, number: u16) -> String {
    format!("ban/{key}/{number}")
}

impl EcdsaShare {
    pub(crate) fn open(
        name: &str,
        number: u16,
        holders: &BTreeMap<u16, String>,
        store: &Keystore,
        config: &Config,
    ) -> Result<EcdsaShare, BackendError> {
        let none = || BackendError::Wrong("the share is not in the keystore".to_owned());
        let secret = store
            .secret(&secret_name(name, B256::ZERO))
            .ok_or_else(none)?;
        let beginning = ban_name(name, 0);
        let beginning = beginning.trim_end_matches('0');
        let banned = store.names(beginning);
        let banned = banned
            .iter()
            .filter_map(|it| it[beginning.len()..].parse().ok());
        Ok(EcdsaShare {
            party: serde_json::from_slice(secret)
                .map_err(|error| BackendError::Wrong(error.to_string()))?,
            with: Correspondence::new(store, config, number, holders)
                .map_err(BackendError::Wrong)?,
            waiting: Mutex::new(VecDeque::new()),
            banned: Mutex::new(banned.collect()),
        })
    }

    /// Begins a signature with these signers, this one among them.
    pub(crate) fn begin(
        &self,
        session: B256,
        signers: &[u16],
        digest: B256,
    ) -> Result<Part, Failed> {
        let others: Vec<u16> = signers
            .iter()
            .copied()
            .filter(|it| *it != self.with.number)
            .collect();
        let banned = self.banned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(banned) = others.iter().find(|it| banned.contains(it)) {
            return Err(format!("holder {banned} has cheated, and this one never signs with it again: make another key").into());
        }
        drop(banned);
        let counterparties = others
            .iter()
            .map(|it| party(*it))
            .collect::<Result<_, _>>()?;
        let data = SignData {
            sign_id: session.to_vec(),
            counterparties,
            message_hash: digest.0,
        };
        let (own, kept, out) = self.party.sign_phase1(&data)?;
        let out = self.seal(session, 1, out, |it: &TransmitPhase1to2| {
            it.parties.receiver
        })?;
        self.keep(Signing {
            session,
            data,
            stage: Stage::First(own, kept),
        });
        Ok(Part::Sealed(out))
    }

    fn keep(&self, signing: Signing) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(signing);
        if waiting.len() > WAITING {
            waiting.pop_front();
        }
    }

    fn seal<T: serde::Serialize>(
        &self,
        session: B256,
        round: u8,
        all: Vec<T>,
        receiver: impl Fn(&T) -> PartyIndex,
    ) -> Result<Packages, String> {
        let mut out = Packages::new();
        for it in all {
            let to = receiver(&it).as_u8().into();
            out.insert(to, self.with.seal_value(session, to, round, &it)?);
        }
        Ok(out)
    }

    /// Takes what came from the others. What the round before kept is gone, whatever comes out.
    pub(crate) fn round(&self, session: B256, inbox: &Packages) -> Result<Part, Failed> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let place = waiting.iter().position(|it| it.session == session);
        let taken = place.and_then(|place| waiting.remove(place));
        drop(waiting);
        let taken = taken.ok_or_else(|| "no such signature is under way here".to_owned())?;
        let Signing { data, stage, .. } = taken;
        let from: Vec<u16> = data
            .counterparties
            .iter()
            .map(|it| it.as_u8().into())
            .collect();
        let from = || from.iter().copied();
        match stage {
            Stage::First(own, kept) => {
                let came: BTreeMap<u16, TransmitPhase1to2> =
                    self.with.open_values(session, from(), 1, inbox)?;
                from_whom(&came, |it| it.parties.sender)?;
                let came: Vec<_> = came.into_values().collect();
                let (own, kept, out) = self.party.sign_phase2(&data, own, kept, &came)?;
                let out = self.seal(session, 2, out, |it: &TransmitPhase2to3<Secp256k1>| {
                    it.parties.receiver
                })?;
                self.keep(Signing {
                    session,
                    data,
                    stage: Stage::Second(own, kept),
                });
                Ok(Part::Sealed(out))
            }
            Stage::Second(own, kept) => {
                let came: BTreeMap<u16, TransmitPhase2to3<Secp256k1>> =
                    self.with.open_values(session, from(), 2, inbox)?;
                from_whom(&came, |it| it.parties.sender)?;
                let came: Vec<_> = came.into_values().collect();
                let (x, part) = self.party.sign_phase3(&data, own, kept, &came)?;
                let part = serde_json::to_vec(&part).map_err(|error| error.to_string())?;
                self.keep(Signing {
                    session,
                    data,
                    stage: Stage::Last(x),
                });
                Ok(Part::Open(hex::encode(part)))
            }
            Stage::Last(x) => {
                let mut parts: Vec<Broadcast3to4<Secp256k1>> = Vec::new();
                for text in inbox.values() {
                    let bytes = hex::decode(text).map_err(|error| error.to_string())?;
                    parts.push(serde_json::from_slice(&bytes).map_err(|error| error.to_string())?);
                }
                // The signature is checked under the group's key here.
                let (s, _) = self.party.sign_phase4(&data, &x, &parts, true)?;
                let whole = hex::decode_to_array(format!("{x:0>64}{s:0>64}"));
                Ok(Part::Whole(whole.map_err(|error| error.to_string())?))
            }
        }
    }

    /// Never signs with this holder again; the caller has put it on the disk.
    pub(crate) fn ban(&self, number: u16) {
        self.banned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number);
    }
}

/// Whether all speak for themselves.
fn from_whom<T>(came: &BTreeMap<u16, T>, sender: impl Fn(&T) -> PartyIndex) -> Result<(), String> {
    match came
        .iter()
        .find(|it| u16::from(sender(it.1).as_u8()) != *it.0)
    {
        Some((from, _)) => Err(format!("holder {from} speaks for another")),
        None => Ok(()),
    }
}

impl Backend for EcdsaShare {
    fn ecdsa(&self) -> bool {
        true
    }

    fn ecdsa_share(&self) -> Option<&EcdsaShare> {
        Some(self)
    }
}
