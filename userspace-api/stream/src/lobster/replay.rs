//! A sample driven through a ring, compared row by row with what the exchange showed.
//!
//! Two traders: one's orders rest, the other takes. The book that the sample begins with, and
//! whatever changed while it was below the tenth level, have no rows of their own; **anonymous**
//! orders stand for them, ahead in time of the orders that rows name.
//!
//! What is always true between rows: the replay's account of the ring has exactly the orders that it
//! entered less what was cancelled and filled, oldest first at each price; references rise from 1,
//! per trader, without a gap. The account follows the fills that the ring reports and predicts none:
//! which order a fill should have hit is compared, never corrected.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;

use super::{Kind, LEVELS, Level, Resting, Sample, Snapshot, better};
use crate::Side;

/// Who sends an order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Trader {
    /// Its orders rest.
    A,
    /// Its orders take, and what does not fill is cancelled.
    B,
}

/// One trade, as the ring reports it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fill {
    /// Reference of the resting order, trader A's.
    pub maker: u32,
    /// Reference of the incoming order.
    pub taker: u32,
    /// Wire price.
    pub price_wire: u32,
    /// Shares.
    pub shares: u32,
}

/// The ring under test, with one instrument and two sessions, its book empty.
///
/// A reject is an error here: the replay sends nothing that a right ring refuses.
pub trait Book {
    /// What can go wrong between the replay and the ring.
    type Error: std::error::Error + 'static;

    /// Enters a limit order, for the day or (`ioc`) immediate-or-cancel. Returns all of its fills in
    /// order, also those of continuations.
    ///
    /// # Errors
    /// The ring refused the order or could not be reached.
    fn enter(
        &mut self,
        trader: Trader,
        reference: u32,
        side: Side,
        price_wire: u32,
        shares: u32,
        ioc: bool,
    ) -> Result<Vec<Fill>, Self::Error>;

    /// Takes `shares` off an order, fewer than it has open.
    ///
    /// # Errors
    /// The ring refused or could not be reached.
    fn reduce(&mut self, trader: Trader, reference: u32, shares: u32) -> Result<(), Self::Error>;

    /// Cancels an order.
    ///
    /// # Errors
    /// The ring refused or could not be reached.
    fn cancel(&mut self, trader: Trader, reference: u32) -> Result<(), Self::Error>;

    /// The best levels of a side, best first, at most so many: `(wire price, shares)`.
    ///
    /// # Errors
    /// The book could not be read.
    fn depth(&mut self, side: Side, levels: usize) -> Result<Vec<(u32, u32)>, Self::Error>;
}

/// A replay stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError<E: std::error::Error + 'static> {
    /// The ring refused an order or could not be reached.
    #[error("{}:{line}: the ring failed: {source}; see what it says about itself", path.display())]
    Ring {
        /// The message file.
        path: PathBuf,
        /// Line of the event, from 1.
        line: usize,
        /// What the ring said.
        source: E,
    },
    /// The ring reported a fill that cannot be: of an order that does not rest, of too many shares, or of
    /// another incoming order.
    #[error("{}:{line}: the ring reported {fill:?}, but trader A has no such order resting; its book is wrong, compare with `--ring reference`", path.display())]
    Impossible {
        /// The message file.
        path: PathBuf,
        /// Line of the event, from 1.
        line: usize,
        /// The fill.
        fill: Fill,
    },
    /// The sample enters an order whose number is in use.
    #[error("{}:{line}: order {id} enters a second time while it rests; fetch the sample anew", path.display())]
    EntersTwice {
        /// The message file.
        path: PathBuf,
        /// Line of the event, from 1.
        line: usize,
        /// The order.
        id: u64,
    },
}

/// What one row came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Line of the event, from 1.
    pub line: usize,
    /// Best bid and ask, price and shares, equal the snapshot's.
    pub bbo_equal: bool,
    /// All twenty levels equal it, before a level was re-seeded.
    pub levels_equal: bool,
    /// The ring's levels are those of the replay's account. They differ only when the ring is wrong.
    pub account_equal: bool,
    /// Levels that had to be re-seeded.
    pub reseeded: u32,
    /// The execution, if the row was one.
    pub execution: Option<Execution>,
}

