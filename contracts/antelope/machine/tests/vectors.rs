//! The vectors of account-based chains (`contracts/vectors/accounts.json`), read by the machine: bytes, hashes, digests, roots and who signed.
//!
//! Their first part is any chain's and has addresses of any kind; `antelope` has a channel of an account and of a contract's token.

use keccak_const::Keccak256;
use ring0_antelope_machine::account::{Name, Symbol, Token};
use ring0_antelope_machine::hash::{Address, Host, Word};
use ring0_antelope_machine::message::{self, Domains, State, Terms, Validity, digest};
use ring0_antelope_machine::refusal::Refusal;
use ring0_antelope_machine::signature::Signature;
use ring0_antelope_machine::tree::{self, Path, Sums};
use ring0_antelope_machine::vault::Posted;
use secp256k1::Message;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use serde_json::Value;

/// A host without a chain.
struct Native;

impl Host for Native {
    fn keccak(&self, bytes: &[u8]) -> Word {
        Keccak256::new().update(bytes).finalize()
    }

    fn recover(&self, digest: &Word, parity: u8, r: &Word, s: &Word) -> Option<[u8; 64]> {
        let bytes: [u8; 64] = [*r, *s].concat().try_into().ok()?;
        let id = RecoveryId::from_u8_masked(parity);
        let signature = RecoverableSignature::from_compact(&bytes, id).ok()?;
        let key = signature
            .recover_ecdsa(Message::from_digest(*digest))
            .ok()?;
        key.serialize_uncompressed()[1..].try_into().ok()
    }

    fn is_pinned(&self, _: &Word) -> bool {
        false
    }

    fn revoked_from(&self, _: &Address, _: &Address) -> u64 {
        0
    }

    fn posted(&self, _: &Word) -> Option<Posted> {
        None
    }
}

fn cases() -> Vec<Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/accounts.json");
    let text = std::fs::read_to_string(file).expect("the kept vectors");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    all["cases"].as_array().expect("cases").clone()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    let text = value
        .as_str()
        .expect("hexadecimal")
        .strip_prefix("0x")
        .expect("0x");
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("digits");
    assert_eq!(text.len(), 2 * N);
    std::array::from_fn(byte)
}

fn number<T: std::str::FromStr>(value: &Value) -> T {
    let text = value.as_str().expect("decimal");
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no such number"))
}

fn path(value: &Value) -> Vec<Word> {
    value
        .as_array()
        .expect("a path")
        .iter()
        .map(bytes)
        .collect()
}

fn state(it: &Value, account_root: Word) -> State {
    State {
        version: number(&it["version"]),
        balance: number(&it["balance"]),
        deposited_seen: number(&it["deposited_seen"]),
        withdrawn_seen: number(&it["withdrawn_seen"]),
        epoch: number(&it["epoch"]),
        kind: it["kind"].as_u64().unwrap() as u8,
        account_root,
        branch: bytes(&it["branch"]),
    }
}

/// The message's hash, its digest in the domain, and who signed it.
fn check(name: &str, it: &Value, message: Word, domain: &Word) {
    assert_eq!(message, bytes(&it["struct_hash"]), "{name}: struct hash");
    let digest = digest(&Native, domain, &message);
    assert_eq!(digest, bytes(&it["digest"]), "{name}: digest");
    let signature = Signature {
        r: bytes(&it["signature"]["r"]),
        vs: bytes(&it["signature"]["vs"]),
    };
    let signer: Address = bytes(&it["signer"]);
    assert_eq!(
        signature.require(&Native, &digest, &signer),
        Ok(()),
        "{name}"
    );
    let mut other = digest;
    other[0] ^= 1;
    assert!(
        signature.require(&Native, &other, &signer).is_err(),
        "{name}"
    );
}

