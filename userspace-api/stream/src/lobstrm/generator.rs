//! Synthetic order flow that looks like a day of a liquid market.
//!
//! Integers only, so that a seed gives the same bytes on every machine. The recipe, with what was
//! left to choose: `docs/streams.md#generator`.

use std::ops::Range;

use zerocopy::FromZeros;

use crate::Side;

use super::book::Books;
use super::{Header, MAGIC, Op, RECORD_BYTES, Record, SYMBOLS_MAX, Stream, VERSION};

/// Price around which every symbol's anchor walks, in ticks.
pub const CENTER_TICKS: u32 = 100_000;
/// Lowest price of the ladder.
pub const TICK_BASE: u32 = CENTER_TICKS - 2_048;
/// Prices on the ladder; no record leaves it.
pub const LADDER_TICKS: u32 = 4_096;
/// Most records, prefill included: an order number fits 32 bits inside the generator.
pub const RECORDS_MAX: u64 = u32::MAX as u64 - 1;

const TICK_LAST: u32 = TICK_BASE + LADDER_TICKS - 1;
/// How far an anchor walks from the centre, in ticks.
const ANCHOR_REACH: u32 = 200;
/// A cancel looks for a target among so many last adds.
const RECENT: usize = 1_024;
/// Recent adds that are looked at before any live order will do: a dead one is looked at in vain.
const RECENT_TRIES: u32 = 8;
/// The symbols of the published recipe.
const SYMBOLS_PUBLISHED: u32 = 64;
/// 09:30 and the length of the trading day to 16:00, in ns.
const OPEN_NS: u64 = 34_200_000_000_000;
const DAY_NS: u64 = 23_400_000_000_000;

/// Makes a stream: `prefill` adds, then `messages` of the mix, for `symbols` symbols.
///
/// Equal arguments give equal streams. Takes 32 bytes per record and 32 more per order.
///
/// # Panics
/// `symbols` is not 1 to [`SYMBOLS_MAX`], or `prefill + messages` is above [`RECORDS_MAX`].
#[must_use]
pub fn generate(seed: u64, messages: u64, prefill: u64, symbols: u32) -> Stream {
    assert!(
        (1..=SYMBOLS_MAX).contains(&symbols),
        "1 to {SYMBOLS_MAX} symbols, not {symbols}"
    );
    let total = messages
        .checked_add(prefill)
        .filter(|&total| total <= RECORDS_MAX);
    let total = total.unwrap_or_else(|| panic!("at most {RECORDS_MAX} records"));

    let mut flow = Flow::new(seed, symbols, TICK_BASE..TICK_LAST + 1);
    let mut records = Vec::with_capacity(usize::try_from(total).expect("at most RECORDS_MAX"));
    for at in 0..total {
        let mut record = if at < prefill {
            flow.add()
        } else {
            flow.message()
        };
        record.ts_ns = flow.time_ns(at, total).into();
        records.push(record);
    }
    finish(&flow, seed, prefill, TICK_BASE, records)
}

/// A stream of these records, its header from the books that they left.
pub(super) fn finish(
    flow: &Flow,
    seed: u64,
    prefill: u64,
    tick_base: u32,
    records: Vec<Record>,
) -> Stream {
    let trades = flow.books.checksum().trades();
    let mut header = Header::new_zeroed();
    header.magic = MAGIC;
    header.version = VERSION.into();
    header.record_bytes = (RECORD_BYTES as u32).into();
    header.records = (records.len() as u64).into();
    header.prefill = prefill.into();
    header.symbols = flow.symbols.into();
    header.tick_base = tick_base.into();
    header.max_order_id = u64::from(flow.books.last_id()).into();
    header.seed = seed.into();
    header.exp_trades = trades.count.into();
    header.exp_qty = trades.qty.into();
    header.exp_checksum = trades.checksum.into();
    header.exp_live = (flow.books.live().len() as u64).into();
    header.peak_live = (flow.books.peak_live() as u64).into();
    let tick_top = records.iter().map(|record| record.price_ticks.get()).max();
    header.tick_top = tick_top.unwrap_or(tick_base).into();
    Stream { header, records }
}

/// Sebastiano Vigna's splitmix64.
pub(super) struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Even over `0..bound`, as even as 64 bits allow.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).expect("below bound")
    }

    pub(super) fn below_u32(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).expect("below bound")
    }

    pub(super) fn percent(&mut self, of_100: u64) -> bool {
        self.below(100) < of_100
    }
}

/// The market so far.
pub(super) struct Flow {
    pub(super) random: SplitMix,
    symbols: u32,
    /// By symbol, in ticks.
    anchors: Vec<u32>,
    pub(super) books: Books,
    /// Numbers of the last adds, oldest overwritten first at `recent_next`.
    recent: Vec<u32>,
    recent_next: usize,
}

