//! Control commands about an instrument's market and about the day. Rule: `docs/matching.md#market-states-and-auctions`, `#control-commands`.

use crate::Reason;
use crate::control::{
    Clear, ControlKind, Expire, Indicate, OpenDay, SetBands, SetState, Target, Uncross,
};
use crate::limits::DAY_SECONDS;
use crate::listing::is_band;
use crate::operate::{DONE, half, rejected, word};
use crate::outbox::Done;
use crate::purge::BOTH;
use crate::record::{Removal, State, Work};
use crate::region::clear32;
use crate::shard::Shard;
use core::mem::offset_of;
use ring0_wire::message;

const CLOSED: u32 = State::Closed as u32;
const PRE_OPEN: u32 = State::PreOpen as u32;
const OPENING_AUCTION: u32 = State::OpeningAuction as u32;
const CONTINUOUS: u32 = State::Continuous as u32;
const VOLATILITY_PAUSE: u32 = State::VolatilityPause as u32;
const CLOSING_AUCTION: u32 = State::ClosingAuction as u32;
const HALTED: u32 = State::Halted as u32;
const UNCROSSING: u32 = State::Uncrossing as u32;

/// Whether an auction may end this state.
#[inline(always)]
const fn is_call(state: u32) -> bool {
    state == OPENING_AUCTION || state == VOLATILITY_PAUSE || state == CLOSING_AUCTION
}

impl Shard<'_> {
    /// A command about a listed instrument, whose index begins the body.
    #[inline(never)]
    pub(crate) fn control_market(self, kind: u32) -> Done {
        const _: () = {
            assert!(offset_of!(SetState, instrument) == 0 && offset_of!(Uncross, instrument) == 0);
            assert!(offset_of!(Indicate, instrument) == 0 && offset_of!(Clear, instrument) == 0);
            assert!(offset_of!(Target, index) == 0);
        };
        let index = half!(self, Target, index);
        if index >= self.header().instruments_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() == 0 {
            return rejected(Reason::UnknownInstrument);
        }
        if kind == ControlKind::SetState as u32 {
            return self.set_state(index);
        }
        let state = instrument.state.get();
        if kind == ControlKind::Indicate as u32 {
            let price = half!(self, Indicate, price);
            if !is_call(state) {
                return rejected(Reason::BadState);
            }
            if price != 0 && !instrument.has_price(price) {
                return rejected(Reason::OffLadder);
            }
            return DONE; // the record is what is published
        }
        if instrument.work.get() != 0 {
            return rejected(Reason::Continuing);
        }
        if kind == ControlKind::Uncross as u32 {
            let (price, then) = (half!(self, Uncross, price), half!(self, Uncross, then));
            if state != UNCROSSING {
                return rejected(Reason::BadState);
            }
            if !instrument.has_price(price) {
                return rejected(Reason::OffLadder);
            }
            if then != CONTINUOUS && then != CLOSED && then != HALTED {
                return rejected(Reason::BadSetting);
            }
            return self.begin_uncross(index, price, then);
        }
        let (removal, side) = if kind == ControlKind::Clear as u32 {
            let side = half!(self, Clear, side);
            if side != u32::from(message::BUY) && side != u32::from(message::SELL) && side != BOTH {
                return rejected(Reason::BadSetting);
            }
            (Removal::Operator, side)
        } else {
            if state != CLOSED {
                return rejected(Reason::BadState);
            }
            if kind == ControlKind::CloseDay as u32 {
                (Removal::DayEnd, BOTH)
            } else {
                (Removal::Delisted, BOTH)
            }
        };
        self.begin_purge(index, removal, side)
    }

    #[inline(always)]
    fn set_state(self, index: u32) -> Done {
        let instrument = self.instrument(index);
        let (before, state) = (instrument.state.get(), half!(self, SetState, state));
        if state > UNCROSSING {
            return rejected(Reason::BadSetting);
        }
        let work = instrument.work.get();
        let may_be_halted = work == Work::Sweep as u32
            || work == Work::Triggers as u32
            || work == Work::Uncross as u32;
        if work != 0 && (state != HALTED || !may_be_halted) {
            return rejected(Reason::Continuing);
        }
        let follows = match state {
            UNCROSSING => is_call(before),
            VOLATILITY_PAUSE => before == CONTINUOUS,
            PRE_OPEN | OPENING_AUCTION | CLOSING_AUCTION => before != UNCROSSING,
            _ => true,
        };
        if state == before || !follows {
            return rejected(Reason::BadState);
        }
        if state == CONTINUOUS && self.is_crossed(index) {
            return rejected(Reason::BookCrossed);
        }
        self.change_state(index, state);
        if self.look_at_triggers(index) {
            self.push_instrument(index);
        }
        DONE
    }

    #[inline(never)]
    pub(crate) fn set_bands(self) -> Done {
        let index = half!(self, SetBands, instrument);
        if index >= self.header().instruments_max.get() {
            return rejected(Reason::IndexOutOfRange);
        }
        let instrument = self.instrument(index);
        if instrument.listed.get() == 0 {
            return rejected(Reason::UnknownInstrument);
        }
        if instrument.work.get() != 0 {
            return rejected(Reason::Continuing);
        }
        let state = instrument.state.get();
        if state != CLOSED && state != HALTED {
            return rejected(Reason::BadState);
        }
        let (low, high) = (
            half!(self, SetBands, band_low),
            half!(self, SetBands, band_high),
        );
        let reference = half!(self, SetBands, reference);
        if !is_band(low, high) || (reference != 0 && !instrument.has_price(reference)) {
            return rejected(Reason::BadSetting);
        }
        instrument.band_low.set(low);
        instrument.band_high.set(high);
        instrument
            .dynamic_ticks
            .set(half!(self, SetBands, dynamic_ticks));
        instrument.fat_ticks.set(half!(self, SetBands, fat_ticks));
        instrument
            .pause_ticks
            .set(half!(self, SetBands, pause_ticks));
        instrument.reference.set(reference);
        instrument.set_pause();
        instrument.note_limits();
        DONE
    }

    #[inline(never)]
    pub(crate) fn open_day(self) -> Done {
        let header = self.header();
        let (day, midnight) = (half!(self, OpenDay, day), word!(self, OpenDay, midnight_ns));
        if header.instruments_open.get() != 0 {
            return rejected(Reason::NotClosed);
        }
        if header.expiring.get() != 0 {
            return rejected(Reason::Continuing);
        }
        if day <= header.day.get() || midnight < header.midnight_ns.get() {
            return rejected(Reason::BadSetting);
        }
        header.day.set(day);
        header.midnight_ns.set(midnight);
        clear32(&header.expired_s);
        DONE
    }

    /// The clock has come to a second: the first step of expiry, and the others queued.
    #[inline(never)]
    pub(crate) fn control_expire(self) -> Done {
        let header = self.header();
        let second = half!(self, Expire, second);
        if second == 0 || second > DAY_SECONDS {
            return rejected(Reason::BadSetting);
        }
        let (time, midnight) = (header.time_ns.get(), header.midnight_ns.get());
        if time < midnight
            || time.wrapping_sub(midnight) < u64::from(second).wrapping_mul(1_000_000_000)
        {
            return rejected(Reason::TooEarly);
        }
        if second > header.expired_s.get() {
            header.expired_s.set(second);
        }
        if header.expiring.get() != 0 {
            return DONE;
        }
        let done = self.expire();
        if done.is_left() {
            header.expiring.set(1);
            self.push_leaving(self.expiry_number());
        }
        done
    }
}
