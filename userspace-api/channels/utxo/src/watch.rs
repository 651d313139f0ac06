//! What a node's best chain says of channels: their funding outputs, commitments that spend them, and who took what.
//!
//! Blocks are read once, from the oldest channel's on, and kept as hash and findings. Before each answer the kept blocks are
//! compared with the node's: those that left the best chain go, with what was found in them. So all that is said is of one
//! chain, the best one, also while it is reorganised; and nothing here has to survive a restart.

use bitcoin::{
    Amount, BlockHash, OutPoint, Transaction, Txid, consensus::encode::deserialize_hex,
    hashes::Hash,
};
use ring0_bitcoin::{
    commitment::Commitment,
    keys::Party,
    rpc::{Node, RpcError},
    terms::{ChannelId, Terms},
    watched::Watched,
};
use ring0_channels::{
    B256,
    chain::{Block, Seen},
    life::Fact,
};
use serde_json::{Value, json};

/// A commitment in the chain.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its block.
    pub height: u64,
    /// Its version.
    pub version: u64,
    /// The transaction.
    pub tx: Transaction,
}

/// What was found in a block.
#[derive(Clone, Debug)]
struct Finding {
    height: u64,
    txid: Txid,
    channel: ChannelId,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// The output at this place of the channel's list is there.
    Funded(usize),
    /// The funding output went to something else than a commitment or the next funding output.
    Closed,
    Committed(Box<Published>),
    /// A balance of the commitment was taken; whether it was the last one.
    Taken(OutPoint, bool),
}

/// What is kept of a block.
#[derive(Clone, Copy, Debug)]
struct Header {
    hash: BlockHash,
    time: u64,
}

/// Channels on a node's best chain.
#[derive(Debug)]
pub struct Watch {
    node: Node,
    channels: Vec<Watched>,
    /// Height of the first kept block.
    start: u64,
    headers: Vec<Header>,
    findings: Vec<Finding>,
}

/// As people and nodes write it: the other way round than it is hashed.
pub(crate) fn written(hash: [u8; 32]) -> B256 {
    let mut bytes = hash;
    bytes.reverse();
    B256::from(bytes)
}

/// A channel's name.
#[must_use]
pub fn name(id: ChannelId) -> B256 {
    B256::from(id.to_byte_array())
}

impl Watch {
    /// Looks at a node's chain; nothing to look for yet.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self {
            node,
            channels: Vec::new(),
            start: 0,
            headers: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Looks for a channel, or for another funding output of one that is looked for already. Nothing of it is in a block below
    /// `since`; the blocks from there on are read again.
    pub fn add(&mut self, channel: Watched, since: u64) {
        if self.channels.is_empty() || since < self.start {
            self.headers.clear();
            self.start = since;
        }
        self.cut(since);
        match self.channels.iter_mut().find(|it| it.id == channel.id) {
            Some(known) => *known = channel,
            None => self.channels.push(channel),
        }
    }

