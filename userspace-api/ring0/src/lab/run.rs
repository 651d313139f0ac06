//! `ring0 lab run`: a scenario to its end; a folder with the result, the report and the plots.

use super::measure::{bench, generator, test_run, wire};
use super::progress::Progress;
use super::venue::{Signed, Venue};
use crate::bench::rings::{SetUp, go_on};
use crate::fail::Fail;
use ring0_lab::{Options, machine, steal_seconds};
use ring0_laboratory::{Flow, Scenario, plots, png, report};
use ring0d::stop_flag;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Most bytes of packets that are prepared: they are in memory before the clock starts.
const PACKETS_BYTES_MAX: u64 = 4 << 30;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The scenario: a TOML file, for instance one of scenarios/.
    scenario: PathBuf,
    /// Folder for the result; made where it is not there [default: lab-NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Everything a hundred times smaller and one round: shows that the scenario runs; its figures mean nothing.
    #[arg(long)]
    tiny: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let stop = stop_flag();
    let mut scenario = Scenario::read(&args.scenario).map_err(Fail::new)?;
    if args.tiny {
        scenario.shrink();
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("lab-{}", scenario.name)),
    };
    std::fs::create_dir_all(&out)
        .map_err(|error| Fail::new(format!("cannot make {}: {error}", out.display())))?;
    let result = measure(&scenario, args.tiny, stop)?;
    let file = out.join("result.json");
    let text = serde_json::to_string_pretty(&result).expect("a value is JSON");
    std::fs::write(&file, text + "\n")
        .map_err(|error| Fail::new(format!("cannot write {}: {error}", file.display())))?;
    write_report(&result, &out)?;
    if args.json {
        println!("{result}");
    } else {
        println!("{}", file.display());
        println!("{}", out.join("report.html").display());
    }
    verdict(&result)
}

/// The page, the plots as SVG and PNG, and README's tables where the result has them.
pub(super) fn write_report(result: &Value, out: &Path) -> Result<(), Fail> {
    let write = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        std::fs::write(&path, bytes)
            .map_err(|error| Fail::new(format!("cannot write {}: {error}", path.display())))
    };
    write("report.html", report::html(result).as_bytes())?;
    for plot in plots(result) {
        write(&format!("{}.svg", plot.name), plot.svg.as_bytes())?;
        write(&format!("{}.png", plot.name), &png(&plot.svg))?;
    }
    if let Some(tables) = report::readme(result) {
        write("readme.md", tables.as_bytes())?;
    }
    Ok(())
}

/// Whether everything that must agree did.
fn verdict(result: &Value) -> Result<(), Fail> {
    let wire = &result["tiers"]["wire"];
    for (ring, of) in wire["rings"].as_object().into_iter().flatten() {
        if of["ring"]["account"]["closes"] == false {
            return Err(Fail::disagreed(format!(
                "{ring}: sent is not received and drops together: {}",
                of["ring"]["account"]
            )));
        }
    }
    if wire["states_agree"] == false {
        return Err(Fail::disagreed(
            "rings that took the same packets are in different states; look at their `state_hash_without_time`",
        ));
    }
    Ok(())
}

