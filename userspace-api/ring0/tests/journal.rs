//! `ring0 journal` as its user sees it: what it prints and its exit statuses, over a recording of a seeded flow.

use ring0_engine::flow::{Flow, Input, Options};
use ring0_engine::layout::Layout;
use ring0_engine::native::Native;
use ring0_mq::{Identity, RecordFile};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

fn ring0(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ring0"))
        .arg("journal")
        .args(args)
        .output()
        .expect("the program runs")
}

/// Its one JSON object, of a run that ended well.
fn object(args: &[&str]) -> Value {
    let output = ring0(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn fails(args: &[&str], status: i32, expected: &str) {
    let output = ring0(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {error}");
    assert!(error.contains(expected), "{args:?}: {error}");
}

/// Writes a recording and its capacity; gives the shard that it is of.
fn recording(folder: &Path) -> Native {
    let capacity = Flow::capacity();
    let identity = Identity {
        layout_hash: Layout::new(&capacity).unwrap().hash(),
        boot_id: [5; 16],
        arena_id: 9,
    };
    let mut flow = Flow::new(0x70C, Options::default());
    let mut native = Native::new(&capacity).unwrap();
    native.control(&flow.setup(), flow.boot_ns());
    let mut file = RecordFile::open(&folder.join("day.r0"), identity, 0).unwrap();
    for _ in 0..20 {
        for _ in 0..100 {
            let input = flow.next_input();
            let boot_ns = flow.boot_ns();
            match input {
                Input::Packet(payload) => {
                    let answer = native.packet(&payload, boot_ns, None).ok();
                    flow.observe(answer.as_ref().map(|(_, answer)| answer.as_slice()));
                }
                Input::Control(commands) => {
                    native.control(&commands, boot_ns);
                }
                Input::Steps => native.steps(),
            }
        }
        file.append(&native.take_records()).unwrap();
    }
    let maxima = format!(
        "accounts = {}\nassets = {}\ninstruments = {}\nsessions = {}\norders = {}\nlevels = {}\nladder = {}\nanswers = {}\nreferences = {}\nbuckets = {}\n",
        capacity.accounts,
        capacity.assets,
        capacity.instruments,
        capacity.sessions,
        capacity.orders,
        capacity.levels,
        capacity.ladder,
        capacity.answers,
        capacity.references,
        capacity.buckets
    );
    fs::write(folder.join("capacity.toml"), maxima).unwrap();
    native
}

#[test]
fn from_a_record_file_to_a_verified_shard() {
    let folder = tempfile::tempdir().unwrap();
    let native = recording(folder.path());
    let hash = native.shard().state_hash().to_string();
    let name = |name: &str| folder.path().join(name).display().to_string();
    let (day, config, file) = (name("day"), name("capacity.toml"), name("day.r0"));

    let imported = object(&["import", "--json", &file, &day]);
    let records = imported["records"].as_u64().unwrap();
    assert!(records > 5_000);
    assert_eq!(object(&["import", "--json", &file, &day])["records"], 0);

    let verified = object(&["verify", "--json", &day]);
    assert_eq!(verified["records"], records);
    assert_eq!(verified["first_sequence"], 1);
    assert_eq!(verified["last_sequence"], records);
    assert_eq!(verified["durable_sequence"], records);

    let stats = object(&["stats", "--json", &day]);
    assert_eq!(stats["records"], records);
    let by_kind = stats["records_by_kind"].as_object().unwrap();
    let sum: u64 = by_kind.values().filter_map(Value::as_u64).sum();
    assert_eq!(sum, records);

    let dumped = ring0(&["dump", "--json", "--from", "17", "--count", "40", &day]);
    let lines = String::from_utf8(dumped.stdout).unwrap();
    let sequences: Vec<u64> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["sequence"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(sequences, (17..57).collect::<Vec<_>>());

    let replayed = object(&["replay", "--json", "--config", &config, "--reference", &day]);
    assert_eq!(replayed["records"], records);
    assert_eq!(replayed["state_hash"], hash.as_str());
    assert_eq!(replayed["reference_state_hash"], hash.as_str());

    let made = object(&["snapshot", "--json", "--config", &config, "--remove", &day]);
    assert_eq!(made["made"].as_array().unwrap().len(), 1);
    assert_eq!(made["removed_segments"], 0, "the last segment stays");
    let replayed = object(&["replay", "--json", "--config", &config, &day]);
    assert_eq!(replayed["records"], 0);
    assert_eq!(replayed["state_hash"], hash.as_str());

    // A byte in the middle: 3, and where.
    let segment = name("day/00000000000000000000.segment");
    let bytes = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    bytes.write_all_at(b"\xA5", 70_000).unwrap();
    for verb in ["verify", "stats"] {
        fails(&[verb, &day], 3, "damaged at byte");
        fails(&[verb, &day], 3, &segment);
    }
    fails(&["import", &file, &day], 3, "damaged at byte");
    fails(
        &["replay", "--config", &config, "--from-first", &day],
        3,
        "damaged at byte",
    );
    fails(&["verify", &name("nothing")], 1, "has no journal");
    fails(&["replay", &day], 2, "--market");
}
