// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import "./Scene.sol";

/// @dev The three proofs, wrong proofs, and what a frozen hub still does.
contract FreezesTest is Scene {
    function testFreezerIsOneSecondEarly() public {
        funded(ETH, 1);
        postedSum(ETH, 0, 1);
        uint256 from = block.timestamp + GRACE + 1;
        vm.warp(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.TooEarly.selector, from));
        hub.freezeSilent(ETH);
        vm.warp(from);
        hub.freezeSilent(ETH);
        equal(hub.frozenAt(), from, "frozen");
        vm.expectRevert(IHubEvents.HubFrozen.selector);
        hub.freezeSilent(ETH);
    }

    function testGrieferFreezesByATokenOfItsOwn() public {
        Channel memory c = aliceIn(address(new Token()));
        vm.prank(alice);
        hub.open(c.cosigner, c.token, 1, 0);
        vm.warp(block.timestamp + 365 days);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.TokenNeverPosted.selector, c.token));
        hub.freezeSilent(c.token);
    }

    function twoRoots(uint40 epoch, bytes32 entriesA, bytes32 entriesB) internal view returns (TwoRoots memory p) {
        p.epoch = epoch;
        (p.entriesA, p.entriesB) = (entriesA, entriesB);
        p.a = signVenue(OPERATOR_KEY, Messages.batch(epoch, p.previousA, entriesA));
        p.b = signVenue(OPERATOR_KEY, Messages.batch(epoch, p.previousB, entriesB));
    }

    function testOperatorSignsTwoRootsInOneEpoch() public {
        TwoRoots memory p = twoRoots(5, keccak256("a"), keccak256("b"));
        hub.freezeTwoRoots(abi.encode(p));
        equal(hub.frozenAt(), block.timestamp, "frozen");
    }

    function testFreezerShowsOneRootTwice() public {
        TwoRoots memory p = twoRoots(5, keccak256("a"), keccak256("a"));
        vm.expectRevert(IProofs.ProofRefused.selector);
        hub.freezeTwoRoots(abi.encode(p));
        p = twoRoots(5, keccak256("a"), keccak256("b"));
        p.b = signVenue(ALICE_KEY, Messages.batch(5, p.previousB, p.entriesB));
        vm.expectRevert(abi.encodeWithSelector(IProofs.WrongSigner.selector, operator, alice));
        hub.freezeTwoRoots(abi.encode(p));
    }

    function testOperatorPostsTwoRootsInOneEpoch() public {
        funded(ETH, 10);
        postedSum(ETH, 1, 5);
        SumNode memory root = SumNode(keccak256("other"), 2, 2);
        bytes memory entry = abi.encode(signedEntry(ETH, root, 5));
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.EpochNotNewer.selector, 5, 5));
        hub.post(ETH, root, entry);
    }

    /// @dev Four leaves; the tree states sums for the node over the first two.
    function statedNode(SumNode memory node) internal view returns (StatedNode memory s) {
        s.token = ETH;
        s.node = node;
        SumNode[] memory path = new SumNode[](1);
        path[0] = others(50, 5);
        s.path = packed(path);
        s.entry = signedEntry(ETH, rootOf(node, 0, path), 3);
    }

    function testOperatorStatesSumsThatDoNotAddUp() public {
        (SumNode memory left, SumNode memory right) = (SumNode(keccak256("l"), 10, 1), SumNode(keccak256("r"), 20, 2));
        bytes32 hash = Trees.sumNode(left, right);
        uint256 start = vm.snapshotState();
        hub.freezeNode(abi.encode(statedNode(SumNode(hash, 29, 3)), left, right));
        equal(hub.frozenAt(), block.timestamp, "balance");
        vm.revertToState(start);
        hub.freezeNode(abi.encode(statedNode(SumNode(hash, 30, 2)), left, right));
        equal(hub.frozenAt(), block.timestamp, "excess");
    }

    function testOperatorLetsASumOverflow() public {
        (SumNode memory left, SumNode memory right) =
            (SumNode(keccak256("l"), type(uint128).max, 0), SumNode(keccak256("r"), 11, 0));
        hub.freezeNode(abi.encode(statedNode(SumNode(Trees.sumNode(left, right), 10, 0)), left, right));
        equal(hub.frozenAt(), block.timestamp, "frozen");
    }

    function testFreezerShowsANodeThatAddsUp() public {
        (SumNode memory left, SumNode memory right) = (SumNode(keccak256("l"), 10, 1), SumNode(keccak256("r"), 20, 2));
        bytes memory proof = abi.encode(statedNode(SumNode(Trees.sumNode(left, right), 30, 3)), left, right);
        vm.expectRevert(IProofs.ProofRefused.selector);
        hub.freezeNode(proof);
        proof = abi.encode(statedNode(SumNode(keccak256("not its children"), 31, 3)), left, right);
        vm.expectRevert(IProofs.ProofRefused.selector);
        hub.freezeNode(proof);
    }

    function testFreezerAltersTheStatedSums() public {
        (SumNode memory left, SumNode memory right) = (SumNode(keccak256("l"), 10, 1), SumNode(keccak256("r"), 20, 2));
        StatedNode memory stated = statedNode(SumNode(Trees.sumNode(left, right), 30, 3));
        stated.node.balance = 31;
        vm.expectRevert();
        hub.freezeNode(abi.encode(stated, left, right));
        equal(hub.frozenAt(), 0, "not what was signed");
    }

    function testOperatorStatesALeafThatIsNotItsState() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 1, 40, 10, 0, 1);
        bytes32 leaf = Trees.sumLeaf(hashOf(c, s), 30, 0);
        StatedNode memory stated = statedNode(SumNode(leaf, 30, 0));
        uint256 start = vm.snapshotState();
        hub.freezeLeaf(abi.encode(stated, idOf(c), s, uint128(30), uint128(0)));
        equal(hub.frozenAt(), block.timestamp, "state says 40");
        vm.revertToState(start);
        leaf = Trees.sumLeaf(hashOf(c, s), 40, 30);
        hub.freezeLeaf(abi.encode(statedNode(SumNode(leaf, 40, 3)), idOf(c), s, uint128(40), uint128(30)));
        equal(hub.frozenAt(), block.timestamp, "leaf's excess is 30");
        vm.revertToState(start);
        stated = statedNode(SumNode(leaf, 40, 30));
        vm.expectRevert(IProofs.ProofRefused.selector);
        hub.freezeLeaf(abi.encode(stated, idOf(c), s, uint128(40), uint128(30)));
    }

    function testFreezerSendsRubbish() public {
        vm.expectRevert();
        hub.freezeNode("");
        vm.expectRevert();
        hub.freezeTwoRoots(hex"00");
        vm.expectRevert();
        hub.freezeLeaf(abi.encode(type(uint256).max, type(uint256).max, type(uint256).max));
        equal(hub.frozenAt(), 0, "costs its sender only");
    }

    function frozen() internal {
        hub.freezeTwoRoots(abi.encode(twoRoots(9, keccak256("a"), keccak256("b"))));
    }

    function testFrozenHubRefusesNewMoneyAndKeepsTheVault() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 10 ether);
        vm.prank(treasury);
        hub.requestVaultWithdrawal(ETH, 1 ether);
        SumNode memory root = SumNode(keccak256("root"), 1, 1);
        bytes memory entry = abi.encode(signedEntry(ETH, root, 4));
        Rebalancing[] memory items = new Rebalancing[](1);
        items[0] = rebalancingOf(c, 1, 1 ether);
        frozen();
        vm.warp(block.timestamp + DELAY);
        bytes4 refused = IHubEvents.HubFrozen.selector;
        vm.expectRevert(refused);
        hub.deposit{value: 1}(c, 1);
        vm.expectRevert(refused);
        hub.open{value: 1}(c.cosigner, ETH, 9, 1);
        vm.expectRevert(refused);
        hub.rebalance(items);
        vm.expectRevert(refused);
        hub.post(ETH, root, entry);
        vm.startPrank(treasury);
        vm.expectRevert(refused);
        hub.withdrawVault(ETH);
        vm.expectRevert(refused);
        hub.requestVaultWithdrawal(ETH, 1);
        vm.stopPrank();
        Closing memory x = closingOf(c, 11 ether, 10 ether, 0);
        vm.expectRevert(refused);
        hub.close(x);
        hub.close(closingOf(c, 10 ether, 10 ether, 0));
        equal(alice.balance, 1000 ether, "own escrow leaves at any time");
    }

    function testFrozenHubPaysExcessInProportionWhateverTheOrder() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        Channel memory b = opened(bobIn(ETH), 10 ether);
        Channel memory early = opened(Channel(bob, vm.addr(BOB_SIGNS_KEY), ETH, 2), 0);
        funded(ETH, 40 ether);
        // An earlier root secured a winner that the newest one leaves out: 10 of the vault are gone before the freeze.
        State memory e = stateOf(early, 1, 10 ether, 0, 0, 1);
        bytes memory eProof = posted(early, e, 10 ether, others(0, 0), 1);
        State memory sa = stateOf(a, 1, 40 ether, 10 ether, 0, 2);
        State memory sb = stateOf(b, 1, 20 ether, 10 ether, 0, 2);
        SumNode memory bLeaf = SumNode(Trees.sumLeaf(hashOf(b, sb), 20 ether, 10 ether), 20 ether, 10 ether);
        bytes memory aProof = posted(a, sa, 30 ether, bLeaf, 2);
        disputedByLeaf(early, e, eProof);
        settled(early);
        equal(hub.vaultOf(ETH).balance, 30 ether, "for 40 of excess");
        frozen();
        LeafProof memory p = abi.decode(aProof, (LeafProof));
        SumNode[] memory path = new SumNode[](1);
        path[0] = SumNode(Trees.sumLeaf(hashOf(a, sa), 40 ether, 30 ether), 40 ether, 30 ether);
        (p.path, p.position, p.excess) = (packed(path), 1, 10 ether);
        disputedByLeaf(a, sa, aProof);
        disputedByLeaf(b, sb, abi.encode(p));
        vm.warp(block.timestamp + WINDOW);
        uint256 start = vm.snapshotState();
        hub.settle(a);
        hub.settle(b);
        equal(alice.balance, 990 ether + 10 ether + 22.5 ether, "three quarters of 30");
        equal(bob.balance, 990 ether + 10 ether + 10 ether + 7.5 ether, "three quarters of 10");
        vm.revertToState(start);
        hub.settle(b);
        hub.settle(a);
        equal(alice.balance, 990 ether + 10 ether + 22.5 ether, "in any order");
        equal(held(ETH), 0, "all paid out");
    }

    /// @dev A dispute by the root before, a newer root, then the freeze: the leaf of the newest root gives the full share.
    function testTraderShowsItsLeafAgainUnderTheNewestRoot() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 30 ether);
        State memory s = stateOf(a, 1, 30 ether, 10 ether, 0, 1);
        bytes memory first = posted(a, s, 20 ether, others(0, 0), 1);
        disputedByLeaf(a, s, first);
        bytes memory second = posted(a, s, 20 ether, others(0, 10 ether), 2);
        frozen();
        uint256 start = vm.snapshotState();
        settled(a);
        equal(alice.balance, 1000 ether, "30 of vault, 30 of excess under the newest root: no surplus");
        vm.revertToState(start);
        hub.refuteByLeaf(a, s, coSigned(a, s), second);
        equal(hub.channelOf(idOf(a)).security, 2, "under the newest");
        CoSignature memory t = coSigned(a, s);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.VersionNotNewer.selector, 1, 1));
        hub.refuteByLeaf(a, s, t, first);
        settled(a);
        equal(alice.balance, 1020 ether, "its share");
    }

    /// @dev Any two excesses, any part of the vault gone before the freeze, either order: each gets its share, to one unit.
    function testFuzzFrozenSharesAreInProportion(uint96 wonA, uint96 wonB, uint96 gone, bool aFirst) public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        Channel memory b = opened(bobIn(ETH), 10 ether);
        (uint128 xa, uint128 xb) = (uint128(wonA % 100 ether) + 1, uint128(wonB % 100 ether));
        uint128 lost = uint128(gone % (uint256(xa) + xb + 1));
        funded(ETH, xa + xb + lost);
        bytes memory aProof;
        bytes memory bProof;
        State memory sa = stateOf(a, 1, 10 ether + xa, 10 ether, 0, 2);
        State memory sb = stateOf(b, 1, 10 ether + xb, 10 ether, 0, 2);
        {
            SumNode memory aLeaf = SumNode(Trees.sumLeaf(hashOf(a, sa), sa.balance, xa), sa.balance, xa);
            SumNode memory bLeaf = SumNode(Trees.sumLeaf(hashOf(b, sb), sb.balance, xb), sb.balance, xb);
            aProof = posted(a, sa, xa, bLeaf, 2);
            LeafProof memory p = abi.decode(aProof, (LeafProof));
            SumNode[] memory path = new SumNode[](1);
            path[0] = aLeaf;
            (p.path, p.position, p.excess) = (packed(path), 1, xb);
            bProof = abi.encode(p);
        }
        setVault(xa + xb - lost);
        frozen();
        disputedByLeaf(a, sa, aProof);
        disputedByLeaf(b, sb, bProof);
        vm.warp(block.timestamp + WINDOW);
        hub.settle(aFirst ? a : b);
        hub.settle(aFirst ? b : a);
        uint256 total = uint256(xa) + xb;
        near(alice.balance, 1000 ether + uint256(xa) * (total - lost) / total, "a's share");
        near(bob.balance, 1000 ether + uint256(xb) * (total - lost) / total, "b's share");
        require(alice.balance + bob.balance <= 2000 ether + total - lost, "not more than there was");
    }

    function near(uint256 actual, uint256 expected, string memory what) internal pure {
        require(actual <= expected + 1 && expected <= actual + 1, what);
    }

    /// @dev As if settlements under an older root had taken the rest: writes the vault's word, and burns the money.
    function setVault(uint256 balance) internal {
        bytes32 slot = keccak256(abi.encode(ETH, poolsSlot()));
        uint256 word = uint256(vm.load(address(hub), slot));
        uint256 before = word & AMOUNT_MAX;
        uint256 lock = (word >> 104) & AMOUNT_MAX;
        word = (word >> 208) << 208 | (lock < balance ? lock : balance) << 104 | balance;
        vm.store(address(hub), slot, bytes32(word));
        vm.deal(address(hub), held(ETH) - (before - balance));
        equal(hub.vaultOf(ETH).balance, balance, "the slot is the vault's");
    }

    /// @dev Found, because the two profiles differ by the lock's slot.
    function poolsSlot() internal returns (uint256 slot) {
        uint256 before = hub.vaultOf(ETH).balance;
        for (slot = 0; slot < 32; ++slot) {
            bytes32 place = keccak256(abi.encode(ETH, slot));
            bytes32 word = vm.load(address(hub), place);
            vm.store(address(hub), place, bytes32(uint256(word) ^ 1));
            bool found = hub.vaultOf(ETH).balance == before ^ 1;
            vm.store(address(hub), place, word);
            if (found) return slot;
        }
        revert("the vault's slot was not found");
    }

    function testFrozenHubGivesUnpostedWinnersTheSurplusOnly() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 30 ether);
        postedSum(ETH, 25 ether, 1);
        disputed(a, stateOf(a, 1, 40 ether, 10 ether, 0, 1));
        frozen();
        settled(a);
        equal(alice.balance, 1005 ether, "30 - 25");
        (uint256 left,) = hub.claimOf(a);
        equal(left, 25 ether, "the rest waits");
        // Money still comes in for it.
        funded(ETH, 25 ether);
        hub.collectClaim(a);
        equal(alice.balance, 1030 ether, "paid");
    }
}
