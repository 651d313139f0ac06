// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

// What callers hand to the hub. Amounts are in the token's smallest unit (wei for ETH), times in seconds of Unix time,
// epochs and versions count from 1. Token zero is ETH. Layouts and hashes: `docs/channels.md`.

/// @dev Every amount is at most this; it is what a packed slot holds (2e31 units).
uint256 constant AMOUNT_MAX = type(uint104).max;

/// @dev The only kind of state there is: a trading balance. Other values are kept for later kinds and refused today.
uint8 constant KIND_TRADING = 1;

/// @dev Longest path accepted in any tree.
uint256 constant DEPTH_MAX = 16;

/// @notice Constructor values. None can be changed.
struct Settings {
    /// Fixed name of the chain's history; stands in the signing domain in place of the live chain id.
    uint256 lineage;
    /// Id of the venue; the domain of what is signed for all chains at once.
    bytes32 venue;
    /// Key that signs states, batches and counter-signatures for the exchange.
    address operator;
    /// Who may withdraw from the vault what is not locked, and receives it.
    address treasury;
    /// A root is posted at least this often.
    uint40 anchor;
    /// Time to refute a dispute, and before a new co-signer counts; at least four anchors.
    uint40 window;
    /// Without a new root for longer than this, anybody may freeze the hub.
    uint40 grace;
    /// From request to withdrawal of vault funds, and how long a posted root keeps its lock; longer than the window.
    uint40 vaultDelay;
    /// Blocks between two pins.
    uint32 pinEvery;
    /// Blocks that must lie on a block before it is pinned.
    uint32 confirmations;
    /// Epoch at deployment: a lower bound for revocations before the first root is posted.
    uint40 firstEpoch;
}

/// @notice A channel's fixed terms. Never stored: each call brings them, and their hash is the channel's id.
struct Channel {
    /// Owns the funds: a key or a contract wallet.
    address owner;
    /// Key that signs states for the owner, until the owner names another.
    address cosigner;
    /// ERC-20 contract, or zero for ETH.
    address token;
    /// Distinguishes channels with the same parties and token.
    uint64 nonce;
}

/// @notice One signed state of a channel, without the channel's id, which the hub computes.
struct State {
    uint40 version;
    /// What the trader owns in the channel once all that is "seen" counts.
    uint128 balance;
    /// Cumulative deposits that `balance` contains.
    uint128 depositedSeen;
    /// Cumulative withdrawals that `balance` no longer contains.
    uint128 withdrawnSeen;
    /// Settlement batch that made the state.
    uint40 epoch;
    /// `KIND_TRADING`.
    uint8 kind;
    /// Root over all channels of the account, on all chains, that this state lies under.
    bytes32 accountRoot;
    /// Pinned block the state was signed under.
    bytes32 branch;
}

/// @notice An ECDSA signature in the hub's one form (EIP-2098): `vs` is s with the parity of y in its highest bit.
struct Signature {
    bytes32 r;
    bytes32 vs;
}

/// @notice The trader's signature over an account root, and the way from a state to that root.
struct CoSignature {
    uint64 account;
    /// Leaf's place, its bits from the lowest up say on which side the path's hashes stand.
    uint256 position;
    bytes32[] path;
    /// By the co-signer, or by the session key of `grant`.
    Signature signature;
    /// Empty, or an ABI-encoded `Grant`.
    bytes grant;
}

/// @notice A co-signer's permission for a session key to sign states in its place.
struct Grant {
    address session;
    /// Until when it opens trading sessions. Judged by the engine, never here.
    uint40 expiry;
    uint40 firstEpoch;
    uint40 lastEpoch;
    /// This channel's limits: the lowest balance, and the most that trading may take from `startBase`,
    /// which is balance - depositedSeen + withdrawnSeen when the grant was made.
    uint128 floor;
    int128 startBase;
    uint128 outflow;
    /// Way from this channel's limits to the signed root over the limits of all channels.
    uint256 position;
    bytes32[] path;
    /// By the co-signer.
    Signature signature;
}

