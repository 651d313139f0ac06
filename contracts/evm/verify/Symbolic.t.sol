// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Checkpoints} from "../src/Checkpoints.sol";
import {ChannelHub} from "../src/ChannelHub.sol";
import {Funds, FundsWord, Pool, PoolWord, Record, RecordWord} from "../src/Slots.sol";
import "../src/Types.sol";

interface Assume {
    function assume(bool condition) external pure;
    function roll(uint256 number) external;
    function warp(uint256 time) external;
    function deal(address account, uint256 balance) external;
}

/// @dev The hub with its storage open, so that a proof can start from any state and not only from reachable ones.
contract OpenHub is ChannelHub {
    constructor(Settings memory s) ChannelHub(s) {}

    function put(
        bytes32 id,
        Funds f,
        Record r,
        int128 moved,
        address token,
        Pool pool,
        uint128 outstanding,
        bool frozen
    ) external {
        funds[id] = f;
        records[id] = r;
        moves[id].moved = moved;
        pools[token] = pool;
        newest[token].outstanding = outstanding;
        status.frozenAt = frozen ? 1 : 0;
    }

    function idOf(Channel calldata c) external view returns (bytes32) {
        return _id(c);
    }

    function get(bytes32 id, address token) external view returns (Funds, Record, Pool, uint256 claim) {
        return (funds[id], records[id], pools[token], claims[id].amount);
    }

    function cover(address token, uint256 excess, uint24 security) external returns (uint256) {
        return _cover(token, excess, security);
    }

    function inflow(address token, uint256 amount) external {
        pools[token] = _inflow(token, pools[token], amount);
    }

    function replace(bytes32 id, State calldata s, uint24 security) external {
        _replace(id, s, security);
    }

    function begin(bytes32 id, State calldata s, uint24 security) external {
        _begin(id, s, security);
    }

    function requirePinned(bytes32 branch) external view {
        _requirePinned(branch);
    }
}

