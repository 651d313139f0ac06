//! The LOBSTER sample through every ring: the figures that an independent replay reached too.

use ring0_tests::ring0;
use serde_json::Value;
use std::path::Path;

/// The sample, or why there is none.
fn sample() -> Option<String> {
    let dir = std::env::var("RING0_LOBSTER_DIR").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/lobster").to_owned()
    });
    if Path::new(&dir).is_dir() {
        return Some(dir);
    }
    println!("skipped: no LOBSTER sample at {dir}; set RING0_LOBSTER_DIR (docs/streams.md)");
    None
}

/// Replays through a ring; gives the state's hash without what a clock wrote.
fn check(ring: &str) -> Option<Value> {
    let dir = sample()?;
    let ran = ring0(&["replay", "--lobster", &dir, "--ring", ring, "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let report = ran.json();
    println!("{report}");
    assert_eq!(report["ring"], ring);
    assert_eq!(report["rows"], 999);
    assert_eq!(report["bbo_equal"], 999);
    assert!(report["levels_equal"].as_u64() >= Some(985), "{report}");
    assert_eq!(report["executions"], 98);
    assert_eq!(report["executions_in_priority"], 98);
    assert_eq!(report["account_equal"], 999);
    assert_eq!(report["state_hash"], report["replayed_state_hash"]);
    let timeless = &report["state_hash_without_time"];
    assert!(timeless.is_string(), "{report}");
    Some(timeless.clone())
}

/// A ring follows the sample, to the native ring's state.
fn follows(ring: &str) {
    assert_eq!(check(ring), check("native"), "{ring}");
}

#[test]
fn the_reference_follows_the_sample() {
    follows("reference");
}

#[test]
fn the_kernel_ring_follows_the_sample_over_veth() {
    follows("kernel");
}

#[test]
fn the_udp_ring_follows_the_sample_on_loopback() {
    follows("udp");
}

#[test]
fn the_afxdp_ring_follows_the_sample_over_veth() {
    follows("afxdp");
}

#[cfg(feature = "dpdk")]
#[test]
fn the_dpdk_ring_follows_the_sample_over_veth() {
    follows("dpdk");
}

#[test]
fn a_directory_without_a_sample_is_said_in_one_line() {
    let ran = ring0(&["replay", "--lobster", "/nonexistent", "--json"]);
    assert_eq!((ran.status, ran.err.lines().count()), (1, 1), "{ran:?}");
}
