//! Whether an order that asks for a least quantity can have it at once.
//! Rule: `docs/matching.md#feasibility-of-fill-or-kill-and-minimum`.

use super::Reference;
use super::order::{Order, displayed_book, hidden_book, opposite, prices_cross};
use super::peg::Quote;
use crate::Reason;
use crate::limits::FILLS_MAX;
use ring0_wire::message::SELL;
use std::collections::BTreeSet;

/// Counts looks and lots of one walk.
struct Walk {
    looks: u32,
    lots: u64,
    least: u64,
}

impl Walk {
    /// So many looks more, unless they are too many.
    fn look(&mut self, looks: u64) -> Result<(), Reason> {
        if u64::from(self.looks) + looks > u64::from(FILLS_MAX) {
            return Err(Reason::FokTooDeep);
        }
        self.looks += looks as u32;
        Ok(())
    }

    /// So many lots more; whether that is enough.
    fn add(&mut self, lots: u64) -> bool {
        self.lots += lots;
        self.lots >= self.least
    }
}

impl Reference {
    /// Whether `least` lots of the order would be filled by its own command; the looks that it took.
    pub(super) fn feasible(
        &self,
        order: &Order,
        least: u32,
        quote: Quote,
    ) -> (Result<(), Reason>, u32) {
        let mut walk = Walk {
            looks: 0,
            lots: 0,
            least: u64::from(least),
        };
        let result = self.walk(order, quote, &mut walk);
        (result, walk.looks)
    }

    fn walk(&self, order: &Order, quote: Quote, walk: &mut Walk) -> Result<(), Reason> {
        let instrument = self.instrument(order.instrument);
        let side = opposite(order.side);
        let displayed = &instrument.books[displayed_book(side)];
        let hidden = &instrument.books[hidden_book(side)];
        let pegs = instrument.priced_queues(side, quote);

        let mut prices: BTreeSet<u32> = displayed.keys().chain(hidden.keys()).copied().collect();
        prices.extend(pegs.iter().map(|(price, _)| *price));
        let mut prices: Vec<u32> = prices.into_iter().collect();
        if order.side == SELL {
            prices.reverse(); // a sell meets the highest first
        }

        for price in prices {
            if !prices_cross(order.side, order.price, price) || instrument.pauses_at(price) {
                return Err(Reason::NotFillable);
            }
            let mut held_back = Vec::new();
            for id in displayed.get(&price).into_iter().flatten() {
                walk.look(1)?;
                let maker = &self.orders[id];
                if !self.counts(order, maker)? {
                    continue;
                }
                if maker.shown() < maker.open {
                    held_back.push((u64::from(maker.open - maker.shown()), u64::from(maker.peak)));
                }
                if walk.add(u64::from(maker.shown())) {
                    return Ok(());
                }
            }
            walk.look(
                held_back
                    .iter()
                    .map(|(lots, peak)| lots.div_ceil(*peak))
                    .sum(),
            )?;
            if walk.add(held_back.iter().map(|(lots, _)| lots).sum()) {
                return Ok(());
            }
            // By the rule of the next maker: of the first ones that are left, the one with the lowest id.
            let mut queues: Vec<&[u64]> =
                hidden.get(&price).map(Vec::as_slice).into_iter().collect();
            queues.extend(
                pegs.iter()
                    .filter(|(p, _)| *p == price)
                    .map(|(_, ids)| *ids),
            );
            while let Some(next) = queues
                .iter_mut()
                .filter(|ids| !ids.is_empty())
                .min_by_key(|ids| ids[0])
            {
                let maker = &self.orders[&next[0]];
                *next = &next[1..];
                walk.look(1)?;
                if self.counts(order, maker)? && walk.add(u64::from(maker.open)) {
                    return Ok(());
                }
            }
        }
        Err(Reason::NotFillable)
    }

    /// Whether a maker's lots count; an error where it ends the walk.
    fn counts(&self, order: &Order, maker: &Order) -> Result<bool, Reason> {
        if self.leaving(maker).is_some() {
            return Ok(false);
        }
        if order.self_trade == 0 || !self.of_one_hand(order, maker) {
            return Ok(true);
        }
        if order.self_trade == 2 {
            Ok(false)
        } else {
            Err(Reason::NotFillable)
        }
    }
}
