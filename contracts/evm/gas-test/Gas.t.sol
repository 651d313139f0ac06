// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import "../test/Scene.sol";

/// @dev Whole transactions: 21,000, calldata, cold storage. Steady state: the hub holds other channels' money, the vault is not
/// empty, receivers exist and hold the token. Writes the table of one profile, `GAS_EVM` (see ./gas), then fails if a figure is above `gas-budgets.json`.
contract GasTable is Scene {
    uint256 internal constant DEPTH = 16;
    uint256 internal constant BATCH = 20;

    struct Row {
        string name;
        string key;
        string peer;
    }

    Row[] internal rows;
    uint256 internal column;
    string internal over;
    /// @dev Where the profile's budgets stand in `gas-budgets.json`.
    string internal section;
    bool internal withPeers;

    function testGasTable() public {
        string memory evm = vm.envString("GAS_EVM");
        section = string.concat(".", evm, ".");
        withPeers = same(evm, "cancun");
        row("fund: open with the first deposit", "fund", "46,496 go-nitro; 45,565 Perun; 56,000 Raiden");
        row("withdraw, partial, both signatures", "withdraw", "-");
        row("cooperative close, both signatures", "close", "111,514 go-nitro; 112,270 Raiden; 415,830 Nitrolite");
        row("dispute, compact", "dispute", "113,146 go-nitro; 107,151 Perun; 118,501 Raiden");
        row("refute, compact", "refute", "73,936 go-nitro; 74,879 Perun; 90,516 Raiden");
        row("settle after the window", "settle", "82,026 go-nitro; 108,569 Raiden");
        row("sad path: dispute and settle", "sadPath", "195,172 go-nitro; 318,000 Raiden; 350,000 Perun");
        row("dispute, leaf, depth 16", "leafDispute", "-");
        row("refute, leaf, depth 16", "leafRefute", "-");
        row("close, each of 20 in a batch", "batchedClose", "34,313 go-nitro (fund only)");
        row("withdraw, each of 20 in a batch", "batchedWithdraw", "-");
        address[2] memory assets = [ETH, address(token)];
        uint256 start = vm.snapshotState();
        function(address) internal[6] memory measures =
            [measureFund, measureWithdraw, measureClose, measureDispute, measureLeaf, measureBatches];
        for (uint256 i = 0; i < 12; ++i) {
            column = i / 6;
            measures[i % 6](assets[column]);
            vm.revertToState(start);
            start = vm.snapshotState();
        }
        write();
        require(bytes(over).length == 0, string.concat("above gas-budgets.json:", over));
    }

    // ---- one measurement each

    function ready(address asset) internal returns (Channel memory c) {
        opened(bobIn(asset), 5 ether);
        funded(asset, 100 ether);
        c = aliceIn(asset);
    }

    function measureFund(address asset) internal {
        opened(ready(asset), 10 ether);
        keep("fund");
    }

    function measureWithdraw(address asset) internal {
        Channel memory c = opened(ready(asset), 10 ether);
        Withdrawal memory w = withdrawalOf(c, 4 ether, alice);
        vm.prank(stranger);
        hub.withdraw(w);
        keep("withdraw");
    }

    function measureClose(address asset) internal {
        Channel memory c = opened(ready(asset), 10 ether);
        Closing memory x = closingOf(c, 7 ether, 10 ether, 0);
        vm.prank(stranger);
        hub.close(x);
        keep("close");
    }

    function measureDispute(address asset) internal {
        Channel memory c = opened(ready(asset), 10 ether);
        disputed(c, stateOf(c, 101, 12 ether, 10 ether, 0, 40_000));
        uint256 sad = keep("dispute");
        State memory s = stateOf(c, 102, 7 ether, 10 ether, 0, 40_001);
        CoSignature memory t = coSigned(c, s);
        Signature memory o = byOperator(c, s);
        vm.prank(stranger);
        hub.refute(c, s, t, o);
        keep("refute");
        vm.warp(block.timestamp + WINDOW);
        vm.prank(stranger);
        hub.settle(c);
        sad += keep("settle");
        put("sadPath", sad, 0);
    }

    function measureLeaf(address asset) internal {
        Channel memory c = opened(ready(asset), 10 ether);
        State memory s = stateOf(c, 101, 12 ether, 10 ether, 0, 40_000);
        bytes memory proof = deepPosted(c, s, 2 ether, 40_000);
        disputedByLeaf(c, s, proof);
        keep("leafDispute");
        s = stateOf(c, 102, 13 ether, 10 ether, 0, 40_001);
        proof = deepPosted(c, s, 3 ether, 40_001);
        CoSignature memory t = coSigned(c, s);
        vm.prank(stranger);
        hub.refuteByLeaf(c, s, t, proof);
        keep("leafRefute");
    }

    /// @dev 65,536 leaves, four entries in the batch.
    function deepPosted(Channel memory c, State memory s, uint128 excess, uint40 epoch)
        internal
        returns (bytes memory)
    {
        LeafProof memory p;
        p.excess = excess;
        p.position = 0x5A5A;
        SumNode[] memory path = new SumNode[](DEPTH);
        for (uint128 i = 0; i < DEPTH; ++i) {
            path[i] = SumNode(
                keccak256(abi.encode("sibling", i)), uint128(3.217 ether) << i, uint128(0.001_234_567 ether) << i
            );
        }
        SumNode memory leaf = SumNode(Trees.sumLeaf(hashOf(c, s), s.balance, excess), s.balance, excess);
        p.path = packed(path);
        SumNode memory root = rootOf(leaf, p.position, path);
        p.entry.position = 2;
        p.entry.path = new bytes32[](2);
        p.entry.path[0] = keccak256("entry beside");
        p.entry.path[1] = keccak256("entries beside");
        p.entry.epoch = epoch;
        p.entry.previous = keccak256("batch before");
        bytes32 entries = Trees.root(Trees.entry(LINEAGE, address(hub), c.token, root), 2, p.entry.path);
        p.entry.signature = signVenue(OPERATOR_KEY, Messages.batch(epoch, p.entry.previous, entries));
        hub.post(c.token, root, abi.encode(p.entry));
        return abi.encode(p);
    }

    function measureBatches(address asset) internal {
        ready(asset);
        Withdrawal[] memory ws = new Withdrawal[](BATCH);
        Closing[] memory xs = new Closing[](BATCH);
        for (uint64 i = 0; i < BATCH; ++i) {
            uint256 key = 0xBA7C4 + i;
            Channel memory c = Channel(vm.addr(key), vm.addr(key + 1000), asset, 1);
            vm.deal(c.owner, 100 ether);
            token.mint(c.owner, 100 ether);
            vm.prank(c.owner);
            token.approve(address(hub), type(uint256).max);
            opened(c, 10 ether);
            Withdrawal memory w =
                Withdrawal(c, 2 ether, c.owner, branch, uint40(block.timestamp) + 1 hours, none(), none());
            bytes32 message =
                keccak256(abi.encode(Messages.WITHDRAWAL, idOf(c), w.withdrawn, w.recipient, w.branch, w.deadline));
            w.owner = signHub(key, message);
            w.operator = signHub(OPERATOR_KEY, message);
            ws[i] = w;
            Closing memory x = closingOf(c, 9 ether, 10 ether, 0);
            x.owner = signHub(key, closingHash(x));
            xs[i] = x;
        }
        // The operator's own transaction is its signature.
        for (uint256 i = 0; i < BATCH; ++i) {
            (ws[i].operator, xs[i].operator) = (none(), none());
        }
        uint256 start = vm.snapshotState();
        vm.prank(operator);
        hub.withdrawBatch(ws);
        keepEach("batchedWithdraw");
        vm.revertToState(start);
        vm.prank(operator);
        hub.closeBatch(xs);
        keepEach("batchedClose");
    }

    // ---- the table

    function row(string memory name, string memory key, string memory peer) internal {
        rows.push(Row(name, key, peer));
    }

    function keep(string memory key) internal returns (uint256) {
        Vm.Gas memory g = vm.lastCallGas();
        put(key, g.gasTotalUsed, uint64(g.gasRefunded));
        return g.gasTotalUsed;
    }

    function keepEach(string memory key) internal {
        Vm.Gas memory g = vm.lastCallGas();
        put(key, g.gasTotalUsed / BATCH, uint64(g.gasRefunded) / BATCH);
    }

    /// @dev In files, because going back to a snapshot takes the test's own storage back as well.
    function put(string memory key, uint256 used, uint256 refund) internal {
        vm.writeFile(
            fileOf(key, column),
            string.concat("{\"used\":", vm.toString(used), ",\"refund\":", vm.toString(refund), "}")
        );
    }

    function fileOf(string memory key, uint256 column_) internal pure returns (string memory) {
        return string.concat("./out/gas-", key, "-", vm.toString(column_), ".json");
    }

    function write() internal {
        string memory budgets = vm.readFile("./gas-budgets.json");
        string memory text = "| transaction | ETH | budget | refund | ERC-20 | budget | refund |";
        string memory rule = "|---|---|---|---|---|---|---|";
        text = withPeers ? string.concat(text, " peers |\n", rule, "---|\n") : string.concat(text, "\n", rule, "\n");
        for (uint256 i = 0; i < rows.length; ++i) {
            Row memory r = rows[i];
            string[2] memory f = [vm.readFile(fileOf(r.key, 0)), vm.readFile(fileOf(r.key, 1))];
            text = string.concat(text, "| ", r.name);
            for (uint256 asset = 0; asset < 2; ++asset) {
                string memory key = string.concat(section, r.key, "[", vm.toString(asset), "]");
                uint256 budget = vm.parseJsonUint(budgets, key);
                uint256 used = vm.parseJsonUint(f[asset], ".used");
                text = string.concat(text, " | ", dotted(used), " | ", dotted(budget));
                text = string.concat(text, " | ", dotted(vm.parseJsonUint(f[asset], ".refund")));
                if (used > budget) over = string.concat(over, " ", r.key);
            }
            text = withPeers ? string.concat(text, " | ", r.peer, " |\n") : string.concat(text, " |\n");
        }
        uint256 size = address(hub).code.length;
        uint256 sizeBudget = vm.parseJsonUint(budgets, string.concat(section, "runtimeBytes"));
        text = string.concat(text, "\nRuntime code: hub ", dotted(size), " bytes (budget ");
        text = string.concat(text, dotted(sizeBudget), "), annex ");
        text = string.concat(text, dotted(ChannelHub(payable(address(hub))).annex().code.length), ", proofs ");
        text = string.concat(text, dotted(address(ChannelHub(payable(address(hub))).proofs()).code.length), ".\n");
        if (size > sizeBudget) over = string.concat(over, " runtimeBytes");
        vm.writeFile(string.concat("./out/gas-", vm.envString("GAS_EVM"), ".md"), text);
    }

    function same(string memory a, string memory b) internal pure returns (bool) {
        return keccak256(bytes(a)) == keccak256(bytes(b));
    }

    /// @dev With a comma between thousands.
    function dotted(uint256 value) internal pure returns (string memory text) {
        if (value < 1000) return vm.toString(value);
        string memory low = vm.toString(value % 1000);
        while (bytes(low).length < 3) low = string.concat("0", low);
        return string.concat(dotted(value / 1000), ",", low);
    }
}
