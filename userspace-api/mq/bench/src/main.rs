//! `ring0 bench mq`: what a record costs from one processor to another, beside other queues; and with the record file on.
//!
//! A program of its own, which `ring0` runs, so that the peers are in no binary that anybody else needs. The record ring and iceoryx2 go from
//! process to process, `rtrb` and `disruptor` from thread to thread, which is all they can. For each shape and length the queues take turns; a
//! figure is the median of its rounds. Rule: RULES 30; figures: `docs/mq.md`.
#![deny(unsafe_code)]

mod ours;
mod recording;
mod report;
mod threads;

use clap::Parser;
use ring0_bench_mq::{BenchError, Job, Measured, Shape, on_processor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Slots of a ring, and as many bytes of every peer's: 4 MiB.
const BENCH_SLOTS: u64 = 1 << 16;

/// Slots of the ring that is recorded: 256 MiB, so that a sync of some ten milliseconds does not stop the producer.
const RECORDING_SLOTS: u64 = 1 << 22;

/// Bytes of a record.
const BYTES: [usize; 3] = [64, 256, 1024];

/// Records that are published alone, and together.
const BATCHES: [u64; 2] = [1, 32];

/// Single records are sent so far apart: the queue is empty then.
const EVERY_NS: u64 = 3_000;

const ICEORYX2_PROGRAM: &str = "ring0-bench-mq-iceoryx2";
const ICEORYX2: &str = "iceoryx2 0.10.0";

/// What to do where it is not there. Its platform layer is built with libclang, which nothing else here needs.
const ICEORYX2_HELP: &str = "not built: run scripts/setup, which installs libclang1-N and libclang-common-N-dev (N: the LLVM of the eBPF compiler) and builds it, \
    or build userspace-api/mq/bench/iceoryx2 with cargo and name the program with --iceoryx2";

/// Measure the record ring between two processors: records a second and nanoseconds a record, beside other queues.
#[derive(Parser)]
#[command(name = "ring0 bench mq", version, max_term_width = 100)]
struct Args {
    /// Records of each measurement.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    records: u64,
    /// Rounds of each queue; their median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Folder for the record file; without it the system's folder for temporary files.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The iceoryx2 program [default: where scripts/setup puts it; what is not there is left out, and the report says so].
    #[arg(long, value_name = "PROGRAM")]
    iceoryx2: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The receiving process.
    #[arg(long, hide = true, value_name = "ROLE")]
    consumer: Option<String>,
}

/// What the receiving process is told.
#[derive(Deserialize, Serialize)]
enum Role {
    Ours {
        rings: Vec<PathBuf>,
        job: Job,
    },
    Recording {
        ring: PathBuf,
        file: PathBuf,
        slots: u64,
    },
}

impl Role {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("paths and numbers")
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.consumer {
        Some(role) => consume(role),
        None => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring0 bench mq: {error}");
            ExitCode::FAILURE
        }
    }
}

fn consume(role: &str) -> Result<(), BenchError> {
    match serde_json::from_str(role).map_err(BenchError::queue)? {
        Role::Ours { rings, job } => ours::consume(&rings, &job),
        Role::Recording { ring, file, slots } => recording::consume(&ring, &file, slots),
    }
}

type Run<'a> = Box<dyn Fn(&Job) -> Result<(u64, Measured), BenchError> + 'a>;

/// A queue and what it is between.
struct Queue<'a> {
    name: &'static str,
    between: &'static str,
    batches: bool,
    run: Run<'a>,
}

