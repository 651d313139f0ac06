//! `ring0 record`: the record ring's required consumer, into one file or into a journal.

use crate::fail::Fail;
use ring0_journal::{Journal, JournalError, Options};
use ring0_mq::{CONSUMER, MqError, Recorder, Sink};
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
    #[arg(long, value_name = "FILE", required_unless_present_any = ["release", "journal"])]
    out: Option<PathBuf>,
    /// The journal's folder instead: segments that are checked to the byte (`ring0 journal`).
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    journal: Option<PathBuf>,
    /// End after this many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// At the end stop being required: the ring is then written over, recorded or not. Without --out and --journal only that.
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
    if let Some(folder) = &args.journal {
        let mut recorder = Recorder::with_sink(&pinned, |identity, first| {
            Journal::open(folder, &identity, first, Options::default())
                .map_err(|error| MqError::Sink(Box::new(error)))
        })
        .map_err(journal_error)?;
        let cut = recorder.sink().cut_bytes();
        // After a failure nothing is written and the ring goes on waiting: what it has is on no disk.
        record(args, &mut recorder, cut)?;
        end(args, recorder).close()?;
        return Ok(());
    }
    let Some(out) = &args.out else {
        Consumer::required(&pinned, CONSUMER)?.release();
        eprintln!("ring0 record: released; the ring no longer waits for a recorder");
        return Ok(());
    };
    let mut recorder = Recorder::open(&pinned, out)?;
    let cut = recorder.sink().cut_bytes();
    record(args, &mut recorder, cut)?;
    end(args, recorder);
    Ok(())
}

/// Records until it is told to stop; what opening cut off is said.
fn record<S: Sink>(args: &Args, recorder: &mut Recorder<S>, cut: u64) -> Result<(), Fail> {
    let stop = stop_flag();
    let end = args
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let name = recorder.sink().location().display().to_string();
    let from = recorder.sink().position();
    if cut != 0 {
        eprintln!("ring0 record: cut {cut} bytes of an unfinished record off {name}");
    }
    eprintln!("ring0 record: {name} from slot {from} on");
    let slots = recorder
        .run(&mut || stop.load(Ordering::Acquire) || end.is_some_and(|end| Instant::now() >= end))
        .map_err(journal_error)?;
    let position = recorder.sink().position();
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

fn end<S: Sink>(args: &Args, recorder: Recorder<S>) -> S {
    if args.release {
        recorder.release()
    } else {
        recorder.into_sink()
    }
}

/// A journal's own error, out of the recorder's.
fn journal_error(error: MqError) -> Fail {
    match error {
        MqError::Sink(error) => match error.downcast::<JournalError>() {
            Ok(error) => (*error).into(),
            Err(error) => Fail::new(error),
        },
        other => other.into(),
    }
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
