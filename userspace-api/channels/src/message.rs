//! What is signed: EIP-712 structs and the two domains they are signed in (CUSTODY 2, 4, 5, 6, 8, 9).
//!
//! The hub's domain names the hub and the lineage, a fixed number in the place of the live chain id, so that a state outlives a change of the id. The
//! venue's names neither chain nor hub: what is signed in it holds on all of them at once. Amounts are in the token's smallest unit, times in seconds of Unix time.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::LazyLock;

/// The one kind of state: a trading balance.
pub const KIND_TRADING: u8 = 1;

/// Largest amount that a hub takes: 104 bits.
pub const AMOUNT_MAX: u128 = (1 << 104) - 1;

alloy_sol_types::sol! {
    /// A channel's state without the account's root: the leaf of the account's tree.
    #[derive(Debug, Eq, PartialEq)]
    struct ChannelState {
        bytes32 channel;
        uint40 version;
        uint128 balance;
        uint128 depositedSeen;
        uint128 withdrawnSeen;
        uint40 epoch;
        uint8 kind;
        bytes32 branch;
    }

    /// A channel's state: what the operator signs in the compact form, in the hub's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct State {
        ChannelState state;
        bytes32 accountRoot;
    }

    /// What a trader signs once a batch, over all channels on all chains, in the venue's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct AccountState {
        uint64 account;
        uint40 epoch;
        bytes32 accountRoot;
    }

    /// What the operator signs once a batch, in the venue's domain: the root over its entries, and the batch before.
    #[derive(Debug, Eq, PartialEq)]
    struct Batch {
        uint40 epoch;
        bytes32 previous;
        bytes32 entries;
    }

    /// A session key's permission to sign account states in the co-signer's place; in the venue's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct Grant {
        uint64 account;
        address session;
        uint40 expiry;
        uint40 firstEpoch;
        uint40 lastEpoch;
        bytes32 limits;
    }

    /// A partial withdrawal, which owner and operator sign in the hub's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct Withdrawal {
        bytes32 channel;
        uint128 withdrawn;
        address recipient;
        bytes32 branch;
        uint40 deadline;
    }

    /// A cooperative close, which owner and operator sign in the hub's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct Closing {
        bytes32 channel;
        uint128 balance;
        uint128 depositedSeen;
        uint128 withdrawnSeen;
        address recipient;
        bytes32 branch;
        uint40 deadline;
    }

    /// A move between escrow and vault, which co-signer and operator sign in the hub's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct Rebalancing {
        bytes32 channel;
        uint40 number;
        int128 moved;
        bytes32 branch;
        uint40 deadline;
    }

    /// The owner's choice of another co-signer, in the hub's domain.
    #[derive(Debug, Eq, PartialEq)]
    struct CosignerChange {
        bytes32 channel;
        address cosigner;
        uint40 number;
        bytes32 branch;
        uint40 deadline;
    }
}

/// A hub: one contract on one lineage of a chain. None is at the zero address, and none is read there: a batch's entry of it is that of the audit logs
/// (`heads.rs`).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "HubWords")]
pub struct Hub {
    /// Fixed name of the chain's history.
    pub lineage: U256,
    /// The contract.
    pub address: Address,
}

/// A hub as it is read.
#[derive(Deserialize)]
#[serde(rename = "Hub")]
struct HubWords {
    lineage: U256,
    address: Address,
}

impl TryFrom<HubWords> for Hub {
    type Error = &'static str;

    fn try_from(HubWords { lineage, address }: HubWords) -> Result<Hub, &'static str> {
        match address {
            Address::ZERO => Err("no hub is at the zero address; give the contract's"),
            address => Ok(Hub { lineage, address }),
        }
    }
}

/// A channel's fixed terms.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// Owns the funds.
    pub owner: Address,
    /// Signs states for the owner.
    pub cosigner: Address,
    /// ERC-20 contract, or zero for the chain's own coin.
    pub token: Address,
    /// Distinguishes channels with the same parties and token.
    pub nonce: u64,
}

impl Hub {
    /// Domain of what holds at this hub alone.
    #[must_use]
    pub fn domain(&self) -> Eip712Domain {
        Eip712Domain {
            name: Some(Cow::Borrowed("Ring0 Channel Hub")),
            version: Some(Cow::Borrowed("1")),
            chain_id: Some(self.lineage),
            verifying_contract: Some(self.address),
            salt: None,
        }
    }

