// What is signed, written a second time: EIP-712 structs, trees and keys in JavaScript, with noble's curve and hash. The hub's tests sign by it, `vectors.test.mjs`
// compares it with the exchange's own vectors.
import { secp256k1 } from "@noble/curves/secp256k1";
import { keccak_256 } from "@noble/hashes/sha3";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils";

const ORDER = secp256k1.CURVE.n;
export const EMPTY = "0".repeat(64);

/** Keccak-256 of hexadecimal digits, as digits. */
export const keccak = (...hex) => bytesToHex(keccak_256(concatBytes(...hex.map((it) => hexToBytes(it)))));
const text = (letters) => bytesToHex(keccak_256(utf8ToBytes(letters)));

/** A number of either sign, or an address or hash in hexadecimal digits, as a word. */
export function word(value) {
    if (typeof value === "string") return value.padStart(64, "0");
    return BigInt.asUintN(256, BigInt(value)).toString(16).padStart(64, "0");
}

const uint128 = (value) => word(value).slice(32);

const TYPES = {
    ChannelState:
        "ChannelState(bytes32 channel,uint40 version,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,uint40 epoch,uint8 kind,bytes32 branch)",
    AccountState: "AccountState(uint64 account,uint40 epoch,bytes32 accountRoot)",
    Batch: "Batch(uint40 epoch,bytes32 previous,bytes32 entries)",
    Grant: "Grant(uint64 account,address session,uint40 expiry,uint40 firstEpoch,uint40 lastEpoch,bytes32 limits)",
    Revocation: "Revocation(address cosigner,address session,uint40 fromEpoch)",
    Withdrawal: "Withdrawal(bytes32 channel,uint128 withdrawn,address recipient,bytes32 branch,uint40 deadline)",
    Closing:
        "Closing(bytes32 channel,uint128 balance,uint128 depositedSeen,uint128 withdrawnSeen,address recipient,bytes32 branch,uint40 deadline)",
    Rebalancing: "Rebalancing(bytes32 channel,uint40 number,int128 moved,bytes32 branch,uint40 deadline)",
};
TYPES.State = "State(ChannelState state,bytes32 accountRoot)" + TYPES.ChannelState;

/** Hash of a struct: the type's hash and a word a field, in the type's order. */
export const struct = (type, ...fields) => keccak(text(TYPES[type]), ...fields.map(word));

export const hubDomain = (lineage, hub) =>
    keccak(
        text("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
        text("Ring0 Channel Hub"), text("1"), word(lineage), word(hub),
    );
export const venueDomain = (venue) =>
    keccak(text("EIP712Domain(string name,string version,bytes32 salt)"), text("Ring0 Venue"), text("1"), word(venue));
export const digest = (domain, message) => keccak("1901", domain, message);

export const channelId = (lineage, hub, owner, cosigner, token, nonce) =>
    keccak(...[lineage, hub, owner, cosigner, token, BigInt(nonce)].map(word));

/** `it`: version, balance, depositedSeen, withdrawnSeen, epoch, kind, branch. */
export const channelState = (channel, it) =>
    struct("ChannelState", channel, it.version, it.balance, it.depositedSeen, it.withdrawnSeen, it.epoch, it.kind, it.branch);
export const state = (channel, it) => struct("State", channelState(channel, it), it.accountRoot);

export const leaf = (content) => keccak("00", content);
export const node = (left, right) => keccak("01", left, right);
export const limits = (channel, it) => keccak("00", channel, ...[it.floor, it.startBase, it.outflow].map(word));

/** Nodes of a sum tree: hash in digits, balance and excess as big numbers. */
export const sumLeaf = (hash, balance, excess) =>
    ({ hash: keccak("00", hash, uint128(balance), uint128(excess)), balance: BigInt(balance), excess: BigInt(excess) });
export const sumNode = (left, right) => ({
    hash: keccak("01", ...[left, right].flatMap((it) => [it.hash, uint128(it.balance), uint128(it.excess)])),
    balance: left.balance + right.balance,
    excess: left.excess + right.excess,
});
export const entry = (lineage, hub, token, root) =>
    keccak("00", ...[lineage, hub, token, root.hash, root.balance, root.excess].map(word));

/** A key from its name: its secret is the name's hash. */
export function key(name) {
    const secret = keccak_256(utf8ToBytes(name));
    const point = secp256k1.getPublicKey(secret, false);
    return { secret, address: bytesToHex(keccak_256(point.slice(1))).slice(24) };
}

/** 64 bytes (EIP-2098) as the hub takes them. */
export function sign(key, hash) {
    const { r, s, recovery } = secp256k1.sign(hash, key.secret, { lowS: true });
    return { r: word(r), vs: word(s | (BigInt(recovery) << 255n)) };
}

/** The same signature with s in the upper half of the order: good for who does not look. Beside the parity it has 255 bits, as the form allows. */
export function rewritten({ r, vs }) {
    const parity = BigInt("0x" + vs) >> 255n;
    const s = ORDER - (BigInt("0x" + vs) & ((1n << 255n) - 1n));
    return { r, vs: word((s & ((1n << 255n) - 1n)) | ((1n - parity) << 255n)) };
}

/** Half of the order, rounded down: the highest s that is taken. */
export const HALF_ORDER = ORDER >> 1n;

/** Address whose signature it is. */
export function recover(hash, { r, vs }) {
    const [big, s] = [BigInt("0x" + vs), BigInt("0x" + vs) & ((1n << 255n) - 1n)];
    const point = new secp256k1.Signature(BigInt("0x" + r), s).addRecoveryBit(Number(big >> 255n)).recoverPublicKey(hash);
    return keccak(point.toHex(false).slice(2)).slice(24);
}
