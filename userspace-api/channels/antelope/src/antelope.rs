//! One hub on one chain, by a node's HTTP API: what its rows tell, and transactions to it by a wallet of their own.

use crate::account::Name;
use crate::action;
use crate::looks::Looks;
use crate::node::{self, Info, NoAnswer, Node};
use crate::row::{self, Channel, Settings};
use crate::transaction::{self, Action, Transaction, Wallet};
use alloy_primitives::{B256, hex};
use ring0_channels::chain::{Block, Chain, ChainError, Progress, Seen, Sent};
use ring0_channels::evidence::{EvidenceError, Holding};
use ring0_channels::message::Hub;
use serde_json::json;
use std::fmt;

/// Seconds that a transaction has to come into a block: long for blocks of half a second, short for who waits until it may be sent anew.
const LIFETIME: u64 = 60;
/// Looks at the rows that are begun again because a block came in between. Blocks come every half second, a look takes milliseconds.
const READS: usize = 20;
/// Refusals of nodeos that another transaction, made a moment later, does not meet: expired, of another branch, no time left in the block.
const PASSING: [u64; 5] = [3_040_005, 3_040_007, 3_080_003, 3_080_005, 3_080_006];
/// `tx_duplicate` of nodeos: it has this very transaction.
const DUPLICATE: u64 = 3_040_008;
/// `unsatisfied_authorization` of nodeos and its neighbours.
const AUTHORITY: std::ops::RangeInclusive<u64> = 3_090_000..=3_090_999;

/// A hub by a node.
pub struct Antelope {
    node: Node,
    hub: Hub,
    account: Name,
    settings: Settings,
    wallet: Option<Wallet>,
    looks: Looks,
}

impl fmt::Debug for Antelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Antelope({} at {})", self.account, self.node.url)
    }
}

