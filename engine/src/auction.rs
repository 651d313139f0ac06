//! Auctions: the orders of a crossed book trade at one price, a bounded part at a time. Rule: `docs/matching.md#market-states-and-auctions`.
//!
//! The engine takes whatever price it is told and lets nothing trade beyond a limit; finding the best price walks the whole book and is done by
//! whoever asks, natively ([`Shard::equilibrium`]).

use crate::ladder::price_of;
use crate::limits::CROSSES_MAX;
use crate::outbox::Done;
use crate::record::{State, Work};
use crate::region::{can_loop, clear, clear32, zero};
use crate::shard::{BUY, Fault, HIDDEN, SELL, Shard};

impl Shard<'_> {
    /// Queues the auction of an instrument.
    #[inline(always)]
    pub(crate) fn begin_uncross(self, index: u32, price: u32, then: u32) -> Done {
        let instrument = self.instrument(index);
        clear(&instrument.cross_volume);
        instrument.cross_price.set(price);
        instrument.cross_then.set(then);
        instrument.work.set(Work::Uncross as u32);
        self.push_instrument(index);
        Done::continues(0)
    }

    /// A step of an auction. The quantity is its fills.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub(crate) fn step_uncross(self, index: u32) -> Done {
        let instrument = self.instrument(index);
        self.record_step(Work::Uncross as u32, index.wrapping_add(1), 0, 0);
        if instrument.state.get() != State::Uncrossing as u32 {
            clear32(&instrument.work); // halted meanwhile
            return Done::accepted(0);
        }
        let mut fills = zero();
        let mut times = zero();
        while times < CROSSES_MAX {
            if !can_loop() {
                self.fault(Fault::LoopBudget);
                break;
            }
            if !self.two_meet(index) {
                break;
            }
            fills = fills.wrapping_add(self.cross(index));
            times = times.wrapping_add(1);
        }
        if !self.two_meet(index) {
            self.end_uncross(index);
        }
        Done::accepted(fills)
    }

    /// Whether there is a bid at the auction's price or above it, and an ask at it or below.
    #[inline(always)]
    fn two_meet(self, index: u32) -> bool {
        let instrument = self.instrument(index);
        let price = instrument.cross_price.get();
        // "No rank" is price 0 of bids and a price above every ladder of asks.
        price_of(BUY, instrument.best_resting(BUY)) >= price
            && instrument.best_resting(SELL) <= price
    }

    /// The first orders of both sides, which meet, trade; or one that is leaving goes. Gives the fills: 1 or 0.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    fn cross(self, index: u32) -> u32 {
        let (buy, sell) = (
            self.first_resting(index, BUY),
            self.first_resting(index, SELL),
        );
        if buy == 0 || sell == 0 {
            self.fault(Fault::BestLevel);
            return 0;
        }
        if self.header().leaving.get() != 0 {
            let removal = self.leaving(buy);
            if removal != 0 {
                self.remove_order(buy, removal as u8).seen();
                return 0;
            }
            let removal = self.leaving(sell);
            if removal != 0 {
                self.remove_order(sell, removal as u8).seen();
                return 0;
            }
        }
        let instrument = self.instrument(index);
        let (bid, offered) = (self.counted(buy), self.counted(sell));
        let lots = if bid < offered { bid } else { offered };
        self.settle_cross(buy, sell, lots, instrument.cross_price.get())
            .seen();
        let volume = &instrument.cross_volume;
        volume.set(volume.get().wrapping_add(u64::from(lots)));
        self.take_lots(buy, lots).seen();
        self.take_lots(sell, lots).seen();
        1
    }

    /// First order at the best price of a side, displayed before hidden; 0 where there is none.
    #[inline(always)]
    fn first_resting(self, index: u32, side: u32) -> u32 {
        let instrument = self.instrument(index);
        let best = instrument.best_resting(side);
        let book = if instrument.best(side).get() == best {
            side
        } else {
            HIDDEN.wrapping_add(side)
        };
        let at = self.ladder_place(instrument.side(book), best).get();
        if at == 0 {
            0
        } else {
            self.level(at).head.get()
        }
    }

    /// No two orders meet any more: the price is the market's, and its state the one that was asked for, unless the book is still crossed.
    #[inline(always)]
    fn end_uncross(self, index: u32) {
        let instrument = self.instrument(index);
        let (price, volume) = (instrument.cross_price.get(), instrument.cross_volume.get());
        if volume != 0 {
            instrument.last.set(price);
            instrument.auction.set(price);
            instrument.set_pause();
        }
        let crossed = self.is_crossed(index);
        self.record_uncrossed(index, volume, price, crossed);
        clear32(&instrument.work);
        if !crossed {
            self.change_state(index, instrument.cross_then.get());
            let _ = self.look_at_triggers(index); // which sets the work
        }
    }
}