/// Which order an execution hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Execution {
    /// The order that the row names, at the best price and the oldest there.
    ById,
    /// An anonymous order that stands for the one named, at the best price and the oldest there.
    BySeed,
    /// Another one, at another price, or for another quantity.
    OutOfPriority,
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Rows replayed.
    pub rows: u64,
    /// Rows after which best bid and ask were equal, price and shares.
    pub bbo_equal: u64,
    /// Rows after which all twenty levels were equal, before re-seeding.
    pub levels_equal: u64,
    /// Rows after which the ring's levels were those of the replay's account: all, in a right ring.
    pub account_equal: u64,
    /// Levels re-seeded.
    pub reseeded: u64,
    /// Executions of visible orders.
    pub executions: u64,
    /// Executions that hit the best price and the oldest order there: `by_id + by_seed`.
    pub executions_in_priority: u64,
    /// Executions that hit the very order that the row names.
    pub by_id: u64,
    /// Executions that hit an anonymous order that stands for it.
    pub by_seed: u64,
    /// Rows that leave the visible book as it is: hidden executions, auctions, halts.
    pub no_order: u64,
    /// Reductions and deletions of an order that neither a row nor an anonymous order explains.
    pub unexplained: u64,
    /// Line of the first row whose best bid or ask differed, 0 if none.
    pub first_bbo_difference: usize,
}

/// An order that rests, as the replay knows it.
#[derive(Clone, Copy, Debug)]
struct Known {
    reference: u32,
    shares: u32,
    /// Number in the sample; `None` for an anonymous order.
    id: Option<u64>,
}

type Queue = VecDeque<Known>;

/// The replay: one row at a time.
#[derive(Debug)]
pub struct Replay<'a> {
    sample: &'a Sample,
    /// Rows done.
    done: usize,
    seeded: bool,
    /// By side and wire price: the orders there, oldest first; never an empty level.
    levels: [BTreeMap<u32, Queue>; 2],
    /// Where the orders with a number rest.
    ids: HashMap<u64, (Side, u32)>,
    /// Last reference of each trader.
    references: [u32; 2],
    report: Report,
}

impl<'a> Replay<'a> {
    /// A replay that has sent nothing.
    #[must_use]
    pub fn new(sample: &'a Sample) -> Self {
        Self {
            sample,
            done: 0,
            seeded: false,
            levels: Default::default(),
            ids: HashMap::new(),
            references: [0; 2],
            report: Report::default(),
        }
    }

    /// Replays all rows that are left.
    ///
    /// # Errors
    /// The ring failed or reported what cannot be.
    pub fn run<B: Book>(mut self, book: &mut B) -> Result<Report, ReplayError<B::Error>> {
        while self.row(book)?.is_some() {}
        Ok(self.report)
    }

    /// What it came to so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Replays the next row; before the first it seeds the book. `None` after the last.
    ///
    /// # Errors
    /// The ring failed or reported what cannot be. The replay cannot go on after that.
    pub fn row<B: Book>(&mut self, book: &mut B) -> Result<Option<Outcome>, ReplayError<B::Error>> {
        let sample = self.sample;
        let Some(event) = sample.events.get(self.done) else {
            return Ok(None);
        };
        let snapshot = &sample.snapshots[self.done];
        if !self.seeded {
            self.seed(book)?;
            self.seeded = true;
        }
        let mut outcome = Outcome {
            line: self.done + 1,
            ..Outcome::default()
        };
        match event.kind {
            Kind::Enter(order) => self.enter_named(book, order)?,
            Kind::Reduce(order) | Kind::Delete(order) => self.take_off(book, event.kind, order)?,
            Kind::Execute(order) => outcome.execution = Some(self.execute(book, order)?),
            Kind::Hidden | Kind::Auction | Kind::Halt => self.report.no_order += 1,
        }
        self.compare(book, snapshot, &mut outcome)?;
        if !outcome.levels_equal {
            outcome.reseeded = self.reseed(book, snapshot)?;
        }
        self.done += 1;
        self.count(&outcome);
        Ok(Some(outcome))
    }

    fn count(&mut self, outcome: &Outcome) {
        let report = &mut self.report;
        report.rows += 1;
        report.bbo_equal += u64::from(outcome.bbo_equal);
        report.levels_equal += u64::from(outcome.levels_equal);
        report.account_equal += u64::from(outcome.account_equal);
        report.reseeded += u64::from(outcome.reseeded);
        report.executions += u64::from(outcome.execution.is_some());
        match outcome.execution {
            Some(Execution::ById) => report.by_id += 1,
            Some(Execution::BySeed) => report.by_seed += 1,
            Some(Execution::OutOfPriority) | None => {}
        }
        report.executions_in_priority = report.by_id + report.by_seed;
        if !outcome.bbo_equal && report.first_bbo_difference == 0 {
            report.first_bbo_difference = outcome.line;
        }
    }

