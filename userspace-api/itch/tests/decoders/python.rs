//! Scripts of `tests/decoders` under the Python that `scripts/setup` prepares.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a script prints of a file, one JSON value a line; `None`, with a line that says why, where Python is not prepared.
pub(crate) fn run(script: &str, file: &Path) -> Option<Vec<Value>> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let python = root.join("target/tools/venv/bin/python");
    if !python.exists() {
        println!("skipped: {script}: scripts/setup has not installed the foreign decoders");
        return None;
    }
    let output = Command::new(python)
        .arg(root.join("tests/decoders").join(script))
        .arg(file)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    Some(lines.collect())
}
