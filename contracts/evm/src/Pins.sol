// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Branches} from "./Branches.sol";
import {IHubAnnex} from "./IChannelHub.sol";
import {Settings} from "./Types.sol";

/// @title New pins: hashes of confirmed blocks, as far back as the chain keeps them
abstract contract Pins is Branches, IHubAnnex {
    /// @dev EIP-2935: hashes of the last 8,191 blocks, where the chain has it.
    address internal constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;
    uint256 internal constant HISTORY_REACH = 8191;
    uint256 internal constant BLOCKHASH_REACH = 256;

    uint32 internal immutable confirmations;

    constructor(Settings memory s) {
        uint256 reach = HISTORY.code.length == 0 ? BLOCKHASH_REACH : HISTORY_REACH;
        if (s.pinEvery == 0) revert ConfigInvalid("pinEvery is zero");
        if (uint256(s.pinEvery) + s.confirmations > reach) {
            revert ConfigInvalid("pinEvery + confirmations is beyond the block hashes the chain keeps");
        }
        confirmations = s.confirmations;
    }

    /// @inheritdoc IHubAnnex
    function pin(uint256 number) external override returns (bytes32 branch) {
        if (number >= block.number) revert BlockOutOfReach(number);
        uint256 earliest = number + confirmations + 1;
        if (block.number < earliest) revert BlockNotConfirmed(number, earliest);
        branch = blockhash(number);
        if (branch == 0) branch = _fromHistory(number);
        _pin(branch, number);
    }

    /// @inheritdoc IHubAnnex
    function pins(bytes32 branch) external view override returns (uint256) {
        return pinned[branch];
    }

    /// @dev The system contract takes the number as 32 bytes and reverts outside its reach; without code it answers nothing.
    function _fromHistory(uint256 number) private view returns (bytes32) {
        (bool answered, bytes memory answer) = HISTORY.staticcall(abi.encode(number));
        return answered && answer.length == 32 ? abi.decode(answer, (bytes32)) : bytes32(0);
    }
}
