//! `ring0 gen`: a LOBSTRM1 stream from a seed, and the feed that a venue would publish of it.

use crate::fail::Fail;
use ring0_stream::lobstrm::{self, Derived, RECORDS_MAX, SYMBOLS_MAX, Stream};
use std::fmt::Display;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Equal seeds (and other arguments) make equal files.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Records of the mix, behind the prefill.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Orders that build the books first and are not timed.
    #[arg(long, default_value_t = 100_000)]
    prefill: u64,
    /// Symbols, 1 to 256.
    #[arg(long, default_value_t = 64)]
    symbols: u32,
    /// Also write the ITCH 5.0 feed that a venue would publish of the stream, as a BinaryFILE.
    #[arg(long, value_name = "FILE")]
    itch: Option<PathBuf>,
    /// Print what was written as one JSON object.
    #[arg(long)]
    json: bool,
    /// The file to write; one that is there is replaced.
    file: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if !(1..=SYMBOLS_MAX).contains(&args.symbols) {
        let symbols = args.symbols;
        return Err(Fail::new(format!(
            "--symbols {symbols} is not 1 to {SYMBOLS_MAX}"
        )));
    }
    let total = args.messages.checked_add(args.prefill);
    if total.is_none_or(|total| total > RECORDS_MAX) {
        return Err(Fail::new(format!(
            "--messages and --prefill together are above {RECORDS_MAX}, the most that a stream holds"
        )));
    }
    let stream = lobstrm::generate(args.seed, args.messages, args.prefill, args.symbols);
    stream.write(&args.file).map_err(Fail::new)?;
    let derived = match &args.itch {
        Some(path) => Some(write_itch(&stream, path)?),
        None => None,
    };
    let header = stream.header();
    let report = serde_json::json!({
        "file": args.file,
        "seed": args.seed,
        "records": header.records.get(),
        "prefill": header.prefill.get(),
        "symbols": args.symbols,
        "orders": header.max_order_id.get(),
        "peak_live": header.peak_live.get(),
        "trades": header.exp_trades.get(),
        "quantity": header.exp_qty.get(),
        "checksum": format!("{:#018x}", header.exp_checksum.get()),
        "live": header.exp_live.get(),
        "itch": args.itch,
        "itch_messages": derived.map(|derived| derived.messages),
    });
    if args.json {
        println!("{report}");
    } else {
        println!(
            "{}: {} records of {} symbols, seed {}: {} trades, quantity {}, checksum {:#018x}",
            args.file.display(),
            header.records,
            args.symbols,
            args.seed,
            header.exp_trades,
            header.exp_qty,
            header.exp_checksum.get()
        );
        if let (Some(path), Some(derived)) = (&args.itch, derived) {
            println!(
                "{}: {} messages of ITCH 5.0",
                path.display(),
                derived.messages
            );
        }
    }
    Ok(())
}

/// Writes the stream's feed.
fn write_itch(stream: &Stream, path: &Path) -> Result<Derived, Fail> {
    let failed = |error: &dyn Display| Fail::new(format!("{}: {error}", path.display()));
    let file = File::create(path).map_err(|error| failed(&error))?;
    stream
        .write_itch(BufWriter::new(file))
        .map_err(|error| failed(&error))
}
