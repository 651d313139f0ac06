// Attacks on a channel's money, named for attacker and action. Each ends in an exact assertion or exact balances.
import assert from "node:assert/strict";
import test from "node:test";
import { DELAY, EOS, GRACE, OTHER, START, Scene, WINDOW, nameAddress, refused, tokenAddress } from "./scene.mjs";
import * as sign from "./signing.mjs";

const equal = assert.equal;
const MILLION = 1_000_000;

// ---- replay

test("trader replays a close after the close", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 100);
    await s.opened("bob", 1200);
    const x = s.closing(c, 100, { depositedSeen: 100 });
    await s.call("close", x, "alice");
    await refused(s.call("close", x, "alice"), "channel is closed");
    equal(s.balance("alice"), MILLION, "own money once");
    equal(s.balance("hub"), 1200);
    s.conserved();
});

test("trader replays a close after a deposit of one unit, and opens the id again", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 100);
    const x = s.closing(c, 100, { depositedSeen: 100 });
    await s.call("close", x, "alice");
    await refused(s.transfer("alice", "hub", 1, c.id), "channel is closed");
    await refused(s.open(c), "channel id used before; take another nonce");
    await refused(s.call("close", x, "alice"), "channel is closed");
    equal(s.balance("alice"), MILLION);
});

test("trader replays a state after settle", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 100);
    const it = s.state(c, 1, 100, { depositedSeen: 100 });
    await s.dispute(c, it);
    await s.left(c);
    await refused(s.dispute(c, it), "channel is closed");
    await refused(s.refute(c, it), "channel is closed");
    await refused(s.checkpoint(c, it), "channel is closed");
    await refused(s.call("disputerec", { caller: "alice", channel: c.id }, "alice"), "channel is closed");
    await refused(s.settle(c), "channel is closed");
    await refused(s.withdraw(c, 100), "channel is closed");
    await refused(s.rebalance(c, 1, -1), "channel is closed");
    await refused(s.collect(c), "nothing to collect");
    equal(s.balance("alice"), MILLION);
});

test("trader shows a state of another channel, hub or token", async () => {
    const s = await Scene.make();
    const rich = await s.opened("alice", 1000);
    const poor = await s.opened("alice", 10, { nonce: 2 });
    const other = await s.opened("alice", 10, { token: OTHER });
    const shown = s.shown(rich, s.state(rich, 1, 1000, { depositedSeen: 1000 }));
    for (const victim of [poor, other])
        await refused(s.call("dispute", { caller: "alice", ...shown, channel: victim.id }, "alice"), "state does not lie under the account root");
    // The root over the other channel's leaf is signed by the trader; the operator's half is of another channel.
    const forged = s.state(poor, 1, 1000, { depositedSeen: 1000 });
    const digest = sign.digest(s.hubDomain, sign.state(poor.id, forged));
    const nobody = sign.recover(digest, shown.operator);
    await refused(
        s.call("dispute", { caller: "alice", ...s.shown(poor, forged), operator: shown.operator }, "alice"),
        `signed by 0x${nobody}, not by 0x${s.operator.address}`,
    );
    // A second hub with the same settings: the id is another, and so is the domain.
    await s.deploy("hubtwo", [EOS]);
    const there = await s.opened("alice", 10);
    await refused(s.call("dispute", { caller: "alice", ...shown }, "alice"), "channel was never opened");
    await refused(s.call("dispute", { caller: "alice", ...shown, channel: there.id }, "alice"), "state does not lie under the account root");
});

test("trader sends a withdrawal of another hub, and one signed for another token's channel", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const inOther = await s.opened("alice", 1000, { token: OTHER });
    const w = s.withdrawal(c, 500);
    const digest = sign.digest(s.hubDomain, sign.struct("Withdrawal", inOther.id, 500, nameAddress("alice"), s.branch, w.deadline));
    const nobody = sign.recover(digest, w.operator);
    await refused(s.call("withdraw", { ...w, channel: inOther.id }, "alice"), `signed by 0x${nobody}, not by 0x${s.operator.address}`);
    s.conserved();
    s.conserved(OTHER);
});

test("trader repeats a withdrawal, uses an expired one, changes the recipient", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    await s.withdraw(c, 400, { recipient: "bob" });
    equal(s.balance("bob"), MILLION + 400);
    await refused(s.withdraw(c, 400, { recipient: "bob" }), "withdrawn 400 is not more than 400");
    const w = s.withdrawal(c, 500, { deadline: START + 10 });
    const stolen = { ...w, recipient: "stranger" };
    const digest = sign.digest(s.hubDomain, sign.struct("Withdrawal", c.id, 500, nameAddress("stranger"), s.branch, w.deadline));
    await refused(s.call("withdraw", stolen, "alice"), `signed by 0x${sign.recover(digest, w.operator)}, not by 0x${s.operator.address}`);
    s.pass(11);
    await refused(s.call("withdraw", w, "alice"), `expired at ${START + 10}`);
    s.conserved();
});

test("stranger withdraws, closes or names a co-signer without the owner", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const thief = sign.key("stranger");
    await assert.rejects(s.call("withdraw", s.withdrawal(c, 400, { recipient: "stranger" }), "stranger"), /missing required authority alice/);
    await assert.rejects(s.call("close", s.closing(c, 0), "exchange"), /missing required authority alice/);
    await assert.rejects(s.call("cosigner", { channel: c.id, key: thief.address, number: 1 }, "stranger"), /missing required authority alice/);
    await assert.rejects(s.call("open", { owner: "bob", cosigner: thief.address, token: EOS, nonce: 5 }, "stranger"), /missing required authority bob/);
    await assert.rejects(s.call("init", s.settings(), "stranger"), /missing required authority hub/);
    await refused(s.call("init", s.settings(), "hub"), "the hub has its settings");
});

// ---- signatures

