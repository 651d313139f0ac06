// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Lock} from "lock/Lock.sol";
import "./Scene.sol";
import {BlacklistToken, FeeToken, ReentrantToken} from "./Tokens.sol";
import {ReentrantReceiver, RefusingReceiver} from "./Wallets.sol";

/// @dev Attacks by money that misbehaves: tokens, and receivers.
contract TokensTest is Scene {
    function minted(Token t, address to) internal {
        t.mint(to, 100 ether);
        vm.prank(to);
        t.approve(address(hub), type(uint256).max);
    }

    function testFeeOnTransferTokenIsRefused() public {
        FeeToken t = new FeeToken();
        minted(t, alice);
        address cosigner = vm.addr(ALICE_SIGNS_KEY);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.TokenAmountWrong.selector, 100, 99));
        hub.open(cosigner, address(t), 1, 100);
    }

    function testReentrantTokenDepositsWithinADeposit() public {
        ReentrantToken t = new ReentrantToken();
        minted(t, alice);
        minted(t, address(t));
        Channel memory c = aliceIn(address(t));
        opened(c, 1 ether);
        t.aim(hub, c);
        deposited(c, 1 ether);
        equal(hub.channelOf(idOf(c)).deposited, 2 ether, "counted once");
        equal(bytes4(t.answer()) == Lock.Reentered.selector ? 1 : 0, 1, "refused");
    }

    function testReceiverReentersEveryCallThatPays() public {
        ReentrantReceiver thief = new ReentrantReceiver();
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        opened(bobIn(ETH), 10 ether);
        Withdrawal memory second = withdrawalOf(c, 2 ether, address(thief));
        Closing memory x = closingOf(c, 9 ether, 10 ether, 0);
        bytes[4] memory attacks = [
            abi.encodeCall(hub.withdraw, (second)),
            abi.encodeCall(hub.close, (x)),
            abi.encodeCall(hub.settle, (c)),
            abi.encodeCall(hub.collect, (ETH, address(thief)))
        ];
        uint256 start = vm.snapshotState();
        for (uint256 i = 0; i < attacks.length; ++i) {
            thief.aim(hub, attacks[i]);
            hub.withdraw(withdrawalOf(c, 1 ether, address(thief)));
            // With 50,000 gas the callback gets as far as the lock, and its own call is what fails.
            require(thief.tried(), "called back");
            equal(bytes4(thief.answer()) == Lock.Reentered.selector ? 1 : 0, 1, "refused");
            equal(address(thief).balance, 1 ether, "paid once");
            conserved(ETH, 19 ether, 0);
            vm.revertToState(start);
            start = vm.snapshotState();
        }
    }

    function testReceiverRefusesToBlockItsSettlement() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        RefusingReceiver refuser = new RefusingReceiver();
        Withdrawal memory w = withdrawalOf(c, 4 ether, address(refuser));
        hub.withdraw(w);
        equal(hub.collectable(ETH, address(refuser)), 4 ether, "kept for it");
        equal(held(ETH), 10 ether, "still in the hub");
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.PayoutRefused.selector, address(refuser)));
        refuser.collect(hub, address(refuser));
        refuser.collect(hub, bob);
        equal(bob.balance, 1004 ether, "to where it can be received");
        vm.expectRevert(IHubEvents.NothingToCollect.selector);
        refuser.collect(hub, bob);
    }

    function testTokenRefusesTheOwnerAndSettleGoesOn() public {
        BlacklistToken t = new BlacklistToken();
        minted(t, alice);
        Channel memory c = opened(aliceIn(address(t)), 10 ether);
        t.refuse(alice, true);
        disputed(c, stateOf(c, 1, 7 ether, 10 ether, 0, 1));
        settled(c);
        equal(hub.collectable(address(t), alice), 7 ether, "kept");
        equal(hub.vaultOf(address(t)).balance, 3 ether, "the rest is the vault's");
        vm.prank(alice);
        hub.collect(address(t), bob);
        equal(t.balanceOf(bob), 7 ether, "elsewhere");
    }

    function testGrieferSettlesWithTooLittleGasForThePayout() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        disputed(c, stateOf(c, 1, 10 ether, 10 ether, 0, 1));
        vm.warp(block.timestamp + WINDOW);
        (bool done, bytes memory answer) = address(hub).call{gas: 80_000}(abi.encodeCall(hub.settle, (c)));
        require(!done && bytes4(answer) == IHubEvents.GasTooLow.selector, "the payout is not made to fail");
        hub.settle(c);
        equal(alice.balance, 1000 ether, "paid, not kept");
    }

    function testGrieferDepositsToBreakASignedClose() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Closing memory x = closingOf(c, 8 ether, 10 ether, 0);
        vm.prank(stranger);
        hub.deposit{value: 1}(c, 1);
        hub.close(x);
        equal(alice.balance, 998 ether + 1, "the close stands, the griefer's wei is the trader's");
    }

    function testDepositorSendsTheWrongValue() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ValueWrong.selector, 2, 1));
        hub.deposit{value: 1}(c, 2);
        Channel memory t = opened(aliceIn(address(token)), 10 ether);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.ValueWrong.selector, 0, 1));
        hub.deposit{value: 1}(t, 2);
        vm.expectRevert(IHubEvents.AmountIsZero.selector);
        hub.deposit(c, 0);
        uint256 max = AMOUNT_MAX;
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.AmountTooLarge.selector, max + 10 ether, max));
        hub.deposit{value: 0}(c, uint128(max));
    }

    function testCallerUsesTheAnnexWithoutTheHub() public {
        address annex = ChannelHub(payable(address(hub))).annex();
        vm.expectRevert(IHubEvents.NotTheHub.selector);
        IChannelHub(annex).fundVault{value: 1}(ETH, 1);
        equal(annex.balance, 0, "takes no money");
    }
}
