// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Accounting} from "./Accounting.sol";
import {IHubDirect} from "./IChannelHub.sol";
import {Messages} from "./Messages.sol";
import {Openings} from "./Openings.sol";
import {Funds, FundsWord} from "./Slots.sol";
import {Channel, Closing, Signature, Withdrawal} from "./Types.sol";

/// @title What the parties do together every day: open, deposit, withdraw, close
abstract contract Cooperation is Openings, IHubDirect {
    /// @inheritdoc IHubDirect
    function open(address cosigner, address token, uint64 nonce, uint128 amount)
        external
        payable
        override
        locked
        returns (bytes32)
    {
        return _openNew(Channel(msg.sender, cosigner, token, nonce), amount);
    }

    /// @inheritdoc IHubDirect
    function deposit(Channel calldata c, uint128 amount) external payable override locked {
        if (amount == 0) revert AmountIsZero();
        _requireNotFrozen();
        (bytes32 id, Funds f) = _open(c);
        _requireNoDispute(id, records[id]);
        uint256 deposited = f.deposited() + amount;
        _requireAmount(deposited);
        _receive(c.token, amount);
        funds[id] = f.addDeposit(amount);
        emit Deposited(id, amount, deposited);
    }

    /// @inheritdoc IHubDirect
    function withdraw(Withdrawal calldata w) external override locked {
        (bytes32 id, Funds f) = _open(w.channel);
        if (w.withdrawn <= f.withdrawn()) revert WithdrawnNotMore(f.withdrawn(), w.withdrawn);
        _withdraw(w, id, f);
    }

    /// @inheritdoc IHubDirect
    function withdrawBatch(Withdrawal[] calldata items) external override locked {
        for (uint256 i = 0; i < items.length; ++i) {
            Withdrawal calldata w = items[i];
            bytes32 id = _id(w.channel);
            Funds f = funds[id];
            if (f.has(FundsWord.CLOSED)) emit Skipped(id, ChannelClosed.selector);
            else if (w.withdrawn <= f.withdrawn()) emit Skipped(id, WithdrawnNotMore.selector);
            else _withdraw(w, id, f);
        }
    }

    /// @inheritdoc IHubDirect
    function close(Closing calldata c) external override locked {
        (bytes32 id, Funds f) = _open(c.channel);
        _close(c, id, f);
    }

    /// @inheritdoc IHubDirect
    function closeBatch(Closing[] calldata items) external override locked {
        for (uint256 i = 0; i < items.length; ++i) {
            bytes32 id = _id(items[i].channel);
            Funds f = funds[id];
            if (f.has(FundsWord.CLOSED)) emit Skipped(id, ChannelClosed.selector);
            else _close(items[i], id, f);
        }
    }

    /// @dev The caller has checked that the channel is not closed and that `w` withdraws more than was.
    function _withdraw(Withdrawal calldata w, bytes32 id, Funds f) private {
        if (!f.has(FundsWord.OPEN)) revert ChannelNotOpen(id);
        _requireAmount(w.withdrawn);
        bytes32 digest = Messages.digest(hubDomain, Messages.withdrawal(id, w));
        _requireAgreed(w.channel.owner, w.recipient, w.branch, w.deadline, digest, w.owner, w.operator);

        uint256 amount = w.withdrawn - f.withdrawn();
        uint256 escrow = _escrow(id, f);
        // Winnings: the vault's money becomes escrow before it leaves.
        if (amount > escrow) f = _moveIn(w.channel.token, amount - escrow, escrow, id, f);
        funds[id] = f.setWithdrawn(w.withdrawn);
        emit Withdrawn(id, w.recipient, amount, w.withdrawn);
        _pay(w.channel.token, w.recipient, amount);
    }

    /// @dev The caller has checked that the channel is not closed.
    function _close(Closing calldata c, bytes32 id, Funds f) private {
        if (!f.has(FundsWord.OPEN)) revert ChannelNotOpen(id);
        _requireAmount(c.balance);
        _requireAmount(c.depositedSeen);
        _requireAmount(c.withdrawnSeen);
        bytes32 digest = Messages.digest(hubDomain, Messages.closing(id, c));
        _requireAgreed(c.channel.owner, c.recipient, c.branch, c.deadline, digest, c.owner, c.operator);

        int256 base = Accounting.base(c.balance, c.depositedSeen, c.withdrawnSeen);
        uint256 entitled = Accounting.entitlement(base, f.deposited(), f.withdrawn());
        uint256 escrow = _escrow(id, f);
        address token = c.channel.token;
        funds[id] = f.with(FundsWord.CLOSED);
        if (entitled < escrow) pools[token] = _inflow(token, pools[token], escrow - entitled);
        else if (entitled > escrow) _takeFree(token, entitled - escrow, escrow);
        emit Closed(id, c.recipient, entitled);
        _pay(token, c.recipient, entitled);
    }

    /// @dev What withdrawal and close have in common: the owner's own consent, never a session key's or a co-signer's.
    function _requireAgreed(
        address owner,
        address recipient,
        bytes32 branch,
        uint40 deadline,
        bytes32 digest,
        Signature calldata ofOwner,
        Signature calldata ofOperator
    ) private view {
        _requireInTime(deadline);
        _requireReceiver(recipient);
        _requirePinned(branch);
        _requireSigned(owner, digest, ofOwner);
        _requireSigned(operator, digest, ofOperator);
    }
}
