// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Cooperation} from "./Cooperation.sol";
import {Disputes} from "./Disputes.sol";
import {HubAnnex} from "./HubAnnex.sol";
import {Messages} from "./Messages.sol";
import {Proofs} from "./Proofs.sol";
import {Registry} from "./Registry.sol";
import {Settings} from "./Types.sol";

/// @title The hub of one chain: immutable, without owner, proxy or switch
/// @notice Call it by `IChannelHub`. The daily calls are here; every other call runs the annex's code on this contract's
/// storage. The annex is deployed by the constructor and cannot be replaced.
contract ChannelHub is Cooperation, Disputes {
    /// @notice The hub's second half.
    address public immutable annex;

    constructor(Settings memory s)
        Registry(s, address(this), new Proofs(s.lineage, s.operator, Messages.venueDomain(s.venue)))
    {
        _requireSound(s);
        annex = address(new HubAnnex(s, proofs));
        status.epoch = s.firstEpoch;
        status.epochAt = uint40(block.timestamp);
        _pin(blockhash(block.number - 1), block.number - 1);
    }

    function _requireSound(Settings memory s) private pure {
        if (s.operator == address(0)) revert ConfigInvalid("operator is zero");
        if (s.treasury == address(0)) revert ConfigInvalid("treasury is zero");
        if (s.anchor == 0) revert ConfigInvalid("anchor is zero");
        if (s.window < 4 * uint256(s.anchor)) revert ConfigInvalid("window is under four anchors");
        if (s.vaultDelay <= s.window) revert ConfigInvalid("vaultDelay is not longer than window");
        if (s.grace < s.anchor) revert ConfigInvalid("grace is under one anchor");
    }

    /// @dev Unknown calls and plain ETH revert in the annex. Assembly, because Solidity cannot return data of unknown length.
    fallback() external payable {
        address code = annex;
        assembly {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), code, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(done) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }
}
