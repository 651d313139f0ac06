//! A small exchange that plays by the rules: two shards, two hubs, a rail without channels. It makes records and facts at random and keeps, apart from the
//! ledger and one by one, the postings that they should give, what the chains have and what the engines have.
#![allow(dead_code, reason = "each test uses its part")]

use crate::naive::{Naive, Random};
use ring0_channels::message::Hub;
use ring0_channels::{Address, B256, U256};
use ring0_engine::control::{
    Body, Bust, Control, ControlKind, Deposit, List, SettlementMark, TransferIn, TransferOut,
};
use ring0_engine::record::{
    ControlRecord, Crossed, Filled, Head, Kind, Outcome, State, StateChanged,
};
use ring0_settlement::book::{Book, Own};
use ring0_settlement::reconcile::{EngineFigure, HubFigures, RailFigure, TreeFigure};
use ring0_settlement::{
    AccountId, Asset, AssetId, CreditLine, Epoch, Fact, Figures, Ledger, Mark, Peer, PeerId, Pin,
    Place, Purse, Venue, WithdrawalId,
};
use std::collections::BTreeMap;
use zerocopy::{FromZeros, IntoBytes};

pub(crate) const ACCOUNTS: u32 = 9;
pub(crate) const SHARDS: [PeerId; 2] = [PeerId(0), PeerId(1)];
const HUBS: [PeerId; 2] = [PeerId(7), PeerId(6)];
const LIGHTNING: PeerId = PeerId(5);
const ASSETS: usize = 3;

/// Something that happened, in the order in which the ledger takes it.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Record(usize, Vec<u8>),
    Fact(Fact),
}

#[derive(Clone, Debug)]
struct Chan {
    id: B256,
    account: u32,
    place: u32,
    deposited: u128,
    withdrawn: u128,
    moved: i128,
    disputed: bool,
    closed: bool,
}