    /// One anonymous order per level of the first snapshot without the first event.
    fn seed<B: Book>(&mut self, book: &mut B) -> Result<(), ReplayError<B::Error>> {
        let first = &self.sample.snapshots[0];
        let kind = self.sample.events[0].kind;
        for side in Side::BOTH {
            let of = |level: &Level| (level.price_wire, level.shares);
            let mut levels: BTreeMap<u32, u32> = first.levels(side).iter().map(of).collect();
            if let Some(order) = kind.resting().filter(|order| order.side == side) {
                let shares = levels.entry(order.price_wire).or_default();
                *shares = match kind {
                    Kind::Enter(_) => shares.saturating_sub(order.shares),
                    _ => shares.saturating_add(order.shares),
                };
            }
            for (price, shares) in levels.into_iter().filter(|&(_, shares)| shares > 0) {
                self.enter(book, side, price, shares, None)?;
            }
        }
        Ok(())
    }

    fn enter_named<B: Book>(
        &mut self,
        book: &mut B,
        order: Resting,
    ) -> Result<(), ReplayError<B::Error>> {
        if self.ids.contains_key(&order.id) {
            let (path, line) = self.place();
            return Err(ReplayError::EntersTwice {
                path,
                line,
                id: order.id,
            });
        }
        self.enter(
            book,
            order.side,
            order.price_wire,
            order.shares,
            Some(order.id),
        )
    }

    /// A part or the whole of an order goes: of the named one, else of the anonymous ones at its price.
    fn take_off<B: Book>(
        &mut self,
        book: &mut B,
        kind: Kind,
        order: Resting,
    ) -> Result<(), ReplayError<B::Error>> {
        let Resting {
            id,
            shares,
            price_wire,
            side,
        } = order;
        if self.ids.get(&id) == Some(&(side, price_wire)) {
            let queue = &self.levels[side.index()][&price_wire];
            let known = queue.iter().find(|known| known.id == Some(id));
            let known = *known.expect("a numbered order rests where it is said to");
            let shares = if matches!(kind, Kind::Delete(_)) {
                known.shares
            } else {
                shares
            };
            return self.cut(book, side, price_wire, known, shares);
        }
        if self.cut_anonymous(book, side, price_wire, shares)? > 0 {
            self.report.unexplained += 1;
        }
        Ok(())
    }

    /// The aggressor: a limit order of exactly that size at the price of the execution.
    fn execute<B: Book>(
        &mut self,
        book: &mut B,
        order: Resting,
    ) -> Result<Execution, ReplayError<B::Error>> {
        let Resting {
            id,
            shares,
            price_wire,
            side,
        } = order;
        let numbered = self.ids.contains_key(&id);
        let reference = self.next_reference(Trader::B);
        let fills = book.enter(
            Trader::B,
            reference,
            side.opposite(),
            price_wire,
            shares,
            true,
        );
        let fills = fills.map_err(|source| self.failed(source))?;

        let mut execution = if numbered {
            Execution::ById
        } else {
            Execution::BySeed
        };
        let mut filled = 0u64;
        for fill in fills {
            let oldest = self
                .best(side)
                .and_then(|(_, queue)| queue.front().copied());
            let maker = self.settle(side, reference, fill)?;
            let at_front = oldest.is_some_and(|oldest| oldest.reference == fill.maker);
            // An anonymous order stands for any order that no row entered.
            let named = if numbered {
                maker.id == Some(id)
            } else {
                maker.id.is_none()
            };
            if !at_front || !named || fill.price_wire != price_wire {
                execution = Execution::OutOfPriority;
            }
            filled += u64::from(fill.shares);
        }
        if filled != u64::from(shares) {
            execution = Execution::OutOfPriority;
        }
        Ok(execution)
    }

    /// Compares the ring's levels with the snapshot and with the account.
    fn compare<B: Book>(
        &self,
        book: &mut B,
        snapshot: &Snapshot,
        outcome: &mut Outcome,
    ) -> Result<(), ReplayError<B::Error>> {
        (
            outcome.bbo_equal,
            outcome.levels_equal,
            outcome.account_equal,
        ) = (true, true, true);
        for side in Side::BOTH {
            let ring = book
                .depth(side, LEVELS)
                .map_err(|source| self.failed(source))?;
            let ring = ring
                .iter()
                .map(|&(price_wire, shares)| Level { price_wire, shares });
            let ring: Vec<_> = ring.take(LEVELS).collect();
            let shown = snapshot.levels(side);
            outcome.bbo_equal &= ring.first() == shown.first();
            outcome.levels_equal &= ring == shown;
            outcome.account_equal &= ring.into_iter().eq(self.depth(side).take(LEVELS));
        }
        Ok(())
    }

