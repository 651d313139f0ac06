//! The bench on few records: every row is there and no queue lost a record. No time is judged.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

#[test]
fn every_row_is_there() {
    let output = Command::new(env!("CARGO_BIN_EXE_ring0-bench-mq"))
        .args(["--json", "--records", "4000", "--rounds", "1"])
        .output()
        .expect("cargo built it for this test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_str(&text(&output.stdout)).expect("one JSON object");
    assert!(report["machine"]["load"].is_string(), "{report}");
    let rows = report["rows"].as_array().expect("rows");
    // iceoryx2 takes part where scripts/setup has built it, and is said to be absent where it has not.
    let bench = Path::new(env!("CARGO_BIN_EXE_ring0-bench-mq"));
    let target = bench.ancestors().nth(2).expect("target/release/program");
    let is_built = target
        .join("tools/iceoryx2/release/ring0-bench-mq-iceoryx2")
        .is_file();
    let absent = report["absent"].as_array().expect("a list");
    if is_built {
        assert_eq!(rows.len(), 3 * 3 * 2 * 3 + 3 * 3, "{report}");
        assert!(absent.is_empty(), "{report}");
    } else {
        eprintln!("skipped: the rows of iceoryx2; scripts/setup builds it");
        assert_eq!(rows.len(), 3 * 3 * 2 * 3, "{report}");
        let help = absent[0]["help"].as_str().expect("what to do");
        assert!(help.contains("scripts/setup"), "{report}");
    }
    for row in rows {
        assert!(row["records_per_s"].as_f64().expect("a number") > 0.0);
        assert_eq!(row["single_record"].is_object(), row["batch"] == 1, "{row}");
    }
    let recording = &report["recording"];
    assert_eq!(recording["slots"], 13_333, "{recording}");
    for name in ["messages_per_s", "replayed_messages_per_s", "syncs"] {
        assert!(
            recording[name].as_f64().expect("a number") > 0.0,
            "{recording}"
        );
    }
}

#[test]
fn a_program_that_fails_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_ring0-bench-mq"))
        .args([
            "--records",
            "100",
            "--rounds",
            "1",
            "--iceoryx2",
            "/bin/false",
        ])
        .output()
        .expect("cargo built it for this test");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/bin/false"), "{said}");
}
