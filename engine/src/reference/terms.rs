//! Checks that `A`, `F`, `O` and `U` share. The numbers are those of the table under `docs/matching.md#enter-a-f-o`.

use super::Reference;
use super::money::{is_on_ladder, notional, top_of};
use super::order::{Order, displayed_book, opposite, prices_cross};
use super::peg::Quote;
use crate::Reason;
use crate::control::List;
use crate::limits::{FILLS_MAX, PACKET_WORK_MAX};
use crate::record::State;
use ring0_wire::message::BUY;

/// Enter 14.
pub(super) fn work_is_left(work: u32) -> Result<(), Reason> {
    if work <= PACKET_WORK_MAX - FILLS_MAX {
        Ok(())
    } else {
        Err(Reason::PacketFills)
    }
}

/// Enter 15: ticks of a wire price.
pub(super) fn ticks_of(list: &List, price: u32) -> Result<u32, Reason> {
    if price.is_multiple_of(list.tick_size) {
        Ok(price / list.tick_size)
    } else {
        Err(Reason::NotATick)
    }
}

/// Enter 16: lots of so many shares.
pub(super) fn lots_of(list: &List, shares: u32) -> Result<u32, Reason> {
    if shares.is_multiple_of(list.lot_size) {
        Ok(shares / list.lot_size)
    } else {
        Err(Reason::NotALot)
    }
}

impl Reference {
    /// Enter 2: the reference rises; it becomes the last, whatever follows.
    pub(super) fn rising(&mut self, index: u32, reference: u32) -> Result<(), Reason> {
        let session = self.session_mut(index);
        if reference <= session.last_reference {
            return Err(Reason::ReferenceNotRising);
        }
        session.last_reference = reference;
        Ok(())
    }

    /// Enter 5 to 8.
    pub(super) fn may_enter(&self, index: u32) -> Result<(), Reason> {
        let session = self.session(index);
        if session.killed {
            return Err(Reason::SessionKilled);
        }
        if self.account(session.grant.account).killed {
            return Err(Reason::AccountKilled);
        }
        if self.time_ns >= session.grant.expires_ns && session.grant.expires_ns != u64::MAX {
            return Err(Reason::SessionExpired);
        }
        self.no_mass_cancel(index)
    }

    /// Enter 8.
    pub(super) fn no_mass_cancel(&self, index: u32) -> Result<(), Reason> {
        let session = self.session(index);
        if session.mass.is_some() || self.account(session.grant.account).mass.is_some() {
            return Err(Reason::Continuing);
        }
        Ok(())
    }

    /// Enter 11, 12.
    pub(super) fn takes_orders(&self, at: u32) -> Result<(), Reason> {
        let instrument = self.instrument(at);
        if instrument.work.is_some() {
            return Err(Reason::Continuing);
        }
        match instrument.state {
            State::Closed => Err(Reason::MarketClosed),
            State::Halted => Err(Reason::InstrumentHalted),
            State::Uncrossing => Err(Reason::Continuing),
            _ => Ok(()),
        }
    }

    /// Enter 17, 18.
    pub(super) fn not_too_large(
        &self,
        index: u32,
        at: u32,
        lots: u32,
        shares: u32,
    ) -> Result<(), Reason> {
        if lots > self.instrument(at).list.lots_max {
            return Err(Reason::OrderTooLarge);
        }
        let grant = &self.session(index).grant;
        let limits = [grant.shares_max, self.account(grant.account).shares_max];
        if limits.iter().any(|&max| max != 0 && shares > max) {
            return Err(Reason::RiskShares);
        }
        Ok(())
    }

    /// Enter 21: the order's price becomes what it asks for, and is on the ladder.
    pub(super) fn price_on_ladder(
        &self,
        order: &mut Order,
        market: bool,
        quote: Quote,
    ) -> Result<(), Reason> {
        let instrument = self.instrument(order.instrument);
        let list = &instrument.list;
        if market && order.side == BUY {
            order.price = order.price.min(top_of(list));
        }
        if market && order.side != BUY {
            order.price = order.price.max(list.ladder_base);
        }
        if order.slides {
            let best = instrument.best_price(opposite(order.side), quote);
            if let Some(best) = best.filter(|&best| prices_cross(order.side, order.price, best)) {
                // The ladder begins above 0 and ends below 2^32 - 1, so neither wraps.
                order.price = if order.side == BUY {
                    best - 1
                } else {
                    best + 1
                };
            }
        }
        if is_on_ladder(list, order.price) {
            Ok(())
        } else {
            Err(Reason::OffLadder)
        }
    }

    /// Enter 22 to 26. In a replace `market` is a stop that is immediate, which may be one.
    pub(super) fn within_limits(&self, order: &Order, market: bool) -> Result<(), Reason> {
        let instrument = self.instrument(order.instrument);
        let list = &instrument.list;
        let price = order.price;
        let banded = list.band_low != 0;
        if !market && banded && !(list.band_low..=list.band_high).contains(&price) {
            return Err(Reason::PriceBand); // 22
        }
        let reference = instrument.reference_price();
        let dynamic = instrument.dynamic_ticks != 0 && reference != 0;
        let limit_order = !market && !order.waits();
        if limit_order && dynamic && price.abs_diff(reference) > instrument.dynamic_ticks {
            return Err(Reason::DynamicBand); // 23
        }
        let fat = instrument.fat_ticks != 0 && instrument.state == State::Continuous;
        if limit_order && order.peg.is_none() && fat {
            let other = instrument.first_level(displayed_book(opposite(order.side)));
            let beyond = |best: u32| {
                if order.side == BUY {
                    price.saturating_sub(best)
                } else {
                    best.saturating_sub(price)
                }
            };
            if other.is_some_and(|(best, _)| beyond(best) > instrument.fat_ticks) {
                return Err(Reason::FatFinger); // 24
            }
        }
        let notional = notional(list, price, order.open);
        let above = |max: u64| max != 0 && notional > u128::from(max);
        if above(list.notional_max) {
            return Err(Reason::NotionalTooLarge); // 25
        }
        let session = self.session(order.session).grant.notional_max;
        if above(session) || above(self.account(order.account).notional_max) {
            return Err(Reason::RiskNotional); // 26
        }
        Ok(())
    }

    /// Enter 34.
    pub(super) fn does_not_take(&self, order: &Order, quote: Quote) -> Result<(), Reason> {
        let best = self
            .instrument(order.instrument)
            .best_price(opposite(order.side), quote);
        let crosses = best.is_some_and(|best| prices_cross(order.side, order.price, best));
        if order.post_only && crosses {
            return Err(Reason::WouldCross);
        }
        Ok(())
    }
}
