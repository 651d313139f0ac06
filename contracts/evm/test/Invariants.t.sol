// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import "./Scene.sol";

/// @dev Random lawful calls against a small model of each channel: what was paid in and out, the newest state on chain.
/// Every payout is computed from the model first and compared with what the hub paid.
contract Handler is Scene {
    struct Model {
        Channel channel;
        bool closed;
        int256 deposited;
        int256 withdrawn;
        int256 moved;
        int256 base;
        uint40 version;
        uint40 epoch;
        uint256 deadline;
        uint40 rebalances;
    }

    Model[6] public models;
    address[2] public assets;
    uint40 internal epoch;
    mapping(string => uint256) public calls;

    constructor() {
        setUp();
        assets = [ETH, address(token)];
        for (uint64 i = 0; i < 6; ++i) {
            models[i].channel = Channel(
                i % 2 == 0 ? alice : bob, vm.addr(i % 2 == 0 ? ALICE_SIGNS_KEY : BOB_SIGNS_KEY), assets[i / 3], i
            );
            opened(models[i].channel, 10 ether);
            models[i].deposited = 10 ether;
        }
        funded(ETH, 20 ether);
        funded(address(token), 20 ether);
    }

    function idAt(uint256 i) external view returns (bytes32) {
        return idOf(models[i].channel);
    }

    function escrow(uint256 i) public view returns (uint256) {
        Model storage m = models[i];
        return m.closed ? 0 : uint256(m.deposited + m.moved - m.withdrawn);
    }

    function entitled(Model storage m, int256 base) internal view returns (uint256) {
        int256 e = base + m.deposited - m.withdrawn;
        return e > 0 ? uint256(e) : 0;
    }

    function free(address asset) internal view returns (uint256) {
        VaultStatus memory v = hub.vaultOf(asset);
        return v.owed > 0 || hub.frozenAt() != 0 ? 0 : v.balance - v.locked;
    }

    /// @dev A state the parties might have signed: up or down by at most 15 ether from what was paid in.
    function stateAt(Model storage m, uint256 seed) internal returns (State memory) {
        int256 base = int256(seed % 30 ether) - 15 ether;
        int256 balance = base + m.deposited - m.withdrawn;
        if (balance < 0) balance = 0;
        return stateOf(
            m.channel,
            m.version + 1 + uint40(seed % 3),
            uint128(uint256(balance)),
            uint128(uint256(m.deposited)),
            uint128(uint256(m.withdrawn)),
            ++epoch
        );
    }

    function take(Model storage m, State memory s) internal {
        m.version = s.version;
        m.epoch = s.epoch;
        m.base = int256(uint256(s.balance)) - int256(uint256(s.depositedSeen)) + int256(uint256(s.withdrawnSeen));
    }

    function doDeposit(uint256 i, uint96 amount) external {
        Model storage m = models[i % 6];
        if (m.closed || m.deadline != 0 || hub.frozenAt() != 0) return;
        uint128 value = uint128(amount % 5 ether) + 1;
        deposited(m.channel, value);
        m.deposited += int128(value);
        ++calls["deposit"];
    }

    function doWithdraw(uint256 i, uint96 amount) external {
        Model storage m = models[i % 6];
        address asset = m.channel.token;
        uint256 own = escrow(i % 6);
        uint256 most = own + free(asset);
        if (m.closed || most == 0) return;
        uint256 value = amount % most + 1;
        if (value > most) return;
        uint256 before = balanceOf(asset, m.channel.owner);
        m.withdrawn += int256(value);
        if (value > own) m.moved += int256(value - own);
        hub.withdraw(withdrawalOf(m.channel, uint128(uint256(m.withdrawn)), m.channel.owner));
        equal(balanceOf(asset, m.channel.owner) - before, value, "withdrawn");
        ++calls["withdraw"];
    }

    function doClose(uint256 i, uint256 seed) external {
        if (seed % 4 != 0) return; // so that runs last
        Model storage m = models[i % 6];
        if (m.closed) return;
        State memory s = stateAt(m, seed);
        uint256 own = escrow(i % 6);
        if (s.balance > own + free(m.channel.token)) return;
        uint256 before = balanceOf(m.channel.token, m.channel.owner);
        hub.close(closingOf(m.channel, s.balance, s.depositedSeen, s.withdrawnSeen));
        equal(balanceOf(m.channel.token, m.channel.owner) - before, s.balance, "closed");
        m.closed = true;
        ++calls["close"];
    }

    function doDispute(uint256 i, uint256 seed) external {
        Model storage m = models[i % 6];
        if (m.closed || m.deadline != 0) return;
        if (seed % 3 == 0) {
            vm.prank(m.channel.cosigner);
            hub.disputeRecorded(m.channel);
        } else {
            State memory s = stateAt(m, seed);
            disputed(m.channel, s);
            take(m, s);
        }
        m.deadline = block.timestamp + WINDOW;
        ++calls["dispute"];
    }

    function doRefute(uint256 i, uint256 seed) external {
        Model storage m = models[i % 6];
        if (m.closed || m.deadline <= block.timestamp) return;
        State memory s = stateAt(m, seed);
        refuted(m.channel, s);
        take(m, s);
        ++calls["refute"];
    }

    function doCheckpoint(uint256 i, uint256 seed) external {
        Model storage m = models[i % 6];
        if (m.closed || m.deadline != 0) return;
        State memory s = stateAt(m, seed);
        hub.checkpoint(m.channel, s, coSigned(m.channel, s), byOperator(m.channel, s));
        take(m, s);
        ++calls["checkpoint"];
    }

    function doSettle(uint256 i) external {
        Model storage m = models[i % 6];
        if (m.closed || m.deadline == 0) return;
        if (block.timestamp < m.deadline) vm.warp(m.deadline);
        address asset = m.channel.token;
        uint256 owed = entitled(m, m.base);
        uint256 own = escrow(i % 6);
        VaultStatus memory v = hub.vaultOf(asset);
        // No leaf was shown, so nothing locked is for it; frozen, what is above the newest root's sum.
        uint256 cover = v.balance - v.locked;
        if (hub.frozenAt() != 0) cover = v.balance > v.outstanding ? v.balance - v.outstanding : 0;
        uint256 expected = owed <= own ? owed : own + (owed - own < cover ? owed - own : cover);
        uint256 before = balanceOf(asset, m.channel.owner);
        hub.settle(m.channel);
        equal(balanceOf(asset, m.channel.owner) - before, expected, "settled");
        (uint256 claim,) = hub.claimOf(m.channel);
        equal(claim, owed - expected, "claim");
        m.closed = true;
        ++calls["settle"];
    }

    function doRebalance(uint256 i, uint256 seed) external {
        Model storage m = models[i % 6];
        if (m.closed || m.deadline != 0 || hub.frozenAt() != 0) return;
        uint256 limit = seed % 2 == 0 ? escrow(i % 6) : free(m.channel.token);
        int256 moved = int256((seed >> 1) % (limit + 1));
        if (seed % 2 == 0) moved = -moved;
        rebalanced(m.channel, ++m.rebalances, int128(moved));
        m.moved += moved;
        ++calls["rebalance"];
    }

    function doFundVault(uint256 i, uint96 amount) external {
        funded(assets[i % 2], uint128(amount % 5 ether) + 1);
        ++calls["fundVault"];
    }

    function doPost(uint256 i, uint256 seed) external {
        if (hub.frozenAt() != 0) return;
        address asset = assets[i % 2];
        postedSum(asset, uint128(seed % (hub.vaultOf(asset).balance + 1)), ++epoch);
        ++calls["post"];
    }

    function doVaultWithdrawal(uint256 i, uint256 seed) external {
        if (hub.frozenAt() != 0) return;
        address asset = assets[i % 2];
        uint256 most = free(asset);
        if (most == 0) return;
        uint256 before = balanceOf(asset, treasury);
        vm.startPrank(treasury);
        hub.requestVaultWithdrawal(asset, uint128(seed % most) + 1);
        vm.warp(block.timestamp + DELAY);
        hub.withdrawVault(asset);
        vm.stopPrank();
        equal(balanceOf(asset, treasury) - before, seed % most + 1, "vault withdrawal");
        ++calls["vaultWithdrawal"];
    }

    function doCollectClaim(uint256 i) external {
        Model storage m = models[i % 6];
        (, uint256 payable_) = hub.claimOf(m.channel);
        if (payable_ == 0) return;
        uint256 before = balanceOf(m.channel.token, m.channel.owner);
        hub.collectClaim(m.channel);
        equal(balanceOf(m.channel.token, m.channel.owner) - before, payable_, "collected");
        ++calls["collectClaim"];
    }

    function doFreeze(uint256 seed) external {
        if (seed % 40 != 0 || hub.frozenAt() != 0) return;
        TwoRoots memory p;
        p.epoch = 1;
        p.entriesA = keccak256("a");
        p.a = signVenue(OPERATOR_KEY, Messages.batch(1, 0, p.entriesA));
        p.b = signVenue(OPERATOR_KEY, Messages.batch(1, 0, 0));
        hub.freezeTwoRoots(abi.encode(p));
        ++calls["freeze"];
    }

    function theHub() external view returns (IChannelHub) {
        return hub;
    }

    function modelOf(uint256 i) external view returns (Model memory) {
        return models[i];
    }
}

