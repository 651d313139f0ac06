//! `ring0 gen`: a LOBSTRM1 stream from a seed.

use crate::fail::Fail;
use ring0_stream::lobstrm::{self, RECORDS_MAX, SYMBOLS_MAX};
use std::path::PathBuf;

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
    }
    Ok(())
}
