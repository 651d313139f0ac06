// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import "./Scene.sol";

contract TreeReader {
    function sumRoot(SumNode memory from, uint256 position, Sibling[] calldata path)
        external
        pure
        returns (SumNode memory)
    {
        return Trees.sumRoot(from, position, path);
    }

    function channelState(bytes32 channel, State calldata s) external pure returns (bytes32) {
        return Messages.channelState(channel, s);
    }
}

/// @dev The hub's hashing equals `contracts/vectors/account-states.json`, which was computed from `docs/channels.md` by
/// other code than this.
contract VectorsTest is Scene {
    string internal json = vm.readFile("../vectors/account-states.json");
    TreeReader internal reader = new TreeReader();

    function word(string memory key) internal view returns (bytes32) {
        return vm.parseJsonBytes32(json, key);
    }

    function same(bytes32 actual, string memory key) internal view {
        require(actual == word(key), key);
    }

    function testChannelIdAndDomains() public view {
        Channel memory c = Channel(
            vm.parseJsonAddress(json, ".owner"),
            vm.parseJsonAddress(json, ".cosigner"),
            vm.parseJsonAddress(json, ".token"),
            uint64(vm.parseJsonUint(json, ".nonce"))
        );
        uint256 lineage = vm.parseJsonUint(json, ".lineage");
        address there = vm.parseJsonAddress(json, ".hub");
        same(Messages.channelId(lineage, there, c), ".channel");
        same(Messages.hubDomain(lineage, there), ".hubDomain");
        same(Messages.venueDomain(word(".venue")), ".venueDomain");
    }

    function testFirstState() public view {
        check(".states[0]");
    }

    function testStateAfterTradingAndAWithdrawal() public view {
        check(".states[1]");
    }

    function testLargestState() public view {
        check(".states[2]");
    }

    function check(string memory place) internal view {
        State memory s;
        s.version = uint40(number(place, ".version"));
        s.balance = uint128(number(place, ".balance"));
        s.depositedSeen = uint128(number(place, ".depositedSeen"));
        s.withdrawnSeen = uint128(number(place, ".withdrawnSeen"));
        s.epoch = uint40(number(place, ".epoch"));
        s.kind = uint8(number(place, ".kind"));
        s.branch = word(string.concat(place, ".branch"));
        bytes memory canonical = vm.parseJsonBytes(json, string.concat(place, ".canonical"));
        require(canonical.length == 256, "canonical length");
        require(
            keccak256(canonical)
                == keccak256(
                    abi.encode(
                        word(".channel"),
                        s.version,
                        s.balance,
                        s.depositedSeen,
                        s.withdrawnSeen,
                        s.epoch,
                        s.kind,
                        s.branch
                    )
                ),
            "canonical bytes"
        );
        bytes32 bare = reader.channelState(word(".channel"), s);
        same(bare, string.concat(place, ".channelState"));
        same(Trees.leaf(bare), string.concat(place, ".accountRoot"));
        s.accountRoot = Trees.leaf(bare);
        bytes32 state = Messages.state(bare, s.accountRoot);
        same(state, string.concat(place, ".state"));
        same(Messages.digest(word(".hubDomain"), state), string.concat(place, ".stateDigest"));
        bytes32 account = Messages.accountState(uint64(number(place, ".account")), s.epoch, s.accountRoot);
        same(Messages.digest(word(".venueDomain"), account), string.concat(place, ".accountStateDigest"));
        checkBatch(place, s, state);
    }

    function checkBatch(string memory place, State memory s, bytes32 state) internal view {
        uint128 excess = uint128(number(place, ".excess"));
        bytes32 leaf = Trees.sumLeaf(state, s.balance, excess);
        same(leaf, string.concat(place, ".sumLeaf"));
        SumNode[] memory path = new SumNode[](1);
        path[0] = SumNode(
            word(string.concat(place, ".siblingHash")),
            uint128(number(place, ".siblingBalance")),
            uint128(number(place, ".siblingExcess"))
        );
        SumNode memory root = reader.sumRoot(SumNode(leaf, s.balance, excess), 0, packed(path));
        same(root.hash, string.concat(place, ".root"));
        equal(root.balance, number(place, ".rootBalance"), "root's balance");
        equal(root.excess, number(place, ".rootExcess"), "root's excess");
        bytes32 entry = Trees.entry(
            vm.parseJsonUint(json, ".lineage"),
            vm.parseJsonAddress(json, ".hub"),
            vm.parseJsonAddress(json, ".token"),
            root
        );
        same(entry, string.concat(place, ".entry"));
        bytes32 batch = Messages.batch(s.epoch, word(string.concat(place, ".previous")), entry);
        same(Messages.digest(word(".venueDomain"), batch), string.concat(place, ".batchDigest"));
    }

    function number(string memory place, string memory key) internal view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(place, key));
    }

    // ---- trees at their edges

    function testFuzzSumRootEqualsItsDefinition(uint256 position, uint64[16] memory sums, uint8 depth) public view {
        depth = depth % 17;
        position = depth == 0 ? 0 : position % (uint256(1) << depth);
        SumNode[] memory path = new SumNode[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            path[i] = SumNode(keccak256(abi.encode(i, sums[i])), sums[i], sums[i] / 3);
        }
        SumNode memory from = SumNode(keccak256("from"), sums[15], 1);
        SumNode memory byHub = reader.sumRoot(from, position, packed(path));
        SumNode memory byDefinition = rootOf(from, position, path);
        require(byHub.hash == byDefinition.hash, "hash");
        equal(byHub.balance, byDefinition.balance, "balance");
        equal(byHub.excess, byDefinition.excess, "excess");
    }

    function testSumsThatOverflowAreRefused() public {
        uint128 max = type(uint128).max;
        SumNode[2][3] memory pairs = [
            [SumNode(0, max, 0), SumNode(0, 1, 0)],
            [SumNode(0, 0, max), SumNode(0, 0, 1)],
            [SumNode(0, max, max), SumNode(0, 0, 1)]
        ];
        for (uint256 i = 0; i < 3; ++i) {
            SumNode[] memory path = new SumNode[](1);
            path[0] = pairs[i][1];
            Sibling[] memory siblings = packed(path);
            vm.expectRevert(Trees.SumOverflows.selector);
            reader.sumRoot(pairs[i][0], 0, siblings);
        }
    }

    function testPathsOutsideTheTreeAreRefused() public {
        vm.expectRevert(abi.encodeWithSelector(Trees.PathTooLong.selector, 17));
        reader.sumRoot(SumNode(0, 0, 0), 0, new Sibling[](17));
        vm.expectRevert(abi.encodeWithSelector(Trees.PositionOutsideTree.selector, 4, 2));
        reader.sumRoot(SumNode(0, 0, 0), 4, new Sibling[](2));
    }
}
