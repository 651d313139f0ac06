"""Trader, operator and treasury on a hub of their own, and what they sign: docs/channels.md in Python, held to the vectors."""
import json
from dataclasses import dataclass, field

from coincurve import PrivateKey
from Crypto.Hash import keccak
from neo3.api.wrappers import GasToken, GenericContract, NEP17Contract
from neo3.contracts import manifest, nef
from neo3.core import types
from node import FOLDER, Node

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
LINEAGE = 827081
VENUE = b"\x07" * 32
# Seconds of the machine: long enough for the calls of a busy one, short enough to wait for.
WINDOW = 6
VAULT_DELAY = 7
CONFIRMATIONS = 2
GAS = GasToken()

CHANNEL_STATE = (
    "ChannelState(bytes32 channel,uint40 version,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,"
    "uint40 epoch,uint8 kind,bytes32 branch)"
)
WITHDRAWAL = "Withdrawal(bytes32 channel,uint128 withdrawn,address recipient,bytes32 branch,uint40 deadline)"
CLOSING = (
    "Closing(bytes32 channel,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,address recipient,"
    "bytes32 branch,uint40 deadline)"
)


def hash_of(*parts) -> bytes:
    """keccak256 of words: a text stands for its own hash, a number and 20 bytes are padded."""
    return keccak_of(b"".join(word(p) for p in parts))


