//! The plots of a result. Each says its unit at its axes, which line is which, and how many rounds and samples it is of.

use crate::svg::{Anchor, Axis, GREY, GRID, INK, Svg, short};
use serde_json::Value;

/// A plot: the name of its files, what a reader should take from it, the drawing.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Without an extension.
    pub name: &'static str,
    /// Under the plot.
    pub caption: String,
    /// SVG.
    pub svg: String,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
/// Left, top, right, bottom: the right one has the names of lines.
const MARGINS: (f64, f64, f64, f64) = (84.0, 52.0, 178.0, 62.0);

/// Paul Tol's bright colours: told apart by most who see colours differently.
const COLOURS: [(&str, &str); 7] = [
    ("kernel", "#EE6677"),
    ("kernel-shared", "#EE8866"),
    ("kernel-napi", "#CCBB44"),
    ("udp", "#4477AA"),
    ("afxdp", "#228833"),
    ("afxdp-busy", "#66CCEE"),
    ("dpdk", "#AA3377"),
];
/// Of stages, in their order.
const STAGE_COLOURS: [&str; 5] = ["#BBBBBB", "#66CCEE", "#4477AA", "#CCBB44", "#EE6677"];

fn colour(ring: &str) -> &'static str {
    COLOURS
        .iter()
        .find(|(name, _)| *name == ring)
        .map_or(GREY, |(_, colour)| colour)
}

fn number(of: &Value) -> f64 {
    of.as_f64().unwrap_or(f64::NAN)
}