/// @notice A node of a sum tree.
struct SumNode {
    bytes32 hash;
    uint128 balance;
    uint128 excess;
}

/// @notice A sibling on the way up a sum tree; the sums share a word, because sixteen of them are paid for as calldata.
struct Sibling {
    bytes32 hash;
    /// balance << 128 | excess
    uint256 sums;
}

/// @notice The way from one (hub, token) entry to the root of a batch, and the operator's signature of the batch.
struct EntryProof {
    uint256 position;
    bytes32[] path;
    uint40 epoch;
    /// Root of the batch before.
    bytes32 previous;
    Signature signature;
}

/// @notice Shows that a state is a leaf of a batch: sum tree of this (hub, token), entry of it, signed batch.
struct LeafProof {
    /// The leaf's part that is not covered by the channel's own escrow.
    uint128 excess;
    uint256 position;
    Sibling[] path;
    EntryProof entry;
}

/// @notice A node of this hub's sum tree under a signed batch, with the sums that the tree states for it.
struct StatedNode {
    address token;
    SumNode node;
    uint256 position;
    Sibling[] path;
    EntryProof entry;
}

/// @notice Two batches signed in one epoch.
struct TwoRoots {
    uint40 epoch;
    bytes32 previousA;
    bytes32 entriesA;
    Signature a;
    bytes32 previousB;
    bytes32 entriesB;
    Signature b;
}

/// @notice A partial withdrawal that owner and operator signed.
struct Withdrawal {
    Channel channel;
    /// Cumulative: what will have been withdrawn in all.
    uint128 withdrawn;
    address recipient;
    bytes32 branch;
    uint40 deadline;
    Signature owner;
    Signature operator;
}

/// @notice A cooperative close that owner and operator signed.
struct Closing {
    Channel channel;
    uint128 balance;
    uint128 depositedSeen;
    uint128 withdrawnSeen;
    address recipient;
    bytes32 branch;
    uint40 deadline;
    Signature owner;
    Signature operator;
}

/// @notice A move between a channel's escrow and the vault that co-signer and operator signed.
struct Rebalancing {
    Channel channel;
    /// Counts a channel's moves from 1; each is used once, in order.
    uint40 number;
    /// From the vault into the escrow; negative the other way.
    int128 moved;
    bytes32 branch;
    uint40 deadline;
    Signature cosigner;
    Signature operator;
}

/// @notice The owner's choice of another co-signer.
struct CosignerChange {
    Channel channel;
    address cosigner;
    /// Counts a channel's changes from 1; each is used once, in order.
    uint40 number;
    bytes32 branch;
    uint40 deadline;
    /// By the owner: 64 bytes (EIP-2098), or whatever a contract wallet takes; empty if the owner calls.
    bytes owner;
}

/// @notice What the hub knows of a channel. All zero: never opened.
struct ChannelStatus {
    /// Cumulative.
    uint256 deposited;
    /// Cumulative.
    uint256 withdrawn;
    /// Net of all moves from the vault into the escrow; negative the other way.
    int256 moved;
    bool closed;
    /// Of the newest recorded state; zero: none.
    uint40 version;
    /// balance - depositedSeen + withdrawnSeen of that state.
    int256 base;
    /// End of the dispute; zero: no dispute.
    uint40 deadline;
    uint40 epoch;
    /// Number of the posted root that secures the state's excess; zero: none.
    uint24 security;
}

/// @notice A token's vault.
struct VaultStatus {
    uint256 balance;
    uint256 locked;
    /// Excess of the newest root that is not yet paid.
    uint256 outstanding;
    /// Claims that no inflow has funded yet.
    uint256 owed;
    /// Number, epoch and time of the newest root.
    uint24 number;
    uint40 epoch;
    uint40 postedAt;
}
