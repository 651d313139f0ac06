"""A neo-go node with a chain of its own: one validator, blocks of 100 ms, everything in memory, loopback only."""
import asyncio
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from neo3.api import noderpc
from neo3.api.helpers.signing import sign_insecure_with_account, sign_insecure_with_multisig_account
from neo3.api.wrappers import ChainFacade, GasToken
from neo3.network.payloads.verification import Signer
from neo3.wallet import account, wallet
from neo3.wallet.scrypt_parameters import ScryptParameters

FOLDER = pathlib.Path(__file__).resolve().parent.parent
PASSWORD = "one"
BLOCK_MS = 100
# Keys are made for each run and live in memory and a temporary folder: no work for nothing.
WEAK = ScryptParameters(2, 1, 1)
START_SECONDS = 60

CONFIG = """
ProtocolConfiguration:
  Magic: 827081
  MaxTraceableBlocks: 200000
  TimePerBlock: {block_ms}ms
  MemPoolSize: 100
  StandbyCommittee: [{validator}]
  ValidatorsCount: 1
  VerifyTransactions: true
ApplicationConfiguration:
  DBConfiguration: {{Type: inmemory}}
  P2P:
    Addresses: ["127.0.0.1:0"]
    DialTimeout: 3s
    ProtoTickInterval: 2s
    PingInterval: 30s
    PingTimeout: 90s
    MinPeers: 0
    MaxPeers: 1
    AttemptConnPeers: 1
  Relay: true
  Consensus:
    Enabled: true
    UnlockWallet: {{Path: "{wallet}", Password: "{password}"}}
  RPC:
    Enabled: true
    MaxGasInvoke: 50
    Addresses: ["127.0.0.1:{port}"]
"""


def new_account() -> account.Account:
    return account.Account.create_new(PASSWORD, scrypt_parameters=WEAK)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def signer_of(who: account.Account):
    """A signature whose witness counts in what the transaction calls itself."""
    sign = sign_insecure_with_multisig_account if who.is_multisig else sign_insecure_with_account
    return sign(who, PASSWORD), Signer(who.script_hash)


class Node:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ring0-neo-"))
        keys = wallet.Wallet(scrypt_params=WEAK)
        validator = new_account()
        keys.account_add(validator, is_default=True)
        # All GAS of the first block is the committee's.
        self.bank = keys.import_multisig_address(1, [validator.public_key])
        (self.folder / "wallet.json").write_text(json.dumps(keys.to_json()))
        port = free_port()
        (self.folder / "protocol.yml").write_text(
            CONFIG.format(
                block_ms=BLOCK_MS,
                validator=validator.public_key,
                wallet=self.folder / "wallet.json",
                password=PASSWORD,
                port=port,
            )
        )
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            [FOLDER / "tools" / "neogo", "node", "--config-file", self.folder / "protocol.yml", "--relative-path", self.folder],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.facade = ChainFacade(f"http://127.0.0.1:{port}", receipt_retry_delay=0.05, receipt_timeout=30)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    text = (self.folder / "log").read_text()[-2000:]
                    self.stop()
                    raise RuntimeError(f"the node did not start in {START_SECONDS} s; the end of its log:\n{text}")
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)

    async def pause(self, seconds: float):
        await asyncio.sleep(seconds)

    async def send(self, call, *who: account.Account):
        """In a block. An exception carries what the contract said."""
        receipt = await self.facade.invoke(call, signers=[signer_of(w) for w in who])
        if receipt.state != "HALT":
            raise RuntimeError(receipt.exception)
        return receipt

    async def ask(self, call, *who: account.Account):
        """What the call would do in the next block: (state, exception, first result)."""
        result = await self.facade.test_invoke_raw(call, signers=[Signer(w.script_hash) for w in who])
        return result.state, result.exception, (result.stack[0] if result.stack else None)

    async def height(self) -> int:
        async with noderpc.NeoRpcClient(self.facade.rpc_host) as client:
            return await client.get_block_count() - 1

    async def time(self) -> int:
        """Seconds of the newest block."""
        async with noderpc.NeoRpcClient(self.facade.rpc_host) as client:
            block = await client.get_block(await client.get_block_count() - 1)
            return block.header.timestamp // 1000

    async def block_hash(self, index: int) -> bytes:
        async with noderpc.NeoRpcClient(self.facade.rpc_host) as client:
            return (await client.get_block_hash(index)).to_array()

    async def rich(self, gas: int) -> account.Account:
        """A new account with so much GAS."""
        who = new_account()
        await self.send(GasToken().transfer_friendly(self.bank.script_hash, who.script_hash, gas), self.bank)
        return who
