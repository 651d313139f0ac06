//! A random market with its feed: the flow through the native engine, its records through the translator, and a book without
//! cleverness that only reads ITCH.
#![allow(dead_code, reason = "each test uses its part")]

use ring0_engine::canon::{Listing, Tag};
use ring0_engine::flow::{Flow, Input, Options, Profile};
use ring0_engine::native::Native;
use ring0_feed::{FIRST_SESSION, Sink, Translator};
use ring0_itch::itch::{LONGEST, Message};
use ring0_itch::mold::Session;
use std::collections::{BTreeMap, HashMap};

/// Instruments of the flow are fewer than this.
pub(crate) const INSTRUMENTS: u32 = 64;

/// The seed of a run: `RING0_SEED`, or one from the clock. Printed.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("RING0_SEED").map_or_else(
        |_| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("a clock after 1970").as_nanos() as u64
        },
        |text| text.parse().expect("RING0_SEED is a number"),
    );
    println!("RING0_SEED={seed}");
    seed
}

/// Sebastiano Vigna's splitmix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a translator made: the messages of each session.
#[derive(Clone, Default, Eq, PartialEq)]
pub(crate) struct Tape {
    pub(crate) sessions: Vec<(Session, Vec<Vec<u8>>)>,
    pub(crate) ended: usize,
}

impl Sink for Tape {
    fn begin(&mut self, session: Session) {
        assert_eq!(self.ended, self.sessions.len(), "one session at a time");
        self.sessions.push((session, Vec::new()));
    }

    fn message(&mut self, message: &[u8]) {
        assert!(message.len() <= LONGEST);
        self.sessions
            .last_mut()
            .expect("begun")
            .1
            .push(message.to_vec());
    }

    fn end(&mut self) {
        self.ended += 1;
        assert_eq!(self.ended, self.sessions.len());
    }
}

impl Tape {
    /// All messages so far, over all sessions.
    pub(crate) fn count(&self) -> usize {
        self.sessions
            .iter()
            .map(|(_, messages)| messages.len())
            .sum()
    }
}

/// A resting order of the naive book.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Resting {
    reference: u64,
    side: u8,
    shares: u32,
    price: u32,
}

/// Price and shares of the orders at it, first in time first.
pub(crate) type Side = Vec<(u32, Vec<u64>)>;

/// Books of a feed: a vector of orders an instrument, in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Naive {
    books: BTreeMap<u16, Vec<Resting>>,
}

impl Naive {
    pub(crate) fn apply(&mut self, message: &[u8]) {
        match Message::read(message).expect("an ITCH message") {
            Message::AddOrder(add) => {
                let resting = Resting {
                    reference: add.order_reference.get(),
                    side: add.side,
                    shares: add.shares.get(),
                    price: add.price.get(),
                };
                self.push(add.header.locate.get(), resting);
            }
            Message::OrderExecuted(it) => {
                self.take(
                    it.header.locate.get(),
                    it.order_reference.get(),
                    it.executed_shares.get(),
                );
            }
            Message::OrderExecutedWithPrice(it) => {
                self.take(
                    it.header.locate.get(),
                    it.order_reference.get(),
                    it.executed_shares.get(),
                );
            }
            Message::OrderCancel(it) => {
                let (locate, reference) = (it.header.locate.get(), it.order_reference.get());
                self.take(locate, reference, it.cancelled_shares.get());
                let still = self.books[&locate]
                    .iter()
                    .any(|one| one.reference == reference);
                assert!(still, "an X leaves something");
            }
            Message::OrderDelete(it) => {
                self.remove(it.header.locate.get(), it.order_reference.get());
            }
            Message::OrderReplace(it) => {
                let locate = it.header.locate.get();
                let old = self.remove(locate, it.original_order_reference.get());
                let resting = Resting {
                    reference: it.new_order_reference.get(),
                    side: old.side,
                    shares: it.shares.get(),
                    price: it.price.get(),
                };
                self.push(locate, resting);
            }
            _ => {}
        }
    }

    fn push(&mut self, locate: u16, resting: Resting) {
        assert!(resting.shares > 0, "an empty order");
        let all = self.books.values().flatten();
        for one in all {
            assert_ne!(one.reference, resting.reference, "a reference twice");
        }
        self.books.entry(locate).or_default().push(resting);
    }

    fn find(&mut self, locate: u16, reference: u64) -> (&mut Vec<Resting>, usize) {
        let book = self
            .books
            .get_mut(&locate)
            .expect("an instrument with orders");
        let at = book.iter().position(|one| one.reference == reference);
        (book, at.expect("a reference that rests"))
    }

    fn take(&mut self, locate: u16, reference: u64, shares: u32) {
        let (book, at) = self.find(locate, reference);
        assert!(
            shares > 0 && shares <= book[at].shares,
            "more than there is"
        );
        book[at].shares -= shares;
        if book[at].shares == 0 {
            book.remove(at);
        }
    }

    fn remove(&mut self, locate: u16, reference: u64) -> Resting {
        let (book, at) = self.find(locate, reference);
        book.remove(at)
    }