test("somebody rewrites a signature with high s", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const w = s.withdrawal(c, 100);
    const high = "signature has s in the upper half of the order";
    const withS = (value) => ({ ...w, operator: { r: w.operator.r, vs: sign.word(value) } });
    await refused(s.call("withdraw", withS(sign.HALF_ORDER + 1n), "alice"), high);
    await refused(s.call("withdraw", withS((1n << 255n) - 1n), "alice"), high);
    await refused(s.call("withdraw", withS((1n << 255n) | (sign.HALF_ORDER + 1n)), "alice"), high);
    const digest = sign.digest(s.hubDomain, sign.struct("Withdrawal", c.id, 100, nameAddress("alice"), s.branch, w.deadline));
    const limit = withS(sign.HALF_ORDER);
    await refused(s.call("withdraw", limit, "alice"), `signed by 0x${sign.recover(digest, limit.operator)}, not by 0x${s.operator.address}`);
    // The twin n - s with the other parity has no room in 255 bits: what is left of it is another number.
    const twin = { ...w, operator: sign.rewritten(w.operator) };
    await assert.rejects(s.call("withdraw", twin, "alice"), /signed by|of no key/);
    const none = { r: sign.EMPTY, vs: sign.EMPTY };
    await refused(s.call("withdraw", { ...s.withdrawal(c, 1), operator: none }, "alice"), "signature is of no key");
    equal(s.balance("alice"), MILLION - 1000);
});

test("a wrong key signs either half", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const thief = sign.key("thief");
    const it = s.state(c, 1, 1000, { depositedSeen: 1000 });
    await refused(s.dispute(c, it, { operator: thief }), `signed by 0x${thief.address}, not by 0x${s.operator.address}`);
    await refused(s.dispute(c, it, { by: thief }), `signed by 0x${thief.address}, not by 0x${c.cosigner.address}`);
    await refused(s.rebalance(c, 1, -1000, { cosigner: s.operator }), `signed by 0x${s.operator.address}, not by 0x${c.cosigner.address}`);
    await refused(s.rebalance(c, 1, -1000, { operator: c.cosigner }), `signed by 0x${c.cosigner.address}, not by 0x${s.operator.address}`);
    await refused(s.withdraw(c, 1, { by: c.cosigner }), `signed by 0x${c.cosigner.address}, not by 0x${s.operator.address}`);
    await refused(s.close(c, 1000, { by: thief, depositedSeen: 1000 }), `signed by 0x${thief.address}, not by 0x${s.operator.address}`);
});

test("operator opens a channel with itself as the co-signer, or with nobody", async () => {
    const s = await Scene.make();
    const invalid = "co-signer or recipient is nobody, the hub or the operator";
    await refused(s.open(s.terms("alice", { cosigner: s.operator })), invalid);
    await refused(s.open(s.terms("alice", { cosigner: { address: "0".repeat(40) } })), invalid);
    const c = await s.opened("alice", 100);
    await refused(s.call("cosigner", { channel: c.id, key: s.operator.address, number: 1 }, "alice"), invalid);
    await refused(s.withdraw(c, 50, { recipient: "hub" }), invalid);
    await refused(s.withdraw(c, 50, { recipient: "nosuchone" }), invalid);
    await refused(s.close(c, 100, { recipient: "hub", depositedSeen: 100 }), invalid);
    equal(s.balance("hub"), 100);
});

// ---- tokens

test("a fake token of the same symbol, a transfer to somebody else, a forwarded notification", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 100);
    const fake = { contract: "fake.token", symbol: "4,EOS" };
    await s.at("fake.token", "issue", { to: "stranger", quantity: s.asset(10_000, fake) });
    // The fake's vault does not exist; a channel is of one contract's token.
    await refused(s.transfer("stranger", "hub", 5000, "vault", fake), "the hub does not know the token; addtoken admits it");
    await refused(s.transfer("stranger", "hub", 5000, c.id, fake), "channel is of another token");
    await s.call("addtoken", { payer: "stranger", token: fake }, "stranger");
    await s.transfer("stranger", "hub", 5000, "vault", fake);
    equal(s.vault().balance, 0, "its vault is its own");
    await refused(s.transfer("stranger", "hub", 5000, c.id, fake), "channel is of another token");
    // The real token's contract is the first receiver, the money went to the forwarder.
    await s.transfer("stranger", "forwarder", 5000, c.id);
    equal(s.channel(c).deposited, 100, "not the hub's money");
    await s.transfer("stranger", "forwarder", 5000, "vault");
    equal(s.vault().balance, 0);
    // Nobody can call a transfer on the hub itself.
    const hub = s.chain.getAccount("hub");
    const data = { from: "stranger", to: "hub", quantity: "1.0000 EOS", memo: c.id };
    hub.abi.actions.push({ name: "transfer", type: "transfer", ricardian_contract: "" });
    const { fields, name } = s.chain.getAccount("eosio.token").abi.structs.find((it) => it.name === "transfer");
    hub.abi.structs.push({ base: "", fields, name });
    hub.buildActions();
    await refused(s.call("transfer", data), "the hub has no such action");
    s.conserved();
    s.conserved(fake);
});

test("a transfer that says nothing, or names no channel, comes back", async () => {
    const s = await Scene.make();
    const c = s.terms("alice");
    await refused(s.transfer("alice", "hub", 100, ""), 'memo is neither "vault" nor a channel\'s id of 64 digits');
    await refused(s.transfer("alice", "hub", 100, c.id.slice(1)), 'memo is neither "vault" nor a channel\'s id of 64 digits');
    await refused(s.transfer("alice", "hub", 100, c.id), "channel was never opened");
    // The key of a channel's row is 8 bytes of its id; the other 24 count too.
    const opened = await s.opened("alice", 100);
    await refused(s.transfer("alice", "hub", 100, opened.id.slice(0, 16) + sign.EMPTY.slice(16)), "channel was never opened");
    await refused(s.open(s.terms("bob", { token: { contract: "fake.token", symbol: "4,EOS" } })), "the hub does not know the token; addtoken admits it");
    equal(s.balance("alice"), MILLION - 100);
});

