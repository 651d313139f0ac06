//! Two ledgers of the same journals that should be equal: what a store has kept, and what the journals lead to. The first row of an asset that differs.
//!
//! What equations are made of comes first (cells, fees, totals, books, channels as their chain has them), then what follows from it (states, sums of the
//! batch): one wrong number has others behind it, and is to be named itself.

use crate::batch::Batch;
use crate::book::{Book, FeePart};
use crate::cell::Cell;
use crate::custody::{Channel, Custody};
use crate::id::{AccountId, AssetId};
use crate::ledger::Ledger;
use crate::stream::Stream;
use crate::venue::PlaceIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A row that two ledgers have differently.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RowDifference {
    /// What it is, for people.
    pub row: String,
    /// What the first ledger has; none: nothing.
    pub left: Option<String>,
    /// What the second has.
    pub right: Option<String>,
}

impl fmt::Display for RowDifference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        let (left, right) = (of(&self.left), of(&self.right));
        write!(to, "{}: {left} and {right}", self.row)
    }
}

/// The first row about an asset that `left` has and `right` has differently. `None`: all of them are equal.
#[must_use]
pub fn first_differing_row(left: &Ledger, right: &Ledger, asset: AssetId) -> Option<RowDifference> {
    let streams = || left.streams.iter().zip(&right.streams);
    let name = |stream: &Stream| {
        let shards = left.venue.shards().iter();
        let found = shards.clone().find(|it| it.number == stream.shard);
        found.map_or_else(|| stream.shard.to_string(), |it| it.name.clone())
    };
    let (ours, theirs) = (&left.custody, &right.custody);
    streams()
        .find_map(|(left, right)| cells(left, right, asset, &name(left)))
        .or_else(|| streams().find_map(|(left, right)| fees(left, right, asset, &name(left))))
        .or_else(|| {
            streams().find_map(|(left, right)| {
                let row = || {
                    format!(
                        "the total of what was moved into and out of shard {}",
                        name(left)
                    )
                };
                let at = asset.0 as usize;
                differ(row, left.moved.get(at), right.moved.get(at))
            })
        })
        .or_else(|| {
            let row = || "the total of customers' books beside the shards".to_owned();
            let at = asset.0 as usize;
            differ(row, ours.customers.get(at), theirs.customers.get(at))
        })
        .or_else(|| books(ours, theirs, asset))
        .or_else(|| asides(ours, theirs, asset))
        .or_else(|| channels(left, right, asset, confirmed))
        .or_else(|| {
            of_map(&ours.withdrawals, &theirs.withdrawals, |id, it| {
                (it.asset == asset).then(|| format!("the open {id}"))
            })
        })
        .or_else(|| {
            of_map(&ours.unbacked, &theirs.unbacked, |(shard, sequence), it| {
                let row = || format!("the credit of record {sequence} of {shard} without a fact");
                (it.asset == asset).then(row)
            })
        })
        .or_else(|| channels(left, right, asset, |it| format!("{:?}", it.leaf)))
        .or_else(|| batch(&ours.batch, &theirs.batch, asset))
}

fn differ<T: PartialEq + fmt::Display>(
    row: impl FnOnce() -> String,
    left: Option<T>,
    right: Option<T>,
) -> Option<RowDifference> {
    (left != right).then(|| RowDifference {
        row: row(),
        left: left.map(|it| it.to_string()),
        right: right.map(|it| it.to_string()),
    })
}

/// The first entry of two maps that differs and that `name` has a name for.
fn of_map<K: Ord, V: fmt::Debug + PartialEq>(
    left: &BTreeMap<K, V>,
    right: &BTreeMap<K, V>,
    name: impl Fn(&K, &V) -> Option<String>,
) -> Option<RowDifference> {
    let keys: BTreeSet<&K> = left.keys().chain(right.keys()).collect();
    keys.into_iter().find_map(|key| {
        let (ours, theirs) = (left.get(key), right.get(key));
        let row = name(key, ours.or(theirs)?)?;
        (ours != theirs).then(|| RowDifference {
            row,
            left: ours.map(|it| format!("{it:?}")),
            right: theirs.map(|it| format!("{it:?}")),
        })
    })
}

