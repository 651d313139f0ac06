// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title Refuses reentrancy, with transient storage (EIP-1153)
abstract contract Lock {
    /// @notice A payout or a token called back into the hub.
    error Reentered();

    bool private transient entered;

    modifier locked() {
        require(!entered, Reentered());
        entered = true;
        _;
        entered = false;
    }
}