    /// Id of a channel: used once, at this hub alone (CUSTODY 1).
    #[must_use]
    pub fn channel(&self, terms: &Terms) -> B256 {
        let Terms {
            owner,
            cosigner,
            token,
            nonce,
        } = *terms;
        keccak256((self.lineage, self.address, owner, cosigner, token, nonce).abi_encode())
    }
}

/// Domain of what holds at every hub of a venue at once.
#[must_use]
pub fn venue_domain(venue: B256) -> Eip712Domain {
    Eip712Domain {
        name: Some(Cow::Borrowed("Ring0 Venue")),
        version: Some(Cow::Borrowed("1")),
        chain_id: None,
        verifying_contract: None,
        salt: Some(venue),
    }
}

impl ChannelState {
    /// The canonical bytes: eight words of 32, a field each. The same on every account-based chain.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.eip712_encode_data()
    }

    /// The struct's hash: Keccak-256 of the type's hash and the canonical bytes.
    #[must_use]
    pub fn hash(&self) -> B256 {
        static TYPE: LazyLock<B256> = LazyLock::new(type_hash::<ChannelState>);
        keccak256([TYPE.as_slice(), &self.bytes()].concat())
    }

    /// What trading added to what was paid in, or took from it.
    ///
    /// # Errors
    /// [`Insane`]: an amount is beyond [`AMOUNT_MAX`].
    pub fn base(&self) -> Result<i128, Insane> {
        for amount in [self.balance, self.depositedSeen, self.withdrawnSeen] {
            if amount > AMOUNT_MAX {
                return Err(Insane { amount });
            }
        }
        let signed = |amount: u128| i128::try_from(amount).expect("104 bits");
        Ok(signed(self.balance) - signed(self.depositedSeen) + signed(self.withdrawnSeen))
    }
}

impl State {
    /// The struct's hash, as `eip712_hash_struct` has it: a batch has tens of thousands, and the hash of the type is made once.
    #[must_use]
    pub fn hash(&self) -> B256 {
        State::hash_of(self.state.hash(), self.accountRoot)
    }

    /// The same from the inner state's hash.
    #[must_use]
    pub fn hash_of(state: B256, account_root: B256) -> B256 {
        static TYPE: LazyLock<B256> = LazyLock::new(type_hash::<State>);
        keccak256([TYPE.0, state.0, account_root.0].concat())
    }
}

impl AccountState {
    /// What the trader signs, as `eip712_signing_hash` has it: `domain` is the [`separator`](Eip712Domain::separator) of the venue's, made once for all traders.
    #[must_use]
    pub fn digest(&self, domain: B256) -> B256 {
        static TYPE: LazyLock<B256> = LazyLock::new(type_hash::<AccountState>);
        let content = keccak256([TYPE.as_slice(), &self.eip712_encode_data()].concat());
        keccak256([&[0x19, 0x01], domain.as_slice(), content.as_slice()].concat())
    }
}

fn type_hash<T: SolStruct>() -> B256 {
    keccak256(T::eip712_encode_type().as_bytes())
}

/// An amount that no hub takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{amount} is more than a hub takes ({AMOUNT_MAX}); the state is not one of ours")]
pub struct Insane {
    /// The amount.
    pub amount: u128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_bytes_hash_to_the_struct_hash() {
        let state = ChannelState {
            channel: B256::repeat_byte(1),
            version: alloy_primitives::aliases::U40::from(7),
            balance: 100,
            depositedSeen: 40,
            withdrawnSeen: 5,
            epoch: alloy_primitives::aliases::U40::from(9),
            kind: KIND_TRADING,
            branch: B256::repeat_byte(2),
        };
        assert_eq!(state.bytes().len(), 8 * 32);
        let typed = [state.eip712_type_hash().to_vec(), state.bytes()].concat();
        assert_eq!(keccak256(typed), state.hash());
        assert_eq!(state.hash(), state.eip712_hash_struct());
        let whole = State {
            state: state.clone(),
            accountRoot: B256::repeat_byte(3),
        };
        assert_eq!(whole.hash(), whole.eip712_hash_struct());
        let account = AccountState {
            account: 7,
            epoch: alloy_primitives::aliases::U40::from(9),
            accountRoot: B256::repeat_byte(3),
        };
        let domain = venue_domain(B256::repeat_byte(4));
        let digest = account.digest(domain.separator());
        assert_eq!(digest, account.eip712_signing_hash(&domain));
        assert_eq!(state.base(), Ok(65));
        let wide = ChannelState {
            balance: AMOUNT_MAX + 1,
            ..state
        };
        assert_eq!(
            wide.base(),
            Err(Insane {
                amount: AMOUNT_MAX + 1
            })
        );
    }
}
