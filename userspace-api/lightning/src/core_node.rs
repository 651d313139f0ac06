//! Blocks from a node with Bitcoin Core's JSON-RPC interface.

use bitcoin::{
    Block, BlockHash, Network, Transaction,
    consensus::encode::{deserialize_hex, serialize_hex},
    constants::genesis_block,
};
use lightning::chain::BestBlock;
use ring0_bitcoin::rpc::{Node, RpcError};
use serde_json::{Value, json};

use crate::blocks::{BlockSource, SourceError};

/// Bitcoin Core's number for a height or a hash that it does not have.
const NO_SUCH_PARAMETER: i64 = -8;
/// Bitcoin Core's number for a method that it does not have.
const NO_SUCH_METHOD: i64 = -32_601;
/// Bitcoin Core's number for a transaction that is in the chain already.
const ALREADY_IN_CHAIN: i64 = -27;

/// A node.
#[derive(Clone, Debug)]
pub struct CoreNode(Node);

impl CoreNode {
    /// A node of this network.
    ///
    /// # Errors
    /// It does not answer, or its genesis block is another network's. Litecoin's too: LDK names the chain in every message and
    /// invoice by one of Bitcoin's networks, so what it would sign there would name a chain that it is not.
    pub fn new(node: Node, network: Network) -> Result<Self, SourceError> {
        let node = Self(node);
        let ours = genesis_block(network).block_hash();
        match node.hash_at(0)? {
            Some(hash) if hash == ours => Ok(node),
            other => Err(SourceError(format!(
                "its first block is {}, and Bitcoin's {network} begins with {ours}; Lightning is offered on Bitcoin only",
                other.map_or("none".to_owned(), |hash| hash.to_string())
            ))),
        }
    }

    fn call<T>(
        &self,
        method: &str,
        params: &[Value],
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, SourceError> {
        let answer = self
            .0
            .call(method, params)
            .map_err(|error| SourceError(error.to_string()))?;
        read(&answer).ok_or_else(|| SourceError(format!("`{method}` gives {answer}")))
    }
}

impl BlockSource for CoreNode {
    fn tip(&self) -> Result<BestBlock, SourceError> {
        let height = self.call("getblockcount", &[], |answer| {
            u32::try_from(answer.as_u64()?).ok()
        })?;
        let hash = self.hash_at(height)?.ok_or_else(|| {
            SourceError("its chain grew shorter between two questions".to_owned())
        })?;
        Ok(BestBlock::new(hash, height))
    }

    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        match self.0.call("getblockhash", &[json!(height)]) {
            Ok(answer) => answer
                .as_str()
                .and_then(|hash| hash.parse().ok())
                .map(Some)
                .ok_or_else(|| SourceError(format!("`getblockhash` gives {answer}"))),
            Err(RpcError::Refused { code, .. }) if code == NO_SUCH_PARAMETER => Ok(None),
            Err(error) => Err(SourceError(error.to_string())),
        }
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
        self.call("getblock", &[json!(hash.to_string()), json!(0)], |answer| {
            deserialize_hex(answer.as_str()?).ok()
        })
    }

    fn send(&self, package: &[Transaction]) -> Result<(), SourceError> {
        if package.len() > 1 {
            // Together, a child pays for a parent below the mempool's minimum (Bitcoin Core 28 and later).
            let hex: Vec<_> = package.iter().map(serialize_hex).collect();
            match self.0.call("submitpackage", &[json!(hex)]) {
                Ok(answer) if answer["package_msg"] == "success" => return Ok(()),
                Ok(_) => {} // one by one, for a reason of its own
                Err(RpcError::Refused { code, .. }) if code == NO_SUCH_METHOD => {}
                Err(RpcError::Refused { .. }) => {} // for instance: the parent is in the chain already
                Err(error) => return Err(SourceError(error.to_string())),
            }
        }
        let mut refused = None;
        for transaction in package {
            match self
                .0
                .call("sendrawtransaction", &[json!(serialize_hex(transaction))])
            {
                Ok(_) => {}
                Err(RpcError::Refused { code, .. }) if code == ALREADY_IN_CHAIN => {}
                Err(error) => {
                    refused = Some(SourceError(format!(
                        "{}: {error}",
                        transaction.compute_txid()
                    )))
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn fee_rate(&self, blocks: u16) -> Result<Option<u32>, SourceError> {
        // BTC per 1,000 virtual bytes; without enough history the node answers with errors and no rate.
        let rate = self.call("estimatesmartfee", &[json!(blocks)], |answer| {
            Some(answer["feerate"].as_f64())
        })?;
        Ok(rate.map(|btc| (btc * 1e8 / 4.0).ceil() as u32))
    }
}
