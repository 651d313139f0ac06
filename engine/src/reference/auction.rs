//! Market states, the bounds beyond which trading pauses, and auctions.
//! Rule: `docs/matching.md#market-states-and-auctions`; `#control-commands` for `SetState`, `SetBands`, `Indicate`, `Uncross`.

use super::book::Instrument;
use super::money::{is_on_ladder, notional, taker_fee, top_of};
use super::order::{displayed_book, hidden_book};
use super::step::{Pending, Task};
use super::{Done, Reference, locate_of};
use crate::Reason;
use crate::control::{Indicate, SetBands, SetState, Uncross};
use crate::limits::CROSSES_MAX;
use crate::record::{Outcome, State, Work};
use ring0_wire::message::{BUY, SELL};
use std::cmp::Reverse;

impl Instrument {
    /// Whether a trade at this price is too far from the last auction.
    pub(super) fn pauses_at(&self, price: u32) -> bool {
        let bounded = self.pause_low != 0 && self.pause_high != 0;
        bounded && !(self.pause_low..=self.pause_high).contains(&price)
    }

    /// Sets the prices within which a trade does not pause.
    pub(super) fn set_pause(&mut self) {
        let centre = if self.auction != 0 {
            self.auction
        } else {
            self.reference
        };
        (self.pause_low, self.pause_high) = (0, 0);
        if self.pause_ticks != 0 && centre != 0 {
            let low = centre.saturating_sub(self.pause_ticks);
            let high = centre.saturating_add(self.pause_ticks);
            self.pause_low = low.max(self.list.ladder_base);
            self.pause_high = high.min(top_of(&self.list));
        }
    }
}

impl Reference {
    pub(super) fn change_state(&mut self, at: u32, state: State) {
        let instrument = self.instrument_mut(at);
        let before = instrument.state;
        instrument.state = state;
        self.state_changed(at, state, before);
    }

    pub(super) fn set_state(&mut self, body: SetState) -> Result<(), Reason> {
        use State::{
            ClosingAuction, Continuous, Halted, OpeningAuction, PreOpen, Uncrossing,
            VolatilityPause,
        };
        let at = self.target_instrument(body.instrument)?;
        let state = u8::try_from(body.state).ok().and_then(State::from_number);
        let state = state.ok_or(Reason::BadSetting)?;
        let instrument = self.instrument(at);
        let may_halt = !matches!(instrument.work, Some(Task::Purge(_)));
        if instrument.work.is_some() && !(state == Halted && may_halt) {
            return Err(Reason::Continuing);
        }
        let before = instrument.state;
        if state == before {
            return Err(Reason::BadState);
        }
        let allowed = match state {
            Uncrossing => matches!(before, OpeningAuction | VolatilityPause | ClosingAuction),
            VolatilityPause => before == Continuous,
            PreOpen | OpeningAuction | ClosingAuction => before != Uncrossing,
            _ => true,
        };
        if !allowed {
            return Err(Reason::BadState);
        }
        if state == Continuous && instrument.is_crossed() {
            return Err(Reason::BookCrossed);
        }

        // Done:
        self.change_state(at, state);
        self.look_at_triggers(at);
        Ok(())
    }

    pub(super) fn set_bands(&mut self, body: SetBands) -> Result<(), Reason> {
        let at = self.target_instrument(body.instrument)?;
        self.is_idle(at)?;
        let instrument = self.instrument_mut(at);
        if !matches!(instrument.state, State::Closed | State::Halted) {
            return Err(Reason::BadState);
        }
        let (low, high) = (body.band_low, body.band_high);
        let reference = body.reference;
        if (low == 0) != (high == 0)
            || low > high
            || (reference != 0 && !is_on_ladder(&instrument.list, reference))
        {
            return Err(Reason::BadSetting);
        }

        // Done:
        instrument.list.band_low = low;
        instrument.list.band_high = high;
        instrument.dynamic_ticks = body.dynamic_ticks;
        instrument.fat_ticks = body.fat_ticks;
        instrument.pause_ticks = body.pause_ticks;
        instrument.reference = reference;
        instrument.set_pause();
        Ok(())
    }

    pub(super) fn indicate(&self, body: Indicate) -> Result<(), Reason> {
        let at = self.target_instrument(body.instrument)?;
        let instrument = self.instrument(at);
        let call = [
            State::OpeningAuction,
            State::VolatilityPause,
            State::ClosingAuction,
        ];
        if !call.contains(&instrument.state) {
            return Err(Reason::BadState);
        }
        if body.price != 0 && !is_on_ladder(&instrument.list, body.price) {
            return Err(Reason::OffLadder);
        }
        Ok(())
    }