impl Chan {
    fn escrow(&self) -> i128 {
        match self.closed {
            true => 0,
            false => self.deposited as i128 + self.moved - self.withdrawn as i128,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Trade {
    shard: usize,
    instrument: u32,
    price: u32,
    lots: u32,
    buyer: u32,
    seller: u32,
    buyer_fee: i64,
    seller_fee: i64,
}

/// See the module.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) naive: Naive,
    pub(crate) events: Vec<Event>,
    sequences: [u64; 2],
    /// Engine units by shard, account, asset.
    has: BTreeMap<(usize, u32, u32), u64>,
    lists: Vec<(usize, List)>,
    trades: Vec<Trade>,
    out_numbers: BTreeMap<(usize, u32), u64>,
    /// Between shards: from, to, account, asset, units, number.
    crossing: Vec<(usize, usize, u32, u32, u64, u64)>,
    channels: Vec<Chan>,
    vaults: [i128; 3],
    reserves: [i128; 3],
    claims: [i128; 3],
    lightning: BTreeMap<u32, i128>,
    receipts: u64,
    withdrawals: BTreeMap<WithdrawalId, (PeerId, u32, u128)>,
    /// Taken by the ends of channels and not yet debited, by account and asset.
    owed: BTreeMap<(u32, u32), i128>,
    awaited: Vec<(B256, PeerId, u32, u32, u128)>,
    names: u64,
}

pub(crate) fn venue() -> Venue {
    let asset = |name: &str, decimals, unit_exponent| Asset {
        name: name.to_owned(),
        decimals,
        unit_exponent,
    };
    let peer = |name: &str, number| Peer {
        name: name.to_owned(),
        number,
    };
    let hub = |number: u8| Hub {
        lineage: U256::from(number),
        address: Address::repeat_byte(number),
    };
    let place = |rail: usize, token, asset| Place {
        rail: HUBS[rail],
        hub: hub(rail as u8 + 1),
        token: Address::repeat_byte(token),
        asset: AssetId(asset),
    };
    Venue::new(
        vec![asset("USD", 6, 2), asset("ETH", 18, 9), asset("BTC", 8, 0)],
        vec![peer("a", SHARDS[0]), peer("b", SHARDS[1])],
        vec![
            peer("one", HUBS[0]),
            peer("two", HUBS[1]),
            peer("lightning", LIGHTNING),
        ],
        // Dollars at two hubs, ether at the first; bitcoin by Lightning alone.
        vec![place(0, 0xA, 0), place(0, 0, 1), place(1, 0xB, 0)],
        ACCOUNTS,
    )
    .unwrap()
}

fn record_of<B: Body>(sequence: u64, kind: ControlKind, body: &B, outcome: Outcome) -> Vec<u8> {
    let control = Control::new(kind, body);
    let mut record = ControlRecord::new_zeroed();
    record.head = head(Kind::Control, 2, sequence, 0, 0);
    record.kind = kind as u32;
    record.outcome = outcome as u8;
    record.body = control.body;
    record.as_bytes().to_vec()
}

fn head(kind: Kind, slots: u8, sequence: u64, locate: u32, side: u8) -> Head {
    Head {
        kind: kind as u16,
        slots,
        side,
        locate,
        sequence,
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut world = World {
            random: Random(seed),
            naive: Naive::new(venue()),
            events: Vec::new(),
            sequences: [0; 2],
            has: BTreeMap::new(),
            lists: Vec::new(),
            trades: Vec::new(),
            out_numbers: BTreeMap::new(),
            crossing: Vec::new(),
            channels: Vec::new(),
            vaults: [0; 3],
            reserves: [0; 3],
            claims: [0; 3],
            lightning: BTreeMap::new(),
            receipts: 0,
            withdrawals: BTreeMap::new(),
            owed: BTreeMap::new(),
            awaited: Vec::new(),
            names: 0,
        };
        for (shard, instrument, base, quote) in [(0, 0, 1, 0), (1, 1, 2, 0), (1, 2, 2, 1)] {
            world.list(shard, instrument, base, quote);
        }
        // Something to trade with from the first step on.
        for account in 0..ACCOUNTS {
            for (shard, asset) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] {
                world.hand_out(shard, account, asset, 3_000);
            }
        }
        // The node's own coins, out of which it pays for its ways.
        let (rail, asset, amount) = (LIGHTNING, AssetId(2), 1_000_000_000_000);
        world.lightning.insert(2, amount);
        world.fact(Fact::Funded {
            purse: Purse::Rail(rail),
            own: Own::Equity,
            asset,
            amount,
        });
        world.naive.post(Book::Rail { rail }, asset, -amount);
        world.naive.post(Book::Own(Own::Equity), asset, amount);
        world
    }

    fn list(&mut self, shard: usize, instrument: u32, base: u32, quote: u32) {
        let mut list = List::new_zeroed();
        (list.instrument, list.base_asset, list.quote_asset) = (instrument, base, quote);
        list.lot_value = 1 + self.random.below(5);
        list.tick_value = 1 + self.random.below(4) as u32;
        list.taker_ppm = 2000;
        list.maker_ppm = -500 + self.random.below(1000) as i32;
        self.lists.retain(|(_, it)| it.instrument != instrument);
        self.lists.push((shard, list));
        self.trades.retain(|it| it.instrument != instrument);
        self.control(shard, ControlKind::List, &list, Outcome::Accepted);
    }

    fn record(&mut self, shard: usize, bytes: Vec<u8>) {
        self.naive.take(SHARDS[shard], &bytes);
        self.events.push(Event::Record(shard, bytes));
    }

    fn control<B: Body>(&mut self, shard: usize, kind: ControlKind, body: &B, outcome: Outcome) {
        self.sequences[shard] += 1;
        let bytes = record_of(self.sequences[shard], kind, body, outcome);
        self.record(shard, bytes);
    }

    fn fact(&mut self, fact: Fact) {
        self.events.push(Event::Fact(fact));
    }

    fn units(&mut self, shard: usize, account: u32, asset: u32) -> &mut u64 {
        self.has.entry((shard, account, asset)).or_default()
    }

    fn unit(&self, asset: u32) -> u128 {
        self.naive.venue.unit(AssetId(asset))
    }

    fn name(&mut self) -> B256 {
        self.names += 1;
        // Names that differ in their first bytes, as hashes do.
        let spread = self.names.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&spread.to_be_bytes());
        bytes[24..].copy_from_slice(&self.names.to_be_bytes());
        B256::new(bytes)
    }

