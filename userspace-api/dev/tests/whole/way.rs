//! The way, as two people go it: signed in by wallet, an account each, money from a real node's chain through a channel, a session whose key is agreed and
//! never sent, orders as packets to the shard in the kernel, fills, batches that both sides sign, all of it seen over REST, and money home on the chain. With
//! each kind of signer.

use crate::alone;
use crate::stage::{Person, Stage, order};
use alloy_primitives::{Address, hex};
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::secp256k1::{Message as Digest, Secp256k1, XOnlyPublicKey, schnorr};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use ring0_dev::hub::WHOLE;
use ring0_dev::{Options, SignerKind, find};
use ring0_signer::Client;
use ring0_signer::bench::vault_move;
use ring0_signer::message::Message;
use ring0_signer::protocol::{Name, Outcome};
use ring0_trader::{Locate, Order, Price, Shares};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// Two people go the whole way in a venue with this signer; then `more` is done with it.
fn the_whole_way(signer: SignerKind, more: impl FnOnce(&Stage)) {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::up(Options {
        signer,
        ..Stage::options(folder.path())
    });
    two_people_trade_and_take_their_money_home(&stage);
    more(&stage);
    let mut venue = stage.into_venue();
    assert!(venue.ended().is_empty(), "nothing has ended by itself");
    assert!(
        venue.down().is_empty(),
        "everything ends when it is asked to"
    );
}

fn two_people_trade_and_take_their_money_home(stage: &Stage) {
    let (mut carol, mut alice) = (stage.welcome("carol"), stage.welcome("alice"));
    assert_ne!(carol.account, alice.account);
    let dollar = stage.dollar();

    // Nobody else sees an account.
    let path = carol.path("balances");
    let (status, problem) = stage.ask(&path, Some(&alice.token), None).unwrap();
    assert!(matches!(status, 403 | 404), "{status} {problem}");
    assert_eq!(stage.ask(&path, None, None).unwrap().0, 401);

    stage.deposit(&mut carol, Address::ZERO, 10 * WHOLE + 3);
    stage.deposit(&mut carol, dollar, 1_000 * WHOLE);
    stage.deposit(&mut alice, Address::ZERO, 2 * WHOLE);
    stage.deposit(&mut alice, dollar, 100_000 * WHOLE);
    stage.confirm();
    stage.has(&carol, "ETH", "10");
    stage.has(&carol, "USD", "1000");
    stage.has(&alice, "USD", "100000");
    let dust = "10.000000000000000003";
    stage.wait("three wei", || {
        (stage.total(&carol, "ETH")? == dust).then_some(())
    });

    // 2 ETH at 3,000 USD: packets to the kernel, tagged by keys that were never sent.
    stage.open_session(&mut carol);
    stage.open_session(&mut alice);
    let (shares, price) = (Shares(2_000), Price(3_000 * 10_000));
    let buy = Order::buy(Locate(1), shares, price);
    let sell = Order::sell(Locate(1), shares, price).immediate();
    order(alice.trader.as_mut().unwrap(), &buy);
    order(carol.trader.as_mut().unwrap(), &sell);
    stage.wait("the fill over REST", || {
        let fills = stage.get(&carol, "fills")?.to_string();
        fills.contains("3000").then_some(())
    });
    let trades = stage.good("/v1/instruments/ETH-USD/trades", None, None);
    assert!(trades.to_string().contains("3000"), "{trades}");

    // The maker gets 0.005 %, the taker pays 0.03 %.
    let paid = 6_000 * WHOLE;
    let wanted = [
        (1_000 * WHOLE + paid - paid * 3 / 10_000, 8 * WHOLE + 3),
        (100_000 * WHOLE - paid + paid / 20_000, 4 * WHOLE),
    ];
    stage.wait("both signatures of what was traded", || {
        stage.cosign(&mut carol);
        stage.cosign(&mut alice);
        let of = |it: &Person| (it.co_signed(dollar), it.co_signed(Address::ZERO));
        ([of(&carol), of(&alice)] == wanted).then_some(())
    });

    // 1,500 USD home.
    let (_, wish) = stage.wish(&carol, "USD", 1_500 * WHOLE).unwrap();
    let (path, token) = (carol.path("withdrawals"), carol.token.clone());
    stage.good(&path, Some(&token), Some(wish.clone()));
    let signed = stage.wait("the operator's half", || {
        stage.cosign(&mut carol);
        stage.cosign(&mut alice);
        stage.withdrawal(&carol, &wish, "signed")
    });
    stage.take(&mut carol, &signed);
    let wallet = carol.owner.address();
    let found = stage.dollars(&mut carol, wallet);
    assert_eq!(found, 1_500 * WHOLE, "in carol's wallet");
    stage.confirm();
    stage.wait("the end of the withdrawal", || {
        stage.withdrawal(&carol, &wish, "paid")
    });
    let status = stage.status().unwrap();
    assert_eq!(status["halted"], json!([]), "every equation held");
    what_was_done_is_signed(stage, [&mut carol, &mut alice]);
}

