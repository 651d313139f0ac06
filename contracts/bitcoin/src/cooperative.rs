//! What both parties do together, by the funding output's key path: close, put in more, take some out.
//!
//! To anyone else such a transaction looks like a payment by one key.

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness,
    absolute::LockTime,
    hashes::Hash,
    key::Keypair,
    secp256k1::schnorr::Signature,
    sighash::{Prevouts, SighashCache},
    transaction::Version,
};

use crate::{
    commitment::sort_outputs,
    keys::Party,
    musig::{Aggregate, MusigError, NonceBytes, PartialBytes, Signer},
    terms::{FEE_RATE_MIN, Funding, Terms},
};

/// A close or splice that cannot be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CooperativeError {
    /// More goes out than comes in, or the fee is below what nodes relay.
    #[error(
        "inputs of {inputs} and outputs of {outputs} leave no fee that nodes relay ({needed}): lower the outputs"
    )]
    Fee {
        /// Sum of inputs.
        inputs: Amount,
        /// Sum of outputs.
        outputs: Amount,
        /// The least fee.
        needed: Amount,
    },
    /// The payer's side is smaller than the fee.
    #[error(
        "the {payer} has {has} and cannot pay a fee of {fee}: lower the fee or let the other party pay it"
    )]
    Payer {
        /// Who was to pay.
        payer: Party,
        /// Its balance.
        has: Amount,
        /// The fee.
        fee: Amount,
    },
    /// The trader's balance is more than the funding.
    #[error("a trader's balance of {trader} is more than the funding of {funding}")]
    Balance {
        /// The balance.
        trader: Amount,
        /// The funding.
        funding: Amount,
    },
    /// An output that nodes do not relay.
    #[error("an output of {0} is below dust")]
    Dust(Amount),
    /// An input whose spending can change the transaction's id, and with it void the commitments on the new funding.
    #[error(
        "input {0} is no witness program: only those keep the transaction's id when they are signed"
    )]
    NotSegwit(OutPoint),
    /// Both sides of one channel would be one output.
    #[error("input {0} is there twice")]
    SameInput(OutPoint),
}

/// A transaction that spends the funding output by its key path.
#[derive(Clone, Debug)]
pub struct Cooperative {
    terms: Terms,
    tx: Transaction,
    prevouts: Vec<TxOut>,
    place: usize,
    funding: Funding,
    purpose: Purpose,
}

/// What a cooperative transaction does to the channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Ends it.
    Close {
        /// The trader's balance, before any fee.
        trader: Amount,
    },
    /// Moves it.
    Splice {
        /// The channel's next funding output.
        to: Funding,
    },
}

impl Cooperative {
    /// Closes the channel: each party's balance to a script of its choice; `payer` pays `fee` out of its side. A side below dust has no output.
    ///
    /// # Errors
    /// [`CooperativeError`].
    pub fn close(
        terms: &Terms,
        funding: &Funding,
        trader: Amount,
        to: [ScriptBuf; 2],
        fee: Amount,
        payer: Party,
    ) -> Result<Self, CooperativeError> {
        let operator = funding
            .value
            .checked_sub(trader)
            .ok_or(CooperativeError::Balance {
                trader,
                funding: funding.value,
            })?;
        let pay = |party: Party, has: Amount| {
            if party == payer {
                has.checked_sub(fee)
                    .ok_or(CooperativeError::Payer { payer, has, fee })
            } else {
                Ok(has)
            }
        };
        let sides = [pay(Party::Trader, trader)?, pay(Party::Operator, operator)?];
        let outputs = sides
            .into_iter()
            .zip(to)
            .map(|(value, script_pubkey)| TxOut {
                value,
                script_pubkey,
            });
        let outputs = outputs
            .filter(|output| output.value >= terms.chain.dust(&output.script_pubkey))
            .collect();
        Self::build(terms, funding, Vec::new(), outputs, |_| Purpose::Close {
            trader,
        })
    }

    /// Moves the channel onto a new funding output of `value`: more inputs put in, more outputs take out, the rest is the fee.
    ///
    /// Neither party signs it before it holds a commitment on the new funding: [`crate::channel::Channel::splice_signable`].
    ///
    /// # Errors
    /// [`CooperativeError`].
    pub fn splice(
        terms: &Terms,
        funding: &Funding,
        value: Amount,
        inputs: Vec<(OutPoint, TxOut)>,
        outputs: Vec<TxOut>,
    ) -> Result<Self, CooperativeError> {
        let mut all = outputs;
        if let Some(small) = all
            .iter()
            .find(|output| output.value < terms.chain.dust(&output.script_pubkey))
        {
            return Err(CooperativeError::Dust(small.value));
        }
        all.push(TxOut {
            value,
            script_pubkey: terms.funding().output(),
        });
        Self::build(terms, funding, inputs, all, |tx| {
            let script = terms.funding().output();
            let place = |output: &TxOut| output.script_pubkey == script && output.value == value;
            let vout = tx.output.iter().position(place).expect("it was just added");
            let outpoint = OutPoint {
                txid: tx.compute_txid(),
                vout: vout as u32,
            };
            Purpose::Splice {
                to: Funding { outpoint, value },
            }
        })
    }