/// @dev Proved by halmos for all values of the arguments: `contracts/evm/verify/run`.
contract SymbolicTest {
    Assume internal constant vm = Assume(address(uint160(uint256(keccak256("hevm cheat code")))));

    OpenHub internal hub;
    address internal constant OWNER = address(0xA11CE);

    function setUp() public {
        vm.roll(1000);
        vm.warp(1_800_000_000);
        hub = new OpenHub(
            Settings(1, bytes32(uint256(1)), address(0x0123), address(0x77EA), 3600, 86400, 604800, 90000, 100, 12, 0)
        );
    }

    function within(uint256 amount) internal pure returns (uint256) {
        vm.assume(amount <= AMOUNT_MAX);
        return amount;
    }

    // ---- packed words: what is written is read, and nothing else changes

    function check_recordWord(int112 base, uint40 version, uint40 deadline, uint40 epoch, uint24 security) public pure {
        Record r = RecordWord.pack(base, version, deadline, epoch, security);
        assert(r.base() == base);
        assert(r.version() == version && r.deadline() == deadline && r.epoch() == epoch && r.security() == security);
    }

    function check_poolWord(uint104 balance, uint104 lock, uint24 number, bool owing) public pure {
        Pool p = PoolWord.pack(balance, lock, number, owing);
        assert(p.balance() == balance && p.locked() == lock && p.number() == number && p.owing() == owing);
    }

    function check_fundsWord(uint256 word, uint104 amount) public pure {
        Funds f = Funds.wrap(word);
        Funds w = f.setWithdrawn(amount);
        assert(w.withdrawn() == amount && w.deposited() == f.deposited());
        assert(w.has(FundsWord.CLOSED) == f.has(FundsWord.CLOSED));
        vm.assume(f.deposited() + amount <= AMOUNT_MAX);
        Funds d = f.addDeposit(amount);
        assert(d.deposited() == f.deposited() + amount && d.withdrawn() == f.withdrawn());
        assert(f.with(FundsWord.CLOSED).has(FundsWord.CLOSED));
        assert(f.with(FundsWord.CLOSED).deposited() == f.deposited());
    }

    // ---- vault

    /// @dev What is paid leaves the vault; the lock stays covered; a state that nothing secures takes nothing locked.
    function check_coverConserves(
        uint104 balance,
        uint104 lock,
        uint24 number,
        uint104 excess,
        uint24 security,
        uint104 outstanding,
        bool frozen
    ) public {
        vm.assume(lock <= balance);
        // Frozen shares are a product and a quotient of symbols, which solvers do not do: forge fuzzes them.
        vm.assume(!frozen || security == 0 || security != number);
        hub.put(
            0,
            Funds.wrap(0),
            Record.wrap(0),
            0,
            address(0),
            PoolWord.pack(balance, lock, number, false),
            outstanding,
            frozen
        );
        uint256 paid = hub.cover(address(0), excess, security);
        (,, Pool p,) = hub.get(0, address(0));
        assert(p.balance() + paid == balance);
        assert(paid <= excess);
        assert(p.locked() <= p.balance());
        if (security == 0 && !frozen) assert(paid <= uint256(balance) - lock && p.locked() == lock);
        if (frozen) assert(balance < outstanding ? paid == 0 : paid <= uint256(balance) - outstanding);
    }

    // ---- settle

    /// @dev From any storage: settle pays at most own escrow and what the vault gives, and nothing vanishes.
    function check_settleConserves(uint104 deposited, uint104 withdrawn, int112 base, uint104 balance, uint104 lock)
        public
    {
        vm.assume(lock <= balance && withdrawn <= deposited);
        Channel memory c = Channel(OWNER, address(0xC0), address(0), 1);
        bytes32 id = hub.idOf(c);
        Funds f = Funds.wrap(FundsWord.OPEN).addDeposit(deposited).setWithdrawn(withdrawn);
        hub.put(
            id, f, RecordWord.pack(base, 1, 1, 1, 0), 0, address(0), PoolWord.pack(balance, lock, 1, false), 0, false
        );
        uint256 escrow = uint256(deposited) - withdrawn;
        vm.assume(uint256(balance) + escrow <= AMOUNT_MAX);
        vm.deal(address(hub), escrow + balance);
        vm.deal(OWNER, 0);
        hub.settle(c);
        (Funds g,, Pool p, uint256 claim) = hub.get(id, address(0));
        assert(g.has(FundsWord.CLOSED));
        assert(OWNER.balance + p.balance() == escrow + balance);
        assert(OWNER.balance <= escrow + (uint256(balance) - lock));
        assert(p.locked() == lock);
        int256 owed = int256(base) + int256(uint256(escrow));
        assert(OWNER.balance + claim == (owed > 0 ? uint256(owed) : 0));
    }

    /// @dev Closed stays closed, whatever the record says.
    function check_closedIsClosed(uint256 word, uint256 record, uint104 value) public {
        Channel memory c = Channel(OWNER, address(0xC0), address(0), 1);
        bytes32 id = hub.idOf(c);
        Funds f = Funds.wrap(word).with(FundsWord.CLOSED);
        hub.put(id, f, Record.wrap(record), 0, address(0), Pool.wrap(0), 0, false);
        vm.deal(address(this), value);
        (bool done,) = address(hub).call(abi.encodeCall(hub.settle, (c)));
        assert(!done);
        (done,) = address(hub).call{value: value}(abi.encodeCall(hub.deposit, (c, value)));
        assert(!done);
        (Funds g,,,) = hub.get(id, address(0));
        assert(Funds.unwrap(g) == Funds.unwrap(f));
    }

    // ---- states

    /// @dev A replaced record has a higher version, or the same one newly secured; epochs never go back, deadlines stay.
    function check_versionOnlyGoesUp(
        int112 base,
        uint40 version,
        uint40 deadline,
        uint40 epoch,
        uint24 security,
        State calldata s,
        uint24 shown
    ) public {
        within(s.balance);
        within(s.depositedSeen);
        within(s.withdrawnSeen);
        Record r = RecordWord.pack(base, version, deadline, epoch, security);
        hub.put(0, Funds.wrap(0), r, 0, address(0), Pool.wrap(0), 0, false);
        hub.replace(0, s, shown);
        (, Record n,,) = hub.get(0, address(0));
        assert(n.version() == s.version && n.epoch() >= epoch && n.deadline() == deadline);
        assert(block.timestamp < deadline);
        assert(n.version() > version || (n.version() == version && n.base() == base && shown > security));
        // Security is carried over only to a state that needs no more.
        if (n.security() != 0 && shown == 0) assert(n.security() == security && n.base() <= base);
    }

    function check_disputeStartsOnceAndNotBelowTheRecord(
        int112 base,
        uint40 version,
        uint40 deadline,
        uint40 epoch,
        State calldata s
    ) public {
        within(s.balance);
        within(s.depositedSeen);
        within(s.withdrawnSeen);
        hub.put(
            0, Funds.wrap(0), RecordWord.pack(base, version, deadline, epoch, 0), 0, address(0), Pool.wrap(0), 0, false
        );
        hub.begin(0, s, 0);
        (, Record n,,) = hub.get(0, address(0));
        assert(deadline == 0);
        assert(n.version() == s.version && s.version >= version && s.version > 0 && n.epoch() >= epoch);
        assert(n.deadline() == block.timestamp + 86400);
    }

    /// @dev Only the block pinned at deployment is known: every other branch is refused.
    function check_unknownBranchIsRefused(bytes32 branch) public view {
        vm.assume(branch != blockhash(999));
        (bool done,) = address(hub).staticcall(abi.encodeCall(hub.requirePinned, (branch)));
        assert(!done);
    }
}
