# SPDX-License-Identifier: MIT OR Apache-2.0
"""The hub of NEO N3: the compact form of docs/channels.md, for neo3-boa. What differs: docs/channels-neo.md.

Always: a token's balance of this contract is the escrow of its open channels, its vault, its funded claims and what waits to be
collected; an id is used once; versions and epochs of a channel never go back. Amounts are in the token's smallest unit, times in
seconds. A word is 32 bytes, big-endian. An account is 20 bytes in the order the VM has them.
"""
from typing import Any, cast

from boa3.sc import runtime, storage
from boa3.sc.compiletime import NeoMetadata, public
from boa3.sc.contracts import ContractManagement, CryptoLib, LedgerContract
from boa3.sc.types import Block, ECPoint, Event, NamedCurveHash, UInt160
from boa3.sc.utils import CreateNewEvent, call_contract, to_bytes, to_int

# keccak256 of the text above each.
# EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)
HUB_DOMAIN = b'\x8b\x73\xc3\xc6\x9b\xb8\xfe\x3d\x51\x2e\xcc\x4c\xf7\x59\xcc\x79\x23\x9f\x7b\x17\x9b\x0f\xfa\xca\xa9\xa7\x5d\x52\x2b\x39\x40\x0f'
# EIP712Domain(string name,string version,bytes32 salt)
VENUE_DOMAIN = b'\x59\x9a\x80\xfc\xaa\x47\xb9\x5e\x23\x23\xab\x4d\x34\xd3\x4e\x0c\xc9\xfe\xda\x4b\x84\x3e\xda\xfc\xc3\x0c\x7b\xdf\x60\xea\x15\xbf'
# Ring0 Channel Hub
HUB_NAME = b'\x17\x1a\x92\xac\x0c\x2b\x51\x98\x88\x78\xda\xe9\x65\xd9\x7a\xcb\x97\x4a\x6e\xce\xd1\xf1\x74\xce\xb4\xf4\xbb\x49\xf7\xad\x18\xc3'
# Ring0 Venue
VENUE_NAME = b'\x53\x59\xea\x5f\x6b\xee\x8c\x20\xf9\xab\x9d\x13\x4a\x04\x55\x45\x19\xf4\xc8\xd6\xb7\xaa\x45\xc0\xca\x9d\xf7\xa0\xb5\x87\x6d\xf9'
# 1
DOMAIN_VERSION = b'\xc8\x9e\xfd\xaa\x54\xc0\xf2\x0c\x7a\xdf\x61\x28\x82\xdf\x09\x50\xf5\xa9\x51\x63\x7e\x03\x07\xcd\xcb\x4c\x67\x2f\x29\x8b\x8b\xc6'
# ChannelState(bytes32 channel,uint40 version,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,uint40 epoch,uint8 kind,bytes32 branch)
CHANNEL_STATE = b'\xfb\x86\x7d\x02\xd7\x22\x41\xca\x22\x45\xd8\x6b\x60\x88\xa7\xc0\x55\x0f\xc9\xb7\xdb\xb7\x3b\x0d\xae\x22\x09\xfe\x61\x0c\x85\x0f'
# State(ChannelState state,bytes32 accountRoot)ChannelState(bytes32 channel,uint40 version,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,uint40 epoch,uint8 kind,bytes32 branch)
STATE = b'\x20\xbf\xc5\xdf\x45\xd0\x0f\x5e\xa3\xe6\x45\xfd\x0b\x84\xc6\xda\x90\x30\x39\x0a\x9b\xc8\xcb\xb6\xe8\x52\xdc\xb8\x73\x59\x11\x48'
# AccountState(uint64 account,uint40 epoch,bytes32 accountRoot)
ACCOUNT_STATE = b'\xe0\xd7\xb0\x8f\x13\x8d\x3c\x4d\x20\x57\x7b\xe5\xae\x72\xfd\xac\x59\xe4\x18\x37\xb4\x6b\xff\x4a\xfd\xb4\x37\x33\x0b\x35\xb1\x69'
# Withdrawal(bytes32 channel,uint128 withdrawn,address recipient,bytes32 branch,uint40 deadline)
WITHDRAWAL = b'\x18\x69\x02\x62\x13\x45\xc7\x99\x84\x5d\x94\x92\xc2\xff\xaa\x38\xa6\x7d\x83\xb9\x71\x4c\xe3\x61\x21\x03\xfc\xf2\xde\x18\x2d\x7b'
# Closing(bytes32 channel,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,address recipient,bytes32 branch,uint40 deadline)
CLOSING = b'\xe3\x40\xa0\x92\x9e\x94\x4d\x54\x59\xee\x7b\x65\x8f\xef\xf2\x58\xcc\xca\xb9\x06\xb1\x13\x7a\x6a\x5c\x8b\x49\x8a\x05\x67\xcd\x9c'

