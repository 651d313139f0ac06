// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import "./Scene.sol";

/// @dev The lawful paths, each in ETH and in a token, with exact balances.
contract FlowTest is Scene {
    function testDepositWithdrawCloseInEth() public {
        depositWithdrawClose(ETH);
    }

    function testDepositWithdrawCloseInToken() public {
        depositWithdrawClose(address(token));
    }

    function depositWithdrawClose(address asset) internal {
        uint256 before = balanceOf(asset, alice);
        Channel memory c = opened(aliceIn(asset), 10 ether);
        deposited(c, 5 ether);
        hub.withdraw(withdrawalOf(c, 4 ether, bob));
        equal(balanceOf(asset, bob), 1004 ether, "recipient's balance");
        // Signed when 10 of 15 deposited and nothing withdrawn was seen; traded down by 3.
        hub.close(closingOf(c, 7 ether, 10 ether, 0));
        equal(balanceOf(asset, alice), before - 15 ether + 8 ether, "7 + 5 - 4 come back");
        equal(hub.vaultOf(asset).balance, 3 ether, "the loss is the vault's");
        conserved(asset, 0, 0);
    }

    function testDisputeRefuteSettleInEth() public {
        disputeRefuteSettle(ETH);
    }

    function testDisputeRefuteSettleInToken() public {
        disputeRefuteSettle(address(token));
    }

    function disputeRefuteSettle(address asset) internal {
        uint256 before = balanceOf(asset, alice);
        Channel memory c = opened(aliceIn(asset), 10 ether);
        disputed(c, stateOf(c, 1, 12 ether, 10 ether, 0, 1));
        refuted(c, stateOf(c, 2, 6 ether, 10 ether, 0, 2));
        settled(c);
        equal(balanceOf(asset, alice), before - 4 ether, "the newer state decides");
        conserved(asset, 0, 0);
    }

    function testVersionZeroLeavesAChannelThatWasNeverSigned() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        vm.prank(alice);
        hub.disputeRecorded(c);
        settled(c);
        equal(alice.balance, 1000 ether, "all of it comes back");
    }

    function testWinnerIsPaidFromTheVaultAndLoserRefillsIt() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        Channel memory b = opened(bobIn(ETH), 10 ether);
        funded(ETH, 1 ether);
        disputed(a, stateOf(a, 1, 14 ether, 10 ether, 0, 1));
        settled(a);
        equal(alice.balance, 1001 ether, "10 of escrow, 1 of the vault");
        (uint256 left, uint256 paid) = hub.claimOf(a);
        equal(left, 3 ether, "claim");
        equal(paid, 0, "nothing came in yet");
        disputed(b, stateOf(b, 1, 6 ether, 10 ether, 0, 1));
        settled(b);
        equal(bob.balance, 996 ether, "loser's rest");
        (left, paid) = hub.claimOf(a);
        equal(paid, 3 ether, "loser's escrow funded the claim first");
        equal(hub.vaultOf(ETH).balance, 1 ether, "and then the vault");
        conserved(ETH, 0, 3 ether);
        hub.collectClaim(a);
        equal(alice.balance, 1004 ether, "claim paid");
        vm.expectRevert(IHubEvents.NothingToCollect.selector);
        hub.collectClaim(a);
    }

    function testClaimsArePaidInOrder() public {
        Channel memory a = opened(aliceIn(ETH), 1 ether);
        Channel memory b = opened(bobIn(ETH), 1 ether);
        disputed(a, stateOf(a, 1, 4 ether, 1 ether, 0, 1));
        disputed(b, stateOf(b, 1, 6 ether, 1 ether, 0, 1));
        settled(a);
        hub.settle(b);
        funded(ETH, 4 ether);
        hub.collectClaim(a);
        hub.collectClaim(b);
        equal(alice.balance, 1003 ether, "first in line: all");
        equal(bob.balance, 1001 ether, "second: what was left");
        funded(ETH, 10 ether);
        hub.collectClaim(b);
        equal(bob.balance, 1005 ether, "the rest");
        equal(hub.vaultOf(ETH).balance, 6 ether, "what no claim needed");
        equal(hub.vaultOf(ETH).owed, 0, "no claim open");
    }

    function testCheckpointThenExitByIt() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 5, 8 ether, 10 ether, 0, 5);
        hub.checkpoint(c, s, coSigned(c, s), byOperator(c, s));
        deposited(c, 1 ether);
        vm.prank(alice);
        hub.disputeRecorded(c);
        settled(c);
        equal(alice.balance, 998 ether, "8 + 1 of 11");
    }

    function testLeafFormsDisputeAndRefute() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 50 ether);
        State memory s = stateOf(c, 1, 15 ether, 10 ether, 0, 1);
        bytes memory proof = posted(c, s, 5 ether, others(100 ether, 20 ether), 3);
        equal(hub.vaultOf(ETH).locked, 25 ether, "sum of excess is locked");
        disputedByLeaf(c, s, proof);
        equal(hub.channelOf(idOf(c)).security, 1, "secured by the first root");
        State memory newer = stateOf(c, 2, 14 ether, 10 ether, 0, 4);
        bytes memory newerProof = posted(c, newer, 4 ether, others(100 ether, 20 ether), 4);
        hub.refuteByLeaf(c, newer, coSigned(c, newer), newerProof);
        settled(c);
        equal(alice.balance, 1004 ether, "14 of 10");
        equal(hub.vaultOf(ETH).balance, 46 ether, "vault paid the excess");
        equal(hub.vaultOf(ETH).outstanding, 20 ether, "others' excess");
    }

    function testCheckpointByLeaf() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 3, 7 ether, 10 ether, 0, 1);
        (, bytes memory proof,) = batchWith(c, s, 0, others(1 ether, 0), 2);
        hub.checkpointByLeaf(c, s, coSigned(c, s), proof);
        equal(hub.channelOf(idOf(c)).version, 3, "recorded without a post");
    }

    function testBatchOfClosesSkipsWhatIsClosed() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        Channel memory b = opened(bobIn(ETH), 10 ether);
        Closing[] memory items = new Closing[](2);
        items[0] = closingOf(a, 10 ether, 10 ether, 0);
        items[1] = closingOf(b, 9 ether, 10 ether, 0);
        hub.close(items[0]);
        vm.expectEmit(address(hub));
        emit IHubEvents.Skipped(idOf(a), IHubEvents.ChannelClosed.selector);
        hub.closeBatch(items);
        equal(alice.balance, 1000 ether, "once");
        equal(bob.balance, 999 ether, "the other went on");
        conserved(ETH, 0, 0);
    }

    function testBatchOfWithdrawalsSkipsWhatIsUsed() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        Channel memory b = opened(bobIn(ETH), 10 ether);
        Withdrawal[] memory items = new Withdrawal[](2);
        items[0] = withdrawalOf(a, 1 ether, alice);
        items[1] = withdrawalOf(b, 2 ether, bob);
        hub.withdraw(items[0]);
        hub.withdrawBatch(items);
        equal(alice.balance, 991 ether, "once");
        equal(bob.balance, 992 ether, "the other went on");
    }

    function testRebalanceMovesALoserEscrowToAWinner() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        Channel memory b = opened(bobIn(ETH), 10 ether);
        rebalanced(b, 1, -4 ether);
        equal(hub.vaultOf(ETH).balance, 4 ether, "from loser");
        rebalanced(a, 1, 4 ether);
        equal(hub.vaultOf(ETH).balance, 0, "to winner");
        hub.close(closingOf(a, 14 ether, 10 ether, 0));
        hub.close(closingOf(b, 6 ether, 10 ether, 0));
        equal(alice.balance, 1004 ether, "winner");
        equal(bob.balance, 996 ether, "loser");
        equal(held(ETH), 0, "nothing is left");
    }

    function testWithdrawalOfWinningsTakesTheUnlockedVault() public {
        Channel memory a = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 5 ether);
        hub.withdraw(withdrawalOf(a, 13 ether, alice));
        equal(alice.balance, 1003 ether, "winnings out");
        equal(hub.vaultOf(ETH).balance, 2 ether, "vault");
        hub.close(closingOf(a, 1 ether, 10 ether, 13 ether));
        equal(alice.balance, 1004 ether, "and one more");
        conserved(ETH, 0, 0);
    }

    function testOwnersOwnTransactionIsItsSignature() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Closing memory x = closingOf(c, 10 ether, 10 ether, 0);
        x.owner = none();
        vm.prank(alice);
        hub.close(x);
        equal(alice.balance, 1000 ether, "closed");
    }

    function testCosignerChangeCountsAfterAWindow() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        CosignerChange memory change =
            CosignerChange(c, vm.addr(0xC0), 1, branch, uint40(block.timestamp) + 2 * WINDOW, "");
        bytes32 message = keccak256(
            abi.encode(Messages.COSIGNER_CHANGE, idOf(c), change.cosigner, change.number, branch, change.deadline)
        );
        change.owner = bytesOf(signHub(ALICE_KEY, message));
        hub.changeCosigner(change);
        require(hub.cosignerOf(c) == c.cosigner, "not at once");
        vm.warp(block.timestamp + WINDOW - 1);
        require(hub.cosignerOf(c) == c.cosigner, "not a second early");
        vm.warp(block.timestamp + 1);
        require(hub.cosignerOf(c) == vm.addr(0xC0), "after one window");
        State memory s = stateOf(c, 1, 10 ether, 10 ether, 0, 1);
        CoSignature memory old = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, vm.addr(0xC0), c.cosigner));
        hub.checkpoint(c, s, old, o);
        hub.checkpoint(c, s, coSigned(0xC0, s), o);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.NumberWrong.selector, 2, 1));
        hub.changeCosigner(change);
    }

    function testOpenForWithTheOwnersSignature() public {
        Channel memory c = aliceIn(address(token));
        bytes memory signature =
            bytesOf(signHub(ALICE_KEY, keccak256(abi.encode(Messages.OPENING, c.owner, c.cosigner, c.token, c.nonce))));
        hub.openFor(c, 3 ether, signature);
        equal(hub.channelOf(idOf(c)).deposited, 3 ether, "the payer is the caller");
        equal(token.balanceOf(alice), 1000 ether, "not the owner");
    }

    function testVaultWithdrawalAfterTheDelay() public {
        funded(ETH, 10 ether);
        vm.startPrank(treasury);
        hub.requestVaultWithdrawal(ETH, 6 ether);
        uint256 from = block.timestamp + DELAY;
        vm.warp(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.TooEarly.selector, from));
        hub.withdrawVault(ETH);
        vm.warp(from);
        hub.withdrawVault(ETH);
        equal(treasury.balance, 1006 ether, "out");
        vm.expectRevert(IHubEvents.AmountIsZero.selector);
        hub.withdrawVault(ETH);
        hub.requestVaultWithdrawal(ETH, 1 ether);
        vm.warp(block.timestamp + DELAY + WINDOW + 1);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.TooLate.selector, block.timestamp - 1));
        hub.withdrawVault(ETH);
    }

    function testPinReachesBack256BlocksAndFurtherWithHistory() public {
        vm.roll(1300);
        bytes32 id = hub.pin(1287);
        require(id == blockhash(1287), "a pin is the block's hash");
        equal(hub.pins(id), 1288, "number + 1");
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.BlockNotConfirmed.selector, 1288, 1301));
        hub.pin(1288);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.BlockOutOfReach.selector, 1043));
        hub.pin(1043);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.BlockOutOfReach.selector, 1300));
        hub.pin(1300);
    }

    function testPinReadsTheHistoryContractWhereThereIsOne() public {
        // Answers keccak256 of the number, as the system contract answers the block's hash (EIP-2935).
        vm.etch(0x0000F90827F1C53a10cb7A02335B175320002935, hex"60206000600037602060002060005260206000f3");
        Settings memory s = settings();
        (s.pinEvery, s.confirmations) = (7000, 1191);
        hub = IChannelHub(address(new ChannelHub(s)));
        vm.roll(9000);
        require(hub.pin(2000) == keccak256(abi.encode(2000)), "asked for what blockhash does not reach");
        s.confirmations = 1192;
        vm.expectRevert(
            abi.encodeWithSelector(
                IHubEvents.ConfigInvalid.selector, "pinEvery + confirmations is beyond the block hashes the chain keeps"
            )
        );
        new ChannelHub(s);
    }

    function testConstructorRefusesUnsafeSettings() public {
        Settings memory s = settings();
        s.window = 4 * s.anchor - 1;
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ConfigInvalid.selector, "window is under four anchors"));
        new ChannelHub(s);
        s = settings();
        s.vaultDelay = s.window;
        vm.expectRevert(
            abi.encodeWithSelector(IHubEvents.ConfigInvalid.selector, "vaultDelay is not longer than window")
        );
        new ChannelHub(s);
        s = settings();
        s.pinEvery = 8192;
        vm.expectRevert(
            abi.encodeWithSelector(
                IHubEvents.ConfigInvalid.selector, "pinEvery + confirmations is beyond the block hashes the chain keeps"
            )
        );
        new ChannelHub(s);
    }

    function testPlainEthIsRefused() public {
        (bool sent,) = address(hub).call{value: 1 ether}("");
        require(!sent, "plain ETH");
        equal(held(ETH), 0, "nothing kept");
    }
}
