//! A holder's side of making a key for threshold ECDSA together (DKLs23): four rounds, and a fifth in which the holders tell each other what they have seen.
//!
//! The protocol wants a broadcast in two places, and a coordinator relays: so each holder seals a hash of all that was broadcast to each other, and keeps its share only if all agree.

use crate::sealed::{Correspondence, Packages};
use alloy_primitives::{B256, hex};
use dkls23::DkgSession;
use dkls23::protocols::dkg::{
    BroadcastDerivationPhase2to4, BroadcastDerivationPhase3to4, ProofCommitment,
    TransmitInitMulPhase3to4, TransmitInitZeroSharePhase2to4, TransmitInitZeroSharePhase3to4,
};
use dkls23::protocols::{Abort, Parameters, PartyIndex};
use dkls23::utilities::hashes::point_to_bytes;
use k256::{Scalar, Secp256k1};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A ceremony in the middle.
pub(crate) struct Making {
    key: String,
    session: B256,
    holders: BTreeMap<u16, String>,
    with: Correspondence,
    dkg: DkgSession<Secp256k1>,
    stage: Stage,
}

enum Stage {
    /// Own fragment.
    Fragments(Scalar),
    /// Commitments, own among them, with the own proof.
    Commitments(ProofCommitment<Secp256k1>, BroadcastDerivationPhase2to4),
    /// What the third phase needs of the others' second, and own of the third.
    Proofs(Box<Second>, BroadcastDerivationPhase3to4),
    /// The share waits until all have seen the same.
    Confirmations(Made, [u8; 32]),
}

/// What was kept of the second round.
struct Second {
    own_proof: ProofCommitment<Secp256k1>,
    commitments: BTreeMap<u16, [u8; 32]>,
    zero: Vec<TransmitInitZeroSharePhase2to4>,
    chain: BTreeMap<PartyIndex, BroadcastDerivationPhase2to4>,
}

/// Second round: a commitment to a proof that comes with the third.
#[derive(Deserialize, Serialize)]
struct Committed {
    commitment: [u8; 32],
    zero: TransmitInitZeroSharePhase2to4,
    chain: BroadcastDerivationPhase2to4,
}

/// Third round.
#[derive(Deserialize, Serialize)]
struct Proved {
    proof: ProofCommitment<Secp256k1>,
    zero: TransmitInitZeroSharePhase3to4,
    product: TransmitInitMulPhase3to4<Secp256k1>,
    chain: BroadcastDerivationPhase3to4,
}

/// A share that all agree on.
pub(crate) struct Made {
    pub(crate) key: String,
    pub(crate) number: u16,
    pub(crate) holders: BTreeMap<u16, String>,
    pub(crate) public_key: String,
    pub(crate) share: Zeroizing<Vec<u8>>,
}

/// What follows a round.
pub(crate) enum Round {
    Next(Box<Making>, Packages),
    Done(Made),
}

pub(crate) fn party(number: u16) -> Result<PartyIndex, String> {
    let number = u8::try_from(number).map_err(|error| error.to_string())?;
    PartyIndex::new(number).map_err(|_| "holders' numbers are from 1".to_owned())
}

pub(crate) fn aborted(abort: Abort) -> String {
    format!("the protocol ended: {}", abort.description())
}

/// Takes the one of each receiver's out of a list.
fn for_each<T>(all: Vec<T>, receiver: impl Fn(&T) -> PartyIndex) -> BTreeMap<u16, T> {
    let numbered = |it: T| (u16::from(receiver(&it).as_u8()), it);
    all.into_iter().map(numbered).collect()
}

const MISSING: &str = "a package is missing";

impl Making {
    pub(crate) fn begin(
        key: String,
        session: B256,
        threshold: u16,
        holders: BTreeMap<u16, String>,
        with: Correspondence,
    ) -> Result<(Making, Packages), String> {
        let small = |number: usize| u8::try_from(number).map_err(|error| error.to_string());
        let parameters = Parameters::new(small(threshold.into())?, small(holders.len())?);
        let parameters =
            parameters.map_err(|_| "a threshold is from 2 to the number of holders")?;
        let dkg = DkgSession::new(parameters, party(with.number)?, session.to_vec());
        let fragments = dkg.phase1();
        let of = |number: u16| fragments.get(usize::from(number) - 1).ok_or(MISSING);
        let mut out = Packages::new();
        for to in with.others() {
            out.insert(to, with.seal_value(session, to, 1, of(to)?)?);
        }
        let own = *of(with.number)?;
        let making = Making {
            key,
            session,
            holders,
            with,
            dkg,
            stage: Stage::Fragments(own),
        };
        Ok((making, out))
    }

