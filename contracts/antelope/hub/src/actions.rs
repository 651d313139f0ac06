//! The hub's actions: who may call, which rows change, what is paid.

use ring0_antelope_machine::account::{Name, Symbol, Token};
use ring0_antelope_machine::branch::{Reference, require_referred};
use ring0_antelope_machine::channel::{Channel, Closing, Operator, Rebalancing, Withdrawal};
use ring0_antelope_machine::evidence::{CoSignature, LeafProof};
use ring0_antelope_machine::hash::{Address, Word};
use ring0_antelope_machine::hub::{Hub, Settings, SignedBatch, StatedNode, Status};
use ring0_antelope_machine::message::{State, Terms};
use ring0_antelope_machine::refusal::Refusal;
use ring0_antelope_machine::signature::Signature;
use ring0_antelope_machine::tree::Sums;
use ring0_antelope_machine::vault::{Posted, Vault};

use crate::chain::{self, done, refuse, require, require_auth};
use crate::packed::{Input, Output, Packed, SumPath, entry_proof, grant, optional, path};
use crate::tables::{Kept, Root, Tables, name};

/// Memo of a transfer to the vault. Any other is a channel's id, 64 digits.
const VAULT_MEMO: &[u8] = b"vault";

/// Calls an action of the hub's own.
pub(crate) fn call(tables: &Tables, action: Name, from: &mut Input) {
    // Names as in the ABI; each reads all of its data.
    const INIT: Name = name(b"init");
    const ADDTOKEN: Name = name(b"addtoken");
    const OPEN: Name = name(b"open");
    const WITHDRAW: Name = name(b"withdraw");
    const CLOSE: Name = name(b"close");
    const REBALANCE: Name = name(b"rebalance");
    const COSIGNER: Name = name(b"cosigner");
    const REVOKE: Name = name(b"revoke");
    const CHECKPOINT: Name = name(b"checkpoint");
    const CHECKLEAF: Name = name(b"checkleaf");
    const DISPUTE: Name = name(b"dispute");
    const DISPUTELEAF: Name = name(b"disputeleaf");
    const DISPUTEREC: Name = name(b"disputerec");
    const REFUTE: Name = name(b"refute");
    const REFUTELEAF: Name = name(b"refuteleaf");
    const SETTLE: Name = name(b"settle");
    const COLLECT: Name = name(b"collect");
    const REQVAULT: Name = name(b"reqvault");
    const TAKEVAULT: Name = name(b"takevault");
    const POST: Name = name(b"post");
    const FORGET: Name = name(b"forget");
    const PIN: Name = name(b"pin");
    const FREEZESILENT: Name = name(b"freezesilent");
    const FREEZEROOTS: Name = name(b"freezeroots");
    const FREEZENODE: Name = name(b"freezenode");
    const FREEZELEAF: Name = name(b"freezeleaf");
    match action {
        INIT => init(tables, from),
        ADDTOKEN => add_token(tables, from),
        OPEN => open(tables, from),
        WITHDRAW => withdraw(tables, from),
        CLOSE => close(tables, from),
        REBALANCE => rebalance(tables, from),
        COSIGNER => change_cosigner(tables, from),
        REVOKE => revoke(tables, from),
        CHECKPOINT => show(tables, from, Shown::Checkpoint, false),
        CHECKLEAF => show(tables, from, Shown::Checkpoint, true),
        DISPUTE => show(tables, from, Shown::Dispute, false),
        DISPUTELEAF => show(tables, from, Shown::Dispute, true),
        REFUTE => show(tables, from, Shown::Refutation, false),
        REFUTELEAF => show(tables, from, Shown::Refutation, true),
        DISPUTEREC => dispute_recorded(tables, from),
        SETTLE => settle(tables, from),
        COLLECT => collect(tables, from),
        REQVAULT => request_vault(tables, from),
        TAKEVAULT => take_vault(tables, from),
        POST => post(tables, from),
        FORGET => forget(tables, from),
        PIN => pin(tables, from),
        FREEZESILENT => freeze_silent(tables, from),
        FREEZEROOTS => freeze_roots(tables, from),
        FREEZENODE => freeze_node(tables, from),
        FREEZELEAF => freeze_leaf(tables, from),
        _ => refuse(&"the hub has no such action"),
    }
}

