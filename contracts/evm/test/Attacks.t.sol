// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import "./Scene.sol";

/// @dev Attacks on a channel's money, named for attacker and action. Each ends in an exact error or exact balances.
contract AttacksTest is Scene {
    // ---- replay

    function testTraderReplaysCloseAfterClose() public {
        Channel memory c = opened(aliceIn(ETH), 1 ether);
        opened(bobIn(ETH), 12 ether);
        Closing memory x = closingOf(c, 1 ether, 1 ether, 0);
        hub.close(x);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ChannelClosed.selector, idOf(c)));
        hub.close(x);
        equal(alice.balance, 1000 ether, "own money once");
        conserved(ETH, 12 ether, 0);
    }

    function testTraderReplaysCloseAfterOneWeiDeposit() public {
        Channel memory c = opened(aliceIn(ETH), 1 ether);
        Closing memory x = closingOf(c, 1 ether, 1 ether, 0);
        hub.close(x);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ChannelClosed.selector, idOf(c)));
        hub.deposit{value: 1}(c, 1);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ChannelUsed.selector, idOf(c)));
        hub.open{value: 1}(c.cosigner, c.token, c.nonce, 1);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ChannelClosed.selector, idOf(c)));
        hub.close(x);
    }

    function testTraderReplaysStateAfterSettle() public {
        Channel memory c = opened(aliceIn(ETH), 1 ether);
        State memory s = stateOf(c, 1, 1 ether, 1 ether, 0, 1);
        disputed(c, s);
        settled(c);
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ChannelClosed.selector, idOf(c)));
        hub.dispute(c, s, t, o);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ChannelClosed.selector, idOf(c)));
        hub.settle(c);
    }

    function testStrangerOpensChannelOfZeroTrader() public {
        Channel memory c = Channel(address(0), vm.addr(1), ETH, 1);
        // A zero owner has no code, and 64 zero bytes recover to nobody.
        vm.expectRevert(Signatures.SignatureInvalid.selector);
        hub.openFor{value: 1}(c, 1, new bytes(64));
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ChannelNotOpen.selector, idOf(c)));
        hub.deposit{value: 1}(c, 1);
        vm.prank(address(0));
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.PartyInvalid.selector, address(0)));
        hub.open(vm.addr(1), ETH, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.PartyInvalid.selector, address(0)));
        hub.open(address(0), ETH, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.PartyInvalid.selector, operator));
        hub.open(operator, ETH, 1, 0);
    }

    function testTraderReplaysStateOfAnotherChannel() public {
        Channel memory rich = opened(aliceIn(ETH), 10 ether);
        Channel memory poor = aliceIn(ETH);
        poor.nonce = 2;
        opened(poor, 1 ether);
        State memory s = stateOf(rich, 1, 10 ether, 10 ether, 0, 1);
        bytes32 leaf = leafOf(poor, s);
        CoSignature memory t = coSigned(rich, s);
        Signature memory o = byOperator(rich, s);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.AccountRootMismatch.selector, s.accountRoot, leaf));
        hub.dispute(poor, s, t, o);
    }

    function testTraderReplaysStateOnAnotherHub() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 1, 10 ether, 10 ether, 0, 1);
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        hub = IChannelHub(address(new ChannelHub(settings())));
        opened(c, 1 ether);
        bytes32 leaf = leafOf(c, s);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.AccountRootMismatch.selector, s.accountRoot, leaf));
        hub.dispute(c, s, t, o);
        // Under a root of this hub's leaf the trader's half is good, but the operator never signed that.
        s.accountRoot = leaf;
        t = coSigned(c, s);
        bytes32 digest = Messages.digest(Messages.hubDomain(LINEAGE, address(hub)), hashOf(c, s));
        address nobody = Signatures.recover(digest, o.r, o.vs);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, operator, nobody));
        hub.dispute(c, s, t, o);
    }

    function testTraderReplaysStateOfAnotherToken() public {
        Channel memory inToken = opened(aliceIn(address(token)), 10 ether);
        Channel memory inEth = opened(aliceIn(ETH), 1 ether);
        State memory s = stateOf(inToken, 1, 10 ether, 10 ether, 0, 1);
        bytes32 leaf = leafOf(inEth, s);
        CoSignature memory t = coSigned(inToken, s);
        Signature memory o = byOperator(inToken, s);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.AccountRootMismatch.selector, s.accountRoot, leaf));
        hub.dispute(inEth, s, t, o);
    }

    function testStrangerRepeatsWithdrawal() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Withdrawal memory w = withdrawalOf(c, 4 ether, alice);
        hub.withdraw(w);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WithdrawnNotMore.selector, 4 ether, 4 ether));
        hub.withdraw(w);
    }

    function testStrangerUsesExpiredWithdrawal() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Withdrawal memory w = withdrawalOf(c, 4 ether, alice);
        vm.warp(uint256(w.deadline) + 1);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.Expired.selector, w.deadline));
        hub.withdraw(w);
    }

    function testStrangerChangesWithdrawalRecipient() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Withdrawal memory w = withdrawalOf(c, 4 ether, alice);
        w.recipient = stranger;
        bytes32 digest = Messages.digest(
            hubDomain,
            keccak256(abi.encode(Messages.WITHDRAWAL, idOf(c), w.withdrawn, w.recipient, w.branch, w.deadline))
        );
        address nobody = Signatures.recover(digest, w.owner.r, w.owner.vs);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, alice, nobody));
        hub.withdraw(w);
    }

    // ---- what a state has not seen

    function testOperatorNeverAcknowledgesDeposit() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 1, 8 ether, 10 ether, 0, 1);
        deposited(c, 5 ether);
        disputed(c, s);
        settled(c);
        equal(alice.balance, 998 ether, "8 of trading, 5 never acknowledged, all out");
        equal(hub.vaultOf(ETH).balance, 2 ether, "only what was lost");
    }

    function testTraderDepositsJustBeforeDisputeAndTwiceClaims() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 1, 8 ether, 10 ether, 0, 1);
        deposited(c, 7 ether);
        disputed(c, s);
        vm.prank(alice);
        vm.expectRevert(
            abi.encodeWithSelector(IHubEvents.ChannelInDispute.selector, idOf(c), uint40(block.timestamp) + WINDOW)
        );
        hub.deposit{value: 1 ether}(c, 1 ether);
        settled(c);
        equal(alice.balance, 998 ether, "the deposit counts once");
        conserved(ETH, 0, 0);
    }

    function testTraderWithdrawsThenDisputesWithOlderState() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        opened(bobIn(ETH), 10 ether);
        State memory older = stateOf(c, 1, 10 ether, 10 ether, 0, 1);
        hub.withdraw(withdrawalOf(c, 9 ether, alice));
        disputed(c, older);
        settled(c);
        equal(alice.balance, 1000 ether, "9 withdrawn and 1 at exit");
        conserved(ETH, 10 ether, 0);
    }

    function testTraderWithdrawsWinningsThenDisputesWithStateBeforeThem() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        opened(bobIn(ETH), 10 ether);
        funded(ETH, 5 ether);
        hub.withdraw(withdrawalOf(c, 15 ether, alice));
        // By this state 5 were overdrawn: never negative, and nobody else's escrow is touched.
        disputed(c, stateOf(c, 1, 10 ether, 10 ether, 0, 1));
        settled(c);
        equal(alice.balance, 1005 ether, "no more");
        conserved(ETH, 10 ether, 0);
    }

    function testTraderWithdrawsMoreThanThereIs() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        opened(bobIn(ETH), 10 ether);
        funded(ETH, 1 ether);
        Withdrawal memory w = withdrawalOf(c, 12 ether, alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotCovered.selector, 12 ether, 11 ether));
        hub.withdraw(w);
    }

    // ---- solvency

    function testWinnerExitsWithEmptyVault() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        opened(bobIn(ETH), 10 ether);
        disputed(c, stateOf(c, 1, 20 ether, 10 ether, 0, 1));
        settled(c);
        equal(alice.balance, 1000 ether, "own escrow, nobody else's");
        (uint256 left,) = hub.claimOf(c);
        equal(left, 10 ether, "the rest is a claim");
        conserved(ETH, 10 ether, 0);
    }

    function testWinnerClosesWithEmptyVault() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        opened(bobIn(ETH), 10 ether);
        Closing memory x = closingOf(c, 20 ether, 10 ether, 0);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotCovered.selector, 20 ether, 10 ether));
        hub.close(x);
    }

    function testWinnerExitsAfterRebalance() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        Channel memory b = opened(bobIn(ETH), 10 ether);
        rebalanced(b, 1, -10 ether);
        disputed(a, stateOf(a, 1, 20 ether, 10 ether, 0, 1));
        settled(a);
        equal(alice.balance, 1010 ether, "10 of escrow and 10 of the loser");
        // The loser, whose escrow is gone by its own signature, has nothing left by an older state either but a claim.
        disputed(b, stateOf(b, 1, 10 ether, 10 ether, 0, 1));
        settled(b);
        equal(bob.balance, 990 ether, "nobody pays twice");
        conserved(ETH, 0, 0);
    }

    function testTraderRepeatsRebalance() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 10 ether);
        rebalanced(a, 1, 3 ether);
        Rebalancing[] memory items = new Rebalancing[](1);
        items[0] = rebalancingOf(a, 1, 3 ether);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NumberWrong.selector, 2, 1));
        hub.rebalance(items);
        items[0] = rebalancingOf(a, 2, 8 ether);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotCovered.selector, 8 ether, 7 ether));
        hub.rebalance(items);
        items[0] = rebalancingOf(a, 2, -14 ether);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotCovered.selector, 14 ether, 13 ether));
        hub.rebalance(items);
    }

    function testAccompliceOutsideThePostedSumExitsFirst() public {
        Channel memory honest = opened(aliceIn(ETH), 10 ether);
        Channel memory accomplice = opened(bobIn(ETH), 1 ether);
        funded(ETH, 30 ether);
        State memory s = stateOf(honest, 1, 35 ether, 10 ether, 0, 1);
        bytes memory proof = posted(honest, s, 25 ether, others(0, 0), 1);
        // The operator signs its accomplice a state that no posted root contains.
        disputed(accomplice, stateOf(accomplice, 1, 31 ether, 1 ether, 0, 1));
        settled(accomplice);
        equal(bob.balance, 999 ether + 1 ether + 5 ether, "escrow and what was not locked");
        disputedByLeaf(honest, s, proof);
        settled(honest);
        equal(alice.balance, 1025 ether, "the posted winner is paid whole");
        conserved(ETH, 0, 0);
    }

    function testAccompliceOverstatesItsLeaf() public {
        Channel memory honest = opened(aliceIn(ETH), 10 ether);
        Channel memory accomplice = opened(bobIn(ETH), 1 ether);
        funded(ETH, 30 ether);
        State memory h = stateOf(honest, 1, 40 ether, 10 ether, 0, 1);
        State memory b = stateOf(accomplice, 1, 31 ether, 1 ether, 0, 1);
        // One tree of both. The accomplice's leaf says excess 0 though its state needs 30, so that the sum fits the vault.
        SumNode memory hLeaf = SumNode(Trees.sumLeaf(hashOf(honest, h), 40 ether, 30 ether), 40 ether, 30 ether);
        bytes memory proof = posted(accomplice, b, 0, hLeaf, 1);
        disputedByLeaf(accomplice, b, proof);
        equal(hub.channelOf(idOf(accomplice)).security, 0, "a leaf secures what it states, no more");
        settled(accomplice);
        equal(bob.balance, 1000 ether, "own escrow");
        equal(hub.vaultOf(ETH).balance, 30 ether, "the lock is whole");
    }

    function testOperatorDropsWinnerFromTheNextRootAndPaysAccomplice() public {
        Channel memory honest = opened(aliceIn(ETH), 10 ether);
        Channel memory accomplice = opened(bobIn(ETH), 1 ether);
        funded(ETH, 25 ether);
        State memory s = stateOf(honest, 1, 35 ether, 10 ether, 0, 1);
        bytes memory proof = posted(honest, s, 25 ether, others(0, 0), 1);
        disputed(accomplice, stateOf(accomplice, 1, 26 ether, 1 ether, 0, 1));
        vm.warp(block.timestamp + WINDOW - 1);
        // The lock of the replaced root stays for a vault delay at least.
        postedSum(ETH, 0, 2);
        equal(hub.vaultOf(ETH).locked, 25 ether, "still locked");
        vm.warp(block.timestamp + 1);
        hub.settle(accomplice);
        equal(bob.balance, 1000 ether, "own escrow only");
        disputedByLeaf(honest, s, proof);
        settled(honest);
        equal(alice.balance, 1025 ether, "paid whole by the replaced root");
    }

    function testOperatorPostsTwiceToFreeALock() public {
        funded(ETH, 25 ether);
        postedSum(ETH, 25 ether, 1);
        postedSum(ETH, 5 ether, 2);
        postedSum(ETH, 0, 3);
        equal(hub.vaultOf(ETH).locked, 25 ether, "the highest of the period");
        equal(hub.vaultOf(ETH).outstanding, 0, "of the newest root");
    }

    /// @dev A refutation in compact form at the last second would otherwise take the lock from a state that needs less.
    function testOperatorRefutesASecuredStateToUnsecureIt() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 5 ether);
        State memory s = stateOf(c, 1, 15 ether, 10 ether, 0, 1);
        bytes memory proof = posted(c, s, 5 ether, others(0, 0), 1);
        disputedByLeaf(c, s, proof);
        uint256 start = vm.snapshotState();
        refuted(c, stateOf(c, 2, 14 ether, 10 ether, 0, 2));
        equal(hub.channelOf(idOf(c)).security, 1, "needs less: still secured");
        settled(c);
        equal(alice.balance, 1004 ether, "paid whole");
        vm.revertToState(start);
        // One that needs more than what was locked has to show its own leaf.
        refuted(c, stateOf(c, 2, 15 ether + 1, 10 ether, 0, 2));
        equal(hub.channelOf(idOf(c)).security, 0, "no longer");
        settled(c);
        equal(alice.balance, 1000 ether, "own escrow; nothing is unlocked");
    }

    function testTraderSecuresTheDisputedStateByItsLeaf() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 5 ether);
        State memory s = stateOf(c, 1, 15 ether, 10 ether, 0, 1);
        bytes memory proof = posted(c, s, 5 ether, others(0, 0), 1);
        // The operator was first, in the form that secures nothing.
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.prank(operator);
        hub.dispute(c, s, t, o);
        hub.refuteByLeaf(c, s, t, proof);
        equal(hub.channelOf(idOf(c)).security, 1, "secured");
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.VersionNotNewer.selector, 1, 1));
        hub.refuteByLeaf(c, s, t, proof);
        settled(c);
        equal(alice.balance, 1005 ether, "paid whole");
    }

    function testTraderShowsALeafOfARootLongReplaced() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 5 ether);
        State memory s = stateOf(c, 1, 15 ether, 10 ether, 0, 1);
        bytes memory proof = posted(c, s, 5 ether, others(0, 0), 1);
        postedSum(ETH, 5 ether, 2);
        uint256 start = vm.snapshotState();
        vm.warp(block.timestamp + DELAY);
        disputedByLeaf(c, s, proof);
        equal(hub.channelOf(idOf(c)).security, 1, "within one delay");
        vm.revertToState(start);
        vm.warp(block.timestamp + DELAY + 1);
        disputedByLeaf(c, s, proof);
        equal(hub.channelOf(idOf(c)).security, 0, "not after it");
    }

    function testLockOfReplacedRootEnds() public {
        funded(ETH, 25 ether);
        postedSum(ETH, 25 ether, 1);
        vm.warp(block.timestamp + DELAY);
        postedSum(ETH, 5 ether, 2);
        equal(hub.vaultOf(ETH).locked, 25 ether, "one period later: in force until now");
        vm.warp(block.timestamp + DELAY);
        postedSum(ETH, 5 ether, 3);
        equal(hub.vaultOf(ETH).locked, 25 ether, "the period after");
        vm.warp(block.timestamp + DELAY);
        postedSum(ETH, 5 ether, 4);
        equal(hub.vaultOf(ETH).locked, 5 ether, "then free");
    }

    function testTreasuryWithdrawsWhileWinnerDisputes() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 20 ether);
        vm.prank(treasury);
        hub.requestVaultWithdrawal(ETH, 20 ether);
        // A day's window is shorter than the delay: whoever sees the request is out before it is ripe.
        disputed(c, stateOf(c, 1, 15 ether, 10 ether, 0, 1));
        settled(c);
        equal(alice.balance, 1005 ether, "paid before");
        vm.warp(block.timestamp + DELAY - WINDOW);
        vm.prank(treasury);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotCovered.selector, 20 ether, 15 ether));
        hub.withdrawVault(ETH);
    }

    function testTreasuryWithdrawsWhatARootLocks() public {
        funded(ETH, 20 ether);
        vm.prank(treasury);
        hub.requestVaultWithdrawal(ETH, 6 ether);
        vm.warp(block.timestamp + DELAY);
        postedSum(ETH, 15 ether, 1);
        vm.prank(treasury);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotCovered.selector, 6 ether, 5 ether));
        hub.withdrawVault(ETH);
    }

    function testStrangerWithdrawsVault() public {
        funded(ETH, 20 ether);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotTreasury.selector, address(this)));
        hub.requestVaultWithdrawal(ETH, 20 ether);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotTreasury.selector, address(this)));
        hub.withdrawVault(ETH);
    }

    function testOperatorPostsMoreExcessThanTheVaultHas() public {
        funded(ETH, 20 ether);
        SumNode memory root = SumNode(keccak256("root"), 100 ether, 21 ether);
        bytes memory entry = abi.encode(signedEntry(ETH, root, 1));
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ExcessAboveVault.selector, 21 ether, 20 ether));
        hub.post(ETH, root, entry);
    }

    function testRebalanceDoesNotMakeASecuredStateNeedMore() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 5 ether);
        State memory s = stateOf(c, 1, 15 ether, 10 ether, 0, 1);
        bytes memory proof = posted(c, s, 5 ether, others(0, 0), 1);
        disputedByLeaf(c, s, proof);
        Rebalancing[] memory items = new Rebalancing[](1);
        items[0] = rebalancingOf(c, 1, -10 ether);
        vm.expectRevert(
            abi.encodeWithSelector(IHubEvents.ChannelInDispute.selector, idOf(c), uint40(block.timestamp) + WINDOW)
        );
        hub.rebalance(items);
    }

    // ---- legs

    /// @dev Epoch 5 swapped 10 ETH for 10 tokens. The trader wants both sides of it.
    function testTraderCherryPicksLegsAcrossTwoTokens() public {
        Channel memory e = opened(aliceIn(ETH), 10 ether);
        Channel memory t = opened(aliceIn(address(token)), 10 ether);
        funded(ETH, 10 ether);
        funded(address(token), 10 ether);
        (State memory e4, State memory t4) =
            (stateOf(e, 4, 10 ether, 10 ether, 0, 4), stateOf(t, 4, 10 ether, 10 ether, 0, 4));
        (CoSignature memory ce4,) = joined(e, e4, t, t4);
        (State memory e5, State memory t5) = (stateOf(e, 5, 0, 10 ether, 0, 5), stateOf(t, 5, 20 ether, 10 ether, 0, 5));
        (CoSignature memory ce5, CoSignature memory ct5) = joined(e, e5, t, t5);
        Signature memory oe4 = byOperator(e, e4);
        Signature memory oe5 = byOperator(e, e5);
        Signature memory ot5 = byOperator(t, t5);
        vm.prank(alice);
        hub.dispute(e, e4, ce4, oe4);
        vm.prank(alice);
        hub.dispute(t, t5, ct5, ot5);
        // What was just disclosed for the token is the trader's signature over the ETH leg as well.
        hub.refute(e, e5, ce5, oe5);
        settled(e);
        hub.settle(t);
        equal(alice.balance, 990 ether, "no ETH");
        equal(token.balanceOf(alice), 1010 ether, "twenty tokens");
        conserved(ETH, 0, 0);
        conserved(address(token), 0, 0);
    }

    struct Legs {
        IChannelHub second;
        bytes32 secondDomain;
        bytes32 secondId;
        State here;
        State there;
        CoSignature ofHere;
        CoSignature ofThere;
    }

    function testTraderCherryPicksLegsAcrossTwoChains() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Legs memory l = legsOnTwoChains(c);
        Signature memory byOperatorHere = byOperator(c, l.here);
        disputed(c, stateOf(c, 4, 10 ether, 10 ether, 0, 4));
        bytes32 message = Messages.state(Messages.channelState(l.secondId, l.there), l.there.accountRoot);
        Signature memory byOperatorThere = sign(OPERATOR_KEY, Messages.digest(l.secondDomain, message));
        vm.prank(alice);
        vm.recordLogs();
        l.second.dispute(c, l.there, l.ofThere, byOperatorThere);
        // The operator's tower reads the signature from the other chain's event and uses it here.
        l.ofHere.signature = disclosedSignature(l.here);
        hub.refute(c, l.here, l.ofHere, byOperatorHere);
        vm.warp(block.timestamp + WINDOW);
        hub.settle(c);
        l.second.settle(c);
        equal(alice.balance, 1000 ether, "10 + 10 in, 0 + 20 out");
        equal(hub.vaultOf(ETH).balance, 10 ether, "the leg given");
        equal(l.second.vaultOf(ETH).balance, 0, "the leg taken");
    }

    /// @dev Epoch 5 moved all from here to there; both leaves lie under one account root.
    function legsOnTwoChains(Channel memory c) internal returns (Legs memory l) {
        Settings memory other = settings();
        other.lineage = 61;
        l.second = IChannelHub(address(new ChannelHub(other)));
        l.secondDomain = Messages.hubDomain(61, address(l.second));
        l.secondId = Messages.channelId(61, address(l.second), c);
        l.here = stateOf(c, 5, 0, 10 ether, 0, 5);
        l.there = State(5, 20 ether, 10 ether, 0, 5, KIND_TRADING, 0, branch);
        bytes32 leafThere = Trees.leaf(Messages.channelState(l.secondId, l.there));
        bytes32 leafHere = leafOf(c, l.here);
        l.here.accountRoot = Trees.node(leafHere, leafThere);
        l.there.accountRoot = l.here.accountRoot;
        l.ofHere = coSigned(c, l.here);
        l.ofHere.signature = none();
        l.ofHere.path = new bytes32[](1);
        l.ofHere.path[0] = leafThere;
        l.ofThere = coSigned(c, l.there);
        l.ofThere.position = 1;
        l.ofThere.path = new bytes32[](1);
        l.ofThere.path[0] = leafHere;
        vm.prank(alice);
        l.second.open{value: 10 ether}(c.cosigner, ETH, 1, 10 ether);
        l.second.fundVault{value: 10 ether}(ETH, 10 ether);
    }

    function disclosedSignature(State memory s) internal returns (Signature memory) {
        Vm.Log memory disclosed = vm.getRecordedLogs()[0];
        require(disclosed.topics[0] == IHubEvents.Disclosed.selector, "disclosure");
        (uint40 epoch, bytes32 root, bytes32 r, bytes32 vs) =
            abi.decode(disclosed.data, (uint40, bytes32, bytes32, bytes32));
        require(epoch == s.epoch && root == s.accountRoot, "over the same account root");
        return Signature(r, vs);
    }

    /// @dev What remains: a leg disclosed only after the other one is settled. It costs the operator's free vault, which its
    /// limit on un-co-signed exposure keeps above this, and never another trader.
    function testTraderDisclosesOneLegAfterTheOtherSettled() public {
        Channel memory e = opened(aliceIn(ETH), 10 ether);
        Channel memory t = opened(aliceIn(address(token)), 10 ether);
        opened(bobIn(address(token)), 10 ether);
        funded(address(token), 12 ether);
        (State memory e5, State memory t5) = (stateOf(e, 5, 0, 10 ether, 0, 5), stateOf(t, 5, 20 ether, 10 ether, 0, 5));
        (, CoSignature memory ct5) = joined(e, e5, t, t5);
        disputed(e, stateOf(e, 4, 10 ether, 10 ether, 0, 4));
        settled(e);
        Signature memory ot5 = byOperator(t, t5);
        vm.prank(alice);
        hub.dispute(t, t5, ct5, ot5);
        settled(t);
        equal(alice.balance, 1000 ether, "the leg kept");
        equal(token.balanceOf(alice), 1010 ether, "the leg taken");
        equal(hub.vaultOf(address(token)).balance, 2 ether, "at the cost of the operator's free vault");
        conserved(address(token), 10 ether, 0);
    }

    // ---- states nobody agreed to

    function testOperatorExitsByALeafTheTraderNeverSigned() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 9, 0, 10 ether, 0, 9);
        (, bytes memory proof,) = batchWith(c, s, 0, others(1 ether, 0), 9);
        CoSignature memory forged = coSigned(OPERATOR_KEY, s);
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, c.cosigner, operator));
        hub.disputeByLeaf(c, s, forged, proof);
    }

    function testTraderExitsByAStateTheOperatorNeverSigned() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 9, 500 ether, 10 ether, 0, 9);
        CoSignature memory t = coSigned(c, s);
        Signature memory forged = signHub(ALICE_KEY, hashOf(c, s));
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, operator, alice));
        hub.dispute(c, s, t, forged);
    }

    function testTraderRefutesWithOlderState() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        disputed(c, stateOf(c, 5, 3 ether, 10 ether, 0, 5));
        State memory s = stateOf(c, 4, 9 ether, 10 ether, 0, 4);
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.VersionNotNewer.selector, 5, 4));
        hub.refute(c, s, t, o);
        s = stateOf(c, 5, 9 ether, 10 ether, 0, 5);
        (t, o) = (coSigned(c, s), byOperator(c, s));
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.VersionNotNewer.selector, 5, 5));
        hub.refute(c, s, t, o);
        s = stateOf(c, 6, 9 ether, 10 ether, 0, 4);
        (t, o) = (coSigned(c, s), byOperator(c, s));
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.EpochRewinds.selector, 5, 4));
        hub.refute(c, s, t, o);
    }

    function testTraderDisputesBelowItsCheckpoint() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 5, 3 ether, 10 ether, 0, 5);
        hub.checkpoint(c, s, coSigned(c, s), byOperator(c, s));
        s = stateOf(c, 4, 9 ether, 10 ether, 0, 4);
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.VersionNotNewer.selector, 5, 4));
        hub.dispute(c, s, t, o);
    }

    function testSignerOfAnUnknownKindIsRefused() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 1, 10 ether, 10 ether, 0, 1);
        s.kind = 2;
        s.accountRoot = leafOf(c, s);
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.KindUnknown.selector, 2));
        hub.dispute(c, s, t, o);
    }

    function testTraderSettlesOneSecondEarly() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        disputed(c, stateOf(c, 1, 10 ether, 10 ether, 0, 1));
        uint40 deadline = uint40(block.timestamp) + WINDOW;
        vm.warp(deadline - 1);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WindowOpen.selector, deadline));
        hub.settle(c);
    }

    // ---- forks

    function testTraderReplaysOnTheOtherBranchAfterTheIdChanged() public {
        replayOnTheOtherBranch(61);
    }

    function testTraderReplaysOnTheOtherBranchUnderTheSameId() public {
        replayOnTheOtherBranch(31337);
    }

    /// @dev R1: a state under the pin before the split leaves on both sides. R2: one under a later pin on its side only.
    function replayOnTheOtherBranch(uint64 otherId) internal {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory before = stateOf(c, 1, 9 ether, 10 ether, 0, 1);
        uint256 split = vm.snapshotState();

        vm.roll(1100);
        bytes32 ours = hub.pin(1050);
        State memory later = stateOf(c, 2, 4 ether, 10 ether, 0, 2);
        later.branch = ours;
        later.accountRoot = leafOf(c, later);
        disputed(c, before);
        refuted(c, later);
        settled(c);
        equal(alice.balance, 994 ether, "our side: the later state");

        vm.revertToState(split);
        vm.chainId(otherId);
        vm.roll(1100);
        vm.setBlockhash(1050, keccak256("block 1050 of the other side"));
        bytes32 theirs = hub.pin(1050);
        require(theirs != ours, "the sides differ");
        CoSignature memory t = coSigned(c, later);
        Signature memory o = byOperator(c, later);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.BranchUnknown.selector, ours));
        hub.dispute(c, later, t, o);
        disputed(c, before);
        settled(c);
        equal(alice.balance, 999 ether, "other side: the state before the split");
    }

    function testStrangerReplaysCloseAndWithdrawalOnTheOtherBranch() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Closing memory x = closingOf(c, 10 ether, 10 ether, 0);
        x.branch = keccak256("a block of our side");
        signClosing(x);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.BranchUnknown.selector, x.branch));
        hub.close(x);
        Withdrawal memory w = withdrawalOf(c, 1 ether, alice);
        w.branch = x.branch;
        signWithdrawal(w);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.BranchUnknown.selector, x.branch));
        hub.withdraw(w);
    }

    // ---- time

    function testTowerIsOfflineForPartOfTheWindow() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        disputed(c, stateOf(c, 1, 10 ether, 10 ether, 0, 1));
        vm.warp(block.timestamp + WINDOW - 1);
        refuted(c, stateOf(c, 2, 4 ether, 10 ether, 0, 2));
        vm.warp(block.timestamp + 1);
        hub.settle(c);
        equal(alice.balance, 994 ether, "the last second is enough");
    }

    function testTowerIsOfflineForTheWholeWindow() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Channel memory b = opened(bobIn(ETH), 10 ether);
        disputed(c, stateOf(c, 1, 10 ether, 10 ether, 0, 1));
        uint40 deadline = uint40(block.timestamp) + WINDOW;
        vm.warp(deadline);
        State memory newer = stateOf(c, 2, 4 ether, 10 ether, 0, 2);
        CoSignature memory t = coSigned(c, newer);
        Signature memory o = byOperator(c, newer);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WindowOver.selector, deadline));
        hub.refute(c, newer, t, o);
        hub.settle(c);
        equal(alice.balance, 1000 ether, "the old state pays its owner's own escrow");
        equal(held(ETH), 10 ether, "and not the other's");
        b;
    }

    function testBaseFeeTimesTenDuringTheWindow() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        vm.fee(10 gwei);
        disputed(c, stateOf(c, 1, 10 ether, 10 ether, 0, 1));
        uint256 deadline = hub.channelOf(idOf(c)).deadline;
        vm.fee(100 gwei);
        vm.warp(deadline - 1);
        refuted(c, stateOf(c, 2, 4 ether, 10 ether, 0, 2));
        equal(hub.channelOf(idOf(c)).deadline, deadline, "nothing depends on the price of gas");
        vm.warp(deadline);
        hub.settle(c);
        equal(alice.balance, 994 ether, "the newer state");
    }

    function testReorgTakesARefutationBack() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        disputed(c, stateOf(c, 1, 10 ether, 10 ether, 0, 1));
        State memory newer = stateOf(c, 2, 4 ether, 10 ether, 0, 2);
        CoSignature memory t = coSigned(c, newer);
        Signature memory o = byOperator(c, newer);
        uint256 fork = vm.snapshotState();
        hub.refute(c, newer, t, o);
        equal(hub.channelOf(idOf(c)).version, 2, "refuted");
        vm.revertToState(fork);
        vm.roll(1003);
        equal(hub.channelOf(idOf(c)).version, 1, "the block is gone");
        // The same bytes again, by anybody: nothing in them is used up.
        hub.refute(c, newer, t, o);
        settled(c);
        equal(alice.balance, 994 ether, "the newer state");
    }

    function testStrangerEndsAChannelByAKnownState() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 1, 10 ether, 10 ether, 0, 1);
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotParty.selector, stranger));
        hub.dispute(c, s, t, o);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NotParty.selector, stranger));
        hub.disputeRecorded(c);
    }
}
