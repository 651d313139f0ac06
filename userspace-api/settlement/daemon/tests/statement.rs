//! Statements that a real signer signs, verified by `ring0 statement verify`; a second one of an account and a batch is signed by nobody.

mod venue;

use ring0_settled::protocol::Request;
use ring0_settled::statement::SignedStatement;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use venue::{DOLLAR, Venue, programs};

fn ask(account: u32, from: u64, to: u64) -> Request {
    Request::Statement {
        account,
        from,
        to,
        sign: true,
    }
}

/// `ring0 statement verify`: its status and what it said.
fn verify(venue: &Venue, answer: &Value, operator: &str) -> (Option<i32>, String) {
    let file = venue.folder.path().join("statement.json");
    fs::write(&file, answer.to_string()).unwrap();
    let done = Command::new(programs().join("ring0"))
        .args(["statement", "verify"])
        .arg(&file)
        .args(["--operator", operator])
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn one_statement_is_signed_of_an_account_and_a_batch() {
    let mut venue = Venue::up("durable", "");
    venue.start_settled();
    let mut carol = venue.member("carol");
    venue.register(&carol);
    let early = venue.ask(&ask(carol.account, 1, u64::MAX)).unwrap_err();
    assert!(early.contains("no batch is signed"), "{early}");
    venue.pay_in(&mut carol, 100 * DOLLAR, 100 * DOLLAR);
    venue.pay_in(&mut carol, 107 * DOLLAR, 7 * DOLLAR);

    let first = venue.ask(&ask(carol.account, 1, u64::MAX)).unwrap();
    let signed = SignedStatement::read(&first).unwrap();
    signed.verify(venue.operator).unwrap();
    let usd = &first["statement"]["assets"][0];
    assert_eq!(
        (&usd["asset"], &usd["closing"]),
        (&json!("USD"), &json!((107 * DOLLAR).to_string()))
    );
    // The root beside it is the one that the trader's own part leads to.
    let batches = venue.ask(&Request::Batches).unwrap();
    assert_eq!(first["signed"]["batch"]["root"], batches["root"]);
    let epoch = signed.signed.batch.epoch;
    let operator = venue.operator.to_string();
    let (status, said) = verify(&venue, &first, &operator);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&format!("beside batch {epoch}")), "{said}");

    // The same again is the same, after a death too; another one of the same batch is refused by the signer, and an earlier end here.
    let again = venue.ask(&ask(carol.account, 1, epoch)).unwrap();
    assert_eq!(again["signed"], first["signed"]);
    venue.kill_settled();
    venue.start_settled();
    let again = venue.wait("the statement again", |it| {
        it.try_ask(&ask(carol.account, 1, u64::MAX))
    });
    assert_eq!(again["signed"], first["signed"]);
    let second = venue.ask(&ask(carol.account, 2, u64::MAX)).unwrap_err();
    assert!(
        second.contains("with another content was signed"),
        "{second}"
    );
    let earlier = venue.ask(&ask(carol.account, 1, epoch - 1)).unwrap_err();
    assert!(earlier.contains("newest signed batch"), "{earlier}");
    let unsigned = Request::Statement {
        account: carol.account,
        from: 2,
        to: u64::MAX,
        sign: false,
    };
    let unsigned = venue.ask(&unsigned).unwrap();
    assert_eq!(unsigned.get("signed"), None);
    let (status, said) = verify(&venue, &unsigned, &operator);
    assert_eq!(status, Some(1), "{said}");
    // The signer's history has each one it signed and refused.
    let history = venue
        .signer
        .run("operator", &["history", "--kind", "statement"]);
    let history = history.unwrap().to_string();
    assert!(
        history.contains("signed operator statement")
            && history.contains("refused operator statement"),
        "{history}"
    );

    // Changed ones are refused.
    let changed = |pointer: &str, to: Value| {
        let mut answer = first.clone();
        *answer.pointer_mut(pointer).unwrap() = to;
        verify(&venue, &answer, &operator)
    };
    for (pointer, to) in [
        ("/statement/assets/0/closing", json!("1")),
        ("/statement/account", json!(2)),
        ("/statement/from", json!(2)),
        ("/hash", first["signed"]["batch"]["root"].clone()),
        ("/signed/batch/root", first["hash"].clone()),
        ("/signed/batch/epoch", json!(epoch + 1)),
        ("/signed/venue", first["hash"].clone()),
        (
            "/signed/signature",
            first["signed"]["batch"]["signature"].clone(),
        ),
    ] {
        let (status, said) = changed(pointer, to);
        assert_eq!(status, Some(3), "{pointer}: {said}");
    }
    let (status, said) = verify(&venue, &first, &carol.owner.address().to_string());
    assert_eq!(status, Some(3), "{said}");

    // The next batch has a statement of its own, from wherever it is asked.
    venue.pay_in(&mut carol, 108 * DOLLAR, DOLLAR);
    let next = venue.ask(&ask(carol.account, 2, u64::MAX)).unwrap();
    SignedStatement::read(&next)
        .unwrap()
        .verify(venue.operator)
        .unwrap();
    assert!(next["signed"]["batch"]["epoch"].as_u64() > Some(epoch));
}
