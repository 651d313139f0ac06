//! LOBSTRM1 streams of any seed through every ring: trades as the header says, one state.

use ring0_stream::lobstrm::{Checksum, generate};
use ring0_tests::{Random, ring0, seed};
use serde_json::Value;

fn replay(file: &str, ring: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["replay", "--stream", file, "--ring", ring, "--json"];
    arguments.extend(more);
    let ran = ring0(&arguments);
    assert_eq!(ran.status, 0, "{ran:?}");
    let report = ran.json();
    assert_eq!(report["expected_match"], true, "{report}");
    assert_eq!(report["trades"], report["expected_trades"], "{report}");
    assert_eq!(report["checksum"], report["expected_checksum"], "{report}");
    assert_eq!(report["quantity"], report["expected_quantity"], "{report}");
    report
}

/// Streams of any seed and 1 to 256 symbols; small, because the reference looks at every order.
fn streams() -> Vec<(tempfile::TempDir, String)> {
    let mut random = Random(seed());
    let symbols = [1, 2, 3 + random.below(252) as u32, 64, 256];
    let write = |symbols| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (messages, prefill) = (2_000 + random.below(20_000), random.below(3_000));
        let stream = generate(random.next_u64(), messages as u64, prefill as u64, symbols);
        let file = dir.path().join("flow.lobstrm");
        stream.write(&file).expect("room for a small file");
        let file = file.to_str().expect("a plain name").to_owned();
        println!("{symbols} symbols, {prefill} + {messages} messages");
        (dir, file)
    };
    symbols.map(write).into()
}

#[test]
fn native_and_reference_trade_what_the_header_says() {
    for (_dir, file) in streams() {
        let native = replay(&file, "native", &[]);
        let reference = replay(&file, "reference", &[]);
        assert_eq!(native["state_hash"], reference["state_hash"]);
    }
}

#[test]
fn the_kernel_trades_what_the_header_says_by_test_run_and_over_veth() {
    for (_dir, file) in streams() {
        let native = replay(&file, "native", &[]);
        let by_run = replay(&file, "kernel", &[]);
        assert_eq!(by_run["transport"], "test-run, one packet a run");
        let by_wire = replay(&file, "kernel", &["--wire"]);
        assert_eq!(by_wire["transport"], "veth");
        // The clocks differ, nothing else does.
        for kernel in [by_run, by_wire] {
            let name = "state_hash_without_time";
            assert_eq!(native[name], kernel[name], "{kernel}");
        }
    }
}

/// A thread's ring trades what the header says, to the native ring's state.
fn trades_as_native(ring: &str) {
    for (_dir, file) in streams() {
        let name = "state_hash_without_time";
        let native = replay(&file, "native", &[]);
        let threaded = replay(&file, ring, &[]);
        assert_eq!(native[name], threaded[name], "{threaded}");
    }
}

#[test]
fn the_udp_ring_trades_what_the_header_says() {
    trades_as_native("udp");
}

#[test]
fn the_afxdp_ring_trades_what_the_header_says() {
    trades_as_native("afxdp");
}

#[cfg(feature = "dpdk")]
#[test]
fn the_dpdk_ring_trades_what_the_header_says() {
    trades_as_native("dpdk");
}

#[test]
fn generated_files_are_equal_for_equal_seeds() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str| {
        let file = dir.path().join(name);
        let path = file.to_str().expect("a plain name");
        let size = ["--messages", "3000", "--prefill", "500", "--symbols", "9"];
        let mut arguments = vec!["gen", "--seed", "11", path];
        arguments.extend(size);
        let ran = ring0(&arguments);
        assert_eq!(ran.status, 0, "{ran:?}");
        std::fs::read(&file).expect("just written")
    };
    assert_eq!(write("a"), write("b"));
}

#[test]
fn a_file_that_is_no_stream_is_said_in_one_line() {
    let ran = ring0(&["replay", "--stream", env!("CARGO_MANIFEST_DIR"), "--json"]);
    assert_eq!((ran.status, ran.err.lines().count()), (1, 1), "{ran:?}");
}

#[test]
fn a_stream_with_other_trades_disagrees() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("wrong.lobstrm");
    generate(3, 4_000, 100, 4).write(&file).expect("room");
    let mut bytes = std::fs::read(&file).expect("just written");
    bytes[72] ^= 1; // exp_checksum
    std::fs::write(&file, bytes).expect("room");
    let path = file.to_str().expect("a plain name");
    let ran = ring0(&["replay", "--stream", path, "--json"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert_eq!(ran.json()["expected_match"], false);
}

/// A stream by hand: orders of one lot, a cross that fills more of them than one command may, and more of the same symbol right behind it.
fn past_the_fill_cap() -> Vec<u8> {
    const TICK: u32 = 100_001;
    const MAKERS: u64 = 1_900;
    let mut records = Vec::new();
    let mut push = |order: u64, qty: u32, op: u8, side: u8| {
        let mut record = [0; 32];
        record[..8].copy_from_slice(&order.to_le_bytes());
        record[8..12].copy_from_slice(&TICK.to_le_bytes());
        record[12..16].copy_from_slice(&qty.to_le_bytes());
        (record[18], record[19]) = (op, side);
        records.push(record);
    };
    let mut sum = Checksum::new();
    (1..=MAKERS).for_each(|order| push(order, 1, 0, 1));
    push(MAKERS + 1, MAKERS as u32 - 100, 2, 0);
    (1..=MAKERS - 100).for_each(|maker| sum.trade(maker, MAKERS + 1, TICK, 1));
    push(MAKERS, 1, 1, 1);
    push(MAKERS + 2, 50, 2, 0);
    (MAKERS - 99..MAKERS - 49).for_each(|maker| sum.trade(maker, MAKERS + 2, TICK, 1));
    let trades = sum.trades();

    let mut bytes = b"LOBSTRM1".to_vec();
    let mut put = |number: u64, len: usize| bytes.extend_from_slice(&number.to_le_bytes()[..len]);
    put(1, 4);
    put(32, 4);
    put(records.len() as u64, 8);
    put(0, 8); // prefill
    put(1, 4); // symbols
    put(u64::from(TICK) - 2_048, 4);
    put(MAKERS + 2, 8);
    put(0, 8); // seed
    put(trades.count, 8);
    put(trades.qty, 8);
    put(trades.checksum, 8);
    put(49, 8); // live at the end
    put(MAKERS, 8);
    put(TICK.into(), 4);
    bytes.resize(128, 0);
    records
        .iter()
        .for_each(|record| bytes.extend_from_slice(record));
    bytes
}

#[test]
fn a_cross_past_the_fill_cap_is_continued_before_what_follows() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("cap.lobstrm");
    std::fs::write(&file, past_the_fill_cap()).expect("room");
    let file = file.to_str().expect("a plain name");
    let native = replay(file, "native", &[]);
    assert_eq!(native["trades"], 1_850);
    assert_eq!(
        replay(file, "reference", &[])["state_hash"],
        native["state_hash"]
    );
    let name = "state_hash_without_time";
    assert_eq!(replay(file, "kernel", &[])[name], native[name]);
    assert_eq!(replay(file, "kernel", &["--wire"])[name], native[name]);
}