/// Every plot that a result has figures for.
#[must_use]
pub fn plots(result: &Value) -> Vec<Plot> {
    [
        latency_cdf(result),
        throughput(result),
        drops(result),
        stages(result),
        operations(result),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A frame with both axes named.
fn frame(title: &str, x: (&Axis, &str), y: (&Axis, &str), y_names: Option<&[(f64, &str)]>) -> Svg {
    let (left, top, right, bottom) = MARGINS;
    let (end, floor) = (WIDTH - right, HEIGHT - bottom);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    svg.text((left, 30.0), 17.0, Anchor::Start, INK, title);
    for (value, is_named) in x.0.marks() {
        let at = x.0.place(value);
        svg.line(
            (at, top),
            (at, floor),
            GRID,
            if is_named { 1.0 } else { 0.4 },
        );
        if is_named {
            let name = x.0.name(value);
            svg.text((at, floor + 18.0), 12.0, Anchor::Middle, INK, &name);
        }
    }
    let marks: Vec<(f64, String)> = match y_names {
        Some(names) => names
            .iter()
            .map(|(at, name)| (*at, (*name).to_owned()))
            .collect(),
        None => {
            let marks = y.0.marks().into_iter().filter(|it| it.1);
            marks.map(|(value, _)| (value, y.0.name(value))).collect()
        }
    };
    for (value, name) in marks {
        let at = y.0.place(value);
        svg.line((left, at), (end, at), GRID, 1.0);
        svg.text((left - 8.0, at + 4.0), 12.0, Anchor::End, INK, &name);
    }
    svg.line((left, floor), (end, floor), INK, 1.0);
    svg.line((left, top), (left, floor), INK, 1.0);
    let middle = (left + end) / 2.0;
    svg.text((middle, HEIGHT - 16.0), 13.0, Anchor::Middle, INK, x.1);
    svg.upright((20.0, (top + floor) / 2.0), 13.0, y.1);
    svg
}

/// Names of lines, from top to bottom.
struct Legend(f64);

impl Legend {
    fn add(&mut self, svg: &mut Svg, name: &str, colour: &str, is_dashed: bool) {
        let x = WIDTH - MARGINS.2 + 14.0;
        svg.curve(&[(x, self.0), (x + 28.0, self.0)], colour, is_dashed);
        svg.text((x + 36.0, self.0 + 4.0), 13.0, Anchor::Start, INK, name);
        self.0 += 22.0;
    }
}

/// Rings of a tier that were measured.
fn rings(tier: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let rings = tier["rings"].as_object().into_iter().flatten();
    rings
        .filter(|(_, it)| it.get("ring").is_some())
        .map(|(name, it)| (name.as_str(), it))
}

fn latency_cdf(result: &Value) -> Option<Plot> {
    let tier = &result["tiers"]["latency"];
    let mut lines = Vec::new();
    for (name, ring) in rings(tier) {
        for (way, is_echo) in [("ring", false), ("echo", true)] {
            let points: Vec<(f64, f64)> = ring[way]["histogram"]
                .as_array()?
                .iter()
                .map(|it| (number(&it[0]), number(&it[1])))
                .collect();
            lines.push((name, is_echo, points, number(&ring[way]["samples"])));
        }
    }
    let fewest = lines.iter().map(|it| it.3).fold(f64::INFINITY, f64::min);
    if !fewest.is_finite() || fewest < 1.0 {
        return None;
    }
    let every = || lines.iter().flat_map(|it| it.2.iter().map(|it| it.0 / 1e3));
    let low = every().fold(f64::INFINITY, f64::min).max(0.1);
    let high = every().fold(0.0, f64::max).max(low * 2.0);
    let (left, top, right, bottom) = MARGINS;
    let x = Axis::new((low * 0.9, high * 1.1), true, (left, WIDTH - right));
    // Nines: the tail is what such a figure is read for. The last shown has a hundred samples behind it.
    let nines_max = (fewest / 100.0).log10().clamp(2.0, 6.0);
    let y = Axis::new((0.0, nines_max), false, (HEIGHT - bottom, top));
    let names = [
        (0.0, "0%"),
        (0.301, "50%"),
        (1.0, "90%"),
        (2.0, "99%"),
        (3.0, "99.9%"),
        (4.0, "99.99%"),
        (5.0, "99.999%"),
    ];
    let shown: Vec<_> = names.into_iter().filter(|it| it.0 <= nines_max).collect();
    let title = format!(
        "Latency at {} packets/s offered (open loop, {})",
        short(number(&tier["packets_per_second"])),
        tier["arrivals"].as_str().unwrap_or_default()
    );
    let mut svg = frame(
        &title,
        (&x, "latency from the intended send time, µs (log)"),
        (&y, "share of packets answered within (nines)"),
        Some(&shown),
    );
    let mut legend = Legend(MARGINS.1 + 12.0);
    for (name, is_echo, points, total) in &lines {
        let nines = |share: f64| (-(1.0 - share).max(1e-12).log10()).min(nines_max);
        let mut below = 0.0;
        let mut places: Vec<(f64, f64)> = Vec::new();
        for (ns, count) in points {
            // A step: along to the value, then up.
            for share in [below / total, (below + count) / total] {
                let place = (x.place(ns / 1e3), y.place(nines(share)));
                let is_new = places
                    .last()
                    .is_none_or(|last| (place.0 - last.0).abs() + (place.1 - last.1).abs() > 0.3);
                if is_new {
                    places.push(place);
                }
            }
            below += count;
            if nines(below / total) >= nines_max {
                break;
            }
        }
        svg.curve(&places, colour(name), *is_echo);
        legend.add(&mut svg, &label(name, *is_echo), colour(name), *is_echo);
    }
    Some(Plot {
        name: "latency",
        caption: format!(
            "How many of all packets were answered within a time. Further left is faster; each nine up looks ten times further into the tail. Dashed: the same packets turned round by the ring's own transport, without an engine: its floor. {} samples or more a line, all rounds together; the top of the axis has a hundred samples behind it.",
            short(fewest)
        ),
        svg: svg.finish(),
    })
}

fn label(ring: &str, is_echo: bool) -> String {
    format!("{ring}{}", if is_echo { ": echo" } else { "" })
}

fn throughput(result: &Value) -> Option<Plot> {
    let tier = &result["tiers"]["wire"];
    let mut lines = Vec::new();
    for (name, ring) in rings(tier) {
        for (way, is_echo) in [("ring", false), ("echo", true)] {
            let offered = ring[way]["offered"].as_object()?;
            let mut points: Vec<(f64, Vec<f64>)> = offered
                .iter()
                .filter_map(|(rate, it)| {
                    let rounds = it["packets_per_second"]["rounds"].as_array()?;
                    Some((rate.parse().ok()?, rounds.iter().map(number).collect()))
                })
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            lines.push((name, is_echo, points));
        }
    }
    let every = || lines.iter().flat_map(|it| &it.2);
    let high = every().map(|it| it.0).fold(0.0, f64::max);
    if high == 0.0 {
        return None;
    }
    let rounds = every().map(|it| it.1.len()).max().unwrap_or(0);
    let (left, top, right, bottom) = MARGINS;
    let x = Axis::new((0.0, high * 1.05), false, (left, WIDTH - right));
    let y = Axis::new((0.0, high * 1.05), false, (HEIGHT - bottom, top));
    let mut svg = frame(
        "Answered against offered",
        (&x, "packets offered a second (open loop)"),
        (&y, "packets answered a second"),
        None,
    );
    svg.line(
        (x.place(0.0), y.place(0.0)),
        (x.place(high), y.place(high)),
        GREY,
        1.0,
    );
    let mut legend = Legend(MARGINS.1 + 12.0);
    for (name, is_echo, points) in &lines {
        let mut places = Vec::new();
        for (rate, rounds) in points {
            let mut sorted = rounds.clone();
            sorted.sort_by(f64::total_cmp);
            let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
            let at = x.place(*rate);
            if !is_echo {
                svg.line((at, y.place(low)), (at, y.place(high)), colour(name), 1.2);
            }
            places.push((at, y.place(sorted[sorted.len() / 2])));
        }
        svg.curve(&places, colour(name), *is_echo);
        for place in places {
            svg.dot(place, colour(name), *is_echo);
        }
        legend.add(&mut svg, &label(name, *is_echo), colour(name), *is_echo);
    }
    legend.add(&mut svg, "all answered", GREY, false);
    Some(Plot {
        name: "throughput",
        caption: format!(
            "What is answered of what is offered: on the grey line all of it; where a line bends off, the ring or the client is full and packets queue (none is given up: all are answered in the end). Points are medians of {rounds} rounds, bars of the rings the least and most. Dashed: the transport's echo."
        ),
        svg: svg.finish(),
    })
}

/// Bars from left to right, one under the other: name, value, colour.
fn bars(title: &str, unit: &str, rows: &[(String, f64, &str)]) -> String {
    const ROW: f64 = 26.0;
    const NAMES: f64 = 330.0;
    let height = 96.0 + ROW * rows.len() as f64;
    let mut svg = Svg::new(WIDTH, height);
    svg.text((20.0, 30.0), 17.0, Anchor::Start, INK, title);
    let high = rows.iter().map(|it| it.1).fold(0.0, f64::max);
    let x = Axis::new((0.0, high.max(1e-9) * 1.02), false, (NAMES, WIDTH - 110.0));
    let floor = 52.0 + ROW * rows.len() as f64;
    for (value, _) in x.marks() {
        let at = x.place(value);
        svg.line((at, 48.0), (at, floor), GRID, 1.0);
        svg.text(
            (at, floor + 17.0),
            12.0,
            Anchor::Middle,
            INK,
            &x.name(value),
        );
    }
    for (at, (name, value, fill)) in rows.iter().enumerate() {
        let y = 52.0 + ROW * at as f64;
        svg.text((NAMES - 8.0, y + 15.0), 13.0, Anchor::End, INK, name);
        let end = x.place(*value);
        svg.rect((NAMES, y + 2.0), ((end - NAMES).max(1.0), ROW - 8.0), fill);
        svg.text(
            (end + 6.0, y + 15.0),
            12.0,
            Anchor::Start,
            INK,
            &short(*value),
        );
    }
    let middle = (NAMES + WIDTH - 110.0) / 2.0;
    svg.text((middle, height - 8.0), 13.0, Anchor::Middle, INK, unit);
    svg.finish()
}

fn drops(result: &Value) -> Option<Plot> {
    let tier = &result["tiers"]["wire"];
    let mut rows = Vec::new();
    let mut measured = Vec::new();
    for (name, ring) in rings(tier) {
        let ring = &ring["ring"];
        measured.push(name);
        let of = |names: &Value, what: &str| -> Vec<(String, f64)> {
            let names = names.as_object().into_iter().flatten();
            names
                .map(|(drop, count)| (format!("{name}: {drop}{what}"), number(count)))
                .filter(|(_, count)| *count > 0.0)
                .collect()
        };
        let mut of_ring = of(&ring["injected"], " (injected)");
        of_ring.extend(of(&ring["account"]["drops"], ""));
        let mut received = ring["account"]["received"].clone();
        if let Some(map) = received.as_object_mut() {
            map.remove("taken");
        }
        of_ring.extend(of(&received, ""));
        rows.extend(
            of_ring
                .into_iter()
                .map(|(text, count)| (text, count, colour(name))),
        );
    }
    if measured.is_empty() {
        return None;
    }
    let none = rows.is_empty();
    if none {
        rows.push((
            "no packet was lost, dropped or refused".to_owned(),
            0.0,
            GREY,
        ));
    }
    Some(Plot {
        name: "drops",
        caption: format!(
            "Packets that were not simply taken, by ring and name, of all phases of {} together: injected by the client's shim, dropped before the ring, or counted by the ring under a name other than `taken`. What was lost or refused was sent again and taken then.{}",
            measured.join(", "),
            if none {
                " In this run there is none."
            } else {
                ""
            }
        ),
        svg: bars("Lost, dropped and refused, by name", "packets", &rows),
    })
}

fn stages(result: &Value) -> Option<Plot> {
    let tier = &result["tiers"]["test_run"];
    let costs: Vec<(&str, f64)> = tier["costs"]
        .as_object()?
        .iter()
        .map(|(name, it)| (name.as_str(), number(&it["median"])))
        .collect();
    let total: f64 = costs.iter().map(|it| it.1.max(0.0)).sum();
    let height = 206.0;
    let mut svg = Svg::new(WIDTH, height);
    let messages = number(&tier["messages_per_packet"]);
    let of = match messages {
        1.0 => "one message a packet".to_owned(),
        more => format!("{} messages a packet", short(more)),
    };
    let title = format!("Cost of a packet in the kernel, stage by stage ({of})");
    svg.text((20.0, 30.0), 17.0, Anchor::Start, INK, &title);
    let x = Axis::new((0.0, total), false, (20.0, WIDTH - 40.0));
    for (value, _) in x.marks() {
        svg.line((x.place(value), 50.0), (x.place(value), 108.0), GRID, 1.0);
        svg.text(
            (x.place(value), 124.0),
            12.0,
            Anchor::Middle,
            INK,
            &x.name(value),
        );
    }
    svg.text(
        (WIDTH - 20.0, 140.0),
        12.0,
        Anchor::End,
        INK,
        "ns, program's own clock",
    );
    let mut at = 0.0;
    let mut legend = (20.0, 156.0);
    for ((name, cost), fill) in costs.iter().zip(STAGE_COLOURS) {
        let (from, to) = (x.place(at), x.place(at + cost.max(0.0)));
        svg.rect((from, 56.0), (to - from, 46.0), fill);
        if to - from > 40.0 {
            svg.text(
                ((from + to) / 2.0, 84.0),
                13.0,
                Anchor::Middle,
                INK,
                &short(*cost),
            );
        }
        at += cost.max(0.0);
        let text = format!("{name}: {} ns", short(*cost));
        let wide = 34.0 + 6.4 * text.len() as f64;
        if legend.0 + wide > WIDTH - 20.0 {
            legend = (20.0, legend.1 + 22.0);
        }
        svg.rect(legend, (12.0, 12.0), fill);
        let beside = (legend.0 + 17.0, legend.1 + 11.0);
        svg.text(beside, 12.0, Anchor::Start, INK, &text);
        legend.0 += wide;
    }
    Some(Plot {
        name: "stages",
        caption: format!(
            "Tier (a), by test-run: what each stage adds to the one before it; {} ns in all. Differences of medians: a stage of a few nanoseconds is within their error, and the first has both readings of the clock.",
            short(total)
        ),
        svg: svg.finish(),
    })
}

fn operations(result: &Value) -> Option<Plot> {
    let operations = result["tiers"]["test_run"]["operations"].as_object()?;
    let mut rows: Vec<(String, f64, &str)> = operations
        .iter()
        .map(|(name, it)| {
            let samples = short(number(&it["samples"]));
            (
                format!("{name} ({samples} runs)"),
                number(&it["median"]),
                colour("kernel"),
            )
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    Some(Plot {
        name: "operations",
        caption: "Tier (a), by test-run: a packet with one message of each kind, whole: headers, tag, sequence, match, holds, records, answer. Medians; the rarer a kind, the rougher.".to_owned(),
        svg: bars("Whole packet by kind of message, in the kernel", "ns a packet (median)", &rows),
    })
}
