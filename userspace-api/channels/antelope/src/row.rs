//! The hub's rows, from their bytes (`hub.abi.json` has the fields).

use crate::account::{Name, Symbol, Token};
use crate::packed::Input;
use alloy_primitives::{Address, B256};

/// A channel as the hub has it. Amounts in the token's smallest unit, times in seconds of Unix time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Channel {
    /// Its id.
    pub id: B256,
    /// Who owns it.
    pub owner: Name,
    /// The key of its terms that signs states.
    pub cosigner: Address,
    /// Of which token.
    pub token: Token,
    /// Tells it from others of the same parties.
    pub nonce: u64,
    /// Closed for good.
    pub closed: bool,
    /// Paid in, cumulative.
    pub deposited: u64,
    /// Paid out before its end, cumulative.
    pub withdrawn: u64,
    /// Net of moves from the vault into the escrow.
    pub moved: i64,
    /// Such moves so far.
    pub moves: u64,
    /// Balance − deposits seen + withdrawals seen of the newest state.
    pub base: i64,
    /// The newest state's version; 0: none was shown.
    pub version: u64,
    /// The newest state's epoch.
    pub epoch: u64,
    /// End of the dispute; 0: there was none.
    pub deadline: u64,
    /// Number of the posted root that secures the newest state; 0: none.
    pub security: u32,
    /// Changes of the co-signer so far; 0: the terms' one signs.
    pub cosigner_changes: u64,
    /// Who signs before `cosigner_from`.
    pub cosigner_before: Address,
    /// Who signs from then on.
    pub cosigner_after: Address,
    /// When.
    pub cosigner_from: u64,
    /// Where its claim begins on the vault's line.
    pub claim_start: u128,
    /// What of its settlement is neither paid nor due.
    pub claim: u64,
    /// What the owner may collect.
    pub due: u64,
}

/// What a hub was set up with. Times in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Fixed name of the chain's history.
    pub lineage: B256,
    /// The venue's id.
    pub venue: B256,
    /// Who signs for the exchange.
    pub operator_key: Address,
    /// Its account, which starts disputes.
    pub operator: Name,
    /// Where the vault is paid out to.
    pub treasury: Name,
    /// Longest time between two posted batches.
    pub anchor: u32,
    /// How long a dispute may be answered.
    pub window: u32,
    /// How long a posted root secures what lies under it.
    pub grace: u32,
    /// How long a payout of the vault is announced before.
    pub vault_delay: u32,
    /// Blocks between two pins.
    pub pin_every: u32,
    /// Blocks that lie on a pinned one.
    pub confirmations: u32,
    /// Its first epoch.
    pub first_epoch: u64,
}

impl Channel {
    /// `None`: the bytes are not a channel's.
    pub(crate) fn unpack(bytes: &[u8]) -> Option<Channel> {
        let mut from = Input::of(bytes, 241)?;
        let row = Channel {
            id: from.word(),
            owner: from.name(),
            cosigner: from.address(),
            token: Token {
                contract: from.name(),
                symbol: Symbol(from.u64()),
            },
            nonce: from.u64(),
            closed: from.u8() != 0,
            deposited: from.u64(),
            withdrawn: from.u64(),
            moved: from.i64(),
            moves: from.u64(),
            base: from.i64(),
            version: from.u64(),
            epoch: from.u64(),
            deadline: from.u64(),
            security: from.u32(),
            cosigner_changes: from.u64(),
            cosigner_before: from.address(),
            cosigner_after: from.address(),
            cosigner_from: from.u64(),
            claim_start: from.u128(),
            claim: from.u64(),
            due: from.u64(),
        };
        from.end();
        Some(row)
    }

    /// Version of the state in dispute; `None`: no dispute runs.
    #[must_use]
    pub fn disputed(&self) -> Option<u64> {
        (self.deadline != 0 && !self.closed).then_some(self.version)
    }
}

impl Settings {
    /// `None`: the bytes are not a hub's settings.
    pub(crate) fn unpack(bytes: &[u8]) -> Option<Settings> {
        let mut from = Input::of(bytes, 132)?;
        let row = Settings {
            lineage: from.word(),
            venue: from.word(),
            operator_key: from.address(),
            operator: from.name(),
            treasury: from.name(),
            anchor: from.u32(),
            window: from.u32(),
            grace: from.u32(),
            vault_delay: from.u32(),
            pin_every: from.u32(),
            confirmations: from.u32(),
            first_epoch: from.u64(),
        };
        from.end();
        Some(row)
    }
}

/// Whether the hub is frozen, from its status; `None`: the bytes are not a status.
pub(crate) fn is_frozen(bytes: &[u8]) -> Option<bool> {
    let mut from = Input::of(bytes, 24)?;
    Some(from.u64() != 0)
}