/// What an auction at its best price would do.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Equilibrium {
    /// Price in ticks.
    pub price: u32,
    /// Lots that would trade.
    pub volume: u64,
    /// Lots bid for less lots offered at that price.
    pub imbalance: i64,
}

#[cfg(feature = "std")]
impl Shard<'_> {
    /// The price at which an auction of this instrument would trade most, from the book as it stands; `None` where no two orders meet or nothing is listed.
    #[must_use]
    pub fn equilibrium(self, index: u32) -> Option<Equilibrium> {
        if index >= self.header().instruments_max.get() || self.instrument(index).listed.get() == 0
        {
            return None;
        }
        let instrument = self.instrument(index);
        let (bids, asks) = (
            self.open_by_price(index, BUY),
            self.open_by_price(index, SELL),
        );
        let (&best_bid, &best_ask) = (bids.keys().next_back()?, asks.keys().next()?);
        let last = instrument.last.get();
        let reference = if last == 0 {
            instrument.reference.get()
        } else {
            last
        };

        // Between two prices at which something changes all prices are as good as each other but for their distance from the reference.
        let mut changes: Vec<u32> = asks.keys().copied().collect();
        changes.extend(bids.keys().map(|price| price + 1));
        changes.retain(|price| (best_ask..=best_bid).contains(price));
        changes.sort_unstable();
        changes.dedup();
        let mut bid: u64 = bids.range(best_ask..).map(|(_, lots)| lots).sum();
        let mut offered = 0;
        let mut best = None;
        for (at, &from) in changes.iter().enumerate() {
            let to = changes.get(at + 1).map_or(best_bid, |next| next - 1);
            if from > best_ask {
                bid -= bids.get(&(from - 1)).copied().unwrap_or(0);
            }
            offered += asks.get(&from).copied().unwrap_or(0);
            let price = if reference == 0 {
                from
            } else {
                reference.clamp(from, to)
            };
            let volume = bid.min(offered);
            let key = (
                std::cmp::Reverse(volume),
                bid.abs_diff(offered),
                if reference == 0 {
                    0
                } else {
                    price.abs_diff(reference)
                },
                price,
            );
            let this = Equilibrium {
                price,
                volume,
                imbalance: bid.wrapping_sub(offered).cast_signed(),
            };
            if best.is_none_or(|(before, _)| key < before) {
                best = Some((key, this));
            }
        }
        best.map(|(_, equilibrium)| equilibrium)
    }

    /// Open lots of a side by price, displayed or not, pegs and stops left out.
    fn open_by_price(self, index: u32, side: u32) -> std::collections::BTreeMap<u32, u64> {
        let mut lots = std::collections::BTreeMap::new();
        for book in [side, HIDDEN + side] {
            for (_, level) in self.book_levels(index, book) {
                for (_, order) in self.level_orders(level) {
                    *lots.entry(order.price.get()).or_default() += u64::from(order.open.get());
                }
            }
        }
        lots
    }
}
