//! `ring0 bench itch`: what one message costs to decode, and to build books from, beside other readers of the same feed.
//!
//! A program of its own, which `ring0` runs, so that the peers it measures against are in no binary that anybody else needs.
//! The feed is the derived one of a generated LOBSTRM1 stream, in memory before the clock starts. The readers take turns, every
//! round with fresh books; a figure is the median of its rounds. Every reader must come to the same sums, and the books to the
//! trades and live orders of the stream's header: a fast reader of something else would mean nothing.
#![deny(unsafe_code)]

mod builders;
mod decoders;

use clap::Parser;
use ring0_stream::lobstrm::{DeriveError, generate};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

/// Symbols of the two feeds.
const SYMBOLS: [u32; 2] = [1, 64];

/// Messages of a stream at the most: they are in memory twice.
const MESSAGES_MAX: u64 = 20_000_000;

/// Measure reading of ITCH 5.0: nanoseconds a message to decode it and to build books from it.
#[derive(Parser)]
#[command(name = "ring0 bench itch", version, max_term_width = 100)]
struct Args {
    /// Records of the stream from which the feed is derived, behind a prefill of a tenth; the feed has a few more.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=MESSAGES_MAX))]
    messages: u64,
    /// Rounds of each reader; their median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Seed of the streams.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Processor to stay on; without it the last one.
    #[arg(long)]
    processor: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A failed bench: one line that says what and what to do.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    /// The feed could not be made.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// The system refused.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// A reader came to another sum.
    #[error("{reader}, {symbols} symbols: {what}; the reader is wrong, its times mean nothing")]
    Disagreed {
        /// Which.
        reader: &'static str,
        /// Of which feed.
        symbols: u32,
        /// What disagreed.
        what: String,
    },
}

impl BenchError {
    /// The exit status, as `ring0`'s own.
    fn code(&self) -> u8 {
        match self {
            BenchError::Disagreed { .. } => 3,
            _ => 1,
        }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0 bench itch: {error}");
            ExitCode::from(error.code())
        }
    }
}

fn run(args: &Args) -> Result<(), BenchError> {
    let processor = pin_to(args.processor)?;
    let mut rows = Vec::new();
    for symbols in SYMBOLS {
        rows.extend(measure(args, symbols)?);
    }
    let report = json!({
        "machine": ring0_lab::machine(),
        "command": std::env::args().collect::<Vec<_>>().join(" "),
        "seed": args.seed,
        "rounds": args.rounds,
        "processor": processor,
        "rows": rows,
    });
    if args.json {
        println!("{report}");
    } else {
        print(&report);
    }
    Ok(())
}

/// All readers on the feed of so many symbols.
fn measure(args: &Args, symbols: u32) -> Result<Vec<Value>, BenchError> {
    let stream = generate(args.seed, args.messages, args.messages / 10, symbols);
    let mut feed = Vec::new();
    let derived = stream.write_itch(&mut feed)?;
    let expected = builders::Built {
        live: derived.live,
        trades: derived.trades.count,
        quantity: derived.trades.qty,
    };
    let disagreed = |reader, what| BenchError::Disagreed {
        reader,
        symbols,
        what,
    };
    let mut times = vec![Vec::new(); decoders::DECODERS.len() + builders::BUILDERS.len()];
    for _ in 0..args.rounds {
        let mut sums = None;
        for (decoder, times) in decoders::DECODERS.iter().zip(&mut times) {
            let begin = Instant::now();
            let sum = black_box((decoder.decode)(black_box(&feed)));
            times.push(begin.elapsed());
            let sum = sum.map_err(|what| disagreed(decoder.name, what))?;
            if sum.messages != derived.messages || *sums.get_or_insert(sum) != sum {
                return Err(disagreed(
                    decoder.name,
                    format!("decoded {sum:?} of {sums:?}"),
                ));
            }
        }
        let times = &mut times[decoders::DECODERS.len()..];
        for (builder, times) in builders::BUILDERS.iter().zip(times) {
            let begin = Instant::now();
            let built = black_box((builder.build)(black_box(&feed)));
            times.push(begin.elapsed());
            let built = built.map_err(|what| disagreed(builder.name, what))?;
            if built != expected {
                return Err(disagreed(
                    builder.name,
                    format!("built {built:?}, not {expected:?}"),
                ));
            }
        }
    }
    let names = decoders::DECODERS
        .iter()
        .map(|decoder| ("decode", decoder.name));
    let names = names.chain(
        builders::BUILDERS
            .iter()
            .map(|it| ("decode and build", it.name)),
    );
    let row = |((what, name), mut times): ((&str, &str), Vec<std::time::Duration>)| {
        times.sort_unstable();
        let ns = |index: usize| {
            let ns = times[index].as_nanos() as f64 / derived.messages as f64;
            (ns * 100.0).round() / 100.0
        };
        json!({
            "symbols": symbols,
            "messages": derived.messages,
            "what": what,
            "reader": name,
            "ns_per_message": ns(times.len() / 2),
            "ns_lowest": ns(0),
            "ns_highest": ns(times.len() - 1),
        })
    };
    Ok(names.zip(times).map(row).collect())
}

fn print(report: &Value) {
    println!("{}", report["machine"].as_str().unwrap_or_default());
    for row in report["rows"].as_array().into_iter().flatten() {
        println!(
            "{:>3} symbols  {:<17} {:<28} {:>7.2} ns a message ({:.2} to {:.2})",
            row["symbols"],
            row["what"].as_str().unwrap_or_default(),
            row["reader"].as_str().unwrap_or_default(),
            row["ns_per_message"].as_f64().unwrap_or_default(),
            row["ns_lowest"].as_f64().unwrap_or_default(),
            row["ns_highest"].as_f64().unwrap_or_default(),
        );
    }
}

/// Binds this thread to a processor, the last one if none is named; gives its number.
fn pin_to(processor: Option<usize>) -> Result<usize, BenchError> {
    let last = std::thread::available_parallelism().map_or(0, |count| count.get() - 1);
    let processor = processor.unwrap_or(last);
    if processor >= CpuSet::MAX_CPU {
        let text = format!("--processor {processor}: there is none of this number");
        return Err(std::io::Error::other(text).into());
    }
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).map_err(std::io::Error::from)?;
    Ok(processor)
}
