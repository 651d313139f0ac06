//! The audit logs under the batches' roots: told, signed, posted to a real hub, verified by `ring0 audit verify`, and every other log refused.

mod venue;

use ring0_channels::B256;
use ring0_channels::heads::AuditFile;
use ring0_hashlog::HashLog;
use ring0_settled::audited::Audited;
use ring0_settled::protocol::Request;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use venue::{DOLLAR, Venue, programs};

fn entry(number: u64) -> Audited {
    Audited {
        at: number,
        user: Some(7),
        request: json!({ "verb": "register", "number": number }),
        outcome: "ok".to_owned(),
    }
}

/// What a gateway would tell of its log.
fn head(name: &str, log: &HashLog<Audited>) -> Request {
    Request::AuditHead {
        name: name.to_owned(),
        entries: log.entries(),
        head: B256::new(log.head().0),
    }
}

/// `ring0 audit verify`: status, what it printed.
fn verify(log: &Path, more: &[&str]) -> (Option<i32>, Value, String) {
    let done = Command::new(programs().join("ring0"))
        .args(["audit", "verify", "--json"])
        .arg(log)
        .args(more)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&done.stdout).unwrap_or_default();
    let why = String::from_utf8(done.stderr).unwrap();
    (done.status.code(), report, why)
}

