// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Accounting} from "./Accounting.sol";
import {IHubEvents} from "./IChannelHub.sol";
import {IProofs} from "./IProofs.sol";
import {Messages} from "./Messages.sol";
import {Signatures} from "./Signatures.sol";
import {Funds, FundsWord, Record} from "./Slots.sol";
import {Channel, Settings, Signature} from "./Types.sol";

/// @title The hub's constants, its channels, and who may speak for whom
abstract contract Registry is IHubEvents {
    /// @dev Whose storage and money this code runs on.
    address internal immutable hub;
    uint256 public immutable lineage;
    address public immutable operator;
    address public immutable treasury;
    uint40 public immutable anchor;
    uint40 public immutable window;
    uint40 public immutable grace;
    uint40 public immutable vaultDelay;
    /// @notice EIP-712 domain of states, withdrawals, closes, rebalances, openings and co-signer changes.
    bytes32 public immutable hubDomain;
    /// @notice EIP-712 domain of account states, batches, grants and revocations.
    bytes32 public immutable venueDomain;
    /// @notice The part of the hub that reads proofs.
    IProofs public immutable proofs;

    /// @dev Net of a channel's rebalances, and how many there were.
    struct Moves {
        int128 moved;
        uint40 number;
    }

    /// @dev `current` is zero while the co-signer is the one of the channel's terms; `next` counts from `from` on.
    struct Succession {
        address current;
        uint40 number;
        address next;
        uint40 from;
    }

    /// @dev What concerns the hub as a whole, in one slot.
    struct Status {
        uint40 frozenAt;
        /// Highest epoch posted for any token, and when.
        uint40 epoch;
        uint40 epochAt;
    }

    mapping(bytes32 channel => Funds) internal funds;
    mapping(bytes32 channel => Record) internal records;
    mapping(bytes32 channel => Moves) internal moves;
    mapping(bytes32 channel => Succession) internal successions;
    Status internal status;

    /// @param hub_ Whose storage and money the code runs on.
    constructor(Settings memory s, address hub_, IProofs proofs_) {
        hub = hub_;
        lineage = s.lineage;
        operator = s.operator;
        treasury = s.treasury;
        anchor = s.anchor;
        window = s.window;
        grace = s.grace;
        vaultDelay = s.vaultDelay;
        hubDomain = Messages.hubDomain(s.lineage, hub_);
        venueDomain = Messages.venueDomain(s.venue);
        proofs = proofs_;
    }

    function _id(Channel calldata c) internal view returns (bytes32) {
        return Messages.channelId(lineage, address(this), c);
    }

    /// @dev The id and money of a channel that is open.
    function _open(Channel calldata c) internal view returns (bytes32 id, Funds f) {
        id = _id(c);
        f = funds[id];
        if (!f.has(FundsWord.OPEN)) revert ChannelNotOpen(id);
        if (f.has(FundsWord.CLOSED)) revert ChannelClosed(id);
    }

    function _moved(bytes32 id, Funds f) internal view returns (int256) {
        return f.has(FundsWord.MOVED) ? int256(moves[id].moved) : int256(0);
    }

    function _escrow(bytes32 id, Funds f) internal view returns (uint256) {
        return Accounting.escrow(f.deposited(), _moved(id, f), f.withdrawn());
    }

    function _cosigner(Channel calldata c, bytes32 id, Funds f) internal view returns (address) {
        if (!f.has(FundsWord.SUCCEEDED)) return c.cosigner;
        Succession storage s = successions[id];
        if (block.timestamp >= s.from) return s.next;
        return s.current == address(0) ? c.cosigner : s.current;
    }

    function _requireNotFrozen() internal view {
        if (status.frozenAt != 0) revert HubFrozen();
    }

    function _requireInTime(uint40 deadline) internal view {
        if (block.timestamp > deadline) revert Expired(deadline);
    }

    /// @dev A key that sends the transaction has signed it.
    function _requireSigned(address signer, bytes32 digest, Signature calldata signature) internal view {
        if (msg.sender == signer) return;
        _requireRecovered(signer, Signatures.recover(digest, signature.r, signature.vs));
    }

    function _requireRecovered(address expected, address recovered) internal pure {
        if (recovered != expected) revert WrongSigner(expected, recovered);
    }
}
