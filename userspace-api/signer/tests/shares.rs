//! A key in three processes' shares: ceremonies, signatures that Bitcoin takes, holders that refuse, are lost, are refreshed.

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::secp256k1::{Message as Digest, Secp256k1, XOnlyPublicKey, schnorr::Signature};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use ring0_signer::bench::{payment, vault_move};
use ring0_signer::message::Message;
use ring0_signer::protocol::{Name, Outcome};
use ring0_signer::stand::Stand;
use ring0_signer::{Client, protocol::Request};
use std::time::Duration;

const RULES: &str = r#"
[[asset]]
name = "BTC"
network = "regtest"

[[key]]
name = "vault"
kinds = ["vault-move"]
per_second = 1000
fee_max = "2000"
"#;

const TREASURY: &str = r#"
[[key]]
name = "treasury"
kinds = ["transaction"]
per_second = 1000
gas_cost_max = "1000000"
[[key.call]]
chain = 1
to = "0x3333333333333333333333333333333333333333"
"#;

/// The coordinator lets the vault pay this; holders do not.
const ELSEWHERE: &str = "0014bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn stand(ceremony: &str) -> (Stand, String) {
    let mut stand = Stand::new(&[env!("CARGO_BIN_EXE_ring0-signer").into()]).unwrap();
    let known = stand.holders(&["a", "b", "c"], RULES).unwrap();
    let rules = format!("{RULES}scripts = [{ELSEWHERE:?}]\n{known}");
    stand.init("vault", &rules).unwrap();
    let made = stand
        .run(
            "vault",
            &["ceremony", ceremony, "vault", "--threshold", "2"],
        )
        .unwrap();
    let script = made["key"]["script"].as_str().unwrap().to_owned();
    stand.serve("vault").unwrap();
    (stand, script)
}

/// Whether Bitcoin's own library takes the signature for an input that spends the script.
fn holds(script: &str, message: &Message, outcome: &Outcome) -> bool {
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
    let signature =
        Signature::from_slice(&alloy_primitives::hex::decode(signature).unwrap()).unwrap();
    let digest = Digest::from_digest(bitcoin::hashes::Hash::to_byte_array(hash));
    Secp256k1::verification_only()
        .verify_schnorr(&signature, &digest, &key)
        .is_ok()
}

fn sign(stand: &Stand, message: &Message) -> Outcome {
    let mut client = Client::connect(&stand.socket("vault")).unwrap();
    client
        .sign("vault", vec![message.clone()])
        .unwrap()
        .remove(0)
}

