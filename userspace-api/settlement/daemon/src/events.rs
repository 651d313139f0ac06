//! What a hub tells beyond the facts of a channel's life: terms of new channels, moves between escrow and vault, the vault's money, roots and pins. And what
//! it holds at a height. By the node's JSON-RPC.

use crate::decimal;
use alloy_primitives::{Bytes, hex};
use alloy_sol_types::{SolCall, SolEventInterface};
use ring0_channels::chain::{Block, ChainError};
use ring0_channels::message::{Hub, Terms};
use ring0_channels::{Address, B256, U256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// Logs are asked for so many blocks at a time: public nodes refuse more.
const LOG_BLOCKS: u64 = 2_000;
/// How long a node may take for one answer.
const ANSWER: Duration = Duration::from_secs(30);

alloy_sol_types::sol! {
    /// Of `contracts/evm/src/IChannelHub.sol` what is read here.
    #[derive(Debug)]
    #[allow(missing_docs)]
    interface HubTells {
        event Opened(bytes32 indexed channel, address indexed owner, address cosigner, address token, uint64 nonce, uint256 amount);
        event Deposited(bytes32 indexed channel, uint256 amount, uint256 deposited);
        event Withdrawn(bytes32 indexed channel, address recipient, uint256 amount, uint256 withdrawn);
        event Closed(bytes32 indexed channel, address recipient, uint256 amount);
        event Rebalanced(bytes32 indexed channel, uint40 number, int256 moved);
        event Disputed(bytes32 indexed channel, uint40 version, int256 base, uint40 deadline);
        event Settled(bytes32 indexed channel, uint256 amount, uint256 claim);
        event ClaimPaid(bytes32 indexed channel, uint256 amount, uint256 left);
        event VaultFunded(address indexed token, address indexed from, uint256 amount);
        event VaultWithdrawn(address indexed token, uint256 amount);
        event Posted(address indexed token, uint40 epoch, bytes32 root, uint256 balance, uint256 excess, uint256 locked);
        event Pinned(bytes32 indexed branch, uint256 number);
    }

    #[allow(missing_docs)]
    interface Token {
        function balanceOf(address account) external view returns (uint256);
        function decimals() external view returns (uint8);
    }

    /// What a hub was made with, and whether it stands still.
    #[allow(missing_docs)]
    interface HubSays {
        function lineage() external view returns (uint256);
        function operator() external view returns (address);
        function venueDomain() external view returns (bytes32);
        function anchor() external view returns (uint40);
        function frozenAt() external view returns (uint40);
    }

    #[allow(missing_docs)]
    interface HubTakes {
        struct VaultStatus {
            uint256 balance;
            uint256 locked;
            uint256 outstanding;
            uint256 owed;
            uint24 number;
            uint40 epoch;
            uint40 postedAt;
        }
        struct Channel { address owner; address cosigner; address token; uint64 nonce; }
        struct Signature { bytes32 r; bytes32 vs; }
        struct Rebalancing {
            Channel channel;
            uint40 number;
            int128 moved;
            bytes32 branch;
            uint40 deadline;
            Signature cosigner;
            Signature operator;
        }
        function vaultOf(address token) external view returns (VaultStatus memory status);
        function rebalance(Rebalancing[] calldata items) external;
    }
}

pub use HubTakes::{
    Channel as ChannelWords, Rebalancing as RebalancingWords, Signature as SignatureWords,
    rebalanceCall,
};

/// Something that a hub told. Amounts in base units.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HubEvent {
    /// A channel is there.
    Opened {
        /// Its terms.
        terms: Terms,
        /// The first deposit.
        #[serde(with = "decimal")]
        deposited: u128,
    },
    /// Paid in so far.
    Deposited {
        /// The channel.
        channel: B256,
        /// Cumulative.
        #[serde(with = "decimal")]
        deposited: u128,
    },
    /// Paid out so far.
    Withdrawn {
        /// The channel.
        channel: B256,
        /// Cumulative.
        #[serde(with = "decimal")]
        withdrawn: u128,
    },
    /// Moved from the vault into the escrow; negative: the other way.
    Rebalanced {
        /// The channel.
        channel: B256,
        /// The move's number.
        number: u64,
        /// How much, this time.
        #[serde(with = "decimal")]
        moved: i128,
    },
    /// A dispute has begun.
    Disputed {
        /// The channel.
        channel: B256,
    },
    /// Closed or settled.
    Ended {
        /// The channel.
        channel: B256,
        /// What it was paid.
        #[serde(with = "decimal")]
        paid: u128,
        /// What the hub still owes.
        #[serde(with = "decimal")]
        claim: u128,
    },
    /// A claim was paid, or a part of it.
    ClaimPaid {
        /// The channel.
        channel: B256,
        /// How much.
        #[serde(with = "decimal")]
        amount: u128,
    },
    /// The vault grew; negative: the operator took out.
    Funded {
        /// The token.
        token: Address,
        /// How much.
        #[serde(with = "decimal")]
        amount: i128,
    },
    /// A root was posted.
    Posted {
        /// The token.
        token: Address,
        /// The batch.
        epoch: u64,
    },
    /// A block was pinned.
    Pinned {
        /// Its hash.
        branch: B256,
        /// Its height.
        number: u64,
    },
}

