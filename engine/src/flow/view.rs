//! What the flow has learnt of the shard from its records: states, standing orders, trades.
//!
//! It is only used to choose inputs that lead somewhere, so what it misses costs variety, never a wrong verdict.

use super::market::{ACCOUNTS, INSTRUMENTS, middle_of};
use crate::control::{
    Control, ControlKind, Expire, List, OpenDay, Target, TransferDone, TransferOut,
};
use crate::limits::SLOT_LEN;
use crate::record::{
    ControlRecord, Crossed, Decremented, Filled, Head, Kind, Outcome, Reduced, Removed, Replaced,
    Rested, State, StateChanged,
};
use ring0_wire::message::{BUY, SELL};
use std::collections::{BTreeMap, VecDeque};
use zerocopy::{FromBytes, FromZeros};

/// An instrument as the records have told it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) listed: bool,
    pub(super) state: State,
    /// Last trade, or 0.
    pub(super) last: u32,
}

/// An order that stands in a book and has a price of its own.
#[derive(Clone, Copy, Debug)]
struct Standing {
    index: u32,
    side: u8,
    price: u32,
    lots: u32,
}

/// A trade that could be taken back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trade {
    pub(super) sequence: u64,
    pub(super) index: u32,
    pub(super) buyer: u32,
    pub(super) seller: u32,
    pub(super) price: u32,
    pub(super) lots: u32,
    pub(super) buyer_fee: i64,
    pub(super) seller_fee: i64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) markets: [Seen; INSTRUMENTS as usize],
    orders: BTreeMap<u64, Standing>,
    pub(super) trades: VecDeque<Trade>,
    /// Second that expiry has come to.
    pub(super) second: u32,
    pub(super) day: u32,
    pub(super) midnight_ns: u64,
    /// Of each account the number of its last transfer out, and whether that is in flight.
    pub(super) transfers: [(u64, bool); ACCOUNTS as usize],
}

impl View {
    pub(super) fn new() -> View {
        let nothing = Seen {
            listed: false,
            state: State::Closed,
            last: 0,
        };
        View {
            markets: [nothing; INSTRUMENTS as usize],
            orders: BTreeMap::new(),
            trades: VecDeque::new(),
            second: 0,
            day: 0,
            midnight_ns: 0,
            transfers: [(0, false); ACCOUNTS as usize],
        }
    }

    /// An instrument of the setup: what is thought of it until its records tell more, or where none are shown.
    pub(super) fn assume(&mut self, list: &List) {
        if let Some(seen) = self.seen(list.instrument) {
            *seen = Seen {
                listed: true,
                state: State::Continuous,
                last: 0,
            };
        }
    }

    /// Records of whole slots, as a run has written them.
    pub(super) fn learn(&mut self, mut records: &[u8]) {
        while let Ok((head, _)) = Head::read_from_prefix(records) {
            let len = (usize::from(head.slots.max(1)) * SLOT_LEN).min(records.len());
            let (this, rest) = records.split_at(len);
            records = rest;
            if let Some(kind) = Kind::from_number(head.kind) {
                // A record that cannot be read as its kind is for the tests to find.
                let _ = self.record(kind, &head, this);
            }
        }
    }

    fn record(&mut self, kind: Kind, head: &Head, bytes: &[u8]) -> Option<()> {
        let index = head.locate.wrapping_sub(1);
        match kind {
            Kind::Control => self.control(&ControlRecord::read_from_bytes(bytes).ok()?),
            Kind::Rested => {
                let rested = Rested::read_from_bytes(bytes).ok()?;
                if rested.peg == 0 {
                    let order = Standing {
                        index,
                        side: head.side,
                        price: rested.price,
                        lots: rested.lots,
                    };
                    self.orders.insert(rested.order, order);
                }
            }
            Kind::Filled => {
                let filled = Filled::read_from_bytes(bytes).ok()?;
                self.take_off(filled.maker, filled.lots);
                self.seen(index)?.last = filled.price;
                let (maker, taker) = (
                    (filled.maker_account, filled.maker_fee),
                    (filled.taker_account, filled.taker_fee as i64),
                );
                let (buyer, seller) = if head.side == BUY {
                    (taker, maker)
                } else {
                    (maker, taker)
                };
                self.trade(Trade {
                    sequence: head.sequence,
                    index,
                    buyer: buyer.0,
                    seller: seller.0,
                    price: filled.price,
                    lots: filled.lots,
                    buyer_fee: buyer.1,
                    seller_fee: seller.1,
                });
            }
            Kind::Crossed => {
                let crossed = Crossed::read_from_bytes(bytes).ok()?;
                self.take_off(crossed.buy, crossed.lots);
                self.take_off(crossed.sell, crossed.lots);
                self.seen(index)?.last = crossed.price;
                self.trade(Trade {
                    sequence: head.sequence,
                    index,
                    buyer: crossed.buy_account,
                    seller: crossed.sell_account,
                    price: crossed.price,
                    lots: crossed.lots,
                    buyer_fee: crossed.buy_fee as i64,
                    seller_fee: crossed.sell_fee as i64,
                });
            }
            Kind::Decremented => {
                let taken = Decremented::read_from_bytes(bytes).ok()?;
                self.take_off(taken.maker, taken.lots);
            }
            Kind::Removed => {
                self.orders
                    .remove(&Removed::read_from_bytes(bytes).ok()?.order);
            }
            Kind::Reduced => {
                let reduced = Reduced::read_from_bytes(bytes).ok()?;
                self.take_off(reduced.order, reduced.lots);
            }
            Kind::Replaced => {
                let replaced = Replaced::read_from_bytes(bytes).ok()?;
                if replaced.kept == 0 {
                    self.orders.remove(&replaced.order);
                } else if let Some(order) = self.orders.get_mut(&replaced.order) {
                    order.lots = replaced.lots;
                }
            }
            Kind::StateChanged => {
                let changed = StateChanged::read_from_bytes(bytes).ok()?;
                self.seen(index)?.state = State::from_number(changed.state)?;
            }
            _ => {}
        }
        Some(())
    }

