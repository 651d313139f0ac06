// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {
    Channel,
    ChannelStatus,
    Closing,
    CoSignature,
    CosignerChange,
    Rebalancing,
    Signature,
    State,
    SumNode,
    VaultStatus,
    Withdrawal
} from "./Types.sol";

/// @title What a hub reports and refuses
interface IHubEvents {
    // ---- events

    /// @notice A channel was opened; the terms are in it because they are stored nowhere.
    event Opened(
        bytes32 indexed channel, address indexed owner, address cosigner, address token, uint64 nonce, uint256 amount
    );
    /// @param deposited Cumulative.
    event Deposited(bytes32 indexed channel, uint256 amount, uint256 deposited);
    /// @param withdrawn Cumulative.
    event Withdrawn(bytes32 indexed channel, address recipient, uint256 amount, uint256 withdrawn);
    event Closed(bytes32 indexed channel, address recipient, uint256 amount);
    /// @param moved From the vault into the escrow; negative the other way.
    event Rebalanced(bytes32 indexed channel, uint40 number, int256 moved);
    /// @notice From `from` on states need the new co-signer; until then the operator records what the old one signed.
    event CosignerNamed(bytes32 indexed channel, address cosigner, uint40 from);
    /// @param base balance - depositedSeen + withdrawnSeen.
    event Disputed(bytes32 indexed channel, uint40 version, int256 base, uint40 deadline);
    event Refuted(bytes32 indexed channel, uint40 version, int256 base, uint24 security);
    event Checkpointed(bytes32 indexed channel, uint40 version, int256 base);
    /// @notice A trader's signature over all its channels of an epoch has become public: towers use it everywhere.
    event Disclosed(uint64 indexed account, uint40 epoch, bytes32 accountRoot, bytes32 r, bytes32 vs);
    /// @notice The grant (ABI-encoded) that the signature of the `Disclosed` before it needs.
    event GrantDisclosed(uint64 indexed account, bytes grant);
    /// @param claim What was not covered; `collectClaim` pays it in order from later inflow.
    event Settled(bytes32 indexed channel, uint256 amount, uint256 claim);
    event ClaimPaid(bytes32 indexed channel, uint256 amount, uint256 left);
    event PayoutFailed(address indexed token, address indexed account, uint256 amount);
    event Collected(address indexed token, address indexed account, address recipient, uint256 amount);
    /// @notice An item of a batch was left out; the rest went on.
    /// @param reason Selector of the error that the single call would revert with.
    event Skipped(bytes32 indexed channel, bytes4 reason);
    event VaultFunded(address indexed token, address indexed from, uint256 amount);
    event VaultWithdrawalRequested(address indexed token, uint256 amount, uint40 from, uint40 until);
    event VaultWithdrawn(address indexed token, uint256 amount);
    event Posted(address indexed token, uint40 epoch, bytes32 root, uint256 balance, uint256 excess, uint256 locked);
    event Pinned(bytes32 indexed branch, uint256 number);
    event Revoked(address indexed cosigner, address indexed session, uint40 fromEpoch);
    /// @notice The hub is frozen for good.
    /// @param reason 1: no root in time; 2: two batches in one epoch; 3: sums that do not add up.
    event Frozen(uint8 reason);

    // ---- errors

