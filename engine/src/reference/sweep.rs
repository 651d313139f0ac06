//! An order sweeps: it meets makers one by one, and then rests, goes, or stays to sweep on.
//! Rule: `docs/matching.md#meeting-a-maker`, `#self-trade-prevention`, and behind the table of `#enter-a-f-o`.

use super::Reference;
use super::money::{maker_fee, notional, taker_fee};
use super::order::{Order, opposite, prices_cross};
use super::peg::{Quote, peg_price};
use super::step::{Pending, Task};
use crate::limits::FILLS_MAX;
use crate::record::{Outcome, Removal, State};
use ring0_wire::message::BUY;

/// What a sweep did.
pub(super) struct Swept {
    /// Makers met.
    pub(super) met: u32,
    /// Lots filled.
    pub(super) filled: u32,
    pub(super) end: SweepEnd,
}

/// Why a sweep ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SweepEnd {
    /// Nothing is left of the order, or nothing crosses it any more.
    Nothing,
    /// It has met [`FILLS_MAX`] makers, and another one crosses.
    Cap,
    /// Self-trade prevention ended the order.
    Prevented,
    /// A price outside of the bounds paused trading.
    Paused,
}

impl Reference {
    /// Meets makers while the order has lots open and the best price crosses it.
    pub(super) fn sweep(&mut self, order: &mut Order, quote: Quote) -> Swept {
        let before = order.executed;
        let mut met = 0;
        let end = loop {
            match self.crossing_maker(order, quote) {
                None => break SweepEnd::Nothing,
                Some(_) if met == FILLS_MAX => break SweepEnd::Cap,
                Some((price, id)) => match self.meet(order, price, id) {
                    Some(SweepEnd::Paused) => break SweepEnd::Paused, // nothing was met
                    ended => {
                        met += 1;
                        if let Some(end) = ended {
                            break end;
                        }
                    }
                },
            }
        };
        Swept {
            met,
            filled: order.executed - before,
            end,
        }
    }

    /// Price and id of the next maker, if it crosses an order that has lots open.
    fn crossing_maker(&self, order: &Order, quote: Quote) -> Option<(u32, u64)> {
        if order.open == 0 {
            return None;
        }
        let instrument = self.instrument(order.instrument);
        let limit = match order.peg {
            Some(peg) => peg_price(&instrument.list, order.side, peg, order.price, quote)?,
            None => order.price,
        };
        let next = instrument.next_maker(opposite(order.side), quote);
        next.filter(|&(price, _)| prices_cross(order.side, limit, price))
    }

    /// One meeting, the first that applies; gives how the sweep ended, if it did.
    fn meet(&mut self, order: &mut Order, price: u32, id: u64) -> Option<SweepEnd> {
        let maker = self.orders[&id];
        if let Some(removal) = self.leaving(&maker) {
            self.remove(&maker, removal);
            return None;
        }
        if order.self_trade != 0 && self.of_one_hand(order, &maker) {
            return self.prevent(order, &maker, price);
        }
        let instrument = self.instrument(order.instrument);
        if instrument.pauses_at(price) {
            self.change_state(order.instrument, State::VolatilityPause);
            return Some(SweepEnd::Paused);
        }
        self.fill(order, &maker, price);
        None
    }

    /// Whether both orders have the same account, or by trade group the same group.
    pub(super) fn of_one_hand(&self, taker: &Order, maker: &Order) -> bool {
        let group = self.account(taker.account).group;
        let same_group = group != 0 && self.account(maker.account).group == group;
        taker.account == maker.account || (taker.by_group && same_group)
    }

    /// What happens instead of a fill between two orders of one hand.
    fn prevent(&mut self, order: &mut Order, maker: &Order, price: u32) -> Option<SweepEnd> {
        match order.self_trade {
            1 => Some(SweepEnd::Prevented),
            2 => {
                self.remove(maker, Removal::SelfTrade);
                None
            }
            3 => {
                self.remove(maker, Removal::SelfTrade);
                Some(SweepEnd::Prevented)
            }
            _ => {
                let lots = order.open.min(maker.offered());
                self.release(order, lots);
                self.release(maker, lots);
                order.open -= lots;
                self.decremented(maker, order, price, lots);
                self.take_lots(maker.id, lots);
                None
            }
        }
    }

    fn fill(&mut self, taker: &mut Order, maker: &Order, price: u32) {
        let list = self.instrument(taker.instrument).list;
        let lots = taker.open.min(maker.offered());
        let paid = notional(&list, price, lots);
        let (taker_fee, maker_fee) = (taker_fee(&list, paid), maker_fee(&list, paid));
        if taker.side == BUY {
            self.pay((taker, taker_fee), (maker, maker_fee), price, lots);
        } else {
            self.pay((maker, maker_fee), (taker, taker_fee), price, lots);
        }
        self.instrument_mut(taker.instrument).last = price;
        taker.open -= lots;
        taker.executed += lots;
        self.filled(maker, taker, price, lots, (maker_fee, taker_fee));
        self.take_lots(maker.id, lots);
    }

    /// What becomes of an order that has swept; whether it is left to sweep on.
    pub(super) fn settle(&mut self, order: Order, end: SweepEnd, quote: Quote) -> Outcome {
        let at = order.instrument;
        if order.open == 0 {
            if self.orders.contains_key(&order.id) {
                self.forget(&order);
            }
        } else if end == SweepEnd::Prevented {
            self.discard(&order, Removal::SelfTrade);
        } else if self.instrument(at).state == State::VolatilityPause {
            if order.immediate {
                self.discard(&order, Removal::Paused);
            } else {
                self.rest_if_possible(order);
            }
        } else if end == SweepEnd::Cap {
            self.remember(order);
            let order = order.id;
            self.instrument_mut(at).work = Some(Task::Sweep { order, quote });
            self.queue(Pending::Instrument(at));
            return Outcome::Continues;
        } else if order.immediate {
            self.discard(&order, Removal::Ioc);
        } else {
            self.rest_if_possible(order);
        }
        Outcome::Accepted
    }

    /// The order joins its book, unless others have taken the last level meanwhile or its second has come: neither can be
    /// at its entry.
    fn rest_if_possible(&mut self, order: Order) {
        if self.room_in_book(&order, None).is_err() {
            self.discard(&order, Removal::Ioc);
        } else if order.expiry != 0 && order.expiry <= self.second {
            self.discard(&order, Removal::Expired);
        } else {
            self.join(order);
        }
    }
}
