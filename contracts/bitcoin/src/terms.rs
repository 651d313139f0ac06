//! What both parties agreed on for the life of a channel, and the funding output that follows from it.
//!
//! Funding output (taproot): internal key `MuSig2(trader, operator)`; one leaf `and_v(v:pk(trader),pk(operator))`.
//! Cooperation goes by the key path; commitments go by the leaf, so that their signatures are ordinary ones, made in one message, with no nonce to keep.

use bitcoin::{
    Amount, OutPoint, Script, ScriptBuf, TxOut,
    consensus::Encodable,
    hashes::{Hash, HashEngine, sha256t_hash_newtype},
    opcodes::all::{OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_CSV, OP_PUSHNUM_1},
    secp256k1::PublicKey,
    taproot::{ControlBlock, LeafVersion, TapLeafHash, TaprootBuilder, TaprootSpendInfo},
};
use serde::{Deserialize, Serialize};

use crate::{
    chain::Chain,
    commitment::COMMITMENT_VBYTES,
    keys::{Party, PartyKeys, SECP, x_only},
    musig::Aggregate,
};

sha256t_hash_newtype! {
    /// The tag that keeps this hash apart from every other.
    pub struct ChannelIdTag = hash_str("ring0/utxo-channel");

    /// Names a channel: its terms and its first funding output.
    #[hash_newtype(forward)]
    pub struct ChannelId(_);
}

/// What both parties agreed on for the life of a channel.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// Where the channel stands.
    pub chain: Chain,
    /// The trader's keys.
    pub trader: PartyKeys,
    /// The operator's keys.
    pub operator: PartyKeys,
    /// Blocks that the trader's own balance waits after the trader publishes a commitment: the operator's time to punish.
    pub trader_delay_blocks: u16,
    /// Blocks that the operator's own balance waits after the operator publishes: the trader's, or its tower's, time to punish.
    pub operator_delay_blocks: u16,
    /// What of the funding can never be the trader's balance: pays a commitment's fee and anchors, and is what the operator loses by cheating.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub reserve: Amount,
}

/// Terms that cannot hold a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TermsError {
    /// A delay of no block gives no time to punish.
    #[error(
        "the {0}'s delay is zero blocks: it must leave the other party time to punish, 144 or more on Bitcoin"
    )]
    NoDelay(Party),
    /// A key appears twice.
    #[error(
        "a key appears twice in the terms: derive each from a purpose and a channel number of its own"
    )]
    SameKey,
    /// The reserve does not cover the smallest commitment.
    #[error(
        "a reserve of {reserve} does not pay a commitment at the lowest fee rate, which needs {needed}: raise it"
    )]
    Reserve {
        /// The terms' reserve.
        reserve: Amount,
        /// The least that works.
        needed: Amount,
    },
}

/// A taproot output with one leaf, and what spending it by the leaf needs.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The leaf's script.
    pub script: ScriptBuf,
    info: TaprootSpendInfo,
}

impl Leaf {
    pub(crate) fn new(internal_key: bitcoin::XOnlyPublicKey, script: ScriptBuf) -> Self {
        let builder = TaprootBuilder::new()
            .add_leaf(0, script.clone())
            .expect("one leaf at depth zero is a tree");
        let info = builder
            .finalize(&SECP, internal_key)
            .expect("one leaf at depth zero is a whole tree");
        Self { script, info }
    }

    /// The output's script.
    pub fn output(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr_tweaked(self.info.output_key())
    }

    /// Taproot's tree and keys, as PSBT and signers want them.
    pub const fn info(&self) -> &TaprootSpendInfo {
        &self.info
    }

    /// What a signature by the leaf commits to.
    pub fn hash(&self) -> TapLeafHash {
        TapLeafHash::from_script(&self.script, LeafVersion::TapScript)
    }

    /// The last element of the witness.
    pub fn control_block(&self) -> ControlBlock {
        self.info
            .control_block(&(self.script.clone(), LeafVersion::TapScript))
            .expect("the tree has this leaf")
    }
}

/// `and_v(v:pk(key),older(blocks))`: `key` alone, so many blocks after the output confirmed (BIP68, BIP112).
pub(crate) fn after_blocks(key: &PublicKey, blocks: u16) -> ScriptBuf {
    ScriptBuf::builder()
        .push_x_only_key(&x_only(key))
        .push_opcode(OP_CHECKSIGVERIFY)
        .push_int(i64::from(blocks))
        .push_opcode(OP_CSV)
        .into_script()
}

impl Terms {
    /// A party's keys.
    pub const fn keys(&self, party: Party) -> &PartyKeys {
        match party {
            Party::Trader => &self.trader,
            Party::Operator => &self.operator,
        }
    }

