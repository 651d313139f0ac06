//! `ring0 replay`: order flow from files through a ring, compared with what it must come to.

mod lobster;
mod stream;

use crate::fail::Fail;
use ring0_drive::ThreadRing;
use ring0_engine::canon::{Hasher, Listing, StateHash, Tag};
use serde_json::Value;
use std::path::PathBuf;

/// Where the engine runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum RingName {
    /// In the kernel, loaded for this replay over a veth pair of its own.
    Kernel,
    /// In a thread behind AF_XDP sockets, over a veth pair of its own.
    Afxdp,
    /// In a thread behind a DPDK device, over a veth pair of its own.
    Dpdk,
    /// In a thread behind a UDP socket on loopback.
    Udp,
    /// In this process.
    Native,
    /// The naive reference book, in this process.
    Reference,
}

impl RingName {
    fn name(self) -> &'static str {
        match self {
            RingName::Kernel => "kernel",
            RingName::Afxdp => "afxdp",
            RingName::Dpdk => "dpdk",
            RingName::Udp => "udp",
            RingName::Native => "native",
            RingName::Reference => "reference",
        }
    }

    /// The ring in a thread that it names, if so.
    fn thread(self) -> Option<ThreadRing> {
        match self {
            RingName::Afxdp => Some(ThreadRing::Afxdp),
            RingName::Dpdk => Some(ThreadRing::Dpdk),
            RingName::Udp => Some(ThreadRing::Udp),
            RingName::Kernel | RingName::Native | RingName::Reference => None,
        }
    }
}

/// Hash of a state without what a clock wrote, so that rings with different clocks can be compared; `list` lists the state.
fn timeless(list: impl FnOnce(&mut Timeless)) -> StateHash {
    let mut listing = Timeless::default();
    list(&mut listing);
    listing.0.finish()
}

/// The listing without what a clock wrote, so that rings with different clocks can be compared.
#[derive(Default)]
struct Timeless(Hasher);

impl Listing for Timeless {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        let mut numbers = numbers.to_vec();
        match tag {
            Tag::Shard => numbers[0] = 0,   // venue time
            Tag::Session => numbers[7] = 0, // rate state
            _ => {}
        }
        self.0.item(tag, &numbers);
    }
}

/// Arguments.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("flow").required(true)))]
pub(crate) struct Args {
    /// Directory of a LOBSTER sample: two traders' packets, the book compared after every row.
    #[arg(long, group = "flow", value_name = "DIR")]
    lobster: Option<PathBuf>,
    /// A LOBSTRM1 stream: its trades compared with what its header says.
    #[arg(long, group = "flow", value_name = "FILE")]
    stream: Option<PathBuf>,
    /// Where the engine runs.
    #[arg(long, value_enum, default_value_t = RingName::Native)]
    ring: RingName,
    /// A stream through the kernel goes over the veth pair, not by test-run. A LOBSTER sample always does.
    #[arg(long)]
    wire: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if args.wire && args.ring != RingName::Kernel {
        return Err(Fail::new("--wire goes with --ring kernel"));
    }
    let (report, verdict) = match (&args.lobster, &args.stream) {
        (Some(dir), _) => lobster::run(dir, args.ring)?,
        (None, Some(file)) => stream::run(file, args.ring, args.wire)?,
        (None, None) => return Err(Fail::new("give --lobster DIR or --stream FILE")),
    };
    print(&report, args.json);
    verdict.map_or(Ok(()), |text| Err(Fail::disagreed(text)))
}

/// One object, or a line a field.
pub(crate) fn print(report: &Value, json: bool) {
    if json {
        println!("{report}");
        return;
    }
    for (name, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => println!("{name:24} {text}"),
            other => println!("{name:24} {other}"),
        }
    }
}
