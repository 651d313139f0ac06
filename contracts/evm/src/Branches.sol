// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IHubEvents} from "./IChannelHub.sol";

/// @title Which history a signature is for
/// @notice A pin is the hash of a confirmed block. What is signed under it is valid on every chain that contains the block,
/// whatever chain id that chain goes by, and on no other. The block before deployment is pinned from the start.
abstract contract Branches is IHubEvents {
    /// @dev The pinned block's number plus one; zero: not pinned.
    mapping(bytes32 branch => uint256) internal pinned;

    function _requirePinned(bytes32 branch) internal view {
        require(pinned[branch] != 0, BranchUnknown(branch));
    }

    function _pin(bytes32 branch, uint256 number) internal {
        require(branch != 0, BlockOutOfReach(number));
        pinned[branch] = number + 1;
        emit Pinned(branch, number);
    }
}
