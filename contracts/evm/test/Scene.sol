// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ChannelHub} from "../src/ChannelHub.sol";
import {IChannelHub, IHubEvents} from "../src/IChannelHub.sol";
import {IProofs} from "../src/IProofs.sol";
import {Messages} from "../src/Messages.sol";
import {Signatures} from "../src/Signatures.sol";
import {Trees} from "../src/Trees.sol";
import "../src/Types.sol";
import {Token} from "./Tokens.sol";
import {Vm} from "./Vm.sol";

/// @dev A hub, its operator, two traders, a token; and what they sign.
abstract contract Scene {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant OPERATOR_KEY = 0x0123;
    uint256 internal constant ALICE_KEY = 0xA11CE;
    uint256 internal constant ALICE_SIGNS_KEY = 0xA11CE51;
    uint256 internal constant BOB_KEY = 0xB0B;
    uint256 internal constant BOB_SIGNS_KEY = 0xB0B51;
    uint256 internal constant SESSION_KEY = 0x5E55;

    address internal operator = vm.addr(OPERATOR_KEY);
    address internal treasury = address(0x77EA);
    address internal alice = vm.addr(ALICE_KEY);
    address internal bob = vm.addr(BOB_KEY);
    address internal stranger = address(0x5742);

    uint40 internal constant WINDOW = 24 hours;
    uint40 internal constant DELAY = 25 hours;
    uint40 internal constant GRACE = 7 days;
    uint256 internal constant LINEAGE = 1;
    bytes32 internal constant VENUE = keccak256("venue under test");
    address internal constant ETH = address(0);

    IChannelHub internal hub;
    Token internal token;
    bytes32 internal branch;
    bytes32 internal hubDomain;
    bytes32 internal venueDomain;

    function settings() internal view returns (Settings memory) {
        return Settings({
            lineage: LINEAGE,
            venue: VENUE,
            operator: operator,
            treasury: treasury,
            anchor: 1 hours,
            window: WINDOW,
            grace: GRACE,
            vaultDelay: DELAY,
            pinEvery: 100,
            confirmations: 12,
            firstEpoch: 0
        });
    }

    function setUp() public virtual {
        vm.roll(1000);
        vm.warp(1_800_000_000);
        hub = IChannelHub(address(new ChannelHub(settings())));
        branch = blockhash(999);
        hubDomain = Messages.hubDomain(LINEAGE, address(hub));
        venueDomain = Messages.venueDomain(VENUE);
        token = new Token();
        address[6] memory all = [operator, treasury, alice, bob, stranger, address(this)];
        for (uint256 i = 0; i < all.length; ++i) {
            vm.deal(all[i], 1000 ether);
            token.mint(all[i], 1000 ether);
            vm.prank(all[i]);
            token.approve(address(hub), type(uint256).max);
        }
    }

    // ---- channels

    function aliceIn(address asset) internal view returns (Channel memory) {
        return Channel(alice, vm.addr(ALICE_SIGNS_KEY), asset, 1);
    }

    function bobIn(address asset) internal view returns (Channel memory) {
        return Channel(bob, vm.addr(BOB_SIGNS_KEY), asset, 1);
    }

    function cosignerKey(Channel memory c) internal view returns (uint256) {
        return c.owner == alice ? ALICE_SIGNS_KEY : BOB_SIGNS_KEY;
    }

    function ownerKey(Channel memory c) internal view returns (uint256) {
        return c.owner == alice ? ALICE_KEY : BOB_KEY;
    }

    function idOf(Channel memory c) internal view returns (bytes32) {
        return Messages.channelId(LINEAGE, address(hub), c);
    }

    function opened(Channel memory c, uint128 amount) internal returns (Channel memory) {
        vm.prank(c.owner);
        hub.open{value: c.token == ETH ? amount : 0}(c.cosigner, c.token, c.nonce, amount);
        return c;
    }

    function deposited(Channel memory c, uint128 amount) internal {
        vm.prank(c.owner);
        hub.deposit{value: c.token == ETH ? amount : 0}(c, amount);
    }

    function funded(address asset, uint128 amount) internal {
        vm.prank(operator);
        hub.fundVault{value: asset == ETH ? amount : 0}(asset, amount);
    }

    function held(address asset) internal view returns (uint256) {
        return balanceOf(asset, address(hub));
    }

    function balanceOf(address asset, address account) internal view returns (uint256) {
        return asset == ETH ? account.balance : Token(asset).balanceOf(account);
    }

    // ---- signatures

    function sign(uint256 key, bytes32 digest) internal pure returns (Signature memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return Signature(r, bytes32(uint256(s) | uint256(v - 27) << 255));
    }

    function none() internal pure returns (Signature memory) {
        return Signature(0, 0);
    }

    function bytesOf(Signature memory s) internal pure returns (bytes memory) {
        return abi.encodePacked(s.r, s.vs);
    }

    function signHub(uint256 key, bytes32 structHash) internal view returns (Signature memory) {
        return sign(key, Messages.digest(hubDomain, structHash));
    }

    function signVenue(uint256 key, bytes32 structHash) internal view returns (Signature memory) {
        return sign(key, Messages.digest(venueDomain, structHash));
    }

    // ---- states

    /// @dev A state of an account with this one channel: its root is the state's own leaf.
    function stateOf(
        Channel memory c,
        uint40 version,
        uint128 balance,
        uint128 depositedSeen,
        uint128 withdrawnSeen,
        uint40 epoch
    ) internal view returns (State memory s) {
        s = State(version, balance, depositedSeen, withdrawnSeen, epoch, KIND_TRADING, 0, branch);
        s.accountRoot = leafOf(c, s);
    }

    function leafOf(Channel memory c, State memory s) internal view returns (bytes32) {
        return Trees.leaf(Messages.channelState(idOf(c), s));
    }

    function hashOf(Channel memory c, State memory s) internal view returns (bytes32) {
        return Messages.state(Messages.channelState(idOf(c), s), s.accountRoot);
    }

    function coSigned(uint256 key, State memory s) internal view returns (CoSignature memory) {
        return CoSignature(7, 0, new bytes32[](0), signVenue(key, Messages.accountState(7, s.epoch, s.accountRoot)), "");
    }

    function coSigned(Channel memory c, State memory s) internal view returns (CoSignature memory) {
        return coSigned(cosignerKey(c), s);
    }

    function byOperator(Channel memory c, State memory s) internal view returns (Signature memory) {
        return signHub(OPERATOR_KEY, hashOf(c, s));
    }

    /// @dev Puts two states under one account root.
    function joined(Channel memory a, State memory sa, Channel memory b, State memory sb)
        internal
        view
        returns (CoSignature memory ta, CoSignature memory tb)
    {
        (bytes32 la, bytes32 lb) = (leafOf(a, sa), leafOf(b, sb));
        bytes32 root = Trees.node(la, lb);
        (sa.accountRoot, sb.accountRoot) = (root, root);
        ta = coSigned(a, sa);
        tb = coSigned(a, sb);
        (ta.path, tb.path) = (new bytes32[](1), new bytes32[](1));
        (ta.path[0], tb.path[0], tb.position) = (lb, la, 1);
    }

    function disputed(Channel memory c, State memory s) internal {
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.prank(c.owner);
        hub.dispute(c, s, t, o);
    }

    function refuted(Channel memory c, State memory s) internal {
        hub.refute(c, s, coSigned(c, s), byOperator(c, s));
    }

    function settled(Channel memory c) internal {
        vm.warp(block.timestamp + WINDOW);
        hub.settle(c);
    }

    // ---- batches

    /// @dev A tree of two leaves: this state's, and one that stands for all other channels.
    function batchWith(Channel memory c, State memory s, uint128 excess, SumNode memory rest, uint40 epoch)
        internal
        view
        returns (SumNode memory root, bytes memory leafProof, bytes memory entryProof)
    {
        LeafProof memory p;
        p.excess = excess;
        SumNode[] memory path = new SumNode[](1);
        path[0] = rest;
        p.path = packed(path);
        root = rootOf(SumNode(Trees.sumLeaf(hashOf(c, s), s.balance, excess), s.balance, excess), 0, path);
        p.entry = signedEntry(c.token, root, epoch);
        return (root, abi.encode(p), abi.encode(p.entry));
    }

    /// @dev The sum tree once more, by its definition.
    function rootOf(SumNode memory node, uint256 position, SumNode[] memory path)
        internal
        pure
        returns (SumNode memory)
    {
        for (uint256 i = 0; i < path.length; ++i) {
            SumNode memory beside = path[i];
            bytes32 hash = (position >> i) % 2 == 0 ? Trees.sumNode(node, beside) : Trees.sumNode(beside, node);
            node = SumNode(hash, node.balance + beside.balance, node.excess + beside.excess);
        }
        return node;
    }

    function packed(SumNode[] memory path) internal pure returns (Sibling[] memory siblings) {
        siblings = new Sibling[](path.length);
        for (uint256 i = 0; i < path.length; ++i) {
            siblings[i] = Sibling(path[i].hash, uint256(path[i].balance) << 128 | path[i].excess);
        }
    }

    function signedEntry(address asset, SumNode memory root, uint40 epoch) internal view returns (EntryProof memory e) {
        e.path = new bytes32[](0);
        e.epoch = epoch;
        e.previous = keccak256(abi.encode("batch before", epoch));
        bytes32 entries = Trees.entry(LINEAGE, address(hub), asset, root);
        e.signature = signVenue(OPERATOR_KEY, Messages.batch(epoch, e.previous, entries));
    }

    function posted(Channel memory c, State memory s, uint128 excess, SumNode memory rest, uint40 epoch)
        internal
        returns (bytes memory leafProof)
    {
        SumNode memory root;
        bytes memory entryProof;
        (root, leafProof, entryProof) = batchWith(c, s, excess, rest, epoch);
        hub.post(c.token, root, entryProof);
    }

    function postedSum(address asset, uint128 excess, uint40 epoch) internal {
        SumNode memory root = SumNode(keccak256(abi.encode(excess, epoch)), excess, excess);
        hub.post(asset, root, abi.encode(signedEntry(asset, root, epoch)));
    }

    function others(uint128 balance, uint128 excess) internal pure returns (SumNode memory) {
        return SumNode(keccak256("other channels"), balance, excess);
    }

    function disputedByLeaf(Channel memory c, State memory s, bytes memory leafProof) internal {
        CoSignature memory t = coSigned(c, s);
        vm.prank(c.owner);
        hub.disputeByLeaf(c, s, t, leafProof);
    }

    // ---- withdrawals and closes

    function withdrawalOf(Channel memory c, uint128 withdrawn, address recipient)
        internal
        view
        returns (Withdrawal memory w)
    {
        w = Withdrawal(c, withdrawn, recipient, branch, uint40(block.timestamp) + 1 hours, none(), none());
        signWithdrawal(w);
    }

    function signWithdrawal(Withdrawal memory w) internal view {
        bytes32 message =
            keccak256(abi.encode(Messages.WITHDRAWAL, idOf(w.channel), w.withdrawn, w.recipient, w.branch, w.deadline));
        w.owner = signHub(ownerKey(w.channel), message);
        w.operator = signHub(OPERATOR_KEY, message);
    }

    function closingOf(Channel memory c, uint128 balance, uint128 depositedSeen, uint128 withdrawnSeen)
        internal
        view
        returns (Closing memory x)
    {
        x = Closing(
            c, balance, depositedSeen, withdrawnSeen, c.owner, branch, uint40(block.timestamp) + 1 hours, none(), none()
        );
        signClosing(x);
    }

    function signClosing(Closing memory x) internal view {
        bytes32 message = closingHash(x);
        x.owner = signHub(ownerKey(x.channel), message);
        x.operator = signHub(OPERATOR_KEY, message);
    }

    function closingHash(Closing memory x) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                Messages.CLOSING,
                idOf(x.channel),
                x.balance,
                x.depositedSeen,
                x.withdrawnSeen,
                x.recipient,
                x.branch,
                x.deadline
            )
        );
    }

    function rebalanced(Channel memory c, uint40 number, int128 moved) internal {
        Rebalancing[] memory items = new Rebalancing[](1);
        items[0] = rebalancingOf(c, number, moved);
        hub.rebalance(items);
    }

    function rebalancingOf(Channel memory c, uint40 number, int128 moved) internal view returns (Rebalancing memory r) {
        r = Rebalancing(c, number, moved, branch, uint40(block.timestamp) + 1 hours, none(), none());
        bytes32 message = keccak256(abi.encode(Messages.REBALANCING, idOf(c), r.number, r.moved, r.branch, r.deadline));
        r.cosigner = signHub(cosignerKey(c), message);
        r.operator = signHub(OPERATOR_KEY, message);
    }

    // ---- checks

    function equal(uint256 actual, uint256 expected, string memory what) internal pure {
        require(
            actual == expected, string.concat(what, ": ", vm.toString(actual), ", expected ", vm.toString(expected))
        );
    }

    /// @dev Hub balance = escrows + vault + claims: with all channels closed, vault and claims are all there is.
    function conserved(address asset, uint256 escrows, uint256 claimsFunded) internal view {
        equal(held(asset), escrows + hub.vaultOf(asset).balance + claimsFunded, "conservation");
    }
}
