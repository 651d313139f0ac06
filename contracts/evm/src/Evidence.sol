// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Accounting} from "./Accounting.sol";
import {Branches} from "./Branches.sol";
import {Messages} from "./Messages.sol";
import {Signatures} from "./Signatures.sol";
import {Funds} from "./Slots.sol";
import {Trees} from "./Trees.sol";
import {AMOUNT_MAX, Channel, CoSignature, KIND_TRADING, Signature, State} from "./Types.sol";
import {Vault} from "./Vault.sol";

/// @title When a state counts: the trader's signature over the account root it lies under, and the operator's in one of two forms
abstract contract Evidence is Vault, Branches {
    /// @dev First epoch that a session key may not sign any more; zero: not revoked.
    mapping(address cosigner => mapping(address session => uint40)) internal revokedFrom;

    /// @dev Checks and discloses the trader's half.
    /// @return channelState Hash of the state without the account root.
    function _requireTrader(Channel calldata c, bytes32 id, Funds f, State calldata s, CoSignature calldata t)
        internal
        returns (bytes32 channelState)
    {
        if (s.kind != KIND_TRADING) revert KindUnknown(s.kind);
        _requireAmount(s.balance);
        _requireAmount(s.depositedSeen);
        _requireAmount(s.withdrawnSeen);
        _requirePinned(s.branch);
        channelState = Messages.channelState(id, s);
        bytes32 root = Trees.root(Trees.leaf(channelState), t.position, t.path);
        if (root != s.accountRoot) revert AccountRootMismatch(s.accountRoot, root);
        bytes32 message = Messages.accountState(t.account, s.epoch, s.accountRoot);
        address signer = Signatures.recover(Messages.digest(venueDomain, message), t.signature.r, t.signature.vs);
        address cosigner = _cosigner(c, id, f);
        if (t.grant.length == 0) _requireRecovered(cosigner, signer);
        else _requireGrant(cosigner, signer, id, s, t);
        emit Disclosed(t.account, s.epoch, s.accountRoot, t.signature.r, t.signature.vs);
        if (t.grant.length != 0) emit GrantDisclosed(t.account, t.grant);
    }

    function _requireGrant(address cosigner, address signer, bytes32 id, State calldata s, CoSignature calldata t)
        private
        view
    {
        proofs.grant(cosigner, signer, id, t.account, s.epoch, s.balance, _base(s), t.grant);
        uint40 revoked = revokedFrom[cosigner][signer];
        if (revoked != 0 && s.epoch >= revoked) revert SessionRevoked(signer, revoked, s.epoch);
    }

    /// @dev Compact form: the operator signed the state.
    function _requireState(bytes32 channelState, bytes32 accountRoot, Signature calldata signature) internal view {
        _requireSigned(operator, Messages.digest(hubDomain, Messages.state(channelState, accountRoot)), signature);
    }

    /// @dev Leaf form: the operator signed a batch with the state in it.
    /// @return security Number of the posted root it lies under; zero if that root is not posted, was replaced longer than one
    /// vault delay ago, or holds less for the leaf than `excess`, what the state needs above the channel's escrow.
    function _requireLeaf(address token, bytes32 channelState, State calldata s, uint256 excess, bytes calldata proof)
        internal
        view
        returns (uint24 security)
    {
        bytes32 state = Messages.state(channelState, s.accountRoot);
        (uint40 epoch, bytes32 entry, uint128 stated) = proofs.leaf(token, state, s.balance, proof);
        if (epoch < s.epoch) revert BatchOlderThanState(epoch, s.epoch);
        if (excess > stated) return 0;
        Mark memory mark = posted[entry];
        if (mark.number == 0) return 0;
        bool inForce = block.timestamp <= uint256(mark.time) + vaultDelay || mark.number == pools[token].number();
        return inForce ? mark.number : 0;
    }

    function _base(State calldata s) internal pure returns (int256) {
        return Accounting.base(s.balance, s.depositedSeen, s.withdrawnSeen);
    }

    function _requireAmount(uint256 amount) internal pure {
        if (amount > AMOUNT_MAX) revert AmountTooLarge(amount, AMOUNT_MAX);
    }
}
