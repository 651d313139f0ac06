// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Lock} from "lock/Lock.sol";
import {Registry} from "./Registry.sol";

/// @title How ETH and tokens come in and go out
/// @dev A payout that fails is kept for its receiver, so nobody can block another's exit by refusing money.
abstract contract Payouts is Registry, Lock {
    using SafeERC20 for IERC20;

    /// @dev Enough for a wallet behind a proxy that logs; too little to burn much of the caller's gas.
    uint256 internal constant PAYOUT_GAS = 50_000;
    /// @dev With less than this left the callee would get less than `PAYOUT_GAS` (a 64th stays behind), plus bookkeeping.
    uint256 internal constant PAYOUT_GAS_LEFT = 75_000;

    /// @dev What a payout could not deliver.
    mapping(address token => mapping(address account => uint256)) internal undelivered;

    /// @dev Takes exactly `amount` from the caller.
    function _receive(address token, uint256 amount) internal {
        if (address(this) != hub) revert NotTheHub();
        if (token == address(0)) {
            if (msg.value != amount) revert ValueWrong(amount, msg.value);
            return;
        }
        if (msg.value != 0) revert ValueWrong(0, msg.value);
        if (amount == 0) return;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(token).balanceOf(address(this)) - before;
        if (received != amount) revert TokenAmountWrong(amount, received);
    }

    /// @dev The last thing a call does. Keeps the amount for `to` if it cannot be delivered.
    function _pay(address token, address to, uint256 amount) internal {
        if (amount == 0) return;
        if (gasleft() < PAYOUT_GAS_LEFT) revert GasTooLow(gasleft(), PAYOUT_GAS_LEFT);
        if (!_send(token, to, amount, PAYOUT_GAS)) {
            undelivered[token][to] += amount;
            emit PayoutFailed(token, to, amount);
        }
    }

    function _requireReceiver(address to) internal view {
        if (to == address(0) || to == address(this)) revert PartyInvalid(to);
    }

    /// @dev Assembly, because Solidity copies all that a callee returns; here nothing is copied. A token gets all gas: what
    /// it burns burns only the calls about that token.
    function _send(address token, address to, uint256 amount, uint256 gasGiven) internal returns (bool sent) {
        if (token != address(0)) return IERC20(token).trySafeTransfer(to, amount);
        assembly ("memory-safe") {
            sent := call(gasGiven, to, amount, 0, 0, 0, 0)
        }
    }
}
