//! Channels on a UTXO chain as the exchange asks for them: [`ring0_channels::chain::Chain`] over the RPC interface of a Bitcoin
//! Core-like node.
//!
//! - Opened: the funding output is in a block. Deposited, Withdrawn: a splice is; amounts are the trader's, as both agreed on
//!   them in the first version on each funding output, since the chain shows only the sum of both sides.
//! - Disputed: a commitment is in a block. Settled: a close is, or every balance of the commitment was taken.
//! - `dispute` publishes the newest commitment, `refute` takes the cheater's balance, `settle` takes the own one after its delay.
//!
//! A channel's name is its [`ChannelId`]: the hash of its terms and first funding output, the same through splices.
//! Fees come from the node's own wallet, which therefore should hold nothing else. The node needs no transaction index.

#![deny(unsafe_code)]

mod exit;
pub mod watch;

use std::{cell::RefCell, collections::HashMap, marker::PhantomData};

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Transaction, TxOut, Txid,
    consensus::encode::{deserialize_hex, serialize_hex},
    hashes::Hash,
    key::Keypair,
};
use ring0_bitcoin::{
    channel::{Channel, Spend},
    commitment::{Balance, CLAIM_VBYTES, Commitment, PENALTY_VBYTES},
    fees::{AnchorChild, FeeError, FeeInput},
    journal::Journal,
    keys::Party,
    rpc::{Node, RpcError},
    terms::{ChannelId, FEE_RATE_MIN, Terms},
    tower::Kit,
    watched::Watched,
};
use ring0_channels::chain::{Block, Chain, ChainError, Progress, Seen, Sent};
use serde_json::{Value, json};

use crate::watch::{Published, Watch, written};

pub use exit::Exit;

const PUBLISH: &str = "publishing the newest commitment";
const PUNISH: &str = "taking the balance of a commitment that was given up";
const CLAIM: &str = "taking the own balance";
const BUMP: &str = "raising the fee";

/// Blocks within which a transaction should be mined: what the node is asked for an estimate of.
const FEE_TARGET_BLOCKS: u32 = 2;

/// How a transaction that was sent is sent again for more.
enum Step {
    /// By a child on the party's anchor.
    Commitment {
        commitment: Box<Commitment>,
        party: Party,
        anchor: Keypair,
        coin: Option<FeeInput>,
    },
    /// By another input.
    Penalty {
        terms: Box<Terms>,
        kit: Box<Kit>,
        coin: Option<FeeInput>,
    },
    /// By a smaller output.
    Claim {
        terms: Box<Terms>,
        balance: Box<Balance>,
        payout: Keypair,
        to: ScriptBuf,
    },
}

/// Channels on a node's chain. Of a restart nothing is lost but how to raise the fee of what was sent: each step can be asked for again.
pub struct Utxo<J> {
    watch: Watch,
    rate_min: u64,
    /// What was sent, and the rate it pays in satoshi per 1,000 vbytes.
    sent: HashMap<Txid, (Step, u64)>,
    journal: PhantomData<fn() -> J>,
}

impl<J: Journal> Utxo<J> {
    /// Over a node with one wallet loaded, whose coins pay fees. `rate_min_sat_per_kvb` is paid where the node has no estimate or a lower one.
    #[must_use]
    pub fn new(node: Node, rate_min_sat_per_kvb: u64) -> Self {
        Self {
            watch: Watch::new(node),
            rate_min: rate_min_sat_per_kvb.max(FEE_RATE_MIN),
            sent: HashMap::new(),
            journal: PhantomData,
        }
    }

    /// Looks for a channel: before its funding transaction is sent, and again before each splice is. Nothing of it is in a block below `since`.
    pub fn watch(&mut self, channel: Watched, since: u64) {
        self.watch.add(channel, since);
    }

    /// The funding output of a channel that is unspent.
    ///
    /// # Errors
    /// The node does not answer.
    pub fn unspent(&mut self, id: ChannelId) -> Result<Option<OutPoint>, ChainError> {
        self.follow()?;
        Ok(self.watch.unspent(id))
    }