# 104 bits, as on every chain: a state that is good here is good there.
AMOUNT_MAX = 20282409603651670423947251286015
# 40 bits.
NUMBER_MAX = 1099511627775
KIND_TRADING = 1
DEPTH_MAX = 16
# secp256k1's order, halved, as the 32 bytes of a word: the highest s there is.
HALF_ORDER = 57896044618658097711785492504343953926418782139537452191302581570759080747168
TWO_TO_248 = 452312848583266388373324160190187140051835877600158453279131187530910662656

OPEN = 1
CLOSED = 2

ZERO_WORD = b'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'

# Storage. Per channel, by id:
DEPOSITED = b'd'
WITHDRAWN = b'w'
MOVED = b'm'  # net of what the vault gave into the escrow
FLAGS = b'f'
BASE = b'b'  # balance - depositedSeen + withdrawnSeen of the newest recorded state
VERSION = b'v'
EPOCH = b'e'
DEADLINE = b't'  # zero: no dispute
CLAIM_START = b's'
CLAIM = b'c'
# Per token:
VAULT = b'V'
OWED = b'O'  # length of the line of claims
FUNDED = b'F'  # how far inflow has come on it
REQUESTED = b'R'
REQUESTED_FROM = b'T'
# By (token, account), branch, address:
UNDELIVERED = b'U'
PINNED = b'P'  # the pinned block's index plus one
KEY = b'K'  # compressed public key
# Fixed at deployment:
LINEAGE = b'1'
HUB_SEPARATOR = b'2'
VENUE_SEPARATOR = b'3'
OPERATOR = b'4'  # address of the signing key
OPERATOR_ACCOUNT = b'5'  # NEO account that may start disputes
TREASURY = b'6'
WINDOW = b'7'
VAULT_DELAY = b'8'
CONFIRMATIONS = b'9'

opened: Event = CreateNewEvent([('channel', bytes), ('owner', UInt160), ('cosigner', bytes), ('token', UInt160), ('nonce', int), ('amount', int)], 'Opened')
deposited_event: Event = CreateNewEvent([('channel', bytes), ('amount', int), ('deposited', int)], 'Deposited')
withdrawn_event: Event = CreateNewEvent([('channel', bytes), ('recipient', UInt160), ('amount', int), ('withdrawn', int)], 'Withdrawn')
closed_event: Event = CreateNewEvent([('channel', bytes), ('recipient', UInt160), ('amount', int)], 'Closed')
disputed: Event = CreateNewEvent([('channel', bytes), ('version', int), ('base', int), ('deadline', int)], 'Disputed')
refuted: Event = CreateNewEvent([('channel', bytes), ('version', int), ('base', int)], 'Refuted')
checkpointed: Event = CreateNewEvent([('channel', bytes), ('version', int), ('base', int)], 'Checkpointed')
settled: Event = CreateNewEvent([('channel', bytes), ('paid', int), ('claimed', int)], 'Settled')
claim_paid: Event = CreateNewEvent([('channel', bytes), ('amount', int), ('left', int)], 'ClaimPaid')
disclosed: Event = CreateNewEvent([('account', int), ('epoch', int), ('account_root', bytes), ('signature', bytes)], 'Disclosed')
vault_funded: Event = CreateNewEvent([('token', UInt160), ('amount', int)], 'VaultFunded')
vault_requested: Event = CreateNewEvent([('token', UInt160), ('amount', int), ('from', int)], 'VaultWithdrawalRequested')
vault_withdrawn: Event = CreateNewEvent([('token', UInt160), ('amount', int)], 'VaultWithdrawn')
pinned_event: Event = CreateNewEvent([('branch', bytes), ('block', int)], 'Pinned')
kept: Event = CreateNewEvent([('token', UInt160), ('account', UInt160), ('amount', int)], 'Kept')


