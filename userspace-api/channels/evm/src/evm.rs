//! One hub on one chain, by a node's JSON-RPC: what it tells, and transactions to it that are paid by a wallet of their own.

use crate::abi::ChannelHub::{self, ChannelHubErrors, ChannelHubEvents};
use crate::abi::{self, ChannelStatus};
use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::types::{Filter, TransactionRequest};
use alloy::transports::{RpcError, TransportErrorKind};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::{SolCall, SolEventInterface, SolInterface, SolValue};
use ring0_channels::chain::{Block, Chain, ChainError, Progress, Seen, Sent};
use ring0_channels::evidence::{Evidence, Holding, OperatorHalf};
use ring0_channels::key::Signer;
use ring0_channels::life::Fact;
use ring0_channels::message::Hub;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// Logs are asked for so many blocks at a time: public nodes refuse more.
const LOG_BLOCKS: u64 = 2_000;
/// How long a node may take for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// A node takes a replacement for at least a tenth more; so many eighths.
const RAISE: (u128, u128) = (9, 8);
/// What is asked for where a node does not say what a transaction takes: more than any of the hub's.
pub(crate) const GAS_TYPICAL: u128 = 200_000;
/// Raises to get past a transaction of the same number that an earlier process left behind; a hundredfold.
const RAISES: usize = 40;

type NodeError = RpcError<TransportErrorKind>;

/// A hub by a node.
pub struct Evm {
    runtime: tokio::runtime::Runtime,
    node: RootProvider,
    url: String,
    hub: Hub,
    chain_id: u64,
    wallet: Option<Wallet>,
}

/// Pays for transactions.
struct Wallet {
    signer: Signer,
    /// The next transaction's number, if one was sent.
    next: Option<u64>,
    sent: HashMap<B256, TxEip1559>,
}

impl fmt::Debug for Evm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evm({} at {})", self.hub.address, self.url)
    }
}

/// A state that became public: the signature over all an account's channels of an epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Disclosed {
    /// Whose.
    pub account: u64,
    /// Of which batch.
    pub epoch: u64,
    /// What it is over.
    pub account_root: B256,
    /// The trader's.
    pub signature: ring0_channels::key::Signature,
}

