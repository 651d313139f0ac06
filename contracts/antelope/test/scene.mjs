// A chain in a virtual machine with the hub on it, a token, the parties, and what they sign. Amounts are in units, a token has 4 decimals, times in seconds of Unix time.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import eosio from "@greymass/eosio";
import vert from "@eosnetwork/vert";
import * as sign from "./signing.mjs";

const { Asset, Name, TimePoint, Transaction } = eosio;
const file = (path) => readFileSync(new URL(path, import.meta.url));
const built = (name) => file(`../target/wasm32v1-none/release/ring0_antelope_${name}.wasm`);
const HUB = { wasm: built("hub"), abi: file("../hub/hub.abi.json").toString() };
const FIXTURE = { wasm: built("fixture"), abi: file("./fixture.abi.json").toString() };

export const WINDOW = 86_400;
export const DELAY = 90_000;
export const GRACE = 604_800;
export const ANCHOR = 3_600;
export const CONFIRMATIONS = 10;
export const START = 1_800_000_000;
export const LINEAGE = sign.keccak("11");
export const VENUE = sign.keccak("22");
export const EOS = { contract: "eosio.token", symbol: "4,EOS" };
export const OTHER = { contract: "other.token", symbol: "4,EOS" };
/** More than any deadline that is signed here. */
const FAR = START + 100 * 86_400;

/** What stands for a name, a token in what is signed. */
export const nameAddress = (name) => "6e616d65" + "0".repeat(16) + BigInt(Name.from(name).value.toString()).toString(16).padStart(16, "0");
export const tokenAddress = ({ contract, symbol }) =>
    "636f696e" + nameAddress(contract).slice(24) + BigInt(Asset.Symbol.from(symbol).value.toString()).toString(16).padStart(16, "0");

const toBigInt = (name) => BigInt(Name.from(name).value.toString());
/** Big numbers of any depth as decimal text, which the ABI takes. */
function plain(value) {
    if (typeof value === "bigint") return value.toString();
    if (Array.isArray(value)) return value.map(plain);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, plain(it)]));
}

/** The action fails with this assertion of a contract's. */
export async function refused(action, message) {
    await assert.rejects(action, (error) => {
        assert.equal(error.message.replace(/^eosio_assert_message: /, ""), message);
        return true;
    });
}

export class Scene {
    /** A chain on which the hub has its settings, a pin and `tokens`; the parties have a million units of each. */
    static async make({ tokens = [EOS, OTHER], settings = {}, hub = "hub" } = {}) {
        const scene = new Scene();
        const chain = (scene.chain = new vert.Blockchain({}));
        chain.setTime(TimePoint.fromMilliseconds(START * 1000));
        chain.blockNum = 70_000;
        scene.operator = sign.key("operator");
        scene.parties = ["alice", "bob", "carol", "treasury", "exchange", "stranger"];
        chain.createAccounts(...scene.parties);
        for (const token of new Set(["eosio.token", "other.token", "fake.token", "forwarder", "refuser"]))
            chain.createAccount({ name: token, ...FIXTURE });
        for (const token of tokens)
            for (const to of [...scene.parties, "refuser", "forwarder"])
                await scene.at(token.contract, "issue", { to, quantity: scene.asset(1_000_000, token) });
        await scene.deploy(hub, tokens, settings);
        return scene;
    }

    async deploy(hub, tokens, settings = {}) {
        this.hub = hub;
        this.chain.createAccount({ name: hub, ...HUB, enableInline: true });
        this.lineage = settings.lineage ?? LINEAGE;
        this.venue = settings.venue ?? VENUE;
        this.hubDomain = sign.hubDomain(this.lineage, nameAddress(hub));
        this.venueDomain = sign.venueDomain(this.venue);
        await this.call("init", this.settings(settings), hub);
        for (const token of tokens) await this.call("addtoken", { payer: "exchange", token }, "exchange");
        this.branch = await this.pinned(this.chain.blockNum - CONFIRMATIONS - 1);
    }

    settings(changes = {}) {
        return {
            lineage: LINEAGE, venue: VENUE, operator_key: this.operator.address, operator: "exchange", treasury: "treasury",
            anchor: ANCHOR, window: WINDOW, grace: GRACE, vault_delay: DELAY, pin_every: 1000, confirmations: CONFIRMATIONS, first_epoch: 0,
            ...changes,
        };
    }

    // ---- the chain

    get now() {
        return Math.floor(this.chain.timestamp.toMilliseconds() / 1000);
    }

    pass(seconds) {
        const number = this.chain.blockNum;
        this.chain.addTime(TimePoint.fromMilliseconds(seconds * 1000));
        this.chain.blockNum = number + 2 * seconds;
    }

    /** An action of any contract's, by somebody's authority. */
    at(contract, action, data, by = contract, options = {}) {
        return this.chain.getAccount(contract).actions[action](plain(data)).send(`${by}@active`, options);
    }

