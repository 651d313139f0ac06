// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Accounting} from "./Accounting.sol";
import {IHubDirect} from "./IChannelHub.sol";
import {Records} from "./Records.sol";
import {Funds, FundsWord, Record} from "./Slots.sol";
import {Channel, CoSignature, Signature, State} from "./Types.sol";

/// @title The way out without the other party, dispute and refute in two forms, settle
abstract contract Disputes is Records, IHubDirect {
    /// @inheritdoc IHubDirect
    function dispute(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator_)
        external
        override
    {
        (bytes32 id, Funds f) = _requireParty(c);
        bytes32 channelState = _requireTrader(c, id, f, s, trader);
        _requireState(channelState, s.accountRoot, operator_);
        _begin(id, s, 0);
    }

    /// @inheritdoc IHubDirect
    function refute(Channel calldata c, State calldata s, CoSignature calldata trader, Signature calldata operator_)
        external
        override
    {
        (bytes32 id, Funds f) = _open(c);
        bytes32 channelState = _requireTrader(c, id, f, s, trader);
        _requireState(channelState, s.accountRoot, operator_);
        _replace(id, s, 0);
    }

    /// @inheritdoc IHubDirect
    function disputeByLeaf(Channel calldata c, State calldata s, CoSignature calldata trader, bytes calldata leafProof)
        external
        override
    {
        (bytes32 id, Funds f) = _requireParty(c);
        bytes32 channelState = _requireTrader(c, id, f, s, trader);
        _begin(id, s, _requireLeaf(c.token, channelState, s, _excess(_base(s), id, f), leafProof));
    }

    /// @inheritdoc IHubDirect
    function refuteByLeaf(Channel calldata c, State calldata s, CoSignature calldata trader, bytes calldata leafProof)
        external
        override
    {
        (bytes32 id, Funds f) = _open(c);
        bytes32 channelState = _requireTrader(c, id, f, s, trader);
        _replace(id, s, _requireLeaf(c.token, channelState, s, _excess(_base(s), id, f), leafProof));
    }

    /// @inheritdoc IHubDirect
    function settle(Channel calldata c) external override locked {
        (bytes32 id, Funds f) = _open(c);
        Record r = records[id];
        if (r.deadline() == 0) revert ChannelNotInDispute(id);
        if (block.timestamp < r.deadline()) revert WindowOpen(r.deadline());
        funds[id] = f.with(FundsWord.CLOSED);

        uint256 entitled = Accounting.entitlement(r.base(), f.deposited(), f.withdrawn());
        uint256 escrow = _escrow(id, f);
        uint256 paid = entitled;
        if (entitled < escrow) {
            pools[c.token] = _inflow(c.token, pools[c.token], escrow - entitled);
        } else if (entitled > escrow) {
            uint256 excess = entitled - escrow;
            uint256 covered = _cover(c.token, excess, r.security());
            paid = escrow + covered;
            if (covered < excess) _claim(id, c.token, excess - covered);
        }
        emit Settled(id, paid, entitled - paid);
        _pay(c.token, c.owner, paid);
    }

    /// @dev What a state needs above the channel's escrow. Deposits and withdrawals change both alike.
    function _excess(int256 base, bytes32 id, Funds f) private view returns (uint256) {
        int256 excess = base - _moved(id, f);
        return excess > 0 ? uint256(excess) : 0;
    }
}
