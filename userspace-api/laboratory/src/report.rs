//! A result for readers: one HTML page that needs nothing else, and README's tables.

use crate::plot::plots;
use crate::svg::{escape, grouped};
use serde_json::Value;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 sans-serif;color:#222;max-width:60em;margin:2em auto;padding:0 1em}h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ddd}table{border-collapse:collapse;margin:1em 0}th,td{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}th:first-child,td:first-child{text-align:left}th{border-bottom:2px solid #888}figure{margin:1.5em 0}figure svg{max-width:100%;height:auto}figcaption,.note{color:#555;font-size:.92em}.bad{background:#fdd;padding:.5em 1em}pre{white-space:pre-wrap}";

fn number(of: &Value) -> f64 {
    of.as_f64().unwrap_or(f64::NAN)
}

/// A value of a table; a dash where there is none.
fn cell(value: f64, digits: usize) -> String {
    match value.is_finite() {
        true => grouped(&format!("{value:.digits$}")),
        false => "–".to_owned(),
    }
}

/// A figure's median, and beneath it the least and most of its rounds.
fn spread(figure: &Value, scale: f64, digits: usize) -> String {
    let median = number(&figure["median"]) / scale;
    let rounds: Vec<f64> = figure["rounds"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| number(it) / scale)
        .collect();
    if rounds.len() < 2 {
        return cell(median, digits);
    }
    let low = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let high = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!(
        "{} <small>({} to {})</small>",
        cell(median, digits),
        cell(low, digits),
        cell(high, digits)
    )
}

/// The page while it is written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn put(&mut self, html: &str) {
        self.0.push_str(html);
        self.0.push('\n');
    }

    fn words(&mut self, tag: &str, text: &str) {
        self.put(&format!("<{tag}>{}</{tag}>", escape(text)));
    }

    fn note(&mut self, text: &str) {
        self.put(&format!("<p class=\"note\">{}</p>", escape(text)));
    }

    /// Cells are HTML already.
    fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let mut html = String::from("<table><tr>");
        for name in head {
            let _ = write!(html, "<th>{}</th>", escape(name)); // into a string
        }
        html.push_str("</tr>");
        for row in rows {
            html.push_str("<tr>");
            for value in row {
                let _ = write!(html, "<td>{value}</td>"); // likewise
            }
            html.push_str("</tr>");
        }
        self.put(&(html + "</table>"));
    }
}

/// The page.
#[must_use]
pub fn html(result: &Value) -> String {
    let scenario = &result["scenario"];
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let title = text(&scenario["title"]);
    let mut page = Page::default();
    page.put("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    page.put("<meta name=\"viewport\" content=\"width=device-width\">");
    page.put(&format!(
        "<title>{}</title><style>{STYLE}</style>",
        escape(&title)
    ));
    page.words("h1", &title);
    page.words("p", text(&scenario["about"]).trim());
    if result["tiny"] == true {
        page.put("<p class=\"bad\">A tiny run: it shows that the scenario works. Its figures mean nothing.</p>");
    }
    trust(&mut page, result);
    conditions(&mut page, result);
    let plots = plots(result);
    let figure = |page: &mut Page, name: &str| {
        if let Some(plot) = plots.iter().find(|plot| plot.name == name) {
            let caption = escape(&plot.caption);
            page.put(&format!(
                "<figure>{}<figcaption>{caption}</figcaption></figure>",
                plot.svg
            ));
        }
    };
    if result["tiers"].get("test_run").is_some() {
        page.words("h2", "Tier (a): the program in the kernel, by test-run");
        figure(&mut page, "stages");
        test_run(&mut page, &result["tiers"]["test_run"]);
        figure(&mut page, "operations");
    }
    if result["tiers"].get("wire").is_some() {
        page.words("h2", "Tier (b): over the wire");
        throughput(&mut page, &result["tiers"]["wire"]);
        figure(&mut page, "throughput");
        figure(&mut page, "drops");
        account(&mut page, &result["tiers"]["wire"]);
    }
    if result["tiers"].get("latency").is_some() {
        page.words("h2", "Tier (c): latency of an open loop");
        figure(&mut page, "latency");
        latency(&mut page, &result["tiers"]["latency"]);
    }
    if result["tiers"].get("generator").is_some() {
        page.words("h2", "Generator");
        generator(&mut page, &result["tiers"]["generator"]);
    }
    if let Some(tables) = readme(result) {
        page.words("h2", "README's tables");
        page.put(&format!("<pre>{}</pre>", escape(&tables)));
    }
    page.words("h2", "What would be the same again");
    for (name, list) in [
        ("Deterministic given the seed:", "deterministic"),
        ("Not:", "not_deterministic"),
    ] {
        page.words("p", name);
        page.put("<ul>");
        for item in result[list].as_array().into_iter().flatten() {
            page.words("li", &text(item));
        }
        page.put("</ul>");
    }
    page.note("All figures with all rounds and histograms: result.json, beside this page. Method: docs/research.md.");
    page.put("</html>");
    page.0
}

