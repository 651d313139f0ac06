//! How a key in shares comes about and is refreshed: steps that a coordinator says to each holder. The coordinator relays and sees no secret; what one holder sends another is
//! sealed to the other's identity, which stands in the holder's own `signer.toml`, and bound to all first-round packages, so that a coordinator that shows them different ones fails.

use crate::backend::frost::generation;
use crate::config::Config;
use crate::ecdsa_ceremony::{Making, Round};
use crate::keyring::{KeyFile, Place, is_name};
use crate::keystore::Keystore;
use crate::random::Kernel;
use crate::sealed::{Correspondence, identity};
use crate::share::secret_name;
use alloy_primitives::{B256, hex};
use frost_secp256k1_tr::Identifier;
use frost_secp256k1_tr::keys::dkg::{self, round1, round2};
use frost_secp256k1_tr::keys::{KeyPackage, PublicKeyPackage, SecretShare, refresh};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// One step. Holders are known by their numbers, from 1.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Say who you are.
    Identity,
    /// Take a dealer's share.
    Deal {
        /// The key's name.
        key: String,
        /// The holder's number.
        number: u16,
        /// The share, hexadecimal.
        share: String,
        /// The public package, hexadecimal.
        package: String,
    },
    /// Begin: gives the first-round package.
    Begin {
        /// The key's name.
        key: String,
        /// A random name of this ceremony.
        session: B256,
        /// Shares that sign.
        threshold: u16,
        /// Holders' names by their numbers.
        #[serde(with = "crate::pairs")]
        holders: BTreeMap<u16, String>,
        /// The holder's number.
        number: u16,
        /// New shares of a key that is there.
        refresh: bool,
    },
    /// All first-round packages: gives what is for the others, sealed.
    Exchange {
        /// See `begin`.
        session: B256,
        /// By number.
        #[serde(with = "crate::pairs")]
        packages: BTreeMap<u16, String>,
    },
    /// What the others sealed for this one: gives the group's key and the public package.
    Finish {
        /// See `begin`.
        session: B256,
        /// By number of the sender.
        #[serde(with = "crate::pairs")]
        sealed: BTreeMap<u16, String>,
    },
    /// Begin a key for ECDSA: gives what is for the others, sealed.
    EcdsaBegin {
        /// The key's name.
        key: String,
        /// A random name of this ceremony.
        session: B256,
        /// Shares that sign.
        threshold: u16,
        /// Holders' names by their numbers.
        #[serde(with = "crate::pairs")]
        holders: BTreeMap<u16, String>,
        /// The holder's number.
        number: u16,
    },
    /// What came from the others: gives what is for them, and after the last round the key.
    EcdsaRound {
        /// See `ecdsa-begin`.
        session: B256,
        /// By number of the sender.
        #[serde(with = "crate::pairs")]
        inbox: BTreeMap<u16, String>,
    },
    /// Forget all other generations of a key: every holder has this one.
    Keep {
        /// The key's name.
        key: String,
        /// SHA-256 of the public package.
        generation: B256,
    },
}

impl Step {
    /// What it is, without what it carries: for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Step::Identity => "identity",
            Step::Deal { .. } => "deal",
            Step::Begin { .. } => "begin",
            Step::Exchange { .. } => "exchange",
            Step::Finish { .. } => "finish",
            Step::EcdsaBegin { .. } => "ecdsa-begin",
            Step::EcdsaRound { .. } => "ecdsa-round",
            Step::Keep { .. } => "keep",
        }
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Step({})", self.name())
    }
}

/// A ceremony that a holder takes part in; it ends with the process.
pub(crate) enum Running {
    /// Of a taproot key.
    Taproot(Box<Taproot>),
    /// Of a key for ECDSA.
    Ecdsa(Box<Making>),
}

/// A ceremony of FROST.
pub(crate) struct Taproot {
    key: String,
    session: B256,
    number: u16,
    holders: BTreeMap<u16, String>,
    refresh: bool,
    first: Option<round1::SecretPackage>,
    second: Option<round2::SecretPackage>,
    packages: BTreeMap<u16, Vec<u8>>,
}