def keccak_of(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def word(part) -> bytes:
    if isinstance(part, str):
        return keccak_of(part.encode())
    if isinstance(part, int):
        return (part % 2**256).to_bytes(32, "big")
    return bytes(part).rjust(32, b"\0")


def hub_separator(lineage: int, hub: bytes) -> bytes:
    domain = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    return hash_of(domain, "Ring0 Channel Hub", "1", lineage, hub)


def venue_separator(venue: bytes) -> bytes:
    return hash_of("EIP712Domain(string name,string version,bytes32 salt)", "Ring0 Venue", "1", venue)


def preimage(separator: bytes, message: bytes) -> bytes:
    return b"\x19\x01" + separator + message


def state_message(state: bytes, account_root: bytes) -> bytes:
    inner = keccak_of(word(CHANNEL_STATE) + state)
    return hash_of("State(ChannelState state,bytes32 accountRoot)" + CHANNEL_STATE, inner, account_root)


def account_message(account: int, epoch: int, account_root: bytes) -> bytes:
    return hash_of("AccountState(uint64 account,uint40 epoch,bytes32 accountRoot)", account, epoch, account_root)


def account_root(state: bytes, position: int, path: list[bytes]) -> bytes:
    node = keccak_of(b"\0" + keccak_of(word(CHANNEL_STATE) + state))
    for sibling in path:
        node = keccak_of(b"\1" + (sibling + node if position & 1 else node + sibling))
        position >>= 1
    return node


class Key:
    """secp256k1, known by the last 20 bytes of keccak256(x | y)."""

    def __init__(self, secret: PrivateKey | None = None):
        self.secret = secret or PrivateKey()
        self.point = self.secret.public_key.format(compressed=False)[1:]
        self.address = keccak_of(self.point)[12:]

    def sign(self, separator: bytes, message: bytes, high: bool = False) -> bytes:
        """EIP-2098; with `high` the other s, which no contract of ours takes."""
        raw = self.secret.sign_recoverable(keccak_of(preimage(separator, message)), hasher=None)
        s, parity = int.from_bytes(raw[32:64], "big"), raw[64]
        if high:
            s, parity = ORDER - s, parity ^ 1
        # s above 2^255 would need the bit of the parity.
        return raw[:32] + ((parity << 255 | s) % 2**256).to_bytes(32, "big")


@dataclass
class Terms:
    owner: object
    cosigner: Key
    token: types.UInt160
    nonce: int

    @property
    def args(self) -> list:
        return [self.owner.script_hash, self.cosigner.address, self.token, self.nonce]


@dataclass
class Signed:
    """A state with both halves."""

    state: bytes
    root: bytes
    account: int
    position: int
    path: bytes
    trader: bytes
    operator: bytes

    @property
    def args(self) -> list:
        return [self.state, self.root, self.account, self.position, self.path, self.trader, self.operator]


@dataclass
class Scene:
    node: Node
    hub: GenericContract = None
    operator: Key = field(default_factory=Key)
    trader: Key = field(default_factory=Key)
    alice: object = None
    house: object = None
    treasury: object = None
    branch: bytes = b""
    nonce: int = 0

    @classmethod
    async def new(cls, node: Node) -> "Scene":
        s = cls(node)
        s.alice, s.house, s.treasury = [await node.rich(1000) for _ in range(3)]
        program = nef.NEF.from_file(str(FOLDER / "out" / "channel_hub.nef"))
        description = manifest.ContractManifest.from_file(str(FOLDER / "out" / "channel_hub.manifest.json"))
        settings = [LINEAGE, VENUE, s.operator.point, s.house.script_hash, s.treasury.script_hash, WINDOW, VAULT_DELAY, CONFIRMATIONS]
        receipt = await node.send(GenericContract.deploy(program, description, settings), s.house)
        s.hub = GenericContract(receipt.result)
        s.address = receipt.result.to_array()
        s.separator = hub_separator(LINEAGE, s.address)
        pinned = [n for n in receipt.notifications if n.event_name == "Pinned"]
        s.branch = pinned[0].state.as_list()[0].as_bytes()
        await s.call("register", [s.trader.point], s.alice)
        return s

    # ---- calls

    async def call(self, method: str, args: list, *who):
        return await self.node.send(self.hub.call_function(method, args), *(who or (self.alice,)))

    async def refusal(self, method: str, args: list, *who) -> str:
        """What the contract says to it; fails if it says nothing."""
        state, exception, _ = await self.node.ask(self.hub.call_function(method, args), *(who or (self.alice,)))
        assert state == "FAULT", f"{method} was not refused"
        return exception

    async def read(self, method: str, args: list):
        state, exception, item = await self.node.ask(self.hub.call_function(method, args))
        assert state == "HALT", exception
        return item

    async def numbers(self, method: str, args: list) -> list[int]:
        return [item.as_int() for item in (await self.read(method, args)).as_list()]

    async def pay(self, who, amount: int, data: list, token: NEP17Contract = GAS):
        call = token.transfer(who.script_hash, self.hub.hash, amount, data)
        return await self.node.send(call, who)

    async def payment_refusal(self, who, amount: int, data, token: NEP17Contract = GAS) -> str:
        call = token.transfer(who.script_hash, self.hub.hash, amount, data)
        state, exception, _ = await self.node.ask(call, who)
        assert state == "FAULT", "the payment was not refused"
        return exception

    async def balance(self, script_hash: types.UInt160, token: NEP17Contract = GAS) -> int:
        return await self.node.facade.test_invoke(token.balance_of(script_hash))

    async def after(self, deadline: int):
        """Returns when the newest block's time is at least the deadline, so the next call's is too."""
        while await self.node.time() < deadline:
            await self.node.pause(0.1)

    # ---- channels

    async def opened(self, amount: int, token: NEP17Contract = GAS) -> Terms:
        self.nonce += 1
        t = Terms(self.alice, self.trader, token.hash, self.nonce)
        await self.pay(self.alice, amount, ["open", *t.args[:2], t.nonce], token)
        return t

    def id_of(self, t: Terms) -> bytes:
        owner, token = t.owner.script_hash.to_array(), t.token.to_array()
        return hash_of(LINEAGE, self.address, owner, t.cosigner.address, token, t.nonce)

    def state(self, t: Terms, version: int, balance: int, deposited: int, withdrawn: int = 0, epoch: int = 1, **other) -> bytes:
        channel, kind, branch = other.get("channel", self.id_of(t)), other.get("kind", 1), other.get("branch", self.branch)
        return b"".join(word(p) for p in [channel, version, balance, deposited, withdrawn, epoch, kind, branch])

    def signed(self, state: bytes, cosigner: Key | None = None, operator: Key | None = None, high: bool = False) -> Signed:
        account, position, path = 7, 2, [b"\x11" * 32, b"\x22" * 32]
        root = account_root(state, position, path)
        epoch = int.from_bytes(state[160:192], "big")
        trader = (cosigner or self.trader).sign(venue_separator(VENUE), account_message(account, epoch, root), high)
        by_operator = (operator or self.operator).sign(self.separator, state_message(state, root))
        return Signed(state, root, account, position, b"".join(path), trader, by_operator)

    def withdrawal(self, t: Terms, withdrawn: int, recipient: types.UInt160, deadline: int) -> list:
        message = hash_of(WITHDRAWAL, self.id_of(t), withdrawn, recipient.to_array(), self.branch, deadline)
        return [*t.args, withdrawn, recipient, self.branch, deadline, self.operator.sign(self.separator, message)]

    def closing(self, t: Terms, balance: int, deposited: int, withdrawn: int, recipient: types.UInt160, deadline: int) -> list:
        message = hash_of(CLOSING, self.id_of(t), balance, deposited, withdrawn, recipient.to_array(), self.branch, deadline)
        signature = self.operator.sign(self.separator, message)
        return [*t.args, balance, deposited, withdrawn, recipient, self.branch, deadline, signature]


def vectors() -> list[dict]:
    return json.loads((FOLDER.parent / "vectors" / "accounts.json").read_text())["cases"]
