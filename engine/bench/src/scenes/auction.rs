//! Auctions: orders of both sides are collected, then trade at one price.
//!
//! Each auction is a day of its own: fifty thousand orders at the most, of which about a third trade; what is left is taken away
//! behind it, so that the next one begins with an empty book.

use super::book::{Book, Order};
use super::random::Random;
use super::{Action, Expected, Play, Unit, cancel, limit, market_round};
use ring0_engine::control::{Control, ControlKind, SetState, Target};
use ring0_engine::record::State;
use ring0_stream::Side;
use ring0_stream::lobstrm::CENTER_TICKS;
use ring0_wire::Flags;

/// Messages of an auction at the most.
const COLLECTED_MAX: u64 = 50_000;
/// Ticks that a limit may be beyond the middle. It lies there or up to twice `SPREAD` less far, as two even draws together: three orders
/// of ten are beyond.
const THROUGH: u32 = 120;
const SPREAD: u32 = 150;
/// How far the middle of an auction is from that of another.
const REACH: u32 = 200;
const ROOM: u32 = 2_048;
const _: () = assert!(REACH + THROUGH + 2 * SPREAD < ROOM);

pub(super) fn make(seed: u64, messages: u64, _: u64) -> Play {
    let mut random = Random(seed);
    let mut book = Book::new(1);
    let mut actions = vec![Action::Begin];
    let mut expected = Expected::default();
    let mut reference = 0;
    let auctions = messages.div_ceil(COLLECTED_MAX).max(1);
    for auction in 0..auctions {
        actions.push(state(State::OpeningAuction));
        let middle = CENTER_TICKS - REACH + random.below(2 * REACH + 1);
        for _ in messages * auction / auctions..messages * (auction + 1) / auctions {
            let message = match random.percent(10) {
                true => book.cancel_any(0, &mut random),
                false => None,
            };
            let message = match message {
                Some(order) => cancel(order.reference),
                None => {
                    reference += 1;
                    order(&mut book, &mut random, middle, reference)
                }
            };
            actions.push(Action::Message {
                session: 0,
                message,
                meets: 0,
            });
        }
        expected.quantity += book.auction_lots();
        actions.push(state(State::Uncrossing));
        let then = State::Closed;
        actions.push(Action::Uncross { then });
        let target = Target {
            index: 0,
            reserved: 0,
        };
        let close = Control::new(ControlKind::CloseDay, &target);
        actions.push(Action::Command(close));
        book.clear();
    }
    Play {
        actions,
        market: market_round(CENTER_TICKS, ROOM, book.peak_live, reference),
        sessions: 1,
        expected,
        messages,
        unit: Unit::Crossed,
        steps_in_messages: false,
    }
}

fn state(state: State) -> Action {
    let set = SetState {
        instrument: 0,
        state: state as u32,
    };
    Action::Command(Control::new(ControlKind::SetState, &set))
}

/// Nine of ten are plain; the others are hidden, or icebergs that show a hundred.
fn order(book: &mut Book, random: &mut Random, middle: u32, reference: u32) -> ring0_wire::Message {
    let side = random.side();
    let off = random.below(SPREAD) + random.below(SPREAD);
    let price = match side {
        Side::Buy => middle + THROUGH - off,
        Side::Sell => middle - THROUGH + off,
    };
    let kind = random.below(20);
    let lots = match kind {
        0 => 100 * (2 + random.below(9)),
        _ => random.lots(),
    };
    let mut message = limit(side, reference, price, lots);
    match kind {
        0 => (message.letter, message.display) = (b'O', 100),
        1 => message.flags = message.flags.with(Flags::HIDDEN),
        _ => (),
    }
    book.collect(Order {
        side,
        price,
        open: lots,
        account: 0,
        reference,
        mode: 0,
        immediate: false,
        trigger: 0,
    });
    message
}