    fn build(
        terms: &Terms,
        funding: &Funding,
        inputs: Vec<(OutPoint, TxOut)>,
        mut output: Vec<TxOut>,
        purpose: impl FnOnce(&Transaction) -> Purpose,
    ) -> Result<Self, CooperativeError> {
        if let Some((outpoint, _)) = inputs
            .iter()
            .find(|(_, output)| !output.script_pubkey.is_witness_program())
        {
            return Err(CooperativeError::NotSegwit(*outpoint));
        }
        let mut all: Vec<_> = inputs;
        all.push((funding.outpoint, funding.output(terms)));
        all.sort_by_key(|(outpoint, _)| {
            (
                outpoint
                    .txid
                    .to_byte_array()
                    .into_iter()
                    .rev()
                    .collect::<Vec<_>>(),
                outpoint.vout,
            )
        }); // BIP69
        if let Some(pair) = all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(CooperativeError::SameInput(pair[0].0));
        }
        sort_outputs(&mut output);
        let inputs: Amount = all.iter().map(|(_, output)| output.value).sum();
        let outputs: Amount = output.iter().map(|output| output.value).sum();
        let place = all
            .iter()
            .position(|(outpoint, _)| *outpoint == funding.outpoint)
            .expect("the funding was just added");
        let tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: all
                .iter()
                .map(|(outpoint, _)| TxIn {
                    previous_output: *outpoint,
                    script_sig: ScriptBuf::new(),
                    sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                    witness: Witness::new(),
                })
                .collect(),
            output,
        };
        // 66 weight units for a key-path witness; other inputs have at least as much.
        let vbytes = (tx.weight().to_wu() + 2 + 66 * all.len() as u64).div_ceil(4);
        let needed = Amount::from_sat((vbytes * FEE_RATE_MIN).div_ceil(1_000));
        if inputs < outputs + needed {
            return Err(CooperativeError::Fee {
                inputs,
                outputs,
                needed,
            });
        }
        let purpose = purpose(&tx);
        let prevouts = all.into_iter().map(|(_, output)| output).collect();
        Ok(Self {
            terms: terms.clone(),
            tx,
            prevouts,
            place,
            funding: *funding,
            purpose,
        })
    }

    /// The transaction without witnesses.
    pub const fn unsigned(&self) -> &Transaction {
        &self.tx
    }

    /// The outputs it spends, in its order.
    pub fn prevouts(&self) -> &[TxOut] {
        &self.prevouts
    }

    /// Which input is the funding output.
    pub const fn place(&self) -> usize {
        self.place
    }

    /// The terms of the channel.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What it does to the channel.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The funding output that it spends.
    pub const fn funding(&self) -> Funding {
        self.funding
    }

    /// The channel's next funding output, for splices.
    pub const fn new_funding(&self) -> Option<Funding> {
        match self.purpose {
            Purpose::Close { .. } => None,
            Purpose::Splice { to } => Some(to),
        }
    }

    /// The aggregate that signs: both funding keys with the taproot tweak.
    pub fn aggregate(&self) -> Aggregate {
        self.terms
            .funding_aggregate()
            .tweaked(self.terms.funding().info().merkle_root())
    }

    /// What both parties sign: BIP341, key path, `SIGHASH_DEFAULT`.
    pub fn sighash(&self) -> [u8; 32] {
        SighashCache::new(&self.tx)
            .taproot_key_spend_signature_hash(
                self.place,
                &Prevouts::All(&self.prevouts),
                TapSighashType::Default,
            )
            .expect("every input's output is known")
            .to_byte_array()
    }

    /// Starts one party's part in the signature. When it may be started is the channel's to say.
    pub(crate) fn signer(&self, funding: &Keypair) -> Result<Signer, MusigError> {
        Signer::start(&self.aggregate(), funding, &self.sighash())
    }

    /// Adds up both parties' shares (nonce and partial signature), trader's first.
    ///
    /// # Errors
    /// [`MusigError`], which names whose share is wrong.
    pub fn combine(
        &self,
        shares: [(NonceBytes, PartialBytes); 2],
    ) -> Result<Signature, MusigError> {
        let [(nonce_t, partial_t), (nonce_o, partial_o)] = shares;
        let shares = [
            (self.terms.trader.funding, nonce_t, partial_t),
            (self.terms.operator.funding, nonce_o, partial_o),
        ];
        self.aggregate().combine(&self.sighash(), &shares)
    }

    /// The transaction with the funding input's witness; other inputs' witnesses are their owners' to add.
    pub fn complete(&self, signature: &Signature) -> Transaction {
        let mut tx = self.tx.clone();
        tx.input[self.place].witness = Witness::from_slice(&[signature.as_ref()]);
        tx
    }
}
