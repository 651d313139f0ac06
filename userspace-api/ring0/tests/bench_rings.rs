//! `ring0 bench rings`, tiny: what the report has, that every packet is accounted for, and that all rings end in one state. No figure is judged.

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// Runs the verb; gives its report, or `None` where this machine cannot.
fn rings(arguments: &[&str]) -> Option<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_ring0"))
        .args(["bench", "rings", "--json", "--seconds", "1"])
        .args(arguments)
        .output()
        .expect("the command was just built");
    let error = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        // A privilege or a feature of the kernel is missing; or a second processor.
        Some(5 | 6) => {
            eprintln!("skipped: {error}");
            return None;
        }
        Some(1) if error.contains("has only one") => {
            eprintln!("skipped: {error}");
            return None;
        }
        status => panic!("{status:?}: {error}"),
    }
    let report = String::from_utf8(output.stdout).expect("JSON is text");
    Some(serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}")))
}

fn number(of: &Value, name: &str) -> u64 {
    of[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {of}"))
}

/// A row's figures of one lane: whole, in order, and every packet sent is answered or lost under a name.
fn check_lane(row: &Value, lane: &str, packets: u64) {
    let figures = &row[lane];
    let positive = |name: &str| {
        let value = figures[name].as_f64();
        assert!(value.is_some_and(|it| it > 0.0), "{lane} {name}: {figures}");
        value.expect("just looked at")
    };
    for name in [
        "messages_per_second",
        "packets_per_second",
        "messages_per_cpu_second",
        "messages",
        "packets",
    ] {
        positive(name);
    }
    assert!(figures["cpu_us_per_message"].as_f64().is_some());
    let quantiles = ["p50", "p99", "p999"].map(|it| positive(&format!("latency_ns_{it}")));
    assert!(quantiles.is_sorted(), "{figures}");
    assert!(positive("latency_ns_max") >= quantiles[0]);
    for rounds in ["rounds_messages_per_second", "rounds_latency_ns_p50"] {
        assert_eq!(figures[rounds].as_array().map(Vec::len), Some(5));
    }
    let busy = figures["busy_seconds_by_processor"].as_array();
    assert!(busy.is_some_and(|it| it.len() >= 2), "{figures}");
    for name in ["user", "system", "softirq"] {
        assert!(figures["busy_seconds_by_processor"][1][name].is_number());
    }

    let counted = &figures["counted"];
    let refused: u64 = counted["not_taken"]
        .as_object()
        .expect("by reason")
        .values()
        .filter_map(Value::as_u64)
        .sum();
    let answers = number(counted, "answered") + number(counted, "answered_again") + refused;
    assert_eq!(number(counted, "answered"), packets, "{lane}");
    assert_eq!(
        number(counted, "sent"),
        answers + number(figures, "packets_without_answer"),
        "{lane}: {counted}"
    );
    // Nothing is sent a second time but what was lost, refused, or asked about too early.
    assert!(number(counted, "sent") <= packets + number(counted, "resent") + refused * packets);
}

#[test]
fn every_ring_takes_every_packet_and_says_what_it_took() {
    let Some(report) = rings(&[]) else { return };
    let names = [
        "udp",
        "afxdp",
        "afxdp-busy",
        "dpdk",
        "kernel",
        "kernel-shared",
        "kernel-napi",
    ];
    let rows = report["rings"].as_array().expect("a list");
    let listed: Vec<_> = rows.iter().filter_map(|row| row["ring"].as_str()).collect();
    assert_eq!(listed, names);
    let lanes = &report["lanes"];
    assert_eq!(lanes["single"]["messages_per_packet"], 1.0);
    assert!(lanes["full"]["messages_per_packet"].as_f64() > Some(30.0));
    let mut states = BTreeSet::new();
    let mut measured = 0;
    for row in rows {
        let name = &row["ring"];
        if let Some(why) = row["not_measured"].as_str() {
            assert!(name == "dpdk" || name == "kernel-napi", "{name}: {why}");
            assert_eq!(name == "dpdk", why.contains("--features dpdk"), "{why}");
            continue;
        }
        measured += 1;
        let mut all = 0;
        for lane in ["single", "full"] {
            assert!(number(&lanes[lane], "offered_packets_per_second") > 0);
            let packets = number(&lanes[lane], "packets");
            let before = number(&lanes[lane], "packets_before_warm_up");
            check_lane(row, lane, packets);
            check_lane(&row["echo"], lane, packets - before);
            all += packets;
        }
        // The ring's own count says the same.
        assert_eq!(number(&row["counters"], "taken"), all, "{name}");
        let lost = row["port_counters"]["arrivals_lost"].as_u64();
        assert_eq!(lost.unwrap_or(0), 0, "{name}");
        states.insert(row["state_hash_without_time"].to_string());
    }
    assert!(measured >= 4, "{listed:?}");
    assert_eq!(states.len(), 1, "rings that took the same packets");
    assert_eq!(report["states_agree"], true);
    for (ratio, wanted) in [
        ("kernel_over_udp_messages_per_cpu_second", ">= 3"),
        ("kernel_over_xdp_echo_p50", "<= 1.3"),
    ] {
        for lane in ["single", "full"] {
            let ratio = &report["ratios"][ratio][lane];
            assert!(ratio["median"].as_f64() > Some(0.0), "{ratio}");
            assert_eq!(ratio["wanted"], wanted);
            assert!(ratio["holds"].is_boolean());
        }
    }
}

#[test]
fn the_rate_offered_is_the_rate_named() {
    let rates = ["--rings", "udp", "--rate", "2000", "--full-rate", "500"];
    let Some(report) = rings(&rates) else { return };
    for (lane, rate) in [("single", 2_000.0), ("full", 500.0)] {
        assert_eq!(report["lanes"][lane]["offered_packets_per_second"], rate);
    }
    assert_eq!(report["rings"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["ratios"].get("kernel_over_xdp_echo_p50"), None);
}
