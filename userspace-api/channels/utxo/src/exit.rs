//! What a party or its tower leaves a channel with.

use std::cell::RefCell;

use bitcoin::ScriptBuf;
use ring0_bitcoin::{
    channel::Channel,
    terms::{ChannelId, Terms},
    tower::Kit,
};

/// What is shown to the chain, by whom.
pub enum Exit<J> {
    /// A party: it can publish its newest commitment, punish every version that the other gave up, and take its balance.
    Party {
        /// Its side. Publishing is recorded in its journal first: nothing is updated afterwards.
        channel: Box<RefCell<Channel<J>>>,
        /// Where its money goes.
        to: ScriptBuf,
    },
    /// A tower: it can answer the versions that it has kits for, and nothing else. It has no key.
    Tower {
        /// Which channel.
        id: ChannelId,
        /// What was agreed on.
        terms: Box<Terms>,
        /// What it was given.
        kits: Vec<Kit>,
    },
}

impl<J> Exit<J> {
    /// A party's.
    pub fn party(channel: Channel<J>, to: ScriptBuf) -> Self {
        Self::Party {
            channel: Box::new(RefCell::new(channel)),
            to,
        }
    }
}