def manifest() -> NeoMetadata:
    meta = NeoMetadata()
    meta.name = 'Ring0ChannelHub'
    meta.supported_standards = ['NEP-27']
    # Any NEP-17 token may be escrowed.
    meta.add_permission(methods=['transfer'])
    return meta


# ---- deployment: no update, no destroy


@public
def _deploy(data: Any, update: bool):
    assert not update, 'the hub has no update'
    settings = cast(list, data)
    assert len(settings) == 8, 'settings: lineage, venue, operator key, operator account, treasury, window, vault delay, confirmations'
    lineage = cast(int, settings[0])
    venue = cast(bytes, settings[1])
    operator_account = cast(bytes, settings[3])
    treasury = cast(bytes, settings[4])
    window = cast(int, settings[5])
    vault_delay = cast(int, settings[6])
    confirmations = cast(int, settings[7])
    assert lineage > 0, 'lineage is not positive'
    assert len(venue) == 32, 'venue is not 32 bytes'
    assert len(operator_account) == 20 and len(treasury) == 20, 'operator account or treasury is not 20 bytes'
    assert window > 0, 'window is zero'
    assert vault_delay > window, 'vault delay is not longer than window'
    assert confirmations >= 0, 'confirmations are negative'
    storage.put_int(LINEAGE, lineage)
    storage.put(HUB_SEPARATOR, CryptoLib.keccak256(HUB_DOMAIN + HUB_NAME + DOMAIN_VERSION + word(lineage) + account_word(runtime.executing_script_hash)))
    storage.put(VENUE_SEPARATOR, CryptoLib.keccak256(VENUE_DOMAIN + VENUE_NAME + DOMAIN_VERSION + venue))
    storage.put(OPERATOR, register(cast(bytes, settings[2])))
    storage.put(OPERATOR_ACCOUNT, operator_account)
    storage.put(TREASURY, treasury)
    storage.put_int(WINDOW, window)
    storage.put_int(VAULT_DELAY, vault_delay)
    storage.put_int(CONFIRMATIONS, confirmations)
    pin_block(LedgerContract.get_current_index())


# ---- words and hashes


def flipped(value: bytes) -> bytes:
    result = b''
    i = len(value)
    while i > 0:
        i -= 1
        result += value[i:i + 1]
    return result


def word(value: int) -> bytes:
    """Of a number that is not negative and below 2**255."""
    padded = to_bytes(value) + ZERO_WORD
    return flipped(padded[0:32])


def account_word(account: bytes) -> bytes:
    return ZERO_WORD[0:12] + account


def number(data: bytes, index: int, most: int) -> int:
    """Word number `index` of `data`; refused above `most`."""
    at = 32 * index
    # The VM's integers have 256 bits with the sign: no number here needs more than the lower half of its word.
    assert data[at:at + 16] == ZERO_WORD[0:16], 'a number of the state is too large'
    value = to_int(flipped(data[at + 16:at + 32]) + ZERO_WORD[0:1])
    assert value <= most, 'a number of the state is too large'
    return value


def id_of(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int) -> bytes:
    assert len(owner) == 20 and len(cosigner) == 20 and len(token) == 20, 'owner, co-signer and token are 20 bytes each'
    assert nonce >= 0 and nonce <= 18446744073709551615, 'nonce is not a number of 64 bits'
    lineage = storage.get_int(LINEAGE)
    return CryptoLib.keccak256(word(lineage) + account_word(runtime.executing_script_hash) + account_word(owner) + account_word(cosigner) + account_word(token) + word(nonce))


def channel_state_hash(state: bytes) -> bytes:
    return CryptoLib.keccak256(CHANNEL_STATE + state)


def state_message(state: bytes, account_root: bytes) -> bytes:
    return CryptoLib.keccak256(STATE + channel_state_hash(state) + account_root)


def account_message(account: int, epoch: int, account_root: bytes) -> bytes:
    return CryptoLib.keccak256(ACCOUNT_STATE + word(account) + word(epoch) + account_root)


def root_of(leaf: bytes, position: int, path: bytes) -> bytes:
    depth = len(path) // 32
    assert depth * 32 == len(path) and depth <= DEPTH_MAX, 'a path has at most 16 hashes of 32 bytes'
    assert position >= 0, 'position is negative'
    result = CryptoLib.keccak256(b'\x00' + leaf)
    i = 0
    while i < depth:
        beside = path[32 * i:32 * i + 32]
        if position % 2 == 0:
            result = CryptoLib.keccak256(b'\x01' + result + beside)
        else:
            result = CryptoLib.keccak256(b'\x01' + beside + result)
        position = position // 2
        i += 1
    assert position == 0, 'position lies outside the tree'
    return result


