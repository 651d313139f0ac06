//! What is signed: EIP-712 structs and the two domains, the same bytes as on every account-based chain (`docs/channels.md`).
//!
//! The hub's domain names it and the lineage, here the id of the chain on which it was deployed. The venue's names neither.

use keccak_const::Keccak256;

use crate::account::{Name, Token};
use crate::hash::{Address, Host, Preimage, Word, number, padded, signed, words};

const fn of(text: &[u8]) -> Word {
    Keccak256::new().update(text).finalize()
}

const HUB_DOMAIN: Word =
    of(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
const VENUE_DOMAIN: Word = of(b"EIP712Domain(string name,string version,bytes32 salt)");
const HUB_NAME: Word = of(b"Ring0 Channel Hub");
const VENUE_NAME: Word = of(b"Ring0 Venue");
const VERSION: Word = of(b"1");

const CHANNEL_STATE: Word = of(b"ChannelState(bytes32 channel,uint40 version,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,uint40 epoch,uint8 kind,bytes32 branch)");
const STATE: Word = of(b"State(ChannelState state,bytes32 accountRoot)ChannelState(bytes32 channel,uint40 version,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,uint40 epoch,uint8 kind,bytes32 branch)");
const ACCOUNT_STATE: Word = of(b"AccountState(uint64 account,uint40 epoch,bytes32 accountRoot)");
const BATCH: Word = of(b"Batch(uint40 epoch,bytes32 previous,bytes32 entries)");
const GRANT: Word = of(b"Grant(uint64 account,address session,uint40 expiry,uint40 firstEpoch,uint40 lastEpoch,bytes32 limits)");
const REVOCATION: Word = of(b"Revocation(address cosigner,address session,uint40 fromEpoch)");
const WITHDRAWAL: Word = of(
    b"Withdrawal(bytes32 channel,uint128 withdrawn,address recipient,bytes32 branch,uint40 deadline)",
);
const CLOSING: Word = of(b"Closing(bytes32 channel,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,address recipient,bytes32 branch,uint40 deadline)");
const REBALANCING: Word =
    of(b"Rebalancing(bytes32 channel,uint40 number,int128 moved,bytes32 branch,uint40 deadline)");

/// The one kind of state: a trading balance.
pub const KIND_TRADING: u8 = 1;

/// Numbers of versions, epochs and times stay below it.
pub const UINT40_END: u64 = 1 << 40;

/// The two domains of a hub and what else is in its channels' ids.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Domains {
    /// Of states, withdrawals, closes and rebalances.
    pub hub: Word,
    /// Of account states, batches, grants and revocations.
    pub venue: Word,
}

impl Domains {
    /// Of a hub on a lineage, for a venue.
    #[must_use]
    pub fn new(host: &impl Host, lineage: &Word, hub: &Address, venue: &Word) -> Domains {
        Domains {
            hub: words(host, [HUB_DOMAIN, HUB_NAME, VERSION, *lineage, padded(hub)]),
            venue: words(host, [VENUE_DOMAIN, VENUE_NAME, VERSION, *venue]),
        }
    }
}

/// What a key signs: a struct's hash in a domain.
#[must_use]
pub fn digest(host: &impl Host, domain: &Word, message: &Word) -> Word {
    Preimage::<66>::new()
        .with(&[0x19, 0x01])
        .with(domain)
        .with(message)
        .hash(host)
}

/// A channel's fixed terms.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// Owns the funds and is paid at exit.
    pub owner: Name,
    /// Key that signs states for the owner, by its address.
    pub cosigner: Address,
    /// What the channel holds.
    pub token: Token,
    /// Distinguishes channels with the same parties and token.
    pub nonce: u64,
}

impl Terms {
    /// The channel's id at a hub.
    #[must_use]
    pub fn channel(&self, host: &impl Host, lineage: &Word, hub: &Address) -> Word {
        let Terms {
            owner,
            cosigner,
            token,
            nonce,
        } = self;
        channel(
            host,
            lineage,
            hub,
            [&owner.address(), cosigner, &token.address()],
            *nonce,
        )
    }
}

/// Id of a channel whose owner, co-signer and token have these addresses.
#[must_use]
pub fn channel(
    host: &impl Host,
    lineage: &Word,
    hub: &Address,
    parties: [&Address; 3],
    nonce: u64,
) -> Word {
    let [owner, cosigner, token] = parties.map(padded);
    words(
        host,
        [
            *lineage,
            padded(hub),
            owner,
            cosigner,
            token,
            number(nonce.into()),
        ],
    )
}