#[test]
fn heads_of_logs_are_under_the_signed_root() {
    let mut venue = Venue::up("durable", "");
    venue.start_settled();
    let mut carol = venue.member("carol");
    venue.register(&carol);
    venue.pay_in(&mut carol, 100 * DOLLAR, 100 * DOLLAR);

    // The hub takes the root of a tree whose batch has one entry more.
    let first = venue.ask(&Request::Audit).unwrap();
    let first: AuditFile = serde_json::from_value(first["file"].clone()).unwrap();
    assert!(first.audit.heads.get("settled").is_some());
    venue.wait("the posted root", |it| {
        let status = it.try_ask(&Request::Status)?;
        let posted = status["hubs"][0]["posted"].as_object()?.clone();
        let newest = posted.values().filter_map(Value::as_u64).max()?;
        (newest >= first.audit.epoch).then_some(())
    });

    // What a gateway tells. Under one name a log only grows.
    let gateways = venue.folder.path().join("gateway.log");
    let (mut log, _) = HashLog::<Audited>::open(&gateways).unwrap();
    log.append(&entry(1)).unwrap();
    log.append(&entry(2)).unwrap();
    let told = head("gateway", &log);
    venue.ask(&told).unwrap();
    venue.ask(&told).unwrap();
    let refused = |request: &Request, why: &str| {
        let error = venue.ask(request).unwrap_err();
        assert!(error.contains(why), "{request:?}: {error}");
    };
    let as_told = |name: &str, entries: u64, head: B256| Request::AuditHead {
        name: name.to_owned(),
        entries,
        head,
    };
    refused(&as_told("gateway", 1, B256::repeat_byte(1)), "was cut");
    refused(&as_told("gateway", 2, B256::repeat_byte(1)), "was cut");
    refused(&as_told("settled", 9, B256::repeat_byte(1)), "own log");
    refused(
        &as_told("Gate Way", 9, B256::repeat_byte(1)),
        "small letters",
    );

    venue.pay_in(&mut carol, 101 * DOLLAR, DOLLAR);
    let answer = venue.wait("the gateway's head in a signed batch", |it| {
        let answer = it.try_ask(&Request::Audit)?;
        let file: AuditFile = serde_json::from_value(answer["file"].clone()).unwrap();
        file.audit.verify(it.id, it.operator).unwrap();
        file.audit.heads.get("gateway").map(|_| answer)
    });
    let file: AuditFile = serde_json::from_value(answer["file"].clone()).unwrap();
    let heads = &file.audit.heads;
    assert_eq!(heads.get("gateway").unwrap().entries, 2);
    assert!(
        heads.get("settled").unwrap().entries >= 1,
        "the registration"
    );
    let folder = venue.folder.path().to_owned();
    let operator = venue.operator.to_string();
    let (auditors, traders) = (folder.join("auditor.json"), folder.join("trader.json"));
    fs::write(&auditors, answer.to_string()).unwrap();
    let part = venue.client().unwrap().batch(0, carol.account).unwrap();
    let kept = part.audit.clone().expect("a trader's part has the heads");
    assert!(kept.epoch >= file.audit.epoch);
    fs::write(&traders, serde_json::to_vec(&part).unwrap()).unwrap();

    // After a death at any point the newest batch is the same, heads and all.
    venue.kill_settled();
    venue.start_settled();
    let again = venue.wait("the batch again", |it| it.try_ask(&Request::Audit));
    let again: AuditFile = serde_json::from_value(again["file"].clone()).unwrap();
    assert!(again.audit.epoch > kept.epoch || again.audit == kept);
    let status = venue.ask(&Request::Status).unwrap();
    let of_gateway = status["audit_heads"].as_array().unwrap();
    assert!(
        of_gateway
            .iter()
            .any(|it| it["name"] == "gateway" && it["entries"] == 2)
    );

    // Logs that went on since are still those of the batch.
    log.append(&entry(3)).unwrap();
    let own = folder.join("settled/audit.log");
    venue.register(&carol);
    let flags = |file: &Path, operator: &str| -> Vec<String> {
        [
            "--batch",
            &file.display().to_string(),
            "--operator",
            operator,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let run = |log: &Path, file: &Path, operator: &str, more: &[&str]| {
        let flags = flags(file, operator);
        let all: Vec<&str> = flags
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        verify(log, &all)
    };
    for file in [&auditors, &traders] {
        let (status, report, why) = run(&own, file, &operator, &[]);
        assert_eq!(status, Some(0), "{why}");
        assert_eq!(report["batch"]["log"], "settled");
        assert!(report["entries"].as_u64() > report["batch"]["entries"].as_u64());
        let (status, report, why) = run(&gateways, file, &operator, &["--name", "gateway"]);
        assert_eq!(status, Some(0), "{why}");
        assert_eq!(
            (&report["batch"]["entries"], &report["entries"]),
            (&json!(2), &json!(3))
        );
    }

    // Every other log is refused: changed, cut, written anew, another one.
    let refused = |log: &Path, file: &Path, operator: &str, more: &[&str], expected: &str| {
        let (status, _, why) = run(log, file, operator, more);
        assert_eq!(status, Some(3), "{expected}: {why}");
        assert!(why.contains(expected), "{expected}: {why}");
    };
    let changed = folder.join("changed.log");
    let text = fs::read_to_string(&own).unwrap();
    fs::write(&changed, text.replacen("\"ok\"", "\"no\"", 1)).unwrap();
    refused(&changed, &auditors, &operator, &[], "is damaged");
    let cut = folder.join("cut.log");
    let text = fs::read_to_string(&gateways).unwrap();
    fs::write(&cut, format!("{}\n", text.lines().next().unwrap())).unwrap();
    refused(
        &cut,
        &auditors,
        &operator,
        &["--name", "gateway"],
        "was cut off",
    );
    let anew = folder.join("anew.log");
    let (mut other, _) = HashLog::<Audited>::open(&anew).unwrap();
    for number in [1, 9, 3] {
        other.append(&entry(number)).unwrap();
    }
    refused(
        &anew,
        &traders,
        &operator,
        &["--name", "gateway"],
        "was cut off",
    );
    refused(&gateways, &traders, &operator, &[], "was cut off");
    refused(
        &gateways,
        &traders,
        &operator,
        &["--name", "another"],
        "no head",
    );
    // And every other batch: another's, or one with a changed head.
    let another = carol.owner.address().to_string();
    refused(&own, &auditors, &another, &[], "are not what");
    let forged = folder.join("forged.json");
    let new_head = B256::new(other.head().0).to_string();
    let old_head = heads.get("gateway").unwrap().head.to_string();
    fs::write(&forged, answer.to_string().replace(&old_head, &new_head)).unwrap();
    refused(
        &anew,
        &forged,
        &operator,
        &["--name", "gateway"],
        "are not what",
    );
}