    fn follow(&mut self) -> Result<Block, ChainError> {
        let followed = self.watch.follow();
        followed.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &RpcError) -> ChainError {
        ChainError::Node {
            node: self.watch.node().address().to_string(),
            why: error.to_string(),
        }
    }

    fn call(&self, method: &str, params: &[Value]) -> Result<Value, ChainError> {
        let answer = self.watch.node().call(method, params);
        answer.map_err(|error| self.failed(&error))
    }

    /// What the node thinks is mined soon, satoshi per 1,000 vbytes.
    fn rate(&self) -> Result<u64, ChainError> {
        let estimate = self.call("estimatesmartfee", &[json!(FEE_TARGET_BLOCKS)])?;
        let rate = estimate["feerate"].as_f64().unwrap_or_default();
        let rate = Amount::from_btc(rate).map_or(0, Amount::to_sat);
        Ok(rate.max(self.rate_min))
    }

    fn is_waiting(&self, txid: Txid) -> Result<bool, ChainError> {
        match self
            .watch
            .node()
            .call("getmempoolentry", &[json!(txid.to_string())])
        {
            Ok(_) => Ok(true),
            Err(RpcError::Refused { .. }) => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn send(&self, tx: &Transaction, what: &'static str) -> Result<Txid, ChainError> {
        let txid = tx.compute_txid();
        if self.is_waiting(txid)? {
            return Ok(txid);
        }
        let params = [json!(serialize_hex(tx)), json!(0)];
        match self.watch.node().call("sendrawtransaction", &params) {
            Ok(_) => Ok(txid),
            Err(RpcError::Refused { message, .. }) => {
                Err(ChainError::Refused { what, why: message })
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The largest coin of the node's wallet that can pay fees.
    fn coin(&self) -> Result<Option<FeeInput>, ChainError> {
        let unspent = self.call("listunspent", &[json!(1)])?;
        let mut best: Option<FeeInput> = None;
        for coin in unspent.as_array().into_iter().flatten() {
            let script = ScriptBuf::from_hex(coin["scriptPubKey"].as_str().unwrap_or_default());
            let (Ok(script_pubkey), Ok(txid), Some(vout), Ok(value)) = (
                script,
                coin["txid"].as_str().unwrap_or_default().parse(),
                coin["vout"].as_u64(),
                Amount::from_btc(coin["amount"].as_f64().unwrap_or_default()),
            ) else {
                continue;
            };
            let witness_weight = match (script_pubkey.is_p2wpkh(), script_pubkey.is_p2tr()) {
                (true, _) => 108,
                (_, true) => 66,
                _ => continue, // an older kind: its id is not fixed before it is signed
            };
            let coin = FeeInput {
                outpoint: OutPoint {
                    txid,
                    vout: vout as u32,
                },
                output: TxOut {
                    value,
                    script_pubkey,
                },
                witness_weight,
            };
            if best
                .as_ref()
                .is_none_or(|best| best.output.value < coin.output.value)
            {
                best = Some(coin);
            }
        }
        Ok(best)
    }

    /// A coin for a fee and where its change goes. The one that a former attempt took, if it did: then only one of both is mined.
    fn purse(
        &self,
        terms: &Terms,
        former: Option<&FeeInput>,
    ) -> Result<(FeeInput, ScriptBuf), ChainError> {
        let coin = match former {
            Some(coin) => Some(coin.clone()),
            None => self.coin()?,
        };
        let coin = coin.ok_or_else(|| no_fees(Amount::ZERO, Amount::from_sat(1)))?;
        let address = self.call("getrawchangeaddress", &[json!("bech32")])?;
        let change = terms.chain.script(address.as_str().unwrap_or_default());
        let change = change.map_err(|error| ChainError::Node {
            node: self.watch.node().address().to_string(),
            why: error.to_string(),
        })?;
        Ok((coin, change))
    }

    fn wallet_signed(&self, tx: &Transaction) -> Result<Transaction, ChainError> {
        let signed = self.call("signrawtransactionwithwallet", &[json!(serialize_hex(tx))])?;
        deserialize_hex(signed["hex"].as_str().unwrap_or_default()).map_err(|error| {
            ChainError::Node {
                node: self.watch.node().address().to_string(),
                why: format!("signrawtransactionwithwallet: {error}"),
            }
        })
    }

    /// The commitment of a channel that is in the chain.
    fn published(&self, id: ChannelId, what: &'static str) -> Result<Published, ChainError> {
        let published = self.watch.published(id).cloned();
        published.ok_or_else(|| refused(what, "no commitment of this channel is in the chain"))
    }

    /// Whether a balance can be taken still.
    fn untaken(&self, balance: OutPoint, what: &'static str) -> Result<(), ChainError> {
        match self.watch.taker(balance) {
            Some(txid) => Err(refused(what, format!("transaction {txid} took it already"))),
            None => Ok(()),
        }
    }

    fn sent(&mut self, txid: Txid, what: &'static str, step: Step, rate: u64) -> Sent {
        self.sent.insert(txid, (step, rate));
        named(txid, what)
    }

    /// Builds and sends a step for a higher rate; gives the step as it is now.
    fn raise(&self, txid: Txid, step: &Step, rate: u64) -> Result<(Txid, Step), ChainError> {
        match step {
            Step::Commitment {
                commitment,
                party,
                anchor,
                coin,
            } => {
                let (coin, change) = self.purse(commitment.terms(), coin.as_ref())?;
                let child = AnchorChild::build(commitment, *party, &coin, change, rate);
                let child = child.map_err(unpaid)?;
                let tx = child.sign(self.wallet_signed(&child.tx)?, anchor);
                self.send(&tx.map_err(unpaid)?, BUMP)?;
                let step = Step::Commitment {
                    commitment: commitment.clone(),
                    party: *party,
                    anchor: *anchor,
                    coin: Some(coin),
                };
                Ok((txid, step))
            }
            Step::Penalty { terms, kit, coin } => {
                let (coin, change) = self.purse(terms, coin.as_ref())?;
                let bare = kit.bump(terms.chain, &coin, change, rate).map_err(unpaid)?;
                let tx = kit.witness(self.wallet_signed(&bare)?);
                let step = Step::Penalty {
                    terms: terms.clone(),
                    kit: kit.clone(),
                    coin: Some(coin),
                };
                Ok((self.send(&tx, BUMP)?, step))
            }
            Step::Claim {
                terms,
                balance,
                payout,
                to,
            } => {
                let tx = balance.claim(terms, payout, to.clone(), fee(rate, CLAIM_VBYTES));
                let tx = tx.map_err(|error| refused(BUMP, error))?;
                let step = Step::Claim {
                    terms: terms.clone(),
                    balance: balance.clone(),
                    payout: *payout,
                    to: to.clone(),
                };
                Ok((self.send(&tx, BUMP)?, step))
            }
        }
    }
}

impl<J: Journal> Chain for Utxo<J> {
    type Exit = Exit<J>;

    fn tip(&mut self) -> Result<Block, ChainError> {
        self.follow()
    }

    fn block(&mut self, height: u64) -> Result<Option<Block>, ChainError> {
        let block = self.watch.header(height);
        block.map_err(|error| self.failed(&error))
    }

    fn facts(&mut self, from: u64, to: u64) -> Result<Vec<Seen>, ChainError> {
        self.follow()?;
        Ok(self.watch.facts(from, to))
    }

    /// Publishes the newest commitment on the funding output that is unspent.
    fn dispute(&mut self, exit: &Exit<J>) -> Result<Sent, ChainError> {
        self.follow()?;
        let (channel, _) = party(exit, PUBLISH)?;
        let mut channel = channel.borrow_mut();
        let id = id_of(&channel, PUBLISH)?;
        if let Some(published) = self.watch.published(id) {
            return match channel.recognise(&published.tx) {
                Spend::Own(_) => Ok(named(published.tx.compute_txid(), PUBLISH)),
                _ => Err(refused(
                    PUBLISH,
                    format!(
                        "the other party's commitment of version {} is in block {}",
                        published.version, published.height
                    ),
                )),
            };
        }
        let unspent = self.watch.unspent(id).ok_or_else(|| {
            refused(
                PUBLISH,
                "the channel's funding output is not in the chain, or is spent",
            )
        })?;
        let (commitment, tx) = channel
            .exit(unspent)
            .map_err(|error| refused(PUBLISH, error))?;
        let rate = commitment.state.fee_rate_sat_per_kvb;
        let step = Step::Commitment {
            commitment: Box::new(commitment),
            party: channel.role(),
            anchor: *channel.anchor_key(),
            coin: None,
        };
        let txid = self.send(&tx, PUBLISH)?;
        Ok(self.sent(txid, PUBLISH, step, rate))
    }

    /// Takes the balance of whoever published a version that it had given up.
    fn refute(&mut self, exit: &Exit<J>) -> Result<Sent, ChainError> {
        self.follow()?;
        let rate = self.rate()?;
        let (terms, kit) = match exit {
            Exit::Party { channel, to } => {
                let channel = channel.borrow();
                let published = self.published(id_of(&channel, PUNISH)?, PUNISH)?;
                let Spend::PeerRevoked { version, balance } = channel.recognise(&published.tx)
                else {
                    let why = format!("version {} was not given up", published.version);
                    return Err(refused(PUNISH, why));
                };
                let balance = balance
                    .ok_or_else(|| refused(PUNISH, "it is below dust: take the own balance"))?;
                let paid = fee(rate, PENALTY_VBYTES);
                let penalty = channel.punish(version, &balance, to.clone(), paid);
                let kit = Kit {
                    commitment: published.tx.compute_txid(),
                    version,
                    penalty: penalty.map_err(|error| refused(PUNISH, error))?,
                    paid,
                };
                (channel.terms().clone(), kit)
            }
            Exit::Tower { id, terms, kits } => {
                let published = self.published(*id, PUNISH)?;
                let txid = published.tx.compute_txid();
                let kit = kits.iter().find(|kit| kit.commitment == txid);
                let kit = kit.ok_or_else(|| {
                    let why = format!("there is no kit of version {}", published.version);
                    refused(PUNISH, why)
                })?;
                ((**terms).clone(), kit.clone())
            }
        };
        self.untaken(kit.penalty.input[0].previous_output, PUNISH)?;
        let txid = self.send(&kit.penalty, PUNISH)?;
        let paid = kit.paid.to_sat() * 1_000 / PENALTY_VBYTES;
        let step = Step::Penalty {
            terms: Box::new(terms),
            kit: Box::new(kit),
            coin: None,
        };
        Ok(self.sent(txid, PUNISH, step, paid))
    }

    /// Takes the own balance out of whichever commitment is in the chain.
    fn settle(&mut self, exit: &Exit<J>) -> Result<Sent, ChainError> {
        let tip = self.follow()?;
        let rate = self.rate()?;
        let (channel, to) = party(exit, CLAIM)?;
        let channel = channel.borrow();
        let published = self.published(id_of(&channel, CLAIM)?, CLAIM)?;
        let balance = channel
            .own_balance(&published.tx)
            .ok_or_else(|| refused(CLAIM, "it is below dust and has no output"))?;
        self.untaken(balance.outpoint, CLAIM)?;
        let depth = tip.height.saturating_sub(published.height) + 1;
        let left = u64::from(balance.delay_blocks).saturating_sub(depth);
        if left > 0 {
            let why = format!(
                "it waits {} blocks and has {depth}: take it {left} blocks later",
                balance.delay_blocks
            );
            return Err(refused(CLAIM, why));
        }
        let step = Step::Claim {
            terms: Box::new(channel.terms().clone()),
            balance: Box::new(balance.clone()),
            payout: *channel.payout_key(),
            to: to.clone(),
        };
        let (terms, key) = (channel.terms(), channel.payout_key());
        let tx = balance.claim(terms, key, to.clone(), fee(rate, CLAIM_VBYTES));
        let txid = self.send(&tx.map_err(|error| refused(CLAIM, error))?, CLAIM)?;
        Ok(self.sent(txid, CLAIM, step, rate))
    }

    fn progress(&mut self, sent: &Sent) -> Result<Progress, ChainError> {
        self.follow()?;
        let txid = txid_of(sent);
        if let Some(height) = self.watch.height_of(txid) {
            return Ok(Progress::Mined { height });
        }
        Ok(match self.is_waiting(txid)? {
            true => Progress::Waiting,
            false => Progress::Gone,
        })
    }

    /// Half as much again as before, or the node's estimate if that is more: a commitment by a child on its anchor (its name stays),
    /// a penalty by an input of the wallet, a claim from itself. The second child, a penalty and a claim replace what waits.
    fn bump(&mut self, sent: &Sent) -> Result<Sent, ChainError> {
        let txid = txid_of(sent);
        if !self.is_waiting(txid)? {
            return Err(refused(BUMP, "it does not wait in the node's mempool"));
        }
        let estimate = self.rate()?;
        let Some((step, paid)) = self.sent.get(&txid) else {
            return Err(ChainError::Unsupported(
                "how it was made was lost with a restart: ask for the step again, then raise its fee",
            ));
        };
        let rate = estimate.max(paid + paid.div_ceil(2));
        let (txid, step) = match self.raise(txid, step, rate) {
            Err(ChainError::Refused { why, .. }) if why == "txn-mempool-conflict" => {
                return Err(ChainError::Unsupported(
                    "this node replaces no transaction (Litecoin's default, `-mempoolreplacement=0`): spend the change of the one that waits with a higher fee, or wait",
                ));
            }
            raised => raised?,
        };
        Ok(self.sent(txid, sent.what, step, rate))
    }
}

/// The parts of a party's exit. A tower has no key to take a step with.
fn party<'a, J>(
    exit: &'a Exit<J>,
    what: &'static str,
) -> Result<(&'a RefCell<Channel<J>>, &'a ScriptBuf), ChainError> {
    match exit {
        Exit::Party { channel, to } => Ok((channel, to)),
        Exit::Tower { .. } => Err(refused(
            what,
            "a tower has no key for it: the party does it",
        )),
    }
}

fn id_of<J: Journal>(channel: &Channel<J>, what: &'static str) -> Result<ChannelId, ChainError> {
    let watched = channel.watched();
    let watched = watched.ok_or_else(|| refused(what, "the channel has no version 0 yet"))?;
    Ok(watched.id)
}

fn refused(what: &'static str, why: impl ToString) -> ChainError {
    ChainError::Refused {
        what,
        why: why.to_string(),
    }
}

fn no_fees(has: Amount, needs: Amount) -> ChainError {
    ChainError::Fees {
        payer: "the node's wallet (its largest segwit coin)".to_owned(),
        what: BUMP,
        has: u128::from(has.to_sat()),
        needs: u128::from(needs.to_sat()),
    }
}

fn unpaid(error: FeeError) -> ChainError {
    match error {
        FeeError::TooSmall { given, needed } => no_fees(given, needed),
        _ => refused(BUMP, error),
    }
}

fn fee(rate_sat_per_kvb: u64, vbytes: u64) -> Amount {
    Amount::from_sat(rate_sat_per_kvb.saturating_mul(vbytes).div_ceil(1_000))
}

fn named(txid: Txid, what: &'static str) -> Sent {
    Sent {
        id: written(txid.to_byte_array()),
        what,
    }
}

fn txid_of(sent: &Sent) -> Txid {
    let mut bytes = sent.id.0;
    bytes.reverse();
    Txid::from_byte_array(bytes)
}