# ---- keys and signatures


@public
def register(key: bytes) -> bytes:
    """Makes a key known by its address, the last 20 bytes of keccak256(x | y). Anybody may; the address binds the key."""
    assert len(key) == 64, 'a key is x and y, 64 bytes'
    address = CryptoLib.keccak256(key)[12:32]
    # The parity of y is that of its last byte.
    odd = to_int(key[63:64] + ZERO_WORD[0:1]) % 2 == 1
    prefix = b'\x03' if odd else b'\x02'
    storage.put(KEY + address, prefix + key[0:32])
    return address


def require_signed(signer: bytes, separator: bytes, message: bytes, signature: bytes):
    """64 bytes (EIP-2098), s in the lower half. The VM hashes the 66 bytes: what it verifies is the EIP-712 digest."""
    assert len(signature) == 64, 'a signature is 64 bytes'
    key = storage.get(KEY + signer)
    assert len(key) == 33, 'the signer is not registered'
    # The highest bit is the parity of y, which a verification does not need.
    first = to_int(signature[32:33] + ZERO_WORD[0:1]) % 128
    s = first * TWO_TO_248 + to_int(flipped(signature[33:64]) + ZERO_WORD[0:1])
    assert s <= HALF_ORDER, 's of the signature is in the upper half'
    plain = signature[0:32] + word(s)
    assert CryptoLib.verify_with_ecdsa(b'\x19\x01' + separator + message, cast(ECPoint, key), plain, NamedCurveHash.SECP256K1KECCAK256), 'wrong signer'


def require_pinned(branch: bytes):
    assert storage.get_int(PINNED + branch) != 0, 'the branch is not pinned'


def require_in_time(deadline: int):
    assert deadline <= NUMBER_MAX, 'the deadline is not a number of 40 bits'
    assert now() <= deadline, 'expired'


def now() -> int:
    return runtime.time // 1000


def require_open(channel: bytes):
    flags = storage.get_int(FLAGS + channel)
    assert flags != 0, 'the channel is not open'
    assert flags == OPEN, 'the channel is closed'


def require_trader(channel: bytes, cosigner: bytes, state: bytes, account_root: bytes, account: int, position: int, path: bytes, signature: bytes):
    """The trader's half; discloses it."""
    assert len(state) == 256, 'a state is 256 bytes'
    assert len(account_root) == 32, 'an account root is 32 bytes'
    assert state[0:32] == channel, 'the state is of another channel'
    number(state, 1, NUMBER_MAX)
    number(state, 2, AMOUNT_MAX)
    number(state, 3, AMOUNT_MAX)
    number(state, 4, AMOUNT_MAX)
    epoch = number(state, 5, NUMBER_MAX)
    assert number(state, 6, 255) == KIND_TRADING, 'the kind is unknown'
    require_pinned(state[224:256])
    assert account >= 0 and account <= 18446744073709551615, 'account is not a number of 64 bits'
    assert root_of(channel_state_hash(state), position, path) == account_root, 'the state does not lie under the account root'
    require_signed(cosigner, storage.get(VENUE_SEPARATOR), account_message(account, epoch, account_root), signature)
    disclosed(account, epoch, account_root, signature)


def require_evidence(channel: bytes, cosigner: bytes, state: bytes, account_root: bytes, account: int, position: int, path: bytes, trader: bytes, operator: bytes):
    require_trader(channel, cosigner, state, account_root, account, position, path, trader)
    require_signed(storage.get(OPERATOR), storage.get(HUB_SEPARATOR), state_message(state, account_root), operator)


# ---- arithmetic


def base_of(state: bytes) -> int:
    return number(state, 2, AMOUNT_MAX) - number(state, 3, AMOUNT_MAX) + number(state, 4, AMOUNT_MAX)


def escrow_of(channel: bytes) -> int:
    return storage.get_int(DEPOSITED + channel) + storage.get_int(MOVED + channel) - storage.get_int(WITHDRAWN + channel)


