//! The rail as a chain that the exchange's side of channels follows (`ring0_channels::chain`): its blocks are the journal's entries.
//!
//! An entry is durable and never taken back, so its chain knows no reorganisation and one confirmation is enough. Facts are cumulative
//! amounts in millisatoshi under the account's number: whoever credits by differences credits once. A withdrawal is a fact when the
//! payee has it; what is held for one is the rail's alone. An exit is leaving a Lightning channel alone, which is the exchange's
//! concern with its peer and no account's: an account leaves by a withdrawal.

use std::sync::Arc;

use lightning::{chain::channelmonitor::Balance, ln::types::ChannelId};
use ring0_channels::{
    B256,
    chain::{Block, Chain, ChainError, Progress, Seen, Sent},
    life::Fact,
};

use crate::{
    exchange::Exchange,
    journal::{Account, Journal, empty},
};

/// A rail as a chain.
pub struct JournalChain<J>(Arc<Exchange<J>>);

/// The account's number, big-endian in the last four bytes.
#[must_use]
pub fn channel_of(account: Account) -> B256 {
    let mut id = B256::ZERO;
    id[28..].copy_from_slice(&account.0.to_be_bytes());
    id
}

impl<J> JournalChain<J> {
    /// The chain of an exchange's rail.
    pub fn new(exchange: Arc<Exchange<J>>) -> Self {
        Self(exchange)
    }
}

fn hash(name: bitcoin::hashes::sha256::Hash) -> B256 {
    B256::from(*AsRef::<[u8; 32]>::as_ref(&name))
}

impl<J: Journal + Send + 'static> Chain for JournalChain<J> {
    /// The Lightning channel that is left.
    type Exit = ChannelId;

    fn tip(&mut self) -> Result<Block, ChainError> {
        let height = self.0.rail().trail().len() as u64;
        Ok(self
            .block(height)?
            .expect("the journal does not grow shorter"))
    }

    /// Block 0 is the empty journal.
    fn block(&mut self, height: u64) -> Result<Option<Block>, ChainError> {
        let rail = self.0.rail();
        let Some(place) = height.checked_sub(1) else {
            let genesis = Block {
                height,
                hash: hash(empty()),
                time: 0,
            };
            return Ok(Some(genesis));
        };
        let mark = usize::try_from(place)
            .ok()
            .and_then(|place| rail.trail().get(place));
        Ok(mark.map(|mark| Block {
            height,
            hash: hash(mark.name),
            time: mark.at_s,
        }))
    }

    fn facts(&mut self, from: u64, to: u64) -> Result<Vec<Seen>, ChainError> {
        let rail = self.0.rail();
        let mut facts = Vec::new();
        for (height, mark) in (1..)
            .zip(rail.trail())
            .skip_while(|(height, _)| *height < from)
        {
            if height > to {
                break;
            }
            let Some(passed) = mark.passed else { continue };
            let (deposited, withdrawn) =
                (passed.deposited.get().into(), passed.withdrawn.get().into());
            let seen = |fact| Seen {
                height,
                channel: channel_of(passed.account),
                fact,
            };
            // An account is there from what passes first; a withdrawal can be that, of what came from the engine.
            if passed.first {
                let deposited = if passed.inward { deposited } else { 0 };
                facts.push(seen(Fact::Opened { deposited }));
            }
            match (passed.inward, passed.first) {
                (true, true) => {}
                (true, false) => facts.push(seen(Fact::Deposited { deposited })),
                (false, _) => facts.push(seen(Fact::Withdrawn { withdrawn })),
            }
        }
        Ok(facts)
    }

    fn dispute(&mut self, exit: &ChannelId) -> Result<Sent, ChainError> {
        let refused = |why| ChainError::Refused {
            what: "leaving a Lightning channel",
            why,
        };
        let node = self.0.node();
        let channel = node
            .channels()
            .into_iter()
            .find(|channel| channel.channel_id == *exit)
            .ok_or_else(|| refused("there is no such channel, or it is closed".to_owned()))?;
        node.leave(exit, &channel.counterparty.node_id)
            .map_err(|error| refused(error.to_string()))?;
        Ok(Sent {
            id: B256::from(exit.0),
            what: "leave a Lightning channel",
        })
    }

    fn refute(&mut self, _: &ChannelId) -> Result<Sent, ChainError> {
        Err(ChainError::Unsupported(
            "the node punishes an old state of its peer by itself; nothing is to be sent",
        ))
    }

    fn settle(&mut self, _: &ChannelId) -> Result<Sent, ChainError> {
        Err(ChainError::Unsupported(
            "the node sweeps its balance by itself after the delay; nothing is to be sent",
        ))
    }

    /// The height is Bitcoin's here, of the block from which on the balance is the wallet's.
    fn progress(&mut self, sent: &Sent) -> Result<Progress, ChainError> {
        let node = self.0.node();
        let channel = ChannelId(sent.id.0);
        let balances = node.channel_balances(&channel);
        let confirmed = balances.iter().find_map(|balance| match balance {
            Balance::ClaimableAwaitingConfirmations {
                confirmation_height,
                ..
            } => Some(*confirmation_height),
            _ => None,
        });
        Ok(match (confirmed, balances.is_empty()) {
            (Some(height), _) => Progress::Mined {
                height: height.into(),
            },
            (None, false) => Progress::Waiting,
            (None, true) => Progress::Gone, // all of it is swept, or there never was such a channel
        })
    }

    /// The node raises fees by itself, in every block; this makes it do so now.
    fn bump(&mut self, sent: &Sent) -> Result<Sent, ChainError> {
        self.0.node().rebroadcast();
        Ok(sent.clone())
    }
}