test("an owner that refuses money holds up its own payout alone", async () => {
    const s = await Scene.make();
    const c = await s.opened("refuser", 100);
    await s.dispute(c, s.state(c, 1, 40, { depositedSeen: 100 }));
    s.pass(WINDOW);
    await s.settle(c);
    equal(s.vault().balance, 60, "what it lost is the vault's all the same");
    await refused(s.collect(c), "no money, please");
    equal(Number(s.channel(c).due), 40, "kept for it");
    s.conserved();
});

// ---- what a state has not seen

test("operator never acknowledges a deposit", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const it = s.state(c, 1, 800, { depositedSeen: 1000 });
    await s.transfer("alice", "hub", 500, c.id);
    await s.dispute(c, it);
    await s.left(c);
    equal(s.balance("alice"), MILLION - 200, "800 of trading, 500 never acknowledged");
    equal(s.vault().balance, 200, "only what was lost");
    s.conserved();
});

test("trader deposits in a dispute", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const it = s.state(c, 1, 800, { depositedSeen: 1000 });
    await s.transfer("alice", "hub", 700, c.id);
    await s.dispute(c, it);
    await refused(s.transfer("alice", "hub", 100, c.id), `channel in dispute until ${START + WINDOW}`);
    await refused(s.rebalance(c, 1, -100), `channel in dispute until ${START + WINDOW}`);
    await s.left(c);
    equal(s.balance("alice"), MILLION - 200, "the deposit counts once");
    s.conserved();
});

test("trader withdraws, then disputes by an older state", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    await s.opened("bob", 1000);
    const older = s.state(c, 1, 1000, { depositedSeen: 1000 });
    await s.withdraw(c, 900);
    await s.dispute(c, older);
    await s.left(c);
    equal(s.balance("alice"), MILLION, "900 withdrawn and 100 at exit");
    equal(s.balance("hub"), 1000, "bob's");
    s.conserved();
});

test("trader withdraws winnings, then disputes by the state before them", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    await s.opened("bob", 1000);
    await s.funded(500);
    await s.withdraw(c, 1500);
    await s.dispute(c, s.state(c, 1, 1000, { depositedSeen: 1000 }));
    await s.left(c);
    equal(s.balance("alice"), MILLION + 500, "overdrawn by that state, never negative");
    equal(s.balance("hub"), 1000, "bob's");
    s.conserved();
});

test("trader withdraws or closes for more than there is", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    await s.opened("bob", 1000);
    await s.funded(100);
    await refused(s.withdraw(c, 1200), "1200 asked, 1100 available");
    await refused(s.close(c, 2000, { depositedSeen: 1000 }), "2000 asked, 1100 available");
    await refused(s.withdraw(c, 1n << 62n), `amount ${1n << 62n} is more than a token has`);
    await refused(s.close(c, 1n << 127n), `amount ${1n << 127n} is more than a token has`);
    s.conserved();
});

test("the owner of a channel that was never co-signed leaves alone", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    await s.withdraw(c, 300);
    await s.call("disputerec", { caller: "alice", channel: c.id }, "alice");
    await s.left(c);
    equal(s.balance("alice"), MILLION);
    s.conserved();
});

// ---- versions and windows

test("somebody shows a stale state", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const at = (version, balance, epoch = version) => s.state(c, version, balance, { depositedSeen: 1000, epoch });
    await refused(s.dispute(c, at(0, 1000)), "version 0 is not newer than 0");
    await s.checkpoint(c, at(5, 700));
    await refused(s.checkpoint(c, at(5, 700)), "version 5 is not newer than 5");
    await refused(s.dispute(c, at(4, 1000)), "version 4 is not newer than 5");
    await refused(s.dispute(c, at(5, 1000)), "version 5 is not newer than 5");
    await refused(s.dispute(c, at(6, 1000, 4)), "epoch 4 is before 5");
    await refused(s.refute(c, at(6, 1000)), "channel is not in dispute");
    await s.dispute(c, at(5, 700));
    await refused(s.dispute(c, at(6, 1000)), `channel in dispute until ${START + WINDOW}`);
    await refused(s.checkpoint(c, at(6, 1000)), `channel in dispute until ${START + WINDOW}`);
    await refused(s.refute(c, at(5, 700)), "version 5 is not newer than 5");
    await refused(s.refute(c, at(6, 1000, 4)), "epoch 4 is before 5");
    await s.refute(c, at(6, 600));
    equal(s.channel(c).deadline, START + WINDOW, "a refutation does not move the deadline");
    s.pass(WINDOW - 1);
    await s.refute(c, at(7, 500));
    await refused(s.settle(c), `window is open until ${START + WINDOW}`);
    s.pass(1);
    await refused(s.refute(c, at(8, 1000)), `window ended at ${START + WINDOW}`);
    await s.settle(c);
    await s.collect(c);
    equal(s.balance("alice"), MILLION - 500);
    s.conserved();
});

test("somebody settles without a dispute, and a stranger starts one", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const it = s.state(c, 1, 1000, { depositedSeen: 1000 });
    await refused(s.settle(c), "channel is not in dispute");
    await refused(s.dispute(c, it, { caller: "stranger" }), "stranger is neither owner nor operator");
    await refused(s.call("disputerec", { caller: "bob", channel: c.id }, "bob"), "bob is neither owner nor operator");
    await assert.rejects(s.call("disputerec", { caller: "alice", channel: c.id }, "bob"), /missing required authority alice/);
    await s.dispute(c, it, { caller: "exchange" });
    await s.left(c);
    equal(s.balance("alice"), MILLION);
});