/// The logs of who did what are those under the root that the operator signed, and so is a statement that is asked for over REST: by `ring0`, from files alone.
fn what_was_done_is_signed(stage: &Stage, [carol, alice]: [&mut Person; 2]) {
    let operator = stage.operator.to_string();
    let run = |what: &[&str], log: Option<&str>, file: &str, answer: &Value| {
        let file = stage.folder.join(file);
        fs::write(&file, answer.to_string()).unwrap();
        let mut command = Command::new(find("ring0").unwrap());
        command.args(what).args(["--json", "--operator", &operator]);
        match log {
            Some(log) => command.arg(stage.folder.join(log)).arg("--batch").arg(file),
            None => command.arg(file),
        };
        let done = command.output().unwrap();
        let why = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{what:?} {log:?}: {why}");
        serde_json::from_slice::<Value>(&done.stdout).unwrap()
    };
    // The gateway says how far its log is once a second, and who is quick has done all before: the next batch has it, and there is one when they trade.
    let mut newest = Value::Null;
    let batch = stage.wait("both logs, not empty, in a batch", || {
        let batch = stage.say("settled", &json!({ "verb": "audit" }))?;
        let heads = batch["file"]["audit"]["heads"].as_array()?;
        let filled = heads.iter().filter(|it| it["entries"].as_u64() > Some(0));
        if filled.count() == 2 {
            return Some(batch);
        }
        stage.cosign(carol);
        stage.cosign(alice);
        if newest != batch["file"]["audit"]["epoch"] {
            newest = batch["file"]["audit"]["epoch"].clone();
            let price = Price(3_000 * 10_000);
            let buy = Order::buy(Locate(1), Shares(1), price);
            let sell = Order::sell(Locate(1), Shares(1), price).immediate();
            order(alice.trader.as_mut().unwrap(), &buy);
            order(carol.trader.as_mut().unwrap(), &sell);
        }
        None
    });
    for (log, name) in [
        ("identity/audit.log", "gateway"),
        ("settlement/audit.log", "settled"),
    ] {
        let report = run(&["audit", "verify"], Some(log), "batch.json", &batch);
        assert_eq!(report["batch"]["log"], name);
        assert!(report["batch"]["entries"].as_u64() > Some(0), "{report}");
    }
    let path = format!("{}?signed=true", carol.path("statement"));
    let told = stage.good(&path, Some(&carol.token), None);
    let report = run(&["statement", "verify"], None, "statement.json", &told);
    assert_eq!(report["hash"], told["hash"]);
    assert_eq!(report["to"], told["signed"]["batch"]["epoch"]);
}

/// The signer's socket of a stage.
fn signer(stage: &Stage) -> Client {
    Client::connect(&stage.folder.join("signer/signer.sock")).unwrap()
}

/// Where the operator's key is, by the signer.
fn backend(stage: &Stage) -> String {
    let keys = signer(stage).keys().unwrap();
    let mut operators = keys.iter().filter(|it| it.name == "operator");
    let (key, other) = (operators.next().unwrap(), operators.next());
    assert_eq!((key.address, other), (stage.operator, None));
    key.backend.clone()
}

#[test]
fn two_people_pay_in_trade_sign_and_take_their_money_home() {
    the_whole_way(SignerKind::Local, |stage| {
        assert_eq!(backend(stage), "local");
    });
}

#[test]
fn the_same_with_the_operators_key_in_a_token() {
    the_whole_way(SignerKind::Pkcs11, |stage| {
        assert_eq!(backend(stage), "pkcs11");
    });
}

/// The operator's key signs what a venue does all day; the vault's taproot key is in three processes' shares, of which two sign a move.
#[test]
fn the_same_with_a_vault_in_three_shares() {
    the_whole_way(SignerKind::Frost, |stage| {
        assert_eq!(backend(stage), "local");
        let script = stage.venue().vault.clone().unwrap();
        let mut client = signer(stage);
        let mut sign = |message: &Message| client.sign("vault", vec![message.clone()]);
        let message = vault_move(&script, &script, 1).unwrap();
        holds(&script, &message, &sign(&message).unwrap()[0]);
        // One holder is lost: the other two sign. With one left nobody does, until another is back.
        stage.venue().holders[0].kill();
        let message = vault_move(&script, &script, 2).unwrap();
        holds(&script, &message, &sign(&message).unwrap()[0]);
        stage.venue().holders[1].kill();
        let message = vault_move(&script, &script, 3).unwrap();
        let outcome = sign(&message).unwrap().remove(0);
        assert!(
            matches!(&outcome, Outcome::Refused(it) if it.name == Name::Backend),
            "{outcome:?}"
        );
        stage.venue().start_holders().unwrap();
        holds(&script, &message, &sign(&message).unwrap()[0]);
        // What the policy of the holders does not name, they do not sign.
        let elsewhere = "0014bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
        let message = vault_move(&script, elsewhere, 4).unwrap();
        let outcome = sign(&message).unwrap().remove(0);
        assert!(matches!(&outcome, Outcome::Refused(_)), "{outcome:?}");
    });
}

/// Bitcoin's own library takes the signature for an input that spends the script.
fn holds(script: &str, message: &Message, outcome: &Outcome) {
    let (Message::VaultMove(it), Outcome::Taproot(signature)) = (message, outcome) else {
        panic!("{outcome:?}");
    };
    let transaction: bitcoin::Transaction = deserialize_hex(&it.transaction).unwrap();
    let spent = bitcoin::TxOut {
        value: bitcoin::Amount::from_sat(it.spends[0].amount),
        script_pubkey: bitcoin::ScriptBuf::from_hex(script).unwrap(),
    };
    let hash = SighashCache::new(&transaction)
        .taproot_key_spend_signature_hash(0, &Prevouts::All(&[&spent]), TapSighashType::Default)
        .unwrap();
    let key = XOnlyPublicKey::from_slice(&spent.script_pubkey.as_bytes()[2..]).unwrap();
    let signature = schnorr::Signature::from_slice(&hex::decode(signature).unwrap()).unwrap();
    let digest = Digest::from_digest(bitcoin::hashes::Hash::to_byte_array(hash));
    Secp256k1::verification_only()
        .verify_schnorr(&signature, &digest, &key)
        .unwrap();
}
