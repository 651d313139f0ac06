//! `ring0 lab`: the laboratory for researchers. Method: `docs/research.md`.

mod pcap;

use crate::fail::Fail;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: LabVerb,
}

#[derive(clap::Subcommand)]
enum LabVerb {
    /// Capture a ring's traffic for Wireshark (`docs/l2e1.lua` reads it), and send a capture again.
    #[command(subcommand)]
    Pcap(pcap::PcapVerb),
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    match &args.verb {
        LabVerb::Pcap(verb) => pcap::run(verb),
    }
}