impl Evm {
    /// Through the node at `url` (http or https). `wallet` pays for transactions; without it there are only questions.
    ///
    /// # Errors
    /// The address is none, or the node does not answer.
    pub fn connect(url: &str, hub: Hub, wallet: Option<Signer>) -> Result<Evm, ChainError> {
        let failed = |why: String| ChainError::Node {
            node: url.to_owned(),
            why,
        };
        let parsed: url::Url = url
            .parse()
            .map_err(|error| failed(format!("no URL of a node ({error})")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let mut evm = Evm {
            runtime,
            node: RootProvider::new_http(parsed),
            url: url.to_owned(),
            hub,
            chain_id: 0,
            wallet: wallet.map(|signer| Wallet {
                signer,
                next: None,
                sent: HashMap::new(),
            }),
        };
        evm.chain_id = evm.ask(evm.node.get_chain_id())?;
        Ok(evm)
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Who pays.
    #[must_use]
    pub fn payer(&self) -> Option<Address> {
        self.wallet.as_ref().map(|wallet| wallet.signer.address())
    }

    fn failed(&self, why: impl fmt::Display) -> ChainError {
        ChainError::Node {
            node: self.url.clone(),
            why: why.to_string(),
        }
    }

    /// One question.
    fn ask<T, E: fmt::Display>(
        &self,
        question: impl IntoFuture<Output = Result<T, E>>,
    ) -> Result<T, ChainError> {
        self.wait(question)?.map_err(|error| self.failed(error))
    }

    fn wait<F: IntoFuture>(
        &self,
        question: F,
    ) -> Result<<F::IntoFuture as Future>::Output, ChainError> {
        let limited = async { tokio::time::timeout(ANSWER, question.into_future()).await };
        let answered = self.runtime.block_on(limited);
        answered.map_err(|_| self.failed(format_args!("no answer in {} s", ANSWER.as_secs())))
    }

    /// Asks the hub, as of the newest block: what is pending may never come.
    ///
    /// # Errors
    /// The node does not answer, or there is no hub.
    pub fn read<C: SolCall>(&self, call: &C) -> Result<C::Return, ChainError> {
        self.read_from(self.hub.address, call)
    }

    /// Asks another contract, a token for instance.
    ///
    /// # Errors
    /// The node does not answer, or there is no such contract.
    pub fn read_from<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
    ) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default()
            .to(contract)
            .input(call.abi_encode().into());
        let answer: Result<Bytes, NodeError> =
            self.wait(self.node.call(request).block(BlockId::latest()))?;
        let answer = answer.map_err(|error| self.refused(C::SIGNATURE, error))?;
        C::abi_decode_returns(&answer).map_err(|_| {
            self.failed(format_args!(
                "{contract} is not the contract that was meant on this chain: {} answers nothing",
                C::SIGNATURE
            ))
        })
    }

    /// What the hub knows of a channel.
    ///
    /// # Errors
    /// The node does not answer, or there is no hub.
    pub fn status(&self, channel: B256) -> Result<ChannelStatus, ChainError> {
        self.read(&ChannelHub::channelOfCall { channel })
    }

    /// The chain's own coin of an address.
    ///
    /// # Errors
    /// The node does not answer.
    pub fn balance(&self, of: Address) -> Result<U256, ChainError> {
        self.ask(self.node.get_balance(of))
    }

    /// Whether states under this block's pin count here.
    ///
    /// # Errors
    /// The node does not answer, or there is no hub.
    pub fn is_pinned(&self, branch: B256) -> Result<bool, ChainError> {
        Ok(self.read(&ChannelHub::pinsCall { branch })? != U256::ZERO)
    }

    /// Signatures over accounts that the hub has made public in these blocks.
    ///
    /// # Errors
    /// The node does not answer.
    pub fn disclosed(&self, from: u64, to: u64) -> Result<Vec<Disclosed>, ChainError> {
        let mut all = Vec::new();
        self.events(from, to, |_, event| {
            if let ChannelHubEvents::Disclosed(it) = event {
                all.push(Disclosed {
                    account: it.account,
                    epoch: it.epoch.to(),
                    account_root: it.accountRoot,
                    signature: ring0_channels::key::Signature { r: it.r, vs: it.vs },
                });
            }
        })?;
        Ok(all)
    }

    /// The end of a dispute, seconds of the chain's time; `None`: there is none.
    ///
    /// # Errors
    /// The node does not answer, or there is no hub.
    pub fn deadline(&self, channel: B256) -> Result<Option<u64>, ChainError> {
        let deadline: u64 = self.status(channel)?.deadline.to();
        Ok((deadline != 0).then_some(deadline))
    }

    /// What a channel paid at its end, and what the vault could not cover.
    ///
    /// # Errors
    /// The node does not answer, or the channel has not ended.
    pub fn settled(&self, channel: B256) -> Result<(U256, U256), ChainError> {
        let mut found = None;
        let tip = self.ask(self.node.get_block_number())?;
        // The end is recent: newest blocks first.
        let mut to = tip;
        while found.is_none() {
            let from = to.saturating_sub(LOG_BLOCKS - 1);
            self.events(from, to, |_, event| match event {
                ChannelHubEvents::Settled(it) if it.channel == channel => {
                    found = Some((it.amount, it.claim));
                }
                ChannelHubEvents::Closed(it) if it.channel == channel => {
                    found = Some((it.amount, U256::ZERO));
                }
                _ => {}
            })?;
            match from.checked_sub(1) {
                Some(below) => to = below,
                None => break,
            }
        }
        found.ok_or_else(|| self.failed(format_args!("channel {channel} has not ended")))
    }

    /// The hub's events, in the chain's order, with their heights.
    fn events(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64, ChannelHubEvents),
    ) -> Result<(), ChainError> {
        let mut at = from;
        while at <= to {
            let end = to.min(at + LOG_BLOCKS - 1);
            let filter = Filter::new()
                .address(self.hub.address)
                .from_block(at)
                .to_block(end);
            for log in self.ask(self.node.get_logs(&filter))? {
                let height = log
                    .block_number
                    .ok_or_else(|| self.failed("a log without its block"))?;
                // Events that are not declared in `abi` are nobody's here.
                if let Ok(event) =
                    ChannelHubEvents::decode_raw_log(log.topics(), &log.inner.data.data)
                {
                    each(height, event);
                }
            }
            at = end + 1;
        }
        Ok(())
    }