    error ConfigInvalid(string what);
    /// @notice Owner, co-signer or recipient is zero, the hub itself, or (co-signer) the operator.
    error PartyInvalid(address party);
    error ChannelUsed(bytes32 channel);
    error ChannelNotOpen(bytes32 channel);
    error ChannelClosed(bytes32 channel);
    error ChannelInDispute(bytes32 channel, uint40 deadline);
    error ChannelNotInDispute(bytes32 channel);
    error HubFrozen();
    /// @notice An amount does not fit a slot.
    error AmountTooLarge(uint256 amount, uint256 max);
    error AmountIsZero();
    /// @notice ETH sent is not what the call says.
    error ValueWrong(uint256 expected, uint256 given);
    /// @notice The token moved another amount than asked, as fee-on-transfer and rebasing tokens do.
    error TokenAmountWrong(uint256 expected, uint256 received);
    error Expired(uint40 deadline);
    error WrongSigner(address expected, address recovered);
    error OwnerRefused(address owner);
    /// @notice The annex takes money only as the hub.
    error NotTheHub();
    error NotParty(address caller);
    error NotTreasury(address caller);
    error KindUnknown(uint8 kind);
    error VersionNotNewer(uint40 recorded, uint40 given);
    error EpochRewinds(uint40 recorded, uint40 given);
    error BranchUnknown(bytes32 branch);
    error AccountRootMismatch(bytes32 stated, bytes32 computed);
    error WindowOver(uint40 deadline);
    error WindowOpen(uint40 deadline);
    error WithdrawnNotMore(uint256 recorded, uint256 given);
    error NotCovered(uint256 amount, uint256 available);
    error NumberWrong(uint40 expected, uint40 given);
    error SessionRevoked(address session, uint40 fromEpoch, uint40 epoch);
    error RevocationTooEarly(uint256 earliest, uint40 given);
    error BatchOlderThanState(uint40 batch, uint40 state);
    error ExcessAboveVault(uint256 excess, uint256 vault);
    error EpochNotNewer(uint40 posted, uint40 given);
    error TooEarly(uint256 from);
    error TooLate(uint256 until);
    /// @notice A token obliges the operator to post from its first root on; there is none.
    error TokenNeverPosted(address token);
    error BlockNotConfirmed(uint256 number, uint256 earliest);
    error BlockOutOfReach(uint256 number);
    error NothingToCollect();
    error PayoutRefused(address recipient);
    /// @notice Less gas is left than a payout is given; the payout would fail for the caller's fault.
    error GasTooLow(uint256 left, uint256 needed);
}

/// @title The daily calls, in the hub itself
interface IHubDirect is IHubEvents {
    /// @notice Opens a channel of the caller's and funds it (ETH: send `amount`; ERC-20: approve it first).
    /// @param nonce Any number that the caller has not used with these parties.
    /// @return channel Its id.
    function open(address cosigner, address token, uint64 nonce, uint128 amount)
        external
        payable
        returns (bytes32 channel);

    /// @notice Adds to an open channel. Refused once a dispute has started, and when the hub is frozen.
    function deposit(Channel calldata c, uint128 amount) external payable;

    /// @notice Pays out up to `w.withdrawn` cumulative: from the channel's own escrow, then from the vault's unlocked part.
    /// A party that is the caller need not sign. Frozen hub: from own escrow only.
    function withdraw(Withdrawal calldata w) external;

    /// @notice The same, many at once. Items that are closed, expired, used or not covered are skipped; a bad signature reverts.
    function withdrawBatch(Withdrawal[] calldata items) external;

    /// @notice Ends the channel and pays balance plus deposits and minus withdrawals that it had not seen. The rest of the
    /// escrow goes to the vault. Frozen hub: from own escrow only.
    function close(Closing calldata c) external;

    /// @notice The same, many at once; skips as `withdrawBatch` does.
    function closeBatch(Closing[] calldata items) external;

    /// @notice A party starts the way out with a co-signed state: compact form, the operator signed the state.
    function dispute(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator)
        external;

    /// @notice Anybody replaces a disputed state by a newer one, until the deadline, which stays.
    function refute(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator)
        external;

    /// @notice The same by leaf: the operator signed a batch that contains the state. Under a posted root it secures the excess.
    /// @param leafProof An ABI-encoded `LeafProof`.
    function disputeByLeaf(Channel calldata c, State calldata s, CoSignature calldata trader, bytes calldata leafProof)
        external;

    /// @notice The same by leaf. The state in dispute is accepted again under a root posted later.
    function refuteByLeaf(Channel calldata c, State calldata s, CoSignature calldata trader, bytes calldata leafProof)
        external;

    /// @notice After the deadline anybody ends the channel: own escrow first, then the vault, the rest becomes a claim.
    /// Pays the owner. Never reverts for lack of cover.
    function settle(Channel calldata c) external;
}

/// @title The rarer calls. The hub passes them to its annex, which runs on the hub's own storage and money.
interface IHubAnnex is IHubEvents {
    /// @notice Opens a channel for `c.owner`, funded by the caller.
    /// @param ownerSignature 64 bytes (EIP-2098) of the owner's key, or what the owner's wallet takes (ERC-1271, 100,000 gas).
    function openFor(Channel calldata c, uint128 amount, bytes calldata ownerSignature)
        external
        payable
        returns (bytes32 channel);

