// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Messages} from "./Messages.sol";
import {Records} from "./Records.sol";
import {Funds, FundsWord, Pool, PoolWord} from "./Slots.sol";
import {Channel} from "./Types.sol";

/// @title How a channel begins, and how vault money enters its escrow
abstract contract Openings is Records {
    function _openNew(Channel memory c, uint128 amount) internal returns (bytes32 id) {
        _requireNotFrozen();
        if (c.owner == address(0)) revert PartyInvalid(c.owner);
        _requireCosigner(c.cosigner);
        _requireAmount(amount);
        id = Messages.channelId(lineage, address(this), c);
        if (Funds.unwrap(funds[id]) != 0) revert ChannelUsed(id);
        _receive(c.token, amount);
        funds[id] = Funds.wrap(FundsWord.OPEN | amount);
        emit Opened(id, c.owner, c.cosigner, c.token, c.nonce, amount);
    }

    /// @dev An operator that is also the co-signer would sign both halves of a state.
    function _requireCosigner(address cosigner) internal view {
        if (cosigner == address(0) || cosigner == operator) revert PartyInvalid(cosigner);
    }

    /// @dev From the vault's free part into a channel's escrow. The caller writes the funds.
    /// @param more What the caller can cover without it, for the error.
    function _moveIn(address token, uint256 amount, uint256 more, bytes32 id, Funds f) internal returns (Funds) {
        _requireAmount(amount);
        _takeFree(token, amount, more);
        moves[id].moved += int128(int256(amount));
        return f.with(FundsWord.MOVED);
    }

    /// @dev What a cooperative payout or move needs of the vault. Nothing that is locked, nothing while claims wait, nothing
    /// once frozen.
    function _takeFree(address token, uint256 amount, uint256 more) internal {
        _requireNotFrozen();
        Pool pool = pools[token];
        uint256 free = _free(pool);
        if (amount > free) revert NotCovered(amount + more, free + more);
        pools[token] = PoolWord.pack(pool.balance() - amount, pool.locked(), pool.number(), pool.owing());
    }
}
