//! Actions of the hub and of a token, their fields in the order of `hub.abi.json`.

use crate::account::{Name, Token};
use crate::packed::Output;
use crate::transaction::Action;
use alloy_primitives::{Address, B256, hex};
use ring0_channels::evidence::{
    Evidence, EvidenceError, GrantProof, Holding, LeafProof, OperatorHalf,
};
use ring0_channels::message::KIND_TRADING;

/// The hub's actions by their names; each is short enough to be one.
fn action(hub: Name, name: &'static str, data: Output) -> Action {
    Action {
        account: hub,
        name: name.parse().expect("names of the hub's ABI are names"),
        data: data.0,
    }
}

/// Opens a channel, empty. `owner` authorises it and pays for its row.
#[must_use]
pub fn open(hub: Name, owner: Name, cosigner: Address, token: Token, nonce: u64) -> Action {
    let mut to = Output::default();
    to.name(owner);
    to.put(cosigner);
    to.name(token.contract);
    to.put(token.symbol.0.to_le_bytes());
    to.put(nonce.to_le_bytes());
    action(hub, "open", to)
}

/// Pays into a channel: a transfer to the hub whose memo is the channel's id.
#[must_use]
pub fn deposit(hub: Name, from: Name, token: Token, amount: u64, channel: B256) -> Action {
    let mut to = Output::default();
    to.name(from);
    to.name(hub);
    to.put(amount.to_le_bytes());
    to.put(token.symbol.0.to_le_bytes());
    to.bytes(hex::encode(channel).as_bytes());
    action(token.contract, "transfer", to)
}

/// Ends a channel whose window is over: books what is due.
#[must_use]
pub fn settle(hub: Name, channel: B256) -> Action {
    let mut to = Output::default();
    to.put(channel);
    action(hub, "settle", to)
}

/// Pays the owner of a settled channel what is due.
#[must_use]
pub fn collect(hub: Name, channel: B256) -> Action {
    Action {
        name: "collect".parse().expect("names of the hub's ABI are names"),
        ..settle(hub, channel)
    }
}

/// Starts a dispute by the newest state of a holding; without one by what the hub has. `caller` authorises it.
///
/// # Errors
/// The state does not count.
pub fn dispute(hub: Name, caller: Name, holding: &Holding) -> Result<Action, EvidenceError> {
    let mut to = Output::default();
    to.name(caller);
    let Some(newest) = &holding.newest else {
        to.put(holding.channel());
        return Ok(action(hub, "disputerec", to));
    };
    show(&mut to, holding, newest)?;
    Ok(match newest.operator {
        OperatorHalf::Compact(_) => action(hub, "dispute", to),
        OperatorHalf::Leaf(_) => action(hub, "disputeleaf", to),
    })
}

/// Answers a dispute by a newer state of the holding.
///
/// # Errors
/// The state does not count.
pub fn refute(hub: Name, holding: &Holding, newest: &Evidence) -> Result<Action, EvidenceError> {
    let mut to = Output::default();
    show(&mut to, holding, newest)?;
    Ok(match newest.operator {
        OperatorHalf::Compact(_) => action(hub, "refute", to),
        OperatorHalf::Leaf(_) => action(hub, "refuteleaf", to),
    })
}

/// Channel, state and both halves of its signature.
fn show(to: &mut Output, holding: &Holding, newest: &Evidence) -> Result<(), EvidenceError> {
    holding.verify()?;
    let channel = holding.channel();
    to.put(channel);
    to.put(newest.version.to_le_bytes());
    to.put(newest.balance.to_le_bytes());
    to.put(newest.deposited_seen.to_le_bytes());
    to.put(newest.withdrawn_seen.to_le_bytes());
    to.put(newest.epoch.to_le_bytes());
    to.put([KIND_TRADING]);
    to.put(newest.account_root(channel)?);
    to.put(newest.branch);
    to.put(newest.account.to_le_bytes());
    to.put(newest.position.to_le_bytes());
    to.path(&newest.path);
    to.signature(&newest.cosignature);
    to.put([u8::from(newest.grant.is_some())]);
    if let Some(given) = &newest.grant {
        grant(to, given);
    }
    match &newest.operator {
        OperatorHalf::Compact(signature) => to.signature(signature),
        OperatorHalf::Leaf(proof) => leaf(to, proof),
    }
    Ok(())
}

fn grant(to: &mut Output, grant: &GrantProof) {
    to.put(grant.session);
    to.put(grant.expiry.to_le_bytes());
    to.put(grant.first_epoch.to_le_bytes());
    to.put(grant.last_epoch.to_le_bytes());
    to.put(grant.floor.to_le_bytes());
    to.put(grant.start_base.to_le_bytes());
    to.put(grant.outflow.to_le_bytes());
    to.put(grant.position.to_le_bytes());
    to.path(&grant.path);
    to.signature(&grant.signature);
}

fn leaf(to: &mut Output, leaf: &LeafProof) {
    to.put(leaf.excess.to_le_bytes());
    to.put(leaf.position.to_le_bytes());
    to.length(leaf.path.len());
    for sums in &leaf.path {
        to.put(sums.hash);
        to.put(sums.balance.to_le_bytes());
        to.put(sums.excess.to_le_bytes());
    }
    to.put(leaf.entry_position.to_le_bytes());
    to.path(&leaf.entry_path);
    to.put(leaf.epoch.to_le_bytes());
    to.put(leaf.previous);
    to.signature(&leaf.signature);
}
