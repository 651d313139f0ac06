//! Fees added after signing: a child on a commitment's anchor, more inputs on a penalty.
//!
//! Where nodes replace transactions (Bitcoin, BIP125) the same is built again with a higher rate. Where they do not (Litecoin's
//! default) the first one should pay enough; more is added by spending its change, which is the fee wallet's own.
//!
//! Whoever does this needs a fee wallet and, for commitments, the party's anchor key: no key that moves funds. The fee
//! wallet's inputs are signed by the wallet; what is built here is left unsigned for it.

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness,
    absolute::LockTime,
    hashes::Hash,
    key::{Keypair, TapTweak},
    secp256k1::Message,
    sighash::{Prevouts, SighashCache},
    transaction::Version,
};

use crate::{
    commitment::Commitment,
    keys::{Party, SECP},
};

/// An output of the fee wallet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FeeInput {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is.
    pub output: TxOut,
    /// Weight of the witness that the wallet will put there, in weight units: 108 for P2WPKH, 66 for a taproot key path.
    pub witness_weight: u64,
}

/// A fee that cannot be paid.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FeeError {
    /// The fee wallet's inputs are too small.
    #[error("{given} of fee inputs do not pay {needed}: add a larger one")]
    TooSmall {
        /// What inputs give.
        given: Amount,
        /// Fee and change need this.
        needed: Amount,
    },
    /// The transaction pays that rate already.
    #[error("{0} sat/kvB is not above what the transaction pays already")]
    NotHigher(u64),
    /// The key is not the party's anchor key.
    #[error("this is not the {0}'s anchor key of this channel")]
    Key(Party),
}

fn fee_at(rate_sat_per_kvb: u64, vbytes: u64) -> Amount {
    Amount::from_sat(rate_sat_per_kvb.saturating_mul(vbytes).div_ceil(1_000))
}

fn input(outpoint: OutPoint) -> TxIn {
    TxIn {
        previous_output: outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    }
}

/// A child that spends a party's anchor and one fee input, so that commitment and child together pay a rate. Unsigned.
#[derive(Clone, Debug)]
pub struct AnchorChild {
    /// The child: input 0 is the anchor, input 1 the fee input, the one output change.
    pub tx: Transaction,
    prevouts: [TxOut; 2],
    party: Party,
    key: bitcoin::secp256k1::PublicKey,
}

impl AnchorChild {
    /// Builds the child for `rate_sat_per_kvb` over both transactions. One with a higher rate and the same fee input replaces it (BIP125).
    ///
    /// # Errors
    /// [`FeeError`].
    pub fn build(
        commitment: &Commitment,
        party: Party,
        fee_input: &FeeInput,
        change: ScriptBuf,
        rate_sat_per_kvb: u64,
    ) -> Result<Self, FeeError> {
        let terms = commitment.terms();
        let (anchor, anchor_output) = commitment.anchor(party);
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input(anchor), input(fee_input.outpoint)],
            output: vec![TxOut {
                value: Amount::ZERO,
                script_pubkey: change,
            }],
        };
        // Both inputs' witnesses (66 weight units for the anchor's) and the segwit marker, none of which is there yet.
        let vbytes = (tx.weight().to_wu() + 66 + fee_input.witness_weight + 2).div_ceil(4);
        let package = fee_at(
            rate_sat_per_kvb,
            vbytes + crate::commitment::COMMITMENT_VBYTES,
        );
        let fee = package
            .checked_sub(commitment.fee())
            .filter(|fee| *fee >= fee_at(crate::terms::FEE_RATE_MIN, vbytes));
        let fee = fee.ok_or(FeeError::NotHigher(rate_sat_per_kvb))?;
        let given = anchor_output.value + fee_input.output.value;
        let dust = terms.chain.dust(&tx.output[0].script_pubkey);
        let value =
            given
                .checked_sub(fee)
                .filter(|left| *left >= dust)
                .ok_or(FeeError::TooSmall {
                    given,
                    needed: fee + dust,
                })?;
        tx.output[0].value = value;
        Ok(Self {
            tx,
            prevouts: [anchor_output, fee_input.output.clone()],
            party,
            key: terms.keys(party).anchor,
        })
    }

    /// Signs the anchor's input, in the wallet-signed or still unsigned child.
    ///
    /// # Errors
    /// [`FeeError::Key`].
    pub fn sign(&self, mut tx: Transaction, anchor: &Keypair) -> Result<Transaction, FeeError> {
        if anchor.public_key() != self.key {
            return Err(FeeError::Key(self.party));
        }
        let sighash = SighashCache::new(&tx)
            .taproot_key_spend_signature_hash(
                0,
                &Prevouts::All(&self.prevouts),
                TapSighashType::Default,
            )
            .expect("both outputs were given");
        let key = anchor.tap_tweak(&SECP, None).to_keypair();
        let signature =
            SECP.sign_schnorr_no_aux_rand(&Message::from_digest(sighash.to_byte_array()), &key);
        tx.input[0].witness = Witness::from_slice(&[signature.as_ref()]);
        Ok(tx)
    }
}

/// Raises the fee of a signed penalty: adds one fee input and change behind it. No input of the result has a witness: the fee
/// wallet signs it first (Litecoin Core 0.21 aborts when it is given a transaction with a taproot witness to sign), then the
/// penalty's own witness, which does not cover what was added, is put back.
///
/// `paid` is the fee the penalty pays so far: its input's value less its output's.
///
/// # Errors
/// [`FeeError`].
pub fn bump_penalty(
    penalty: &Transaction,
    paid: Amount,
    fee_input: &FeeInput,
    change: ScriptBuf,
    dust: Amount,
    rate_sat_per_kvb: u64,
) -> Result<Transaction, FeeError> {
    let mut tx = penalty.clone();
    tx.input.push(input(fee_input.outpoint));
    tx.output.push(TxOut {
        value: Amount::ZERO,
        script_pubkey: change,
    });
    // `weight` counts one byte for the empty witness of the new input already.
    let vbytes = (tx.weight().to_wu() + fee_input.witness_weight).div_ceil(4);
    let fee = fee_at(rate_sat_per_kvb, vbytes)
        .checked_sub(paid)
        .filter(|fee| *fee > Amount::ZERO)
        .ok_or(FeeError::NotHigher(rate_sat_per_kvb))?;
    let given = fee_input.output.value;
    let change = given
        .checked_sub(fee)
        .filter(|left| *left >= dust)
        .ok_or(FeeError::TooSmall {
            given,
            needed: fee + dust,
        })?;
    tx.output.last_mut().expect("change was just added").value = change;
    tx.input[0].witness.clear();
    Ok(tx)
}