def entitlement_of(channel: bytes, base: int) -> int:
    entitled = base + storage.get_int(DEPOSITED + channel) - storage.get_int(WITHDRAWN + channel)
    return entitled if entitled > 0 else 0


def free_of(token: UInt160) -> int:
    """While a claim is open the vault belongs to it."""
    if storage.get_int(OWED + token) > storage.get_int(FUNDED + token):
        return 0
    return storage.get_int(VAULT + token)


def inflow(token: UInt160, amount: int):
    """New money: claims first, in their order, then the vault."""
    funded = storage.get_int(FUNDED + token)
    open_claims = storage.get_int(OWED + token) - funded
    paid = amount if amount < open_claims else open_claims
    if paid > 0:
        storage.put_int(FUNDED + token, funded + paid)
    storage.put_int(VAULT + token, storage.get_int(VAULT + token) + amount - paid)


def pay(token: UInt160, to: UInt160, amount: int):
    """The last thing a call does. A contract that is paid can abort and nobody can catch that: it collects by itself."""
    if amount == 0:
        return
    if ContractManagement.get_contract(to) is None:
        send(token, to, amount)
    else:
        key = UNDELIVERED + token + to
        storage.put_int(key, storage.get_int(key) + amount)
        kept(token, to, amount)


def send(token: UInt160, to: UInt160, amount: int):
    sent = cast(bool, call_contract(token, 'transfer', [runtime.executing_script_hash, to, amount, None]))
    assert sent, 'the token refused the transfer'


# ---- money in


@public(name='onNEP17Payment')
def on_nep17_payment(payer: UInt160, amount: int, data: Any):
    """`data` says what it is for: ['open' | 'deposit', owner, co-signer, nonce] or ['vault']. The caller is the token."""
    token = runtime.calling_script_hash
    assert ContractManagement.get_contract(token) is not None, 'only a token pays'
    assert amount >= 0 and amount <= AMOUNT_MAX, 'the amount is too large'
    if payer is None:
        # Nobody's: the GAS that NEO earns by lying here is minted whenever NEO moves, and a refusal would stop the move.
        inflow(token, amount)
        vault_funded(token, amount)
        return
    assert isinstance(data, list), 'data says what the payment is for: open, deposit or vault'
    purpose = cast(list, data)
    assert len(purpose) > 0, 'data says what the payment is for: open, deposit or vault'
    kind = cast(str, purpose[0])
    if kind == 'vault':
        assert amount > 0, 'the amount is zero'
        assert storage.get_int(VAULT + token) + amount <= AMOUNT_MAX, 'the amount is too large'
        inflow(token, amount)
        vault_funded(token, amount)
        return
    assert len(purpose) == 4, 'data: open or deposit, owner, co-signer, nonce'
    owner = cast(UInt160, purpose[1])
    cosigner = cast(bytes, purpose[2])
    nonce = cast(int, purpose[3])
    channel = id_of(owner, cosigner, token, nonce)
    if kind == 'open':
        assert owner != UInt160() and cosigner != ZERO_WORD[0:20], 'a party is zero'
        # An operator that is also the co-signer would sign both halves of a state.
        assert cosigner != storage.get(OPERATOR), 'the operator cannot be the co-signer'
        assert len(storage.get(KEY + cosigner)) == 33, 'the co-signer is not registered'
        assert storage.get_int(FLAGS + channel) == 0, 'the channel was used'
        assert owner == payer or runtime.check_witness(owner), 'the owner did not agree'
        storage.put_int(FLAGS + channel, OPEN)
        storage.put_int(DEPOSITED + channel, amount)
        opened(channel, owner, cosigner, token, nonce, amount)
    else:
        assert kind == 'deposit', 'data says what the payment is for: open, deposit or vault'
        assert amount > 0, 'the amount is zero'
        require_open(channel)
        assert storage.get_int(DEADLINE + channel) == 0, 'the channel is in dispute'
        total = storage.get_int(DEPOSITED + channel) + amount
        assert total <= AMOUNT_MAX, 'the amount is too large'
        storage.put_int(DEPOSITED + channel, total)
        deposited_event(channel, amount, total)


# ---- by agreement: the owner by its witness, the operator by its signature


