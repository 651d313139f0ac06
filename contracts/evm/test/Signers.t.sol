// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import "./Scene.sol";
import {LyingWallet, Wallet} from "./Wallets.sol";

/// @dev Attacks by who signs: forged forms, wallets that lie, session keys, successors.
contract SignersTest is Scene {
    uint256 internal constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    // ---- forms

    function testForgerTurnsSignatureToHighS() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory s = stateOf(c, 1, 10 ether, 10 ether, 0, 1);
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        // The other valid s of the same signature, with the parity turned: one bit of it does not fit beside the parity.
        uint256 low = uint256(o.vs) & type(uint256).max >> 1;
        uint256 high = ORDER - low;
        o.vs = bytes32(high & type(uint256).max >> 1 | (1 - (uint256(o.vs) >> 255)) << 255);
        bytes32 digest = Messages.digest(hubDomain, hashOf(c, s));
        uint256 folded = uint256(o.vs) & type(uint256).max >> 1;
        if (folded > 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0) {
            vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureHighS.selector, bytes32(folded)));
        } else {
            address nobody = ecrecover(digest, uint8(27 + (uint256(o.vs) >> 255)), o.r, bytes32(folded));
            vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, operator, nobody));
        }
        vm.prank(alice);
        hub.dispute(c, s, t, o);
    }

    function testForgerGivesSJustAboveHalf() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Closing memory x = closingOf(c, 10 ether, 10 ether, 0);
        bytes32 above = bytes32(uint256(0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A1));
        x.owner.vs = above;
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureHighS.selector, above));
        hub.close(x);
    }

    function testForgerTurnsParityBit() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Closing memory x = closingOf(c, 10 ether, 10 ether, 0);
        x.owner.vs ^= bytes32(uint256(1) << 255);
        address nobody = Signatures.recover(Messages.digest(hubDomain, closingHash(x)), x.owner.r, x.owner.vs);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, alice, nobody));
        hub.close(x);
    }

    function testForgerGivesZeros() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Closing memory x = closingOf(c, 10 ether, 10 ether, 0);
        x.owner = none();
        vm.expectRevert(Signatures.SignatureInvalid.selector);
        hub.close(x);
    }

    function testSignatureOf65BytesIsRefused() public {
        Channel memory c = aliceIn(ETH);
        bytes32 message = keccak256(abi.encode(Messages.OPENING, c.owner, c.cosigner, c.token, c.nonce));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ALICE_KEY, Messages.digest(hubDomain, message));
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureLength.selector, 65));
        hub.openFor(c, 0, abi.encodePacked(r, s, v));
        hub.openFor(c, 0, bytesOf(signHub(ALICE_KEY, message)));
    }

    // ---- contract wallets

    function testLyingWalletSaysYesToItsOwnChannelOnly() public {
        LyingWallet liar = new LyingWallet();
        opened(bobIn(ETH), 10 ether);
        Channel memory c = Channel(address(liar), vm.addr(ALICE_SIGNS_KEY), ETH, 1);
        hub.openFor{value: 1 ether}(c, 1 ether, "anything");
        // It is not asked for withdrawals, closes or states.
        Closing memory x =
            Closing(c, 11 ether, 1 ether, 0, stranger, branch, uint40(block.timestamp) + 1, none(), none());
        vm.expectRevert(Signatures.SignatureInvalid.selector);
        hub.close(x);
        conserved(ETH, 11 ether, 0);
    }

    function testLyingWalletBurnsGas() public {
        LyingWallet liar = new LyingWallet();
        liar.lie(1);
        Channel memory c = Channel(address(liar), vm.addr(1), ETH, 1);
        uint256 before = gasleft();
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.OwnerRefused.selector, address(liar)));
        hub.openFor(c, 0, "anything");
        require(before - gasleft() < 150_000, "bounded by the gas given");
    }

    function testLyingWalletReturnsTooMuchOrTooLittle() public {
        LyingWallet liar = new LyingWallet();
        Channel memory c = Channel(address(liar), vm.addr(1), ETH, 1);
        for (uint256 mode = 2; mode < 5; ++mode) {
            liar.lie(mode);
            uint256 before = gasleft();
            vm.expectRevert(abi.encodeWithSelector(IHubEvents.OwnerRefused.selector, address(liar)));
            hub.openFor(c, 0, "anything");
            require(before - gasleft() < 150_000, "nothing is copied");
        }
    }

    function testOwnerOfTheWalletIsRotatedBetweenSigningAndDispute() public {
        Wallet wallet = new Wallet(alice);
        vm.deal(address(wallet), 10 ether);
        Channel memory c = Channel(address(wallet), vm.addr(BOB_SIGNS_KEY), ETH, 1);
        bytes memory opening =
            bytesOf(signHub(ALICE_KEY, keccak256(abi.encode(Messages.OPENING, c.owner, c.cosigner, c.token, c.nonce))));
        hub.openFor{value: 10 ether}(c, 10 ether, opening);
        State memory s = stateOf(c, 1, 6 ether, 10 ether, 0, 1);
        CoSignature memory t = coSigned(BOB_SIGNS_KEY, s);
        Signature memory o = byOperator(c, s);
        wallet.rotate(bob);
        // States stand on the co-signer key alone.
        vm.prank(c.cosigner);
        hub.dispute(c, s, t, o);
        settled(c);
        equal(address(wallet).balance, 16 ether, "6 come back to the wallet");
        c.nonce = 2;
        opening =
            bytesOf(signHub(ALICE_KEY, keccak256(abi.encode(Messages.OPENING, c.owner, c.cosigner, c.token, c.nonce))));
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.OwnerRefused.selector, address(wallet)));
        hub.openFor(c, 0, opening);
    }

    function testWalletOpensAndClosesByItsOwnCalls() public {
        Wallet wallet = new Wallet(alice);
        vm.deal(address(wallet), 10 ether);
        Channel memory c = Channel(address(wallet), vm.addr(BOB_SIGNS_KEY), ETH, 1);
        wallet.call(address(hub), 10 ether, abi.encodeCall(hub.open, (c.cosigner, ETH, 1, 10 ether)));
        Closing memory x =
            Closing(c, 10 ether, 10 ether, 0, c.owner, branch, uint40(block.timestamp) + 1, none(), none());
        x.operator = signHub(OPERATOR_KEY, closingHash(x));
        wallet.call(address(hub), 0, abi.encodeCall(hub.close, (x)));
        equal(address(wallet).balance, 10 ether, "back");
    }

    // ---- session keys

    function grantFor(Channel memory c, uint40 first, uint40 last, uint128 floor, uint128 outflow)
        internal
        view
        returns (Grant memory g)
    {
        g = Grant({
            session: vm.addr(SESSION_KEY),
            expiry: uint40(block.timestamp) + 1 hours,
            firstEpoch: first,
            lastEpoch: last,
            floor: floor,
            startBase: 0,
            outflow: outflow,
            position: 0,
            path: new bytes32[](0),
            signature: none()
        });
        bytes32 limits = Trees.limits(idOf(c), floor, 0, outflow);
        g.signature = signVenue(
            cosignerKey(c),
            keccak256(abi.encode(Messages.GRANT, uint64(7), g.session, g.expiry, g.firstEpoch, g.lastEpoch, limits))
        );
    }

    function bySession(State memory s, Grant memory g) internal view returns (CoSignature memory t) {
        t = coSigned(SESSION_KEY, s);
        t.grant = abi.encode(g);
    }

    function testGrantExpiresBetweenSigningAndDispute() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Grant memory g = grantFor(c, 1, 100, 5 ether, 5 ether);
        State memory s = stateOf(c, 1, 6 ether, 10 ether, 0, 50);
        CoSignature memory t = bySession(s, g);
        Signature memory o = byOperator(c, s);
        // An older state that the owner would rather exit by, a year after the grant ended.
        vm.warp(block.timestamp + 365 days);
        vm.prank(alice);
        hub.disputeRecorded(c);
        hub.refute(c, s, t, o);
        settled(c);
        equal(alice.balance, 996 ether, "what was valid when signed stays so");
    }

    function testStolenSessionKeyAndOperatorTakeWhatTheGrantAllows() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Grant memory g = grantFor(c, 10, 20, 7 ether, 3 ether);
        State memory s = stateOf(c, 1, 7 ether - 1, 10 ether, 0, 15);
        CoSignature memory t = bySession(s, g);
        Signature memory o = byOperator(c, s);
        vm.expectRevert(abi.encodeWithSelector(IProofs.BelowFloor.selector, 7 ether - 1, 7 ether));
        hub.checkpoint(c, s, t, o);
        // A deposit later does not widen it: the outflow counts from what was paid in.
        deposited(c, 10 ether);
        s = stateOf(c, 1, 17 ether - 1, 20 ether, 0, 15);
        (t, o) = (bySession(s, g), byOperator(c, s));
        vm.expectRevert(abi.encodeWithSelector(IProofs.OutflowExceeded.selector, -int256(3 ether) - 1, 0, 3 ether));
        hub.checkpoint(c, s, t, o);
        s = stateOf(c, 1, 20 ether, 20 ether, 0, 21);
        (t, o) = (bySession(s, g), byOperator(c, s));
        vm.expectRevert(abi.encodeWithSelector(IProofs.EpochOutsideGrant.selector, 21, 10, 20));
        hub.checkpoint(c, s, t, o);
        s = stateOf(c, 1, 17 ether, 20 ether, 0, 15);
        (t, o) = (bySession(s, g), byOperator(c, s));
        vm.prank(operator);
        hub.dispute(c, s, t, o);
        settled(c);
        equal(alice.balance, 997 ether, "three of twenty: the outflow, no more");
    }

    function testOwnersCheckpointEndsBackdatedSessionStates() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Grant memory g = grantFor(c, 10, 20, 0, 10 ether);
        // Revoked, then the trader's own key signs one state of a later epoch and puts it on chain.
        State memory own = stateOf(c, 5, 10 ether, 10 ether, 0, 30);
        hub.checkpoint(c, own, coSigned(c, own), byOperator(c, own));
        State memory s = stateOf(c, 6, 0, 10 ether, 0, 15);
        CoSignature memory t = bySession(s, g);
        Signature memory o = byOperator(c, s);
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.EpochRewinds.selector, 30, 15));
        hub.dispute(c, s, t, o);
    }

    function testSessionKeySignsForAChannelOutsideItsGrant() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Channel memory other = aliceIn(ETH);
        other.nonce = 2;
        opened(other, 10 ether);
        Grant memory g = grantFor(c, 1, 100, 0, 10 ether);
        State memory s = stateOf(other, 1, 0, 10 ether, 0, 50);
        CoSignature memory t = bySession(s, g);
        Signature memory o = byOperator(other, s);
        bytes32 limits = Trees.limits(idOf(other), 0, 0, 10 ether);
        bytes32 message =
            keccak256(abi.encode(Messages.GRANT, uint64(7), g.session, g.expiry, g.firstEpoch, g.lastEpoch, limits));
        address nobody = Signatures.recover(Messages.digest(venueDomain, message), g.signature.r, g.signature.vs);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, other.cosigner, nobody));
        hub.checkpoint(other, s, t, o);
    }

    function testSessionKeyWithdraws() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        Withdrawal memory w = withdrawalOf(c, 1 ether, stranger);
        bytes32 message =
            keccak256(abi.encode(Messages.WITHDRAWAL, idOf(c), w.withdrawn, w.recipient, w.branch, w.deadline));
        w.owner = signHub(SESSION_KEY, message);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, alice, vm.addr(SESSION_KEY)));
        hub.withdraw(w);
        // Nor does the co-signer.
        w.owner = signHub(ALICE_SIGNS_KEY, message);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.WrongSigner.selector, alice, c.cosigner));
        hub.withdraw(w);
    }

    function testTraderRevokesToUnmakeALostState() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 1);
        postedSum(ETH, 0, 40);
        Grant memory g = grantFor(c, 1, 1_000_000, 0, 10 ether);
        State memory s = stateOf(c, 1, 2 ether, 10 ether, 0, 50);
        CoSignature memory t = bySession(s, g);
        Signature memory o = byOperator(c, s);
        vm.warp(block.timestamp + 60);
        // Ten epochs a second, since one anchor before the newest root was posted.
        uint256 earliest = 40 + 1 + (60 + 1 hours) * 10;
        vm.prank(c.cosigner);
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.RevocationTooEarly.selector, earliest, 50));
        hub.revoke(g.session, 50, none());
        vm.prank(c.cosigner);
        hub.revoke(g.session, uint40(earliest), none());
        hub.checkpoint(c, s, t, o);
        equal(hub.channelOf(idOf(c)).version, 1, "earlier states stand");
        s = stateOf(c, 2, 1 ether, 10 ether, 0, uint40(earliest));
        (t, o) = (bySession(s, g), byOperator(c, s));
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.SessionRevoked.selector, g.session, earliest, earliest));
        hub.checkpoint(c, s, t, o);
    }

    function testRevocationWithTheOperatorsConsentIsImmediate() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        funded(ETH, 1);
        postedSum(ETH, 0, 40);
        address session = vm.addr(SESSION_KEY);
        bytes32 message = keccak256(abi.encode(Messages.REVOCATION, c.cosigner, session, uint40(41)));
        vm.prank(c.cosigner);
        hub.revoke(session, 41, signVenue(OPERATOR_KEY, message));
        equal(hub.revocationOf(c.cosigner, session), 41, "from the next epoch on");
        vm.prank(c.cosigner);
        hub.revoke(session, 10_000_000, none());
        equal(hub.revocationOf(c.cosigner, session), 41, "never put off");
    }

    // ---- successors

    /// @dev Naming another co-signer does not unmake what the old one signed: the operator has a window to record it.
    function testTraderNamesANewCosignerToUnmakeALostState() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        State memory lost = stateOf(c, 3, 1 ether, 10 ether, 0, 3);
        CosignerChange memory change = CosignerChange(c, vm.addr(0xC0), 1, branch, uint40(block.timestamp) + 1, "");
        vm.prank(alice);
        hub.changeCosigner(change);
        vm.warp(block.timestamp + WINDOW - 1);
        hub.checkpoint(c, lost, coSigned(c, lost), byOperator(c, lost));
        vm.warp(block.timestamp + 1);
        vm.prank(alice);
        hub.disputeRecorded(c);
        settled(c);
        equal(alice.balance, 991 ether, "the recorded state");
    }

    function testCosignerNamesItsSuccessor() public {
        Channel memory c = opened(aliceIn(ETH), 10 ether);
        CosignerChange memory change = CosignerChange(c, stranger, 1, branch, uint40(block.timestamp) + 1, "");
        change.owner = bytesOf(
            signHub(
                ALICE_SIGNS_KEY,
                keccak256(
                    abi.encode(Messages.COSIGNER_CHANGE, idOf(c), stranger, change.number, branch, change.deadline)
                )
            )
        );
        vm.expectRevert(abi.encodeWithSelector(IHubEvents.OwnerRefused.selector, alice));
        hub.changeCosigner(change);
    }
}
