// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {
    Channel,
    Closing,
    CosignerChange,
    Grant,
    Rebalancing,
    Sibling,
    State,
    SumNode,
    Withdrawal
} from "../src/Types.sol";
import "./Scene.sol";

contract MessageReader {
    function sumRoot(SumNode memory from, uint256 position, Sibling[] calldata path)
        external
        pure
        returns (SumNode memory)
    {
        return Trees.sumRoot(from, position, path);
    }

    function withdrawal(bytes32 channel, Withdrawal calldata w) external pure returns (bytes32) {
        return Messages.withdrawal(channel, w);
    }

    function closing(bytes32 channel, Closing calldata c) external pure returns (bytes32) {
        return Messages.closing(channel, c);
    }

    function rebalancing(bytes32 channel, Rebalancing calldata r) external pure returns (bytes32) {
        return Messages.rebalancing(channel, r);
    }

    function cosignerChange(bytes32 channel, CosignerChange calldata c) external pure returns (bytes32) {
        return Messages.cosignerChange(channel, c);
    }
}

/// @dev The hub hashes, climbs and recovers what the exchange's crate made: every message, tree and path of
/// `contracts/vectors/accounts.json` (`userspace-api/channels`).
contract AccountsTest is Scene {
    string internal json = vm.readFile("../vectors/accounts.json");
    MessageReader internal reader = new MessageReader();
    string internal place;

    function testCase0() public {
        check(0);
    }

    function testCase1() public {
        check(1);
    }

    function testCase2() public {
        check(2);
    }

    function testCase3() public {
        check(3);
    }

    function testCase4() public {
        check(4);
    }

    function testCase5() public {
        check(5);
    }

    function testCase6() public {
        check(6);
    }

    function testCase7() public {
        check(7);
    }

    function check(uint256 number) internal {
        place = string.concat(".cases[", vm.toString(number), "]");
        Channel memory c = Channel(
            account(".terms.owner"), account(".terms.cosigner"), account(".terms.token"), uint64(amount(".terms.nonce"))
        );
        uint256 lineage = amount(".hub.lineage");
        address there = account(".hub.address");
        same(Messages.channelId(lineage, there, c), ".terms.channel");
        same(Messages.hubDomain(lineage, there), ".hub.separator");
        same(Messages.venueDomain(word(".venue.id")), ".venue.separator");
        State memory s = state();
        bytes32 bare = Messages.channelState(word(".terms.channel"), s);
        same(bare, ".channel_state.hash");
        bytes32[] memory path = words(".account.path");
        same(Trees.root(Trees.leaf(bare), amount(".account.position"), path), ".account.root");
        signed(Messages.state(bare, s.accountRoot), ".hub.separator", ".state");
        bytes32 whole = Messages.accountState(uint64(amount(".account.account")), s.epoch, s.accountRoot);
        signed(whole, ".venue.separator", ".account_state");
        checkBatch(s, Messages.state(bare, s.accountRoot), c.token);
        checkGrant();
        checkAgreements(s);
    }

    function state() internal view returns (State memory s) {
        s.version = uint40(amount(".channel_state.version"));
        s.balance = uint128(amount(".channel_state.balance"));
        s.depositedSeen = uint128(amount(".channel_state.deposited_seen"));
        s.withdrawnSeen = uint128(amount(".channel_state.withdrawn_seen"));
        s.epoch = uint40(amount(".channel_state.epoch"));
        s.kind = uint8(amount(".channel_state.kind"));
        s.branch = word(".channel_state.branch");
        s.accountRoot = word(".account.root");
        bytes memory canonical = vm.parseJsonBytes(json, string.concat(place, ".channel_state.bytes"));
        bytes memory expected = abi.encode(
            word(".terms.channel"), s.version, s.balance, s.depositedSeen, s.withdrawnSeen, s.epoch, s.kind, s.branch
        );
        require(keccak256(canonical) == keccak256(expected), "canonical bytes");
    }

    function checkBatch(State memory s, bytes32 whole, address token_) internal view {
        uint128 excess = uint128(amount(".sum.excess"));
        SumNode memory root;
        {
            bytes32 leaf = Trees.sumLeaf(whole, s.balance, excess);
            same(leaf, ".sum.leaf");
            bytes32[] memory hashes = words(".sum.hashes");
            bytes32[] memory sums = words(".sum.sums");
            Sibling[] memory siblings = new Sibling[](hashes.length);
            for (uint256 i = 0; i < hashes.length; ++i) {
                siblings[i] = Sibling(hashes[i], uint256(sums[i]));
            }
            root = reader.sumRoot(SumNode(leaf, s.balance, excess), amount(".sum.position"), siblings);
        }
        same(root.hash, ".sum.root.hash");
        require(root.balance == amount(".sum.root.balance") && root.excess == amount(".sum.root.excess"), "sums");
        bytes32 entry = Trees.entry(amount(".hub.lineage"), account(".hub.address"), token_, root);
        same(entry, ".entry.hash");
        bytes32 entries = Trees.root(entry, amount(".entry.position"), words(".entry.path"));
        same(entries, ".entry.root");
        signed(Messages.batch(s.epoch, word(".batch.previous"), entries), ".venue.separator", ".batch");
    }

    function checkGrant() internal view {
        Grant memory g;
        g.session = account(".grant.session");
        g.expiry = uint40(amount(".grant.expiry"));
        g.firstEpoch = uint40(amount(".grant.first_epoch"));
        g.lastEpoch = uint40(amount(".grant.last_epoch"));
        int128 start = int128(vm.parseJsonInt(json, string.concat(place, ".grant.start_base")));
        bytes32 leaf = Trees.limits(
            word(".terms.channel"), uint128(amount(".grant.floor")), start, uint128(amount(".grant.outflow"))
        );
        same(leaf, ".grant.leaf");
        bytes32 limits = Trees.root(leaf, amount(".grant.position"), words(".grant.path"));
        same(limits, ".grant.root");
        signed(Messages.grant(uint64(amount(".account.account")), g, limits), ".venue.separator", ".grant");
    }

    function checkAgreements(State memory s) internal view {
        bytes32 channel = word(".terms.channel");
        Withdrawal memory w;
        w.withdrawn = uint128(amount(".withdrawal.withdrawn"));
        w.recipient = account(".withdrawal.recipient");
        w.branch = s.branch;
        w.deadline = uint40(amount(".withdrawal.deadline"));
        signed(reader.withdrawal(channel, w), ".hub.separator", ".withdrawal");
        Closing memory c;
        c.balance = s.balance;
        c.depositedSeen = s.depositedSeen;
        c.withdrawnSeen = s.withdrawnSeen;
        c.recipient = w.recipient;
        c.branch = s.branch;
        c.deadline = w.deadline;
        signed(reader.closing(channel, c), ".hub.separator", ".closing");
        Rebalancing memory r;
        r.number = uint40(amount(".rebalancing.number"));
        r.moved = int128(vm.parseJsonInt(json, string.concat(place, ".rebalancing.moved")));
        r.branch = s.branch;
        r.deadline = w.deadline;
        signed(reader.rebalancing(channel, r), ".hub.separator", ".rebalancing");
        CosignerChange memory change;
        change.cosigner = account(".cosigner_change.cosigner");
        change.number = r.number;
        change.branch = s.branch;
        change.deadline = w.deadline;
        signed(reader.cosignerChange(channel, change), ".hub.separator", ".cosigner_change");
    }

    /// @dev Struct hash, digest, and who signed, as a hub recovers it.
    function signed(bytes32 structHash, string memory domain, string memory of_) internal view {
        same(structHash, string.concat(of_, ".struct_hash"));
        bytes32 digest = Messages.digest(word(domain), structHash);
        same(digest, string.concat(of_, ".digest"));
        address by = Signatures.recover(
            digest, word(string.concat(of_, ".signature.r")), word(string.concat(of_, ".signature.vs"))
        );
        require(by == account(string.concat(of_, ".signer")), of_);
    }

    function word(string memory key) internal view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(place, key));
    }

    function words(string memory key) internal view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, string.concat(place, key));
    }

    function amount(string memory key) internal view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(place, key));
    }

    function account(string memory key) internal view returns (address) {
        return vm.parseJsonAddress(json, string.concat(place, key));
    }

    function same(bytes32 actual, string memory key) internal view {
        require(actual == word(key), key);
    }
}
