// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IHubAnnex} from "./IChannelHub.sol";
import {Messages} from "./Messages.sol";
import {Openings} from "./Openings.sol";
import {Signatures} from "./Signatures.sol";
import {Funds, FundsWord} from "./Slots.sol";
import {Channel, CosignerChange, Rebalancing, Signature} from "./Types.sol";

/// @title What the parties agree on more rarely: openings for others, rebalances, co-signers, revocations
abstract contract Agreements is Openings, IHubAnnex {
    /// @dev Batches come at most every 100 ms.
    uint256 internal constant EPOCHS_PER_SECOND = 10;

    /// @inheritdoc IHubAnnex
    function openFor(Channel calldata c, uint128 amount, bytes calldata ownerSignature)
        external
        payable
        override
        locked
        returns (bytes32)
    {
        bytes32 digest = Messages.digest(hubDomain, Messages.opening(c));
        if (!Signatures.isOwners(c.owner, digest, ownerSignature)) revert OwnerRefused(c.owner);
        return _openNew(c, amount);
    }

    /// @inheritdoc IHubAnnex
    function rebalance(Rebalancing[] calldata items) external override locked {
        _requireNotFrozen();
        for (uint256 i = 0; i < items.length; ++i) {
            _rebalance(items[i]);
        }
    }

    /// @inheritdoc IHubAnnex
    function changeCosigner(CosignerChange calldata change) external override {
        (bytes32 id, Funds f) = _open(change.channel);
        _requireInTime(change.deadline);
        _requirePinned(change.branch);
        _requireCosigner(change.cosigner);
        Succession storage s = successions[id];
        if (change.number != s.number + 1) revert NumberWrong(s.number + 1, change.number);
        address owner = change.channel.owner;
        if (msg.sender != owner) {
            bytes32 digest = Messages.digest(hubDomain, Messages.cosignerChange(id, change));
            if (!Signatures.isOwners(owner, digest, change.owner)) revert OwnerRefused(owner);
        }
        address current = _cosigner(change.channel, id, f);
        uint40 from = uint40(block.timestamp) + window;
        successions[id] = Succession(current, change.number, change.cosigner, from);
        funds[id] = f.with(FundsWord.SUCCEEDED);
        emit CosignerNamed(id, change.cosigner, from);
    }

    /// @inheritdoc IHubAnnex
    function revoke(address session, uint40 fromEpoch, Signature calldata consent) external override {
        // A revocation of the past would unmake states that the session key signed and the trader lost by.
        uint256 earliest = uint256(status.epoch) + 1;
        if (consent.r == 0) {
            earliest += (block.timestamp - status.epochAt + anchor) * EPOCHS_PER_SECOND;
        } else {
            bytes32 message = Messages.revocation(msg.sender, session, fromEpoch);
            _requireRecovered(
                operator, Signatures.recover(Messages.digest(venueDomain, message), consent.r, consent.vs)
            );
        }
        if (fromEpoch < earliest) revert RevocationTooEarly(earliest, fromEpoch);
        uint40 before = revokedFrom[msg.sender][session];
        // Never taken back, never put off.
        if (before != 0 && before < fromEpoch) fromEpoch = before;
        revokedFrom[msg.sender][session] = fromEpoch;
        emit Revoked(msg.sender, session, fromEpoch);
    }

    /// @inheritdoc IHubAnnex
    function revocationOf(address cosigner, address session) external view override returns (uint40) {
        return revokedFrom[cosigner][session];
    }

    /// @inheritdoc IHubAnnex
    function channelId(Channel calldata c) external view override returns (bytes32) {
        return _id(c);
    }

    /// @inheritdoc IHubAnnex
    function cosignerOf(Channel calldata c) external view override returns (address) {
        bytes32 id = _id(c);
        return _cosigner(c, id, funds[id]);
    }

    function _rebalance(Rebalancing calldata r) private {
        (bytes32 id, Funds f) = _open(r.channel);
        // In a dispute it would change what of the state a posted root has to secure.
        _requireNoDispute(id, records[id]);
        _requireInTime(r.deadline);
        _requirePinned(r.branch);
        Moves storage m = moves[id];
        if (r.number != m.number + 1) revert NumberWrong(m.number + 1, r.number);
        bytes32 digest = Messages.digest(hubDomain, Messages.rebalancing(id, r));
        _requireSigned(_cosigner(r.channel, id, f), digest, r.cosigner);
        _requireSigned(operator, digest, r.operator);

        address token = r.channel.token;
        m.number = r.number;
        if (r.moved > 0) {
            f = _moveIn(token, uint256(int256(r.moved)), 0, id, f);
        } else {
            uint256 amount = uint256(-int256(r.moved));
            uint256 escrow = _escrow(id, f);
            if (amount > escrow) revert NotCovered(amount, escrow);
            m.moved += r.moved;
            f = f.with(FundsWord.MOVED);
            pools[token] = _inflow(token, pools[token], amount);
        }
        funds[id] = f;
        emit Rebalanced(id, r.number, r.moved);
    }
}
