//! `ring0 demo` agrees, says so, and leaves nothing behind, also when it is stopped.

use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a demo of this process id would have left.
fn left_by(pid: u32) -> Vec<String> {
    let prefix = format!("ring0-{pid}-");
    let temporary = format!("ring0-demo-{pid}");
    let mut left = Vec::new();
    for folder in [
        "/run/netns".into(),
        std::env::temp_dir(),
        xdp_loader::PIN_PARENT.into(),
    ] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(&prefix) || name.contains(&temporary) {
                left.push(format!("{}/{name}", folder.display()));
            }
        }
    }
    left
}

fn demo(seconds: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(test.ancestors().nth(2).unwrap().join("ring0"));
    command
        .args(["demo", "--json", "--seconds", seconds])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn the_demo_agrees_and_cleans_up() {
    assert_eq!(ring0_tests::ring0(&["--version"]).status, 0); // builds it
    let child = demo("2").spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{report}");
    for (name, wanted) in [
        ("agrees", Value::from(true)),
        ("adopted", true.into()),
        ("native_events_equal", true.into()),
        ("reference_events_equal", true.into()),
        ("lost", 0.into()),
        ("duplicates_executed", 0.into()),
        ("records_missing", 0.into()),
        ("slots_not_recorded", 0.into()),
    ] {
        assert_eq!(report[name], wanted, "{name}: {report}");
    }
    for name in [
        "messages",
        "fills",
        "answered_with_neither_alive",
        "packets_sent_twice",
    ] {
        assert!(report[name].as_u64().unwrap() > 0, "{name}: {report}");
    }
    assert_eq!(report["messages"], report["answered"]);
    assert_eq!(report["ring_state_hash"], report["native_state_hash"]);
    assert_eq!(report["ring_state_hash"], report["reference_state_hash"]);
    assert_eq!(left_by(pid), Vec::<String>::new());
}

#[test]
fn stopped_in_the_middle_it_cleans_up() {
    assert_eq!(ring0_tests::ring0(&["--version"]).status, 0);
    for wait_ms in [100, 600, 1500] {
        let child = demo("60").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let number = child.id();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "after {wait_ms} ms: {text}");
        assert!(
            text.contains("everything was removed"),
            "after {wait_ms} ms: {text}"
        );
        assert_eq!(left_by(number), Vec::<String>::new(), "after {wait_ms} ms");
    }
}

#[test]
fn without_the_kernel_ring_the_same_market_agrees_too() {
    let ran = ring0_tests::ring0(&["demo", "--ring", "udp", "--seconds", "1", "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let report = ran.json();
    assert_eq!(
        (&report["agrees"], &report["lost"]),
        (&true.into(), &0.into()),
        "{report}"
    );
    assert_eq!(report["ring_state_hash"], report["reference_state_hash"]);
}