    /// Blocks that a party's own balance waits when it publishes.
    pub const fn delay_blocks(&self, party: Party) -> u16 {
        match party {
            Party::Trader => self.trader_delay_blocks,
            Party::Operator => self.operator_delay_blocks,
        }
    }

    /// Checks what can be checked without a funding output.
    ///
    /// # Errors
    /// [`TermsError`].
    pub fn check(&self) -> Result<(), TermsError> {
        for party in [Party::Trader, Party::Operator] {
            if self.delay_blocks(party) == 0 {
                return Err(TermsError::NoDelay(party));
            }
        }
        let mut keys: Vec<_> = [&self.trader, &self.operator]
            .into_iter()
            .flat_map(|keys| {
                [keys.funding, keys.payout, keys.penalty, keys.anchor].map(|key| x_only(&key))
            })
            .collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(TermsError::SameKey);
        }
        let needed = self.reserve_needed(FEE_RATE_MIN).unwrap_or(Amount::MAX);
        if self.reserve < needed {
            return Err(TermsError::Reserve {
                reserve: self.reserve,
                needed,
            });
        }
        Ok(())
    }

    /// What an anchor holds: dust's limit, since nobody is meant to want it.
    pub fn anchor_value(&self) -> Amount {
        // Every taproot script has the same size, and that is all dust depends on.
        let mut script = [0; 34];
        script[..2].copy_from_slice(&[OP_PUSHNUM_1.to_u8(), 32]);
        self.chain.dust(Script::from_bytes(&script))
    }

    /// A party's anchor: its anchor key alone, by the key path (BIP86).
    pub fn anchor_script(&self, party: Party) -> ScriptBuf {
        ScriptBuf::new_p2tr(&SECP, x_only(&self.keys(party).anchor), None)
    }

    /// The fee of a commitment at `fee_rate_sat_per_kvb`; the same whether or not a balance is too small for an output.
    pub fn commitment_fee(&self, fee_rate_sat_per_kvb: u64) -> Option<Amount> {
        Some(Amount::from_sat(
            fee_rate_sat_per_kvb
                .checked_mul(COMMITMENT_VBYTES)?
                .div_ceil(1_000),
        ))
    }

    /// The least reserve with which commitments at this rate leave the operator an output: fee, two anchors, dust. `None` on overflow.
    pub fn reserve_needed(&self, fee_rate_sat_per_kvb: u64) -> Option<Amount> {
        let anchors = self.anchor_value().checked_mul(2)?;
        self.commitment_fee(fee_rate_sat_per_kvb)?
            .checked_add(anchors)?
            .checked_add(self.anchor_value())
    }

    /// Both funding keys, aggregated; not yet tweaked.
    pub fn funding_aggregate(&self) -> Aggregate {
        Aggregate::of(self.trader.funding, self.operator.funding)
    }

    /// The funding output.
    pub fn funding(&self) -> Leaf {
        let script = ScriptBuf::builder()
            .push_x_only_key(&x_only(&self.trader.funding))
            .push_opcode(OP_CHECKSIGVERIFY)
            .push_x_only_key(&x_only(&self.operator.funding))
            .push_opcode(OP_CHECKSIG)
            .into_script();
        Leaf::new(self.funding_aggregate().internal_key(), script)
    }

    /// Names the channel funded first by `outpoint`: a tagged hash over chain, keys, delays, reserve and outpoint.
    pub fn id(&self, outpoint: OutPoint) -> ChannelId {
        let mut engine = ChannelId::engine();
        engine.input(self.chain.hrp().as_bytes());
        engine.input(&[0]);
        for keys in [&self.trader, &self.operator] {
            for key in [keys.funding, keys.payout, keys.penalty, keys.anchor] {
                engine.input(&key.serialize());
            }
        }
        engine.input(&self.trader_delay_blocks.to_be_bytes());
        engine.input(&self.operator_delay_blocks.to_be_bytes());
        engine.input(&self.reserve.to_sat().to_be_bytes());
        outpoint
            .consensus_encode(&mut engine)
            .expect("a hash engine takes every byte");
        ChannelId::from_engine(engine)
    }
}

/// The lowest fee rate of a commitment, satoshi per 1,000 vbytes: what nodes relay at all (`minrelaytxfee` of both chains).
pub const FEE_RATE_MIN: u64 = 1_000;

/// The output that a channel stands on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Funding {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it holds.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub value: Amount,
}

impl Funding {
    /// The output as transactions that spend it must know it.
    pub fn output(&self, terms: &Terms) -> TxOut {
        TxOut {
            value: self.value,
            script_pubkey: terms.funding().output(),
        }
    }
}