test("a state of an unknown kind, branch, version or place counts nowhere", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const far = s.blockId(70_000, "00");
    await refused(s.dispute(c, s.state(c, 1, 1000, { kind: 2 })), "kind 2 is unknown");
    await refused(s.dispute(c, s.state(c, 1, 1000, { branch: far })), "branch is not pinned");
    await refused(s.withdraw(c, 1, { branch: far }), "branch is not pinned");
    await refused(s.dispute(c, s.state(c, 2 ** 40, 1000, { epoch: 1 })), `number ${2 ** 40} has more than 40 bits`);
    await refused(s.dispute(c, s.state(c, 1, 1n << 62n)), `amount ${1n << 62n} is more than a token has`);
    const it = s.state(c, 1, 1000, { depositedSeen: 1000 });
    await refused(s.dispute(c, it, { position: 1 }), "position 1 is outside of the tree");
    await refused(s.dispute(c, it, { path: Array(17).fill(sign.EMPTY) }), "path of 17 steps, 16 is the most");
    await refused(s.dispute(c, it, { path: [sign.EMPTY] }), "state does not lie under the account root");
    // Under a root of many channels, from both sides.
    const mine = sign.leaf(sign.channelState(c.id, it));
    const [left, right] = [sign.keccak("01"), sign.keccak("02")];
    it.accountRoot = sign.node(sign.node(left, mine), right);
    await s.dispute(c, it, { path: [left, right], position: 1 });
    equal(s.channel(c).version, 1);
});

// ---- solvency

test("a winner leaves an empty vault with its escrow and a claim, paid by later inflow in order", async () => {
    const s = await Scene.make();
    const a = await s.opened("alice", 1000);
    const b = await s.opened("bob", 1000);
    await s.opened("carol", 1000);
    await s.dispute(a, s.state(a, 1, 2000, { depositedSeen: 1000 }));
    await s.dispute(b, s.state(b, 1, 1400, { depositedSeen: 1000 }));
    s.pass(WINDOW);
    for (const c of [a, b]) {
        await s.settle(c);
        await s.collect(c);
        await refused(s.collect(c), "nothing to collect");
    }
    equal(s.balance("alice"), MILLION, "own escrow, nobody else's");
    equal(s.balance("bob"), MILLION);
    equal(s.balance("hub"), 1000, "carol's");
    equal(Number(s.channel(a).claim), 1000);
    s.conserved();
    await s.funded(700);
    await refused(s.collect(b), "nothing to collect");
    await s.collect(a);
    await s.funded(900);
    await s.collect(b);
    await s.collect(a);
    equal(s.balance("alice"), MILLION + 1000);
    equal(s.balance("bob"), MILLION + 400);
    equal(s.vault().balance, 200, "what the claims did not need");
    equal(Number(s.channel(a).claim) + Number(s.channel(b).claim), 0);
    s.conserved();
});

test("the treasury withdraws while a claim waits", async () => {
    const s = await Scene.make();
    const a = await s.opened("alice", 1000);
    await s.funded(500);
    await s.posted(500, 1);
    await s.call("reqvault", { token: EOS, amount: 100 }, "treasury");
    await s.dispute(a, s.state(a, 1, 1100, { depositedSeen: 1000 }));
    s.pass(DELAY);
    await s.settle(a);
    equal(Number(s.channel(a).claim), 100, "the lock is for the root's leaves");
    await refused(s.call("takevault", { token: EOS }, "treasury"), "100 asked, 0 available");
    s.conserved();
});

test("losers' escrow reaches winners by rebalance, once", async () => {
    const s = await Scene.make();
    const a = await s.opened("alice", 1000);
    const b = await s.opened("bob", 1000);
    await s.rebalance(b, 1, -1000);
    await refused(s.rebalance(b, 1, -1000), "number 1 given, 2 is next");
    await refused(s.rebalance(b, 2, -1), "1 asked, 0 available");
    await s.rebalance(a, 1, 600);
    await refused(s.rebalance(a, 1, 600), "number 1 given, 2 is next");
    await refused(s.rebalance(a, 2, 500), "500 asked, 400 available");
    s.conserved();
    await s.dispute(a, s.state(a, 1, 2000, { depositedSeen: 1000 }));
    await s.left(a);
    equal(s.balance("alice"), MILLION + 1000, "1600 of escrow and 400 of the vault");
    await s.dispute(b, s.state(b, 1, 1000, { depositedSeen: 1000 }));
    await s.left(b);
    equal(s.balance("bob"), MILLION - 1000, "an older state gives a claim, and nobody pays twice");
    equal(s.balance("hub"), 0);
    s.conserved();
});

test("an accomplice outside of the posted sum leaves first", async () => {
    const s = await Scene.make();
    const honest = await s.opened("alice", 1000);
    const accomplice = await s.opened("bob", 100);
    await s.funded(3000);
    const it = s.state(honest, 1, 3500, { depositedSeen: 1000 });
    const leaf = await s.postedLeaf(honest, it, 2500, 1);
    await s.dispute(accomplice, s.state(accomplice, 1, 3100, { depositedSeen: 100 }));
    await s.left(accomplice);
    equal(s.balance("bob"), MILLION + 500, "escrow and what was not locked");
    await s.disputeByLeaf(honest, it, leaf);
    equal(s.channel(honest).security, 1);
    await s.left(honest);
    equal(s.balance("alice"), MILLION + 2500, "the posted winner is paid whole");
    s.conserved();
});

test("an accomplice's leaf states less excess than its state needs", async () => {
    const s = await Scene.make();
    const honest = await s.opened("alice", 1000);
    const accomplice = await s.opened("bob", 100);
    await s.funded(3000);
    const h = s.state(honest, 1, 4000, { depositedSeen: 1000 });
    const b = s.state(accomplice, 1, 3100, { depositedSeen: 100 });
    const leaf = await s.postedLeaf(accomplice, b, 0, 1, sign.sumLeaf(sign.state(honest.id, h), 4000, 3000));
    await s.disputeByLeaf(accomplice, b, leaf);
    equal(s.channel(accomplice).security, 0, "a leaf secures what it states, no more");
    await s.left(accomplice);
    equal(s.balance("bob"), MILLION, "own escrow");
    equal(s.vault().balance, 3000, "the lock is whole");
    s.conserved();
});

