// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Lock} from "lock/Lock.sol";
import {Accounting} from "../src/Accounting.sol";
import {Branches} from "../src/Branches.sol";
import {AMOUNT_MAX} from "../src/Types.sol";

// Read by solc's model checker (verify/smtchecker), which proves each `assert` for every order and number of external calls
// with any arguments. The sources under proof are the hub's own; what a contract here adds is the bookkeeping to state the claim.
// The hub's packed words and signatures are left out: see docs/decisions/0072-smtchecker.md.

/// @dev The lock is never above the vault, whatever is funded, posted, withdrawn and paid, in whatever order.
contract LockIsCovered {
    uint256 private vault;
    uint256 private lock;

    function fundVault(uint256 amount) external {
        vault += amount;
    }

    function post(uint256 excess) external {
        require(excess <= vault);
        lock = excess;
    }

    function withdrawVault(uint256 amount, bool owing) external {
        require(amount <= Accounting.free(vault, lock, owing));
        vault -= amount;
    }

    function settle(uint256 excess, bool secured, bool current) external {
        (, vault, lock) = Accounting.cover(vault, lock, excess, secured, current);
    }

    function proof() external view {
        assert(lock <= vault);
    }
}

/// @dev Money in the hub is what is owned: escrow of all channels, vault, funded claims. `escrow` is one channel's, `vault` one
/// token's, of any size at each call, so that this holds for any number of them.
contract MoneyIsConserved {
    uint256 private money;
    uint256 private owned;

    function deposit(uint256 amount) external {
        money += amount;
        owned += amount;
    }

    /// @param open Claims that no inflow has funded yet.
    function settle(
        uint256 entitled,
        uint256 escrow,
        uint256 vault,
        uint256 lock,
        uint256 open,
        bool secured,
        bool current
    ) external {
        require(lock <= vault && vault <= AMOUNT_MAX && escrow <= AMOUNT_MAX);
        uint256 before = escrow + vault;
        uint256 paid = entitled;
        uint256 claims = 0;
        if (entitled < escrow) {
            claims = Accounting.fund(open, escrow - entitled);
            vault += escrow - entitled - claims;
        } else if (entitled > escrow) {
            (paid, vault,) = Accounting.cover(vault, lock, entitled - escrow, secured, current);
            paid += escrow;
        }
        money -= paid;
        owned = owned + vault + claims - before;
    }

    function proof() external view {
        assert(money == owned);
    }
}

/// @dev A settlement takes no more than the excess, and all it may take before anything is left to claim.
contract ExcessIsTheVaults {
    function proof(uint256 excess, uint256 vault, uint256 lock, bool secured, bool current) external pure {
        require(lock <= vault && vault <= AMOUNT_MAX);
        (uint256 paid, uint256 left,) = Accounting.cover(vault, lock, excess, secured, current);
        assert(paid <= excess);
        assert(paid == excess || left == (secured ? 0 : lock));
    }
}

/// @dev A state that nothing secures takes nothing locked.
contract LockedIsForTheSecured {
    function proof(uint256 excess, uint256 vault, uint256 lock, bool current) external pure {
        require(lock <= vault && vault <= AMOUNT_MAX);
        (, uint256 left,) = Accounting.cover(vault, lock, excess, false, current);
        assert(left >= lock);
    }
}

/// @dev Claims take what they need of new money and no more.
contract ClaimsComeFirst {
    function claims(uint256 open, uint256 amount) external pure {
        uint256 paid = Accounting.fund(open, amount);
        assert(paid <= open && paid <= amount);
        assert(paid == open || paid == amount);
    }
}

/// @dev What is locked or claimed is not the operator's.
contract VaultWithdrawalTakesTheFree {
    function proof(uint256 vault, uint256 lock, bool owing) external pure {
        require(lock <= vault);
        uint256 free = Accounting.free(vault, lock, owing);
        assert(free + lock <= vault);
        assert(!owing || free == 0);
    }
}

/// @dev `unchecked` wraps nowhere.
contract EscrowIsExact {
    function escrow(uint256 deposited, int256 moved, uint256 withdrawn) external pure {
        require(deposited <= AMOUNT_MAX && withdrawn <= AMOUNT_MAX);
        require(moved >= type(int128).min && moved <= type(int128).max);
        require(int256(deposited) + moved >= int256(withdrawn));
        assert(int256(Accounting.escrow(deposited, moved, withdrawn)) == int256(deposited) + moved - int256(withdrawn));
    }
}

/// @dev The same for what trading added, and it fits the packed word.
contract BaseIsExact {
    function proof(uint256 balance, uint256 depositedSeen, uint256 withdrawnSeen) external pure {
        require(balance <= AMOUNT_MAX && depositedSeen <= AMOUNT_MAX && withdrawnSeen <= AMOUNT_MAX);
        int256 b = Accounting.base(balance, depositedSeen, withdrawnSeen);
        assert(b == int256(balance) - int256(depositedSeen) + int256(withdrawnSeen));
        assert(b >= type(int112).min && b <= type(int112).max);
    }
}

/// @dev What nobody acknowledged counts, and nothing is negative.
contract EntitlementIsNeverNegative {
    function entitlement(int256 base_, uint256 deposited, uint256 withdrawn) external pure {
        require(deposited <= AMOUNT_MAX && withdrawn <= AMOUNT_MAX);
        require(base_ >= type(int112).min && base_ <= type(int112).max);
        uint256 entitled = Accounting.entitlement(base_, deposited, withdrawn);
        int256 exact = base_ + int256(deposited) - int256(withdrawn);
        assert(exact > 0 ? int256(entitled) == exact : entitled == 0);
    }
}

/// @dev Versions of one channel never go back, and one version means one state, over checkpoint, disputes and refutations.
contract VersionOnlyGoesUp {
    uint256 private version;
    int256 private base;
    uint256 private security;

    function begin(uint256 v, int256 b, uint256 shown) external {
        require(Accounting.begins(version, base, v, b));
        assert(v != 0);
        record(v, b, shown);
    }

    function replace(uint256 v, int256 b, uint256 shown) external {
        require(Accounting.replaces(version, base, security, v, b, shown));
        record(v, b, shown);
    }

    function record(uint256 v, int256 b, uint256 shown) private {
        assert(v > version || (v == version && b == base));
        (version, base, security) = (v, b, shown);
    }
}

/// @dev What is signed under a branch counts only after that branch was pinned. The hub's own contract, inherited.
contract BranchIsPinned is Branches {
    mapping(bytes32 => bool) private wasPinned;

    function pin(bytes32 branch, uint256 number) external {
        _pin(branch, number);
        wasPinned[branch] = true;
    }

    function proof(bytes32 branch) external view {
        _requirePinned(branch);
        assert(wasPinned[branch]);
    }
}

interface Stranger {
    function paid() external;
}

/// @dev Nobody who is paid comes back into a locked call. The lock of the london profile, inherited.
contract LockRefusesReentry is Lock {
    bool private inside;

    function proof(Stranger stranger) external locked {
        assert(!inside);
        inside = true;
        stranger.paid();
        inside = false;
    }
}