/// A token's contract tells of a transfer. Only the token's own contract is believed, and only about transfers to the hub.
pub(crate) fn money_came(tables: &Tables, contract: Name, from: &mut Input) {
    let (sender, receiver): (Name, Name) = (from.read(), from.read());
    if receiver != tables.hub || sender == tables.hub {
        return;
    }
    let (amount, symbol): (i64, Symbol) = (from.read(), from.read());
    let length = from.length();
    let memo = from.take(length);
    from.end();
    let token = Token { contract, symbol };
    let Ok(amount) = u64::try_from(amount) else {
        refuse(&Refusal::AmountIsZero);
    };
    if memo == VAULT_MEMO {
        let mut vault = tables.vault(&token);
        done(vault.value.fund(amount));
        return vault.keep();
    }
    let Some(id) = word(memo) else {
        refuse(&"memo is neither \"vault\" nor a channel's id of 64 digits");
    };
    let settings = tables.settings();
    let hub = tables.hub(&settings, tables.status().value);
    let mut channel = tables.channel(&id);
    require(
        channel.value.terms.token == token,
        "channel is of another token",
    );
    done(hub.deposit(&mut channel.value, amount));
    channel.keep();
}

/// 64 hexadecimal digits.
fn word(text: &[u8]) -> Option<Word> {
    let mut word = [0; 32];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != word.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in word.iter_mut().zip(pairs) {
        let digit = |it: u8| char::from(it).to_digit(16);
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(word)
}

fn init(tables: &Tables, from: &mut Input) {
    let settings: Settings = from.read();
    from.end();
    require_auth(tables.hub);
    done(settings.require_sound());
    require(
        settings.treasury != tables.hub
            && chain::is_account(settings.treasury)
            && chain::is_account(settings.operator),
        "operator or treasury is no account, or the hub",
    );
    let status = Status {
        frozen_at: 0,
        epoch: settings.first_epoch,
        epoch_at: chain::now(),
    };
    tables.init(&settings, &status);
}

fn add_token(tables: &Tables, from: &mut Input) {
    let (payer, token): (Name, Token) = (from.read(), from.read());
    from.end();
    require_auth(payer);
    require(chain::is_account(token.contract), "token has no contract");
    tables.add_vault(payer, &token);
}

fn open(tables: &Tables, from: &mut Input) {
    let terms: Terms = from.read();
    from.end();
    require_auth(terms.owner);
    require(terms.owner != tables.hub, "the hub owns no channel");
    tables.vault(&terms.token);
    let settings = tables.settings();
    let hub = tables.hub(&settings, tables.status().value);
    tables.add_channel(&done(hub.open(terms)));
}

/// What most calls need: the hub, a channel and its token's vault.
struct Scene {
    settings: Settings,
    status: Kept<Status>,
    channel: Kept<Channel>,
    vault: Kept<Vault>,
}

impl Scene {
    fn new(tables: &Tables, from: &mut Input) -> Scene {
        let channel = tables.channel(&from.read());
        Scene {
            settings: tables.settings(),
            status: tables.status(),
            vault: tables.vault(&channel.value.terms.token),
            channel,
        }
    }

    /// The hub, and what its steps change.
    fn parts<'a>(
        &'a mut self,
        tables: &'a Tables,
    ) -> (Hub<'a, Tables>, &'a mut Channel, &'a mut Vault) {
        let hub = tables.hub(&self.settings, self.status.value);
        (hub, &mut self.channel.value, &mut self.vault.value)
    }

    fn keep(&self) {
        self.channel.keep();
        self.vault.keep();
    }
}

fn withdraw(tables: &Tables, from: &mut Input) {
    let mut scene = Scene::new(tables, from);
    let it = Withdrawal {
        withdrawn: from.read(),
        recipient: from.read(),
        validity: from.read(),
        operator: from.read(),
    };
    from.end();
    let (hub, channel, vault) = scene.parts(tables);
    require_auth(channel.terms.owner);
    let paid = done(hub.withdraw(channel, vault, &it));
    scene.keep();
    pay(
        tables,
        &scene.channel.value.terms.token,
        it.recipient,
        paid,
        &scene.channel.value.id,
    );
}

fn close(tables: &Tables, from: &mut Input) {
    let mut scene = Scene::new(tables, from);
    let it = Closing {
        balance: from.read(),
        deposited_seen: from.read(),
        withdrawn_seen: from.read(),
        recipient: from.read(),
        validity: from.read(),
        operator: from.read(),
    };
    from.end();
    let (hub, channel, vault) = scene.parts(tables);
    require_auth(channel.terms.owner);
    let paid = done(hub.close(channel, vault, &it));
    scene.keep();
    pay(
        tables,
        &scene.channel.value.terms.token,
        it.recipient,
        paid,
        &scene.channel.value.id,
    );
}

fn rebalance(tables: &Tables, from: &mut Input) {
    let mut scene = Scene::new(tables, from);
    let it = Rebalancing {
        number: from.read(),
        moved: from.read(),
        validity: from.read(),
        cosigner: from.read(),
        operator: from.read(),
    };
    from.end();
    let (hub, channel, vault) = scene.parts(tables);
    done(hub.rebalance(channel, vault, &it));
    scene.keep();
}