test("operator drops a winner from the next root and pays an accomplice", async () => {
    const s = await Scene.make();
    const honest = await s.opened("alice", 1000);
    const accomplice = await s.opened("bob", 100);
    await s.funded(2500);
    const it = s.state(honest, 1, 3500, { depositedSeen: 1000 });
    const leaf = await s.postedLeaf(honest, it, 2500, 1);
    await s.dispute(accomplice, s.state(accomplice, 1, 2600, { depositedSeen: 100 }));
    s.pass(WINDOW - 1);
    await s.posted(0, 2);
    equal(s.vault().locked, 2500, "the lock of the replaced root stays for a delay at least");
    s.pass(1);
    await s.settle(accomplice);
    await s.collect(accomplice);
    equal(s.balance("bob"), MILLION, "own escrow only");
    await s.disputeByLeaf(honest, it, leaf);
    await s.left(honest);
    equal(s.balance("alice"), MILLION + 2500, "paid whole by the replaced root");
    s.conserved();
});

test("operator refutes a secured state in compact form to take its security", async () => {
    for (const [balance, security, paid] of [[1400, 1, MILLION + 400], [1501, 0, MILLION]]) {
        const s = await Scene.make();
        const c = await s.opened("alice", 1000);
        await s.funded(500);
        const it = s.state(c, 1, 1500, { depositedSeen: 1000 });
        await s.disputeByLeaf(c, it, await s.postedLeaf(c, it, 500, 1));
        await s.refute(c, s.state(c, 2, balance, { depositedSeen: 1000 }));
        equal(s.channel(c).security, security, "needs less: still secured; more: must show its own leaf");
        await s.left(c);
        equal(s.balance("alice"), paid);
        s.conserved();
    }
});

test("a leaf under another batch, a batch of another key, and a batch older than the state", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    await s.funded(500);
    const it = s.state(c, 1, 1500, { depositedSeen: 1000, epoch: 3 });
    const leaf = sign.sumLeaf(sign.state(c.id, it), 1500, 500);
    const thief = sign.key("thief");
    const proof = (epoch, by) => ({ excess: 500, position: 0, path: [], entry: s.entryProof(EOS, leaf, epoch, by) });
    await refused(s.disputeByLeaf(c, it, proof(3, thief)), `signed by 0x${thief.address}, not by 0x${s.operator.address}`);
    await refused(s.disputeByLeaf(c, it, proof(2)), "batch of epoch 2 is older than the state of 3");
    // A path of the same hashes with other sums is another root.
    const raised = proof(3);
    raised.excess = 501;
    const forged = sign.sumLeaf(sign.state(c.id, it), 1500, 501);
    const entry = sign.entry(s.lineage, nameAddress("hub"), tokenAddress(EOS), forged);
    const nobody = sign.recover(sign.digest(s.venueDomain, sign.struct("Batch", 3, sign.EMPTY, entry)), raised.entry.signature);
    await refused(s.disputeByLeaf(c, it, raised), `signed by 0x${nobody}, not by 0x${s.operator.address}`);
    // Signed and never posted: it counts, and secures nothing.
    await s.disputeByLeaf(c, it, proof(3));
    equal(s.channel(c).security, 0);
    // Posted now: the same state is accepted again, for its security.
    await s.call("post", { payer: "exchange", token: EOS, root: leaf, entry: proof(3).entry }, "exchange");
    await s.refuteByLeaf(c, it, proof(3));
    equal(s.channel(c).security, 1);
    await s.left(c);
    equal(s.balance("alice"), MILLION + 500);
    s.conserved();
});

// ---- the vault

test("a checkpoint by leaf ends the past and secures nothing; rows are as the ABI says", async () => {
    const s = await Scene.make({ tokens: [EOS] });
    const c = await s.opened("alice", 1000);
    await s.funded(500);
    const it = s.state(c, 3, 1200, { depositedSeen: 1000 });
    const leaf = await s.postedLeaf(c, it, 200, 3);
    const { operator: _, ...shown } = s.shown(c, it);
    await s.call("checkleaf", { ...shown, leaf });
    await refused(s.call("checkleaf", { ...shown, leaf }), "version 3 is not newer than 3");
    equal(s.channel(c).security, 0);
    await refused(s.dispute(c, s.state(c, 2, 1300, { depositedSeen: 1000 })), "version 2 is not newer than 3");
    await s.disputeByLeaf(c, it, leaf);
    equal(s.channel(c).security, 1, "the same state again, by the leaf that secures it");
    const rows = (table) => Object.values(s.chain.getStorage().hub[table]).flat().map((row) => row.value);
    const entry = sign.entry(s.lineage, nameAddress("hub"), tokenAddress(EOS), sign.sumLeaf(sign.state(c.id, it), 1200, 200));
    assert.deepEqual(rows("roots"), [{ token: EOS, entry, time: START, number: 1 }]);
    assert.deepEqual(rows("pins"), [{ id: s.branch, number: 69_989 }]);
    assert.deepEqual(rows("status"), [{ frozen_at: 0, epoch: 3, epoch_at: START }]);
    equal(rows("settings")[0].treasury, "treasury");
    await s.left(c);
    equal(s.balance("alice"), MILLION + 200);
    s.conserved();
});

test("the treasury withdraws before the delay, after the window, what is locked, and as somebody else", async () => {
    const s = await Scene.make();
    await s.funded(1000);
    const ask = (amount, by = "treasury") => s.call("reqvault", { token: EOS, amount }, by);
    const take = (by = "treasury") => s.call("takevault", { token: EOS }, by);
    await assert.rejects(ask(1, "exchange"), /missing required authority treasury/);
    await refused(take(), "amount is zero");
    await ask(1000);
    await refused(take(), `not before ${START + DELAY}`);
    s.pass(DELAY - 1);
    await refused(take(), `not before ${START + DELAY}`);
    await assert.rejects(take("exchange"), /missing required authority treasury/);
    s.pass(1 + WINDOW + 1);
    await refused(take(), `not after ${START + DELAY + WINDOW}`);
    await ask(1000);
    await s.posted(400, 1);
    s.pass(DELAY);
    await refused(take(), "1000 asked, 600 available");
    await ask(600);
    s.pass(DELAY);
    await take();
    await refused(take(), "amount is zero");
    equal(s.balance("treasury"), MILLION + 600);
    equal(s.vault().balance, 400);
    s.conserved();
});

