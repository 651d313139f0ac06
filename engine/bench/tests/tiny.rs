//! The bench on tiny streams: every row is there, and what we trade is what the header says. No time is judged.

use serde_json::Value;
use std::process::Command;

const FLOWS: [&str; 3] = ["one_instrument", "64_instruments", "flash_crash"];
const SCENES: [&str; 3] = ["auction", "self_trade", "stop_cascade"];
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
        (FLOWS.len() + SCENES.len()) * (OURS.len() + PEERS.len()),
        "{report}"
    );
    for flow in FLOWS {
        for engine in OURS.into_iter().chain(PEERS) {
            let row = row(rows, flow, engine);
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
    for scene in SCENES {
        for engine in OURS {
            check_scene(&report, scene, engine);
        }
        for engine in PEERS {
            assert!(row(rows, scene, engine)["skipped"].is_string());
        }
    }
    let crash = &report["crash_over_calm"]["native"];
    assert!(crash["ratio"].as_f64().expect("a number") > 0.0, "{report}");
    assert!(crash["at_most_2"].is_boolean(), "{report}");
}

/// The row of a scene: its figures are there, its trades are the generator's, and its state is the reference book's.
fn check_scene(report: &Value, scene: &str, engine: &str) {
    let row = row(report["rows"].as_array().expect("rows"), scene, engine);
    if let Some(why) = row["skipped"].as_str() {
        assert!(engine.starts_with("kernel"), "{row}");
        println!("skipped: {scene}, {engine}: {why}");
        return;
    }
    let above_zero = |name: &str| {
        let value = row[name].as_f64();
        assert!(value.is_some_and(|value| value > 0.0), "{name}: {row}");
    };
    above_zero("ns_per_message");
    above_zero("trades");
    assert_eq!(row["expected_match"], true, "{row}");
    assert_eq!(
        row["same_state"], "native replay and reference book",
        "{row}"
    );
    let messages = &row["single_message"]["count"];
    assert_eq!(*messages, 2000, "{row}");
    let figure = match scene {
        "auction" => {
            above_zero("ns_per_price");
            "ns_per_crossed_fill"
        }
        "stop_cascade" => "ns_per_triggered_stop",
        _ => {
            above_zero("prevented");
            "ns_per_message"
        }
    };
    above_zero(figure);
    if engine != "native" {
        let ratios = &report["ratios"][scene];
        let title = match figure {
            "ns_per_message" => engine.to_owned(),
            _ => format!("{engine}, {figure}"),
        };
        assert!(ratios[title].is_number(), "{ratios}");
        assert!(row["verifier"]["instructions"].is_number(), "{row}");
    }
}

fn row<'a>(rows: &'a [Value], flow: &str, engine: &str) -> &'a Value {
    let found = rows
        .iter()
        .find(|row| row["flow"] == flow && row["engine"] == engine);
    found.unwrap_or_else(|| panic!("{flow}: no row of {engine}"))
}

#[test]
fn one_flow_alone_is_measured() {
    let tiny = ["--json", "--messages", "200", "--rounds", "1"];
    let only = ["--engine", "native", "--flow", "stop_cascade"];
    let report = bench(&[&tiny[..], &only[..]].concat());
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 1, "{report}");
    assert_eq!(rows[0]["flow"], "stop_cascade");
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
