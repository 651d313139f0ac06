// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {AMOUNT_MAX} from "./Types.sol";

// The packed words the hub stores. Each is read once and written once a call; a struct in storage would be read field by field.

/// @dev A channel's money: deposited (104 bits), withdrawn (104), flags (48). Zero: the channel was never opened.
type Funds is uint256;

/// @dev A channel's newest state on chain: base (signed 112 bits), version (40), deadline (40), epoch (40), security (24).
type Record is uint256;

/// @dev A token's vault: balance (104 bits), locked (104), number of the newest root (24), flags (24).
type Pool is uint256;

/// @dev A token's roots: peak of the former period (104 bits), peak of this period (104), time of the newest root (40).
type Peaks is uint256;

using {
    FundsWord.deposited,
    FundsWord.withdrawn,
    FundsWord.has,
    FundsWord.with,
    FundsWord.addDeposit,
    FundsWord.setWithdrawn
} for Funds global;
using {
    RecordWord.base,
    RecordWord.version,
    RecordWord.deadline,
    RecordWord.epoch,
    RecordWord.security
} for Record global;
using {PoolWord.balance, PoolWord.locked, PoolWord.number, PoolWord.owing} for Pool global;
using {PeaksWord.former, PeaksWord.current, PeaksWord.time} for Peaks global;

/// @dev Amounts are checked against `AMOUNT_MAX` where they enter; `deposited` and `withdrawn` stay within it for good.
library FundsWord {
    uint256 internal constant OPEN = 1 << 208;
    /// @dev Set once, by close or settle; the word is never cleared, so the id is never used again.
    uint256 internal constant CLOSED = 1 << 209;
    /// @dev The channel has an entry in `moves`.
    uint256 internal constant MOVED = 1 << 210;
    /// @dev The channel has an entry in `successions`.
    uint256 internal constant SUCCEEDED = 1 << 211;

    function deposited(Funds self) internal pure returns (uint256) {
        return Funds.unwrap(self) & AMOUNT_MAX;
    }

    function withdrawn(Funds self) internal pure returns (uint256) {
        return (Funds.unwrap(self) >> 104) & AMOUNT_MAX;
    }

    function has(Funds self, uint256 flag) internal pure returns (bool) {
        return Funds.unwrap(self) & flag != 0;
    }

    function with(Funds self, uint256 flag) internal pure returns (Funds) {
        return Funds.wrap(Funds.unwrap(self) | flag);
    }

    /// @dev The caller has checked that the sum is at most `AMOUNT_MAX`.
    function addDeposit(Funds self, uint256 amount) internal pure returns (Funds) {
        return Funds.wrap(Funds.unwrap(self) + amount);
    }

    /// @dev The caller has checked that `amount` is at most `AMOUNT_MAX`.
    function setWithdrawn(Funds self, uint256 amount) internal pure returns (Funds) {
        return Funds.wrap((Funds.unwrap(self) & ~(AMOUNT_MAX << 104)) | (amount << 104));
    }
}

library RecordWord {
    function pack(int256 base_, uint40 version_, uint40 deadline_, uint40 epoch_, uint24 security_)
        internal
        pure
        returns (Record)
    {
        return Record.wrap(
            uint256(base_) & type(uint112).max | uint256(version_) << 112 | uint256(deadline_) << 152 | uint256(epoch_)
                << 192 | uint256(security_) << 232
        );
    }

    /// @dev balance - depositedSeen + withdrawnSeen of the recorded state: what trading added, or took.
    function base(Record self) internal pure returns (int256) {
        return int112(uint112(Record.unwrap(self)));
    }

    function version(Record self) internal pure returns (uint40) {
        return uint40(Record.unwrap(self) >> 112);
    }

    /// @dev Zero: no dispute.
    function deadline(Record self) internal pure returns (uint40) {
        return uint40(Record.unwrap(self) >> 152);
    }

    function epoch(Record self) internal pure returns (uint40) {
        return uint40(Record.unwrap(self) >> 192);
    }

    /// @dev Number of the posted root the state was shown to lie under; zero: none, so nothing locked is for it.
    function security(Record self) internal pure returns (uint24) {
        return uint24(Record.unwrap(self) >> 232);
    }
}

library PoolWord {
    uint256 internal constant OWING = 1 << 232;

    /// @dev The callers have checked that both amounts are at most `AMOUNT_MAX`.
    function pack(uint256 balance_, uint256 locked_, uint24 number_, bool owing_) internal pure returns (Pool) {
        return Pool.wrap(balance_ | locked_ << 104 | uint256(number_) << 208 | (owing_ ? OWING : 0));
    }

    function balance(Pool self) internal pure returns (uint256) {
        return Pool.unwrap(self) & AMOUNT_MAX;
    }

    /// @dev At most `balance`.
    function locked(Pool self) internal pure returns (uint256) {
        return (Pool.unwrap(self) >> 104) & AMOUNT_MAX;
    }

    function number(Pool self) internal pure returns (uint24) {
        return uint24(Pool.unwrap(self) >> 208);
    }

    /// @dev Some claim is not yet funded.
    function owing(Pool self) internal pure returns (bool) {
        return Pool.unwrap(self) & OWING != 0;
    }
}

library PeaksWord {
    function pack(uint256 former_, uint256 current_, uint40 time_) internal pure returns (Peaks) {
        return Peaks.wrap(former_ | current_ << 104 | uint256(time_) << 208);
    }

    function former(Peaks self) internal pure returns (uint256) {
        return Peaks.unwrap(self) & AMOUNT_MAX;
    }

    function current(Peaks self) internal pure returns (uint256) {
        return (Peaks.unwrap(self) >> 104) & AMOUNT_MAX;
    }

    /// @dev Zero: no root of this token was ever posted.
    function time(Peaks self) internal pure returns (uint40) {
        return uint40(Peaks.unwrap(self) >> 208);
    }
}