fn measure(scenario: &Scenario, tiny: bool, stop: &'static AtomicBool) -> Result<Value, Fail> {
    let (begin, steal, machine) = (Instant::now(), steal_seconds(), machine());
    let began = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut tiers = Map::new();
    let mut about = Value::Null;
    if scenario.needs_flow() {
        let mut flow = Flow::new(scenario).map_err(Fail::new)?;
        let venue = Venue::of(&flow, scenario.seed)?;
        let signed = sign(scenario, &mut flow, &venue, stop)?;
        about = flow_report(&flow, &signed);
        let with = SetUp {
            wire: Options {
                queues: scenario.topology.queues,
                mtu: scenario.topology.mtu,
            },
            capacity: venue.capacity,
            controls: &venue.controls,
            keys: &venue.keys,
            sessions: &venue.sessions,
        };
        if let Some(plan) = &scenario.test_run {
            let measure = || test_run::run(plan, scenario.rounds, &signed, &with, stop);
            let figures = on_a_thread(measure)?;
            tiers.insert("test_run".into(), figures);
        }
        if let Some(plan) = &scenario.generator {
            let figures =
                on_a_thread(|| generator::run(plan, scenario.rounds, &signed, with.wire, stop))?;
            tiers.insert("generator".into(), figures);
        }
        if scenario.has_wire() {
            let (throughput, latency) = on_a_thread(|| wire::run(scenario, &signed, &with, stop))?;
            if scenario.throughput.is_some() {
                tiers.insert("wire".into(), throughput);
            }
            if scenario.latency.is_some() {
                tiers.insert("latency".into(), latency);
            }
        }
    }
    let mut benches = Map::new();
    for one in &scenario.benches {
        benches.insert(one.run.name().to_owned(), bench::run(one, stop)?);
    }
    let mut machine = machine;
    machine["load_at_the_end"] = ring0_lab::machine()["load"].clone();
    machine["steal_seconds_of_the_run"] = json!(steal_seconds() - steal);
    Ok(json!({
        "format": "ring0-lab/1",
        "version": env!("CARGO_PKG_VERSION"),
        "scenario": scenario,
        "tiny": tiny,
        "machine": machine,
        "began_unix_seconds": began.as_secs(),
        "seconds": begin.elapsed().as_secs_f64(),
        "flow": about,
        "deterministic": [
            "the messages, their order, packets, session ids, keys and tags: `flow.checksum`",
            "without faults: every answer, trade and the state at the end, in every ring (`states_agree`)",
            "the schedule of an open loop, and what the shim decides, packet by packet",
        ],
        "not_deterministic": [
            "every time, rate and latency; which packets share a batch or an interrupt",
            "with faults: what is sent again, so which packet meets which decision of the shim, and how packets of several sessions interleave",
        ],
        "tiers": tiers,
        "benches": benches,
    }))
}

/// Measures bind their thread to a processor: they get one that ends with them.
fn on_a_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes the flow's packets before any clock starts.
fn sign(
    scenario: &Scenario,
    flow: &mut Flow,
    venue: &Venue,
    stop: &AtomicBool,
) -> Result<Signed, Fail> {
    let wire = match scenario.has_wire() {
        true => wire::Phases::of(scenario).packets(scenario.rounds) as u64,
        false => 0,
    };
    let test_run = scenario
        .test_run
        .map_or(0, |it| u64::from(it.packets) * u64::from(scenario.rounds));
    let generator = match scenario.generator {
        Some(_) => generator::FRAMES as u64,
        None => 0,
    };
    let packets = wire.max(test_run).max(generator);
    // The longest message, and what is around the messages of a packet.
    let per_packet = 40 + 38 * u64::from(scenario.flow.messages_per_packet);
    let bytes = packets.saturating_mul(per_packet.min(1_472));
    if bytes > PACKETS_BYTES_MAX {
        return Err(Fail::new(format!(
            "the scenario needs {packets} packets, up to {} GB of memory: measure fewer, or in fewer rounds",
            bytes >> 30
        )));
    }
    let progress = Progress::new(packets);
    progress.say("packets and tags");
    Signed::make(flow, venue, scenario, packets, |at| {
        progress.at(at);
        go_on(stop)
    })
}

fn flow_report(flow: &Flow, signed: &Signed) -> Value {
    json!({
        "senders": flow.senders(),
        "instruments": flow.instruments().len(),
        "packets": signed.packets.len(),
        "packets_of_the_prefill": signed.prefill,
        "messages": signed.messages,
        "lines_left_out": flow.left_out(),
        "checksum": format!("{:#018x}", signed.checksum),
    })
}
