//! The specification of `docs/settlement.md#postings`: which record gives which postings, one by one, without any cleverness.
#![allow(dead_code, reason = "each test uses its part")]

use ring0_engine::control::{
    Body, Bust, Control, ControlKind, Deposit, List, TransferIn, TransferOut,
};
use ring0_engine::limits::SLOT_LEN;
use ring0_engine::record::{ControlRecord, Crossed, Filled, Head, Kind, Outcome};
use ring0_settlement::book::{Book, FeePart, Posting};
use ring0_settlement::{AccountId, AssetId, PeerId, Venue};
use std::collections::BTreeMap;
use zerocopy::{FromBytes, FromZeros};

/// A seed from `RING0_SEED`, or a fresh one; printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("RING0_SEED").ok();
    let seed = given.and_then(|it| it.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |it| it.as_nanos() as u64)
    });
    println!("RING0_SEED={seed}");
    seed
}

/// A number from the environment.
pub(crate) fn number_of(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}

/// A list of postings, and what is needed to write the next ones.
pub(crate) struct Naive {
    pub(crate) venue: Venue,
    pub(crate) postings: Vec<Posting>,
    listings: BTreeMap<(PeerId, u32), (List, u32)>,
    schedules: BTreeMap<PeerId, u32>,
}

fn body<B: Body>(record: &ControlRecord) -> B {
    let mut control = Control::new_zeroed();
    control.body = record.body;
    control.body()
}

/// Records of whole slots one after the other.
pub(crate) fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (head, _) = Head::read_from_prefix(bytes).ok()?;
        let (record, rest) = bytes.split_at(usize::from(head.slots) * SLOT_LEN);
        bytes = rest;
        Some(record)
    })
}

impl Naive {
    pub(crate) fn new(venue: Venue) -> Naive {
        Naive {
            venue,
            postings: Vec::new(),
            listings: BTreeMap::new(),
            schedules: BTreeMap::new(),
        }
    }

    pub(crate) fn post(&mut self, book: Book, asset: AssetId, amount: i128) {
        self.postings.push(Posting {
            book,
            asset,
            amount,
        });
    }

    /// In engine units.
    fn move_units(&mut self, asset: u32, units: i128, from: Book, to: Book) {
        let asset = AssetId(asset);
        let amount = units * self.venue.unit(asset) as i128;
        self.post(from, asset, -amount);
        self.post(to, asset, amount);
    }

    /// Takes a shard's records. Gives how many postings they were.
    pub(crate) fn take(&mut self, shard: PeerId, bytes: &[u8]) {
        for record in records(bytes) {
            let (head, _) = Head::read_from_prefix(record).unwrap();
            if head.kind == Kind::Filled as u16 {
                self.filled(shard, &Filled::read_from_bytes(record).unwrap());
            } else if head.kind == Kind::Crossed as u16 {
                self.crossed(shard, &Crossed::read_from_bytes(record).unwrap());
            } else if head.kind == Kind::Control as u16 {
                let control = ControlRecord::read_from_bytes(record).unwrap();
                if control.outcome == Outcome::Accepted as u8 {
                    self.control(shard, &control);
                }
            }
        }
    }

    fn trade(
        &mut self,
        shard: PeerId,
        instrument: u32,
        (price, lots): (u32, u32),
        buyer: u32,
        seller: u32,
        fees: [(u32, i64, FeePart); 2],
    ) {
        let (list, schedule) = self.listings[&(shard, instrument)];
        let of = |account: u32| Book::Trading {
            shard,
            account: AccountId(account),
        };
        let lots = i128::from(lots);
        let paid = lots * i128::from(price) * i128::from(list.tick_value);
        let bought = lots * i128::from(list.lot_value);
        self.move_units(list.quote_asset, paid, of(buyer), of(seller));
        self.move_units(list.base_asset, bought, of(seller), of(buyer));
        for (account, fee, part) in fees {
            let book = Book::Fees {
                shard,
                schedule,
                part,
            };
            self.move_units(list.quote_asset, fee.into(), of(account), book);
        }
    }

    fn filled(&mut self, shard: PeerId, fill: &Filled) {
        let (buyer, seller) = match fill.head.side {
            b'B' => (fill.taker_account, fill.maker_account),
            _ => (fill.maker_account, fill.taker_account),
        };
        let maker_part = match fill.maker_fee {
            0.. => FeePart::Maker,
            _ => FeePart::Rebate,
        };
        let fees = [
            (fill.taker_account, fill.taker_fee as i64, FeePart::Taker),
            (fill.maker_account, fill.maker_fee, maker_part),
        ];
        let terms = (fill.price, fill.lots);
        self.trade(shard, fill.head.locate - 1, terms, buyer, seller, fees);
    }

    fn crossed(&mut self, shard: PeerId, cross: &Crossed) {
        let (buyer, seller) = (cross.buy_account, cross.sell_account);
        let fees = [
            (buyer, cross.buy_fee as i64, FeePart::Auction),
            (seller, cross.sell_fee as i64, FeePart::Auction),
        ];
        let terms = (cross.price, cross.lots);
        self.trade(shard, cross.head.locate - 1, terms, buyer, seller, fees);
    }

    fn control(&mut self, shard: PeerId, record: &ControlRecord) {
        let is = |kind: ControlKind| record.kind == kind as u32;
        let trading = |account: u32| Book::Trading {
            shard,
            account: AccountId(account),
        };
        if is(ControlKind::List) {
            let list: List = body(record);
            let next = self.schedules.entry(shard).or_default();
            self.listings
                .insert((shard, list.instrument), (list, *next));
            *next += 1;
        } else if is(ControlKind::Deposit) || is(ControlKind::Withdraw) {
            let given: Deposit = body(record);
            let (mut from, mut to) = (Book::Granted, trading(given.account));
            if is(ControlKind::Withdraw) {
                std::mem::swap(&mut from, &mut to);
            }
            self.move_units(given.asset, given.amount.into(), from, to);
        } else if is(ControlKind::TransferOut) {
            let out: TransferOut = body(record);
            let account = AccountId(out.account);
            let to = match self.venue.is_rail(PeerId(out.to)) {
                true => Book::Pending { account },
                false => Book::Transit { account },
            };
            self.move_units(out.asset, out.amount.into(), trading(out.account), to);
        } else if is(ControlKind::TransferIn) {
            let into: TransferIn = body(record);
            let account = AccountId(into.account);
            let from = match self.venue.is_rail(PeerId(into.from)) {
                true => Book::Arriving { account },
                false => Book::Transit { account },
            };
            self.move_units(into.asset, into.amount.into(), from, trading(into.account));
        } else if is(ControlKind::Bust) {
            let bust: Bust = body(record);
            let fees = [
                (bust.seller, -bust.seller_fee, FeePart::Bust),
                (bust.buyer, -bust.buyer_fee, FeePart::Bust),
            ];
            // The trade with sides exchanged: money and goods go back.
            let (terms, index) = ((bust.price, bust.lots), bust.instrument);
            self.trade(shard, index, terms, bust.seller, bust.buyer, fees);
        }
    }

    /// Every book's amount, summed from the first posting on; what came to zero is not there.
    pub(crate) fn books(&self) -> Vec<(Book, AssetId, i128)> {
        let mut sums: BTreeMap<(Book, AssetId), i128> = BTreeMap::new();
        for posting in &self.postings {
            *sums.entry((posting.book, posting.asset)).or_default() += posting.amount;
        }
        let all = sums.into_iter().filter(|(_, amount)| *amount != 0);
        all.map(|((book, asset), amount)| (book, asset, amount))
            .collect()
    }
}
