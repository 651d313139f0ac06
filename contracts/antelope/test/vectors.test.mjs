// The exchange's vectors (contracts/vectors/accounts.json): what these tests sign is what they say, and the contract in the virtual machine takes their signatures.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Scene, refused, nameAddress, tokenAddress } from "./scene.mjs";
import * as sign from "./signing.mjs";

const { cases } = JSON.parse(readFileSync(new URL("../../vectors/accounts.json", import.meta.url), "utf8"));
const bare = (it) => it.slice(2);
const whole = (it) => BigInt(it); // Decimal text; digits without it are hexadecimal.
const signature = ({ r, vs }) => ({ r: bare(r), vs: bare(vs) });
const stateOf = (it, account) => ({
    version: Number(it.version), balance: BigInt(it.balance), depositedSeen: BigInt(it.deposited_seen), withdrawnSeen: BigInt(it.withdrawn_seen),
    epoch: Number(it.epoch), kind: it.kind, branch: bare(it.branch), accountRoot: bare(account.root),
});

/** What is signed, by whom. */
function signed(it, message, domain) {
    assert.equal(message, bare(it.struct_hash));
    const digest = sign.digest(domain, message);
    assert.equal(digest, bare(it.digest));
    assert.equal(sign.recover(digest, signature(it.signature)), bare(it.signer));
}

test("signatures of these tests are over the vectors' bytes", () => {
    for (const it of cases) {
        const [lineage, hub] = [BigInt(it.hub.lineage), bare(it.hub.address)];
        const [domain, venue] = [sign.hubDomain(lineage, hub), sign.venueDomain(bare(it.venue.id))];
        assert.equal(domain, bare(it.hub.separator));
        assert.equal(venue, bare(it.venue.separator));
        const { terms } = it;
        const id = sign.channelId(lineage, hub, bare(terms.owner), bare(terms.cosigner), bare(terms.token), terms.nonce);
        assert.equal(id, bare(terms.channel));
        const state = stateOf(it.channel_state, it.account);
        assert.equal(sign.channelState(id, state), bare(it.channel_state.hash));
        signed(it.state, sign.state(id, state), domain);
        signed(it.account_state, sign.struct("AccountState", BigInt(it.account.account), state.epoch, state.accountRoot), venue);
        const leaf = sign.sumLeaf(sign.state(id, state), state.balance, whole(it.sum.excess));
        assert.equal(leaf.hash, bare(it.sum.leaf));
        const { root } = it.sum;
        const sums = { hash: bare(root.hash), balance: BigInt(root.balance), excess: BigInt(root.excess) };
        assert.equal(sign.entry(lineage, hub, bare(terms.token), sums), bare(it.entry.hash));
        signed(it.batch, sign.struct("Batch", state.epoch, bare(it.batch.previous), bare(it.entry.root)), venue);
        const g = it.grant;
        assert.equal(sign.limits(id, { floor: whole(g.floor), startBase: whole(g.start_base), outflow: whole(g.outflow) }), bare(g.leaf));
        signed(g, sign.struct("Grant", BigInt(it.account.account), bare(g.session), ...[g.expiry, g.first_epoch, g.last_epoch].map(whole), bare(g.root)), venue);
        const w = it.withdrawal;
        signed(w, sign.struct("Withdrawal", id, whole(w.withdrawn), bare(w.recipient), bare(w.branch), whole(w.deadline)), domain);
        const c = it.closing;
        signed(c, sign.struct("Closing", id, state.balance, state.depositedSeen, state.withdrawnSeen, bare(c.recipient), bare(c.branch), whole(c.deadline)), domain);
        const r = it.rebalancing;
        signed(r, sign.struct("Rebalancing", id, whole(r.number), whole(r.moved), bare(r.branch), whole(r.deadline)), domain);
    }
});

test("the contract takes the vectors' signatures, whole and nothing else", async () => {
    for (const all of cases) {
        const { hub, terms, channel_state: kept, account, state, account_state: trader } = all.antelope;
        const token = { contract: terms.contract, symbol: terms.symbol };
        assert.equal(nameAddress(hub.name), bare(hub.address));
        assert.equal(nameAddress(terms.owner), bare(terms.owner_address));
        assert.equal(tokenAddress(token), bare(terms.token_address));
        const s = await Scene.make({ tokens: [] });
        s.chain.createAccounts(terms.owner, terms.contract);
        await s.deploy(hub.name, [token], { lineage: bare(hub.lineage), venue: bare(all.venue.id), operator_key: bare(state.signer) });
        await s.open({ owner: terms.owner, cosigner: { address: bare(terms.cosigner) }, token, nonce: terms.nonce });
        const id = bare(terms.channel);
        assert.equal(s.rows("channels")[0].id, id, "the hub's id is the vector's");
        const branch = bare(kept.branch);
        s.chain.blockNum = kept.block + 100;
        await s.call("pin", { payer: "exchange", id: branch }, "exchange", s.reference(branch));
        const shown = (changes = {}) => ({
            caller: "exchange", channel: id,
            state: { ...s.packedState(stateOf(kept, account)), ...changes },
            trader: { account: account.account, position: account.position, path: account.path.map(bare), signature: signature(trader.signature), grant: null },
            operator: signature(state.signature),
        });
        await refused(s.call("dispute", shown({ version: Number(kept.version) + 1 }), "exchange"), "state does not lie under the account root");
        await refused(s.call("dispute", { ...shown(), operator: signature(trader.signature) }, "exchange"),
            `signed by 0x${sign.recover(bare(state.digest), signature(trader.signature))}, not by ${state.signer}`);
        await s.call("dispute", shown(), "exchange");
        const row = s.rows("channels")[0];
        assert.equal(String(row.base), kept.base);
        assert.equal(String(row.version), kept.version);
        // Two batches of one epoch: the vector's is one, by the operator of any chain's part.
        const { previous, signature: by } = all.batch;
        assert.equal(all.batch.signer, state.signer);
        const a = { previous: bare(previous), entries: bare(all.entry.root), signature: signature(by) };
        const b = s.batch(Number(all.channel_state.epoch), sign.keccak("01"));
        await refused(s.call("freezeroots", { epoch: all.channel_state.epoch, a, b }), `signed by 0x${s.operator.address}, not by ${state.signer}`);
    }
});