    /// One more round. The former stage is gone whatever comes: a ceremony that failed begins anew.
    pub(crate) fn round(
        mut self: Box<Making>,
        session: B256,
        inbox: &Packages,
    ) -> Result<Round, String> {
        if session != self.session {
            return Err("no such ceremony is running here; begin anew".to_owned());
        }
        let mut out = Packages::new();
        let others: Vec<u16> = self.with.others().collect();
        let from = || others.iter().copied();
        let own = self.with.number;
        self.stage = match self.stage {
            Stage::Fragments(fragment) => {
                let mut fragments: BTreeMap<u16, Scalar> =
                    self.with.open_values(session, from(), 1, inbox)?;
                fragments.insert(own, fragment);
                let fragments: Vec<_> = fragments.into_values().collect();
                let (proof, zero, chain) = self.dkg.phase2(&fragments).map_err(aborted)?;
                let mut zero = for_each(zero, |it| it.parties.receiver);
                for &to in &others {
                    let committed = Committed {
                        commitment: proof.commitment,
                        zero: zero.remove(&to).ok_or(MISSING)?,
                        chain: chain.clone(),
                    };
                    out.insert(to, self.with.seal_value(session, to, 2, &committed)?);
                }
                Stage::Commitments(proof, chain)
            }
            Stage::Commitments(own_proof, own_chain) => {
                let committed: BTreeMap<u16, Committed> =
                    self.with.open_values(session, from(), 2, inbox)?;
                let mut second = Second {
                    commitments: BTreeMap::from([(own, own_proof.commitment)]),
                    chain: BTreeMap::from([(party(own)?, own_chain)]),
                    zero: Vec::new(),
                    own_proof: own_proof.clone(),
                };
                for (from, it) in committed {
                    let sender = party(from)?;
                    if it.zero.parties.sender != sender || it.chain.sender_index != sender {
                        return Err(format!("holder {from} speaks for another"));
                    }
                    second.commitments.insert(from, it.commitment);
                    second.chain.insert(sender, it.chain);
                    second.zero.push(it.zero);
                }
                let (zero, product, chain) = self.dkg.phase3().map_err(aborted)?;
                let mut zero = for_each(zero, |it| it.parties.receiver);
                let mut product = for_each(product, |it| it.parties.receiver);
                for &to in &others {
                    let proved = Proved {
                        proof: own_proof.clone(),
                        zero: zero.remove(&to).ok_or(MISSING)?,
                        product: product.remove(&to).ok_or(MISSING)?,
                        chain: chain.clone(),
                    };
                    out.insert(to, self.with.seal_value(session, to, 3, &proved)?);
                }
                Stage::Proofs(Box::new(second), chain)
            }
            Stage::Proofs(second, own_chain) => {
                let proved: BTreeMap<u16, Proved> =
                    self.with.open_values(session, from(), 3, inbox)?;
                let Second {
                    own_proof,
                    commitments,
                    zero: zero2,
                    chain: chain2,
                } = *second;
                let mut proofs = BTreeMap::from([(own, own_proof)]);
                let mut chain3 = BTreeMap::from([(party(own)?, own_chain)]);
                let (mut zero3, mut products) = (Vec::new(), Vec::new());
                for (from, it) in proved {
                    let sender = party(from)?;
                    let speaks = [
                        it.zero.parties.sender,
                        it.product.parties.sender,
                        it.chain.sender_index,
                        it.proof.index,
                    ];
                    if speaks.iter().any(|it| *it != sender) {
                        return Err(format!("holder {from} speaks for another"));
                    }
                    if commitments.get(&from) != Some(&it.proof.commitment) {
                        return Err(format!(
                            "holder {from} proves another thing than it committed to"
                        ));
                    }
                    proofs.insert(from, it.proof);
                    chain3.insert(sender, it.chain);
                    zero3.push(it.zero);
                    products.push(it.product);
                }
                let seen = seen(&proofs, &chain2, &chain3)?;
                let proofs: Vec<_> = proofs.into_values().collect();
                // The session is used up; another one of its kind takes its place and is never asked.
                let spent = DkgSession::new(
                    Parameters::new(2, 2).map_err(|_| MISSING)?,
                    party(1)?,
                    Vec::new(),
                );
                let dkg = std::mem::replace(&mut self.dkg, spent);
                let (share, _) = dkg
                    .phase4(&proofs, &zero2, &zero3, &products, &chain2, &chain3, |_| {
                        String::new()
                    })
                    .map_err(aborted)?;
                for &to in &others {
                    out.insert(to, self.with.seal_value(session, to, 4, &seen)?);
                }
                let made = Made {
                    key: self.key.clone(),
                    number: own,
                    holders: self.holders.clone(),
                    public_key: hex::encode(point_to_bytes::<Secp256k1>(&share.pk)),
                    share: Zeroizing::new(
                        serde_json::to_vec(&share).map_err(|error| error.to_string())?,
                    ),
                };
                Stage::Confirmations(made, seen)
            }
            Stage::Confirmations(made, seen) => {
                let theirs: BTreeMap<u16, [u8; 32]> =
                    self.with.open_values(session, from(), 4, inbox)?;
                return match theirs.into_iter().find(|it| it.1 != seen) {
                    Some((from, _)) => Err(format!(
                        "holder {from} was told other things: hold the ceremony anew, and look at who relays"
                    )),
                    None => Ok(Round::Done(made)),
                };
            }
        };
        Ok(Round::Next(self, out))
    }
}

/// Hash of all that was broadcast.
fn seen(
    proofs: &BTreeMap<u16, ProofCommitment<Secp256k1>>,
    second: &BTreeMap<PartyIndex, BroadcastDerivationPhase2to4>,
    third: &BTreeMap<PartyIndex, BroadcastDerivationPhase3to4>,
) -> Result<[u8; 32], String> {
    let second: Vec<_> = second.values().collect();
    let third: Vec<_> = third.values().collect();
    let all = serde_json::to_vec(&(proofs, second, third)).map_err(|error| error.to_string())?;
    Ok(Sha256::digest(all).into())
}