test("operator posts above the vault, an older epoch, another token's root, a root of another key", async () => {
    const s = await Scene.make();
    await s.funded(100);
    await refused(s.posted(101, 1), "excess 101 is above the vault's 100");
    await s.posted(100, 5);
    await refused(s.posted(0, 5), "epoch 5 is not newer than 5");
    const root = sign.sumLeaf(sign.keccak("05"), 10, 10);
    const post = (entry) => s.call("post", { payer: "exchange", token: EOS, root, entry }, "exchange");
    const other = s.entryProof(OTHER, root, 6);
    const entry = sign.entry(s.lineage, nameAddress("hub"), tokenAddress(EOS), root);
    const nobody = sign.recover(sign.digest(s.venueDomain, sign.struct("Batch", 6, sign.EMPTY, entry)), other.signature);
    await refused(post(other), `signed by 0x${nobody}, not by 0x${s.operator.address}`);
    const thief = sign.key("thief");
    await refused(post(s.entryProof(EOS, root, 6, thief)), `signed by 0x${thief.address}, not by 0x${s.operator.address}`);
    equal(s.vault().number, 1);
    equal(s.vault().locked, 100);
});

test("operator posts twice to free a lock; the lock ends after two delays at most", async () => {
    const s = await Scene.make();
    await s.funded(2500);
    const first = await s.posted(2500, 1);
    await s.posted(500, 2);
    await s.posted(0, 3);
    equal(s.vault().locked, 2500, "the highest of the period");
    const entry = sign.entry(s.lineage, nameAddress("hub"), tokenAddress(EOS), first);
    await refused(s.call("forget", { entry }), "the root is in force");
    s.pass(2 * DELAY);
    await s.posted(0, 4);
    equal(s.vault().locked, 0);
    await s.call("forget", { entry });
    await refused(s.call("forget", { entry }), "no such root was posted");
});

test("operator lets a root stand for long and then replaces it: its lock stays for a delay all the same", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    await s.funded(2500);
    const it = s.state(c, 1, 3500, { depositedSeen: 1000 });
    const leaf = await s.postedLeaf(c, it, 2500, 1);
    s.pass(3 * DELAY);
    await s.posted(0, 2);
    equal(s.vault().locked, 2500);
    await s.call("reqvault", { token: EOS, amount: 2500 }, "treasury");
    s.pass(DELAY);
    await refused(s.call("takevault", { token: EOS }, "treasury"), "2500 asked, 0 available");
    // The root itself is out of force: a leaf of it counts as a state and secures nothing.
    await s.disputeByLeaf(c, it, leaf);
    equal(s.channel(c).security, 0);
});

// ---- freezing

test("anybody freezes a silent hub, and everybody leaves it by proportion", async () => {
    const s = await Scene.make();
    const a = await s.opened("alice", 1000);
    const b = await s.opened("bob", 1000);
    const c = await s.opened("carol", 1000);
    const freeze = (token = EOS) => s.call("freezesilent", { token });
    await refused(freeze(), "no root was ever posted for the token");
    await s.funded(300);
    const [x, y] = [s.state(a, 1, 1200, { depositedSeen: 1000 }), s.state(b, 1, 1100, { depositedSeen: 1000 })];
    const [left, right] = [sign.sumLeaf(sign.state(a.id, x), 1200, 200), sign.sumLeaf(sign.state(b.id, y), 1100, 100)];
    const leaf = await s.postedLeaf(a, x, 200, 1, right);
    await refused(freeze(), `not before ${START + GRACE + 1}`);
    s.pass(GRACE + 1);
    await freeze();
    equal(s.frozenAt, START + GRACE + 1);
    await refused(freeze(), "hub is frozen");
    await refused(s.transfer("alice", "hub", 1, a.id), "hub is frozen");
    await refused(s.open(s.terms("alice", { nonce: 9 })), "hub is frozen");
    await refused(s.rebalance(a, 1, -1), "hub is frozen");
    await refused(s.posted(0, 2), "hub is frozen");
    await refused(s.call("reqvault", { token: EOS, amount: 1 }, "treasury"), "hub is frozen");
    await refused(s.call("takevault", { token: EOS }, "treasury"), "amount is zero");
    await refused(s.withdraw(c, 1100), "hub is frozen");
    await s.withdraw(c, 100);
    await s.dispute(c, s.state(c, 1, 1050, { depositedSeen: 1000 }));
    await s.disputeByLeaf(a, x, leaf);
    await s.disputeByLeaf(b, y, { ...leaf, excess: 100, position: 1, path: [left] });
    s.pass(WINDOW);
    for (const it of [c, b, a]) {
        await s.settle(it);
        await s.collect(it);
    }
    equal(s.balance("carol"), MILLION, "own escrow; the root's sum takes the vault whole");
    equal(s.balance("alice"), MILLION + 200);
    equal(s.balance("bob"), MILLION + 100);
    s.conserved();
});

test("frozen with too little in the vault: shares do not depend on the order", async () => {
    for (const order of [[0, 1], [1, 0]]) {
        const s = await Scene.make();
        const all = [await s.opened("alice", 1000), await s.opened("bob", 1000)];
        const former = await s.opened("carol", 1000);
        await s.funded(300);
        const x = s.state(former, 1, 1150, { depositedSeen: 1000 });
        const replaced = await s.postedLeaf(former, x, 150, 1);
        const states = [s.state(all[0], 1, 1200, { depositedSeen: 1000 }), s.state(all[1], 1, 1100, { depositedSeen: 1000 })];
        const leaves = all.map((c, i) => sign.sumLeaf(sign.state(c.id, states[i]), states[i].balance, [200, 100][i]));
        const proof = await s.postedLeaf(all[0], states[0], 200, 2, leaves[1]);
        await s.disputeByLeaf(former, x, replaced);
        await s.disputeByLeaf(all[0], states[0], proof);
        await s.disputeByLeaf(all[1], states[1], { ...proof, excess: 100, position: 1, path: [leaves[0]] });
        s.pass(WINDOW);
        await s.settle(former);
        equal(Number(s.channel(former).due), 1150, "a replaced root in force still pays");
        equal(s.vault().balance, 150, "half of what the newest root needs");
        const entries = sign.entry(s.lineage, nameAddress("hub"), tokenAddress(EOS), sign.sumNode(...leaves));
        const { previous, signature } = proof.entry;
        await s.call("freezeroots", { epoch: 2, a: { previous, entries, signature }, b: s.batch(2, sign.keccak("09")) });
        for (const i of order) await s.settle(all[i]);
        equal(Number(s.channel(all[0]).due), 1100, "half of 200");
        equal(Number(s.channel(all[1]).due), 1050, "half of 100");
        equal(Number(s.channel(all[0]).claim), 100);
        equal(s.vault().balance, 0);
        s.conserved();
    }
});