    /** An action of the hub's. */
    call(action, data, by = "stranger", options = {}) {
        return this.at(this.hub, action, data, by, options);
    }

    /** A transaction with raw bytes for `settle`. */
    transaction(data) {
        const authorization = [{ actor: "stranger", permission: "active" }];
        const actions = [{ account: this.hub, name: "settle", authorization, data: Buffer.from(data).toString("hex") }];
        return Transaction.from({ actions, expiration: 0, ref_block_num: 0, ref_block_prefix: 0 });
    }

    asset(units, token) {
        const text = BigInt(units).toString().padStart(5, "0");
        return `${text.slice(0, -4)}.${text.slice(-4)} ${token.symbol.slice(2)}`;
    }

    transfer(from, to, units, memo, token = EOS) {
        return this.at(token.contract, "transfer", { from, to, quantity: this.asset(units, token), memo }, from);
    }

    /** Units of a token that an account has. */
    balance(account, token = EOS) {
        const code = Asset.Symbol.from(token.symbol).code.value.toString();
        const row = this.chain.getAccount(token.contract).tables.accounts(toBigInt(account)).getTableRow(BigInt(code));
        return row ? Number(row.balance.split(" ")[0].replace(".", "")) : 0;
    }

    /** All rows of one of the hub's tables. */
    rows(table, scope = toBigInt(this.hub)) {
        return this.chain.getAccount(this.hub).tables[table](scope).getTableRows();
    }

    /** A channel's row, its numbers as numbers. */
    channel({ id }) {
        return this.rows("channels").find((it) => it.id === id);
    }

    vault(token = EOS) {
        const rows = this.chain.getAccount(this.hub).tables.vaults(toBigInt(token.contract));
        const row = rows.getTableRow(BigInt(Asset.Symbol.from(token.symbol).value.toString()));
        return Object.fromEntries(Object.entries(row).map(([name, it]) => [name, Number(it)]));
    }

    get frozenAt() {
        return Number(this.rows("status")[0].frozen_at);
    }

    /** What the hub owes of a token by its rows is what it has of it; its lock is covered. */
    conserved(token = EOS) {
        const vault = this.vault(token);
        let owed = vault.balance;
        for (const row of this.rows("channels")) {
            if (row.token.contract !== token.contract || row.token.symbol !== token.symbol) continue;
            const [deposited, withdrawn, moved] = [row.deposited, row.withdrawn, row.moved].map(Number);
            const reached = Math.max(0, vault.funded - Number(row.claim_start));
            owed += row.closed ? Number(row.due) + Math.min(reached, Number(row.claim)) : deposited + moved - withdrawn;
        }
        assert.equal(owed, this.balance(this.hub, token), "escrow + vault + due + funded claims is what the hub holds");
        assert.ok(vault.locked <= vault.balance, "no more is locked than is there");
    }

    // ---- pins

    blockId(number, salt = "") {
        return number.toString(16).padStart(8, "0") + sign.keccak(sign.word(number), salt).slice(8);
    }

    /** A transaction's reference to a block. */
    reference(id) {
        const bytes = Buffer.from(id, "hex");
        return { ref_block_num: bytes.readUInt16BE(2), ref_block_prefix: bytes.readUInt32LE(8) };
    }

    async pinned(number, salt = "") {
        const id = this.blockId(number, salt);
        await this.call("pin", { payer: "exchange", id }, "exchange", this.reference(id));
        return id;
    }

    // ---- what the parties sign

    terms(owner, { nonce = 1, token = EOS, cosigner = sign.key(owner) } = {}) {
        const addresses = [nameAddress(owner), cosigner.address, tokenAddress(token)];
        const id = sign.channelId(this.lineage, nameAddress(this.hub), ...addresses, nonce);
        return { id, owner, cosigner, token, nonce };
    }

    open(c) {
        return this.call("open", { owner: c.owner, cosigner: c.cosigner.address, token: c.token, nonce: c.nonce }, c.owner);
    }

    /** A channel of `owner` with money in it. */
    async opened(owner, units, options = {}) {
        const c = this.terms(owner, options);
        await this.open(c);
        if (units) await this.transfer(owner, this.hub, units, c.id, c.token);
        return c;
    }

    funded(units, token = EOS) {
        return this.transfer("exchange", this.hub, units, "vault", token);
    }

    /** A state of a channel alone in its account. */
    state(c, version, balance, { depositedSeen = 0, withdrawnSeen = 0, epoch = version, kind = 1, branch = this.branch } = {}) {
        const it = { version, balance, depositedSeen, withdrawnSeen, epoch, kind, branch };
        it.accountRoot = sign.leaf(sign.channelState(c.id, it));
        return it;
    }

    packedState(it) {
        return {
            version: it.version, balance: it.balance, deposited_seen: it.depositedSeen, withdrawn_seen: it.withdrawnSeen,
            epoch: it.epoch, kind: it.kind, account_root: it.accountRoot, branch: it.branch,
        };
    }

