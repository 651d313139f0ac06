// A random life of several channels on two tokens, beside a model that knows no packed rows, no signatures and no line of claims: lists and sums. After each step the
// hub must have taken what the model takes, hold what the model says, and owe what it holds.
import assert from "node:assert/strict";
import test from "node:test";
import { DELAY, EOS, OTHER, Scene, WINDOW, refused } from "./scene.mjs";
import * as sign from "./signing.mjs";

const STEPS = Number(process.env.STEPS ?? 300);
const SEED = process.env.SEED ? Number(process.env.SEED) : Math.floor(Math.random() * 2 ** 32);

/** Numbers from a seed (mulberry32). */
function source(seed) {
    return (end) => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) % end;
    };
}

/** Why the model refuses: the text that the hub must give. */
class Refusal extends Error {}
const unless = (holds, why) => {
    if (!holds) throw new Refusal(why);
};

/** One token's money, as one would tell it to a child. `claims` are in the order of their settlements. */
class Model {
    vault = 0;
    asked = null;
    claims = [];

    channel() {
        return { deposited: 0, withdrawn: 0, moved: 0, moves: 0, closed: false, version: 0, epoch: 0, base: 0, deadline: 0, due: 0, paid: 0 };
    }

    escrow(c) {
        return c.closed ? 0 : c.deposited + c.moved - c.withdrawn;
    }

    get free() {
        return this.claims.some((it) => it.left > 0) ? 0 : this.vault;
    }

    income(amount) {
        for (const claim of this.claims) {
            const paid = Math.min(claim.left, amount);
            claim.left -= paid;
            claim.ready += paid;
            amount -= paid;
        }
        this.vault += amount;
    }

    deposit(c, amount) {
        unless(!c.closed, "channel is closed");
        unless(!c.deadline, `channel in dispute until ${c.deadline}`);
        c.deposited += amount;
    }

    withdraw(c, total) {
        unless(!c.closed, "channel is closed");
        unless(total > c.withdrawn, `withdrawn ${total} is not more than ${c.withdrawn}`);
        const [amount, escrow] = [total - c.withdrawn, this.escrow(c)];
        if (amount > escrow) {
            unless(amount - escrow <= this.free, `${amount} asked, ${escrow + this.free} available`);
            this.vault -= amount - escrow;
            c.moved += amount - escrow;
        }
        c.withdrawn = total;
        return amount;
    }

    owed(c, base) {
        return Math.max(0, base + c.deposited - c.withdrawn);
    }

    close(c, base) {
        unless(!c.closed, "channel is closed");
        const [owed, escrow] = [this.owed(c, base), this.escrow(c)];
        if (owed > escrow) {
            unless(owed - escrow <= this.free, `${owed} asked, ${escrow + this.free} available`);
            this.vault -= owed - escrow;
        } else this.income(escrow - owed);
        c.closed = true;
        return owed;
    }

    rebalance(c, number, moved) {
        unless(!c.closed, "channel is closed");
        unless(!c.deadline, `channel in dispute until ${c.deadline}`);
        unless(number === c.moves + 1, `number ${number} given, ${c.moves + 1} is next`);
        if (moved > 0) {
            unless(moved <= this.free, `${moved} asked, ${this.free} available`);
            this.vault -= moved;
        } else {
            unless(-moved <= this.escrow(c), `${-moved} asked, ${this.escrow(c)} available`);
            this.income(-moved);
        }
        c.moved += moved;
        c.moves = number;
    }

    record(c, it) {
        [c.version, c.epoch, c.base] = [it.version, it.epoch, it.balance - it.depositedSeen + it.withdrawnSeen];
    }

    newer(c, it) {
        unless(it.version > c.version, `version ${it.version} is not newer than ${c.version}`);
        unless(it.epoch >= c.epoch, `epoch ${it.epoch} is before ${c.epoch}`);
    }

    checkpoint(c, it) {
        unless(!c.closed, "channel is closed");
        unless(!c.deadline, `channel in dispute until ${c.deadline}`);
        this.newer(c, it);
        this.record(c, it);
    }

    dispute(c, it, now) {
        unless(!c.closed, "channel is closed");
        unless(!c.deadline, `channel in dispute until ${c.deadline}`);
        const same = it.version > 0 && it.version === c.version && it.balance - it.depositedSeen + it.withdrawnSeen === c.base;
        if (!same) this.newer(c, it);
        else unless(it.epoch >= c.epoch, `epoch ${it.epoch} is before ${c.epoch}`);
        this.record(c, it);
        c.deadline = now + WINDOW;
    }

    refute(c, it, now) {
        unless(!c.closed, "channel is closed");
        unless(c.deadline, "channel is not in dispute");
        unless(now < c.deadline, `window ended at ${c.deadline}`);
        this.newer(c, it);
        this.record(c, it);
    }

