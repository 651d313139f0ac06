// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Vault} from "./Vault.sol";
import {IHubAnnex} from "./IChannelHub.sol";

/// @title The three proofs that freeze the hub. Nothing else does, and nothing ends it.
abstract contract Freezes is Vault, IHubAnnex {
    uint8 internal constant SILENT = 1;
    uint8 internal constant TWO_ROOTS = 2;
    uint8 internal constant SUMS = 3;

    /// @inheritdoc IHubAnnex
    function freezeSilent(address token) external override {
        uint40 time = peaks[token].time();
        // Anybody can open a channel in any token: only one that the operator once posted for obliges it.
        if (time == 0) revert TokenNeverPosted(token);
        uint256 from = uint256(time) + grace + 1;
        if (block.timestamp < from) revert TooEarly(from);
        _freeze(SILENT);
    }

    /// @inheritdoc IHubAnnex
    function freezeTwoRoots(bytes calldata proof) external override {
        proofs.twoRoots(proof);
        _freeze(TWO_ROOTS);
    }

    /// @inheritdoc IHubAnnex
    function freezeNode(bytes calldata proof) external override {
        proofs.falseNode(proof);
        _freeze(SUMS);
    }

    /// @inheritdoc IHubAnnex
    function freezeLeaf(bytes calldata proof) external override {
        proofs.falseLeaf(proof);
        _freeze(SUMS);
    }

    /// @inheritdoc IHubAnnex
    function frozenAt() external view override returns (uint40) {
        return status.frozenAt;
    }

    function _freeze(uint8 reason) private {
        _requireNotFrozen();
        status.frozenAt = uint40(block.timestamp);
        emit Frozen(reason);
    }
}
