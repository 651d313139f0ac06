// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Accounting} from "./Accounting.sol";
import {Payouts} from "./Payouts.sol";
import {Peaks, Pool, PoolWord} from "./Slots.sol";
import {AMOUNT_MAX} from "./Types.sol";

/// @title The operator's money, what of it is locked for posted roots, and the claims it could not meet
/// @dev Always: locked <= balance, for every token. Escrow is not in here and never becomes part of it but by close, settle
/// and rebalance, with what is left of the channel's own.
abstract contract Vault is Payouts {
    /// @dev Claims of a token stand on one line, in units: a claim is a stretch of it, `funded` is how far inflow has come.
    struct Line {
        uint128 owed;
        uint128 funded;
    }

    struct Claim {
        uint128 start;
        uint128 amount;
    }

    /// @dev Newest root of a token: what of its excess is not yet paid, and its epoch.
    struct Newest {
        uint128 outstanding;
        uint40 epoch;
    }

    struct Mark {
        uint40 time;
        uint24 number;
    }

    struct Request {
        uint128 amount;
        uint40 from;
    }

    mapping(address token => Pool) internal pools;
    mapping(address token => Peaks) internal peaks;
    mapping(address token => Newest) internal newest;
    mapping(address token => Line) internal lines;
    mapping(address token => Request) internal requests;
    mapping(bytes32 channel => Claim) internal claims;
    /// @dev By the entry's hash, so by lineage, hub, token, root and sums.
    mapping(bytes32 entry => Mark) internal posted;

    /// @dev New money: claims first, in order, then the vault. A token with more units than a slot holds is not to be admitted;
    /// if one is all the same, what does not fit stays in the hub uncounted, because settle must not revert.
    function _inflow(address token, Pool pool, uint256 amount) internal returns (Pool) {
        bool owing = pool.owing();
        if (owing) (amount, owing) = _fundClaims(token, amount);
        uint256 balance = pool.balance() + amount;
        if (balance > AMOUNT_MAX) balance = AMOUNT_MAX;
        return PoolWord.pack(balance, pool.locked(), pool.number(), owing);
    }

    /// @dev Moves the line on.
    /// @return left What the claims did not need.
    /// @return owing Some claim is still not funded.
    function _fundClaims(address token, uint256 amount) internal returns (uint256 left, bool owing) {
        Line storage line = lines[token];
        uint256 open = line.owed - line.funded;
        uint256 paid = Accounting.fund(open, amount);
        line.funded += uint128(paid);
        return (amount - paid, paid < open);
    }

    function _free(Pool pool) internal pure returns (uint256) {
        return Accounting.free(pool.balance(), pool.locked(), pool.owing());
    }

    /// @dev Takes as much of `excess` as the vault has for it, by how the state was secured.
    function _cover(address token, uint256 excess, uint24 security) internal returns (uint256 paid) {
        Pool pool = pools[token];
        uint256 balance = pool.balance();
        uint256 locked_ = pool.locked();
        bool current = security != 0 && security == pool.number();
        if (status.frozenAt != 0) {
            paid = _coverFrozen(token, excess, current, balance);
            balance -= paid;
            if (locked_ > balance) locked_ = balance;
        } else {
            (paid, balance, locked_) = Accounting.cover(balance, locked_, excess, security != 0, current);
            if (current) _reduceOutstanding(token, excess);
        }
        pools[token] = PoolWord.pack(balance, locked_, pool.number(), pool.owing());
    }

    /// @dev Frozen: leaves of the newest root share the vault in proportion (a share leaves the proportion as it was, so the
    /// order of exits does not matter); all others have what is above the root's sum.
    function _coverFrozen(address token, uint256 excess, bool current, uint256 balance) private returns (uint256 paid) {
        uint256 outstanding = newest[token].outstanding;
        if (!current) {
            uint256 surplus = balance > outstanding ? balance - outstanding : 0;
            return excess < surplus ? excess : surplus;
        }
        paid = balance < outstanding ? excess * balance / outstanding : excess;
        if (paid > balance) paid = balance;
        _reduceOutstanding(token, excess);
    }

    function _reduceOutstanding(address token, uint256 amount) private {
        uint256 outstanding = newest[token].outstanding;
        newest[token].outstanding = uint128(outstanding > amount ? outstanding - amount : 0);
    }

    /// @dev Puts at the end of the line what a settled channel was not paid.
    function _claim(bytes32 id, address token, uint256 amount) internal {
        Line storage line = lines[token];
        claims[id] = Claim(line.owed, uint128(amount));
        line.owed += uint128(amount);
        Pool pool = pools[token];
        pools[token] = PoolWord.pack(pool.balance(), pool.locked(), pool.number(), true);
    }
}