@public
def withdraw(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int, withdrawn: int, recipient: UInt160, branch: bytes, deadline: int, operator: bytes):
    """Pays up to a cumulative sum: own escrow, then the vault's free part."""
    channel = id_of(owner, cosigner, token, nonce)
    require_open(channel)
    before = storage.get_int(WITHDRAWN + channel)
    assert withdrawn > before, 'no more than was withdrawn'
    assert withdrawn <= AMOUNT_MAX, 'the amount is too large'
    message = CryptoLib.keccak256(WITHDRAWAL + channel + word(withdrawn) + account_word(recipient) + branch + word(deadline))
    require_agreed(owner, recipient, branch, deadline, message, operator)
    amount = withdrawn - before
    escrow = escrow_of(channel)
    if amount > escrow:
        take_free(token, amount - escrow)
        storage.put_int(MOVED + channel, storage.get_int(MOVED + channel) + amount - escrow)
    storage.put_int(WITHDRAWN + channel, withdrawn)
    withdrawn_event(channel, recipient, amount, withdrawn)
    pay(token, recipient, amount)


@public
def close(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int, balance: int, deposited_seen: int, withdrawn_seen: int, recipient: UInt160, branch: bytes, deadline: int, operator: bytes):
    """Pays the entitlement; the rest of the escrow goes to the vault."""
    channel = id_of(owner, cosigner, token, nonce)
    require_open(channel)
    assert balance >= 0 and balance <= AMOUNT_MAX and deposited_seen >= 0 and deposited_seen <= AMOUNT_MAX and withdrawn_seen >= 0 and withdrawn_seen <= AMOUNT_MAX, 'the amount is too large'
    message = CryptoLib.keccak256(CLOSING + channel + word(balance) + word(deposited_seen) + word(withdrawn_seen) + account_word(recipient) + branch + word(deadline))
    require_agreed(owner, recipient, branch, deadline, message, operator)
    entitled = entitlement_of(channel, balance - deposited_seen + withdrawn_seen)
    escrow = escrow_of(channel)
    storage.put_int(FLAGS + channel, CLOSED)
    if entitled < escrow:
        inflow(token, escrow - entitled)
    elif entitled > escrow:
        take_free(token, entitled - escrow)
    closed_event(channel, recipient, entitled)
    pay(token, recipient, entitled)


def require_agreed(owner: UInt160, recipient: UInt160, branch: bytes, deadline: int, message: bytes, operator: bytes):
    require_in_time(deadline)
    assert len(recipient) == 20 and recipient != UInt160() and recipient != runtime.executing_script_hash, 'the recipient is not one'
    require_pinned(branch)
    assert runtime.check_witness(owner), 'the owner did not sign the transaction'
    require_signed(storage.get(OPERATOR), storage.get(HUB_SEPARATOR), message, operator)


def take_free(token: UInt160, amount: int):
    assert amount <= free_of(token), 'not covered by the vault'
    storage.put_int(VAULT + token, storage.get_int(VAULT + token) - amount)


# ---- without the other party


@public
def checkpoint(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int, state: bytes, account_root: bytes, account: int, position: int, path: bytes, trader: bytes, operator: bytes):
    """Records a state without a dispute."""
    channel = id_of(owner, cosigner, token, nonce)
    require_open(channel)
    require_evidence(channel, cosigner, state, account_root, account, position, path, trader, operator)
    assert storage.get_int(DEADLINE + channel) == 0, 'the channel is in dispute'
    version = number(state, 1, NUMBER_MAX)
    assert version > storage.get_int(VERSION + channel), 'the version is not newer'
    record(channel, state, 0)
    checkpointed(channel, version, base_of(state))


@public
def dispute(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int, state: bytes, account_root: bytes, account: int, position: int, path: bytes, trader: bytes, operator: bytes):
    """Starts the window. By owner or operator: who has read a checkpoint could otherwise end other people's channels."""
    channel = id_of(owner, cosigner, token, nonce)
    require_party(channel, owner)
    require_evidence(channel, cosigner, state, account_root, account, position, path, trader, operator)
    version = number(state, 1, NUMBER_MAX)
    recorded = storage.get_int(VERSION + channel)
    assert version > 0 and version >= recorded, 'the version is not newer'
    # A second state of the same version has no signature of an honest operator; the one on chain stands.
    assert version > recorded or base_of(state) == storage.get_int(BASE + channel), 'the version is not newer'
    deadline = now() + storage.get_int(WINDOW)
    record(channel, state, deadline)
    disputed(channel, version, base_of(state), deadline)


