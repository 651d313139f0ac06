//! `ring0 record`: the record ring's required consumer.

use crate::fail::Fail;
use ring0_mq::{CONSUMER, Recorder};
use ring0_rings::Consumer;
use ring0d::{Client, Verb, default_socket, end_with_parent, stop_flag};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the shard's pins.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["interface", "market"])]
    pin_root: Option<PathBuf>,
    /// Interface that the shard is loaded on.
    #[arg(long, value_name = "IF", conflicts_with = "market")]
    interface: Option<String>,
    /// Network namespace of the interface.
    #[arg(long, value_name = "NS", requires = "interface")]
    netns: Option<String>,
    /// The market's file: its running daemon is asked where the pins are.
    #[arg(long, value_name = "FILE")]
    market: Option<PathBuf>,
    /// The recording: goes on where it ends, or begins.
    #[arg(long, value_name = "FILE", required_unless_present = "release")]
    out: Option<PathBuf>,
    /// End after this many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// At the end stop being required: the ring is then written over, recorded or not. Without --out only that.
    #[arg(long)]
    release: bool,
    /// One JSON object at the end.
    #[arg(long)]
    json: bool,
    /// End when the process that started this one does: for demos and tests.
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if args.with_parent {
        end_with_parent();
    }
    let pinned = xdp_loader::open_pinned(&pin_root(args)?)?;
    let Some(out) = &args.out else {
        Consumer::required(&pinned, CONSUMER)?.release();
        eprintln!("ring0 record: released; the ring no longer waits for a recorder");
        return Ok(());
    };
    let stop = stop_flag();
    let end = args
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut recorder = Recorder::open(&pinned, out)?;
    let from = recorder.file().position();
    let cut = recorder.file().cut_bytes();
    if cut != 0 {
        eprintln!(
            "ring0 record: cut {cut} bytes of an unfinished record off {}",
            out.display()
        );
    }
    eprintln!("ring0 record: {} from slot {from} on", out.display());
    let slots = recorder.run(&mut || {
        stop.load(Ordering::Acquire) || end.is_some_and(|end| Instant::now() >= end)
    })?;
    let position = recorder.file().position();
    if args.release {
        recorder.release();
    }
    if args.json {
        println!(
            "{}",
            json!({ "from": from, "to": position, "slots": slots, "cut_bytes": cut, "released": args.release })
        );
    } else {
        println!("{slots} slots recorded, up to {position}");
    }
    Ok(())
}

fn pin_root(args: &Args) -> Result<PathBuf, Fail> {
    if let Some(pin_root) = &args.pin_root {
        return Ok(pin_root.clone());
    }
    if let Some(interface) = &args.interface {
        return Ok(xdp_loader::default_pin_root(
            interface,
            args.netns.as_deref(),
        ));
    }
    let Some(market) = &args.market else {
        return Err(Fail::new(
            "which shard? give --interface (and --netns), --pin-root, or --market",
        ));
    };
    let plan = ring0_market::Plan::load(market)?;
    let status =
        Client::connect(&default_socket(&plan.shard.name))?.call(&Verb::Status { hash: false })?;
    status["pin_root"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Fail::new("the daemon did not say where its pins are; give --pin-root"))
}