/// One signed state, without the channel's id.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct State {
    /// Number of the state; the higher one counts.
    pub version: u64,
    /// What the trader owns once all that is "seen" counts.
    pub balance: u128,
    /// Cumulative deposits that `balance` contains.
    pub deposited_seen: u128,
    /// Cumulative withdrawals that `balance` no longer contains.
    pub withdrawn_seen: u128,
    /// Settlement batch that made the state.
    pub epoch: u64,
    /// [`KIND_TRADING`].
    pub kind: u8,
    /// Root over all channels of the account, on all chains, that this state lies under.
    pub account_root: Word,
    /// Pinned block the state was signed under.
    pub branch: Word,
}

impl State {
    /// The canonical bytes: eight words, a field each.
    #[must_use]
    pub fn bytes(&self, channel: &Word) -> [Word; 8] {
        [
            *channel,
            number(self.version.into()),
            number(self.balance),
            number(self.deposited_seen),
            number(self.withdrawn_seen),
            number(self.epoch.into()),
            number(self.kind.into()),
            self.branch,
        ]
    }

    /// Hash without the account's root: what an account's tree has as its leaf.
    #[must_use]
    pub fn channel_state(&self, host: &impl Host, channel: &Word) -> Word {
        Preimage::<288>::new()
            .with(&CHANNEL_STATE)
            .with(self.bytes(channel).as_flattened())
            .hash(host)
    }
}

/// A state under its account's root: what the operator signs.
#[must_use]
pub fn state(host: &impl Host, channel_state: &Word, account_root: &Word) -> Word {
    words(host, [STATE, *channel_state, *account_root])
}

/// What a trader signs once a batch, over all its channels.
#[must_use]
pub fn account_state(host: &impl Host, account: u64, epoch: u64, account_root: &Word) -> Word {
    let (account, epoch) = (number(account.into()), number(epoch.into()));
    words(host, [ACCOUNT_STATE, account, epoch, *account_root])
}

/// What the operator signs once a batch.
#[must_use]
pub fn batch(host: &impl Host, epoch: u64, previous: &Word, entries: &Word) -> Word {
    words(host, [BATCH, number(epoch.into()), *previous, *entries])
}

/// A co-signer's permission for a session key: account, key, expiry, first and last epoch, root over the limits.
#[must_use]
pub fn grant(
    host: &impl Host,
    account: u64,
    session: &Address,
    times: [u64; 3],
    limits: &Word,
) -> Word {
    let [expiry, first, last] = times.map(|it| number(it.into()));
    let (account, session) = (number(account.into()), padded(session));
    words(
        host,
        [GRANT, account, session, expiry, first, last, *limits],
    )
}

/// The end of a session key, from an epoch on.
#[must_use]
pub fn revocation(
    host: &impl Host,
    cosigner: &Address,
    session: &Address,
    from_epoch: u64,
) -> Word {
    let from_epoch = number(from_epoch.into());
    words(
        host,
        [REVOCATION, padded(cosigner), padded(session), from_epoch],
    )
}

/// Under which block and until when something is good.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Validity {
    /// Pinned block.
    pub branch: Word,
    /// Last second of Unix time.
    pub deadline: u64,
}

/// A partial withdrawal: `withdrawn` is cumulative.
#[must_use]
pub fn withdrawal(
    host: &impl Host,
    channel: &Word,
    withdrawn: u128,
    recipient: &Address,
    validity: &Validity,
) -> Word {
    let (withdrawn, deadline) = (number(withdrawn), number(validity.deadline.into()));
    words(
        host,
        [
            WITHDRAWAL,
            *channel,
            withdrawn,
            padded(recipient),
            validity.branch,
            deadline,
        ],
    )
}

/// A cooperative close: balance, deposits seen, withdrawals seen.
#[must_use]
pub fn closing(
    host: &impl Host,
    channel: &Word,
    amounts: [u128; 3],
    recipient: &Address,
    validity: &Validity,
) -> Word {
    let [balance, deposited_seen, withdrawn_seen] = amounts.map(number);
    words(
        host,
        [
            CLOSING,
            *channel,
            balance,
            deposited_seen,
            withdrawn_seen,
            padded(recipient),
            validity.branch,
            number(validity.deadline.into()),
        ],
    )
}

/// A move from the vault into an escrow; negative the other way.
#[must_use]
pub fn rebalancing(
    host: &impl Host,
    channel: &Word,
    count: u64,
    moved: i128,
    validity: &Validity,
) -> Word {
    words(
        host,
        [
            REBALANCING,
            *channel,
            number(count.into()),
            signed(moved),
            validity.branch,
            number(validity.deadline.into()),
        ],
    )
}