/// What a step changed.
pub(crate) struct Done {
    pub(crate) answer: serde_json::Value,
    /// A key of this holder that is new or has other shares now, and what was done with it.
    pub(crate) key: Option<(KeyFile, &'static str)>,
}

fn said(answer: serde_json::Value) -> Done {
    Done { answer, key: None }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn identifier(number: u16) -> Result<Identifier, String> {
    Identifier::try_from(number).map_err(text)
}

/// What both ends have seen: all first-round packages, and for whom.
fn transcript(running: &Taproot) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(running.key.as_bytes());
    hash.update(running.session);
    for (number, package) in &running.packages {
        hash.update(number.to_be_bytes());
        hash.update((package.len() as u64).to_be_bytes());
        hash.update(package);
    }
    hash.finalize().to_vec()
}

/// Carries out a step.
pub(crate) fn step(
    step: Step,
    running: &mut Option<Running>,
    store: &mut Keystore,
    keys: &[KeyFile],
    config: &Config,
    now_ms: u64,
) -> Result<Done, String> {
    match step {
        Step::Identity => {
            let (_, public) = identity(store)?;
            Ok(said(
                serde_json::json!({"ok": true, "identity": hex::encode(public.serialize())}),
            ))
        }
        Step::Deal {
            key,
            number,
            share,
            package,
        } => {
            new_name(&key, keys)?;
            let share = Zeroizing::new(hex::decode(share).map_err(text)?);
            let share = SecretShare::deserialize(&share).map_err(text)?;
            // Checks the share against what the dealer published of its polynomial.
            let share = KeyPackage::try_from(share).map_err(text)?;
            if *share.identifier() != identifier(number)? {
                return Err(format!("the share is not number {number}'s"));
            }
            let bytes = hex::decode(&package).map_err(text)?;
            let package = PublicKeyPackage::deserialize(&bytes).map_err(text)?;
            keep(store, &key, number, &share, &package, now_ms, "dealt")
        }
        Step::Begin {
            key,
            session,
            threshold,
            holders,
            number,
            refresh,
        } => {
            match (refresh, keys.iter().any(|it| it.name == key)) {
                (false, _) => new_name(&key, keys)?,
                (true, false) => return Err(format!("there is no share of {key:?} to refresh")),
                (true, true) => {}
            }
            let max = u16::try_from(holders.len()).map_err(text)?;
            let own = identifier(number)?;
            let (secret, package) = match refresh {
                false => dkg::part1(own, max, threshold, Kernel),
                true => refresh::refresh_dkg_part1(own, max, threshold, Kernel),
            }
            .map_err(text)?;
            let package = package.serialize().map_err(text)?;
            let answer = serde_json::json!({"ok": true, "package": hex::encode(&package)});
            *running = Some(Running::Taproot(Box::new(Taproot {
                key,
                session,
                number,
                holders,
                refresh,
                first: Some(secret),
                second: None,
                packages: BTreeMap::from([(number, package)]),
            })));
            Ok(said(answer))
        }
        Step::Exchange { session, packages } => {
            let running = current(running, session)?;
            let first = running.first.take().ok_or("this step was made")?;
            let own = running.packages.get(&running.number).map(hex::encode);
            if packages.get(&running.number) != own.as_ref() {
                return Err("the packages have another in the place of this holder's".to_owned());
            }
            let decode = |(number, package): (&u16, &String)| {
                Ok((*number, hex::decode(package).map_err(text)?))
            };
            running.packages = packages.iter().map(decode).collect::<Result<_, String>>()?;
            let others = others(running)?;
            let (second, out) = match running.refresh {
                false => dkg::part2(first, &others),
                true => refresh::refresh_dkg_part2(first, &others),
            }
            .map_err(text)?;
            running.second = Some(second);
            let with = Correspondence::new(store, config, running.number, &running.holders)?;
            let seen = transcript(running);
            let mut sealed = BTreeMap::new();
            for to in with.others() {
                let package = out.get(&identifier(to)?).ok_or("a package is missing")?;
                let package = Zeroizing::new(package.serialize().map_err(text)?);
                sealed.insert(to, with.seal(session, to, &seen, &package)?);
            }
            let sealed: Vec<_> = sealed.into_iter().collect();
            Ok(said(serde_json::json!({"ok": true, "sealed": sealed})))
        }
        Step::Finish { session, sealed } => {
            let running_now = current(running, session)?;
            let second = running_now
                .second
                .take()
                .ok_or("the exchange has not been made")?;
            let with =
                Correspondence::new(store, config, running_now.number, &running_now.holders)?;
            let seen = transcript(running_now);
            let mut packages = BTreeMap::new();
            for (&from, package) in sealed.iter().filter(|it| *it.0 != running_now.number) {
                let opened = with.open(session, from, &seen, package)?;
                let package = round2::Package::deserialize(&opened).map_err(text)?;
                packages.insert(identifier(from)?, package);
            }
            let others = others(running_now)?;
            let (share, package) = match running_now.refresh {
                false => dkg::part3(&second, &others, &packages),
                true => {
                    let file = keys.iter().find(|it| it.name == running_now.key);
                    let Some(Place::Share { package, .. }) = file.map(|it| &it.place) else {
                        return Err(format!("there is no share of {:?}", running_now.key));
                    };
                    let bytes = hex::decode(package).map_err(text)?;
                    let old = secret_name(&running_now.key, generation(&bytes));
                    let old = store
                        .secret(&old)
                        .ok_or("the share is not in the keystore")?;
                    let old = KeyPackage::deserialize(old).map_err(text)?;
                    let package = PublicKeyPackage::deserialize(&bytes).map_err(text)?;
                    refresh::refresh_dkg_shares(&second, &others, &packages, package, old)
                }
            }
            .map_err(text)?;
            let act = if running_now.refresh {
                "refreshed"
            } else {
                "made together"
            };
            let (key, number) = (running_now.key.clone(), running_now.number);
            *running = None;
            keep(store, &key, number, &share, &package, now_ms, act)
        }
        Step::EcdsaBegin {
            key,
            session,
            threshold,
            holders,
            number,
        } => {
            new_name(&key, keys)?;
            let with = Correspondence::new(store, config, number, &holders)?;
            let (making, out) = Making::begin(key, session, threshold, holders, with)?;
            *running = Some(Running::Ecdsa(Box::new(making)));
            let out: Vec<_> = out.into_iter().collect();
            Ok(said(serde_json::json!({"ok": true, "out": out})))
        }
        Step::EcdsaRound { session, inbox } => {
            let Some(Running::Ecdsa(making)) = running.take() else {
                return Err("no such ceremony is running here; begin anew".to_owned());
            };
            match making.round(session, &inbox)? {
                Round::Next(making, out) => {
                    *running = Some(Running::Ecdsa(making));
                    let out: Vec<_> = out.into_iter().collect();
                    Ok(said(serde_json::json!({"ok": true, "out": out})))
                }
                Round::Done(made) => {
                    store
                        .put(&secret_name(&made.key, B256::ZERO), made.share)
                        .map_err(text)?;
                    let public_key = made.public_key;
                    let file = KeyFile {
                        name: made.key,
                        place: Place::EcdsaShare {
                            number: made.number,
                            holders: made.holders,
                        },
                        public_key: public_key.clone(),
                        made_ms: now_ms,
                        retired: false,
                    };
                    Ok(Done {
                        answer: serde_json::json!({"ok": true, "public_key": public_key}),
                        key: Some((file, "made together")),
                    })
                }
            }
        }
        Step::Keep { key, generation } => {
            let own = secret_name(&key, generation);
            store.secret(&own).ok_or_else(|| {
                format!("there is no share of {key:?} of generation {generation}")
            })?;
            for other in store.names(&format!("share/{key}/")) {
                if other != own {
                    store.remove(&other).map_err(text)?;
                }
            }
            let file = keys.iter().find(|it| it.name == key).cloned();
            Ok(Done {
                answer: serde_json::json!({"ok": true}),
                key: file.map(|file| (file, "former shares forgotten")),
            })
        }
    }
}

fn new_name(key: &str, keys: &[KeyFile]) -> Result<(), String> {
    match (is_name(key), keys.iter().any(|it| it.name == key)) {
        (false, _) => Err(format!(
            "{key:?} is no name: up to 32 letters, digits, - _ ."
        )),
        (_, true) => Err(format!("there is a key {key:?} already")),
        _ => Ok(()),
    }
}

fn current(running: &mut Option<Running>, session: B256) -> Result<&mut Taproot, String> {
    match running {
        Some(Running::Taproot(it)) if it.session == session => Ok(it),
        _ => Err("no such ceremony is running here; begin anew".to_owned()),
    }
}

/// First-round packages of the others.
fn others(running: &Taproot) -> Result<BTreeMap<Identifier, round1::Package>, String> {
    let mut others = BTreeMap::new();
    for (number, bytes) in running.packages.iter().filter(|it| *it.0 != running.number) {
        others.insert(
            identifier(*number)?,
            round1::Package::deserialize(bytes).map_err(text)?,
        );
    }
    Ok(others)
}

/// Puts a share into the keystore.
fn keep(
    store: &mut Keystore,
    key: &str,
    number: u16,
    share: &KeyPackage,
    package: &PublicKeyPackage,
    now_ms: u64,
    act: &'static str,
) -> Result<Done, String> {
    let bytes = package.serialize().map_err(text)?;
    let public_key = hex::encode(package.verifying_key().serialize().map_err(text)?);
    let secret = Zeroizing::new(share.serialize().map_err(text)?);
    store
        .put(&secret_name(key, generation(&bytes)), secret)
        .map_err(text)?;
    let file = KeyFile {
        name: key.to_owned(),
        place: Place::Share {
            number,
            package: hex::encode(&bytes),
        },
        public_key: public_key.clone(),
        made_ms: now_ms,
        retired: false,
    };
    Ok(Done {
        answer: serde_json::json!({"ok": true, "public_key": public_key, "package": hex::encode(&bytes)}),
        key: Some((file, act)),
    })
}
