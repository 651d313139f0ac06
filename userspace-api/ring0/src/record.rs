//! `ring0 record`: the record ring's required consumer, into one file or into a journal. `ring0 record --config FILE[#SHARD]` takes the options of the table
//! `[recorder]` of a venue's file.

mod numbers;

use crate::fail::Fail;
use crate::shard::Shard;
use clap::{Args as _, Command};
use numbers::{TimedDisk, Times};
use ring0_config::OptionsError;
use ring0_journal::{Journal, JournalError, Options, VerifiedSnapshot, snapshots};
use ring0_mq::{CONSUMER, MqError, Recorder, Sink};
use ring0_rings::{Consumer, RecordRing};
use ring0d::{end_with_parent, stop_flag};
use serde_json::json;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long it records without looking at anything else.
const BETWEEN: Duration = Duration::from_secs(1);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    shard: Shard,
    /// The recording: goes on where it ends, or begins.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["release", "journal"])]
    out: Option<PathBuf>,
    /// The journal's folder instead: segments that are checked to the byte (`ring0 journal`).
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    journal: Option<PathBuf>,
    /// Remove the journal's segments that a snapshot in its folder has made needless (`ring0 journal snapshot --follow` makes them),
    /// once it was verified.
    #[arg(long, requires = "journal")]
    remove: bool,
    /// End after this many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// At the end stop being required: the ring is then written over, recorded or not. Without --out and --journal only that.
    #[arg(long)]
    release: bool,
    /// One JSON object at the end.
    #[arg(long)]
    json: bool,
    /// Serve its numbers to Prometheus at this address, as `http://ADDRESS:PORT/metrics`. Whoever reaches it may read it.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Only look whether these options can be used, and end.
    #[arg(long)]
    check: bool,
    /// End when the process that started this one does: for demos and tests.
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// A command line with the options of the table `[recorder]` in the place of `--config FILE[#SHARD]`.
pub(crate) fn with_config(given: Vec<OsString>) -> Result<Vec<OsString>, OptionsError> {
    let options = ring0_config::Options {
        command: &Args::augment_args(Command::new("ring0 record")),
        table: "recorder",
        of_a_start: &["seconds", "release", "json", "check"],
        in_place_of_market: &["mq", "pin-root", "interface"],
    };
    options.insert(given)
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if args.check {
        println!("these options can be used");
        return Ok(());
    }
    if args.with_parent {
        end_with_parent();
    }
    let ring = RecordRing::open(&args.shard.place()?)?;
    let times = Times::new()?;
    let _scrape = args.metrics.map(|at| times.serve(at, &ring)).transpose()?;
    if let Some(folder) = &args.journal {
        let mut recorder = Recorder::with_sink(&ring, |identity, first| {
            let disk = TimedDisk(times.clone());
            Journal::open_in(disk, folder, &identity, first, Options::default())
                .map_err(|error| MqError::Sink(Box::new(error)))
        })
        .map_err(journal_error)?;
        let cut = recorder.sink().cut_bytes();
        let covered = args.remove.then(|| verified_snapshots(folder.clone()));
        // After a failure nothing is written and the ring goes on waiting: what it has is on no disk.
        record(args, &mut recorder, cut, |journal| {
            let Some(covered) = covered.as_ref().and_then(|it| it.try_recv().ok()) else {
                return Ok(());
            };
            let removed = journal.remove_below(covered.next_sequence(), &covered)?;
            if removed.segments != 0 {
                eprintln!(
                    "ring0 record: removed {} segments, {} bytes, which {} has seen",
                    removed.segments,
                    removed.bytes,
                    covered.path().display()
                );
            }
            Ok(())
        })?;
        end(args, recorder).close()?;
        return Ok(());
    }
    let Some(out) = &args.out else {
        Consumer::required(&ring, CONSUMER)?.release();
        eprintln!("ring0 record: released; the ring no longer waits for a recorder");
        return Ok(());
    };
    let mut recorder = Recorder::open(&ring, out)?;
    let cut = recorder.sink().cut_bytes();
    record(args, &mut recorder, cut, |_| Ok(()))?;
    end(args, recorder);
    Ok(())
}

/// Verifies each new snapshot of a folder, on a thread that ends with the process: it takes a second for a million orders, and the
/// ring does not wait so long for its recorder.
fn verified_snapshots(folder: PathBuf) -> mpsc::Receiver<VerifiedSnapshot> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut seen = 0;
        loop {
            let newest = snapshots(&folder).ok().and_then(|mut all| all.pop());
            if let Some((sequence, path)) = newest.filter(|(sequence, _)| *sequence > seen) {
                seen = sequence;
                match VerifiedSnapshot::verify(&path) {
                    Ok(covered) => {
                        if sender.send(covered).is_err() {
                            return;
                        }
                    }
                    Err(error) => eprintln!("ring0 record: nothing is removed: {error}"),
                }
            }
            std::thread::sleep(BETWEEN);
        }
    });
    receiver
}

/// Records until it is told to stop, and does `between` every second; what opening cut off is said.
fn record<S: Sink>(
    args: &Args,
    recorder: &mut Recorder<S>,
    cut: u64,
    mut between: impl FnMut(&mut S) -> Result<(), Fail>,
) -> Result<(), Fail> {
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
    let must_stop = || stop.load(Ordering::Acquire) || end.is_some_and(|end| Instant::now() >= end);
    let mut slots = 0;
    loop {
        let pause = Instant::now() + BETWEEN;
        let mut is_last = false;
        slots += recorder
            .run(&mut || {
                is_last = must_stop();
                is_last || Instant::now() >= pause
            })
            .map_err(journal_error)?;
        between(recorder.sink_mut())?;
        if let Some(slot) = recorder.ended() {
            eprintln!(
                "ring0 record: the shard moved to another capacity at slot {slot}; everything before it is in {name}, go on with a new one: `ring0 record --market FILE --journal DIR` as `ring0 ctl migrate` was given them"
            );
            break;
        }
        if is_last {
            break;
        }
    }
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
