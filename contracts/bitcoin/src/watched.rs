//! What of a channel a chain can be asked for: its funding outputs, and what both agreed that they mean for the trader.

use bitcoin::Amount;

use crate::terms::{ChannelId, Funding, Terms};

/// A funding output of a channel, and what the trader has paid in and out once it is in the chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Output {
    /// Where, and how much in all.
    pub funding: Funding,
    /// What the trader paid in, cumulative: its balance in version 0, and what its splices added.
    pub deposited: Amount,
    /// What the trader took out by splices, cumulative.
    pub withdrawn: Amount,
}

/// A channel to look for: [`crate::channel::Channel::watched`] makes it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Names it for good, whatever splices do.
    pub id: ChannelId,
    /// What was agreed on.
    pub terms: Terms,
    /// Funding outputs, oldest first.
    pub outputs: Vec<Output>,
}
