//! The Python client (`python/`) and its ccxt-style adapter against a running gateway.

mod stand;

use stand::{ALICE, BOB, Stand};
use std::path::Path;
use std::process::Command;

#[test]
fn the_python_client_trades() {
    let stand = Stand::up();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let python = root.join("target/tools/venv/bin/python");
    assert!(
        python.exists(),
        "{} is not there; run ./scripts/setup",
        python.display()
    );
    let output = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../python/tests/against_gateway.py"
        ))
        .arg(format!("http://{}", stand.http))
        .args([ALICE, BOB])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "ok\n");
}
