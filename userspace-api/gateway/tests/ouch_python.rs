//! An independent client of OUCH: Nasdaq's own Python framework (`nasdaq-protocols`) logs in, trades and sees its fill.

mod stand;

use serde_json::{Value, json};
use stand::{Stand, limit};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn nasdaqs_framework_trades() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let python = root.join("target/tools/venv/bin/python");
    assert!(
        python.exists() && python.with_file_name("nasdaq-ouch-codegen").exists(),
        "{} has no nasdaq-protocols; run ./scripts/setup",
        python.display()
    );
    let stand = Stand::up();
    let session = stand.market.session("ops-1").unwrap();
    let password = ring0_gateway::ouch_password(session).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut client = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/ouch_client/client.py"
        ))
        .arg(stand.ouch.port().to_string())
        .args([&session.id().to_string()[4..], password.as_str()])
        .arg(folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut next = || lines.next().expect("the client says more");
    assert_eq!(next(), json!({ "connected": true }));
    assert_eq!(next(), json!({ "message": "Accepted", "user_ref": 1 }));
    // No instrument of that name: 0x17, "symbol".
    assert_eq!(
        next(),
        json!({ "message": "Rejected", "user_ref": 2, "reason": 0x17 })
    );
    let mut trader = stand.trader("carol-1");
    trader.submit(&[limit(false, 40, 50_000)]).unwrap();
    let executed =
        json!({ "message": "Executed", "user_ref": 1, "quantity": 40, "price": 500_000_000 });
    assert_eq!(next(), executed);
    assert!(client.wait().unwrap().success());
}
