//! `ring0 lab run`, tiny: the result keeps to its schema, every packet is accounted for, faults change nothing but what they are said to, the report is
//! whole. No figure is judged.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Faults and every kind of trader, a replayed stream among them; all three tiers and the generator.
const SCENARIO: &str = r#"
    name = "everything"
    title = "Everything, tiny"
    seed = 5
    rings = ["kernel", "udp", "afxdp"]
    [flow]
    symbols = 4
    prefill = 500
    [[trader]]
    kind = "maker"
    share = 4
    count = 2
    [[trader]]
    kind = "taker"
    [[trader]]
    kind = "spoofer"
    [[trader]]
    kind = "replay"
    format = "lobstrm1"
    file = "flow.lobstrm"
    repeat = true
    [test_run]
    packets = 6_400
    [throughput]
    packets = 10_000
    offered = [20_000]
    [latency]
    per_second = 5_000
    samples = 50_000
    [generator]
    packets = 200_000
"#;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a scenario tiny; its result, or `None` where this machine cannot.
fn run(scenario: &Path, out: &Path) -> Option<Value> {
    if let Some(why) = ring0_lab::missing_privilege() {
        println!("skipped: {why}");
        return None;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ring0"))
        .args(["lab", "run", "--tiny", "--json", "--out"])
        .args([out, scenario])
        .output()
        .expect("the command was just built");
    let error = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(1) if error.contains("has only one") => {
            println!("skipped: {error}");
            return None;
        }
        // The kernel lacks a feature.
        Some(6) => {
            println!("skipped: {error}");
            return None;
        }
        status => panic!("{status:?}: {error}"),
    }
    let result: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    check(&result);
    // What was written is what was printed, and the page and a plot are there.
    let written = std::fs::read(out.join("result.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), result);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.ends_with("</html>\n"));
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(
            !page.contains(outside),
            "the page needs nothing else: {outside}"
        );
    }
    Some(result)
}

/// The result keeps to the schema.
fn check(result: &Value) {
    let schema = std::fs::read(repository().join("docs/lab-result.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let errors: Vec<String> = validator
        .iter_errors(result)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    // The schema can tell: without a tier's note it is none.
    let mut broken = result.clone();
    broken["format"] = "ring0-lab/2".into();
    assert!(!validator.is_valid(&broken));
}

fn scenario(place: &Path, text: &str) -> PathBuf {
    let stream = ring0_stream::lobstrm::generate(3, 2_000, 500, 2);
    stream.write(place.join("flow.lobstrm")).unwrap();
    let file = place.join("everything.toml");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_scenario_with_everything_keeps_to_the_schema_and_agrees() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let Some(result) = run(&scenario(place.path(), SCENARIO), &out) else {
        return;
    };
    assert_eq!(result["tiers"]["wire"]["states_agree"], true);
    let rings = result["tiers"]["wire"]["rings"].as_object().unwrap();
    assert_eq!(rings.len(), 3);
    let results = &rings["udp"]["ring"]["results"];
    for (name, ring) in rings {
        assert_eq!(ring["ring"]["account"]["closes"], true, "{name}");
        assert_eq!(&ring["ring"]["results"], results, "{name}");
    }
    let latency = &result["tiers"]["latency"]["rings"]["kernel"]["ring"];
    assert_eq!(latency["samples"], 500);
    for file in ["latency", "throughput", "drops", "stages", "operations"] {
        let png = std::fs::read(out.join(format!("{file}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{file}");
        let svg = std::fs::read_to_string(out.join(format!("{file}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && !svg.contains("NaN"), "{file}");
    }
    // Equal seeds send equal bytes.
    let again = run(&scenario(place.path(), SCENARIO), &out).unwrap();
    assert_eq!(again["flow"], result["flow"]);

    let output = Command::new(env!("CARGO_BIN_EXE_ring0"))
        .args(["lab", "compare", "--all", "--json"])
        .args([&out, &out])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let compared: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(compared["conditions"], Value::Array(Vec::new()));
    let differences = compared["differences"].as_array().unwrap();
    assert!(differences.len() > 20);
    // One round is too few to say anything.
    assert!(
        differences
            .iter()
            .all(|it| it["verdict"] == "too-few-rounds")
    );
}

/// With loss, duplicates and reordering every packet is still executed once, and the account still closes.
#[test]
fn faults_are_injected_and_accounted_for() {
    let place = tempfile::tempdir().unwrap();
    // Without the generator the flow has the packets that the rings get, and no more.
    let wire = SCENARIO.split("[generator]").next().expect("a first part");
    let faults = "loss = 0.05\nduplication = 0.05\nreordering = 0.05";
    let text = format!("{wire}\n[faults]\n{faults}\n");
    let Some(result) = run(&scenario(place.path(), &text), &place.path().join("out")) else {
        return;
    };
    assert_eq!(result["tiers"]["wire"]["states_agree"], Value::Null);
    let packets = result["flow"]["packets"].as_u64().unwrap();
    for (name, ring) in result["tiers"]["wire"]["rings"].as_object().unwrap() {
        let ring = &ring["ring"];
        assert_eq!(ring["account"]["closes"], true, "{name}: {ring}");
        assert_eq!(ring["packets"]["answered"], packets, "{name}");
        assert_eq!(ring["account"]["received"]["taken"], packets, "{name}");
        for fault in [
            "requests_lost",
            "requests_duplicated",
            "requests_reordered",
            "answers_lost",
        ] {
            assert!(
                ring["injected"][fault].as_u64() > Some(0),
                "{name}: {fault}"
            );
        }
    }
}

/// Every scenario that the project comes with is one, and its files are there.
#[test]
fn the_scenarios_are_scenarios() {
    let mut found = 0;
    for entry in std::fs::read_dir(repository().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "toml") {
            let scenario = ring0_laboratory::Scenario::read(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy();
            assert_eq!(scenario.name, name, "a scenario has its file's name");
            found += 1;
        }
    }
    assert!(found >= 5, "{found} scenarios");
}