    /// Makes the account, and so a right ring, show the snapshot. Returns the levels that changed.
    ///
    /// What is too much goes first, on both sides, so that what is entered then crosses nothing.
    fn reseed<B: Book>(
        &mut self,
        book: &mut B,
        snapshot: &Snapshot,
    ) -> Result<u32, ReplayError<B::Error>> {
        let mut short = Vec::new();
        let mut reseeded = 0;
        for side in Side::BOTH {
            let shown = snapshot.levels(side);
            let mut excess = Vec::new();
            for level in self.depth(side) {
                // Behind the last level of a full snapshot nothing is known.
                let unknown = shown.len() == LEVELS
                    && better(side, shown[LEVELS - 1].price_wire, level.price_wire);
                if unknown {
                    break;
                }
                let of_shown = shown.iter().find(|it| it.price_wire == level.price_wire);
                let wanted = of_shown.map_or(0, |it| it.shares);
                if level.shares > wanted {
                    excess.push((level.price_wire, level.shares - wanted));
                }
            }
            for &Level { price_wire, shares } in shown {
                let held = self.levels[side.index()].get(&price_wire).map_or(0, total);
                if held < shares {
                    short.push((side, price_wire, shares - held));
                }
            }
            for (price, shares) in excess {
                self.cut_level(book, side, price, shares)?;
                reseeded += 1;
            }
        }
        for (side, price, shares) in short {
            self.fill_up(book, side, price, shares)?;
            reseeded += 1;
        }
        Ok(reseeded)
    }

    /// Takes shares off a level: of anonymous orders first, then of the newest ones.
    fn cut_level<B: Book>(
        &mut self,
        book: &mut B,
        side: Side,
        price: u32,
        shares: u32,
    ) -> Result<(), ReplayError<B::Error>> {
        let mut left = self.cut_anonymous(book, side, price, shares)?;
        while left > 0 {
            let newest = self.levels[side.index()]
                .get(&price)
                .and_then(|queue| queue.back());
            let newest = *newest.expect("the level holds more than is taken off");
            let part = left.min(newest.shares);
            self.cut(book, side, price, newest, part)?;
            left -= part;
        }
        Ok(())
    }

    /// Adds an anonymous order ahead of a level. An order cannot enter ahead of others, so those of
    /// the level are cancelled and enter again behind it, under new references.
    fn fill_up<B: Book>(
        &mut self,
        book: &mut B,
        side: Side,
        price: u32,
        shares: u32,
    ) -> Result<(), ReplayError<B::Error>> {
        let queue = self.levels[side.index()]
            .get(&price)
            .cloned()
            .unwrap_or_default();
        let mut anonymous = shares;
        for known in &queue {
            self.cut(book, side, price, *known, known.shares)?;
            if known.id.is_none() {
                anonymous += known.shares;
            }
        }
        self.enter(book, side, price, anonymous, None)?;
        for known in queue.iter().filter(|known| known.id.is_some()) {
            self.enter(book, side, price, known.shares, known.id)?;
        }
        Ok(())
    }

    /// Enters a day order of trader A. It should rest whole; a fill, which only a wrong ring or a
    /// wrong sample makes, is followed.
    fn enter<B: Book>(
        &mut self,
        book: &mut B,
        side: Side,
        price: u32,
        shares: u32,
        id: Option<u64>,
    ) -> Result<(), ReplayError<B::Error>> {
        let reference = self.next_reference(Trader::A);
        let fills = book.enter(Trader::A, reference, side, price, shares, false);
        let mut open = shares;
        for fill in fills.map_err(|source| self.failed(source))? {
            self.settle(side.opposite(), reference, fill)?;
            open = open
                .checked_sub(fill.shares)
                .ok_or_else(|| self.impossible(fill))?;
        }
        if open > 0 {
            let queue = self.levels[side.index()].entry(price).or_default();
            queue.push_back(Known {
                reference,
                shares: open,
                id,
            });
            if let Some(id) = id {
                self.ids.insert(id, (side, price));
            }
        }
        Ok(())
    }