    settle(c, now) {
        unless(!c.closed, "channel is closed");
        unless(c.deadline, "channel is not in dispute");
        unless(now >= c.deadline, `window is open until ${c.deadline}`);
        const [owed, escrow] = [this.owed(c, c.base), this.escrow(c)];
        c.closed = true;
        c.due = Math.min(owed, escrow);
        if (owed > escrow) {
            // With an open claim there is nothing in the vault: no root is posted here, so all of it went to the claims.
            const covered = Math.min(this.vault, owed - escrow);
            this.vault -= covered;
            c.due += covered;
            if (covered < owed - escrow) this.claims.push((c.claim = { left: owed - escrow - covered, ready: 0 }));
        } else this.income(escrow - owed);
    }

    collect(c) {
        const amount = c.due + (c.claim?.ready ?? 0);
        unless(amount > 0, "nothing to collect");
        c.due = 0;
        if (c.claim) c.claim.ready = 0;
        return amount;
    }

    ask(amount, now) {
        this.asked = { amount, from: now + DELAY };
    }

    take(now) {
        const it = this.asked;
        unless(it && it.amount > 0, "amount is zero");
        unless(now >= it.from, `not before ${it.from}`);
        unless(now <= it.from + WINDOW, `not after ${it.from + WINDOW}`);
        unless(it.amount <= this.free, `${it.amount} asked, ${this.free} available`);
        this.asked = null;
        this.vault -= it.amount;
        return it.amount;
    }
}

test(`the hub and the model, ${STEPS} steps, SEED=${SEED}`, async () => {
    console.log(`seed ${SEED}; SEED=${SEED} STEPS=${STEPS} node --test test/random.test.mjs runs the same again`);
    const below = source(SEED);
    const pick = (list) => list[below(list.length)];
    const s = await Scene.make();
    const owners = ["alice", "bob", "carol"];
    const tokens = [EOS, OTHER];
    const models = new Map(tokens.map((token) => [token, new Model()]));
    const wallets = new Map(tokens.map((token) => [token, Object.fromEntries([...owners, "exchange", "treasury"].map((it) => [it, 1_000_000]))]));
    const channels = [];
    const opened = async () => {
        const token = pick(tokens);
        const c = await s.opened(pick(owners), 0, { token, nonce: channels.length + 1 });
        channels.push({ c, it: models.get(token).channel(), model: models.get(token), wallet: wallets.get(token) });
    };
    for (let i = 0; i < 6; i++) await opened();
    const counts = {};

    const acts = {
        deposit: ({ c, it, model, wallet }) => {
            const units = 1 + below(2000);
            return [() => s.transfer(c.owner, "hub", units, c.id, c.token), () => { model.deposit(it, units); wallet[c.owner] -= units; }];
        },
        withdraw: ({ c, it, model, wallet }) => {
            const total = it.withdrawn + below(1500);
            const recipient = pick(owners);
            return [() => s.withdraw(c, total, { recipient }), () => { wallet[recipient] += model.withdraw(it, total); }];
        },
        close: ({ c, it, model, wallet }) => {
            const [balance, depositedSeen, withdrawnSeen] = [below(4000), below(it.deposited + 1), below(it.withdrawn + 1)];
            return [
                () => s.close(c, balance, { depositedSeen, withdrawnSeen }),
                () => { wallet[c.owner] += model.close(it, balance - depositedSeen + withdrawnSeen); },
            ];
        },
        rebalance: ({ c, it, model }) => {
            const [number, moved] = [it.moves + (below(8) ? 1 : below(3)), below(2000) - 1200];
            return [() => s.rebalance(c, number, moved), () => model.rebalance(it, number, moved)];
        },
        show: ({ c, it, model }) => {
            const state = s.state(c, it.version + (below(6) ? 1 + below(3) : 0), below(4000), {
                depositedSeen: below(it.deposited + 1), withdrawnSeen: below(it.withdrawn + 1), epoch: Math.max(0, it.epoch + (below(8) ? below(3) : -1)),
            });
            const how = it.deadline ? pick(["refute", "refute", "refute", "checkpoint", "dispute"]) : pick(["checkpoint", "dispute", "dispute", "refute"]);
            return [() => s[how](c, state), () => model[how](it, state, s.now)];
        },
        settle: ({ c, it, model }) => [() => s.settle(c), () => model.settle(it, s.now)],
        collect: ({ c, it, model, wallet }) => [() => s.collect(c), () => { wallet[c.owner] += model.collect(it); }],
        fund: ({ c, model, wallet }) => {
            const units = 1 + below(1500);
            return [() => s.funded(units, c.token), () => { model.income(units); wallet.exchange -= units; }];
        },
        ask: ({ c, model }) => {
            const amount = below(1000);
            return [() => s.call("reqvault", { token: c.token, amount }, "treasury"), () => model.ask(amount, s.now)];
        },
        take: ({ c, model, wallet }) => [() => s.call("takevault", { token: c.token }, "treasury"), () => { wallet.treasury += model.take(s.now); }],
    };
    const often = ["deposit", "deposit", "deposit", "withdraw", "withdraw", "close", "rebalance", "rebalance", "show", "show", "show", "show", "settle", "settle", "settle", "collect", "collect", "fund", "ask", "take"];

    for (let step = 0; step < STEPS; step++) {
        if (channels.filter(({ it }) => !it.closed).length < 4) await opened();
        if (below(3) === 0) s.pass(below(2) ? below(WINDOW) : WINDOW);
        const name = pick(often);
        const what = pick(channels);
        // Closed channels stay in the draw, less often.
        if (what.it.closed && !["collect", "fund", "ask", "take"].includes(name) && below(4)) continue;
        const [onChain, inModel] = acts[name](what);
        let why = null;
        try {
            inModel();
        } catch (error) {
            if (!(error instanceof Refusal)) throw error;
            why = error.message;
        }
        const label = `step ${step}, ${name}`;
        try {
            if (why === null) await onChain();
            else await refused(onChain(), why);
        } catch (error) {
            throw new Error(`${label}: the model ${why === null ? "takes it" : `refuses (${why})`}`, { cause: error });
        }
        counts[`${name} ${why === null ? "taken" : "refused"}`] = (counts[`${name} ${why === null ? "taken" : "refused"}`] ?? 0) + 1;
        for (const token of tokens) {
            s.conserved(token);
            const model = models.get(token);
            assert.equal(s.vault(token).balance, model.vault, `${label}: vault`);
            for (const [account, units] of Object.entries(wallets.get(token))) assert.equal(s.balance(account, token), units, `${label}: ${account}`);
        }
        const row = s.channel(what.c);
        assert.equal(Number(row.deposited) + Number(row.moved) - Number(row.withdrawn), what.it.deposited + what.it.moved - what.it.withdrawn, label);
    }
    console.log(JSON.stringify(counts));
});

