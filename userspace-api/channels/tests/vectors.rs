//! The vectors of account-based chains, `contracts/vectors/accounts.json`: made here from fixed seeds, and compared byte for byte with what is kept. Each chain's
//! own tests read the same file. `RING0_WRITE_VECTORS=1` writes it anew.

use alloy_primitives::aliases::U40;
use alloy_primitives::{Address, B256, U256, hex, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue};
use ring0_channels::key::{Signature, Signer};
use ring0_channels::message::{
    AMOUNT_MAX, AccountState, Batch, ChannelState, Closing, CosignerChange, Grant, Hub,
    KIND_TRADING, Rebalancing, State, Terms, Withdrawal, venue_domain,
};
use ring0_channels::tree::{self, SumTree, Sums, Tree};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Numbers that a seed gives, the same for ever.
struct Source {
    seed: u64,
    taken: u64,
}

impl Source {
    fn word(&mut self) -> B256 {
        self.taken += 1;
        keccak256([self.seed.to_be_bytes(), self.taken.to_be_bytes()].concat())
    }

    fn below(&mut self, end: u128) -> u128 {
        (U256::from_be_bytes(self.word().0) % U256::from(end)).to()
    }

    fn number(&mut self, bits: u32) -> u64 {
        self.below(1 << bits) as u64
    }

    fn address(&mut self) -> Address {
        Address::from_slice(&self.word()[12..])
    }

    fn signer(&mut self) -> Signer {
        Signer::new(self.word().0).expect("a hash that is no key has not been found yet")
    }

    fn state(&mut self, channel: B256, epoch: u64) -> ChannelState {
        let deposited_seen = self.below(AMOUNT_MAX / 4);
        let withdrawn_seen = self.below(deposited_seen + 1);
        ChannelState {
            channel,
            version: U40::from(1 + self.number(30)),
            balance: self.below(AMOUNT_MAX / 4),
            depositedSeen: deposited_seen,
            withdrawnSeen: withdrawn_seen,
            epoch: U40::from(epoch),
            kind: KIND_TRADING,
            branch: self.word(),
        }
    }
}

fn signature(it: &Signature) -> Value {
    json!({ "r": it.r, "vs": it.vs })
}

/// A message, what is signed, and the signature.
fn signed<S: SolStruct>(
    fields: Value,
    message: &S,
    domain: &Eip712Domain,
    signer: &Signer,
) -> Value {
    let digest = message.eip712_signing_hash(domain);
    let by = signer.sign(message, domain);
    assert_eq!(by.require(message, domain, signer.address()), Ok(()));
    let Value::Object(mut all) = fields else {
        unreachable!("fields")
    };
    let more = json!({
        "struct_hash": message.eip712_hash_struct(),
        "digest": digest,
        "signer": signer.address(),
        "signature": signature(&by),
    });
    let Value::Object(more) = more else {
        unreachable!("fields")
    };
    all.extend(more);
    Value::Object(all)
}

fn text(number: impl ToString) -> Value {
    number.to_string().into()
}

/// A name of an Antelope chain, as it packs it: 12 letters of 5 bits from the top.
fn packed_name(letters: &str) -> u64 {
    let alphabet = ".12345abcdefghijklmnopqrstuvwxyz";
    letters
        .chars()
        .zip(0..12)
        .fold(0, |packed, (letter, place)| {
            let index = alphabet.find(letter).expect("a letter of a name") as u64;
            packed | index << (59 - 5 * place)
        })
}

/// What stands for an Antelope chain's name or token in what is signed: a tag of 4 letters and 16 bytes.
fn antelope_address(tag: &[u8; 4], high: u64, low: u64) -> Address {
    let bytes = [&tag[..], &high.to_be_bytes(), &low.to_be_bytes()].concat();
    Address::from_slice(&bytes)
}

