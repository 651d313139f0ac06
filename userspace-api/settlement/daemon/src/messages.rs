//! What people sign for the daemon alone: addresses that they name, withdrawals that they approve. EIP-712 in the venue's domain.

use alloy_sol_types::SolStruct;
use ring0_channels::message::venue_domain;
use ring0_channels::{Address, B256};

alloy_sol_types::sol! {
    /// The owner names an address for an account's withdrawals.
    struct WithdrawalAddress {
        uint64 account;
        address recipient;
    }

    /// An approver lets a withdrawal through or refuses it.
    struct WithdrawalApproval {
        bytes32 withdrawal;
        bool yes;
    }
}

/// What an owner signs to name an address.
#[must_use]
pub fn address_digest(venue: B256, account: u32, recipient: Address) -> B256 {
    let message = WithdrawalAddress {
        account: account.into(),
        recipient,
    };
    message.eip712_signing_hash(&venue_domain(venue))
}

/// What an approver signs.
#[must_use]
pub fn approval_digest(venue: B256, withdrawal: B256, yes: bool) -> B256 {
    let message = WithdrawalApproval { withdrawal, yes };
    message.eip712_signing_hash(&venue_domain(venue))
}
