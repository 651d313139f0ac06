//! A trader leaves alone: dispute by its newest state, wait for the window's end, settle. Each step looks at the chain first, so it may be begun again at any point.

use crate::Evm;
use crate::abi::{Channel, ChannelHub, ChannelStatus};
use alloy_primitives::{B256, U256};
use ring0_channels::chain::{Chain, ChainError, Sent};
use ring0_channels::evidence::Holding;
use ring0_channels::message::venue_domain;
use std::time::Duration;

/// A transaction that is in no block after this long gets a higher fee.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// How long a transaction may take in all.
pub const LIMIT: Duration = Duration::from_secs(3600);
/// How often the chain is asked whether the window is over.
const LOOK: Duration = Duration::from_millis(500);

/// Why a trader cannot leave now.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The file is of another hub.
    #[error(
        "the hub at {hub} is not the file's: its {what} is {there}, and the file says {here}; use a node of the chain that the file is of"
    )]
    OtherHub {
        /// The hub.
        hub: String,
        /// What differs.
        what: &'static str,
        /// On the chain.
        there: String,
        /// In the file.
        here: String,
    },
    /// The key may not start a dispute.
    #[error(
        "{key} is neither the owner {owner} nor the co-signer {cosigner} of channel {channel}; name the file of one of their keys"
    )]
    NotParty {
        /// The key's address.
        key: String,
        /// The owner's.
        owner: String,
        /// The co-signer's.
        cosigner: String,
        /// Which channel.
        channel: B256,
    },
    /// Signed on another branch.
    #[error(
        "the state of version {version} was signed under block {branch}, which is not pinned on this chain: it is a state of another branch; use a node of that branch, or an older state"
    )]
    OtherBranch {
        /// The state's version.
        version: u64,
        /// The pinned block.
        branch: B256,
    },
    /// There is nothing.
    #[error("channel {0} was never opened on this chain")]
    NeverOpened(B256),
}

/// What a channel paid at its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Left {
    /// Paid to the owner.
    pub paid: U256,
    /// What the vault could not cover: paid from later inflow, collect it then.
    pub claim: U256,
    /// Fees of the transactions, in the chain's coin.
    pub fees: u128,
    /// Version of the state that decided.
    pub version: u64,
}

/// Where a channel is on its way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing is on the chain yet.
    Dispute,
    /// The window runs until this time, seconds of the chain's time.
    Wait {
        /// The window's end.
        until: u64,
    },
    /// The window is over.
    Settle,
    /// It is closed.
    Done,
}

/// That the hub on this chain is the one that the holding is of.
///
/// # Errors
/// It is another one, or the node does not answer.
pub fn check_hub(evm: &Evm, holding: &Holding) -> Result<(), LeaveError> {
    let hub = holding.hub;
    let differs = |what, there: String, here: String| match there == here {
        true => Ok(()),
        false => Err(LeaveError::OtherHub {
            hub: hub.address.to_string(),
            what,
            there,
            here,
        }),
    };
    let operator = evm.read(&ChannelHub::operatorCall {})?;
    differs(
        "operator",
        operator.to_string(),
        holding.operator.to_string(),
    )?;
    let lineage = evm.read(&ChannelHub::lineageCall {})?;
    differs("lineage", lineage.to_string(), hub.lineage.to_string())?;
    let separator = evm.read(&ChannelHub::hubDomainCall {})?;
    differs(
        "domain",
        separator.to_string(),
        hub.domain().separator().to_string(),
    )?;
    let venue = evm.read(&ChannelHub::venueDomainCall {})?;
    let here = venue_domain(holding.venue).separator();
    differs("venue", venue.to_string(), here.to_string())
}

/// What comes next for a channel.
///
/// # Errors
/// The node does not answer; the channel was never opened.
pub fn next(evm: &mut Evm, holding: &Holding) -> Result<(Step, ChannelStatus), LeaveError> {
    let status = evm.status(holding.channel())?;
    let deadline: u64 = status.deadline.to();
    let step = match () {
        () if status.closed => Step::Done,
        () if status.deposited == U256::ZERO => {
            return Err(LeaveError::NeverOpened(holding.channel()));
        }
        () if deadline == 0 => Step::Dispute,
        () if evm.tip()?.time < deadline => Step::Wait { until: deadline },
        () => Step::Settle,
    };
    Ok((step, status))
}

/// Shows the newest state: starts the dispute, or answers one that an older state began. Gives the fee; `None`: what is on the chain is as new.
///
/// # Errors
/// See [`LeaveError`].
pub fn show(evm: &mut Evm, holding: &Holding) -> Result<Option<u128>, LeaveError> {
    let (step, status) = next(evm, holding)?;
    let recorded: u64 = status.version.to();
    if let Some(newest) = &holding.newest
        && newest.version > recorded
        && !evm.is_pinned(newest.branch)?
    {
        return Err(LeaveError::OtherBranch {
            version: newest.version,
            branch: newest.branch,
        });
    }
    let sent = match step {
        Step::Dispute => {
            is_party(evm, holding)?;
            match recorded >= holding.version() {
                // The hub has this state or a newer one from a checkpoint, or nothing was ever signed.
                true => {
                    let c = Channel::from(&holding.terms);
                    evm.send("dispute", &ChannelHub::disputeRecordedCall { c }, 0)?
                }
                false => evm.dispute(holding)?,
            }
        }
        Step::Wait { .. } if recorded < holding.version() => evm.refute(holding)?,
        _ => return Ok(None),
    };
    Ok(Some(paid(evm, sent)?))
}

/// Waits until the window of a dispute is over. `wait` is told each time how long it still is, and may say to stop.
///
/// # Errors
/// The node does not answer.
pub fn wait(
    evm: &mut Evm,
    holding: &Holding,
    mut wait: impl FnMut(u64) -> bool,
) -> Result<bool, LeaveError> {
    while let (Step::Wait { until }, _) = next(evm, holding)? {
        let left = until.saturating_sub(evm.tip()?.time);
        if !wait(left) {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
    Ok(true)
}

/// Ends the channel after the window, and reads what it paid. Of one that is closed already it is what it paid then.
///
/// # Errors
/// See [`LeaveError`].
pub fn settle(evm: &mut Evm, holding: &Holding) -> Result<Left, LeaveError> {
    let (step, _) = next(evm, holding)?;
    let fees = match step {
        Step::Done => 0,
        _ => {
            let sent = evm.settle(holding)?;
            paid(evm, sent)?
        }
    };
    let (amount, claim) = evm.settled(holding.channel())?;
    let version = evm.status(holding.channel())?.version.to();
    Ok(Left {
        paid: amount,
        claim,
        fees,
        version,
    })
}

fn is_party(evm: &Evm, holding: &Holding) -> Result<(), LeaveError> {
    let c = Channel::from(&holding.terms);
    let cosigner = evm.read(&ChannelHub::cosignerOfCall { c })?;
    match evm.payer() {
        Some(key) if key != holding.terms.owner && key != cosigner => Err(LeaveError::NotParty {
            key: key.to_string(),
            owner: holding.terms.owner.to_string(),
            cosigner: cosigner.to_string(),
            channel: holding.channel(),
        }),
        _ => Ok(()),
    }
}

/// Waits for a transaction, and gives its fee.
fn paid(evm: &mut Evm, sent: Sent) -> Result<u128, LeaveError> {
    let mined = evm.confirm(sent, PATIENCE, LIMIT)?;
    Ok(evm.receipt(mined.id)?.1)
}