/// The same on an Antelope chain: an account owns the channel, the token is a contract's symbol, amounts have 62 bits. The branch is a block's id, whose first 4
/// bytes are its number.
fn antelope(from: &mut Source, venue: B256, operator: &Signer, cosigner: &Signer) -> Value {
    let mut name = |length: u64| -> String {
        let letter = |word: B256| char::from(b'a' + word[0] % 26);
        (0..length).map(|_| letter(from.word())).collect()
    };
    let (hub_name, owner, contract, code) = (name(9), name(12), name(11), name(4));
    let code = code.to_uppercase();
    let decimals = from.below(10) as u64;
    let symbol = code
        .bytes()
        .rev()
        .fold(0, |packed, letter| packed << 8 | u64::from(letter))
        << 8
        | decimals;
    let hub = Hub {
        lineage: U256::from_be_bytes(from.word().0),
        address: antelope_address(b"name", 0, packed_name(&hub_name)),
    };
    let (domain, venue_domain) = (hub.domain(), venue_domain(venue));
    let terms = Terms {
        owner: antelope_address(b"name", 0, packed_name(&owner)),
        cosigner: cosigner.address(),
        token: antelope_address(b"coin", packed_name(&contract), symbol),
        nonce: from.number(60),
    };
    let channel = hub.channel(&terms);
    let (account, epoch) = (from.number(60), 1 + from.number(30));
    let amount = |from: &mut Source| from.below(1 << 62);
    let mut branch = from.word();
    let block = 100_000 + from.number(24) as u32;
    branch[..4].copy_from_slice(&block.to_be_bytes());
    let state = ChannelState {
        channel,
        version: U40::from(1 + from.number(30)),
        balance: amount(from),
        depositedSeen: amount(from),
        withdrawnSeen: amount(from),
        epoch: U40::from(epoch),
        kind: KIND_TRADING,
        branch,
    };
    let beside = from.word();
    let accounts = Tree::new(vec![
        (channel, tree::leaf(state.hash())),
        (beside, tree::leaf(beside)),
    ])
    .unwrap();
    let position = accounts.position(tree::leaf(state.hash())).unwrap();
    let whole = State {
        state: state.clone(),
        accountRoot: accounts.root(),
    };
    let account_state = AccountState {
        account,
        epoch: U40::from(epoch),
        accountRoot: accounts.root(),
    };
    json!({
        "hub": { "name": hub_name, "address": hub.address, "lineage": B256::from(hub.lineage), "separator": domain.separator() },
        "terms": {
            "owner": owner, "owner_address": terms.owner, "cosigner": terms.cosigner,
            "contract": contract, "symbol": format!("{decimals},{code}"), "token_address": terms.token,
            "nonce": text(terms.nonce), "channel": channel,
        },
        "channel_state": {
            "version": text(state.version), "balance": text(state.balance),
            "deposited_seen": text(state.depositedSeen), "withdrawn_seen": text(state.withdrawnSeen),
            "epoch": text(state.epoch), "kind": state.kind, "block": block, "branch": state.branch,
            "base": text(state.base().unwrap()), "bytes": hex::encode_prefixed(state.bytes()), "hash": state.hash(),
        },
        "account": { "account": text(account), "root": accounts.root(), "position": position, "path": accounts.path(position) },
        "state": signed(json!({}), &whole, &domain, operator),
        "account_state": signed(json!({}), &account_state, &venue_domain, cosigner),
    })
}

