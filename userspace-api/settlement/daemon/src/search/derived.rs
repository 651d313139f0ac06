//! The facts that the daemon's own journal leads to, beside those that the ledger's journal has.

use super::First;
use crate::book::Book;
use crate::config::Config;
use crate::entry::Entry;
use crate::events::Told;
use ring0_hashlog::verify;
use ring0_settlement::journal::JournalError;
use ring0_settlement::{Fact, FactReader};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Facts that wait for the comparison.
const AHEAD: usize = 1_024;

/// What the daemon's journal comes to.
pub(super) struct Derived {
    pub(super) book: Book,
    /// By hub: what its chain told, in order; what a reorganisation took back is not in it.
    pub(super) told: Vec<Vec<Told>>,
}

/// Why the comparison ended early.
enum Stop {
    Differs(First),
    Journal(JournalError),
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Stop {
        Stop::Journal(error)
    }
}

/// Compares the facts up to a number, one by one; the first that differs is the inner error.
pub(super) fn compare(
    config: &Config,
    facts: &FactReader,
    until: u64,
) -> Result<Result<Derived, First>, String> {
    thread::scope(|scope| {
        let (to, from) = sync_channel(AHEAD);
        let deriving = scope.spawn(move || {
            derive(config, |number, fact| {
                // The other side has found what it looked for.
                let _ = (number <= until).then(|| to.send(fact));
            })
        });
        let compared = beside(facts, until, &from);
        drop(from);
        let derived = deriving.join();
        let derived = derived.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match compared {
            Ok(()) => derived.map(Ok),
            Err(Stop::Differs(first)) => Ok(Err(first)),
            Err(Stop::Journal(error)) => Err(error.to_string()),
        }
    })
}

fn beside(facts: &FactReader, until: u64, derived: &Receiver<Fact>) -> Result<(), Stop> {
    facts.read(1..=until, |entry| {
        let derived = derived.recv().ok();
        if derived.as_ref() == Some(&entry.fact) {
            return Ok(());
        }
        let text =
            |fact: &Fact| serde_json::to_string(fact).unwrap_or_else(|_| format!("{fact:?}"));
        Err(Stop::Differs(First::Fact {
            number: entry.number,
            journal: text(&entry.fact),
            derived: derived.as_ref().map_or("nothing".to_owned(), text),
        }))
    })
}

/// Reads the journal as a start does. `take` gets each fact with its number.
fn derive(config: &Config, mut take: impl FnMut(u64, Fact)) -> Result<Derived, String> {
    let mut book = Book::new(config);
    let mut told: Vec<Vec<Told>> = vec![Vec::new(); config.hubs.len()];
    let (mut number, mut wrong) = (0, None);
    verify::<Entry>(&config.store.join("settled.log"), |entry| {
        if wrong.is_some() {
            return;
        }
        wrong = book.apply(&entry).err();
        for fact in book.take_facts() {
            number += 1;
            take(number, fact);
        }
        match entry {
            Entry::Advanced { hub, told: new, .. } => told[hub as usize].extend(new),
            Entry::Reorganised { hub, height } => {
                told[hub as usize].retain(|it| it.height <= height);
            }
            _ => {}
        }
    })
    .map_err(|error| error.to_string())?;
    match wrong {
        None => Ok(Derived { book, told }),
        Some(wrong) => Err(format!("settled.log does not follow: {wrong}")),
    }
}
