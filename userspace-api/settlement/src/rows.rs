//! The ledger as rows of bytes: what the store keeps, and what two ledgers are compared by.
//!
//! A row's key begins with what it is. Equal ledgers have equal rows. Integers are little-endian in values and big-endian in keys, which so order.

use crate::book::{Book, FeePart};
use crate::cell::Cells;
use crate::custody::{Channel, ChannelLeaf, Custody, OpenKey, Part};
use crate::fact::WithdrawalId;
use crate::id::{AccountId, AssetId, Epoch, PeerId};
use crate::ledger::Ledger;
use crate::line::Line;
use crate::schedule::Schedule;
use crate::stream::Fees;
use crate::venue::Venue;
use crate::{Cover, CreditLine};
use ring0_channels::B256;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Of what is written here; another build's rows are rebuilt.
const FORMAT: u32 = 1;

const META: u8 = 0;
const CELLS: u8 = 1;
const PREVIOUS: u8 = 2;
const FEES: u8 = 3;
const PART: u8 = 4;
const MARKED: u8 = 5;

/// Rows as they stand: key and value, in the order of keys.
pub type Image = Vec<(Vec<u8>, Vec<u8>)>;

/// Key and value; `None`: the row is gone.
pub(crate) type Row = (Vec<u8>, Option<Vec<u8>>);

/// Where the ledger stands, and counters of streams.
#[derive(Debug, Deserialize, Serialize)]
struct Meta {
    format: u32,
    venue: Venue,
    facts: u64,
    epoch: Epoch,
    streams: Vec<StreamMeta>,
}

#[derive(Debug, Deserialize, Serialize)]
struct StreamMeta {
    last: u64,
    fills: u64,
    postings: u64,
    /// Amounts as text, by asset.
    moved: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct FeesRow {
    schedule: Schedule,
    base: u32,
    lot_value: u64,
    tick_value: u32,
    taken: Vec<String>,
}

/// Rows that are no ledger of this venue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum NoLedger {
    /// Another venue, or another format.
    Foreign(&'static str),
    /// A row that is none.
    Row(Vec<u8>),
}

/// Stands for what serde_json cannot fail at here: structs of integers and text.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("no map with keys that are not text, and no float")
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn paged(tag: u8, stream: usize, number: u32) -> Vec<u8> {
    let mut key = vec![tag, stream as u8]; // below `SHARDS_MAX`
    key.extend(number.to_be_bytes());
    key
}

impl Ledger {
    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self) -> Vec<Row> {
        let mut rows = vec![(vec![META], Some(self.meta()))];
        for (index, stream) in self.streams.iter_mut().enumerate() {
            for (page, bytes) in stream.cells.take_dirty() {
                rows.push((paged(CELLS, index, page), Some(bytes)));
            }
            for fees in &mut stream.fees {
                if std::mem::take(&mut fees.dirty) {
                    let key = paged(FEES, index, fees.schedule.number);
                    rows.push((key, Some(fees_row(fees))));
                }
            }
        }
        for (page, bytes) in self.previous.take_dirty() {
            rows.push((paged(PREVIOUS, 0, page), Some(bytes)));
        }
        for (page, bytes) in self.marked.take_dirty() {
            rows.push((paged(MARKED, 0, page), Some(bytes)));
        }
        let dirty = std::mem::take(&mut self.custody.dirty);
        for part in dirty {
            rows.push((part_key(&part), part_value(&self.custody, &part)));
        }
        rows
    }

    /// All that the ledger is, as rows in order of their keys: equal ledgers give equal images.
    #[must_use]
    pub fn image(&self) -> Image {
        let mut copy = self.clone();
        for stream in &mut copy.streams {
            stream.cells.touch_all();
            stream.fees.iter_mut().for_each(|it| it.dirty = true);
        }
        copy.previous.touch_all();
        copy.marked.touch_all();
        copy.custody.dirty = all_parts(&copy.custody);
        let rows = copy.take_rows().into_iter();
        let mut image: Image = rows
            .filter_map(|(key, value)| Some((key, value?)))
            // A page that nothing was ever written to, or that came to zero, is the same.
            .filter(|(key, value)| {
                ![CELLS, PREVIOUS, MARKED].contains(&key[0]) || value.iter().any(|byte| *byte != 0)
            })
            .collect();
        image.sort_unstable();
        image
    }