@public(name='disputeRecorded')
def dispute_recorded(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int):
    """By what the hub has: the last checkpoint, or the deposits less the withdrawals."""
    channel = id_of(owner, cosigner, token, nonce)
    require_party(channel, owner)
    deadline = now() + storage.get_int(WINDOW)
    storage.put_int(DEADLINE + channel, deadline)
    disputed(channel, storage.get_int(VERSION + channel), storage.get_int(BASE + channel), deadline)


@public
def refute(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int, state: bytes, account_root: bytes, account: int, position: int, path: bytes, trader: bytes, operator: bytes):
    """Replaces by a newer state, until the deadline, which stays. By anybody."""
    channel = id_of(owner, cosigner, token, nonce)
    require_open(channel)
    require_evidence(channel, cosigner, state, account_root, account, position, path, trader, operator)
    deadline = storage.get_int(DEADLINE + channel)
    assert deadline != 0, 'the channel is not in dispute'
    assert now() < deadline, 'the window is over'
    version = number(state, 1, NUMBER_MAX)
    assert version > storage.get_int(VERSION + channel), 'the version is not newer'
    record(channel, state, deadline)
    refuted(channel, version, base_of(state))


@public
def settle(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int):
    """Pays the owner after the window. Never refuses for lack of cover: what the vault has not becomes a claim."""
    channel = id_of(owner, cosigner, token, nonce)
    require_open(channel)
    deadline = storage.get_int(DEADLINE + channel)
    assert deadline != 0, 'the channel is not in dispute'
    assert now() >= deadline, 'the window is open'
    storage.put_int(FLAGS + channel, CLOSED)
    entitled = entitlement_of(channel, storage.get_int(BASE + channel))
    escrow = escrow_of(channel)
    paid = entitled
    if entitled < escrow:
        inflow(token, escrow - entitled)
    elif entitled > escrow:
        excess = entitled - escrow
        vault = storage.get_int(VAULT + token)
        covered = excess if excess < vault else vault
        storage.put_int(VAULT + token, vault - covered)
        paid = escrow + covered
        if covered < excess:
            owed = storage.get_int(OWED + token)
            storage.put_int(CLAIM_START + channel, owed)
            storage.put_int(CLAIM + channel, excess - covered)
            storage.put_int(OWED + token, owed + excess - covered)
    settled(channel, paid, entitled - paid)
    pay(token, owner, paid)


def require_party(channel: bytes, owner: UInt160):
    require_open(channel)
    account = cast(UInt160, storage.get(OPERATOR_ACCOUNT))
    assert runtime.check_witness(owner) or runtime.check_witness(account), 'neither owner nor operator signed the transaction'
    assert storage.get_int(DEADLINE + channel) == 0, 'the channel is in dispute'


def record(channel: bytes, state: bytes, deadline: int):
    epoch = number(state, 5, NUMBER_MAX)
    assert epoch >= storage.get_int(EPOCH + channel), 'the epoch goes back'
    storage.put_int(BASE + channel, base_of(state))
    storage.put_int(VERSION + channel, number(state, 1, NUMBER_MAX))
    storage.put_int(EPOCH + channel, epoch)
    storage.put_int(DEADLINE + channel, deadline)


# ---- claims and what waits


def funded_of(channel: bytes, token: UInt160) -> int:
    start = storage.get_int(CLAIM_START + channel)
    reached = storage.get_int(FUNDED + token) - start
    amount = storage.get_int(CLAIM + channel)
    if reached <= 0:
        return 0
    return reached if reached < amount else amount


@public(name='collectClaim')
def collect_claim(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int):
    """Pays what later inflow has funded of a claim. By anybody, to the owner."""
    channel = id_of(owner, cosigner, token, nonce)
    amount = funded_of(channel, token)
    assert amount > 0, 'nothing to collect'
    left = storage.get_int(CLAIM + channel) - amount
    storage.put_int(CLAIM_START + channel, storage.get_int(CLAIM_START + channel) + amount)
    storage.put_int(CLAIM + channel, left)
    claim_paid(channel, amount, left)
    pay(token, owner, amount)


@public
def collect(token: UInt160, account: UInt160, recipient: UInt160):
    """Pays what waits for `account`, a contract, to where it says."""
    assert runtime.check_witness(account), 'the account did not agree'
    key = UNDELIVERED + token + account
    amount = storage.get_int(key)
    assert amount > 0, 'nothing to collect'
    storage.delete(key)
    send(token, recipient, amount)


