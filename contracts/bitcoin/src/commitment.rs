//! The commitment transaction of one version, as one party holds it; how its outputs are taken, by right and by penalty.
//!
//! Outputs, ordered by amount and then script (BIP69), for holder H and the other party C:
//! - H's balance: internal key `MuSig2(C's penalty key, the version's revocation point)`, leaf `and_v(v:pk(H),older(H's delay))`;
//! - C's balance: no key path (BIP341's point H), leaf `and_v(v:pk(C),older(1))`;
//! - an anchor each.
//!
//! The leaf of C waits one block so that, besides the anchors, nothing can be hung on an unconfirmed commitment.
//! An amount below dust has no output and goes to the fee. The operator's side pays fee and anchors.

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Txid, Witness,
    XOnlyPublicKey,
    absolute::LockTime,
    hashes::{Hash, HashEngine, sha256},
    key::Keypair,
    secp256k1::{Message, PublicKey, SecretKey, schnorr::Signature},
    sighash::{Prevouts, SighashCache},
    transaction::Version,
};
use serde::{Deserialize, Serialize};

use crate::{
    keys::{Party, SECP, x_only},
    musig::{Aggregate, MusigError},
    revocation::VERSION_MAX,
    terms::{FEE_RATE_MIN, Funding, Leaf, Terms, after_blocks},
};

/// Virtual size of a signed commitment with all four outputs, in vbytes; a test compares.
pub const COMMITMENT_VBYTES: u64 = 282;

/// Virtual size of a claim with one output of a taproot script's size, in vbytes, rounded up over both kinds; a test compares.
pub const CLAIM_VBYTES: u64 = 129;

/// Virtual size of a penalty with one output of a taproot script's size, in vbytes; a test compares.
pub const PENALTY_VBYTES: u64 = 112;

/// BIP341's point whose discrete logarithm nobody knows: an internal key that closes the key path.
const NOBODY: &str = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";

/// What one version says. The operator has the rest of the funding, less a commitment's fee and anchors.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct State {
    /// Counts up by one from 0; at most [`VERSION_MAX`].
    pub version: u64,
    /// What the trader has, in the chain's smallest unit.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub trader: Amount,
    /// Fee rate of the commitment, satoshi per 1,000 vbytes. Only has to get it into a mempool: the anchors do the rest.
    pub fee_rate_sat_per_kvb: u64,
}

/// A state that has no commitment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StateError {
    /// The 48-bit version is used up.
    #[error("version {0} is above 2^48 - 1: close the channel")]
    Version(u64),
    /// Nodes would not relay it, or the number is absurd.
    #[error("a fee rate of {0} sat/kvB is outside of 1,000 to 10,000,000")]
    FeeRate(u64),
    /// Fee and anchors are more than the reserve.
    #[error(
        "at this fee rate a commitment needs a reserve of {needed}, the channel's is {reserve}: lower the rate or open a channel with more"
    )]
    Reserve {
        /// What the rate needs.
        needed: Amount,
        /// What the terms have.
        reserve: Amount,
    },
    /// The trader's balance is above funding − reserve.
    #[error(
        "a trader's balance of {trader} is above {most}, the funding less the reserve: splice in first"
    )]
    AboveReserve {
        /// The balance asked for.
        trader: Amount,
        /// The most it can be.
        most: Amount,
    },
}

impl State {
    /// Checks that a commitment of this state can be made and relayed.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn check(&self, terms: &Terms, funding: &Funding) -> Result<(), StateError> {
        if self.version > VERSION_MAX {
            return Err(StateError::Version(self.version));
        }
        if !(FEE_RATE_MIN..=10_000_000).contains(&self.fee_rate_sat_per_kvb) {
            return Err(StateError::FeeRate(self.fee_rate_sat_per_kvb));
        }
        let needed = terms
            .reserve_needed(self.fee_rate_sat_per_kvb)
            .unwrap_or(Amount::MAX);
        if terms.reserve < needed {
            return Err(StateError::Reserve {
                needed,
                reserve: terms.reserve,
            });
        }
        match funding.value.checked_sub(terms.reserve) {
            Some(most) if self.trader <= most => Ok(()),
            most => Err(StateError::AboveReserve {
                trader: self.trader,
                most: most.unwrap_or(Amount::ZERO),
            }),
        }
    }
}

/// A balance in a commitment: whose it is, where, and how it is spent.
#[derive(Clone, Debug)]
pub struct Balance {
    /// Whose.
    pub owner: Party,
    /// Where.
    pub outpoint: OutPoint,
    /// Amount and script.
    pub output: TxOut,
    /// The leaf by which the owner takes it.
    pub leaf: Leaf,
    /// Blocks that the owner waits.
    pub delay_blocks: u16,
}