/// What a reader must know before the first figure.
fn trust(page: &mut Page, result: &Value) {
    let mut bad = Vec::new();
    let wire = &result["tiers"]["wire"];
    for (ring, of) in wire["rings"].as_object().into_iter().flatten() {
        if of["ring"]["account"]["closes"] == false {
            bad.push(format!("{ring}: sent is not received and drops together"));
        }
    }
    if wire["states_agree"] == false {
        bad.push("rings that took the same packets are in different states".to_owned());
    }
    let machine = &result["machine"];
    let load = |of: &Value| -> f64 {
        let text = of.as_str().unwrap_or_default();
        let first = text.split(' ').next().unwrap_or_default();
        first.parse().unwrap_or(0.0)
    };
    let begin = load(&machine["load"]);
    if begin > 0.5 {
        bad.push(format!(
            "the machine was not idle at the start: load {begin}"
        ));
    }
    let seconds = number(&result["seconds"]);
    let steal = number(&machine["steal_seconds_of_the_run"]);
    if steal > 0.01 * seconds {
        bad.push(format!(
            "the host took {steal:.1} s of the machine's {seconds:.0} s away"
        ));
    }
    for words in bad {
        page.put(&format!("<p class=\"bad\">{}</p>", escape(&words)));
    }
}

fn conditions(page: &mut Page, result: &Value) {
    page.words("h2", "Conditions");
    let (machine, scenario, flow) = (&result["machine"], &result["scenario"], &result["flow"]);
    let text = |of: &Value| match of {
        Value::String(text) => escape(text),
        Value::Null => "–".to_owned(),
        other => escape(&other.to_string()),
    };
    let mut rows = vec![
        vec![
            "processor".to_owned(),
            format!(
                "{} × {}{}",
                text(&machine["processors"]),
                text(&machine["processor"]),
                if machine["virtual"] == true {
                    ", virtual"
                } else {
                    ""
                }
            ),
        ],
        vec!["kernel".to_owned(), text(&machine["kernel"])],
        vec!["clock".to_owned(), text(&machine["clock"])],
        vec![
            "load, begin and end".to_owned(),
            format!(
                "{} · {}",
                text(&machine["load"]),
                text(&machine["load_at_the_end"])
            ),
        ],
        vec![
            "steal in the run".to_owned(),
            format!(
                "{} s of {} s",
                cell(number(&machine["steal_seconds_of_the_run"]), 2),
                cell(number(&result["seconds"]), 0)
            ),
        ],
        vec!["command".to_owned(), text(&machine["command"])],
        vec![
            "seed, rounds".to_owned(),
            format!("{}, {}", text(&scenario["seed"]), text(&scenario["rounds"])),
        ],
    ];
    if !flow.is_null() {
        rows.push(vec![
            "flow".to_owned(),
            format!(
                "{} messages in {} packets, {} senders, {} instruments, checksum {}",
                text(&flow["messages"]),
                text(&flow["packets"]),
                flow["senders"].as_array().map_or(0, Vec::len),
                text(&flow["instruments"]),
                text(&flow["checksum"])
            ),
        ]);
    }
    for (name, what) in machine["mitigations"].as_object().into_iter().flatten() {
        rows.push(vec![format!("mitigation: {}", escape(name)), text(what)]);
    }
    page.put("<style>.c td{text-align:left}</style><div class=\"c\">");
    page.table(&["", ""], &rows);
    page.put("</div>");
}

fn test_run(page: &mut Page, tier: &Value) {
    let rows: Vec<Vec<String>> = tier["stages"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, it)| {
            let what = it["what"].as_str().unwrap_or_default();
            vec![
                format!("{}: {}", escape(name), escape(what)),
                spread(it, 1.0, 0),
            ]
        })
        .collect();
    page.table(
        &[
            "a run that ends at",
            "ns a packet, median of rounds (least to most)",
        ],
        &rows,
    );
    page.put(&format!(
        "<p>Whole, by message: {} ns.</p>",
        spread(&tier["ns_per_message"], 1.0, 0)
    ));
    page.note(tier["note"].as_str().unwrap_or_default());
}

