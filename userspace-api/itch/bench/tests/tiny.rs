//! The bench on a feed so small that its times mean nothing: that it runs, that readers agree, and what it reports.

use serde_json::Value;
use std::process::Command;

#[test]
fn every_reader_on_both_feeds() {
    let output = Command::new(env!("CARGO_BIN_EXE_ring0-bench-itch"))
        .args(["--messages", "2000", "--rounds", "3", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    // Four decoders and three builders, with 1 and with 64 symbols.
    assert_eq!(rows.len(), 2 * 7);
    for row in rows {
        assert!(row["ns_per_message"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["messages"].as_u64().unwrap() >= 2_000, "{row}");
    }
    println!("{report}");
}