/// A claim or penalty that cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClaimError {
    /// The commitment has no such output: the amount was below dust.
    #[error("the {0}'s balance in this commitment is below dust and has no output")]
    NoOutput(Party),
    /// After the fee nothing worth relaying is left.
    #[error("{value} less a fee of {fee} leaves less than dust: wait for lower fees")]
    Dust {
        /// What the output holds.
        value: Amount,
        /// The fee asked for.
        fee: Amount,
    },
    /// Another key than the terms'.
    #[error("this is not the {0}'s key of this channel")]
    Key(Party),
    /// A secret that does not belong to the commitment's revocation point.
    #[error("this is not the revocation secret of that commitment's version")]
    Secret,
    /// Signing failed.
    #[error(transparent)]
    Musig(#[from] MusigError),
}

impl Balance {
    /// The balance output of the commitment's holder.
    fn of_holder(terms: &Terms, holder: Party, point: &PublicKey) -> Leaf {
        let script = after_blocks(&terms.keys(holder).payout, terms.delay_blocks(holder));
        Leaf::new(
            revocation_aggregate(terms, holder, point).internal_key(),
            script,
        )
    }

    /// The balance output of the other party.
    fn of_other(terms: &Terms, holder: Party) -> Leaf {
        let nobody: XOnlyPublicKey = NOBODY.parse().expect("BIP341's point is a point");
        Leaf::new(nobody, after_blocks(&terms.keys(holder.other()).payout, 1))
    }

    /// Finds the output that the holder of `tx` gave up with the secret of `point`, in whatever commitment of that version was published.
    pub fn revocable(
        terms: &Terms,
        holder: Party,
        point: &PublicKey,
        tx: &Transaction,
    ) -> Option<Self> {
        Self::find(
            holder,
            Self::of_holder(terms, holder, point),
            terms.delay_blocks(holder),
            tx,
        )
    }

    /// Finds the output of the party that did not publish `tx`.
    pub(crate) fn plain(terms: &Terms, owner: Party, tx: &Transaction) -> Option<Self> {
        Self::find(owner, Self::of_other(terms, owner.other()), 1, tx)
    }

    fn find(owner: Party, leaf: Leaf, delay_blocks: u16, tx: &Transaction) -> Option<Self> {
        let script = leaf.output();
        let place = tx
            .output
            .iter()
            .position(|output| output.script_pubkey == script)?;
        let outpoint = OutPoint {
            txid: tx.compute_txid(),
            vout: u32::try_from(place).ok()?,
        };
        Some(Self {
            owner,
            outpoint,
            output: tx.output[place].clone(),
            leaf,
            delay_blocks,
        })
    }

    fn spend(
        &self,
        terms: &Terms,
        sequence: Sequence,
        to: ScriptBuf,
        fee: Amount,
    ) -> Result<Transaction, ClaimError> {
        let value = self.output.value;
        let left = value
            .checked_sub(fee)
            .filter(|left| *left >= terms.chain.dust(&to))
            .ok_or(ClaimError::Dust { value, fee })?;
        Ok(Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: self.outpoint,
                script_sig: ScriptBuf::new(),
                sequence,
                witness: Witness::new(),
            }],
            output: vec![TxOut {
                value: left,
                script_pubkey: to,
            }],
        })
    }

    /// The owner takes its balance, once the commitment is `delay_blocks` deep: before that nodes answer `non-BIP68-final`.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim(
        &self,
        terms: &Terms,
        payout: &Keypair,
        to: ScriptBuf,
        fee: Amount,
    ) -> Result<Transaction, ClaimError> {
        if payout.public_key() != terms.keys(self.owner).payout {
            return Err(ClaimError::Key(self.owner));
        }
        let mut tx = self.spend(terms, Sequence::from_height(self.delay_blocks), to, fee)?;
        let sighash = SighashCache::new(&tx)
            .taproot_script_spend_signature_hash(
                0,
                &Prevouts::All(&[&self.output]),
                self.leaf.hash(),
                TapSighashType::Default,
            )
            .expect("one input and its output were given");
        let signature =
            SECP.sign_schnorr_no_aux_rand(&Message::from_digest(sighash.to_byte_array()), payout);
        tx.input[0].witness = Witness::from_slice(&[
            signature.as_ref(),
            self.leaf.script.as_bytes(),
            &self.leaf.control_block().serialize(),
        ]);
        Ok(tx)
    }

    /// The other party takes the holder's balance of a revoked commitment, at once, by the key path.
    ///
    /// Signed `SINGLE | ANYONECANPAY`: input 0 and output 0 stand; whoever has the transaction can add inputs of its own
    /// for a higher fee (and change behind), and nothing else. That is what a tower holds: it can bump and not redirect.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn penalty(
        &self,
        terms: &Terms,
        penalty: &Keypair,
        secret: &SecretKey,
        to: ScriptBuf,
        fee: Amount,
    ) -> Result<Transaction, ClaimError> {
        let punisher = self.owner.other();
        if penalty.public_key() != terms.keys(punisher).penalty {
            return Err(ClaimError::Key(punisher));
        }
        let revealed = Keypair::from_secret_key(&SECP, secret);
        let aggregate = revocation_aggregate(terms, self.owner, &revealed.public_key());
        if aggregate.internal_key() != self.leaf.info().internal_key() {
            return Err(ClaimError::Secret);
        }
        let mut tx = self.spend(terms, Sequence::ENABLE_RBF_NO_LOCKTIME, to, fee)?;
        let kind = TapSighashType::SinglePlusAnyoneCanPay;
        let sighash = SighashCache::new(&tx)
            .taproot_key_spend_signature_hash(0, &Prevouts::One(0, &self.output), kind)
            .expect("one input and its output were given");
        let aggregate = aggregate.tweaked(self.leaf.info().merkle_root());
        let signature = aggregate.sign_alone([penalty, &revealed], &sighash.to_byte_array())?;
        tx.input[0].witness = Witness::p2tr_key_spend(&bitcoin::taproot::Signature {
            signature,
            sighash_type: kind,
        });
        Ok(tx)
    }
}

