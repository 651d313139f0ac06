//! `ring0 demo`: a market over a veth pair, four traders, daemon and recorder killed and brought back, and proof that
//! nothing was lost: the recording, replayed natively and by the reference book, gives the same events and state.
//!
//! Daemon and recorder are processes of this same binary; the traders are threads of this one, in the trader's
//! namespace. Everything made here goes again: on success, on failure and on Ctrl-C.

mod check;
mod market;
mod traders;

use crate::fail::Fail;
use check::{Finding, Findings};
use market::Stage;
use ring0d::stop_flag;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use traders::{Crew, Tally};
use xdp_loader::LoaderError;

/// How long the traders go on with neither daemon nor recorder.
const ALONE: Duration = Duration::from_secs(3);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds of trading before daemon and recorder are killed.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let stop = stop_flag();
    let probe = xdp_loader::probe();
    if let Err(error) = probe.require() {
        if matches!(error, LoaderError::KernelLacks { .. }) {
            eprintln!(
                "ring0 demo: this kernel ({}) cannot run the kernel ring: arena {}, may_goto {}. Linux 6.12 can. \
                 `ring0 bench wire` has the same engine behind a plain UDP socket, and `ring0 replay` runs it natively",
                probe.kernel,
                if probe.arena.works {
                    "works"
                } else {
                    "is missing"
                },
                if probe.may_goto.works {
                    "works"
                } else {
                    "is missing"
                },
            );
        }
        return Err(error.into());
    }
    xdp_loader::ensure_bpffs()?;
    let say = |text: &str| {
        if !args.json {
            println!("{text}");
        }
    };
    let alive = || {
        if stop.load(Ordering::Acquire) {
            return Err(Fail::new("stopped; everything was removed"));
        }
        Ok(())
    };

    say("bringing up two namespaces, a veth pair, the program and the market");
    let mut stage = Stage::up()?;
    let first = stage.start()?;
    alive()?;
    let began = Instant::now();
    let finish = AtomicBool::new(false);
    let alone = AtomicBool::new(false);
    let crew = Crew::of(&stage, &finish, &alone)?;

    let mut before_kill = 0;
    let (tallies, story) = std::thread::scope(|scope| {
        let threads = crew.go(scope);
        let story = (|| {
            say(&format!(
                "four traders quote and take for {} s",
                args.seconds
            ));
            rest(Duration::from_secs(args.seconds), &alive)?;
            before_kill = stage.published()?;
            stage.kill_all();
            alone.store(true, Ordering::Release);
            say("daemon and recorder killed (-9); the traders go on");
            rest(ALONE, &alive)?;
            alone.store(false, Ordering::Release);
            say("starting both again");
            stage.start()
        })();
        finish.store(true, Ordering::Release);
        let tallies: Result<Vec<Tally>, Fail> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Fail::new("a trader panicked; its message is above")))
            })
            .collect();
        (tallies, story)
    });
    let second = story?;
    let tallies = tallies?;
    let traded = began.elapsed();
    alive()?;

    say("quiet; comparing the recording with what was answered, and replaying it");
    let live = stage.settle(&alive)?;
    let tally = Tally::sum(&tallies);
    let mut findings = Findings::default();
    findings.expect("adopted", true, second["adopted"].as_bool() == Some(true));
    findings.expect("same_memory", true, first["arena_id"] == second["arena_id"]);
    check::recording(&stage, &live, &tallies, &mut findings)?;
    alive()?;
    check::replays(&stage, &live, &mut findings)?;
    let report = report(&tally, &findings, &live, before_kill, traded);
    if args.json {
        println!("{report}");
    } else {
        print_table(&report);
    }
    drop(stage);
    match findings.disagreements() {
        texts if texts.is_empty() => Ok(()),
        texts => Err(Fail::disagreed(format!(
            "these disagree: {}",
            texts.join("; ")
        ))),
    }
}

/// Waits, and looks now and then whether to go on.
fn rest(time: Duration, alive: &dyn Fn() -> Result<(), Fail>) -> Result<(), Fail> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        alive()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn report(
    tally: &Tally,
    findings: &Findings,
    live: &Value,
    before_kill: u64,
    traded: Duration,
) -> Value {
    let microseconds = |quantile: f64| tally.round_trip.value_at_quantile(quantile) as f64 / 1000.0;
    let mut report = json!({
        "seconds": traded.as_secs_f64(),
        "messages": tally.sent,
        "answered": tally.acks.len(),
        "answered_with_neither_alive": tally.answered_alone,
        "packets": tally.packets,
        "packets_sent_twice": tally.repeated,
        "slots_recorded_before_the_kill": before_kill,
    });
    for Finding { name, found, .. } in findings.all() {
        report[name] = found.clone();
    }
    report["round_trip_us"] = json!({
        "p50": microseconds(0.5), "p99": microseconds(0.99), "p99.9": microseconds(0.999),
        "packets": tally.round_trip.len(),
    });
    report["kernel_counters"] = live["counters"].clone();
    report["agrees"] = findings.disagreements().is_empty().into();
    report
}

fn print_table(report: &Value) {
    println!();
    for (name, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::Object(fields) => {
                println!("{}", name.replace('_', " "));
                for (name, value) in fields {
                    println!("    {name:<28} {}", text(value));
                }
            }
            _ => println!("{:<32} {}", name.replace('_', " "), text(value)),
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or(0.0))
        }
        other => other.to_string(),
    }
}
