// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {DEPTH_MAX, Sibling, SumNode} from "./Types.sol";

/// @title Merkle trees: plain ones for accounts, entries and limits, and the sum tree of a (hub, token)
/// @dev A leaf's preimage starts with 0x00, a node's with 0x01, so neither passes for the other.
library Trees {
    error PathTooLong(uint256 length);
    error PositionOutsideTree(uint256 position, uint256 depth);
    error SumOverflows();

    function leaf(bytes32 content) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"00", content));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"01", left, right));
    }

    function root(bytes32 leaf_, uint256 position, bytes32[] memory path) internal pure returns (bytes32 hash) {
        requirePlace(position, path.length);
        hash = leaf_;
        for (uint256 i = 0; i < path.length; ++i) {
            hash = (position >> i) & 1 == 0 ? node(hash, path[i]) : node(path[i], hash);
        }
    }

    /// @dev Leaf of a sum tree: a whole state, its balance, its part above the channel's own escrow.
    function sumLeaf(bytes32 state, uint128 balance, uint128 excess) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"00", state, balance, excess));
    }

    function sumNode(SumNode memory left, SumNode memory right) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(hex"01", left.hash, left.balance, left.excess, right.hash, right.balance, right.excess)
        );
    }

    /// @dev From a node to the root. Sums that do not fit 128 bits revert: such a root exists for nobody.
    function sumRoot(SumNode memory from, uint256 position, Sibling[] calldata path)
        internal
        pure
        returns (SumNode memory)
    {
        requirePlace(position, path.length);
        bytes32 hash = from.hash;
        uint256 sums = uint256(from.balance) << 128 | from.excess;
        for (uint256 i = 0; i < path.length; ++i) {
            (bytes32 hashBeside, uint256 sumsBeside) = (path[i].hash, path[i].sums);
            // The bytes of `sumNode`: two 128-bit sums are one word.
            hash = (position >> i) & 1 == 0
                ? keccak256(abi.encodePacked(hex"01", hash, sums, hashBeside, sumsBeside))
                : keccak256(abi.encodePacked(hex"01", hashBeside, sumsBeside, hash, sums));
            sums = sum(sums, sumsBeside);
        }
        return SumNode(hash, uint128(sums >> 128), uint128(sums));
    }

    /// @dev One (hub, token) of a batch.
    function entry(uint256 lineage, address hub, address token, SumNode memory root_) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encodePacked(hex"00", abi.encode(lineage, hub, token, root_.hash, root_.balance, root_.excess))
            );
    }

    /// @dev One channel's limits in a grant.
    function limits(bytes32 channel, uint128 floor, int128 startBase, uint128 outflow) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"00", abi.encode(channel, floor, startBase, outflow)));
    }

    function requirePlace(uint256 position, uint256 depth) private pure {
        if (depth > DEPTH_MAX) revert PathTooLong(depth);
        if (position >> depth != 0) revert PositionOutsideTree(position, depth);
    }

    /// @dev Adds balance to balance and excess to excess.
    function sum(uint256 a, uint256 b) private pure returns (uint256 total) {
        unchecked {
            total = a + b;
            // Wrapped: the balances overflow. A carry out of the low half shows as low sum below either low half.
            if (total < a || uint128(total) < uint128(a)) revert SumOverflows();
        }
    }
}
