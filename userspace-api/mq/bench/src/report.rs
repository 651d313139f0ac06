//! The report for people: a table. With `--json` it is the object itself.

use serde_json::Value;

/// Prints it.
pub(crate) fn print(report: &Value, json: bool) {
    if json {
        println!("{report}");
        return;
    }
    for (name, value) in report["machine"].as_object().into_iter().flatten() {
        println!("{name:12} {value}");
    }
    println!(
        "\n{:8} {:>6} {:>6}  {:16} {:10} {:>12} {:>7} {:>7} {:>8}",
        "shape", "bytes", "batch", "queue", "between", "records/s", "p50 ns", "p99", "p99.9"
    );
    for row in report["rows"].as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let time = |name: &str| match row["single_record"][name].as_u64() {
            Some(ns) => ns.to_string(),
            None => String::new(),
        };
        println!(
            "{:8} {:>6} {:>6}  {:16} {:10} {:>12} {:>7} {:>7} {:>8}",
            text("shape"),
            row["bytes"],
            row["batch"],
            text("queue"),
            text("between"),
            row["records_per_s"].as_f64().unwrap_or_default(),
            time("ns_p50"),
            time("ns_p99"),
            time("ns_p999"),
        );
    }
    for absent in report["absent"].as_array().into_iter().flatten() {
        let text = |name: &str| absent[name].as_str().unwrap_or_default();
        println!("\nabsent: {}: {}", text("queue"), text("help"));
    }
    println!("\nwith the record file on");
    for (name, value) in report["recording"].as_object().into_iter().flatten() {
        println!("{name:24} {value}");
    }
}
