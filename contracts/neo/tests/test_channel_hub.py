"""The hub on a node: every call, what it pays, and what it refuses."""
import asyncio
import unittest

from coincurve import PublicKey
from neo3.api.wrappers import GenericContract, NeoToken
from neo3.contracts import contract
from neo3.core import types
from node import Node
from scene import GAS, HALF_ORDER, WINDOW, Key, Scene, Terms, hash_of, hub_separator, preimage, state_message, vectors, venue_separator, word

node: Node | None = None
ONE_GAS = 10**8
LATER = 2**39


def setUpModule():
    global node
    node = Node()


def tearDownModule():
    node.stop()


class Vectors(unittest.IsolatedAsyncioTestCase):
    """contracts/vectors/accounts.json, which the EVM's hub and the Rust crate are held to."""

    def test_python_hashes_as_the_vectors(self):
        for case in vectors():
            b = lambda text: bytes.fromhex(text[2:])
            hub, terms, state = case["hub"], case["terms"], case["channel_state"]
            lineage, address = int(hub["lineage"]), b(hub["address"])
            self.assertEqual(hub_separator(lineage, address), b(hub["separator"]))
            self.assertEqual(venue_separator(b(case["venue"]["id"])), b(case["venue"]["separator"]))
            parties = [b(terms[k]) for k in ("owner", "cosigner", "token")]
            channel = hash_of(lineage, address, *parties, int(terms["nonce"]))
            self.assertEqual(channel, b(terms["channel"]))
            names = ("version", "balance", "deposited_seen", "withdrawn_seen", "epoch")
            words = [channel, *(int(state[n]) for n in names), state["kind"], b(state["branch"])]
            self.assertEqual(b"".join(word(w) for w in words), b(state["bytes"]))

    async def test_the_vm_hashes_as_the_vectors(self):
        s = await Scene.new(node)
        for case in vectors():
            b = lambda text: bytes.fromhex(text[2:])
            state, account = b(case["channel_state"]["bytes"]), case["account"]
            root, position = b(account["root"]), int(account["position"])
            path = b"".join(b(h) for h in account["path"])
            found = await s.read("accountRoot", [state, position, path])
            self.assertEqual(found.as_bytes(), root)
            found = await s.read("stateHash", [state, root])
            self.assertEqual(found.as_bytes(), b(case["state"]["struct_hash"]))
            epoch = int(case["channel_state"]["epoch"])
            found = await s.read("accountStateHash", [int(account["account"]), epoch, root])
            self.assertEqual(found.as_bytes(), b(case["account_state"]["struct_hash"]))

    async def test_the_vm_takes_the_vectors_signatures(self):
        s = await Scene.new(node)
        library = GenericContract(contract.CONTRACT_HASHES.CRYPTO_LIB)
        for case in vectors():
            b = lambda text: bytes.fromhex(text[2:])
            for name, separator in (("state", case["hub"]), ("account_state", case["venue"]), ("withdrawal", case["hub"])):
                signed = case[name]
                r, vs = b(signed["signature"]["r"]), int.from_bytes(b(signed["signature"]["vs"]), "big")
                plain, parity = r + (vs % 2**255).to_bytes(32, "big"), vs >> 255
                key = PublicKey.from_signature_and_message(plain + bytes([parity]), b(signed["digest"]), hasher=None)
                address = await s.read("register", [key.format(compressed=False)[1:]])
                self.assertEqual(address.as_bytes(), b(signed["signer"]))
                message = preimage(b(separator["separator"]), b(signed["struct_hash"]))
                for changed, expected in ((message, True), (message + b"\0", False)):
                    call = library.call_function("verifyWithECDsa", [changed, key.format(), plain, 122])
                    state, exception, item = await node.ask(call)
                    self.assertEqual((state, item.as_bool()), ("HALT", expected), exception)


