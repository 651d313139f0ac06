// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title Refuses reentrancy, with a storage slot, for chains without transient storage
abstract contract Lock {
    /// @notice A payout or a token called back into the hub.
    error Reentered();

    /// @dev Never zero: 1 is open, 2 is entered. A change between the two is cheaper than one from and to zero.
    uint256 private entered = 1;

    modifier locked() {
        require(entered == 1, Reentered());
        entered = 2;
        _;
        entered = 1;
    }
}