    byTrader(c, it, { by = c.cosigner, path = [], position = 0, grant = null } = {}) {
        const message = sign.struct("AccountState", 7n, it.epoch, it.accountRoot);
        return { account: 7, position, path, signature: sign.sign(by, sign.digest(this.venueDomain, message)), grant };
    }

    inHub(by, message) {
        return sign.sign(by, sign.digest(this.hubDomain, message));
    }

    /** All that shows a state, compact form. */
    shown(c, it, { operator = this.operator, ...trader } = {}) {
        return {
            channel: c.id, state: this.packedState(it), trader: this.byTrader(c, it, trader),
            operator: this.inHub(operator, sign.state(c.id, it)),
        };
    }

    dispute(c, it, { caller = c.owner, ...options } = {}) {
        return this.call("dispute", { caller, ...this.shown(c, it, options) }, caller);
    }

    refute(c, it, options) {
        return this.call("refute", this.shown(c, it, options));
    }

    checkpoint(c, it, options) {
        return this.call("checkpoint", this.shown(c, it, options));
    }

    settle(c) {
        return this.call("settle", { channel: c.id });
    }

    collect(c) {
        return this.call("collect", { channel: c.id });
    }

    /** Waits for the window, settles, collects. */
    async left(c) {
        this.pass(WINDOW);
        await this.settle(c);
        if (Number(this.channel(c).due)) await this.collect(c);
    }

    withdrawal(c, withdrawn, { recipient = c.owner, deadline = FAR, branch = this.branch, by = this.operator } = {}) {
        const message = sign.struct("Withdrawal", c.id, withdrawn, nameAddress(recipient), branch, deadline);
        return { channel: c.id, withdrawn, recipient, branch, deadline, operator: this.inHub(by, message) };
    }

    withdraw(c, withdrawn, options) {
        return this.call("withdraw", this.withdrawal(c, withdrawn, options), c.owner);
    }

    closing(c, balance, { depositedSeen = 0, withdrawnSeen = 0, recipient = c.owner, deadline = FAR, branch = this.branch, by = this.operator } = {}) {
        const message = sign.struct("Closing", c.id, balance, depositedSeen, withdrawnSeen, nameAddress(recipient), branch, deadline);
        return {
            channel: c.id, balance, deposited_seen: depositedSeen, withdrawn_seen: withdrawnSeen, recipient, branch, deadline,
            operator: this.inHub(by, message),
        };
    }

    close(c, balance, options) {
        return this.call("close", this.closing(c, balance, options), c.owner);
    }

    rebalance(c, number, moved, { deadline = FAR, branch = this.branch, cosigner = c.cosigner, operator = this.operator } = {}) {
        const message = sign.struct("Rebalancing", c.id, number, moved, branch, deadline);
        return this.call("rebalance", {
            channel: c.id, number, moved, branch, deadline, cosigner: this.inHub(cosigner, message), operator: this.inHub(operator, message),
        });
    }

    // ---- batches

    batch(epoch, entries, by = this.operator, previous = sign.EMPTY) {
        const message = sign.struct("Batch", epoch, previous, entries);
        return { previous, entries, signature: sign.sign(by, sign.digest(this.venueDomain, message)) };
    }

    /** A token's root alone in a signed batch. */
    entryProof(token, root, epoch, by = this.operator) {
        const entries = sign.entry(this.lineage, nameAddress(this.hub), tokenAddress(token), root);
        const { previous, signature } = this.batch(epoch, entries, by);
        return { position: 0, path: [], epoch, previous, signature };
    }

    /** Posts a root with an excess that is nobody's. */
    async posted(excess, epoch, token = EOS) {
        const root = sign.sumLeaf(sign.keccak(sign.word(epoch)), excess, excess);
        await this.call("post", { payer: "exchange", token, root, entry: this.entryProof(token, root, epoch) }, "exchange");
        return root;
    }

    /** A state as a leaf, beside `other` if given; posts the root. */
    async postedLeaf(c, it, excess, epoch, other = null) {
        const leaf = sign.sumLeaf(sign.state(c.id, it), it.balance, excess);
        const root = other ? sign.sumNode(leaf, other) : leaf;
        const entry = this.entryProof(c.token, root, epoch);
        await this.call("post", { payer: "exchange", token: c.token, root, entry }, "exchange");
        return { excess, position: 0, path: other ? [other] : [], entry };
    }

    disputeByLeaf(c, it, leaf, { caller = c.owner } = {}) {
        const { operator: _, ...shown } = this.shown(c, it);
        return this.call("disputeleaf", { caller, ...shown, leaf }, caller);
    }

    refuteByLeaf(c, it, leaf) {
        const { operator: _, ...shown } = this.shown(c, it);
        return this.call("refuteleaf", { ...shown, leaf });
    }
}
