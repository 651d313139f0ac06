// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title The hub's arithmetic on plain numbers: what is whose, what the vault gives, which state counts
/// @dev No storage, no packed words, no signatures: so a prover can read it. `verify/Induction.sol` has the proofs.
library Accounting {
    /// @dev What trading added to, or took from, what was paid in.
    function base(uint256 balance, uint256 depositedSeen, uint256 withdrawnSeen) internal pure returns (int256) {
        // Each is at most 128 bits wide: so is the sum, but for two.
        unchecked {
            return int256(balance) - int256(depositedSeen) + int256(withdrawnSeen);
        }
    }

    /// @dev What of the hub's money is one channel's own. Never negative: withdrawals and moves are checked against it.
    function escrow(uint256 deposited, int256 moved, uint256 withdrawn) internal pure returns (uint256) {
        unchecked {
            return uint256(int256(deposited) + moved - int256(withdrawn));
        }
    }

    /// @dev What the owner is owed by a state: its balance, and what it had not seen. Never negative.
    function entitlement(int256 base_, uint256 deposited, uint256 withdrawn) internal pure returns (uint256) {
        unchecked {
            int256 entitled = base_ + int256(deposited) - int256(withdrawn);
            return entitled > 0 ? uint256(entitled) : 0;
        }
    }

    /// @dev What the operator may use. While a claim is open, what is not locked belongs to it.
    function free(uint256 balance, uint256 locked, bool owing) internal pure returns (uint256) {
        return owing ? 0 : balance - locked;
    }

    /// @dev Takes as much of `excess` as the vault has for it. What is locked is for secured states only. Afterwards the newest
    /// root's own part of the lock is used up; of a root that was replaced, free money went first, then what is locked.
    function cover(uint256 balance, uint256 locked, uint256 excess, bool secured, bool current)
        internal
        pure
        returns (uint256 paid, uint256 balanceLeft, uint256 lockedLeft)
    {
        uint256 available = secured ? balance : balance - locked;
        paid = excess < available ? excess : available;
        balanceLeft = balance - paid;
        lockedLeft = current ? (locked > excess ? locked - excess : 0) : locked;
        if (lockedLeft > balanceLeft) lockedLeft = balanceLeft;
    }

    /// @dev What of new money the open claims take.
    function fund(uint256 open, uint256 amount) internal pure returns (uint256) {
        return amount < open ? amount : open;
    }

    /// @dev A dispute may start with the recorded state itself, shown again by a leaf that secures it. A second state of the
    /// same version has no signature of an honest operator; the one on chain stands.
    function begins(uint256 version, int256 base_, uint256 newVersion, int256 newBase) internal pure returns (bool) {
        return newVersion > version || (newVersion == version && newVersion != 0 && newBase == base_);
    }

    /// @dev In a dispute: a newer state, or the same again under a root posted later than the one it was shown under.
    function replaces(
        uint256 version,
        int256 base_,
        uint256 security,
        uint256 newVersion,
        int256 newBase,
        uint256 newSecurity
    ) internal pure returns (bool) {
        return newVersion > version || (newVersion == version && newBase == base_ && newSecurity > security);
    }
}