    /// Sends a call to the hub, with this much of the chain's coin. It is given to the node, not yet in a block.
    ///
    /// # Errors
    /// The hub would refuse it (with the hub's reason), the wallet has too little, the node does not answer.
    pub fn send<C: SolCall>(
        &mut self,
        what: &'static str,
        call: &C,
        value: u128,
    ) -> Result<Sent, ChainError> {
        self.send_to(
            what,
            TxKind::Call(self.hub.address),
            call.abi_encode().into(),
            value,
        )
    }

    /// Sends anything to any contract, or makes one.
    ///
    /// # Errors
    /// As [`Evm::send`].
    pub fn send_to(
        &mut self,
        what: &'static str,
        to: TxKind,
        input: Bytes,
        value: u128,
    ) -> Result<Sent, ChainError> {
        let payer = self.payer().ok_or(ChainError::Unsupported(
            "there is no key that pays for transactions; name one",
        ))?;
        let mut request = TransactionRequest::default()
            .from(payer)
            .value(U256::from(value))
            .input(input.clone().into());
        request.to = Some(to);
        // As of the newest block: what is pending may be an earlier try of the same.
        let estimate = self.node.estimate_gas(request).block(BlockId::latest());
        let estimate = self.wait(estimate)?;
        let (base, tip) = self.fees()?;
        let gas = match estimate {
            Ok(gas) => gas,
            // Some nodes do not even estimate for an empty wallet.
            Err(error) if is(&error, "insufficient funds") => {
                return Err(ChainError::Fees {
                    payer: payer.to_string(),
                    what,
                    has: self.balance(payer)?.saturating_to(),
                    needs: value + GAS_TYPICAL * (2 * base + tip),
                });
            }
            Err(error) => return Err(self.refused(what, error)),
        };
        let nonce = self.free_number(payer)?;
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            // An inner payout is given its gas only if that much is left; what is not used is not paid.
            gas_limit: gas + gas / 4,
            max_fee_per_gas: 2 * base + tip,
            max_priority_fee_per_gas: tip,
            to,
            value: U256::from(value),
            access_list: Default::default(),
            input,
        };
        self.give(what, transaction)
    }

    /// The first number of the payer's that no transaction has, of those that the node knows: a reorganisation may have taken one back and the
    /// node forgotten it, and behind the gap nothing is mined.
    fn free_number(&self, payer: Address) -> Result<u64, ChainError> {
        let mined = self.ask(self.node.get_transaction_count(payer))?;
        let wallet = self.wallet.as_ref().expect("there is a payer");
        for nonce in mined..wallet.next.unwrap_or(mined) {
            let mut known = false;
            for (id, sent) in &wallet.sent {
                known |= sent.nonce == nonce
                    && self.ask(self.node.get_transaction_by_hash(*id))?.is_some();
            }
            if !known {
                return Ok(nonce);
            }
        }
        Ok(wallet.next.map_or(mined, |next| next.max(mined)))
    }

    /// Base fee of the next block, and what is given above it.
    pub(crate) fn fees(&self) -> Result<(u128, u128), ChainError> {
        let block = self.ask(self.node.get_block_by_number(BlockNumberOrTag::Latest))?;
        let block = block.ok_or_else(|| self.failed("it has no block"))?;
        let base = block.header.base_fee_per_gas.unwrap_or(0);
        let tip = self.ask(self.node.get_max_priority_fee_per_gas())?;
        Ok((u128::from(base), tip.max(1)))
    }

    /// Signs a transaction and gives it to the node; raises its fee while another of its number stands in the way.
    fn give(&mut self, what: &'static str, mut transaction: TxEip1559) -> Result<Sent, ChainError> {
        let payer = self.payer().expect("there is a payer");
        for _ in 0..RAISES {
            let needs = U256::from(transaction.gas_limit) * U256::from(transaction.max_fee_per_gas)
                + transaction.value;
            let has = self.balance(payer)?;
            if has < needs {
                return Err(ChainError::Fees {
                    payer: payer.to_string(),
                    what,
                    has: has.saturating_to(),
                    needs: needs.saturating_to(),
                });
            }
            let wallet = self.wallet.as_mut().expect("there is a payer");
            let signature = wallet.signer.sign_digest(transaction.signature_hash());
            let mut s = signature.vs;
            let parity = s[0] >> 7 == 1;
            s[0] &= 0x7f;
            let signature =
                alloy_primitives::Signature::from_scalars_and_parity(signature.r, s, parity);
            let signed = transaction.clone().into_signed(signature);
            let id = *signed.hash();
            let raw = TxEnvelope::from(signed).encoded_2718();
            let node = self.node.clone();
            let sent = self.wait(async move { node.send_raw_transaction(&raw).await })?;
            match sent {
                Ok(_) => {}
                Err(error) if is(&error, "underpriced") => {
                    raise(&mut transaction, 0, 0);
                    continue;
                }
                Err(error) if is(&error, "already known") || is(&error, "already imported") => {}
                Err(error) => return Err(self.refused(what, error)),
            }
            let wallet = self.wallet.as_mut().expect("there is a payer");
            wallet.next = wallet.next.max(Some(transaction.nonce + 1));
            wallet.sent.insert(id, transaction);
            return Ok(Sent { id, what });
        }
        Err(self.failed(
            "another transaction of the paying key stands in the way and is not outbid; wait until it is in a block",
        ))
    }

    /// A node's refusal, with the hub's own reason where there is one.
    fn refused(&self, what: &'static str, error: NodeError) -> ChainError {
        let Some(answer) = error.as_error_resp() else {
            return self.failed(error);
        };
        let why = match answer.as_revert_data() {
            Some(data) => match ChannelHubErrors::abi_decode(&data) {
                Ok(reason) => named(&format!("{reason:?}")).to_owned(),
                Err(_) => format!("{} ({data})", answer.message),
            },
            None => answer.message.to_string(),
        };
        ChainError::Refused { what, why }
    }

    fn call(
        &mut self,
        what: &'static str,
        holding: &Holding,
        form: Form,
    ) -> Result<Sent, ChainError> {
        let c = abi::Channel::from(&holding.terms);
        let Some(newest) = &holding.newest else {
            return match form {
                Form::Dispute => self.send(what, &ChannelHub::disputeRecordedCall { c }, 0),
                Form::Refute => Err(ChainError::Unsupported(
                    "nothing was ever signed for the channel: there is nothing to answer with",
                )),
            };
        };
        let refused = |why: ring0_channels::evidence::EvidenceError| ChainError::Refused {
            what,
            why: why.to_string(),
        };
        holding.verify().map_err(refused)?;
        let s = abi::state(holding, newest).map_err(refused)?;
        self.show(what, c, s, newest, form)
    }

    fn show(
        &mut self,
        what: &'static str,
        c: abi::Channel,
        s: abi::State,
        newest: &Evidence,
        form: Form,
    ) -> Result<Sent, ChainError> {
        let trader = newest.into();
        match (&newest.operator, form) {
            (OperatorHalf::Compact(signature), Form::Dispute) => {
                let operator = (*signature).into();
                self.send(
                    what,
                    &ChannelHub::disputeCall {
                        c,
                        s,
                        trader,
                        operator,
                    },
                    0,
                )
            }
            (OperatorHalf::Compact(signature), Form::Refute) => {
                let operator = (*signature).into();
                self.send(
                    what,
                    &ChannelHub::refuteCall {
                        c,
                        s,
                        trader,
                        operator,
                    },
                    0,
                )
            }
            (OperatorHalf::Leaf(leaf), Form::Dispute) => {
                let leaf_proof = abi::LeafProof::from(leaf).abi_encode().into();
                self.send(
                    what,
                    &ChannelHub::disputeByLeafCall {
                        c,
                        s,
                        trader,
                        leafProof: leaf_proof,
                    },
                    0,
                )
            }
            (OperatorHalf::Leaf(leaf), Form::Refute) => {
                let leaf_proof = abi::LeafProof::from(leaf).abi_encode().into();
                self.send(
                    what,
                    &ChannelHub::refuteByLeafCall {
                        c,
                        s,
                        trader,
                        leafProof: leaf_proof,
                    },
                    0,
                )
            }
        }
    }

    /// What a transaction that is in a block made and took: the contract's address if it made one, and the fee in the chain's coin.
    ///
    /// # Errors
    /// The node does not answer, or does not know it.
    pub fn receipt(&self, id: B256) -> Result<(Option<Address>, u128), ChainError> {
        let receipt = self.ask(self.node.get_transaction_receipt(id))?;
        let receipt = receipt.ok_or_else(|| self.failed(format_args!("{id} is in no block")))?;
        let fee = u128::from(receipt.gas_used) * receipt.effective_gas_price;
        Ok((receipt.contract_address, fee))
    }

    /// Waits until a transaction is in a block and raises its fee while it is not, every `patience`; gives it, or
    /// what outbid it.
    ///
    /// # Errors
    /// It was without effect, or the node does not answer, or `limit` is over.
    pub fn confirm(
        &mut self,
        sent: Sent,
        patience: Duration,
        limit: Duration,
    ) -> Result<Sent, ChainError> {
        let what = sent.what;
        let (begin, mut all) = (std::time::Instant::now(), vec![sent]);
        let mut raised = begin;
        while begin.elapsed() < limit {
            for sent in &all {
                match self.progress(sent)? {
                    Progress::Mined { .. } => return Ok(sent.clone()),
                    Progress::Reverted { height } => {
                        return Err(ChainError::Refused {
                            what,
                            why: format!(
                                "it is in block {height} without effect; look at what the channel is now"
                            ),
                        });
                    }
                    Progress::Waiting | Progress::Gone => {}
                }
            }
            if raised.elapsed() >= patience {
                raised = std::time::Instant::now();
                let newest = all.last().expect("there is one").clone();
                all.push(self.bump(&newest)?);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(self.failed(format_args!(
            "{what} is in no block after {} s; it may still come: ask again before it is sent anew",
            limit.as_secs()
        )))
    }
}

#[derive(Clone, Copy)]
enum Form {
    Dispute,
    Refute,
}

/// `Name { fields }`, out of `Name(Name { fields })`.
fn named(reason: &str) -> &str {
    let inner = reason.split_once('(').map(|(_, inner)| inner);
    inner.and_then(|it| it.strip_suffix(')')).unwrap_or(reason)
}

fn is(error: &NodeError, text: &str) -> bool {
    error
        .as_error_resp()
        .is_some_and(|answer| answer.message.contains(text))
}

/// At least an eighth more, and at least what the next block takes.
fn raise(transaction: &mut TxEip1559, base: u128, tip: u128) {
    let more = |fee: u128| fee * RAISE.0 / RAISE.1 + 1;
    transaction.max_priority_fee_per_gas = more(transaction.max_priority_fee_per_gas).max(tip);
    transaction.max_fee_per_gas =
        more(transaction.max_fee_per_gas).max(2 * base + transaction.max_priority_fee_per_gas);
}

impl Chain for Evm {
    type Exit = Holding;

    fn tip(&mut self) -> Result<Block, ChainError> {
        let height = self.ask(self.node.get_block_number())?;
        let tip = self.block(height)?;
        tip.ok_or_else(|| self.failed("its newest block went while it was asked for"))
    }

    fn block(&mut self, height: u64) -> Result<Option<Block>, ChainError> {
        let block = self
            .node
            .get_block_by_number(BlockNumberOrTag::Number(height));
        Ok(self.ask(block)?.map(|block| Block {
            height,
            hash: block.header.hash,
            time: block.header.timestamp,
        }))
    }

    fn facts(&mut self, from: u64, to: u64) -> Result<Vec<Seen>, ChainError> {
        let mut seen = Vec::new();
        let mut odd = None;
        self.events(from, to, |height, event| {
            let mut amount = |amount: U256| {
                amount.try_into().unwrap_or_else(|_| {
                    odd = Some(amount);
                    u128::MAX
                })
            };
            let (channel, fact) = match event {
                ChannelHubEvents::Opened(it) => (
                    it.channel,
                    Fact::Opened {
                        deposited: amount(it.amount),
                    },
                ),
                ChannelHubEvents::Deposited(it) => (
                    it.channel,
                    Fact::Deposited {
                        deposited: amount(it.deposited),
                    },
                ),
                ChannelHubEvents::Withdrawn(it) => (
                    it.channel,
                    Fact::Withdrawn {
                        withdrawn: amount(it.withdrawn),
                    },
                ),
                ChannelHubEvents::Disputed(it) => (
                    it.channel,
                    Fact::Disputed {
                        version: it.version.to(),
                    },
                ),
                ChannelHubEvents::Refuted(it) => (
                    it.channel,
                    Fact::Disputed {
                        version: it.version.to(),
                    },
                ),
                ChannelHubEvents::Closed(it) => (it.channel, Fact::Settled),
                ChannelHubEvents::Settled(it) => (it.channel, Fact::Settled),
                ChannelHubEvents::Frozen(_) => (B256::ZERO, Fact::Frozen),
                ChannelHubEvents::Checkpointed(_)
                | ChannelHubEvents::Disclosed(_)
                | ChannelHubEvents::GrantDisclosed(_) => return,
            };
            seen.push(Seen {
                height,
                channel,
                fact,
            });
        })?;
        match odd {
            Some(amount) => {
                Err(self.failed(format_args!("an event states {amount}, which no hub holds")))
            }
            None => Ok(seen),
        }
    }

    fn dispute(&mut self, exit: &Holding) -> Result<Sent, ChainError> {
        self.call("dispute", exit, Form::Dispute)
    }

    fn refute(&mut self, exit: &Holding) -> Result<Sent, ChainError> {
        self.call("refutation", exit, Form::Refute)
    }

    fn settle(&mut self, exit: &Holding) -> Result<Sent, ChainError> {
        let c = abi::Channel::from(&exit.terms);
        self.send("settlement", &ChannelHub::settleCall { c }, 0)
    }

    fn progress(&mut self, sent: &Sent) -> Result<Progress, ChainError> {
        if let Some(receipt) = self.ask(self.node.get_transaction_receipt(sent.id))? {
            let height = receipt
                .block_number
                .ok_or_else(|| self.failed("a receipt without its block"))?;
            return Ok(match receipt.status() {
                true => Progress::Mined { height },
                false => Progress::Reverted { height },
            });
        }
        let known = self.ask(self.node.get_transaction_by_hash(sent.id))?;
        Ok(match known {
            Some(_) => Progress::Waiting,
            None => Progress::Gone,
        })
    }

    fn bump(&mut self, sent: &Sent) -> Result<Sent, ChainError> {
        let wallet = self.wallet.as_ref();
        let transaction = wallet.and_then(|wallet| wallet.sent.get(&sent.id));
        let mut transaction = transaction
            .ok_or(ChainError::Unsupported(
                "the transaction is of another process; it is sent anew, which outbids it",
            ))?
            .clone();
        let (base, tip) = self.fees()?;
        raise(&mut transaction, base, tip);
        self.give(sent.what, transaction)
    }
}

impl Evm {
    /// Whether there is a contract at the hub's address.
    ///
    /// # Errors
    /// The node does not answer.
    pub fn is_deployed(&self) -> Result<bool, ChainError> {
        let code = self
            .node
            .get_code_at(self.hub.address)
            .block_id(BlockId::latest());
        Ok(!self.ask(code)?.is_empty())
    }
}