fn change_cosigner(tables: &Tables, from: &mut Input) {
    let mut scene = Scene::new(tables, from);
    let (key, number): (Address, u64) = (from.read(), from.read());
    from.end();
    let (hub, channel, _) = scene.parts(tables);
    require_auth(channel.terms.owner);
    done(hub.change_cosigner(channel, key, number));
    scene.channel.keep();
}

fn revoke(tables: &Tables, from: &mut Input) {
    let payer: Name = from.read();
    let (cosigner, session): (Address, Address) = (from.read(), from.read());
    let from_epoch: u64 = from.read();
    let by: Signature = from.read();
    let consent: Option<Signature> = optional(from);
    from.end();
    require_auth(payer);
    let settings = tables.settings();
    let hub = tables.hub(&settings, tables.status().value);
    let kept = done(hub.revoke(&cosigner, &session, from_epoch, &by, consent.as_ref()));
    tables.put_revocation(payer, &cosigner, &session, kept);
}

/// What a state is shown for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Shown {
    Checkpoint,
    Dispute,
    Refutation,
}

fn show(tables: &Tables, from: &mut Input, shown: Shown, by_leaf: bool) {
    // Only a dispute has a caller that matters.
    let caller = match shown {
        Shown::Dispute => from.read(),
        _ => Name(0),
    };
    let mut scene = Scene::new(tables, from);
    let state: State = from.read();
    let trader = CoSignature {
        account: from.read(),
        path: path(from),
        signature: from.read(),
        grant: from.read::<bool>().then(|| grant(from)),
    };
    let sums;
    let operator = if by_leaf {
        let excess = from.read();
        sums = SumPath::unpack(from);
        Operator::Leaf(LeafProof {
            excess,
            path: sums.path(),
            entry: entry_proof(from),
        })
    } else {
        Operator::State(from.read())
    };
    from.end();
    let (hub, channel, vault) = scene.parts(tables);
    done(match shown {
        Shown::Checkpoint => hub.checkpoint(channel, vault, &state, &trader, &operator),
        Shown::Refutation => hub.refute(channel, vault, &state, &trader, &operator),
        Shown::Dispute => {
            require_auth(caller);
            hub.dispute(channel, vault, caller, &state, &trader, &operator)
        }
    });
    scene.channel.keep();
}

fn dispute_recorded(tables: &Tables, from: &mut Input) {
    let caller: Name = from.read();
    let mut scene = Scene::new(tables, from);
    from.end();
    require_auth(caller);
    let (hub, channel, _) = scene.parts(tables);
    done(hub.dispute_recorded(channel, caller));
    scene.channel.keep();
}

fn settle(tables: &Tables, from: &mut Input) {
    let mut scene = Scene::new(tables, from);
    from.end();
    let (hub, channel, vault) = scene.parts(tables);
    done(hub.settle(channel, vault));
    scene.keep();
}

fn collect(tables: &Tables, from: &mut Input) {
    let mut scene = Scene::new(tables, from);
    from.end();
    let (hub, channel, vault) = scene.parts(tables);
    let paid = done(hub.collect(channel, vault));
    scene.channel.keep();
    let Channel { id, terms, .. } = &scene.channel.value;
    pay(tables, &terms.token, terms.owner, paid, id);
}

fn request_vault(tables: &Tables, from: &mut Input) {
    let (token, amount): (Token, u64) = (from.read(), from.read());
    from.end();
    let settings = tables.settings();
    require_auth(settings.treasury);
    let mut vault = tables.vault(&token);
    let status = tables.status().value;
    done(
        vault
            .value
            .request(amount, &settings, &status, chain::now()),
    );
    vault.keep();
}

fn take_vault(tables: &Tables, from: &mut Input) {
    let token: Token = from.read();
    from.end();
    let settings = tables.settings();
    require_auth(settings.treasury);
    let mut vault = tables.vault(&token);
    let status = tables.status().value;
    let paid = done(vault.value.withdraw(&settings, &status, chain::now()));
    vault.keep();
    pay(tables, &token, settings.treasury, paid, &[0; 32]);
}

fn post(tables: &Tables, from: &mut Input) {
    let (payer, token): (Name, Token) = (from.read(), from.read());
    let sums: Sums = from.read();
    let proof = entry_proof(from);
    from.end();
    require_auth(payer);
    let settings = tables.settings();
    let (mut status, mut vault) = (tables.status(), tables.vault(&token));
    let hub = tables.hub(&settings, status.value);
    let entry = done(hub.entry(&token.address(), &sums, &proof));
    let now = hub.now;
    done(
        vault
            .value
            .post(sums.excess, proof.epoch, &settings, &mut status.value, now),
    );
    status.keep();
    vault.keep();
    let posted = Posted {
        entry,
        time: now,
        number: vault.value.number,
    };
    tables.put_root(payer, &Root { token, posted });
}

