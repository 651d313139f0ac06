//! Blocks for the node: where they come from, and how a listener is brought to the end of the chain through reorganisations.
//!
//! Not by `lightning-block-sync`: it brings an HTTP client and a runtime of its own, and judges headers by SHA-256d work, while our
//! source is a full node that has validated every block (`docs/decisions/0073-lightning.md`).

use bitcoin::{Block, BlockHash, Transaction};
use lightning::chain::{BestBlock, Listen};

/// A source that did not answer or refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the chain's node: {0}; look whether it runs and is in sync")]
pub struct SourceError(pub String);

/// A node that has validated its blocks.
pub trait BlockSource: Send + Sync {
    /// The end of the best chain.
    ///
    /// # Errors
    /// The node does not answer.
    fn tip(&self) -> Result<BestBlock, SourceError>;

    /// The block of the best chain at a height; `None` above its end.
    ///
    /// # Errors
    /// The node does not answer.
    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError>;

    /// A block, also of a branch that was left.
    ///
    /// # Errors
    /// The node does not answer or does not have it.
    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError>;

    /// Gives transactions to the node, which belong together: parents first. One that it has is no error.
    ///
    /// # Errors
    /// The node does not answer or refuses.
    fn send(&self, package: &[Transaction]) -> Result<(), SourceError>;

    /// What it costs to be in one of the next `blocks` blocks, satoshi per 1,000 weight units; `None` if the node does not know.
    ///
    /// # Errors
    /// The node does not answer.
    fn fee_rate(&self, blocks: u16) -> Result<Option<u32>, SourceError>;
}

/// Brings a listener that was at `from` to the end of the chain: away from a branch that was left, then block by block. If the
/// chain changes meanwhile the listener is left at a block that was on it; the next call goes on.
///
/// # Errors
/// The source's; the listener was told nothing of what could not be read.
pub fn follow(
    source: &dyn BlockSource,
    from: BestBlock,
    listener: &dyn Listen,
) -> Result<BestBlock, SourceError> {
    let tip = source.tip()?;
    let mut at = from;
    while source.hash_at(at.height)? != Some(at.block_hash) {
        let height = at.height.checked_sub(1).ok_or_else(|| {
            SourceError("its genesis block is another: this is another chain".to_owned())
        })?;
        at = BestBlock::new(source.block(&at.block_hash)?.header.prev_blockhash, height);
    }
    if at != from {
        listener.blocks_disconnected(at);
    }
    for height in at.height + 1..=tip.height {
        let Some(hash) = source.hash_at(height)? else {
            break;
        };
        let block = source.block(&hash)?;
        if block.header.prev_blockhash != at.block_hash {
            break; // a reorganisation between two questions
        }
        listener.block_connected(&block, height);
        at = BestBlock::new(hash, height);
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{constants::genesis_block, hashes::Hash};
    use std::{
        collections::HashMap,
        sync::{Mutex, RwLock},
    };

    /// Branches of empty blocks.
    #[derive(Default)]
    struct Branches {
        blocks: RwLock<HashMap<BlockHash, Block>>,
        best: RwLock<Vec<BlockHash>>,
    }

    impl Branches {
        fn start() -> Self {
            let (branches, genesis) = (Self::default(), genesis_block(bitcoin::Network::Regtest));
            branches.best.write().unwrap().push(genesis.block_hash());
            branches
                .blocks
                .write()
                .unwrap()
                .insert(genesis.block_hash(), genesis);
            branches
        }

        /// Leaves the chain above `height` and adds so many blocks there.
        fn branch(&self, height: usize, blocks: u32, nonce: u32) {
            let mut best = self.best.write().unwrap();
            best.truncate(height + 1);
            for _ in 0..blocks {
                let mut block = genesis_block(bitcoin::Network::Regtest);
                block.header.prev_blockhash = *best.last().unwrap();
                block.header.nonce = nonce;
                best.push(block.block_hash());
                self.blocks
                    .write()
                    .unwrap()
                    .insert(block.block_hash(), block);
            }
        }
    }

    impl BlockSource for Branches {
        fn tip(&self) -> Result<BestBlock, SourceError> {
            let best = self.best.read().unwrap();
            Ok(BestBlock::new(*best.last().unwrap(), best.len() as u32 - 1))
        }
        fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
            Ok(self.best.read().unwrap().get(height as usize).copied())
        }
        fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
            let none = || SourceError(format!("no block {hash}"));
            self.blocks
                .read()
                .unwrap()
                .get(hash)
                .cloned()
                .ok_or_else(none)
        }
        fn send(&self, _: &[Transaction]) -> Result<(), SourceError> {
            Err(SourceError("takes no transactions".to_owned()))
        }
        fn fee_rate(&self, _: u16) -> Result<Option<u32>, SourceError> {
            Ok(None)
        }
    }

    /// Follows and insists on order.
    struct Chain(Mutex<Vec<BlockHash>>);

    impl Listen for Chain {
        fn filtered_block_connected(
            &self,
            header: &bitcoin::block::Header,
            _: &lightning::chain::transaction::TransactionData<'_>,
            height: u32,
        ) {
            let mut chain = self.0.lock().unwrap();
            assert_eq!(chain.len() as u32, height, "a block out of order");
            assert_eq!(header.prev_blockhash, *chain.last().unwrap());
            chain.push(header.block_hash());
        }
        fn blocks_disconnected(&self, fork: BestBlock) {
            let mut chain = self.0.lock().unwrap();
            chain.truncate(fork.height as usize + 1);
            assert_eq!(*chain.last().unwrap(), fork.block_hash);
        }
    }

    #[test]
    fn a_listener_comes_to_the_tip_through_reorganisations() {
        let source = Branches::start();
        let genesis = source.tip().unwrap();
        let chain = Chain(Mutex::new(vec![genesis.block_hash]));
        let mut at = genesis;
        for (height, blocks, nonce) in [
            (0, 5, 1),
            (5, 3, 1),
            (4, 6, 2),
            (10, 0, 2),
            (1, 2, 3),
            (3, 1, 3),
        ] {
            source.branch(height, blocks, nonce);
            at = follow(&source, at, &chain).unwrap();
            assert_eq!(at, source.tip().unwrap());
            assert_eq!(*chain.0.lock().unwrap(), *source.best.read().unwrap());
        }
        let foreign = BestBlock::new(BlockHash::from_byte_array([7; 32]), 0);
        assert!(follow(&source, foreign, &chain).is_err());
    }
}