    /// @notice Moves between escrows and the vault's unlocked part. Refused in a dispute and when frozen.
    function rebalance(Rebalancing[] calldata items) external;

    /// @notice Names another co-signer, who counts after one window.
    function changeCosigner(CosignerChange calldata change) external;

    /// @notice The caller, a co-signer, revokes a session key from an epoch on; states of earlier epochs stay valid.
    /// @param consent The operator's signature; with it, any epoch after the newest posted one. Without it (zeros), not before
    /// the highest epoch that can have been signed by now: the newest posted plus ten a second since one anchor before its posting.
    function revoke(address session, uint40 fromEpoch, Signature calldata consent) external;

    /// @notice A party starts the way out with what the hub has: a checkpoint, or nothing signed at all (version 0).
    function disputeRecorded(Channel calldata c) external;

    /// @notice Anybody records a newer state without a dispute; older ones are worthless from then on.
    function checkpoint(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator)
        external;

    /// @notice The same by leaf.
    function checkpointByLeaf(
        Channel calldata c,
        State calldata s,
        CoSignature calldata trader,
        bytes calldata leafProof
    ) external;

    /// @notice Pays what later inflow has funded of a settled channel's claim, to the owner.
    function collectClaim(Channel calldata c) external;

    /// @notice Pays what an earlier payout to the caller could not deliver.
    function collect(address token, address recipient) external;

    /// @notice Adds to the operator's vault, in a frozen hub too. Open claims are funded first.
    function fundVault(address token, uint128 amount) external payable;

    /// @notice The treasury announces a withdrawal; it may be made after the delay, for one window. Replaces an earlier request.
    function requestVaultWithdrawal(address token, uint128 amount) external;

    /// @notice The treasury withdraws what it announced, if that much is not locked and no claim is open.
    function withdrawVault(address token) external;

    /// @notice Anybody posts a signed root. Reverts unless the vault covers its excess, and locks that much.
    /// @param root The token's root in a batch, with its sums.
    /// @param entryProof An ABI-encoded `EntryProof`.
    function post(address token, SumNode calldata root, bytes calldata entryProof) external;

    /// @notice Records the hash of a confirmed block; states signed under it are valid where the block is.
    function pin(uint256 number) external returns (bytes32 branch);

    /// @notice No root of `token` for longer than the grace period. A token counts from its first root.
    function freezeSilent(address token) external;

    /// @notice Two batches signed in one epoch.
    /// @param proof An ABI-encoded `TwoRoots`.
    function freezeTwoRoots(bytes calldata proof) external;

    /// @notice A node under a signed batch states sums that are not those of its two children.
    /// @param proof ABI-encoded `StatedNode` and the two children, `SumNode` each.
    function freezeNode(bytes calldata proof) external;

    /// @notice A leaf under a signed batch states sums that are not its own, or has a balance that is not its state's.
    /// @param proof ABI-encoded `StatedNode`, channel id, `State`, and the leaf's balance and excess.
    function freezeLeaf(bytes calldata proof) external;

    function channelOf(bytes32 channel) external view returns (ChannelStatus memory);

    /// @notice Who signs states for a channel now.
    function cosignerOf(Channel calldata c) external view returns (address);

    function channelId(Channel calldata c) external view returns (bytes32);

    function vaultOf(address token) external view returns (VaultStatus memory);

    /// @notice A channel's claim: what is left of it, and how much of that can be collected.
    function claimOf(Channel calldata c) external view returns (uint256 left, uint256 funded);

    function collectable(address token, address account) external view returns (uint256);

    /// @notice When the hub was frozen; zero: it is not.
    function frozenAt() external view returns (uint40);

    /// @notice The pinned block's number plus one; zero: not pinned.
    function pins(bytes32 branch) external view returns (uint256);

    /// @notice First epoch that a session key may no longer sign for a co-signer; zero: not revoked.
    function revocationOf(address cosigner, address session) external view returns (uint40);
}

/// @title Channels between traders and one exchange operator, with the funds of both
/// @notice A trader's escrow is paid always and to nobody else; winnings above it come from the operator's vault. The newest
/// state that trader and operator both signed decides. Nothing here can be changed by anybody after deployment.
/// Amounts are in the token's smallest unit, times in seconds of Unix time, token zero is ETH. Rules: `docs/channels.md`.
interface IChannelHub is IHubDirect, IHubAnnex {}