    fn meta(&self) -> Vec<u8> {
        let streams = self.streams.iter().map(|stream| StreamMeta {
            last: stream.last,
            fills: stream.fills,
            postings: stream.postings,
            moved: stream.moved.iter().map(i128::to_string).collect(),
        });
        json(&Meta {
            format: FORMAT,
            venue: self.venue.clone(),
            facts: self.custody.facts,
            epoch: self.custody.epoch,
            streams: streams.collect(),
        })
    }

    /// From the rows of a store, in any order; an empty ledger where there are none.
    pub(crate) fn from_rows(
        venue: Venue,
        rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Ledger, NoLedger> {
        let mut ledger = Ledger::new(venue);
        let mut fees: Vec<(usize, Fees)> = Vec::new();
        for (key, value) in rows {
            let read = match key.first() {
                Some(&META) => ledger.load_meta(&value)?,
                Some(&CELLS) => load_cells(&mut ledger, &key, &value),
                Some(&PREVIOUS) => {
                    page_of(&key).and_then(|(_, page)| ledger.previous.load(page, &value))
                }
                Some(&MARKED) => {
                    page_of(&key).and_then(|(_, page)| ledger.marked.load(page, &value))
                }
                Some(&FEES) => load_fees(&key, &value).map(|it| fees.push(it)),
                Some(&PART) => {
                    part_of(&key[1..]).and_then(|part| load_part(&mut ledger.custody, part, &value))
                }
                _ => None,
            };
            if read.is_none() {
                return Err(NoLedger::Row(key));
            }
        }
        fees.sort_by_key(|(stream, it)| (*stream, it.schedule.number));
        for (stream, fees) in fees {
            let whole = ledger.streams.get_mut(stream);
            let next = whole.filter(|it| it.fees.len() as u32 == fees.schedule.number);
            let key = paged(FEES, stream, fees.schedule.number);
            next.ok_or(NoLedger::Row(key))?.adopt(fees);
        }
        let channels: Vec<B256> = ledger.custody.channels.keys().copied().collect();
        let known = ledger.venue.places().len();
        for id in channels {
            if ledger.custody.channels[&id].place as usize >= known {
                return Err(NoLedger::Row(part_key(&Part::Channel(id))));
            }
            ledger.custody.list_channel(&ledger.venue, id);
        }
        ledger.custody.dirty.clear();
        Ok(ledger)
    }

    fn load_meta(&mut self, bytes: &[u8]) -> Result<Option<()>, NoLedger> {
        let Some(meta) = from_json::<Meta>(bytes) else {
            return Err(NoLedger::Foreign("it was written by another build"));
        };
        if meta.format != FORMAT {
            return Err(NoLedger::Foreign("it was written by another build"));
        }
        if meta.venue != self.venue || meta.streams.len() != self.streams.len() {
            return Err(NoLedger::Foreign(
                "it is of a venue with other assets, shards, rails or places",
            ));
        }
        (self.custody.facts, self.custody.epoch) = (meta.facts, meta.epoch);
        for (stream, meta) in self.streams.iter_mut().zip(meta.streams) {
            (stream.last, stream.fills, stream.postings) = (meta.last, meta.fills, meta.postings);
            let amounts: Result<Vec<i128>, _> = meta.moved.iter().map(|it| it.parse()).collect();
            match amounts {
                Ok(moved) if moved.len() == stream.moved.len() => stream.moved = moved,
                _ => return Ok(None),
            }
        }
        Ok(Some(()))
    }
}

fn page_of(key: &[u8]) -> Option<(usize, u32)> {
    let [_, stream, page @ ..] = key else {
        return None;
    };
    Some(((*stream).into(), u32::from_be_bytes(page.try_into().ok()?)))
}

fn load_cells(ledger: &mut Ledger, key: &[u8], value: &[u8]) -> Option<()> {
    let (stream, page) = page_of(key)?;
    let cells: &mut Cells = &mut ledger.streams.get_mut(stream)?.cells;
    cells.load(page, value)
}

fn fees_row(fees: &Fees) -> Vec<u8> {
    json(&FeesRow {
        schedule: fees.schedule,
        base: fees.base,
        lot_value: fees.lot_value,
        tick_value: fees.tick_value,
        taken: fees.taken.iter().map(i128::to_string).collect(),
    })
}

fn load_fees(key: &[u8], value: &[u8]) -> Option<(usize, Fees)> {
    let (stream, number) = page_of(key)?;
    let row: FeesRow = from_json(value)?;
    let taken: Vec<i128> = row
        .taken
        .iter()
        .map(|it| it.parse().ok())
        .collect::<Option<_>>()?;
    let taken: [i128; FeePart::ALL.len()] = taken.try_into().ok()?;
    let fees = Fees {
        schedule: row.schedule,
        base: row.base,
        lot_value: row.lot_value,
        tick_value: row.tick_value,
        taken,
        dirty: false,
    };
    (row.schedule.number == number).then_some((stream, fees))
}

fn all_parts(custody: &Custody) -> std::collections::BTreeSet<Part> {
    let mut all: Vec<Part> = vec![Part::Control, Part::Batch, Part::Covers];
    all.extend(
        custody
            .books
            .keys()
            .map(|(book, it)| Part::Book(*book, *it)),
    );
    all.extend(custody.asides.keys().map(|(of, it)| Part::Aside(*of, *it)));
    all.extend(custody.channels.keys().map(|it| Part::Channel(*it)));
    all.extend(custody.withdrawals.keys().map(|it| Part::Withdrawal(*it)));
    all.extend(custody.credits.keys().map(|it| Part::Credits(*it)));
    all.extend(custody.received.keys().map(|it| Part::Received(*it)));
    all.extend(custody.awaited.keys().map(|it| Part::Awaited(*it)));
    all.extend(custody.pins.keys().map(|it| Part::Pin(*it)));
    all.extend(
        custody
            .unbacked
            .keys()
            .map(|(of, it)| Part::Unbacked(*of, *it)),
    );
    all.extend(custody.open.keys().map(|it| Part::Open(*it)));
    all.into_iter().collect()
}

fn part_key(part: &Part) -> Vec<u8> {
    let mut key = vec![PART];
    match part {
        Part::Control => key.push(1),
        Part::Book(book, asset) => {
            key.push(2);
            key.extend(book.key());
            key.extend(asset.0.to_be_bytes());
        }
        Part::Aside(account, asset) => {
            key.push(3);
            key.extend(account.0.to_be_bytes());
            key.extend(asset.0.to_be_bytes());
        }
        Part::Channel(id) => {
            key.push(4);
            key.extend(id.0);
        }
        Part::Withdrawal(id) => {
            key.push(5);
            key.extend(id.from.0.to_be_bytes());
            key.extend(id.account.0.to_be_bytes());
            key.extend(id.number.to_be_bytes());
        }
        Part::Credits(line) => {
            key.push(6);
            key.extend(line.account.0.to_be_bytes());
            key.extend(line.rail.0.to_be_bytes());
            key.extend(line.shard.0.to_be_bytes());
        }
        Part::Received(rail) => {
            key.push(7);
            key.extend(rail.0.to_be_bytes());
        }
        Part::Awaited(id) => {
            key.push(8);
            key.extend(id.0);
        }
        Part::Pin(place) => {
            key.push(9);
            key.extend(place.to_be_bytes());
        }
        Part::Batch => key.push(10),
        Part::Covers => key.push(11),
        Part::Unbacked(shard, sequence) => {
            key.push(12);
            key.extend(shard.0.to_be_bytes());
            key.extend(sequence.to_be_bytes());
        }
        Part::Open(of) => {
            key.push(13);
            key.extend(of.facts.to_be_bytes());
            key.extend(of.shard.to_be_bytes());
            key.extend(of.sequence.to_be_bytes());
            key.extend(of.line.to_be_bytes());
        }
    }
    key
}

/// Reads a key's fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn chunk<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (chunk, rest) = self.0.split_first_chunk::<LEN>()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_be_bytes)
    }
}