impl Flow {
    /// Empty books of `symbols` symbols over these prices.
    pub(super) fn new(seed: u64, symbols: u32, prices: Range<u32>) -> Self {
        Self {
            random: SplitMix(seed),
            symbols,
            anchors: vec![CENTER_TICKS; symbols as usize],
            books: Books::new(symbols, prices),
            recent: Vec::with_capacity(RECENT),
            recent_next: 0,
        }
    }

    /// A time in the slice of record `at` of `total`.
    pub(super) fn time_ns(&mut self, at: u64, total: u64) -> u64 {
        let step_ns = (DAY_NS / total.max(1)).max(1);
        OPEN_NS + at * step_ns + self.random.below(step_ns)
    }

    fn message(&mut self) -> Record {
        match self.random.below(100) {
            0..51 => self.add(),
            51..90 => self.cancel(),
            _ => self.cross(),
        }
    }

    /// A limit order that does not cross.
    fn add(&mut self) -> Record {
        let symbol = self.symbol();
        let side = self.side();
        self.add_to(symbol, side)
    }

    fn add_to(&mut self, symbol: u16, side: Side) -> Record {
        let distance = 1 + self.distance();
        let anchor = self.anchors[usize::from(symbol)];
        // The ladder's end leaves no room only under an ask at its base or above a bid at its top;
        // then the other side has room.
        let passive = |side: Side| {
            match (side, self.books.best(symbol, side.opposite())) {
                (Side::Buy, None) => Some(anchor - distance),
                (Side::Sell, None) => Some(anchor + distance),
                (Side::Buy, Some(ask)) => Some((anchor - distance).min(ask - 1)),
                (Side::Sell, Some(bid)) => Some((anchor + distance).max(bid + 1)),
            }
            .filter(|price| (TICK_BASE..=TICK_LAST).contains(price))
        };
        let (side, price) = match passive(side) {
            Some(price) => (side, price),
            None => {
                let side = side.opposite();
                (
                    side,
                    passive(side).expect("a book that does not cross has room on one side"),
                )
            }
        };
        let qty = self.qty();
        let record = self.enter(Op::Add, symbol, side, price, qty);
        self.remember(self.books.last_id());
        record
    }

    /// A limit order that trades at once. Of a symbol with nothing to trade with: an add.
    fn cross(&mut self) -> Record {
        let symbol = self.symbol();
        let side = self.side();
        let Some(best) = self.books.best(symbol, side.opposite()) else {
            return self.add_to(symbol, side);
        };
        let through = self.random.below_u32(4);
        let price = match side {
            Side::Buy => (best + through).min(TICK_LAST),
            Side::Sell => (best - through).max(TICK_BASE),
        };
        let mut qty = self.qty();
        if self.random.percent(25) {
            qty *= 2 + self.random.below_u32(3);
        }
        self.enter(Op::Cross, symbol, side, price, qty)
    }

    /// A cancel of a live order. With none: an add.
    fn cancel(&mut self) -> Record {
        self.cancel_live().unwrap_or_else(|| self.add())
    }

    /// A cancel of a live order, if there is one.
    pub(super) fn cancel_live(&mut self) -> Option<Record> {
        if self.books.live().is_empty() {
            return None;
        }
        let recent = if self.random.percent(50) {
            self.recent_live()
        } else {
            None
        };
        let id = recent.unwrap_or_else(|| {
            let live = self.books.live();
            live[self.random.below(live.len() as u64) as usize]
        });
        let order = *self.books.order(id);
        self.books.cancel(id);
        Some(record(
            Op::Cancel,
            id,
            order.symbol,
            order.side,
            order.price_ticks,
            order.qty,
        ))
    }

    pub(super) fn enter(
        &mut self,
        op: Op,
        symbol: u16,
        side: Side,
        price: u32,
        qty: u32,
    ) -> Record {
        let id = self.books.enter(symbol, side, price, qty);
        record(op, id, symbol, side, price, qty)
    }

    /// Draws a symbol, low ones more often, and moves its anchor.
    fn symbol(&mut self) -> u16 {
        let symbols = u64::from(self.symbols);
        let symbol = if self.symbols == SYMBOLS_PUBLISHED {
            self.random.below(symbols) * self.random.below(symbols) / symbols
        } else {
            // ⌊u1 · u2 · n⌋ of two 32-bit fractions.
            let product = (self.random.next() >> 32) * (self.random.next() >> 32);
            u64::try_from((u128::from(product) * u128::from(symbols)) >> 64).expect("below symbols")
        };
        let anchor = &mut self.anchors[usize::try_from(symbol).expect("below symbols")];
        let moved = if self.random.below(2) == 0 {
            *anchor - 1
        } else {
            *anchor + 1
        };
        if moved.abs_diff(CENTER_TICKS) <= ANCHOR_REACH {
            *anchor = moved;
        }
        u16::try_from(symbol).expect("at most SYMBOLS_MAX")
    }