    pub(super) fn uncross(&mut self, body: Uncross) -> Result<Outcome, Reason> {
        let at = self.target_instrument(body.instrument)?;
        self.is_idle(at)?;
        let instrument = self.instrument_mut(at);
        if instrument.state != State::Uncrossing {
            return Err(Reason::BadState);
        }
        if !is_on_ladder(&instrument.list, body.price) {
            return Err(Reason::OffLadder);
        }
        let then = u8::try_from(body.then).ok().and_then(State::from_number);
        let then = then.filter(|s| matches!(s, State::Continuous | State::Closed | State::Halted));
        let then = then.ok_or(Reason::BadSetting)?;

        // Done:
        instrument.work = Some(Task::Uncross {
            price: body.price,
            then,
            volume: 0,
        });
        self.queue(Pending::Instrument(at));
        Ok(Outcome::Continues)
    }

    pub(super) fn uncross_step(&mut self, at: u32, price: u32, then: State, volume: u64) {
        let sequence = self.next();
        let (outcome, fills) = if self.instrument(at).state == State::Halted {
            (self.work_ends(at), 0)
        } else {
            self.cross_some(at, price, then, volume)
        };
        let done = Done {
            outcome,
            quantity: fills,
        };
        self.publish_step(sequence, locate_of(at), (0, 0), Work::Uncross, done);
    }

    /// One step of an auction; how many fills it made.
    fn cross_some(&mut self, at: u32, price: u32, then: State, mut volume: u64) -> (Outcome, u32) {
        let mut fills = 0;
        for _ in 0..CROSSES_MAX {
            let Some((bid, ask)) = self.meeting_at(at, price) else {
                break;
            };
            let (buy, sell) = (self.orders[&bid], self.orders[&ask]);
            if let Some(removal) = self.leaving(&buy) {
                self.remove(&buy, removal);
                continue;
            }
            if let Some(removal) = self.leaving(&sell) {
                self.remove(&sell, removal);
                continue;
            }
            let list = self.instrument(at).list;
            let lots = buy.offered().min(sell.offered());
            // An auction has no maker: both sides pay what a taker pays.
            let fee = taker_fee(&list, notional(&list, price, lots));
            self.pay((&buy, fee), (&sell, fee), price, lots);
            self.crossed(&buy, &sell, price, lots, fee);
            self.take_lots(bid, lots);
            self.take_lots(ask, lots);
            volume += u64::from(lots);
            fills += 1;
        }
        if self.meeting_at(at, price).is_some() {
            self.instrument_mut(at).work = Some(Task::Uncross {
                price,
                then,
                volume,
            });
            return (Outcome::Continues, fills);
        }
        let instrument = self.instrument_mut(at);
        if volume != 0 {
            instrument.last = price;
            instrument.auction = price;
            instrument.set_pause();
        }
        let crossed = instrument.is_crossed();
        self.uncrossed(at, price, volume, crossed);
        if !crossed {
            self.change_state(at, then);
        }
        (self.work_ends(at), fills)
    }

    /// The first orders of both sides, while the best bid and the best ask both reach the price.
    fn meeting_at(&self, at: u32, price: u32) -> Option<(u64, u64)> {
        let instrument = self.instrument(at);
        let (bid, buy) = instrument.first_but_pegs(BUY)?;
        let (ask, sell) = instrument.first_but_pegs(SELL)?;
        (bid >= price && price >= ask).then_some((buy, sell))
    }

    /// What an auction of the book as it stands would do: price in ticks, lots that would trade, and lots bid for less lots
    /// offered at that price. None where no bid meets an ask.
    #[must_use]
    pub fn equilibrium(&self, instrument: u32) -> Option<(u32, u64, i64)> {
        let book = self.instrument(instrument);
        let (bid, _) = book.first_but_pegs(BUY)?;
        let (ask, _) = book.first_but_pegs(SELL)?;
        let lots_of_side = |side| -> Vec<(u32, u64)> {
            let levels = [displayed_book(side), hidden_book(side)];
            let levels = levels.iter().flat_map(|&number| &book.books[number]);
            let open = |id: &u64| u64::from(self.orders[id].open);
            let lots = levels.map(|(price, ids)| (*price, ids.iter().map(open).sum()));
            lots.collect()
        };
        let (bids, asks) = (lots_of_side(BUY), lots_of_side(SELL));
        let prices = (ask..=bid).map(|price| {
            let bid = bids.iter().filter(|(p, _)| *p >= price);
            let offered = asks.iter().filter(|(p, _)| *p <= price);
            let bid: u64 = bid.map(|(_, lots)| lots).sum();
            let offered: u64 = offered.map(|(_, lots)| lots).sum();
            (price, bid.min(offered), bid as i64 - offered as i64)
        });
        let reference = book.reference_price();
        prices.min_by_key(|&(price, volume, imbalance)| {
            let distance = match reference {
                0 => 0,
                _ => price.abs_diff(reference),
            };
            (Reverse(volume), imbalance.unsigned_abs(), distance, price)
        })
    }
}
