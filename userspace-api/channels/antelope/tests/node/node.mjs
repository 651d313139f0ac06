// A node of a test's own: the built contracts in the VeRT virtual machine behind the part of nodeos' HTTP API that the adapter asks, on loopback. It unpacks what it is sent
// with the chain's library, and takes a transaction only if its reference, its end and its signature are good.
// Arguments: the folder contracts/antelope, and JSON { chain, settings, keys: { account: public key } }. First line out: { port, branch, window }. It ends with its input.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, given] = process.argv.slice(2);
const { chain: chainId, settings, keys } = JSON.parse(given);
const eosio = createRequire(join(folder, "package.json"))("@greymass/eosio");
const { ABI, Checksum256, Name, Serializer, Signature, TimePoint, Transaction } = eosio;
const { Scene, WINDOW, EOS } = await import(pathToFileURL(join(folder, "test/scene.mjs")));

const scene = await Scene.make({ tokens: [EOS], settings });
const chain = scene.chain;
const big = (name) => BigInt(Name.from(name).value.toString());

// ---- blocks: their ids by height, and which transactions are in them. A fork has a salt of its own.

let salt = "";
let blocks = new Map();
let transactions = new Map();
const head = () => [...blocks.values()].at(-1);
const seal = () => blocks.set(chain.blockNum, { height: chain.blockNum, id: scene.blockId(chain.blockNum, salt), time: chain.timestamp.toMilliseconds() });
function begin(milliseconds) {
    chain.setTime(TimePoint.fromMilliseconds(head().time + milliseconds));
    chain.blockNum = head().height + 1;
}
function abandon() {
    chain.setTime(TimePoint.fromMilliseconds(head().time));
    chain.blockNum = head().height;
}
seal();
const first = head();
const irreversible = () => blocks.get(Math.max(first.height, head().height - 3));
const time = (block) => new Date(block.time).toISOString().slice(0, 23);

/** What nodeos answers when it refuses. */
class Refused extends Error {
    constructor(code, name, message, status = 500) {
        super(message);
        Object.assign(this, { status, body: { code: status, message: "Internal Service Error", error: { code, name, what: name, details: [{ message, file: "", line_number: 0, method: "" }] } } });
    }
}

/** r and s are positive and as short as they can be. */
function isCanonical(bytes) {
    const good = (at) => !(bytes[at] & 0x80) && !(bytes[at] === 0 && !(bytes[at + 1] & 0x80));
    return good(1) && good(33);
}

async function take({ signatures, compression, packed_trx: packed, packed_context_free_data: free }) {
    if (compression !== "none" || free !== "") throw new Refused(3040000, "transaction_exception", "neither compression nor context-free data is meant here");
    const transaction = Serializer.decode({ data: packed, type: Transaction });
    if (Serializer.encode({ object: transaction }).hexString !== packed) throw new Refused(3010010, "packed_transaction_type_exception", "not what its parts are packed as");
    const end = transaction.expiration.toMilliseconds();
    if (end <= head().time) throw new Refused(3040005, "expired_tx_exception", "expired transaction");
    if (end > head().time + 3_600_000) throw new Refused(3040006, "tx_exp_too_far_exception", "ends too late");
    const named = (it) => { const at = scene.reference(it.id); return transaction.ref_block_num.toNumber() === at.ref_block_num && transaction.ref_block_prefix.toNumber() === at.ref_block_prefix; };
    if (![...blocks.values()].some(named)) throw new Refused(3040007, "invalid_ref_block_exception", "Transaction's reference block did not match.");
    const id = transaction.id.hexString;
    if (transactions.has(id)) throw new Refused(3040008, "tx_duplicate", `duplicate transaction ${id}`);
    const digest = transaction.signingDigest(Checksum256.from(chainId));
    const signers = signatures.map((text) => {
        const signature = Signature.from(text);
        if (!isCanonical(signature.data.array)) throw new Refused(3010000, "chain_type_exception", "signature is not canonical");
        return signature.recoverDigest(digest).toString();
    });
    for (const action of transaction.actions) {
        for (const { actor, permission } of action.authorization)
            if (permission.toString() !== "active" || !signers.includes(keys[actor]))
                throw new Refused(3090003, "unsatisfied_authorization", `transaction declares authority '{"actor":"${actor}","permission":"${permission}"}', but does not have signatures for it.`);
        // The fields are the ABI's, in its order: they are the same when they are packed again.
        const account = chain.getAccount(action.account);
        if (!account?.isContract) throw new Refused(3050000, "action_validate_exception", `no contract at ${action.account}`);
        const [abi, type] = [ABI.from(account.abi), action.name.toString()];
        const object = Serializer.decode({ abi, type, data: action.data });
        if (Serializer.encode({ abi, type, object }).hexString !== action.data.hexString) throw new Refused(3050000, "action_validate_exception", `${type} is not packed as its ABI says`);
    }
    begin(500);
    try {
        await chain.applyTransaction(transaction);
    } catch (error) {
        abandon();
        const message = error.message.replace(/^eosio_assert_message: /, "assertion failure with message: ");
        throw new Refused(3050003, "eosio_assert_message_exception", message);
    }
    seal();
    transactions.set(id, head().height);
    return { transaction_id: id, processed: { id, block_num: head().height } };
}