contract InvariantsTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler internal handler;
    IChannelHub internal hub;

    function setUp() public {
        handler = new Handler();
        hub = handler.theHub();
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[13] memory all = [
            Handler.doDeposit.selector,
            Handler.doWithdraw.selector,
            Handler.doClose.selector,
            Handler.doDispute.selector,
            Handler.doRefute.selector,
            Handler.doCheckpoint.selector,
            Handler.doSettle.selector,
            Handler.doRebalance.selector,
            Handler.doFundVault.selector,
            Handler.doPost.selector,
            Handler.doVaultWithdrawal.selector,
            Handler.doCollectClaim.selector,
            Handler.doFreeze.selector
        ];
        bytes4[] memory selectors = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            selectors[i] = all[i];
        }
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev Hub balance = escrows + vault + funded claims, per token, after every call; and the vault covers its lock.
    function invariantConservation() public view {
        for (uint256 a = 0; a < 2; ++a) {
            address asset = handler.assets(a);
            uint256 sum = hub.vaultOf(asset).balance;
            require(hub.vaultOf(asset).locked <= sum, "lock above vault");
            for (uint256 i = 0; i < 6; ++i) {
                Channel memory c = handler.modelOf(i).channel;
                if (c.token != asset) continue;
                (, uint256 funded) = hub.claimOf(c);
                sum += handler.escrow(i) + funded;
            }
            uint256 held = asset == address(0) ? address(hub).balance : Token(asset).balanceOf(address(hub));
            require(held == sum, "money appeared or vanished");
        }
    }

    /// @dev The hub's record is the model's: versions and epochs never go back (the model only goes up), closed stays closed.
    function invariantRecordsEqualTheModel() public view {
        for (uint256 i = 0; i < 6; ++i) {
            Handler.Model memory m = handler.modelOf(i);
            ChannelStatus memory c = hub.channelOf(handler.idAt(i));
            require(c.closed == m.closed, "closed");
            require(int256(c.deposited) == m.deposited && int256(c.withdrawn) == m.withdrawn, "money");
            require(c.moved == m.moved, "moved");
            require(c.version == m.version && c.epoch == m.epoch && c.base == m.base, "record");
            require(c.deadline == m.deadline, "deadline");
        }
    }
}
