//! A LOBSTER sample: what happened in the visible book of one share, and the ten best levels after.
//!
//! What is always true of a [`Sample`]: it has as many snapshots as events, and at least one;
//! prices and sizes of orders and levels are not zero; levels of a snapshot are strictly ordered,
//! best first, and its sides do not cross; time does not go back.
//!
//! Columns: `docs/streams.md#lobster`. How a sample drives a ring: [`Replay`].

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::Side;

mod replay;

pub use replay::{Book, Execution, Fill, Outcome, Replay, ReplayError, Report, Trader};

/// Levels of a side in a snapshot.
pub const LEVELS: usize = 10;
/// A cent as a wire price: the tick of every share above one dollar.
pub const TICK_WIRE: u32 = 100;

/// Columns of the message file.
const MESSAGE_COLUMNS: usize = 6;
/// Columns of the order book file.
const SNAPSHOT_COLUMNS: usize = 4 * LEVELS;
/// Decimals of a second that a nanosecond clock has.
const NS_DIGITS: usize = 9;

/// The visible order that an event is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resting {
    /// Number of the order at the exchange.
    pub id: u64,
    /// Shares that the event enters, takes off or fills.
    pub shares: u32,
    /// Wire price: 1/10,000 of a dollar.
    pub price_wire: u32,
    /// Side of the resting order, also in an execution.
    pub side: Side,
}

/// What an event does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Type 1: a limit order comes to rest.
    Enter(Resting),
    /// Type 2: a part of an order is taken off.
    Reduce(Resting),
    /// Type 3: an order is deleted.
    Delete(Resting),
    /// Type 4: an order is filled, in part or whole, by an aggressor on the other side.
    Execute(Resting),
    /// Type 5: a hidden order is filled; the visible book stays.
    Hidden,
    /// Type 6: an auction trades; the visible book stays.
    Auction,
    /// Type 7: trading halts or resumes.
    Halt,
}

/// A row of the message file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    /// Nanoseconds since midnight, exactly as written.
    pub time_ns: u64,
    /// What happens.
    pub kind: Kind,
}

/// Price and size of one level.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Level {
    /// Wire price.
    pub price_wire: u32,
    /// Shares that rest there.
    pub shares: u32,
}

/// A row of the order book file: at most [`LEVELS`] of each side, best first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    sides: [Vec<Level>; 2],
}

impl Snapshot {
    /// The levels of a side, best first.
    #[must_use]
    pub fn levels(&self, side: Side) -> &[Level] {
        &self.sides[side.index()]
    }
}

/// A sample cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LobsterError {
    /// A file or the directory cannot be read.
    #[error("{}: cannot be read: {source}; give the directory of a LOBSTER sample that you may read", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory has no message file, or several.
    #[error("{}: {found} files `*_message_{LEVELS}.csv`, must be one; keep one share and day at {LEVELS} levels per directory", dir.display())]
    NotOne {
        /// The directory.
        dir: PathBuf,
        /// Message files in it.
        found: usize,
    },
    /// A row is not as it must be.
    #[error("{}:{line}: {problem}; fetch the sample anew", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The two files have different lengths.
    #[error("{}: {events} events, but {snapshots} snapshots; both files must be of the same share and day, with a row at least", dir.display())]
    Lengths {
        /// The directory.
        dir: PathBuf,
        /// Rows of the message file.
        events: usize,
        /// Rows of the order book file.
        snapshots: usize,
    },
}

/// A sample in memory.
#[derive(Clone, Debug)]
pub struct Sample {
    path: PathBuf,
    events: Vec<Event>,
    snapshots: Vec<Snapshot>,
}

