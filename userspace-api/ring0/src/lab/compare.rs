//! `ring0 lab compare`: what changed from one result to another beyond noise.

use crate::fail::Fail;
use ring0_laboratory::compare::{Comparison, Verdict, compare};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The first result: the folder of a run, or its result.json.
    before: PathBuf,
    /// The second.
    after: PathBuf,
    /// Least relative difference that counts, in percent.
    #[arg(long, default_value_t = 2.0)]
    threshold: f64,
    /// Name figures that have not changed, too.
    #[arg(long)]
    all: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Fail> {
    if !(0.0..1_000.0).contains(&args.threshold) {
        return Err(Fail::new("--threshold is not 0 to 1000 percent"));
    }
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let comparison = compare(&before, &after, args.threshold / 100.0);
    if comparison.differences.is_empty() {
        return Err(Fail::new(
            "the results have no figure in common; compare two runs of one scenario",
        ));
    }
    if args.json {
        println!(
            "{}",
            serde_json::to_string(&comparison).expect("plain data is JSON")
        );
    } else {
        print!("{}", table(&comparison, args.all));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Value, Fail> {
    let file = match path.is_dir() {
        true => path.join("result.json"),
        false => path.to_owned(),
    };
    let failed = |error: &dyn std::fmt::Display| {
        Fail::new(format!(
            "{}: {error}; give what `ring0 lab run` wrote",
            file.display()
        ))
    };
    let text = std::fs::read_to_string(&file).map_err(|error| failed(&error))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    match value["format"].as_str() {
        Some("ring0-lab/1") => Ok(value),
        other => Err(failed(&format!("its format is {other:?}, not ring0-lab/1"))),
    }
}

fn table(comparison: &Comparison, all: bool) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    // Into a string: does not fail.
    for words in &comparison.conditions {
        let _ = writeln!(text, "not the same: {words}");
    }
    let changed = |verdict| matches!(verdict, Verdict::Better | Verdict::Worse);
    let shown = comparison.differences.iter();
    let shown: Vec<_> = shown.filter(|it| all || changed(it.verdict)).collect();
    if !shown.is_empty() {
        let _ = writeln!(
            text,
            "{:<64}{:>14}{:>14}{:>9}{:>8}",
            "", "before", "after", "change", "chance"
        );
    }
    for it in shown {
        let verdict = match it.verdict {
            Verdict::Better => "better",
            Verdict::Worse => "WORSE",
            Verdict::Same => "same",
            Verdict::TooFewRounds => "too few rounds",
        };
        let _ = writeln!(
            text,
            "{:<64}{:>14.2}{:>14.2}{:>8.1}%{:>8.3}  {verdict} ({})",
            it.figure,
            it.before,
            it.after,
            it.relative * 100.0,
            it.chance,
            it.unit
        );
    }
    let count = |verdict: Verdict| {
        let of = comparison.differences.iter();
        of.filter(|it| it.verdict == verdict).count()
    };
    let figures = comparison.differences.len();
    let _ = writeln!(
        text,
        "{figures} figures: {} better, {} worse, {} within noise, {} with too few rounds; by chance alone about {:.0} would have been called changed",
        count(Verdict::Better),
        count(Verdict::Worse),
        count(Verdict::Same),
        count(Verdict::TooFewRounds),
        figures as f64 * ring0_laboratory::compare::CHANCE_MAX
    );
    for name in &comparison.only_one {
        let _ = writeln!(text, "only in one: {name}");
    }
    text
}
