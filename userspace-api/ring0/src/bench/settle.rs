//! `ring0 bench settle`: what settlement takes in a second: fills in the ledger, traders who sign every batch, signatures of each kind of key.
//!
//! Each figure has the floor that it is built for beside it, on two processors; a floor that is missed is said, and is no error. Everything is written in
//! a folder of its own, on the disk that it is told, and removed. Figures: `docs/settlement.md#figures`.

use super::processors::Busy;
use crate::fail::Fail;
use ring0_lab::machine;
use ring0_settled::bench as batches;
use ring0_settlement::bench as ledger;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Fills a second in the ledger, and milliseconds from one durable commit to the next.
const FILLS: u32 = 1_000_000;
const COMMIT_MS: f64 = 100.0;
/// Age of a batch in periods, of 99 in 100.
const PERIODS: f64 = 2.0;
/// Traders and the period at which they all sign.
const COSIGNERS: [(u32, u64); 2] = [(2_000, 100), (10_000, 1_000)];

/// Batches whose trees are built, of all accounts.
const BATCHES: usize = 20;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds that traders sign for, at each number of them.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Seconds of each other measurement.
    #[arg(long, value_name = "N", default_value_t = 10)]
    short: u64,
    /// Accounts that trade in the ledger.
    #[arg(long, default_value_t = 10_000)]
    accounts: u32,
    /// One part of it alone.
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    /// Seed of the trades.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder on the disk to measure, in which one is made and removed [default: the one for temporary files].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A part of the bench.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Fills in the ledger, and trees of a batch.
    Ledger,
    /// Traders who sign every batch.
    Cosigners,
    /// Signatures by each kind of key.
    Signer,
}

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn inside(&self, name: &str) -> Result<PathBuf, Fail> {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder)
            .map_err(|error| Fail::new(format!("cannot make {}: {error}", folder.display())))?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("ring0 bench: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Runs the bench.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = Scratch(parent.join(format!("ring0-bench-settle-{}", std::process::id())));
    let (machine, before) = (machine(), Busy::now());
    let mut floors = Floors::default();
    let mut report = Map::new();
    let has = |part: Part| args.only.is_none_or(|only| only == part);
    if has(Part::Ledger) {
        of_ledger(args, &scratch, &mut floors, &mut report)?;
    }
    if has(Part::Cosigners) {
        of_cosigners(args, &scratch, &mut floors, &mut report)?;
    }
    if has(Part::Signer) {
        of_signer(args, &mut floors, &mut report)?;
    }
    let Floors(floors) = floors;
    if args.json {
        let mut busy = Busy::default();
        busy.add_since(&before);
        let head = [
            ("machine", machine),
            ("folder", json!(parent)),
            ("seed", json!(args.seed)),
            ("floors", json!(floors)),
            ("busy_seconds", busy.report()),
        ];
        report.extend(head.map(|(name, it)| (name.to_owned(), it)));
        println!("{}", Value::Object(report));
        return Ok(());
    }
    println!("{:<36} {:>14} {:>12}  met", "", "figure", "floor");
    for (name, it) in &floors {
        println!(
            "{name:<36} {:>14.1} {:>12.0}  {}",
            it["figure"].as_f64().unwrap_or(f64::NAN),
            it["floor"].as_f64().unwrap_or(f64::NAN),
            if it["met"] == true { "yes" } else { "no" }
        );
    }
    Ok(())
}

/// Figures beside their floors, by name.
#[derive(Default)]
struct Floors(Map<String, Value>);

impl Floors {
    fn at_least(&mut self, name: &str, figure: f64, floor: f64) {
        self.add(name, figure, floor, figure >= floor);
    }

    fn at_most(&mut self, name: &str, figure: f64, floor: f64) {
        self.add(name, figure, floor, figure <= floor);
    }

    fn add(&mut self, name: &str, figure: f64, floor: f64, met: bool) {
        let it = json!({ "figure": figure, "floor": floor, "met": met });
        self.0.insert(name.to_owned(), it);
    }
}

fn of_ledger(
    args: &Args,
    scratch: &Scratch,
    floors: &mut Floors,
    report: &mut Map<String, Value>,
) -> Result<(), Fail> {
    let options = ledger::Options {
        accounts: args.accounts,
        time: Duration::from_secs(args.short.max(1)),
        seed: args.seed,
        ..ledger::Options::default()
    };
    let paced = ledger::Options {
        rate: Some(FILLS),
        ..options
    };
    let paced = ledger::ledger(&scratch.inside("paced")?, &paced).map_err(Fail::new)?;
    let most = ledger::ledger(&scratch.inside("most")?, &options).map_err(Fail::new)?;
    let netting = scratch.inside("netting")?;
    let netting =
        ledger::netting(&netting, args.accounts, BATCHES, args.seed).map_err(Fail::new)?;
    // As fast as it goes shows how much is left; commits are those at the rate of the floor.
    floors.at_least(
        "ledger_fills_per_second",
        most.fills_per_second,
        FILLS.into(),
    );
    floors.at_most(
        "ledger_commit_p99_ms",
        paced.commit_interval.p99_ms,
        COMMIT_MS,
    );
    let both = json!({ "at_the_floor": paced, "as_fast_as_it_goes": most });
    report.insert("ledger".to_owned(), both);
    report.insert("netting".to_owned(), json!(netting));
    Ok(())
}

fn of_cosigners(
    args: &Args,
    scratch: &Scratch,
    floors: &mut Floors,
    report: &mut Map<String, Value>,
) -> Result<(), Fail> {
    let mut all = Vec::new();
    for (traders, period_ms) in COSIGNERS {
        let options = batches::Options {
            traders,
            period: Duration::from_millis(period_ms),
            time: Duration::from_secs(args.seconds.max(1)),
            seed: args.seed,
        };
        let folder = scratch.inside(&format!("cosigners-{traders}"))?;
        let it = batches::cosigners(&folder, &options).map_err(Fail::new)?;
        let name = format!("{traders}_cosigners_age_p99_periods");
        floors.at_most(&name, it.age_p99_periods, PERIODS);
        all.push(it);
    }
    report.insert("cosigners".to_owned(), json!(all));
    Ok(())
}

fn of_signer(
    args: &Args,
    floors: &mut Floors,
    report: &mut Map<String, Value>,
) -> Result<(), Fail> {
    let seconds = args.short.max(1);
    let signer = ring0_signer::bench::run(&ring0_signer::bench::Args { seconds })?;
    let of = |path: &str| {
        let figure = signer.pointer(path).and_then(Value::as_f64);
        figure.unwrap_or(f64::NAN)
    };
    floors.at_least("signer_local_per_second", of("/local/per_second"), 8_000.0);
    floors.at_least("signer_pkcs11_per_second", of("/pkcs11/per_second"), 200.0);
    floors.at_most(
        "frost_2_of_3_ms",
        of("/frost_2_of_3/signature_ms/p50"),
        50.0,
    );
    floors.at_most(
        "threshold_ecdsa_2_of_3_ms",
        of("/threshold_ecdsa_2_of_3/signature_ms/p50"),
        5_000.0,
    );
    report.insert("signer".to_owned(), signer);
    Ok(())
}