impl Sample {
    /// Reads `*_message_10.csv` and the `*_orderbook_10.csv` beside it.
    ///
    /// # Errors
    /// The directory does not hold a sample as the module says.
    pub fn read_dir(dir: impl AsRef<Path>) -> Result<Self, LobsterError> {
        let dir = dir.as_ref();
        let path = message_file(dir)?;
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("found by its name");
        let book = dir.join(name.replace("_message_", "_orderbook_"));
        let mut clock_ns = 0;
        let events = rows(&path, |row| {
            let event = event(row)?;
            if event.time_ns < clock_ns {
                return Err(format!(
                    "time {} goes back",
                    &row[..row.find(',').unwrap_or(0)]
                ));
            }
            clock_ns = event.time_ns;
            Ok(event)
        })?;
        let snapshots = rows(&book, snapshot)?;
        if events.len() != snapshots.len() || events.is_empty() {
            let (dir, events, snapshots) = (dir.to_owned(), events.len(), snapshots.len());
            return Err(LobsterError::Lengths {
                dir,
                events,
                snapshots,
            });
        }
        Ok(Self {
            path,
            events,
            snapshots,
        })
    }

    /// The message file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What happened, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The book after the event of the same place.
    #[must_use]
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// Lowest and highest wire price of an order or level: what the ladder must hold.
    #[must_use]
    pub fn prices_wire(&self) -> RangeInclusive<u32> {
        let levels = self
            .snapshots
            .iter()
            .flat_map(|snapshot| snapshot.sides.iter().flatten());
        let orders = self.events.iter().filter_map(|event| event.kind.resting());
        let prices = levels
            .map(|level| level.price_wire)
            .chain(orders.map(|it| it.price_wire));
        let (low, high) = prices.fold((u32::MAX, 0), |(low, high), price| {
            (low.min(price), high.max(price)) //
        });
        low..=high
    }
}

impl Kind {
    /// The visible order that it is about.
    #[must_use]
    pub const fn resting(&self) -> Option<&Resting> {
        match self {
            Self::Enter(it) | Self::Reduce(it) | Self::Delete(it) | Self::Execute(it) => Some(it),
            Self::Hidden | Self::Auction | Self::Halt => None,
        }
    }
}

fn message_file(dir: &Path) -> Result<PathBuf, LobsterError> {
    let failed = |source| LobsterError::Read {
        path: dir.to_owned(),
        source,
    };
    let end = format!("_{LEVELS}.csv");
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.contains("_message_") && name.ends_with(&end) {
            found.push(path);
        }
    }
    match <[PathBuf; 1]>::try_from(found) {
        Ok([path]) => Ok(path),
        Err(found) => Err(LobsterError::NotOne {
            dir: dir.to_owned(),
            found: found.len(),
        }),
    }
}