    /// Takes shares off the anonymous orders of a level, oldest first. Returns what they lacked.
    fn cut_anonymous<B: Book>(
        &mut self,
        book: &mut B,
        side: Side,
        price: u32,
        shares: u32,
    ) -> Result<u32, ReplayError<B::Error>> {
        let mut left = shares;
        while left > 0 {
            let queue = self.levels[side.index()].get(&price);
            let anonymous = queue.and_then(|queue| queue.iter().find(|known| known.id.is_none()));
            let Some(&known) = anonymous else { break };
            let part = left.min(known.shares);
            self.cut(book, side, price, known, part)?;
            left -= part;
        }
        Ok(left)
    }

    /// Reduces an order of trader A, or cancels it when nothing would be left.
    fn cut<B: Book>(
        &mut self,
        book: &mut B,
        side: Side,
        price: u32,
        known: Known,
        shares: u32,
    ) -> Result<(), ReplayError<B::Error>> {
        let answer = if shares < known.shares {
            book.reduce(Trader::A, known.reference, shares)
        } else {
            book.cancel(Trader::A, known.reference)
        };
        answer.map_err(|source| self.failed(source))?;
        let taken = self.account(side, price, known.reference, shares.min(known.shares));
        taken.expect("an order that was just looked up rests");
        Ok(())
    }

    /// Enters a fill into the account. Returns the maker as it was before.
    fn settle<E: std::error::Error>(
        &mut self,
        side: Side,
        taker: u32,
        fill: Fill,
    ) -> Result<Known, ReplayError<E>> {
        let right_taker = fill.taker == taker && fill.shares > 0;
        let maker = if right_taker {
            self.account(side, fill.price_wire, fill.maker, fill.shares)
        } else {
            None
        };
        maker.ok_or_else(|| self.impossible(fill))
    }

    /// Takes shares off an order in the account. `None`, and nothing changes, if it has not so many.
    fn account(&mut self, side: Side, price: u32, reference: u32, shares: u32) -> Option<Known> {
        let levels = &mut self.levels[side.index()];
        let queue = levels.get_mut(&price)?;
        let at = queue
            .iter()
            .position(|known| known.reference == reference)?;
        let before = queue[at];
        let left = before.shares.checked_sub(shares)?;
        queue[at].shares = left;
        if left == 0 {
            queue.remove(at);
            if let Some(id) = before.id {
                self.ids.remove(&id);
            }
            if queue.is_empty() {
                levels.remove(&price);
            }
        }
        Some(before)
    }

    fn best(&self, side: Side) -> Option<(u32, &Queue)> {
        let levels = &self.levels[side.index()];
        let best = match side {
            Side::Buy => levels.last_key_value(),
            Side::Sell => levels.first_key_value(),
        };
        best.map(|(&price, queue)| (price, queue))
    }

    /// The account's levels, best first.
    fn depth(&self, side: Side) -> Box<dyn Iterator<Item = Level> + '_> {
        let levels = self.levels[side.index()].iter();
        let level = |(&price_wire, queue)| Level {
            price_wire,
            shares: total(queue),
        };
        match side {
            Side::Buy => Box::new(levels.rev().map(level)),
            Side::Sell => Box::new(levels.map(level)),
        }
    }

    fn next_reference(&mut self, trader: Trader) -> u32 {
        let last = &mut self.references[trader as usize];
        *last = last
            .checked_add(1)
            .expect("a sample has fewer rows than references");
        *last
    }

    fn place(&self) -> (PathBuf, usize) {
        (self.sample.path.clone(), self.done + 1)
    }

    fn failed<E: std::error::Error>(&self, source: E) -> ReplayError<E> {
        let (path, line) = self.place();
        ReplayError::Ring { path, line, source }
    }

    fn impossible<E: std::error::Error>(&self, fill: Fill) -> ReplayError<E> {
        let (path, line) = self.place();
        ReplayError::Impossible { path, line, fill }
    }
}

