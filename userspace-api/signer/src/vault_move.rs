//! Moves of a vault on a UTXO chain: a whole unsigned transaction with the outputs that it spends, signed input by input (BIP-341, key path).

use crate::message::Malformed;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::{Amount, ScriptBuf, TxOut};
use ring0_channels::B256;
use serde::{Deserialize, Serialize};

/// A transaction and which of its inputs is to be signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VaultMove {
    /// The policy's name of the chain, for instance `bitcoin`.
    pub network: String,
    /// The unsigned transaction, hexadecimal.
    pub transaction: String,
    /// What its inputs spend, in their order. A wrong one makes a signature that fits nothing.
    pub spends: Vec<Spent>,
    /// The input.
    pub input: u32,
}

/// An output that is spent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Satoshis, text in JSON.
    #[serde(with = "crate::decimal")]
    pub amount: u64,
    /// Its script, hexadecimal.
    pub script: String,
}

/// What a move does, for the policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moved {
    /// Script of the output that the input spends, and of all others.
    pub spends: Vec<(ScriptBuf, u64)>,
    /// Where the money goes, in satoshis.
    pub pays: Vec<(ScriptBuf, u64)>,
    /// What the miners get, in satoshis.
    pub fee: u64,
}

impl VaultMove {
    fn parse(&self) -> Result<(bitcoin::Transaction, Vec<TxOut>), Malformed> {
        let transaction: bitcoin::Transaction = deserialize_hex(&self.transaction)
            .map_err(|error| Malformed(format!("the transaction cannot be read: {error}")))?;
        if transaction.input.len() != self.spends.len() {
            return Err(Malformed(format!(
                "the transaction has {} inputs and spends {} outputs; give the output of each",
                transaction.input.len(),
                self.spends.len()
            )));
        }
        if self.input as usize >= self.spends.len() {
            return Err(Malformed(format!("there is no input {}", self.input)));
        }
        let script = |text: &str| {
            ScriptBuf::from_hex(text)
                .map_err(|error| Malformed(format!("a script cannot be read: {error}")))
        };
        let outputs = self.spends.iter().map(|it| {
            Ok(TxOut {
                value: Amount::from_sat(it.amount),
                script_pubkey: script(&it.script)?,
            })
        });
        let outputs = outputs.collect::<Result<_, Malformed>>()?;
        Ok((transaction, outputs))
    }

    /// BIP-341's hash for the input, over the whole transaction (`SIGHASH_DEFAULT`).
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn digest(&self) -> Result<B256, Malformed> {
        let (transaction, outputs) = self.parse()?;
        let mut cache = SighashCache::new(&transaction);
        let all = Prevouts::All(&outputs);
        let place = self.input as usize;
        let hash = cache.taproot_key_spend_signature_hash(place, &all, TapSighashType::Default);
        let hash = hash.map_err(|error| Malformed(format!("it has no hash: {error}")))?;
        Ok(B256::from(hash.to_byte_array()))
    }

    /// What it does.
    ///
    /// # Errors
    /// It cannot be read, or pays out more than it spends.
    pub fn moved(&self) -> Result<Moved, Malformed> {
        let (transaction, outputs) = self.parse()?;
        let both = |outputs: Vec<TxOut>| -> Vec<(ScriptBuf, u64)> {
            let pair = |it: TxOut| (it.script_pubkey, it.value.to_sat());
            outputs.into_iter().map(pair).collect()
        };
        let (spends, pays) = (both(outputs), both(transaction.output));
        let sum = |of: &[(ScriptBuf, u64)]| {
            let sum = of.iter().try_fold(0_u64, |sum, it| sum.checked_add(it.1));
            sum.ok_or_else(|| Malformed("its amounts overflow".to_owned()))
        };
        let fee = sum(&spends)?.checked_sub(sum(&pays)?);
        let fee = fee.ok_or_else(|| Malformed("it pays out more than it spends".to_owned()))?;
        Ok(Moved { spends, pays, fee })
    }

    /// The transaction's id, which no signature changes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn txid(&self) -> Result<B256, Malformed> {
        let (transaction, _) = self.parse()?;
        Ok(B256::from(transaction.compute_txid().to_byte_array()))
    }

    /// The input's outpoint: what only one transaction can spend.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn outpoint(&self) -> Result<(B256, u32), Malformed> {
        let (transaction, _) = self.parse()?;
        let point = transaction.input[self.input as usize].previous_output;
        Ok((B256::from(point.txid.to_byte_array()), point.vout))
    }
}
