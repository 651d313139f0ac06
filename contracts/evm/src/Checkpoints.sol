// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IHubAnnex} from "./IChannelHub.sol";
import {Records} from "./Records.sol";
import {Funds, Record, RecordWord} from "./Slots.sol";
import {Channel, CoSignature, Signature, State} from "./Types.sol";

/// @title Checkpoints, and the way out by what the hub has recorded
abstract contract Checkpoints is Records, IHubAnnex {
    /// @inheritdoc IHubAnnex
    function disputeRecorded(Channel calldata c) external override {
        (bytes32 id,) = _requireParty(c);
        Record r = records[id];
        _requireNoDispute(id, r);
        _start(id, r.base(), r.version(), r.epoch(), 0);
    }

    /// @inheritdoc IHubAnnex
    function checkpoint(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator_)
        external
        override
    {
        (bytes32 id, Funds f) = _open(c);
        bytes32 channelState = _requireTrader(c, id, f, s, trader);
        _requireState(channelState, s.accountRoot, operator_);
        _keep(id, s);
    }

    /// @inheritdoc IHubAnnex
    function checkpointByLeaf(
        Channel calldata c,
        State calldata s,
        CoSignature calldata trader,
        bytes calldata leafProof
    ) external override {
        (bytes32 id, Funds f) = _open(c);
        bytes32 channelState = _requireTrader(c, id, f, s, trader);
        _requireLeaf(c.token, channelState, s, 0, leafProof);
        _keep(id, s);
    }

    function _keep(bytes32 id, State calldata s) private {
        Record r = records[id];
        _requireNoDispute(id, r);
        if (s.version <= r.version()) revert VersionNotNewer(r.version(), s.version);
        if (s.epoch < r.epoch()) revert EpochRewinds(r.epoch(), s.epoch);
        int256 base = _base(s);
        // Without security: rebalances may still change what the state needs above the escrow.
        records[id] = RecordWord.pack(base, s.version, 0, s.epoch, 0);
        emit Checkpointed(id, s.version, base);
    }
}