fn forget(tables: &Tables, from: &mut Input) {
    let entry: Word = from.read();
    from.end();
    let Some(root) = tables.root(&entry) else {
        refuse(&"no such root was posted");
    };
    let settings = tables.settings();
    let vault = tables.vault(&root.value.token).value;
    let in_force = root
        .value
        .posted
        .is_in_force(&vault, &settings, chain::now());
    require(!in_force, "the root is in force");
    root.remove();
}

fn pin(tables: &Tables, from: &mut Input) {
    let (payer, id): (Name, Word) = (from.read(), from.read());
    from.end();
    require_auth(payer);
    let (number_low, prefix) = chain::reference();
    let reference = Reference {
        number_low,
        prefix,
        block: chain::block_number(),
    };
    let number = done(require_referred(&id, &reference, &tables.settings()));
    tables.add_pin(payer, &id, number);
}

/// Freezes by a proof that was checked.
fn freeze(mut status: Kept<Status>) {
    done(status.value.freeze(chain::now()));
    status.keep();
}

fn freeze_silent(tables: &Tables, from: &mut Input) {
    let token: Token = from.read();
    from.end();
    let (settings, status) = (tables.settings(), tables.status());
    let hub = tables.hub(&settings, status.value);
    done(hub.require_silence(&tables.vault(&token).value));
    freeze(status);
}

fn freeze_roots(tables: &Tables, from: &mut Input) {
    let epoch: u64 = from.read();
    let (a, b): (SignedBatch, SignedBatch) = (from.read(), from.read());
    from.end();
    let (settings, status) = (tables.settings(), tables.status());
    let hub = tables.hub(&settings, status.value);
    done(hub.require_two_batches(epoch, &a, &b));
    freeze(status);
}

fn freeze_node(tables: &Tables, from: &mut Input) {
    let token: Token = from.read();
    let node: Sums = from.read();
    let sums = SumPath::unpack(from);
    let entry = entry_proof(from);
    let (left, right): (Sums, Sums) = (from.read(), from.read());
    from.end();
    let (settings, status) = (tables.settings(), tables.status());
    let hub = tables.hub(&settings, status.value);
    let stated = StatedNode {
        node,
        path: sums.path(),
        entry,
    };
    done(hub.require_false_node(&token.address(), &stated, &left, &right));
    freeze(status);
}

fn freeze_leaf(tables: &Tables, from: &mut Input) {
    let token: Token = from.read();
    let node: Sums = from.read();
    let sums = SumPath::unpack(from);
    let entry = entry_proof(from);
    let channel: Word = from.read();
    let state: State = from.read();
    let (balance, excess): (u128, u128) = (from.read(), from.read());
    from.end();
    let (settings, status) = (tables.settings(), tables.status());
    let hub = tables.hub(&settings, status.value);
    let stated = StatedNode {
        node,
        path: sums.path(),
        entry,
    };
    done(hub.require_false_leaf(&token.address(), &stated, &channel, &state, balance, excess));
    freeze(status);
}

/// A transfer from the hub, the last thing of its transaction's action. The token's contract refuses what the hub does not have.
fn pay(tables: &Tables, token: &Token, to: Name, amount: u64, about: &Word) {
    if amount == 0 {
        return;
    }
    if to == tables.hub || !chain::is_account(to) {
        refuse(&Refusal::PartyInvalid);
    }
    const ACTIVE: Name = name(b"active");
    // from, to, amount, symbol, and a memo: the channel's id in 64 digits.
    const TRANSFER_LENGTH: usize = 8 + 8 + 8 + 8 + 1 + 64;
    let mut action = Output::new();
    token.contract.pack(&mut action);
    name(b"transfer").pack(&mut action);
    action.put(&[1]);
    tables.hub.pack(&mut action);
    ACTIVE.pack(&mut action);
    action.put(&[TRANSFER_LENGTH as u8]);
    tables.hub.pack(&mut action);
    to.pack(&mut action);
    (amount as i64).pack(&mut action);
    token.symbol.pack(&mut action);
    action.put(&[64]);
    let digits = b"0123456789abcdef";
    for byte in about {
        action.put(&[
            digits[usize::from(byte >> 4)],
            digits[usize::from(byte & 15)],
        ]);
    }
    chain::send_inline(action.bytes());
}