    /// One side of an instrument, best price first.
    pub(crate) fn side(&self, locate: u16, side: u8) -> Side {
        let mut levels: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for order in self.books.get(&locate).into_iter().flatten() {
            if order.side == side {
                levels
                    .entry(order.price)
                    .or_default()
                    .push(order.shares.into());
            }
        }
        let levels = levels.into_iter();
        if side == b'B' {
            levels.rev().collect()
        } else {
            levels.collect()
        }
    }

    pub(crate) fn orders(&self) -> usize {
        self.books.values().map(Vec::len).sum()
    }
}

/// The displayed books of the engine by locate and side, best first, orders in priority, in wire units.
#[derive(Default)]
pub(crate) struct Displayed {
    pub(crate) sides: HashMap<(u16, u8), Side>,
    units: (u32, u32),
    locate: u16,
    now: Option<u8>,
}

impl Listing for Displayed {
    fn item(&mut self, tag: Tag, numbers: &[u64]) {
        match tag {
            Tag::Instrument => {
                self.locate = numbers[0] as u16 + 1;
                self.now = None;
            }
            Tag::Level if numbers[0] < 2 => {
                let side = if numbers[0] == 0 { b'B' } else { b'S' };
                self.now = Some(side);
                let side = self.sides.entry((self.locate, side)).or_default();
                side.push((numbers[1] as u32, Vec::new()));
            }
            Tag::Order => {
                if let Some(side) = self.now {
                    let side = self
                        .sides
                        .get_mut(&(self.locate, side))
                        .expect("a level before it");
                    side.last_mut()
                        .expect("a level before it")
                        .1
                        .push(numbers[8]);
                }
            }
            _ => self.now = None,
        }
    }
}

/// The whole displayed book of a shard.
pub(crate) fn displayed(native: &Native) -> HashMap<(u16, u8), Side> {
    let shard = native.shard();
    let mut listing = Displayed::default();
    shard.list(&mut listing);
    for ((locate, _), side) in &mut listing.sides {
        let (tick, lot) = shard.wire_units(u32::from(*locate) - 1).expect("listed");
        for (price, orders) in side {
            *price *= tick;
            for shares in orders {
                *shares *= u64::from(lot);
            }
        }
    }
    listing.sides
}

/// Whether a naive book is the engine's, order by order.
#[track_caller]
pub(crate) fn assert_same_books(native: &Native, naive: &Naive, what: &str) {
    let engine = displayed(native);
    let mut orders = 0;
    for ((locate, side), levels) in &engine {
        let name = char::from(*side);
        assert_eq!(
            &naive.side(*locate, *side),
            levels,
            "{what}: {locate} {name}"
        );
        orders += levels.iter().map(|(_, orders)| orders.len()).sum::<usize>();
    }
    assert_eq!(naive.orders(), orders, "{what}: orders in all");
}

/// Whether the best prices of every instrument are the engine's.
#[track_caller]
pub(crate) fn assert_same_best(native: &Native, naive: &Naive, what: &str) {
    let shard = native.shard();
    for index in 0..INSTRUMENTS {
        let Some((tick, lot)) = shard.wire_units(index) else {
            continue;
        };
        for side in [b'B', b'S'] {
            let engine: Vec<_> = shard
                .depth(index, side, 1)
                .iter()
                .map(|best| {
                    (
                        best.price * tick,
                        best.lots * u64::from(lot),
                        best.orders as usize,
                    )
                })
                .collect();
            let feed = naive.side(index as u16 + 1, side);
            let feed: Vec<_> = feed
                .iter()
                .take(1)
                .map(|(price, orders)| (*price, orders.iter().sum::<u64>(), orders.len()))
                .collect();
            assert_eq!(feed, engine, "{what}: best of {index} {}", char::from(side));
        }
    }
}

/// The flow, the engine and what its records became.
pub(crate) struct Market {
    pub(crate) flow: Flow,
    pub(crate) native: Native,
    pub(crate) translator: Translator,
    pub(crate) tape: Tape,
    /// The records of the last input.
    pub(crate) records: Vec<u8>,
}

impl Market {
    pub(crate) fn new(seed: u64, profile: Profile) -> Market {
        let mut market = Market {
            flow: Flow::new(seed, Options { profile }),
            native: Native::new(&Flow::capacity()).expect("memory for a small shard"),
            translator: Translator::new(FIRST_SESSION),
            tape: Tape::default(),
            records: Vec::new(),
        };
        let setup = Input::Control(market.flow.setup());
        market.feed(&setup);
        market
    }

    /// One input of the flow.
    pub(crate) fn step(&mut self) {
        let input = self.flow.next_input();
        self.feed(&input);
    }

    fn feed(&mut self, input: &Input) {
        let boot_ns = self.flow.boot_ns();
        let mut answer = None;
        match input {
            Input::Packet(payload) => {
                if let Ok((_, given)) = self.native.packet(payload, boot_ns, None) {
                    answer = Some(given);
                }
                self.flow.observe(answer.as_deref());
            }
            Input::Control(controls) => {
                self.native.control(controls, boot_ns);
            }
            Input::Steps => self.native.steps(),
        }
        self.records = self.native.take_records();
        self.flow.learn(&self.records);
        self.translator
            .feed(&self.records, &mut self.tape)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
