//! The ledger made anew from the journals alone, and the step behind which something of it first goes wrong.
//!
//! Always true: what is made so is a function of the journals up to a fact, and of nothing that a store has. Memory: that of a ledger.

use crate::fact::Refused;
use crate::id::{AssetId, PeerId};
use crate::journal::FactReader;
use crate::ledger::Ledger;
use crate::settlement::{Records, SettlementError};
use crate::venue::Venue;
use std::ops::ControlFlow;

/// What a ledger takes at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A record of a shard, by its sequence.
    Record(PeerId, u64),
    /// A fact, by its number.
    Fact(u64),
}

/// A figure that is not what it has to be, and the step behind which it began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wrong {
    /// The step.
    pub step: Step,
    /// One side.
    pub left: i128,
    /// The other.
    pub right: i128,
}

/// Why a walk ended before the journals did.
enum Stop {
    Asked,
    Error(SettlementError),
}

impl<E: Into<SettlementError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Error(error.into())
    }
}

/// Gives a ledger what the journals have beyond it, up to a fact: each fact behind the records that it stood behind. `step` is told of each, and may end it.
/// The readers stand at or before the record behind [`Ledger::at`], one a shard in the order of the venue's.
///
/// # Errors
/// See [`SettlementError`].
pub(crate) fn follow(
    ledger: &mut Ledger,
    facts: &FactReader,
    until: u64,
    readers: &mut [&mut dyn Records],
    mut step: impl FnMut(&mut Ledger, Step) -> Result<ControlFlow<()>, SettlementError>,
) -> Result<ControlFlow<()>, SettlementError> {
    let shards = ledger.venue().shards();
    let shards: Vec<PeerId> = shards.iter().map(|it| it.number).collect();
    if readers.len() != shards.len() {
        return Err(SettlementError::Readers {
            given: readers.len(),
            shards: shards.len(),
        });
    }
    let mut tell = |ledger: &mut Ledger, it| match step(ledger, it) {
        Ok(ControlFlow::Continue(())) => Ok(()),
        Ok(ControlFlow::Break(())) => Err(Stop::Asked),
        Err(error) => Err(Stop::Error(error)),
    };
    let walked = facts.read(ledger.facts() + 1..=until, |entry| {
        for (index, reader) in readers.iter_mut().enumerate() {
            let wanted = entry.at.get(index).copied().unwrap_or(0);
            while ledger.at_of(index) < wanted {
                let Some(record) = reader.next()? else {
                    return Err(Stop::Error(SettlementError::RecordsMissing {
                        fact: entry.number,
                        shard: shards[index],
                        wanted,
                        taken: ledger.at_of(index),
                    }));
                };
                ledger.take(shards[index], record)?;
                tell(ledger, Step::Record(shards[index], ledger.at_of(index)))?;
            }
        }
        ledger.apply(&entry)?;
        tell(ledger, Step::Fact(entry.number))
    });
    match walked {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(Stop::Asked) => Ok(ControlFlow::Break(())),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// The ledger of the journals up to a fact. `look` sees it behind each step, with the number of steps until then.
///
/// # Errors
/// See [`SettlementError`].
pub fn rebuild(
    venue: &Venue,
    facts: &FactReader,
    until: u64,
    readers: &mut [&mut dyn Records],
    mut look: impl FnMut(&Ledger, Step, u64) -> ControlFlow<()>,
) -> Result<Ledger, SettlementError> {
    let (mut ledger, mut steps) = (Ledger::new(venue.clone()), 0);
    let ended = follow(&mut ledger, facts, until, readers, |ledger, step| {
        ledger.fresh.clear(); // lines are for statements, and nobody keeps these
        steps += 1;
        Ok(look(ledger, step, steps))
    })?;
    if ended.is_continue() && ledger.facts() < until {
        return Err(SettlementError::Refused(Refused::Number {
            what: "the last fact of the journal".to_owned(),
            expected: until,
            given: ledger.facts(),
        }));
    }
    Ok(ledger)
}

/// The first step behind `good` (a number of steps after which nothing was wrong) behind which `wrong` gives two sides that differ.
///
/// # Errors
/// See [`SettlementError`].
pub fn step_behind(
    venue: &Venue,
    facts: &FactReader,
    until: u64,
    readers: &mut [&mut dyn Records],
    good: u64,
    mut wrong: impl FnMut(&Ledger) -> Option<(i128, i128)>,
) -> Result<Option<Wrong>, SettlementError> {
    let mut found = None;
    rebuild(venue, facts, until, readers, |ledger, step, steps| {
        if steps > good
            && let Some((left, right)) = wrong(ledger)
        {
            found = Some(Wrong { step, left, right });
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Whether the ledger by itself is wrong about an asset, and by what: accounts added up against control totals, or what is owed to all against what is
/// held. Postings that sum to zero keep both equal.
#[must_use]
pub fn imbalance(ledger: &Ledger, asset: AssetId) -> Option<(i128, i128)> {
    let at = asset.0 as usize;
    let (sum, control) = (ledger.sums()[at], ledger.control()[at]);
    let owed = control + ledger.operator(asset);
    let held = -ledger.holdings(asset);
    match (sum == control, owed == held) {
        (false, _) => Some((sum, control)),
        (_, false) => Some((owed, held)),
        _ => None,
    }
}
