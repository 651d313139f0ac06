//! Reporting: batches, lines, books and fees as a script for PostgreSQL's `psql`. The schema is `docs/settlement.md#export`.
//!
//! The script is one transaction and may be run again: what it says of a batch replaces what was there. Nothing is read back: the ledger is never made from
//! a database. Why a script: `docs/decisions/0080-export.md`.

use crate::fact::Fact;
use crate::id::Epoch;
use crate::journal::JournalError;
use crate::line::Source;
use crate::settlement::Settlement;
use crate::store::StoreError;
use std::fmt::Display;
use std::io::{self, Write};

/// Makes the tables where they are not there.
pub const SCHEMA: &str = include_str!("export.sql");

/// What was written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Exported {
    /// Batches.
    pub batches: u64,
    /// Lines of statements.
    pub lines: u64,
    /// Books that are not empty.
    pub books: u64,
}

/// Why the script is not whole: it must not be run then; it does not commit.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The facts' journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Where the script goes.
    #[error(
        "the export cannot be written: {0}; write it to a disk with room, or to a psql that runs"
    )]
    Write(#[from] io::Error),
}

/// Writes the script for the batches from `from` on: with 1 all of them; later exports begin behind the last epoch of the table `ring0.batch`.
///
/// # Errors
/// See [`ExportError`].
pub fn script(
    settlement: &mut Settlement,
    from: Epoch,
    out: &mut dyn Write,
) -> Result<Exported, ExportError> {
    settlement.flush()?;
    let (ledger, store) = (settlement.ledger(), settlement.store());
    let mut exported = Exported::default();
    writeln!(out, "BEGIN;\n{SCHEMA}")?;
    writeln!(out, "DELETE FROM ring0.line WHERE epoch >= {};", from.0)?;
    writeln!(out, "DELETE FROM ring0.closing WHERE epoch >= {};", from.0)?;
    writeln!(out, "DELETE FROM ring0.batch WHERE epoch >= {};", from.0)?;
    // What stands now, not batch by batch.
    writeln!(
        out,
        "DELETE FROM ring0.book;\nDELETE FROM ring0.fee;\nDELETE FROM ring0.asset;"
    )?;

    copy(out, "asset (asset, name, decimals, unit_exponent)")?;
    for (asset, terms) in ledger.venue().asset_ids().zip(ledger.venue().assets()) {
        let name = escaped(&terms.name);
        row(
            out,
            &[&asset.0, &name, &terms.decimals, &terms.unit_exponent],
        )?;
    }
    end(out)?;

    copy(out, "batch (epoch, time_ns, at, fact)")?;
    settlement.facts().read(1, |entry| {
        if let Fact::Cut { epoch, time_ns, .. } = entry.fact
            && epoch >= from
        {
            let at: Vec<String> = entry.at.iter().map(u64::to_string).collect();
            let at = format!("{{{}}}", at.join(","));
            row(out, &[&epoch.0, &time_ns, &at, &entry.number])?;
            exported.batches += 1;
        }
        Ok::<(), ExportError>(())
    })?;
    end(out)?;

    let columns =
        "line (epoch, account, ordinal, asset, kind, counts, amount, shard, record, fact)";
    copy(out, columns)?;
    store.all_lines(from.0..=ledger.epoch().0, |account| {
        for (ordinal, line) in account.lines.iter().enumerate() {
            let none = || "\\N".to_owned();
            let (shard, record, fact) = match line.source {
                Source::Batch => (none(), none(), none()),
                Source::Record { shard, sequence } => {
                    (shard.to_string(), sequence.to_string(), none())
                }
                Source::Fact(number) => (none(), none(), number.to_string()),
            };
            row(
                out,
                &[
                    &account.epoch.0,
                    &account.account.0,
                    &ordinal,
                    &line.asset.0,
                    &line.kind.name(),
                    &line.kind.counts(),
                    &line.amount,
                    &shard,
                    &record,
                    &fact,
                ],
            )?;
            exported.lines += 1;
        }
        Ok::<(), ExportError>(())
    })?;
    end(out)?;

    copy(out, "closing (epoch, account, asset, balance)")?;
    store.all_lines(from.0..=ledger.epoch().0, |account| {
        for closing in &account.closing {
            let (asset, balance) = (closing.asset.0, closing.balance);
            row(
                out,
                &[&account.epoch.0, &account.account.0, &asset, &balance],
            )?;
        }
        Ok::<(), ExportError>(())
    })?;
    end(out)?;

    copy(out, "book (book, class, account, asset, amount)")?;
    for (book, asset, amount) in ledger.books() {
        let name = serde_json::to_string(&book).map_err(io::Error::from)?;
        let class = format!("{:?}", book.class()).to_lowercase();
        let account = book
            .account()
            .map_or("\\N".to_owned(), |it| it.0.to_string());
        row(out, &[&escaped(&name), &class, &account, &asset.0, &amount])?;
        exported.books += 1;
    }
    end(out)?;

    copy(
        out,
        "fee (shard, schedule, instrument, since, asset, maker_ppm, taker_ppm, part, amount)",
    )?;
    for (schedule, part, amount) in ledger.fees() {
        let part = format!("{part:?}").to_lowercase();
        row(
            out,
            &[
                &schedule.shard.0,
                &schedule.number,
                &schedule.instrument,
                &schedule.since,
                &schedule.asset.0,
                &schedule.maker_ppm,
                &schedule.taker_ppm,
                &part,
                &amount,
            ],
        )?;
    }
    end(out)?;
    writeln!(out, "COMMIT;")?;
    out.flush()?;
    Ok(exported)
}

fn copy(out: &mut dyn Write, columns: &str) -> io::Result<()> {
    writeln!(out, "COPY ring0.{columns} FROM stdin;")
}

fn row(out: &mut dyn Write, values: &[&dyn Display]) -> io::Result<()> {
    for (at, value) in values.iter().enumerate() {
        let tab = if at == 0 { "" } else { "\t" };
        write!(out, "{tab}{value}")?;
    }
    writeln!(out)
}

fn end(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\\.")
}

/// Text as `COPY` reads it.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\t', "\\t");
    text.replace('\n', "\\n").replace('\r', "\\r")
}
