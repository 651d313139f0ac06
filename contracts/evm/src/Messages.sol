// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Channel, Closing, CosignerChange, Grant, Rebalancing, State, Withdrawal} from "./Types.sol";

/// @title What is signed: EIP-712 struct hashes and the two domains
/// @notice The hub's domain names it and the lineage, not the live chain id, so a state survives a change of the id.
/// The venue's domain names neither chain nor hub: what is signed in it holds on all of them at once.
library Messages {
    bytes32 internal constant HUB_DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant VENUE_DOMAIN = keccak256("EIP712Domain(string name,string version,bytes32 salt)");
    bytes32 internal constant HUB_NAME = keccak256("Ring0 Channel Hub");
    bytes32 internal constant VENUE_NAME = keccak256("Ring0 Venue");
    bytes32 internal constant DOMAIN_VERSION = keccak256("1");

    bytes32 internal constant CHANNEL_STATE = keccak256(
        "ChannelState(bytes32 channel,uint40 version,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,uint40 epoch,uint8 kind,bytes32 branch)"
    );
    bytes32 internal constant STATE = keccak256(
        "State(ChannelState state,bytes32 accountRoot)ChannelState(bytes32 channel,uint40 version,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,uint40 epoch,uint8 kind,bytes32 branch)"
    );
    bytes32 internal constant ACCOUNT_STATE =
        keccak256("AccountState(uint64 account,uint40 epoch,bytes32 accountRoot)");
    bytes32 internal constant BATCH = keccak256("Batch(uint40 epoch,bytes32 previous,bytes32 entries)");
    bytes32 internal constant GRANT = keccak256(
        "Grant(uint64 account,address session,uint40 expiry,uint40 firstEpoch,uint40 lastEpoch,bytes32 limits)"
    );
    bytes32 internal constant REVOCATION = keccak256("Revocation(address cosigner,address session,uint40 fromEpoch)");
    bytes32 internal constant OPENING = keccak256("Opening(address owner,address cosigner,address token,uint64 nonce)");
    bytes32 internal constant WITHDRAWAL =
        keccak256("Withdrawal(bytes32 channel,uint128 withdrawn,address recipient,bytes32 branch,uint40 deadline)");
    bytes32 internal constant CLOSING = keccak256(
        "Closing(bytes32 channel,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,address recipient,bytes32 branch,uint40 deadline)"
    );
    bytes32 internal constant REBALANCING =
        keccak256("Rebalancing(bytes32 channel,uint40 number,int128 moved,bytes32 branch,uint40 deadline)");
    bytes32 internal constant COSIGNER_CHANGE =
        keccak256("CosignerChange(bytes32 channel,address cosigner,uint40 number,bytes32 branch,uint40 deadline)");

    function hubDomain(uint256 lineage, address hub) internal pure returns (bytes32) {
        return keccak256(abi.encode(HUB_DOMAIN, HUB_NAME, DOMAIN_VERSION, lineage, hub));
    }

    function venueDomain(bytes32 venue) internal pure returns (bytes32) {
        return keccak256(abi.encode(VENUE_DOMAIN, VENUE_NAME, DOMAIN_VERSION, venue));
    }

    function digest(bytes32 domain, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// @dev Lineage and hub are part of it, so no leaf of any tree is valid for two hubs.
    function channelId(uint256 lineage, address hub, Channel memory c) internal pure returns (bytes32) {
        return keccak256(abi.encode(lineage, hub, c.owner, c.cosigner, c.token, c.nonce));
    }

    /// @dev Also what an account's tree has as its leaf: the state without the account's root.
    function channelState(bytes32 channel, State memory s) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                CHANNEL_STATE,
                channel,
                s.version,
                s.balance,
                s.depositedSeen,
                s.withdrawnSeen,
                s.epoch,
                s.kind,
                s.branch
            )
        );
    }

    function state(bytes32 channelState_, bytes32 accountRoot) internal pure returns (bytes32) {
        return keccak256(abi.encode(STATE, channelState_, accountRoot));
    }

    function accountState(uint64 account, uint40 epoch, bytes32 accountRoot) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACCOUNT_STATE, account, epoch, accountRoot));
    }

    function batch(uint40 epoch, bytes32 previous, bytes32 entries) internal pure returns (bytes32) {
        return keccak256(abi.encode(BATCH, epoch, previous, entries));
    }

    function grant(uint64 account, Grant memory g, bytes32 limits) internal pure returns (bytes32) {
        return keccak256(abi.encode(GRANT, account, g.session, g.expiry, g.firstEpoch, g.lastEpoch, limits));
    }

    function revocation(address cosigner, address session, uint40 fromEpoch) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVOCATION, cosigner, session, fromEpoch));
    }

    function opening(Channel calldata c) internal pure returns (bytes32) {
        return keccak256(abi.encode(OPENING, c.owner, c.cosigner, c.token, c.nonce));
    }

    function withdrawal(bytes32 channel, Withdrawal calldata w) internal pure returns (bytes32) {
        return keccak256(abi.encode(WITHDRAWAL, channel, w.withdrawn, w.recipient, w.branch, w.deadline));
    }

    function closing(bytes32 channel, Closing calldata c) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(CLOSING, channel, c.balance, c.depositedSeen, c.withdrawnSeen, c.recipient, c.branch, c.deadline)
        );
    }

    function rebalancing(bytes32 channel, Rebalancing calldata r) internal pure returns (bytes32) {
        return keccak256(abi.encode(REBALANCING, channel, r.number, r.moved, r.branch, r.deadline));
    }

    function cosignerChange(bytes32 channel, CosignerChange calldata c) internal pure returns (bytes32) {
        return keccak256(abi.encode(COSIGNER_CHANGE, channel, c.cosigner, c.number, c.branch, c.deadline));
    }
}