fn case(seed: u64) -> Value {
    let mut from = Source { seed, taken: 0 };
    let hub = Hub {
        lineage: U256::from(from.number(32)),
        address: from.address(),
    };
    let (domain, venue) = (hub.domain(), from.word());
    let venue_domain = venue_domain(venue);
    let (operator, cosigner, session, owner) =
        (from.signer(), from.signer(), from.signer(), from.signer());
    let token = if seed.is_multiple_of(2) {
        Address::ZERO
    } else {
        from.address()
    };
    let terms = Terms {
        owner: owner.address(),
        cosigner: cosigner.address(),
        token,
        nonce: from.number(60),
    };
    let channel = hub.channel(&terms);
    let (account, epoch) = (from.number(60), 1 + from.number(30));

    // The account's tree: this channel and others, on any chain.
    let mine = from.state(channel, epoch);
    let mut leaves = vec![(channel, tree::leaf(mine.hash()))];
    for _ in 0..from.number(4) {
        let other = from.word();
        leaves.push((other, tree::leaf(from.state(other, epoch).hash())));
    }
    let accounts = Tree::new(leaves).unwrap();
    let position = accounts.position(tree::leaf(mine.hash())).unwrap();
    let path = accounts.path(position);
    let account_root = accounts.root();
    assert_eq!(
        tree::root(tree::leaf(mine.hash()), position, &path),
        Some(account_root)
    );
    let state = State {
        state: mine.clone(),
        accountRoot: account_root,
    };
    let account_state = AccountState {
        account,
        epoch: U40::from(epoch),
        accountRoot: account_root,
    };

    // The sum tree of this hub and token, and the batch.
    let excess = from.below(mine.balance + 1);
    let leaf = Sums::leaf(state.eip712_hash_struct(), mine.balance, excess);
    let mut sums = vec![(channel, leaf)];
    for _ in 0..from.number(5) {
        let balance = from.below(AMOUNT_MAX / 4);
        let (channel, hash) = (from.word(), from.word());
        sums.push((channel, Sums::leaf(hash, balance, balance / 3)));
    }
    let sums = SumTree::new(sums).unwrap();
    let sum_position = sums.position(&leaf).unwrap();
    let sum_path = sums.path(sum_position);
    assert_eq!(
        tree::sum_root(leaf, sum_position, &sum_path),
        Some(sums.root())
    );
    let entry = sums.root().entry(&hub, token);
    let mut entries = vec![(entry, entry)];
    for _ in 0..from.number(3) {
        let other = from.word();
        entries.push((other, other));
    }
    let entries = Tree::new(entries).unwrap();
    let entry_position = entries.position(entry).unwrap();
    let previous = from.word();
    let batch = Batch {
        epoch: U40::from(epoch),
        previous,
        entries: entries.root(),
    };

    // A session key's grant, whose limits are a leaf of their own tree.
    let floor = from.below(mine.balance + 1);
    let start_base = mine.base().unwrap();
    let outflow = from.below(AMOUNT_MAX);
    let limits_leaf = keccak256(
        [
            &[0],
            (
                channel,
                U256::from(floor),
                alloy_primitives::I256::try_from(start_base).unwrap(),
                U256::from(outflow),
            )
                .abi_encode()
                .as_slice(),
        ]
        .concat(),
    );
    let other = from.word();
    let limits = Tree::new(vec![(channel, limits_leaf), (other, other)]).unwrap();
    let limits_position = limits.position(limits_leaf).unwrap();
    let (first, last) = (epoch.saturating_sub(from.number(8)), epoch + from.number(8));
    let expiry = from.number(38);
    let grant = Grant {
        account,
        session: session.address(),
        expiry: U40::from(expiry),
        firstEpoch: U40::from(first),
        lastEpoch: U40::from(last),
        limits: limits.root(),
    };

    let (recipient, deadline) = (from.address(), from.number(38));
    let withdrawn = from.below(AMOUNT_MAX);
    let withdrawal = Withdrawal {
        channel,
        withdrawn,
        recipient,
        branch: mine.branch,
        deadline: U40::from(deadline),
    };
    let closing = Closing {
        channel,
        balance: mine.balance,
        depositedSeen: mine.depositedSeen,
        withdrawnSeen: mine.withdrawnSeen,
        recipient,
        branch: mine.branch,
        deadline: U40::from(deadline),
    };
    let moved =
        i128::try_from(from.below(AMOUNT_MAX)).unwrap() - i128::try_from(AMOUNT_MAX / 2).unwrap();
    let number = 1 + from.number(20);
    let rebalancing = Rebalancing {
        channel,
        number: U40::from(number),
        moved,
        branch: mine.branch,
        deadline: U40::from(deadline),
    };
    let named = from.address();
    let change = CosignerChange {
        channel,
        cosigner: named,
        number: U40::from(number),
        branch: mine.branch,
        deadline: U40::from(deadline),
    };

    // As a hub takes them: hashes, and balance and excess in one word.
    let hashes: Vec<B256> = sum_path.iter().map(|it| it.hash).collect();
    let packed = |it: &Sums| {
        let word = [it.balance.to_be_bytes(), it.excess.to_be_bytes()];
        B256::from_slice(word.as_flattened())
    };
    let packed: Vec<B256> = sum_path.iter().map(packed).collect();
    let branch_deadline = json!({ "branch": mine.branch, "deadline": text(deadline) });
    let with = |more: Value| {
        let mut all: Map<String, Value> = branch_deadline.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    json!({
        "hub": { "lineage": text(hub.lineage), "address": hub.address, "separator": domain.separator() },
        "venue": { "id": venue, "separator": venue_domain.separator() },
        "terms": {
            "owner": terms.owner, "cosigner": terms.cosigner, "token": terms.token,
            "nonce": text(terms.nonce), "channel": channel,
        },
        "channel_state": {
            "version": text(mine.version), "balance": text(mine.balance),
            "deposited_seen": text(mine.depositedSeen), "withdrawn_seen": text(mine.withdrawnSeen),
            "epoch": text(mine.epoch), "kind": mine.kind, "branch": mine.branch,
            "base": text(start_base), "bytes": hex::encode_prefixed(mine.bytes()), "hash": mine.hash(),
        },
        "account": { "account": text(account), "root": account_root, "position": position, "path": path },
        "state": signed(json!({}), &state, &domain, &operator),
        "account_state": signed(json!({}), &account_state, &venue_domain, &cosigner),
        "sum": {
            "excess": text(excess), "leaf": leaf.hash, "position": sum_position, "hashes": hashes, "sums": packed,
            "root": { "hash": sums.root().hash, "balance": text(sums.root().balance), "excess": text(sums.root().excess) },
        },
        "entry": { "hash": entry, "position": entry_position, "path": entries.path(entry_position), "root": entries.root() },
        "batch": signed(json!({ "previous": previous }), &batch, &venue_domain, &operator),
        "grant": signed(
            json!({
                "session": session.address(), "expiry": text(expiry), "first_epoch": text(first), "last_epoch": text(last),
                "floor": text(floor), "start_base": text(start_base), "outflow": text(outflow),
                "leaf": limits_leaf, "position": limits_position, "path": limits.path(limits_position), "root": limits.root(),
            }),
            &grant, &venue_domain, &cosigner,
        ),
        "withdrawal": signed(with(json!({ "withdrawn": text(withdrawn), "recipient": recipient })), &withdrawal, &domain, &owner),
        "closing": signed(with(json!({ "recipient": recipient })), &closing, &domain, &owner),
        "rebalancing": signed(with(json!({ "number": text(number), "moved": text(moved) })), &rebalancing, &domain, &cosigner),
        "cosigner_change": signed(with(json!({ "cosigner": named, "number": text(number) })), &change, &domain, &owner),
        "antelope": antelope(&mut from, venue, &operator, &cosigner),
    })
}

#[test]
fn the_kept_vectors_are_what_is_made_here() {
    let cases: Vec<Value> = (1..=8).map(case).collect();
    let vectors = json!({
        "about": "What account-based chains sign and hash (docs/channels.md): amounts in decimal, words in hexadecimal. Made and checked by userspace-api/channels/tests/vectors.rs.",
        "cases": cases,
    });
    let made = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    let file = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../contracts/vectors/accounts.json"
    ));
    if std::env::var_os("RING0_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).expect("the kept vectors");
    assert!(
        kept == made,
        "contracts/vectors/accounts.json is not what is made here; after a change of what is signed: RING0_WRITE_VECTORS=1"
    );
}