/// Both keys that together take a revoked balance: the other party's penalty key and the version's revocation key.
fn revocation_aggregate(terms: &Terms, holder: Party, point: &PublicKey) -> Aggregate {
    Aggregate::of(terms.keys(holder.other()).penalty, *point)
}

/// The commitment transaction of one version, as one party holds it.
#[derive(Clone, Debug)]
pub struct Commitment {
    /// Who can publish it.
    pub holder: Party,
    /// What it says.
    pub state: State,
    /// The output it spends.
    pub funding: Funding,
    /// The holder's revocation point of this version.
    pub point: PublicKey,
    tx: Transaction,
    terms: Terms,
    /// The funding output's leaf and what is signed by it: used at every step, and a point multiplication each to make again.
    leaf: Leaf,
    sighash: [u8; 32],
}

/// A commitment that cannot be published.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignatureError {
    /// Wrong signature.
    #[error(
        "the {0}'s signature is not of this commitment: check that both build version, balance, fee rate and funding alike"
    )]
    Invalid(Party),
}

impl Commitment {
    /// Builds the commitment of a state.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn build(
        terms: &Terms,
        funding: &Funding,
        state: &State,
        holder: Party,
        point: &PublicKey,
    ) -> Result<Self, StateError> {
        state.check(terms, funding)?;
        let fee = terms
            .commitment_fee(state.fee_rate_sat_per_kvb)
            .expect("the state's check bounds the rate");
        let anchor = terms.anchor_value();
        // Cannot wrap: `check` made sure that the reserve holds fee, anchors and dust, and the trader has at most the rest.
        let operator = funding.value - state.trader - fee - anchor - anchor;
        let (of_holder, of_other) = match holder {
            Party::Trader => (state.trader, operator),
            Party::Operator => (operator, state.trader),
        };
        let mut output: Vec<_> = [
            (of_holder, Balance::of_holder(terms, holder, point).output()),
            (of_other, Balance::of_other(terms, holder).output()),
            (anchor, terms.anchor_script(Party::Trader)),
            (anchor, terms.anchor_script(Party::Operator)),
        ]
        .into_iter()
        .filter(|(value, script)| *value >= terms.chain.dust(script))
        .map(|(value, script_pubkey)| TxOut {
            value,
            script_pubkey,
        })
        .collect();
        sort_outputs(&mut output);
        let hidden = state.version ^ version_mask(terms);
        let tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::from_consensus(0x2000_0000 | low_24(hidden)),
            input: vec![TxIn {
                previous_output: funding.outpoint,
                script_sig: ScriptBuf::new(),
                sequence: Sequence(0x8000_0000 | low_24(hidden >> 24)),
                witness: Witness::new(),
            }],
            output,
        };
        let leaf = terms.funding();
        let spent = TxOut {
            value: funding.value,
            script_pubkey: leaf.output(),
        };
        let sighash = SighashCache::new(&tx)
            .taproot_script_spend_signature_hash(
                0,
                &Prevouts::All(&[spent]),
                leaf.hash(),
                TapSighashType::Default,
            )
            .expect("one input and its output were given")
            .to_byte_array();
        Ok(Self {
            holder,
            state: *state,
            funding: *funding,
            point: *point,
            tx,
            terms: terms.clone(),
            leaf,
            sighash,
        })
    }

    /// The version that a transaction spending the funding output claims to be: `None` when it is no commitment.
    ///
    /// Lock time and sequence have 24 bits of it each, hidden by a mask that the terms give.
    pub fn version_of(terms: &Terms, tx: &Transaction) -> Option<u64> {
        let [input] = tx.input.as_slice() else {
            return None;
        };
        let (lock, sequence) = (tx.lock_time.to_consensus_u32(), input.sequence.0);
        if lock >> 24 != 0x20 || sequence >> 24 != 0x80 {
            return None;
        }
        Some(
            (u64::from(sequence & 0xff_ffff) << 24 | u64::from(lock & 0xff_ffff))
                ^ version_mask(terms),
        )
    }

    /// The transaction, without its witness.
    pub const fn unsigned(&self) -> &Transaction {
        &self.tx
    }

    /// Its id, the same before and after signing.
    pub fn txid(&self) -> Txid {
        self.tx.compute_txid()
    }

    /// The terms it was built under.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What it pays to miners.
    pub fn fee(&self) -> Amount {
        self.funding.value
            - self
                .tx
                .output
                .iter()
                .map(|output| output.value)
                .sum::<Amount>()
    }

    /// What both parties sign: BIP341, by the funding output's leaf, `SIGHASH_DEFAULT`.
    pub const fn sighash(&self) -> [u8; 32] {
        self.sighash
    }

    /// Signs with a funding key. Who may sign what, and when, is [`crate::channel::Channel`]'s to say.
    pub(crate) fn sign(&self, funding: &Keypair) -> Signature {
        SECP.sign_schnorr_no_aux_rand(&Message::from_digest(self.sighash()), funding)
    }

    /// Checks a party's signature.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`].
    pub fn verify(&self, party: Party, signature: &Signature) -> Result<(), SignatureError> {
        let key = x_only(&self.terms.keys(party).funding);
        SECP.verify_schnorr(signature, &Message::from_digest(self.sighash()), &key)
            .map_err(|_| SignatureError::Invalid(party))
    }

    /// The transaction with both signatures, ready to be published.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`].
    pub fn complete(
        &self,
        trader: &Signature,
        operator: &Signature,
    ) -> Result<Transaction, SignatureError> {
        self.verify(Party::Trader, trader)?;
        self.verify(Party::Operator, operator)?;
        let leaf = &self.leaf;
        let mut tx = self.tx.clone();
        // The leaf checks the trader's signature first: it lies on top of the operator's.
        tx.input[0].witness = Witness::from_slice(&[
            operator.as_ref(),
            trader.as_ref(),
            leaf.script.as_bytes(),
            &leaf.control_block().serialize(),
        ]);
        Ok(tx)
    }

    /// A party's balance in it.
    ///
    /// # Errors
    /// [`ClaimError::NoOutput`].
    pub fn balance(&self, party: Party) -> Result<Balance, ClaimError> {
        let (leaf, delay) = if party == self.holder {
            (
                Balance::of_holder(&self.terms, party, &self.point),
                self.terms.delay_blocks(party),
            )
        } else {
            (Balance::of_other(&self.terms, self.holder), 1)
        };
        Balance::find(party, leaf, delay, &self.tx).ok_or(ClaimError::NoOutput(party))
    }

    /// Where a party's anchor is.
    pub fn anchor(&self, party: Party) -> (OutPoint, TxOut) {
        let script = self.terms.anchor_script(party);
        let place = self
            .tx
            .output
            .iter()
            .position(|output| output.script_pubkey == script)
            .expect("a commitment has both anchors");
        (
            OutPoint {
                txid: self.txid(),
                vout: place as u32,
            },
            self.tx.output[place].clone(),
        )
    }
}

/// BIP69: by amount, then by script.
pub(crate) fn sort_outputs(outputs: &mut [TxOut]) {
    outputs.sort_by(|a, b| {
        a.value
            .cmp(&b.value)
            .then_with(|| a.script_pubkey.as_bytes().cmp(b.script_pubkey.as_bytes()))
    });
}

/// Hides versions on the chain from those who do not know the channel: 48 bits of a hash over both payout keys.
fn version_mask(terms: &Terms) -> u64 {
    let mut engine = sha256::Hash::engine();
    engine.input(&terms.trader.payout.serialize());
    engine.input(&terms.operator.payout.serialize());
    let bytes = sha256::Hash::from_engine(engine).to_byte_array();
    bytes[..6]
        .iter()
        .fold(0, |mask, byte| mask << 8 | u64::from(*byte))
}

const fn low_24(value: u64) -> u32 {
    (value & 0xff_ffff) as u32
}