fn part_of(key: &[u8]) -> Option<Part> {
    let (tag, rest) = key.split_first()?;
    let mut of = Fields(rest);
    let part = match tag {
        1 => Part::Control,
        2 => {
            let book = Book::from_key(&of.chunk()?)?;
            Part::Book(book, AssetId(of.u32()?))
        }
        3 => Part::Aside(AccountId(of.u32()?), AssetId(of.u32()?)),
        4 => Part::Channel(B256::new(of.chunk()?)),
        5 => Part::Withdrawal(WithdrawalId {
            from: PeerId(of.u32()?),
            account: AccountId(of.u32()?),
            number: of.u64()?,
        }),
        6 => Part::Credits(CreditLine {
            account: AccountId(of.u32()?),
            rail: PeerId(of.u32()?),
            shard: PeerId(of.u32()?),
        }),
        7 => Part::Received(PeerId(of.u32()?)),
        8 => Part::Awaited(B256::new(of.chunk()?)),
        9 => Part::Pin(of.u32()?),
        10 => Part::Batch,
        11 => Part::Covers,
        12 => Part::Unbacked(PeerId(of.u32()?), of.u64()?),
        13 => Part::Open(OpenKey {
            facts: of.u64()?,
            shard: of.u32()?,
            sequence: of.u64()?,
            line: of.u32()?,
        }),
        _ => return None,
    };
    of.0.is_empty().then_some(part)
}