    /// The customer's money that came in: whole units wait, the rest is dust.
    fn give(&mut self, account: u32, asset: u32, amount: u128, from: Book) {
        let (of, asset_id) = (AccountId(account), AssetId(asset));
        let unit = self.unit(asset) as i128;
        self.naive.post(from, asset_id, -(amount as i128));
        let dust = Book::Dust { account: of };
        self.naive.post(dust, asset_id, amount as i128);
        let has: i128 = self.sum(dust, asset_id);
        let whole = has / unit * unit;
        self.naive.post(dust, asset_id, -whole);
        self.naive
            .post(Book::Arriving { account: of }, asset_id, whole);
    }

    fn sum(&self, book: Book, asset: AssetId) -> i128 {
        let own = self.naive.postings.iter();
        let own = own.filter(|it| it.book == book && it.asset == asset);
        own.map(|it| it.amount).sum()
    }

    fn open_channel(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.channels.len())
            .filter(|it| !self.channels[*it].closed)
            .collect();
        self.random.pick(&open).copied()
    }

    fn asset_of(&self, place: u32) -> u32 {
        self.naive.venue.places()[place as usize].asset.0
    }

    /// One thing, if it can happen now. `ledger` has taken all events so far: it is asked only what a daemon would ask it.
    pub(crate) fn step(&mut self, ledger: &Ledger) {
        let shard = self.random.below(2) as usize;
        let account = self.random.below(u64::from(ACCOUNTS)) as u32;
        let asset = self.random.below(ASSETS as u64) as u32;
        let of = AccountId(account);
        match self.random.below(100) {
            0..4 => {
                let amount = 1 + self.random.below(5_000);
                self.hand_out(shard, account, asset, amount);
            }
            4..6 => {
                let has = *self.units(shard, account, asset);
                let amount = self.random.below(has + 1);
                if amount != 0 {
                    *self.units(shard, account, asset) -= amount;
                    let taken = Deposit {
                        account,
                        asset,
                        amount,
                    };
                    self.control(shard, ControlKind::Withdraw, &taken, Outcome::Accepted);
                }
            }
            6..36 => self.trade(),
            36..38 => self.bust(),
            38..41 => {
                // Refused, and another kind of record: neither moves anything.
                let given = Deposit {
                    account,
                    asset,
                    amount: 77,
                };
                self.control(shard, ControlKind::Deposit, &given, Outcome::Rejected);
                self.sequences[shard] += 1;
                let mut changed = StateChanged::new_zeroed();
                changed.head = head(Kind::StateChanged, 1, self.sequences[shard], 1, 0);
                changed.state = State::Continuous as u8;
                self.record(shard, changed.as_bytes().to_vec());
            }
            41..46 => {
                let has = *self.units(shard, account, asset);
                let amount = self.random.below(has + 1);
                if amount != 0 {
                    self.transfer_out(shard, 1 - shard, account, asset, amount);
                }
            }
            46..50 => {
                if !self.crossing.is_empty() {
                    let at = self.random.below(self.crossing.len() as u64) as usize;
                    let (from, to, account, asset, units, number) = self.crossing.remove(at);
                    *self.units(to, account, asset) += units;
                    self.transfer_in(to, SHARDS[from], account, asset, units, number);
                }
            }
            50..56 => {
                let has = *self.units(shard, account, asset);
                let amount = self.random.below(has / 2 + 1);
                if amount != 0 {
                    let rail = match asset {
                        0 => HUBS[self.random.below(2) as usize],
                        1 => HUBS[0],
                        _ => LIGHTNING,
                    };
                    *self.units(shard, account, asset) -= amount;
                    let number = self.next_out(shard, account);
                    let id = WithdrawalId {
                        from: SHARDS[shard],
                        account: of,
                        number,
                    };
                    let base = u128::from(amount) * self.unit(asset);
                    self.withdrawals.insert(id, (rail, asset, base));
                    self.out_record(shard, rail, account, asset, amount, number);
                }
            }
            56..62 => {
                let units = ledger.creditable(of, AssetId(asset));
                if units != 0 {
                    let rail = match asset {
                        2 => LIGHTNING,
                        _ => HUBS[0],
                    };
                    let line = CreditLine {
                        account: of,
                        rail,
                        shard: SHARDS[shard],
                    };
                    let number = ledger.last_credit(&line) + 1 + self.random.below(2);
                    let units = 1 + self.random.below(units);
                    self.fact(Fact::Credited {
                        rail,
                        shard: SHARDS[shard],
                        account: of,
                        asset: AssetId(asset),
                        number,
                        units,
                    });
                }
            }
            62..68 => {
                let open: Vec<_> = ledger.open_credits().collect();
                if let Some((line, credit)) = self.random.pick(&open).copied() {
                    let to = SHARDS.iter().position(|it| *it == line.shard).unwrap();
                    let (account, asset) = (line.account.0, credit.asset.0);
                    *self.units(to, account, asset) += credit.units;
                    self.transfer_in(to, line.rail, account, asset, credit.units, credit.number);
                }
            }
            68..71 => {
                let covers = ledger.batch().covers.clone();
                let all: Vec<Mark> = ledger.marks(&covers).collect();
                if let Some(mark) = self.random.pick(&all).copied() {
                    self.mark(&mark, ledger.epoch());
                }
            }
            71 => {
                let (shard, list) = *self.random.pick(&self.lists.clone()).unwrap();
                if self.random.below(4) == 0 {
                    self.list(shard, list.instrument, list.base_asset, list.quote_asset);
                }
            }
            _ => self.outside(account),
        }
    }

    /// A settlement mark is sequenced.
    pub(crate) fn mark(&mut self, mark: &Mark, epoch: Epoch) {
        let of = SHARDS.iter().position(|it| *it == mark.shard).unwrap();
        let body = SettlementMark {
            account: mark.account.0,
            asset: mark.asset.0,
            covered: mark.units,
            epoch: epoch.0,
        };
        self.control(of, ControlKind::SettlementMark, &body, Outcome::Accepted);
    }

    /// Money by hand, and trades.
    pub(crate) fn trade_only(&mut self) {
        let account = self.random.below(u64::from(ACCOUNTS)) as u32;
        let asset = self.random.below(ASSETS as u64) as u32;
        for shard in 0..2 {
            let amount = 1 + self.random.below(900);
            self.hand_out(shard, account, asset, amount);
        }
        self.trade();
    }

    fn hand_out(&mut self, shard: usize, account: u32, asset: u32, amount: u64) {
        *self.units(shard, account, asset) += amount;
        let given = Deposit {
            account,
            asset,
            amount,
        };
        self.control(shard, ControlKind::Deposit, &given, Outcome::Accepted);
    }

    fn next_out(&mut self, shard: usize, account: u32) -> u64 {
        let number = self.out_numbers.entry((shard, account)).or_default();
        *number += 1;
        *number
    }

    fn transfer_out(&mut self, from: usize, to: usize, account: u32, asset: u32, units: u64) {
        *self.units(from, account, asset) -= units;
        let number = self.next_out(from, account);
        self.crossing
            .push((from, to, account, asset, units, number));
        self.out_record(from, SHARDS[to], account, asset, units, number);
    }

    fn out_record(
        &mut self,
        shard: usize,
        to: PeerId,
        account: u32,
        asset: u32,
        amount: u64,
        number: u64,
    ) {
        let out = TransferOut {
            account,
            asset,
            amount,
            number,
            to: to.0,
            reserved: 0,
        };
        self.control(shard, ControlKind::TransferOut, &out, Outcome::Accepted);
    }

    fn transfer_in(
        &mut self,
        shard: usize,
        from: PeerId,
        account: u32,
        asset: u32,
        amount: u64,
        number: u64,
    ) {
        let into = TransferIn {
            account,
            asset,
            amount,
            number,
            from: from.0,
            reserved: 0,
        };
        self.control(shard, ControlKind::TransferIn, &into, Outcome::Accepted);
    }

    fn trade(&mut self) {
        let (shard, list) = *self.random.pick(&self.lists.clone()).unwrap();
        let buyer = self.random.below(u64::from(ACCOUNTS)) as u32;
        let seller = self.random.below(u64::from(ACCOUNTS)) as u32;
        let (price, lots) = (
            1 + self.random.below(20) as u32,
            1 + self.random.below(9) as u32,
        );
        let paid = u64::from(price) * u64::from(lots) * u64::from(list.tick_value);
        let base = u64::from(lots) * list.lot_value;
        let taker_fee = (paid * u64::from(list.taker_ppm)).div_ceil(1_000_000) as i64;
        let maker_fee =
            paid as i64 * i64::from(list.maker_ppm) / 1_000_000 + i64::from(list.maker_ppm > 0);
        let crosses = self.random.below(4) == 0;
        let taker_buys = self.random.below(2) == 0;
        let (buyer_fee, seller_fee) = match (crosses, taker_buys) {
            (true, _) => (taker_fee, taker_fee),
            (false, true) => (taker_fee, maker_fee),
            (false, false) => (maker_fee, taker_fee),
        };
        let cost = paid.checked_add_signed(buyer_fee).unwrap();
        let proceeds = paid.checked_add_signed(-seller_fee).unwrap();
        let (b, q) = (list.base_asset, list.quote_asset);
        if *self.units(shard, buyer, q) < cost || *self.units(shard, seller, b) < base {
            return;
        }
        *self.units(shard, buyer, q) -= cost;
        *self.units(shard, buyer, b) += base;
        *self.units(shard, seller, b) -= base;
        *self.units(shard, seller, q) += proceeds;
        let trade = Trade {
            shard,
            instrument: list.instrument,
            price,
            lots,
            buyer,
            seller,
            buyer_fee,
            seller_fee,
        };
        self.trades.push(trade);
        self.sequences[shard] += 1;
        let (sequence, locate) = (self.sequences[shard], list.instrument + 1);
        if crosses {
            let mut cross = Crossed::new_zeroed();
            cross.head = head(Kind::Crossed, 1, sequence, locate, 0);
            (cross.price, cross.lots) = (price, lots);
            (cross.buy_account, cross.sell_account) = (buyer, seller);
            (cross.buy_fee, cross.sell_fee) = (buyer_fee as u64, seller_fee as u64);
            self.record(shard, cross.as_bytes().to_vec());
            return;
        }
        let mut fill = Filled::new_zeroed();
        let side = if taker_buys { b'B' } else { b'S' };
        fill.head = head(Kind::Filled, 1, sequence, locate, side);
        (fill.price, fill.lots) = (price, lots);
        (fill.taker_account, fill.maker_account) = match taker_buys {
            true => (buyer, seller),
            false => (seller, buyer),
        };
        (fill.taker_fee, fill.maker_fee) = (taker_fee as u64, maker_fee);
        self.record(shard, fill.as_bytes().to_vec());
    }

    fn bust(&mut self) {
        if self.trades.is_empty() {
            return;
        }
        let at = self.random.below(self.trades.len() as u64) as usize;
        let Trade {
            shard,
            instrument,
            price,
            lots,
            buyer,
            seller,
            buyer_fee,
            seller_fee,
        } = self.trades[at];
        let (_, list) = *self
            .lists
            .iter()
            .find(|(_, it)| it.instrument == instrument)
            .unwrap();
        let paid = u64::from(price) * u64::from(lots) * u64::from(list.tick_value);
        let base = u64::from(lots) * list.lot_value;
        let (back, proceeds) = (
            paid.checked_add_signed(buyer_fee).unwrap(),
            paid.checked_add_signed(-seller_fee).unwrap(),
        );
        let (b, q) = (list.base_asset, list.quote_asset);
        if buyer == seller
            || *self.units(shard, seller, q) < proceeds
            || *self.units(shard, buyer, b) < base
        {
            return;
        }
        *self.units(shard, buyer, q) += back;
        *self.units(shard, buyer, b) -= base;
        *self.units(shard, seller, b) += base;
        *self.units(shard, seller, q) -= proceeds;
        self.trades.remove(at);
        let mut bust = Bust::new_zeroed();
        (bust.instrument, bust.price, bust.lots) = (instrument, price, lots);
        (bust.buyer, bust.seller) = (buyer, seller);
        (bust.buyer_fee, bust.seller_fee) = (buyer_fee, seller_fee);
        self.control(shard, ControlKind::Bust, &bust, Outcome::Accepted);
    }

    /// Something on a chain or a rail.
    fn outside(&mut self, account: u32) {
        let of = AccountId(account);
        match self.random.below(20) {
            0 => {
                let place = self.random.below(3) as u32;
                let taken = self
                    .channels
                    .iter()
                    .any(|it| !it.closed && (it.account, it.place) == (account, place));
                if !taken {
                    let id = self.name();
                    self.channels.push(Chan {
                        id,
                        account,
                        place,
                        deposited: 0,
                        withdrawn: 0,
                        moved: 0,
                        disputed: false,
                        closed: false,
                    });
                    self.fact(Fact::Opened {
                        channel: id,
                        account: of,
                        place,
                    });
                }
            }
            1..5 => {
                if let Some(at) = self.open_channel()
                    && !self.channels[at].disputed
                {
                    let amount = self.some_amount();
                    let chan = &mut self.channels[at];
                    chan.deposited += amount;
                    let (channel, deposited) = (chan.id, chan.deposited);
                    let (account, place) = (chan.account, chan.place);
                    let asset = self.asset_of(place);
                    self.fact(Fact::Deposited { channel, deposited });
                    self.give(account, asset, amount, Book::Escrow { place });
                }
            }
            5..8 => self.pay_out(),
            8 | 9 => {
                if let Some(at) = self.open_channel() {
                    let place = self.channels[at].place;
                    let (escrow, vault) = (self.channels[at].escrow(), self.vaults[place as usize]);
                    let span = (escrow + vault + 1) as u64;
                    let delta = i128::from(self.random.below(span)) - escrow;
                    if delta != 0 {
                        self.rebalance(at, delta);
                    }
                }
            }
            10 => {
                let (rail, asset) = match self.random.below(3) {
                    0 => (LIGHTNING, 2),
                    1 => (HUBS[0], 1),
                    _ => (HUBS[1], 0),
                };
                let (id, amount) = (self.name(), self.some_amount());
                self.awaited.push((id, rail, account, asset, amount));
                self.fact(Fact::Seen {
                    id,
                    rail,
                    account: of,
                    asset: AssetId(asset),
                    amount,
                });
                self.await_more(rail, account, asset, amount as i128);
            }
            11 => {
                if let Some((id, rail, account, asset, amount)) = self.awaited.pop() {
                    self.fact(Fact::Unseen { id });
                    self.await_more(rail, account, asset, -(amount as i128));
                }
            }
            12..14 => {
                let amount = self.some_amount();
                self.receipts += 1;
                *self.lightning.entry(2).or_default() += amount as i128;
                self.fact(Fact::Received {
                    rail: LIGHTNING,
                    number: self.receipts,
                    account: of,
                    asset: AssetId(2),
                    amount,
                });
                self.give(account, 2, amount, Book::Rail { rail: LIGHTNING });
            }
            14 => self.take_dust(account),
            15 => {
                let all: Vec<WithdrawalId> = self.withdrawals.keys().copied().collect();
                if let Some(id) = self.random.pick(&all).copied() {
                    let (_, asset, amount) = self.withdrawals.remove(&id).unwrap();
                    self.fact(Fact::Lapsed { withdrawal: id });
                    let pending = Book::Pending {
                        account: id.account,
                    };
                    self.give(id.account.0, asset, amount, pending);
                }
            }
            16 => {
                let (place, amount) = (self.random.below(3) as u32, self.some_amount() as i128);
                let asset = AssetId(self.asset_of(place));
                let own = [Own::Equity, Own::Bond][self.random.below(2) as usize];
                let out = self.random.below(3) == 0;
                let most = self.vaults[place as usize].min(self.sum(Book::Own(own), asset));
                let amount = if out { -(amount.min(most)) } else { amount };
                if amount != 0 {
                    self.vaults[place as usize] += amount;
                    self.fact(Fact::Funded {
                        purse: Purse::Vault(place),
                        own,
                        asset,
                        amount,
                    });
                    self.naive.post(Book::Vault { place }, asset, -amount);
                    self.naive.post(Book::Own(own), asset, amount);
                }
            }
            17 => self.end_channel(),
            18 => {
                let place = self.random.below(3) as u32;
                let at = place as usize;
                let asset = AssetId(self.asset_of(place));
                let amount = self.vaults[at].min(self.claims[at] - self.reserves[at]);
                if amount > 0 {
                    self.vaults[at] -= amount;
                    self.reserves[at] += amount;
                    let set_aside = amount as u128;
                    self.fact(Fact::Reserved {
                        place,
                        amount: set_aside,
                    });
                    self.naive.post(Book::Vault { place }, asset, amount);
                    self.naive.post(Book::Reserve { place }, asset, -amount);
                } else if self.reserves[at] > 0 {
                    let amount = std::mem::take(&mut self.reserves[at]);
                    self.claims[at] -= amount;
                    let paid = amount as u128;
                    self.fact(Fact::Claimed {
                        place,
                        amount: paid,
                    });
                    self.naive.post(Book::Reserve { place }, asset, amount);
                    self.naive.post(Book::Claims { place }, asset, -amount);
                }
            }
            _ => {
                // Debits that ends of channels had paid before.
                let paid_by = |id: &WithdrawalId, it: &(PeerId, u32, u128)| (id.account.0, it.1);
                let found = self.withdrawals.iter().find(|(id, it)| {
                    let owed = self.owed.get(&paid_by(id, it)).copied().unwrap_or(0);
                    owed >= it.2 as i128
                });
                if let Some((id, it)) = found.map(|(id, it)| (*id, *it)) {
                    self.withdrawals.remove(&id);
                    *self.owed.get_mut(&(id.account.0, it.1)).unwrap() -= it.2 as i128;
                    self.fact(Fact::Absorbed { withdrawal: id });
                }
            }
        }
    }

    fn some_amount(&mut self) -> u128 {
        let size = [7, 1_000, 300_000, 5_000_000_000][self.random.below(4) as usize];
        u128::from(1 + self.random.below(size))
    }

    fn await_more(&mut self, rail: PeerId, account: u32, asset: u32, amount: i128) {
        let (account, asset) = (AccountId(account), AssetId(asset));
        self.naive
            .post(Book::Unconfirmed { account }, asset, amount);
        self.naive.post(Book::Awaited { rail }, asset, -amount);
    }

    fn rebalance(&mut self, at: usize, delta: i128) {
        let chan = &mut self.channels[at];
        chan.moved += delta;
        let (channel, moved, place) = (chan.id, chan.moved, chan.place);
        self.vaults[place as usize] -= delta;
        let asset = AssetId(self.asset_of(place));
        self.fact(Fact::Rebalanced { channel, moved });
        self.naive.post(Book::Vault { place }, asset, delta);
        self.naive.post(Book::Escrow { place }, asset, -delta);
    }

    /// Pays a withdrawal: from a channel with what it has and what the vault adds, or by Lightning.
    fn pay_out(&mut self) {
        let all: Vec<WithdrawalId> = self.withdrawals.keys().copied().collect();
        let Some(id) = self.random.pick(&all).copied() else {
            return;
        };
        let (rail, asset, amount) = self.withdrawals[&id];
        let account = id.account;
        let pending = Book::Pending { account };
        if rail == LIGHTNING {
            let cost = amount - amount.min(3) + u128::from(self.random.below(6));
            self.withdrawals.remove(&id);
            *self.lightning.entry(asset).or_default() -= cost as i128;
            self.fact(Fact::Paid {
                withdrawal: id,
                cost,
            });
            let (asset, amount, cost) = (AssetId(asset), amount as i128, cost as i128);
            self.naive.post(pending, asset, -amount);
            self.naive.post(Book::Rail { rail }, asset, cost);
            self.naive
                .post(Book::RailFees { rail }, asset, amount - cost);
            return;
        }
        let places = self.naive.venue.places();
        let place = places
            .iter()
            .position(|it| (it.rail, it.asset.0) == (rail, asset))
            .unwrap() as u32;
        let found = self
            .channels
            .iter()
            .position(|it| !it.closed && (it.account, it.place) == (account.0, place));
        let Some(at) = found else { return };
        // Two at once where there are two.
        let mut ids = vec![id];
        let more = self.withdrawals.iter();
        let second = more.clone().find(|(other, it)| {
            **other != id && other.account == account && (it.0, it.1) == (rail, asset)
        });
        ids.extend(second.map(|(other, _)| *other));
        let amount: u128 = ids.iter().map(|it| self.withdrawals[it].2).sum();
        let missing = amount as i128 - self.channels[at].escrow();
        if missing > self.vaults[place as usize] {
            return;
        }
        if missing > 0 {
            self.rebalance(at, missing);
        }
        for id in &ids {
            self.withdrawals.remove(id);
        }
        let chan = &mut self.channels[at];
        chan.withdrawn += amount;
        let (channel, withdrawn) = (chan.id, chan.withdrawn);
        self.fact(Fact::Withdrawn {
            channel,
            withdrawn,
            withdrawals: ids,
        });
        let asset = AssetId(asset);
        self.naive
            .post(Book::Escrow { place }, asset, amount as i128);
        self.naive.post(pending, asset, -(amount as i128));
    }

    fn take_dust(&mut self, account: u32) {
        let (asset, rail) = [(0, HUBS[1]), (1, HUBS[0])][self.random.below(2) as usize];
        let of = AccountId(account);
        let has = self.sum(Book::Dust { account: of }, AssetId(asset));
        if has <= 0 {
            return;
        }
        let open = self
            .withdrawals
            .iter()
            .find(|(id, it)| id.account == of && (it.0, it.1) == (rail, asset));
        self.names += 1;
        let own = WithdrawalId {
            from: rail,
            account: of,
            number: self.names,
        };
        let id = open.map_or(own, |(id, _)| *id);
        let amount = 1 + self.random.below(has as u64);
        let entry = self.withdrawals.entry(id).or_insert((rail, asset, 0));
        entry.2 += u128::from(amount);
        self.fact(Fact::DustTaken {
            withdrawal: id,
            rail,
            asset: AssetId(asset),
            amount: amount.into(),
        });
        let (asset, amount) = (AssetId(asset), i128::from(amount));
        self.naive.post(Book::Dust { account: of }, asset, -amount);
        self.naive
            .post(Book::Pending { account: of }, asset, amount);
    }

    /// A dispute, or the end of one.
    fn end_channel(&mut self) {
        let Some(at) = self.open_channel() else {
            return;
        };
        let channel = self.channels[at].id;
        if !self.channels[at].disputed {
            self.channels[at].disputed = true;
            self.fact(Fact::Disputed { channel });
            return;
        }
        let (place, account) = (self.channels[at].place, self.channels[at].account);
        let (escrow, asset) = (self.channels[at].escrow(), self.asset_of(place));
        // Now and then more than there is: the rest is a claim.
        let entitled = match self.random.below(3) {
            0 => escrow + self.vaults[place as usize] + 1 + i128::from(self.random.below(100)),
            _ => i128::from(self.random.below(2 * escrow as u64 + 10)),
        };
        let paid = entitled.min(escrow + self.vaults[place as usize]);
        let claim = entitled - paid;
        self.channels[at].closed = true;
        self.vaults[place as usize] += escrow - paid;
        self.claims[place as usize] += claim;
        *self.owed.entry((account, asset)).or_default() += entitled;
        self.fact(Fact::Closed {
            channel,
            paid: paid as u128,
            claim: claim as u128,
            withdrawals: Vec::new(),
        });
        let (account, asset) = (AccountId(account), AssetId(asset));
        self.naive.post(Book::Escrow { place }, asset, escrow);
        self.naive.post(Book::Vault { place }, asset, paid - escrow);
        self.naive.post(Book::Pending { account }, asset, -entitled);
        self.naive.post(Book::Claims { place }, asset, claim);
    }

    /// A cut at what has happened so far.
    pub(crate) fn cut(&mut self, ledger: &Ledger) {
        let epoch = ledger.epoch().next();
        let branch = |place: u64| B256::with_last_byte((epoch.0 / 4 + place) as u8);
        let pins = [0, 2].map(|place| Pin {
            place,
            branch: branch(place.into()),
        });
        let renew = self.random.below(10) == 0;
        self.fact(Fact::Cut {
            epoch,
            time_ns: epoch.0 * 1_000_000_000,
            pins: pins.to_vec(),
            renew,
        });
    }

    /// What engines and chains say now. The trees' sums are the caller's.
    pub(crate) fn figures(&self, trees: Vec<TreeFigure>) -> Figures {
        let units = |asset: u32| {
            let own = self.has.iter().filter(|((.., it), _)| *it == asset);
            own.map(|(_, units)| u128::from(*units)).sum()
        };
        let engine = (0..ASSETS as u32).map(|asset| EngineFigure {
            asset: AssetId(asset),
            units: units(asset),
        });
        let hubs = (0..3_u32).map(|place| {
            let at = place as usize;
            let own = self.channels.iter().filter(|it| it.place == place);
            let escrow: i128 = own.map(Chan::escrow).sum();
            HubFigures {
                place,
                height: 7,
                balance: (escrow + self.vaults[at] + self.reserves[at]) as u128,
                vault: self.vaults[at] as u128,
                claims: self.reserves[at] as u128,
            }
        });
        let rails = self.lightning.iter().map(|(asset, has)| RailFigure {
            rail: LIGHTNING,
            asset: AssetId(*asset),
            balance: *has as u128,
        });
        Figures {
            engine: engine.collect(),
            trees,
            hubs: hubs.collect(),
            rails: rails.collect(),
        }
    }

    pub(crate) fn vault_figures(&self) -> Vec<u128> {
        self.vaults.iter().map(|it| *it as u128).collect()
    }
}
