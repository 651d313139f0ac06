//! `ring0 channel export`: one self-contained file from the places where states are kept.

use crate::fail::Fail;
use ring0_channels::exit_file::ExitFile;
use ring0_channels::keep;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder where states are kept; the newest of all folders counts.
    #[arg(long, required = true, value_name = "DIR")]
    keep: Vec<PathBuf>,
    /// Base URL of the operator or of a tower, which an exit asks for newer states.
    #[arg(long, value_name = "URL")]
    ask: Vec<String>,
    /// The file; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    let (holdings, damaged) = keep::newest(&args.keep)?;
    for one in &damaged {
        eprintln!("ring0: {} is left out: {}", one.path.display(), one.why);
    }
    if holdings.is_empty() {
        return Err(Fail::new(
            "no state of any channel is kept there; name the folders that the trader's client keeps its states in",
        ));
    }
    let count = holdings.len();
    let file = ExitFile::new(super::now(), args.ask.clone(), holdings);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .and_then(|mut out| {
            out.write_all(file.text().as_bytes())?;
            out.sync_all()
        });
    written.map_err(|why| {
        Fail::new(format!(
            "{}: {why}; name a file that is not there yet",
            args.out.display()
        ))
    })?;
    // What was written is what would be read.
    ExitFile::read(&args.out)?;
    println!("{}: {count} channels", args.out.display());
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(Fail::new(
            "the file is written without what could not be read; compare the copies",
        )),
    }
}