fn refused(outcome: &Outcome, name: Name) -> &str {
    match outcome {
        Outcome::Refused(it) if it.name == name => &it.text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn holders_make_a_key_together_lose_one_and_are_refreshed() {
    let (mut stand, script) = stand("dkg");
    let message = vault_move(&script, &script, 1).unwrap();
    assert!(holds(&script, &message, &sign(&stand, &message)));
    // Each holder asks its own policy and has its own history.
    let elsewhere = vault_move(&script, ELSEWHERE, 2).unwrap();
    let outcome = sign(&stand, &elsewhere);
    let text = refused(&outcome, Name::Backend);
    assert!(text.contains("not in the list"), "{text}");
    let history = stand
        .run("a", &["history", "--kind", "vault-move", "--refused"])
        .unwrap();
    assert!(history.as_str().unwrap().contains("recipient"), "{history}");
    stand.run("a", &["verify"]).unwrap();

    // One is lost: the other two sign. Two are lost: nobody does, and asking again later works.
    stand.kill("a");
    let message = vault_move(&script, &script, 3).unwrap();
    assert!(holds(&script, &message, &sign(&stand, &message)));
    stand.kill("b");
    let message = vault_move(&script, &script, 4).unwrap();
    let outcome = sign(&stand, &message);
    refused(&outcome, Name::Backend);
    stand.serve("b").unwrap();
    assert!(holds(&script, &message, &sign(&stand, &message)));

    // New shares for those that are left. The key stays.
    stand.kill("vault");
    let lost = stand
        .run("vault", &["share", "refresh", "vault", "--holders", "a,b"])
        .unwrap_err();
    assert!(lost.to_string().contains("no signer answers"), "{lost}");
    stand
        .run("vault", &["share", "refresh", "vault", "--holders", "b,c"])
        .unwrap();
    stand.serve("vault").unwrap();
    let message = vault_move(&script, &script, 5).unwrap();
    assert!(holds(&script, &message, &sign(&stand, &message)));
    // The lost one comes back, with a share of the former generation: it is of no use to anybody.
    stand.serve("a").unwrap();
    stand.kill("b");
    let message = vault_move(&script, &script, 6).unwrap();
    let outcome = sign(&stand, &message);
    refused(&outcome, Name::Backend);
    stand.serve("b").unwrap();
    assert!(holds(&script, &message, &sign(&stand, &message)));
}

#[test]
fn a_dealer_deals_and_one_share_signs_nothing() {
    let (stand, script) = stand("dealer");
    let message = vault_move(&script, &script, 1).unwrap();
    assert!(holds(&script, &message, &sign(&stand, &message)));
    let mut holder = Client::connect(&stand.socket("a")).unwrap();
    let alone = holder.sign("vault", vec![message]).unwrap_err().to_string();
    assert!(alone.contains("one share"), "{alone}");
    // Nonces that nobody made, or that were used.
    let request = Request::SignShare {
        key: "vault".to_owned(),
        generation: Default::default(),
        message: Box::new(vault_move(&script, &script, 2).unwrap()),
        nonces: Default::default(),
        package: "00".to_owned(),
    };
    let error = holder
        .call::<serde_json::Value>(&request)
        .unwrap_err()
        .to_string();
    assert!(error.contains("used or forgotten"), "{error}");
    let again = stand.run(
        "vault",
        &["ceremony", "dealer", "vault", "--threshold", "2"],
    );
    assert!(again.is_err());
}

/// A key for ECDSA in shares: hubs and nodes see one signature of one key.
#[test]
fn two_of_three_sign_transactions() {
    let mut stand = Stand::new(&[env!("CARGO_BIN_EXE_ring0-signer").into()]).unwrap();
    let known = stand.holders(&["a", "b", "c"], TREASURY).unwrap();
    let more = "[[key.call]]\nchain = 1\nto = \"0x4444444444444444444444444444444444444444\"\n";
    stand
        .init("vault", &format!("{TREASURY}{more}{known}"))
        .unwrap();
    let ceremony = [
        "ceremony",
        "dkg",
        "treasury",
        "--threshold",
        "2",
        "--scheme",
        "ecdsa",
    ];
    stand.run("vault", &ceremony).unwrap();
    stand.serve("vault").unwrap();
    let socket = stand.socket("vault");
    let mut client = Client::connect(&socket).unwrap();
    let address = client.keys().unwrap()[0].address;
    let mut holds = |message: Message| {
        let digest = message.digest().unwrap();
        let signature = client.sign_one("treasury", message)?;
        // `recover` takes the lower s alone.
        assert_eq!(signature.recover(digest), Ok(address));
        Ok::<(), ring0_signer::ClientError>(())
    };
    holds(payment(1)).unwrap();
    stand.kill("a");
    holds(payment(2)).unwrap();
    holds(payment(2)).unwrap();
    stand.kill("c");
    assert!(
        holds(payment(3))
            .unwrap_err()
            .to_string()
            .contains("2 shares are needed")
    );
    // Its share is on its disk: the same key after a start, and its own policy.
    stand.serve("a").unwrap();
    holds(payment(3)).unwrap();
    let Message::Transaction(it) = payment(4) else {
        panic!("a payment is a transaction");
    };
    let elsewhere = Message::Transaction(ring0_signer::transaction::Transaction {
        to: ring0_channels::Address::repeat_byte(0x44),
        ..it
    });
    let error = holds(elsewhere).unwrap_err().to_string();
    assert!(error.contains("no [[key.call]]"), "{error}");
    // One holder alone gives nothing, and a round that nobody began is none.
    let mut holder = Client::connect(&stand.socket("b")).unwrap();
    assert!(
        holder
            .sign("treasury", vec![payment(5)])
            .unwrap_err()
            .to_string()
            .contains("one share")
    );
    let request = Request::EcdsaRound {
        key: "treasury".to_owned(),
        session: Default::default(),
        inbox: Default::default(),
    };
    let error = holder
        .call::<serde_json::Value>(&request)
        .unwrap_err()
        .to_string();
    assert!(error.contains("under way"), "{error}");
    // A coordinator that relays what it likes: what a holder seals for one does not open for another.
    let mut other = Client::connect(&stand.socket("a")).unwrap();
    let begin = |client: &mut Client| {
        let request = Request::EcdsaBegin {
            key: "treasury".to_owned(),
            message: Box::new(payment(6)),
            session: Default::default(),
            signers: vec![1, 2],
        };
        let answer: serde_json::Value = client.call(&request).unwrap();
        answer["out"][0][1].as_str().unwrap().to_owned()
    };
    let (of_b, _) = (begin(&mut holder), begin(&mut other));
    let request = Request::EcdsaRound {
        key: "treasury".to_owned(),
        session: Default::default(),
        inbox: [(1, of_b)].into(),
    };
    let error = holder
        .call::<serde_json::Value>(&request)
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not open"), "{error}");
    // What the first round kept is gone with it.
    let error = holder
        .call::<serde_json::Value>(&request)
        .unwrap_err()
        .to_string();
    assert!(error.contains("under way"), "{error}");
}

/// The holders stand still, so the coordinator has the request on its disk and no signature. Killed there and asked again it signs the same; the history has it twice.
#[test]
fn a_coordinator_killed_before_its_holders_answered() {
    let (mut stand, script) = stand("dealer");
    let signal = |stand: &Stand, signal: rustix::process::Signal| {
        for name in ["a", "b", "c"] {
            let process = stand.process(name).and_then(|it| i32::try_from(it).ok());
            let process = process.and_then(rustix::process::Pid::from_raw).unwrap();
            rustix::process::kill_process(process, signal).unwrap();
        }
    };
    signal(&stand, rustix::process::Signal::STOP);
    let message = vault_move(&script, &script, 1).unwrap();
    let asking = {
        let (socket, message) = (stand.socket("vault"), message.clone());
        std::thread::spawn(move || {
            Client::connect(&socket)
                .unwrap()
                .sign("vault", vec![message])
        })
    };
    let signed = |stand: &Stand| {
        let text = stand
            .run("vault", &["history", "--kind", "vault-move"])
            .unwrap();
        text.as_str().map_or(0, |it| it.lines().count())
    };
    while signed(&stand) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    stand.kill("vault");
    assert!(asking.join().unwrap().is_err());
    signal(&stand, rustix::process::Signal::CONT);
    stand.serve("vault").unwrap();
    assert!(holds(&script, &message, &sign(&stand, &message)));
    assert_eq!(signed(&stand), 2);
}