/// A state with its account: what is in both parts of a case.
fn check_state(case: &Value, channel: Word, domains: &Domains) -> Word {
    let root: Word = bytes(&case["account"]["root"]);
    let state = state(&case["channel_state"], root);
    let canonical: [u8; 256] = bytes(&case["channel_state"]["bytes"]);
    assert_eq!(state.bytes(&channel).as_flattened(), canonical);
    let hash = state.channel_state(&Native, &channel);
    assert_eq!(hash, bytes(&case["channel_state"]["hash"]));
    let siblings = path(&case["account"]["path"]);
    let way = Path {
        position: case["account"]["position"].as_u64().unwrap(),
        siblings: &siblings,
    };
    assert_eq!(
        tree::root(&Native, tree::leaf(&Native, &hash), &way),
        Ok(root)
    );
    let whole = message::state(&Native, &hash, &root);
    check("state", &case["state"], whole, &domains.hub);
    let account = number(&case["account"]["account"]);
    let by_trader = message::account_state(&Native, account, state.epoch, &root);
    check(
        "account state",
        &case["account_state"],
        by_trader,
        &domains.venue,
    );
    whole
}

#[test]
fn what_is_signed_on_any_chain() {
    for case in cases() {
        let (hub, venue): (Address, Word) =
            (bytes(&case["hub"]["address"]), bytes(&case["venue"]["id"]));
        let lineage = ring0_antelope_machine::hash::number(number(&case["hub"]["lineage"]));
        let domains = Domains::new(&Native, &lineage, &hub, &venue);
        assert_eq!(domains.hub, bytes(&case["hub"]["separator"]));
        assert_eq!(domains.venue, bytes(&case["venue"]["separator"]));
        let terms = &case["terms"];
        let parties = ["owner", "cosigner", "token"].map(|it| bytes::<20>(&terms[it]));
        let channel = message::channel(
            &Native,
            &lineage,
            &hub,
            [&parties[0], &parties[1], &parties[2]],
            number(&terms["nonce"]),
        );
        assert_eq!(channel, bytes(&terms["channel"]));
        let whole = check_state(&case, channel, &domains);
        let at = state(&case["channel_state"], bytes(&case["account"]["root"]));

        let sum = &case["sum"];
        let leaf = Sums::leaf(&Native, &whole, at.balance, number(&sum["excess"]));
        assert_eq!(leaf.hash, bytes(&sum["leaf"]));
        let halves = |word: Word| {
            let (high, low) = word.split_at(16);
            [high, low].map(|it| u128::from_be_bytes(it.try_into().unwrap()))
        };
        let sums = path(&sum["sums"]).into_iter().map(halves);
        let beside: Vec<Sums> = path(&sum["hashes"])
            .into_iter()
            .zip(sums)
            .map(|(hash, [balance, excess])| Sums {
                hash,
                balance,
                excess,
            })
            .collect();
        let way = Path {
            position: sum["position"].as_u64().unwrap(),
            siblings: &beside,
        };
        let root = Sums {
            hash: bytes(&sum["root"]["hash"]),
            balance: number(&sum["root"]["balance"]),
            excess: number(&sum["root"]["excess"]),
        };
        assert_eq!(leaf.root(&Native, &way), Ok(root));
        let entry = root.entry(&Native, &lineage, &hub, &parties[2]);
        assert_eq!(entry, bytes(&case["entry"]["hash"]));
        let siblings = path(&case["entry"]["path"]);
        let way = Path {
            position: case["entry"]["position"].as_u64().unwrap(),
            siblings: &siblings,
        };
        let entries = tree::root(&Native, entry, &way).unwrap();
        assert_eq!(entries, bytes(&case["entry"]["root"]));
        let batch = message::batch(
            &Native,
            at.epoch,
            &bytes(&case["batch"]["previous"]),
            &entries,
        );
        check("batch", &case["batch"], batch, &domains.venue);

        let grant = &case["grant"];
        let limits = tree::limits(
            &Native,
            &channel,
            number(&grant["floor"]),
            number(&grant["start_base"]),
            number(&grant["outflow"]),
        );
        assert_eq!(limits, bytes(&grant["leaf"]));
        let siblings = path(&grant["path"]);
        let way = Path {
            position: grant["position"].as_u64().unwrap(),
            siblings: &siblings,
        };
        let limits = tree::root(&Native, limits, &way).unwrap();
        let times = ["expiry", "first_epoch", "last_epoch"].map(|it| number(&grant[it]));
        let account = number(&case["account"]["account"]);
        let message = message::grant(&Native, account, &bytes(&grant["session"]), times, &limits);
        check("grant", grant, message, &domains.venue);

        let validity = |it: &Value| Validity {
            branch: bytes(&it["branch"]),
            deadline: number(&it["deadline"]),
        };
        let it = &case["withdrawal"];
        let to: Address = bytes(&it["recipient"]);
        let message = message::withdrawal(
            &Native,
            &channel,
            number(&it["withdrawn"]),
            &to,
            &validity(it),
        );
        check("withdrawal", it, message, &domains.hub);
        let it = &case["closing"];
        let amounts = [at.balance, at.deposited_seen, at.withdrawn_seen];
        let message = message::closing(&Native, &channel, amounts, &to, &validity(it));
        check("closing", it, message, &domains.hub);
        let it = &case["rebalancing"];
        let (count, moved) = (number(&it["number"]), number(&it["moved"]));
        let message = message::rebalancing(&Native, &channel, count, moved, &validity(it));
        check("rebalancing", it, message, &domains.hub);
    }
}

