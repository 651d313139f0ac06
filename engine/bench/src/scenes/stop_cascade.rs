//! Cascades of stops: thousands wait on both sides at rising distances, then a trade sets off hundreds of them, each by the one before.
//!
//! A cycle enters orders and stops round the last trade and cancels some of both, none of which trades. At its end one order takes
//! everything up to the first stop; what the stops take moves the price on to the next ones. Then the operator clears the instrument,
//! so that all cycles are alike: what is left of one would stop the next. Cycles go towards the middle of the ladder, so both sides
//! have their turn.

use super::book::{Book, Order};
use super::random::Random;
use super::{Action, Expected, Play, Unit, cancel, limit, market_round};
use ring0_engine::control::{Clear, Control, ControlKind};
use ring0_engine::limits::FILLS_MAX;
use ring0_stream::Side;
use ring0_stream::lobster::TICK_WIRE;
use ring0_stream::lobstrm::CENTER_TICKS;
use ring0_wire::{Flags, Message, SelfTrade, TimeInForce};

/// Messages of a cycle at the most: with fewer the cascades are short, with more they are few.
const CYCLE_MAX: u64 = 6_000;
/// Of a hundred messages, stops and cancels; the others are orders.
const STOPS: u32 = 40;
const CANCELS: u32 = 10;
/// Ticks from the last trade: most orders are nearer than the first stops, the others go as far as the last ones and beyond, so
/// that a cascade finds somebody to trade with on its whole way.
const NEAR: u32 = 32;
const STOPS_FROM: u32 = 40;
const STOPS_REACH: u32 = 600;
const FAR: u32 = 800;
/// Ticks that a stop may trade beyond its trigger, as a limit order and as a market order.
const LIMIT_BEYOND: u32 = 8;
const PROTECTION_BEYOND: u32 = 50;
/// Stops are so many times as large as orders: what the stops of a tick take must be more than rests on it, or the cascade ends.
const STOP_TIMES: u32 = 2;
const ROOM: u32 = 4_096;
/// Lots of an order at the most, as the market lists it.
const LOTS_MAX: u32 = 1_000_000;

pub(super) fn make(seed: u64, messages: u64, _: u64) -> Play {
    let mut flow = Flow {
        random: Random(seed),
        book: Book::new(1),
        reference: 0,
        actions: vec![Action::Begin],
    };
    let cycle = (messages / 4).clamp(50, CYCLE_MAX);
    for at in 1..=messages {
        if at % cycle != 0 || !flow.set_off() {
            flow.passive();
        }
    }
    Play {
        actions: flow.actions,
        market: market_round(CENTER_TICKS, ROOM, flow.book.peak_live, flow.reference),
        sessions: 1,
        expected: Expected {
            trades: Some(flow.book.trades),
            quantity: flow.book.quantity,
            triggered: flow.book.triggered,
        },
        messages,
        unit: Unit::Triggered,
        steps_in_messages: true,
    }
}

struct Flow {
    random: Random,
    book: Book,
    reference: u32,
    actions: Vec<Action>,
}

impl Flow {
    fn last(&self) -> u32 {
        self.book.last.unwrap_or(CENTER_TICKS)
    }

    /// A stop, a cancel, or an order that does not cross.
    fn passive(&mut self) {
        let kind = self.random.below(100);
        if kind < STOPS {
            return self.stop();
        }
        if kind < STOPS + CANCELS
            && let Some(order) = self.book.cancel_any(0, &mut self.random)
        {
            return self.push(cancel(order.reference), 0);
        }
        let side = self.random.side();
        let distance = 1 + if self.random.percent(60) {
            self.random.near(NEAR)
        } else {
            self.random.below(FAR)
        };
        let best = self.book.best(side.opposite()).map(|(price, _)| price);
        let price = match side {
            Side::Buy => (self.last() - distance).min(best.map_or(u32::MAX, |ask| ask - 1)),
            Side::Sell => (self.last() + distance).max(best.map_or(0, |bid| bid + 1)),
        };
        let lots = self.random.lots();
        self.enter(side, on_ladder(price), lots, 0, false);
    }

    /// Half are market orders once they are triggered, half limit orders.
    fn stop(&mut self) {
        let side = self.random.side();
        let distance = STOPS_FROM + self.random.below(STOPS_REACH);
        let market = self.random.percent(50);
        let beyond = if market {
            PROTECTION_BEYOND
        } else {
            self.random.below(LIMIT_BEYOND)
        };
        let (trigger, price) = match side {
            Side::Buy => (self.last() + distance, self.last() + distance + beyond),
            Side::Sell => (self.last() - distance, self.last() - distance - beyond),
        };
        let lots = STOP_TIMES * self.random.lots();
        self.enter(side, on_ladder(price), lots, on_ladder(trigger), market);
    }

    /// Takes everything up to the first stop, towards the middle of the ladder. False where nobody waits or rests there.
    fn set_off(&mut self) -> bool {
        let side = if self.last() > CENTER_TICKS {
            Side::Sell
        } else {
            Side::Buy
        };
        let Some(trigger) = self.book.nearest_trigger(side) else {
            return false;
        };
        let Some((price, lots)) = self.book.reach(side.opposite(), trigger) else {
            return false;
        };
        self.enter(side, price, lots.min(LOTS_MAX), 0, true);
        self.actions.push(Action::Settle);
        let clear = Clear {
            instrument: 0,
            side: b' '.into(),
        };
        let clear = Control::new(ControlKind::Clear, &clear);
        self.actions.push(Action::Command(clear));
        self.book.clear();
        true
    }

    fn enter(&mut self, side: Side, price: u32, lots: u32, trigger: u32, immediate: bool) {
        self.reference += 1;
        let mut message = limit(side, self.reference, price, lots);
        if trigger != 0 {
            (message.letter, message.trigger) = (b'O', trigger * TICK_WIRE);
            if immediate {
                message.flags = message.flags.with(Flags::MARKET);
            }
        } else if immediate {
            let time = TimeInForce::ImmediateOrCancel;
            message.flags = Flags::new(time, SelfTrade::AccountDefault);
        }
        let meets = self.book.enter(Order {
            side,
            price,
            open: lots,
            account: 0,
            reference: self.reference,
            mode: 0,
            immediate,
            trigger,
        });
        self.push(message, meets);
    }

    fn push(&mut self, message: Message, meets: u32) {
        self.actions.push(Action::Message {
            session: 0,
            message,
            meets: meets.min(FILLS_MAX),
        });
    }
}

fn on_ladder(price: u32) -> u32 {
    price.clamp(CENTER_TICKS - ROOM, CENTER_TICKS + ROOM - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cascades_are_of_hundreds() {
        let play = make(1, 20 * CYCLE_MAX, 0);
        let (triggered, cascades) = (play.expected.triggered, play.settles() as u64);
        println!("{triggered} stops in {cascades} cascades");
        assert_eq!(cascades, 20);
        let mean = triggered / cascades;
        assert!((300..2_000).contains(&mean), "{mean} stops a cascade");
    }
}