/// Reads a file row by row; a problem gets its place.
fn rows<T>(
    path: &Path,
    mut parse: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, LobsterError> {
    let text = fs::read_to_string(path).map_err(|source| LobsterError::Read {
        path: path.to_owned(),
        source,
    })?;
    let row = |(at, row)| {
        parse(row).map_err(|problem| LobsterError::Row {
            path: path.to_owned(),
            line: at + 1,
            problem,
        })
    };
    text.lines().enumerate().map(row).collect()
}

fn columns<const N: usize>(row: &str) -> Result<[&str; N], String> {
    let columns: Vec<_> = row.split(',').collect();
    <[&str; N]>::try_from(columns)
        .map_err(|columns| format!("{} columns, must be {N}", columns.len()))
}

fn event(row: &str) -> Result<Event, String> {
    let [time, kind, id, shares, price, direction] = columns::<MESSAGE_COLUMNS>(row)?;
    let time_ns = time_ns(time)?;
    let resting = || {
        let side = match direction {
            "1" => Side::Buy,
            "-1" => Side::Sell,
            _ => return Err(format!("direction `{direction}` is neither 1 nor -1")),
        };
        let id = id
            .parse()
            .map_err(|_| format!("order id `{id}` is not a number"))?;
        Ok(Resting {
            id,
            shares: positive("size", shares)?,
            price_wire: positive("price", price)?,
            side,
        })
    };
    let kind = match kind {
        "1" => Kind::Enter(resting()?),
        "2" => Kind::Reduce(resting()?),
        "3" => Kind::Delete(resting()?),
        "4" => Kind::Execute(resting()?),
        "5" => Kind::Hidden,
        "6" => Kind::Auction,
        "7" => Kind::Halt,
        _ => return Err(format!("type `{kind}` is none of 1 to 7")),
    };
    Ok(Event { time_ns, kind })
}

fn positive(what: &str, text: &str) -> Result<u32, String> {
    let wrong = || format!("{what} `{text}` is not a number from 1 to {}", u32::MAX);
    text.parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(wrong)
}

/// Seconds with up to nine decimals, without a rounding on the way.
fn time_ns(text: &str) -> Result<u64, String> {
    let wrong = || format!("time `{text}` is not seconds with up to {NS_DIGITS} decimals");
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(decimals) || decimals.len() > NS_DIGITS {
        return Err(wrong());
    }
    let seconds: u64 = seconds.parse().map_err(|_| wrong())?;
    let decimals: u64 = format!("{decimals:0<NS_DIGITS$}")
        .parse()
        .map_err(|_| wrong())?;
    seconds
        .checked_mul(1_000_000_000)
        .and_then(|ns| ns.checked_add(decimals))
        .ok_or_else(wrong)
}

fn snapshot(row: &str) -> Result<Snapshot, String> {
    let columns = columns::<SNAPSHOT_COLUMNS>(row)?;
    let mut snapshot = Snapshot::default();
    for (at, cells) in columns.chunks_exact(2).enumerate() {
        let [price, shares] = [cells[0], cells[1]];
        let side = if at % 2 == 0 { Side::Sell } else { Side::Buy };
        let number = at / 2 + 1;
        if shares == "0" {
            continue; // No level: the price column says so with ±9999999999.
        }
        let levels = &mut snapshot.sides[side.index()];
        if levels.len() != number - 1 {
            return Err(format!("{side} level {number} follows one that is empty"));
        }
        let level = Level {
            price_wire: positive("price", price)?,
            shares: positive("size", shares)?,
        };
        if levels
            .last()
            .is_some_and(|last| !better(side, last.price_wire, level.price_wire))
        {
            return Err(format!(
                "{side} level {number} at {price} is not behind the one before"
            ));
        }
        levels.push(level);
    }
    let [bid, ask] = Side::BOTH.map(|side| snapshot.levels(side).first());
    match (bid, ask) {
        (Some(bid), Some(ask)) if bid.price_wire >= ask.price_wire => Err(format!(
            "bid {} and ask {} cross",
            bid.price_wire, ask.price_wire
        )),
        _ => Ok(snapshot),
    }
}

/// Whether `one` stands strictly before `other` on its side of the book.
fn better(side: Side, one: u32, other: u32) -> bool {
    match side {
        Side::Buy => one > other,
        Side::Sell => one < other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        let check = |text, expected| assert_eq!(time_ns(text).ok(), expected, "{text}");
        check("34200.004241176", Some(34_200_004_241_176));
        check("34200.2", Some(34_200_200_000_000));
        check("34200.000000001", Some(34_200_000_000_001));
        check("57599.999999999", Some(57_599_999_999_999));
        check("34200", Some(34_200_000_000_000));
        check("0.0", Some(0));
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1.0",
            "1.0000000001",
            "1e5",
            "+1",
            "1.+1",
            " 1",
        ] {
            check(text, None);
        }
        check("99999999999999999999", None);
        check("18446744074.0", None);
    }

    #[test]
    fn rows_are_typed() {
        let it = Resting {
            id: 16113575,
            shares: 18,
            price_wire: 5853300,
            side: Side::Buy,
        };
        let check = |row, kind| {
            assert_eq!(
                event(row),
                Ok(Event {
                    time_ns: 500_000_000,
                    kind
                })
            )
        };
        check("0.5,1,16113575,18,5853300,1", Kind::Enter(it));
        check("0.5,2,16113575,18,5853300,1", Kind::Reduce(it));
        check("0.5,3,16113575,18,5853300,1", Kind::Delete(it));
        check(
            "0.5,4,16113575,18,5853300,-1",
            Kind::Execute(Resting {
                side: Side::Sell,
                ..it
            }),
        );
        check("0.5,5,0,100,5853350,1", Kind::Hidden);
        check("0.5,6,-1,100,5853300,-1", Kind::Auction);
        check("0.5,7,0,0,-1,-1", Kind::Halt);
    }

    /// The error of reading a directory with these two files, empty for none.
    fn check(message: &str, orderbook: &str, expected: &str) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (kind, text) in [("message", message), ("orderbook", orderbook)] {
            if !text.is_empty() {
                let path = dir.path().join(format!("X_2012_{kind}_10.csv"));
                fs::write(path, text).expect("written");
            }
        }
        let error = Sample::read_dir(dir.path())
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
    }

    /// A snapshot row with these first cells and no further level.
    fn book_row(cells: &str) -> String {
        let mut cells: Vec<_> = cells.split(',').collect();
        while cells.len() < SNAPSHOT_COLUMNS {
            let price = if cells.len() % 4 == 0 {
                "9999999999"
            } else {
                "-9999999999"
            };
            cells.extend([price, "0"]);
        }
        cells.join(",") + "\n"
    }

    #[test]
    fn problems_have_a_place() {
        const GOOD: &str = "1.5,1,7,18,5853300,1\n";
        let book = book_row("5859400,200,5853300,18");
        check("", "", "0 files `*_message_10.csv`");
        check(GOOD, "", "X_2012_orderbook_10.csv: cannot be read");
        check(
            &format!("{GOOD}1.5,1,7\n"),
            &book,
            "message_10.csv:2: 3 columns, must be 6",
        );
        check("x,1,7,18,5853300,1", &book, "message_10.csv:1: time `x`");
        check(
            "1,8,7,18,5853300,1",
            &book,
            ":1: type `8` is none of 1 to 7",
        );
        check("1,1,-7,18,5853300,1", &book, ":1: order id `-7`");
        check("1,1,7,0,5853300,1", &book, ":1: size `0`");
        check("1,1,7,18,-5,1", &book, ":1: price `-5`");
        check("1,1,7,18,5,0", &book, ":1: direction `0`");
        check(
            &format!("{GOOD}1.4,1,7,18,5853300,1\n"),
            &book,
            ":2: time 1.4 goes back",
        );
        check(GOOD, &format!("{book}{book}"), "1 events, but 2 snapshots");
        check(GOOD, "1,2\n", "orderbook_10.csv:1: 2 columns, must be 40");
        check(GOOD, &book_row("10,1,10,1"), ":1: bid 10 and ask 10 cross");
        check(
            GOOD,
            &book_row("10,1,9,1,10,1"),
            ":1: sell level 2 at 10 is not behind",
        );
        check(
            GOOD,
            &book_row("10,0,9,1,11,1"),
            ":1: sell level 2 follows one that is empty",
        );
        check(GOOD, &book_row("x,1,9,1"), ":1: price `x`");
    }

    #[test]
    fn two_samples_in_a_directory_are_not_guessed_at() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["A_message_10.csv", "B_message_10.csv"] {
            fs::write(dir.path().join(name), "").expect("written");
        }
        let error = Sample::read_dir(dir.path()).expect_err("two").to_string();
        assert!(error.contains("2 files"), "{error}");
    }

    #[test]
    fn a_level_that_is_not_there_is_left_out() {
        let row = book_row("5859400,200,5853300,18,5859800,7");
        let snapshot = snapshot(row.trim_end()).expect("good");
        let level = |price_wire, shares| Level { price_wire, shares };
        assert_eq!(snapshot.levels(Side::Buy), [level(5853300, 18)]);
        assert_eq!(
            snapshot.levels(Side::Sell),
            [level(5859400, 200), level(5859800, 7)]
        );
    }
}