/// A name's number from its letters, written apart from the machine's.
fn name(letters: &Value) -> Name {
    let alphabet = ".12345abcdefghijklmnopqrstuvwxyz";
    let letters = letters.as_str().unwrap().chars().zip((0..12).rev());
    Name(letters.fold(0, |sum, (letter, place)| {
        sum | (alphabet.find(letter).unwrap() as u64) << (4 + 5 * place)
    }))
}

#[test]
fn what_is_signed_on_an_antelope_chain() {
    for case in cases() {
        let (it, venue): (&Value, Word) = (&case["antelope"], bytes(&case["venue"]["id"]));
        let hub = name(&it["hub"]["name"]);
        assert_eq!(hub.address(), bytes(&it["hub"]["address"]));
        let lineage = bytes(&it["hub"]["lineage"]);
        let domains = Domains::new(&Native, &lineage, &hub.address(), &venue);
        assert_eq!(domains.hub, bytes(&it["hub"]["separator"]));
        let terms = &it["terms"];
        let (decimals, code) = terms["symbol"].as_str().unwrap().split_once(',').unwrap();
        let mut symbol = [0; 8];
        symbol[0] = decimals.parse().unwrap();
        symbol[1..=code.len()].copy_from_slice(code.as_bytes());
        let token = Token {
            contract: name(&terms["contract"]),
            symbol: Symbol(u64::from_le_bytes(symbol)),
        };
        assert_eq!(token.address(), bytes(&terms["token_address"]));
        let owner = name(&terms["owner"]);
        assert_eq!(owner.address(), bytes(&terms["owner_address"]));
        assert_eq!(owner.to_string(), terms["owner"].as_str().unwrap());
        let terms_of = Terms {
            owner,
            cosigner: bytes(&terms["cosigner"]),
            token,
            nonce: number(&terms["nonce"]),
        };
        let channel = terms_of.channel(&Native, &lineage, &hub.address());
        assert_eq!(channel, bytes(&terms["channel"]));
        check_state(it, channel, &domains);
    }
}

#[test]
fn a_signature_has_one_form() {
    let case = &cases()[0]["state"];
    let good = Signature {
        r: bytes(&case["signature"]["r"]),
        vs: bytes(&case["signature"]["vs"]),
    };
    let digest: Word = bytes(&case["digest"]);
    assert!(good.recover(&Native, &digest).is_ok());
    let half: Word = bytes(&Value::from(
        "0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0",
    ));
    let with = |s: Word, parity: u8| {
        let mut vs = s;
        vs[0] |= parity << 7;
        Signature { vs, ..good }.recover(&Native, &digest)
    };
    let mut above = half;
    above[31] += 1;
    for parity in [0, 1] {
        assert_eq!(with(above, parity), Err(Refusal::SignatureHighS));
        assert_ne!(with(half, parity), Err(Refusal::SignatureHighS));
    }
    let none = Signature::default();
    assert_eq!(
        none.recover(&Native, &digest),
        Err(Refusal::SignatureInvalid)
    );
}
