//! Random markets of the native engine: what a client makes of snapshot and diffs is the engine's book, what is kept of orders is the engine's
//! orders, and what is lost is noticed.

use super::*;
use crate::market::{Diff, Level, Picture, checksum};
use crate::venue::{Asset, Instrument};
use ring0_engine::canon::{Listing, Tag};
use ring0_engine::flow::{Flow, Input, Options, Profile};
use ring0_engine::native::Native;
use std::collections::HashMap;

/// Instruments of the flow are fewer than this.
const INSTRUMENTS: u32 = 64;

/// Inputs of each profile.
const INPUTS: usize = 3_000;

fn seed() -> u64 {
    let seed = std::env::var("RING0_SEED").map_or_else(
        |_| crate::clock::unix_now_ns(),
        |text| text.parse().expect("RING0_SEED is a number"),
    );
    println!("RING0_SEED={seed}");
    seed
}

/// Prices are ticks and quantities lots: the engine's own numbers as text.
fn venue(native: &Native) -> Arc<Venue> {
    let asset = Asset {
        name: "X".to_owned(),
        places: 0,
        decimals: 0,
    };
    let instrument = |index| {
        let (tick_size, lot_size) = native.shard().wire_units(index).unwrap_or((1, 1));
        Instrument {
            index,
            shard: 0,
            symbol: format!("I{index}"),
            base: asset.clone(),
            quote: asset.clone(),
            quote_index: 0,
            tick_size,
            lot_size,
            lot_value: 1,
            tick_value: 1,
            price_step: 1,
            price_places: 0,
            lots_max: u32::MAX,
            ladder: (1, 1),
            maker_ppm: 0,
            taker_ppm: 0,
        }
    };
    Arc::new(Venue::of_instruments(
        (0..INSTRUMENTS).map(instrument).collect(),
    ))
}

/// A book as a client keeps it.
#[derive(Clone, Default)]
struct ClientBook {
    seq: u64,
    bids: BTreeMap<u64, String>,
    asks: BTreeMap<u64, String>,
}

impl ClientBook {
    fn of(picture: &Picture) -> ClientBook {
        let mut book = ClientBook {
            seq: picture.seq,
            ..ClientBook::default()
        };
        put(&mut book.bids, &picture.bids);
        put(&mut book.asks, &picture.asks);
        book
    }

    /// Applies a diff as the page says; whether nothing was missing.
    fn apply(&mut self, diff: &Diff) -> bool {
        let follows = diff.prev_seq == self.seq;
        put(&mut self.bids, &diff.bids);
        put(&mut self.asks, &diff.asks);
        self.seq = diff.seq;
        follows
    }

    fn levels(&self) -> (Vec<Level>, Vec<Level>) {
        let text = |(price, lots): (&u64, &String)| (price.to_string(), lots.clone());
        (
            self.bids.iter().rev().map(text).collect(),
            self.asks.iter().map(text).collect(),
        )
    }

    fn checksum(&self) -> u32 {
        let (bids, asks) = self.levels();
        checksum(&bids, &asks)
    }
}

fn put(side: &mut BTreeMap<u64, String>, levels: &[Level]) {
    for (price, lots) in levels {
        let price = price.parse().unwrap();
        if lots == "0" {
            side.remove(&price);
        } else {
            side.insert(price, lots.clone());
        }
    }
}

/// Id and open lots of each of the engine's orders.
#[derive(Default)]
struct Open(BTreeMap<u64, u64>);

impl Listing for Open {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        if tag == Tag::Order {
            self.0.insert(numbers[0], numbers[5]);
        }
    }
}

struct Run {
    flow: Flow,
    native: Native,
    reader: Reader,
    state: State,
    all: Vec<u8>,
}

fn state(venue: &Arc<Venue>) -> State {
    State {
        market: Market::new(Arc::clone(venue), VenueClock::default(), 0),
        orders: Orders::new(
            Arc::clone(venue),
            Kept {
                orders: 100,
                fills: 100,
            },
        ),
        balances: Balances::default(),
        fees: Fees::default(),
        rates: Rates::default(),
        streams: Streams::new([], 1 << 20),
        sequence: 0,
        venue_ns: 0,
    }
}

