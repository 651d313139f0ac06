//! The Python client (`python/`) and its ccxt-style adapter against a running gateway.

mod stand;

use stand::{ALICE, BOB, Stand};
use std::process::Command;

#[test]
fn the_python_client_trades() {
    let stand = Stand::up();
    let output = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../python/tests/against_gateway.py"
        ))
        .arg(format!("http://{}", stand.http))
        .args([ALICE, BOB])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 is there");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "ok\n");
}