    /// A channel that is looked for.
    #[must_use]
    pub fn channel(&self, id: ChannelId) -> Option<&Watched> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    /// Forgets the blocks from `height` on.
    fn cut(&mut self, height: u64) {
        let kept = usize::try_from(height.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.headers.truncate(kept);
        self.findings.retain(|finding| finding.height < height);
    }

    fn next(&self) -> u64 {
        self.start + self.headers.len() as u64
    }

    /// Follows the node to its best block.
    ///
    /// # Errors
    /// [`RpcError`].
    pub fn follow(&mut self) -> Result<Block, RpcError> {
        loop {
            let tip = number(&self.node, "getblockcount")?;
            // From the top down to the last block that both have.
            while let Some(last) = self.headers.last() {
                let height = self.next() - 1;
                if height <= tip && self.hash(height)? == Some(last.hash) {
                    break;
                }
                self.cut(height);
            }
            if self.next() > tip || self.channels.is_empty() {
                return self.known(tip);
            }
            // A block that does not lie on the last one kept: the chain changed meanwhile, so begin again.
            while self.next() <= tip && self.read()? {}
        }
    }

    /// The tip, when nothing has to be read below it.
    fn known(&self, tip: u64) -> Result<Block, RpcError> {
        match self.kept(tip) {
            Some(block) => Ok(block),
            None => self.header(tip)?.ok_or_else(|| RpcError::Answer {
                method: "getblockhash".to_owned(),
                reason: format!("no block at the node's own height {tip}"),
            }),
        }
    }

    fn kept(&self, height: u64) -> Option<Block> {
        let place = usize::try_from(height.checked_sub(self.start)?).ok()?;
        let header = self.headers.get(place)?;
        Some(Block {
            height,
            hash: written(header.hash.to_byte_array()),
            time: header.time,
        })
    }

    /// The hash at a height of the best chain; `None` above it.
    fn hash(&self, height: u64) -> Result<Option<BlockHash>, RpcError> {
        match self.node.call("getblockhash", &[json!(height)]) {
            Ok(hash) => parsed(&hash, "getblockhash").map(Some),
            // RPC_INVALID_PARAMETER: block height out of range.
            Err(RpcError::Refused { code: -8, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The block at a height of the best chain, as it is now; `None` above it.
    ///
    /// # Errors
    /// [`RpcError`].
    pub fn header(&self, height: u64) -> Result<Option<Block>, RpcError> {
        let Some(hash) = self.hash(height)? else {
            return Ok(None);
        };
        let header = self
            .node
            .call("getblockheader", &[json!(hash.to_string())])?;
        Ok(Some(Block {
            height,
            hash: written(hash.to_byte_array()),
            time: field(&header["time"], "getblockheader")?,
        }))
    }

    /// Reads the next block. False when it does not lie on the last one.
    fn read(&mut self) -> Result<bool, RpcError> {
        let height = self.next();
        let Some(hash) = self.hash(height)? else {
            return Ok(false);
        };
        let block = self
            .node
            .call("getblock", &[json!(hash.to_string()), json!(2)])?;
        if let Some(last) = self.headers.last()
            && parsed::<BlockHash>(&block["previousblockhash"], "getblock")? != last.hash
        {
            return Ok(false);
        }
        let time = field(&block["time"], "getblock")?;
        let kept = self.findings.len();
        for tx in block["tx"].as_array().into_iter().flatten() {
            if let Err(error) = self.look(height, tx) {
                self.findings.truncate(kept); // half a block is none
                return Err(error);
            }
        }
        self.headers.push(Header { hash, time });
        Ok(true)
    }

    /// Looks at one transaction of a block.
    fn look(&mut self, height: u64, tx: &Value) -> Result<(), RpcError> {
        let txid: Txid = parsed(&tx["txid"], "getblock")?;
        let mut spent = Vec::new();
        for input in tx["vin"].as_array().into_iter().flatten() {
            if input.get("txid").is_some() {
                spent.push(OutPoint {
                    txid: parsed(&input["txid"], "getblock")?,
                    vout: field(&input["vout"], "getblock")? as u32,
                });
            }
        }
        let mut found = Vec::new();
        for channel in &self.channels {
            let mut whats = Vec::new();
            let live = self.live(channel);
            if let Some(place) = funded(channel, txid, tx)? {
                whats.push(What::Funded(place));
            } else if live.funding.is_some_and(|funding| spent.contains(&funding)) {
                let tx = decoded(tx)?;
                whats.push(match Commitment::version_of(&channel.terms, &tx) {
                    Some(version) => What::Committed(Box::new(Published {
                        height,
                        version,
                        tx,
                    })),
                    None => What::Closed,
                });
            }
            let mut left = live.balances.len();
            for balance in live.balances.iter().filter(|it| spent.contains(it)) {
                left -= 1;
                whats.push(What::Taken(*balance, left == 0));
            }
            found.extend(whats.into_iter().map(|what| Finding {
                height,
                txid,
                channel: channel.id,
                what,
            }));
        }
        self.findings.extend(found);
        Ok(())
    }

    /// What of a channel is unspent.
    fn live(&self, channel: &Watched) -> Live {
        let mut live = Live::default();
        for finding in self.of(channel.id) {
            match &finding.what {
                What::Funded(place) => {
                    live.funding = Some(channel.outputs[*place].funding.outpoint);
                }
                What::Closed => live.funding = None,
                What::Committed(published) => {
                    live.funding = None;
                    live.balances = balances(&channel.terms, &published.tx);
                }
                What::Taken(balance, _) => live.balances.retain(|it| it != balance),
            }
        }
        live
    }

    fn of(&self, id: ChannelId) -> impl DoubleEndedIterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.channel == id)
    }

    /// What happened in the kept blocks `from..=to`.
    #[must_use]
    pub fn facts(&self, from: u64, to: u64) -> Vec<Seen> {
        let mut seen = Vec::new();
        for finding in &self.findings {
            if !(from..=to).contains(&finding.height) {
                continue;
            }
            for fact in self.told(finding) {
                seen.push(Seen {
                    height: finding.height,
                    channel: name(finding.channel),
                    fact,
                });
            }
        }
        seen
    }

    fn told(&self, finding: &Finding) -> Vec<Fact> {
        match &finding.what {
            What::Funded(0) => {
                let channel = self.channel(finding.channel).expect("it was found for it");
                vec![Fact::Opened {
                    deposited: sat(channel.outputs[0].deposited),
                }]
            }
            What::Funded(place) => {
                let channel = self.channel(finding.channel).expect("it was found for it");
                let (before, now) = (channel.outputs[place - 1], channel.outputs[*place]);
                let mut facts = Vec::new();
                if now.deposited != before.deposited {
                    facts.push(Fact::Deposited {
                        deposited: sat(now.deposited),
                    });
                }
                if now.withdrawn != before.withdrawn {
                    facts.push(Fact::Withdrawn {
                        withdrawn: sat(now.withdrawn),
                    });
                }
                facts
            }
            What::Committed(published) => vec![Fact::Disputed {
                version: published.version,
            }],
            What::Closed | What::Taken(_, true) => vec![Fact::Settled],
            What::Taken(_, false) => Vec::new(),
        }
    }

    /// The channel's funding output that is unspent in the kept blocks.
    #[must_use]
    pub fn unspent(&self, id: ChannelId) -> Option<OutPoint> {
        self.live(self.channel(id)?).funding
    }

    /// The channel's commitment in the kept blocks.
    #[must_use]
    pub fn published(&self, id: ChannelId) -> Option<&Published> {
        self.of(id).rev().find_map(|finding| match &finding.what {
            What::Committed(published) => Some(&**published),
            _ => None,
        })
    }

    /// Which transaction took a balance.
    #[must_use]
    pub fn taker(&self, balance: OutPoint) -> Option<Txid> {
        self.findings.iter().find_map(|finding| match finding.what {
            What::Taken(taken, _) if taken == balance => Some(finding.txid),
            _ => None,
        })
    }

    /// The block of a transaction that was found.
    #[must_use]
    pub fn height_of(&self, txid: Txid) -> Option<u64> {
        let found = self.findings.iter().find(|finding| finding.txid == txid);
        found.map(|finding| finding.height)
    }
}

/// What of a channel is unspent.
#[derive(Debug, Default)]
struct Live {
    funding: Option<OutPoint>,
    balances: Vec<OutPoint>,
}

/// Which of the channel's funding outputs a transaction makes. Who told of it may have said that it holds more than it does: then none.
fn funded(channel: &Watched, txid: Txid, tx: &Value) -> Result<Option<usize>, RpcError> {
    let mut outputs = channel.outputs.iter();
    let Some(place) = outputs.position(|output| output.funding.outpoint.txid == txid) else {
        return Ok(None);
    };
    let funding = channel.outputs[place].funding;
    let made = decoded(tx)?;
    let output = made.output.get(funding.outpoint.vout as usize);
    Ok((output == Some(&funding.output(&channel.terms))).then_some(place))
}

/// The balances of a commitment: all its outputs but the anchors.
fn balances(terms: &Terms, tx: &Transaction) -> Vec<OutPoint> {
    let anchors = [Party::Trader, Party::Operator].map(|party| terms.anchor_script(party));
    let txid = tx.compute_txid();
    let balances = tx.output.iter().zip(0..);
    balances
        .filter(|(output, _)| !anchors.contains(&output.script_pubkey))
        .map(|(_, vout)| OutPoint { txid, vout })
        .collect()
}

fn sat(amount: Amount) -> u128 {
    u128::from(amount.to_sat())
}

fn decoded(tx: &Value) -> Result<Transaction, RpcError> {
    deserialize_hex(tx["hex"].as_str().unwrap_or_default()).map_err(|error| RpcError::Answer {
        method: "getblock".to_owned(),
        reason: format!("transaction {}: {error}", tx["txid"]),
    })
}

fn parsed<T: std::str::FromStr>(value: &Value, method: &str) -> Result<T, RpcError> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|_| RpcError::Answer {
        method: method.to_owned(),
        reason: format!("{value} is no hash"),
    })
}

fn field(value: &Value, method: &str) -> Result<u64, RpcError> {
    value.as_u64().ok_or_else(|| RpcError::Answer {
        method: method.to_owned(),
        reason: format!("{value} is no number"),
    })
}

fn number(node: &Node, method: &str) -> Result<u64, RpcError> {
    field(&node.call(method, &[])?, method)
}