    fn control(&mut self, record: &ControlRecord) {
        if record.outcome == Outcome::Rejected as u8 {
            return;
        }
        let mut control = Control::new_zeroed();
        control.body = record.body;
        let is = |kind: ControlKind| record.kind == kind as u32;
        if is(ControlKind::List) {
            let list: List = control.body();
            if let Some(seen) = self.seen(list.instrument) {
                *seen = Seen {
                    listed: true,
                    state: State::from_number(list.state as u8).unwrap_or(State::Closed),
                    last: 0,
                };
            }
        } else if is(ControlKind::Delist) {
            let target: Target = control.body();
            if let Some(seen) = self.seen(target.index) {
                seen.listed = false;
            }
        } else if is(ControlKind::Expire) {
            self.second = self.second.max(control.body::<Expire>().second);
        } else if is(ControlKind::OpenDay) {
            let opened: OpenDay = control.body();
            (self.day, self.midnight_ns, self.second) = (opened.day, opened.midnight_ns, 0);
        } else if is(ControlKind::TransferOut) {
            let out: TransferOut = control.body();
            if let Some(last) = self.transfers.get_mut(out.account as usize) {
                *last = (out.number, true);
            }
        } else if is(ControlKind::TransferDone) {
            let done: TransferDone = control.body();
            if let Some(last) = self.transfers.get_mut(done.account as usize) {
                last.1 = false;
            }
        }
    }

    fn seen(&mut self, index: u32) -> Option<&mut Seen> {
        self.markets.get_mut(index as usize)
    }

    fn take_off(&mut self, order: u64, lots: u32) {
        if let Some(standing) = self.orders.get_mut(&order) {
            standing.lots = standing.lots.saturating_sub(lots);
            if standing.lots == 0 {
                self.orders.remove(&order);
            }
        }
    }

    fn trade(&mut self, trade: Trade) {
        self.trades.push_back(trade);
        if self.trades.len() > 32 {
            self.trades.pop_front();
        }
    }

    /// Best price of a side, pegs left out.
    fn best(&self, index: u32, side: u8) -> Option<u32> {
        let prices = self
            .orders
            .values()
            .filter(|order| order.index == index && order.side == side)
            .map(|order| order.price);
        if side == BUY {
            prices.max()
        } else {
            prices.min()
        }
    }

    pub(super) fn is_all_closed(&self) -> bool {
        let mut listed = self.markets.iter().filter(|seen| seen.listed);
        listed.all(|seen| seen.state == State::Closed)
    }

    pub(super) fn is_crossed(&self, index: u32) -> bool {
        match (self.best(index, BUY), self.best(index, SELL)) {
            (Some(bid), Some(ask)) => bid >= ask,
            _ => false,
        }
    }

    /// The price of the auction: greatest volume, then least difference, nearest to the last trade, lowest; the middle for
    /// a book that is not crossed.
    pub(super) fn auction_price(&self, index: u32) -> u32 {
        let near = match self.markets[index as usize].last {
            0 => middle_of(index as u16 + 1),
            last => last,
        };
        let (Some(bid), Some(ask)) = (self.best(index, BUY), self.best(index, SELL)) else {
            return near;
        };
        let lots = |side: u8, price: u32| {
            self.orders
                .values()
                .filter(|order| order.index == index && order.side == side)
                .filter(|order| order.price == price || (order.price > price) == (side == BUY))
                .map(|order| u64::from(order.lots))
                .sum::<u64>()
        };
        (ask..=bid)
            .min_by_key(|&price| {
                let (bought, sold) = (lots(BUY, price), lots(SELL, price));
                let volume = bought.min(sold);
                (
                    std::cmp::Reverse(volume),
                    bought.abs_diff(sold),
                    price.abs_diff(near),
                    price,
                )
            })
            .unwrap_or(near)
    }
}
