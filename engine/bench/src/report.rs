//! The report for people: a table a flow. With `--json` it is the object itself.

use serde_json::Value;

/// Figures that only some flows have.
const FURTHER: [(&str, &str); 3] = [
    ("ns_per_crossed_fill", "ns a fill of an auction"),
    ("ns_per_price", "ns an auction's price"),
    ("ns_per_triggered_stop", "ns a triggered stop"),
];

/// Prints it.
pub(crate) fn print(report: &Value, json: bool) {
    if json {
        println!("{report}");
        return;
    }
    for (name, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::Array(rows) => table(rows),
            Value::String(text) => println!("{name:12} {text}"),
            other => println!("{name:12} {other}"),
        }
    }
}

fn table(rows: &[Value]) {
    let mut flow = &Value::Null;
    for row in rows {
        if row["flow"] != *flow {
            flow = &row["flow"];
            println!(
                "\n{:18} {:>10} {:>9} {:>9} {:>9}  trades",
                flow.as_str().unwrap_or_default(),
                "ns/message",
                "p50",
                "p99",
                "p99.9"
            );
        }
        let engine = row["engine"].as_str().unwrap_or_default();
        if let Some(why) = row["skipped"].as_str() {
            println!("{engine:18} skipped: {why}");
            continue;
        }
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let single = &row["single_message"];
        println!(
            "{engine:18} {:>10.1} {:>9.0} {:>9.0} {:>9.0}  {}",
            number(&row["ns_per_message"]),
            number(&single["ns_p50"]),
            number(&single["ns_p99"]),
            number(&single["ns_p999"]),
            if row["expected_match"] == true {
                "as expected"
            } else {
                "WRONG"
            }
        );
        for (name, what) in FURTHER {
            if let Some(value) = row[name].as_f64() {
                println!("{:18} {value:>10.1} {what}", "");
            }
        }
        let verifier = &row["verifier"];
        if let (Some(instructions), Some(load_ms)) = (
            verifier["instructions"].as_u64(),
            verifier["load_ms"].as_f64(),
        ) {
            println!(
                "{:18} {instructions:>10} instructions verified, loaded in {load_ms:.0} ms",
                ""
            );
        }
    }
    println!();
}
