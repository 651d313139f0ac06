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
}

/// @dev Trees at their edges; what they hash to is `Accounts.t.sol`'s.
contract TreesTest is Scene {
    TreeReader internal reader = new TreeReader();

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
