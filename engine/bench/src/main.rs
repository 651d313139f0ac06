//! `ring0 bench engine`: what one message costs in the matching core, beside other engines on the same stream.
//!
//! A program of its own, which `ring0` runs, so that the peers it measures against are in no binary that anybody else needs.
//! For each flow the engines take turns, every round with fresh books; a figure is the median of its rounds. Packets, frames and
//! records are in memory before the clock starts. What an engine trades is compared with the stream's header in a run that is not timed.
//! Auctions, self-trade prevention and stops, which no peer has, are [`scenes`].
//! Rule: RULES 30; figures: `docs/benchmarks.md`.

mod clock;
mod fail;
mod flows;
mod instructions;
mod kernel;
mod native;
mod peers;
mod report;
mod rounds;
mod scenes;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use fail::BenchError;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Messages of a stream at the most: references of a session are numbered up to 2^24, and prefill comes before.
const MESSAGES_MAX: u64 = 10_000_000;

/// What a message of a flash crash may cost at the most, in messages of a calm market.
const CRASH_OVER_CALM_MAX: f64 = 2.0;

/// Measure the matching core: nanoseconds and percentiles a message, beside other engines on the same streams.
#[derive(Parser)]
#[command(name = "ring0 bench engine", version, max_term_width = 100)]
struct Args {
    /// Timed messages of each flow, behind a prefill of a tenth, at most 100,000 (none in auctions and cascades).
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=MESSAGES_MAX))]
    messages: u64,
    /// Rounds of each engine; their median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Seed of the streams.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Processor to stay on; without it the last one.
    #[arg(long)]
    processor: Option<usize>,
    /// Only the stream of this name.
    #[arg(long, value_name = "FLOW", value_parser = PossibleValuesParser::new(names()))]
    flow: Option<String>,
    /// Beside the native engine only those whose name begins so.
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Count the native engine's instructions on a short fixed stream under callgrind, and measure nothing else.
    #[arg(long)]
    instructions: bool,
    /// Run the stream of that name once, for callgrind.
    #[arg(long, hide = true, value_name = "FLOW")]
    counted: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0 bench engine: {error}");
            ExitCode::from(error.code())
        }
    }
}

fn run(args: &Args) -> Result<(), BenchError> {
    if let Some(flow) = &args.counted {
        return instructions::counted(flow);
    }
    let mut report = Map::new();
    report.insert("machine".into(), ring0_lab::machine());
    if args.instructions {
        report.insert("instructions".into(), instructions::count()?);
    } else {
        measure(args, &mut report)?;
    }
    report::print(&Value::Object(report), args.json);
    Ok(())
}

fn measure(args: &Args, report: &mut Map<String, Value>) -> Result<(), BenchError> {
    let processor = clock::pin_to(args.processor)?;
    let clock = clock::Clock::calibrated();
    report.insert("seed".into(), json!(args.seed));
    report.insert("messages".into(), json!(args.messages));
    report.insert("prefill".into(), json!(flows::prefill(args.messages)));
    report.insert("rounds".into(), json!(args.rounds));
    report.insert("processor".into(), json!(processor));
    report.insert("timer".into(), clock.report());
    let (mut rows, mut ratios, mut memory) = (Vec::new(), Map::new(), Map::new());
    let wanted = args.engine.as_deref().unwrap_or_default();
    let left_out = |name: &str| args.flow.as_ref().is_some_and(|only| only != name);
    for flow in &flows::FLOWS {
        if left_out(flow.name) {
            continue;
        }
        let flow = flow.prepare(args.seed, args.messages)?;
        let measured = rounds::measure(&flow, args.rounds, &clock, wanted)?;
        rows.extend(measured.rows);
        ratios.insert(flow.name.into(), measured.ratios);
        memory.insert(flow.name.into(), measured.memory);
    }
    for scene in &scenes::SCENES {
        if left_out(scene.name) {
            continue;
        }
        let scene = scene.prepare(args.seed, args.messages);
        let measured = scenes::measure(&scene, args.rounds, &clock, wanted)?;
        rows.extend(measured.rows);
        ratios.insert(scene.name.into(), measured.ratios);
    }
    report.insert("crash_over_calm".into(), crash_over_calm(&rows));
    report.insert("rows".into(), Value::Array(rows));
    report.insert("ratios".into(), Value::Object(ratios));
    report.insert("memory".into(), Value::Object(memory));
    Ok(())
}

/// Names of all flows.
fn names() -> Vec<&'static str> {
    let flows = flows::FLOWS.iter().map(|flow| flow.name);
    flows
        .chain(scenes::SCENES.iter().map(|scene| scene.name))
        .collect()
}

/// By engine: the time of a message in the flash crash over that in the calm market of one instrument, where both were run.
/// A book that a crash slows down is slow when it matters: more than twice is too much.
fn crash_over_calm(rows: &[Value]) -> Value {
    let of = |flow: &str, engine: &Value| {
        let row = |it: &&Value| it["flow"] == flow && it["engine"] == *engine;
        rows.iter().find(row)?["ns_per_message"].as_f64()
    };
    let mut ratios = Map::new();
    for row in rows.iter().filter(|row| row["flow"] == "flash_crash") {
        let engine = &row["engine"];
        if let (Some(crash), Some(calm), Some(name)) = (
            of("flash_crash", engine),
            of("one_instrument", engine),
            engine.as_str(),
        ) {
            let ratio = crash / calm;
            let within = ratio <= CRASH_OVER_CALM_MAX;
            ratios.insert(name.into(), json!({ "ratio": ratio, "at_most_2": within }));
        }
    }
    Value::Object(ratios)
}
