// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IProofs} from "./IProofs.sol";
import {Messages} from "./Messages.sol";
import {Signatures} from "./Signatures.sol";
import {Trees} from "./Trees.sol";
import {EntryProof, Grant, LeafProof, State, StatedNode, SumNode, TwoRoots} from "./Types.sol";

/// @title What a proof of the rarer kinds shows: grants, leaves, posted roots, and the two that freeze
/// @notice Deployed by the hub, for it alone, so that the hub stays small. It has no storage, no money and no rights.
contract Proofs is IProofs {
    uint256 private immutable lineage;
    address private immutable hub;
    address private immutable operator;
    bytes32 private immutable venueDomain;

    constructor(uint256 lineage_, address operator_, bytes32 venueDomain_) {
        lineage = lineage_;
        hub = msg.sender;
        operator = operator_;
        venueDomain = venueDomain_;
    }

    /// @inheritdoc IProofs
    function grant(
        address cosigner,
        address signer,
        bytes32 channel,
        uint64 account,
        uint40 epoch,
        uint128 balance,
        int256 base,
        bytes calldata encoded
    ) external view override {
        Grant memory g = abi.decode(encoded, (Grant));
        if (signer != g.session) revert WrongSigner(g.session, signer);
        bytes32 limits = Trees.root(Trees.limits(channel, g.floor, g.startBase, g.outflow), g.position, g.path);
        bytes32 digest = Messages.digest(venueDomain, Messages.grant(account, g, limits));
        address recovered = Signatures.recover(digest, g.signature.r, g.signature.vs);
        if (recovered != cosigner) revert WrongSigner(cosigner, recovered);
        if (epoch < g.firstEpoch || epoch > g.lastEpoch) revert EpochOutsideGrant(epoch, g.firstEpoch, g.lastEpoch);
        if (balance < g.floor) revert BelowFloor(balance, g.floor);
        if (int256(g.startBase) - base > int256(uint256(g.outflow))) {
            revert OutflowExceeded(base, g.startBase, g.outflow);
        }
    }

    /// @inheritdoc IProofs
    function leaf(address token, bytes32 state, uint128 balance, bytes calldata encoded)
        external
        view
        override
        returns (uint40 epoch, bytes32 entry, uint128 excess)
    {
        LeafProof calldata p = leafProof(encoded);
        SumNode memory from = SumNode(Trees.sumLeaf(state, balance, p.excess), balance, p.excess);
        entry = underBatch(token, Trees.sumRoot(from, p.position, p.path), p.entry);
        return (p.entry.epoch, entry, p.excess);
    }

    /// @inheritdoc IProofs
    function root(address token, SumNode calldata sums, bytes calldata encoded)
        external
        view
        override
        returns (uint40 epoch, bytes32 entry)
    {
        EntryProof calldata p = entryProof(encoded);
        return (p.epoch, underBatch(token, sums, p));
    }

    /// @inheritdoc IProofs
    function twoRoots(bytes calldata encoded) external view override {
        TwoRoots memory p = abi.decode(encoded, (TwoRoots));
        bytes32 a = Messages.batch(p.epoch, p.previousA, p.entriesA);
        bytes32 b = Messages.batch(p.epoch, p.previousB, p.entriesB);
        if (a == b) revert ProofRefused();
        requireOperator(a, p.a.r, p.a.vs);
        requireOperator(b, p.b.r, p.b.vs);
    }

    /// @inheritdoc IProofs
    function falseNode(bytes calldata encoded) external view override {
        StatedNode calldata stated = statedNode(encoded);
        (SumNode memory left, SumNode memory right) = abi.decode(encoded[32:], (SumNode, SumNode));
        requireStated(stated);
        if (Trees.sumNode(left, right) != stated.node.hash) revert ProofRefused();
        bool adds = uint256(left.balance) + right.balance == stated.node.balance
            && uint256(left.excess) + right.excess == stated.node.excess;
        if (adds) revert ProofRefused();
    }

    /// @inheritdoc IProofs
    function falseLeaf(bytes calldata encoded) external view override {
        StatedNode calldata stated = statedNode(encoded);
        (bytes32 channel, State memory s, uint128 balance, uint128 excess) =
            abi.decode(encoded[32:], (bytes32, State, uint128, uint128));
        requireStated(stated);
        bytes32 state = Messages.state(Messages.channelState(channel, s), s.accountRoot);
        if (Trees.sumLeaf(state, balance, excess) != stated.node.hash) revert ProofRefused();
        bool adds = balance == stated.node.balance && excess == stated.node.excess && balance == s.balance;
        if (adds) revert ProofRefused();
    }

    /// @dev The node, with the sums its parent (or the entry) states, lies in the hub's tree of a batch the operator signed.
    function requireStated(StatedNode calldata stated) private view {
        underBatch(stated.token, Trees.sumRoot(stated.node, stated.position, stated.path), stated.entry);
    }

    function underBatch(address token, SumNode memory sums, EntryProof calldata p)
        private
        view
        returns (bytes32 entry)
    {
        entry = Trees.entry(lineage, hub, token, sums);
        bytes32 entries = Trees.root(entry, p.position, p.path);
        requireOperator(Messages.batch(p.epoch, p.previous, entries), p.signature.r, p.signature.vs);
    }

    function requireOperator(bytes32 structHash, bytes32 r, bytes32 vs) private view {
        address recovered = Signatures.recover(Messages.digest(venueDomain, structHash), r, vs);
        if (recovered != operator) revert WrongSigner(operator, recovered);
    }

    // The next three read an encoded struct where it lies instead of copying it to memory, which would cost more than the
    // hashing of a path. The assembly follows the first offset as a decoder does; where it leads does not matter, because
    // bytes that are not what was signed fail the signature.

    function leafProof(bytes calldata encoded) private pure returns (LeafProof calldata p) {
        requireOffset(encoded);
        assembly ("memory-safe") {
            p := add(encoded.offset, calldataload(encoded.offset))
        }
    }

    function entryProof(bytes calldata encoded) private pure returns (EntryProof calldata p) {
        requireOffset(encoded);
        assembly ("memory-safe") {
            p := add(encoded.offset, calldataload(encoded.offset))
        }
    }

    function statedNode(bytes calldata encoded) private pure returns (StatedNode calldata p) {
        requireOffset(encoded);
        assembly ("memory-safe") {
            p := add(encoded.offset, calldataload(encoded.offset))
        }
    }

    function requireOffset(bytes calldata encoded) private pure {
        if (encoded.length < 32) revert ProofRefused();
    }
}