fn run(args: &Args) -> Result<(), BenchError> {
    let machine = ring0_lab::machine();
    on_processor(0)?;
    let mut queues = vec![
        Queue {
            name: "ring0",
            between: "processes",
            batches: true,
            run: Box::new(ours::run),
        },
        Queue {
            name: "rtrb 0.4.1",
            between: "threads",
            batches: true,
            run: Box::new(threads::rtrb),
        },
        Queue {
            name: "disruptor 4.4.0",
            between: "threads",
            batches: true,
            run: Box::new(threads::disruptor),
        },
    ];
    let iceoryx2 = match &args.iceoryx2 {
        Some(program) => Some(program.clone()),
        None => find_iceoryx2()?,
    };
    let mut absent = Vec::new();
    match iceoryx2 {
        Some(program) => queues.push(Queue {
            name: ICEORYX2,
            between: "processes",
            batches: false, // it sends one sample at a time
            run: Box::new(move |job| other_program(&program, job)),
        }),
        None => absent.push(json!({ "queue": ICEORYX2, "help": ICEORYX2_HELP })),
    }
    let mut rows = Vec::new();
    for shape in Shape::ALL {
        for bytes in BYTES {
            for batch in BATCHES {
                rows.extend(measure(args, &queues, shape, bytes, batch)?);
            }
        }
    }
    let report = json!({
        "machine": machine,
        "ring_bytes": BENCH_SLOTS * 64,
        "note": "every consumer copies each record out and checks its number; consumers share the second processor and are served in turn, as producers do the first; a single record's time has two readings of the clock in it",
        "rows": rows,
        "absent": absent,
        "recording": record(args)?,
    });
    report::print(&report, args.json);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// All queues on one shape, in turn.
fn measure(
    args: &Args,
    queues: &[Queue<'_>],
    shape: Shape,
    bytes: usize,
    batch: u64,
) -> Result<Vec<Value>, BenchError> {
    let queues: Vec<_> = queues
        .iter()
        .filter(|it| it.batches || batch == 1)
        .collect();
    let job = Job {
        shape,
        bytes,
        batch,
        records: args.records / shape.producers * shape.producers,
        every_ns: 0,
    };
    let mut rounds = vec![Vec::new(); queues.len()];
    for _ in 0..args.rounds {
        for (queue, rounds) in queues.iter().zip(&mut rounds) {
            let (ns, _) = (queue.run)(&job)?;
            rounds.push(job.records as f64 * 1e9 / ns as f64);
        }
    }
    let mut rows = Vec::new();
    for (queue, rounds) in queues.iter().zip(rounds) {
        let mut row = json!({
            "queue": queue.name,
            "between": queue.between,
            "shape": shape.name(),
            "bytes": bytes,
            "batch": batch,
            "records": job.records,
            "records_per_s": median(rounds.clone()).round(),
            "rounds_records_per_s": rounds.iter().map(|it| it.round()).collect::<Vec<_>>(),
        });
        if batch == 1 {
            let paced = Job {
                records: (args.records / 20).max(shape.producers) / shape.producers
                    * shape.producers,
                every_ns: EVERY_NS,
                ..job
            };
            let (_, times) = (queue.run)(&paced)?;
            row["single_record"] = json!({
                "count": paced.records * shape.consumers,
                "ns_p50": times.ns_p50,
                "ns_p99": times.ns_p99,
                "ns_p999": times.ns_p999,
            });
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The iceoryx2 program beside this one, or where `scripts/setup` builds it: `target/tools` of the `target` that this program lies in.
fn find_iceoryx2() -> Result<Option<PathBuf>, BenchError> {
    let this = std::env::current_exe()?;
    let beside = this.with_file_name(ICEORYX2_PROGRAM);
    let built = this
        .ancestors()
        .nth(2)
        .map(|target| target.join("tools/iceoryx2/release").join(ICEORYX2_PROGRAM));
    Ok([Some(beside), built]
        .into_iter()
        .flatten()
        .find(|program| program.is_file()))
}

/// A queue in a program of its own, which is told the job and says what it measured.
fn other_program(program: &PathBuf, job: &Job) -> Result<(u64, Measured), BenchError> {
    let output = Command::new(program)
        .arg(serde_json::to_string(job).expect("numbers"))
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(BenchError::Other(format!("{}: {said}", program.display())));
    }
    serde_json::from_slice(&output.stdout).map_err(BenchError::queue)
}

/// The record file on.
fn record(args: &Args) -> Result<Value, BenchError> {
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let (mut recorded, mut replayed, mut report) = (Vec::new(), Vec::new(), Value::Null);
    for _ in 0..args.rounds {
        let round = recording::run(folder.path(), args.records)?;
        recorded.push(round.recorded);
        replayed.push(round.replayed);
        report = round.report;
    }
    report["messages_per_s"] = json!(median(recorded.clone()).round());
    report["rounds_messages_per_s"] =
        json!(recorded.iter().map(|it| it.round()).collect::<Vec<_>>());
    report["replayed_messages_per_s"] = json!(median(replayed).round());
    Ok(report)
}