function rows({ json, code, scope, table, limit, lower_bound: from, upper_bound: to }) {
    if (json !== false) throw new Refused(3010000, "chain_type_exception", "bytes are meant here");
    const tab = chain.store.findTable(big(code), big(scope), big(table));
    const answer = { rows: [], more: false, next_key: "" };
    for (let row = tab?.lowerbound(BigInt(from)); row && row.primaryKey <= BigInt(to); row = tab.next(row.primaryKey)) {
        // As a node whose time for one answer is over: fewer than were asked for.
        if (answer.rows.length === Math.min(limit, 2)) return { ...answer, more: true, next_key: row.primaryKey.toString() };
        answer.rows.push(Buffer.from(row.value).toString("hex"));
    }
    return answer;
}

let keepsStatus = true;
const marks = [];
const QUESTIONS = {
    "/v1/chain/get_info": () => ({
        chain_id: chainId, head_block_num: head().height, head_block_id: head().id, head_block_time: time(head()),
        last_irreversible_block_num: irreversible().height, last_irreversible_block_id: irreversible().id,
    }),
    "/v1/chain/get_block_info": ({ block_num: height }) => {
        const block = blocks.get(height);
        if (!block) throw new Refused(3100002, "unknown_block_exception", `Could not find block: ${height}`, 400);
        return { block_num: height, id: block.id, timestamp: time(block) };
    },
    "/v1/chain/get_table_rows": rows,
    "/v1/chain/send_transaction2": ({ transaction }) => take(transaction),
    "/v1/chain/get_transaction_status": ({ id }) => {
        const height = transactions.get(id);
        const at = { head_number: head().height, head_id: head().id };
        if (!height) return { state: "UNKNOWN", ...at };
        return { state: height <= irreversible().height ? "IRREVERSIBLE" : "IN_BLOCK", block_number: height, block_id: blocks.get(height).id, ...at };
    },
    // What the test does to the chain.
    "/test/mine": ({ blocks: count, seconds }) => {
        for (let mined = 0; mined < count; mined++) {
            begin(seconds * 1000);
            seal();
        }
        return {};
    },
    "/test/mark": () => {
        marks.push({ store: chain.store.snapshot(), blocks: new Map(blocks), transactions: new Map(transactions) });
        return {};
    },
    "/test/fork": () => {
        const mark = marks.pop();
        chain.store.revertTo(mark.store);
        ({ blocks, transactions } = mark);
        salt += "01";
        abandon();
        return {};
    },
    "/test/balance": ({ account }) => ({ balance: scene.balance(account) }),
    "/test/forget_status": () => {
        keepsStatus = false;
        return {};
    },
};

// One question after another, as a node's main thread does.
let turn = Promise.resolve();
const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part)).on("end", () => {
        turn = turn.then(async () => {
            let [status, body] = [404, { code: 404, message: "Not Found", error: { code: 0, name: "exception", what: "unspecified", details: [{ message: "Unknown Endpoint" }] } }];
            try {
                const question = QUESTIONS[request.url];
                if (question && (keepsStatus || !request.url.endsWith("status"))) [status, body] = [200, await question(JSON.parse(Buffer.concat(parts)))];
            } catch (error) {
                [status, body] = [error.status ?? 500, error.body ?? new Refused(0, "exception", String(error.stack)).body];
            }
            response.writeHead(status, { "content-type": "application/json", connection: "close" }).end(JSON.stringify(body));
        });
    });
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port, branch: scene.branch, window: WINDOW })));
process.stdin.on("end", () => process.exit(0)).resume();