test(`posted roots, leaves and a freeze: own escrow is always paid, SEED=${SEED}`, async () => {
    const below = source(SEED ^ 0x5eed);
    const s = await Scene.make({ tokens: [EOS] });
    const owners = ["alice", "bob", "carol"];
    let secured = 0;
    for (let round = 0; round < 12; round++) {
        const all = [];
        for (const owner of owners) all.push(await s.opened(owner, 500 + below(1000), { nonce: round + 1 }));
        if (below(4)) await s.funded(1 + below(1500));
        const free = s.vault().balance;
        // A root with a leaf a channel; what they state of excess is what the vault has, or less.
        let left = free;
        const states = all.map((c) => {
            const deposited = Number(s.channel(c).deposited);
            const excess = below(Math.min(left, 400) + 1);
            left -= excess;
            const balance = below(3) ? deposited + excess : below(deposited);
            return { c, deposited, excess, it: s.state(c, 1, balance, { depositedSeen: deposited, epoch: 10 * round + 1 }) };
        });
        const leaves = states.map(({ c, it, excess }) => sign.sumLeaf(sign.state(c.id, it), it.balance, excess));
        const pair = sign.sumNode(leaves[0], leaves[1]);
        const none = { hash: sign.EMPTY, balance: 0n, excess: 0n };
        const third = sign.sumNode(leaves[2], none);
        const root = sign.sumNode(pair, third);
        const entry = s.entryProof(EOS, root, 10 * round + 1);
        await s.call("post", { payer: "exchange", token: EOS, root, entry }, "exchange");
        s.conserved();
        const paths = [[leaves[1], third], [leaves[0], third], [none, pair]];
        for (const [position, { c, it, excess }] of states.entries()) {
            if (below(3)) await s.disputeByLeaf(c, it, { excess, position, path: paths[position], entry });
            else await s.dispute(c, it);
        }
        if (round === 10) await s.call("freezeroots", { epoch: 999, a: s.batch(999, sign.keccak("01")), b: s.batch(999, sign.keccak("02")) });
        s.pass(WINDOW);
        for (const { c, deposited, it } of states.sort(() => below(2) - 0.5)) {
            const before = { row: s.channel(c), vault: s.vault() };
            await s.settle(c);
            s.conserved();
            const row = s.channel(c);
            assert.ok(Number(row.due) >= Math.min(it.balance, deposited), "own escrow");
            assert.equal(Number(row.due) + Number(row.claim), it.balance, "paid or claimed, nothing lost");
            // Posted within what the vault had: a leaf under the newest root is paid whole, frozen or not.
            if (before.row.security === before.vault.number) {
                assert.equal(Number(row.due), it.balance, `round ${round}: secured`);
                secured++;
            }
            if (Number(row.due)) await s.collect(c);
            s.conserved();
        }
        if (s.frozenAt) break;
    }
    assert.ok(secured > 3, "the leaf form was used");
    assert.ok(s.frozenAt > 0);
});