/// Rows of a tier: name and what is there, or why there is nothing.
fn rows_of(tier: &Value, columns: usize, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (name, ring) in tier["rings"].as_object().into_iter().flatten() {
        if let Some(why) = ring["not_measured"].as_str() {
            let mut cells = vec![escape(name), escape(why)];
            cells.resize(columns, String::new());
            rows.push(cells);
            continue;
        }
        for (way, title) in [
            ("ring", format!("<b>{}</b>", escape(name))),
            ("echo", "its echo".to_owned()),
        ] {
            if ring.get(way).is_some() {
                let mut cells = vec![title];
                cells.extend(row(&ring[way]));
                rows.push(cells);
            }
        }
    }
    rows
}

fn throughput(page: &mut Page, tier: &Value) {
    let rows = rows_of(tier, 4, |it| {
        vec![
            spread(&it["messages_per_second"], 1.0, 0),
            spread(&it["packets_per_second"], 1.0, 0),
            spread(&it["cpu_us_per_packet"], 1.0, 2),
        ]
    });
    page.table(
        &[
            "as fast as it goes",
            "messages/s",
            "packets/s",
            "CPU µs a packet",
        ],
        &rows,
    );
    page.note(tier["note"].as_str().unwrap_or_default());
}

fn account(page: &mut Page, tier: &Value) {
    let sum = |of: &Value| -> f64 {
        of.as_object()
            .into_iter()
            .flatten()
            .map(|it| number(it.1))
            .sum()
    };
    let mut rows = Vec::new();
    for (name, ring) in tier["rings"].as_object().into_iter().flatten() {
        let account = &ring["ring"]["account"];
        if account.is_null() {
            continue;
        }
        let closes = if account["closes"] == true {
            "yes"
        } else {
            "<b>no</b>"
        };
        rows.push(vec![
            escape(name),
            cell(number(&account["sent"]), 0),
            cell(sum(&account["received"]), 0),
            cell(sum(&account["drops"]), 0),
            closes.to_owned(),
            cell(number(&ring["ring"]["packets"]["answered"]), 0),
        ]);
    }
    page.table(
        &[
            "packets of all phases",
            "sent",
            "received",
            "dropped by name",
            "closes",
            "answered, each once",
        ],
        &rows,
    );
}

fn latency(page: &mut Page, tier: &Value) {
    let rows = rows_of(tier, 8, |it| {
        let mut cells: Vec<String> = ["ns_p50", "ns_p90", "ns_p99", "ns_p999", "ns_p9999"]
            .iter()
            .map(|name| spread(&it[*name], 1e3, 1))
            .collect();
        cells.push(cell(number(&it["ns_max"]) / 1e3, 0));
        cells.push(cell(number(&it["samples"]), 0));
        cells
    });
    page.table(
        &[
            "µs", "p50", "p90", "p99", "p99.9", "p99.99", "max", "samples",
        ],
        &rows,
    );
    page.note(tier["note"].as_str().unwrap_or_default());
}

fn generator(page: &mut Page, tier: &Value) {
    let rows = vec![
        vec![
            "messages/s".to_owned(),
            spread(&tier["messages_per_second"], 1.0, 0),
        ],
        vec![
            "packets/s".to_owned(),
            spread(&tier["packets_per_second"], 1.0, 0),
        ],
        vec![
            "messages a packet".to_owned(),
            cell(number(&tier["messages_per_packet"]), 1),
        ],
        vec!["sent".to_owned(), cell(number(&tier["account"]["sent"]), 0)],
        vec![
            "dropped by the peer's program".to_owned(),
            cell(number(&tier["account"]["dropped_by_the_peer"]), 0),
        ],
        vec![
            "dropped on the way".to_owned(),
            cell(number(&tier["account"]["dropped_on_the_way"]), 0),
        ],
    ];
    page.table(&["one processor, into a peer that drops all", ""], &rows);
    page.note(tier["note"].as_str().unwrap_or_default());
}

/// The performance tables of README, as it has them; `None` where the benches that they are of were not run.
#[must_use]
pub fn readme(result: &Value) -> Option<String> {
    let benches = &result["benches"];
    let mut text = String::new();
    if let Some(wire) = benches.get("wire") {
        text.push_str(&wire_table(wire));
    }
    if let Some(engine) = benches.get("engine") {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&engine_table(engine));
    }
    (!text.is_empty()).then_some(text)
}