impl Run {
    fn new(seed: u64, profile: Profile) -> Run {
        let mut flow = Flow::new(seed, Options { profile });
        let mut native = Native::new(&Flow::capacity()).expect("memory for a small shard");
        let setup = flow.setup();
        native.control(&setup, flow.boot_ns());
        let records = native.take_records();
        flow.learn(&records);
        let mut run = Run {
            state: state(&venue(&native)),
            flow,
            native,
            reader: Reader::new(),
            all: Vec::new(),
        };
        run.take(records);
        run
    }

    fn take(&mut self, records: Vec<u8>) {
        self.reader.take(&records, &mut self.state).unwrap();
        self.all.extend(records);
    }

    fn step(&mut self) {
        let boot_ns = self.flow.boot_ns();
        match self.flow.next_input() {
            Input::Packet(payload) => {
                let answer = self.native.packet(&payload, boot_ns, None).ok();
                let answer = answer.map(|(_, given)| given);
                self.flow.observe(answer.as_deref());
            }
            Input::Control(controls) => {
                self.native.control(&controls, boot_ns);
            }
            Input::Steps => self.native.steps(),
        }
        let records = self.native.take_records();
        self.flow.learn(&records);
        self.take(records);
    }

    fn assert_books(&self, what: &str) {
        for index in 0..INSTRUMENTS {
            let levels = |side| -> Vec<Level> {
                let depth = self.native.shard().depth(index, side, usize::MAX);
                let text = depth
                    .iter()
                    .map(|it| (it.price.to_string(), it.lots.to_string()));
                text.collect()
            };
            let engine = if self.native.shard().wire_units(index).is_some() {
                (levels(b'B'), levels(b'S'))
            } else {
                Default::default()
            };
            let picture = self.state.market.picture(index, None).unwrap();
            assert_eq!((picture.bids, picture.asks), engine, "{what}: {index}");
        }
    }

    /// Available and held are the engine's own, to the unit.
    fn assert_balances(&self, what: &str) {
        let capacity = Flow::capacity();
        let (mut some, mut holding) = (0, 0);
        for account in 0..capacity.accounts {
            let held = self.state.balances.held(self.state.orders.live(account));
            for asset in 0..capacity.assets {
                let (available, engine_held, ..) = self.native.shard().balances(account, asset);
                let own_held = held.get(&asset).map_or(0, |it| it.units);
                let free = self.state.balances.all(account, asset) - own_held;
                assert_eq!(
                    (free, own_held),
                    (available.into(), engine_held.into()),
                    "{what}: account {account}, asset {asset}"
                );
                some += u32::from(available != 0);
                holding += u32::from(engine_held != 0);
            }
        }
        assert!(some > 0, "{what}: nobody has anything");
        println!("{what}: {some} balances, {holding} with holds");
    }

    fn assert_orders(&self, what: &str) {
        let mut open = Open::default();
        self.native.shard().list(&mut open);
        let live: BTreeMap<u64, u64> = (0..1_000)
            .flat_map(|account| self.state.orders.live(account))
            .map(|order| (order.id, order.open().into()))
            .collect();
        assert_eq!(live, open.0, "{what}");
    }
}

const PROFILES: [Profile; 7] = [
    Profile::Calm,
    Profile::Deep,
    Profile::Hostile,
    Profile::Auction,
    Profile::Stops,
    Profile::SelfTrade,
    Profile::Pegs,
];

