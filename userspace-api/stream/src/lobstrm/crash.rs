//! Synthetic flash crashes of one wide instrument: the price falls through thousands of ticks in bursts and comes back likewise.
//!
//! Where the ordinary recipe keeps all orders within a few hundred ticks, here most of the ladder holds orders of one or two a price,
//! and a burst sweeps hundreds of levels: best prices far from the last ones, levels made and emptied by every message. Integers only,
//! as there. The recipe: `docs/streams.md#flash-crashes`.

use std::ops::Range;

use crate::Side;

use super::generator::{Flow, RECORDS_MAX, finish};
use super::{Op, Record, Stream};

/// Lowest price of the ladder, in ticks.
pub const CRASH_TICK_BASE: u32 = 60_000;
/// Prices on the ladder; no record leaves it.
pub const CRASH_TICKS: u32 = 65_536;

const PRICES: Range<u32> = CRASH_TICK_BASE..CRASH_TICK_BASE + CRASH_TICKS;
/// Where falls begin and end, in ticks; between them and the ladder's ends there is room for orders of [`FAR`].
const HIGH: u32 = 105_000;
const LOW: u32 = 75_000;
/// Ticks that a far order lies off the anchor at the most.
const FAR: u32 = 12_000;
const _: () = assert!(LOW - FAR > PRICES.start && HIGH + FAR < PRICES.end);
/// One of so many messages begins a burst: often enough for a dozen falls in a million messages, and so seldom that the book between
/// them grows by about what a burst takes. At four tenths of this the book is soon a few hundred orders.
const CALM: u64 = 1_000;
/// Sweeping orders of a burst at the most; without a bound a burst into a deep book would be the whole stream.
const BURST_ORDERS: u32 = 64;
/// Ticks that a burst goes at least, and how many more at the most.
const BURST_TICKS: (u32, u32) = (200, 2_800);

/// Makes a stream of one symbol: `prefill` adds, then `messages` with bursts among them.
///
/// Equal arguments give equal streams. A fall and its way back take about 100,000 messages.
///
/// # Panics
/// `prefill + messages` is above [`RECORDS_MAX`].
#[must_use]
pub fn generate_crash(seed: u64, messages: u64, prefill: u64) -> Stream {
    let total = messages
        .checked_add(prefill)
        .filter(|&total| total <= RECORDS_MAX);
    let total = total.unwrap_or_else(|| panic!("at most {RECORDS_MAX} records"));
    let mut crash = Crash {
        flow: Flow::new(seed, 1, PRICES),
        anchor: HIGH,
        falling: true,
        burst: None,
    };
    let mut records = Vec::with_capacity(usize::try_from(total).expect("at most RECORDS_MAX"));
    for at in 0..total {
        let mut record = if at < prefill {
            crash.add()
        } else {
            crash.message()
        };
        record.ts_ns = crash.flow.time_ns(at, total).into();
        records.push(record);
    }
    finish(&crash.flow, seed, prefill, CRASH_TICK_BASE, records)
}

/// A burst under way.
#[derive(Clone, Copy)]
struct Burst {
    /// Price that its orders sweep to.
    target: u32,
    /// Sweeping orders that may still come.
    orders: u32,
}

struct Crash {
    flow: Flow,
    /// Price round which passive orders enter, in ticks.
    anchor: u32,
    falling: bool,
    burst: Option<Burst>,
}

impl Crash {
    fn message(&mut self) -> Record {
        if self.burst.is_none() && self.flow.random.below(CALM) == 0 {
            self.begin();
        }
        if let Some(burst) = self.burst
            && self.flow.random.percent(75)
            && let Some(record) = self.sweep(burst)
        {
            return record;
        }
        match self.flow.random.below(100) {
            0..62 => self.add(),
            62..90 => match self.flow.cancel_live() {
                Some(record) => record,
                None => self.add(),
            },
            _ => self.cross(),
        }
    }

    fn begin(&mut self) {
        let ticks = BURST_TICKS.0 + self.flow.random.below_u32(BURST_TICKS.1 + 1);
        let target = if self.falling {
            (self.anchor - ticks).max(LOW)
        } else {
            (self.anchor + ticks).min(HIGH)
        };
        let orders = BURST_ORDERS;
        self.burst = Some(Burst { target, orders });
    }