# ---- vault and branches


@public(name='requestVaultWithdrawal')
def request_vault_withdrawal(token: UInt160, amount: int):
    """Starts the delay. A second request replaces the first."""
    assert runtime.check_witness(cast(UInt160, storage.get(TREASURY))), 'only the treasury withdraws from the vault'
    assert amount > 0 and amount <= AMOUNT_MAX, 'the amount is zero or too large'
    since = now() + storage.get_int(VAULT_DELAY)
    storage.put_int(REQUESTED + token, amount)
    storage.put_int(REQUESTED_FROM + token, since)
    vault_requested(token, amount, since)


@public(name='withdrawVault')
def withdraw_vault(token: UInt160):
    """Pays the treasury what it requested, after the delay and within one window of it; nothing while claims are open."""
    treasury = cast(UInt160, storage.get(TREASURY))
    assert runtime.check_witness(treasury), 'only the treasury withdraws from the vault'
    amount = storage.get_int(REQUESTED + token)
    assert amount > 0, 'nothing was requested'
    since = storage.get_int(REQUESTED_FROM + token)
    assert now() >= since, 'too early'
    assert now() <= since + storage.get_int(WINDOW), 'too late'
    take_free(token, amount)
    storage.delete(REQUESTED + token)
    vault_withdrawn(token, amount)
    pay(token, treasury, amount)


@public
def pin(index: int):
    """Makes a confirmed block a branch."""
    assert index >= 0 and index + storage.get_int(CONFIRMATIONS) <= LedgerContract.get_current_index(), 'the block is not confirmed'
    pin_block(index)


def pin_block(index: int):
    found = LedgerContract.get_block(index)
    assert found is not None, 'the block is out of reach'
    branch = cast(Block, found).hash
    storage.put_int(PINNED + branch, index + 1)
    pinned_event(branch, index)


# ---- reading


@public(name='channelId', safe=True)
def channel_id(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int) -> bytes:
    return id_of(owner, cosigner, token, nonce)


@public(name='channelOf', safe=True)
def channel_of(channel: bytes) -> list:
    """deposited, withdrawn, moved, flags (0 never opened, 1 open, 2 closed), version, base, deadline, epoch."""
    return [storage.get_int(DEPOSITED + channel), storage.get_int(WITHDRAWN + channel), storage.get_int(MOVED + channel), storage.get_int(FLAGS + channel), storage.get_int(VERSION + channel), storage.get_int(BASE + channel), storage.get_int(DEADLINE + channel), storage.get_int(EPOCH + channel)]


@public(name='vaultOf', safe=True)
def vault_of(token: UInt160) -> list:
    """balance, claims that no inflow has funded yet."""
    return [storage.get_int(VAULT + token), storage.get_int(OWED + token) - storage.get_int(FUNDED + token)]


@public(name='claimOf', safe=True)
def claim_of(owner: UInt160, cosigner: bytes, token: UInt160, nonce: int) -> list:
    """left, and what of it can be collected."""
    channel = id_of(owner, cosigner, token, nonce)
    return [storage.get_int(CLAIM + channel), funded_of(channel, token)]


@public(safe=True)
def collectable(token: UInt160, account: UInt160) -> int:
    return storage.get_int(UNDELIVERED + token + account)


@public(name='isPinned', safe=True)
def is_pinned(branch: bytes) -> bool:
    return storage.get_int(PINNED + branch) != 0


@public(name='stateHash', safe=True)
def state_hash(state: bytes, account_root: bytes) -> bytes:
    """What the operator signs, before the domain."""
    return state_message(state, account_root)


@public(name='accountRoot', safe=True)
def account_root_of(state: bytes, position: int, path: bytes) -> bytes:
    return root_of(channel_state_hash(state), position, path)


@public(name='accountStateHash', safe=True)
def account_state_hash(account: int, epoch: int, account_root: bytes) -> bytes:
    """What the trader signs, before the domain."""
    return account_message(account, epoch, account_root)


@public(safe=True)
def separators() -> list:
    """The EIP-712 domains of hub and venue."""
    return [storage.get(HUB_SEPARATOR), storage.get(VENUE_SEPARATOR)]