impl Antelope {
    /// Through the node at `url` (http). `wallet` authorises transactions and its account pays for them; without it there are only questions.
    ///
    /// # Errors
    /// The node does not answer, or has no such hub of this lineage.
    pub fn connect(url: &str, hub: Hub, wallet: Option<Wallet>) -> Result<Antelope, ChainError> {
        let node = Node::new(url);
        let account = Name::of(hub.address).ok_or_else(|| {
            node.failed(format!(
                "the hub's address {} stands for no account of an Antelope chain",
                hub.address
            ))
        })?;
        let settings = single(&node, account, "settings", Settings::unpack)?;
        if settings.lineage != B256::from(hub.lineage) {
            return Err(node.failed(format!(
                "the hub at {account} is of lineage {}, not of {}; use a node of the chain that is meant",
                settings.lineage,
                B256::from(hub.lineage)
            )));
        }
        Ok(Antelope {
            node,
            hub,
            account,
            settings,
            wallet,
            looks: Looks::default(),
        })
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The hub's account.
    #[must_use]
    pub fn account(&self) -> Name {
        self.account
    }

    /// What the hub was set up with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the hub knows of a channel; `None`: it was never opened.
    ///
    /// # Errors
    /// The node does not answer, or answers what no hub has.
    pub fn channel(&self, id: B256) -> Result<Option<Channel>, ChainError> {
        let (key, _) = id.split_first_chunk().expect("a word has eight bytes");
        let key = u64::from_be_bytes(*key);
        let rows = self.channels(key, key)?;
        Ok(rows.into_iter().find(|it| it.id == id))
    }

    fn channels(&self, from: u64, to: u64) -> Result<Vec<Channel>, ChainError> {
        let hub = self.account.to_string();
        let rows = self.node.rows(&hub, &hub, "channels", from, to)?;
        let rows = rows
            .iter()
            .map(|bytes| Channel::unpack(bytes).ok_or_else(|| self.foreign("channels", bytes)));
        rows.collect()
    }

    fn foreign(&self, table: &str, bytes: &[u8]) -> ChainError {
        foreign(&self.node, self.account, table, bytes)
    }

    /// All rows, as they are after the block that is given.
    fn look(&self) -> Result<(Block, Vec<Channel>, bool), ChainError> {
        let mut head = self.node.info()?.head;
        for _ in 0..READS {
            let rows = self.channels(0, u64::MAX)?;
            let frozen = single(&self.node, self.account, "status", row::is_frozen)?;
            let after = self.node.info()?.head;
            if after == head {
                return Ok((head, rows, frozen));
            }
            head = after;
        }
        Err(self.node.failed(format!(
            "in {READS} tries a block came before all rows were read; use a node that is nearer"
        )))
    }

    /// Sends actions in one transaction, by the wallet's authority. The node has taken it, it is not yet in a block.
    ///
    /// # Errors
    /// A contract refuses it (with the contract's reason), the key is not the account's, the node does not answer.
    pub fn send(&mut self, what: &'static str, actions: Vec<Action>) -> Result<Sent, ChainError> {
        let wallet = self.wallet.as_ref().ok_or(ChainError::Unsupported(
            "there is no account that pays for transactions; name one, its permission and its key",
        ))?;
        let info: Info = self.node.info()?;
        let expiration = u32::try_from(info.head.time + LIFETIME).map_err(|_| {
            self.node
                .failed("its chain's time is beyond 2106, where transactions cannot end")
        })?;
        let transaction = Transaction {
            expiration,
            reference: info.irreversible,
            actions,
        };
        let packed = transaction.packed(wallet);
        let id = transaction::id(&packed);
        let signature = wallet.key.sign(transaction::digest(info.chain, &packed));
        let question = json!({
            "return_failure_trace": false,
            "retry_trx": false,
            "transaction": {
                "signatures": [signature],
                "compression": "none",
                "packed_context_free_data": "",
                "packed_trx": hex::encode(packed),
            },
        });
        match self.node.try_ask("send_transaction2", &question) {
            Ok(it) if node::word(&it["transaction_id"]) == Some(id) => Ok(Sent { id, what }),
            Ok(it) => Err(self.node.failed(format!(
                "it took transaction {id} under another name: {}",
                it["transaction_id"]
            ))),
            Err(NoAnswer::Refused {
                code: DUPLICATE, ..
            }) => Ok(Sent { id, what }),
            Err(NoAnswer::Refused { code, why }) if PASSING.contains(&code) => {
                Err(self.node.failed(format!("{what}: {why}")))
            }
            Err(NoAnswer::Refused { code, why }) if AUTHORITY.contains(&code) => {
                Err(ChainError::Refused {
                    what,
                    why: format!(
                        "{why} (signed by {} for {}@{}; name a key of that permission, or link the permission to the action)",
                        wallet.key.public(),
                        wallet.account,
                        wallet.permission
                    ),
                })
            }
            Err(NoAnswer::Refused { why, .. }) => Err(ChainError::Refused { what, why }),
            Err(NoAnswer::Broken(error)) => Err(error),
        }
    }

    /// That a holding is of this hub.
    fn require_own(&self, what: &'static str, holding: &Holding) -> Result<(), ChainError> {
        match holding.hub == self.hub {
            true => Ok(()),
            false => Err(ChainError::Refused {
                what,
                why: format!(
                    "the state is of the hub {} and not of {}",
                    holding.hub.address, self.account
                ),
            }),
        }
    }
}

/// The row of a table with one.
fn single<T>(
    node: &Node,
    hub: Name,
    table: &'static str,
    unpack: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, ChainError> {
    let key: Name = table.parse().expect("names of tables are names");
    let rows = node.rows(&hub.to_string(), &hub.to_string(), table, key.0, key.0)?;
    let row = rows.first().ok_or_else(|| {
        node.failed(format!(
            "the account {hub} has no {table} of a hub; use a node of the chain that is meant"
        ))
    })?;
    unpack(row).ok_or_else(|| foreign(node, hub, table, row))
}

fn foreign(node: &Node, hub: Name, table: &str, bytes: &[u8]) -> ChainError {
    node.failed(format!(
        "a row of {table} at {hub} has {} bytes, which no hub's has; the account has another contract",
        bytes.len()
    ))
}

fn worthless(what: &'static str) -> impl Fn(EvidenceError) -> ChainError {
    move |why| ChainError::Refused {
        what,
        why: why.to_string(),
    }
}

impl Chain for Antelope {
    type Exit = Holding;

    fn tip(&mut self) -> Result<Block, ChainError> {
        Ok(self.node.info()?.head)
    }

    fn block(&mut self, height: u64) -> Result<Option<Block>, ChainError> {
        self.node.block(height)
    }

    /// What the hub's rows at the tip add to what they were when they were last looked at, at the block where it was first seen. The first call of a process tells
    /// all that there is. A look at a block above `to` is told by a later call.
    fn facts(&mut self, from: u64, to: u64) -> Result<Vec<Seen>, ChainError> {
        for (height, hash) in self.looks.blocks(from) {
            if self.node.block(height)?.map(|it| it.hash) != Some(hash) {
                self.looks.cut(height);
                break;
            }
        }
        let head = self.node.info()?.head;
        let known = self.looks.blocks(head.height);
        let at = if known.contains(&(head.height, head.hash)) {
            head
        } else {
            let (at, rows, frozen) = self.look()?;
            if self.looks.blocks(at.height).is_empty() {
                self.looks.see(at.height, at.hash, rows, frozen);
            }
            at
        };
        // What stands at a block is told with it: a chain that is shorter now, or was left for another, is asked again.
        if at.height < to || self.looks.blocks(at.height) != [(at.height, at.hash)] {
            return Err(self
                .node
                .failed("its chain changed while its rows were read"));
        }
        Ok(self.looks.facts(from, to))
    }

    fn dispute(&mut self, exit: &Holding) -> Result<Sent, ChainError> {
        let what = "dispute";
        self.require_own(what, exit)?;
        let caller = self
            .wallet
            .as_ref()
            .map_or_else(Name::default, |it| it.account);
        let action = action::dispute(self.account, caller, exit).map_err(worthless(what))?;
        self.send(what, vec![action])
    }

    fn refute(&mut self, exit: &Holding) -> Result<Sent, ChainError> {
        let what = "refutation";
        self.require_own(what, exit)?;
        let newest = exit.newest.as_ref().ok_or(ChainError::Unsupported(
            "nothing was ever signed for the channel: there is nothing to answer with",
        ))?;
        let action = action::refute(self.account, exit, newest).map_err(worthless(what))?;
        self.send(what, vec![action])
    }

    /// Books and pays in one transaction. If nothing is to be paid, or its owner refuses the money, it only books.
    fn settle(&mut self, exit: &Holding) -> Result<Sent, ChainError> {
        let what = "settlement";
        self.require_own(what, exit)?;
        let channel = exit.channel();
        let settle = action::settle(self.account, channel);
        let collect = action::collect(self.account, channel);
        match self.send(what, vec![settle.clone(), collect]) {
            Err(ChainError::Refused { .. }) => self.send(what, vec![settle]),
            done => done,
        }
    }

    /// By the node's transaction status (`transaction-finality-status-max-storage-size-gb`), which a node without a history has too.
    fn progress(&mut self, sent: &Sent) -> Result<Progress, ChainError> {
        let question = json!({"id": hex::encode(sent.id)});
        let it = self.node.ask("get_transaction_status", &question);
        let it = it.map_err(|error| match error {
            ChainError::Node { node, why } => ChainError::Node {
                node,
                why: format!("{why} (it tells where a transaction is if it runs with transaction-finality-status-max-storage-size-gb)"),
            },
            other => other,
        })?;
        Ok(match it["state"].as_str() {
            // One that a fork took out comes into a block again until it expires.
            Some("LOCALLY_APPLIED" | "FORKED_OUT") => Progress::Waiting,
            Some("IN_BLOCK" | "IRREVERSIBLE") => Progress::Mined {
                height: node::number(&it["block_number"]).ok_or_else(|| {
                    self.node
                        .failed("a transaction in a block without its number")
                })?,
            },
            // One without effect is in no block here.
            Some("FAILED" | "UNKNOWN") => Progress::Gone,
            _ => {
                return Err(self.node.failed(format!(
                    "a transaction's state is {}, which is none",
                    it["state"]
                )));
            }
        })
    }

    fn bump(&mut self, _: &Sent) -> Result<Sent, ChainError> {
        Err(ChainError::Unsupported(
            "an Antelope chain has no auction of fees: a transaction is in a block within a minute or never; see that its account has CPU, NET and RAM, and make the step anew once it is gone",
        ))
    }
}