#[test]
fn books_by_snapshot_and_diffs_are_the_engines() {
    let seed = seed();
    for profile in PROFILES {
        let mut run = Run::new(seed, profile);
        let mut random = seed;
        let mut books: HashMap<u32, ClientBook> = HashMap::new();
        let (mut diffs, mut lost, mut noticed) = (0_u32, 0_u32, 0_u32);
        for input in 0..INPUTS {
            run.step();
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Pieces of one command or of several, as the follower happens to read.
            if random >> 62 == 0 {
                continue;
            }
            let news = run.state.market.take_news();
            for index in news.reset {
                let picture = run.state.market.picture(index, None).unwrap();
                books.insert(index, ClientBook::of(&picture));
            }
            for (index, diff) in news.diffs {
                diffs += 1;
                let Some(book) = books.get_mut(&index) else {
                    let picture = run.state.market.picture(index, None).unwrap();
                    books.insert(index, ClientBook::of(&picture));
                    continue;
                };
                if random >> 56 & 15 == 0 {
                    // Lost on the way: the next one says so.
                    lost += 1;
                    let mut damaged = book.clone();
                    let mut changed = diff.clone();
                    if changed.bids.pop().or(changed.asks.pop()).is_some() {
                        damaged.apply(&changed);
                        // A level that lies below the best ten may go unnoticed by the checksum, never by the number.
                        noticed += u32::from(damaged.checksum() != diff.checksum);
                    }
                    let mut later = diff.clone();
                    later.prev_seq = diff.seq;
                    later.seq = diff.seq + 1;
                    assert!(!book.clone().apply(&later), "a lost diff is noticed");
                }
                assert!(book.apply(&diff), "a diff follows the one before");
                assert_eq!(book.checksum(), diff.checksum);
                let picture = run.state.market.picture(index, None).unwrap();
                assert_eq!(book.levels(), (picture.bids, picture.asks));
            }
            if input % 100 == 0 {
                run.assert_books(&format!("{profile:?} after {input}"));
            }
        }
        run.assert_books(&format!("{profile:?}"));
        assert!(diffs > 100, "{profile:?}: {diffs} diffs");
        assert!(lost > 5 && noticed > 0, "{profile:?}: {noticed} of {lost}");
    }
}

#[test]
fn orders_are_the_engines_in_whatever_pieces_the_records_come() {
    let seed = seed();
    for profile in PROFILES {
        let mut run = Run::new(seed, profile);
        for input in 0..INPUTS {
            run.step();
            if input % 100 == 0 {
                run.assert_orders(&format!("{profile:?} after {input}"));
                run.assert_balances(&format!("{profile:?} after {input}"));
            }
        }
        run.assert_orders(&format!("{profile:?}"));
        run.assert_balances(&format!("{profile:?}"));
        // The same records once more, in other pieces: the same state, candle for candle.
        let mut dirty = Dirty::new();
        collect(&mut dirty, run.state.market.take_news().candles);
        let mut again = state(&run.state.market_venue());
        let mut reader = Reader::new();
        let mut candles = Dirty::new();
        for piece in run.all.chunks(777) {
            reader.take(piece, &mut again).unwrap();
            collect(&mut candles, again.market.take_news().candles);
        }
        assert_eq!(again.sequence, run.state.sequence);
        assert_eq!(candles, dirty, "{profile:?}");
        for account in 0..1_000 {
            let of = |state: &State| {
                let all = state.orders.all(account, u64::MAX);
                all.into_iter().cloned().collect::<Vec<_>>()
            };
            assert_eq!(of(&again), of(&run.state), "{profile:?}: account {account}");
            assert!(of(&again).len() <= 100 + again.orders.live(account).count());
        }
    }
}

#[test]
fn what_the_store_has_counts_once() {
    let mut run = Run::new(seed(), Profile::Calm);
    for _ in 0..INPUTS {
        run.step();
    }
    let all = run.state.market.take_news().candles;
    assert!(!all.is_empty());
    // As after a restart whose store has everything up to some record.
    let half = run.state.sequence / 2;
    let venue = run.state.market_venue();
    let mut later = state(&venue);
    later.market = Market::new(Arc::clone(&venue), VenueClock::default(), half);
    Reader::new().take(&run.all, &mut later).unwrap();
    let mut candles = Dirty::new();
    collect(&mut candles, later.market.take_news().candles);
    let mut whole = Dirty::new();
    collect(&mut whole, all);
    for (key, candle) in &candles {
        assert_eq!(
            Some(candle),
            whole.get(key),
            "what is written again is whole"
        );
    }
    assert!(candles.len() <= whole.len());
}

impl State {
    fn market_venue(&self) -> Arc<Venue> {
        Arc::clone(self.market.venue())
    }
}