fn part_value(custody: &Custody, part: &Part) -> Option<Vec<u8>> {
    Some(match part {
        Part::Control => custody
            .customers
            .iter()
            .flat_map(|it| it.to_le_bytes())
            .collect(),
        Part::Book(book, asset) => custody.books.get(&(*book, *asset))?.to_le_bytes().to_vec(),
        Part::Aside(account, asset) => {
            let aside = custody.asides.get(&(*account, *asset))?;
            [aside.transit, aside.pending, aside.arriving, aside.dust]
                .iter()
                .flat_map(|it| it.to_le_bytes())
                .collect()
        }
        Part::Channel(id) => channel_row(custody.channels.get(id)?),
        Part::Withdrawal(id) => json(custody.withdrawals.get(id)?),
        Part::Credits(line) => json(custody.credits.get(line)?),
        Part::Received(rail) => custody.received.get(rail)?.to_le_bytes().to_vec(),
        Part::Awaited(id) => json(custody.awaited.get(id)?),
        Part::Pin(place) => custody.pins.get(place)?.to_vec(),
        Part::Batch => {
            let mut batch = custody.batch.clone();
            batch.covers = Vec::new(); // by themselves: there are many
            json(&batch)
        }
        Part::Covers => {
            let mut bytes = Vec::with_capacity(custody.batch.covers.len() * COVER);
            for cover in &custody.batch.covers {
                bytes.extend(cover.epoch.0.to_le_bytes());
                bytes.extend(cover.shard.0.to_le_bytes());
                bytes.extend(cover.account.0.to_le_bytes());
                bytes.extend(cover.asset.0.to_le_bytes());
                bytes.extend(cover.through.to_le_bytes());
            }
            bytes
        }
        Part::Unbacked(shard, sequence) => json(custody.unbacked.get(&(*shard, *sequence))?),
        Part::Open(key) => {
            let (account, line) = custody.open.get(key)?;
            [&account.0.to_le_bytes()[..], &line.to_bytes()].concat()
        }
    })
}

/// A channel: every one that was touched is written at a cut, so not as text.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
struct ChannelRow {
    deposited: u128,
    withdrawn: u128,
    moved: i128,
    balance: u128,
    deposited_seen: u128,
    withdrawn_seen: u128,
    excess: u128,
    branch: [u8; 32],
    version: u64,
    epoch: u64,
    account: u32,
    place: u32,
    /// 1 disputed, 2 closed, 4 it has a leaf.
    flags: u64,
}

fn channel_row(channel: &Channel) -> Vec<u8> {
    let leaf = channel.leaf.unwrap_or(ChannelLeaf {
        version: 0,
        epoch: Epoch(0),
        balance: 0,
        deposited_seen: 0,
        withdrawn_seen: 0,
        excess: 0,
        branch: B256::ZERO,
    });
    let flags = [channel.disputed, channel.closed, channel.leaf.is_some()];
    let row = ChannelRow {
        deposited: channel.deposited.to_le(),
        withdrawn: channel.withdrawn.to_le(),
        moved: channel.moved.to_le(),
        balance: leaf.balance.to_le(),
        deposited_seen: leaf.deposited_seen.to_le(),
        withdrawn_seen: leaf.withdrawn_seen.to_le(),
        excess: leaf.excess.to_le(),
        branch: leaf.branch.0,
        version: leaf.version.to_le(),
        epoch: leaf.epoch.0.to_le(),
        account: channel.account.0.to_le(),
        place: channel.place.to_le(),
        flags: (0..)
            .zip(flags)
            .map(|(bit, is)| u64::from(is) << bit)
            .sum::<u64>()
            .to_le(),
    };
    row.as_bytes().to_vec()
}

