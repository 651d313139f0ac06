//! Figures of the ledger as JSON: `ledger FOLDER [SECONDS] [BATCH-MS] [ACCOUNTS]`, in a folder of its own that is left behind empty.

use ring0_settlement::bench::{self, Options};
use std::path::PathBuf;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let folder = folder.ok_or("usage: ledger FOLDER [SECONDS] [BATCH-MS] [ACCOUNTS]")?;
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse::<u64>(),
        None => Ok(default),
    };
    let options = Options {
        time: Duration::from_secs(number(10)?),
        batch: Duration::from_millis(number(1_000)?),
        accounts: u32::try_from(number(10_000)?)?,
        ..Options::default()
    };
    let report = in_folder(&folder, |folder| bench::ledger(folder, &options))?;
    let traders = options.accounts.min(30_000);
    let netting = in_folder(&folder, |folder| bench::netting(folder, traders, 20, 1))?;
    let all = serde_json::json!({ "ledger": report, "netting": netting });
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

/// Runs it in a folder inside, which goes afterwards.
fn in_folder<T, E>(
    folder: &std::path::Path,
    run: impl FnOnce(&std::path::Path) -> Result<T, E>,
) -> Result<T, Box<dyn std::error::Error>>
where
    E: std::error::Error + 'static,
{
    let inside = folder.join("ring0-bench-ledger");
    std::fs::create_dir_all(&inside)?;
    let done = run(&inside);
    std::fs::remove_dir_all(&inside)?;
    Ok(done?)
}
