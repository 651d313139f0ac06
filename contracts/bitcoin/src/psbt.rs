//! Both parties' transactions as PSBTs (BIP174, BIP371), with MuSig2's fields (BIP373) for cooperative ones.
//!
//! A party never signs what a PSBT says: it builds the transaction itself from what was agreed, and an imported PSBT
//! must be of that very transaction. What is taken from it are nonces and signatures, each checked.

use bitcoin::{
    Psbt, TapSighashType, Transaction, Witness,
    psbt::raw,
    secp256k1::{PublicKey, schnorr::Signature},
    taproot::LeafVersion,
};

use crate::{
    commitment::{Commitment, SignatureError},
    cooperative::Cooperative,
    keys::{Party, x_only},
    musig::{Aggregate, MusigError, NonceBytes, PartialBytes},
    terms::Leaf,
};

/// `PSBT_IN_MUSIG2_PARTICIPANT_PUBKEYS`, BIP373.
const PARTICIPANTS: u8 = 0x1a;
/// `PSBT_IN_MUSIG2_PUB_NONCE`.
const PUB_NONCE: u8 = 0x1b;
/// `PSBT_IN_MUSIG2_PARTIAL_SIG`.
const PARTIAL_SIG: u8 = 0x1c;

/// A PSBT that is not what was agreed on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PsbtError {
    /// No PSBT.
    #[error("this is no PSBT in base64: {0}")]
    Malformed(String),
    /// Of another transaction.
    #[error("the PSBT is of another transaction than the one agreed on: do not sign it")]
    OtherTransaction,
    /// Says something else about an output it spends, and with it about amounts and fee.
    #[error("input {0} of the PSBT spends another output than the one agreed on: do not sign it")]
    OtherOutput(usize),
    /// A field with the wrong length.
    #[error("a MuSig2 field of {0} has the wrong length")]
    Length(PublicKey),
    /// A party has not put in what is needed yet.
    #[error("the {0}'s {1} is not in the PSBT yet")]
    Missing(Party, &'static str),
    /// Another input is not signed.
    #[error("input {0} has no witness yet: its wallet must finalise it")]
    Unsigned(usize),
    /// See there.
    #[error(transparent)]
    Musig(#[from] MusigError),
    /// See there.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

fn parse(base64: &str) -> Result<Psbt, PsbtError> {
    base64
        .trim()
        .parse()
        .map_err(|error: bitcoin::psbt::PsbtParseError| PsbtError::Malformed(error.to_string()))
}

/// Fills an input's taproot fields from its one leaf.
fn describe(input: &mut bitcoin::psbt::Input, leaf: &Leaf) {
    input.tap_internal_key = Some(leaf.info().internal_key());
    input.tap_merkle_root = leaf.info().merkle_root();
    input.tap_scripts.insert(
        leaf.control_block(),
        (leaf.script.clone(), LeafVersion::TapScript),
    );
}

/// The key of a BIP373 field: participant, then the output key.
fn field(kind: u8, participant: &PublicKey, aggregate: &Aggregate) -> raw::Key {
    raw::Key {
        type_value: kind,
        key: [
            participant.serialize(),
            aggregate.output_point().serialize(),
        ]
        .concat(),
    }
}

fn read<const N: usize>(
    input: &bitcoin::psbt::Input,
    kind: u8,
    participant: &PublicKey,
    aggregate: &Aggregate,
) -> Result<Option<[u8; N]>, PsbtError> {
    let value = input.unknown.get(&field(kind, participant, aggregate));
    value
        .map(|value| {
            value
                .as_slice()
                .try_into()
                .map_err(|_| PsbtError::Length(*participant))
        })
        .transpose()
}

/// A close or splice on its way between the parties.
#[derive(Clone, Debug)]
pub struct CooperativePsbt {
    cooperative: Cooperative,
    psbt: Psbt,
}

impl CooperativePsbt {
    /// The PSBT of a transaction this party has built.
    pub fn new(cooperative: Cooperative) -> Self {
        let mut psbt = Psbt::from_unsigned_tx(cooperative.unsigned().clone())
            .expect("the transaction has no witness");
        for (input, output) in psbt.inputs.iter_mut().zip(cooperative.prevouts()) {
            input.witness_utxo = Some(output.clone());
        }
        let aggregate = cooperative.aggregate();
        let input = &mut psbt.inputs[cooperative.place()];
        describe(input, &cooperative.terms().funding());
        let participants: Vec<u8> = aggregate
            .keys()
            .iter()
            .flat_map(PublicKey::serialize)
            .collect();
        input.unknown.insert(
            raw::Key {
                type_value: PARTICIPANTS,
                key: aggregate.plain().serialize().to_vec(),
            },
            participants,
        );
        Self { cooperative, psbt }
    }

    /// Reads the other party's PSBT of the same transaction.
    ///
    /// # Errors
    /// [`PsbtError`], when it is of another one.
    pub fn import(cooperative: Cooperative, base64: &str) -> Result<Self, PsbtError> {
        let psbt = parse(base64)?;
        if psbt.unsigned_tx != *cooperative.unsigned() {
            return Err(PsbtError::OtherTransaction);
        }
        for (place, (input, output)) in psbt.inputs.iter().zip(cooperative.prevouts()).enumerate() {
            if input.witness_utxo.as_ref() != Some(output) {
                return Err(PsbtError::OtherOutput(place));
            }
        }
        Ok(Self { cooperative, psbt })
    }

    /// The PSBT in base64.
    pub fn export(&self) -> String {
        self.psbt.to_string()
    }

    /// The transaction.
    pub const fn cooperative(&self) -> &Cooperative {
        &self.cooperative
    }

    fn key(&self, party: Party) -> PublicKey {
        self.cooperative.terms().keys(party).funding
    }

    fn write(&mut self, kind: u8, party: Party, value: &[u8]) {
        let key = field(kind, &self.key(party), &self.cooperative.aggregate());
        self.psbt.inputs[self.cooperative.place()]
            .unknown
            .insert(key, value.to_vec());
    }

    /// Writes a party's public nonce.
    pub fn set_nonce(&mut self, party: Party, nonce: &NonceBytes) {
        self.write(PUB_NONCE, party, nonce);
    }

    /// Writes a party's partial signature.
    pub fn set_partial(&mut self, party: Party, partial: &PartialBytes) {
        self.write(PARTIAL_SIG, party, partial);
    }

    /// A party's public nonce.
    ///
    /// # Errors
    /// [`PsbtError::Missing`], [`PsbtError::Length`].
    pub fn nonce(&self, party: Party) -> Result<NonceBytes, PsbtError> {
        let input = &self.psbt.inputs[self.cooperative.place()];
        read(
            input,
            PUB_NONCE,
            &self.key(party),
            &self.cooperative.aggregate(),
        )?
        .ok_or(PsbtError::Missing(party, "nonce"))
    }

    /// A party's partial signature.
    ///
    /// # Errors
    /// [`PsbtError::Missing`], [`PsbtError::Length`].
    pub fn partial(&self, party: Party) -> Result<PartialBytes, PsbtError> {
        let input = &self.psbt.inputs[self.cooperative.place()];
        read(
            input,
            PARTIAL_SIG,
            &self.key(party),
            &self.cooperative.aggregate(),
        )?
        .ok_or(PsbtError::Missing(party, "partial signature"))
    }

    /// Takes a wallet's witness for another input, as the wallet's own signing of the transaction gave it.
    pub fn set_witness(&mut self, place: usize, witness: Witness) {
        self.psbt.inputs[place].final_script_witness = Some(witness);
    }

    /// The transaction with every witness, once nonces, partial signatures and other inputs' witnesses are in.
    ///
    /// # Errors
    /// [`PsbtError`], which says whose what is missing or wrong.
    pub fn finish(&mut self) -> Result<Transaction, PsbtError> {
        let shares = [
            (self.nonce(Party::Trader)?, self.partial(Party::Trader)?),
            (self.nonce(Party::Operator)?, self.partial(Party::Operator)?),
        ];
        let signature = self.cooperative.combine(shares)?;
        let place = self.cooperative.place();
        self.psbt.inputs[place].tap_key_sig = Some(bitcoin::taproot::Signature {
            signature,
            sighash_type: TapSighashType::Default,
        });
        let mut tx = self.cooperative.complete(&signature);
        for (other, input) in self
            .psbt
            .inputs
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != place)
        {
            tx.input[other].witness = input
                .final_script_witness
                .clone()
                .ok_or(PsbtError::Unsigned(other))?;
        }
        Ok(tx)
    }
}

/// A commitment as a PSBT, with the signatures there are.
pub fn commitment(commitment: &Commitment, signatures: &[(Party, Signature)]) -> Psbt {
    let mut psbt = Psbt::from_unsigned_tx(commitment.unsigned().clone())
        .expect("the transaction has no witness");
    let leaf = commitment.terms().funding();
    let input = &mut psbt.inputs[0];
    input.witness_utxo = Some(commitment.funding.output(commitment.terms()));
    describe(input, &leaf);
    for (party, signature) in signatures {
        let key = x_only(&commitment.terms().keys(*party).funding);
        let signature = bitcoin::taproot::Signature {
            signature: *signature,
            sighash_type: TapSighashType::Default,
        };
        input.tap_script_sigs.insert((key, leaf.hash()), signature);
    }
    psbt
}

/// The party's signature of a commitment in the other party's PSBT of it.
///
/// # Errors
/// [`PsbtError`], when it is missing, wrong, or the PSBT is of another transaction.
pub fn commitment_signature(
    commitment: &Commitment,
    party: Party,
    base64: &str,
) -> Result<Signature, PsbtError> {
    let psbt = parse(base64)?;
    if psbt.unsigned_tx != *commitment.unsigned() {
        return Err(PsbtError::OtherTransaction);
    }
    if psbt.inputs[0].witness_utxo != Some(commitment.funding.output(commitment.terms())) {
        return Err(PsbtError::OtherOutput(0));
    }
    let key = (
        x_only(&commitment.terms().keys(party).funding),
        commitment.terms().funding().hash(),
    );
    let signature = psbt.inputs[0]
        .tap_script_sigs
        .get(&key)
        .ok_or(PsbtError::Missing(party, "signature"))?
        .signature;
    commitment.verify(party, &signature)?;
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use bitcoin::{
        hashes::Hash,
        sighash::{Prevouts, SighashCache},
    };

    use super::*;

    /// Adds up what another program's PSBT of one MuSig2 key-path input holds.
    fn combine_any(base64: &str, place: usize) -> Result<Signature, PsbtError> {
        let psbt = parse(base64)?;
        let input = psbt
            .inputs
            .get(place)
            .ok_or(PsbtError::OtherOutput(place))?;
        let mut prevouts = Vec::with_capacity(psbt.inputs.len());
        for (place, input) in psbt.inputs.iter().enumerate() {
            prevouts.push(
                input
                    .witness_utxo
                    .clone()
                    .ok_or(PsbtError::OtherOutput(place))?,
            );
        }
        let participants = input
            .unknown
            .iter()
            .find(|(key, _)| key.type_value == PARTICIPANTS)
            .map(|(_, value)| value)
            .ok_or(PsbtError::OtherOutput(place))?;
        let keys = participants
            .chunks(33)
            .map(PublicKey::from_slice)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| PsbtError::Malformed(error.to_string()))?;
        let aggregate = Aggregate::in_order(&keys).tweaked(input.tap_merkle_root);
        let mut shares = Vec::with_capacity(keys.len());
        for key in keys {
            let nonce =
                read(input, PUB_NONCE, &key, &aggregate)?.ok_or(MusigError::Missing(key))?;
            let partial =
                read(input, PARTIAL_SIG, &key, &aggregate)?.ok_or(MusigError::Missing(key))?;
            shares.push((key, nonce, partial));
        }
        let sighash = SighashCache::new(&psbt.unsigned_tx)
            .taproot_key_spend_signature_hash(
                place,
                &Prevouts::All(&prevouts),
                TapSighashType::Default,
            )
            .map_err(|error| PsbtError::Malformed(error.to_string()))?;
        Ok(aggregate.combine(&sighash.to_byte_array(), &shares)?)
    }

    /// BIP373's case "the internal key is a MuSig2 aggregate, with all partial signatures": our sum is the signature in the file.
    const BIP373: &str = "cHNidP8BAFICAAAAAVgYqc1kSzacMGx/sZHsAU/2JeY8KD8A+dF6lZ/vo+j2AAAAAAD9////ARjd9QUAAAAAFgAUyRI+BujX8JZsXRzQ+TMALU63V80AAAAAAAEBKwDh9QUAAAAAIlEgKWfS0CCpeV2nK1G+Tz/KJbsOV+kcWz56gav6cjKjSUIBE0Auiae9+QhcZDjRXd8ahncqZSIiRCdukwL/3Z+pOxwgrlimsRpr6YsVHYWC2qhMEAF8mU2SNbE+xRipR4LGfEDiIRYLWOM3qk04UqjCk4fEJAjYz746YTpeOX4KnwGl+3EH1AUAJoDdbiEWNGuZWTNXEHydNFnp3rqNPq9E5mNshcf4U+uQulLozQAFAFgLCIchFk+v1l+BaRhvwr/bIjPHfmMNEL4oCiTHFlwJonYRd1wsBQDDJJqCIRb5MIoBkljDEEk0T4X4nVIptTHIRYNvmbCGAfETvOA2+QUAfdZVkgEXIAtY4zeqTThSqMKTh8QkCNjPvjphOl45fgqfAaX7cQfUIhoDC1jjN6pNOFKowpOHxCQI2M++OmE6Xjl+Cp8BpftxB9RjAjRrmVkzVxB8nTRZ6d66jT6vROZjbIXH+FPrkLpS6M0AAk+v1l+BaRhvwr/bIjPHfmMNEL4oCiTHFlwJonYRd1wsAvkwigGSWMMQSTRPhfidUim1MchFg2+ZsIYB8RO84Db5QxsCNGuZWTNXEHydNFnp3rqNPq9E5mNshcf4U+uQulLozQADKWfS0CCpeV2nK1G+Tz/KJbsOV+kcWz56gav6cjKjSUJCA8wXSFygHC67DrocgLPq2vXunMFGKfpPEHHRmCDi0H/MAq38rUWmjPtndZyYSc3VeWOeTRhnJyuZGgNj0cp2KD78QxsCT6/WX4FpGG/Cv9siM8d+Yw0QvigKJMcWXAmidhF3XCwDKWfS0CCpeV2nK1G+Tz/KJbsOV+kcWz56gav6cjKjSUJCAjQ7uDWcQ09fap1rRvdXMlj7+7Vhu1ISy/WFCoKpoC9+AkboMiFmRCesptE8EICaLLS1Ta6aey9at2QhPdR5pqlCQxsC+TCKAZJYwxBJNE+F+J1SKbUxyEWDb5mwhgHxE7zgNvkDKWfS0CCpeV2nK1G+Tz/KJbsOV+kcWz56gav6cjKjSUJCA53uQli43+NEYAhv8XAyCeR4Q3xqsPWYouboCf0wqf86A+BrTgTsTeT3V8hNUaza9sse9LzL/YEDcDvAGoRdzzNlQxwCNGuZWTNXEHydNFnp3rqNPq9E5mNshcf4U+uQulLozQADKWfS0CCpeV2nK1G+Tz/KJbsOV+kcWz56gav6cjKjSUIgEJrTIVVyIBTdyiGuO408OpOm0KtcfhnQxpPVZcR8FiZDHAJPr9ZfgWkYb8K/2yIzx35jDRC+KAokxxZcCaJ2EXdcLAMpZ9LQIKl5XacrUb5PP8oluw5X6RxbPnqBq/pyMqNJQiA11e7MQE+ipjZE8wz4r0P9vYKeXNnHRwfKmzOpE0x1bkMcAvkwigGSWMMQSTRPhfidUim1MchFg2+ZsIYB8RO84Db5Ayln0tAgqXldpytRvk8/yiW7DlfpHFs+eoGr+nIyo0lCILnIVd79RGdv8/xTQq28kMLewVYk6rVbH/KXZTFWA9tuAAA=";

    #[test]
    fn fields_are_bip_373s() {
        let inside = parse(BIP373).unwrap().inputs[0]
            .tap_key_sig
            .unwrap()
            .signature;
        assert_eq!(combine_any(BIP373, 0).unwrap(), inside);
    }
}