test("two batches of one epoch freeze; one batch twice, another key's or another epoch's do not", async () => {
    const s = await Scene.make();
    const [x, y] = [s.batch(3, sign.keccak("01")), s.batch(3, sign.keccak("02"))];
    const thief = sign.key("thief");
    await refused(s.call("freezeroots", { epoch: 3, a: x, b: x }), "proof proves nothing");
    await refused(s.call("freezeroots", { epoch: 3, a: x, b: s.batch(3, sign.keccak("02"), thief) }), `signed by 0x${thief.address}, not by 0x${s.operator.address}`);
    const later = s.batch(4, sign.keccak("02"));
    const nobody = sign.recover(sign.digest(s.venueDomain, sign.struct("Batch", 3, later.previous, later.entries)), later.signature);
    await refused(s.call("freezeroots", { epoch: 3, a: x, b: later }), `signed by 0x${nobody}, not by 0x${s.operator.address}`);
    equal(s.frozenAt, 0);
    await s.funded(100);
    await s.call("reqvault", { token: EOS, amount: 100 }, "treasury");
    s.pass(DELAY);
    await s.call("freezeroots", { epoch: 3, a: x, b: y });
    equal(s.frozenAt, START + DELAY);
    await refused(s.call("takevault", { token: EOS }, "treasury"), "hub is frozen");
    await s.funded(50);
    equal(s.vault().balance, 150, "money for the vault is welcome all the same");
});

test("sums that do not add up freeze; sums that do, do not", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const it = s.state(c, 1, 1500, { depositedSeen: 1000 });
    const [left, right] = [sign.sumLeaf(sign.state(c.id, it), 1500, 500), sign.sumLeaf(sign.keccak("03"), 700, 70)];
    const honest = sign.sumNode(left, right);
    const stated = (node, root = node, path = [], position = 0) => ({ token: EOS, node, position, path, entry: s.entryProof(EOS, root, 1) });
    await refused(s.call("freezenode", { stated: stated(honest), left, right }), "proof proves nothing");
    await refused(s.call("freezenode", { stated: stated(honest), left: right, right: left }), "proof proves nothing");
    const short = { ...honest, excess: honest.excess - 70n };
    const leafCall = (node, balance, excess) => ({
        stated: stated(node, sign.sumNode(node, right), [right]), channel: c.id, state: s.packedState(it), balance, excess,
    });
    await refused(s.call("freezeleaf", leafCall(left, 1500, 500)), "proof proves nothing");
    await refused(s.call("freezeleaf", leafCall(left, 1500, 400)), "proof proves nothing");
    const overflowing = { ...right, balance: (1n << 128n) - 1n };
    await refused(s.call("freezenode", { stated: stated(left, left, [overflowing]), left, right }), "sums overflow");
    equal(s.frozenAt, 0);
    const forked = await Scene.make();
    // A leaf whose sums hide 500 of excess.
    await forked.call("freezeleaf", leafCall({ ...left, excess: 0n }, 1500, 500));
    equal(forked.frozenAt, START);
    await s.call("freezenode", { stated: stated(short), left, right });
    equal(s.frozenAt, START);
});

// ---- co-signers and session keys

test("a new co-signer counts after one window", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const next = sign.key("alice's second");
    const it = (version) => s.state(c, version, 1000, { depositedSeen: 1000 });
    await s.call("cosigner", { channel: c.id, key: next.address, number: 1 }, "alice");
    await refused(s.call("cosigner", { channel: c.id, key: next.address, number: 1 }, "alice"), "number 1 given, 2 is next");
    await refused(s.checkpoint(c, it(1), { by: next }), `signed by 0x${next.address}, not by 0x${c.cosigner.address}`);
    s.pass(WINDOW - 1);
    await s.checkpoint(c, it(1));
    s.pass(1);
    await refused(s.checkpoint(c, it(2)), `signed by 0x${c.cosigner.address}, not by 0x${next.address}`);
    await s.checkpoint(c, it(2), { by: next });
    equal(s.channel(c).version, 2);
});

