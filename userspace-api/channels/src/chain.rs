//! What the exchange asks of a chain, the same for all: blocks, what happened to channels in them, and the three steps of an exit (CUSTODY 9, 18).
//!
//! Calls block: a chain has a thread of its own. An adapter keeps no state that matters: after a restart it is made anew and asked again.

use crate::B256;
use crate::life::Fact;
use serde::{Deserialize, Serialize};

/// A block's place in its chain.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Block {
    /// Blocks below it.
    pub height: u64,
    /// Its hash: what tells it from another at its height.
    pub hash: B256,
    /// Seconds of Unix time, as the chain says.
    pub time: u64,
}

/// A fact and where it stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seen {
    /// Height of its block.
    pub height: u64,
    /// Channel's id; of a rail, the account's; zero: all channels ([`Fact::Frozen`]).
    pub channel: B256,
    /// What happened.
    pub fact: Fact,
}

/// A transaction that was given to the chain's node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Names it: a transaction's hash.
    pub id: B256,
    /// What it does, for people.
    pub what: &'static str,
}

/// Where a transaction is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Neither in a block nor refused.
    Waiting,
    /// In the block of this height. A reorganisation may take it out again.
    Mined {
        /// Height.
        height: u64,
    },
    /// In a block, and without effect.
    Reverted {
        /// Height.
        height: u64,
    },
    /// The node does not know it: it was dropped or replaced.
    Gone,
}

/// Why a chain did not answer or did not take a step.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The node is not there or does not understand. Another call may work.
    #[error("{node}: {why}; check that the node runs and is in sync, it is asked again")]
    Node {
        /// Which.
        node: String,
        /// What came back.
        why: String,
    },
    /// The chain refuses the step: sent again it is refused again.
    #[error("{what} is refused by the chain: {why}")]
    Refused {
        /// The step.
        what: &'static str,
        /// The chain's reason, with its values.
        why: String,
    },
    /// Whoever pays for transactions has too little.
    #[error("{payer} has {has} and {what} may cost {needs}; pay in the difference")]
    Fees {
        /// Address of the wallet.
        payer: String,
        /// The step.
        what: &'static str,
        /// What there is, smallest unit.
        has: u128,
        /// What the step may cost, smallest unit.
        needs: u128,
    },
    /// This chain has no such step.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// A chain with channels of one hub, of one node's wallet or of one rail.
pub trait Chain {
    /// What shows a channel's state to the chain: a signed state with its paths, a commitment transaction.
    type Exit;

    /// The best block.
    ///
    /// # Errors
    /// The node does not answer.
    fn tip(&mut self) -> Result<Block, ChainError>;

    /// The block at a height of the best chain; `None` above the tip.
    ///
    /// # Errors
    /// The node does not answer.
    fn block(&mut self, height: u64) -> Result<Option<Block>, ChainError>;

    /// What happened to channels in the blocks `from..=to` of the best chain, in its order.
    ///
    /// # Errors
    /// The node does not answer.
    fn facts(&mut self, from: u64, to: u64) -> Result<Vec<Seen>, ChainError>;

    /// Starts an exit: shows a state, and the window begins.
    ///
    /// # Errors
    /// See [`ChainError`].
    fn dispute(&mut self, exit: &Self::Exit) -> Result<Sent, ChainError>;

    /// Answers an older state by this one, before the window ends.
    ///
    /// # Errors
    /// See [`ChainError`].
    fn refute(&mut self, exit: &Self::Exit) -> Result<Sent, ChainError>;

    /// Takes out what the state in dispute gives, after the window.
    ///
    /// # Errors
    /// See [`ChainError`].
    fn settle(&mut self, exit: &Self::Exit) -> Result<Sent, ChainError>;

    /// Where a transaction is.
    ///
    /// # Errors
    /// The node does not answer.
    fn progress(&mut self, sent: &Sent) -> Result<Progress, ChainError>;

    /// Sends it again for a higher fee, if it still waits. Gives its new name.
    ///
    /// # Errors
    /// See [`ChainError`].
    fn bump(&mut self, sent: &Sent) -> Result<Sent, ChainError>;
}