    pub(super) fn side(&mut self) -> Side {
        Side::BOTH[usize::from(self.random.below(2) == 1)]
    }

    /// Distance of a passive price from the anchor, less one.
    fn distance(&mut self) -> u32 {
        if self.random.percent(85) {
            self.random.below_u32(64).min(self.random.below_u32(64))
        } else {
            self.random.below_u32(300)
        }
    }

    pub(super) fn qty(&mut self) -> u32 {
        if self.random.percent(20) {
            1 + self.random.below_u32(99)
        } else {
            100 * (1 + self.random.below_u32(5))
        }
    }

    pub(super) fn remember(&mut self, id: u32) {
        if self.recent.len() < RECENT {
            self.recent.push(id);
        } else {
            self.recent[self.recent_next] = id;
            self.recent_next = (self.recent_next + 1) % RECENT;
        }
    }

    /// One of the last adds that still rests, if a few tries find one.
    fn recent_live(&mut self) -> Option<u32> {
        if self.recent.is_empty() {
            return None;
        }
        (0..RECENT_TRIES).find_map(|_| {
            let id = self.recent[self.random.below(self.recent.len() as u64) as usize];
            (self.books.order(id).qty > 0).then_some(id)
        })
    }
}

fn record(op: Op, id: u32, symbol: u16, side: Side, price: u32, qty: u32) -> Record {
    Record {
        order_id: u64::from(id).into(),
        price_ticks: price.into(),
        qty: qty.into(),
        symbol: symbol.into(),
        op,
        side,
        flags: 0.into(),
        ts_ns: 0.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cmp::Reverse;

    use super::*;
    use crate::lobstrm::{Checksum, Trades};

    /// The specification: all resting orders of all symbols in one list, sorted when asked.
    #[derive(Default)]
    struct Naive {
        /// In the order of entry.
        resting: Vec<Record>,
        checksum: Checksum,
        peak_live: usize,
    }

    impl Naive {
        /// Resting orders that `taker` trades with, best price first, then oldest.
        fn makers(&self, taker: &Record) -> Vec<u64> {
            let mut makers: Vec<_> = self
                .resting
                .iter()
                .filter(|maker| maker.symbol == taker.symbol && maker.side != taker.side)
                .filter(|maker| match taker.side {
                    Side::Buy => maker.price_ticks <= taker.price_ticks,
                    Side::Sell => maker.price_ticks >= taker.price_ticks,
                })
                .collect();
            // Sorting keeps orders of one price as they stand: in the order of entry.
            match taker.side {
                Side::Buy => makers.sort_by_key(|maker| maker.price_ticks),
                Side::Sell => makers.sort_by_key(|maker| Reverse(maker.price_ticks)),
            }
            makers.iter().map(|maker| maker.order_id.get()).collect()
        }

        fn take(&mut self, record: &Record) {
            match record.op {
                Op::Add => assert!(self.makers(record).is_empty(), "an add crosses: {record:?}"),
                Op::Cross => assert!(!self.makers(record).is_empty(), "trades not: {record:?}"),
                Op::Cancel => {
                    let id = record.order_id;
                    let at = self.resting.iter().position(|order| order.order_id == id);
                    let order = self.resting.remove(at.expect("a cancel of a dead order"));
                    let state = |of: &Record| (of.price_ticks, of.qty, of.symbol, of.side);
                    assert_eq!(state(record), state(&order), "a cancel echoes its order");
                    return;
                }
            }
            let mut taker = *record;
            for id in self.makers(record) {
                let at = self.resting.iter().position(|order| order.order_id == id);
                let at = at.expect("a maker rests");
                let maker = &mut self.resting[at];
                let fill = maker.qty.get().min(taker.qty.get());
                if fill == 0 {
                    break;
                }
                self.checksum
                    .trade(id, taker.order_id.get(), maker.price_ticks.get(), fill);
                maker.qty -= fill;
                taker.qty -= fill;
                if maker.qty == 0 {
                    self.resting.remove(at);
                }
            }
            if taker.qty != 0 {
                self.resting.push(taker);
            }
            self.peak_live = self.peak_live.max(self.resting.len());
        }
    }

    fn check_against_naive(seed: u64, messages: u64, prefill: u64, symbols: u32) -> Trades {
        println!("seed {seed}: {messages} messages, {prefill} prefill, {symbols} symbols");
        let stream = generate(seed, messages, prefill, symbols);
        check(&stream, TICK_BASE..TICK_LAST + 1);
        stream.header().expected()
    }

    /// Every record against the naive book, and the header against what that says.
    pub(in crate::lobstrm) fn check(stream: &Stream, prices: Range<u32>) {
        let header = stream.header();
        let (seed, symbols) = (header.seed.get(), header.symbols.get());
        let mut naive = Naive::default();
        let (mut next_id, mut last_ns) = (1, 0);
        for record in stream.records() {
            naive.take(record);
            if record.op != Op::Cancel {
                assert_eq!(record.order_id, next_id, "order numbers are dense");
                next_id += 1;
            }
            assert!(record.ts_ns.get() >= last_ns, "time does not go back");
            last_ns = record.ts_ns.get();
            assert!(prices.contains(&record.price_ticks.get()));
            assert!(u32::from(record.symbol.get()) < symbols);
        }
        assert!(stream.prefill().iter().all(|record| record.op == Op::Add));
        assert_eq!(header.expected(), naive.checksum.trades(), "seed {seed}");
        assert_eq!(header.exp_live, naive.resting.len() as u64, "seed {seed}");
        assert_eq!(header.peak_live, naive.peak_live as u64, "seed {seed}");
        assert_eq!(header.max_order_id, next_id - 1, "seed {seed}");
        let top = stream
            .records()
            .iter()
            .map(|record| record.price_ticks.get())
            .max();
        assert_eq!(header.tick_base, prices.start);
        assert_eq!(header.tick_top, top.unwrap_or(prices.start));
    }

    #[test]
    fn header_agrees_with_the_naive_book() {
        let mut trades = 0;
        for seed in 0..150 {
            let symbols = [1, 2, 3, 64, 255, 256][seed as usize % 6];
            let prefill = [0, 50, 400][seed as usize % 3];
            trades += check_against_naive(seed, 1_200, prefill, symbols).count;
        }
        assert!(trades > 10_000, "{trades} trades prove little");
        for seed in [u64::MAX, 0x9E37_79B9_7F4A_7C15, 1 << 63] {
            check_against_naive(seed, 6_000, 0, 1);
        }
    }

    #[test]
    fn empty_streams_are_streams() {
        for (messages, prefill) in [(0, 0), (1, 0), (0, 1), (2, 0)] {
            check_against_naive(5, messages, prefill, 1);
        }
    }

    #[test]
    fn a_seed_is_a_stream() {
        for seed in [0, 1, u64::MAX] {
            assert_eq!(
                generate(seed, 3_000, 300, 64),
                generate(seed, 3_000, 300, 64)
            );
        }
        assert_ne!(
            generate(1, 3_000, 300, 64).records(),
            generate(2, 3_000, 300, 64).records()
        );
    }

    /// Fails when the recipe changes: streams are then not those of an earlier build.
    #[test]
    fn the_recipe_has_not_changed() {
        let trades = generate(42, 10_000, 1_000, 64).header().expected();
        assert_eq!(
            trades,
            Trades {
                count: 1237,
                qty: 210963,
                checksum: 1615697289407369844
            }
        );
    }

    #[test]
    fn the_mix_is_as_described() {
        let stream = generate(1, 200_000, 20_000, 64);
        let share = |op| {
            let count = stream
                .timed()
                .iter()
                .filter(|record| record.op == op)
                .count();
            count as u64 * 1_000 / 200_000
        };
        assert!(
            (500..525).contains(&share(Op::Add)),
            "{} ‰ adds",
            share(Op::Add)
        );
        assert!(
            (380..400).contains(&share(Op::Cancel)),
            "{} ‰ cancels",
            share(Op::Cancel)
        );
        assert!(
            (90..110).contains(&share(Op::Cross)),
            "{} ‰ crosses",
            share(Op::Cross)
        );
    }

    #[test]
    fn low_symbols_are_busier_and_all_occur() {
        for symbols in [2, 7, 64, 256] {
            let stream = generate(9, 400_000, 0, symbols);
            let mut counts = vec![0u64; symbols as usize];
            for record in stream.records() {
                counts[usize::from(record.symbol.get())] += 1;
            }
            assert!(
                counts[0] > counts[symbols as usize / 2],
                "{symbols}: {counts:?}"
            );
            // ⌊u1 · u2 / 64⌋ of whole numbers below 64 is at most 62.
            let top = if symbols == SYMBOLS_PUBLISHED {
                62
            } else {
                symbols - 1
            };
            assert!(counts[top as usize] > 0, "{symbols}: {counts:?}");
        }
    }

    #[test]
    #[should_panic(expected = "1 to 256 symbols, not 257")]
    fn too_many_symbols_are_a_bug() {
        let _ = generate(1, 1, 1, 257);
    }
}
