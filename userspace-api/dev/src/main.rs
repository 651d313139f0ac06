//! `ring0-dev`, which `ring0d --dev` starts: see the library.

use clap::Parser;
use ring0_dev::{Options, SignerKind, Trouble, Venue};
use ring0d::{RingKind, stop_flag};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// All of a venue on this machine: a node with the hub, a shard, the signer, settlement, the gateway. Prints where everything listens, and ends with
/// SIGINT or SIGTERM or when one of its processes does; then nothing is left.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Where the engine runs: behind a UDP socket on loopback, or in the kernel over a veth pair of its own.
    #[arg(long, value_enum, default_value = "udp")]
    ring: RingKind,
    /// Where keys are.
    #[arg(long, value_enum, default_value = "local")]
    signer: SignerKind,
    /// Folder for everything; must not be there [default: one in the system's folder for temporary files].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Leave the folder.
    #[arg(long)]
    keep: bool,
    /// Take any free ports in place of 9000, 8080 and 8081.
    #[arg(long)]
    any_port: bool,
    /// Milliseconds from one settlement batch to the next.
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    batch_ms: u64,
    /// One JSON object in place of the table.
    #[arg(long)]
    json: bool,
    /// End after this many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("ring0-dev: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Trouble> {
    if !matches!(cli.ring, RingKind::Udp | RingKind::Kernel) {
        return Err(
            "--dev runs the udp or the kernel ring; for the others start ring0d by hand".into(),
        );
    }
    let stop = stop_flag();
    let usual = std::env::temp_dir().join(format!("ring0-dev-{}", std::process::id()));
    let folder = std::path::absolute(cli.folder.as_ref().unwrap_or(&usual))?;
    let options = Options {
        ring: cli.ring,
        signer: cli.signer,
        any_port: cli.any_port,
        batch_ms: cli.batch_ms,
        ..Options::new(&folder)
    };
    let up = Venue::up(options, &mut |step| eprintln!("ring0-dev: {step}"));
    let ended = up.and_then(|mut venue| {
        let listens = venue.listens();
        if cli.json {
            let all: Map<String, Value> = listens
                .into_iter()
                .map(|(what, place)| (what.to_owned(), place.into()))
                .collect();
            println!("{}", Value::Object(all));
        } else {
            for (what, place) in listens {
                println!("{what:<26} {place}");
            }
            println!("everything runs; end it with Ctrl-C");
        }
        let end = cli
            .seconds
            .map(|it| std::time::Instant::now() + Duration::from_secs(it));
        while !stop.load(Ordering::Acquire) && end.is_none_or(|end| std::time::Instant::now() < end)
        {
            std::thread::sleep(Duration::from_millis(100));
            if let Some(name) = venue.ended().first() {
                return Err(format!(
                    "{name} has ended by itself; its log is in {}",
                    folder.display()
                )
                .into());
            }
        }
        match venue.down().as_slice() {
            [] => Ok(()),
            hung => Err(format!("had to be killed: {}", hung.join(", ")).into()),
        }
    });
    if ended.is_ok() && !cli.keep {
        std::fs::remove_dir_all(&folder)?;
    }
    ended
}