/// An event and the height of its block.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told {
    /// Height.
    pub height: u64,
    /// What.
    pub event: HubEvent,
}

/// What a hub has of a token at a height.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Holds {
    /// The height.
    pub height: u64,
    /// All of it.
    pub balance: u128,
    /// What of it is the vault's.
    pub vault: u128,
    /// What of the vault is locked for posted roots.
    pub locked: u128,
    /// Claims that no inflow has funded yet.
    pub owed: u128,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Rpc {
    url: String,
    agent: ureq::Agent,
}

impl Rpc {
    /// At a URL.
    #[must_use]
    pub fn new(url: &str) -> Rpc {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER))
            .build();
        Rpc {
            url: url.to_owned(),
            agent: config.into(),
        }
    }

    pub(crate) fn failed(&self, why: impl std::fmt::Display) -> ChainError {
        ChainError::Node {
            node: self.url.clone(),
            why: why.to_string(),
        }
    }

    fn call(&self, method: &str, parameters: Value) -> Result<Value, ChainError> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
        let sent = self.agent.post(&self.url).send_json(&request);
        let mut answer = sent.map_err(|error| self.failed(format_args!("{method}: {error}")))?;
        let mut answer: Value = answer
            .body_mut()
            .with_config()
            .limit(256 << 20)
            .read_json()
            .map_err(|error| self.failed(format_args!("{method}: {error}")))?;
        match answer.get("error") {
            Some(error) => Err(self.failed(format_args!("{method}: {error}"))),
            None => Ok(answer["result"].take()),
        }
    }

    /// What a hub told in the blocks `from..=to`, in the chain's order.
    ///
    /// # Errors
    /// The node, or an amount that no hub holds.
    pub fn told(&self, hub: &Hub, from: u64, to: u64) -> Result<Vec<Told>, ChainError> {
        let mut told = Vec::new();
        let mut at = from;
        while at <= to {
            let end = to.min(at + LOG_BLOCKS - 1);
            let filter = json!([{"address": hub.address, "fromBlock": format!("{at:#x}"), "toBlock": format!("{end:#x}")}]);
            let logs = self.call("eth_getLogs", filter)?;
            for log in logs.as_array().into_iter().flatten() {
                let unreadable = || self.failed(format_args!("a log that cannot be read: {log}"));
                let topics = log["topics"].as_array().ok_or_else(unreadable)?;
                let topics: Option<Vec<B256>> =
                    topics.iter().map(|it| it.as_str()?.parse().ok()).collect();
                let topics = topics.ok_or_else(unreadable)?;
                let data = log["data"].as_str().and_then(|it| hex::decode(it).ok());
                let height = log["blockNumber"].as_str().and_then(number);
                let (data, height) = data.zip(height).ok_or_else(unreadable)?;
                // Other events are nothing that settlement counts.
                if let Ok(event) = HubTells::HubTellsEvents::decode_raw_log(&topics, &data) {
                    let event = self.event(event)?;
                    told.push(Told { height, event });
                }
            }
            at = end + 1;
        }
        Ok(told)
    }

    fn event(&self, event: HubTells::HubTellsEvents) -> Result<HubEvent, ChainError> {
        use HubTells::HubTellsEvents as Told;
        let amount = |amount: U256| {
            let wide =
                |_| self.failed(format_args!("an event states {amount}, which no hub holds"));
            u128::try_from(amount).map_err(wide)
        };
        let signed = |amount: U256| {
            let wide =
                |_| self.failed(format_args!("an event states {amount}, which no hub holds"));
            i128::try_from(amount).map_err(wide)
        };
        Ok(match event {
            Told::Opened(it) => HubEvent::Opened {
                terms: Terms {
                    owner: it.owner,
                    cosigner: it.cosigner,
                    token: it.token,
                    nonce: it.nonce,
                },
                deposited: amount(it.amount)?,
            },
            Told::Deposited(it) => HubEvent::Deposited {
                channel: it.channel,
                deposited: amount(it.deposited)?,
            },
            Told::Withdrawn(it) => HubEvent::Withdrawn {
                channel: it.channel,
                withdrawn: amount(it.withdrawn)?,
            },
            Told::Closed(it) => HubEvent::Ended {
                channel: it.channel,
                paid: amount(it.amount)?,
                claim: 0,
            },
            Told::Settled(it) => HubEvent::Ended {
                channel: it.channel,
                paid: amount(it.amount)?,
                claim: amount(it.claim)?,
            },
            Told::Rebalanced(it) => HubEvent::Rebalanced {
                channel: it.channel,
                number: it.number.to(),
                moved: i128::try_from(it.moved)
                    .map_err(|_| self.failed("a move that no hub makes"))?,
            },
            Told::Disputed(it) => HubEvent::Disputed {
                channel: it.channel,
            },
            Told::ClaimPaid(it) => HubEvent::ClaimPaid {
                channel: it.channel,
                amount: amount(it.amount)?,
            },
            Told::VaultFunded(it) => HubEvent::Funded {
                token: it.token,
                amount: signed(it.amount)?,
            },
            Told::VaultWithdrawn(it) => HubEvent::Funded {
                token: it.token,
                amount: -signed(it.amount)?,
            },
            Told::Posted(it) => HubEvent::Posted {
                token: it.token,
                epoch: it.epoch.to(),
            },
            Told::Pinned(it) => HubEvent::Pinned {
                branch: it.branch,
                number: it
                    .number
                    .try_into()
                    .map_err(|_| self.failed("a pin beyond all blocks"))?,
            },
        })
    }

    /// What a hub has of a token at a block.
    ///
    /// # Errors
    /// The node, or it does not keep the state of that height.
    pub fn holds(&self, hub: &Hub, token: Address, at: &Block) -> Result<Holds, ChainError> {
        let block = format!("{:#x}", at.height);
        let balance = if token == Address::ZERO {
            let value = self.call("eth_getBalance", json!([hub.address, block]))?;
            let value = value.as_str().and_then(|it| it.parse().ok());
            value.ok_or_else(|| self.failed("no balance"))?
        } else {
            let account = hub.address;
            self.ask(token, &Token::balanceOfCall { account }, &block)?
        };
        let vault = self.ask(hub.address, &HubTakes::vaultOfCall { token }, &block)?;
        let narrow = |wide: U256| u128::try_from(wide).unwrap_or(u128::MAX);
        Ok(Holds {
            height: at.height,
            balance: narrow(balance),
            vault: narrow(vault.balance),
            locked: narrow(vault.locked),
            owed: narrow(vault.owed),
        })
    }

    /// Height and time of the newest block.
    pub(crate) fn newest(&self) -> Result<(u64, u64), ChainError> {
        let block = self.call("eth_getBlockByNumber", json!(["latest", false]))?;
        let of = |field: &str| block[field].as_str().and_then(number);
        let newest = of("number").zip(of("timestamp"));
        newest.ok_or_else(|| self.failed("it has no newest block"))
    }

    /// Whether the node says that it has not caught up.
    pub(crate) fn is_syncing(&self) -> Result<bool, ChainError> {
        Ok(self.call("eth_syncing", json!([]))? != json!(false))
    }

    /// Whether there is a contract at an address.
    pub(crate) fn has_code(&self, at: Address) -> Result<bool, ChainError> {
        let code = self.call("eth_getCode", json!([at, "latest"]))?;
        Ok(code.as_str().is_some_and(|it| it.len() > 2))
    }

    /// What a contract answers in the newest block.
    pub(crate) fn latest<C: SolCall>(
        &self,
        to: Address,
        call: &C,
    ) -> Result<C::Return, ChainError> {
        self.ask(to, call, "latest")
    }

    fn ask<C: SolCall>(&self, to: Address, call: &C, block: &str) -> Result<C::Return, ChainError> {
        let data = Bytes::from(call.abi_encode());
        let answer = self.call("eth_call", json!([{"to": to, "data": data}, block]))?;
        let answer = answer.as_str().and_then(|it| hex::decode(it).ok());
        let answer = answer.and_then(|it| C::abi_decode_returns(&it).ok());
        answer.ok_or_else(|| {
            self.failed(format_args!(
                "{to} is not the contract that was meant on this chain: {} answers nothing",
                C::SIGNATURE
            ))
        })
    }
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}