fn load_channel(value: &[u8]) -> Option<Channel> {
    let row = ChannelRow::read_from_bytes(value).ok()?;
    let flags = u64::from_le(row.flags);
    Some(Channel {
        account: AccountId(u32::from_le(row.account)),
        place: u32::from_le(row.place),
        deposited: u128::from_le(row.deposited),
        withdrawn: u128::from_le(row.withdrawn),
        moved: i128::from_le(row.moved),
        disputed: flags & 1 != 0,
        closed: flags & 2 != 0,
        leaf: (flags & 4 != 0).then_some(ChannelLeaf {
            version: u64::from_le(row.version),
            epoch: Epoch(u64::from_le(row.epoch)),
            balance: u128::from_le(row.balance),
            deposited_seen: u128::from_le(row.deposited_seen),
            withdrawn_seen: u128::from_le(row.withdrawn_seen),
            excess: u128::from_le(row.excess),
            branch: B256::new(row.branch),
        }),
    })
}

/// Bytes of a cover.
const COVER: usize = 28;

fn load_open(value: &[u8]) -> Option<(AccountId, Line)> {
    let (account, line) = value.split_first_chunk::<4>()?;
    Some((
        AccountId(u32::from_le_bytes(*account)),
        Line::from_bytes(line)?,
    ))
}

fn load_cover(bytes: &[u8; COVER]) -> Cover {
    let word = |at: usize| {
        let chunk = bytes[at..].first_chunk().copied().unwrap_or_default();
        u32::from_le_bytes(chunk)
    };
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    Cover {
        epoch: Epoch(long(0)),
        shard: PeerId(word(8)),
        account: AccountId(word(12)),
        asset: AssetId(word(16)),
        through: long(20),
    }
}

fn amounts<const COUNT: usize>(bytes: &[u8]) -> Option<[i128; COUNT]> {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let all: Vec<i128> = chunks.iter().map(|it| i128::from_le_bytes(*it)).collect();
    rest.is_empty().then_some(all)?.try_into().ok()
}

fn load_part(custody: &mut Custody, part: Part, value: &[u8]) -> Option<()> {
    match part {
        Part::Control => {
            let (chunks, rest) = value.as_chunks::<16>();
            if chunks.len() != custody.customers.len() || !rest.is_empty() {
                return None;
            }
            custody.customers = chunks.iter().map(|it| i128::from_le_bytes(*it)).collect();
        }
        Part::Book(book, asset) => {
            let [amount] = amounts(value)?;
            custody.books.insert((book, asset), amount);
        }
        Part::Aside(account, asset) => {
            let [transit, pending, arriving, dust] = amounts(value)?;
            let aside = crate::Aside {
                transit,
                pending,
                arriving,
                dust,
            };
            custody.asides.insert((account, asset), aside);
        }
        Part::Channel(id) => {
            custody.channels.insert(id, load_channel(value)?);
        }
        Part::Withdrawal(id) => {
            custody.withdrawals.insert(id, from_json(value)?);
        }
        Part::Credits(line) => {
            custody.credits.insert(line, from_json(value)?);
        }
        Part::Received(rail) => {
            let number = u64::from_le_bytes(value.try_into().ok()?);
            custody.received.insert(rail, number);
        }
        Part::Awaited(id) => {
            custody.awaited.insert(id, from_json(value)?);
        }
        Part::Pin(place) => {
            custody.pins.insert(place, B256::try_from(value).ok()?);
        }
        Part::Batch => {
            let covers = std::mem::take(&mut custody.batch.covers);
            custody.batch = from_json(value)?;
            custody.batch.covers = covers;
        }
        Part::Covers => {
            let (chunks, rest) = value.as_chunks::<COVER>();
            if !rest.is_empty() {
                return None;
            }
            custody.batch.covers = chunks.iter().map(load_cover).collect();
        }
        Part::Unbacked(shard, sequence) => {
            let unbacked = from_json(value)?;
            custody.unbacked.insert((shard, sequence), unbacked);
        }
        Part::Open(key) => {
            custody.open.insert(key, load_open(value)?);
        }
    }
    Some(())
}
