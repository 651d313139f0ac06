//! `ring0 lab`: the laboratory for researchers. Method: `docs/research.md`.

mod compare;
mod measure;
mod pcap;
mod progress;
mod run;
mod venue;

use crate::fail::Fail;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: LabVerb,
}

#[derive(clap::Subcommand)]
enum LabVerb {
    /// Run a scenario: measure, and write the result, its report and plots into a folder.
    Run(run::Args),
    /// Say what changed from one result to another beyond noise.
    Compare(compare::Args),
    /// Capture a ring's traffic for Wireshark (`docs/l2e1.lua` reads it), and send a capture again.
    #[command(subcommand)]
    Pcap(pcap::PcapVerb),
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    match &args.verb {
        LabVerb::Run(args) => run::run(args),
        LabVerb::Compare(args) => compare::run(args),
        LabVerb::Pcap(verb) => pcap::run(verb),
    }
}