fn total(queue: &Queue) -> u32 {
    queue
        .iter()
        .fold(0u32, |sum, known| sum.saturating_add(known.shares))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::env;

    use super::*;
    use crate::lobster::Event;

    /// Orders in one list, in the order of entry. No cleverness, but for the fault it is told to have.
    #[derive(Default)]
    struct Naive {
        resting: Vec<Entry>,
        last: [u32; 2],
        fault: Fault,
    }

    #[derive(Clone, Copy)]
    struct Entry {
        reference: u32,
        side: Side,
        price: u32,
        shares: u32,
    }

    #[derive(Clone, Copy, Default, PartialEq)]
    enum Fault {
        #[default]
        None,
        /// Fills the newest order of a level first.
        NewestFirst,
        /// Forgets what is taken off.
        NoReduce,
        /// Reports fills of orders that do not rest.
        StrangeMaker,
    }

    impl Naive {
        fn position(&self, trader: Trader, reference: u32) -> usize {
            assert_eq!(trader, Trader::A, "only trader A's orders rest");
            let at = self
                .resting
                .iter()
                .position(|entry| entry.reference == reference);
            at.unwrap_or_else(|| panic!("order {reference} does not rest"))
        }

        fn next_maker(&self, side: Side, limit: u32) -> Option<usize> {
            let crossing = |entry: &Entry| {
                entry.side != side
                    && (entry.price == limit || better(entry.side, entry.price, limit))
            };
            let mut best: Option<usize> = None;
            for (at, entry) in self
                .resting
                .iter()
                .enumerate()
                .filter(|(_, entry)| crossing(entry))
            {
                let ahead = best.is_none_or(|best| {
                    let best = self.resting[best].price;
                    better(entry.side, entry.price, best)
                        || self.fault == Fault::NewestFirst && entry.price == best
                });
                if ahead {
                    best = Some(at);
                }
            }
            best
        }
    }

    impl Book for Naive {
        type Error = Infallible;

        fn enter(
            &mut self,
            trader: Trader,
            reference: u32,
            side: Side,
            price_wire: u32,
            shares: u32,
            ioc: bool,
        ) -> Result<Vec<Fill>, Infallible> {
            assert!(reference > self.last[trader as usize], "references rise");
            assert!(shares > 0);
            self.last[trader as usize] = reference;
            let (mut open, mut fills) = (shares, Vec::new());
            while open > 0
                && let Some(at) = self.next_maker(side, price_wire)
            {
                let maker = &mut self.resting[at];
                let fill = open.min(maker.shares);
                let strange = if self.fault == Fault::StrangeMaker {
                    1_000_000
                } else {
                    0
                };
                fills.push(Fill {
                    maker: maker.reference + strange,
                    taker: reference,
                    price_wire: maker.price,
                    shares: fill,
                });
                open -= fill;
                maker.shares -= fill;
                if maker.shares == 0 {
                    self.resting.remove(at);
                }
            }
            if open > 0 && !ioc {
                self.resting.push(Entry {
                    reference,
                    side,
                    price: price_wire,
                    shares: open,
                });
            }
            Ok(fills)
        }

        fn reduce(
            &mut self,
            trader: Trader,
            reference: u32,
            shares: u32,
        ) -> Result<(), Infallible> {
            let at = self.position(trader, reference);
            if self.fault != Fault::NoReduce {
                self.resting[at].shares -= shares;
            }
            assert!(
                self.resting[at].shares > 0,
                "the last share is cancelled, not reduced"
            );
            Ok(())
        }

        fn cancel(&mut self, trader: Trader, reference: u32) -> Result<(), Infallible> {
            self.resting.remove(self.position(trader, reference));
            Ok(())
        }

        fn depth(&mut self, side: Side, levels: usize) -> Result<Vec<(u32, u32)>, Infallible> {
            let mut depth = BTreeMap::new();
            for entry in self.resting.iter().filter(|entry| entry.side == side) {
                *depth.entry(entry.price).or_insert(0) += entry.shares;
            }
            Ok(match side {
                Side::Buy => depth.into_iter().rev().take(levels).collect(),
                Side::Sell => depth.into_iter().take(levels).collect(),
            })
        }
    }

    /// The public sample, or `None` with a line that says why.
    fn real_sample() -> Option<Sample> {
        let dir = match env::var_os("RING0_LOBSTER_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/lobster"),
        };
        if !dir.is_dir() {
            println!(
                "skipped: {} is no directory; set RING0_LOBSTER_DIR",
                dir.display()
            );
            return None;
        }
        Some(Sample::read_dir(dir).expect("a good sample"))
    }

    #[test]
    fn the_real_morning_replays_as_it_happened() {
        let Some(sample) = real_sample() else { return };
        let report = Replay::new(&sample)
            .run(&mut Naive::default())
            .expect("a right book");
        println!("{report:#?}");
        assert_eq!(report.rows, sample.events().len() as u64);
        assert_eq!(report.bbo_equal, report.rows);
        assert_eq!(report.account_equal, report.rows);
        assert_eq!(report.executions_in_priority, report.executions);
        if sample.path().ends_with("AAPL_message_10.csv") && report.rows == 999 {
            // The figures of an independent replay in another language.
            let independent = Report {
                rows: 999,
                bbo_equal: 999,
                levels_equal: 985,
                account_equal: 999,
                reseeded: 14,
                executions: 98,
                executions_in_priority: 98,
                by_id: 94,
                by_seed: 4,
                no_order: 61,
                unexplained: 0,
                first_bbo_difference: 0,
            };
            assert_eq!(report, independent);
        }
    }

    #[test]
    fn a_wrong_ring_is_found_on_the_real_morning() {
        let Some(sample) = real_sample() else { return };
        let run = |fault| {
            Replay::new(&sample).run(&mut Naive {
                fault,
                ..Naive::default()
            })
        };
        let report = run(Fault::NewestFirst).expect("fills of orders that rest");
        assert!(
            report.executions_in_priority < report.executions,
            "{report:?}"
        );
        assert_eq!(
            report.account_equal, report.rows,
            "the account follows the fills"
        );
        let error = run(Fault::StrangeMaker)
            .expect_err("fills of nothing")
            .to_string();
        assert!(
            error.contains("_message_10.csv:") && error.contains("Fill { maker: 1000"),
            "{error}"
        );
    }

    const fn order(id: u64, shares: u32, price_wire: u32) -> Resting {
        Resting {
            id,
            shares,
            price_wire,
            side: Side::Sell,
        }
    }

    /// Rows of events on the sell side, each with the asks after it as price and shares.
    fn sample(rows: &[(Kind, &[(u32, u32)])]) -> Sample {
        let events = rows
            .iter()
            .map(|&(kind, _)| Event { time_ns: 0, kind })
            .collect();
        let level = |&(price_wire, shares): &_| Level { price_wire, shares };
        let asks = |levels: &[_]| [Vec::new(), levels.iter().map(level).collect()];
        let snapshots = rows
            .iter()
            .map(|&(_, levels)| Snapshot {
                sides: asks(levels),
            })
            .collect();
        Sample {
            path: PathBuf::from("T_message_10.csv"),
            events,
            snapshots,
        }
    }

    /// Replays rows on the naive book; returns every outcome, the report and the book.
    fn check(rows: &[(Kind, &[(u32, u32)])], expected: &[&str]) -> (Report, Naive) {
        let (sample, mut book) = (sample(rows), Naive::default());
        let mut replay = Replay::new(&sample);
        let mut outcomes = Vec::new();
        while let Some(outcome) = replay.row(&mut book).expect("a right book") {
            assert!(outcome.account_equal);
            let equal = if outcome.levels_equal {
                "equal"
            } else {
                "differ"
            };
            let execution = outcome
                .execution
                .map_or(String::new(), |it| format!(" {it:?}"));
            outcomes.push(format!("{equal} {}{execution}", outcome.reseeded));
        }
        assert_eq!(outcomes, expected);
        (*replay.report(), book)
    }

    #[test]
    fn orders_are_seeded_reduced_filled_and_deleted() {
        let (report, book) = check(
            &[
                (Kind::Enter(order(7, 30, 100)), &[(100, 80), (200, 5)]),
                (Kind::Reduce(order(7, 10, 100)), &[(100, 70), (200, 5)]),
                (Kind::Execute(order(1, 20, 100)), &[(100, 50), (200, 5)]),
                (Kind::Hidden, &[(100, 50), (200, 5)]),
                (Kind::Delete(order(2, 30, 100)), &[(100, 20), (200, 5)]),
                (Kind::Execute(order(7, 20, 100)), &[(200, 5)]),
                (Kind::Delete(order(3, 5, 200)), &[]),
                (Kind::Delete(order(4, 5, 900)), &[]),
            ],
            &[
                "equal 0",
                "equal 0",
                "equal 0 BySeed",
                "equal 0",
                "equal 0",
                "equal 0 ById",
                "equal 0",
                "equal 0",
            ],
        );
        assert_eq!(
            (
                report.by_seed,
                report.by_id,
                report.no_order,
                report.unexplained
            ),
            (1, 1, 1, 1)
        );
        assert!(book.resting.is_empty());
    }

    #[test]
    fn the_first_event_is_taken_back_before_the_seed() {
        for (kind, execution) in [
            (Kind::Enter(order(7, 30, 100)), ""),
            (Kind::Reduce(order(7, 30, 100)), ""),
            (Kind::Delete(order(7, 30, 100)), ""),
            (Kind::Execute(order(7, 30, 100)), " BySeed"),
            (Kind::Hidden, ""),
        ] {
            check(
                &[(kind, &[(100, 30), (200, 5)])],
                &[&format!("equal 0{execution}")],
            );
        }
    }

    #[test]
    fn a_level_that_grew_unseen_is_seeded_ahead_of_the_known() {
        let (report, book) = check(
            &[
                (Kind::Enter(order(7, 30, 100)), &[(100, 30)]),
                (Kind::Enter(order(8, 40, 100)), &[(100, 90), (200, 6)]),
                (Kind::Execute(order(1, 20, 100)), &[(100, 70), (200, 6)]),
                (Kind::Execute(order(7, 30, 100)), &[(100, 40), (200, 6)]),
                (Kind::Execute(order(8, 15, 100)), &[(100, 25), (200, 6)]),
            ],
            &[
                "equal 0",
                "differ 2",
                "equal 0 BySeed",
                "equal 0 ById",
                "equal 0 ById",
            ],
        );
        assert_eq!((report.levels_equal, report.reseeded), (4, 2));
        assert_eq!(book.resting.len(), 2);
    }

    #[test]
    fn a_level_that_shrank_unseen_loses_anonymous_then_newest_shares() {
        let (_, book) = check(
            &[
                (Kind::Enter(order(7, 30, 100)), &[(100, 50), (200, 5)]),
                (Kind::Enter(order(8, 40, 100)), &[(100, 35)]),
                (Kind::Execute(order(7, 30, 100)), &[(100, 5)]),
                (Kind::Delete(order(8, 5, 100)), &[]),
            ],
            &["equal 0", "differ 2", "equal 0 ById", "equal 0"],
        );
        assert!(book.resting.is_empty());
    }

    #[test]
    fn nothing_is_concluded_from_levels_below_the_tenth() {
        let ten: Vec<_> = (1..=10).map(|at| (at * 100, 10)).collect();
        let mut pushed = vec![(50, 1)];
        pushed.extend(&ten[..9]);
        let mut risen = ten.clone();
        risen[9].1 = 12;
        let (report, _) = check(
            &[
                (Kind::Hidden, &ten),
                (Kind::Enter(order(7, 1, 50)), &pushed),
                (Kind::Delete(order(7, 1, 50)), &risen),
            ],
            &["equal 0", "equal 0", "differ 1"],
        );
        assert_eq!(report.bbo_equal, 3);
    }

    #[test]
    fn a_wrong_ring_is_found() {
        let rows: &[(Kind, &[(u32, u32)])] = &[
            (Kind::Enter(order(7, 30, 100)), &[(100, 30)]),
            (Kind::Enter(order(8, 30, 100)), &[(100, 60)]),
            (Kind::Reduce(order(8, 10, 100)), &[(100, 50)]),
            (Kind::Execute(order(7, 20, 100)), &[(100, 30)]),
        ];
        let sample = sample(rows);
        let run = |fault| {
            Replay::new(&sample).run(&mut Naive {
                fault,
                ..Naive::default()
            })
        };
        let report = run(Fault::None).expect("a right book");
        assert_eq!(
            (
                report.by_id,
                report.account_equal,
                report.first_bbo_difference
            ),
            (1, 4, 0)
        );
        let report = run(Fault::NewestFirst).expect("fills of orders that rest");
        assert_eq!(
            (
                report.by_id,
                report.executions_in_priority,
                report.executions
            ),
            (0, 0, 1)
        );
        let report = run(Fault::NoReduce).expect("fills of orders that rest");
        assert_eq!((report.account_equal, report.first_bbo_difference), (2, 3));
        let error = run(Fault::StrangeMaker)
            .expect_err("a fill of nothing")
            .to_string();
        assert!(
            error.starts_with("T_message_10.csv:4: the ring reported"),
            "{error}"
        );
    }

    #[test]
    fn an_order_enters_once() {
        let enter = Kind::Enter(order(7, 30, 100));
        let sample = sample(&[(enter, &[(100, 30)]), (enter, &[(100, 60)])]);
        let error = Replay::new(&sample)
            .run(&mut Naive::default())
            .expect_err("twice")
            .to_string();
        assert!(
            error.contains("_10.csv:2: order 7 enters a second time"),
            "{error}"
        );
    }
}