fn cells(left: &Stream, right: &Stream, asset: AssetId, shard: &str) -> Option<RowDifference> {
    let sides = [&left.cells, &right.cells];
    let accounts = sides.iter().flat_map(|it| it.iter().last());
    let accounts = accounts.map(|(account, ..)| account + 1).max().unwrap_or(0);
    (0..accounts).find_map(|account| {
        let [ours, theirs] = sides.map(|it| it.get(account, asset.0));
        let field = |name: &str, of: fn(&Cell) -> i128| {
            let row = || format!("account {account} in shard {shard}, {name}, engine units");
            differ(row, Some(of(&ours)), Some(of(&theirs)))
        };
        // Counters wrap: as signed numbers they are what they mean.
        let signed = |name, of: fn(&Cell) -> i128| field(name, of);
        signed("moved in less moved out", |it| {
            it.moved.cast_signed().into()
        })
        .or_else(|| {
            field("net outflow by trades", |it| {
                it.outflow.cast_signed().into()
            })
        })
        .or_else(|| {
            field("outflow that marks covered", |it| {
                it.marked.cast_signed().into()
            })
        })
        .or_else(|| {
            field("received since the last cut", |it| {
                it.received.cast_signed()
            })
        })
        .or_else(|| field("given since the last cut", |it| it.given.cast_signed()))
        .or_else(|| field("fees since the last cut", |it| it.fee.into()))
    })
}

fn fees(left: &Stream, right: &Stream, asset: AssetId, shard: &str) -> Option<RowDifference> {
    let count = left.fees.len().max(right.fees.len());
    (0..count).find_map(|number| {
        let [ours, theirs] = [left, right].map(|it| it.fees.get(number));
        let of_asset = ours.or(theirs)?.schedule.asset == asset;
        FeePart::ALL
            .into_iter()
            .filter(|_| of_asset)
            .find_map(|part| {
                let taken = |it: &crate::stream::Fees| it.taken[part as usize];
                let row = || {
                    format!("fees of schedule {number} of shard {shard}, {part:?}, engine units")
                };
                differ(row, ours.map(taken), theirs.map(taken))
            })
    })
}

fn books(left: &Custody, right: &Custody, asset: AssetId) -> Option<RowDifference> {
    let keys = || left.books.keys().chain(right.books.keys());
    let books: BTreeSet<Book> = keys()
        .filter(|(_, it)| *it == asset)
        .map(|(it, _)| *it)
        .collect();
    books.into_iter().find_map(|book| {
        let row = || format!("the book {}", book_name(&book));
        let [ours, theirs] = [left, right].map(|it| it.book(book, asset));
        differ(row, Some(ours), Some(theirs))
    })
}

/// As the exports and the documents name it.
fn book_name(book: &Book) -> String {
    serde_json::to_string(book).unwrap_or_else(|_| format!("{book:?}"))
}

fn asides(left: &Custody, right: &Custody, asset: AssetId) -> Option<RowDifference> {
    let keys = left.asides.keys().chain(right.asides.keys());
    let accounts: BTreeSet<AccountId> = keys
        .filter(|(_, it)| *it == asset)
        .map(|(it, _)| *it)
        .collect();
    accounts.into_iter().find_map(|account| {
        let [ours, theirs] = [left, right].map(|it| it.aside(account, asset));
        let parts = [
            ("transit", ours.transit, theirs.transit),
            ("pending", ours.pending, theirs.pending),
            ("arriving", ours.arriving, theirs.arriving),
            ("dust", ours.dust, theirs.dust),
        ];
        parts.into_iter().find_map(|(name, ours, theirs)| {
            let row = || format!("what is {name} of account {}", account.0);
            differ(row, Some(ours), Some(theirs))
        })
    })
}

/// A channel as its chain has confirmed it.
fn confirmed(channel: &Channel) -> String {
    let Channel {
        account,
        place,
        deposited,
        withdrawn,
        moved,
        disputed,
        closed,
        leaf: _,
    } = channel;
    format!(
        "of account {} at place {place}, {deposited} deposited, {withdrawn} withdrawn, {moved} moved{}{}",
        account.0,
        if *disputed { ", disputed" } else { "" },
        if *closed { ", closed" } else { "" },
    )
}

fn channels(
    left: &Ledger,
    right: &Ledger,
    asset: AssetId,
    of: impl Fn(&Channel) -> String,
) -> Option<RowDifference> {
    let [ours, theirs] = [left, right].map(|it| &it.custody.channels);
    let ids: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let places = left.venue.places();
    let is_here = |place: PlaceIndex| {
        places
            .get(place as usize)
            .is_some_and(|it| it.asset == asset)
    };
    ids.into_iter().find_map(|id| {
        let sides = [ours.get(id), theirs.get(id)];
        if !sides.iter().flatten().any(|it| is_here(it.place)) {
            return None;
        }
        let [ours, theirs] = sides.map(|it| it.map(&of));
        differ(|| format!("channel {id}"), ours, theirs)
    })
}

fn batch(left: &Batch, right: &Batch, asset: AssetId) -> Option<RowDifference> {
    let at = asset.0 as usize;
    let row = || format!("customers' control total in batch {}", left.epoch.0);
    differ(row, left.customers.get(at), right.customers.get(at)).or_else(|| {
        let row = || format!("what is in no channel in batch {}", left.epoch.0);
        differ(row, left.outside.get(at), right.outside.get(at))
    })
}
