// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Accounting} from "./Accounting.sol";
import {Evidence} from "./Evidence.sol";
import {Funds, Record, RecordWord} from "./Slots.sol";
import {Channel, State} from "./Types.sol";

/// @title What the hub holds of each channel's states: a dispute with its deadline, or a checkpoint
abstract contract Records is Evidence {
    /// @dev Who knows an old state, say from a checkpoint, could otherwise end other people's channels.
    function _requireParty(Channel calldata c) internal view returns (bytes32 id, Funds f) {
        (id, f) = _open(c);
        if (msg.sender != c.owner && msg.sender != operator && msg.sender != _cosigner(c, id, f)) {
            revert NotParty(msg.sender);
        }
    }

    function _begin(bytes32 id, State calldata s, uint24 security) internal {
        Record r = records[id];
        _requireNoDispute(id, r);
        int256 base = _base(s);
        if (!Accounting.begins(r.version(), r.base(), s.version, base)) revert VersionNotNewer(r.version(), s.version);
        if (s.epoch < r.epoch()) revert EpochRewinds(r.epoch(), s.epoch);
        _start(id, base, s.version, s.epoch, security);
    }

    function _start(bytes32 id, int256 base, uint40 version, uint40 epoch, uint24 security) internal {
        uint40 deadline = uint40(block.timestamp) + window;
        records[id] = RecordWord.pack(base, version, deadline, epoch, security);
        emit Disputed(id, version, base, deadline);
    }

    function _replace(bytes32 id, State calldata s, uint24 security) internal {
        Record r = records[id];
        uint40 deadline = r.deadline();
        if (deadline == 0) revert ChannelNotInDispute(id);
        if (block.timestamp >= deadline) revert WindowOver(deadline);
        int256 base = _base(s);
        if (!Accounting.replaces(r.version(), r.base(), r.security(), s.version, base, security)) {
            revert VersionNotNewer(r.version(), s.version);
        }
        if (s.epoch < r.epoch()) revert EpochRewinds(r.epoch(), s.epoch);
        // A newer state that needs no more than the one a posted root secured stays secured.
        if (security == 0 && base <= r.base()) security = r.security();
        records[id] = RecordWord.pack(base, s.version, deadline, s.epoch, security);
        emit Refuted(id, s.version, base, security);
    }

    function _requireNoDispute(bytes32 id, Record r) internal pure {
        if (r.deadline() != 0) revert ChannelInDispute(id, r.deadline());
    }
}
