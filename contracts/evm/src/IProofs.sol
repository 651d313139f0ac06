// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {SumNode} from "./Types.sol";

/// @title The proofs a hub asks about. Every function reverts unless the proof holds.
interface IProofs {
    error WrongSigner(address expected, address recovered);
    error ProofRefused();
    error EpochOutsideGrant(uint40 epoch, uint40 first, uint40 last);
    error BelowFloor(uint256 balance, uint256 floor);
    error OutflowExceeded(int256 base, int256 startBase, uint256 outflow);

    /// @notice `signer` is the session key of a grant by `cosigner` that covers a state with these values. Judged by the state's
    /// epoch, never by time: what was valid when it was signed stays so.
    /// @param base balance - depositedSeen + withdrawnSeen of the state.
    /// @param encoded An ABI-encoded `Grant`.
    function grant(
        address cosigner,
        address signer,
        bytes32 channel,
        uint64 account,
        uint40 epoch,
        uint128 balance,
        int256 base,
        bytes calldata encoded
    ) external view;

    /// @notice The state is a leaf of the hub's sum tree in a batch that the operator signed.
    /// @param encoded An ABI-encoded `LeafProof`.
    /// @return epoch The batch's.
    /// @return entry Hash of the batch's entry: lineage, hub, token, root, sums.
    /// @return excess What of the leaf's balance the operator says is above the channel's escrow.
    function leaf(address token, bytes32 state, uint128 balance, bytes calldata encoded)
        external
        view
        returns (uint40 epoch, bytes32 entry, uint128 excess);

    /// @notice The root with these sums is the token's in a batch that the operator signed.
    /// @param encoded An ABI-encoded `EntryProof`.
    function root(address token, SumNode calldata sums, bytes calldata encoded)
        external
        view
        returns (uint40 epoch, bytes32 entry);

    /// @notice The operator signed two batches of one epoch.
    /// @param encoded An ABI-encoded `TwoRoots`.
    function twoRoots(bytes calldata encoded) external view;

    /// @notice A node under a signed batch states sums that are not those of its two children.
    /// @param encoded ABI-encoded `StatedNode` and the children, `SumNode` and `SumNode`.
    function falseNode(bytes calldata encoded) external view;

    /// @notice A leaf under a signed batch states sums that are not its own, or has a balance that is not its state's.
    /// @param encoded ABI-encoded `StatedNode`, channel id, `State`, the leaf's balance and excess.
    function falseLeaf(bytes calldata encoded) external view;
}