test("a stolen session key stays within its grant, and is revoked", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 1000);
    const session = sign.key("session");
    const thief = sign.key("thief");
    const limits = { floor: 300, startBase: -100, outflow: 500 };
    const granted = (changes = {}, by = c.cosigner) => {
        const all = { firstEpoch: 5, lastEpoch: 9, ...limits, ...changes };
        const root = sign.limits(c.id, all);
        const message = sign.struct("Grant", 7, session.address, START, all.firstEpoch, all.lastEpoch, root);
        return {
            session: session.address, expiry: START, first_epoch: all.firstEpoch, last_epoch: all.lastEpoch, floor: all.floor,
            start_base: all.startBase, outflow: all.outflow, position: 0, path: [], signature: sign.sign(by, sign.digest(s.venueDomain, message)),
        };
    };
    const show = (version, balance, epoch, grant = granted(), by = session) =>
        s.checkpoint(c, s.state(c, version, balance, { depositedSeen: 1000, epoch }), { by, grant });
    await refused(show(1, 900, 4), "epoch 4 is outside of the grant's 5 to 9");
    await refused(show(1, 900, 10), "epoch 10 is outside of the grant's 5 to 9");
    await refused(show(1, 299, 5), "balance 299 is below the grant's floor 300");
    await refused(show(1, 399, 5), "more flowed out than the grant's 500");
    await refused(show(1, 900, 5, granted(), thief), `signed by 0x${thief.address}, not by 0x${session.address}`);
    await refused(show(1, 900, 5, granted({}, thief)), `signed by 0x${thief.address}, not by 0x${c.cosigner.address}`);
    await refused(show(1, 900, 5, null), `signed by 0x${session.address}, not by 0x${c.cosigner.address}`);
    await show(1, 400, 5);

    const revoke = (from, { by = c.cosigner, consent = null } = {}) => {
        const digest = sign.digest(s.venueDomain, sign.struct("Revocation", c.cosigner.address, session.address, from));
        return s.call("revoke", {
            payer: "alice", cosigner: c.cosigner.address, session: session.address, from_epoch: from,
            signature: sign.sign(by, digest), consent: consent && sign.sign(consent, digest),
        }, "alice");
    };
    await refused(revoke(8), "epoch 8 may have been signed, 36001 is the first to revoke");
    await refused(revoke(8, { by: session }), `signed by 0x${session.address}, not by 0x${c.cosigner.address}`);
    await refused(revoke(8, { consent: session }), `signed by 0x${session.address}, not by 0x${s.operator.address}`);
    await revoke(36_001);
    await revoke(8, { consent: s.operator });
    await revoke(40_000);
    const kept = Object.values(s.chain.getStorage().hub.revocations).flat().map((row) => row.value);
    assert.deepEqual(kept, [{ cosigner: c.cosigner.address, session: session.address, from_epoch: 8 }]);
    await show(2, 500, 7);
    await refused(show(3, 500, 8), "session key revoked from epoch 8, state of 8");
    await s.checkpoint(c, s.state(c, 3, 500, { depositedSeen: 1000, epoch: 8 }));
});

// ---- forks

test("a pin is a block that the transaction refers to, buried, and no other", async () => {
    const s = await Scene.make();
    const pin = (id, options) => s.call("pin", { payer: "exchange", id }, "exchange", options);
    const id = s.blockId(69_000);
    await refused(pin(id, s.reference(s.blockId(69_000, "ff"))), "the transaction refers to another block");
    await refused(pin(id, s.reference(s.blockId(69_001))), "the transaction refers to another block");
    // The number that has the same low bits and lies out of reach, and one that is to come.
    for (const number of [69_000 - 65_536, 69_000 + 65_536]) {
        const other = s.blockId(number);
        await refused(pin(other, s.reference(other)), "the transaction refers to another block");
    }
    const young = s.blockId(s.chain.blockNum - CONFIRMED + 1);
    await refused(pin(young, s.reference(young)), `block can be pinned from block ${s.chain.blockNum + 1}`);
    await pin(id, s.reference(id));
    await refused(pin(id, s.reference(id)), "block is pinned");
    const c = await s.opened("alice", 100);
    await s.dispute(c, s.state(c, 1, 100, { depositedSeen: 100, branch: id }));
});
const CONFIRMED = 11;

test("a split: a state under the last common pin leaves on both sides, one under a later pin on its own", async () => {
    const one = await Scene.make();
    const two = await Scene.make();
    const c = await one.opened("alice", 1000);
    await two.opened("alice", 1000);
    equal(one.branch, two.branch, "pinned before the split");
    for (const side of [one, two]) side.pass(1000);
    const [a, b] = [await one.pinned(70_500, "0a"), await two.pinned(70_500, "0b")];
    const before = one.state(c, 1, 1000, { depositedSeen: 1000 });
    const after = one.state(c, 2, 400, { depositedSeen: 1000, branch: a });
    await two.dispute(c, before);
    await refused(two.refute(c, after), "branch is not pinned");
    await one.dispute(c, before);
    await one.refute(c, after);
    // The other side's block cannot be pinned here: transactions that refer to it are none of this chain's.
    await refused(one.call("pin", { payer: "exchange", id: b }, "exchange", one.reference(a)), "the transaction refers to another block");
    for (const side of [one, two]) await side.left(c);
    equal(one.balance("alice"), MILLION - 600);
    equal(two.balance("alice"), MILLION);
});

// ---- settings and bytes

test("settings that would not be safe", async () => {
    const s = await Scene.make();
    s.chain.createAccount({ name: "hubnew", wasm: s.chain.getAccount("hub").wasm, abi: s.chain.getAccount("hub").abi, enableInline: true });
    const init = (changes) => s.at("hubnew", "init", s.settings(changes));
    for (const [changes, why] of [
        [{ operator_key: "0".repeat(40) }, "operator_key is zero"],
        [{ window: 14_399 }, "window is under four anchors"],
        [{ vault_delay: WINDOW }, "vault_delay is not longer than window"],
        [{ grace: 3_599 }, "grace is under one anchor"],
        [{ anchor: 0 }, "anchor is zero"],
        [{ pin_every: 0 }, "pin_every is zero"],
        [{ pin_every: 65_530 }, "pin_every + confirmations is beyond the blocks a transaction can refer to"],
    ])
        await refused(init(changes), `setting refused: ${why}`);
    await refused(init({ treasury: "hubnew" }), "operator or treasury is no account, or the hub");
    await refused(init({ operator: "nosuchone" }), "operator or treasury is no account, or the hub");
    await refused(s.at("hubnew", "settle", { channel: sign.EMPTY }), "channel was never opened");
    await refused(s.at("hubnew", "freezesilent", { token: EOS }), "the hub has no settings yet; its account calls init once");
    await init({});
});

test("bytes that are cut short or go on", async () => {
    const s = await Scene.make();
    const c = await s.opened("alice", 100);
    const raw = (data) =>
        s.chain.applyTransaction(s.transaction(data), {});
    const full = Buffer.from(c.id, "hex");
    await refused(raw(full.subarray(1)), "data ends too early");
    await refused(raw(Buffer.concat([full, Buffer.of(0)])), "data goes on after its end");
    await refused(raw(Buffer.alloc(7000)), "action data is too long");
    await refused(raw(full), "channel is not in dispute");
});
