//! LOBSTRM1 streams of any seed through every ring: trades as the header says, one state.

use ring0_stream::lobstrm::generate;
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