    /// The next order of a burst. With nothing left up to its target it is over: the anchor is there, and at an end of the range
    /// the price turns.
    fn sweep(&mut self, burst: Burst) -> Option<Record> {
        let side = if self.falling { Side::Sell } else { Side::Buy };
        let best = self.flow.books.best(0, side.opposite());
        let left = best.filter(|&best| match side {
            Side::Sell => best >= burst.target,
            Side::Buy => best <= burst.target,
        });
        let Some(best) = left else {
            self.end(burst.target);
            return None;
        };
        if burst.orders == 0 {
            self.end(best);
            return None;
        }
        self.burst = Some(Burst {
            orders: burst.orders - 1,
            ..burst
        });
        // About 4 to 16 orders' worth; 16 fills stay far below what one command may do.
        let qty = 100 * (10 + self.flow.random.below_u32(31));
        Some(self.flow.enter(Op::Cross, 0, side, burst.target, qty))
    }

    fn end(&mut self, anchor: u32) {
        self.burst = None;
        self.anchor = anchor.clamp(LOW, HIGH);
        if self.anchor == LOW || self.anchor == HIGH {
            self.falling = self.anchor == HIGH;
        }
    }

    /// A limit order that does not cross: 60% near the anchor, the others anywhere up to [`FAR`] off it.
    fn add(&mut self) -> Record {
        let side = self.flow.side();
        let random = &mut self.flow.random;
        let distance = 1 + if random.percent(60) {
            random.below_u32(64).min(random.below_u32(64))
        } else {
            random.below_u32(FAR)
        };
        let best = self.flow.books.best(0, side.opposite());
        // Left-overs of bursts rest at their target, which is inside the range: there is room off every best price.
        let price = match (side, best) {
            (Side::Buy, None) => self.anchor - distance,
            (Side::Sell, None) => self.anchor + distance,
            (Side::Buy, Some(ask)) => (self.anchor - distance).min(ask - 1),
            (Side::Sell, Some(bid)) => (self.anchor + distance).max(bid + 1),
        };
        let qty = self.flow.qty();
        let record = self.flow.enter(Op::Add, 0, side, price, qty);
        self.flow.remember(self.flow.books.last_id());
        record
    }

    /// A limit order that trades at once, up to three ticks through the best price. With nothing to trade with: an add.
    fn cross(&mut self) -> Record {
        let side = self.flow.side();
        let Some(best) = self.flow.books.best(0, side.opposite()) else {
            return self.add();
        };
        let through = self.flow.random.below_u32(4);
        let price = match side {
            Side::Buy => (best + through).min(PRICES.end - 1),
            Side::Sell => (best - through).max(PRICES.start),
        };
        let qty = self.flow.qty();
        self.flow.enter(Op::Cross, 0, side, price, qty)
    }
}

#[cfg(test)]
mod tests {
    use super::super::generator::tests::check;
    use super::*;

    #[test]
    fn header_agrees_with_the_naive_book() {
        for seed in 0..30 {
            println!("seed {seed}");
            check(&generate_crash(seed, 3_000, 100 * (seed % 4)), PRICES);
        }
        check(&generate_crash(99, 20_000, 2_000), PRICES);
        check(&generate_crash(1, 0, 0), PRICES);
    }

    #[test]
    fn a_seed_is_a_stream() {
        assert_eq!(generate_crash(3, 5_000, 500), generate_crash(3, 5_000, 500));
        assert_ne!(
            generate_crash(3, 5_000, 500).records(),
            generate_crash(4, 5_000, 500).records()
        );
    }

    #[test]
    fn the_price_falls_through_thousands_of_ticks_and_comes_back() {
        let stream = generate_crash(1, 400_000, 20_000);
        let crosses = stream.timed().iter().filter(|it| it.op == Op::Cross);
        let (mut falls, mut returns, mut low) = (0, 0, false);
        for price in crosses.map(|it| it.price_ticks.get()) {
            if !low && price < LOW + 1_000 {
                (falls, low) = (falls + 1, true);
            } else if low && price > HIGH - 1_000 {
                (returns, low) = (returns + 1, false);
            }
        }
        assert!(
            falls >= 2 && returns >= 2,
            "{falls} falls, {returns} returns"
        );
        let header = stream.header();
        assert!(
            header.peak_live > 5_000,
            "{} orders at once",
            header.peak_live
        );
        let fills = header.exp_trades.get() as f64;
        let crosses = stream
            .timed()
            .iter()
            .filter(|it| it.op == Op::Cross)
            .count();
        println!(
            "{fills} fills of {crosses} crosses, {} live at the end",
            header.exp_live
        );
    }

    /// Fails when the recipe changes: figures of an earlier build are then of other streams.
    #[test]
    fn the_recipe_has_not_changed() {
        let trades = generate_crash(42, 20_000, 2_000).header().expected();
        assert_eq!(
            (trades.count, trades.qty, trades.checksum),
            (8_102, 1_579_638, 14_869_529_056_076_336_621)
        );
    }
}
