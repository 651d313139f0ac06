// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IHubAnnex} from "./IChannelHub.sol";
import {Peaks, PeaksWord, Pool, PoolWord} from "./Slots.sol";
import {AMOUNT_MAX, Channel, SumNode, VaultStatus} from "./Types.sol";
import {Vault} from "./Vault.sol";

/// @title The vault from outside: money in and out, posted roots, claims and what could not be delivered
abstract contract Treasury is Vault, IHubAnnex {
    /// @inheritdoc IHubAnnex
    function fundVault(address token, uint128 amount) external payable override locked {
        if (amount == 0) revert AmountIsZero();
        _receive(token, amount);
        Pool pool = pools[token];
        if (pool.balance() + amount > AMOUNT_MAX) revert AmountTooLarge(pool.balance() + amount, AMOUNT_MAX);
        pools[token] = _inflow(token, pool, amount);
        emit VaultFunded(token, msg.sender, amount);
    }

    /// @inheritdoc IHubAnnex
    function requestVaultWithdrawal(address token, uint128 amount) external override {
        if (msg.sender != treasury) revert NotTreasury(msg.sender);
        _requireNotFrozen();
        uint40 from = uint40(block.timestamp) + vaultDelay;
        requests[token] = Request(amount, from);
        emit VaultWithdrawalRequested(token, amount, from, from + window);
    }

    /// @inheritdoc IHubAnnex
    function withdrawVault(address token) external override locked {
        if (msg.sender != treasury) revert NotTreasury(msg.sender);
        _requireNotFrozen();
        Request memory request = requests[token];
        if (request.amount == 0) revert AmountIsZero();
        if (block.timestamp < request.from) revert TooEarly(request.from);
        if (block.timestamp > request.from + window) revert TooLate(request.from + window);
        Pool pool = pools[token];
        uint256 free = _free(pool);
        if (request.amount > free) revert NotCovered(request.amount, free);
        delete requests[token];
        pools[token] = PoolWord.pack(pool.balance() - request.amount, pool.locked(), pool.number(), false);
        emit VaultWithdrawn(token, request.amount);
        _pay(token, treasury, request.amount);
    }

    /// @inheritdoc IHubAnnex
    function post(address token, SumNode calldata root, bytes calldata entryProof) external override {
        _requireNotFrozen();
        (uint40 epoch, bytes32 entry) = proofs.root(token, root, entryProof);
        if (epoch <= newest[token].epoch) revert EpochNotNewer(newest[token].epoch, epoch);
        Pool pool = pools[token];
        if (root.excess > pool.balance()) revert ExcessAboveVault(root.excess, pool.balance());
        uint256 locked_ = _peak(token, root.excess);
        if (locked_ > pool.balance()) locked_ = pool.balance();
        uint24 number = pool.number() == type(uint24).max ? 1 : pool.number() + 1;
        pool = PoolWord.pack(pool.balance(), locked_, number, pool.owing());
        // What the former root locked may be free now.
        if (pool.owing()) pool = _fundFromFree(token, pool);
        pools[token] = pool;
        newest[token] = Newest(root.excess, epoch);
        posted[entry] = Mark(uint40(block.timestamp), number);
        if (epoch > status.epoch) {
            status.epoch = epoch;
            status.epochAt = uint40(block.timestamp);
        }
        emit Posted(token, epoch, root.hash, root.balance, root.excess, pool.locked());
    }

    /// @inheritdoc IHubAnnex
    function collectClaim(Channel calldata c) external override locked {
        bytes32 id = _id(c);
        Claim storage claim = claims[id];
        uint256 amount = claim.amount == 0 ? 0 : _funded(claim, lines[c.token]);
        if (amount == 0) revert NothingToCollect();
        claim.start += uint128(amount);
        claim.amount -= uint128(amount);
        emit ClaimPaid(id, amount, claim.amount);
        _pay(c.token, c.owner, amount);
    }

    /// @inheritdoc IHubAnnex
    function collect(address token, address recipient) external override locked {
        uint256 amount = undelivered[token][msg.sender];
        if (amount == 0) revert NothingToCollect();
        _requireReceiver(recipient);
        delete undelivered[token][msg.sender];
        emit Collected(token, msg.sender, recipient, amount);
        if (!_send(token, recipient, amount, gasleft())) revert PayoutRefused(recipient);
    }

    /// @inheritdoc IHubAnnex
    function collectable(address token, address account) external view override returns (uint256) {
        return undelivered[token][account];
    }

    /// @inheritdoc IHubAnnex
    function vaultOf(address token) external view override returns (VaultStatus memory v) {
        Pool pool = pools[token];
        v.balance = pool.balance();
        v.locked = pool.locked();
        v.number = pool.number();
        v.outstanding = newest[token].outstanding;
        v.epoch = newest[token].epoch;
        v.owed = lines[token].owed - lines[token].funded;
        v.postedAt = peaks[token].time();
    }

    /// @inheritdoc IHubAnnex
    function claimOf(Channel calldata c) external view override returns (uint256 left, uint256 funded_) {
        Claim storage claim = claims[_id(c)];
        left = claim.amount;
        funded_ = left == 0 ? 0 : _funded(claim, lines[c.token]);
    }

    /// @dev The lock a root leaves: the highest excess posted in this period and the one before, where a period is one vault
    /// delay. So the lock of a root that was replaced by a smaller one stays for at least one delay, and its traders, who
    /// see themselves left out, have more than a window to dispute; and it never stays for more than two.
    function _peak(address token, uint256 excess) private returns (uint256) {
        Peaks before = peaks[token];
        uint256 period = block.timestamp / vaultDelay;
        uint256 formerPeriod = before.time() / vaultDelay;
        uint256 inForce = newest[token].outstanding;
        uint256 current = excess > inForce ? excess : inForce;
        uint256 former = 0;
        if (formerPeriod == period) {
            if (before.current() > current) current = before.current();
            former = before.former();
        } else if (formerPeriod + 1 == period) {
            former = before.current();
        }
        peaks[token] = PeaksWord.pack(former, current, uint40(block.timestamp));
        return former > current ? former : current;
    }

    function _fundFromFree(address token, Pool pool) private returns (Pool) {
        uint256 free = pool.balance() - pool.locked();
        (uint256 left, bool owing) = _fundClaims(token, free);
        return PoolWord.pack(pool.balance() - (free - left), pool.locked(), pool.number(), owing);
    }

    function _funded(Claim storage claim, Line storage line) private view returns (uint256) {
        if (line.funded <= claim.start) return 0;
        uint256 reached = line.funded - claim.start;
        return reached < claim.amount ? reached : claim.amount;
    }
}