fn wire_table(wire: &Value) -> String {
    let (full, single) = (&wire["full_packets"], &wire["one_message_packets"]);
    let trips = &wire["round_trip"];
    let rate = |of: &Value, side: &str| cell(number(&of[side]["messages_per_second"]), 0);
    let busy =
        |of: &Value, side: &str| cell(number(&of[side]["cpu_seconds_per_million_messages"]), 2);
    let trip = |side: &str| {
        let us = |name: &str| {
            let us = number(&trips[side][name]) / 1e3;
            cell(us, usize::from(us < 10.0))
        };
        let (middle, tail) = (
            number(&trips[side]["latency_ns_p50"]) / 1e3,
            us("latency_ns_p99"),
        );
        format!("{} / {tail} µs", cell(middle, 1))
    };
    let per_packet = cell(number(&full["messages_per_packet"]), 0);
    [
        "| | kernel ring | UDP server, same engine | bare UDP echo |".to_owned(),
        "|---|---|---|---|".to_owned(),
        format!(
            "| full packets ({per_packet} messages), messages/s | {} | {} | |",
            rate(full, "kernel"),
            rate(full, "udp_server")
        ),
        format!(
            "| CPU seconds for a million of them | {} | {} | |",
            busy(full, "kernel"),
            busy(full, "udp_server")
        ),
        format!(
            "| one message a packet, messages/s | {} | {} | |",
            rate(single, "kernel"),
            rate(single, "udp_server")
        ),
        format!(
            "| CPU seconds for a million of them | {} | {} | |",
            busy(single, "kernel"),
            busy(single, "udp_server")
        ),
        format!(
            "| one order, round trip p50 / p99 | {} | {} | {} |",
            trip("kernel"),
            trip("udp_server"),
            trip("bare_udp_echo")
        ),
    ]
    .join("\n")
        + "\n"
}

fn engine_table(engine: &Value) -> String {
    const FLOWS: [&str; 3] = ["one_instrument", "64_instruments", "flash_crash"];
    let rows = engine["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let mut engines: Vec<&str> = Vec::new();
    for row in rows
        .iter()
        .filter(|row| FLOWS.iter().any(|flow| row["flow"] == *flow))
    {
        let name = row["engine"].as_str().unwrap_or_default();
        if !engines.contains(&name) {
            engines.push(name);
        }
    }
    let mut text = String::from(
        "| ns a message | one instrument | 64 instruments | flash crash |\n|---|---|---|---|\n",
    );
    for name in engines {
        let shown = match name {
            "kernel, tag off" => "in the kernel, without tags",
            "kernel, tag on" => "in the kernel, with tags",
            other => other,
        };
        let _ = write!(text, "| {shown} |"); // into a string
        for flow in FLOWS {
            let mut of = rows
                .iter()
                .filter(|it| it["flow"] == flow && it["engine"] == name);
            let ns = of
                .next()
                .map_or(f64::NAN, |row| number(&row["ns_per_message"]));
            let _ = write!(text, " {} |", cell(ns, 0)); // likewise
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn readme_has_the_benches_that_were_run() {
        assert_eq!(readme(&json!({"benches": {}})), None);
        let side = |rate: f64| json!({"messages_per_second": rate, "cpu_seconds_per_million_messages": 0.4});
        let trip = json!({"latency_ns_p50": 5_480, "latency_ns_p99": 42_000});
        let packets = json!({"messages_per_packet": 37.3, "kernel": side(2_549_011.0), "udp_server": side(3.0)});
        let result = json!({"benches": {
            "wire": {
                "full_packets": packets, "one_message_packets": packets,
                "round_trip": {"kernel": trip, "udp_server": trip, "bare_udp_echo": trip},
            },
            "engine": {"rows": [{"flow": "flash_crash", "engine": "kernel, tag on", "ns_per_message": 67_481.6}]},
        }});
        let text = readme(&result).unwrap();
        assert!(
            text.contains("| full packets (37 messages), messages/s | 2,549,011 | 3 | |"),
            "{text}"
        );
        assert!(text.contains("p50 / p99 | 5.5 / 42 µs |"), "{text}");
        assert!(
            text.contains("| in the kernel, with tags | – | – | 67,482 |"),
            "{text}"
        );
    }

    #[test]
    fn a_page_is_whole_and_escapes_what_it_is_given() {
        let result = json!({
            "scenario": {"title": "a < b", "about": "x & y"},
            "tiny": true,
            "tiers": {},
            "benches": {},
        });
        let page = html(&result);
        assert!(
            page.contains("<h1>a &lt; b</h1>") && page.contains("x &amp; y"),
            "{page}"
        );
        assert!(page.contains("figures mean nothing") && page.ends_with("</html>\n"));
        assert!(
            !page.contains("http") || !page.contains("src="),
            "self-contained"
        );
    }
}