class Hub(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # its warnings are about slow callbacks: signing in Python
        self.s = await Scene.new(node)
        self.paid = self.s.alice.script_hash

    async def holds(self, escrow: int, vault: int, waiting: int = 0):
        """The hub's balance is escrow, vault and what waits."""
        self.assertEqual(await self.s.balance(self.s.hub.hash), escrow + vault + waiting)
        self.assertEqual((await self.s.numbers("vaultOf", [GAS.hash]))[0], vault)

    async def refused(self, expected: str, method: str, args: list, *who):
        self.assertIn(expected, await self.s.refusal(method, args, *who))

    async def test_identity(self):
        t = await self.s.opened(ONE_GAS)
        found = await self.s.read("channelId", t.args)
        self.assertEqual(found.as_bytes(), self.s.id_of(t))
        hub, venue = (await self.s.read("separators", [])).as_list()
        self.assertEqual(hub.as_bytes(), self.s.separator)
        self.assertEqual(venue.as_bytes(), venue_separator(b"\x07" * 32))

    async def test_open_and_deposit(self):
        s = self.s
        t = await s.opened(5 * ONE_GAS)
        await s.pay(s.house, 2 * ONE_GAS, ["deposit", *t.args[:2], t.nonce])
        self.assertEqual((await s.numbers("channelOf", [s.id_of(t)]))[:4], [7 * ONE_GAS, 0, 0, 1])
        await self.holds(7 * ONE_GAS, 0)
        no = s.payment_refusal
        self.assertIn("was used", await no(s.alice, 1, ["open", *t.args[:2], t.nonce]))
        self.assertIn("did not agree", await no(s.house, 1, ["open", *t.args[:2], 99]))
        self.assertIn("cannot be the co-signer", await no(s.alice, 1, ["open", t.args[0], s.operator.address, 99]))
        self.assertIn("not registered", await no(s.alice, 1, ["open", t.args[0], Key().address, 99]))
        self.assertIn("party is zero", await no(s.alice, 1, ["open", types.UInt160.zero(), t.args[1], 99]))
        self.assertIn("is zero", await no(s.alice, 0, ["deposit", *t.args[:2], t.nonce]))
        self.assertIn("not open", await no(s.alice, 1, ["deposit", *t.args[:2], 99]))
        self.assertIn("what the payment is for", await no(s.alice, 1, None))
        self.assertIn("what the payment is for", await no(s.alice, 1, ["gift", *t.args[:2], 1]))
        await self.refused("only a token pays", "onNEP17Payment", [self.paid, ONE_GAS, ["vault"]])

    async def test_withdraw(self):
        s = self.s
        t = await s.opened(5 * ONE_GAS)
        to = types.UInt160(b"\x51" * 20)
        w = s.withdrawal(t, 2 * ONE_GAS, to, LATER)
        await self.refused("owner did not sign", "withdraw", w, s.house)
        await self.refused("expired", "withdraw", s.withdrawal(t, 2 * ONE_GAS, to, 1))
        await self.refused("wrong signer", "withdraw", [*w[:-5], 3 * ONE_GAS, *w[-4:]])
        await s.call("withdraw", w)
        self.assertEqual(await s.balance(to), 2 * ONE_GAS)
        await self.refused("no more than was withdrawn", "withdraw", w)
        # Winnings: from the vault, and not beyond it.
        await self.refused("not covered", "withdraw", s.withdrawal(t, 6 * ONE_GAS, to, LATER))
        await s.pay(s.house, ONE_GAS, ["vault"])
        await s.call("withdraw", s.withdrawal(t, 6 * ONE_GAS, to, LATER))
        self.assertEqual(await s.balance(to), 6 * ONE_GAS)
        self.assertEqual((await s.numbers("channelOf", [s.id_of(t)]))[:4], [5 * ONE_GAS, 6 * ONE_GAS, ONE_GAS, 1])
        await self.holds(0, 0)

    async def test_close_and_replay_after_it(self):
        s = self.s
        t = await s.opened(5 * ONE_GAS)
        to = types.UInt160(b"\x52" * 20)
        c = s.closing(t, 3 * ONE_GAS, 4 * ONE_GAS, 0, to, LATER)
        await self.refused("owner did not sign", "close", c, s.house)
        await self.refused("the recipient is not one", "close", s.closing(t, 1, 1, 0, s.hub.hash, LATER))
        await s.call("close", c)
        # The deposit nobody acknowledged counts.
        self.assertEqual(await s.balance(to), 4 * ONE_GAS)
        await self.holds(0, ONE_GAS)
        await self.refused("is closed", "close", c)
        await self.refused("is closed", "dispute", [*t.args, *s.signed(s.state(t, 1, ONE_GAS, 0)).args])
        self.assertIn("is closed", await s.payment_refusal(s.alice, 1, ["deposit", *t.args[:2], t.nonce]))
        self.assertIn("was used", await s.payment_refusal(s.alice, 1, ["open", *t.args[:2], t.nonce]))

    async def test_signatures_and_states_refused(self):
        s = self.s
        t = await s.opened(5 * ONE_GAS)
        other = await s.opened(ONE_GAS)
        good = s.signed(s.state(t, 3, ONE_GAS, 5 * ONE_GAS))

        async def no(expected: str, signed):
            await self.refused(expected, "dispute", [*t.args, *signed.args])

        await no("wrong signer", s.signed(good.state, operator=s.trader))
        await no("wrong signer", s.signed(good.state, cosigner=s.operator))
        # The other s of the same signature has no room in 64 bytes; what has room and is too high is refused as such.
        await no("wrong signer", s.signed(good.state, high=True))
        forged = s.signed(good.state)
        forged.trader = forged.trader[:32] + word(HALF_ORDER + 1)
        await no("upper half", forged)
        await no("of another channel", s.signed(s.state(other, 3, ONE_GAS, ONE_GAS)))
        await no("not pinned", s.signed(s.state(t, 3, ONE_GAS, 0, branch=b"\x09" * 32)))
        await no("kind is unknown", s.signed(s.state(t, 3, ONE_GAS, 0, kind=2)))
        await no("too large", s.signed(s.state(t, 3, 2**104, 0)))
        await no("too large", s.signed(s.state(t, 2**40, ONE_GAS, 0)))
        await no("too large", s.signed(s.state(t, 3, 2**255, 0)))
        await no("not newer", s.signed(s.state(t, 0, ONE_GAS, 0)))
        moved = s.signed(good.state)
        moved.position = 0
        await no("does not lie under", moved)
        moved.position = 6
        await no("outside the tree", moved)
        moved.path = b"\x11" * 33
        await no("at most 16 hashes", moved)
        moved = s.signed(good.state)
        moved.trader = moved.trader + b"\x1b"
        await no("64 bytes", moved)
        await self.refused("neither owner nor operator", "dispute", [*t.args, *good.args], s.treasury)
        # Another hub's: same terms, same keys of the trader, another separator.
        signature = s.operator.sign(hub_separator(1, s.address), state_message(good.state, good.root))
        good.operator = signature
        await no("wrong signer", good)

    async def test_dispute_refute_settle(self):
        s = self.s
        loser, winner, mute = [await s.opened(5 * ONE_GAS) for _ in range(3)]
        await s.pay(s.house, ONE_GAS, ["vault"])
        await s.call("checkpoint", [*loser.args, *s.signed(s.state(loser, 2, 4 * ONE_GAS, 5 * ONE_GAS, epoch=5)).args], s.house)
        await self.refused("not newer", "checkpoint", [*loser.args, *s.signed(s.state(loser, 2, ONE_GAS, 0, epoch=6)).args])
        await self.refused("not newer", "dispute", [*loser.args, *s.signed(s.state(loser, 1, 9, 0, epoch=5)).args])
        await self.refused("epoch goes back", "dispute", [*loser.args, *s.signed(s.state(loser, 3, 9, 0, epoch=4)).args])
        await self.refused("not newer", "dispute", [*loser.args, *s.signed(s.state(loser, 2, 9, 0, epoch=5)).args])
        await self.refused("not in dispute", "settle", loser.args)
        await self.refused("not in dispute", "refute", [*loser.args, *s.signed(s.state(loser, 3, 1, 0, epoch=5)).args])

        await s.call("dispute", [*loser.args, *s.signed(s.state(loser, 3, 5 * ONE_GAS, 5 * ONE_GAS, epoch=5)).args])
        await s.call("refute", [*loser.args, *s.signed(s.state(loser, 4, 2 * ONE_GAS, 5 * ONE_GAS, epoch=6)).args], s.treasury)
        await s.call("disputeRecorded", mute.args)
        # Five of eight won are in the vault: one, and three from the loser once it has settled.
        await s.call("dispute", [*winner.args, *s.signed(s.state(winner, 1, 13 * ONE_GAS, 5 * ONE_GAS)).args], s.house)
        await self.refused("in dispute", "disputeRecorded", mute.args)
        self.assertIn("in dispute", await s.payment_refusal(s.alice, 1, ["deposit", *mute.args[:2], mute.nonce]))
        await self.refused("in dispute", "checkpoint", [*mute.args, *s.signed(s.state(mute, 9, 1, 0)).args])
        await self.refused("window is open", "settle", winner.args)
        deadline = (await s.numbers("channelOf", [s.id_of(winner)]))[6]

        await s.after(deadline)
        await self.refused("window is over", "refute", [*loser.args, *s.signed(s.state(loser, 5, 0, 0, epoch=6)).args])
        await self.settles(winner, 6 * ONE_GAS, s.house)
        self.assertEqual(await s.numbers("claimOf", winner.args), [7 * ONE_GAS, 0])
        await self.holds(10 * ONE_GAS, 0)
        # Somebody else's escrow did not pay it; what the loser lost does.
        await self.settles(mute, 5 * ONE_GAS, s.house)
        await self.settles(loser, 2 * ONE_GAS, s.house)
        self.assertEqual(await s.numbers("claimOf", winner.args), [7 * ONE_GAS, 3 * ONE_GAS])
        await self.collects(winner, 3 * ONE_GAS)
        await self.refused("nothing to collect", "collectClaim", winner.args)
        # Claims come before the vault.
        await s.pay(s.house, 6 * ONE_GAS, ["vault"])
        self.assertEqual(await s.numbers("vaultOf", [GAS.hash]), [2 * ONE_GAS, 0])
        await self.collects(winner, 4 * ONE_GAS)
        await self.refused("is closed", "settle", winner.args)
        await self.holds(0, 2 * ONE_GAS)

    async def settles(self, t: Terms, expected: int, who):
        before = await self.s.balance(self.paid)
        await self.s.call("settle", t.args, who)
        self.assertEqual(await self.s.balance(self.paid) - before, expected)

    async def collects(self, t: Terms, expected: int):
        before = await self.s.balance(self.paid)
        await self.s.call("collectClaim", t.args, self.s.house)
        self.assertEqual(await self.s.balance(self.paid) - before, expected)

    async def test_vault_withdrawal_waits(self):
        s = self.s
        t = await s.opened(5 * ONE_GAS)
        await s.pay(s.house, 3 * ONE_GAS, ["vault"])
        await self.refused("only the treasury", "requestVaultWithdrawal", [GAS.hash, ONE_GAS], s.house)
        await self.refused("nothing was requested", "withdrawVault", [GAS.hash], s.treasury)
        receipt = await s.call("requestVaultWithdrawal", [GAS.hash, 4 * ONE_GAS], s.treasury)
        await self.refused("too early", "withdrawVault", [GAS.hash], s.treasury)
        since = [n for n in receipt.notifications if n.event_name == "VaultWithdrawalRequested"][0].state.as_list()[2].as_int()
        await s.after(since)
        # The escrow is not the treasury's.
        await self.refused("not covered", "withdrawVault", [GAS.hash], s.treasury)
        await self.refused("only the treasury", "withdrawVault", [GAS.hash], s.house)
        await s.after(since + WINDOW + 1)
        await self.refused("too late", "withdrawVault", [GAS.hash], s.treasury)
        receipt = await s.call("requestVaultWithdrawal", [GAS.hash, 3 * ONE_GAS], s.treasury)
        since = [n for n in receipt.notifications if n.event_name == "VaultWithdrawalRequested"][0].state.as_list()[2].as_int()
        await s.after(since)
        await s.call("withdrawVault", [GAS.hash], s.treasury)
        await self.refused("nothing was requested", "withdrawVault", [GAS.hash], s.treasury)
        await self.holds(5 * ONE_GAS, 0)

    async def test_tokens_are_kept_apart(self):
        s = self.s
        neo = NeoToken()
        await node.send(neo.transfer(node.bank.script_hash, self.paid, 10), node.bank)
        t = await s.opened(7, neo)
        await s.pay(s.house, ONE_GAS, ["vault"])
        await self.refused("not covered", "withdraw", s.withdrawal(t, 8, self.paid, LATER))
        before = await s.balance(self.paid, neo)
        await s.call("withdraw", s.withdrawal(t, 7, self.paid, LATER))
        self.assertEqual(await s.balance(self.paid, neo) - before, 7)
        # What the NEO earned meanwhile is GAS that nobody owns: the vault's.
        await self.holds(0, await s.balance(s.hub.hash))
        self.assertGreater(await s.balance(s.hub.hash), ONE_GAS)

    async def test_a_contract_collects_what_it_is_paid(self):
        s = self.s
        t = await s.opened(5 * ONE_GAS)
        receiver = GenericContract(contract.CONTRACT_HASHES.LEDGER).hash
        await s.call("withdraw", s.withdrawal(t, 2 * ONE_GAS, receiver, LATER))
        self.assertEqual((await s.read("collectable", [GAS.hash, receiver])).as_int(), 2 * ONE_GAS)
        await self.refused("did not agree", "collect", [GAS.hash, receiver, self.paid])
        await self.holds(3 * ONE_GAS, 0, 2 * ONE_GAS)

    async def test_pins(self):
        s = self.s
        t = await s.opened(5 * ONE_GAS)
        height = await node.height()
        await self.refused("not confirmed", "pin", [height + 100])
        receipt = await s.call("pin", [height - 10])
        branch = [n for n in receipt.notifications if n.event_name == "Pinned"][0].state.as_list()[0].as_bytes()
        self.assertEqual(branch, await node.block_hash(height - 10))
        self.assertTrue((await s.read("isPinned", [branch])).as_bool())
        await s.call("checkpoint", [*t.args, *s.signed(s.state(t, 1, ONE_GAS, 0, branch=branch)).args])

    async def test_there_is_no_update(self):
        for method in ("update", "destroy"):
            self.assertIn("method not found", await self.s.refusal(method, []))


if __name__ == "__main__":
    unittest.main()
