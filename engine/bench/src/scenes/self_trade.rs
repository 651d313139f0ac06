//! Four accounts in one book, where every other order that crosses meets one of its own account.
//!
//! Mix, prices and quantities are LOBSTRM1's. Messages come in runs of one account, because a packet is of one session; every order
//! has one of the four modes of prevention, drawn evenly.

use super::book::{Book, Order};
use super::random::Random;
use super::{Action, Expected, Play, Unit, cancel, limit, market_round};
use ring0_engine::limits::FILLS_MAX;
use ring0_stream::Side;
use ring0_stream::lobstrm::CENTER_TICKS;
use ring0_wire::{Flags, Message, SelfTrade, TimeInForce};

const ACCOUNTS: u32 = 4;
/// Messages of a run at least, and how many more at the most: a full packet on average. In longer runs the best orders are soon all of one
/// account, and none is left that another could trade with.
const RUN: (u32, u32) = (24, 24);
/// How far the anchor walks from the middle, in ticks.
const REACH: u32 = 200;
const ROOM: u32 = 2_048;
/// Makers that are looked through for one of the same account: deeper, a cross would trade more than LOBSTRM1's do.
const LOOKS: usize = 6;
const MODES: [SelfTrade; 4] = [
    SelfTrade::CancelNewest,
    SelfTrade::CancelOldest,
    SelfTrade::CancelBoth,
    SelfTrade::DecrementAndCancel,
];

pub(super) fn make(seed: u64, messages: u64, prefill: u64) -> Play {
    let mut flow = Flow::new(seed);
    for at in 0..prefill + messages {
        if at == prefill {
            flow.actions.push(Action::Begin);
        }
        flow.run();
        if at < prefill {
            flow.add();
        } else {
            flow.message();
        }
    }
    let references = flow.references.into_iter().max().unwrap_or(0);
    Play {
        actions: flow.actions,
        market: market_round(CENTER_TICKS, ROOM, flow.book.peak_live, references),
        sessions: ACCOUNTS,
        expected: Expected {
            trades: Some(flow.book.trades),
            quantity: flow.book.quantity,
            triggered: 0,
        },
        messages,
        unit: Unit::None,
        steps_in_messages: true,
    }
}

struct Flow {
    random: Random,
    book: Book,
    /// Price round which passive orders enter, in ticks.
    anchor: u32,
    /// Whose run it is.
    account: u32,
    /// Messages left in it.
    run: u32,
    /// Last reference of each account's session.
    references: [u32; ACCOUNTS as usize],
    /// Orders that crossed, and those of them that met their own account's.
    crosses: u64,
    own: u64,
    actions: Vec<Action>,
}

impl Flow {
    fn new(seed: u64) -> Flow {
        Flow {
            random: Random(seed),
            book: Book::new(ACCOUNTS),
            anchor: CENTER_TICKS,
            account: 0,
            run: 0,
            references: [0; ACCOUNTS as usize],
            crosses: 0,
            own: 0,
            actions: Vec::new(),
        }
    }

    /// One message more in the run, or a new run.
    fn run(&mut self) {
        if self.run == 0 {
            self.run = RUN.0 + self.random.below(RUN.1 + 1);
            self.account = self.random.below(ACCOUNTS);
        }
        self.run -= 1;
    }

    fn message(&mut self) {
        match self.random.below(100) {
            0..51 => self.add(),
            51..90 => match self.book.cancel_any(self.account, &mut self.random) {
                Some(order) => self.push(cancel(order.reference), 0),
                None => self.add(),
            },
            _ => self.cross(),
        }
    }

    /// A limit order that does not cross.
    fn add(&mut self) {
        self.walk();
        let side = self.random.side();
        let distance = 1 + if self.random.percent(85) {
            self.random.near(64)
        } else {
            self.random.below(300)
        };
        let best = self.book.best(side.opposite()).map(|(price, _)| price);
        let price = match side {
            Side::Buy => (self.anchor - distance).min(best.map_or(u32::MAX, |ask| ask - 1)),
            Side::Sell => (self.anchor + distance).max(best.map_or(0, |bid| bid + 1)),
        };
        let lots = self.random.lots();
        self.enter(side, price, lots);
    }

    /// A limit order that meets its own account's or only others, whichever there were fewer of; where that cannot be, the other kind, and
    /// an add where nothing rests.
    fn cross(&mut self) {
        self.walk();
        let own_first = 2 * self.own <= self.crosses;
        let side_first = self.random.side();
        for own in [own_first, !own_first] {
            for side in [side_first, side_first.opposite()] {
                if let Some((price, lots)) = self.crossing(side, own) {
                    self.crosses += 1;
                    self.own += u64::from(own);
                    return self.enter(side, price, lots);
                }
            }
        }
        self.add();
    }

    /// Limit and lots of an order of this side that meets its own account's, or ends before it comes to one.
    fn crossing(&mut self, side: Side, own: bool) -> Option<(u32, u32)> {
        let makers = self.book.makers(side.opposite(), LOOKS);
        let at = makers.iter().position(|it| it.account == self.account);
        let others = &makers[..at.unwrap_or(makers.len())];
        let lots: u32 = others.iter().map(|it| it.open).sum();
        if own {
            return at.map(|at| (makers[at].price, lots + self.random.lots()));
        }
        let last = others.last()?;
        Some((last.price, self.random.lots().min(lots)))
    }

    fn walk(&mut self) {
        let moved = self.anchor - 1 + 2 * self.random.below(2);
        if moved.abs_diff(CENTER_TICKS) <= REACH {
            self.anchor = moved;
        }
    }

    fn enter(&mut self, side: Side, price: u32, lots: u32) {
        let reference = &mut self.references[self.account as usize];
        *reference += 1;
        let mode = MODES[self.random.below(MODES.len() as u32) as usize];
        let mut message = limit(side, *reference, price, lots);
        message.flags = Flags::new(TimeInForce::Day, mode);
        let meets = self.book.enter(Order {
            side,
            price,
            open: lots,
            account: self.account,
            reference: *reference,
            mode: mode as u8,
            immediate: false,
            trigger: 0,
        });
        self.push(message, meets);
    }

    fn push(&mut self, message: Message, meets: u32) {
        self.actions.push(Action::Message {
            session: self.account,
            message,
            meets: meets.min(FILLS_MAX),
        });
        if meets >= FILLS_MAX {
            self.actions.push(Action::Settle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_cross_meets_its_own() {
        let mut flow = Flow::new(1);
        for at in 0..40_000 {
            flow.run();
            if at < 4_000 {
                flow.add();
            } else {
                flow.message();
            }
        }
        let (own, crosses) = (flow.own * 100 / flow.crosses, flow.crosses * 1_000 / 36_000);
        println!(
            "{own}% own, {crosses} of 1,000 cross, {} trades",
            flow.book.trades
        );
        assert!((48..=52).contains(&own), "{own}% of {}", flow.crosses);
        assert!((70..=110).contains(&crosses), "{crosses} of 1,000 cross");
    }
}
