//! `ring0 gen --itch` and `ring0 itch`, as a user runs them.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn ring0(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ring0"))
        .current_dir(place)
        .args(arguments)
        .output()
        .unwrap()
}

/// Ends with this status, and says this on its error output.
#[track_caller]
fn fails(output: &Output, status: i32, text: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{error}");
    assert!(error.contains(text), "{error}");
}

#[test]
fn a_derived_feed_ends_as_its_stream_says() {
    let place = tempfile::tempdir().unwrap();
    let gen_one = |seed: &str, feed: &str, stream: &str| {
        let size = ["--messages", "20000", "--prefill", "1000", "--symbols", "3"];
        let arguments = [
            &["gen", "--json", "--seed", seed],
            &size[..],
            &["--itch", feed, stream],
        ];
        let output = ring0(place.path(), &arguments.concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let made = gen_one("1", "one.itch", "one.lobstrm");
    gen_one("2", "two.itch", "two.lobstrm");

    let verify = [
        "itch",
        "--json",
        "one.itch",
        "--verify-lobstrm",
        "one.lobstrm",
    ];
    let output = ring0(place.path(), &verify);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verified"], true);
    assert_eq!(report["messages"], made["itch_messages"]);
    assert_eq!(report["trades"]["executions"], made["trades"]);
    assert_eq!(report["trades"]["executed_shares"], made["quantity"]);
    assert_eq!(report["live_orders"], made["live"]);
    let letters = report["by_type"].as_object().unwrap();
    assert_eq!(letters.keys().collect::<Vec<_>>(), ["A", "D", "E"]);
    assert_eq!(report["books"].as_array().unwrap().len(), 3);

    let other = ["itch", "one.itch", "--verify-lobstrm", "two.lobstrm"];
    fails(
        &ring0(place.path(), &other),
        3,
        "the file is not of this stream",
    );
}

#[test]
fn what_is_no_feed_is_named() {
    let place = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8], text: &str| {
        std::fs::write(place.path().join("file"), bytes).unwrap();
        fails(&ring0(place.path(), &["itch", "file"]), 1, text);
    };
    check(b"\x1F\x8B\x08\0", "gunzip");
    check(b"\0\x05Dabcd", "instead of 19");
    check(b"\0\x13D", "ends within the message at byte 0");
    fails(
        &ring0(place.path(), &["itch", "nowhere"]),
        1,
        "name a BinaryFILE",
    );
    std::fs::write(place.path().join("empty"), b"").unwrap();
    assert!(ring0(place.path(), &["itch", "empty"]).status.success());
}
