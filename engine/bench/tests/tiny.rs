//! The bench on tiny streams: every row is there, and what we trade is what the header says. No time is judged.

use serde_json::Value;
use std::process::Command;

const FLOWS: [&str; 3] = ["one_instrument", "64_instruments", "flash_crash"];
const OURS: [&str; 3] = ["native", "kernel, tag off", "kernel, tag on"];
const PEERS: [&str; 2] = ["lobster 0.7.0", "obcore 0.1.6"];

fn bench(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_ring0-bench-engine"))
        .args(arguments)
        .output()
        .expect("cargo built it for this test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_str(&text(&output.stdout)).expect("one JSON object")
}

#[test]
fn every_row_is_there_and_our_trades_are_the_headers() {
    let report = bench(&[
        "--json",
        "--messages",
        "2000",
        "--rounds",
        "1",
        "--seed",
        "5",
    ]);
    assert!(report["machine"]["load"].is_string(), "{report}");
    assert!(
        report["timer"]["own_cost"]["ns_p50"].is_number(),
        "{report}"
    );
    assert_eq!(report["seed"], 5);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(
        rows.len(),
        FLOWS.len() * (OURS.len() + PEERS.len()),
        "{report}"
    );
    for flow in FLOWS {
        for engine in OURS.into_iter().chain(PEERS) {
            let row = rows
                .iter()
                .find(|row| row["flow"] == flow && row["engine"] == engine)
                .unwrap_or_else(|| panic!("{flow}: no row of {engine}"));
            if let Some(why) = row["skipped"].as_str() {
                assert!(engine.starts_with("kernel"), "{row}");
                println!("skipped: {flow}, {engine}: {why}");
                continue;
            }
            assert!(
                row["ns_per_message"].as_f64().expect("a number") > 0.0,
                "{row}"
            );
            assert_eq!(
                row["rounds_ns_per_message"].as_array().map(Vec::len),
                Some(1)
            );
            assert_eq!(row["single_message"]["count"], 2000, "{row}");
            assert!(
                row["expected_trades"].as_u64().expect("a number") > 0,
                "{row}"
            );
            if OURS.contains(&engine) {
                assert_eq!(row["trades"], row["expected_trades"], "{row}");
                assert_eq!(row["expected_match"], true, "{row}");
            }
            if engine != "native" && row["expected_match"] == true {
                assert!(report["ratios"][flow][engine].is_number(), "{report}");
            }
        }
        let memory = &report["memory"][flow];
        assert!(
            memory["hot_bytes_per_resting_order"]
                .as_f64()
                .expect("a number")
                >= 64.0
        );
    }
}

#[test]
fn equal_seeds_end_in_one_state() {
    let hashes = || -> Vec<Value> {
        let report = bench(&["--json", "--messages", "500", "--rounds", "1"]);
        let rows = report["rows"].as_array().expect("rows").clone();
        let native = rows.into_iter().filter(|row| row["engine"] == "native");
        native.map(|row| row["state_hash"].clone()).collect()
    };
    assert_eq!(hashes(), hashes());
}
